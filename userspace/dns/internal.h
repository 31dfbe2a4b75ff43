/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of dns/ share. A message goes: server.c (sockets) -> respond.c (what
 * to say) -> names.c (what the name asks for), records.c (records of instances), write.c (octets).
 */
#pragma once
#include "hot.h"
#include "kube.h"
#include "ready.h"
#include "seen.h"
#include "server.h"
#include "static_records.h"
#include "userspace/net/stream.h"
#include "userspace/net/tls_server.h"
#include "waymark/dns_answer.h"
#include "waymark/dns_cookie.h"
#include "waymark/guard.h"
#include "waymark/name_hash.h"
#include "waymark/rate.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>
#include <sys/socket.h>

#define WM_DNS_SRV_MAX 1024 /* SRV records of an answer; Consul's bound */
#define WM_DNS_NAMES_MAX                                                                           \
	2200			/* names that a message's compression remembers: two an SRV record \
				 */
#define WM_DNS_NAME_PLACES 4096 /* of the table that finds them: a power of two */
_Static_assert(WM_DNS_NAME_PLACES * 2 > WM_DNS_NAMES_MAX * 3, "a third stays empty");

#define WM_DNS_CHAIN_MAX 5 /* aliases of aliases that are followed; Consul's bound */

/* Times that a question waits for what its aliases lead to. Each time another service is brought,
 * but what was brought may be forgotten again before it is used. */
#define WM_DNS_LED_WAITS_MAX (WM_DNS_CHAIN_MAX + 1)

#define WM_DNS_SERVICE_MAX (WM_KUBE_KEY_MAX - 1) /* octets: a scope, a slash and a label */

enum wm_dns_counter {
#define X(sym, name, text) WM_DNS_C_##sym,
	WM_DNS_COUNTERS(X)
#undef X
		WM_DNS_COUNTER_COUNT
};

/* --- names.c --- */
enum wm_ask_kind {
	WM_ASK_OUTSIDE, /* not our domain */
	WM_ASK_NOTHING, /* inside, but no such name can be */
	WM_ASK_BRANCH,	/* names lie below it: exists without records */
	WM_ASK_APEX,
	WM_ASK_NS, /* ns.<domain> */
	WM_ASK_SERVICE,
	WM_ASK_VIRTUAL,
	WM_ASK_NODE,
	WM_ASK_ADDR,
	WM_ASK_QUERY,	/* a prepared query, by its name or id: `node` */
	WM_ASK_REVERSE, /* below in-addr.arpa or ip6.arpa */
	WM_ASK_STATIC,	/* a name of the operator's records */
	WM_ASK_KUBE,	/* in the cluster's domain */
};
/* What a name asks for. */
struct wm_dns_ask {
	enum wm_ask_kind kind;
	bool alt;      /* under the alternative domain */
	bool branch;   /* names may lie below it, whether it is a service or not */
	bool srv_only; /* has no records of another type */
	char service[WM_DNS_SERVICE_MAX + 1]; /* [<scope>/]<name> */
	char tag[WM_DNS_NAME_MAX + 1];	      /* or a subset of the service's policy; "": any */
	char node[WM_DNS_NAME_MAX + 1];	      /* dots between labels */
	bool is6;
	uint8_t addr[16]; /* WM_ASK_ADDR; WM_ASK_REVERSE: v4-mapped if IPv4, as far as it goes */
	/* WM_ASK_REVERSE: labels that are an address's, from its beginning, and those that are not;
	 * whole: it is one address */
	unsigned known, beyond;
	bool whole;
	const struct wm_static_name *fixed; /* WM_ASK_STATIC */
	struct wm_kube_ask kube;	    /* WM_ASK_KUBE */
};
/** @param folded wire name, root label included. */
void wm_ask_parse(const struct wm_dns_server *s, const uint8_t *folded, size_t len,
		  struct wm_dns_ask *ret);
/** The same of a name outside of our domains, into a cleared @p ret. */
void wm_ask_reverse(const uint8_t *folded, struct wm_dns_ask *ret);

/* --- write.c --- */
#define WM_DNS_POINTER_MAX 0x3fff /* a pointer has 14 bits: RFC 1035 4.1.4 */
struct wm_writer {
	uint8_t *out;
	size_t len, cap;
	bool full;     /* something did not fit; len is where it would have begun */
	size_t opt_at; /* where its OPT begins; 0: it has none */
	uint64_t key;  /* of the table's hash, secret: who registers names cannot make them clash */
	uint32_t
		message; /* number of the message, so that the table need not be cleared for each */
	const uint8_t *asked; /* the question's name; NULL: there is none */
	bool asked_noted;     /* it is in the table */
	unsigned names_count;
	/* names that a pointer may lead to: message << 14 | offset, found by the name's hash */
	uint32_t names[WM_DNS_NAME_PLACES];
};
/** Begin a message of at most @p cap octets at @p out. The writer is zero before its first. */
void wm_write_begin(struct wm_writer *w, uint8_t *out, size_t cap);
/** A question, octet for octet; later names may point into its name. It is the first of the
 * message, and @p wire stays as it is until the message is whole. */
void wm_put_question(struct wm_writer *w, const uint8_t *wire, size_t name_len, uint16_t type,
		     uint16_t class);
void wm_put8(struct wm_writer *w, uint8_t v);
void wm_put16(struct wm_writer *w, uint16_t v);
void wm_put32(struct wm_writer *w, uint32_t v);
void wm_put_bytes(struct wm_writer *w, const void *data, size_t len);
/** A name in wire form, its end replaced by a pointer where the message holds it already. */
void wm_put_name(struct wm_writer *w, const uint8_t *wire);
/** A name without pointers, as RFC 2782 wants a target. Later names do not point to it but by
 *  wm_rr_begin_at(). */
void wm_put_name_plain(struct wm_writer *w, const uint8_t *wire);
/** Owner, type, class, TTL and room for the length. @return place of the length. */
size_t wm_rr_begin(struct wm_writer *w, const uint8_t *owner, uint16_t type, uint32_t ttl_s);
/** The same of an owner that was written at @p owner, without pointers. */
size_t wm_rr_begin_at(struct wm_writer *w, size_t owner, uint16_t type, uint32_t ttl_s);
/** Fill in the length. @return false: the record did not fit; the message is as before @p begin. */
bool wm_rr_end(struct wm_writer *w, size_t begin, size_t length_at);
/** Append a label of text to a wire name without root. @return new length, 0: does not fit. */
size_t wm_wire_label(uint8_t *wire, size_t at, const char *label, size_t len);

/* --- options.c --- */
#define WM_DNS_NSID_MAX 64 /* octets of dns.nsid: a name of a machine, and what belongs to it */
/* What an answer's OPT holds, and what the query's told of the client. */
struct wm_dns_extra {
	size_t len; /* octets: they are kept free for it */
	bool has_cookie;
	enum wm_cookie cookie;
	uint8_t octets[WM_OPTIONS_ANSWER + WM_DNS_OPTION_HEAD + WM_DNS_NSID_MAX];
};
/** Of the @p len octets of options of a query by @p from, NULL if that is not known. @p own: it is
 *  about a name of ours. Nothing if one of them is malformed. */
void wm_dns_extra_of(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *options,
		     size_t len, bool own, struct wm_dns_extra *ret);
/** The same of a query that wm_dns_parse() read. */
void wm_dns_extra_of_query(struct wm_dns_server *s, const struct sockaddr *from,
			   const uint8_t *query, size_t len, const struct wm_dns_query *q, bool own,
			   struct wm_dns_extra *ret);
/** The OPT of a message of any opcode and counts, whose question was not read. @p len >= 12.
 *  @return false: it has none, or more than one, or does not end with its last record. */
bool wm_dns_opt_of(const uint8_t *msg, size_t len, struct wm_dns_query *ret);
/** An answer with it is sent: counted. */
void wm_dns_note_cookie(struct wm_dns_server *s, const struct wm_dns_extra *x);
/** It is not sent after all. */
void wm_dns_unnote_cookie(struct wm_dns_server *s, const struct wm_dns_extra *x);
/** Append an OPT, for which the caller has kept room. @p x NULL: without options. */
void wm_put_opt(struct wm_writer *w, uint8_t rcode_high, uint16_t edns_flags,
		const struct wm_dns_extra *x);
/** Has the client shown a cookie of ours, so that his address is not forged? */
bool wm_dns_cookie_valid(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
			 size_t len);
/** The answer to a query without a question that asks for a cookie (RFC 7873 5.4), counted.
 *  @return octets; 0: it is none. */
size_t wm_dns_cookie_alone(struct wm_dns_server *s, const uint8_t *query, size_t len, uint8_t *out,
			   size_t cap);

/* --- records.c --- */
struct wm_reply {
	struct wm_dns_server *s;
	struct wm_writer w;
	const uint8_t *question; /* wire name as the client wrote it */
	struct wm_dns_query q;
	struct wm_dns_ask ask;
	struct wm_dns_extra extra;
	bool bad_options;	     /* one of the query's is malformed */
	enum wm_dns_counter outcome; /* that the answer was counted as */
	bool tcp, truncated;
	unsigned chain;	     /* aliases that were followed */
	uint32_t ttl_s;	     /* of its records, negative ones apart */
	bool ordered;	     /* the list of instances is: the nearest stand first */
	const uint8_t *zone; /* wire name that the SOA is of; NULL: the domain */
	uint16_t rcode, answers, authorities, additionals;
	/* whether the kernel may give it again: what it is made of, and not of health */
	bool changing;
	unsigned sources_count;
	uint16_t sources[WM_READY_SOURCES];
	size_t serial_at; /* of the SOA; 0: there is none */
	uint16_t turns;	  /* as in struct wm_ready_head */
	/* an alias leads to this name of others, folded, and it has no more to say; 0: none does */
	size_t lead_len, lead_end; /* where its last record ends in the message */
	uint8_t lead[WM_NAME_BUF];
	/* services that aliases led to, whether they are here or not */
	unsigned led_count;
	char led[WM_DNS_CHAIN_MAX + 1][WM_DNS_SERVICE_MAX + 1];
};
/** A and AAAA of a service, from the tables. @return records, 0. */
unsigned wm_reply_addresses(struct wm_reply *r, uint16_t type);
/** The same from the registry: by tag, or when the service did not fit the tables. */
unsigned wm_reply_registry(struct wm_reply *r, uint16_t type);
void wm_reply_srv(struct wm_reply *r);
/** The same of instances that somebody chose. */
unsigned wm_reply_listed(struct wm_reply *r, const struct wm_instance *const *list, unsigned count,
			 uint16_t type);
/** Likewise; @p list is overwritten. */
void wm_reply_srv_listed(struct wm_reply *r, const struct wm_instance **list, int64_t n);
/** Records of a prepared query. */
void wm_reply_query(struct wm_reply *r);
/** <name>.<kind>[.<dc>].<domain>; a node's name may have dots. @return false: it does not fit. */
bool wm_name_in_domain(const struct wm_reply *r, const char *name, const char *kind, bool dc,
		       uint8_t out[WM_DNS_NAME_MAX + 1]);
/** [<label>.]<service>.virtual.<domain>; @p label "": none. @return false: it does not fit. */
bool wm_virtual_in_domain(const struct wm_reply *r, const char *label, const char *service,
			  uint8_t out[WM_DNS_NAME_MAX + 1]);
/** One address record for the question's name. */
bool wm_reply_address(struct wm_reply *r, bool is6, const uint8_t *addr);
/** Is @p i usable? As resolution decides for the tables. */
bool wm_reply_up(const struct wm_reply *r, const struct wm_instance *i);
/** Make room for @p n in s->chosen. @return 0, -ENOMEM. */
int wm_reply_room(struct wm_dns_server *s, size_t n);
/** Is @p i usable, and has it the asked tag? */
bool wm_reply_takes(const struct wm_reply *r, const struct wm_instance *i);
/** Who may be named of the asked service @p s, its tag or subset, in no order. @return how many, in
 *  r->s->chosen; -1: no memory. */
int64_t wm_reply_candidates(struct wm_reply *r, const struct wm_service *s);
/** Have the tables an address of the asked service, or of a part of it, that is up? */
bool wm_reply_up_in_tables(const struct wm_reply *r);
/** Is there what was asked for: a service or a part of it that has a virtual address, or somebody
 *  who takes connections? */
bool wm_reply_exists(struct wm_reply *r);
/** Does the asked service have usable instances with a tag that the asked one is the end of? */
bool wm_reply_has_below(const struct wm_reply *r);

/* --- respond.c --- */
/** What the name asks for, and the TTL of its records. */
void wm_reply_ask(struct wm_reply *r, const uint8_t *folded, size_t len);
/** Records of r->question, of which r->ask tells. */
void wm_reply_answer(struct wm_reply *r);
/** Give the kernel the answer to a question, folded, if it may give it again; not while another is
 *  made. @return false: it may not, or was not taken. */
bool wm_dns_give(struct wm_dns_server *s, const uint8_t *folded, size_t len, uint16_t type);
/** The records are made of what has this word, too: wm_ready_source(). */
void wm_reply_source(struct wm_reply *r, uint16_t source);
/** SOA and NS of r->zone, or of the domain, which is r->question. */
void wm_reply_apex(struct wm_reply *r);
/** Begin s->reply behind what is written at s->reply.w: records of @p target, a name of ours,
 *  folded, which an alias of others leads to that has it @p at this place of the message, or an SOA
 *  where there are none; without header and OPT. As of any reply, it may lead on. */
void wm_reply_led(struct wm_dns_server *s, const struct wm_dns_query *q, bool tcp,
		  const uint8_t *target, size_t len, size_t at);
/** An alias led to what r->ask tells of: if it is a service, it is one of r->led. */
void wm_reply_led_to(struct wm_reply *r);
/** Addresses of this agent's node. */
void wm_reply_own_node(struct wm_reply *r);
/** The same as wm_ready_config.remake of a server. */
bool wm_reply_remake(void *server, const uint8_t *name, uint16_t len, uint16_t type);
/** TTL of the records of a service. */
uint32_t wm_service_ttl(const struct wm_reply *r, const char *service);

/** The service that a query asks for. @return false: none. */
bool wm_dns_service_of(struct wm_dns_server *s, const uint8_t *query, size_t len,
		       char ret[WM_DNS_SERVICE_MAX + 1]);
/** The answer that wm_dns_respond_to() has just made is given: it is noted. */
void wm_dns_say(struct wm_dns_server *s);
/** It is not: its query has another outcome. */
void wm_dns_unsay(struct wm_dns_server *s);
/** SERVFAIL to a query that wm_dns_service_of() read, counted; wm_dns_say() notes it. */
size_t wm_dns_servfail(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
		       size_t len, bool tcp, uint8_t *out, size_t cap);

/* --- alias.c --- */
/** Wire form of a host name in text, with or without a dot at its end. @return false: it is none.
 */
bool wm_host_wire(const char *text, uint8_t out[WM_DNS_NAME_MAX + 1]);
/** The host name that an instance has for an address, NULL: it has an IP address. Borrowed. */
const char *wm_host_of(const struct wm_instance *i);
/** CNAME of a service whose usable instances have host names only. */
void wm_reply_service_alias(struct wm_reply *r);
/** CNAME of the question's name, and what it leads to where that is ours. @return false: it is an
 *  alias of itself. */
bool wm_reply_alias(struct wm_reply *r, const uint8_t *target);
/** Records from @p at on whose owner is the question are in truth @p owner's, a place in the
 *  message: those of tables are written with the pointer that nearly all of them want. */
void wm_reply_own(struct wm_writer *w, size_t at, size_t owner);
/** CNAME of a node whose address is a host name. */
void wm_reply_node_alias(struct wm_reply *r, const struct wm_node *n);

/* --- places.c --- */
struct wm_places;
/** Subscribes. What is registered already is indexed in later turns. @return NULL without memory.
 */
struct wm_places *wm_places_new(struct wm_loop *l, struct wm_registry *r);
/** Is all of it? Until then an address that is not found may be a service's. */
bool wm_places_whole(const struct wm_places *p);
void wm_places_free(struct wm_places *p); /* NULL ok */
/** Tell s->ready of changes from now on, and of the names of nodes, those that are there first. */
void wm_places_tell(struct wm_places *p, struct wm_dns_server *s);
/** IPv4 in the form that is asked for. */
void wm_places_map4(const struct in_addr *a, uint8_t out[16]);
/** Who is at an address: the one that is there longest. NULL: nobody. Borrowed. Cost O(1). */
const struct wm_node *wm_places_node(const struct wm_places *p, const uint8_t addr[16]);
const struct wm_service *wm_places_service(const struct wm_places *p, const uint8_t addr[16]);
/** The services at an address, @p max at most. @return how many. Borrowed. */
unsigned wm_places_services(const struct wm_places *p, const uint8_t addr[16],
			    const struct wm_service **ret, unsigned max);
/** Does a node's name end with @p end behind a dot? Lower case. Cost O(1). */
bool wm_places_node_below(const struct wm_places *p, const char *end);

/* --- reverse.c --- */
/** PTR of an address, or that there is none. */
void wm_reply_reverse(struct wm_reply *r);
/** One PTR record of the question. */
void wm_reply_ptr(struct wm_reply *r, const uint8_t *target);

/* --- kube_records.c --- */
/** Records of a name of the cluster's domain, of which r->ask.kube tells. */
void wm_reply_kube(struct wm_reply *r);
/** PTR of the address r->ask.addr. @return false: it is of no service of a cluster. */
bool wm_reply_kube_ptr(struct wm_reply *r);

/* --- lookup.c: questions that wait for a service --- */
struct wm_dns_conn;
struct wm_dns_parked;
LIST_HEAD(wm_dns_parked_list, wm_dns_parked);
/** A datagram whose answer waits; copied. @return 0: answer it; 1: it waits; else SERVFAIL. */
int wm_dns_park(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len);
/** The same of a query of @p c, on @p list until wm_dns_conn_answered(). */
int wm_dns_park_query(struct wm_dns_server *s, struct wm_dns_conn *c,
		      struct wm_dns_parked_list *list, const uint8_t *query, size_t len);
/** The same behind wm_dns_respond_to(), for services that aliases in its answer led to. */
int wm_dns_park_led(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len);
int wm_dns_park_led_query(struct wm_dns_server *s, struct wm_dns_conn *c,
			  struct wm_dns_parked_list *list, const uint8_t *query, size_t len);
/** Ask for the services that aliases in what was just made led to, one after the other. @p waits:
 *  how often the question has waited, counted here, WM_DNS_LED_WAITS_MAX times at most. @return 0:
 *  all are here, or nobody brings them; 1: @p done is called, as of struct wm_dns_lookup; else an
 *  error. */
int wm_dns_ask_led(struct wm_dns_server *s, unsigned *waits, void (*done)(void *arg, int code),
		   void *arg);
/** Nobody waits for these any more. */
void wm_dns_unpark(struct wm_dns_server *s, struct wm_dns_parked_list *list);

/** Is the question about an address of nobody's, of none of our ranges? */
bool wm_reverse_elsewhere(const struct wm_dns_server *s, const struct wm_dns_ask *ask,
			  uint16_t type);

/* --- upstream_serve.c: questions that are not ours --- */
struct wm_dns_passed;
struct wm_dns_conn;
LIST_HEAD(wm_dns_passed_list, wm_dns_passed);
/** Take a datagram to the resolver if its question is not ours; copied. @return false: it is not
 *  taken. */
bool wm_dns_pass_datagram(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len);
/** The same of a query of @p c, on @p list until wm_dns_conn_answered(), which may be called before
 *  this returns. */
bool wm_dns_pass_query(struct wm_dns_server *s, struct wm_dns_conn *c, int fd,
		       struct wm_dns_passed_list *list, const uint8_t *query, size_t len);
/** Behind the answer that wm_dns_respond_to() has just made: ask the resolver for what its alias
 *  leads to, and send both together. @return false: the answer is whole as it is. */
bool wm_dns_lead_datagram(struct wm_dns_server *s, int fd, const struct msghdr *h, size_t len);
/** The same of a query of @p c, as wm_dns_pass_query(). */
bool wm_dns_lead_query(struct wm_dns_server *s, struct wm_dns_conn *c, int fd,
		       struct wm_dns_passed_list *list, const uint8_t *query, size_t len);
/** Nobody waits for these any more. */
void wm_dns_unpass(struct wm_dns_passed_list *list);
/** The same of those that wait for a service of ours. @return whether there are any. */
bool wm_dns_unpass_led(struct wm_dns_passed_list *list);

/* --- clients.c: how much of something each client has --- */
#define WM_DNS_CLIENT_LEN 16
struct wm_dns_clients;
struct wm_dns_client;
/** Who counts as one: an IPv4 address, v4-mapped, or a /64. */
void wm_dns_client_of(const struct sockaddr_storage *from, uint8_t ret[WM_DNS_CLIENT_LEN]);
/** @param all_max clients at a time; @param max what each may have, 1 at least. @return NULL
 * without memory. */
struct wm_dns_clients *wm_dns_clients_new(unsigned all_max, unsigned max);
void wm_dns_clients_free(struct wm_dns_clients *k); /* NULL ok; all must have left */
/** One more of this client's. @return 0; -EDQUOT: it has as many as it may; -ENOMEM. */
int wm_dns_clients_enter(struct wm_dns_clients *k, const uint8_t addr[WM_DNS_CLIENT_LEN],
			 struct wm_dns_client **ret);
/** One less; it may be gone then. NULL ok. */
void wm_dns_clients_leave(struct wm_dns_clients *k, struct wm_dns_client *c);

/* --- guard.c: who may ask --- */
struct wm_dns_guard {
	struct wm_guard_prefix allow[WM_GUARD_PREFIXES_MAX];
	unsigned allow_count; /* 0: everybody may */
	__be32 (*own)[4];     /* addresses of this machine */
	unsigned own_count;
	uint64_t own_ms; /* when they were read; 0: not yet */
};
/** Is it an address of this machine? Read anew each second. */
bool wm_dns_is_local(struct wm_dns_server *s, const struct sockaddr *from);
/** May the client at @p from ask? Counted if not. */
bool wm_dns_may_ask(struct wm_dns_server *s, const struct sockaddr *from);
void wm_dns_guard_done(struct wm_dns_guard *g);

/* --- cookie_keys.c --- */
struct wm_dns_cookie_keeper;
/** Forget the keys; nobody is told. */
void wm_dns_cookies_done(struct wm_dns_server *s);

/* --- padding.c --- */
/** Does a query have the option of padding? */
bool wm_dns_pads(const uint8_t *query, size_t len);
/** Octets that make an answer of @p len octets, whose OPT begins at @p opt_at and is its last
 * record, one of a length that tells little; 0: it has none, or there is no room. */
size_t wm_dns_padding(size_t opt_at, size_t len);
/** Put them behind it. */
void wm_dns_pad(uint8_t *answer, size_t opt_at, size_t len, size_t pad);

/* --- rate.c: how often the same is answered over UDP --- */
struct wm_dns_rate_place;
struct wm_dns_rate {
	uint64_t every_ns; /* 0: as often as it is asked */
	uint64_t key;	   /* of the table's hash, secret */
	struct wm_dns_rate_place *at;
};
/** What a datagram is answered with; counted if not by its answer. */
enum wm_rated wm_dns_rate(struct wm_dns_server *s, const struct sockaddr *from,
			  const uint8_t *query, size_t len);
/** The same once the answer @p made was made, of wm_dns_respond(): what is not there is the same
 *  whatever was asked, by domain of ours. The query has its outcome in the counters already. */
enum wm_rated wm_dns_rate_made(struct wm_dns_server *s, const struct sockaddr *from,
			       const uint8_t *query, size_t len, const uint8_t *made);
/** The answer to a query that is rated CUT, of WM_DNS_EDNS_MAX octets at most: the question alone,
 *  with TC; to a client who understands cookies BADCOOKIE with one by which he is answered the next
 *  time. @return octets. */
size_t wm_dns_rate_cut(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
		       size_t len, uint8_t *out);
void wm_dns_rate_done(struct wm_dns_rate *r);

/* --- conn.c: connections --- */
/** Serve a client on @p fd, which is taken; closed where he has connections enough. */
void wm_dns_conn_open(struct wm_dns_server *s, int fd, const struct sockaddr_storage *from,
		      bool tls);
void wm_dns_conn_close(struct wm_dns_conn *c);
/** An answer to a query that waited, none if @p len is 0; @p c may be gone then. */
void wm_dns_conn_answered(struct wm_dns_conn *c, const uint8_t *answer, size_t len);
/** Whose it is. */
const struct sockaddr_storage *wm_dns_conn_from(const struct wm_dns_conn *c);
/** wm_dns_lead_query() with its socket and list. */
bool wm_dns_conn_lead(struct wm_dns_conn *c, const uint8_t *query, size_t len);
/** Close those of which a query waits for a service. */
void wm_dns_conns_unpark(struct wm_dns_server *s);

/* --- static_ready.c --- */
/** Give the operator's records to the kernel, some in each turn, from the first on. Nothing where
 * it takes none. */
void wm_dns_fill(struct wm_dns_server *s);

/* --- node_ready.c --- */
/** Make the kernel know nodes and the domain itself, and nodes that come. Once, where it takes such
 *  answers. @return 0, -ENOMEM. */
int wm_dns_foresee(struct wm_dns_server *s);
/** Tell s->ready that there is one more of what is called @p folded, a node or the end of a node's
 *  name, or one less: by all names that it has. */
void wm_dns_node_there(struct wm_dns_server *s, const char *folded, bool more);

/* --- query_log.c --- */
/** An answer was made: it is remembered, and logged if it is its turn. As wm_dns_seen_put(). */
void wm_dns_note(struct wm_dns_server *s, const struct wm_dns_made *m);
/** A datagram was dropped, and counted: noted as well, if it is one of so many (dns.sample). */
void wm_dns_note_drop(struct wm_dns_server *s, const struct sockaddr *from, const uint8_t *query,
		      size_t len, enum wm_dns_level why);

/* --- server.c --- */
struct wm_dns_socket {
	struct wm_dns_server *s;
	int fd;
	bool tls;
	struct wm_io *io;
	struct wm_timer *again; /* TCP's: accepts again */
	SLIST_ENTRY(wm_dns_socket) entry;
};
struct wm_dns_conn;
struct wm_dns_server {
	struct wm_loop *loop;
	struct wm_registry *registry;
	struct wm_tables *tables;
	struct wm_places *places;
	struct wm_kube *kube;	/* NULL: there is no cluster */
	struct wm_dns_config c; /* its strings are not used */
	char *datacenter;	/* lower case */
	uint64_t counters[WM_DNS_COUNTER_COUNT];
	struct wm_dns_seen *seen, *kernel_seen; /* kernel_seen NULL: it tells of nothing */
	struct wm_dns_sampler sampler;
	uint32_t sample_every, drop_left; /* of what is dropped, as of the kernel's answers */
	uint64_t log_owed;   /* questions that those told of stand for, since one was logged */
	uint64_t log_second; /* of the query log, and lines in it */
	unsigned log_lines;
	SLIST_HEAD(, wm_dns_socket) sockets;
	LIST_HEAD(, wm_dns_conn) conns;
	unsigned conns_count;
	struct wm_tls_server *tls;	     /* NULL: none is spoken */
	struct wm_dns_clients *conn_clients; /* by connections */
	size_t conns_owe;	 /* octets of answers that their clients have not taken */
	struct wm_reply reply;	 /* scratch: large */
	struct wm_dns_made made; /* of it: wm_dns_say() */
	uint8_t answer[65536];	 /* scratch of a TCP answer */
	uint8_t records[WM_DNS_GATHER_MAX * WM_DNS_RR_AAAA] __attribute__((aligned(8)));
	const struct wm_instance **chosen; /* scratch of an SRV answer */
	size_t chosen_cap;
	uint16_t targets[WM_DNS_SRV_MAX]; /* scratch: where its targets are */
	struct wm_dns_batch *batch;	  /* scratch of a read of datagrams */
	struct wm_dns_lookup lookup;	  /* its ask NULL: nobody */
	struct wm_dns_parked_list parked;
	unsigned parked_count;	      /* with those of connections */
	struct wm_upstream *upstream; /* NULL: names that are not ours are refused */
	struct wm_dns_passed_list passed;
	unsigned passed_count;	      /* with those of connections */
	struct wm_hot_level *hot;     /* NULL: the kernel keeps nothing of others */
	struct wm_ready_level *ready; /* NULL: nor of ours */
	unsigned anew;		      /* times that what it keeps was forgotten */
	LIST_HEAD(, wm_dns_renewal) renewals;
	struct wm_dns_near near; /* its sort NULL: nobody */
	struct wm_dns_tags tags;
	const struct sockaddr *from; /* who asks what is answered just now; NULL: this node */
	struct wm_dns_guard guard;
	struct wm_guard_prefix ranges[WM_GUARD_PREFIXES_MAX]; /* whose reverse zones are ours */
	unsigned ranges_count;
	struct wm_dns_rate rate;
	struct wm_cookie_keys cookies;
	struct wm_dns_cookie_keeper *keeper; /* of their keys; NULL: there are no cookies */
	uint8_t nsid[WM_DNS_NSID_MAX];
	size_t nsid_len;	  /* 0: nobody is told */
	struct wm_statics *fixed; /* ours; NULL: none */
	struct wm_statics *gone;  /* those before, that are freed in some turns */
	struct wm_timer *retire;
	struct wm_timer *fill; /* what is to be given of them; NULL: the kernel takes none */
	size_t fill_at;
	unsigned fill_left; /* answers that it takes yet */
};
