/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* When a backend that fails is left out, and when it is back. */
#include "userspace/base/macros.h"
#include "waymark/choose.h"
#include "waymark/outcome.h"
#include "waymark/outlier.h"

#include <criterion/criterion.h>
#include <stdint.h>

#define SECOND 1000000000ull

static struct wm_table_head head = {.backends = 10,
				    .eject_max_pct = 30,
				    .eject_after = 3,
				    .eject_refused = 1,
				    .eject_least = 2,
				    .eject_base_s = 10,
				    .eject_longest_s = 60};
static struct wm_set_live set;
static struct wm_backend_live live[10];

static enum wm_verdict fail_at(unsigned i, uint64_t now, enum wm_failure what)
{
	uint32_t row;

	live[i].stamp = 7;
	return wm_note_failure(&live[i], &head, &set, now, what, &row);
}

Test(outlier, one_refusal_or_so_many_silences)
{
	cr_assert_eq(fail_at(0, SECOND, WM_FAILURE_REFUSED), WM_VERDICT_EJECTED);
	cr_assert(wm_ejected(&live[0], 7, 11 * SECOND - 1));
	cr_assert(!wm_ejected(&live[0], 7, 11 * SECOND + 1), "it ends by itself");
	cr_assert(!wm_ejected(&live[0], 8, SECOND), "another occupant is not meant");
	cr_assert_eq(fail_at(1, SECOND, WM_FAILURE_SILENT), WM_VERDICT_KEPT);
	cr_assert_eq(fail_at(1, SECOND, WM_FAILURE_SILENT), WM_VERDICT_KEPT);
	wm_note_success(&live[1]);
	cr_assert_eq(fail_at(1, SECOND, WM_FAILURE_SILENT), WM_VERDICT_KEPT, "no more in a row");
	cr_assert_eq(fail_at(1, SECOND, WM_FAILURE_SILENT), WM_VERDICT_KEPT);
	cr_assert_eq(fail_at(1, SECOND, WM_FAILURE_SILENT), WM_VERDICT_EJECTED);
	cr_assert_eq(live[1].failures, 5);
	cr_assert_eq(set.ejected, 2);
}

Test(outlier, each_relapse_doubles_it_up_to_the_longest)
{
	const uint64_t lasts[] = {10, 20, 40, 60, 60};
	uint64_t now = SECOND;

	for (unsigned i = 0; i < WM_ARRAY_LEN(lasts); i++) {
		cr_assert_eq(fail_at(0, now, WM_FAILURE_REFUSED), WM_VERDICT_EJECTED);
		cr_assert_eq((live[0].ejected_until_ns - now) / 2, lasts[i] * SECOND / 2);
		cr_assert_eq(fail_at(0, now + 1, WM_FAILURE_REFUSED), WM_VERDICT_KEPT,
			     "one who is out is not thrown out again");
		cr_assert_eq(set.ejected, 1, "each end is noticed at the next failure");
		now = live[0].ejected_until_ns + SECOND;
	}
	now += WM_EJECT_FORGET_NS;
	cr_assert_eq(fail_at(0, now, WM_FAILURE_REFUSED), WM_VERDICT_EJECTED);
	cr_assert_eq((live[0].ejected_until_ns - now) / 2, 5 * SECOND, "long ago is forgotten");
}

Test(outlier, who_is_back_is_counted_as_out_no_more)
{
	cr_assert_eq(fail_at(0, SECOND, WM_FAILURE_REFUSED), WM_VERDICT_EJECTED);
	cr_assert_eq(fail_at(1, SECOND, WM_FAILURE_REFUSED), WM_VERDICT_EJECTED);
	cr_assert(!wm_note_return(&live[0], &set, 11 * SECOND - 1));
	cr_assert_eq(set.ejected, 2);
	cr_assert(wm_note_return(&live[0], &set, 12 * SECOND));
	cr_assert(!wm_note_return(&live[0], &set, 12 * SECOND), "once");
	cr_assert_eq(set.ejected, 1);
	set.ejected = 0; /* userspace was first */
	cr_assert(wm_note_return(&live[1], &set, 12 * SECOND));
	cr_assert_eq(set.ejected, 0);
}

Test(outlier, never_more_than_the_bound)
{
	unsigned out = 0, bound = 0;

	for (unsigned i = 0; i < 10; i++) {
		enum wm_verdict v = fail_at(i, SECOND, WM_FAILURE_REFUSED);

		out += v == WM_VERDICT_EJECTED;
		bound += v == WM_VERDICT_BOUND;
	}
	cr_assert_eq(out, 3);
	cr_assert_eq(bound, 7);
	head.eject_least = 11;
	set.ejected = 0;
	cr_assert_eq(fail_at(9, SECOND, WM_FAILURE_REFUSED), WM_VERDICT_BOUND, "too few hosts");
	head.eject_least = 0;
	head.eject_max_pct = 100;
	head.backends = 1;
	cr_assert_eq(fail_at(9, SECOND, WM_FAILURE_REFUSED), WM_VERDICT_BOUND, "the only one");
}

Test(outlier, what_is_switched_off_ejects_nobody)
{
	head.eject_refused = head.eject_after = 0;
	for (int i = 0; i < 100; i++) {
		cr_assert_eq(fail_at(0, SECOND, WM_FAILURE_REFUSED), WM_VERDICT_KEPT);
		cr_assert_eq(fail_at(0, SECOND, WM_FAILURE_SILENT), WM_VERDICT_KEPT);
	}
	cr_assert_eq(live[0].failures, 200, "it is counted");
}

Test(outlier, times_do_not_overflow)
{
	head.eject_base_s = head.eject_longest_s = UINT16_MAX;
	for (uint32_t n = 0; n < 100; n++)
		cr_assert_eq(wm_eject_ns(&head, n), UINT16_MAX * SECOND);
	cr_assert_eq(wm_eject_ns(&head, UINT32_MAX), UINT16_MAX * SECOND);
}

Test(outlier, latencies_fall_into_their_buckets)
{
	struct wm_connects o = {0};

	cr_assert_eq(wm_outcome_bucket(0), 0);
	cr_assert_eq(wm_outcome_bucket(16), 0);
	cr_assert_eq(wm_outcome_bucket(17), 1);
	cr_assert_eq(wm_outcome_bucket(UINT32_MAX), WM_OUTCOME_BUCKETS - 1);
	cr_assert_eq(wm_outcome_bound_us(WM_OUTCOME_BUCKETS - 2), 16777216);
	cr_assert_eq(wm_outcome_us(5000, 7999), 2);
	cr_assert_eq(wm_outcome_us(7999, 5000), 0, "a clock does not go back");
	cr_assert_eq(wm_outcome_us(0, UINT64_MAX), UINT32_MAX);
	wm_outcome_note(&o, 7, 100, 30);
	wm_outcome_note(&o, 7, 1000, 0);
	cr_assert(o.connects[2] == 1 && o.connects[3] == 1 && o.total_us == 1100);
	cr_assert_eq(o.srtt_us, 30, "the last that was measured");
	wm_outcome_note(&o, 8, 100, 40);
	cr_assert(o.connects[3] == 0 && o.total_us == 100 && o.stamp == 8, "another occupant");
}
