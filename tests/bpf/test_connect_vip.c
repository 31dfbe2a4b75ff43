/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net registry resolution dataplane */
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
