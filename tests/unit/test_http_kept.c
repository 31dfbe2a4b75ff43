/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* Answers that are given more than once, and requests that are known by their octets. */
#include "http_help.h"

static struct wm_http_kept *answer;
static char known[1024];
static size_t known_len, body_len;
static bool known_local;
static unsigned recalled;

/* /kept is kept, /again gets the same once more; the rest as ever. */
static void keeper(void *arg, struct wm_http_request *r)
{
	static char body[3u << 20];
	const char *raw;

	if (strcmp(wm_http_path(r), "/again") == 0) {
		handled++;
		wm_http_set_header(r, "X-Lost", "yes");
		wm_http_reply_kept(r, answer);
		return;
	}
	if (strcmp(wm_http_path(r), "/kept") != 0) {
		handler(arg, r);
		return;
	}
	handled++;
	raw = wm_http_raw(r, &known_len);
	cr_assert_lt(known_len, sizeof(known));
	if (raw)
		memcpy(known, raw, known_len);
	else
		known_len = 0;
	known_local = wm_http_is_local(r);
	memset(body, 'k', sizeof(body));
	wm_http_kept_unref(answer);
	wm_http_set_header(r, "X-Kept", "yes");
	answer = wm_http_reply_keep(r, "text/plain", body, body_len);
	cr_assert(answer);
}

static struct wm_http_kept *recall(void *arg, const char *raw, size_t len, bool local)
{
	cr_assert_eq(arg, &known);
	if (!answer || local != known_local || len != known_len || memcmp(raw, known, len) != 0)
		return NULL;
	recalled++;
	return answer;
}

static void begin(size_t octets)
{
	setup();
	body_len = octets;
	server = wm_http_server_new(loop, &limits, keeper, &limits);
	cr_assert(server);
	cr_assert_eq(wm_http_listen_tcp(server, "127.0.0.1", 0, &port), 0);
	wm_http_on_raw(server, recall, known);
}

static void end(void)
{
	teardown();
	wm_http_kept_unref(answer);
	answer = NULL;
}

TestSuite(http_kept, .fini = end, .timeout = 300);

static void blank_date(char *text)
{
	char *date = strstr(text, "\r\nDate: ");

	if (date)
		memset(date + 2, '-', strcspn(date + 2, "\r"));
}

/* The answer to @p request, its date taken out. */
static const char *ask_for(int fd, const char *request)
{
	cr_assert_eq(ask(fd, request), 200);
	blank_date(got);
	return got;
}

Test(http_kept, the_same_octets_get_the_same_answer)
{
	static char first[4096];
	int fd, other;

	begin(1000);
	fd = dial();
	snprintf(first, sizeof(first), "%s", ask_for(fd, "GET /kept HTTP/1.1\r\n" HOST "\r\n"));
	cr_assert(strstr(first, "X-Kept: yes\r\n") && strstr(first, "kkk"));
	cr_assert_eq(known_len, strlen("GET /kept HTTP/1.1\r\n" HOST "\r\n"));
	for (int i = 0; i < 3; i++)
		cr_assert_str_eq(ask_for(fd, "GET /kept HTTP/1.1\r\n" HOST "\r\n"), first);
	cr_assert_eq(recalled, 3);
	cr_assert_eq(handled, 1);
	other = dial();
	cr_assert_str_eq(ask_for(other, "GET /kept HTTP/1.1\r\n" HOST "\r\n"), first);
	cr_assert_eq(recalled, 4);
	cr_assert_eq(wm_http_counters(server)[WM_HTTP_REQUESTS], 5);
	/* evhttp takes the next one as if there had been none */
	cr_assert_eq(ask(fd, "GET /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	cr_assert(strstr(got, "GET /a"));
	/* and gives it where it knows of it, whatever else was set */
	cr_assert_str_eq(ask_for(fd, "GET /again HTTP/1.1\r\n" HOST "\r\n"), first);
	close(fd);
	close(other);
	UNTIL(wm_http_connections(server) == 0);
}

Test(http_kept, what_is_not_the_same_goes_to_the_handler)
{
	int fd;

	begin(10);
	fd = dial();
	ask(fd, "GET /kept HTTP/1.1\r\n" HOST "\r\n");
	/* in two pieces */
	say(fd, "GET /kept HTTP/1.1\r\n" HOST);
	for (int i = 0; i < 20; i++)
		cr_assert_eq(wm_loop_turn(loop, 2), 0);
	cr_assert_eq(ask(fd, "\r\n"), 200);
	cr_assert_eq(handled, 2);
	cr_assert_eq(known_len, 0);
	/* with more behind it */
	got_len = 0;
	say(fd, "GET /kept HTTP/1.1\r\n" HOST "\r\nGET /a HTTP/1.1\r\n" HOST "\r\n");
	UNTIL((hear(fd), strstr(got, "GET /a")));
	cr_assert_eq(handled, 4);
	cr_assert_eq(known_len, 0);
	/* with a body */
	ask(fd, "PUT /kept HTTP/1.1\r\n" HOST "Content-Length: 1\r\n\r\nx");
	cr_assert_eq(known_len, 0);
	/* on a connection that is to end */
	ask(fd, "GET /kept HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	cr_assert_eq(known_len, 0);
	UNTIL(!hear(fd));
	close(fd);
	cr_assert_eq(recalled, 0);
	cr_assert_eq(ask_once("GET /kept HTTP/1.1\r\n" HOST "Connection: keep-alive\r\n\r\n"), 200);
	cr_assert_neq(known_len, 0);
	/* without a body, and of an older version */
	fd = dial();
	got_len = 0;
	say(fd, "HEAD /again HTTP/1.1\r\n" HOST "\r\n");
	UNTIL((hear(fd), strstr(got, "\r\n\r\n")));
	cr_assert(strstr(got, "Content-Length: 10\r\n") && !strstr(got, "kkk"), "%s", got);
	got_len = 0;
	say(fd, "GET /again HTTP/1.0\r\n\r\n");
	UNTIL(!hear(fd));
	cr_assert(strstr(got, "X-Kept: yes\r\n") && strstr(got, "kkkkkkkkkk"), "%s", got);
	close(fd);
}

/* It is shared with connections that take it slowly, also when nobody keeps it any more. */
Test(http_kept, who_takes_it_slowly_gets_all_of_it)
{
	enum { CLIENTS = 4 };
	size_t have[CLIENTS] = {0}, want;
	int fds[CLIENTS], small = 65536;
	static char buf[65536];
	uint64_t end_ms = wm_clock_ms() + DEADLINE_MS;
	bool all;

	begin(3u << 20);
	for (unsigned i = 0; i < CLIENTS; i++) {
		fds[i] = dial();
		setsockopt(fds[i], SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
		say(fds[i], i % 2 || !i ? "GET /kept HTTP/1.1\r\n" HOST "\r\n"
					: "GET /again HTTP/1.1\r\n" HOST "\r\n");
		UNTIL(handled + recalled == i + 1);
	}
	cr_assert_gt(recalled, 0);
	wm_http_kept_unref(answer);
	answer = NULL;
	want = (3u << 20);
	do {
		all = true;
		for (unsigned i = 0; i < CLIENTS; i++) {
			ssize_t n = recv(fds[i], buf, sizeof(buf), MSG_DONTWAIT);

			for (ssize_t at = 0; at < n; at++)
				have[i] += buf[at] == 'k';
			all &= have[i] >= want;
		}
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
	} while (!all && wm_clock_ms() < end_ms);
	cr_assert(all);
	/* and asks for more on the same connection */
	for (unsigned i = 0; i < CLIENTS; i++)
		cr_assert_eq(ask(fds[i], "GET /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	for (unsigned i = 0; i < CLIENTS; i++)
		close(fds[i]);
}
