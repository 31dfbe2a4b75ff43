/* SPDX-License-Identifier: Apache-2.0 */
/* links: base */
#include "userspace/base/settings.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

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

Test(settings, reload_takes_what_may_change)
{
	struct wm_settings t;
	const char *left;

	cr_assert_eq(wm_settings_init(&t), 0);
	cr_assert_eq(wm_settings_set(&t, "log.level=debug", &e), 0);
	cr_assert_eq(wm_settings_set(&t, "dns.port=53", &e), 0);
	cr_assert_eq(wm_settings_reload(&s, &t, &left), 1);
	cr_assert_str_eq(s.log_level, "debug");
	cr_assert_eq(s.dns_port, 8600);
	cr_assert_str_eq(left, "dns.port");
	wm_settings_done(&t);
}

Test(settings, a_missing_file_is_named)
{
	cr_assert_eq(wm_settings_load(&s, "/nonexistent/w.json", &e), -ENOENT);
	cr_assert(strstr(e.text, "/nonexistent/w.json"));
}
