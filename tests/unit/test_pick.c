/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry resolution */
/* The weighted choice over the tables that userspace builds for it: every share is exact, nobody
 * without weight or health is chosen, and half-written tables lead nowhere. */
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/resolution/alias.h"
#include "waymark/pick.h"

#include <criterion/criterion.h>
#include <pthread.h>
#include <string.h>

#define SLOTS  64
#define ROUNDS 300
/* Draws of one even grid; every 32-bit number would take minutes. A prime, so that no count of
 * slots divides it. */
#define GRID 1000003u

static struct wm_set set;
static struct wm_slot slots[SLOTS];
static struct wm_backend backends[SLOTS];
static const struct wm_view view = {&set, slots, backends, 1, SLOTS, SLOTS};
static uint32_t weights[SLOTS];

static void build(uint32_t n)
{
	uint32_t index[SLOTS];

	for (uint32_t i = 0; i < n; i++) {
		index[i] = n - 1 - i; /* a slot and its backend have different numbers */
		backends[i] = (struct wm_backend){.state = WM_STATE_UP | 9u << 16,
						  .families = WM_FAMILY_4,
						  .addr4_be = i + 1,
						  .port_be = (uint16_t)i};
	}
	cr_assert_eq(wm_alias_build(index, weights, n, slots), 0);
	for (uint32_t i = 0; i < n; i++)
		slots[i].generation = 77;
	set.table = (struct wm_set_table){.first = 0, .count = (uint16_t)n, .generation = 77};
}

/* Over an even grid of all random numbers each backend gets its share, but for the grid's steps. */
static void shares_are_exact(uint32_t n)
{
	uint32_t got[SLOTS] = {0}, backend, place;
	uint64_t total = 0;

	for (uint32_t i = 0; i < n; i++)
		total += weights[i];
	for (uint32_t g = 0; g < GRID; g++) {
		uint32_t random = (uint32_t)(((uint64_t)g << 32) / GRID);

		cr_assert_eq(wm_draw(&view, set.table, random, &backend, &place), WM_PICKED);
		cr_assert(backend < n && place < n);
		got[backend]++;
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
	uint32_t backend, place;

	for (uint32_t n = 1; n <= SLOTS; n++) {
		for (uint32_t i = 0; i < n; i++)
			weights[i] = 1 + i % 3;
		build(n);
		for (unsigned e = 0; e < WM_ARRAY_LEN(ends); e++) {
			cr_assert_eq(wm_draw(&view, set.table, ends[e], &backend, &place),
				     WM_PICKED);
			cr_assert(backend < n && place < n);
		}
	}
}

static __u32 random32(void *arg)
{
	(void)arg;
	return (__u32)wm_random64();
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

			backends[i].state = (up ? WM_STATE_UP : WM_STATE_DOWN + i % 2) | i << 16;
			backends[i].families = (uint16_t)(1 + i % 3);
			usable += up && backends[i].families & families;
		}
		for (unsigned k = 0; k < 50; k++) {
			struct wm_choice c = {0};
			enum wm_pick p = wm_pick(&view, &set, families, 1, random32, NULL, &c);

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

/* One slot of another generation: a reader that meets it says so, whatever else it saw. */
Test(pick, any_torn_slot_is_noticed)
{
	struct wm_choice c;

	for (uint32_t i = 0; i < 8; i++)
		weights[i] = 1;
	for (uint32_t torn = 0; torn < 8; torn++) {
		build(8);
		for (uint32_t i = 0; i < 8; i++)
			backends[i].state = WM_STATE_DOWN;
		slots[torn].generation++;
		for (unsigned k = 0; k < 50; k++)
			cr_assert_eq(wm_pick(&view, &set, WM_FAMILY_4, 0, random32, NULL, &c),
				     WM_PICK_TORN);
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

		if (!wm_take(&view, 0, WM_FAMILY_4, 0, &c))
			continue;
		stamp = c.state >> 16;
		if (stamp == 9 && c.addr_be[3] == 1)
			continue; /* as build() left it */
		cr_assert_eq(c.addr_be[3], stamp * 3 + 1);
		cr_assert_eq(c.port_be, (uint16_t)~stamp);
		taken++;
	}
	writing = false;
	pthread_join(writer, NULL);
}
