/* SPDX-License-Identifier: Apache-2.0 */
/* save.c - saves the store's rows in parts. What a write is about to change before it was saved is
 * saved first, as it was; what is new has a higher row number than any at the beginning and is left
 * out. So the stream is the registry of one moment, though it takes many steps. They are jobs of
 * the store's thread, between batches. */
#include "snapshot_format.h"
#include "snapshot_internal.h"
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
#define PART_MAX    (512u << 20) /* octets of a step: bounded by what was changed meanwhile */

struct early { /* a row that was saved before its turn */
	uint64_t key;
};

struct wm_save {
	struct wm_job job;
	struct wm_writer *w;
	/* the loop's */
	wm_save_fn fn; /* NULL: nobody waits any more */
	void *arg;
	bool busy, ended;
	/* the store's thread's, while a job of it runs */
	LIST_ENTRY(wm_save) entry; /* in the writer's */
	struct wm_store *store;
	struct wm_buf part;
	int more;
	struct wm_err e;
	uint64_t index;
	struct wm_map *early;
	struct wm_buf pending; /* frames of these that no step has taken yet */
	struct wm_buf *out;    /* of the step that runs */
	enum wm_store_table table;
	int64_t after, last[WM_STORE_TABLES];
	uint64_t frames, sum;
	bool done;
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

	if (s->done || s->failed || t == WM_STORE_META || t == WM_STORE_TOMBSTONES ||
	    (int64_t)row > s->last[t] || t < s->table ||
	    (t == s->table && (int64_t)row <= s->after) || wm_map_get(s->early, &key, sizeof(key)))
		return;
	n = malloc(sizeof(*n));
	if (n)
		n->key = key;
	if (!n || wm_map_put(s->early, &n->key, sizeof(n->key), n, NULL)) {
		free(n);
		fail(s, -ENOMEM, "Not saved: out of memory");
		return;
	}
	err = wm_store_part(s->store, &one, early_row, &b, &e);
	if (err)
		fail(s, err,
		     s->pending.failed ? "Not saved: too much was changed meanwhile" : e.text);
}

static void on_before(void *arg, enum wm_store_table t, uint64_t row)
{
	const struct wm_saves *all = arg;
	struct wm_save *s;

	LIST_FOREACH (s, &all->list, entry)
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

/* --- on the store's thread -------------------------------------------------------------------- */
/* From here on what is about to change is saved before. */
static int open_save(struct wm_save *s, struct wm_store *store, struct wm_err *e)
{
	const struct wm_store_range meta = {WM_STORE_META, 0, 1, 1};
	uint8_t head[WM_SNAPSHOT_HEAD] = WM_SNAPSHOT_MAGIC;
	int err = wm_store_last(store, WM_STORE_SERVICES, &s->last[WM_STORE_SERVICES], e);

	if (!err)
		err = wm_store_last(store, WM_STORE_INSTANCES, &s->last[WM_STORE_INSTANCES], e);
	if (err)
		return err;
	wm_snapshot_put64(head + 8, (uint64_t)wm_clock_wall_s());
	wm_snapshot_put64(head + 16, s->index);
	put(s, &s->pending, head, sizeof(head));
	s->out = &s->pending;
	err = wm_store_part(store, &meta, meta_row, s, e);
	if (err || s->pending.failed)
		return err ? err : wm_err_set(e, -ENOMEM, "Out of memory");
	s->table = WM_STORE_SERVICES;
	s->after = -1;
	s->store = store;
	LIST_INSERT_HEAD(&wm_writer_saves(s->w)->list, s, entry);
	wm_store_watch(store, on_before, wm_writer_saves(s->w));
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

int wm_save_step(struct wm_save *s, struct wm_store *store, struct wm_buf *out, struct wm_err *e)
{
	struct wm_store_range next;
	int64_t from;
	int err = s->store || s->failed ? 0 : open_save(s, store, e);

	if (err)
		return err;
	if (s->failed) {
		*e = s->why;
		return s->failed;
	}
	from = s->after;
	take_pending(s, out);
	s->out = out;
	next = (struct wm_store_range){s->table, s->after, s->last[s->table], STEP_ROWS};
	err = wm_store_part(store, &next, walk_row, s, e);
	if (err < 0)
		return err;
	if (s->after == from) { /* the end of the table */
		s->after = -1;
		s->table++;
	}
	if (s->table == WM_STORE_TOMBSTONES) /* they are of the log, which a restore begins anew */
		finish(s, out);
	if (out->failed)
		return wm_err_set(e, -ENOMEM, "Not saved: out of memory");
	return s->done ? 0 : 1;
}

void wm_save_shut(struct wm_save *s)
{
	if (!s || !s->store)
		return;
	LIST_REMOVE(s, entry);
	if (LIST_EMPTY(&wm_writer_saves(s->w)->list))
		wm_store_watch(s->store, NULL, NULL);
	s->store = NULL;
}

static void run_open(struct wm_job *j, struct wm_store *store)
{
	struct wm_save *s = (struct wm_save *)j; /* its first member */
	int err = open_save(s, store, &s->e);

	if (err)
		fail(s, err, s->e.text);
}

static void run_step(struct wm_job *j, struct wm_store *store)
{
	struct wm_save *s = (struct wm_save *)j; /* its first member */

	wm_buf_reset(&s->part);
	s->more = wm_save_step(s, store, &s->part, &s->e);
}

static void run_end(struct wm_job *j, struct wm_store *store)
{
	(void)store;
	wm_save_shut((struct wm_save *)j);
}

/* --- on the loop ------------------------------------------------------------------------------ */
void wm_save_free(struct wm_save *s)
{
	struct early *n;
	size_t pos = 0;

	if (!s)
		return;
	wm_writer_saves(s->w)->count--;
	while (s->early && (n = wm_map_next(s->early, &pos)))
		free(n);
	wm_map_free(s->early);
	wm_buf_done(&s->pending);
	wm_buf_done(&s->part);
	free(s);
}

static void on_end(struct wm_job *j)
{
	wm_save_free((struct wm_save *)j);
}

static void end(struct wm_save *s)
{
	wm_job_set(&s->job, run_end, on_end);
	wm_writer_put(s->w, &s->job);
}

static void on_step(struct wm_job *j)
{
	struct wm_save *s = (struct wm_save *)j;

	s->busy = false;
	wm_writer_saves(s->w)->rows = s->frames;
	if (s->ended)
		end(s);
	else
		s->fn(s->arg, s->more, &s->part, &s->e);
}

int wm_save_new(struct wm_writer *w, const struct wm_save_about *about, struct wm_save **ret,
		struct wm_err *e)
{
	struct wm_saves *all = wm_writer_saves(w);
	struct wm_save *s;

	if (all->count == WM_SAVES_MAX)
		return wm_err_set(e, WM_E_BUSY, "Other snapshots are being saved, try again");
	s = calloc(1, sizeof(*s));
	if (!s)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	all->count++;
	s->w = w;
	s->sum = WM_SNAPSHOT_SUM;
	s->index = about->index;
	wm_buf_init(&s->pending, PENDING_MAX);
	wm_buf_init(&s->part, PART_MAX);
	s->early = wm_map_new(WM_TABLE_MAX);
	if (!s->early) {
		wm_save_free(s);
		return wm_err_set(e, -ENOMEM, "Out of memory");
	}
	all->rows = 0;
	all->rows_total = about->rows;
	*ret = s;
	return 0;
}

static void put_step(struct wm_save *s)
{
	s->e = (struct wm_err){0};
	s->busy = true;
	wm_job_set(&s->job, run_step, on_step);
	wm_writer_put(s->w, &s->job);
}

static void on_open(struct wm_job *j)
{
	struct wm_save *s = (struct wm_save *)j;

	s->busy = false;
	if (s->ended)
		end(s);
	else if (s->fn) /* asked for the first part already */
		put_step(s);
}

int wm_save_begin(struct wm_writer *w, const struct wm_save_about *about, struct wm_save **ret,
		  struct wm_err *e)
{
	int err = wm_save_new(w, about, ret, e);

	if (err)
		return err;
	(*ret)->busy = true;
	wm_job_set(&(*ret)->job, run_open, on_open);
	wm_writer_put(w, &(*ret)->job);
	return 0;
}

void wm_save_next(struct wm_save *s, wm_save_fn fn, void *arg)
{
	s->fn = fn;
	s->arg = arg;
	if (!s->busy)
		put_step(s);
}

void wm_save_end(struct wm_save *s)
{
	if (!s)
		return;
	s->ended = true;
	if (!s->busy)
		end(s);
}
