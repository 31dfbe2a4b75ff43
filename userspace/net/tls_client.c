/* SPDX-License-Identifier: Apache-2.0 */
/* tls_client.c - see tls_client.h; the stream itself is stream_tls.c's. */
#include "tls_client.h"

#include "seen.h"
#include "tls_internal.h"
#include "userspace/base/regular.h"

#include <arpa/inet.h>
#include <errno.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <stdlib.h>
#include <string.h>

#define SECURITY_LEVEL 1  /* 80 bits: what public resolvers of today show */
#define ALPN_MAX       15 /* octets of the protocol's name */

struct wm_tls_client {
	char *ca_file;
	struct wm_seen seen;
	unsigned char alpn[1 + ALPN_MAX]; /* its length in front */
	size_t alpn_len;
	SSL_CTX *ctx;
};

static SSL_CTX *context_new(const struct wm_tls_client *t)
{
	SSL_CTX *ctx = SSL_CTX_new(TLS_client_method());
	bool ok;

	if (!ctx)
		return NULL;
	SSL_CTX_set_security_level(ctx, SECURITY_LEVEL);
	SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION);
	SSL_CTX_set_mode(ctx, SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER |
				      SSL_MODE_RELEASE_BUFFERS);
	SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
	SSL_CTX_set_max_cert_list(ctx, WM_TLS_CHAIN_MAX);
	SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER, NULL);
	ok = SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) &&
	     !SSL_CTX_set_alpn_protos(ctx, t->alpn, (unsigned)t->alpn_len);
	ok = ok && (*t->ca_file ? SSL_CTX_load_verify_file(ctx, t->ca_file)
				: SSL_CTX_set_default_verify_paths(ctx)) == 1;
	if (!ok) {
		SSL_CTX_free(ctx);
		return NULL;
	}
	return ctx;
}

static void look(struct wm_tls_client *t)
{
	SSL_CTX *ctx;

	if (!*t->ca_file || !wm_seen_look(&t->seen, t->ca_file) || !wm_regular_may_be(t->ca_file))
		return;
	ctx = context_new(t);
	ERR_clear_error();
	if (!ctx)
		return;
	SSL_CTX_free(t->ctx); /* streams that stand hold it */
	t->ctx = ctx;
}

int wm_tls_client_new(const char *ca_file, const char *alpn, struct wm_tls_client **ret,
		      struct wm_err *e)
{
	struct wm_tls_client *t = calloc(1, sizeof(*t));
	size_t len = strnlen(alpn, ALPN_MAX);

	if (t)
		t->ca_file = strdup(ca_file);
	if (!t || !t->ca_file) {
		free(t);
		return wm_err_set(e, -ENOMEM, "no memory for TLS");
	}
	t->alpn[0] = (unsigned char)len;
	memcpy(t->alpn + 1, alpn, len);
	t->alpn_len = 1 + len;
	wm_seen_look(&t->seen, ca_file); /* before it is read: what changes meanwhile is seen */
	/* to open a FIFO waits for who writes it */
	t->ctx = wm_regular_may_be(ca_file) ? context_new(t) : NULL;
	if (!t->ctx) {
		unsigned long err = ERR_peek_last_error();

		wm_err_set(e, WM_E_INVALID, "%s: no authority's certificate can be read: %s",
			   *ca_file ? ca_file : "the system's authorities",
			   err ? ERR_reason_error_string(err) : "not a file");
		ERR_clear_error();
		wm_tls_client_free(t);
		return WM_E_INVALID;
	}
	*ret = t;
	return 0;
}

void wm_tls_client_free(struct wm_tls_client *t)
{
	if (!t)
		return;
	SSL_CTX_free(t->ctx);
	free(t->ca_file);
	free(t);
}

/* @return whether @p ssl expects @p name. An address is not told to the server: RFC 6066 3. */
static bool expect(SSL *ssl, const char *name)
{
	unsigned char ip[16];

	if (inet_pton(AF_INET, name, ip) == 1 || inet_pton(AF_INET6, name, ip) == 1)
		return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name);
	SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS);
	return SSL_set1_host(ssl, name) && SSL_set_tlsext_host_name(ssl, name);
}

int wm_tls_client_stream(struct wm_tls_client *t, struct wm_loop *l, struct wm_stream *s,
			 const char *name)
{
	struct wm_tls_state like = {.loop = l, .fd = s->fd};
	SSL *ssl;

	look(t);
	ssl = SSL_new(t->ctx);
	if (!ssl || !expect(ssl, name)) {
		SSL_free(ssl);
		ERR_clear_error();
		return -ENOMEM;
	}
	SSL_set_connect_state(ssl);
	return wm_tls_stream_new(s, ssl, &like);
}
