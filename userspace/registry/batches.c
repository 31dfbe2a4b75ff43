/* SPDX-License-Identifier: Apache-2.0 */
/* batches.c - the queue of writes and the batches they are stored in, one at a time.
 *
 * Numbers: one write, one number, drawn when it is prepared and stored with its objects. What is
 * announced bears a number above all that were announced before: the drawn one, or a new one if a
 * status was announced meanwhile. The store holds a number that none announced is above; it is
 * moved ahead by a block before it is reached, and a restart goes on from it. If the store refuses
 * for so long that status changes use the block up, the number stands still until it accepts again.
 *
 * Statuses: a result is announced at once and its row is stored with the next batch, or by one of
 * its own every wm_registry_config.status_delay_ms. A flush must happen for that: the loop's turns
 * are the clock. After a crash a check may show a status older by that much. */
#include "internal.h"
#include "plan.h"
#include "userspace/base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- numbers ---------------------------------------------------------------------------------- */
uint64_t wm_registry_draw(struct wm_registry *r)
{
	return r->given < r->reserved ? ++r->given : r->given;
}

uint64_t wm_registry_show(struct wm_registry *r, uint64_t drawn)
{
	r->index = drawn > r->index ? drawn : wm_registry_draw(r);
	return r->index;
}

/* --- refusing --------------------------------------------------------------------------------- */
void wm_op_refuse(struct wm_op *op, int code, const char *fmt, ...)
{
	va_list ap;
	char *text;

	op->code = code;
	if (op->text) /* the first reason stands */
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) >= 0)
		op->text = text;
	va_end(ap);
}

void wm_op_no_memory(struct wm_op *op)
{
	wm_op_refuse(op, -ENOMEM, "Out of memory; nothing was changed");
}

/* A node that has an instance of this ID, NULL: none. */
static const struct wm_node *node_with(const struct wm_registry *r, const char *id)
{
	const struct wm_node *n;
	size_t pos = 0;

	while ((n = wm_registry_next_node(r, &pos)))
		if (wm_node_instance(n, id))
			return n;
	return NULL;
}

void wm_op_unknown(const struct wm_registry *r, struct wm_op *op)
{
	const struct wm_node *n;

	if (op->lenient) {
		op->unchanged = true;
		return;
	}
	n = node_with(r, op->id);
	wm_op_refuse(op, WM_E_UNKNOWN,
		     "Unknown service ID \"%s\". Ensure that the service ID is passed, not the "
		     "service name.%s%s%s%s%s",
		     op->id, n ? " Node \"" : "", n ? n->name : "",
		     n ? "\" has one: ask its agent, at " : "", n ? n->address : "",
		     n ? ", or run waymarkctl there" : "");
}

/* `service "x" on node "n"`, in Consul's words. */
static void describe(const struct wm_op *op, char *buf, size_t cap)
{
	static const char *const object_names[] = {[WM_OBJECT_SERVICE] = "service",
						   [WM_OBJECT_NODE] = "node",
						   [WM_OBJECT_CHECK] = "check"};
	const char *node = op->node_name ? op->node_name : "";
	const char *id = op->subject ? op->subject : op->id;

	if (op->object == WM_OBJECT_NODE)
		snprintf(buf, cap, "node \"%.64s\"", node);
	else
		snprintf(buf, cap, "%s \"%.64s\" on node \"%.64s\"", object_names[op->object], id,
			 node);
}

bool wm_op_judge_when(struct wm_op *op, uint64_t index)
{
	char what[192];

	if (op->when == WM_WHEN_ANY || (op->when == WM_WHEN_EXISTS && index) ||
	    (op->when == WM_WHEN_INDEX && index == op->when_index))
		return true;
	describe(op, what, sizeof(what));
	if (op->when == WM_WHEN_EXISTS)
		wm_op_refuse(op, WM_E_UNKNOWN, "%s doesn't exist", what);
	else
		wm_op_refuse(op, WM_E_CONFLICT, "failed to %s %s, index is stale",
			     op->kind->removes ? "delete" : "set", what);
	return false;
}

/* --- submitting ------------------------------------------------------------------------------- */
int wm_op_submit(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	if (r->queued >= WM_REGISTRY_QUEUE_MAX ||
	    r->queued_bytes + op->bytes > WM_REGISTRY_QUEUE_BYTES) {
		wm_op_free(op);
		r->stats.queue_full++;
		return wm_err_set(e, WM_E_BUSY,
				  "Too many writes are waiting (limits: %d, and %u MiB of them), "
				  "try again",
				  WM_REGISTRY_QUEUE_MAX, WM_REGISTRY_QUEUE_BYTES >> 20);
	}
	r->queued++;
	r->queued_bytes += op->bytes;
	r->sidecars_wait += op->sidecar;
	TAILQ_INSERT_TAIL(&r->queue, op, entry);
	return 0;
}

static struct wm_op *take(struct wm_registry *r)
{
	struct wm_op *op = TAILQ_FIRST(&r->queue);

	if (!op)
		return NULL;
	TAILQ_REMOVE(&r->queue, op, entry);
	r->queued--;
	r->queued_bytes -= op->bytes;
	return op;
}

/* --- answering -------------------------------------------------------------------------------- */
/* A write that has only begun goes on in the next turn. @return false: it is over. */
static bool go_on(struct wm_registry *r, struct wm_op *op)
{
	bool again = op->again && !op->code;
	struct wm_op *rest = again ? op->kind->rest(op) : NULL;

	if (!rest) {
		if (again)
			wm_op_refuse(op, -ENOMEM,
				     "Out of memory; the node is left with some of its "
				     "instances");
		return false;
	}
	TAILQ_INSERT_TAIL(&r->later, rest, entry);
	if (r->turn)
		r->later_turn = r->turn(r->turn_arg, true);
	return true;
}

static void answer(struct wm_registry *r, struct wm_op *op)
{
	const struct wm_group *g = op->kind == &wm_op_group ? (struct wm_group *)op : NULL;
	struct wm_part failed = {0};

	r->sidecars_wait -= op->sidecar;
	if (go_on(r, op))
		return;
	failed.text = op->text ? op->text : (op->code ? wm_err_str(op->code) : "");
	if (g && g->part_failed && g->part) {
		failed.number = g->failed;
		failed.code = op->code;
		g->part(op->arg, &failed);
	}
	if (op->done)
		op->done(op->arg, op->code, failed.text);
}

static void answer_waiters(struct wm_plan *p, int code, const char *text)
{
	struct wm_waiter *w;

	while ((w = STAILQ_FIRST(&p->waiters))) {
		STAILQ_REMOVE_HEAD(&p->waiters, entry);
		w->done(w->arg, code, text);
		free(w);
	}
}

/* --- the end of a batch ----------------------------------------------------------------------- */
void wm_registry_not_stored(struct wm_registry *r, const struct wm_err *e)
{
	r->stats.failed_commits++;
	r->stats.unstored = true;
	snprintf(r->stats.last_error, sizeof(r->stats.last_error), "%.*s",
		 (int)sizeof(r->stats.last_error) - 1, e->text);
	r->dirty_due_ms = wm_env_ms(r->env) + WM_REGISTRY_STATUS_RETRY_MS;
}

static void set_due(struct wm_registry *r)
{
	r->dirty_due_ms = wm_env_ms(r->env) + r->status_delay_ms;
	if (r->status_timer) /* without memory the next turn does it */
		(void)wm_env_timer_arm(r->status_timer, r->status_delay_ms);
}

/* Statuses that rode along are stored, or wait again. */
static void end_riding(struct wm_registry *r, struct wm_plan *p, bool stored)
{
	for (unsigned n = 0; n < p->riding_count; n++) {
		struct wm_instance_box *b = p->riding[n].box;
		bool again = !stored && !b->dirty;

		b->riding = false;
		if (stored) {
			b->i.version = p->riding[n].version;
			wm_history_log(&r->history, &b->i);
		}
		if (stored && !b->dirty)
			b->urgent = false;
		if (again)
			wm_registry_mark_dirty(r, b);
	}
	if (!TAILQ_EMPTY(&r->dirty) && stored)
		set_due(r);
}

/* What became of it, or was refused, rests on what is not stored. */
static bool rests_on_batch(const struct wm_op *op)
{
	return op->depends || (!op->code && (op->index || op->stores || !SLIST_EMPTY(&op->made)));
}

static void refuse_unstored(struct wm_op *op, int code, const struct wm_err *e)
{
	if (op->kind == &wm_op_group)
		((struct wm_group *)op)->part_failed = false; /* it is no part's fault */
	free(op->text);
	op->text = NULL;
	wm_op_refuse(op, code, "%s", e->text);
}

static void undo(struct wm_registry *r, struct wm_plan *p, int code, const struct wm_err *e)
{
	struct wm_op *op;

	wm_plan_release_room(p);
	r->history.seq = p->seq;
	TAILQ_FOREACH_REVERSE (op, &p->ops, wm_ops, entry) {
		if (rests_on_batch(op))
			refuse_unstored(op, code, e);
		wm_op_unprepare(r, op);
	}
	if (r->given == p->given_last)
		r->given = p->given;
	wm_registry_not_stored(r, e);
}

static void apply(struct wm_registry *r, struct wm_op *op)
{
	op->applied = true;
	if (op->code || (!op->index && SLIST_EMPTY(&op->made) && !op->stores))
		return;
	op->seen = op->index ? wm_registry_show(r, op->index) : r->index;
	op->kind->apply(r, op);
	wm_op_announce(r, op);
	wm_op_settle(r, op);
}

static void let_go(struct wm_registry *r, struct wm_plan *p, struct wm_op *op)
{
	TAILQ_REMOVE(&p->ops, op, entry);
	if (p->stored)
		wm_plan_tell(p, op->drawn);
	answer(r, op);
	wm_op_free(op);
}

/* Apply what is stored, as far as this turn's time reaches: write by write, each is answered when
 * all that it changes was announced. */
static void go_on_applying(struct wm_registry *r, struct wm_plan *p)
{
	struct wm_op *op;

	while ((op = TAILQ_FIRST(&p->ops))) {
		if (!op->applied)
			apply(r, op);
		if (r->awaited)
			(void)wm_registry_follow(r);
		if (r->awaited)
			return;
		let_go(r, p, op);
		if (wm_registry_spent(r) && !TAILQ_EMPTY(&p->ops))
			return;
	}
	wm_plan_tell(p, p->drawn_count); /* statuses that rode along */
	r->plan = NULL;
	answer_waiters(p, 0, "");
	wm_plan_free(p);
}

/* Tombstones whose rows went. */
static void end_expired(struct wm_registry *r, struct wm_plan *p, bool stored)
{
	struct wm_history *h = &r->history;
	struct wm_tombstone *t = TAILQ_FIRST(&h->tombs), *next;

	for (unsigned n = 0; t && n < p->expired; n++, t = next) {
		next = TAILQ_NEXT(t, by_age);
		if (!t->expired) /* one of them was dug out: the rest stand before */
			break;
		t->expired = false;
		if (!stored)
			continue;
		h->floor = t->past.index > h->floor ? t->past.index : h->floor;
		wm_history_unbury(h, t);
	}
}

static void finish(struct wm_registry *r, struct wm_plan *p, int code, const struct wm_err *e)
{
	struct wm_op *op;

	end_riding(r, p, !code);
	end_expired(r, p, !code);
	if (!code) {
		p->stored = true;
		wm_plan_release_room(p);
		r->stats.writes += p->changes;
		if (p->reserved > r->reserved)
			r->reserved = p->reserved;
		go_on_applying(r, p);
		return;
	}
	undo(r, p, code, e);
	r->plan = NULL;
	while ((op = TAILQ_FIRST(&p->ops)))
		let_go(r, p, op);
	answer_waiters(p, WM_E_STORE, r->stats.last_error);
	wm_plan_free(p);
}

static void on_rewritten(struct wm_registry *r, int code, const struct wm_err *e);

static void on_stored(struct wm_job *j)
{
	struct wm_commit *c = (struct wm_commit *)j; /* its first member */
	struct wm_plan *p = (struct wm_plan *)((char *)c - offsetof(struct wm_plan, commit));
	struct wm_registry *r = p->r;

	if (c->code == -ESTALE) {
		wm_rewrite_begin(r, on_rewritten);
		return;
	}
	if (!c->code) {
		r->stats.commits++;
		r->stats.unstored = false;
		r->stats.last_commit_us = c->us;
	}
	finish(r, p, c->code, &c->e);
}

/* Is all of it what others have on disk? */
static bool is_lazy(const struct wm_plan *p)
{
	const struct wm_op *op;

	if (!STAILQ_EMPTY(&p->waiters) || p->riding_count || p->drawn_count || p->reserved)
		return false;
	TAILQ_FOREACH (op, &p->ops, entry)
		if (!op->lazy)
			return false;
	return true;
}

static void store(struct wm_registry *r, struct wm_plan *p)
{
	p->commit.rows = p->rows;
	p->commit.lazy = is_lazy(p);
	p->commit.code = 0;
	p->commit.e = (struct wm_err){0};
	wm_commit_put(r->writer, &p->commit, on_stored);
}

static void on_rewritten(struct wm_registry *r, int code, const struct wm_err *e)
{
	if (code)
		finish(r, r->plan, code, e);
	else
		store(r, r->plan);
}

/* --- the beginning of one --------------------------------------------------------------------- */
/* Numbers are reserved ahead; a batch of statuses alone does it, too. */
static int put_meta(struct wm_registry *r, struct wm_plan *p)
{
	struct wm_record_meta m = wm_registry_meta(r, r->given + WM_INDEX_BLOCK);
	int err;

	if (r->given + WM_INDEX_BLOCK / 2 <= r->reserved)
		return 0;
	err = wm_record_put_meta(&r->small, &m);
	if (!err)
		err = wm_batch_put(p->rows, WM_STORE_META, 0, r->small.data, r->small.len);
	if (!err)
		p->reserved = m.reserved;
	return err;
}

/* Refuse what cannot even be begun. */
static void refuse_all(struct wm_registry *r)
{
	struct wm_op *op;

	while ((op = take(r))) {
		wm_op_no_memory(op);
		answer(r, op);
		wm_op_free(op);
	}
}

static bool is_due(const struct wm_registry *r)
{
	return !TAILQ_EMPTY(&r->dirty) && wm_env_ms(r->env) >= r->dirty_due_ms;
}

static bool is_urgent(const struct wm_registry *r)
{
	return !TAILQ_EMPTY(&r->dirty) && TAILQ_FIRST(&r->dirty)->urgent;
}

/* What is ready: writes, or statuses that somebody waits for or whose time has come. */
static bool ready(const struct wm_registry *r)
{
	return !TAILQ_EMPTY(&r->queue) || !STAILQ_EMPTY(&r->waiters) || is_due(r);
}

/* Judge, prepare and hand over the next batch. @return writes of it. */
static unsigned begin(struct wm_registry *r)
{
	struct wm_plan *p = wm_plan_new(r);
	struct wm_err e = {.code = -ENOMEM,
			   .text = "Not stored: out of memory; nothing was changed"};
	unsigned count = 0;
	struct wm_op *op;
	int err = 0;

	if (!p) {
		count = r->queued;
		refuse_all(r);
		return count;
	}
	r->plan = p;
	STAILQ_CONCAT(&p->waiters, &r->waiters);
	for (; count < WM_REGISTRY_BATCH_MAX && !(count && wm_registry_spent(r)) && (op = take(r));
	     count++)
		wm_plan_add(p, op);
	if (r->store && (p->changes || is_urgent(r)))
		err = wm_plan_ride(p, WM_REGISTRY_DIRTY_RIDE);
	else if (r->store && is_due(r))
		err = wm_plan_ride(p, WM_REGISTRY_DIRTY_BATCH);
	if (!err && p->changes)
		err = wm_plan_expire(p);
	if (!err && r->store && !wm_batch_empty(p->rows))
		err = put_meta(r, p);
	if (err)
		finish(r, p, -ENOMEM, &e);
	else if (!r->store || wm_batch_empty(p->rows))
		finish(r, p, 0, NULL);
	else
		store(r, p);
	return count;
}

/* What was begun in an earlier turn. */
static void queue_later(struct wm_registry *r)
{
	struct wm_op *op;

	while ((op = TAILQ_FIRST(&r->later))) {
		TAILQ_REMOVE(&r->later, op, entry);
		r->queued++;
		r->queued_bytes += op->bytes;
		TAILQ_INSERT_TAIL(&r->queue, op, entry);
	}
}

bool wm_registry_slices(const struct wm_registry *r)
{
	return r->threaded && r->turn && !r->unhurried;
}

bool wm_registry_spent(struct wm_registry *r)
{
	uint64_t turn, now;

	if (!wm_registry_slices(r))
		return false;
	turn = r->turn(r->turn_arg, false);
	now = wm_env_ns(r->env);
	if (turn != r->busy_turn) {
		r->busy_turn = turn;
		r->busy_since_ns = now;
	}
	return now - r->busy_since_ns >= WM_REGISTRY_TURN_MS * WM_NS_PER_MS;
}

/* What was begun goes on, then another begins. @return whether anything was done. */
static bool step(struct wm_registry *r, unsigned *taken)
{
	bool any = r->writer && wm_writer_poll(r->writer);

	if (r->walks && !wm_registry_spent(r)) {
		(void)wm_registry_follow(r);
		any = true;
	}
	if (r->plan && r->plan->stored && !wm_registry_spent(r)) {
		go_on_applying(r, r->plan);
		any = true;
	}
	if (r->plan || !ready(r) || wm_registry_spent(r))
		return any;
	*taken += begin(r);
	return true;
}

bool wm_registry_flush(void *registry)
{
	struct wm_registry *r = registry;
	unsigned left, taken = 0;
	bool any = false;

	if (!r->turn || r->later_turn != r->turn(r->turn_arg, false))
		queue_later(r);
	left = r->queued; /* what answers submit waits for the next flush */
	do {
		any |= step(r, &taken);
	} while (!r->threaded && (r->plan || taken < left));
	if (wm_registry_slices(r) &&
	    (r->walks || (r->plan ? r->plan->stored : ready(r) && wm_registry_spent(r))))
		(void)r->turn(r->turn_arg, true);
	return any;
}

void wm_registry_finish(struct wm_registry *r)
{
	r->unhurried = true;
	do {
		wm_registry_flush(r);
		if (r->writer)
			wm_writer_wait(r->writer);
	} while (r->plan || r->walks || (r->writer && wm_writer_poll(r->writer)));
	r->unhurried = false;
}

/* --- statuses that wait for the store --------------------------------------------------------- */
void wm_registry_mark_dirty(struct wm_registry *r, struct wm_instance_box *b)
{
	if (b->dirty || !r->store)
		return;
	if (TAILQ_EMPTY(&r->dirty))
		set_due(r);
	b->dirty = true;
	if (b->urgent)
		TAILQ_INSERT_HEAD(&r->dirty, b, dirty_entry);
	else
		TAILQ_INSERT_TAIL(&r->dirty, b, dirty_entry);
}

void wm_instance_retire(struct wm_registry *r, struct wm_instance *i)
{
	if (wm_box(i)->dirty)
		TAILQ_REMOVE(&r->dirty, wm_box(i), dirty_entry);
	wm_box(i)->dirty = false;
	wm_box(i)->dead = true;
}

int wm_registry_sync(struct wm_registry *r, struct wm_check *c, wm_registry_done done, void *arg)
{
	struct wm_waiter *w = malloc(sizeof(*w));
	struct wm_instance_box *b;

	if (!w)
		return -ENOMEM;
	*w = (struct wm_waiter){.done = done, .arg = arg};
	STAILQ_INSERT_TAIL(&r->waiters, w, entry);
	TAILQ_FOREACH (b, &r->dirty, dirty_entry) {
		if (!c)
			b->urgent = true;
	}
	b = c ? wm_box(c->instance) : NULL;
	if (b && b->riding) /* if that fails, it is the first to be tried again */
		b->urgent = true;
	if (b && b->dirty && !b->urgent) {
		b->urgent = true;
		TAILQ_REMOVE(&r->dirty, b, dirty_entry);
		TAILQ_INSERT_HEAD(&r->dirty, b, dirty_entry);
	}
	return 0;
}
