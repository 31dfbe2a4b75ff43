/* SPDX-License-Identifier: Apache-2.0 */
/* http_conn.c - the octets of a connection. evhttp parses and never touches a socket: its
 * bufferevent has no descriptor and is a pair of buffers. What comes is read here by conn_read()
 * and put into the one; what leaves goes through wm_http_conn_write(), and the other holds what the
 * stream did not take yet, whoever wrote it. */
#include "http_internal.h"
#include "userspace/base/clock.h"

#include <errno.h>
#include <event2/buffer.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_MAX    (64u << 10)	 /* octets of one read: most requests come in one */
#define WRITE_MAX   (256u << 10) /* octets of what waits that go out in one turn: some 100 us */
#define WRITE_PARTS 16		 /* pieces of one write */

static struct evbuffer *waiting(const struct wm_http_conn *c)
{
	return bufferevent_get_output(c->bev);
}

/* --- writing ------------------------------------------------------------------------------------
 */

/* The one place where octets leave. An error is remembered, and ends the connection in
 * on_writable(), where nobody up the stack holds it. @return octets that were taken. */
static size_t conn_write(struct wm_http_conn *c, const struct iovec *parts, int count)
{
	ssize_t n = c->error ? c->error : c->stream.kind->write(&c->stream, parts, count);

	if (n < 0 && n != -EAGAIN)
		c->error = (int)n;
	return n > 0 ? (size_t)n : 0;
}

static void write_waiting(struct wm_http_conn *c)
{
	struct evbuffer *out = waiting(c);
	struct evbuffer_iovec v[WRITE_PARTS];
	size_t total = 0, n;
	int count;

	while (evbuffer_get_length(out) && total < WRITE_MAX) {
		count = evbuffer_peek(out, WRITE_MAX, NULL, v, WRITE_PARTS);
		n = conn_write(c, v, count < WRITE_PARTS ? count : WRITE_PARTS);
		if (!n)
			break;
		evbuffer_drain(out, n);
		total += n;
	}
	/* an answer that goes on has no end to wait for: its client has to take some of it */
	if (c->streams && (total || !evbuffer_get_length(out)))
		c->deadline_ms = evbuffer_get_length(out)
					 ? wm_clock_ms() + c->server->lim.write_timeout_ms
					 : 0;
}

static void let_go(const void *data, size_t len, void *kept)
{
	(void)data;
	(void)len;
	wm_http_kept_unref(kept);
}

/* Have what follows the first @p n octets wait. */
static int wait_for(struct wm_http_conn *c, const struct iovec *parts, int count, size_t n,
		    struct wm_http_kept *kept)
{
	struct evbuffer *out = waiting(c);

	for (int i = 0; i < count; i++) {
		size_t skip = n < parts[i].iov_len ? n : parts[i].iov_len;

		n -= skip;
		if (skip < parts[i].iov_len &&
		    evbuffer_add(out, (const char *)parts[i].iov_base + skip,
				 parts[i].iov_len - skip))
			return -ENOMEM;
	}
	if (!kept || n == kept->len)
		return 0;
	if (evbuffer_add_reference(out, kept->data + n, kept->len - n, let_go, kept))
		return -ENOMEM;
	wm_http_kept_ref(kept);
	return 0;
}

int wm_http_conn_write(struct wm_http_conn *c, const struct iovec *parts, int count,
		       struct wm_http_kept *kept)
{
	struct iovec all[WM_HTTP_PARTS + 1];
	size_t n = 0;
	int err;

	if (wm_http_conn_waits(c))
		write_waiting(c);
	if (count)
		memcpy(all, parts, (size_t)count * sizeof(*parts));
	if (kept)
		all[count] = (struct iovec){kept->data, kept->len};
	if ((count || kept) && !wm_http_conn_waits(c))
		n = conn_write(c, all, count + (kept != NULL));
	err = wait_for(c, parts, count, n, kept);
	if (c->streams && !c->deadline_ms && wm_http_conn_waits(c))
		c->deadline_ms = wm_clock_ms() + c->server->lim.write_timeout_ms;
	return err;
}

bool wm_http_conn_waits(const struct wm_http_conn *c)
{
	return evbuffer_get_length(waiting(c)) > 0;
}

static void on_writable(evutil_socket_t fd, short what, void *arg)
{
	struct wm_http_conn *c = arg;

	(void)fd;
	(void)what;
	write_waiting(c);
	if (c->error) {
		evhttp_connection_free(c->evcon);
		return;
	}
	if (wm_http_conn_waits(c)) {
		event_add(c->writable, NULL);
		return;
	}
	if (c->aside) {
		c->aside = false;
		wm_http_sent(c);
		return;
	}
	/* evhttp waits for the end of what it wrote, or of what we said it did */
	if (bufferevent_get_enabled(c->bev) & EV_WRITE)
		bufferevent_trigger(c->bev, EV_WRITE, 0);
}

/* --- reading ------------------------------------------------------------------------------------
 */

static ssize_t conn_read(struct wm_http_conn *c, void *buf, size_t len)
{
	return c->stream.kind->read(&c->stream, buf, len);
}

/* The socket will not tell of what the stream holds. */
static void look_again(struct wm_http_conn *c)
{
	if (c->reads && c->stream.kind->holds && c->stream.kind->holds(&c->stream))
		event_active(c->readable, EV_READ, 0);
}

static void stop_reading(struct wm_http_conn *c)
{
	if (c->reads)
		event_del(c->readable);
	c->reads = false;
}

void wm_http_conn_listen(struct wm_http_conn *c)
{
	if (!c->reads)
		c->reads = !event_add(c->readable, NULL);
	look_again(c);
}

/* While a request is served or answered the next one stays in the kernel, so that a client that
 * sends on and on is held by its window. */
static void on_readable(evutil_socket_t fd, short what, void *arg)
{
	struct wm_http_conn *c = arg;
	struct evbuffer *in = bufferevent_get_input(c->bev);
	struct wm_http_server *s = c->server;
	static char buf[READ_MAX];
	bool whole;
	ssize_t n;

	(void)fd;
	(void)what;
	if (c->phase == WM_HTTP_SERVING || c->phase == WM_HTTP_SENDING ||
	    evbuffer_get_length(in) >= s->input_max) {
		stop_reading(c);
		return;
	}
	n = conn_read(c, buf, sizeof(buf));
	if (n == -EAGAIN)
		return;
	look_again(c);
	whole = n > 0 && c->phase == WM_HTTP_IDLE && !evbuffer_get_length(in);
	if (whole && (wm_http_recalled(c, buf, (size_t)n) || wm_http_read_plain(c, buf, (size_t)n)))
		return;
	if (n > 0 && !evbuffer_add(in, buf, (size_t)n)) {
		s->raw_of = whole ? c : NULL;
		s->raw = buf;
		s->raw_len = (size_t)n;
		bufferevent_trigger(c->bev, EV_READ, 0);
		s->raw_of = NULL;
		return;
	}
	if (n > 0)
		s->counters[WM_HTTP_NO_MEMORY]++;
	stop_reading(c);
	bufferevent_disable(c->bev, EV_READ);
	bufferevent_trigger_event(c->bev, BEV_EVENT_READING | (n ? BEV_EVENT_ERROR : BEV_EVENT_EOF),
				  0);
}

/* --- beginning and end --------------------------------------------------------------------------
 */

/* evhttp wrote, or we did what the stream does not take just now. */
static void on_waiting(struct evbuffer *b, const struct evbuffer_cb_info *info, void *arg)
{
	struct wm_http_conn *c = arg;

	(void)b;
	if (info->n_added && !event_pending(c->writable, EV_WRITE, NULL))
		event_add(c->writable, NULL);
}

int wm_http_conn_open(struct wm_http_conn *c)
{
	struct event_base *base = wm_loop_base(c->server->loop);
	int fd = bufferevent_getfd(c->bev), err = 0;

	c->readable = event_new(base, fd, EV_READ | EV_PERSIST, on_readable, c);
	c->writable = event_new(base, fd, EV_WRITE, on_writable, c);
	if (!c->readable || !c->writable || !evbuffer_add_cb(waiting(c), on_waiting, c))
		return -ENOMEM;
	if (bufferevent_setfd(c->bev, -1))
		return -EIO;
	c->stream.fd = fd;
	if (c->stream.kind->open)
		err = c->stream.kind->open(&c->stream);
	c->opened = !err;
	if (!err)
		wm_http_conn_listen(c);
	return err;
}

void wm_http_conn_close(struct wm_http_conn *c)
{
	if (c->opened && c->stream.kind->close)
		c->stream.kind->close(&c->stream);
	if (c->readable)
		event_free(c->readable);
	if (c->writable)
		event_free(c->writable);
	c->readable = c->writable = NULL;
}

void wm_http_conn_free(struct wm_http_conn *c)
{
	if (c->stream.fd >= 0)
		close(c->stream.fd);
	free(c);
}
