/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pick.h - a choice at random by weight, and the order of an answer: what connect() does where a
 * service says nothing else, and DNS. The same code decides in the kernel and in the userspace DNS
 * server. The includer tells how tables are reached (table.h). Pure otherwise.
 * Method: Walker's alias method as by Vose (1991). */
#pragma once
#include "name_hash.h"
#include "table.h"

/* Where a slot leads. */
struct wm_lead {
	__u32 backend;
	__u32 stamp;
};

/** One weighted draw among the @p count slots from place @p first of the range of @p t. @p random:
 *  32 even bits; the product's upper half chooses the slot, its lower half decides between the
 *  slot's backend and its alias. @return WM_PICKED or WM_PICK_TORN. */
static __always_inline enum wm_pick wm_draw(const struct wm_view *v, const struct wm_table *t,
					    __u32 first, __u32 count, __u32 random,
					    struct wm_lead *ret)
{
	__u64 x = (__u64)random * count;
	struct wm_slot s;

	if (wm_slot_read(v, t, first + (__u32)(x >> 32), &s) != WM_PICKED)
		return WM_PICK_TORN;
	ret->backend = (__u32)x <= s.keep ? s.backend : s.alias;
	ret->stamp = (__u32)x <= s.keep ? s.stamp : s.alias_stamp;
	return WM_PICKED;
}

/* --- the order of an answer ---------------------------------------------------------------------
 */
/* Who stands first is drawn by weight, the rest is shuffled: for addresses and SRV records, from
 * the tables and from the registry, in the kernel and in userspace. Only what may be chosen is
 * shown to it, so nobody inherits the share of who is down. */
struct wm_order {
	__u64 random; /* even bits at first */
	__u64 total;  /* weight of what was shown; 0: nothing has any, and all are equal */
	__u32 first;  /* number of the one that is drawn so far */
};

/** An even number below @p n, 1 to 2^32. */
static __always_inline __u32 wm_order_below(struct wm_order *o, __u64 n)
{
	o->random += 0x9e3779b97f4a7c15ull;
	return (__u32)((wm_mix64(o->random) >> 32) * n >> 32);
}

/** Show number @p i with its weight, 0 to 65535, 65535 numbers at most. A number that is shown
 *  again has the sum of its weights. After it, each is `first` with its share of `total`. */
static __always_inline void wm_order_show(struct wm_order *o, __u32 i, __u32 weight)
{
	o->total += weight;
	if (weight && wm_order_below(o, o->total) < weight)
		o->first = i;
}

/** Who changes places with number @p i, called for i = 0, 1, 2 and so on to the last: 0 with the
 *  drawn one, each other with itself or one before it that is not the first. */
static __always_inline __u32 wm_order_swap(struct wm_order *o, __u32 i)
{
	if (!o->total)
		return wm_order_below(o, i + 1ull);
	return i ? 1 + wm_order_below(o, i) : o->first;
}

/** Look at the slot at @p place of a scan. What is usable is shown to @p o, and copied to @p ret if
 * it is the one that is drawn so far: o->total, 0 at first, tells whether any was found.
 *  @return WM_PICKED: this one is usable; WM_PICK_MORE: it is not; WM_PICK_TORN. */
static __always_inline enum wm_pick wm_scan_step(const struct wm_view *v, const struct wm_table *t,
						 __u32 place, __u32 families, int prefer6,
						 struct wm_order *o, struct wm_choice *ret)
{
	struct wm_choice c;
	struct wm_slot s;

	if (wm_slot_read(v, t, place, &s) != WM_PICKED)
		return WM_PICK_TORN;
	c.passed_over = ret->passed_over;
	if (!wm_take(v, s.backend, s.stamp, families, prefer6, &c)) {
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
 *  WM_PICK_SCAN slots, or it is the first behind them. */
static __always_inline int wm_scan_ends(const struct wm_order *o, __u32 i)
{
	return o->total && i + 1 >= WM_PICK_SCAN;
}

#ifndef __bpf__
/** The whole decision on the host: draws, then a scan of all slots. @p random(): 32 even bits. */
static inline enum wm_pick wm_pick(const struct wm_view *v, __u32 set, __u32 families, int prefer6,
				   __u32 (*random)(void *), void *arg, struct wm_choice *ret)
{
	struct wm_table t;
	struct wm_order o = {.total = 0};
	enum wm_pick p = wm_table_load(v, set, &t);
	struct wm_lead l;
	__u32 place, start;

	if (p != WM_PICKED || !t.count)
		return p == WM_PICKED ? WM_PICK_NONE : p;
	for (int i = 0; i < WM_PICK_TRIES; i++) {
		p = wm_draw(v, &t, 0, t.count, random(arg), &l);
		if (p != WM_PICKED)
			return p;
		if (wm_take(v, l.backend, l.stamp, families, prefer6, ret))
			return WM_PICKED;
	}
	start = (__u32)(((__u64)random(arg) * t.count) >> 32);
	o.random = (__u64)random(arg) << 32 | random(arg);
	for (__u32 i = 0; i < t.count; i++) {
		place = start + i < t.count ? start + i : start + i - t.count;
		if (wm_scan_step(v, &t, place, families, prefer6, &o, ret) == WM_PICK_TORN)
			return WM_PICK_TORN;
		if (wm_scan_ends(&o, i))
			break;
	}
	return o.total ? WM_PICKED : WM_PICK_NONE;
}
#endif
