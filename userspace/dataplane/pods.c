/* SPDX-License-Identifier: Apache-2.0 */
/* pods.c - in which network namespace of this machine an address is that is not of ours, and who
 * listens there. An address counts as a namespace's if it is assigned there and our route to it
 * leads to that namespace: out of a veth device whose other end is there, or a bridge with such a
 * port. So neither a namespace that uses the same addresses for itself nor another host is taken
 * for it. Looked for in a thread, which alone enters the namespaces. */
#include "userspace/dataplane/pods.h"

#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <linux/net_namespace.h>
#include <netlink/errno.h>
#include <netlink/netlink.h>
#include <netlink/route/link.h>
#include <netlink/route/route.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STACK_SIZE (256u << 10)

struct port { /* a device whose other end is in another namespace */
	int ifindex, master, nsid;
};
struct wm_pods {
	pthread_t thread;
	bool running, finished;
	int task_link, error;
	struct wm_pod *all;
	int *device; /* parallel to all: that our route leads out of, without a gateway; 0: none */
	unsigned count;
	struct port *ports;
	unsigned ports_count, ports_cap;
	struct wm_listen_list found;
};

bool wm_address_is_here(uint32_t addr4_be, const void *addr6)
{
	struct sockaddr_in a4 = {.sin_family = AF_INET, .sin_addr.s_addr = addr4_be, .sin_port = 9};
	struct sockaddr_in6 a6 = {.sin6_family = AF_INET6, .sin6_port = 9};
	struct sockaddr *a = addr4_be ? (struct sockaddr *)&a4 : (struct sockaddr *)&a6;
	socklen_t len = addr4_be ? sizeof(a4) : sizeof(a6);
	_cleanup_close_ int fd = -1;

	memcpy(&a6.sin6_addr, addr6, sizeof(a6.sin6_addr));
	if (addr4_be && ntohl(addr4_be) >> 24 == 127)
		return true;
	fd = socket(a->sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd < 0 || connect(fd, a, len) || getsockname(fd, a, &len))
		return false;
	return addr4_be ? a4.sin_addr.s_addr == addr4_be
			: !memcmp(&a6.sin6_addr, addr6, sizeof(a6.sin6_addr));
}

/* --- in the agent's namespace ----------------------------------------------------------------- */
static int device_of(struct nl_sock *s, const struct wm_pod *p)
{
	struct nl_addr *dst = p->addr4_be ? nl_addr_build(AF_INET, &p->addr4_be, 4)
					  : nl_addr_build(AF_INET6, p->addr6, 16);
	struct rtnl_route *route = NULL;
	struct rtnl_nexthop *hop;
	int device = 0;

	if (dst && !rtnl_route_lookup(s, dst, &route)) {
		hop = rtnl_route_get_nnexthops(route) == 1 ? rtnl_route_nexthop_n(route, 0) : NULL;
		if (hop && !rtnl_route_nh_get_gateway(hop))
			device = rtnl_route_nh_get_ifindex(hop);
		rtnl_route_put(route);
	}
	nl_addr_put(dst);
	return device;
}

static void add_port(struct nl_object *o, void *arg)
{
	struct rtnl_link *link = (struct rtnl_link *)o;
	struct wm_pods *x = arg;
	int32_t nsid;

	if (rtnl_link_get_link_netnsid(link, &nsid) || nsid < 0)
		return;
	if (x->ports_count == x->ports_cap) {
		unsigned cap = x->ports_cap ? 2 * x->ports_cap : 32;
		struct port *ports = realloc(x->ports, cap * sizeof(*ports));

		if (!ports) {
			x->error = -ENOMEM;
			return;
		}
		x->ports = ports;
		x->ports_cap = cap;
	}
	x->ports[x->ports_count++] =
		(struct port){rtnl_link_get_ifindex(link), rtnl_link_get_master(link), nsid};
}

static int look_around(struct wm_pods *x, struct nl_sock *s)
{
	struct nl_cache *links = NULL;
	int r = rtnl_link_alloc_cache(s, AF_UNSPEC, &links);

	if (r)
		return wm_nl_errno(r);
	nl_cache_foreach(links, add_port, x);
	nl_cache_free(links);
	for (unsigned i = 0; i < x->count && x->ports_count; i++)
		x->device[i] = device_of(s, &x->all[i]);
	return x->error;
}

/* What our namespace calls the one of @p fd; -1: nothing. */
static int nsid_of(int route_fd, int fd)
{
	struct {
		struct nlmsghdr h;
		struct rtgenmsg g;
		uint8_t pad[3];
		struct nlattr a;
		int32_t fd;
	} q = {.h = {.nlmsg_len = sizeof(q),
		     .nlmsg_type = RTM_GETNSID,
		     .nlmsg_flags = NLM_F_REQUEST},
	       .a = {.nla_len = sizeof(q.a) + sizeof(q.fd), .nla_type = NETNSA_FD},
	       .fd = fd};
	struct {
		struct nlmsghdr h;
		uint8_t rest[256];
	} a;
	ssize_t n = send(route_fd, &q, sizeof(q), 0);

	n = n < 0 ? n : recv(route_fd, &a, sizeof(a), 0);
	if (n < (ssize_t)sizeof(a.h) || a.h.nlmsg_type != RTM_NEWNSID)
		return -1;
	for (size_t at = 4; at + 8 <= (size_t)n - sizeof(a.h);) {
		struct nlattr attr;
		int32_t nsid;

		memcpy(&attr, a.rest + at, sizeof(attr));
		memcpy(&nsid, a.rest + at + sizeof(attr), sizeof(nsid));
		if (attr.nla_type == NETNSA_NSID)
			return nsid;
		at += attr.nla_len < sizeof(attr) ? sizeof(attr) : (attr.nla_len + 3u) & ~3u;
	}
	return -1;
}

/* --- in the others ---------------------------------------------------------------------------- */
static bool leads_to(const struct wm_pods *x, int device, int nsid)
{
	for (unsigned i = 0; device && i < x->ports_count; i++)
		if (x->ports[i].nsid == nsid &&
		    (x->ports[i].ifindex == device || x->ports[i].master == device))
			return true;
	return false;
}

/* The thread is in the namespace. */
static void look_inside(struct wm_pods *x, int nsid)
{
	uint64_t cookie = wm_own_netns();
	bool any = false;

	for (unsigned i = 0; i < x->count; i++) {
		if (!leads_to(x, x->device[i], nsid) ||
		    !wm_address_is_here(x->all[i].addr4_be, x->all[i].addr6))
			continue;
		x->all[i].netns = cookie;
		any = true;
	}
	if (any && !x->error)
		x->error = wm_listen_read(&x->found);
}

static void *run(void *arg)
{
	struct wm_pods *x = arg;
	struct wm_netns_list l;
	struct nl_sock *s = nl_socket_alloc();
	_cleanup_close_ int raw = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);

	if (!s || raw < 0 || nl_connect(s, NETLINK_ROUTE))
		x->error = -ENOMEM;
	if (!x->error)
		x->error = look_around(x, s);
	if (!x->error && x->ports_count) {
		wm_netns_list(&l, x->task_link);
		for (unsigned i = 0; i < l.count && !x->error; i++) {
			int nsid = nsid_of(raw, l.all[i].fd);

			if (nsid >= 0 && !setns(l.all[i].fd, CLONE_NEWNET))
				look_inside(x, nsid);
		}
		wm_netns_list_free(&l);
	}
	nl_socket_free(s);
	__atomic_store_n(&x->finished, true, __ATOMIC_RELEASE);
	return NULL;
}

/* --- in the loop ------------------------------------------------------------------------------ */
int wm_pods_start(int task_link, struct wm_pod *all, unsigned count, struct wm_pods **ret)
{
	struct wm_pods *x = calloc(1, sizeof(*x));
	sigset_t every, before;
	pthread_attr_t attr;
	int r;

	if (x)
		x->device = calloc(count, sizeof(*x->device));
	if (!x || !x->device) {
		free(x);
		free(all);
		return -ENOMEM;
	}
	x->task_link = task_link;
	x->all = all;
	x->count = count;
	sigfillset(&every); /* signals are the loop's */
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	pthread_sigmask(SIG_SETMASK, &every, &before);
	r = pthread_create(&x->thread, &attr, run, x);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	pthread_attr_destroy(&attr);
	x->running = !r;
	if (r)
		wm_pods_free(x);
	else
		*ret = x;
	return -r;
}

const struct wm_pod *wm_pods_result(const struct wm_pods *x, const struct wm_listen_list **ret)
{
	if (!__atomic_load_n(&x->finished, __ATOMIC_ACQUIRE))
		return NULL;
	*ret = x->error ? NULL : &x->found;
	return x->all;
}

void wm_pods_free(struct wm_pods *x)
{
	if (!x)
		return;
	if (x->running)
		pthread_join(x->thread, NULL);
	free(x->found.all);
	free(x->ports);
	free(x->device);
	free(x->all);
	free(x);
}
