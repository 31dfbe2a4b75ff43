/* SPDX-License-Identifier: Apache-2.0 */
/* replica_hash.c - SipHash-2-4 with an output of 128 bits (Aumasson, Bernstein 2012), under a key
 * that is the same on all agents, so that they come to the same digests. */
#include "replica_internal.h"

#include <string.h>

static uint64_t rotl(uint64_t x, int b)
{
	return x << b | x >> (64 - b);
}

static void rounds(uint64_t v[4], unsigned n)
{
	while (n--) {
		v[0] += v[1];
		v[1] = rotl(v[1], 13) ^ v[0];
		v[0] = rotl(v[0], 32);
		v[2] += v[3];
		v[3] = rotl(v[3], 16) ^ v[2];
		v[0] += v[3];
		v[3] = rotl(v[3], 21) ^ v[0];
		v[2] += v[1];
		v[1] = rotl(v[1], 17) ^ v[2];
		v[2] = rotl(v[2], 32);
	}
}

static uint64_t le64(const uint8_t *p, size_t len)
{
	uint64_t w = 0;

	for (size_t i = 0; i < len; i++)
		w |= (uint64_t)p[i] << (8 * i);
	return w;
}

static void word(uint64_t v[4], uint64_t w)
{
	v[3] ^= w;
	rounds(v, 2);
	v[0] ^= w;
}

digest_t replica_hash(const void *data, size_t len)
{
	const uint64_t k0 = 0x7761796d61726b20ull, k1 = 0x646967657374732eull;
	uint64_t v[4] = {k0 ^ 0x736f6d6570736575ull, k1 ^ 0x646f72616e646f6dull ^ 0xee,
			 k0 ^ 0x6c7967656e657261ull, k1 ^ 0x7465646279746573ull};
	const uint8_t *p = data;
	uint64_t high;
	size_t i;

	for (i = 0; i + 8 <= len; i += 8)
		word(v, le64(p + i, 8));
	word(v, le64(p + i, len - i) | (uint64_t)len << 56);
	v[2] ^= 0xee;
	rounds(v, 4);
	high = v[0] ^ v[1] ^ v[2] ^ v[3];
	v[1] ^= 0xdd;
	rounds(v, 4);
	return (digest_t)high << 64 | (v[0] ^ v[1] ^ v[2] ^ v[3]);
}
