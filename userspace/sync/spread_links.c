/* SPDX-License-Identifier: Apache-2.0 */
/* spread_links.c - which members are linked. Each agent asks for some links itself, the nearest of
 * a random sample and a few without regard to distance, and takes those that others ask for; so
 * nobody has few, and far parts are linked. A sample, for with thousands of members the nearest of
 * all would be the same for everybody near, and cliques of these have no way out. */
#include "spread_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE 16 /* members looked at for one near link */

struct wm_neighbour *wm_neighbour_find(const struct wm_spread *s, const struct wm_peer_id *id)
{
	return wm_map_get(s->neighbours, id, sizeof(*id));
}

void wm_neighbour_eager(struct wm_neighbour *n, bool eager)
{
	n->eager = eager;
}

static void unwant(struct wm_neighbour *n)
{
	if (!n->wanted)
		return;
	n->wanted = false;
	if (n->far)
		n->s->wanted_far--;
	else
		n->s->wanted_near--;
}

void wm_neighbour_free(struct wm_neighbour *n)
{
	struct wm_spread *s = n->s;

	unwant(n);
	if (n->is_up) {
		TAILQ_REMOVE(&s->up, n, of_up);
		s->up_count--;
	}
	wm_env_timer_free(n->have_timer);
	(void)wm_map_del(s->neighbours, &n->id, sizeof(n->id));
	free(n);
}

void wm_neighbour_refused(struct wm_neighbour *n)
{
	struct wm_spread *s = n->s;
	struct wm_peer_id id = n->id;

	unwant(n);
	wm_spread_down(s, &id);
	s->c.want(s->c.arg, &id, false);
	wm_neighbours_choose(s);
}

/* --- choosing --------------------------------------------------------------------------------- */
static const struct wm_peer_id *any_member(struct wm_spread *s)
{
	const struct wm_peer_id *id = &s->members[wm_env_below(s->c.env, s->members_count)];
	const struct wm_neighbour *n = wm_neighbour_find(s, id);

	return n && (n->wanted || n->is_up) ? NULL : id;
}

static const struct wm_peer_id *near_member(struct wm_spread *s)
{
	const struct wm_peer_id *best = NULL;
	uint32_t best_us = UINT32_MAX;

	for (unsigned k = 0; k < SAMPLE; k++) {
		const struct wm_peer_id *id = any_member(s);
		uint32_t us = id && s->c.distance_us ? s->c.distance_us(s->c.arg, id) : 0;

		if (!id)
			continue;
		if (!us) /* unknown: behind all that are known */
			us = UINT32_MAX - 1;
		if (us < best_us) {
			best = id;
			best_us = us;
		}
	}
	return best;
}

static bool ask(struct wm_spread *s, const struct wm_peer_id *found, bool far)
{
	struct wm_neighbour *n;
	struct wm_peer_id id;

	if (!found)
		return false;
	id = *found;
	n = wm_neighbour_find(s, &id);
	if (!n)
		n = wm_neighbour_new(s, &id);
	if (!n)
		return false;
	n->wanted = true;
	n->far = far;
	n->wanted_ms = wm_env_ms(s->c.env);
	if (far)
		s->wanted_far++;
	else
		s->wanted_near++;
	s->c.want(s->c.arg, &id, true);
	return true;
}

void wm_neighbours_choose(struct wm_spread *s)
{
	unsigned near = s->c.links > s->c.far ? s->c.links - s->c.far : 0;

	if (!s->members_count)
		return;
	for (unsigned tries = 0; tries < 2 * s->c.links; tries++) {
		if (s->wanted_near < near)
			(void)ask(s, near_member(s), false);
		else if (s->wanted_far < s->c.far)
			(void)ask(s, any_member(s), true);
		else
			return;
	}
}

/* --- who is there ----------------------------------------------------------------------------- */
static bool find_member(const struct wm_spread *s, const struct wm_peer_id *id, unsigned *ret_at)
{
	for (unsigned n = 0; n < s->members_count; n++) {
		if (wm_peer_id_same(&s->members[n], id)) {
			*ret_at = n;
			return true;
		}
	}
	return false;
}

static void remove_member(struct wm_spread *s, const struct wm_peer_id *id)
{
	struct wm_neighbour *n = wm_neighbour_find(s, id);
	unsigned at;

	if (find_member(s, id, &at))
		s->members[at] = s->members[--s->members_count];
	if (!n)
		return;
	if (n->wanted)
		s->c.want(s->c.arg, &n->id, false);
	wm_neighbour_free(n);
	wm_neighbours_choose(s);
}

int wm_spread_member(struct wm_spread *s, const struct wm_peer_id *id, bool there)
{
	unsigned at;

	if (!there) {
		const struct wm_peer_id copy = *id;

		remove_member(s, &copy);
		return 0;
	}
	if (wm_peer_id_same(id, &s->c.id) || find_member(s, id, &at))
		return 0;
	if (s->members_count == WM_SPREAD_MEMBERS_MAX)
		return -ENOMEM;
	if (s->members_count == s->members_cap) {
		unsigned cap = s->members_cap ? 2 * s->members_cap : 16;
		struct wm_peer_id *more = realloc(s->members, cap * sizeof(*more));

		if (!more)
			return -ENOMEM;
		s->members = more;
		s->members_cap = cap;
	}
	s->members[s->members_count++] = *id;
	wm_neighbours_choose(s);
	return 0;
}

void wm_spread_up(struct wm_spread *s, const struct wm_peer_id *id)
{
	struct wm_neighbour *n = wm_neighbour_find(s, id);

	if (!n)
		n = wm_neighbour_new(s, id);
	if (!n || n->is_up)
		return;
	n->is_up = n->eager = true;
	TAILQ_INSERT_TAIL(&s->up, n, of_up);
	s->up_count++;
	if (s->up_count > WM_SPREAD_LINKS_MAX && !n->wanted)
		wm_spread_full(s, n);
}

void wm_spread_down(struct wm_spread *s, const struct wm_peer_id *id)
{
	struct wm_neighbour *n = wm_neighbour_find(s, id), *other;

	if (!n || !n->is_up)
		return;
	n->is_up = false;
	n->have_count = 0;
	wm_env_timer_disarm(n->have_timer);
	TAILQ_REMOVE(&s->up, n, of_up);
	s->up_count--;
	/* the tree may have gone through it: what hangs on lazy links is reached by them at once,
	 * and they become lazy again with the first duplicate */
	TAILQ_FOREACH (other, &s->up, of_up)
		other->eager = true;
	if (!n->wanted)
		wm_neighbour_free(n);
}
