/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - SipHash-1-3 under a key drawn at start, so that names a stranger chooses cannot be made
 * to collide (Aumasson, Bernstein: SipHash, 2012; the 1-3 variant is what hash tables use), and
 * FNV-1a. */
#include "hash.h"

#include "random.h"
#include "waymark/siphash.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

uint64_t wm_hash(const void *data, size_t len)
{
	static uint64_t key[2];
	const uint8_t *p = data;
	uint64_t m, tail = (uint64_t)len << 56;
	struct wm_sip s;
	size_t left = len;

	if (!key[0]) {
		key[0] = wm_random64() | 1;
		key[1] = wm_random64();
	}
	wm_sip_begin(&s, (const __u64[2]){key[0], key[1]});
	for (; left >= 8; left -= 8, p += 8) {
		memcpy(&m, p, 8);
		m = le64toh(m);
		s.v[3] ^= m;
		wm_sip_round(&s);
		s.v[0] ^= m;
	}
	if (left && len >= 8) { /* the last word, without what was taken before */
		memcpy(&m, p + left - 8, 8);
		tail |= le64toh(m) >> (64 - 8 * left);
	} else {
		for (size_t i = 0; i < left; i++)
			tail |= (uint64_t)p[i] << (8 * i);
	}
	s.v[3] ^= tail;
	wm_sip_round(&s);
	s.v[0] ^= tail;
	s.v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		wm_sip_round(&s);
	return s.v[0] ^ s.v[1] ^ s.v[2] ^ s.v[3];
}

uint64_t wm_hash_stable(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}
