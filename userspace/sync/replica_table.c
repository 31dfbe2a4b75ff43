/* SPDX-License-Identifier: Apache-2.0 */
/* replica_table.c - objects by log and key. Chains through the objects under an array of heads that
 * grows with each object by the split of one chain (Litwin, linear hashing, 1980): eight octets an
 * object and no moment at which all of them move. The hash has a key of this process. */
#include "replica_internal.h"
#include "userspace/base/hash.h"

#include <errno.h>
#include <string.h>

#define TABLE_FIRST 64 /* heads at first */

static uint32_t hash_of(const void *name, size_t len)
{
	return (uint32_t)wm_hash(name, len);
}

static struct object **head_of(const struct table *t, uint32_t hash)
{
	size_t at = hash & (t->level - 1);

	return &t->heads[at < t->split ? hash & (2 * t->level - 1) : at];
}

struct object *table_get(const struct table *t, const void *name, size_t len)
{
	uint32_t hash;

	if (!t->count)
		return NULL;
	hash = hash_of(name, len);
	for (struct object *o = *head_of(t, hash); o; o = o->next)
		if (o->hash == hash && o->len + 2u == len && !memcmp(o->name, name, len))
			return o;
	return NULL;
}

static int table_reserve(struct table *t)
{
	size_t cap = t->cap ? 2 * t->cap : TABLE_FIRST;
	struct object **p;

	if (t->cap && t->level + t->split < t->cap)
		return 0;
	p = realloc(t->heads, cap * sizeof(struct object *));
	if (!p)
		return -ENOMEM;
	memset(p + t->cap, 0, (cap - t->cap) * sizeof(struct object *));
	t->heads = p;
	if (!t->cap)
		t->level = cap / 2;
	t->cap = cap;
	return 0;
}

/* The next chain becomes two. */
static void table_split(struct table *t)
{
	struct object **from = &t->heads[t->split], *o = *from, *next;

	*from = NULL;
	if (++t->split == t->level) {
		t->level *= 2;
		t->split = 0;
	}
	for (; o; o = next) {
		struct object **to = head_of(t, o->hash);

		next = o->next;
		o->next = *to;
		*to = o;
	}
}

int table_put(struct table *t, struct object *o)
{
	struct object **head;
	int err = table_reserve(t);

	if (err)
		return err;
	if (t->count >= t->level + t->split)
		table_split(t);
	o->hash = hash_of(o->name, o->len + 2u);
	head = head_of(t, o->hash);
	o->next = *head;
	*head = o;
	t->count++;
	return 0;
}

void table_del(struct table *t, struct object *o)
{
	struct object **at = head_of(t, o->hash);

	while (*at != o)
		at = &(*at)->next;
	*at = o->next;
	t->count--;
}
