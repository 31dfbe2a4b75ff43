/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* The client against a real server on loopback: answers, bounds, errors, and its own life cycle. */
#include "http_peer.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/net/http_client.h"

#include <errno.h>
#include <stdlib.h>

#define DEADLINE_MS 90000 /* for a hung test; nothing here takes long */

struct result {
	int calls, error;
	long status;
	char body[4096], phrase[64], reason[256];
	size_t len;
	struct wm_http_client *free_client; /* freed by the callback */
	struct wm_http_call *cancel[4];	    /* cancelled by the callback */
};

static struct wm_loop *loop;
static struct wm_http_client *client;
static struct peer peer;

static void setup(void)
{
	peer_start(&peer);
	loop = wm_loop_new();
	client = wm_http_client_new(loop, 4);
	cr_assert(loop && client);
}

static void teardown(void)
{
	wm_http_client_free(client);
	wm_loop_free(loop);
	peer_stop(&peer);
}

TestSuite(http_client, .init = setup, .fini = teardown, .timeout = 300);

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	struct result *r = arg;

	r->calls++;
	r->error = a->error;
	r->status = a->status;
	r->len = a->body_len;
	cr_assert_eq(a->body[a->body_len], '\0');
	snprintf(r->body, sizeof(r->body), "%s", a->body);
	snprintf(r->phrase, sizeof(r->phrase), "%s", a->phrase);
	snprintf(r->reason, sizeof(r->reason), "%s", a->reason);
	for (int i = 0; i < 4; i++)
		wm_http_call_cancel(r->cancel[i]);
	if (r->free_client) {
		wm_http_client_free(r->free_client);
		client = NULL;
	}
}

static const char *url_of(const char *path)
{
	static char url[2][256];
	static int at;

	at = !at;
	snprintf(url[at], sizeof(url[at]), "http://127.0.0.1:%u%s", peer.port, path);
	return url[at];
}

static struct wm_http_call *start(struct wm_http_call_options o, struct result *r)
{
	struct wm_http_call *call;
	int err = 0;

	memset(r, 0, sizeof(*r));
	if (!o.timeout_ms)
		o.timeout_ms = DEADLINE_MS;
	if (!o.answer_max)
		o.answer_max = sizeof(r->body) - 1;
	call = wm_http_call_start(client, &o, on_answer, r, &err);
	cr_assert(call, "start: %d", err);
	cr_assert_eq(r->calls, 0, "no callback before start returns");
	return call;
}

static void wait_for(struct result *r)
{
	uint64_t end = wm_clock_ms() + DEADLINE_MS;

	while (!r->calls && wm_clock_ms() < end)
		cr_assert_eq(wm_loop_turn(loop, 100), 0);
	cr_assert_eq(r->calls, 1);
}

static struct result run(struct wm_http_call_options o)
{
	struct result r;

	start(o, &r);
	wait_for(&r);
	return r;
}

Test(http_client, brings_status_phrase_and_body)
{
	struct result r = run((struct wm_http_call_options){.url = url_of("/status/200")});

	cr_assert_eq(r.error, 0, "%s", r.reason);
	cr_assert_eq(r.status, 200);
	cr_assert_str_eq(r.phrase, "Some Phrase");
	cr_assert_str_eq(r.body, "body of the answer");
	cr_assert_eq(r.len, strlen(r.body));
	r = run((struct wm_http_call_options){.url = url_of("/status/503")});
	cr_assert_eq(r.error, 0);
	cr_assert_eq(r.status, 503);
}

Test(http_client, cuts_long_and_endless_answers)
{
	struct result r =
		run((struct wm_http_call_options){.url = url_of("/big"), .answer_max = 1500});

	cr_assert_eq(r.error, 0, "%s", r.reason);
	cr_assert_eq(r.len, 1500);
	r = run((struct wm_http_call_options){.url = url_of("/endless"), .answer_max = 10});
	cr_assert_eq(r.error, 0, "%s", r.reason);
	cr_assert_eq(r.status, 200);
	cr_assert_eq(r.len, 10);
}

static size_t taken, refusals;
static struct wm_http_call *slow;
static char head_seen[64];

/* Each second part has to wait. */
static int take_slowly(void *arg, const void *data, size_t len)
{
	static bool later;

	(void)arg;
	(void)data;
	cr_assert(*head_seen, "no part before the headers");
	later = !later;
	refusals += later;
	taken += later ? 0 : len;
	return later ? WM_HTTP_LATER : 0;
}

static void see_head(void *arg, long status, const char *type)
{
	(void)arg;
	snprintf(head_seen, sizeof(head_seen), "%ld %s", status, type);
}

Test(http_client, a_server_waits_while_its_parts_are_not_taken)
{
	struct wm_http_call_options o = {
		.url = url_of("/big"), .on_data = take_slowly, .on_head = see_head};
	uint64_t end = wm_clock_ms() + DEADLINE_MS;
	size_t before = 0;
	struct result r;

	slow = start(o, &r);
	while (!r.calls && wm_clock_ms() < end) {
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
		if (r.calls || refusals == before)
			continue;
		before = refusals;
		wm_http_call_resume(slow);
	}
	cr_assert_eq(r.error, 0, "%s", r.reason);
	cr_assert_eq(taken, PEER_BIG);
	cr_assert_gt(refusals, 1);
	cr_assert_str_eq(head_seen, "200 a/b");
}

Test(http_client, refuses_endless_headers)
{
	struct result r = run((struct wm_http_call_options){.url = url_of("/heads")});

	cr_assert_eq(r.error, -EMSGSIZE, "%d %s", r.error, r.reason);
}

Test(http_client, sends_method_headers_and_body_as_given)
{
	const char *headers[] = {"X-One: 1", "X-Empty:", "Host: example.test", NULL};
	struct result r = run((struct wm_http_call_options){
		.url = url_of("/echo"), .method = "PUT", .headers = headers, .body = "payload"});

	cr_assert_eq(r.error, 0, "%s", r.reason);
	cr_assert_eq(strncmp(r.body, "PUT /echo HTTP/1.1\r\n", 20), 0, "%s", r.body);
	cr_assert(strstr(r.body, "\r\nX-One: 1\r\n"));
	cr_assert(strstr(r.body, "\r\nX-Empty:"));
	cr_assert(strstr(r.body, "\r\nHost: example.test\r\n"));
	cr_assert(strstr(r.body, "\r\nContent-Length: 7\r\n"));
	cr_assert_not(strstr(r.body, "Expect:"));
	cr_assert_not(strstr(r.body, "urlencoded"));
	cr_assert(strstr(r.body, "\r\n\r\npayload"));
	r = run((struct wm_http_call_options){.url = url_of("/status/200"), .method = "HEAD"});
	cr_assert_eq(r.error, 0, "%s", r.reason);
	cr_assert_eq(r.len, 0);
}

/* A check that posts nothing has no form to post. */
Test(http_client, says_no_content_type_unless_told)
{
	static const char *const told[] = {"Content-Type: a/b", NULL};
	struct wm_http_call_options o = {.method = "POST", .url = url_of("/echo")};

	cr_assert_null(strcasestr(run(o).body, "content-type"));
	o.method = "PUT";
	cr_assert_null(strcasestr(run(o).body, "content-type"));
	o.body = "x=y";
	cr_assert_null(strcasestr(run(o).body, "content-type"));
	o.headers = told;
	cr_assert_not_null(strstr(run(o).body, "Content-Type: a/b"));
}

Test(http_client, follows_redirects_only_when_asked_and_only_http)
{
	struct result r = run((struct wm_http_call_options){.url = url_of("/redirect/ok")});

	cr_assert_eq(r.status, 302);
	cr_assert_str_eq(r.body, "elsewhere");
	r = run((struct wm_http_call_options){.url = url_of("/redirect/ok"),
					      .follow_redirects = true});
	cr_assert_eq(r.status, 200);
	cr_assert_str_eq(r.body, "body of the answer");
	r = run((struct wm_http_call_options){.url = url_of("/redirect/loop"),
					      .follow_redirects = true});
	cr_assert_eq(r.error, -ELOOP);
	r = run((struct wm_http_call_options){.url = url_of("/redirect/ftp"),
					      .follow_redirects = true});
	cr_assert_eq(r.error, -EPROTONOSUPPORT, "%d %s", r.error, r.reason);
}

Test(http_client, ignores_a_proxy_of_the_environment)
{
	struct result r;

	setenv("http_proxy", "http://127.0.0.1:1", 1);
	setenv("ALL_PROXY", "http://127.0.0.1:1", 1);
	r = run((struct wm_http_call_options){.url = url_of("/status/200")});
	cr_assert_eq(r.error, 0, "%s", r.reason);
	cr_assert_eq(r.status, 200);
}

Test(http_client, tells_refused_from_timed_out)
{
	uint16_t port = 0;
	int fd = peer_listen(1, &port);
	char url[64];
	struct result r;

	close(fd);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", port);
	r = run((struct wm_http_call_options){.url = url});
	cr_assert_eq(r.error, -ECONNREFUSED);
	cr_assert_neq(r.reason[0], '\0');
	r = run((struct wm_http_call_options){.url = url_of("/hang"), .timeout_ms = 50});
	cr_assert_eq(r.error, -ETIMEDOUT);
	/* an unknown name fails, and does not stop the loop */
	r = run((struct wm_http_call_options){.url = "http://no-such-host.invalid/"});
	cr_assert_eq(r.error, -ENXIO, "%d %s", r.error, r.reason);
}

Test(http_client, connect_only_opens_and_closes)
{
	uint16_t port = 0;
	int fd = peer_listen(1, &port);
	char url[64];
	struct result r;

	snprintf(url, sizeof(url), "http://localhost:%u/", port);
	r = run((struct wm_http_call_options){.url = url, .connect_only = true});
	cr_assert_eq(r.error, 0, "%s", r.reason);
	cr_assert_eq(r.status, 0);
	close(fd);
	r = run((struct wm_http_call_options){.url = url, .connect_only = true});
	cr_assert_eq(r.error, -ECONNREFUSED);
}

Test(http_client, refuses_bad_calls)
{
	const char *split[] = {"X: 1\r\nY: 2", NULL}, *none[] = {"no colon", NULL};
	const char *many[WM_HTTP_CALL_HEADERS_MAX + 2] = {NULL};
	const struct wm_http_call_options bad[] = {
		{.url = "file:///etc/hostname"},
		{.url = "ftp://127.0.0.1/"},
		{.url = "http://"},
		{.url = NULL},
		{.url = "http://127.0.0.1/", .headers = split},
		{.url = "http://127.0.0.1/", .headers = none},
		{.url = "http://127.0.0.1/", .headers = many},
		{.url = "http://127.0.0.1/", .method = "GET / HTTP/1.1\r\nX: "},
	};
	struct result r = {0};

	for (int i = 0; i <= WM_HTTP_CALL_HEADERS_MAX; i++)
		many[i] = "A: b";
	for (size_t i = 0; i < WM_ARRAY_LEN(bad); i++) {
		int err = 0;

		cr_assert_null(wm_http_call_start(client, &bad[i], on_answer, &r, &err), "%zu", i);
		cr_assert_eq(err, -EINVAL, "%zu: %d", i, err);
	}
	cr_assert_eq(r.calls, 0);
}

Test(http_client, queues_above_its_bound)
{
	struct wm_http_call *hung[4];
	struct result r[4], last;
	uint64_t end = wm_clock_ms() + DEADLINE_MS;

	for (int i = 0; i < 4; i++)
		hung[i] = start((struct wm_http_call_options){.url = url_of("/hang")}, &r[i]);
	start((struct wm_http_call_options){.url = url_of("/status/200")}, &last);
	while (peer.hung_count < 4 && wm_clock_ms() < end)
		wm_loop_turn(loop, 10);
	cr_assert_eq(peer.hung_count, 4);
	for (int i = 0; i < 10; i++)
		wm_loop_turn(loop, 10);
	cr_assert_eq(last.calls, 0, "all places are taken");
	cr_assert_eq(peer.served, 0);
	wm_http_call_cancel(hung[2]);
	wait_for(&last);
	cr_assert_eq(last.status, 200);
	cr_assert_eq(r[2].calls, 0, "cancelled");
}

Test(http_client, every_queued_call_is_answered)
{
	static struct result r[100];

	for (int i = 0; i < 100; i++)
		start((struct wm_http_call_options){.url = url_of("/status/200")}, &r[i]);
	for (int i = 0; i < 100; i++) {
		wait_for(&r[i]);
		cr_assert_eq(r[i].status, 200, "%d %s", i, r[i].reason);
	}
}

Test(http_client, cancel_from_a_callback)
{
	struct result first, hung, other[5];
	struct wm_http_call *self;

	self = start((struct wm_http_call_options){.url = url_of("/status/200")}, &first);
	first.cancel[0] = start((struct wm_http_call_options){.url = url_of("/hang")}, &hung);
	for (int i = 0; i < 5; i++) {
		struct wm_http_call *c =
			start((struct wm_http_call_options){.url = url_of("/hang")}, &other[i]);

		if (i == 4)
			first.cancel[1] = c; /* still queued */
	}
	first.cancel[2] = self;
	wait_for(&first);
	for (int i = 0; i < 20; i++)
		wm_loop_turn(loop, 5);
	cr_assert_eq(first.calls, 1);
	cr_assert_eq(hung.calls + other[4].calls, 0);
}

Test(http_client, free_from_a_callback_and_with_calls_in_flight)
{
	struct result first, hung[6];

	start((struct wm_http_call_options){.url = url_of("/status/200")}, &first);
	for (int i = 0; i < 6; i++)
		start((struct wm_http_call_options){.url = url_of("/hang")}, &hung[i]);
	first.free_client = client;
	wait_for(&first);
	for (int i = 0; i < 10; i++)
		wm_loop_turn(loop, 5);
	for (int i = 0; i < 6; i++)
		cr_assert_eq(hung[i].calls, 0);
	/* and outside of one: teardown frees this one with its calls */
	client = wm_http_client_new(loop, 2);
	for (int i = 0; i < 6; i++)
		start((struct wm_http_call_options){.url = url_of("/hang")}, &hung[i]);
	for (int i = 0; i < 5; i++)
		wm_loop_turn(loop, 5);
}

/* A client that had connected and then turned its loop no more kept the peer, and with it the test,
 * in recv(). */
Test(http_client, the_peer_stops_though_a_client_says_nothing)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	struct peer p;

	peer_start(&p);
	a.sin_port = htons(p.port);
	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	usleep(20000); /* in recv() by now, most likely; nothing hangs on it */
	peer_stop(&p);
	close(fd);
}

/* A server that speaks over one connection until it is closed. */
struct kept_peer {
	int fd;
	_Atomic unsigned connections;
	uint16_t port;
};

static void *kept_main(void *arg)
{
	static const char answer[] = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
	struct kept_peer *p = arg;

	for (unsigned n = 0; n < 2; n++) {
		int fd = accept4(p->fd, NULL, NULL, SOCK_CLOEXEC);
		char req[4096];

		p->connections++;
		while (recv(fd, req, sizeof(req), 0) > 0)
			peer_send(fd, answer, sizeof(answer) - 1);
		close(fd);
	}
	return NULL;
}

Test(http_client, keeps_a_connection_for_who_says_so_only)
{
	struct kept_peer p = {0};
	struct wm_http_call_options o = {.keep = true, .tcp_keepalive_s = 10};
	pthread_t thread;
	char url[64];

	p.fd = peer_listen(8, &p.port);
	cr_assert_eq(pthread_create(&thread, NULL, kept_main, &p), 0);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u/", p.port);
	o.url = url;
	for (unsigned n = 0; n < 5; n++)
		cr_assert_str_eq(run(o).body, "ok");
	cr_assert_eq(p.connections, 1);
	o.keep = false;
	/* the thread speaks to one at a time: the kept one has to go first */
	wm_http_client_free(client);
	client = wm_http_client_new(loop, 4);
	cr_assert_str_eq(run(o).body, "ok");
	cr_assert_eq(p.connections, 2);
	pthread_join(thread, NULL);
	close(p.fd);
}
