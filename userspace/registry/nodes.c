/* SPDX-License-Identifier: Apache-2.0 */
/* nodes.c - nodes: this agent's own, which is always there, and those that were written into the
 * catalog. A node holds its instances and checks by id, since ids are unique on a node only. What
 * is known of it (address, metadata) is one block of memory that is replaced as a whole. */
#include "internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static size_t size_of(const char *s)
{
	return strlen(s ? s : "") + 1;
}

static size_t size_of_pairs(const struct wm_pair *p, unsigned count)
{
	size_t n = count * sizeof(*p);

	for (unsigned i = 0; i < count; i++)
		n += size_of(p[i].key) + size_of(p[i].value);
	return n;
}

static char *put(char **at, const char *s)
{
	size_t n = size_of(s);
	char *to = memcpy(*at, s ? s : "", n);

	*at += n;
	return to;
}

static int by_key(const void *a, const void *b)
{
	return strcmp(((const struct wm_pair *)a)->key, ((const struct wm_pair *)b)->key);
}

static void put_pairs(char **at, struct wm_pair *to, const struct wm_pair *p, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		to[i] = (struct wm_pair){put(at, p[i].key), put(at, p[i].value)};
	if (count > 1)
		qsort(to, count, sizeof(*to), by_key);
}

void wm_node_fold(char *to, const char *s)
{
	for (; *s; s++)
		*to++ = (char)(*s >= 'A' && *s <= 'Z' ? *s + 32 : *s);
	*to = 0;
}

int wm_node_set_facts(struct wm_node *n, const struct wm_node_draft *d)
{
	size_t size = size_of(d->id) + size_of(d->address) + size_of(d->region) + size_of(d->zone) +
		      size_of_pairs(d->meta, d->meta_count) +
		      size_of_pairs(d->tagged, d->tagged_count);
	struct wm_pair *pairs = calloc(1, size);
	char *at;

	if (!pairs)
		return -ENOMEM;
	n->facts = pairs;
	n->meta = pairs;
	n->meta_count = d->meta_count;
	n->tagged = pairs + d->meta_count;
	n->tagged_count = d->tagged_count;
	at = (char *)(n->tagged + d->tagged_count);
	put_pairs(&at, n->meta, d->meta, d->meta_count);
	put_pairs(&at, n->tagged, d->tagged, d->tagged_count);
	n->id = put(&at, d->id);
	wm_node_fold(n->id, n->id); /* a UUID is the same in either case */
	n->address = put(&at, d->address);
	n->region = put(&at, d->region);
	n->zone = put(&at, d->zone);
	wm_address_parse(n->address, &n->addr4, &n->addr6);
	return 0;
}

static bool same_pairs(const struct wm_pair *a, const struct wm_pair *b, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		if (strcmp(a[i].key, b[i].key) != 0 || strcmp(a[i].value, b[i].value) != 0)
			return false;
	}
	return true;
}

bool wm_node_same(const struct wm_node *a, const struct wm_node *b)
{
	return strcmp(a->id, b->id) == 0 && strcmp(a->address, b->address) == 0 &&
	       strcmp(a->region, b->region) == 0 && strcmp(a->zone, b->zone) == 0 &&
	       a->meta_count == b->meta_count && a->tagged_count == b->tagged_count &&
	       same_pairs(a->meta, b->meta, a->meta_count) &&
	       same_pairs(a->tagged, b->tagged, a->tagged_count);
}

void wm_node_swap_facts(struct wm_node *a, struct wm_node *b)
{
	struct wm_node was = *a;

	a->id = b->id;
	a->address = b->address;
	a->addr4 = b->addr4;
	a->addr6 = b->addr6;
	a->meta = b->meta;
	a->tagged = b->tagged;
	a->meta_count = b->meta_count;
	a->tagged_count = b->tagged_count;
	a->region = b->region;
	a->zone = b->zone;
	a->facts = b->facts;
	b->id = was.id;
	b->address = was.address;
	b->addr4 = was.addr4;
	b->addr6 = was.addr6;
	b->meta = was.meta;
	b->tagged = was.tagged;
	b->meta_count = was.meta_count;
	b->tagged_count = was.tagged_count;
	b->region = was.region;
	b->zone = was.zone;
	b->facts = was.facts;
}

struct wm_node *wm_node_new(const char *name, const struct wm_node_draft *d)
{
	const struct wm_instance_draft nobody = {.id = "", .name = ""};
	size_t len = strlen(name) + 1;
	struct wm_node *n = calloc(1, sizeof(*n) + 2 * len);

	if (!n)
		return NULL;
	n->name = memcpy(n + 1, name, len);
	n->folded = n->name + len;
	wm_node_fold(n->folded, name);
	n->mark = wm_hash(n->folded, len - 1) * 0x9e3779b97f4a7c15ull; /* odd: spreads the bits */
	n->holder = wm_instance_build(&nobody);
	n->instances = wm_map_new(WM_REGISTRY_MAP_MAX);
	n->checks = wm_map_new(WM_REGISTRY_MAP_MAX);
	if (!n->holder || !n->instances || !n->checks || wm_node_set_facts(n, d)) {
		wm_node_free(n);
		return NULL;
	}
	n->holder->node = n;
	return n;
}

void wm_node_free(struct wm_node *n)
{
	struct wm_instance *i;
	size_t pos = 0;

	if (!n)
		return;
	while (n->instances && (i = wm_map_next(n->instances, &pos)))
		wm_instance_free(i, true);
	wm_instance_free(n->holder, true);
	wm_map_free(n->instances);
	wm_map_free(n->checks);
	free(n->facts);
	free(n);
}

struct wm_node *wm_find_node(const struct wm_registry *r, const char *name)
{
	char folded[WM_NODE_NAME_MAX + 1];

	if (strnlen(name, sizeof(folded)) == sizeof(folded))
		return NULL;
	wm_node_fold(folded, name);
	return wm_map_get(r->nodes, folded, strlen(folded));
}

/* While a node is renamed both have the id: it is the newer one's, and back again if that is
 * undone. */
static int take_id(struct wm_registry *r, struct wm_node *n)
{
	return *n->id ? wm_map_put(r->node_ids, n->id, strlen(n->id), n, NULL) : 0;
}

static void give_id(struct wm_registry *r, struct wm_node *n)
{
	if (*n->id && wm_map_get(r->node_ids, n->id, strlen(n->id)) == n)
		wm_map_del(r->node_ids, n->id, strlen(n->id));
}

struct wm_node *wm_find_node_id(const struct wm_registry *r, const char *id)
{
	/* this agent's is known when all others are read, and never changes */
	return strcmp(r->self->id, id) == 0 ? r->self : wm_map_get(r->node_ids, id, strlen(id));
}

int wm_node_enter(struct wm_registry *r, struct wm_node *n)
{
	int err = wm_map_put(r->nodes, n->folded, strlen(n->folded), n, NULL);

	if (!err) {
		err = take_id(r, n);
		if (err)
			wm_map_del(r->nodes, n->folded, strlen(n->folded));
	}
	return err;
}

void wm_node_leave(struct wm_registry *r, struct wm_node *n)
{
	give_id(r, n);
	wm_map_del(r->nodes, n->folded, strlen(n->folded));
}

int wm_node_renew(struct wm_registry *r, struct wm_node *n, struct wm_node *facts)
{
	int err;

	give_id(r, n);
	wm_node_swap_facts(n, facts);
	err = take_id(r, n);
	if (err)
		wm_node_renew_undo(r, n, facts);
	return err;
}

void wm_node_renew_undo(struct wm_registry *r, struct wm_node *n, struct wm_node *facts)
{
	give_id(r, n);
	wm_node_swap_facts(n, facts);
	(void)take_id(r, n); /* its place was just left; at worst the id is nobody's */
}

/* --- reading ---------------------------------------------------------------------------------- */
const struct wm_node *wm_registry_node(const struct wm_registry *r)
{
	return r->self;
}

const struct wm_node *wm_registry_node_named(const struct wm_registry *r, const char *name)
{
	return wm_find_node(r, name);
}

unsigned wm_registry_nodes(const struct wm_registry *r)
{
	return (unsigned)wm_map_len(r->nodes);
}

struct wm_node *wm_registry_next_node(const struct wm_registry *r, size_t *pos)
{
	return wm_map_next(r->nodes, pos);
}

struct wm_instance *wm_node_instance(const struct wm_node *n, const char *id)
{
	return wm_map_get(n->instances, id, strlen(id));
}

struct wm_check *wm_node_check(const struct wm_node *n, const char *check_id)
{
	return wm_map_get(n->checks, check_id, strlen(check_id));
}

struct wm_instance *wm_node_next_instance(const struct wm_node *n, size_t *pos)
{
	return wm_map_next(n->instances, pos);
}

struct wm_instance *wm_registry_instance(const struct wm_registry *r, const char *id)
{
	return wm_node_instance(r->self, id);
}

struct wm_check *wm_registry_check(const struct wm_registry *r, const char *check_id)
{
	return wm_node_check(r->self, check_id);
}

const struct wm_instance *wm_registry_node_checks(const struct wm_registry *r)
{
	return r->self->holder;
}

/* The position holds two: of the node in the upper bits, of the instance on it in the lower. */
#define POS_BITS                                                                                   \
	36 /* a table has WM_REGISTRY_MAP_MAX entries at most, and twice that many places */
_Static_assert((size_t)WM_REGISTRY_MAP_MAX * 4 < (size_t)1 << POS_BITS, "a position fits");

struct wm_instance *wm_registry_next_instance(const struct wm_registry *r, size_t *pos)
{
	const size_t mask = ((size_t)1 << POS_BITS) - 1;

	for (;;) {
		size_t at = *pos >> POS_BITS, next = at, inner = *pos & mask;
		struct wm_node *n = wm_map_next(r->nodes, &next);
		struct wm_instance *i;

		if (!n)
			return NULL;
		i = wm_map_next(n->instances, &inner);
		if (i) {
			*pos = (at << POS_BITS) | inner;
			return i;
		}
		*pos = next << POS_BITS;
	}
}
