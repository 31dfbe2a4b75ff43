/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry health */
/* Checks over HTTP/2 against a real gRPC server, with and without TLS. */
#include "health_help.h"
#include "http_peer.h"
#include "tls_peer.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"

#include <stdlib.h>

static struct tls_peer tls; /* for its certificates; its server is one that speaks HTTP/1 */

static void setup(void)
{
	tls_peer_start(&tls);
	health_config.ca_file = tls.ca;
	start_registry(NULL);
	start_health();
}

static void teardown(void)
{
	stop_all();
	tls_peer_stop(&tls);
}

TestSuite(health_h2, .init = setup, .fini = teardown, .timeout = 600);

/* Another server: a program that prints its port. It dies with the test. */
struct server {
	pid_t pid;
	FILE *out;
	unsigned port;
};

static void server_start(struct server *s, const char *const *argv)
{
	pid_t parent = getpid();
	char line[64] = "";
	int out[2];

	cr_assert_eq(pipe(out), 0);
	s->pid = fork();
	cr_assert(s->pid >= 0);
	if (!s->pid) {
		char *args[8] = {NULL};

		for (unsigned i = 0; i < 7 && argv[i]; i++)
			args[i] = strdup(argv[i]);
		if (prctl(PR_SET_PDEATHSIG, SIGKILL) || getppid() != parent ||
		    dup2(out[1], STDOUT_FILENO) < 0 || !freopen("/dev/null", "w", stderr))
			_exit(1);
		close(out[0]);
		close(out[1]);
		execvp(args[0], args);
		_exit(1);
	}
	close(out[1]);
	s->out = fdopen(out[0], "r");
	cr_assert(s->out && fgets(line, sizeof(line), s->out), "%s does not start", argv[1]);
	s->port = (unsigned)strtoul(line, NULL, 10);
	cr_assert(s->port);
}

static void server_stop(struct server *s)
{
	kill(s->pid, SIGKILL);
	waitpid(s->pid, NULL, 0);
	fclose(s->out);
}

static void grpc_start(struct server *s, bool with_tls)
{
	char cert[64], key[64];
	const char *argv[] = {
		"/usr/bin/python3", "tests/unit/grpc_peer.py", tls.dir, NULL, NULL, NULL};

	snprintf(cert, sizeof(cert), "%s/peer.pem", tls.dir);
	snprintf(key, sizeof(key), "%s/peer.key", tls.dir);
	if (with_tls) {
		argv[3] = cert;
		argv[4] = key;
	}
	server_start(s, argv);
}

/* A check of @p kind for 127.0.0.1:@p port, with "/service" if there is one. */
static struct wm_check *probe(const char *id, enum wm_check_kind kind, unsigned port,
			      const char *service, bool use_tls)
{
	char target[128];
	struct wm_check_draft d = {.kind = kind,
				   .target = target,
				   .interval_ms = 5,
				   .timeout_ms = 20000,
				   .use_tls = use_tls};

	snprintf(target, sizeof(target), "127.0.0.1:%u%s%s", port, service ? "/" : "",
		 service ? service : "");
	return add(id, d);
}

/* Wait for the first result. */
static void expect(struct wm_check *c, enum wm_status s, const char *output)
{
	UNTIL(*c->output);
	cr_assert_str_eq(c->output, output, "%s: %s", c->id, c->output);
	cr_assert_eq(c->status, s);
}

static void put_state(const char *text)
{
	tls_shell("cd %s && printf %s >state.new && mv state.new state", tls.dir, text);
}

Test(health_h2, grpc_statuses_become_check_statuses)
{
	char text[128];
	struct wm_check *c;
	struct server s;

	grpc_start(&s, false);
	snprintf(text, sizeof(text), "gRPC check 127.0.0.1:%u: success", s.port);
	c = probe("all", WM_CHECK_GRPC, s.port, NULL, false);
	cr_assert_str_eq(wm_check_kind_str(c->kind), "grpc");
	expect(c, WM_PASSING, text);
	snprintf(text, sizeof(text), "gRPC check 127.0.0.1:%u/up: success", s.port);
	expect(probe("up", WM_CHECK_GRPC, s.port, "up", false), WM_PASSING, text);
	snprintf(text, sizeof(text), "gRPC check 127.0.0.1:%u/more: success", s.port);
	expect(probe("more", WM_CHECK_GRPC, s.port, "more", false), WM_PASSING, text);
	expect(probe("down", WM_CHECK_GRPC, s.port, "down", false), WM_CRITICAL,
	       "gRPC application didn't report service healthy: NOT_SERVING");
	expect(probe("odd", WM_CHECK_GRPC, s.port, "odd", false), WM_CRITICAL,
	       "gRPC application didn't report service healthy: a status that is not known");
	expect(probe("none", WM_CHECK_GRPC, s.port, "none", false), WM_CRITICAL,
	       "gRPC application didn't report service healthy: UNKNOWN");
	expect(probe("nobody", WM_CHECK_GRPC, s.port, "nobody", false), WM_CRITICAL,
	       "rpc error: code = NotFound desc = unknown service");
	c = probe("broken", WM_CHECK_GRPC, s.port, "broken", false);
	UNTIL(*c->output);
	cr_assert(strstr(c->output, "the answer is no HealthCheckResponse"), "%s", c->output);
	c = probe("huge", WM_CHECK_GRPC, s.port, "huge", false);
	UNTIL(*c->output);
	cr_assert(strstr(c->output, "the answer is no HealthCheckResponse"), "%s", c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	server_stop(&s);
	UNTIL(strstr(check_of("up")->output, "code = Unavailable"));
	cr_assert_eq(check_of("up")->status, WM_CRITICAL);
	cr_assert_eq(stats().skipped, 0);
}

Test(health_h2, grpc_follows_a_service_and_its_thresholds)
{
	char target[64];
	struct wm_check_draft d = {.kind = WM_CHECK_GRPC,
				   .target = target,
				   .interval_ms = 5,
				   .timeout_ms = 20000,
				   .success_before_passing = 3,
				   .failures_before_warning = 2,
				   .failures_before_critical = 4};
	enum wm_status seen[3] = {WM_PASSING, WM_PASSING, WM_PASSING};
	unsigned n = 0;
	struct wm_check *c;
	struct server s;

	put_state("up");
	grpc_start(&s, false);
	snprintf(target, sizeof(target), "127.0.0.1:%u/file", s.port);
	c = add("f", d);
	UNTIL(stats().runs >= 1);
	cr_assert(stats().runs >= 3 || c->status == WM_CRITICAL);
	UNTIL(c->status == WM_PASSING);
	cr_assert_geq(stats().runs, 3);
	put_state("down");
	for (uint64_t end = wm_clock_ms() + DEADLINE_MS; n < 2 && wm_clock_ms() < end;) {
		wm_loop_turn(loop, 20);
		if (c->status != seen[n])
			seen[++n] = c->status;
	}
	cr_assert_eq(seen[1], WM_WARNING);
	cr_assert_eq(seen[2], WM_CRITICAL);
	server_stop(&s);
}

Test(health_h2, grpc_timeouts_and_removal_in_flight)
{
	struct wm_check_draft d = {.kind = WM_CHECK_GRPC, .interval_ms = 5, .timeout_ms = 100};
	char target[64];
	struct wm_check *c;
	struct server s;

	grpc_start(&s, false);
	snprintf(target, sizeof(target), "127.0.0.1:%u/slow", s.port);
	d.target = target;
	c = add("slow", d);
	expect(c, WM_CRITICAL,
	       "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
	d.timeout_ms = 20000;
	add("slow", d);
	UNTIL(stats().in_flight == 1);
	submit("slow", NULL, 0);
	wm_registry_flush(registry);
	cr_assert_eq(stats().in_flight, 0);
	server_stop(&s);
}

Test(health_h2, grpc_over_tls)
{
	char text[128], target[64];
	struct wm_check_draft d = {.kind = WM_CHECK_GRPC,
				   .target = target,
				   .interval_ms = 5,
				   .timeout_ms = 20000,
				   .use_tls = true};
	struct wm_check *c;
	struct server s;

	grpc_start(&s, true);
	snprintf(text, sizeof(text), "gRPC check 127.0.0.1:%u/up: success", s.port);
	expect(probe("up", WM_CHECK_GRPC, s.port, "up", true), WM_PASSING, text);
	c = probe("plain", WM_CHECK_GRPC, s.port, "up", false);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	snprintf(target, sizeof(target), "127.0.0.1:%u/up", s.port);
	d.tls_server_name = TLS_PEER_NAME;
	expect(add("named", d), WM_PASSING, text);
	d.tls_server_name = "other.test";
	c = add("misnamed", d);
	UNTIL(*c->output);
	cr_assert(strstr(c->output, "other.test"), "%s", c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	d.tls_skip_verify = true;
	expect(add("lenient", d), WM_PASSING, text);
	server_stop(&s);
}

Test(health_h2, grpc_to_servers_of_http_1)
{
	struct wm_check *c;
	struct peer p;

	peer_start(&p);
	c = probe("plain", WM_CHECK_GRPC, p.port, NULL, false);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	c = probe("tls", WM_CHECK_GRPC, tls.port, NULL, true);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert_eq(stats().skipped, 0);
	peer_stop(&p);
}

Test(health_h2, grpc_answers_are_read_within_their_bounds)
{
	static const struct {
		const char *octets;
		size_t n;
		bool ok;
		uint64_t status;
	} all[] = {
		{"\0\0\0\0\2\x08\1", 7, true, 1},
		{"\0\0\0\0\0", 5, true, 0},
		{"\0\0\0\0\2\x08\2", 7, true, 2},
		{"\0\0\0\0\4\x08\1\x08\2", 9, true, 2}, /* the last one counts */
		{"\1\0\0\0\2\x08\1", 7, false, 0},	/* compressed */
		{"\0\0\0\0\3\x08\1", 7, false, 0},
		{"\0\xff\xff\xff\xff\x08\1", 7, false, 0},
		{"\0\0\0\0\1\x08", 6, false, 0},
		{"\0\0\0\0\2\x12\5", 7, false, 0},
		{"\0\0\0\0\2\x0b\1", 7, false, 0}, /* a group */
		{"\0\0\0\0\1\x09", 6, false, 0},
		{"\0\0\0\0\1\x0d", 6, false, 0},
		{"\0\0\0", 3, false, 0},
		{"\0\0\0\0\x0c\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\1", 17, false, 0},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		uint64_t status = 99;
		uint8_t *copy = malloc(all[i].n); /* exact: a read behind the end is seen */

		memcpy(copy, all[i].octets, all[i].n);
		cr_assert_eq(wm_grpc_serving(copy, all[i].n, &status), all[i].ok, "%u", i);
		if (all[i].ok)
			cr_assert_eq(status, all[i].status, "%u", i);
		for (size_t cut = 0; cut < all[i].n; cut++)
			wm_grpc_serving(copy + all[i].n - cut, cut, &status);
		free(copy);
	}
}

/* --- H2PING --- */

Test(health_h2, ping_with_and_without_tls)
{
	struct server plain, secure;
	struct wm_check *c;

	grpc_start(&plain, false);
	grpc_start(&secure, true);
	c = probe("plain", WM_CHECK_H2PING, plain.port, NULL, false);
	cr_assert_str_eq(wm_check_kind_str(c->kind), "h2ping");
	expect(c, WM_PASSING, "HTTP2 ping was successful");
	expect(probe("tls", WM_CHECK_H2PING, secure.port, NULL, true), WM_PASSING,
	       "HTTP2 ping was successful");
	/* and each way crossed */
	c = probe("crossed", WM_CHECK_H2PING, plain.port, NULL, true);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	c = probe("crossed2", WM_CHECK_H2PING, secure.port, NULL, false);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert(strstr(c->output, "HTTP2 ping to 127.0.0.1:"), "%s", c->output);
	server_stop(&plain);
	UNTIL(check_of("plain")->status == WM_CRITICAL);
	cr_assert(strstr(check_of("plain")->output, "failed: "), "%s", check_of("plain")->output);
	server_stop(&secure);
	UNTIL(check_of("tls")->status == WM_CRITICAL);
	cr_assert_eq(stats().skipped, 0);
}

Test(health_h2, ping_to_an_untrusted_server)
{
	struct wm_check *c;
	struct server s;

	grpc_start(&s, true);
	health_config.ca_file = tls.other;
	health->config.ca_file = tls.other;
	c = probe("tls", WM_CHECK_H2PING, s.port, NULL, true);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	cr_assert(strstr(c->output, "certificate"), "%s", c->output);
	server_stop(&s);
}

Test(health_h2, ping_to_servers_of_http_1_and_to_silent_ones)
{
	char target[64];
	struct wm_check_draft d = {
		.kind = WM_CHECK_H2PING, .target = target, .interval_ms = 5, .timeout_ms = 100};
	uint16_t port = 0;
	int fd = peer_listen(512, &port);
	struct wm_check *c;
	struct peer p;

	peer_start(&p);
	c = probe("plain", WM_CHECK_H2PING, p.port, NULL, false);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	c = probe("tls", WM_CHECK_H2PING, tls.port, NULL, true);
	UNTIL(*c->output);
	cr_assert_eq(c->status, WM_CRITICAL);
	/* connections are made by the kernel, and nobody ever answers */
	snprintf(target, sizeof(target), "127.0.0.1:%u", port);
	c = add("silent", d);
	UNTIL(*c->output);
	snprintf(target, sizeof(target), "HTTP2 ping to 127.0.0.1:%u failed: timed out", port);
	cr_assert_str_eq(c->output, target);
	/* one in flight goes with its check */
	snprintf(target, sizeof(target), "127.0.0.1:%u", port);
	d.timeout_ms = 20000;
	add("silent", d);
	UNTIL(stats().in_flight >= 1 && ((struct wm_prober *)check_of("silent")->prober)->flying);
	for (int i = 0; i < 5; i++)
		wm_loop_turn(loop, 5);
	submit("silent", NULL, 0);
	wm_registry_flush(registry);
	cr_assert_null(check_of("silent"));
	close(fd);
	peer_stop(&p);
}

#define SETTINGS "\0\0\6\4\0\0\0\0\0\0\3\0\0\0\144"
#define ACKED	 "\0\0\10\6\1\0\0\0\0waymark."

Test(health_h2, what_a_server_says_is_read_in_any_pieces)
{
	static const struct {
		const char *octets;
		size_t n;
		int verdict;
	} all[] = {
		{SETTINGS ACKED, 32, 1},
		{SETTINGS "\0\0\0\4\1\0\0\0\0" ACKED, 41, 1},
		{SETTINGS "\0\0\10\6\0\0\0\0\0waymark." ACKED, 49, 1}, /* its own PING */
		{SETTINGS "\0\0\10\6\1\0\0\0\0another." ACKED, 49, 1},
		{SETTINGS "\0\0\10\6\0\0\0\0\0waymark.", 32, 0},
		{ACKED, 17, -EPROTO},
		{"\0\0\0\4\1\0\0\0\0", 9, -EPROTO},
		{"HTTP/1.1 400 Bad Request\r\n", 26, -EPROTO},
		{SETTINGS "\0\0\7\6\1\0\0\0\0waymark", 31, -EPROTO},
		{SETTINGS "\1\0\0\0\0\0\0\0\1", 24, -EPROTO},
		{SETTINGS "\0\0\10\7\0\0\0\0\0\0\0\0\0\0\0\0\1" ACKED, 49, -ECONNREFUSED},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		const char *why = NULL;

		for (size_t cut = 0; cut <= all[i].n; cut++) {
			char *copy = malloc(cut + !cut); /* exact: a read behind it is seen */
			int verdict;

			memcpy(copy, all[i].octets, cut);
			verdict = wm_h2_heard(copy, cut, &why);
			if (cut == all[i].n)
				cr_assert_eq(verdict, all[i].verdict, "%u: %d", i, verdict);
			else
				cr_assert(!verdict || verdict == all[i].verdict, "%u: %d", i,
					  verdict);
			cr_assert((verdict < 0) == (why != NULL));
			free(copy);
			if (verdict)
				break;
		}
	}
}
