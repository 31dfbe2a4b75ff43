/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_internal.h - what the upstream files share. A question that is not ours goes:
 * upstream_serve.c (who asked) -> upstream.c (bounds, deadlines, which resolver) ->
 * upstream_unbound.c (libunbound) -> upstream_answer.c (what the client is sent).
 * upstream_servers.c reads which servers there are, upstream_conf.c writes libunbound's
 * configuration, upstream_probe.c watches the servers. Threading: loop thread only. */
#pragma once
#include "internal.h"
#include "upstream.h"
#include "userspace/base/buf.h"

/* --- upstream_servers.c --- */
/** Read "192.0.2.1", "192.0.2.1@5353", "2001:db8::1@853#dns.example": the address, a port, and the
 *  name that its certificate must have, which makes it DNS over TLS. @return 0, -EINVAL. */
int wm_upstream_server_parse(const char *text, struct wm_upstream_server *ret);
/** Add the servers of a file as resolv.conf(5). @return how many were added; @p ret_generated is
 *  whether NetworkManager says there that it wrote it. */
unsigned wm_upstream_resolv_conf(const char *path, struct wm_upstream_route *to,
				 bool *ret_generated);
/** Is it systemd-resolved's own listener, which has others behind it? */
bool wm_upstream_is_stub(const struct wm_upstream_server *s);
#define WM_UPSTREAM_SOURCE 256 /* octets of a file's path, its NUL included */
/** The servers of this machine, by c->resolv_conf. The first file that names another server than us
 *  counts; one that names systemd-resolved's listener only where no other names what is behind it.
 *  Of those that NetworkManager wrote the last counts: the one before ours, which is kept, is what
 *  it said then, and its own what it says now. @p source is that file, "": none names any. */
void wm_upstream_system(const struct wm_upstream_config *c, struct wm_upstream_route *ret,
			char source[WM_UPSTREAM_SOURCE]);
/** Leave out servers that are ourselves. */
void wm_upstream_drop_ours(const struct wm_upstream_own *own, struct wm_upstream_route *r);
bool wm_upstream_server_same(const struct wm_upstream_server *a,
			     const struct wm_upstream_server *b);
/** Is it what @p a is connected to: the server, or the port that leads to it over TLS? */
bool wm_upstream_server_is(const struct wm_upstream_server *s, const struct sockaddr *a);
/** The route that a name takes, in text: the one of the longest domain. NULL: none. */
const struct wm_upstream_route *wm_upstream_route_of(const struct wm_upstream_routes *all,
						     const char *name);

/* --- upstream_tls.c: servers that speak TLS --- */
struct wm_upstream_relays;
/** @param counters WM_UPSTREAM_COUNTERS, which outlive it. @return 0; WM_E_INVALID: @p ca_file ("":
 *  the system's) holds no authorities; negative errno. */
int wm_upstream_relays_new(struct wm_loop *l, const char *ca_file, uint64_t *counters,
			   struct wm_upstream_relays **ret, struct wm_err *e);
void wm_upstream_relays_free(struct wm_upstream_relays *all); /* NULL ok */
/** From now on @p s, which has a name, is asked through a port of ours: s->via. @return 0, negative
 *  errno. */
int wm_upstream_relays_add(struct wm_upstream_relays *all, struct wm_upstream_server *s);
/** What is wrong with the connection to it; "": nothing. Borrowed until the loop's turn ends. */
const char *wm_upstream_relays_why(const struct wm_upstream_relays *all,
				   const struct wm_upstream_server *s);

/* --- upstream_conf.c --- */
/* Octets of libunbound's configuration: what settings may name takes some 400,000, of which names
 * apart have 235,000, keys that are followed 65,000, domains 30,000, reverse zones 60,000. */
#define WM_UPSTREAM_CONF_MAX 524288
/** Configuration of a resolver in unbound.conf(5)'s form. @return false: b->failed. */
bool wm_upstream_conf(struct wm_buf *b, const struct wm_upstream_config *c,
		      const struct wm_upstream_routes *routes);
/** Where keys are followed, begin their file, which libunbound writes from then on, unless it is
 *  there and can be read. Blocks on the disk. @return 0, negative errno: there is none. */
int wm_upstream_anchors(const struct wm_upstream_config *c);
/** Those of them that are trusted now, as a resolver that only reads them is told. @return false:
 *  b->failed. */
bool wm_upstream_followed(struct wm_buf *b, const struct wm_upstream_config *c);
/** The domain whose keys are followed, in text: that of the first record of their file; ".": it has
 * none. */
void wm_upstream_anchor_domain(const struct wm_upstream_config *c, char ret[WM_DNS_TEXT_MAX]);
/** The same of one that asks @p s alone, for names of @p domain, and keeps nothing. */
bool wm_upstream_conf_probe(struct wm_buf *b, const struct wm_upstream_config *c,
			    const char *domain, const struct wm_upstream_server *s);

/* --- upstream_apart.c: names that nobody is asked for --- */
/** Each name of @p t that has a zone of its own, as wm_upstream_conf() puts them. NULL ok. */
void wm_upstream_apart_each(struct wm_buf *b, const struct wm_statics *t,
			    void (*put)(struct wm_buf *b, const char *zone));

/* --- upstream_aside.c: keys that are followed, where nobody waits for the disk --- */
struct wm_upstream_aside {
	int fd;				    /* of the folder in memory */
	char disk[WM_UPSTREAM_ANCHOR_PATH]; /* "": there is none, and libunbound writes there */
	char memory[32];
};
/** Copy the file at @p path into memory, and let @p path be that. @return 0; negative errno: it is
 *  as it was, as where the kernel refuses a file system of ours. */
int wm_upstream_aside_begin(struct wm_upstream_aside *a, char path[WM_UPSTREAM_ANCHOR_PATH]);
/** It was written: copy it back, without a wait for the disk. */
void wm_upstream_aside_keep(const struct wm_upstream_aside *a);
/** The same, and no more of it. */
void wm_upstream_aside_end(struct wm_upstream_aside *a);

/* --- upstream_clock.c: is this node's clock right? --- */
struct wm_unbound_answer;
struct wm_upstream_clock {
	bool unset;	    /* as it was looked at last */
	bool back;	    /* it was set back since */
	int64_t ahead_ms;   /* wm_clock_set_back() */
	uint64_t secure_ms; /* something was validated; 0: never yet */
	uint64_t said_ms;
};
/** Does it say a time that is over for certain? Then no date is looked at. */
bool wm_upstream_clock_unset(void);
/** Say so, and when it is over. */
void wm_upstream_clock_look(struct wm_upstream_clock *c);
/** Was it set back since the last call, also for less than the time between two? */
bool wm_upstream_clock_back(struct wm_upstream_clock *c);
/** An answer came: say what many that failed for their dates may mean. */
void wm_upstream_clock_judge(struct wm_upstream_clock *c, const struct wm_unbound_answer *a);

/* --- upstream_pace.c: how long servers take, and what may be asked twice --- */
#define WM_UPSTREAM_PACE_PLACES 64 /* sixteen octaves from 128 us on: eight seconds */
struct wm_upstream_pace {
	uint16_t n[WM_UPSTREAM_PACE_PLACES];
	unsigned count;	 /* the sum of n */
	unsigned tokens; /* hundredths of a question */
};
/** Nothing is known; 64 questions may be asked twice at once. */
void wm_upstream_pace_init(struct wm_upstream_pace *p);
/** A question took so long, or as long at least. */
void wm_upstream_pace_note(struct wm_upstream_pace *p, uint64_t us);
/** Nineteen of twenty took less, by a quarter at most; 10 ms at least, 150 while little is known.
 */
uint64_t wm_upstream_pace_p95_us(const struct wm_upstream_pace *p);
/** A question was asked, of which @p percent may be asked twice. */
void wm_upstream_pace_earn(struct wm_upstream_pace *p, unsigned percent);
/** May one be asked twice? Then it is counted. */
bool wm_upstream_pace_spend(struct wm_upstream_pace *p);

/* --- upstream_events.c: libunbound's events on the loop --- */
struct ub_event_base;
/** @return NULL without memory. It lives until freed; all its events must be gone before. */
struct ub_event_base *wm_upstream_events_new(struct wm_loop *l);
void wm_upstream_events_free(struct ub_event_base *b); /* NULL ok */
/** Forget the socket that was watched last, and that anything was read. */
void wm_upstream_events_mark(struct ub_event_base *b);
/** The socket that was watched last since then; -1: none. */
int wm_upstream_events_fd(const struct ub_event_base *b);
/** Has anything been read since then? */
bool wm_upstream_events_heard(const struct ub_event_base *b);

/* --- upstream_unbound.c --- */
struct wm_unbound;
struct wm_unbound_ask;
/* What came of a question. */
struct wm_unbound_answer {
	bool failed; /* no answer: SERVFAIL */
	const uint8_t
		*packet; /* a DNS message of libunbound's, without an ID that means anything */
	size_t len;
	bool secure, bogus; /* validated; validation failed */
	bool at_once;	    /* it was there: nobody was asked */
	bool second;	    /* another server had it before the one that was asked first */
	const char *why;    /* bogus: libunbound's words; borrowed for the callback. NULL: none */
};
typedef void (*wm_unbound_fn)(void *arg, const struct wm_unbound_answer *a);
/** Whether libunbound takes the configuration, and the files that it names. Blocks on the disk. */
bool wm_unbound_takes(const char *conf);
/** A resolver with a cache of its own. @p conf is as wm_upstream_conf() writes it.
 *  @return 0, -ENOMEM, -EINVAL with @p e. */
int wm_unbound_new(struct wm_loop *l, const char *conf, size_t len, struct wm_unbound **ret,
		   struct wm_err *e);
/** Ask it. @p fn runs once, maybe before this returns (then *ret is NULL), unless it is cancelled.
 *  @return 0, -ENOMEM, -EIO. */
int wm_unbound_ask(struct wm_unbound *u, const char *name, uint16_t type, wm_unbound_fn fn,
		   void *arg, struct wm_unbound_ask **ret);
/** Has a server said anything since wm_unbound_ask()? */
bool wm_unbound_heard(const struct wm_unbound *u);
/** The server that it was asked of first, as libunbound's sockets are connected; AF_UNSPEC: of
 * none, as another asks the same, or no socket is left. Borrowed. */
const struct sockaddr *wm_unbound_asked(const struct wm_unbound_ask *k);
/** @p fn will not run; libunbound goes on, and what it finds is kept. NULL ok. */
void wm_unbound_cancel(struct wm_unbound_ask *k);
/** Questions that libunbound works on. */
unsigned wm_unbound_busy(const struct wm_unbound *u);
/** Nobody's @p fn runs any more. Not from within one. NULL ok. */
void wm_unbound_free(struct wm_unbound *u);

/* --- upstream_answer.c --- */
/* Who asked, and how. */
struct wm_upstream_shape {
	const uint8_t *query;	      /* whole: its ID and question are taken */
	const struct wm_dns_query *q; /* of it */
	bool secure;		      /* AD for who wants to know */
	const uint8_t *before;	      /* records of ours that lead to what was asked, and stand */
	size_t before_len;	      /* behind the question as they were written there */
	uint16_t before_count;
	const struct wm_dns_extra *extra; /* of the answer's OPT; NULL: nothing */
	uint16_t only; /* so many records of the answer section and nothing else; 0: all there is */
};
struct wm_upstream_made {
	size_t len;
	uint16_t rcode;
	uint16_t put[3]; /* records of answer, authority, additional but for OPT */
	bool truncated;
	bool aged;	 /* the TTL of some record is over */
	size_t alias_at; /* where the name that the last CNAME leads to stands in it */
};
/** Write the answer to the client's query at @p out from libunbound's message: flags, the question
 *  as the client wrote it, records without those of DNSSEC for who does not want them, cut with TC
 *  to @p cap (WM_DNS_UDP_MAX at least), OPT. @return false: the message cannot be read. */
bool wm_upstream_answer(struct wm_writer *w, const struct wm_upstream_shape *shape,
			const uint8_t *packet, size_t len, uint8_t *out, size_t cap,
			struct wm_upstream_made *ret);
/** All of it but OPT and header: more records may be written and counted in ret->put, until
 *  wm_upstream_finish(). */
bool wm_upstream_begin(struct wm_writer *w, const struct wm_upstream_shape *shape,
		       const uint8_t *packet, size_t len, uint8_t *out, size_t cap,
		       struct wm_upstream_made *ret);
void wm_upstream_finish(struct wm_writer *w, const struct wm_upstream_shape *shape,
			struct wm_upstream_made *made);
/** An error in its place: header, question, OPT. */
void wm_upstream_error(struct wm_writer *w, const struct wm_upstream_shape *shape, uint16_t rcode,
		       uint8_t *out, size_t cap, struct wm_upstream_made *ret);
/** Follow the aliases of an answer from @p name on, folded, zeros behind: @p ends is asked of each
 *  name that one leads to, the same way. @return records of the answer up to that alias, with its
 *  signatures; 0: it said true of none, or the message cannot be read. */
uint16_t wm_upstream_chain(const uint8_t *packet, size_t len, const uint8_t name[WM_NAME_BUF],
			   bool (*ends)(void *arg, const uint8_t *folded, size_t len), void *arg);
#define WM_UPSTREAM_STALE_TTL_S 30 /* RFC 8767 4 */
/* What libunbound says of it in its place: no record that it keeps has as much. */
#define WM_UPSTREAM_STALE_MARK_S 2147483647

/* --- upstream.c --- */
struct wm_upstream_question;
enum wm_upstream_code {
	WM_UPSTREAM_ANSWERED,
	WM_UPSTREAM_SERVFAIL,
	WM_UPSTREAM_UNSURE,  /* likewise, though a server of the domain answers others */
	WM_UPSTREAM_LATE,    /* likewise, and it said nothing */
	WM_UPSTREAM_REFUSED, /* our own question came back */
};
typedef void (*wm_upstream_fn)(void *arg, enum wm_upstream_code code,
			       const struct wm_unbound_answer *a);
/* How a question is asked. */
enum {
	WM_UPSTREAM_CHECKED = 1, /* an answer that fails validation is none */
	/* Of a second resolver, with a cache of its own: what the first one keeps is not over, and
	 * libunbound as a library fetches nothing before it is. */
	WM_UPSTREAM_OTHER = 2,
	/* Of a name for which they had SERVFAIL: whether an alias leads on from it. */
	WM_UPSTREAM_ALIAS = 4,
	/* Its client has waited for dns.upstream_timeout: it is over before he gives up. */
	WM_UPSTREAM_BRIEF = 8,
};
/** Ask for a name in wire form. @p client: its address, v4-mapped if IPv4. @p fn runs once, maybe
 *  before this returns (then NULL is), unless cancelled. @p how: WM_UPSTREAM_* of the above. */
struct wm_upstream_question *wm_upstream_ask(struct wm_upstream *u, const uint8_t *name,
					     uint16_t type, const uint8_t client[16], unsigned how,
					     wm_upstream_fn fn, void *arg);
void wm_upstream_cancel(struct wm_upstream_question *q); /* NULL ok */
/** An answer was given beyond its TTL. */
void wm_upstream_note_aged(struct wm_upstream *u);
/** @p fn is called whenever another resolver begins: what the ones before said is not to be said
 *  any more. One @p fn; NULL: nobody. */
void wm_upstream_on_anew(struct wm_upstream *u, void (*fn)(void *arg), void *arg);

/* --- upstream_serve.c --- */
/** The answer to a query that was passed on, of at most @p cap octets, into s->answer.
 *  @return whether it is new: no error, and not given beyond its TTL. */
bool wm_dns_make_passed(struct wm_dns_server *s, const uint8_t *query, const struct wm_dns_query *q,
			size_t cap, enum wm_upstream_code code, const struct wm_unbound_answer *a,
			struct wm_upstream_made *ret);

/** May the kernel keep what others say of this name? Not of an address: whose it is may change at
 *  any time. */
bool wm_dns_may_keep(struct wm_dns_server *s, const uint8_t *query, const struct wm_dns_query *q);

/* --- upstream_hot.c --- */
struct wm_dns_renewal;
/** Those that are asked for have no answer any more. */
void wm_dns_renewals_free(struct wm_dns_server *s);

/* --- upstream_probe.c --- */
struct wm_upstream_probes;
/** @p c is borrowed. @p relays: NULL, no server speaks TLS. @p on_change is called when a server
 * leads back to us, or no longer does. */
struct wm_upstream_probes *wm_upstream_probes_new(struct wm_loop *l,
						  const struct wm_upstream_config *c,
						  const struct wm_upstream_relays *relays,
						  void (*on_change)(void *arg), void *arg);
void wm_upstream_probes_free(struct wm_upstream_probes *p); /* NULL ok */
/** The servers that there are now; those known before keep what was found of them. */
void wm_upstream_probes_set(struct wm_upstream_probes *p, const struct wm_upstream_routes *r);
/** Clients ask: who is idle is not probed. */
void wm_upstream_probes_used(struct wm_upstream_probes *p);
/** A question was not answered: those that are up are probed soon. */
void wm_upstream_probes_doubt(struct wm_upstream_probes *p);
/** Is the name, folded and in wire form, a probe of ours? Then a server led it back here. */
bool wm_upstream_probes_seen(struct wm_upstream_probes *p, const uint8_t *name);
bool wm_upstream_probes_loops(const struct wm_upstream_probes *p, const char *domain,
			      const struct wm_upstream_server *s);
/** Does a server of @p r answer? */
bool wm_upstream_probes_up(const struct wm_upstream_probes *p, const struct wm_upstream_route *r);
/** @return false: it is not probed. */
bool wm_upstream_probes_find(const struct wm_upstream_probes *p, const char *domain,
			     const struct wm_upstream_server *s, struct wm_upstream_health *ret);
/** How often a server came up, went down or was found to lead here. */
unsigned wm_upstream_probes_changes(const struct wm_upstream_probes *p);
bool wm_upstream_probes_get(const struct wm_upstream_probes *p, unsigned n,
			    struct wm_upstream_health *ret);

/* --- upstream_spare.c --- */
struct wm_upstream_spares;
/** @param routes,probes borrowed: servers by their place in a domain there. @return NULL without
 *  memory. */
struct wm_upstream_spares *wm_upstream_spares_new(struct wm_loop *l,
						  const struct wm_upstream_config *c,
						  const struct wm_upstream_routes *routes,
						  const struct wm_upstream_probes *probes);
/** Those that are made from now on have these names apart: as wm_upstream_apart(). */
void wm_upstream_spares_apart(struct wm_upstream_spares *s, const struct wm_statics *t);
void wm_upstream_spares_free(struct wm_upstream_spares *s); /* NULL ok */
/** The resolver that leaves out the server of this place of each domain that has others. Borrowed
 *  until it is dropped. @return 0, -ENOMEM, -EINVAL. */
int wm_upstream_spares_get(struct wm_upstream_spares *s, unsigned place, struct wm_unbound **ret);
/** One that was made, from now on the caller's; NULL: there are no more. */
struct wm_unbound *wm_upstream_spares_drop(struct wm_upstream_spares *s);
/** Servers went up or down since all were dropped: what they ask is not what it should be. */
bool wm_upstream_spares_old(const struct wm_upstream_spares *s);
/** Does a server of the domain answer beside the one of this place? */
bool wm_upstream_spares_other(const struct wm_upstream_spares *s, const struct wm_upstream_route *r,
			      unsigned place);
/** Places, by what probes found; 0 of one server. */
unsigned wm_upstream_spares_fastest(const struct wm_upstream_spares *s,
				    const struct wm_upstream_route *r);
unsigned wm_upstream_spares_slowest(const struct wm_upstream_spares *s,
				    const struct wm_upstream_route *r);
