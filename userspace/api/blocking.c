/* SPDX-License-Identifier: Apache-2.0 */
/* blocking.c - queries that wait for a change. A watch hangs on a key: one service, one node, or a
 * scope that is wider. A change marks the keys it touches, and at the end of the turn only their
 * watches run again, so a service that nobody watches costs nothing and wakes nobody. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- indexes -----------------------------------------------------------------------------------
 */

static uint64_t at_least_one(uint64_t n)
{
	return n ? n : 1;
}

uint64_t wm_scope_index(const struct wm_api *a, enum wm_scope s, const char *name)
{
	const struct wm_service *found;
	const struct wm_node *node;

	switch (s) {
	case WM_SCOPE_SERVICE:
		found = wm_registry_service(a->d.registry, name);
		return at_least_one(found ? found->index : wm_registry_extinct(a->d.registry));
	case WM_SCOPE_CATALOG:
		return at_least_one(a->catalog_index);
	case WM_SCOPE_CHECKS:
		return at_least_one(a->checks_index);
	case WM_SCOPE_NODES:
		return at_least_one(a->nodes_index);
	case WM_SCOPE_POLICIES:
		return at_least_one(wm_registry_policies_index(a->d.registry));
	case WM_SCOPE_NODE: /* of one that is not there: nodes come and go */
		node = wm_registry_node_named(a->d.registry, name);
		if (!node)
			return at_least_one(a->nodes_index);
		return at_least_one(node->index > a->first_index ? node->index : a->first_index);
	case WM_SCOPE_COUNT:
		break;
	}
	return 1;
}

/* --- keys --------------------------------------------------------------------------------------
 */

static void fold(const char *name, char *ret)
{
	size_t n = 0;

	for (; name[n] && n < WM_WATCHED_NAME_MAX; n++)
		ret[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] + 32 : name[n]);
	ret[n] = 0;
}

static void mark(struct wm_api *a, struct wm_watch_key *k)
{
	if (!k)
		return;
	k->round++;
	if (k->dirty)
		return;
	k->dirty = true;
	TAILQ_INSERT_TAIL(&a->dirty, k, dirty_entry);
}

static void set_absent(struct wm_api *a, struct wm_watch_key *k, bool absent)
{
	if (k->absent == absent)
		return;
	k->absent = absent;
	if (absent)
		TAILQ_INSERT_TAIL(&a->absent, k, absent_entry);
	else
		TAILQ_REMOVE(&a->absent, k, absent_entry);
}

/* The key to hang a watch on. @return NULL without memory. */
static struct wm_map *keys_of(const struct wm_api *a, enum wm_scope s)
{
	return s == WM_SCOPE_SERVICE ? a->service_keys : s == WM_SCOPE_NODE ? a->node_keys : NULL;
}

static struct wm_watch_key *key_of(struct wm_api *a, enum wm_scope s, const char *of)
{
	struct wm_map *keys = keys_of(a, s);
	struct wm_watch_key *k;
	char name[WM_WATCHED_NAME_MAX + 1];

	if (!keys)
		return &a->scopes[s];
	fold(of, name);
	k = wm_map_get(keys, name, strlen(name));
	if (!k) {
		k = calloc(1, sizeof(*k) + strlen(name) + 1);
		if (!k)
			return NULL;
		k->scope = s;
		k->name = memcpy(k + 1, name, strlen(name) + 1);
		TAILQ_INIT(&k->watches);
		if (wm_map_put(keys, k->name, strlen(k->name), k, NULL)) {
			free(k);
			return NULL;
		}
	}
	if (s == WM_SCOPE_SERVICE)
		set_absent(a, k, !wm_registry_service(a->d.registry, name));
	return k;
}

/* A service's or a node's key lives as long as somebody watches it. */
static void drop_key(struct wm_api *a, struct wm_watch_key *k)
{
	if (!keys_of(a, k->scope) || !TAILQ_EMPTY(&k->watches) || k->dirty)
		return;
	set_absent(a, k, false);
	wm_map_del(keys_of(a, k->scope), k->name, strlen(k->name));
	free(k);
}

/* --- watches -----------------------------------------------------------------------------------
 */

void wm_watch_end(struct wm_watch *w)
{
	struct wm_api *a = w->call.api;
	struct wm_watch_key *k = w->key;

	wm_long_drop(w->call.rest);
	TAILQ_REMOVE(&k->watches, w, entry);
	a->watches--;
	wm_timer_free(w->timer);
	free(w);
	drop_key(a, k);
}

static void on_abort(void *arg)
{
	struct wm_watch *w = arg;

	w->call.api->counters[WM_API_WATCH_LEFT]++;
	wm_watch_end(w);
}

/* What distinguishes two requests but for index and wait. */
static uint64_t shape_of(const struct wm_call *c)
{
	const char *name, *value;
	uint64_t h = (uintptr_t)c->route;
	size_t pos = 0;

	for (unsigned n = 0; n < c->params_count; n++)
		h = h * 31 + wm_hash(c->params[n], strlen(c->params[n]));
	while (wm_http_query_next(c->req, &pos, &name, &value)) {
		if (strcmp(name, "index") == 0 || strcmp(name, "wait") == 0)
			continue;
		h = h * 31 + wm_hash(name, strlen(name));
		h = h * 31 + wm_hash(value, strlen(value));
	}
	return h | 1;
}

/* The same was asked by the one before, of the same state, and its answer is new to this one too.
 */
static bool answer_as_before(struct wm_watch *w)
{
	const struct wm_api *a = w->call.api;

	if (a->rendered_shape != w->shape || a->rendered_index <= w->call.index ||
	    a->rendered_index != wm_scope_index(a, w->key->scope, w->key->name))
		return false;
	wm_answer_again(&w->call);
	return true;
}

/* Let the handler look again. @return true if it answered. */
static bool run(struct wm_watch *w)
{
	if (w->call.rest) /* it is being answered, of the newest state */
		return false;
	if (!wm_rendered_give(&w->call) && !answer_as_before(w)) {
		w->call.route->fn(&w->call);
		if (w->call.api->rendered_index)
			w->call.api->rendered_shape = w->shape;
	}
	if (w->call.req)
		return false; /* wm_api_keep() left it where it is */
	wm_watch_end(w);
	return true;
}

static void on_wait_over(void *arg)
{
	struct wm_watch *w = arg;

	w->call.expired = true;
	w->call.api->counters[WM_API_WATCH_EXPIRED]++;
	run(w);
}

static struct wm_watch *watch_new(struct wm_call *c, struct wm_watch_key *k)
{
	struct wm_watch *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->call = *c;
	w->call.watch = w;
	w->shape = shape_of(c);
	w->key = k;
	w->round = k->round;
	w->timer = wm_timer_new(c->api->d.loop, on_wait_over, w);
	if (!w->timer || wm_timer_arm(w->timer, c->wait_ms)) {
		wm_timer_free(w->timer);
		free(w);
		return NULL;
	}
	TAILQ_INSERT_TAIL(&k->watches, w, entry);
	c->api->watches++;
	return w;
}

bool wm_api_keep(struct wm_call *c, enum wm_scope s, const char *name)
{
	struct wm_api *a = c->api;
	struct wm_watch_key *k;
	struct wm_watch *w;

	if (c->watch)
		return true;
	if (a->watches >= a->d.watchers_max) {
		a->counters[WM_API_WATCH_FULL]++;
		wm_http_set_header(c->req, "Retry-After", "1");
		wm_answer_text(c, 429, "Too many blocking queries (limit: %u)", a->d.watchers_max);
		return true;
	}
	k = key_of(a, s, name);
	w = k ? watch_new(c, k) : NULL;
	if (!w) {
		if (k)
			drop_key(a, k);
		wm_answer_text(c, 503, "Out of memory");
		return true;
	}
	wm_http_on_abort(c->req, on_abort, w);
	return true;
}

bool wm_api_wait(struct wm_call *c, enum wm_scope s, const char *name, uint64_t *ret_index)
{
	*ret_index = wm_scope_index(c->api, s, name);
	if (!c->index || c->expired || *ret_index > c->index)
		return false;
	return wm_api_keep(c, s, name);
}

/* --- changes -----------------------------------------------------------------------------------
 */

/* A node and its checks stand in the answers of the services on it. A watch that is marked in vain
 * looks at its index and goes on waiting. Cost: O(services that are watched), or on a node with
 * less, O(instances on it). */
static void mark_services(struct wm_api *a, const struct wm_node *n)
{
	const struct wm_instance *i;
	struct wm_watch_key *k;
	size_t pos = 0;

	if (wm_map_len(n->instances) > wm_map_len(a->service_keys)) {
		while ((k = wm_map_next(a->service_keys, &pos)))
			mark(a, k);
		return;
	}
	while ((i = wm_node_next_instance(n, &pos)))
		mark(a, wm_map_get(a->service_keys, i->service->name, strlen(i->service->name)));
}

static void mark_node(struct wm_api *a, const struct wm_node *n)
{
	if (wm_map_len(a->node_keys))
		mark(a, wm_map_get(a->node_keys, n->folded, strlen(n->folded)));
}

static void node_changed(struct wm_api *a, const struct wm_change *c)
{
	mark_services(a, c->instance->node);
	if (c->kind == WM_CHANGE_NODE_FOLLOWED)
		return;
	a->checks_index = c->index;
	mark(a, &a->scopes[WM_SCOPE_CHECKS]);
	if (c->kind == WM_CHANGE_NODE || c->kind == WM_CHANGE_CHECK_REMOVED)
		return;
	a->nodes_index = a->catalog_index = c->index;
	mark(a, &a->scopes[WM_SCOPE_NODES]);
	mark(a, &a->scopes[WM_SCOPE_CATALOG]);
}

/* Does the list of services and instances differ? A check that comes or goes replaces its instance
 * without registering it anew. */
static bool catalog_changed(const struct wm_change *c)
{
	if (c->kind == WM_CHANGE_STATUS || c->kind == WM_CHANGE_CHECK_REMOVED)
		return false;
	return c->kind != WM_CHANGE_INSTANCE_UPSERT || !c->old ||
	       c->old->modify_index != c->instance->modify_index;
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_api *a = arg;
	struct wm_watch_key *k;

	if (c->kind == WM_CHANGE_SPEC)
		return;			   /* no answer shows it */
	if (c->kind == WM_CHANGE_POLICY) { /* no other answer shows it */
		mark(a, &a->scopes[WM_SCOPE_POLICIES]);
		return;
	}
	wm_rendered_changed(a, c);
	if (!c->service) {
		mark_node(a, c->instance->node);
		node_changed(a, c);
		return;
	}
	if (c->kind != WM_CHANGE_SERVICE_CREATED && c->kind != WM_CHANGE_SERVICE_DELETED)
		mark_node(a, c->instance->node);
	k = wm_map_get(a->service_keys, c->service->name, strlen(c->service->name));
	mark(a, k);
	a->checks_index = c->index;
	mark(a, &a->scopes[WM_SCOPE_CHECKS]);
	if (catalog_changed(c)) {
		a->catalog_index = c->index;
		mark(a, &a->scopes[WM_SCOPE_CATALOG]);
	}
	if (c->kind == WM_CHANGE_SERVICE_CREATED && k)
		set_absent(a, k, false);
	if (c->kind == WM_CHANGE_SERVICE_DELETED) {
		a->extinct = true; /* however many go in a turn: one round for those who wait */
		if (k)
			set_absent(a, k, true);
	}
}

/* Let those look who have not since the last change, for a slice of the turn. A handler may answer,
 * which frees its watch and nobody else's. @return what is left of @p budget. */
static unsigned wake_key(struct wm_api *a, struct wm_watch_key *k, unsigned budget)
{
	struct wm_watch *w;

	while (budget && (w = TAILQ_FIRST(&k->watches)) && w->round != k->round) {
		TAILQ_REMOVE(&k->watches, w, entry);
		TAILQ_INSERT_TAIL(&k->watches, w, entry);
		w->round = k->round;
		a->counters[WM_API_WATCH_WOKEN] += run(w);
		budget = wm_longs_full(a) || wm_clock_ns() >= a->wake_end_ns ? 0 : budget - 1;
	}
	return budget;
}

static void mark_absent(struct wm_api *a)
{
	struct wm_watch_key *k;

	if (!a->extinct)
		return;
	a->extinct = false;
	TAILQ_FOREACH (k, &a->absent, absent_entry)
		mark(a, k);
}

void wm_blocking_wake(struct wm_api *a)
{
	unsigned budget = WM_API_WAKE_BATCH;
	struct wm_watch_key *k;

	mark_absent(a);
	/* the hooks may run several times in a turn, which has one slice */
	if (a->wake_turn != wm_loop_turns(a->d.loop))
		a->wake_end_ns = wm_clock_ns() + wm_slice_ns(a, false);
	a->wake_turn = wm_loop_turns(a->d.loop);
	while ((k = TAILQ_FIRST(&a->dirty))) {
		/* dirty until its watches ran, which keeps the key while they are freed */
		budget = wake_key(a, k, budget);
		if (!budget) {
			if (!a->wake_began_ns)
				a->wake_began_ns = wm_clock_ns();
			/* who was answered shall not ask again before the last one is, unless that
			 * takes long: then others would wait for it too */
			if (a->server)
				wm_http_pause(a->server, wm_clock_ns() - a->wake_began_ns <
								 WM_API_PAUSE_MS * WM_NS_PER_MS);
			wm_timer_arm(a->more, 0);
			return;
		}
		TAILQ_REMOVE(&a->dirty, k, dirty_entry);
		k->dirty = false;
		drop_key(a, k);
	}
	a->wake_began_ns = 0;
	if (a->server)
		wm_http_pause(a->server, false);
}

/* The turn that this makes runs the hooks. */
static void on_more(void *arg)
{
	(void)arg;
}

int wm_blocking_init(struct wm_api *a)
{
	TAILQ_INIT(&a->dirty);
	TAILQ_INIT(&a->absent);
	for (unsigned s = 0; s < WM_SCOPE_COUNT; s++) {
		a->scopes[s].scope = (enum wm_scope)s;
		TAILQ_INIT(&a->scopes[s].watches);
	}
	/* what happened before we listened: nobody has seen an index above this one */
	a->catalog_index = a->checks_index = wm_registry_index(a->d.registry);
	a->nodes_index = a->first_index = a->catalog_index;
	/* a key of each watch, and those that are dirty without any */
	a->service_keys = wm_map_new(2 * (size_t)a->d.watchers_max);
	a->node_keys = wm_map_new(2 * (size_t)a->d.watchers_max);
	a->more = wm_timer_new(a->d.loop, on_more, a);
	if (!a->service_keys || !a->node_keys || !a->more)
		return -ENOMEM;
	return wm_registry_subscribe(a->d.registry, on_change, a);
}

void wm_blocking_done(struct wm_api *a)
{
	struct wm_watch_key *k;
	size_t pos = 0;

	/* the server's end has freed every watch; keys that are dirty still stand */
	while (a->service_keys && (k = wm_map_next(a->service_keys, &pos)))
		free(k);
	wm_map_free(a->service_keys);
	pos = 0;
	while (a->node_keys && (k = wm_map_next(a->node_keys, &pos)))
		free(k);
	wm_map_free(a->node_keys);
	wm_timer_free(a->more);
}
