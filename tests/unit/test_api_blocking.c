/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Blocking queries: who wakes when, and what bounds them. */
#include "api_help.h"
#include "userspace/api/internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"

#include <stdlib.h>

static void setup(void)
{
	api_setup();
	watchers_max = 20;
	api_start();
}

static void teardown(void)
{
	one_close();
	api_stop();
}

TestSuite(blocking, .init = setup, .fini = teardown, .timeout = 300);

static unsigned long current(const char *path)
{
	cr_assert_eq(get(path), 200);
	return index_of(&one);
}

/* Ask for what comes after @p index; nothing comes yet. */
static void watch(struct client *c, const char *path, const char *more, unsigned long index)
{
	char full[256];

	snprintf(full, sizeof(full), "%s?index=%lu%s", path, index, more);
	client_open(c);
	client_send(c, "GET", full, NULL);
	turns(5);
	cr_assert(!client_has(c) && !c->len, "%s: %s", full, c->text);
}

static void web(const char *id, unsigned p)
{
	char body[256];

	snprintf(body, sizeof(body),
		 "{\"ID\":\"%s\",\"Name\":\"web\",\"Port\":%u,\"Check\":{\"CheckID\":\"c-%s\","
		 "\"TTL\":\"1h\",\"Status\":\"passing\"}}",
		 id, p, id);
	must_put(REGISTER, body);
}

#define WEB "/v1/health/service/web"

Test(blocking, a_change_wakes_its_watchers_and_nobody_else)
{
	struct client mine, other;
	unsigned long index;

	web("w1", 1);
	must_put(REGISTER, "{\"Name\":\"db\"}");
	index = current(WEB);
	watch(&mine, WEB, "", index);
	watch(&other, "/v1/health/service/db", "", current("/v1/health/service/db"));
	web("w2", 2);
	UNTIL(client_has(&mine));
	cr_assert_eq(mine.status, 200);
	cr_assert_gt(index_of(&mine), index);
	cr_assert(strstr(mine.body, "\"w2\""));
	turns(10);
	cr_assert(!client_has(&other) && !other.len);
	/* what was returned is the index to go on with: nothing is new after it */
	index = index_of(&mine);
	client_close(&mine);
	watch(&mine, WEB, "", index);
	client_close(&mine);
	client_close(&other);
}

Test(blocking, checks_move_a_service_but_not_the_catalog)
{
	struct client service, catalog, state;

	web("w1", 1);
	watch(&service, WEB, "&passing", current(WEB));
	watch(&catalog, "/v1/catalog/services", "", current("/v1/catalog/services"));
	watch(&state, "/v1/health/state/any", "", current("/v1/health/state/any"));
	must_put("/v1/agent/check/fail/c-w1", NULL);
	UNTIL(client_has(&service));
	cr_assert_str_eq(service.body, "[]");
	UNTIL(client_has(&state));
	cr_assert(strstr(state.body, "\"critical\""));
	turns(10);
	cr_assert(!client_has(&catalog) && !catalog.len);
	web("w2", 2);
	UNTIL(client_has(&catalog));
	client_close(&service);
	client_close(&catalog);
	client_close(&state);
}

static void other_node(const char *node, const char *id, const char *status)
{
	char body[512];

	snprintf(body, sizeof(body),
		 "{\"Node\":\"%s\",\"Address\":\"10.0.0.9\",\"Service\":{\"ID\":\"%s\",\"Service\":"
		 "\"far\"},\"Check\":{\"Name\":\"up-%s\",\"ServiceID\":\"%s\",\"Status\":\"%s\"}}",
		 node, id, id, id, status);
	cr_assert_eq(put("/v1/catalog/register", body), 200, "%s", one.body);
}

Test(blocking, a_node_wakes_for_itself_alone)
{
	static const char *const paths[] = {"/v1/health/node/%s", "/v1/catalog/node/%s",
					    "/v1/catalog/node-services/%s"};
	struct client ours, theirs, none;

	for (size_t i = 0; i < WM_ARRAY_LEN(paths); i++) {
		char own[64], far[64], unknown[64], id[16];

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
		snprintf(own, sizeof(own), paths[i], "N1");
		snprintf(far, sizeof(far), paths[i], "far");
		snprintf(unknown, sizeof(unknown), paths[i], i == 0 ? "x0" : i == 1 ? "x1" : "x2");
#pragma GCC diagnostic pop
		snprintf(id, sizeof(id), "f%zu", i);
		other_node("far", id, "passing");
		web("w1", 1);
		watch(&ours, own, "", current(own));
		watch(&theirs, far, "", current(far));
		watch(&none, unknown, "", current(unknown));
		other_node("far", id, "critical");
		UNTIL(client_has(&theirs));
		turns(10);
		cr_assert(!client_has(&ours) && !ours.len, "%s", own);
		cr_assert(!client_has(&none) && !none.len, "%s", unknown);
		client_close(&theirs);
		watch(&theirs, far, "", current(far));
		must_put(i % 2 ? "/v1/agent/check/pass/c-w1" : "/v1/agent/check/fail/c-w1", NULL);
		UNTIL(client_has(&ours));
		turns(10);
		cr_assert(!client_has(&theirs) && !theirs.len, "%s", far);
		/* it comes, and it goes */
		other_node(strrchr(unknown, '/') + 1, "n", "passing");
		UNTIL(client_has(&none));
		cr_assert_eq(put("/v1/catalog/deregister", "{\"Node\":\"far\"}"), 200);
		UNTIL(client_has(&theirs));
		cr_assert_eq(theirs.status, 200);
		client_close(&ours);
		client_close(&theirs);
		client_close(&none);
	}
}

Test(blocking, the_native_list_wakes_for_the_health_that_it_shows)
{
	struct client c;

	web("w1", 1);
	watch(&c, "/v1/waymark/instances", "", current("/v1/waymark/instances"));
	must_put("/v1/agent/check/fail/c-w1", NULL);
	UNTIL(client_has(&c));
	cr_assert(strstr(c.body, "\"critical\""), "%s", c.body);
	client_close(&c);
}

/* Each of them may be the one that somebody waits for the end of, but one look is enough. */
Test(blocking, services_that_vanish_together_make_one_round)
{
	struct client c[3];
	const struct wm_watch_key *k;
	uint64_t rounds[3];
	char text[64];
	unsigned n = 0;

	for (unsigned i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "{\"Name\":\"s%u\"}", i);
		must_put(REGISTER, text);
	}
	for (unsigned i = 0; i < 3; i++) {
		snprintf(text, sizeof(text), "/v1/health/service/none%u", i);
		watch(&c[i], text, "", current(text));
	}
	TAILQ_FOREACH (k, &api->absent, absent_entry)
		rounds[n++] = k->round;
	cr_assert_eq(n, 3);
	for (unsigned i = 0; i < 40; i++) {
		snprintf(text, sizeof(text), "s%u", i);
		cr_assert_eq(wm_registry_deregister(registry, text, NULL, NULL, NULL), 0);
	}
	wm_registry_flush(registry);
	cr_assert(api->extinct);
	n = 0;
	TAILQ_FOREACH (k, &api->absent, absent_entry)
		cr_assert_eq(k->round, rounds[n++], "nobody was told yet");
	for (unsigned i = 0; i < 3; i++) {
		UNTIL(client_has(&c[i]));
		cr_assert_str_eq(c[i].body, "[]");
		client_close(&c[i]);
	}
	cr_assert_eq(wm_api_counters(api)[WM_API_WATCH_WOKEN], 3);
}

Test(blocking, an_unknown_service_wakes_on_its_creation)
{
	struct client c;

	must_put(REGISTER, "{\"Name\":\"db\"}");
	watch(&c, "/v1/health/service/WEB", "", current(WEB));
	must_put(REGISTER, "{\"Name\":\"db2\"}");
	turns(10);
	cr_assert(!client_has(&c));
	web("w1", 1);
	UNTIL(client_has(&c));
	cr_assert(strstr(c.body, "\"w1\""));
	client_close(&c);
}

Test(blocking, an_unknown_service_wakes_when_any_vanishes_and_its_own_end_is_seen)
{
	struct client unknown, own;
	unsigned long index;

	web("w1", 1);
	index = current(WEB);
	watch(&own, WEB, "", index);
	watch(&unknown, "/v1/health/service/none", "", current("/v1/health/service/none"));
	must_put("/v1/agent/service/deregister/w1", NULL);
	UNTIL(client_has(&own));
	cr_assert_str_eq(own.body, "[]");
	cr_assert_gt(index_of(&own), index);
	UNTIL(client_has(&unknown));
	cr_assert_str_eq(unknown.body, "[]");
	/* and the vanished one can be waited for */
	index = index_of(&own);
	client_close(&own);
	watch(&own, WEB, "", index);
	web("w1", 1);
	UNTIL(client_has(&own));
	cr_assert_gt(index_of(&own), index);
	client_close(&own);
	client_close(&unknown);
}

Test(blocking, the_wait_ends_with_what_there_is)
{
	struct client c;
	unsigned long index;
	uint64_t start = wm_clock_ms();

	web("w1", 1);
	index = current(WEB);
	watch(&c, WEB, "&wait=320ms", index);
	UNTIL(client_has(&c));
	cr_assert_geq(wm_clock_ms() - start, 320);
	cr_assert_eq(c.status, 200);
	cr_assert_eq(index_of(&c), index);
	cr_assert(strstr(c.body, "\"w1\""));
	client_close(&c);
	/* an index ahead of ours blocks, then shows the lower one */
	watch(&c, WEB, "&wait=100ms", index + 1000);
	UNTIL(client_has(&c));
	cr_assert_eq(index_of(&c), index);
	client_close(&c);
}

Test(blocking, without_an_index_nothing_waits)
{
	cr_assert_eq(get(WEB "?wait=10m"), 200);
	cr_assert_eq(get(WEB "?index=0&wait=10m"), 200);
	cr_assert_eq(get(WEB "?index=&wait=10m"), 200);
	web("w1", 1);
	cr_assert_eq(get(WEB "?index=1&wait=10m"), 200);
}

Test(blocking, watchers_are_bounded_and_leave_without_trace)
{
	enum { MAX = 20 };
	struct client c[MAX];
	unsigned long index;
	char path[128];

	web("w1", 1);
	index = current(WEB);
	for (unsigned i = 0; i < MAX; i++)
		watch(&c[i], WEB, "", index);
	snprintf(path, sizeof(path), "%s?index=%lu", WEB, index);
	cr_assert_eq(get(path), 429);
	cr_assert_str_eq(one.body, "Too many blocking queries (limit: 20)");
	/* reads that do not wait are served all the same */
	cr_assert_eq(get(WEB), 200);
	for (unsigned i = 0; i < MAX / 2; i++)
		client_close(&c[i]);
	UNTIL(wm_api_counters(api)[WM_API_WATCH_LEFT] == MAX / 2);
	watch(&c[0], WEB, "", index);
	web("w2", 2);
	for (unsigned i = MAX / 2; i < MAX; i++) {
		UNTIL(client_has(&c[i]));
		client_close(&c[i]);
	}
	UNTIL(client_has(&c[0]));
	client_close(&c[0]);
	cr_assert_eq(get("/v1/waymark/status"), 200);
	cr_assert(strstr(one.body, "\"watchers\":0,"), "%s", one.body);
}

/* A connection that breaks says so otherwise than one that ends. */
Test(blocking, a_reset_ends_a_watch)
{
	struct linger now = {.l_onoff = 1};
	struct client c;

	web("w1", 1);
	watch(&c, WEB, "&wait=600s", current(WEB));
	cr_assert_eq(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	client_close(&c);
	UNTIL(wm_api_counters(api)[WM_API_WATCH_LEFT] == 1);
	UNTIL(wm_http_connections(server) <= 1);
	/* what is pipelined behind a query that waits does not end it, nor hide the end */
	watch(&c, WEB, "&wait=600s", current(WEB));
	cr_assert_gt(send(c.fd, "GET / HTTP/1.1\r\n", 16, 0), 0);
	turns(5);
	cr_assert_eq(wm_api_counters(api)[WM_API_WATCH_LEFT], 1);
	cr_assert_eq(setsockopt(c.fd, SOL_SOCKET, SO_LINGER, &now, sizeof(now)), 0);
	client_close(&c);
	UNTIL(wm_api_counters(api)[WM_API_WATCH_LEFT] == 2);
}

static void setup_many(void)
{
	api_setup();
	api_start();
}

TestSuite(blocking_many, .init = setup_many, .fini = teardown, .timeout = 300);

/* More than are woken in one turn. */
Test(blocking_many, all_wake)
{
	enum { MANY = 700 };
	static struct client c[MANY];
	unsigned long index;
	char path[128];

	web("w1", 1);
	index = current(WEB);
	for (unsigned i = 0; i < MANY; i++) {
		snprintf(path, sizeof(path), WEB "?index=%lu", index);
		client_open(&c[i]);
		client_send(&c[i], "GET", path, NULL);
		if (i % 50 == 0)
			turns(1);
	}
	cr_assert_eq(get("/v1/waymark/status"), 200);
	while (!strstr(one.body, "\"watchers\":700,"))
		cr_assert_eq(get("/v1/waymark/status"), 200);
	web("w2", 2);
	for (unsigned i = 0; i < MANY; i++) {
		UNTIL(client_has(&c[i]));
		cr_assert_gt(index_of(&c[i]), index);
		client_close(&c[i]);
	}
}

Test(blocking, a_stop_lets_waiting_clients_go)
{
	struct client c;

	web("w1", 1);
	watch(&c, WEB, "", current(WEB));
	client_send(&one, "PUT", REGISTER, "{\"Name\":\"late\"}");
	/* teardown stops the server under both: nothing may leak, nothing may be touched after */
	free(c.text);
}

Test(blocking, hash_of_a_service)
{
	struct client c;
	char hash[128], more[160];

	web("w1", 1);
	cr_assert_eq(get("/v1/agent/service/w1"), 200);
	snprintf(hash, sizeof(hash), "%s", header(&one, "X-Consul-ContentHash"));
	cr_assert_eq(get("/v1/agent/service/w1?hash=other&wait=10m"), 200);
	snprintf(more, sizeof(more), "&wait=10m&hash=%s", hash);
	watch(&c, "/v1/agent/service/w1", more, 0);
	must_put("/v1/agent/check/warn/c-w1", NULL); /* is not part of it */
	turns(10);
	cr_assert(!client_has(&c) && !c.len);
	web("w1", 2);
	UNTIL(client_has(&c));
	cr_assert_str_neq(header(&c, "X-Consul-ContentHash"), hash);
	client_close(&c);
	snprintf(hash, sizeof(hash), "%s", header(&one, "X-Consul-ContentHash"));
	cr_assert_eq(get("/v1/agent/service/w1"), 200);
	snprintf(more, sizeof(more), "&wait=10m&hash=%s", header(&one, "X-Consul-ContentHash"));
	watch(&c, "/v1/agent/service/w1", more, 0);
	must_put("/v1/agent/service/deregister/w1", NULL);
	UNTIL(client_has(&c));
	cr_assert_eq(c.status, 404);
	client_close(&c);
}

Test(blocking, nothing_is_missed_under_random_changes)
{
	struct client c;
	unsigned long index = current(WEB), last;
	unsigned seed = (unsigned)wm_random64(), woken = 0;
	char id[16], path[64];

	fprintf(stderr, "seed=%u\n", seed);
	/* a follower that always asks for what comes next ends at what is there */
	client_open(&c);
	snprintf(path, sizeof(path), WEB "?index=%lu", index);
	client_send(&c, "GET", path, NULL);
	for (unsigned n = 0; n < 300; n++) {
		unsigned r = (unsigned)rand_r(&seed);

		snprintf(id, sizeof(id), "w%u", r % 4);
		if (r & 64) {
			web(id, r % 1000);
		} else {
			snprintf(path, sizeof(path), "/v1/agent/service/deregister/%s", id);
			put(path, NULL);
		}
		if (client_has(&c)) {
			cr_assert_gt(index_of(&c), index);
			index = index_of(&c);
			snprintf(path, sizeof(path), WEB "?index=%lu", index);
			client_send(&c, "GET", path, NULL);
			woken++;
		}
	}
	last = current(WEB);
	while (index < last) {
		UNTIL(client_has(&c));
		cr_assert_gt(index_of(&c), index);
		index = index_of(&c);
		snprintf(path, sizeof(path), WEB "?index=%lu", index);
		client_send(&c, "GET", path, NULL);
	}
	cr_assert_eq(index, last);
	cr_assert_gt(woken, 10);
	client_close(&c);
}
