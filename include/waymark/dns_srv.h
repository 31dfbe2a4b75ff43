/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_srv.h - SRV records of a service: which service a name asks for, and the octets of a record,
 * for the kernel, as userspace writes them (userspace/dns/records.c). Of health, weight, port and
 * address the tables tell; what a record leads to is a backend's target. Pure. Spec: RFC 2782. */
#pragma once
#include "dns_answer.h"
#include "dns_deny.h"

/* Slots of a set that are looked at; a power of two. More than records fit, as some may be down. */
#define WM_SRV_SCAN 64
/* Records that are gathered: the shortest takes 30 octets and its address 16 more, so fewer fit
 * WM_DNS_EDNS_MAX. A power of two. */
#define WM_SRV_MAX  32
#define WM_SRV_HEAD 18 /* octets of a record before its target: a pointer, 10, 6 of RFC 2782 */
#define WM_SRV_KIND 5  /* octets of "node" or "addr" in a target */
/* Octets of a buffer of records: what a record may write behind the longest answer. */
#define WM_SRV_ROOM 4096
#define WM_SRV_MASK 0x7ff /* for a place of a record in it */
_Static_assert(WM_DNS_EDNS_MAX <= WM_SRV_MASK &&
		       WM_SRV_MASK + WM_SRV_HEAD + WM_TARGET_MAX + 8 + 5 + WM_NAME_BUF <
			       WM_SRV_ROOM,
	       "what is written lies within");

/* Words of what targets end with that are always copied: most are not longer. */
#define WM_SRV_END_MOST 4

/* A record that was gathered. */
struct wm_srv {
	__be32 addr_be[4]; /* v4-mapped if IPv4 */
	__u32 backend;
	__u16 stamp; /* of its occupant */
	__be16 port_be;
	__u16 weight;
	__u16 len;	       /* octets of the record */
	__u8 six;	       /* 1: its address is IPv6, 0: IPv4 */
	__u8 node;	       /* octets of its node's name; 0: it leads to its address */
	__u8 first;	       /* octets of its target before the kind */
} __attribute__((aligned(8))); /* copied by words */
_Static_assert(sizeof(struct wm_srv) == 32, "four of them");

/* What targets end with: <kind>.<dc>.<domain> without the kind. len 0: none can be written. */
struct wm_srv_end {
	__u64 words[WM_NAME_WORDS];
	__u32 len;
};

/* --- the question ------------------------------------------------------------------------------
 */
#define WM_SRV_TCP WM_DENY_T4('_', 't', 'c', 'p')

/** Is this the whole label of our datacenter? One of more than seven octets is left to others. */
static __always_inline int wm_srv_is_dc(__u64 word, const struct wm_deny_label *dc)
{
	return (dc->word & 0xff) <= 7 && (word & dc->mask) == dc->word;
}

/* --- who is named ------------------------------------------------------------------------------
 */
/** Are new connections drawn to tier @p tier of @p tiers? */
static __always_inline int wm_srv_has_share(const __u16 cut[WM_TIERS_MAX], __u32 tiers, __u32 tier)
{
	__u32 i = tier & (WM_TIERS_MAX - 1);

	return tiers < 2 || WM_READ(cut[i]) > (i ? WM_READ(cut[i - 1]) : 0);
}

/** Number of the record of @p backend among @p n, @p n: there is none. One that is in several slots
 *  is named once. */
static __always_inline __u32 wm_srv_twin(const struct wm_srv *r, __u32 n, __u32 backend)
{
	for (__u32 i = 0; i < WM_SRV_MAX; i++) {
		if (i >= n)
			break;
		if (r[i].backend == backend)
			return i;
	}
	return n;
}

/* --- records -----------------------------------------------------------------------------------
 */
/** Four octets of an address as eight hexadecimal digits, in the order of memory. */
static __always_inline __u64 wm_srv_hex(__be32 word)
{
	const __u64 ones = 0x0101010101010101ull;
	__u64 x = word;

	x = (x | x << 16) & 0x0000ffff0000ffffull;
	x = (x | x << 8) & 0x00ff00ff00ff00ffull;
	x = (x >> 4 & 0x000f000f000f000full) | (x & 0x000f000f000f000full) << 8;
	return x + '0' * ones + ((x + 6 * ones) >> 4 & ones) * ('a' - '9' - 1);
}

/** Octets of the record of its address. */
static __always_inline __u32 wm_srv_address_len(const struct wm_srv *r)
{
	return WM_DNS_RR_A + (WM_DNS_RR_AAAA - WM_DNS_RR_A) * (__u32)r->six;
}

/** Keep @p c as @p r, whose target is a node's name of @p node octets or, 0, its address, and ends
 *  with @p end_len octets. By words, as it is read: one that is put together of smaller stores is
 *  waited for. @return octets of its records, more than an answer has where a name is too long. */
static __always_inline __u32 wm_srv_keep(struct wm_srv *r, const struct wm_choice *c, __u32 stamp,
					 __u32 node, __u32 end_len)
{
	__u64 six = c->family == WM_FAMILY_6, first = node ? node : 9 + 24 * six;
	__u64 n = first + WM_SRV_KIND + end_len;
	__u64 len = n <= WM_DNS_NAME_MAX ? WM_SRV_HEAD + n : WM_DNS_EDNS_MAX;
	wm_any_word *w = (wm_any_word *)r;

	w[0] = c->addr_be[0] | (__u64)c->addr_be[1] << 32;
	w[1] = c->addr_be[2] | (__u64)c->addr_be[3] << 32;
	w[2] = c->backend | (__u64)(stamp & 0xffff) << 32 | (__u64)c->port_be << 48;
	w[3] = c->weight | len << 16 | six << 32 | (__u64)node << 40 | first << 48;
	return (__u32)len + wm_srv_address_len(r);
}
_Static_assert(__builtin_offsetof(struct wm_srv, backend) == 16 &&
		       __builtin_offsetof(struct wm_srv, stamp) == 20 &&
		       __builtin_offsetof(struct wm_srv, port_be) == 22 &&
		       __builtin_offsetof(struct wm_srv, weight) == 24 &&
		       __builtin_offsetof(struct wm_srv, len) == 26 &&
		       __builtin_offsetof(struct wm_srv, six) == 28 &&
		       __builtin_offsetof(struct wm_srv, node) == 29 &&
		       __builtin_offsetof(struct wm_srv, first) == 30,
	       "its words");

/** The first octets of a record: its name @p pointer, @p type, the class and half of the TTL. */
static __always_inline __u64 wm_srv_head(__u32 pointer, __u32 type, __be32 ttl_be)
{
	return __builtin_bswap16((__u16)pointer) | (__u64)type << 24 | (__u64)WM_DNS_IN << 40 |
	       (__u64)ttl_be << 48;
}
_Static_assert(WM_DNS_AAAA < 256 && WM_DNS_SRV < 256 && WM_DNS_IN < 256, "one octet each");

/** The first labels of the target of @p r at @p out: those of its node @p t, or its address in
 *  hexadecimal. @p t is not looked at where r->node is 0. */
static __always_inline void wm_srv_put_first(__u8 *out, const struct wm_srv *r,
					     const struct wm_target *t)
{
	wm_any_word *w = (wm_any_word *)(r->node ? out : out + 1);

	if (r->node) {
		for (__u32 k = 0; k < WM_TARGET_MAX / 8; k++)
			w[k] = WM_READ(t->words[k]);
		return;
	}
	out[0] = r->first - 1;
	if (!r->six) {
		w[0] = wm_srv_hex(r->addr_be[3]);
		return;
	}
	for (__u32 k = 0; k < 4; k++)
		w[k] = wm_srv_hex(r->addr_be[k]);
}

/** Write the SRV record of @p r at @p at of the records @p out. @p t its
 *  target, whose name has r->node octets. Some octets behind it are overwritten. */
static __always_inline void wm_srv_put(__u8 *out, __u32 at, const struct wm_srv *r,
				       const struct wm_target *t,
				       const volatile struct wm_srv_end *end, __be32 ttl_be)
{
	__u8 *p = out + (at & WM_SRV_MASK);
	wm_any_word *w = (wm_any_word *)p;
	__u32 n = r->first & 0x7f;

	w[0] = wm_srv_head(WM_DNS_NAME_POINTER, WM_DNS_SRV, ttl_be);
	w[1] = ttl_be >> 16 | (__u32)__builtin_bswap16((__u16)(r->len - WM_DNS_RR_DATA)) << 16 |
	       (__u64)__builtin_bswap16(1) << 32 /* priority */ |
	       (__u64)__builtin_bswap16(r->weight) << 48;
	*(wm_any_short *)(w + 2) = r->port_be;
	wm_srv_put_first(p + WM_SRV_HEAD, r, t);
	w = (wm_any_word *)(p + WM_SRV_HEAD + n);
	w[0] = 4 | (r->node ? WM_DENY_NODE : WM_DENY_ADDR) << 8;
	w = (wm_any_word *)(p + WM_SRV_HEAD + n + WM_SRV_KIND);
	for (__u32 k = 0; k < WM_SRV_END_MOST; k++)
		w[k] = end->words[k];
	if (end->len > WM_SRV_END_MOST * 8)
		for (__u32 k = WM_SRV_END_MOST; k < WM_NAME_WORDS; k++)
			w[k] = end->words[k];
}

/** Write the address of the target of @p r at @p at of the records @p out, wm_srv_address_len()
 *  octets. @p target where in the message the target stands. */
static __always_inline void wm_srv_put_address(__u8 *out, __u32 at, const struct wm_srv *r,
					       __u32 target, __be32 ttl_be)
{
	wm_any_word *w = (wm_any_word *)(out + (at & WM_SRV_MASK));
	wm_any_half *h = (wm_any_half *)(w + 1);
	__u32 six = r->six & 1, all = 0u - six;

	/* without a branch for either, of which the verifier would follow each */
	w[0] = wm_srv_head(0xc000 | target, WM_DNS_A + (WM_DNS_AAAA - WM_DNS_A) * six, ttl_be);
	h[0] = ttl_be >> 16 | (4 + 12 * six) << 24;
	h[1] = (r->addr_be[0] & all) | (r->addr_be[3] & ~all);
	h[2] = r->addr_be[1];
	h[3] = r->addr_be[2];
	h[4] = r->addr_be[3];
}

#ifndef __bpf__
/** What targets end with in this datacenter and domain, both lower case; @p domain on the wire. */
static inline struct wm_srv_end wm_srv_end_of(const char *dc, const struct wm_deny_zone *domain)
{
	struct wm_srv_end ret = {.len = 0};
	__u8 *to = (__u8 *)ret.words;
	__u32 n = 0;

	while (dc[n])
		n++;
	if (!n || n > WM_DNS_LABEL_MAX || !domain->len || 1 + n + domain->len > WM_DNS_NAME_MAX)
		return ret;
	to[0] = (__u8)n;
	for (__u32 i = 0; i < n; i++)
		to[1 + i] = (__u8)(dc[i] >= 'A' && dc[i] <= 'Z' ? dc[i] + 'a' - 'A' : dc[i]);
	__builtin_memcpy(to + 1 + n, domain->words, domain->len);
	ret.len = 1 + n + domain->len;
	return ret;
}
#endif
