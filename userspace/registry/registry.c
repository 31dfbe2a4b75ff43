/* SPDX-License-Identifier: Apache-2.0 */
/* registry.c - see registry.h: the queue of writes, the batches they are committed in, statuses and
 * reading. What one write does stands in apply.c.
 *
 * Batches: one transaction takes writes in their order until one touches an instance that an
 * earlier one of it changed; that one begins the next transaction of the same flush. So within a
 * transaction an instance changes once, and a listener never sees an object newer than its
 * announcement.
 *
 * Indexes: one write, one index, shared by all changes that it announces. The store holds an index
 * that none announced is above; it is moved ahead by a block before it is reached, and a restart
 * goes on from it. A clean close stores the exact one. If the store refuses for so long that status
 * changes use the block up, the index stands still until it accepts again.
 *
 * Statuses: a result is announced at once and its row is stored with the next commit, or by one of
 * its own every WM_REGISTRY_STATUS_DELAY_MS. A flush must happen for that: the loop's turns are the
 * clock. After a crash a check may show a status older by that much. */
#include "internal.h"
#include "validate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CLOSE_ROUNDS_MAX 16  /* flushes at close: callbacks may submit again, but not for ever */
#define SMALL_RECORD_MAX 512 /* octets of a service or meta record */

/* --- opening and closing --- */
static int new_node_id(struct wm_registry *r)
{
	uint64_t a = wm_random64(), b = wm_random64();

	/* RFC 9562 version 4 */
	if (asprintf(&r->node.id, "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
		     (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff,
		     (unsigned)(0x8000 | ((b >> 48) & 0x3fff)),
		     (unsigned long long)(b & 0xffffffffffffull)) < 0) {
		r->node.id = NULL;
		return -ENOMEM;
	}
	return 0;
}

static void release(struct wm_registry *r)
{
	struct wm_instance *i;
	struct wm_service *s;
	struct wm_op *op;
	size_t pos = 0;

	while ((op = TAILQ_FIRST(&r->queue))) {
		TAILQ_REMOVE(&r->queue, op, entry);
		wm_instance_free(op->in, true);
		wm_check_free(op->check);
		free(op);
	}
	wm_instance_free(r->holder, true);
	while (r->instances && (i = wm_map_next(r->instances, &pos)))
		wm_instance_free(i, true);
	pos = 0;
	while (r->services && (s = wm_map_next(r->services, &pos)))
		wm_service_free(s);
	wm_map_free(r->instances);
	wm_map_free(r->services);
	wm_map_free(r->checks);
	wm_vips_free(r->vips);
	wm_store_close(r->store);
	wm_buf_done(&r->record);
	wm_buf_done(&r->small);
	free(r->node.name);
	free(r->node.id);
	free(r->node.address);
	free(r->datacenter);
	free(r);
}

static int prepare(struct wm_registry *r, const struct wm_registry_config *c, struct wm_err *e)
{
	const char *address = c->node_address ? c->node_address : "";
	const struct wm_instance_draft nobody = {.id = "", .name = ""};

	if (!c->node_name || strnlen(c->node_name, WM_NODE_NAME_MAX + 1) > WM_NODE_NAME_MAX)
		return wm_err_set(e, WM_E_INVALID, "node_name must have 1 to %d characters",
				  WM_NODE_NAME_MAX);
	TAILQ_INIT(&r->queue);
	TAILQ_INIT(&r->dirty);
	STAILQ_INIT(&r->waiters);
	wm_buf_init(&r->record, WM_RECORD_MAX);
	wm_buf_init(&r->small, SMALL_RECORD_MAX);
	r->index = 1;
	r->reserved = c->path ? 0 : WM_REGISTRY_INDEX_MAX;
	r->instances_max = c->instances_max;
	r->services_max = c->services_max;
	r->space.base = c->vip4_base;
	r->space.mask = c->vip4_mask;
	r->space.prefix = c->vip6_prefix;
	memset(&r->space.prefix.s6_addr[8], 0, 8);
	r->node.name = strdup(c->node_name);
	r->node.address = strdup(address);
	r->datacenter = strdup(c->datacenter ? c->datacenter : "");
	r->node.create_index = r->node.modify_index = 1;
	r->instances = wm_map_new(WM_REGISTRY_MAP_MAX);
	r->services = wm_map_new(WM_REGISTRY_MAP_MAX);
	r->checks = wm_map_new(WM_REGISTRY_MAP_MAX);
	r->vips = wm_vips_new(&r->space);
	r->holder = wm_instance_build(&nobody);
	if (!r->node.name || !r->node.address || !r->datacenter || !r->instances || !r->services ||
	    !r->checks || !r->vips || !r->holder)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	r->holder->node = &r->node;
	wm_address_parse(address, &r->node.addr4, &r->node.addr6);
	return 0;
}

int wm_registry_put_meta(struct wm_registry *r, uint64_t reserved, struct wm_err *e)
{
	const struct wm_record_meta m = {reserved, r->node.id};
	int err = wm_record_put_meta(&r->small, &m);

	if (err)
		return wm_err_set(e, err, "Not stored: out of memory; nothing was changed");
	return wm_store_put(r->store, WM_STORE_META, 0, r->small.data, r->small.len, e);
}

int wm_registry_put_service(struct wm_registry *r, const struct wm_lease *l, struct wm_err *e)
{
	const struct wm_record_service s = {l->name, l->vip4, l->vip6, l->create_index};
	int err = wm_record_put_service(&r->small, l->row, &s);

	if (err)
		return wm_err_set(e, err, "Not stored: out of memory; nothing was changed");
	return wm_store_put(r->store, WM_STORE_SERVICES, l->row, r->small.data, r->small.len, e);
}

/* The first commit: proves that the store can be written, and reserves indexes. */
static int first_commit(struct wm_registry *r, struct wm_err *e)
{
	uint64_t reserved = r->index + WM_REGISTRY_INDEX_BLOCK;
	struct wm_lease *l;
	size_t pos = 0;
	int err;

	if (!r->store)
		return 0;
	err = wm_registry_put_meta(r, reserved, e);
	while (!err && (l = wm_vips_next(r->vips, &pos))) {
		if (l->unsaved)
			err = wm_registry_put_service(r, l, e);
		l->unsaved = false;
	}
	if (!err)
		err = wm_store_commit(r->store, e);
	if (!err)
		r->reserved = reserved;
	return err;
}

int wm_registry_open(const struct wm_registry_config *c, struct wm_registry **ret, struct wm_err *e)
{
	struct wm_registry *r = calloc(1, sizeof(*r));
	uint64_t began = wm_clock_ms(), opened, recovered;
	int err;

	if (!r)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	TAILQ_INIT(&r->queue);
	err = prepare(r, c, e);
	if (!err && c->path)
		err = wm_store_open(c->path, c->sync_off, &r->store, e);
	opened = wm_clock_ms();
	if (!err && c->log_pages)
		wm_store_set_log(r->store, c->log_pages);
	if (!err)
		err = wm_registry_recover(r, e);
	recovered = wm_clock_ms();
	if (!err && !r->node.id && new_node_id(r))
		err = wm_err_set(e, -ENOMEM, "Out of memory");
	if (!err)
		err = wm_store_ready(r->store, e);
	if (!err)
		err = first_commit(r, e);
	r->stats.opened_ms = opened - began;
	r->stats.recovered_ms = recovered - opened;
	r->stats.ready_ms = wm_clock_ms() - recovered;
	if (err) {
		release(r);
		return err;
	}
	*ret = r;
	return 0;
}

/* --- statuses that wait for the store --- */
static void mark_dirty(struct wm_registry *r, struct wm_instance_box *b)
{
	if (b->dirty || !r->store)
		return;
	if (TAILQ_EMPTY(&r->dirty))
		r->dirty_due_ms = wm_clock_ms() + WM_REGISTRY_STATUS_DELAY_MS;
	b->dirty = true;
	TAILQ_INSERT_TAIL(&r->dirty, b, dirty_entry);
}

/* Write up to @p max of them into the transaction. @p ret_end: the first that is not in it. */
static int put_dirty(struct wm_registry *r, unsigned max, struct wm_instance_box **ret_end,
		     struct wm_err *e)
{
	struct wm_instance_box *b = TAILQ_FIRST(&r->dirty);
	int err = 0;

	for (unsigned n = 0; b && n < max; n++, b = TAILQ_NEXT(b, dirty_entry)) {
		err = wm_registry_put_instance(r, &b->i, e);
		if (err == WM_E_LIMIT)
			err = wm_err_set(e, err, "Not stored: out of memory; nothing was changed");
		if (err)
			return err;
	}
	*ret_end = b;
	return 0;
}

static void clear_dirty(struct wm_registry *r, const struct wm_instance_box *end)
{
	struct wm_instance_box *b;

	while ((b = TAILQ_FIRST(&r->dirty)) && b != end) {
		b->dirty = false;
		TAILQ_REMOVE(&r->dirty, b, dirty_entry);
	}
	if (!TAILQ_EMPTY(&r->dirty))
		r->dirty_due_ms = wm_clock_ms() + WM_REGISTRY_STATUS_DELAY_MS;
}

/* End the transaction: statuses ride along, the reservation moves ahead. On failure the store has
 * rolled back, and the registry says so in its figures. */
static int commit(struct wm_registry *r, unsigned dirty_max, struct wm_err *e)
{
	uint64_t reserved = r->reserved, started = wm_clock_ns();
	struct wm_instance_box *end = NULL;
	int err;

	if (!r->store)
		return 0;
	err = put_dirty(r, dirty_max, &end, e);
	if (!err && r->index + WM_REGISTRY_INDEX_BLOCK / 2 > reserved) {
		reserved = r->index + WM_REGISTRY_INDEX_BLOCK;
		err = wm_registry_put_meta(r, reserved, e);
	}
	if (!err)
		err = wm_store_commit(r->store, e);
	if (err)
		return err;
	r->reserved = reserved;
	r->stats.commits++;
	r->stats.last_commit_us = (wm_clock_ns() - started) / 1000;
	clear_dirty(r, end);
	return 0;
}

/* All that the memory holds, which is what was committed. */
static int put_everything(struct wm_registry *r, struct wm_store *to, struct wm_err *e)
{
	const struct wm_record_meta m = {r->reserved, r->node.id};
	struct wm_instance *i;
	struct wm_lease *l;
	size_t pos = 0;
	int err = wm_record_put_meta(&r->small, &m);

	if (!err)
		err = wm_store_put(to, WM_STORE_META, 0, r->small.data, r->small.len, e);
	while (!err && (l = wm_vips_next(r->vips, &pos))) {
		const struct wm_record_service s = {l->name, l->vip4, l->vip6, l->create_index};

		err = wm_record_put_service(&r->small, l->row, &s);
		if (!err)
			err = wm_store_put(to, WM_STORE_SERVICES, l->row, r->small.data,
					   r->small.len, e);
	}
	if (!err && r->holder->checks_count) {
		err = wm_record_put_node(&r->record, WM_REGISTRY_NODE_ROW, r->holder);
		if (!err)
			err = wm_store_put(to, WM_STORE_INSTANCES, WM_REGISTRY_NODE_ROW,
					   r->record.data, r->record.len, e);
	}
	pos = 0;
	while (!err && (i = wm_map_next(r->instances, &pos))) {
		err = wm_record_put_instance(&r->record, i->row, i);
		if (!err)
			err = wm_store_put(to, WM_STORE_INSTANCES, i->row, r->record.data,
					   r->record.len, e);
	}
	if (err == -ENOMEM || err == WM_E_LIMIT)
		wm_err_set(e, err, "Not stored: out of memory; nothing was changed");
	return err;
}

int wm_registry_heal(struct wm_registry *r, struct wm_err *e)
{
	struct wm_store *next = NULL;
	int err = wm_store_heal(r->store, e);

	if (err != -ESTALE)
		return err;
	err = wm_store_rewrite(r->store, &next, e);
	if (err)
		return err;
	err = put_everything(r, next, e);
	if (err) {
		wm_store_drop(next);
		return err;
	}
	return wm_store_rewritten(r->store, next, e);
}

void wm_registry_commit_failed(struct wm_registry *r, const struct wm_err *e)
{
	wm_store_rollback(r->store);
	r->stats.failed_commits++;
	snprintf(r->stats.last_error, sizeof(r->stats.last_error), "%.*s",
		 (int)sizeof(r->stats.last_error) - 1, e->text);
	r->dirty_due_ms = wm_clock_ms() + WM_REGISTRY_STATUS_RETRY_MS;
}

uint64_t wm_registry_next_index(struct wm_registry *r)
{
	struct wm_err e = {0};
	uint64_t next = r->index + WM_REGISTRY_INDEX_BLOCK;

	if (r->index >= r->reserved && r->store) {
		/* only statuses come here, after the store refused them a block long */
		int err = wm_registry_put_meta(r, next, &e);

		if (!err)
			err = wm_store_commit(r->store, &e);
		if (err)
			wm_registry_commit_failed(r, &e);
		else
			r->reserved = next;
	}
	return r->index < r->reserved ? ++r->index : r->index;
}

/* --- submitting --- */
int wm_op_submit(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	if (r->queued >= WM_REGISTRY_QUEUE_MAX ||
	    r->queued_bytes + op->bytes > WM_REGISTRY_QUEUE_BYTES) {
		wm_instance_free(op->in, true);
		wm_check_free(op->check);
		free(op);
		return wm_err_set(e, WM_E_BUSY, "Too many writes are waiting, try again");
	}
	r->queued++;
	r->queued_bytes += op->bytes;
	TAILQ_INSERT_TAIL(&r->queue, op, entry);
	return 0;
}

int wm_registry_register(struct wm_registry *r, const struct wm_instance_draft *d,
			 wm_registry_done done, void *arg, struct wm_err *e)
{
	int err = wm_draft_validate(d, e);
	struct wm_instance *in;
	struct wm_op *op;

	if (err)
		return err;
	in = wm_instance_build(d);
	op = in ? calloc(1, sizeof(*op)) : NULL;
	if (!op) {
		wm_instance_free(in, true);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	if (wm_vip4_inside(&r->space, in->addr4) || wm_vip6_inside(&r->space, &in->addr6)) {
		wm_instance_free(in, true);
		free(op);
		return wm_err_set(
			e, WM_E_INVALID,
			"Invalid service address: %s is in the range of virtual addresses",
			d->address);
	}
	op->in = in;
	op->replace_checks = d->replace_checks;
	op->done = done;
	op->arg = arg;
	op->bytes = sizeof(*op) + wm_box(in)->bytes;
	return wm_op_submit(r, op, e);
}

int wm_registry_deregister(struct wm_registry *r, const char *id, wm_registry_done done, void *arg,
			   struct wm_err *e)
{
	size_t n = strnlen(id, WM_INSTANCE_ID_MAX + 1);
	struct wm_op *op;

	if (n > WM_INSTANCE_ID_MAX)
		return wm_err_set(e, WM_E_LIMIT, "Service ID is too long (limit: %d characters)",
				  WM_INSTANCE_ID_MAX);
	op = calloc(1, sizeof(*op) + n + 1);
	if (!op)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	memcpy(op->id, id, n);
	op->done = done;
	op->arg = arg;
	op->bytes = sizeof(*op) + n + 1;
	return wm_op_submit(r, op, e);
}

/* --- flushing --- */
void wm_registry_announce(const struct wm_registry *r, const struct wm_change *c)
{
	for (unsigned n = 0; n < r->listeners_count; n++)
		r->listeners[n].fn(r->listeners[n].arg, c);
}

/* Undo a failed transaction: every write from @p first to @p last, the last one first. */
static void undo_batch(struct wm_registry *r, struct wm_op *first, struct wm_op *last,
		       uint64_t index, const struct wm_err *e)
{
	for (struct wm_op *op = last;; op = TAILQ_PREV(op, wm_ops, entry)) {
		if (op->applied) {
			wm_op_undo(r, op);
			wm_op_refuse(op, e->code, "%s", e->text);
		}
		if (op == first)
			break;
	}
	r->index = index;
	wm_registry_commit_failed(r, e);
}

/* Stage writes from @p op on. @return the last one of the transaction. */
static struct wm_op *stage_batch(struct wm_registry *r, struct wm_op *op, int *ret_err,
				 struct wm_err *e)
{
	struct wm_map *touched = TAILQ_NEXT(op, entry) ? wm_map_new(WM_REGISTRY_BATCH_MAX) : NULL;
	struct wm_op *last = NULL;

	for (unsigned n = 0; op && n < WM_REGISTRY_BATCH_MAX; n++, op = TAILQ_NEXT(op, entry)) {
		const char *id = wm_op_id(r, op);

		/* without memory for the table: one write a transaction; and what an earlier one
		 * took away may come back if the transaction fails */
		if (last && (!touched || !id || wm_map_get(touched, id, strlen(id))))
			break;
		last = op;
		*ret_err = wm_op_stage(r, op, e);
		if (*ret_err)
			break;
		if (op->applied && touched && id && wm_map_put(touched, id, strlen(id), op, NULL)) {
			wm_map_free(touched);
			touched = NULL;
		}
	}
	wm_map_free(touched);
	return last;
}

/* No write from @p op on can be stored. @return NULL. */
static struct wm_op *refuse_rest(struct wm_registry *r, struct wm_op *op, int code, const char *why)
{
	for (; op; op = TAILQ_NEXT(op, entry)) {
		wm_op_refuse(op, code, "%s", why);
		wm_op_settle(r, op);
	}
	return NULL;
}

/* One transaction. @return the first write that is not in it. */
static struct wm_op *run_batch(struct wm_registry *r, struct wm_op *first)
{
	uint64_t index = r->index;
	struct wm_err e = {0};
	struct wm_op *last;
	unsigned applied = 0;
	int err = 0;

	if (wm_store_failed(r->store)) /* an earlier one of this flush */
		return refuse_rest(r, first, WM_E_STORE, r->stats.last_error);
	last = stage_batch(r, first, &err, &e);
	for (struct wm_op *op = first;; op = TAILQ_NEXT(op, entry)) {
		applied += op->applied;
		if (op == last)
			break;
	}
	if (!err && applied)
		err = commit(r, WM_REGISTRY_DIRTY_RIDE, &e);
	if (err) {
		e.code = err;
		undo_batch(r, first, last, index, &e);
	} else {
		r->stats.writes += applied;
	}
	/* what was undone or refused announces nothing */
	for (struct wm_op *op = first;; op = TAILQ_NEXT(op, entry)) {
		wm_op_announce(r, op);
		if (op == last)
			break;
	}
	for (struct wm_op *op = first;; op = TAILQ_NEXT(op, entry)) {
		wm_op_settle(r, op);
		if (op == last)
			break;
	}
	return TAILQ_NEXT(last, entry);
}

static bool flush_statuses(struct wm_registry *r, bool now)
{
	struct wm_err e = {0};
	int err;

	if (TAILQ_EMPTY(&r->dirty) || (!now && wm_clock_ms() < r->dirty_due_ms))
		return false;
	err = wm_registry_heal(r, &e);
	if (!err)
		err = commit(r, WM_REGISTRY_DIRTY_BATCH, &e);
	if (err) {
		e.code = err;
		wm_registry_commit_failed(r, &e);
	}
	return true;
}

int wm_registry_sync(struct wm_registry *r, wm_registry_done done, void *arg)
{
	struct wm_waiter *w = malloc(sizeof(*w));

	if (!w)
		return -ENOMEM;
	*w = (struct wm_waiter){.done = done, .arg = arg};
	STAILQ_INSERT_TAIL(&r->waiters, w, entry);
	return 0;
}

/* Store every status, tell those who wait for it. */
static bool flush_waiters(struct wm_registry *r)
{
	uint64_t failed = r->stats.failed_commits;
	struct wm_waiter *w;

	if (STAILQ_EMPTY(&r->waiters))
		return flush_statuses(r, false);
	while (r->stats.failed_commits == failed && flush_statuses(r, true))
		; /* ends: each round stores some, or fails */
	failed = r->stats.failed_commits - failed;
	while ((w = STAILQ_FIRST(&r->waiters))) {
		STAILQ_REMOVE_HEAD(&r->waiters, entry);
		w->done(w->arg, failed ? WM_E_STORE : 0, failed ? r->stats.last_error : "");
		free(w);
	}
	return true;
}

bool wm_registry_flush(void *registry)
{
	struct wm_registry *r = registry;
	struct wm_err e = {0};
	struct wm_ops ops;
	struct wm_op *op;

	if (TAILQ_EMPTY(&r->queue))
		return flush_waiters(r);
	TAILQ_INIT(&ops);
	TAILQ_CONCAT(&ops, &r->queue, entry);
	r->queued = 0;
	r->queued_bytes = 0;
	op = TAILQ_FIRST(&ops);
	e.code = wm_registry_heal(r, &e);
	if (e.code) {
		wm_registry_commit_failed(r, &e);
		op = refuse_rest(r, op, e.code, e.text);
	}
	while (op)
		op = run_batch(r, op);
	while ((op = TAILQ_FIRST(&ops))) {
		TAILQ_REMOVE(&ops, op, entry);
		if (op->done)
			op->done(op->arg, op->code,
				 op->text ? op->text : (op->code ? wm_err_str(op->code) : ""));
		free(op->text);
		free(op);
	}
	flush_waiters(r);
	return true;
}

void wm_registry_close(struct wm_registry *r)
{
	struct wm_err e = {0};
	uint64_t failed;

	if (!r)
		return;
	for (int n = 0; n < CLOSE_ROUNDS_MAX && !TAILQ_EMPTY(&r->queue); n++)
		wm_registry_flush(r);
	flush_waiters(r);
	failed = r->stats.failed_commits;
	while (r->stats.failed_commits == failed && flush_statuses(r, true))
		; /* ends: each round stores some, or fails */
	/* best effort: without the first a write that was refused may be there after a restart,
	 * without the second the next start skips ahead to what was reserved */
	if (r->store && !wm_registry_heal(r, &e) && !wm_registry_put_meta(r, r->index, &e))
		(void)wm_store_commit(r->store, &e);
	release(r);
}

/* --- statuses --- */
int wm_registry_set_status(struct wm_registry *r, struct wm_check *c, enum wm_status s,
			   const char *output)
{
	struct wm_instance *i = c->instance;
	bool node = i == r->holder;
	struct wm_change change = {.kind = WM_CHANGE_STATUS, .instance = i, .check = c};
	int err = 0;

	if (wm_box(i)->dead || (unsigned)s > WM_CRITICAL)
		return 0;
	if (output)
		err = wm_check_set_output(c, output);
	if (err < 0)
		return err;
	if (c->status == s)
		return 0;
	c->status = s;
	i->status = wm_instance_effective(r, i);
	change.index = wm_registry_next_index(r);
	c->modify_index = change.index;
	mark_dirty(r, wm_box(i));
	if (node) {
		wm_registry_node_changed(r, change.index, c);
		return 1;
	}
	i->service->index = change.index;
	change.service = i->service;
	wm_registry_announce(r, &change);
	return 1;
}

/* --- reading --- */
uint64_t wm_registry_index(const struct wm_registry *r)
{
	return r->index;
}

const struct wm_node *wm_registry_node(const struct wm_registry *r)
{
	return &r->node;
}

const char *wm_registry_datacenter(const struct wm_registry *r)
{
	return r->datacenter;
}

unsigned wm_registry_instances(const struct wm_registry *r)
{
	return (unsigned)wm_map_len(r->instances);
}

unsigned wm_registry_services(const struct wm_registry *r)
{
	return (unsigned)wm_map_len(r->services);
}

struct wm_service *wm_registry_service(const struct wm_registry *r, const char *name)
{
	char lower[WM_SERVICE_NAME_MAX];
	size_t n = 0;

	for (; name[n]; n++) {
		if (n == sizeof(lower))
			return NULL;
		lower[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] + 32 : name[n]);
	}
	return wm_map_get(r->services, lower, n);
}

struct wm_instance *wm_registry_instance(const struct wm_registry *r, const char *id)
{
	return wm_map_get(r->instances, id, strlen(id));
}

struct wm_check *wm_registry_check(const struct wm_registry *r, const char *check_id)
{
	return wm_map_get(r->checks, check_id, strlen(check_id));
}

const struct wm_instance *wm_registry_node_checks(const struct wm_registry *r)
{
	return r->holder;
}

struct wm_service *wm_registry_next_service(const struct wm_registry *r, size_t *pos)
{
	return wm_map_next(r->services, pos);
}

struct wm_instance *wm_registry_next_instance(const struct wm_registry *r, size_t *pos)
{
	return wm_map_next(r->instances, pos);
}

int wm_registry_subscribe(struct wm_registry *r, wm_change_fn fn, void *arg)
{
	if (r->listeners_count == WM_REGISTRY_LISTENERS_MAX)
		return -ENOMEM;
	r->listeners[r->listeners_count++] = (struct wm_listener){fn, arg};
	return 0;
}

void wm_registry_stats(const struct wm_registry *r, struct wm_registry_stats *ret)
{
	*ret = r->stats;
	ret->file_bytes = wm_store_bytes(r->store);
	ret->saving = !LIST_EMPTY(&r->saves);
	wm_store_stats(r->store, &ret->store);
}
