/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution */
/* The less loaded of two, for every place and coin of both, against a slow model. */
#include "choose_model.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/resolution/strategy/strategy.h"
#include "waymark/choose.h"

#include <criterion/criterion.h>
#include <string.h>

#define GRID 1024 /* numbers of each of both draws, evenly */
#define NOW  (1000 * 1000000000ull)

static struct wm_slot slots[M_PLACES];
static struct wm_set set; /* whose table holds still */
static struct wm_backend backends[M_PLACES];
static struct wm_backend_live lives[M_PLACES];
static struct m_load loads[M_PLACES];
static const struct wm_view view = {.sets = &set,
				    .sets_cap = 1,
				    .slots = slots,
				    .backends = backends,
				    .live = lives,
				    .slots_cap = M_PLACES,
				    .backends_cap = M_PLACES};

static unsigned below(unsigned n)
{
	return (unsigned)wm_random_below(n);
}

/* A backend with a load of its own; no other's is so like it that rounding would decide. */
static void load(unsigned i, bool by_latency)
{
	struct wm_backend_live *l = &lives[i];
	double age_s = below(20), mine;
	bool alike = true;

	while (alike) {
		l->open = below(4) ? below(1000) : 0;
		l->rtt_us = below(8) ? 100 + below(100000) : 0;
		l->rtt_at_ns = NOW - (uint64_t)(age_s * 1e9);
		loads[i].cost = by_latency ? m_cost_latency(l->rtt_us, age_s, l->open)
					   : m_cost_open(l->open);
		mine = loads[i].cost / loads[i].weight;
		alike = false;
		for (unsigned k = 0; k < i; k++)
			alike |= fabs(mine - loads[k].cost / loads[k].weight) <= mine * 0.1;
	}
}

/* One is down, one ejected, one has not the family, one is another's by now. */
static void make(unsigned n, bool by_latency)
{
	struct wm_member members[M_PLACES];

	memset(lives, 0, sizeof(lives));
	for (unsigned i = 0; i < n; i++) {
		unsigned what = below(12), stamp = 3 + i;

		backends[i] =
			(struct wm_backend){.weight = (uint16_t)(1 + below(5)),
					    .families = what == 2 ? WM_FAMILY_6 : WM_FAMILY_4,
					    .state = (what == 3 ? stamp + 1 : stamp) << 16 |
						     (what == 0 ? WM_STATE_DOWN : WM_STATE_UP)};
		loads[i] = (struct m_load){what > 3, 0, backends[i].weight};
		load(i, by_latency);
		lives[i].stamp = stamp;
		lives[i].ejected_until_ns = what == 1 ? NOW + 1 : NOW;
		members[i] = (struct wm_member){
			.backend = i, .stamp = (uint16_t)stamp, .weight = backends[i].weight};
	}
	cr_assert_eq(wm_strategy_alias.size(members, n), n);
	cr_assert_eq(wm_strategy_alias.build(members, n, slots, n), 0);
}

static void scores_agree(const struct wm_scores *told, const struct wm_lead *got)
{
	for (unsigned i = 0; i < 2; i++) {
		if (!told->weight[i] || !told->weight[!i])
			continue;
		cr_assert(loads[told->backend[i]].usable);
		cr_assert(got->backend == told->backend[0] || got->backend == told->backend[1]);
	}
}

static void compare(unsigned n, enum wm_balance balance)
{
	const struct wm_table t = {.head = {.balance = (__u8)balance, .tiers = 1, .end = {n}}};
	const struct wm_ask a = {
		.now_ns = NOW, .families = WM_FAMILY_4, .states = WM_ASK_UP, .count = n};
	double odds[M_PLACES] = {0};
	unsigned seen[M_PLACES] = {0};

	for (uint64_t x = 0; x < GRID; x++) {
		for (uint64_t y = 0; y < GRID; y++) {
			/* the middle of each of GRID * GRID equal parts */
			uint64_t random = ((2 * y + 1) << 32) / (2 * GRID) << 32 |
					  ((2 * x + 1) << 32) / (2 * GRID);
			struct wm_scores told = {{0}, {0}, {0}};
			struct wm_lead got;

			cr_assert_eq(wm_draw_two(&view, &t, &a, random, &got, &told), WM_PICKED);
			scores_agree(&told, &got);
			seen[got.backend]++;
		}
	}
	m_two(slots, n, loads, odds);
	for (unsigned i = 0; i < n; i++) {
		double share = seen[i] / (double)(GRID * GRID);

		/* ends of places and coins fall within parts of the grid */
		cr_assert(fabs(share - odds[i]) <= 0.007,
			  "backend %u of %u: %f of all, the model says %f", i, n, share, odds[i]);
	}
}

Test(draw_two, fewer_connections_agree_with_a_slow_model)
{
	for (unsigned n = 1; n <= M_PLACES; n++) {
		make(n, false);
		compare(n, WM_BALANCE_LEAST_CONNECTIONS);
	}
}

Test(draw_two, less_latency_agrees_with_a_slow_model)
{
	for (unsigned n = 1; n <= M_PLACES; n++) {
		make(n, true);
		compare(n, WM_BALANCE_PEAK_EWMA);
	}
}
