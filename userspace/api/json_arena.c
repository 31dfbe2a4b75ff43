/* SPDX-License-Identifier: Apache-2.0 */
/* json_arena.c - see decode_internal.h. A request's tree is hundreds of small blocks that all go at
 * once; taken from a few large ones they cost no search and no merging. Trees of others (settings)
 * and a second tree at a time are allocated as usual. */
#include "decode_internal.h"

#include <string.h>

#define CHUNK_FIRST (64u << 10) /* octets: the tree of a registration needs some 6 KiB */
#define KEPT	    5		/* chunks that stay allocated, 2 MiB: a transaction of 128 writes */
#define CHUNKS_MAX  16 /* each twice the one before: 64 KiB << 16 is above any body's tree */
#define ALIGN	    16u

struct chunk {
	char *at;
	size_t cap, used;
};

static struct chunk chunks[CHUNKS_MAX];
static unsigned count; /* chunks in use */
static bool open;

static void *take(size_t n)
{
	struct chunk *c;
	size_t cap;
	void *p;

	n = (n + ALIGN - 1) & ~(size_t)(ALIGN - 1);
	for (;;) {
		c = count ? &chunks[count - 1] : NULL;
		if (c && c->cap - c->used >= n) {
			p = c->at + c->used;
			c->used += n;
			return p;
		}
		if (count == CHUNKS_MAX)
			return NULL;
		cap = (size_t)CHUNK_FIRST << count;
		while (cap < n)
			cap *= 2;
		c = &chunks[count];
		if (!c->at || c->cap < cap) { /* else it was kept */
			free(c->at);
			*c = (struct chunk){malloc(cap), cap, 0};
		}
		if (!c->at)
			return NULL;
		count++;
	}
}

static bool is_ours(const void *p)
{
	uintptr_t at = (uintptr_t)p;

	for (unsigned n = 0; n < count; n++) {
		if (at - (uintptr_t)chunks[n].at < chunks[n].cap)
			return true;
	}
	return false;
}

static void *arena_malloc(size_t n)
{
	return open ? take(n) : malloc(n);
}

static void arena_free(void *p)
{
	if (!is_ours(p))
		free(p);
}

bool wm_json_arena_open(void)
{
	static bool ready;

	if (count || WM_JSON_PLAIN)
		return false;
	if (!ready)
		json_set_alloc_funcs(arena_malloc, arena_free);
	ready = true;
	open = true;
	return true;
}

void wm_json_arena_pause(void)
{
	open = false;
}

void wm_json_arena_close(void)
{
	open = false;
	for (unsigned n = 0; n < count; n++) {
		if (n >= KEPT || chunks[n].cap > (size_t)CHUNK_FIRST << n) {
			free(chunks[n].at);
			chunks[n].at = NULL;
		}
		chunks[n].used = 0;
	}
	count = 0;
}
