/* SPDX-License-Identifier: Apache-2.0 */
/* http_server.h - HTTP/1.1 server over evhttp, with every limit set: body, headers, connections,
 * absolute deadline of a request. Listens on TCP addresses and on Unix sockets (mode 0600 by
 * default). A handler may answer at once or keep the request and answer later (blocking queries,
 * commits). Rejects an unknown Host on TCP (DNS rebinding): only IP literals, "localhost" and
 * configured names. Conflicting or repeated Content-Length, Transfer-Encoding or Host, and a body
 * on a method that has none: 400 and the connection is closed, since where the next request begins
 * is anybody's guess then. The process must ignore SIGPIPE. Threading: loop thread only.
 * Spec: RFC 9110, 9112. */
#pragma once
#include "loop.h"

#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wm_http_server;
struct wm_http_request;

/* What the server counts, defined once: X(symbol, metric name, text). */
#define WM_HTTP_COUNTERS(X)                                                                        \
	X(ACCEPTED, http_accepted, "connections accepted")                                         \
	X(REQUESTS, http_requests, "requests handed to a handler")                                 \
	X(OVER_LIMIT, http_over_limit, "connections over a limit: answered 429 or closed")         \
	X(DEADLINE, http_deadline, "connections closed: idle, or too slow to send or to take")     \
	X(BAD_HOST, http_bad_host, "requests refused for their Host")                              \
	X(BAD_FRAMING, http_bad_framing, "requests refused for how they are framed")               \
	X(TOO_LARGE, http_too_large, "requests refused for the size of their headers or body")     \
	X(NO_ROOM, http_no_room, "requests and answers dropped: http.memory_max is in use")        \
	X(ABORTED, http_aborted, "kept requests whose client went away")                           \
	X(NO_MEMORY, http_no_memory, "connections or requests dropped for want of memory")

enum wm_http_counter {
#define X(sym, name, text) WM_HTTP_##sym,
	WM_HTTP_COUNTERS(X)
#undef X
		WM_HTTP_COUNTER_COUNT
};

#define WM_HTTP_SMALL	   65536	/* octets of a request or an answer that always has room */
#define WM_HTTP_MEMORY_MAX (1ull << 30) /* octets, where no other limit is given */
#define WM_HTTP_PARAMS_MAX 64 /* query parameters of one request: more is refused with 400 */
#define WM_HTTP_HOSTS_MAX  16 /* names that wm_http_allow_host() takes */

struct wm_http_limits {
	size_t body_max;	   /* octets */
	size_t headers_max;	   /* octets */
	unsigned connections_max;  /* over all listeners; above it a client gets 429 or is closed */
	unsigned per_address_max;  /* connections of one client address */
	uint64_t memory_max;	   /* octets of requests and answers on their way; 0: the default.
				    * Those of WM_HTTP_SMALL have room beyond it */
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
/** Closes listeners and connections; requests kept open are aborted (their abort callbacks run),
 * answers that were given are written as far as the sockets take them. Not from a handler. NULL ok.
 */
void wm_http_server_free(struct wm_http_server *s);
/** @return 0, negative errno (address in use, ...). @p port 0 chooses one: see @p ret_port. */
int wm_http_listen_tcp(struct wm_http_server *s, const char *address, uint16_t port,
		       uint16_t *ret_port);
/** A stale socket file of a dead process is replaced, a live one is -EADDRINUSE. */
int wm_http_listen_unix(struct wm_http_server *s, const char *path, unsigned mode);
/** What comes to @p port from now on is narrow: wm_http_is_narrow() says so of its requests, and
 * none of them is recalled (wm_http_on_raw), so that each meets the handler. */
void wm_http_narrow(struct wm_http_server *s, uint16_t port);
unsigned wm_http_connections(const struct wm_http_server *s);
/** Accept @p name (copied, any case) as Host beside IP literals and localhost.
 *  @return 0, -ENOMEM, -ENOSPC (WM_HTTP_HOSTS_MAX). */
int wm_http_allow_host(struct wm_http_server *s, const char *name);
/** In the order of WM_HTTP_COUNTERS. Borrowed. */
const uint64_t *wm_http_counters(const struct wm_http_server *s);

/** 0 for a method that has no name here. */
enum wm_http_method wm_http_method(const struct wm_http_request *r);
const char *wm_http_method_name(const struct wm_http_request *r);
/** Decode @p len octets of a raw path segment into @p buf, NUL-terminated.
 *  @return false: does not fit @p cap, a broken escape, or one of NUL. */
bool wm_http_segment(const char *raw, size_t len, char *buf, size_t cap);
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
/** True if it came to the port of wm_http_narrow(). */
bool wm_http_is_narrow(const struct wm_http_request *r);
/** Uid of the peer on a Unix socket, -1 otherwise. */
long wm_http_peer_uid(const struct wm_http_request *r);
/** Address that the connection comes from, v4-mapped if IPv4. @return NULL: it came over none that
 *  has one. Borrowed. */
const struct in6_addr *wm_http_peer_address(const struct wm_http_request *r);

/** The query as it came, without its '?'; NULL: none. Borrowed. */
const char *wm_http_raw_query(const struct wm_http_request *r);

/* --- requests that came over no socket, see http_inner.c */
/** Called once with the answer, unless the request is aborted. @p type NULL: no body. Borrowed. */
typedef void (*wm_http_answered)(void *arg, int status, const char *type, const void *body,
				 size_t len);
/** Make one, to be handed to a handler, which then owns it. It is not local and nobody's uid; what
 *  it is no way to answer (answers that are kept, or go on) is not to be asked for. Everything is
 *  copied. @return 0; -EINVAL: an unknown method, or @p target is no path or breaks an escape;
 *  -E2BIG: over WM_HTTP_PARAMS_MAX; -ENOMEM. */
int wm_http_inner_new(const char *method, const char *target, const void *body, size_t len,
		      wm_http_answered fn, void *arg, struct wm_http_request **ret);
bool wm_http_is_inner(const struct wm_http_request *r);
/** Nobody waits for the answer any more: its abort callback runs, and it is dead. */
void wm_http_inner_abort(struct wm_http_request *r);

/** While paused, connections whose answer was sent take no further request: for thousands of
 * answers that go out one after the other, so that the last is not behind the first one's next
 * request. */
void wm_http_pause(struct wm_http_server *s, bool pause);
/** Add an answer header before replying. */
int wm_http_set_header(struct wm_http_request *r, const char *name, const char *value);
/** Add lines that a program has as they are: each "Name: value\r\n". */
void wm_http_add_lines(struct wm_http_request *r, const char *lines);
/** Answer and give the request back. @p body is copied. content_type NULL: none. */
void wm_http_reply(struct wm_http_request *r, int status, const char *content_type,
		   const void *body, size_t len);
/** text/plain answer of one sentence. */
void wm_http_reply_text(struct wm_http_request *r, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/* --- answers that are given more than once: the same octets but for their Date */
struct wm_http_kept;
/** wm_http_reply() with 200, and keep it. @return a reference; NULL without memory, answered all
 * the same. */
struct wm_http_kept *wm_http_reply_keep(struct wm_http_request *r, const char *content_type,
					const void *body, size_t len);
/** Give it, in place of what headers were set. */
void wm_http_reply_kept(struct wm_http_request *r, struct wm_http_kept *k);
struct wm_http_kept *wm_http_kept_ref(struct wm_http_kept *k);
void wm_http_kept_unref(struct wm_http_kept *k);	/* NULL ok */
size_t wm_http_kept_size(const struct wm_http_kept *k); /* octets of memory */
/** Lines of the head ("Name: value\r\n" each) that answers which are kept are given with, as they
 * are at that time: @p fn returns them, borrowed until its next call. NULL: none. */
void wm_http_on_varying(struct wm_http_server *s, const char *(*fn)(void *arg), void *arg);
/** All octets of a request that came as one, without a body, to be answered on a connection that
 *  stays. Within its handler, NULL otherwise. Whoever sends the same octets asks the same. */
const char *wm_http_raw(const struct wm_http_request *r, size_t *ret_len);
/** @return what answers a request of these octets, borrowed; NULL: it goes to the handler.
 *  @p local: it comes over a Unix socket, where any Host is taken. */
typedef struct wm_http_kept *(*wm_http_recall)(void *arg, const char *raw, size_t len, bool local);
/** Ask @p fn first; NULL: nobody. */
void wm_http_on_raw(struct wm_http_server *s, wm_http_recall fn, void *arg);

/* An answer that goes on until one side ends it. wm_http_on_abort() must have been called: the
 * request stays kept until its callback has run. */
/** Begin it: 200, chunked. */
void wm_http_stream_begin(struct wm_http_request *r, const char *content_type);
/** Append. @return 0, -ENOMEM. */
int wm_http_stream_send(struct wm_http_request *r, const void *data, size_t len);
/** End it well, and give the request back; the abort callback does not run. */
void wm_http_stream_end(struct wm_http_request *r);
/** Octets that wait for the client to take them. */
size_t wm_http_stream_backlog(const struct wm_http_request *r);
/** Cut the connection; the abort callback runs and the request is dead. */
void wm_http_stream_drop(struct wm_http_request *r);

/** For a request that is kept: @p fn runs if the client goes away; then the request is dead and
 * must not be answered any more. A closed connection is noticed at once, but for PUT, POST and
 * DELETE: their answers come within milliseconds, and a client that closes its sending side after
 * such a request shall get its answer; they only notice that the server is freed. */
void wm_http_on_abort(struct wm_http_request *r, void (*fn)(void *arg), void *arg);
