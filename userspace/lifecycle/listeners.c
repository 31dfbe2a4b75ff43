/* SPDX-License-Identifier: Apache-2.0 */
/* listeners.c - see listeners.h. An endpoint is a backend of its own: where only its listener is
 * gone it alone falls, and stays fallen whatever is stored of its instance, but for a change of
 * that, after which it is taken down again. News of the kernel may be lost, so once a second what
 * fell is looked after by itself. */
#include "listeners.h"

#include "here.h"
#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/dataplane/observe.h"
#include "userspace/metadata/mesh.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <unistd.h>

#define TICK_MS	    1000
#define RENEW_MS    (24 * 3600 * 1000ull) /* a check that passes is told again: it is a TTL's */
#define WATCHES_MAX (1u << 24)
#define LOOK_MS	    10000 /* between looks where pods are: they move seldom */
#define LOOK_MAX    4096  /* addresses of a look; the others' turn comes with the next ones */
#define STEP	    8192  /* watches looked after in a tick, some 2 ms; others in the next ones */

/* Of an instance, or of an endpoint of it to which a policy leads. */
struct watch {
	TAILQ_ENTRY(watch) dirty_entry, gone_entry, away_entry;
	LIST_ENTRY(watch) port_entry;
	LIST_HEAD(, watch) ports; /* of an instance: of its endpoints */
	uint16_t port;		  /* of an endpoint; 0: the instance's own */
	bool orphan;		  /* in no such list any more */
	bool endpoints;		  /* the instance has some */
	struct wm_listen_watch at;
	uint64_t netns; /* of a pod's that was found; 0: ours, or none */
	unsigned look;	/* the look that asked where it is, and as which */
	unsigned look_at;
	bool away;     /* its address is not of our network namespace: a pod's, or elsewhere */
	bool dirty;    /* the instance changed, or is not in the tables yet */
	bool gone;     /* somebody listened, and nobody does */
	bool asked;    /* the check is being registered */
	bool left_out; /* and counted */
	uint64_t told_ms;
	char id[]; /* of the instance */
};
struct wm_listeners {
	struct wm_registry *registry;
	const struct wm_tables *tables;
	struct wm_health *health;
	struct wm_observer *observer;
	struct wm_timer *tick;
	struct wm_map *by_id, *by_backend;
	TAILQ_HEAD(, watch) dirty, gone; /* gone: all of them are watched */
	TAILQ_HEAD(, watch) away;
	unsigned away_count, looks;
	bool looking;	  /* where those that are away are */
	uint64_t look_ms; /* when the next look begins */
	size_t pos;	  /* of by_id: where the next tick goes on */
	uint64_t counters[WM_LISTENER_COUNTER_COUNT];
};

/* --- which instances -------------------------------------------------------------------------- */
/* Its own word stands above its service's policy. */
static bool is_asked_for(const struct wm_listeners *x, const struct wm_instance *i)
{
	const struct wm_policy *p;

	for (unsigned n = 0; n < i->meta_count; n++)
		if (strcmp(i->meta[n].key, WM_META_NOTICE) == 0)
			return strcmp(i->meta[n].value, "false") != 0;
	p = wm_registry_policy(x->registry, i->service->name);
	return !p || p->outlier.listener_notice;
}

static bool is_ours(const struct wm_instance *i)
{
	return i && i->service && i->node->self && i->version.origin == WM_ORIGIN_OWN && i->port;
}

/* Where it stands in the tables with its present address, at @p port, 0: its own.
 * @return WM_NO_BACKEND: nowhere yet. */
static uint32_t backend_of(const struct wm_listeners *x, const struct wm_instance *i, uint16_t port)
{
	const struct wm_table_memory *m = wm_tables_memory(x->tables);
	uint32_t at[WM_BACKENDS_OF_MAX];
	unsigned n = wm_tables_backends_of(x->tables, i->hash, at, WM_ARRAY_LEN(at));

	for (unsigned k = 0; k < n && k < WM_ARRAY_LEN(at); k++) {
		const struct wm_backend *b = &m->backends[at[k]];

		if (b->addr4_be == i->addr4.s_addr && b->port_be == htons(port ? port : i->port) &&
		    !memcmp(b->addr6_be, &i->addr6, sizeof(i->addr6)))
			return at[k];
	}
	return WM_NO_BACKEND;
}

static bool has_endpoints(const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->meta_count; n++)
		if (wm_mesh_endpoint_name(i->meta[n].key))
			return true;
	return false;
}

/* --- the check -------------------------------------------------------------------------------- */
static struct wm_check *check_of(const struct wm_listeners *x, const char *instance)
{
	char id[WM_CHECK_ID_MAX + 1];

	snprintf(id, sizeof(id), WM_LISTENER_CHECK "%s", instance);
	return wm_registry_check(x->registry, id);
}

static void tell(struct wm_listeners *x, struct watch *w, enum wm_status s);

/* Who listened again before the check was stored has told nobody: there was none. */
static void on_registered(void *arg, int code, const char *text)
{
	struct wm_listeners *x = arg;
	struct watch *w;
	size_t pos = 0;

	while ((w = wm_map_next(x->by_id, &pos))) {
		if (!w->asked || !(code || check_of(x, w->id)))
			continue;
		w->asked = false;
		if (!w->gone)
			tell(x, w, WM_PASSING);
	}
	if (code)
		wm_warn("listener.check", "err=%s text=%s", wm_err_name(code), wm_log_q(text));
}

static void register_check(struct wm_listeners *x, struct watch *w, const char *output)
{
	char id[WM_CHECK_ID_MAX + 1];
	const struct wm_check_draft d = {
		.id = id,
		.name = "Listener",
		.notes = "Kept by Waymark: whether somebody listens on the instance's port",
		.kind = WM_CHECK_TTL,
		.ttl_ms = WM_CHECK_DURATION_MAX_MS,
		.output = output,
		.has_status = true,
		.status = WM_CRITICAL};
	struct wm_err e = {0};

	snprintf(id, sizeof(id), WM_LISTENER_CHECK "%s", w->id);
	w->asked = !wm_registry_check_register(x->registry, w->id, &d, on_registered, x, &e);
	if (!w->asked)
		wm_warn("listener.check", "err=%s text=%s", wm_err_name(e.code), wm_log_q(e.text));
}

/* An endpoint has none: the instance serves on. */
static void tell(struct wm_listeners *x, struct watch *w, enum wm_status s)
{
	const struct wm_check *c = check_of(x, w->id);
	const char *output = s == WM_PASSING ? "Somebody listens on the instance's port"
					     : "Nobody listens on the instance's port any more";

	w->told_ms = wm_clock_ms();
	if (w->port)
		return;
	if (c && (c->status != s || s == WM_PASSING))
		(void)wm_health_ttl_update(x->health, c->id, s, output, NULL);
	else if (!c && s == WM_CRITICAL && !w->asked)
		register_check(x, w, output);
}

/* It is switched off: what was told counts no more. One that is being registered comes as a change
 * of the instance, and is dropped then. */
static void take_back(struct wm_listeners *x, const struct watch *w, uint32_t backend)
{
	const struct wm_check *c = check_of(x, w->id);
	struct wm_err e = {0};

	if (w->port)
		wm_tables_rise(x->tables, backend);
	else if (c && wm_registry_check_deregister(x->registry, c->id, NULL, NULL, &e))
		wm_warn("listener.check", "err=%s text=%s", wm_err_name(e.code), wm_log_q(e.text));
}

/* --- what is so now --------------------------------------------------------------------------- */
static void set_gone(struct wm_listeners *x, struct watch *w, bool gone)
{
	if (w->gone && !gone)
		TAILQ_REMOVE(&x->gone, w, gone_entry);
	else if (!w->gone && gone)
		TAILQ_INSERT_TAIL(&x->gone, w, gone_entry);
	w->gone = gone;
}

static void log_word(const char *event, const struct watch *w)
{
	if (w->port)
		wm_info(event, "id=%s endpoint=%u backend=%u", wm_log_q(w->id), w->port,
			w->at.backend);
	else
		wm_info(event, "id=%s backend=%u", wm_log_q(w->id), w->at.backend);
}

/* Compare who listens with what was told of it. */
static void settle(struct wm_listeners *x, struct watch *w)
{
	bool listens;

	if (!wm_observer_knows(x->observer, &w->at)) {
		x->look_ms = 0;
		return;
	}
	listens = wm_observer_listens(x->observer, &w->at);
	if (!w->gone && !listens && wm_observer_fell(x->observer, &w->at)) {
		set_gone(x, w, true);
		x->counters[WM_LISTENER_GONE]++;
		log_word("listener.gone", w);
	}
	if (!w->gone)
		return;
	if (!listens) {
		/* up again by a registration without the check, and still nobody is there */
		wm_observer_fall(x->observer, &w->at);
		tell(x, w, WM_CRITICAL);
		return;
	}
	set_gone(x, w, false);
	x->counters[WM_LISTENER_BACK]++;
	log_word("listener.back", w);
	tell(x, w, WM_PASSING);
}

static void on_news(void *arg, uint32_t backend, uint32_t stamp, bool gone)
{
	struct wm_listeners *x = arg;
	struct watch *w = wm_map_get(x->by_backend, &backend, sizeof(backend));

	(void)gone; /* it may be old by now */
	if (w && w->at.stamp == stamp)
		settle(x, w);
}

static void count(struct wm_listeners *x, bool all)
{
	int r = wm_observer_count(x->observer, all);

	x->counters[WM_LISTENER_COUNTS]++;
	if (!r)
		return;
	x->counters[WM_LISTENER_FAILED]++;
	wm_warn("listener.count", "err=%s", wm_err_name(r));
}

/* --- following the registry ------------------------------------------------------------------- */
static void unwatch(struct wm_listeners *x, struct watch *w)
{
	if (!w->at.on)
		return;
	wm_map_del(x->by_backend, &w->at.backend, sizeof(w->at.backend));
	wm_observer_unwatch(x->observer, &w->at);
	set_gone(x, w, false);
}

static void set_away(struct wm_listeners *x, struct watch *w, bool away)
{
	if (w->away && !away) {
		TAILQ_REMOVE(&x->away, w, away_entry);
		x->away_count--;
	} else if (!w->away && away) {
		TAILQ_INSERT_HEAD(&x->away, w, away_entry); /* before those that were looked for */
		x->away_count++;
		x->look_ms = 0;
	}
	w->away = away;
	w->netns = 0;
}

static void set_dirty(struct wm_listeners *x, struct watch *w)
{
	if (!w->dirty)
		TAILQ_INSERT_TAIL(&x->dirty, w, dirty_entry);
	w->dirty = true;
}

/* Those of its endpoints follow at the end of a turn: now one of them may be looked at. */
static void forget(struct wm_listeners *x, struct watch *w)
{
	struct watch *p;

	unwatch(x, w);
	set_away(x, w, false);
	while ((p = LIST_FIRST(&w->ports))) {
		LIST_REMOVE(p, port_entry);
		p->orphan = true;
		set_dirty(x, p);
	}
	if (w->dirty)
		TAILQ_REMOVE(&x->dirty, w, dirty_entry);
	if (!w->port)
		wm_map_del(x->by_id, w->id, strlen(w->id));
	else if (!w->orphan)
		LIST_REMOVE(w, port_entry);
	free(w);
}

static struct watch *watch_new(const char *id, uint16_t port)
{
	size_t len = strlen(id);
	struct watch *w = calloc(1, sizeof(*w) + len + 1);

	if (!w) {
		wm_warn("listener.memory", "id=%s", wm_log_q(id));
		return NULL;
	}
	memcpy(w->id, id, len + 1);
	w->port = port;
	LIST_INIT(&w->ports);
	return w;
}

static void mark_port(struct wm_listeners *x, struct watch *w, uint16_t port)
{
	struct watch *p;

	LIST_FOREACH (p, &w->ports, port_entry)
		if (p->port == port)
			return;
	p = watch_new(w->id, port);
	if (!p)
		return;
	LIST_INSERT_HEAD(&w->ports, p, port_entry);
	set_dirty(x, p);
}

/* Those of its endpoints that the tables have, as some service's policy leads to them. */
static void find_ports(struct wm_listeners *x, struct watch *w, const struct wm_instance *i)
{
	const struct wm_table_memory *m = wm_tables_memory(x->tables);
	uint32_t at[WM_BACKENDS_OF_MAX];
	unsigned n = wm_tables_backends_of(x->tables, i->hash, at, WM_ARRAY_LEN(at));

	for (unsigned k = 0; k < n && k < WM_ARRAY_LEN(at); k++) {
		uint16_t port = ntohs(m->backends[at[k]].port_be);

		if (port != i->port && backend_of(x, i, port) == at[k])
			mark_port(x, w, port);
	}
}

static void mark(struct wm_listeners *x, const struct wm_instance *i)
{
	size_t len = strlen(i->id);
	struct watch *w, *p;

	if (!is_ours(i))
		return;
	w = wm_map_get(x->by_id, i->id, len);
	if (!w) {
		w = watch_new(i->id, 0);
		if (!w)
			return;
		if (wm_map_put(x->by_id, w->id, len, w, NULL)) {
			wm_warn("listener.memory", "id=%s", wm_log_q(i->id));
			free(w);
			return;
		}
	}
	set_dirty(x, w);
	w->endpoints = has_endpoints(i);
	LIST_FOREACH (p, &w->ports, port_entry)
		set_dirty(x, p);
}

/* @return whether it is watched now, in network namespace @p netns, 0: ours. */
static bool begin(struct wm_listeners *x, struct watch *w, uint32_t backend, uint64_t netns)
{
	const struct wm_check *c = w->port ? NULL : check_of(x, w->id);

	set_gone(x, w, c && c->status == WM_CRITICAL);
	if (wm_observer_watch(x->observer, backend, netns, &w->at) ||
	    wm_map_put(x->by_backend, &w->at.backend, sizeof(w->at.backend), w, NULL)) {
		wm_observer_unwatch(x->observer, &w->at);
		set_gone(x, w, false);
		x->counters[WM_LISTENER_LEFT_OUT] += !w->left_out;
		w->left_out = true;
		wm_tables_rise(x->tables, backend);
	}
	if (w->port && w->at.on) /* an earlier run saw it */
		set_gone(x, w, wm_observer_fell(x->observer, &w->at));
	return w->at.on;
}

/* @return whether it is watched now, and was not before. */
static bool watch(struct wm_listeners *x, struct watch *w, const struct wm_instance *i,
		  uint32_t backend)
{
	const struct wm_table_memory *m = wm_tables_memory(x->tables);
	bool asked_for = is_asked_for(x, i);

	if (asked_for && w->at.on && w->at.backend == backend &&
	    w->at.stamp == m->backends[backend].state >> 16)
		return false;
	unwatch(x, w);
	set_away(x, w, false);
	if (!asked_for) {
		take_back(x, w, backend);
		return false;
	}
	if (wm_instance_is_here(i))
		return begin(x, w, backend, 0);
	set_away(x, w, true);
	return false;
}

/* At the end of a turn the tables have what changed in it; what is not there yet stays dirty. */
static bool watch_dirty(void *arg)
{
	struct wm_listeners *x = arg;
	struct watch *w, *next;
	bool any = false;
	TAILQ_HEAD(, watch) settled = TAILQ_HEAD_INITIALIZER(settled);

	for (w = TAILQ_FIRST(&x->dirty); w; w = next) {
		const struct wm_instance *i = wm_registry_instance(x->registry, w->id);
		bool known = is_ours(i) && !w->orphan && w->port != i->port;
		uint32_t backend = known ? backend_of(x, i, w->port) : WM_NO_BACKEND;

		if (known && w->endpoints)
			find_ports(x, w, i);
		next = TAILQ_NEXT(w, dirty_entry);
		if (!known || (w->port && backend == WM_NO_BACKEND)) {
			forget(x, w);
			continue;
		}
		if (backend == WM_NO_BACKEND)
			continue;
		any |= watch(x, w, i, backend);
		TAILQ_REMOVE(&x->dirty, w, dirty_entry);
		TAILQ_INSERT_TAIL(&settled, w, dirty_entry);
	}
	if (any)
		count(x, false);
	while ((w = TAILQ_FIRST(&settled))) {
		TAILQ_REMOVE(&settled, w, dirty_entry);
		w->dirty = false;
		if (w->at.on)
			settle(x, w);
	}
	return any;
}

/* --- pods ------------------------------------------------------------------------------------- */
static void look(struct wm_listeners *x, uint64_t now)
{
	unsigned count = x->away_count < LOOK_MAX ? x->away_count : LOOK_MAX;
	struct wm_pod *all = count ? calloc(count, sizeof(*all)) : NULL;
	struct watch *w;
	unsigned n = 0;
	int r;

	if (!all)
		return;
	x->looks++;
	while (n < count && (w = TAILQ_FIRST(&x->away))) {
		const struct wm_instance *i = wm_registry_instance(x->registry, w->id);

		TAILQ_REMOVE(&x->away, w, away_entry);
		TAILQ_INSERT_TAIL(&x->away, w, away_entry);
		w->look = x->looks;
		w->look_at = n;
		if (i) {
			all[n].addr4_be = i->addr4.s_addr;
			memcpy(all[n].addr6, &i->addr6, sizeof(all[n].addr6));
		}
		n++;
	}
	x->look_ms = now + LOOK_MS;
	r = wm_observer_look(x->observer, all, n);
	x->looking = !r;
	if (r)
		wm_warn("listener.look", "err=%s", wm_err_name(r));
}

/* It is in network namespace @p netns, or nobody knows where. */
static void found(struct wm_listeners *x, struct watch *w, uint64_t netns)
{
	const struct wm_instance *i = wm_registry_instance(x->registry, w->id);
	uint32_t backend = is_ours(i) ? backend_of(x, i, w->port) : WM_NO_BACKEND;

	if (netns && netns != w->netns && backend != WM_NO_BACKEND) {
		unwatch(x, w);
		w->netns = netns;
		(void)begin(x, w, backend, netns);
	}
	if (w->at.on)
		settle(x, w);
}

/* Where they are is known a second after it was asked. */
static void look_for_pods(struct wm_listeners *x, uint64_t now)
{
	const struct wm_pod *all = x->looking ? wm_observer_looked(x->observer) : NULL;
	struct watch *w;

	if (all) {
		x->looking = false;
		TAILQ_FOREACH (w, &x->away, away_entry) {
			if (w->look == x->looks)
				found(x, w, all[w->look_at].netns);
		}
	}
	if (!x->looking && now >= x->look_ms)
		look(x, now);
}

/* Its policy may switch the notice on or off. */
static void mark_service(struct wm_listeners *x, const struct wm_change *c)
{
	const struct wm_policy *p = c->policy ? c->policy : c->policy_old;
	const struct wm_service *s = wm_registry_service(x->registry, p->service);

	for (unsigned n = 0; s && n < s->instances_count; n++)
		mark(x, s->instances[n]);
}

static bool has_fallen(const struct wm_listeners *x, const struct wm_instance *i)
{
	const struct watch *w = i ? wm_map_get(x->by_id, i->id, strlen(i->id)) : NULL, *p;

	if (w && is_ours(i))
		LIST_FOREACH (p, &w->ports, port_entry)
			if (p->gone)
				return true;
	return false;
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_listeners *x = arg;

	if (c->kind == WM_CHANGE_POLICY)
		mark_service(x, c);
	/* at a change of its status an endpoint that fell may have been stored as up */
	if (c->kind == WM_CHANGE_INSTANCE_UPSERT || c->kind == WM_CHANGE_CHECK_REMOVED ||
	    (c->kind == WM_CHANGE_STATUS && has_fallen(x, c->instance))) {
		if (c->instance)
			mark(x, c->instance);
	} else if (c->kind == WM_CHANGE_INSTANCE_DELETED && is_ours(c->instance)) {
		struct watch *w = wm_map_get(x->by_id, c->instance->id, strlen(c->instance->id));

		if (w)
			forget(x, w);
	}
}

static void look_after(struct wm_listeners *x, struct watch *w, uint64_t now)
{
	if (w->at.on)
		settle(x, w);
	if (w->at.on && !w->gone && !w->port && now - w->told_ms > RENEW_MS && check_of(x, w->id))
		tell(x, w, WM_PASSING);
}

/* Policies of other services come and go, too. */
static void look_after_ports(struct wm_listeners *x, struct watch *w, uint64_t now)
{
	const struct wm_instance *i = wm_registry_instance(x->registry, w->id);
	struct watch *p;

	LIST_FOREACH (p, &w->ports, port_entry) {
		look_after(x, p, now);
		if (i && p->at.on && backend_of(x, i, p->port) != p->at.backend)
			set_dirty(x, p);
	}
	if (is_ours(i))
		find_ports(x, w, i);
}

static bool fell(const struct wm_listeners *x, const struct watch *w)
{
	return w->at.on && wm_observer_fell(x->observer, &w->at);
}

/* Those that are gone, and some of the others: of a million a look at each would take 0.2 s. */
static void on_tick(void *arg)
{
	struct wm_listeners *x = arg;
	uint64_t now = wm_clock_ms();
	struct watch *w, *p, *next;
	bool fallen = !TAILQ_EMPTY(&x->gone);
	size_t from = x->pos, pos = from;
	unsigned n = 0;

	for (; n < STEP && (w = wm_map_next(x->by_id, &pos)); n++) {
		fallen |= fell(x, w);
		LIST_FOREACH (p, &w->ports, port_entry)
			fallen |= fell(x, p);
	}
	x->pos = n < STEP ? 0 : pos;
	if (fallen)
		count(x, true); /* a socket may have opened while it was counted before */
	for (w = TAILQ_FIRST(&x->gone); w; w = next) {
		next = TAILQ_NEXT(w, gone_entry);
		look_after(x, w, now);
	}
	for (pos = from; n && (w = wm_map_next(x->by_id, &pos)); n--) {
		look_after(x, w, now);
		if (w->endpoints)
			look_after_ports(x, w, now);
	}
	(void)watch_dirty(x);
	look_for_pods(x, now);
	wm_timer_tick(x->tick, TICK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_listeners *wm_listeners_new(struct wm_loop *l, struct wm_registry *r,
				      const struct wm_tables *t, struct wm_plane *plane,
				      struct wm_plane_events *events, struct wm_health *health,
				      struct wm_err *e)
{
	struct wm_listeners *x = calloc(1, sizeof(*x));
	struct wm_instance *i;
	size_t pos = 0;

	if (!x) {
		wm_err_set(e, -ENOMEM, "out of memory: listeners");
		return NULL;
	}
	x->registry = r;
	x->tables = t;
	x->health = health;
	TAILQ_INIT(&x->dirty);
	TAILQ_INIT(&x->gone);
	TAILQ_INIT(&x->away);
	x->tick = wm_timer_new(l, on_tick, x);
	x->by_id = wm_map_new(WATCHES_MAX);
	x->by_backend = wm_map_new(WATCHES_MAX);
	if (!x->tick || !x->by_id || !x->by_backend ||
	    wm_observer_new(events, plane, on_news, x, &x->observer, e) ||
	    wm_registry_subscribe(r, on_change, x) ||
	    wm_loop_on_turn_end(l, WM_HOOK_COMPILE, watch_dirty, x)) {
		if (!e->code)
			wm_err_set(e, -ENOMEM, "out of memory: listeners");
		wm_listeners_free(x);
		return NULL;
	}
	while ((i = wm_registry_next_instance(r, &pos)))
		mark(x, i);
	(void)watch_dirty(x);
	wm_timer_tick(x->tick, TICK_MS);
	return x;
}

void wm_listeners_free(struct wm_listeners *x)
{
	struct watch *w, *p;
	size_t pos = 0;

	if (!x)
		return;
	for (w = TAILQ_FIRST(&x->dirty); w; w = p) {
		p = TAILQ_NEXT(w, dirty_entry);
		if (w->orphan)
			free(w);
	}
	/* the program goes on with what is watched */
	while (x->by_id && (w = wm_map_next(x->by_id, &pos))) {
		while ((p = LIST_FIRST(&w->ports))) {
			LIST_REMOVE(p, port_entry);
			free(p);
		}
		wm_map_del(x->by_id, w->id, strlen(w->id));
		free(w);
	}
	wm_map_free(x->by_id);
	wm_map_free(x->by_backend);
	wm_observer_free(x->observer);
	wm_timer_free(x->tick);
	free(x);
}

unsigned wm_listeners_watched(const struct wm_listeners *x)
{
	return (unsigned)wm_map_len(x->by_backend);
}

const uint64_t *wm_listeners_counters(const struct wm_listeners *x)
{
	return x->counters;
}
