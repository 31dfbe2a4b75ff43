/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync api */
/* Policies over HTTP: written, shown as they were written, refused by name, waited for. */
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

TestSuite(api_policies, .init = setup, .fini = teardown, .timeout = 120);

#define P "/v1/waymark/policies"

/* One that has something of every section, in the form that it is shown in. */
static const char whole[] =
	"{\"service\":\"web\",\"select\":\"nearest\",\"balance\":\"maglev\",\"hash_on\":\"uid\","
	"\"when_none\":\"draining\",\"panic_threshold\":50,\"drain_s\":30,\"close_on_down\":true,"
	"\"default_subset\":\"v1\",\"nearest\":{\"region\":\"eu\",\"threshold\":10,"
	"\"overprovisioning\":1.5},\"affinity\":{\"key\":\"cgroup\",\"timeout\":\"1h0m0s\"},"
	"\"outlier\":{\"failures\":3,\"base\":\"30s\",\"least_hosts\":5},"
	"\"subsets\":{\"v1\":{\"filter\":\"Service.Meta.version == 1\"},\"v2\":"
	"{\"filter\":\"Service.Meta.version == 2\",\"only_passing\":true}},"
	"\"split\":[{\"percent\":99.5,\"subset\":\"v1\"},{\"percent\":0.5,\"subset\":\"v2\"}],"
	"\"failover\":[{\"of\":\"v2\",\"subset\":\"v1\"},{\"service\":\"web-backup\"},"
	"{\"region\":\"us\"}],\"ports\":{\"9090\":{\"endpoint\":\"metrics\"}}";

static void body_is(const char *path, const char *text)
{
	cr_assert_eq(get(path), 200, "%s", one.body);
	cr_expect(strstr(one.body, text), "%s\nhas no\n%s", one.body, text);
}

Test(api_policies, what_is_written_is_shown)
{
	char body[2048];

	cr_assert_eq(get(P "/web"), 404);
	cr_assert_eq(get(P), 200);
	cr_assert_str_eq(one.body, "[]");
	snprintf(body, sizeof(body), "%s}", whole);
	cr_assert_eq(put(P "/Web", body), 200, "%s", one.body);
	body_is(P "/WEB", whole);
	/* what is shown may be given back */
	snprintf(body, sizeof(body), "%s", one.body);
	cr_assert_eq(put(P "/web", body), 200, "%s", one.body);
	body_is(P "/web", whole);
	cr_assert_eq(put(P "/db", "{}"), 200, "%s", one.body);
	body_is(P, "[{\"service\":\"db\",\"create_index\":");
	cr_assert_eq(put(P "/web", "{\"Subsets\":{\"v2\":\"Service.ID == a\"}}"), 200,
		     "keys in any case, and a filter alone");
	body_is(P "/web", "{\"service\":\"web\",\"subsets\":{\"v2\":{\"filter\":\"Service.ID == "
			  "a\"}},\"create_index\"");
	cr_assert_eq(ask("DELETE", P "/web", NULL), 200);
	cr_assert_eq(ask("DELETE", P "/web", NULL), 404);
	cr_assert_eq(get(P "/web"), 404);
}

Test(api_policies, each_refusal_names_field_value_and_what_is_allowed)
{
	static const struct {
		const char *body, *text;
	} all[] = {
		{"{\"balance\":\"fair\"}",
		 "balance: \"fair\" is not allowed: weighted, random, round_robin, "
		 "least_connections, peak_ewma, maglev, direct, custom"},
		{"{\"select\":1}", "Request decode failed: select must be a string, not a number"},
		{"{\"colour\":1}", "Request decode failed: json: unknown field \"colour\""},
		{"{\"outlier\":{\"most\":1}}",
		 "Request decode failed: json: unknown field \"outlier.most\""},
		{"{\"outlier\":{\"base\":\"1.5s\"}}",
		 "outlier.base: \"1.5s\" is not allowed: whole seconds such as 10s or 5m"},
		{"{\"outlier\":{\"most_percent\":101}}",
		 "outlier.most_percent: \"101\" is not allowed: 0 to 100"},
		{"{\"panic_threshold\":-1}",
		 "panic_threshold: \"-1\" is not allowed: none below 0"},
		{"{\"panic_threshold\":1.5}",
		 "Request decode failed: panic_threshold must be a whole number, not a number"},
		{"{\"split\":[{\"percent\":33.333}]}",
		 "split[0].percent: \"33.332999999999998\" is not allowed: none below 0, and two "
		 "decimals at most"},
		{"{\"split\":[{\"percent\":50}]}",
		 "split: \"50.00\" is not allowed: the percents together must be 100"},
		{"{\"split\":{}}",
		 "Request decode failed: split must be an array of objects, not an object"},
		{"{\"subsets\":{\"a\":{\"filter\":\"Colour == 1\"}}}",
		 "subsets.a.filter: \"Colour == 1\" is not allowed: "},
		{"{\"subsets\":{\"a\":1}}",
		 "Request decode failed: subsets.a.filter must be a string, not a number"},
		{"{\"ports\":{\"http\":\"x\"}}", "ports: \"http\" is not allowed: 1 to 65535"},
		{"{\"service\":\"db\"}",
		 "service: \"db\" is not allowed: this is the policy of \"web\""},
		{"{\"select\":\"all\",\"Select\":\"all\"}",
		 "Request decode failed: Select is given twice"},
		{"[]", "Request decode failed: "},
	};

	for (size_t n = 0; n < sizeof(all) / sizeof(all[0]); n++) {
		cr_expect_eq(put(P "/web", all[n].body), 400, "%s", all[n].body);
		cr_expect_eq(strncmp(one.body, all[n].text, strlen(all[n].text)), 0, "%s:\n%s\n%s",
			     all[n].body, one.body, all[n].text);
	}
	cr_assert_eq(get(P "/web"), 404, "nothing of it was written");
}

Test(api_policies, cas_is_by_the_modify_index)
{
	json_t *v;
	char path[128];
	json_int_t index;

	cr_assert_eq(put(P "/web?cas=x", "{}"), 400);
	cr_assert_eq(put(P "/web?cas=0", "{\"drain_s\":1}"), 200);
	cr_assert_eq(put(P "/web?cas=0", "{\"drain_s\":2}"), 409);
	cr_assert_eq(get(P "/web"), 200);
	v = json_loads(one.body, 0, NULL);
	index = json_integer_value(json_object_get(v, "modify_index"));
	json_decref(v);
	snprintf(path, sizeof(path), P "/web?cas=%lld", (long long)index);
	cr_assert_eq(put(path, "{\"drain_s\":2}"), 200, "%s", one.body);
	cr_assert_eq(put(path, "{\"drain_s\":3}"), 409);
	cr_assert_eq(ask("DELETE", path, NULL), 409);
	body_is(P "/web", "\"drain_s\":2");
}

Test(api_policies, what_is_not_found_is_warned_of)
{
	must_put("/v1/agent/service/register",
		 "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":80,\"Meta\":{\"version\":\"1\"}}");
	cr_assert_eq(put(P "/web", "{\"subsets\":{\"v1\":\"Service.Meta.version == 1\"}}"), 200);
	cr_assert_str_eq(one.body, "{\"warnings\":[]}");
	cr_assert_eq(put(P "/web", "{\"subsets\":{\"v1\":\"Service.Meta.version == 1\",\"v2\":"
				   "\"Service.Meta.version == 2\"},\"failover\":[{\"service\":"
				   "\"spare\"}]}"),
		     200);
	cr_assert_str_eq(one.body,
			 "{\"warnings\":[\"failover: service \\\"spare\\\" is not there\","
			 "\"subsets.v2: no instance is in it now, when_none says what happens\"]}");
	cr_assert_eq(put(P "/db", "{}"), 200);
	cr_assert_str_eq(one.body, "{\"warnings\":[\"service: service \\\"db\\\" is not there\"]}");
}
