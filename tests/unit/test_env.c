/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* The environments themselves: the loop's, the system's, and the one that tests turn by hand. */
#include "env_virtual.h"
#include "userspace/base/clock.h"
#include "userspace/net/loop.h"

#include <criterion/criterion.h>

static struct virtual_env v;
static const struct wm_env *env;
static struct wm_env_timer *timers[3];
static unsigned ran[8], ran_count;
static uint64_t ran_at_ms[8];

static void setup(void)
{
	virtual_env_init(&v, 7);
	env = &v.env;
	ran_count = 0;
}

TestSuite(env, .init = setup, .timeout = 300);

static void on_timer(void *arg)
{
	unsigned n = (unsigned)((struct wm_env_timer **)arg - timers);

	ran_at_ms[ran_count] = wm_env_ms(env);
	ran[ran_count++] = n;
	if (n == 0 && ran_count < 5)
		cr_assert_eq(wm_env_timer_arm(timers[0], 10), 0);
}

static void make_timers(void)
{
	for (unsigned i = 0; i < 3; i++) {
		timers[i] = wm_env_timer_new(env, on_timer, &timers[i]);
		cr_assert(timers[i]);
	}
}

static void free_timers(void)
{
	for (unsigned i = 0; i < 3; i++)
		wm_env_timer_free(timers[i]);
	wm_env_timer_free(NULL);
}

Test(env, virtual_time_moves_by_hand_and_timers_run_at_their_time)
{
	static const unsigned order[] = {0, 1, 0, 0};
	static const uint64_t at[] = {10, 20, 20, 30};
	uint64_t begin = wm_env_ms(env);
	int64_t wall = wm_env_wall_s(env);

	make_timers();
	wm_env_timer_arm(timers[2], 5);
	wm_env_timer_disarm(timers[2]);
	wm_env_timer_arm(timers[1], 3);
	wm_env_timer_arm(timers[1], 20); /* in its place */
	wm_env_timer_arm(timers[0], 10);
	cr_assert_eq(virtual_env_pass(&v, 9), 0);
	cr_assert_eq(virtual_env_pass(&v, 21), 4);
	cr_assert_eq(ran_count, 4);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(ran[i], order[i], "%u", i);
		cr_assert_eq(ran_at_ms[i], begin + at[i], "%u", i);
	}
	cr_assert_eq(virtual_env_pass(&v, 3600 * 1000), 1);
	cr_assert_eq(wm_env_ms(env), begin + 3600 * 1000 + 30);
	cr_assert_eq(wm_env_wall_s(env), wall + 3600);
	free_timers();
}

Test(env, a_seed_gives_the_same_numbers_again)
{
	struct virtual_env other;

	virtual_env_init(&other, 7);
	for (unsigned i = 0; i < 100; i++)
		cr_assert_eq(wm_env_random64(env), wm_env_random64(&other.env));
	for (unsigned i = 0; i < 100; i++)
		cr_assert_lt(wm_env_below(env, 3), 3);
	virtual_env_init(&other, 8);
	cr_assert_neq(wm_env_random64(env), wm_env_random64(&other.env));
}

Test(env, the_loops_timers_run_in_its_turns)
{
	struct wm_loop *loop = wm_loop_new();
	uint64_t before = wm_clock_ns(), wall = wm_clock_wall_ms();

	cr_assert(loop);
	env = wm_loop_env(loop);
	cr_assert_geq(wm_env_ns(env), before);
	cr_assert_geq(wm_env_wall_ms(env), wall);
	make_timers();
	cr_assert_eq(wm_env_timer_arm(timers[2], 0), 0);
	wm_env_timer_disarm(timers[2]);
	cr_assert_eq(wm_env_timer_arm(timers[1], 0), 0);
	wm_loop_turn(loop, 0);
	wm_loop_turn(loop, 0);
	cr_assert_eq(ran_count, 1);
	cr_assert_eq(ran[0], 1);
	free_timers();
	wm_loop_free(loop);
}

Test(env, the_system_has_a_clock_and_no_timers)
{
	uint64_t before = wm_clock_ns();

	env = &wm_env_system;
	cr_assert_geq(wm_env_ns(env), before);
	cr_assert_null(wm_env_timer_new(env, on_timer, NULL));
}
