/* SPDX-License-Identifier: Apache-2.0 */
/* spread_links.c - which members are linked. Each agent asks for some links itself, the nearest of
 * a random sample and a few without regard to distance, and takes those that others ask for; so
 * nobody has few, and far parts are linked. A sample, for with thousands of members the nearest of
 * all would be the same for everybody near, and cliques of these have no way out.
 *
 * The far ones stay a uniform sample of all members: one that comes takes the place of one of them
 * with the chance that it would have had from the beginning. So two halves that see each other
 * again, each with all the links that it wants, are linked at once. */
#include "spread_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define SAMPLE	    16	  /* members looked at for one near link */
#define SOON_MS	    20	  /* several that come or go at once are looked at together */
#define RELINK_MS   1000  /* how often links are looked at: some may be missing */
#define WANT_MS	    1500  /* a link that is not there after it is asked of another */
#define REST_MS	    3000  /* who did not answer, or refused, is left alone so long */
#define EXCHANGE_MS 60000 /* how often a link is exchanged for a better one, or a far one */

struct wm_neighbour *wm_neighbour_find(const struct wm_spread *s, const struct wm_peer_id *id)
{
	return wm_map_get(s->neighbours, id, sizeof(*id));
}

static void relink_within(struct wm_spread *s, uint64_t ms)
{
	uint64_t at = wm_env_ms(s->c.env) + ms;

	if (s->relink_ms && s->relink_ms <= at)
		return;
	s->relink_ms = at;
	wm_env_timer_arm(s->relink, ms);
}

static void relink_soon(struct wm_spread *s)
{
	relink_within(s, SOON_MS / 2 + wm_env_below(s->c.env, SOON_MS / 2));
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
	TAILQ_REMOVE(&s->linked, n, of_linked);
	wm_env_timer_free(n->have_timer);
	(void)wm_map_del(s->neighbours, &n->id, sizeof(n->id));
	free(n);
}

/* Ask for it no more; it is not asked again for @p rest_ms. @p n may be freed by it. */
static void let_go(struct wm_spread *s, struct wm_neighbour *n, uint64_t rest_ms)
{
	const struct wm_peer_id id = n->id;
	struct wm_candidate *c = wm_map_get(s->members, &id, sizeof(id));

	unwant(n);
	if (c)
		c->rest_ms = wm_env_ms(s->c.env) + (s->up_count > 1 ? rest_ms : rest_ms / 4);
	s->c.want(s->c.arg, &id, false); /* the carrier may say that it is down, or not */
	wm_spread_down(s, &id);
	n = wm_neighbour_find(s, &id);
	if (n && !n->is_up && !n->wanted)
		wm_neighbour_free(n);
}

/* --- choosing --------------------------------------------------------------------------------- */
static bool may_be_asked(const struct wm_spread *s, const struct wm_candidate *c)
{
	const struct wm_neighbour *n = wm_neighbour_find(s, &c->id);

	if (n && (n->wanted || n->is_up))
		return false;
	return c->rest_ms <= wm_env_ms(s->c.env);
}

static const struct wm_candidate *any_member(struct wm_spread *s)
{
	const struct wm_candidate *c = s->list[wm_env_below(s->c.env, s->list_count)];

	return may_be_asked(s, c) ? c : NULL;
}

/* Behind all that are known, if it is unknown. */
static uint32_t distance_of(const struct wm_spread *s, const struct wm_peer_id *id)
{
	uint32_t us = s->c.distance_us ? s->c.distance_us(s->c.arg, id) : 0;

	return us ? us : UINT32_MAX - 1;
}

static const struct wm_candidate *near_member(struct wm_spread *s, uint32_t *ret_us)
{
	const struct wm_candidate *best = NULL;

	*ret_us = UINT32_MAX;
	for (unsigned k = 0; k < SAMPLE; k++) {
		const struct wm_candidate *c = any_member(s);
		uint32_t us = c ? distance_of(s, &c->id) : UINT32_MAX;

		if (us < *ret_us) {
			best = c;
			*ret_us = us;
		}
	}
	return best;
}

static bool ask(struct wm_spread *s, const struct wm_candidate *c, bool far)
{
	struct wm_neighbour *n;
	struct wm_peer_id id;

	if (!c || wm_spread_linked(s) >= WM_SPREAD_LINKS_MAX)
		return false;
	id = c->id;
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

static unsigned near_links(const struct wm_spread *s)
{
	return s->c.links > s->c.far ? s->c.links - s->c.far : 0;
}

/* Ask for links until there are enough. */
static void choose(struct wm_spread *s)
{
	unsigned tries = s->list_count > 8 * s->c.links ? 2 * s->c.links : 16 * s->c.links;
	uint32_t us;

	for (; s->list_count && tries; tries--) {
		if (s->wanted_near < near_links(s))
			(void)ask(s, near_member(s, &us), false);
		else if (s->wanted_far < s->c.far)
			(void)ask(s, any_member(s), true);
		else
			return;
	}
}

/* The link that goes when there is one more of its kind than wanted: of near ones the farthest, of
 * far ones that which is there longest. */
static struct wm_neighbour *superfluous(struct wm_spread *s, const struct wm_neighbour *keep)
{
	struct wm_neighbour *n, *worst = NULL;
	uint64_t worst_is = 0, is;

	TAILQ_FOREACH (n, &s->up, of_up) {
		if (n == keep || !n->wanted || n->far != keep->far)
			continue;
		is = n->far ? UINT64_MAX - n->wanted_ms : distance_of(s, &n->id);
		if (is > worst_is) {
			worst = n;
			worst_is = is;
		}
	}
	return worst;
}

static void trim(struct wm_spread *s, const struct wm_neighbour *keep)
{
	struct wm_neighbour *n;

	if (keep->far ? s->wanted_far <= s->c.far : s->wanted_near <= near_links(s))
		return;
	n = superfluous(s, keep);
	if (n)
		let_go(s, n, 0);
}

/* In turn: another far one; a nearer one, if a sample has it. The old one goes when the new one is
 * there (trim()). */
static void exchange(struct wm_spread *s)
{
	const struct wm_candidate *c;
	struct wm_neighbour like = {.far = false}, *worst;
	uint32_t us;

	if (s->list_count <= 2 * s->c.links)
		return; /* all are linked, or nearly so */
	if (wm_env_below(s->c.env, 2)) {
		(void)ask(s, any_member(s), true);
		return;
	}
	c = near_member(s, &us);
	worst = superfluous(s, &like);
	if (c && worst && us / 2 < distance_of(s, &worst->id) / 3)
		(void)ask(s, c, false);
}

void wm_neighbour_refused(struct wm_spread *s, struct wm_neighbour *n,
			  const struct wm_peer_id *others, unsigned count)
{
	const struct wm_candidate *c;
	bool far = n->far;

	let_go(s, n, REST_MS);
	for (unsigned i = 0; i < count; i++) {
		c = wm_map_get(s->members, &others[i], sizeof(others[i]));
		if (c && may_be_asked(s, c) && ask(s, c, far))
			return;
	}
	relink_soon(s);
}

/* Links that were asked for and are not there: ask others. */
static void give_up_some(struct wm_spread *s)
{
	uint64_t now = wm_env_ms(s->c.env);
	struct wm_neighbour *n, *next;

	for (n = TAILQ_FIRST(&s->linked); n; n = next) {
		next = TAILQ_NEXT(n, of_linked);
		if (n->wanted && !n->is_up && now - n->wanted_ms >= WANT_MS)
			let_go(s, n, REST_MS);
	}
}

static void on_relink(void *arg)
{
	struct wm_spread *s = arg;
	uint64_t now = wm_env_ms(s->c.env);

	s->relink_ms = 0;
	wm_spread_expire(s, 0);
	give_up_some(s);
	choose(s);
	if (now >= s->exchange_ms) {
		exchange(s);
		s->exchange_ms = now + EXCHANGE_MS / 2 + wm_env_below(s->c.env, EXCHANGE_MS);
	}
	relink_within(s, RELINK_MS - wm_env_below(s->c.env, RELINK_MS / 4));
}

int wm_neighbours_start(struct wm_spread *s)
{
	s->relink = wm_env_timer_new(s->c.env, on_relink, s);
	if (!s->relink)
		return -ENOMEM;
	s->exchange_ms =
		wm_env_ms(s->c.env) + EXCHANGE_MS / 2 + wm_env_below(s->c.env, EXCHANGE_MS);
	relink_soon(s);
	return 0;
}

/* --- who is there ----------------------------------------------------------------------------- */
static void remove_member(struct wm_spread *s, const struct wm_peer_id *id)
{
	struct wm_candidate *c = wm_map_del(s->members, id, sizeof(*id));
	struct wm_neighbour *n = wm_neighbour_find(s, id);

	if (c) {
		s->list[c->at] = s->list[--s->list_count];
		s->list[c->at]->at = c->at;
		free(c);
	}
	if (!n)
		return;
	let_go(s, n, 0);
	relink_soon(s);
}

static struct wm_candidate *add_member(struct wm_spread *s, const struct wm_peer_id *id)
{
	struct wm_candidate *c;

	if (s->list_count == s->list_cap) {
		unsigned cap = s->list_cap ? 2 * s->list_cap : 16;
		struct wm_candidate **more = realloc(s->list, cap * sizeof(struct wm_candidate *));

		if (!more)
			return NULL;
		s->list = more;
		s->list_cap = cap;
	}
	c = calloc(1, sizeof(*c));
	if (!c)
		return NULL;
	c->id = *id;
	c->at = s->list_count;
	if (wm_map_put(s->members, &c->id, sizeof(c->id), c, NULL)) {
		free(c);
		return NULL;
	}
	s->list[s->list_count++] = c;
	return c;
}

int wm_spread_member(struct wm_spread *s, const struct wm_peer_id *id, bool there)
{
	struct wm_candidate *c;

	if (!there) {
		const struct wm_peer_id copy = *id;

		remove_member(s, &copy);
		return 0;
	}
	if (wm_peer_id_same(id, &s->c.id) || wm_map_get(s->members, id, sizeof(*id)))
		return 0;
	c = add_member(s, id);
	if (!c)
		return -ENOMEM;
	if (s->wanted_far < s->c.far || s->wanted_near < near_links(s))
		relink_soon(s);
	else if (wm_env_below(s->c.env, s->list_count) < s->c.far && may_be_asked(s, c))
		(void)ask(s, c, true);
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
	if (wm_spread_linked(s) > WM_SPREAD_LINKS_MAX) {
		n->refused = true;
		if (n->wanted)
			let_go(s, n, 0); /* others were quicker to ask us */
		else
			wm_spread_full(s, n);
		return;
	}
	wm_spread_tell_recent(s, n);
	if (n->wanted)
		trim(s, n);
}

void wm_spread_down(struct wm_spread *s, const struct wm_peer_id *id)
{
	struct wm_neighbour *n = wm_neighbour_find(s, id), *other;

	if (!n || !n->is_up)
		return;
	n->is_up = n->refused = false;
	n->have_count = 0;
	wm_env_timer_disarm(n->have_timer);
	TAILQ_REMOVE(&s->up, n, of_up);
	s->up_count--;
	/* the tree may have gone through it: what hangs on lazy links is reached by them at once,
	 * and they become lazy again with the first duplicate */
	if (n->eager)
		TAILQ_FOREACH (other, &s->up, of_up)
			other->eager = true;
	if (n->wanted) {
		n->wanted_ms = 0; /* another is asked for at once */
		relink_soon(s);
	} else {
		wm_neighbour_free(n);
	}
}
