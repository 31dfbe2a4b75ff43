/* SPDX-License-Identifier: Apache-2.0 */
/* http_help.h - the HTTP server over real sockets: client and server share the thread, the client
 * side does not block. Nothing asserts how fast a thing is, only that it happens before a generous
 * deadline. */
#pragma once
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/net/http_internal.h"
#include "userspace/net/http_server.h"

#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define DEADLINE_MS 90000
#define BODY_MAX    1000

static struct wm_loop *loop;
static struct wm_http_server *server;
static struct wm_http_limits limits;
static uint16_t port;
static struct wm_http_request *kept;
static unsigned handled, aborted;
static char seen[4096], body_seen[4096];
static char got[262144]; /* what a client has received */
static size_t got_len;
static char dir[64], path[96];

#define UNTIL(condition)                                                                           \
	do {                                                                                       \
		uint64_t end_ = wm_clock_ms() + DEADLINE_MS;                                       \
		while (!(condition) && wm_clock_ms() < end_)                                       \
			cr_assert_eq(wm_loop_turn(loop, 5), 0);                                    \
		cr_assert(condition);                                                              \
	} while (0)

static inline void on_abort(void *arg)
{
	cr_assert_eq(arg, &aborted);
	aborted++;
	kept = NULL;
}

static inline void show_params(const struct wm_http_request *r)
{
	const char *name, *value;
	size_t pos = 0, n = 0;

	while (wm_http_query_next(r, &pos, &name, &value))
		n += (size_t)snprintf(seen + n, sizeof(seen) - n, "%s=%s;", name, value);
}

/* /keep waits; /big sends a lot; everything else is echoed as text. */
static inline void handler(void *arg, struct wm_http_request *r)
{
	size_t len;
	const char *body = wm_http_body(r, &len);

	cr_assert_eq(arg, &limits);
	handled++;
	seen[0] = 0;
	show_params(r);
	cr_assert_lt(len, sizeof(body_seen));
	memcpy(body_seen, body, len);
	body_seen[len] = 0;
	if (strcmp(wm_http_path(r), "/keep") == 0) {
		kept = r;
		wm_http_on_abort(r, on_abort, &aborted);
		return;
	}
	if (strcmp(wm_http_path(r), "/stream") == 0) {
		static char much[8u << 20];

		kept = r;
		wm_http_on_abort(r, on_abort, &aborted);
		wm_http_stream_begin(r, "text/plain");
		cr_assert_eq(wm_http_stream_send(r, much, sizeof(much)), 0);
		return;
	}
	if (strcmp(wm_http_path(r), "/pieces") == 0) {
		wm_http_on_abort(r, on_abort, &aborted);
		wm_http_stream_begin(r, "text/plain");
		cr_assert_eq(wm_http_stream_send(r, "first", 5), 0);
		cr_assert_eq(wm_http_stream_send(r, "", 0), 0);
		cr_assert_eq(wm_http_stream_send(r, " and last", 9), 0);
		wm_http_stream_end(r);
		return;
	}
	if (strcmp(wm_http_path(r), "/some") == 0) {
		static char some[200000];

		memset(some, 's', sizeof(some));
		wm_http_reply(r, 200, NULL, some, sizeof(some));
		return;
	}
	if (strcmp(wm_http_path(r), "/big") == 0) {
		static char big[8u << 20];

		wm_http_reply(r, 200, NULL, big, sizeof(big));
		return;
	}
	cr_assert_eq(wm_http_set_header(r, "X-Test", "yes"), 0);
	cr_assert_eq(wm_http_set_header(r, "X-Bad", "a\r\nX-Evil: 1"), -EINVAL);
	wm_http_reply_text(r, 200, "%s %s local=%d uid=%ld body=%zu", wm_http_method_name(r),
			   wm_http_path(r), wm_http_is_local(r), wm_http_peer_uid(r), len);
}

static inline void setup(void)
{
	limits = (struct wm_http_limits){.body_max = BODY_MAX,
					 .headers_max = 2000,
					 .connections_max = 20,
					 .per_address_max = 10,
					 .read_timeout_ms = 20000,
					 .write_timeout_ms = 20000};
	handled = aborted = 0;
	kept = NULL;
	signal(SIGPIPE, SIG_IGN);
	loop = wm_loop_new();
	cr_assert(loop);
}

static inline void start(void)
{
	server = wm_http_server_new(loop, &limits, handler, &limits);
	cr_assert(server);
	cr_assert_eq(wm_http_listen_tcp(server, "127.0.0.1", 0, &port), 0);
	cr_assert_neq(port, 0);
}

static inline void teardown(void)
{
	wm_http_server_free(server);
	server = NULL;
	wm_loop_free(loop);
	if (path[0])
		unlink(path);
	if (dir[0])
		rmdir(dir);
	dir[0] = path[0] = 0;
}

static inline int dial(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET,
				.sin_port = htons(port),
				.sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	cr_assert(fd >= 0);
	cr_assert_eq(connect(fd, (struct sockaddr *)&a, sizeof(a)), 0);
	cr_assert_eq(fcntl(fd, F_SETFL, O_NONBLOCK), 0);
	return fd;
}

static inline void say(int fd, const char *s)
{
	cr_assert_eq(send(fd, s, strlen(s), MSG_NOSIGNAL), (ssize_t)strlen(s));
}

/* One read. @return false once the server has closed. */
static inline bool hear(int fd)
{
	ssize_t n = recv(fd, got + got_len, sizeof(got) - 1 - got_len, MSG_DONTWAIT);

	if (n > 0)
		got_len += (size_t)n;
	got[got_len] = 0;
	return n > 0 || (n < 0 && errno == EAGAIN);
}

/* A whole answer with Content-Length is there. */
static inline bool whole(int fd)
{
	const char *end, *length;

	hear(fd);
	end = strstr(got, "\r\n\r\n");
	length = strcasestr(got, "Content-Length: ");
	return end && length && strlen(end + 4) >= strtoul(length + 16, NULL, 10);
}

/* Send, wait for the answer. @return its status. */
static inline int ask(int fd, const char *request)
{
	got_len = 0;
	got[0] = 0;
	say(fd, request);
	UNTIL(whole(fd));
	return atoi(got + 9);
}

static inline int ask_once(const char *request)
{
	int fd = dial(), status = ask(fd, request);

	close(fd);
	return status;
}

#define HOST "Host: 127.0.0.1\r\n"
