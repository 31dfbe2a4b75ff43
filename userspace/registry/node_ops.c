/* SPDX-License-Identifier: Apache-2.0 */
/* node_ops.c - the writes on nodes of the catalog: one is founded or renewed, goes when it is
 * empty, or goes with everything that is on it. */
#include "internal.h"
#include "plan.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void must(int err)
{
	if (err)
		abort(); /* room was reserved: see edit.c */
}

/* --- edits ------------------------------------------------------------------------------------ */
static struct wm_edit *new_edit(struct wm_plan *p, struct wm_op *op, struct wm_node *home)
{
	struct wm_op *root = wm_op_root(op);
	struct wm_edit *e = calloc(1, sizeof(*e));

	(void)p;
	if (!e)
		return NULL;
	e->op = root;
	e->what = WM_EDIT_NODE;
	e->home = home;
	TAILQ_INSERT_TAIL(&root->edits, e, entry);
	return e;
}

/* The edit of a node by this write, if an earlier part made one. */
static struct wm_edit *edit_of(const struct wm_plan *p, struct wm_op *op, const struct wm_node *n)
{
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_NODE, n, "");

	return s && s->op == wm_op_root(op) ? s->edit : NULL;
}

/* Name the edit in the view, and whose the ids are. */
static void see(struct wm_plan *p, struct wm_op *op, struct wm_edit *e, const char *was_id,
		const char *id)
{
	struct wm_seen *s = wm_plan_see(p, op, WM_SEEN_NODE, e->home, "");
	bool ok = s != NULL;

	p->nodes_touched = true;
	if (s)
		s->edit = e;
	if (ok && *was_id && wm_view_node_id(p, was_id) == e->home) {
		s = wm_plan_see(p, op, WM_SEEN_NODE_ID, NULL, was_id);
		ok = s != NULL;
		if (s)
			s->edit = NULL;
	}
	if (ok && *id) {
		s = wm_plan_see(p, op, WM_SEEN_NODE_ID, NULL, id);
		ok = s != NULL;
		if (s)
			s->edit = e;
	}
	if (!ok)
		wm_op_no_memory(op);
}

static void put_row(struct wm_plan *p, struct wm_op *op, struct wm_edit *e)
{
	struct wm_instance *holder = wm_view_holder(p, op->home);
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_HOLDER, op->home, "");
	struct wm_version was = holder->version;
	int err = p->r->store ? wm_plan_put_row(p, holder, true) : 0;

	e->version = holder->version;
	if (!s || s->op != wm_op_root(op)) /* not of this write */
		holder->version = was;
	if (err == -ENOMEM)
		wm_op_no_memory(op);
	else if (err)
		wm_op_refuse(op, err, "The node is too large to be stored: at most %u octets",
			     WM_RECORD_MAX);
}

static void found(struct wm_plan *p, struct wm_op *op, struct wm_node *facts)
{
	const struct wm_seen *before = wm_plan_seen(p, WM_SEEN_NODE, facts, "");
	struct wm_registry *r = p->r;
	struct wm_edit *e;

	if (!wm_plan_outranks(p, op, facts->folded, "", wm_plan_removed(p, facts->folded, ""))) {
		wm_node_free(facts);
		return;
	}
	if ((int64_t)wm_map_len(r->nodes) + p->nodes > (int64_t)r->nodes_max) {
		wm_op_refuse(op, WM_E_CAPACITY, "Nodes: at most %u are allowed (nodes_max)",
			     r->nodes_max);
		wm_node_free(facts);
		return;
	}
	e = new_edit(p, op, facts);
	if (!e) {
		wm_node_free(facts);
		wm_op_no_memory(op);
		return;
	}
	e->founded = true;
	op->home = facts;
	facts->row = ++r->instance_row;
	facts->holder->version.origin = p->as ? p->as->origin : WM_ORIGIN_SHARED;
	facts->create_index = facts->modify_index = wm_plan_index(p, op);
	p->nodes++;
	if (wm_plan_reserve(p, r->nodes, 1) || wm_plan_reserve(p, r->node_ids, 1)) {
		wm_op_no_memory(op);
		return;
	}
	if (wm_plan_del_tombstone(p, facts->holder->version.origin, facts, "", before))
		wm_op_no_memory(op);
	see(p, op, e, "", facts->id);
	if (!op->code)
		put_row(p, op, e);
}

/* The node went in an earlier part and is there again: what was on it stays gone. */
static void begin_anew(struct wm_plan *p, struct wm_op *op, struct wm_edit *e)
{
	static const struct wm_instance_draft nobody = {.id = "", .name = ""};
	static const struct wm_edit_how how = {.anew = true};
	struct wm_instance *in;

	if (wm_plan_del_tombstone(p, WM_ORIGIN_SHARED, e->home, "",
				  wm_plan_seen(p, WM_SEEN_NODE, e->home, "")))
		wm_op_no_memory(op);
	free(e->tomb);
	e->tomb = NULL;
	e->dropped = false;
	op->home = e->home;
	p->nodes++;
	p->checks += (int)wm_view_holder(p, e->home)->checks_count;
	if (!wm_view_holder(p, e->home)->checks_count)
		return;
	in = wm_instance_build(&nobody);
	if (in)
		wm_edit_put(p, op, in, true, &how);
	else
		wm_op_no_memory(op);
}

static void renew(struct wm_plan *p, struct wm_op *op, struct wm_node *facts, bool anew)
{
	struct wm_edit *e = edit_of(p, op, op->home);
	const struct wm_node *was = wm_view_facts(p, op->home);

	if (!wm_plan_outranks(p, op, op->home->folded, "", &wm_view_holder(p, op->home)->version)) {
		wm_node_free(facts);
		return;
	}
	e = e ? e : new_edit(p, op, op->home);
	if (!e || wm_plan_reserve(p, p->r->node_ids, 1)) {
		wm_node_free(facts);
		wm_op_no_memory(op);
		return;
	}
	facts->modify_index = wm_plan_index(p, op);
	facts->create_index = anew ? facts->modify_index : was->create_index;
	see(p, op, e, was->id, facts->id);
	if (e->founded) {
		wm_plan_swap_facts(e->home, facts);
		wm_node_free(facts);
	} else {
		wm_node_free(e->facts);
		e->facts = facts;
	}
	if (!op->code)
		put_row(p, op, e);
}

void wm_edit_node(struct wm_plan *p, struct wm_op *op, struct wm_node *facts)
{
	struct wm_edit *e;

	if (op->home) {
		renew(p, op, facts, false);
		return;
	}
	e = edit_of(p, op, facts);
	if (!e) {
		found(p, op, facts);
		return;
	}
	begin_anew(p, op, e);
	if (op->code)
		wm_node_free(facts);
	else
		renew(p, op, facts, true);
}

void wm_edit_node_drop(struct wm_plan *p, struct wm_op *op, struct wm_node *home)
{
	const char *id = wm_view_facts(p, home)->id;
	struct wm_edit *e = edit_of(p, op, home);
	const struct wm_instance *holder = wm_view_holder(p, home);

	if (!p->no_tombstones && !wm_plan_outranks(p, op, home->folded, "", &holder->version))
		return;
	(void)wm_plan_index(p, op);
	e = e ? e : new_edit(p, op, home);
	if (!e) {
		wm_op_no_memory(op);
		return;
	}
	p->nodes--;
	p->checks -= (int)holder->checks_count;
	see(p, op, e, id, "");
	e->dropped = true;
	if (p->r->store && wm_batch_del(p->rows, WM_STORE_INSTANCES, home->row))
		wm_op_no_memory(op);
	if (wm_plan_put_tombstone(p, e, home->holder, home->row))
		wm_op_no_memory(op);
}

void wm_node_apply(struct wm_registry *r, struct wm_op *op, struct wm_edit *e)
{
	struct wm_history *h = &r->history;
	struct wm_node *n = e->home;
	struct wm_tombstone *t;

	if (e->dropped && e->founded)
		return;
	if (e->dropped) {
		wm_node_leave(r, n);
		r->checks_count -= (unsigned)wm_map_len(n->checks);
		wm_instance_retire(r, n->holder);
		wm_history_leave(h, n->holder);
		if (e->tomb)
			wm_history_bury(h, e->tomb, op->seen);
		e->tomb = NULL;
		return;
	}
	if (e->founded) {
		must(wm_node_enter(r, n));
		t = wm_history_tomb(
			h, wm_instance_foreign(n->holder) ? WM_ORIGIN_FOREIGN : WM_ORIGIN_SHARED,
			n->folded, "");
		if (t)
			wm_history_unbury(h, t);
	} else {
		uint64_t created = e->facts->create_index, modified = e->facts->modify_index;

		must(wm_node_renew(r, n, e->facts));
		n->create_index = created;
		n->modify_index = modified;
	}
	wm_history_touch(h, n->holder, op->seen);
	if (r->store) {
		n->holder->version = e->version;
		wm_history_log(h, n->holder);
	}
}

/* --- everything on a node --------------------------------------------------------------------- */
struct clear {
	struct wm_plan *p;
	struct wm_op *op;
	struct wm_node *node;
	char **ids;
	unsigned count, cap, max;
};

/* Ids first: the view changes as they go. */
static bool collect(void *arg, struct wm_instance *i)
{
	struct clear *c = arg;
	char **next;

	if (c->count == c->max)
		return false;
	if (c->count == c->cap) {
		c->cap = c->cap ? c->cap * 2 : 64;
		next = realloc(c->ids, c->cap * sizeof(char *));
		if (!next) {
			wm_op_no_memory(c->op);
			return false;
		}
		c->ids = next;
	}
	c->ids[c->count++] = i->id; /* lives at least as long as the plan */
	return true;
}

/* May what is on a node leave bit by bit? If a clear is all that its group is for, or a node that
 * takes another one's id comes first in it: then nothing was done yet. */
static bool may_take_turns(const struct wm_op *op)
{
	const struct wm_group *g = (struct wm_group *)op->group;

	return g && TAILQ_FIRST(&g->parts) == op &&
	       (op->kind == &wm_op_node_put || !TAILQ_NEXT(op, entry));
}

/* The node @p n goes, with all that is on it; a large one bit by bit: each bit is a write of its
 * own, and the last takes the node along. @return false: refused, or more is to go first. */
static bool end_node(struct wm_plan *p, struct wm_op *op, struct wm_node *n)
{
	struct wm_group *g = (struct wm_group *)op->group;
	bool turns = may_take_turns(op), bound = g && !turns && !op->restore;
	struct clear c = {p, op, n, .max = UINT32_MAX};

	if (turns)
		c.max = WM_REGISTRY_CLEAR_STEP;
	else if (bound)
		c.max = WM_REGISTRY_CLEAR_MAX + 1 - g->cleared;
	wm_view_each(p, n, collect, &c);
	if (bound && c.count == c.max)
		wm_op_refuse(op, WM_E_LIMIT,
			     "Node \"%s\": at most %u services may go with their nodes among "
			     "other operations: remove it by itself",
			     n->name, WM_REGISTRY_CLEAR_MAX);
	for (unsigned i = 0; i < c.count && !op->code; i++)
		wm_edit_drop(p, op, n, c.ids[i]);
	free(c.ids);
	if (op->code)
		return false;
	if (g)
		g->cleared += c.count;
	if (turns && c.count == c.max) {
		g->op.again = true;
		return false;
	}
	wm_edit_node_drop(p, op, n);
	return !op->code;
}

/* --- node put --------------------------------------------------------------------------------- */
/* Said by whoever watches over it: a node that is gone may be another by now. */
static bool is_dead(const struct wm_plan *p, const struct wm_node *n)
{
	const struct wm_check *c = wm_view_check(p, n, "serfHealth", NULL);

	return c && c->status == WM_CRITICAL;
}

/* Of another agent? */
static bool is_agents(const struct wm_plan *p, const struct wm_node *n)
{
	return wm_instance_foreign(wm_view_holder(p, n));
}

/* An id is one node's, as in Consul: who comes with one under another name is renamed, unless that
 * name is somebody else's. @p ret_other: who has it and goes. @return false: refused. */
static bool judge_id(struct wm_plan *p, struct wm_op *op, const struct wm_node *facts,
		     struct wm_node **ret_other)
{
	const struct wm_node *home = op->home, *known;
	struct wm_node *holder;

	*ret_other = NULL;
	if (!*facts->id || op->restore)
		return true;
	holder = wm_view_node_id(p, facts->id);
	if (holder && holder == home)
		return true;
	if (holder && (holder->self || is_agents(p, holder))) {
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Error while renaming Node ID: \"%s\": it is that of %s node %s",
			     facts->id, holder->self ? "this agent's" : "another agent's",
			     holder->name);
		return false;
	}
	known = home ? wm_view_facts(p, home) : NULL;
	if (home &&
	    (home->self || is_agents(p, home) || ((holder || *known->id) && !is_dead(p, home)))) {
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Error while renaming Node ID: \"%s\": Node name %s is reserved by "
			     "node %s with name %s (%s)",
			     facts->id, facts->name, known->id, home->name, known->address);
		return false;
	}
	*ret_other = holder;
	return true;
}

static bool judge_node_put(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_node *facts = ((struct wm_node_put *)op)->facts, *home = op->home;
	struct wm_node *other;

	if (!wm_op_judge_when(op, home ? wm_view_facts(p, home)->modify_index : 0) ||
	    !judge_id(p, op, facts, &other))
		return false;
	if (home && (home->self || is_agents(p, home))) {
		/* to name the node is fine, to change it is not */
		if (!op->restore &&
		    ((*facts->address && strcmp(facts->address, home->address) != 0) ||
		     facts->meta_count))
			wm_op_refuse(op, WM_E_CONFLICT,
				     "Node \"%s\" is %s agent: its address and metadata are set "
				     "in its settings",
				     home->name, home->self ? "this" : "another");
		op->unchanged = true;
	} else if (home && wm_node_same(wm_view_facts(p, home), facts)) {
		op->unchanged = true;
	}
	return !op->unchanged;
}

static void prepare_node_put(struct wm_plan *p, struct wm_op *op)
{
	struct wm_node_put *put = (struct wm_node_put *)op;
	struct wm_node *facts = put->facts, *other = NULL;

	(void)judge_id(p, op, facts, &other);
	if (other && !end_node(p, op, other))
		return;
	put->facts = NULL;
	wm_edit_node(p, op, facts);
}

static void discard_node_put(struct wm_op *op)
{
	wm_node_free(((struct wm_node_put *)op)->facts);
}

const struct wm_op_kind wm_op_node_put = {.judge = judge_node_put,
					  .prepare = prepare_node_put,
					  .apply = wm_edits_apply,
					  .discard = discard_node_put};

/* --- node drop, node clear -------------------------------------------------------------------- */
static bool judge_node_end(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_node *home = op->home;

	if (!wm_op_judge_when(op, home ? wm_view_facts(p, home)->modify_index : 0))
		return false;
	if (home && op->restore && is_agents(p, home)) {
		op->unchanged = true;
		return false;
	}
	if (home && (home->self || is_agents(p, home)))
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Node \"%s\" is %s agent: it cannot be deregistered%s", home->name,
			     home->self ? "this" : "another",
			     home->self ? "" : "; once it has failed, force-leave removes it");
	op->unchanged = !home;
	return home && !op->code;
}

static void prepare_node_drop(struct wm_plan *p, struct wm_op *op)
{
	wm_edit_node_drop(p, op, op->home);
}

const struct wm_op_kind wm_op_node_drop = {.judge = judge_node_end,
					   .prepare = prepare_node_drop,
					   .apply = wm_edits_apply,
					   .removes = true};

static void prepare_node_clear(struct wm_plan *p, struct wm_op *op)
{
	(void)end_node(p, op, op->home);
}

const struct wm_op_kind wm_op_node_clear = {.judge = judge_node_end,
					    .prepare = prepare_node_clear,
					    .apply = wm_edits_apply,
					    .removes = true};
