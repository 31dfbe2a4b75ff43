/* SPDX-License-Identifier: Apache-2.0 */
/* edit.c - what every write comes down to: an instance, or a node's checks, becomes another, comes,
 * or goes. Preparing builds the object with all its checks, names it in the view, reserves its
 * place and encodes its record; applying swings the pointers. */
#include "internal.h"
#include "plan.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Applying found no room that was reserved: the memory would be inconsistent with the store.
 * Stopping here is safe, going on is not, and what was acknowledged is in the store. */
static void must(int err)
{
	if (err)
		abort();
}

static struct wm_check *find_check(const struct wm_instance *i, const char *id)
{
	for (unsigned n = 0; i && n < i->checks_count; n++) {
		if (strcmp(i->checks[n]->id, id) == 0)
			return i->checks[n];
	}
	return NULL;
}

/* --- the checks that an instance will have ---------------------------------------------------- */
struct merge {
	struct wm_op *op;
	const struct wm_edit_how *how;
	struct wm_instance *in, *old;
	struct wm_check **fresh, **merged; /* as built; with those that are kept */
	unsigned fresh_count, merged_count;
};

/* No check may be another instance's, or of another owner, nor be named twice. */
static bool judge_checks(const struct wm_plan *p, const struct merge *m)
{
	struct wm_op *op = m->op;

	for (unsigned n = 0; n < m->in->checks_count; n++) {
		const struct wm_check *c = m->in->checks[n], *other;
		const struct wm_instance *owner;

		other = wm_view_check(p, op->home, c->id, &owner);
		/* ids of a snapshot are unique in it, and who has one now will lose it */
		if (other && !op->restore && owner != m->old) {
			if (!owner->service)
				wm_op_refuse(op, WM_E_CONFLICT,
					     "Invalid check: CheckID \"%.64s\" belongs to the node",
					     c->id);
			else
				wm_op_refuse(
					op, WM_E_CONFLICT,
					"Invalid check: CheckID \"%.64s\" belongs to service ID "
					"\"%.64s\"",
					c->id, owner->id);
		} else if (other && !op->restore &&
			   (other->kind == WM_CHECK_STATED) != (c->kind == WM_CHECK_STATED)) {
			wm_op_refuse(op, WM_E_CONFLICT,
				     "Invalid check: CheckID \"%.64s\" is %s: it is changed there",
				     c->id,
				     c->kind == WM_CHECK_STATED ? "this agent's" : "the catalog's");
		} else if (find_check(m->in, c->id) != c) {
			wm_op_refuse(op, WM_E_INVALID,
				     "Invalid check: CheckID \"%.64s\" is given twice", c->id);
		}
		if (op->code)
			return false;
	}
	return true;
}

/* A check that was redefined goes on with the status it had, unless the client now asks for another
 * initial status than it did before. */
static bool inherits(const struct wm_check *c, const struct wm_check *was)
{
	unsigned given = ((const struct wm_check_box *)c)->given;

	return !given || given == ((const struct wm_check_box *)was)->given;
}

static int inherit(struct wm_check *c, const struct wm_check *was)
{
	c->create_index = was->create_index;
	if (!inherits(c, was))
		return 0;
	c->status = was->status;
	wm_cbox(c)->told = ((const struct wm_check_box *)was)->told ||
			   ((const struct wm_check_box *)was)->given;
	return wm_check_set_output(c, was->output) < 0 ? -ENOMEM : 0;
}

/* Does a check that the client does not name stay? Maintenance is the operator's and a stated check
 * the catalog's: a program that registers itself again does not end them. */
static bool stays(const struct merge *m, const struct wm_check *c)
{
	if (m->how->given)
		return ((const struct wm_check_box *)c)->local && !find_check(m->in, c->id);
	if (c == m->how->dropped || find_check(m->in, c->id) || m->op->restore || m->how->anew)
		return false;
	return !m->how->replace || c->kind == WM_CHECK_MAINTENANCE || c->kind == WM_CHECK_STATED;
}

/* The checks that the instance has after this write: named ones, as the object that is there when
 * the definition is the same, and those of before that the client may keep. */
static bool merge_checks(struct merge *m)
{
	unsigned kept = m->old ? m->old->checks_count : 0, clients = 0;

	m->fresh = m->in->checks;
	m->fresh_count = m->in->checks_count;
	if (m->fresh_count + kept)
		m->merged = calloc(m->fresh_count + kept, sizeof(struct wm_check *));
	if (m->fresh_count + kept && !m->merged) {
		wm_op_no_memory(m->op);
		return false;
	}
	for (unsigned n = 0; n < m->fresh_count; n++) {
		struct wm_check *c = m->fresh[n], *was = find_check(m->old, c->id);

		if (was && m->how->given) {
			c->create_index = was->create_index;
			if (wm_check_same(was, c) && was->status == c->status &&
			    strcmp(was->output, c->output) == 0)
				c = was;
		} else if (was && wm_check_same(was, c))
			c = was;
		else if (was && inherit(c, was))
			wm_op_no_memory(m->op);
		m->merged[m->merged_count++] = c;
	}
	for (unsigned n = 0; n < kept; n++) {
		if (stays(m, m->old->checks[n]))
			m->merged[m->merged_count++] = m->old->checks[n];
	}
	for (unsigned n = 0; n < m->merged_count; n++)
		clients +=
			m->merged[n]->kind != WM_CHECK_MAINTENANCE && !wm_cbox(m->merged[n])->local;
	if (clients > WM_CHECKS_PER_INSTANCE)
		wm_op_refuse(m->op, WM_E_LIMIT,
			     "Checks: %u with those registered before, at most %d are allowed",
			     clients, WM_CHECKS_PER_INSTANCE);
	return !m->op->code;
}

static bool same_checks(const struct merge *m)
{
	if (m->merged_count != m->old->checks_count)
		return false;
	for (unsigned n = 0; n < m->merged_count; n++) {
		if (!wm_checks_list(m->old->checks, m->old->checks_count, m->merged[n]))
			return false;
	}
	return true;
}

/* Checks that were built and are not taken up go; the rest is @p ret_count of them. */
static void drop_unused(struct wm_check **fresh, unsigned *ret_count, const struct wm_instance *in)
{
	unsigned kept = 0;

	for (unsigned n = 0; n < *ret_count; n++) {
		if (in && wm_checks_list(in->checks, in->checks_count, fresh[n]))
			fresh[kept++] = fresh[n];
		else
			wm_check_free(fresh[n]);
	}
	*ret_count = kept;
}

/* Nothing of it was taken. */
static void merge_free(struct merge *m)
{
	free(m->merged);
	wm_instance_free(m->in, true);
}

/* --- room ------------------------------------------------------------------------------------- */
/* A restore was judged as a whole. */
static bool judge_room(const struct wm_plan *p, const struct merge *m, bool holder)
{
	const struct wm_registry *r = p->r;
	unsigned before = m->old ? m->old->checks_count : 0;
	int more = (int)m->merged_count - (int)before;

	if ((!m->op->restore || m->how->given) && more > 0 &&
	    (int64_t)r->checks_count + p->checks + more > (int64_t)r->checks_max)
		wm_op_refuse(m->op, WM_E_CAPACITY, "Checks: at most %u are allowed (checks_max)",
			     r->checks_max);
	else if (!holder && !m->old &&
		 (int64_t)r->instances_count + p->instances >= (int64_t)r->instances_max)
		wm_op_refuse(m->op, WM_E_CAPACITY,
			     "Instances: at most %u are allowed (instances_max)", r->instances_max);
	return !m->op->code;
}

/* Room in the tables of the node. */
static int reserve_node(struct wm_plan *p, const struct merge *m, bool holder)
{
	const struct wm_node *home = m->op->home;
	int err = wm_plan_reserve(p, home->checks, m->fresh_count);

	if (!err && !holder && !m->old)
		err = wm_plan_reserve(p, home->instances, 1);
	return err;
}

/* --- services --------------------------------------------------------------------------------- */
/* What the view has of a service, for this write to change. */
static struct wm_seen *see_service(struct wm_plan *p, struct wm_op *op, const char *name)
{
	const struct wm_seen *before = wm_plan_seen(p, WM_SEEN_SERVICE, NULL, name);
	struct wm_seen *s = wm_plan_see(p, op, WM_SEEN_SERVICE, NULL, name);

	if (!s || s == before)
		return s;
	if (!before) {
		s->service = wm_map_get(p->r->services, name, strlen(name));
		s->count = s->service ? s->service->instances_count : 0;
	}
	s->existed = s->count > 0;
	if (!s->existed) {
		s->service = NULL;
		s->comes = 0;
	}
	return s;
}

/* Leases stay behind services that went; as many as there may be services, the oldest goes first.
 * Its row is deleted with the batch. */
static bool evict_lease(struct wm_plan *p, struct wm_made *m)
{
	struct wm_lease *l = wm_vips_oldest(p->r->vips);

	if (!l || m->evicted || (p->r->store && wm_batch_del(p->rows, WM_STORE_SERVICES, l->row)))
		return false;
	wm_lease_detach(p->r->vips, l);
	m->evicted = l;
	return true;
}

int wm_plan_lease(struct wm_plan *p, struct wm_made *m, const char *name)
{
	struct wm_registry *r = p->r;
	struct wm_lease *l = wm_vips_find(r->vips, name);
	int err = 0;

	if (!l) {
		if (wm_vips_count(r->vips) >= 2ull * r->services_max)
			evict_lease(p, m);
		err = wm_vips_give(r->vips, name, &l);
		if (err == WM_E_FULL && evict_lease(p, m))
			err = wm_vips_give(r->vips, name, &l);
		if (err)
			return err;
		l->row = ++r->service_row;
		l->planned = m->given = true;
	}
	l->wanted++; /* it is revived when the service is there */
	m->lease = l;
	return 0;
}

/* The service comes into being with this write. */
static void make_service(struct wm_plan *p, struct wm_op *op, struct wm_seen *s, const char *name)
{
	struct wm_registry *r = p->r;
	struct wm_made *m;
	int err;

	if ((int64_t)wm_map_len(r->services) + p->services >= (int64_t)r->services_max) {
		wm_op_refuse(op, WM_E_CAPACITY, "Services: at most %u are allowed (services_max)",
			     r->services_max);
		return;
	}
	m = calloc(1, sizeof(*m));
	if (!m) {
		wm_op_no_memory(op);
		return;
	}
	SLIST_INSERT_HEAD(&wm_op_root(op)->made, m, entry);
	err = wm_plan_lease(p, m, name);
	if (err == WM_E_FULL) {
		wm_op_refuse(op, err, "No virtual address is left for service %s", name);
		return;
	}
	if (!err) {
		m->service = wm_service_new(m->lease);
		err = m->service ? wm_plan_reserve(p, r->services, 1) : -ENOMEM;
	}
	if (!err) {
		m->service->create_index = wm_plan_index(p, op);
		err = r->store ? wm_plan_put_service(p, m->lease, m->service->create_index) : 0;
	}
	if (err) {
		wm_op_no_memory(op);
		return;
	}
	s->service = m->service;
	s->comes = 0;
	p->services++;
}

/* @p in joins the service of its name. Refuses. */
static void join_service(struct wm_plan *p, struct wm_op *op, struct wm_instance *in)
{
	const char *name = wm_box(in)->service_name;
	struct wm_seen *s = see_service(p, op, name);

	if (!s) {
		wm_op_no_memory(op);
		return;
	}
	if (!s->service)
		make_service(p, op, s, name);
	if (op->code)
		return;
	if (wm_service_reserve(s->service, s->comes + 1)) {
		wm_op_no_memory(op);
		return;
	}
	s->comes++;
	s->count++;
	in->service = s->service;
}

static bool leave_service(struct wm_plan *p, struct wm_op *op, struct wm_instance *old)
{
	struct wm_seen *s = see_service(p, op, wm_box(old)->service_name);

	if (!s) {
		wm_op_no_memory(op);
		return false;
	}
	s->count--;
	return true;
}

/* --- preparing -------------------------------------------------------------------------------- */
/* The edit of an object by this write: a new one, or that of an earlier part. */
static struct wm_edit *edit_of(struct wm_plan *p, struct wm_op *op, enum wm_edit_what what,
			       struct wm_instance *old, const char *id)
{
	const char seen = what == WM_EDIT_INSTANCE ? WM_SEEN_INSTANCE : WM_SEEN_HOLDER;
	struct wm_op *root = wm_op_root(op);
	struct wm_seen *s;
	struct wm_edit *e;

	s = wm_plan_see(p, op, seen, op->home, id);
	if (s && s->edit && s->edit->op == root && s->edit->home == op->home)
		return s->edit;
	e = s ? calloc(1, sizeof(*e)) : NULL;
	if (!e) {
		wm_op_no_memory(op);
		return NULL;
	}
	e->op = root;
	e->what = what;
	e->home = op->home;
	e->old = old;
	e->life = old ? old->lifecycle : WM_LIFE_NONE;
	if (old)
		wm_box(old)->planned = true;
	TAILQ_INSERT_TAIL(&root->edits, e, entry);
	s->edit = e;
	return e;
}

/* What the edit had become by an earlier part is forgotten, but for checks that go on. */
static int take_fresh(struct wm_edit *e, struct merge *m)
{
	struct wm_check **all = NULL;
	unsigned count = e->fresh_count + m->fresh_count;

	if (e->fresh_count && m->fresh_count) {
		all = calloc(count, sizeof(struct wm_check *));
		if (!all)
			return -ENOMEM;
		memcpy(all, e->fresh, e->fresh_count * sizeof(struct wm_check *));
		memcpy(all + e->fresh_count, m->fresh, m->fresh_count * sizeof(struct wm_check *));
		free(e->fresh);
		free(m->fresh);
		e->fresh = all;
	} else if (!e->fresh_count) {
		free(e->fresh);
		e->fresh = m->fresh;
	} else {
		free(m->fresh);
	}
	e->fresh_count = count;
	m->fresh = NULL;
	return 0;
}

/* Others than the view's names of checks. */
static bool see_checks(struct wm_plan *p, struct wm_op *op, const struct wm_instance *old,
		       const struct wm_instance *in)
{
	struct wm_seen *s;

	for (unsigned n = 0; old && n < old->checks_count; n++) {
		if (in && wm_checks_list(in->checks, in->checks_count, old->checks[n]))
			continue;
		s = wm_plan_see(p, op, WM_SEEN_CHECK, op->home, old->checks[n]->id);
		if (!s)
			return false;
		s->check = NULL;
		s->owner = NULL;
	}
	for (unsigned n = 0; in && n < in->checks_count; n++) {
		s = wm_plan_see(p, op, WM_SEEN_CHECK, op->home, in->checks[n]->id);
		if (!s)
			return false;
		s->check = in->checks[n];
		s->owner = in;
	}
	return true;
}

/* Numbers and links of the new object; those of kept checks are set when it is applied. */
static void number(struct wm_plan *p, const struct merge *m, bool holder)
{
	uint64_t index = wm_plan_index(p, m->op);
	const struct wm_instance *old = m->old;
	struct wm_instance *in = m->in;

	in->create_index = old ? old->create_index : index;
	in->modify_index = old && !m->how->registers ? old->modify_index : index;
	if (!holder)
		in->row = old ? old->row : ++p->r->instance_row;
	for (unsigned n = 0; n < m->fresh_count; n++) {
		struct wm_check *c = m->fresh[n];

		c->instance = in;
		c->modify_index = index;
		if (!c->create_index)
			c->create_index = index;
	}
}

/* The record goes into the batch; one that is, or may become, too large is refused. */
static void put_record(struct wm_plan *p, struct wm_op *op, struct wm_instance *in, bool adds)
{
	int err;

	if (!p->r->store)
		return;
	err = wm_plan_put_row(p, in, !adds);
	/* what it becomes must fit as well: results that come later are refused to nobody */
	if (!err && adds && p->r->record.len + wm_record_growth(in) > WM_RECORD_MAX)
		err = WM_E_LIMIT;
	if (err == -ENOMEM)
		wm_op_no_memory(op);
	else if (err)
		wm_op_refuse(op, err,
			     "%s too large to be stored: at most %u octets with full outputs of "
			     "all checks",
			     in->service ? "The registration is" : "The checks of the node are",
			     WM_RECORD_MAX);
}

/* What the edit was to become is, by now, no part's any more. */
static void replace(struct wm_edit *e, struct merge *m)
{
	struct wm_instance *before = e->in;

	e->in = m->in;
	m->in = NULL; /* the edit's */
	drop_unused(e->fresh, &e->fresh_count, e->in);
	wm_instance_free(before, false);
}

/* All is judged: hang it on an edit, and name it in the view. */
static void prepare(struct wm_plan *p, struct merge *m, bool holder)
{
	struct wm_op *op = m->op;
	struct wm_instance *in = m->in, *old = m->old;
	int more = (int)m->merged_count - (int)(old ? old->checks_count : 0);
	bool adds = m->how->adds && !op->restore;
	const struct wm_seen *seen;
	struct wm_edit *e;

	if (reserve_node(p, m, holder)) {
		wm_op_no_memory(op);
		return;
	}
	if (!holder) {
		join_service(p, op, in);
		if (op->code || (old && !leave_service(p, op, old)))
			return;
	}
	number(p, m, holder);
	seen = wm_plan_seen(p, WM_SEEN_INSTANCE, op->home, in->id);
	if (!holder && (!old || old->version.origin != in->version.origin) &&
	    wm_plan_del_tombstone(p, in->version.origin, op->home, in->id, seen)) {
		wm_op_no_memory(op);
		return;
	}
	e = edit_of(p, op, holder ? WM_EDIT_HOLDER : WM_EDIT_INSTANCE, old, in->id);
	if (!e || take_fresh(e, m)) {
		wm_op_no_memory(op);
		return;
	}
	in->checks = m->merged;
	in->checks_count = m->merged_count;
	m->merged = NULL;
	wm_instance_bind(op->home, in);
	in->status = holder ? wm_instance_worst(in) : wm_instance_effective(p->r, in);
	if (!see_checks(p, op, old, in))
		wm_op_no_memory(op);
	p->instances += !holder && !old;
	p->checks += more;
	e->prepared = p->r->given;
	e->given = m->how->given;
	replace(e, m);
	put_record(p, op, in, adds);
}

/* A node's checks have the version of the node. */
static bool judge_rank(const struct wm_plan *p, const struct merge *m)
{
	const struct wm_version *here = m->old ? &m->old->version : NULL;
	const char *node = m->op->home->folded;

	if (!m->old && m->in->version.origin == WM_ORIGIN_SHARED)
		here = wm_plan_removed(p, node, m->in->id);
	return wm_plan_outranks(p, m->op, node, m->in->id, here);
}

void wm_edit_put(struct wm_plan *p, struct wm_op *op, struct wm_instance *in, bool holder,
		 const struct wm_edit_how *how)
{
	struct merge m = {.op = op, .how = how, .in = in};

	m.old = holder ? wm_view_holder(p, op->home) : wm_view_instance(p, op->home, in->id);
	if (judge_checks(p, &m) && merge_checks(&m)) {
		if (m.old && same_checks(&m) && (holder || wm_instance_same(in, m.old)))
			op->unchanged = true;
		else if (judge_rank(p, &m) && judge_room(p, &m, holder))
			prepare(p, &m, holder);
	}
	if (m.in) /* refused, or the same again */
		merge_free(&m);
}

void wm_edit_drop(struct wm_plan *p, struct wm_op *op, struct wm_node *home, const char *id)
{
	struct wm_instance *old = wm_view_instance(p, home, id);
	struct wm_node *at = op->home;
	struct wm_edit *e = NULL;

	if (!p->no_tombstones && !wm_plan_outranks(p, op, home->folded, id, &old->version))
		return;
	op->home = home;
	(void)wm_plan_index(p, op);
	if (leave_service(p, op, old))
		e = edit_of(p, op, WM_EDIT_INSTANCE, old, old->id);
	if (e && !see_checks(p, op, old, NULL))
		wm_op_no_memory(op);
	if (e && p->r->store && wm_batch_del(p->rows, WM_STORE_INSTANCES, old->row))
		wm_op_no_memory(op);
	if (e && wm_plan_put_tombstone(p, e, old, old->row))
		wm_op_no_memory(op);
	p->instances--;
	p->checks -= (int)old->checks_count;
	if (e && e->in) { /* an earlier part's */
		drop_unused(e->fresh, &e->fresh_count, NULL);
		wm_instance_free(e->in, false);
		e->in = NULL;
	}
	op->home = at;
}

void wm_edit_free(struct wm_edit *e)
{
	if (!e)
		return;
	if (e->old)
		wm_box(e->old)->planned = false;
	drop_unused(e->fresh, &e->fresh_count, NULL);
	free(e->fresh);
	wm_instance_free(e->in, false);
	if (e->founded)
		wm_node_free(e->home);
	wm_node_free(e->facts);
	free(e->tomb);
	free(e);
}

/* --- applying --------------------------------------------------------------------------------- */
/* Results that came while it was stored. A check that was redefined meanwhile is neither what the
 * write made of it nor what was announced, so it has a number above both. */
static void catch_up(struct wm_registry *r, const struct wm_op *op, const struct wm_edit *e)
{
	struct wm_instance *in = e->in, *old = e->old;
	bool changed = wm_box(old)->changed > e->prepared;

	wm_box(in)->changed = wm_box(old)->changed;
	if (e->given) /* with what it has to say of statuses */
		return;
	for (unsigned n = 0; n < e->fresh_count; n++) {
		struct wm_check *c = e->fresh[n], *was = find_check(old, c->id);
		char *output = c->output;

		/* one that went and came in this write goes on with nothing */
		if (!was || was->create_index != c->create_index || !inherits(c, was))
			continue;
		c->output = was->output; /* also what was said without a change */
		was->output = output;
		wm_cbox(c)->told |= wm_cbox(was)->told;
		if (was->modify_index <= e->prepared)
			continue;
		c->status = was->status;
		c->modify_index = op->seen;
	}
	if (!changed)
		return;
	if (in->lifecycle == e->life && old->lifecycle != e->life)
		in->lifecycle = old->lifecycle;
	if (wm_box(old)->dirty)
		wm_registry_mark_dirty(r, wm_box(in));
}

/* The tables of the node by id. */
static void enter_maps(struct wm_registry *r, const struct wm_edit *e)
{
	struct wm_map *checks = e->home->checks;
	struct wm_instance *in = e->in, *old = e->old;
	size_t before = wm_map_len(checks);

	for (unsigned n = 0; old && n < old->checks_count; n++) {
		const char *id = old->checks[n]->id;

		/* under its id there may be another's by now */
		if ((!in || !wm_checks_list(in->checks, in->checks_count, old->checks[n])) &&
		    wm_map_get(checks, id, strlen(id)) == old->checks[n])
			wm_map_del(checks, id, strlen(id));
	}
	for (unsigned n = 0; in && n < in->checks_count; n++) {
		struct wm_check *c = in->checks[n];

		must(wm_map_put(checks, c->id, strlen(c->id), c, NULL));
		c->instance = in;
	}
	wm_checks_recount(r, e->home, before);
	if (e->what == WM_EDIT_HOLDER)
		return;
	if (in)
		must(wm_map_put(e->home->instances, in->id, strlen(in->id), in, NULL));
	else
		wm_map_del(e->home->instances, old->id, strlen(old->id));
}

static void leave(struct wm_registry *r, struct wm_op *op, struct wm_edit *e)
{
	struct wm_service *from = e->old->service;

	e->from = from;
	wm_service_remove(from, e->old);
	from->index = op->seen;
	if (!from->leaves) {
		from->leaves = true; /* if nobody else is in it when all edits are applied */
		SLIST_INSERT_HEAD(&op->gone, from, entry);
	}
	(void)r;
}

static void join(struct wm_registry *r, struct wm_op *op, struct wm_edit *e)
{
	const char *name = wm_box(e->in)->service_name;
	struct wm_service *to = wm_map_get(r->services, name, strlen(name));

	must(!to);
	must(wm_service_add(to, e->in)); /* its place is reserved */
	to->index = op->seen;
}

/* The newest word on the object is this one. */
static void remember(struct wm_registry *r, const struct wm_op *op, struct wm_edit *e)
{
	struct wm_history *h = &r->history;
	struct wm_tombstone *t;

	if (e->old)
		wm_history_leave(h, e->old);
	if (e->in) {
		t = (e->old && e->old->version.origin == e->in->version.origin) ||
				    e->what != WM_EDIT_INSTANCE
			    ? NULL
			    : wm_history_tomb(h, e->in->version.origin, e->home->folded, e->in->id);
		if (t)
			wm_history_unbury(h, t);
		wm_history_touch(h, e->in, op->seen);
		if (r->store)
			wm_history_log(h, e->in);
	} else if (e->tomb) {
		wm_history_bury(h, e->tomb, op->seen);
		e->tomb = NULL;
	}
}

static void apply_instance(struct wm_registry *r, struct wm_op *op, struct wm_edit *e)
{
	struct wm_instance *in = e->in, *old = e->old;
	bool holder = e->what == WM_EDIT_HOLDER;

	if (!in && !old)
		return;
	if (holder && wm_find_node(r, e->home->folded) != e->home) {
		e->home->holder = in; /* of a node that came and goes with this write */
		return;
	}
	if (old && in)
		catch_up(r, op, e);
	if (old)
		wm_instance_retire(r, old);
	enter_maps(r, e);
	remember(r, op, e);
	if (in)
		wm_instance_bind(e->home, in);
	if (holder && in) {
		e->home->holder = in;
		in->status = wm_instance_worst(in);
		return;
	}
	r->instances_count += !old;
	r->instances_count -= !in;
	if (old)
		leave(r, op, e);
	if (in) {
		join(r, op, e);
		in->status = wm_instance_effective(r, in);
	}
}

/* Services that are left empty go; those that were made and stayed empty were never there. */
static void close_services(struct wm_registry *r, struct wm_op *op)
{
	struct wm_service *s, *left = SLIST_FIRST(&op->gone);

	SLIST_INIT(&op->gone);
	while ((s = left)) {
		left = SLIST_NEXT(s, entry);
		s->leaves = false;
		if (s->instances_count)
			continue;
		SLIST_INSERT_HEAD(&op->gone, s, entry);
		wm_map_del(r->services, s->name, strlen(s->name));
		wm_lease_retire(r->vips, wm_vips_find(r->vips, s->name));
	}
}

void wm_edits_apply(struct wm_registry *r, struct wm_op *op)
{
	struct wm_made *m;
	struct wm_edit *e;

	SLIST_FOREACH (m, &op->made, entry) {
		m->lease->planned = false;
		m->lease->wanted--;
		if (!m->service) /* a lease alone */
			continue;
		must(wm_map_put(r->services, m->service->name, strlen(m->service->name), m->service,
				NULL));
		m->lease->create_index = m->service->create_index;
		/* an earlier write of the batch may have ended the service before */
		wm_lease_revive(r->vips, m->lease);
		if (!m->service->leaves) {
			m->service->leaves = true;
			SLIST_INSERT_HEAD(&op->gone, m->service, entry);
		}
	}
	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what == WM_EDIT_NODE && !e->dropped)
			wm_node_apply(r, op, e);
	}
	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what != WM_EDIT_NODE)
			apply_instance(r, op, e);
	}
	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what == WM_EDIT_NODE && e->dropped)
			wm_node_apply(r, op, e);
	}
	close_services(r, op);
}
