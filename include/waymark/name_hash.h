/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* name_hash.h - case folding and the keyed 128-bit hash of a name on the wire, eight octets a step.
 * The hash only has to spread names and to be unpredictable without the seed; a match is
 * confirmed by comparing the whole name, so a collision costs a miss and no wrong answer
 * (dns_prog/a_collision_is_a_miss).
 * Multiplies and rotates in the manner of MurmurHash3's 128-bit mixer. Pure. */
#pragma once
#include "layout.h"

/* Octets of a buffer that holds a name for hashing: 255, rounded up to whole words. */
#define WM_NAME_BUF   256
#define WM_NAME_WORDS (WM_NAME_BUF / 8)

/** Fold ASCII capitals among the eight octets of @p w to small letters, branch-free; others stay.
 *  Label lengths (<= 63) lie below 'A' and are not touched. RFC 4343. */
static __always_inline __u64 wm_fold8(__u64 w)
{
	const __u64 low7 = 0x7f7f7f7f7f7f7f7full, ones = 0x0101010101010101ull;
	__u64 heptets = w & low7;
	__u64 over_z = heptets + (0x7f - 'Z') * ones;
	__u64 from_a = heptets + (0x80 - 'A') * ones;
	__u64 upper = (from_a ^ over_z) & ~w & (ones << 7);

	return w | (upper >> 2);
}

static __always_inline __u64 wm_rotl64(__u64 x, int b)
{
	return x << b | x >> (64 - b);
}

struct wm_name_hasher {
	__u64 a, b;
};

static __always_inline void wm_hash_begin(struct wm_name_hasher *h, const __u64 seed[2])
{
	h->a = seed[0];
	h->b = seed[1];
}

static __always_inline void wm_hash_word(struct wm_name_hasher *h, __u64 w)
{
	h->a ^= wm_rotl64(w * 0x87c37b91114253d5ull, 31) * 0x4cf5ad432745937full;
	h->a = wm_rotl64(h->a, 27) + h->b;
	h->b = (h->b ^ wm_rotl64(w * 0x4cf5ad432745937full, 33)) * 5 + 0x38495ab5ull;
	h->b = wm_rotl64(h->b, 31) + h->a;
}

static __always_inline __u64 wm_mix64(__u64 k)
{
	k ^= k >> 33;
	k *= 0xff51afd7ed558ccdull;
	k ^= k >> 33;
	k *= 0xc4ceb9fe1a85ec53ull;
	k ^= k >> 33;
	return k;
}

static __always_inline void wm_hash_end(struct wm_name_hasher *h, __u32 len,
					struct wm_name_key *ret)
{
	__u64 a = h->a ^ len, b = h->b ^ len;

	a += b;
	b += a;
	a = wm_mix64(a);
	b = wm_mix64(b);
	a += b;
	b += a;
	ret->hash[0] = a;
	ret->hash[1] = b;
}

/** Word @p i of a name of @p len octets, as loaded, with what lies behind the name set to zero. */
static __always_inline __u64 wm_name_mask(__u64 w, __u32 i, __u32 len)
{
	__u32 left = len - i * 8;

	return left < 8 ? w & ((1ull << (left * 8)) - 1) : w;
}

#ifndef __bpf__
/** Key of a folded wire name. @p folded: WM_NAME_BUF octets, zero behind @p len (1..255). Host
 * only; the kernel folds and hashes in one pass (bpf/dns.bpf.c), with the same result. Little
 * endian. */
static inline void wm_name_hash(const __u64 seed[2], const __u8 *folded, __u32 len,
				struct wm_name_key *ret)
{
	struct wm_name_hasher h;
	__u64 w;

	wm_hash_begin(&h, seed);
	for (__u32 i = 0; i * 8 < len; i++) {
		__builtin_memcpy(&w, folded + i * 8, 8);
		wm_hash_word(&h, wm_fold8(wm_name_mask(w, i, len)));
	}
	wm_hash_end(&h, len, ret);
}
#endif
