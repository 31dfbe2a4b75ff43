/* SPDX-License-Identifier: Apache-2.0 */
#include "referrers.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The policy of `from` names `to`. Sorted by `to`; texts are the policies'. */
struct edge {
	const char *to, *from;
	const struct edge *next; /* of those that a walk still has to follow */
	unsigned long walk;	 /* the last that has met it: circles end there */
};
struct wm_referrers {
	const struct wm_registry *registry;
	struct edge *edges;
	size_t count, cap;
	unsigned long walk;
	bool stale, failed; /* failed: there was no memory */
};

struct wm_referrers *wm_referrers_new(const struct wm_registry *r)
{
	struct wm_referrers *f = calloc(1, sizeof(*f));

	if (f) {
		f->registry = r;
		f->stale = true;
	}
	return f;
}

void wm_referrers_free(struct wm_referrers *f)
{
	if (f)
		free(f->edges);
	free(f);
}

/* The texts may be gone with the policy: nothing is read before all are gathered anew. */
void wm_referrers_changed(struct wm_referrers *f)
{
	f->stale = true;
	f->count = 0;
}

static void add(struct wm_referrers *f, const char *to, const char *from)
{
	if (!*to || !strcasecmp(to, from))
		return;
	if (f->count == f->cap) {
		size_t cap = f->cap ? f->cap * 2 : 64;
		struct edge *edges = realloc(f->edges, cap * sizeof(*edges));

		if (!edges) {
			f->failed = true;
			return;
		}
		f->edges = edges;
		f->cap = cap;
	}
	f->edges[f->count++] = (struct edge){.to = to, .from = from};
}

static int compare(const void *a, const void *b)
{
	return strcasecmp(((const struct edge *)a)->to, ((const struct edge *)b)->to);
}

static void gather(struct wm_referrers *f)
{
	const struct wm_policy *p;
	size_t pos = 0;

	if (!f->stale)
		return;
	f->stale = f->failed = false;
	f->count = 0;
	while ((p = wm_registry_next_policy(f->registry, &pos))) {
		add(f, p->redirect.service, p->service);
		for (unsigned i = 0; i < p->splits_count; i++)
			add(f, p->splits[i].service, p->service);
		for (unsigned i = 0; i < p->failover_count; i++)
			add(f, p->failover[i].service, p->service);
	}
	if (f->count > 1)
		qsort(f->edges, f->count, sizeof(*f->edges), compare);
}

/* The first edge to @p service, or where it would stand. */
static size_t first_to(const struct wm_referrers *f, const char *service)
{
	size_t low = 0, high = f->count;

	while (low < high) {
		size_t mid = low + (high - low) / 2;

		if (strcasecmp(f->edges[mid].to, service) < 0)
			low = mid + 1;
		else
			high = mid;
	}
	return low;
}

bool wm_referrers_any(struct wm_referrers *f, const char *service)
{
	size_t i;

	gather(f);
	i = first_to(f, service);
	return f->failed || (i < f->count && !strcasecmp(f->edges[i].to, service));
}

/* Each edge once. */
static void walk(struct wm_referrers *f, const char *service,
		 void (*fn)(void *arg, const char *service), void *arg)
{
	const struct edge *left = NULL;

	f->walk++;
	while (service) {
		for (size_t i = first_to(f, service);
		     i < f->count && !strcasecmp(f->edges[i].to, service); i++) {
			struct edge *e = &f->edges[i];

			if (e->walk == f->walk)
				continue;
			e->walk = f->walk;
			e->next = left;
			left = e;
			fn(arg, e->from);
		}
		service = left ? left->from : NULL;
		left = left ? left->next : NULL;
	}
}

void wm_referrers_each(struct wm_referrers *f, const char *service,
		       void (*fn)(void *arg, const char *service), void *arg)
{
	const struct wm_policy *p;
	size_t pos = 0;

	gather(f);
	if (!f->failed) {
		walk(f, service, fn, arg);
		return;
	}
	while ((p = wm_registry_next_policy(f->registry, &pos)))
		fn(arg, p->service);
}
