/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Real sockets ask over the loopback of a network namespace of the test's own, where nobody
 * listens: an answer can only come from the kernel, and it arrives only if the client's stack
 * accepts each checksum in it. */
#include "dns_fixture.h"

#include <linux/sockios.h>
#include <poll.h>

#define WAIT_MS 5000

static void live_setup(void)
{
	const struct wm_plane_hook *h;
	struct wm_err e = {0};
	bool on_lo = false;
	unsigned n;

	dns_setup();
	wm_plane_attach(plane, &e); /* one device of two is not there */
	n = wm_plane_hooks(plane, &h);
	for (unsigned i = 0; i < n; i++)
		on_lo = on_lo || (strcmp(h[i].where, "lo") == 0 && !h[i].error);
	cr_assert(on_lo, "%s", e.text);
	add("web", "a", "10.1.2.3", WM_PASSING);
	add("web", "b", "10.1.2.4", WM_PASSING);
}

TestSuite(dns_live, .init = live_setup, .fini = dns_teardown, .timeout = 300);

static int client_of(bool v6)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_port = htons(DNS_PORT)};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = htons(DNS_PORT)};
	int fd = socket(v6 ? AF_INET6 : AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	a4.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	a6.sin6_addr = in6addr_loopback;
	cr_assert_eq(v6 ? connect(fd, (struct sockaddr *)&a6, sizeof(a6))
			: connect(fd, (struct sockaddr *)&a4, sizeof(a4)),
		     0, "%s", strerror(errno));
	return fd;
}

/* How a datagram leaves. In one piece, the loopback device leaves its checksum unfinished, as it
 * does for "hardware". In two, it is finished in software, the client's stack looks at the
 * answer's, and the second piece lies in a page of its own. */
enum pieces { ONE, TWO };

/* Ask with @p id. @return records of the answer, -1: none came. */
static int ask(int fd, bool v6, enum pieces how, const char *name, unsigned id)
{
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint8_t answer[WM_DNS_EDNS_MAX];
	size_t len, first;
	struct frame q;
	ssize_t n;

	query_frame(&q, v6, name, 1, id % 2 ? 1232 : 0);
	put16(q.at + q.dns, id);
	len = q.len - q.dns;
	first = how == TWO ? 12 + id % (len - 12) : 0;
	if (how == TWO && send(fd, q.at + q.dns, first, MSG_MORE) < 0)
		return -1;
	if (send(fd, q.at + q.dns + first, len - first, 0) < 0 || poll(&p, 1, WAIT_MS) != 1)
		return -1;
	n = recv(fd, answer, sizeof(answer), 0);
	if (n < 12)
		return -1;
	cr_assert_eq((unsigned)answer[0] << 8 | answer[1], id);
	return answer[7];
}

Test(dns_live, answers_arrive_whoever_makes_the_checksums)
{
	static const enum pieces pieces[] = {ONE, TWO};

	for (unsigned how = 0; how < 4; how++) {
		int fd = client_of(how & 1);

		for (unsigned id = 0; id < 2000; id++)
			cr_assert_eq(
				ask(fd, how & 1, pieces[how / 2], "web.service.mesh.internal", id),
				2, "%u: id %u", how, id);
		close(fd);
	}
	cr_assert_eq(counter(WM_C_DNS_ANSWERED), 8000);
}

/* What passes goes up unchanged: there nobody listens, and the client hears so. */
Test(dns_live, what_passes_reaches_the_stack)
{
	for (unsigned v6 = 0; v6 < 2; v6++) {
		int fd = client_of(v6);

		cr_assert_eq(ask(fd, v6, ONE, "none.node.mesh.internal", 7), -1);
		cr_assert_eq(counter(WM_C_DNS_PASS_UNKNOWN), v6 + 1);
		close(fd);
	}
}
