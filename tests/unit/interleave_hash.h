/* SPDX-License-Identifier: Apache-2.0 */
/* interleave_hash.h - a hash as the kernel's preallocated ones are: what is deleted is used again
 * for the next key, and overwritten while a reader may stand in it. Its words lie in the memory
 * whose stores are steps. */
#pragma once
#include "interleave_stores.h"
#include "waymark/layout.h"

#define KEYS 8 /* of a hash; as many elements */

static bool backwards; /* the kernel copies values from the last word on */

struct hash {
	uint8_t key[KEYS][sizeof(struct wm_frontend_key)];
	size_t key_len, words; /* of a value */
	unsigned keys, spare[KEYS], spares;
	uint64_t *of, *elements;
};

static void hash_init(struct hash *h, size_t key_len, size_t value_len, uint64_t *of,
		      void *elements)
{
	*h = (struct hash){
		.key_len = key_len, .words = value_len / 8, .of = of, .elements = elements};
	while (h->spares < KEYS) {
		h->spare[h->spares] = KEYS - h->spares;
		h->spares++;
	}
}

static unsigned key_number(struct hash *h, const void *key)
{
	unsigned i = 0;

	while (i < h->keys && memcmp(h->key[i], key, h->key_len) != 0)
		i++;
	cr_assert_lt(i, KEYS);
	if (i == h->keys)
		memcpy(h->key[h->keys++], key, h->key_len);
	return i;
}

static int hash_put(struct hash *h, const void *key, const void *value)
{
	unsigned k = key_number(h, key), e = h->spare[--h->spares], was = (unsigned)h->of[k];
	uint64_t *to = h->elements + (e - 1) * h->words, word;

	for (size_t i = 0; i < h->words; i++) {
		size_t n = backwards ? h->words - 1 - i : i;

		memcpy(&word, (const uint8_t *)value + n * 8, 8);
		store_word(&to[n], word);
	}
	store_word(&h->of[k], e);
	if (was)
		h->spare[h->spares++] = was;
	return 0;
}

static int hash_del(struct hash *h, const void *key)
{
	unsigned k = key_number(h, key);

	h->spare[h->spares++] = (unsigned)h->of[k];
	store_word(&h->of[k], 0);
	return 0;
}
