/* SPDX-License-Identifier: Apache-2.0 */
/* connect_fixture.h - a plane that steers the test's own cgroup, in a network namespace of its own:
 * real sockets dial virtual addresses, backends listen on addresses and ports of their own. */
#pragma once
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

static __attribute__((unused)) void enter(const char *dir)
{
	char path[300];
	int fd;

	snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
	fd = open(path, O_WRONLY | O_CLOEXEC);
	cr_assert(fd >= 0 && write(fd, "0", 1) == 1, "%s: %s", path, strerror(errno));
	close(fd);
}

static __attribute__((unused)) struct wm_plane_config connect_config(void)
{
	struct wm_plane_config c = small();

	c.attach_dns = false;
	c.backends = 1024;
	c.slots = 262144; /* a table of consistent hashing has 65537 */
	c.vip4_base = c.vip4_mask = 0xf0000000;
	memcpy(c.vip6_prefix, "\xfd\x77\0\0\0\0\0\0", sizeof(c.vip6_prefix));
	return c;
}

/* Of a kernel that refuses the tracepoints. */
static bool by_sockops;

static __attribute__((unused)) void steer(const struct wm_plane_config *c, bool adopted)
{
	plane = open_ok(c, adopted);
	plane->no_trace = by_sockops;
	wm_plane_memory_of(plane, &mem);
	mem.config->flags = WM_CONFIG_F_CONNECT;
	tables = wm_tables_new(&mem, wm_plane_ops(plane), "mesh.internal", NULL);
	attach_ok(plane, CONNECT_HOOKS + (c->passive ? by_sockops ? 1 : TRACE_HOOKS : 0));
}

static __attribute__((unused)) void connect_setup(void)
{
	struct wm_plane_config c;

	setup();
	c = connect_config();
	steer(&c, false);
	want = (struct wm_want_set){.service = "web", .backends = wants};
	inet_pton(AF_INET, VIP4, &want.vip4_be);
	inet_pton(AF_INET6, VIP6, want.vip6);
	enter(cgroup);
}

static __attribute__((unused)) void connect_teardown(void)
{
	char root[128];

	cr_assert_eq(wm_cgroup_root(root, sizeof(root)), 0);
	enter(root);
	wm_tables_free(tables);
	wm_plane_close(plane);
	teardown();
}
TestSuite(connect, .init = connect_setup, .fini = connect_teardown, .timeout = 600);

static __attribute__((unused)) uint64_t counter(enum wm_counter c)
{
	uint64_t all[WM_COUNTER_CAP];

	cr_assert_eq(wm_plane_counters(plane, all), 0);
	return all[c];
}

static __attribute__((unused)) socklen_t fill(union address *a, const char *text, uint16_t port)
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
static __attribute__((unused)) int serve(const char *text, int type, uint16_t *ret_port)
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

static __attribute__((unused)) void backend(unsigned i, const char *text, uint16_t port,
					    uint32_t weight, uint32_t state)
{
	struct wm_want_backend *b = &wants[i];

	*b = (struct wm_want_backend){
		.instance = i + 1, .port = port, .weight = weight, .state = state};
	if (inet_pton(AF_INET, text, &b->addr4_be) != 1)
		inet_pton(AF_INET6, text, b->addr6);
	want.backends_count = i + 1;
}

static __attribute__((unused)) void publish(void)
{
	cr_assert_eq(wm_tables_put(tables, &want, NULL, NULL), 0);
}

/* The service has one backend, which listens at @p text. @return its socket. */
static __attribute__((unused)) int serve_alone(const char *text, int type, uint16_t *ret_port)
{
	int fd = serve(text, type, ret_port);

	backend(0, text, *ret_port, 1, WM_STATE_UP);
	publish();
	return fd;
}

/* A socket that can dial @p vip. */
static __attribute__((unused)) int client_of(const char *vip, int type)
{
	return socket(strchr(vip, ':') ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0);
}

/* Forms of a virtual address, and where a backend of each listens. */
static const __attribute__((unused)) struct form {
	const char *vip, *at;
} forms[] = {{VIP4, "127.9.9.9"}, {VIP6, "::1"}, {"::ffff:" VIP4, "127.9.9.9"}};

/* @return errno of connect(), 0 when it worked. */
static __attribute__((unused)) int dial(int fd, const char *text, uint16_t port)
{
	union address a;
	socklen_t len = fill(&a, text, port);

	return connect(fd, &a.any, len) ? errno : 0;
}

static __attribute__((unused)) bool readable(int fd)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};

	return poll(&p, 1, WAIT_MS) == 1;
}

static __attribute__((unused)) void peer_is(int fd, const char *text, uint16_t port)
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

static __attribute__((unused)) void same_source(const union address *from, const char *vip,
						uint16_t port)
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

/* Picks by connect() of datagram sockets: nothing is sent. */
static __attribute__((unused)) void pick(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

		cr_assert_eq(dial(fd, VIP4, 53), 0);
		close(fd);
	}
}

static __attribute__((unused)) uint64_t picks(unsigned i)
{
	for (uint32_t k = 0; k < mem.backends_cap; k++)
		if (mem.backends[k].instance == wants[i].instance &&
		    (mem.backends[k].state & WM_STATE_MASK) != WM_STATE_FREE)
			return mem.live[k].picks;
	return 0;
}

static __attribute__((unused)) uint32_t index_of(unsigned i)
{
	for (uint32_t k = 0; k < mem.backends_cap; k++)
		if (mem.backends[k].instance == wants[i].instance &&
		    (mem.backends[k].state & WM_STATE_MASK) != WM_STATE_FREE)
			return k;
	cr_assert(false, "backend %u is not in the table", i);
	return 0;
}

/* Send to @p vip and be answered by @p server. @p from: whom the answer is shown to be from. */
static __attribute__((unused)) void exchange(int client, int server, const char *vip, uint16_t port,
					     union address *from)
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
