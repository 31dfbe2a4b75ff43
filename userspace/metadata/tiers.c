/* SPDX-License-Identifier: Apache-2.0 */
#include "tiers.h"

#include <string.h>

#define WHOLE 1000000ull /* a share of 1 */

/* What part of a tier's weight is up. */
static uint64_t part_up(const struct wm_tier *t)
{
	return t->all ? (uint64_t)((unsigned __int128)t->up * WHOLE / t->all) : 0;
}

/* Which of @p n tiers takes all. */
static unsigned fails_over_to(const struct wm_tier *tiers, unsigned n, uint16_t threshold_pct)
{
	unsigned best = 0;

	for (unsigned i = 0; i < n; i++) {
		if (tiers[i].up && part_up(&tiers[i]) * 100 >= WHOLE * threshold_pct)
			return i;
		if (part_up(&tiers[i]) > part_up(&tiers[best]))
			best = i;
	}
	return best;
}

/* What each tier carries of WHOLE, nothing where less than @p least_pct is up. @return the sum. */
static uint64_t carry(const struct wm_tier *tiers, unsigned n, const struct wm_tiers_way *way,
		      unsigned least_pct, uint64_t carried[])
{
	uint64_t total = 0;

	for (unsigned i = 0; i < n; i++) {
		carried[i] = part_up(&tiers[i]) * way->carries_pct / 100;
		if (tiers[i].up && !carried[i])
			carried[i] = 1;
		if (carried[i] > WHOLE)
			carried[i] = WHOLE;
		if (part_up(&tiers[i]) * 100 < WHOLE * least_pct)
			carried[i] = 0;
		total += carried[i];
	}
	return total;
}

/* The parts of one target's tiers, WHOLE in all; @return false where nothing is up. */
static bool within(const struct wm_tier *tiers, unsigned n, const struct wm_tiers_way *way,
		   uint64_t part[])
{
	uint64_t carried[WM_TIERS_MAX] = {0}, total = 0, left;

	memset(part, 0, n * sizeof(*part));
	total = carry(tiers, n, way, way->failover ? 0 : way->threshold_pct, carried);
	if (!total)
		total = carry(tiers, n, way, 0, carried);
	if (!total)
		return false;
	if (way->failover) {
		part[fails_over_to(tiers, n, way->threshold_pct)] = WHOLE;
		return true;
	}
	if (total > WHOLE)
		total = WHOLE;
	left = WHOLE;
	for (unsigned i = 0; i < n; i++) {
		part[i] = carried[i] * WHOLE / total;
		if (part[i] > left)
			part[i] = left;
		left -= part[i];
	}
	return true;
}

void wm_tiers_cut(const struct wm_tier *tiers, unsigned n, const struct wm_tiers_rule *rule,
		  uint16_t cut[WM_TIERS_MAX])
{
	uint64_t part[WM_TIERS_MAX] = {0}, total = 0, sum = 0;
	bool split = false;
	unsigned end;

	for (unsigned i = 0; i < WM_TIERS_MAX; i++)
		split |= rule->percent[i] != 0;
	for (unsigned i = 0; i < n; i = end) {
		uint16_t target = tiers[i].target;
		uint64_t percent = split ? rule->percent[target] : 1;

		for (end = i + 1; end < n && tiers[end].target == target;)
			end++;
		if (!percent || !within(tiers + i, end - i, &rule->way[target], part + i)) {
			memset(part + i, 0, (end - i) * sizeof(*part));
			continue;
		}
		for (unsigned k = i; k < end; k++) {
			part[k] *= percent;
			total += part[k];
		}
	}
	memset(cut, 0, WM_TIERS_MAX * sizeof(*cut));
	for (unsigned i = 0; i < n && total; i++) {
		sum += part[i];
		cut[i] = (uint16_t)(sum * UINT16_MAX / total);
	}
}
