/* SPDX-License-Identifier: Apache-2.0 */
/* http_kept.c - answers that are given more than once: made once, shared by every connection that
 * they are on their way to, and given to a request whose octets are known without reading it again.
 */
#include "http_internal.h"
#include "userspace/base/clock.h"

#include <event2/buffer.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct wm_http_kept *wm_http_kept_ref(struct wm_http_kept *k)
{
	k->refs++;
	return k;
}

void wm_http_kept_unref(struct wm_http_kept *k)
{
	if (k && !--k->refs)
		free(k);
}

size_t wm_http_kept_size(const struct wm_http_kept *k)
{
	return sizeof(*k) + k->len;
}

/* Lines of the head that are the request's so far, and the body. */
static struct wm_http_kept *make(const struct wm_buf *lines, const void *body, size_t len)
{
	char length[48];
	size_t n = (size_t)snprintf(length, sizeof(length), "Content-Length: %zu\r\n\r\n", len);
	struct wm_http_kept *k = malloc(sizeof(*k) + lines->len + n + len);

	if (!k)
		return NULL;
	k->refs = 1;
	k->lines = lines->len;
	k->body = lines->len + n;
	k->len = k->body + len;
	if (lines->len)
		memcpy(k->data, lines->data, lines->len);
	memcpy(k->data + k->lines, length, n);
	if (len)
		memcpy(k->data + k->body, body, len);
	return k;
}

static const char *varying(const struct wm_http_server *s)
{
	return s->varying ? s->varying(s->varying_arg) : "";
}

static int write_kept(struct wm_http_conn *c, struct wm_http_kept *k)
{
	static const char status[] = "HTTP/1.1 200 OK\r\n";
	const char *date = wm_http_date_line(), *lines = varying(c->server);
	struct iovec parts[WM_HTTP_PARTS] = {{(char *)(uintptr_t)status, sizeof(status) - 1},
					     {(char *)(uintptr_t)date, strlen(date)},
					     {(char *)(uintptr_t)lines, strlen(lines)}};

	return wm_http_conn_write(c, parts, WM_HTTP_PARTS, k);
}

void wm_http_reply_kept(struct wm_http_request *r, struct wm_http_kept *k)
{
	struct wm_http_conn *c = r->conn;
	struct evhttp_request *ev = r->ev;

	wm_buf_reset(&r->head);
	if (!wm_http_is_plain(r) || wm_http_is_head(r) || !wm_http_has_room(c, k->len)) {
		wm_buf_puts(&r->head, varying(c->server));
		wm_buf_put(&r->head, k->data, k->lines);
		wm_http_reply(r, 200, NULL, k->data + k->body, k->len - k->body);
		return;
	}
	wm_http_begin_answer(r, k->len);
	wm_http_end_answer(c, ev, write_kept(c, k));
}

struct wm_http_kept *wm_http_reply_keep(struct wm_http_request *r, const char *content_type,
					const void *body, size_t len)
{
	struct wm_http_kept *k = NULL;

	wm_http_set_header(r, "Content-Type", content_type);
	if (!r->head.failed)
		k = make(&r->head, body, len);
	if (k) {
		wm_http_reply_kept(r, k);
	} else {
		wm_buf_puts(&r->head, varying(r->conn->server));
		wm_http_reply(r, 200, NULL, body, len);
	}
	return k;
}

/* --- requests that are known by their octets ---------------------------------------------------
 */

void wm_http_on_varying(struct wm_http_server *s, const char *(*fn)(void *arg), void *arg)
{
	s->varying = fn;
	s->varying_arg = arg;
}

void wm_http_on_raw(struct wm_http_server *s, wm_http_recall fn, void *arg)
{
	s->recall = fn;
	s->recall_arg = arg;
}

const char *wm_http_raw(const struct wm_http_request *r, size_t *ret_len)
{
	const struct wm_http_server *s = r->conn->server;

	if (s->raw_of != r->conn || !wm_http_is_plain(r) || wm_http_is_head(r) ||
	    evbuffer_get_length(bufferevent_get_input(r->conn->bev)) ||
	    (r->plain ? r->plain->body_len
		      : evbuffer_get_length(evhttp_request_get_input_buffer(r->ev))))
		return NULL;
	*ret_len = s->raw_len;
	return s->raw;
}

bool wm_http_recalled(struct wm_http_conn *c, const char *raw, size_t len)
{
	struct wm_http_server *s = c->server;
	struct wm_http_kept *k = NULL;

	if (s->recall && !c->over && !c->narrow)
		k = s->recall(s->recall_arg, raw, len, c->local);
	if (!k || !wm_http_has_room(c, k->len))
		return false;
	s->counters[WM_HTTP_REQUESTS]++;
	wm_loop_tired(s->loop);
	wm_http_hold(c, k->len);
	c->phase = WM_HTTP_SENDING;
	c->deadline_ms = wm_clock_ms() + s->lim.write_timeout_ms;
	wm_http_end_answer(c, NULL, write_kept(c, k));
	wm_loop_breathe(s->loop);
	return true;
}
