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

unsigned wm_selection_weight(const struct wm_instance *i)
{
	return i->status == WM_WARNING ? i->weight_warning : i->weight_passing;
}

/* What a node says: Consul's Locality, else its metadata. */
static const char *place_of(const struct wm_node *n, const char *key)
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

	return *said ? said : place_of(i->node, key);
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
	const char *near_region, *near_zone; /* NULL: not looked at; "": none of those before */
	bool (*fits)(const struct pool *p, const struct wm_instance *i);
};

static bool fits_any(const struct pool *p, const struct wm_instance *i)
{
	return !*p->region || strcasecmp(wm_selection_place(i, "region"), p->region) == 0;
}

/* 0: of the zone; 1: of the region; 2: neither. */
static int distance(const struct pool *p, const struct wm_instance *i)
{
	const char *region = wm_selection_place(i, "region"), *zone = wm_selection_place(i, "zone");
	bool here = strcasecmp(region, p->near_region) == 0;

	if (*p->near_zone && strcasecmp(zone, p->near_zone) == 0 &&
	    (here || !*p->near_region || !*region))
		return 0;
	return *p->near_region && here ? 1 : 2;
}

static bool fits_zone(const struct pool *p, const struct wm_instance *i)
{
	return distance(p, i) == 0;
}

static bool fits_region(const struct pool *p, const struct wm_instance *i)
{
	return distance(p, i) == 1;
}

static bool fits_rest(const struct pool *p, const struct wm_instance *i)
{
	return distance(p, i) == 2;
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
		t->up += wm_instance_usable(i) ? wm_selection_weight(i) : 0;
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
	if (policy && wm_subsets_new(policy, wm_registry_datacenter(m->r), &s, &e)) {
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
static void add_nearest(struct maker *m, struct pool p, const struct wm_policy *policy)
{
	const struct wm_node *self = wm_registry_node(m->r);
	unsigned before = m->c->count;

	p.near_region = *policy->nearest.region ? policy->nearest.region : place_of(self, "region");
	p.near_zone = *policy->nearest.zone	? policy->nearest.zone
		      : *policy->nearest.region ? "" /* of another region than ours */
						: place_of(self, "zone");
	p.what = "zone";
	p.fits = fits_zone;
	add(m, &p, false);
	p.what = "region";
	p.fits = fits_region;
	add(m, &p, false);
	p.what = "rest";
	p.fits = fits_rest;
	add(m, &p, m->c->count == before);
}

static bool is_of(const struct wm_policy_target *t, const char *subset)
{
	return !*t->of || strcmp(t->of, "*") == 0 || strcasecmp(t->of, subset) == 0;
}

/* @p region: of a redirect. Whose policy: the service's own, also where a split leads to it. */
static void add_target(struct maker *m, const char *service, const char *subset, const char *region)
{
	const struct wm_policy *policy = wm_registry_policy(m->r, service);
	struct pool p = {.what = "all",
			 .service = service,
			 .subset = subset,
			 .region = region,
			 .fits = fits_any};

	if (policy && policy->select == WM_SELECT_NEAREST && !*region)
		add_nearest(m, p, policy);
	else
		add(m, &p, true);
	for (uint32_t n = 0; policy && n < policy->failover_count; n++) {
		const struct wm_policy_target *t = &policy->failover[n];

		if (!is_of(t, subset_of(policy, &p)))
			continue;
		add(m,
		    &(struct pool){.what = "failover",
				   .service = *t->service ? t->service : service,
				   .subset = t->subset,
				   .region = t->region,
				   .fits = fits_any},
		    false);
	}
}

/* --- all of it ----------------------------------------------------------------------------------
 */
/* Follow redirects; @p region: of the last. */
static void follow(const struct wm_registry *r, struct wm_selection *c, const char **region)
{
	c->policy = wm_registry_policy(r, c->service);
	while (c->policy && wm_policy_redirects(c->policy)) {
		const struct wm_policy_target *t = &c->policy->redirect;

		if (c->hops_count == WM_SELECTION_HOPS_MAX) {
			c->loops = true;
			return;
		}
		c->hops[c->hops_count++] = c->service;
		*region = t->region;
		if (*t->subset)
			c->subset = t->subset;
		if (!*t->service || strcasecmp(t->service, c->service) == 0)
			return; /* its own instances, of a region */
		c->service = t->service;
		c->policy = wm_registry_policy(r, c->service);
	}
}

int wm_selection_make(const struct wm_registry *r, const char *service, const char *subset,
		      struct wm_selection *ret)
{
	struct maker m = {.r = r, .c = ret, .last = WM_SELECTION_TIERS_MAX};
	const struct wm_policy *p;
	const char *region = "";

	*ret = (struct wm_selection){.service = service, .subset = subset};
	follow(r, ret, &region);
	if (ret->loops)
		return 0;
	p = ret->policy;
	if (!p || !p->splits_count || *ret->subset) {
		ret->targets = 1;
		ret->percent[0] = WM_POLICY_WHOLE;
		add_target(&m, ret->service, ret->subset, region);
	}
	for (uint32_t n = 0; p && !*ret->subset && n < p->splits_count; n++) {
		const struct wm_policy_split *s = &p->splits[n];
		unsigned left = p->splits_count - n;

		m.target = n;
		m.last = ret->count + (WM_SELECTION_TIERS_MAX - ret->count) / left;
		ret->targets = n + 1;
		ret->percent[n] = s->percent;
		add_target(&m, *s->service ? s->service : ret->service, s->subset, region);
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
static double part_up(const struct wm_selection_tier *t)
{
	return t->all ? (double)t->up / (double)t->all : 0;
}

/* All to one of the tiers from @p from to @p to. */
static void by_threshold(const struct wm_selection *c, unsigned from, unsigned to,
			 uint32_t threshold, double *share)
{
	unsigned best = from;

	for (unsigned n = from; n < to; n++) {
		double part = part_up(&c->tiers[n]);

		if (part > 0 && part * 100 >= threshold) {
			best = n;
			break;
		}
		if (part > part_up(&c->tiers[best]))
			best = n;
	}
	if (best < to && c->tiers[best].up)
		share[best] = 1;
}

static void by_spilling(const struct wm_selection *c, unsigned from, unsigned to,
			uint32_t threshold, double factor, double *share)
{
	double left = 1, given = 0;

	for (unsigned n = from; n < to; n++) {
		double part = part_up(&c->tiers[n]), carries = part * factor;

		if (part * 100 < threshold)
			continue;
		share[n] = carries < left ? carries : left;
		left -= share[n];
		given += share[n];
	}
	for (unsigned n = from; given > 0 && n < to; n++)
		share[n] /= given;
	if (given <= 0 && threshold) /* none has enough: as if it did not matter */
		by_spilling(c, from, to, 0, factor, share);
}

/* Of one target, whose tiers these are. @return is anything of it up? */
static bool share_target(const struct wm_selection *c, unsigned from, unsigned to, double *share)
{
	const struct wm_policy *p = c->policy;
	uint32_t threshold = p ? p->nearest.threshold : 0;
	bool any = false;

	for (unsigned n = from; n < to; n++)
		any |= c->tiers[n].up > 0;
	if (p && p->select == WM_SELECT_FAILOVER)
		by_threshold(c, from, to, threshold, share);
	else
		by_spilling(c, from, to, threshold, p ? p->nearest.overprovisioning / 100.0 : 1.4,
			    share);
	return any;
}

void wm_selection_shares(const struct wm_selection *c, double share[WM_SELECTION_TIERS_MAX])
{
	double total = 0;
	unsigned to;

	memset(share, 0, sizeof(double) * WM_SELECTION_TIERS_MAX);
	for (unsigned from = 0; from < c->count; from = to) {
		uint32_t percent = c->percent[c->tiers[from].target];

		for (to = from; to < c->count && c->tiers[to].target == c->tiers[from].target; to++)
			;
		if (share_target(c, from, to, share))
			total += percent;
		for (unsigned n = from; n < to; n++)
			share[n] *= percent;
	}
	for (unsigned n = 0; total > 0 && n < c->count; n++)
		share[n] /= total;
}
