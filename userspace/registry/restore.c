/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - makes the registry what a snapshot says, as one large write: removals first, so that
 * ids and places are free, then the node's checks, then every instance. Each is staged as a
 * client's write is, so it is undone, stored and announced by the same means; what is the same
 * already is not touched. */
#include "snapshot_internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

struct restore {
	struct wm_registry *r;
	struct wm_snapshot *s;
	struct wm_ops ops;
	struct wm_lease **leases; /* made for it, retired until an instance comes */
	unsigned leases_count;
	uint64_t index;
};

static int no_memory(struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM, "Not restored: out of memory; nothing was changed");
}

static struct wm_op *add_op(struct restore *x, enum wm_op_kind kind, const char *id)
{
	size_t n = strlen(id) + 1;
	struct wm_op *op = calloc(1, sizeof(*op) + n);

	if (!op)
		return NULL;
	op->kind = kind;
	op->restore = op->replace_checks = true;
	op->at = x->index;
	memcpy(op->id, id, n);
	TAILQ_INSERT_TAIL(&x->ops, op, entry);
	return op;
}

/* Every write that makes the difference; the snapshot's objects go over to them. */
static int plan(struct restore *x, struct wm_err *e)
{
	struct wm_instance *i;
	struct wm_op *op;
	size_t pos = 0;

	while ((i = wm_map_next(x->r->instances, &pos))) {
		if (!wm_map_get(x->s->instances, i->id, strlen(i->id)) &&
		    !add_op(x, WM_OP_INSTANCE, i->id))
			return no_memory(e);
	}
	op = add_op(x, WM_OP_HOLDER, "");
	if (!op)
		return no_memory(e);
	if (!x->s->holder) {
		const struct wm_instance_draft nobody = {.id = "", .name = ""};

		x->s->holder = wm_instance_build(&nobody);
	}
	if (!x->s->holder)
		return no_memory(e);
	op->in = x->s->holder;
	x->s->holder = NULL;
	pos = 0;
	while ((i = wm_map_next(x->s->instances, &pos))) {
		op = add_op(x, WM_OP_INSTANCE, "");
		if (!op)
			return no_memory(e);
		op->in = i;
		wm_map_del(x->s->instances, i->id, strlen(i->id));
	}
	return 0;
}

static int judge(const struct restore *x, struct wm_err *e)
{
	const struct wm_registry *r = x->r;
	struct wm_instance *i;
	size_t pos = 0;

	if (wm_map_len(x->s->instances) > r->instances_max)
		return wm_err_set(e, WM_E_LIMIT,
				  "Not restored: the snapshot has %zu instances, at most %u are "
				  "allowed (instances_max)",
				  wm_map_len(x->s->instances), r->instances_max);
	while ((i = wm_map_next(x->s->instances, &pos))) {
		if (wm_vip4_inside(&r->space, i->addr4) || wm_vip6_inside(&r->space, &i->addr6))
			return wm_err_set(e, WM_E_INVALID,
					  "Not restored: the address %.64s of instance %.64s is in "
					  "the range of virtual addresses",
					  i->address, i->id);
	}
	return 0;
}

/* Services that are not here get the addresses they had, where those are free. */
static int restore_lease(struct restore *x, const struct wm_record_service *s, struct wm_err *e)
{
	struct wm_registry *r = x->r;
	struct wm_lease *l;
	int err;

	if (wm_vips_find(r->vips, s->name))
		return 0;
	err = wm_vips_restore(r->vips, s->name, s->vip4, s->vip6, &l);
	if (err == WM_E_CONFLICT || err == WM_E_INVALID)
		err = wm_vips_give(r->vips, s->name, &l);
	if (err)
		return err == -ENOMEM ? no_memory(e)
				      : wm_err_set(e, err,
						   "Not restored: no virtual address is left for "
						   "service %s; nothing was changed",
						   s->name);
	x->leases[x->leases_count++] = l;
	l->row = ++r->service_row;
	l->create_index = x->index;
	wm_lease_retire(r->vips, l);
	return r->store ? wm_registry_put_service(r, l, e) : 0;
}

static int restore_leases(struct restore *x, struct wm_err *e)
{
	struct wm_snapshot_lease *l;
	size_t pos = 0, n = wm_map_len(x->s->leases);
	int err = 0;

	x->leases = calloc(n + 1, sizeof(struct wm_lease *));
	if (!x->leases)
		return no_memory(e);
	if (wm_vips_count(x->r->vips) + n > 4ull * x->r->services_max)
		return wm_err_set(e, WM_E_LIMIT,
				  "Not restored: the snapshot has %zu services, at most %u are "
				  "allowed (services_max)",
				  n, x->r->services_max);
	while (!err && (l = wm_map_next(x->s->leases, &pos)))
		err = restore_lease(x, &l->s, e);
	return err;
}

static int stage(struct restore *x, struct wm_op **ret_last, struct wm_err *e)
{
	struct wm_op *op;
	int err = 0;

	TAILQ_FOREACH(op, &x->ops, entry)
	{
		*ret_last = op;
		err = wm_op_stage(x->r, op, e);
		if (!err && op->code)
			err = wm_err_set(e, op->code, "Not restored: %.300s; nothing was changed",
					 op->text ? op->text : wm_err_str(op->code));
		if (err)
			break;
	}
	return err;
}

static int commit(struct restore *x, struct wm_err *e)
{
	struct wm_registry *r = x->r;
	uint64_t reserved = x->index + WM_REGISTRY_INDEX_BLOCK;
	int err = r->store ? wm_registry_put_meta(r, reserved, e) : 0;

	if (!err)
		err = wm_store_commit(r->store, e);
	if (!err && r->store)
		r->reserved = reserved;
	return err;
}

static void undo(struct restore *x, struct wm_op *last)
{
	for (struct wm_op *op = last; op; op = TAILQ_PREV(op, wm_ops, entry)) {
		if (op->applied)
			wm_op_undo(x->r, op);
	}
	wm_store_rollback(x->r->store);
	while (x->leases_count) {
		struct wm_lease *l = x->leases[--x->leases_count];

		wm_lease_detach(x->r->vips, l);
		wm_lease_free(l);
	}
}

static void settle(struct restore *x)
{
	struct wm_op *op;

	TAILQ_FOREACH(op, &x->ops, entry)
	wm_op_announce(x->r, op);
	while ((op = TAILQ_FIRST(&x->ops))) {
		TAILQ_REMOVE(&x->ops, op, entry);
		x->r->stats.writes += op->applied;
		wm_op_settle(x->r, op);
		free(op->text);
		free(op);
	}
}

int wm_registry_restore(struct wm_registry *r, struct wm_snapshot *s, struct wm_err *e)
{
	struct restore x = {.r = r, .s = s};
	struct wm_op *last = NULL;
	uint64_t before;
	int err;

	TAILQ_INIT(&x.ops);
	wm_registry_flush(r);
	before = r->index;
	x.index = (s->info.index > r->index ? s->info.index : r->index) + 1;
	err = x.index > WM_REGISTRY_INDEX_MAX - WM_REGISTRY_INDEX_BLOCK
		      ? wm_err_set(e, WM_E_LIMIT, "Not restored: indexes are used up")
		      : wm_registry_heal(r, e);
	if (!err)
		err = judge(&x, e);
	if (!err)
		err = plan(&x, e);
	if (!err)
		err = restore_leases(&x, e);
	r->index = err ? before : x.index;
	if (!err)
		err = stage(&x, &last, e);
	if (!err)
		err = commit(&x, e);
	if (err) {
		undo(&x, last);
		r->index = before;
		if (err == WM_E_STORE || err == -ENOSPC)
			wm_registry_commit_failed(r, e);
	}
	settle(&x);
	free(x.leases);
	return err;
}
