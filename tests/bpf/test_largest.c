/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* A service of as many backends as a set may have: connections, and the addresses of an answer. */
#include "waymark/dns_answer.h"
/* behind it */
#include "connect_fixture.h"

#include <stdlib.h>

#define LARGEST WM_SET_SLOTS_MAX
#define DIALLED 2000

static struct wm_want_backend *many;

static void largest_setup(void)
{
	struct wm_plane_config c;

	setup();
	c = connect_config();
	c.backends = LARGEST + 1024;
	c.slots = 4 * LARGEST;
	c.memory_max = 64 << 20;
	steer(&c, false);
	enter(cgroup);
	many = calloc(LARGEST, sizeof(*many));
	cr_assert(many);
	want = (struct wm_want_set){.service = "web", .backends = many, .backends_count = LARGEST};
	inet_pton(AF_INET, VIP4, &want.vip4_be);
	for (unsigned i = 0; i < LARGEST; i++)
		many[i] = (struct wm_want_backend){.instance = i + 1,
						   .addr4_be = htonl(0x7f100000 + i),
						   .port = 53,
						   .weight = 1,
						   .state = WM_STATE_UP};
}

static void largest_teardown(void)
{
	connect_teardown();
	free(many);
}

static unsigned backends_picked(void)
{
	unsigned n = 0;

	for (uint32_t i = 0; i < mem.backends_cap; i++)
		n += mem.live[i].picks != 0;
	return n;
}

static int dial_once(void)
{
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = dial(fd, VIP4, 53);

	close(fd);
	return r;
}

/* @return records of a UDP answer, or of one over TCP; @p ret_more: it is cut. */
static int addresses(uint32_t set, uint32_t fits, bool *ret_more)
{
	static uint8_t records[WM_DNS_GATHER_MAX * WM_DNS_RR_A] __attribute__((aligned(4)));
	const struct wm_dns_want q = {.type = WM_DNS_A, .fits = fits, .random = 4711};
	const struct wm_name name = {.set = set, .kind = WM_NAME_SERVICE};
	struct wm_view view = wm_tables_view(tables);
	uint32_t len;
	int n = wm_dns_addresses(&view, &name, &q, records, &len, ret_more);

	cr_assert_eq(len, (uint32_t)n * WM_DNS_RR_A);
	return n;
}

TestSuite(largest, .init = largest_setup, .fini = largest_teardown, .timeout = 300);

Test(largest, a_set_of_65536_is_steered_and_its_answers_are_cut)
{
	uint32_t set;
	bool more;

	cr_assert_eq(wm_tables_put(tables, &want, &set, NULL), 0);
	for (unsigned i = 0; i < DIALLED; i++)
		cr_assert_eq(dial_once(), 0);
	cr_assert_gt(backends_picked(), DIALLED * 9 / 10, "an even draw has 30 pairs");
	cr_assert_eq(addresses(set, 75, &more), 75);
	cr_assert(more);
	cr_assert_eq(addresses(set, WM_DNS_ANSWERS_TCP, &more), WM_DNS_ANSWERS_TCP);
	cr_assert(more);
	/* one less is a set of its own beside the old one */
	want.backends_count--;
	cr_assert_eq(wm_tables_put(tables, &want, NULL, NULL), 0);
	cr_assert_eq(dial_once(), 0);
}

/* All but one are down: no draw finds it, a walk over all of them does. Then nobody is up. */
Test(largest, the_only_one_that_is_up_is_found)
{
	uint32_t set;
	bool more;

	for (unsigned i = 0; i < LARGEST - 1; i++)
		many[i].state = WM_STATE_DOWN;
	cr_assert_eq(wm_tables_put(tables, &want, &set, NULL), 0);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(dial_once(), 0);
	cr_assert_eq(backends_picked(), 1);
	cr_assert_eq(addresses(set, 75, &more), 1);
	cr_assert_not(more);
	cr_assert_eq(wm_tables_state(tables, LARGEST, WM_STATE_DOWN), 0);
	cr_assert_eq(dial_once(), ECONNREFUSED);
	cr_assert_eq(addresses(set, 75, &more), 0);
}
