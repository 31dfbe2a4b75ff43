/* SPDX-License-Identifier: Apache-2.0 */
/* places.c - which nodes and services are at an address, and which names of nodes end with what:
 * kept as the registry changes, so that a question costs one look-up. Only addresses that were
 * stated count: an instance without one is at its node's, and nodes come first. */
#include "internal.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define STEP	 256 /* instances that are indexed in a turn after the start: some 0.3 ms */
#define PAUSE_MS 1   /* ms between two of these */
#define ENTRIES_MAX                                                                                \
	((size_t)1 << 31) /* no bound of its own: the registry's limits are in force               \
			   */

struct key {
	uint8_t addr[16]; /* v4-mapped if IPv4 */
	const void *owner;
};
_Static_assert(sizeof(struct key) == 16 + sizeof(void *), "hashed whole");

/* A node or service at an address, as often as it is there. Nearly always it is the only one: the
 * first of an address is found by the address, the others by address and owner. */
struct tenant {
	struct key key;
	struct tenant *prev, *next; /* of the address */
	uint32_t count;
};
struct directory {
	struct wm_map *first;  /* by address: the tenant without prev */
	struct wm_map *others; /* by key */
};
struct node_place {
	const struct wm_node *node;
	uint8_t addr4[16], addr6[16];
	bool has4, has6;
};
struct ending {
	uint32_t count; /* names of nodes that end with it, behind a dot */
	size_t len;
	char text[];
};

struct wm_places {
	struct wm_timer *timer;
	struct wm_registry *registry;
	struct wm_dns_server *server; /* whose ready gives answers again; NULL: nobody's */
	struct wm_instance **waiting; /* those that were there at the start; NULL: gone since */
	uint32_t waiting_count, done;
	struct directory nodes, services;
	struct wm_map *known;	/* node_place by name */
	struct wm_map *endings; /* by text */
};

static void no_memory(void)
{
	wm_error("dns.memory", "text=\"an address or a node's name is missing from reverse DNS\"");
}

/* --- addresses -------------------------------------------------------------------------------- */
void wm_places_map4(const struct in_addr *a, uint8_t out[16])
{
	memset(out, 0, 10);
	out[10] = out[11] = 0xff;
	memcpy(out + 12, a, 4);
}

static struct tenant *first_of(const struct directory *d, const uint8_t addr[16])
{
	return wm_map_get(d->first, addr, 16);
}

static struct tenant *find(const struct directory *d, struct tenant *first, const struct key *k)
{
	return first->key.owner == k->owner ? first : wm_map_get(d->others, k, sizeof(*k));
}

static struct key key_of(const uint8_t addr[16], const void *owner)
{
	struct key key = {.owner = owner};

	memcpy(key.addr, addr, sizeof(key.addr));
	return key;
}

static void enter(struct directory *d, const uint8_t addr[16], const void *owner)
{
	const struct key key = key_of(addr, owner);
	struct tenant *first = first_of(d, addr), *t = first ? find(d, first, &key) : NULL;

	if (t) {
		t->count++;
		return;
	}
	t = calloc(1, sizeof(*t));
	if (t)
		t->key = key;
	if (!t || (first ? wm_map_put(d->others, &t->key, sizeof(t->key), t, NULL)
			 : wm_map_put(d->first, t->key.addr, sizeof(t->key.addr), t, NULL))) {
		free(t);
		no_memory();
		return;
	}
	t->count = 1;
	if (!first)
		return;
	t->prev = first;
	t->next = first->next;
	if (t->next)
		t->next->prev = t;
	first->next = t;
}

/* The first of its address is gone, @p t comes after it. */
static void succeed(struct directory *d, struct tenant *t)
{
	struct tenant *next;

	t->prev = NULL;
	wm_map_del(d->others, &t->key, sizeof(t->key));
	if (!wm_map_put(d->first, t->key.addr, sizeof(t->key.addr), t, NULL))
		return;
	no_memory();
	for (; t; t = next) {
		next = t->next;
		wm_map_del(d->others, &t->key, sizeof(t->key));
		free(t);
	}
}

static void leave(struct directory *d, const uint8_t addr[16], const void *owner)
{
	const struct key key = key_of(addr, owner);
	struct tenant *first = first_of(d, addr), *t = first ? find(d, first, &key) : NULL;

	if (!t || --t->count)
		return;
	if (t != first) {
		t->prev->next = t->next;
		if (t->next)
			t->next->prev = t->prev;
		wm_map_del(d->others, &key, sizeof(key));
	} else {
		wm_map_del(d->first, addr, sizeof(key.addr));
		if (t->next)
			succeed(d, t->next);
	}
	free(t);
}

static void tell(struct wm_places *p, const void *what, size_t len)
{
	if (p->server)
		wm_ready_changed(p->server->ready, wm_ready_source(what, len));
}

static void tell_labels(struct wm_places *p)
{
	if (p->server)
		wm_ready_changed(p->server->ready, WM_READY_LABELS);
}

static void each_address(struct wm_places *p, const struct wm_instance *i,
			 const struct wm_service *s,
			 void (*fn)(struct directory *, const uint8_t[16], const void *))
{
	struct directory *d = &p->services;
	uint8_t mapped[16];

	if (!*i->address)
		return;
	if (i->addr4.s_addr) {
		wm_places_map4(&i->addr4, mapped);
		fn(d, mapped, s);
		tell(p, mapped, sizeof(mapped));
	}
	if (!IN6_IS_ADDR_UNSPECIFIED(&i->addr6)) {
		fn(d, i->addr6.s6_addr, s);
		tell(p, i->addr6.s6_addr, sizeof(i->addr6.s6_addr));
	}
}

/* --- nodes ------------------------------------------------------------------------------------ */
/* Of names that memory was short for it is never taken back: they are not denied, at worst. */
static void count_name(struct wm_places *p, const char *folded, bool more)
{
	if (p->server)
		wm_dns_node_there(p->server, folded, more);
}

static void count_ending(struct wm_places *p, const char *text, bool more)
{
	size_t len = strlen(text);
	struct ending *e = wm_map_get(p->endings, text, len);

	tell(p, text, len);
	count_name(p, text, more);
	if (e) {
		e->count += more ? 1 : -1u;
		if (!e->count) {
			wm_map_del(p->endings, text, len);
			free(e);
		}
		return;
	}
	e = more ? malloc(sizeof(*e) + len) : NULL;
	if (!e) {
		if (more)
			no_memory();
		return;
	}
	e->count = 1;
	e->len = len;
	memcpy(e->text, text, len);
	if (wm_map_put(p->endings, e->text, len, e, NULL)) {
		free(e);
		no_memory();
	}
}

static void count_endings(struct wm_places *p, const struct wm_node *n, bool more)
{
	for (const char *dot = strchr(n->folded, '.'); dot; dot = strchr(dot + 1, '.'))
		count_ending(p, dot + 1, more);
}

static void node_leaves(struct wm_places *p, const struct node_place *at)
{
	if (at->has4) {
		leave(&p->nodes, at->addr4, at->node);
		tell(p, at->addr4, sizeof(at->addr4));
	}
	if (at->has6) {
		leave(&p->nodes, at->addr6, at->node);
		tell(p, at->addr6, sizeof(at->addr6));
	}
}

static void node_enters(struct wm_places *p, struct node_place *at)
{
	const struct wm_node *n = at->node;

	at->has4 = n->addr4.s_addr != 0;
	at->has6 = !IN6_IS_ADDR_UNSPECIFIED(&n->addr6);
	wm_places_map4(&n->addr4, at->addr4);
	memcpy(at->addr6, &n->addr6, sizeof(at->addr6));
	if (at->has4) {
		enter(&p->nodes, at->addr4, n);
		tell(p, at->addr4, sizeof(at->addr4));
	}
	if (at->has6) {
		enter(&p->nodes, at->addr6, n);
		tell(p, at->addr6, sizeof(at->addr6));
	}
}

static void node_upsert(struct wm_places *p, const struct wm_node *n)
{
	struct node_place *at = wm_map_get(p->known, n->folded, strlen(n->folded));

	tell(p, n->folded, strlen(n->folded));
	if (at) {
		node_leaves(p, at);
		node_enters(p, at);
		return;
	}
	count_name(p, n->folded, true);
	at = calloc(1, sizeof(*at));
	if (at)
		at->node = n;
	if (!at || wm_map_put(p->known, n->folded, strlen(n->folded), at, NULL)) {
		free(at);
		no_memory();
		return;
	}
	count_endings(p, n, true);
	node_enters(p, at);
}

static void node_deleted(struct wm_places *p, const struct wm_node *n)
{
	struct node_place *at = wm_map_del(p->known, n->folded, strlen(n->folded));

	tell(p, n->folded, strlen(n->folded));
	if (!at)
		return;
	count_name(p, n->folded, false);
	node_leaves(p, at);
	count_endings(p, n, false);
	free(at);
}

/* The addresses of its subsets are there while it is. */
static void service_changed(struct wm_places *p, const struct wm_service *s)
{
	uint8_t mapped[16];

	wm_places_map4(&s->vip4, mapped);
	tell(p, mapped, sizeof(mapped));
	tell(p, s->vip6.s6_addr, sizeof(s->vip6.s6_addr));
	if (wm_registry_policy(p->registry, s->name))
		tell_labels(p);
}

/* An instance goes, or is replaced. */
static void instance_leaves(struct wm_places *p, const struct wm_instance *i,
			    const struct wm_service *s)
{
	if (i->waiting)
		p->waiting[i->waiting - 1] = NULL;
	else
		each_address(p, i, s, leave);
}

static void on_change(void *arg, const struct wm_change *c)
{
	struct wm_places *p = arg;

	switch (c->kind) {
	case WM_CHANGE_INSTANCE_UPSERT:
		/* in this order, or who stays would lose its turn at the address */
		each_address(p, c->instance, c->service, enter);
		if (c->old)
			instance_leaves(p, c->old, c->service);
		break;
	case WM_CHANGE_INSTANCE_DELETED:
		instance_leaves(p, c->instance, c->service);
		break;
	case WM_CHANGE_NODE_UPSERT:
		node_upsert(p, c->instance->node);
		break;
	case WM_CHANGE_NODE_DELETED:
		node_deleted(p, c->instance->node);
		break;
	case WM_CHANGE_SERVICE_CREATED:
	case WM_CHANGE_SERVICE_DELETED:
		service_changed(p, c->service);
		break;
	case WM_CHANGE_POLICY:
		tell_labels(p);
		break;
	case WM_CHANGE_STATUS:
	case WM_CHANGE_CHECK_REMOVED:
	case WM_CHANGE_NODE_FOLLOWED:
	case WM_CHANGE_SPEC:
	case WM_CHANGE_NODE:
		break;
	}
}

/* --- reading ---------------------------------------------------------------------------------- */
static const void *first_at(const struct directory *d, const uint8_t addr[16])
{
	const struct tenant *t = first_of(d, addr);

	return t ? t->key.owner : NULL;
}

const struct wm_node *wm_places_node(const struct wm_places *p, const uint8_t addr[16])
{
	return first_at(&p->nodes, addr);
}

const struct wm_service *wm_places_service(const struct wm_places *p, const uint8_t addr[16])
{
	return first_at(&p->services, addr);
}

unsigned wm_places_services(const struct wm_places *p, const uint8_t addr[16],
			    const struct wm_service **ret, unsigned max)
{
	unsigned n = 0;

	for (const struct tenant *t = first_of(&p->services, addr); t && n < max; t = t->next)
		ret[n++] = t->key.owner;
	return n;
}

bool wm_places_node_below(const struct wm_places *p, const char *end)
{
	return wm_map_get(p->endings, end, strlen(end)) != NULL;
}

/* --- life ------------------------------------------------------------------------------------- */
void wm_places_tell(struct wm_places *p, struct wm_dns_server *s)
{
	const struct wm_node *n;
	size_t pos = 0;

	p->server = s;
	while ((n = wm_registry_next_node(p->registry, &pos))) {
		count_name(p, n->folded, true);
		for (const char *dot = strchr(n->folded, '.'); dot; dot = strchr(dot + 1, '.'))
			count_name(p, dot + 1, true);
	}
	wm_ready_whole(s->ready, WM_THERE_NODES, true);
}

bool wm_places_whole(const struct wm_places *p)
{
	return !p->waiting;
}

static void on_step(void *arg)
{
	struct wm_places *p = arg;

	for (unsigned n = 0; n < STEP && p->done < p->waiting_count; n++) {
		struct wm_instance *i = p->waiting[p->done++];

		if (!i)
			continue;
		i->waiting = 0;
		each_address(p, i, i->service, enter);
	}
	if (p->done < p->waiting_count && !wm_timer_arm(p->timer, PAUSE_MS))
		return;
	free(p->waiting);
	p->waiting = NULL;
}

/* Instances are indexed a few at a time: a million take long enough for clients to notice. */
static int queue_instances(struct wm_places *p, struct wm_registry *r)
{
	struct wm_instance *i;
	size_t pos = 0;

	p->waiting = malloc((wm_registry_instances(r) + 1) * sizeof(struct wm_instance *));
	if (!p->waiting)
		return -ENOMEM;
	while ((i = wm_registry_next_instance(r, &pos))) {
		p->waiting[p->waiting_count++] = i;
		i->waiting = p->waiting_count;
	}
	on_step(p); /* few are done at once */
	return 0;
}

struct wm_places *wm_places_new(struct wm_loop *l, struct wm_registry *r)
{
	struct wm_places *p = calloc(1, sizeof(*p));
	const struct wm_node *n;
	size_t pos = 0;

	if (!p)
		return NULL;
	p->registry = r;
	p->nodes = (struct directory){wm_map_new(ENTRIES_MAX), wm_map_new(ENTRIES_MAX)};
	p->services = (struct directory){wm_map_new(ENTRIES_MAX), wm_map_new(ENTRIES_MAX)};
	p->timer = wm_timer_new(l, on_step, p);
	p->known = wm_map_new(ENTRIES_MAX);
	p->endings = wm_map_new(ENTRIES_MAX);
	if (!p->nodes.first || !p->nodes.others || !p->services.first || !p->services.others ||
	    !p->timer || !p->known || !p->endings || queue_instances(p, r) ||
	    wm_registry_subscribe(r, on_change, p)) {
		wm_places_free(p);
		return NULL;
	}
	while ((n = wm_registry_next_node(r, &pos)))
		node_upsert(p, n);
	return p;
}

void wm_places_free(struct wm_places *p)
{
	if (!p)
		return;
	for (uint32_t n = p->done; p->waiting && n < p->waiting_count; n++)
		if (p->waiting[n])
			p->waiting[n]->waiting = 0;
	free(p->waiting);
	wm_timer_free(p->timer);
	wm_map_free_values(p->nodes.first);
	wm_map_free_values(p->nodes.others);
	wm_map_free_values(p->services.first);
	wm_map_free_values(p->services.others);
	wm_map_free_values(p->known);
	wm_map_free_values(p->endings);
	free(p);
}
