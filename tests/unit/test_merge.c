/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_merge.c - which of two concurrent writes stands: the order of versions, each rule a total
 * order, the hybrid clock. */
#include "userspace/base/macros.h"
#include "userspace/sync/merge.h"

#include <criterion/criterion.h>

/* The lowest first: item 11 of Semantic Versioning 2.0.0, with its examples. */
static const char *const versions[] = {"0.9.9",		"1.0.0-alpha",
				       "1.0.0-alpha.1", "1.0.0-alpha.beta",
				       "1.0.0-beta",	"1.0.0-beta.2",
				       "1.0.0-beta.11", "1.0.0-rc.1",
				       "1.0.0",		"1.0.1",
				       "1.9.0",		"1.10.0",
				       "2.0.0",		"99999999999999999999999999.0.0"};

Test(merge, versions_are_in_the_order_of_the_specification)
{
	const char *const same[][2] = {{"1.0.0+a", "1.0.0"}, {"1.0.0-a+1", "1.0.0-a+2.x"}};
	/* words of no version are in the order of their octets, below all versions */
	const char *const words[] = {"", "01.0.0", "1.0", "1.0.0-", "1.0.0-01", "banana", "v1.0.0"};

	for (size_t i = 0; i < WM_ARRAY_LEN(words); i++)
		for (size_t j = 0; j < WM_ARRAY_LEN(versions); j++)
			cr_assert_lt(wm_semver_cmp(words[i], versions[j]), 0, "%s %s", words[i],
				     versions[j]);
	for (size_t i = 0; i < WM_ARRAY_LEN(versions); i++)
		for (size_t j = 0; j < WM_ARRAY_LEN(versions); j++) {
			int c = wm_semver_cmp(versions[i], versions[j]);

			cr_assert_eq((c > 0) - (c < 0), (i > j) - (i < j), "%s %s", versions[i],
				     versions[j]);
		}
	for (size_t i = 1; i < WM_ARRAY_LEN(words); i++)
		cr_assert_gt(wm_semver_cmp(words[i], words[i - 1]), 0, "%s", words[i]);
	for (size_t i = 0; i < WM_ARRAY_LEN(same); i++)
		cr_assert_eq(wm_semver_cmp(same[i][0], same[i][1]), 0);
}

static struct wm_merge_side side(unsigned n)
{
	static const char *const semver[] = {NULL, "", "x", "1.0.0", "1.0.0+b", "1.0.0-a", "2.0.0"};
	struct wm_merge_side s = {.version = {.origin = WM_ORIGIN_SHARED,
					      .seq = n % 3,
					      .priority = n / 21 % 3 * (UINT32_MAX / 2)},
				  .semver = semver[n / 3 % 7],
				  .gone = n / 63 % 2};

	s.writer.octets[15] = (uint8_t)(n / 126 % 2);
	return s;
}
#define SIDES 252

/* Every pair and every triple of sides: one of two stands, the same whichever is named first, and
 * there is no ring of three. */
Test(merge, each_rule_is_a_total_order, .timeout = 300)
{
	const char *const names[] = {"hlc", "semver", "priority"};
	static int8_t cmp[SIDES][SIDES];

	for (size_t r = 0; r < WM_ARRAY_LEN(names); r++) {
		const struct wm_merge_rule *rule = wm_merge_rule(names[r]);

		cr_assert(rule && !strcmp(rule->name, names[r]));
		for (unsigned a = 0; a < SIDES; a++)
			for (unsigned b = 0; b < SIDES; b++) {
				const struct wm_merge_side x = side(a), y = side(b);
				int c = rule->cmp(&x, &y);

				cmp[a][b] = (int8_t)((c > 0) - (c < 0));
				/* the same clock, writer and deed are one write */
				cr_assert(c || (x.version.seq == y.version.seq &&
						x.gone == y.gone &&
						wm_peer_id_same(&x.writer, &y.writer)),
					  "%s %u %u", rule->name, a, b);
			}
		for (unsigned a = 0; a < SIDES; a++)
			for (unsigned b = 0; b < SIDES; b++) {
				cr_assert_eq(cmp[a][b], -cmp[b][a]);
				for (unsigned c = 0; c < SIDES; c++)
					cr_assert(cmp[a][b] < 0 || cmp[b][c] < 0 || cmp[a][c] >= 0,
						  "%s %u %u %u", rule->name, a, b, c);
			}
	}
	cr_assert_null(wm_merge_rule("newest"));
}

Test(merge, each_rule_looks_first_at_what_it_is_named_for)
{
	struct wm_merge_side a = {.version = {.seq = 1, .priority = 1}, .semver = "2.0.0"};
	struct wm_merge_side b = {.version = {.seq = 2, .priority = 2}, .semver = "1.0.0"};

	cr_assert_lt(wm_merge_hlc.cmp(&a, &b), 0);
	cr_assert_gt(wm_merge_semver.cmp(&a, &b), 0);
	cr_assert_lt(wm_merge_priority.cmp(&a, &b), 0);
	b.semver = NULL;
	cr_assert_gt(wm_merge_semver.cmp(&a, &b), 0);
	/* a removal keeps the version of what it removed, and so stands against it */
	b = a;
	b.version.seq = 2;
	b.gone = true;
	cr_assert_lt(wm_merge_semver.cmp(&a, &b), 0);
}

Test(merge, the_clock_grows_whatever_the_wall_says)
{
	uint64_t last = wm_hlc_next(0, 1000);

	cr_assert_eq(wm_hlc_ms(last), 1000);
	for (unsigned n = 0; n < 70000; n++) { /* more than its counter holds */
		uint64_t next = wm_hlc_next(last, n % 2000);

		cr_assert_gt(next, last);
		last = next;
	}
	cr_assert_eq(wm_hlc_ms(wm_hlc_next(last, 1u << 20)), 1u << 20);
}
