/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* Each way to choose, as the kernel does it: real sockets dial a virtual address, and what they got
 * is compared with what the way promises. */
#include "../unit/chi_square.h"
#include "../unit/choose_model.h"
#include "connect_fixture.h"
#include "waymark/choose.h"

#include <sys/syscall.h>
#include <time.h>

#define DIALS  50000
#define SECOND 1000000000ull

static struct wm_want_rule rule;

static void ten(enum wm_balance balance)
{
	rule = (struct wm_want_rule){.head = {.balance = (__u8)balance, .tiers = 1},
				     .spread = {.way[0] = {.carries_pct = WM_TIERS_CARRY_PCT}}};
	want.rule = &rule;
	for (unsigned i = 0; i < 10; i++)
		backend(i, "127.9.9.9", (uint16_t)(1000 + i), 1 + i % 3, WM_STATE_UP);
	publish();
}

static struct wm_backend_live *live(unsigned i)
{
	return &mem.live[index_of(i)];
}

static uint64_t boot_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_BOOTTIME, &t);
	return (uint64_t)t.tv_sec * SECOND + (uint64_t)t.tv_nsec;
}

static void by_weights(const char *what, const unsigned *weights)
{
	unsigned seen[10];

	for (unsigned i = 0; i < 10; i++)
		seen[i] = (unsigned)picks(i);
	pick(DIALS);
	for (unsigned i = 0; i < 10; i++)
		seen[i] = (unsigned)picks(i) - seen[i];
	chi_square(what, seen, weights, 10);
}

/* Dials go as the choice of two promises for backends of these costs. */
static void by_model(const char *what, const double *costs)
{
	struct m_load loads[BACKENDS] = {{false, 0, 0}};
	double odds[BACKENDS] = {0};
	struct wm_view view = wm_tables_view(tables);
	struct wm_table t;
	unsigned weights[10];
	uint32_t set;

	for (unsigned i = 0; i < 10; i++)
		loads[index_of(i)] = (struct m_load){true, costs[i], wants[i].weight};
	cr_assert_eq(wm_tables_put(tables, &want, &set, NULL), 0);
	cr_assert_eq(wm_table_load(&view, set, &t), WM_PICKED);
	m_two(&mem.slots[t.head.first], t.count, loads, odds);
	for (unsigned i = 0; i < 10; i++)
		weights[i] = (unsigned)lround(odds[index_of(i)] * 1e6);
	by_weights(what, weights);
}

Test(connect, weighted_goes_by_weight)
{
	const unsigned weights[10] = {1, 2, 3, 1, 2, 3, 1, 2, 3, 1};

	ten(WM_BALANCE_WEIGHTED);
	by_weights("weighted", weights);
}

Test(connect, random_knows_no_weight)
{
	const unsigned weights[10] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1};

	ten(WM_BALANCE_RANDOM);
	by_weights("random", weights);
}

Test(connect, turns_are_exact)
{
	uint64_t down;

	ten(WM_BALANCE_ROUND_ROBIN);
	pick(19 * 50); /* the weights are 19 together */
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(picks(i), 50 * (1 + i % 3), "%u had %u turns", i, (unsigned)picks(i));
	wants[4].state = WM_STATE_DOWN;
	publish();
	down = picks(4);
	pick(17 * 50);
	cr_assert_eq(picks(4), down);
	/* who is down loses its turn; nobody inherits it, the circle is shorter */
	for (unsigned i = 0; i < 10; i++)
		if (i != 4)
			cr_assert(picks(i) >= 98 * (1 + i % 3) && picks(i) <= 102 * (1 + i % 3),
				  "%u had %u turns", i, (unsigned)picks(i));
}

/* The C library dials two of those, of both families, before each stream. */
Test(connect, datagrams_take_no_turn_of_streams)
{
	unsigned streams[3] = {0};

	rule = (struct wm_want_rule){.head = {.balance = WM_BALANCE_ROUND_ROBIN, .tiers = 1}};
	want.rule = &rule;
	for (unsigned i = 0; i < 3; i++)
		backend(i, "127.9.9.9", (uint16_t)(1000 + i), 1, WM_STATE_UP);
	publish();
	for (unsigned n = 0; n < 30; n++) {
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		uint64_t had[3];

		pick(2);
		for (unsigned i = 0; i < 3; i++)
			had[i] = picks(i);
		dial(fd, VIP4, 80);
		close(fd);
		for (unsigned i = 0; i < 3; i++)
			streams[i] += picks(i) != had[i];
	}
	for (unsigned i = 0; i < 3; i++) {
		cr_assert_eq(streams[i], 10, "%u had %u streams", i, streams[i]);
		cr_assert_eq(picks(i), 30, "and in turn of datagrams");
	}
}

Test(connect, the_first_usable_is_direct)
{
	ten(WM_BALANCE_DIRECT);
	pick(100);
	cr_assert_eq(picks(0), 100);
	wants[0].state = wants[1].state = WM_STATE_DOWN;
	publish();
	pick(100);
	cr_assert_eq(picks(2), 100);
	for (unsigned i = 0; i < 9; i++)
		wants[i].state = WM_STATE_DOWN;
	publish();
	pick(100);
	cr_assert_eq(picks(9), 100, "found behind the tries");
}

Test(connect, fewer_open_is_preferred)
{
	unsigned idle, loaded;

	ten(WM_BALANCE_LEAST_CONNECTIONS);
	for (unsigned i = 0; i < 10; i++)
		live(i)->open = i == 3 ? 0 : 1000;
	pick(5000);
	idle = (unsigned)picks(3);
	/* of two draws one is it in 1 of 19 each, and then it wins: 10 % of all */
	cr_assert(idle > 300 && idle < 700, "%u", idle);
	for (unsigned i = 0; i < 10; i++)
		live(i)->open = i == 3 ? 100000 : 0;
	loaded = (unsigned)picks(3);
	pick(5000);
	cr_assert_eq(picks(3), loaded, "the loaded one never wins against another");
}

Test(connect, fewer_open_go_by_the_model)
{
	double costs[10];

	ten(WM_BALANCE_LEAST_CONNECTIONS);
	for (unsigned i = 0; i < 10; i++) {
		live(i)->open = i * 7 % 10 * 50;
		costs[i] = m_cost_open(live(i)->open);
	}
	by_model("least_connections", costs);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(live(i)->open, i * 7 % 10 * 50, "what was dialled is closed");
}

Test(connect, a_slow_one_is_avoided)
{
	unsigned slow;

	ten(WM_BALANCE_PEAK_EWMA);
	for (unsigned i = 0; i < 10; i++) {
		live(i)->rtt_us = i == 3 ? 2500 : 1000;
		live(i)->rtt_at_ns = boot_ns();
	}
	pick(5000);
	slow = (unsigned)picks(3);
	cr_assert_eq(slow, 0, "%u", slow);
	/* long ago, or when the machine began, as that of tests/kernels: it is tried again */
	live(3)->rtt_at_ns = boot_ns() > 100 * SECOND ? boot_ns() - 100 * SECOND : 1;
	pick(5000);
	cr_assert_gt(picks(3), 300);
}

/* Latencies and connections of factors that an age of some seconds does not turn round. */
Test(connect, less_latency_goes_by_the_model)
{
	const uint64_t now = boot_ns();
	double costs[10];

	ten(WM_BALANCE_PEAK_EWMA);
	for (unsigned i = 0; i < 10; i++) {
		live(i)->open = i % 3;
		live(i)->rtt_us = 1000u << i * 7 % 10;
		live(i)->rtt_at_ns = now;
		costs[i] = m_cost_latency(live(i)->rtt_us, 0, live(i)->open);
	}
	by_model("peak_ewma", costs);
}

Test(connect, one_client_has_one_backend)
{
	unsigned used = 0, now = 0;
	uint64_t had[10];

	ten(WM_BALANCE_MAGLEV);
	rule.head.hash_on = WM_HASH_ON_UID;
	publish();
	pick(100);
	for (unsigned i = 0; i < 10; i++) {
		had[i] = picks(i);
		used += had[i] != 0;
		if (had[i])
			wants[i].state = WM_STATE_DOWN;
	}
	cr_assert_eq(used, 1);
	publish();
	pick(100);
	for (unsigned i = 0; i < 10; i++)
		now += picks(i) != had[i];
	cr_assert_eq(now, 1, "it goes to one other");
	for (unsigned i = 0; i < 10; i++)
		wants[i].state = WM_STATE_UP;
	publish();
	pick(100);
	for (unsigned i = 0; i < 10; i++)
		if (had[i])
			cr_assert_eq(picks(i), had[i] + 100, "and returns");
}

/* With two of ten up a client in six finds neither by its tries. */
Test(connect, one_client_has_one_backend_where_few_are_up)
{
	uint64_t had[10];

	ten(WM_BALANCE_MAGLEV);
	rule.head.hash_on = WM_HASH_ON_UID;
	for (unsigned i = 0; i < 8; i++)
		wants[i].state = WM_STATE_DOWN;
	publish();
	for (uid_t uid = 1000; uid < 1100; uid++) {
		cr_assert_eq(syscall(SYS_setresuid, uid, -1, -1), 0); /* of this thread */
		had[8] = picks(8);
		had[9] = picks(9);
		pick(20);
		cr_assert_eq(syscall(SYS_setresuid, 0, -1, -1), 0);
		cr_assert((picks(8) != had[8]) != (picks(9) != had[9]), "client %u", uid);
	}
	cr_assert(had[8] && had[9], "others have the other");
}

Test(connect, sockets_are_spread_by_consistent_hashing)
{
	const unsigned weights[10] = {1, 2, 3, 1, 2, 3, 1, 2, 3, 1};

	ten(WM_BALANCE_MAGLEV);
	by_weights("maglev", weights);
}

/* --- tiers -------------------------------------------------------------------------------------
 */
static void two_tiers(void)
{
	ten(WM_BALANCE_WEIGHTED);
	rule.head.tiers = 2;
	for (unsigned i = 0; i < 10; i++) {
		wants[i].weight = 1;
		wants[i].tiers = i < 5 ? 1 : 2;
	}
	publish();
}

static unsigned near(void)
{
	unsigned n = 0;

	for (unsigned i = 0; i < 5; i++)
		n += (unsigned)picks(i);
	return n;
}

Test(connect, the_near_ones_are_taken_until_they_cannot_carry)
{
	unsigned before;

	two_tiers();
	pick(1000);
	cr_assert_eq(near(), 1000);
	/* one of five down: the others carry it */
	cr_assert_eq(wm_tables_state(tables, 1, WM_STATE_DOWN), 0);
	wm_tables_cut(tables);
	pick(1000);
	cr_assert_eq(near(), 2000);
	/* three of five down: two carry 56 % */
	wm_tables_state(tables, 2, WM_STATE_DOWN);
	wm_tables_state(tables, 3, WM_STATE_DOWN);
	wm_tables_cut(tables);
	before = near();
	pick(10000);
	cr_assert(near() - before > 5300 && near() - before < 5900, "%u", near() - before);
	/* all of them, and nobody has told the cuts: the next tier has them at once */
	wm_tables_state(tables, 4, WM_STATE_DOWN);
	wm_tables_state(tables, 5, WM_STATE_DOWN);
	before = near();
	pick(1000);
	cr_assert_eq(near(), before);
}

/* Two of five are up and carry 1.4 times their share, 56 %; the rest spills over. */
Test(connect, what_spills_over_is_even)
{
	const unsigned parts[10] = {0, 0, 0, 280, 280, 88, 88, 88, 88, 88};

	two_tiers();
	for (unsigned i = 1; i <= 3; i++)
		cr_assert_eq(wm_tables_state(tables, i, WM_STATE_DOWN), 0);
	wm_tables_cut(tables);
	by_weights("nearest", parts);
}

Test(connect, failover_goes_by_weight_within_the_tier_that_has_it)
{
	unsigned first[10] = {1, 2, 3, 1, 2}, second[10] = {0, 0, 0, 0, 0, 3, 1, 2, 3, 1};

	two_tiers();
	rule.spread = (struct wm_tiers_rule){
		.way[0] = {true, .threshold_pct = 50, .carries_pct = WM_TIERS_CARRY_PCT}};
	for (unsigned i = 0; i < 10; i++)
		wants[i].weight = 1 + i % 3;
	publish();
	by_weights("failover, all up", first);
	/* 4 of 9 of its weight are less than half */
	cr_assert_eq(wm_tables_state(tables, 2, WM_STATE_DOWN), 0);
	cr_assert_eq(wm_tables_state(tables, 3, WM_STATE_DOWN), 0);
	wm_tables_cut(tables);
	by_weights("failover, too few up", second);
	cr_assert_eq(wm_tables_state(tables, 3, WM_STATE_UP), 0);
	wm_tables_cut(tables);
	first[1] = 0;
	by_weights("failover, enough again", first);
}

Test(connect, a_split_is_in_percent)
{
	unsigned seen[10] = {0};
	const unsigned parts[10] = {95, 5};

	two_tiers();
	rule.target[1] = 1;
	rule.spread.percent[0] = 95;
	rule.spread.percent[1] = 5;
	publish();
	pick(DIALS);
	seen[0] = near();
	seen[1] = DIALS - near();
	chi_square("split", seen, parts, 2);
}

/* --- nobody is usable --------------------------------------------------------------------------
 */
static int dial_once(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = dial(fd, VIP4, 53);

	close(fd);
	return r;
}

static void none_up(enum wm_when_none when_none)
{
	ten(WM_BALANCE_WEIGHTED);
	rule.head.when_none = (__u8)when_none;
	for (unsigned i = 0; i < 10; i++)
		wants[i].state = i < 2 ? WM_STATE_DRAIN : WM_STATE_DOWN;
	publish();
}

Test(connect, none_is_refused)
{
	none_up(WM_NONE_REFUSE);
	cr_assert_eq(dial_once(), ECONNREFUSED);
}

Test(connect, those_that_stop_are_the_last_resort)
{
	none_up(WM_NONE_DRAINING);
	pick(100);
	cr_assert_eq(picks(0) + picks(1), 100);
	wants[0].state = wants[1].state = WM_STATE_DOWN;
	publish();
	cr_assert_eq(dial_once(), ECONNREFUSED);
}

Test(connect, any_is_whoever_is_registered)
{
	const unsigned weights[10] = {1, 2, 3, 1, 2, 3, 1, 2, 3, 1};

	none_up(WM_NONE_ANY);
	by_weights("any", weights);
}

Test(connect, pass_lets_the_call_go_on)
{
	none_up(WM_NONE_PASS);
	(void)dial_once(); /* to an address that nobody has, or by the default route: not ours */
	cr_assert_eq(counter(WM_C_CONNECT_PASSED), 1);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 0);
	want.backends_count = 0;
	publish();
	(void)dial_once();
	cr_assert_eq(counter(WM_C_CONNECT_PASSED), 2, "without an instance, too");
	want.rule = NULL;
	publish();
	cr_assert_eq(dial_once(), ECONNREFUSED);
}

Test(connect, too_few_up_are_a_panic)
{
	ten(WM_BALANCE_RANDOM);
	rule.head.panic_pct = 30;
	for (unsigned i = 3; i < 10; i++)
		wants[i].state = WM_STATE_DOWN;
	publish();
	pick(100);
	cr_assert_eq(picks(0) + picks(1) + picks(2), 100);
	wants[2].state = WM_STATE_DOWN;
	publish();
	pick(1000);
	cr_assert(picks(9) > 50, "all are asked");
}

/* Each is one of five that an IPv4 socket can reach, and of ten. */
Test(connect, a_panic_is_of_both_families)
{
	uint64_t down;

	ten(WM_BALANCE_RANDOM);
	rule.head.panic_pct = 60;
	for (unsigned i = 5; i < 10; i++)
		backend(i, "fd00::9", (uint16_t)(1000 + i), 1, WM_STATE_UP);
	for (unsigned i = 0; i < 4; i++)
		wants[i].state = WM_STATE_DOWN;
	publish();
	pick(100);
	cr_assert_eq(picks(4), 100, "six of ten are up");
	wants[9].state = WM_STATE_DOWN;
	publish();
	down = picks(0) + picks(1) + picks(2) + picks(3);
	pick(100);
	cr_assert_gt(picks(0) + picks(1) + picks(2) + picks(3), down, "five are not enough");
}

/* --- ejected ------------------------------------------------------------------------------------
 */
Test(connect, who_is_ejected_is_left_out_for_its_time)
{
	ten(WM_BALANCE_RANDOM);
	for (unsigned i = 0; i < 9; i++)
		live(i)->ejected_until_ns = boot_ns() + 3600 * SECOND;
	pick(100);
	cr_assert_eq(picks(9), 100, "found behind the tries");
	live(9)->ejected_until_ns = boot_ns() + 3600 * SECOND;
	cr_assert_eq(dial_once(), ECONNREFUSED);
	live(4)->ejected_until_ns = boot_ns() - 1;
	pick(100);
	cr_assert_eq(picks(4), 100, "it ends by itself");
	live(5)->stamp++; /* it was said of another occupant */
	pick(1000);
	cr_assert_gt(picks(5), 300);
}

/* As by a service whose subset this set is. */
Test(connect, who_others_left_out_is_asked_where_nobody_else_is)
{
	struct wm_set_live *set;
	uint64_t before;

	ten(WM_BALANCE_RANDOM);
	rule.head.eject_refused = 1;
	rule.head.eject_least = 2;
	rule.head.eject_max_pct = 50;
	publish();
	set = &mem.set_live[wm_tables_set_of(tables, "web")];
	for (unsigned i = 0; i < 10; i++)
		live(i)->ejected_until_ns = boot_ns() + 3600 * SECOND;
	set->ejected = 5;
	cr_assert_eq(dial_once(), ECONNREFUSED, "so many it leaves out itself");
	set->ejected = 6;
	pick(1000);
	cr_assert_gt(picks(4), 10, "all are asked");
	live(4)->ejected_until_ns = 0;
	before = picks(4);
	pick(100);
	cr_assert_eq(picks(4) - before, 100, "but where somebody else is");
	live(4)->ejected_until_ns = live(3)->ejected_until_ns;
	set->ejected = 5;
	rule.head.eject_refused = 0; /* that is switched off */
	publish();
	set->ejected = 5;
	before = picks(4);
	pick(1000);
	cr_assert_gt(picks(4) - before, 10);
}
