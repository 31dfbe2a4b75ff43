/* SPDX-License-Identifier: Apache-2.0 */
/* odds.c - see odds.h. The numbers of one decision are a point; the points of all are an additive
 * recurrence (Roberts' generalised golden ratio), so that shares come out far closer than by
 * chance.
 */
#include "odds.h"

#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdlib.h>

/* --- even numbers -------------------------------------------------------------------------------
 */
/* 2^32 / phi^k, where phi^7 = phi + 1: of six dimensions, a tier and two draws with both their
 * halves. What lies behind is as good as random. */
static const uint32_t steps[] = {3859688306u, 3468523226u, 3117001274u,
				 2801104767u, 2517223199u, 2262111973u};

struct even {
	uint32_t i;	    /* decision */
	uint32_t dimension; /* of the next number */
};

static __u32 next(void *arg)
{
	struct even *e = arg;
	uint32_t d = e->dimension++;

	if (d < WM_ARRAY_LEN(steps))
		return 0x80000000u + e->i * steps[d];
	return (__u32)(wm_mix64((uint64_t)e->i << 32 | d) >> 32);
}

/* --- who is in the tables -----------------------------------------------------------------------
 */
static const char *why_not(const struct wm_view *v, const struct wm_odds_candidate *c,
			   const struct wm_odds_client *who)
{
	const struct wm_lead lead = {c->backend, c->stamp};
	struct wm_ask ask = {.now_ns = who->now_ns, .states = WM_ASK_UP, .prefer6 = true};
	struct wm_choice got = {0};

	ask.families = who->families;
	if (who->other_family)
		ask.families |= WM_FAMILY_4 | WM_FAMILY_6;
	if (wm_take_asked(v, &lead, &ask, &got))
		return NULL;
	if (got.passed_over)
		return "a loopback address, which leads another network namespace to itself";
	if (c->state >> 16 != c->stamp)
		return "it has left";
	if (c->ejected_ns)
		return "ejected, as it failed";
	if (c->state & WM_STATE_F_FELL)
		return "nobody listens there any more";
	switch (c->state & WM_STATE_MASK) {
	case WM_STATE_DOWN:
		return "down";
	case WM_STATE_DRAIN:
		return "stopping";
	default:
		return "no address of the family";
	}
}

static void describe(const struct wm_view *v, const struct wm_odds_client *who,
		     struct wm_odds_candidate *c)
{
	const struct wm_backend *b = wm_at_backend(v, c->backend);
	const struct wm_backend_live *live = wm_at_backend_live(v, c->backend);

	c->state = b ? WM_READ(b->state) : 0;
	if (live && WM_READ(live->stamp) == c->stamp) {
		c->live = *live;
		if (wm_ejected(&c->live, c->stamp, who->now_ns))
			c->ejected_ns = c->live.ejected_until_ns - who->now_ns;
	}
	c->why_not = why_not(v, c, who);
}

/* Where each backend of each tier stands in the list, + 1. */
struct places {
	uint32_t *at; /* tiers * backends_cap */
	uint32_t cap;
};

static int gather_tier(const struct wm_view *v, const struct wm_odds_client *who, struct places *p,
		       uint8_t tier, struct wm_odds *o)
{
	uint32_t first, n = wm_tier_slots(&o->table.head, tier, &first);

	for (uint32_t i = 0; i < n; i++) {
		struct wm_odds_candidate *c = &o->candidates[o->count];
		struct wm_lead lead;
		uint32_t *at;

		if (wm_draw_at(v, &o->table, first + i, 0, &lead) != WM_PICKED)
			return -EAGAIN;
		at = lead.backend < p->cap ? &p->at[tier * (size_t)p->cap + lead.backend] : NULL;
		if (!at || *at)
			continue;
		*c = (struct wm_odds_candidate){
			.backend = lead.backend, .stamp = (uint16_t)lead.stamp, .tier = tier};
		describe(v, who, c);
		*at = ++o->count;
	}
	return 0;
}

static int gather(const struct wm_view *v, const struct wm_odds_client *who, struct places *p,
		  struct wm_odds *o)
{
	size_t cap = (size_t)o->table.head.tiers * p->cap;
	int r = 0;

	o->candidates =
		calloc((o->table.count < cap ? o->table.count : cap) + 1, sizeof(*o->candidates));
	p->at = calloc(cap, sizeof(*p->at));
	if (!o->candidates || !p->at)
		return -ENOMEM;
	for (uint8_t tier = 0; !r && tier < o->table.head.tiers; tier++)
		r = gather_tier(v, who, p, tier, o);
	return r;
}

static void shares_drawn(const struct wm_view *v, struct wm_odds *o)
{
	const struct wm_set_live *l = wm_at_set_live(v, o->table.set);
	unsigned below = 0;

	if (o->table.head.tiers < 2 || !l) {
		o->drawn[0] = 1;
		return;
	}
	for (unsigned i = 0; i < o->table.head.tiers; i++) {
		unsigned cut = WM_READ(l->cut[i]);

		if (cut <= below)
			continue;
		o->drawn[i] = (cut - below) / 65535.0;
		below = cut;
	}
}

/* --- decisions ----------------------------------------------------------------------------------
 */
/* One, as choose_any() of bpf/connect.bpf.c makes it. @p a has afterwards what it was found by. */
static enum wm_pick decide(const struct wm_view *v, uint32_t set, const struct wm_odds_client *c,
			   uint32_t i, struct wm_ask *a, struct wm_choice *ret)
{
	enum wm_pick p = WM_PICK_TORN;
	struct even e = {.i = i};
	const uint32_t both = WM_FAMILY_4 | WM_FAMILY_6;
	uint32_t families = c->families;

	for (int family = 0; family < 2; family++) {
		for (int again = 0; again < 2; again++) {
			*a = (struct wm_ask){.now_ns = c->now_ns,
					     .key = c->keyed ? c->key : wm_mix64(i),
					     .families = families,
					     .next = family || !c->other_family ? 0
										: both & ~families,
					     .states = WM_ASK_UP,
					     .prefer6 = true};
			p = wm_choose(v, set, a, next, &e, ret);
			if (p != WM_PICK_TORN)
				break;
		}
		if (p == WM_PICKED || !c->other_family)
			break;
		families ^= both;
	}
	return p;
}

static void count(struct wm_odds *o, const struct places *p, const struct wm_ask *a,
		  const struct wm_choice *c)
{
	const uint32_t *at = a->tier < o->table.head.tiers && c->backend < p->cap
				     ? &p->at[a->tier * (size_t)p->cap + c->backend]
				     : NULL;

	if (!at || !*at) { /* the set was published anew: who was chosen is not in the list */
		o->torn++;
		return;
	}
	o->candidates[*at - 1].odds++;
	o->tier[a->tier]++;
	if (a->states != WM_ASK_UP)
		o->states = a->states;
}

static void try_all(struct wm_view v, uint32_t set, const struct wm_odds_client *c,
		    const struct places *p, struct wm_odds *o)
{
	const struct wm_set_live *l = wm_at_set_live(&v, set);
	uint64_t end = c->budget_ns ? wm_clock_ns() + c->budget_ns : UINT64_MAX;
	uint32_t turn = l ? WM_READ(l->cursor) : 0;

	v.turn = &turn;
	while (o->tries < WM_ODDS_TRIES) {
		struct wm_choice got = {0};
		struct wm_ask a;
		enum wm_pick picked = decide(&v, set, c, o->tries++, &a, &got);

		if (picked == WM_PICKED)
			count(o, p, &a, &got);
		else if (picked == WM_PICK_TORN)
			o->torn++;
		else if (o->table.head.when_none == WM_NONE_PASS)
			o->passed++;
		else
			o->refused++;
		if (wm_clock_ns() > end)
			break;
	}
}

int wm_odds_make(const struct wm_view *view, uint32_t set, const struct wm_odds_client *c,
		 struct wm_odds *ret)
{
	struct wm_view v = *view;
	struct places p = {.cap = v.backends_cap};
	enum wm_pick loaded;
	int r;

	*ret = (struct wm_odds){.states = WM_ASK_UP};
	loaded = wm_table_load(&v, set, &ret->table);
	if (loaded != WM_PICKED)
		return loaded == WM_PICK_NONE ? -ENOENT : -EAGAIN;
	r = gather(&v, c, &p, ret);
	if (!r) {
		shares_drawn(&v, ret);
		try_all(v, set, c, &p, ret);
		for (uint32_t i = 0; i < ret->count; i++)
			ret->candidates[i].odds /= ret->tries;
		for (unsigned i = 0; i < WM_TIERS_MAX; i++)
			ret->tier[i] /= ret->tries;
		ret->refused /= ret->tries;
		ret->passed /= ret->tries;
		ret->torn /= ret->tries;
	}
	free(p.at);
	if (r)
		wm_odds_done(ret);
	return r;
}

void wm_odds_done(struct wm_odds *o)
{
	free(o->candidates);
	o->candidates = NULL;
	o->count = 0;
}
