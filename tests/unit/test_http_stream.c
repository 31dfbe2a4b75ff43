/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net */
/* What carries the octets of a connection: every one of them goes through it. */
#include "http_help.h"

TestSuite(http_stream, .init = setup, .fini = teardown, .timeout = 300);

/* --- another kind of stream: an octet at a time, and often not now -----------------------------
 */
static unsigned asked, farewells;

/* What was read of the socket and not asked for yet. */
struct held {
	char octets[100];
	size_t len;
};

static int drip_open(struct wm_stream *s)
{
	s->state = calloc(1, sizeof(struct held));
	return s->state ? 0 : -ENOMEM;
}

static ssize_t drip_write(struct wm_stream *s, const struct iovec *parts, int count)
{
	cr_assert(count > 0 && s->state);
	while (!parts->iov_len)
		parts++;
	/* much in one call now and then, or 200,000 octets take long */
	if (asked++ % 3 == 0)
		return -EAGAIN;
	return send(s->fd, parts->iov_base, asked % 7 || parts->iov_len < 999 ? 1 : 997,
		    MSG_NOSIGNAL);
}

static ssize_t drip_read(struct wm_stream *s, void *buf, size_t len)
{
	struct held *h = s->state;
	ssize_t n;

	cr_assert(len && h);
	if (!h->len) {
		n = asked++ % 3 ? recv(s->fd, h->octets, sizeof(h->octets), MSG_DONTWAIT) : -EAGAIN;
		if (n <= 0)
			return n < 0 ? -EAGAIN : 0;
		h->len = (size_t)n;
	}
	memcpy(buf, h->octets, 1);
	memmove(h->octets, h->octets + 1, --h->len);
	return 1;
}

static bool drip_holds(const struct wm_stream *s)
{
	return ((const struct held *)s->state)->len > 0;
}

static void drip_close(struct wm_stream *s)
{
	free(s->state);
	farewells++;
}

static const struct wm_stream_kind drip = {.open = drip_open,
					   .write = drip_write,
					   .read = drip_read,
					   .holds = drip_holds,
					   .close = drip_close};

/* All that comes for @p request, until the server closes or, with @p want, so much has come; but
 * for the date. */
static size_t all_of(const char *request, size_t want)
{
	uint64_t end = wm_clock_ms() + (want ? DEADLINE_MS : 300);
	bool open = true;
	char *date;
	int fd = dial();

	got_len = 0;
	say(fd, request);
	while (open && (!want || got_len < want) && wm_clock_ms() < end) {
		cr_assert_eq(wm_loop_turn(loop, 1), 0);
		open = hear(fd);
	}
	close(fd);
	want = got_len;
	for (date = got; (date = strstr(date, "Date: "));)
		memset(date, '-', strcspn(date, "\r"));
	UNTIL(wm_http_connections(server) == 0);
	return want;
}

Test(http_stream, every_octet_goes_through_the_stream)
{
	static const char *const requests[] = {
		"GET /a HTTP/1.1\r\n" HOST "\r\n",
		"GET /some HTTP/1.1\r\n" HOST "\r\n",
		"GET /a HTTP/1.1\r\n" HOST "\r\nGET /some HTTP/1.1\r\n" HOST "\r\n",
		"GET /some HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
		"GET /some HTTP/1.0\r\n\r\n",
		"HEAD /a HTTP/1.1\r\n" HOST "\r\n",
		"GET /pieces HTTP/1.1\r\n" HOST "\r\nGET /a HTTP/1.1\r\n" HOST "\r\n",
		"GET /pieces HTTP/1.1\r\n" HOST "Connection: close\r\n\r\n",
		"GET /pieces HTTP/1.0\r\n\r\n",
		"PUT /a HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
		"PUT /a HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 1\r\n\r\n",
		"GET /a HTTP/1.1\r\n\r\n",
		"GET / \r\n\r\n",
		"PUT /a HTTP/1.1\r\n" HOST "Content-Length: 1001\r\n\r\n",
	};
	static char plain[sizeof(got)];

	start();
	for (unsigned i = 0; i < WM_ARRAY_LEN(requests); i++) {
		size_t len;

		server->kind = &wm_stream_socket;
		len = all_of(requests[i], 0);
		memcpy(plain, got, len);
		server->kind = &drip;
		cr_assert_eq(all_of(requests[i], len), len, "%u", i);
		cr_assert_arr_eq(got, plain, len, "%u: %.300s\n--- %.300s", i, plain, got);
	}
	cr_assert_eq(farewells, WM_ARRAY_LEN(requests));
	/* one that is refused as a connection too much */
	limits.per_address_max = 0;
	wm_http_server_free(server);
	start();
	server->kind = &drip;
	cr_assert_eq(ask_once("GET / HTTP/1.1\r\n" HOST "\r\n"), 429);
}

static ssize_t broken_write(struct wm_stream *s, const struct iovec *parts, int count)
{
	(void)s;
	(void)parts;
	(void)count;
	return -EPIPE;
}

/* An error ends the connection, from the loop and not under who writes. */
Test(http_stream, a_broken_stream_ends_its_connection)
{
	static const struct wm_stream_kind broken = {.open = drip_open,
						     .write = broken_write,
						     .read = drip_read,
						     .holds = drip_holds,
						     .close = drip_close};
	static const char *const requests[] = {
		"GET /a HTTP/1.1\r\n" HOST "\r\n", "GET /stream HTTP/1.1\r\n" HOST "\r\n",
		"HEAD /a HTTP/1.1\r\n" HOST "\r\n", "GET / \r\n\r\n"};

	start();
	server->kind = &broken;
	for (unsigned i = 0; i < WM_ARRAY_LEN(requests); i++) {
		int fd = dial();

		say(fd, requests[i]);
		UNTIL(!hear(fd));
		close(fd);
		UNTIL(wm_http_connections(server) == 0);
	}
	cr_assert_eq(aborted, 1);
	cr_assert_eq(farewells, WM_ARRAY_LEN(requests));
}
