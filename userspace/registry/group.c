/* SPDX-License-Identifier: Apache-2.0 */
/* group.c - batches of the catalog: writes that are applied together or not at all, and the writes
 * on nodes, which are only made in them. A group is one write of the queue with parts. All parts
 * are staged in memory first, each seeing what those before it did, and only then written into the
 * transaction: what a refused group did can be taken back without a trace. A part may entail others
 * (a node that goes takes its instances along), which are put in behind it. */
#include "internal.h"
#include "userspace/base/err.h"
#include "userspace/base/map.h"
#include "validate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- staging ---------------------------------------------------------------------------------- */
void wm_group_undo(struct wm_registry *r, struct wm_op *group)
{
	struct wm_op *part;

	TAILQ_FOREACH_REVERSE (part, &group->parts, wm_ops, entry) {
		if (part->applied)
			wm_op_undo(r, part);
	}
	group->applied = false;
	group->index = 0;
}

/* The reason of a part is the group's. */
static void fail(struct wm_op *group, struct wm_op *part)
{
	group->code = part->code;
	free(group->text);
	group->text = part->text;
	part->text = NULL;
	group->number = part->number;
	group->part_failed = true;
}

int wm_group_stage(struct wm_registry *r, struct wm_op *group, struct wm_err *e)
{
	struct wm_op *part;
	int err = 0;

	TAILQ_FOREACH (part, &group->parts, entry) {
		err = wm_op_stage(r, part, e);
		group->applied |= part->applied;
		if (!err && part->code)
			fail(group, part);
		if (err || group->code)
			return err;
		if (group->part && !part->made && !group->again)
			group->part(group->arg, part->number, 0, NULL);
	}
	TAILQ_FOREACH (part, &group->parts, entry) {
		if (part->applied && part->in)
			wm_box(part->in)->staged = false;
		if (!err)
			err = wm_op_store(r, part, e);
	}
	return err;
}

/* --- nodes ------------------------------------------------------------------------------------ */
/* Put a part in behind @p after that is entailed by @p maker. @return NULL without memory, refused.
 */
static struct wm_op *entail_on(struct wm_op *maker, struct wm_op *after, enum wm_op_kind kind,
			       const char *id, const char *node)
{
	struct wm_op *op = wm_op_new(kind, id, NULL, NULL);

	if (op && node)
		op->node_name = strdup(node);
	if (!op || (node && !op->node_name)) {
		wm_op_discard(op);
		wm_op_refuse(maker, -ENOMEM, "Out of memory; nothing was changed");
		return NULL;
	}
	op->object = WM_OBJECT_SERVICE;
	op->catalog = true;
	op->made = true;
	op->number = maker->number;
	op->group = maker->group;
	TAILQ_INSERT_AFTER(&maker->group->parts, after, op, entry);
	return op;
}

static struct wm_op *entail(struct wm_op *maker, struct wm_op *after, enum wm_op_kind kind,
			    const char *id)
{
	return entail_on(maker, after, kind, id, maker->node_name);
}

/* The node @p n goes, with all that is on it; a large one bit by bit, if that is all that its group
 * is for: each bit is a write of its own, and the last takes the node along. */
static void entail_end(struct wm_op *op, const struct wm_node *n)
{
	bool alone = op->kind == WM_OP_NODE_CLEAR && TAILQ_FIRST(&op->group->parts) == op &&
		     !TAILQ_NEXT(op, entry);
	struct wm_op *last = op;
	struct wm_instance *i;
	unsigned count = 0;
	size_t pos = 0;

	while (last && (i = wm_map_next(n->instances, &pos))) {
		if (alone && count++ == WM_REGISTRY_CLEAR_STEP) {
			op->group->again = true;
			return;
		}
		last = entail_on(op, last, WM_OP_INSTANCE, i->id, n->name);
	}
	if (last)
		entail_on(op, last, WM_OP_NODE_DROP, "", n->name);
}

/* Said by whoever watches over it: a node that is gone may be another by now. */
static bool is_dead(const struct wm_node *n)
{
	const struct wm_check *c = wm_node_check(n, "serfHealth");

	return c && c->status == WM_CRITICAL;
}

/* An id is one node's, as in Consul: who comes with one under another name is renamed, unless that
 * name is somebody else's. @return false: refused. */
static bool judge_id(struct wm_registry *r, struct wm_op *op)
{
	const struct wm_node *home = op->home, *holder;
	const char *id = op->facts->id;

	if (!*id || op->restore)
		return true;
	holder = wm_find_node_id(r, id);
	if (holder == home && holder)
		return true;
	if (holder && holder->self) {
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Error while renaming Node ID: \"%s\": it is that of this agent's "
			     "node %s",
			     id, holder->name);
		return false;
	}
	if (home && (home->self || ((holder || *home->id) && !is_dead(home)))) {
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Error while renaming Node ID: \"%s\": Node name %s is reserved by "
			     "node %s with name %s (%s)",
			     id, op->facts->name, home->id, home->name, home->address);
		return false;
	}
	if (holder)
		entail_end(op, holder);
	return !op->code;
}

static void found(struct wm_registry *r, struct wm_op *op)
{
	if (wm_map_len(r->nodes) > r->nodes_max) {
		wm_op_refuse(op, WM_E_CAPACITY, "Nodes: at most %u are allowed (nodes_max)",
			     r->nodes_max);
		return;
	}
	if (wm_node_enter(r, op->facts)) {
		wm_op_refuse(op, -ENOMEM, "Out of memory; nothing was changed");
		return;
	}
	op->home = op->facts;
	op->facts = NULL;
	op->founded = true;
	op->applied = true;
	op->index = wm_op_index(r, op);
	op->home->create_index = op->home->modify_index = op->index;
	op->home->row = ++r->instance_row;
}

/* Its instances without an address of their own follow it. */
static void renew(struct wm_registry *r, struct wm_op *op)
{
	struct wm_node *n = op->home, *was = op->facts;
	struct wm_instance *i;
	size_t pos = 0;

	if (wm_node_renew(r, n, was)) {
		wm_op_refuse(op, -ENOMEM, "Out of memory; nothing was changed");
		return;
	}
	op->index = wm_op_index(r, op);
	was->modify_index = n->modify_index;
	n->modify_index = op->index;
	op->applied = true;
	if (memcmp(&n->addr4, &was->addr4, sizeof(n->addr4)) == 0 &&
	    memcmp(&n->addr6, &was->addr6, sizeof(n->addr6)) == 0)
		return;
	while (!op->code && (i = wm_map_next(n->instances, &pos))) {
		if (!*i->address)
			entail(op, op, WM_OP_REBIND, i->id);
	}
}

static void put_node(struct wm_registry *r, struct wm_op *op)
{
	if (!judge_id(r, op))
		return;
	if (!op->home) {
		found(r, op);
		return;
	}
	if (op->home->self) {
		/* to name the node is fine, to change it is not */
		if ((*op->facts->address && strcmp(op->facts->address, op->home->address) != 0) ||
		    op->facts->meta_count)
			wm_op_refuse(op, WM_E_CONFLICT,
				     "Node \"%s\" is this agent: its address and metadata are set "
				     "in its settings",
				     op->home->name);
		op->unchanged = true;
		return;
	}
	if (wm_node_same(op->home, op->facts))
		op->unchanged = true;
	else
		renew(r, op);
}

static void drop_node(struct wm_registry *r, struct wm_op *op)
{
	op->index = wm_op_index(r, op);
	op->applied = true;
	wm_node_leave(r, op->home);
	r->checks_count -= (unsigned)wm_map_len(op->home->checks);
	wm_instance_retire(r, op, op->home->holder);
}

static void clear_node(struct wm_op *op)
{
	if (!op->home) {
		op->unchanged = true;
		return;
	}
	if (op->home->self) {
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Node \"%s\" is this agent: it cannot be deregistered",
			     op->home->name);
		return;
	}
	entail_end(op, op->home);
}

struct wm_op *wm_group_rest(const struct wm_op *group)
{
	const struct wm_op *was = TAILQ_FIRST(&group->parts);
	struct wm_op *rest = wm_op_new(WM_OP_GROUP, "", group->done, group->arg);
	struct wm_op *part = rest ? wm_op_new(WM_OP_NODE_CLEAR, "", NULL, NULL) : NULL;

	if (part)
		part->node_name = strdup(was->node_name);
	if (!part || !part->node_name) {
		wm_op_discard(part);
		wm_op_discard(rest);
		return NULL;
	}
	part->object = was->object;
	part->catalog = was->catalog;
	part->lenient = true; /* that it was there was judged when it began */
	part->number = was->number;
	part->group = rest;
	rest->part = group->part;
	TAILQ_INSERT_TAIL(&rest->parts, part, entry);
	return rest;
}

void wm_node_stage(struct wm_registry *r, struct wm_op *op)
{
	if (!wm_op_judge_when(op, op->home ? op->home->modify_index : 0))
		return;
	if (op->kind == WM_OP_NODE_PUT)
		put_node(r, op);
	else if (op->kind == WM_OP_NODE_CLEAR)
		clear_node(op);
	else
		drop_node(r, op);
}

void wm_node_undo(struct wm_registry *r, struct wm_op *op)
{
	if (!op->applied)
		return;
	op->applied = false;
	if (op->kind == WM_OP_NODE_DROP) {
		if (wm_node_enter(r, op->home)) /* its place was just left */
			abort();
		r->checks_count += (unsigned)wm_map_len(op->home->checks);
		wm_instance_revive(r, op, op->home->holder);
	} else if (op->founded) {
		wm_node_leave(r, op->home);
		op->facts = op->home;
		op->home = NULL;
		op->founded = false;
	} else {
		wm_node_renew_undo(r, op->home, op->facts);
		op->home->modify_index = op->facts->modify_index;
	}
}

/* --- submitting ------------------------------------------------------------------------------- */
static int no_memory(struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
}

static int bare(enum wm_op_kind kind, const char *id, struct wm_op **ret)
{
	*ret = wm_op_new(kind, id, NULL, NULL);
	return *ret ? 0 : -ENOMEM;
}

static int judge_names(const struct wm_catalog_op *c, struct wm_err *e)
{
	int err = wm_node_name_validate(c->node, e);

	if (!err && c->id && strnlen(c->id, WM_CHECK_ID_MAX + 1) > WM_CHECK_ID_MAX)
		err = wm_err_set(e, WM_E_LIMIT, "ID is too long (limit: %d characters)",
				 WM_CHECK_ID_MAX);
	return err;
}

static int node_part(const struct wm_catalog_op *c, struct wm_op **ret, struct wm_err *e)
{
	int err = wm_node_draft_validate(c->facts, e);

	if (err)
		return err;
	*ret = wm_op_new(WM_OP_NODE_PUT, "", NULL, NULL);
	if (*ret)
		(*ret)->facts = wm_node_new(c->node, c->facts);
	return *ret && (*ret)->facts ? 0 : -ENOMEM;
}

static int check_part(const struct wm_catalog_op *c, struct wm_op **ret, struct wm_err *e)
{
	const struct wm_check_draft *d = c->check;
	const char *id = d->id && *d->id ? d->id : d->name;
	int err = wm_check_draft_validate(d, e);

	if (!err && c->check_service &&
	    strnlen(c->check_service, WM_INSTANCE_ID_MAX + 1) > WM_INSTANCE_ID_MAX)
		err = wm_err_set(e, WM_E_LIMIT, "ServiceID is too long (limit: %d characters)",
				 WM_INSTANCE_ID_MAX);
	if (err)
		return err;
	*ret = wm_op_new(WM_OP_CHECK_PUT, c->check_service ? c->check_service : "", NULL, NULL);
	if (*ret)
		(*ret)->check = wm_check_build(d, id, d->name && *d->name ? d->name : id);
	if (!*ret || !(*ret)->check)
		return -ENOMEM;
	(*ret)->bytes += wm_cbox((*ret)->check)->bytes;
	return 0;
}

static int part_of(struct wm_registry *r, const struct wm_catalog_op *c, struct wm_op **ret,
		   struct wm_err *e)
{
	bool deletes = c->verb == WM_VERB_DELETE || c->verb == WM_VERB_DELETE_CAS;
	const char *id = c->id ? c->id : "";

	if (c->verb == WM_VERB_GET)
		return bare(WM_OP_READ, id, ret);
	switch (c->object) {
	case WM_OBJECT_NODE:
		return deletes ? bare(WM_OP_NODE_CLEAR, "", ret) : node_part(c, ret, e);
	case WM_OBJECT_SERVICE:
		if (deletes)
			return bare(WM_OP_INSTANCE, id, ret);
		return wm_op_register(r, c->service, ret, e);
	case WM_OBJECT_CHECK:
		break;
	}
	return deletes ? bare(WM_OP_CHECK_DROP, id, ret) : check_part(c, ret, e);
}

static int add_part(struct wm_registry *r, struct wm_op *group, const struct wm_catalog_op *c,
		    struct wm_err *e)
{
	struct wm_op *op = NULL;
	int err = judge_names(c, e);

	if (!err)
		err = part_of(r, c, &op, e);
	if (!err) {
		op->node_name = strdup(c->node);
		err = op->node_name ? 0 : -ENOMEM;
	}
	if (err) {
		wm_op_discard(op);
		return err == -ENOMEM ? no_memory(e) : err;
	}
	if (op->in)
		op->in->catalog = true;
	op->object = c->object;
	op->catalog = true;
	op->lenient = c->verb == WM_VERB_DELETE;
	op->number = c->number;
	op->group = group;
	op->group_founds = !TAILQ_EMPTY(&group->parts);
	if (c->verb == WM_VERB_GET) {
		op->when = WM_WHEN_EXISTS;
	} else if (c->verb == WM_VERB_CAS || c->verb == WM_VERB_DELETE_CAS) {
		op->when = WM_WHEN_INDEX;
		op->when_index = c->index;
	}
	group->bytes += op->bytes;
	TAILQ_INSERT_TAIL(&group->parts, op, entry);
	return 0;
}

int wm_registry_catalog(struct wm_registry *r, const struct wm_catalog_batch *b,
			unsigned *ret_failed, struct wm_err *e)
{
	struct wm_op *group = wm_op_new(WM_OP_GROUP, "", b->done, b->arg);
	int err = 0;

	if (!group)
		return no_memory(e);
	group->part = b->part;
	for (unsigned n = 0; n < b->count && !err; n++) {
		*ret_failed = b->ops[n].number;
		err = add_part(r, group, &b->ops[n], e);
	}
	if (err) {
		wm_op_discard(group);
		return err;
	}
	return wm_op_submit(r, group, e);
}
