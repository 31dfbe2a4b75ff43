/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry health */
/* Runs of checks that come before their time. */
#include "health_help.h"
#include "http_peer.h"

static void begin(void)
{
	start_registry(NULL);
	start_health();
}
TestSuite(health_hasten, .init = begin, .fini = stop_all, .timeout = 300);

/* Somebody saw a connect fail: the next run is now, and those after it keep their distance. */
Test(health_hasten, a_run_can_be_hastened)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TCP};
	struct wm_check *c, *ttl;
	char target[32];
	uint16_t port = 0;
	int fd = peer_listen(512, &port);

	snprintf(target, sizeof(target), "127.0.0.1:%u", port);
	d.target = target;
	d.interval_ms = 3600000;
	c = add("a", d);
	ttl = add("b", (struct wm_check_draft){.kind = WM_CHECK_TTL, .ttl_ms = 3600000});
	cr_assert_eq(wm_health_hasten(health, ttl->instance), 0, "it has no probe");
	cr_assert_eq(wm_health_hasten(health, c->instance), 1);
	UNTIL(c->status == WM_PASSING);
	close(fd);
	cr_assert_eq(wm_health_hasten(health, c->instance), 1);
	UNTIL(c->status == WM_CRITICAL);
	cr_assert_eq(stats().runs, 2);
}
