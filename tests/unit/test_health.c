/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry health */
/* Checks of a registry in memory against real listeners on loopback. Nothing asserts how long a
 * thing takes: tests wait for an event until a generous deadline. */
#include "http_peer.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/health/health.h"
#include "userspace/health/probe.h"

#include <errno.h>

#define DEADLINE_MS 90000
#define MANY	    10000

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_health *health;
static struct wm_health_config config;
static enum wm_status seen[64]; /* statuses announced, in order */
static unsigned seen_count;

static void on_change(void *arg, const struct wm_change *c)
{
	(void)arg;
	if (c->kind == WM_CHANGE_STATUS && c->check && seen_count < 64)
		seen[seen_count++] = c->check->status;
}

static void setup(void)
{
	struct wm_registry_config rc = {.env = &wm_env_system,
					.node_name = "n1",
					.node_address = "127.0.0.1",
					.datacenter = "dc1",
					.instances_max = 2 * MANY,
					.services_max = 100,
					.nodes_max = 1,
					.vip4_base = 0xf0000000,
					.vip4_mask = 0xf0000000,
					.sync_off = true};
	struct wm_err e = {0};

	rc.vip6_prefix.s6_addr[0] = 0xfd;
	config = (struct wm_health_config){.probes_max = 8,
					   .interval_min_ms = 1,
					   .default_timeout_ms = 5000,
					   .deregister_min_ms = 1};
	seen_count = 0;
	loop = wm_loop_new();
	cr_assert(loop);
	cr_assert_eq(wm_registry_open(&rc, &registry, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
	cr_assert_eq(wm_registry_subscribe(registry, on_change, NULL), 0);
	config.env = wm_loop_env(loop);
	health = wm_health_new(loop, registry, &config);
	cr_assert(health);
}

static void teardown(void)
{
	wm_health_free(health);
	wm_registry_close(registry);
	wm_loop_free(loop);
}

TestSuite(health, .init = setup, .fini = teardown, .timeout = 300);

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = wm_clock_ms() + DEADLINE_MS;                                       \
		while (!(condition) && wm_clock_ms() < end_)                                       \
			cr_assert_eq(wm_loop_turn(loop, 20), 0);                                   \
		cr_assert(condition);                                                              \
	} while (0)

static void submit(const char *id, const struct wm_check_draft *checks, unsigned count)
{
	struct wm_instance_draft d = {.id = id,
				      .name = "web",
				      .port = 80,
				      .checks = checks,
				      .checks_count = count,
				      .replace_checks = true};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
}

static struct wm_check *check_of(const char *id)
{
	return wm_registry_check(registry, id);
}

static struct wm_check *add(const char *id, struct wm_check_draft c)
{
	c.id = id;
	submit(id, &c, 1);
	wm_registry_flush(registry);
	cr_assert(check_of(id));
	return check_of(id);
}

static struct wm_check_draft tcp(const char *target)
{
	return (struct wm_check_draft){.kind = WM_CHECK_TCP, .target = target, .interval_ms = 5};
}

static struct wm_check_draft http(const struct peer *p, const char *path)
{
	static char url[4][128];
	static int at;

	at = (at + 1) % 4;
	snprintf(url[at], sizeof(url[at]), "http://127.0.0.1:%u%s", p->port, path);
	return (struct wm_check_draft){.kind = WM_CHECK_HTTP, .target = url[at], .interval_ms = 5};
}

static struct wm_health_stats stats(void)
{
	struct wm_health_stats s;

	wm_health_stats(health, &s);
	return s;
}

static const char *address(uint16_t port)
{
	static char text[4][32];
	static int at;

	at = (at + 1) % 4;
	snprintf(text[at], sizeof(text[at]), "127.0.0.1:%u", port);
	return text[at];
}

/* --- UDP --- */

/* A bound UDP socket and the target that names it. */
static int udp_peer(int family, char *target, size_t cap)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} a = {.in6 = {.sin6_family = AF_UNSPEC}};
	int fd = socket(family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	socklen_t len = sizeof(a);

	cr_assert(fd >= 0);
	a.any.sa_family = (sa_family_t)family;
	if (family == AF_INET)
		a.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	else
		a.in6.sin6_addr = in6addr_loopback;
	cr_assert_eq(bind(fd, &a.any, sizeof(a)), 0);
	cr_assert_eq(getsockname(fd, &a.any, &len), 0);
	if (family == AF_INET)
		snprintf(target, cap, "127.0.0.1:%u", ntohs(a.in.sin_port));
	else
		snprintf(target, cap, "[::1]:%u", ntohs(a.in6.sin6_port));
	return fd;
}

Test(health, udp_passes_in_silence_and_fails_when_refused)
{
	static const int families[] = {AF_INET, AF_INET6};

	for (unsigned i = 0; i < 2; i++) {
		struct wm_check_draft d = {
			.kind = WM_CHECK_UDP, .interval_ms = 5, .timeout_ms = 20};
		char target[64], text[128];
		int fd = udp_peer(families[i], target, sizeof(target));
		struct wm_check *c;

		d.target = target;
		c = add(i ? "six" : "four", d);
		UNTIL(c->status == WM_PASSING);
		snprintf(text, sizeof(text), "UDP connect %s: Success", target);
		cr_assert_str_eq(c->output, text);
		cr_assert_str_eq(wm_check_kind_str(c->kind), "udp");
		close(fd);
		UNTIL(c->status == WM_CRITICAL);
		cr_assert(strstr(c->output, "connection refused"), "%s", c->output);
	}
	cr_assert_eq(stats().skipped, 0);
}

Test(health, udp_looks_a_host_name_up_as_tcp_does)
{
	struct wm_check_draft d = {.kind = WM_CHECK_UDP, .interval_ms = 5, .timeout_ms = 50};
	char target[64], name[64];
	int fd = udp_peer(AF_INET, target, sizeof(target));
	struct wm_check *c;

	snprintf(name, sizeof(name), "localhost:%s", strchr(target, ':') + 1);
	d.target = name;
	c = add("named", d);
	UNTIL(c->status == WM_PASSING);
	cr_assert_str_eq(strstr(c->output, "UDP connect localhost:"), c->output);
	close(fd);
	UNTIL(c->status == WM_CRITICAL);
	cr_assert(strstr(c->output, "connection refused"), "%s", c->output);
	d.target = "no-such-host.invalid:9";
	d.timeout_ms = 20000;
	c = add("unknown", d);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert(strstr(c->output, "lookup"), "%s", c->output);
	/* and one on its way is cancelled with its check */
	submit("unknown", NULL, 0);
	submit("named", NULL, 0);
	wm_registry_flush(registry);
	cr_assert_eq(stats().in_flight, 0);
}

Test(health, udp_answer_ends_the_run_before_its_timeout)
{
	struct wm_check_draft d = {
		.kind = WM_CHECK_UDP, .interval_ms = 5, .timeout_ms = WM_CHECK_DURATION_MAX_MS};
	struct sockaddr_storage from;
	socklen_t len = sizeof(from);
	char target[64], got[16];
	struct wm_check *c;
	int fd = udp_peer(AF_INET, target, sizeof(target));

	d.target = target;
	c = add("a", d);
	UNTIL(recv(fd, got, sizeof(got), MSG_DONTWAIT | MSG_PEEK) > 0);
	cr_assert_gt(recvfrom(fd, got, sizeof(got), 0, (struct sockaddr *)&from, &len), 0);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_eq(sendto(fd, "pong", 4, 0, (struct sockaddr *)&from, len), 4);
	UNTIL(c->status == WM_PASSING);
	/* and one in flight is cancelled with its check */
	UNTIL(stats().in_flight == 1);
	submit("a", NULL, 0);
	wm_registry_flush(registry);
	cr_assert_eq(stats().in_flight, 0);
	close(fd);
}

/* --- TCP --- */

Test(health, tcp_follows_a_listener_up_and_down)
{
	uint16_t port = 0;
	int fd = peer_listen(512, &port);
	struct wm_check *c = add("a", tcp(address(port)));
	char text[128];

	cr_assert_eq(c->status, WM_CRITICAL);
	UNTIL(c->status == WM_PASSING);
	snprintf(text, sizeof(text), "TCP connect 127.0.0.1:%u: Success", port);
	cr_assert_str_eq(c->output, text);
	cr_assert_eq(c->instance->status, WM_PASSING);
	close(fd);
	UNTIL(c->status == WM_CRITICAL);
	snprintf(text, sizeof(text), "dial tcp 127.0.0.1:%u: connect: connection refused", port);
	cr_assert_str_eq(c->output, text);
	cr_assert_eq(c->instance->status, WM_CRITICAL);
	fd = peer_listen(512, &port);
	UNTIL(c->status == WM_PASSING);
	close(fd);
	cr_assert_geq(stats().transitions, 3);
}

Test(health, tcp_over_ipv6_and_by_name)
{
	struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = IN6ADDR_LOOPBACK_INIT};
	int fd = socket(AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0), fd4;
	socklen_t len = sizeof(a);
	char six[64], name[64], text[128];
	struct wm_check *c, *n;
	uint16_t port = 0;

	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(fd, 512), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	fd4 = peer_listen(512, &port);
	snprintf(six, sizeof(six), "[::1]:%u", ntohs(a.sin6_port));
	snprintf(name, sizeof(name), "localhost:%u", port);
	c = add("six", tcp(six));
	n = add("name", tcp(name));
	cr_assert_eq(((struct wm_prober *)c->prober)->family, AF_INET6);
	cr_assert_eq(((struct wm_prober *)n->prober)->family, 0);
	UNTIL(c->status == WM_PASSING && n->status == WM_PASSING);
	close(fd);
	close(fd4);
	UNTIL(c->status == WM_CRITICAL && n->status == WM_CRITICAL);
	snprintf(text, sizeof(text), "dial tcp %s: connect: connection refused", name);
	cr_assert_str_eq(n->output, text);
}

/* The listener's backlog is full, so the kernel leaves SYNs unanswered. */
Test(health, tcp_times_out)
{
	uint16_t port = 0;
	int fd = peer_listen(0, &port), fill[4];
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	struct wm_check_draft d = tcp(address(port));
	struct wm_check *c;
	char text[128];

	a.sin_port = htons(port);
	for (int i = 0; i < 4; i++) {
		fill[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
		(void)connect(fill[i], (struct sockaddr *)&a, sizeof(a));
	}
	d.timeout_ms = 30;
	d.has_status = true;
	d.status = WM_PASSING;
	c = add("slow", d);
	cr_assert_eq(c->status, WM_PASSING);
	UNTIL(c->status == WM_CRITICAL);
	snprintf(text, sizeof(text), "dial tcp 127.0.0.1:%u: i/o timeout", port);
	cr_assert_str_eq(c->output, text);
	/* a run takes longer than the interval: runs are left out, never doubled */
	UNTIL(stats().late >= 3);
	cr_assert_leq(stats().in_flight, 1);
	for (int i = 0; i < 4; i++)
		close(fill[i]);
	close(fd);
}

/* --- HTTP --- */

Test(health, http_statuses_become_check_statuses)
{
	struct peer p;
	struct wm_check *c;
	char text[256];

	peer_start(&p);
	c = add("h", http(&p, "/status/0"));
	UNTIL(c->status == WM_PASSING);
	snprintf(
		text, sizeof(text),
		"HTTP GET http://127.0.0.1:%u/status/0: 200 Some Phrase Output: body of the answer",
		p.port);
	cr_assert_str_eq(c->output, text);
	p.status = 429;
	UNTIL(c->status == WM_WARNING);
	p.status = 503;
	UNTIL(c->status == WM_CRITICAL);
	cr_assert(strstr(c->output, ": 503 Some Phrase Output: "));
	p.status = 204;
	UNTIL(c->status == WM_PASSING);
	peer_stop(&p);
	UNTIL(c->status == WM_CRITICAL);
	cr_assert_eq(strncmp(c->output, "GET \"http://127.0.0.1:", 22), 0, "%s", c->output);
}

Test(health, http_sends_what_the_check_says)
{
	char name[] = "X-Token", one[] = "one", two[] = "two";
	struct wm_pair headers[] = {{name, one}, {name, two}};
	struct wm_check_draft d;
	struct wm_check *c;
	struct peer p;

	peer_start(&p);
	d = http(&p, "/echo");
	d.method = "POST";
	d.body = "ping";
	d.headers = headers;
	d.headers_count = 2;
	c = add("h", d);
	UNTIL(c->status == WM_PASSING);
	cr_assert_eq(strncmp(c->output, "HTTP POST http://", 17), 0);
	cr_assert(strstr(c->output, "POST /echo HTTP/1.1"));
	cr_assert(strstr(c->output, "X-Token: one\r\n"));
	cr_assert(strstr(c->output, "X-Token: two\r\n"));
	cr_assert(strstr(c->output, "\r\n\r\nping"));
	peer_stop(&p);
}

Test(health, http_redirects_timeouts_and_long_or_binary_answers)
{
	struct wm_check *follow, *stay, *slow, *big, *binary;
	struct wm_check_draft d;
	struct peer p;

	peer_start(&p);
	follow = add("follow", http(&p, "/redirect/ok"));
	d = http(&p, "/redirect/ok");
	d.disable_redirects = true;
	stay = add("stay", d);
	big = add("big", http(&p, "/big"));
	binary = add("binary", http(&p, "/binary"));
	d = http(&p, "/hang");
	d.timeout_ms = 40;
	d.interval_ms = 50;
	slow = add("slow", d);
	UNTIL(follow->status == WM_PASSING && big->status == WM_PASSING &&
	      binary->status == WM_PASSING && *stay->output && *slow->output);
	cr_assert(strstr(stay->output, ": 302 "));
	cr_assert_eq(stay->status, WM_CRITICAL);
	cr_assert_eq(slow->status, WM_CRITICAL);
	cr_assert(strstr(slow->output, "timeout exceeded"));
	cr_assert_eq(strlen(big->output), WM_CHECK_OUTPUT_MAX);
	cr_assert(strstr(binary->output, "Output: a?\?\xc3\xa4??\?z"), "%s", binary->output);
	peer_stop(&p);
}

/* --- thresholds, without a network: results are handed in --- */

static void result(struct wm_check *c, enum wm_status s)
{
	struct wm_prober *p = c->prober;

	p->flying = true;
	health->stats.in_flight++;
	wm_prober_done(p, s, "result %d", s);
}

Test(health, results_in_a_row_move_the_status)
{
	struct wm_check_draft d = tcp("127.0.0.1:1");
	struct wm_check *c;

	d.interval_ms = 3600 * 1000;
	d.success_before_passing = 3;
	d.failures_before_warning = 2;
	d.failures_before_critical = 4;
	c = add("t", d);
	result(c, WM_PASSING);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_str_eq(c->output, "", "the status stays, and so does its output");
	result(c, WM_CRITICAL); /* breaks the row */
	result(c, WM_PASSING);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_CRITICAL);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_PASSING);
	cr_assert_str_eq(c->output, "result 0");
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_PASSING);
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_WARNING);
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_WARNING);
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_eq(c->instance->status, WM_CRITICAL);
	cr_assert_eq(stats().runs, 10);
	cr_assert_eq(stats().failures, 5);
	cr_assert_eq(stats().transitions, 3);
	cr_assert_eq(stats().in_flight, 0);
}

Test(health, thresholds_and_initial_status_hold_for_every_kind_that_probes)
{
	static const char *const args[] = {"true"};
	static const struct wm_check_draft all[] = {
		{.kind = WM_CHECK_TCP, .target = "127.0.0.1:1"},
		{.kind = WM_CHECK_HTTP, .target = "http://127.0.0.1:1/"},
		{.kind = WM_CHECK_UDP, .target = "127.0.0.1:1"},
		{.kind = WM_CHECK_SCRIPT, .args = args, .args_count = 1},
		{.kind = WM_CHECK_OS_SERVICE, .target = "a.service"},
		{.kind = WM_CHECK_GRPC, .target = "127.0.0.1:1"},
		{.kind = WM_CHECK_H2PING, .target = "127.0.0.1:1"},
	};
	static const enum wm_status want[] = {WM_WARNING, WM_PASSING, WM_PASSING, WM_WARNING,
					      WM_CRITICAL};

	health->config.scripts = health->config.units = true;
	for (unsigned k = 0; k < WM_ARRAY_LEN(all); k++) {
		struct wm_check_draft d = all[k];
		struct wm_instance_draft i = {.id = "i",
					      .name = "web",
					      .checks = &d,
					      .checks_count = 1,
					      .replace_checks = true,
					      .scripts = WM_SCRIPTS_ALLOWED,
					      .units = WM_SCRIPTS_ALLOWED};
		struct wm_check *c;

		d.id = wm_check_kind_str(d.kind);
		d.interval_ms = 3600 * 1000;
		d.has_status = true;
		d.status = WM_WARNING;
		d.success_before_passing = 2;
		d.failures_before_warning = 2;
		d.failures_before_critical = 3;
		cr_assert_eq(wm_registry_register(registry, &i, NULL, NULL, NULL), 0, "%s", d.id);
		wm_registry_flush(registry);
		c = check_of(d.id);
		cr_assert_eq(c->status, WM_WARNING, "%s: the status it asked for", d.id);
		for (unsigned n = 0; n < WM_ARRAY_LEN(want); n++) {
			result(c, n < 2 ? WM_PASSING : WM_CRITICAL);
			cr_assert_eq(c->status, want[n], "%s after %u: %d", d.id, n, c->status);
		}
	}
}

/* Less of the output is kept where a check says so. */
Test(health, output_max_bounds_an_http_answer)
{
	struct wm_check_draft d;
	struct wm_check *c;
	struct peer p;

	peer_start(&p);
	d = http(&p, "/big");
	d.output_max = 10;
	d.timeout_ms = 5000;
	c = add("h", d);
	UNTIL(c->status == WM_PASSING);
	cr_assert_eq(strlen(strstr(c->output, "Output: ")), strlen("Output: ") + 10, "%s",
		     c->output);
	peer_stop(&p);
}

Test(health, without_thresholds_every_result_counts)
{
	struct wm_check_draft d = tcp("127.0.0.1:1");
	struct wm_check *c;

	d.interval_ms = 3600 * 1000;
	c = add("t", d);
	result(c, WM_PASSING);
	cr_assert_eq(c->status, WM_PASSING);
	result(c, WM_WARNING);
	cr_assert_eq(c->status, WM_WARNING);
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_CRITICAL);
	/* only the critical threshold: no warning on the way */
	d.failures_before_critical = 2;
	c = add("t", d);
	result(c, WM_PASSING);
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_PASSING);
	result(c, WM_CRITICAL);
	cr_assert_eq(c->status, WM_CRITICAL);
}

/* --- TTL --- */

Test(health, ttl_expires_unless_updated)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TTL, .ttl_ms = 60};
	struct wm_check *c = add("beat", d);
	struct wm_err e = {0};

	cr_assert_eq(wm_health_ttl_update(health, "beat", WM_PASSING, "fine", &e), 0);
	cr_assert_eq(c->status, WM_PASSING);
	cr_assert_str_eq(c->output, "fine");
	UNTIL(c->status == WM_CRITICAL);
	cr_assert_str_eq(c->output, "TTL expired (last output before timeout follows): fine");
	cr_assert_eq(stats().expired, 1);
	cr_assert_eq(wm_health_ttl_update(health, "beat", WM_WARNING, "", &e), 0);
	cr_assert_eq(c->status, WM_WARNING);
	UNTIL(c->status == WM_CRITICAL);
	cr_assert_str_eq(c->output, "TTL expired");
	cr_assert_eq(wm_health_ttl_update(health, "none", WM_PASSING, "", &e), WM_E_UNKNOWN);
	cr_assert(strstr(e.text, "Unknown check ID \"none\""));
	add("dial", tcp("127.0.0.1:1"));
	cr_assert_eq(wm_health_ttl_update(health, "dial", WM_PASSING, "", &e), WM_E_INVALID);
	cr_assert(strstr(e.text, "does not have associated TTL"));
}

Test(health, ttl_update_moves_the_expiry_and_a_standstill_is_forgiven_once)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TTL, .ttl_ms = 1000};
	struct wm_check *c = add("beat", d);
	struct wm_prober *p = c->prober;
	uint64_t at = p->run.at_ms;

	wm_schedule_drop(health->schedule, &p->run);
	p->run.at_ms = 0;
	cr_assert_eq(wm_health_ttl_update(health, "beat", WM_PASSING, "x", NULL), 0);
	cr_assert(p->run.place);
	cr_assert_geq(p->run.at_ms, at);
	at = p->run.at_ms;
	wm_schedule_drop(health->schedule, &p->run);
	p->run.fn(&p->run, at + 1001);
	cr_assert_eq(c->status, WM_PASSING, "nobody was there to hear a heartbeat");
	cr_assert_eq(p->run.at_ms, at + 2001);
	wm_schedule_drop(health->schedule, &p->run);
	p->run.fn(&p->run, at + 9000);
	cr_assert_eq(c->status, WM_CRITICAL);
}

Test(health, a_heartbeat_may_be_late_by_the_grace)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TTL, .ttl_ms = 1000};
	struct wm_check *c = add("beat", d);
	struct wm_prober *p = c->prober;
	uint64_t before = wm_clock_ms();

	health->config.ttl_grace_ms = 5000;
	cr_assert_eq(wm_health_ttl_update(health, "beat", WM_PASSING, "x", NULL), 0);
	cr_assert_geq(p->run.at_ms, before + 6000);
	cr_assert_leq(p->run.at_ms, wm_clock_ms() + 6000);
	wm_schedule_drop(health->schedule, &p->run);
	p->run.fn(&p->run, p->run.at_ms);
	cr_assert_eq(c->status, WM_CRITICAL);
}

/* --- schedule --- */

Test(health, ten_thousand_checks_start_spread_over_their_interval)
{
	enum { INTERVAL = 10000, SLICES = 10 };
	unsigned slices[SLICES] = {0};
	char id[16], target[32];
	uint64_t begin = wm_clock_ms(), end;

	for (int i = 0; i < MANY; i++) {
		struct wm_check_draft d = {
			.kind = WM_CHECK_TCP, .target = target, .interval_ms = INTERVAL};

		snprintf(id, sizeof(id), "i%d", i);
		snprintf(target, sizeof(target), "127.0.0.1:%d", 1 + i);
		d.id = id;
		submit(id, &d, 1);
	}
	while (wm_registry_instances(registry) < MANY)
		cr_assert(wm_registry_flush(registry));
	end = wm_clock_ms();
	cr_assert_eq(stats().checks, MANY);
	cr_assert_eq(stats().unstarted, 0);
	cr_assert_eq(wm_schedule_count(health->schedule), MANY);
	for (int i = 0; i < MANY; i++) {
		const struct wm_prober *p;

		snprintf(id, sizeof(id), "i%d", i);
		p = check_of(id)->prober;
		cr_assert_geq(p->run.at_ms, begin);
		cr_assert_lt(p->run.at_ms, end + INTERVAL);
		slices[(p->run.at_ms - begin) * SLICES / (end - begin + INTERVAL)]++;
	}
	/* a tenth each, but for the two ends that the time of registration blurs */
	for (int i = 1; i < SLICES - 1; i++)
		cr_assert(slices[i] > MANY / SLICES / 2 && slices[i] < MANY / SLICES * 2, "%d: %u",
			  i, slices[i]);
}

/* Run what is due at a time of the test's choosing, as the timer would. */
static void due(struct wm_prober *p, uint64_t now_ms)
{
	wm_schedule_drop(health->schedule, &p->run);
	if (p->run.at_ms > now_ms)
		p->run.at_ms = now_ms;
	p->run.fn(&p->run, now_ms);
}

Test(health, keeps_its_phase_and_spreads_again_after_a_standstill)
{
	struct wm_check_draft d = tcp("127.0.0.1:1");
	struct wm_prober *p;
	uint64_t at, far;

	d.interval_ms = 100000;
	p = add("t", d)->prober;
	at = p->run.at_ms;
	due(p, at + 700);
	cr_assert_eq(p->run.at_ms, at + 100000, "from the planned start");
	UNTIL(stats().runs == 1);
	far = p->run.at_ms + 100001;
	due(p, far);
	cr_assert_eq(stats().runs + stats().in_flight, 1, "did not run");
	cr_assert_eq(stats().late, 1);
	cr_assert_geq(p->run.at_ms, far);
	cr_assert_lt(p->run.at_ms, far + 100000);
	/* a host that is always late must probe all the same */
	due(p, p->run.at_ms + 200000);
	UNTIL(stats().runs == 2);
}

/* The agent or the machine stood still: runs that were missed are left out, and the next ones do
 * not come all at once. */
Test(health, a_thousand_checks_lie_evenly_again_after_a_standstill)
{
	enum { COUNT = 1000, INTERVAL = 10000, SLICES = 10 };
	uint64_t now = wm_clock_ms() + 3600 * 1000;
	unsigned slices[SLICES] = {0};
	char id[16];

	for (int i = 0; i < COUNT; i++) {
		struct wm_check_draft d = tcp("127.0.0.1:1");

		snprintf(id, sizeof(id), "i%d", i);
		d.interval_ms = INTERVAL;
		add(id, d);
	}
	for (int i = 0; i < COUNT; i++) {
		struct wm_prober *p;

		snprintf(id, sizeof(id), "i%d", i);
		p = check_of(id)->prober;
		wm_schedule_drop(health->schedule, &p->run);
		p->run.fn(&p->run, now);
		cr_assert(p->run.at_ms >= now && p->run.at_ms < now + INTERVAL);
		slices[(p->run.at_ms - now) * SLICES / INTERVAL]++;
	}
	cr_assert_eq(stats().late, COUNT, "left out once each, not once for each interval");
	cr_assert_eq(stats().in_flight, 0);
	for (int i = 0; i < SLICES; i++)
		cr_assert(slices[i] + 4 >= COUNT / SLICES && slices[i] <= COUNT / SLICES + 4,
			  "%d: %u", i, slices[i]);
}

Test(health, at_most_probes_max_fly_and_the_rest_wait_in_line)
{
	struct peer p;
	char id[16];

	peer_start(&p);
	for (int i = 0; i < 20; i++) {
		struct wm_check_draft d = http(&p, "/hang");

		d.interval_ms = 3600 * 1000;
		d.timeout_ms = 3600 * 1000;
		snprintf(id, sizeof(id), "i%d", i);
		due(add(id, d)->prober, wm_clock_ms());
	}
	cr_assert_eq(stats().in_flight, config.probes_max);
	UNTIL(p.hung_count == config.probes_max);
	/* a second run of a check that flies or waits is left out */
	due(check_of("i0")->prober, wm_clock_ms());
	due(check_of("i15")->prober, wm_clock_ms());
	cr_assert_eq(stats().late, 2);
	cr_assert(((struct wm_prober *)check_of("i8")->prober)->queued);
	cr_assert(((struct wm_prober *)check_of("i9")->prober)->queued);
	/* a place that gets free goes to the first in line; one that waits can leave */
	cr_assert_eq(wm_registry_deregister(registry, "i3", NULL, NULL, NULL), 0);
	cr_assert_eq(wm_registry_deregister(registry, "i19", NULL, NULL, NULL), 0);
	UNTIL(!check_of("i3") && ((struct wm_prober *)check_of("i8")->prober)->flying);
	cr_assert(((struct wm_prober *)check_of("i9")->prober)->queued);
	cr_assert_eq(stats().in_flight, config.probes_max);
	cr_assert_eq(stats().checks, 18);
	peer_stop(&p);
}

Test(health, a_crowd_gets_through_few_places)
{
	uint16_t port = 0;
	int fd = peer_listen(4096, &port);
	char id[16];

	for (int i = 0; i < 500; i++) {
		struct wm_check_draft d = tcp(address(port));

		d.interval_ms = 3600 * 1000;
		snprintf(id, sizeof(id), "i%d", i);
		add(id, d);
	}
	for (int i = 0; i < 500; i++) {
		snprintf(id, sizeof(id), "i%d", i);
		due(check_of(id)->prober, wm_clock_ms());
	}
	UNTIL(stats().runs == 500);
	for (int i = 0; i < 500; i++) {
		snprintf(id, sizeof(id), "i%d", i);
		cr_assert_eq(check_of(id)->status, WM_PASSING);
	}
	close(fd);
}

/* --- the registry changes under way --- */

Test(health, removal_during_a_run_cancels_it)
{
	struct peer p;
	struct wm_check_draft d;

	peer_start(&p);
	d = http(&p, "/hang");
	d.timeout_ms = 20000;
	add("h", d);
	UNTIL(p.hung_count == 1);
	cr_assert_eq(stats().in_flight, 1);
	cr_assert_eq(wm_registry_deregister(registry, "h", NULL, NULL, NULL), 0);
	UNTIL(!check_of("h"));
	cr_assert_eq(stats().in_flight, 0);
	cr_assert_eq(stats().checks, 0);
	cr_assert_eq(wm_schedule_count(health->schedule), 0);
	for (int i = 0; i < 5; i++)
		wm_loop_turn(loop, 5);
	cr_assert_eq(stats().runs, 0);
	peer_stop(&p);
}

Test(health, registering_again_keeps_schedule_and_counts_unless_redefined)
{
	struct wm_check_draft d = tcp("127.0.0.1:1");
	struct wm_check *c, *again;
	struct wm_prober *p;
	uint64_t at;

	d.interval_ms = 3600 * 1000;
	d.failures_before_critical = 3;
	c = add("t", d);
	p = c->prober;
	at = p->run.at_ms;
	result(c, WM_PASSING);
	result(c, WM_CRITICAL);
	/* another object for the same target: notes differ, thresholds too */
	d.notes = "changed";
	d.failures_before_critical = 2;
	again = add("t", d);
	cr_assert_str_eq(again->notes, "changed");
	cr_assert_eq(again->prober, p);
	cr_assert_eq(p->check, again);
	cr_assert_eq(p->run.at_ms, at);
	cr_assert_eq(p->fails, 1);
	cr_assert_eq(again->status, WM_PASSING);
	result(again, WM_CRITICAL);
	cr_assert_eq(again->status, WM_CRITICAL);
	/* another target begins anew */
	d.target = "127.0.0.1:2";
	again = add("t", d);
	cr_assert_eq(p->check, again);
	cr_assert_eq(p->fails, 0);
	cr_assert_eq(ntohs(p->addr.in.sin_port), 2);
	/* another kind too */
	add("t", (struct wm_check_draft){.kind = WM_CHECK_TTL, .ttl_ms = 3600 * 1000});
	cr_assert_eq(p->kind, &wm_probe_ttl);
	cr_assert_eq(stats().checks, 1);
	/* and without checks nothing is left */
	submit("t", NULL, 0);
	wm_registry_flush(registry);
	cr_assert_null(check_of("t"));
	cr_assert_eq(stats().checks, 0);
}

Test(health, redefined_while_it_runs)
{
	struct peer p;
	struct wm_check_draft d;
	struct wm_check *c;

	peer_start(&p);
	d = http(&p, "/hang");
	d.timeout_ms = 20000;
	add("h", d);
	UNTIL(p.hung_count == 1);
	/* only a note: the run goes on for the new object */
	d.notes = "n";
	add("h", d);
	cr_assert_eq(stats().in_flight, 1);
	/* a path that answers: the old run ends */
	c = add("h", http(&p, "/status/200"));
	UNTIL(c->status == WM_PASSING);
	cr_assert_leq(stats().in_flight, 1);
	peer_stop(&p);
}

/* A second registry, for tests that start health by themselves. */
static struct wm_registry *small_registry(void)
{
	struct wm_registry_config rc = {.env = &wm_env_system,
					.node_name = "n2",
					.node_address = "127.0.0.1",
					.datacenter = "dc1",
					.instances_max = 10,
					.services_max = 10,
					.vip4_base = 0xf0000000,
					.vip4_mask = 0xf0000000};
	struct wm_registry *r = NULL;
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_open(&rc, &r, &e), 0, "%s", e.text);
	return r;
}

Test(health, takes_up_what_is_registered_before_it_starts)
{
	uint16_t port = 0;
	int fd = peer_listen(512, &port);
	struct wm_registry *r = small_registry();
	struct wm_health *h;
	struct wm_check_draft d = tcp(address(port));
	struct wm_instance_draft i = {.name = "api", .port = 1, .checks = &d, .checks_count = 1};
	struct wm_err e = {0};

	cr_assert_eq(wm_registry_register(r, &i, NULL, NULL, &e), 0, "%s", e.text);
	wm_registry_flush(r);
	h = wm_health_new(loop, r, &config);
	cr_assert(h);
	UNTIL(wm_registry_check(r, "service:api")->status == WM_PASSING);
	wm_health_free(h);
	cr_assert_null(wm_registry_check(r, "service:api")->prober);
	wm_registry_close(r);
	close(fd);
}

Test(health, deregisters_what_is_critical_for_too_long)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TTL, .ttl_ms = 30};
	struct wm_check *c;

	d.deregister_after_ms = 40;
	c = add("gone", d);
	cr_assert(((struct wm_prober *)c->prober)->reap.place, "critical from the start");
	cr_assert_eq(wm_health_ttl_update(health, "gone", WM_PASSING, "x", NULL), 0);
	cr_assert_eq(((struct wm_prober *)c->prober)->reap.place, 0);
	d.deregister_after_ms = 0;
	add("stays", d);
	UNTIL(!check_of("gone"));
	cr_assert_null(wm_registry_instance(registry, "gone"));
	cr_assert_eq(stats().reaped, 1);
	UNTIL(stats().expired >= 2);
	cr_assert(check_of("stays"));
}

Test(health, deregistration_follows_what_is_said_while_critical)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TTL, .ttl_ms = 3600 * 1000};
	const struct wm_prober *p;
	uint64_t since;

	d.deregister_after_ms = 3600 * 1000;
	p = add("later", d)->prober;
	since = p->critical_ms;
	cr_assert_eq(p->reap.at_ms, since + 3600 * 1000);
	d.deregister_after_ms = 7200 * 1000;
	p = add("later", d)->prober;
	cr_assert_eq(p->reap.at_ms, since + 7200 * 1000, "counted from when it became critical");
	d.deregister_after_ms = 0;
	p = add("later", d)->prober;
	cr_assert_eq(p->reap.place, 0, "never, as said now");
	d.deregister_after_ms = 1;
	add("later", d);
	UNTIL(!check_of("later"));
	cr_assert_eq(stats().reaped, 1);
}

/* Ids are unique on a node only. */
Test(health, two_nodes_with_a_check_of_one_id_have_a_prober_each)
{
	const struct wm_check_draft d = {
		.id = "up", .name = "up", .kind = WM_CHECK_TTL, .ttl_ms = 3600 * 1000};
	const struct wm_node_draft facts = {.address = "10.0.0.2"};
	const struct wm_catalog_op ops[] = {
		{.object = WM_OBJECT_NODE, .node = "n2", .facts = &facts},
		{.object = WM_OBJECT_CHECK, .node = "n2", .check = &d, .check_service = ""}};
	const struct wm_check *ours = add("up", d), *theirs;
	unsigned failed;

	cr_assert_eq(wm_registry_catalog(registry,
					 &(struct wm_catalog_batch){ops, 2, NULL, NULL, NULL},
					 &failed, NULL),
		     0);
	wm_registry_flush(registry);
	theirs = wm_node_check(wm_registry_node_named(registry, "n2"), "up");
	cr_assert(theirs && theirs->prober && ours->prober);
	cr_assert_neq(theirs->prober, ours->prober);
	cr_assert_eq(wm_health_ttl_update(health, "up", WM_PASSING, "x", NULL), 0);
	cr_assert_eq(ours->status, WM_PASSING);
	cr_assert_eq(theirs->status, WM_CRITICAL);
}

Test(health, deregistration_waits_a_minute_at_least)
{
	struct wm_check_draft d = {.kind = WM_CHECK_TTL, .ttl_ms = 3600 * 1000};
	struct wm_health_config usual = {
		.env = wm_loop_env(loop), .probes_max = 1, .default_timeout_ms = 1000};
	struct wm_registry *r = small_registry();
	struct wm_instance_draft i = {.name = "api", .port = 1, .checks = &d, .checks_count = 1};
	struct wm_health *h = wm_health_new(loop, r, &usual);
	const struct wm_prober *p;
	uint64_t now = wm_clock_ms();

	cr_assert(h);
	d.deregister_after_ms = 1;
	cr_assert_eq(wm_registry_register(r, &i, NULL, NULL, NULL), 0);
	wm_registry_flush(r);
	p = wm_registry_check(r, "service:api")->prober;
	cr_assert(p && p->reap.place);
	cr_assert_geq(p->reap.at_ms, now + WM_DEREGISTER_MIN_MS);
	wm_health_free(h);
	wm_registry_close(r);
}

/* The result reaches the listeners of the change stream before anything else runs. */
Test(health, a_result_is_announced_in_the_same_call)
{
	struct wm_check_draft d = tcp("127.0.0.1:1");
	struct wm_check *c;

	d.interval_ms = 3600 * 1000;
	c = add("t", d);
	seen_count = 0;
	result(c, WM_PASSING);
	cr_assert_eq(seen_count, 1);
	cr_assert_eq(seen[0], WM_PASSING);
	result(c, WM_CRITICAL);
	cr_assert_eq(seen_count, 2);
	cr_assert_eq(seen[1], WM_CRITICAL);
}
