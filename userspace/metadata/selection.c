/* SPDX-License-Identifier: Apache-2.0 */
/* selection.c - see selection.h. */
#include "selection.h"

#include "mesh.h"
#include "subset.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define NEAREST_TIERS 3 /* zone, region, rest */
#define NEAREST_BANDS 4 /* where round trips tell: those up to 2, 10, 50 ms, rest */

unsigned wm_selection_weight(const struct wm_instance *i)
{
	return i->status == WM_WARNING ? i->weight_warning : i->weight_passing;
}

const char *wm_node_place(const struct wm_node *n, const char *key)
{
	const char *said = strcmp(key, "zone") == 0 ? n->zone : n->region;

	for (unsigned k = 0; !*said && k < n->meta_count; k++) {
		if (strcmp(n->meta[k].key, key) == 0)
			return n->meta[k].value;
	}
	return said;
}

const char *wm_selection_place(const struct wm_instance *i, const char *key)
{
	const char *said = wm_mesh_value(i, key);

	return *said ? said : wm_node_place(i->node, key);
}

/* --- one tier -----------------------------------------------------------------------------------
 */
struct maker {
	const struct wm_registry *r;
	struct wm_selection *c;
	unsigned last; /* place behind the last tier that this target may have */
	unsigned target;
	int err;
};

/* Who is asked for. */
struct pool {
	const char *what, *service, *subset, *region;
	const char *near_region, *near_zone; /* "": none of those before */
	bool measured;			     /* who has no place is as near as round trips say */
	bool *told;			     /* set where that was asked */
	unsigned tier, last; /* of the nearest: who is of this one; the last is the rest */
	bool (*fits)(const struct pool *p, const struct wm_instance *i);
};

static bool fits_any(const struct pool *p, const struct wm_instance *i)
{
	return !*p->region || strcasecmp(wm_selection_place(i, "region"), p->region) == 0;
}

static bool is_placed(const struct pool *p)
{
	return *p->near_region || *p->near_zone;
}

/* The tier of who says neither region nor zone, or where we do not. */
static unsigned by_round_trip(const struct pool *p, const struct wm_node *n)
{
	unsigned far;

	*p->told = true;
	far = n->self ? 0 : n->band == WM_BAND_NONE ? p->last : n->band - (unsigned)WM_BAND_SITE;

	return far < p->last ? far : p->last;
}

/* The tier: of the zone, of the region, or of the rest. */
static unsigned tier_of(const struct pool *p, const struct wm_instance *i)
{
	const char *region = wm_selection_place(i, "region"), *zone = wm_selection_place(i, "zone");
	bool here = strcasecmp(region, p->near_region) == 0;

	if (p->measured && (!is_placed(p) || (!*region && !*zone)))
		return by_round_trip(p, i->node);
	if (*p->near_zone && strcasecmp(zone, p->near_zone) == 0 &&
	    (here || !*p->near_region || !*region))
		return 0;
	return *p->near_region && here ? 1 : p->last;
}

static bool fits_tier(const struct pool *p, const struct wm_instance *i)
{
	return tier_of(p, i) == p->tier;
}

static int by_id(const void *a, const void *b)
{
	const struct wm_instance *x = *(const struct wm_instance *const *)a,
				 *y = *(const struct wm_instance *const *)b;
	int c = strcmp(x->node->folded, y->node->folded);

	return c ? c : strcmp(x->id, y->id);
}

/* The subset that a pool names, or that its service's policy has for it. */
static const char *subset_of(const struct wm_policy *p, const struct pool *pool)
{
	return *pool->subset ? pool->subset : p ? p->default_subset : "";
}

static void note(struct wm_selection *c, const char *text)
{
	if (!*c->why)
		snprintf(c->why, sizeof(c->why), "%.255s", text);
}

/* Fill a tier; @p s NULL: the service has no policy, and so no subsets. */
static int fill(struct maker *m, struct wm_selection_tier *t, const struct pool *p,
		struct wm_subsets *s)
{
	const struct wm_service *of = wm_registry_service(m->r, p->service);

	t->members = calloc(of ? of->instances_count + 1 : 1, sizeof(struct wm_instance *));
	if (!t->members)
		return -ENOMEM;
	if (s)
		wm_subsets_begin(s);
	for (unsigned n = 0; of && n < of->instances_count; n++) {
		const struct wm_instance *i = of->instances[n];

		if (!p->fits(p, i) ||
		    (s ? !wm_subsets_has_named(s, t->subset, i) : *t->subset != '\0'))
			continue;
		t->members[t->count++] = i;
		t->all += wm_selection_weight(i);
		t->up += wm_selection_takes(m->c, i) ? wm_selection_weight(i) : 0;
	}
	qsort(t->members, t->count, sizeof(struct wm_instance *), by_id);
	if (s && wm_subsets_spent(s))
		note(m->c, "a subset's filter took too long: who it did not reach is in none");
	return 0;
}

/* Add a tier. One without instances is none, but where @p always. */
static void add(struct maker *m, const struct pool *p, bool always)
{
	const struct wm_policy *policy = wm_registry_policy(m->r, p->service);
	struct wm_selection_tier t = {.what = p->what,
				      .service = p->service,
				      .subset = subset_of(policy, p),
				      .region = p->region,
				      .target = m->target};
	struct wm_subsets *s = NULL;
	struct wm_err e = {0};

	if (m->err)
		return;
	if (policy && wm_subsets_one(policy, wm_registry_datacenter(m->r), t.subset, &s, &e)) {
		note(m->c, e.text);
		m->err = e.code == -ENOMEM ? -ENOMEM : 0;
	}
	if (!m->err)
		m->err = fill(m, &t, p, s);
	wm_subsets_free(s);
	if (m->err || (!t.count && !always) || m->c->count >= m->last) {
		m->c->left_out += t.count && m->c->count >= m->last;
		free(t.members);
		return;
	}
	m->c->tiers[m->c->count++] = t;
}

/* --- one target ---------------------------------------------------------------------------------
 */
static const char *tier_name(const struct pool *p)
{
	if (p->tier == p->last)
		return "rest";
	if (is_placed(p) && p->tier < NEAREST_TIERS - 1)
		return p->tier ? "region" : "zone";
	return wm_band_str((enum wm_band)(WM_BAND_SITE + p->tier));
}

/* How it was told who is near, where it was not by region and zone alone. */
static const char *nearness(const struct pool *p)
{
	if (!is_placed(p))
		return p->measured ? "who is near is told by round trips, as neither region nor "
				     "zone of this node is known"
				   : "all are as near: neither region nor zone of this node is "
				     "known, nor a round trip to another";
	return *p->told ? "who is near is told by region and zone, of who says neither by round "
			  "trips"
			: "";
}

/* @param room tiers that may be added. */
static void add_nearest(struct maker *m, struct pool p, const struct wm_policy *policy,
			unsigned room)
{
	const struct wm_node *self = wm_registry_node(m->r);
	unsigned before = m->c->count;
	bool elsewhere = *policy->nearest.region || *policy->nearest.zone, told = false;

	p.near_region =
		*policy->nearest.region ? policy->nearest.region : wm_node_place(self, "region");
	p.near_zone = *policy->nearest.zone	? policy->nearest.zone
		      : *policy->nearest.region ? "" /* of another region than ours */
						: wm_node_place(self, "zone");
	p.measured = !elsewhere && wm_registry_has_bands(m->r);
	p.last = (p.measured && room >= NEAREST_BANDS ? NEAREST_BANDS : NEAREST_TIERS) - 1;
	p.told = &told;
	p.fits = fits_tier;
	for (p.tier = 0; p.tier <= p.last; p.tier++) {
		p.what = tier_name(&p);
		add(m, &p, p.tier == p.last && m->c->count == before);
	}
	if (!*m->c->nearness)
		m->c->nearness = nearness(&p);
}

static bool is_of(const struct wm_policy_target *t, const char *subset)
{
	return !*t->of || strcmp(t->of, "*") == 0 || strcasecmp(t->of, subset) == 0;
}

/* What is asked for: of a split, of failover, or of who dials. */
struct place {
	const char *service, *subset, *region;
};

/* Where those who come for @p at are sent by redirects. @p hops: whose they are. @return false: in
 * a circle. */
static bool redirected(const struct wm_registry *r, struct place *at,
		       const char *hops[WM_SELECTION_HOPS_MAX], unsigned *count)
{
	const struct wm_policy *p;

	while ((p = wm_registry_policy(r, at->service)) && wm_policy_redirects(p)) {
		const struct wm_policy_target *t = &p->redirect;

		if (*count == WM_SELECTION_HOPS_MAX)
			return false;
		hops[(*count)++] = at->service;
		if (*t->region)
			at->region = t->region;
		if (*t->subset)
			at->subset = t->subset;
		if (!*t->service || strcasecmp(t->service, at->service) == 0)
			return true; /* its own instances, of a region */
		at->service = t->service;
	}
	return true;
}

/* Of a target, whose hops nobody is told of. */
static bool redirected_target(struct maker *m, struct place *at)
{
	const char *hops[WM_SELECTION_HOPS_MAX];
	unsigned count = 0;

	if (redirected(m->r, at, hops, &count))
		return true;
	note(m->c, "redirects of a target lead in a circle, or over more than 8 services");
	return false;
}

static struct wm_tiers_way way_of(const struct wm_policy *p)
{
	return (struct wm_tiers_way){
		.failover = p && p->select == WM_SELECT_FAILOVER,
		.threshold_pct = p ? (uint16_t)p->nearest.threshold : 0,
		.carries_pct = p ? (uint16_t)p->nearest.overprovisioning : WM_TIERS_CARRY_PCT,
	};
}

static void add_failover(struct maker *m, const char *service, const struct wm_policy_target *t)
{
	struct place at = {*t->service ? t->service : service, t->subset, t->region};

	if (redirected_target(m, &at))
		add(m,
		    &(struct pool){.what = "failover",
				   .service = at.service,
				   .subset = at.subset,
				   .region = at.region,
				   .fits = fits_any},
		    false);
}

/* Whose policy: the service's own, also where a split leads to it. */
static void add_target(struct maker *m, struct place at)
{
	const struct wm_policy *policy;
	unsigned room = m->last - m->c->count;
	struct pool p = {.what = "all", .fits = fits_any};

	if (!redirected_target(m, &at))
		return;
	policy = wm_registry_policy(m->r, at.service);
	p.service = at.service;
	p.subset = at.subset;
	p.region = at.region;
	m->c->way[m->target] = way_of(policy);
	/* nearness is given up before anybody is */
	if (policy && policy->select == WM_SELECT_NEAREST && !*p.region && room >= NEAREST_TIERS)
		add_nearest(m, p, policy,
			    policy->failover_count < room ? room - policy->failover_count : 0);
	else
		add(m, &p, true);
	for (uint32_t n = 0; policy && n < policy->failover_count; n++) {
		const struct wm_policy_target *t = &policy->failover[n];

		if (is_of(t, subset_of(policy, &p)))
			add_failover(m, at.service, t);
	}
}

/* --- all of it ----------------------------------------------------------------------------------
 */
/* Follow redirects; @p region: of the last. */
static void follow(const struct wm_registry *r, struct wm_selection *c, const char **region)
{
	struct place at = {c->service, c->subset, ""};

	c->loops = !redirected(r, &at, c->hops, &c->hops_count);
	c->service = at.service;
	c->subset = at.subset;
	c->policy = wm_registry_policy(r, c->service);
	*region = at.region;
}

/* A target of a split, while those that split further are replaced by their own. */
struct leg {
	struct place at;
	uint32_t percent;
	const char *from[WM_SELECTION_HOPS_MAX]; /* whose splits led here; the last one's it is */
	unsigned depth;
};
struct legs {
	struct leg leg[WM_POLICY_SPLITS_MAX];
	unsigned count;
};

/* Was it split by @p service before? */
static bool came_from(const struct leg *l, const char *service)
{
	for (unsigned n = 0; n < l->depth; n++)
		if (strcasecmp(l->from[n], service) == 0)
			return true;
	return false;
}

/* The policy by whose split a target is shared further: that of another service, of which no subset
 * is asked for. NULL: none. */
static const struct wm_policy *splits_on(struct maker *m, struct leg *l)
{
	const struct wm_policy *p;
	struct place at = l->at;
	const char *hops[WM_SELECTION_HOPS_MAX];
	unsigned count = 0;

	if (!redirected(m->r, &at, hops, &count) || *at.subset)
		return NULL;
	p = wm_registry_policy(m->r, at.service);
	if (!p || !p->splits_count || strcasecmp(p->service, l->from[l->depth - 1]) == 0)
		return NULL;
	l->at.region = at.region;
	if (l->depth < WM_SELECTION_HOPS_MAX && !came_from(l, p->service))
		return p;
	note(m->c, "splits of targets lead in a circle, or over more than 8 services: that target "
		   "is taken whole");
	return NULL;
}

/* Replace target @p n by those of @p p, which share its part. */
static void split_on(struct legs *l, unsigned n, const struct wm_policy *p)
{
	const struct leg whole = l->leg[n];
	uint32_t sum = 0, before = 0;

	memmove(&l->leg[n + p->splits_count], &l->leg[n + 1],
		(l->count - n - 1) * sizeof(l->leg[0]));
	l->count += p->splits_count - 1;
	for (uint32_t k = 0; k < p->splits_count; k++) {
		const struct wm_policy_split *s = &p->splits[k];
		struct leg *to = &l->leg[n + k];
		uint32_t until;

		*to = whole;
		to->from[to->depth++] = p->service;
		to->at.service = *s->service ? s->service : p->service;
		to->at.subset = s->subset;
		sum += s->percent;
		until = (sum * whole.percent + WM_POLICY_WHOLE / 2) / WM_POLICY_WHOLE;
		to->percent = until - before; /* so that they add up to the part */
		before = until;
	}
}

/* The targets of a policy with a split. @p region: that is asked for. */
static void lay_legs(struct maker *m, const struct wm_policy *p, const char *region,
		     struct legs *ret)
{
	*ret = (struct legs){.count = 1};
	ret->leg[0] = (struct leg){.at = {p->service, "", region}, .percent = WM_POLICY_WHOLE};
	split_on(ret, 0, p);
	for (unsigned n = 0; n < ret->count;) {
		const struct wm_policy *on = splits_on(m, &ret->leg[n]);

		if (on && ret->count + on->splits_count - 1 <= WM_POLICY_SPLITS_MAX) {
			split_on(ret, n, on);
			continue;
		}
		if (on)
			note(m->c,
			     "with the splits of its targets it has more than 8: one is taken "
			     "whole");
		n++;
	}
}

int wm_selection_make(const struct wm_registry *r, const char *service, const char *subset,
		      bool only_passing, struct wm_selection *ret)
{
	struct maker m = {.r = r, .c = ret, .last = WM_SELECTION_TIERS_MAX};
	const struct wm_policy *p;
	const char *region = "";
	struct legs legs = {.count = 1};

	*ret = (struct wm_selection){
		.service = service, .subset = subset, .only_passing = only_passing, .nearness = ""};
	follow(r, ret, &region);
	/* behind redirects the last decides; without a policy, who sent there */
	p = ret->policy ? ret->policy : wm_registry_policy(r, service);
	ret->when_none =
		wm_selection_none(p, wm_registry_specs(r) ? wm_registry_spec(r, service) : NULL);
	if (ret->loops)
		return 0;
	p = ret->policy;
	if (p && p->splits_count && !*ret->subset)
		lay_legs(&m, p, region, &legs);
	else
		legs.leg[0] = (struct leg){.at = {ret->service, ret->subset, region},
					   .percent = WM_POLICY_WHOLE};
	ret->targets = legs.count;
	for (unsigned n = 0; n < legs.count; n++) {
		m.target = n;
		m.last = ret->count + (WM_SELECTION_TIERS_MAX - ret->count) / (legs.count - n);
		ret->percent[n] = legs.leg[n].percent;
		add_target(&m, legs.leg[n].at);
	}
	if (m.err)
		wm_selection_done(ret);
	return m.err;
}

void wm_selection_done(struct wm_selection *c)
{
	for (unsigned n = 0; n < c->count; n++)
		free(c->tiers[n].members);
	c->count = 0;
}

/* --- shares -------------------------------------------------------------------------------------
 */
void wm_selection_rule(const struct wm_selection *c, struct wm_tiers_rule *ret)
{
	*ret = (struct wm_tiers_rule){0};
	for (unsigned n = 0; n < WM_TIERS_MAX; n++)
		ret->way[n] = n < c->targets ? c->way[n] : way_of(NULL);
	for (unsigned n = 0; c->targets > 1 && n < c->targets; n++)
		ret->percent[n] = (uint16_t)c->percent[n];
}

void wm_selection_shares(const struct wm_selection *c, double share[WM_SELECTION_TIERS_MAX])
{
	struct wm_tier tiers[WM_TIERS_MAX] = {{0}};
	uint16_t cut[WM_TIERS_MAX], before = 0;
	struct wm_tiers_rule rule;

	for (unsigned n = 0; n < c->count; n++)
		tiers[n] = (struct wm_tier){c->tiers[n].up, c->tiers[n].all,
					    (uint16_t)c->tiers[n].target};
	wm_selection_rule(c, &rule);
	wm_tiers_cut(tiers, c->count, &rule, cut);
	for (unsigned n = 0; n < WM_SELECTION_TIERS_MAX; n++) {
		share[n] = n < c->count ? (cut[n] - before) / (double)UINT16_MAX : 0;
		before = cut[n];
	}
}
