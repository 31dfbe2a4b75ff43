/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* How connects end is seen in the kernel: who refuses or does not answer is ejected by the program
 * that sees it, nobody else's socket is looked at twice, and no packet costs anything. */
#include "connect_fixture.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "waymark/choose.h"
#include "waymark/outcome.h"
#include "waymark/outlier.h"

#define SECOND 1000000000ull

static struct wm_want_rule rule;
static int listeners[BACKENDS];

static void passive_setup(void)
{
	struct wm_plane_config c;

	setup();
	c = connect_config();
	c.passive = true;
	steer(&c, false);
	rule.head = (struct wm_table_head){.tiers = 1,
					   .eject_max_pct = 50,
					   .eject_after = 2,
					   .eject_refused = 1,
					   .eject_least = 2,
					   .eject_base_s = 1,
					   .eject_longest_s = 60};
	want = (struct wm_want_set){.service = "web", .backends = wants, .rule = &rule};
	inet_pton(AF_INET, VIP4, &want.vip4_be);
	inet_pton(AF_INET6, VIP6, want.vip6);
	enter(cgroup);
}
TestSuite(passive, .init = passive_setup, .fini = connect_teardown, .timeout = 60);

/* @p n backends that listen. */
static void serving(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char at[32];
		uint16_t port;

		snprintf(at, sizeof(at), "127.0.1.%u", i + 1);
		listeners[i] = serve(at, SOCK_STREAM, &port);
		listen(listeners[i], 4096); /* nobody accepts */
		backend(i, at, port, 1, WM_STATE_UP);
	}
	publish();
}

static struct wm_backend_live *live(unsigned i)
{
	return &mem.live[index_of(i)];
}

static uint32_t ejected(void)
{
	return mem.set_live[wm_tables_set_of(tables, "web")].ejected;
}

static unsigned refusals(unsigned dials)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < dials; i++) {
		int fd = client_of(VIP4, SOCK_STREAM), r = dial(fd, VIP4, 80);

		cr_assert(!r || r == ECONNREFUSED, "%s", strerror(r));
		refused += r != 0;
		close(fd);
	}
	return refused;
}

Test(passive, one_refusal_ejects_for_a_time_that_grows)
{
	uint64_t until;

	serving(2);
	close(listeners[0]);
	cr_assert_eq(refusals(100), 1);
	cr_assert(wm_ejected(live(0), live(0)->stamp, wm_clock_ns()));
	cr_assert_eq(ejected(), 1);
	cr_assert_eq(counter(WM_C_EJECTIONS), 1);
	cr_assert_eq(counter(WM_C_CONNECT_FAILED), 1);
	/* no agent is here: it is back by itself, fails, and is out for longer */
	until = live(0)->ejected_until_ns;
	while (wm_clock_ns() <= until)
		usleep(10000);
	cr_assert_eq(refusals(100), 1);
	cr_assert_gt(live(0)->ejected_until_ns - wm_clock_ns(), SECOND, "twice as long");
	cr_assert_eq(live(0)->ejections, 2);
	cr_assert_eq(ejected(), 1, "the end of the first is noticed");
}

Test(passive, never_more_than_the_bound_and_the_rest_is_counted)
{
	serving(4);
	for (unsigned i = 0; i < 4; i++)
		close(listeners[i]);
	cr_assert_eq(refusals(200), 200);
	cr_assert_eq(counter(WM_C_EJECTIONS), 2);
	cr_assert_eq(counter(WM_C_EJECT_SPARED), 198);
	cr_assert_eq(ejected(), 2);
}

Test(passive, what_is_switched_off_ejects_nobody)
{
	rule.head.eject_refused = rule.head.eject_after = 0;
	serving(2);
	close(listeners[0]);
	cr_assert_gt(refusals(100), 10);
	cr_assert_eq(counter(WM_C_EJECTIONS), 0);
	cr_assert_gt(live(0)->failures, 10);
}
