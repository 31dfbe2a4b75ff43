/* SPDX-License-Identifier: Apache-2.0 */
/* choose_model.h - the choice of two, slowly: every pair of places and every fall of both coins,
 * from what docs/resolution.md promises and not from how choose.h does it. */
#pragma once
#include "waymark/layout.h"

#include <math.h>
#include <stdbool.h>

#define M_PLACES 16

/* What a backend is judged by. */
struct m_load {
	bool usable;
	double cost, weight;
};

static __attribute__((unused)) double m_cost_open(double open)
{
	return open + 1;
}

/* Half of what was measured is forgotten in five seconds; who was never measured is tried once. */
static __attribute__((unused)) double m_cost_latency(double rtt_us, double age_s, double open)
{
	if (rtt_us == 0)
		return open > 0 ? 1e6 * (open + 1) : 0;
	return fmax(1, rtt_us * pow(0.5, age_s / 5)) * (open + 1);
}

/* The first of @p a and @p b unless the other is better. */
static unsigned m_better(const struct m_load *l, unsigned a, unsigned b)
{
	bool second =
		l[b].usable && (!l[a].usable || l[b].cost / l[b].weight < l[a].cost / l[a].weight);

	return second ? b : a;
}

/** How often each backend is chosen of two places, no place twice. @p l and @p odds by index in
 * backends, @p odds from 0 on. */
static __attribute__((unused)) void m_two(const struct wm_slot *slots, unsigned n,
					  const struct m_load *l, double *odds)
{
	for (unsigned i = 0; i < n; i++) {
		for (unsigned k = 0; k < n; k++) {
			for (unsigned coins = 0; coins < 4 && (i != k || n == 1); coins++) {
				const struct wm_slot *s[] = {&slots[i], &slots[k]};
				double p = n > 1 ? 1.0 / (n * (n - 1)) : 1;
				unsigned of[2];

				for (unsigned c = 0; c < 2; c++) {
					double keep = (s[c]->keep + 1.0) / 4294967296.0;
					bool stays = !(coins >> c & 1);

					of[c] = stays ? s[c]->backend : s[c]->alias;
					p *= stays ? keep : 1 - keep;
				}
				odds[m_better(l, of[0], of[1])] += p;
			}
		}
	}
}
