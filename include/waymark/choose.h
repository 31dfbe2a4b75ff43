/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* choose.h - which backend of a set a connection goes to: the arithmetic of each way to choose,
 * the same in the kernel, in the userspace DNS server and in a test. Two steps, each O(1):
 *
 *   a tier by its share (`cut`, kept by userspace from who is up)  ->  a backend within it
 *
 * What programs write while they choose (cursor, open, rtt_us) is read without order: a choice that
 * saw an old value is a choice that was made a moment earlier. Pure but for the cursor. */
#pragma once
#include "outlier.h"
#include "pick.h"
#include "policy.h"

#define WM_EWMA_HALF_NS                                                                            \
	(5 * 1000000000ull) /* ns in which a measured latency counts half as much: some requests   \
			     * of a slow backend, and soon enough to try it again */
#define WM_EWMA_UNKNOWN_US 1000000ull	/* us: as good as this until the first answer has come */
#define WM_EWMA_US_MAX	   (1ull << 26) /* us, 67 s: whoever is slower is not told apart */
#define WM_EWMA_OPEN_MAX   (1ull << 20) /* connections: more are not told apart */

/* What the asker brings. */
struct wm_ask {
	__u64 now_ns;	    /* CLOCK_BOOTTIME: ends of ejections, age of latencies */
	__u64 key;	    /* what consistent hashing goes by */
	__u32 families;	    /* WM_FAMILY_* and WM_NOT_LOOPBACK */
	__u32 next;	    /* WM_FAMILY_* that are asked for then: who of them is up comes first */
	__u32 states;	    /* bit s: a backend in WM_STATE_ s may be taken */
	__u32 prefer6;	    /* of a backend with both */
	__u32 tier;	    /* that the choice is made in */
	__u32 first, count; /* its slots, places in the range */
};
#define WM_ASK_UP      (1u << WM_STATE_UP)
#define WM_ASK_LAST    (WM_ASK_UP | 1u << WM_STATE_DRAIN)
#define WM_ASK_ANY     (WM_ASK_LAST | 1u << WM_STATE_DOWN | WM_ASK_EJECTED)
#define WM_ASK_EJECTED (1u << 31) /* one that is ejected, too */

/* --- the tier -----------------------------------------------------------------------------------
 */
/** The tier that @p random, 32 even bits, falls to. 0 where no cut is set. */
static __always_inline __u32 wm_tier_of(const __u16 cut[WM_TIERS_MAX], __u32 tiers, __u32 random)
{
	/* 1 to 65535: a cut of 0 is no share at all */
	__u32 r = 1 + (__u32)(((__u64)random * 65535) >> 32);

	for (__u32 i = 0; i < WM_TIERS_MAX; i++)
		if (i < tiers && r <= WM_READ(cut[i]))
			return i;
	return 0;
}

/** Place of the first slot of tier @p tier in the range of @p h, and how many slots it has.
 *  @return 0: none. */
static __always_inline __u32 wm_tier_slots(const struct wm_table_head *h, __u32 tier,
					   __u32 *ret_first)
{
	__u32 begin = 0, end;

	if (tier >= WM_TIERS_MAX || tier >= h->tiers)
		return 0;
	if (tier)
		begin = h->end[(tier - 1) & (WM_TIERS_MAX - 1)];
	end = h->end[tier & (WM_TIERS_MAX - 1)];
	*ret_first = begin;
	return end > begin ? end - begin : 0;
}

/* --- within it ----------------------------------------------------------------------------------
 */
/** Of @p n places the one for @p random, 32 even bits. */
static __always_inline __u32 wm_below(__u32 random, __u32 n)
{
	return (__u32)(((__u64)random * n) >> 32);
}

/** The place of consistent hashing that @p key has at try @p i. A try behind the first is for keys
 *  whose backend is not usable: each finds a place of its own, so that its load is spread. */
static __always_inline __u32 wm_hash_place(__u64 key, __u32 i, __u32 n)
{
	return wm_below((__u32)(wm_mix64(key + (__u64)i * 0x9e3779b97f4a7c15ull) >> 32), n);
}

/** @p v halved for each WM_EWMA_HALF_NS of @p age, in between along a line: at most 6 % too much.
 */
static __always_inline __u64 wm_decay(__u64 v, __u64 age_ns)
{
	__u64 halves = age_ns / WM_EWMA_HALF_NS, rest = age_ns % WM_EWMA_HALF_NS;

	if (halves >= 32)
		return 0;
	v >>= halves;
	return v - ((v / 2) * (rest >> 10)) / (WM_EWMA_HALF_NS >> 10);
}

/** Note that @p sample_us was measured of a backend at @p now_ns: a peak counts at once, what is
 *  better by as much as the old one has aged; where that is less than a microsecond, both stay, so
 *  that many measurements in a short time are not many half steps. Method: Finagle's peak EWMA. */
static __always_inline void wm_ewma_observe(struct wm_backend_live *live, __u64 now_ns,
					    __u32 sample_us)
{
	__u32 us = WM_READ(live->rtt_us), after = sample_us ? sample_us : 1;
	__u64 at = WM_READ(live->rtt_at_ns);

	if (after < us) {
		after += (__u32)wm_decay(us - after, now_ns > at ? now_ns - at : 0);
		if (after == us)
			return;
	}
	*(volatile __u32 *)&live->rtt_us = after;
	*(volatile __u64 *)&live->rtt_at_ns = now_ns;
}

/** What a connection to a backend costs: its latency, aged, times those that would be open. One
 *  that nobody has measured costs nothing until it is tried, then much until it has answered; so
 *  does one whose last connect was @p failing, less with time: it would look idle. Below 2^47, so
 *  that it can be multiplied by a weight. */
static __always_inline __u64 wm_ewma_cost(__u32 rtt_us, __u64 rtt_at_ns, __u32 open, __u32 failing,
					  __u64 now_ns)
{
	__u64 us = failing ? WM_EWMA_UNKNOWN_US : rtt_us;
	__u64 share = open < WM_EWMA_OPEN_MAX ? open + 1ull : WM_EWMA_OPEN_MAX;

	if (!us)
		return open ? WM_EWMA_UNKNOWN_US * share : 0;
	us = wm_decay(us, now_ns > rtt_at_ns ? now_ns - rtt_at_ns : 0);
	us = us < WM_EWMA_US_MAX ? us : WM_EWMA_US_MAX;
	return (us ? us : 1) * share;
}

/** Is @p cost, shared by @p weight, below the other? Equal: no. Costs are below 2^47. */
static __always_inline int wm_less_cost(__u64 cost, __u32 weight, __u64 other, __u32 other_weight)
{
	return cost * other_weight < other * weight;
}

/* --- who is usable ------------------------------------------------------------------------------
 */
/** Is a backend ejected at @p now_ns? An ejection ends by itself. */
static __always_inline int wm_ejected(const struct wm_backend_live *live, __u32 stamp, __u64 now_ns)
{
	return WM_READ(live->ejected_until_ns) > now_ns && WM_READ(live->stamp) == stamp;
}

/** So few are up that all are asked, as their checks may be what is wrong: @p up of @p all. */
static __always_inline int wm_panics(__u32 up, __u32 all, __u32 panic_pct)
{
	return panic_pct && (__u64)up * 100 < (__u64)all * panic_pct;
}

/** Copy backend @p l if it may be taken by @p a. @return 1 taken, 0 not usable. */
static __always_inline int wm_take_asked(const struct wm_view *v, const struct wm_lead *l,
					 const struct wm_ask *a, struct wm_choice *ret)
{
	const struct wm_backend_live *live = wm_at_backend_live(v, l->backend);

	if (live && !(a->states & WM_ASK_EJECTED) && wm_ejected(live, l->stamp, a->now_ns))
		return 0;
	return wm_take_in(v, l->backend, l->stamp, a->states, a->families, a->prefer6, ret);
}

/* --- one draw -----------------------------------------------------------------------------------
 */
/* What two are compared by. */
struct wm_load {
	__u64 cost;
	__u32 weight; /* 0: not usable */
};

static __always_inline struct wm_load wm_load_of(const struct wm_view *v, const struct wm_lead *l,
						 const struct wm_ask *a, int by_latency)
{
	const struct wm_backend *b = wm_at_backend(v, l->backend);
	const struct wm_backend_live *live = wm_at_backend_live(v, l->backend);
	struct wm_load r = {0, 0};
	__u32 state = b ? WM_READ(b->state) : 0;

	if (!b || !live || state >> 16 != l->stamp ||
	    !(a->states >> (state & WM_STATE_MASK & 31) & 1) || !(b->families & a->families) ||
	    (!(a->states & WM_ASK_EJECTED) && wm_ejected(live, l->stamp, a->now_ns)))
		return r;
	r.cost = WM_READ(live->open);
	r.cost = by_latency ? wm_ewma_cost(WM_READ(live->rtt_us), WM_READ(live->rtt_at_ns),
					   (__u32)r.cost, WM_READ(live->in_row), a->now_ns)
			    : r.cost + 1;
	r.weight = b->weight ? b->weight : 1;
	return r;
}

/* What a choice of two went by: who was drawn first, and second. */
struct wm_scores {
	__u64 cost[2];
	__u32 weight[2]; /* a cost is shared by it; 0: was not usable, or was not drawn */
	__u32 backend[2];
};

/** The less loaded of two that are drawn by weight. Where one is not usable, the other.
 *  @p told NULL: what it went by is not wanted. */
static __always_inline enum wm_pick wm_draw_two(const struct wm_view *v, const struct wm_table *t,
						const struct wm_ask *a, __u64 random,
						struct wm_lead *ret, struct wm_scores *told)
{
	int by_latency = t->head.balance == WM_BALANCE_PEAK_EWMA;
	struct wm_lead other = {0, 0};
	struct wm_load x, y;
	const __u32 first = a->first, count = a->count;
	__u64 place = (__u64)(__u32)random * count;
	__u64 second;

	if (wm_draw_at(v, t, first + (__u32)(place >> 32), (__u32)place, ret) != WM_PICKED)
		return WM_PICK_TORN;
	if (count < 2)
		return WM_PICKED;
	second = (random >> 32) * (count - 1);
	place = (place >> 32) + 1 + (second >> 32);
	place = place < count ? place : place - count;
	if (wm_draw_at(v, t, first + (__u32)place, (__u32)second, &other) != WM_PICKED)
		return WM_PICK_TORN;
	x = wm_load_of(v, ret, a, by_latency);
	y = wm_load_of(v, &other, a, by_latency);
	if (told)
		*told = (struct wm_scores){
			{x.cost, y.cost}, {x.weight, y.weight}, {ret->backend, other.backend}};
	if (y.weight && (!x.weight || wm_less_cost(y.cost, y.weight, x.cost, x.weight)))
		*ret = other;
	return WM_PICKED;
}

/** Try @p i of a choice among the slots of a->tier of @p t, as its head says. @p random: 64 even
 * bits. @p told of a choice of two, or NULL. @return WM_PICKED with who it is, usable or not, or
 * WM_PICK_TORN. */
static __always_inline enum wm_pick wm_draw_by(const struct wm_view *v, const struct wm_table *t,
					       const struct wm_ask *a, __u32 i, __u64 random,
					       struct wm_lead *ret, struct wm_scores *told)
{
	const __u32 first = a->first, count = a->count;
	__u32 place;

	switch (t->head.balance) {
	case WM_BALANCE_LEAST_CONNECTIONS:
	case WM_BALANCE_PEAK_EWMA:
		return wm_draw_two(v, t, a, random, ret, told);
	case WM_BALANCE_ROUND_ROBIN:
		place = wm_at_turn(v, t->set) % count;
		break;
	case WM_BALANCE_MAGLEV:
		place = wm_hash_place(a->key, i, count);
		break;
	case WM_BALANCE_DIRECT:
		place = i < count ? i : count - 1;
		break;
	default:
		return wm_draw(v, t, first, count, (__u32)random, ret);
	}
	return wm_draw_at(v, t, first + place, 0, ret);
}

/* --- a set --------------------------------------------------------------------------------------
 */
/** Fit the terms of @p a to set @p t: where too few are up, everybody is asked. The live words of a
 *  set that does not ask for it are not touched: the first draw mostly finds who is usable, and
 * each line of memory that a connect reads is one more to wait for where there are many services.
 */
static __always_inline void wm_ask_begin(const struct wm_view *v, const struct wm_table *t,
					 struct wm_ask *a)
{
	const struct wm_set_live *l = t->head.panic_pct ? wm_at_set_live(v, t->set) : 0;
	__u32 up, out;

	a->states = WM_ASK_UP;
	if (!l)
		return;
	up = WM_READ(l->up4) + WM_READ(l->up6); /* an instance has one address */
	out = WM_READ(l->ejected);
	if (wm_panics(up > out ? up - out : 0, t->head.backends, t->head.panic_pct))
		a->states = WM_ASK_ANY;
}

/** Draws found nobody. @return 0: nobody who is up has the family, the slots need not be looked
 *  through. */
static __always_inline __u32 wm_ask_scans(const struct wm_view *v, const struct wm_table *t,
					  const struct wm_ask *a)
{
	return a->states != WM_ASK_UP || wm_ups(v, t->set, a->families);
}

/** An ejection is the backend's, whichever of its sets saw it fail. Are more of set @p t out than
 * it would leave out by itself, as it is small, or leaves nobody out? */
static __always_inline int wm_left_out_by_others(const struct wm_view *v, const struct wm_table *t)
{
	const struct wm_set_live *l = wm_at_set_live(v, t->set);
	__u32 out = l ? WM_READ(l->ejected) : 0;

	if (!out)
		return 0;
	return !(t->head.eject_after | t->head.eject_refused) || !wm_may_eject(&t->head, out - 1);
}

/** Nobody was usable: ask for less, as the set says. @return 0: that is all. */
static __always_inline int wm_ask_less(const struct wm_view *v, const struct wm_table *t,
				       struct wm_ask *a)
{
	__u32 states = WM_ASK_UP;

	if (t->head.when_none == WM_NONE_DRAINING)
		states = WM_ASK_LAST;
	if (t->head.when_none == WM_NONE_ANY)
		states = WM_ASK_ANY;
	if (a->next && wm_ups(v, t->set, a->next))
		return 0;
	if (wm_left_out_by_others(v, t))
		states |= WM_ASK_EJECTED;
	if (a->states == WM_ASK_ANY || a->states == states)
		return 0;
	a->states = states;
	return 1;
}

/** Draw the tier of a->tier for set @p t. @p random: 32 even bits. */
static __always_inline void wm_ask_tier(const struct wm_view *v, const struct wm_table *t,
					__u32 random, struct wm_ask *a)
{
	const struct wm_set_live *l = t->head.tiers > 1 ? wm_at_set_live(v, t->set) : 0;

	a->tier = l ? wm_tier_of(l->cut, t->head.tiers, random) : 0;
}

/** Look at the slot at @p place of a scan. What is usable is shown to @p o, and copied to @p ret if
 * it is the one that is drawn so far: o->total, 0 at first, tells whether any was found.
 *  @return WM_PICKED: this one is usable; WM_PICK_MORE: it is not; WM_PICK_TORN. */
static __always_inline enum wm_pick wm_scan_step(const struct wm_view *v, const struct wm_table *t,
						 __u32 place, const struct wm_ask *a,
						 struct wm_order *o, struct wm_choice *ret)
{
	struct wm_lead lead;
	struct wm_choice c;

	if (wm_draw_at(v, t, place, 0, &lead) != WM_PICKED)
		return WM_PICK_TORN;
	c.passed_over = ret->passed_over;
	if (!wm_take_asked(v, &lead, a, &c)) {
		ret->passed_over = c.passed_over;
		return WM_PICK_MORE;
	}
	o->first = 0;
	wm_order_show(o, 1, c.weight ? c.weight : 1);
	if (o->first)
		*ret = c;
	return WM_PICKED;
}

/** Is a scan over after its @p i th step (from 0)? The draw is among the usable ones of
 *  WM_PICK_SCAN slots, or it is the first behind them; or the first of all, in stated order or
 *  behind a client's place. */
static __always_inline int wm_scan_ends(const struct wm_table *t, const struct wm_order *o, __u32 i)
{
	return o->total && (i + 1 >= WM_PICK_SCAN || t->head.balance == WM_BALANCE_DIRECT ||
			    t->head.balance == WM_BALANCE_MAGLEV);
}

/** Where a scan of the slots of @p a begins. @p random: 32 even bits. A client of consistent
 * hashing has a place of its own behind those that it has tried, so it keeps whom it finds there.
 */
static __always_inline __u32 wm_scan_start(const struct wm_table *t, const struct wm_ask *a,
					   __u32 random)
{
	if (t->head.balance == WM_BALANCE_MAGLEV)
		return wm_hash_place(a->key, WM_PICK_TRIES, a->count);
	return t->head.balance == WM_BALANCE_DIRECT ? 0 : wm_below(random, a->count);
}

#ifndef __bpf__
/** A choice within tier a->tier on the host: draws, then a scan of its slots. @p random(): 32 even
 *  bits. */
static inline enum wm_pick wm_choose_in(const struct wm_view *v, const struct wm_table *t,
					struct wm_ask *a, __u32 (*random)(void *), void *arg,
					struct wm_choice *ret)
{
	__u32 count, start;
	struct wm_order o = {.total = 0};
	struct wm_lead l;

	a->count = count = wm_tier_slots(&t->head, a->tier, &a->first);
	if (!count)
		return WM_PICK_NONE;
	for (__u32 i = 0; i < WM_PICK_TRIES; i++) {
		__u64 r = (__u64)random(arg) << 32 | random(arg);

		if (wm_draw_by(v, t, a, i, r, &l, 0) != WM_PICKED)
			return WM_PICK_TORN;
		if (wm_take_asked(v, &l, a, ret))
			return WM_PICKED;
	}
	if (!wm_ask_scans(v, t, a))
		return WM_PICK_NONE;
	start = wm_scan_start(t, a, random(arg));
	o.random = (__u64)random(arg) << 32 | random(arg);
	for (__u32 i = 0; i < count; i++) {
		__u32 place = start + i < count ? start + i : start + i - count;

		if (wm_scan_step(v, t, a->first + place, a, &o, ret) == WM_PICK_TORN)
			return WM_PICK_TORN;
		if (wm_scan_ends(t, &o, i))
			break;
	}
	return o.total ? WM_PICKED : WM_PICK_NONE;
}

/** The whole decision on the host, as bpf/connect.bpf.c makes it. @p a: all but states and tier; it
 *  has afterwards what was found by. */
static inline enum wm_pick wm_choose(const struct wm_view *v, __u32 set, struct wm_ask *a,
				     __u32 (*random)(void *), void *arg, struct wm_choice *ret)
{
	struct wm_table t;
	enum wm_pick p = wm_table_load(v, set, &t);
	__u32 begin;

	if (p != WM_PICKED)
		return p;
	wm_ask_begin(v, &t, a);
	do {
		wm_ask_tier(v, &t, random(arg), a);
		begin = a->tier;
		for (__u32 k = 0; k < t.head.tiers; k++) {
			a->tier = (begin + k) % t.head.tiers;
			p = wm_choose_in(v, &t, a, random, arg, ret);
			if (p != WM_PICK_NONE)
				return p;
		}
	} while (wm_ask_less(v, &t, a));
	return WM_PICK_NONE;
}
#endif
