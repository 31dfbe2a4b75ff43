/* SPDX-License-Identifier: Apache-2.0 */
/* respond.c - answers: JSON with Consul's headers, texts, and writes that wait for their commit. */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/err.h"
#include "userspace/base/plain.h"
#include "userspace/sync/sync.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TEXT_MAX  1024		 /* octets of a sentence; longer ones are cut */
#define PLAIN_MAX (4 * TEXT_MAX) /* and escaped: \x1b for one octet */
#define BODY_KEPT                                                                                  \
	(1u << 20) /* octets of scratch that stay allocated: an answer of a thousand instances */

static const char json_type[] = "application/json";

static void count(struct wm_call *c, int status)
{
	uint64_t *n = c->api->counters;

	if (status >= 500)
		n[WM_API_FAILED]++;
	else if (status >= 400)
		n[WM_API_REFUSED]++;
	else if (wm_http_method(c->req) == WM_GET)
		n[WM_API_READS]++;
	else
		n[WM_API_WRITES]++;
}

void wm_answer_constant_headers(struct wm_call *c)
{
	wm_http_add_lines(c->req, "X-Consul-Default-Acl-Policy: allow\r\n"
				  "Vary: Accept-Encoding\r\n");
}

static void reply(struct wm_call *c, int status, const char *type, const void *body, size_t len)
{
	struct wm_http_request *req = c->req;

	count(c, status);
	wm_answer_constant_headers(c);
	c->req = NULL; /* tells blocking.c that the request is answered */
	wm_http_reply(req, status, type, body, len);
}

void wm_answer_begin(struct wm_call *c, struct wm_json *j)
{
	struct wm_buf *b = &c->api->body;

	if (b->cap > BODY_KEPT) {
		wm_buf_done(b);
		wm_buf_init(b, WM_API_ANSWER_MAX);
	}
	wm_buf_reset(b);
	wm_rows_reset(&c->api->rows);
	c->api->rendered_shape = c->api->rendered_index = 0;
	wm_json_init(j, b, c->pretty);
}

/* What Consul's agents cache. */
static bool cacheable(const struct wm_route *r)
{
	return strncmp(r->pattern, "/v1/health/", 11) == 0 ||
	       strncmp(r->pattern, "/v1/catalog/", 12) == 0;
}

static bool has_token(const struct wm_http_request *r)
{
	const char *query = wm_http_query(r, "token"), *bearer = wm_http_header(r, "Authorization");
	const char *own = wm_http_header(r, "X-Consul-Token");

	return (query && *query) || (own && *own) ||
	       (bearer && strncasecmp(bearer, "Bearer ", 7) == 0);
}

void wm_contact(const struct wm_api *a, struct wm_sync_contact *ret)
{
	*ret = (struct wm_sync_contact){.known = true};
	if (a->d.sync)
		wm_sync_contact(a->d.sync, ret);
}

const char *wm_contact_lines(void *api)
{
	struct wm_api *a = api;
	struct wm_sync_contact is;

	if (!a->d.sync)
		return "X-Consul-Knownleader: true\r\nX-Consul-Lastcontact: 0\r\n";
	wm_contact(a, &is);
	snprintf(a->contact, sizeof(a->contact),
		 "X-Consul-Knownleader: %s\r\nX-Consul-Lastcontact: %" PRIu64 "\r\n",
		 is.known ? "true" : "false", is.ms);
	return a->contact;
}

static void set_contact(struct wm_call *c)
{
	struct wm_sync_contact is;
	char text[24];

	wm_contact(c->api, &is);
	snprintf(text, sizeof(text), "%" PRIu64, is.ms);
	wm_http_set_header(c->req, "X-Consul-Knownleader", is.known ? "true" : "false");
	wm_http_set_header(c->req, "X-Consul-Lastcontact", text);
}

static void set_index_headers(struct wm_call *c, uint64_t index)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, index);
	wm_http_set_header(c->req, "X-Consul-Index", text);
	wm_http_set_header(c->req, "X-Consul-Effective-Consistency",
			   c->stale	   ? "stale"
			   : c->consistent ? "consistent"
					   : "leader");
	wm_http_set_header(c->req, "X-Consul-Query-Backend", "blocking-query");
	if (has_token(c->req)) /* tokens are not looked at: nothing is left out for want of one */
		wm_http_set_header(c->req, "X-Consul-Results-Filtered-By-Acls", "false");
}

static void set_headers(struct wm_call *c, uint64_t index, int status)
{
	if (index)
		set_index_headers(c, index);
	/* every answer is made from memory, as fresh as can be */
	if (c->cached && status == 200 && cacheable(c->route)) {
		wm_http_set_header(c->req, "X-Cache", "HIT");
		wm_http_set_header(c->req, "Age", "0");
	}
}

void wm_answer_end(struct wm_call *c, struct wm_json *j, uint64_t index)
{
	wm_answer_end_with(c, j, index, 200);
}

void wm_answer_end_with(struct wm_call *c, struct wm_json *j, uint64_t index, int status)
{
	wm_json_done(j);
	if (j->b->failed) {
		wm_answer_text(c, 500, "The answer is larger than %u MiB, or memory ran out",
			       WM_API_ANSWER_MAX >> 20);
		return;
	}
	set_headers(c, index, status);
	if (status != 200 || !wm_rendered_keep(c, json_type, j->b, index)) {
		if (index)
			set_contact(c);
		reply(c, status, json_type, j->b->data, j->b->len);
	}
	if (status == 200)
		c->api->rendered_index = index;
}

void wm_answer_again(struct wm_call *c)
{
	const struct wm_buf *b = &c->api->body;

	set_headers(c, c->api->rendered_index, 200);
	if (c->api->rendered_index)
		set_contact(c);
	reply(c, 200, json_type, b->data, b->len);
}

void wm_answer_not_found(struct wm_call *c, uint64_t index)
{
	if (index) {
		set_index_headers(c, index);
		set_contact(c);
	}
	reply(c, 404, NULL, NULL, 0);
}

void wm_answer_typed(struct wm_call *c, const char *type, const struct wm_buf *b)
{
	if (b->failed)
		wm_answer_text(c, 500, "Out of memory");
	else
		reply(c, 200, type, b->data, b->len);
}

void wm_answer_empty(struct wm_call *c)
{
	reply(c, 200, NULL, NULL, 0);
}

void wm_answer_text(struct wm_call *c, int status, const char *fmt, ...)
{
	char text[TEXT_MAX], plain[PLAIN_MAX];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	/* it may repeat what a stranger sent, and is read on a terminal */
	wm_plain(text, plain, sizeof(plain));
	reply(c, status, "text/plain; charset=utf-8", plain, strlen(plain));
}

void wm_answer_word(struct wm_call *c, int status, const char *word)
{
	reply(c, status, "text/plain", word, strlen(word));
}

void wm_answer_err(struct wm_call *c, const struct wm_err *e)
{
	if (e->code == WM_E_BUSY)
		wm_http_set_header(c->req, "Retry-After", "1");
	wm_answer_text(c, wm_err_http(e->code), "%s", *e->text ? e->text : wm_err_str(e->code));
}

/* --- writes ------------------------------------------------------------------------------------
 */

static void write_free(struct wm_write *w)
{
	if (w->done)
		TAILQ_REMOVE(&w->api->answers, w, entry);
	else
		TAILQ_REMOVE(&w->api->pending, w, entry);
	free(w->text);
	free(w->json);
	free(w->wait_id);
	free(w);
}

/* The write itself goes on: only its answer has nobody to go to. */
static void on_abort(void *arg)
{
	struct wm_write *w = arg;

	w->req = NULL;
}

struct wm_write *wm_write_keep(struct wm_call *c)
{
	struct wm_write *w = calloc(1, sizeof(*w));

	if (!w) {
		wm_answer_text(c, 503, "Out of memory; nothing was changed");
		return NULL;
	}
	w->api = c->api;
	w->req = c->req;
	TAILQ_INSERT_TAIL(&c->api->pending, w, entry);
	wm_http_on_abort(c->req, on_abort, w);
	return w;
}

void wm_write_done(void *write, int code, const char *text)
{
	struct wm_write *w = write;

	w->code = code;
	w->text = code && text ? strdup(text) : NULL; /* without memory: the code's own text */
	w->done = true;
	TAILQ_REMOVE(&w->api->pending, w, entry);
	TAILQ_INSERT_TAIL(&w->api->answers, w, entry);
}

void wm_write_drop(struct wm_write *w)
{
	wm_http_on_abort(w->req, NULL, NULL);
	write_free(w);
}

/* Another agent's words. */
static void answer_text(struct wm_call *c, const struct wm_write *w)
{
	if (w->status == 503)
		wm_http_set_header(c->req, "Retry-After", "1");
	if (w->json)
		wm_answer_text(c, w->status, "%s", w->json);
	else
		reply(c, w->status, NULL, NULL, 0);
}

void wm_respond_writes(struct wm_api *a)
{
	struct wm_write *w;

	while ((w = TAILQ_FIRST(&a->answers))) {
		struct wm_call c = {.api = a, .req = w->req};
		struct wm_err e = {.code = w->code};

		if (!w->req) {
			/* nobody listens any more */
		} else if (w->code) {
			if (w->text)
				snprintf(e.text, sizeof(e.text), "%s", w->text);
			wm_answer_err(&c, &e);
		} else if (w->text_body) {
			answer_text(&c, w);
		} else if (w->json) {
			if (w->known_leader)
				set_contact(&c);
			reply(&c, w->status ? w->status : 200, json_type, w->json, strlen(w->json));
		} else {
			wm_answer_empty(&c);
		}
		write_free(w);
	}
}

int wm_respond_init(struct wm_api *a)
{
	TAILQ_INIT(&a->pending);
	TAILQ_INIT(&a->answers);
	wm_buf_init(&a->body, WM_API_ANSWER_MAX);
	return 0;
}

void wm_respond_done(struct wm_api *a)
{
	struct wm_write *w;

	while ((w = TAILQ_FIRST(&a->answers)) || (w = TAILQ_FIRST(&a->pending)))
		write_free(w);
	wm_buf_done(&a->body);
}
