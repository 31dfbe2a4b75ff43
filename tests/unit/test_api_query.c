/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Consul's prepared queries: as the Go client's tests ask for them, templates, whom they select,
 * and that the policy of the service is followed. */
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

TestSuite(api_query, .init = setup, .fini = teardown, .timeout = 300);

#define Q "/v1/query"

static char id[64];

/* Make one; its id is kept. */
static void made(const char *body)
{
	cr_assert_eq(ask("POST", Q, body), 200, "%s", one.body);
	cr_assert_eq(strncmp(one.body, "{\"ID\":\"", 7), 0, "%s", one.body);
	snprintf(id, sizeof(id), "%.36s", one.body + 7);
}

static void instance(const char *name, const char *service, const char *more)
{
	char body[512];

	snprintf(body, sizeof(body),
		 "{\"ID\":\"%s\",\"Name\":\"%s\",\"Address\":\"10.1.0.1\",\"Port\":80%s}", name,
		 service, more);
	must_put("/v1/agent/service/register", body);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* "service ids, sorted; failovers" of an execution. */
static const char *found(const char *path)
{
	static char text[512];
	const char *ids[16];
	json_t *doc, *node;
	size_t n, count = 0, len;

	cr_assert_eq(get(path), 200, "%s: %s", path, one.body);
	doc = json_loads(one.body, 0, NULL);
	cr_assert_not_null(doc);
	json_array_foreach(json_object_get(doc, "Nodes"), n, node)
	{
		ids[count++] =
			json_string_value(json_object_get(json_object_get(node, "Service"), "ID"));
	}
	qsort(ids, count, sizeof(*ids), by_text);
	len = (size_t)snprintf(text, sizeof(text), "%s",
			       json_string_value(json_object_get(doc, "Service")));
	for (n = 0; n < count; n++)
		len += (size_t)snprintf(text + len, sizeof(text) - len, " %s", ids[n]);
	snprintf(text + len, sizeof(text) - len, "; %d",
		 (int)json_integer_value(json_object_get(doc, "Failovers")));
	json_decref(doc);
	return text;
}

Test(api_query, are_made_listed_replaced_and_removed)
{
	char path[128];

	cr_assert_eq(get(Q), 200);
	cr_assert_str_eq(one.body, "[]");
	made("{\"Name\":\"test\",\"Service\":{\"Service\":\"redis\",\"NodeMeta\":{\"somekey\":"
	     "\"somevalue\"},\"ServiceMeta\":{\"redis-version\":\"4.0\"}},\"DNS\":{\"TTL\":\"10s\"}"
	     "}");
	snprintf(path, sizeof(path), Q "/%s", id);
	cr_assert_eq(get(path), 200);
	cr_expect(strstr(one.body, "\"Name\":\"test\""), "%s", one.body);
	cr_expect(strstr(one.body, "\"NodeMeta\":{\"somekey\":\"somevalue\"},\"ServiceMeta\":{"
				   "\"redis-version\":\"4.0\"}"),
		  "%s", one.body);
	cr_expect(strstr(one.body, "\"DNS\":{\"TTL\":\"10s\"}"));
	must_put(path, "{\"Name\":\"my-query\",\"Service\":{\"Service\":\"redis\",\"Failover\":{"
		       "\"NearestN\":0,\"Datacenters\":[]},\"Connect\":false},\"Session\":\"\"}");
	cr_assert_eq(get(Q), 200);
	cr_expect(strstr(one.body, "\"Name\":\"my-query\""), "%s", one.body);
	cr_expect_null(strstr(one.body, "somekey"));
	/* no policy of a service, and no event of one */
	cr_assert_eq(get("/v1/waymark/policies"), 200);
	cr_assert_str_eq(one.body, "[]");
	cr_assert_eq(get("/v1/config/service-resolver"), 200);
	cr_assert_str_eq(one.body, "[]");
	cr_assert_eq(ask("DELETE", path, NULL), 200);
	cr_assert_eq(get(path), 404);
	cr_assert_str_eq(one.body, "Query not found");
}

Test(api_query, what_is_wrong_is_refused_by_name)
{
	static const struct {
		const char *body, *text;
	} all[] = {
		{"{\"ID\":\"x\",\"Service\":{\"Service\":\"a\"}}",
		 "ID must be empty when creating a new prepared query"},
		{"{\"Name\":\"a\"}", "Must provide a Service name to query"},
		{"{\"Service\":{\"Service\":\"a\"},\"Colour\":1}",
		 "Request decode failed: json: unknown field \"Colour\""},
		{"{\"Service\":{\"Service\":\"a\",\"Failover\":{\"Datacenters\":[\"dc2\"]}}}",
		 "Service.Failover is not supported: a mesh is one datacenter"},
		{"{\"Session\":\"x\",\"Service\":{\"Service\":\"a\"}}",
		 "Session is not supported: "},
		{"{\"Template\":{\"Type\":\"glob\"},\"Service\":{\"Service\":\"a\"}}",
		 "Template.Type: \"glob\" is not allowed: name_prefix_match"},
		{"{\"Template\":{\"Type\":\"name_prefix_match\"},\"Service\":{\"Service\":"
		 "\"${match(1)}\"}}",
		 "\"${match(1)}\" is not allowed: name.full, name.prefix, name.suffix and "
		 "agent.segment are"},
		{"{\"Template\":{\"Type\":\"name_prefix_match\"},\"Service\":{\"Service\":"
		 "\"${name.full\"}}",
		 "\"${name.full\" is not allowed: name.full, name.prefix, name.suffix and "
		 "agent.segment are"},
		{"{\"Service\":{\"Service\":\"a\"},\"DNS\":{\"TTL\":\"soon\"}}",
		 "DNS.TTL: \"soon\" is not allowed: a duration such as 10s"},
		{"{\"Name\":\"taken\",\"Service\":{\"Service\":\"a\"}}",
		 "Name: \"taken\" is not allowed: it is that of the query "},
	};

	made("{\"Name\":\"taken\",\"Service\":{\"Service\":\"a\"}}");
	for (size_t n = 0; n < sizeof(all) / sizeof(all[0]); n++) {
		cr_expect_eq(ask("POST", Q, all[n].body), 400, "%s: %s", all[n].body, one.body);
		cr_expect_eq(strncmp(one.body, all[n].text, strlen(all[n].text)), 0, "%s:\n%s\n%s",
			     all[n].body, one.body, all[n].text);
	}
}

#define CHECK(status)                                                                              \
	",\"Check\":{\"CheckID\":\"c-" status "\",\"TTL\":\"1h\",\"Status\":\"" status "\"}"

Test(api_query, select_by_tags_metadata_and_checks)
{
	char path[128];

	instance("a", "redis",
		 ",\"Tags\":[\"v1\",\"primary\"],\"Meta\":{\"redis-version\":\"4.0\"}");
	instance("b", "redis", ",\"Tags\":[\"v2\"]" CHECK("warning"));
	instance("c", "redis", ",\"Tags\":[\"v2\"]" CHECK("critical"));
	made("{\"Name\":\"all\",\"Service\":{\"Service\":\"redis\"}}");
	cr_expect_str_eq(found(Q "/all/execute"), "redis a b; 0");
	cr_expect_str_eq(found(Q "/ALL/execute?near=_agent&limit=0"), "redis a b; 0");
	snprintf(path, sizeof(path), Q "/%s/execute", id);
	cr_expect_str_eq(found(path), "redis a b; 0");
	cr_assert_eq(get(Q "/all/execute?limit=1"), 200);
	cr_expect(strstr(one.body, "\"Nodes\":[{\"Node\":{\"ID\":"), "%s", one.body);
	cr_expect_null(strstr(one.body, "},{\"Node\":{\"ID\":"));
	cr_assert_eq(get(Q "/all/execute?limit=x"), 400);
	made("{\"Name\":\"good\",\"Service\":{\"Service\":\"redis\",\"OnlyPassing\":true}}");
	cr_expect_str_eq(found(Q "/good/execute"), "redis a; 0");
	made("{\"Name\":\"v2\",\"Service\":{\"Service\":\"redis\",\"Tags\":[\"v2\",\"!primary\"]}"
	     "}");
	cr_expect_str_eq(found(Q "/v2/execute"), "redis b; 0");
	made("{\"Name\":\"meta\",\"Service\":{\"Service\":\"redis\",\"ServiceMeta\":{"
	     "\"redis-version\":\"4.0\"}}}");
	cr_expect_str_eq(found(Q "/meta/execute"), "redis a; 0");
	made("{\"Name\":\"ign\",\"Service\":{\"Service\":\"redis\",\"IgnoreCheckIDs\":["
	     "\"c-critical\"]}}");
	cr_expect_str_eq(found(Q "/ign/execute"), "redis a b c; 0");
	made("{\"Name\":\"none\",\"Service\":{\"Service\":\"nobody\"}}");
	cr_expect_str_eq(found(Q "/none/execute"), "nobody; 0");
	cr_assert_eq(get(Q "/unheard/execute"), 404);
}

Test(api_query, templates_answer_for_all_names_that_begin_so)
{
	char path[128];

	instance("a", "cache-eu", ",\"Tags\":[\"geo-cache-eu\"]");
	made("{\"Name\":\"geo-\",\"Template\":{\"Type\":\"name_prefix_match\",\"RemoveEmptyTags\":"
	     "true},\"Service\":{\"Service\":\"${name.suffix}\",\"Tags\":[\"${name.full}\","
	     "\"${agent.segment}\"]}}");
	made("{\"Name\":\"geo-x-\",\"Template\":{\"Type\":\"name_prefix_match\"},\"Service\":{"
	     "\"Service\":\"of-${name.prefix}${name.suffix}\"}}");
	cr_expect_str_eq(found(Q "/geo-cache-eu/execute"), "cache-eu a; 0");
	snprintf(path, sizeof(path), Q "/%s/execute", id);
	cr_assert_eq(get(path), 400);
	cr_assert_str_eq(one.body, "prepared query templates can only be resolved up by name, not "
				   "by ID");
	cr_assert_eq(get(Q "/geo-cache-eu/explain"), 200);
	cr_expect(strstr(one.body, "{\"Query\":{\"ID\":"), "%s", one.body);
	cr_expect(strstr(one.body, "\"Service\":\"cache-eu\""), "%s", one.body);
	cr_expect(strstr(one.body, "\"Tags\":[\"geo-cache-eu\"]"), "%s", one.body);
	cr_expect_str_eq(found(Q "/geo-x-y/execute"), "of-geo-x-y; 0", "the longest stands");
	made("{\"Name\":\"geo-x-y\",\"Service\":{\"Service\":\"exact\"}}");
	cr_expect_str_eq(found(Q "/geo-x-y/execute"), "exact; 0", "and a name above it");
	cr_assert_eq(get(Q "/other/execute"), 404);
	made("{\"Name\":\"\",\"Template\":{\"Type\":\"name_prefix_match\"},\"Service\":{"
	     "\"Service\":"
	     "\"${name.full}\"}}");
	cr_expect_str_eq(found(Q "/other/execute"), "other; 0", "one for all that nobody else has");
}

Test(api_query, templates_fill_in_all_that_a_service_is_asked_by)
{
	instance("a", "redis", ",\"Meta\":{\"v\":\"4\"}");
	instance("b", "redis", ",\"Meta\":{\"v\":\"5\"}");
	made("{\"Name\":\"redis-\",\"Template\":{\"Type\":\"name_prefix_match\"},\"Service\":{"
	     "\"Service\":\"redis\",\"Near\":\"n-${name.suffix}\",\"ServiceMeta\":{\"v\":"
	     "\"${name.suffix}\"},\"IgnoreCheckIDs\":[\"c-${name.suffix}\"]}}");
	cr_expect_str_eq(found(Q "/redis-4/execute"), "redis a; 0");
	cr_expect_str_eq(found(Q "/redis-5/execute"), "redis b; 0");
	cr_expect_str_eq(found(Q "/redis-6/execute"), "redis; 0");
	cr_assert_eq(get(Q "/redis-5/explain"), 200);
	cr_expect(strstr(one.body, "\"Near\":\"n-5\""), "%s", one.body);
	cr_expect(strstr(one.body, "\"ServiceMeta\":{\"v\":\"5\"}"), "%s", one.body);
	cr_expect(strstr(one.body, "\"IgnoreCheckIDs\":[\"c-5\"]"), "%s", one.body);
}

Test(api_query, the_policy_of_the_service_is_followed)
{
	instance("a", "web", ",\"Meta\":{\"v\":\"1\"}");
	instance("b", "web", ",\"Meta\":{\"v\":\"2\"}");
	instance("s", "spare", "");
	made("{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
	cr_assert_eq(put("/v1/waymark/policies/web",
			 "{\"subsets\":{\"v2\":\"Service.Meta.v == 2\"},\"default_subset\":\"v2\","
			 "\"failover\":[{\"service\":\"spare\"}]}"),
		     200, "%s", one.body);
	cr_expect_str_eq(found(Q "/q/execute"), "web b; 0");
	must_put("/v1/agent/service/maintenance/b?enable=true", NULL);
	cr_expect_str_eq(found(Q "/q/execute"), "web s; 1");
}

static void policy(const char *body)
{
	cr_assert_eq(put("/v1/waymark/policies/web", body), 200, "%s", one.body);
}

#define DOWN ",\"Check\":{\"TTL\":\"1h\",\"Status\":\"critical\"}"

/* As connect() asks for less where nobody is up; tags hold whoever is asked. */
Test(api_query, when_none_says_who_answers_where_nobody_is_usable)
{
	instance("down", "web", ",\"Tags\":[\"v1\"]" DOWN);
	instance("ends", "web", ",\"Tags\":[\"v1\"]");
	instance("other", "web", ",\"Tags\":[\"v2\"]" DOWN);
	made("{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
	made("{\"Name\":\"v1\",\"Service\":{\"Service\":\"web\",\"Tags\":[\"v1\"]}}");
	policy("{\"when_none\":\"any\"}");
	cr_expect_str_eq(found(Q "/q/execute"), "web ends; 0");
	must_put("/v1/waymark/instances/ends/lifecycle?state=stopping", NULL);
	cr_expect_str_eq(found(Q "/q/execute"), "web down ends other; 0");
	cr_expect_str_eq(found(Q "/v1/execute"), "web down ends; 0");
	policy("{\"when_none\":\"draining\"}");
	cr_expect_str_eq(found(Q "/q/execute"), "web ends; 0");
	policy("{\"when_none\":\"pass\"}");
	cr_expect_str_eq(found(Q "/q/execute"), "web; 0");
	policy("{\"when_none\":\"refuse\"}");
	cr_expect_str_eq(found(Q "/q/execute"), "web; 0");
	/* behind a redirect the last policy decides; another target is asked before less is */
	policy("{\"when_none\":\"draining\",\"failover\":[{\"service\":\"spare\"}]}");
	cr_expect_str_eq(found(Q "/q/execute"), "web ends; 0");
	cr_assert_eq(put("/v1/waymark/policies/old", "{\"redirect\":{\"service\":\"web\"}}"), 200);
	made("{\"Name\":\"old\",\"Service\":{\"Service\":\"old\"}}");
	cr_expect_str_eq(found(Q "/old/execute"), "old ends; 0");
	instance("s", "spare", "");
	cr_expect_str_eq(found(Q "/q/execute"), "web s; 1");
}

Test(api_query, panic_asks_all_as_connect_does)
{
	instance("a", "web", "");
	instance("b", "web", DOWN);
	instance("c", "web", DOWN);
	made("{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
	policy("{\"panic_threshold\":30}");
	cr_expect_str_eq(found(Q "/q/execute"), "web a; 0");
	policy("{\"panic_threshold\":40}");
	cr_expect_str_eq(found(Q "/q/execute"), "web a b c; 0");
}

/* A tier of the other target is asked, too, as connect() goes on. */
Test(api_query, a_split_leaves_nobody_without_an_answer)
{
	instance("a", "web", ",\"Tags\":[\"v1\"]");
	instance("b", "web", ",\"Tags\":[\"v2\"]");
	policy("{\"subsets\":{\"v1\":\"\\\"v1\\\" in Service.Tags\",\"v2\":\"\\\"v2\\\" in "
	       "Service.Tags\"},\"split\":[{\"percent\":50,\"subset\":\"v1\"},{\"percent\":50,"
	       "\"subset\":\"v2\"}]}");
	made("{\"Name\":\"q\",\"Service\":{\"Service\":\"web\",\"Tags\":[\"v2\"]}}");
	for (unsigned n = 0; n < 20; n++)
		cr_assert_str_eq(found(Q "/q/execute"), "web b; 0");
}

Test(api_query, who_is_left_out_here_is_not_named)
{
	struct wm_instance *i;

	instance("a", "web", "");
	instance("b", "web", "");
	made("{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
	made("{\"Name\":\"all\",\"Service\":{\"Service\":\"web\",\"IgnoreCheckIDs\":["
	     "\"waymark:passive:b\"]}}");
	i = wm_registry_instance(registry, "b");
	cr_assert_eq(wm_registry_set_passive(registry, i, true, "refused"), 0);
	cr_expect_str_eq(found(Q "/q/execute"), "web a; 0");
	cr_expect_str_eq(found(Q "/all/execute"), "web a b; 0", "a check that is not to count");
	cr_assert_eq(wm_registry_set_passive(registry, i, false, "over"), 0);
	cr_expect_str_eq(found(Q "/q/execute"), "web a b; 0");
}

/* Half of the zone is down: it carries 70 % of what comes, the rest goes on, as with connect(). */
Test(api_query, tiers_answer_by_their_shares)
{
	unsigned zone = 0, rest = 0;

	instance("a", "web", ",\"Locality\":{\"Region\":\"r\",\"Zone\":\"z\"}");
	instance("b", "web", ",\"Locality\":{\"Region\":\"r\",\"Zone\":\"z\"}");
	instance("c", "web", ",\"Locality\":{\"Region\":\"r\",\"Zone\":\"y\"}");
	made("{\"Name\":\"q\",\"Service\":{\"Service\":\"web\"}}");
	cr_assert_eq(put("/v1/waymark/policies/web",
			 "{\"select\":\"nearest\",\"nearest\":{\"region\":\"r\",\"zone\":"
			 "\"z\"}}"),
		     200, "%s", one.body);
	cr_expect_str_eq(found(Q "/q/execute"), "web a b; 0");
	must_put("/v1/agent/service/maintenance/b?enable=true", NULL);
	for (unsigned n = 0; n < 200; n++) {
		const char *who = found(Q "/q/execute");

		zone += strcmp(who, "web a; 0") == 0;
		rest += strcmp(who, "web c; 1") == 0;
	}
	cr_expect_eq(zone + rest, 200);
	cr_expect(zone > 100 && rest > 25, "%u of the zone, %u of the region", zone, rest);
	must_put("/v1/agent/service/maintenance/a?enable=true", NULL);
	cr_expect_str_eq(found(Q "/q/execute"), "web c; 1");
}

static void instance_at(const char *node, const char *address)
{
	char body[256];

	snprintf(body, sizeof(body),
		 "{\"Node\":\"%s\",\"Address\":\"%s\",\"Service\":{\"ID\":\"on-%s\",\"Service\":"
		 "\"web\"}}",
		 node, address, node);
	cr_assert_eq(put("/v1/catalog/register", body), 200, "%s", one.body);
}

/* Of 20 answers, as what is as far is in no order. */
static void first_is(const char *path, const char *want)
{
	char text[64];

	for (unsigned n = 0; n < 20; n++) {
		const char *at;

		cr_assert_eq(get(path), 200, "%s", one.body);
		at = strstr(one.body, "\"Node\":\"");
		cr_assert_not_null(at, "%s", one.body);
		snprintf(text, sizeof(text), "%.*s", (int)strcspn(at + 8, "\""), at + 8);
		cr_assert_str_eq(text, want, "%s", path);
	}
}

/* A request's line goes on behind the path: here with a header. */
#define FROM(path, address) path " HTTP/1.1\r\nX-Forwarded-For: " address "\r\nX-End: x"

Test(api_query, near_ip_is_near_to_who_asks)
{
	instance_at("west", "10.9.0.1");
	instance_at("six", "fd00::9");
	instance_at("lo", "127.0.0.1");
	instance("own", "web", "");
	made("{\"Name\":\"plain\",\"Service\":{\"Service\":\"web\"}}");
	made("{\"Name\":\"near\",\"Service\":{\"Service\":\"web\",\"Near\":\"_ip\"}}");
	first_is(Q "/plain/execute?near=_ip", "lo");
	first_is(Q "/near/execute", "lo");
	first_is(Q "/near/execute?near=west", "west");
	first_is(Q "/near/execute?near=_agent", "n1");
	first_is(FROM(Q "/near/execute", "10.9.0.1, 10.9.0.7"), "west");
	first_is(FROM(Q "/plain/execute?near=_ip", "fd00::9"), "six");
	first_is(FROM(Q "/near/execute", "10.9.0.2"), "n1");
	first_is(FROM(Q "/near/execute", "no address"), "lo");
}
