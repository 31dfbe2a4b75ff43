/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store */
/* test_policy.c - policies by themselves: what may be, copies, and their records. */
#include "userspace/model/policy.h"
#include "userspace/store/record.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct wm_policy_draft d;

static void *add(const char *section)
{
	for (unsigned n = 0; n < wm_policy_sections_count; n++) {
		if (strcmp(wm_policy_sections[n].name, section) == 0)
			return wm_policy_draft_add(&d, &wm_policy_sections[n]);
	}
	cr_assert_fail("no section %s", section);
	return NULL;
}

static void subset(const char *name, const char *filter)
{
	struct wm_policy_subset *s = add("subsets");

	cr_assert_not_null(s);
	s->name = name;
	s->filter = filter;
}

static void split(uint32_t percent, const char *service, const char *of)
{
	struct wm_policy_split *s = add("split");

	cr_assert_not_null(s);
	*s = (struct wm_policy_split){percent, service, of};
}

static void failover(const char *service, const char *of, const char *region)
{
	struct wm_policy_target *t = add("failover");

	cr_assert_not_null(t);
	*t = (struct wm_policy_target){
		.of = "", .service = service, .subset = of, .region = region};
}

/* One that has something of every section. */
static void full(void)
{
	wm_policy_draft_init(&d, "Web");
	d.p.select = WM_SELECT_NEAREST;
	d.p.nearest.region = "eu";
	d.p.balance = WM_BALANCE_MAGLEV;
	d.p.hash_on = WM_HASH_ON_UID;
	d.p.affinity.key = 1 + WM_HASH_ON_CGROUP;
	d.p.outlier.failures = 0;
	d.p.outlier.listener_notice = 0;
	d.p.close_on_down = 1;
	subset("v1", "Service.Meta.version == \"1\"");
	subset("v2", "");
	split(9950, "", "v1");
	split(50, "other", "");
	failover("", "v2", "");
	failover("", "", "us");
	*(struct wm_policy_port *)add("ports") = (struct wm_policy_port){80, "http"};
	*(struct wm_policy_meta *)add("meta") =
		(struct wm_policy_meta){WM_POLICY_SPLITTER, "k", "v"};
	d.p.resolver = 1;
}

static const char *refusal(void)
{
	static struct wm_err e;

	e.text[0] = 0;
	return wm_policy_validate(&d.p, &e) ? e.text : "";
}

Test(policy, what_asks_for_nothing_is_one)
{
	wm_policy_draft_init(&d, "web");
	cr_assert_str_eq(refusal(), "");
	cr_assert_eq(d.p.nearest.overprovisioning, 140);
	cr_assert_eq(d.p.outlier.base, 10);
	cr_assert_eq(d.p.outlier.listener_notice, 1);
	full();
	cr_assert_str_eq(refusal(), "");
}

#define REFUSED(text)                                                                              \
	do {                                                                                       \
		cr_expect_str_eq(refusal(), text);                                                 \
		full();                                                                            \
	} while (0)

Test(policy, each_refusal_names_field_value_and_what_is_allowed)
{
	full();
	d.p.panic_threshold = 101;
	REFUSED("panic_threshold: \"101\" is not allowed: 0 to 100");
	d.p.nearest.overprovisioning = 99;
	REFUSED("nearest.overprovisioning: \"0.99\" is not allowed: 1 to 100");
	d.p.affinity.timeout = 0;
	REFUSED("affinity.timeout: \"0\" is not allowed: 1 to 65535 seconds");
	d.subsets[1].name = "v_2";
	REFUSED("subsets: \"v_2\" is not allowed: a name is a label of DNS: letters, digits and "
		"dashes, 1 to 63 of them");
	d.subsets[1].name = "V1";
	REFUSED("subsets: \"V1\" is not allowed: it is there twice");
	d.splits[1].percent = 49;
	REFUSED("split: \"99.99\" is not allowed: the percents together must be 100");
	d.splits[1].subset = "v9";
	d.splits[1].service = "";
	REFUSED("split[1].subset: \"v9\" is not allowed: it must be one of subsets");
	d.failover[0].subset = "";
	REFUSED("failover[0]: \"\" is not allowed: it must name a service, a subset or a region");
	d.failover[0].of = "v9";
	REFUSED("failover[0].of: \"v9\" is not allowed: it must be one of subsets");
	d.p.redirect.service = "other";
	REFUSED("redirect: \"other\" is not allowed: what is redirected has no split, failover or "
		"subsets of its own");
	d.p.default_subset = "v3";
	REFUSED("default_subset: \"v3\" is not allowed: it must be one of subsets");
	d.p.balance = WM_BALANCE_RANDOM;
	REFUSED("hash_on: \"uid\" is not allowed: it has an effect with balance \"maglev\" only");
	d.p.balance = WM_BALANCE_CUSTOM;
	d.p.hash_on = 0;
	REFUSED("custom: \"\" is not allowed: balance \"custom\" needs the name of a function");
	d.p.custom = "mine";
	REFUSED("custom: \"mine\" is not allowed: it has an effect with balance \"custom\" only");
	d.p.select = WM_SELECT_ALL;
	REFUSED("nearest.region: \"eu\" is not allowed: it has an effect with select \"nearest\" "
		"only");
	d.p.select = WM_SELECT_FAILOVER;
	d.p.nearest.region = "";
	d.p.failover_count = 0;
	REFUSED("select: \"failover\" is not allowed: there must be targets in failover");
	d.p.outlier.base = 301;
	REFUSED("outlier.base: \"301s\" is not allowed: at most outlier.longest, 300s");
	d.ports[0].port = 0;
	REFUSED("ports.0.port: \"0\" is not allowed: 1 to 65535");
	d.p.service = "we\nb";
	REFUSED("service: \"we\nb\" is not allowed: 1 to 255 octets without control characters "
		"are");
	d.p.protocol = "a protocol whose name is too long";
	REFUSED("protocol: \"a protocol whose name is too long\" is not allowed: at most 32 octets "
		"are");
}

Test(policy, lists_have_bounds)
{
	full();
	while (add("split"))
		;
	cr_assert_eq(d.p.splits_count, WM_POLICY_SPLITS_MAX);
	d.p.ports_count = WM_POLICY_PORTS_MAX + 1;
	cr_assert_str_eq(refusal(), "ports: 33 are too many: at most 32 are allowed");
}

Test(policy, a_redirect_leads_elsewhere)
{
	wm_policy_draft_init(&d, "web");
	d.p.redirect.service = "WEB";
	cr_assert_str_eq(refusal(), "redirect.service: \"WEB\" is not allowed: it must be another "
				    "service, or a region");
	d.p.redirect.region = "us";
	cr_assert_str_eq(refusal(), "");
}

Test(policy, a_copy_stands_alone_in_lower_case)
{
	struct wm_policy *a, *b;
	char text[8] = "eu";

	full();
	d.p.nearest.region = text;
	a = wm_policy_copy(&d.p);
	cr_assert_not_null(a);
	cr_assert(wm_policy_same(a, &d.p));
	strcpy(text, "us");
	cr_assert_not(wm_policy_same(a, &d.p));
	cr_assert_str_eq(a->service, "web");
	cr_assert_str_eq(a->nearest.region, "eu");
	cr_assert_str_eq(wm_policy_subset(a, "V1")->filter, "Service.Meta.version == \"1\"");
	cr_assert_null(wm_policy_subset(a, "v3"));
	b = wm_policy_copy(a);
	cr_assert(wm_policy_same(a, b));
	wm_policy_draft_of(&d, b);
	d.splits[0].percent = 1;
	cr_assert_not(wm_policy_same(&d.p, b));
	cr_assert(wm_policy_same(a, b));
	wm_policy_free(a);
	wm_policy_free(b);
}

Test(policy, a_record_holds_all_of_it)
{
	static const struct wm_peer_id writer = {{7}};
	struct wm_policy_draft got;
	const char *why = "";
	struct wm_buf b;
	struct wm_policy *p;

	full();
	d.p.version = (struct wm_version){.origin = WM_ORIGIN_SHARED, .seq = 99, .writer = writer};
	d.p.create_index = 5;
	d.p.modify_index = 6;
	d.p.row = 9;
	wm_buf_init(&b, WM_RECORD_MAX);
	cr_assert_eq(wm_record_put_policy(&b, &d.p, false), 0);
	cr_assert_eq(wm_record_open(b.data, b.len, 9, WM_RECORD_POLICY, &why), 0, "%s", why);
	cr_assert_eq(b.data[2], WM_RECORD_VERSION_POLICY);
	cr_assert_eq(wm_record_get_policy(b.data + WM_RECORD_HEAD, b.len - WM_RECORD_HEAD, &got),
		     0);
	cr_assert(wm_policy_same(&got.p, &d.p));
	cr_assert_eq(got.p.version.seq, 99);
	cr_assert(wm_peer_id_same(&got.p.version.writer, &writer));
	cr_assert_eq(got.p.modify_index, 6);
	p = wm_policy_copy(&got.p);
	for (size_t n = WM_RECORD_HEAD; n < b.len; n++) /* what is cut off is none */
		cr_assert_neq(
			wm_record_get_policy(b.data + WM_RECORD_HEAD, n - WM_RECORD_HEAD, &got), 0,
			"%zu octets", n);
	/* to others it is the same whoever has it */
	cr_assert_eq(wm_record_put_policy(&b, &d.p, true), 0);
	cr_assert_eq(wm_record_open(b.data, b.len, 0, WM_RECORD_POLICY, &why), 0);
	cr_assert_eq(wm_record_get_policy(b.data + WM_RECORD_HEAD, b.len - WM_RECORD_HEAD, &got),
		     0);
	cr_assert_eq(got.p.create_index, 0);
	cr_assert_eq(got.p.version.seq, 0);
	cr_assert(wm_policy_same(p, &got.p));
	wm_policy_free(p);
	wm_buf_done(&b);
}

Test(policy, a_prepared_query_has_a_key_of_its_own)
{
	static const char key[] = WM_QUERY_KEY "f066d9f3-cbf1-4c7c-8d2b-0a1b2c3d4e5f";
	struct wm_policy_draft got;
	struct wm_policy_term *t;
	struct wm_policy *p;
	struct wm_buf b;

	wm_policy_draft_init(&d, key);
	d.p.query.id = key + 1;
	d.p.query.name = "geo";
	cr_assert_str_eq(refusal(), "Must provide a Service name to query");
	d.p.query.service = "web";
	d.p.query.prefix = 1;
	t = add("terms");
	*t = (struct wm_policy_term){WM_QUERY_NODE_META, "rack", "b4"};
	cr_assert_str_eq(refusal(), "");
	cr_assert(wm_policy_is_query(&d.p));
	p = wm_policy_copy(&d.p);
	wm_buf_init(&b, WM_RECORD_MAX);
	cr_assert_eq(wm_record_put_policy(&b, p, true), 0);
	cr_assert_eq(wm_record_get_policy(b.data + WM_RECORD_HEAD, b.len - WM_RECORD_HEAD, &got),
		     0);
	cr_assert(wm_policy_same(p, &got.p));
	cr_assert_str_eq(got.p.terms[0].value, "b4");
	d.p.query.id = "f066d9f3-cbf1-4c7c-8d2b-0a1b2c3d4e50";
	cr_assert_str_eq(refusal(), "query: it has another's key");
	d.p.service = "web";
	cr_assert_str_eq(refusal(), "query: it has the key of a policy");
	d.p.service = WM_QUERY_KEY "none";
	cr_assert_str_eq(refusal() + strlen("service: \"\1none\" is not allowed: "),
			 "1 to 255 octets without control characters are");
	wm_policy_free(p);
	wm_buf_done(&b);
}
