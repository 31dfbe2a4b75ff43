/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry health */
/* Checks that change their mind too often, on results that are handed in and a clock that is
 * turned. */
#include "health_help.h"
#include "userspace/base/macros.h"

static void setup(void)
{
	start_registry(NULL);
	start_health();
}

TestSuite(health_flap, .init = setup, .fini = stop_all, .timeout = 300);

static void result(struct wm_check *c, enum wm_status s)
{
	struct wm_prober *p = c->prober;

	p->flying = true;
	health->stats.in_flight++;
	wm_prober_done(p, s, "result %d", s);
}

/* As if all that happened had happened so long ago. */
static void pass_time(struct wm_check *c, uint64_t ms)
{
	struct wm_flap *f = ((struct wm_prober *)c->prober)->flap;

	for (unsigned i = 0; i < WM_ARRAY_LEN(f->at_ms); i++)
		f->at_ms[i] -= ms;
	f->steady_ms -= ms;
	f->released_ms -= f->released_ms ? ms : 0;
}

static struct wm_check *flapping(unsigned changes)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TCP, .target = "127.0.0.1:1"};

	health->config.flap_changes = changes;
	health->config.flap_window_ms = 3600 * 1000;
	d.interval_ms = 3600 * 1000;
	return add("f", d);
}

Test(health_flap, getting_worse_counts_at_once_and_getting_better_is_held)
{
	struct wm_check *c = flapping(3);

	result(c, WM_PASSING);
	result(c, WM_CRITICAL);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_PASSING);
	cr_assert_eq(stats().held, 0);
	result(c, WM_CRITICAL); /* the fourth change */
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_str_eq(c->output, "result 2");
	cr_assert_eq(stats().held, 1);
	result(c, WM_PASSING);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_str_eq(c->output,
			 "Flapping: more than 3 changes in 1h0m0s. Held critical until it "
			 "has been passing for 15m0s. result 0");
	pass_time(c, 14 * 60 * 1000);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_CRITICAL);
	pass_time(c, 60 * 1000);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_PASSING);
	cr_assert_str_eq(c->output, "result 0");
	cr_assert_eq(stats().held, 0);
	cr_assert_eq(stats().flaps, 1);
	/* bad news after that is as quick as ever */
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_CRITICAL);
}

Test(health_flap, each_relapse_doubles_the_hold_up_to_a_bound)
{
	struct wm_check *c = flapping(1);
	uint64_t minutes = 15;

	result(c, WM_PASSING);
	result(c, WM_CRITICAL);
	for (int n = 0; n < 8; n++) {
		result(c, WM_WARNING);
		pass_time(c, (minutes - 1) * 60 * 1000);
		result(c, WM_WARNING);
		cr_assert_eq(c->status, WM_CRITICAL, "relapse %d", n);
		result(c, WM_CRITICAL);
		minutes = minutes * 2 < 240 ? minutes * 2 : 240;
		cr_assert_eq(((struct wm_prober *)c->prober)->flap->hold_ms, minutes * 60 * 1000);
	}
	cr_assert_eq(stats().flaps, 1);
	/* from passing to warning and on to critical: never held */
	result(c, WM_PASSING);
	pass_time(c, 240 * 60 * 1000);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_PASSING);
	result(c, WM_WARNING);
	cr_assert_eq(c->status, WM_WARNING);
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_eq(stats().held, 1, "it flaps again");
	/* a check that goes is not held any more */
	submit("f", NULL, 0);
	wm_registry_flush(registry);
	cr_assert_eq(stats().held, 0);
}

Test(health_flap, what_was_down_all_the_while_does_not_flap)
{
	struct wm_check *c = flapping(1);

	result(c, WM_PASSING);
	result(c, WM_CRITICAL);
	cr_assert_eq(stats().held, 1);
	pass_time(c, 3600 * 1000);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_PASSING);
	cr_assert_eq(stats().held, 0);
}

Test(health_flap, slow_changes_and_a_limit_of_none_hold_nothing)
{
	struct wm_check *c = flapping(2);

	for (int n = 0; n < 50; n++) {
		result(c, n % 2 ? WM_CRITICAL : WM_PASSING);
		cr_assert_eq(c->status, n % 2 ? WM_CRITICAL : WM_PASSING);
		pass_time(c, 31 * 60 * 1000); /* two in an hour */
	}
	health->config.flap_changes = 0;
	for (int n = 0; n < 50; n++) {
		result(c, n % 2 ? WM_CRITICAL : WM_PASSING);
		cr_assert_eq(c->status, n % 2 ? WM_CRITICAL : WM_PASSING);
	}
	cr_assert_eq(stats().flaps, 0);
}

Test(health_flap, heartbeats_are_not_held)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TTL, .ttl_ms = 3600 * 1000};
	struct wm_check *c;

	health->config.flap_changes = 1;
	health->config.flap_window_ms = 3600 * 1000;
	c = add("beat", d);
	for (int n = 0; n < 20; n++) {
		enum wm_status s = n % 2 ? WM_CRITICAL : WM_PASSING;

		cr_assert_eq(wm_health_ttl_update(health, "beat", s, "", NULL), 0);
		cr_assert_eq(c->status, s);
	}
}
