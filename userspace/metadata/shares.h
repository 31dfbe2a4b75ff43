/* SPDX-License-Identifier: Apache-2.0 */
/* shares.h - how likely each of a selection is to be chosen, as far as can be said beforehand: of
 * what goes by connections, latency or the client, what falls to each where all are alike.
 * Threading: loop thread only. */
#pragma once
#include "selection.h"

struct wm_outcome {
	unsigned instances, up, draining;
	bool panic; /* so few are up that all are asked */
	double shares[WM_SELECTION_TIERS_MAX];
};
void wm_outcome_of(const struct wm_selection *c, struct wm_outcome *ret);

/* How a tier's share falls to its members, asked of one after the other. */
struct wm_shares {
	const struct wm_selection *c;
	bool panic;
	double share; /* of the tier */
	uint64_t weight;
	unsigned may; /* members that may be chosen */
	bool taken;   /* direct: the first was */
};
struct wm_shares wm_shares_begin(const struct wm_selection *c, unsigned tier,
				 const struct wm_outcome *o);
double wm_shares_next(struct wm_shares *o, const struct wm_instance *i);
