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

/** Where the slot at @p place of the range of @p t leads at @p coin, 32 even bits: to its backend
 * or to its alias. @return WM_PICKED or WM_PICK_TORN. */
static __always_inline enum wm_pick wm_draw_at(const struct wm_view *v, const struct wm_table *t,
					       __u32 place, __u32 coin, struct wm_lead *ret)
{
	struct wm_slot s;

	if (wm_slot_read(v, t, place, &s) != WM_PICKED)
		return WM_PICK_TORN;
	ret->backend = coin <= s.keep ? s.backend : s.alias;
	ret->stamp = coin <= s.keep ? s.stamp : s.alias_stamp;
	return WM_PICKED;
}

/** One weighted draw among the @p count slots from place @p first of the range of @p t. @p random:
 *  32 even bits; the product's upper half chooses the slot, its lower half is the coin. */
static __always_inline enum wm_pick wm_draw(const struct wm_view *v, const struct wm_table *t,
					    __u32 first, __u32 count, __u32 random,
					    struct wm_lead *ret)
{
	__u64 x = (__u64)random * count;

	return wm_draw_at(v, t, first + (__u32)(x >> 32), (__u32)x, ret);
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

/** Who of @p n stands at place @p i, in the order that wm_order_swap() makes, but for i = 0, 1, 2
 * and so on each is known at once: itself or one behind it, whose place number @p i takes. */
static __always_inline __u32 wm_order_next(struct wm_order *o, __u32 i, __u32 n)
{
	if (!i && o->total)
		return o->first;
	return i + 1 < n ? i + wm_order_below(o, n - i) : i;
}

/** Who changes places with number @p i, called for i = 0, 1, 2 and so on to the last: 0 with the
 *  drawn one, each other with itself or one before it that is not the first. */
static __always_inline __u32 wm_order_swap(struct wm_order *o, __u32 i)
{
	if (!o->total)
		return wm_order_below(o, i + 1ull);
	return i ? 1 + wm_order_below(o, i) : o->first;
}
