/* SPDX-License-Identifier: Apache-2.0 */
/* own_device.c - see own_device.h. */
#include "own_device.h"

#include "userspace/dataplane/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <linux/if_addr.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/addr.h>
#include <netlink/route/link.h>
#include <stdio.h>
#include <string.h>

#define ALIAS_MAX    256		  /* octets: IFALIASZ */
#define IN_MAKING    WM_OWN_DEVICE "-new" /* until it is marked: of no owner, whoever ended */
#define KIND	     "dummy"
#define KIND_WITHOUT "bridge" /* without ports it does the same where the kernel has no dummies */

static void alias_of(const char *owner, char ret[ALIAS_MAX])
{
	snprintf(ret, ALIAS_MAX, "waymarkd %s", owner);
}

/* @return 1: it is there, and the owner's; 0: it is not there; -EEXIST: somebody else's. */
static int find(struct nl_sock *s, const char *owner)
{
	struct rtnl_link *l = NULL;
	char ours[ALIAS_MAX];
	const char *alias;
	int r = rtnl_link_get_kernel(s, 0, WM_OWN_DEVICE, &l);

	if (r)
		return r == -NLE_NODEV || r == -NLE_OBJ_NOTFOUND ? 0 : wm_nl_errno(r);
	alias_of(owner, ours);
	alias = rtnl_link_get_ifalias(l);
	r = alias && strcmp(alias, ours) == 0 ? 1 : -EEXIST;
	rtnl_link_put(l);
	return r;
}

/* @return 0, or an error of libnl's. */
static int make_kind(struct nl_sock *s, const char *kind)
{
	struct rtnl_link *l = rtnl_link_alloc();
	int r = l ? rtnl_link_set_type(l, kind) : -NLE_NOMEM;

	if (!r) {
		rtnl_link_set_name(l, IN_MAKING);
		r = rtnl_link_add(s, l, NLM_F_CREATE | NLM_F_EXCL);
	}
	rtnl_link_put(l);
	return r == -NLE_EXIST ? 0 : r; /* another run was killed before it could mark it */
}

/* The kernel takes an alias of a device that is there alone, and its name with it: none that is
 * called so has no owner. @return as above. */
static int mark(struct nl_sock *s, const char *owner)
{
	struct rtnl_link *l = NULL, *to = rtnl_link_alloc();
	char alias[ALIAS_MAX];
	int r = to ? rtnl_link_get_kernel(s, 0, IN_MAKING, &l) : -NLE_NOMEM;

	alias_of(owner, alias);
	if (!r) {
		rtnl_link_set_name(to, WM_OWN_DEVICE);
		rtnl_link_set_ifalias(to, alias);
		rtnl_link_set_flags(to, IFF_UP);
		r = rtnl_link_change(s, l, to, 0);
	}
	rtnl_link_put(l);
	rtnl_link_put(to);
	return r;
}

static int make(struct nl_sock *s, const char *owner)
{
	int r = make_kind(s, KIND);

	if (r == -NLE_OPNOTSUPP)
		r = make_kind(s, KIND_WITHOUT);
	r = r ? r : mark(s, owner);
	return r ? wm_nl_errno(r) : 0;
}

static int drop(struct nl_sock *s)
{
	struct rtnl_link *l = rtnl_link_alloc();
	int r;

	if (!l)
		return -ENOMEM;
	rtnl_link_set_name(l, WM_OWN_DEVICE);
	r = rtnl_link_delete(s, l);
	rtnl_link_put(l);
	return r && r != -NLE_NODEV ? wm_nl_errno(r) : 0;
}

/* An address with all its bits. */
static int change(struct nl_sock *s, int family, const void *addr, bool add)
{
	int len = family == AF_INET ? 4 : 16, r = -NLE_NOMEM;
	struct nl_addr *local = nl_addr_build(family, addr, (size_t)len);
	struct rtnl_addr *a = rtnl_addr_alloc();

	if (local && a) {
		nl_addr_set_prefixlen(local, 8 * len);
		rtnl_addr_set_ifindex(a, (int)if_nametoindex(WM_OWN_DEVICE));
		r = rtnl_addr_set_local(a, local);
		if (!r && family == AF_INET6) /* nobody else is asked: there is no link */
			rtnl_addr_set_flags(a, IFA_F_NODAD);
		if (!r)
			r = add ? rtnl_addr_add(s, a, 0) : rtnl_addr_delete(s, a, 0);
	}
	rtnl_addr_put(a);
	nl_addr_put(local);
	return !r || r == -NLE_EXIST ? 0 : wm_nl_errno(r);
}

/* @return the octets of an address, or of its mask; NULL: it is none of the two families. */
static const void *octets_of(const struct sockaddr *a)
{
	if (a && a->sa_family == AF_INET)
		return &((const struct sockaddr_in *)(const void *)a)->sin_addr;
	if (a && a->sa_family == AF_INET6)
		return &((const struct sockaddr_in6 *)(const void *)a)->sin6_addr;
	return NULL;
}

static int family_of(const char *text, uint8_t ret[16])
{
	return inet_pton(AF_INET, text, ret) == 1    ? AF_INET
	       : inet_pton(AF_INET6, text, ret) == 1 ? AF_INET6
						     : AF_UNSPEC;
}

/* Is it of a device of another program's that is as ours: no network, no link? NodeLocal DNSCache
 * has such a one, and takes it away when it ends. */
static bool is_alike(struct nl_sock *s, const struct ifaddrs *i)
{
	static const uint8_t whole[16] = {[0 ... 15] = 0xff};
	const void *mask = octets_of(i->ifa_netmask);
	struct rtnl_link *l = NULL;
	const char *kind;
	bool r;

	if (!mask || memcmp(mask, whole, i->ifa_addr->sa_family == AF_INET ? 4 : 16) != 0 ||
	    strcmp(i->ifa_name, WM_OWN_DEVICE) == 0 || rtnl_link_get_kernel(s, 0, i->ifa_name, &l))
		return false;
	kind = rtnl_link_get_type(l);
	r = kind && (strcmp(kind, KIND) == 0 || strcmp(kind, KIND_WITHOUT) == 0);
	rtnl_link_put(l);
	return r;
}

/* Is it there for as long as the agent runs? Every address, 0.0.0.0 or ::, is. */
static bool has(struct nl_sock *s, const struct ifaddrs *all, int family, const uint8_t *addr)
{
	static const uint8_t every[16];

	if (memcmp(addr, every, family == AF_INET ? 4 : 16) == 0)
		return true;
	for (const struct ifaddrs *i = all; i; i = i->ifa_next) {
		const void *octets = octets_of(i->ifa_addr);

		if (octets && i->ifa_addr->sa_family == family &&
		    memcmp(octets, addr, family == AF_INET ? 4 : 16) == 0 && !is_alike(s, i))
			return true;
	}
	return false;
}

static bool is_wanted(const char *const *wanted, int family, const void *octets)
{
	uint8_t addr[16];

	for (; *wanted; wanted++)
		if (family_of(*wanted, addr) == family &&
		    memcmp(octets, addr, family == AF_INET ? 4 : 16) == 0)
			return true;
	return false;
}

/* What an earlier run had there goes; the link-local one that the kernel gives it stays. */
static int drop_others(struct nl_sock *s, const struct ifaddrs *all, const char *const *wanted)
{
	int r = 0;

	for (const struct ifaddrs *i = all; i && !r; i = i->ifa_next) {
		const void *octets = octets_of(i->ifa_addr);
		int family = octets ? i->ifa_addr->sa_family : AF_UNSPEC;

		if (!octets || strcmp(i->ifa_name, WM_OWN_DEVICE) != 0 ||
		    (family == AF_INET6 && IN6_IS_ADDR_LINKLOCAL((const struct in6_addr *)octets)))
			continue;
		if (!is_wanted(wanted, family, octets))
			r = change(s, family, octets, false);
	}
	return r;
}

static int set(struct nl_sock *s, const char *owner, const char *const *wanted, struct wm_err *e)
{
	struct ifaddrs *all = NULL;
	uint8_t addr[16];
	int r = find(s, owner), family;

	if (r == -EEXIST && !*wanted)
		return 0;
	if (r < 0)
		return wm_err_set(e, r, "%s: %s", WM_OWN_DEVICE,
				  r == -EEXIST ? "the device is not this agent's" : strerror(-r));
	if (!*wanted)
		return r ? drop(s) : 0;
	r = r ? 0 : make(s, owner);
	if (r)
		return wm_err_set(e, r, "making %s: %s", WM_OWN_DEVICE, strerror(-r));
	if (getifaddrs(&all))
		return wm_err_set(e, -errno, "addresses of this machine: %s", strerror(errno));
	r = drop_others(s, all, wanted);
	for (; *wanted && !r; wanted++) {
		family = family_of(*wanted, addr);
		if (family == AF_UNSPEC || has(s, all, family, addr))
			continue;
		r = change(s, family, addr, true);
		if (r)
			wm_err_set(e, r, "%s on %s: %s", *wanted, WM_OWN_DEVICE, strerror(-r));
	}
	freeifaddrs(all);
	return r;
}

int wm_own_device_set(const char *owner, const char *const *addresses, struct wm_err *e)
{
	struct nl_sock *s = nl_socket_alloc();
	int r = s ? nl_connect(s, NETLINK_ROUTE) : -NLE_NOMEM;

	r = r ? wm_err_set(e, wm_nl_errno(r), "netlink: %s", nl_geterror(r))
	      : set(s, owner, addresses, e);
	nl_socket_free(s);
	return r;
}

bool wm_own_device_is(const char *owner)
{
	struct nl_sock *s = nl_socket_alloc();
	bool r = s && !nl_connect(s, NETLINK_ROUTE) && find(s, owner) > 0;

	nl_socket_free(s);
	return r;
}
