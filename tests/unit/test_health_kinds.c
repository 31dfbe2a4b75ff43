/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net registry health */
/* Checks over TLS and UDP, against real servers: openssl's s_server with a certificate made for the
 * test, and sockets on loopback. Nothing asserts how long a thing takes. */
#include "http_peer.h"
#include "userspace/base/util.h"
#include "userspace/health/health.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

#define DEADLINE_MS 30000

static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_health *health;

static void setup(void)
{
	struct wm_registry_config rc = {.node_name = "n1",
					.node_address = "127.0.0.1",
					.datacenter = "dc1",
					.instances_max = 100,
					.services_max = 100,
					.vip4_base = 0xf0000000,
					.vip4_mask = 0xf0000000};
	struct wm_health_config config = {
		.probes_max = 8, .interval_min_ms = 1, .default_timeout_ms = 5000};
	struct wm_err e = {0};

	rc.vip6_prefix.s6_addr[0] = 0xfd;
	signal(SIGPIPE, SIG_IGN);
	loop = wm_loop_new();
	cr_assert_eq(wm_registry_open(&rc, &registry, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
	health = wm_health_new(loop, registry, &config);
	cr_assert(loop && health);
}

static void teardown(void)
{
	wm_health_free(health);
	wm_registry_close(registry);
	wm_loop_free(loop);
}

TestSuite(health_kinds, .init = setup, .fini = teardown, .timeout = 120);

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = wm_clock_ms() + DEADLINE_MS;                                       \
		while (!(condition) && wm_clock_ms() < end_)                                       \
			cr_assert_eq(wm_loop_turn(loop, 20), 0);                                   \
		cr_assert(condition);                                                              \
	} while (0)

static struct wm_check *add(const char *id, struct wm_check_draft c)
{
	struct wm_instance_draft d = {
		.id = id, .name = "web", .port = 80, .checks = &c, .checks_count = 1};
	struct wm_err e = {0};

	c.id = id;
	c.interval_ms = 10;
	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
	wm_registry_flush(registry);
	return wm_registry_check(registry, id);
}

/* --- UDP -------------------------------------------------------------------------------------- */
static int udp_socket(uint16_t *ret_port)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(getsockname(fd, (struct sockaddr *)&a, &len), 0);
	*ret_port = ntohs(a.sin_port);
	return fd;
}

Test(health_kinds, udp_silence_passes_and_a_refusal_is_critical)
{
	struct wm_check *c;
	char target[64];
	uint16_t port;
	int fd = udp_socket(&port);

	snprintf(target, sizeof(target), "localhost:%u", port);
	c = add("u",
		(struct wm_check_draft){.kind = WM_CHECK_UDP, .target = target, .timeout_ms = 30});
	UNTIL(c->status == WM_PASSING);
	snprintf(target, sizeof(target), "UDP connect localhost:%u: Success", port);
	cr_assert_str_eq(c->output, target);
	close(fd);
	UNTIL(c->status == WM_CRITICAL);
	snprintf(target, sizeof(target), "UDP connect localhost:%u: Connection refused", port);
	cr_assert_str_eq(c->output, target);
}

Test(health_kinds, udp_an_answer_passes_at_once)
{
	struct wm_check *c;
	char target[64], octet;
	struct sockaddr_in from;
	socklen_t len = sizeof(from);
	uint16_t port;
	int fd = udp_socket(&port);

	snprintf(target, sizeof(target), "127.0.0.1:%u", port);
	/* silence would pass only after the test's deadline */
	c = add("u", (struct wm_check_draft){
			     .kind = WM_CHECK_UDP, .target = target, .timeout_ms = 600000});
	for (int i = 0;
	     i < 1000 && recvfrom(fd, &octet, 1, MSG_DONTWAIT, (struct sockaddr *)&from, &len) < 0;
	     i++)
		cr_assert_eq(wm_loop_turn(loop, 20), 0);
	cr_assert_eq(sendto(fd, "x", 1, 0, (struct sockaddr *)&from, len), 1);
	UNTIL(c->status == WM_PASSING);
	close(fd);
}

/* --- TLS -------------------------------------------------------------------------------------- */
static char dir[64];
static pid_t server;
static uint16_t port;

static void silence(int first, int last)
{
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	for (int fd = first; fd <= last; fd++)
		dup2(null, fd);
}

static void make_certificate(const char *key, const char *cert)
{
	pid_t p = fork();
	int status;

	cr_assert_geq(p, 0);
	if (!p) {
		silence(0, 2);
		execlp("openssl", "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt",
		       "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=web.test", "-days", "1",
		       "-keyout", key, "-out", cert, NULL);
		_exit(127);
	}
	cr_assert_eq(waitpid(p, &status, 0), p);
	cr_assert(WIFEXITED(status) && WEXITSTATUS(status) == 0, "openssl req: %d", status);
}

static void tls_start(void)
{
	char key[96], cert[96], number[8];

	snprintf(dir, sizeof(dir), "/tmp/wm-tls-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(key, sizeof(key), "%s/key", dir);
	snprintf(cert, sizeof(cert), "%s/cert", dir);
	make_certificate(key, cert);
	port = 0;
	close(peer_listen(1, &port)); /* a port that is free */
	snprintf(number, sizeof(number), "%u", port);
	server = fork();
	cr_assert_geq(server, 0);
	if (!server) {
		silence(1, 2);
		execlp("openssl", "openssl", "s_server", "-quiet", "-www", "-accept", number,
		       "-key", key, "-cert", cert, NULL);
		_exit(127);
	}
}

static void tls_stop(void)
{
	char path[96];

	if (server > 0) {
		kill(server, SIGKILL);
		waitpid(server, NULL, 0);
	}
	server = 0;
	snprintf(path, sizeof(path), "%s/key", dir);
	unlink(path);
	snprintf(path, sizeof(path), "%s/cert", dir);
	unlink(path);
	rmdir(dir);
}

Test(health_kinds, tcp_with_tls_wants_a_certificate_that_holds)
{
	struct wm_check *strict, *skip, *plain;
	char target[64];

	tls_start();
	snprintf(target, sizeof(target), "127.0.0.1:%u", port);
	skip = add("skip", (struct wm_check_draft){.kind = WM_CHECK_TCP,
						   .target = target,
						   .use_tls = true,
						   .tls_skip_verify = true});
	strict = add("strict", (struct wm_check_draft){
				       .kind = WM_CHECK_TCP, .target = target, .use_tls = true});
	UNTIL(skip->status == WM_PASSING && strstr(strict->output, "certificate"));
	cr_assert_eq(strict->status, WM_CRITICAL);
	/* without TLS: it opens, and that is all */
	plain = add("plain", (struct wm_check_draft){.kind = WM_CHECK_TCP, .target = target});
	UNTIL(plain->status == WM_PASSING);
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	server = 0;
	UNTIL(skip->status == WM_CRITICAL && plain->status == WM_CRITICAL);
	tls_stop();
}

Test(health_kinds, https_wants_a_certificate_that_holds)
{
	struct wm_check *strict, *skip;
	char url[64];

	tls_start();
	snprintf(url, sizeof(url), "https://127.0.0.1:%u/", port);
	skip = add("skip", (struct wm_check_draft){
				   .kind = WM_CHECK_HTTP, .target = url, .tls_skip_verify = true});
	strict = add("strict", (struct wm_check_draft){.kind = WM_CHECK_HTTP, .target = url});
	UNTIL(skip->status == WM_PASSING && strstr(strict->output, "certificate"));
	cr_assert_eq(strict->status, WM_CRITICAL);
	tls_stop();
}
