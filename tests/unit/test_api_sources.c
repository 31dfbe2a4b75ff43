/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* test_api_sources.c - sources over HTTP, and services of a scope as Consul's clients ask for them.
 */
#include "api_help.h"
#include "userspace/source/source.h"

static struct wm_source *kubernetes;

static void setup(void)
{
	static const struct wm_source_config c = {.name = "kubernetes", .prefix = "k8s"};

	api_setup();
	api_start();
	cr_assert_eq(wm_source_new(sources, &c, &kubernetes, NULL), 0);
}

static void teardown(void)
{
	one_close();
	api_stop();
}

TestSuite(api_sources, .init = setup, .fini = teardown, .timeout = 300);

static void pod(const char *id, const char *service)
{
	struct wm_instance_draft d = {
		.id = id, .name = service, .address = "10.2.0.1", .port = 8080};

	cr_assert_eq(wm_source_put(kubernetes, "a", &d, WM_PASSING, WM_LIFE_RUNNING), 0);
	UNTIL(wm_registry_node_named(registry, "k8s-a") &&
	      wm_node_instance(wm_registry_node_named(registry, "k8s-a"), id));
}

static json_t *answer(void)
{
	json_t *j = json_loads(one.body, 0, NULL);

	cr_assert_not_null(j, "%s", one.body);
	return j;
}

static size_t listed(void)
{
	json_t *all = answer();
	size_t n = json_is_array(all) ? json_array_size(all) : json_object_size(all);

	json_decref(all);
	return n;
}

static const char *text_of(const json_t *j, const char *key)
{
	const char *s = json_string_value(json_object_get(j, key));

	return s ? s : "";
}

Test(api_sources, each_says_how_it_is)
{
	json_t *all, *s;

	pod("p1", "default/web");
	wm_source_state(kubernetes, WM_SOURCE_WATCHING, "");
	wm_source_count(kubernetes, WM_SOURCE_COUNT_relists, 3);
	cr_assert_eq(get("/v1/waymark/sources"), 200);
	all = answer();
	cr_assert_eq(json_array_size(all), 1);
	s = json_array_get(all, 0);
	cr_assert_str_eq(text_of(s, "name"), "kubernetes");
	cr_assert_str_eq(text_of(s, "state"), "watching");
	cr_assert_str_eq(text_of(s, "alarm"), "");
	cr_assert_eq(json_integer_value(json_object_get(s, "instances")), 1);
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(s, "counters"), "relists")),
		     3);
	json_decref(all);
	cr_assert_eq(get("/v1/agent/metrics?format=prometheus"), 200);
	cr_assert(strstr(one.body, "waymark_source_instances{source=\"kubernetes\"} 1\n"));
	cr_assert(strstr(one.body, "waymark_source_up{source=\"kubernetes\"} 1\n"));
	cr_assert(strstr(one.body, "waymark_source_relists_total{source=\"kubernetes\"} 3\n"));
}

Test(api_sources, what_is_held_is_released)
{
	char id[16];

	for (unsigned n = 0; n < 20; n++) {
		snprintf(id, sizeof(id), "p%u", n);
		pod(id, "default/web");
	}
	wm_source_list_begin(kubernetes);
	wm_source_list_end(kubernetes);
	cr_assert_eq(get("/v1/agent/metrics?format=prometheus"), 200);
	cr_assert(strstr(one.body, "waymark_source_holding{source=\"kubernetes\"} 20\n"));
	cr_assert(strstr(one.body, "waymark_source_alarm{source=\"kubernetes\"} 1\n"));
	cr_assert_eq(put("/v1/waymark/sources/kubernetes/release", ""), 200);
	cr_assert(strstr(one.body, "\"released\":20"), "%s", one.body);
	UNTIL(!wm_registry_service(registry, "default/web"));
	cr_assert_eq(put("/v1/waymark/sources/nobody/release", ""), 404);
}

static void found(const char *path, const char *service, const char *ns)
{
	json_t *all, *s;

	cr_assert_eq(get(path), 200, "%s: %s", path, one.body);
	all = answer();
	cr_assert_eq(json_array_size(all), service ? 1 : 0, "%s: %s", path, one.body);
	s = json_array_get(all, 0);
	s = json_object_get(s, "Service") ? json_object_get(s, "Service") : s;
	if (service) {
		cr_assert_str_eq(*text_of(s, "ServiceName") ? text_of(s, "ServiceName")
							    : text_of(s, "Service"),
				 service, "%s", one.body);
		cr_assert_str_eq(text_of(s, "Namespace"), ns, "%s", one.body);
	}
	json_decref(all);
}

Test(api_sources, ns_is_the_scope_of_a_service)
{
	pod("p1", "team/web");
	found("/v1/health/service/web?ns=team", "web", "team");
	found("/v1/health/service/team/web", "web", "team");
	found("/v1/catalog/service/web?ns=team", "web", "team");
	found("/v1/health/service/web?ns=other", NULL, NULL);
	found("/v1/health/service/web", NULL, NULL);
	cr_assert_eq(get("/v1/agent/health/service/name/web?ns=team"), 404, "on another node");
	cr_assert_eq(get("/v1/health/service/web?ns=a.b"), 400);
	cr_assert(strstr(one.body, "ns"), "%s", one.body);
	cr_assert_eq(get("/v1/catalog/nodes?ns=team"), 400);
}

/* What Consul's clients say of whatever has no namespace. */
Test(api_sources, ns_default_is_the_scope_of_that_name_or_none)
{
	must_put(REGISTER, "{\"Name\":\"web\"}");
	found("/v1/health/service/web?ns=default", "web", "");
	pod("p1", "default/web");
	found("/v1/health/service/web?ns=default", "web", "default");
	found("/v1/health/service/web", "web", "");
}

Test(api_sources, services_of_a_scope_are_listed)
{
	json_t *all;

	must_put(REGISTER, "{\"Name\":\"api\"}");
	pod("p1", "team/web");
	cr_assert_eq(get("/v1/catalog/services?ns=team"), 200);
	all = answer();
	cr_assert_eq(json_object_size(all), 1, "%s", one.body);
	cr_assert_not_null(json_object_get(all, "web"));
	json_decref(all);
	cr_assert_eq(get("/v1/catalog/services"), 200);
	all = answer();
	cr_assert_not_null(json_object_get(all, "team/web"));
	cr_assert_not_null(json_object_get(all, "api"));
	json_decref(all);
}

Test(api_sources, what_is_registered_here_is_listed_by_its_scope)
{
	must_put(REGISTER, "{\"Name\":\"api\",\"Check\":{\"TTL\":\"1m\"}}");
	must_put(REGISTER, "{\"Name\":\"db\",\"Namespace\":\"team\",\"Check\":{\"TTL\":\"1m\"}}");
	cr_assert_eq(get("/v1/agent/services?ns=team"), 200);
	cr_assert_eq(listed(), 1, "%s", one.body);
	cr_assert_eq(get("/v1/agent/checks?ns=team"), 200);
	cr_assert_eq(listed(), 1, "%s", one.body);
	cr_assert_eq(get("/v1/agent/services?ns=other"), 200);
	cr_assert_eq(listed(), 0, "%s", one.body);
	cr_assert_eq(get("/v1/agent/services?ns=default"), 200);
	cr_assert_geq(listed(), 2, "where it means nothing: %s", one.body);
	/* who has no such thing says so */
	cr_assert_eq(get("/v1/health/state/any?ns=team"), 400);
	cr_assert_eq(get("/v1/config/service-resolver?ns=team"), 400);
	cr_assert_neq(get("/v1/catalog/nodes?filter=Namespace%3D%3Dteam"), 200);
	cr_assert(strstr(one.body, "Namespace"), "%s", one.body);
	cr_assert_eq(put("/v1/config", "{\"Kind\":\"service-resolver\",\"Name\":\"web\","
				       "\"Namespace\":\"team\"}"),
		     400);
	cr_assert(strstr(one.body, "Namespace"), "%s", one.body);
}

Test(api_sources, filters_know_the_namespace)
{
	must_put(REGISTER, "{\"Name\":\"db\",\"Check\":{\"TTL\":\"1m\"}}");
	must_put(REGISTER, "{\"ID\":\"db-2\",\"Name\":\"db\",\"Namespace\":\"team\","
			   "\"Check\":{\"TTL\":\"1m\"}}");
	cr_assert_eq(get("/v1/agent/services?filter=Namespace%3D%3Dteam"), 200, "%s", one.body);
	cr_assert_eq(listed(), 1, "%s", one.body);
	cr_assert_eq(get("/v1/agent/checks?filter=Namespace%3D%3Dteam"), 200, "%s", one.body);
	cr_assert_eq(listed(), 1, "%s", one.body);
	cr_assert_eq(get("/v1/health/state/any?filter=Namespace%3D%3Dteam"), 200, "%s", one.body);
	cr_assert_eq(listed(), 1, "%s", one.body);
	found("/v1/catalog/service/db?ns=team&filter=Namespace%3D%3Dteam", "db", "team");
	found("/v1/catalog/service/db?ns=team&filter=Namespace%3D%3Dother", NULL, NULL);
	found("/v1/health/service/db?ns=team&filter=Service.Namespace%3D%3Dteam", "db", "team");
	cr_assert_eq(get("/v1/catalog/services?filter=Namespace%3D%3Dteam"), 200, "%s", one.body);
	cr_assert_eq(listed(), 1, "%s", one.body);
}

Test(api_sources, a_body_names_its_scope)
{
	must_put(REGISTER, "{\"Name\":\"db\",\"Namespace\":\"team\"}");
	cr_assert_not_null(wm_registry_service(registry, "team/db"));
	found("/v1/health/service/db?ns=team", "db", "team");
	must_put(REGISTER, "{\"Name\":\"db\",\"Namespace\":\"default\"}");
	cr_assert_not_null(wm_registry_service(registry, "db"));
	cr_assert_eq(put(REGISTER, "{\"Name\":\"db\",\"Namespace\":\"a.b\"}"), 400);
	cr_assert_eq(put("/v1/catalog/register",
			 "{\"Node\":\"far\",\"Address\":\"192.0.2.1\",\"Service\":{\"Service\":"
			 "\"db\",\"Namespace\":\"other\",\"Port\":1}}"),
		     200, "%s", one.body);
	found("/v1/catalog/service/db?ns=other", "db", "other");
}
