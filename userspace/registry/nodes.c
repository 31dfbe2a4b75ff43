/* SPDX-License-Identifier: Apache-2.0 */
/* nodes.c - the tables of nodes: this agent's own, which is always there, and those that were
 * written into the catalog. */
#include "internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

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
	wm_registry_node_forget(r, n);
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
#define POS_BITS 36 /* a table has WM_TABLE_MAX entries at most, and twice that many places */
_Static_assert((size_t)WM_TABLE_MAX * 4 < (size_t)1 << POS_BITS, "a position fits");

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
