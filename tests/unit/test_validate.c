/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
#include "userspace/model/validate.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* struct wm_pair has members that are not const, though drafts are only read. */
static inline char *mut(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r));
	return r;
}

static const char *refused(const struct wm_instance_draft *d)
{
	static struct wm_err e;

	e = (struct wm_err){0};
	return wm_draft_validate(d, &e) ? e.text : "";
}

static const char *refused_check(struct wm_check_draft c)
{
	struct wm_instance_draft d = {.name = "web", .checks = &c, .checks_count = 1};

	return refused(&d);
}

static char *repeat(char c, size_t n)
{
	char *s = calloc(1, n + 1);

	memset(s, c, n);
	return s;
}

Test(validate, names)
{
	static const char *const odd[] = {"a.b c", "my_service", "w\xc3\xa4h", "-web", "web-", "_"};
	struct wm_instance_draft d = {0};
	char *s = repeat('a', 255), *l = repeat('a', 256);

	cr_assert_str_eq(refused(&d), "Missing service name");
	d.name = "";
	cr_assert_str_eq(refused(&d), "Missing service name");
	/* no host name's, and yet a name: Consul registers them with a warning */
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++) {
		d.name = odd[i];
		cr_assert_str_eq(refused(&d), "", "%s", odd[i]);
		cr_assert_not(wm_label_valid(odd[i]), "%s", odd[i]);
	}
	d.name = "a\nb";
	cr_assert_str_eq(refused(&d), "Service name must not contain control characters");
	d.name = s;
	cr_assert_str_eq(refused(&d), "");
	d.name = l;
	cr_assert_neq(*refused(&d), 0);
	d.name = "W-3b";
	cr_assert_str_eq(refused(&d), "");
	free(s);
	free(l);
}

Test(validate, addresses)
{
	static const char *const good[] = {
		"",	     "10.1.2.3",	 "fd00::1",	    "::1",   "::ffff:10.0.0.1",
		"localhost", "db_1.example.org", "db.example.org.", "1a.2b", "3com.com"};
	static const char *const any[] = {"0.0.0.0", "::", "::ffff:0.0.0.0", "0::0"};
	static const char *const bad[] = {"1.2.3",	"300.1.1.1", "1.2.3.4.5", "[::1]",
					  "fe80::1%lo", "a b",	     "a..b",	  ".a",
					  "a-.b",	"-a",	     "a:80",	  "1.2.3.4."};
	struct wm_instance_draft d = {.name = "web"};
	char *s = repeat('a', 254);

	for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
		d.address = good[i];
		cr_assert_str_eq(refused(&d), "", "%s", good[i]);
	}
	for (size_t i = 0; i < sizeof(any) / sizeof(any[0]); i++) {
		d.address = any[i];
		cr_assert_str_eq(refused(&d), "Invalid service address", "%s", any[i]);
	}
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
		d.address = bad[i];
		cr_assert_eq(strncmp(refused(&d), "Invalid service address: ", 25), 0, "%s",
			     bad[i]);
	}
	d.address = s;
	cr_assert_neq(*refused(&d), 0);
	free(s);
}

Test(validate, numbers)
{
	struct wm_instance_draft d = {.name = "web", .port = 65535};

	cr_assert_str_eq(refused(&d), "");
	d.port = 65536;
	cr_assert_str_eq(refused(&d), "Invalid Port: 65536 must be between 0 and 65535");
	d.port = 0;
	d.has_weights = true;
	cr_assert_str_eq(refused(&d), "Invalid Weights: Passing must be greater than 0");
	d.weight_passing = 65535; /* with Warning 0, which is fine */
	cr_assert_str_eq(refused(&d), "");
	d.weight_passing = (unsigned)-1;
	cr_assert_str_eq(refused(&d), "Invalid Weights: Passing must be greater than 0");
	d.weight_passing = 1;
	d.weight_warning = 65536;
	cr_assert_str_eq(refused(&d), "Invalid Weights: DNS Weight must be between 0 and 65535");
}

Test(validate, tags_and_ids)
{
	const char *tags[WM_TAGS_MAX + 1];
	char *l = repeat('t', 256);
	struct wm_instance_draft d = {.name = "web", .tags = tags, .tags_count = WM_TAGS_MAX};

	for (int i = 0; i <= WM_TAGS_MAX; i++)
		tags[i] = "t";
	cr_assert_str_eq(refused(&d), "");
	d.tags_count++;
	cr_assert_str_eq(refused(&d), "Tags: 65 given, at most 64 are allowed");
	d.tags_count = 1;
	tags[0] = l;
	cr_assert_str_eq(refused(&d), "Tag is too long (limit: 255 characters)");
	tags[0] = "a\nb";
	cr_assert_neq(*refused(&d), 0);
	tags[0] = "sch\xc3\xb6n";
	cr_assert_str_eq(refused(&d), "");
	d.id = l;
	cr_assert_str_eq(refused(&d), "Service ID is too long (limit: 255 characters)");
	d.id = "a\tb";
	cr_assert_neq(*refused(&d), 0);
	free(l);
}

Test(validate, metadata)
{
	struct wm_pair m[WM_META_PAIRS_MAX + 1] = {{mut("bad key!"), mut("v")}};
	struct wm_instance_draft d = {.name = "web", .meta = m, .meta_count = 1};
	char names[WM_META_PAIRS_MAX][8];
	char *l = repeat('v', 600), *k = repeat('k', 129);

	cr_assert_str_eq(refused(&d), "Invalid Service Meta: Couldn't load metadata pair ('bad "
				      "key!', 'v'): Key contains invalid characters");
	m[0].key = mut("k");
	m[0].value = l;
	cr_assert_not_null(strstr(refused(&d), "...'): Value is too long (limit: 512 characters)"));
	l[512] = 0;
	cr_assert_str_eq(refused(&d), "");
	m[0].key = k;
	cr_assert_not_null(strstr(refused(&d), "Key is too long (limit: 128 characters)"));
	m[0].key = mut("");
	cr_assert_not_null(strstr(refused(&d), "Key cannot be blank"));
	m[0].key = mut("a");
	m[1] = m[0];
	d.meta_count = 2;
	cr_assert_not_null(strstr(refused(&d), "Key is given twice"));
	for (unsigned n = 2; n < WM_META_PAIRS_MAX; n++) {
		m[n - 1].key = names[n];
		snprintf(names[n], sizeof(names[n]), "a%u", n);
		m[n] = m[0];
		d.meta_count = n + 1;
		cr_assert_not_null(strstr(refused(&d), "Key is given twice"), "%u", n);
		d.meta_count = n;
		cr_assert_str_eq(refused(&d), "", "%u", n);
	}
	d.meta_count = WM_META_PAIRS_MAX + 1;
	cr_assert_not_null(strstr(refused(&d), "more than 64 key/value pairs"));
	free(l);
	free(k);
}

Test(validate, timing_of_checks)
{
	struct wm_check_draft ttl = {.kind = WM_CHECK_TTL, .ttl_ms = 1};
	struct wm_check_draft tcp = {
		.kind = WM_CHECK_TCP, .target = "127.0.0.1:1", .interval_ms = 1};
	struct wm_check_draft c;

	cr_assert_str_eq(refused_check(ttl), "");
	cr_assert_str_eq(refused_check(tcp), "");
	c = ttl;
	c.interval_ms = 1;
	cr_assert_str_eq(refused_check(c),
			 "Invalid check: Interval and TTL cannot both be specified");
	c = tcp;
	c.interval_ms = 0;
	cr_assert_str_eq(refused_check(c),
			 "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP "
			 "or OSService checks");
	c = ttl;
	c.ttl_ms = 0;
	cr_assert_str_eq(refused_check(c), "Invalid check: TTL must be > 0 for TTL checks");
	c = tcp;
	c.failures_before_warning = 2;
	c.failures_before_critical = 1;
	cr_assert_str_eq(refused_check(c), "Invalid check: FailuresBeforeWarning can't be higher "
					   "than FailuresBeforeCritical");
	c = tcp;
	c.timeout_ms = WM_CHECK_DURATION_MAX_MS + 1;
	cr_assert_str_eq(refused_check(c), "Invalid check: Timeout must be <= 8784h");
	c = tcp;
	c.has_status = true;
	c.status = (enum wm_status)3;
	cr_assert_str_eq(refused_check(c),
			 "Status for checks must 'passing', 'warning', 'critical'");
}

Test(validate, targets_of_checks)
{
	static const char *const tcp_good[] = {"127.0.0.1:1", "[::1]:65535", "host:80"};
	static const char *const tcp_bad[] = {
		"",    "host",	 "host:0",  "host:65536", "::1:80", "[::1]", "[::1:80",
		":80", "a b:80", "host:8x", "[zz]:80",	  "host:",  "h:+1",  "h: 1"};
	static const char *const http_good[] = {"http://a", "https://a:8443/x?y=z#f",
						"HTTP://[::1]/", "http://u:p@a/",
						"http://10.0.0.1:80"};
	static const char *const http_bad[] = {
		"",	      "a",	     "ftp://a",		 "http://",	"http:///x",
		"http://a b", "http://a:0/", "http://a\r\nX: y", "http://[::1", "http://@/"};
	struct wm_check_draft c = {.kind = WM_CHECK_TCP, .interval_ms = 1};

	for (size_t i = 0; i < sizeof(tcp_good) / sizeof(char *); i++) {
		c.target = tcp_good[i];
		cr_assert_str_eq(refused_check(c), "", "%s", c.target);
	}
	for (size_t i = 0; i < sizeof(tcp_bad) / sizeof(char *); i++) {
		c.target = tcp_bad[i];
		cr_assert_neq(*refused_check(c), 0, "%s", c.target);
	}
	c.kind = WM_CHECK_HTTP;
	for (size_t i = 0; i < sizeof(http_good) / sizeof(char *); i++) {
		c.target = http_good[i];
		cr_assert_str_eq(refused_check(c), "", "%s", c.target);
	}
	for (size_t i = 0; i < sizeof(http_bad) / sizeof(char *); i++) {
		c.target = http_bad[i];
		cr_assert_neq(*refused_check(c), 0, "%s", c.target);
	}
}

Test(validate, targets_of_http2_checks)
{
	static const char *const good[] = {"127.0.0.1:1", "[::1]:65535", "host:80"};
	static const char *const grpc_good[] = {"a:1/", "a:1/my.pkg.Service", "[::1]:1/x/y"};
	static const char *const bad[] = {"",	   "host",    "host:0", "http://a:1", "a:1 ",
					  "a b:1", "a:1/a b", "a:1/\n", "/a:1",	      ":1"};
	static const enum wm_check_kind kinds[] = {WM_CHECK_GRPC, WM_CHECK_H2PING};

	for (unsigned k = 0; k < 2; k++) {
		struct wm_check_draft c = {.kind = kinds[k], .interval_ms = 1};

		for (size_t i = 0; i < sizeof(good) / sizeof(char *); i++) {
			c.target = good[i];
			cr_assert_str_eq(refused_check(c), "", "%s", c.target);
		}
		for (size_t i = 0; i < sizeof(grpc_good) / sizeof(char *); i++) {
			c.target = grpc_good[i];
			cr_assert_eq(!*refused_check(c), !k, "%s", c.target);
		}
		for (size_t i = 0; i < sizeof(bad) / sizeof(char *); i++) {
			c.target = bad[i];
			cr_assert_neq(*refused_check(c), 0, "%s", c.target);
		}
		c.target = good[0];
		c.interval_ms = 0;
		cr_assert_str_eq(refused_check(c),
				 "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, "
				 "TCP, UDP or OSService checks");
	}
}

Test(validate, scripts_and_aliases)
{
	static char longest[WM_CHECK_ARGS_OCTETS + 2];
	const char *args[WM_CHECK_ARGS_MAX + 1] = {"a", longest};
	struct wm_check_draft c = {.kind = WM_CHECK_SCRIPT,
				   .name = "c",
				   .args = args,
				   .args_count = 2,
				   .interval_ms = 1,
				   .scripts = WM_SCRIPTS_ALLOWED};
	struct wm_check_draft alias = {.kind = WM_CHECK_ALIAS, .name = "a", .target = ""};
	struct wm_err e = {0};

	memset(longest, 'x', WM_CHECK_ARGS_OCTETS - 1);
	cr_assert_eq(wm_check_draft_validate(&c, &e), 0, "%s", e.text);
	longest[WM_CHECK_ARGS_OCTETS - 1] = 'x';
	cr_assert_eq(wm_check_draft_validate(&c, &e), WM_E_LIMIT);
	longest[0] = 0;
	for (unsigned i = 2; i <= WM_CHECK_ARGS_MAX; i++)
		args[i] = "";
	c.args_count = WM_CHECK_ARGS_MAX;
	cr_assert_eq(wm_check_draft_validate(&c, &e), 0, "%s", e.text);
	c.args_count++;
	cr_assert_eq(wm_check_draft_validate(&c, &e), WM_E_LIMIT);
	cr_assert_str_eq(e.text, "Invalid check: ScriptArgs: 65 given, at most 64 are allowed");
	args[0] = "";
	c.args_count = 1;
	cr_assert_eq(wm_check_draft_validate(&c, &e), WM_E_INVALID);

	cr_assert_eq(wm_check_draft_validate(&alias, &e), 0, "%s", e.text);
	alias.ttl_ms = 1;
	cr_assert_eq(wm_check_draft_validate(&alias, &e), WM_E_INVALID);
	alias.ttl_ms = 0;
	alias.interval_ms = 1;
	cr_assert_eq(wm_check_draft_validate(&alias, &e), WM_E_INVALID);
	cr_assert_str_eq(e.text, "Invalid check: Interval cannot be set for Alias checks");
	alias.interval_ms = 0;
	memset(longest, 'x', WM_INSTANCE_ID_MAX + 1);
	longest[WM_INSTANCE_ID_MAX + 1] = 0;
	alias.target = longest;
	cr_assert_eq(wm_check_draft_validate(&alias, &e), WM_E_LIMIT);
}

Test(validate, http_details_of_checks)
{
	struct wm_pair h = {mut("X-A"), mut("1")};
	struct wm_check_draft good = {.kind = WM_CHECK_HTTP,
				      .target = "http://a",
				      .interval_ms = 1,
				      .method = "GET",
				      .headers = &h,
				      .headers_count = 1};
	struct wm_check_draft c = good;

	cr_assert_str_eq(refused_check(c), "");
	c.method = "GET /\r\n";
	cr_assert_neq(*refused_check(c), 0);
	c = good;
	h.value = mut("1\r\nEvil: 2");
	cr_assert_neq(*refused_check(c), 0);
	h.value = mut("1");
	h.key = mut("X A");
	cr_assert_neq(*refused_check(c), 0);
	h.key = mut("X-A");
	c.headers_count = WM_CHECK_HEADERS_MAX + 1;
	cr_assert_neq(*refused_check(c), 0);
	c = good;
	c.tls_server_name = "a b";
	cr_assert_neq(*refused_check(c), 0);
}

Test(validate, number_and_ids_of_checks)
{
	struct wm_check_draft c[WM_CHECKS_PER_INSTANCE + 1];
	struct wm_instance_draft d = {.name = "web", .checks = c, .checks_count = 2};

	for (int i = 0; i <= WM_CHECKS_PER_INSTANCE; i++)
		c[i] = (struct wm_check_draft){.kind = WM_CHECK_TTL, .ttl_ms = 1};
	cr_assert_str_eq(refused(&d), "");
	c[0].id = c[1].id = "same";
	cr_assert_str_eq(refused(&d), "Invalid check: CheckID \"same\" is given twice");
	c[0].id = c[1].id = NULL;
	d.checks_count = WM_CHECKS_PER_INSTANCE + 1;
	cr_assert_str_eq(refused(&d), "Checks: 33 given, at most 32 are allowed");
}

Test(validate, a_lifecycle_is_one_that_can_be_stated)
{
	struct wm_instance_draft d = {.name = "web", .lifecycle = WM_LIFE_STOPPED};

	cr_assert_str_eq(refused(&d), "");
	d.lifecycle = WM_LIFE_UNHEALTHY;
	cr_assert_str_eq(refused(&d), "lifecycle must be starting, running, stopping or stopped");
}

Test(model, words)
{
	enum wm_status s = WM_CRITICAL;

	cr_assert_eq(wm_status_parse("passing", &s), 0);
	cr_assert_eq(s, WM_PASSING);
	cr_assert_lt(wm_status_parse("fine", &s), 0);
	cr_assert_lt(wm_status_parse(NULL, &s), 0);
	cr_assert_eq(s, WM_PASSING);
	cr_assert_str_eq(wm_status_str(WM_WARNING), "warning");
	cr_assert_str_eq(wm_check_kind_str(WM_CHECK_HTTP), "http");
}
