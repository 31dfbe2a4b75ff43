/* SPDX-License-Identifier: Apache-2.0 */
/* foreign_ops.c - the writes of foreign.c: one object as another agent says that it is, with the
 * version that it gave it; and an agent that is forgotten. An agent's word on its own node stands
 * above a shared one, so that all nodes come to the same whatever the order in which they hear. An
 * object whose node was not heard of yet founds it: with a version of number 0, which nobody is
 * told of and which any other is newer than. */
#include "foreign_internal.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define TOMBS_STEP 4096 /* tombstones of a forgotten agent that go with one write */

static bool is_foreign(const struct wm_foreign_op *f)
{
	return f->version.origin == WM_ORIGIN_FOREIGN;
}

static bool holds(const struct wm_plan *p, const struct wm_node *n, enum wm_version_origin o)
{
	return n && !n->self && wm_view_holder(p, n)->version.origin == o;
}

/* The version of a node: that of its row, which its facts and its checks share. */
static struct wm_version node_version(const struct wm_plan *p, const struct wm_node *n)
{
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_NODE, n, "");
	const struct wm_version *v = &wm_view_holder(p, n)->version;
	const struct wm_edit *e = s && s->edit && s->edit->home == n ? s->edit : NULL;

	return e && (!e->version.seq || wm_version_newer(&e->version, v)) ? e->version : *v;
}

static struct wm_version object_version(const struct wm_plan *p, const struct wm_instance *i)
{
	return *i->name ? i->version : node_version(p, i->node);
}

/* An agent's node in the view. */
static struct wm_node *node_of(const struct wm_plan *p, const char *id)
{
	struct wm_node *n = wm_view_node_id(p, id);

	return holds(p, n, WM_ORIGIN_FOREIGN) ? n : NULL;
}

static bool is_alive(const struct wm_plan *p, const struct wm_node *n)
{
	const struct wm_check *c = wm_view_check(p, n, WM_SERF_ID, NULL);

	return !c || c->status != WM_CRITICAL;
}

/* --- judging ---------------------------------------------------------------------------------- */
/* The name that tombstones have: of an agent whose node is not known its id. */
static const char *tomb_node(const struct wm_foreign_op *f, char folded[WM_NODE_NAME_MAX + 1])
{
	if (f->op.home)
		return f->op.home->folded;
	if (is_foreign(f))
		return f->origin;
	wm_node_fold(folded, f->op.node_name); /* it was judged */
	return folded;
}

static struct wm_tombstone *find_tomb(const struct wm_registry *r, const struct wm_foreign_op *f)
{
	char folded[WM_NODE_NAME_MAX + 1];
	struct wm_tombstone *t;

	t = wm_history_tomb(&r->history, f->version.origin, tomb_node(f, folded), f->op.id);
	if (!t && is_foreign(f))
		t = wm_history_tomb(&r->history, WM_ORIGIN_FOREIGN, f->origin, f->op.id);
	return t;
}

static struct wm_instance *object_of(const struct wm_plan *p, const struct wm_op *op)
{
	if (!op->home)
		return NULL;
	return *op->id ? wm_view_instance(p, op->home, op->id) : wm_view_holder(p, op->home);
}

/* What else is there under the name: may it be replaced? */
static bool judge_other(struct wm_plan *p, struct wm_foreign_op *f, const struct wm_instance *i)
{
	bool own = f->op.home->self && (!*f->op.id || i->version.origin == WM_ORIGIN_OWN);

	if (!own && i->version.origin != WM_ORIGIN_FOREIGN)
		return true; /* shared: an agent's own word stands above it */
	(void)p;
	wm_op_refuse(&f->op, WM_E_CONFLICT, "%s \"%.64s\" on node \"%.64s\" is %s: it stays",
		     *f->op.id ? "Service ID" : "the node", *f->op.id ? f->op.id : "",
		     f->op.home->name, own ? "this agent's own" : "its agent's own");
	return false;
}

/* May the agent have a node of this name? Sets op->home to who has it, if anybody does. */
static bool judge_claim(struct wm_plan *p, struct wm_foreign_op *f)
{
	struct wm_node *at = wm_view_node(p, f->op.node_name), *own = node_of(p, f->origin);
	struct wm_node *id = wm_view_node_id(p, f->origin);
	struct wm_version v;

	f->op.home = at;
	if (at && at->self) {
		wm_op_refuse(
			&f->op, WM_E_CONFLICT,
			"Node name \"%.64s\" is this agent's, and the agent %s claims it: give "
			"one of them another node.name",
			at->name, f->origin);
	} else if (at && at != own && holds(p, at, WM_ORIGIN_FOREIGN)) {
		if (f->source || wm_instance_of_source(wm_view_holder(p, at)))
			wm_op_refuse(&f->op, WM_E_CONFLICT,
				     "Node name \"%.64s\" is claimed by a source of this agent, "
				     "and by an agent: give one of them another",
				     at->name);
		else if (is_alive(p, at))
			wm_op_refuse(
				&f->op, WM_E_CONFLICT,
				"Node name \"%.64s\" is claimed by two agents, %s and %s: give "
				"one of them another node.name",
				at->name, wm_view_facts(p, at)->id, f->origin);
		f->clears = true;
	} else if (id && id != own && id != at) {
		wm_op_refuse(&f->op, WM_E_CONFLICT,
			     "Node ID %s of an agent is that of the catalog's node \"%.64s\" as "
			     "well: deregister that",
			     f->origin, id->name);
	}
	if (own && own != at) {
		v = node_version(p, own);
		f->stale = !wm_version_newer(&f->version, &v);
		f->leaves = own;
	}
	return !f->op.code && !f->stale;
}

static bool same_checks(const struct wm_instance *a, const struct wm_instance *b)
{
	unsigned count = 0;

	for (unsigned n = 0; n < b->checks_count; n++)
		count += !wm_cbox(b->checks[n])->local;
	if (a->checks_count != count)
		return false;
	for (unsigned n = 0; n < a->checks_count; n++) {
		const struct wm_check *c = a->checks[n];
		bool found = false;

		for (unsigned k = 0; k < b->checks_count && !found; k++)
			found = wm_check_same(c, b->checks[k]) && !wm_cbox(b->checks[k])->local;
		if (!found)
			return false;
	}
	return true;
}

/* Nothing but the version, and statuses? */
static bool is_quiet(const struct wm_plan *p, const struct wm_foreign_op *f)
{
	if (!f->old || f->gone || f->clears || f->leaves || !same_checks(f->in, f->old))
		return false;
	return *f->op.id ? wm_instance_same(f->in, f->old)
			 : wm_node_same(wm_view_facts(p, f->op.home), f->facts);
}

/* What cannot be on the node beside what is there: an id of a check is one object's. What the
 * agent of a node says goes first, and whether that is alive nobody but us says. */
static void filter_checks(struct wm_plan *p, struct wm_foreign_op *f)
{
	struct wm_instance *in = f->in;
	unsigned kept = 0;

	for (unsigned n = 0; n < in->checks_count; n++) {
		struct wm_check *c = in->checks[n];
		const struct wm_instance *owner = NULL;
		bool drop = is_foreign(f) && !f->source && strcmp(c->id, WM_SERF_ID) == 0;

		if (f->op.home && wm_view_check(p, f->op.home, c->id, &owner) && owner != f->old)
			drop |= !is_foreign(f) && owner->version.origin != WM_ORIGIN_SHARED;
		if (drop)
			wm_check_free(c);
		else
			in->checks[kept++] = c;
	}
	in->checks_count = kept;
}

/* A log that began anew lacks it: it goes under the version that it has here. */
static bool is_swept(const struct wm_foreign_op *f, const struct wm_version *v)
{
	return f->gone && f->version.epoch == v->epoch && f->version.seq == v->seq;
}

/* Is what is here as new? Where another rule than the clock decides who tells of shared objects has
 * judged, in this order: then only the very same is nothing new. */
static bool as_new(const struct wm_plan *p, const struct wm_foreign_op *f,
		   const struct wm_version *here)
{
	if (is_foreign(f) || !p->r->ask_stands)
		return !wm_version_newer(&f->version, here);
	return f->version.seq == here->seq && wm_peer_id_same(&f->version.writer, &here->writer);
}

/* It is written anew under a lower version: what stands was drawn while the clock was ahead, and
 * nobody wrote it since. */
static bool is_mended(const struct wm_foreign_op *f, const struct wm_version *here)
{
	return f->mended && here->seq > f->version.seq &&
	       (wm_peer_id_none(&here->writer) ||
		wm_peer_id_same(&here->writer, &f->version.writer));
}

static bool judge_foreign(struct wm_plan *p, struct wm_op *op)
{
	struct wm_foreign_op *f = (struct wm_foreign_op *)op;
	const struct wm_tombstone *t;
	const struct wm_seen *seen;
	struct wm_version v = {0};
	struct wm_instance *i;

	if (is_foreign(f) && f->gone)
		op->home = node_of(p, f->origin);
	else if (is_foreign(f) && !judge_claim(p, f))
		return false;
	i = object_of(p, op);
	f->old = i && i->version.origin == f->version.origin && !f->clears &&
				 !(i == wm_view_holder(p, op->home) && op->home->self)
			 ? i
			 : NULL;
	if (f->forget) {
		f->stale = !f->old;
		return f->old;
	}
	if (i && !f->old && !f->gone && !is_foreign(f) && !judge_other(p, f, i))
		return false;
	t = find_tomb(p->r, f);
	if (f->old)
		v = object_version(p, f->old);
	seen = f->old ? wm_plan_seen(p, WM_SEEN_VERSION, op->home, op->id) : NULL;
	if (f->mended)
		f->stale = (seen && seen->version) ||
			   !(f->old ? is_mended(f, &v) : t && is_mended(f, &t->version));
	else
		f->stale = (seen && seen->version && as_new(p, f, seen->version)) ||
			   (f->old && as_new(p, f, &v) && !is_swept(f, &v)) ||
			   (t && as_new(p, f, &t->version));
	if (f->stale)
		return false;
	if (!f->gone) {
		filter_checks(p, f);
		f->quiet = is_quiet(p, f);
	}
	return true;
}

/* --- what leaves ------------------------------------------------------------------------------ */
struct leaving {
	struct wm_plan *p;
	struct wm_op *op;
	enum wm_version_origin of;
	const char *ids[WM_REGISTRY_CLEAR_STEP];
	unsigned count, others;
};

static bool collect(void *arg, struct wm_instance *i)
{
	struct leaving *l = arg;

	if (i->version.origin != l->of)
		l->others++;
	else if (l->count < WM_REGISTRY_CLEAR_STEP)
		l->ids[l->count++] = i->id; /* lives at least as long as the plan */
	return l->count < WM_REGISTRY_CLEAR_STEP;
}

/* The checks of a node, as the holder @p in has them (taken over). */
static void put_holder(struct wm_plan *p, struct wm_op *op, struct wm_instance *in)
{
	static const struct wm_edit_how how = {.given = true};

	if (in)
		wm_edit_put(p, op, in, true, &how);
	else
		wm_op_no_memory(op);
}

/* A holder without checks, of a node that nobody told of. */
static struct wm_instance *no_checks(enum wm_version_origin o)
{
	static const struct wm_instance_draft nobody = {.id = "", .name = ""};
	struct wm_instance *in = wm_instance_build(&nobody);

	if (in)
		in->version.origin = o;
	return in;
}

static void set_unheard(struct wm_plan *p, struct wm_version *v, enum wm_version_origin o,
			const struct wm_peer_id *writer)
{
	*v = (struct wm_version){.origin = o, .writer = *writer};
	p->as = v;
}

/* It was an agent's, or told of in the catalog, and is there for what is on it. */
static void keep_node(struct wm_plan *p, struct wm_op *op, struct wm_node *n)
{
	const struct wm_node_draft d = {.address = wm_view_facts(p, n)->address};
	const struct wm_version *as = p->as;
	struct wm_node *facts = wm_node_new(n->name, &d), *at = op->home;
	struct wm_peer_id self;
	struct wm_version v;
	uint32_t epoch;

	if (!facts) {
		wm_op_no_memory(op);
		return;
	}
	wm_registry_origin(p->r, &self, &epoch);
	set_unheard(p, &v, WM_ORIGIN_SHARED, &self);
	op->home = n;
	/* nothing local stays: nobody is there who could be alive */
	if (wm_view_holder(p, n)->checks_count) {
		static const struct wm_edit_how anew = {.anew = true};
		struct wm_instance *in = no_checks(WM_ORIGIN_SHARED);

		if (in)
			wm_edit_put(p, op, in, true, &anew);
		else
			wm_op_no_memory(op);
	}
	if (op->code)
		wm_node_free(facts);
	else
		wm_edit_node(p, op, facts);
	op->home = at;
	p->as = as;
}

/* Take what its agent said off a node, without a word of ours; a part of it if it is much.
 * @return false: refused, or there is more. */
static bool clear(struct wm_plan *p, struct wm_op *op, struct wm_node *n, bool whole)
{
	struct leaving l = {.p = p, .op = op, .of = WM_ORIGIN_FOREIGN};

	wm_view_each(p, n, collect, &l);
	p->no_tombstones = true;
	for (unsigned k = 0; k < l.count && !op->code; k++)
		wm_edit_drop(p, op, n, l.ids[k]);
	if (l.count == WM_REGISTRY_CLEAR_STEP)
		op->again = true;
	else if (whole && !op->code && !l.others)
		wm_edit_node_drop(p, op, n);
	p->no_tombstones = false;
	if (whole && !op->code && !op->again && l.others)
		keep_node(p, op, n);
	return !op->code && !op->again;
}

/* --- what comes ------------------------------------------------------------------------------- */
/* A foreign node has a check that says whether its agent is alive: the one it had, or a new one. */
static void add_serf(struct wm_plan *p, struct wm_foreign_op *f, struct wm_instance *in)
{
	struct wm_check *was = f->op.home ? wm_view_check(p, f->op.home, WM_SERF_ID, NULL) : NULL;
	struct wm_check **all;

	if (!is_foreign(f) || f->source || (was && wm_cbox(was)->local && !f->clears))
		return;
	all = realloc(in->checks, (in->checks_count + 1) * sizeof(struct wm_check *));
	if (!all) {
		wm_op_no_memory(&f->op);
		return;
	}
	in->checks = all;
	all[in->checks_count] = wm_serf_new(p->r, &f->version.writer);
	if (!all[in->checks_count]) {
		wm_op_no_memory(&f->op);
		return;
	}
	all[in->checks_count++]->instance = in;
}

/* The node of an object that came before it was heard of. */
static void found_node(struct wm_plan *p, struct wm_foreign_op *f)
{
	const struct wm_node_draft d = {.id = f->origin};
	struct wm_node *facts = wm_node_new(f->op.node_name, &d);
	struct wm_instance *in = no_checks(f->version.origin);
	const struct wm_version *as = p->as;
	struct wm_version v;

	if (!facts || !in) {
		wm_node_free(facts);
		wm_instance_free(in, true);
		wm_op_no_memory(&f->op);
		return;
	}
	set_unheard(p, &v, f->version.origin, &f->version.writer);
	v.epoch = f->version.epoch;
	add_serf(p, f, in);
	if (!f->op.home && !f->op.code) {
		wm_edit_node(p, &f->op, facts);
		facts = NULL;
	}
	if (!f->op.code && in->checks_count) {
		put_holder(p, &f->op, in);
		in = NULL;
	}
	if (facts && !f->op.code) { /* a node of the catalog becomes the agent's */
		wm_edit_node(p, &f->op, facts);
		facts = NULL;
	}
	wm_node_free(facts);
	wm_instance_free(in, true);
	p->as = as;
}

/* Ids of checks that other objects have leave these, whose newer words are on their way. */
static void take_checks(struct wm_plan *p, struct wm_op *op, const struct wm_instance *in)
{
	const struct wm_version *as = p->as;

	for (unsigned n = 0; n < in->checks_count && !op->code; n++) {
		const struct wm_instance *owner = NULL;
		struct wm_check *c = wm_view_check(p, op->home, in->checks[n]->id, &owner);
		const struct wm_edit_how how = {.dropped = c};
		struct wm_instance *whose;
		struct wm_version v;

		if (!c || wm_cbox(c)->local)
			continue;
		whose = *owner->name ? wm_view_instance(p, op->home, owner->id)
				     : wm_view_holder(p, op->home);
		if (strcmp(whose->id, in->id) == 0)
			continue;
		v = object_version(p, whose);
		p->as = &v;
		wm_edit_checks(p, op, whose, NULL, &how);
	}
	p->as = as;
}

static void put_instance(struct wm_plan *p, struct wm_foreign_op *f)
{
	static const struct wm_edit_how how = {.given = true, .registers = true};
	struct wm_instance *in = f->in;
	bool ours = f->op.home && holds(p, f->op.home, f->version.origin) && !f->clears;

	if (!f->op.home || (is_foreign(f) && !ours))
		found_node(p, f);
	if (!f->op.code)
		take_checks(p, &f->op, in);
	if (f->op.code)
		return;
	f->in = NULL;
	wm_edit_put(p, &f->op, in, false, &how);
}

static void put_node(struct wm_plan *p, struct wm_foreign_op *f)
{
	struct wm_instance *in = f->in;
	struct wm_node *facts = f->facts;
	bool exists = f->op.home != NULL;

	add_serf(p, f, in);
	if (f->op.code)
		return;
	if (!exists) {
		f->facts = NULL;
		wm_edit_node(p, &f->op, facts);
	}
	if (!f->op.code)
		take_checks(p, &f->op, in);
	if (!f->op.code) {
		f->in = NULL;
		put_holder(p, &f->op, in);
	}
	if (exists && !f->op.code) { /* behind its holder: its row has that one's version */
		f->facts = NULL;
		wm_edit_node(p, &f->op, facts);
	}
}

/* --- a word without an object ----------------------------------------------------------------- */
static int bury(struct wm_plan *p, struct wm_foreign_op *f)
{
	char folded[WM_NODE_NAME_MAX + 1], id[WM_INSTANCE_ID_MAX + 1], none[1] = "";
	struct wm_tombstone *before = find_tomb(p->r, f);
	struct wm_node node = {.folded = folded};
	struct wm_instance was = {.id = id, .name = none, .node = &node, .version = f->version};
	struct wm_tombstone *t;
	const char *name;

	name = tomb_node(f, folded); /* a name of a node, or a UUID */
	if (name != folded)
		strcpy(folded, name);
	strcpy(id, f->op.id);
	t = wm_tombstone_new(&was, before ? before->row : ++p->r->instance_row, f->semver);
	if (!t || wm_plan_reserve(p, p->r->history.by_key, 1)) {
		free(t);
		return -ENOMEM;
	}
	f->tomb = t;
	t->version = f->version;
	t->when_s = f->when_s;
	t->past.index = p->r->index;
	f->op.stores = true;
	return p->r->store ? wm_tombstone_put(p->r, p->rows, t) : 0;
}

/* A node that nobody told of goes with the last that was on it; @p any: other agents' too. */
static void drop_unheard(struct wm_plan *p, struct wm_op *op, struct wm_node *n, bool any)
{
	struct leaving l = {.of = WM_ORIGIN_SHARED};

	if (n->self || (!any && (!holds(p, n, WM_ORIGIN_SHARED) || node_version(p, n).seq)))
		return;
	wm_view_each(p, n, collect, &l);
	if (l.count || l.others)
		return;
	p->no_tombstones = true;
	wm_edit_node_drop(p, op, n);
	p->no_tombstones = false;
}

static void prepare_gone(struct wm_plan *p, struct wm_foreign_op *f)
{
	struct leaving l = {.of = f->version.origin};

	if (f->old && *f->op.id) {
		p->no_tombstones = f->forget || f->source;
		wm_edit_drop(p, &f->op, f->op.home, f->op.id);
		p->no_tombstones = false;
		if (!f->op.code)
			drop_unheard(p, &f->op, f->op.home, f->forget);
		return;
	}
	if (f->old && is_foreign(f)) {
		if (!clear(p, &f->op, f->op.home, true))
			return;
	} else if (f->old) {
		wm_view_each(p, f->op.home, collect, &l);
		if (!l.count && !l.others) {
			wm_edit_node_drop(p, &f->op, f->op.home);
			return;
		}
		keep_node(p, &f->op, f->op.home);
	}
	if (!f->op.code && !f->source && bury(p, f))
		wm_op_no_memory(&f->op);
}

/* --- the write -------------------------------------------------------------------------------- */
/* The row of an object that is the same but for version and statuses, and these. */
static void prepare_quiet(struct wm_plan *p, struct wm_foreign_op *f)
{
	struct wm_instance *in = f->in, *old = f->old;
	struct wm_node *n = f->op.home;
	struct wm_seen *seen = wm_plan_see(p, &f->op, WM_SEEN_VERSION, n, f->op.id);
	int err = seen ? 0 : -ENOMEM;

	f->op.stores = true;
	if (seen)
		seen->version = &f->version;
	in->node = n;
	in->version = f->version;
	in->create_index = old->create_index;
	in->modify_index = old->modify_index;
	for (unsigned k = 0; k < in->checks_count; k++) {
		for (unsigned m = 0; m < old->checks_count; m++) {
			if (strcmp(in->checks[k]->id, old->checks[m]->id) != 0)
				continue;
			in->checks[k]->create_index = old->checks[m]->create_index;
			in->checks[k]->modify_index = old->checks[m]->modify_index;
		}
	}
	if (!err && p->r->store)
		err = *f->op.id ? wm_record_put_instance(&p->r->record, old->row, in)
				: wm_plan_encode_node(p, in, false);
	if (!err && p->r->store)
		err = wm_batch_put(p->rows, WM_STORE_INSTANCES, *f->op.id ? old->row : n->row,
				   p->r->record.data, p->r->record.len);
	if (err == -ENOMEM)
		wm_op_no_memory(&f->op);
	else if (err)
		wm_op_refuse(&f->op, err, "%s is too large to be stored", f->op.id);
}

static void prepare_foreign(struct wm_plan *p, struct wm_op *op)
{
	struct wm_foreign_op *f = (struct wm_foreign_op *)op;
	const struct wm_tombstone *t;

	if ((f->leaves && !clear(p, op, f->leaves, true)) ||
	    (f->clears && !clear(p, op, op->home, false)))
		return;
	p->as = &f->version;
	p->as_when_s = f->when_s;
	p->as_semver = f->semver;
	t = f->gone ? NULL : find_tomb(p->r, f);
	if (t && p->r->store && wm_batch_del(p->rows, WM_STORE_TOMBSTONES, t->row))
		wm_op_no_memory(op);
	else if (f->quiet)
		prepare_quiet(p, f);
	else if (f->gone)
		prepare_gone(p, f);
	else if (*op->id)
		put_instance(p, f);
	else
		put_node(p, f);
	p->as = NULL;
}

/* Statuses are as they are said; who sees the object hears of those that changed. */
static void apply_quiet(struct wm_registry *r, struct wm_foreign_op *f)
{
	struct wm_node *n = f->op.home;
	struct wm_instance *i = *f->op.id ? wm_node_instance(n, f->op.id) : n->holder;

	if (i)
		i->version = f->version;
	for (unsigned k = 0; i && k < f->in->checks_count; k++) {
		struct wm_check *c = f->in->checks[k], *was = wm_node_check(n, c->id);

		if (!was || was->instance != i)
			continue;
		if (was->status != c->status || strcmp(was->output, c->output) != 0 ||
		    (wm_cbox(c)->told && !wm_cbox(was)->told))
			(void)wm_registry_report(r, was, c->status, c->output, false);
		wm_cbox(was)->told = wm_cbox(c)->told;
	}
}

static void apply_foreign(struct wm_registry *r, struct wm_op *op)
{
	struct wm_foreign_op *f = (struct wm_foreign_op *)op;
	bool comes = !f->gone && !op->again;
	struct wm_tombstone *t;

	if (f->version.origin == WM_ORIGIN_SHARED && f->version.seq > r->history.clock)
		r->history.clock = f->version.seq;
	if (f->quiet && !op->again)
		apply_quiet(r, f);
	wm_edits_apply(r, op);
	t = comes ? find_tomb(r, f) : NULL; /* an edit may have taken it along */
	if (t)
		wm_history_unbury(&r->history, t);
	if (f->tomb)
		wm_history_bury(&r->history, f->tomb, r->index);
	f->tomb = NULL;
}

static void discard_foreign(struct wm_op *op)
{
	struct wm_foreign_op *f = (struct wm_foreign_op *)op;

	wm_node_free(f->facts);
	wm_instance_free(f->in, true);
	free(f->tomb);
	free(f->semver);
}

static struct wm_op *rest_of(struct wm_op *op)
{
	struct wm_foreign_op *f = (struct wm_foreign_op *)op, *rest;

	rest = wm_op_new(&wm_op_foreign, sizeof(*rest), op->id);
	if (!rest)
		return NULL;
	rest->op.node_name = op->node_name;
	rest->op.object = op->object;
	rest->op.restore = true;
	rest->op.lazy = op->lazy;
	rest->op.bytes = op->bytes;
	rest->op.done = op->done;
	rest->op.arg = rest;
	rest->call = f->call;
	rest->version = f->version;
	memcpy(rest->origin, f->origin, sizeof(rest->origin));
	rest->gone = f->gone;
	rest->source = f->source;
	rest->when_s = f->when_s;
	rest->semver = f->semver;
	rest->facts = f->facts;
	rest->in = f->in;
	op->node_name = NULL;
	f->semver = NULL;
	f->facts = NULL;
	f->in = NULL;
	return &rest->op;
}

const struct wm_op_kind wm_op_foreign = {.judge = judge_foreign,
					 .prepare = prepare_foreign,
					 .apply = apply_foreign,
					 .discard = discard_foreign,
					 .rest = rest_of};

/* --- an agent is forgotten -------------------------------------------------------------------- */
static bool judge_forget(struct wm_plan *p, struct wm_op *op)
{
	(void)p;
	(void)op;
	return true;
}

static bool is_tomb_of(const struct wm_tombstone *t, const struct wm_peer_id *id)
{
	return t->version.origin == WM_ORIGIN_FOREIGN && wm_peer_id_same(&t->version.writer, id);
}

static void prepare_forget(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_peer_id *id = &((struct wm_forget_op *)op)->origin;
	const struct wm_tombstone *t;
	char text[WM_PEER_ID_TEXT];
	struct wm_node *n;
	unsigned count = 0;

	wm_peer_id_format(id, text);
	n = node_of(p, text);
	op->home = n ? n : p->r->self;
	if (n && !clear(p, op, n, true))
		return;
	TAILQ_FOREACH (t, &p->r->history.tombs, by_age) {
		if (!is_tomb_of(t, id))
			continue;
		op->again = count == TOMBS_STEP;
		if (op->again)
			break;
		count++;
		op->stores = true;
		if (p->r->store && wm_batch_del(p->rows, WM_STORE_TOMBSTONES, t->row)) {
			wm_op_no_memory(op);
			break;
		}
	}
}

static void apply_forget(struct wm_registry *r, struct wm_op *op)
{
	const struct wm_peer_id *id = &((struct wm_forget_op *)op)->origin;
	struct wm_tombstone *t, *next;
	unsigned count = 0;

	wm_edits_apply(r, op);
	for (t = TAILQ_FIRST(&r->history.tombs); op->stores && t && count < TOMBS_STEP; t = next) {
		next = TAILQ_NEXT(t, by_age);
		if (!is_tomb_of(t, id))
			continue;
		count++;
		wm_history_unbury(&r->history, t);
	}
}

static struct wm_op *rest_of_forget(struct wm_op *op)
{
	struct wm_forget_op *rest = wm_op_new(&wm_op_forget, sizeof(*rest), "");

	if (!rest)
		return NULL;
	rest->origin = ((struct wm_forget_op *)op)->origin;
	rest->op.restore = true;
	rest->op.done = op->done;
	rest->op.arg = op->arg;
	return &rest->op;
}

const struct wm_op_kind wm_op_forget = {.judge = judge_forget,
					.prepare = prepare_forget,
					.apply = apply_forget,
					.rest = rest_of_forget,
					.removes = true};
