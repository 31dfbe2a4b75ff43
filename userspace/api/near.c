/* SPDX-License-Identifier: Apache-2.0 */
/* near.c - ?near=_agent or ?near=<node>: answers sorted by distance from a node. Consul measures
 * round trips; we go by what is said of the nodes: Locality, or `zone` and `region` in their
 * metadata. */
#include "internal.h"
#include "userspace/base/macros.h"

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

/* What its Locality says stands before metadata of the same name, as of instances. */
static const char *zone_of(const struct wm_node *n)
{
	return *n->zone ? n->zone : meta_of(n, "zone");
}

static const char *region_of(const struct wm_node *n)
{
	return *n->region ? n->region : meta_of(n, "region");
}

enum wm_distance wm_near_distance(const struct wm_node *from, const struct wm_node *n)
{
	const char *zone = zone_of(n), *region = region_of(n);
	const char *our_zone = zone_of(from), *our_region = region_of(from);

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

static const struct wm_node *node_of(const void *instance)
{
	return ((const struct wm_instance *)instance)->node;
}

static const struct wm_node *itself(const void *node)
{
	return node;
}

/* By the few classes of distance: what is of one keeps its order. Linear, as a long list is sorted
 * in every turn that it takes. */
static bool sort_near(const struct wm_node *from, void *list, unsigned count,
		      const struct wm_node *(*of)(const void *object))
{
	unsigned at[WM_NEAR_UNKNOWN + 1] = {0}, next = 0, n;
	_cleanup_free_ void **was = NULL;
	const struct wm_node *last = NULL;
	uint8_t *class;
	void **all = list;

	if (!from || count < 2)
		return true;
	was = malloc(count * (sizeof(*was) + sizeof(*class)));
	if (!was)
		return false;
	class = (uint8_t *)(was + count);
	memcpy(was, all, count * sizeof(*was));
	for (unsigned i = 0; i < count; i++) {
		const struct wm_node *node = of(was[i]);

		class[i] = i && node == last ? class[i - 1] : (uint8_t)wm_near_distance(from, node);
		at[class[i]]++;
		last = node;
	}
	for (unsigned d = 0; d <= WM_NEAR_UNKNOWN; d++) {
		n = at[d];
		at[d] = next;
		next += n;
	}
	for (unsigned i = 0; i < count; i++)
		all[at[class[i]]++] = was[i];
	return true;
}

bool wm_near_sort(const struct wm_node *from, const struct wm_instance **all, unsigned count)
{
	return sort_near(from, all, count, node_of);
}

bool wm_near_sort_nodes(const struct wm_node *from, const struct wm_node **all, unsigned count)
{
	return sort_near(from, all, count, itself);
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
	if (*ret)
		keep_order(c->api, s, *ret);
	if (!*ret || !wm_near_sort(from, *ret, s->instances_count)) {
		wm_answer_text(c, 503, "Out of memory");
		return false;
	}
	return true;
}
