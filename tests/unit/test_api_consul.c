/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net registry metadata health resolution dns dataplane lifecycle api */
/* What Consul's clients state and see again: names, weights, what a mesh is told. Shapes of the
 * answers as a whole: test_api.c. */
#include "api_help.h"
#include "userspace/base/macros.h"

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

TestSuite(consul, .init = setup, .fini = teardown, .timeout = 120);

/* What GET @p path answers has at @p where, "[0].Service.ID", this compact JSON; NULL: no such
 * member. "" is the whole. */
static void expect(const char *path, const char *where, const char *want)
{
	json_t *all, *v;
	json_error_t je;
	char name[64], *have;

	cr_assert_eq(get(path), 200, "%s: %d %s", path, one.status, one.body);
	v = all = json_loads(one.body, JSON_DECODE_ANY, &je);
	cr_assert(all, "%s: %s", je.text, one.body);
	for (const char *at = where; *at && v;) {
		if (*at == '[') {
			v = json_array_get(v, strtoul(at + 1, NULL, 10));
			at += strcspn(at, "]") + 1;
			continue;
		}
		at += *at == '.';
		snprintf(name, sizeof(name), "%.*s", (int)strcspn(at, ".["), at);
		v = json_object_get(v, name);
		at += strlen(name);
	}
	have = v ? json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY) : NULL;
	if (want)
		cr_expect(have && strcmp(have, want) == 0, "%s %s: %s, not %s", path, where,
			  have ? have : "nothing", want);
	else
		cr_expect(!have, "%s %s: %s", path, where, have);
	free(have);
	json_decref(all);
}

/* An instance that is healthy and never chosen helps nobody. */
Test(consul, weights_that_are_left_out_are_1)
{
	static const struct {
		const char *given, *shown;
	} all[] = {
		{"{\"Warning\": 3}", "{\"Passing\":1,\"Warning\":3}"},
		{"{\"Passing\": 7}", "{\"Passing\":7,\"Warning\":1}"},
		{"{\"Passing\": 2, \"Warning\": 0}", "{\"Passing\":2,\"Warning\":0}"},
		{"{}", "{\"Passing\":1,\"Warning\":1}"},
		{"null", "{\"Passing\":1,\"Warning\":1}"},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		char body[128];

		snprintf(body, sizeof(body), "{\"Name\": \"w\", \"Weights\": %s}", all[i].given);
		must_put(REGISTER, body);
		expect("/v1/agent/service/w", "Weights", all[i].shown);
	}
}

/* Look-ups fold, answers do not. */
Test(consul, a_name_keeps_its_case_in_every_answer)
{
	must_put(REGISTER, "{\"ID\": \"a\", \"Name\": \"My-Service\", \"Tags\": [\"t\"], "
			   "\"Check\": {\"TTL\": \"1h\"}}");
	expect("/v1/agent/services", "a.Service", "\"My-Service\"");
	expect("/v1/agent/service/a", "Service", "\"My-Service\"");
	expect("/v1/agent/checks", "service:a.ServiceName", "\"My-Service\"");
	expect("/v1/agent/checks", "service:a.Name", "\"Service 'My-Service' check\"");
	expect("/v1/catalog/services", "", "{\"My-Service\":[\"t\"]}");
	expect("/v1/catalog/service/my-service", "[0].ServiceName", "\"My-Service\"");
	expect("/v1/health/service/MY-SERVICE", "[0].Service.Service", "\"My-Service\"");
	expect("/v1/health/service/My-Service", "[0].Checks[1].ServiceName", "\"My-Service\"");
	expect("/v1/health/checks/my-service", "[0].ServiceName", "\"My-Service\"");
	expect("/v1/health/state/critical", "[0].ServiceName", "\"My-Service\"");
	expect("/v1/catalog/node/n1", "Services.a.Service", "\"My-Service\"");
	expect("/v1/waymark/services", "[0].name", "\"My-Service\"");
	expect("/v1/waymark/instances/a", "Service.Service", "\"My-Service\"");
	expect("/v1/waymark/resolve?service=my-service", "service", "\"My-Service\"");
	expect("/v1/catalog/service/my-service?filter=ServiceName==%22My-Service%22",
	       "[0].ServiceID", "\"a\"");
	expect("/v1/catalog/service/my-service?filter=ServiceName==%22my-service%22", "", "[]");
	expect("/v1/health/state/any?filter=ServiceName==%22My-Service%22", "[0].ServiceID",
	       "\"a\"");
}

Test(consul, two_spellings_are_one_service_under_two_names)
{
	must_put(REGISTER, "{\"ID\": \"a\", \"Name\": \"Web\", \"Tags\": [\"x\"]}");
	must_put(REGISTER, "{\"ID\": \"b\", \"Name\": \"web\", \"Tags\": [\"y\"]}");
	must_put(REGISTER, "{\"ID\": \"c\", \"Name\": \"zoo\"}");
	expect("/v1/catalog/services", "", "{\"Web\":[\"x\"],\"web\":[\"y\"],\"zoo\":[]}");
	expect("/v1/health/service/web", "[0].Service.Service", "\"Web\"");
	expect("/v1/health/service/web", "[1].Service.Service", "\"web\"");
	must_put("/v1/agent/service/deregister/a", NULL);
	expect("/v1/catalog/services", "", "{\"web\":[\"y\"],\"zoo\":[]}");
	expect("/v1/waymark/services", "[0].name", "\"web\"");
	must_put(REGISTER, "{\"ID\": \"b\", \"Name\": \"WEB\"}");
	expect("/v1/catalog/services", "", "{\"WEB\":[],\"zoo\":[]}");
}

static void expect_headers(const char *path, int status, bool indexed)
{
	cr_expect_eq(get(path), status, "%s: %d", path, one.status);
	cr_expect_str_eq(header(&one, "X-Consul-Default-ACL-Policy"), "allow", "%s", path);
	cr_expect_str_eq(header(&one, "Vary"), "Accept-Encoding", "%s", path);
	cr_expect_str_eq(header(&one, "X-Consul-Query-Backend"), indexed ? "blocking-query" : "",
			 "%s", path);
	cr_expect_eq(index_of(&one) > 0, indexed, "%s", path);
}

Test(consul, headers_of_every_answer)
{
	expect_headers("/v1/catalog/services", 200, true);
	expect_headers("/v1/health/service/none", 200, true);
	expect_headers("/v1/kv/none", 404, true);
	expect_headers("/v1/agent/self", 200, false);
	expect_headers("/v1/status/leader", 200, false);
	expect_headers("/v1/agent/service/none", 404, false);
	expect_headers("/v1/nothing", 404, false);
	expect_headers("/v1/health/service/x?wait=x", 400, false);
	must_put(REGISTER, "{\"Name\": \"w\"}");
	cr_expect_str_eq(header(&one, "X-Consul-Default-ACL-Policy"), "allow");
}

Test(consul, tagged_addresses_are_left_out_when_there_are_none)
{
	must_put(REGISTER, "{\"Name\": \"bare\"}");
	must_put(REGISTER, "{\"Name\": \"named\", \"Address\": \"db.example.org\"}");
	must_put(REGISTER, "{\"Name\": \"ip\", \"Address\": \"10.8.1.1\"}");
	expect("/v1/agent/service/bare", "TaggedAddresses", NULL);
	expect("/v1/agent/service/named", "TaggedAddresses", NULL);
	expect("/v1/health/service/bare", "[0].Service.TaggedAddresses", NULL);
	expect("/v1/catalog/service/bare", "[0].ServiceTaggedAddresses", NULL);
	expect("/v1/agent/service/ip", "TaggedAddresses.lan_ipv4.Address", "\"10.8.1.1\"");
}
