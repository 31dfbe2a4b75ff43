/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* Addresses of the virtual ranges that lead nowhere: refused, rather than sent to somebody. */
#include "connect_fixture.h"

#include <sys/ioctl.h>

static void datagram_refused(const char *vip)
{
	int fd = socket(strchr(vip, ':') ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	union address to;
	socklen_t len = fill(&to, vip, 53);

	cr_assert_eq(sendto(fd, "q", 1, 0, &to.any, len), -1, "%s", vip);
	cr_assert_eq(errno, ECONNREFUSED, "%s: %s", vip, strerror(errno));
	close(fd);
}

static int dial_new(const char *vip, int type, uint16_t port)
{
	int fd = socket(strchr(vip, ':') ? AF_INET6 : AF_INET, type | SOCK_CLOEXEC, 0), r;

	r = dial(fd, vip, port);
	close(fd);
	return r;
}

Test(connect, an_address_that_no_service_has_is_refused)
{
	static const char *const unknown[] = {"240.1.2.4",
					      "255.255.255.254",
					      "240.0.0.0",
					      "::ffff:240.1.2.4",
					      "fd77::1:2:4",
					      "fd77::",
					      "fd77::ffff:ffff:ffff:ffff"};
	unsigned n = sizeof(unknown) / sizeof(*unknown);

	backend(0, "127.9.9.9", 1, 1, WM_STATE_UP);
	publish();
	for (unsigned i = 0; i < n; i++) {
		cr_assert_eq(dial_new(unknown[i], SOCK_STREAM, 80), ECONNREFUSED, "%s", unknown[i]);
		cr_assert_eq(dial_new(unknown[i], SOCK_DGRAM, 80), ECONNREFUSED, "%s", unknown[i]);
		datagram_refused(unknown[i]);
	}
	cr_assert_eq(counter(WM_C_CONNECT_UNKNOWN_VIP), 3 * n);
	cr_assert_eq(counter(WM_C_CONNECT_MISS) + counter(WM_C_CONNECT_REFUSED) +
			     counter(WM_C_UDP_REFUSED),
		     0);
}

/* A restart of a service with one instance: between the two its address is nobody's. */
Test(connect, the_address_of_a_service_that_left_is_refused)
{
	uint16_t port;
	int server = serve("127.9.9.9", SOCK_STREAM, &port);

	backend(0, "127.9.9.9", port, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial_new(VIP4, SOCK_STREAM, 80), 0);
	cr_assert_eq(wm_tables_del(tables, "web"), 0);
	cr_assert_eq(dial_new(VIP4, SOCK_STREAM, 80), ECONNREFUSED);
	cr_assert_eq(dial_new(VIP6, SOCK_STREAM, 80), ECONNREFUSED);
	datagram_refused(VIP4);
	datagram_refused(VIP6);
	cr_assert_eq(counter(WM_C_CONNECT_UNKNOWN_VIP), 4);
	publish();
	cr_assert_eq(dial_new(VIP4, SOCK_STREAM, 80), 0);
	close(server);
}

/* What lies beside the ranges is sent where it was sent to; the limited broadcast lies in
 * 240.0.0.0/4 and belongs to everybody. */
Test(connect, neighbours_of_the_ranges_are_left_alone)
{
	static const char *const others[] = {"239.255.255.255", "fd77:0:0:1::1", "fd76::1",
					     "::ffff:127.0.0.1", "255.255.255.255"};
	unsigned n = sizeof(others) / sizeof(*others);
	int on = 1;

	for (unsigned i = 0; i < n; i++) {
		int fd = socket(strchr(others[i], ':') ? AF_INET6 : AF_INET,
				SOCK_DGRAM | SOCK_CLOEXEC, 0);

		setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
		cr_assert_neq(dial(fd, others[i], 80), ECONNREFUSED, "%s", others[i]);
		close(fd);
	}
	cr_assert_eq(counter(WM_C_CONNECT_MISS), n);
	cr_assert_eq(counter(WM_C_CONNECT_UNKNOWN_VIP), 0);
}

/* --- loopback addresses ----------------------------------------------------------------------- */
static void in_a_pod(void (*fn)(void))
{
	int status = 0;
	pid_t child = fork();

	if (!child) {
		if (unshare(CLONE_NEWNET))
			_exit(99);
		lo_up();
		fn();
		_exit(0);
	}
	cr_assert_eq(waitpid(child, &status, 0), child);
	cr_assert(WIFEXITED(status) && !WEXITSTATUS(status), "step %d in the pod",
		  WEXITSTATUS(status));
}

/* The pod's own server listens where the host's backend does: nobody may come to it by the VIP. */
static void pod_is_refused(void)
{
	static const char *const vips[] = {VIP4, VIP6, "::ffff:" VIP4};
	union address to;
	socklen_t len;
	int fd;

	for (unsigned i = 0; i < 3; i++) {
		if (dial_new(vips[i], SOCK_STREAM, 80) != ECONNREFUSED)
			_exit(1 + 3 * (int)i);
		if (dial_new(vips[i], SOCK_DGRAM, 80) != ECONNREFUSED)
			_exit(2 + 3 * (int)i);
		len = fill(&to, vips[i], 80);
		fd = socket(to.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		if (sendto(fd, "q", 1, 0, &to.any, len) != -1 || errno != ECONNREFUSED)
			_exit(3 + 3 * (int)i);
		close(fd);
	}
}

Test(connect, a_loopback_backend_is_for_its_own_namespace)
{
	static const char *const at[] = {"127.9.9.9", "::1", "::ffff:127.9.9.9"};

	for (unsigned i = 0; i < 3; i++)
		backend(i, at[i], 1000, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(dial_new(VIP4, SOCK_DGRAM, 80), 0);
	cr_assert_eq(dial_new(VIP6, SOCK_DGRAM, 80), 0);
	cr_assert_eq(counter(WM_C_CONNECT_LOOPBACK), 0);
	in_a_pod(pod_is_refused);
	cr_assert_eq(counter(WM_C_CONNECT_LOOPBACK), 9, "one a decision, not %llu",
		     (unsigned long long)counter(WM_C_CONNECT_LOOPBACK));
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 6);
	cr_assert_eq(counter(WM_C_UDP_REFUSED), 3);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), 2);
}

static void pod_finds_the_other(void)
{
	union address a;
	socklen_t len;
	int fd;

	if (system("ip addr add 192.0.2.1/32 dev lo"))
		_exit(98);
	for (int i = 0; i < 50; i++) {
		fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
		len = fill(&a, VIP4, 80);
		if (connect(fd, &a.any, len))
			_exit(1);
		len = sizeof(a);
		if (getsockname(fd, &a.any, &len) || a.in.sin_addr.s_addr != htonl(0xc0000201))
			_exit(2);
		close(fd);
	}
}

Test(connect, a_pod_gets_the_backends_that_it_reaches)
{
	backend(0, "127.9.9.9", 1000, 100, WM_STATE_UP);
	backend(1, "192.0.2.1", 1000, 1, WM_STATE_UP);
	publish();
	in_a_pod(pod_finds_the_other);
	cr_assert_eq(picks(0), 0);
	cr_assert_eq(picks(1), 50);
	cr_assert_eq(counter(WM_C_CONNECT_REFUSED), 0);
	cr_assert_gt(counter(WM_C_CONNECT_LOOPBACK), 0);
}
