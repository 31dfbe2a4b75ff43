/* SPDX-License-Identifier: Apache-2.0 */
/* source_put.c - what a source says is there, by difference: what is as it is wanted, as it is on
 * its way, or as the registry has it costs a look-up; see source.h. */
#include "source_internal.h"
#include "userspace/base/log.h"
#include "userspace/model/scope.h"
#include "userspace/model/spec.h"
#include "userspace/model/validate.h"
#include "userspace/registry/registry.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define CHECK_ID   "service:" /* Consul's word for a check that came with an instance */
#define CHECK_NAME "Service status"
#define CHECK_TEXT "As its source says"

/* The text of a refusal is shown with the state, of the last one. */
static int refuse(struct wm_source *s, enum wm_source_counter c, const struct wm_err *e)
{
	s->counters[c]++;
	wm_warn("source.refused", "source=%s text=%s", s->name, wm_log_q(e->text));
	return e->code;
}

static int no_memory(struct wm_source *s)
{
	s->counters[WM_SOURCE_COUNT_failed]++;
	wm_warn("source.memory",
		"source=%s text=\"out of memory: it is told again with the next "
		"list\"",
		s->name);
	return -ENOMEM;
}

/* --- nodes ------------------------------------------------------------------------------------ */
/* As a write in the registry would leave it. */
static const struct wm_node *node_here(const struct wm_source *s, const struct wm_source_node *n)
{
	const struct wm_source_item *i = n->self;
	const struct wm_node *at;

	if (i->want || i->flying)
		return wm_source_as_node(i, i->want ? i->want : i->flying);
	if (i->flies)
		return NULL;
	at = wm_registry_node_named(s->all->c.registry, n->name);
	return at && wm_instance_foreign(at->holder) && at->holder->version.seq &&
			       wm_peer_id_same(&at->holder->version.writer, &n->id)
		       ? at
		       : NULL;
}

/* It is there, whatever was said before. */
static void revive(struct wm_source *s, struct wm_source_node *n)
{
	n->gone = false;
	if (!n->self->gone || n->self->flies)
		return;
	n->self->gone = false;
	wm_source_unqueue(s, n->self);
}

static struct wm_source_node *node_of(struct wm_source *s, const char *node)
{
	char name[WM_NODE_NAME_MAX + 1];
	struct wm_source_node *n;

	wm_source_node_name(s, node, name);
	n = wm_source_find_node(s, name);
	return n ? n : wm_source_add_node(s, name);
}

static int judge_node(const struct wm_source *s, const char *node, struct wm_err *e)
{
	if (s->alien)
		return WM_E_CONFLICT;
	if (!node || !*node || strnlen(node, WM_SOURCE_NODE_MAX + 1) > WM_SOURCE_NODE_MAX)
		return wm_err_set(e, WM_E_INVALID, "a node's name has 1 to %d octets",
				  WM_SOURCE_NODE_MAX);
	return 0;
}

int wm_source_node(struct wm_source *s, const char *node, const struct wm_node_draft *facts)
{
	struct wm_node_draft d = *facts;
	char id[WM_PEER_ID_TEXT];
	struct wm_source_node *n;
	const struct wm_node *here;
	struct wm_node *want;
	struct wm_err e = {0};
	int err = judge_node(s, node, &e);

	s->counters[WM_SOURCE_COUNT_events]++;
	d.id = NULL;
	if (!err)
		err = wm_node_draft_validate(&d, &e);
	if (err == WM_E_CONFLICT)
		return err;
	if (err)
		return refuse(s, WM_SOURCE_COUNT_refused, &e);
	n = node_of(s, node);
	if (!n)
		return no_memory(s);
	wm_peer_id_format(&n->id, id);
	d.id = id;
	want = wm_node_new(n->name, &d);
	if (!want)
		return no_memory(s);
	revive(s, n);
	n->self->seen = s->list;
	n->self->told = true;
	here = node_here(s, n);
	if (here && wm_node_same(here, want)) {
		s->counters[WM_SOURCE_COUNT_unchanged]++;
		wm_node_free(want);
		return 0;
	}
	wm_source_forget_want(n->self);
	n->self->gone = false;
	n->self->want = want->holder;
	wm_source_queue(s, n->self);
	return 0;
}

static void leave(struct wm_source *s, struct wm_source_item *i)
{
	if (i->gone || i->held)
		return;
	if (!i->usable || wm_source_may_go(s, &s->instance_brake, 1, s->usable, false))
		wm_source_remove(s, i);
	else
		wm_source_hold(s, i);
}

/* What is on it goes one by one, and it with the last. */
static void leave_node(struct wm_source *s, struct wm_source_node *n)
{
	struct wm_source_item *i, *next;
	bool empty = LIST_EMPTY(&n->items);

	n->gone = true;
	if (empty)
		wm_source_remove(s, n->self);
	for (i = empty ? NULL : LIST_FIRST(&n->items); i; i = next) {
		next = LIST_NEXT(i, node_entry);
		leave(s, i); /* with the last its node may be gone */
	}
}

/* The node that something goes from. */
static int node_told(struct wm_source *s, const char *node, struct wm_source_node **ret)
{
	char name[WM_NODE_NAME_MAX + 1];
	struct wm_err e = {0};
	int err = judge_node(s, node, &e);

	s->counters[WM_SOURCE_COUNT_events]++;
	if (err)
		return err;
	wm_source_node_name(s, node, name);
	*ret = wm_source_find_node(s, name);
	return *ret ? 0 : WM_E_UNKNOWN;
}

int wm_source_node_gone(struct wm_source *s, const char *node)
{
	struct wm_source_node *n;
	int err = node_told(s, node, &n);

	if (!err)
		leave_node(s, n);
	return err;
}

/* --- instances -------------------------------------------------------------------------------- */
static bool same_checks(const struct wm_instance *a, const struct wm_instance *b)
{
	if (a->checks_count != b->checks_count)
		return false;
	for (unsigned n = 0; n < a->checks_count; n++) {
		const struct wm_check *c = a->checks[n], *d = NULL;

		for (unsigned k = 0; k < b->checks_count && !d; k++)
			d = strcmp(c->id, b->checks[k]->id) == 0 ? b->checks[k] : NULL;
		if (!d || c->status != d->status || strcmp(c->output, d->output) != 0 ||
		    !wm_check_same(c, d))
			return false;
	}
	return true;
}

static const struct wm_instance *instance_here(const struct wm_source *s,
					       const struct wm_source_item *i)
{
	const struct wm_node *at;
	const struct wm_instance *here;

	if (i->want || i->flying)
		return i->want ? i->want : i->flying;
	if (i->flies) /* it goes */
		return NULL;
	at = wm_registry_node_named(s->all->c.registry, i->node->name);
	here = at ? wm_node_instance(at, i->id) : NULL;
	return here && wm_instance_foreign(here) &&
			       wm_peer_id_same(&here->version.writer, &i->node->id)
		       ? here
		       : NULL;
}

/* Of a draft that passed validation. */
static struct wm_instance *build(const struct wm_instance_draft *d, enum wm_status status,
				 enum wm_lifecycle life)
{
	struct wm_instance_draft with = *d;
	struct wm_check_draft c = {.kind = WM_CHECK_STATED,
				   .name = CHECK_NAME,
				   .output = CHECK_TEXT,
				   .has_status = true,
				   .status = status};
	struct wm_instance *in;
	char id[WM_CHECK_ID_MAX + 1];

	with.lifecycle = life;
	with.sidecar = NULL;
	if (!d->checks_count && status != WM_PASSING) {
		snprintf(id, sizeof(id), CHECK_ID "%s", d->id ? d->id : d->name);
		c.id = id;
		with.checks = &c;
		with.checks_count = 1;
	}
	in = wm_instance_build(&with);
	if (in)
		in->version.origin = WM_ORIGIN_FOREIGN;
	return in;
}

static int judge(const struct wm_source *s, const struct wm_instance_draft *d, struct wm_err *e)
{
	struct wm_instance_draft bare = *d;
	int err = 0;

	if (s->alien)
		return WM_E_CONFLICT;
	if (!d->id || !*d->id)
		return wm_err_set(e, WM_E_INVALID, "an instance has no id");
	bare.checks_count = 0;
	err = wm_draft_validate(&bare, e);
	if (!err && d->checks_count > WM_CHECKS_PER_INSTANCE)
		err = wm_err_set(e, WM_E_LIMIT, "too many checks of one instance");
	for (unsigned n = 0; n < d->checks_count && !err; n++) {
		err = wm_check_draft_validate(&d->checks[n], e);
		if (!err && d->checks[n].kind != WM_CHECK_STATED)
			err = wm_err_set(e, WM_E_INVALID, "a check of a source is to be run");
	}
	return err;
}

static int over_quota(struct wm_source *s, const struct wm_instance_draft *d)
{
	struct wm_err e = {0};
	unsigned services = (unsigned)wm_map_len(s->services);

	if (s->c.instances_max && s->instances >= s->c.instances_max)
		wm_err_set(&e, WM_E_CAPACITY,
			   "Instance \"%.64s\" of \"%.64s\": the source has %u instances, its "
			   "quota (source.%s_instances_max)",
			   d->id, d->name, s->instances, s->name);
	else if (s->c.services_max && services >= s->c.services_max &&
		 !wm_source_service_of(s, d->name, false))
		wm_err_set(&e, WM_E_CAPACITY,
			   "Service \"%.64s\": the source has %u services, its quota "
			   "(source.%s_services_max)",
			   d->name, services, s->name);
	return e.code ? refuse(s, WM_SOURCE_COUNT_over_quota, &e) : 0;
}

/* It is, or is not any more, one that takes new connections. */
static void set_usable(struct wm_source *s, struct wm_source_item *i, bool usable)
{
	if (!i->gone) /* what goes was taken off already */
		s->usable -= i->usable;
	i->gone = false;
	i->usable = usable;
	s->usable += usable;
	if (!usable || i->came)
		return;
	i->came = true;
	wm_source_came(s, &s->instance_brake);
}

/* @p want is taken over. */
static int want_instance(struct wm_source *s, struct wm_source_item *i, struct wm_instance *want)
{
	const struct wm_instance *here = instance_here(s, i);
	bool same = here && wm_instance_same(want, here) && same_checks(want, here);
	bool usable = want->lifecycle == WM_LIFE_RUNNING && wm_instance_worst(want) != WM_CRITICAL;

	wm_source_unhold(s, i);
	i->seen = i->node->self->seen = s->list;
	set_usable(s, i, usable);
	wm_source_ease(s);
	if (same) {
		s->counters[WM_SOURCE_COUNT_unchanged]++;
		if (!i->want)
			wm_source_unqueue(s, i); /* it was to go */
		wm_instance_free(want, true);
		return 0;
	}
	wm_source_forget_want(i);
	i->want = want;
	wm_source_queue(s, i);
	return 0;
}

int wm_source_put(struct wm_source *s, const char *node, const struct wm_instance_draft *d,
		  enum wm_status status, enum wm_lifecycle life)
{
	struct wm_source_node *n;
	struct wm_source_item *i;
	struct wm_instance *want;
	struct wm_err e = {0};
	int err = judge_node(s, node, &e);

	s->counters[WM_SOURCE_COUNT_events]++;
	if (!err)
		err = judge(s, d, &e);
	if (err == WM_E_CONFLICT)
		return err;
	if (err)
		return refuse(s, WM_SOURCE_COUNT_refused, &e);
	n = node_of(s, node);
	i = n ? wm_source_find(s, n, d->id) : NULL;
	if (n && !i) {
		err = over_quota(s, d);
		if (!err)
			i = wm_source_add(s, n, d->id, d->name);
	}
	want = i ? build(d, status, life) : NULL;
	if (i && want && strcasecmp(i->service->name, d->name) != 0 &&
	    wm_source_move(s, i, d->name)) {
		wm_instance_free(want, true);
		want = NULL;
	}
	if (!want) {
		if (n && LIST_EMPTY(&n->items) && !n->self->told && !n->self->stored)
			wm_source_drop(s, n->self);
		return err ? err : no_memory(s);
	}
	revive(s, n);
	return want_instance(s, i, want);
}

void wm_source_remove(struct wm_source *s, struct wm_source_item *i)
{
	if (i->gone)
		return;
	wm_source_unhold(s, i);
	wm_source_forget_want(i);
	s->usable -= i->usable;
	i->gone = true;
	if (!i->stored && !i->flies) {
		wm_source_drop(s, i);
		return;
	}
	wm_source_queue(s, i);
}

int wm_source_gone(struct wm_source *s, const char *node, const char *id)
{
	struct wm_source_node *n;
	struct wm_source_item *i;
	int err = node_told(s, node, &n);

	if (err)
		return err;
	i = *id ? wm_source_find(s, n, id) : NULL;
	if (!i || i->gone)
		return WM_E_UNKNOWN;
	leave(s, i);
	return 0;
}

/* --- specs ------------------------------------------------------------------------------------ */
static int over_services(struct wm_source *s, const char *service)
{
	unsigned services = (unsigned)wm_map_len(s->services);
	struct wm_err e = {0};

	if (!s->c.services_max || services < s->c.services_max)
		return 0;
	wm_err_set(&e, WM_E_CAPACITY,
		   "Service \"%.64s\": the source has %u services, its quota "
		   "(source.%s_services_max)",
		   service, services, s->name);
	return refuse(s, WM_SOURCE_COUNT_over_quota, &e);
}

/* Who serves a new service until now (kube-proxy) goes on until its instances are here, which are
 * stored later than a spec is known: without them it would be refused meanwhile. So does who serves
 * one that was passed, or had not been taken over when an earlier run ended. */
static bool waits(const struct wm_source *s, const struct wm_service_spec *spec)
{
	const struct wm_service_spec *at = wm_registry_spec(s->all->c.registry, spec->service);

	return !s->settled && !spec->passed && (!at || at->passed);
}

static void take_over(struct wm_source *s, struct wm_source_service *v)
{
	const struct wm_service_spec *at = wm_registry_spec(s->all->c.registry, v->name);
	struct wm_service_spec said;
	struct wm_err e = {0};

	if (!v->waits || !at)
		return;
	v->waits = false;
	said = *at;
	said.passed = false;
	if (wm_registry_spec_put(s->all->c.registry, &said, &e) < 0)
		(void)refuse(s, WM_SOURCE_COUNT_failed, &e);
}

static void mark_behind(struct wm_source *s)
{
	const struct wm_source_item *i;
	size_t pos = 0;

	while ((i = wm_map_next(s->items, &pos)))
		if (i->service && !i->stored && !i->gone && (i->queued || i->flies))
			i->service->behind = true;
}

void wm_source_settle(struct wm_source *s)
{
	bool all = !s->queued && !s->flights;
	uint64_t now = wm_env_ms(s->all->c.env);
	struct wm_source_service *v;
	unsigned left = 0;
	size_t pos = 0;

	if (s->settled || !s->synced_ms || (!all && now < s->settle_ms))
		return;
	if (!all)
		mark_behind(s);
	while ((v = wm_map_next(s->services, &pos))) {
		if (!v->behind)
			take_over(s, v);
		v->behind = false;
		left += v->waits;
	}
	if (!all && left)
		wm_warn("source.waiting",
			"source=%s services=%u text=\"not taken over: the store has not all of "
			"their instances\"",
			s->name, left);
	s->settled = all;
	s->late = !all && left;
	s->settle_ms = now + WM_SOURCE_PATIENCE_MS;
	wm_source_keep_soon(s);
}

int wm_source_spec(struct wm_source *s, const struct wm_service_spec *spec)
{
	struct wm_service_spec said = *spec;
	struct wm_source_service *v = wm_source_service_of(s, spec->service, false);
	bool later = waits(s, spec);
	struct wm_err e = {0};
	int err = s->alien ? WM_E_CONFLICT : 0;

	s->counters[WM_SOURCE_COUNT_events]++;
	if (err)
		return err;
	if (!v)
		err = over_services(s, spec->service);
	if (err)
		return err;
	said.source = s->name;
	said.passed |= later;
	err = wm_registry_spec_put(s->all->c.registry, &said, &e);
	if (err < 0)
		return refuse(s,
			      err == WM_E_CAPACITY ? WM_SOURCE_COUNT_over_quota
						   : WM_SOURCE_COUNT_refused,
			      &e);
	v = v ? v : wm_source_service_of(s, spec->service, true);
	if (!v) {
		(void)wm_registry_spec_delete(s->all->c.registry, spec->service, s->name, &e);
		return no_memory(s);
	}
	s->counters[err ? WM_SOURCE_COUNT_written : WM_SOURCE_COUNT_unchanged]++;
	v->seen = s->list;
	v->waits = later;
	if (!v->spec) {
		s->specs++;
		wm_source_came(s, &s->spec_brake);
	}
	s->holding -= v->spec_held;
	v->spec = true;
	v->spec_held = false;
	wm_source_ease(s);
	if (err)
		wm_source_keep_soon(s);
	return 0;
}

void wm_source_spec_remove(struct wm_source *s, struct wm_source_service *v)
{
	struct wm_err e = {0};

	s->holding -= v->spec_held;
	v->spec = v->spec_held = v->waits = false;
	s->specs--;
	s->counters[WM_SOURCE_COUNT_removed]++;
	if (wm_registry_spec_delete(s->all->c.registry, v->name, s->name, &e) < 0)
		wm_warn("source.refused", "source=%s text=%s", s->name, wm_log_q(e.text));
	wm_source_keep_soon(s);
	wm_source_service_trim(s, v);
}

int wm_source_spec_gone(struct wm_source *s, const char *service)
{
	struct wm_source_service *v = wm_source_service_of(s, service, false);

	s->counters[WM_SOURCE_COUNT_events]++;
	if (s->alien)
		return WM_E_CONFLICT;
	if (!v || !v->spec)
		return WM_E_UNKNOWN;
	if (v->spec_held)
		return 0;
	if (wm_source_may_go(s, &s->spec_brake, 1, s->specs, false))
		wm_source_spec_remove(s, v);
	else
		wm_source_hold_spec(s, v);
	return 0;
}

/* --- mark and sweep --------------------------------------------------------------------------- */
void wm_source_list_begin(struct wm_source *s)
{
	s->counters[WM_SOURCE_COUNT_lists]++;
	s->list++;
	s->listing = true;
}

static bool unseen(const struct wm_source *s, const struct wm_source_item *i)
{
	return i->seen != s->list && !i->gone && !i->held;
}

static void sweep_instances(struct wm_source *s, bool freely)
{
	struct wm_source_item *i;
	unsigned usable = 0;
	size_t pos = 0;
	bool may;

	while ((i = wm_map_next(s->items, &pos)))
		usable += i->service && i->usable && unseen(s, i);
	may = freely || wm_source_may_go(s, &s->instance_brake, usable, s->usable, true);
	pos = 0;
	while ((i = wm_map_next(s->items, &pos))) {
		if (!i->service || !unseen(s, i))
			continue;
		if (may || !i->usable)
			wm_source_remove(s, i);
		else
			wm_source_hold(s, i);
	}
}

static void sweep_nodes(struct wm_source *s)
{
	struct wm_source_node *n;
	size_t pos = 0;

	while ((n = wm_map_next(s->nodes, &pos))) {
		if (n->self->seen == s->list || n->gone)
			continue;
		n->gone = true;
		if (LIST_EMPTY(&n->items))
			wm_source_remove(s, n->self);
	}
}

static void sweep_services(struct wm_source *s, bool freely)
{
	struct wm_source_service *v;
	struct wm_source_scope *x;
	unsigned count = 0;
	size_t pos = 0;
	bool may;

	while ((v = wm_map_next(s->services, &pos)))
		count += v->spec && !v->spec_held && v->seen != s->list;
	may = freely || wm_source_may_go(s, &s->spec_brake, count, s->specs, true);
	pos = 0;
	while ((v = wm_map_next(s->services, &pos))) {
		if (!v->spec || v->spec_held || v->seen == s->list)
			continue;
		if (may)
			wm_source_spec_remove(s, v);
		else
			wm_source_hold_spec(s, v);
	}
	pos = 0;
	while ((x = wm_map_next(s->scopes, &pos))) {
		if (x->said && x->seen != s->list)
			(void)wm_source_scope(s, x->name, false);
	}
}

void wm_source_list_end(struct wm_source *s)
{
	bool freely = s->taken;

	if (!s->listing || s->alien)
		return;
	s->listing = s->taken = false;
	sweep_instances(s, freely);
	sweep_services(s, freely);
	sweep_nodes(s);
	s->synced_ms = wm_env_wall_ms(s->all->c.env);
	s->listed_ms = wm_env_ms(s->all->c.env);
	if (!s->settle_ms)
		s->settle_ms = s->listed_ms + WM_SOURCE_PATIENCE_MS;
	wm_source_settle(s);
	wm_source_keep_soon(s);
}
