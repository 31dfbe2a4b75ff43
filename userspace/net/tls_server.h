/* SPDX-License-Identifier: Apache-2.0 */
/* tls_server.h - TLS for clients that are not of the mesh: 1.2 and later, we show a certificate and
 * ask for none, and speak one protocol. The files are watched: new ones serve the handshakes that
 * follow, streams that stand go on; ones that do not load change nothing and are told. Threading:
 * loop thread only. Spec: RFC 5246, 8446, 7301 (ALPN), 9325. */
#pragma once
#include "loop.h"
#include "stream.h"
#include "userspace/base/err.h"
#include "userspace/security/cert.h"

#include <stdint.h>

struct wm_tls_server_config {
	const char *cert, *key; /* files, copied */
	const char *alpn; /* the protocol, at most 15 octets. Who offers none may speak it, who
			     offers others only may not. */
	unsigned poll_ms; /* between looks at the files; 0: WM_TLS_POLL_MS */
	void *arg;
	/* The files changed. 0: they serve from now on; else they do not load, @p sentence says
	 * why, and what was loaded before serves on; told once a change. NULL ok. */
	void (*changed)(void *arg, int err, const char *sentence);
};

struct wm_tls_server;
/** @return 0; WM_E_INVALID, negative errno: @p e names the file. */
int wm_tls_server_new(struct wm_loop *l, const struct wm_tls_server_config *c,
		      struct wm_tls_server **ret, struct wm_err *e);
/** NULL ok. Streams may outlive it, but for those that have not agreed yet. */
void wm_tls_server_free(struct wm_tls_server *t);
/** Make a stream of TLS of @p s, whose fd is connected and does not block. @return 0, -ENOMEM.
 *  kind->close() frees it. */
int wm_tls_server_stream(struct wm_tls_server *t, struct wm_stream *s);
/** Of the certificate that serves now. */
struct wm_cert_validity wm_tls_server_validity(const struct wm_tls_server *t);
/** Why the files that are there now do not serve. NULL: they do. Borrowed until they change. */
const char *wm_tls_server_complaint(const struct wm_tls_server *t);
