/* SPDX-License-Identifier: Apache-2.0 */
/* tls_client.h - TLS to servers that are not of the mesh: 1.2 and later, the server's certificate
 * must be signed by an authority that we trust and have the name that we call it by. The
 * authorities' file is looked at before each stream: one that does not load changes nothing.
 * Threading: loop thread only. Spec: RFC 8446, 9525, 7301. */
#pragma once
#include "loop.h"
#include "stream.h"
#include "userspace/base/err.h"

struct wm_tls_client;
/** @param ca_file PEM file of authorities; "": the system's
 *  @param alpn the protocol that is spoken, 15 octets at most
 *  @return 0, WM_E_INVALID, -ENOMEM: @p e names the file. */
int wm_tls_client_new(const char *ca_file, const char *alpn, struct wm_tls_client **ret,
		      struct wm_err *e);
void wm_tls_client_free(struct wm_tls_client *t); /* NULL ok; streams may outlive it */
/** Make a stream of TLS of @p s, whose fd is connected and does not block. @p name: a host name, or
 *  an address, that the certificate must have. @return 0, -ENOMEM. kind->close() frees it. */
int wm_tls_client_stream(struct wm_tls_client *t, struct wm_loop *l, struct wm_stream *s,
			 const char *name);
