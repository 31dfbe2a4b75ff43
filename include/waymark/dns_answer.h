/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_answer.h - A and AAAA records of a name in the tables, built by the same code in the kernel
 * and in userspace. The caller keeps header and question where they are and puts the records behind
 * the question; every record's name is a pointer to it, so the client's case is kept. How to call
 * it on the host: wm_dns_parse(), look the name up, wm_dns_addresses() with a random number,
 * wm_dns_put_opt() if q.edns, then wm_dns_answer_flags() for the header. Pure. */
#pragma once
#include "dns_wire.h"
#include "name_hash.h"
#include "pick.h"

#define WM_DNS_RR_A    16 /* octets of an A record behind a pointer */
#define WM_DNS_RR_AAAA 28 /* octets of an AAAA record behind a pointer */
#define WM_DNS_RR_DATA 12 /* octets before the address in either */
/* Octets of the longest set of records that goes over UDP, with OPT. */
#define WM_DNS_RECORDS_UDP (WM_DNS_ANSWERS_UDP * WM_DNS_RR_AAAA + WM_DNS_OPT_LEN)
_Static_assert(WM_DNS_HEADER_LEN + WM_DNS_NAME_MAX + 4 + WM_DNS_RECORDS_UDP <= WM_DNS_UDP_MAX,
	       "an answer over UDP is never truncated");
#define WM_DNS_SCAN_KERNEL 64 /* slots that a program looks at; the rest is left to userspace */

typedef __be32 __attribute__((aligned(2), may_alias)) wm_be32_2;
typedef __be16 __attribute__((may_alias)) wm_be16_2;

/** Write one address record at @p out (even address, WM_DNS_RR_A or WM_DNS_RR_AAAA octets).
 *  @p addr_be v4-mapped if @p type is A. */
static __always_inline void wm_dns_put_address(void *out, __u16 type, __u32 ttl_s,
					       const __be32 addr_be[4])
{
	wm_be16_2 *h = out;
	wm_be32_2 *w = (wm_be32_2 *)(h + 6);

	h[0] = __builtin_bswap16(WM_DNS_NAME_POINTER);
	h[1] = __builtin_bswap16(type);
	h[2] = __builtin_bswap16(WM_DNS_IN);
	*(wm_be32_2 *)(h + 3) = __builtin_bswap32(ttl_s);
	if (type == WM_DNS_A) {
		h[5] = __builtin_bswap16(4);
		w[0] = addr_be[3];
	} else {
		h[5] = __builtin_bswap16(16);
		w[0] = addr_be[0];
		w[1] = addr_be[1];
		w[2] = addr_be[2];
		w[3] = addr_be[3];
	}
}

/** Write an OPT record (11 octets) that tells our size. @p rcode_high: upper bits of the RCODE. */
static __always_inline void wm_dns_put_opt(__u8 *out, __u8 rcode_high)
{
	out[0] = 0;
	out[1] = 0;
	out[2] = WM_DNS_OPT;
	out[3] = WM_DNS_EDNS_MAX >> 8;
	out[4] = WM_DNS_EDNS_MAX & 0xff;
	out[5] = rcode_high;
	out[6] = 0;
	out[7] = 0;
	out[8] = 0;
	out[9] = 0;
	out[10] = 0;
}

/** Flags of an answer (host order): response, authoritative, RD and opcode copied. */
static __always_inline __u16 wm_dns_answer_flags(__u16 query_flags, __u16 rcode)
{
	return (__u16)(WM_DNS_QR | WM_DNS_AA | (query_flags & (WM_DNS_OPCODE | WM_DNS_RD)) |
		       (rcode & WM_DNS_RCODE));
}

/* A walk over a set for its addresses. */
struct wm_dns_walk {
	struct wm_set_table table;
	__u16 record_len; /* WM_DNS_RR_A or WM_DNS_RR_AAAA */
	__u32 ttl_s;
	__u32 first;   /* backend that the weighted draw put in front */
	__u32 place;   /* slot of the draw: the walk goes on from there, and wraps */
	__u32 records; /* written so far */
	__u32 seen;    /* slots looked at */
};

/** Start: draw the first backend by weight and write its record if it is usable.
 *  @p random 32 even bits. @p out records_max * record_len octets.
 *  @return WM_PICKED (go on with wm_dns_walk_step), WM_PICK_NONE (empty set), WM_PICK_TORN. */
static __always_inline enum wm_pick wm_dns_walk_begin(const struct wm_view *v,
						      const struct wm_set *set, __u16 type,
						      __u32 random, struct wm_dns_walk *w,
						      __u8 *out)
{
	struct wm_choice c;
	enum wm_pick p;

	w->table = wm_load_table(set);
	w->record_len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	w->records = 0;
	w->seen = 0;
	if (!w->table.count)
		return WM_PICK_NONE;
	p = wm_draw(v, w->table, random, &w->first, &w->place);
	if (p != WM_PICKED)
		return p;
	if (wm_take(v, w->first, type == WM_DNS_A ? WM_FAMILY_4 : WM_FAMILY_6, 1, &c)) {
		wm_dns_put_address(out, type, w->ttl_s, c.addr_be);
		w->records = 1;
	}
	return WM_PICKED;
}

/** Look at the next slot; write its backend's record at @p out if it is usable and not the first.
 *  @return WM_PICKED: written; WM_PICK_MORE: not usable; WM_PICK_NONE: all slots were seen; TORN.
 */
static __always_inline enum wm_pick wm_dns_walk_step(const struct wm_view *v, struct wm_dns_walk *w,
						     __u16 type, __u8 *out)
{
	const struct wm_slot *s;
	struct wm_choice c;

	if (w->seen >= w->table.count)
		return WM_PICK_NONE;
	s = wm_at_slot(v, w->table.first + w->place);
	if (!s || s->generation != w->table.generation)
		return WM_PICK_TORN;
	w->seen++;
	w->place = w->place + 1 < w->table.count ? w->place + 1 : 0;
	if (s->backend == w->first && w->records)
		return WM_PICK_MORE;
	if (!wm_take(v, s->backend, type == WM_DNS_A ? WM_FAMILY_4 : WM_FAMILY_6, 1, &c))
		return WM_PICK_MORE;
	wm_dns_put_address(out, type, w->ttl_s, c.addr_be);
	w->records++;
	return WM_PICKED;
}

/** Is the newest record in @p records the address of an earlier one? Then it is taken back:
 * instances that share an address are one record, as in Consul and by RFC 2181 5.2. Looks at
 *  WM_DNS_ANSWERS_UDP records at most. @p records even address, where wm_dns_walk_begin wrote. */
static __always_inline void wm_dns_drop_double(struct wm_dns_walk *w, const __u8 *records,
					       __u16 type)
{
	const __u32 len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	const wm_be32_2 *last, *other;
	__u32 n = w->records;

	if (!n || n > WM_DNS_ANSWERS_UDP)
		return;
	n--;
	asm volatile(""
		     : "+r"(n)); /* the compiler knows the bound and would not tell the verifier */
	n &= WM_DNS_ANSWERS_UDP - 1;
	last = (const wm_be32_2 *)(records + n * len + WM_DNS_RR_DATA);
	for (__u32 i = 0; i < WM_DNS_ANSWERS_UDP - 1; i++) {
		if (i >= n)
			return;
		other = (const wm_be32_2 *)(records + i * len + WM_DNS_RR_DATA);
		if (other[0] != last[0])
			continue;
		if (type == WM_DNS_A ||
		    (other[1] == last[1] && other[2] == last[2] && other[3] == last[3])) {
			w->records = n;
			return;
		}
	}
}

#ifndef __bpf__
/* Places of a table of the addresses in a long answer: a power of two, twice what an answer holds,
 * so that a look stays short. */
#define WM_DNS_SEEN 8192
_Static_assert(WM_DNS_SEEN >= 2 * WM_DNS_ANSWERS_TCP, "half empty");

/** As wm_dns_drop_double(), for any number of records: O(1) by @p seen (WM_DNS_SEEN places, zero at
 *  first), which holds record numbers from 1. @p key: nobody may guess it and choose addresses. */
static inline void wm_dns_drop_double_hashed(struct wm_dns_walk *w, const __u8 *records,
					     __u16 *seen, __u64 key)
{
	__u32 data_len = w->record_len - WM_DNS_RR_DATA, place;
	__u64 addr[2] = {0, 0};

	if (!w->records)
		return;
	__builtin_memcpy(addr, records + (w->records - 1) * w->record_len + WM_DNS_RR_DATA,
			 data_len);
	place = (__u32)wm_mix64(wm_mix64(addr[0] ^ key) + addr[1]) % WM_DNS_SEEN;
	while (seen[place]) {
		if (!__builtin_memcmp(records + (seen[place] - 1u) * w->record_len + WM_DNS_RR_DATA,
				      addr, data_len)) {
			w->records--;
			return;
		}
		place = (place + 1) % WM_DNS_SEEN;
	}
	seen[place] = (__u16)w->records;
}

/** The set's part of wm_dns_addresses(). @return what the walk ended with. */
static inline enum wm_pick wm_dns_walk_all(const struct wm_view *v, const struct wm_set *set,
					   __u16 type, __u32 max, __u32 random,
					   struct wm_dns_walk *w, __u8 *out)
{
	__u64 key = (__u64)random << 32 | (__u32)(random * 0x9e3779b1u);
	enum wm_pick p = wm_dns_walk_begin(v, set, type, random, w, out);
	__u16 seen[WM_DNS_SEEN];

	if (max > WM_DNS_ANSWERS_UDP) {
		__builtin_memset(seen, 0, sizeof(seen));
		if (p == WM_PICKED)
			wm_dns_drop_double_hashed(w, out, seen, key);
	}
	while ((p == WM_PICKED || p == WM_PICK_MORE) && w->records < max) {
		p = wm_dns_walk_step(v, w, type, out + (__u64)w->records * w->record_len);
		if (p != WM_PICKED)
			continue;
		if (max > WM_DNS_ANSWERS_UDP)
			wm_dns_drop_double_hashed(w, out, seen, key);
		else
			wm_dns_drop_double(w, out, type);
	}
	return p;
}

/** All of it on the host: records of @p name for @p type (A or AAAA) into @p out, at most @p max
 *  records and WM_DNS_ANSWERS_TCP, each address once (out has room for max * 28 octets, even
 *  address). O(slots).
 *  @param ret_len octets written. @return records, 0: none usable, -1: torn (try again). */
/* NOLINTNEXTLINE(readability-function-size): eight plain parameters */
static inline int wm_dns_addresses(const struct wm_view *v, const struct wm_name *name, __u16 type,
				   __u32 ttl_s, __u32 max, __u32 random, __u8 *out, __u32 *ret_len)
{
	const struct wm_set *set = wm_at_set(v, name->set);
	struct wm_dns_walk w = {.ttl_s = ttl_s};
	__be32 vip[4] = {0, 0, WM_V4_MAPPED_BE, name->vip4_be};
	enum wm_pick p;

	*ret_len = 0;
	if (name->kind == WM_NAME_VIRTUAL) {
		if (type == WM_DNS_AAAA)
			__builtin_memcpy(vip, name->vip6_be, 16);
		if (type == WM_DNS_A ? !vip[3] : !(vip[0] | vip[1] | vip[2] | vip[3]))
			return 0;
		wm_dns_put_address(out, type, ttl_s, vip);
		*ret_len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
		return 1;
	}
	if (!set)
		return 0;
	if (max > WM_DNS_ANSWERS_TCP)
		max = WM_DNS_ANSWERS_TCP;
	p = wm_dns_walk_all(v, set, type, max, random, &w, out);
	if (p == WM_PICK_TORN)
		return -1;
	*ret_len = w.records * w.record_len;
	return (int)w.records;
}
#endif
