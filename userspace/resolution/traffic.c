/* SPDX-License-Identifier: Apache-2.0 */
#include "traffic.h"

#include "internal.h"

#include <stdlib.h>
#include <string.h>

struct wm_traffic_walk {
	const struct wm_tables *t;
	uint32_t *first; /* sets_cap: of the service's own set its first backend */
	uint32_t *next;	 /* backends_cap */
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

/* @return the own set of its service, WM_NO_SET: no set of the service has it. */
static uint32_t owner(const struct wm_tables *t, uint32_t index)
{
	for (uint32_t h = t->places[index].hold; h != WM_NO_INDEX; h = t->holds[h].next) {
		const struct wm_svc *s =
			is_own(t, t->holds[h].set, index) ? whole(t, t->holds[h].set) : NULL;

		if (s)
			return s->set;
	}
	return WM_NO_SET;
}

void wm_traffic_left(struct wm_tables *t, uint32_t index, uint32_t set)
{
	struct wm_svc *s = whole(t, set);

	if (!s || !t->mem.live || !is_own(t, s->set, index))
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
	if (!w->first || !w->next) {
		wm_traffic_done(w);
		return NULL;
	}
	memset(w->first, 0xff, t->mem.sets_cap * sizeof(*w->first)); /* WM_NO_INDEX */
	for (uint32_t i = t->mem.live ? t->mem.backends_cap : 0; i-- > 0;) {
		uint32_t set = owner(t, i);

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
	free(w);
}

/* --- figures ---------------------------------------------------------------------------------- */
const char *wm_traffic_next(const struct wm_traffic_walk *w, uint32_t *set, struct wm_traffic *ret)
{
	const struct wm_tables *t = w->t;
	const struct wm_svc *s = NULL;

	while (*set < t->mem.sets_cap && !(s && *s->name && !s->label))
		s = t->by_set[(*set)++];
	if (!s || !*s->name || s->label)
		return NULL;
	*ret = s->gone;
	for (uint32_t i = w->first[s->set]; i != WM_NO_INDEX; i = w->next[i])
		add(ret, &t->mem.live[i]);
	ret->rtt_us = 0;
	return s->name;
}

/* All that was counted of its instance, at @p index and elsewhere, where that is the first. */
static bool sum(const struct wm_tables *t, uint32_t set, uint32_t index, struct wm_traffic *ret)
{
	uint32_t i = wm_backend_of(t, t->mem.backends[index].instance);

	while (i != WM_NO_INDEX && owner(t, i) != set)
		i = wm_backend_next(t, i);
	if (i != index)
		return false;
	for (; i != WM_NO_INDEX; i = wm_backend_next(t, i))
		if (owner(t, i) == set)
			add(ret, &t->mem.live[i]);
	return true;
}

void wm_traffic_backends(const struct wm_traffic_walk *w, uint32_t set,
			 void (*fn)(void *arg, const struct wm_backend_traffic *b), void *arg)
{
	for (uint32_t i = w->first[set]; i != WM_NO_INDEX; i = w->next[i]) {
		struct wm_backend_traffic b = {w->t->mem.backends[i].instance, set, {0}};

		if (sum(w->t, set, i, &b.t) && b.t.picks | b.t.udp_picks | b.t.open)
			fn(arg, &b);
	}
}

void wm_traffic_places(const struct wm_traffic_walk *w, uint32_t set,
		       void (*fn)(void *arg, uint32_t index), void *arg)
{
	for (uint32_t i = w->first[set]; i != WM_NO_INDEX; i = w->next[i])
		fn(arg, i);
}
