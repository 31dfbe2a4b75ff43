/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store sync */
/* test_conflicts.c - the audit list: bounded, the newest first, counted by rule, and what a record
 * cannot tell is left out. */
#include "userspace/sync/conflicts.h"

#include <criterion/criterion.h>
#include <stdio.h>

TestSuite(conflicts, .timeout = 300);

static void add(struct wm_conflicts *c, unsigned n, const char *rule)
{
	char id[32];
	const struct wm_replica_change won = {.version = {.origin = WM_ORIGIN_SHARED, .seq = n},
					      .origin = {{1}},
					      .semver = "2.0",
					      .object = "no record",
					      .len = 9};
	const struct wm_replica_change lost = {
		.version = {.origin = WM_ORIGIN_SHARED, .seq = 7}, .origin = {{2}}, .gone = true};

	snprintf(id, sizeof(id), "i%u", n);
	wm_conflicts_add(c, 1000 + n, rule, "outside", id, &won, &lost);
}

Test(conflicts, the_newest_are_kept_and_all_are_counted)
{
	struct wm_conflicts *c = wm_conflicts_new();
	const struct wm_conflict *k;
	unsigned n = WM_CONFLICTS_MAX + 44;
	size_t pos = 0;

	cr_assert_null(wm_conflicts_next(c, &pos));
	for (unsigned i = 1; i <= n; i++)
		add(c, i, i % 2 ? wm_merge_semver.name : wm_merge_hlc.name);
	for (unsigned i = 0; i < WM_CONFLICTS_MAX; i++) {
		k = wm_conflicts_next(c, &pos);
		cr_assert_eq(k->wall_ms, 1000 + n - i);
		cr_assert_eq(k->stands.clock, n - i);
	}
	cr_assert_null(wm_conflicts_next(c, &pos));
	cr_assert_eq(wm_conflicts_count(c, "semver"), n / 2);
	cr_assert_eq(wm_conflicts_count(c, "hlc"), n / 2);
	cr_assert_eq(wm_conflicts_count(c, "priority"), 0);
	wm_conflicts_free(c);
}

Test(conflicts, both_sides_are_there)
{
	struct wm_conflicts *c = wm_conflicts_new();
	const struct wm_conflict *k;
	size_t pos = 0;

	add(c, 5, "semver");
	k = wm_conflicts_next(c, &pos);
	cr_assert_str_eq(k->node, "outside");
	cr_assert_str_eq(k->id, "i5");
	cr_assert_str_eq(k->rule, "semver");
	cr_assert_str_eq(k->stands.semver, "2.0");
	cr_assert_str_eq(k->stands.address, "");
	cr_assert(!k->stands.gone && k->lost.gone);
	cr_assert_eq(k->stands.writer.octets[0], 1);
	cr_assert_eq(k->lost.writer.octets[0], 2);
	cr_assert_eq(k->lost.clock, 7);
	wm_conflicts_free(c);
}
