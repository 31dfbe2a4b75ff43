/* SPDX-License-Identifier: Apache-2.0 */
/* http_client.h - outbound HTTP over libcurl's multi interface on the loop. http and https only,
 * connections not kept unless a call says so (a probe must see a fresh connect), answers cut at a
 * bound, no proxy from the environment, redirects by choice. Names are looked up by resolver.h,
 * without a thread, and a call that waits for a name takes no place of another. Threading: loop
 * thread only. */
#pragma once
#include "loop.h"
#include "resolver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wm_http_client;
struct wm_http_call;

#define WM_HTTP_CALLS_MAX	 65536 /* calls in flight and queued: some KiB each */
#define WM_HTTP_CALL_HEADERS_MAX 64    /* headers of one call */
struct wm_http_call_options {
	const char *method; /* NULL: GET */
	const char *url;
	const char *unix_socket;    /* path to connect to instead of the URL's host; NULL: none */
	const char *const *headers; /* "Name: value", NULL-terminated; may be NULL */
	const char *body;	    /* may be NULL */
	size_t body_len;	    /* octets of it; 0: up to its NUL */
	bool http2; /* instead of HTTP/1.1: with http without asking first, with https by ALPN */
	uint64_t timeout_ms; /* whole call */
	size_t answer_max;   /* octets of the body kept */
	/* Takes the body of a 200 part by part instead. WM_HTTP_LATER: this part was not taken, it
	 * comes again after wm_http_call_resume(), and the server waits meanwhile; other than 0:
	 * the call ends as -EIO. NULL: kept. Neither this nor on_head may touch the client. */
	int (*on_data)(void *arg, const void *data, size_t len);
	/* The headers of the answer are there, before any of its body. @p type: Content-Type, "" if
	 * there is none. NULL: nobody wants to know */
	void (*on_head)(void *arg, long status, const char *type);
	bool follow_redirects; /* 5 at most, http and https only */
	bool tls_skip_verify;
	const char *tls_server_name; /* NULL: of the URL */
	const char *tls_ca_file;     /* PEM; read again now and then. NULL or "": the system's */
	/* PEM of what the client shows of itself, and its key; NULL or "": nothing */
	const char *tls_cert_file, *tls_key_file;
	/* The same three as PEM itself, in place of a file; NULL or "": none */
	const char *tls_ca_pem, *tls_cert_pem, *tls_key_pem;
	bool keep; /* go over a connection that such a call left, and leave it for the next one */
	unsigned tcp_keepalive_s; /* a silent peer is asked after so long, and given up after four
				   * times that; 0: as the system has it */
	/* resolve and connect to the URL's host and port, with https shake hands, then close; no
	 * request */
	bool connect_only;
	/* With connect_only, to speak another protocol: octets that are sent once connected, and
	 * who judges all that came so far, answer_max octets at most: above 0 it is enough, 0 more
	 * is wanted, a negative errno ends the call with it and @p ret_why, static. NULL: none. */
	const void *say;
	size_t say_len; /* WM_HTTP_SAY_MAX at most */
	int (*heard)(const void *data, size_t len, const char **ret_why);
};
#define WM_HTTP_SAY_MAX 128 /* octets: a greeting */
#define WM_HTTP_LATER	1   /* of on_data */
struct wm_http_answer {
	int error;	    /* 0, negative errno: -ETIMEDOUT, -ENXIO (no such host), -ENODATA (no
			     * name server answers) */
	const char *reason; /* for people when error != 0 */
	long status;	    /* HTTP status when error == 0; 0 for connect_only */
	const char *phrase; /* of the status line, printable, "" if none; never NULL */
	const char *body;   /* borrowed during the callback, NUL-terminated */
	size_t body_len;
	const struct wm_http_call *call; /* for wm_http_answer_header() */
};
/** @param calls_max calls in flight; more are queued. */
struct wm_http_client *wm_http_client_new(struct wm_loop *l, unsigned calls_max);
/** How names are looked up, before the first call; borrowed for the life of the client. Without it:
 *  by /etc/hosts and /etc/resolv.conf. */
void wm_http_client_resolve(struct wm_http_client *c, const struct wm_resolver_config *r);
/** The same resolver for others, so that names are asked for once. NULL without memory. */
struct wm_resolver *wm_http_client_resolver(struct wm_http_client *c);
/** Questions that were asked of name servers so far. */
uint64_t wm_http_client_questions(const struct wm_http_client *c);
void wm_http_client_free(struct wm_http_client *c); /* cancels calls, callbacks do not run */
/** Start a call; strings are copied. @p fn runs once unless cancelled, never before this returns,
 * and may start, cancel or free anything of the client. A body above answer_max is cut, which is no
 * error. @return NULL: -EINVAL (URL, a line end in a header, too many headers), -ENOMEM, -ENOSPC
 * (WM_HTTP_CALLS_MAX) in *ret_err (may be NULL). */
struct wm_http_call *wm_http_call_start(struct wm_http_client *c,
					const struct wm_http_call_options *o,
					void (*fn)(void *arg, const struct wm_http_answer *a),
					void *arg, int *ret_err);
/** Value of a header or trailer of the answer, the last one if it repeats; NULL: there is none.
 *  Borrowed during the callback. */
const char *wm_http_answer_header(const struct wm_http_answer *a, const char *name);
/** Go on after WM_HTTP_LATER; what waits may be given to on_data before this returns. */
void wm_http_call_resume(struct wm_http_call *call);
void wm_http_call_cancel(struct wm_http_call *call); /* NULL ok; @p fn will not run */
