/* SPDX-License-Identifier: Apache-2.0 */
/* services.c - a service's list of instances, and what an instance is on its node. */
#include "internal.h"
#include "userspace/base/hash.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

struct wm_service *wm_service_new(const struct wm_lease *l)
{
	size_t n = strlen(l->name) + 1;
	struct wm_service *s = calloc(1, sizeof(*s) + 2 * n);

	if (!s)
		return NULL;
	s->name = memcpy(s + 1, l->name, n);
	s->shown = memcpy(s->name + n, l->name, n);
	s->vip4 = l->vip4;
	s->vip6 = l->vip6;
	s->row = l->row;
	s->create_index = l->create_index;
	s->fresh = true;
	return s;
}

void wm_service_free(struct wm_service *s)
{
	if (!s)
		return;
	free(s->instances);
	free(s);
}

int wm_service_reserve(struct wm_service *s, unsigned n)
{
	unsigned cap = s->instances_cap ? s->instances_cap : 2;
	struct wm_instance **next;

	if (s->instances_count + n <= s->instances_cap)
		return 0;
	while (cap < s->instances_count + n)
		cap *= 2;
	next = realloc(s->instances, cap * sizeof(struct wm_instance *));
	if (!next)
		return -ENOMEM;
	s->instances = next;
	s->instances_cap = cap;
	return 0;
}

int wm_service_add(struct wm_service *s, struct wm_instance *i)
{
	int err = wm_service_reserve(s, 1);

	if (err)
		return err;
	i->service = s;
	memcpy(s->shown, i->name, strlen(s->name)); /* the same but for the case */
	i->place = s->instances_count;
	s->instances[s->instances_count++] = i;
	return 0;
}

void wm_service_remove(struct wm_service *s, struct wm_instance *i)
{
	struct wm_instance *last = s->instances[--s->instances_count];

	s->instances[i->place] = last;
	last->place = i->place;
	if (s->instances_count)
		memcpy(s->shown, s->instances[0]->name, strlen(s->name));
}

void wm_instance_bind(struct wm_node *n, struct wm_instance *i)
{
	char text[WM_NODE_NAME_MAX + WM_INSTANCE_ID_MAX + 2];
	size_t node = strlen(n->name) + 1;

	i->node = n;
	if (!*i->address) {
		i->addr4 = n->addr4;
		i->addr6 = n->addr6;
	}
	memcpy(text, n->name, node);
	memcpy(text + node, i->id, strlen(i->id));
	i->hash = wm_hash_stable(text, node + strlen(i->id));
}
