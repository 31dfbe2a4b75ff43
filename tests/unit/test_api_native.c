/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* The native surface of instances: typed registration and what it is shown as, errors that name
 * field and limit, filters and how they are planned, the lifecycle's routes. */
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

TestSuite(native, .init = setup, .fini = teardown, .timeout = 300);

#define I "/v1/waymark/instances"

static const char whole[] =
	"{\"name\":\"shop\",\"address\":\"10.1.0.1\",\"port\":8080,\"tags\":[\"blue\"],"
	"\"meta\":{\"owner\":\"crew\"},\"version\":\"2.1.0\",\"environment\":\"prod\","
	"\"region\":\"north\",\"zone\":\"n1\",\"capabilities\":[\"pay\",\"refund\"],"
	"\"dependencies\":[\"db\",\"mail\"],\"endpoints\":{\"api\":{\"protocol\":\"http\","
	"\"port\":8080,\"path\":\"/v1\"},\"grpc\":{\"protocol\":\"grpc\",\"port\":9090}},"
	"\"weights\":{\"Passing\":3,\"Warning\":1},\"checks\":[{\"CheckID\":\"c\",\"TTL\":\"1h\"}],"
	"\"lifecycle\":\"starting\"}";

static json_t *doc(void)
{
	json_error_t je;
	json_t *v = json_loads(one.body, JSON_DECODE_ANY, &je);

	cr_assert(v, "%s: %s", je.text, one.body);
	return v;
}

/* A member of what one GET answers, by its path, as compact JSON; static memory. */
static const char *member(const char *path, const char *name)
{
	static char text[4096];
	json_t *all, *v;
	char *dumped;

	cr_assert_eq(get(path), 200, "%s: %s", path, one.body);
	all = doc();
	v = json_object_get(all, name);
	cr_assert(v, "%s has no %s: %s", path, name, one.body);
	dumped = json_dumps(v, JSON_COMPACT | JSON_ENCODE_ANY);
	snprintf(text, sizeof(text), "%s", dumped);
	free(dumped);
	json_decref(all);
	return text;
}

Test(native, what_is_registered_with_types_is_shown_with_types)
{
	cr_assert_eq(get(I "/shop-1"), 404);
	must_put(I "/shop-1", whole);
	cr_assert_str_eq(member(I "/shop-1", "Version"), "\"2.1.0\"");
	cr_assert_str_eq(member(I "/shop-1", "Environment"), "\"prod\"");
	cr_assert_str_eq(member(I "/shop-1", "Region"), "\"north\"");
	cr_assert_str_eq(member(I "/shop-1", "Zone"), "\"n1\"");
	cr_assert_str_eq(member(I "/shop-1", "Capabilities"), "[\"pay\",\"refund\"]");
	cr_assert_str_eq(member(I "/shop-1", "Dependencies"), "[\"db\",\"mail\"]");
	cr_assert_str_eq(member(I "/shop-1", "Endpoints"),
			 "{\"api\":{\"Protocol\":\"http\",\"Port\":8080,\"Path\":\"/v1\"},"
			 "\"grpc\":{\"Protocol\":\"grpc\",\"Port\":9090,\"Path\":\"\"}}");
	cr_assert_str_eq(member(I "/shop-1", "State"), "\"starting\"");
	must_put("/v1/agent/check/pass/c", NULL);
	cr_assert_str_eq(member(I "/shop-1", "State"), "\"running\"");
	/* Consul's clients see metadata */
	cr_assert_str_eq(member("/v1/agent/service/shop-1", "Meta"),
			 "{\"capabilities\":\"pay,refund\",\"dependencies\":\"db,mail\","
			 "\"endpoints.api\":\"http:8080/v1\",\"endpoints.grpc\":\"grpc:9090\","
			 "\"environment\":\"prod\",\"owner\":\"crew\",\"region\":\"north\","
			 "\"version\":\"2.1.0\",\"zone\":\"n1\"}");
	cr_assert_str_eq(member("/v1/agent/service/shop-1", "Weights"),
			 "{\"Passing\":3,\"Warning\":1}");
	/* the body is all there is: what is not named goes */
	must_put(I "/shop-1", "{\"name\":\"shop\"}");
	cr_assert_str_eq(member(I "/shop-1", "Capabilities"), "[]");
	cr_assert_str_eq(member(I "/shop-1", "Endpoints"), "{}");
	cr_assert_eq(get("/v1/agent/checks"), 200);
	cr_assert_str_eq(one.body, "{}");
	cr_assert_eq(ask("DELETE", I "/shop-1", NULL), 200);
	cr_assert_eq(get(I "/shop-1"), 404);
	cr_assert_eq(ask("DELETE", I "/shop-1", NULL), 404);
}

Test(native, what_consuls_clients_write_is_shown_with_types)
{
	must_put(REGISTER, "{\"ID\":\"a/b\",\"Name\":\"shop\",\"Meta\":{\"version\":\"1\","
			   "\"capabilities\":\" pay , ,refund\",\"endpoints.x\":\"tcp:1\","
			   "\"endpoints.broken\":\"nonsense\"}}");
	cr_assert_str_eq(member(I "/a/b", "Capabilities"), "[\"pay\",\"refund\"]");
	cr_assert_str_eq(member(I "/a%2Fb", "Endpoints"),
			 "{\"x\":{\"Protocol\":\"tcp\",\"Port\":1,\"Path\":\"\"}}");
	cr_assert_eq(put(REGISTER, "{\"Name\":\"x\",\"Meta\":{\"other.dot\":\"1\"}}"), 400);
	cr_assert(strstr(one.body, "Key contains invalid characters"));
	cr_assert_eq(put(REGISTER, "{\"Name\":\"x\",\"Meta\":{\"endpoints.\":\"1\"}}"), 400);
	must_put(I "/a%2Fb/lifecycle?state=stopped", NULL);
	cr_assert_str_eq(member(I "/a%2Fb", "Lifecycle"), "\"stopped\"");
}

static void refused(const char *body, const char *text)
{
	cr_assert_eq(put(I "/x", body), 400, "%s: %d %s", body, one.status, one.body);
	cr_assert(strstr(one.body, text), "%s: %s", body, one.body);
}

Test(native, errors_name_the_field_and_the_limit)
{
	char *long_text = malloc(2000), *body = malloc(40000);
	size_t at;

	memset(long_text, 'x', 513);
	long_text[513] = 0;
	refused("", "EOF");
	refused("{}", "Missing service name");
	refused("[]", "must be an object");
	refused("{\"name\":\"x\",\"color\":1}", "unknown field \"color\"");
	refused("{\"name\":\"x\",\"ID\":\"y\"}", "unknown field \"ID\"");
	refused("{\"name\":\"x\",\"version\":2}", "version must be a string, not a number");
	refused("{\"name\":\"x\",\"port\":65536}",
		"port must be a whole number between 0 and 65535");
	refused("{\"name\":\"x\",\"capabilities\":\"a\"}", "capabilities must be an array");
	refused("{\"name\":\"x\",\"capabilities\":[\"a\",\"b,c\"]}", "capabilities[1]");
	refused("{\"name\":\"x\",\"dependencies\":[\"\"]}", "dependencies[0]");
	refused("{\"name\":\"x\",\"dependencies\":[\" a\"]}", "dependencies[0]");
	refused("{\"name\":\"x\",\"zone\":\"a\",\"meta\":{\"zone\":\"b\"}}", "zone is given twice");
	refused("{\"name\":\"x\",\"lifecycle\":\"stopping\"}", "starting, running");
	refused("{\"name\":\"x\",\"lifecycle\":\"unknown\"}", "starting, running");
	refused("{\"name\":\"x\",\"endpoints\":{\"a\":1}}", "endpoints must be an object");
	refused("{\"name\":\"x\",\"endpoints\":{\"a\":{\"port\":1}}}", "endpoints.a.protocol");
	refused("{\"name\":\"x\",\"endpoints\":{\"a\":{\"protocol\":\"HTTP\",\"port\":1}}}",
		"lower-case");
	refused("{\"name\":\"x\",\"endpoints\":{\"a\":{\"protocol\":\"http\"}}}",
		"endpoints.a.port");
	refused("{\"name\":\"x\",\"endpoints\":{\"a\":{\"protocol\":\"http\",\"port\":0}}}",
		"between 1 and 65535");
	refused("{\"name\":\"x\",\"endpoints\":{\"a\":{\"protocol\":\"http\",\"port\":1,\"path\":"
		"\"x\"}}}",
		"endpoints.a.path must begin with a slash");
	refused("{\"name\":\"x\",\"endpoints\":{\"a.b\":{\"protocol\":\"http\",\"port\":1}}}",
		"\"a.b\" is no name");
	refused("{\"name\":\"x\",\"endpoints\":{\"a\":{\"protocol\":\"http\",\"port\":1,\"x\":1}}}",
		"unknown field \"x\"");
	snprintf(body, 40000, "{\"name\":\"x\",\"region\":\"%s\"}", long_text);
	refused(body, "region is too long (limit: 512 characters)");
	snprintf(body, 40000, "{\"name\":\"x\",\"capabilities\":[\"%s\"]}", long_text);
	refused(body, "longer than 512 characters");
	at = (size_t)snprintf(body, 40000, "{\"name\":\"x\",\"dependencies\":[\"0\"");
	for (int i = 1; i < 65; i++)
		at += (size_t)snprintf(body + at, 40000 - at, ",\"%d\"", i);
	snprintf(body + at, 40000 - at, "]}");
	refused(body, "dependencies: 65 given, at most 64 are allowed");
	at = (size_t)snprintf(body, 40000, "{\"name\":\"x\",\"endpoints\":{");
	for (int i = 0; i < 33; i++)
		at += (size_t)snprintf(body + at, 40000 - at, "%s\"e%d\":{}", i ? "," : "", i);
	snprintf(body + at, 40000 - at, "}}");
	refused(body, "endpoints: 33 given, at most 32 are allowed");
	snprintf(body, 40000,
		 "{\"name\":\"x\",\"endpoints\":{\"a\":{\"protocol\":\"http\",\"port\":1,"
		 "\"path\":\"/%s\"}}}",
		 long_text);
	refused(body, "longer than 512 octets");
	cr_assert_eq(get(I "/x"), 404);
	free(long_text);
	free(body);
}

/* How many match; and that an index answers it, or none. */
static void matches(const char *filter, unsigned want, const char *by_index)
{
	char path[1024];

	snprintf(path, sizeof(path), I "?filter=%s", filter);
	cr_assert_eq((unsigned)atoi(member(path, "matched")), want, "%s: %s", filter, one.body);
	snprintf(path, sizeof(path), I "?explain&filter=%s", filter);
	cr_assert_str_eq(member(path, "indexed"), by_index, "%s", filter);
	cr_assert_eq((unsigned)atoi(member(path, "matched")), want);
	if (strcmp(by_index, "true") == 0 && !strstr(filter, "State"))
		cr_assert_str_eq(member(path, "asked"), "0", "%s", filter);
}

Test(native, filters_on_typed_metadata_are_answered_by_the_index)
{
	char path[64], body[256];

	for (int i = 0; i < 24; i++) {
		snprintf(path, sizeof(path), I "/i%d", i);
		snprintf(body, sizeof(body),
			 "{\"name\":\"s\",\"version\":\"%d\",\"capabilities\":[\"all\",\"c%d\"%s],"
			 "\"zone\":\"z%d\"%s}",
			 i % 3, i % 4, i % 2 ? ",\"odd\"" : "", i % 2,
			 i % 6 ? "" : ",\"dependencies\":[\"db\"]");
		must_put(path, body);
	}
	matches("odd+in+Capabilities", 12, "true");
	matches("%22all%22+in+Capabilities", 24, "true");
	matches("c3+in+Capabilities+and+Version==0", 2, "true");
	matches("al+in+Capabilities", 0, "true");
	matches("db+in+Dependencies", 4, "true");
	matches("db+in+Dependencies+or+c1+in+Capabilities", 10, "true");
	matches("Zone==z1", 12, "true");
	matches("Region==%22%22", 24, "false");
	matches("odd+not+in+Capabilities", 12, "false");
	matches("Dependencies+is+empty", 20, "false");
	matches("Version+matches+%22%5B01%5D%22", 16, "false");
	matches("Zone==z1+and+State==running", 12, "true");
	matches("Lifecycle==stopping", 0, "false");
	/* the index lets go of what changes */
	must_put(I "/i1", "{\"name\":\"s\",\"capabilities\":[\"odd\",\"odd\"]}");
	matches("odd+in+Capabilities", 12, "true");
	must_put(I "/i1", "{\"name\":\"s\"}");
	matches("odd+in+Capabilities", 11, "true");
	must_put("/v1/agent/service/deregister/i3", NULL);
	matches("odd+in+Capabilities", 10, "true");
	/* Consul's lists have Consul's selectors only */
	cr_assert_eq(get("/v1/health/service/s?filter=odd+in+Capabilities"), 500);
	cr_assert(strstr(one.body, "Selector \"Capabilities\" is not valid"));
}

Test(native, lifecycle_and_drain_say_what_is_wrong)
{
	must_put(I "/a", "{\"name\":\"web\",\"port\":1}");
	cr_assert_eq(put(I "/a/lifecycle", NULL), 400);
	cr_assert(strstr(one.body, "Missing value for state"));
	cr_assert_eq(put(I "/a/lifecycle?state=up", NULL), 400);
	cr_assert_eq(put(I "/a/lifecycle?state=unknown", NULL), 400);
	cr_assert_eq(put(I "/a/lifecycle?state=starting", NULL), 409);
	cr_assert_str_eq(one.body, "Instance \"a\" is running and cannot become starting; it may "
				   "become: stopping, stopped");
	cr_assert_eq(put(I "/a/drain?deadline=0s", NULL), 400);
	cr_assert_eq(put(I "/a/drain?deadline=-1s", NULL), 400);
	cr_assert_eq(put(I "/a/drain?deadline=200h", NULL), 400);
	cr_assert(strstr(one.body, "168h"));
	cr_assert_eq(put(I "/none/drain", NULL), 404);
	cr_assert_eq(get(I "/a/drain"), 405);
	cr_assert_str_eq(member(I "/a", "Drain"), "null");
	cr_assert_eq(put(I "/a/drain?deadline=1h", NULL), 200);
	cr_assert(strstr(one.body, "\"OnlyDeadline\":\"nobody counts connections\""), "%s",
		  one.body);
	cr_assert_str_eq(member(I "/a", "State"), "\"stopping\"");
	cr_assert(strstr(member(I "/a", "Drain"), "\"Open\":null,\"OnlyDeadline\":\"nobody"));
	cr_assert_eq(get("/v1/health/service/web?passing"), 200);
	cr_assert_str_eq(one.body, "[]");
	must_put(I "/a/lifecycle?state=running", NULL);
	cr_assert_str_eq(member(I "/a", "Drain"), "null");
}

static void explain(const char *filter, const char *cached)
{
	char path[512];

	snprintf(path, sizeof(path), I "?explain&filter=%s", filter);
	cr_assert_str_eq(member(path, "cached"), cached, "%s", filter);
}

static uint64_t figure(const char *name)
{
	json_t *all, *v;
	uint64_t n;

	cr_assert_eq(get("/v1/waymark/status"), 200);
	all = doc();
	v = json_object_get(json_object_get(all, "metadata"), name);
	cr_assert(v, "%s", name);
	n = (uint64_t)json_integer_value(v);
	json_decref(all);
	return n;
}

Test(native, what_a_filter_selects_is_kept_until_something_changes)
{
	uint64_t hits;

	must_put(I "/a", "{\"name\":\"s\",\"capabilities\":[\"x\"],\"checks\":[{\"CheckID\":\"c\","
			 "\"TTL\":\"1h\"}]}");
	must_put(I "/b", "{\"name\":\"s\"}");
	explain("x+in+Capabilities", "false");
	explain("x+in+Capabilities", "true");
	explain("x+not+in+Capabilities", "false");
	explain("x+not+in+Capabilities", "true");
	hits = figure("cache_hits");
	cr_assert_str_eq(member(I "?filter=x+in+Capabilities", "matched"), "1");
	cr_assert(strstr(one.body, "\"ID\":\"a\""));
	cr_assert_eq(figure("cache_hits"), hits + 1);
	cr_assert_eq(figure("cache_entries"), 2);
	cr_assert_gt(figure("cache_bytes"), 0);
	/* another kind of list has other rows to the same text */
	cr_assert_eq(get("/v1/agent/services?filter=Port==0"), 200);
	explain("Service.Port==0", "false");
	/* a registration, a status, a lifecycle: all are changes */
	must_put(I "/b", "{\"name\":\"s\",\"capabilities\":[\"x\"]}");
	explain("x+in+Capabilities", "false");
	cr_assert_str_eq(member(I "?filter=x+in+Capabilities", "matched"), "2");
	explain("Checks.Status==passing+and+Service.ID==a", "false");
	explain("Checks.Status==warning", "false");
	cr_assert_str_eq(member(I "?filter=Checks.Status==warning", "matched"), "0");
	must_put("/v1/agent/check/warn/c", NULL);
	cr_assert_str_eq(member(I "?filter=Checks.Status==warning", "matched"), "1");
	explain("Lifecycle==stopping", "false");
	must_put(I "/a/lifecycle?state=stopping", NULL);
	cr_assert_str_eq(member(I "?filter=Lifecycle==stopping", "matched"), "1");
	must_put("/v1/agent/service/deregister/a", NULL);
	cr_assert_str_eq(member(I "?filter=x+in+Capabilities", "matched"), "1");
}

Test(native, an_output_alone_is_no_change_so_its_filters_are_not_kept)
{
	must_put(I "/a", "{\"name\":\"s\",\"checks\":[{\"CheckID\":\"c\",\"TTL\":\"1h\"}]}");
	must_put("/v1/agent/check/fail/c?note=one", NULL);
	cr_assert_str_eq(member(I "?filter=Checks.Output==one", "matched"), "1");
	must_put("/v1/agent/check/fail/c?note=two", NULL);
	cr_assert_str_eq(member(I "?filter=Checks.Output==one", "matched"), "0");
	cr_assert_str_eq(member(I "?filter=Checks.Output==two", "matched"), "1");
	explain("Checks.Output==two", "false");
	explain("State==unhealthy", "false");
	explain("State==unhealthy", "false");
}

Test(native, more_filters_than_are_kept_and_the_oldest_go)
{
	char filter[64];

	must_put(I "/a", "{\"name\":\"s\"}");
	for (int i = 0; i < 200; i++) {
		snprintf(filter, sizeof(filter), "Service.Port==%d", i);
		explain(filter, "false");
	}
	cr_assert_eq(figure("cache_entries"), 64);
	explain("Service.Port==199", "true");
	explain("Service.Port==0", "false");
}

#define RESOLVE "/v1/waymark/resolve?service="

Test(native, resolve_tells_what_is_chosen_and_why_the_rest_is_not)
{
	unsigned seen[2] = {0};

	cr_assert_eq(get("/v1/waymark/resolve"), 400);
	cr_assert_eq(get(RESOLVE "none"), 404);
	must_put(I "/a", "{\"name\":\"web\",\"address\":\"10.0.0.1\",\"port\":80,\"tags\":[\"v1\"],"
			 "\"weights\":{\"Passing\":9,\"Warning\":1}}");
	must_put(I "/b", "{\"name\":\"web\",\"address\":\"10.0.0.2\",\"port\":80}");
	must_put(I "/c", "{\"name\":\"web\",\"port\":80,\"lifecycle\":\"starting\"}");
	must_put(I "/d", "{\"name\":\"web\",\"port\":80}");
	cr_assert_eq(put(I "/d/drain", NULL), 200);
	must_put(I "/e", "{\"name\":\"web\",\"address\":\"host.invalid\",\"port\":80}");
	cr_assert_str_eq(member(RESOLVE "WEB", "usable"), "2");
	cr_assert_str_eq(member(RESOLVE "web", "left_out_count"), "3");
	cr_assert(strstr(one.body, "\"id\":\"c\""));
	cr_assert(strstr(one.body, "\"reason\":\"starting\""));
	cr_assert(strstr(one.body, "\"reason\":\"stopping\""));
	cr_assert(strstr(one.body, "\"reason\":\"has no IP address\""));
	cr_assert(strstr(one.body, "\"share\":0.9"));
	cr_assert_str_eq(member(RESOLVE "web&tag=V1", "usable"), "1");
	cr_assert(strstr(one.body, "\"reason\":\"has not the tag\""));
	for (int i = 0; i < 200; i++) {
		cr_assert_eq(get(RESOLVE "web&count=1"), 200);
		cr_assert(strstr(one.body, "\"reason\":\"was not drawn\""));
		seen[strstr(one.body, "\"chosen\":[{\"id\":\"a\"") != NULL]++;
	}
	/* 9 to 1: of 200 draws b has 20; none, or more than half, is not to be seen */
	cr_assert(seen[0] > 0 && seen[0] < 100, "%u of b, %u of a", seen[0], seen[1]);
	must_put("/v1/agent/service/maintenance/a?enable=true", NULL);
	cr_assert_str_eq(member(RESOLVE "web", "usable"), "1");
	cr_assert(strstr(one.body, "\"reason\":\"unhealthy\""));
	cr_assert_eq(get(RESOLVE "web&count=0"), 400);
	cr_assert_eq(get(RESOLVE "web&count=257"), 400);
}

static void three_of_web(const char *policy)
{
	must_put(I "/a",
		 "{\"name\":\"web\",\"address\":\"10.0.0.1\",\"port\":80,\"tags\":[\"v1\"]}");
	must_put(I "/b",
		 "{\"name\":\"web\",\"address\":\"10.0.0.2\",\"port\":80,\"tags\":[\"v2\"]}");
	must_put(I "/c",
		 "{\"name\":\"web\",\"address\":\"10.0.0.3\",\"port\":80,\"tags\":[\"v2\"]}");
	must_put(I "/d", "{\"name\":\"db\",\"address\":\"10.0.0.4\",\"port\":80}");
	cr_assert_eq(put("/v1/waymark/policies/web", policy), 200, "%s", one.body);
}

/* By the tables, in their order, and again the same: nothing is taken by being asked for. */
Test(native, resolve_chooses_as_connect_does)
{
	char first[4096];

	three_of_web("{\"balance\":\"direct\"}");
	cr_assert_str_eq(member(RESOLVE "web", "by"), "\"tables\"");
	snprintf(first, sizeof(first), "%s", member(RESOLVE "web", "chosen"));
	for (int n = 0; n < 20; n++)
		cr_assert_str_eq(member(RESOLVE "web", "chosen"), first);
	cr_assert_eq(get(RESOLVE "web&client=x"), 400);
	three_of_web("{\"when_none\":\"any\"}");
	for (const char *id = "abc"; *id; id++) {
		char path[80];

		snprintf(path, sizeof(path), "/v1/agent/service/maintenance/%c?enable=true", *id);
		must_put(path, NULL);
	}
	cr_assert_str_eq(member(RESOLVE "web", "by"), "\"when_none\"");
	cr_assert_str_eq(member(RESOLVE "web", "left_out_count"), "0");
}

/* Who is down is among those that are asked, and has its share. */
Test(native, resolve_has_the_shares_of_a_panic)
{
	unsigned shares = 0;

	three_of_web("{\"panic_threshold\":60}");
	must_put("/v1/agent/service/maintenance/a?enable=true", NULL);
	cr_assert_eq(get(RESOLVE "web"), 200);
	cr_assert(strstr(one.body, "\"share\":0.5"), "two of three are enough: %s", one.body);
	must_put("/v1/agent/service/maintenance/b?enable=true", NULL);
	cr_assert_eq(get(RESOLVE "web"), 200);
	for (const char *at = one.body; (at = strstr(at, "\"share\":0.333")); at++)
		shares++;
	cr_assert_eq(shares, 3, "%s", one.body);
}

Test(native, resolve_knows_subsets_redirects_and_tiers)
{
	three_of_web("{\"subsets\":{\"v1\":\"\\\"v1\\\" in Service.Tags\","
		     "\"v2\":\"\\\"v2\\\" in Service.Tags\"},\"split\":[{\"percent\":100,"
		     "\"subset\":\"v1\"},{\"percent\":0,\"subset\":\"v2\"}]}");
	cr_assert_str_eq(member(RESOLVE "web&count=1", "usable"), "1");
	cr_assert(strstr(one.body, "\"reason\":\"is in a tier that nothing falls to now\""), "%s",
		  one.body);
	cr_assert(strstr(one.body, "\"chosen\":[{\"id\":\"a\""), "%s", one.body);
	cr_assert_str_eq(member(RESOLVE "web&subset=v2", "usable"), "2");
	cr_assert_str_eq(member(RESOLVE "web&tag=v2", "subset"), "\"v2\"");
	cr_assert_eq(get(RESOLVE "web&subset=v3"), 404);
	cr_assert_str_eq(one.body, "service \"web\" has no subset \"v3\"");
	three_of_web("{\"redirect\":{\"service\":\"db\"}}");
	cr_assert_str_eq(member(RESOLVE "web", "usable"), "1");
	cr_assert(strstr(one.body, "\"service\":\"db\""), "%s", one.body);
}

Test(native, statistics_count_by_what_instances_are)
{
	char path[64], body[128];
	json_t *all, *by;

	for (int i = 0; i < 150; i++) {
		snprintf(path, sizeof(path), I "/i%d", i);
		snprintf(body, sizeof(body),
			 "{\"name\":\"s%d\",\"zone\":\"z%d\",\"version\":\"%d\"%s}", i % 2, i % 3,
			 i, i < 10 ? ",\"lifecycle\":\"starting\"" : "");
		must_put(path, body);
	}
	cr_assert_eq(get("/v1/waymark/statistics"), 200);
	all = doc();
	by = json_object_get(all, "by");
#define AT(dimension, value)                                                                       \
	json_integer_value(                                                                        \
		json_object_get(json_object_get(json_object_get(by, dimension), "values"), value))
	cr_assert_eq(json_integer_value(json_object_get(all, "instances")), 150);
	cr_assert_eq(json_integer_value(json_object_get(all, "services")), 2);
	cr_assert_eq(AT("state", "starting"), 10);
	cr_assert_eq(AT("state", "running"), 140);
	cr_assert_eq(AT("status", "passing"), 150);
	cr_assert_eq(AT("service", "s0"), 75);
	cr_assert_eq(AT("zone", "z2"), 50);
	cr_assert_eq(AT("node", "n1"), 150);
	cr_assert_eq(AT("environment", ""), 150, "has none");
	/* no more values than are listed, and none is lost */
	cr_assert_eq(json_object_size(json_object_get(json_object_get(by, "version"), "values")),
		     100);
	cr_assert_eq(
		json_integer_value(json_object_get(json_object_get(by, "version"), "distinct")),
		150);
	cr_assert_eq(json_integer_value(json_object_get(json_object_get(by, "version"), "others")),
		     50);
	json_decref(all);
	cr_assert_eq(get("/v1/waymark/statistics?pretty"), 200);
	cr_assert(strstr(one.body, "\n    \"index\": "));
}
