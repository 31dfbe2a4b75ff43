/* SPDX-License-Identifier: Apache-2.0 */
/* tls_internal.h - between tls.c, which has the files and contexts, and stream_tls.c. */
#pragma once
#include "tls.h"

#include <openssl/ssl.h>

/** Room for a sentence about a peer's certificate. */
#define WM_TLS_WHY_MAX 256

/** The state of a stream of TLS, which its SSL has as application data. */
struct wm_tls_state {
	SSL *ssl;
	struct wm_loop *loop;
	int fd;
	bool wants_write;
	bool drained;	  /* the last read or handshake found no whole record */
	bool over;	  /* failed: OpenSSL must not be asked again, nor to say farewell */
	bool eof;	  /* the socket's end was seen */
	int error;	  /* of the socket; 0: none */
	unsigned updates; /* of the peer's keys since data came */
	uint64_t turn;	  /* in which `read` octets were read */
	size_t read;
	char node[WM_NODE_NAME_MAX + 1];	     /* that must be there; "": any */
	char datacenter[WM_DATACENTER_NAME_MAX + 1]; /* that it must be of */
	struct wm_identity peer;
	char why[WM_TLS_WHY_MAX];
};

/** Judge a peer's certificate, which the authority signed: SSL_CTX_set_verify()'s callback. */
int wm_tls_judge(int ok, X509_STORE_CTX *ctx);
/** @p ssl is taken, freed on failure too; @p like says whom to expect. @return 0, -ENOMEM. */
int wm_tls_stream_new(struct wm_stream *s, SSL *ssl, const struct wm_tls_state *like);
