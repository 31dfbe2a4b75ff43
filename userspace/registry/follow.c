/* SPDX-License-Identifier: Apache-2.0 */
/* follow.c - what is on a node follows it: indexes of services, statuses of instances, addresses of
 * those without one of their own. On a large node in slices over turns, each under a number of its
 * own, so that who read something in between hears of the rest. A write is answered when all
 * followed. Of what is on the node nothing is stored: it follows of the node's row. */
#include "internal.h"
#include "plan.h"
#include "userspace/base/map.h"

#include <string.h>

#define INLINE_MAX 64 /* instances that follow at once */
#define LOOK	   8  /* instances between two looks at the clock */

/* It has another address, and perhaps another status. The object stays, and so do its checks:
 * listeners compare it with a copy of what it was. */
static void move(struct wm_registry *r, struct wm_instance *i, uint64_t index)
{
	struct wm_instance was = *i;
	struct wm_change c = {.kind = WM_CHANGE_INSTANCE_UPSERT,
			      .index = index,
			      .service = i->service,
			      .instance = i,
			      .old = &was};

	i->number = 0; /* of listeners: what is new has none */
	i->waiting = 0;
	wm_instance_bind(i->node, i);
	i->status = wm_instance_effective(r, i);
	wm_registry_announce(r, &c);
}

/* The index of a service moves with its nodes; a later write of the transaction may have moved it
 * already. */
static void follow(struct wm_registry *r, struct wm_instance *i, uint64_t index)
{
	const struct wm_node *n = i->node;
	enum wm_status next = wm_instance_effective(r, i);
	struct wm_change c = {
		.kind = WM_CHANGE_STATUS, .index = index, .service = i->service, .instance = i};

	if (i->service->index < index)
		i->service->index = index;
	if (!*i->address && (i->addr4.s_addr != n->addr4.s_addr ||
			     memcmp(&i->addr6, &n->addr6, sizeof(i->addr6)) != 0)) {
		move(r, i, index);
	} else if (next != i->status) {
		i->status = next;
		wm_registry_announce(r, &c);
	}
}

/* --- walks ------------------------------------------------------------------------------------ */
static void append(struct wm_registry *r, struct wm_node *n)
{
	struct wm_node **at = &r->walks;

	while (*at)
		at = &(*at)->walk.next;
	*at = n;
	n->walk.next = NULL;
	n->walk.on = true;
	n->walk.again = false;
	n->walk.pos = 0;
}

static void take(struct wm_registry *r, struct wm_node *n)
{
	struct wm_node **at = &r->walks;

	while (*at && *at != n)
		at = &(*at)->walk.next;
	if (*at)
		*at = n->walk.next;
	n->walk.on = false;
}

void wm_registry_node_touched(struct wm_registry *r, struct wm_node *n, uint64_t index, bool wait)
{
	struct wm_instance *i;
	size_t pos = 0;

	if (!wm_registry_slices(r) || wm_map_len(n->instances) <= INLINE_MAX) {
		while ((i = wm_map_next(n->instances, &pos)))
			follow(r, i, index);
		return;
	}
	if (wait) {
		r->awaited += !n->walk.awaited;
		n->walk.awaited = n->walk.on ? 2 : 1; /* the present one began before */
	}
	if (n->walk.on)
		n->walk.again = true;
	else
		append(r, n);
}

void wm_registry_node_forget(struct wm_registry *r, struct wm_node *n)
{
	if (n->walk.on)
		take(r, n);
	r->awaited -= n->walk.awaited > 0;
	n->walk.awaited = 0;
}

/* @return false: there is no time left. */
static bool walk(struct wm_registry *r, struct wm_node *n)
{
	uint64_t index = wm_registry_show(r, 0);
	struct wm_change c = {
		.kind = WM_CHANGE_NODE_FOLLOWED, .index = index, .instance = n->holder};
	struct wm_instance *i;
	unsigned count = 0;

	while ((i = wm_map_next(n->instances, &n->walk.pos))) {
		follow(r, i, index);
		if (++count % LOOK == 0 && wm_registry_spent(r))
			return false;
	}
	wm_registry_announce(r, &c);
	take(r, n);
	if (n->walk.awaited && !--n->walk.awaited)
		r->awaited--;
	if (n->walk.again)
		append(r, n);
	return true;
}

bool wm_registry_follow(struct wm_registry *r)
{
	while (r->walks) {
		if (!walk(r, r->walks) || wm_registry_spent(r))
			break;
	}
	return !r->walks;
}
