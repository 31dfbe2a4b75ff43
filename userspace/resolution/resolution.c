/* SPDX-License-Identifier: Apache-2.0 */
/* resolution.c - follows the registry, compiles what changed, keeps the tables confirmed. */
#include "resolution.h"

#include "plan.h"
#include "referrers.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/metadata/mesh.h"
#include "userspace/metadata/selection.h"
#include "waymark/dns_answer.h"

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

/* Tags that have a set, of all services and of one: each makes the compilation of its service
 * dearer, and 128 instances (what DNS programs look at) of each are an eighth of the slots. */
#define TAGS_MAX	512
#define TAGS_OF_ONE_MAX 16
/* Instances of a service whose tags may have sets: each of its tags is looked for among all of them
 * as often as it is compiled, which is to take some milliseconds at most. */
#define TAGS_INSTANCES_MAX 4096

/* Subsets and all of the service, by ports and all of them. */
#define PARTS_MAX ((1 + WM_POLICY_SUBSETS_MAX) * (1 + WM_POLICY_PORTS_MAX))

enum place {
	CLEAN,
	DIRTY, /* compiled at the end of the turn */
	UNFIT, /* a table was full: tried again */
	PACED, /* was published a moment ago: compiled when its time has come */
	PLACES
};

/* A tag that was asked for. */
struct tag {
	TAILQ_ENTRY(tag) entry; /* of all, in the order of their ends */
	LIST_ENTRY(tag) of_service;
	struct compiled *compiled;
	uint64_t until_ns;
	char text[WM_POLICY_LABEL_MAX + 1]; /* lower case */
};
TAILQ_HEAD(tag_queue, tag);
LIST_HEAD(tag_list, tag);

/* What resolution keeps of a service: wm_service.compiled. */
struct compiled {
	struct wm_service *service;
	TAILQ_ENTRY(compiled) entry;
	uint64_t due_ns; /* not to be published before */
	enum place in;
	struct wm_buf parts; /* that have a set: of struct key */
	bool named;	     /* all of it is in the tables */
	struct tag_list tags;
};
TAILQ_HEAD(compiled_list, compiled);

struct wm_resolution {
	struct wm_registry *registry;
	struct wm_tables *tables;
	struct wm_referrers *referrers;
	struct wm_timer *tick, *later; /* later: for what is UNFIT or PACED */
	struct compiled_list at[PLACES];
	struct tag_queue tags;
	unsigned tags_count;
	struct wm_want_backend *want; /* scratch */
	size_t want_cap;
	uint64_t index;
	size_t unnamed; /* services that are not in the tables, or not whole */
	bool blind;	/* memory was short: there are services that nobody counts */
};

/* --- completeness -------------------------------------------------------------------------------
 */
/* Programs may say that a service is not there as long as all that are have names. It is taken back
 * before a registration is answered, and given when its name is in. */
static void settle(struct wm_resolution *x)
{
	uint32_t *flags = &wm_tables_memory(x->tables)->config->flags;
	struct wm_tables_stats s;

	wm_tables_stats(x->tables, &s);
	if (x->unnamed || x->blind || s.collisions || wm_tables_policy(x->tables)->partial)
		__atomic_and_fetch(flags, ~WM_CONFIG_F_COMPLETE, __ATOMIC_SEQ_CST);
	else
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

static void mark_one(struct wm_resolution *x, struct wm_service *s)
{
	struct compiled *c = s->compiled;

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

static void mark_referrer(void *arg, const char *service)
{
	struct wm_resolution *x = arg;
	struct wm_service *s = wm_registry_service(x->registry, service);

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
	return wm_registry_policy(x->registry, s->name) || wm_referrers_any(x->referrers, s->name);
}

/* --- what is wanted
 * ----------------------------------------------------------------------------------- */
/* One whose address is a host name has none that connect() could write: it is DNS's alone. */
static bool has_ip(const struct wm_instance *i)
{
	return i->addr4.s_addr || !IN6_IS_ADDR_UNSPECIFIED(&i->addr6);
}

static uint32_t state_of(const struct wm_resolution *x, const struct wm_instance *i)
{
	bool warned = i->status == WM_WARNING && wm_tables_policy(x->tables)->only_passing;

	if (!has_ip(i))
		return WM_STATE_DOWN;
	if (i->lifecycle == WM_LIFE_STOPPING)
		return WM_STATE_DRAIN;
	return wm_instance_usable(i) && !warned ? WM_STATE_UP : WM_STATE_DOWN;
}

/* A critical instance keeps its weight, so that going down and up moves nothing but its state. */
static uint32_t weight_of(const struct wm_instance *i)
{
	if (!has_ip(i))
		return 0;
	return wm_selection_weight(i);
}

static bool aborts_tcp(const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->meta_count; n++)
		if (strcmp(i->meta[n].key, WM_META_ABORT_TCP) == 0)
			return strcmp(i->meta[n].value, "true") == 0;
	return false;
}

/* What its own service's policy says: it is one backend of all sets that have it. */
static bool closes(const struct wm_resolution *x, const struct wm_instance *i)
{
	const struct wm_policy *p = wm_registry_policy(x->registry, i->service->name);

	return (p && p->close_on_down) || aborts_tcp(i);
}

/* @p endpoint NULL: the instances as they are; else those that have it, on its port. */
static int fill(struct wm_resolution *x, const struct wm_service *s, const struct wm_plan *plan,
		const char *endpoint, uint32_t *ret_count)
{
	uint32_t n = 0;

	if (plan->count > x->want_cap) {
		size_t cap = plan->count + plan->count / 2;
		struct wm_want_backend *want = realloc(x->want, cap * sizeof(*want));

		if (!want)
			return -ENOMEM;
		x->want = want;
		x->want_cap = cap;
	}
	for (unsigned k = 0; k < plan->count; k++) {
		const struct wm_instance *i = plan->planned[k].instance;
		unsigned port = endpoint ? wm_mesh_endpoint_port(i, endpoint) : i->port;

		if (endpoint && !port)
			continue;
		x->want[n] = (struct wm_want_backend){.instance = i->hash,
						      .addr4_be = i->addr4.s_addr,
						      .port = (uint16_t)port,
						      .weight = weight_of(i),
						      .state = state_of(x, i),
						      .abort_tcp = closes(x, i),
						      .foreign = i->service != s,
						      .tiers = plan->planned[k].tiers,
						      .node = *i->address ? NULL : i->node->name};
		memcpy(x->want[n++].addr6, &i->addr6, 16);
	}
	*ret_count = n;
	return 0;
}

/* How long the range that a set of @p n gives back keeps the service from the next. */
static uint64_t pace_ns(const struct wm_resolution *x, unsigned n)
{
	uint64_t range = 1;

	while (range < n)
		range *= 2; /* as the ranges are given out */
	if (range <= PACED_MIN)
		return 0;
	return range * RESTING_SHARE * WM_RECYCLE_NS / wm_tables_memory(x->tables)->slots_cap;
}

/* Another file's way to choose is not there: by weight, then. */
static void check_custom(const struct wm_resolution *x, struct wm_plan *plan)
{
	const char *loaded = wm_tables_policy(x->tables)->custom;

	if (plan->policy && plan->rule.head.balance == WM_BALANCE_CUSTOM &&
	    (!loaded || strcmp(plan->policy->custom, loaded) != 0))
		plan->rule.head.balance = WM_BALANCE_WEIGHTED;
}

/* A part of a service that has a set of its own: a subset, a port of the virtual address, or a port
 * of a subset's. */
struct part {
	char label[WM_POLICY_LABEL_MAX + 1]; /* "": all of the service */
	const struct wm_policy_port *port;   /* NULL: all ports */
	bool tag;			     /* the label is one */
};

/* What the tables are to say of a part of @p s. The plan is done with after @p w, also on failure.
 */
static int want(struct wm_resolution *x, const struct wm_service *s, const struct part *part,
		struct wm_plan *plan, struct wm_want_set *w)
{
	const struct wm_policy *p = wm_registry_policy(x->registry, s->name);
	struct in6_addr vip6 = s->vip6;
	struct in_addr vip4 = s->vip4;
	uint32_t count = 0;
	int r = part->tag ? wm_plan_tagged(s, part->label, plan)
			  : wm_plan_make(x->registry, s, part->label, NULL, plan);

	if (!r)
		r = fill(x, s, plan, part->port ? part->port->endpoint : NULL, &count);
	*w = (struct wm_want_set){.service = s->name, .label = part->label, .tag = part->tag};
	if (part->tag)
		w->vip4_be = 0; /* a tag has no address */
	else if (!*part->label ||
		 wm_registry_label(x->registry, s->name, part->label, &vip4, &vip6)) {
		w->vip4_be = vip4.s_addr;
		memcpy(w->vip6, &vip6, 16);
	}
	w->backends = x->want;
	w->backends_count = count;
	w->port = part->port ? (uint16_t)part->port->port : 0;
	w->ports = !part->port && p && p->ports_count;
	w->srv = !part->port;
	check_custom(x, plan);
	w->rule = &plan->rule;
	return r;
}

/* @return 0 or why it did not fit. */
static int put_set(struct wm_resolution *x, struct compiled *c, const struct part *part)
{
	const struct wm_service *s = c->service;
	struct wm_tables_stats before, after;
	struct wm_err e = {0};
	struct wm_want_set w;
	struct wm_plan plan;
	int r = want(x, s, part, &plan, &w);

	wm_tables_stats(x->tables, &before);
	if (!r)
		r = wm_tables_put(x->tables, &w, NULL, &e);
	wm_tables_stats(x->tables, &after);
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
	char label[WM_POLICY_LABEL_MAX + 1];
};

static bool has_key(const struct wm_buf *keys, const struct key *k)
{
	for (size_t at = 0; at < keys->len; at += sizeof(*k))
		if (memcmp(keys->data + at, k, sizeof(*k)) == 0)
			return true;
	return false;
}

/* Sets of what is no more. */
static void drop_parts(struct wm_resolution *x, struct compiled *c, const struct wm_buf *left)
{
	struct key k;

	for (size_t at = 0; at < c->parts.len; at += sizeof(k)) {
		memcpy(&k, c->parts.data + at, sizeof(k));
		if (!left || !has_key(left, &k))
			wm_tables_part_del(x->tables, c->service->name, k.label, k.port, 0);
	}
	wm_buf_done(&c->parts);
}

/* Call @p fn with all of a service and each part of it. @return the last that it returned but 0. */
static int each_part(struct wm_resolution *x, struct wm_service *s,
		     int (*fn)(struct wm_resolution *x, struct wm_service *s,
			       const struct part *part, void *arg),
		     void *arg)
{
	const struct wm_policy *p = wm_registry_policy(x->registry, s->name);
	struct part part = {.port = NULL};
	int bad = 0, r;

	for (uint32_t n = 0; n <= (p ? p->subsets_count : 0); n++) {
		if (n)
			snprintf(part.label, sizeof(part.label), "%s", p->subsets[n - 1].name);
		for (char *l = part.label; *l; l++)
			*l = (char)tolower((unsigned char)*l);
		for (uint32_t k = 0; k <= (p ? p->ports_count : 0); k++) {
			part.port = k ? &p->ports[k - 1] : NULL;
			r = fn(x, s, &part, arg);
			bad = r ? r : bad;
		}
	}
	return bad;
}

static int put_part(struct wm_resolution *x, struct wm_service *s, const struct part *part,
		    void *arg)
{
	struct key k = {.port = (uint16_t)(part->port ? part->port->port : 0)};

	strcpy(k.label, part->label);
	if ((*k.label || k.port) && !wm_buf_put(arg, &k, sizeof(k)))
		return -ENOMEM;
	return put_set(x, s->compiled, part);
}

/* --- tags ---------------------------------------------------------------------------------------
 */
static struct tag *tag_of(const struct compiled *c, const char *text)
{
	struct tag *t;

	LIST_FOREACH (t, &c->tags, of_service)
		if (strcmp(t->text, text) == 0)
			return t;
	return NULL;
}

static bool is_subset(const struct wm_resolution *x, const struct compiled *c, const char *text)
{
	const struct wm_policy *p = wm_registry_policy(x->registry, c->service->name);

	return p && wm_policy_subset(p, text);
}

static void tag_free(struct wm_resolution *x, struct tag *t)
{
	TAILQ_REMOVE(&x->tags, t, entry);
	LIST_REMOVE(t, of_service);
	x->tags_count--;
	free(t);
}

/* What is larger, or fits no table, is asked of userspace as before: nothing is denied by it. */
static void put_tag(struct wm_resolution *x, struct compiled *c, const struct tag *t)
{
	struct part part = {.tag = true};
	struct wm_want_set w;
	struct wm_plan plan;
	int r;

	if (is_subset(x, c, t->text))
		return;
	if (c->service->instances_count > TAGS_INSTANCES_MAX) {
		wm_tables_part_del(x->tables, c->service->name, t->text, 0, 0);
		return;
	}
	strcpy(part.label, t->text);
	r = want(x, c->service, &part, &plan, &w);
	if (r || plan.count > WM_DNS_SCAN_KERNEL || wm_tables_put(x->tables, &w, NULL, NULL))
		wm_tables_part_del(x->tables, c->service->name, t->text, 0, 0);
	wm_plan_done(&plan);
}

static void put_tags(struct wm_resolution *x, struct compiled *c)
{
	const struct tag *t;

	LIST_FOREACH (t, &c->tags, of_service)
		put_tag(x, c, t);
}

static void drop_tags(struct wm_resolution *x, struct compiled *c)
{
	struct tag *t;

	while ((t = LIST_FIRST(&c->tags))) {
		wm_tables_part_del(x->tables, c->service->name, t->text, 0, 0);
		tag_free(x, t);
	}
}

void wm_resolution_end_tags(struct wm_resolution *x, uint64_t now_ns)
{
	struct tag *t;

	while ((t = TAILQ_FIRST(&x->tags)) && t->until_ns <= now_ns) {
		if (!is_subset(x, t->compiled, t->text))
			wm_tables_part_del(x->tables, t->compiled->service->name, t->text, 0, 0);
		tag_free(x, t);
	}
}

void wm_resolution_tag_asked(void *resolution, const char *service, const char *tag)
{
	struct wm_resolution *x = resolution;
	struct wm_service *s = wm_registry_service(x->registry, service);
	struct compiled *c = s ? s->compiled : NULL;
	unsigned of_one = 0;
	struct tag *t;

	if (!c || s->instances_count > TAGS_INSTANCES_MAX || x->tags_count >= TAGS_MAX ||
	    strlen(tag) > WM_POLICY_LABEL_MAX ||
	    tag[strspn(tag, "abcdefghijklmnopqrstuvwxyz0123456789-_.")] || tag_of(c, tag))
		return;
	LIST_FOREACH (t, &c->tags, of_service)
		of_one++;
	t = of_one < TAGS_OF_ONE_MAX ? calloc(1, sizeof(*t)) : NULL;
	if (!t)
		return;
	strcpy(t->text, tag);
	t->compiled = c;
	t->until_ns = wm_clock_ns() + WM_RESOLUTION_TAG_MS * WM_NS_PER_MS;
	LIST_INSERT_HEAD(&c->tags, t, of_service);
	TAILQ_INSERT_TAIL(&x->tags, t, entry);
	x->tags_count++;
	mark_one(x, s);
}

/* @return 0 or why something of it did not fit. */
static int compile(struct wm_resolution *x, struct compiled *c)
{
	struct wm_buf now;
	int r;

	wm_buf_init(&now, PARTS_MAX * sizeof(struct key));
	r = each_part(x, c->service, put_part, &now);
	drop_parts(x, c, &now);
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

static bool compile_dirty(void *arg)
{
	struct wm_resolution *x = arg;
	uint64_t now = wm_clock_ns();
	struct compiled *c;
	bool any = false;

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
	wm_tables_cut(x->tables);
	x->index = wm_registry_index(x->registry);
	return any;
}

/* What was paced and is due, then what did not fit, until it is clear that it still does not. */
static void on_later(void *arg)
{
	struct wm_resolution *x = arg;
	uint64_t now = wm_clock_ns();
	struct compiled *c, *next;
	int failures = 0;

	wm_tables_recycle(x->tables);
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
	       !*a->address == !*b->address && a->port == b->port && weight_of(a) == weight_of(b) &&
	       state_of(x, a) == state_of(x, b);
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
	const struct wm_policy *p = wm_registry_policy(x->registry, s->name);

	return p && p->subsets_count;
}

static void on_status(struct wm_resolution *x, const struct wm_change *c)
{
	const struct wm_instance *i = c->instance;

	/* at once: a pick after this line avoids what went down */
	bool unknown = wm_tables_state(x->tables, i->hash, state_of(x, i));
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

	while ((p = wm_registry_next_policy(x->registry, &pos)))
		if (p->select == WM_SELECT_NEAREST)
			mark_referrer(x, p->service);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_resolution *x = arg;
	struct compiled *gone;

	switch (c->kind) {
	case WM_CHANGE_INSTANCE_UPSERT:
		if (c->old && state_of(x, c->old) != state_of(x, c->instance))
			on_status(x, c); /* at once, should the set be paced */
		if (!c->old || !same_backend(x, c->old, c->instance) || is_planned(x, c->service) ||
		    has_tags(c->service))
			mark(x, c->service);
		break;
	case WM_CHANGE_INSTANCE_DELETED:
		/* at once, should the set be paced; one that no set has is no matter */
		(void)wm_tables_state(x->tables, c->instance->hash, WM_STATE_DOWN);
		mark(x, c->service);
		break;
	case WM_CHANGE_SERVICE_CREATED:
		mark(x, c->service);
		break;
	case WM_CHANGE_STATUS:
		on_status(x, c);
		break;
	case WM_CHANGE_SERVICE_DELETED:
		wm_referrers_each(x->referrers, c->service->name, mark_referrer, x);
		wm_tables_del(x->tables, c->service->name);
		gone = c->service->compiled;
		if (gone) {
			drop_parts(x, gone, NULL);
			drop_tags(x, gone);
			move(x, gone, CLEAN);
			x->unnamed -= !gone->named;
			settle(x);
		}
		free(gone);
		c->service->compiled = NULL;
		break;
	case WM_CHANGE_POLICY:
		on_policy(x, c);
		break;
	case WM_CHANGE_NODE_UPSERT: /* it may be near now, or far */
		mark_nearest(x);
		break;
	case WM_CHANGE_CHECK_REMOVED:
	case WM_CHANGE_NODE_DELETED:
	case WM_CHANGE_NODE_FOLLOWED:
	case WM_CHANGE_SPEC:
	case WM_CHANGE_NODE: /* of each instance that it concerns a status follows */
		break;
	}
}

static void on_tick(void *arg)
{
	struct wm_resolution *x = arg;
	struct wm_config *config = wm_tables_memory(x->tables)->config;

	wm_tables_recycle(x->tables);
	wm_resolution_end_tags(x, wm_clock_ns());
	__atomic_store_n(&config->confirmed_ns, wm_clock_ns(), __ATOMIC_RELAXED);
	wm_timer_arm(x->tick, TICK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_resolution *wm_resolution_new(struct wm_loop *l, struct wm_registry *r,
					struct wm_tables *t)
{
	struct wm_resolution *x = calloc(1, sizeof(*x));
	struct wm_service *s;
	size_t pos = 0;

	if (!x)
		return NULL;
	x->registry = r;
	x->tables = t;
	for (int i = 0; i < PLACES; i++)
		TAILQ_INIT(&x->at[i]);
	TAILQ_INIT(&x->tags);
	x->referrers = wm_referrers_new(r);
	x->tick = wm_timer_new(l, on_tick, x);
	x->later = wm_timer_new(l, on_later, x);
	if (!x->referrers || !x->tick || !x->later || wm_registry_subscribe(r, on_change, x) ||
	    wm_loop_on_turn_end(l, WM_HOOK_COMPILE, compile_dirty, x)) {
		wm_resolution_free(x);
		return NULL;
	}
	while ((s = wm_registry_next_service(r, &pos)))
		mark(x, s);
	compile_dirty(x);
	wm_tables_sweep(t);
	settle(x);
	on_tick(x);
	return x;
}

void wm_resolution_free(struct wm_resolution *x)
{
	struct wm_service *s;
	size_t pos = 0;

	if (!x)
		return;
	while (!TAILQ_EMPTY(&x->tags))
		tag_free(x, TAILQ_FIRST(&x->tags));
	while ((s = wm_registry_next_service(x->registry, &pos))) {
		struct compiled *c = s->compiled;

		if (c)
			wm_buf_done(&c->parts);
		free(c);
		s->compiled = NULL;
	}
	wm_referrers_free(x->referrers);
	wm_timer_free(x->tick);
	wm_timer_free(x->later);
	free(x->want);
	free(x);
}

struct verify {
	wm_difference_fn fn;
	void *arg;
};

static int verify_part(struct wm_resolution *x, struct wm_service *s, const struct part *part,
		       void *arg)
{
	const struct verify *v = arg;
	struct wm_want_set w;
	struct wm_plan plan;
	int r = want(x, s, part, &plan, &w);

	if (!r)
		r = wm_tables_verify(x->tables, &w, v->fn, v->arg);
	wm_plan_done(&plan);
	return r;
}

int wm_resolution_verify(struct wm_resolution *x, const struct wm_service *s, wm_difference_fn fn,
			 void *arg)
{
	const struct compiled *c = s->compiled;
	char text[WM_SERVICE_NAME_MAX + 64];
	struct verify v = {fn, arg};
	const struct tag *t;
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
		struct part part = {.tag = true};

		strcpy(part.label, t->text);
		if (!r && !is_subset(x, c, t->text) &&
		    wm_tables_label_set(x->tables, s->name, t->text) >= 0)
			r = verify_part(x, c->service, &part, &v);
	}
	return r;
}

uint64_t wm_resolution_index(const struct wm_resolution *x)
{
	return x->index;
}
