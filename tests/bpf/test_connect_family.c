/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* Which family of backend a socket gets: the one that it dialled first, and none that it cannot
 * reach. */
#include "connect_fixture.h"

#define PORT4 1004
#define PORT6 1006

/* Backend 0 has an IPv4 address, 1 an IPv6 one, 2 to 19 one of each kind in turn. */
static void mixed(void)
{
	for (unsigned i = 0; i < 20; i++)
		backend(i, i % 2 ? "::1" : "127.9.9.9", i % 2 ? PORT6 : PORT4, 1, WM_STATE_UP);
	publish();
}

static void states(unsigned odd, uint32_t state)
{
	for (unsigned i = odd; i < 20; i += 2)
		wants[i].state = state;
	publish();
}

/* Where a datagram socket that dials goes: 4, 6, or 0 if it is refused. */
static int family_of(const char *vip, bool v6only, const char *bound)
{
	bool v6 = strchr(vip, ':');
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1, r;
	union address a = {0};
	socklen_t len;

	if (v6only)
		cr_assert_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	if (bound) {
		len = fill(&a, bound, 0);
		cr_assert_eq(bind(fd, &a.any, len), 0, "%s: %s", bound, strerror(errno));
	}
	r = dial(fd, vip, 53);
	cr_assert(!r || r == ECONNREFUSED, "%s: %s", vip, strerror(r));
	if (!r) {
		len = sizeof(a);
		cr_assert_eq(getsockname(fd, &a.any, &len), 0);
		r = v6 && !IN6_IS_ADDR_V4MAPPED(&a.in6.sin6_addr) ? 6 : 4;
	} else {
		r = 0;
	}
	close(fd);
	return r;
}

static void all_go(const char *vip, bool v6only, const char *bound, int family)
{
	for (unsigned i = 0; i < 200; i++)
		cr_assert_eq(family_of(vip, v6only, bound), family, "%s v6only=%d bound=%s", vip,
			     v6only, bound ? bound : "-");
}

Test(connect, the_family_that_was_dialled_comes_first)
{
	mixed();
	all_go(VIP6, false, NULL, 6);
	all_go(VIP6, true, NULL, 6);
	all_go(VIP4, false, NULL, 4);
	all_go("::ffff:" VIP4, false, NULL, 4);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 0);
}

/* One of many is enough, wherever it is. */
Test(connect, the_other_family_only_when_there_is_none)
{
	mixed();
	states(1, WM_STATE_DOWN);
	all_go(VIP6, false, NULL, 4);
	wants[19].state = WM_STATE_UP;
	publish();
	all_go(VIP6, false, NULL, 6);
	states(1, WM_STATE_UP);
	states(0, WM_STATE_DOWN);
	all_go("::ffff:" VIP4, false, NULL, 6);
	/* an IPv4 socket has no other */
	cr_assert_eq(family_of(VIP4, false, NULL), 0);
	wants[18].state = WM_STATE_UP;
	publish();
	all_go("::ffff:" VIP4, false, NULL, 4);
}

/* What is asked where nobody is usable is for sockets that have no other family with somebody. */
Test(connect, who_is_up_in_the_other_family_comes_before_less)
{
	const struct wm_want_rule rule = {.head = {.tiers = 1, .when_none = WM_NONE_ANY}};

	want.rule = &rule;
	mixed();
	states(1, WM_STATE_DOWN);
	all_go(VIP6, false, NULL, 4);
	all_go(VIP6, true, NULL, 6);
	all_go(VIP6, false, "::1", 6);
	states(0, WM_STATE_DOWN);
	cr_assert_neq(family_of(VIP6, false, NULL), 0, "whoever is registered");
	states(1, WM_STATE_UP);
	all_go("::ffff:" VIP4, false, NULL, 6);
	all_go(VIP4, false, NULL, 4);
}

Test(connect, a_v6only_socket_is_not_sent_to_ipv4)
{
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
	int mptcp = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 262);

	mixed();
	states(1, WM_STATE_DOWN);
	cr_assert_eq(family_of(VIP6, true, NULL), 0);
	cr_assert_eq(setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
	cr_assert_eq(dial(fd, VIP6, 80), ECONNREFUSED);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 2);
	if (mptcp >= 0) { /* a kernel may lack it */
		cr_assert_eq(setsockopt(mptcp, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)), 0);
		cr_assert_eq(dial(mptcp, VIP6, 80), ECONNREFUSED);
		cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 3);
		close(mptcp);
	}
	close(fd);
}

Test(connect, a_bound_socket_keeps_its_family)
{
	mixed();
	all_go(VIP6, false, "::1", 6);
	all_go(VIP6, false, "::", 6);
	all_go(VIP6, false, "::ffff:127.0.0.1", 4);
	all_go("::ffff:" VIP4, false, "::ffff:127.0.0.1", 4);
	states(1, WM_STATE_DOWN);
	cr_assert_eq(family_of(VIP6, false, "::1"), 0);
	cr_assert_eq(family_of(VIP6, false, "::"), 4);
	cr_assert_eq(family_of(VIP6, false, "::ffff:127.0.0.1"), 4);
	states(0, WM_STATE_DOWN);
	states(1, WM_STATE_UP);
	cr_assert_eq(family_of(VIP6, false, "::ffff:127.0.0.1"), 0);
}

/* Both addresses in one backend, the same. */
Test(connect, a_backend_with_both_addresses)
{
	backend(0, "127.9.9.9", PORT4, 1, WM_STATE_UP);
	cr_assert_eq(inet_pton(AF_INET6, "::1", wants[0].addr6), 1);
	publish();
	all_go(VIP6, false, NULL, 6);
	all_go(VIP6, true, NULL, 6);
	all_go(VIP6, false, "::ffff:127.0.0.1", 4);
	all_go(VIP4, false, NULL, 4);
	all_go("::ffff:" VIP4, false, NULL, 4);
}

/* The set tells how many of each family are up, so that none is looked through for what it has
 * not. */
Test(connect, a_set_tells_who_is_up)
{
	uint32_t set;

	backend(0, "127.9.9.9", PORT4, 1, WM_STATE_UP);
	cr_assert_eq(wm_tables_put(tables, &want, &set, NULL), 0);
	cr_assert(mem.set_live[set].up4 == 1 && mem.set_live[set].up6 == 0);
	backend(1, "::1", PORT6, 1, WM_STATE_DOWN);
	publish();
	cr_assert(mem.set_live[set].up4 == 1 && mem.set_live[set].up6 == 0);
	cr_assert_eq(wm_tables_state(tables, wants[1].instance, WM_STATE_UP), 0);
	cr_assert(mem.set_live[set].up4 == 1 && mem.set_live[set].up6 == 1);
	wants[0] = wants[1];
	want.backends_count = 1;
	publish();
	cr_assert(mem.set_live[set].up4 == 0 && mem.set_live[set].up6 == 0);
	cr_assert_eq(family_of(VIP6, false, NULL), 0);
	wants[0].state = WM_STATE_UP;
	publish();
	cr_assert_eq(mem.set_live[set].up6, 1);
	cr_assert_eq(family_of(VIP6, false, NULL), 6);
}
