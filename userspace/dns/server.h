/* SPDX-License-Identifier: Apache-2.0 */
/* server.h - the userspace DNS server: UDP and TCP, authoritative for the domain, from the compiled
 * tables and, for SRV, the registry. It answers what the kernel passes on, and everything when
 * there is no data plane; A and AAAA answers are built by the same header as the kernel's
 * (waymark/dns_answer.h). Names outside the domain, but for PTR of addresses that the registry
 * knows, are asked of others (upstream.h) if there are any, else REFUSED. Spec: RFC 1035, 2308,
 * 2782, 6891, 7766, 8482. Threading: loop thread only. */
#pragma once
#include "hot.h"
#include "kube.h"
#include "ready.h"
#include "seen.h"
#include "text.h"
#include "upstream.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"
#include "userspace/resolution/tables.h"
#include "waymark/dns_cookie.h"
#include "waymark/guard.h"

#include <sys/socket.h>

/* Counters of the userspace server, defined once: X(symbol, metric name, text). */
#define WM_DNS_COUNTERS(X)                                                                         \
	X(UDP_QUERY, dns_user_udp, "datagrams that came to userspace, whatever became of them")    \
	X(TCP_QUERY, dns_user_tcp, "queries that came over TCP, likewise")                         \
	X(TLS_QUERY, dns_user_tls, "of these, queries over TLS")                                   \
	X(ANSWERED, dns_user_answered, "answers with records")                                     \
	X(NODATA, dns_user_nodata, "name exists, type does not")                                   \
	X(NXDOMAIN, dns_user_nxdomain, "name does not exist")                                      \
	X(FORMERR, dns_user_formerr, "malformed queries answered with FORMERR")                    \
	X(REFUSED, dns_user_refused, "names outside the domain")                                   \
	X(NOTIMP, dns_user_notimp, "opcodes we do not implement")                                  \
	X(BADVERS, dns_user_badvers, "EDNS versions above 0")                                      \
	X(TRUNCATED, dns_user_truncated, "answers cut; TC set, unless dns.enable_truncate is off") \
	X(DROPPED, dns_user_dropped, "packets without a header, and responses: not answered")      \
	X(TCP_LIMIT, dns_user_tcp_limit, "TCP connections closed at the limit or the deadline")    \
	X(TCP_NO_ACCEPT, dns_user_tcp_no_accept,                                                   \
	  "times that no TCP connection could be accepted for 100 ms: out of descriptors")         \
	X(TCP_LENGTH, dns_user_tcp_length,                                                         \
	  "TCP connections ended by a length that no query has: 0, or above 4,096")                \
	X(TLS_AGREED, dns_user_tls_handshakes, "TLS handshakes of clients that were completed")    \
	X(TLS_FAILED, dns_user_tls_failed, "TLS handshakes of clients that failed")                \
	X(TCP_HELD, dns_user_tcp_held,                                                             \
	  "times that no query was read of a TCP connection until answers left or came")           \
	X(TCP_CLIENT_FULL, dns_user_tcp_client_full,                                               \
	  "TCP connections closed as their client had dns.tcp_per_client_max")                     \
	X(SERVFAIL, dns_user_servfail, "answers that could not be built: SERVFAIL")                \
	X(COOKIE_NEW, dns_user_cookie_new,                                                         \
	  "answers with a cookie to clients that had none of ours, or one that is too old")        \
	X(COOKIE_VALID, dns_user_cookie_valid,                                                     \
	  "answers to clients that had a cookie of ours: dns.rate_limit is not for them")          \
	X(BADCOOKIE, dns_user_badcookie,                                                           \
	  "of dns_user_rate_cut, clients that are sent a cookie to ask again with: BADCOOKIE")     \
	X(UNLOGGED, dns_user_unlogged,                                                             \
	  "questions of dns.query_log that were left out: more than 100 in a second")              \
	X(UNSENT, dns_user_unsent, "answers that the socket did not take, or without memory")      \
	X(GONE, dns_user_gone,                                                                     \
	  "queries given up: TCP clients that left before others had said what to answer")         \
	X(DENIED, dns_user_denied,                                                                 \
	  "datagrams and TCP connections dropped: the client is of no network of dns.allow")       \
	X(TCP_DENIED, dns_user_tcp_denied, "of dns_user_denied, TCP connections")                  \
	X(RATE_DROPPED, dns_user_rate_dropped,                                                     \
	  "datagrams dropped: the same was asked, or said not to be there, more than "             \
	  "dns.rate_limit times to one network")                                                   \
	X(RATE_CUT, dns_user_rate_cut, "the same, each second one: told to use TCP")

#define WM_DNS_TEXT_MAX 1024 /* octets of a name as text: each of 255 takes four at most */

struct wm_dns_server;
struct wm_statics;
struct wm_dns_config {
	const char *domain, *alt_domain; /* alt NULL: none */
	const char *datacenter;
	const char *kube_domain;     /* the cluster's; NULL: there is none */
	enum wm_kube_pods kube_pods; /* names of pods in it */
	uint32_t ttl_s;	     /* of services that have no TTL of their own: wm_tables_policy */
	uint32_t node_ttl_s; /* of nodes, addresses and the domain itself */
	uint32_t negative_ttl_s;
	uint32_t a_record_limit; /* A or AAAA records of an answer; 0: all that fit */
	bool cut_silently;	 /* no TC on what does not fit a datagram */
	unsigned tcp_max;	 /* connections */
	unsigned tcp_client_max; /* of these of one address or /64; 0: as many */
	size_t tcp_memory_max;	 /* octets of answers that nobody takes; 0: no bound */
	uint64_t tcp_idle_ms;	 /* RFC 7766 6.2.3 */
	unsigned log_every;	 /* so many answers have one line in the log; 0: none is logged */
	bool log_privacy;	 /* private names and clients are hashed there */
};
/** One server a registry: it subscribes, and marks the registry's instances while it starts. */
struct wm_dns_server *wm_dns_server_new(struct wm_loop *l, struct wm_registry *r,
					struct wm_tables *t, const struct wm_dns_config *c);
/** UDP and TCP on @p address and @p port (0: chosen, see @p ret_port). @return 0, negative errno.
 */
int wm_dns_listen(struct wm_dns_server *s, const char *address, uint16_t port, uint16_t *ret_port);
/** The same beside another program of this user that shares its sockets there, too (SO_REUSEPORT of
 *  socket(7)): either answers what comes to it, and the other all of it once one ends. */
int wm_dns_listen_shared(struct wm_dns_server *s, const char *address, uint16_t port,
			 uint16_t *ret_port);
/** Does somebody listen there over UDP? */
bool wm_dns_is_taken(const char *address, uint16_t port);
/** Speak TLS with clients (RFC 7858) under this certificate, once, before wm_dns_listen_tls(). The
 *  files are watched. @return 0, WM_E_INVALID, negative errno: @p e names the file. */
int wm_dns_server_tls(struct wm_dns_server *s, const char *cert, const char *key, struct wm_err *e);
/** TLS on @p address and @p port, as wm_dns_listen(). */
int wm_dns_listen_tls(struct wm_dns_server *s, const char *address, uint16_t port,
		      uint16_t *ret_port);
/* Who may bring a service that is not here, before a question is answered. */
struct wm_dns_lookup {
	/* @return 0: what there is of it is here; 1: @p done is called once, with 0 then, or with
	 * what keeps it from being known; else such a code at once. */
	int (*ask)(void *arg, const char *service, void (*done)(void *arg, int code),
		   void *done_arg);
	void (*cancel)(void *arg, void *done_arg); /* done is not called any more */
	void *arg;
};
/** @p l is copied; NULL: nobody. Questions that wait are dropped. Not NULL for longer than it can
 *  be called. */
void wm_dns_server_ask(struct wm_dns_server *s, const struct wm_dns_lookup *l);
/* Who knows how far nodes are from each other: prepared queries with Near. */
struct wm_dns_near {
	/* Put instances in order, the nearest to @p from first. @return false: no memory. */
	bool (*sort)(void *arg, const struct wm_node *from, const struct wm_instance **all,
		     unsigned count);
	void *arg;
};
/** @p n is copied; NULL, as at first: nobody, and answers are in an order by chance and weight. */
void wm_dns_server_near(struct wm_dns_server *s, const struct wm_dns_near *n);
/* Who has tables for tags of services, which both are told in lower case. */
struct wm_dns_tags {
	/* A name of a tag was asked for that somebody up has: the tables may have it. @p client:
	 * the network that counts as one, 16 octets. NULL: no */
	void (*asked)(void *arg, const char *service, const char *tag, const uint8_t *client);
	/* Its virtual addresses were: @return whether it has some now. NULL: no */
	bool (*address)(void *arg, const char *service, const char *tag);
	void *arg;
};
/** @p t is copied; NULL, as at first: nobody. */
void wm_dns_server_tags(struct wm_dns_server *s, const struct wm_dns_tags *t);
/** Let only clients of @p count networks ask, and this node itself; 0: everybody, as at the
 *  beginning. Copied. TCP connections that are open stay. */
void wm_dns_server_allow(struct wm_dns_server *s, const struct wm_guard_prefix *list,
			 unsigned count);
/** The reverse zones of these networks are ours, too: what nobody here has is not there, and nobody
 * else is asked. Once, before the first query. Copied. */
void wm_dns_server_ranges(struct wm_dns_server *s, const struct wm_guard_prefix *list,
			  unsigned count);
/** Answer the same question from one network of others at most @p per_s times a second over UDP,
 * from now on; 0: as often as it is asked. @return 0, -ENOMEM. */
int wm_dns_server_rate(struct wm_dns_server *s, unsigned per_s);
/* Where the keys of cookies come from. */
struct wm_dns_cookie_config {
	const char *file;     /* of several nodes that have an address in common; "": our own */
	const char *data_dir; /* our own are kept here, in dns-cookies; NULL: they are not */
	uint64_t rotate_ms;   /* how long our own makes cookies, 1 s at least */
	/* They are other ones now; it is not to keep @p k. NULL: nobody wants to know. */
	void (*changed)(void *arg, const struct wm_cookie_keys *k);
	void *arg;
};
/** Give clients cookies (RFC 7873, RFC 9018) from now on; NULL: none, as at the beginning, and
 * nobody is told. @p c is copied. Reads and writes a small file. @return 0; else it goes on as
 * before: WM_E_INVALID, @p e says what is wrong with c->file; -ENOMEM. */
int wm_dns_server_cookies(struct wm_dns_server *s, const struct wm_dns_cookie_config *c,
			  struct wm_err *e);
/** Would that take @p file? @return 0, WM_E_INVALID with @p e. */
int wm_dns_cookies_check(const char *file, struct wm_err *e);
/** What clients that ask for it are told of this server (RFC 5001), cut to WM_DNS_NSID_MAX octets;
 *  "": nothing. Copied. */
void wm_dns_server_nsid(struct wm_dns_server *s, const char *text);
/** Answer with these records of the operator's from now on, which are taken; NULL: none. What
 * others said of such names is forgotten. */
void wm_dns_server_statics(struct wm_dns_server *s, struct wm_statics *t);
void wm_dns_server_free(struct wm_dns_server *s); /* NULL ok */
/** Count what came in: a datagram, or a query over TCP. Each has one outcome, another counter's. */
void wm_dns_received(struct wm_dns_server *s, bool tcp);
/** One query in, one answer out. @p cap octets at @p out, WM_DNS_UDP_MAX at least. @p from who
 * asks, NULL: this node. @return octets, 0 when nothing is to be sent: what is no query is counted
 * as dropped, every query gets an answer. */
size_t wm_dns_respond_to(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
			 size_t len, bool tcp, uint8_t *out, size_t cap);
/** The whole server as a function, for tests, fuzzers and the differential test: both of these, of
 *  who is on this node. */
size_t wm_dns_respond(struct wm_dns_server *s, const uint8_t *query, size_t len, bool tcp,
		      uint8_t *out, size_t cap);
/** Ask others for names that are not ours, once, before the first query. @return 0, -ENOMEM. */
int wm_dns_server_upstream(struct wm_dns_server *s, const struct wm_upstream_config *c);
/** Let the kernel keep answers of others: @p max names, what was asked for @p after times, and
 *  @p stale_ms past their TTL. Once, after wm_dns_server_upstream(). @p k is copied. @return 0,
 *  -ENOMEM. */
int wm_dns_server_hot(struct wm_dns_server *s, const struct wm_hot_kernel *k, unsigned max,
		      unsigned after, uint64_t stale_ms);
/** Let the kernel give answers again that no health changes. Once, before the first query. @p k is
 *  copied. @return 0, -ENOMEM. */
int wm_dns_server_ready(struct wm_dns_server *s, const struct wm_ready_kernel *k);
/** The domain of a cluster's names, as it was configured; "": there is none. Borrowed. */
const char *wm_dns_cluster_domain(const struct wm_dns_server *s);
/** NULL: it does not. Borrowed. */
const struct wm_ready_level *wm_dns_ready(const struct wm_dns_server *s);
/** NULL: the kernel keeps nothing of others. Borrowed. */
struct wm_hot_level *wm_dns_hot(const struct wm_dns_server *s);
/** NULL: such names are refused. Borrowed. */
struct wm_upstream *wm_dns_upstream(const struct wm_dns_server *s);
/** Queries that wait for what others say, or bring. */
unsigned wm_dns_waiting(const struct wm_dns_server *s);
/* Whose an address is: one of the three, or nobody's. Borrowed until the loop turn ends. */
struct wm_dns_owner {
	const struct wm_node *node;
	const struct wm_service *service, *virtual_of; /* it is an instance's; a virtual one */
	const char *label;			       /* of a virtual one: a subset; "" is all */
	char name[WM_DNS_TEXT_MAX];		       /* what PTR says; "": nothing */
};
/** Who PTR of @p addr names; IPv4 is v4-mapped. @return 0, -EAGAIN: not found, but the index of
 *  addresses is still being built. */
int wm_dns_owner(struct wm_dns_server *s, const uint8_t addr[16], struct wm_dns_owner *ret);
const uint64_t *
wm_dns_counters(const struct wm_dns_server *s); /* in the order of WM_DNS_COUNTERS */
/** What userspace answered last, and how long answers take: seen.h. Borrowed. */
const struct wm_dns_seen *wm_dns_seen_of(const struct wm_dns_server *s);
/* Who brings what the kernel tells of its answers to wm_dns_sampled(). */
struct wm_dns_sampler {
	void (*read)(void *arg); /* bring what is there */
	void (*end)(void *arg);	 /* nobody wants more of it, and @p arg may go */
	void *arg;
};
/** Remember what @p k brings. Once; copied. @return 0; -ENOMEM, and nothing is ended. */
int wm_dns_server_sampler(struct wm_dns_server *s, const struct wm_dns_sampler *k);
/** The kernel told of an answer: it is remembered, and logged if it is its turn. */
void wm_dns_sampled(struct wm_dns_server *s, const struct wm_dns_sample *told);
/** Of what is dropped one in @p every is remembered, drawn; 0, as at first: none. */
void wm_dns_server_sample(struct wm_dns_server *s, unsigned every);
/** The same of the kernel, as far as it told until now; NULL: it tells of nothing. Borrowed. */
const struct wm_dns_seen *wm_dns_seen_by_kernel(const struct wm_dns_server *s);
