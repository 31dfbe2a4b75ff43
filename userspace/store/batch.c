/* SPDX-License-Identifier: Apache-2.0 */
/* batch.c - see batch.h: heads and records behind one another in one block. */
#include "batch.h"

#include "userspace/base/buf.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Octets of one transaction. The queue of writes is bounded far below; a restore may be large. */
#define BATCH_MAX ((size_t)4 << 30)

struct head {
	uint64_t row;
	uint32_t len;
	uint16_t table;
	uint16_t deletes;
};

struct wm_batch {
	struct wm_buf rows;
};

struct wm_batch *wm_batch_new(void)
{
	struct wm_batch *b = calloc(1, sizeof(*b));

	if (b)
		wm_buf_init(&b->rows, BATCH_MAX);
	return b;
}

void wm_batch_free(struct wm_batch *b)
{
	if (!b)
		return;
	wm_buf_done(&b->rows);
	free(b);
}

static int add(struct wm_batch *b, const struct head *h, const void *data)
{
	size_t mark = b->rows.len;

	if (wm_buf_put(&b->rows, h, sizeof(*h)) && (!h->len || wm_buf_put(&b->rows, data, h->len)))
		return 0;
	wm_batch_cut(b, mark);
	return -ENOMEM;
}

int wm_batch_put(struct wm_batch *b, enum wm_store_table t, uint64_t row, const void *data,
		 size_t len)
{
	const struct head h = {.row = row, .len = (uint32_t)len, .table = (uint16_t)t};

	return add(b, &h, data);
}

int wm_batch_del(struct wm_batch *b, enum wm_store_table t, uint64_t row)
{
	const struct head h = {.row = row, .table = (uint16_t)t, .deletes = 1};

	return add(b, &h, "");
}

size_t wm_batch_mark(const struct wm_batch *b)
{
	return b->rows.len;
}

void wm_batch_cut(struct wm_batch *b, size_t mark)
{
	b->rows.len = mark;
	b->rows.failed = false;
}

bool wm_batch_empty(const struct wm_batch *b)
{
	return b->rows.len == 0;
}

int wm_batch_write(const struct wm_batch *b, struct wm_store *s, struct wm_err *e)
{
	struct head h;
	int err = 0;

	for (size_t at = 0; at < b->rows.len && !err; at += sizeof(h) + h.len) {
		memcpy(&h, b->rows.data + at, sizeof(h));
		if (h.deletes)
			err = wm_store_del(s, (enum wm_store_table)h.table, h.row, e);
		else
			err = wm_store_put(s, (enum wm_store_table)h.table, h.row,
					   b->rows.data + at + sizeof(h), h.len, e);
	}
	return err;
}
