/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry metadata resolution */
/* test_peek.c - what would be chosen of a set, asked without choosing. */
#include "userspace/resolution/peek.h"
#include "waymark/policy.h"

#include <criterion/criterion.h>
#include <errno.h>

#define CAP 16

static struct wm_tables *tables;
static struct wm_table_memory memory = {.sets_cap = CAP,
					.slots_cap = 1024,
					.backends_cap = CAP,
					.names_cap = CAP,
					.frontends_cap = CAP};
static struct wm_want_backend want[4];
static struct wm_want_rule rule;
static uint32_t set;

static void setup(void)
{
	cr_assert_eq(wm_table_memory_new(&memory), 0);
	tables = wm_tables_new(&memory, NULL, "mesh.internal", NULL);
	cr_assert(tables);
	rule = (struct wm_want_rule){.head.tiers = 1};
	for (unsigned i = 0; i < 4; i++)
		want[i] = (struct wm_want_backend){.instance = i + 1,
						   .addr4_be = i + 1,
						   .weight = 1,
						   .state = WM_STATE_UP,
						   .tiers = 1};
}

static void teardown(void)
{
	wm_tables_free(tables);
	wm_table_memory_free(&memory);
}
TestSuite(peek, .init = setup, .fini = teardown);

static void publish(void)
{
	const struct wm_want_set w = {
		.service = "web", .backends = want, .backends_count = 4, .rule = &rule};

	cr_assert_eq(wm_tables_put(tables, &w, &set, NULL), 0);
}

/* All that would be chosen, in order: 123 is first 1, then 2, then 3. */
static unsigned order(uint64_t key, uint64_t left_out)
{
	struct wm_peeked next;
	struct wm_peek *p;
	unsigned all = 0;

	cr_assert_eq(wm_peek_new(tables, set, &p), 0);
	wm_peek_leave_out(p, left_out);
	while (wm_peek_next(p, key, &next))
		all = all * 10 + (unsigned)next.instance;
	wm_peek_free(p);
	return all;
}

Test(peek, the_order_is_that_of_the_tables)
{
	rule.head.balance = WM_BALANCE_DIRECT;
	publish();
	cr_assert_eq(order(0, 0), 1234);
	cr_assert_eq(order(0, 2), 134);
	wm_tables_state(tables, 1, WM_STATE_DOWN);
	cr_assert_eq(order(0, 0), 234);
}

Test(peek, asking_takes_no_turn)
{
	unsigned first;

	rule.head.balance = WM_BALANCE_ROUND_ROBIN;
	publish();
	first = order(0, 0);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(order(0, 0) / 1000, first / 1000);
	memory.set_live[set].cursor++;
	cr_assert_neq(order(0, 0) / 1000, first / 1000);
}

Test(peek, a_choice_is_by_weight)
{
	unsigned others = 0;

	want[0].weight = 65535;
	publish();
	for (unsigned i = 0; i < 200; i++)
		others += order(0, 0) / 1000 != 1;
	cr_assert_lt(others, 10, "1 has nearly all of the weight: %u", others);
}

Test(peek, the_nearest_come_first_and_the_next_tier_behind)
{
	want[0].tiers = want[1].tiers = 2;
	want[2].tiers = 1;
	want[3].tiers = 0x80;
	rule.head.tiers = 2;
	rule.spread.way[0].carries_pct = 140;
	publish();
	for (unsigned i = 0; i < 50; i++) {
		unsigned got = order(0, 0);

		cr_assert(got == 312 || got == 321, "%u", got);
	}
}

Test(peek, who_others_left_out_is_asked_where_nobody_else_is)
{
	rule.head.balance = WM_BALANCE_DIRECT;
	rule.head.eject_refused = 1;
	rule.head.eject_max_pct = 50;
	publish();
	for (unsigned i = 0; i < 4; i++) {
		memory.live[i].stamp = memory.backends[i].state >> 16;
		memory.live[i].ejected_until_ns = UINT64_MAX;
	}
	memory.set_live[set].ejected = 2;
	cr_assert_eq(order(0, 0), 0, "so many it leaves out itself");
	memory.set_live[set].ejected = 4;
	cr_assert_eq(order(0, 0), 1234);
	memory.live[2].ejected_until_ns = 0;
	memory.set_live[set].ejected = 3;
	cr_assert_eq(order(0, 0), 3, "that it was taken out is no outage");
}

Test(peek, nobody_is_up)
{
	struct wm_peeked next;
	struct wm_peek *p;

	rule.head.balance = WM_BALANCE_DIRECT;
	for (unsigned i = 0; i < 4; i++)
		want[i].state = i == 2 ? WM_STATE_DRAIN : WM_STATE_DOWN;
	publish();
	cr_assert_eq(order(0, 0), 0);
	rule.head.when_none = WM_NONE_DRAINING;
	publish();
	cr_assert_eq(order(0, 0), 3);
	rule.head.when_none = WM_NONE_ANY;
	publish();
	cr_assert_eq(wm_peek_new(tables, set, &p), 0);
	cr_assert(wm_peek_next(p, 0, &next));
	cr_assert_not(next.up);
	wm_peek_free(p);
	cr_assert_eq(order(0, 0), 1234);
	want[0].state = WM_STATE_UP;
	publish();
	cr_assert_eq(order(0, 0), 1, "that it was taken out is no outage");
	rule.head.panic_pct = 50;
	publish();
	cr_assert_eq(order(0, 0), 1234, "so few are up that all are asked");
	wm_tables_del(tables, "web");
	cr_assert_eq(wm_peek_new(tables, set, &p), -ENOENT);
}
