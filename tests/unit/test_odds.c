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
				     .spread = {.way[0] = {.carries_pct = WM_TIERS_CARRY_PCT}}};
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
TestSuite(odds, .init = setup, .fini = teardown, .timeout = 300);

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
	double sum;

	wm_odds_done(&odds);
	cr_assert_eq(wm_odds_make(&view, set, &client, &odds), 0);
	sum = odds.refused + odds.passed + odds.torn;
	for (uint32_t n = 0; n < odds.count; n++)
		sum += odds.candidates[n].odds;
	cr_assert(fabs(sum - 1) < 1e-9, "%f", sum);
	cr_assert_eq(odds.tries, WM_ODDS_TRIES);
}

static void is(unsigned i, unsigned tier, double share)
{
	cr_assert(fabs(of(i, tier)->odds - share) < 0.004, "%u of tier %u: %f, not %f", i, tier,
		  of(i, tier)->odds, share);
}

static __u32 chance(void *arg)
{
	(void)arg;
	return (__u32)wm_random_below(1ull << 32);
}

/* Decisions by chance against the odds: what is left of a share that is next to nothing is not held
 * against it. */
static void by_chance(const char *what)
{
	unsigned seen[N] = {0}, weights[N] = {0};

	for (unsigned n = 0; n < DRAWS; n++) {
		struct wm_ask a = {.now_ns = NOW,
				   .families = WM_FAMILY_4,
				   .key = wm_random_below(UINT64_MAX),
				   .states = WM_ASK_UP};
		struct wm_choice c = {0};

		cr_assert_eq(wm_choose(&view, set, &a, chance, NULL, &c), WM_PICKED);
		seen[memory.backends[c.backend].instance - 1]++;
	}
	for (unsigned i = 0; i < N; i++)
		weights[i] = (unsigned)lround(of(i, 0)->odds * WM_ODDS_TRIES);
	chi_square(what, seen, weights, N);
}

Test(odds, each_way_to_choose_has_the_odds_of_its_decisions)
{
	static const struct {
		const char *name;
		enum wm_balance balance;
	} ways[] = {{"weighted", WM_BALANCE_WEIGHTED},
		    {"random", WM_BALANCE_RANDOM},
		    {"round_robin", WM_BALANCE_ROUND_ROBIN},
		    {"least_connections", WM_BALANCE_LEAST_CONNECTIONS},
		    {"peak_ewma", WM_BALANCE_PEAK_EWMA},
		    {"maglev", WM_BALANCE_MAGLEV}};

	for (unsigned k = 0; k < WM_ARRAY_LEN(ways); k++) {
		rule.head.balance = (__u8)ways[k].balance;
		publish();
		for (unsigned i = 0; i < N; i++) {
			struct wm_backend_live *l = &memory.live[i];

			l->open = 3 * (i % 4);
			l->rtt_us = 100 * (1 + i);
			l->rtt_at_ns = NOW;
		}
		make();
		by_chance(ways[k].name);
	}
}

Test(odds, are_those_of_weights)
{
	const double all = 19; /* 1 + 2 + 3 + 1 + ... */

	publish();
	make();
	for (unsigned i = 0; i < N; i++)
		is(i, 0, (1 + i % 3) / all);
	wants[1].state = WM_STATE_DOWN;
	wants[2].state = WM_STATE_DRAIN;
	publish();
	memory.live[of(4, 0)->backend].ejected_until_ns = NOW + 7;
	make();
	cr_assert_str_eq(of(1, 0)->why_not, "down");
	cr_assert_str_eq(of(2, 0)->why_not, "stopping");
	cr_assert_str_eq(of(4, 0)->why_not, "ejected, as it failed");
	cr_assert_eq(of(4, 0)->ejected_ns, 7);
	for (unsigned i = 0; i < N; i++)
		is(i, 0, of(i, 0)->why_not ? 0 : (1 + i % 3) / (all - 2 - 3 - 2));
	cr_assert_null(of(0, 0)->why_not);
}

Test(odds, take_no_turn)
{
	rule.head.balance = WM_BALANCE_ROUND_ROBIN;
	publish();
	memory.set_live[set].cursor = 5;
	make();
	for (unsigned i = 0; i < N; i++)
		is(i, 0, (1 + i % 3) / 19.0);
	cr_assert_eq(memory.set_live[set].cursor, 5);
}

Test(odds, follow_tiers_and_what_takes_over)
{
	rule.head.tiers = 2;
	for (unsigned i = 0; i < N; i++)
		wants[i].tiers = i < 2 ? 1 : 2;
	publish();
	memory.set_live[set].cut[0] = 65535 / 4;
	memory.set_live[set].cut[1] = 65535;
	make();
	cr_assert(fabs(odds.drawn[0] - 0.25) < 0.001 && fabs(odds.tier[0] - 0.25) < 0.002);
	is(0, 0, 0.25 / 3);
	is(1, 0, 0.25 * 2 / 3);
	for (unsigned i = 0; i < 2; i++)
		memory.backends[of(i, 0)->backend].state ^= WM_STATE_UP ^ WM_STATE_DOWN;
	make(); /* before userspace has cut anew */
	cr_assert(fabs(odds.drawn[0] - 0.25) < 0.001 && odds.tier[0] == 0 && odds.tier[1] == 1);
}

Test(odds, of_nobody)
{
	for (unsigned i = 0; i < N; i++)
		wants[i].state = WM_STATE_DOWN;
	publish();
	make();
	cr_assert_eq(odds.refused, 1);
	rule.head.when_none = WM_NONE_PASS;
	publish();
	make();
	cr_assert_eq(odds.passed, 1);
	rule.head.when_none = WM_NONE_ANY;
	publish();
	make();
	is(0, 0, 1 / 19.0);
	cr_assert_eq(odds.states, WM_ASK_ANY);
	cr_assert_eq(wm_odds_make(&view, 9, &client, &(struct wm_odds){0}), -ENOENT);
}

/* Who dials by IPv6 and finds only one that is down is sent to IPv4 first. */
Test(odds, who_is_up_in_the_other_family_comes_before_less)
{
	struct wm_odds_client both = client;

	wants[0].addr4_be = 0;
	wants[0].addr6[0] = 0xfd;
	wants[0].state = WM_STATE_DOWN;
	rule.head.when_none = WM_NONE_ANY;
	publish();
	both.families = WM_FAMILY_6;
	both.other_family = true;
	cr_assert_eq(wm_odds_make(&view, set, &both, &odds), 0);
	is(0, 0, 0);
	is(1, 0, 2 / 18.0);
	cr_assert_eq(odds.states, WM_ASK_UP);
	wm_odds_done(&odds);
	both.other_family = false;
	cr_assert_eq(wm_odds_make(&view, set, &both, &odds), 0);
	is(0, 0, 1);
}

Test(odds, of_one_client)
{
	struct wm_odds_client one = client;

	rule.head.balance = WM_BALANCE_MAGLEV;
	publish();
	one.keyed = true;
	one.key = 1000;
	cr_assert_eq(wm_odds_make(&view, set, &one, &odds), 0);
	for (unsigned n = 0; n < N; n++)
		cr_assert(odds.candidates[n].odds == 0 || odds.candidates[n].odds == 1);
	cr_assert_eq(odds.count, N);
	wm_odds_done(&odds);
	one.families |= WM_NOT_LOOPBACK;
	one.budget_ns = 1; /* each looks through 65,537 places in vain */
	cr_assert_eq(wm_odds_make(&view, set, &one, &odds), 0);
	cr_assert_eq(odds.refused, 1);
	cr_assert_eq(odds.tries, 1);
	cr_assert(strstr(of(0, 0)->why_not, "loopback"));
}
