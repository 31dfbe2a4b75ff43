/* SPDX-License-Identifier: Apache-2.0 */
/* tls.c - the files, looked at now and then, and the context that is made of them. */
#include "seen.h"
#include "tls_internal.h"
#include "userspace/base/clock.h"

#include <errno.h>
#include <openssl/err.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FILES	       3
#define SECURITY_LEVEL 2 /* 112 bits: RSA of 2,048 at least, no SHA-1 */

struct wm_tls {
	struct wm_loop *loop;
	struct wm_timer *poll;
	char *paths[FILES]; /* ca, cert, key */
	struct wm_seen seen[FILES];
	struct wm_cert *cert;
	SSL_CTX *ctx;
	unsigned poll_ms;
	uint64_t changes;
	struct wm_err complaint; /* about what is there now */
	void *arg;
	int (*judge)(void *arg, const struct wm_identity *us, struct wm_err *e);
	void (*changed)(void *arg, int err, const char *sentence);
};

static SSL_CTX *context_new(const struct wm_cert *c)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_method());
	bool ok;

	if (!ctx)
		return NULL;
	SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
	SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET | SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ctx, WM_TLS_CHAIN_MAX);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, wm_tls_judge);
	SSL_CTX_set_verify_depth(ctx, WM_TLS_DEPTH_MAX);
	ok = SSL_CTX_set_min_proto_version(ctx, TLS1_3_VERSION) && SSL_CTX_set_num_tickets(ctx, 0);
	/* the security level judges our own certificate, too */
	ok = ok && SSL_CTX_use_certificate(ctx, wm_cert_x509(c)) == 1 &&
	     SSL_CTX_use_PrivateKey(ctx, wm_cert_key(c)) == 1 &&
	     SSL_CTX_set1_chain(ctx, wm_cert_chain(c));
	if (!ok) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	SSL_CTX_set1_cert_store(ctx, wm_cert_authorities(c));
	return ctx;
}

static bool look_at_all(struct wm_tls *t)
{
	bool differ = false;

	for (unsigned i = 0; i < FILES; i++)
		differ |= wm_seen_look(&t->seen[i], t->paths[i]);
	return differ;
}

/* Take the files into service. What was before is kept where they do not load. */
static int load(struct wm_tls *t, struct wm_err *e)
{
	struct wm_cert_files f = {t->paths[0], t->paths[1], t->paths[2]};
	struct wm_cert *cert = NULL;
	SSL_CTX *ctx;
	int err = wm_cert_load(&f, &cert, e);

	if (err)
		return err;
	err = t->judge ? t->judge(t->arg, wm_cert_identity(cert), e) : 0;
	if (err) {
		wm_cert_free(cert);
		return err;
	}
	ctx = context_new(cert);
	if (!ctx) {
		wm_err_set(e, WM_E_INVALID, "%s: TLS does not take it: %s", f.cert,
			   ERR_reason_error_string(ERR_peek_last_error()));
		ERR_clear_error();
		wm_cert_free(cert);
		return WM_E_INVALID;
	}
	SSL_CTX_free(t->ctx); /* streams that stand hold it */
	wm_cert_free(t->cert);
	t->ctx = ctx;
	t->cert = cert;
	return 0;
}

static int reload(struct wm_tls *t)
{
	int err;

	t->complaint = (struct wm_err){0};
	err = load(t, &t->complaint);
	if (!err)
		t->changes++;
	if (t->changed)
		t->changed(t->arg, err, err ? t->complaint.text : "");
	return err;
}

int wm_tls_look(struct wm_tls *t)
{
	return look_at_all(t) ? reload(t) : t->complaint.code;
}

static void on_poll(void *arg)
{
	struct wm_tls *t = arg;

	wm_timer_arm(t->poll, t->poll_ms);
	wm_tls_look(t);
}

int wm_tls_new(struct wm_loop *l, const struct wm_tls_config *c, struct wm_tls **ret,
	       struct wm_err *e)
{
	struct wm_tls *t = calloc(1, sizeof(*t));
	int err = -ENOMEM;

	if (!t)
		return wm_err_set(e, err, "no memory for TLS");
	t->loop = l;
	t->poll_ms = c->poll_ms ? c->poll_ms : WM_TLS_POLL_MS;
	t->arg = c->arg;
	t->judge = c->judge;
	t->changed = c->changed;
	t->paths[0] = strdup(c->files.ca);
	t->paths[1] = strdup(c->files.cert);
	t->paths[2] = strdup(c->files.key);
	t->poll = wm_timer_new(l, on_poll, t);
	if (t->paths[0] && t->paths[1] && t->paths[2] && t->poll) {
		look_at_all(t); /* before they are read: what changes meanwhile is seen */
		err = load(t, e);
	}
	if (!err)
		err = wm_timer_arm(t->poll, t->poll_ms);
	if (err) {
		if (err == -ENOMEM)
			wm_err_set(e, err, "no memory for TLS");
		wm_tls_free(t);
		return err;
	}
	*ret = t;
	return 0;
}

void wm_tls_free(struct wm_tls *t)
{
	if (!t)
		return;
	wm_timer_free(t->poll);
	SSL_CTX_free(t->ctx);
	wm_cert_free(t->cert);
	for (unsigned i = 0; i < FILES; i++)
		free(t->paths[i]);
	free(t);
}

const struct wm_identity *wm_tls_identity(const struct wm_tls *t)
{
	return wm_cert_identity(t->cert);
}

const struct wm_cert *wm_tls_cert(const struct wm_tls *t)
{
	return t->cert;
}

struct wm_cert_validity wm_tls_validity(const struct wm_tls *t)
{
	return wm_cert_validity(t->cert);
}

const char *wm_tls_complaint(const struct wm_tls *t)
{
	return t->complaint.code ? t->complaint.text : NULL;
}

uint64_t wm_tls_changes(const struct wm_tls *t)
{
	return t->changes;
}

int wm_tls_stream(struct wm_tls *t, struct wm_stream *s, bool accepts, const char *node)
{
	struct wm_tls_state like = {.loop = t->loop, .fd = s->fd};
	SSL *ssl = SSL_new(t->ctx);

	if (!ssl)
		return -ENOMEM;
	if (node)
		snprintf(like.node, sizeof(like.node), "%s", node);
	snprintf(like.datacenter, sizeof(like.datacenter), "%s",
		 wm_cert_identity(t->cert)->datacenter);
	if (accepts)
		SSL_set_accept_state(ssl);
	else
		SSL_set_connect_state(ssl);
	return wm_tls_stream_new(s, ssl, &like);
}
