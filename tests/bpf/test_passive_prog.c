/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* How connects end is seen in the kernel: who refuses or does not answer is ejected by the program
 * that sees it, nobody else's socket is looked at twice, and no packet costs anything. */
#include "connect_fixture.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "waymark/choose.h"
#include "waymark/events.h"
#include "waymark/outcome.h"
#include "waymark/outlier.h"

#include <linux/tcp.h>
#include <poll.h>
#include <sys/utsname.h>

#define SECOND	   1000000000ull
#define GIVE_UP_MS 300
#define LONG_S	   600 /* s that an emulated machine does not take for some hundred connects */

static struct wm_want_rule rule;
static int listeners[BACKENDS];

static void passive_setup(void)
{
	struct wm_plane_config c;

	setup();
	c = connect_config();
	c.passive = true;
	c.give_up_ns = GIVE_UP_MS * 1000000ull;
	steer(&c, false);
	rule.head = (struct wm_table_head){.tiers = 1,
					   .eject_max_pct = 50,
					   .eject_after = 2,
					   .eject_refused = 1,
					   .eject_least = 2,
					   .eject_base_s = 1,
					   .eject_longest_s = 60};
	want = (struct wm_want_set){.service = "web", .backends = wants, .rule = &rule};
	inet_pton(AF_INET, VIP4, &want.vip4_be);
	inet_pton(AF_INET6, VIP6, want.vip6);
	enter(cgroup);
}
static void sockops_setup(void)
{
	by_sockops = true;
	passive_setup();
}
TestSuite(passive, .init = passive_setup, .fini = connect_teardown, .timeout = 600);
TestSuite(passive_sockops, .init = sockops_setup, .fini = connect_teardown, .timeout = 600);

/* A test of both ways to see how connects end. */
#define EACH_WAY(name)                                                                             \
	static void name(void);                                                                    \
	Test(passive, name)                                                                        \
	{                                                                                          \
		name();                                                                            \
	}                                                                                          \
	Test(passive_sockops, name)                                                                \
	{                                                                                          \
		name();                                                                            \
	}                                                                                          \
	static void name(void)

/* @p n backends that listen. */
static void serving(unsigned n)
{
	for (unsigned i = 0; i < n; i++) {
		char at[32];
		uint16_t port;

		snprintf(at, sizeof(at), "127.0.1.%u", i + 1);
		listeners[i] = serve(at, SOCK_STREAM, &port);
		listen(listeners[i], 4096); /* nobody accepts */
		backend(i, at, port, 1, WM_STATE_UP);
	}
	publish();
}

static struct wm_backend_live *live(unsigned i)
{
	return &mem.live[index_of(i)];
}

static uint32_t ejected(void)
{
	return mem.set_live[wm_tables_set_of(tables, "web")].ejected;
}

static unsigned refusals(unsigned dials)
{
	unsigned refused = 0;

	for (unsigned i = 0; i < dials; i++) {
		int fd = client_of(VIP4, SOCK_STREAM), r = dial(fd, VIP4, 80);

		cr_assert(!r || r == ECONNREFUSED, "%s", strerror(r));
		refused += r != 0;
		close(fd);
	}
	return refused;
}

EACH_WAY(one_refusal_ejects_for_a_time_that_grows)
{
	rule.head.eject_base_s = LONG_S;
	rule.head.eject_longest_s = 2 * LONG_S;
	serving(2);
	close(listeners[0]);
	cr_assert_eq(refusals(100), 1);
	cr_assert(wm_ejected(live(0), live(0)->stamp, wm_clock_ns()));
	cr_assert_eq(mem.backends[index_of(0)].out_until_ns, live(0)->ejected_until_ns);
	cr_assert_eq(ejected(), 1);
	cr_assert_eq(counter(WM_C_EJECTIONS), 1);
	cr_assert_eq(counter(WM_C_CONNECT_FAILED), 1);
	/* no agent is here: when its time is over it is back by itself, fails, and is out for
	 * longer */
	live(0)->ejected_until_ns = (wm_clock_ns() - 1) | WM_EJECTED_COUNTED;
	cr_assert_eq(refusals(100), 1);
	cr_assert_gt(live(0)->ejected_until_ns - wm_clock_ns(), LONG_S * SECOND, "twice as long");
	cr_assert_eq(live(0)->ejections, 2);
	cr_assert_eq(ejected(), 1, "the end of the first is noticed");
}

/* connect() to AF_UNSPEC: the socket is connected to nobody any more. */
static void disconnect(int fd)
{
	const struct sockaddr none = {.sa_family = AF_UNSPEC};

	cr_assert_eq(connect(fd, &none, sizeof(none)), 0, "%s", strerror(errno));
}

static unsigned entries_kept(void)
{
	uint32_t cap;
	const struct wm_connection *all = wm_plane_connections(plane, &cap);
	unsigned kept = 0;

	for (uint32_t i = 0; i < cap; i++)
		kept += all[i].cookie != 0;
	wm_plane_connections_done(plane);
	return kept;
}

/* No hook of the cgroup is asked of it; the socket may be connected again, and is counted once. */
Test(passive, who_disconnects_is_counted_no_more)
{
	int fd;

	serving(1);
	for (unsigned six = 0; six < 2; six++) {
		fd = client_of(six ? VIP6 : VIP4, SOCK_STREAM);
		for (unsigned i = 0; i < 3; i++) {
			cr_assert_eq(dial(fd, six ? VIP6 : VIP4, 80), 0);
			cr_assert_eq(live(0)->open, 1);
			peer_is(fd, six ? VIP6 : VIP4, 80);
			disconnect(fd);
			cr_assert_eq(live(0)->open + entries_kept(), 0);
		}
		close(fd);
		cr_assert_eq(live(0)->open, 0);
	}
}

/* What was refused is told by its entry until the socket is closed, as before. */
Test(passive, who_was_refused_is_still_explained)
{
	int fd;

	rule.head.eject_refused = rule.head.eject_after = 0;
	serving(1);
	close(listeners[0]);
	fd = client_of(VIP4, SOCK_STREAM);
	cr_assert_eq(dial(fd, VIP4, 80), ECONNREFUSED);
	cr_assert_eq(entries_kept(), 1);
	close(fd);
	cr_assert_eq(entries_kept(), 0);
	cr_assert_eq(live(0)->open, 0);
}

Test(passive, never_more_than_the_bound_and_the_rest_is_counted)
{
	rule.head.eject_base_s = rule.head.eject_longest_s = LONG_S; /* or it ends meanwhile */
	serving(4);
	for (unsigned i = 0; i < 4; i++)
		close(listeners[i]);
	cr_assert_eq(refusals(200), 200);
	cr_assert_eq(counter(WM_C_EJECTIONS), 2);
	cr_assert_eq(counter(WM_C_EJECT_SPARED), 198);
	cr_assert_eq(ejected(), 2);
}

EACH_WAY(what_is_switched_off_ejects_nobody)
{
	rule.head.eject_refused = rule.head.eject_after = 0;
	serving(2);
	close(listeners[0]);
	cr_assert_gt(refusals(100), 10);
	cr_assert_eq(counter(WM_C_EJECTIONS), 0);
	cr_assert_gt(live(0)->failures, 10);
}

EACH_WAY(both_families_and_those_that_are_mapped)
{
	for (size_t f = 0; f < WM_ARRAY_LEN(forms); f++) {
		uint16_t port;
		int fd;

		close(serve(forms[f].at, SOCK_STREAM, &port));
		backend(0, forms[f].at, port, 1, WM_STATE_UP);
		publish();
		fd = client_of(forms[f].vip, SOCK_STREAM);
		cr_assert_eq(dial(fd, forms[f].vip, 80), ECONNREFUSED);
		close(fd);
		cr_assert_eq(live(0)->failures, 1, "%s", forms[f].vip);
		backend(0, "127.0.9.9", 9, 1, WM_STATE_DOWN); /* another occupant comes */
		publish();
	}
}

/* A listener whose queue is full drops what comes: the client hears nothing. Backend 0 is such. */
static void serving_silence(void)
{
	uint16_t port;
	union address a;
	socklen_t len;

	close(listeners[0]);
	listeners[0] = serve("127.0.1.1", SOCK_STREAM, &port);
	listen(listeners[0], 0);
	len = fill(&a, "127.0.1.1", port);
	for (int i = 0; i < 2; i++) { /* not by the virtual address */
		int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

		(void)connect(fd, &a.any, len);
	}
	backend(0, "127.0.1.1", port, 1, WM_STATE_UP);
}

EACH_WAY(who_does_not_answer_is_ejected_after_so_many)
{
	int clients[8];

	serving(2);
	serving_silence();
	want.backends_count = 2;
	publish();
	for (unsigned i = 0; i < WM_ARRAY_LEN(clients); i++) {
		clients[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)dial(clients[i], VIP4, 80);
	}
	cr_assert_geq(picks(0), 2, "a draw of 1 in 28 has none or one");
	for (int i = 0; i < 6000 && !counter(WM_C_EJECTIONS); i++)
		usleep(10000);
	cr_assert_eq(counter(WM_C_EJECTIONS), 1);
	cr_assert(live(0)->ejected_until_ns);
	cr_assert_geq(live(0)->failures, 2);
}

/* @return failures of the backend after a client waited for @p ms and gave up. */
static uint32_t failures_of_waiting(unsigned ms)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	cr_assert_eq(dial(fd, VIP4, 80), EINPROGRESS);
	usleep(ms * 1000);
	close(fd);
	return live(0)->failures;
}

EACH_WAY(who_gives_up_has_waited_in_vain)
{
	uint64_t start = wm_clock_ns();
	uint32_t none;

	serving(1);
	serving_silence();
	publish();
	none = failures_of_waiting(0);
	if (wm_clock_ns() - start < GIVE_UP_MS * 1000000ull) /* this machine went on meanwhile */
		cr_assert_eq(none, 0, "no time to answer");
	cr_assert_eq(failures_of_waiting(GIVE_UP_MS + 50), none + 1);
	cr_assert_eq(failures_of_waiting(1300), none + 2, "once, though asked twice");
	cr_assert_eq(counter(WM_C_CONNECT_FAILED), none + 2);
	cr_assert_eq(live(0)->in_row, none + 2);
	cr_assert_eq(live(0)->open, 0);
}

/* With a cookie of the server's, Fast Open sends the SYN with the first octets. Who has none and
 * closes has asked nobody. Programs see that from Linux 6.2 on. */
EACH_WAY(fast_open_that_sent_nothing_is_no_failed_connect)
{
	const int on = 1, queue = 16;
	struct tcp_info seen = {0};
	socklen_t len = sizeof(seen);
	struct utsname u;
	int major = 0, minor = 0, fd;

	cr_assert_eq(uname(&u), 0);
	cr_assert_eq(sscanf(u.release, "%d.%d", &major, &minor), 2);
	if (major * 100 + minor < 602)
		return;
	cr_assert_eq(system("echo 3 >/proc/sys/net/ipv4/tcp_fastopen"), 0);
	serving(1);
	cr_assert_eq(setsockopt(listeners[0], IPPROTO_TCP, TCP_FASTOPEN, &queue, sizeof(queue)), 0);
	for (int i = 0; i < 2; i++) { /* the first gets the cookie */
		fd = client_of(VIP4, SOCK_STREAM);
		cr_assert_eq(setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)), 0);
		cr_assert_eq(dial(fd, VIP4, 80), 0);
		cr_assert_eq(getsockopt(fd, IPPROTO_TCP, TCP_INFO, &seen, &len), 0);
		usleep((GIVE_UP_MS + 50) * 1000);
		close(fd);
	}
	cr_assert_eq(seen.tcpi_state, 2, "TCP_SYN_SENT, not %u", seen.tcpi_state);
	cr_assert_eq(live(0)->failures, 0);
	cr_assert_eq(live(0)->open, 0);
}

/* The kernel asks again before it stops waiting: the silence is noted then, and not at the end. */
EACH_WAY(whose_time_is_over_is_noted_once)
{
	const unsigned most_ms = 400;
	struct pollfd failed = {.events = POLLOUT};
	int err = 0;
	socklen_t len = sizeof(err);

	serving(1);
	serving_silence();
	publish();
	failed.fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	cr_assert_eq(
		setsockopt(failed.fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &most_ms, sizeof(most_ms)), 0);
	cr_assert_eq(dial(failed.fd, VIP4, 80), EINPROGRESS);
	cr_assert_eq(poll(&failed, 1, LONG_S * 1000), 1);
	cr_assert_eq(getsockopt(failed.fd, SOL_SOCKET, SO_ERROR, &err, &len), 0);
	cr_assert_eq(err, ETIMEDOUT, "%s", strerror(err));
	cr_assert_eq(live(0)->failures, 1, "once, however it is seen");
	close(failed.fd);
	cr_assert_eq(live(0)->failures, 1);
}

/* Backend 0 is at an address of a link where nobody has it: the SYN waits for its neighbour's, and
 * is not sent again but refused by the kernel in the end, after 3 times @p probe_ms. */
static void serving_nowhere(unsigned probe_ms)
{
	char cmd[512];

	snprintf(cmd, sizeof(cmd),
		 "ip link add dead0 type veth peer name dead1 && ip link set dead1 up && "
		 "ip addr add 10.77.7.1/24 dev dead0 && ip link set dead0 up && "
		 "echo %u >/proc/sys/net/ipv4/neigh/dead0/retrans_time_ms",
		 probe_ms);
	cr_assert_eq(system(cmd), 0);
	backend(0, "10.77.7.7", 80, 1, WM_STATE_UP);
	publish();
}

EACH_WAY(a_neighbour_that_is_gone_is_noted_once)
{
	int fd = client_of(VIP4, SOCK_STREAM);

	serving_nowhere(500);
	cr_assert_eq(dial(fd, VIP4, 80), EHOSTUNREACH);
	close(fd);
	cr_assert_eq(live(0)->failures, 1, "asked again after 1 s, given up after 1.5");
	cr_assert_eq(counter(WM_C_CONNECT_FAILED), 1);
}

EACH_WAY(who_gives_up_has_waited_for_a_neighbour_in_vain)
{
	serving_nowhere(10000);
	cr_assert_eq(failures_of_waiting(1300), 1, "behind the time to ask again");
	cr_assert_eq(counter(WM_C_CONNECT_FAILED), 1);
	cr_assert_eq(live(0)->open, 0);
}

EACH_WAY(a_connect_that_is_made_is_measured)
{
	const struct wm_connects *o;
	uint32_t sum = 0;

	serving(1);
	cr_assert_eq(refusals(50), 0);
	o = &wm_plane_outcomes(plane)[index_of(0)];
	for (unsigned i = 0; i < WM_OUTCOME_BUCKETS; i++)
		sum += o->connects[i];
	cr_assert_eq(sum, 50);
	cr_assert(o->total_us && o->srtt_us);
	cr_assert_eq(o->stamp, live(0)->stamp);
	cr_assert(live(0)->rtt_us && live(0)->rtt_at_ns);
}

/* Nobody reads what is told, until there is no room for more: what is lost is counted, and who
 * fails is left out all the same. */
Test(passive, a_full_ring_loses_news_and_no_decision)
{
	const unsigned most = WM_EVENTS_OCTETS / sizeof(struct wm_event);

	rule.head.eject_refused = rule.head.eject_after = 0;
	serving(2);
	close(listeners[0]);
	close(listeners[1]);
	for (unsigned i = 0; i < most && !counter(WM_C_EVENTS_LOST); i++) {
		cr_assert_eq(refusals(1), 1);
		live(0)->in_row = live(1)->in_row = 0; /* the first of a row is told */
	}
	cr_assert_gt(counter(WM_C_EVENTS_LOST), 0);
	rule.head.eject_refused = 1;
	rule.head.eject_base_s = rule.head.eject_longest_s = LONG_S;
	publish();
	cr_assert_eq(refusals(100), 100, "one is left out, the other may not be");
	cr_assert_eq(counter(WM_C_EJECTIONS), 1);
	cr_assert_eq(ejected(), 1);
	cr_assert_geq(counter(WM_C_EVENTS_LOST), 2, "its news too");
}

/* The connect was made: what becomes of the connection is the protocol's, which has its own ways to
 * say that it failed. */
EACH_WAY(a_reset_after_the_handshake_is_no_failed_connect)
{
	const struct linger reset = {.l_onoff = 1};

	serving(2);
	for (unsigned i = 0; i < 20; i++) {
		uint64_t first = picks(0);
		int client = client_of(VIP4, SOCK_STREAM), server;
		char octet;

		cr_assert_eq(dial(client, VIP4, 80), 0);
		server = accept(listeners[picks(0) == first], NULL, NULL);
		setsockopt(server, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
		close(server);
		cr_assert_eq(read(client, &octet, 1), -1);
		cr_assert_eq(errno, ECONNRESET);
		close(client);
	}
	cr_assert_eq(counter(WM_C_CONNECT_FAILED), 0);
	cr_assert_eq(counter(WM_C_EJECTIONS), 0);
}

#ifndef IPPROTO_MPTCP
#define IPPROTO_MPTCP 262
#endif

/* Of Multipath TCP a subflow is steered whose end is not seen: it is not judged. */
EACH_WAY(multipath_tcp_is_steered_and_not_judged)
{
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, IPPROTO_MPTCP);

	if (fd < 0) {
		cr_assert(errno == EPROTONOSUPPORT || errno == ENOPROTOOPT);
		return; /* a kernel without it */
	}
	serving(2);
	close(listeners[0]);
	close(listeners[1]);
	cr_assert_eq(dial(fd, VIP4, 80), ECONNREFUSED);
	close(fd);
	cr_assert_eq(counter(WM_C_CONNECT_PICKED), 1);
	cr_assert_eq(counter(WM_C_CONNECT_FAILED), 0);
	cr_assert_eq(counter(WM_C_EJECTIONS), 0);
}

/* Two see each connect for as long as one takes the other's place; then one does. */
Test(passive, one_program_counts_what_an_earlier_run_and_this_one_see)
{
	struct wm_plane_config c = connect_config();
	uint32_t first = plane->progs[WM_PROG_SOCK_STATE].id, sum = 0;
	const struct wm_connects *o;

	serving(1);
	wm_tables_free(tables);
	wm_plane_close(plane);
	c.passive = true;
	steer(&c, true);
	publish();
	cr_assert(prog_gone(first), "its link was pinned, and is another's now");
	cr_assert_eq(refusals(50), 0);
	o = &wm_plane_outcomes(plane)[index_of(0)];
	for (unsigned i = 0; i < WM_OUTCOME_BUCKETS; i++)
		sum += o->connects[i];
	cr_assert_eq(sum, 50);
}

/* From one way to the other and back, as where a kernel is another after the next boot. */
Test(passive, either_way_follows_the_other)
{
	struct wm_plane_config c = connect_config();

	rule.head.eject_refused = rule.head.eject_after = 0;
	serving(1);
	close(listeners[0]);
	c.passive = true;
	for (unsigned i = 0; i < 4; i++) {
		uint64_t before = counter(WM_C_CONNECT_FAILED);

		cr_assert_eq(refusals(10), 10);
		cr_assert_eq(counter(WM_C_CONNECT_FAILED) - before, 10, "%s",
			     by_sockops ? "sockops" : "tracepoints");
		cr_assert_eq(entries("observe"), by_sockops ? 0 : TRACE_HOOKS);
		wm_tables_free(tables);
		wm_plane_close(plane);
		by_sockops = !by_sockops;
		steer(&c, true);
		publish();
	}
}

/* --- what it costs ------------------------------------------------------------------------------
 */
#define MEGABYTE (1 << 20)
#define OCTETS	 200 /* that are a segment each */

static uint64_t runs_of(int prog)
{
	struct bpf_prog_info info = {0};
	uint32_t len = sizeof(info);

	cr_assert_eq(bpf_obj_get_info_by_fd(prog, &info, &len), 0);
	return info.run_cnt;
}

static uint64_t runs(void)
{
	return by_sockops ? runs_of(plane->progs[WM_PROG_TCP_OUTCOME].fd)
			  : runs_of(plane->progs[WM_PROG_SOCK_STATE].fd) +
				    runs_of(plane->progs[WM_PROG_SYN_AGAIN].fd);
}

/* A megabyte from one end of a connection to the other, each way, and some octets that are a
 * segment each. */
static void talk(int client, int server)
{
	static char part[16384];
	const int on = 1;

	setsockopt(client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
	for (unsigned i = 0; i < OCTETS; i++) {
		cr_assert_eq(write(client, part, 1), 1);
		cr_assert_eq(read(server, part, 1), 1);
	}
	for (size_t sent = 0; sent < MEGABYTE; sent += sizeof(part)) {
		cr_assert_eq(write(client, part, sizeof(part)), sizeof(part));
		cr_assert_eq(recv(server, part, sizeof(part), MSG_WAITALL), sizeof(part));
		cr_assert_eq(write(server, part, sizeof(part)), sizeof(part));
		cr_assert_eq(recv(client, part, sizeof(part), MSG_WAITALL), sizeof(part));
	}
}

/* @return runs of the program while @p client dials @p at and nobody closes. */
static uint64_t runs_of_dial(int client, const union address *at, int *ret_server)
{
	uint64_t before = runs();

	cr_assert_eq(connect(client, &at->any, sizeof(at->in)), 0);
	*ret_server = accept(listeners[0], NULL, NULL);
	return runs() - before;
}

EACH_WAY(no_packet_pays)
{
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	int client = client_of(VIP4, SOCK_STREAM), server;
	uint64_t least = UINT64_MAX;
	union address at;

	cr_assert(stats >= 0, "%s", strerror(errno));
	serving(1);
	fill(&at, VIP4, 80);
	(void)runs_of_dial(client, &at, &server);
	for (unsigned i = 0; i < 50 && least; i++) { /* tracepoints are the whole machine's */
		uint64_t before = runs(), more;

		talk(client, server);
		more = runs() - before;
		least = more < least ? more : least;
	}
	cr_assert_lt(least, OCTETS, "each of these has a segment or two");
	close(client);
	close(server);
	close(stats);
}

/* Of a socket that was steered one state is asked for, that it is made; then it is as any other,
 * for which nothing is. */
Test(passive_sockops, no_foreign_socket_pays)
{
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME);
	union address at[2];
	socklen_t len = sizeof(at[1]);
	uint64_t dials[2];

	cr_assert(stats >= 0, "%s", strerror(errno));
	serving(1);
	fill(&at[0], VIP4, 80);
	cr_assert_eq(getsockname(listeners[0], &at[1].any, &len), 0);
	for (unsigned i = 0; i < 2; i++) {
		int client = client_of(VIP4, SOCK_STREAM), server;
		uint64_t before;

		dials[i] = runs_of_dial(client, &at[i], &server);
		before = runs();
		close(client);
		close(server);
		cr_assert_eq(runs(), before, "nor the end of %s", i ? "a foreign one" : "ours");
	}
	cr_assert_eq(dials[0], dials[1] + 1, "%lu and %lu: its state is not asked for", dials[0],
		     dials[1]);
	close(stats);
}

/* Another's program that asks for states when a connect begins, as ours does. @return its fd. */
static int attach_other(void)
{
	const struct bpf_insn asks[] = {
		{BPF_LDX | BPF_W | BPF_MEM, 2, 1, offsetof(struct bpf_sock_ops, op), 0},
		{BPF_JMP | BPF_JNE | BPF_K, 2, 0, 2, BPF_SOCK_OPS_TCP_CONNECT_CB},
		{BPF_ALU64 | BPF_MOV | BPF_K, 2, 0, 0, BPF_SOCK_OPS_STATE_CB_FLAG},
		{BPF_JMP | BPF_CALL, 0, 0, 0, BPF_FUNC_sock_ops_cb_flags_set},
		{BPF_ALU64 | BPF_MOV | BPF_K, 0, 0, 0, 1},
		{BPF_JMP | BPF_EXIT, 0, 0, 0, 0},
	};
	int at = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int prog = bpf_prog_load(BPF_PROG_TYPE_SOCK_OPS, "other", "GPL", asks, WM_ARRAY_LEN(asks),
				 NULL);

	cr_assert(prog >= 0, "%s", strerror(errno));
	cr_assert_eq(bpf_prog_attach(prog, at, BPF_CGROUP_SOCK_OPS, BPF_F_ALLOW_MULTI), 0);
	close(at);
	return prog;
}

Test(passive_sockops, what_others_asked_for_they_hear)
{
	int stats = bpf_enable_stats(BPF_STATS_RUN_TIME), other = attach_other(), server;
	int client = client_of(VIP4, SOCK_STREAM);
	union address at;
	uint64_t before;

	serving(1);
	fill(&at, VIP4, 80);
	(void)runs_of_dial(client, &at, &server);
	before = runs_of(other);
	close(client);
	cr_assert_gt(runs_of(other), before, "it is told of the end");
	close(server);
	close(other);
	close(stats);
}
