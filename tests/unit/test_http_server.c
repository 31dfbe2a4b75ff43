/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* The HTTP server over real sockets. */
#include "http_help.h"

TestSuite(http_server, .init = setup, .fini = teardown, .timeout = 300);

Test(http_server, answers_and_keeps_the_connection)
{
	int fd;

	start();
	fd = dial();
	cr_assert_eq(ask(fd, "GET /a?x=1&y=%41+b&flag&=e HTTP/1.1\r\n" HOST "\r\n"), 200);
	cr_assert_str_eq(seen, "x=1;y=A b;flag=;=e;");
	cr_assert(strstr(got, "X-Test: yes"));
	cr_assert(strstr(got, "text/plain; charset=utf-8"));
	cr_assert(!strstr(got, "Evil"));
	cr_assert(strstr(got, "GET /a local=0 uid=-1 body=0"));
	cr_assert_eq(ask(fd, "PUT /b%2Fc HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhel"
			     "lo"),
		     200);
	cr_assert(strstr(got, "PUT /b%2Fc local=0 uid=-1 body=5"));
	cr_assert_str_eq(body_seen, "hello");
	cr_assert_eq(ask(fd, "PUT /b HTTP/1.1\r\n" HOST
			     "Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"),
		     200);
	cr_assert_str_eq(body_seen, "hello");
	cr_assert_eq(ask(fd, "FOO /b HTTP/1.1\r\n" HOST "\r\n"), 200);
	cr_assert_eq(wm_http_connections(server), 1);
	close(fd);
	UNTIL(wm_http_connections(server) == 0);
}

Test(http_server, two_requests_at_once_are_answered_in_order)
{
	int fd;

	start();
	fd = dial();
	got_len = 0;
	say(fd, "GET /one HTTP/1.1\r\n" HOST "\r\nGET /two HTTP/1.1\r\n" HOST "\r\n");
	UNTIL((hear(fd), strstr(got, "/two")));
	cr_assert_lt(strstr(got, "/one"), strstr(got, "/two"));
	close(fd);
}

/* A body behind the head would be read as the next answer. */
Test(http_server, an_answer_to_head_has_no_body)
{
	int fd;

	start();
	fd = dial();
	got_len = 0;
	say(fd, "HEAD /one HTTP/1.1\r\n" HOST "\r\nGET /two HTTP/1.1\r\n" HOST "\r\n");
	UNTIL((hear(fd), strstr(got, "GET /two")));
	cr_assert(!strstr(got, "HEAD /one"), "%s", got);
	cr_assert_eq(strtol(strstr(got, "Content-Length: ") + 16, NULL, 10),
		     (long)strlen("HEAD /one local=0 uid=-1 body=0"));
	got_len = 0;
	say(fd, "HEAD /one HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n");
	UNTIL(!hear(fd));
	cr_assert(strstr(got, "Content-Length: 31\r\n"), "%s", got);
	cr_assert_str_eq(strstr(got, "\r\n\r\n"), "\r\n\r\n");
	close(fd);
}

Test(http_server, expect_continue)
{
	int fd;

	start();
	fd = dial();
	got_len = 0;
	say(fd, "PUT /a HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n");
	UNTIL((hear(fd), strstr(got, "100 Continue")));
	got_len = 0;
	cr_assert_eq(ask(fd, "12345"), 200);
	cr_assert_str_eq(body_seen, "12345");
	close(fd);
}

Test(http_server, refuses_what_could_be_read_in_two_ways)
{
	static const char *const bad[] = {
		"PUT /a HTTP/1.1\r\n" HOST
		"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"PUT /a HTTP/1.1\r\n" HOST
		"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
		"PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
		"PUT /a HTTP/1.1\r\n" HOST "Content-Length: +5\r\n\r\nhello",
		"PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n"
		"Transfer-Encoding: identity\r\n\r\n0\r\n\r\n",
		"PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
		"FOO /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
		"TRACE /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
		"GET /a HTTP/1.1\r\n" HOST "Host: 127.0.0.2\r\n\r\n",
		"GET http://127.0.0.1/a HTTP/1.1\r\n" HOST "\r\n",
		"GET /a HTTP/1.1\r\n\r\n",
		"GET /a?x=%4 HTTP/1.1\r\n" HOST "\r\n",
		"GET /a?x=%00 HTTP/1.1\r\n" HOST "\r\n",
		"nonsense\r\n\r\n",
		"GET /a HTTP/0.1\r\n" HOST "\r\n",
		"GET /a HTTP/2.0\r\n" HOST "\r\n",
		"GET /a HTTP/11\r\n" HOST "\r\n",
		"GET /a HTTP/1.\xce\xce\r\n" HOST "\r\n",
		"GET /a HTTP/1.200\r\n" HOST "\r\n",
	};
	int old;

	start();
	for (unsigned i = 0; i < WM_ARRAY_LEN(bad); i++) {
		cr_expect_eq(ask_once(bad[i]), 400, "request %u: %s", i, got);
		cr_expect_eq(handled, 0, "request %u", i);
		cr_expect(strncmp(got, "HTTP/1.1 400 ", 13) == 0, "request %u: %s", i, got);
	}
	cr_assert_gt(wm_http_counters(server)[WM_HTTP_BAD_FRAMING], 6);
	cr_assert_eq(ask_once("GET /a HTTP/1.1\r\n" HOST "Content-Length: 0\r\n\r\n"), 200);
	old = dial();
	got_len = 0;
	say(old, "GET /a HTTP/1.0\r\n\r\n");
	UNTIL(!hear(old));
	cr_assert(strstr(got, " 200 OK"));
	close(old);
}

Test(http_server, a_refused_connection_is_closed)
{
	int fd;

	start();
	fd = dial();
	cr_assert_eq(ask(fd, "GET /a HTTP/1.1\r\n" HOST "Content-Length: x\r\n\r\n"), 400);
	UNTIL(!hear(fd));
	close(fd);
}

Test(http_server, host_decides_on_tcp)
{
	static const char *const good[] = {"127.0.0.1",	     "127.0.0.1:8500", "localhost",
					   "LOCALHOST:8500", "[::1]",	       "[::1]:8500",
					   "Mesh.Example",   "localhost.",     "mesh.example:1"};
	static const char *const bad[] = {"evil.example", "localhost.evil",  "127.0.0.1.evil",
					  "[::1",	  "127.0.0.1:80x",   "127.0.0.1:80:80",
					  "a@127.0.0.1",  "mesh.example.uk", ""};
	char request[256];

	start();
	cr_assert_eq(wm_http_allow_host(server, "mesh.example"), 0);
	for (unsigned i = 0; i < WM_ARRAY_LEN(good); i++) {
		snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", good[i]);
		cr_expect_eq(ask_once(request), 200, "%s: %s", good[i], got);
	}
	for (unsigned i = 0; i < WM_ARRAY_LEN(bad); i++) {
		snprintf(request, sizeof(request), "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", bad[i]);
		cr_expect_eq(ask_once(request), 403, "%s: %s", bad[i], got);
	}
	cr_assert_eq(wm_http_counters(server)[WM_HTTP_BAD_HOST], WM_ARRAY_LEN(bad));
}

static int put_body(size_t len)
{
	_cleanup_free_ char *request = malloc(len + 128);
	int n = snprintf(request, 128, "PUT /a HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
			 len);

	memset(request + n, 'x', len);
	request[(size_t)n + len] = 0;
	return ask_once(request);
}

Test(http_server, sizes_are_bounded)
{
	char request[8192];

	start();
	cr_assert_eq(put_body(BODY_MAX), 200);
	cr_assert_eq(handled, 1);
	cr_assert_eq(put_body(BODY_MAX + 1), 413);
	cr_assert(strstr(got, "Request body too large, max allowed: 1000 bytes"));
	cr_assert_eq(handled, 1);
	memset(request, 'a', sizeof(request));
	memcpy(request, "GET /", 5);
	snprintf(request + 3000, 100, " HTTP/1.1\r\n" HOST "\r\n");
	cr_assert_eq(ask_once(request), 431, "%s", got);
	cr_assert_eq(handled, 1);
	memcpy(request, "GET /?", 6);
	for (int i = 0; i < WM_HTTP_PARAMS_MAX + 1; i++)
		memcpy(request + 6 + 3 * i, "a=&", 3);
	snprintf(request + 6 + 3 * (WM_HTTP_PARAMS_MAX + 1), 100, " HTTP/1.1\r\n" HOST "\r\n");
	cr_assert_eq(ask_once(request), 400);
	cr_assert(strstr(got, "at most 64 parameters"));
	cr_assert_eq(handled, 1);
}

/* A request octet by octet: each is looked at once for the end of the headers, with the two before
 * it, and those of the body are not looked at. */
Test(http_server, small_segments_are_looked_at_once)
{
	static const char head[] = "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 900\r\n\r\n";
	int fd;

	start();
	fd = dial();
	cr_assert_eq(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)), 0);
	for (size_t n = 0; n < sizeof(head) - 1 + 900; n++) {
		char one[2] = {n < sizeof(head) - 1 ? head[n] : 'x', 0};

		say(fd, one);
		wm_loop_turn(loop, 10);
	}
	while (!whole(fd))
		wm_loop_turn(loop, 10);
	cr_assert_eq(strlen(body_seen), 900);
	cr_assert_leq(server->searched, 3 * sizeof(head));
	close(fd);
}

/* evhttp refuses what is more than twice the limit before we see a request, with a page of HTML. */
Test(http_server, what_is_far_too_large_is_refused_in_our_words)
{
	static char request[65536];
	int fd;

	start();
	cr_assert_eq(put_body(10 * BODY_MAX), 413);
	cr_assert(strstr(got, "\r\n\r\nRequest body too large, max allowed: 1000 bytes"), "%s",
		  got);
	cr_assert(strstr(got, "Content-Type: text/plain; charset=utf-8\r\n") && !strchr(got, '<'));
	/* chunks tell their sum late */
	fd = dial();
	snprintf(request, sizeof(request),
		 "PUT / HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n");
	for (int i = 0; i < 40; i++)
		strcat(request,
		       "100\r\n................................................................"
		       "................................................................"
		       "................................................................"
		       "................................................................\r\n");
	strcat(request, "0\r\n\r\n");
	cr_assert_eq(ask(fd, request), 413, "%s", got);
	cr_assert(strstr(got, "Request body too large, max allowed: 1000 bytes"), "%s", got);
	close(fd);
	memset(request, 'a', sizeof(request));
	memcpy(request, "GET /", 5);
	snprintf(request + 10000, 100, " HTTP/1.1\r\n" HOST "\r\n");
	cr_assert_eq(ask_once(request), 431, "%s", got);
	cr_assert(strstr(got, "Request headers too large, max allowed: 2000 bytes"), "%s", got);
	cr_assert_eq(ask_once("GET / \r\n\r\n"), 400);
	cr_assert(strstr(got, "The request is malformed") && !strchr(got, '<'), "%s", got);
	cr_assert_eq(wm_http_counters(server)[WM_HTTP_TOO_LARGE], 3);
	cr_assert_eq(handled, 0);
	cr_assert_eq(ask_once("GET / HTTP/1.1\r\n" HOST "\r\n"), 200);
}

Test(http_server, slow_and_idle_clients_are_cut_off)
{
	int idle, slow, patient;
	uint64_t end, next = 0;

	limits.read_timeout_ms = 300;
	start();
	idle = dial();
	slow = dial();
	patient = dial();
	UNTIL(wm_http_connections(server) == 3);
	say(patient, "GET /keep HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(kept);
	/* an octet now and then is no progress: the deadline is of the whole request */
	end = wm_clock_ms() + DEADLINE_MS;
	while (wm_http_connections(server) > 1 && wm_clock_ms() < end) {
		if (wm_clock_ms() >= next) {
			send(slow, "G", 1, MSG_NOSIGNAL);
			next = wm_clock_ms() + 20;
		}
		wm_loop_turn(loop, 5);
	}
	cr_assert_eq(wm_http_connections(server), 1);
	cr_assert_eq(wm_http_counters(server)[WM_HTTP_DEADLINE], 2);
	/* a kept request is not idle */
	wm_http_reply_text(kept, 200, "at last");
	got_len = 0;
	UNTIL(whole(patient));
	cr_assert(strstr(got, "at last"));
	close(idle);
	close(slow);
	close(patient);
}

Test(http_server, a_client_that_does_not_read_is_cut_off)
{
	int fd, small = 4096;

	limits.write_timeout_ms = 300;
	start();
	fd = dial();
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	say(fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(handled == 1);
	UNTIL(wm_http_connections(server) == 0);
	cr_assert_eq(wm_http_counters(server)[WM_HTTP_DEADLINE], 1);
	close(fd);
}

Test(http_server, a_stream_that_is_not_read_is_cut_off)
{
	int fd, small = 4096;

	limits.write_timeout_ms = 300;
	start();
	fd = dial();
	setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	say(fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(handled == 1);
	UNTIL(wm_http_connections(server) == 0);
	cr_assert_eq(aborted, 1);
	close(fd);
}

/* Requests and answers on their way share one bound; small ones have room beyond it. */
Test(http_server, memory_is_bounded)
{
	static char request[400000];
	int slow, fd, halves[4];
	int n, small = 4096;

	limits.memory_max = 9u << 20;
	limits.body_max = 1u << 20;
	start();
	slow = dial();
	setsockopt(slow, SOL_SOCKET, SO_RCVBUF, &small, sizeof(small));
	say(slow, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(handled == 1);
	cr_assert_eq(ask_once("GET /big HTTP/1.1\r\n" HOST "\r\n"), 503);
	cr_assert(strstr(got, "Too much is being sent, try again") &&
		  strstr(got, "Retry-After: 1"));
	cr_assert_eq(wm_http_counters(server)[WM_HTTP_NO_ROOM], 1);
	cr_assert_eq(ask_once("GET /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	/* one MiB is left: two requests of 400,000 octets have room, a third has not */
	n = snprintf(request, sizeof(request),
		     "PUT /a HTTP/1.1\r\n" HOST "Content-Length: 900000\r\n\r\n");
	memset(request + n, 'x', sizeof(request) - (size_t)n);
	for (unsigned i = 0; i < 4; i++)
		halves[i] = dial();
	for (unsigned i = 0; i < 4 && wm_http_counters(server)[WM_HTTP_NO_ROOM] == 1; i++) {
		for (size_t sent = 0; sent < sizeof(request);) {
			ssize_t took = send(halves[i], request + sent, sizeof(request) - sent,
					    MSG_NOSIGNAL | MSG_DONTWAIT);

			sent += took > 0 ? (size_t)took : 0;
			if (took < 0 && errno != EAGAIN)
				break;
			wm_loop_turn(loop, 1);
		}
		for (int t = 0; t < 400; t++) /* each takes some KiB */
			wm_loop_turn(loop, 0);
		cr_assert(i >= 2 || wm_http_counters(server)[WM_HTTP_NO_ROOM] == 1, "%u", i);
	}
	cr_assert_eq(wm_http_counters(server)[WM_HTTP_NO_ROOM], 2);
	cr_assert_eq(ask_once("GET /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	close(slow);
	for (unsigned i = 0; i < 4; i++)
		close(halves[i]);
	UNTIL(wm_http_connections(server) == 0);
	/* all is given back */
	fd = dial();
	cr_assert_eq(ask_once("GET /a HTTP/1.1\r\n" HOST "\r\n"), 200);
	say(fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	got_len = 0;
	UNTIL(hear(fd) && got_len > 12);
	cr_assert_eq(atoi(got + 9), 200);
	close(fd);
}

Test(http_server, a_client_that_sends_while_it_is_served_fills_no_memory)
{
	static char junk[65536];
	uint64_t end = wm_clock_ms() + 1000, sent = 0;
	ssize_t n;
	int fd;

	start();
	fd = dial();
	say(fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
	memset(junk, 'x', sizeof(junk));
	/* the answer is not taken; what the kernel's buffers do not hold is refused */
	while (wm_clock_ms() < end) {
		n = send(fd, junk, sizeof(junk), MSG_NOSIGNAL | MSG_DONTWAIT);
		sent += n > 0 ? (uint64_t)n : 0;
		wm_loop_turn(loop, 1);
	}
	cr_assert_lt(sent, 64u << 20);
	cr_assert_eq(handled, 1);
	close(fd);
	UNTIL(wm_http_connections(server) == 0);
}

Test(http_server, connections_are_capped)
{
	int fds[11], more;

	start();
	for (unsigned i = 0; i < 10; i++)
		fds[i] = dial();
	UNTIL(wm_http_connections(server) == 10);
	more = dial();
	cr_assert_eq(ask(more, "GET / HTTP/1.1\r\n" HOST "\r\n"), 429);
	cr_assert(strstr(got, "Too many connections"));
	UNTIL(!hear(more));
	close(more);
	UNTIL(wm_http_connections(server) == 10);
	cr_assert_eq(ask(fds[0], "GET / HTTP/1.1\r\n" HOST "\r\n"), 200);
	close(fds[1]);
	UNTIL(wm_http_connections(server) == 9);
	fds[1] = dial();
	cr_assert_eq(ask(fds[1], "GET / HTTP/1.1\r\n" HOST "\r\n"), 200);
	for (unsigned i = 0; i < 10; i++)
		close(fds[i]);
	UNTIL(wm_http_connections(server) == 0);
}

Test(http_server, a_flood_of_connections_is_closed_unheard)
{
	enum { FLOOD = 200 };
	int fds[FLOOD];
	unsigned closed = 0;

	start();
	for (unsigned i = 0; i < FLOOD; i++)
		fds[i] = dial();
	UNTIL(wm_http_counters(server)[WM_HTTP_ACCEPTED] == FLOOD);
	/* the cap, and 64 that would hear why */
	cr_assert_eq(wm_http_connections(server), limits.per_address_max + 64);
	for (unsigned i = 0; i < FLOOD; i++)
		closed += !hear(fds[i]);
	cr_assert_eq(closed, FLOOD - limits.per_address_max - 64);
	for (unsigned i = 0; i < FLOOD; i++)
		close(fds[i]);
	UNTIL(wm_http_connections(server) == 0);
}

Test(http_server, out_of_descriptors_recovers)
{
	struct rlimit old, low;
	int fds[5], probe;

	limits.read_timeout_ms = 400;
	start();
	probe = dup(0);
	for (unsigned i = 0; i < 5; i++)
		fds[i] = dial();
	cr_assert_eq(getrlimit(RLIMIT_NOFILE, &old), 0);
	low = old;
	low.rlim_cur = (rlim_t)fds[4] + 1;
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &low), 0);
	for (int i = 0; i < 20; i++)
		wm_loop_turn(loop, 1);
	cr_assert_lt(wm_http_connections(server), 5);
	cr_assert_eq(setrlimit(RLIMIT_NOFILE, &old), 0);
	UNTIL(wm_http_counters(server)[WM_HTTP_ACCEPTED] == 5);
	for (unsigned i = 0; i < 5; i++)
		close(fds[i]);
	close(probe);
}

Test(http_server, kept_requests_are_answered_later)
{
	int fd;

	start();
	fd = dial();
	got_len = 0;
	/* what is pipelined behind a kept request waits for it */
	say(fd, "GET /keep HTTP/1.1\r\n" HOST "\r\nGET /next HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(kept);
	for (int i = 0; i < 10; i++)
		wm_loop_turn(loop, 1);
	cr_assert_eq(handled, 1);
	wm_http_reply_text(kept, 200, "late");
	UNTIL((hear(fd), strstr(got, "/next")));
	cr_assert_lt(strstr(got, "late"), strstr(got, "/next"));
	cr_assert_eq(aborted, 0);
	close(fd);
}

Test(http_server, a_client_that_leaves_is_told)
{
	int fd;

	start();
	fd = dial();
	say(fd, "GET /keep HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(kept);
	close(fd);
	UNTIL(aborted == 1);
	cr_assert_eq(wm_http_connections(server), 0);
	cr_assert_eq(wm_http_counters(server)[WM_HTTP_ABORTED], 1);
}

Test(http_server, a_write_is_answered_though_the_client_sends_no_more)
{
	int fd;

	start();
	fd = dial();
	say(fd, "PUT /keep HTTP/1.1\r\n" HOST "Content-Length: 2\r\n\r\nhi");
	cr_assert_eq(shutdown(fd, SHUT_WR), 0);
	UNTIL(kept);
	for (int i = 0; i < 10; i++)
		wm_loop_turn(loop, 1);
	cr_assert_eq(aborted, 0);
	wm_http_reply_text(kept, 200, "done");
	got_len = 0;
	UNTIL(whole(fd));
	cr_assert(strstr(got, "done"));
	close(fd);
	UNTIL(wm_http_connections(server) == 0);
}

Test(http_server, free_aborts_what_is_kept_and_sends_what_was_answered)
{
	int waits, answered;

	start();
	waits = dial();
	answered = dial();
	say(waits, "GET /keep HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(kept);
	say(answered, "GET /x HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(handled == 2);
	wm_http_server_free(server);
	server = NULL;
	cr_assert_eq(aborted, 1);
	got_len = 0;
	UNTIL(!hear(answered));
	cr_assert(strstr(got, "GET /x"));
	UNTIL(!hear(waits));
	close(waits);
	close(answered);
}

/* --- Unix sockets -------------------------------------------------------------------------------
 */

static void make_path(void)
{
	snprintf(dir, sizeof(dir), "/tmp/wm-http-XXXXXX");
	cr_assert(mkdtemp(dir));
	snprintf(path, sizeof(path), "%s/s", dir);
}

static int dial_unix(void)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	return fd;
}

Test(http_server, unix_socket)
{
	char expect[64];
	struct stat st;
	int fd;

	make_path();
	start();
	cr_assert_eq(wm_http_listen_unix(server, path, 0660), 0);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert_eq(st.st_mode & 0777, 0660);
	fd = dial_unix();
	/* no Host is needed where no browser comes */
	cr_assert_eq(ask(fd, "GET /a HTTP/1.1\r\nHost: anything\r\n\r\n"), 200);
	snprintf(expect, sizeof(expect), "local=1 uid=%ld", (long)getuid());
	cr_assert(strstr(got, expect), "%s", got);
	cr_assert_eq(ask(fd, "GET /a HTTP/1.1\r\n\r\n"), 200);
	close(fd);
	wm_http_server_free(server);
	server = NULL;
	cr_assert_eq(stat(path, &st), -1);
}

Test(http_server, a_stale_unix_socket_is_replaced_a_live_one_is_not)
{
	struct sockaddr_un a = {.sun_family = AF_UNIX};
	struct wm_http_server *second;
	struct stat st;
	int fd;

	make_path();
	snprintf(a.sun_path, sizeof(a.sun_path), "%s", path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert_eq(bind(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(listen(fd, 1), 0);
	start();
	cr_assert_eq(wm_http_listen_unix(server, path, 0600), -EADDRINUSE);
	close(fd); /* its process has died */
	cr_assert_eq(wm_http_listen_unix(server, path, 0600), 0);
	fd = dial_unix();
	cr_assert_eq(ask(fd, "GET /a HTTP/1.1\r\n\r\n"), 200);
	close(fd);
	second = wm_http_server_new(loop, &limits, handler, &limits);
	cr_assert_eq(wm_http_listen_unix(second, path, 0600), -EADDRINUSE);
	wm_http_server_free(second);
	cr_assert_eq(stat(path, &st), 0, "the loser must not remove the winner's socket");
}

Test(http_server, a_file_in_the_way_is_left_alone)
{
	struct stat st;
	int fd;

	make_path();
	fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
	cr_assert(fd >= 0);
	close(fd);
	start();
	cr_assert_eq(wm_http_listen_unix(server, path, 0600), -EEXIST);
	cr_assert_eq(stat(path, &st), 0);
	cr_assert(S_ISREG(st.st_mode));
}

Test(http_server, listening_fails_clearly)
{
	uint16_t other;

	start();
	cr_assert_eq(wm_http_listen_tcp(server, "127.0.0.1", port, &other), -EADDRINUSE);
	cr_assert_eq(wm_http_listen_tcp(server, "nowhere", 0, &other), -EINVAL);
	cr_assert_eq(wm_http_listen_tcp(server, "192.0.2.1", 0, &other), -EADDRNOTAVAIL);
	cr_assert_eq(wm_http_listen_tcp(server, "::1", 0, &other), 0);
}

static unsigned open_descriptors(void)
{
	DIR *d = opendir("/proc/self/fd");
	unsigned n = 0;

	while (readdir(d))
		n++;
	closedir(d);
	return n;
}

Test(http_server, no_descriptor_is_lost)
{
	unsigned before;

	start();
	ask_once("GET /a HTTP/1.1\r\n" HOST "\r\n");
	UNTIL(wm_http_connections(server) == 0);
	before = open_descriptors();
	for (int i = 0; i < 20; i++) {
		ask_once("GET /a HTTP/1.1\r\n" HOST "\r\n");
		ask_once("GET /a HTTP/1.1\r\nHost: evil\r\n\r\n");
		close(dial());
	}
	UNTIL(wm_http_connections(server) == 0);
	cr_assert_eq(open_descriptors(), before);
}

Test(http_server, segments_are_decoded)
{
	char buf[8];

	cr_assert(wm_http_segment("a%2Fb", 5, buf, sizeof(buf)));
	cr_assert_str_eq(buf, "a/b");
	cr_assert(wm_http_segment("a+b", 3, buf, sizeof(buf)));
	cr_assert_str_eq(buf, "a+b");
	cr_assert(wm_http_segment("%41%42%43%44%45%46%47", 21, buf, sizeof(buf)));
	cr_assert_str_eq(buf, "ABCDEFG");
	cr_assert(!wm_http_segment("%41%42%43%44%45%46%47%48", 24, buf, sizeof(buf)));
	cr_assert(!wm_http_segment("12345678", 8, buf, sizeof(buf)));
	cr_assert(!wm_http_segment("%0", 2, buf, sizeof(buf)));
	cr_assert(!wm_http_segment("%zz", 3, buf, sizeof(buf)));
	cr_assert(!wm_http_segment("a%00", 4, buf, sizeof(buf)));
}

/* Requests with octets changed, cut, doubled and sent in pieces: whatever comes, the server goes on
 * and no request reaches the handler with a body longer than allowed. */
Test(http_server, garbage_is_survived)
{
	static const char *const seeds[] = {
		"GET /a?x=1&y=%41 HTTP/1.1\r\n" HOST "\r\n",
		"PUT /a HTTP/1.1\r\n" HOST "Content-Length: 5\r\n\r\nhello",
		"PUT /a HTTP/1.1\r\n" HOST
		"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX: y\r\n\r\n",
		"PUT /a HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 5\r\n\r\nhello",
		"GET /keep HTTP/1.1\r\n" HOST "\r\nGET /b HTTP/1.1\r\n" HOST "\r\n",
	};
	unsigned seed = (unsigned)wm_random64();
	char request[512];

	fprintf(stderr, "seed=%u\n", seed);
	start();
	for (unsigned n = 0; n < 3000; n++) {
		const char *from = seeds[n % WM_ARRAY_LEN(seeds)];
		size_t len = strlen(from), cut;
		int fd = dial();

		memcpy(request, from, len);
		for (int i = rand_r(&seed) % 4; i > 0; i--)
			request[(size_t)rand_r(&seed) % len] = (char)rand_r(&seed);
		cut = (size_t)rand_r(&seed) % (len + 1);
		send(fd, request, cut, MSG_NOSIGNAL);
		wm_loop_turn(loop, 0);
		send(fd, request + cut, len - cut, MSG_NOSIGNAL);
		wm_loop_turn(loop, 0);
		if (rand_r(&seed) & 1)
			shutdown(fd, SHUT_WR);
		wm_loop_turn(loop, 0);
		close(fd);
		wm_loop_turn(loop, 0);
	}
	UNTIL(wm_http_connections(server) == 0);
	cr_assert_eq(ask_once("GET /a HTTP/1.1\r\n" HOST "\r\n"), 200);
}
