/* SPDX-License-Identifier: Apache-2.0 */
/* specs.c - see specs.h. */
#include "specs.h"

#include <string.h>

const char wm_spec_own_dns[] = "this agent's DNS is asked there";

bool wm_spec_steered(const struct wm_service_spec *s)
{
	return s && !s->headless && !s->passed && !s->external_name && s->ports_count;
}

bool wm_spec_addressed(const struct wm_service_spec *s)
{
	return wm_spec_steered(s) && s->addresses_count;
}

bool wm_spec_has_outside(const struct wm_service_spec *s)
{
	for (unsigned n = 0; s->local_only && n < s->addresses_count; n++)
		if (s->addresses[n].kind != WM_SPEC_CLUSTER)
			return true;
	return false;
}

bool wm_spec_has_port(const struct wm_service_spec *s, uint32_t port)
{
	for (unsigned n = 0; s && n < s->ports_count; n++)
		if (s->ports[n].port == port)
			return true;
	return false;
}

const char *wm_spec_endpoint(const struct wm_service_spec *s, unsigned port,
			     const struct wm_policy *p)
{
	for (uint32_t n = 0; p && n < p->ports_count; n++)
		if (p->ports[n].port == s->ports[port].port)
			return p->ports[n].endpoint;
	return s->ports[port].endpoint;
}

/* --- which are not taken ------------------------------------------------------------------------
 */
static const char *unfit4(const struct wm_spec_rules *rules, struct in_addr a)
{
	uint32_t net = ntohl(a.s_addr) >> 24;

	if (wm_vip4_inside(rules->space, a))
		return "it is of the agent's own range (vip.ipv4)";
	if (net == 0 || net == 127)
		return "it is a loopback address, or none";
	return net >= 224 ? "it is a multicast address, or reserved" : NULL;
}

static const char *unfit6(const struct wm_spec_rules *rules, const struct in6_addr *a)
{
	if (wm_vip6_inside(rules->space, a))
		return "it is of the agent's own range (vip.ipv6)";
	if (IN6_IS_ADDR_UNSPECIFIED(a) || IN6_IS_ADDR_LOOPBACK(a) || IN6_IS_ADDR_V4MAPPED(a))
		return "it is a loopback address, or none";
	return IN6_IS_ADDR_MULTICAST(a) ? "it is a multicast address" : NULL;
}

/* A cluster IP that was taken over: who connects to it to ask is not led to others. */
static bool asks_us(const struct wm_config *c, struct in_addr a4, const struct in6_addr *a6)
{
	bool ours = false;

	for (unsigned i = 0; a4.s_addr && i < c->dns_addr4_count; i++)
		ours |= c->dns_addr4_be[i] == a4.s_addr;
	for (unsigned i = 0; !a4.s_addr && i < c->dns_addr6_count; i++)
		ours |= memcmp(c->dns_addr6_be[i], a6, sizeof(*a6)) == 0;
	return ours;
}

const char *wm_spec_address_unfit(const struct wm_spec_rules *rules, uint8_t kind,
				  struct in_addr a4, const struct in6_addr *a6)
{
	const char *why = a4.s_addr ? unfit4(rules, a4) : unfit6(rules, a6);

	if (!why && kind == WM_SPEC_EXTERNAL && !rules->external)
		why = "external addresses are not allowed (source.kubernetes_external)";
	if (!why && kind == WM_SPEC_CLUSTER && rules->dns && asks_us(rules->dns, a4, a6))
		why = wm_spec_own_dns;
	return why;
}

/* --- frontends ----------------------------------------------------------------------------------
 */
static void set_address(struct wm_want_front *f, struct in_addr a4, const struct in6_addr *a6)
{
	memset(f->addr_be, 0, sizeof(f->addr_be));
	if (!a4.s_addr) {
		memcpy(f->addr_be, a6, sizeof(f->addr_be));
		return;
	}
	f->addr_be[2] = htonl(0xffff);
	f->addr_be[3] = a4.s_addr;
}

void wm_spec_address_be(const struct wm_spec_address *a, __be32 ret[4])
{
	struct wm_want_front f;

	set_address(&f, a->a4, &a->a6);
	memcpy(ret, f.addr_be, sizeof(f.addr_be));
}

/* @return how many. */
static unsigned of_address(const struct wm_service_spec *s, const struct wm_spec_address *a,
			   const struct wm_spec_rules *rules, const struct wm_spec_sets *sets,
			   struct wm_want_front *ret)
{
	const uint32_t *to = a->kind == WM_SPEC_CLUSTER ? sets->own : sets->outside;
	unsigned n = 1;

	ret[0] = (struct wm_want_front){
		.shared = a->kind != WM_SPEC_CLUSTER,
		.unfit = wm_spec_address_unfit(rules, a->kind, a->a4, &a->a6)};
	set_address(&ret[0], a->a4, &a->a6);
	for (unsigned k = 0; k < s->ports_count; k++) {
		const struct wm_spec_port *p = &s->ports[k];
		uint16_t port = a->kind == WM_SPEC_NODE ? p->node_port : p->port;

		if (!port)
			continue;
		ret[n] = ret[0];
		ret[n].port = port;
		ret[n].proto = p->proto;
		ret[n].unfit = NULL; /* with its address */
		ret[n++].set = to[k];
	}
	return n > 1 ? n : 0;
}

/* Any port of a virtual address leads to the first port's set; those behind it have their own. */
static unsigned of_virtual(const struct wm_service_spec *s, struct in_addr a4,
			   const struct in6_addr *a6, const uint32_t *sets,
			   struct wm_want_front *ret)
{
	unsigned n = 0;

	if (!a4.s_addr && IN6_IS_ADDR_UNSPECIFIED(a6))
		return 0;
	for (unsigned k = 1; k < s->ports_count; k++) {
		ret[n] = (struct wm_want_front){
			.port = s->ports[k].port, .proto = s->ports[k].proto, .set = sets[k]};
		set_address(&ret[n++], a4, a6);
	}
	return n;
}

unsigned wm_spec_fronts(const struct wm_service_spec *s, const struct wm_spec_rules *rules,
			const struct wm_spec_sets *sets, const struct wm_service *of,
			struct wm_want_front ret[WM_SPEC_FRONTS_MAX])
{
	const struct in_addr none = {0};
	unsigned n = 0;

	for (unsigned i = 0; i < s->addresses_count; i++)
		n += of_address(s, &s->addresses[i], rules, sets, ret + n);
	n += of_virtual(s, of->vip4, &of->vip6, sets->own, ret + n);
	if (of->vip4.s_addr)
		n += of_virtual(s, none, &of->vip6, sets->own, ret + n);
	return n;
}
