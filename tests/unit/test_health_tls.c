/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry health */
/* Checks over TLS against openssl's own server, with certificates made for the run. */
#include "http_peer.h"
#include "tls_peer.h"
#include "userspace/base/clock.h"
#include "userspace/health/health.h"

#define DEADLINE_MS 90000

static struct tls_peer peer;
static struct wm_loop *loop;
static struct wm_registry *registry;
static struct wm_health *health;

static void setup(void)
{
	struct wm_registry_config rc = {.env = &wm_env_system,
					.node_name = "n1",
					.node_address = "127.0.0.1",
					.datacenter = "dc1",
					.instances_max = 100,
					.services_max = 10,
					.vip4_base = 0xf0000000,
					.vip4_mask = 0xf0000000,
					.sync_off = true};
	struct wm_err e = {0};

	signal(SIGPIPE, SIG_IGN); /* as the agent does */
	rc.vip6_prefix.s6_addr[0] = 0xfd;
	tls_peer_start(&peer);
	loop = wm_loop_new();
	cr_assert(loop);
	cr_assert_eq(wm_registry_open(&rc, &registry, &e), 0, "%s", e.text);
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_REGISTRY, wm_registry_flush, registry), 0);
}

static void teardown(void)
{
	wm_health_free(health);
	wm_registry_close(registry);
	wm_loop_free(loop);
	tls_peer_stop(&peer);
}

TestSuite(health_tls, .init = setup, .fini = teardown, .timeout = 300);

/* @param ca_file NULL: the system's authorities. */
static void trust(const char *ca_file)
{
	struct wm_health_config c = {.env = wm_loop_env(loop),
				     .probes_max = 8,
				     .interval_min_ms = 1,
				     .default_timeout_ms = DEADLINE_MS,
				     .ca_file = ca_file};

	health = wm_health_new(loop, registry, &c);
	cr_assert(health);
}

static struct wm_check_draft https(const char *path)
{
	static char url[128];

	snprintf(url, sizeof(url), "https://127.0.0.1:%u%s", peer.port, path);
	return (struct wm_check_draft){
		.kind = WM_CHECK_HTTP, .target = url, .interval_ms = 5, .timeout_ms = DEADLINE_MS};
}

static uint64_t runs(void)
{
	struct wm_health_stats s;

	wm_health_stats(health, &s);
	return s.runs;
}

/* Register the check, see it run, and expect the status with an output that contains @p text. */
static void expect(struct wm_check_draft c, enum wm_status s, const char *text)
{
	struct wm_instance_draft d = {.id = "a",
				      .name = "web",
				      .port = 80,
				      .checks = &c,
				      .checks_count = 1,
				      .replace_checks = true};
	uint64_t end = wm_clock_ms() + DEADLINE_MS, before = runs();
	const struct wm_check *now;
	struct wm_err e = {0};

	c.id = "a";
	/* neither is what a pass or a failure leaves */
	c.has_status = true;
	c.status = WM_WARNING;
	cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, &e), 0, "%s", e.text);
	wm_registry_flush(registry);
	/* a run of the check before this one was cancelled by the registration */
	while (runs() < before + 1 && wm_clock_ms() < end)
		cr_assert_eq(wm_loop_turn(loop, 20), 0);
	now = wm_registry_check(registry, "a");
	cr_assert(now);
	cr_assert_eq(now->status, s, "%d: %s", now->status, now->output);
	cr_assert(strstr(now->output, text), "\"%s\" lacks \"%s\"", now->output, text);
}

Test(health_tls, https_passes_with_a_trusted_authority)
{
	struct wm_check_draft c = https("/ok");

	trust(peer.ca);
	expect(c, WM_PASSING, "200 ok Output: fine");
	c.tls_server_name = TLS_PEER_NAME;
	expect(c, WM_PASSING, "200 ok Output: fine");
}

Test(health_tls, https_names_must_match)
{
	struct wm_check_draft c = https("/ok");

	trust(peer.ca);
	c.tls_server_name = "other.test";
	expect(c, WM_CRITICAL, "'other.test'");
	c.tls_skip_verify = true;
	expect(c, WM_PASSING, "200 ok");
}

Test(health_tls, https_by_an_unknown_authority_is_critical_unless_skipped)
{
	struct wm_check_draft c = https("/ok");

	trust(peer.other);
	expect(c, WM_CRITICAL, "SSL certificate problem");
	c.tls_skip_verify = true;
	expect(c, WM_PASSING, "200 ok");
}

Test(health_tls, the_system_does_not_trust_the_test)
{
	trust(NULL);
	expect(https("/ok"), WM_CRITICAL, "SSL certificate problem");
}

Test(health_tls, an_authority_file_that_is_gone_is_told)
{
	trust("/nonexistent/ca.pem");
	expect(https("/ok"), WM_CRITICAL, "/nonexistent/ca.pem");
}

Test(health_tls, plain_http_to_a_tls_server_is_critical)
{
	struct wm_check_draft c = https("/ok");
	char url[128];

	trust(peer.ca);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/ok", peer.port);
	c.target = url;
	expect(c, WM_CRITICAL, url);
}

static struct wm_check_draft tcp(void)
{
	static char target[32];

	snprintf(target, sizeof(target), "127.0.0.1:%u", peer.port);
	return (struct wm_check_draft){.kind = WM_CHECK_TCP,
				       .target = target,
				       .use_tls = true,
				       .interval_ms = 5,
				       .timeout_ms = DEADLINE_MS};
}

Test(health_tls, tcp_passes_with_a_trusted_authority)
{
	struct wm_check_draft c = tcp();

	trust(peer.ca);
	expect(c, WM_PASSING, "Success");
	c.tls_server_name = TLS_PEER_NAME;
	expect(c, WM_PASSING, "Success");
	c.tls_server_name = "other.test";
	expect(c, WM_CRITICAL, "'other.test'");
}

Test(health_tls, tcp_by_an_unknown_authority_is_critical_unless_skipped)
{
	struct wm_check_draft c = tcp();

	trust(peer.other);
	expect(c, WM_CRITICAL, "SSL certificate problem");
	c.tls_skip_verify = true;
	expect(c, WM_PASSING, "Success");
	/* without TLS nothing of it is looked at */
	c.tls_skip_verify = c.use_tls = false;
	expect(c, WM_PASSING, "Success");
}

Test(health_tls, tcp_to_a_listener_without_tls_is_critical)
{
	struct wm_check_draft c = tcp();
	struct peer plain;
	char target[32];

	peer_start(&plain);
	snprintf(target, sizeof(target), "127.0.0.1:%u", plain.port);
	c.target = target;
	c.timeout_ms = 200;
	trust(peer.ca);
	expect(c, WM_CRITICAL, target);
	c.use_tls = false;
	expect(c, WM_PASSING, "Success");
	peer_stop(&plain);
}
