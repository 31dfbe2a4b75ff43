/* SPDX-License-Identifier: Apache-2.0 */
#include "traffic.h"

#include "internal.h"

static void add(struct wm_traffic *to, const struct wm_backend_live *l)
{
	to->picks += __atomic_load_n(&l->picks, __ATOMIC_RELAXED);
	to->udp_picks += __atomic_load_n(&l->udp_picks, __ATOMIC_RELAXED);
	to->failures += __atomic_load_n(&l->failures, __ATOMIC_RELAXED);
	to->ejections += __atomic_load_n(&l->ejections, __ATOMIC_RELAXED);
	to->open += __atomic_load_n(&l->open, __ATOMIC_RELAXED);
}

/* Sets of other services, and of a part of this one, may have it, too. */
static bool is_own(const struct wm_tables *t, const struct wm_svc *s, uint32_t index)
{
	return t->mem.backends[index].service == t->mem.sets[s->set].service;
}

void wm_traffic_left(struct wm_tables *t, uint32_t index, uint32_t set)
{
	const struct wm_svc *had = t->by_set[set];
	struct wm_svc *s = had && *had->name ? wm_svc_find(t, had->name, NULL, 0, 0) : NULL;

	if (!s || !t->mem.live || !is_own(t, s, index))
		return;
	add(&s->gone, &t->mem.live[index]);
	s->gone.open = 0;
}

const char *wm_traffic_next(const struct wm_tables *t, uint32_t *set, struct wm_traffic *ret)
{
	const struct wm_svc *s = NULL;

	while (*set < t->mem.sets_cap && !(s && *s->name && !s->label))
		s = t->by_set[(*set)++];
	if (!s || !*s->name || s->label)
		return NULL;
	*ret = s->gone;
	for (uint32_t i = 0; t->mem.live && i < s->refs_count; i++)
		if (is_own(t, s, s->refs[i].index))
			add(ret, &t->mem.live[s->refs[i].index]);
	return s->name;
}

void wm_traffic_backends(const struct wm_tables *t, uint32_t set,
			 void (*fn)(void *arg, const struct wm_backend_traffic *b), void *arg)
{
	const struct wm_svc *s = t->by_set[set];

	for (uint32_t i = 0; s && t->mem.live && i < s->refs_count; i++) {
		const struct wm_backend_live *l = &t->mem.live[s->refs[i].index];
		struct wm_backend_traffic b = {s->refs[i].instance, set, {0}};

		if (!is_own(t, s, s->refs[i].index))
			continue;
		add(&b.t, l);
		b.t.rtt_us = __atomic_load_n(&l->rtt_us, __ATOMIC_RELAXED);
		if (b.t.picks | b.t.udp_picks | b.t.open)
			fn(arg, &b);
	}
}
