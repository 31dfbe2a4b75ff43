/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_ready.h - answers of our own that userspace made and the kernel gives again: of nodes,
 * addresses and the operator's records, which no health changes. What stands behind the question,
 * for clients that take all of it, and what it was made of: each source has a word that counts its
 * changes, and an answer is the same while the sum of the words is. Words only grow, so the sums
 * are equal if all of the words are, and who made a change counts before it tells anybody. Two
 * sizes, as most are short. Pure. Tests: tests/unit/test_dns_ready.c, tests/bpf/test_dns_ready.c.
 */
#pragma once
#include "dns_wire.h"
#include "table.h"

#define WM_READY_WORDS	 65536 /* sources that share one cost each other a miss, no wrong answer */
#define WM_READY_SOURCES 4     /* of one answer, the first of these with all others */
#define WM_READY_ALL	 0     /* the word of what all answers are made of: settings, records */
#define WM_READY_LABELS	 1     /* that of addresses of subsets */
#define WM_READY_FIRST	 2     /* from here on by hash */

#define WM_READY_OCTETS 1216 /* a message of WM_DNS_EDNS_MAX without header and question */
/* Of a small one: PTR of IPv6 has a name of 74 octets, and an SOA or some addresses follow. */
#define WM_READY_SMALL_NAME   128
#define WM_READY_SMALL_OCTETS 192
#define WM_READY_LARGE_PART   16 /* one in so many is large */
_Static_assert(WM_READY_OCTETS >= WM_DNS_EDNS_MAX - WM_DNS_HEADER_LEN - 5, "all that is sent");

struct wm_ready_key {
	struct wm_name_key name;
	__u16 type;
	__u16 pad;
	__u32 zero;
};
_Static_assert(sizeof(struct wm_ready_key) == 24, "no holes");

struct wm_ready_head {
	__u64 sum; /* of its sources' words when it was made */
	__u16 source[WM_READY_SOURCES];
	__u16 len; /* octets of records */
	__u16 answers, authorities, additionals;
	__u16 serial_at; /* where an SOA has its serial, which is the time; 0: there is none */
	__u16 name_len;
	__u16 rcode;
	__u16 turns; /* A or AAAA: its answers are these alone, of which any may be the first; or 0
		      */
};
_Static_assert(sizeof(struct wm_ready_head) == 32, "whole words");

struct wm_ready_small {
	__u64 seal; /* over key, head and octets */
	struct wm_ready_head head;
	__u8 name[WM_READY_SMALL_NAME]; /* folded, zero behind */
	__u8 octets[WM_READY_SMALL_OCTETS];
};
struct wm_ready {
	__u64 seal;
	struct wm_ready_head head;
	__u8 name[WM_DNS_NAME_MAX + 1];
	__u8 octets[WM_READY_OCTETS]; /* zero behind head.len */
};
_Static_assert(sizeof(struct wm_ready_small) == 360 && sizeof(struct wm_ready) == 1512,
	       "whole words");

static __always_inline __u64 wm_ready_seal_head(const struct wm_ready_key *k,
						const struct wm_ready_head *h)
{
	const wm_table_word *w = (const wm_table_word *)h;
	__u64 s = wm_seal_word(WM_SEAL_BEGIN, k->name.hash[0]);

	s = wm_seal_word(s, k->name.hash[1]);
	s = wm_seal_word(s, k->type);
	for (unsigned i = 0; i < sizeof(*h) / 8; i++)
		s = wm_seal_word(s, w[i]);
	return s;
}

/** Copy the records at @p from, @p max octets at most, to @p out. @p head, a copy, tells how many.
 *  @return 1; 0: these, @p seal and @p k do not belong together. */
static __always_inline int wm_ready_read(const struct wm_ready_key *k,
					 const struct wm_ready_head *head, const __u64 *seal,
					 const __u8 *from, __u32 max, __u64 *out)
{
	const wm_table_word *f = (const wm_table_word *)from;
	__u64 s = wm_ready_seal_head(k, head), word;

	for (__u32 i = 0; i < max / 8; i++) {
		if (i * 8 >= head->len)
			break;
		word = WM_READ(f[i]);
		s = wm_seal_word(s, word);
		out[i] = word;
	}
	return head->len <= max && s == WM_READ(*seal);
}

#ifndef __bpf__
/** Seal @p e for @p k: the last thing before it is put. */
static inline void wm_ready_seal(const struct wm_ready_key *k, struct wm_ready *e)
{
	__u64 word;

	e->seal = wm_ready_seal_head(k, &e->head);
	for (__u32 i = 0; i * 8 < e->head.len; i++) {
		__builtin_memcpy(&word, e->octets + i * 8, 8);
		e->seal = wm_seal_word(e->seal, word);
	}
}

/** Make the small one of @p e, which is sealed. @return 0: it is large. */
static inline int wm_ready_shrink(const struct wm_ready *e, struct wm_ready_small *ret)
{
	if (e->head.name_len > WM_READY_SMALL_NAME || e->head.len > WM_READY_SMALL_OCTETS)
		return 0;
	ret->seal = e->seal;
	ret->head = e->head;
	__builtin_memcpy(ret->name, e->name, sizeof(ret->name));
	__builtin_memcpy(ret->octets, e->octets, sizeof(ret->octets));
	return 1;
}
#endif
