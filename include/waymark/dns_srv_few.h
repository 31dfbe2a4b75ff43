/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_srv_few.h - SRV of most services: a set of at most WM_FEW_MAX backends, all of them up and
 * led to by their IPv4 addresses. Their records have one length, so each place of the answer is
 * known before any is written, and what differs of one is a word. What is not so is gathered as of
 * dns_srv.h, which says the same. Pure. Tests: tests/unit/test_dns_srv.c, tests/bpf/test_dns_srv.c.
 */
#pragma once
#include "dns_srv.h"

/* Octets of a record before what its target ends with: of its head, of eight digits and their
 * length, of the kind. */
#define WM_SRV_FEW_HEAD (WM_SRV_HEAD + 9 + WM_SRV_KIND)
/* Octets that such a target may end with: they are copied as whole words. */
#define WM_SRV_FEW_END (WM_SRV_END_MOST * 8)
_Static_assert(WM_SRV_FEW_HEAD == 32, "whole words");

/** Is the set of @p h one whose backends may be read so? */
static __always_inline int wm_srv_is_few(const struct wm_table_head *h,
					 const volatile struct wm_srv_end *end)
{
	const __u32 of = WM_HEAD_FEW | WM_HEAD_SRV | WM_HEAD_SRV_MANY;

	return (h->flags & of) == (WM_HEAD_FEW | WM_HEAD_SRV) && end->len - 1 < WM_SRV_FEW_END;
}

/** What a record has of backend @p b: its address, weight << 32, port << 48.
 *  @param ret_other what is not 0 tells that it is not the occupant @p stamp, not up, perhaps
 *  ejected at @p now_ns, without an IPv4 address, or that it leads to a node's name. Without a
 *  branch for each, of which the verifier would follow all. */
static __always_inline __u64 wm_srv_few_read(const struct wm_backend *b, __u32 stamp, __u64 now_ns,
					     __u64 *ret_other)
{
	const wm_table_word *w = (const wm_table_word *)b;
	__u64 state = WM_READ(w[0]), address, want = WM_STATE_UP | stamp << 16, out, again;

	WM_COMPILER_BARRIER();
	address = WM_READ(w[1]);
	out = now_ns - WM_READ(b->out_until_ns);
	WM_COMPILER_BARRIER();
	again = WM_READ(b->state);
	*ret_other = (again ^ want) | (__u32)(state ^ want) | out >> 63 |
		     (~(state >> 48) & WM_FAMILY_4) | (~(address >> 48) & WM_BACKEND_F_BY_ADDRESS);
	return address << 16 >> 16 | state >> 32 << 48;
}
_Static_assert(__builtin_offsetof(struct wm_backend, state) == 0 &&
		       __builtin_offsetof(struct wm_backend, port_be) == 4 &&
		       __builtin_offsetof(struct wm_backend, families) == 6 &&
		       __builtin_offsetof(struct wm_backend, addr4_be) == 8 &&
		       __builtin_offsetof(struct wm_backend, weight) == 12 &&
		       __builtin_offsetof(struct wm_backend, flags) == 14,
	       "its words");

/** Is @p a at least @p b? Both below 2^63. Without a branch. */
static __always_inline __u64 wm_srv_at_least(__u64 a, __u64 b)
{
	__u64 less = (a - b) >> 63;

	asm volatile("" : "+r"(less)); /* the compiler would make a branch of it */
	return 1 - less;
}

/** Let octets @p i and @p k of @p order change places. */
static __always_inline __u32 wm_srv_few_swap(__u32 order, __u32 i, __u32 k)
{
	__u32 differ = (order >> 8 * i ^ order >> 8 * k) & 0xff;

	return order ^ (differ << 8 * i | differ << 8 * k);
}

/** In which order @p n, 1 to WM_FEW_MAX, stand: as of struct wm_order, the first drawn by weight,
 *  the rest evenly. @p few words of them, behind them 0; @p random 64 even bits.
 *  @return octet i: who stands at place i. */
static __always_inline __u32 wm_srv_few_order(const __u64 few[WM_FEW_MAX], __u32 n, __u64 random)
{
	__u64 below[WM_FEW_MAX], total = 0, even, x, first = 0;

	for (__u32 i = 0; i < WM_FEW_MAX; i++)
		below[i] = total += few[i] >> 32 & 0xffff;
	even = 1 - wm_srv_at_least(total, 1); /* 1: nobody has any, and all are equal */
	x = (random >> 32) * (total + even * n) >> 32;
	for (__u32 i = 0; i < WM_FEW_MAX - 1; i++)
		first += wm_srv_at_least(x, below[i] + even * (i + 1));
	return wm_srv_few_swap(wm_srv_few_swap(wm_srv_few_swap(0x03020100, 0, (__u32)first & 3), 1,
					       1 + (((__u32)random & 0xffff) * (n - 1) >> 16)),
			       2, 2 + ((__u32)random >> 16 & n >> 2));
}
_Static_assert(WM_FEW_MAX == 4, "octets of a word, and one bit for the last but one");

/** Octets of each record of targets that end with @p end_len. */
static __always_inline __u32 wm_srv_few_len(__u32 end_len)
{
	return WM_SRV_FEW_HEAD + end_len;
}

/** Write the record of @p word at @p at of the records @p out. Some octets behind it are
 *  overwritten. */
static __always_inline void wm_srv_few_put(__u8 *out, __u32 at, __u64 word, __u32 len,
					   const volatile struct wm_srv_end *end, __be32 ttl_be)
{
	wm_any_word *w = (wm_any_word *)(out + (at & WM_SRV_MASK));
	__u64 digits = wm_srv_hex((__be32)word), weight = word >> 32 & 0xffff;

	w[0] = wm_srv_head(WM_DNS_NAME_POINTER, WM_DNS_SRV, ttl_be);
	w[1] = ttl_be >> 16 | (__u32)__builtin_bswap16((__u16)(len - WM_DNS_RR_DATA)) << 16 |
	       (__u64)__builtin_bswap16(1) << 32 /* priority */ |
	       (__u64)__builtin_bswap16((__u16)weight) << 48;
	w[2] = word >> 48 | 8 << 16 | digits << 24;
	w[3] = digits >> 40 | (__u64)4 << 24 | WM_DENY_ADDR << 32;
	for (__u32 k = 0; k < WM_SRV_END_MOST; k++)
		w[4 + k] = end->words[k];
}

/** Write the address of @p word at @p at of the records @p out. @p target where in the message the
 *  target of its record stands. */
static __always_inline void wm_srv_few_put_address(__u8 *out, __u32 at, __u64 word, __u32 target,
						   __be32 ttl_be)
{
	wm_any_word *w = (wm_any_word *)(out + (at & WM_SRV_MASK));

	w[0] = wm_srv_head(0xc000 | target, WM_DNS_A, ttl_be);
	w[1] = ttl_be >> 16 | 4 << 24 | word << 32;
}
