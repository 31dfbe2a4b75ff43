/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution */
/* How tiers share new connections, by who is up in each. */
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/metadata/tiers.h"

#include <criterion/criterion.h>

static const struct wm_tiers_rule spill = {.way[0] = {.carries_pct = WM_TIERS_CARRY_PCT}};

/* Shares in percent, rounded. */
static void shares(const struct wm_tier *tiers, unsigned n, const struct wm_tiers_rule *rule,
		   const int *want)
{
	uint16_t cut[WM_TIERS_MAX], before = 0;

	wm_tiers_cut(tiers, n, rule, cut);
	for (unsigned i = 0; i < n; i++) {
		cr_assert_geq(cut[i], before);
		cr_assert_eq((int)((cut[i] - before) * 100.0 / 65535 + 0.5), want[i],
			     "tier %u has %.2f %%", i, (cut[i] - before) * 100.0 / 65535);
		before = cut[i];
	}
	for (unsigned i = n; i < WM_TIERS_MAX; i++)
		cr_assert_eq(cut[i], 0);
}
#define SHARES(tiers, rule, ...)                                                                   \
	shares(tiers, WM_ARRAY_LEN(tiers), rule, (const int[]){__VA_ARGS__})

/* The table that Envoy's documentation gives for two priority levels and 1.4. */
Test(tiers, the_nearest_spills_over_in_proportion)
{
	for (unsigned up = 0; up <= 100; up += 10) {
		static const int near[] = {0, 14, 28, 42, 56, 70, 84, 98, 100, 100, 100};
		struct wm_tier t[] = {{up, 100, 0}, {50, 50, 0}};

		SHARES(t, &spill, near[up / 10], 100 - near[up / 10]);
	}
}

/* Where all of them together carry less than everything, they share it as they can. */
Test(tiers, what_nobody_carries_is_shared)
{
	struct wm_tier t[] = {{25, 100, 0}, {25, 100, 0}, {0, 100, 0}};

	SHARES(t, &spill, 50, 50, 0);
	t[2].up = 1;
	SHARES(t, &spill, 49, 49, 2);
}

Test(tiers, the_last_one_up_gets_everything)
{
	struct wm_tier t[] = {{0, 100, 0}, {1, 65535ull * 65535, 0}, {0, 0, 0}};

	SHARES(t, &spill, 0, 100, 0);
	t[1].up = 0;
	SHARES(t, &spill, 0, 0, 0);
}

Test(tiers, failover_takes_the_first_above_its_threshold)
{
	struct wm_tiers_rule rule = {.way[0] = {.failover = true, .threshold_pct = 50}};
	struct wm_tier t[] = {{50, 100, 0}, {100, 100, 0}, {100, 100, 0}};

	SHARES(t, &rule, 100, 0, 0);
	t[0].up = 49;
	SHARES(t, &rule, 0, 100, 0);
	t[1].up = 20;
	t[2].up = 30;
	SHARES(t, &rule, 100, 0, 0); /* none is above it: who has most */
	t[0].up = 0;
	SHARES(t, &rule, 0, 0, 100);
	rule.way[0].threshold_pct = 1; /* anything up */
	SHARES(t, &rule, 0, 100, 0);
}

/* A tier that has lost too much is left alone, if there is another. */
Test(tiers, below_its_threshold_a_tier_is_left)
{
	struct wm_tiers_rule rule = {.way[0] = {.carries_pct = 140, .threshold_pct = 50}};
	struct wm_tier t[] = {{60, 100, 0}, {100, 100, 0}};

	SHARES(t, &rule, 84, 16);
	t[0].up = 49;
	SHARES(t, &rule, 0, 100);
	t[1].up = 10;
	SHARES(t, &rule, 83, 17); /* both are below: as if there was none */
}

Test(tiers, a_split_gives_each_target_its_percent)
{
	struct wm_tiers_rule rule = spill;
	struct wm_tier t[] = {{10, 10, 0}, {10, 10, 1}, {10, 10, 2}};

	rule.percent[0] = 95;
	rule.percent[1] = 4;
	rule.percent[2] = 1;
	SHARES(t, &rule, 95, 4, 1);
	t[0].up = 0; /* its share goes to the others, in proportion */
	SHARES(t, &rule, 0, 80, 20);
	t[1].up = 1; /* within one tier there is nowhere to spill to */
	SHARES(t, &rule, 0, 80, 20);
	t[1].up = t[2].up = 0;
	SHARES(t, &rule, 0, 0, 0);
}

Test(tiers, each_target_of_a_split_has_tiers)
{
	struct wm_tiers_rule rule = {.percent = {50, 50}};
	struct wm_tier t[] = {{50, 100, 0}, {100, 100, 0}, {100, 100, 1}, {100, 100, 1}};

	rule.way[0] = rule.way[1] = spill.way[0];
	SHARES(t, &rule, 35, 15, 50, 0);
	rule.way[0].failover = true;
	SHARES(t, &rule, 50, 0, 50, 0);
}

Test(tiers, who_has_no_percent_gets_nothing)
{
	struct wm_tiers_rule rule = {.way[1] = {.carries_pct = 140}, .percent = {0, 100}};
	struct wm_tier t[] = {{100, 100, 0}, {0, 100, 1}};

	SHARES(t, &rule, 0, 0);
	t[1].up = 100;
	SHARES(t, &rule, 0, 100);
}

Test(tiers, cuts_hold_together_for_any_health)
{
	for (int round = 0; round < 20000; round++) {
		struct wm_tiers_rule rule = {0};
		unsigned n = 1 + (unsigned)wm_random_below(WM_TIERS_MAX);
		struct wm_tier t[WM_TIERS_MAX] = {{0}};
		uint16_t cut[WM_TIERS_MAX], before = 0;
		bool any = false, split = wm_random_below(2), shared = false;

		for (unsigned i = 0; i < n; i++) {
			t[i].target = i ? (uint16_t)(t[i - 1].target + wm_random_below(2)) : 0;
			t[i].all = wm_random_below(1ull << wm_random_below(33));
			t[i].up = wm_random_below(3) ? wm_random_below(t[i].all + 1) : 0;
		}
		for (unsigned i = 0; i < WM_TIERS_MAX; i++)
			rule.way[i] = (struct wm_tiers_way){
				.failover = wm_random_below(2),
				.threshold_pct = (uint16_t)(1 + wm_random_below(100)),
				.carries_pct = (uint16_t)(100 + wm_random_below(900))};
		for (unsigned i = 0; split && i < WM_TIERS_MAX; i++)
			shared |= rule.percent[i] = (uint16_t)wm_random_below(101);
		for (unsigned i = 0; i < n; i++)
			any |= t[i].up && (!shared || rule.percent[t[i].target]);
		wm_tiers_cut(t, n, &rule, cut);
		for (unsigned i = 0; i < n; i++) {
			cr_assert_geq(cut[i], before);
			cr_assert(t[i].up || cut[i] == before, "tier %u is down and has a share",
				  i);
			before = cut[i];
		}
		cr_assert_eq(before, any ? UINT16_MAX : 0);
	}
}
