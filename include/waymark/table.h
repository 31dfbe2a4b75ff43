/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* table.h - how a reader follows a name or an address to a set, the set to its table, and a slot to
 * a backend. The same code reads in the kernel and in the userspace DNS server. What it goes by:
 *   - entries of `names` and `frontends` are sealed: a mixture of two entries has no valid seal
 *   - a set's word is loaded once per decision, and compared again behind each slot that was read:
 *     what a set gives back, it gives back after its word has changed, and a generation is of one
 *     publication, so the same word says that head and slot were the set's all the time
 *   - a backend's state word is read before and after its address, and has the slot's stamp
 * These tell a reader that was overtaken. Beneath them nothing that was freed is used again while a
 * program that may have seen it runs. The compiler is kept from changing the order of reads; a CPU
 * that reads out of order (not x86) is covered by that rest alone.
 * The includer tells how tables are reached: the host through struct wm_view, a BPF program through
 * map look-ups (it defines WM_AT and the wm_at_* functions first). Pure otherwise. */
#pragma once
#include "layout.h"

#ifndef WM_AT
struct wm_view {
	const struct wm_set *sets;
	const struct wm_table_head *heads;
	const struct wm_slot *slots;
	const struct wm_backend *backends;
	const struct wm_set_live *set_live; /* NULL: how many are up is not known */
	__u32 sets_cap, heads_cap, slots_cap, backends_cap;
	const struct wm_backend_live *live; /* NULL: nothing is known of load and failures */
	__u32 *turn; /* of who tries what would be chosen: counted here; NULL: at the set */
};
static inline const struct wm_set *wm_at_set(const struct wm_view *v, __u32 i)
{
	return i < v->sets_cap ? &v->sets[i] : 0;
}
static inline const struct wm_table_head *wm_at_head(const struct wm_view *v, __u32 i)
{
	return i < v->heads_cap ? &v->heads[i] : 0;
}
static inline const struct wm_slot *wm_at_slot(const struct wm_view *v, __u32 i)
{
	return i < v->slots_cap ? &v->slots[i] : 0;
}
static inline const struct wm_backend *wm_at_backend(const struct wm_view *v, __u32 i)
{
	return i < v->backends_cap ? &v->backends[i] : 0;
}
static inline const struct wm_set_live *wm_at_set_live(const struct wm_view *v, __u32 i)
{
	return v->set_live && i < v->sets_cap ? &v->set_live[i] : 0;
}
static inline const struct wm_backend_live *wm_at_backend_live(const struct wm_view *v, __u32 i)
{
	return v->live && i < v->backends_cap ? &v->live[i] : 0;
}
/** The number of the next turn of set @p i. */
static inline __u32 wm_at_turn(const struct wm_view *v, __u32 i)
{
	const struct wm_set_live *l = wm_at_set_live(v, i);

	if (v->turn)
		return (*v->turn)++;
	return l ? __atomic_fetch_add((__u32 *)(unsigned long)&l->cursor, 1, __ATOMIC_RELAXED) : 0;
}
#endif

/* What others may write meanwhile is read by this, word by word, and each word once. A test that
 * holds a reader between two words has its own. */
#ifndef WM_READ
#define WM_READ(x) (*(const volatile __typeof__(x) *)&(x))
#endif
#define WM_WRITE(x, v)	      (*(volatile __typeof__(x) *)&(x) = (v))
#define WM_COMPILER_BARRIER() __asm__ volatile("" ::: "memory")
#define WM_V4_MAPPED_BE                                                                            \
	__builtin_bswap32(0xffff) /* third word of ::ffff:a.b.c.d, network order                   \
				   */

enum wm_pick {
	WM_PICKED = 0,
	WM_PICK_NONE, /* no usable backend of the asked family */
	WM_PICK_TORN, /* it changed while it was read: try again */
	WM_PICK_MORE, /* tries are used up: the caller scans */
};

typedef __u64 __attribute__((may_alias)) wm_table_word;

/** Copy @p n words of a table. */
static __always_inline void wm_read_words(void *to, const void *from, __u32 n)
{
	const wm_table_word *f = from;
	wm_table_word *t = to;

	for (__u32 i = 0; i < n; i++)
		t[i] = WM_READ(f[i]);
}

/* --- entries of the hashes ----------------------------------------------------------------------
 */
/* The kernel gives a deleted entry's memory to the next key at once, and writes it while a reader
 * may stand in it. So a reader copies what it needs and then looks whether it belongs together and
 * to the key that it asked for. Two entries that differ in one word have different seals; those
 * that differ in more have the same with 2^-64. */
static __always_inline __u64 wm_seal_word(__u64 seal, __u64 word)
{
	seal = (seal ^ word) * 0x9e3779b97f4a7c15ull;
	return seal ^ seal >> 29;
}
#define WM_SEAL_BEGIN 0x77617961726b2032ull

static __always_inline __u64 wm_frontend_seal(const struct wm_frontend_key *k, __u32 set,
					      __u32 flags)
{
	__u64 s = WM_SEAL_BEGIN;

	s = wm_seal_word(s, (__u64)k->addr_be[0] << 32 | k->addr_be[1]);
	s = wm_seal_word(s, (__u64)k->addr_be[2] << 32 | k->addr_be[3]);
	s = wm_seal_word(s, (__u64)k->port_be << 8 | k->proto);
	return wm_seal_word(s, (__u64)set << 32 | flags);
}

/** Copy entry @p e, which was found by @p k. @return 1, or 0: it is torn. */
static __always_inline int wm_frontend_read(const struct wm_frontend *e,
					    const struct wm_frontend_key *k,
					    struct wm_frontend *ret)
{
	ret->set = WM_READ(e->set);
	ret->flags = WM_READ(e->flags);
	ret->seal = WM_READ(e->seal);
	return ret->seal == wm_frontend_seal(k, ret->set, ret->flags);
}

/* What struct wm_name has before its name. */
struct wm_named {
	__u32 set;
	__u8 kind, len;
	__u16 flags;
	__be32 vip4_be;
	__be32 vip6_be[4];
	__u32 ttl_s;
	__u64 seal;
};
_Static_assert(sizeof(struct wm_named) == __builtin_offsetof(struct wm_name, name), "its head");

static __always_inline __u64 wm_name_seal(const struct wm_name_key *k, const struct wm_named *n)
{
	const wm_table_word *w = (const wm_table_word *)n;
	__u64 s = wm_seal_word(WM_SEAL_BEGIN, k->hash[0]);

	s = wm_seal_word(s, k->hash[1]);
	for (unsigned i = 0; i < sizeof(*n) / 8 - 1; i++)
		s = wm_seal_word(s, w[i]);
	return s;
}

/** Copy all but the name of @p e. It counts when the name has been compared since, and then
 *  wm_name_sealed() says so. */
static __always_inline void wm_name_read(const struct wm_name *e, struct wm_named *ret)
{
	wm_read_words(ret, e, sizeof(*ret) / 8);
	WM_COMPILER_BARRIER();
}

static __always_inline int wm_name_sealed(const struct wm_name_key *k, const struct wm_named *n)
{
	return n->seal == wm_name_seal(k, n);
}

/* --- sets ---------------------------------------------------------------------------------------
 */
/** Load a set's table word in one piece. */
static __always_inline struct wm_set_table wm_load_table(const struct wm_set *set)
{
	union {
		__u64 word;
		struct wm_set_table table;
	} u;

	wm_read_words(&u.word, &set->table, 1);
	return u.table;
}

/** Backends of set @p set that are up and have one of @p families, some of them twice; 0: it need
 *  not be looked through. A set without live words: 1. */
static __always_inline __u32 wm_ups(const struct wm_view *v, __u32 set, __u32 families)
{
	const struct wm_set_live *l = wm_at_set_live(v, set);

	if (!l)
		return 1;
	return (families & WM_FAMILY_4 ? WM_READ(l->up4) : 0) +
	       (families & WM_FAMILY_6 ? WM_READ(l->up6) : 0);
}

/* A set's table as a reader holds it. */
struct wm_table {
	struct wm_set_table word; /* as loaded */
	__u32 set;
	__u32 count; /* slots of all tiers */
	struct wm_table_head head;
};

/** Begin to read what set @p set most probably leads to: most heads stand at the set's index, and
 * the first backends of sets. All lines are waited for at a time then. */
static __always_inline void wm_set_ahead(const struct wm_view *v, __u32 set)
{
	const struct wm_table_head *h = wm_at_head(v, set);
	const struct wm_backend *first = wm_at_backend(v, set);

	if (h)
		(void)WM_READ(h->generation);
	if (first)
		(void)WM_READ(first->state);
}

/** The same where the set itself was not read yet. */
static __always_inline void wm_set_all_ahead(const struct wm_view *v, __u32 set)
{
	const struct wm_set *at = wm_at_set(v, set);

	if (at)
		(void)WM_READ(at->table.head);
	wm_set_ahead(v, set);
}

/** Load what set @p set has published. @return WM_PICKED; WM_PICK_NONE: nothing; WM_PICK_TORN. */
static __always_inline enum wm_pick wm_table_load(const struct wm_view *v, __u32 set,
						  struct wm_table *ret)
{
	const struct wm_set *at = wm_at_set(v, set);
	const struct wm_table_head *h;
	__u32 generation;

	if (!at)
		return WM_PICK_NONE;
	wm_set_ahead(v, set);
	ret->word = wm_load_table(at);
	ret->set = set;
	if (!ret->word.generation)
		return WM_PICK_NONE;
	h = wm_at_head(v, ret->word.head);
	if (!h)
		return WM_PICK_TORN;
	generation = WM_READ(h->generation);
	WM_COMPILER_BARRIER();
	wm_read_words(&ret->head, h, sizeof(*h) / 8);
	ret->count = ret->head.end[(ret->head.tiers - 1) & (WM_TIERS_MAX - 1)];
	WM_COMPILER_BARRIER();
	if (generation != ret->word.generation || WM_READ(h->generation) != generation ||
	    ret->head.set != set)
		return WM_PICK_TORN;
	return WM_PICKED;
}

/** Is @p t still what its set has published? Then all that was read of it before is the set's. */
static __always_inline int wm_table_holds(const struct wm_view *v, const struct wm_table *t)
{
	const struct wm_set *at = wm_at_set(v, t->set);
	struct wm_set_table now;

	WM_COMPILER_BARRIER();
	if (!at)
		return 0;
	now = wm_load_table(at);
	return now.generation == t->word.generation && now.head == t->word.head;
}

/** Copy the slot at @p place of the range of @p t. One of few is of the head, which was whole when
 *  it was copied: no slot is read then. A place that there is no memory for is torn, so that a walk
 *  is no longer than the tables, whatever a head says. @return WM_PICKED, WM_PICK_TORN. */
static __always_inline enum wm_pick wm_slot_read(const struct wm_view *v, const struct wm_table *t,
						 __u32 place, struct wm_slot *ret)
{
	const struct wm_slot *s;

	if (t->head.flags & WM_HEAD_FEW) {
		if (place >= WM_FEW_MAX)
			return WM_PICK_TORN;
		ret->backend = ret->alias = t->head.few.backend[place];
		ret->stamp = ret->alias_stamp = t->head.few.stamp[place];
		ret->keep = 0xffffffff;
		return WM_PICKED;
	}
	s = wm_at_slot(v, t->head.first + place);
	if (!s)
		return WM_PICK_TORN;
	wm_read_words(ret, s, sizeof(*s) / 8);
	return wm_table_holds(v, t) ? WM_PICKED : WM_PICK_TORN;
}

/* --- backends -----------------------------------------------------------------------------------
 */
/* What a decision needs of a backend, copied out between two equal reads of its state word. */
struct wm_choice {
	__u32 backend;	   /* index */
	__u32 state;	   /* word as read */
	__be32 addr_be[4]; /* v4-mapped if IPv4 */
	__be16 port_be;
	__u16 family; /* WM_FAMILY_4 or WM_FAMILY_6: what addr_be is */
	__u16 weight;
	__u16 flags;	   /* WM_BACKEND_F_* */
	__u32 passed_over; /* added to for each backend that only WM_NOT_LOOPBACK forbade */
};

/* Beside WM_FAMILY_*: no loopback address. It leads whoever is in another network namespace to
 * itself. */
#define WM_NOT_LOOPBACK 4u

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

/** Copy backend @p index if its occupant has @p stamp, its state is among @p states (bit s: a
 *  backend in WM_STATE_ s) and it has one of @p families. If it has both, IPv6 is taken only when
 *  @p prefer6. @return 1 taken, 0 not usable. */
static __always_inline int wm_take_in(const struct wm_view *v, __u32 index, __u32 stamp,
				      __u32 states, __u32 families, int prefer6,
				      struct wm_choice *ret)
{
	const struct wm_backend *b = wm_at_backend(v, index);
	__u32 state, health, both;

	if (!b)
		return 0;
	state = WM_READ(b->state);
	health = state & WM_STATE_MASK;
	if (state >> 16 != stamp || health > WM_STATE_DRAIN || !(states >> health & 1))
		return 0;
	WM_COMPILER_BARRIER();
	both = WM_READ(b->families) & families;
	if (both && families & WM_NOT_LOOPBACK) {
		both &= ~wm_loopback_families(b);
		ret->passed_over += !both;
	}
	if (!both)
		return 0;
	if (both & WM_FAMILY_6 && (prefer6 || !(both & WM_FAMILY_4))) {
		ret->addr_be[0] = WM_READ(b->addr6_be[0]);
		ret->addr_be[1] = WM_READ(b->addr6_be[1]);
		ret->addr_be[2] = WM_READ(b->addr6_be[2]);
		ret->addr_be[3] = WM_READ(b->addr6_be[3]);
		ret->family = WM_FAMILY_6;
	} else {
		ret->addr_be[0] = 0;
		ret->addr_be[1] = 0;
		ret->addr_be[2] = WM_V4_MAPPED_BE;
		ret->addr_be[3] = WM_READ(b->addr4_be);
		ret->family = WM_FAMILY_4;
	}
	ret->port_be = WM_READ(b->port_be);
	ret->weight = WM_READ(b->weight);
	ret->flags = WM_READ(b->flags);
	ret->backend = index;
	ret->state = state;
	/* an index that got another occupant in between has another stamp */
	WM_COMPILER_BARRIER();
	return WM_READ(b->state) == state;
}

/** The same of one that is up. */
static __always_inline int wm_take(const struct wm_view *v, __u32 index, __u32 stamp,
				   __u32 families, int prefer6, struct wm_choice *ret)
{
	return wm_take_in(v, index, stamp, 1u << WM_STATE_UP, families, prefer6, ret);
}
