/* SPDX-License-Identifier: Apache-2.0 */
/* save.c - saves the store's rows in parts. What a write is about to change before it was saved is
 * saved first, as it was; what is new has a higher row number than any at the beginning and is left
 * out. So the stream is the registry of one moment, though it takes many turns. */
#include "internal.h"
#include "snapshot_format.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define STEP_ROWS   256		 /* rows of a step: some half a millisecond */
#define STEP_BYTES  (256u << 10) /* octets of a step; the row that reaches them is its last */
#define PENDING_MAX (256u << 20) /* octets of rows that were changed before they were saved */

struct early { /* a row that was saved before its turn */
	uint64_t key;
};

struct wm_save {
	LIST_ENTRY(wm_save) entry; /* in the registry's */
	struct wm_registry *r;
	struct wm_map *early;
	struct wm_buf pending; /* frames of these that no step has taken yet */
	struct wm_buf *out;    /* of the step that runs */
	enum wm_store_table table;
	int64_t after, last[WM_STORE_TABLES];
	uint64_t frames, sum;
	bool done, listed;
	int failed;
	struct wm_err why;
};

static uint64_t key_of(enum wm_store_table t, uint64_t row)
{
	return row << 2 | (uint64_t)t;
}

/* Everything goes through here: what leaves is summed up, in the order in which it leaves. */
static void put(struct wm_save *s, struct wm_buf *b, const void *data, size_t len)
{
	if (wm_buf_put(b, data, len) && b != &s->pending)
		s->sum = wm_snapshot_sum(s->sum, data, len);
}

static void put_frame(struct wm_save *s, struct wm_buf *b, uint32_t tag, uint64_t row,
		      const void *data, size_t len)
{
	uint8_t head[WM_SNAPSHOT_FRAME];

	wm_snapshot_put32(head, tag);
	wm_snapshot_put32(head + 4, (uint32_t)len);
	wm_snapshot_put64(head + 8, row);
	put(s, b, head, sizeof(head));
	put(s, b, data, len);
}

static int walk_row(void *arg, uint64_t row, const void *data, size_t len, struct wm_err *e)
{
	struct wm_save *s = arg;
	uint64_t key = key_of(s->table, row);

	(void)e;
	s->after = (int64_t)row;
	if (wm_map_get(s->early, &key, sizeof(key)))
		return 0;
	put_frame(s, s->out, 1 + (uint32_t)s->table, row, data, len);
	s->frames++;
	return s->out->len >= STEP_BYTES; /* enough */
}

struct before {
	struct wm_save *s;
	enum wm_store_table table;
};

static int early_row(void *arg, uint64_t row, const void *data, size_t len, struct wm_err *e)
{
	struct before *b = arg;

	(void)e;
	put_frame(b->s, &b->s->pending, 1 + (uint32_t)b->table, row, data, len);
	b->s->frames++;
	return b->s->pending.failed ? -ENOMEM : 0;
}

static void fail(struct wm_save *s, int code, const char *why)
{
	if (!s->failed)
		wm_err_set(&s->why, code, "%s", why);
	s->failed = code;
}

/* A row is about to change. */
static void save_before(struct wm_save *s, enum wm_store_table t, uint64_t row)
{
	const struct wm_store_range one = {t, (int64_t)row - 1, (int64_t)row, 1};
	struct before b = {s, t};
	struct wm_err e = {0};
	struct early *n;
	uint64_t key = key_of(t, row);
	int err;

	if (s->done || s->failed || t == WM_STORE_META || (int64_t)row > s->last[t] ||
	    t < s->table || (t == s->table && (int64_t)row <= s->after) ||
	    wm_map_get(s->early, &key, sizeof(key)))
		return;
	n = malloc(sizeof(*n));
	if (n)
		n->key = key;
	if (!n || wm_map_put(s->early, &n->key, sizeof(n->key), n, NULL)) {
		free(n);
		fail(s, -ENOMEM, "Not saved: out of memory");
		return;
	}
	err = wm_store_part(s->r->store, &one, early_row, &b, &e);
	if (err)
		fail(s, err,
		     s->pending.failed ? "Not saved: too much was changed meanwhile" : e.text);
}

static void on_before(void *arg, enum wm_store_table t, uint64_t row)
{
	struct wm_registry *r = arg;
	struct wm_save *s;

	LIST_FOREACH (s, &r->saves, entry)
		save_before(s, t, row);
}

static int meta_row(void *arg, uint64_t row, const void *data, size_t len, struct wm_err *e)
{
	struct wm_save *s = arg;

	(void)e;
	put_frame(s, s->out, 1 + WM_STORE_META, row, data, len);
	s->frames++;
	return 0;
}

int wm_save_begin(struct wm_registry *r, struct wm_save **ret, struct wm_err *e)
{
	const struct wm_store_range meta = {WM_STORE_META, 0, 1, 1};
	struct wm_save *s;
	unsigned count = 0;
	uint8_t head[WM_SNAPSHOT_HEAD] = WM_SNAPSHOT_MAGIC;
	int err;

	if (!r->store)
		return wm_err_set(e, WM_E_UNSUPPORTED, "There is no store to be saved");
	if (r->restoring)
		return wm_err_set(e, WM_E_BUSY, "A snapshot is being restored, try again");
	LIST_FOREACH (s, &r->saves, entry)
		count++;
	if (count == WM_REGISTRY_SAVES_MAX)
		return wm_err_set(e, WM_E_BUSY, "Other snapshots are being saved, try again");
	s = calloc(1, sizeof(*s));
	if (!s)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	s->r = r;
	s->sum = WM_SNAPSHOT_SUM;
	wm_buf_init(&s->pending, PENDING_MAX);
	s->early = wm_map_new(WM_REGISTRY_MAP_MAX);
	if (!s->early) {
		wm_save_end(s);
		return wm_err_set(e, -ENOMEM, "Out of memory");
	}
	wm_snapshot_put64(head + 8, (uint64_t)wm_clock_wall_s());
	wm_snapshot_put64(head + 16, r->index);
	put(s, &s->pending, head, sizeof(head));
	s->out = &s->pending;
	err = wm_store_part(r->store, &meta, meta_row, s, e);
	if (err || s->pending.failed) {
		wm_save_end(s);
		return err ? err : wm_err_set(e, -ENOMEM, "Out of memory");
	}
	s->table = WM_STORE_SERVICES;
	s->after = -1;
	s->last[WM_STORE_SERVICES] = (int64_t)r->service_row;
	s->last[WM_STORE_INSTANCES] = (int64_t)r->instance_row;
	LIST_INSERT_HEAD(&r->saves, s, entry);
	s->listed = true;
	r->stats.save_rows = 0;
	r->stats.save_rows_total =
		wm_vips_count(r->vips) + r->instances_count + wm_map_len(r->nodes);
	wm_store_watch(r->store, on_before, r);
	*ret = s;
	return 0;
}

static void take_pending(struct wm_save *s, struct wm_buf *out)
{
	if (!s->pending.len)
		return;
	put(s, out, s->pending.data, s->pending.len);
	wm_buf_reset(&s->pending);
}

static void finish(struct wm_save *s, struct wm_buf *out)
{
	uint8_t head[WM_SNAPSHOT_FRAME], sum[8];

	wm_snapshot_put32(head, WM_SNAPSHOT_LAST);
	wm_snapshot_put32(head + 4, sizeof(sum));
	wm_snapshot_put64(head + 8, s->frames);
	put(s, out, head, sizeof(head));
	wm_snapshot_put64(sum, s->sum);
	wm_buf_put(out, sum, sizeof(sum));
	s->done = true;
}

int wm_save_step(struct wm_save *s, struct wm_buf *out, struct wm_err *e)
{
	int64_t from = s->after;
	struct wm_store_range next;
	int err;

	if (s->failed) {
		if (e)
			*e = s->why;
		return s->failed;
	}
	take_pending(s, out);
	s->out = out;
	next = (struct wm_store_range){s->table, s->after, s->last[s->table], STEP_ROWS};
	err = wm_store_part(s->r->store, &next, walk_row, s, e);
	if (err < 0)
		return err;
	s->r->stats.save_rows = s->frames;
	if (s->after == from) { /* the end of the table */
		s->after = -1;
		s->table++;
	}
	if (s->table == WM_STORE_TABLES)
		finish(s, out);
	if (out->failed)
		return wm_err_set(e, -ENOMEM, "Not saved: out of memory");
	return s->done ? 0 : 1;
}

void wm_save_end(struct wm_save *s)
{
	struct early *n;
	size_t pos = 0;

	if (!s)
		return;
	if (s->listed)
		LIST_REMOVE(s, entry);
	if (s->listed && LIST_EMPTY(&s->r->saves))
		wm_store_watch(s->r->store, NULL, NULL);
	while (s->early && (n = wm_map_next(s->early, &pos)))
		free(n);
	wm_map_free(s->early);
	wm_buf_done(&s->pending);
	free(s);
}
