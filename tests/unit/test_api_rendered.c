/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata health resolution dns dataplane lifecycle sync source api */
/* Answers that are kept: whatever is written, what is given is what would be rendered now. */
#include "api_help.h"
#include "userspace/api/internal.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/registry/internal.h"

static void setup(void)
{
	api_setup();
	api_start();
}

static void end(void)
{
	one_close();
	api_stop();
}

TestSuite(rendered, .init = setup, .fini = end, .timeout = 300);

static uint64_t count_of(enum wm_api_counter n)
{
	return wm_api_counters(api)[n];
}

static uint64_t hits(void)
{
	return count_of(WM_API_RENDERED_HITS);
}

/* A connection that stays, and what it heard last. */
static struct client reader;

static void read_now(const char *path)
{
	if (!reader.text)
		client_open(&reader);
	client_send(&reader, "GET", path, NULL);
	UNTIL(client_has(&reader));
}

static void web(const char *id, unsigned long ms)
{
	char body[512];

	snprintf(body, sizeof(body),
		 "{\"ID\":\"%s\",\"Name\":\"web\",\"Port\":%lu,\"Check\":{\"CheckID\":\"c-%s\","
		 "\"TTL\":\"1h\",\"Status\":\"passing\"}}",
		 id, ms, id);
	must_put(REGISTER, body);
}

#define WEB "/v1/health/service/web?passing"

Test(rendered, an_answer_is_rendered_once)
{
	char first[4096];

	web("w1", 1);
	read_now(WEB);
	snprintf(first, sizeof(first), "%s", reader.body);
	cr_assert(strstr(first, "\"w1\""));
	cr_assert_eq(count_of(WM_API_RENDERED_MISSES), 1);
	for (unsigned i = 1; i < 5; i++) {
		read_now(WEB);
		cr_assert_str_eq(reader.body, first);
		cr_assert_eq(hits(), i);
	}
	/* other parameters are another form, another order of them too; how a service is spelled */
	read_now("/v1/health/service/web?passing&pretty");
	read_now("/v1/health/service/web?pretty&passing");
	read_now("/v1/health/service/WEB?passing");
	read_now("/v1/health/checks/web");
	read_now("/v1/catalog/service/web");
	cr_assert_eq(count_of(WM_API_RENDERED_MISSES), 6);
	cr_assert_eq(hits(), 4);
	/* index and wait are not part of it */
	read_now(WEB "&index=1&wait=1s");
	cr_assert_eq(hits(), 5);
	cr_assert_str_eq(reader.body, first);
	cr_assert_eq(count_of(WM_API_READS), 11);
	/* of what is not there nothing is kept */
	read_now("/v1/health/service/none?passing");
	read_now("/v1/health/service/none?passing");
	cr_assert_eq(hits(), 5);
	client_close(&reader);
}

Test(rendered, nobody_is_given_what_another_token_was)
{
	static const char *const tokens[] = {"", "X-Consul-Token: a\r\n", "X-Consul-Token: b\r\n",
					     "Authorization: Bearer a\r\n"};
	char request[256];

	web("w1", 1);
	client_open(&reader);
	for (unsigned round = 0; round < 2; round++) {
		for (unsigned i = 0; i < WM_ARRAY_LEN(tokens); i++) {
			int n = snprintf(request, sizeof(request),
					 "GET " WEB " HTTP/1.1\r\nHost: localhost\r\n%s\r\n",
					 tokens[i]);

			reader.len = 0;
			reader.text[0] = 0;
			cr_assert_eq(send(reader.fd, request, (size_t)n, MSG_NOSIGNAL), n);
			UNTIL(client_has(&reader));
			cr_assert_eq(strstr(reader.text, "Results-Filtered") != NULL, i > 0);
		}
		read_now(WEB "&token=a");
		cr_assert_eq(count_of(WM_API_RENDERED_MISSES), 5);
		cr_assert_eq(hits(), round * 5);
	}
	client_close(&reader);
}

/* Only what nobody asked for is dropped, and no more memory is used than is given. */
Test(rendered, the_memory_is_bounded)
{
	char path[128];

	api_stop();
	rendered_max = 64 << 10;
	api_start();
	web("w1", 1);
	read_now(WEB);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(path, sizeof(path), WEB "&x=%u", i);
		read_now(path);
		read_now(WEB);
		cr_assert_eq(hits(), i + 1);
		cr_assert_leq(wm_rendered_bytes(api), rendered_max);
	}
	cr_assert_gt(count_of(WM_API_RENDERED_EVICTED), 100);
	web("w1", 2);
	cr_assert_eq(wm_rendered_bytes(api), 0);
	/* one that would take too large a part of it is rendered each time */
	for (unsigned i = 0; i < 20; i++) {
		snprintf(path, sizeof(path), "w%u", i);
		web(path, i);
	}
	read_now(WEB);
	cr_assert_eq(wm_rendered_bytes(api), 0);
	client_close(&reader);
	one_close();
	api_stop();
	rendered_max = 1; /* http.rendered_max = 0: none is kept */
	api_start();
	web("w1", 1);
	reader.text = NULL;
	read_now(WEB);
	read_now(WEB);
	cr_assert_eq(hits() + count_of(WM_API_RENDERED_MISSES), 0);
	client_close(&reader);
}

/* An answer that takes several turns is kept if it is of one state. */
Test(rendered, a_long_answer_is_kept)
{
	struct wm_check *check;
	char id[32];

	registry->instances_max = 20000;
	web("w1", 1);
	for (unsigned n = 0; n < 5000; n++) {
		struct wm_instance_draft d = {.id = id, .name = "web", .port = 81};

		snprintf(id, sizeof(id), "x%u", n);
		cr_assert_eq(wm_registry_register(registry, &d, NULL, NULL, NULL), 0);
	}
	wm_registry_flush(registry);
	check = wm_registry_check(registry, "c-w1");
	client_open(&reader);
	for (unsigned round = 0; round < 2; round++) {
		client_send(&reader, "GET", WEB, NULL);
		while (!api->longs_count) {
			cr_assert(!client_has(&reader), "it is no long one");
			turns(1);
		}
		/* in its middle something else is said, and no index moves */
		cr_assert_eq(
			wm_registry_set_status(registry, check, WM_PASSING, round ? NULL : "said"),
			0);
		UNTIL(client_has(&reader));
		cr_assert_eq(count_of(WM_API_RENDERED_MISSES), round);
		cr_assert_eq(hits(), 0);
	}
	read_now(WEB);
	cr_assert_eq(hits(), 1);
	client_close(&reader);
}

/* Whoever a change wakes gets the one answer that was rendered for the first of them. */
Test(rendered, watchers_share_an_answer)
{
	enum { WATCHERS = 20 };
	struct client c[WATCHERS];
	char path[128];

	web("w1", 1);
	read_now(WEB);
	snprintf(path, sizeof(path), WEB "&wait=10m&index=%lu", index_of(&reader));
	for (unsigned i = 0; i < WATCHERS; i++) {
		client_open(&c[i]);
		client_send(&c[i], "GET", path, NULL);
	}
	UNTIL(api->watches == WATCHERS);
	cr_assert_eq(hits(), 0);
	web("w1", 2);
	for (unsigned i = 0; i < WATCHERS; i++) {
		UNTIL(client_has(&c[i]));
		cr_assert(strstr(c[i].body, "\"Port\":2,"));
		client_close(&c[i]);
	}
	cr_assert_eq(count_of(WM_API_RENDERED_MISSES), 2);
	cr_assert_eq(hits(), WATCHERS - 1);
	client_close(&reader);
}

static void know_node(const char *name, const char *zone, const char *service)
{
	char body[512];

	snprintf(body, sizeof(body),
		 "{\"Node\":\"%s\",\"Address\":\"10.0.0.9\",\"NodeMeta\":{\"zone\":\"%s\"}%s%s%s}",
		 name, zone, *service ? ",\"Service\":{\"Service\":\"" : "", service,
		 *service ? "\"}" : "");
	cr_assert_eq(put("/v1/catalog/register", body), 200, "%s", one.body);
}

/* No index of the service moves, and what is asked for is another. */
Test(rendered, a_node_elsewhere_changes_what_is_near_to_it)
{
	static const char *const nearest[] = {"\"Node\":\"n2\"", "\"Node\":\"n3\""};

	know_node("n2", "z2", "web");
	know_node("n3", "z3", "web");
	for (unsigned i = 0; i < 4; i++) {
		know_node("n4", i % 2 ? "z3" : "z2", "");
		for (unsigned again = 0; again < 2; again++) {
			read_now("/v1/health/service/web?near=n4");
			cr_assert_eq(strstr(reader.body, "\"Node\":\"n"),
				     strstr(reader.body, nearest[i % 2]));
			read_now("/v1/health/service/web");
		}
	}
	/* the others do not go with it */
	cr_assert_eq(count_of(WM_API_RENDERED_MISSES), 5);
	client_close(&reader);
}

/* --- random writes -----------------------------------------------------------------------------
 */
static const char *const names[] = {"web", "api", "db"};
static const struct {
	const char *before, *after;
} forms[] = {
	{"/v1/health/service/", "?a"},
	{"/v1/health/service/", "?passing"},
	{"/v1/health/service/", "?passing&pretty"},
	{"/v1/health/service/", "?passing=false&stale"},
	{"/v1/health/service/", "?tag=t1"},
	{"/v1/health/service/", "?tag=t1&tag=t2&consistent"},
	{"/v1/health/service/", "?near=_agent"},
	{"/v1/health/service/", "?near=n2&passing"},
	{"/v1/health/service/", "?node-meta=zone:z1"},
	{"/v1/health/service/", "?filter=Checks.Output%20contains%20%22out1%22"},
	{"/v1/health/service/", "?filter=Node.Meta.zone%20%3D%3D%20z2"},
	{"/v1/health/service/", "?cached"},
	{"/v1/health/checks/", "?a"},
	{"/v1/health/checks/", "?near=n3"},
	{"/v1/health/checks/", "?filter=Output%20contains%20%22out2%22"},
	{"/v1/catalog/service/", "?a"},
	{"/v1/catalog/service/", "?tag=t2&pretty"},
	{"/v1/catalog/service/", "?near=n1&node-meta=zone:z2"},
	{"/v1/catalog/service/", "?filter=ServicePort%20%21%3D%203"},
};

static unsigned draw(unsigned below)
{
	return (unsigned)wm_random_below(below);
}

static const char *const statuses[] = {"passing", "warning", "critical"};

static void register_one(char *path, char *body, size_t cap)
{
	snprintf(path, cap, REGISTER);
	snprintf(body, cap,
		 "{\"ID\":\"i%u\",\"Name\":\"%s\",\"Port\":%u,\"Tags\":[\"t%u\",\"t%u\"],"
		 "\"Meta\":{\"v\":\"%u\"},\"Check\":{\"CheckID\":\"c-i%u\",\"TTL\":\"1h\","
		 "\"Status\":\"%s\"}}",
		 draw(6), names[draw(3)], draw(4), draw(3), 3 + draw(2), draw(3), draw(6),
		 statuses[draw(3)]);
}

static void write_catalog(char *path, char *body, size_t cap)
{
	unsigned node = 1 + draw(6), what = draw(7);

	snprintf(path, cap, "/v1/catalog/%s", what ? "register" : "deregister");
	if (!what)
		snprintf(body, cap, "{\"Node\":\"n%u\"%s%u%s}", node,
			 draw(2) ? ",\"ServiceID\":\"s" : ",\"CheckID\":\"k", draw(3), "\"");
	else if (what == 1) /* facts of the node, nothing else */
		snprintf(body, cap,
			 "{\"Node\":\"n%u\",\"Address\":\"10.0.0.%u\",\"NodeMeta\":{\"zone\":"
			 "\"z%u\"}}",
			 node, node * 2 + draw(2), draw(3));
	else if (what == 2)
		snprintf(body, cap,
			 "{\"Node\":\"n%u\",\"SkipNodeUpdate\":true,\"Check\":{\"CheckID\":\"k%u\","
			 "\"Name\":\"k\",\"Status\":\"%s\",\"Output\":\"out%u\"}}",
			 node, draw(2), statuses[draw(3)], draw(4));
	else if (what == 3)
		snprintf(body, cap,
			 "{\"Node\":\"n%u\",\"SkipNodeUpdate\":true,\"Check\":{\"CheckID\":\"k2\","
			 "\"Name\":\"k\",\"ServiceID\":\"s%u\",\"Status\":\"%s\",\"Output\":\"out%"
			 "u\"}}",
			 node, draw(3), statuses[draw(3)], draw(4));
	else /* several on each, so that their order shows how near they are */
		snprintf(body, cap,
			 "{\"Node\":\"n%u\",\"Address\":\"10.0.0.%u\",\"SkipNodeUpdate\":true,"
			 "\"Service\":{\"ID\":\"s%u\","
			 "\"Service\":\"%s\",\"Port\":%u,\"Tags\":[\"t%u\"]}}",
			 node, node * 2, draw(5), names[draw(3)], draw(4), draw(3));
}

/* A write, legal or not, of any kind. */
static void write_one(char *path, char *body, size_t cap)
{
	static const char *const results[] = {"pass", "warn", "fail"};
	static const char *const states[] = {"starting", "running", "stopping", "stopped"};

	*body = 0;
	switch (draw(15)) {
	case 0:
	case 1:
		register_one(path, body, cap);
		return;
	case 2:
		snprintf(path, cap, "/v1/agent/service/deregister/i%u", draw(6));
		return;
	case 3: /* of the node, or of an instance */
		snprintf(path, cap, "/v1/agent/check/register");
		snprintf(body, cap,
			 "{\"ID\":\"n-%u\",\"Name\":\"n\",\"TTL\":\"1h\",\"Status\":\"%s\"%s}",
			 draw(2), statuses[draw(3)], draw(2) ? ",\"ServiceID\":\"i1\"" : "");
		return;
	case 4:
		snprintf(path, cap, "/v1/agent/check/deregister/n-%u", draw(2));
		return;
	case 5: /* most often the status stays, and what it says is another */
		snprintf(path, cap, "/v1/agent/check/%s/n-%u?note=out%u", results[draw(8) / 6],
			 draw(2), draw(4));
		return;
	case 6:
	case 7:
		snprintf(path, cap, "/v1/agent/check/%s/c-i%u?note=out%u", results[draw(12) / 5],
			 draw(6), draw(4));
		return;
	case 8:
		snprintf(path, cap, "/v1/agent/service/maintenance/i%u?enable=%s&reason=r%u",
			 draw(6), draw(2) ? "true" : "false", draw(3));
		return;
	case 9:
		snprintf(path, cap, "/v1/agent/maintenance?enable=%s&reason=r%u",
			 draw(3) ? "false" : "true", draw(3));
		return;
	case 10:
		snprintf(path, cap, "/v1/waymark/instances/i%u/lifecycle?state=%s", draw(6),
			 states[draw(4)]);
		return;
	default:
		write_catalog(path, body, cap);
	}
}

static void blank_date(struct client *c)
{
	char *date = strstr(c->text, "\r\nDate: ");

	if (date && date < c->body)
		memset(date + 2, '-', strcspn(date + 2, "\r"));
}

Test(rendered, is_what_would_be_rendered_now)
{
	enum { WRITES = 4000, LOOKS = 4 };
	unsigned changed = 0, fresh = 0;
	char path[512], body[1024], more[600];
	static char given[1 << 16];

	client_open(&reader);
	for (unsigned n = 0; n < WRITES; n++) {
		write_one(path, body, sizeof(path));
		client_send(&reader, "PUT", path, *body ? body : NULL);
		UNTIL(client_has(&reader));
		changed += reader.status == 200;
		for (unsigned look = 0; look < LOOKS; look++) {
			/* few forms of few services, so that most are kept when something changes
			 */
			unsigned f = draw(4) ? (n / 50 + draw(4)) % WM_ARRAY_LEN(forms)
					     : draw(WM_ARRAY_LEN(forms));

			snprintf(path, sizeof(path), "%s%s%s", forms[f].before, names[draw(3)],
				 forms[f].after);
			read_now(path);
			cr_assert_eq(reader.status, 200, "%s: %s", path, reader.body);
			blank_date(&reader);
			cr_assert_lt(reader.len, sizeof(given));
			memcpy(given, reader.text, reader.len + 1);
			snprintf(more, sizeof(more), "%s&fresh=%u", path, fresh++);
			read_now(more);
			blank_date(&reader);
			cr_assert_str_eq(given, reader.text, "%s\n%s\n--- %s", path, given,
					 reader.text);
		}
	}
	cr_assert_gt(changed, WRITES / 4, "%u", changed);
	cr_assert_gt(hits(), WRITES / 4, "%lu", (unsigned long)hits());
	client_close(&reader);
}
