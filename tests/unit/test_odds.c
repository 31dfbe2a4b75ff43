/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution */
/* Odds of a decision, against the shares that are stated and against decisions by chance. */
#include "chi_square.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/resolution/odds.h"
#include "userspace/resolution/tables.h"

#include <arpa/inet.h>
#include <errno.h>
#include <string.h>

#define N     10
#define DRAWS 5000
#define NOW   1000000000ull

static struct wm_table_memory memory;
static struct wm_tables *tables;
static struct wm_want_backend wants[N];
static struct wm_want_rule rule;
static struct wm_view view;
static uint32_t set;
static struct wm_odds odds;
static const struct wm_odds_client client = {.now_ns = NOW, .families = WM_FAMILY_4};

static void publish(void)
{
	const struct wm_want_set w = {.service = "web",
				      .vip4_be = htonl(0xf0000001),
				      .backends = wants,
				      .backends_count = N,
				      .rule = &rule};

	cr_assert_eq(wm_tables_put(tables, &w, &set, NULL), 0);
	wm_tables_cut(tables);
	view = wm_tables_view(tables);
}

static void setup(void)
{
	memory = (struct wm_table_memory){.sets_cap = 16,
					  .slots_cap = 262144,
					  .backends_cap = 64,
					  .names_cap = 64,
					  .frontends_cap = 64};
	cr_assert_eq(wm_table_memory_new(&memory), 0);
	tables = wm_tables_new(&memory, NULL, "mesh.internal", NULL);
	rule = (struct wm_want_rule){.head = {.tiers = 1},
				     .spread = {.carries_pct = WM_TIERS_CARRY_PCT}};
	for (unsigned i = 0; i < N; i++)
		wants[i] = (struct wm_want_backend){.instance = i + 1,
						    .addr4_be = htonl(0x7f000001 + i),
						    .port = 80,
						    .weight = 1 + i % 3,
						    .state = WM_STATE_UP};
}

static void teardown(void)
{
	wm_odds_done(&odds);
	wm_tables_free(tables);
	wm_table_memory_free(&memory);
}
TestSuite(odds, .init = setup, .fini = teardown, .timeout = 60);

static struct wm_odds_candidate *of(unsigned i, unsigned tier)
{
	for (uint32_t n = 0; n < odds.count; n++)
		if (memory.backends[odds.candidates[n].backend].instance == i + 1 &&
		    odds.candidates[n].tier == tier)
			return &odds.candidates[n];
	cr_assert(false, "backend %u is not among the candidates of tier %u", i, tier);
	return NULL;
}

static void make(void)
{
	wm_odds_done(&odds);
	cr_assert_eq(wm_odds_make(&view, set, &client, &odds), 0);
}

Test(odds, tell_who_may_not_be_chosen_and_why)
{
	publish();
	make();
	wants[1].state = WM_STATE_DOWN;
	wants[2].state = WM_STATE_DRAIN;
	publish();
	memory.live[of(4, 0)->backend].ejected_until_ns = NOW + 7;
	make();
	cr_assert_str_eq(of(1, 0)->why_not, "down");
	cr_assert_str_eq(of(2, 0)->why_not, "stopping");
	cr_assert_str_eq(of(4, 0)->why_not, "ejected, as it failed");
	cr_assert_eq(of(4, 0)->ejected_ns, 7);
	cr_assert_null(of(0, 0)->why_not);
}
