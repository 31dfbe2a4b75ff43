/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
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

TestSuite(api_policies, .init = setup, .fini = teardown, .timeout = 300);

#define P "/v1/waymark/policies"

/* One that has something of every section, in the form that it is shown in. */
static const char whole[] =
	"{\"service\":\"web\",\"select\":\"nearest\",\"balance\":\"maglev\",\"hash_on\":\"uid\","
	"\"when_none\":\"draining\",\"panic_threshold\":50,\"drain_s\":30,\"close_on_down\":true,"
	"\"default_subset\":\"v1\",\"nearest\":{\"region\":\"eu\",\"threshold\":10,"
	"\"overprovisioning\":1.5},\"affinity\":{\"key\":\"cgroup\",\"timeout\":\"1h0m0s\"},"
	"\"outlier\":{\"failures\":3,\"base\":\"30s\",\"least_hosts\":5,"
	"\"listener_notice\":false},"
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
		{"{\"panic_threshold\":-1}", "panic_threshold: \"-1\" is not allowed: 0 to 100"},
		{"{\"panic_threshold\": 4294967296}",
		 "panic_threshold: \"4294967296\" is not allowed: 0 to 100"},
		{"{\"panic_threshold\":1.5}",
		 "Request decode failed: panic_threshold must be a whole number, not a number"},
		{"{\"split\":[{\"percent\":33.333}]}",
		 "split[0].percent: \"33.333\" is not allowed: 0 to 100, and two "
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
	cr_expect_eq(put(P "/we%ffb", "{}"), 400);
	cr_expect_str_eq(one.body, "service: \"we\\xffb\" is not allowed: UTF-8 is");
	cr_expect_eq(put(P "/w%c3%a9b", "{}"), 200, "%s", one.body);
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

Test(api_policies, what_decides_nothing_yet_is_warned_of)
{
	must_put("/v1/agent/service/register", "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":80}");
	cr_assert_eq(put(P "/web", "{\"balance\":\"peak_ewma\"}"), 200);
	cr_assert(strstr(one.body, "balance: peak_ewma goes by open connections"), "%s", one.body);
}

/* A drain that names no deadline has the policy's; one that does, its own. */
Test(api_policies, a_drain_lasts_as_long_as_the_policy_says)
{
	const struct wm_instance *i;

	must_put("/v1/agent/service/register", "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":80}");
	cr_assert_eq(put(P "/web", "{\"drain_s\":7200}"), 200);
	cr_assert_str_eq(one.body, "{\"warnings\":[]}");
	cr_assert_eq(put("/v1/waymark/instances/w1/drain", NULL), 200);
	i = wm_registry_instance(registry, "w1");
	cr_assert_gt(i->drain_until_ms, wm_clock_wall_ms() + 3600 * 1000ull);
	cr_assert_eq(put("/v1/waymark/instances/w1/drain?deadline=1m", NULL), 200);
	i = wm_registry_instance(registry, "w1");
	cr_assert_lt(i->drain_until_ms, wm_clock_wall_ms() + 3600 * 1000ull);
}

/* --- explained ---------------------------------------------------------------------------------
 */
static void instance(const char *id, const char *service, const char *more)
{
	char body[512];

	snprintf(body, sizeof(body),
		 "{\"ID\":\"%s\",\"Name\":\"%s\",\"Address\":\"10.1.0.1\",\"Port\":80%s}", id,
		 service, more);
	must_put("/v1/agent/service/register", body);
}

static void policy(const char *service, const char *body)
{
	char path[128];

	snprintf(path, sizeof(path), P "/%s", service);
	cr_assert_eq(put(path, body), 200, "%s", one.body);
}

/* Tiers as "what service subset share: id=odds ...;", then the verdict. */
static const char *explained(const char *path)
{
	static char text[2048];
	json_t *doc, *tier, *m;
	size_t len = 0, n, k;

	cr_assert_eq(get(path), 200, "%s", one.body);
	doc = json_loads(one.body, 0, NULL);
	cr_assert_not_null(doc);
	json_array_foreach(json_object_get(doc, "tiers"), n, tier)
	{
		len += (size_t)snprintf(text + len, sizeof(text) - len, "%s %s %s %.3f:",
					json_string_value(json_object_get(tier, "what")),
					json_string_value(json_object_get(tier, "service")),
					json_string_value(json_object_get(tier, "subset")),
					json_number_value(json_object_get(tier, "share")));
		json_array_foreach(json_object_get(tier, "members"), k, m)
		{
			len += (size_t)snprintf(text + len, sizeof(text) - len, " %s=%.3f",
						json_string_value(json_object_get(m, "id")),
						json_number_value(json_object_get(m, "odds")));
		}
		len += (size_t)snprintf(text + len, sizeof(text) - len, "; ");
	}
	snprintf(text + len, sizeof(text) - len, "%s",
		 json_string_value(json_object_get(doc, "verdict")));
	json_decref(doc);
	return text;
}

#define ZONE(region, zone) ",\"Locality\":{\"Region\":\"" region "\",\"Zone\":\"" zone "\"}"
#define DOWN		   ",\"Check\":{\"CheckID\":\"c\",\"TTL\":\"1h\",\"Status\":\"critical\"}"
#define E(service)	   P "/" service "/explain"

Test(api_policies, explain_shows_tiers_with_shares_and_odds)
{
	cr_assert_eq(get(E("web")), 404);
	instance("a", "web", ZONE("eu", "a") ",\"Weights\":{\"Passing\":3,\"Warning\":1}");
	instance("b", "web", ZONE("eu", "a"));
	instance("c", "web", ZONE("eu", "b"));
	instance("d", "web", ZONE("us", "a") DOWN);
	instance("s", "spare", "");
	cr_expect_str_eq(explained(E("web")),
			 "all web  1.000: a=0.600 b=0.200 c=0.200 d=0.000; chosen");
	policy("web", "{\"balance\":\"random\"}");
	cr_expect_str_eq(explained(E("web")),
			 "all web  1.000: a=0.333 b=0.333 c=0.333 d=0.000; chosen");
	policy("web", "{\"balance\":\"direct\"}");
	cr_expect_str_eq(explained(E("web")),
			 "all web  1.000: a=1.000 b=0.000 c=0.000 d=0.000; chosen");
	policy("web", "{\"select\":\"nearest\",\"nearest\":{\"region\":\"eu\",\"zone\":\"a\"},"
		      "\"failover\":[{\"service\":\"spare\"}]}");
	cr_expect_str_eq(explained(E("web")),
			 "zone web  1.000: a=0.750 b=0.250; region web  0.000: c=0.000; "
			 "rest web  0.000: d=0.000; failover spare  0.000: s=0.000; chosen");
	/* 1 of 4 of the weight is up: it carries 35 %, the rest goes to the next tier */
	must_put("/v1/agent/service/maintenance/a?enable=true", NULL);
	cr_expect_str_eq(explained(E("web")),
			 "zone web  0.350: a=0.000 b=0.350; region web  0.650: c=0.650; "
			 "rest web  0.000: d=0.000; failover spare  0.000: s=0.000; chosen");
	must_put("/v1/agent/service/maintenance/b?enable=true", NULL);
	must_put("/v1/agent/service/maintenance/c?enable=true", NULL);
	cr_expect_str_eq(explained(E("web")),
			 "zone web  0.000: a=0.000 b=0.000; region web  0.000: c=0.000; "
			 "rest web  0.000: d=0.000; failover spare  1.000: s=1.000; chosen");
}

Test(api_policies, explain_shows_splits_and_redirects)
{
	instance("a", "web", ",\"Meta\":{\"v\":\"1\"}");
	instance("b", "web", ",\"Meta\":{\"v\":\"2\"}");
	instance("s", "spare", DOWN);
	policy("web",
	       "{\"subsets\":{\"v1\":\"Service.Meta.v == 1\",\"v2\":\"Service.Meta.v == "
	       "2\"},\"split\":[{\"percent\":90,\"subset\":\"v1\"},{\"percent\":5,\"subset\":"
	       "\"v2\"},{\"percent\":5,\"service\":\"spare\"}]}");
	/* what falls to one with nothing up goes to the others in proportion */
	cr_expect_str_eq(explained(E("web")), "all web v1 0.947: a=0.947; all web v2 0.053: "
					      "b=0.053; all spare  0.000: s=0.000; chosen");
	cr_expect_str_eq(explained(E("web") "?subset=v2"), "all web v2 1.000: b=1.000; chosen");
	policy("old", "{\"redirect\":{\"service\":\"web\",\"subset\":\"v2\"}}");
	cr_expect_str_eq(explained(E("old")), "all web v2 1.000: b=1.000; chosen");
	cr_assert(strstr(one.body, "\"redirected\":[\"old\"],\"selects_of\":\"web\""));
	/* an instance that changes is in another subset at once */
	instance("a", "web", ",\"Meta\":{\"v\":\"2\"}");
	cr_expect_str_eq(explained(E("old")), "all web v2 1.000: a=0.500 b=0.500; chosen");
	policy("x", "{\"redirect\":{\"service\":\"y\"}}");
	policy("y", "{\"redirect\":{\"service\":\"x\"}}");
	cr_expect_str_eq(explained(E("x")), "refused");
	cr_assert(strstr(one.body, "redirects lead in a circle"));
}

Test(api_policies, explain_shows_what_happens_where_nobody_is_usable)
{
	instance("a", "web", DOWN);
	cr_expect_str_eq(explained(E("web")), "all web  0.000: a=0.000; refused");
	policy("web", "{\"when_none\":\"pass\"}");
	cr_expect_str_eq(explained(E("web")), "all web  0.000: a=0.000; passed on");
	policy("web", "{\"when_none\":\"any\"}");
	cr_expect_str_eq(explained(E("web")), "all web  0.000: a=0.000; any is chosen");
	policy("web", "{\"when_none\":\"draining\"}");
	cr_expect_str_eq(explained(E("web")), "all web  0.000: a=0.000; refused");
	instance("b", "web", "");
	must_put("/v1/waymark/instances/b/lifecycle?state=stopping", NULL);
	cr_expect_str_eq(explained(E("web")),
			 "all web  0.000: a=0.000 b=0.000; a draining one is chosen");
	/* a filter that selects nothing does what when_none says */
	policy("web", "{\"default_subset\":\"v9\",\"subsets\":{\"v9\":\"Service.Meta.v == 9\"}}");
	cr_expect_str_eq(explained(E("web")), "all web v9 0.000:; refused");
	instance("c", "web", "");
	policy("web", "{\"panic_threshold\":40}");
	cr_expect_str_eq(explained(E("web")), "all web  1.000: a=0.500 b=0.000 c=0.500; chosen");
}

Test(api_policies, targets_of_nobody_are_warned_of)
{
	must_put("/v1/agent/service/register", "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":80}");
	must_put("/v1/agent/service/register", "{\"ID\":\"d1\",\"Name\":\"db\",\"Port\":80,"
					       "\"Locality\":{\"Region\":\"US\"}}");
	cr_assert_eq(put(P "/db", "{\"subsets\":{\"V1\":\"Service.ID == d1\"}}"), 200);
	cr_assert_eq(put(P "/web", "{\"failover\":[{\"region\":\"us\"},{\"service\":\"db\","
				   "\"region\":\"us\"},{\"service\":\"db\",\"subset\":\"v2\"},"
				   "{\"service\":\"db\",\"subset\":\"v1\"}]}"),
		     200, "%s", one.body);
	cr_expect_str_eq(one.body,
			 "{\"warnings\":[\"failover[0].region: no instance is in \\\"us\\\" now\","
			 "\"failover[2].subset: \\\"db\\\" has no subset \\\"v2\\\" now\"]}");
	cr_assert_eq(put(P "/web", "{\"redirect\":{\"service\":\"db\",\"region\":\"eu\"}}"), 200);
	cr_expect_str_eq(one.body,
			 "{\"warnings\":[\"redirect.region: no instance is in \\\"eu\\\" now\"]}");
	cr_assert_eq(put(P "/web", "{\"split\":[{\"percent\":100,\"service\":\"db\",\"subset\":"
				   "\"v3\"}]}"),
		     200);
	cr_expect_str_eq(one.body, "{\"warnings\":[\"split[0].subset: \\\"db\\\" has no subset "
				   "\\\"v3\\\" now\"]}");
}

/* What is refused at each connect() since. */
Test(api_policies, redirects_in_a_circle_are_warned_of)
{
	char path[64], body[64];

	for (int i = 0; i < 11; i++) {
		snprintf(body, sizeof(body), "{\"ID\":\"s%d\",\"Name\":\"s%d\",\"Port\":80}", i, i);
		must_put("/v1/agent/service/register", body);
	}
	for (int i = 9; i > 0; i--) { /* s1 -> s2 ... -> s9 -> s10 are nine */
		snprintf(path, sizeof(path), P "/s%d", i);
		snprintf(body, sizeof(body), "{\"redirect\":{\"service\":\"S%d\"}}", i + 1);
		cr_assert_eq(put(path, body), 200, "%s", one.body);
		cr_expect_eq(!strstr(one.body, "nobody is chosen"), i > 1, "%s", one.body);
	}
	cr_assert_eq(put(P "/s10", "{\"redirect\":{\"service\":\"s9\"}}"), 200);
	cr_expect_str_eq(one.body, "{\"warnings\":[\"redirect: it leads back here, or through more "
				   "than 8 services, by \\\"s9\\\": nobody is chosen\"]}");
	cr_assert_eq(put(P "/s10", "{\"redirect\":{\"service\":\"s10\",\"region\":\"eu\"}}"), 200);
	cr_expect(!strstr(one.body, "nobody is chosen"), "its own of a region: %s", one.body);
}

/* There the target is taken whole, which its writer may not want. */
Test(api_policies, splits_in_a_circle_are_warned_of)
{
	static const char warned[] = "there it is taken whole";

	must_put("/v1/agent/service/register", "{\"ID\":\"a\",\"Name\":\"a\",\"Port\":80}");
	must_put("/v1/agent/service/register", "{\"ID\":\"b\",\"Name\":\"b\",\"Port\":80}");
	must_put("/v1/agent/service/register", "{\"ID\":\"c\",\"Name\":\"c\",\"Port\":80}");
	cr_assert_eq(
		put(P "/a", "{\"split\":[{\"percent\":90},{\"percent\":10,\"service\":\"b\"}]}"),
		200);
	cr_expect(!strstr(one.body, warned), "its own is no circle: %s", one.body);
	cr_assert_eq(put(P "/b", "{\"redirect\":{\"service\":\"c\"}}"), 200);
	cr_expect(!strstr(one.body, warned), "%s", one.body);
	cr_assert_eq(
		put(P "/c", "{\"split\":[{\"percent\":50},{\"percent\":50,\"service\":\"A\"}]}"),
		200);
	cr_expect_str_eq(one.body,
			 "{\"warnings\":[\"split: it leads back here, by \\\"a\\\": there it "
			 "is taken whole\"]}");
	cr_assert_eq(
		put(P "/a", "{\"split\":[{\"percent\":90},{\"percent\":10,\"service\":\"b\"}]}"),
		200);
	cr_expect(strstr(one.body, "by \\\"c\\\": there it is taken whole"), "%s", one.body);
	body_is(P "/a/explain", "\"notes\":[\"splits of targets lead in a circle, or over more ");
	cr_assert_eq(put(P "/b", "{\"redirect\":{\"service\":\"c\",\"subset\":\"v1\"}}"), 200);
	cr_assert_eq(
		put(P "/a", "{\"split\":[{\"percent\":90},{\"percent\":10,\"service\":\"b\"}]}"),
		200);
	cr_expect(!strstr(one.body, warned), "a subset is not split further: %s", one.body);
}

Test(api_policies, nearest_to_nowhere_is_warned_of)
{
	struct wm_node *n;
	size_t pos = 0;

	must_put("/v1/agent/service/register", "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":80}");
	cr_assert_eq(put(P "/web", "{\"select\":\"nearest\"}"), 200);
	cr_expect(strstr(one.body, "select: nearest, but neither region nor zone of this node is "
				   "known"),
		  "%s", one.body);
	body_is(P "/web/explain", "\"notes\":[\"all are as near: neither region nor zone of this ");
	cr_assert_eq(put(P "/web", "{\"select\":\"nearest\",\"nearest\":{\"region\":\"eu\"}}"),
		     200);
	cr_expect_str_eq(one.body, "{\"warnings\":[\"nearest.region: no instance is in "
				   "\\\"eu\\\" now\"]}");
	must_put("/v1/agent/service/register", "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":80,"
					       "\"Locality\":{\"Region\":\"EU\"}}");
	cr_assert_eq(put(P "/web", "{\"select\":\"nearest\",\"nearest\":{\"region\":\"eu\"}}"),
		     200);
	cr_expect_str_eq(one.body, "{\"warnings\":[]}");
	must_put("/v1/agent/service/register", "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":80}");
	/* round trips are enough */
	cr_assert_eq(put("/v1/catalog/register",
			 "{\"Node\":\"far\",\"Address\":\"10.9.0.1\",\"Service\":{\"ID\":\"w2\","
			 "\"Service\":\"web\"}}"),
		     200);
	while ((n = wm_registry_next_node(registry, &pos)))
		if (!n->self)
			cr_assert(wm_registry_set_band(registry, n, WM_BAND_CONTINENT));
	cr_assert_eq(put(P "/web", "{\"select\":\"nearest\"}"), 200);
	cr_expect_str_eq(one.body, "{\"warnings\":[]}");
	cr_expect_str_eq(explained(P "/web/explain"),
			 "2ms web  1.000: w1=1.000; 50ms web  0.000: w2=0.000; chosen");
	body_is(P "/web/explain", "\"notes\":[\"who is near is told by round trips");
}
