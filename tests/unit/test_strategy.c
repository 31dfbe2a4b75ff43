/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution */
/* How the slots of a tier are laid out for each way to choose. */
#include "userspace/base/macros.h"
#include "userspace/resolution/strategy/strategy.h"
#include "waymark/name_hash.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#define MEMBERS 1000
static struct wm_slot slots[WM_TIER_SLOTS_MAX], after[WM_TIER_SLOTS_MAX];
static struct wm_member members[WM_TIER_SLOTS_MAX];

static void make(uint32_t n, uint16_t weight)
{
	for (uint32_t i = 0; i < n; i++)
		members[i] = (struct wm_member){.instance = 0x9e3779b97f4a7c15ull * (i + 1),
						.backend = n - 1 - i,
						.stamp = (uint16_t)(i + 7),
						.weight = weight};
}

static uint32_t build(const struct wm_strategy *s, uint32_t n)
{
	uint32_t count = s->size(members, n);

	cr_assert(count > 0 && count <= WM_TIER_SLOTS_MAX, "%s: %u slots", s->name, count);
	cr_assert_eq(s->build(members, n, slots, count), 0);
	return count;
}

/* --- turns --------------------------------------------------------------------------------------
 */
Test(strategy, turns_are_as_many_as_the_weights_say_and_spread)
{
	const uint16_t weights[] = {5, 1, 1, 3, 10};
	unsigned done[5] = {0};

	make(5, 1);
	for (unsigned i = 0; i < 5; i++)
		members[i].weight = (uint16_t)(weights[i] * 6);
	cr_assert_eq(build(&wm_strategy_rotation, 5), 20, "what weights have in common is nothing");
	for (unsigned k = 0; k < 20; k++) {
		done[4 - slots[k].backend]++;
		for (unsigned i = 0; i < 5; i++) {
			double due = (k + 1.0) * weights[i] / 20;

			cr_assert(done[i] > due - 1.01 && done[i] < due + 1.01,
				  "%u has had %u turns of %u, %.2f were due", i, done[i], k + 1,
				  due);
		}
	}
	for (unsigned i = 0; i < 5; i++)
		cr_assert_eq(done[i], weights[i]);
}

Test(strategy, turns_of_equals_are_their_order)
{
	make(7, 100);
	cr_assert_eq(build(&wm_strategy_rotation, 7), 7);
	for (unsigned i = 0; i < 7; i++) {
		cr_assert_eq(slots[i].backend, members[i].backend);
		cr_assert_eq(slots[i].stamp, members[i].stamp);
		cr_assert_eq(slots[i].alias, slots[i].backend);
	}
}

Test(strategy, turns_are_bounded_and_everybody_has_one)
{
	static unsigned done[WM_TIER_SLOTS_MAX];
	uint32_t sizes[] = {2, 100, 5000, 65535}, count;

	for (unsigned c = 0; c < WM_ARRAY_LEN(sizes); c++) {
		uint32_t n = sizes[c];

		make(n, 1);
		for (uint32_t i = 0; i < n; i++)
			members[i].weight = (uint16_t)(i % 3 ? 65521 : 1 + i % 7);
		count = build(&wm_strategy_rotation, n);
		memset(done, 0, sizeof(done));
		for (uint32_t i = 0; i < count; i++)
			done[slots[i].backend]++;
		for (uint32_t i = 0; i < n; i++)
			cr_assert(done[i], "%u of %u has no turn", i, n);
	}
}

/* --- consistent hashing -------------------------------------------------------------------------
 */
static void count_places(unsigned *of, uint32_t n, uint32_t count)
{
	memset(of, 0, n * sizeof(*of));
	for (uint32_t i = 0; i < count; i++)
		of[slots[i].backend]++;
}

/* Maglev, 5.3: with 65,537 places and 1,000 backends the most and the least differ by little. */
Test(strategy, maglev_is_even)
{
	unsigned of[MEMBERS];
	uint32_t sizes[] = {1, 2, 3, 10, 100, MEMBERS};

	for (unsigned c = 0; c < WM_ARRAY_LEN(sizes); c++) {
		uint32_t n = sizes[c], least = WM_MAGLEV_SLOTS / n;

		make(n, 9);
		count_places(of, n, build(&wm_strategy_maglev, n));
		for (uint32_t i = 0; i < n; i++)
			cr_assert(of[i] == least || of[i] == least + 1, "%u of %u has %u places", i,
				  n, of[i]);
	}
}

Test(strategy, maglev_goes_by_weight)
{
	unsigned of[10], total = 0;

	make(10, 1);
	for (unsigned i = 0; i < 10; i++)
		total += members[i].weight = (uint16_t)(1 + i * i * 100);
	count_places(of, 10, build(&wm_strategy_maglev, 10));
	for (unsigned i = 0; i < 10; i++) {
		double share = (double)members[i].weight * WM_MAGLEV_SLOTS / total;

		cr_assert(of[9 - i] > share - 2 && of[9 - i] < share + 2, "%u: %u places of %.1f",
			  i, of[9 - i], share);
	}
}

/* Places of those who stay that move when the member at @p gone leaves, of @p count. */
static uint32_t moved_without(uint32_t n, uint32_t gone, const struct wm_slot *before,
			      struct wm_slot *then, uint32_t count)
{
	static struct wm_member rest[MEMBERS];
	uint32_t left = members[gone].backend, moved = 0;

	memcpy(rest, members, gone * sizeof(*rest));
	memcpy(&rest[gone], &members[gone + 1], (n - gone - 1) * sizeof(*rest));
	cr_assert_eq(wm_strategy_maglev.build(rest, n - 1, then, count), 0);
	for (uint32_t i = 0; i < count; i++) {
		cr_assert_neq(then[i].backend, left);
		moved += before[i].backend != left && before[i].backend != then[i].backend;
	}
	return moved;
}

/* Who stays keeps its places, but for one in a hundred, whoever of them leaves. */
Test(strategy, maglev_moves_little)
{
	uint32_t sizes[] = {2, 3, 10, 100, MEMBERS};

	for (unsigned c = 0; c < WM_ARRAY_LEN(sizes); c++) {
		uint32_t n = sizes[c], step = n <= 10 ? 1 : n / 10 - 1;

		make(n, 9);
		build(&wm_strategy_maglev, n);
		for (uint32_t gone = 0; gone < n; gone += step) {
			uint32_t moved = moved_without(n, gone, slots, after, WM_MAGLEV_SLOTS);

			cr_assert_leq(moved, WM_MAGLEV_SLOTS / 100,
				      "%u of %u moved when %u of %u left", moved, WM_MAGLEV_SLOTS,
				      gone, n);
		}
		cr_assert_leq(moved_without(n, n - 1, slots, after, WM_MAGLEV_SLOTS),
			      WM_MAGLEV_SLOTS / 100, "the last of %u", n);
	}
}

/* How much more than its share the fullest of a thousand has, in percent. */
static double over_pct(const struct wm_slot *of, uint32_t count)
{
	unsigned places[MEMBERS] = {0}, most = 0;

	for (uint32_t i = 0; i < count; i++)
		places[of[i].backend]++;
	for (unsigned i = 0; i < MEMBERS; i++)
		most = places[i] > most ? places[i] : most;
	return 100.0 * most * MEMBERS / count - 100;
}

/* Each place to who has the highest number there: what Maglev is compared with. */
static void rendezvous(struct wm_slot *ret, uint32_t count)
{
	for (uint32_t i = 0; i < count; i++) {
		uint64_t best = 0;

		for (unsigned m = 0; m < MEMBERS; m++) {
			uint64_t x = wm_mix64(members[m].instance ^ wm_mix64(i));

			if (x >= best) {
				best = x;
				ret[i].backend = members[m].backend;
			}
		}
	}
}

/* Maglev, 5.3: a thousand backends, tables of 65,537 and of 655,373 places. Maglev is even in both,
 * where rendezvous hashing needs half as much again in the small one (49.5 % there); of the large
 * one a smaller part moves when a backend leaves. */
Test(strategy, maglev_is_what_its_paper_says)
{
	const uint32_t sizes[] = {65537, 655373};
	double part[2];

	make(MEMBERS, 9);
	rendezvous(slots, sizes[0]);
	cr_assert(over_pct(slots, sizes[0]) > 30 && over_pct(slots, sizes[0]) < 60, "%.1f %%",
		  over_pct(slots, sizes[0]));
	for (unsigned c = 0; c < 2; c++) {
		struct wm_slot *before = calloc(sizes[c], sizeof(*before)),
			       *then = calloc(sizes[c], sizeof(*then));

		cr_assert(before && then);
		cr_assert_eq(wm_strategy_maglev.build(members, MEMBERS, before, sizes[c]), 0);
		cr_assert_lt(over_pct(before, sizes[c]), 100.0 * MEMBERS / sizes[c], "%.2f %%",
			     over_pct(before, sizes[c]));
		part[c] = 1.0 * moved_without(MEMBERS, 500, before, then, sizes[c]) / sizes[c];
		free(before);
		free(then);
	}
	cr_assert(part[1] < part[0] && part[0] < 0.01, "%f, %f", part[0], part[1]);
}

/* One heavy backend among many light ones makes nobody wait. */
Test(strategy, maglev_of_unequal_weights_ends, .timeout = 300)
{
	make(10000, 1);
	members[77].weight = UINT16_MAX;
	build(&wm_strategy_maglev, 10000);
}
