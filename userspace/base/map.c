/* SPDX-License-Identifier: Apache-2.0 */
/* map.c - byte-string hash table: open addressing, linear probing, tombstones, power of two. It
 * grows by a second table, into which each insertion moves a few entries of the first: to move a
 * million at once would hold up the loop for tens of milliseconds. An entry is in one of the two.
 */
#include "map.h"

#include "hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAP_FIRST   16		      /* places of a new table */
#define MAP_STEP    16		      /* places of the old table that an insertion moves */
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
	size_t cap, len, used, max; /* used: entries and tombstones of `slots` */
	struct slot *old;	    /* what is left of the table before; NULL: nothing */
	size_t old_cap, old_at;	    /* what stands before old_at was moved */
	unsigned long shape;	    /* counts tables that began and ended */
	size_t old_len;		    /* entries of it */
	size_t reserved;	    /* insertions that must not fail */
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
	free(m->old);
	free(m);
}

void wm_map_free_values(struct wm_map *m)
{
	size_t pos = 0;
	void *v;

	while (m && (v = wm_map_next(m, &pos)))
		free(v);
	wm_map_free(m);
}

size_t wm_map_len(const struct wm_map *m)
{
	return m->len;
}

size_t wm_map_bytes(const struct wm_map *m)
{
	return sizeof(*m) + (m->cap + m->old_cap) * sizeof(*m->slots);
}

/* The entry of a key in one table, or NULL. @p ret_free (may be NULL): where it would go. */
static struct slot *find_in(struct slot *slots, size_t cap, const void *key, size_t len, uint64_t h,
			    struct slot **ret_free)
{
	uint32_t tag = (uint32_t)h;
	struct slot *hole = NULL, *s;

	/* ends: at least a quarter of the places was never used */
	for (size_t i = h & (cap - 1);; i = (i + 1) & (cap - 1)) {
		s = &slots[i];
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

static struct slot *find(const struct wm_map *m, const void *key, size_t len, uint64_t h,
			 struct slot **ret_free)
{
	struct slot *s = find_in(m->slots, m->cap, key, len, h, ret_free);

	if (!s && m->old)
		s = find_in(m->old, m->old_cap, key, len, h, NULL);
	return s;
}

/* Move the entries of up to @p max places. */
static void move(struct wm_map *m, size_t max)
{
	struct slot *s;
	size_t to;

	for (; m->old_at < m->old_cap && max; m->old_at++, max--) {
		s = &m->old[m->old_at];
		if (!s->key || s->key == &tomb)
			continue;
		for (to = s->hash & (m->cap - 1); m->slots[to].key && m->slots[to].key != &tomb;
		     to = (to + 1) & (m->cap - 1))
			; /* keys differ: the next free place */
		if (!m->slots[to].key)
			m->used++;
		m->old_len--;
		m->slots[to] = *s;
		s->key = &tomb;
		s->value = NULL;
	}
	if (m->old_at < m->old_cap)
		return;
	free(m->old);
	m->old = NULL;
	m->old_cap = m->old_at = 0;
	m->shape++;
}

/* Begin a table of @p cap places. Of the old one at most three quarters are entries, and an
 * insertion moves more than it adds, so it is empty long before the new one is full. */
static int resize(struct wm_map *m, size_t cap)
{
	struct slot *next;

	if (cap > MAP_CAP_MAX)
		return -ENOSPC;
	next = calloc(cap, sizeof(*next));
	if (!next)
		return -ENOMEM;
	move(m, m->old_cap);
	m->old = m->slots;
	m->old_cap = m->cap;
	m->old_at = 0;
	m->old_len = m->len;
	m->slots = next;
	m->cap = cap;
	m->used = 0;
	m->shape++;
	return 0;
}

/* So that @p more insertions do not fail, whatever is moved meanwhile. */
static int make_room(struct wm_map *m, size_t more)
{
	size_t cap = m->cap;

	if ((m->used + m->old_len + more) * 4 <= m->cap * 3)
		return 0;
	/* doubling only when live entries, not tombstones, fill it */
	while ((m->len + more) * 2 > cap)
		cap *= 2;
	return resize(m, cap);
}

void *wm_map_get(const struct wm_map *m, const void *key, size_t key_len)
{
	struct slot *s;

	if (!m->len) /* of what waits or is rare there is none most of the time */
		return NULL;
	s = find(m, key, key_len, wm_hash(key, key_len), NULL);
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
		err = make_room(m, m->reserved + 1);
		if (err)
			return err;
		find_in(m->slots, m->cap, key, key_len, h, &to);
	}
	if (!to->key)
		m->used++;
	m->len++;
	*to = (struct slot){key, value, (uint32_t)key_len, (uint32_t)h};
	if (m->old)
		move(m, MAP_STEP);
	return 0;
}

int wm_map_reserve(struct wm_map *m, size_t n)
{
	int err;

	if (m->len + m->reserved + n > m->max)
		return -ENOSPC;
	err = make_room(m, m->reserved + n);
	if (!err)
		m->reserved += n;
	return err;
}

void wm_map_unreserve(struct wm_map *m, size_t n)
{
	m->reserved -= n;
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
	m->old_len -= m->old && s >= m->old && s < m->old + m->old_cap;
	return value;
}

static void *next_in(const struct slot *slots, size_t cap, size_t *at)
{
	while (*at < cap) {
		const struct slot *s = &slots[(*at)++];

		if (s->key && s->key != &tomb)
			return s->value;
	}
	return NULL;
}

/* The positions of the new table follow those of the old one. */
void *wm_map_next(const struct wm_map *m, size_t *pos)
{
	void *value = *pos < m->old_cap ? next_in(m->old, m->old_cap, pos) : NULL;
	size_t at;

	if (value)
		return value;
	at = *pos - m->old_cap;
	value = next_in(m->slots, m->cap, &at);
	*pos = at + m->old_cap;
	return value;
}

unsigned long wm_map_shape(const struct wm_map *m)
{
	return m->shape;
}
