/* SPDX-License-Identifier: Apache-2.0 */
/* consul_call.c - one question and its answer: where it goes, what is shown of ourselves, what its
 * headers say. All bodies together have a bound, whatever a server sends. */
#include "consul_internal.h"
#include "userspace/base/redact.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ERROR_MAX 256  /* octets of a text that an error came with */
#define PATH_MAX_ 8192 /* octets of a path: a name of 255 and a filter of 1,024, encoded */

void wm_consul_query_init(struct wm_consul *c, struct wm_consul_query *q)
{
	q->c = c;
	wm_buf_init(&q->body, c->conf.memory_max);
}

void wm_consul_query_release(struct wm_consul_query *q)
{
	q->c->buffered -= q->body.len;
	wm_buf_done(&q->body);
	wm_buf_init(&q->body, q->c->conf.memory_max);
}

void wm_consul_query_cancel(struct wm_consul_query *q)
{
	wm_http_call_cancel(q->call);
	q->call = NULL;
	wm_consul_query_release(q);
}

void wm_consul_put_encoded(struct wm_buf *b, const char *text)
{
	for (; *text; text++) {
		unsigned char o = (unsigned char)*text;

		if ((o >= '0' && o <= '9') || (o >= 'a' && o <= 'z') || (o >= 'A' && o <= 'Z') ||
		    strchr("-._~", o))
			wm_buf_putc(b, *text);
		else
			wm_buf_printf(b, "%%%02X", o);
	}
}

const char *wm_consul_address(const struct wm_consul *c)
{
	static char shown[WM_CONSUL_URL_MAX + 1];

	return wm_redact_url(c->conf.addresses[c->address], shown, sizeof(shown));
}

/* The file counts, if there is one. A token that cannot be read is none: the Consul says what it
 * thinks of that. */
void wm_consul_read_token(struct wm_consul *c)
{
	char token[WM_CONSUL_TOKEN_MAX + 1];
	size_t n = 0;
	FILE *f;

	snprintf(token, sizeof(token), "%s", c->conf.token);
	f = *c->conf.token_file ? fopen(c->conf.token_file, "re") : NULL;
	if (f) {
		n = fread(token, 1, WM_CONSUL_TOKEN_MAX, f);
		token[n] = '\0';
		fclose(f);
	}
	token[strcspn(token, "\r\n \t")] = '\0';
	if (*token)
		snprintf(c->token, sizeof(c->token), "X-Consul-Token: %s", token);
	else
		*c->token = '\0';
	explicit_bzero(token, sizeof(token));
}

/* --- the answer ------------------------------------------------------------------------------- */
/* Inside curl. */
static int on_data(void *arg, const void *data, size_t len)
{
	struct wm_consul_query *q = arg;
	struct wm_consul *c = q->c;
	size_t max = q == &c->self ? SELF_MAX : c->conf.memory_max;

	if (len > max - (max < c->buffered ? max : c->buffered) ||
	    !wm_buf_put(&q->body, data, len)) {
		q->too_large = true;
		return -1;
	}
	c->buffered += len;
	wm_source_count(c->source, WM_SOURCE_COUNT_octets, len);
	return 0;
}

static void fail(struct wm_consul_query *q, enum wm_consul_fault f, const char *why)
{
	char text[ERROR_MAX + WM_CONSUL_URL_MAX];

	wm_consul_query_release(q);
	wm_source_count(q->c->source, WM_SOURCE_COUNT_errors, 1);
	snprintf(text, sizeof(text), "%s: %.*s", wm_consul_address(q->c), ERROR_MAX, why);
	q->failed(q, f, text);
	wm_consul_wake(q->c, 0);
}

static void refused(struct wm_consul_query *q, const struct wm_http_answer *a)
{
	enum wm_consul_fault f = a->status == 401 || a->status == 403 ? FAULT_DENIED
				 : a->status == 429		      ? FAULT_LIMITED
								      : FAULT_TRANSPORT;
	char why[ERROR_MAX];

	snprintf(why, sizeof(why), "HTTP status %ld: %.*s", a->status, 128,
		 a->body_len ? a->body : a->phrase);
	fail(q, f, why);
}

/* Is what it says old, or of a server that is alone? */
static const char *untrusted(const struct wm_http_answer *a)
{
	const char *leader = wm_http_answer_header(a, "X-Consul-KnownLeader");
	uint64_t contact;

	if (leader && strcmp(leader, "false") == 0)
		return "it knows no leader";
	if (wm_consul_number(wm_http_answer_header(a, "X-Consul-LastContact"), &contact) &&
	    contact > STALE_MAX_MS)
		return "what it says is old: it has not heard of a leader for long";
	return NULL;
}

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	struct wm_consul_query *q = arg;
	struct wm_consul *c = q->c;
	const char *why;
	uint64_t index = 0;

	q->call = NULL;
	if (q->too_large) {
		fail(q, FAULT_BAD, "the answer is too large (source.consul_memory_max)");
		return;
	}
	if (a->error) {
		fail(q, FAULT_TRANSPORT, a->reason);
		return;
	}
	q->status = a->status;
	if (a->status != 200 && !q->optional) {
		refused(q, a);
		return;
	}
	why = q == &c->self ? NULL : untrusted(a);
	if (why) {
		c->stats.leaderless++;
		fail(q, FAULT_LEADERLESS, why);
		return;
	}
	(void)wm_consul_number(wm_http_answer_header(a, "X-Consul-Index"), &index);
	q->next_index = wm_consul_index_next(q->index, index, &q->reset);
	if (q != &c->self && q->reset) {
		c->stats.resets++;
		wm_consul_nodes_again(c);
	} else if (q->wait_ms && index == q->index &&
		   wm_consul_now(c) - q->asked_ms < q->wait_ms / 2)
		c->stats.early++;
	q->done(q);
	wm_consul_wake(c, 0);
}

/* --- the question ----------------------------------------------------------------------------- */
static void put_params(struct wm_consul_query *q, struct wm_buf *b)
{
	struct wm_consul *c = q->c;
	char sign = strchr(b->data, '?') ? '&' : '?';

	if (q == &c->self)
		return;
	if (q->wait_ms) {
		wm_buf_printf(b, "%cindex=%llu&wait=%llums", sign, (unsigned long long)q->index,
			      (unsigned long long)q->wait_ms);
		sign = '&';
	}
	if (c->conf.stale) {
		wm_buf_printf(b, "%cstale=", sign);
		sign = '&';
	}
	if (*c->conf.datacenter) {
		wm_buf_printf(b, "%cdc=", sign);
		wm_consul_put_encoded(b, c->conf.datacenter);
	}
}

void wm_consul_ask(struct wm_consul_query *q, const char *path, uint64_t index, uint64_t wait_ms)
{
	struct wm_consul *c = q->c;
	const char *headers[] = {*c->token ? c->token : NULL, NULL};
	struct wm_http_call_options o = {.headers = headers,
					 .answer_max = ERROR_MAX,
					 .on_data = on_data,
					 .keep = true,
					 .tcp_keepalive_s = KEEPALIVE_S,
					 .tls_ca_file = c->conf.ca_file,
					 .tls_cert_file = c->conf.cert_file,
					 .tls_key_file = c->conf.key_file};
	struct wm_buf url;
	int err = -ENOMEM;

	wm_consul_query_release(q);
	q->too_large = false;
	q->index = index;
	q->wait_ms = index ? wait_ms : 0;
	q->asked_ms = wm_consul_now(c);
	/* a Consul waits up to a sixteenth longer */
	o.timeout_ms = q->wait_ms + q->wait_ms / 16 + CALL_MS;
	wm_buf_init(&url, PATH_MAX_);
	wm_buf_printf(&url, "%s%s", c->conf.addresses[c->address], path);
	if (!url.failed)
		put_params(q, &url);
	o.url = url.data;
	if (!url.failed)
		q->call = wm_http_call_start(c->http, &o, on_answer, q, &err);
	wm_buf_done(&url);
	if (q != &c->self)
		c->stats.queries++;
	if (!q->call)
		fail(q, FAULT_MEMORY, wm_err_str(err));
}
