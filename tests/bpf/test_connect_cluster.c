/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* Addresses that a source gives a service, as programs see them: a ClusterIP and its ports. Whether
 * kube-proxy has rules for them is no matter: what is steered, or refused, never reaches those. */
#include "connect_fixture.h"

#include <sched.h>
#include <sys/ioctl.h>

#define CLUSTER4 "10.96.0.10"
#define CLUSTER6 "fd00:10:96::a"

static struct wm_want_front fronts[16];
static unsigned fronts_count;

static void front(const char *text, uint16_t port, uint8_t proto, bool shared)
{
	struct wm_want_front *f = &fronts[fronts_count++];

	*f = (struct wm_want_front){.port = port,
				    .proto = proto,
				    .shared = shared,
				    .set = port ? (uint32_t)wm_tables_set_of(tables, "web") : 0};
	if (inet_pton(AF_INET6, text, f->addr_be) == 1)
		return;
	f->addr_be[2] = WM_V4_MAPPED_BE;
	cr_assert_eq(inet_pton(AF_INET, text, &f->addr_be[3]), 1);
}

static void lead(void)
{
	struct wm_err e = {0};

	cr_assert_eq(wm_tables_fronts_put(tables,
					  &(struct wm_want_fronts){"web", 0, fronts, fronts_count},
					  NULL, NULL, &e),
		     0, "%s", e.text);
}

static int dial_new(const char *vip, int type, uint16_t port)
{
	int fd = client_of(vip, type), r = dial(fd, vip, port);

	close(fd);
	return r;
}

static int send_new(const char *vip, uint16_t port)
{
	int fd = client_of(vip, SOCK_DGRAM), r;
	union address to;
	socklen_t len = fill(&to, vip, port);

	r = sendto(fd, "q", 1, 0, &to.any, len) == 1 ? 0 : errno;
	close(fd);
	return r;
}

Test(connect, a_cluster_ip_has_exact_ports)
{
	static const char *const vips[] = {CLUSTER4, CLUSTER6, "::ffff:" CLUSTER4};
	uint16_t at;
	int server = serve_alone("127.9.9.9", SOCK_STREAM, &at), fd;

	front(CLUSTER4, 0, 0, false);
	front(CLUSTER4, 80, IPPROTO_TCP, false);
	front(CLUSTER6, 0, 0, false);
	front(CLUSTER6, 80, IPPROTO_TCP, false);
	lead();
	for (unsigned i = 0; i < 3; i++) {
		fd = client_of(vips[i], SOCK_STREAM);
		cr_assert_eq(dial(fd, vips[i], 80), 0, "%s", vips[i]);
		peer_is(fd, vips[i], 80);
		close(fd);
		cr_assert_eq(dial_new(vips[i], SOCK_STREAM, 81), ECONNREFUSED, "%s", vips[i]);
		cr_assert_eq(dial_new(vips[i], SOCK_STREAM, at), ECONNREFUSED, "%s", vips[i]);
		cr_assert_eq(dial_new(vips[i], SOCK_DGRAM, 80), ECONNREFUSED, "%s", vips[i]);
		cr_assert_eq(send_new(vips[i], 80), ECONNREFUSED, "%s", vips[i]);
	}
	/* without an instance every port is; its address is nobody else's meanwhile */
	want.backends_count = 0;
	publish();
	cr_assert_eq(dial_new(CLUSTER4, SOCK_STREAM, 80), ECONNREFUSED);
	cr_assert_eq(dial_new(CLUSTER6, SOCK_STREAM, 80), ECONNREFUSED);
	cr_assert_eq(send_new(CLUSTER4, 80), ECONNREFUSED);
	wm_tables_fronts_del(tables, "web");
	cr_assert_neq(dial_new(CLUSTER4, SOCK_STREAM, 80), ECONNREFUSED, "it is left alone");
	close(server);
}

Test(connect, a_cluster_ip_has_ports_of_datagrams)
{
	uint16_t at;
	int server = serve_alone("127.9.9.9", SOCK_DGRAM, &at),
	    fd = client_of(CLUSTER4, SOCK_DGRAM);
	union address from;

	front(CLUSTER4, 0, 0, false);
	front(CLUSTER4, 53, IPPROTO_UDP, false);
	lead();
	exchange(fd, server, CLUSTER4, 53, &from);
	same_source(&from, CLUSTER4, 53);
	cr_assert_eq(send_new(CLUSTER4, 54), ECONNREFUSED);
	cr_assert_eq(dial_new(CLUSTER4, SOCK_STREAM, 53), ECONNREFUSED);
	close(fd);
	close(server);
}

/* A NodePort, or an address from outside: it is a real address too, and all else of it passes. */
Test(connect, other_ports_of_a_shared_address_pass)
{
	uint16_t at, own;
	int server = serve_alone("127.9.9.9", SOCK_STREAM, &at);
	int beside = serve("127.5.5.5", SOCK_STREAM, &own), fd = client_of(VIP4, SOCK_STREAM);

	front("127.5.5.5", 0, 0, true);
	front("127.5.5.5", own == 30080 ? 30081 : 30080, IPPROTO_TCP, true);
	lead();
	cr_assert_eq(dial(fd, "127.5.5.5", own), 0);
	cr_assert(readable(beside));
	close(fd);
	fd = client_of(VIP4, SOCK_STREAM);
	cr_assert_eq(dial(fd, "127.5.5.5", fronts[1].port), 0);
	cr_assert(readable(server));
	close(fd);
	close(beside);
	close(server);
}

/* --- a pod --------------------------------------------------------------------------------------
 */
static void address_up(const char *text)
{
	struct ifreq r = {.ifr_name = "lo:0"};
	union address a;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	(void)fill(&a, text, 0);
	memcpy(&r.ifr_addr, &a.in, sizeof(a.in));
	if (ioctl(fd, SIOCSIFADDR, &r))
		_exit(2);
	close(fd);
}

/* The only instance is the pod itself: there is no other machine for the packet to come back from,
 * and none is needed. */
Test(connect, a_pod_reaches_itself_by_its_cluster_ip)
{
	int status = 0;
	pid_t child;

	backend(0, "10.1.0.1", 8080, 1, WM_STATE_UP);
	publish();
	front(CLUSTER4, 0, 0, false);
	front(CLUSTER4, 80, IPPROTO_TCP, false);
	lead();
	child = fork();
	if (!child) {
		union address a;
		socklen_t len = fill(&a, "10.1.0.1", 8080);
		int server;

		if (unshare(CLONE_NEWNET))
			_exit(1);
		lo_up();
		address_up("10.1.0.1");
		server = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
		if (bind(server, &a.any, len) || listen(server, 1))
			_exit(3);
		if (dial(client_of(CLUSTER4, SOCK_STREAM), CLUSTER4, 80) || !readable(server))
			_exit(4);
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status), "step %d", WEXITSTATUS(status));
}
