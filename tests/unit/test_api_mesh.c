/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net registry metadata health resolution dns dataplane api */
/* The mesh's metadata as typed fields: written natively or through Consul's Meta, it is the same.
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

TestSuite(api_mesh, .init = setup, .fini = teardown, .timeout = 60);

#define NATIVE "/v1/waymark/instances/"

static const char typed[] =
	"{\"name\": \"ledger\", \"address\": \"10.8.1.1\", \"port\": 7401, \"tags\": [\"blue\"], "
	"\"meta\": {\"tier\": \"gold\"}, \"version\": \"7.2\", \"environment\": \"prod\", "
	"\"region\": \"eu\", \"zone\": \"eu-1\", \"capabilities\": [\"grpc\", \"http2\"], "
	"\"dependencies\": [\"vault\"], \"endpoints\": {\"admin\": {\"protocol\": \"http\", "
	"\"port\": 7402, \"path\": \"/admin\"}}, \"weights\": {\"passing\": 3, \"warning\": 1}, "
	"\"checks\": [{\"CheckID\": \"up\", \"TTL\": \"10s\", \"Status\": \"passing\"}]}";

static const char mesh[] =
	"\"Mesh\":{\"Version\":\"7.2\",\"Environment\":\"prod\",\"Region\":\"eu\",\"Zone\":\"eu-"
	"1\","
	"\"Capabilities\":[\"grpc\",\"http2\"],\"Dependencies\":[\"vault\"],\"Endpoints\":{"
	"\"admin\":{\"Protocol\":\"http\",\"Port\":7402,\"Path\":\"/admin\"}}}";

Test(api_mesh, typed_fields_are_metadata_to_consuls_clients)
{
	must_put(NATIVE "ledger-1", typed);
	cr_assert_eq(get(NATIVE "ledger-1"), 200);
	cr_assert_not_null(strstr(one.body, mesh), "%s", one.body);
	cr_assert_not_null(strstr(one.body, "\"CheckID\":\"up\""));
	cr_assert_eq(get("/v1/agent/service/ledger-1"), 200);
	cr_assert_not_null(
		strstr(one.body,
		       "\"Meta\":{\"capabilities\":\"grpc,http2\",\"dependencies\":"
		       "\"vault\",\"endpoints_admin\":\"http:7402/admin\",\"environment\":"
		       "\"prod\",\"region\":\"eu\",\"tier\":\"gold\",\"version\":\"7.2\","
		       "\"zone\":\"eu-1\"}"),
		"%s", one.body);
	cr_assert_eq(ask("DELETE", NATIVE "ledger-1", NULL), 200);
	cr_assert_eq(get(NATIVE "ledger-1"), 404);
	cr_assert_eq(ask("DELETE", NATIVE "ledger-1", NULL), 404);
}

Test(api_mesh, what_consuls_clients_write_is_shown_typed_and_selected)
{
	must_put(REGISTER,
		 "{\"ID\": \"q-1\", \"Name\": \"quill\", \"Meta\": {\"version\": \"7.2\", "
		 "\"capabilities\": \"grpc, http2\", \"endpoints_x\": \"no endpoint\"}}");
	must_put(REGISTER, "{\"ID\": \"q-2\", \"Name\": \"quill\"}");
	cr_assert_eq(
		get("/v1/waymark/instances?filter=grpc+in+Capabilities+and+Version==%227.2%22"),
		200);
	cr_assert_not_null(strstr(one.body, "\"matched\":1"), "%s", one.body);
	cr_assert_not_null(strstr(one.body, "\"Capabilities\":[\"grpc\",\"http2\"]"));
	cr_assert_not_null(strstr(one.body, "\"Endpoints\":{}"));
	cr_assert_eq(get("/v1/waymark/instances?explain&filter=grpc+in+Capabilities"), 200);
	cr_assert_not_null(strstr(one.body, "\"indexed\":true"), "%s", one.body);
	/* Consul's own answers know no such selector */
	cr_assert_eq(get("/v1/health/service/quill?filter=grpc+in+Capabilities"), 500);
}

static void refused(const char *body, const char *text)
{
	cr_assert_eq(put(NATIVE "x", body), 400, "%s: %d %s", body, one.status, one.body);
	cr_assert_str_eq(one.body, text);
}

Test(api_mesh, what_is_wrong_is_named)
{
	refused("{\"name\": \"a\", \"capabilities\": [\"a b\"]}",
		"Request decode failed: capabilities: \"a b\" must be a word without blanks and "
		"commas");
	refused("{\"name\": \"a\", \"version\": \"1\", \"meta\": {\"version\": \"2\"}}",
		"Request decode failed: version stands in meta too");
	refused("{\"name\": \"a\", \"endpoints\": {\"e\": {\"protocol\": \"HTTP\", \"port\": 1}}}",
		"Request decode failed: endpoints.e.protocol must be at most 31 lower-case "
		"letters, digits, '+', '.' and '-'");
	refused("{\"name\": \"a\", \"endpoints\": {\"e\": {\"protocol\": \"http\"}}}",
		"Request decode failed: endpoints.e.port is missing");
	refused("{\"name\": \"a\", \"endpoints\": {\"e\": {\"protocol\": \"http\", \"port\": 1, "
		"\"path\": \"x\"}}}",
		"Request decode failed: endpoints.e.path must begin with '/' (limit: 400 "
		"characters)");
	refused("{\"name\": \"a\", \"endpoints\": {\"e\": 1}}",
		"Request decode failed: endpoints must be an object of endpoints, not a number");
	refused("{\"name\": \"a\", \"colour\": 1}",
		"Request decode failed: json: unknown field \"colour\"");
	refused("{}", "Missing service name");
	cr_assert_eq(wm_registry_instances(registry), 0);
}
