/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* How long turns are, and that a tired one lets others go first. */
#include "userspace/base/clock.h"
#include "userspace/net/aside.h"
#include "userspace/net/loop.h"

#include <criterion/criterion.h>
#include <pthread.h>

#define BURST 10 /* callbacks that are ready at once */

static struct wm_loop *loop;
static unsigned ran, hooks, ran_at_hook[BURST + 1];

static void setup(void)
{
	loop = wm_loop_new();
	cr_assert(loop);
	ran = hooks = 0;
}

static void teardown(void)
{
	wm_loop_free(loop);
}

TestSuite(loop, .init = setup, .fini = teardown, .timeout = 300);

/* A callback that takes 4 ms of processor. */
static void on_timer(void *arg)
{
	uint64_t end = wm_clock_cpu_ns() + 4 * WM_NS_PER_MS;

	(void)arg;
	wm_loop_tired(loop);
	while (wm_clock_cpu_ns() < end)
		;
	ran++;
	wm_loop_breathe(loop);
}

static bool on_end(void *arg)
{
	(void)arg;
	ran_at_hook[hooks++] = ran;
	return false;
}

/* Ten callbacks of 4 ms are ready: no turn takes more than three of them, each begins where the one
 * before it ended, and the hooks ran between. */
Test(loop, a_tired_turn_ends)
{
	const struct wm_loop_stats *s = wm_loop_stats(loop);
	struct wm_timer *timers[BURST];
	uint64_t long_ones = 0;

	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_ANSWER, on_end, NULL), 0);
	for (int i = 0; i < BURST; i++) {
		timers[i] = wm_timer_new(loop, on_timer, NULL);
		cr_assert_eq(wm_timer_arm(timers[i], 0), 0);
	}
	for (int turn = 0; ran < BURST; turn++) {
		cr_assert_lt(turn, BURST);
		wm_loop_turn(loop, 1000);
	}
	cr_assert_geq(hooks, 4);
	for (unsigned i = 0, before = 0; i < hooks; before = ran_at_hook[i++])
		cr_assert_leq(ran_at_hook[i] - before, 3);
	cr_assert_geq(s->cut, 3);
	cr_assert_geq(s->sum_ns, BURST * 4 * WM_NS_PER_MS);
	cr_assert_geq(s->max_ns, 4 * WM_NS_PER_MS);
	for (unsigned b = 2; b <= WM_LOOP_TURN_BUCKETS; b++) /* above 2 ms */
		long_ones += s->turns[b];
	cr_assert_eq(long_ones, hooks);
	for (int i = 0; i < BURST; i++)
		wm_timer_free(timers[i]);
}

static unsigned left;

static bool on_end_with_work(void *arg)
{
	(void)arg;
	if (left && --left)
		wm_loop_again(loop);
	return false;
}

/* Work that was put off needs nobody to wake the loop. */
Test(loop, what_is_put_off_has_a_turn_at_once)
{
	uint64_t began = wm_clock_ms();

	left = 100;
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_ANSWER, on_end_with_work, NULL), 0);
	wm_loop_turn(loop, 0);
	for (unsigned n = left; left; n--) {
		cr_assert_eq(left, n);
		wm_loop_turn(loop, 30000);
	}
	cr_assert_lt(wm_clock_ms() - began, 30000, "a turn waited");
	cr_assert_eq(wm_loop_stats(loop)->put_off, 99);
}

/* --- work beside the loop --------------------------------------------------------------------- */
struct errand {
	pthread_t on, told_on;
	unsigned ran, told;
};

static void run_errand(void *arg)
{
	struct errand *e = arg;

	e->on = pthread_self();
	e->ran++;
}

static void errand_done(void *arg)
{
	struct errand *e = arg;

	e->told_on = pthread_self();
	e->told++;
}

Test(loop, work_beside_it_is_told_of_on_it)
{
	struct wm_loop *l = wm_loop_new();
	struct errand e = {0}, ended = {0};
	struct wm_aside *a;

	cr_assert_eq(wm_aside_start(l, run_errand, errand_done, &e, &a), 0);
	while (!e.told)
		wm_loop_turn(l, -1);
	cr_assert_eq(e.ran, 1);
	cr_assert(!pthread_equal(e.on, pthread_self()));
	cr_assert(pthread_equal(e.told_on, pthread_self()));
	cr_assert_eq(wm_aside_start(l, run_errand, errand_done, &ended, &a), 0);
	wm_aside_end(a);
	cr_assert_eq(ended.ran, 1);
	wm_loop_turn(l, 0);
	cr_assert_eq(ended.told, 0);
	wm_loop_free(l);
}

/* --- ticks ------------------------------------------------------------------------------------ */
struct ticker {
	struct wm_timer *timer;
	uint64_t every_ms;
	unsigned times;
	unsigned long turn;
};

static void on_tick(void *arg)
{
	struct ticker *t = arg;

	t->turn = wm_loop_turns(loop);
	t->times++;
	cr_assert_eq(wm_timer_tick(t->timer, t->every_ms), 0);
}

static void tick_from_now(struct ticker *t, uint64_t every_ms)
{
	*t = (struct ticker){.every_ms = every_ms};
	t->timer = wm_timer_new(loop, on_tick, t);
	cr_assert_eq(wm_timer_tick(t->timer, every_ms), 0);
}

/* Whenever they began, ticks of one period and of its multiples are of one turn, and none is called
 * twice for one of its instants. */
Test(loop, who_ticks_wakes_the_node_together)
{
	struct ticker t[4];
	uint64_t began;
	unsigned together = 0;

	for (unsigned i = 0; i < 3; i++) {
		tick_from_now(&t[i], 100);
		wm_loop_turn(loop, 13);
	}
	tick_from_now(&t[3], 200);
	began = wm_clock_ms();
	/* a turn that is tired leaves some to the next; where none are together, time runs out */
	while (together < 2) {
		wm_loop_turn(loop, -1);
		together += t[0].turn && t[0].turn == t[1].turn && t[1].turn == t[2].turn &&
			    t[2].turn == t[3].turn;
	}
	for (unsigned i = 0; i < 3; i++)
		cr_assert_leq(t[i].times, (wm_clock_ms() - began + 39) / 100 + 2);
	for (unsigned i = 0; i < 4; i++)
		wm_timer_free(t[i].timer);
}

static void free_other(void *arg)
{
	struct ticker *t = arg;

	wm_timer_free(t->timer);
	t->timer = NULL;
	t->times++;
}

/* One that ticks may free another whose time has come, or be armed for once. */
Test(loop, a_tick_ends_with_its_timer)
{
	struct ticker t = {0};
	struct wm_timer *killer;

	t.timer = wm_timer_new(loop, free_other, &t);
	killer = wm_timer_new(loop, free_other, &t);
	cr_assert_eq(wm_timer_tick(t.timer, 50), 0);
	cr_assert_eq(wm_timer_tick(killer, 50), 0);
	while (!t.times)
		wm_loop_turn(loop, -1);
	wm_loop_turn(loop, 120);
	cr_assert_null(t.timer);
	wm_timer_free(killer);
}

Test(loop, a_timer_that_is_armed_for_once_ticks_no_more)
{
	struct ticker t;

	tick_from_now(&t, 50);
	cr_assert_eq(wm_timer_arm(t.timer, 3600000), 0);
	wm_loop_turn(loop, 120);
	cr_assert_eq(t.times, 0);
	cr_assert_eq(wm_timer_tick(t.timer, 50), 0);
	wm_timer_disarm(t.timer);
	wm_loop_turn(loop, 120);
	cr_assert_eq(t.times, 0);
	wm_timer_free(t.timer);
}
