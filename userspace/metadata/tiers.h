/* SPDX-License-Identifier: Apache-2.0 */
/* tiers.h - how new connections are shared among the tiers of a set, from who is up in each. The
 * result is `cut` of struct wm_set_live: a program draws 1 to 65535 and takes the first tier whose
 * cut is not below it. Threading: pure. Cost O(tiers). */
#pragma once
#include "waymark/layout.h"

#include <stdbool.h>
#include <stdint.h>

/* Tiers of one target follow each other, the preferred first. */
struct wm_tier {
	uint64_t up, all; /* weight of its backends */
	uint16_t target;  /* ascending; without a split all have 0 */
};
/* How a target shares what it gets among its tiers. */
struct wm_tiers_way {
	/* false: by spilling over, each tier takes what its healthy weight carries, the rest goes
	 * on to the next. true: all goes to the first tier that has `threshold_pct` of its weight
	 * up, or, where none has, to the first with the largest part up. */
	bool failover;
	uint16_t threshold_pct; /* failover: 1 to 100 */
	uint16_t carries_pct;	/* spilling: what healthy weight carries: 140 is as if two fifths
				 * more were up, so a tier may lose 28 % and keep all. 100 or more */
};
struct wm_tiers_rule {
	struct wm_tiers_way way[WM_TIERS_MAX]; /* of each target */
	uint16_t percent[WM_TIERS_MAX]; /* of each target; all 0: one target. What falls to a target
					 * with nothing up goes to the others in proportion */
};
#define WM_TIERS_CARRY_PCT 140 /* Envoy's overprovisioning factor, widely known */

/** @param n tiers, 1 to WM_TIERS_MAX. Cuts never descend; the last is 65535 where anything is up
 *  in a target with a share, else all are 0. */
void wm_tiers_cut(const struct wm_tier *tiers, unsigned n, const struct wm_tiers_rule *rule,
		  uint16_t cut[WM_TIERS_MAX]);
