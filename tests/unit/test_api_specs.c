/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Services of a source over HTTP: what explain says of their names, without a data plane. */
#include "api_help.h"
#include "spec_help.h"

static void setup(void)
{
	api_setup();
	api_start();
}

static void teardown(void)
{
	api_stop();
}
TestSuite(api_specs, .init = setup, .fini = teardown, .timeout = 300);

/* @return the first step's text. */
static const char *named(const char *query)
{
	static char text[512], path[256];
	json_t *doc;

	snprintf(path, sizeof(path), "/v1/waymark/explain/connect?name=%s", query);
	cr_assert_eq(get(path), 200, "%s: %s", path, one.body);
	doc = json_loads(one.body, 0, NULL);
	snprintf(text, sizeof(text), "%s: %s",
		 json_string_value(
			 json_object_get(json_array_get(json_object_get(doc, "steps"), 0), "text")),
		 json_string_value(json_object_get(doc, "verdict")));
	json_decref(doc);
	return text;
}

Test(api_specs, explain_knows_a_service_by_its_key)
{
	struct wm_service_spec s = spec_of("default/web", "10.96.0.10");

	cr_assert_eq(get("/v1/waymark/explain/connect?name=default/web"), 404);
	cr_assert_eq(wm_registry_spec_put(registry, &s, NULL), 1);
	turns(1);
	cr_expect_str_eq(named("default/web&port=80"),
			 "default/web is 10.96.0.10, its cluster address, says source kubernetes: "
			 "not steered");
	cr_expect_str_eq(named("Default/Web&family=6"),
			 "default/web is fd00:10:96::1, its cluster address, says source "
			 "kubernetes: not steered");
	s.addresses_count = 1;
	cr_assert_eq(wm_registry_spec_put(registry, &s, NULL), 1);
	cr_expect_str_eq(named("default/web&family=6"),
			 "default/web has no address of IPv6, says source kubernetes: no address");
	s.headless = true;
	cr_assert_eq(wm_registry_spec_put(registry, &s, NULL), 1);
	cr_expect(strstr(named("default/web"), "is headless"));
	s.headless = false;
	s.external_name = "example.com";
	cr_assert_eq(wm_registry_spec_put(registry, &s, NULL), 1);
	cr_expect(strstr(named("default/web"), "is the name example.com of DNS"));
}

/* As kube-proxy does; explain and prepared queries say so as the tables do. */
Test(api_specs, who_is_stopping_is_asked_where_nobody_else_is_there)
{
	struct wm_service_spec s = spec_of("web", "10.96.0.10");

	must_put("/v1/agent/service/register", "{\"Name\":\"web\",\"Address\":\"10.1.0.1\","
					       "\"Port\":80}");
	cr_assert_eq(ask("POST", "/v1/query", "{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}"),
		     200, "%s", one.body);
	must_put("/v1/waymark/instances/web/lifecycle?state=stopping", NULL);
	cr_assert_eq(get("/v1/query/q/execute"), 200);
	cr_expect(strstr(one.body, "\"Nodes\":[]"), "%s", one.body);
	cr_assert_eq(wm_registry_spec_put(registry, &s, NULL), 1);
	cr_assert_eq(get("/v1/query/q/execute"), 200);
	cr_expect(strstr(one.body, "\"ID\":\"web\""), "%s", one.body);
	cr_assert_eq(get("/v1/waymark/policies/web/explain"), 200);
	cr_expect(strstr(one.body, "\"when_none\":\"draining\",\"verdict\":\"a draining one is "
				   "chosen\""),
		  "%s", one.body);
}
