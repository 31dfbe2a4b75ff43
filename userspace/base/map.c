/* SPDX-License-Identifier: Apache-2.0 */
/* map.c - byte-string hash table: open addressing, linear probing, tombstones, power of two. */
#include "map.h"

#include "hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAP_FIRST   16		      /* places of a new table */
#define MAP_CAP_MAX ((size_t)1 << 32) /* places: a slot keeps 32 bits of the hash */

struct slot {
	const void *key; /* NULL: never used; &tomb: deleted */
	void *value;
	uint32_t key_len;
	uint32_t hash; /* lower half: its place, so that growing need not read the keys; most
			* mismatches end at the bits above those of the place */
};

struct wm_map {
	struct slot *slots;
	size_t cap, len, used, max; /* used: len and tombstones */
};

static const char tomb;

struct wm_map *wm_map_new(size_t max)
{
	struct wm_map *m = calloc(1, sizeof(*m));

	if (!m)
		return NULL;
	m->slots = calloc(MAP_FIRST, sizeof(*m->slots));
	if (!m->slots) {
		free(m);
		return NULL;
	}
	m->cap = MAP_FIRST;
	m->max = max;
	return m;
}

void wm_map_free(struct wm_map *m)
{
	if (!m)
		return;
	free(m->slots);
	free(m);
}

size_t wm_map_len(const struct wm_map *m)
{
	return m->len;
}

size_t wm_map_bytes(const struct wm_map *m)
{
	return sizeof(*m) + m->cap * sizeof(*m->slots);
}

/* The entry of a key, or NULL. @p ret_free (may be NULL): where it would go. */
static struct slot *find(const struct wm_map *m, const void *key, size_t len, uint64_t h,
			 struct slot **ret_free)
{
	uint32_t tag = (uint32_t)h;
	struct slot *hole = NULL, *s;

	/* ends: at least a quarter of the places was never used */
	for (size_t i = h & (m->cap - 1);; i = (i + 1) & (m->cap - 1)) {
		s = &m->slots[i];
		if (!s->key) {
			if (ret_free)
				*ret_free = hole ? hole : s;
			return NULL;
		}
		if (s->key == &tomb) {
			if (!hole)
				hole = s;
			continue;
		}
		if (s->hash == tag && s->key_len == len && memcmp(s->key, key, len) == 0)
			return s;
	}
}

static int resize(struct wm_map *m, size_t cap)
{
	struct wm_map next = {.cap = cap, .max = m->max};
	struct slot *s;
	size_t to;

	if (cap > MAP_CAP_MAX)
		return -ENOSPC;
	next.slots = calloc(cap, sizeof(*next.slots));
	if (!next.slots)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++) {
		s = &m->slots[i];
		if (!s->key || s->key == &tomb)
			continue;
		for (to = s->hash & (cap - 1); next.slots[to].key; to = (to + 1) & (cap - 1))
			; /* keys differ: the next free place */
		next.slots[to] = *s;
		next.used = ++next.len;
	}
	free(m->slots);
	*m = next;
	return 0;
}

void *wm_map_get(const struct wm_map *m, const void *key, size_t key_len)
{
	struct slot *s = find(m, key, key_len, wm_hash(key, key_len), NULL);

	return s ? s->value : NULL;
}

int wm_map_put(struct wm_map *m, const void *key, size_t key_len, void *value, void **ret_old)
{
	uint64_t h = wm_hash(key, key_len);
	struct slot *to, *s = find(m, key, key_len, h, &to);
	int err;

	if (ret_old)
		*ret_old = s ? s->value : NULL;
	if (s) {
		s->key = key;
		s->value = value;
		return 0;
	}
	if (m->len >= m->max)
		return -ENOSPC;
	if ((m->used + 1) * 4 > m->cap * 3) {
		/* doubling only when live entries, not tombstones, fill it */
		err = resize(m, (m->len + 1) * 2 > m->cap ? m->cap * 2 : m->cap);
		if (err)
			return err;
		find(m, key, key_len, h, &to);
	}
	if (!to->key)
		m->used++;
	m->len++;
	*to = (struct slot){key, value, (uint32_t)key_len, (uint32_t)h};
	return 0;
}

void *wm_map_del(struct wm_map *m, const void *key, size_t key_len)
{
	struct slot *s = find(m, key, key_len, wm_hash(key, key_len), NULL);
	void *value;

	if (!s)
		return NULL;
	value = s->value;
	s->key = &tomb;
	s->value = NULL;
	m->len--;
	return value;
}

void *wm_map_next(const struct wm_map *m, size_t *pos)
{
	while (*pos < m->cap) {
		const struct slot *s = &m->slots[(*pos)++];

		if (s->key && s->key != &tomb)
			return s->value;
	}
	return NULL;
}
