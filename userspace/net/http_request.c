/* SPDX-License-Identifier: Apache-2.0 */
/* http_request.c - one request from evhttp's callback to the answer. What evhttp lets pass and a
 * proxy in front could read otherwise is refused here before a handler sees it. */
#include "http_internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/hex.h"
#include "userspace/base/macros.h"

#include <arpa/inet.h>
#include <errno.h>
#include <event2/buffer.h>
#include <event2/keyvalq_struct.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <time.h>

#define TEXT_MAX   1024	      /* octets of a one-sentence answer; longer ones are cut */
#define GONE_BATCH 64	      /* clients that left, of one turn of the loop */
#define HEAD_MAX   (16 << 10) /* octets of an answer's head: ours have some 500 */

static const struct {
	enum evhttp_cmd_type ev;
	int ours;
	const char *name;
	bool body; /* evhttp reads one; where it does not, a body would be the next request */
} methods[] = {
	{EVHTTP_REQ_GET, WM_GET, "GET", true},
	{EVHTTP_REQ_PUT, WM_PUT, "PUT", true},
	{EVHTTP_REQ_POST, WM_POST, "POST", true},
	{EVHTTP_REQ_DELETE, WM_DELETE, "DELETE", true},
	{EVHTTP_REQ_OPTIONS, WM_OPTIONS, "OPTIONS", true},
	{EVHTTP_REQ_HEAD, WM_HEAD, "HEAD", false},
	{EVHTTP_REQ_PATCH, 0, "PATCH", true},
	{EVHTTP_REQ_TRACE, 0, "TRACE", false},
	{EVHTTP_REQ_CONNECT, 0, "CONNECT", true},
};

/* Place in the table; its end for a method that evhttp does not know. */
static unsigned method_of(const struct wm_http_request *r)
{
	enum evhttp_cmd_type t;
	unsigned i = 0;

	if (r->plain)
		return r->plain->method;
	t = evhttp_request_get_command(r->ev);
	while (i < WM_ARRAY_LEN(methods) && methods[i].ev != t)
		i++;
	return i;
}

unsigned wm_http_method_find(const char *name, size_t len)
{
	unsigned i = 0;

	while (i < WM_ARRAY_LEN(methods) &&
	       (strncmp(methods[i].name, name, len) != 0 || methods[i].name[len]))
		i++;
	return i;
}

bool wm_http_method_known(unsigned m)
{
	return m < WM_ARRAY_LEN(methods) && methods[m].body && methods[m].ours;
}

/* --- percent-decoding --------------------------------------------------------------------------
 */
/* Decode into @p out, which has room for @p len + 1 octets and may be @p s. */
static bool decode(const char *s, size_t len, bool plus, char *out)
{
	size_t n = 0;

	for (size_t i = 0; i < len; i++) {
		char c = s[i];

		if (c == '%') {
			int hi = i + 2 < len ? wm_hex_digit(s[i + 1]) : -1,
			    lo = hi < 0 ? -1 : wm_hex_digit(s[i + 2]);

			if (lo < 0)
				return false;
			c = (char)(hi << 4 | lo);
			i += 2;
		} else if (c == '+' && plus) {
			c = ' ';
		}
		if (!c)
			return false;
		out[n++] = c;
	}
	out[n] = 0;
	return true;
}

bool wm_http_segment(const char *raw, size_t len, char *buf, size_t cap)
{
	size_t escapes = 0;

	for (size_t i = 0; i < len; i++)
		escapes += raw[i] == '%';
	/* an escape shrinks by two octets if it is sound, and is refused if it is not */
	if (3 * escapes > len || len - 2 * escapes >= cap)
		return false;
	if (len < cap)
		return decode(raw, len, false, buf);
	_cleanup_free_ char *big = malloc(len + 1);

	if (!big || !decode(raw, len, false, big))
		return false;
	memcpy(buf, big, strlen(big) + 1);
	return true;
}

int wm_http_parse_query(struct wm_http_request *r, const char *query)
{
	size_t len = strlen(query), at = 0;
	unsigned count = 1, n = 0;
	char *text;

	for (size_t i = 0; i < len; i++)
		count += query[i] == '&';
	if (count > WM_HTTP_PARAMS_MAX)
		return -E2BIG;
	r->params = malloc(count * sizeof(*r->params) + len + 1 + count);
	if (!r->params)
		return -ENOMEM;
	text = (char *)(r->params + count);
	while (at < len) {
		size_t end = at + strcspn(query + at, "&"), eq = at;

		while (eq < end && query[eq] != '=')
			eq++;
		if (end > at) {
			size_t value = eq < end ? eq + 1 : end;

			r->params[n].name = text;
			if (!decode(query + at, eq - at, true, text))
				return -EINVAL;
			text += strlen(text) + 1;
			r->params[n].value = text;
			if (!decode(query + value, end - value, true, text))
				return -EINVAL;
			text += strlen(text) + 1;
			n++;
		}
		at = end + 1;
	}
	r->params_count = n;
	return 0;
}

/* --- what is refused ---------------------------------------------------------------------------
 */

static bool digits(const char *s)
{
	return *s && !s[strspn(s, "0123456789")];
}

/* @return NULL or what is wrong with the framing. RFC 9112 6.3, 11.2. */
static const char *judge_framing(const struct wm_http_request *r)
{
	const char *length = NULL, *coding = NULL;
	unsigned lengths = 0, codings = 0, hosts = 0, m = method_of(r);
	struct evkeyval *h;

	TAILQ_FOREACH (h, evhttp_request_get_input_headers(r->ev), next) {
		size_t n = strlen(h->key);

		if (n && (h->key[n - 1] == ' ' || h->key[n - 1] == '\t'))
			return "A header's name must not be followed by a space";
		if (strcasecmp(h->key, "Content-Length") == 0) {
			length = h->value;
			lengths++;
		} else if (strcasecmp(h->key, "Transfer-Encoding") == 0) {
			coding = h->value;
			codings++;
		} else if (strcasecmp(h->key, "Host") == 0) {
			hosts++;
		}
	}
	if (length && coding)
		return "Content-Length and Transfer-Encoding must not be given together";
	if (lengths > 1 || codings > 1 || hosts > 1)
		return "Content-Length, Transfer-Encoding and Host must not be repeated";
	if (length && !digits(length))
		return "Content-Length must be a decimal number";
	if (coding && strcasecmp(coding, "chunked") != 0)
		return "Transfer-Encoding must be chunked";
	if ((m == WM_ARRAY_LEN(methods) || !methods[m].body) &&
	    (coding || (length && strspn(length, "0") != strlen(length))))
		return "A request of this method must not have a body";
	return NULL;
}

static bool literal(const char *s, size_t len)
{
	char text[INET6_ADDRSTRLEN];
	struct in6_addr v6;
	struct in_addr v4;

	if (len > 2 && s[0] == '[' && s[len - 1] == ']') {
		s++;
		len -= 2;
		if (len >= sizeof(text))
			return false;
		memcpy(text, s, len);
		text[len] = 0;
		return inet_pton(AF_INET6, text, &v6) == 1;
	}
	if (len >= sizeof(text))
		return false;
	memcpy(text, s, len);
	text[len] = 0;
	return inet_pton(AF_INET, text, &v4) == 1;
}

/* A page of a browser whose name was made to point here is told from a client by the name. */
bool wm_http_host_known(const struct wm_http_server *s, const char *host)
{
	size_t len = *host == '[' ? strcspn(host, "]") + 1 : strcspn(host, ":");

	if (len > strlen(host) || len > WM_HTTP_HOST_MAX)
		return false;
	if (host[len] && (host[len] != ':' || (host[len + 1] && !digits(host + len + 1))))
		return false;
	if (literal(host, len))
		return true;
	if (len && host[len - 1] == '.')
		len--;
	if (len == 9 && strncasecmp(host, "localhost", 9) == 0)
		return true;
	for (unsigned i = 0; i < s->hosts_count; i++) {
		if (strlen(s->hosts[i]) == len && strncasecmp(s->hosts[i], host, len) == 0)
			return true;
	}
	return false;
}

static void refuse(struct wm_http_request *r, enum wm_http_counter c, int status, const char *text)
{
	r->conn->server->counters[c]++;
	wm_http_set_header(r, "Connection", "close");
	wm_http_reply_text(r, status, "%s", text);
}

/* @return true when the request was answered here. */
static bool query_refused(struct wm_http_request *r, const char *query)
{
	int err = query ? wm_http_parse_query(r, query) : 0;
	char text[128];

	if (!err)
		return false;
	snprintf(text, sizeof(text), "The query must have at most %d parameters",
		 WM_HTTP_PARAMS_MAX);
	wm_http_reply_text(r, err == -ENOMEM ? 503 : 400, "%s",
			   err == -ENOMEM  ? "Out of memory"
			   : err == -E2BIG ? text
					   : "The query has a broken percent escape");
	return true;
}

/* @return true when the request was answered here. */
static bool refused(struct wm_http_request *r)
{
	struct wm_http_server *s = r->conn->server;
	const struct evhttp_uri *uri = evhttp_request_get_evhttp_uri(r->ev);
	const char *host = wm_http_header(r, "Host"), *why = judge_framing(r);
	char text[128];
	bool version = r->ev->major == 1 && r->ev->minor >= 0;

	/* evhttp answers in the version that the client named, whatever that is */
	r->ev->major = 1;
	if (!version || r->ev->minor > 1)
		r->ev->minor = 1;
	if (!version) {
		refuse(r, WM_HTTP_BAD_FRAMING, 400, "The HTTP version must be 1.0 or 1.1");
		return true;
	}
	if (why) {
		refuse(r, WM_HTTP_BAD_FRAMING, 400, why);
		return true;
	}
	if (!uri || evhttp_uri_get_host(uri) || evhttp_uri_get_scheme(uri)) {
		refuse(r, WM_HTTP_BAD_FRAMING, 400, "The request's target must be a path");
		return true;
	}
	if (!r->conn->local && !host && r->ev->minor > 0) {
		refuse(r, WM_HTTP_BAD_HOST, 400, "Host is missing");
		return true;
	}
	if (!r->conn->local && host && !wm_http_host_known(s, host)) {
		refuse(r, WM_HTTP_BAD_HOST, 403,
		       "Host must be an IP address, localhost or a configured name");
		return true;
	}
	if (r->conn->over) {
		wm_http_set_header(r, "Connection", "close");
		wm_http_set_header(r, "Retry-After", "1");
		wm_http_reply_text(r, 429, "Too many connections");
		return true;
	}
	if (r->ev->headers_size > s->lim.headers_max) {
		snprintf(text, sizeof(text), "Request headers too large, max allowed: %zu bytes",
			 s->lim.headers_max);
		refuse(r, WM_HTTP_TOO_LARGE, 431, text);
		return true;
	}
	if (evbuffer_get_length(evhttp_request_get_input_buffer(r->ev)) > s->lim.body_max) {
		snprintf(text, sizeof(text), "Request body too large, max allowed: %zu bytes",
			 s->lim.body_max);
		refuse(r, WM_HTTP_TOO_LARGE, 413, text);
		return true;
	}
	return query_refused(r, evhttp_uri_get_query(uri));
}

static void serve(struct wm_http_conn *c, struct wm_http_request *r)
{
	struct wm_http_server *s = c->server;

	s->counters[WM_HTTP_REQUESTS]++;
	wm_loop_tired(s->loop); /* the turn counts from here, if from nowhere before */
	s->fn(s->arg, r);
	wm_loop_breathe(s->loop);
}

static void begin(struct wm_http_conn *c, struct wm_http_request *r)
{
	r->conn = c;
	wm_buf_init(&r->head, HEAD_MAX);
	c->request = r;
	c->phase = WM_HTTP_SERVING;
	c->deadline_ms = 0;
}

void wm_http_on_request(struct evhttp_request *ev, void *server)
{
	struct wm_http_server *s = server;
	struct evhttp_connection *evcon = evhttp_request_get_connection(ev);
	struct wm_http_conn *c = wm_http_conn_of(s, evcon);
	struct wm_http_request *r = c ? calloc(1, sizeof(*r)) : NULL;

	if (!r) {
		s->counters[WM_HTTP_NO_MEMORY]++;
		evhttp_send_error(ev, 503, "Service Unavailable");
		return;
	}
	r->ev = ev;
	begin(c, r);
	if (!refused(r))
		serve(c, r);
}

void wm_http_on_plain(struct wm_http_conn *c, struct wm_http_plain *p)
{
	struct wm_http_request *r = calloc(1, sizeof(*r));

	if (!r) {
		free(p);
		wm_http_lose_answer(c);
		return;
	}
	r->plain = p;
	begin(c, r);
	if (!query_refused(r, p->query))
		serve(c, r);
}

/* --- reading ------------------------------------------------------------------------------------
 */

enum wm_http_method wm_http_method(const struct wm_http_request *r)
{
	unsigned m = method_of(r);

	return m < WM_ARRAY_LEN(methods) ? (enum wm_http_method)methods[m].ours : 0;
}

const char *wm_http_method_name(const struct wm_http_request *r)
{
	unsigned m = method_of(r);

	return m < WM_ARRAY_LEN(methods) ? methods[m].name : "of this name";
}

const char *wm_http_path(const struct wm_http_request *r)
{
	const char *path;

	if (r->plain)
		return r->plain->path;
	path = evhttp_uri_get_path(evhttp_request_get_evhttp_uri(r->ev));
	return path && *path ? path : "/";
}

const char *wm_http_raw_query(const struct wm_http_request *r)
{
	return r->plain ? r->plain->query
			: evhttp_uri_get_query(evhttp_request_get_evhttp_uri(r->ev));
}

const char *wm_http_query(const struct wm_http_request *r, const char *name)
{
	for (unsigned i = 0; i < r->params_count; i++) {
		if (strcmp(r->params[i].name, name) == 0)
			return r->params[i].value;
	}
	return NULL;
}

bool wm_http_query_next(const struct wm_http_request *r, size_t *pos, const char **ret_name,
			const char **ret_value)
{
	if (*pos >= r->params_count)
		return false;
	*ret_name = r->params[*pos].name;
	*ret_value = r->params[*pos].value;
	(*pos)++;
	return true;
}

const char *wm_http_header(const struct wm_http_request *r, const char *name)
{
	const struct wm_http_plain *p = r->plain;

	if (!p)
		return evhttp_find_header(evhttp_request_get_input_headers(r->ev), name);
	for (unsigned i = 0; i < p->headers_count; i++) {
		if (strcasecmp(p->headers[i].name, name) == 0)
			return p->headers[i].value;
	}
	return NULL;
}

const char *wm_http_body(const struct wm_http_request *r, size_t *ret_len)
{
	struct evbuffer *in;
	const char *body;

	if (r->plain) {
		*ret_len = r->plain->body_len;
		return r->plain->body;
	}
	in = evhttp_request_get_input_buffer(r->ev);
	body = (const char *)evbuffer_pullup(in, -1);
	*ret_len = body ? evbuffer_get_length(in) : 0;
	return body ? body : "";
}

bool wm_http_is_local(const struct wm_http_request *r)
{
	return r->conn && r->conn->local;
}

bool wm_http_is_narrow(const struct wm_http_request *r)
{
	return r->conn && r->conn->narrow;
}

long wm_http_peer_uid(const struct wm_http_request *r)
{
	return r->conn ? r->conn->uid : -1;
}

const struct in6_addr *wm_http_peer_address(const struct wm_http_request *r)
{
	return r->conn && r->conn->peer ? &r->conn->peer->address : NULL;
}

/* --- answering ----------------------------------------------------------------------------------
 */

static void unwatch(struct wm_http_request *r)
{
	if (r->watched)
		epoll_ctl(r->conn->server->gone_fd, EPOLL_CTL_DEL, r->conn->stream.fd, NULL);
	r->watched = false;
}

static void request_free(struct wm_http_request *r)
{
	if (r->conn) {
		unwatch(r);
		r->conn->request = NULL;
	}
	free(r->params);
	free(r->plain);
	wm_buf_done(&r->head);
	free(r);
}

static const char *phrase(int status)
{
	static const struct {
		int status;
		const char *text;
	} all[] = {
		{200, "OK"},
		{400, "Bad Request"},
		{403, "Forbidden"},
		{404, "Not Found"},
		{405, "Method Not Allowed"},
		{409, "Conflict"},
		{413, "Content Too Large"},
		{429, "Too Many Requests"},
		{431, "Request Header Fields Too Large"},
		{500, "Internal Server Error"},
		{501, "Not Implemented"},
		{503, "Service Unavailable"},
		{507, "Insufficient Storage"},
	};

	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		if (all[i].status == status)
			return all[i].text;
	}
	return "Status";
}

void wm_http_reword(struct wm_http_conn *c)
{
	struct wm_http_server *s = c->server;
	struct evbuffer *out = bufferevent_get_output(c->bev);
	char head[32] = "", text[160];
	int status;

	/* "HTTP/1.1 413", and whatever version the client named; what was sent of an earlier answer
	 * is gone, evhttp reads no request before */
	evbuffer_copyout(out, head, sizeof(head) - 1);
	status = memcmp(head, "HTTP/", 5) == 0 ? (int)strtol(head + strcspn(head, " "), NULL, 10)
					       : 0;
	if (status != 400 && status != 413)
		return;
	/* headers without an end are too long, for evhttp now 400 and now 413 */
	if (!c->headed && (status == 413 || c->received > 2 * s->lim.headers_max))
		status = 431;
	if (status == 400)
		snprintf(text, sizeof(text), "The request is malformed");
	else
		snprintf(text, sizeof(text), "Request %s too large, max allowed: %zu bytes",
			 c->headed ? "body" : "headers",
			 c->headed ? s->lim.body_max : s->lim.headers_max);
	s->counters[status == 400 ? WM_HTTP_BAD_FRAMING : WM_HTTP_TOO_LARGE]++;
	evbuffer_drain(out, evbuffer_get_length(out));
	evbuffer_add_printf(out,
			    "HTTP/1.1 %d %s\r\nContent-Type: text/plain; charset=utf-8\r\n"
			    "Content-Length: %zu\r\nConnection: close\r\n\r\n%s",
			    status, phrase(status), strlen(text), text);
}

void wm_http_sent(struct wm_http_conn *c)
{
	c->phase = WM_HTTP_IDLE;
	wm_http_hold(c, 0);
	c->deadline_ms = wm_clock_ms() + c->server->lim.read_timeout_ms;
	wm_http_conn_listen(c);
}

static void on_sent(struct evhttp_request *ev, void *arg)
{
	(void)ev;
	wm_http_sent(arg);
}

int wm_http_set_header(struct wm_http_request *r, const char *name, const char *value)
{
	if (strpbrk(name, "\r\n:") || strpbrk(value, "\r\n"))
		return -EINVAL;
	wm_buf_puts(&r->head, name);
	wm_buf_puts(&r->head, ": ");
	wm_buf_puts(&r->head, value);
	wm_buf_puts(&r->head, "\r\n");
	return r->head.failed ? -ENOMEM : 0;
}

void wm_http_add_lines(struct wm_http_request *r, const char *lines)
{
	wm_buf_puts(&r->head, lines);
}

/* Let evhttp have the lines of the head. */
static void hand_over(struct wm_http_request *r)
{
	struct evkeyvalq *to = evhttp_request_get_output_headers(r->ev);
	char *line = r->head.len ? r->head.data : NULL, *end, *value;

	while (line && *line) {
		end = strchr(line, '\r');
		value = strchr(line, ':');
		*value = *end = 0;
		evhttp_add_header(to, line, value + 2);
		line = end + 2;
	}
}

/* RFC 9110 6.6.1; made once a second. */
const char *wm_http_date_line(void)
{
	static char text[64];
	static time_t made;
	time_t now = (time_t)wm_clock_wall_s();
	struct tm tm;

	if (now != made && gmtime_r(&now, &tm)) {
		strftime(text, sizeof(text), "Date: %a, %d %b %Y %H:%M:%S GMT\r\n", &tm);
		made = now;
	}
	return text;
}

/* Does the client say only what goes without saying in HTTP/1.1? */
static bool stays(const struct evkeyvalq *in)
{
	const char *says = evhttp_find_header(in, "Connection");

	return !says || strcasecmp(says, "keep-alive") == 0;
}

/* All but a few. After a request that came in chunks evhttp would end the answer as one in chunks.
 */
bool wm_http_is_plain(const struct wm_http_request *r)
{
	if (r->plain)
		return true;
	return r->ev->major == 1 && r->ev->minor == 1 && !r->ev->chunked &&
	       stays(evhttp_request_get_input_headers(r->ev)) && !r->head.failed &&
	       !(r->head.len && strstr(r->head.data, "Connection: ")) &&
	       !wm_http_conn_waits(r->conn);
}

void wm_http_lose_answer(struct wm_http_conn *c)
{
	c->server->counters[WM_HTTP_NO_MEMORY]++;
	evhttp_connection_free(c->evcon);
}

/* To evhttp it is an answer that was written bit by bit and ends here. */
void wm_http_end_answer(struct wm_http_conn *c, struct evhttp_request *ev, int err)
{
	if (err) {
		wm_http_lose_answer(c);
		return;
	}
	if (!ev) {
		if (wm_http_conn_waits(c))
			c->aside = true;
		else
			wm_http_sent(c);
		return;
	}
	if (wm_http_conn_waits(c)) {
		bufferevent_enable(c->bev, EV_WRITE);
		evhttp_send_reply_end(ev); /* ends it when the rest is out */
		return;
	}
	/* evhttp may be our caller, and a request ends better where it does not expect one to */
	c->sent = ev;
	TAILQ_INSERT_TAIL(&c->server->sent, c, sent_entry);
	if (!c->server->paused)
		event_active(c->server->finish, EV_TIMEOUT, 0);
}

/* Head and body go out in one call, as most answers fit it. To let evhttp write both costs a dozen
 * of allocations and two more turns of the event machinery, twice as much as the rest of an answer.
 */
static void send_plain(struct wm_http_conn *c, struct evhttp_request *ev, struct wm_buf *head,
		       const void *body, size_t len)
{
	struct iovec parts[2] = {{head->data, head->len}, {(void *)(uintptr_t)body, len}};

	wm_http_end_answer(c, ev, wm_http_conn_write(c, parts, len ? 2 : 1, NULL));
}

void wm_http_finish(struct wm_http_server *s)
{
	struct evhttp_request *ev;
	struct wm_http_conn *c;

	while (!s->paused && (c = TAILQ_FIRST(&s->sent))) {
		ev = c->sent;
		c->sent = NULL;
		TAILQ_REMOVE(&s->sent, c, sent_entry);
		evhttp_send_reply_end(ev); /* may close the connection */
	}
}

void wm_http_pause(struct wm_http_server *s, bool pause)
{
	s->paused = pause;
	if (!pause && !TAILQ_EMPTY(&s->sent))
		event_active(s->finish, EV_TIMEOUT, 0);
}

static void send_by_evhttp(struct wm_http_conn *c, struct evhttp_request *ev, int status,
			   const void *body, size_t len)
{
	struct evbuffer *out = NULL;

	if (len) {
		out = evbuffer_new();
		if (!out || evbuffer_add(out, body, len)) {
			c->server->counters[WM_HTTP_NO_MEMORY]++;
			status = 503;
		}
	}
	evhttp_send_reply(ev, status, phrase(status), out);
	if (out)
		evbuffer_free(out);
}

bool wm_http_has_room(const struct wm_http_conn *c, size_t len)
{
	const struct wm_http_server *s = c->server;

	return len <= WM_HTTP_SMALL || s->memory - c->held + len <= s->lim.memory_max;
}

void wm_http_begin_answer(struct wm_http_request *r, size_t len)
{
	struct wm_http_conn *c = r->conn;
	struct evhttp_request *ev = r->ev;

	request_free(r);
	wm_http_hold(c, len);
	c->phase = WM_HTTP_SENDING;
	c->deadline_ms = wm_clock_ms() + c->server->lim.write_timeout_ms;
	if (ev)
		evhttp_request_set_on_complete_cb(ev, on_sent, c);
}

/* The head of an answer in one piece; most have no body. */
static void put_head(struct wm_buf *b, const struct wm_http_request *r, int status, size_t len)
{
	if (status == 200)
		wm_buf_puts(b, "HTTP/1.1 200 OK\r\n");
	else
		wm_buf_printf(b, "HTTP/1.1 %d %s\r\n", status, phrase(status));
	wm_buf_puts(b, wm_http_date_line());
	if (r->head.len)
		wm_buf_put(b, r->head.data, r->head.len);
	if (len)
		wm_buf_printf(b, "Content-Length: %zu\r\n\r\n", len);
	else
		wm_buf_puts(b, "Content-Length: 0\r\n\r\n");
}

void wm_http_reply(struct wm_http_request *r, int status, const char *content_type,
		   const void *body, size_t len)
{
	static const char full[] = "Too much is being sent, try again";
	struct wm_http_conn *c = r->conn; /* NULL: it came over no socket */
	struct evhttp_request *ev = r->ev;
	static struct wm_buf head = {.max = HEAD_MAX}; /* one at a time: kept */
	char length[24];
	bool bare;

	if (!c) {
		wm_http_inner_reply(r, status, content_type, body, len);
		return;
	}
	if (!wm_http_has_room(c, len)) {
		c->server->counters[WM_HTTP_NO_ROOM]++;
		wm_buf_reset(&r->head);
		wm_http_set_header(r, "Retry-After", "1");
		content_type = "text/plain; charset=utf-8";
		status = 503;
		body = full;
		len = sizeof(full) - 1;
	}
	if (content_type)
		wm_http_set_header(r, "Content-Type", content_type);
	/* evhttp would send one to HEAD too, without its length */
	bare = wm_http_is_head(r);
	wm_buf_reset(&head);
	if (wm_http_is_plain(r))
		put_head(&head, r, status, len);
	if (bare && !head.len) {
		snprintf(length, sizeof(length), "%zu", len);
		wm_http_set_header(r, "Content-Length", length);
	}
	if (bare)
		len = 0;
	head.failed |= !ev && r->head.failed;
	if (ev && (!head.len || head.failed))
		hand_over(r);
	wm_http_begin_answer(r, len);
	if (!ev && head.failed)
		wm_http_lose_answer(c);
	else if (head.len && !head.failed)
		send_plain(c, ev, &head, body, len);
	else
		send_by_evhttp(c, ev, status, body, len);
}

void wm_http_reply_text(struct wm_http_request *r, int status, const char *fmt, ...)
{
	char text[TEXT_MAX];
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	if (n < 0)
		n = 0;
	if ((size_t)n >= sizeof(text))
		n = (int)sizeof(text) - 1;
	wm_http_reply(r, status, "text/plain; charset=utf-8", text, (size_t)n);
}

/* --- kept requests ------------------------------------------------------------------------------
 */

void wm_http_request_abort(struct wm_http_request *r)
{
	struct wm_http_conn *c = r->conn;
	struct evhttp_request *ev = r->ev;

	c->server->counters[WM_HTTP_ABORTED]++;
	unwatch(r);
	c->request = NULL;
	r->conn = NULL;
	if (r->on_abort)
		r->on_abort(r->abort_arg);
	request_free(r);
	/* evhttp frees what is on the connection; what it took off is left to us */
	if (ev && !evhttp_request_get_connection(ev))
		evhttp_request_free(ev);
}

void wm_http_on_gone(evutil_socket_t fd, short what, void *server)
{
	struct epoll_event ev;

	(void)what;
	(void)server;
	/* one by one: what is run for one may end others */
	for (int n = 0; n < GONE_BATCH && epoll_wait(fd, &ev, 1, 0) == 1; n++) {
		struct wm_http_request *r = ev.data.ptr;

		evhttp_connection_free(r->conn->evcon);
	}
}

void wm_http_on_abort(struct wm_http_request *r, void (*fn)(void *arg), void *arg)
{
	struct wm_http_conn *c = r->conn;
	enum wm_http_method m = wm_http_method(r);
	struct epoll_event ev = {.events = EPOLLRDHUP | EPOLLONESHOT};

	r->on_abort = fn;
	r->abort_arg = arg;
	if (!c || r->watched || m == WM_PUT || m == WM_POST || m == WM_DELETE)
		return;
	/* evhttp does not read while a request is served, and must not: it would exit on what is
	 * pipelined. EPOLLRDHUP sees the end without reading. Not by an event of libevent's: that
	 * makes of a reset one that it was not asked for, and asks again at once, for ever. */
	ev.data.ptr = r;
	r->watched = !epoll_ctl(c->server->gone_fd, EPOLL_CTL_ADD, c->stream.fd, &ev);
	if (!r->watched)
		c->server->counters[WM_HTTP_NO_MEMORY]++;
}

/* --- answers that go on ----------------------------------------------------------------------- */

static int minor(const struct wm_http_request *r)
{
	return r->ev ? r->ev->minor : 1;
}

/* After what evhttp would close by itself, and what has no other end than that. */
static bool closes(const struct wm_http_request *r)
{
	const char *says = wm_http_header(r, "Connection");

	return !minor(r) || (says && strcasecmp(says, "close") == 0);
}

static void write_stream(struct wm_http_request *r, const struct iovec *parts, int count)
{
	if (!r->lost)
		r->lost = wm_http_conn_write(r->conn, parts, count, NULL) != 0;
}

void wm_http_stream_begin(struct wm_http_request *r, const char *content_type)
{
	struct wm_buf head;
	struct iovec part;

	r->conn->streams = true;
	r->chunks = minor(r) > 0;
	if (closes(r)) {
		wm_http_set_header(r, "Connection", "close");
		if (r->ev)
			evhttp_add_header(evhttp_request_get_output_headers(r->ev), "Connection",
					  "close");
	}
	if (r->chunks)
		wm_http_set_header(r, "Transfer-Encoding", "chunked");
	wm_http_set_header(r, "Content-Type", content_type);
	wm_buf_init(&head, HEAD_MAX);
	wm_buf_printf(&head, "HTTP/1.%d 200 OK\r\n", minor(r));
	wm_buf_puts(&head, wm_http_date_line());
	wm_buf_put(&head, r->head.data, r->head.len);
	wm_buf_puts(&head, "\r\n");
	part = (struct iovec){head.data, head.len};
	r->lost = head.failed || r->head.failed;
	write_stream(r, &part, 1);
	wm_buf_done(&head);
}

int wm_http_stream_send(struct wm_http_request *r, const void *data, size_t len)
{
	static char line_end[] = "\r\n";
	char size[24];
	struct iovec parts[3] = {
		{size, r->chunks ? (size_t)snprintf(size, sizeof(size), "%zx\r\n", len) : 0},
		{(void *)(uintptr_t)data, len},
		{line_end, r->chunks ? 2 : 0}};

	if (len)
		write_stream(r, parts, 3);
	return r->lost ? -ENOMEM : 0;
}

void wm_http_stream_end(struct wm_http_request *r)
{
	struct wm_http_conn *c = r->conn;
	struct evhttp_request *ev = r->ev;
	static char end[] = "0\r\n\r\n";
	struct iovec last = {end, 5};
	bool lost;

	if (r->chunks)
		write_stream(r, &last, 1);
	lost = r->lost;
	c->streams = false;
	wm_http_begin_answer(r, 0);
	wm_http_end_answer(c, ev, lost ? -ENOMEM : 0);
}

size_t wm_http_stream_backlog(const struct wm_http_request *r)
{
	return evbuffer_get_length(bufferevent_get_output(r->conn->bev));
}

void wm_http_stream_drop(struct wm_http_request *r)
{
	evhttp_connection_free(r->conn->evcon);
}
