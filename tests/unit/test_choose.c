/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* The arithmetic of choosing, against slow models. */
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "waymark/choose.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

#define SECOND 1000000000ull

static uint32_t any32(void)
{
	return (uint32_t)wm_random_below(1ull << 32);
}

/* Small, large and in between. */
static uint32_t spread(unsigned bits)
{
	return (uint32_t)(wm_random_below(1ull << bits) >> wm_random_below(bits));
}

/* --- the tier ----------------------------------------------------------------------------------
 */
Test(choose, a_tier_gets_what_its_cut_says)
{
	const __u16 cut[WM_TIERS_MAX] = {0, 32768, 32768, 65534, 65535};
	const double share[] = {0, 32768, 0, 32766, 1};
	unsigned got[WM_TIERS_MAX] = {0};
	const unsigned grid = 65535 * 16;

	for (unsigned i = 0; i < grid; i++)
		got[wm_tier_of(cut, 5, (uint32_t)(((uint64_t)i << 32) / grid))]++;
	for (unsigned i = 0; i < 5; i++)
		cr_assert(fabs(got[i] - share[i] * 16) <= 16, "tier %u: %u", i, got[i]);
	cr_assert_eq(got[0] + got[2], 0, "no cut, no share");
	cr_assert_eq(wm_tier_of(cut, 1, UINT32_MAX), 0, "of one tier the first");
	cr_assert_eq(wm_tier_of((__u16[WM_TIERS_MAX]){0}, 8, any32()), 0,
		     "nothing is up: the first");
}

Test(choose, tiers_are_parts_of_the_range)
{
	const struct wm_table_head h = {.first = 1000, .tiers = 3, .end = {4, 4, 65541}};
	__u32 first = 0;

	cr_assert_eq(wm_tier_slots(&h, 0, &first), 4);
	cr_assert_eq(first, 0);
	cr_assert_eq(wm_tier_slots(&h, 1, &first), 0);
	cr_assert_eq(wm_tier_slots(&h, 2, &first), 65537);
	cr_assert_eq(first, 4);
	for (__u32 i = 3; i < 20; i++)
		cr_assert_eq(wm_tier_slots(&h, i, &first), 0);
	cr_assert_eq(wm_tier_slots(&(struct wm_table_head){.tiers = 2, .end = {9, 3}}, 1, &first),
		     0);
}

/* --- places ------------------------------------------------------------------------------------
 */
Test(choose, a_key_keeps_its_place_and_tries_others)
{
	enum { N = 101, KEYS = 20000 };
	unsigned at[N] = {0}, again[N] = {0}, same = 0;

	for (uint64_t key = 0; key < KEYS; key++) {
		uint32_t a = wm_hash_place(key, 0, N), b = wm_hash_place(key, 1, N);

		cr_assert(a < N && b < N);
		cr_assert_eq(a, wm_hash_place(key, 0, N));
		at[a]++;
		again[b]++;
		same += a == b;
	}
	for (unsigned i = 0; i < N; i++) {
		double even = (double)KEYS / N, room = 6 * sqrt(even);

		cr_assert(fabs(at[i] - even) < room && fabs(again[i] - even) < room);
	}
	cr_assert(fabs(same - (double)KEYS / N) < 6 * sqrt((double)KEYS / N));
}

/* --- load --------------------------------------------------------------------------------------
 */
Test(choose, what_was_measured_ages_by_halves)
{
	cr_assert_eq(wm_decay(1000, 0), 1000);
	cr_assert_eq(wm_decay(1000, WM_EWMA_HALF_NS), 500);
	cr_assert_eq(wm_decay(UINT32_MAX, UINT64_MAX), 0);
	for (int i = 0; i < 100000; i++) {
		uint64_t v = spread(32), age = wm_random_below(40 * WM_EWMA_HALF_NS);
		double want = (double)v * pow(0.5, (double)age / (double)WM_EWMA_HALF_NS);

		cr_assert(fabs((double)wm_decay(v, age) - want) <= want * 0.065 + 2,
			  "%llu after %llu ns: %llu, %.1f wanted", (unsigned long long)v,
			  (unsigned long long)age, (unsigned long long)wm_decay(v, age), want);
		cr_assert_leq(wm_decay(v, age + 1000000), wm_decay(v, age));
	}
}

Test(choose, a_peak_counts_at_once_and_wears_off)
{
	const uint64_t step[] = {1000, 1000000, 100000000, 3 * SECOND};

	for (unsigned k = 0; k < WM_ARRAY_LEN(step); k++) {
		struct wm_backend_live live = {.rtt_us = 200, .rtt_at_ns = SECOND};
		uint64_t now = SECOND;

		wm_ewma_observe(&live, now, 50000);
		cr_assert_eq(live.rtt_us, 50000);
		/* however often it is measured, half of it is gone after the half-life or little
		 * more */
		while (live.rtt_us > 25200) {
			now += step[k];
			wm_ewma_observe(&live, now, 400);
			cr_assert(live.rtt_us >= 400 && now < SECOND + 2 * WM_EWMA_HALF_NS);
		}
		cr_assert(now >= SECOND + WM_EWMA_HALF_NS * 9 / 10, "gone after %llu ns",
			  (unsigned long long)(now - SECOND));
	}
}

Test(choose, latency_costs_with_what_is_open)
{
	uint64_t now = 1000 * SECOND;

	cr_assert_eq(wm_ewma_cost(0, 0, 0, 0, now), 0, "who is not known is tried");
	cr_assert_gt(wm_ewma_cost(0, 0, 1, 0, now), wm_ewma_cost(90000, now, 9, 0, now), "once");
	cr_assert_eq(wm_ewma_cost(300, now, 4, 0, now), 1500);
	cr_assert_eq(wm_ewma_cost(300, now + 5, 4, 0, now), 1500,
		     "a clock that another CPU read later");
	cr_assert_eq(wm_ewma_cost(1, 0, 0, 0, UINT64_MAX), 1);
	for (int i = 0; i < 200000; i++) {
		uint64_t a = wm_ewma_cost(spread(32), spread(32), spread(32), spread(2), now),
			 b = wm_ewma_cost(spread(32), spread(32), spread(32), spread(2), now);
		uint32_t wa = 1 + spread(16), wb = 1 + spread(16);

		cr_assert_eq(wm_less_cost(a, wa, b, wb),
			     (unsigned __int128)a * wb < (unsigned __int128)b * wa);
	}
}

/* One that refuses has nothing open and is never measured. */
Test(choose, who_fails_does_not_look_idle)
{
	uint64_t now = 1000 * SECOND;

	cr_assert_gt(wm_ewma_cost(0, now, 0, 1, now), wm_ewma_cost(90000, now, 9, 0, now));
	cr_assert_gt(wm_ewma_cost(200, now, 0, 1, now), wm_ewma_cost(90000, now, 9, 0, now));
	cr_assert_lt(wm_ewma_cost(0, now - 80 * SECOND, 0, 1, now),
		     wm_ewma_cost(200, now, 0, 0, now), "it is tried again");
	cr_assert_eq(wm_ewma_cost(1, 0, 0, 1, UINT64_MAX), 1);
}

Test(choose, few_of_many_are_a_panic)
{
	cr_assert(!wm_panics(0, 10, 0));
	cr_assert(wm_panics(4, 10, 50));
	cr_assert(!wm_panics(5, 10, 50));
	cr_assert(!wm_panics(0, 0, 100));
	cr_assert(wm_panics(UINT32_MAX - 1, UINT32_MAX, 100));
}
