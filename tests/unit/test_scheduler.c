/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net health model store registry */
/* The heap against a sorted array, and the arithmetic of the next run. */
#include "env_virtual.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/health/scheduler.h"

#include <criterion/criterion.h>
#include <string.h>

#define ENTRIES 2000

struct entry {
	struct wm_due due;
	unsigned runs;
	uint64_t ran_at_place;
};

static struct entry entries[ENTRIES];
static struct wm_schedule *schedule;
static uint64_t order, last_at;

static void on_due(struct wm_due *d, uint64_t now_ms)
{
	struct entry *e = wm_container_of(d, struct entry, due);

	cr_assert_eq(d->place, 0);
	cr_assert_leq(d->at_ms, now_ms);
	cr_assert_geq(d->at_ms, last_at, "in order of time");
	last_at = d->at_ms;
	e->runs++;
	e->ran_at_place = order++;
}

static void setup(void)
{
	schedule = wm_schedule_new(NULL);
	cr_assert(schedule);
	cr_assert_eq(wm_schedule_reserve(schedule, ENTRIES), 0);
	memset(entries, 0, sizeof(entries));
	for (int i = 0; i < ENTRIES; i++)
		entries[i].due.fn = on_due;
	order = last_at = 0;
}

static void teardown(void)
{
	wm_schedule_free(schedule);
}

TestSuite(scheduler, .init = setup, .fini = teardown, .timeout = 300);

Test(scheduler, runs_in_order_after_moves_and_drops)
{
	unsigned dropped = 0, n;

	for (int i = 0; i < ENTRIES; i++)
		wm_schedule_put(schedule, &entries[i].due, wm_random_below(1000));
	for (int i = 0; i < ENTRIES; i += 3)
		wm_schedule_put(schedule, &entries[i].due, wm_random_below(1000));
	for (int i = 0; i < ENTRIES; i += 7, dropped++)
		wm_schedule_drop(schedule, &entries[i].due);
	wm_schedule_drop(schedule, &entries[0].due); /* again: nothing */
	cr_assert_eq(wm_schedule_count(schedule), ENTRIES - dropped);
	while ((n = wm_schedule_run(schedule, 1000)))
		cr_assert_leq(n, WM_SCHEDULE_BATCH);
	cr_assert_eq(wm_schedule_count(schedule), 0);
	cr_assert_null(wm_schedule_first(schedule));
	for (int i = 0; i < ENTRIES; i++)
		cr_assert_eq(entries[i].runs, i % 7 ? 1 : 0);
}

Test(scheduler, leaves_what_is_not_due)
{
	wm_schedule_put(schedule, &entries[0].due, 100);
	wm_schedule_put(schedule, &entries[1].due, 101);
	cr_assert_eq(wm_schedule_run(schedule, 99), 0);
	cr_assert_eq(wm_schedule_run(schedule, 100), 1);
	cr_assert_eq(wm_schedule_first(schedule), &entries[1].due);
}

static void drops_next_and_returns(struct wm_due *d, uint64_t now_ms)
{
	struct entry *e = wm_container_of(d, struct entry, due);

	wm_schedule_drop(schedule, &entries[1].due);
	wm_schedule_put(schedule, d, now_ms + 50);
	e->runs++;
}

Test(scheduler, an_entry_may_change_the_schedule_it_runs_in)
{
	entries[0].due.fn = drops_next_and_returns;
	wm_schedule_put(schedule, &entries[0].due, 10);
	wm_schedule_put(schedule, &entries[1].due, 10);
	wm_schedule_put(schedule, &entries[1].due, 11);
	cr_assert_eq(wm_schedule_run(schedule, 20), 1);
	cr_assert_eq(entries[1].runs, 0);
	cr_assert_eq(entries[0].due.at_ms, 70);
	cr_assert_eq(wm_schedule_run(schedule, 69), 0);
	cr_assert_eq(wm_schedule_run(schedule, 70), 1);
}

static const struct {
	uint64_t planned, interval, now, next, skipped;
} afters[] = {
	{1000, 100, 1000, 1100, 0}, /* in time */
	{1000, 100, 1007, 1100, 0}, /* a little late does not drift */
	{1000, 100, 1099, 1100, 0},
	{1000, 100, 1100, 1200, 1}, /* the next is now: too late for it */
	{1000, 100, 1555, 1600, 5},
	{1000, 1, 1000, 1001, 0},
};

Test(scheduler, keeps_the_phase)
{
	for (size_t i = 0; i < WM_ARRAY_LEN(afters); i++) {
		uint64_t skipped = 99, next;

		next = wm_schedule_after(afters[i].planned, afters[i].interval, afters[i].now,
					 &skipped);
		cr_assert_eq(next, afters[i].next, "%zu: %lu", i, next);
		cr_assert_eq(skipped, afters[i].skipped, "%zu: %lu", i, skipped);
	}
}

Test(scheduler, one_timer_drives_all)
{
	struct virtual_env v;
	struct wm_schedule *own;
	uint64_t now;

	virtual_env_init(&v, 1);
	own = wm_schedule_new(&v.env);
	cr_assert(own);
	cr_assert_eq(wm_schedule_reserve(own, ENTRIES), 0);
	now = wm_env_ms(&v.env);
	/* later ones first, so that the timer has to move forward */
	for (int i = ENTRIES - 1; i >= 0; i--)
		wm_schedule_put(own, &entries[i].due, now + (uint64_t)(i / 20));
	virtual_env_pass(&v, 50); /* a grain's end: all that is due up to it has run */
	cr_assert_eq(wm_schedule_count(own), ENTRIES - 51 * 20);
	cr_assert_eq(wm_schedule_first(own)->at_ms, now + 51);
	virtual_env_pass(&v, 49);
	cr_assert_neq(wm_schedule_count(own), 0, "up to a grain late");
	virtual_env_pass(&v, 1);
	cr_assert_eq(wm_schedule_count(own), 0);
	for (int i = 0; i < ENTRIES; i++)
		cr_assert_eq(entries[i].runs, 1);
	wm_schedule_free(own);
}

/* Of any number in a row no part of the interval gets more than its share and a little. */
Test(scheduler, phases_lie_evenly_however_many_there_are)
{
	enum { SLICES = 20, INTERVAL = 10000 };
	static const unsigned counts[] = {100, 1000, 10000};

	for (unsigned k = 0; k < 3; k++) {
		uint64_t state = wm_random_below(UINT64_MAX);
		unsigned slices[SLICES] = {0};

		for (unsigned i = 0; i < counts[k]; i++) {
			uint64_t at = wm_schedule_phase(&state, INTERVAL);

			cr_assert_lt(at, INTERVAL);
			slices[at * SLICES / INTERVAL]++;
		}
		for (unsigned i = 0; i < SLICES; i++)
			cr_assert(slices[i] + 3 >= counts[k] / SLICES &&
					  slices[i] <= counts[k] / SLICES + 3,
				  "%u of %u in slice %u", slices[i], counts[k], i);
	}
}
