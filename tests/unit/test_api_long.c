/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Requests whose filter takes more than a turn: others are answered meanwhile, and the answer is
 * the one that a single turn would have given. */
#include "api_help.h"
#include "userspace/api/internal.h"
#include "userspace/registry/internal.h"

#define ROWS 500
/* so short that what is large here takes several, on a quick machine too */
#define SLICE_NS 200000
#define WEB	 "/v1/health/service/web"
/* some hundred steps for each of the 300 octets' prefixes; fits one instance by its id */
#define SLOW "Service.Meta.m+matches+`^(?:a|a){7}b`+or+Service.ID+==+`w5`+or+Service.ID+==+`late`"

static void setup(void)
{
	static char body[1024], value[301];

	api_setup();
	slice_ns = SLICE_NS;
	api_start();
	memset(value, 'a', 300);
	for (unsigned n = 0; n < ROWS; n++) {
		struct wm_pair meta = {(char[]){"m"}, value};
		struct wm_instance_draft d = {
			.id = body, .name = "web", .port = 80, .meta = &meta, .meta_count = 1};

		snprintf(body, sizeof(body), "w%u", n);
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	}
	wm_registry_flush(registry);
}

static void teardown(void)
{
	one_close();
	api_stop();
}

TestSuite(long_requests, .init = setup, .fini = teardown, .timeout = 300);

static void begin(struct client *c, const char *path)
{
	client_open(c);
	client_send(c, "GET", path, NULL);
}

static uint64_t put_off(void)
{
	return wm_loop_stats(loop)->put_off;
}

Test(long_requests, others_are_answered_meanwhile)
{
	struct client slow, quick;
	unsigned waited = 0;

	begin(&slow, WEB "?filter=" SLOW);
	turns(1);
	while (!put_off() && !client_has(&slow))
		turns(1);
	begin(&quick, "/v1/status/leader");
	while (!client_has(&quick)) {
		cr_assert(!client_has(&slow), "the slow one held up the other");
		turns(1);
		waited++;
	}
	cr_assert_lt(waited, 20);
	UNTIL(client_has(&slow));
	cr_assert_eq(slow.status, 200, "%s", slow.body);
	cr_assert(strstr(slow.body, "\"ID\":\"w5\""));
	cr_assert(!strstr(slow.body, "\"ID\":\"w6\""));
	cr_assert_gt(put_off(), 1);
	client_close(&slow);
	client_close(&quick);
}

/* What changes while it goes on is in the answer, under the index of the answer. */
Test(long_requests, the_answer_is_of_the_state_when_it_is_made)
{
	struct wm_instance_draft late = {.id = "late", .name = "web", .port = 80};
	struct client slow;

	begin(&slow, WEB "?filter=" SLOW);
	while (!put_off())
		turns(1);
	cr_assert(!client_has(&slow));
	cr_assert_eq(wm_registry_register(registry, &late, NULL, NULL, NULL), 0);
	cr_assert_eq(wm_registry_deregister(registry, "w5", NULL, NULL, NULL), 0);
	UNTIL(client_has(&slow));
	cr_assert_eq(slow.status, 200, "%s", slow.body);
	cr_assert(strstr(slow.body, "\"ID\":\"late\""), "%s", slow.body);
	cr_assert(!strstr(slow.body, "\"ID\":\"w5\""));
	cr_assert_eq(index_of(&slow), wm_registry_service(registry, "web")->index);
	client_close(&slow);
}

Test(long_requests, a_blocking_query_goes_on_too)
{
	struct client slow;
	char path[512];

	snprintf(path, sizeof(path), WEB "?index=%lu&filter=" SLOW,
		 (unsigned long)wm_registry_service(registry, "web")->index);
	begin(&slow, path);
	turns(5);
	cr_assert(!client_has(&slow) && !put_off());
	must_put("/v1/agent/service/register", "{\"ID\":\"late\",\"Name\":\"web\"}");
	UNTIL(client_has(&slow));
	cr_assert_eq(slow.status, 200, "%s", slow.body);
	cr_assert(strstr(slow.body, "\"ID\":\"late\"") && strstr(slow.body, "\"ID\":\"w5\""));
	cr_assert_gt(put_off(), 1);
	client_close(&slow);
}

/* Clients that go away take their request along, also a watch; and the server's end does. */
Test(long_requests, who_leaves_is_forgotten)
{
	struct client slow[3];
	char path[512];

	begin(&slow[0], WEB "?filter=" SLOW);
	while (!put_off())
		turns(1);
	client_close(&slow[0]);
	snprintf(path, sizeof(path), WEB "?index=%lu&filter=" SLOW,
		 (unsigned long)wm_registry_service(registry, "web")->index);
	begin(&slow[1], path);
	turns(5);
	must_put("/v1/agent/service/register", "{\"ID\":\"late\",\"Name\":\"web\"}");
	client_close(&slow[1]);
	for (uint64_t before = put_off() + 1; before != put_off();) {
		before = put_off();
		turns(3);
	}
	begin(&slow[2], WEB "?filter=" SLOW);
	for (uint64_t before = put_off(); before == put_off();)
		turns(1);
	client_close(&slow[2]); /* the server is freed before it notices */
}

Test(long_requests, too_much_is_refused_and_says_so)
{
	cr_assert_eq(get(WEB "?filter=Service.Meta.m+matches+`^(?:a|a){13}b`"), 503);
	cr_assert(strstr(one.body, "filter: it takes more than 100 ms of the agent's time (of 500 "
				   "instances)"),
		  "%s", one.body);
	cr_assert_eq(wm_api_counters(api)[WM_API_FILTER_SPENT], 1);
}

/* So many at a time, one after the other, and no more. */
Test(long_requests, are_bounded_in_number)
{
	enum { CLIENTS = 70 };
	struct client slow[CLIENTS];
	unsigned refused = 0, answered = 0;

	for (unsigned n = 0; n < CLIENTS; n++)
		begin(&slow[n], WEB "?filter=" SLOW);
	for (unsigned n = 0; n < CLIENTS; n++) {
		UNTIL(client_has(&slow[n]));
		answered += slow[n].status == 200;
		if (slow[n].status == 503)
			refused += strstr(slow[n].body, "Too many requests take long") != NULL;
		client_close(&slow[n]);
	}
	cr_assert_eq(answered + refused, CLIENTS);
	cr_assert_geq(answered, 64);
}

/* A list that is long to write: what is written stands, and is written anew from where it is no
 * more what it was. */
static void compare_lists(const char *path)
{
	struct client c;
	json_t *v;

	begin(&c, path);
	UNTIL(client_has(&c));
	cr_assert_eq(c.status, 200, "%s", c.body);
	v = json_loads(c.body, 0, NULL);
	cr_assert(v, "%s", c.body);
	cr_assert_eq(json_array_size(v), wm_registry_service(registry, "web")->instances_count);
	for (size_t n = 1; n < json_array_size(v); n++) {
		const char *a = json_string_value(json_object_get(
			json_object_get(json_array_get(v, n - 1), "Service"), "ID"));
		const char *b = json_string_value(
			json_object_get(json_object_get(json_array_get(v, n), "Service"), "ID"));

		cr_assert_lt(strcmp(a, b), 0, "%s before %s", a, b);
	}
	json_decref(v);
	client_close(&c);
}

static void put_more(const char *prefix, unsigned count)
{
	char id[32];

	for (unsigned n = 0; n < count; n++) {
		struct wm_instance_draft d = {.id = id, .name = "web", .port = 81};

		snprintf(id, sizeof(id), "%s%u", prefix, n);
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	}
	wm_registry_flush(registry);
}

Test(long_requests, a_long_list_is_written_in_slices)
{
	struct client c, first;
	json_t *v;

	registry->instances_max = 20000;
	put_more("x", 2500);
	begin(&c, WEB);
	while (!put_off())
		turns(1);
	/* the last row, one in the middle, and a first one: each takes away what stands behind it
	 */
	cr_assert_eq(wm_registry_deregister(registry, "x999", NULL, NULL, NULL), 0);
	turns(1);
	cr_assert_eq(wm_registry_deregister(registry, "w77", NULL, NULL, NULL), 0);
	turns(1);
	put_more("a", 1);
	UNTIL(client_has(&c));
	cr_assert_eq(c.status, 200);
	cr_assert_gt(put_off(), 2);
	cr_assert_eq(index_of(&c), wm_registry_service(registry, "web")->index);
	begin(&first, WEB "?passing");
	UNTIL(client_has(&first));
	cr_assert_str_eq(first.body, c.body, "in slices and in slices again");
	v = json_loads(c.body, 0, NULL);
	cr_assert_eq(json_array_size(v), wm_registry_service(registry, "web")->instances_count);
	json_decref(v);
	client_close(&c);
	client_close(&first);
	compare_lists(WEB "?pretty");
}

/* --- statistics --------------------------------------------------------------------------------
 */
#define STATISTICS "/v1/waymark/statistics"
#define MANY	   15000

static json_int_t number(const struct client *c, const char *member, const char *dimension,
			 const char *value)
{
	json_t *v = json_loads(c->body, 0, NULL), *at;
	json_int_t n;

	cr_assert(v, "%s", c->body);
	at = dimension ? json_object_get(json_object_get(json_object_get(json_object_get(v, "by"),
									 dimension),
							 "values"),
					 value)
		       : json_object_get(v, member);
	n = json_integer_value(at);
	json_decref(v);
	return n;
}

/* What comes and goes while it is counted may be counted or not; what stays is, once. */
Test(long_requests, statistics_are_counted_in_slices_for_all_who_ask)
{
	struct wm_instance_draft down = {.id = "down", .name = "none", .port = 80};
	struct client c[3];
	uint64_t before;

	registry->instances_max = 40000;
	put_more("x", MANY - ROWS);
	down.lifecycle = WM_LIFE_STARTING;
	cr_assert_eq(wm_registry_register(registry, &down, NULL, NULL, NULL), 0);
	wm_registry_flush(registry);
	before = put_off();
	begin(&c[0], STATISTICS);
	while (put_off() == before)
		turns(1);
	begin(&c[1], STATISTICS "?pretty");
	begin(&c[2], STATISTICS);
	turns(1);
	cr_assert(!client_has(&c[0]), "all in one turn");
	put_more("y", 100); /* the tables grow under it */
	for (unsigned n = 0; n < 3; n++) {
		UNTIL(client_has(&c[n]));
		cr_assert_eq(c[n].status, 200, "%s", c[n].body);
		cr_assert_geq(number(&c[n], NULL, "service", "web"), MANY);
		cr_assert_leq(number(&c[n], NULL, "service", "web"), MANY + 100);
		cr_assert_eq(number(&c[n], "services", NULL, NULL), 2);
		cr_assert_eq(number(&c[n], "services_healthy", NULL, NULL), 1);
	}
	cr_assert_str_eq(c[0].body, c[2].body, "one pass for both");
	for (unsigned n = 0; n < 3; n++)
		client_close(&c[n]);
}

/* A pass that nobody waited for to its end does not stand in an answer that is asked for later. */
Test(long_requests, statistics_that_were_left_are_counted_anew)
{
	struct client c;
	uint64_t before;

	registry->instances_max = 40000;
	put_more("x", MANY - ROWS);
	before = put_off();
	begin(&c, STATISTICS);
	while (put_off() == before)
		turns(1);
	client_close(&c);
	for (uint64_t end = wm_clock_ms() + 1200; wm_clock_ms() < end;)
		turns(1);
	for (unsigned n = 0; n < ROWS; n++) {
		char id[32];

		snprintf(id, sizeof(id), "w%u", n);
		cr_assert_eq(wm_registry_deregister(registry, id, NULL, NULL, NULL), 0);
	}
	begin(&c, STATISTICS);
	UNTIL(client_has(&c));
	cr_assert_eq(c.status, 200, "%s", c.body);
	cr_assert_eq(number(&c, NULL, "service", "web"), MANY - ROWS);
	client_close(&c);
}

/* --- other lists -------------------------------------------------------------------------------
 */
#define LISTED 3000

/* Instances of two checks each, each a service of its own where @p services. */
static void put_checked(unsigned count, bool services)
{
	char id[32], check[2][32];
	struct wm_check_draft checks[2] = {
		{.id = check[0], .kind = WM_CHECK_TTL, .ttl_ms = 3600000},
		{.id = check[1], .kind = WM_CHECK_TTL, .ttl_ms = 3600000}};
	struct wm_instance_draft d = {.id = id, .port = 81, .checks = checks, .checks_count = 2};

	registry->instances_max = registry->checks_max = registry->services_max = 40000;
	for (unsigned n = 0; n < count; n++) {
		snprintf(id, sizeof(id), "k%u", n);
		snprintf(check[0], sizeof(check[0]), "a%u", n);
		snprintf(check[1], sizeof(check[1]), "b%u", n);
		d.name = services ? id : "checked";
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	}
	wm_registry_flush(registry);
}

/* It takes more than a turn, and is whole.
 * @p within: the member that the list is; NULL: it is the answer. */
static void list_in_slices(const char *path, const char *within, size_t count)
{
	struct client slow, again;
	uint64_t before = put_off();
	json_t *v, *list;

	begin(&slow, path);
	UNTIL(client_has(&slow));
	cr_assert_gt(put_off(), before, "%s: all in one turn", path);
	cr_assert_eq(slow.status, 200, "%s: %s", path, slow.body);
	v = json_loads(slow.body, 0, NULL);
	cr_assert(v, "%s", path);
	list = within ? json_object_get(v, within) : v;
	cr_assert_eq(json_is_array(list) ? json_array_size(list) : json_object_size(list), count,
		     "%s", path);
	json_decref(v);
	begin(&again, path);
	UNTIL(client_has(&again));
	cr_assert_str_eq(again.body, slow.body, "%s", path);
	client_close(&slow);
	client_close(&again);
}

Test(long_requests, checks_are_listed_in_slices)
{
	put_checked(LISTED, false);
	list_in_slices("/v1/health/state/any", NULL, 2 * LISTED + 1); /* serfHealth */
	list_in_slices("/v1/health/state/critical", NULL, 2 * LISTED);
	list_in_slices("/v1/health/checks/checked", NULL, 2 * LISTED);
	list_in_slices("/v1/health/node/n1", NULL, 2 * LISTED + 1);
	list_in_slices("/v1/agent/checks", NULL, 2 * LISTED);
	list_in_slices("/v1/health/state/any?filter=ServiceName+==+checked", NULL, 2 * LISTED);
}

/* In Consul's order and once each, whatever comes and goes while they are written. */
Test(long_requests, checks_that_change_meanwhile_are_listed_as_they_are)
{
	struct client c;
	uint64_t before;
	json_t *v;

	put_checked(LISTED, false);
	before = put_off();
	begin(&c, "/v1/health/checks/checked");
	while (put_off() == before)
		turns(1);
	cr_assert(!client_has(&c));
	cr_assert_eq(wm_registry_deregister(registry, "k1", NULL, NULL, NULL), 0);
	must_put("/v1/agent/check/pass/a10?note=fine", NULL);
	UNTIL(client_has(&c));
	v = json_loads(c.body, 0, NULL);
	cr_assert_eq(json_array_size(v), 2 * (LISTED - 1));
	for (size_t n = 1; n < json_array_size(v); n++)
		cr_assert_lt(
			strcmp(json_string_value(
				       json_object_get(json_array_get(v, n - 1), "CheckID")),
			       json_string_value(json_object_get(json_array_get(v, n), "CheckID"))),
			0);
	cr_assert(strstr(c.body, "\"Output\":\"fine\""));
	cr_assert_eq(index_of(&c), wm_registry_service(registry, "checked")->index);
	json_decref(v);
	client_close(&c);
}

Test(long_requests, services_and_instances_are_listed_in_slices)
{
	put_checked(3 * LISTED, true);
	/* with web, and consul where the node has it */
	list_in_slices("/v1/catalog/services", NULL, wm_registry_services(registry));
	list_in_slices("/v1/catalog/services?filter=ServicePort+==+81", NULL, 3 * LISTED);
	list_in_slices("/v1/waymark/services", NULL, wm_registry_services(registry));
	list_in_slices("/v1/waymark/instances?limit=5000", "instances", 5000);
	list_in_slices("/v1/catalog/node/n1", "Services", wm_registry_instances(registry));
	list_in_slices("/v1/catalog/node-services/n1", "Services", wm_registry_instances(registry));
	list_in_slices("/v1/internal/ui/nodes", NULL, 1); /* within its element */
}

Test(long_requests, nodes_are_listed_in_slices)
{
	static char body[64 * 128];
	size_t len;

	registry->nodes_max = 10000;
	for (unsigned n = 0; n < 2 * LISTED;) {
		len = (size_t)snprintf(body, sizeof(body), "[");
		for (unsigned k = 0; k < 60 && n < 2 * LISTED; k++, n++)
			len += (size_t)snprintf(body + len, sizeof(body) - len,
						"%s{\"Node\":{\"Verb\":\"set\",\"Node\":{\"Node\":"
						"\"m%u\",\"Address\":\"10.9.0.1\"}}}",
						k ? "," : "", n);
		snprintf(body + len, sizeof(body) - len, "]");
		cr_assert_eq(put("/v1/txn", body), 200, "%s", one.body);
	}
	list_in_slices("/v1/catalog/nodes", NULL, 2 * LISTED + 1);
	list_in_slices("/v1/catalog/nodes?filter=Address+==+`10.9.0.1`", NULL, 2 * LISTED);
	list_in_slices("/v1/internal/ui/nodes", NULL, 2 * LISTED + 1);
	list_in_slices("/v1/internal/ui/nodes?filter=Address+==+`10.9.0.1`", NULL, 2 * LISTED);
}

/* By node, then by id in any case, also of ids that are the beginning of others or differ late. */
Test(long_requests, long_lists_are_sorted_as_short_ones)
{
	static const char *const prefixes[] = {"W", "w-long-common-beginning-", "w1", "X",
					       "x\xc3\xa9"};
	const struct wm_service *s;
	const struct wm_instance **all;

	registry->instances_max = 40000;
	for (unsigned n = 0; n < sizeof(prefixes) / sizeof(*prefixes); n++)
		put_more(prefixes[n], 150);
	cr_assert_eq(put("/v1/catalog/register",
			 "{\"Node\":\"m1\",\"Address\":\"10.9.0.1\",\"Service\":{\"ID\":\"w1\","
			 "\"Service\":\"web\"}}"),
		     200);
	s = wm_registry_service(registry, "web");
	all = wm_sorted_instances(s);
	cr_assert(all);
	for (unsigned n = 1; n < s->instances_count; n++)
		cr_assert_lt(wm_instance_order(all[n - 1], all[n]), 0, "%s before %s",
			     all[n - 1]->id, all[n]->id);
	free(all);
}

/* An element that is longer than a turn goes on within itself, also when what stands is another. */
Test(long_requests, a_service_is_longer_than_a_turn)
{
	struct wm_instance_draft late = {.id = "late", .name = "web", .port = 80};
	unsigned count;
	struct client c;
	json_t *v, *web;
	uint64_t before;

	registry->instances_max = 30000;
	put_more("x", 5000);
	must_put("/v1/agent/service/register", "{\"Name\":\"a\"}");
	must_put("/v1/agent/service/register", "{\"Name\":\"z\"}");
	for (unsigned pretty = 0; pretty < 2; pretty++) {
		before = put_off();
		begin(&c, pretty ? "/v1/waymark/services?pretty" : "/v1/waymark/services");
		while (put_off() < before + 3)
			turns(1);
		cr_assert_eq(wm_registry_register(registry, &late, NULL, NULL, NULL), 0);
		late.port++;
		UNTIL(client_has(&c));
		cr_assert_eq(c.status, 200, "%.200s", c.body);
		cr_assert_gt(put_off(), before + 3);
		v = json_loads(c.body, 0, NULL);
		cr_assert(v, "%.200s", c.body);
		cr_assert_eq(json_array_size(v), 3);
		web = json_array_get(v, 1);
		count = wm_registry_service(registry, "web")->instances_count;
		cr_assert_eq(json_array_size(json_object_get(web, "backends")), count);
		cr_assert_eq((uint64_t)json_integer_value(json_object_get(web, "index")),
			     wm_registry_service(registry, "web")->index);
		if (pretty)
			cr_assert(strstr(c.body, "\n        \"backends\": [\n            {\n"));
		json_decref(v);
		client_close(&c);
	}
	cr_assert_eq(get("/v1/waymark/resolve/web"), 200);
	v = json_loads(one.body, 0, NULL);
	cr_assert_eq(json_array_size(json_object_get(v, "backends")), count);
	json_decref(v);
}

Test(long_requests, health_of_a_name_says_its_worst_once)
{
	struct client c;
	json_t *v;

	registry->instances_max = 30000;
	put_more("x", 5000);
	must_put("/v1/agent/service/register",
		 "{\"ID\":\"w7\",\"Name\":\"web\",\"Check\":{\"TTL\":\"1h\"}}");
	begin(&c, "/v1/agent/health/service/name/web");
	UNTIL(client_has(&c));
	cr_assert_eq(c.status, 503);
	cr_assert_gt(put_off(), 1);
	cr_assert_str_eq(header(&c, "X-Consul-Reason"), "critical");
	v = json_loads(c.body, 0, NULL);
	cr_assert_eq(json_array_size(v), wm_registry_service(registry, "web")->instances_count);
	json_decref(v);
	client_close(&c);
}
