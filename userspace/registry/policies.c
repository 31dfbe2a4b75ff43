/* SPDX-License-Identifier: Apache-2.0 */
/* policies.c - policies of services: shared objects as those of the catalog are, with the same
 * versions, tombstones and way of a write, but on no node. Where shared objects have a node's name
 * they have WM_POLICY_NODE, which none has. */
#include "foreign_internal.h"
#include "internal.h"
#include "plan.h"
#include "userspace/model/validate.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- reading ------------------------------------------------------------------------------------
 */
struct wm_policy *wm_find_policy(const struct wm_registry *r, const char *service)
{
	return wm_map_get(r->policies, service, strlen(service));
}

/* @return false: it is too long to be one. */
static bool fold(char to[WM_SERVICE_NAME_MAX + 1], const char *name)
{
	size_t n = 0;

	for (; name[n]; n++) {
		if (n == WM_SERVICE_NAME_MAX)
			return false;
		to[n] = (char)tolower((unsigned char)name[n]);
	}
	to[n] = '\0';
	return true;
}

const struct wm_policy *wm_registry_policy(const struct wm_registry *r, const char *service)
{
	char name[WM_SERVICE_NAME_MAX + 1];

	if (!wm_map_len(r->policies))
		return NULL;
	return fold(name, service) ? wm_find_policy(r, name) : NULL;
}

const struct wm_policy *wm_registry_next_policy(const struct wm_registry *r, size_t *pos)
{
	return wm_map_next(r->policies, pos);
}

unsigned wm_registry_policies(const struct wm_registry *r)
{
	return (unsigned)wm_map_len(r->policies);
}

uint64_t wm_registry_policies_index(const struct wm_registry *r)
{
	return r->policies_index;
}

int wm_policy_enter(struct wm_registry *r, struct wm_policy *p)
{
	struct wm_policy *other = wm_find_policy(r, p->service);
	int err = other ? WM_E_CONFLICT
			: wm_map_put(r->policies, p->service, strlen(p->service), p, NULL);

	if (err)
		wm_policy_free(p);
	return err;
}

/* --- judging ------------------------------------------------------------------------------------
 */
/* As the view has it; NULL: none. */
static struct wm_policy *view(const struct wm_plan *p, const struct wm_policy_op *o)
{
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_POLICY, NULL, o->op.id);

	return s ? s->policy->in : wm_find_policy(p->r, o->op.id);
}

/* That the view has; NULL: none. */
static const struct wm_tombstone *view_tomb(const struct wm_plan *p, const struct wm_policy_op *o)
{
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_POLICY, NULL, o->op.id);

	if (s)
		return s->policy->tomb;
	return wm_history_tomb(&p->r->history, WM_ORIGIN_SHARED, WM_POLICY_NODE, o->op.id);
}

/* Is what is here as new? As of other shared objects: where another rule than the clock decides who
 * tells has judged. */
static bool is_stale(const struct wm_plan *p, const struct wm_policy_op *o,
		     const struct wm_version *here)
{
	const struct wm_version *v = &o->version;

	if (o->mended)
		return here->seq <= v->seq || !(wm_peer_id_none(&here->writer) ||
						wm_peer_id_same(&here->writer, &v->writer));
	if (!p->r->ask_stands)
		return !wm_version_newer(v, here);
	return v->seq == here->seq && wm_peer_id_same(&v->writer, &here->writer);
}

/* A leaf is told that it goes under the version that it has here. */
static bool is_swept(const struct wm_policy_op *o, const struct wm_version *v)
{
	return o->drops && o->version.seq == v->seq &&
	       wm_peer_id_same(&o->version.writer, &v->writer);
}

static bool judge_told(struct wm_plan *p, struct wm_policy_op *o, const struct wm_policy *old)
{
	const struct wm_tombstone *t = old ? NULL : view_tomb(p, o);

	if (o->forget)
		o->stale = !old;
	else if (old || t)
		o->stale = is_stale(p, o, old ? &old->version : &t->version) &&
			   !(old && is_swept(o, &old->version));
	else
		o->stale = o->mended;
	o->quiet = old && o->in && wm_policy_same(o->in, old);
	return !o->stale;
}

static bool same_name(const struct wm_policy *a, const struct wm_policy *b)
{
	return wm_policy_is_query(b) && strcmp(a->query.id, b->query.id) != 0 &&
	       a->query.prefix == b->query.prefix && strcasecmp(a->query.name, b->query.name) == 0;
}

/* Prepared queries are asked for by their names: there is one of each in the view. NULL: none has
 * that of @p q. Cost: all policies. */
static const struct wm_policy *namesake(const struct wm_plan *p, const struct wm_policy *q)
{
	const struct wm_policy *o;
	size_t pos = 0;

	if (!wm_policy_is_query(q) || (!*q->query.name && !q->query.prefix))
		return NULL;
	for (const struct wm_seen *s = p->log; s; s = s->older) {
		o = s->key[0] == WM_SEEN_POLICY ? s->policy->in : NULL;
		if (o && same_name(q, o) && wm_plan_seen(p, WM_SEEN_POLICY, NULL, o->service) == s)
			return o;
	}
	while ((o = wm_map_next(p->r->policies, &pos)))
		if (same_name(q, o) && !wm_plan_seen(p, WM_SEEN_POLICY, NULL, o->service))
			return o;
	return NULL;
}

static bool judge_policy(struct wm_plan *p, struct wm_op *op)
{
	struct wm_policy_op *o = (struct wm_policy_op *)op;
	const struct wm_policy *old = view(p, o);
	const struct wm_tombstone *t;
	const struct wm_policy *other;

	if (o->call)
		return judge_told(p, o, old);
	if (op->when == WM_WHEN_INDEX && op->when_index != (old ? old->modify_index : 0)) {
		wm_op_refuse(op, WM_E_CONFLICT,
			     "The policy of service \"%.64s\" has the index %llu", op->id,
			     old ? (unsigned long long)old->modify_index : 0ull);
	} else if (o->drops && !old) {
		if (!op->lenient)
			wm_op_refuse(op, WM_E_UNKNOWN, "Service \"%.64s\" has no policy", op->id);
		return false;
	} else if (!old && (int64_t)wm_map_len(p->r->policies) + p->policies >=
				   (int64_t)p->r->services_max) {
		wm_op_refuse(op, WM_E_CAPACITY, "Policies: at most %u are allowed (services_max)",
			     p->r->services_max);
	}
	other = o->in && !op->code ? namesake(p, o->in) : NULL;
	if (other)
		wm_op_refuse(op, WM_E_INVALID,
			     "Name: \"%.64s\" is not allowed: it is that of the query %s",
			     other->query.name, other->query.id);
	if (op->code || (o->in && old && wm_policy_same(o->in, old)))
		return false;
	t = old ? NULL : view_tomb(p, o);
	return wm_plan_outranks(p, op, WM_POLICY_NODE, op->id,
				old ? &old->version
				: t ? &t->version
				    : NULL);
}

/* --- preparing ----------------------------------------------------------------------------------
 */
static int put_row(struct wm_plan *p, const struct wm_policy *in)
{
	int err = p->r->store ? wm_record_put_policy(&p->r->record, in, false) : 0;

	if (err || !p->r->store)
		return err;
	return wm_batch_put(p->rows, WM_STORE_INSTANCES, in->row, p->r->record.data,
			    p->r->record.len);
}

static int prepare_put(struct wm_plan *p, struct wm_policy_op *o, const struct wm_policy *old,
		       const struct wm_tombstone *t)
{
	struct wm_policy *in = o->in;
	uint64_t index = o->quiet ? old->modify_index : wm_plan_index(p, &o->op);
	int err;

	in->version = o->version;
	in->create_index = old ? old->create_index : index;
	in->modify_index = index;
	in->row = old ? old->row : ++p->r->instance_row;
	err = put_row(p, in);
	if (!err && !old)
		err = wm_plan_reserve(p, p->r->policies, 1);
	if (!err && t && p->r->store)
		err = wm_batch_del(p->rows, WM_STORE_TOMBSTONES, t->row);
	return err ? err : wm_plan_labels(p, &o->op, in);
}

static int prepare_drop(struct wm_plan *p, struct wm_policy_op *o, const struct wm_policy *old,
			const struct wm_tombstone *before)
{
	char folded[] = WM_POLICY_NODE, none[1] = "", id[WM_SERVICE_NAME_MAX + 1];
	struct wm_node node = {.folded = folded};
	struct wm_instance was = {.id = id, .name = none, .node = &node, .version = o->version};

	if (old) {
		(void)wm_plan_index(p, &o->op);
		if (p->r->store && wm_batch_del(p->rows, WM_STORE_INSTANCES, old->row))
			return -ENOMEM;
	}
	if (o->forget)
		return 0;
	strcpy(id, o->op.id); /* its length was judged */
	o->tomb = wm_tombstone_new(&was,
				   old	    ? old->row
				   : before ? before->row
					    : ++p->r->instance_row,
				   NULL);
	if (!o->tomb || wm_plan_reserve(p, p->r->history.by_key, 1))
		return -ENOMEM;
	o->tomb->version = o->version;
	o->tomb->when_s = o->when_s;
	o->tomb->past.index = p->r->given;
	return p->r->store ? wm_tombstone_put(p->r, p->rows, o->tomb) : 0;
}

static void prepare_policy(struct wm_plan *p, struct wm_op *op)
{
	struct wm_policy_op *o = (struct wm_policy_op *)op;
	const struct wm_tombstone *t = view_tomb(p, o);
	const struct wm_policy *old = view(p, o);
	struct wm_seen *s;
	int err = 0;

	wm_op_root(op)->policies = wm_op_root(op)->stores = op->stores = true;
	if (!o->call) {
		o->version = wm_plan_draw(p->r, WM_ORIGIN_SHARED);
		o->when_s = (uint64_t)wm_env_wall_s(p->r->env);
		err = wm_plan_drawn(p, &o->version, WM_POLICY_NODE, op->id);
	}
	if (!err)
		err = o->drops ? prepare_drop(p, o, old, t) : prepare_put(p, o, old, t);
	s = err ? NULL : wm_plan_see(p, op, WM_SEEN_POLICY, NULL, op->id);
	if (s) {
		p->policies += (o->in != NULL) - (old != NULL);
		s->policy = o;
	}
	if (err == WM_E_LIMIT)
		wm_op_refuse(op, err, "The policy is too large to be stored: at most %u octets",
			     WM_RECORD_MAX);
	else if (!s)
		wm_op_no_memory(op);
}

/* --- applying -----------------------------------------------------------------------------------
 */
static void remember(struct wm_registry *r, struct wm_policy_op *o, uint64_t index)
{
	struct wm_history *h = &r->history;
	struct wm_tombstone *t;

	if (o->version.seq > h->clock)
		h->clock = o->version.seq;
	if (o->tomb) {
		wm_history_bury(h, o->tomb, index);
		o->tomb = NULL;
		return;
	}
	t = wm_history_tomb(h, WM_ORIGIN_SHARED, WM_POLICY_NODE, o->op.id);
	if (t && !o->drops)
		wm_history_unbury(h, t);
}

static void apply_one(struct wm_registry *r, struct wm_op *op)
{
	struct wm_policy_op *o = (struct wm_policy_op *)op;
	uint64_t index = wm_op_root(op)->seen;
	struct wm_policy *old = wm_map_del(r->policies, op->id, strlen(op->id)), *in = o->in;
	const struct wm_change c = {.kind = WM_CHANGE_POLICY,
				    .index = index,
				    .service = wm_map_get(r->services, op->id, strlen(op->id)),
				    .policy = in,
				    .policy_old = old};

	o->in = NULL;
	/* room was reserved, or is the old one's; stopping is safe, see edit.c */
	if (in && wm_map_put(r->policies, in->service, strlen(in->service), in, NULL))
		abort();
	remember(r, o, index);
	wm_labels_apply(r, old, in);
	if (!o->quiet && (in || old)) {
		r->policies_index = index;
		wm_registry_announce(r, &c);
	}
	wm_policy_free(old);
}

static void apply_policy(struct wm_registry *r, struct wm_op *op)
{
	wm_labels_made(op);
	apply_one(r, op);
}

static void discard_policy(struct wm_op *op)
{
	struct wm_policy_op *o = (struct wm_policy_op *)op;

	wm_policy_free(o->in);
	free(o->tomb);
}

const struct wm_op_kind wm_op_policy = {.judge = judge_policy,
					.prepare = prepare_policy,
					.apply = apply_policy,
					.discard = discard_policy};

/* --- what clients ask for -----------------------------------------------------------------------
 */
struct wm_policy_op *wm_policy_op_new(const char *service, bool drops, struct wm_policy *in)
{
	struct wm_policy_op *o = wm_op_new(&wm_op_policy, sizeof(*o), service);

	if (!o) {
		wm_policy_free(in);
		return NULL;
	}
	o->in = in;
	o->drops = drops;
	return o;
}

static int submit(struct wm_registry *r, struct wm_policy_op *o, const uint64_t *cas,
		  wm_registry_done done, void *arg, struct wm_err *e)
{
	if (!o)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	o->op.when = cas ? WM_WHEN_INDEX : WM_WHEN_ANY;
	o->op.when_index = cas ? *cas : 0;
	o->op.done = done;
	o->op.arg = arg;
	return wm_op_submit(r, &o->op, e);
}

int wm_registry_policy_put(struct wm_registry *r, const struct wm_policy *p, const uint64_t *cas,
			   wm_registry_done done, void *arg, struct wm_err *e)
{
	int err = wm_policy_validate(p, e);
	struct wm_policy *in = err ? NULL : wm_policy_copy(p);

	if (err)
		return err;
	return submit(r, in ? wm_policy_op_new(in->service, false, in) : NULL, cas, done, arg, e);
}

int wm_registry_policy_delete(struct wm_registry *r, const char *service, const uint64_t *cas,
			      wm_registry_done done, void *arg, struct wm_err *e)
{
	char name[WM_SERVICE_NAME_MAX + 1];

	if (!wm_policy_key_valid(service) || !fold(name, service))
		return wm_err_set(e, WM_E_UNKNOWN, "Service \"%.64s\" has no policy", service);
	return submit(r, wm_policy_op_new(name, true, NULL), cas, done, arg, e);
}

/* --- some in one write --------------------------------------------------------------------------
 */
bool wm_policies_add(struct wm_policies_op *op, const char *service, const struct wm_policy *p)
{
	struct wm_policy *in = p ? wm_policy_copy(p) : NULL;
	struct wm_policy_op **parts =
		realloc(op->parts, (op->count + 1) * sizeof(struct wm_policy_op *));
	struct wm_policy_op *o;

	if (parts)
		op->parts = parts;
	if (!parts || (p && !in)) {
		wm_policy_free(in);
		return false;
	}
	o = wm_policy_op_new(service, !p, in);
	if (!o)
		return false;
	o->op.group = &op->op;
	o->op.lenient = true; /* others write meanwhile */
	op->parts[op->count++] = o;
	return true;
}

static bool judge_policies(struct wm_plan *p, struct wm_op *op)
{
	(void)p;
	(void)op;
	return true;
}

static void prepare_policies(struct wm_plan *p, struct wm_op *op)
{
	struct wm_policies_op *all = (struct wm_policies_op *)op;

	for (unsigned n = 0; n < all->count && !op->code; n++) {
		struct wm_op *o = &all->parts[n]->op;

		if (judge_policy(p, o))
			prepare_policy(p, o);
		if (o->code)
			wm_op_refuse(op, o->code, "%s", o->text ? o->text : "");
	}
}

static void apply_policies(struct wm_registry *r, struct wm_op *op)
{
	struct wm_policies_op *all = (struct wm_policies_op *)op;

	wm_labels_made(op);
	for (unsigned n = 0; n < all->count; n++) {
		if (all->parts[n]->op.stores)
			apply_one(r, &all->parts[n]->op);
	}
}

static void discard_policies(struct wm_op *op)
{
	struct wm_policies_op *all = (struct wm_policies_op *)op;

	for (unsigned n = 0; n < all->count; n++)
		wm_op_free(&all->parts[n]->op);
	free(all->parts);
}

const struct wm_op_kind wm_op_policies = {.judge = judge_policies,
					  .prepare = prepare_policies,
					  .apply = apply_policies,
					  .discard = discard_policies};
