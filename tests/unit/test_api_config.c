/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Consul's config entries as views of policies: entries as the Go client's tests have them, what is
 * refused, and that an entry leaves alone what it cannot say. */
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

TestSuite(api_config, .init = setup, .fini = teardown, .timeout = 300);

#define C "/v1/config"

static int delete (const char *path)
{
	return ask("DELETE", path, NULL);
}

static void written(const char *body)
{
	cr_assert_eq(put(C, body), 200, "%s: %s", body, one.body);
	cr_assert_str_eq(one.body, "true");
}

/* The answer but for its indexes. */
static void shown(const char *path, const char *want)
{
	char *end;

	cr_assert_eq(get(path), 200, "%s: %s", path, one.body);
	end = strstr(one.body, ",\"CreateIndex\"");
	cr_assert(end, "%s", one.body);
	*end = '\0';
	cr_expect_str_eq(one.body, want);
}

static const char resolver[] =
	"{\"Kind\":\"service-resolver\",\"Name\":\"test-failover\",\"DefaultSubset\":\"v1\","
	"\"Subsets\":{\"v1\":{\"Filter\":\"Service.Meta.version == v1\"},\"v2\":{\"Filter\":"
	"\"Service.Meta.version == v2\",\"OnlyPassing\":true}},\"Failover\":{\"*\":{\"Service\":"
	"\"alternate\"},\"v1\":{\"Targets\":[{\"ServiceSubset\":\"v2\"},{\"Service\":\"far\","
	"\"ServiceSubset\":\"x\"}]}},\"LoadBalancer\":{\"Policy\":\"maglev\",\"HashPolicies\":[{"
	"\"SourceIP\":true}]},\"Meta\":{\"foo\":\"bar\",\"team\":\"blue\"}";
static const char splitter[] =
	"{\"Kind\":\"service-splitter\",\"Name\":\"test-failover\",\"Splits\":[{\"Weight\":90,"
	"\"ServiceSubset\":\"v1\"},{\"Weight\":9.5,\"ServiceSubset\":\"v2\"},{\"Weight\":0.5,"
	"\"Service\":\"other\"}],\"Meta\":{\"foo\":\"baz\"}";
static const char defaults[] = "{\"Kind\":\"service-defaults\",\"Name\":\"test-failover\","
			       "\"Protocol\":\"http\"";

static void whole(char *to, size_t cap, const char *entry)
{
	snprintf(to, cap, "%s}", entry);
}

Test(api_config, entries_are_shown_as_they_were_written)
{
	char body[2048];

	whole(body, sizeof(body), resolver);
	written(body);
	shown(C "/service-resolver/test-failover", resolver);
	cr_assert_eq(get(C "/service-splitter/test-failover"), 404);
	cr_assert_str_eq(one.body, "Config entry not found for \"service-splitter\" / "
				   "\"test-failover\"");
	whole(body, sizeof(body), splitter);
	written(body);
	whole(body, sizeof(body), defaults);
	written(body);
	shown(C "/service-resolver/test-failover", resolver);
	shown(C "/service-splitter/test-failover", splitter);
	shown(C "/service-defaults/test-failover", defaults);
	/* what was shown is taken */
	cr_assert_eq(get(C "/service-resolver/test-failover"), 200);
	snprintf(body, sizeof(body), "%s", one.body);
	written(body);
	written("{\"Kind\":\"service-resolver\",\"Name\":\"a\",\"Redirect\":{\"Service\":"
		"\"test-failover\",\"ServiceSubset\":\"v2\"}}");
	cr_assert_eq(get(C "/service-resolver"), 200);
	cr_assert(strstr(one.body, "[{\"Kind\":\"service-resolver\",\"Name\":\"a\",\"Redirect\":"));
	cr_assert(strstr(one.body, "},{\"Kind\":\"service-resolver\",\"Name\":\"test-failover\","));
	cr_assert_eq(get(C "/service-defaults"), 200);
	cr_assert_null(strstr(one.body, "\"a\""));
}

Test(api_config, the_policy_is_one_and_goes_with_its_last_entry)
{
	cr_assert_eq(put("/v1/waymark/policies/web",
			 "{\"balance\":\"peak_ewma\",\"outlier\":{\"failures\":9},\"failover\":[{"
			 "\"region\":\"us\"}]}"),
		     200);
	written("{\"kind\":\"service-resolver\",\"name\":\"web\",\"subsets\":{\"v1\":{\"filter\":"
		"\"Service.ID == a\"}},\"failover\":{\"v1\":{\"service\":\"spare\"}}}");
	written("{\"Kind\":\"service-splitter\",\"Name\":\"web\",\"Splits\":[{\"Weight\":100}]}");
	cr_assert_eq(get("/v1/waymark/policies/web"), 200);
	cr_expect(strstr(one.body, "\"balance\":\"peak_ewma\",\"outlier\":{\"failures\":9}"), "%s",
		  one.body);
	cr_expect(strstr(one.body, "\"failover\":[{\"region\":\"us\"},{\"of\":\"v1\",\"service\":"
				   "\"spare\"}]"),
		  "%s", one.body);
	cr_assert_eq(delete (C "/service-resolver/web"), 200);
	cr_assert_str_eq(one.body, "{}");
	cr_assert_eq(get("/v1/waymark/policies/web"), 200, "the splitter is there");
	cr_assert_null(strstr(one.body, "subsets"));
	cr_assert_eq(delete (C "/service-splitter/web"), 200);
	cr_assert_eq(get("/v1/waymark/policies/web"), 200, "what entries cannot say is there");
	written("{\"Kind\":\"service-resolver\",\"Name\":\"lone\"}");
	cr_assert_eq(get(C "/service-resolver/lone"), 200);
	cr_assert_eq(delete (C "/service-resolver/lone"), 200);
	cr_assert_eq(get("/v1/waymark/policies/lone"), 404);
	cr_assert_eq(delete (C "/service-resolver/lone"), 200, "what is not there is gone");
}

Test(api_config, cas_answers_true_or_false)
{
	char path[96];
	json_t *v;
	json_int_t index;

	written("{\"Kind\":\"service-defaults\",\"Name\":\"web\",\"Protocol\":\"tcp\"}");
	cr_assert_eq(put(C "?cas=7", "{\"Kind\":\"service-resolver\",\"Name\":\"web\"}"), 200);
	cr_assert_str_eq(one.body, "false", "it is not there");
	cr_assert_eq(put(C "?cas=0", "{\"Kind\":\"service-resolver\",\"Name\":\"web\"}"), 200);
	cr_assert_str_eq(one.body, "true", "though the policy is");
	cr_assert_eq(put(C "?cas=0", "{\"Kind\":\"service-resolver\",\"Name\":\"web\"}"), 200);
	cr_assert_str_eq(one.body, "false");
	cr_assert_eq(get(C "/service-resolver/web"), 200);
	v = json_loads(one.body, 0, NULL);
	index = json_integer_value(json_object_get(v, "ModifyIndex"));
	json_decref(v);
	snprintf(path, sizeof(path), C "/service-resolver/web?cas=%lld", (long long)index - 1);
	cr_assert_eq(delete (path), 200);
	cr_assert_str_eq(one.body, "false");
	snprintf(path, sizeof(path), C "/service-resolver/web?cas=%lld", (long long)index);
	cr_assert_eq(delete (path), 200);
	cr_assert_str_eq(one.body, "true");
	cr_assert_eq(get(C "/service-resolver/web"), 404);
	cr_assert_eq(get(C "/service-defaults/web"), 200);
}

/* Two entries of one service at a time: neither undoes the other. */
Test(api_config, writers_of_two_kinds_do_not_undo_each_other)
{
	struct client a, b;

	client_open(&a);
	client_open(&b);
	client_send(&a, "PUT", C, "{\"Kind\":\"service-defaults\",\"Name\":\"web\"}");
	client_send(
		&b, "PUT", C,
		"{\"Kind\":\"service-splitter\",\"Name\":\"web\",\"Splits\":[{\"Weight\":100}]}");
	UNTIL(client_has(&a));
	UNTIL(client_has(&b));
	cr_assert_str_eq(a.body, "true");
	cr_assert_str_eq(b.body, "true");
	client_close(&a);
	client_close(&b);
	cr_assert_eq(get(C "/service-defaults/web"), 200);
	cr_assert_eq(get(C "/service-splitter/web"), 200);
}

Test(api_config, of_many_writers_of_one_service_none_is_refused)
{
	enum { WRITERS = 40 };
	struct client all[WRITERS];
	char body[96];

	for (unsigned n = 0; n < WRITERS; n++)
		client_open(&all[n]);
	for (unsigned n = 0; n < WRITERS; n++) {
		snprintf(body, sizeof(body),
			 "{\"Kind\":\"service-defaults\",\"Name\":\"web\",\"Protocol\":\"p%u\"}",
			 n);
		client_send(&all[n], "PUT", C, body);
	}
	for (unsigned n = 0; n < WRITERS; n++) {
		UNTIL(client_has(&all[n]));
		cr_expect_str_eq(all[n].body, "true");
		client_close(&all[n]);
	}
}

/* It began with another's name, which is as long as one may be, and took that one's entry away. */
Test(api_config, who_deletes_a_name_that_is_too_long_deletes_nothing)
{
	char name[257], body[512], path[512];

	memset(name, 'n', 255);
	name[255] = name[256] = '\0';
	snprintf(body, sizeof(body), "{\"Kind\":\"service-defaults\",\"Name\":\"%s\"}", name);
	written(body);
	snprintf(path, sizeof(path), C "/service-defaults/%sx", name);
	cr_expect_eq(delete (path), 400);
	path[strlen(path) - 1] = '\0';
	cr_expect_eq(get(path), 200, "%s", one.body);
	cr_expect_eq(delete (path), 200);
	cr_expect_eq(get(path), 404);
}

Test(api_config, what_has_no_meaning_is_refused_by_name)
{
	static const struct {
		const char *body, *text;
	} all[] = {
		{"{\"Kind\":\"proxy-defaults\",\"Name\":\"global\"}",
		 "Kind: \"proxy-defaults\" is not allowed: service-resolver, service-splitter, "
		 "service-defaults"},
		{"{\"Kind\":\"service-resolver\"}", "Name is required"},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"*\"}",
		 "Name: \"*\" is not allowed: the name of one service, there are no entries for "
		 "all"},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"Colour\":1}",
		 "Request decode failed: json: unknown field \"Colour\""},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"ConnectTimeout\":\"5s\"}",
		 "ConnectTimeout is not supported: it is for a proxy, and there is none"},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"Redirect\":{\"Service\":\"b\","
		 "\"Datacenter\":\"dc9\"}}",
		 "Redirect.Datacenter: \"dc9\" is not allowed: a mesh is one datacenter; of "
		 "regions "
		 "see the policy's failover"},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"Failover\":{\"*\":{"
		 "\"Datacenters\":[\"dc9\"]}}}",
		 "Failover.*.Datacenters: \"dc9\" is not allowed: a mesh is one datacenter; of "
		 "regions see the policy's failover"},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"LoadBalancer\":{\"Policy\":"
		 "\"ring_hash\"}}",
		 "LoadBalancer.Policy: \"ring_hash\" is not allowed: random, round_robin, "
		 "least_request, maglev"},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"LoadBalancer\":{"
		 "\"RingHashConfig\":{\"MinimumRingSize\":64},\"Policy\":\"ring_hash\"}}",
		 "LoadBalancer.Policy: \"ring_hash\" is not allowed: "},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"LoadBalancer\":{\"HashPolicies\":"
		 "[{\"Field\":\"header\"}]}}",
		 "LoadBalancer.HashPolicies[0].Field is not supported: it is for a proxy, and "
		 "there "
		 "is none"},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"DefaultSubset\":\"v9\"}",
		 "default_subset: \"v9\" is not allowed: it must be one of subsets"},
		{"{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"Subsets\":{\"v1\":{\"Filter\":"
		 "\"Bad ==\"}}}",
		 "subsets.v1.filter: \"Bad ==\" is not allowed: "},
		{"{\"Kind\":\"service-splitter\",\"Name\":\"w\"}", "no splits configured"},
		{"{\"Kind\":\"service-splitter\",\"Name\":\"w\",\"Splits\":[{\"Weight\":99}]}",
		 "split: \"99.00\" is not allowed: the percents together must be 100"},
		{"{\"Kind\":\"service-splitter\",\"Name\":\"w\",\"Splits\":[{\"Weight\":100,"
		 "\"RequestHeaders\":{\"Set\":{\"a\":\"b\"}}}]}",
		 "Splits[0].RequestHeaders is not supported: it is for a proxy, and there is none"},
		{"{\"Kind\":\"service-defaults\",\"Name\":\"w\",\"MeshGateway\":{\"Mode\":"
		 "\"local\"}}",
		 "MeshGateway is not supported: it is for a proxy, and there is none"},
		{"{\"Kind\":\"service-defaults\",\"Name\":\"w\",\"Namespace\":\"other\"}",
		 "Namespace and Partition must be \"default\" or left out"},
	};

	for (size_t n = 0; n < sizeof(all) / sizeof(all[0]); n++) {
		cr_expect_eq(put(C, all[n].body), 400, "%s: %s", all[n].body, one.body);
		cr_expect_eq(strncmp(one.body, all[n].text, strlen(all[n].text)), 0, "%s:\n%s\n%s",
			     all[n].body, one.body, all[n].text);
	}
	/* what says nothing may be there: clients send it */
	written("{\"Kind\":\"service-defaults\",\"Name\":\"w\",\"Namespace\":\"default\",\"Mode\":"
		"\"\",\"MeshGateway\":{},\"Expose\":{\"Checks\":false,\"Paths\":[]},"
		"\"LocalConnectTimeoutMs\":0,\"Meta\":null}");
	written("{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"ConnectTimeout\":\"0s\"}");
}

/* What is of one way to choose is refused beside another, in a Consul's words. */
Test(api_config, what_is_of_another_balancer_is_refused_by_name)
{
	static const struct {
		const char *balancer, *text;
	} all[] = {
		{"{\"Policy\":\"maglev\",\"LeastRequestConfig\":{\"ChoiceCount\":2}}",
		 "Bad LoadBalancer configuration. LeastRequestConfig specified for incompatible "
		 "load balancing policy \"maglev\""},
		{"{\"least_request_config\":{},\"Policy\":\"random\"}",
		 "Bad LoadBalancer configuration. LeastRequestConfig specified for incompatible "
		 "load balancing policy \"random\""},
		{"{\"LeastRequestConfig\":{\"ChoiceCount\":2}}",
		 "Bad LoadBalancer configuration. LeastRequestConfig specified for incompatible "
		 "load balancing policy \"\""},
		{"{\"RingHashConfig\":{\"MinimumRingSize\":64},\"Policy\":\"least_request\"}",
		 "Bad LoadBalancer configuration. RingHashConfig specified for incompatible load "
		 "balancing policy \"least_request\""},
		{"{\"RingHashConfig\":{},\"Policy\":\"maglev\"}",
		 "Bad LoadBalancer configuration. RingHashConfig specified for incompatible load "
		 "balancing policy \"maglev\""},
		{"{\"HashPolicies\":[{\"SourceIP\":true}],\"Policy\":\"round_robin\"}",
		 "Bad LoadBalancer configuration: HashPolicies specified for non-hash-based "
		 "Policy: \"round_robin\""},
	};
	char body[512];

	for (size_t n = 0; n < sizeof(all) / sizeof(all[0]); n++) {
		snprintf(body, sizeof(body),
			 "{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"LoadBalancer\":%s}",
			 all[n].balancer);
		cr_expect_eq(put(C, body), 400, "%s: %s", body, one.body);
		cr_expect_str_eq(one.body, all[n].text);
	}
	written("{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"LoadBalancer\":{\"Policy\":"
		"\"least_request\",\"LeastRequestConfig\":{\"ChoiceCount\":2}}}");
	written("{\"Kind\":\"service-resolver\",\"Name\":\"w\",\"LoadBalancer\":{\"Policy\":"
		"\"maglev\",\"LeastRequestConfig\":null,\"RingHashConfig\":null}}");
}
