/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_probe.c - whether the servers answer, and how fast: each is asked now and then through a
 * resolver of its own without a cache. A server that is not known to answer is asked for a name
 * that nobody else asks for: one that comes back to us as a question shows that the server leads
 * here. */
#include "upstream_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/random.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define TICK_MS	      250
#define UP_EVERY_MS   10000 /* a server that answers, while clients ask */
#define DOWN_EVERY_MS 2000  /* one that does not */
#define LOOP_EVERY_MS 30000 /* one that leads back to us */
#define LOOP_FAILS    2 /* probes that it fails in a row without asking us: it leads here no more */
#define PROBE_MS      1500 /* to answer one */
/* An error that comes sooner than libunbound asks a server again is its answer, if one came:
 * it may know nothing of the root, and is there. */
#define ERROR_US    350000
#define PROBES_MAX  (WM_UPSTREAM_ROUTES_MAX * WM_UPSTREAM_SERVERS_MAX)
#define TOKEN_LEN   16 /* octets of the label of a probe */
#define CONF_MAX    4096
#define LOOP_DOMAIN "waymark-loop" /* below which nothing is, of probes for "." */

struct probe {
	struct wm_upstream_health h;
	char domain[WM_UPSTREAM_NAME_MAX + 1];
	struct wm_upstream_probes *all;
	struct wm_unbound *resolver; /* NULL: none is on its way */
	struct wm_unbound_ask *ask;
	uint64_t sent_ns, due_ms;
	char token[TOKEN_LEN + 1]; /* of the last one; "": none had one */
	bool over;		   /* the resolver may go */
	bool came_back;		   /* the last one did */
	unsigned stayed;	   /* failed in a row of one that led back to us: as LOOP_FAILS */
};

struct wm_upstream_probes {
	struct wm_loop *loop;
	const struct wm_upstream_config *c;
	const struct wm_upstream_relays *relays;
	struct wm_timer *tick;
	void (*on_change)(void *arg);
	void *arg;
	unsigned count;
	unsigned next; /* who is looked at first: many that are dead are due again and again */
	unsigned changes;
	uint64_t used_ms; /* when clients asked last */
	struct probe at[PROBES_MAX];
};

static void end_probe(struct probe *p)
{
	wm_unbound_cancel(p->ask);
	wm_unbound_free(p->resolver);
	p->ask = NULL;
	p->resolver = NULL;
	p->over = false;
}

static void become(struct probe *p, enum wm_upstream_state state)
{
	char text[WM_UPSTREAM_SERVER_TEXT];
	enum wm_upstream_state was = p->h.state;
	const char *why = wm_upstream_relays_why(p->all->relays, &p->h.server);

	if (was == state)
		return;
	p->all->changes++;
	p->h.state = state;
	p->h.since_ms = wm_clock_ms();
	wm_upstream_server_text(&p->h.server, text);
	if (state == WM_UPSTREAM_LOOPS)
		wm_warn("dns.upstream_loops", "server=%s domain=%s text=%s", wm_log_q(text),
			p->domain, wm_log_q("it leads back to this agent: it is not asked"));
	else if (state == WM_UPSTREAM_DOWN)
		wm_warn("dns.upstream_down", "server=%s domain=%s%s%s", wm_log_q(text), p->domain,
			*why ? " text=" : "", *why ? wm_log_q(why) : "");
	else
		wm_info("dns.upstream_up", "server=%s domain=%s ms=%llu", wm_log_q(text), p->domain,
			(unsigned long long)p->h.latency_us / 1000);
	if (was == WM_UPSTREAM_LOOPS || state == WM_UPSTREAM_LOOPS)
		p->all->on_change(p->all->arg);
}

static void again_in(struct probe *p)
{
	p->due_ms = wm_clock_ms() + (p->h.state == WM_UPSTREAM_UP      ? UP_EVERY_MS
				     : p->h.state == WM_UPSTREAM_LOOPS ? LOOP_EVERY_MS
								       : DOWN_EVERY_MS);
}

/* Has the server itself said that it failed, and not the kernel that there is no way there, or that
 * nothing may leave? */
static bool is_there(const struct probe *p, uint64_t took_us)
{
	return took_us < ERROR_US && wm_unbound_heard(p->resolver) &&
	       !*wm_upstream_relays_why(p->all->relays, &p->h.server);
}

static void on_probe(void *arg, const struct wm_unbound_answer *a)
{
	struct probe *p = arg;
	uint64_t us = (wm_clock_ns() - p->sent_ns) / 1000;

	p->ask = NULL;
	p->over = true; /* not freed from within its own callback */
	if (p->came_back) {
		become(p, WM_UPSTREAM_LOOPS);
	} else if (a->failed) {
		p->h.failures++;
		if (p->h.state != WM_UPSTREAM_LOOPS)
			become(p, is_there(p, us) ? WM_UPSTREAM_UP : WM_UPSTREAM_DOWN);
		else if (is_there(p, us) && ++p->stayed == LOOP_FAILS)
			become(p, WM_UPSTREAM_UP);
	} else {
		p->h.latency_us = p->h.latency_us ? (p->h.latency_us * 7 + us) / 8 : us;
		become(p, WM_UPSTREAM_UP);
	}
	again_in(p);
}

/* Names of a probe: the domain itself of a server that answers, else one with a token. */
static uint16_t name_probe(struct probe *p, char *ret, size_t size)
{
	bool root = strcmp(p->domain, ".") == 0;

	*p->token = '\0';
	p->came_back = false;
	if (p->h.state == WM_UPSTREAM_UP) {
		snprintf(ret, size, "%s", p->domain);
		return WM_DNS_NS;
	}
	snprintf(p->token, sizeof(p->token), "%016llx", (unsigned long long)wm_random64());
	snprintf(ret, size, "%s.%s", p->token, root ? LOOP_DOMAIN : p->domain);
	return WM_DNS_TXT;
}

static void start_probe(struct probe *p)
{
	char name[WM_UPSTREAM_NAME_MAX + TOKEN_LEN + 2];
	uint16_t type = name_probe(p, name, sizeof(name));
	struct wm_err e = {0};
	struct wm_buf b;

	wm_buf_init(&b, CONF_MAX);
	p->h.probes++;
	p->due_ms = wm_clock_ms() + PROBE_MS;
	if (wm_upstream_conf_probe(&b, p->all->c, p->domain, &p->h.server) &&
	    !wm_unbound_new(p->all->loop, b.data, b.len, &p->resolver, &e)) {
		p->sent_ns = wm_clock_ns();
		if (wm_unbound_ask(p->resolver, name, type, on_probe, p, &p->ask))
			p->over = true;
		p->sent_ns = wm_clock_ns(); /* it is on its way: to make a resolver takes longer */
	}
	if (!p->resolver || (p->over && !p->ask && p->h.state == WM_UPSTREAM_UNKNOWN))
		again_in(p);
	wm_buf_done(&b);
}

/* Has it begun another? */
static bool look_at(struct probe *p, uint64_t now, bool may_start)
{
	if (p->over)
		end_probe(p);
	if (now < p->due_ms)
		return false;
	if (!p->resolver) {
		if (may_start)
			start_probe(p);
		return may_start;
	}
	end_probe(p); /* it has taken too long */
	p->h.late++;
	if (p->h.state != WM_UPSTREAM_LOOPS)
		become(p, WM_UPSTREAM_DOWN);
	again_in(p);
	return false;
}

static void on_tick(void *arg)
{
	struct wm_upstream_probes *all = arg;
	uint64_t now = wm_clock_ms();
	bool used = now - all->used_ms < UP_EVERY_MS, started = false;
	unsigned first = all->next;

	for (unsigned i = 0; i < all->count; i++) {
		struct probe *p = &all->at[(first + i) % all->count];

		/* one a turn: to make a resolver takes a millisecond */
		if (look_at(p, now, !started && (used || p->h.state != WM_UPSTREAM_UP))) {
			started = true;
			all->next = (first + i) % all->count + 1;
		}
	}
	wm_timer_tick(all->tick, TICK_MS);
}

struct wm_upstream_probes *wm_upstream_probes_new(struct wm_loop *l,
						  const struct wm_upstream_config *c,
						  const struct wm_upstream_relays *relays,
						  void (*on_change)(void *arg), void *arg)
{
	struct wm_upstream_probes *all = calloc(1, sizeof(*all));

	if (!all)
		return NULL;
	all->loop = l;
	all->c = c;
	all->relays = relays;
	all->on_change = on_change;
	all->arg = arg;
	all->tick = wm_timer_new(l, on_tick, all);
	if (!all->tick || wm_timer_arm(all->tick, 0)) {
		wm_upstream_probes_free(all);
		return NULL;
	}
	return all;
}

void wm_upstream_probes_free(struct wm_upstream_probes *all)
{
	if (!all)
		return;
	for (unsigned i = 0; i < all->count; i++)
		end_probe(&all->at[i]);
	wm_timer_free(all->tick);
	free(all);
}

static const struct probe *find(const struct wm_upstream_probes *all, const char *domain,
				const struct wm_upstream_server *s)
{
	for (unsigned i = 0; i < all->count; i++)
		if (strcmp(all->at[i].domain, domain) == 0 &&
		    wm_upstream_server_same(&all->at[i].h.server, s))
			return &all->at[i];
	return NULL;
}

static bool is_in(const struct wm_upstream_routes *r, const struct probe *p)
{
	for (unsigned i = 0; i < r->count; i++)
		for (unsigned k = 0; strcmp(r->at[i].domain, p->domain) == 0 && k < r->at[i].count;
		     k++)
			if (wm_upstream_server_same(&r->at[i].servers[k], &p->h.server))
				return true;
	return false;
}

static void add(struct wm_upstream_probes *all, const char *domain,
		const struct wm_upstream_server *s)
{
	struct probe *p;

	if (all->count == PROBES_MAX || find(all, domain, s))
		return;
	p = &all->at[all->count++];
	*p = (struct probe){.h = {.server = *s, .since_ms = wm_clock_ms()}, .all = all};
	snprintf(p->domain, sizeof(p->domain), "%s", domain);
}

void wm_upstream_probes_set(struct wm_upstream_probes *all, const struct wm_upstream_routes *r)
{
	unsigned kept = 0;

	/* a probe on its way knows its place: all that move are begun again */
	for (unsigned i = 0; i < all->count; i++) {
		struct probe *p = &all->at[i];
		bool keep = is_in(r, p);

		if (!keep || kept != i)
			end_probe(p);
		if (keep && kept != i)
			all->at[kept] = *p;
		kept += keep;
	}
	all->count = kept;
	for (unsigned i = 0; i < r->count; i++)
		for (unsigned k = 0; k < r->at[i].count; k++)
			add(all, r->at[i].domain, &r->at[i].servers[k]);
}

void wm_upstream_probes_doubt(struct wm_upstream_probes *all)
{
	uint64_t now = wm_clock_ms();

	for (unsigned i = 0; i < all->count; i++) {
		struct probe *p = &all->at[i];

		if (p->h.state == WM_UPSTREAM_UP && !p->resolver &&
		    now + UP_EVERY_MS - DOWN_EVERY_MS >= p->due_ms)
			p->due_ms = now;
	}
}

void wm_upstream_probes_used(struct wm_upstream_probes *all)
{
	all->used_ms = wm_clock_ms();
}

bool wm_upstream_probes_seen(struct wm_upstream_probes *all, const uint8_t *name)
{
	if (*name != TOKEN_LEN)
		return false;
	for (unsigned i = 0; i < all->count; i++) {
		struct probe *p = &all->at[i];

		if (*p->token && memcmp(p->token, name + 1, TOKEN_LEN) == 0) {
			p->came_back = true;
			p->stayed = 0;
			become(p, WM_UPSTREAM_LOOPS);
			return true;
		}
	}
	return false;
}

bool wm_upstream_probes_loops(const struct wm_upstream_probes *all, const char *domain,
			      const struct wm_upstream_server *s)
{
	const struct probe *p = find(all, domain, s);

	return p && p->h.state == WM_UPSTREAM_LOOPS;
}

bool wm_upstream_probes_find(const struct wm_upstream_probes *all, const char *domain,
			     const struct wm_upstream_server *s, struct wm_upstream_health *ret)
{
	const struct probe *p = find(all, domain, s);

	if (p)
		*ret = p->h;
	return p;
}

unsigned wm_upstream_probes_changes(const struct wm_upstream_probes *all)
{
	return all->changes;
}

bool wm_upstream_probes_up(const struct wm_upstream_probes *all, const struct wm_upstream_route *r)
{
	for (unsigned i = 0; i < r->count; i++) {
		const struct probe *p = find(all, r->domain, &r->servers[i]);

		if (p && p->h.state == WM_UPSTREAM_UP)
			return true;
	}
	return false;
}

bool wm_upstream_probes_get(const struct wm_upstream_probes *all, unsigned n,
			    struct wm_upstream_health *ret)
{
	if (n >= all->count)
		return false;
	*ret = all->at[n].h;
	ret->why = wm_upstream_relays_why(all->relays, &ret->server);
	ret->domain = all->at[n].domain;
	return true;
}
