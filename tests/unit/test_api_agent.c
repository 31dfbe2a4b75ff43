/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Checks that are registered by themselves, checks of the node, and maintenance: answers as a real
 * Consul gives them, what the tables make of it, and what a restart leaves. */
#include "api_help.h"
#include "userspace/base/macros.h"

#define CHECK_REGISTER "/v1/agent/check/register"

static char db[96];

static void setup(void)
{
	api_setup();
	snprintf(db, sizeof(db), "/tmp/wm-api-agent-%d.db", (int)getpid());
	registry_config.path = db;
	api_start();
}

static void teardown(void)
{
	static const char *const ends[] = {"", "-wal", "-shm"};
	char path[128];

	one_close();
	api_stop();
	for (unsigned i = 0; i < WM_ARRAY_LEN(ends); i++) {
		snprintf(path, sizeof(path), "%s%s", db, ends[i]);
		unlink(path);
	}
}

static void again(void)
{
	one_close();
	api_stop();
	api_start();
}

TestSuite(agent, .init = setup, .fini = teardown, .timeout = 300);

static void web(const char *id, unsigned last)
{
	char body[256];

	snprintf(body, sizeof(body),
		 "{\"ID\":\"%s\",\"Name\":\"web\",\"Address\":\"10.9.0.%u\",\"Port\":80,\"Check\":{"
		 "\"CheckID\":\"c-%s\",\"TTL\":\"1h\",\"Status\":\"passing\"}}",
		 id, last, id);
	must_put(REGISTER, body);
}

static json_t *answer(const char *path, int status)
{
	json_t *v;

	cr_assert_eq(get(path), status, "%s: %d %s", path, one.status, one.body);
	v = json_loads(one.body, JSON_DECODE_ANY, NULL);
	cr_assert(v, "%s: %s", path, one.body);
	return v;
}

/* Number of elements of an answer. */
static size_t count(const char *path)
{
	json_t *v = answer(path, 200);
	size_t n = json_is_array(v) ? json_array_size(v) : json_object_size(v);

	json_decref(v);
	return n;
}

/* One text of one check of the agent; "" if it is not there. Static memory. */
static const char *of_check(const char *id, const char *key)
{
	static char text[2048];
	json_t *v = answer("/v1/agent/checks", 200);
	const char *s = json_string_value(json_object_get(json_object_get(v, id), key));

	snprintf(text, sizeof(text), "%s", s ? s : "");
	json_decref(v);
	return text;
}

/* Backends of a service that the tables would pick. */
static unsigned up(const char *service)
{
	char path[128];
	json_t *v, *all, *b;
	unsigned n = 0;
	size_t i;

	snprintf(path, sizeof(path), "/v1/waymark/resolve/%s", service);
	v = answer(path, 200);
	all = json_object_get(v, "backends");
	cr_assert(json_is_array(all), "%s", one.body);
	json_array_foreach(all, i, b) n +=
		strcmp(json_string_value(json_object_get(b, "state")), "up") == 0;
	json_decref(v);
	return n;
}

static void refused(const char *path, const char *body, int status, const char *text)
{
	cr_assert_eq(put(path, body), status, "%s %s: %d %s", path, body, one.status, one.body);
	cr_assert_str_eq(one.body, text);
}

/* --- checks by themselves ------------------------------------------------------------------- */
Test(agent, a_check_of_the_node_takes_all_its_instances_out)
{
	struct client c;
	char path[128];

	web("w1", 1);
	web("w2", 2);
	cr_assert_eq(up("web"), 2);
	must_put(CHECK_REGISTER, "{\"Name\":\"disk\",\"TTL\":\"60m\",\"Status\":\"passing\"}");
	cr_assert_eq(up("web"), 2);
	cr_assert_eq(count("/v1/health/service/web?passing"), 2);
	get("/v1/health/service/web");
	snprintf(path, sizeof(path), "/v1/health/service/web?wait=30s&index=%lu", index_of(&one));
	client_open(&c);
	client_send(&c, "GET", path, NULL);
	turns(5);
	cr_assert(!client_has(&c));
	must_put("/v1/agent/check/fail/disk?note=full", NULL);
	UNTIL(client_has(&c)); /* who watches a service learns of its node */
	cr_assert_eq(c.status, 200);
	cr_assert(strstr(c.body, "\"Output\":\"full\""));
	client_close(&c);
	cr_assert_eq(up("web"), 0);
	cr_assert_eq(count("/v1/health/service/web?passing"), 0);
	cr_assert_eq(count("/v1/health/service/web"), 2);
	cr_assert_eq(count("/v1/health/state/critical"), 1);
	cr_assert_eq(count("/v1/health/checks/web"), 2, "the checks of its instances alone");
	cr_assert_eq(count("/v1/health/node/n1"), 4);
	cr_assert_eq(get("/v1/agent/health/service/id/w1?format=text"), 503);
	cr_assert_str_eq(one.body, "critical");
	web("w3", 3); /* what comes while the node is down is down */
	cr_assert_eq(up("web"), 0);
	must_put("/v1/agent/check/pass/disk", NULL);
	cr_assert_eq(up("web"), 3);
	must_put("/v1/agent/check/fail/disk", NULL);
	must_put("/v1/agent/check/deregister/disk", NULL);
	cr_assert_eq(up("web"), 3);
	cr_assert_str_eq(of_check("disk", "Status"), "");
}

Test(agent, a_check_of_the_node_looks_as_in_consul)
{
	must_put(CHECK_REGISTER, "{\"Name\":\"disk\",\"TTL\":\"60s\",\"Notes\":\"n\"}");
	cr_assert_str_eq(of_check("disk", "Name"), "disk");
	cr_assert_str_eq(of_check("disk", "Node"), "n1");
	cr_assert_str_eq(of_check("disk", "Status"), "critical");
	cr_assert_str_eq(of_check("disk", "Type"), "ttl");
	cr_assert_str_eq(of_check("disk", "ServiceID"), "");
	cr_assert_str_eq(of_check("disk", "ServiceName"), "");
	cr_assert(strstr(one.body, "\"ServiceTags\":[]"));
}

Test(agent, a_check_of_an_instance_joins_the_others)
{
	web("w1", 1);
	web("w2", 2);
	must_put(CHECK_REGISTER, "{\"ID\":\"extra\",\"Name\":\"extra\",\"ServiceID\":\"w1\","
				 "\"TTL\":\"60m\",\"Status\":\"critical\"}");
	cr_assert_eq(up("web"), 1);
	cr_assert_eq(count("/v1/health/checks/web"), 3);
	cr_assert_str_eq(of_check("extra", "ServiceName"), "web");
	must_put("/v1/agent/check/pass/extra", NULL);
	cr_assert_eq(up("web"), 2);
	/* the same once more, with other timing: the status goes on */
	must_put(CHECK_REGISTER, "{\"ID\":\"extra\",\"Name\":\"extra\",\"ServiceID\":\"w1\","
				 "\"TTL\":\"61m\",\"Status\":\"critical\"}");
	cr_assert_str_eq(of_check("extra", "Status"), "passing");
	cr_assert_eq(count("/v1/health/checks/web"), 3);
	must_put("/v1/agent/check/deregister/extra", NULL);
	cr_assert_eq(count("/v1/health/checks/web"), 2);
	must_put("/v1/agent/service/deregister/w1", NULL);
	cr_assert_eq(put("/v1/agent/check/pass/c-w1", NULL), 404);
}

/* A check is no registration: who watches the catalog sleeps on. */
Test(agent, the_catalog_does_not_move_for_a_check)
{
	unsigned long before;

	web("w1", 1);
	get("/v1/catalog/services");
	before = index_of(&one);
	must_put(CHECK_REGISTER,
		 "{\"Name\":\"x\",\"ServiceID\":\"w1\",\"TTL\":\"1h\",\"Status\":\"passing\"}");
	get("/v1/catalog/services");
	cr_assert_eq(index_of(&one), before);
	get("/v1/health/service/web");
	cr_assert_gt(index_of(&one), before);
}

Test(agent, what_is_wrong_with_a_check_is_said_as_consul_says_it)
{
	web("w1", 1);
	refused(CHECK_REGISTER, "{\"Name\":\"lost\",\"ServiceID\":\"none\",\"TTL\":\"60s\"}", 404,
		"ServiceID \"none\" does not exist");
	refused(CHECK_REGISTER, "{\"TTL\":\"60s\"}", 400, "Missing check name");
	refused(CHECK_REGISTER, "{\"Name\":\"a\",\"TTL\":\"60s\",\"Status\":\"odd\"}", 400,
		"Bad check status");
	refused(CHECK_REGISTER, "{\"Name\":\"a\"}", 400,
		"Invalid check: TTL must be > 0 for TTL checks");
	refused(CHECK_REGISTER, "{\"Name\":\"a\",\"TTL\":\"1s\",\"Interval\":\"1s\"}", 400,
		"Invalid check: Interval and TTL cannot both be specified");
	refused(CHECK_REGISTER, "{\"Name\":\"a\",\"TTL\":\"1s\",\"Tll\":1}", 400,
		"Request decode failed: json: unknown field \"Tll\"");
	refused(CHECK_REGISTER, "{\"Name\":\"a\",\"TTL\":\"1s\",\"Namespace\":\"x\"}", 400,
		"Namespace and Partition must be \"default\" or left out");
	refused(CHECK_REGISTER, "", 400, "Request decode failed: EOF");
	refused("/v1/agent/check/deregister/none", NULL, 404,
		"Unknown check ID \"none\". Ensure that the check ID is passed, not the check "
		"name.");
	cr_assert_eq(put(CHECK_REGISTER, "{\"Name\":\"c-w1\",\"TTL\":\"1h\"}"), 409);
	cr_assert(strstr(one.body, "belongs to service ID \"w1\""));
	must_put(CHECK_REGISTER, "{\"Name\":\"disk\",\"TTL\":\"1h\",\"Status\":\"passing\"}");
	cr_assert_eq(put(CHECK_REGISTER, "{\"Name\":\"disk\",\"TTL\":\"1h\",\"ServiceID\":\"w1\"}"),
		     409);
	cr_assert(strstr(one.body, "belongs to the node"));
	cr_assert_eq(count("/v1/agent/checks"), 2, "what was refused left nothing");
}

Test(agent, checks_are_bounded)
{
	char body[128];

	web("w1", 1);
	for (unsigned i = 0; i < 2 * WM_CHECKS_PER_INSTANCE - 1; i++) {
		snprintf(body, sizeof(body),
			 "{\"Name\":\"k%u\",\"TTL\":\"1h\",\"ServiceID\":\"%s\"}", i,
			 i % 2 ? "w1" : "");
		must_put(CHECK_REGISTER, body);
	}
	cr_assert_eq(put(CHECK_REGISTER, "{\"Name\":\"more\",\"TTL\":\"1h\"}"), 400);
	cr_assert_eq(put(CHECK_REGISTER, "{\"Name\":\"more\",\"TTL\":\"1h\",\"ServiceID\":\"w1\"}"),
		     400);
	/* maintenance finds its place all the same, and all of it is read again */
	must_put("/v1/agent/service/maintenance/w1?enable=true", NULL);
	must_put("/v1/agent/maintenance?enable=true", NULL);
	again();
	cr_assert_eq(count("/v1/agent/checks"), 2 * WM_CHECKS_PER_INSTANCE + 2);
}

/* The node has no instance to remove: its check stays, and is run. */
Test(agent, a_check_of_the_node_runs)
{
	web("w1", 1);
	must_put(CHECK_REGISTER, "{\"Name\":\"beat\",\"TTL\":\"40ms\",\"Status\":\"passing\","
				 "\"DeregisterCriticalServiceAfter\":\"1ms\"}");
	cr_assert_eq(up("web"), 1);
	UNTIL(up("web") == 0);
	cr_assert_str_eq(of_check("beat", "Output"), "TTL expired");
	again();
	cr_assert_str_eq(of_check("beat", "Status"), "critical");
	cr_assert_eq(up("web"), 0);
}

/* --- maintenance ---------------------------------------------------------------------------- */
Test(agent, maintenance_of_an_instance)
{
	json_t *v;

	web("w1", 1);
	web("w2", 2);
	must_put("/v1/agent/service/maintenance/w1?enable=true&reason=new%20disk", NULL);
	cr_assert_eq(up("web"), 1);
	cr_assert_str_eq(of_check("_service_maintenance:w1", "Name"), "Service Maintenance Mode");
	cr_assert_str_eq(of_check("_service_maintenance:w1", "Notes"), "new disk");
	cr_assert_str_eq(of_check("_service_maintenance:w1", "Type"), "maintenance");
	cr_assert_str_eq(of_check("_service_maintenance:w1", "Status"), "critical");
	v = answer("/v1/agent/health/service/id/w1", 503);
	cr_assert_str_eq(json_string_value(json_object_get(v, "AggregatedStatus")), "maintenance");
	json_decref(v);
	cr_assert_str_eq(header(&one, "X-Consul-Reason"), "maintenance");
	cr_assert_eq(get("/v1/agent/health/service/id/w1?format=text"), 503);
	cr_assert_str_eq(one.body, "maintenance");
	cr_assert_eq(get("/v1/agent/health/service/id/w2"), 200);
	cr_assert_eq(get("/v1/agent/health/service/name/web"), 503);
	cr_assert_str_eq(header(&one, "X-Consul-Reason"), "maintenance");
	/* no heartbeat ends it, and no registration */
	cr_assert_eq(put("/v1/agent/check/pass/_service_maintenance:w1", NULL), 400);
	must_put(REGISTER "?replace-existing-checks=true",
		 "{\"ID\":\"w1\",\"Name\":\"web\",\"Address\":\"10.9.0.1\",\"Port\":80}");
	cr_assert_eq(up("web"), 1);
	cr_assert_eq(count("/v1/health/checks/web"), 2, "w1 has maintenance alone");
	again();
	cr_assert_eq(up("web"), 1);
	cr_assert_str_eq(of_check("_service_maintenance:w1", "Notes"), "new disk");
	must_put("/v1/agent/service/maintenance/w1?enable=true&reason=other", NULL);
	cr_assert_str_eq(of_check("_service_maintenance:w1", "Notes"), "other");
	must_put("/v1/agent/service/maintenance/w1?enable=false", NULL);
	must_put("/v1/agent/service/maintenance/w1?enable=false", NULL);
	cr_assert_eq(up("web"), 2);
	cr_assert_eq(get("/v1/agent/health/service/id/w1"), 200);
	again();
	cr_assert_eq(up("web"), 2);
}

Test(agent, maintenance_of_the_node)
{
	web("w1", 1);
	web("w2", 2);
	must_put("/v1/agent/maintenance?enable=true", NULL);
	cr_assert_eq(up("web"), 0);
	cr_assert_str_eq(of_check("_node_maintenance", "Name"), "Node Maintenance Mode");
	cr_assert_str_eq(of_check("_node_maintenance", "Notes"),
			 "Maintenance mode is enabled for this node, but no reason was provided. "
			 "This is a default message.");
	cr_assert_eq(get("/v1/agent/health/service/id/w2?format=text"), 503);
	cr_assert_str_eq(one.body, "maintenance");
	again();
	cr_assert_eq(up("web"), 0);
	must_put("/v1/agent/maintenance?enable=false", NULL);
	cr_assert_eq(up("web"), 2);
	again();
	cr_assert_eq(up("web"), 2);
}

Test(agent, what_is_wrong_with_maintenance_is_said_as_consul_says_it)
{
	char path[WM_CHECK_NOTES_MAX + 100] = "/v1/agent/maintenance?enable=1&reason=";
	size_t len = strlen(path);

	refused("/v1/agent/maintenance", NULL, 400, "Missing value for enable");
	refused("/v1/agent/maintenance?enable=maybe", NULL, 400,
		"Invalid value for enable: \"maybe\"");
	refused("/v1/agent/maintenance?enable=", NULL, 400, "Invalid value for enable: \"\"");
	refused("/v1/agent/service/maintenance/none?enable=true", NULL, 404,
		"Unknown service ID \"none\". Ensure that the service ID is passed, not the "
		"service name.");
	refused("/v1/agent/service/maintenance/none?enable=false", NULL, 404,
		"Unknown service ID \"none\". Ensure that the service ID is passed, not the "
		"service name.");
	memset(path + len, 'x', WM_CHECK_NOTES_MAX + 1);
	path[len + WM_CHECK_NOTES_MAX + 1] = 0;
	cr_assert_eq(put(path, NULL), 400);
	cr_assert_eq(count("/v1/agent/checks"), 0);
}

Test(agent, health_of_what_is_not_there_says_so)
{
	cr_assert_eq(get("/v1/agent/health/service/id/none"), 404);
	cr_assert_str_eq(header(&one, "X-Consul-Reason"), "ServiceId none not found");
	cr_assert_eq(get("/v1/agent/health/service/name/none"), 404);
	cr_assert_str_eq(header(&one, "X-Consul-Reason"), "ServiceName none Not Found");
}

/* --- the agent itself ----------------------------------------------------------------------- */
static json_t *metric(json_t *all, const char *kind, const char *name)
{
	json_t *m;
	size_t i;

	json_array_foreach(json_object_get(all, kind), i, m)
	{
		if (strcmp(json_string_value(json_object_get(m, "Name")), name) == 0)
			return m;
	}
	cr_assert_fail("no %s %s: %s", kind, name, one.body);
	return NULL;
}

static json_int_t value_of(json_t *all, const char *kind, const char *name)
{
	return json_integer_value(json_object_get(metric(all, kind, name),
						  strcmp(kind, "Gauges") == 0 ? "Value" : "Count"));
}

Test(agent, metrics_in_the_shape_of_consul)
{
	static const char *const keys[] = {"Timestamp", "Gauges", "Points", "Counters", "Samples"};
	json_int_t writes;
	json_t *v;

	web("w1", 1);
	v = answer("/v1/agent/metrics", 200);
	cr_assert_str_eq(header(&one, "Content-Type"), "application/json");
	for (unsigned i = 0; i < WM_ARRAY_LEN(keys); i++)
		cr_assert(json_object_get(v, keys[i]), "%s", keys[i]);
	cr_assert_eq(value_of(v, "Gauges", "waymark.registry.instances"), 1);
	cr_assert_eq(value_of(v, "Gauges", "waymark.health.checks"), 1);
	writes = value_of(v, "Counters", "waymark.api.writes");
	cr_assert_gt(value_of(v, "Counters", "waymark.registry.commits"), 0);
	cr_assert_gt(value_of(v, "Samples", "waymark.loop.turn_seconds"), 0);
	json_decref(v);
	web("w2", 2);
	v = answer("/v1/agent/metrics", 200);
	cr_assert_eq(value_of(v, "Counters", "waymark.api.writes"), writes + 1);
	cr_assert_eq(value_of(v, "Gauges", "waymark.tables.backends"), 2);
	json_decref(v);
}

/* Every line is a comment or a name with a number, and no name comes twice. */
Test(agent, metrics_for_prometheus)
{
	unsigned lines = 0;
	char *save = NULL;

	web("w1", 1);
	cr_assert_eq(get("/v1/agent/metrics?format=prometheus"), 200);
	cr_assert_str_eq(header(&one, "Content-Type"), "text/plain; version=0.0.4; charset=utf-8");
	cr_assert(strstr(one.body, "\n# TYPE waymark_registry_instances gauge\n"
				   "waymark_registry_instances 1\n"));
	cr_assert(strstr(one.body, "\n# TYPE waymark_api_writes_total counter\n"
				   "waymark_api_writes_total 1\n"));
	cr_assert(strstr(one.body, "\n# TYPE waymark_loop_turn_seconds histogram\n"
				   "waymark_loop_turn_seconds_bucket{le=\"0.001\"} "));
	cr_assert(strstr(one.body, "\nwaymark_loop_turn_seconds_bucket{le=\"+Inf\"} "));
	*strstr(one.body, "# HELP waymark_loop_turn_seconds") = 0; /* the last one */
	for (char *l = strtok_r(one.body, "\n", &save); l; l = strtok_r(NULL, "\n", &save)) {
		size_t name = strspn(l, "abcdefghijklmnopqrstuvwxyz0123456789_");
		char needle[128];

		if (strncmp(l, "# HELP waymark_", 15) == 0 ||
		    strncmp(l, "# TYPE waymark_", 15) == 0)
			continue;
		lines++;
		cr_assert_gt(name, 8, "%s", l);
		cr_assert_eq(l[name], ' ', "%s", l);
		cr_assert_gt(strlen(l + name + 1), 0);
		cr_assert_eq(strspn(l + name + 1, "0123456789"), strlen(l + name + 1), "%s", l);
		snprintf(needle, sizeof(needle), "# TYPE %.*s ", (int)name, l);
		cr_assert(!save || !strstr(save, needle), "%s comes twice", needle);
	}
	cr_assert_gt(lines, 40);
}

Test(agent, a_service_without_proxies_has_none_and_the_answer_blocks)
{
	struct client c;
	char path[128];

	web("w1", 1);
	cr_assert_eq(count("/v1/health/connect/web"), 0);
	cr_assert_gt(index_of(&one), 0);
	cr_assert_eq(get("/v1/health/connect/web?passing=odd"), 400);
	get("/v1/health/connect/web");
	snprintf(path, sizeof(path), "/v1/health/connect/web?wait=300ms&index=%lu", index_of(&one));
	client_open(&c);
	client_send(&c, "GET", path, NULL);
	turns(5);
	cr_assert(!client_has(&c));
	UNTIL(client_has(&c));
	cr_assert_str_eq(c.body, "[]");
	client_close(&c);
}

Test(agent, the_only_member_joins_and_removes_nobody)
{
	must_put("/v1/agent/join/10.8.0.2", NULL);
	must_put("/v1/agent/force-leave/n1", NULL);
	refused("/v1/agent/join/10.8.0.9", NULL, 500,
		"Failed to join 10.8.0.9: sync.mode is off, so this agent is a mesh of its own");
	refused("/v1/agent/force-leave/other", NULL, 500, "agent: No node found with name 'other'");
	cr_assert_eq(put("/v1/agent/reload", NULL), 501);
	cr_assert_eq(put("/v1/agent/leave", NULL), 501);
	cr_assert_eq(get("/v1/agent/leave"), 405);
}
