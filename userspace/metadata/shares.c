/* SPDX-License-Identifier: Apache-2.0 */
/* shares.c - see shares.h. */
#include "shares.h"

void wm_outcome_of(const struct wm_selection *c, struct wm_outcome *o)
{
	uint32_t threshold = c->policy ? c->policy->panic_threshold : 0;
	uint64_t up = 0, all = 0;

	*o = (struct wm_outcome){0};
	for (unsigned n = 0; n < c->count; n++) {
		for (unsigned k = 0; k < c->tiers[n].count; k++) {
			const struct wm_instance *i = c->tiers[n].members[k];

			o->instances++;
			o->up += wm_selection_takes(c, i);
			o->draining += i->lifecycle == WM_LIFE_STOPPING;
		}
		up += c->tiers[n].up;
		all += c->tiers[n].all;
	}
	wm_selection_shares(c, o->shares);
	o->panic = threshold && all && up * 100 < all * threshold;
	for (unsigned n = 0; o->panic && n < c->count; n++) /* all are asked as if they were up */
		o->shares[n] = (double)c->tiers[n].all / (double)all;
}

/* May it be chosen, where its tier is asked? */
static bool may_be(const struct wm_shares *o, const struct wm_instance *i)
{
	return wm_selection_takes(o->c, i) || (o->panic && i->lifecycle == WM_LIFE_RUNNING);
}

struct wm_shares wm_shares_begin(const struct wm_selection *c, unsigned tier,
				 const struct wm_outcome *outcome)
{
	struct wm_shares o = {.c = c, .panic = outcome->panic, .share = outcome->shares[tier]};

	for (unsigned n = 0; n < c->tiers[tier].count; n++) {
		if (!may_be(&o, c->tiers[tier].members[n]))
			continue;
		o.may++;
		o.weight += wm_selection_weight(c->tiers[tier].members[n]);
	}
	return o;
}

double wm_shares_next(struct wm_shares *o, const struct wm_instance *i)
{
	uint32_t balance = o->c->policy ? o->c->policy->balance : WM_BALANCE_WEIGHTED;

	if (!may_be(o, i) || !o->may)
		return 0;
	if (balance == WM_BALANCE_DIRECT) {
		bool first = !o->taken;

		o->taken = true;
		return first ? o->share : 0;
	}
	if (balance == WM_BALANCE_RANDOM)
		return o->share / o->may;
	return o->weight ? o->share * wm_selection_weight(i) / (double)o->weight : 0;
}
