/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - prepared queries in DNS, <name>.query.<domain>: asked of the registry each time, in an
 * order by chance and weight, or with Near by distance, as who knows it tells (server.h, struct
 * wm_dns_near). */
#include "userspace/metadata/query.h"

#include "internal.h"
#include "userspace/base/duration.h"

#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

/* What the query says of its records; else they are as a service's. */
static uint32_t ttl_of(const struct wm_reply *r, const struct wm_policy *p)
{
	int64_t ns;

	if (!*p->query.ttl || wm_duration_parse(p->query.ttl, &ns) || ns < 0)
		return wm_service_ttl(r, p->query.service);
	ns /= 1000000000;
	return ns > INT32_MAX ? INT32_MAX : (uint32_t)ns; /* RFC 2181 8 */
}

/* Of the address that asks; NULL: of none. */
static const struct wm_node *asking(const struct wm_dns_server *s)
{
	const struct sockaddr *from = s->from;
	uint8_t addr[16];

	if (from && from->sa_family == AF_INET)
		wm_places_map4(&((const struct sockaddr_in *)(const void *)from)->sin_addr, addr);
	else if (from && from->sa_family == AF_INET6)
		memcpy(addr, &((const struct sockaddr_in6 *)(const void *)from)->sin6_addr, 16);
	else
		return NULL;
	return wm_places_node(s->places, addr);
}

/* Near: a node, _agent, or _ip: of whoever asks, where a node is known by that address, as in
 * Consul. NULL: nobody, the order stays. */
static const struct wm_node *origin(const struct wm_reply *r, const char *near)
{
	const struct wm_node *n = NULL;

	if (*near != '_')
		return *near ? wm_registry_node_named(r->s->registry, near) : NULL;
	if (strcmp(near, "_ip") == 0)
		n = asking(r->s);
	return n ? n : wm_registry_node(r->s->registry);
}

static void order(struct wm_reply *r, const char *near, const struct wm_instance **list,
		  unsigned count)
{
	const struct wm_node *from = r->s->near.sort ? origin(r, near) : NULL;

	r->ordered = from && r->s->near.sort(r->s->near.arg, from, list, count);
}

static void put(struct wm_reply *r, const struct wm_instance **list, unsigned count)
{
	if (!count)
		r->rcode = WM_DNS_NXDOMAIN;
	else if (r->q.type == WM_DNS_SRV)
		wm_reply_srv_listed(r, list, count);
	else if (r->q.type == WM_DNS_A || r->q.type == WM_DNS_AAAA)
		(void)wm_reply_listed(r, list, count, r->q.type);
	else if (r->q.type == WM_DNS_ANY && !wm_reply_listed(r, list, count, WM_DNS_A))
		(void)wm_reply_listed(r, list, count, WM_DNS_AAAA);
}

void wm_reply_query(struct wm_reply *r)
{
	const struct wm_policy *p = wm_query_find(r->s->registry, r->ask.node);
	const struct wm_instance **list = NULL;
	struct wm_policy_draft d;
	unsigned count = 0, tier;
	struct wm_err e = {0};
	char *texts = NULL;

	if (!p) {
		r->rcode = WM_DNS_NXDOMAIN;
		return;
	}
	if (wm_query_fill(p, r->ask.node, &d, &texts, &e) ||
	    wm_query_run(r->s->registry, &d.p, &list, &count, &tier)) {
		r->rcode = WM_DNS_SERVFAIL;
	} else {
		r->ttl_s = ttl_of(r, &d.p);
		order(r, d.p.query.near, list, count);
		put(r, list, count);
	}
	free(list);
	free(texts);
}
