/* SPDX-License-Identifier: Apache-2.0 */
/* entries.c - see entries.h. */
#include "entries.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>

#define FIRST 4 /* entries of the first chunk, which is doubled until it is whole */

/* A place for another chunk. */
static bool list(struct wm_entries *e)
{
	uint32_t cap = e->chunks_cap ? 2 * e->chunks_cap : 1;
	struct wm_entry **chunks;

	if (e->chunks_count < e->chunks_cap)
		return true;
	chunks = realloc(e->chunks, cap * sizeof(struct wm_entry *));
	if (!chunks)
		return false;
	e->chunks = chunks;
	e->chunks_cap = cap;
	return true;
}

int wm_entries_room(struct wm_entries *e, size_t n)
{
	while (e->room < n) {
		bool more = !e->room || e->room >= WM_ENTRIES_CHUNK;
		uint32_t last = e->chunks_count - !more;
		uint32_t len = e->room >= WM_ENTRIES_CHUNK ? WM_ENTRIES_CHUNK
			       : e->room		   ? 2 * e->room
							   : FIRST;
		struct wm_entry *chunk;

		if (more && !list(e))
			return -ENOMEM;
		chunk = realloc(more ? NULL : e->chunks[last], len * sizeof(*chunk));
		if (!chunk)
			return -ENOMEM;
		e->chunks[last] = chunk;
		e->chunks_count = last + 1;
		e->room = last * WM_ENTRIES_CHUNK + len;
	}
	return 0;
}

uint32_t wm_entries_take(struct wm_entries *e)
{
	uint32_t n = e->hole ? e->hole - 1 : e->top++;

	if (e->hole)
		e->hole = wm_entry_at(e, n)->key_len;
	return n;
}

void wm_entries_give(struct wm_entries *e, uint32_t number)
{
	*wm_entry_at(e, number) = (struct wm_entry){.key_len = e->hole};
	e->hole = number + 1;
}

size_t wm_entries_bytes(const struct wm_entries *e)
{
	return e->room * sizeof(struct wm_entry) + e->chunks_cap * sizeof(struct wm_entry *);
}

void wm_entries_done(struct wm_entries *e)
{
	for (uint32_t n = 0; n < e->chunks_count; n++)
		free(e->chunks[n]);
	free(e->chunks);
	*e = (struct wm_entries){0};
}
