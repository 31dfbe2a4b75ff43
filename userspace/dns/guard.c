/* SPDX-License-Identifier: Apache-2.0 */
/* guard.c - which clients are answered: by the table that the kernel has (waymark/guard.h). This
 * node may always ask; its addresses are looked up when somebody would be dropped, not more often
 * than each second, so that who floods us with questions costs no more. */
#include "internal.h"
#include "userspace/base/clock.h"

#include <arpa/inet.h>
#include <ifaddrs.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>

#define OWN_MS 1000 /* ms that the addresses of this machine are believed */

/* In the form of the table. @return false: of no family that we answer. */
static bool address_of(const struct sockaddr *from, __be32 ret[4])
{
	struct in6_addr v6;

	if (from->sa_family == AF_INET6)
		v6 = ((const struct sockaddr_in6 *)from)->sin6_addr;
	else if (from->sa_family == AF_INET)
		wm_places_map4(&((const struct sockaddr_in *)from)->sin_addr, v6.s6_addr);
	else
		return false;
	memcpy(ret, &v6, sizeof(v6));
	return true;
}

static void read_own(struct wm_dns_guard *g)
{
	struct ifaddrs *all = NULL;
	unsigned n = 0;
	__be32(*own)[4];

	g->own_count = 0;
	if (getifaddrs(&all))
		return;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next)
		n++;
	own = realloc(g->own, (n ? n : 1) * sizeof(*own));
	if (own)
		g->own = own;
	for (const struct ifaddrs *i = all; own && i; i = i->ifa_next)
		if (i->ifa_addr && address_of(i->ifa_addr, own[g->own_count]))
			g->own_count++;
	freeifaddrs(all);
}

static bool is_own(struct wm_dns_guard *g, const __be32 addr[4])
{
	uint64_t now;

	if (ntohl(addr[3]) >> 24 == IN_LOOPBACKNET && IN6_IS_ADDR_V4MAPPED(addr))
		return true;
	if (IN6_IS_ADDR_LOOPBACK(addr))
		return true;
	now = wm_clock_ms();
	if (!g->own_ms || now - g->own_ms >= OWN_MS) {
		read_own(g);
		g->own_ms = now;
	}
	for (unsigned i = 0; i < g->own_count; i++)
		if (memcmp(g->own[i], addr, sizeof(g->own[i])) == 0)
			return true;
	return false;
}

bool wm_dns_is_local(struct wm_dns_server *s, const struct sockaddr *from)
{
	__be32 addr[4];

	return address_of(from, addr) && is_own(&s->guard, addr);
}

bool wm_dns_may_ask(struct wm_dns_server *s, const struct sockaddr *from)
{
	struct wm_dns_guard *g = &s->guard;
	__be32 addr[4];

	if (!g->allow_count)
		return true;
	if (address_of(from, addr)) {
		for (unsigned i = 0; i < g->allow_count; i++)
			if (wm_guard_matches(&g->allow[i], addr))
				return true;
		if (is_own(g, addr))
			return true;
	}
	s->counters[WM_DNS_C_DENIED]++;
	return false;
}

void wm_dns_server_allow(struct wm_dns_server *s, const struct wm_guard_prefix *list,
			 unsigned count)
{
	struct wm_dns_guard *g = &s->guard;

	g->allow_count = count < WM_GUARD_PREFIXES_MAX ? count : WM_GUARD_PREFIXES_MAX;
	if (count)
		memcpy(g->allow, list, g->allow_count * sizeof(*list));
}

void wm_dns_guard_done(struct wm_dns_guard *g)
{
	free(g->own);
}
