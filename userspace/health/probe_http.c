/* SPDX-License-Identifier: Apache-2.0 */
/* probe_http.c - an HTTP answer of 2xx passes, 429 warns, all else is critical; Consul's rule. */
#include "probe.h"
#include "userspace/base/redact.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define TOO_MANY_REQUESTS 429
#define HEADER_LINES_MAX  (WM_CHECK_HEADERS_MAX + 2) /* with Accept and the end */

static const char *method_of(const struct wm_check *c)
{
	return c->method && *c->method ? c->method : "GET";
}

#define SHOWN_MAX (WM_CHECK_TARGET_MAX + 64) /* octets of a URL as it is shown */

static const char *shown(const struct wm_check *c, char text[SHOWN_MAX])
{
	return wm_redact_url(c->target, text, SHOWN_MAX);
}

static void http_prepare(struct wm_prober *p)
{
	p->family = 0;
}

static void http_cancel(struct wm_prober *p)
{
	wm_http_call_cancel(p->call);
	p->call = NULL;
}

static void on_answer(void *arg, const struct wm_http_answer *a)
{
	struct wm_prober *p = arg;
	const struct wm_check *c = p->check;
	enum wm_status s = WM_CRITICAL;
	char body[WM_CHECK_OUTPUT_MAX + 1], url[SHOWN_MAX];

	p->call = NULL;
	if (wm_probe_own_fault(a->error)) {
		wm_prober_skip(p);
		return;
	}
	if (a->error) {
		wm_prober_done(p, s, "%s \"%s\": %s", method_of(c), shown(c, url),
			       a->error == -ETIMEDOUT
				       ? "timeout exceeded while waiting for the answer"
				       : a->reason);
		return;
	}
	if (a->status >= 200 && a->status < 300)
		s = WM_PASSING;
	else if (a->status == TOO_MANY_REQUESTS)
		s = WM_WARNING;
	/* answer_max is WM_CHECK_OUTPUT_MAX at most */
	memcpy(body, a->body, a->body_len);
	body[a->body_len] = '\0';
	wm_probe_clean(body, a->body_len);
	wm_prober_done(p, s, "HTTP %s %s: %ld %s Output: %s", method_of(c), shown(c, url),
		       a->status, a->phrase, body);
}

/* "Name: value" lines of a check. @return NULL without memory; freed by lines_free(). */
static char **lines_of(const struct wm_check *c)
{
	char **lines = calloc(HEADER_LINES_MAX, sizeof(char *));
	bool accept = false;
	unsigned n = 0;

	for (; lines && n < c->headers_count && n < WM_CHECK_HEADERS_MAX; n++) {
		accept |= strcasecmp(c->headers[n].key, "Accept") == 0;
		if (asprintf(&lines[n], "%s: %s", c->headers[n].key, c->headers[n].value) < 0)
			goto fail;
	}
	if (lines && !accept) {
		lines[n] = strdup("Accept: text/plain, text/*, */*");
		if (!lines[n])
			goto fail;
	}
	return lines;
fail:
	lines[n] = NULL;
	for (unsigned i = 0; i < n; i++)
		free(lines[i]);
	free(lines);
	return NULL;
}

static void lines_free(char **lines)
{
	for (unsigned i = 0; lines && lines[i]; i++)
		free(lines[i]);
	free(lines);
}

static void http_start(struct wm_prober *p, uint64_t timeout_ms)
{
	const struct wm_check *c = p->check;
	char **lines = lines_of(c), url[SHOWN_MAX];
	struct wm_http_call_options o = {.method = method_of(c),
					 .url = c->target,
					 .headers = (const char *const *)lines,
					 .body = c->body && *c->body ? c->body : NULL,
					 .timeout_ms = timeout_ms,
					 .answer_max = wm_prober_output_max(p),
					 .follow_redirects = !c->disable_redirects,
					 .tls_skip_verify = c->tls_skip_verify,
					 .tls_server_name = c->tls_server_name,
					 .tls_ca_file = p->h->config.ca_file};
	int err = -ENOMEM;

	if (lines)
		p->call = wm_http_call_start(p->h->http, &o, on_answer, p, &err);
	lines_free(lines);
	if (p->call)
		return;
	if (err == -EINVAL)
		wm_prober_done(p, WM_CRITICAL, "%s \"%s\": URL, header or method is not valid",
			       method_of(c), shown(c, url));
	else
		wm_prober_skip(p);
}

const struct wm_probe_kind wm_probe_http = {
	.prepare = http_prepare, .start = http_start, .cancel = http_cancel};
