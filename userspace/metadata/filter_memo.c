/* SPDX-License-Identifier: Apache-2.0 */
/* filter_memo.c - what a filter that goes on in another turn found in the turns before. */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>

#define MEMO_FIRST 1024		     /* places of a new table; a power of two */
#define MEMO_MAX   ((size_t)1 << 22) /* places: 32 MiB, two million rows */

static uint64_t mix(uint64_t h, uint64_t v)
{
	h = (h ^ v) * UINT64_C(0x9e3779b97f4a7c15);
	return h ^ (h >> 29);
}

static uint64_t mix_check(uint64_t h, const struct wm_check *c)
{
	h = mix(h, (uintptr_t)c);
	h = mix(h, (uintptr_t)c->output);
	return mix(h, c->modify_index * 4 + c->status);
}

static uint64_t mix_instance(uint64_t h, const struct wm_instance *i)
{
	h = mix(h, (uintptr_t)i);
	h = mix(h, i->modify_index * 8 + i->lifecycle);
	for (unsigned n = 0; n < i->checks_count; n++)
		h = mix_check(h, i->checks[n]);
	return h;
}

uint64_t wm_filter_row_hash(const struct wm_filter_row *row)
{
	uint64_t h = mix(UINT64_C(0xcbf29ce484222325), (uintptr_t)row->node);

	h = mix(h, row->node->modify_index);
	if (row->holder)
		h = mix_instance(h, row->holder);
	if (row->instance)
		h = mix_instance(h, row->instance);
	if (row->check)
		h = mix_check(h, row->check);
	return h > 1 ? h : 2; /* 0 is an empty place */
}

static uint64_t *place(const struct wm_filter_memo *m, uint64_t row)
{
	size_t i = (size_t)(row >> 1);

	while (m->at[i & (m->cap - 1)] && (m->at[i & (m->cap - 1)] | 1) != (row | 1))
		i++; /* ends: half of the places is empty */
	return &m->at[i & (m->cap - 1)];
}

int wm_filter_recall(const struct wm_filter_memo *m, uint64_t row)
{
	uint64_t found = m->cap ? *place(m, row) : 0;

	return found ? (int)(found & 1) : -1;
}

static int grow(struct wm_filter_memo *m)
{
	struct wm_filter_memo next = {.cap = m->cap ? m->cap * 2 : MEMO_FIRST, .count = m->count};

	if (next.cap > MEMO_MAX)
		return -ENOSPC;
	next.at = calloc(next.cap, sizeof(*next.at));
	if (!next.at)
		return -ENOMEM;
	for (size_t i = 0; i < m->cap; i++) {
		if (m->at[i])
			*place(&next, m->at[i]) = m->at[i];
	}
	free(m->at);
	*m = next;
	return 0;
}

int wm_filter_remember(struct wm_filter_memo *m, uint64_t row, bool fits)
{
	int err = m->count * 2 >= m->cap ? grow(m) : 0;
	uint64_t *to;

	if (err)
		return err;
	to = place(m, row);
	m->count += !*to;
	*to = (row & ~UINT64_C(1)) | fits;
	return 0;
}
