/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
#include "userspace/base/json_line.h"
#include "userspace/base/macros.h"
#include "userspace/base/settings.h"
#include "userspace/base/ttl.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct wm_settings s;
static struct wm_err e;

static void setup(void)
{
	cr_assert_eq(wm_settings_init(&s), 0);
}
static void teardown(void)
{
	wm_settings_done(&s);
}
TestSuite(settings, .init = setup, .fini = teardown);

static int parse(const char *json)
{
	memset(&e, 0, sizeof(e));
	return wm_settings_parse(&s, json, strlen(json), &e);
}

Test(settings, defaults_are_sound)
{
	cr_assert_eq(wm_settings_check(&s, &e), 0, "%s", e.text);
	cr_assert_eq(s.http_port, 8500);
	cr_assert_eq(s.dns_port, 8600);
	cr_assert_str_eq(s.dns_addresses[0], "127.0.0.1");
	cr_assert_null(s.dns_addresses[1]);
	cr_assert_null(s.dns_port53_addresses[0]);
	cr_assert_str_eq(s.node_domain, "mesh.internal");
	cr_assert_eq(s.dns_ttl_ms, 0, "as Consul");
	cr_assert(s.dns_negative_ttl_ms >= 1000 && s.dns_negative_ttl_ms <= 5000);
}

Test(settings, a_file_changes_what_it_names)
{
	cr_assert_eq(parse("{\"dns\":{\"port\":53,\"ttl\":\"1m30s\",\"addresses\":[\"::1\",\"10.0."
			   "0.1\"]},"
			   "\"kernel\":{\"connect\":false}}"),
		     0, "%s", e.text);
	cr_assert_eq(s.dns_port, 53);
	cr_assert_eq(s.dns_ttl_ms, 90000);
	cr_assert_str_eq(s.dns_addresses[1], "10.0.0.1");
	cr_assert_not(s.kernel_connect);
	cr_assert(s.kernel_dns);
}

/* Each error names the setting and what is allowed. */
static const struct bad {
	const char *json, *says;
} bads[] = {
	{"{", "line 1"},
	{"[]", "object of sections"},
	{"{\"dns\":1}", "dns: an object"},
	{"{\"dsn\":{}}", "unknown section \"dsn\""},
	{"{\"dns\":{\"prot\":1}}", "unknown setting \"dns.prot\""},
	{"{\"dns\":{\"port\":70000}}", "dns.port: 70000 is not from 0 to 65535 port"},
	{"{\"dsn\":{}}", "did you mean \"dns\"?"},
	{"{\"dns\":{\"prot\":1}}", "did you mean \"dns.port\"?"},
	{"{\"http\":{\"ttl\":\"1s\"}}", "did you mean \"dns.ttl\"?"},
	{"{\"dns\":{\"ttl\":5}}",
	 "dns.ttl: not a duration: 5 has no unit; write \"5s\" or \"5ms\""},
	{"{\"dns\":{\"ttl\":\"5\"}}", "5 has no unit"},
	{"{\"dns\":{\"port\":-1}}", "dns.port: below 0"},
	{"{\"dns\":{\"port\":\"53\"}}", "dns.port: a whole number is wanted"},
	{"{\"dns\":{\"port\":5.5}}", "dns.port: a whole number is wanted"},
	{"{\"dns\":{\"port\":1,\"port\":2}}", "duplicate"},
	{"{\"dns\":{\"ttl\":\"10\"}}", "dns.ttl: not a duration"},
	{"{\"dns\":{\"ttl\":\"-1s\"}}", "dns.ttl: not a duration"},
	{"{\"dns\":{\"addresses\":\"::1\"}}", "dns.addresses: a list of strings"},
	{"{\"dns\":{\"addresses\":[1]}}", "dns.addresses: entry 0 is not a string"},
	{"{\"kernel\":{\"dns\":1}}", "kernel.dns: true or false"},
	{"{\"node\":{\"name\":\"0123456789012345678901234567890123456789012345678901234567890123\"}"
	 "}",
	 "node.name: at most 63 octets"},
	{"{\"node\":{\"name\":null}}", "node.name: a string"},
	{"{\"dns\":{\"addresses\":[\"1\",\"2\",\"3\",\"4\",\"5\",\"6\",\"7\",\"8\",\"9\",\"10\","
	 "\"11\","
	 "\"12\",\"13\",\"14\",\"15\",\"16\",\"17\"]}}",
	 "dns.addresses: at most 16"},
};

Test(settings, errors_name_the_setting)
{
	for (size_t i = 0; i < sizeof(bads) / sizeof(*bads); i++) {
		cr_assert_lt(parse(bads[i].json), 0, "%s", bads[i].json);
		cr_assert(strstr(e.text, bads[i].says), "%s: %s", bads[i].json, e.text);
	}
}

static void collect(void *arg, const struct wm_err *one)
{
	FILE *f = arg;

	fprintf(f, "%s\n", one->text);
}

/* All that is wrong with a file in one go, each with its line. */
Test(settings, every_fault_has_its_line)
{
	static const char json[] = "{\n  \"http\": {\"port\": \"x\"},\n  \"dsn\": {},\n"
				   "  \"dns\": {\n    \"ttl\": 5,\n    \"prot\": 1,\n"
				   "    \"addresses\": [\"port\"],\n    \"port\":\n70000}}\n";
	static const char *const says[] = {":2: http.port: a whole number is wanted, not \"x\"\n",
					   ":3: unknown section \"dsn\"", ":5: dns.ttl: not",
					   ":6: unknown setting \"dns.prot\"",
					   ":8: dns.port: 70000 is not from"};
	char path[] = "/tmp/waymark-test-settings-XXXXXX", *text = NULL;
	int fd = mkstemp(path);
	size_t len = 0, faults = 0;
	FILE *f = open_memstream(&text, &len);

	cr_assert_eq(write(fd, json, sizeof(json) - 1), (ssize_t)sizeof(json) - 1);
	close(fd);
	cr_assert_eq(wm_settings_examine(&s, path, collect, f), WM_E_INVALID);
	fclose(f);
	for (const char *p = text; *p; p++)
		faults += *p == '\n';
	cr_assert_eq(faults, 5, "%s", text);
	for (size_t i = 0; i < sizeof(says) / sizeof(*says); i++)
		cr_assert(strstr(text, says[i]), "%s in %s", says[i], text);
	cr_assert_eq(strncmp(text, path, strlen(path)), 0);
	free(text);
	unlink(path);
}

Test(settings, one_by_one)
{
	cr_assert_eq(wm_settings_set(&s, "dns.addresses=::1,127.0.0.2", &e), 0, "%s", e.text);
	cr_assert_str_eq(s.dns_addresses[0], "::1");
	cr_assert_str_eq(s.dns_addresses[1], "127.0.0.2");
	cr_assert_eq(wm_settings_set(&s, "dns.addresses=", &e), 0);
	cr_assert_null(s.dns_addresses[0]);
	cr_assert_eq(wm_settings_set(&s, "kernel.enabled=false", &e), 0);
	cr_assert_not(s.kernel_enabled);
	cr_assert_eq(wm_settings_set(&s, "health.timeout=2s", &e), 0);
	cr_assert_eq(s.health_timeout_ms, 2000);
	cr_assert_lt(wm_settings_set(&s, "dns.port", &e), 0);
	cr_assert_lt(wm_settings_set(&s, "dns.port=", &e), 0);
	cr_assert_lt(wm_settings_set(&s, "dns.port=-1", &e), 0);
	cr_assert_lt(wm_settings_set(&s, "dns.port=1x", &e), 0);
	cr_assert_lt(wm_settings_set(&s, "nothing.here=1", &e), 0);
	cr_assert(strstr(e.text, "nothing.here"), "%s", e.text);
	cr_assert_lt(wm_settings_set(&s, "kernel.enabled=yes", &e), 0);
}

Test(settings, together)
{
	cr_assert_eq(wm_settings_set(&s, "log.level=loud", &e), 0);
	cr_assert_lt(wm_settings_check(&s, &e), 0);
	cr_assert(strstr(e.text, "log.level"));
	cr_assert_eq(wm_settings_set(&s, "log.level=warn", &e), 0);
	cr_assert_eq(wm_settings_set(&s, "dns.ttl=1500ms", &e), 0);
	cr_assert_lt(wm_settings_check(&s, &e), 0);
	cr_assert(strstr(e.text, "dns.ttl"));
	cr_assert_eq(wm_settings_set(&s, "dns.ttl=1s", &e), 0);
	cr_assert_eq(wm_settings_set(&s, "dns.service_ttl=web=1500ms", &e), 0);
	cr_assert_lt(wm_settings_check(&s, &e), 0);
	cr_assert(strstr(e.text, "dns.service_ttl: \"web=1500ms\""), "%s", e.text);
	cr_assert_lt(wm_settings_set(&s, "dns.negative_ttl=0", &e), 0, "never 0");
}

Test(settings, bounds_of_ttls_of_others)
{
	cr_assert_eq(wm_settings_set(&s, "dns.cache_ttl_min=60s", &e), 0);
	cr_assert_eq(wm_settings_set(&s, "dns.cache_ttl_max=60s", &e), 0);
	cr_expect_eq(wm_settings_check(&s, &e), 0, "%s", e.text);
	cr_assert_eq(wm_settings_set(&s, "dns.cache_ttl_max=59s", &e), 0);
	cr_expect_lt(wm_settings_check(&s, &e), 0);
	cr_expect(strstr(e.text, "dns.cache_ttl_min: is above dns.cache_ttl_max"), "%s", e.text);
	cr_assert_eq(wm_settings_set(&s, "dns.cache_ttl_max=90500ms", &e), 0);
	cr_expect_lt(wm_settings_check(&s, &e), 0);
	cr_expect(strstr(e.text, "dns.cache_ttl_max: whole seconds"), "%s", e.text);
}

/* What was taken and then answered nobody. */
Test(settings, names_and_bounds_that_do_nothing_are_refused)
{
	static const char *const bad[] = {"node.domain=-bad.x",
					  "node.domain=bad-.x",
					  "node.domain=a..b",
					  "node.alt_domain=x.-y",
					  "http.hosts=bad host",
					  "http.hosts=a.example:80",
					  "http.hosts=-x",
					  "http.hosts=*.example",
					  "http.watchers_max=12000",
					  "http.watchers_max=99999",
					  "source.kubernetes_domain=a..b",
					  "source.kubernetes_domain=internal",
					  "source.kubernetes_domain=x.mesh.internal",
					  "source.kubernetes_pods=some"};
	static const char *const good[] = {
		"node.domain=a-b.c_d", "node.alt_domain=consul", "http.hosts=a.example,10.0.0.1",
		"source.kubernetes_domain=cluster.local", "http.watchers_max=11999"};

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		const char *value = strchr(bad[i], '=') + 1;

		teardown();
		setup();
		cr_assert_eq(wm_settings_set(&s, bad[i], &e), 0, "%s", bad[i]);
		cr_expect_lt(wm_settings_check(&s, &e), 0, "%s", bad[i]);
		cr_expect_eq(strncmp(e.text, bad[i], strcspn(bad[i], "=")), 0, "%s", e.text);
		cr_expect(strstr(e.text, value), "%s", e.text);
	}
	teardown();
	setup();
	for (size_t i = 0; i < sizeof(good) / sizeof(*good); i++)
		cr_assert_eq(wm_settings_set(&s, good[i], &e), 0, "%s", good[i]);
	cr_expect_eq(wm_settings_check(&s, &e), 0, "%s", e.text);
	/* which stands for cluster.local, where Kubernetes is a source */
	teardown();
	setup();
	cr_assert_eq(wm_settings_set(&s, "node.domain=cluster.local", &e), 0);
	cr_expect_eq(wm_settings_check(&s, &e), 0, "%s", e.text);
	cr_assert_eq(wm_settings_set(&s, "source.kubernetes_enabled=true", &e), 0);
	cr_expect_lt(wm_settings_check(&s, &e), 0);
	cr_expect(strstr(e.text, "source.kubernetes_domain"), "%s", e.text);
}

static int rules(struct wm_ttls **ret, const char *a, const char *b, const char *c, const char *d)
{
	char *list[] = {(char *)(uintptr_t)a, (char *)(uintptr_t)b, (char *)(uintptr_t)c,
			(char *)(uintptr_t)d, NULL};

	memset(&e, 0, sizeof(e));
	*ret = NULL;
	return wm_ttls_new(list, ret, &e);
}

static int ttl_of(const struct wm_ttls *t, const char *name)
{
	uint32_t ttl = 0;

	return wm_ttls_find(t, name, &ttl) ? (int)ttl : -1;
}

/* Consul's order: the name itself, then the longest prefix, wherever they stand in the list. */
Test(settings, ttls_of_names)
{
	struct wm_ttls *t;

	cr_assert_eq(rules(&t, "w*=1s", "web*=1m", "Web=0s", "web-api*=168h"), 0, "%s", e.text);
	cr_assert_eq(ttl_of(t, "web"), 0);
	cr_assert_eq(ttl_of(t, "WEB"), 0);
	cr_assert_eq(ttl_of(t, "web-a"), 60);
	cr_assert_eq(ttl_of(t, "web-api"), 604800);
	cr_assert_eq(ttl_of(t, "w"), 1);
	cr_assert_eq(ttl_of(t, "db"), -1);
	cr_assert_eq(ttl_of(NULL, "web"), -1);
	wm_ttls_free(t);
	cr_assert_eq(rules(&t, "*=7s", "a=3s", NULL, NULL), 0);
	cr_assert_eq(ttl_of(t, "a"), 3);
	cr_assert_eq(ttl_of(t, "ab"), 7);
	wm_ttls_free(t);
	cr_assert_eq(rules(&t, NULL, NULL, NULL, NULL), 0);
	cr_assert_eq(ttl_of(t, "a"), -1);
	wm_ttls_free(t);
}

Test(settings, ttls_that_are_none)
{
	static const struct {
		const char *rule, *says;
	} bad[] = {{"web", "name=duration"},
		   {"=1s", "name=duration"},
		   {"web=", "whole seconds"},
		   {"web=5", "whole seconds"},
		   {"web=-1s", "whole seconds"},
		   {"web=1ms", "whole seconds"},
		   {"web=169h", "whole seconds"},
		   {"w*b=1s", "'*' stands at the end"},
		   {"w**=1s", "'*' stands at the end"},
		   {"OK=2s", "twice"},
		   {"0123456789012345678901234567890123456789012345678901234567890123=1s",
		    "at most 63"}};
	struct wm_ttls *t;

	for (size_t i = 0; i < sizeof(bad) / sizeof(*bad); i++) {
		cr_assert_eq(rules(&t, "ok=1s", bad[i].rule, NULL, NULL), WM_E_INVALID, "%s",
			     bad[i].rule);
		cr_assert(strstr(e.text, bad[i].says), "%s: %s", bad[i].rule, e.text);
		cr_assert(strstr(e.text, bad[i].rule), "%s", e.text);
		cr_assert_null(t);
	}
}

Test(settings, dump_reads_back)
{
	struct wm_settings t;
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	cr_assert_eq(wm_settings_set(&s, "dns.ttl=90s", &e), 0);
	cr_assert_eq(wm_settings_set(&s, "http.hosts=a.example,b.example", &e), 0);
	wm_settings_dump(&s, f);
	fclose(f);
	cr_assert_eq(wm_settings_init(&t), 0);
	cr_assert_eq(wm_settings_parse(&t, text, len, &e), 0, "%s", e.text);
	cr_assert_eq(t.dns_ttl_ms, 90000);
	cr_assert_str_eq(t.http_hosts[1], "b.example");
	free(text);
	wm_settings_done(&t);
}

Test(settings, dump_hides_secrets)
{
	char *text = NULL;
	size_t len = 0;
	FILE *f = open_memstream(&text, &len);

	cr_assert_eq(wm_settings_set(&s, "source.consul_token=8f1c0d52", &e), 0);
	cr_assert_eq(wm_settings_set(&s, "source.consul_token_file=/etc/token", &e), 0);
	wm_settings_dump(&s, f);
	fclose(f);
	cr_assert(!strstr(text, "8f1c0d52"));
	cr_assert(strstr(text, "\"consul_token\": \"hidden\""));
	cr_assert(strstr(text, "\"/etc/token\""), "where it is is none");
	free(text);
}

Test(settings, reload_takes_what_may_change)
{
	struct wm_settings t;
	char left[WM_SETTINGS_NAMES_MAX];

	cr_assert_eq(wm_settings_init(&t), 0);
	cr_assert_eq(wm_settings_reload(&s, &t, left), 0);
	cr_assert_str_eq(left, "");
	cr_assert_eq(wm_settings_set(&t, "log.level=debug", &e), 0);
	cr_assert_eq(wm_settings_set(&t, "http.hosts=a", &e), 0);
	cr_assert_eq(wm_settings_set(&t, "dns.port=53", &e), 0);
	cr_assert_eq(wm_settings_set(&t, "kernel.dns=false", &e), 0);
	cr_assert_eq(wm_settings_reload(&s, &t, left), 1);
	cr_assert_str_eq(s.log_level, "debug");
	cr_assert_eq(s.dns_port, 8600);
	cr_assert_str_eq(left, "http.hosts,dns.port,kernel.dns");
	wm_settings_done(&t);
}

Test(settings, reload_takes_lists)
{
	struct wm_settings t;
	char left[WM_SETTINGS_NAMES_MAX];

	cr_assert_eq(wm_settings_init(&t), 0);
	cr_assert_eq(wm_settings_set(&t, "dns.allow=10.0.0.0/8,fd00::/8", &e), 0);
	for (int i = 0; i < 2; i++) {
		cr_assert_eq(wm_settings_reload(&s, &t, left), !i);
		cr_assert_str_eq(left, "");
		cr_assert_str_eq(s.dns_allow[1], "fd00::/8");
		cr_assert(!s.dns_allow[2]);
	}
	cr_assert_eq(wm_settings_set(&t, "dns.allow=192.0.2.1", &e), 0);
	cr_assert_eq(wm_settings_set(&t, "http.hosts=a.example", &e), 0);
	cr_assert_eq(wm_settings_reload(&s, &t, left), 1);
	cr_assert_str_eq(left, "http.hosts");
	cr_assert_str_eq(s.dns_allow[0], "192.0.2.1");
	cr_assert(!s.dns_allow[1]);
	wm_settings_done(&t);
}

/* As the reference page and --dump-config write them. */
Test(settings, a_list_is_set_as_it_is_written)
{
	static const char *const good[] = {"http.addresses=[\"::1\", \"127.0.0.1\"]",
					   "http.addresses=::1,127.0.0.1"};
	static const char *const bad[] = {"http.addresses=[\"::1\"", "http.addresses=[::1]",
					  "http.addresses=[1]", "http.addresses=[\"a\",]"};

	for (size_t i = 0; i < WM_ARRAY_LEN(good); i++) {
		cr_assert_eq(wm_settings_set(&s, good[i], &e), 0, "%s", e.text);
		cr_assert_str_eq(s.http_addresses[0], "::1");
		cr_assert_str_eq(s.http_addresses[1], "127.0.0.1");
		cr_assert_null(s.http_addresses[2]);
	}
	cr_assert_eq(wm_settings_set(&s, "http.addresses=[]", &e), 0);
	cr_assert_null(s.http_addresses[0]);
	for (size_t i = 0; i < WM_ARRAY_LEN(bad); i++) {
		cr_assert_eq(wm_settings_set(&s, bad[i], &e), WM_E_INVALID, "%s", bad[i]);
		cr_assert(strstr(e.text, "http.addresses"), "%s", e.text);
	}
}

Test(settings, a_missing_file_is_named)
{
	cr_assert_eq(wm_settings_load(&s, "/nonexistent/w.json", &e), -ENOENT);
	cr_assert(strstr(e.text, "/nonexistent/w.json"));
}

Test(settings, elements_have_their_line)
{
	static const char json[] =
		"{\n \"a\": {\"services\": [1]},\n \"services\": [\n  {\"x\": "
		"[1,\n 2], \"y\": \"],\\\"\"},\n  {},\n\n  \"last\"],\n \"one\": "
		"[], \"no\": 1}";
	const size_t len = sizeof(json) - 1;

	struct wm_json_walk w;

	cr_assert(wm_json_list(json, len, "services", &w));
	cr_assert_eq(wm_json_next_line(&w), 4);
	cr_assert_eq(wm_json_next_line(&w), 6);
	cr_assert_eq(wm_json_next_line(&w), 8);
	cr_assert_eq(wm_json_next_line(&w), 0);
	cr_assert_eq(wm_json_next_line(&w), 0);
	cr_assert(wm_json_list(json, len, "one", &w));
	cr_assert_eq(wm_json_next_line(&w), 0);
	cr_assert(!wm_json_list(json, len, "no", &w));
	cr_assert_eq(wm_json_next_line(&w), 0);
	cr_assert(!wm_json_list(json, len, "x", &w), "of the top object only");
	cr_assert_eq(wm_json_line(json, len, "no", NULL), 9);
}

/* Looked for from the beginning of the text each, these would take minutes. */
Test(settings, a_long_list_is_walked_once)
{
	const unsigned count = 300000;
	char *json = malloc(count * 4 + 16), *at = json;
	struct wm_json_walk w;

	cr_assert(json);
	at += sprintf(at, "{\"a\":[0");
	for (unsigned n = 1; n < count; n++)
		at += sprintf(at, ",\n%u", n % 10);
	at += sprintf(at, "]}");
	cr_assert(wm_json_list(json, (size_t)(at - json), "a", &w));
	for (unsigned n = 1; n <= count; n++)
		cr_assert_eq(wm_json_next_line(&w), n);
	cr_assert_eq(wm_json_next_line(&w), 0);
	free(json);
}
