/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* siphash.h - SipHash-2-4 of whole words, for programs and for userspace: without a loop, as the
 * verifier would follow each turn of it. Words are read as little-endian, so that the octets are
 * those of the reference. Spec: Aumasson and Bernstein, 2012. Pure. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

struct wm_sip {
	__u64 v[4];
};

static __always_inline __u64 wm_sip_turn(__u64 x, int bits)
{
	return x << bits | x >> (64 - bits);
}

static __always_inline void wm_sip_round(struct wm_sip *s)
{
	s->v[0] += s->v[1];
	s->v[1] = wm_sip_turn(s->v[1], 13) ^ s->v[0];
	s->v[0] = wm_sip_turn(s->v[0], 32);
	s->v[2] += s->v[3];
	s->v[3] = wm_sip_turn(s->v[3], 16) ^ s->v[2];
	s->v[0] += s->v[3];
	s->v[3] = wm_sip_turn(s->v[3], 21) ^ s->v[0];
	s->v[2] += s->v[1];
	s->v[1] = wm_sip_turn(s->v[1], 17) ^ s->v[2];
	s->v[2] = wm_sip_turn(s->v[2], 32);
}

static __always_inline void wm_sip_begin(struct wm_sip *s, const __u64 key[2])
{
	s->v[0] = key[0] ^ 0x736f6d6570736575ull;
	s->v[1] = key[1] ^ 0x646f72616e646f6dull;
	s->v[2] = key[0] ^ 0x6c7967656e657261ull;
	s->v[3] = key[1] ^ 0x7465646279746573ull;
}

static __always_inline void wm_sip_word(struct wm_sip *s, __u64 word)
{
	s->v[3] ^= word;
	wm_sip_round(s);
	wm_sip_round(s);
	s->v[0] ^= word;
}

/** @p rest: the octets behind the whole words, zeros behind them. @p len: octets in all. */
static __always_inline __u64 wm_sip_end(struct wm_sip *s, __u64 rest, __u32 len)
{
	wm_sip_word(s, rest | (__u64)(len & 0xff) << 56);
	s->v[2] ^= 0xff;
	wm_sip_round(s);
	wm_sip_round(s);
	wm_sip_round(s);
	wm_sip_round(s);
	return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}
