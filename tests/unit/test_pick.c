/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution */
/* The weighted choice over the tables that userspace builds for it: every share is exact, nobody
 * without weight or health is chosen, and half-written tables lead nowhere. */
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/resolution/strategy/strategy.h"
#include "waymark/choose.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define SLOTS  64
#define ROUNDS 300
/* Draws of one even grid; every 32-bit number would take minutes. A prime, so that no count of
 * slots divides it. */
#define GRID 1000003u

static struct wm_set set;
static struct wm_table_head head;
static struct wm_slot slots[SLOTS];
static struct wm_backend backends[SLOTS];
static const struct wm_view view = {.sets = &set,
				    .heads = &head,
				    .slots = slots,
				    .backends = backends,
				    .sets_cap = 1,
				    .heads_cap = 1,
				    .slots_cap = SLOTS,
				    .backends_cap = SLOTS};
static uint32_t weights[SLOTS];

static void build(uint32_t n)
{
	struct wm_member members[SLOTS];

	for (uint32_t i = 0; i < n; i++) {
		/* a slot and its backend have different numbers */
		members[i] = (struct wm_member){
			.backend = n - 1 - i, .stamp = 9, .weight = (uint16_t)weights[i]};
		backends[i] = (struct wm_backend){.state = WM_STATE_UP | 9u << 16,
						  .families = WM_FAMILY_4,
						  .addr4_be = i + 1,
						  .port_be = (uint16_t)i};
	}
	cr_assert_eq(wm_strategy_alias.build(members, n, slots, n), 0);
	head = (struct wm_table_head){.generation = 77, .tiers = 1, .end = {n}};
	set.table = (struct wm_set_table){.head = 0, .generation = 77};
}

/* Over an even grid of all random numbers each backend gets its share, but for the grid's steps. */
static void shares_are_exact(uint32_t n)
{
	uint32_t got[SLOTS] = {0};
	struct wm_table t;
	struct wm_lead l;
	uint64_t total = 0;

	cr_assert_eq(wm_table_load(&view, 0, &t), WM_PICKED);

	for (uint32_t i = 0; i < n; i++)
		total += weights[i];
	for (uint32_t g = 0; g < GRID; g++) {
		uint32_t random = (uint32_t)(((uint64_t)g << 32) / GRID);

		cr_assert_eq(wm_draw(&view, &t, 0, n, random, &l), WM_PICKED);
		cr_assert(l.backend < n && l.stamp == 9);
		got[l.backend]++;
	}
	for (uint32_t i = 0; i < n; i++) {
		double share = (double)weights[i] / (double)total * GRID;
		double room = 2.0 * n + 2; /* a step at each end of each part of a slot */

		cr_assert_float_eq(got[n - 1 - i], share, room, "%u of %u: %u, not %f", i, n,
				   got[n - 1 - i], share);
	}
}

Test(draw, shares_are_exact)
{
	static const uint32_t uneven[] = {1, 65535, 7, 7, 300, 2};

	for (uint32_t n = 1; n <= SLOTS; n = n * 2 + 1) {
		for (uint32_t i = 0; i < n; i++)
			weights[i] = 1;
		build(n);
		shares_are_exact(n);
	}
	memcpy(weights, uneven, sizeof(uneven));
	build(WM_ARRAY_LEN(uneven));
	shares_are_exact(WM_ARRAY_LEN(uneven));
}

Test(draw, the_ends_of_the_random_numbers)
{
	static const uint32_t ends[] = {0, 1, 0x7fffffff, 0x80000000, 0xfffffffe, 0xffffffff};
	struct wm_table t;
	struct wm_lead l;

	for (uint32_t n = 1; n <= SLOTS; n++) {
		for (uint32_t i = 0; i < n; i++)
			weights[i] = 1 + i % 3;
		build(n);
		for (unsigned e = 0; e < WM_ARRAY_LEN(ends); e++) {
			cr_assert_eq(wm_table_load(&view, 0, &t), WM_PICKED);
			cr_assert_eq(wm_draw(&view, &t, 0, n, ends[e], &l), WM_PICKED);
			cr_assert(l.backend < n);
		}
	}
}

static __u32 random32(void *arg)
{
	(void)arg;
	return (__u32)wm_random64();
}

static enum wm_pick choose(__u32 families, __u32 prefer6, struct wm_choice *ret)
{
	struct wm_ask a = {.families = families, .prefer6 = prefer6};

	return wm_choose(&view, 0, &a, random32, NULL, ret);
}

/* A slow model of what may be chosen, over random states and families. */
Test(pick, only_what_is_usable_and_always_if_there_is_one)
{
	for (unsigned round = 0; round < ROUNDS; round++) {
		uint32_t n = 1 + (uint32_t)(wm_random64() % SLOTS), usable = 0;
		uint32_t families = 1 + (uint32_t)(wm_random64() % 3);

		for (uint32_t i = 0; i < n; i++)
			weights[i] = 1 + (uint32_t)(wm_random64() % 5);
		build(n);
		for (uint32_t i = 0; i < n; i++) {
			/* one in 40 up: the draws miss, the scan must not */
			uint32_t up = wm_random64() % 40 == 0;

			backends[i].state = (up ? WM_STATE_UP : WM_STATE_DOWN + i % 2) | 9u << 16;
			backends[i].families = (uint16_t)(1 + i % 3);
			usable += up && backends[i].families & families;
		}
		for (unsigned k = 0; k < 50; k++) {
			struct wm_choice c = {0};
			enum wm_pick p = choose(families, 1, &c);

			cr_assert_eq(p, usable ? WM_PICKED : WM_PICK_NONE);
			if (p != WM_PICKED)
				continue;
			cr_assert_eq(backends[c.backend].state & WM_STATE_MASK, WM_STATE_UP);
			cr_assert_eq(c.state, backends[c.backend].state);
			cr_assert_eq(c.port_be, backends[c.backend].port_be);
			cr_assert(c.family & families & backends[c.backend].families);
			if (c.family == WM_FAMILY_4)
				cr_assert_eq(c.addr_be[3], c.backend + 1);
		}
	}
}

/* A head that is another's, or none: a reader that meets it says so. So does one whose set was
 * published anew after it had loaded the word, whatever the slots then hold. */
Test(pick, a_torn_table_is_noticed)
{
	struct wm_choice c;
	struct wm_table t;
	struct wm_slot s;

	for (uint32_t i = 0; i < 8; i++)
		weights[i] = 1;
	build(8);
	head.generation = 78;
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_TORN);
	head.generation = 77;
	head.set = 1;
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_TORN);
	head.set = 0;
	set.table.head = 1;
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_TORN);
	set.table.head = 0;
	cr_assert_eq(wm_table_load(&view, 0, &t), WM_PICKED);
	cr_assert_eq(wm_slot_read(&view, &t, 7, &s), WM_PICKED);
	set.table.generation = 78;
	cr_assert_eq(wm_slot_read(&view, &t, 7, &s), WM_PICK_TORN);
}

/* A backend with another occupant than the slot was written for is not taken. */
Test(pick, another_occupant_is_not_taken)
{
	struct wm_choice c;

	weights[0] = 1;
	build(1);
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICKED);
	backends[0].state = WM_STATE_UP | 10u << 16;
	cr_assert_eq(choose(WM_FAMILY_4, 0, &c), WM_PICK_NONE);
}

/* Words of an entry of another key, or of this one before and after, have no seal together. */
Test(seal, a_mixture_of_two_entries_is_refused)
{
	struct wm_frontend_key k[2] = {{.addr_be = {0, 0, 1, 2}}, {.addr_be = {0, 0, 1, 3}}};
	struct wm_frontend e[4], got;

	for (unsigned i = 0; i < 4; i++) { /* two values of each key */
		e[i] = (struct wm_frontend){.set = i, .flags = i};
		e[i].seal = wm_frontend_seal(&k[i / 2], i, i);
	}
	for (unsigned i = 0; i < 4 * 4 * 4; i++) {
		unsigned a = i % 4, b = i / 4 % 4, c = i / 16;
		struct wm_frontend mixed = {e[a].set, e[b].flags, e[c].seal};

		cr_assert_eq(wm_frontend_read(&mixed, &k[0], &got), a == b && b == c && a < 2);
	}
}

/* --- a writer at work ------------------------------------------------------------------------- */
#define TAKES 200000

static volatile bool writing = true;

/* As tables.c puts a new occupant into an index, with no quarantine in between, which is worse than
 * what happens. Address and port follow from the stamp. */
static void *occupy(void *arg)
{
	struct wm_backend *b = arg;

	for (uint32_t stamp = 1; writing; stamp = (stamp + 1) & 0xffff) {
		__atomic_store_n(&b->state, stamp << 16 | WM_STATE_FREE, __ATOMIC_RELEASE);
		__atomic_thread_fence(__ATOMIC_RELEASE);
		__atomic_store_n(&b->addr4_be, stamp * 3 + 1, __ATOMIC_RELAXED);
		__atomic_store_n(&b->port_be, (uint16_t)~stamp, __ATOMIC_RELAXED);
		__atomic_store_n(&b->state, stamp << 16 | WM_STATE_UP, __ATOMIC_RELEASE);
	}
	return NULL;
}

/* What was taken is one occupant's, however often the index changes hands meanwhile. */
Test(pick, a_choice_is_of_one_occupant)
{
	struct wm_choice c = {0};
	unsigned taken = 0;
	pthread_t writer;

	weights[0] = 1;
	build(1);
	cr_assert_eq(pthread_create(&writer, NULL, occupy, backends), 0);
	while (taken < TAKES) {
		uint32_t stamp;

		stamp = WM_READ(backends[0].state) >> 16;
		if (!wm_take(&view, 0, stamp, WM_FAMILY_4, 0, &c))
			continue;
		if (stamp == 9 && c.addr_be[3] == 1)
			continue; /* as build() left it */
		cr_assert_eq(c.addr_be[3], stamp * 3 + 1);
		cr_assert_eq(c.port_be, (uint16_t)~stamp);
		taken++;
	}
	writing = false;
	pthread_join(writer, NULL);
}

/* --- the order of an answer --------------------------------------------------------------------
 */
/* The first by weight, behind it every order as often as any other, and each number once. */
Test(pick, who_stands_next_is_even_behind_the_first)
{
	static const uint32_t weight[4] = {3, 1, 1, 1};
	uint32_t seen[4][4][4] = {{{0}}};
	struct wm_order o = {.random = 99};

	for (int r = 0; r < 48000; r++) {
		uint32_t at[4] = {0, 1, 2, 3};

		o.total = o.first = 0;
		for (uint32_t i = 0; i < 4; i++)
			wm_order_show(&o, i, weight[i]);
		for (uint32_t i = 0; i < 4; i++) {
			uint32_t k = wm_order_next(&o, i, 4), was = at[i];

			cr_assert(k >= i && k < 4);
			at[i] = at[k];
			at[k] = was;
		}
		seen[at[0]][at[1]][at[2]]++;
	}
	/* 4,000 and 1,333 are expected, and 400 and 220 are six deviations */
	for (uint32_t i = 0; i < 64; i++) {
		uint32_t a = i / 16, b = i / 4 % 4, c = i % 4;
		int even = a == b || b == c || a == c ? 0 : a ? 1333 : 4000;

		cr_assert_lt(abs((int)seen[a][b][c] - even), a ? 220 : 400, "%u %u %u: %u", a, b, c,
			     seen[a][b][c]);
	}
}
