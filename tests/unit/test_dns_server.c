/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns */
/* The server on real sockets; the test runs the loop between its own non-blocking calls. */
#include "dns_help.h"
#include "userspace/base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define DEADLINE_MS 90000

static uint16_t port;

static void setup(void)
{
	dns_setup();
	cr_assert_eq(wm_dns_listen(server, "127.0.0.1", 0, &port), 0);
	add("web", "a", "10.1.0.1", 80, NULL, WM_PASSING);
	add("web", "b", "10.1.0.2", 80, NULL, WM_PASSING);
}
TestSuite(server, .init = setup, .fini = dns_teardown, .timeout = 300);

enum {
#define X(sym, name, text) C_##sym,
	WM_DNS_COUNTERS(X)
#undef X
};

static int dial(int type)
{
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0, "%s", strerror(errno));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

static int dial_from(uint32_t address)
{
	struct sockaddr_in from = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
	struct sockaddr_in to = {.sin_family = AF_INET,
				 .sin_port = htons(port),
				 .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&from, sizeof(from)), 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0, "%s", strerror(errno));
	fcntl(fd, F_SETFL, O_NONBLOCK);
	return fd;
}

/* Read until @p want octets are there, or the end. @return octets, -1: closed with an error. */
static ssize_t receive(int fd, uint8_t *at, size_t want)
{
	uint64_t end = wm_clock_ms() + DEADLINE_MS;
	size_t got = 0;

	while (got < want && wm_clock_ms() < end) {
		ssize_t n = recv(fd, at + got, want - got, 0);

		if (n == 0)
			break;
		if (n < 0 && errno != EAGAIN)
			return -1;
		got += n > 0 ? (size_t)n : 0;
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	}
	return (ssize_t)got;
}

static void datagram(int fd, size_t len)
{
	uint64_t end = wm_clock_ms() + DEADLINE_MS;
	ssize_t n = -1;

	cr_assert_eq(send(fd, query, len, 0), (ssize_t)len);
	while (n < 0 && wm_clock_ms() < end) {
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
		n = recv(fd, answer.raw, sizeof(answer.raw), 0);
	}
	cr_assert_gt(n, 0);
	answer.len = (size_t)n;
	parse_answer();
}

/* One answer off a TCP connection. */
static void framed(int fd)
{
	uint8_t head[2];

	cr_assert_eq(receive(fd, head, 2), 2);
	answer.len = (size_t)head[0] << 8 | head[1];
	cr_assert_eq(receive(fd, answer.raw, answer.len), (ssize_t)answer.len);
	parse_answer();
}

static size_t frame(uint8_t *out, const char *name, uint16_t type)
{
	size_t n = build(name, type, 0);

	out[0] = (uint8_t)(n >> 8);
	out[1] = (uint8_t)n;
	memcpy(out + 2, query, n);
	return n + 2;
}

Test(server, datagrams)
{
	int fd = dial(SOCK_DGRAM);

	datagram(fd, build("web.service.mesh.internal", 1, 0));
	cr_assert_eq(have(1, NULL), 2);
	datagram(fd, build("none.service.mesh.internal", 1, 0));
	cr_assert_eq(answer.rcode, 3);
	cr_assert_eq(wm_dns_counters(server)[C_UDP_QUERY], 2);
	close(fd);
}

Test(server, what_is_no_query_is_counted_as_it_comes_in)
{
	int fd = dial(SOCK_DGRAM), tcp = dial(SOCK_STREAM);
	uint8_t framed_response[600];
	size_t len = build("web.service.mesh.internal", 1, 0), n;

	cr_assert_eq(send(fd, query, 11, 0), 11); /* a header has twelve */
	query[2] |= 0x80;			  /* a response */
	cr_assert_eq(send(fd, query, len, 0), (ssize_t)len);
	query[2] &= 0x7f;
	datagram(fd, len);
	n = frame(framed_response, "web.service.mesh.internal", 1);
	framed_response[4] |= 0x80;
	n += frame(framed_response + n, "web.service.mesh.internal", 1);
	cr_assert_eq(send(tcp, framed_response, n, 0), (ssize_t)n);
	framed(tcp);
	cr_assert_eq(wm_dns_counters(server)[C_UDP_QUERY], 3);
	cr_assert_eq(wm_dns_counters(server)[C_TCP_QUERY], 2);
	cr_assert_eq(wm_dns_counters(server)[C_DROPPED], 3);
	cr_assert_eq(wm_dns_counters(server)[C_ANSWERED], 2);
	close(fd);
	close(tcp);
}

/* Who is asked for a service that is not here. */
static void (*bring)(void *arg, int code);
static void *brings;

static int look_up(void *arg, const char *service, void (*done)(void *arg, int code),
		   void *done_arg)
{
	(void)arg;
	(void)service;
	bring = done;
	brings = done_arg;
	return 1;
}

static void give_up(void *arg, void *done_arg)
{
	(void)arg;
	cr_assert_eq(done_arg, brings);
}

static void until_waiting(unsigned n)
{
	uint64_t end = wm_clock_ms() + DEADLINE_MS;

	while (wm_dns_waiting(server) != n && wm_clock_ms() < end)
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	cr_assert_eq(wm_dns_waiting(server), n);
	user_balance(server);
}

Test(server, what_waits_is_counted_and_what_is_given_up_as_well)
{
	static const struct wm_dns_lookup l = {.ask = look_up, .cancel = give_up};
	static const struct linger reset = {.l_onoff = 1};
	int fd = dial(SOCK_DGRAM), tcp = dial(SOCK_STREAM);
	uint8_t out[600];
	size_t len = build("far.service.mesh.internal", 1, 0);

	wm_dns_server_ask(server, &l);
	cr_assert_eq(send(fd, query, len, 0), (ssize_t)len);
	until_waiting(1);
	bring(brings, 0);
	until_waiting(0);
	cr_assert_eq(wm_dns_counters(server)[C_NXDOMAIN], 1);
	len = frame(out, "far.service.mesh.internal", 1);
	cr_assert_eq(send(tcp, out, len, 0), (ssize_t)len);
	until_waiting(1);
	cr_assert_eq(setsockopt(tcp, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset)), 0);
	close(tcp);
	until_waiting(0);
	cr_assert_eq(wm_dns_counters(server)[C_GONE], 1);
	wm_dns_server_ask(server, NULL);
	close(fd);
}

Test(server, ipv6_and_every_address)
{
	struct sockaddr_in6 to = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	struct sockaddr_in to4 = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000042)};
	int fd = socket(AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

	cr_assert_eq(wm_dns_listen(server, "::", 0, &port), 0);
	to.sin6_port = htons(port);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to, sizeof(to)), 0);
	datagram(fd, build("web.service.mesh.internal", 1, 0));
	cr_assert_eq(have(1, NULL), 2);
	close(fd);
	/* a connected socket takes answers from the address it asked only */
	cr_assert_eq(wm_dns_listen(server, "0.0.0.0", 0, &port), 0);
	to4.sin_port = htons(port);
	fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&to4, sizeof(to4)), 0);
	datagram(fd, build("web.service.mesh.internal", 1, 0));
	cr_assert_eq(have(1, NULL), 2);
	close(fd);
	cr_assert_eq(wm_dns_listen(server, "nowhere", 53, NULL), -EINVAL);
	cr_assert_eq(wm_dns_listen(server, "127.0.0.1", port, NULL), -EADDRINUSE);
}

Test(server, a_port_is_shared_with_who_shares_it)
{
	uint16_t at;

	cr_assert_eq(wm_dns_listen_shared(server, "127.0.0.1", port, NULL), -EADDRINUSE);
	cr_assert_eq(wm_dns_listen_shared(server, "127.0.0.1", 0, &at), 0);
	cr_assert_eq(wm_dns_listen(server, "127.0.0.1", at, NULL), -EADDRINUSE);
	cr_assert(wm_dns_is_taken("127.0.0.1", at));
	cr_assert_eq(wm_dns_listen_shared(server, "127.0.0.1", at, NULL), 0);
	cr_assert(!wm_dns_is_taken("127.0.0.2", at));
	cr_assert(!wm_dns_is_taken("nowhere", at));
}

Test(server, tcp_answers_in_order_and_in_pieces)
{
	uint8_t out[4096];
	size_t n = frame(out, "web.service.mesh.internal", 1), at = n;
	int fd = dial(SOCK_STREAM);

	/* three in one write */
	at += frame(out + at, "none.service.mesh.internal", 1);
	at += frame(out + at, "web.service.mesh.internal", 33);
	cr_assert_eq(send(fd, out, at, 0), (ssize_t)at);
	framed(fd);
	cr_assert_eq(have(1, NULL), 2);
	framed(fd);
	cr_assert_eq(answer.rcode, 3);
	framed(fd);
	cr_assert_eq(answer.r[0].type, 33);
	/* one octet at a time */
	for (size_t i = 0; i < n; i++) {
		cr_assert_eq(send(fd, out + i, 1, 0), 1);
		cr_assert_eq(wm_loop_turn(loop, 0), 0);
	}
	framed(fd);
	cr_assert_eq(have(1, NULL), 2);
	/* the client is done: what it asked last is answered all the same */
	cr_assert_eq(send(fd, out, n, 0), (ssize_t)n);
	shutdown(fd, SHUT_WR);
	framed(fd);
	cr_assert_eq(receive(fd, out, 1), 0);
	close(fd);
}

Test(server, what_is_asked_before_a_length_that_cannot_be_is_answered)
{
	static const uint8_t lengths[][2] = {{0, 0}, {0xff, 0xff}, {0x10, 0x01}};
	uint8_t out[4096];

	for (unsigned i = 0; i < 3; i++) {
		size_t n = frame(out, "web.service.mesh.internal", 1);
		int fd = dial(SOCK_STREAM);

		memcpy(out + n, lengths[i], 2);
		memcpy(out + n + 2, out, n); /* nobody knows where the next one begins */
		cr_assert_eq(send(fd, out, 2 * n + 2, 0), (ssize_t)(2 * n + 2));
		framed(fd);
		cr_assert_eq(have(1, NULL), 2);
		cr_assert_leq(receive(fd, out, 1), 0);
		cr_assert_eq(wm_dns_counters(server)[C_TCP_LENGTH], i + 1);
		close(fd);
	}
}

/* A service that somebody brings, later. */
static void (*bring)(void *arg, int code);
static void *bring_arg;

static int hold(void *arg, const char *service, void (*done)(void *arg, int code), void *done_arg)
{
	(void)arg;
	if (strcmp(service, "far") != 0)
		return 0;
	bring = done;
	bring_arg = done_arg;
	return 1;
}

static void let_go(void *arg, void *done_arg)
{
	(void)arg;
	bring = bring_arg == done_arg ? NULL : bring;
}

Test(server, tcp_answers_what_is_ready_first)
{
	uint8_t out[4096];
	size_t at = frame(out, "far.service.mesh.internal", 1);
	int fd = dial(SOCK_STREAM);

	wm_dns_server_ask(server, &(struct wm_dns_lookup){hold, let_go, NULL});
	at += frame(out + at, "web.service.mesh.internal", 1);
	cr_assert_eq(send(fd, out, at, 0), (ssize_t)at);
	framed(fd);
	cr_assert_eq(have(1, NULL), 2);
	cr_assert_not_null(bring);
	add("far", "f", "10.1.0.3", 80, NULL, WM_PASSING);
	bring(bring_arg, 0);
	framed(fd);
	cr_assert_eq(have(1, NULL), 1);
	/* who leaves meanwhile is not waited for any more */
	at = frame(out, "far.service.mesh.internal", 1);
	cr_assert_eq(send(fd, out, at, 0), (ssize_t)at);
	bring = NULL;
	for (uint64_t end = wm_clock_ms() + DEADLINE_MS; !bring && wm_clock_ms() < end;)
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	cr_assert_not_null(bring);
	wm_dns_server_ask(server, NULL);
	cr_assert_null(bring);
	cr_assert_leq(receive(fd, out, 1), 0);
	close(fd);
}

static unsigned held;

static int hold_all(void *arg, const char *service, void (*done)(void *arg, int code),
		    void *done_arg)
{
	int r = hold(arg, service, done, done_arg);

	held += r;
	return r;
}

static void patient_setup(void)
{
	dns_config.tcp_idle_ms = 60000; /* how fast the machine is does not matter */
	setup();
}
TestSuite(patient, .init = patient_setup, .fini = dns_teardown, .timeout = 60);

/* What he waits for was read while he owed nothing. */
Test(patient, who_reads_nothing_is_cut_when_what_he_waits_for_comes)
{
	int fd = dial(SOCK_STREAM), size = 4096;
	uint8_t out[2048];
	size_t n = frame(out, "far.service.mesh.internal", 1);
	uint64_t end = wm_clock_ms() + DEADLINE_MS;
	char id[8], address[20];

	for (unsigned i = 0; i < 200; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.3.0.%u", i + 1);
		add("big", id, address, 80, NULL, WM_PASSING);
	}
	held = 0;
	wm_dns_server_ask(server, &(struct wm_dns_lookup){hold_all, let_go, NULL});
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	cr_assert_eq(send(fd, out, n, MSG_NOSIGNAL), (ssize_t)n);
	while (!held && wm_clock_ms() < end)
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	cr_assert_eq(held, 1);
	n = frame(out, "big.service.mesh.internal", 1);
	while (!wm_dns_counters(server)[C_TCP_HELD] && wm_clock_ms() < end) {
		ssize_t w = send(fd, out, n, MSG_NOSIGNAL);

		cr_assert_eq(wm_loop_turn(loop, w < 0), 0);
	}
	cr_assert_eq(wm_dns_counters(server)[C_TCP_HELD], 1);
	cr_assert_eq(wm_dns_counters(server)[C_TCP_LIMIT], 0);
	add("far", "f", "10.1.0.3", 80, NULL, WM_PASSING);
	bring(bring_arg, 0);
	cr_assert_eq(wm_dns_counters(server)[C_TCP_LIMIT], 1);
	wm_dns_server_ask(server, NULL);
	close(fd);
}

static int hold_once(void *arg, const char *service, void (*done)(void *arg, int code),
		     void *done_arg)
{
	return wm_registry_service(registry, service) ? 0 : hold(arg, service, done, done_arg);
}

/* An alias of a service that is here leads to one that is not. */
Test(server, an_alias_waits_for_the_service_that_it_leads_to)
{
	int fd = dial(SOCK_DGRAM), tcp;
	uint8_t out[600];
	size_t len;

	add("near", "x", "far.service.mesh.internal", 80, NULL, WM_PASSING);
	add("first", "y", "near.service.mesh.internal", 80, NULL, WM_PASSING);
	wm_dns_server_ask(server, &(struct wm_dns_lookup){hold_once, let_go, NULL});
	len = build("first.service.mesh.internal", 1, 0);
	cr_assert_eq(send(fd, query, len, 0), (ssize_t)len);
	until_waiting(1);
	cr_assert_eq(wm_dns_counters(server)[C_ANSWERED], 0, "the alias alone is no answer");
	bring(bring_arg, WM_E_BUSY);
	until_waiting(0);
	cr_assert_eq(wm_dns_counters(server)[C_SERVFAIL], 1);
	cr_assert_gt(recv(fd, answer.raw, sizeof(answer.raw), 0), 0);
	tcp = dial(SOCK_STREAM);
	len = frame(out, "near.service.mesh.internal", 1);
	cr_assert_eq(send(tcp, out, len, 0), (ssize_t)len);
	until_waiting(1);
	add("far", "f", "10.1.0.3", 80, NULL, WM_PASSING);
	bring(bring_arg, 0);
	framed(tcp);
	cr_assert_eq(have(1, NULL), 2, "the alias, and what it leads to");
	cr_assert_eq(wm_dns_counters(server)[C_ANSWERED], 1);
	wm_dns_server_ask(server, NULL);
	close(fd);
	close(tcp);
}

/* Forgotten as soon as it was brought. */
Test(server, an_alias_does_not_wait_for_ever)
{
	int fd = dial(SOCK_DGRAM);
	unsigned waits = 0;
	size_t len;

	add("first", "y", "far.service.mesh.internal", 80, NULL, WM_PASSING);
	wm_dns_server_ask(server, &(struct wm_dns_lookup){hold, let_go, NULL});
	len = build("first.service.mesh.internal", 1, 0);
	cr_assert_eq(send(fd, query, len, 0), (ssize_t)len);
	until_waiting(1);
	for (; bring && waits < 100; waits++)
		bring(bring_arg, 0);
	cr_assert(!bring, "nobody is asked any more");
	cr_assert_gt(waits, 1, "it has waited again");
	until_waiting(0);
	cr_assert_eq(wm_dns_counters(server)[C_SERVFAIL], 1);
	cr_assert_gt(recv(fd, answer.raw, sizeof(answer.raw), 0), 0);
	wm_dns_server_ask(server, NULL);
	close(fd);
}

Test(server, tcp_is_bounded)
{
	uint8_t out[8] = {0xff, 0xff};
	int fds[5];

	for (int i = 0; i < 4; i++) {
		fds[i] = dial_from(0x7f000002 + (uint32_t)i);
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	}
	fds[4] = dial(SOCK_STREAM); /* tcp_max is 4 */
	cr_assert_leq(receive(fds[4], out + 4, 1), 0);
	cr_assert_eq(wm_dns_counters(server)[C_TCP_LIMIT], 1);
	/* a query longer than any can be */
	cr_assert_eq(send(fds[0], out, 4, 0), 4);
	cr_assert_leq(receive(fds[0], out + 4, 1), 0);
	/* nothing said for tcp_idle */
	cr_assert_leq(receive(fds[1], out + 4, 1), 0);
	cr_assert_geq(wm_dns_counters(server)[C_TCP_LIMIT], 2);
	for (int i = 0; i < 5; i++)
		close(fds[i]);
}

Test(server, tcp_is_bounded_by_client)
{
	uint8_t out[2048];
	size_t n = frame(out, "web.service.mesh.internal", 1);
	int fds[4];

	for (int i = 0; i < 4; i++) { /* tcp_client_max is 3 */
		fds[i] = dial(SOCK_STREAM);
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	}
	cr_assert_leq(receive(fds[3], out + n, 1), 0);
	cr_assert_eq(wm_dns_counters(server)[C_TCP_CLIENT_FULL], 1);
	cr_assert_eq(wm_dns_counters(server)[C_TCP_LIMIT], 0);
	close(fds[3]);
	fds[3] = dial_from(0x7f000002); /* another one gets in */
	cr_assert_eq(send(fds[3], out, n, 0), (ssize_t)n);
	framed(fds[3]);
	cr_assert_eq(have(1, NULL), 2);
	for (int i = 0; i < 4; i++)
		close(fds[i]);
}

/* Who waits for a descriptor is let in when there is one, and until then it is not tried all the
 * time. */
Test(server, out_of_descriptors_it_does_not_spin)
{
	uint8_t out[2048];
	size_t n = frame(out, "web.service.mesh.internal", 1);
	const unsigned turns = 50;
	struct rlimit old, low;
	int tcp, udp = dial(SOCK_DGRAM);

	tcp = dial(SOCK_STREAM);
	cr_assert_eq(send(tcp, out, n, 0), (ssize_t)n);
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)tcp + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (unsigned i = 0; i < turns; i++)
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	cr_assert_gt(wm_dns_counters(server)[C_TCP_NO_ACCEPT], 0);
	cr_assert_lt(wm_dns_counters(server)[C_TCP_NO_ACCEPT], turns);
	datagram(udp, build("web.service.mesh.internal", 1, 0));
	cr_assert_eq(have(1, NULL), 2, "datagrams are answered");
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	framed(tcp);
	cr_assert_eq(have(1, NULL), 2);
	close(tcp);
	close(udp);
}

/* Who asks and never reads is stopped, then cut; others are served meanwhile. */
Test(server, a_slow_reader_hurts_nobody)
{
	uint8_t out[2048];
	int fd = dial(SOCK_STREAM), udp = dial(SOCK_DGRAM), size = 4096;
	size_t n = frame(out, "big.service.mesh.internal", 1), sent = 0;
	char id[8], address[20];
	uint64_t end = wm_clock_ms() + DEADLINE_MS;

	for (unsigned i = 0; i < 200; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(address, sizeof(address), "10.3.0.%u", i + 1);
		add("big", id, address, 80, NULL, WM_PASSING);
	}
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof(size));
	while (!wm_dns_counters(server)[C_TCP_LIMIT] && wm_clock_ms() < end) {
		ssize_t w = send(fd, out, n, MSG_NOSIGNAL);

		sent += w > 0 ? (size_t)w : 0;
		cr_assert_eq(wm_loop_turn(loop, w < 0), 0);
	}
	cr_assert_eq(wm_dns_counters(server)[C_TCP_LIMIT], 1, "%zu octets were taken", sent);
	cr_assert_geq(wm_dns_counters(server)[C_TCP_HELD], 1);
	datagram(udp, build("web.service.mesh.internal", 1, 0));
	cr_assert_eq(have(1, NULL), 2);
	close(fd);
	close(udp);
}
