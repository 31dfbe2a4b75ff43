/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* pick.h - how a reader follows a set to a backend. The same code decides in the kernel and in the
 * userspace DNS server. A set's word is loaded once per decision; slots are checked against its
 * generation, a backend's state word is read before and after its address. Both tell a reader that
 * was overtaken; they are 16 bits, and a generation is of one set, so what keeps readers from what
 * has become another's is that nothing freed is used again for WM_RECYCLE_NS.
 * The includer tells how tables are reached: the host through struct wm_view, a BPF program through
 * map look-ups (it defines WM_AT and the three wm_at_* functions first). Pure otherwise.
 * Method: Walker's alias method as by Vose (1991). */
#pragma once
#include "layout.h"
#include "name_hash.h"

#ifndef WM_AT
struct wm_view {
	const struct wm_set *sets;
	const struct wm_slot *slots;
	const struct wm_backend *backends;
	__u32 sets_cap, slots_cap, backends_cap;
};
static inline const struct wm_set *wm_at_set(const struct wm_view *v, __u32 i)
{
	return i < v->sets_cap ? &v->sets[i] : 0;
}
static inline const struct wm_slot *wm_at_slot(const struct wm_view *v, __u32 i)
{
	return i < v->slots_cap ? &v->slots[i] : 0;
}
static inline const struct wm_backend *wm_at_backend(const struct wm_view *v, __u32 i)
{
	return i < v->backends_cap ? &v->backends[i] : 0;
}
#endif

#define WM_READ(x)	      (*(const volatile __typeof__(x) *)&(x))
#define WM_COMPILER_BARRIER() __asm__ volatile("" ::: "memory")
#define WM_V4_MAPPED_BE                                                                            \
	__builtin_bswap32(0xffff) /* third word of ::ffff:a.b.c.d, network order                   \
				   */

enum wm_pick {
	WM_PICKED = 0,
	WM_PICK_NONE, /* no usable backend of the asked family */
	WM_PICK_TORN, /* the set was republished while it was read: try again */
	WM_PICK_MORE, /* tries are used up: the caller scans */
};

/* What a decision needs of a backend, copied out between two equal reads of its state word. */
struct wm_choice {
	__u32 backend;	   /* index */
	__u32 state;	   /* word as read */
	__be32 addr_be[4]; /* v4-mapped if IPv4 */
	__be16 port_be;
	__u16 family;	   /* WM_FAMILY_4 or WM_FAMILY_6: what addr_be is */
	__u32 passed_over; /* added to for each backend that only WM_NOT_LOOPBACK forbade */
};

/* Beside WM_FAMILY_*: no loopback address. It leads whoever is in another network namespace to
 * itself. */
#define WM_NOT_LOOPBACK 4u

typedef __u64 __attribute__((may_alias)) wm_table_word;

/** Load a set's table word in one piece. */
static __always_inline struct wm_set_table wm_load_table(const struct wm_set *set)
{
	union {
		__u64 word;
		struct wm_set_table table;
	} u;

	u.word = *(const volatile wm_table_word *)&set->table;
	return u.table;
}

/** May a set have a backend of one of @p families? It need not be looked through otherwise. */
static __always_inline int wm_has_families(const struct wm_set *set, __u32 families)
{
	__u32 has = WM_READ(set->families);

	return !has || has & families;
}

/** WM_FAMILY_* of @p b whose address is 127.0.0.0/8, ::1 or the v4-mapped form of the former. */
static __always_inline __u32 wm_loopback_families(const struct wm_backend *b)
{
	const __u32 net = __builtin_bswap32(0xff000000), lo = __builtin_bswap32(0x7f000000);
	const __be32 *a = b->addr6_be;
	__u32 families = (b->addr4_be & net) == lo ? WM_FAMILY_4 : 0;

	if (a[0] | a[1])
		return families;
	if ((!a[2] && a[3] == __builtin_bswap32(1)) ||
	    (a[2] == WM_V4_MAPPED_BE && (a[3] & net) == lo))
		families |= WM_FAMILY_6;
	return families;
}

/** Copy backend @p index if it is up and has one of @p families. If it has both, IPv6 is taken only
 *  when @p prefer6. @return 1 taken, 0 not usable. */
static __always_inline int wm_take(const struct wm_view *v, __u32 index, __u32 families,
				   int prefer6, struct wm_choice *ret)
{
	const struct wm_backend *b = wm_at_backend(v, index);
	__u32 state, both;

	if (!b)
		return 0;
	state = WM_READ(b->state);
	if ((state & WM_STATE_MASK) != WM_STATE_UP)
		return 0;
	WM_COMPILER_BARRIER();
	both = b->families & families;
	if (both && families & WM_NOT_LOOPBACK) {
		both &= ~wm_loopback_families(b);
		ret->passed_over += !both;
	}
	if (!both)
		return 0;
	if (both & WM_FAMILY_6 && (prefer6 || !(both & WM_FAMILY_4))) {
		ret->addr_be[0] = b->addr6_be[0];
		ret->addr_be[1] = b->addr6_be[1];
		ret->addr_be[2] = b->addr6_be[2];
		ret->addr_be[3] = b->addr6_be[3];
		ret->family = WM_FAMILY_6;
	} else {
		ret->addr_be[0] = 0;
		ret->addr_be[1] = 0;
		ret->addr_be[2] = WM_V4_MAPPED_BE;
		ret->addr_be[3] = b->addr4_be;
		ret->family = WM_FAMILY_4;
	}
	ret->port_be = b->port_be;
	ret->backend = index;
	ret->state = state;
	/* an index that got another occupant in between has another stamp: where reads stay in
	 * order, as on x86; elsewhere the rest of WM_RECYCLE_NS outlasts what a CPU reorders */
	WM_COMPILER_BARRIER();
	return WM_READ(b->state) == state;
}

/** One weighted draw. @p random: 32 even bits; the product's upper half chooses the slot, its lower
 *  half decides between the slot's backend and its alias.
 *  @return WM_PICKED with the backend's index and the slot's place, or WM_PICK_TORN. */
static __always_inline enum wm_pick wm_draw(const struct wm_view *v, struct wm_set_table t,
					    __u32 random, __u32 *ret_backend, __u32 *ret_place)
{
	__u64 x = (__u64)random * t.count;
	const struct wm_slot *s = wm_at_slot(v, t.first + (__u32)(x >> 32));

	if (!s || s->generation != t.generation)
		return WM_PICK_TORN;
	*ret_backend = (__u32)x <= s->keep ? s->backend : s->alias;
	*ret_place = (__u32)(x >> 32);
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
static __always_inline enum wm_pick wm_scan_step(const struct wm_view *v, struct wm_set_table t,
						 __u32 place, __u32 families, int prefer6,
						 struct wm_order *o, struct wm_choice *ret)
{
	const struct wm_slot *s = wm_at_slot(v, t.first + place);
	struct wm_choice c;

	if (!s || s->generation != t.generation)
		return WM_PICK_TORN;
	c.passed_over = ret->passed_over;
	if (!wm_take(v, s->backend, families, prefer6, &c)) {
		ret->passed_over = c.passed_over;
		return WM_PICK_MORE;
	}
	o->first = 0;
	wm_order_show(o, 1, s->weight ? s->weight : 1);
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
static inline enum wm_pick wm_pick(const struct wm_view *v, const struct wm_set *set,
				   __u32 families, int prefer6, __u32 (*random)(void *), void *arg,
				   struct wm_choice *ret)
{
	struct wm_set_table t = wm_load_table(set);
	struct wm_order o = {.total = 0};
	__u32 backend, place, start;
	enum wm_pick p;

	if (!t.count)
		return WM_PICK_NONE;
	for (int i = 0; i < WM_PICK_TRIES; i++) {
		p = wm_draw(v, t, random(arg), &backend, &place);
		if (p != WM_PICKED)
			return p;
		if (wm_take(v, backend, families, prefer6, ret))
			return WM_PICKED;
	}
	start = (__u32)(((__u64)random(arg) * t.count) >> 32);
	o.random = (__u64)random(arg) << 32 | random(arg);
	for (__u32 i = 0; i < t.count; i++) {
		place = start + i < t.count ? start + i : start + i - t.count;
		if (wm_scan_step(v, t, place, families, prefer6, &o, ret) == WM_PICK_TORN)
			return WM_PICK_TORN;
		if (wm_scan_ends(&o, i))
			break;
	}
	return o.total ? WM_PICKED : WM_PICK_NONE;
}
#endif
