/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model sync */
/* An endpoint that is no etcd, or one that went mad: whatever it says, nothing that is here is
 * lost, and the next endpoint is asked. */
#include "etcd_help.h"

#include <pthread.h>

enum mode {
	GARBAGE,
	EMPTY,
	TYPES,
	DEEP,
	ENDLESS,
	HEADERS,
	REDIRECT,
	CLOSED,
	SILENT,
	WATCH_GARBAGE, /* from here on all but the watch is answered well */
	WATCH_ENDLESS,
	WATCH_OTHER,
	WATCH_CANCELED,
	WATCH_ERROR,
	WATCH_CLOSED,
	WATCH_CUT,
	WATCH_SILENT,
	MODES,
};

static int listener = -1;
static uint16_t port;
static _Atomic enum mode mode;
static _Atomic unsigned watches;

static bool say(int fd, const char *s, size_t len)
{
	while (len) {
		ssize_t n = send(fd, s, len, MSG_NOSIGNAL);

		if (n <= 0)
			return false;
		s += n;
		len -= (size_t)n;
	}
	return true;
}

static bool body(int fd, const char *s)
{
	char head[128];
	int n = snprintf(head, sizeof(head), "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n",
			 strlen(s));

	return say(fd, head, (size_t)n) && say(fd, s, strlen(s));
}

/* Chunked, as streams are. */
static bool chunk(int fd, const char *s, size_t len)
{
	char head[32];
	int n = snprintf(head, sizeof(head), "%zx\r\n", len);

	return say(fd, head, (size_t)n) && say(fd, s, len) && say(fd, "\r\n", 2);
}

static bool endless(int fd, const char *head, bool chunked)
{
	static char filler[65536];

	memset(filler, 'x', sizeof(filler) - 2);
	memcpy(filler, "X: ", 3);
	memcpy(filler + sizeof(filler) - 2, chunked ? "xx" : "\r\n", 2);
	if (!say(fd, head, strlen(head)))
		return false;
	while (chunked ? chunk(fd, filler, sizeof(filler)) : say(fd, filler, sizeof(filler)))
		;
	return false;
}

static bool watch(int fd)
{
	static const char open[] = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
	static const char created[] = "{\"result\":{\"header\":{\"cluster_id\":\"7\",\"revision\":"
				      "\"9\"},\"created\":true}}\n";
	static const char *const lines[MODES] = {
		[WATCH_GARBAGE] = "}{ nonsense\n",
		/* NOLINTNEXTLINE(bugprone-suspicious-missing-comma) */
		[WATCH_OTHER] = "{\"result\":{\"header\":{\"cluster_id\":\"8\",\"revision\":\"9\"},"
				"\"events\":[{\"type\":\"DELETE\",\"kv\":{\"key\":\"YQ==\"}}]}}\n",
		[WATCH_CANCELED] =
			"{\"result\":{\"header\":{\"cluster_id\":\"7\"},\"canceled\":true,"
			"\"compact_revision\":\"5\"}}\n",
		[WATCH_ERROR] = "{\"error\":{\"grpc_code\":13,\"message\":\"mad\"}}\n",
		[WATCH_CUT] = "{\"result\":{\"events\":[{\"type\":\"DEL",
	};

	watches++;
	if (mode == WATCH_SILENT)
		return true;
	if (mode == WATCH_CLOSED || !say(fd, open, strlen(open)) ||
	    !chunk(fd, created, strlen(created)))
		return false;
	if (mode == WATCH_ENDLESS)
		return endless(fd, "", true);
	chunk(fd, lines[mode], strlen(lines[mode]));
	return false;
}

/* A cluster that has one object of node 2, and its node. */
static bool well(int fd, const char *path)
{
	/* o/00000000-0000-0000-0000-000000000002/db: version (1, 1), "kept" */
	static const char range[] =
		"{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9\"},\"kvs\":[{\"key\":\"%s\","
		"\"mod_revision\":\"3\",\"value\":\"%s\"}],\"count\":\"1\"}";
	static const char key[] = PREFIX "o/00000000-0000-0000-0000-000000000002/db";
	static const char value[44] = "WE\1\0\0\0\0\1\0\0\0\0\0\0\0\1"
				      "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\2"
				      "\0\0\0\0\0\0\0\0kept";
	static const char alphabet[] =
		"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
	const char *from[2] = {key, value};
	size_t lens[2] = {strlen(key), sizeof(value)};
	char text[2][160] = {{0}}, out[1024];

	if (strstr(path, "/watch"))
		return watch(fd);
	if (strstr(path, "/lease/grant"))
		return body(fd, "{\"ID\":\"77\",\"TTL\":\"2\"}");
	if (strstr(path, "/lease/"))
		return body(fd, "{\"result\":{\"ID\":\"77\",\"TTL\":\"2\"}}");
	if (!strstr(path, "/kv/range"))
		return body(fd, "{\"header\":{\"cluster_id\":\"7\",\"revision\":\"9\"},"
				"\"succeeded\":true}");
	for (int i = 0; i < 2; i++) {
		char *to = text[i];

		for (size_t at = 0; at < lens[i]; at += 3) {
			uint32_t bits = 0;

			for (size_t k = 0; k < 3; k++)
				bits = bits << 8 |
				       (at + k < lens[i] ? (unsigned char)from[i][at + k] : 0);
			for (size_t k = 0; k < 4; k++)
				*to++ = at + k > lens[i] ? '='
							 : alphabet[bits >> (18 - 6 * k) & 63];
		}
	}
	snprintf(out, sizeof(out), range, text[0], text[1]);
	return body(fd, out);
}

/* @return false: close the connection. */
static bool reply(int fd, const char *path)
{
	static const char moved[] = "HTTP/1.1 302 F\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n";
	static char deep[4096];

	switch ((int)mode) {
	case GARBAGE:
		return body(fd, "<html>It works!</html>");
	case EMPTY:
		return body(fd, "");
	case TYPES:
		return body(fd, "{\"header\":{\"revision\":[]},\"kvs\":{\"key\":7},\"ID\":true}");
	case DEEP:
		memset(deep, '[', sizeof(deep) - 1);
		return body(fd, deep);
	case ENDLESS:
		return endless(fd, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", true);
	case HEADERS:
		return endless(fd, "HTTP/1.1 200 OK\r\n", false);
	case REDIRECT:
		return say(fd, moved, strlen(moved));
	case CLOSED:
		return false;
	case SILENT:
		return true;
	default:
		return well(fd, path);
	}
}

static void *serve(void *arg)
{
	int fd = (int)(intptr_t)arg;
	char req[65536];
	size_t len = 0;

	for (;;) {
		ssize_t n = recv(fd, req + len, sizeof(req) - 1 - len, 0);
		char path[64] = "", *end, *field;
		size_t want;

		if (n <= 0)
			break;
		len += (size_t)n;
		req[len] = '\0';
		end = strstr(req, "\r\n\r\n");
		field = strcasestr(req, "content-length:");
		want = field ? strtoul(field + 15, NULL, 10) : 0;
		if (!end || len < (size_t)(end + 4 - req) + want)
			continue;
		sscanf(req, "%*s %63s", path);
		len = 0;
		if (!reply(fd, path))
			break;
	}
	close(fd);
	return NULL;
}

static void *accept_all(void *arg)
{
	(void)arg;
	for (;;) {
		int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		pthread_t thread;

		if (fd < 0)
			return NULL;
		if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd))
			close(fd);
		else
			pthread_detach(thread);
	}
}

static struct etcd_peer etcd;
static struct agent one;
static pthread_t acceptor;
static char url[64];

static void setup(void)
{
	struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
	socklen_t len = sizeof(a);

	listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
	cr_assert(listener >= 0 && !bind(listener, (struct sockaddr *)&a, sizeof(a)) &&
		  !listen(listener, 64) && !getsockname(listener, (struct sockaddr *)&a, &len));
	port = ntohs(a.sin_port);
	snprintf(url, sizeof(url), "http://127.0.0.1:%u", port);
	cr_assert_eq(pthread_create(&acceptor, NULL, accept_all, NULL), 0);
	loop = wm_loop_new();
	agent_init(&one, 1);
}

static void teardown(void)
{
	agent_done(&one);
	wm_loop_free(loop);
	shutdown(listener, SHUT_RDWR);
	pthread_join(acceptor, NULL);
	close(listener);
	etcd_peer_stop(&etcd);
}

TestSuite(etcd_hostile, .init = setup, .fini = teardown, .timeout = 600);

/* What the store has of another. */
static void know_of_two(void)
{
	struct wm_replica_change c = {.origin = {{[15] = 2}},
				      .version = {.origin = WM_ORIGIN_OWN, .epoch = 1, .seq = 1},
				      .key = {"db", 2},
				      .object = "kept",
				      .len = 4};

	set_row(&one, &c);
}

static void kept(void)
{
	cr_assert_eq(one.rows_count, 2);
	cr_assert_eq(one.gone, 0);
	cr_assert_str_eq(one.rows[0].text, "kept");
}

Test(etcd_hostile, what_is_no_etcd_is_passed_over)
{
	const char *only[] = {url, NULL}, *both[] = {url, etcd.url, NULL};
	struct wm_etcd_state s;

	etcd_peer_start(&etcd);
	know_of_two();
	own(&one, "web-1", "waits");
	for (mode = 0; mode < SILENT; mode++) {
		agent_start(&one, agent_config(&one, only));
		until(stats_of(&one).failed >= 3);
		cr_assert_eq(phase_of(&one), WM_ETCD_CONNECTING, "mode %u", mode);
		cr_assert(*error_of(&one));
		kept();
		agent_kill(&one);
	}
	/* the silent one costs its deadline, and the other has all of it then */
	agent_start(&one, agent_config(&one, both));
	own(&one, "web-1", "arrives");
	until(phase_of(&one) == WM_ETCD_FOLLOWING && !pending(&one));
	wm_etcd_state(one.etcd, &s);
	cr_assert_str_eq(s.endpoint, etcd.url);
}

Test(etcd_hostile, a_mad_watch_loses_nothing)
{
	const char *only[] = {url, NULL};

	know_of_two();
	own(&one, "web-1", "mine");
	for (mode = WATCH_GARBAGE; mode < MODES; mode++) {
		watches = 0;
		agent_start(&one, agent_config(&one, only));
		until(watches >= 3); /* it is opened again and again */
		kept();
		cr_assert(stats_of(&one).failed || stats_of(&one).compacted);
		agent_kill(&one);
	}
}
