/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.h - names that are not ours: libunbound asks other servers for them, or from the root
 * down, and keeps what they say. Which servers: of settings, or of resolv.conf, read again when it
 * changes. A server that leads back to us is left out. What is of our domains never comes here.
 * Spec: RFC 1034 5.3, 2308, 4035, 5625, 7766, 7858, 8767, 9156. Threading: loop thread only. */
#pragma once
#include "userspace/base/err.h"
#include "userspace/net/loop.h"
#include "userspace/registry/vip.h"
#include "waymark/guard.h"

#include <net/if.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_UPSTREAM_SERVERS_MAX 8   /* servers of a domain */
#define WM_UPSTREAM_ROUTES_MAX	16  /* domains */
#define WM_UPSTREAM_FRESH_MAX	64  /* names: they are compared with that of each question */
#define WM_UPSTREAM_APART_MAX	256 /* names of the operator's: a zone each, in each resolver */
#define WM_UPSTREAM_ANCHOR_PATH 256 /* octets of a path, with its NUL */
#define WM_UPSTREAM_NAME_MAX	253 /* octets of a name in text: RFC 1035 */
#define WM_UPSTREAM_IP_MAX	(INET6_ADDRSTRLEN + IF_NAMESIZE)
#define WM_UPSTREAM_SERVER_TEXT (WM_UPSTREAM_IP_MAX + WM_UPSTREAM_NAME_MAX + 8)

struct wm_upstream_server {
	char ip[WM_UPSTREAM_IP_MAX]; /* with %link, if it is of one */
	uint16_t port;
	char name[WM_UPSTREAM_NAME_MAX + 1]; /* DNS over TLS, under this name; "": without */
	uint16_t via; /* port of 127.0.0.1 that leads to it over TLS; 0: it is asked itself */
};
struct wm_upstream_route {
	char domain[WM_UPSTREAM_NAME_MAX + 1]; /* "." or lower case without a dot at its end */
	unsigned count;
	struct wm_upstream_server servers[WM_UPSTREAM_SERVERS_MAX];
};
struct wm_upstream_routes {
	unsigned count;
	struct wm_upstream_route at[WM_UPSTREAM_ROUTES_MAX];
};
/* Where we answer DNS ourselves. Borrowed. */
struct wm_upstream_own {
	const char *const *addresses; /* on port */
	uint16_t port;
	const char *const *addresses53;	  /* on port 53 */
	const char *const *addresses_tls; /* on port_tls */
	uint16_t port_tls;
};
enum wm_upstream_mode {
	WM_UPSTREAM_OFF,
	WM_UPSTREAM_RESOLV_CONF, /* servers of resolv.conf */
	WM_UPSTREAM_LIST,	 /* those of dns.forward */
	WM_UPSTREAM_RECURSION,	 /* from the root down */
};
struct wm_statics;
struct wm_upstream_config {
	enum wm_upstream_mode mode;
	struct wm_upstream_routes routes; /* of dns.forward */
	const char *const *resolv_conf;	  /* files, borrowed */
	struct wm_upstream_own own;
	const char *domains[3];	  /* ours, borrowed; "": none */
	struct wm_vip_space vips; /* ranges whose reverse zones are ours; mask 0: none are */
	struct wm_guard_prefix ranges[WM_GUARD_PREFIXES_MAX]; /* more of these */
	unsigned ranges_count;
	const char *root_hints, *trust_anchor; /* files, "": built in; borrowed */
	const char *ca_file; /* authorities of servers that speak TLS, "": the system's; borrowed */
	char anchor_path[WM_UPSTREAM_ANCHOR_PATH]; /* file of keys that are followed; "": none are
						    */
	bool reads_anchors;	       /* they are trusted, and another resolver follows them */
	uint64_t anchor_hold_s;	       /* a new one must have been seen for so long */
	uint64_t anchor_every_ms;      /* they are asked for so often */
	bool validate;		       /* DNSSEC */
	bool caps_for_id;	       /* 0x20 */
	const char *dns64_prefix;      /* "": none; borrowed */
	bool rebind_protection;	       /* private addresses in answers are taken out */
	bool asks_all;		       /* servers are asked whatever is known of them */
	uint64_t serve_stale_s;	       /* 0: nothing stale is said */
	uint64_t cache_max;	       /* octets of answers */
	uint64_t ttl_min_s, ttl_max_s; /* of these; max 0: a day */
	uint64_t timeout_ms;	       /* of a question */
	unsigned questions_max, per_client_max;
	unsigned overtake_percent;	/* of the questions may be asked of two servers */
	const struct wm_statics *apart; /* of wm_upstream_apart(); else NULL */
};

/* X(symbol, metric name, text) */
#define WM_UPSTREAM_COUNTERS(X)                                                                    \
	X(ASKED, dns_upstream_asked, "questions that are not ours, for the resolver")              \
	X(KEPT, dns_upstream_kept, "of these, answered from its cache at once")                    \
	X(STALE, dns_upstream_stale, "answers from its cache although their TTL is over")          \
	X(AGAIN, dns_upstream_again,                                                               \
	  "questions failed by libunbound though a server answers: asked past what it knows of "   \
	  "the servers")                                                                           \
	X(OVERTAKEN, dns_upstream_overtaken,                                                       \
	  "questions that took longer than nineteen of twenty: another server was asked, too")     \
	X(OVERTOOK, dns_upstream_overtook, "of these, that the other server answered first")       \
	X(NOT_OVERTAKEN, dns_upstream_not_overtaken,                                               \
	  "questions that took so long, beyond dns.upstream_overtake: nobody else was asked")      \
	X(ALIAS, dns_upstream_alias,                                                               \
	  "questions that a server failed which answers others: asked for an alias alone, which "  \
	  "may lead to a name of ours")                                                            \
	X(FAILED, dns_upstream_failed, "no server had an answer: SERVFAIL")                        \
	X(BOGUS, dns_upstream_bogus, "validation failed: SERVFAIL")                                \
	X(LATE, dns_upstream_late, "no answer within dns.upstream_timeout: SERVFAIL")              \
	X(FULL, dns_upstream_full, "more than dns.upstream_questions_max were open: SERVFAIL")     \
	X(CLIENT_FULL, dns_upstream_client_full,                                                   \
	  "more than dns.upstream_per_client_max of one client were open: SERVFAIL")               \
	X(NONE, dns_upstream_none, "there was no server to ask: SERVFAIL")                         \
	X(LOOP, dns_upstream_loop, "questions that we asked and that came back to us: REFUSED")    \
	X(CHANGED, dns_upstream_changed, "times that the servers became others: the cache is new") \
	X(TLS_OPENED, dns_upstream_tls_opened, "connections over TLS to servers that were made")   \
	X(TLS_REFUSED, dns_upstream_tls_refused,                                                   \
	  "connections to servers that we broke off as their certificate is not to be trusted")    \
	X(TLS_BROKEN, dns_upstream_tls_broken,                                                     \
	  "connections over TLS to servers that could not be made, or broke off")                  \
	X(TLS_UNASKED, dns_upstream_tls_unasked,                                                   \
	  "questions that no connection over TLS took or brought an answer to: the next server's") \
	X(KEYS, dns_upstream_keys, "questions of the agent's own for the keys that it follows")    \
	X(KEYS_FAILED, dns_upstream_keys_failed,                                                   \
	  "of these, without an answer that could be validated")                                   \
	X(NAME_FLUSHED, dns_upstream_name_flushed, "times that a name was forgotten by request")   \
	X(FLUSHED, dns_upstream_flushed, "times that the cache was emptied by request")
enum wm_upstream_counter {
#define X(sym, name, text) WM_UPSTREAM_C_##sym,
	WM_UPSTREAM_COUNTERS(X)
#undef X
		WM_UPSTREAM_COUNTER_COUNT
};

enum wm_upstream_state { WM_UPSTREAM_UNKNOWN, WM_UPSTREAM_UP, WM_UPSTREAM_DOWN, WM_UPSTREAM_LOOPS };
/* A server, as its probes find it. */
struct wm_upstream_health {
	const char *domain; /* that it is asked for */
	struct wm_upstream_server server;
	enum wm_upstream_state state;
	uint64_t since_ms;     /* of the state: wm_clock_ms() */
	uint64_t latency_us;   /* of answers to probes, smoothed; 0: none came */
	uint64_t probes, late; /* asked; of these not answered in time */
	uint64_t failures;     /* answered with SERVFAIL or REFUSED, or refused as a connection */
	uint64_t p95_us;       /* nineteen of twenty questions of the domain took less */
	uint64_t overtaken;    /* questions that took longer: another server was asked, too */
	const char *why;       /* what is wrong with TLS to it; "" */
};

struct wm_upstream;
/** @param c copied, what it borrows stays. @return NULL without memory. */
struct wm_upstream *wm_upstream_new(struct wm_loop *l, const struct wm_upstream_config *c);
void wm_upstream_free(struct wm_upstream *u); /* NULL ok; nobody is called back any more */
/** Forget all that was kept. Questions that are open go on. @return 0, -ENOMEM. */
int wm_upstream_flush(struct wm_upstream *u);
/** The same of one name, of all types. @p name as text; its case does not matter. libunbound
 * forgets no name by itself: a second resolver answers for those that were forgotten. Past
 *  WM_UPSTREAM_FRESH_MAX of them everything is forgotten. @return 0, -EINVAL: no name, -ENOMEM. */
int wm_upstream_flush_name(struct wm_upstream *u, const char *name);
/** Of records of the operator's own: where an alias of others leads to a name outside of our
 *  domains, of WM_UPSTREAM_APART_MAX of them at most, nobody is asked for it. Forgets all that was
 *  kept. @p t borrowed until the next call; NULL: there are none. @return as wm_upstream_flush().
 */
int wm_upstream_apart(struct wm_upstream *u, const struct wm_statics *t);
/** Is it below one of them, however many there are? @p name folded. */
bool wm_upstream_below(const struct wm_statics *apart, const uint8_t *name);
const uint64_t *wm_upstream_counters(const struct wm_upstream *u);
enum wm_upstream_mode wm_upstream_mode_of(const struct wm_upstream *u);
const char *wm_upstream_mode_str(enum wm_upstream_mode m);
/** @return false: no such mode. */
bool wm_upstream_mode_parse(const char *text, enum wm_upstream_mode *ret);
const char *wm_upstream_state_str(enum wm_upstream_state s);
/** The n-th server of all domains. @return false: there are not so many. */
bool wm_upstream_health(const struct wm_upstream *u, unsigned n, struct wm_upstream_health *ret);
/** Questions that are open. */
unsigned wm_upstream_open(const struct wm_upstream *u);
/** Octets that its cache may take: dns.cache_max. */
uint64_t wm_upstream_cache_max(const struct wm_upstream *u);
/** The file that the servers are from; "": none. Borrowed. */
const char *wm_upstream_source(const struct wm_upstream *u);
/** Read dns.forward, "domain=server server" each. @return 0, WM_E_INVALID with @p e. */
int wm_upstream_routes_parse(char *const *list, struct wm_upstream_routes *ret, struct wm_err *e);
/** Does libunbound take the file for this option of its own, "trust-anchor-file" or "root-hints"?
 *  Blocks on the disk. @return 0, negative errno; -EBADMSG: nothing is in it, or what is none;
 *  -EINVAL: it is no regular file. */
int wm_upstream_file(const char *option, const char *path);
/** Would a question to it come to ourselves? Addresses that stand for all are compared with those
 *  of this machine's links. */
bool wm_upstream_leads_here(const struct wm_upstream_own *own, const struct wm_upstream_server *s);
/** Write "192.0.2.1@53". */
void wm_upstream_server_text(const struct wm_upstream_server *s, char ret[WM_UPSTREAM_SERVER_TEXT]);
