/* SPDX-License-Identifier: Apache-2.0 */
#include "traffic.h"

#include "internal.h"
#include "userspace/base/map.h"

#include <stdlib.h>
#include <string.h>

struct wm_traffic_walk {
	const struct wm_tables *t;
	uint32_t *first;     /* sets_cap: of the service's own set its first backend */
	uint32_t *next;	     /* backends_cap */
	uint32_t *of;	     /* backends_cap: that set, WM_NO_SET */
	struct wm_map *sets; /* of services by the number that a backend has of it; NULL: nobody
			      * asked for it yet */
};

static void add(struct wm_traffic *to, const struct wm_backend_live *l)
{
	uint32_t rtt_us = __atomic_load_n(&l->rtt_us, __ATOMIC_RELAXED);

	to->picks += __atomic_load_n(&l->picks, __ATOMIC_RELAXED);
	to->udp_picks += __atomic_load_n(&l->udp_picks, __ATOMIC_RELAXED);
	to->failures += __atomic_load_n(&l->failures, __ATOMIC_RELAXED);
	to->ejections += __atomic_load_n(&l->ejections, __ATOMIC_RELAXED);
	to->open += __atomic_load_n(&l->open, __ATOMIC_RELAXED);
	to->rtt_us = rtt_us > to->rtt_us ? rtt_us : to->rtt_us;
}

/* --- whose a backend is ----------------------------------------------------------------------- */
static bool is_whole(const struct wm_svc *s)
{
	return s && *s->name && !s->label;
}

/* The set of all of the service that @p set is of. @return NULL: there is none. */
static struct wm_svc *whole(const struct wm_tables *t, uint32_t set)
{
	struct wm_svc *s = t->by_set[set];

	if (!s || !*s->name)
		return NULL;
	return s->label ? wm_svc_find(t, s->name, NULL, 0, 0) : s;
}

/* Sets of other services may have it, too. */
static bool is_own(const struct wm_tables *t, uint32_t set, uint32_t index)
{
	return t->mem.backends[index].service == t->mem.sets[set].service;
}

/* All services, by the number that backends have of them. @return NULL without memory. */
static struct wm_map *by_number(const struct wm_tables *t)
{
	struct wm_map *m = wm_map_new(t->mem.sets_cap);

	for (uint32_t set = 0; m && set < t->mem.sets_cap; set++) {
		if (is_whole(t->by_set[set]) &&
		    wm_map_put(m, &t->mem.sets[set].service, sizeof(uint32_t), t->by_set[set],
			       NULL)) {
			wm_map_free(m);
			return NULL;
		}
	}
	return m;
}

/* @return the own set of its service, WM_NO_SET: it is in no table any more. */
static uint32_t owner(struct wm_traffic_walk *w, uint32_t index)
{
	const struct wm_tables *t = w->t;
	const struct wm_svc *s = NULL;

	if (t->places[index].hold == WM_NO_INDEX)
		return WM_NO_SET;
	for (uint32_t h = t->places[index].hold; h != WM_NO_INDEX; h = t->holds[h].next) {
		s = is_own(t, t->holds[h].set, index) ? whole(t, t->holds[h].set) : NULL;
		if (s)
			return s->set;
	}
	/* sets of other services alone */
	if (!w->sets)
		w->sets = by_number(t);
	s = w->sets ? wm_map_get(w->sets, &t->mem.backends[index].service, sizeof(uint32_t)) : NULL;
	return s ? s->set : WM_NO_SET;
}

/* --- a backend that only sets of other services have --------------------------------------------
 */
static uint32_t whole_by_number(const struct wm_tables *t, uint32_t service)
{
	for (uint32_t set = 0; service && set < t->mem.sets_cap; set++)
		if (is_whole(t->by_set[set]) && t->mem.sets[set].service == service)
			return set;
	return WM_NO_SET;
}

/* Its service's set, kept for the next backend that leaves: mostly many do. Cost: O(sets), once for
 * all of one write. */
static struct wm_svc *left_by(struct wm_tables *t, uint32_t index)
{
	uint32_t service = t->mem.backends[index].service;

	if (t->left.service != service || t->left.put != t->stats.puts) {
		t->left.service = service;
		t->left.put = t->stats.puts;
		t->left.set = whole_by_number(t, service);
	}
	return t->left.set == WM_NO_SET ? NULL : t->by_set[t->left.set];
}

void wm_traffic_left(struct wm_tables *t, uint32_t index, uint32_t set)
{
	struct wm_svc *s = whole(t, set);

	if (!t->mem.live)
		return;
	if (s && !t->mem.sets[s->set].service) /* the service goes with it */
		return;
	if (!s || !is_own(t, s->set, index))
		s = left_by(t, index);
	if (!s)
		return;
	add(&s->gone, &t->mem.live[index]);
	s->gone.open = s->gone.rtt_us = 0;
}

struct wm_traffic_walk *wm_traffic_walk(const struct wm_tables *t)
{
	struct wm_traffic_walk *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->t = t;
	w->first = malloc(t->mem.sets_cap * sizeof(*w->first));
	w->next = malloc(t->mem.backends_cap * sizeof(*w->next));
	w->of = malloc(t->mem.backends_cap * sizeof(*w->of));
	if (!w->first || !w->next || !w->of) {
		wm_traffic_done(w);
		return NULL;
	}
	memset(w->first, 0xff, t->mem.sets_cap * sizeof(*w->first)); /* WM_NO_INDEX */
	for (uint32_t i = t->mem.live ? t->mem.backends_cap : 0; i-- > 0;) {
		uint32_t set = w->of[i] = owner(w, i);

		if (set == WM_NO_SET)
			continue;
		w->next[i] = w->first[set];
		w->first[set] = i;
	}
	return w;
}

void wm_traffic_done(struct wm_traffic_walk *w)
{
	if (!w)
		return;
	free(w->first);
	free(w->next);
	free(w->of);
	wm_map_free(w->sets);
	free(w);
}

/* --- figures ---------------------------------------------------------------------------------- */
const char *wm_traffic_next(const struct wm_traffic_walk *w, uint32_t *set, struct wm_traffic *ret)
{
	const struct wm_tables *t = w->t;
	const struct wm_svc *s = NULL;

	while (*set < t->mem.sets_cap && !is_whole(s))
		s = t->by_set[(*set)++];
	if (!is_whole(s))
		return NULL;
	*ret = s->gone;
	for (uint32_t i = w->first[s->set]; i != WM_NO_INDEX; i = w->next[i])
		add(ret, &t->mem.live[i]);
	ret->rtt_us = 0;
	return s->name;
}

/* All that was counted of its instance, at @p index and elsewhere, where that is the first. */
static bool sum(const struct wm_traffic_walk *w, uint32_t set, uint32_t index,
		struct wm_traffic *ret)
{
	const struct wm_tables *t = w->t;
	uint32_t i = wm_backend_of(t, t->mem.backends[index].instance);

	while (i != WM_NO_INDEX && w->of[i] != set)
		i = wm_backend_next(t, i);
	if (i != index)
		return false;
	for (; i != WM_NO_INDEX; i = wm_backend_next(t, i))
		if (w->of[i] == set)
			add(ret, &t->mem.live[i]);
	return true;
}

void wm_traffic_backends(const struct wm_traffic_walk *w, uint32_t set,
			 void (*fn)(void *arg, const struct wm_backend_traffic *b), void *arg)
{
	for (uint32_t i = w->first[set]; i != WM_NO_INDEX; i = w->next[i]) {
		struct wm_backend_traffic b = {w->t->mem.backends[i].instance, set, {0}};

		if (sum(w, set, i, &b.t) && b.t.picks | b.t.udp_picks | b.t.open)
			fn(arg, &b);
	}
}

void wm_traffic_places(const struct wm_traffic_walk *w, uint32_t set,
		       void (*fn)(void *arg, uint32_t index), void *arg)
{
	for (uint32_t i = w->first[set]; i != WM_NO_INDEX; i = w->next[i])
		fn(arg, i);
}
