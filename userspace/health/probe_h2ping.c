/* SPDX-License-Identifier: Apache-2.0 */
/* probe_h2ping.c - an HTTP/2 server that answers a PING frame passes: preface, SETTINGS and PING
 * are sent, and frames are read until the PING comes back. Three frames of fixed form out, the
 * heads of frames in: less than what a library for HTTP/2 would have to be told. RFC 9113. */
#include "probe.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define FRAME_HEAD    9	    /* octets: length, type, flags, stream */
#define FRAME_MAX     16384 /* octets of a frame's payload that we allow, by saying nothing of it */
#define TYPE_SETTINGS 4
#define TYPE_PING     6
#define TYPE_GOAWAY   7
#define FLAG_ACK      1
#define OPAQUE	      "waymark." /* what a PING carries there and back: 8 octets */
#define OPAQUE_LEN    8
#define HEARD_MAX     4096 /* octets that a server may say before it answers */

static const char hello[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
			    "\0\0\0\4\0\0\0\0\0" /* SETTINGS, none */
			    "\0\0\10\6\0\0\0\0\0" OPAQUE;

int wm_h2_heard(const void *data, size_t len, const char **ret_why)
{
	const uint8_t *p = data, *end = p + len;

	for (bool first = true;; first = false) {
		size_t size;

		if (end - p < FRAME_HEAD)
			return 0;
		size = (size_t)p[0] << 16 | (size_t)p[1] << 8 | p[2];
		/* a server begins with its settings, and they are no answer to ours */
		if (first && (p[3] != TYPE_SETTINGS || (p[4] & FLAG_ACK))) {
			*ret_why = "the server does not speak HTTP/2";
			return -EPROTO;
		}
		if (size > FRAME_MAX || (p[3] == TYPE_PING && size != OPAQUE_LEN)) {
			*ret_why = "a frame of a wrong size";
			return -EPROTO;
		}
		if (p[3] == TYPE_GOAWAY) {
			*ret_why = "the server sends us away (GOAWAY)";
			return -ECONNREFUSED;
		}
		if ((size_t)(end - p) < FRAME_HEAD + size)
			return 0;
		/* others' PINGs need no answer: we are gone before it is missed */
		if (p[3] == TYPE_PING && (p[4] & FLAG_ACK) &&
		    memcmp(p + FRAME_HEAD, OPAQUE, OPAQUE_LEN) == 0)
			return 1;
		p += FRAME_HEAD + size;
	}
}

static void on_end(void *arg, const struct wm_http_answer *a)
{
	struct wm_prober *p = arg;

	p->call = NULL;
	if (!a->error)
		wm_prober_done(p, WM_PASSING, "HTTP2 ping was successful");
	else if (wm_probe_own_fault(a->error))
		wm_prober_skip(p);
	else
		wm_prober_done(p, WM_CRITICAL, "HTTP2 ping to %s failed: %s", p->check->target,
			       a->error == -ETIMEDOUT ? "timed out" : a->reason);
}

static void h2ping_prepare(struct wm_prober *p)
{
	p->family = 0;
}

static void h2ping_cancel(struct wm_prober *p)
{
	wm_http_call_cancel(p->call);
	p->call = NULL;
}

static void h2ping_start(struct wm_prober *p, uint64_t timeout_ms)
{
	char url[WM_CHECK_TARGET_MAX + 16];
	const struct wm_check *c = p->check;
	struct wm_http_call_options o = {.url = url,
					 .timeout_ms = timeout_ms,
					 .answer_max = HEARD_MAX,
					 .connect_only = true,
					 .http2 = true,
					 .say = hello,
					 .say_len = sizeof(hello) - 1,
					 .heard = wm_h2_heard,
					 .tls_skip_verify = c->tls_skip_verify,
					 .tls_server_name = c->tls_server_name,
					 .tls_ca_file = p->h->config.ca_file};
	int err = 0;

	snprintf(url, sizeof(url), "%s://%s/", c->use_tls ? "https" : "http", c->target);
	p->call = wm_http_call_start(p->h->http, &o, on_end, p, &err);
	if (p->call)
		return;
	if (err == -EINVAL)
		wm_prober_done(p, WM_CRITICAL, "HTTP2 ping to %s failed: address is not valid",
			       c->target);
	else
		wm_prober_skip(p);
}

const struct wm_probe_kind wm_probe_h2ping = {
	.prepare = h2ping_prepare, .start = h2ping_start, .cancel = h2ping_cancel};
