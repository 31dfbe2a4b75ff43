/* SPDX-License-Identifier: Apache-2.0 */
/* chi_square.h - do counts agree with what is expected? One wrong alarm in a thousand million. */
#pragma once
#include <criterion/criterion.h>
#include <math.h>

#define CHI_DEVIATIONS 6.0 /* of a normal distribution: 1e-9 */

/* @p weights of the @p n that may be seen; who has none may not. */
static __attribute__((unused)) void chi_square(const char *what, const unsigned *seen,
					       const unsigned *weights, unsigned n)
{
	double sum = 0, total = 0, drawn = 0, bound, c;
	unsigned freedom = 0;

	for (unsigned i = 0; i < n; i++) {
		total += weights[i];
		drawn += seen[i];
		freedom += weights[i] != 0;
		cr_assert(weights[i] || !seen[i], "%s: %u came first %u times", what, i, seen[i]);
	}
	for (unsigned i = 0; i < n; i++)
		if (weights[i]) {
			double expected = drawn * weights[i] / total;

			sum += (seen[i] - expected) * (seen[i] - expected) / expected;
		}
	cr_assert_gt(freedom--, 1);
	/* the quantile by Wilson and Hilferty (1931) */
	c = 2.0 / (9.0 * freedom);
	bound = freedom * pow(1 - c + CHI_DEVIATIONS * sqrt(c), 3);
	cr_assert_lt(sum, bound, "%s: chi-square %.1f with %u degrees of freedom", what, sum,
		     freedom);
}
