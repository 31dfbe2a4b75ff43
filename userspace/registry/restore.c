/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - makes the registry what a snapshot says, as one large write: removals first, so that
 * ids and places are free, then the node's checks, then every instance. Each is staged as a
 * client's write is, so it is undone, stored and announced by the same means; what is the same
 * already is not touched. */
#include "snapshot_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct restore {
	struct wm_registry *r;
	struct wm_snapshot *s;
	struct wm_op *group;	  /* all writes */
	struct wm_lease **leases; /* made for it, retired until an instance comes */
	unsigned leases_count;
	uint64_t index;
};

static int no_memory(struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM, "Not restored: out of memory; nothing was changed");
}

static struct wm_op *add_op(struct restore *x, enum wm_op_kind kind, const struct wm_node *n,
			    const char *id)
{
	struct wm_op *op = wm_op_new(kind, id, NULL, NULL);

	if (op && !n->self)
		op->node_name = strdup(n->folded);
	if (!op || (!n->self && !op->node_name)) {
		wm_op_discard(op);
		return NULL;
	}
	op->restore = op->replace_checks = op->lenient = true;
	op->group = x->group;
	TAILQ_INSERT_TAIL(&x->group->parts, op, entry);
	return op;
}

/* The same node in the snapshot; NULL: it has none. */
static struct wm_node *twin_of(const struct restore *x, const struct wm_node *n)
{
	return n->self ? x->s->self : wm_map_get(x->s->nodes, n->folded, strlen(n->folded));
}

static int plan_removals(struct restore *x)
{
	struct wm_instance *i;
	struct wm_node *n, *twin;
	size_t pos = 0, at;

	while ((n = wm_map_next(x->r->nodes, &pos))) {
		twin = twin_of(x, n);
		at = 0;
		while ((i = wm_map_next(n->instances, &at))) {
			if ((!twin || !wm_node_instance(twin, i->id)) &&
			    !add_op(x, WM_OP_INSTANCE, n, i->id))
				return -ENOMEM;
		}
		if (!twin && !add_op(x, WM_OP_NODE_DROP, n, ""))
			return -ENOMEM;
	}
	return 0;
}

/* What is on a node; the snapshot's objects go over to the writes. */
static int plan_node(struct restore *x, struct wm_node *n)
{
	struct wm_node_draft facts = {.id = n->id,
				      .address = n->address,
				      .meta = n->meta,
				      .meta_count = n->meta_count,
				      .tagged = n->tagged,
				      .tagged_count = n->tagged_count,
				      .region = n->region,
				      .zone = n->zone};
	struct wm_instance *i;
	struct wm_op *op;
	size_t pos = 0;

	if (!n->self) {
		op = add_op(x, WM_OP_NODE_PUT, n, "");
		if (op)
			op->facts = wm_node_new(n->name, &facts);
		if (!op || !op->facts)
			return -ENOMEM;
	}
	op = add_op(x, WM_OP_HOLDER, n, "");
	if (!op)
		return -ENOMEM;
	op->in = n->holder;
	n->holder = NULL;
	while ((i = wm_map_next(n->instances, &pos))) {
		op = add_op(x, WM_OP_INSTANCE, n, "");
		if (!op)
			return -ENOMEM;
		op->in = i;
		wm_map_del(n->instances, i->id, strlen(i->id));
	}
	return 0;
}

/* Every write that makes the difference. */
static int plan(struct restore *x, struct wm_err *e)
{
	struct wm_node *n;
	size_t pos = 0;
	int err;

	x->group = wm_op_new(WM_OP_GROUP, "", NULL, NULL);
	if (!x->group)
		return no_memory(e);
	x->group->index = x->index;
	x->s->self->self = true; /* it stands for ours */
	err = plan_removals(x);
	if (!err)
		err = plan_node(x, x->s->self);
	while (!err && (n = wm_map_next(x->s->nodes, &pos)))
		err = plan_node(x, n);
	return err ? no_memory(e) : 0;
}

static int judge_node(const struct restore *x, const struct wm_node *n, struct wm_err *e)
{
	const struct wm_registry *r = x->r;
	const struct wm_node *ours = n == x->s->self ? NULL : wm_find_node(r, n->name);
	struct wm_instance *i;
	size_t pos = 0;

	if (ours && ours->self)
		return wm_err_set(e, WM_E_CONFLICT,
				  "Not restored: the snapshot's catalog has a node %.64s, which is "
				  "this agent's name",
				  n->name);
	while ((i = wm_map_next(n->instances, &pos))) {
		if (wm_vip4_inside(&r->space, i->addr4) || wm_vip6_inside(&r->space, &i->addr6))
			return wm_err_set(e, WM_E_INVALID,
					  "Not restored: the address %.64s of instance %.64s is in "
					  "the range of virtual addresses",
					  i->address, i->id);
	}
	return 0;
}

static int judge(const struct restore *x, struct wm_err *e)
{
	const struct wm_registry *r = x->r;
	struct wm_node *n;
	size_t pos = 0;
	int err;

	if (x->s->info.instances > r->instances_max)
		return wm_err_set(e, WM_E_CAPACITY,
				  "Not restored: the snapshot has %llu instances, at most %u are "
				  "allowed (instances_max)",
				  (unsigned long long)x->s->info.instances, r->instances_max);
	if (x->s->info.checks > r->checks_max)
		return wm_err_set(e, WM_E_CAPACITY,
				  "Not restored: the snapshot has %llu checks, at most %u are "
				  "allowed (checks_max)",
				  (unsigned long long)x->s->info.checks, r->checks_max);
	err = judge_node(x, x->s->self, e);
	while (!err && (n = wm_map_next(x->s->nodes, &pos)))
		err = judge_node(x, n, e);
	return err;
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
		return wm_err_set(e, WM_E_CAPACITY,
				  "Not restored: the snapshot has %zu services, at most %u are "
				  "allowed (services_max)",
				  n, x->r->services_max);
	while (!err && (l = wm_map_next(x->s->leases, &pos)))
		err = restore_lease(x, &l->s, e);
	return err;
}

static int stage(struct restore *x, struct wm_err *e)
{
	int err = wm_op_stage(x->r, x->group, e);

	if (!err && x->group->code)
		err = wm_err_set(e, x->group->code, "Not restored: %.300s; nothing was changed",
				 x->group->text ? x->group->text : wm_err_str(x->group->code));
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

static void undo(struct restore *x)
{
	if (x->group && x->group->applied)
		wm_op_undo(x->r, x->group);
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

	if (!x->group)
		return;
	wm_op_announce(x->r, x->group);
	TAILQ_FOREACH (op, &x->group->parts, entry)
		x->r->stats.writes += op->applied;
	wm_op_settle(x->r, x->group);
	wm_op_free(x->group);
}

int wm_registry_restore(struct wm_registry *r, struct wm_snapshot *s, struct wm_err *e)
{
	struct restore x = {.r = r, .s = s};
	uint64_t before;
	int err;

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
		err = stage(&x, e);
	if (!err)
		err = commit(&x, e);
	if (err) {
		undo(&x);
		r->index = before;
		if (err == WM_E_STORE || err == -ENOSPC)
			wm_registry_commit_failed(r, e);
	}
	settle(&x);
	free(x.leases);
	return err;
}
