/* SPDX-License-Identifier: Apache-2.0 */
/* probe_alias.c - a check that is as bad as the checks of another instance of this node, or of the
 * node itself. Nothing is probed: the change stream marks what changed, and before the turn ends
 * the aliases of it look again, so that tables and DNS get both in one turn.
 *
 * Aliases of aliases make chains and cycles. An alias believes another one when that makes it
 * worse. To stay bad it must not believe itself by a detour: then it walks all that it depends on
 * and only counts checks that are no aliases. So a cycle is as bad as the worst check in its reach
 * and recovers with it; a chain costs each of its links one look. One that keeps getting better
 * walks also before it gets worse, lest bad news runs around a large cycle for ever, with good news
 * behind it. */
#include "probe.h"
#include "userspace/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WALK_MAX 4096 /* checks and targets that one walk visits at most */
#define TURN_MAX                                                                                   \
	(8 * 1024) /* looks and steps of walks in one turn: some ms; the rest in the next */
#define RESTLESS_MS                                                                                \
	1000	   /* an alias that got better RESTLESS times, each so soon after the last,        \
		    */
#define RESTLESS 3 /* may be in such a cycle */

struct verdict {
	enum wm_status status;
	const struct wm_check *worst; /* NULL: none fails */
	unsigned checks;
};

/* --- who follows whom ------------------------------------------------------------------------- */

static struct wm_alias *target_of(struct wm_health *h, const char *id)
{
	size_t n = strlen(id);
	struct wm_alias *t = wm_map_get(h->aliases, id, n);

	if (t)
		return t;
	t = calloc(1, sizeof(*t) + n + 1);
	if (!t)
		return NULL;
	memcpy(t->id, id, n + 1);
	TAILQ_INIT(&t->followers);
	if (wm_map_put(h->aliases, t->id, n, t, NULL)) {
		free(t);
		return NULL;
	}
	return t;
}

static void mark_one(struct wm_prober *p)
{
	if (p->stale)
		return;
	p->stale = true;
	TAILQ_INSERT_TAIL(&p->h->stale, p, looking);
}

static void mark(struct wm_alias *t)
{
	struct wm_prober *p;

	TAILQ_FOREACH (p, &t->followers, waiting)
		mark_one(p);
}

void wm_alias_changed(struct wm_health *h, const char *id)
{
	struct wm_alias *t = wm_map_get(h->aliases, id, strlen(id));

	if (t)
		mark(t);
}

void wm_alias_all_changed(struct wm_health *h)
{
	struct wm_alias *t;
	size_t pos = 0;

	while ((t = wm_map_next(h->aliases, &pos)))
		mark(t);
}

static void alias_prepare(struct wm_prober *p)
{
	struct wm_health *h = p->h;

	p->alias = target_of(h, p->check->target);
	if (!p->alias) {
		wm_health_unstarted(h);
		return;
	}
	TAILQ_INSERT_TAIL(&p->alias->followers, p, waiting);
	mark_one(p);
}

static void alias_forget(struct wm_prober *p)
{
	struct wm_alias *t = p->alias;

	if (!t)
		return;
	p->alias = NULL;
	if (p->stale)
		TAILQ_REMOVE(&p->h->stale, p, looking);
	p->stale = false;
	TAILQ_REMOVE(&t->followers, p, waiting);
	if (!TAILQ_EMPTY(&t->followers))
		return;
	wm_map_del(p->h->aliases, t->id, strlen(t->id));
	free(t);
}

/* --- looking ---------------------------------------------------------------------------------- */

static void count(struct verdict *v, const struct wm_check *c)
{
	v->checks++;
	if (c->status > v->status) {
		v->status = c->status;
		v->worst = c;
	}
}

/* What alias @p p sees: checks of its target and of the node, other aliases or not. */
static void see(const struct wm_prober *p, const struct wm_instance *of, bool aliases,
		struct verdict *v)
{
	for (unsigned n = 0; of && n < of->checks_count; n++) {
		const struct wm_check *c = of->checks[n];

		if (c != p->check && (c->kind == WM_CHECK_ALIAS) == aliases)
			count(v, c);
	}
}

static const struct wm_instance *instance_of(const struct wm_health *h, const struct wm_alias *t)
{
	return *t->id ? wm_registry_instance(h->registry, t->id)
		      : wm_registry_node_checks(h->registry);
}

/* The targets of those aliases among the checks of @p of that this walk has not seen. */
static void push(struct wm_health *h, const struct wm_instance *of, struct wm_aliases *next)
{
	for (unsigned n = 0; of && n < of->checks_count; n++) {
		const struct wm_prober *q = of->checks[n]->prober;

		if (of->checks[n]->kind != WM_CHECK_ALIAS || !q || !q->alias ||
		    q->alias->round == h->alias_round)
			continue;
		q->alias->round = h->alias_round;
		TAILQ_INSERT_TAIL(next, q->alias, walk);
	}
}

/* Worst check in reach that is no alias. @return false: too far to tell. */
static bool walk(struct wm_prober *p, struct verdict *v, unsigned *ret_steps)
{
	const struct wm_instance *node = wm_registry_node_checks(p->h->registry);
	struct wm_aliases next = TAILQ_HEAD_INITIALIZER(next);
	struct wm_health *h = p->h;
	unsigned steps = 0;
	struct wm_alias *t;

	h->alias_round++;
	p->alias->round = h->alias_round;
	TAILQ_INSERT_TAIL(&next, p->alias, walk);
	see(p, node, false, v);
	push(h, node, &next);
	for (; (t = TAILQ_FIRST(&next)) && v->checks + steps <= WALK_MAX; steps++) {
		const struct wm_instance *i = instance_of(h, t);

		TAILQ_REMOVE(&next, t, walk);
		if (i != node)
			see(p, i, false, v);
		push(h, i, &next);
		/* what is gone is as bad as it gets, for all who follow it */
		if (!i)
			v->status = WM_CRITICAL;
	}
	*ret_steps += v->checks + steps;
	return !t;
}

static void look(struct wm_prober *p, unsigned *ret_steps)
{
	const struct wm_instance *node = wm_registry_node_checks(p->h->registry);
	const struct wm_instance *i = instance_of(p->h, p->alias);
	struct verdict own = {0}, other = {0}, all = {0};
	struct wm_health *h = p->h;

	if (!i) {
		snprintf(h->text, sizeof(h->text), "Service %s could not be found on node %s",
			 p->alias->id, wm_registry_node(h->registry)->name);
		wm_prober_report(p, WM_CRITICAL, h->text);
		return;
	}
	see(p, node, false, &own);
	see(p, node, true, &other);
	if (i != node) {
		see(p, i, false, &own);
		see(p, i, true, &other);
	}
	if (other.status > own.status &&
	    (p->check->status >= other.status || p->passes >= RESTLESS)) {
		if (!walk(p, &all, ret_steps)) {
			h->stats.alias_far++;
			if (p->check->status >= other.status)
				return;
			all.status = other.status;
		}
		other.status = all.status < other.status ? all.status : other.status;
	}
	if (other.status > own.status)
		own = other;
	if (own.status == WM_PASSING || !own.worst)
		snprintf(h->text, sizeof(h->text), "%s",
			 own.checks + other.checks || i == node ? "All checks passing."
								: "No checks found.");
	else
		snprintf(h->text, sizeof(h->text), "Aliased check \"%s\" failing: %s",
			 own.worst->name, own.worst->output);
	if (own.status < p->check->status) {
		p->passes = wm_health_ms(h) < p->better_ms + RESTLESS_MS ? p->passes + 1 : 1;
		p->better_ms = wm_health_ms(h);
	}
	wm_prober_report(p, own.status, h->text);
}

bool wm_alias_turn_end(void *health)
{
	struct wm_health *h = health;
	struct wm_prober *p;
	unsigned n = 0;

	/* a round of hooks must end, and others want their turn */
	for (; n < TURN_MAX && (p = TAILQ_FIRST(&h->stale)); n++) {
		TAILQ_REMOVE(&h->stale, p, looking);
		p->stale = false;
		look(p, &n);
	}
	if (!TAILQ_EMPTY(&h->stale) && !h->look.place)
		wm_schedule_put(h->schedule, &h->look, wm_health_ms(h));
	return false; /* nobody who runs before us has to see it in this turn */
}

static void alias_due(struct wm_prober *p, uint64_t now_ms)
{
	(void)p;
	(void)now_ms;
}

const struct wm_probe_kind wm_probe_alias = {
	.prepare = alias_prepare, .due = alias_due, .forget = alias_forget};
