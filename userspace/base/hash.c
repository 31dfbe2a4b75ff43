/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - SipHash-1-3 under a key drawn at start, so that names a stranger chooses cannot be made
 * to collide (Aumasson, Bernstein: SipHash, 2012; the 1-3 variant is what hash tables use), and
 * FNV-1a. */
#include "hash.h"

#include "random.h"

#include <endian.h>
#include <stdbool.h>
#include <string.h>

#define ROTL(x, b) (((x) << (b)) | ((x) >> (64 - (b))))
static inline void sip_round(uint64_t v[4])
{
	v[0] += v[1];
	v[1] = ROTL(v[1], 13) ^ v[0];
	v[0] = ROTL(v[0], 32);
	v[2] += v[3];
	v[3] = ROTL(v[3], 16) ^ v[2];
	v[0] += v[3];
	v[3] = ROTL(v[3], 21) ^ v[0];
	v[2] += v[1];
	v[1] = ROTL(v[1], 17) ^ v[2];
	v[2] = ROTL(v[2], 32);
}

uint64_t wm_hash(const void *data, size_t len)
{
	static uint64_t key[2];
	const uint8_t *p = data;
	uint64_t v[4], m, tail = (uint64_t)len << 56;
	size_t left = len;

	if (!key[0]) {
		key[0] = wm_random64() | 1;
		key[1] = wm_random64();
	}
	v[0] = key[0] ^ 0x736f6d6570736575ull;
	v[1] = key[1] ^ 0x646f72616e646f6dull;
	v[2] = key[0] ^ 0x6c7967656e657261ull;
	v[3] = key[1] ^ 0x7465646279746573ull;
	for (; left >= 8; left -= 8, p += 8) {
		memcpy(&m, p, 8);
		m = le64toh(m);
		v[3] ^= m;
		sip_round(v);
		v[0] ^= m;
	}
	if (left && len >= 8) { /* the last word, without what was taken before */
		memcpy(&m, p + left - 8, 8);
		tail |= le64toh(m) >> (64 - 8 * left);
	} else {
		for (size_t i = 0; i < left; i++)
			tail |= (uint64_t)p[i] << (8 * i);
	}
	v[3] ^= tail;
	sip_round(v);
	v[0] ^= tail;
	v[2] ^= 0xff;
	for (int i = 0; i < 3; i++)
		sip_round(v);
	return v[0] ^ v[1] ^ v[2] ^ v[3];
}

uint64_t wm_hash_stable(const void *data, size_t len)
{
	const uint8_t *p = data;
	uint64_t h = 0xcbf29ce484222325ull;

	for (size_t i = 0; i < len; i++)
		h = (h ^ p[i]) * 0x100000001b3ull;
	return h;
}
