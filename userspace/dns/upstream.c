/* SPDX-License-Identifier: Apache-2.0 */
/* upstream.c - questions that are not ours: how many may be open, of whom, for how long; and which
 * resolver they go to. When the servers become others a new resolver begins, without what the ones
 * before said: they were of another network. That before ends when its questions are answered.
 * libunbound asks a server no more for a while that did not answer some questions, and fails others
 * at once: where our probes say that one answers, a spare resolver is asked, which asks anyway. A
 * spare resolver is asked of another server, too, where the first takes longer than it mostly does.
 */
#include "upstream_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define TYPE_DNSKEY 48
#define LOOK_MS	    1000 /* ms between two looks at resolv.conf */
#define SMALL_SHARE 8	 /* of the memory for answers, beside it, of a resolver for few names */
#define SPARE_FAILS 16	 /* of the spare resolver in a row: then it is not asked for */
#define ALIVE_MS    3000 /* after an answer a server is there, whatever probes say that were late */
#define OTHER_MS    500	 /* between two looks for another server than the one that is slow */
#define SPARE_MS    1000 /* so long: the servers themselves say that they cannot answer */
#define ALIAS_MS    1000 /* an alias alone is waited for: its server answers others */
#define CLIENT_MS   4800 /* so long clients wait at least: 5 s */
#define BRIEF_MS    300	 /* an alias at least, whatever its client has waited for already */
#define ALIAS_MAX   16	 /* aliases alone that are asked for at a time, and fail in a row */

struct wm_upstream_question {
	struct wm_upstream *u;
	struct wm_dns_client *client;
	struct wm_unbound_ask *ask;   /* NULL: it is answered at once */
	struct wm_unbound_ask *again; /* of a spare resolver; NULL: none is asked */
	struct wm_timer *overtake;    /* NULL: there is nobody else */
	const struct wm_upstream_route *to;
	unsigned place; /* of the server there that it was asked of first */
	wm_upstream_fn fn;
	void *arg;
	bool checked, asking, done;
	bool failed_once; /* a spare resolver is asked as it was failed */
	bool alias;	  /* WM_UPSTREAM_ALIAS */
	bool below;	  /* a name of u->c.apart: spare resolvers have those as zones */
	uint16_t type;
	uint64_t asked_ns, due_ms;
	TAILQ_ENTRY(wm_upstream_question) entry; /* in the order of due_ms */
	char name[];				 /* as libunbound is asked */
};

struct retired {
	struct wm_unbound *resolver;
	uint64_t until_ms; /* when the last of its questions is over at the latest */
	SLIST_ENTRY(retired) entry;
};

struct wm_upstream {
	struct wm_loop *loop;
	struct wm_upstream_config c;
	struct wm_unbound *resolver;		  /* NULL: none could be made */
	struct wm_unbound *fresh;		  /* of names that were forgotten; NULL: none was */
	struct wm_unbound *other;		  /* WM_UPSTREAM_OTHER; NULL: none was asked for */
	char *fresh_names[WM_UPSTREAM_FRESH_MAX]; /* lower case, without the last dot */
	unsigned fresh_count;
	struct wm_upstream_spares *spares;
	uint64_t answered_ms[WM_UPSTREAM_ROUTES_MAX];			     /* of routes */
	struct wm_upstream_pace pace[WM_UPSTREAM_ROUTES_MAX];		     /* of routes */
	uint64_t overtaken[WM_UPSTREAM_ROUTES_MAX][WM_UPSTREAM_SERVERS_MAX]; /* of routes */
	unsigned spare_failed;						     /* in a row */
	uint64_t spare_ms;		   /* it is not asked before */
	unsigned alias_open, alias_failed; /* as ALIAS_MAX */
	uint64_t alias_ms;		   /* none is asked for before */
	char *conf;			   /* its configuration */
	bool unplanned;			   /* none could be written */
	struct wm_upstream_relays *relays; /* NULL: no server speaks TLS */
	struct wm_upstream_probes *probes;
	struct wm_upstream_routes routes; /* of settings, and of resolv.conf */
	char source[WM_UPSTREAM_SOURCE];
	struct wm_timer *look, *late;
	struct wm_timer *keys; /* NULL: none are followed */
	char keys_domain[WM_DNS_TEXT_MAX];
	char *trusted; /* keys that are followed, as resolvers that read them were told */
	struct timespec trusted_at; /* when their file was written */
	struct wm_upstream_aside aside;
	struct wm_upstream_clock clock;
	struct wm_dns_clients *clients;
	TAILQ_HEAD(open, wm_upstream_question) open;
	SLIST_HEAD(, retired) retired;
	unsigned open_count;
	uint64_t counters[WM_UPSTREAM_COUNTER_COUNT];
	void (*anew)(void *arg);
	void *anew_arg;
};

/* --- which servers ---------------------------------------------------------------------------- */
static void gather(struct wm_upstream *u)
{
	struct wm_upstream_routes all = u->c.routes;
	struct wm_upstream_route system;
	char source[sizeof(u->source)] = "";

	for (unsigned i = 0; i < all.count; i++)
		wm_upstream_drop_ours(&u->c.own, &all.at[i]);
	if (u->c.mode == WM_UPSTREAM_RESOLV_CONF && all.count < WM_UPSTREAM_ROUTES_MAX) {
		wm_upstream_system(&u->c, &system, source);
		if (system.count) {
			all.at[all.count++] = system;
		} else if (*u->source) {
			return; /* the uplink is gone: what is kept answers on, and those before
				   are asked */
		}
	}
	u->routes = all;
	memcpy(u->source, source, sizeof(source));
	wm_upstream_probes_set(u->probes, &u->routes);
}

/* Those that are asked: without what leads back to us. A domain without a server keeps none. */
static void usable(const struct wm_upstream *u, struct wm_upstream_routes *ret)
{
	ret->count = 0;
	for (unsigned i = 0; i < u->routes.count; i++) {
		const struct wm_upstream_route *from = &u->routes.at[i];
		struct wm_upstream_route *to = &ret->at[ret->count];

		*to = *from;
		to->count = 0;
		for (unsigned k = 0; k < from->count; k++)
			if (!wm_upstream_probes_loops(u->probes, from->domain, &from->servers[k]))
				to->servers[to->count++] = from->servers[k];
		ret->count++;
	}
}

/* --- resolvers -------------------------------------------------------------------------------- */
/* No question waits for it any more, though libunbound may still work on some. */
static bool is_over(const struct wm_upstream *u, const struct retired *r)
{
	const struct wm_upstream_question *q = TAILQ_FIRST(&u->open);

	return q ? q->due_ms > r->until_ms : wm_clock_ms() > r->until_ms;
}

static void sweep_retired(struct wm_upstream *u, bool all)
{
	struct retired *r, **at = &SLIST_FIRST(&u->retired);

	while ((r = *at)) {
		if (all || !wm_unbound_busy(r->resolver) || is_over(u, r)) {
			*at = SLIST_NEXT(r, entry);
			wm_unbound_free(r->resolver);
			free(r);
		} else {
			at = &SLIST_NEXT(r, entry);
		}
	}
}

/* It ends when its questions do. NULL ok. @return -ENOMEM: nothing is changed. */
static int retire(struct wm_upstream *u, struct wm_unbound *resolver)
{
	struct retired *r;

	if (!resolver)
		return 0;
	r = calloc(1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	r->resolver = resolver;
	r->until_ms = wm_clock_ms() + u->c.timeout_ms;
	SLIST_INSERT_HEAD(&u->retired, r, entry);
	return 0;
}

/* Others are made when they are needed: these know what was to be forgotten. */
static void drop_spares(struct wm_upstream *u)
{
	struct wm_unbound *r;

	while ((r = wm_upstream_spares_drop(u->spares)))
		if (retire(u, r))
			return; /* no memory: it is lost */
}

static int take(struct wm_upstream *u, struct wm_unbound **at, struct wm_unbound *next)
{
	if (retire(u, *at))
		return -ENOMEM;
	drop_spares(u);
	if (!retire(u, u->other)) /* else no memory: it is lost */
		u->other = NULL;
	*at = next;
	if (u->anew)
		u->anew(u->anew_arg);
	return 0;
}

static int make(struct wm_upstream *u, struct wm_unbound **at, const char *conf)
{
	struct wm_unbound *next;
	struct wm_err e = {0};
	int r = wm_unbound_new(u->loop, conf, strlen(conf), &next, &e);

	if (!r) {
		r = take(u, at, next);
		if (r)
			wm_unbound_free(next);
	}
	if (r)
		wm_error("dns.upstream", "text=%s", wm_log_q(*e.text ? e.text : wm_err_str(r)));
	return r;
}

static void tell(const struct wm_upstream *u, const struct wm_upstream_routes *r)
{
	char text[WM_UPSTREAM_SERVER_TEXT];

	if (!r->count)
		wm_info("dns.upstream", "mode=%s", wm_upstream_mode_str(u->c.mode));
	for (unsigned i = 0; i < r->count; i++) {
		for (unsigned k = 0; k < r->at[i].count; k++) {
			wm_upstream_server_text(&r->at[i].servers[k], text);
			wm_info("dns.upstream", "domain=%s server=%s source=%s", r->at[i].domain,
				wm_log_q(text),
				strcmp(r->at[i].domain, ".") == 0 && *u->source ? u->source
										: "settings");
		}
	}
}

/* Everything is fresh. */
static void drop_fresh(struct wm_upstream *u)
{
	if (u->fresh && take(u, &u->fresh, NULL))
		return; /* no memory: they stay as fresh as they are */
	while (u->fresh_count)
		free(u->fresh_names[--u->fresh_count]);
}

/* Of other servers nothing is known. */
static void reset_pace(struct wm_upstream *u)
{
	for (unsigned i = 0; i < WM_UPSTREAM_ROUTES_MAX; i++)
		wm_upstream_pace_init(&u->pace[i]);
	memset(u->overtaken, 0, sizeof(u->overtaken));
	memset(u->answered_ms, 0, sizeof(u->answered_ms));
}

/* Begin anew where what is to be asked is not what it was. */
static void plan(struct wm_upstream *u)
{
	struct wm_upstream_routes *r = calloc(1, sizeof(*r));
	struct wm_buf b;
	bool fits;

	wm_buf_init(&b, WM_UPSTREAM_CONF_MAX);
	if (r)
		usable(u, r);
	fits = r && wm_upstream_conf(&b, &u->c, r);
	if (!fits && !u->unplanned)
		wm_error("dns.upstream", "text=\"no memory: who is asked stays as it is\"");
	u->unplanned = !fits; /* told once, though it is tried each second */
	if (fits && (!u->conf || strcmp(u->conf, b.data) != 0) && !make(u, &u->resolver, b.data)) {
		drop_fresh(u);
		reset_pace(u);
		u->counters[WM_UPSTREAM_C_CHANGED] += u->conf != NULL;
		free(u->conf);
		u->conf = strdup(b.data); /* NULL: it is made once more */
		tell(u, r);
	}
	wm_buf_done(&b);
	free(r);
}

static void look_at_keys(struct wm_upstream *u);

static void on_look(void *arg)
{
	struct wm_upstream *u = arg;

	sweep_retired(u, false);
	if (u->c.validate)
		wm_upstream_clock_look(&u->clock);
	if (u->c.mode == WM_UPSTREAM_RESOLV_CONF)
		gather(u);
	plan(u);
	/* TTLs of libunbound end by the wall clock: what it has would stay for as long as that */
	if (wm_upstream_clock_back(&u->clock))
		(void)wm_upstream_flush(u);
	look_at_keys(u);
	wm_timer_tick(u->look, LOOK_MS);
}

/* From within a callback of a probe: the resolvers are changed a little later. */
static void on_loops(void *arg)
{
	struct wm_upstream *u = arg;

	wm_timer_arm(u->look, 0);
}

int wm_upstream_flush(struct wm_upstream *u)
{
	int r = u->conf ? make(u, &u->resolver, u->conf) : 0;

	if (!r)
		drop_fresh(u);
	u->counters[WM_UPSTREAM_C_FLUSHED] += !r;
	return r;
}

static bool is_fresh(const struct wm_upstream *u, const char *name)
{
	for (unsigned i = 0; i < u->fresh_count; i++)
		if (strcasecmp(u->fresh_names[i], name) == 0)
			return true;
	return false;
}

/* The configuration of a resolver that asks as @p c. @return false: no memory. */
static bool conf_of(const struct wm_upstream *u, const struct wm_upstream_config *c,
		    struct wm_buf *b)
{
	struct wm_upstream_routes *r = calloc(1, sizeof(*r));
	bool ok = false;

	if (r) {
		usable(u, r);
		ok = wm_upstream_conf(b, c, r);
	}
	free(r);
	return ok;
}

/* The same of one for few names. */
static bool small_conf(const struct wm_upstream *u, const struct wm_statics *apart,
		       struct wm_buf *b)
{
	struct wm_upstream_config c = u->c;

	c.apart = apart;
	c.cache_max /= SMALL_SHARE;
	c.reads_anchors = true; /* one follows them, and writes their file */
	return conf_of(u, &c, b);
}

static int make_fresh(struct wm_upstream *u)
{
	struct wm_buf b;
	int err;

	wm_buf_init(&b, WM_UPSTREAM_CONF_MAX);
	err = small_conf(u, u->c.apart, &b) ? make(u, &u->fresh, b.data) : -ENOMEM;
	wm_buf_done(&b);
	return err;
}

/* The resolver that follows keys trusts others now: those that read them begin anew. */
static void look_at_keys(struct wm_upstream *u)
{
	struct stat st;
	struct wm_buf b;

	if (!*u->c.anchor_path || stat(u->c.anchor_path, &st) ||
	    memcmp(&st.st_mtim, &u->trusted_at, sizeof(st.st_mtim)) == 0)
		return;
	wm_buf_init(&b, WM_UPSTREAM_CONF_MAX);
	if (wm_upstream_followed(&b, &u->c)) {
		if (u->trusted && strcmp(u->trusted, b.data) != 0) {
			drop_spares(u);
			if (!retire(u, u->other)) /* else no memory: it is lost */
				u->other = NULL;
			if (u->fresh)
				(void)make_fresh(u); /* logged */
		}
		free(u->trusted);
		u->trusted = strdup(b.data); /* NULL: the next change is not seen */
		u->trusted_at = st.st_mtim;
	}
	wm_buf_done(&b);
	wm_upstream_aside_keep(&u->aside);
}

/* Beside the first, from when it is first asked; names below those apart are asked of it. @return
 * NULL: it cannot be made. */
static struct wm_unbound *other_of(struct wm_upstream *u)
{
	struct wm_err e = {0};
	struct wm_buf b;

	wm_buf_init(&b, WM_UPSTREAM_CONF_MAX);
	if (!u->other && small_conf(u, NULL, &b))
		(void)wm_unbound_new(u->loop, b.data, b.len, &u->other, &e);
	wm_buf_done(&b);
	return u->other;
}

int wm_upstream_flush_name(struct wm_upstream *u, const char *name)
{
	uint8_t wire[WM_DNS_NAME_MAX + 1];
	char text[WM_DNS_TEXT_MAX], *copy;
	int r;

	if (!wm_dns_wire(name, wire) || !*wire)
		return -EINVAL;
	wm_dns_text(wire, text, sizeof(text)); /* as it is asked for, whatever stands for it here */
	copy = strdup(text);
	if (!copy)
		return -ENOMEM;
	r = is_fresh(u, copy) || u->fresh_count < WM_UPSTREAM_FRESH_MAX ? make_fresh(u)
									: wm_upstream_flush(u);
	if (r || is_fresh(u, copy) || !u->fresh)
		free(copy);
	else
		u->fresh_names[u->fresh_count++] = copy;
	u->counters[WM_UPSTREAM_C_NAME_FLUSHED] += !r;
	return r;
}

int wm_upstream_apart(struct wm_upstream *u, const struct wm_statics *t)
{
	struct wm_buf b;

	u->c.apart = t;
	wm_upstream_spares_apart(u->spares, t);
	wm_buf_init(&b, WM_UPSTREAM_CONF_MAX);
	if (u->conf && conf_of(u, &u->c, &b)) {
		free(u->conf);
		u->conf = strdup(b.data); /* NULL: it is made once more */
	}
	wm_buf_done(&b);
	return wm_upstream_flush(u);
}

/* --- questions -------------------------------------------------------------------------------- */
static void forget(struct wm_upstream_question *q)
{
	TAILQ_REMOVE(&q->u->open, q, entry);
	q->u->open_count--;
	q->u->alias_open -= q->alias;
	wm_dns_clients_leave(q->u->clients, q->client);
	wm_unbound_cancel(q->ask);
	wm_unbound_cancel(q->again);
	q->ask = q->again = NULL;
	wm_timer_free(q->overtake);
	q->overtake = NULL;
	q->done = true;
	if (!q->asking)
		free(q);
}

/* Servers that are silent say nothing of aliases, either. */
static void note_alias(struct wm_upstream *u, bool answered)
{
	u->alias_failed = answered ? 0 : u->alias_failed + 1;
	if (u->alias_failed == ALIAS_MAX) {
		u->alias_failed = 0;
		u->alias_ms = wm_clock_ms() + SPARE_MS;
	}
}

/* The last thing that is done with it. */
static void end(struct wm_upstream_question *q, enum wm_upstream_code code,
		const struct wm_unbound_answer *a)
{
	wm_upstream_fn fn = q->fn;
	void *arg = q->arg;

	if (q->alias)
		note_alias(q->u, code == WM_UPSTREAM_ANSWERED);
	forget(q);
	fn(arg, code, a);
}

static bool is_good(const struct wm_upstream_question *q, const struct wm_unbound_answer *a)
{
	return !a->failed && !(a->bogus && q->checked);
}

static struct wm_upstream_pace *pace_of(const struct wm_upstream_question *q)
{
	return q->to ? &q->u->pace[q->to - q->u->routes.at] : NULL;
}

static void note_pace(const struct wm_upstream_question *q)
{
	if (q->asked_ns && q->to)
		wm_upstream_pace_note(pace_of(q), (wm_clock_ns() - q->asked_ns) / 1000);
}

/* Does a server of the question's domain answer? */
static bool is_alive(const struct wm_upstream_question *q)
{
	uint64_t last_ms = q->u->answered_ms[q->to - q->u->routes.at];

	return wm_upstream_probes_up(q->u->probes, q->to) ||
	       (last_ms && wm_clock_ms() - last_ms < ALIVE_MS);
}

static void settle(struct wm_upstream_question *q, const struct wm_unbound_answer *a)
{
	uint64_t *n = q->u->counters;

	wm_upstream_clock_judge(&q->u->clock, a);
	if (is_good(q, a)) {
		if (q->to && !a->at_once)
			q->u->answered_ms[q->to - q->u->routes.at] = wm_clock_ms();
		note_pace(q);
		end(q, WM_UPSTREAM_ANSWERED, a);
	} else {
		n[a->failed ? WM_UPSTREAM_C_FAILED : WM_UPSTREAM_C_BOGUS]++;
		wm_upstream_probes_doubt(q->u->probes);
		end(q,
		    a->failed && q->to && is_alive(q) ? WM_UPSTREAM_UNSURE : WM_UPSTREAM_SERVFAIL,
		    NULL);
	}
}

/* The first good answer is the one; who has none waits for the other. */
static void on_again(void *arg, const struct wm_unbound_answer *a)
{
	struct wm_upstream_question *q = arg;
	struct wm_unbound_answer second = *a;
	struct wm_upstream *u = q->u;

	q->again = NULL;
	u->spare_failed = a->failed ? u->spare_failed + 1 : 0;
	if (u->spare_failed == SPARE_FAILS) {
		u->spare_failed = 0;
		u->spare_ms = wm_clock_ms() + SPARE_MS;
	}
	if (q->ask && !is_good(q, a))
		return;
	second.second = q->ask != NULL;
	u->counters[WM_UPSTREAM_C_OVERTOOK] += second.second;
	settle(q, &second);
}

/* The spare resolver that leaves out the server of this place. @return NULL: there is none. */
static struct wm_unbound *spare_of(struct wm_upstream *u, unsigned place)
{
	struct wm_unbound *spare;

	if (wm_upstream_spares_old(u->spares))
		drop_spares(u);
	return wm_upstream_spares_get(u->spares, place, &spare) ? NULL : spare;
}

/* Ask it. @return false: it is not asked. Else the question may be gone. */
static bool ask_spare(struct wm_upstream_question *q, unsigned place)
{
	struct wm_upstream *u = q->u;
	struct wm_unbound *spare;
	bool asking = q->asking;
	int r;

	if (wm_clock_ms() < u->spare_ms)
		return false;
	spare = spare_of(u, place);
	if (!spare)
		return false;
	q->asking = true;
	r = wm_unbound_ask(spare, q->name, q->type, on_again, q, &q->again);
	q->asking = asking;
	if (q->done && !asking)
		free(q);
	return !r;
}

/* libunbound has failed it. Whether a server said so it does not tell; where one answers probes, it
 * is asked, past what libunbound keeps of servers and of failures. */
static bool ask_again(struct wm_upstream_question *q)
{
	struct wm_upstream *u = q->u;

	if (!q->to || q->failed_once || q->alias || q->below || !is_alive(q))
		return false;
	q->failed_once = true;
	u->counters[WM_UPSTREAM_C_AGAIN]++;
	wm_upstream_probes_doubt(u->probes);
	return ask_spare(q, wm_upstream_spares_slowest(u->spares, q->to));
}

static void on_answer(void *arg, const struct wm_unbound_answer *a)
{
	struct wm_upstream_question *q = arg;

	q->ask = NULL;
	q->u->counters[WM_UPSTREAM_C_KEPT] += a->at_once;
	if (!is_good(q, a) && (q->again || (!a->bogus && ask_again(q))))
		return;
	settle(q, a);
}

/* --- a slow server is overtaken --------------------------------------------------------------- */
static void on_overtake(void *arg)
{
	struct wm_upstream_question *q = arg;
	struct wm_upstream *u = q->u;

	if (q->again)
		return;
	if (!wm_upstream_spares_other(u->spares, q->to, q->place)) {
		wm_timer_arm(q->overtake, OTHER_MS); /* one may come back meanwhile */
		return;
	}
	if (!wm_upstream_pace_spend(pace_of(q))) {
		u->counters[WM_UPSTREAM_C_NOT_OVERTAKEN]++;
		return;
	}
	u->counters[WM_UPSTREAM_C_OVERTAKEN]++;
	u->overtaken[q->to - u->routes.at][q->place]++;
	ask_spare(q, q->place);
}

/* It is on its way: to whom, and when has it taken too long? */
static void watch_pace(struct wm_upstream_question *q)
{
	struct wm_upstream *u = q->u;
	const struct sockaddr *asked = wm_unbound_asked(q->ask);

	q->asked_ns = wm_clock_ns();
	if (!q->to)
		return;
	wm_upstream_pace_earn(pace_of(q), u->c.overtake_percent);
	q->place = wm_upstream_spares_fastest(u->spares, q->to);
	for (unsigned i = 0; i < q->to->count; i++)
		if (wm_upstream_server_is(&q->to->servers[i], asked))
			q->place = i;
	if (!u->c.overtake_percent || q->to->count < 2 || q->below)
		return;
	q->overtake = wm_timer_new(u->loop, on_overtake, q);
	if (q->overtake)
		wm_timer_arm(q->overtake, wm_upstream_pace_p95_us(pace_of(q)) / 1000);
}

static void on_late(void *arg)
{
	struct wm_upstream *u = arg;
	struct wm_upstream_question *q;
	uint64_t now = wm_clock_ms();

	while ((q = TAILQ_FIRST(&u->open)) && q->due_ms <= now) {
		u->counters[WM_UPSTREAM_C_LATE]++;
		note_pace(q);
		wm_upstream_probes_doubt(u->probes);
		end(q, q->to && is_alive(q) ? WM_UPSTREAM_LATE : WM_UPSTREAM_SERVFAIL, NULL);
	}
	if (q)
		wm_timer_arm(u->late, q->due_ms - now);
}

/* Let it be over within so many ms, before others that were asked earlier. */
static void set_due(struct wm_upstream_question *q, uint64_t ms)
{
	struct wm_upstream *u = q->u;
	struct wm_upstream_question *before = TAILQ_LAST(&u->open, open);

	q->due_ms = wm_clock_ms() + ms;
	while (before && before->due_ms > q->due_ms)
		before = TAILQ_PREV(before, open, entry);
	if (before) {
		TAILQ_INSERT_AFTER(&u->open, before, q, entry);
	} else {
		TAILQ_INSERT_HEAD(&u->open, q, entry);
		wm_timer_arm(u->late, ms);
	}
}

/* How long a question may take. */
static uint64_t patience_ms(const struct wm_upstream *u, unsigned how)
{
	if (how & WM_UPSTREAM_BRIEF)
		return u->c.timeout_ms + BRIEF_MS < CLIENT_MS ? CLIENT_MS - u->c.timeout_ms
							      : BRIEF_MS;
	return how & WM_UPSTREAM_ALIAS ? ALIAS_MS : u->c.timeout_ms;
}

static struct wm_upstream_question *admit(struct wm_upstream *u, const uint8_t client[16],
					  const char *name, unsigned how)
{
	size_t size = strlen(name) + 1;
	struct wm_upstream_question *q;
	int r;

	if (!u->resolver) {
		u->counters[WM_UPSTREAM_C_NONE]++;
		return NULL;
	}
	if (u->open_count >= u->c.questions_max) {
		u->counters[WM_UPSTREAM_C_FULL]++;
		return NULL;
	}
	q = calloc(1, sizeof(*q) + size);
	r = q ? wm_dns_clients_enter(u->clients, client, &q->client) : -ENOMEM;
	if (r) {
		u->counters[r == -EDQUOT ? WM_UPSTREAM_C_CLIENT_FULL : WM_UPSTREAM_C_FULL]++;
		free(q);
		return NULL;
	}
	q->u = u;
	memcpy(q->name, name, size);
	u->open_count++;
	set_due(q, patience_ms(u, how));
	q->alias = how & WM_UPSTREAM_ALIAS;
	u->alias_open += q->alias;
	return q;
}

/* If so, it is counted. */
static bool may_ask_alias(struct wm_upstream *u)
{
	if (u->alias_open >= ALIAS_MAX || wm_clock_ms() < u->alias_ms)
		return false;
	u->counters[WM_UPSTREAM_C_ALIAS]++;
	return true;
}

/* For an alias alone it is a spare one: what it finds of a server that is silent keeps nobody else
 * from asking it. */
static struct wm_unbound *resolver_for(struct wm_upstream_question *q, unsigned how)
{
	struct wm_upstream *u = q->u;
	struct wm_unbound *of = NULL;

	if (q->below || how & WM_UPSTREAM_OTHER)
		of = other_of(u);
	else if (q->alias && q->to)
		of = spare_of(u, wm_upstream_spares_slowest(u->spares, q->to));
	return of ? of : is_fresh(u, q->name) ? u->fresh : u->resolver;
}

struct wm_upstream_question *wm_upstream_ask(struct wm_upstream *u, const uint8_t *name,
					     uint16_t type, const uint8_t client[16], unsigned how,
					     wm_upstream_fn fn, void *arg)
{
	struct wm_upstream_question *q;
	char text[WM_DNS_TEXT_MAX];

	if (wm_upstream_probes_seen(u->probes, name)) {
		u->counters[WM_UPSTREAM_C_LOOP]++;
		fn(arg, WM_UPSTREAM_REFUSED, NULL);
		return NULL;
	}
	if (how & WM_UPSTREAM_ALIAS && !may_ask_alias(u)) {
		fn(arg, WM_UPSTREAM_SERVFAIL, NULL);
		return NULL;
	}
	u->counters[WM_UPSTREAM_C_ASKED]++;
	wm_upstream_probes_used(u->probes);
	if (!wm_dns_text(name, text, sizeof(text)))
		memcpy(text, ".", sizeof("."));
	q = admit(u, client, text, how);
	if (!q) {
		fn(arg, WM_UPSTREAM_SERVFAIL, NULL);
		return NULL;
	}
	q->fn = fn;
	q->arg = arg;
	q->checked = how & WM_UPSTREAM_CHECKED;
	q->type = type;
	q->below = wm_upstream_below(u->c.apart, name);
	q->to = wm_upstream_route_of(&u->routes, text);
	q->asking = true;
	if (wm_unbound_ask(resolver_for(q, how), text, type, on_answer, q, &q->ask) && !q->done) {
		u->counters[WM_UPSTREAM_C_FAILED]++;
		end(q, WM_UPSTREAM_SERVFAIL, NULL);
	}
	q->asking = false;
	if (q->ask && !q->alias)
		watch_pace(q);
	if (!q->done)
		return q;
	free(q);
	return NULL;
}

void wm_upstream_cancel(struct wm_upstream_question *q)
{
	if (q)
		forget(q);
}

/* --- keys that are followed ------------------------------------------------------------------- */
static void on_keys_answer(void *arg, const struct wm_unbound_answer *a)
{
	struct wm_upstream *u = arg;

	u->counters[WM_UPSTREAM_C_KEYS_FAILED] += a->failed || !a->secure;
}

/* libunbound looks at the keys when it validates an answer and theirs is over (RFC 5011 2.3). */
static void on_keys(void *arg)
{
	struct wm_upstream *u = arg;
	struct wm_unbound_ask *ask; /* ends with the resolver, at the latest */

	if (u->resolver) {
		u->counters[WM_UPSTREAM_C_KEYS]++;
		if (wm_unbound_ask(u->resolver, u->keys_domain, TYPE_DNSKEY, on_keys_answer, u,
				   &ask))
			u->counters[WM_UPSTREAM_C_KEYS_FAILED]++;
	}
	wm_timer_arm(u->keys, u->c.anchor_every_ms);
}

/* @return false: no memory. */
static bool follow_keys(struct wm_upstream *u)
{
	int r = wm_upstream_anchors(&u->c);

	if (r) {
		wm_error("dns.trust_anchor", "path=%s text=\"%s: keys are not followed\"",
			 wm_log_q(u->c.anchor_path), wm_err_str(r));
		*u->c.anchor_path = '\0'; /* libunbound would answer nothing without it */
	}
	if (!*u->c.anchor_path)
		return true;
	wm_upstream_anchor_domain(&u->c, u->keys_domain);
	r = wm_upstream_aside_begin(&u->aside, u->c.anchor_path);
	if (r) /* then it waits for the disk */
		wm_info("dns.trust_anchor", "err=%s text=\"not in memory\"", wm_err_name(r));
	u->keys = wm_timer_new(u->loop, on_keys, u);
	return u->keys && !wm_timer_arm(u->keys, 0);
}

/* --- TLS -------------------------------------------------------------------------------------- */
/* @return false: some server cannot be asked. */
static bool make_relays(struct wm_upstream *u)
{
	struct wm_upstream_server *s;
	struct wm_err e = {0};
	int r = 0;

	for (unsigned i = 0; !r && i < u->c.routes.count; i++) {
		for (unsigned k = 0; !r && k < u->c.routes.at[i].count; k++) {
			s = &u->c.routes.at[i].servers[k];
			if (!*s->name)
				continue;
			if (!u->relays)
				r = wm_upstream_relays_new(u->loop, u->c.ca_file, u->counters,
							   &u->relays, &e);
			r = r ? r : wm_upstream_relays_add(u->relays, s);
		}
	}
	if (r)
		wm_error("dns.upstream", "text=%s", wm_log_q(*e.text ? e.text : wm_err_str(r)));
	return !r;
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_upstream *wm_upstream_new(struct wm_loop *l, const struct wm_upstream_config *c)
{
	struct wm_upstream *u = calloc(1, sizeof(*u));
	bool ready;

	if (!u)
		return NULL;
	u->loop = l;
	u->c = *c;
	TAILQ_INIT(&u->open);
	SLIST_INIT(&u->retired);
	u->clients = wm_dns_clients_new(c->questions_max, c->per_client_max);
	u->look = wm_timer_new(l, on_look, u);
	u->late = wm_timer_new(l, on_late, u);
	ready = make_relays(u) && follow_keys(u);
	u->probes = wm_upstream_probes_new(l, &u->c, u->relays, on_loops, u);
	u->spares = u->probes ? wm_upstream_spares_new(l, &u->c, &u->routes, u->probes) : NULL;
	reset_pace(u);
	if (!ready || !u->clients || !u->look || !u->late || !u->spares) {
		wm_upstream_free(u);
		return NULL;
	}
	gather(u);
	on_look(u);
	return u;
}

void wm_upstream_free(struct wm_upstream *u)
{
	struct wm_upstream_question *q;

	if (!u)
		return;
	while ((q = TAILQ_FIRST(&u->open)))
		forget(q);
	sweep_retired(u, true);
	wm_unbound_free(u->resolver);
	wm_unbound_free(u->fresh);
	wm_unbound_free(u->other);
	wm_upstream_spares_free(u->spares);
	wm_upstream_aside_end(&u->aside);
	while (u->fresh_count)
		free(u->fresh_names[--u->fresh_count]);
	wm_upstream_probes_free(u->probes);
	wm_upstream_relays_free(u->relays);
	wm_timer_free(u->look);
	wm_timer_free(u->late);
	wm_timer_free(u->keys);
	wm_dns_clients_free(u->clients);
	free(u->conf);
	free(u->trusted);
	free(u);
}

/* --- what others ask about it ----------------------------------------------------------------- */
const uint64_t *wm_upstream_counters(const struct wm_upstream *u)
{
	return u->counters;
}

unsigned wm_upstream_open(const struct wm_upstream *u)
{
	return u->open_count;
}

uint64_t wm_upstream_cache_max(const struct wm_upstream *u)
{
	return u->c.cache_max;
}

const char *wm_upstream_source(const struct wm_upstream *u)
{
	return u->source;
}

enum wm_upstream_mode wm_upstream_mode_of(const struct wm_upstream *u)
{
	return u->c.mode;
}

bool wm_upstream_health(const struct wm_upstream *u, unsigned n, struct wm_upstream_health *ret)
{
	const struct wm_upstream_route *r = u->routes.at;

	if (!wm_upstream_probes_get(u->probes, n, ret))
		return false;
	for (; r < u->routes.at + u->routes.count; r++) {
		if (strcmp(r->domain, ret->domain) != 0)
			continue;
		ret->p95_us = wm_upstream_pace_p95_us(&u->pace[r - u->routes.at]);
		for (unsigned i = 0; i < r->count; i++)
			if (wm_upstream_server_same(&r->servers[i], &ret->server))
				ret->overtaken = u->overtaken[r - u->routes.at][i];
	}
	return true;
}

void wm_upstream_note_aged(struct wm_upstream *u)
{
	u->counters[WM_UPSTREAM_C_STALE]++;
	wm_upstream_probes_doubt(u->probes);
}

void wm_upstream_on_anew(struct wm_upstream *u, void (*fn)(void *arg), void *arg)
{
	u->anew = fn;
	u->anew_arg = arg;
}
