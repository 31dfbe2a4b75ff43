/* SPDX-License-Identifier: Apache-2.0 */
/* links: base resolution */
/* The allocators of the shared arrays, and the alias table. */
#include "userspace/base/random.h"
#include "userspace/resolution/pool.h"
#include "userspace/resolution/strategy/strategy.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <string.h>

static uint64_t next(uint64_t *seed)
{
	*seed = *seed * 6364136223846793005ull + 1442695040888963407ull;
	return *seed >> 33;
}

Test(index_pool, gives_each_index_once)
{
	struct wm_index_pool *p = wm_index_pool_new(130);
	bool seen[130] = {0};
	uint32_t i;

	for (unsigned n = 0; n < 130; n++) {
		cr_assert_eq(wm_index_take(p, &i), 0);
		cr_assert_lt(i, 130);
		cr_assert_not(seen[i]);
		seen[i] = true;
	}
	cr_assert_eq(wm_index_take(p, &i), -ENOSPC);
	wm_index_give(p, 77, 0);
	cr_assert_eq(wm_index_take(p, &i), 0);
	cr_assert_eq(i, 77);
	cr_assert_eq(wm_index_reserve(p, 5), -EEXIST);
	cr_assert_eq(wm_index_reserve(p, 130), -ERANGE);
	wm_index_pool_free(p);
}

Test(index_pool, what_was_published_rests)
{
	struct wm_index_pool *p = wm_index_pool_new(1);
	uint32_t i;

	cr_assert_eq(wm_index_take(p, &i), 0);
	wm_index_give(p, i, 1000);
	cr_assert_eq(wm_index_take(p, &i), -ENOSPC);
	cr_assert_eq(wm_index_resting(p), 1);
	wm_index_recycle(p, 999);
	cr_assert_eq(wm_index_take(p, &i), -ENOSPC);
	wm_index_recycle(p, 1000);
	cr_assert_eq(wm_index_take(p, &i), 0);
	wm_index_pool_free(p);
}

/* What is told and refused. */
static uint32_t reached, reach_most;
static int on_reach(void *arg, unsigned which, uint32_t count)
{
	cr_assert_eq(arg, &reached);
	cr_assert_eq(which, 3);
	cr_assert_gt(count, reached, "it is told once");
	if (count > reach_most)
		return -ENOMEM;
	reached = count;
	return 0;
}

Test(index_pool, says_how_far_it_reaches)
{
	struct wm_index_pool *p = wm_index_pool_new(130);
	uint32_t i;

	reach_most = 100;
	wm_index_pool_on_reach(p, on_reach, &reached, 3);
	cr_assert_eq(wm_index_reserve(p, 97), 0);
	cr_assert_eq(reached, 98);
	for (unsigned n = 0; n < 99; n++)
		cr_assert_eq(wm_index_take(p, &i), 0);
	cr_assert_eq(reached, 100);
	i = 7;
	cr_assert_eq(wm_index_take(p, &i), -ENOMEM);
	cr_assert_eq(wm_index_take_at(p, 120, &i), -ENOMEM);
	cr_assert_eq(i, 7, "and nobody takes it for one that was");
	cr_assert_eq(wm_index_used(p), 100, "what cannot be reached is not given out");
	wm_index_pool_free(p);
}

Test(range_pool, says_how_far_it_reaches)
{
	struct wm_range_pool *p = wm_range_pool_new(256);
	uint32_t first;

	reach_most = 20;
	wm_range_pool_on_reach(p, on_reach, &reached, 3);
	cr_assert_eq(wm_range_take(p, 13, &first), 0);
	cr_assert_eq(reached, first + 13);
	cr_assert_eq(wm_range_reserve(p, 16, 4), 0);
	cr_assert_eq(reached, 20);
	cr_assert_eq(wm_range_take(p, 16, &first), -ENOMEM);
	cr_assert_eq(wm_range_used(p), 20, "what cannot be reached is not given out");
	wm_range_pool_free(p);
}

/* Ranges against a map of who owns which place. */
#define PLACES 1000
#define RANGES 64
Test(range_pool, never_overlaps_and_joins_again)
{
	struct wm_range_pool *p = wm_range_pool_new(PLACES);
	uint64_t seed = wm_random64(), first_seed = seed, now = 1;
	uint8_t owner[PLACES] = {0};
	struct {
		uint32_t first, count;
	} r[RANGES] = {0};

	for (unsigned step = 0; step < 20000; step++) {
		unsigned k = (unsigned)(next(&seed) % RANGES);

		wm_range_recycle(p, now++);
		if (r[k].count) {
			memset(owner + r[k].first, 0, r[k].count);
			wm_range_give(p, r[k].first, r[k].count, next(&seed) % 2 ? now : 0);
			r[k].count = 0;
			continue;
		}
		r[k].count = 1 + (uint32_t)(next(&seed) % 40);
		if (wm_range_take(p, r[k].count, &r[k].first)) {
			r[k].count = 0;
			continue;
		}
		cr_assert_leq(r[k].first + r[k].count, PLACES);
		for (uint32_t i = 0; i < r[k].count; i++)
			cr_assert_eq(owner[r[k].first + i]++, 0, "seed %llu",
				     (unsigned long long)first_seed);
	}
	for (unsigned k = 0; k < RANGES; k++)
		if (r[k].count)
			wm_range_give(p, r[k].first, r[k].count, 0);
	wm_range_recycle(p, now);
	cr_assert_eq(wm_range_used(p), 0);
	cr_assert_eq(wm_range_take(p, 512, &r[0].first), 0, "the fragments joined");
	wm_range_pool_free(p);
}

Test(range_pool, reserve_is_take)
{
	struct wm_range_pool *p = wm_range_pool_new(256);
	uint32_t first, other;

	cr_assert_eq(wm_range_reserve(p, 64, 33), 0);
	cr_assert_eq(wm_range_reserve(p, 64, 33), -EEXIST);
	cr_assert_eq(wm_range_reserve(p, 96, 16), -EEXIST);
	cr_assert_eq(wm_range_reserve(p, 3, 4), -ERANGE);
	cr_assert_eq(wm_range_reserve(p, 192, 65), -ERANGE);
	cr_assert_eq(wm_range_take(p, 64, &first), 0);
	cr_assert_eq(wm_range_take(p, 128, &other), 0);
	cr_assert_eq(first, 0);
	cr_assert_eq(other, 128);
	cr_assert_eq(wm_range_take(p, 1, &first), -ENOSPC);
	wm_range_give(p, 64, 33, 0);
	cr_assert_eq(wm_range_take(p, 64, &first), 0);
	cr_assert_eq(first, 64);
	wm_range_pool_free(p);
}

/* The table's shares add up to the weights, exactly to the resolution of `keep`. */
Test(alias, shares_are_the_weights)
{
	uint64_t seed = wm_random64(), first_seed = seed;

	for (unsigned round = 0; round < 500; round++) {
		uint32_t n = 1 + (uint32_t)(next(&seed) % 300);
		struct wm_member members[300];
		struct wm_slot slots[300];
		double share[300] = {0}, total = 0;

		for (uint32_t i = 0; i < n; i++) {
			members[i] = (struct wm_member){
				.backend = i,
				.weight = (uint16_t)(1 + next(&seed) % (round % 2 ? 3 : 65535))};
			total += members[i].weight;
		}
		cr_assert_eq(wm_strategy_alias.build(members, n, slots, n), 0);
		for (uint32_t i = 0; i < n; i++) {
			double keep =
				slots[i].keep == 0xffffffffu ? 1 : slots[i].keep / 4294967295.0;

			cr_assert_eq(slots[i].backend, i);
			share[i] += keep / n;
			share[slots[i].alias] += (1 - keep) / n;
		}
		for (uint32_t i = 0; i < n; i++)
			cr_assert_float_eq(share[i], members[i].weight / total, 1e-6, "seed %llu",
					   (unsigned long long)first_seed);
	}
}
