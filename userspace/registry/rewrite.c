/* SPDX-License-Identifier: Apache-2.0 */
/* rewrite.c - the disk has lost what was synced: all that the memory holds, which is what was
 * acknowledged, is written into a new file on the store's thread. It is encoded a part at a time,
 * and the memory does not change meanwhile but for statuses, which are stored again afterwards: the
 * batch that found the loss waits, and so does every other. */
#include "internal.h"
#include "plan.h"
#include "userspace/base/err.h"

#include <errno.h>
#include <stdlib.h>

#define PART_ROWS 512 /* encoded in one turn: some 3 ms */

enum source { LEASES, EVICTED, HOLDERS, INSTANCES, POLICIES, TOMBSTONES, SOURCES };

struct wm_rewrite {
	struct wm_job job;
	struct wm_registry *r;
	void (*done)(struct wm_registry *r, int code, const struct wm_err *e);
	struct wm_store *next; /* the thread's */
	struct wm_batch *rows;
	enum source source;
	size_t pos;
	const struct wm_tombstone *tomb; /* the last one */
	bool begun, last;
	int code;
	struct wm_err e;
};

/* --- on the thread ---------------------------------------------------------------------------- */
static void run(struct wm_job *j, struct wm_store *s)
{
	struct wm_rewrite *x = (struct wm_rewrite *)j; /* its first member */

	if (!x->begun && !x->code)
		x->code = wm_store_rewrite(s, &x->next, &x->e);
	x->begun = true;
	if (!x->code)
		x->code = wm_batch_write(x->rows, x->next, &x->e);
	if (!x->code && x->last)
		x->code = wm_store_rewritten(s, x->next, &x->e);
	else if (x->code && x->next)
		wm_store_drop(x->next);
}

/* --- on the loop ------------------------------------------------------------------------------ */
static int put_lease(struct wm_rewrite *x, const struct wm_lease *l)
{
	const struct wm_record_service s = {l->name, l->vip4, l->vip6, l->create_index};
	int err = wm_record_put_service(&x->r->small, l->row, &s);

	return err ? err
		   : wm_batch_put(x->rows, WM_STORE_SERVICES, l->row, x->r->small.data,
				  x->r->small.len);
}

static int put_row(struct wm_rewrite *x, const struct wm_instance *i, uint64_t row)
{
	int err = wm_registry_encode(x->r, i, true);

	return err ? err
		   : wm_batch_put(x->rows, WM_STORE_INSTANCES, row, x->r->record.data,
				  x->r->record.len);
}

static int put_policy(struct wm_rewrite *x, const struct wm_policy *p)
{
	int err = wm_record_put_policy(&x->r->record, p, false);

	return err ? err
		   : wm_batch_put(x->rows, WM_STORE_INSTANCES, p->row, x->r->record.data,
				  x->r->record.len);
}

/* Leases that the waiting batch took away are there until it is stored. */
static int put_evicted(struct wm_rewrite *x)
{
	struct wm_made *m;
	struct wm_op *op;
	int err = 0;

	TAILQ_FOREACH (op, &x->r->plan->ops, entry) {
		SLIST_FOREACH (m, &op->made, entry)
			err = err || !m->evicted ? err : put_lease(x, m->evicted);
	}
	return err;
}

/* The next row. @return 1: the source is at its end. */
static int put_next(struct wm_rewrite *x)
{
	struct wm_registry *r = x->r;
	struct wm_instance *i;
	const struct wm_policy *p;
	struct wm_lease *l;
	struct wm_node *n;

	switch (x->source) {
	case LEASES:
		l = wm_vips_next(r->vips, &x->pos);
		return !l ? 1 : l->planned ? 0 : put_lease(x, l);
	case EVICTED:
		return put_evicted(x) ? -ENOMEM : 1;
	case HOLDERS:
		n = wm_map_next(r->nodes, &x->pos);
		return !n				    ? 1
		       : n->self && !n->holder->version.seq ? 0
							    : put_row(x, n->holder, n->row);
	case INSTANCES:
		i = wm_registry_next_instance(r, &x->pos);
		return i ? put_row(x, i, i->row) : 1;
	case POLICIES:
		p = wm_registry_next_policy(r, &x->pos);
		return p ? put_policy(x, p) : 1;
	case TOMBSTONES:
		x->tomb = x->tomb ? TAILQ_NEXT(x->tomb, by_age) : TAILQ_FIRST(&r->history.tombs);
		return x->tomb ? wm_tombstone_put(x->r, x->rows, x->tomb) : 1;
	case SOURCES:
		break;
	}
	return 1;
}

static int put_meta(struct wm_rewrite *x)
{
	const struct wm_record_meta m = wm_registry_meta(x->r, x->r->reserved);
	int err = wm_record_put_meta(&x->r->small, &m);

	return err ? err
		   : wm_batch_put(x->rows, WM_STORE_META, 0, x->r->small.data, x->r->small.len);
}

static int encode_part(struct wm_rewrite *x)
{
	int err = x->begun ? 0 : put_meta(x);

	for (unsigned n = 0; n < PART_ROWS && err >= 0 && x->source < SOURCES; n++) {
		err = put_next(x);
		if (err == 1) {
			x->source++;
			x->pos = 0;
		}
	}
	x->last = x->source == SOURCES;
	return err < 0 ? err : 0;
}

static void end(struct wm_rewrite *x)
{
	x->r->rewrite = NULL;
	x->done(x->r, x->code, &x->e);
	wm_batch_free(x->rows);
	free(x);
}

static void on_part(struct wm_job *j);

static void go_on(struct wm_rewrite *x)
{
	wm_batch_cut(x->rows, 0);
	if (encode_part(x)) {
		x->code = wm_err_set(&x->e, -ENOMEM,
				     "Not stored: out of memory; nothing was changed");
		x->last = false; /* the thread gives up what it began */
	}
	wm_job_set(&x->job, run, on_part);
	wm_writer_put(x->r->writer, &x->job);
}

static void on_part(struct wm_job *j)
{
	struct wm_rewrite *x = (struct wm_rewrite *)j;

	if (x->code || x->last)
		end(x);
	else
		go_on(x);
}

void wm_rewrite_begin(struct wm_registry *r,
		      void (*done)(struct wm_registry *r, int code, const struct wm_err *e))
{
	struct wm_err e = {.code = -ENOMEM,
			   .text = "Not stored: out of memory; nothing was changed"};
	struct wm_rewrite *x = calloc(1, sizeof(*x));

	if (x)
		x->rows = wm_batch_new();
	if (!x || !x->rows) {
		free(x);
		done(r, -ENOMEM, &e);
		return;
	}
	x->r = r;
	x->done = done;
	r->rewrite = x;
	go_on(x);
}
