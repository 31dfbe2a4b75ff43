/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* The API's endpoints: shapes, texts and statuses as a real Consul 1.21 gave them, errors, and what
 * a write promises. Blocking queries: test_api_blocking.c. */
#include "api_help.h"
#include "userspace/base/macros.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>

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

TestSuite(api, .init = setup, .fini = teardown, .timeout = 300);

/* --- comparing JSON ----------------------------------------------------------------------------
 */

/* Numbers and ids that differ from run to run are replaced before comparing. */
static void settle(json_t *v)
{
	static const char *const free_keys[] = {"CreateIndex", "ModifyIndex", "ContentHash",
						"NodeID",      "id",	      "index"};
	const char *key;
	json_t *item;
	void *tmp;
	size_t i;

	json_array_foreach(v, i, item) settle(item);
	json_object_foreach_safe(v, tmp, key, item)
	{
		for (i = 0; i < WM_ARRAY_LEN(free_keys); i++) {
			if (strcmp(key, free_keys[i]) == 0)
				json_object_set_new(v, key, json_null());
		}
		settle(item);
	}
	item = json_object_get(v, "ID");
	if (json_is_string(item) && json_string_length(item) == 36)
		json_object_set_new(v, "ID", json_null());
}

static void expect_json(const char *path, const char *expected)
{
	json_error_t je;
	json_t *want = json_loads(expected, JSON_DECODE_ANY, &je), *have;
	char *a, *b;

	cr_assert(want, "%s in the expectation, column %d", je.text, je.column);
	cr_assert_eq(get(path), 200, "%s: %d %s", path, one.status, one.body);
	cr_assert_str_eq(header(&one, "Content-Type"), "application/json");
	have = json_loads(one.body, JSON_DECODE_ANY, &je);
	cr_assert(have, "%s: %s", path, one.body);
	settle(want);
	settle(have);
	a = json_dumps(want, JSON_SORT_KEYS | JSON_ENCODE_ANY);
	b = json_dumps(have, JSON_SORT_KEYS | JSON_ENCODE_ANY);
	cr_expect_str_eq(b, a, "%s:\nhave %s\nwant %s", path, b, a);
	free(a);
	free(b);
	json_decref(want);
	json_decref(have);
}

#define NODE                                                                                       \
	"\"Node\":\"n1\",\"Address\":\"10.8.0.2\",\"Datacenter\":\"quay\","                        \
	"\"TaggedAddresses\":{\"lan\":\"10.8.0.2\",\"lan_ipv4\":\"10.8.0.2\","                     \
	"\"wan\":\"10.8.0.2\",\"wan_ipv4\":\"10.8.0.2\"},"
#define ID36	"\"ID\":\"00000000-0000-0000-0000-000000000000\","
#define INDEXES "\"CreateIndex\":1,\"ModifyIndex\":1"
#define SERF                                                                                       \
	"{\"Node\":\"n1\",\"CheckID\":\"serfHealth\",\"Name\":\"Serf Health Status\","             \
	"\"Status\":\"passing\",\"Notes\":\"\",\"Output\":\"Agent alive and reachable\","          \
	"\"ServiceID\":\"\",\"ServiceName\":\"\",\"ServiceTags\":[],\"Type\":\"\","                \
	"\"Interval\":\"\",\"Timeout\":\"\",\"ExposedPort\":0,\"Definition\":{}," INDEXES "}"
#define QUILL_CHECK                                                                                \
	"{\"Node\":\"n1\",\"CheckID\":\"service:quill-1\",\"Name\":\"Service 'quill' check\","     \
	"\"Status\":\"critical\",\"Notes\":\"beats\",\"Output\":\"\",\"ServiceID\":\"quill-1\","   \
	"\"ServiceName\":\"quill\",\"ServiceTags\":[\"a\",\"b\"],\"Type\":\"ttl\","                \
	"\"Interval\":\"\",\"Timeout\":\"\",\"ExposedPort\":0,\"Definition\":{}," INDEXES "}"
#define QUILL_ADDRESSES                                                                            \
	"{\"lan_ipv4\":{\"Address\":\"10.8.1.1\",\"Port\":9001},"                                  \
	"\"wan\":{\"Address\":\"198.51.100.4\",\"Port\":19001},"                                   \
	"\"wan_ipv4\":{\"Address\":\"10.8.1.1\",\"Port\":9001}}"
#define QUILL_AGENT                                                                                \
	"\"ID\":\"quill-1\",\"Service\":\"quill\",\"Tags\":[\"a\",\"b\"],\"Meta\":{\"version\":"   \
	"\"2.1\"},\"Port\":9001,\"Address\":\"10.8.1.1\",\"TaggedAddresses\":" QUILL_ADDRESSES     \
	",\"Weights\":{\"Passing\":5,\"Warning\":1},\"EnableTagOverride\":false,"                  \
	"\"Datacenter\":\"quay\""
#define INK_AGENT                                                                                  \
	"\"ID\":\"ink\",\"Service\":\"ink\",\"Tags\":[],\"Meta\":{},\"Port\":0,\"Address\":\"\","  \
	"\"Weights\":{\"Passing\":1,\"Warning\":1},"                                               \
	"\"EnableTagOverride\":false,\"Datacenter\":\"quay\""
#define QUILL_BODY                                                                                 \
	"{\"ID\": \"quill-1\", \"Name\": \"quill\", \"Tags\": [\"a\", \"b\"], \"Address\": "       \
	"\"10.8.1.1\", \"Port\": 9001, \"Meta\": {\"version\": \"2.1\"}, \"Weights\": "            \
	"{\"Passing\": 5, \"Warning\": 1}, \"TaggedAddresses\": {\"wan\": {\"Address\": "          \
	"\"198.51.100.4\", \"Port\": 19001}}, \"EnableTagOverride\": false, \"Check\": "           \
	"{\"TTL\": \"30s\", \"Notes\": \"beats\", \"DeregisterCriticalServiceAfter\": "            \
	"\"90m\"}}"

static void register_two(void)
{
	must_put(REGISTER, QUILL_BODY);
	must_put(REGISTER, "{\"Name\": \"ink\"}");
}

/* --- shapes ------------------------------------------------------------------------------------
 */

Test(api, shapes_are_consuls)
{
	expect_json("/v1/agent/services", "{}");
	expect_json("/v1/agent/checks", "{}");
	expect_json("/v1/catalog/services", "{}");
	expect_json("/v1/health/service/quill", "[]");
	expect_json("/v1/catalog/service/quill", "[]");
	expect_json("/v1/health/checks/quill", "[]");
	register_two();
	expect_json("/v1/agent/services",
		    "{\"ink\":{" INK_AGENT "},\"quill-1\":{" QUILL_AGENT "}}");
	expect_json("/v1/agent/service/quill-1", "{" QUILL_AGENT ",\"ContentHash\":\"\"}");
	cr_assert_eq(strlen(header(&one, "X-Consul-ContentHash")), 16);
	expect_json("/v1/catalog/services", "{\"ink\":[],\"quill\":[\"a\",\"b\"]}");
	expect_json("/v1/catalog/datacenters", "[\"quay\"]");
	expect_json("/v1/catalog/nodes", "[{" ID36 NODE "\"Meta\":{}," INDEXES "}]");
	expect_json("/v1/health/state/any", "[" SERF "," QUILL_CHECK "]");
	expect_json("/v1/health/state/passing", "[" SERF "]");
	expect_json("/v1/health/state/critical", "[" QUILL_CHECK "]");
	expect_json("/v1/health/state/green", "[]");
	expect_json("/v1/health/checks/quill", "[" QUILL_CHECK "]");
	expect_json("/v1/status/leader", "\"10.8.0.2:8300\"");
	expect_json("/v1/status/peers", "[\"10.8.0.2:8300\"]");
}

Test(api, shapes_of_instances_are_consuls)
{
	register_two();
	expect_json("/v1/health/service/quill",
		    "[{\"Node\":{" ID36 NODE "\"Meta\":{}," INDEXES "},\"Service\":{\"ID\":"
		    "\"quill-1\",\"Service\":\"quill\",\"Tags\":[\"a\",\"b\"],\"Address\":"
		    "\"10.8.1.1\",\"TaggedAddresses\":" QUILL_ADDRESSES ",\"Meta\":{\"version\":"
		    "\"2.1\"},\"Port\":9001,\"Weights\":{\"Passing\":5,\"Warning\":1},"
		    "\"EnableTagOverride\":false,\"Proxy\":{\"Mode\":\"\",\"MeshGateway\":{},"
		    "\"Expose\":{}},\"Connect\":{},\"PeerName\":\"\"," INDEXES "},\"Checks\":[" SERF
		    "," QUILL_CHECK "]}]");
	expect_json("/v1/catalog/service/QUILL",
		    "[{" ID36 NODE "\"NodeMeta\":{},\"ServiceKind\":\"\",\"ServiceID\":"
		    "\"quill-1\",\"ServiceName\":\"quill\",\"ServiceTags\":[\"a\",\"b\"],"
		    "\"ServiceAddress\":\"10.8.1.1\",\"ServiceTaggedAddresses\":" QUILL_ADDRESSES
		    ",\"ServiceWeights\":{\"Passing\":5,\"Warning\":1},\"ServiceMeta\":{"
		    "\"version\":\"2.1\"},\"ServicePort\":9001,\"ServiceSocketPath\":\"\","
		    "\"ServiceEnableTagOverride\":false,\"ServiceProxy\":{\"Mode\":\"\","
		    "\"MeshGateway\":{},\"Expose\":{}},\"ServiceConnect\":{},"
		    "\"ServiceLocality\":null," INDEXES "}]");
}

Test(api, agent_self_has_what_clients_read)
{
	json_t *v, *config, *member;

	cr_assert_eq(get("/v1/agent/self"), 200);
	v = json_loads(one.body, 0, NULL);
	config = json_object_get(v, "Config");
	member = json_object_get(v, "Member");
	cr_assert_str_eq(json_string_value(json_object_get(config, "Datacenter")), "quay");
	cr_assert_str_eq(json_string_value(json_object_get(config, "NodeName")), "n1");
	cr_assert(json_is_true(json_object_get(config, "Server")));
	cr_assert_eq(json_string_length(json_object_get(config, "NodeID")), 36);
	cr_assert_str_eq(json_string_value(json_object_get(config, "Version")), "1.2.3");
	cr_assert_str_eq(json_string_value(json_object_get(member, "Name")), "n1");
	cr_assert_str_eq(json_string_value(json_object_get(member, "Addr")), "10.8.0.2");
	cr_assert_eq(json_integer_value(json_object_get(member, "Status")), 1);
	json_decref(v);
}

Test(api, headers_and_pretty)
{
	static const char *const paths[] = {"/v1/health/service/none",	"/v1/health/checks/none",
					    "/v1/health/state/any",	"/v1/catalog/services",
					    "/v1/catalog/service/none", "/v1/catalog/nodes"};

	for (unsigned i = 0; i < WM_ARRAY_LEN(paths); i++) {
		cr_assert_eq(get(paths[i]), 200);
		cr_expect_geq(index_of(&one), 1, "%s", paths[i]);
		cr_expect_str_eq(header(&one, "X-Consul-KnownLeader"), "true");
		cr_expect_str_eq(header(&one, "X-Consul-LastContact"), "0");
		cr_expect_str_eq(header(&one, "X-Consul-Effective-Consistency"), "leader");
	}
	get("/v1/health/service/none?stale");
	cr_assert_str_eq(header(&one, "X-Consul-Effective-Consistency"), "stale");
	get("/v1/health/service/none?cached");
	cr_assert_str_eq(header(&one, "X-Cache"), "HIT");
	register_two();
	get("/v1/catalog/services?pretty");
	cr_assert_str_eq(one.body, "{\n    \"ink\": [],\n    \"quill\": [\n        \"a\",\n"
				   "        \"b\"\n    ]\n}\n");
	get("/v1/catalog/services");
	cr_assert_str_eq(one.body, "{\"ink\":[],\"quill\":[\"a\",\"b\"]}");
}

Test(api, pretty_says_the_same)
{
	json_t *compact, *pretty;

	must_put(REGISTER, "{\"ID\":\"w1\",\"Name\":\"web\",\"Check\":{\"TTL\":\"1h\"}}");
	must_put(REGISTER, "{\"ID\":\"w2\",\"Name\":\"web\"}");
	get("/v1/health/service/web");
	compact = json_loads(one.body, JSON_REJECT_DUPLICATES, NULL);
	get("/v1/health/service/web?pretty");
	pretty = json_loads(one.body, JSON_REJECT_DUPLICATES, NULL);
	cr_assert(compact && pretty);
	cr_assert(json_equal(compact, pretty));
	cr_assert(!strstr(one.body, "\n\n") && !strstr(one.body, " \n"), "%s", one.body);
	json_decref(compact);
	json_decref(pretty);
}

/* --- what is refused ---------------------------------------------------------------------------
 */

static void expect_text(const char *method, const char *path, const char *body, int status,
			const char *text)
{
	cr_expect_eq(ask(method, path, body), status, "%s %s %s: %d %s", method, path,
		     body ? body : "", one.status, one.body);
	cr_expect_str_eq(one.body, text, "%s %s %s: %s", method, path, body ? body : "", one.body);
	if (*text)
		cr_expect_str_eq(header(&one, "Content-Type"), "text/plain; charset=utf-8");
}

Test(api, bodies_are_refused_as_consul_does)
{
	static const struct {
		const char *body, *text;
		int status;
	} all[] = {
		{"{}", "Missing service name", 400},
		{"{\"Name\": \"\"}", "Missing service name", 400},
		{"{\"Name\": null}", "Missing service name", 400},
		{"{\"Name\": \"x\", \"Bogus\": 1}",
		 "Request decode failed: json: unknown field \"Bogus\"", 400},
		{"{\"Name\": \"x\", \"EnableTagOverride|enable_tag_override\": true}",
		 "Request decode failed: json: unknown field "
		 "\"EnableTagOverride|enable_tag_override\"",
		 400},
		{"{\"Name\": \"x\", \"Check\": {\"HTTP\": \"http://a\"}}",
		 "Invalid check: Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or "
		 "OSService checks",
		 400},
		{"{\"Name\": \"x\", \"Check\": {\"TTL\": \"10s\", \"Interval\": \"5s\"}}",
		 "Invalid check: Interval and TTL cannot both be specified", 400},
		{"{\"Name\": \"x\", \"Check\": {\"TTL\": \"5s\", \"Status\": \"fine\"}}",
		 "Status for checks must 'passing', 'warning', 'critical'", 400},
		{"{\"Name\": \"x\", \"Check\": {\"ScriptArgs\": [\"/bin/true\"], \"Interval\": "
		 "\"5s\"}}",
		 "Scripts are disabled on this agent from remote calls; to enable, configure "
		 "'health.scripts' to 'local' and register over the Unix socket",
		 500},
		{"{\"Name\": \"x\", \"Meta\": {\"bad key!\": \"v\"}}",
		 "Invalid Service Meta: Couldn't load metadata pair ('bad key!', 'v'): Key "
		 "contains invalid characters",
		 400},
		{"{\"Name\": \"x\", \"Weights\": {\"Passing\": -1, \"Warning\": 1}}",
		 "Invalid Weights: Passing must be greater than 0", 400},
		{"{\"Name\": \"x\", \"Weights\": {\"Passing\": 0}}",
		 "Invalid Weights: Passing must be greater than 0", 400},
		{"{\"Name\": \"x\", \"Address\": \"0.0.0.0\"}", "Invalid service address", 400},
		{"{", "Request decode failed: unexpected EOF", 400},
		{"", "Request decode failed: EOF", 400},
		{" \n", "Request decode failed: EOF", 400},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++)
		expect_text("PUT", REGISTER, all[i].body, all[i].status, all[i].text);
	expect_json("/v1/agent/services", "{}");
}

Test(api, wrong_types_are_refused_by_name_and_limit)
{
	static const struct {
		const char *body, *text;
	} all[] = {
		{"[]", "json: cannot unmarshal an array, the body must be an object"},
		{"7", "json: cannot unmarshal a number, the body must be an object"},
		{"{\"Name\": 7}", "Name must be a string, not a number"},
		{"{\"Name\": \"x\", \"Port\": \"80\"}",
		 "Port must be a whole number between 0 and 65535, not a string"},
		{"{\"Name\": \"x\", \"Port\": 80.5}",
		 "Port must be a whole number between 0 and 65535, not a number"},
		{"{\"Name\": \"x\", \"Port\": 70000}",
		 "Port must be a whole number between 0 and 65535, not 70000"},
		{"{\"Name\": \"x\", \"Port\": -1}",
		 "Port must be a whole number between 0 and 65535, not -1"},
		{"{\"Name\": \"x\", \"Tags\": \"a\"}",
		 "Tags must be an array of strings, not a string"},
		{"{\"Name\": \"x\", \"Tags\": [1]}",
		 "Tags must be an array of strings, not a number"},
		{"{\"Name\": \"x\", \"Meta\": {\"a\": 1}}",
		 "Meta must be an object of strings, not a number"},
		{"{\"Name\": \"x\", \"EnableTagOverride\": \"no\"}",
		 "EnableTagOverride must be true or false, not a string"},
		{"{\"Name\": \"x\", \"TaggedAddresses\": {\"wan\": {\"Port\": 70000}}}",
		 "TaggedAddresses.wan.Port must be a whole number between 0 and 65535, not 70000"},
		{"{\"Name\": \"x\", \"TaggedAddresses\": {\"wan\": \"a\"}}",
		 "TaggedAddresses must be an object of addresses, not a string"},
		{"{\"Name\": \"x\", \"Checks\": {}}",
		 "Checks must be an array of objects, not an object"},
		{"{\"Name\": \"x\", \"Checks\": [{\"TTL\": \"1s\"}, {\"TTL\": []}]}",
		 "Checks[1].TTL must be a duration like \"10s\", or nanoseconds, not an array"},
		{"{\"Name\": \"x\", \"Check\": {\"TTL\": \"soon\"}}",
		 "time: invalid duration \"soon\" (Check.TTL must be a duration like \"10s\")"},
		{"{\"Name\": \"x\", \"Check\": {\"TTL\": \"10\"}}",
		 "time: missing unit in duration \"10\" (Check.TTL must be a duration like "
		 "\"10s\")"},
		{"{\"Name\": \"x\", \"Check\": {\"TTL\": -5}}", "Check.TTL must not be negative"},
		{"{\"Name\": \"x\", \"Check\": {\"Header\": {\"A\": \"b\"}}}",
		 "Check.Header must be an object of arrays of strings, not a string"},
		{"{\"Name\": \"x\", \"name\": \"y\"}", "Name is given twice"},
		{"{\"Name\": \"x\", \"Check\": {\"ttl\": \"1s\", \"TTL\": \"1s\"}}",
		 "Check.TTL is given twice"},
	};
	char text[256];

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		snprintf(text, sizeof(text), "Request decode failed: %s", all[i].text);
		expect_text("PUT", REGISTER, all[i].body, 400, text);
	}
	cr_assert_eq(put(REGISTER, "{\"Name\": \"x\", \"Name\": \"x\"}"), 400);
	cr_assert_eq(put(REGISTER, "{\"Name\": \"x\\u0000y\"}"), 400);
	cr_assert_eq(put(REGISTER, "{\"Name\": \"x\"} trailing"), 400);
	cr_assert_eq(put(REGISTER, "{\"Port\": 99999999999999999999999}"), 400);
	cr_assert_eq(put(REGISTER, "{\"Name\": \"\xff\"}"), 400);
	expect_json("/v1/agent/services", "{}");
}

Test(api, what_is_not_offered_is_refused_not_ignored)
{
	static const struct {
		const char *body, *text;
	} all[] = {
		{"{\"Name\": \"x\", \"Check\": {\"GRPC\": \"a\", \"Interval\": \"1s\"}}",
		 "Invalid check: GRPC \"a\" must be host:port or host:port/service, with a port "
		 "from "
		 "1 to 65535"},
		{"{\"Name\": \"x\", \"Check\": {\"H2PING\": \"a:1/s\", \"Interval\": \"1s\"}}",
		 "Invalid check: H2PING \"a:1/s\" must be host:port, with a port from 1 to 65535"},
		{"{\"Name\": \"x\", \"Check\": {\"UDP\": \"a.test\", \"Interval\": \"1s\"}}",
		 "Invalid check: UDP \"a.test\" must be host:port, with a port from 1 to 65535"},
		{"{\"Name\": \"x\", \"Check\": {\"UDP\": \"1.2.3.4:1\", \"TCP\": \"1.2.3.4:1\", "
		 "\"Interval\": \"1s\"}}",
		 "Invalid check: only one of HTTP, TCP, UDP, GRPC, H2PING, OSService, ScriptArgs "
		 "and "
		 "AliasService or AliasNode can be specified"},
		{"{\"Name\": \"x\", \"Check\": {\"AliasService\": \"a\", \"AliasNode\": \"n9\"}}",
		 "Invalid check: AliasNode \"n9\" is not this node (n1): other nodes are not "
		 "supported"},
		{"{\"Name\": \"x\", \"Check\": {\"AliasService\": \"a\", \"TTL\": \"1s\"}}",
		 "Invalid check: TTL must be not be set for Alias checks"},
		{"{\"Name\": \"x\", \"Check\": {\"AliasNode\": \"n1\", \"Interval\": \"1s\"}}",
		 "Invalid check: Interval cannot be set for Alias checks"},
		{"{\"Name\": \"x\", \"Check\": {\"TTL\": \"1s\", \"OutputMaxSize\": -1}}",
		 "Invalid check: MaxOutputSize must be positive"},
		{"{\"Name\": \"x\", \"Namespace\": \"a.b\"}",
		 "Namespace must be a DNS label, not \"a.b\""},
		{"{\"Name\": \"x\", \"Partition\": \"other\"}",
		 "Namespace and Partition must be \"default\" or left out"},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++)
		expect_text("PUT", REGISTER, all[i].body, 400, all[i].text);
}

Test(api, nesting_and_size_are_bounded)
{
	static char body[WM_HTTP_BODY_MAX + 100];
	size_t n = 0;

	n += (size_t)snprintf(body, sizeof(body), "{\"Name\":\"x\",\"Locality\":");
	memset(body + n, '[', 100000);
	body[n + 100000] = 0;
	expect_text("PUT", REGISTER, body, 400,
		    "Request decode failed: nested deeper than 64 levels");
	memset(body, 'x', sizeof(body) - 1);
	body[sizeof(body) - 1] = 0;
	cr_assert_eq(put(REGISTER, body), 413);
	/* brackets in texts do not count, and a quoted quote does not end a text */
	n = (size_t)snprintf(body, sizeof(body), "{\"Name\":\"x\",\"Meta\":{\"k\":\"\\\\\\\"");
	memset(body + n, '[', 200);
	snprintf(body + n + 200, 100, "\"}}");
	must_put(REGISTER, body);
}

Test(api, routes)
{
	static const char unknown[] = "Invalid URL path: not a recognized HTTP API endpoint";

	expect_text("GET", "/v1/nothing", NULL, 404, unknown);
	expect_text("GET", "/v1/agent/services/", NULL, 404, unknown);
	expect_text("GET", "/v1/health/service/", NULL, 400, "Missing service name");
	expect_text("POST", REGISTER, "{}", 405, "method POST not allowed");
	cr_assert_str_eq(header(&one, "Allow"), "OPTIONS,PUT");
	expect_text("GET", REGISTER, NULL, 405, "method GET not allowed");
	expect_text("DELETE", "/v1/catalog/nodes", NULL, 405, "method DELETE not allowed");
	cr_assert_str_eq(header(&one, "Allow"), "OPTIONS,GET");
	expect_text("PATCH", "/v1/catalog/nodes", "{}", 405, "method PATCH not allowed");
	expect_text("OPTIONS", "/v1/catalog/nodes", NULL, 200, "");
	cr_assert_str_eq(header(&one, "Allow"), "OPTIONS,GET");
	expect_text("PUT", "/v1/agent/service/deregister/none", NULL, 404,
		    "Unknown service ID \"none\". Ensure that the service ID is passed, not the "
		    "service name.");
	expect_text("PUT", "/v1/agent/check/pass/none", NULL, 404,
		    "Unknown check ID \"none\". Ensure that the check ID is passed, not the check "
		    "name.");
	expect_text("GET", "/v1/agent/service/none", NULL, 404, "unknown service ID: none");
	expect_text("GET", "/v1/agent/service/%zz", NULL, 400,
		    "The path has a broken percent escape, or an id longer than 320 characters");
	cr_assert_eq(get("/"), 200);
}

Test(api, parameters_are_judged)
{
	static const char *const bad[][2] = {
		{"?index=x", "Invalid index"},
		{"?index=-1", "Invalid index"},
		{"?index=99999999999999999999999", "Invalid index"},
		{"?wait=x&index=1", "Invalid wait time"},
		{"?wait=10", "Invalid wait time"},
		{"?stale&consistent",
		 "Cannot specify ?stale with ?consistent, conflicting semantics."},
		{"?passing=nope", "Invalid value for ?passing"},
		{"?ns=a.b", "Invalid query parameter: \"ns\" - \"a.b\" is no DNS label"},
	};
	char path[256];

	for (unsigned i = 0; i < WM_ARRAY_LEN(bad); i++) {
		snprintf(path, sizeof(path), "/v1/health/service/x%s", bad[i][0]);
		expect_text("GET", path, NULL, 400, bad[i][1]);
	}
	expect_text("GET", "/v1/catalog/nodes?ns=team", NULL, 400,
		    "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise feature");
	expect_text("GET", "/v1/catalog/nodes?dc=elsewhere", NULL, 500, "No path to datacenter");
	cr_assert_eq(get("/v1/catalog/nodes?dc=quay&ns=&partition=default&index=0&wait=1s"), 200);
}

/* --- filters -----------------------------------------------------------------------------------
 */

/* Ids in an answer of /v1/health/service. */
static const char *ids(const char *path)
{
	static char text[256];
	json_t *v, *item;
	size_t i, n = 0;

	cr_assert_eq(get(path), 200, "%s", one.body);
	v = json_loads(one.body, 0, NULL);
	text[0] = 0;
	json_array_foreach(v, i, item) n += (size_t)snprintf(
		text + n, sizeof(text) - n, "%s ",
		json_string_value(json_object_get(json_object_get(item, "Service"), "ID")));
	json_decref(v);
	return text;
}

Test(api, passing_and_tags_select)
{
	must_put(REGISTER, "{\"ID\":\"w3\",\"Name\":\"web\",\"tags\":[\"Blue\",\"v7\"]}");
	must_put(REGISTER, "{\"ID\":\"w1\",\"Name\":\"web\",\"Tags\":[\"blue\"],\"Check\":{\"TTL\":"
			   "\"1h\",\"Status\":\"passing\"}}");
	must_put(REGISTER, "{\"ID\":\"w2\",\"Name\":\"web\",\"Check\":{\"TTL\":\"1h\",\"Status\":"
			   "\"warning\"}}");
	cr_assert_str_eq(ids("/v1/health/service/web"), "w1 w2 w3 ");
	cr_assert_str_eq(ids("/v1/health/service/web?passing"), "w1 w3 ");
	cr_assert_str_eq(ids("/v1/health/service/web?passing=1"), "w1 w3 ");
	cr_assert_str_eq(ids("/v1/health/service/web?passing=false"), "w1 w2 w3 ");
	cr_assert_str_eq(ids("/v1/health/service/web?tag=blue"), "w1 w3 ");
	cr_assert_str_eq(ids("/v1/health/service/web?tag=blue&tag=v7"), "w3 ");
	cr_assert_str_eq(ids("/v1/health/service/web?tag=green"), "");
	cr_assert_str_eq(ids("/v1/health/service/web?tag="), "w1 w2 w3 ");
	cr_assert_str_eq(ids("/v1/health/service/web?node-meta=rack:b4"), "");
	cr_assert_str_eq(ids("/v1/health/service/WEB?near=_agent"), "w1 w2 w3 ");
	expect_json("/v1/catalog/services", "{\"web\":[\"Blue\",\"blue\",\"v7\"]}");
}

/* The texts and statuses of errors are those that a real Consul gave. */
Test(api, the_filter_language_selects)
{
	must_put(REGISTER,
		 "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":9001,\"Tags\":[\"a\",\"b\"],"
		 "\"Meta\":{\"version\":\"2.1\"},\"Check\":{\"CheckID\":\"c1\",\"TTL\":\"1h\","
		 "\"Status\":\"passing\"}}");
	must_put(REGISTER,
		 "{\"ID\":\"w2\",\"Name\":\"web\",\"Port\":9002,\"Tags\":[\"z\"],\"Check\":"
		 "{\"CheckID\":\"c2\",\"TTL\":\"1h\",\"Status\":\"warning\"}}");
	must_put(REGISTER, "{\"ID\":\"d1\",\"Name\":\"db\"}");
	cr_assert_str_eq(ids("/v1/health/service/web?filter=Service.Meta.version==%222.1%22"),
			 "w1 ");
	cr_assert_str_eq(ids("/v1/health/service/web?filter=Checks.Status==warning"), "w2 ");
	cr_assert_str_eq(ids("/v1/health/service/web?passing&filter=Checks.Status==warning"), "");
	cr_assert_str_eq(ids("/v1/health/service/web?filter="), "w1 w2 ");
	cr_assert_str_eq(ids("/v1/health/service/web?filter=not+z+in+Service.Tags"), "w1 ");
	expect_json("/v1/catalog/services?filter=ServicePort!=9002",
		    "{\"db\":[],\"web\":[\"a\",\"b\"]}");
	expect_json("/v1/catalog/service/web?filter=ServiceTags+is+empty", "[]");
	expect_json("/v1/catalog/nodes?filter=Node==elsewhere", "[]");
	expect_json("/v1/agent/services?filter=Meta.version+==+%229%22", "{}");
	expect_json("/v1/agent/checks?filter=Status==critical", "{}");
	expect_json("/v1/health/state/any?filter=CheckID==none", "[]");
	expect_json("/v1/health/checks/web?filter=Status==critical", "[]");
	expect_json("/v1/health/node/n1?filter=Status==critical", "[]");
	cr_assert_eq(get("/v1/catalog/node/n1?filter=ID==d1"), 200);
	cr_assert(strstr(one.body, "\"db\"") && !strstr(one.body, "\"web\""));
	cr_assert_eq(get("/v1/health/state/any?filter=Status==warning"), 200);
	cr_assert(strstr(one.body, "\"c2\"") && !strstr(one.body, "\"c1\""));
	expect_text("GET", "/v1/catalog/service/web?filter=Bad%20==%201", NULL, 500,
		    "Failed to create boolean expression evaluator: Selector \"Bad\" is not valid");
	expect_text(
		"GET", "/v1/catalog/service/web?filter=ServiceMeta.version%20is%20not%20empty",
		NULL, 500,
		"Failed to create boolean expression evaluator: Invalid match operator \"Is Not "
		"Empty\" for selector \"ServiceMeta.version\"");
	expect_text(
		"GET", "/v1/health/state/any?filter=Output+matches+`(?=x)`", NULL, 500,
		"Failed to create boolean expression evaluator: Failed to coerce value "
		"\"(?=x)\" for selector \"Output\": lookaround and recursion are not supported");
}

Test(api, a_filter_that_costs_too_much_is_an_error_not_a_shorter_list)
{
	char body[1200];

	snprintf(body, sizeof(body), "{\"Name\":\"web\",\"Meta\":{\"m\":\"%0300d!\"}}", 0);
	must_put(REGISTER, body);
	expect_text("GET", "/v1/health/service/web?filter=Service.Meta.m+matches+`^(0|00)%2B$`",
		    NULL, 400,
		    "filter: a regular expression that needs more than 100000 steps in one value");
}

/* --- writes ------------------------------------------------------------------------------------
 */

Test(api, bodies_of_real_clients)
{
	/* the Go client always sends both, and nulls */
	must_put(REGISTER "?replace-existing-checks=true",
		 "{\"Name\":\"go\",\"Tags\":null,\"Check\":null,\"Checks\":null,\"Proxy\":null,"
		 "\"Connect\":null,\"Weights\":null,\"Locality\":null,\"Namespace\":\"\"}");
	must_put(REGISTER,
		 "{\"name\":\"snake\",\"enable_tag_override\":true,\"tagged_addresses\":"
		 "{\"lan\":{\"address\":\"10.0.0.9\",\"port\":1}},\"check\":{\"id\":\"c\","
		 "\"ttl\":\"10s\",\"deregister_critical_service_after\":\"1h\"}}");
	must_put(REGISTER, "{\"Name\":\"nano\",\"Check\":{\"CheckID\":\"n\",\"TTL\":15000000000}}");
	must_put(REGISTER, "{\"Name\":\"empty\",\"Check\":{}}");
	cr_assert_eq(wm_registry_check(registry, "c")->ttl_ms, 10000);
	cr_assert_eq(wm_registry_check(registry, "c")->deregister_after_ms, 3600000);
	cr_assert_eq(wm_registry_check(registry, "n")->ttl_ms, 15000);
	cr_assert(wm_registry_instance(registry, "snake")->enable_tag_override);
	cr_assert_eq(wm_registry_instance(registry, "empty")->checks_count, 0);
}

Test(api, checks_reach_the_registry_whole)
{
	const struct wm_instance *i;
	const struct wm_check *c;

	must_put(REGISTER,
		 "{\"ID\":\"q\",\"Name\":\"quill\",\"Port\":1,\"Check\":{\"TTL\":\"30s\"},"
		 "\"Checks\":[{\"TCP\":\"127.0.0.1:1\",\"Interval\":\"10h\",\"Timeout\":\"500ms\","
		 "\"TCPUseTLS\":true,\"TLSServerName\":\"a.test\"},"
		 "{\"HTTP\":\"http://127.0.0.1:1/h\",\"Interval\":\"5h\",\"Method\":\"POST\","
		 "\"Header\":{\"X-A\":[\"1\",\"2\"]},\"Body\":\"b\",\"TLSSkipVerify\":true,"
		 "\"SuccessBeforePassing\":2,\"FailuresBeforeCritical\":3}]}");
	i = wm_registry_instance(registry, "q");
	cr_assert_eq(i->checks_count, 3);
	c = wm_registry_check(registry, "service:q:2");
	cr_assert_eq(c->kind, WM_CHECK_TCP);
	cr_assert_str_eq(c->target, "127.0.0.1:1");
	cr_assert_eq(c->timeout_ms, 500);
	cr_assert(c->use_tls);
	cr_assert_str_eq(c->tls_server_name, "a.test");
	c = wm_registry_check(registry, "service:q:3");
	cr_assert_eq(c->kind, WM_CHECK_HTTP);
	cr_assert_str_eq(c->method, "POST");
	cr_assert_str_eq(c->body, "b");
	cr_assert_eq(c->headers_count, 2);
	cr_assert_str_eq(c->headers[1].value, "2");
	cr_assert(c->tls_skip_verify);
	cr_assert_eq(c->success_before_passing, 2);
	cr_assert_eq(c->failures_before_critical, 3);
	/* kept unless the client asks to replace */
	must_put(REGISTER, "{\"ID\":\"q\",\"Name\":\"quill\",\"Port\":2}");
	cr_assert_eq(wm_registry_instance(registry, "q")->checks_count, 3);
	must_put(REGISTER "?replace-existing-checks", "{\"ID\":\"q\",\"Name\":\"quill\"}");
	cr_assert_eq(wm_registry_instance(registry, "q")->checks_count, 0);
}

Test(api, ids_are_percent_decoded_and_may_hold_slashes)
{
	must_put(REGISTER, "{\"ID\":\"service:a/b c\",\"Name\":\"web\"}");
	cr_assert_eq(get("/v1/agent/service/service%3Aa%2Fb%20c"), 200);
	cr_assert_eq(get("/v1/agent/service/service:a/b%20c"), 200);
	must_put("/v1/agent/service/deregister/service:a%2Fb%20c", NULL);
	expect_json("/v1/agent/services", "{}");
	must_put(REGISTER, "{\"ID\":\"a/b\",\"Name\":\"web\"}");
	must_put("/v1/agent/service/deregister/a/b", NULL);
	expect_json("/v1/agent/services", "{}");
}

static void expect_status(const char *output, enum wm_status s)
{
	const struct wm_check *c = wm_registry_check(registry, "service:q");

	cr_expect_eq(c->status, s, "%s", output);
	cr_expect_str_eq(c->output, output);
}

Test(api, heartbeats)
{
	must_put(REGISTER, "{\"ID\":\"q\",\"Name\":\"quill\",\"Check\":{\"TTL\":\"1h\"}}");
	must_put("/v1/agent/check/warn/service:q?note=tired+now", NULL);
	expect_status("tired now", WM_WARNING);
	must_put("/v1/agent/check/pass/service%3Aq", NULL);
	expect_status("", WM_PASSING);
	must_put("/v1/agent/check/fail/service:q?note=%ff", NULL);
	cr_assert_eq(get("/v1/health/checks/quill"), 200);
	cr_assert(strstr(one.body, "\"Output\":\"\xef\xbf\xbd\""), "%s", one.body);
	must_put("/v1/agent/check/update/service:q", "{\"Status\":\"passing\",\"Output\":\"ok\"}");
	expect_status("ok", WM_PASSING);
	expect_text("PUT", "/v1/agent/check/update/service:q", "{\"Status\": \"odd\"}", 400,
		    "Invalid check status: 'odd'");
	expect_text("PUT", "/v1/agent/check/update/service:q", "{\"Status\": 1}", 400,
		    "Request decode failed: Status must be a string, not a number");
	cr_assert_eq(put("/v1/agent/check/update/none", "{\"Status\":\"passing\"}"), 404);
	must_put(REGISTER, "{\"ID\":\"t\",\"Name\":\"t\",\"Check\":{\"TCP\":\"127.0.0.1:1\","
			   "\"Interval\":\"10h\"}}");
	expect_text("PUT", "/v1/agent/check/pass/service:t", NULL, 400,
		    "CheckID \"service:t\" does not have associated TTL");
}

static bool seen_before_answer, answered_too_early;

/* Between compiling and answering: the tables show the service, the client has nothing yet. */
static bool between(void *arg)
{
	(void)arg;
	if (wm_tables_set_of(tables, "web") >= 0 && !seen_before_answer) {
		seen_before_answer = true;
		answered_too_early = client_has(&one) || one.len;
	}
	return false;
}

Test(api, a_write_is_answered_when_the_tables_show_it)
{
	seen_before_answer = false;
	cr_assert_eq(wm_loop_on_turn_end(loop, WM_HOOK_ANSWER - 1, between, NULL), 0);
	must_put(REGISTER, "{\"Name\":\"web\",\"Address\":\"10.0.0.1\",\"Port\":80}");
	cr_assert(seen_before_answer);
	cr_assert(!answered_too_early);
}

Test(api, many_writes_at_once_share_commits)
{
	enum { CLIENTS = 50 };
	static struct client c[CLIENTS];
	struct wm_registry_stats before, after;
	char body[128];

	wm_registry_stats(registry, &before);
	for (unsigned i = 0; i < CLIENTS; i++) {
		client_open(&c[i]);
		snprintf(body, sizeof(body), "{\"ID\":\"w%u\",\"Name\":\"web\",\"Port\":%u}", i,
			 i + 1);
		client_send(&c[i], "PUT", REGISTER, body);
	}
	for (unsigned i = 0; i < CLIENTS; i++) {
		UNTIL(client_has(&c[i]));
		cr_assert_eq(c[i].status, 200);
		client_close(&c[i]);
	}
	wm_registry_stats(registry, &after);
	cr_assert_eq(wm_registry_instances(registry), CLIENTS);
	cr_assert_eq(after.writes - before.writes, CLIENTS);
}

/* --- native ------------------------------------------------------------------------------------
 */

Test(api, shares_are_as_the_policy_says)
{
	const json_t *b;
	json_t *v;

	must_put(REGISTER, "{\"ID\":\"w1\",\"Name\":\"web\",\"Address\":\"10.0.0.1\",\"Port\":80}");
	must_put(REGISTER, "{\"ID\":\"w2\",\"Name\":\"web\",\"Address\":\"10.0.0.2\",\"Port\":80}");
	cr_assert_eq(put("/v1/waymark/policies/web", "{\"subsets\":{\"two\":\"Service.ID == "
						     "\\\"w2\\\"\"},\"default_subset\":\"two\"}"),
		     200);
	cr_assert_eq(get("/v1/waymark/resolve/web"), 200);
	v = json_loads(one.body, 0, NULL);
	b = json_object_get(v, "backends");
	for (size_t i = 0; i < 2; i++)
		cr_assert_eq(json_number_value(json_object_get(json_array_get(b, i), "share")),
			     (double)i);
	json_decref(v);
}

Test(api, native_resolve_and_services)
{
	json_t *v, *b;

	must_put(REGISTER, "{\"ID\":\"w1\",\"Name\":\"web\",\"Address\":\"10.0.0.1\",\"Port\":80,"
			   "\"Weights\":{\"Passing\":3,\"Warning\":1}}");
	must_put(REGISTER, "{\"ID\":\"w2\",\"Name\":\"web\",\"Address\":\"10.0.0.2\",\"Port\":81}");
	must_put(REGISTER,
		 "{\"ID\":\"w3\",\"Name\":\"web\",\"Address\":\"2001:db8::3\",\"Port\":82,"
		 "\"Check\":{\"TTL\":\"1h\"}}");
	cr_assert_eq(get("/v1/waymark/resolve/web"), 200);
	v = json_loads(one.body, 0, NULL);
	cr_assert(v, "%s", one.body);
	cr_assert(json_is_string(json_object_get(v, "vip4")));
	cr_assert(json_is_true(json_object_get(v, "in_tables")));
	cr_assert_str_eq(json_string_value(json_array_get(json_object_get(v, "names"), 0)),
			 "web.service.mesh.internal");
	b = json_object_get(v, "backends");
	cr_assert_eq(json_array_size(b), 3);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(b, 0), "state")), "up");
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(b, 2), "state")), "down");
	cr_assert_float_eq(json_real_value(json_object_get(json_array_get(b, 0), "share")), 0.75,
			   1e-6);
	cr_assert_float_eq(json_real_value(json_object_get(json_array_get(b, 1), "share")), 0.25,
			   1e-6);
	cr_assert_float_eq(json_number_value(json_object_get(json_array_get(b, 2), "share")), 0,
			   1e-6);
	json_decref(v);
	expect_text("GET", "/v1/waymark/resolve/none", NULL, 404, "unknown service: none");
	cr_assert_eq(get("/v1/waymark/services"), 200);
	v = json_loads(one.body, 0, NULL);
	b = json_object_get(json_array_get(v, 0), "backends");
	cr_assert_eq(json_array_size(b), 3);
	cr_assert_str_eq(json_string_value(json_object_get(json_array_get(b, 2), "address6")),
			 "2001:db8::3");
	cr_assert_eq(json_integer_value(json_object_get(json_array_get(b, 0), "weight")), 3);
	json_decref(v);
}

Test(api, native_status_and_maps)
{
	json_t *v, *t;

	register_two();
	cr_assert_eq(get("/v1/waymark/status"), 200);
	v = json_loads(one.body, JSON_REJECT_DUPLICATES, NULL);
	cr_assert(v, "%s", one.body);
	cr_assert_str_eq(json_string_value(json_object_get(v, "version")), "1.2.3");
	t = json_object_get(v, "zones"); /* a domain, those of IPv4, the one of IPv6 */
	cr_assert_str_eq(json_string_value(json_array_get(t, 0)), "mesh.internal");
	cr_assert_str_eq(json_string_value(json_array_get(t, 1)), "240.in-addr.arpa");
	cr_assert_eq(json_array_size(t), 18);
	t = json_object_get(v, "registry");
	cr_assert_eq(json_integer_value(json_object_get(t, "services")), 2);
	cr_assert_eq((uint64_t)json_integer_value(json_object_get(t, "index")),
		     wm_registry_index(registry));
	t = json_object_get(v, "tables");
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(t, "sets"), "used")), 2);
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(t, "sets"), "cap")), 64);
	t = json_object_get(v, "plane");
	cr_assert(json_is_false(json_object_get(t, "attached")));
	cr_assert_str_eq(json_string_value(json_object_get(t, "error")), "no BTF");
	cr_assert_str_eq(json_string_value(json_object_get(t, "state")), "off");
	cr_assert_eq(json_array_size(json_object_get(t, "reasons")), 0);
	t = json_object_get(v, "http");
	cr_assert_eq(json_integer_value(json_object_get(t, "connections")), 1);
	cr_assert_gt(json_integer_value(json_object_get(json_object_get(v, "api"), "api_writes")),
		     1);
	json_decref(v);
	cr_assert_eq(get("/v1/waymark/maps"), 200);
	v = json_loads(one.body, JSON_REJECT_DUPLICATES, NULL);
	cr_assert(v, "%s", one.body);
	cr_assert(json_is_array(json_object_get(v, "maps")));
	json_decref(v);
}

/* Every route that the API tells of is served, and tells its methods. */
Test(api, routes_are_served_as_listed)
{
	const char *method, *path;
	json_t *v, *item;
	size_t i;

	cr_assert_eq(get("/v1/waymark/routes"), 200);
	v = json_loads(one.body, 0, NULL);
	cr_assert_gt(json_array_size(v), 20);
	json_array_foreach(v, i, item)
	{
		method = json_string_value(json_object_get(item, "method"));
		path = json_string_value(json_object_get(item, "path"));
		ask("OPTIONS", path, NULL);
		cr_expect_eq(one.status, 200, "%s", path);
		cr_expect(strstr(header(&one, "Allow"), method), "%s", path);
		if (strcmp(path, "/v1/waymark/events") != 0) { /* which does not end */
			ask(method, path, NULL);
			cr_expect(!strstr(one.body, "not a recognized"), "%s", path);
			cr_expect_neq(one.status, 405, "%s", path);
		}
		ask("TRACE", path, NULL);
		cr_expect_eq(one.status, 405, "%s", path);
	}
	json_decref(v);
}

/* --- a store that fails ------------------------------------------------------------------------
 */

static char dir[64], db[96];

static void setup_store(void)
{
	api_setup();
	snprintf(dir, sizeof(dir), "/tmp/wm-api-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(db, sizeof(db), "%s/registry.db", dir);
	registry_config.path = db;
	api_start();
}

static void teardown_store(void)
{
	static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".new", ".lock"};
	char path[128];

	teardown();
	for (unsigned i = 0; i < WM_ARRAY_LEN(suffixes); i++) {
		snprintf(path, sizeof(path), "%s%s", db, suffixes[i]);
		unlink(path);
	}
	cr_expect_eq(rmdir(dir), 0);
}

TestSuite(api_store, .init = setup_store, .fini = teardown_store, .timeout = 300);

Test(api_store, a_write_that_is_not_durable_is_an_error_and_changes_nothing)
{
	struct rlimit old, none;

	must_put(REGISTER, "{\"Name\":\"before\"}");
	signal(SIGXFSZ, SIG_IGN);
	cr_assert_eq(getrlimit(RLIMIT_FSIZE, &old), 0);
	none = old;
	none.rlim_cur = 1; /* as a full disk */
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &none), 0);
	cr_assert_geq(put(REGISTER, "{\"Name\":\"web\",\"Port\":80}"), 500, "%d", one.status);
	cr_assert_gt(strlen(one.body), 0);
	cr_assert_eq(setrlimit(RLIMIT_FSIZE, &old), 0);
	cr_assert(!wm_registry_service(registry, "web"));
	cr_assert_lt(wm_tables_set_of(tables, "web"), 0);
	/* reads went on, and writes go on when there is room again */
	expect_json("/v1/catalog/services", "{\"before\":[]}");
	must_put(REGISTER, "{\"Name\":\"web\",\"Port\":80}");
	expect_json("/v1/catalog/services", "{\"before\":[],\"web\":[]}");
}
