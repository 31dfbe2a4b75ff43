/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Server-sent events: what changes reaches who listens, once and in order; who comes back gets what
 * it missed, or is told that it missed too much; who does not read is cut off. */
#include "api_help.h"

#define WAIT_TURNS 2000

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

TestSuite(events, .init = setup, .fini = teardown, .timeout = 300);

static void listen_from(struct client *c, const char *path)
{
	client_open(c);
	client_send(c, "GET", path, NULL);
}

static void take(struct client *c)
{
	ssize_t n = recv(c->fd, c->text + c->len, ANSWER_MAX - 1 - c->len, MSG_DONTWAIT);

	if (n > 0)
		c->len += (size_t)n;
	c->text[c->len] = 0;
}

/* Turn the loop until the stream holds @p text. */
static void expect(struct client *c, const char *text)
{
	for (int i = 0; i < WAIT_TURNS; i++) {
		take(c);
		if (strstr(c->text, text))
			return;
		turns(1);
	}
	cr_assert(false, "no %s in:\n%s", text, c->text);
}

static unsigned times(const char *text, const char *what)
{
	unsigned n = 0;

	while ((text = strstr(text, what))) {
		text += strlen(what);
		n++;
	}
	return n;
}

/* The index of the last id in the stream. */
static unsigned long last_id(const struct client *c)
{
	const char *at = c->text, *id = NULL;

	while ((at = strstr(at, "id: ")))
		id = at += 4;
	cr_assert(id, "%s", c->text);
	return strtoul(id, NULL, 10);
}

Test(events, what_changes_reaches_who_listens)
{
	struct client all, web;

	listen_from(&all, "/v1/waymark/events");
	listen_from(&web, "/v1/waymark/events?service=WEB");
	expect(&all, "event: ready\n");
	expect(&web, "event: ready\n");
	cr_assert(strstr(all.text, "HTTP/1.1 200 OK") &&
		  strstr(all.text, "Content-Type: text/event-stream"));
	must_put(REGISTER,
		 "{\"ID\":\"w1\",\"Name\":\"web\",\"Port\":80,\"Check\":{\"CheckID\":\"c\","
		 "\"TTL\":\"1h\"}}");
	must_put(REGISTER, "{\"ID\":\"d1\",\"Name\":\"db\"}");
	must_put("/v1/agent/check/pass/c", NULL);
	must_put("/v1/agent/service/deregister/w1", NULL);
	expect(&all, "event: service-deleted");
	expect(&web, "event: service-deleted");
	cr_assert(strstr(all.text, "event: service-created\ndata: {\"index\":"));
	cr_assert(strstr(
		all.text,
		"\"service\":\"web\",\"node\":\"n1\",\"instance\":\"w1\",\"address\":\"10.8.0.2\","
		"\"port\":80,\"status\":\"critical\",\"state\":\"unknown\"}"));
	cr_assert(strstr(all.text, "event: status\n"));
	cr_assert(strstr(all.text, "\"check\":{\"id\":\"c\",\"status\":\"passing\"}}"));
	cr_assert(strstr(all.text, "event: instance-deleted\n"));
	cr_assert_eq(times(all.text, "\"service\":\"db\""), 2);
	cr_assert_eq(times(web.text, "\"service\":\"db\""), 0);
	cr_assert_eq(times(all.text, "event: instance\n"), 2);
	cr_assert_eq(times(web.text, "event: instance\n"), 1);
	client_close(&all);
	client_close(&web);
	turns(5);
}

Test(events, who_comes_back_gets_what_it_missed)
{
	struct client c;
	char path[64];
	unsigned long index;

	listen_from(&c, "/v1/waymark/events");
	expect(&c, "event: ready\n");
	must_put(REGISTER, "{\"ID\":\"w1\",\"Name\":\"web\"}");
	expect(&c, "\"instance\":\"w1\"");
	index = last_id(&c);
	client_close(&c);
	must_put(REGISTER, "{\"ID\":\"w2\",\"Name\":\"web\"}");
	must_put(REGISTER, "{\"ID\":\"w3\",\"Name\":\"web\"}");

	snprintf(path, sizeof(path), "/v1/waymark/events?index=%lu", index);
	listen_from(&c, path);
	expect(&c, "\"instance\":\"w3\"");
	cr_assert_eq(times(c.text, "\"instance\":\"w2\""), 1);
	cr_assert_eq(times(c.text, "\"instance\":\"w1\""), 0, "was seen before");
	cr_assert_eq(times(c.text, "event: ready"), 0);
	must_put(REGISTER, "{\"ID\":\"w4\",\"Name\":\"web\"}");
	expect(&c, "\"instance\":\"w4\"");
	index = last_id(&c);
	client_close(&c);

	snprintf(path, sizeof(path), "/v1/waymark/events?index=%lu", index);
	listen_from(&c, path);
	expect(&c, "event: ready\n");
	client_close(&c);
	turns(5);
}

/* Of what changed often the newest word is enough; of what nobody remembers, or of too much, none
 * is. */
Test(events, who_missed_much_gets_the_newest_word)
{
	struct client c;

	must_put(REGISTER,
		 "{\"ID\":\"w\",\"Name\":\"web\",\"Check\":{\"CheckID\":\"c\",\"TTL\":\"1h\"}}");
	for (unsigned i = 0; i < 4200; i++) {
		struct wm_check *check = wm_registry_check(registry, "c");

		wm_registry_set_status(registry, check, i % 2 ? WM_CRITICAL : WM_PASSING, NULL);
		if (i % 100 == 0)
			wm_registry_flush(registry);
	}
	listen_from(&c, "/v1/waymark/events?index=1");
	expect(&c, "\"instance\":\"w\"");
	cr_assert_eq(times(c.text, "event: instance\n"), 1);
	cr_assert_eq(times(c.text, "event: reset\n"), 0);
	client_close(&c);
	/* what went is told of, also when nobody listened */
	must_put("/v1/agent/service/deregister/w", "");
	listen_from(&c, "/v1/waymark/events?index=1");
	expect(&c, "event: instance-deleted\n");
	cr_assert_eq(times(c.text, "event: instance\n"), 0);
	client_close(&c);
	for (unsigned i = 0; i < 4200; i++) {
		struct wm_instance_draft d = {.name = "many", .port = 1};
		char id[16];

		snprintf(id, sizeof(id), "m%u", i);
		d.id = id;
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
		cr_assert_eq(wm_registry_deregister(registry, id, NULL, NULL, NULL), 0);
	}
	wm_registry_finish(registry);
	listen_from(&c, "/v1/waymark/events?index=1");
	expect(&c, "event: reset\n");
	client_close(&c);
	listen_from(&c, "/v1/waymark/events?index=0");
	expect(&c, "event: reset\n");
	client_close(&c);
	/* an index that we never gave: of another life */
	listen_from(&c, "/v1/waymark/events?index=9007199254740000");
	expect(&c, "event: reset\n");
	client_close(&c);
	cr_assert_eq(get("/v1/waymark/events?index=x"), 400);
	turns(5);
}

Test(events, who_does_not_read_is_cut_off)
{
	const uint64_t *counters = wm_api_counters(api);
	struct client c;

	must_put(REGISTER,
		 "{\"ID\":\"w\",\"Name\":\"web\",\"Check\":{\"CheckID\":\"c\",\"TTL\":\"1h\"}}");
	listen_from(&c, "/v1/waymark/events");
	expect(&c, "event: ready\n");
	for (unsigned i = 0; i < 200000 && !counters[WM_API_EVENTS_SLOW]; i++) {
		wm_registry_set_status(registry, wm_registry_check(registry, "c"),
				       i % 2 ? WM_CRITICAL : WM_PASSING, NULL);
		if (i % 1000 == 0)
			turns(1);
	}
	cr_assert_eq(counters[WM_API_EVENTS_SLOW], 1);
	cr_assert_eq(get("/v1/catalog/services"), 200, "others are served");
	client_close(&c);
}

Test(events, streams_are_bounded)
{
	struct client c[65];

	for (unsigned i = 0; i < 65; i++) {
		listen_from(&c[i], "/v1/waymark/events");
		expect(&c[i], i < 64 ? "event: ready\n" : "429 Too Many Requests");
	}
	cr_assert(strstr(c[64].text, "Too many event streams, at most 64"));
	client_close(&c[0]);
	turns(20);
	listen_from(&c[0], "/v1/waymark/events");
	expect(&c[0], "event: ready\n");
	for (unsigned i = 0; i < 65; i++)
		client_close(&c[i]);
	turns(20);
}
