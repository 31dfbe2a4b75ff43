/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_hot.h - answers of other servers that the kernel keeps: what stands behind the question of a
 * message that userspace sent, and when it was sent. A copy of it with its TTLs counted down is the
 * next answer to the same question (RFC 1035 3.2.1, RFC 8767 for what is stale). Names in it may
 * point into the question, which has the same octets in each query but for their case. Pure.
 * Tests: tests/unit/test_dns_hot.c, tests/bpf/test_dns_hot.c. */
#pragma once
#include "dns_wire.h"
#include "table.h"

#define WM_HOT_TTLS   32   /* records of an answer; what has more stays in userspace */
#define WM_HOT_OCTETS 1216 /* a message of WM_DNS_EDNS_MAX without header and question */
/* Without a word from the agent for so long it does not run: it vouches for the tables each second,
 * and a turn of its loop may take another. */
#define WM_HOT_DEAD_NS	   (5 * 1000000000ull)
#define WM_HOT_STALE_TTL_S 30 /* RFC 8767 4 */
_Static_assert(WM_HOT_OCTETS >= WM_DNS_EDNS_MAX - WM_DNS_HEADER_LEN - 5, "all that is sent");

/* What of a query changes the answer besides the question. */
#define WM_HOT_DO 1u /* RRSIG and their like are wanted */
#define WM_HOT_CD 2u /* what fails validation is wanted */
#define WM_HOT_AD 4u /* whether it was validated is wanted */
#define WM_DNS_AD 0x0020

struct wm_hot_key {
	struct wm_name_key name;
	__u16 type;
	__u16 view; /* WM_HOT_* */
	__u32 zero;
};
_Static_assert(sizeof(struct wm_hot_key) == 24, "no holes");

/* What is sealed but the records: it is read before them. */
struct wm_hot_head {
	__u64 made_ns;	  /* CLOCK_BOOTTIME that the TTLs are of */
	__u64 expires_ns; /* when the first of them is over */
	__u16 len;	  /* octets of records */
	__u16 flags;	  /* of the header, host order: AD, RCODE */
	__u16 answers, authorities, additionals;
	__u16 name_len;
	__u16 ttls;
	__u16 zero;
	__u16 ttl_at[WM_HOT_TTLS]; /* where records have their TTL */
};
_Static_assert(sizeof(struct wm_hot_head) == 96, "whole words");

struct wm_hot {
	__u64 hits; /* answers that were made of it, by all CPUs: some may be missed */
	__u64 seal; /* over key, head and octets: wm_hot_read() */
	struct wm_hot_head head;
	__u8 name[WM_DNS_NAME_MAX + 1]; /* folded, zero behind */
	__u8 octets[WM_HOT_OCTETS];	/* zero behind head.len */
};
_Static_assert(sizeof(struct wm_hot) == 1584, "whole words");

/** Types that the kernel asks its answers for. */
static __always_inline int wm_hot_type(__u16 type)
{
	return type && type < 128 && type != WM_DNS_OPT;
}

static __always_inline __u16 wm_hot_view(const struct wm_dns_query *q)
{
	return (__u16)((q->edns_flags & WM_DNS_DO ? WM_HOT_DO : 0) |
		       (q->flags & WM_DNS_CD ? WM_HOT_CD : 0) |
		       (q->flags & WM_DNS_AD ? WM_HOT_AD : 0));
}

static __always_inline __u64 wm_hot_seal_head(const struct wm_hot_key *k,
					      const struct wm_hot_head *h)
{
	const wm_table_word *w = (const wm_table_word *)h;
	__u64 s = wm_seal_word(WM_SEAL_BEGIN, k->name.hash[0]);

	s = wm_seal_word(s, k->name.hash[1]);
	s = wm_seal_word(s, (__u64)k->type << 16 | k->view);
	for (unsigned i = 0; i < sizeof(*h) / 8; i++)
		s = wm_seal_word(s, w[i]);
	return s;
}

/** Copy the records of @p e, of which @p head is a copy, into @p out of WM_HOT_OCTETS.
 *  @return 1; 0: they do not belong together, or not to @p k. */
static __always_inline int wm_hot_read(const struct wm_hot *e, const struct wm_hot_key *k,
				       const struct wm_hot_head *head, __u64 *out)
{
	const wm_table_word *from = (const wm_table_word *)e->octets;
	__u64 seal = wm_hot_seal_head(k, head), word;

	for (__u32 i = 0; i < WM_HOT_OCTETS / 8; i++) {
		if (i * 8 >= head->len)
			break;
		word = WM_READ(from[i]);
		seal = wm_seal_word(seal, word);
		out[i] = word;
	}
	return seal == WM_READ(e->seal);
}

/** Count the TTLs of @p octets down by @p elapsed_s; @p stale, 0 or 1: all are WM_HOT_STALE_TTL_S.
 *  Without a branch for either, of which the verifier would follow each at each of them. */
static __always_inline void wm_hot_age(__u8 *octets, const struct wm_hot_head *h, __u32 elapsed_s,
				       int stale)
{
	__u32 fresh = (__u32)stale - 1, stale_s = WM_HOT_STALE_TTL_S & ~fresh;

	for (__u32 i = 0; i < WM_HOT_TTLS; i++) {
		wm_any_half *ttl;
		__s64 left_s, over;
		__u32 at;

		if (i >= h->ttls)
			break;
		at = h->ttl_at[i];
		if (at > WM_HOT_OCTETS - 4)
			break; /* never: tells the verifier */
		ttl = (wm_any_half *)(octets + at);
		left_s = (__s64)__builtin_bswap32(*ttl) - elapsed_s;
		over = left_s >> 63;
		asm volatile("" : "+r"(over)); /* the compiler would make a branch of it */
		*ttl = __builtin_bswap32(((__u32)(left_s & ~over) & fresh) | stale_s);
	}
}

#ifndef __bpf__
/** Offset behind the name at @p at of a message, 0: malformed. Pointers are not followed. */
static inline __u32 wm_hot_skip_name(const __u8 *msg, __u32 len, __u32 at)
{
	while (at < len) {
		if (msg[at] >= 0xc0)
			return at + 2 <= len ? at + 2 : 0;
		if (!msg[at])
			return at + 1;
		at += 1u + msg[at];
	}
	return 0;
}

/** Seal @p e for @p k: the last thing before it is put. */
static inline void wm_hot_seal(const struct wm_hot_key *k, struct wm_hot *e)
{
	__u64 word;

	e->seal = wm_hot_seal_head(k, &e->head);
	for (__u32 i = 0; i * 8 < e->head.len; i++) {
		__builtin_memcpy(&word, e->octets + i * 8, 8);
		e->seal = wm_seal_word(e->seal, word);
	}
}

/** Make @p ret of the answer @p msg to @p q, whose folded name is @p folded (WM_NAME_BUF octets,
 *  zero behind it). @return 0: it is none that may be kept: cut, an error, without a TTL, or with
 *  more records or octets than there is room for. Not sealed. */
static inline int wm_hot_make(const __u8 *msg, __u32 len, const struct wm_dns_query *q,
			      const __u8 *folded, __u64 now_ns, struct wm_hot *ret)
{
	__u32 begin = WM_DNS_HEADER_LEN + q->name_len + 4u, at = begin, end = begin, least_s = ~0u;
	__u16 flags = (__u16)((__u32)msg[2] << 8 | msg[3]);
	struct wm_hot_head *h = &ret->head;
	__u16 count[3];
	int opt = 0;

	__builtin_memset(ret, 0, sizeof(*ret));
	if (len < begin || flags & WM_DNS_TC ||
	    ((flags & WM_DNS_RCODE) != WM_DNS_NOERROR && (flags & WM_DNS_RCODE) != WM_DNS_NXDOMAIN))
		return 0;
	for (int s = 0; s < 3; s++) {
		__u32 n = (__u32)msg[6 + 2 * s] << 8 | msg[7 + 2 * s];

		count[s] = 0;
		for (; n; n--) {
			__u32 fixed = wm_hot_skip_name(msg, len, at), ttl_s, type;

			if (!fixed || len - fixed < 10)
				return 0;
			type = (__u32)msg[fixed] << 8 | msg[fixed + 1];
			ttl_s = (__u32)msg[fixed + 4] << 24 | (__u32)msg[fixed + 5] << 16 |
				(__u32)msg[fixed + 6] << 8 | msg[fixed + 7];
			at = fixed + 10 + ((__u32)msg[fixed + 8] << 8 | msg[fixed + 9]);
			if (at > len)
				return 0;
			if (type == WM_DNS_OPT) {
				opt = 1; /* each answer has its own */
				continue;
			}
			if (opt || h->ttls == WM_HOT_TTLS)
				return 0; /* what is kept is in one piece */
			h->ttl_at[h->ttls++] = (__u16)(fixed + 4 - begin);
			least_s = ttl_s < least_s ? ttl_s : least_s;
			count[s]++;
			end = at;
		}
	}
	if (!h->ttls || !least_s || end - begin > WM_HOT_OCTETS)
		return 0;
	h->made_ns = now_ns;
	h->expires_ns = now_ns + least_s * 1000000000ull;
	h->len = (__u16)(end - begin);
	h->flags = flags & (WM_DNS_AD | WM_DNS_RCODE);
	h->answers = count[0];
	h->authorities = count[1];
	h->additionals = count[2];
	h->name_len = q->name_len;
	__builtin_memcpy(ret->name, folded, q->name_len);
	__builtin_memcpy(ret->octets, msg + begin, h->len);
	return 1;
}
#endif
