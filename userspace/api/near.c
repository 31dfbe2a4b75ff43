/* SPDX-License-Identifier: Apache-2.0 */
/* near.c - ?near=_agent or ?near=<node>: answers sorted by distance from a node. Consul measures
 * round trips; we go by what the operator says in the nodes' metadata, `zone` and `region`. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

static const char *meta_of(const struct wm_node *n, const char *key)
{
	for (unsigned i = 0; i < n->meta_count; i++) {
		if (strcmp(n->meta[i].key, key) == 0)
			return n->meta[i].value;
	}
	return "";
}

enum wm_distance wm_near_distance(const struct wm_node *from, const struct wm_node *n)
{
	const char *zone = meta_of(n, "zone"), *region = meta_of(n, "region");
	const char *our_zone = meta_of(from, "zone"), *our_region = meta_of(from, "region");

	if (n == from)
		return WM_NEAR_SELF;
	if (!*zone && !*region)
		return WM_NEAR_UNKNOWN;
	/* zones of the same name in two regions are two zones */
	if (*region && *our_region && strcmp(region, our_region) != 0)
		return WM_NEAR_ELSEWHERE;
	if (*zone && strcmp(zone, our_zone) == 0)
		return WM_NEAR_ZONE;
	return *region && strcmp(region, our_region) == 0 ? WM_NEAR_REGION : WM_NEAR_ELSEWHERE;
}

/* Node names as Consul has them, dots and underscores too. */
static bool name_valid(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.");

	return n && !s[n] && n <= WM_NODE_NAME_MAX;
}

bool wm_params_near(struct wm_call *c, const struct wm_node **ret_from)
{
	const char *near = wm_http_query(c->req, "near");

	*ret_from = NULL;
	if (!near || !*near)
		return true;
	if (!name_valid(near)) {
		wm_answer_text(c, 400,
			       "Invalid value for ?near: _agent, or a node's name of at most %d "
			       "letters, digits, '-', '_' and '.'",
			       WM_NODE_NAME_MAX);
		return false;
	}
	/* of a node that nobody knows no distance is known: the order stays, as in Consul */
	*ret_from = strcmp(near, "_agent") == 0 ? wm_registry_node(c->api->d.registry)
						: wm_registry_node_named(c->api->d.registry, near);
	return true;
}

static int by_distance(const void *a, const void *b, void *from)
{
	const struct wm_instance *x = *(const struct wm_instance *const *)a;
	const struct wm_instance *y = *(const struct wm_instance *const *)b;
	int dx = (int)wm_near_distance(from, x->node), dy = (int)wm_near_distance(from, y->node);

	return dx != dy ? dx - dy : wm_instance_order(x, y);
}

void wm_near_sort(const struct wm_node *from, const struct wm_instance **all, unsigned count)
{
	if (from && count > 1)
		qsort_r(all, count, sizeof(struct wm_instance *), by_distance,
			(void *)(uintptr_t)from);
}

/* A copy of the order that is kept; NULL: of another service or state. To sort 20,000 ids takes
 * some 8 ms, and every watcher of a service asks for the same. */
static const struct wm_instance **kept_order(const struct wm_api *a, const struct wm_service *s)
{
	size_t size = s ? s->instances_count * sizeof(struct wm_instance *) : 0;
	const struct wm_instance **all;

	if (!s || s != a->sorted.service || s->index != a->sorted.index)
		return NULL;
	all = malloc(size);
	return all ? memcpy(all, a->sorted.all, size) : NULL;
}

static void keep_order(struct wm_api *a, const struct wm_service *s,
		       const struct wm_instance **sorted)
{
	size_t size = s->instances_count * sizeof(struct wm_instance *);

	if (s->instances_count < WM_API_SORT_KEPT ||
	    (s == a->sorted.service && s->index == a->sorted.index))
		return;
	free(a->sorted.all);
	a->sorted.all = malloc(size);
	a->sorted.service = a->sorted.all ? s : NULL;
	a->sorted.index = s->index;
	if (a->sorted.all)
		memcpy(a->sorted.all, sorted, size);
}

bool wm_instances_near(struct wm_call *c, const struct wm_service *s, const struct wm_node *from,
		       const struct wm_instance ***ret)
{
	*ret = kept_order(c->api, s);
	if (!*ret)
		*ret = wm_sorted_instances(s);
	if (!s || !s->instances_count)
		return true;
	if (!*ret) {
		wm_answer_text(c, 503, "Out of memory");
		return false;
	}
	keep_order(c->api, s, *ret);
	wm_near_sort(from, *ret, s->instances_count);
	return true;
}

/* --- what stands for a service in a mesh -------------------------------------------------------
 */
static bool stands_for(const struct wm_instance *i, const char *name)
{
	const char *of;

	if (!i->traits)
		return false;
	if (strcmp(i->traits->kind, "connect-proxy") == 0) {
		of = wm_instance_proxy(i, "DestinationServiceName");
		return of && strcasecmp(of, name) == 0;
	}
	return i->traits->native && strcasecmp(i->name, name) == 0;
}

bool wm_connect_near(struct wm_call *c, const struct wm_node *from, const struct wm_instance ***ret,
		     unsigned *ret_count)
{
	const struct wm_instance *i, **next;
	unsigned cap = 0;
	size_t pos = 0;

	*ret = NULL;
	*ret_count = 0;
	while ((i = wm_registry_next_instance(c->api->d.registry, &pos))) {
		if (!stands_for(i, c->params[0]))
			continue;
		if (*ret_count == cap) {
			cap = cap ? cap * 2 : 64;
			next = realloc(*ret, cap * sizeof(struct wm_instance *));
			if (!next) {
				wm_answer_text(c, 503, "Out of memory");
				return false;
			}
			*ret = next;
		}
		(*ret)[(*ret_count)++] = i;
	}
	wm_sort_instances(*ret, *ret_count);
	wm_near_sort(from, *ret, *ret_count);
	return true;
}

static int by_node_distance(const void *a, const void *b, void *from)
{
	const struct wm_node *x = *(const struct wm_node *const *)a;
	const struct wm_node *y = *(const struct wm_node *const *)b;
	int order = (int)wm_near_distance(from, x) - (int)wm_near_distance(from, y);

	return order ? order : strcmp(x->folded, y->folded);
}

void wm_near_sort_nodes(const struct wm_node *from, const struct wm_node **all, unsigned count)
{
	if (from && count > 1)
		qsort_r(all, count, sizeof(struct wm_node *), by_node_distance,
			(void *)(uintptr_t)from);
}
