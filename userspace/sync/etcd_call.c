/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_call.c - one call of etcd: where it goes, what is shown of ourselves, what a failure means.
 * Every call has a deadline, every failure a pause with jitter before the next. */
#include "etcd_internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define PASSWORD_MAX 1024 /* octets of the file */

struct wm_buf *wm_etcd_body(struct wm_etcd *e)
{
	wm_buf_reset(&e->body);
	e->body.failed = false;
	return &e->body;
}

void wm_etcd_put_key(struct wm_etcd *e, struct wm_buf *b, const char *name, const char *key,
		     size_t len)
{
	wm_buf_printf(b, "\"%s\":\"", name);
	wm_base64_put(b, e->c.prefix, e->prefix_len, key, len);
	wm_buf_putc(b, '"');
}

bool wm_etcd_ready(const struct wm_etcd *e, enum wm_etcd_slot_kind which)
{
	return !e->slots[which].call && wm_etcd_now(e) >= e->slots[which].not_before_ms;
}

/* --- failures ------------------------------------------------------------------------------------
 */

/* The other endpoints are asked at once, all of them again after a pause. */
static uint64_t pause_ms(const struct wm_etcd *e, unsigned fails)
{
	unsigned doublings;
	uint64_t ms;

	if (fails < e->endpoints_count)
		return wm_env_below(e->c.env, 50);
	doublings = fails - e->endpoints_count;
	ms = (uint64_t)RETRY_MIN_MS << (doublings < 5 ? doublings : 5);
	ms = ms < RETRY_MAX_MS ? ms : RETRY_MAX_MS;
	return ms / 2 + wm_env_below(e->c.env, ms / 2);
}

static void failed(struct wm_etcd_slot *s, bool elsewhere, const char *why)
{
	struct wm_etcd *e = s->e;
	uint64_t pause;

	e->stats.failed++;
	s->fails += s->fails < 1000;
	snprintf(e->error, sizeof(e->error), "%s: %s", e->endpoints[s->endpoint], why);
	if (elsewhere && e->endpoints_count > 1 && s->endpoint == e->endpoint) {
		e->endpoint = (e->endpoint + 1) % e->endpoints_count;
		e->stats.failovers++;
		/* what does not answer calls may keep a watch open in silence */
		if (e->slots[SLOT_WATCH].call)
			wm_etcd_unwatch(e);
	}
	if (s->fails >= e->endpoints_count)
		e->up = false;
	pause = pause_ms(e, s->fails);
	s->not_before_ms = wm_etcd_now(e) + pause;
	wm_etcd_wake(e, pause);
}

bool wm_etcd_unauthenticated(struct wm_etcd *e, int code, const char *error)
{
	if (!e->c.user || code == WM_ETCD_PRECONDITION)
		return false;
	if (code != WM_ETCD_UNAUTHENTICATED && !strstr(error, "auth") &&
	    !strstr(error, "user name"))
		return false;
	free(e->token);
	e->token = NULL;
	return true;
}

/* Errors that a caller can do something about; all others are tried again elsewhere. */
static bool means_something(int code)
{
	return code == WM_ETCD_INVALID || code == WM_ETCD_NOT_FOUND || code == WM_ETCD_DENIED ||
	       code == WM_ETCD_EXHAUSTED || code == WM_ETCD_PRECONDITION ||
	       code == WM_ETCD_OUT_OF_RANGE;
}

/* Answers of reads and writes that went through the quorum: revisions of these never go back. */
static bool looked_back(struct wm_etcd *e, const struct wm_etcd_slot *s,
			const struct wm_etcd_answer *a)
{
	bool quorum = s->done && s->quorum;

	if (!a->cluster)
		return false;
	if (e->cluster && a->cluster != e->cluster)
		return true;
	e->cluster = a->cluster;
	/* the watch may have been faster than an answer */
	return quorum && a->revision < s->asked_revision;
}

static void answered(struct wm_etcd_slot *s, const struct wm_etcd_answer *a)
{
	struct wm_etcd *e = s->e;

	if (a->code) {
		bool login = wm_etcd_unauthenticated(e, a->code, a->error);
		bool ours = !login && means_something(a->code);

		failed(s, !login && !ours, *a->error ? a->error : "an error without a text");
		if (ours)
			s->done(e, a);
		return;
	}
	s->fails = 0;
	s->not_before_ms = 0;
	e->up = true;
	if (e->watching)
		e->heard_ms = wm_etcd_now(e);
	if (looked_back(e, s, a)) {
		e->other = e->lost = true;
		e->cluster = a->cluster;
		e->revision = 0;
		e->trust_revision = a->revision;
		wm_etcd_alarm(e, NULL,
			      "etcd is another cluster, or went back to an earlier state: what it "
			      "lacks is put again");
		wm_etcd_restart(e);
		return;
	}
	*e->error = '\0';
	s->done(e, a);
}

static void on_answer(void *arg, const struct wm_http_answer *h)
{
	struct wm_etcd_slot *s = arg;
	struct wm_etcd *e = s->e;
	struct wm_etcd_answer a;
	struct wm_err why = {0};

	s->call = NULL;
	if (h->error) {
		failed(s, true, h->reason);
	} else if (h->body_len >= WM_ETCD_ANSWER_MAX) {
		a = (struct wm_etcd_answer){.code = WM_ETCD_EXHAUSTED,
					    .error = "the answer is too large",
					    .cancel_reason = ""};
		failed(s, true, a.error);
		s->done(e, &a); /* who asked for less may ask for less still */
	} else if (wm_etcd_answer_read(h->body, h->body_len, &a, &why)) {
		e->stats.malformed++;
		failed(s, true, *why.text ? why.text : "out of memory");
	} else {
		if (h->status != 200 && !a.code)
			a.code = WM_ETCD_UNAVAILABLE;
		answered(s, &a);
		wm_etcd_answer_done(&a);
	}
	wm_etcd_wake(e, 0);
}

/* --- calls
 * ---------------------------------------------------------------------------------------- */

static void call(struct wm_etcd *e, enum wm_etcd_slot_kind which, const char *path,
		 struct wm_http_call_options o, void (*fn)(void *, const struct wm_http_answer *))
{
	char url[WM_ETCD_ENDPOINT_MAX + 64], login[WM_ETCD_TOKEN_MAX + 32];
	const char *headers[] = {"Content-Type: application/json", NULL, NULL};
	struct wm_etcd_slot *s = &e->slots[which];
	int err = e->body.failed ? -ENOMEM : 0;

	s->endpoint = e->endpoint;
	s->asked_revision = e->revision;
	snprintf(url, sizeof(url), "%s/v3/%s", e->endpoints[s->endpoint], path);
	if (e->token && *e->token) {
		snprintf(login, sizeof(login), "Authorization: %s", e->token);
		headers[1] = login;
	}
	o.method = "POST";
	o.url = url;
	o.headers = headers;
	o.body = e->body.data;
	o.body_len = e->body.len;
	o.tls_ca_file = e->c.ca_file;
	o.tls_cert_file = e->c.cert_file;
	o.tls_key_file = e->c.key_file;
	o.answer_max = WM_ETCD_ANSWER_MAX;
	o.tcp_keepalive_s = KEEPALIVE_S;
	if (!err)
		s->call = wm_http_call_start(e->c.http, &o, fn, s, &err);
	if (!s->call)
		failed(s, false, wm_err_str(err));
	else
		e->stats.calls++;
}

void wm_etcd_call(struct wm_etcd *e, enum wm_etcd_slot_kind which, const char *path,
		  wm_etcd_done done)
{
	struct wm_http_call_options o = {.timeout_ms = CALL_MS, .keep = true};

	e->slots[which].done = done;
	/* an empty list as well: of an etcd that lost everything it is the first word */
	e->slots[which].quorum = strncmp(path, "kv/", 3) == 0;
	call(e, which, path, o, on_answer);
}

void wm_etcd_cancel(struct wm_etcd *e, enum wm_etcd_slot_kind which)
{
	wm_http_call_cancel(e->slots[which].call);
	e->slots[which].call = NULL;
}

/* --- the stream
 * ------------------------------------------------------------------------------------ */

/* Inside curl: keep it, look at it in the next turn. */
static int on_data(void *arg, const void *data, size_t len)
{
	struct wm_etcd_slot *s = arg;
	struct wm_etcd *e = s->e;

	if (!wm_buf_put(&e->stream, data, len))
		return -1;
	wm_env_timer_arm(e->stream_timer, 0);
	return 0;
}

static void on_stream_end(void *arg, const struct wm_http_answer *h)
{
	struct wm_etcd_slot *s = arg;
	struct wm_etcd *e = s->e;
	struct wm_etcd_answer a;
	bool ok = e->watching;

	s->call = NULL;
	if (!h->error && h->status != 200 && !wm_etcd_answer_read(h->body, h->body_len, &a, NULL)) {
		failed(s, !wm_etcd_unauthenticated(e, a.code, a.error),
		       *a.error ? a.error : "the watch was refused");
		wm_etcd_answer_done(&a);
	} else if (!ok || (h->error && h->error != -ETIMEDOUT)) {
		failed(s, true, h->error ? h->reason : "the watch ended");
	}
	/* what came of it is taken first */
	e->stream_broken = true;
	wm_env_timer_arm(e->stream_timer, 0);
}

void wm_etcd_stream(struct wm_etcd *e, const char *path)
{
	struct wm_http_call_options o = {.timeout_ms = WATCH_MS, .on_data = on_data};

	call(e, SLOT_WATCH, path, o, on_stream_end);
}

void wm_etcd_stream_failed(struct wm_etcd *e, bool elsewhere, const char *why)
{
	wm_etcd_unwatch(e);
	failed(&e->slots[SLOT_WATCH], elsewhere, why);
}

/* --- authentication
 * ---------------------------------------------------------------------------------- */

static void logged_in(struct wm_etcd *e, const struct wm_etcd_answer *a)
{
	if (a->code == WM_ETCD_PRECONDITION) { /* nobody has to */
		e->token = strdup("");
		e->slots[SLOT_CONTROL].not_before_ms = 0;
		return;
	}
	if (a->code || !a->token)
		return;
	free(e->token);
	e->token = strpbrk(a->token, "\r\n") ? NULL : strdup(a->token);
	e->stats.logins++;
}

void wm_etcd_login(struct wm_etcd *e)
{
	struct wm_buf *b = wm_etcd_body(e);
	char password[PASSWORD_MAX + 1];
	FILE *f = fopen(e->c.password_file, "re");
	size_t n = f ? fread(password, 1, PASSWORD_MAX, f) : 0;

	if (f)
		fclose(f);
	else
		snprintf(e->error, sizeof(e->error), "cannot read %s", e->c.password_file);
	password[n] = '\0';
	password[strcspn(password, "\r\n")] = '\0';
	if (f && wm_etcd_login_write(e->c.user, password, b))
		wm_etcd_call(e, SLOT_CONTROL, "auth/authenticate", logged_in);
	else
		e->slots[SLOT_CONTROL].not_before_ms = wm_etcd_now(e) + RETRY_MAX_MS;
	explicit_bzero(password, sizeof(password));
	if (b->data)
		explicit_bzero(b->data, b->len);
}
