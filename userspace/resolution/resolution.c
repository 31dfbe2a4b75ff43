/* SPDX-License-Identifier: Apache-2.0 */
/* resolution.c - follows the registry, compiles what changed, keeps the tables confirmed. */
#include "resolution.h"

#include "referrers.h"
#include "specs.h"
#include "tags.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "wants.h"
#include "waymark/dns_answer.h"

#include <arpa/inet.h>
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TICK_MS	   1000 /* ms between confirmations of the tables; rested places return then */
#define RETRY_MS   100	/* ms between tries of services that did not fit */
#define RETRY_FAIL 8	/* failures that end a try: the table is still full */
/* A set that is published leaves its old range of slots in quarantine. One service alone may have
 * this part of all slots there; past it its changes are gathered, while its health goes on at once.
 */
#define RESTING_SHARE 8
#define PACED_MIN     64 /* slots of a set that is paced; smaller ones take little room */

/* Subsets and all of the service, by ports and all of them; and a source's ports, from within and
 * from outside. */
#define PARTS_MAX ((1 + WM_POLICY_SUBSETS_MAX) * (1 + WM_POLICY_PORTS_MAX) + 2 * WM_SPEC_PORTS_MAX)

enum place {
	CLEAN,
	DIRTY, /* compiled at the end of the turn */
	UNFIT, /* a table was full: tried again */
	PACED, /* was published a moment ago: compiled when its time has come */
	PLACES
};

/* What resolution keeps of a service: wm_service.compiled. */
struct compiled {
	struct wm_service *service;
	TAILQ_ENTRY(compiled) entry;
	uint64_t due_ns; /* not to be published before */
	enum place in;
	struct wm_buf parts; /* that have a set: of struct key */
	bool named;	     /* all of it is in the tables */
	bool told;	     /* which addresses of its spec are not taken */
	struct wm_tag_list tags;
};
TAILQ_HEAD(compiled_list, compiled);

struct wm_resolution {
	struct wm_wants w;
	struct wm_referrers *referrers;
	struct wm_timer *tick, *later; /* later: for what is UNFIT or PACED */
	struct compiled_list at[PLACES];
	struct wm_tags tags;
	struct wm_map *empty; /* services that a source gives addresses and that have no instance:
			       * struct wm_service of ours, by name */
	bool moved;	      /* what is near may be another: before the next compilation */
	struct wm_want_front fronts[WM_SPEC_FRONTS_MAX]; /* scratch */
	uint64_t index;
	size_t unnamed; /* services that are not in the tables, or not whole */
	bool blind;	/* memory was short: there are services that nobody counts */
	bool begun;	/* the tables are what the registry had at the start */
};

/* --- completeness -------------------------------------------------------------------------------
 */
/* Programs may say that a service is not there as long as all that are have names. It is taken back
 * before a registration is answered, and given when its name is in. Until the first compilation is
 * done none is, nor any question that programs leave: what an earlier run told of names holds. */
static void settle(struct wm_resolution *x)
{
	uint32_t *flags = &wm_tables_memory(x->w.tables)->config->flags;
	struct wm_tables_stats s;

	wm_tables_stats(x->w.tables, &s);
	if ((x->begun && (x->unnamed || x->blind)) || s.collisions ||
	    wm_tables_policy(x->w.tables)->partial)
		__atomic_and_fetch(flags, ~WM_CONFIG_F_COMPLETE, __ATOMIC_SEQ_CST);
	else if (x->begun)
		__atomic_or_fetch(flags, WM_CONFIG_F_COMPLETE, __ATOMIC_RELEASE);
}

/* --- marking ---------------------------------------------------------------------------------- */
static void move(struct wm_resolution *x, struct compiled *c, enum place to)
{
	if (c->in != CLEAN)
		TAILQ_REMOVE(&x->at[c->in], c, entry);
	c->in = to;
	if (to != CLEAN)
		TAILQ_INSERT_TAIL(&x->at[to], c, entry);
}

/* Its first instance has come: what there is of it goes on. */
static struct compiled *of_empty(struct wm_resolution *x, struct wm_service *s)
{
	struct wm_service *e = wm_map_get(x->empty, s->name, strlen(s->name));
	struct compiled *c = e ? e->compiled : NULL;

	if (!e || e == s)
		return NULL;
	if (c) {
		c->service = s;
		s->compiled = c;
	}
	wm_map_del(x->empty, e->name, strlen(e->name));
	free(e);
	return c;
}

static void mark_one(struct wm_resolution *x, struct wm_service *s)
{
	struct compiled *c = s->compiled ? s->compiled : of_empty(x, s);

	if (!c) {
		c = calloc(1, sizeof(*c));
		if (!c) {
			x->blind = true;
			settle(x);
			wm_error("resolution.memory", "svc=%s", wm_log_q(s->name));
			return;
		}
		c->service = s;
		s->compiled = c;
		if (!x->unnamed++)
			settle(x);
	}
	if (c->in != DIRTY)
		move(x, c, DIRTY);
}

/* Be it there, or a source's alone. @p name in lower case. */
static struct wm_service *service_of(const struct wm_resolution *x, const char *name)
{
	struct wm_service *s = wm_registry_service(x->w.registry, name);

	return s ? s : wm_map_get(x->empty, name, strlen(name));
}

static void mark_referrer(void *arg, const char *service)
{
	struct wm_resolution *x = arg;
	struct wm_service *s = service_of(x, service);

	if (s)
		mark_one(x, s);
}

/* With those whose policies send connections to it. */
static void mark(struct wm_resolution *x, struct wm_service *s)
{
	mark_one(x, s);
	wm_referrers_each(x->referrers, s->name, mark_referrer, x);
}

/* Is more of its instances of matter than where they are and how they do? */
static bool is_planned(struct wm_resolution *x, const struct wm_service *s)
{
	return wm_registry_policy(x->w.registry, s->name) || wm_want_spec(&x->w, s->name) ||
	       wm_referrers_any(x->referrers, s->name);
}

/* How long the range that a set of @p n gives back keeps the service from the next. */
static uint64_t pace_ns(const struct wm_resolution *x, unsigned n)
{
	uint64_t range = 1;

	while (range < n)
		range *= 2; /* as the ranges are given out */
	if (range <= PACED_MIN)
		return 0;
	return range * RESTING_SHARE * WM_RECYCLE_NS / wm_tables_memory(x->w.tables)->slots_cap;
}

/* @return 0 or why it did not fit. */
static int put_set(struct wm_resolution *x, struct compiled *c, const struct wm_want_part *part)
{
	const struct wm_service *s = c->service;
	struct wm_tables_stats before, after;
	struct wm_err e = {0};
	struct wm_want_set w;
	struct wm_plan plan;
	int r = wm_want_make(&x->w, s, part, &plan, &w);

	wm_tables_stats(x->w.tables, &before);
	if (!r)
		r = wm_tables_put(x->w.tables, &w, NULL, &e);
	wm_tables_stats(x->w.tables, &after);
	if (after.publishes != before.publishes)
		c->due_ns = wm_clock_ns() + pace_ns(x, plan.count);
	if (r)
		wm_warn("resolution.unfit", "svc=%s label=%s port=%u err=%s text=%s",
			wm_log_q(s->name), wm_log_q(part->label), w.port, wm_err_name(r),
			wm_log_q(e.text));
	wm_plan_done(&plan);
	return r;
}

/* --- parts of a service -------------------------------------------------------------------------
 */
/* Those that a service has, as the tables name them. */
struct key {
	uint16_t port;
	uint8_t proto, pad;
	char label[WM_POLICY_LABEL_MAX + 1];
};

static bool has_key(const struct wm_buf *keys, const struct key *k)
{
	for (size_t at = 0; at < keys->len; at += sizeof(*k))
		if (memcmp(keys->data + at, k, sizeof(*k)) == 0)
			return true;
	return false;
}

/* Sets of what is no more: of policies, then of sources. */
static void drop_parts(struct wm_resolution *x, struct compiled *c, const struct wm_buf *left,
		       bool sources)
{
	struct key k;

	for (size_t at = 0; at < c->parts.len; at += sizeof(k)) {
		memcpy(&k, c->parts.data + at, sizeof(k));
		if ((k.proto != 0) == sources && (!left || !has_key(left, &k)))
			wm_tables_part_del(x->w.tables, c->service->name, k.label, k.port, k.proto);
	}
}

static void drop_all_parts(struct wm_resolution *x, struct compiled *c)
{
	wm_tables_fronts_del(x->w.tables, c->service->name);
	drop_parts(x, c, NULL, false);
	drop_parts(x, c, NULL, true);
	wm_buf_done(&c->parts);
}

/* Call @p fn with all of a service and each part of it. @return the last that it returned but 0. */
static int each_part(struct wm_resolution *x, struct wm_service *s,
		     int (*fn)(struct wm_resolution *x, struct wm_service *s,
			       const struct wm_want_part *part, void *arg),
		     void *arg)
{
	const struct wm_policy *p = wm_registry_policy(x->w.registry, s->name);
	const struct wm_service_spec *spec = wm_want_spec(&x->w, s->name);
	struct wm_want_part part = {.port = NULL};
	int bad = 0, r;

	if (!wm_spec_steered(spec))
		spec = NULL;

	for (uint32_t n = 0; n <= (p ? p->subsets_count : 0); n++) {
		if (n)
			snprintf(part.label, sizeof(part.label), "%s", p->subsets[n - 1].name);
		for (char *l = part.label; *l; l++)
			*l = (char)tolower((unsigned char)*l);
		for (uint32_t k = 0; k <= (p ? p->ports_count : 0); k++) {
			part.port = k ? &p->ports[k - 1] : NULL;
			part.spec = !n && !k ? spec : NULL;
			if (!n && k && wm_spec_has_port(spec, part.port->port))
				continue; /* the source's leads where the policy says */
			r = fn(x, s, &part, arg);
			bad = r ? r : bad;
		}
	}
	part = (struct wm_want_part){.spec = spec};
	while (spec && ++part.spec_port < spec->ports_count) {
		r = fn(x, s, &part, arg);
		bad = r ? r : bad;
	}
	if (!spec || !wm_spec_has_outside(spec))
		return bad;
	strcpy(part.label, WM_LABEL_OUTSIDE);
	for (part.spec_port = 0; part.spec_port < spec->ports_count; part.spec_port++) {
		r = fn(x, s, &part, arg);
		bad = r ? r : bad;
	}
	return bad;
}

static int put_part(struct wm_resolution *x, struct wm_service *s, const struct wm_want_part *part,
		    void *arg)
{
	struct key k = {.port = (uint16_t)(part->port ? part->port->port : 0)};

	strcpy(k.label, part->label);
	if (wm_want_of_port(part)) {
		k.port = part->spec->ports[part->spec_port].port;
		k.proto = part->spec->ports[part->spec_port].proto;
	}
	if ((*k.label || k.port) && !wm_buf_put(arg, &k, sizeof(k)))
		return -ENOMEM;
	return put_set(x, s->compiled, part);
}

/* --- addresses of a source ----------------------------------------------------------------------
 */
static void tell_unfit(void *arg, const struct wm_want_front *f, const char *why)
{
	const struct compiled *c = arg;
	char address[INET6_ADDRSTRLEN];
	bool four = !f->addr_be[0] && !f->addr_be[1] && f->addr_be[2] == htonl(0xffff);

	if (f->unfit == wm_spec_own_dns) /* as the settings say */
		return;
	inet_ntop(four ? AF_INET : AF_INET6, four ? &f->addr_be[3] : f->addr_be, address,
		  sizeof(address));
	if (f->unfit)
		wm_warn("resolution.address", "svc=%s address=%s text=%s",
			wm_log_q(c->service->name), address, wm_log_q(why));
	else
		wm_warn("resolution.contested", "svc=%s address=%s port=%u has=%s",
			wm_log_q(c->service->name), address, f->port, wm_log_q(why));
}

/* The sets of its ports at addresses of its own, or (@p label) at others. @return false: one is
 * missing, or of some that did not fit (@p unfit) one has nobody: what the tables cannot hold
 * passes, to whom may steer it otherwise. */
static bool port_sets(const struct wm_resolution *x, const struct wm_service_spec *spec,
		      const char *label, bool unfit, uint32_t ret[WM_SPEC_PORTS_MAX])
{
	const struct wm_tables *t = x->w.tables;
	int64_t set;

	for (unsigned k = 0; k < spec->ports_count; k++) {
		const struct wm_spec_port *p = &spec->ports[k];

		set = k || label ? wm_tables_port_set(t, spec->service, label, p->port, p->proto)
				 : wm_tables_set_of(t, spec->service);
		if (set < 0 || (unfit && !wm_tables_set_backends(t, (uint32_t)set)))
			return false;
		ret[k] = (uint32_t)set;
	}
	return true;
}

/* All that is to lead to it, into x->fronts. @return how many, 0 as well where not all can. */
static unsigned want_fronts(struct wm_resolution *x, const struct wm_service *s, bool unfit)
{
	const struct wm_service_spec *spec = wm_want_spec(&x->w, s->name);
	const struct wm_spec_rules rules = {
		.space = wm_registry_vip_space(x->w.registry),
		.external = wm_tables_policy(x->w.tables)->external_addresses,
		.dns = wm_tables_memory(x->w.tables)->config};
	struct wm_spec_sets sets;

	if (!wm_spec_steered(spec) || !port_sets(x, spec, NULL, unfit, sets.own))
		return 0;
	if (!wm_spec_has_outside(spec))
		memcpy(sets.outside, sets.own, sizeof(sets.own));
	else if (!port_sets(x, spec, WM_LABEL_OUTSIDE, unfit, sets.outside))
		return 0;
	return wm_spec_fronts(spec, &rules, &sets, s, x->fronts);
}

/* A source's addresses have come free, or an older service has taken some: who is left without
 * tries again, and tells of it. */
static void mark_contested(struct wm_resolution *x)
{
	const struct wm_service_spec *spec;
	struct wm_tables_stats stats;
	struct wm_service *s;
	size_t pos = 0;

	wm_tables_stats(x->w.tables, &stats);
	while (stats.fronts_contested && (spec = wm_registry_next_spec(x->w.registry, &pos))) {
		s = wm_tables_contested(x->w.tables, spec->service) ? service_of(x, spec->service)
								    : NULL;
		if (!s)
			continue;
		mark_one(x, s);
		if (s->compiled)
			((struct compiled *)s->compiled)->told = false;
	}
}

/* @return 0 or why they did not fit. */
static int put_fronts(struct wm_resolution *x, struct compiled *c, int sets)
{
	const struct wm_service *s = c->service;
	const struct wm_service_spec *spec = wm_want_spec(&x->w, s->name);
	struct wm_want_fronts want = {s->name, spec ? spec->created : 0, x->fronts, 0};
	struct wm_err e = {0};
	int r;

	/* sets that came for the first time and did not fit may refuse who is up */
	if (!sets || wm_tables_fronts(x->w.tables, s->name))
		want.count = want_fronts(x, s, sets);
	r = wm_tables_fronts_put(x->w.tables, &want, c->told ? NULL : tell_unfit, c, &e);
	c->told = true;
	if (wm_tables_fronts_robbed(x->w.tables))
		mark_contested(x);
	if (r)
		wm_warn("resolution.unfit", "svc=%s err=%s text=%s", wm_log_q(s->name),
			wm_err_name(r), wm_log_q(e.text));
	return r;
}

/* --- tags ---------------------------------------------------------------------------------------
 */
static void put_tags(struct wm_resolution *x, struct compiled *c)
{
	const struct wm_tag *t;

	LIST_FOREACH (t, &c->tags, of_service)
		wm_tags_put(&x->tags, t);
}

void wm_resolution_end_tags(struct wm_resolution *x, uint64_t now_ns)
{
	wm_tags_end(&x->tags, now_ns);
}

void wm_resolution_tag_asked(void *resolution, const char *service, const char *tag,
			     const uint8_t *client)
{
	struct wm_resolution *x = resolution;
	struct wm_service *s = wm_registry_service(x->w.registry, service);
	struct compiled *c = s ? s->compiled : NULL;

	if (c && wm_tags_asked(&x->tags, s, &c->tags, tag, client))
		mark_one(x, s);
}

bool wm_resolution_tag_addressed(void *resolution, const char *service, const char *tag)
{
	struct wm_resolution *x = resolution;
	struct wm_service *s = wm_registry_service(x->w.registry, service);
	struct compiled *c = s ? s->compiled : NULL;
	const struct wm_tag *t = c ? wm_tags_address(&x->tags, s, &c->tags, tag) : NULL;

	if (t)
		wm_tags_put(&x->tags, t); /* who is told of it connects at once */
	return t != NULL;
}

/* One that had addresses when the agent ended: clients may hold them. The next compilation puts it.
 */
static void address_again(void *arg, const char *service, const char *label)
{
	struct wm_resolution *x = arg;
	struct wm_service *s = wm_registry_service(x->w.registry, service);
	struct compiled *c = s ? s->compiled : NULL;

	if (c)
		(void)wm_tags_address(&x->tags, s, &c->tags, label);
}

/* @return 0 or why something of it did not fit. */
static int compile(struct wm_resolution *x, struct compiled *c)
{
	struct wm_buf now;
	int r, fronts;

	wm_buf_init(&now, PARTS_MAX * sizeof(struct key));
	r = each_part(x, c->service, put_part, &now);
	drop_parts(x, c, &now, false);
	fronts = put_fronts(x, c, r);
	r = r ? r : fronts;
	drop_parts(x, c, &now, true);
	wm_buf_done(&c->parts);
	c->parts = now;
	put_tags(x, c);
	if (c->named == (r != 0)) {
		c->named = !r;
		x->unnamed += r ? 1 : -(size_t)1;
	}
	move(x, c, r ? UNFIT : CLEAN);
	return r;
}

static void wait_for_later(struct wm_resolution *x)
{
	const struct compiled *c = TAILQ_FIRST(&x->at[PACED]);
	uint64_t now = wm_clock_ns(), ms = RETRY_MS;

	if (!c && TAILQ_EMPTY(&x->at[UNFIT]))
		return;
	TAILQ_FOREACH (c, &x->at[PACED], entry) {
		uint64_t left = c->due_ns > now ? (c->due_ns - now) / WM_NS_PER_MS + 1 : 0;

		ms = left < ms ? left : ms;
	}
	wm_timer_arm(x->later, ms);
}

/* Those of sources that go by where their instances are. */
static void mark_near(struct wm_resolution *x)
{
	const struct wm_service_spec *spec;
	size_t pos = 0;

	x->moved = false;
	while ((spec = wm_registry_next_spec(x->w.registry, &pos)))
		if (spec->local_only || spec->prefer != WM_SPEC_ANYWHERE)
			mark_referrer(x, spec->service);
}

static bool compile_dirty(void *arg)
{
	struct wm_resolution *x = arg;
	uint64_t now = wm_clock_ns();
	struct compiled *c;
	bool any = false;

	if (x->moved)
		mark_near(x);
	while ((c = TAILQ_FIRST(&x->at[DIRTY]))) {
		if (c->due_ns > now)
			move(x, c, PACED);
		else
			compile(x, c);
		any = true;
	}
	if (any) {
		wait_for_later(x);
		settle(x);
	}
	wm_tables_cut(x->w.tables);
	x->index = wm_registry_index(x->w.registry);
	return any;
}

/* What was paced and is due, then what did not fit, until it is clear that it still does not. */
static void on_later(void *arg)
{
	struct wm_resolution *x = arg;
	uint64_t now = wm_clock_ns();
	struct compiled *c, *next;
	int failures = 0;

	wm_tables_recycle(x->w.tables);
	for (c = TAILQ_FIRST(&x->at[PACED]); c; c = next) {
		next = TAILQ_NEXT(c, entry);
		if (c->due_ns <= now)
			compile(x, c);
	}
	/* one that fails again goes to the end: the others have their turn */
	while (failures < RETRY_FAIL && (c = TAILQ_FIRST(&x->at[UNFIT])))
		failures += compile(x, c) != 0;
	settle(x);
	wait_for_later(x);
}

/* --- following -------------------------------------------------------------------------------- */
/* Does the kernel see a difference? Metadata and tags change often, addresses do not. */
static bool same_backend(const struct wm_resolution *x, const struct wm_instance *a,
			 const struct wm_instance *b)
{
	return a->addr4.s_addr == b->addr4.s_addr && memcmp(&a->addr6, &b->addr6, 16) == 0 &&
	       !*a->address == !*b->address && a->port == b->port &&
	       wm_want_weight(a) == wm_want_weight(b) &&
	       wm_want_state(&x->w, a) == wm_want_state(&x->w, b);
}

/* Is it of matter which tags its instances have? */
static bool has_tags(const struct wm_service *s)
{
	const struct compiled *c = s->compiled;

	return c && !LIST_EMPTY(&c->tags);
}

/* May who is in its tiers depend on it? Filters know of checks, and there is `only_passing`. */
static bool goes_by_status(const struct wm_resolution *x, const struct wm_service *s)
{
	const struct wm_policy *p = wm_registry_policy(x->w.registry, s->name);

	return p && p->subsets_count;
}

static void on_status(struct wm_resolution *x, const struct wm_change *c)
{
	const struct wm_instance *i = c->instance;

	/* at once: a pick after this line avoids what went down */
	bool unknown = wm_tables_state(x->w.tables, i->hash, wm_want_state(&x->w, i));
	bool weight_moves = i->weight_passing != i->weight_warning && i->status != WM_CRITICAL;

	if (unknown || weight_moves || goes_by_status(x, c->service))
		mark(x, c->service);
}

static void on_policy(struct wm_resolution *x, const struct wm_change *c)
{
	const char *service = (c->policy ? c->policy : c->policy_old)->service;

	wm_referrers_changed(x->referrers);
	mark_referrer(x, service);
	wm_referrers_each(x->referrers, service, mark_referrer, x);
}

static void mark_nearest(struct wm_resolution *x)
{
	const struct wm_policy *p;
	size_t pos = 0;

	while ((p = wm_registry_next_policy(x->w.registry, &pos)))
		if (p->select == WM_SELECT_NEAREST) {
			mark_referrer(x, p->service);
			wm_referrers_each(x->referrers, p->service, mark_referrer, x);
		}
}

void wm_resolution_moved(void *resolution)
{
	mark_nearest(resolution);
}

/* --- services without an instance ---------------------------------------------------------------
 */
/* @return NULL without memory. */
static struct wm_service *empty_new(struct wm_resolution *x, const char *name)
{
	size_t n = strlen(name);
	struct wm_service *s = calloc(1, sizeof(*s) + n + 1);

	if (!s)
		return NULL;
	s->name = s->shown = memcpy(s + 1, name, n + 1);
	if (!wm_map_put(x->empty, s->name, n, s, NULL))
		return s;
	free(s);
	return NULL;
}

/* All that the tables have of @p s. */
static void forget(struct wm_resolution *x, struct wm_service *s)
{
	struct compiled *c = s->compiled;

	wm_referrers_each(x->referrers, s->name, mark_referrer, x);
	if (c)
		drop_all_parts(x, c);
	wm_tables_del(x->w.tables, s->name);
	if (c) {
		wm_tags_drop(&x->tags, &c->tags);
		move(x, c, CLEAN);
		x->unnamed -= !c->named;
		settle(x);
	}
	free(c);
	s->compiled = NULL;
}

/* Its last instance is gone. Where a source gives it addresses its sets stay, and refuse. */
static void on_deleted(struct wm_resolution *x, struct wm_service *s)
{
	bool stays = s->compiled && wm_spec_addressed(wm_want_spec(&x->w, s->name));
	struct wm_service *e = stays ? empty_new(x, s->name) : NULL;
	struct compiled *c = s->compiled;

	if (!e) {
		forget(x, s);
		return;
	}
	wm_tags_drop(&x->tags, &c->tags);
	c->service = e;
	e->compiled = c;
	s->compiled = NULL;
	mark(x, e);
}

static void on_spec(struct wm_resolution *x, const struct wm_change *c)
{
	const char *name = (c->spec ? c->spec : c->spec_old)->service;
	struct wm_service *s = c->service ? c->service : service_of(x, name);
	bool wanted = c->spec && wm_spec_addressed(c->spec);

	if (!s && wanted)
		s = empty_new(x, name);
	if (s && (c->service || wanted)) {
		mark(x, s);
		if (s->compiled)
			((struct compiled *)s->compiled)->told = false;
	} else if (s) {
		forget(x, s);
		wm_map_del(x->empty, s->name, strlen(s->name));
		free(s);
	}
	if (c->spec_old)
		mark_contested(x);
}

/* A source's name of this machine, for its zone. */
static void find_here(struct wm_resolution *x, const struct wm_node *n)
{
	bool was = strcmp(x->w.here.node, n->name) == 0;

	if (!n->self && wm_plan_is_here(n))
		snprintf(x->w.here.node, sizeof(x->w.here.node), "%s", n->name);
	else if (was)
		*x->w.here.node = '\0';
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_resolution *x = arg;

	switch (c->kind) {
	case WM_CHANGE_INSTANCE_UPSERT:
		if (c->old && wm_want_state(&x->w, c->old) != wm_want_state(&x->w, c->instance))
			on_status(x, c); /* at once, should the set be paced */
		if (!c->old || !same_backend(x, c->old, c->instance) || is_planned(x, c->service) ||
		    has_tags(c->service))
			mark(x, c->service);
		break;
	case WM_CHANGE_INSTANCE_DELETED:
		/* at once, should the set be paced; one that no set has is no matter */
		(void)wm_tables_state(x->w.tables, c->instance->hash, WM_STATE_DOWN);
		mark(x, c->service);
		break;
	case WM_CHANGE_SERVICE_CREATED:
		mark(x, c->service);
		break;
	case WM_CHANGE_STATUS:
		on_status(x, c);
		break;
	case WM_CHANGE_SERVICE_DELETED:
		on_deleted(x, c->service);
		break;
	case WM_CHANGE_POLICY:
		on_policy(x, c);
		break;
	case WM_CHANGE_NODE_UPSERT: /* it may be near now, or far */
		mark_nearest(x);
		find_here(x, c->instance->node);
		x->moved = wm_registry_specs(x->w.registry) != 0;
		break;
	case WM_CHANGE_SPEC:
		on_spec(x, c);
		break;
	case WM_CHANGE_CHECK_REMOVED:
	case WM_CHANGE_NODE_DELETED:
	case WM_CHANGE_NODE_FOLLOWED:
	case WM_CHANGE_NODE: /* of each instance that it concerns a status follows */
		break;
	}
}

static void on_tick(void *arg)
{
	struct wm_resolution *x = arg;
	struct wm_config *config = wm_tables_memory(x->w.tables)->config;

	wm_tables_recycle(x->w.tables);
	wm_tables_rest(x->w.tables);
	wm_resolution_end_tags(x, wm_clock_ns());
	__atomic_store_n(&config->confirmed_ns, wm_clock_ns(), __ATOMIC_RELAXED);
	wm_timer_tick(x->tick, TICK_MS);
}

/* --- all of it ----------------------------------------------------------------------------------
 */
/* Mark all that is there. */
static void begin(struct wm_resolution *x)
{
	const struct wm_service_spec *spec;
	const struct wm_node *n;
	struct wm_service *s;
	size_t pos = 0;

	while ((n = wm_registry_next_node(x->w.registry, &pos)))
		find_here(x, n);
	for (pos = 0; (s = wm_registry_next_service(x->w.registry, &pos));)
		mark(x, s);
	for (pos = 0; (spec = wm_registry_next_spec(x->w.registry, &pos));) {
		s = wm_spec_addressed(spec) && !service_of(x, spec->service)
			    ? empty_new(x, spec->service)
			    : NULL;
		if (s)
			mark(x, s);
	}
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_resolution *wm_resolution_new(struct wm_loop *l, struct wm_registry *r,
					struct wm_tables *t)
{
	struct wm_resolution *x = calloc(1, sizeof(*x));

	if (!x)
		return NULL;
	x->w.registry = r;
	x->w.tables = t;
	for (int i = 0; i < PLACES; i++)
		TAILQ_INIT(&x->at[i]);
	wm_tags_init(&x->tags, &x->w);
	x->empty = wm_map_new(wm_tables_memory(t)->sets_cap);
	x->referrers = wm_referrers_new(r);
	x->tick = wm_timer_new(l, on_tick, x);
	x->later = wm_timer_new(l, on_later, x);
	if (!x->empty || !x->referrers || !x->tick || !x->later ||
	    wm_registry_subscribe(r, on_change, x) ||
	    wm_loop_on_turn_end(l, WM_HOOK_COMPILE, compile_dirty, x)) {
		wm_resolution_free(x);
		return NULL;
	}
	begin(x);
	wm_registry_each_label(r, address_again, x);
	compile_dirty(x);
	x->begun = true;
	settle(x);
	wm_tables_sweep(t);
	settle(x);
	on_tick(x);
	return x;
}

static void compiled_free(struct wm_resolution *x, struct wm_service *s)
{
	struct compiled *c = s->compiled;

	if (c) {
		wm_buf_done(&c->parts);
		wm_tags_free_list(&x->tags, &c->tags);
	}
	free(c);
	s->compiled = NULL;
}

void wm_resolution_free(struct wm_resolution *x)
{
	struct wm_service *s;
	size_t pos = 0;

	if (!x)
		return;
	while ((s = wm_registry_next_service(x->w.registry, &pos)))
		compiled_free(x, s);
	for (pos = 0; x->empty && (s = wm_map_next(x->empty, &pos));) {
		compiled_free(x, s);
		free(s);
	}
	wm_map_free(x->empty);
	wm_referrers_free(x->referrers);
	wm_timer_free(x->tick);
	wm_timer_free(x->later);
	free(x->w.want);
	free(x);
}

struct verify {
	wm_difference_fn fn;
	void *arg;
};

static int verify_part(struct wm_resolution *x, struct wm_service *s,
		       const struct wm_want_part *part, void *arg)
{
	const struct verify *v = arg;
	struct wm_want_set w;
	struct wm_plan plan;
	int r = wm_want_make(&x->w, s, part, &plan, &w);

	if (!r)
		r = wm_tables_verify(x->w.tables, &w, v->fn, v->arg);
	wm_plan_done(&plan);
	return r;
}

int wm_resolution_verify(struct wm_resolution *x, const struct wm_service *s, wm_difference_fn fn,
			 void *arg)
{
	const struct compiled *c = s->compiled;
	char text[WM_SERVICE_NAME_MAX + 64];
	struct verify v = {fn, arg};
	const struct wm_tag *t;
	int r;

	if (!c || c->in == DIRTY || c->in == PACED)
		return 0;
	if (c->in == UNFIT) {
		snprintf(text, sizeof(text), "%s: does not fit, see the log", s->name);
		fn(arg, "sets", text);
		return 0;
	}
	r = each_part(x, c->service, verify_part, &v);
	LIST_FOREACH (t, &c->tags, of_service) {
		struct wm_want_part part = {.tag = true};

		strcpy(part.label, t->text);
		if (!r && !wm_tags_is_subset(&x->tags, t) &&
		    wm_tables_label_set(x->w.tables, s->name, t->text) >= 0)
			r = verify_part(x, c->service, &part, &v);
	}
	wm_tables_verify_fronts(x->w.tables, s->name, x->fronts, want_fronts(x, s, false), fn, arg);
	return r;
}

const struct wm_service *wm_resolution_next_empty(const struct wm_resolution *x, size_t *pos)
{
	return wm_map_next(x->empty, pos);
}

uint64_t wm_resolution_index(const struct wm_resolution *x)
{
	return x->index;
}
