/* SPDX-License-Identifier: Apache-2.0 */
/* kube_client_call.c - one call: where it goes, what is shown of ourselves, what a failure means.
 * Every call has a deadline, every failure a pause with jitter before the next. */
#include "kube_client_internal.h"
#include "userspace/base/plain.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIST_MS		 300000	      /* a page comes within it: continue tokens live as long */
#define WATCH_S		 300	      /* seconds, and up to as many more: as client-go asks for */
#define WATCH_GRACE_MS	 30000	      /* the server ends a watch within it, or we do */
#define KEEPALIVE_S	 10	      /* of TCP: a server that is gone is given up after 40 s */
#define QUICK_MS	 50	      /* until the next server is asked */
#define RETRY_MIN_MS	 200	      /* between tries of all servers: doubled, with jitter */
#define RETRY_MAX_MS	 30000	      /* as client-go */
#define REFUSED_MIN_MS	 5000	      /* until a refusal is asked for again: doubled */
#define REFUSED_MAX_MS	 60000	      /* somebody who grants the right waits no longer */
#define THROTTLED_MS	 1000	      /* without Retry-After */
#define THROTTLED_MAX_MS 120000	      /* a server may not send us away for good */
#define WATCH_FAILS	 3	      /* watches in vain, then what they begin from is in doubt */
#define ERROR_MAX	 (64u << 10)  /* octets read of an answer that is an error */
#define RAW_HIGH	 (256u << 10) /* octets not looked at: then the server waits */
#define RAW_MAX		 (RAW_HIGH + (64u << 10))
#define URL_MAX		 (32u << 10)

/* --- failures -------------------------------------------------------------------------------- */

static uint64_t jitter(const struct wm_kube *k, uint64_t ms)
{
	return ms / 2 + wm_env_below(k->env, ms / 2 + 1);
}

static uint64_t doubled(const struct wm_kube *k, uint64_t least, uint64_t most, unsigned times)
{
	uint64_t ms = times < 16 ? least << times : most;

	return jitter(k, ms < most ? ms : most);
}

static void wait_for(struct wm_kube_watch *w, uint64_t ms)
{
	w->not_before_ms = wm_kube_now(w->k) + ms;
}

void wm_kube_failed(struct wm_kube_watch *w, bool elsewhere, const char *why)
{
	struct wm_kube *k = w->k;
	unsigned servers = k->login.servers_count;
	/* a server that answered, and still told of nothing */
	bool lost = w->watching && w->status && ++w->watch_fails >= WATCH_FAILS;
	char text[WM_KUBE_TEXT_MAX];

	k->stats.failed++;
	w->fresh = true;
	w->fails += w->fails < 1000;
	snprintf(text, sizeof(text), "%.100s: %.150s", k->login.servers[w->server % servers], why);
	if (!w->watching && w->open && w->page > WM_KUBE_PAGE_MIN)
		w->page /= 2;
	if (elsewhere && servers > 1 && w->server == k->server) {
		k->server = (k->server + 1) % servers;
		k->stats.failovers++;
	}
	wait_for(w, w->fails < servers
			    ? wm_env_below(k->env, QUICK_MS)
			    : doubled(k, RETRY_MIN_MS, RETRY_MAX_MS, w->fails - servers));
	wm_kube_drop(w);
	if (lost)
		wm_kube_list_again(w);
	/* one that drops, and is there again at once, is no news */
	if (w->fails > servers)
		wm_kube_tell(w, WM_KUBE_AWAY, text);
}

static void begin_anew(struct wm_kube_watch *w)
{
	wm_kube_drop(w);
	free(w->next);
	w->next = NULL;
	w->listed = w->begun = false;
	w->pages = 0;
	w->watch_fails = 0;
}

void wm_kube_list_again(struct wm_kube_watch *w)
{
	uint64_t pause = doubled(w->k, RETRY_MIN_MS, RETRY_MAX_MS, w->relists);
	uint64_t at = wm_kube_now(w->k) + pause;

	begin_anew(w);
	w->relists += w->relists < 1000;
	w->not_before_ms = at > w->not_before_ms ? at : w->not_before_ms;
}

void wm_kube_list_asked(struct wm_kube_watch *w)
{
	begin_anew(w);
	if (!w->refused)
		w->not_before_ms = 0;
}

static void refused(struct wm_kube_watch *w, const char *text)
{
	/* an API server that has just started refuses what it will allow in a moment */
	uint64_t least = w->listed_once ? RETRY_MIN_MS : REFUSED_MIN_MS;

	w->k->stats.refused++;
	w->k->stats.failed++;
	wait_for(w, doubled(w->k, least, REFUSED_MAX_MS, w->refused));
	w->refused += w->refused < 1000;
	wm_kube_drop(w);
	wm_kube_tell(w, WM_KUBE_REFUSED, text);
}

/* The token may have been replaced a moment ago: asked again at once, but once only. */
static void unauthorized(struct wm_kube_watch *w)
{
	struct wm_kube *k = w->k;
	char text[WM_KUBE_TEXT_MAX];

	wm_kube_login_again(k);
	w->fresh = true;
	if (w->refused) {
		snprintf(text, sizeof(text),
			 "the API server does not know who we are (401): %.200s", w->why);
		refused(w, text);
		return;
	}
	k->stats.refused++;
	k->stats.failed++;
	w->refused++;
	wait_for(w, wm_env_below(k->env, QUICK_MS));
	wm_kube_drop(w);
}

static void throttled(struct wm_kube_watch *w)
{
	uint64_t ms = w->retry_after_ms ? w->retry_after_ms : THROTTLED_MS;
	char text[WM_KUBE_TEXT_MAX];

	snprintf(text, sizeof(text), "the API server is busy (%ld): %.200s", w->status, w->why);
	w->k->stats.throttled++;
	ms = ms < THROTTLED_MAX_MS ? ms : THROTTLED_MAX_MS;
	wait_for(w, ms + wm_env_below(w->k->env, ms / 4 + 1));
	w->fails += w->fails < 1000;
	wm_kube_drop(w);
	if (w->fails > w->k->login.servers_count)
		wm_kube_tell(w, WM_KUBE_AWAY, text);
}

void wm_kube_bad_status(struct wm_kube_watch *w)
{
	char text[WM_KUBE_TEXT_MAX];

	if (w->status == 410 || (w->status == 400 && w->next)) {
		w->k->stats.gone++;
		w->unpaged = !w->watching;
		wm_kube_list_again(w);
	} else if (w->status == 401) {
		unauthorized(w);
	} else if (w->status == 403) {
		snprintf(text, sizeof(text), "may not %s %s (RBAC, 403): %.200s",
			 w->watching ? "watch" : "list", w->what, w->why);
		refused(w, text);
	} else if (w->status == 404 || w->status == 405) {
		snprintf(text, sizeof(text), "the API server does not know %s (%ld): %.180s",
			 w->what, w->status, w->why);
		refused(w, text);
	} else if (w->status == 429 || (w->status == 503 && w->retry_after_ms)) {
		throttled(w);
	} else if (w->status >= 300 && w->status < 400) {
		wm_kube_failed(w, true, "a redirect, which is not followed");
	} else {
		snprintf(text, sizeof(text), "HTTP %ld: %.200s", w->status, w->why);
		wm_kube_failed(w, true, text);
	}
}

long wm_kube_status_read(const char *json, size_t len, char *text, size_t cap)
{
	json_t *o = json_loadb(json, len, 0, NULL);
	const char *message = json_string_value(json_object_get(o, "message"));
	const char *kind = json_string_value(json_object_get(o, "kind"));
	json_int_t code = json_integer_value(json_object_get(o, "code"));

	*text = '\0';
	if (!kind || strcmp(kind, "Status") != 0) {
		json_decref(o);
		return 0;
	}
	wm_plain(message ? message : "", text, cap);
	json_decref(o);
	return code > 0 && code < 1000 ? (long)code : 500;
}

/* --- what comes, inside curl: it is kept, and looked at in the next turn -----------------------
 */

static void on_head(void *arg, long status, const char *type)
{
	struct wm_kube_watch *w = arg;

	w->head = true;
	w->status = status;
	w->json = strncasecmp(type, "application/json", 16) == 0 &&
		  (!type[16] || type[16] == ';' || type[16] == ' ');
	wm_env_timer_arm(w->timer, 0);
}

static int on_data(void *arg, const void *data, size_t len)
{
	struct wm_kube_watch *w = arg;

	if (w->raw.len >= RAW_HIGH) {
		w->paused = true;
		return WM_HTTP_LATER;
	}
	w->k->stats.octets += len;
	wm_env_timer_arm(w->timer, 0);
	return wm_buf_put(&w->raw, data, len) ? 0 : -1;
}

static uint64_t retry_after(const struct wm_http_answer *a)
{
	const char *text = wm_http_answer_header(a, "Retry-After");
	char *end;
	unsigned long s = text ? strtoul(text, &end, 10) : 0;

	if (!text || end == text || *end)
		return 0; /* a date is not worth a parser: as if it were not there */
	return s < THROTTLED_MAX_MS / 1000 ? s * 1000 : THROTTLED_MAX_MS;
}

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	struct wm_kube_watch *w = arg;

	w->call = NULL;
	w->ended = true;
	w->paused = false;
	w->error = a->error;
	if (a->error) {
		wm_plain(a->reason, w->why, sizeof(w->why));
	} else {
		w->status = a->status;
		w->retry_after_ms = retry_after(a);
		if (a->status != 200 && !wm_kube_status_read(a->body, a->body_len, w->why, 201))
			wm_plain(a->phrase, w->why, sizeof(w->why));
	}
	wm_env_timer_arm(w->timer, 0);
}

/* --- calls ----------------------------------------------------------------------------------- */

/* What of a file is a token, without the line's end. @return NULL: nothing. */
static char *token_of(char *text)
{
	char *end = text + strlen(text);

	while (end > text && strchr(" \t\r\n", end[-1]))
		*--end = '\0';
	for (const char *p = text; *p; p++) {
		if (*p <= ' ' || *p > '~')
			return NULL;
	}
	return *text ? text : NULL;
}

/* Where the file cannot be read now, what it had last may still do. */
static const char *token(struct wm_kube *k)
{
	char *text;
	size_t len;

	if (!k->login.token_file)
		return k->login.token;
	if (wm_kube_file_read(k->login.token_file, WM_KUBE_TOKEN_MAX, &text, &len))
		return k->token;
	if (!token_of(text)) {
		wm_kube_secret_free(text);
		return k->token;
	}
	wm_kube_secret_free(k->token);
	k->token = text;
	return text;
}

static void put_escaped(struct wm_buf *b, const char *s)
{
	for (; *s; s++) {
		unsigned char c = (unsigned char)*s;

		if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
		    strchr("-._~", c))
			wm_buf_putc(b, *s);
		else
			wm_buf_printf(b, "%%%02X", c);
	}
}

/* @return how long the call may take, ms. */
static uint64_t put_url(struct wm_kube_watch *w, struct wm_buf *b)
{
	const struct wm_kube *k = w->k;
	unsigned s = WATCH_S + (unsigned)wm_env_below(k->env, WATCH_S);

	wm_buf_puts(b, k->login.servers[w->server]);
	wm_buf_puts(b, w->path);
	wm_buf_putc(b, strchr(w->path, '?') ? '&' : '?');
	if (w->watching) {
		wm_buf_printf(b, "watch=1&allowWatchBookmarks=true&timeoutSeconds=%u", s);
		wm_buf_puts(b, "&resourceVersion=");
		put_escaped(b, w->version);
		return s * 1000ull + WATCH_GRACE_MS;
	}
	wm_buf_printf(b, "limit=%u", w->unpaged ? 0 : w->page);
	if (w->next) {
		wm_buf_puts(b, "&continue=");
		put_escaped(b, w->next);
	}
	return LIST_MS;
}

struct wm_http_call *wm_kube_ask(struct wm_kube *k, struct wm_http_call_options o, const char *type,
				 void (*fn)(void *arg, const struct wm_http_answer *a), void *arg,
				 int *ret_err)
{
	const struct wm_kube_login *l = &k->login;
	const char *headers[] = {"Accept: application/json", type, NULL, NULL};
	const char *bearer = token(k);
	struct wm_http_call *call = NULL;
	char *line = NULL;

	/* whoever is on the way could read it otherwise */
	if (bearer && strncmp(o.url, "https:", 6) == 0) {
		if (asprintf(&line, "Authorization: Bearer %s", bearer) < 0) {
			*ret_err = -ENOMEM;
			return NULL;
		}
		headers[type ? 2 : 1] = line;
	}
	o.headers = headers;
	o.answer_max = ERROR_MAX;
	o.tls_skip_verify = l->skip_verify;
	o.tls_server_name = l->server_name;
	o.tls_ca_file = l->ca_file;
	o.tls_ca_pem = l->ca_pem;
	o.tls_cert_file = l->cert_file;
	o.tls_cert_pem = l->cert_pem;
	o.tls_key_file = l->key_file;
	o.tls_key_pem = l->key_pem;
	o.tcp_keepalive_s = KEEPALIVE_S;
	call = wm_http_call_start(k->http, &o, fn, arg, ret_err);
	wm_kube_secret_free(line);
	return call;
}

void wm_kube_call(struct wm_kube_watch *w)
{
	struct wm_http_call_options o = {.on_data = on_data, .on_head = on_head, .keep = !w->fresh};
	struct wm_buf url;
	int err = 0;

	wm_kube_drop(w);
	w->watching = w->listed;
	w->server = w->k->server;
	w->opened_ms = w->heard_ms = wm_kube_now(w->k);
	w->k->stats.watches += w->watching;
	wm_kube_stream_reset(&w->stream, w->watching);
	wm_buf_init(&w->raw, RAW_MAX);
	wm_buf_init(&url, URL_MAX);
	o.timeout_ms = put_url(w, &url);
	o.url = url.data;
	if (!url.failed)
		w->call = wm_kube_ask(w->k, o, NULL, on_answer, w, &err);
	if (!w->call)
		wm_kube_failed(w, false, url.failed ? "the URL is too long" : wm_err_str(err));
	wm_buf_done(&url);
	w->fresh = false;
}

void wm_kube_drop(struct wm_kube_watch *w)
{
	wm_http_call_cancel(w->call);
	w->call = NULL;
	w->head = w->json = w->open = w->paused = w->ended = false;
	w->status = 0;
	w->error = 0;
	w->retry_after_ms = 0;
	w->documents = 0;
	wm_buf_done(&w->raw);
	w->raw_at = 0;
}
