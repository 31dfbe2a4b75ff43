/* SPDX-License-Identifier: Apache-2.0 */
/* leaf_serve.c - what a full member sends to leaves: instances of a service as the registry has
 * them, each with the node that it is on. */
#include "leaf_internal.h"
#include "userspace/registry/foreign.h"
#include "userspace/registry/registry.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

#define PAGE_MAX (128u << 10) /* octets of objects in a message; one that is larger goes alone */

/* A message that is being made. Objects are in `octets`, which may move: offsets until it is sent.
 */
struct page {
	struct wm_leaf *l;
	const struct wm_peer_id *to;
	Waymark__Interest__News news;
	Waymark__Interest__Item items[LEAF_ITEMS_MAX], *list[LEAF_ITEMS_MAX];
	struct wm_peer_id origins[LEAF_ITEMS_MAX];
	size_t offsets[LEAF_ITEMS_MAX], count;
	struct wm_buf octets;
	struct wm_map *nodes; /* that were told */
	bool one;	      /* message, which has all or is not sent */
	bool broken;
};

static char *mut(const char *s)
{
	return (char *)(uintptr_t)s; /* protobuf-c's structures take no const */
}

static void send_news(struct wm_leaf *l, const struct wm_peer_id *to,
		      const Waymark__Interest__News *n)
{
	size_t len = waymark__interest__news__get_packed_size(n);
	uint8_t *p = malloc(len);

	if (!p) {
		l->s->stats.frames_dropped++; /* the number says so */
		return;
	}
	waymark__interest__news__pack(n, p);
	wm_link_send(l->s->links, to, WM_CHANNEL_NEWS_OF, p, len);
	free(p);
}

static struct page *page_new(struct wm_leaf *l, const struct wm_peer_id *to, const char *service,
			     uint32_t number)
{
	struct page *p = malloc(sizeof(*p));

	if (!p)
		return NULL;
	p->l = l;
	p->to = to;
	p->count = 0;
	p->one = p->broken = false;
	waymark__interest__news__init(&p->news);
	p->news.name = mut(service);
	p->news.number = number;
	p->news.items = p->list;
	wm_buf_init(&p->octets, 2 * WM_REPLICA_OBJECT_MAX);
	p->nodes = wm_map_new(WM_REPLICA_OBJECT_MAX);
	if (p->nodes)
		return p;
	free(p);
	return NULL;
}

static void page_send(struct page *p)
{
	for (size_t n = 0; n < p->count; n++) {
		if (p->items[n].object.len)
			p->items[n].object.data = (uint8_t *)p->octets.data + p->offsets[n];
		p->items[n].origin.data = p->origins[n].octets;
		p->list[n] = &p->items[n];
	}
	p->news.n_items = p->count;
	wm_serve_sent(p->l->serve, p->to, p->count);
	send_news(p->l, p->to, &p->news);
	p->count = 0;
	wm_buf_reset(&p->octets);
	p->news.number++;
	p->news.first = false;
}

static void page_free(struct page *p)
{
	wm_map_free(p->nodes);
	wm_buf_done(&p->octets);
	free(p);
}

/* Whose an object is. */
static struct wm_peer_id writer_of(const struct wm_leaf *l, const struct wm_version *v)
{
	return v->origin == WM_ORIGIN_OWN || wm_peer_id_none(&v->writer) ? l->s->id : v->writer;
}

static void page_put(struct page *p, const struct wm_version *v, const char *node, const char *id,
		     bool gone)
{
	struct wm_peer_id origin = writer_of(p->l, v);
	bool shared = v->origin == WM_ORIGIN_SHARED;
	size_t before = p->octets.len;
	Waymark__Interest__Item *i;

	if (!shared && wm_peer_id_is_source(&origin))
		return; /* a source's is this agent's view alone */
	if (!p->one && (p->count == LEAF_ITEMS_MAX || p->octets.len >= PAGE_MAX)) {
		page_send(p);
		before = 0;
	}
	if (!gone &&
	    wm_registry_object_encode(p->l->s->c.registry, &origin, shared, node, id, &p->octets)) {
		p->broken |= p->octets.failed;
		p->octets.len = before;
		p->octets.failed = false;
		return; /* it is on its way out, or aside: its change comes */
	}
	i = &p->items[p->count];
	waymark__interest__item__init(i);
	p->origins[p->count] = origin;
	i->origin.len = sizeof(origin.octets);
	i->shared = shared;
	i->node = mut(shared ? node : "");
	i->id = mut(id);
	i->epoch = v->epoch;
	i->seq = v->seq;
	i->gone = gone;
	i->object.len = p->octets.len - before;
	p->offsets[p->count++] = before;
}

static void page_instance(struct page *p, const struct wm_instance *i)
{
	struct wm_node *n = i->node;

	if (!i->version.seq)
		return;
	if (n->holder->version.seq && !wm_map_get(p->nodes, n->folded, strlen(n->folded)) &&
	    !wm_map_put(p->nodes, n->folded, strlen(n->folded), n, NULL))
		page_put(p, &n->holder->version, n->folded, "", false);
	page_put(p, &i->version, n->folded, i->id, false);
}

static uint32_t whole(void *arg, const struct wm_peer_id *leaf, const char *service)
{
	struct wm_leaf *l = arg;
	const struct wm_service *of = wm_registry_service(l->s->c.registry, service);
	const struct wm_policy *policy = wm_registry_policy(l->s->c.registry, service);
	struct page *p = page_new(l, leaf, service, 1);
	uint32_t sent;

	if (!p)
		return 0;
	p->news.first = true;
	if (policy)
		page_put(p, &policy->version, WM_POLICY_NODE, policy->service, false);
	for (unsigned n = 0; of && n < of->instances_count; n++)
		page_instance(p, of->instances[n]);
	p->news.last = true;
	page_send(p);
	sent = p->news.number - 1;
	page_free(p);
	return sent;
}

static const struct wm_instance *instance_of(const struct wm_leaf *l, const char *service,
					     const struct wm_serve_change *c)
{
	const struct wm_node *n = wm_registry_node_named(l->s->c.registry, c->node);
	const struct wm_instance *i = n ? wm_node_instance(n, c->id) : NULL;

	return i && i->service && strcmp(i->service->name, service) == 0 ? i : NULL;
}

static void changes(void *arg, const struct wm_peer_id *leaf, const char *service, uint32_t number,
		    const struct wm_serve_change *c, unsigned count)
{
	struct wm_leaf *l = arg;
	const struct wm_policy *policy = wm_registry_policy(l->s->c.registry, service);
	struct page *p = page_new(l, leaf, service, number);

	if (!p)
		return; /* the next number says that one is missing */
	_Static_assert(2 * WM_SERVE_CHANGES <= LEAF_ITEMS_MAX, "instances and their nodes");
	p->one = true;
	for (unsigned n = 0; n < count; n++) {
		const struct wm_instance *i = instance_of(l, service, &c[n]);

		if (i)
			page_instance(p, i);
		else if (policy && strcmp(c[n].node, WM_POLICY_NODE) == 0)
			page_put(p, &policy->version, WM_POLICY_NODE, policy->service, false);
		else
			page_put(p, &c[n].version, c[n].node, c[n].id, true);
	}
	if (!p->broken)
		page_send(p);
	page_free(p);
}

static void tell_names(struct wm_leaf *l, const struct wm_peer_id *leaf, const char *glob,
		       uint32_t number, char **names, size_t count)
{
	Waymark__Interest__News n;

	waymark__interest__news__init(&n);
	n.name = mut(glob);
	n.number = number;
	n.names = names;
	n.n_names = count;
	send_news(l, leaf, &n);
}

static void names(void *arg, const struct wm_peer_id *leaf, const char *glob)
{
	struct wm_leaf *l = arg;
	char **list = calloc(LEAF_NAMES_MAX, sizeof(char *));
	struct wm_service *of;
	size_t pos = 0, count = 0;

	while (list && count < LEAF_NAMES_MAX &&
	       (of = wm_registry_next_service(l->s->c.registry, &pos)))
		if (fnmatch(glob, of->name, 0) == 0)
			list[count++] = of->name;
	tell_names(l, leaf, glob, 1, list, count);
	free(list);
}

static void name(void *arg, const struct wm_peer_id *leaf, const char *glob, uint32_t number,
		 const char *service)
{
	char *list[1] = {mut(service)};

	tell_names(arg, leaf, glob, number, list, 1);
}

static void refuse(void *arg, const struct wm_peer_id *leaf, const char *what)
{
	Waymark__Interest__News n;

	waymark__interest__news__init(&n);
	n.name = mut(what);
	n.refused = true;
	send_news(arg, leaf, &n);
}

/* --- what changes ----------------------------------------------------------------------------- */
static void instance_changed(struct wm_leaf *l, const struct wm_service *of,
			     const struct wm_instance *i, bool gone)
{
	struct wm_serve_change c;

	if (!of || !i || !*i->name || !wm_serve_wanted(l->serve, of->name))
		return;
	memset(&c, 0, sizeof(c));
	strncpy(c.node, i->node->folded, sizeof(c.node) - 1);
	strncpy(c.id, i->id, sizeof(c.id) - 1);
	c.version = i->version;
	c.origin = writer_of(l, &i->version);
	c.gone = gone;
	wm_serve_changed(l->serve, of->name, &c);
}

/* A service's policy goes where its instances go. */
static void policy_changed(struct wm_leaf *l, const struct wm_change *change)
{
	const struct wm_policy *p = change->policy ? change->policy : change->policy_old;
	struct wm_serve_change c;

	if (!wm_serve_wanted(l->serve, p->service))
		return;
	memset(&c, 0, sizeof(c));
	strncpy(c.node, WM_POLICY_NODE, sizeof(c.node) - 1);
	strncpy(c.id, p->service, sizeof(c.id) - 1);
	c.version = p->version;
	c.origin = writer_of(l, &p->version);
	c.gone = !change->policy;
	wm_serve_changed(l->serve, p->service, &c);
}

static void node_changed(struct wm_leaf *l, const struct wm_node *n)
{
	const struct wm_instance *i;
	size_t pos = 0;

	while ((i = wm_node_next_instance(n, &pos)))
		instance_changed(l, i->service, i, false);
}

static bool serves(const struct wm_leaf *l)
{
	struct wm_serve_stats s;

	wm_serve_stats(l->serve, &s);
	return s.subscriptions;
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_sync *s = arg;
	struct wm_leaf *l = s->leaf;

	if (!l || !l->serve || !serves(l))
		return;
	switch (c->kind) {
	case WM_CHANGE_SERVICE_CREATED:
		wm_serve_created(l->serve, c->service->name);
		break;
	case WM_CHANGE_INSTANCE_UPSERT:
	case WM_CHANGE_STATUS:
		instance_changed(l, c->service, c->instance, false);
		break;
	case WM_CHANGE_INSTANCE_DELETED:
		instance_changed(l, c->service, c->instance, true);
		break;
	case WM_CHANGE_NODE:
	case WM_CHANGE_NODE_UPSERT:
		node_changed(l, c->instance->node);
		break;
	case WM_CHANGE_POLICY:
		policy_changed(l, c);
		break;
	case WM_CHANGE_SERVICE_DELETED:
	case WM_CHANGE_CHECK_REMOVED:
	case WM_CHANGE_NODE_DELETED:
	case WM_CHANGE_NODE_FOLLOWED:
	case WM_CHANGE_SPEC:
		break;
	}
}

void wm_leaf_logged(struct wm_leaf *l, const char *node, const char *id)
{
	const struct wm_node *n;

	if (!l || !l->serve || !serves(l))
		return;
	n = wm_registry_node_named(l->s->c.registry, node);
	if (n && *id) {
		const struct wm_instance *i = wm_node_instance(n, id);

		instance_changed(l, i ? i->service : NULL, i, false);
	} else if (n) {
		node_changed(l, n);
	}
}

int leaf_serve_new(struct wm_leaf *l)
{
	const struct wm_serve_config c = {.env = l->s->env,
					  .arg = l,
					  .whole = whole,
					  .changes = changes,
					  .names = names,
					  .name = name,
					  .refuse = refuse};

	l->serve = wm_serve_new(&c);
	return l->serve && !wm_registry_subscribe(l->s->c.registry, on_change, l->s) ? 0 : -ENOMEM;
}
