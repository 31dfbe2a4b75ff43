/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* What clients ask about a node and the agent on it; shapes and statuses as a real Consul answers.
 */
#include "api_help.h"

static void setup(void)
{
	api_setup();
	api_start();
}

static void teardown(void)
{
	one_close();
	api_stop();
}

TestSuite(node, .init = setup, .fini = teardown, .timeout = 300);

static void web(const char *id, const char *status)
{
	char body[256];

	snprintf(body, sizeof(body),
		 "{\"ID\":\"%s\",\"Name\":\"web\",\"Check\":{\"CheckID\":\"c-%s\",\"TTL\":\"1h\","
		 "\"Status\":\"%s\"}}",
		 id, id, status);
	must_put(REGISTER, body);
}

static json_t *answer(const char *path, int status)
{
	json_t *v;

	cr_assert_eq(get(path), status, "%s: %d", path, one.status);
	v = json_loads(one.body, JSON_DECODE_ANY, NULL);
	cr_assert(v, "%s: %s", path, one.body);
	return v;
}

Test(node, a_member_is_this_agent)
{
	json_t *v = answer("/v1/agent/members", 200), *m = json_array_get(v, 0);

	cr_assert_eq(json_array_size(v), 1);
	cr_assert_str_eq(json_string_value(json_object_get(m, "Name")), "n1");
	cr_assert_eq(json_integer_value(json_object_get(m, "Status")), 1);
	cr_assert(json_is_integer(json_object_get(m, "ProtocolCur")));
	json_decref(v);
	v = answer("/v1/agent/version", 200);
	cr_assert(json_is_string(json_object_get(v, "HumanVersion")));
	json_decref(v);
}

Test(node, health_of_an_instance_is_its_status)
{
	static const struct {
		const char *status;
		int code;
	} cases[] = {{"passing", 200}, {"warning", 429}, {"critical", 503}};
	json_t *v;

	for (unsigned i = 0; i < 3; i++) {
		web("w", "passing");
		must_put("/v1/agent/check/update/c-w", i == 0	? "{\"Status\":\"passing\"}"
						       : i == 1 ? "{\"Status\":\"warning\"}"
								: "{\"Status\":\"critical\"}");
		v = answer("/v1/agent/health/service/id/w", cases[i].code);
		cr_assert_str_eq(json_string_value(json_object_get(v, "AggregatedStatus")),
				 cases[i].status);
		cr_assert_eq(json_array_size(json_object_get(v, "Checks")), 1);
		json_decref(v);
		cr_assert_eq(get("/v1/agent/health/service/id/w?format=text"), cases[i].code);
		cr_assert_str_eq(one.body, cases[i].status);
	}
	cr_assert_eq(get("/v1/agent/health/service/id/w?format=xml"), 400);
	v = answer("/v1/agent/health/service/id/none", 404);
	cr_assert(json_is_null(json_object_get(v, "Service")));
	json_decref(v);
}

Test(node, health_of_a_service_is_its_worst)
{
	json_t *v;

	web("w1", "passing");
	web("w2", "warning");
	v = answer("/v1/agent/health/service/name/web", 429);
	cr_assert_eq(json_array_size(v), 2);
	json_decref(v);
	v = answer("/v1/agent/health/service/name/none", 404);
	cr_assert_eq(json_array_size(v), 0);
	json_decref(v);
}

Test(node, a_node_in_the_catalog)
{
	json_t *v;

	web("w1", "passing");
	web("w2", "critical");
	v = answer("/v1/catalog/node/N1", 200);
	cr_assert_str_eq(json_string_value(json_object_get(json_object_get(v, "Node"), "Node")),
			 "n1");
	cr_assert(json_object_get(json_object_get(v, "Services"), "w2"));
	json_decref(v);
	v = answer("/v1/catalog/node-services/n1", 200);
	cr_assert_eq(json_array_size(json_object_get(v, "Services")), 2);
	json_decref(v);
	v = answer("/v1/catalog/node/other", 200);
	cr_assert(json_is_null(v));
	json_decref(v);
	v = answer("/v1/health/node/n1", 200);
	cr_assert_eq(json_array_size(v), 3, "the node's own check and two");
	json_decref(v);
	v = answer("/v1/health/node/other", 200);
	cr_assert_eq(json_array_size(v), 0);
	json_decref(v);
}

/* A stub that answers at once makes Fabio ask in a hot loop. */
Test(node, a_key_is_not_there_and_blocks)
{
	struct client c;
	char path[256];

	cr_assert_eq(get("/v1/kv/fabio/config"), 404);
	snprintf(path, sizeof(path), "/v1/kv/fabio/config?recurse&wait=300ms&index=%s",
		 header(&one, "X-Consul-Index"));
	client_open(&c);
	client_send(&c, "GET", path, NULL);
	turns(5);
	cr_assert(!client_has(&c));
	UNTIL(client_has(&c));
	cr_assert_eq(c.status, 404);
	cr_assert(header(&c, "X-Consul-Index"));
	client_close(&c);
}

/* --- instances of all services ---------------------------------------------------------------- */
Test(node, instances_by_filter_and_its_plan)
{
	must_put(REGISTER,
		 "{\"ID\":\"w1\",\"Name\":\"web\",\"Tags\":[\"blue\"],\"Meta\":{\"v\":\"1\"}}");
	must_put(REGISTER, "{\"ID\":\"w2\",\"Name\":\"web\",\"Tags\":[\"blue\"]}");
	must_put(REGISTER, "{\"ID\":\"d1\",\"Name\":\"db\",\"Tags\":[\"blue\"]}");
	cr_assert_eq(get("/v1/waymark/instances?filter=blue+in+Service.Tags&limit=2"), 200);
	cr_assert(strstr(one.body, "\"returned\":2,\"matched\":3}"), "%s", one.body);
	cr_assert_eq(get("/v1/waymark/instances?filter=Service.Meta.v==1"), 200);
	cr_assert(strstr(one.body, "\"ID\":\"w1\"") && strstr(one.body, "\"matched\":1}"));
	cr_assert_eq(get("/v1/waymark/instances"), 200);
	cr_assert(strstr(one.body, "\"returned\":3,\"matched\":3}"));
	cr_assert_eq(get("/v1/waymark/instances?explain&filter=Service.Service==web+and+"
			 "Service.Port==0+and+blue+in+Service.Tags"),
		     200);
	cr_assert(strstr(one.body, "{\"selector\":\"Service.Service\",\"operator\":\"Equal\","
				   "\"value\":\"web\",\"indexed\":true,\"instances\":2}"));
	cr_assert(strstr(one.body, "\"selector\":\"Service.Port\",\"operator\":\"Equal\","
				   "\"value\":\"0\",\"indexed\":false,\"instances\":null}"));
	cr_assert(strstr(one.body, "\"indexed\":true,\"cached\":false,\"instances\":3,"
				   "\"candidates\":2,\"asked\":2,\"matched\":2}"),
		  "%s", one.body);
	cr_assert_eq(get("/v1/waymark/instances?limit=0"), 400);
	cr_assert_str_eq(one.body, "limit: a number from 1 to 10000");
	cr_assert_eq(get("/v1/waymark/instances?limit=-1"), 400);
	cr_assert_eq(get("/v1/waymark/instances?limit=10001"), 400);
	cr_assert_eq(get("/v1/waymark/instances?filter=Nothing==1"), 500);
	cr_assert_eq(get("/v1/waymark/status"), 200);
	cr_assert(strstr(one.body, "\"metadata\":{\"instances\":3,\"values\":5,\"lost\":0,"), "%s",
		  one.body);
	cr_assert(strstr(one.body, "\"complete\":true,\"built\":3}"), "%s", one.body);
}
