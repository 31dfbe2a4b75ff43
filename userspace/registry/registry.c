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
#include "restore_internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"
#include "userspace/base/random.h"
#include "validate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSE_ROUNDS_MAX 16  /* flushes at close: callbacks may submit again, but not for ever */
#define SMALL_RECORD_MAX 512 /* octets of a service or meta record */

/* --- opening and closing --- */
int wm_registry_set_node_id(struct wm_registry *r, const char *id)
{
	const struct wm_node *self = r->self;
	const struct wm_node_draft d = {.id = id,
					.address = self->address,
					.meta = self->meta,
					.meta_count = self->meta_count,
					.tagged = self->tagged,
					.tagged_count = self->tagged_count};
	void *before = self->facts;

	if (wm_node_set_facts(r->self, &d))
		return -ENOMEM;
	free(before);
	return 0;
}

static int new_node_id(struct wm_registry *r)
{
	uint64_t a = wm_random64(), b = wm_random64();
	char text[37];

	/* RFC 9562 version 4 */
	snprintf(text, sizeof(text), "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
		 (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff,
		 (unsigned)(0x8000 | ((b >> 48) & 0x3fff)),
		 (unsigned long long)(b & 0xffffffffffffull));
	return wm_registry_set_node_id(r, text);
}

static void release(struct wm_registry *r)
{
	struct wm_service *s;
	struct wm_node *n;
	struct wm_op *op;
	size_t pos = 0;

	TAILQ_CONCAT(&r->queue, &r->later, entry);
	while ((op = TAILQ_FIRST(&r->queue))) {
		TAILQ_REMOVE(&r->queue, op, entry);
		wm_op_discard(op);
	}
	while (r->nodes && (n = wm_map_next(r->nodes, &pos)))
		wm_node_free(n);
	pos = 0;
	while (r->services && (s = wm_map_next(r->services, &pos)))
		wm_service_free(s);
	wm_map_free(r->nodes);
	wm_map_free(r->node_ids);
	wm_map_free(r->services);
	wm_vips_free(r->vips);
	wm_store_close(r->store);
	wm_buf_done(&r->record);
	wm_buf_done(&r->small);
	free(r->datacenter);
	free(r->path);
	free(r);
}

static int prepare(struct wm_registry *r, const struct wm_registry_config *c, struct wm_err *e)
{
	struct wm_node_draft facts = {.address = c->node_address};
	struct wm_pair *meta = NULL;
	int err;

	if (!c->node_name || strnlen(c->node_name, WM_NODE_NAME_MAX + 1) > WM_NODE_NAME_MAX)
		return wm_err_set(e, WM_E_INVALID, "node_name must have 1 to %d characters",
				  WM_NODE_NAME_MAX);
	TAILQ_INIT(&r->queue);
	TAILQ_INIT(&r->later);
	r->turn = c->turn;
	r->turn_arg = c->turn_arg;
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
	r->nodes_max = c->nodes_max;
	r->checks_max = c->checks_max ? c->checks_max : UINT32_MAX;
	r->datacenter = strdup(c->datacenter ? c->datacenter : "");
	r->path = c->path ? strdup(c->path) : NULL;
	r->nodes = wm_map_new(WM_REGISTRY_MAP_MAX);
	r->node_ids = wm_map_new(WM_REGISTRY_MAP_MAX);
	r->services = wm_map_new(WM_REGISTRY_MAP_MAX);
	r->vips = wm_vips_new(&r->space);
	err = wm_node_meta_read(c->node_meta, &meta, &facts.meta_count, e);
	facts.meta = meta;
	if (!err)
		r->self = wm_node_new(c->node_name, &facts);
	wm_node_meta_free(meta, facts.meta_count);
	if (err)
		return err;
	if (!r->self || !r->datacenter || (c->path && !r->path) || !r->nodes || !r->node_ids ||
	    !r->services || !r->vips || wm_node_enter(r, r->self)) {
		wm_node_free(r->self); /* in no table yet */
		return wm_err_set(e, -ENOMEM, "Out of memory");
	}
	r->self->self = true;
	r->self->create_index = r->self->modify_index = r->self->index = 1;
	return 0;
}

int wm_registry_put_meta(struct wm_registry *r, uint64_t reserved, struct wm_err *e)
{
	const struct wm_record_meta m = {reserved, r->self->id};
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
	TAILQ_INIT(&r->later);
	err = prepare(r, c, e);
	if (!err && c->path)
		err = wm_store_open(c->path, c->sync_off, &r->store, e);
	opened = wm_clock_ms();
	if (!err && c->log_pages)
		wm_store_set_log(r->store, c->log_pages);
	if (!err)
		err = wm_registry_recover(r, e);
	recovered = wm_clock_ms();
	if (!err && !*r->self->id && new_node_id(r))
		err = wm_err_set(e, -ENOMEM, "Out of memory");
	if (!err)
		err = wm_store_ready(r->store, e);
	if (!err)
		err = first_commit(r, e);
	if (!err)
		err = wm_restore_finish(r, e);
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

/* Write those that somebody waits for into the transaction, and up to @p max in all. @p ret_end:
 * the first that is not in it. */
static int put_dirty(struct wm_registry *r, unsigned max, struct wm_instance_box **ret_end,
		     struct wm_err *e)
{
	struct wm_instance_box *b = TAILQ_FIRST(&r->dirty);
	int err = 0;

	for (unsigned n = 0; b && (n < max || b->urgent); n++, b = TAILQ_NEXT(b, dirty_entry)) {
		err = wm_registry_put_instance(r, &b->i, e);
		if (err && err != WM_E_LIMIT) /* a row that does not fit is nobody else's matter */
			return err;
	}
	*ret_end = b;
	return 0;
}

static void clear_dirty(struct wm_registry *r, const struct wm_instance_box *end)
{
	struct wm_instance_box *b;

	while ((b = TAILQ_FIRST(&r->dirty)) && b != end) {
		b->dirty = b->urgent = false;
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
	const struct wm_record_meta m = {r->reserved, r->self->id};
	struct wm_instance *i;
	struct wm_lease *l;
	struct wm_node *n;
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
	pos = 0;
	while (!err && (n = wm_map_next(r->nodes, &pos))) {
		if (n->self && !n->holder->checks_count)
			continue;
		err = wm_registry_encode(r, n->holder, true);
		if (!err)
			err = wm_store_put(to, WM_STORE_INSTANCES, n->row, r->record.data,
					   r->record.len, e);
	}
	pos = 0;
	while (!err && (i = wm_registry_next_instance(r, &pos))) {
		err = wm_registry_encode(r, i, true);
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
		wm_op_discard(op);
		return wm_err_set(e, WM_E_BUSY, "Too many writes are waiting, try again");
	}
	r->queued++;
	r->queued_bytes += op->bytes;
	TAILQ_INSERT_TAIL(&r->queue, op, entry);
	return 0;
}

void wm_registry_set_judge(struct wm_registry *r,
			   int (*fn)(void *arg, const struct wm_instance_draft *d,
				     struct wm_err *e),
			   void *arg)
{
	r->judge = fn;
	r->judge_arg = arg;
}

void wm_registry_on_first_result(struct wm_registry *r,
				 void (*fn)(void *arg, const struct wm_check *c), void *arg)
{
	r->first_result = fn;
	r->first_result_arg = arg;
}

void wm_registry_on_output(struct wm_registry *r, void (*fn)(void *arg, const struct wm_check *c),
			   void *arg)
{
	r->output = fn;
	r->output_arg = arg;
}

int wm_op_register(struct wm_registry *r, const struct wm_instance_draft *d, struct wm_op **ret_op,
		   struct wm_err *e)
{
	int err = wm_draft_validate(d, e);
	struct wm_op *op;

	for (unsigned n = 0; !err && n < d->checks_count; n++)
		err = wm_check_draft_node(r, &d->checks[n], e);
	if (!err && r->judge)
		err = r->judge(r->judge_arg, d, e);
	if (err)
		return err;
	op = wm_op_new(WM_OP_INSTANCE, "", NULL, NULL);
	if (op)
		op->in = wm_instance_build(d);
	if (!op || !op->in) {
		wm_op_discard(op);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	if (wm_vip4_inside(&r->space, op->in->addr4) || wm_vip6_inside(&r->space, &op->in->addr6)) {
		wm_op_discard(op);
		return wm_err_set(
			e, WM_E_INVALID,
			"Invalid service address: %s is in the range of virtual addresses",
			d->address);
	}
	op->replace_checks = d->replace_checks;
	op->bytes += wm_box(op->in)->bytes;
	*ret_op = op;
	return 0;
}

int wm_registry_register(struct wm_registry *r, const struct wm_instance_draft *d,
			 wm_registry_done done, void *arg, struct wm_err *e)
{
	struct wm_op *op = NULL;
	int err;

	if (d->sidecar)
		return wm_sidecar_register(r, d, done, arg, e);
	err = wm_op_register(r, d, &op, e);
	if (!op)
		return err;
	op->done = done;
	op->arg = arg;
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
	op = wm_op_new(WM_OP_INSTANCE, id, done, arg);
	if (!op)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	return wm_sidecar_deregister(r, id, op, e);
}

/* --- flushing --- */
void wm_registry_announce(const struct wm_registry *r, const struct wm_change *c)
{
	if (c->instance && c->instance->node->index < c->index)
		c->instance->node->index = c->index;
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

/* What the writes of a transaction touched: numbers in a table with open addressing. Two instances
 * may share a number, which begins a transaction too early and does no harm. */
struct marks {
	uint64_t *at; /* 0: empty */
	size_t cap, count;
	bool lost; /* without memory: one write a transaction */
};

#define MARKS_FIRST 64 /* places of a new table; a power of two */

static uint64_t mark_of(const struct wm_node *n, const char *id)
{
	return (n->mark ^ wm_hash(id, strlen(id))) | 1;
}

/* Anything at all on the node. */
static uint64_t mark_of_any(const struct wm_node *n)
{
	return (n->mark ^ UINT64_C(0x9e3779b97f4a7c15)) | 1; /* no id hashes to it but by chance */
}

static uint64_t *mark_place(const struct marks *m, uint64_t mark)
{
	size_t i = (size_t)(mark >> 1);

	while (m->at[i & (m->cap - 1)] && m->at[i & (m->cap - 1)] != mark)
		i++;
	return &m->at[i & (m->cap - 1)];
}

static bool mark_has(const struct marks *m, uint64_t mark)
{
	return m->lost || (m->cap && *mark_place(m, mark));
}

static void mark_add(struct marks *m, uint64_t mark)
{
	struct marks next = {.cap = m->cap ? m->cap * 2 : MARKS_FIRST};
	uint64_t *to;

	if (m->lost)
		return;
	if (m->count * 2 >= m->cap) {
		next.at = calloc(next.cap, sizeof(*next.at));
		if (!next.at) {
			m->lost = true;
			return;
		}
		for (size_t i = 0; i < m->cap; i++) {
			if (m->at[i])
				*mark_place(&next, m->at[i]) = m->at[i];
		}
		next.count = m->count;
		free(m->at);
		*m = next;
	}
	to = mark_place(m, mark);
	m->count += !*to;
	*to = mark;
}

/* May the write join the transaction? Not when it is about what an earlier one changed, nor when
 * that is not known: what an earlier one took away may come back if the transaction fails. A node
 * is also touched by what is written on it. */
static bool may_join(const struct wm_registry *r, const struct wm_op *op, const struct marks *m)
{
	const struct wm_node *home = wm_op_home(r, op);
	const struct wm_op *part;
	const char *id;

	if (op->kind == WM_OP_GROUP) {
		TAILQ_FOREACH (part, &op->parts, entry) {
			if (!may_join(r, part, m))
				return false;
		}
		return true;
	}
	if (!home) /* a node that this write founds, or that is refused */
		return op->kind == WM_OP_NODE_PUT || op->group_founds;
	if (op->node_name && mark_has(m, mark_of(home, "")))
		return false;
	/* clients name the node with each service: that changes nothing */
	if (op->kind == WM_OP_NODE_PUT && wm_node_same(home, op->facts))
		return true;
	if (op->kind == WM_OP_NODE_CLEAR || op->kind == WM_OP_NODE_PUT)
		return !mark_has(m, mark_of_any(home));
	if (op->kind == WM_OP_READ)
		return m->count == 0;
	id = wm_op_id(r, op);
	return id && !mark_has(m, mark_of(home, id));
}

static void add_marks(struct marks *m, const struct wm_op *op)
{
	const struct wm_op *part;

	TAILQ_FOREACH (part, &op->parts, entry)
		add_marks(m, part);
	if (!op->applied || op->kind == WM_OP_GROUP)
		return;
	if (op->kind == WM_OP_NODE_PUT || op->kind == WM_OP_NODE_DROP) {
		mark_add(m, mark_of(op->home, ""));
		return;
	}
	mark_add(m, mark_of(op->home, op->in ? op->in->id : op->old->id));
	mark_add(m, mark_of_any(op->home));
}

/* Stage writes from @p op on. @return the last one of the transaction. */
static struct wm_op *stage_batch(struct wm_registry *r, struct wm_op *op, int *ret_err,
				 struct wm_err *e)
{
	bool alone = !TAILQ_NEXT(op, entry);
	struct wm_op *last = NULL;
	struct marks m = {0};

	for (unsigned n = 0; op && n < WM_REGISTRY_BATCH_MAX; n++, op = TAILQ_NEXT(op, entry)) {
		if (last && !may_join(r, op, &m))
			break;
		last = op;
		*ret_err = wm_op_stage(r, op, e);
		if (*ret_err)
			break;
		if (!alone)
			add_marks(&m, op);
	}
	free(m.at);
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

/* One commit of up to @p max statuses. @return false if there is nothing to store. */
static bool store_statuses(struct wm_registry *r, unsigned max)
{
	struct wm_err e = {0};
	int err;

	if (TAILQ_EMPTY(&r->dirty))
		return false;
	err = wm_registry_heal(r, &e);
	if (!err)
		err = commit(r, max, &e);
	if (err) {
		e.code = err;
		wm_registry_commit_failed(r, &e);
	}
	return true;
}

int wm_registry_sync(struct wm_registry *r, struct wm_check *c, wm_registry_done done, void *arg)
{
	struct wm_waiter *w = malloc(sizeof(*w));
	struct wm_instance_box *b;

	if (!w)
		return -ENOMEM;
	*w = (struct wm_waiter){.done = done, .arg = arg};
	STAILQ_INSERT_TAIL(&r->waiters, w, entry);
	for (b = TAILQ_FIRST(&r->dirty); !c && b; b = TAILQ_NEXT(b, dirty_entry))
		b->urgent = true;
	b = c ? wm_box(c->instance) : NULL;
	if (b && b->dirty && !b->urgent) {
		b->urgent = true;
		TAILQ_REMOVE(&r->dirty, b, dirty_entry);
		TAILQ_INSERT_HEAD(&r->dirty, b, dirty_entry);
	}
	return 0;
}

/* Store the statuses that are waited for, and some others with them, in one commit; tell those who
 * wait. A row that was replaced meanwhile was stored with the write that did it. */
static bool flush_waiters(struct wm_registry *r)
{
	struct wm_instance_box *b = TAILQ_FIRST(&r->dirty);
	uint64_t failed = r->stats.failed_commits;
	struct wm_waiter *w;

	if (STAILQ_EMPTY(&r->waiters))
		return wm_clock_ms() >= r->dirty_due_ms &&
		       store_statuses(r, WM_REGISTRY_DIRTY_BATCH);
	if (b && b->urgent)
		store_statuses(r, WM_REGISTRY_DIRTY_RIDE);
	/* what could not be stored is tried again when its time comes */
	for (b = TAILQ_FIRST(&r->dirty); b && b->urgent; b = TAILQ_NEXT(b, dirty_entry))
		b->urgent = false;
	failed = r->stats.failed_commits - failed;
	while ((w = STAILQ_FIRST(&r->waiters))) {
		STAILQ_REMOVE_HEAD(&r->waiters, entry);
		w->done(w->arg, failed ? WM_E_STORE : 0, failed ? r->stats.last_error : "");
		free(w);
	}
	return true;
}

/* A write that has only begun goes on in the next turn. @return false: it is over. */
static bool go_on(struct wm_registry *r, struct wm_op *op)
{
	struct wm_op *rest = op->again && !op->code ? wm_group_rest(op) : NULL;

	if (!rest) {
		if (op->again && !op->code)
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
	const char *text;

	if (go_on(r, op))
		return;
	text = op->text ? op->text : (op->code ? wm_err_str(op->code) : "");
	if (op->part_failed && op->part)
		op->part(op->arg, op->number, op->code, text);
	if (op->done)
		op->done(op->arg, op->code, text);
}

bool wm_registry_flush(void *registry)
{
	struct wm_registry *r = registry;
	struct wm_err e = {0};
	struct wm_ops ops;
	struct wm_op *op;

	if (!r->turn || r->later_turn != r->turn(r->turn_arg, false))
		TAILQ_CONCAT(&r->queue, &r->later, entry);
	if (TAILQ_EMPTY(&r->queue))
		return flush_waiters(r);
	TAILQ_INIT(&ops);
	TAILQ_CONCAT(&ops, &r->queue, entry);
	r->queued = 0;
	r->queued_bytes = 0;
	r->sidecar_waits = false;
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
		answer(r, op);
		wm_op_free(op);
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
	r->turn = NULL; /* none follows */
	for (int n = 0; n < CLOSE_ROUNDS_MAX && !TAILQ_EMPTY(&r->queue); n++)
		wm_registry_flush(r);
	while (!TAILQ_EMPTY(&r->later)) /* ends: each takes some of a node */
		wm_registry_flush(r);
	flush_waiters(r);
	failed = r->stats.failed_commits;
	while (r->stats.failed_commits == failed && store_statuses(r, WM_REGISTRY_DIRTY_BATCH))
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
	bool node = i == i->node->holder;
	struct wm_change change = {.kind = WM_CHANGE_STATUS, .instance = i, .check = c};
	bool begins, first = !wm_cbox(c)->told;
	int err = 0;

	if (wm_box(i)->dead || (unsigned)s > WM_CRITICAL)
		return 0;
	if (output)
		err = wm_check_set_output(c, output);
	if (err < 0)
		return err;
	if (err && r->output)
		r->output(r->output_arg, c);
	wm_cbox(c)->told = true;
	begins = wm_instance_begins(i, s);
	if (c->status == s && !begins) {
		if (first && s == WM_CRITICAL && r->first_result)
			r->first_result(r->first_result_arg, c);
		return 0;
	}
	c->status = s;
	i->status = wm_instance_effective(r, i);
	change.index = wm_registry_next_index(r);
	c->modify_index = change.index;
	mark_dirty(r, wm_box(i));
	if (node) {
		wm_registry_node_changed(r, i->node, change.index, c);
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

const char *wm_registry_datacenter(const struct wm_registry *r)
{
	return r->datacenter;
}

unsigned wm_registry_instances(const struct wm_registry *r)
{
	return r->instances_count;
}

unsigned wm_registry_checks(const struct wm_registry *r)
{
	return r->checks_count;
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

static const struct wm_service *holder_of(const struct wm_registry *r, const struct wm_lease *l)
{
	return l ? wm_registry_service(r, l->name) : NULL;
}

const struct wm_service *wm_registry_service_at4(const struct wm_registry *r, struct in_addr a)
{
	return holder_of(r, wm_vips_at4(r->vips, a));
}

const struct wm_service *wm_registry_service_at6(const struct wm_registry *r,
						 const struct in6_addr *a)
{
	return holder_of(r, wm_vips_at6(r->vips, a));
}

const struct wm_vip_space *wm_registry_vip_space(const struct wm_registry *r)
{
	return &r->space;
}

struct wm_service *wm_registry_next_service(const struct wm_registry *r, size_t *pos)
{
	return wm_map_next(r->services, pos);
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
