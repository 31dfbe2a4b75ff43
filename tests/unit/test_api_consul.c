/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
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

TestSuite(consul, .init = setup, .fini = teardown, .timeout = 300);

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

static void expect_headers(const char *path, int status, bool has_index)
{
	cr_expect_eq(get(path), status, "%s: %d", path, one.status);
	cr_expect_str_eq(header(&one, "X-Consul-Default-ACL-Policy"), "allow", "%s", path);
	cr_expect_str_eq(header(&one, "Vary"), "Accept-Encoding", "%s", path);
	cr_expect_str_eq(header(&one, "X-Consul-Query-Backend"), has_index ? "blocking-query" : "",
			 "%s", path);
	cr_expect_eq(index_of(&one) > 0, has_index, "%s", path);
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

#define WRITE "/v1/catalog/register"
static const char proxy[] =
	"{\"DestinationServiceName\":\"web\",\"local_service_port\":80,\"Mode\":\"transparent\","
	"\"Config\":{\"a\":[1,\"x\\\"}\",{}],\"b\":{\"c\":null}},\"MeshGateway\":{\"Mode\":"
	"\"local\"},"
	"\"Expose\":{\"Checks\":true,\"Paths\":[{\"Path\":\"/x\"}]},"
	"\"Upstreams\":[{\"destination_name\":\"db\",\"localBindPort\":9191,"
	"\"destination_type\":\"\",\"mesh_gateway\":{\"mode\":\"local\"}}],"
	"\"access_logs\":{\"enabled\":true,\"json_format\":\"{}\"},"
	"\"envoy_extensions\":[{\"Name\":\"lua\",\"Arguments\":{\"any\":[1]}}],"
	"\"TransparentProxy\":{\"dialed_directly\":true}}";
static const char shown[] =
	"{\"Mode\":\"transparent\",\"MeshGateway\":{\"Mode\":\"local\"},"
	"\"Expose\":{\"Checks\":true,\"Paths\":[{\"Path\":\"/x\"}]},"
	"\"AccessLogs\":{\"Enabled\":true,\"JSONFormat\":\"{}\"},"
	"\"Config\":{\"a\":[1,\"x\\\"}\",{}],\"b\":{\"c\":null}},"
	"\"DestinationServiceName\":\"web\","
	"\"EnvoyExtensions\":[{\"Name\":\"lua\",\"Arguments\":{\"any\":[1]}}],"
	"\"LocalServicePort\":80,\"TransparentProxy\":{\"DialedDirectly\":true},"
	"\"Upstreams\":[{\"DestinationName\":\"db\",\"LocalBindPort\":9191,"
	"\"DestinationType\":\"service\",\"MeshGateway\":{\"Mode\":\"local\"}}]}";

/* Discovery data of a mesh that others run. */
Test(consul, what_a_mesh_is_told_is_shown_as_given)
{
	char body[1024];

	snprintf(body, sizeof(body),
		 "{\"ID\": \"p\", \"Name\": \"proxy\", \"Port\": 9, \"Kind\": \"connect-proxy\", "
		 "\"SocketPath\": \"/run/p.sock\", \"Proxy\": %s}",
		 proxy);
	must_put(REGISTER, body);
	must_put(REGISTER, "{\"Name\": \"n\", \"Port\": 8, \"Connect\": {\"Native\": true}}");
	must_put(REGISTER,
		 "{\"Name\": \"plain\", \"Connect\": {\"Native\": false, "
		 "\"SidecarService\": null}, \"Proxy\": {\"Mode\": \"\", \"Expose\": {}}}");
	for (unsigned pretty = 0; pretty < 2; pretty++) {
		expect(pretty ? "/v1/health/service/proxy?pretty" : "/v1/health/service/proxy",
		       "[0].Service.Proxy", shown);
		expect(pretty ? "/v1/catalog/service/proxy?pretty" : "/v1/catalog/service/proxy",
		       "[0].ServiceProxy", shown);
		expect(pretty ? "/v1/agent/service/p?pretty" : "/v1/agent/service/p", "Proxy",
		       shown);
	}
	expect("/v1/health/service/proxy", "[0].Service.Kind", "\"connect-proxy\"");
	expect("/v1/catalog/service/proxy", "[0].ServiceKind", "\"connect-proxy\"");
	expect("/v1/agent/service/p", "Kind", "\"connect-proxy\"");
	expect("/v1/agent/service/p", "SocketPath", "\"/run/p.sock\"");
	expect("/v1/catalog/service/proxy", "[0].ServiceSocketPath", "\"/run/p.sock\"");
	expect("/v1/health/service/n", "[0].Service.Connect", "{\"Native\":true}");
	expect("/v1/agent/service/n", "Connect.Native", "true");
	expect("/v1/health/service/plain", "[0].Service.Connect", "{}");
	expect("/v1/health/service/plain", "[0].Service.Proxy",
	       "{\"Mode\":\"\",\"MeshGateway\":{},\"Expose\":{}}");
	expect("/v1/health/service/plain", "[0].Service.Kind", NULL);
	expect("/v1/agent/service/plain", "Proxy", NULL);
}

Test(consul, a_catalog_service_has_a_mesh_as_well)
{
	cr_assert_eq(put(WRITE,
			 "{\"Node\": \"n2\", \"Address\": \"10.1.1.1\", \"Service\": {\"Service\": "
			 "\"w\", \"Port\": 1, \"Kind\": \"odd\", \"Connect\": {\"Native\": true}, "
			 "\"Proxy\": {\"Mode\": \"direct\"}, \"Locality\": {\"Region\": \"eu\"}}}"),
		     200, "%s", one.body);
	expect("/v1/health/service/w", "[0].Service.Kind", "\"odd\"");
	expect("/v1/health/service/w", "[0].Service.Locality", "{\"Region\":\"eu\"}");
	expect("/v1/catalog/service/w", "[0].ServiceProxy.Mode", "\"direct\"");
}

static void wrote(const char *path, const char *body)
{
	cr_assert_eq(put(path, body), 200, "%s", one.body);
}

/* It is a part of the node as a whole: a write without it takes it away. */
Test(consul, a_node_has_a_locality)
{
#define N3 "{\"Node\": \"n3\", \"Address\": \"10.1.1.2\""
	wrote(WRITE, N3 ", \"Locality\": {\"Region\": \"eu\", \"Zone\": \"eu-1\"}}");
	wrote(WRITE, N3 ", \"SkipNodeUpdate\": true, \"Service\": {\"Service\": \"w\"}}");
	expect("/v1/catalog/node/n3", "Node.Locality", "{\"Region\":\"eu\",\"Zone\":\"eu-1\"}");
	expect("/v1/catalog/nodes?filter=Node==n3", "[0].Locality.Zone", "\"eu-1\"");
	expect("/v1/health/service/w", "[0].Node.Locality.Region", "\"eu\"");
	expect("/v1/health/service/w", "[0].Service.Locality", NULL);
	cr_expect_eq(put(WRITE, N3 ", \"Locality\": {\"Zone\": \"z\"}}"), 400);
	cr_expect_str_eq(one.body, "Locality: zone cannot be set without region");
	cr_expect_eq(put(WRITE, N3 ", \"Locality\": {\"Odd\": \"z\"}}"), 400);
	wrote("/v1/txn",
	      "[{\"Node\": {\"Verb\": \"set\", \"Node\": {\"Node\": \"n3\", \"Address\": "
	      "\"10.1.1.2\", \"Locality\": {\"Region\": \"us\"}}}}]");
	expect("/v1/catalog/node/n3", "Node.Locality", "{\"Region\":\"us\"}");
	wrote(WRITE, N3 "}");
	expect("/v1/catalog/node/n3", "Node.Locality", NULL);
	expect("/v1/catalog/node/n3", "Node.Address", "\"10.1.1.2\"");
}

Test(consul, what_a_mesh_would_refuse_is_refused)
{
	static const struct {
		const char *members, *text;
	} all[] = {
		{"\"Kind\": \"connect-proxy\", \"Proxy\": {\"DestinationServiceName\": \"a\"}",
		 "Port or SocketPath must be set for a connect-proxy"},
		{"\"Kind\": \"connect-proxy\", \"Port\": 1",
		 "Proxy.DestinationServiceName must be non-empty and no wildcard for Connect proxy "
		 "services"},
		{"\"Kind\": \"mesh-gateway\"", "Port must be non-zero for a mesh-gateway"},
		{"\"Connect\": {\"Native\": true}",
		 "Port or SocketPath must be set for a Connect native service."},
		{"\"Locality\": {\"Zone\": \"z\"}", "Locality: zone cannot be set without region"},
		{"\"Proxy\": {\"Odd\": 1}", "Request decode failed: json: unknown field \"Odd\""},
		{"\"Proxy\": {\"Config\": 7}",
		 "Request decode failed: Proxy.Config must be an object, not a number"},
		{"\"Proxy\": {\"Upstreams\": [{\"DestinationName\": \"a\"}, {\"Odd\": 1}]}",
		 "Request decode failed: json: unknown field \"Odd\""},
		{"\"Proxy\": {\"Upstreams\": [{\"LocalBindPort\": \"9\"}]}",
		 "Request decode failed: Proxy.Upstreams[0].LocalBindPort must be a whole number "
		 "between 0 and 65535, not a string"},
		{"\"Proxy\": {\"Upstreams\": [7]}", "Request decode failed: Proxy.Upstreams must "
						    "be an array of objects, not a number"},
		{"\"Proxy\": {\"Upstreams\": [{\"MeshGateway\": {\"Mode\": 1}}]}",
		 "Request decode failed: Proxy.Upstreams[0].MeshGateway.Mode must be a string, not "
		 "a "
		 "number"},
		{"\"Proxy\": {\"Expose\": {\"Paths\": [{\"path\": 1}]}}",
		 "Request decode failed: Proxy.Expose.Paths[0].Path must be a string, not a "
		 "number"},
		{"\"Proxy\": {\"AccessLogs\": {\"Odd\": true}}",
		 "Request decode failed: json: unknown field \"Odd\""},
		{"\"Connect\": {\"SidecarService\": {\"ID\": \"x\"}}",
		 "Invalid SidecarService: A SidecarService cannot specify an ID as this is managed "
		 "by the agent"},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		char body[256];

		snprintf(body, sizeof(body), "{\"Name\": \"x\", %s}", all[i].members);
		cr_expect_eq(put(REGISTER, body), 400, "%s", all[i].members);
		cr_expect_str_eq(one.body, all[i].text, "%s: %s", all[i].members, one.body);
	}
	expect("/v1/agent/services", "", "{}");
}

Test(consul, a_sidecar_is_registered_with_consuls_defaults)
{
	must_put(REGISTER, "{\"ID\": \"web-1\", \"Name\": \"web\", \"Port\": 80, \"Address\": "
			   "\"10.1.1.1\", \"Tags\": [\"t\"], \"Meta\": {\"k\": \"v\"}, "
			   "\"Connect\": {\"SidecarService\": {}}}");
#define SIDECAR "/v1/agent/service/web-1-sidecar-proxy"
	expect(SIDECAR, "Service", "\"web-sidecar-proxy\"");
	expect(SIDECAR, "Kind", "\"connect-proxy\"");
	expect(SIDECAR, "Port", "21000");
	expect(SIDECAR, "Address", "\"10.1.1.1\"");
	expect(SIDECAR, "Tags", "[\"t\"]");
	expect(SIDECAR, "Meta", "{\"k\":\"v\"}");
	expect(SIDECAR, "Proxy.DestinationServiceName", "\"web\"");
	expect(SIDECAR, "Proxy.DestinationServiceID", "\"web-1\"");
	expect(SIDECAR, "Proxy.LocalServiceAddress", "\"127.0.0.1\"");
	expect(SIDECAR, "Proxy.LocalServicePort", "80");
	expect("/v1/agent/checks", "service:web-1-sidecar-proxy:1.Name",
	       "\"Connect Sidecar Listening\"");
	expect("/v1/agent/checks", "service:web-1-sidecar-proxy:1.Type", "\"tcp\"");
	expect("/v1/agent/checks", "service:web-1-sidecar-proxy:2.Name",
	       "\"Connect Sidecar Aliasing web-1\"");
	expect("/v1/agent/checks", "service:web-1-sidecar-proxy:2.Type", "\"alias\"");
	expect("/v1/agent/service/web-1", "Kind", NULL);
	/* the next one has the next port; the same keeps its */
	must_put(REGISTER,
		 "{\"Name\": \"b\", \"Port\": 81, \"Connect\": {\"SidecarService\": {}}}");
	must_put(REGISTER, "{\"ID\": \"web-1\", \"Name\": \"web\", \"Port\": 80, "
			   "\"Connect\": {\"SidecarService\": {\"Name\": \"side\", \"Proxy\": "
			   "{\"LocalServicePort\": 99}, \"Check\": {\"TTL\": \"1h\"}}}}");
	expect("/v1/agent/service/b-sidecar-proxy", "Port", "21001");
	expect(SIDECAR, "Port", "21000");
	expect(SIDECAR, "Service", "\"side\"");
	expect(SIDECAR, "Proxy.LocalServicePort", "99");
	must_put("/v1/agent/service/deregister/web-1", NULL);
	expect("/v1/catalog/services", "", "{\"b\":[],\"b-sidecar-proxy\":[]}");
}

/* Together or not at all; and only a sidecar goes along. */
Test(consul, a_sidecar_shares_the_fate_of_its_service)
{
	cr_assert_eq(put(REGISTER,
			 "{\"Name\": \"w\", \"Connect\": {\"SidecarService\": {\"Port\": 1, "
			 "\"Check\": {\"CheckID\": \"c\", \"TTL\": \"1h\"}}}, "
			 "\"Check\": {\"CheckID\": \"c\", \"TTL\": \"1h\"}}"),
		     409, "%s", one.body);
	expect("/v1/agent/services", "", "{}");
	must_put(REGISTER, "{\"Name\": \"w\"}");
	must_put(REGISTER, "{\"ID\": \"w-sidecar-proxy\", \"Name\": \"own\"}");
	must_put("/v1/agent/service/deregister/w", NULL);
	expect("/v1/catalog/services", "", "{\"own\":[]}");
	cr_expect_eq(put("/v1/agent/service/deregister/w", NULL), 404);
}

#define SELECT(expression) "/v1/catalog/service/w?filter=" expression
Test(consul, filters_know_what_a_mesh_is_told)
{
	must_put(REGISTER,
		 "{\"ID\": \"a\", \"Name\": \"w\", \"Port\": 1, \"Kind\": \"connect-proxy\", "
		 "\"SocketPath\": \"/s\", \"Proxy\": {\"DestinationServiceName\": \"web\", "
		 "\"DestinationServiceID\": \"web-1\", \"LocalServicePort\": 80, "
		 "\"Mode\": \"direct\", \"MeshGateway\": {\"Mode\": \"local\"}, "
		 "\"Expose\": {\"Checks\": true, \"paths\": [{\"path\": \"/x\"}]}, "
		 "\"upstreams\": [{\"destination_name\": \"db\", \"local_bind_port\": 1}], "
		 "\"access_logs\": {\"enabled\": true}}}");
	must_put(REGISTER,
		 "{\"ID\": \"b\", \"Name\": \"w\", \"Port\": 1, \"Connect\": {\"Native\": true}}");
	must_put(REGISTER, "{\"ID\": \"c\", \"Name\": \"w\"}");
	static const struct {
		const char *path, *first;
	} all[] = {
		{SELECT("ServiceKind==%22connect-proxy%22"), "\"a\""},
		{SELECT("ServiceKind==%22%22"), "\"b\""},
		{SELECT("ServiceSocketPath==%22/s%22"), "\"a\""},
		{SELECT("ServiceConnect.Native==true"), "\"b\""},
		{SELECT("ServiceProxy.DestinationServiceName==web"), "\"a\""},
		{SELECT("ServiceProxy.DestinationServiceID==%22web-1%22"), "\"a\""},
		{SELECT("ServiceProxy.LocalServicePort==80"), "\"a\""},
		{SELECT("ServiceProxy.LocalServicePort==0"), "\"b\""},
		{SELECT("ServiceProxy.Mode==direct"), "\"a\""},
		{SELECT("ServiceProxy.MeshGateway.Mode==local"), "\"a\""},
		{SELECT("ServiceProxy.Expose.Checks==true"), "\"a\""},
		{SELECT("ServiceProxy.Expose.Checks==false"), "\"b\""},
		{SELECT("ServiceProxy.DestinationServiceName==none"), NULL},
		{SELECT("ServiceProxy.Upstreams.DestinationName==db"), "\"a\""},
		{SELECT("ServiceProxy.Upstreams.DestinationType==service"), "\"a\""},
		{SELECT("ServiceProxy.Upstreams.LocalBindPort==1"), "\"a\""},
		{SELECT("ServiceProxy.Upstreams+is+empty"), "\"b\""},
		{SELECT("ServiceProxy.Expose.Paths.Path==%22/x%22"), "\"a\""},
		{SELECT("ServiceProxy.AccessLogs.Enabled==true"), "\"a\""},
		{SELECT("ServiceProxy.AccessLogs.Enabled!=true"), "\"b\""},
	};
	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++)
		expect(all[i].path, "[0].ServiceID", all[i].first);
	expect("/v1/agent/services?filter=Proxy.Upstreams.DestinationName==db", "a.ID", "\"a\"");
	expect("/v1/agent/services?filter=Proxy.Upstreams.DestinationName==db", "b", NULL);
	expect("/v1/health/service/w?filter=Service.Kind==%22connect-proxy%22", "[0].Service.ID",
	       "\"a\"");
	expect("/v1/agent/services?filter=Connect.Native==true", "b.ID", "\"b\"");
	expect("/v1/agent/services?filter=Connect.Native==true", "a", NULL);
}

/* The expressions of Consul's own tests of its filters, and how many rows they select. */
Test(consul, its_own_filter_tests_select_the_same)
{
	static const struct {
		const char *path;
		unsigned count;
	} all[] = {
		{"/v1/agent/services?filter=foo+in+Meta", 2},
		{"/v1/agent/services?filter=kv+in+Tags", 1},
		{"/v1/agent/checks?filter=Name+==+%60redis%60", 1},
		{"/v1/catalog/nodes?filter=Meta.somekey+==+somevalue", 1},
		{"/v1/catalog/service/consul?filter=NodeMeta.somekey+==+somevalue", 1},
		{"/v1/health/service/consul?filter=Node.Node+==+%60test-health-node%60", 1},
		{"/v1/health/service/consul?filter=Node.Node+==+%60other%60", 0},
		{"/v1/health/checks/consul?filter=Node+==+%60test-health-node%60", 1},
		{"/v1/health/state/any?filter=Name+==+%60consul+check%60", 1},
		{"/v1/health/node/test-health-node?filter=Name+==+%60consul+check%60", 1},
	};

	must_put(REGISTER, "{\"Name\": \"mysql\", \"Tags\": [\"primary\"], \"Meta\": {\"foo\": "
			   "\"bar\"}, \"Port\": 5000}");
	must_put(REGISTER,
		 "{\"Name\": \"redis\", \"Tags\": [\"kv\"], \"Meta\": {\"foo\": \"bar\"}, "
		 "\"Port\": 1234}");
	must_put("/v1/agent/check/register", "{\"Name\": \"mysql\", \"TTL\": \"1h\"}");
	must_put("/v1/agent/check/register", "{\"Name\": \"redis\", \"TTL\": \"1h\"}");
	wrote(WRITE, "{\"Node\": \"test-health-node\", \"Address\": \"127.0.0.2\", \"NodeMeta\": "
		     "{\"somekey\": \"somevalue\"}, \"Service\": {\"Service\": \"consul\"}, "
		     "\"Check\": {\"Node\": \"test-health-node\", \"Name\": \"consul check\", "
		     "\"ServiceID\": \"consul\"}}");
	wrote(WRITE, "{\"Node\": \"foo\", \"Address\": \"127.0.0.1\", \"Service\": {\"Service\": "
		     "\"web-proxy\", \"Kind\": \"connect-proxy\", \"Port\": 2222, \"Proxy\": "
		     "{\"DestinationServiceName\": \"web\"}}}");
	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		json_t *v;

		cr_assert_eq(get(all[i].path), 200, "%s: %s", all[i].path, one.body);
		v = json_loads(one.body, 0, NULL);
		cr_expect_eq(json_is_array(v) ? json_array_size(v) : json_object_size(v),
			     all[i].count, "%s: %s", all[i].path, one.body);
		json_decref(v);
	}
	expect("/v1/catalog/node/foo?filter=Kind+==+%60connect-proxy%60", "Services.web-proxy.Port",
	       "2222");
	expect("/v1/catalog/node/foo?filter=Kind+!=+%60connect-proxy%60", "Services", "{}");
}

/* Locality is told to who asks for region and zone, by the index too, and metadata stays metadata.
 */
Test(consul, locality_feeds_region_and_zone)
{
	must_put(REGISTER,
		 "{\"ID\": \"a\", \"Name\": \"w\", \"Meta\": {\"zone\": \"other\", \"region\": "
		 "\"us\"}, \"Locality\": {\"Region\": \"eu\", \"Zone\": \"eu-1\"}}");
	must_put(REGISTER, "{\"ID\": \"b\", \"Name\": \"w\", \"Meta\": {\"region\": \"eu\"}}");
	must_put(REGISTER, "{\"ID\": \"c\", \"Name\": \"w\", \"Meta\": {\"zone\": \"eu-1\"}, "
			   "\"Locality\": {\"Region\": \"us\"}}");
	expect("/v1/agent/service/a", "Locality", "{\"Region\":\"eu\",\"Zone\":\"eu-1\"}");
	expect("/v1/agent/service/a", "Meta", "{\"region\":\"us\",\"zone\":\"other\"}");
	expect("/v1/health/service/w", "[2].Service.Locality", "{\"Region\":\"us\"}");
	expect("/v1/catalog/service/w", "[0].ServiceLocality.Zone", "\"eu-1\"");
	expect("/v1/catalog/service/w", "[1].ServiceLocality", "null");
	expect("/v1/waymark/instances/a", "Region", "\"eu\"");
	expect("/v1/waymark/instances/a", "Zone", "\"eu-1\"");
#define NATIVE "/v1/waymark/instances?filter="
	expect(NATIVE "Region==eu", "instances[0].Service.ID", "\"a\"");
	expect(NATIVE "Region==eu", "instances[1].Service.ID", "\"b\"");
	expect(NATIVE "Region==eu", "instances[2]", NULL);
	expect(NATIVE "Zone==%22eu-1%22", "instances[0].Service.ID", "\"a\"");
	expect(NATIVE "Zone==%22eu-1%22", "instances[1].Service.ID", "\"c\"");
	expect(NATIVE "Zone==other", "instances", "[]");
	expect(NATIVE "Service.Meta.region==us", "instances[0].Service.ID", "\"a\"");
	expect(NATIVE "Service.Meta.region==us", "instances[1]", NULL);
	expect(NATIVE "Region==eu&explain", "indexed", "true");
}

Test(consul, checks_are_listed_by_id)
{
	must_put(REGISTER, "{\"Name\": \"w\", \"Checks\": [{\"CheckID\": \"zz\", \"TTL\": \"1h\"}, "
			   "{\"CheckID\": \"B\", \"TTL\": \"1h\"}]}");
	must_put("/v1/agent/check/register", "{\"Name\": \"m\", \"TTL\": \"1h\"}");
	must_put(REGISTER, "{\"ID\": \"a\", \"Name\": \"v\", \"Check\": {\"CheckID\": \"c\", "
			   "\"TTL\": \"1h\"}}");
#define STATE "/v1/health/state/any"
	expect(STATE, "[0].CheckID", "\"B\"");
	expect(STATE, "[1].CheckID", "\"c\"");
	expect(STATE, "[2].CheckID", "\"m\"");
	expect(STATE, "[3].CheckID", "\"serfHealth\"");
	expect(STATE, "[4].CheckID", "\"zz\"");
	expect("/v1/health/node/n1", "[1].CheckID", "\"c\"");
	expect("/v1/health/node/n1", "[3].CheckID", "\"serfHealth\"");
	expect("/v1/health/checks/w", "[0].CheckID", "\"B\"");
	expect("/v1/health/state/critical", "[2].CheckID", "\"m\"");
	expect("/v1/health/state/critical", "[3].CheckID", "\"zz\"");
}

/* Proxies of whatever services whose destination it is, and what speaks for itself. */
Test(consul, connect_lists_what_stands_for_a_service)
{
	struct client c;
	char path[128];

	must_put(REGISTER, "{\"ID\": \"plain\", \"Name\": \"Web\", \"Port\": 1}");
	must_put(REGISTER, "{\"ID\": \"own\", \"Name\": \"web\", \"Port\": 2, "
			   "\"Connect\": {\"Native\": true}}");
	must_put(REGISTER, "{\"ID\": \"other\", \"Name\": \"p\", \"Port\": 3, \"Kind\": "
			   "\"connect-proxy\", \"Proxy\": {\"DestinationServiceName\": \"db\"}}");
	get("/v1/health/connect/web");
	snprintf(path, sizeof(path), "/v1/health/connect/web?index=%lu", index_of(&one));
	client_open(&c);
	client_send(&c, "GET", path, NULL);
	turns(5);
	cr_assert(!client_has(&c));
	must_put(REGISTER, "{\"ID\": \"front\", \"Name\": \"p\", \"Port\": 4, \"Tags\": [\"t\"], "
			   "\"Kind\": \"connect-proxy\", \"Proxy\": {\"DestinationServiceName\": "
			   "\"WEB\"}, \"Check\": {\"TTL\": \"1h\"}}");
	UNTIL(client_has(&c));
	cr_assert(strstr(c.body, "\"front\""));
	client_close(&c);
#define CONNECT "/v1/health/connect/wEb"
	expect(CONNECT, "[0].Service.ID", "\"front\"");
	expect(CONNECT, "[0].Service.Kind", "\"connect-proxy\"");
	expect(CONNECT, "[0].Node.Node", "\"n1\"");
	expect(CONNECT, "[0].Checks[1].CheckID", "\"service:front\"");
	expect(CONNECT, "[1].Service.ID", "\"own\"");
	expect(CONNECT, "[2]", NULL);
	expect(CONNECT "?passing", "[0].Service.ID", "\"own\"");
	expect(CONNECT "?passing", "[1]", NULL);
	expect(CONNECT "?tag=t&near=_agent", "[0].Service.ID", "\"front\"");
	expect(CONNECT "?tag=t", "[1]", NULL);
	expect(CONNECT "?filter=Service.Port==2", "[0].Service.ID", "\"own\"");
	expect(CONNECT "?filter=Service.Port==2", "[1]", NULL);
	expect(CONNECT "?node-meta=a:b", "", "[]");
	expect("/v1/health/connect/p", "", "[]");
	expect("/v1/catalog/connect/WEB", "[0].ServiceID", "\"front\"");
	expect("/v1/catalog/connect/WEB", "[1].ServiceID", "\"own\"");
	expect("/v1/catalog/connect/WEB", "[2]", NULL);
	expect("/v1/catalog/connect/web?tag=t", "[1]", NULL);
	expect("/v1/catalog/connect/web?filter=ServicePort==2", "[0].ServiceID", "\"own\"");
	expect("/v1/catalog/connect/db", "[0].ServiceID", "\"other\"");
	/* it follows what they say of themselves, and forgets them */
	must_put(REGISTER, "{\"ID\": \"other\", \"Name\": \"q\", \"Port\": 3, \"Kind\": "
			   "\"connect-proxy\", \"Proxy\": {\"DestinationServiceName\": \"web\"}}");
	must_put("/v1/agent/service/deregister/front", NULL);
	must_put(REGISTER, "{\"ID\": \"own\", \"Name\": \"web\", \"Port\": 2}");
	expect("/v1/catalog/connect/db", "", "[]");
	expect("/v1/catalog/connect/web", "[0].ServiceID", "\"other\"");
	expect("/v1/catalog/connect/web", "[1]", NULL);
	must_put("/v1/agent/service/deregister/other", NULL);
	expect("/v1/catalog/connect/web", "", "[]");
}

static void register_at(const char *node, const char *id)
{
	char body[256];

	snprintf(body, sizeof(body),
		 "{\"Node\": \"%s\", \"Address\": \"10.9.9.9\", \"Service\": {\"ID\": \"%s\", "
		 "\"Service\": \"w\", \"Port\": 1}}",
		 node, id);
	cr_assert_eq(put("/v1/catalog/register", body), 200, "%s", one.body);
}

Test(consul, instances_are_listed_by_node_and_id)
{
	static const char *const lists[] = {"/v1/health/service/w", "/v1/catalog/service/w",
					    "/v1/health/service/w?near=nobody"};

	register_at("z", "a");
	register_at("A", "y");
	must_put(REGISTER, "{\"ID\": \"b\", \"Name\": \"w\"}");
	must_put(REGISTER, "{\"ID\": \"C\", \"Name\": \"w\"}");
	must_put(REGISTER, "{\"ID\": \"d\", \"Name\": \"w\"}");
	for (unsigned n = 0; n < WM_ARRAY_LEN(lists); n++) {
		const char *where[] = {"[0].Service.ID", "[1].Service.ID", "[2].Service.ID",
				       "[3].Service.ID", "[4].Service.ID"};
		const char *flat[] = {"[0].ServiceID", "[1].ServiceID", "[2].ServiceID",
				      "[3].ServiceID", "[4].ServiceID"};
		const char *want[] = {"\"y\"", "\"b\"", "\"C\"", "\"d\"", "\"a\""};

		for (unsigned k = 0; k < 5; k++)
			expect(lists[n], n == 1 ? flat[k] : where[k], want[k]);
	}
	expect("/v1/catalog/node-services/n1", "Services[0].ID", "\"b\"");
	expect("/v1/catalog/node-services/n1", "Services[1].ID", "\"C\"");
}

/* The node's first, among them the one that it has by itself. */
Test(consul, checks_of_an_entry_are_the_nodes_then_its_own)
{
	must_put(REGISTER, "{\"Name\": \"w\", \"Checks\": [{\"CheckID\": \"c\", \"TTL\": \"1h\"}, "
			   "{\"CheckID\": \"B\", \"TTL\": \"1h\"}]}");
	must_put("/v1/agent/check/register", "{\"Name\": \"z\", \"TTL\": \"1h\"}");
	must_put("/v1/agent/check/register", "{\"Name\": \"M\", \"TTL\": \"1h\"}");
#define ENTRY "/v1/health/service/w"
	expect(ENTRY, "[0].Checks[0].CheckID", "\"M\"");
	expect(ENTRY, "[0].Checks[1].CheckID", "\"serfHealth\"");
	expect(ENTRY, "[0].Checks[2].CheckID", "\"z\"");
	expect(ENTRY, "[0].Checks[3].CheckID", "\"B\"");
	expect(ENTRY, "[0].Checks[4].CheckID", "\"c\"");
	get("/v1/agent/health/service/id/w");
	cr_expect(strstr(one.body, "\"B\"") < strstr(one.body, "\"c\""), "%s", one.body);
}

/* As Go prints a map. */
Test(consul, members_stand_in_their_octets_order)
{
	static const char *const lists[] = {"/v1/agent/services", "/v1/agent/checks",
					    "/v1/catalog/node/n1"};
	char body[128];

	for (const char *id = "qBzaXmCk"; *id; id++) {
		snprintf(body, sizeof(body),
			 "{\"ID\": \"%c_\", \"Name\": \"w\", \"Check\": {\"CheckID\": \"%c_\", "
			 "\"TTL\": \"1h\"}}",
			 *id, *id);
		must_put(REGISTER, body);
	}
	for (unsigned n = 0; n < WM_ARRAY_LEN(lists); n++) {
		const char *at = NULL;

		get(lists[n]);
		at = one.body;
		for (const char *id = "BCXakmqz"; *id && at; id++) {
			snprintf(body, sizeof(body), "\"%c_\":{", *id);
			at = strstr(at, body);
			cr_expect(at, "%s: %c in %s", lists[n], *id, one.body);
		}
	}
}
