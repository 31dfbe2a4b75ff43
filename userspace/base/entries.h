/* SPDX-License-Identifier: Apache-2.0 */
/* entries.h - the entries of a hash table (map.c), by number: dense, in chunks, so that none moves
 * and a million take no more than they need. Threading: one owner. */
#pragma once
#include <stddef.h>
#include <stdint.h>

#define WM_ENTRIES_CHUNK 256u /* entries of one chunk: 6 KiB */

struct wm_entry {
	const void *key; /* NULL: a hole */
	void *value;
	uint32_t key_len; /* of a hole: number of the next one + 1; 0: the last */
	uint32_t hash;	  /* lower half, so that growing need not read the keys */
};
struct wm_entries { /* zero: none */
	struct wm_entry **chunks;
	uint32_t chunks_count, chunks_cap;
	uint32_t room; /* that fit into the chunks */
	uint32_t top;  /* that were ever in use */
	uint32_t hole; /* number of the last that came free + 1; 0: none */
};

static inline struct wm_entry *wm_entry_at(const struct wm_entries *e, uint32_t number)
{
	return &e->chunks[number / WM_ENTRIES_CHUNK][number % WM_ENTRIES_CHUNK];
}
/** So that @p n fit, in any case; pointers to entries are void then. @return 0, -ENOMEM. */
int wm_entries_room(struct wm_entries *e, size_t n);
/** One that is free; there is room. */
uint32_t wm_entries_take(struct wm_entries *e);
void wm_entries_give(struct wm_entries *e, uint32_t number);
/** Octets of memory. */
size_t wm_entries_bytes(const struct wm_entries *e);
void wm_entries_done(struct wm_entries *e);
