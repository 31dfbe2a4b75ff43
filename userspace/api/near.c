/* SPDX-License-Identifier: Apache-2.0 */
/* near.c - ?near=_agent, ?near=<node>, and of prepared queries ?near=_ip (the node at the address
 * that asks): answers sorted by distance from a node. In a mesh that is
 * the round trip that coordinates tell, as in Consul; nodes without one come behind, by what is
 * said of them, as all do where there is no mesh: Locality, or `zone` and `region` in their
 * metadata. */
#include "internal.h"
#include "userspace/base/macros.h"
#include "userspace/metadata/selection.h"
#include "userspace/sync/sync.h"

#include <arpa/inet.h>
#include <stdlib.h>
#include <string.h>

enum wm_distance wm_near_distance(const struct wm_node *from, const struct wm_node *n)
{
	const char *zone = wm_node_place(n, "zone"), *region = wm_node_place(n, "region");
	const char *our_zone = wm_node_place(from, "zone"),
		   *our_region = wm_node_place(from, "region");

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

/* --- who asks ----------------------------------------------------------------------------------
 */
/* The first address of X-Forwarded-For, which stands above the connection's, as in Consul. */
static bool forwarded_for(const struct wm_http_request *req, struct in6_addr *ret)
{
	const char *text = wm_http_header(req, "X-Forwarded-For");
	char first[INET6_ADDRSTRLEN];
	struct in_addr v4;
	size_t len;

	if (!text)
		return false;
	text += strspn(text, " ");
	len = strcspn(text, ", ");
	if (len >= sizeof(first))
		return false;
	memcpy(first, text, len);
	first[len] = 0;
	if (inet_pton(AF_INET, first, &v4) != 1)
		return inet_pton(AF_INET6, first, ret) == 1;
	*ret = in6addr_any;
	ret->s6_addr[10] = ret->s6_addr[11] = 0xff;
	memcpy(ret->s6_addr + 12, &v4, sizeof(v4));
	return true;
}

static bool is_at(const struct wm_node *n, const struct in6_addr *a)
{
	return IN6_IS_ADDR_V4MAPPED(a) ? !memcmp(&n->addr4, a->s6_addr + 12, sizeof(n->addr4))
				       : IN6_ARE_ADDR_EQUAL(&n->addr6, a);
}

const struct wm_node *wm_near_asking(const struct wm_call *c)
{
	const struct in6_addr *at = wm_http_peer_address(c->req);
	const struct wm_registry *r = c->api->d.registry;
	const struct wm_node *n;
	struct in6_addr said;
	size_t pos = 0;

	if (forwarded_for(c->req, &said))
		at = &said;
	while (at && (n = wm_registry_next_node(r, &pos)))
		if (is_at(n, at))
			return n;
	return wm_registry_node(r);
}

/* --- sorting ---------------------------------------------------------------------------------- */
#define KEY_UNKNOWN (1u << 24) /* from here on classes; below microseconds: 16 s, no round trip */
#define DIGIT_BITS  9	       /* of the keys, sorted by at a time */
#define DIGITS	    (1u << DIGIT_BITS)
_Static_assert((KEY_UNKNOWN + WM_NEAR_UNKNOWN) >> (3 * DIGIT_BITS) == 0, "three digits are enough");

struct keyed {
	const void *object;
	uint32_t key;
};

/* NULL: it is no agent's, or nobody measured it yet. */
static const struct wm_coordinate *coordinate_of(const struct wm_members *ms,
						 const struct wm_node *n)
{
	const struct wm_member *m = NULL;
	struct wm_peer_id id;

	if (ms && n->id && !wm_peer_id_parse(n->id, &id))
		m = wm_members_by_id(ms, &id);
	return m && m->has_coordinate ? &m->coordinate : NULL;
}

static uint32_t key_of(const struct wm_members *ms, const struct wm_node *from,
		       const struct wm_coordinate *at, const struct wm_node *n)
{
	const struct wm_coordinate *c = at ? coordinate_of(ms, n) : NULL;
	double us;

	if (n == from)
		return 0;
	if (!c)
		return KEY_UNKNOWN + (uint32_t)wm_near_distance(from, n);
	us = wm_coordinate_distance(at, c) * 1e6;
	return us < 1 ? 1 : us < KEY_UNKNOWN - 1 ? (uint32_t)us : KEY_UNKNOWN - 1;
}

/* By one digit of the keys; what is equal in it keeps its order. */
static void sort_digit(const struct keyed *in, struct keyed *out, unsigned count, unsigned shift)
{
	unsigned at[DIGITS] = {0}, next = 0;

	for (unsigned i = 0; i < count; i++)
		at[in[i].key >> shift & (DIGITS - 1)]++;
	for (unsigned d = 0; d < DIGITS; d++) {
		unsigned n = at[d];

		at[d] = next;
		next += n;
	}
	for (unsigned i = 0; i < count; i++)
		out[at[in[i].key >> shift & (DIGITS - 1)]++] = in[i];
}

/* What is as far keeps its order. Linear, as a long list is sorted in every turn that it takes. */
static bool sort_near(const struct wm_members *ms, const struct wm_node *from, void *list,
		      unsigned count, const struct wm_node *(*of)(const void *object))
{
	const struct wm_coordinate *at;
	_cleanup_free_ struct keyed *keyed = NULL;
	const struct wm_node *last = NULL;
	const void **all = list;
	uint32_t key = 0;

	if (!from || count < 2)
		return true;
	keyed = calloc(2 * (size_t)count, sizeof(*keyed));
	if (!keyed)
		return false;
	at = coordinate_of(ms, from);
	for (unsigned i = 0; i < count; i++) {
		const struct wm_node *node = of(all[i]);

		if (node != last)
			key = key_of(ms, from, at, node);
		last = node;
		keyed[i] = (struct keyed){all[i], key};
	}
	sort_digit(keyed, keyed + count, count, 0);
	sort_digit(keyed + count, keyed, count, DIGIT_BITS);
	sort_digit(keyed, keyed + count, count, 2 * DIGIT_BITS);
	for (unsigned i = 0; i < count; i++)
		all[i] = keyed[count + i].object;
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

const struct wm_members *wm_near_members(const struct wm_api *a)
{
	return a->d.sync ? wm_sync_members(a->d.sync) : NULL;
}

bool wm_near_sort(const struct wm_members *ms, const struct wm_node *from,
		  const struct wm_instance **all, unsigned count)
{
	return sort_near(ms, from, all, count, node_of);
}

bool wm_api_near(void *arg, const struct wm_node *from, const struct wm_instance **all,
		 unsigned count)
{
	return wm_near_sort(wm_near_members(arg), from, all, count);
}

bool wm_near_sort_nodes(const struct wm_members *ms, const struct wm_node *from,
			const struct wm_node **all, unsigned count)
{
	return sort_near(ms, from, all, count, itself);
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
	if (!*ret || !wm_near_sort(wm_near_members(c->api), from, *ret, s->instances_count)) {
		wm_answer_text(c, 503, "Out of memory");
		return false;
	}
	return true;
}
