/* SPDX-License-Identifier: Apache-2.0 */
/* tls.h - TLS between agents: 1.3 only, both sides show a certificate of our authority that names a
 * node of our datacenter, nothing is resumed. The files are watched: new ones serve the handshakes
 * that follow, streams that stand go on; ones that do not load change nothing and are told.
 * Threading: loop thread only. Spec: RFC 8446; security/cert.h on identities. */
#pragma once
#include "loop.h"
#include "stream.h"
#include "userspace/base/err.h"
#include "userspace/security/cert.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_TLS_POLL_MS	 2000	      /* milliseconds between looks at the files */
#define WM_TLS_CHAIN_MAX (32u << 10)  /* octets of a peer's certificates: an RSA-4096 chain of 4 */
#define WM_TLS_DEPTH_MAX 2	      /* intermediates between a node's and the authority's */
#define WM_TLS_TURN_MAX	 (128u << 10) /* octets read of one stream in a turn */

struct wm_tls_config {
	struct wm_cert_files files; /* copied */
	unsigned poll_ms;	    /* 0: WM_TLS_POLL_MS */
	void *arg;
	/* Whom the certificate names: may it serve? @return 0, or an error that @p e tells. NULL
	 * ok. */
	int (*judge)(void *arg, const struct wm_identity *us, struct wm_err *e);
	/* The files changed. 0: they serve from now on; else they do not load, @p sentence says
	 * why, and what was loaded before serves on; told once a change. NULL ok. */
	void (*changed)(void *arg, int err, const char *sentence);
};

struct wm_tls;
/** @return 0; WM_E_INVALID, negative errno: @p e names the file. */
int wm_tls_new(struct wm_loop *l, const struct wm_tls_config *c, struct wm_tls **ret,
	       struct wm_err *e);
/** NULL ok. Streams may outlive it. */
void wm_tls_free(struct wm_tls *t);
/** Look at the files now. @return 0: what is there serves; negative: it does not load. */
int wm_tls_look(struct wm_tls *t);

/** Of what serves now; borrowed until it changes. */
const struct wm_identity *wm_tls_identity(const struct wm_tls *t);
const struct wm_cert *wm_tls_cert(const struct wm_tls *t);
struct wm_cert_validity wm_tls_validity(const struct wm_tls *t);
/** Why the files that are there now do not serve. NULL: they do. Borrowed likewise. */
const char *wm_tls_complaint(const struct wm_tls *t);
/** Times that other files were taken into service. */
uint64_t wm_tls_changes(const struct wm_tls *t);

/** Make a stream of TLS of @p s, whose fd is connected and does not block.
 *  @param accepts we were called, and did not call
 *  @param node    only this one may be there; NULL: any of our datacenter
 *  @return 0, -ENOMEM. kind->close() frees it. */
int wm_tls_stream(struct wm_tls *t, struct wm_stream *s, bool accepts, const char *node);
/** Who is there: after the handshake. Borrowed, until close(). */
const struct wm_identity *wm_tls_peer(const struct wm_stream *s);
