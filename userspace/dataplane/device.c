/* SPDX-License-Identifier: Apache-2.0 */
/* device.c - network devices of this namespace, by netlink: number, loopback or not, kind. */
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <stdio.h>
#include <string.h>

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

int wm_device_get(const char *name, struct wm_device *ret)
{
	struct nl_sock *sock;
	struct rtnl_link *link = NULL;
	const char *kind;
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
	kind = rtnl_link_get_type(link);
	ret->ifindex = (uint32_t)rtnl_link_get_ifindex(link);
	ret->loopback = rtnl_link_get_flags(link) & IFF_LOOPBACK;
	snprintf(ret->kind, sizeof(ret->kind), "%s", kind ? kind : "");
out:
	if (link)
		rtnl_link_put(link);
	nl_socket_free(sock);
	return r;
}
