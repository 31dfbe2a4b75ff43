/* SPDX-License-Identifier: Apache-2.0 */
/* device.c - network devices of this namespace, by netlink: name, number, loopback or
 * not, kind. */
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <net/if.h>
#include <net/if_arp.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

int wm_nl_errno(int nl)
{
	switch (nl < 0 ? -nl : nl) {
	case NLE_NODEV:
	case NLE_OBJ_NOTFOUND:
		return -ENODEV;
	case NLE_PERM:
	case NLE_NOACCESS:
		return -EPERM;
	case NLE_NOMEM:
		return -ENOMEM;
	case NLE_RANGE:
	case NLE_INVAL:
		return -ENODEV; /* a name that no device can have */
	default:
		return -EIO;
	}
}

static void fill(struct rtnl_link *link, struct wm_device *ret)
{
	const char *kind = rtnl_link_get_type(link), *name = rtnl_link_get_name(link);
	int32_t netns;

	ret->ifindex = (uint32_t)rtnl_link_get_ifindex(link);
	ret->loopback = rtnl_link_get_flags(link) & IFF_LOOPBACK;
	ret->ethernet = rtnl_link_get_arptype(link) == ARPHRD_ETHER;
	snprintf(ret->name, sizeof(ret->name), "%s", name ? name : "");
	ret->peer_elsewhere =
		kind && !strcmp(kind, "veth") && !rtnl_link_get_link_netnsid(link, &netns);
	snprintf(ret->kind, sizeof(ret->kind), "%s", kind ? kind : "");
}

int wm_device_get(const char *name, struct wm_device *ret)
{
	struct nl_sock *sock;
	struct rtnl_link *link = NULL;
	int r;

	if (!name[0] || strlen(name) >= IFNAMSIZ)
		return -ENODEV;
	sock = nl_socket_alloc();
	if (!sock)
		return -ENOMEM;
	r = nl_connect(sock, NETLINK_ROUTE);
	if (!r)
		r = rtnl_link_get_kernel(sock, 0, name, &link);
	if (r) {
		r = wm_nl_errno(r);
		goto out;
	}
	fill(link, ret);
out:
	if (link)
		rtnl_link_put(link);
	nl_socket_free(sock);
	return r;
}

bool wm_device_is_glob(const char *name)
{
	return strpbrk(name, "*?[") != NULL;
}

int wm_devices_list(struct wm_device **ret)
{
	struct nl_sock *sock = nl_socket_alloc();
	struct nl_cache *cache = NULL;
	struct wm_device *list;
	int r, n = 0;

	if (!sock)
		return -ENOMEM;
	r = nl_connect(sock, NETLINK_ROUTE);
	if (!r)
		r = rtnl_link_alloc_cache(sock, AF_UNSPEC, &cache);
	nl_socket_free(sock);
	if (r)
		return wm_nl_errno(r);
	list = calloc((size_t)nl_cache_nitems(cache) + 1, sizeof(*list));
	for (struct nl_object *o = nl_cache_get_first(cache); list && o; o = nl_cache_get_next(o))
		fill((struct rtnl_link *)o, &list[n++]);
	nl_cache_free(cache);
	if (!list)
		return -ENOMEM;
	*ret = list;
	return n;
}
