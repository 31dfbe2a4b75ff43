/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* What programs see that dial virtual addresses: who answers, who is chosen, who is refused. */
#include "connect_fixture.h"
#include "tests/unit/chi_square.h"
#include "userspace/base/macros.h"

/* Dial, be accepted, say something, see the virtual address as the peer. */
static void tcp_works(const char *vip, const char *at)
{
	char octet = 0;
	uint16_t port;
	int server = serve_alone(at, SOCK_STREAM, &port);
	int client = client_of(vip, SOCK_STREAM), accepted;

	cr_assert_eq(dial(client, vip, 80), 0, "%s: %s", vip, strerror(errno));
	cr_assert(readable(server));
	accepted = accept(server, NULL, NULL);
	cr_assert(accepted >= 0);
	cr_assert_eq(write(client, "x", 1), 1);
	cr_assert(readable(accepted));
	cr_assert_eq(read(accepted, &octet, 1), 1);
	cr_assert_eq(octet, 'x');
	peer_is(client, vip, 80);
	close(accepted);
	close(client);
	close(server);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), 1);
	cr_assert_eq(counter(WM_C_PEERNAME_REVERSED), 1);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED) + counter(WM_C_CONNECT_TORN), 0);
}

Test(connect, tcp_over_ipv4)
{
	tcp_works(VIP4, "127.9.9.9");
}
Test(connect, tcp_over_ipv6)
{
	tcp_works(VIP6, "::1");
}
Test(connect, tcp_v4_mapped)
{
	tcp_works("::ffff:" VIP4, "127.9.9.9");
}
Test(connect, an_ipv6_address_of_an_ipv4_backend)
{
	tcp_works(VIP6, "127.9.9.9");
}

Test(connect, udp_connected)
{
	for (unsigned i = 0; i < WM_ARRAY_LEN(forms); i++) {
		union address from = {0};
		socklen_t len = sizeof(from);
		char octet = 0;
		uint16_t port;
		int server = serve_alone(forms[i].at, SOCK_DGRAM, &port);
		int client = client_of(forms[i].vip, SOCK_DGRAM);

		cr_assert_eq(dial(client, forms[i].vip, 53), 0);
		cr_assert_eq(send(client, "q", 1, 0), 1);
		cr_assert(readable(server));
		cr_assert_eq(recvfrom(server, &octet, 1, 0, &from.any, &len), 1);
		cr_assert_eq(sendto(server, "a", 1, 0, &from.any, len), 1);
		cr_assert(readable(client));
		/* a resolver compares the source with what it asked */
		len = sizeof(from);
		cr_assert_eq(recvfrom(client, &octet, 1, 0, &from.any, &len), 1);
		cr_assert_eq(octet, 'a');
		peer_is(client, forms[i].vip, 53);
		close(client);
		close(server);
	}
}

Test(connect, udp_unconnected_shows_the_virtual_address)
{
	for (unsigned i = 0; i < WM_ARRAY_LEN(forms); i++) {
		uint16_t port;
		int server = serve_alone(forms[i].at, SOCK_DGRAM, &port);
		int client = client_of(forms[i].vip, SOCK_DGRAM);

		for (unsigned round = 0; round < 3; round++) {
			union address from = {0};

			exchange(client, server, forms[i].vip, 53, &from);
			same_source(&from, forms[i].vip, 53);
		}
		close(client);
		close(server);
	}
	cr_assert_eq(counter(WM_C_UDP_PICKED), 3);
	cr_assert_eq(counter(WM_C_UDP_REUSED), 6);
	cr_assert_eq(counter(WM_C_UDP_REVERSED), 9);
}

Test(connect, a_datagram_leaves_a_backend_that_went_down)
{
	union address to;
	socklen_t len = fill(&to, VIP4, 53);
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), servers[2];
	unsigned first;
	uint16_t port;
	char octet;

	for (unsigned i = 0; i < 2; i++) {
		servers[i] = serve("127.9.9.9", SOCK_DGRAM, &port);
		backend(i, "127.9.9.9", port, 1, WM_STATE_UP);
	}
	publish();
	cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
	first = recv(servers[1], &octet, 1, MSG_DONTWAIT) == 1;
	cr_assert_eq(wm_tables_state(tables, first + 1, WM_STATE_DOWN), 0);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
	for (unsigned i = 0; i < 20; i++)
		cr_assert(readable(servers[!first]) && recv(servers[!first], &octet, 1, 0) == 1);
	close(client);
	close(servers[0]);
	close(servers[1]);
}

Test(connect, nobody_healthy_is_refused_at_once)
{
	union address to;
	socklen_t len = fill(&to, VIP4, 80);
	int tcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int tcp6 = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

	backend(0, "127.9.9.9", 1, 1, WM_STATE_DOWN);
	backend(1, "127.9.9.9", 2, 1, WM_STATE_DRAIN);
	publish();
	cr_assert_eq(dial(tcp, VIP4, 80), ECONNREFUSED);
	cr_assert_eq(dial(tcp6, VIP6, 80), ECONNREFUSED);
	cr_assert_eq(sendto(udp, "q", 1, 0, &to.any, len), -1);
	cr_assert_eq(errno, ECONNREFUSED);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 2);
	cr_assert_eq(counter(WM_C_UDP_REFUSED), 1);
	/* an empty set too, and weight 0 is no backend either */
	wants[0].weight = wants[1].weight = 0;
	wants[0].state = WM_STATE_UP;
	publish();
	cr_assert_eq(dial(tcp, VIP4, 80), ECONNREFUSED);
	close(tcp);
	close(tcp6);
	close(udp);
}

Test(connect, what_is_not_for_a_service_is_left_alone)
{
	uint16_t port;
	int server = serve("127.0.0.1", SOCK_STREAM, &port);
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	int local = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	backend(0, "127.9.9.9", 1, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial(client, "127.0.0.1", port), 0);
	peer_is(client, "127.0.0.1", port);
	cr_assert_eq(counter(WM_C_CONNECT_MISS), 1);
	cr_assert_eq(counter(WM_C_PEERNAME_REVERSED), 0);
	close(client);
	/* switched off, a virtual address is an address like any other: nothing listens there */
	mem.config->flags = 0;
	client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_neq(dial(client, VIP4, 80), 0);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), 0);
	close(client);
	close(local);
	close(server);
}

/* waymark/likely.h */
Test(connect, a_set_that_was_read_in_vain_is_not_taken)
{
	static const uint32_t wrong[] = {1, 31, UINT32_MAX};
	struct wm_likely *l = plane->mem[WM_MAP_FRONTEND_SETS];
	uint32_t places = wm_map_entries(&plane->c, WM_MAP_FRONTEND_SETS) * WM_LIKELY_SETS;
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_STREAM, &port);

	for (unsigned i = 0; i < WM_ARRAY_LEN(wrong); i++) {
		int fd = client_of(VIP4, SOCK_STREAM);

		for (uint32_t k = 0; k < places; k++)
			l[k / WM_LIKELY_SETS].set[k % WM_LIKELY_SETS] = wrong[i];
		cr_assert_eq(dial(fd, VIP4, 80), 0, "%u", wrong[i]);
		peer_is(fd, VIP4, 80);
		close(fd);
		fd = client_of(VIP4, SOCK_STREAM);
		cr_assert_eq(dial(fd, "240.9.9.9", 80), ECONNREFUSED, "%u", wrong[i]);
		close(fd);
	}
	close(server);
}

Test(connect, weights_are_shares)
{
	static const uint32_t weights[] = {1, 2, 5, 0};
	uint64_t total = 0;

	for (unsigned i = 0; i < 4; i++)
		backend(i, "127.9.9.9", (uint16_t)(1000 + i), weights[i], WM_STATE_UP);
	publish();
	pick(8000);
	for (unsigned i = 0; i < 4; i++) {
		/* six deviations of a binomial around its share of 8000 */
		double share = weights[i] / 8.0, mean = 8000 * share;
		double room = 6 * 90 * (share > 0); /* sqrt(8000 * p * (1-p)) <= 44.8 */

		cr_assert_leq((double)picks(i), mean + room);
		cr_assert_geq((double)picks(i), mean - room);
		total += picks(i);
	}
	cr_assert_eq(total, 8000);
}

/* Few are up between many that are not: most draws find none, and the scan behind them draws too.
 */
Test(connect, picks_are_even_among_the_usable)
{
	static const unsigned weights[100] = {[3] = 1, [4] = 1, [60] = 4};
	unsigned seen[100];

	for (unsigned i = 0; i < 100; i++)
		backend(i, "127.9.9.9", (uint16_t)(1000 + i), weights[i] ? weights[i] : 1,
			weights[i] ? WM_STATE_UP : WM_STATE_DOWN);
	publish();
	pick(20000);
	for (unsigned i = 0; i < 100; i++)
		seen[i] = (unsigned)picks(i);
	chi_square("connect", seen, weights, 100);
}

/* Whatever the weighted draws miss, the scan finds. */
Test(connect, one_of_many_is_found)
{
	for (unsigned i = 0; i < BACKENDS; i++)
		backend(i, "127.9.9.9", (uint16_t)(1000 + i), 1 + i % 7, WM_STATE_DOWN);
	wants[222].state = WM_STATE_UP;
	publish();
	pick(500);
	cr_assert_eq(picks(222), 500);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 0);
}

Test(connect, a_state_holds_for_the_next_connect)
{
	uint64_t before;

	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	backend(1, "127.9.9.9", 1001, 1, WM_STATE_UP);
	publish();
	for (unsigned round = 0; round < 50; round++) {
		unsigned down = round % 2;

		cr_assert_eq(wm_tables_state(tables, down + 1, WM_STATE_DOWN), 0);
		before = picks(down);
		pick(20);
		cr_assert_eq(picks(down), before);
		cr_assert_eq(wm_tables_state(tables, down + 1, WM_STATE_UP), 0);
	}
}

Test(connect, exact_ports_go_before_any_port)
{
	const struct wm_plane_ops *ops = wm_plane_ops(plane);
	struct wm_frontend_key k = {.addr_be = {0, 0, htonl(0xffff), want.vip4_be}};
	struct wm_want_backend b = {.instance = 99,
				    .addr4_be = htonl(0x7f090909),
				    .port = 9443,
				    .weight = 1,
				    .state = WM_STATE_UP};
	struct wm_want_set other = {.service = "tls", .backends = &b, .backends_count = 1};
	struct wm_frontend v = {0};
	uint32_t web, tls;
	int fd;

	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	cr_assert_eq(wm_tables_put(tables, &want, &web, NULL), 0);
	cr_assert_eq(wm_tables_put(tables, &other, &tls, NULL), 0);
	v = (struct wm_frontend){.set = web, .flags = WM_FRONTEND_F_EXACT};
	cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	k.port_be = htons(443);
	k.proto = IPPROTO_UDP;
	v = (struct wm_frontend){.set = tls};
	cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	pick(3);
	cr_assert_eq(picks(0), 3);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(dial(fd, VIP4, 443), 0);
	close(fd);
	cr_assert_eq(picks(0), 3);
	wants[1] = b;
	cr_assert_eq(picks(1), 1);
	/* only exact ports are services': no other of a virtual address leads anywhere */
	k.port_be = 0;
	k.proto = 0;
	v = (struct wm_frontend){.set = web, .flags = WM_FRONTEND_F_EXACT | WM_FRONTEND_F_NO_ANY};
	cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(dial(fd, VIP4, 80), ECONNREFUSED);
	cr_assert_eq(counter(WM_C_CONNECT_UNKNOWN_VIP), 1);
	/* while an address that is not ours passes */
	k.addr_be[3] = htonl(0x7f030303);
	cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	cr_assert_eq(dial(fd, "127.3.3.3", 80), 0);
	close(fd);
	cr_assert_eq(picks(0), 3);
	cr_assert_eq(counter(WM_C_CONNECT_MISS), 1);
}

/* A set is republished all the time while connects go on: none fails, none goes astray. */
Test(connect, republished_under_load)
{
	pid_t child;
	int status;

	for (unsigned i = 0; i < 40; i++)
		backend(i, "127.9.9.9", (uint16_t)(1000 + i), 1, WM_STATE_UP);
	publish();
	child = fork();
	if (!child) {
		for (unsigned i = 0; i < 20000; i++) {
			int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

			if (dial(fd, VIP4, 53))
				_exit(1);
			close(fd);
		}
		_exit(0);
	}
	for (unsigned i = 0; !waitpid(child, &status, WNOHANG); i++) {
		wants[i % 40].weight = 1 + i % 5;
		wm_tables_put(tables, &want, NULL, NULL); /* may be full for a while: resting */
		wm_tables_recycle(tables);
		usleep(500);
	}
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), 20000);
}

/* An IPv6 datagram socket reaches IPv4 backends when it is connected; a single datagram cannot be
 * turned into an IPv4 one by the kernel and is refused, rather than lost. */
Test(connect, ipv6_datagrams_to_an_ipv4_backend)
{
	int connected = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	int single = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union address to;
	socklen_t len = fill(&to, VIP6, 53);
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);

	cr_assert_eq(dial(connected, VIP6, 53), 0);
	cr_assert_eq(send(connected, "q", 1, 0), 1);
	cr_assert(readable(server));
	peer_is(connected, VIP6, 53);
	cr_assert_eq(sendto(single, "q", 1, 0, &to.any, len), -1);
	cr_assert_eq(errno, ECONNREFUSED);
	cr_assert_eq(counter(WM_C_UDP_REFUSED), 1);
	close(connected);
	close(single);
	close(server);
}

/* A head of another generation than the set's word is not followed. */
Test(connect, a_torn_set_is_tried_twice_and_refused)
{
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t set;

	backend(0, "127.9.9.9", 1, 1, WM_STATE_UP);
	cr_assert_eq(wm_tables_put(tables, &want, &set, NULL), 0);
	mem.heads[mem.sets[set].table.head].generation++;
	cr_assert_eq(dial(client, VIP4, 80), ECONNREFUSED);
	cr_assert_eq(counter(WM_C_CONNECT_TORN), 1);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 1);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), 0);
	close(client);
}

/* What the C library does to sort addresses: a datagram socket, port 0, then getsockname(). */
Test(connect, looking_for_a_route_is_no_pick)
{
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial(client, VIP4, 0), 0);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), 0);
	cr_assert_eq(picks(0), 0);
	close(client);
}

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* Multipath TCP is steered as TCP is; ICMP has no ports and is left alone. */
Test(connect, other_protocols)
{
	uint16_t port;
	int server = serve("127.9.9.9", SOCK_STREAM, &port);
	int mptcp = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP), ping;
	int range = open("/proc/sys/net/ipv4/ping_group_range", O_WRONLY | O_CLOEXEC);

	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	publish();
	if (mptcp >= 0) { /* a kernel may lack it */
		cr_assert_eq(dial(mptcp, VIP4, 80), 0);
		cr_assert_eq(counter(WM_C_CONNECT_PICKED), 1);
		close(mptcp);
	}
	cr_assert(range >= 0 && write(range, "0 0", 3) == 3, "%s", strerror(errno));
	close(range);
	ping = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, IPPROTO_ICMP);
	cr_assert(ping >= 0, "%s", strerror(errno));
	dial(ping, VIP4, 0);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), mptcp >= 0);
	cr_assert_eq(counter(WM_C_CONNECT_MISS) + counter(WM_C_CONNECT_REFUSED), 0);
	close(ping);
	close(server);
}

/* Outside the cgroup a virtual address is any address: nobody is there. */
Test(connect, outside_the_cgroup_nothing_changes)
{
	char root[128];
	int client;

	backend(0, "127.9.9.9", 1, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(wm_cgroup_root(root, sizeof(root)), 0);
	enter(root);
	client = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_neq(dial(client, VIP4, 80), 0);
	close(client);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED) + counter(WM_C_CONNECT_MISS), 0);
}
