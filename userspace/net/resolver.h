/* SPDX-License-Identifier: Apache-2.0 */
/* resolver.h - host names to addresses, over libevent's evdns on the loop: no threads, one question
 * for all who ask the same name, so many at a time. /etc/hosts comes first, then the name servers
 * and the search list of /etc/resolv.conf; both are read again when they change. Other sources of
 * nsswitch.conf are not asked. A name server that is this agent itself is left out where the caller
 * names its addresses: while it knows the mesh's names only. Answers over UDP only: one that does
 * not fit 512 octets (some 28 addresses) is an error.
 * Threading: loop thread only. Spec: RFC 1035, hosts(5), resolv.conf(5). */
#pragma once
#include "loop.h"

#include <netinet/in.h>

#define WM_RESOLVER_NAME_MAX	253  /* octets of a name: RFC 1035 */
#define WM_RESOLVER_ADDRS_MAX	16   /* addresses kept of a name */
#define WM_RESOLVER_NAMES_MAX	4096 /* names asked for or kept; more are refused */
#define WM_RESOLVER_INFLIGHT	64   /* questions on their way; more wait */
#define WM_RESOLVER_KEEP_MS	5000 /* ms that an answer is kept: probes of one host share it */
#define WM_RESOLVER_KEEP_BAD_MS 1000 /* the same of a failure */

struct wm_resolver;
struct wm_lookup;

struct wm_resolver_config {
	const char *hosts_path, *resolv_path; /* NULL: /etc/hosts, /etc/resolv.conf */
	const char *const *own; /* addresses on which we answer on port 53; NULL: none */
};
struct wm_resolver_answer {
	int error; /* 0, -ENXIO (no such name), -ENODATA (no name server answers), -ENOMEM
		    */
	unsigned count;
	char addrs[WM_RESOLVER_ADDRS_MAX][INET6_ADDRSTRLEN];
};
typedef void (*wm_resolver_fn)(void *arg, const struct wm_resolver_answer *a);

/** @param c borrowed, its lists copied; NULL: all defaults. @return NULL without memory. */
struct wm_resolver *wm_resolver_new(struct wm_loop *l, const struct wm_resolver_config *c);
void wm_resolver_free(struct wm_resolver *r); /* lookups end without a callback; NULL ok */
/** Look up @p name. @p fn runs once unless cancelled, never before this returns, and may ask and
 *  cancel. It has no deadline but the name servers'. @return NULL without memory, or over
 * WM_RESOLVER_NAMES_MAX. */
struct wm_lookup *wm_resolver_ask(struct wm_resolver *r, const char *name, wm_resolver_fn fn,
				  void *arg);
void wm_lookup_cancel(struct wm_lookup *k); /* NULL ok; @p fn will not run */
/** Questions that were sent to evdns so far: fewer than were asked for, as names are shared. */
uint64_t wm_resolver_questions(const struct wm_resolver *r);
/** Name servers that are asked, as resolv.conf is now; for other questions than these (srv.h). */
unsigned wm_resolver_servers(struct wm_resolver *r);
/** The n-th of them with its port. Borrowed until the count is asked for again. */
const struct sockaddr_storage *wm_resolver_server(const struct wm_resolver *r, unsigned n);
