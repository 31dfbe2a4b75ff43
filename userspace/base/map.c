/* SPDX-License-Identifier: Apache-2.0 */
/* map.c - byte-string hash table: open addressing, linear probing, tombstones, power of two. The
 * table holds numbers of entries, which lie densely beside it and never move: a place that is free
 * takes 4 octets, not an entry. It grows by a second table, into which each insertion brings a few
 * entries: a million at once would hold up the loop for tens of milliseconds. */
#include "map.h"

#include "entries.h"
#include "hash.h"

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define MAP_FIRST 16 /* places of a new table */
#define MAP_STEP  16 /* entries that an insertion brings into a table that begins */

/* A place: 0, never used; TOMB, deleted; else number of an entry + 1, and above it the top bits of
 * its hash, at which most mismatches end. */
#define NUMBER	    0x07ffffffu
#define TOMB	    0xf8000000u
#define ENTRIES_MAX ((size_t)NUMBER - 1)
#define NO_ENTRY    UINT32_MAX

struct wm_map {
	uint32_t *table, *old; /* old: NULL: all entries are in `table` */
	size_t cap, old_cap;   /* places */
	size_t used;	       /* of `table` that are not 0 */
	uint32_t at, end;      /* with `old`: entries in between are still to be brought over, */
	uint32_t left;	       /* so many, beside those that came later into holes */
	struct wm_entries entries;
	uint32_t len;
	size_t max;
	size_t reserved; /* insertions that must not fail */
};

struct wm_map *wm_map_new(size_t max)
{
	struct wm_map *m = calloc(1, sizeof(*m));

	if (m)
		m->max = max < ENTRIES_MAX ? max : ENTRIES_MAX;
	return m;
}

void wm_map_free(struct wm_map *m)
{
	if (!m)
		return;
	wm_entries_done(&m->entries);
	free(m->table);
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
	return sizeof(*m) + (m->cap + m->old_cap) * sizeof(*m->table) +
	       wm_entries_bytes(&m->entries);
}

static uint32_t place_of(uint32_t number, uint32_t hash)
{
	return (hash & ~NUMBER) | (number + 1);
}

/* The entry of a key in one table, or NO_ENTRY. */
static uint32_t find_in(const struct wm_map *m, const uint32_t *table, size_t cap, const void *key,
			size_t len, uint32_t h)
{
	const struct wm_entry *e;

	/* ends: at least a quarter of the places was never used */
	for (size_t i = h & (cap - 1); table[i]; i = (i + 1) & (cap - 1)) {
		if (((table[i] ^ h) & ~NUMBER) || table[i] == TOMB)
			continue;
		e = wm_entry_at(&m->entries, (table[i] & NUMBER) - 1);
		if (e->hash == h && e->key_len == len && (!len || memcmp(e->key, key, len) == 0))
			return (table[i] & NUMBER) - 1;
	}
	return NO_ENTRY;
}

static uint32_t find(const struct wm_map *m, const void *key, size_t len, uint32_t h)
{
	uint32_t n;

	if (!m->len) /* of what waits or is rare there is none most of the time */
		return NO_ENTRY;
	n = find_in(m, m->table, m->cap, key, len, h);
	if (n == NO_ENTRY && m->old)
		n = find_in(m, m->old, m->old_cap, key, len, h);
	return n;
}

/* Into the table. @return false: it is there. */
static bool enter(struct wm_map *m, uint32_t number, uint32_t hash)
{
	uint32_t place = place_of(number, hash), *free = NULL;
	size_t i = hash & (m->cap - 1);

	for (; m->table[i]; i = (i + 1) & (m->cap - 1)) {
		if (m->table[i] == place)
			return false;
		if (m->table[i] == TOMB && !free)
			free = &m->table[i];
	}
	m->used += !free;
	*(free ? free : &m->table[i]) = place;
	return true;
}

/* @return false: it is not there. */
static bool erase(uint32_t *table, size_t cap, uint32_t place, uint32_t hash)
{
	for (size_t i = hash & (cap - 1); table[i]; i = (i + 1) & (cap - 1)) {
		if (table[i] == place) {
			table[i] = TOMB;
			return true;
		}
	}
	return false;
}

/* Bring over up to @p max entries. */
static void move(struct wm_map *m, size_t max)
{
	const struct wm_entry *e;

	for (; m->at < m->end && max; m->at++, max--) {
		e = wm_entry_at(&m->entries, m->at);
		if (e->key)
			m->left -= enter(m, m->at, e->hash);
	}
	if (m->at < m->end)
		return;
	free(m->old);
	m->old = NULL;
	m->old_cap = 0;
}

/* Begin a table of @p cap places. The entries of the old one fill at most half of it, and an
 * insertion brings over more than it adds, so that ends long before the new one is full. */
static int resize(struct wm_map *m, size_t cap)
{
	uint32_t *next = calloc(cap, sizeof(*next));

	if (!next)
		return -ENOMEM;
	if (m->old)
		move(m, m->end);
	m->old = m->table;
	m->old_cap = m->cap;
	m->at = 0;
	m->end = m->entries.top;
	m->left = m->len;
	m->table = next;
	m->cap = cap;
	m->used = 0;
	if (!m->end) /* nothing was ever in it */
		move(m, 0);
	return 0;
}

/* So that @p more insertions do not fail, whatever is moved meanwhile. */
static int make_room(struct wm_map *m, size_t more)
{
	size_t cap = m->cap ? m->cap : MAP_FIRST;
	int err = wm_entries_room(&m->entries, m->len + more);

	if (err || (m->used + m->left + more) * 4 <= m->cap * 3)
		return err;
	/* doubling only when live entries, not tombstones, fill it */
	while ((m->len + more) * 2 > cap)
		cap *= 2;
	return resize(m, cap);
}

void *wm_map_get(const struct wm_map *m, const void *key, size_t key_len)
{
	uint32_t n;

	if (!m->len)
		return NULL;
	n = find(m, key, key_len, (uint32_t)wm_hash(key, key_len));
	return n == NO_ENTRY ? NULL : wm_entry_at(&m->entries, n)->value;
}

int wm_map_put(struct wm_map *m, const void *key, size_t key_len, void *value, void **ret_old)
{
	uint32_t h = (uint32_t)wm_hash(key, key_len), n = find(m, key, key_len, h);
	struct wm_entry *e = n == NO_ENTRY ? NULL : wm_entry_at(&m->entries, n);
	int err;

	if (ret_old)
		*ret_old = e ? e->value : NULL;
	if (e) {
		e->key = key;
		e->value = value;
		return 0;
	}
	if (m->len >= m->max)
		return -ENOSPC;
	if ((m->used + 1) * 4 > m->cap * 3 || m->len == m->entries.room) {
		err = make_room(m, m->reserved + 1);
		if (err)
			return err;
	}
	n = wm_entries_take(&m->entries);
	*wm_entry_at(&m->entries, n) = (struct wm_entry){key, value, (uint32_t)key_len, h};
	m->len++;
	(void)enter(m, n, h);
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
	uint32_t h = (uint32_t)wm_hash(key, key_len), n = find(m, key, key_len, h);
	void *value;

	if (n == NO_ENTRY)
		return NULL;
	value = wm_entry_at(&m->entries, n)->value;
	if (!erase(m->table, m->cap, place_of(n, h), h))
		m->left--;
	if (m->old) /* it may be in both */
		(void)erase(m->old, m->old_cap, place_of(n, h), h);
	wm_entries_give(&m->entries, n);
	m->len--;
	return value;
}

void *wm_map_next(const struct wm_map *m, size_t *pos)
{
	const struct wm_entry *e;

	while (*pos < m->entries.top) {
		e = wm_entry_at(&m->entries, (uint32_t)(*pos)++);
		if (e->key)
			return e->value;
	}
	return NULL;
}
