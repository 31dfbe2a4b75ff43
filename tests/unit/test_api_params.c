/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Parameters and headers that every read takes, one by one as Consul's clients send them. */
#include "api_help.h"
#include "userspace/api/internal.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/sync/member.h"

#include <stdlib.h>

static char *node_meta[3];
static char zone[] = "zone=z1", region[] = "region=r1";

static void setup(void)
{
	api_setup();
	node_meta[0] = zone;
	node_meta[1] = region;
	registry_config.node_meta = node_meta;
	api_start();
}

static void teardown(void)
{
	one_close();
	api_stop();
}

TestSuite(params, .init = setup, .fini = teardown, .timeout = 300);

#define WEB "/v1/health/service/web"

/* A request with headers of its own. */
static int ask_with(const char *method, const char *path, const char *headers)
{
	char request[1024];
	int n = snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
			 method, path, headers);

	one_close();
	client_open(&one);
	cr_assert_eq(send(one.fd, request, (size_t)n, MSG_NOSIGNAL), n);
	UNTIL(client_has(&one));
	return one.status;
}

/* How many elements the answer's array has. */
static size_t count_of(const char *path)
{
	json_t *v;
	size_t n;

	cr_assert_eq(get(path), 200, "%s: %s", path, one.body);
	v = json_loads(one.body, 0, NULL);
	cr_assert(json_is_array(v), "%s: %s", path, one.body);
	n = json_array_size(v);
	json_decref(v);
	return n;
}

static void web(const char *id, const char *tags)
{
	char body[256];

	snprintf(body, sizeof(body), "{\"ID\":\"%s\",\"Name\":\"web\",\"Tags\":%s,\"Port\":80}", id,
		 tags);
	must_put(REGISTER, body);
}

static void refused(const char *query, const char *text)
{
	char path[256];

	snprintf(path, sizeof(path), WEB "?%s", query);
	cr_expect_eq(get(path), 400, "%s: %d", query, one.status);
	cr_expect(strstr(one.body, text), "%s: %s", query, one.body);
	cr_expect_str_eq(header(&one, "Content-Type"), "text/plain; charset=utf-8");
}

static void answered(const char *query)
{
	char path[256];

	snprintf(path, sizeof(path), WEB "?%s", query);
	cr_expect_eq(get(path), 200, "%s: %d %s", query, one.status, one.body);
}

Test(params, index_and_wait)
{
	web("w1", "[]");
	refused("index=x", "Invalid index");
	refused("index=-1", "Invalid index");
	refused("index=1.5", "Invalid index");
	refused("index=%201", "Invalid index");
	refused("index=18446744073709551616", "Invalid index");
	refused("wait=x", "Invalid wait time");
	refused("wait=10", "Invalid wait time");
	refused("index=1&wait=1day", "Invalid wait time");
	/* without an index, or with 0, nothing waits */
	answered("wait=10m");
	answered("index=&wait=10m");
	answered("index=0&wait=10m");
	answered("index=00000000000000000001&wait=10m");
	/* an index ahead of ours waits, then shows ours */
	answered("index=18446744073709551615&wait=20ms");
	cr_assert_eq(index_of(&one), wm_registry_index(registry));
	/* what is no time to wait is the default, what is too long the longest: both go on waiting
	 */
	for (const char *const *w = (const char *const[]){"0s", "-5s", "0", "900h", "10m", NULL};
	     *w; w++) {
		struct client c;
		char path[128];

		snprintf(path, sizeof(path), WEB "?index=99999&wait=%s", *w);
		client_open(&c);
		client_send(&c, "GET", path, NULL);
		UNTIL(api->watches == 1);
		turns(3);
		cr_assert(!client_has(&c) && !c.len, "%s", c.text);
		client_close(&c);
		UNTIL(api->watches == 0);
	}
}

Test(params, wait_has_a_random_part_of_a_sixteenth)
{
	uint64_t least = UINT64_MAX, most = 0;
	struct client c[16];

	for (unsigned i = 0; i < WM_ARRAY_LEN(c); i++) {
		client_open(&c[i]);
		client_send(&c[i], "GET", WEB "?index=99999&wait=160s", NULL);
		UNTIL(api->watches == i + 1);
	}
	for (const struct wm_watch *w = TAILQ_FIRST(
		     &((struct wm_watch_key *)wm_map_get(api->service_keys, "web", 3))->watches);
	     w; w = TAILQ_NEXT(w, entry)) {
		least = w->call.wait_ms < least ? w->call.wait_ms : least;
		most = w->call.wait_ms > most ? w->call.wait_ms : most;
	}
	cr_assert_geq(least, 160000);
	cr_assert_lt(most, 170000);
	cr_assert_gt(most, least, "sixteen draws of ten thousand are not one");
	for (unsigned i = 0; i < WM_ARRAY_LEN(c); i++)
		client_close(&c[i]);
	UNTIL(api->watches == 0);
}

Test(params, consistency)
{
	static const struct {
		const char *query, *mode;
	} modes[] = {{"", "leader"},
		     {"leader", "leader"},
		     {"stale", "stale"},
		     {"stale=", "stale"},
		     {"consistent", "consistent"},
		     {"max_stale=10s", "stale"},
		     {"max_stale=0s", "leader"},
		     {"max_stale=", "leader"}};

	for (unsigned i = 0; i < WM_ARRAY_LEN(modes); i++) {
		answered(modes[i].query);
		cr_expect_str_eq(header(&one, "X-Consul-Effective-Consistency"), modes[i].mode,
				 "%s", modes[i].query);
		cr_expect_str_eq(header(&one, "X-Consul-KnownLeader"), "true");
		cr_expect_str_eq(header(&one, "X-Consul-LastContact"), "0");
		cr_expect_geq(index_of(&one), 1u);
	}
	refused("max_stale=10", "Invalid max_stale value \"10\"");
	refused("max_stale=x", "Invalid max_stale value \"x\"");
	refused("stale&consistent", "Cannot specify ?stale with ?consistent");
	refused("max_stale=1s&consistent", "Cannot specify ?stale with ?consistent");
	refused("cached&consistent", "Cannot specify ?cached with ?consistent");
}

Test(params, cached)
{
	static const char *const paths[] = {WEB, "/v1/catalog/services", "/v1/catalog/service/web",
					    "/v1/catalog/datacenters", "/v1/catalog/nodes"};
	static const char *const good[] = {"max-age=10", "stale-if-error=60, max-age=0",
					   "must-revalidate", "no-cache,max-age=5 ", ""};
	static const char *const bad[] = {"max-age=x", "max-age=", "max-age=1s",
					  "no-cache, stale-if-error=-1", "max-age=99999999999"};
	char line[128], path[64];

	for (unsigned i = 0; i < WM_ARRAY_LEN(paths); i++) {
		snprintf(path, sizeof(path), "%s?cached", paths[i]);
		cr_assert_eq(get(path), 200);
		cr_expect_str_eq(header(&one, "X-Cache"), "HIT", "%s", path);
		cr_expect_str_eq(header(&one, "Age"), "0", "%s", path);
		cr_assert_eq(get(paths[i]), 200);
		cr_expect_str_eq(header(&one, "X-Cache"), "", "%s", paths[i]);
	}
	for (unsigned i = 0; i < WM_ARRAY_LEN(good); i++) {
		snprintf(line, sizeof(line), "Cache-Control: %s\r\n", good[i]);
		cr_expect_eq(ask_with("GET", WEB "?cached", line), 200, "%s", good[i]);
	}
	for (unsigned i = 0; i < WM_ARRAY_LEN(bad); i++) {
		snprintf(line, sizeof(line), "Cache-Control: %s\r\n", bad[i]);
		cr_expect_eq(ask_with("GET", WEB "?cached", line), 400, "%s", bad[i]);
		cr_expect_str_eq(one.body, "Invalid Cache-Control header.");
	}
	/* where nothing is cached it is of no meaning */
	cr_expect_eq(ask_with("GET", WEB, "Cache-Control: max-age=x\r\n"), 200);
}

Test(params, tokens_are_not_looked_at)
{
	static const char *const headers[] = {"X-Consul-Token: t\r\n",
					      "Authorization: Bearer t\r\n",
					      "X-Consul-Token: t\r\nAuthorization: Basic Og==\r\n"};

	cr_assert_eq(get(WEB), 200);
	cr_expect_str_eq(header(&one, "X-Consul-Results-Filtered-By-ACLs"), "");
	for (unsigned i = 0; i < WM_ARRAY_LEN(headers); i++) {
		cr_expect_eq(ask_with("GET", WEB, headers[i]), 200);
		cr_expect_str_eq(header(&one, "X-Consul-Results-Filtered-By-ACLs"), "false");
	}
	cr_expect_eq(get(WEB "?token=t"), 200);
	cr_expect_str_eq(header(&one, "X-Consul-Results-Filtered-By-ACLs"), "false");
	cr_expect_eq(put(REGISTER "?token=t", "{\"Name\":\"x\",\"Token\":\"t\"}"), 200);
}

Test(params, tags_and_metadata_of_the_node_select)
{
	web("w1", "[\"a\",\"b\"]");
	web("w2", "[\"a\"]");
	cr_expect_eq(count_of(WEB "?tag=a"), 2);
	cr_expect_eq(count_of(WEB "?tag=a&tag=B"), 1);
	cr_expect_eq(count_of(WEB "?tag=a&tag=c"), 0);
	cr_expect_eq(count_of("/v1/catalog/service/web?tag=a&tag=b"), 1);
	for (const char *const *p =
		     (const char *const[]){WEB, "/v1/catalog/service/web", "/v1/catalog/nodes",
					   "/v1/health/state/any", NULL};
	     *p; p++) {
		char path[128];

		snprintf(path, sizeof(path), "%s?node-meta=zone:z1&node-meta=region:r1", *p);
		cr_expect_gt(count_of(path), 0, "%s", path);
		snprintf(path, sizeof(path), "%s?node-meta=zone:z1&node-meta=region:r2", *p);
		cr_expect_eq(count_of(path), 0, "%s", path);
	}
	must_put("/v1/agent/check/register",
		 "{\"Name\":\"c\",\"ServiceID\":\"w1\",\"TTL\":\"1h\"}");
	cr_expect_eq(count_of("/v1/health/checks/web?node-meta=zone:z1"), 1);
	cr_expect_eq(count_of("/v1/health/checks/web?node-meta=zone:z2"), 0);
	cr_assert_eq(get("/v1/catalog/services?node-meta=zone:z2"), 200);
	cr_expect_str_eq(one.body, "{}");
}

Test(params, near_is_judged_and_keeps_what_is_near)
{
	static const char *const paths[] = {WEB, "/v1/catalog/service/web", "/v1/catalog/nodes",
					    "/v1/health/checks/web", "/v1/health/state/any"};
	static const char *const good[] = {"_agent", "n1", "N1", "another", "a.b_c-d", ""};
	static const char *const bad[] = {"a%20b", "%0a", "a/b", "\xc3\xa4"};
	char path[256];

	web("w2", "[]");
	web("w1", "[]");
	for (unsigned p = 0; p < WM_ARRAY_LEN(paths); p++) {
		for (unsigned i = 0; i < WM_ARRAY_LEN(good); i++) {
			char *before;

			cr_assert_eq(get(paths[p]), 200);
			before = strdup(one.body);
			snprintf(path, sizeof(path), "%s?near=%s", paths[p], good[i]);
			cr_expect_eq(get(path), 200, "%s", path);
			cr_expect_str_eq(one.body, before, "%s", path);
			free(before);
		}
		for (unsigned i = 0; i < WM_ARRAY_LEN(bad); i++) {
			snprintf(path, sizeof(path), "%s?near=%s", paths[p], bad[i]);
			cr_expect_eq(get(path), 400, "%s", path);
			cr_expect(strstr(one.body, "Invalid value for ?near"), "%s", one.body);
		}
	}
}

/* Nodes as the catalog of several will have them. */
static struct wm_node node_of(const char *name, const char *z, const char *r, struct wm_pair *pairs)
{
	static char zone_key[] = "zone", region_key[] = "region";
	struct wm_node n = {.name = (char *)(uintptr_t)name,
			    .folded = (char *)(uintptr_t)name,
			    .meta = pairs,
			    .region = "",
			    .zone = ""};

	if (r)
		pairs[n.meta_count++] = (struct wm_pair){region_key, (char *)(uintptr_t)r};
	if (z)
		pairs[n.meta_count++] = (struct wm_pair){zone_key, (char *)(uintptr_t)z};
	return n;
}

Test(params, near_sorts_by_zone_and_region)
{
	struct wm_pair pairs[7][2];
	struct wm_node nodes[] = {
		node_of("own", "z1", "r1", pairs[0]),	 node_of("zone", "z1", "r1", pairs[1]),
		node_of("bare", "z1", NULL, pairs[2]),	 node_of("region", "z2", "r1", pairs[3]),
		node_of("far", "z1", "r2", pairs[4]),	 node_of("farther", "z9", "r2", pairs[5]),
		node_of("silent", NULL, NULL, pairs[6]),
	};
	static const enum wm_distance want[] = {
		WM_NEAR_SELF,	   WM_NEAR_ZONE,      WM_NEAR_ZONE,   WM_NEAR_REGION,
		WM_NEAR_ELSEWHERE, WM_NEAR_ELSEWHERE, WM_NEAR_UNKNOWN};
	static const char *const order[] = {"own", "bare",    "zone",  "region",
					    "far", "farther", "silent"};
	struct wm_instance all[2 * WM_ARRAY_LEN(nodes)];
	const struct wm_instance *sorted[WM_ARRAY_LEN(all)];
	static char ids[2][2] = {"b", "a"};

	memset(all, 0, sizeof(all));
	/* what a Locality says stands before the metadata */
	for (unsigned i = 1; i < WM_ARRAY_LEN(nodes); i += 3) {
		nodes[i].region = nodes[i].meta_count ? pairs[i][0].value : "";
		nodes[i].zone = nodes[i].meta_count ? pairs[i][1].value : "";
		pairs[i][0].value = pairs[i][1].value = (char[]){"elsewhere"};
	}
	for (unsigned i = 0; i < WM_ARRAY_LEN(nodes); i++)
		cr_expect_eq(wm_near_distance(&nodes[0], &nodes[i]), want[i], "%s", nodes[i].name);
	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		all[i].node = &nodes[(i * 5 + 3) % WM_ARRAY_LEN(nodes)];
		all[i].id = ids[i / WM_ARRAY_LEN(nodes)];
		sorted[i] = &all[i];
	}
	wm_near_sort(NULL, NULL, sorted, WM_ARRAY_LEN(all));
	cr_assert_eq(sorted[0], &all[0], "without near nothing moves");
	wm_sort_instances(sorted, WM_ARRAY_LEN(all)); /* what is as far keeps its order */
	cr_assert(wm_near_sort(NULL, &nodes[0], sorted, WM_ARRAY_LEN(all)));
	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		cr_expect_str_eq(sorted[i]->node->name, order[i / 2]);
		cr_expect_str_eq(sorted[i]->id, i % 2 ? "b" : "a");
	}
}

static void nothing_sent(void *arg, const struct wm_peer_addr *to, const void *p, size_t len)
{
	(void)arg;
	(void)to;
	(void)p;
	(void)len;
}

static void no_event(void *arg, struct wm_member *m, enum wm_member_event e)
{
	(void)arg;
	(void)m;
	(void)e;
}

/* Of @p m, with an id of its number. */
static struct wm_members *members_of(uint8_t number, const char *name)
{
	struct wm_members_config c = {.env = wm_loop_env(loop),
				      .timers = *wm_member_profile(WM_MEMBER_LAN),
				      .name = name,
				      .version = "1",
				      .send = nothing_sent,
				      .event = no_event,
				      .incarnation = 1};
	struct wm_members *ms;

	c.id.octets[0] = 1;
	c.id.octets[15] = number;
	cr_assert_eq(wm_peer_addr_parse("10.0.0.1:1", &c.at), 0);
	c.at.port = (uint16_t)(1000 + number);
	ms = wm_members_new(&c);
	cr_assert(ms);
	return ms;
}

#define MEMBERS 40

/* Round trips tell, not zones; who has no coordinate comes behind, as if there were none. */
Test(params, near_sorts_by_coordinates_where_they_are_known)
{
	struct wm_members *ms = members_of(0, "m0"), *other;
	static char ids[MEMBERS][WM_PEER_ID_TEXT], names[MEMBERS][8];
	struct wm_pair pairs[MEMBERS][2];
	struct wm_node nodes[MEMBERS];
	struct wm_instance all[2 * MEMBERS];
	const struct wm_instance *sorted[2 * MEMBERS];
	double was = 0;

	memset(all, 0, sizeof(all));
	for (uint8_t n = 0; n < MEMBERS; n++) {
		struct wm_peer_id id = {.octets = {1, [15] = n}};
		struct wm_member *m;
		struct wm_err e = {0};
		struct wm_buf b;

		snprintf(names[n], sizeof(names[n]), "m%d", n);
		if (n) {
			wm_buf_init(&b, 1 << 16);
			other = members_of(n, names[n]);
			cr_assert_eq(wm_members_state(other, &b), 0);
			cr_assert_eq(wm_members_merge(ms, b.data, b.len, &e), 0, "%s", e.text);
			wm_members_free(other);
			wm_buf_done(&b);
		}
		wm_peer_id_format(&id, ids[n]);
		nodes[n] = node_of(names[n], n % 3 ? "z1" : NULL, NULL, pairs[n]);
		nodes[n].id = ids[n];
		m = wm_members_by_id(ms, &id);
		cr_assert(m);
		m->has_coordinate = n % 4 != 3; /* 3 is a multiple of three, 7 is not: both kinds */
		m->coordinate.vec[0] = n * 7 % MEMBERS * 1e-3 + (n ? 1e-3 : 0);
		for (unsigned k = 0; k < 2; k++)
			all[2 * n + k] =
				(struct wm_instance){.node = &nodes[n], .id = k ? ids[1] : ids[0]};
	}
	for (unsigned i = 0; i < 2 * MEMBERS; i++)
		sorted[i] = &all[i * 27 % (2 * MEMBERS)];
	wm_sort_instances(sorted, 2 * MEMBERS);
	cr_assert(wm_near_sort(ms, &nodes[1], sorted, 2 * MEMBERS));
	cr_assert_eq(sorted[0]->node, &nodes[1]);
	for (unsigned i = 2; i < 60; i++) {
		const struct wm_node *n = sorted[i]->node;
		const struct wm_member *from = wm_members_by_name(ms, "m1");
		const struct wm_member *to = wm_members_by_name(ms, n->name);
		double is = wm_coordinate_distance(&from->coordinate, &to->coordinate);

		cr_expect(to->has_coordinate, "%s at %u", n->name, i);
		cr_expect_geq(is + 1e-6, was, "%s at %u", n->name, i); /* keys are microseconds */
		was = is;
	}
	for (unsigned i = 60; i < 2 * MEMBERS; i++) { /* none said a zone that is not ours */
		const struct wm_node *n = sorted[i]->node;
		const struct wm_node *before = sorted[i - 1]->node;

		cr_expect_not(wm_members_by_name(ms, n->name)->has_coordinate, "%s", n->name);
		if (i > 60)
			cr_expect_leq(wm_near_distance(&nodes[1], before),
				      wm_near_distance(&nodes[1], n));
		if (i > 60 && before != n && before->meta_count == n->meta_count)
			cr_expect_lt(strcmp(before->name, n->name), 0, "%s %s", before->name,
				     n->name);
	}
	/* from where no coordinate is known, all are sorted by zone */
	cr_assert(wm_near_sort(ms, &nodes[7], sorted, 2 * MEMBERS));
	cr_assert_eq(sorted[0]->node, &nodes[7]);
	for (unsigned i = 1; i < 2 * MEMBERS; i++)
		cr_expect_leq(wm_near_distance(&nodes[7], sorted[i - 1]->node),
			      wm_near_distance(&nodes[7], sorted[i]->node));
	wm_members_free(ms);
}

Test(params, paths_are_decoded_and_other_methods_told_what_there_is)
{
	must_put(REGISTER, "{\"ID\":\"a:b/c d\",\"Name\":\"web\",\"Check\":{\"TTL\":\"1h\"}}");
	cr_expect_eq(get("/v1/agent/service/a:b%2Fc%20d"), 200);
	cr_expect_eq(put("/v1/agent/check/pass/service%3Aa%3Ab%2Fc%20d", NULL), 200);
	cr_expect_eq(put("/v1/agent/service/deregister/a%3Ab%2fc%20d", NULL), 200);
	cr_expect_eq(ask_with("OPTIONS", WEB, ""), 200);
	cr_expect_str_eq(header(&one, "Allow"), "OPTIONS,GET");
	cr_expect_eq(ask_with("DELETE", REGISTER, ""), 405);
	cr_expect_str_eq(header(&one, "Allow"), "OPTIONS,PUT");
	cr_expect_eq(put("/v1/kv/config?cas=0", "x"), 405);
	cr_expect_str_eq(header(&one, "Allow"), "OPTIONS,GET");
}

Test(params, other_datacenters_and_tenants)
{
	cr_expect_eq(get(WEB "?dc=quay"), 200);
	cr_expect_eq(get(WEB "?dc=QUAY"), 200);
	cr_expect_eq(get(WEB "?dc="), 200);
	cr_expect_eq(get(WEB "?dc=other"), 500);
	cr_expect_str_eq(one.body, "No path to datacenter");
	answered("ns=&partition=");
	answered("ns=default&partition=default");
	refused("ns=a.b", "Invalid query parameter: \"ns\" - \"a.b\" is no DNS label");
	refused("partition=p", "Invalid query parameter: \"partition\" - Partitions are a Consul");
	cr_expect_eq(ask_with("GET", WEB, "X-Consul-Namespace: a.b\r\n"), 400);
	cr_expect_eq(ask_with("GET", WEB, "X-Consul-Partition: p\r\n"), 400);
}

Test(params, keys_in_any_case_and_in_snake_case)
{
	must_put(REGISTER "?replace-existing-checks",
		 "{\"name\":\"web\",\"ID\":\"w1\",\"ENABLETAGOVERRIDE\":true,\"tagged_addresses\":"
		 "{\"wan\":{\"address\":\"1.2.3.4\",\"PORT\":5}},\"Check\":null,\"checks\":[{"
		 "\"check_id\":\"c\",\"http\":\"http://127.0.0.1:1/\",\"interval\":10000000000,"
		 "\"tls_skip_verify\":true,\"deregister_critical_service_after\":\"90m\","
		 "\"failures_before_critical\":3,\"success_before_passing\":2}]}");
	cr_assert_eq(wm_registry_check(registry, "c")->interval_ms, 10000);
	cr_assert_eq(wm_registry_check(registry, "c")->deregister_after_ms, 5400000);
	cr_assert_eq(wm_registry_check(registry, "c")->failures_before_critical, 3);
	cr_assert(wm_registry_instance(registry, "w1")->enable_tag_override);
	must_put(REGISTER,
		 "{\"Name\":\"web\",\"ID\":\"w2\",\"enable_tag_override\":true,\"Checks\":"
		 "null}");
	cr_assert(wm_registry_instance(registry, "w2")->enable_tag_override);
	cr_assert_eq(put(REGISTER, "{\"Name\":\"web\",\"Colour\":1}"), 400);
	cr_assert_str_eq(one.body, "Request decode failed: json: unknown field \"Colour\"");
}

/* What a text repeats of a request moves no cursor and ends no line. */
Test(params, texts_are_plain)
{
	static const struct {
		int status;
		const char *path, *body;
	} all[] = {
		{404, "/v1/agent/service/%1b%5b2J", NULL},
		{404, "/v1/agent/health/service/name/%1b%5b2J", NULL},
		{500, "/v1/health/service/web?filter=Service.Port==%60%1b%5b2J%60", NULL},
		{404, "/v1/waymark/resolve/%1b%5b2J", NULL},
		{404, "/v1/agent/service/deregister/%1b%5b2J", ""},
		{404, "/v1/agent/check/pass/%1b%5b2J", ""},
		{400, "/v1/agent/service/register", "{\"\\u001b[2J\": 1}"},
		{400, "/v1/agent/service/register",
		 "{\"Name\": \"x\", \"Meta\": {\"\\u001b[2J\": \"v\"}}"},
		{400, "/v1/agent/service/register",
		 "{\"Name\": \"x\", \"Address\": \"\\u001b[2J\"}"},
		{400, "/v1/agent/check/register",
		 "{\"Name\": \"x\", \"HTTP\": \"\\u001b[2J\", \"Interval\": \"1s\"}"},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		int status = all[i].body ? put(all[i].path, all[i].body) : get(all[i].path);

		cr_expect_eq(status, all[i].status, "%s: %d", all[i].path, status);
		for (const char *s = one.body; *s; s++)
			cr_expect(*s >= 0x20 && *s < 0x7f, "%s: %s", all[i].path, one.body);
	}
	cr_expect_eq(get("/v1/agent/service/%1b%5b2J%e2%80%ae%0a"), 404);
	cr_expect(strstr(one.body, "\\x1b[2J\\u202e\\n"), "%s", one.body);
}
