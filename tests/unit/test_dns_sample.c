/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
/* Which questions are told of, one in so many. */
#include "waymark/dns_sample.h"

#include <criterion/criterion.h>
#include <stdlib.h>

/* As the programs do for each question. */
static int is_told(__u32 *left, __u32 every)
{
	if (--*left - 1 < wm_sample_limit(every))
		return 0;
	return wm_sample_turn(left, every, (__u32)random());
}

static unsigned told(__u32 *left, __u32 every, unsigned questions)
{
	unsigned n = 0;

	for (unsigned i = 0; i < questions; i++)
		n += (unsigned)is_told(left, every);
	return n;
}

Test(dns_sample, all_or_none)
{
	__u32 left = 0;

	cr_assert_eq(told(&left, 0, 1000), 0);
	cr_assert_eq(told(&left, 1, 1000), 1000, "from the first on");
	cr_assert_leq(told(&left, 0, 1000), 0);
}

Test(dns_sample, one_in_so_many_of_each_place_in_a_pattern)
{
	static const __u32 every[] = {2, 3, 7, 100, 1000};

	srandom(1);
	for (unsigned k = 0; k < sizeof(every) / sizeof(*every); k++) {
		unsigned of[2] = {0}, asked = every[k] * 20000;
		__u32 left = 0;

		for (unsigned i = 0; i < asked; i++)
			of[i & 1] += (unsigned)is_told(&left, every[k]);
		/* 10000 each; gaps deviate by 0.58 of their mean at most */
		cr_assert(of[0] > 9300 && of[0] < 10700, "%u of %u", of[0], every[k]);
		cr_assert(of[1] > 9300 && of[1] < 10700, "%u of %u", of[1], every[k]);
	}
}

Test(dns_sample, another_rate_counts_at_once)
{
	__u32 left = 0;

	(void)told(&left, WM_SAMPLE_EVERY_MAX, 10);
	cr_assert_gt(told(&left, 10, 1000), 50);
	(void)told(&left, 0, 10);
	cr_assert_gt(told(&left, 10, 1000), 50);
	cr_assert_eq(told(&left, 1, 1), 1);
}
