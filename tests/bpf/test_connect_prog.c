/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net registry resolution dataplane */
/* What programs see that dial virtual addresses: real sockets, in a cgroup and a network namespace
 * of the test's own. Backends listen on addresses and ports of their own. */
#include "plane_fixture.h"
#include "waymark/counters.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/wait.h>

#define WAIT_MS	 5000
#define VIP4	 "240.1.2.3"
#define VIP6	 "fd77::1:2:3"
#define BACKENDS 300

static struct wm_plane *plane;
static struct wm_tables *tables;
static struct wm_table_memory mem;
static struct wm_want_backend wants[BACKENDS];
static struct wm_want_set want;

union address {
	struct sockaddr any;
	struct sockaddr_in in;
	struct sockaddr_in6 in6;
};

static void enter(const char *dir)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert(fd >= 0 && write(fd, "0", 1) == 1, "%s: %s", path, strerror(errno));
	close(fd);
}

static void connect_setup(void)
{
	struct wm_plane_config c;

	setup();
	c = small();
	c.attach_dns = false;
	c.backends = 1024;
	c.slots = 4096;
	plane = open_ok(&c, false);
	wm_plane_memory_of(plane, &mem);
	mem.config->flags = WM_CONFIG_F_CONNECT;
	tables = wm_tables_new(&mem, wm_plane_ops(plane), "mesh.internal", NULL);
	attach_ok(plane, CONNECT_HOOKS);
	want = (struct wm_want_set){.service = "web", .backends = wants};
	inet_pton(AF_INET, VIP4, &want.vip4_be);
	inet_pton(AF_INET6, VIP6, want.vip6);
	enter(cgroup);
}

static void connect_teardown(void)
{
	char root[128];

	cr_assert_eq(wm_cgroup_root(root, sizeof(root)), 0);
	enter(root);
	wm_tables_free(tables);
	wm_plane_close(plane);
	teardown();
}
TestSuite(connect, .init = connect_setup, .fini = connect_teardown, .timeout = 60);

static uint64_t counter(enum wm_counter c)
{
	uint64_t all[WM_COUNTER_CAP];

	cr_assert_eq(wm_plane_counters(plane, all), 0);
	return all[c];
}

static socklen_t fill(union address *a, const char *text, uint16_t port)
{
	memset(a, 0, sizeof(*a));
	if (inet_pton(AF_INET, text, &a->in.sin_addr) == 1) {
		a->in.sin_family = AF_INET;
		a->in.sin_port = htons(port);
		return sizeof(a->in);
	}
	cr_assert_eq(inet_pton(AF_INET6, text, &a->in6.sin6_addr), 1);
	a->in6.sin6_family = AF_INET6;
	a->in6.sin6_port = htons(port);
	return sizeof(a->in6);
}

/* A socket bound to @p text at a port of the kernel's choice. */
static int serve(const char *text, int type, uint16_t *ret_port)
{
	union address a;
	socklen_t len = fill(&a, text, 0);
	int fd = socket(a.any.sa_family, type | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, &a.any, len), 0, "%s: %s", text, strerror(errno));
	if (type == SOCK_STREAM)
		cr_assert_eq(listen(fd, 64), 0);
	cr_assert_eq(getsockname(fd, &a.any, &len), 0);
	*ret_port = ntohs(a.any.sa_family == AF_INET ? a.in.sin_port : a.in6.sin6_port);
	return fd;
}

static void backend(unsigned i, const char *text, uint16_t port, uint32_t weight, uint32_t state)
{
	struct wm_want_backend *b = &wants[i];

	*b = (struct wm_want_backend){
		.instance = i + 1, .port = port, .weight = weight, .state = state};
	if (inet_pton(AF_INET, text, &b->addr4_be) != 1)
		inet_pton(AF_INET6, text, b->addr6);
	want.backends_count = i + 1;
}

static void publish(void)
{
	cr_assert_eq(wm_tables_put(tables, &want, NULL, NULL), 0);
}

/* @return errno of connect(), 0 when it worked. */
static int dial(int fd, const char *text, uint16_t port)
{
	union address a;
	socklen_t len = fill(&a, text, port);

	return connect(fd, &a.any, len) ? errno : 0;
}

static bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, WAIT_MS) == 1;
}

static void peer_is(int fd, const char *text, uint16_t port)
{
	union address got = {0}, expected;
	socklen_t len = sizeof(got), want_len = fill(&expected, text, port);

	cr_assert_eq(getpeername(fd, &got.any, &len), 0);
	cr_assert_eq(len, want_len);
	if (got.any.sa_family == AF_INET) {
		cr_assert_eq(got.in.sin_addr.s_addr, expected.in.sin_addr.s_addr);
		cr_assert_eq(got.in.sin_port, expected.in.sin_port);
	} else {
		cr_assert_eq(memcmp(&got.in6.sin6_addr, &expected.in6.sin6_addr, 16), 0);
		cr_assert_eq(got.in6.sin6_port, expected.in6.sin6_port);
	}
}

/* Dial, be accepted, say something, see the virtual address as the peer. */
static void tcp_works(const char *vip, const char *at)
{
	bool v6 = strchr(vip, ':');
	char octet = 0;
	uint16_t port;
	int server = serve(at, SOCK_STREAM, &port), client, accepted;

	backend(0, at, port, 1, WM_STATE_UP);
	publish();
	client = socket(v6 ? AF_INET6 : AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
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
	static const char *const pairs[][2] = {
		{VIP4, "127.9.9.9"}, {VIP6, "::1"}, {"::ffff:" VIP4, "127.9.9.9"}};

	for (unsigned i = 0; i < 3; i++) {
		int type = strchr(pairs[i][0], ':') ? AF_INET6 : AF_INET, client, server;
		union address from = {0};
		socklen_t len = sizeof(from);
		char octet = 0;
		uint16_t port;

		server = serve(pairs[i][1], SOCK_DGRAM, &port);
		backend(0, pairs[i][1], port, 1, WM_STATE_UP);
		publish();
		client = socket(type, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		cr_assert_eq(dial(client, pairs[i][0], 53), 0);
		cr_assert_eq(send(client, "q", 1, 0), 1);
		cr_assert(readable(server));
		cr_assert_eq(recvfrom(server, &octet, 1, 0, &from.any, &len), 1);
		cr_assert_eq(sendto(server, "a", 1, 0, &from.any, len), 1);
		cr_assert(readable(client));
		/* a resolver compares the source with what it asked */
		len = sizeof(from);
		cr_assert_eq(recvfrom(client, &octet, 1, 0, &from.any, &len), 1);
		cr_assert_eq(octet, 'a');
		peer_is(client, pairs[i][0], 53);
		close(client);
		close(server);
	}
}

static void same_source(const union address *from, const char *vip, uint16_t port)
{
	union address expected;

	fill(&expected, vip, port);
	if (from->any.sa_family == AF_INET) {
		cr_assert_eq(from->in.sin_addr.s_addr, expected.in.sin_addr.s_addr);
		cr_assert_eq(from->in.sin_port, expected.in.sin_port);
		return;
	}
	cr_assert_eq(memcmp(&from->in6.sin6_addr, &expected.in6.sin6_addr, 16), 0);
	cr_assert_eq(from->in6.sin6_port, expected.in6.sin6_port);
}

Test(connect, udp_unconnected_shows_the_virtual_address)
{
	static const char *const pairs[][2] = {
		{VIP4, "127.9.9.9"}, {VIP6, "::1"}, {"::ffff:" VIP4, "127.9.9.9"}};

	for (unsigned i = 0; i < 3; i++) {
		int type = strchr(pairs[i][0], ':') ? AF_INET6 : AF_INET, client, server;
		union address to, from = {0};
		socklen_t to_len = fill(&to, pairs[i][0], 53), len;
		char octet = 0;
		uint16_t port;

		server = serve(pairs[i][1], SOCK_DGRAM, &port);
		backend(0, pairs[i][1], port, 1, WM_STATE_UP);
		publish();
		client = socket(type, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		for (unsigned round = 0; round < 3; round++) {
			cr_assert_eq(sendto(client, "q", 1, 0, &to.any, to_len), 1, "%s",
				     strerror(errno));
			cr_assert(readable(server));
			len = sizeof(from);
			cr_assert_eq(recvfrom(server, &octet, 1, 0, &from.any, &len), 1);
			cr_assert_eq(sendto(server, "a", 1, 0, &from.any, len), 1);
			cr_assert(readable(client));
			len = sizeof(from);
			cr_assert_eq(recvfrom(client, &octet, 1, 0, &from.any, &len), 1);
			same_source(&from, pairs[i][0], 53);
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
	cr_assert_eq(wm_tables_state(tables, "web", first + 1, WM_STATE_DOWN), 0);
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

/* Picks by connect() of datagram sockets: nothing is sent. */
static void pick(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		cr_assert_eq(dial(fd, VIP4, 53), 0);
		close(fd);
	}
}

static uint64_t picks(unsigned i)
{
	for (uint32_t k = 0; k < mem.backends_cap; k++)
		if (mem.backends[k].instance == wants[i].instance &&
		    (mem.backends[k].state & WM_STATE_MASK) != WM_STATE_FREE)
			return mem.stats[k].picks;
	return 0;
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

		cr_assert_eq(wm_tables_state(tables, "web", down + 1, WM_STATE_DOWN), 0);
		before = picks(down);
		pick(20);
		cr_assert_eq(picks(down), before);
		cr_assert_eq(wm_tables_state(tables, "web", down + 1, WM_STATE_UP), 0);
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
	/* only exact ports are ours: any other passes */
	k.port_be = 0;
	k.proto = 0;
	v = (struct wm_frontend){.set = web, .flags = WM_FRONTEND_F_EXACT | WM_FRONTEND_F_NO_ANY};
	cr_assert_eq(ops->frontend_put(ops->arg, &k, &v), 0);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	dial(fd, VIP4, 80);
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

/* --- sockets that change their mind, and corners ---------------------------------------------- */

static uint32_t index_of(unsigned i)
{
	for (uint32_t k = 0; k < mem.backends_cap; k++)
		if (mem.backends[k].instance == wants[i].instance &&
		    (mem.backends[k].state & WM_STATE_MASK) != WM_STATE_FREE)
			return k;
	cr_assert(false, "backend %u is not in the table", i);
	return 0;
}

/* Dialled by the virtual address first and then itself, a backend is shown as itself. */
Test(connect, a_socket_connected_again_shows_its_new_peer)
{
	static const char *const pairs[][2] = {{VIP4, "127.9.9.9"}, {VIP6, "::1"}};

	for (unsigned i = 0; i < 2; i++) {
		int type = strchr(pairs[i][0], ':') ? AF_INET6 : AF_INET, client, server;
		uint64_t before;
		uint16_t port;

		server = serve(pairs[i][1], SOCK_DGRAM, &port);
		backend(0, pairs[i][1], port, 1, WM_STATE_UP);
		publish();
		client = socket(type, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		cr_assert_eq(dial(client, pairs[i][0], 53), 0);
		peer_is(client, pairs[i][0], 53);
		before = counter(WM_C_PEERNAME_REVERSED);
		cr_assert_eq(dial(client, pairs[i][1], port), 0);
		peer_is(client, pairs[i][1], port);
		cr_assert_eq(counter(WM_C_PEERNAME_REVERSED), before);
		cr_assert_eq(dial(client, pairs[i][0], 54), 0);
		peer_is(client, pairs[i][0], 54);
		close(client);
		close(server);
	}
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
	int server = serve("127.9.9.9", SOCK_DGRAM, &port);

	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	publish();
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

Test(connect, port_zero_of_a_backend_keeps_the_dialled_port)
{
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), udp;
	union address to, from = {0};
	socklen_t len = sizeof(from), to_len;
	uint16_t port, udp_port;
	int server = serve("127.9.9.9", SOCK_STREAM, &port);
	int udp_server = serve("127.9.9.9", SOCK_DGRAM, &udp_port);
	char octet;

	backend(0, "127.9.9.9", 0, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial(client, VIP4, port), 0);
	peer_is(client, VIP4, port);
	udp = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	to_len = fill(&to, VIP4, udp_port);
	for (unsigned round = 0; round < 2; round++) {
		cr_assert_eq(sendto(udp, "q", 1, 0, &to.any, to_len), 1);
		cr_assert(readable(udp_server));
		len = sizeof(from);
		cr_assert_eq(recvfrom(udp_server, &octet, 1, 0, &from.any, &len), 1);
		cr_assert_eq(sendto(udp_server, "a", 1, 0, &from.any, len), 1);
		cr_assert(readable(udp));
		len = sizeof(from);
		cr_assert_eq(recvfrom(udp, &octet, 1, 0, &from.any, &len), 1);
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
	int server = serve("127.9.9.9", SOCK_DGRAM, &port);

	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
	cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
	cr_assert_eq(counter(WM_C_UDP_PICKED), 1);
	cr_assert_eq(counter(WM_C_UDP_REUSED), 1);
	mem.backends[index_of(0)].state += 1u << 16;
	cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1);
	cr_assert_eq(counter(WM_C_UDP_PICKED), 2);
	cr_assert_eq(counter(WM_C_UDP_REUSED), 1);
	cr_assert_eq(mem.stats[index_of(0)].udp_picks, 2);
	close(client);
	close(server);
}

/* Slots of another generation than the set's word are never followed. */
Test(connect, a_torn_set_is_tried_twice_and_refused)
{
	int client = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	uint32_t set;

	backend(0, "127.9.9.9", 1, 1, WM_STATE_UP);
	cr_assert_eq(wm_tables_put(tables, &want, &set, NULL), 0);
	mem.slots[mem.sets[set].table.first].generation++;
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

/* Send to @p vip and be answered by @p server. @p from: whom the answer is shown to be from. */
static void exchange(int client, int server, const char *vip, uint16_t port, union address *from)
{
	union address to, peer = {0};
	socklen_t len = fill(&to, vip, port);
	char octet;

	cr_assert_eq(sendto(client, "q", 1, 0, &to.any, len), 1, "%s", strerror(errno));
	cr_assert(readable(server));
	len = sizeof(peer);
	cr_assert_eq(recvfrom(server, &octet, 1, 0, &peer.any, &len), 1);
	cr_assert_eq(sendto(server, "a", 1, 0, &peer.any, len), 1);
	cr_assert(readable(client));
	len = sizeof(*from);
	cr_assert_eq(recvfrom(client, &octet, 1, 0, &from->any, &len), 1);
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
