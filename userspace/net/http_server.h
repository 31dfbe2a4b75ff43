/* SPDX-License-Identifier: Apache-2.0 */
/* http_server.h - HTTP/1.1 server over evhttp, with every limit set: body, headers, connections,
 * absolute deadline of a request. Listens on TCP addresses and on Unix sockets (mode 0600 by
 * default). A handler may answer at once or keep the request and answer later (blocking queries,
 * commits). Rejects an unknown Host on TCP (DNS rebinding): only IP literals, "localhost" and
 * configured names. Both Content-Length and Transfer-Encoding: 400. Threading: loop thread only. */
#pragma once
#include "loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wm_http_server;
struct wm_http_request;

struct wm_http_limits {
	size_t body_max;	   /* octets */
	size_t headers_max;	   /* octets */
	unsigned connections_max;  /* over all listeners; above it a client gets 429 or is closed */
	unsigned per_address_max;  /* connections of one client address */
	uint64_t read_timeout_ms;  /* to receive a request whole, and to sit idle */
	uint64_t write_timeout_ms; /* to take an answer */
};

enum wm_http_method {
	WM_GET = 1,
	WM_PUT = 2,
	WM_POST = 4,
	WM_DELETE = 8,
	WM_OPTIONS = 16,
	WM_HEAD = 32
};

/** Called for every request. Must end in wm_http_reply() now or later. @p req is owned by the
 * server until the reply; see wm_http_on_abort for clients that go away. */
typedef void (*wm_http_handler)(void *arg, struct wm_http_request *req);

struct wm_http_server *wm_http_server_new(struct wm_loop *l, const struct wm_http_limits *lim,
					  wm_http_handler fn, void *arg);
/** Closes listeners and connections; requests kept open are aborted (their abort callbacks run). */
void wm_http_server_free(struct wm_http_server *s);
/** @return 0, negative errno (address in use, ...). @p port 0 chooses one: see @p ret_port. */
int wm_http_listen_tcp(struct wm_http_server *s, const char *address, uint16_t port,
		       uint16_t *ret_port);
/** A stale socket file of a dead process is replaced, a live one is -EADDRINUSE. */
int wm_http_listen_unix(struct wm_http_server *s, const char *path, unsigned mode);
unsigned wm_http_connections(const struct wm_http_server *s);

enum wm_http_method wm_http_method(const struct wm_http_request *r);
/** Path, percent-decoded per segment by wm_http_segment; this is the raw path without the query. */
const char *wm_http_path(const struct wm_http_request *r);
/** Query parameter, decoded; "" when present without value, NULL when absent. First of several. */
const char *wm_http_query(const struct wm_http_request *r, const char *name);
/** Walk all parameters, to support repeated ones: start *pos = 0; false at the end. Borrowed. */
bool wm_http_query_next(const struct wm_http_request *r, size_t *pos, const char **ret_name,
			const char **ret_value);
const char *wm_http_header(const struct wm_http_request *r, const char *name);
const char *wm_http_body(const struct wm_http_request *r, size_t *ret_len);
/** True if the request came over a Unix socket. */
bool wm_http_is_local(const struct wm_http_request *r);
/** Uid of the peer on a Unix socket, -1 otherwise. */
long wm_http_peer_uid(const struct wm_http_request *r);

/** Add an answer header before replying. */
int wm_http_set_header(struct wm_http_request *r, const char *name, const char *value);
/** Answer and give the request back. @p body is copied. content_type NULL: none. */
void wm_http_reply(struct wm_http_request *r, int status, const char *content_type,
		   const void *body, size_t len);
/** text/plain answer of one sentence. */
void wm_http_reply_text(struct wm_http_request *r, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** For a request that is kept: @p fn runs if the client goes away; then the request is dead and
 * must not be answered any more. */
void wm_http_on_abort(struct wm_http_request *r, void (*fn)(void *arg), void *arg);
