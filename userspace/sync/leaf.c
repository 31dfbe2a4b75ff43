/* SPDX-License-Identifier: Apache-2.0 */
/* leaf.c - a leaf: what its home tells of services becomes writes of the registry's, what it is not
 * interested in any more is forgotten there, and who asked for a service is answered once it is to
 * be seen. Of a full member: what leaves say. */
#include "leaf_internal.h"
#include "userspace/base/log.h"
#include "userspace/registry/foreign.h"
#include "userspace/registry/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define FORGET_MAX 1024	      /* instances that are forgotten in one write */
#define WHOLE_MAX  (1u << 20) /* instances of one */

/* A service whose whole is coming: what it has, so that what it lacks can go. */
struct leaf_whole {
	TAILQ_ENTRY(leaf_whole) entry;
	struct wm_map *keys;
	char name[WM_SERVICE_NAME_MAX + 1];
};
struct key {
	size_t len;
	char octets[];
};

/* A message of a service that was handed to the registry. */
struct leaf_taken {
	TAILQ_ENTRY(leaf_taken) entry;
	struct wm_leaf *l; /* NULL: the mesh is gone */
	struct leaf_whole *whole;
	bool last, stored, failed;
	char name[WM_SERVICE_NAME_MAX + 1];
};

/* --- the whole of a service ------------------------------------------------------------------- */
static void whole_free(struct leaf_whole *w)
{
	struct key *k;
	size_t pos = 0;

	if (!w)
		return;
	while (w->keys && (k = wm_map_next(w->keys, &pos))) {
		(void)wm_map_del(w->keys, k->octets, k->len);
		free(k);
	}
	wm_map_free(w->keys);
	free(w);
}

static struct leaf_whole *whole_of(const struct wm_leaf *l, const char *name)
{
	struct leaf_whole *w;

	TAILQ_FOREACH (w, &l->wholes, entry)
		if (strcmp(w->name, name) == 0)
			return w;
	return NULL;
}

static void whole_drop(struct wm_leaf *l, struct leaf_whole *w)
{
	if (!w)
		return;
	TAILQ_REMOVE(&l->wholes, w, entry);
	whole_free(w);
}

static void whole_begin(struct wm_leaf *l, const char *name)
{
	struct leaf_whole *w;

	whole_drop(l, whole_of(l, name));
	w = calloc(1, sizeof(*w));
	if (!w)
		return; /* without it nothing goes */
	snprintf(w->name, sizeof(w->name), "%s", name);
	w->keys = wm_map_new(WHOLE_MAX);
	TAILQ_INSERT_TAIL(&l->wholes, w, entry);
}

static void whole_put(struct leaf_whole *w, const struct wm_foreign_change *c)
{
	char octets[WM_OBJECT_KEY_MAX];
	size_t len = wm_objects_key(octets, c->version.origin == WM_ORIGIN_SHARED,
				    &c->version.writer, c->node, c->id);
	struct key *k = malloc(sizeof(*k) + len);
	void *old = NULL;

	if (!k || !w->keys)
		return free(k);
	k->len = len;
	memcpy(k->octets, octets, len);
	if (wm_map_put(w->keys, k->octets, len, k, &old))
		free(k);
	free(old);
}

/* @return true: it stays. NULL: nothing does. */
static bool whole_has(const struct leaf_whole *w, const struct wm_version *v, const char *node,
		      const char *id)
{
	char octets[WM_OBJECT_KEY_MAX];
	size_t len = wm_objects_key(octets, v->origin == WM_ORIGIN_SHARED, &v->writer, node, id);

	return w && (!w->keys || wm_map_get(w->keys, octets, len));
}

/* --- what goes -------------------------------------------------------------------------------- */
/* The policy of a service and instances of others that are of it, but for what @p w has. */
static void forget(struct wm_leaf *l, const char *service, const struct leaf_whole *w)
{
	const struct wm_service *of = wm_registry_service(l->s->c.registry, service);
	struct wm_foreign_change *c = calloc(FORGET_MAX, sizeof(*c));
	const struct wm_policy *p = wm_registry_policy(l->s->c.registry, service);
	struct wm_err e = {0};
	unsigned count = 0;

	if (c && p && !whole_has(w, &p->version, WM_POLICY_NODE, p->service))
		c[count++] = (struct wm_foreign_change){.version = p->version,
							.node = WM_POLICY_NODE,
							.id = p->service,
							.forget = true};
	for (unsigned n = 0; c && of && n < of->instances_count; n++) {
		const struct wm_instance *i = of->instances[n];

		if (i->version.origin == WM_ORIGIN_OWN || wm_instance_of_source(i) ||
		    whole_has(w, &i->version, i->node->folded, i->id))
			continue;
		c[count++] = (struct wm_foreign_change){.version = i->version,
							.node = i->node->folded,
							.id = i->id,
							.forget = true};
		if (count < FORGET_MAX && n + 1 < of->instances_count)
			continue;
		if (wm_registry_foreign(l->s->c.registry, c, count, NULL, NULL, &e))
			break;
		count = 0;
	}
	if (count && wm_registry_foreign(l->s->c.registry, c, count, NULL, NULL, &e))
		wm_warn("sync.refused", "service=%s text=%s", wm_log_q(service), wm_log_q(e.text));
	free(c);
}

static bool held(void *arg, const char *service)
{
	const struct wm_leaf *l = arg;
	const struct wm_service *of = wm_registry_service(l->s->c.registry, service);

	for (unsigned n = 0; of && n < of->instances_count; n++)
		if (of->instances[n]->version.origin == WM_ORIGIN_OWN)
			return true;
	return false;
}

/* Of a service with instances of our own the others' are of interest: the tables have its name. */
static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_sync *s = arg;

	if (s->leaf && s->leaf->started && c->kind == WM_CHANGE_INSTANCE_UPSERT && c->instance &&
	    c->instance->version.origin == WM_ORIGIN_OWN)
		(void)wm_interest_lookup(s->leaf->interest, c->service->name, NULL, NULL);
}

static void drop(void *arg, const char *service)
{
	struct wm_leaf *l = arg;

	whole_drop(l, whole_of(l, service));
	forget(l, service, NULL);
}

/* --- what comes ------------------------------------------------------------------------------- */
static void taken_free(struct leaf_taken *t)
{
	if (t->l)
		TAILQ_REMOVE(&t->l->taken, t, entry);
	whole_free(t->whole);
	free(t);
}

/* The turn after they were stored: by now the tables have them. */
static void on_seen(void *arg)
{
	struct wm_leaf *l = arg;
	struct leaf_taken *t, *next;

	for (t = TAILQ_FIRST(&l->taken); t; t = next) {
		next = TAILQ_NEXT(t, entry);
		if (!t->stored)
			continue;
		if (t->failed)
			wm_interest_lost(l->interest, t->name);
		else if (t->last)
			wm_interest_whole(l->interest, t->name,
					  wm_registry_service(l->s->c.registry, t->name));
		taken_free(t);
	}
}

static void on_stored(void *arg, const struct wm_foreign_result *r)
{
	struct leaf_taken *t = arg;

	if (!t->l) {
		taken_free(t);
		return;
	}
	if (r && r->refused)
		wm_warn("sync.refused", "service=%s changes=%u text=%s", wm_log_q(t->name),
			r->refused, wm_log_q(r->text));
	t->stored = true;
	t->failed = r && r->failed;
	if (t->whole && !t->failed && wm_interest_wants(t->l->interest, t->name))
		forget(t->l, t->name, t->whole);
	wm_env_timer_arm(t->l->seen, 0);
}

/* @return false: it is our own. */
static bool change_of(const struct wm_leaf *l, const Waymark__Interest__Item *i,
		      struct wm_foreign_change *c)
{
	*c = (struct wm_foreign_change){.node = i->node,
					.id = i->id,
					.gone = i->gone,
					.gone_ms = wm_env_wall_ms(l->s->env),
					.object = i->object.data,
					.len = i->object.len};
	c->version = (struct wm_version){.origin = i->shared ? WM_ORIGIN_SHARED : WM_ORIGIN_FOREIGN,
					 .epoch = i->epoch,
					 .seq = i->seq};
	memcpy(c->version.writer.octets, i->origin.data, i->origin.len);
	return i->shared || !wm_peer_id_same(&c->version.writer, &l->s->id);
}

static void take(struct wm_leaf *l, const Waymark__Interest__News *n)
{
	struct wm_foreign_change *c = calloc(n->n_items + 1, sizeof(*c));
	struct leaf_taken *t = calloc(1, sizeof(*t));
	struct leaf_whole *w = whole_of(l, n->name);
	struct wm_err e = {0};
	unsigned count = 0;

	if (!c || !t) {
		free(c);
		free(t);
		wm_interest_lost(l->interest, n->name);
		return;
	}
	for (size_t k = 0; k < n->n_items; k++) {
		if (!change_of(l, n->items[k], &c[count]))
			continue;
		if (w && *c[count].id && !c[count].gone)
			whole_put(w, &c[count]);
		count++;
	}
	t->l = l;
	t->last = n->last || !w;
	snprintf(t->name, sizeof(t->name), "%s", n->name);
	TAILQ_INSERT_TAIL(&l->taken, t, entry);
	if (n->last && w) {
		TAILQ_REMOVE(&l->wholes, w, entry);
		t->whole = w;
	}
	l->s->stats.taken += count;
	if (!count) {
		on_stored(t, NULL);
	} else if (wm_registry_foreign(l->s->c.registry, c, count, on_stored, t, &e)) {
		l->s->stats.busy += count;
		wm_interest_lost(l->interest, n->name);
		taken_free(t);
	}
	free(c);
}

static const char *item_wrong(const Waymark__Interest__Item *i)
{
	_Static_assert(WM_NODE_NAME_MAX == 63 && WM_INSTANCE_ID_MAX == 255, "the sentences say so");
	if (i->origin.len != sizeof(struct wm_peer_id))
		return "news of a service: an item of no agent";
	if (strlen(i->node) > WM_NODE_NAME_MAX)
		return "news of a service: a node's name of over 63 octets";
	return strlen(i->id) > WM_INSTANCE_ID_MAX ? "news of a service: an id of over 255 octets"
						  : NULL;
}

static const char *news_wrong(const Waymark__Interest__News *n)
{
	const char *why = NULL;

	_Static_assert(WM_SERVICE_NAME_MAX == 255 && LEAF_ITEMS_MAX == 1024 &&
			       LEAF_NAMES_MAX == 4096,
		       "the sentences say so");
	if (!n)
		return "what it tells of a service cannot be read";
	if (strlen(n->name) > WM_SERVICE_NAME_MAX)
		return "news of a service: a name of over 255 octets";
	if (n->n_items > LEAF_ITEMS_MAX)
		return "news of a service: over 1024 items";
	if (n->n_names > LEAF_NAMES_MAX)
		return "news of a service: over 4096 names";
	for (size_t k = 0; k < n->n_names && !why; k++)
		why = strlen(n->names[k]) > WM_SERVICE_NAME_MAX
			      ? "news of a service: a name of over 255 octets"
			      : NULL;
	for (size_t k = 0; k < n->n_items && !why; k++)
		why = item_wrong(n->items[k]);
	return why;
}

const char *wm_leaf_told(struct wm_leaf *l, const struct wm_peer_id *from, const void *p,
			 size_t len)
{
	size_t left = WIRE_UNPACK_MAX;
	ProtobufCAllocator mem = wire_allocator(&left);
	struct wm_interest_stats is;
	Waymark__Interest__News *n;
	const char *why;

	if (!l->interest)
		return "it takes this agent for a leaf";
	wm_interest_stats(l->interest, &is);
	if (wm_peer_id_same(from, &is.home))
		l->heard_ms = wm_env_ms(l->s->env);
	n = waymark__interest__news__unpack(&mem, len, p);
	why = news_wrong(n);
	if (why) {
		waymark__interest__news__free_unpacked(n, &mem);
		return why;
	}
	if (n->refused) {
		wm_interest_refused(l->interest, from, n->name);
	} else if (n->n_names || strpbrk(n->name, "*?[")) {
		wm_interest_names(l->interest, from, n->name, n->number, n->names, n->n_names);
	} else if (wm_interest_message(l->interest, from, n->name, n->number, n->first)) {
		if (n->first)
			whole_begin(l, n->name);
		take(l, n);
	}
	waymark__interest__news__free_unpacked(n, &mem);
	return NULL;
}

/* --- what is asked ---------------------------------------------------------------------------- */
static bool home(void *arg, const struct wm_peer_id *before, struct wm_peer_id *ret)
{
	struct wm_leaf *l = arg;
	const struct wm_member *m, *best = NULL;
	unsigned others = 0;
	size_t pos = 0;

	while ((m = wm_members_next(l->s->members, &pos))) {
		if (m->self || m->role != WM_MEMBER_FULL || m->state != WM_MEMBER_ALIVE)
			continue;
		if (wm_peer_id_same(&m->id, before)) {
			best = best ? best : m;
			continue;
		}
		/* each with the same chance */
		if (!wm_env_below(l->s->env, ++others))
			best = m;
	}
	if (best)
		*ret = best->id;
	return best;
}

static void ask(void *arg, const struct wm_peer_id *to, const char *name, uint32_t number, bool end)
{
	struct wm_leaf *l = arg;
	Waymark__Interest__Ask a;
	uint8_t packed[LEAF_ASK_MAX];

	waymark__interest__ask__init(&a);
	a.name = (char *)(uintptr_t)name; /* protobuf-c's structures take no const */
	a.number = number;
	a.end = end;
	if (waymark__interest__ask__get_packed_size(&a) <= sizeof(packed))
		wm_link_send(l->s->links, to, WM_CHANNEL_INTEREST, packed,
			     waymark__interest__ask__pack(&a, packed));
}

const char *wm_leaf_asked(struct wm_leaf *l, const struct wm_peer_id *from, const void *p,
			  size_t len)
{
	const struct wm_member *m = wm_members_by_id(l->s->members, from);
	Waymark__Interest__Ask *a;

	if (!l->serve)
		return NULL; /* it was a full member before: the leaf asks another */
	a = len <= LEAF_ASK_MAX ? waymark__interest__ask__unpack(NULL, len, p) : NULL;
	if (!a || !*a->name || strlen(a->name) > WM_SERVICE_NAME_MAX) {
		bool long_name = a && *a->name;

		waymark__interest__ask__free_unpacked(a, NULL);
		return long_name ? "interest: a name of over 255 octets"
				 : "what it is interested in cannot be read";
	}
	if (m && m->role == WM_MEMBER_LEAF && m->state <= WM_MEMBER_SUSPECT)
		(void)wm_serve_asked(l->serve, from, a->name, a->number, a->end);
	else /* a role that is new comes, and it asks again */
		wm_serve_stranger(l->serve, from);
	waymark__interest__ask__free_unpacked(a, NULL);
	return NULL;
}

bool wm_leaf_contact(struct wm_leaf *l, uint64_t *ret_ms)
{
	const struct wm_member *m;
	struct wm_interest_stats is;

	wm_interest_stats(l->interest, &is);
	m = wm_peer_id_none(&is.home) ? NULL : wm_members_by_id(l->s->members, &is.home);
	if (m && m->heard_ms > l->heard_ms)
		l->heard_ms = m->heard_ms; /* it answered a probe */
	*ret_ms = wm_env_ms(l->s->env) - l->heard_ms;
	return m && m->state == WM_MEMBER_ALIVE;
}

/* --- news of a leaf --------------------------------------------------------------------------- */
const char *wm_leaf_news(struct wm_leaf *l, const struct wm_peer_id *from, const void *p,
			 size_t len)
{
	const struct wm_member *m = wm_members_by_id(l->s->members, from);
	const uint8_t *kind = p;
	struct wm_err e = {0};
	int r;

	if (!l->serve || !m || m->role != WM_MEMBER_LEAF)
		return NULL; /* a role that is not known yet: comparison brings it */
	if (!len || *kind != WM_NEWS_CHANGES)
		return "its news is of no kind that a leaf has";
	if (!wm_replica_news_is_of(l->s->replica, from, kind + 1, len - 1))
		return "its news is not of its own log alone";
	r = wm_replica_spread(l->s->replica, from, kind + 1, len - 1, &e);
	if (r < 0)
		return "its news cannot be read";
	if (!r) /* else it is pulled, and others hear that there is more */
		(void)wm_sync_news(l->s, WM_NEWS_CHANGES, kind + 1, len - 1);
	return NULL;
}

int wm_leaf_spread(struct wm_leaf *l, enum wm_news kind, const void *p, size_t len)
{
	struct wm_interest_stats is;
	const char first = (char)kind;
	struct wm_buf b;
	int r;

	if (!l)
		return -ENOTCONN;
	wm_interest_stats(l->interest, &is);
	if (wm_peer_id_none(&is.home))
		return -ENOTCONN;
	if (kind != WM_NEWS_CHANGES) /* it is said over each stream as well */
		return 0;
	wm_buf_init(&b, WM_SPREAD_PAYLOAD_MAX);
	wm_buf_put(&b, &first, 1);
	wm_buf_put(&b, p, len);
	r = b.failed ? -EMSGSIZE : 0;
	if (!r)
		wm_link_send(l->s->links, &is.home, WM_CHANNEL_NEWS, b.data, b.len);
	wm_buf_done(&b);
	return r;
}

/* --- life ------------------------------------------------------------------------------------- */
void wm_leaf_up(struct wm_leaf *l, const struct wm_member *m)
{
	if (l && l->interest && l->started && m->role == WM_MEMBER_FULL &&
	    m->state == WM_MEMBER_ALIVE)
		wm_interest_up(l->interest);
}

void wm_leaf_down(struct wm_leaf *l, const struct wm_peer_id *id)
{
	if (l && l->interest && l->started)
		wm_interest_down(l->interest, id);
	else if (l && l->serve)
		wm_serve_gone(l->serve, id);
}

int wm_leaf_new(struct wm_sync *s, struct wm_err *e)
{
	struct wm_leaf *l = calloc(1, sizeof(*l));
	const struct wm_interest_config c = {.env = s->env,
					     .globs = s->c.interest,
					     .ttl_ms = s->c.interest_ttl_ms,
					     .arg = l,
					     .home = home,
					     .ask = ask,
					     .held = held,
					     .drop = drop};
	int r = 0;

	s->leaf = l;
	if (!l)
		return wm_err_set(e, -ENOMEM, "out of memory: mesh");
	l->s = s;
	l->heard_ms = wm_env_ms(s->env); /* at the latest */
	TAILQ_INIT(&l->wholes);
	TAILQ_INIT(&l->taken);
	if (!wm_sync_is_leaf(s)) {
		r = leaf_serve_new(l);
	} else {
		l->interest = wm_interest_new(&c);
		l->seen = wm_env_timer_new(s->env, on_seen, l);
		r = l->interest && l->seen && !wm_registry_subscribe(s->c.registry, on_change, s)
			    ? 0
			    : -ENOMEM;
	}
	return r ? wm_err_set(e, r, "out of memory: mesh") : 0;
}

/* What was of interest in the run before is, until nobody asked for it for a while. */
int wm_leaf_start(struct wm_leaf *l, struct wm_err *e)
{
	struct wm_service *of;
	size_t pos = 0;
	int r;

	if (!l->interest)
		return 0;
	while ((of = wm_registry_next_service(l->s->c.registry, &pos)))
		if (!wm_interest_has(l->interest, of->name))
			forget(l, of->name, NULL);
	l->started = true;
	r = wm_interest_start(l->interest);
	return r ? wm_err_set(e, r, "out of memory: mesh") : 0;
}

void wm_leaf_free(struct wm_leaf *l)
{
	struct leaf_taken *t;

	if (!l)
		return;
	while (!TAILQ_EMPTY(&l->wholes))
		whole_drop(l, TAILQ_FIRST(&l->wholes));
	while ((t = TAILQ_FIRST(&l->taken))) {
		TAILQ_REMOVE(&l->taken, t, entry);
		t->l = NULL; /* its callback is to come */
		if (t->stored)
			taken_free(t);
	}
	wm_interest_free(l->interest);
	wm_serve_free(l->serve);
	wm_env_timer_free(l->seen);
	free(l);
}

int wm_sync_lookup(struct wm_sync *s, const char *service, void (*done)(void *arg, int code),
		   void *arg)
{
	if (!s->leaf || !s->leaf->interest)
		return 0;
	return wm_interest_lookup(s->leaf->interest, service, done, arg);
}

void wm_sync_lookup_cancel(struct wm_sync *s, void *arg)
{
	if (s->leaf && s->leaf->interest)
		wm_interest_cancel(s->leaf->interest, arg);
}

bool wm_sync_partial(const struct wm_sync *s)
{
	return wm_sync_is_leaf(s);
}

const struct wm_interest *wm_sync_interest(const struct wm_sync *s)
{
	return s->leaf ? s->leaf->interest : NULL;
}

const struct wm_serve *wm_sync_served(const struct wm_sync *s)
{
	return s->leaf ? s->leaf->serve : NULL;
}
