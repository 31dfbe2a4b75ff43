/* SPDX-License-Identifier: Apache-2.0 */
/* replica_hash.c - SipHash-2-4 with an output of 128 bits (Aumasson, Bernstein 2012), under a key
 * that is the same on all agents, so that they come to the same digests. */
#include "replica_internal.h"
#include "waymark/siphash.h"

#include <string.h>

/* Four rounds, and what they come to. */
static uint64_t half(struct wm_sip *s)
{
	for (int i = 0; i < 4; i++)
		wm_sip_round(s);
	return s->v[0] ^ s->v[1] ^ s->v[2] ^ s->v[3];
}

static uint64_t le64(const uint8_t *p, size_t len)
{
	uint64_t w = 0;

	for (size_t i = 0; i < len; i++)
		w |= (uint64_t)p[i] << (8 * i);
	return w;
}

digest_t replica_hash(const void *data, size_t len)
{
	static const __u64 key[2] = {0x7761796d61726b20ull, 0x646967657374732eull};
	const uint8_t *p = data;
	struct wm_sip s;
	uint64_t high;
	size_t i;

	wm_sip_begin(&s, key);
	s.v[1] ^= 0xee;
	for (i = 0; i + 8 <= len; i += 8)
		wm_sip_word(&s, le64(p + i, 8));
	wm_sip_word(&s, le64(p + i, len - i) | (uint64_t)len << 56);
	s.v[2] ^= 0xee;
	high = half(&s);
	s.v[1] ^= 0xdd;
	return (digest_t)high << 64 | half(&s);
}
