/* SPDX-License-Identifier: Apache-2.0 */
/* srv.h - SRV records of a name (RFC 2782), asked of the name servers of a resolver (resolver.h),
 * which libevent's does not ask for. Each question goes out anew, from a socket and a port of its
 * own; nothing is kept. Names are absolute: no search list. Answers over UDP only, of
 * WM_SRV_OCTETS_MAX octets (RFC 6891): of one that is cut short what is there counts.
 * Threading: loop thread only; wm_srv_parse() and wm_srv_order() are pure. */
#pragma once
#include "resolver.h"

#define WM_SRV_MAX	  32   /* records kept of an answer; more are not seen */
#define WM_SRV_OCTETS_MAX 1232 /* of an answer: what no path cuts into fragments */
#define WM_SRV_TRY_MS	  2000 /* a name server has so long */
#define WM_SRV_TRIES	  6    /* questions that are sent of one name, to the servers in turn */
#define WM_SRV_ASKED_MAX  128  /* names that are asked for at a time; more are refused */

struct wm_srv {
	uint16_t priority, weight, port;
	char target[WM_RESOLVER_NAME_MAX + 1]; /* in lower case; never "." */
};
struct wm_srv_answer {
	int error; /* 0, -ENXIO (no such name, or it has none), -ENODATA (no name server answers) */
	unsigned count;
	struct wm_srv records[WM_SRV_MAX]; /* in the order in which they are to be tried */
};
typedef void (*wm_srv_fn)(void *arg, const struct wm_srv_answer *a);

struct wm_srvs;
struct wm_srv_lookup;
/** @param r borrowed: whose name servers are asked. @return NULL without memory. */
struct wm_srvs *wm_srvs_new(struct wm_loop *l, struct wm_resolver *r);
void wm_srvs_free(struct wm_srvs *s); /* lookups end without a callback; NULL ok */
/** Look up @p name. @p fn runs once unless cancelled, never before this returns, and may ask and
 *  cancel. @return 0; -EINVAL: no name; WM_E_LIMIT: over WM_SRV_ASKED_MAX; -ENOMEM. */
int wm_srv_ask(struct wm_srvs *s, const char *name, wm_srv_fn fn, void *arg,
	       struct wm_srv_lookup **ret);
void wm_srv_cancel(struct wm_srv_lookup *k); /* NULL ok; its callback will not run */

/** Write the question for @p name. @return octets; 0: it is no name of letters, digits, '-' and
 *  '_'. */
size_t wm_srv_question(const char *name, uint16_t id, uint8_t out[static WM_SRV_OCTETS_MAX]);
/** Read an answer to the question @p q. Records that no host can be reached by are left out.
 *  @return 0, @p ret is filled; -EPROTO: it is none to this question, wait for another; -ENXIO;
 *  -ENODATA: this server has no answer. */
int wm_srv_parse(const uint8_t *q, size_t q_len, const uint8_t *p, size_t len,
		 struct wm_srv_answer *ret);
/** By priority, and by chance and weight among those of one (RFC 2782). @p below draws evenly among
 *  0 ... n - 1. */
void wm_srv_order(struct wm_srv_answer *a, uint64_t (*below)(uint64_t n));
