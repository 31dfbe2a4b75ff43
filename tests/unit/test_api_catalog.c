/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Writes into the catalog and transactions: texts, shapes and statuses as a real Consul answers. */
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

TestSuite(api_catalog, .init = setup, .fini = teardown, .timeout = 300);

#define CATALOG_REGISTER   "/v1/catalog/register"
#define CATALOG_DEREGISTER "/v1/catalog/deregister"
#define TXN		   "/v1/txn"

static const char wax[] =
	"{\"Node\": \"shale-9\", \"Address\": \"10.8.9.9\", \"NodeMeta\": {\"zone\": \"z9\"}, "
	"\"Service\": {\"ID\": \"wax-1\", \"Service\": \"wax\", \"Port\": 70, \"Tags\": [\"t\"]}, "
	"\"Check\": {\"CheckID\": \"service:wax-1\", \"Name\": \"wax\", \"ServiceID\": \"wax-1\", "
	"\"Status\": \"passing\"}}";

static void must_write(const char *path, const char *body)
{
	cr_assert_eq(put(path, body), 200, "%s: %d %s", path, one.status, one.body);
	cr_assert_str_eq(one.body, "true");
	cr_assert_str_eq(header(&one, "Content-Type"), "application/json");
}

static void refused(const char *path, const char *body, int status, const char *text)
{
	cr_assert_eq(put(path, body), status, "%s: %d %s", body, one.status, one.body);
	cr_assert_str_eq(one.body, text);
}

static bool shows(const char *path, const char *text)
{
	cr_assert_eq(get(path), 200);
	return strstr(one.body, text) != NULL;
}

Test(api_catalog, a_registration_is_in_every_read)
{
	must_write(CATALOG_REGISTER, wax);
	cr_assert(shows("/v1/health/service/wax",
			"[{\"Node\":{\"ID\":\"\",\"Node\":\"shale-9\",\"Address\":\"10.8.9.9\","));
	cr_assert(strstr(one.body, "\"Meta\":{\"zone\":\"z9\"}"));
	cr_assert(strstr(one.body, "\"CheckID\":\"service:wax-1\",\"Name\":\"wax\","
				   "\"Status\":\"passing\""));
	cr_assert_null(strstr(one.body, "serfHealth"), "there is no agent on that node");
	cr_assert(shows("/v1/catalog/service/wax", "\"Node\":\"shale-9\""));
	cr_assert(shows("/v1/catalog/services?node-meta=zone:z9", "{\"wax\":[\"t\"]}"));
	cr_assert(shows("/v1/catalog/services?node-meta=zone:z8", "{}"));
	cr_assert(shows("/v1/catalog/nodes", "\"Node\":\"shale-9\""));
	cr_assert(strstr(one.body, "\"Node\":\"n1\""));
	cr_assert(shows("/v1/catalog/node/SHALE-9", "\"Services\":{\"wax-1\":{"));
	cr_assert(shows("/v1/health/node/shale-9", "[{\"Node\":\"shale-9\",\"CheckID\":"));
	cr_assert(shows("/v1/health/state/passing", "\"Node\":\"shale-9\""));
	cr_assert(shows("/v1/health/service/wax?filter=Node.Node==%22shale-9%22", "wax-1"));
	cr_assert(shows("/v1/health/service/wax?filter=Checks.CheckID==serfHealth", "[]"));
	/* but it is none of this agent's */
	cr_assert(shows("/v1/agent/services", "{}"));
	cr_assert(shows("/v1/agent/checks", "{}"));
	cr_assert_eq(get("/v1/agent/service/wax-1"), 404);
	cr_assert_eq(get("/v1/agent/health/service/name/wax"), 404);
}

/* As Consul's Go client sends a service whose weights nobody set. */
Test(api_catalog, weights_of_zero_are_none)
{
	must_write(CATALOG_REGISTER,
		   "{\"Node\":\"a\",\"Address\":\"10.8.1.1\",\"Service\":{\"Service\":\"zero\","
		   "\"Weights\":{\"Passing\":0,\"Warning\":0}}}");
	cr_assert(shows("/v1/catalog/service/zero",
			"\"ServiceWeights\":{\"Passing\":1,\"Warning\":1}"));
	refused(CATALOG_REGISTER,
		"{\"Node\":\"a\",\"Address\":\"10.8.1.1\",\"Service\":{\"Service\":\"zero\","
		"\"Weights\":{\"Passing\":0,\"Warning\":1}}}",
		400, "Invalid Weights: Passing must be greater than 0");
}

Test(api_catalog, what_is_missing_is_named)
{
	refused(CATALOG_REGISTER, "{\"Node\": \"shale-9\"}", 500,
		"Must provide address if SkipNodeUpdate is not set");
	refused(CATALOG_REGISTER, "{\"Address\": \"1.2.3.4\"}", 500, "Must provide node");
	refused(CATALOG_DEREGISTER, "{}", 500, "Must provide node");
	refused(CATALOG_REGISTER,
		"{\"Node\": \"a\", \"Address\": \"1.2.3.4\", \"Service\": {\"ID\": \"x\"}}", 500,
		"Must provide service name (Service.Service) when service ID is provided");
	refused(CATALOG_REGISTER, "{\"Node\": \"a\", \"Addrezz\": \"1.2.3.4\"}", 400,
		"Request decode failed: json: unknown field \"Addrezz\"");
	refused(CATALOG_REGISTER, "{\"Node\": \"a\", \"Address\": 7}", 400,
		"Request decode failed: Address must be a string, not a number");
	refused(CATALOG_REGISTER,
		"{\"Node\": \"a\", \"Address\": \"1.2.3.4\", \"Datacenter\": \"far\"}", 500,
		"No path to datacenter");
	refused(CATALOG_REGISTER, "{\"Node\": \"a\", \"Address\": \"1.2.3.400\"}", 400,
		"Invalid node address: \"1.2.3.400\" is no IPv4 address, no IPv6 address and no "
		"host name of at most 253 characters");
	cr_assert_eq(wm_registry_nodes(registry), 1);
}

Test(api_catalog, deregistration_takes_a_check_a_service_or_the_node)
{
	must_write(CATALOG_REGISTER, wax);
	must_write(CATALOG_DEREGISTER, "{\"Node\": \"shale-9\", \"CheckID\": \"service:wax-1\"}");
	cr_assert(shows("/v1/health/service/wax", "\"Checks\":[]"));
	must_write(CATALOG_DEREGISTER, "{\"Node\": \"shale-9\", \"ServiceID\": \"wax-1\"}");
	cr_assert(shows("/v1/catalog/node/shale-9", "\"Services\":{}"));
	must_write(CATALOG_DEREGISTER, "{\"Node\": \"shale-9\"}");
	cr_assert(shows("/v1/catalog/node/shale-9", "null"));
	must_write(CATALOG_DEREGISTER, "{\"Node\": \"shale-9\"}");
}

Test(api_catalog, a_client_sends_back_what_it_read)
{
	char body[8192];
	const char *node;

	must_write(CATALOG_REGISTER, wax);
	cr_assert_eq(get("/v1/catalog/node/shale-9"), 200);
	node = strstr(one.body, "{\"ID\":\"wax-1\"");
	cr_assert_not_null(node);
	snprintf(body, sizeof(body),
		 "{\"Node\": \"shale-9\", \"SkipNodeUpdate\": true, \"Service\": %.*s}",
		 (int)(strlen(node) - 2), node);
	must_write(CATALOG_REGISTER, body);
	cr_assert_eq(get("/v1/health/checks/wax"), 200);
	snprintf(body, sizeof(body),
		 "{\"Node\": \"shale-9\", \"SkipNodeUpdate\": true, "
		 "\"Checks\": %s}",
		 one.body);
	must_write(CATALOG_REGISTER, body);
}

Test(api_catalog, another_programs_check_is_told_without_its_secrets)
{
	must_write(CATALOG_REGISTER,
		   "{\"Node\": \"a\", \"Address\": \"10.8.1.1\", \"Check\": {\"Name\": \"web\", "
		   "\"Status\": \"warning\", \"Definition\": {\"HTTP\": \"http://u:p@10.8.1.1/\", "
		   "\"Body\": \"pin=1\", \"Interval\": \"10s\", \"Header\": {\"X-A\": [\"1\", "
		   "\"2\"]}}}}");
	cr_assert(shows("/v1/health/node/a",
			"\"Definition\":{\"HTTP\":\"http://hidden@10.8.1.1/\",\"Body\":\"hidden\","
			"\"Header\":{\"X-A\":[\"hidden\",\"hidden\"]},\"Interval\":\"10s\""));
	cr_assert(strstr(one.body, "\"CheckID\":\"web\",\"Name\":\"web\",\"Status\":\"warning\""));
}

/* Each member of Consul's HealthCheckDefinition is there again, or is refused. */
Test(api_catalog, what_a_definition_tells_is_kept)
{
	static const char *const members[] = {"\"HTTP\":\"http://10.8.1.1/\"",
					      "\"TCP\":\"10.8.1.1:80\"",
					      "\"UDP\":\"10.8.1.1:53\"",
					      "\"H2PING\":\"10.8.1.1:443\"",
					      "\"OSService\":\"nginx.service\"",
					      "\"H2PingUseTLS\":true",
					      "\"OutputMaxSize\":8192",
					      "\"GRPC\":\"10.8.1.1:50051/svc\"",
					      "\"GRPCUseTLS\":true",
					      "\"AliasNode\":\"b\"",
					      "\"AliasService\":\"web-1\"",
					      "\"TTL\":30000000000",
					      "\"DisableRedirects\":true",
					      "\"Method\":\"HEAD\"",
					      "\"TLSServerName\":\"web\"",
					      "\"TLSSkipVerify\":true",
					      "\"TCPUseTLS\":true"};
	char body[2048], all[1024] = "";

#define CHECK_OF                                                                                   \
	"{\"Node\":\"a\",\"Address\":\"10.8.1.1\",\"Check\":{\"Name\":\"web\",\"Definition\":{%s}" \
	"}}"
	for (unsigned i = 0; i < WM_ARRAY_LEN(members); i++) {
		char shown[128];

		snprintf(body, sizeof(body), CHECK_OF, members[i]);
		must_write(CATALOG_REGISTER, body);
		snprintf(shown, sizeof(shown), "\"Definition\":{%s}", members[i]);
		cr_expect(shows("/v1/health/node/a", shown), "%s: %s", members[i], one.body);
		snprintf(all + strlen(all), sizeof(all) - strlen(all), "%s%s", i ? "," : "",
			 members[i]);
	}
	/* all of them together: nothing makes room for another */
	snprintf(body, sizeof(body), CHECK_OF, all);
	must_write(CATALOG_REGISTER, body);
	for (unsigned i = 0; i < WM_ARRAY_LEN(members); i++)
		cr_expect(shows("/v1/health/node/a", members[i]), "%s: %s", members[i], one.body);
	/* what says nothing is not kept; a URL's password is not shown, whatever it stands for */
	snprintf(body, sizeof(body), CHECK_OF,
		 "\"UDP\":\"\",\"GRPCUseTLS\":false,\"TTL\":\"0s\",\"Header\":null,"
		 "\"H2PING\":\"https://u:p@10.8.1.1/\",\"HTTP\":\"localhost/x\"");
	must_write(CATALOG_REGISTER, body);
	cr_expect(shows("/v1/health/node/a", "\"Definition\":{\"H2PING\":\"https://hidden@10.8.1.1/"
					     "\",\"HTTP\":\"localhost/x\"}"),
		  "%s", one.body);
	snprintf(body, sizeof(body), CHECK_OF, "\"ScriptArgs\":[\"/bin/true\"]");
	cr_expect_eq(put(CATALOG_REGISTER, body), 400);
	cr_expect_str_eq(one.body, "Request decode failed: json: unknown field \"ScriptArgs\"");
	snprintf(body, sizeof(body), CHECK_OF, "\"UDP\":7");
	cr_expect_eq(put(CATALOG_REGISTER, body), 400);
	cr_expect_str_eq(one.body, "Request decode failed: Check.Definition.UDP must be a string, "
				   "not a number");
}

Test(api_catalog, a_type_is_kept_as_it_was_written)
{
	must_write(
		CATALOG_REGISTER,
		"{\"Node\":\"a\",\"Address\":\"10.8.1.1\",\"Checks\":[{\"CheckID\":\"x\",\"Name\":"
		"\"x\",\"Type\":\"icmp\"},{\"CheckID\":\"y\",\"Name\":\"y\"}]}");
	cr_assert(shows("/v1/health/node/a", "\"CheckID\":\"x\""));
	cr_assert(strstr(one.body, "\"Type\":\"icmp\""), "%s", one.body);
	cr_assert(strstr(one.body, "\"Type\":\"\""), "%s", one.body);
	cr_assert(shows("/v1/health/node/a?filter=Type==icmp", "\"CheckID\":\"x\""));
	cr_assert_null(strstr(one.body, "\"CheckID\":\"y\""));
	must_write(CATALOG_REGISTER,
		   "{\"Node\":\"a\",\"SkipNodeUpdate\":true,\"Check\":{\"CheckID\":\"x\",\"Name\":"
		   "\"x\",\"Type\":\"http\"}}");
	cr_assert(shows("/v1/health/node/a", "\"Type\":\"http\""));
	cr_assert_eq(put("/v1/catalog/register",
			 "{\"Node\":\"a\",\"SkipNodeUpdate\":true,\"Check\":{\"CheckID\":\"x\","
			 "\"Name\":\"x\",\"Type\":\"a\\nb\"}}"),
		     400);
	cr_assert(strstr(one.body, "Type must not contain control characters"), "%s", one.body);
}

#define UUID_A "aaaaaaaa-0000-4000-8000-000000000001"
#define UUID_B "bbbbbbbb-0000-4000-8000-000000000002"
#define UUID_C "cccccccc-0000-4000-8000-000000000003"

static int node_put(const char *name, const char *id, const char *service)
{
	char body[512];

	snprintf(body, sizeof(body),
		 "{\"Node\":\"%s\",\"ID\":\"%s\",\"Address\":\"10.9.0.1\"%s%s%s}", name, id,
		 *service ? ",\"Service\":{\"Service\":\"" : "", service, *service ? "\"}" : "");
	return put(CATALOG_REGISTER, body);
}

/* As Consul: an id that comes with another name is a rename, with a name that has another id a
 * refusal. */
Test(api_catalog, an_id_is_one_nodes)
{
	char own[256];

	cr_assert_eq(node_put("old", UUID_A, "web"), 200);
	cr_assert_eq(node_put("new", UUID_A, "db"), 200, "%s", one.body);
	cr_assert(shows("/v1/catalog/node/old", "null"));
	cr_assert(shows("/v1/catalog/services", "{\"db\":[]}"), "what was on it is gone: %s",
		  one.body);
	cr_assert(shows("/v1/catalog/node/new", "\"ID\":\"" UUID_A "\",\"Node\":\"new\""));
	/* in either case it is the same */
	cr_assert_eq(node_put("new", "AAAAAAAA-0000-4000-8000-000000000001", ""), 200);
	cr_assert(shows("/v1/catalog/services", "{\"db\":[]}"));
	/* a name that is another's */
	cr_assert_eq(node_put("new", UUID_B, ""), 409);
	cr_assert_str_eq(one.body, "Error while renaming Node ID: \"" UUID_B "\": Node name new is "
				   "reserved by node " UUID_A " with name new (10.9.0.1)");
	cr_assert_eq(node_put("third", UUID_C, ""), 200);
	cr_assert_eq(node_put("new", UUID_C, ""), 409);
	cr_assert(shows("/v1/catalog/node/third", UUID_C));
	/* one without an id gets one; not one that somebody has */
	cr_assert_eq(node_put("plain", "", ""), 200);
	cr_assert_eq(node_put("plain", UUID_C, ""), 409);
	cr_assert_eq(node_put("plain", UUID_B, ""), 200);
	cr_assert(shows("/v1/catalog/node/plain", UUID_B));
	/* this agent's */
	get("/v1/agent/self");
	snprintf(own, sizeof(own), "%.36s", strstr(one.body, "\"NodeID\":\"") + 10);
	cr_assert_eq(node_put("thief", own, ""), 409);
	cr_assert_eq(node_put("n1", UUID_A, ""), 409);
	cr_assert_eq(node_put("bad", "7d1f", ""), 400);
	cr_assert_str_eq(one.body, "Bad node ID: \"7d1f\" is no UUID");
	/* one that is known to be dead gives its name away */
	cr_assert_eq(put(CATALOG_REGISTER,
			 "{\"Node\":\"third\",\"SkipNodeUpdate\":true,\"Check\":{\"CheckID\":"
			 "\"serfHealth\",\"Name\":\"x\",\"Status\":\"critical\"}}"),
		     200);
	cr_assert_eq(node_put("third", "dddddddd-0000-4000-8000-000000000004", ""), 200);
}

Test(api_catalog, a_rename_that_is_undone_leaves_no_trace)
{
	static const char rename[] =
		"[{\"Node\":{\"Verb\":\"set\",\"Node\":{\"Node\":\"new\",\"ID\":\"" UUID_A
		"\",\"Address\":\"10.9.0.2\"}}},{\"Node\":{\"Verb\":\"%s\",\"Node\":{\"Node\":"
		"\"none\"}}}]";
	char body[512];

	cr_assert_eq(node_put("old", UUID_A, "web"), 200);
	snprintf(body, sizeof(body), rename, "get");
	cr_assert_eq(put("/v1/txn", body), 409, "%s", one.body);
	cr_assert(shows("/v1/catalog/node/new", "null"));
	cr_assert(shows("/v1/catalog/node/old", UUID_A));
	cr_assert(shows("/v1/catalog/services", "{\"web\":[]}"));
	/* the id is where it was: it can be renamed, and then comes back under its old name */
	snprintf(body, sizeof(body), rename, "delete");
	cr_assert_eq(put("/v1/txn", body), 200, "%s", one.body);
	cr_assert(shows("/v1/catalog/node/old", "null"));
	cr_assert_eq(node_put("old", UUID_A, ""), 200);
	cr_assert(shows("/v1/catalog/node/new", "null"));
}

Test(api_catalog, a_transaction_reports_each_object)
{
	static const char body[] =
		"[{\"Node\": {\"Verb\": \"set\", \"Node\": {\"Node\": \"slate-1\", \"Address\": "
		"\"10.8.7.1\"}}}, {\"Service\": {\"Verb\": \"set\", \"Node\": \"slate-1\", "
		"\"Service\": {\"ID\": \"tin-1\", \"Service\": \"tin\", \"Port\": 81}}}, "
		"{\"Check\": "
		"{\"Verb\": \"set\", \"Check\": {\"Node\": \"slate-1\", \"CheckID\": \"tin\", "
		"\"Name\": \"tin\", \"ServiceID\": \"tin-1\", \"Status\": \"passing\"}}}, "
		"{\"KV\": null, \"Service\": {\"Verb\": \"get\", \"Node\": \"slate-1\", "
		"\"Service\": {\"ID\": \"tin-1\"}}, \"Check\": null}]";
	const char *first, *second;

	cr_assert_eq(put(TXN, body), 200, "%s", one.body);
	cr_assert(strstr(one.body, "{\"Results\":[{\"Node\":{\"ID\":\"\",\"Node\":\"slate-1\","));
	first = strstr(one.body, "{\"Service\":{\"ID\":\"tin-1\",\"Service\":\"tin\"");
	cr_assert(first &&
		  strstr(one.body, "{\"Check\":{\"Node\":\"slate-1\",\"CheckID\":\"tin\""));
	second = strstr(first + 1, "{\"Service\":{\"ID\":\"tin-1\"");
	cr_assert_not_null(second);
	cr_assert(strstr(second, "}}],\"Errors\":null}"));
	cr_assert_eq(put(TXN, "[{\"Node\": {\"Verb\": \"delete\", \"Node\": {\"Node\": "
			      "\"slate-1\"}}}]"),
		     200);
	cr_assert_str_eq(one.body, "{\"Results\":[],\"Errors\":null}");
	cr_assert_eq(wm_registry_instances(registry), 0);
}

Test(api_catalog, a_transaction_fails_whole_and_says_where)
{
	refused(TXN,
		"[{\"Service\": {\"Verb\": \"get\", \"Node\": \"slate-1\", \"Service\": {\"ID\": "
		"\"none\"}}}, {\"Service\": {\"Verb\": \"delete\", \"Node\": \"slate-1\", "
		"\"Service\": {\"ID\": \"tin-1\"}}}]",
		409,
		"{\"Results\":null,\"Errors\":[{\"OpIndex\":1,\"What\":\"Must provide service name "
		"(Service.Service) when service ID is provided\"}]}");
	refused(TXN,
		"[{\"Service\": {\"Verb\": \"zap\", \"Node\": \"slate-1\", \"Service\": {\"ID\": "
		"\"x\"}}}]",
		409,
		"{\"Results\":null,\"Errors\":[{\"OpIndex\":0,\"What\":\"unknown service "
		"operation: "
		"zap\"}]}");
	refused(TXN, "{}", 400,
		"Failed to parse body: json: cannot unmarshal object into Go value of type "
		"api.TxnOps");
	refused(TXN,
		"[{\"Node\": {\"Verb\": \"set\", \"Node\": {\"Node\": \"a\", \"Address\": "
		"\"10.8.7.1\"}}}, {\"Node\": {\"Verb\": \"get\", \"Node\": {\"Node\": \"b\"}}}]",
		409,
		"{\"Results\":null,\"Errors\":[{\"OpIndex\":1,\"What\":\"node \\\"b\\\" doesn't "
		"exist\"}]}");
	cr_assert_eq(wm_registry_nodes(registry), 1, "the first operation was taken back");
	refused(TXN, "[{\"KV\": {\"Verb\": \"set\", \"Key\": \"k\"}}]", 409,
		"{\"Results\":null,\"Errors\":[{\"OpIndex\":0,\"What\":\"KV operations are not "
		"supported\"}]}");
}

Test(api_catalog, an_empty_transaction_is_a_read)
{
	cr_assert_eq(put(TXN, "[]"), 200);
	cr_assert(strstr(one.body, "{\"Results\":[],\"Errors\":null,\"Index\":"));
	cr_assert(strstr(one.body, ",\"LastContact\":0,\"KnownLeader\":true,\"ConsistencyLevel\":"
				   "\"\",\"NotModified\":false,\"Backend\":0,"
				   "\"ResultsFilteredByACLs\":false}"));
	cr_assert_str_eq(header(&one, "X-Consul-KnownLeader"), "true");
}

Test(api_catalog, a_transaction_has_at_most_128_operations)
{
	static char body[129 * 64 + 8];
	size_t len = 1;

	body[0] = '[';
	for (unsigned n = 0; n < 129; n++)
		len += (size_t)snprintf(
			body + len, sizeof(body) - len,
			"%s{\"Node\":{\"Verb\":\"get\",\"Node\":{\"Node\":\"n1\"}}}", n ? "," : "");
	snprintf(body + len, sizeof(body) - len, "]");
	refused(TXN, body, 413, "Transaction contains too many operations (129 > 128)");
}

Test(api_catalog, watchers_of_nodes_and_services_wake)
{
	unsigned long nodes, service;
	struct client a, b;
	char path[128];

	must_write(CATALOG_REGISTER, wax);
	cr_assert_eq(get("/v1/catalog/nodes"), 200);
	nodes = index_of(&one);
	cr_assert_eq(get("/v1/health/service/wax"), 200);
	service = index_of(&one);
	must_write(CATALOG_REGISTER, wax);
	cr_assert_eq(get("/v1/health/service/wax"), 200);
	cr_assert_eq(index_of(&one), service, "the same again changes nothing");
	client_open(&a);
	client_open(&b);
	snprintf(path, sizeof(path), "/v1/catalog/nodes?index=%lu", nodes);
	client_send(&a, "GET", path, NULL);
	snprintf(path, sizeof(path), "/v1/health/service/wax?index=%lu", service);
	client_send(&b, "GET", path, NULL);
	turns(5);
	must_write(CATALOG_REGISTER, "{\"Node\": \"slate-1\", \"Address\": \"10.8.7.1\"}");
	UNTIL(client_has(&a));
	cr_assert(strstr(a.body, "slate-1"));
	turns(5);
	cr_assert(!client_has(&b), "another node is none of its business");
	must_write(CATALOG_REGISTER, "{\"Node\": \"shale-9\", \"Address\": \"10.8.9.10\"}");
	UNTIL(client_has(&b));
	cr_assert(strstr(b.body, "\"Address\":\"10.8.9.10\""));
	client_close(&a);
	client_close(&b);
}
