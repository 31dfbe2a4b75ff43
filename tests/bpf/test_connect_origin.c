/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* What a socket remembers of what it dialled, and what it is shown of it. */
#include "connect_fixture.h"

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* Dialled by the virtual address first and then itself, a backend is shown as itself. */
Test(connect, a_socket_connected_again_shows_its_new_peer)
{
	for (unsigned i = 0; i < 2; i++) {
		const struct form *f = &forms[i];
		uint64_t before;
		uint16_t port;
		int server = serve_alone(f->at, SOCK_DGRAM, &port);
		int client = client_of(f->vip, SOCK_DGRAM);

		cr_assert_eq(dial(client, f->vip, 53), 0);
		peer_is(client, f->vip, 53);
		before = counter(WM_C_PEERNAME_REVERSED);
		cr_assert_eq(dial(client, f->at, port), 0);
		peer_is(client, f->at, port);
		cr_assert_eq(counter(WM_C_PEERNAME_REVERSED), before);
		cr_assert_eq(dial(client, f->vip, 54), 0);
		peer_is(client, f->vip, 54);
		close(client);
		close(server);
	}
}

Test(connect, port_zero_of_a_backend_keeps_the_dialled_port)
{
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), udp;
	union address from = {0};
	uint16_t port, udp_port;
	int server = serve("127.9.9.9", SOCK_STREAM, &port);
	int udp_server = serve("127.9.9.9", SOCK_DGRAM, &udp_port);

	backend(0, "127.9.9.9", 0, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial(client, VIP4, port), 0);
	peer_is(client, VIP4, port);
	udp = client_of(VIP4, SOCK_DGRAM);
	for (unsigned round = 0; round < 2; round++) {
		exchange(udp, udp_server, VIP4, udp_port, &from);
		same_source(&from, VIP4, udp_port);
	}
	cr_assert_eq(counter(WM_C_UDP_REUSED), 1);
	close(client);
	close(udp);
	close(server);
	close(udp_server);
}

/* A socket is remembered for WM_UDP_RING destinations; what is older shows the backend itself. */
Test(connect, a_socket_with_more_destinations_than_are_remembered)
{
	union address to, from = {0}, peers[WM_UDP_RING + 1] = {0};
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), servers[WM_UDP_RING + 1];
	socklen_t len;
	uint16_t port[WM_UDP_RING + 1];
	char name[8], vip[16], octet;

	for (unsigned i = 0; i <= WM_UDP_RING; i++) {
		snprintf(name, sizeof(name), "s%u", i);
		snprintf(vip, sizeof(vip), "240.1.2.%u", 10 + i);
		servers[i] = serve("127.9.9.9", SOCK_DGRAM, &port[i]);
		want.service = name;
		cr_assert_eq(inet_pton(AF_INET, vip, &want.vip4_be), 1);
		memset(want.vip6, 0, sizeof(want.vip6));
		backend(0, "127.9.9.9", port[i], 1, WM_STATE_UP);
		publish();
		len = fill(&to, vip, 53);
		cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
		cr_assert(readable(servers[i]));
		len = sizeof(peers[i]);
		cr_assert_eq(recvfrom(servers[i], &octet, 1, 0, &peers[i].any, &len), 1);
	}
	for (unsigned i = 0; i <= WM_UDP_RING; i++) {
		cr_assert_eq(sendto(servers[i], "a", 1, 0, &peers[i].any, sizeof(peers[i].in)), 1);
		cr_assert(readable(client));
		len = sizeof(from);
		cr_assert_eq(recvfrom(client, &octet, 1, 0, &from.any, &len), 1);
		snprintf(vip, sizeof(vip), "240.1.2.%u", 10 + i);
		same_source(&from, i ? vip : "127.9.9.9", i ? 53 : port[0]);
		close(servers[i]);
	}
	cr_assert_eq(counter(WM_C_UDP_REVERSED), WM_UDP_RING);
	close(client);
}

/* The index of a backend that left belongs to another: its stamp tells, and nothing goes there
 * because it once did. */
Test(connect, a_new_occupant_is_picked_and_not_remembered)
{
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union address to;
	socklen_t len = fill(&to, VIP4, 53);
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);

	cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
	cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
	cr_assert_eq(counter(WM_C_UDP_PICKED), 1);
	cr_assert_eq(counter(WM_C_UDP_REUSED), 1);
	mem.backends[index_of(0)].state += 1u << 16;
	publish();
	cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
	cr_assert_eq(counter(WM_C_UDP_PICKED), 2);
	cr_assert_eq(counter(WM_C_UDP_REUSED), 1);
	cr_assert_eq(mem.live[index_of(0)].udp_picks, 2);
	close(client);
	close(server);
}

/* Two virtual addresses and two ports that one backend serves: a resolver that asks by turns sees
 * each answer come from where it asked. */
Test(connect, an_answer_is_shown_as_from_the_last_that_was_asked)
{
	static const struct {
		const char *vip;
		uint16_t port;
	} turns[] = {{VIP4, 53},	{VIP4, 5353}, {"240.9.9.9", 53}, {VIP4, 53},
		     {"240.9.9.9", 53}, {VIP4, 5353}, {VIP4, 53}};
	const struct wm_plane_ops *ops = wm_plane_ops(plane);
	struct wm_frontend_key k = {.addr_be = {0, 0, htonl(0xffff), htonl(0xf0090909)}};
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct wm_frontend v = {0};
	union address from = {0};
	uint16_t port;
	int server = serve("127.9.9.9", SOCK_DGRAM, &port);

	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	cr_assert_eq(wm_tables_put(tables, &want, &v.set, NULL), 0);
	cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	for (unsigned i = 0; i < sizeof(turns) / sizeof(*turns); i++) {
		exchange(client, server, turns[i].vip, turns[i].port, &from);
		same_source(&from, turns[i].vip, turns[i].port);
	}
	cr_assert_eq(counter(WM_C_UDP_PICKED), 3);
	cr_assert_eq(counter(WM_C_UDP_REUSED), 4);
	close(client);
	close(server);
}

/* A virtual address that came to another service leads there at once, also for a socket that
 * remembers. */
Test(connect, an_address_that_moves_takes_its_datagrams_along)
{
	const struct wm_plane_ops *ops = wm_plane_ops(plane);
	struct wm_frontend_key k = {.addr_be = {0, 0, htonl(0xffff), want.vip4_be}};
	struct wm_want_backend b = {
		.instance = 99, .addr4_be = htonl(0x7f090909), .weight = 1, .state = WM_STATE_UP};
	struct wm_want_set other = {.service = "other", .backends = &b, .backends_count = 1};
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct wm_frontend v = {0};
	union address from = {0};
	uint16_t port;
	int first = serve("127.9.9.9", SOCK_DGRAM, &port), second;

	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	publish();
	second = serve("127.9.9.9", SOCK_DGRAM, &port);
	b.port = port;
	cr_assert_eq(wm_tables_put(tables, &other, &v.set, NULL), 0);
	exchange(client, first, VIP4, 53, &from);
	cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	exchange(client, second, VIP4, 53, &from);
	same_source(&from, VIP4, 53);
	close(client);
	close(first);
	close(second);
}

/* Other sizes, other tables: what a socket remembers is an index into those that are gone. */
Test(connect, tables_that_are_gone_are_not_remembered)
{
	struct wm_plane_config c = connect_config();
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), old, next;
	union address from = {0};
	struct wm_backend before;
	uint16_t port;

	old = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	exchange(client, old, VIP4, 53, &from);
	before = mem.backends[index_of(0)];
	wm_tables_free(tables);
	wm_plane_close(plane);
	c.backends = 500;
	steer(&c, false);
	next = serve("127.9.9.9", SOCK_DGRAM, &port);
	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	wants[0].instance = 77;
	publish();
	/* the very index, set and word that the socket remembers: another instance */
	cr_assert_eq(mem.backends[index_of(0)].state, before.state);
	cr_assert_eq(mem.backends[index_of(0)].service, before.service);
	exchange(client, next, VIP4, 53, &from);
	same_source(&from, VIP4, 53);
	exchange(client, next, VIP4, 53, &from);
	cr_assert_eq(counter(WM_C_UDP_REUSED), 1, "remembered again from here on");
	close(client);
	close(old);
	close(next);
}

/* The agent restarts and adopts the tables: a socket goes on with its backend. */
Test(connect, adopted_tables_are_remembered)
{
	struct wm_plane_config c = connect_config();
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union address from = {0};
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);

	exchange(client, server, VIP4, 53, &from);
	wm_tables_free(tables);
	wm_plane_close(plane);
	steer(&c, true);
	exchange(client, server, VIP4, 53, &from);
	cr_assert_eq(counter(WM_C_UDP_PICKED), 1);
	cr_assert_eq(counter(WM_C_UDP_REUSED), 1);
	close(client);
	close(server);
}

/* Whatever the words say: what is sent goes where the backend is now. */
Test(connect, a_remembered_address_is_the_present_one)
{
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), old, next;
	union address from = {0};
	uint16_t port;

	old = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	exchange(client, old, VIP4, 53, &from);
	next = serve("127.8.8.8", SOCK_DGRAM, &port);
	mem.backends[index_of(0)].port_be = htons(port);
	mem.backends[index_of(0)].addr4_be = htonl(0x7f080808);
	exchange(client, next, VIP4, 53, &from);
	same_source(&from, VIP4, 53);
	cr_assert_eq(counter(WM_C_UDP_PICKED), 2);
	close(client);
	close(old);
	close(next);
}

/* A second service in the tables: @p vip leads to @p port of 127.9.9.9. */
static void other_service(const char *vip, uint16_t port)
{
	static struct wm_want_backend b;
	struct wm_want_set other = {.service = "other", .backends = &b, .backends_count = 1};

	b = (struct wm_want_backend){.instance = 99,
				     .addr4_be = htonl(0x7f090909),
				     .port = port,
				     .weight = 1,
				     .state = WM_STATE_UP};
	cr_assert_eq(inet_pton(AF_INET, vip, &other.vip4_be), 1);
	cr_assert_eq(wm_tables_put(tables, &other, NULL, NULL), 0);
}

/* A datagram sent elsewhere on a connected socket is no connect(): the peer stays the peer. */
Test(connect, a_datagram_elsewhere_leaves_the_peer)
{
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), first, second;
	union address to, from = {0}, peer = {0};
	socklen_t len = fill(&to, "240.9.9.9", 53), peer_len = sizeof(peer);
	uint16_t port;
	char octet;

	first = serve_alone("127.9.9.9", SOCK_DGRAM, &port);
	second = serve("127.9.9.9", SOCK_DGRAM, &port);
	other_service("240.9.9.9", port);
	cr_assert_eq(dial(client, VIP4, 53), 0);
	for (unsigned i = 0; i <= WM_UDP_RING; i++) { /* as many as are remembered, and one */
		cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1, "%s", strerror(errno));
		cr_assert(readable(second) && recv(second, &octet, 1, 0) == 1);
		peer_is(client, VIP4, 53);
	}
	cr_assert_eq(send(client, "q", 1, 0), 1);
	cr_assert(readable(first));
	cr_assert_eq(recvfrom(first, &octet, 1, 0, &peer.any, &peer_len), 1);
	cr_assert_eq(sendto(first, "a", 1, 0, &peer.any, peer_len), 1);
	cr_assert(readable(client));
	len = sizeof(from);
	cr_assert_eq(recvfrom(client, &octet, 1, 0, &from.any, &len), 1);
	same_source(&from, VIP4, 53);
	close(client);
	close(first);
	close(second);
}

/* The same the other way round: what is connected does not name what single datagrams brought. */
Test(connect, a_socket_that_was_connected_shows_whom_it_asks)
{
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	struct sockaddr nobody = {.sa_family = AF_UNSPEC};
	union address from = {0};
	uint16_t port;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &port);

	cr_assert_eq(dial(client, VIP4, 53), 0);
	cr_assert_eq(connect(client, &nobody, sizeof(nobody)), 0);
	exchange(client, server, "127.9.9.9", port, &from);
	same_source(&from, "127.9.9.9", port);
	exchange(client, server, VIP4, 53, &from);
	same_source(&from, VIP4, 53);
	/* asked directly now: the answer is the backend's */
	exchange(client, server, "127.9.9.9", port, &from);
	same_source(&from, "127.9.9.9", port);
	close(client);
	close(server);
}

/* Refused by the backend, a TCP socket may be used again: for that backend itself. */
static void refused_then_direct(int protocol, const char *vip, const char *at)
{
	bool v6 = strchr(at, ':');
	int client =
		socket(strchr(vip, ':') ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, protocol);
	char mapped[64];
	uint16_t port;
	int server = serve(at, SOCK_DGRAM, &port);
	union address a;
	socklen_t len = fill(&a, at, port);

	cr_assert(client >= 0, "%s", strerror(errno));
	close(server);
	server = socket(a.any.sa_family, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(server, &a.any, len), 0);
	backend(0, at, port, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial(client, vip, 80), ECONNREFUSED);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 0, "by the backend, not by us");
	cr_assert_eq(listen(server, 8), 0);
	snprintf(mapped, sizeof(mapped), "%s%s", !v6 && strchr(vip, ':') ? "::ffff:" : "", at);
	cr_assert_eq(dial(client, mapped, port), 0);
	peer_is(client, mapped, port);
	close(client);
	close(server);
}

Test(connect, a_tcp_socket_that_was_refused_forgets)
{
	refused_then_direct(0, VIP4, "127.9.9.9");
	refused_then_direct(0, VIP6, "::1");
	refused_then_direct(0, "::ffff:" VIP4, "127.9.9.9");
}

/* Where it is switched off, the next connect() forgets as well. */
Test(connect, switched_off_nothing_is_shown)
{
	int client = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial(client, VIP4, 53), 0);
	mem.config->flags = 0;
	cr_assert_eq(dial(client, "127.9.9.9", 1000), 0);
	peer_is(client, "127.9.9.9", 1000);
	close(client);
}

/* Multipath TCP dials by a subflow; the application asks the socket that it holds. */
Test(connect, multipath_tcp_shows_the_virtual_address)
{
	static const char *const pairs[][2] = {
		{VIP4, "127.9.9.9"}, {VIP6, "::1"}, {"::ffff:" VIP4, "127.9.9.9"}};
	int probe = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

	if (probe < 0)
		cr_skip_test("the kernel has no Multipath TCP: %s", strerror(errno));
	close(probe);
	for (unsigned i = 0; i < 6; i++) {
		const char *vip = pairs[i % 3][0], *at = pairs[i % 3][1];
		int family = strchr(at, ':') ? AF_INET6 : AF_INET, client, server, accepted;
		union address a;
		socklen_t len = fill(&a, at, 0);
		char octet;

		/* a peer that speaks it, and one that does not */
		server = socket(family, SOCK_STREAM | SOCK_CLOEXEC, i < 3 ? IPPROTO_MPTCP : 0);
		cr_assert_eq(bind(server, &a.any, len), 0);
		cr_assert_eq(listen(server, 8), 0);
		cr_assert_eq(getsockname(server, &a.any, &len), 0);
		backend(0, at, ntohs(family == AF_INET ? a.in.sin_port : a.in6.sin6_port), 1,
			WM_STATE_UP);
		publish();
		client = socket(strchr(vip, ':') ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC,
				IPPROTO_MPTCP);
		cr_assert_eq(dial(client, vip, 80), 0, "%s: %s", vip, strerror(errno));
		cr_assert(readable(server));
		accepted = accept(server, NULL, NULL);
		cr_assert_eq(write(client, "x", 1), 1);
		cr_assert(readable(accepted) && read(accepted, &octet, 1) == 1);
		peer_is(client, vip, 80);
		close(accepted);
		close(client);
		close(server);
	}
	refused_then_direct(IPPROTO_MPTCP, VIP4, "127.9.9.9");
	refused_then_direct(IPPROTO_MPTCP, VIP6, "::1");
}
