/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - see node.h. What is known of a node (address, metadata) is one block of memory that is
 * replaced as a whole. */
#include "node.h"

#include "object.h"
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
	n->instances = wm_map_new(WM_TABLE_MAX);
	n->checks = wm_map_new(WM_TABLE_MAX);
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
