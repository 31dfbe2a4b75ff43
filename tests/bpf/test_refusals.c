/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* Why nobody was taken is counted by set: each reason is made, and dialled into. */
#include "connect_fixture.h"
#include "waymark/refusal.h"

static const char *const reasons[] = {
#define X(sym, name, text) #name,
	WM_REFUSALS(X)
#undef X
};

/* Dial, and be refused: this reason is counted, and no other. */
static void refused_for(enum wm_refusal why, int domain, const char *vip)
{
	const struct wm_refusals *r = wm_plane_refusals(plane);
	struct wm_refusals before;
	int fd = socket(domain, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert(r);
	before = r[0];
	cr_assert_eq(dial(fd, vip, 53), ECONNREFUSED, "%s", reasons[why]);
	close(fd);
	cr_assert_eq(r[0].service, mem.sets[0].service);
	for (unsigned i = 0; i < WM_REFUSAL_COUNT; i++)
		cr_assert_eq(r[0].count[i], before.count[i] + (i == why), "%s counts as %s",
			     reasons[why], reasons[i]);
}

/* One of two may be left out. */
static const struct wm_want_rule rule = {.head = {.balance = WM_BALANCE_WEIGHTED,
						  .tiers = 1,
						  .eject_refused = 1,
						  .eject_least = 2,
						  .eject_max_pct = 50}};

Test(connect, why_nobody_was_taken_is_counted)
{
	want.rule = &rule;
	backend(0, "127.9.9.8", 1000, 1, WM_STATE_UP);
	backend(1, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	pick(3);
	cr_assert_eq(wm_plane_refusals(plane)[0].service, 0, "nobody was refused");
	wants[0].state = WM_STATE_DOWN;
	wants[1].state = WM_STATE_DRAIN;
	publish();
	refused_for(WM_REFUSAL_DOWN, AF_INET, VIP4);
	wants[1].state = WM_STATE_UP;
	publish();
	mem.live[index_of(1)].ejected_until_ns = UINT64_MAX;
	mem.set_live[0].ejected = 1;
	refused_for(WM_REFUSAL_EJECTED, AF_INET, VIP4);
	mem.live[index_of(1)].ejected_until_ns = 0;
	mem.set_live[0].ejected = 0;
	pick(3);
	wants[0].weight = wants[1].weight = 0;
	publish();
	refused_for(WM_REFUSAL_EMPTY, AF_INET, VIP4);
	wants[0].weight = wants[1].weight = 1;
	/* IPv6 addresses alone, where an IPv4 socket asks */
	for (unsigned i = 0; i < 2; i++) {
		wants[i].addr4_be = 0;
		wants[i].addr6[0] = 0xfd;
		wants[i].addr6[15] = (uint8_t)(1 + i);
		wants[i].state = WM_STATE_UP;
	}
	publish();
	refused_for(WM_REFUSAL_FAMILY, AF_INET, VIP4);
}

/* A set that becomes another service's is counted anew. */
Test(connect, refusals_of_a_service_that_left_are_not_the_next_ones)
{
	backend(0, "127.9.9.8", 1000, 1, WM_STATE_DOWN);
	publish();
	for (unsigned i = 0; i < 3; i++)
		refused_for(WM_REFUSAL_DOWN, AF_INET, VIP4);
	mem.sets[0].service ^= 1;
	{
		const struct wm_refusals *r = wm_plane_refusals(plane);
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		cr_assert_eq(dial(fd, VIP4, 53), ECONNREFUSED);
		close(fd);
		cr_assert_eq(r[0].service, mem.sets[0].service);
		cr_assert_eq(r[0].count[WM_REFUSAL_DOWN], 1);
	}
	mem.sets[0].service ^= 1;
}
