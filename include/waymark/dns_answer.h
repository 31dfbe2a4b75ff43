/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_answer.h - A and AAAA records of a name in the tables, built by the same code in the kernel
 * and in userspace. The caller keeps header and question where they are and puts the records behind
 * the question; every record's name is a pointer to it, so the client's case is kept. How to call
 * it on the host: wm_dns_parse(), look the name up, wm_dns_addresses() with random bits,
 * wm_dns_put_opt() if q.edns, then wm_dns_answer_flags() for the header. Pure. */
#pragma once
#include "choose.h"
#include "dns_wire.h"
#include "name_hash.h"

#define WM_DNS_RR_A    16 /* octets of an A record behind a pointer */
#define WM_DNS_RR_AAAA 28 /* octets of an AAAA record behind a pointer */
#define WM_DNS_RR_DATA 12 /* octets before the address in either */
#define WM_DNS_RR_SOA  50 /* octets of the SOA record of a negative answer, names as pointers */
/* Slots of a set that a program looks at: what fits into WM_DNS_EDNS_MAX are 75 addresses, and some
 * may be down. What is larger is left to userspace. A power of two. */
#define WM_DNS_SCAN_KERNEL 128
/* Slots of a set that userspace looks through for one answer. Of a larger one it takes a part that
 * begins anywhere, as large as the answer, behind a draw among all. */
#define WM_DNS_SCAN_USER 512
#define WM_DNS_DRAWS	 256 /* for that draw: with one usable in 20, one of 500,000 finds none */

typedef __be32 __attribute__((aligned(2), may_alias)) wm_be32_2;
typedef __be16 __attribute__((may_alias)) wm_be16_2;
/* Words of an address. In the kernel records begin at an address that four divides, and so do these
 * words: loaded in halves they were most of what the verifier walks through. */
#ifdef __bpf__
typedef __be32 __attribute__((may_alias)) wm_address_word;
#else
typedef wm_be32_2 wm_address_word;
#endif
_Static_assert(WM_DNS_RR_A % 4 == 0 && WM_DNS_RR_AAAA % 4 == 0 && WM_DNS_RR_DATA % 4 == 0,
	       "so do all of them");

/** Write one address record at @p out (even address, WM_DNS_RR_A or WM_DNS_RR_AAAA octets).
 *  @p addr_be v4-mapped if @p type is A. */
static __always_inline void wm_dns_put_address(void *out, __u16 type, __u32 ttl_s,
					       const __be32 addr_be[4])
{
	wm_be16_2 *h = out;
	wm_address_word *w = (wm_address_word *)(h + 6);

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

/** Write an OPT record (11 octets) that tells our size. @p rcode_high: upper bits of the RCODE;
 *  @p edns_flags: the query's, of which DO comes back (RFC 3225 3): we have no signatures. */
static __always_inline void wm_dns_put_opt(__u8 *out, __u8 rcode_high, __u16 edns_flags)
{
	out[0] = 0;
	out[1] = 0;
	out[2] = WM_DNS_OPT;
	out[3] = WM_DNS_EDNS_MAX >> 8;
	out[4] = WM_DNS_EDNS_MAX & 0xff;
	out[5] = rcode_high;
	out[6] = 0;
	out[7] = (__u8)((edns_flags & WM_DNS_DO) >> 8);
	out[8] = 0;
	out[9] = 0;
	out[10] = 0;
}

/** Write the SOA record of a negative answer (WM_DNS_RR_SOA octets, even address): RFC 2308. @p
 * ttl_s is also its minimum. @p domain offset of the domain's name in the message: every name
 * points to it.
 */
static __always_inline void wm_dns_put_soa(void *out, __u32 domain, __u32 serial, __u32 ttl_s)
{
	wm_be16_2 *h = out;
	wm_be32_2 *w = (wm_be32_2 *)((__u8 *)out + 30);
	__u8 *n = (__u8 *)out + 12;
	__u8 high = (__u8)(0xc0 | domain >> 8), low = (__u8)domain;

	h[0] = __builtin_bswap16((__u16)(0xc000 | domain));
	h[1] = __builtin_bswap16(WM_DNS_SOA);
	h[2] = __builtin_bswap16(WM_DNS_IN);
	*(wm_be32_2 *)(h + 3) = __builtin_bswap32(ttl_s);
	h[5] = __builtin_bswap16(WM_DNS_RR_SOA - WM_DNS_RR_DATA);
	__builtin_memcpy(n, "\2ns", 3);
	n[3] = high;
	n[4] = low;
	__builtin_memcpy(n + 5, "\12hostmaster", 11);
	n[16] = high;
	n[17] = low;
	w[0] = __builtin_bswap32(serial);
	w[1] = __builtin_bswap32(WM_DNS_SOA_REFRESH_S);
	w[2] = __builtin_bswap32(WM_DNS_SOA_RETRY_S);
	w[3] = __builtin_bswap32(WM_DNS_SOA_EXPIRE_S);
	w[4] = __builtin_bswap32(ttl_s);
}

/** Flags of an answer (host order): response, authoritative, RD and opcode copied. */
static __always_inline __u16 wm_dns_answer_flags(__u16 query_flags, __u16 rcode)
{
	return (__u16)(WM_DNS_QR | WM_DNS_AA | (query_flags & (WM_DNS_OPCODE | WM_DNS_RD)) |
		       (rcode & WM_DNS_RCODE));
}

/* A walk over a set for its addresses. */
struct wm_dns_walk {
	struct wm_table table;
	struct wm_order order;
	__u64 now_ns; /* CLOCK_BOOTTIME: who is ejected is not named */
	__u32 ttl_s;
	__u32 tier;	    /* that is looked at */
	__u32 first, count; /* its slots */
	__u32 place;	    /* of these the one that is next; it wraps */
	__u32 seen;	    /* slots looked at */
	__u32 records;	    /* addresses found */
	__u32 others;	    /* usable backends of the other family only */
	__u32 weight;	    /* of the newest */
};

/** Begin anew with tier @p tier. */
static __always_inline void wm_dns_walk_tier(struct wm_dns_walk *w, __u32 tier)
{
	w->tier = tier;
	w->first = 0;
	w->count = wm_tier_slots(&w->table.head, tier, &w->first);
	w->place = 0;
	w->seen = 0;
	w->records = 0;
	w->others = 0;
}

/** Begin a walk over the tier of w->table that a connection would be drawn to: an answer names
 * those that would be chosen. */
static __always_inline void wm_dns_walk_start(const struct wm_view *v, __u64 random, __u64 now_ns,
					      struct wm_dns_walk *w)
{
	struct wm_ask ask = {.tier = 0};

	w->now_ns = now_ns;
	w->order.random = random;
	w->order.total = 0;
	w->order.first = 0;
	if (w->table.head.tiers > 1)
		wm_ask_tier(v, &w->table, wm_order_below(&w->order, 1ull << 32), &ask);
	/* read again: what is behind is one path for the verifier, not one of each tier */
	w->tier = ask.tier;
	wm_dns_walk_tier(w, WM_READ(w->tier));
}

/** Load the table of @p set and begin. @return WM_PICKED; WM_PICK_NONE: the set has nothing;
 *  WM_PICK_TORN. */
static __always_inline enum wm_pick wm_dns_walk_begin(const struct wm_view *v, __u32 set,
						      __u64 random, __u64 now_ns,
						      struct wm_dns_walk *w)
{
	enum wm_pick p = wm_table_load(v, set, &w->table);

	if (p == WM_PICKED)
		wm_dns_walk_start(v, random, now_ns, w);
	return p;
}

/** Is the occupant @p stamp of @p backend left out, as it would be by connect()? */
static __always_inline int wm_dns_is_out(const struct wm_view *v, const struct wm_dns_walk *w,
					 __u32 backend, __u32 stamp)
{
	const struct wm_backend *b = wm_at_backend(v, backend);
	const struct wm_backend_live *live;

	if (!b || WM_READ(b->out_until_ns) <= w->now_ns) /* nearly always */
		return 0;
	live = wm_at_backend_live(v, backend);
	if (!live || !wm_ejected(live, stamp, w->now_ns))
		return 0;
#ifdef __bpf__
	return wm_ejected(live, stamp, bpf_ktime_get_boot_ns()); /* now_ns is of the last tick */
#else
	return 1;
#endif
}

/** Look at the next slot; write its backend's record at @p out if it is usable and of the family.
 *  It counts when wm_dns_walk_keep() has seen it.
 *  @return WM_PICKED: written; WM_PICK_MORE: not usable; WM_PICK_NONE: all were seen; TORN. */
static __always_inline enum wm_pick wm_dns_walk_step(const struct wm_view *v, struct wm_dns_walk *w,
						     __u16 type, __u8 *out)
{
	const struct wm_backend *b;
	struct wm_choice c;
	struct wm_slot s;

	if (w->seen >= w->count)
		return WM_PICK_NONE;
	if (wm_slot_read(v, &w->table, w->first + w->place, &s) != WM_PICKED)
		return WM_PICK_TORN;
	w->seen++;
	w->place = w->place + 1 < w->count ? w->place + 1 : 0;
	if (wm_dns_is_out(v, w, s.backend, s.stamp))
		return WM_PICK_MORE;
	if (wm_take(v, s.backend, s.stamp, type == WM_DNS_A ? WM_FAMILY_4 : WM_FAMILY_6, 1, &c)) {
		w->weight = c.weight;
		wm_dns_put_address(out, type, w->ttl_s, c.addr_be);
		return WM_PICKED;
	}
	b = wm_at_backend(v, s.backend);
	if (b && b->families && (WM_READ(b->state) & WM_STATE_MASK) == WM_STATE_UP)
		w->others++;
	return WM_PICK_MORE;
}

/** Number of the record with the address of the newest, number w->records: itself when there is
 *  none. Looks at WM_DNS_SCAN_KERNEL records. @p records even address. */
static __always_inline __u32 wm_dns_twin(const struct wm_dns_walk *w, const __u8 *records,
					 __u16 type)
{
	const __u32 len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	const wm_any_half *last, *other;
	__u32 n = w->records;
	__u64 differ;

	asm volatile(""
		     : "+r"(n)); /* the compiler knows the bound and would not tell the verifier */
	n &= WM_DNS_SCAN_KERNEL - 1;
	last = (const wm_any_half *)(records + n * len + WM_DNS_RR_DATA);
	for (__u32 i = 0; i < WM_DNS_SCAN_KERNEL - 1; i++) {
		if (i >= n)
			break;
		other = (const wm_any_half *)(records + i * len + WM_DNS_RR_DATA);
		if (type == WM_DNS_A)
			differ = other[0] ^ last[0];
		else
			differ = (*(const wm_any_word *)other ^ *(const wm_any_word *)last) |
				 (*(const wm_any_word *)(other + 2) ^
				  *(const wm_any_word *)(last + 2));
		asm volatile("" : "+r"(differ)); /* one branch, not one of each word */
		if (!differ)
			return i;
	}
	return n;
}

/** Keep the newest record, or let record @p twin stand for it: instances that share an address are
 *  one record, as in Consul and by RFC 2181 5.2, with the sum of their weights. */
static __always_inline void wm_dns_walk_keep(struct wm_dns_walk *w, __u32 twin)
{
	wm_order_show(&w->order, twin, w->weight);
	if (twin == w->records)
		w->records++;
}

/** Let the addresses of records @p i and @p k change places; their heads are alike. */
static __always_inline void wm_dns_swap(__u8 *records, __u16 type, __u32 i, __u32 k)
{
	const __u32 len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	wm_address_word *a = (wm_address_word *)(records + i * len + WM_DNS_RR_DATA);
	wm_address_word *b = (wm_address_word *)(records + k * len + WM_DNS_RR_DATA);
	__be32 word;

	for (__u32 n = 0; n < (len - WM_DNS_RR_DATA) / 4; n++) {
		word = a[n];
		a[n] = b[n];
		b[n] = word;
	}
}

#ifndef __bpf__
#include <stdbool.h>
#include <stddef.h>

/* Places of a table of the addresses in a long answer: a power of two, twice what an answer holds,
 * so that a look stays short. */
#define WM_DNS_SEEN 16384
/* Records that wm_dns_addresses() may write: those of an answer, one that shows there are more, or
 * a whole set. */
#define WM_DNS_GATHER_MAX (WM_DNS_ANSWERS_TCP + 1)
_Static_assert(WM_DNS_SEEN >= 2 * WM_DNS_GATHER_MAX, "half empty");
_Static_assert(WM_DNS_GATHER_MAX >= WM_DNS_SCAN_USER, "a set that is looked through fits");

/* What is asked of wm_dns_addresses(). */
struct wm_dns_want {
	__u16 type; /* A or AAAA */
	__u32 ttl_s;
	__u32 fits;   /* records that there is room for, WM_DNS_ANSWERS_TCP at most */
	__u32 limit;  /* records that are wanted at most; 0: all */
	__u64 random; /* even bits */
	__u64 now_ns; /* CLOCK_BOOTTIME */
};

/** As wm_dns_twin(), for any number of records: O(1) by @p seen (WM_DNS_SEEN places, zero at
 * first), which holds record numbers from 1. @p key: nobody may guess it and choose addresses. */
static inline __u32 wm_dns_twin_hashed(const struct wm_dns_walk *w, const __u8 *records, __u16 type,
				       __u16 *seen, __u64 key)
{
	__u32 len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA, data = len - WM_DNS_RR_DATA;
	__u64 addr[2] = {0, 0};
	__u32 place;

	__builtin_memcpy(addr, records + w->records * len + WM_DNS_RR_DATA, data);
	place = (__u32)wm_mix64(wm_mix64(addr[0] ^ key) + addr[1]) % WM_DNS_SEEN;
	for (; seen[place]; place = (place + 1) % WM_DNS_SEEN)
		if (!__builtin_memcmp(records + (seen[place] - 1u) * len + WM_DNS_RR_DATA, addr,
				      data))
			return seen[place] - 1u;
	seen[place] = (__u16)(w->records + 1);
	return w->records;
}

/* @p seen as of wm_dns_twin_hashed(); NULL: they are few. */
static inline enum wm_pick wm_dns_gather_by(const struct wm_view *v, __u16 type, __u32 max,
					    struct wm_dns_walk *w, __u8 *out, __u16 *seen)
{
	__u32 len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	enum wm_pick p = WM_PICK_MORE;
	__u64 key = w->order.random;

	while ((p == WM_PICKED || p == WM_PICK_MORE) && w->records < max) {
		p = wm_dns_walk_step(v, w, type, out + (__u64)w->records * len);
		if (p == WM_PICKED)
			wm_dns_walk_keep(w, seen ? wm_dns_twin_hashed(w, out, type, seen, key)
						 : wm_dns_twin(w, out, type));
	}
	return p;
}

/* With a table of its own: 32 KiB that are cleared, which the answers of most sets do without. */
static __attribute__((noinline, unused)) enum wm_pick
wm_dns_gather_many(const struct wm_view *v, __u16 type, __u32 max, struct wm_dns_walk *w, __u8 *out)
{
	__u16 seen[WM_DNS_SEEN] = {0};

	return wm_dns_gather_by(v, type, max, w, out, seen);
}

/** Gather @p max addresses at most from the slots in turn. @return what the walk ended with. */
static inline enum wm_pick wm_dns_gather(const struct wm_view *v, __u16 type, __u32 max,
					 struct wm_dns_walk *w, __u8 *out)
{
	return w->count > WM_DNS_SCAN_KERNEL ? wm_dns_gather_many(v, type, max, w, out)
					     : wm_dns_gather_by(v, type, max, w, out, NULL);
}

/** Put what was gathered in order: one drawn by weight, then the others evenly. */
static inline void wm_dns_shuffle(struct wm_dns_walk *w, __u16 type, __u8 *out)
{
	for (__u32 i = 0; i < w->records; i++)
		wm_dns_swap(out, type, i, wm_order_swap(&w->order, i));
}

/** Of @p n records those that are wanted and fit. @param ret_more some that are wanted did not. */
static inline __u32 wm_dns_cut(const struct wm_dns_want *q, __u32 n, bool *ret_more)
{
	if (q->limit && n > q->limit)
		n = q->limit;
	*ret_more = n > q->fits;
	return *ret_more ? q->fits : n;
}

/** Put an address that was drawn by weight from the whole set in front of a part of it, which has
 *  been ordered. Where no draw finds a usable one, the part's own first stays. */
static inline void wm_dns_lead(const struct wm_view *v, __u16 type, struct wm_dns_walk *w,
			       __u8 *out)
{
	__u32 len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA, k = 0;
	struct wm_choice c;
	struct wm_lead l;
	__u8 record[WM_DNS_RR_AAAA] __attribute__((aligned(4)));

	for (int i = 0; i < WM_DNS_DRAWS; i++) {
		if (wm_draw(v, &w->table, w->first, w->count, wm_order_below(&w->order, 1ull << 32),
			    &l) != WM_PICKED)
			return;
		if (wm_dns_is_out(v, w, l.backend, l.stamp) ||
		    !wm_take(v, l.backend, l.stamp, type == WM_DNS_A ? WM_FAMILY_4 : WM_FAMILY_6, 1,
			     &c))
			continue;
		wm_dns_put_address(record, type, w->ttl_s, c.addr_be);
		while (k < w->records && __builtin_memcmp(out + k * len, record, len) != 0)
			k++;
		if (k < w->records)
			wm_dns_swap(out, type, 0, k);
		else
			__builtin_memcpy(out, record, len);
		return;
	}
}

/** Slots to look at: where one backend has many, as in tables of turns and of consistent hashing,
 *  so many that one of an even share is not missed (e^-64). */
static inline __u32 wm_dns_reach(const struct wm_dns_walk *w)
{
	__u64 most = 64ull * w->table.head.backends;

	if (w->table.head.balance != WM_BALANCE_ROUND_ROBIN &&
	    w->table.head.balance != WM_BALANCE_MAGLEV)
		return w->count;
	return most < w->count ? (__u32)most : w->count;
}

/** Addresses of the tier that @p w stands in. @return how many, -1: torn. */
static inline int wm_dns_tier_addresses(const struct wm_view *v, const struct wm_dns_want *q,
					struct wm_dns_walk *w, __u8 *out)
{
	__u32 want = q->limit && q->limit < q->fits ? q->limit : q->fits, max = WM_DNS_GATHER_MAX;
	__u32 slots = w->count;
	bool large = slots > WM_DNS_SCAN_USER;

	if (large) {
		w->place = wm_order_below(&w->order, slots);
		max = want + 1 < WM_DNS_GATHER_MAX ? want + 1 : WM_DNS_GATHER_MAX;
	}
	w->seen = slots - wm_dns_reach(w);
	if (wm_dns_gather(v, q->type, max, w, out) == WM_PICK_TORN)
		return -1;
	wm_dns_shuffle(w, q->type, out);
	if (large && w->records)
		wm_dns_lead(v, q->type, w, out);
	return (int)w->records;
}

/** Of the tiers of @p w the drawn one, and where that has nobody the next. @return addresses, -1:
 *  torn. */
static inline int wm_dns_tiers_addresses(const struct wm_view *v, const struct wm_dns_want *q,
					 struct wm_dns_walk *w, __u8 *out)
{
	__u32 tiers = w->table.head.tiers;
	int n = 0;

	for (__u32 k = 0; !n && k < tiers && k < WM_TIERS_MAX; k++) {
		n = wm_dns_tier_addresses(v, q, w, out);
		if (!n)
			wm_dns_walk_tier(w, w->tier + 1 < tiers ? w->tier + 1 : 0);
	}
	return n;
}

/** The set's part of wm_dns_addresses(). @return addresses, -1: torn. */
static inline int wm_dns_set_addresses(const struct wm_view *v, __u32 set,
				       const struct wm_dns_want *q, __u8 *out)
{
	struct wm_dns_walk w = {.ttl_s = q->ttl_s};
	enum wm_pick p;
	int n;

	if (!wm_ups(v, set, q->type == WM_DNS_A ? WM_FAMILY_4 : WM_FAMILY_6))
		return 0;
	p = wm_dns_walk_begin(v, set, q->random, q->now_ns, &w);
	if (p != WM_PICKED)
		return p == WM_PICK_NONE ? 0 : -1;
	n = wm_dns_tiers_addresses(v, q, &w, out);
	if (n || !wm_left_out_by_others(v, &w.table))
		return n;
	w.now_ns = ~0ull; /* nobody is out, as connect() has it */
	return wm_dns_tiers_addresses(v, q, &w, out);
}

/** All of it on the host: records of @p name into @p out (even address, room for WM_DNS_GATHER_MAX
 *  records), each address once, WM_DNS_ANSWERS_TCP at most. O(slots), and for sets of more than
 *  WM_DNS_SCAN_USER slots of which most are usable O(q->fits).
 *  @param ret_len octets that belong to the answer.
 *  @param ret_more some that are wanted did not fit.
 *  @return records, 0: none usable, -1: torn (try again). */
static inline int wm_dns_addresses(const struct wm_view *v, const struct wm_name *name,
				   const struct wm_dns_want *q, __u8 *out, __u32 *ret_len,
				   bool *ret_more)
{
	__be32 vip[4] = {0, 0, WM_V4_MAPPED_BE, name->vip4_be};
	int n = 0;

	*ret_len = 0;
	*ret_more = false;
	if (name->kind == WM_NAME_VIRTUAL) {
		if (q->type == WM_DNS_AAAA)
			__builtin_memcpy(vip, name->vip6_be, 16);
		if (q->type == WM_DNS_A ? vip[3] != 0 : (vip[0] | vip[1] | vip[2] | vip[3]) != 0) {
			wm_dns_put_address(out, q->type, q->ttl_s, vip);
			n = 1;
		}
	} else {
		n = wm_dns_set_addresses(v, name->set, q, out);
	}
	if (n < 0)
		return n;
	n = (int)wm_dns_cut(q, (__u32)n, ret_more);
	*ret_len = (__u32)n * (q->type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA);
	return n;
}
#endif
