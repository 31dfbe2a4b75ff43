/* SPDX-License-Identifier: Apache-2.0 */
/* tls_server.c - see tls_server.h; the stream itself is stream_tls.c's. */
#include "tls_server.h"

#include "seen.h"
#include "tls_internal.h"
#include "userspace/security/server_cert.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES	       2
#define SECURITY_LEVEL 2  /* 112 bits: RSA of 2,048 at least, no SHA-1 */
#define ALPN_MAX       15 /* octets of the protocol's name */

struct wm_tls_server {
	struct wm_loop *loop;
	struct wm_timer *poll;
	char *paths[FILES]; /* cert, key */
	struct wm_seen seen[FILES];
	unsigned char alpn[1 + ALPN_MAX]; /* its length in front */
	SSL_CTX *ctx;
	struct wm_cert_validity validity;
	unsigned poll_ms;
	struct wm_err complaint; /* about what is there now */
	void *arg;
	void (*changed)(void *arg, int err, const char *sentence);
};

/* A client that wants to speak something else is told so, and is not taken for one of ours: RFC
 * 7301 3.2, RFC 9325 3.8. The name is one of the client's, which outlives the handshake's step. */
static int choose_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
		       const unsigned char *in, unsigned in_len, void *arg)
{
	const unsigned char *ours = arg;

	(void)ssl;
	for (unsigned at = 0; at < in_len; at += 1u + in[at]) {
		if (in[at] == ours[0] && in_len - at > in[at] &&
		    memcmp(in + at + 1, ours + 1, ours[0]) == 0) {
			*out = in + at + 1;
			*out_len = in[at];
			return SSL_TLSEXT_ERR_OK;
		}
	}
	return SSL_TLSEXT_ERR_ALERT_FATAL;
}

static SSL_CTX *context_new(struct wm_tls_server *t, const struct wm_server_cert *c)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());

	if (!ctx)
		return NULL;
	SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	/* clients resume by tickets; nothing is kept here for them */
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_num_tickets(ctx, 1);
	SSL_CTX_set_alpn_select_cb(ctx, choose_alpn, t->alpn);
	/* the security level judges our own certificate, too */
	if (!SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) ||
	    SSL_CTX_use_certificate(ctx, c->x509) != 1 ||
	    SSL_CTX_use_PrivateKey(ctx, c->key) != 1 || SSL_CTX_set1_chain(ctx, c->chain) != 1) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static bool look(struct wm_tls_server *t)
{
	bool differ = false;

	for (unsigned i = 0; i < FILES; i++)
		differ |= wm_seen_look(&t->seen[i], t->paths[i]);
	return differ;
}

/* Take the files into service. What was before is kept where they do not load. */
static int load(struct wm_tls_server *t, struct wm_err *e)
{
	struct wm_server_cert c;
	SSL_CTX *ctx;
	int err = wm_server_cert_load(t->paths[0], t->paths[1], &c, e);

	if (err)
		return err;
	ctx = context_new(t, &c);
	if (ctx) {
		SSL_CTX_free(t->ctx); /* streams that stand hold it */
		t->ctx = ctx;
		t->validity = c.validity;
	} else {
		err = wm_err_set(e, WM_E_INVALID, "%s: TLS does not take it: %s", t->paths[0],
				 ERR_reason_error_string(ERR_peek_last_error()));
		ERR_clear_error();
	}
	wm_server_cert_done(&c);
	return err;
}

static void on_poll(void *arg)
{
	struct wm_tls_server *t = arg;

	wm_timer_arm(t->poll, t->poll_ms);
	if (!look(t))
		return;
	t->complaint = (struct wm_err){0};
	(void)load(t, &t->complaint);
	if (t->changed)
		t->changed(t->arg, t->complaint.code, t->complaint.text);
}

static int begin(struct wm_tls_server *t, const struct wm_tls_server_config *c, struct wm_err *e)
{
	size_t len = strnlen(c->alpn, ALPN_MAX);
	int err;

	t->alpn[0] = (unsigned char)len;
	memcpy(t->alpn + 1, c->alpn, len);
	t->paths[0] = strdup(c->cert);
	t->paths[1] = strdup(c->key);
	t->poll = wm_timer_new(t->loop, on_poll, t);
	if (!t->paths[0] || !t->paths[1] || !t->poll)
		return wm_err_set(e, -ENOMEM, "no memory for TLS");
	look(t); /* before they are read: what changes meanwhile is seen */
	err = load(t, e);
	return err ? err : wm_timer_arm(t->poll, t->poll_ms);
}

int wm_tls_server_new(struct wm_loop *l, const struct wm_tls_server_config *c,
		      struct wm_tls_server **ret, struct wm_err *e)
{
	struct wm_tls_server *t = calloc(1, sizeof(*t));
	int err;

	if (!t)
		return wm_err_set(e, -ENOMEM, "no memory for TLS");
	t->loop = l;
	t->poll_ms = c->poll_ms ? c->poll_ms : WM_TLS_POLL_MS;
	t->arg = c->arg;
	t->changed = c->changed;
	err = begin(t, c, e);
	if (err) {
		wm_tls_server_free(t);
		return err;
	}
	*ret = t;
	return 0;
}

void wm_tls_server_free(struct wm_tls_server *t)
{
	if (!t)
		return;
	wm_timer_free(t->poll);
	SSL_CTX_free(t->ctx);
	for (unsigned i = 0; i < FILES; i++)
		free(t->paths[i]);
	free(t);
}

int wm_tls_server_stream(struct wm_tls_server *t, struct wm_stream *s)
{
	struct wm_tls_state like = {.loop = t->loop, .fd = s->fd};
	SSL *ssl = SSL_new(t->ctx);

	if (!ssl)
		return -ENOMEM;
	SSL_set_accept_state(ssl);
	return wm_tls_stream_new(s, ssl, &like);
}

struct wm_cert_validity wm_tls_server_validity(const struct wm_tls_server *t)
{
	return t->validity;
}

const char *wm_tls_server_complaint(const struct wm_tls_server *t)
{
	return t->complaint.code ? t->complaint.text : NULL;
}
