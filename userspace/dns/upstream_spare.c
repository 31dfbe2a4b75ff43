/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_spare.c - resolvers beside the one that has the cache, for questions that it has failed
 * or that take it long: each leaves one server out, where others answer, and asks the rest whatever
 * it found of them. They are made when they are needed, and again when probes find a server up that
 * was down, or the reverse. */
#include "upstream_internal.h"

#include <errno.h>
#include <stdlib.h>

#define CACHE_SHARE 8 /* of the memory for answers: few names are asked for here */

struct wm_upstream_spares {
	struct wm_loop *loop;
	struct wm_upstream_config c;
	const struct wm_upstream_routes *routes;
	const struct wm_upstream_probes *probes;
	struct wm_unbound *without[WM_UPSTREAM_SERVERS_MAX]; /* by place in the domain */
	unsigned changes; /* of the probes, when they were made */
};

struct wm_upstream_spares *wm_upstream_spares_new(struct wm_loop *l,
						  const struct wm_upstream_config *c,
						  const struct wm_upstream_routes *routes,
						  const struct wm_upstream_probes *probes)
{
	struct wm_upstream_spares *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->loop = l;
	s->c = *c;
	s->c.cache_max /= CACHE_SHARE;
	s->c.asks_all = true;
	s->c.reads_anchors = true;
	s->routes = routes;
	s->probes = probes;
	return s;
}

void wm_upstream_spares_apart(struct wm_upstream_spares *s, const struct wm_statics *t)
{
	s->c.apart = t;
}

void wm_upstream_spares_free(struct wm_upstream_spares *s)
{
	if (!s)
		return;
	for (unsigned i = 0; i < WM_UPSTREAM_SERVERS_MAX; i++)
		wm_unbound_free(s->without[i]);
	free(s);
}

struct wm_unbound *wm_upstream_spares_drop(struct wm_upstream_spares *s)
{
	for (unsigned i = 0; i < WM_UPSTREAM_SERVERS_MAX; i++) {
		struct wm_unbound *u = s->without[i];

		s->without[i] = NULL;
		if (u)
			return u;
	}
	s->changes = wm_upstream_probes_changes(s->probes);
	return NULL;
}

bool wm_upstream_spares_old(const struct wm_upstream_spares *s)
{
	return s->changes != wm_upstream_probes_changes(s->probes);
}

/* It answers, and with more than errors. @return how fast; 0: no. */
static uint64_t latency_of(const struct wm_upstream_spares *s, const struct wm_upstream_route *r,
			   unsigned place)
{
	struct wm_upstream_health h;

	return wm_upstream_probes_find(s->probes, r->domain, &r->servers[place], &h) &&
			       h.state == WM_UPSTREAM_UP
		       ? h.latency_us
		       : 0;
}

bool wm_upstream_spares_other(const struct wm_upstream_spares *s, const struct wm_upstream_route *r,
			      unsigned place)
{
	for (unsigned i = 0; i < r->count; i++)
		if (i != place && latency_of(s, r, i))
			return true;
	return false;
}

unsigned wm_upstream_spares_fastest(const struct wm_upstream_spares *s,
				    const struct wm_upstream_route *r)
{
	uint64_t best_us = UINT64_MAX, us;
	unsigned best = 0;

	for (unsigned i = 0; i < r->count; i++) {
		us = latency_of(s, r, i);
		if (us && us < best_us) {
			best_us = us;
			best = i;
		}
	}
	return best;
}

unsigned wm_upstream_spares_slowest(const struct wm_upstream_spares *s,
				    const struct wm_upstream_route *r)
{
	uint64_t worst_us = 0, us;
	unsigned worst = 0;

	for (unsigned i = 0; i < r->count; i++) {
		us = latency_of(s, r, i);
		if (!us)
			return i;
		if (us > worst_us) {
			worst_us = us;
			worst = i;
		}
	}
	return worst;
}

/* Those of a domain that answer, but for one; all that do not lead here, if there is none. */
static void leave_out(const struct wm_upstream_spares *s, const struct wm_upstream_route *from,
		      unsigned place, struct wm_upstream_route *to)
{
	bool other = wm_upstream_spares_other(s, from, place);

	*to = *from;
	to->count = 0;
	for (unsigned i = 0; i < from->count; i++)
		if (other ? i != place && latency_of(s, from, i)
			  : !wm_upstream_probes_loops(s->probes, from->domain, &from->servers[i]))
			to->servers[to->count++] = from->servers[i];
}

int wm_upstream_spares_get(struct wm_upstream_spares *s, unsigned place, struct wm_unbound **ret)
{
	struct wm_upstream_routes *r = calloc(1, sizeof(*r));
	struct wm_err e = {0};
	struct wm_buf b;
	int err = -ENOMEM;

	wm_buf_init(&b, WM_UPSTREAM_CONF_MAX);
	if (!s->without[place] && r) {
		for (; r->count < s->routes->count; r->count++)
			leave_out(s, &s->routes->at[r->count], place, &r->at[r->count]);
		if (wm_upstream_conf(&b, &s->c, r))
			err = wm_unbound_new(s->loop, b.data, b.len, &s->without[place], &e);
	}
	wm_buf_done(&b);
	free(r);
	*ret = s->without[place];
	return *ret ? 0 : err;
}
