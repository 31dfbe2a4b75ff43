/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model */
/* How far a node is, in steps that it seldom leaves. */
#include "userspace/model/band.h"

#include <criterion/criterion.h>
#include <stdlib.h>

TestSuite(band, .timeout = 300);

Test(band, a_round_trip_falls_into_one_of_four)
{
	cr_assert_eq(wm_band_of(0, WM_BAND_NONE), WM_BAND_SITE);
	cr_assert_eq(wm_band_of(2000, WM_BAND_NONE), WM_BAND_SITE);
	cr_assert_eq(wm_band_of(2001, WM_BAND_NONE), WM_BAND_REGION);
	cr_assert_eq(wm_band_of(10001, WM_BAND_NONE), WM_BAND_CONTINENT);
	cr_assert_eq(wm_band_of(50001, WM_BAND_NONE), WM_BAND_BEYOND);
	cr_assert_eq(wm_band_of(UINT32_MAX, WM_BAND_SITE), WM_BAND_BEYOND);
	cr_assert_str_eq(wm_band_str(WM_BAND_REGION), "10ms");
	cr_assert_str_eq(wm_band_str(WM_BAND_BEYOND), "rest");
	cr_assert_str_eq(wm_band_str(WM_BAND_NONE), "rest");
}

/* Within a quarter of an edge it stays where it is, on both sides of it. */
Test(band, what_trembles_at_an_edge_stays)
{
	static const uint32_t edges[] = {2000, 10000, 50000};

	for (unsigned e = 0; e < 3; e++) {
		const enum wm_band in = (enum wm_band)(WM_BAND_SITE + e), out = in + 1;
		uint32_t us = edges[e];

		cr_assert_eq(wm_band_of(us * 5 / 4, in), in);
		cr_assert_eq(wm_band_of(us * 5 / 4 + 1, in), out);
		cr_assert_eq(wm_band_of(us * 3 / 4, out), out);
		cr_assert_eq(wm_band_of(us * 3 / 4 - 1, out), in);
	}
	cr_assert_eq(wm_band_of(9000, WM_BAND_BEYOND), WM_BAND_REGION, "and far from it moves");
	cr_assert_eq(wm_band_of(30000, WM_BAND_SITE), WM_BAND_CONTINENT);
}
