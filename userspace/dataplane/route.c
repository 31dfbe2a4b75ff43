/* SPDX-License-Identifier: Apache-2.0 */
/* route.c - an `unreachable` route for each range of virtual addresses: who is not steered (another
 * cgroup, a forwarded packet) learns at once that nobody is there, instead of sending to the
 * default gateway. Ours are told apart by protocol and metric, the metric made from the pin
 * directory, so that no agent takes another's away. The metric is the worst there is: whoever has a
 * use for the range is preferred, and where a route leads there already, none is added. */
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <net/if.h>
#include <netlink/errno.h>
#include <netlink/msg.h>
#include <netlink/netlink.h>
#include <netlink/route/route.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

#define PROTOCOL    119		/* rtm_protocol, 'w': no routing daemon's */
#define METRIC_BASE 0xff770000u /* the lower half is from the pin directory */
#define STALE_MAX   64		/* routes of ours that one pass removes; a range has 28 at most */

#ifndef NETLINK_GET_STRICT_CHK
#define NETLINK_GET_STRICT_CHK 12 /* Linux 5.0: dumps are filtered in the kernel */
#endif
#ifndef RTM_F_FIB_MATCH
#define RTM_F_FIB_MATCH 0x2000 /* Linux 4.13: the entry of the table, not the path that follows */
#endif

static uint32_t metric_of(const char *pin_dir)
{
	return METRIC_BASE | (uint32_t)(wm_hash_stable(pin_dir, strlen(pin_dir)) & 0xffff);
}

static struct nl_sock *open_socket(int *ret_error)
{
	struct nl_sock *s = nl_socket_alloc();
	int on = 1, r;

	*ret_error = -ENOMEM;
	if (!s)
		return NULL;
	r = nl_connect(s, NETLINK_ROUTE);
	if (r) {
		*ret_error = wm_nl_errno(r);
		nl_socket_free(s);
		return NULL;
	}
	/* without it a dump brings every route, and ours are picked out here */
	(void)setsockopt(nl_socket_get_fd(s), SOL_NETLINK, NETLINK_GET_STRICT_CHK, &on, sizeof(on));
	nl_socket_disable_auto_ack(s);
	return s;
}

/* --- ours --- */
static struct rtnl_route *make(const struct wm_prefix *x, uint32_t metric)
{
	struct rtnl_route *route = rtnl_route_alloc();
	struct nl_addr *dst = nl_addr_build(x->family, x->addr,
					    x->family == AF_INET ? sizeof(struct in_addr)
								 : sizeof(struct in6_addr));

	if (route && dst) {
		nl_addr_set_prefixlen(dst, (int)x->bits);
		rtnl_route_set_family(route, (uint8_t)x->family);
		rtnl_route_set_dst(route, dst);
		rtnl_route_set_table(route, RT_TABLE_MAIN);
		rtnl_route_set_scope(route, RT_SCOPE_UNIVERSE);
		rtnl_route_set_type(route, RTN_UNREACHABLE);
		rtnl_route_set_protocol(route, PROTOCOL);
		rtnl_route_set_priority(route, metric);
	} else if (route) {
		rtnl_route_put(route);
		route = NULL;
	}
	nl_addr_put(dst);
	return route;
}

/* @return 0, -EEXIST (there already), negative errno. */
static int change(const struct wm_prefix *x, uint32_t metric, bool add)
{
	struct rtnl_route *route = make(x, metric);
	struct nl_sock *s;
	int r;

	if (!route)
		return -ENOMEM;
	s = open_socket(&r);
	if (s) {
		nl_socket_enable_auto_ack(s);
		r = add ? rtnl_route_add(s, route, NLM_F_EXCL) : rtnl_route_delete(s, route, 0);
		r = r == -NLE_EXIST ? -EEXIST : r ? wm_nl_errno(r) : 0;
		nl_socket_free(s);
	}
	rtnl_route_put(route);
	return r;
}

struct found {
	uint32_t metric;
	unsigned count;
	struct wm_prefix at[STALE_MAX];
};

static bool is_ours(struct rtnl_route *route, uint32_t metric)
{
	return rtnl_route_get_type(route) == RTN_UNREACHABLE &&
	       rtnl_route_get_protocol(route) == PROTOCOL &&
	       rtnl_route_get_table(route) == RT_TABLE_MAIN &&
	       rtnl_route_get_priority(route) == metric;
}

static struct rtnl_route *parse(struct nl_msg *m)
{
	const struct rtmsg *head = nlmsg_data(nlmsg_hdr(m));
	struct rtnl_route *route = NULL;

	/* a whole table comes from kernels that do not filter: look before taking it apart */
	if (nlmsg_hdr(m)->nlmsg_type != RTM_NEWROUTE || head->rtm_protocol != PROTOCOL ||
	    head->rtm_type != RTN_UNREACHABLE)
		return NULL;
	return rtnl_route_parse(nlmsg_hdr(m), &route) ? NULL : route;
}

static int take(struct nl_msg *m, void *arg)
{
	struct found *f = arg;
	struct rtnl_route *route = parse(m);
	struct wm_prefix *x = &f->at[f->count < STALE_MAX ? f->count : 0];
	struct nl_addr *dst;

	if (!route)
		return NL_OK;
	dst = rtnl_route_get_dst(route);
	if (is_ours(route, f->metric) && dst && f->count < STALE_MAX &&
	    nl_addr_get_len(dst) <= sizeof(x->addr)) {
		memset(x, 0, sizeof(*x));
		x->family = rtnl_route_get_family(route);
		x->bits = nl_addr_get_prefixlen(dst);
		memcpy(x->addr, nl_addr_get_binary_addr(dst), nl_addr_get_len(dst));
		f->count++;
	}
	rtnl_route_put(route);
	return NL_OK;
}

static int find_ours(int family, struct found *f)
{
	struct rtmsg head = {.rtm_family = (uint8_t)family,
			     .rtm_table = RT_TABLE_MAIN,
			     .rtm_protocol = PROTOCOL,
			     .rtm_type = RTN_UNREACHABLE};
	struct nl_sock *s;
	int r;

	s = open_socket(&r);
	if (!s)
		return r;
	nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, take, f);
	r = nl_send_simple(s, RTM_GETROUTE, NLM_F_DUMP, &head, sizeof(head));
	if (r >= 0)
		r = nl_recvmsgs_default(s);
	nl_socket_free(s);
	return r < 0 ? wm_nl_errno(r) : 0;
}

static bool same(const struct wm_prefix *a, const struct wm_prefix *b)
{
	return a->family == b->family && a->bits == b->bits &&
	       !memcmp(a->addr, b->addr, sizeof(a->addr));
}

int wm_routes_remove(const char *pin_dir, const struct wm_prefix *keep, unsigned keep_count)
{
	struct found f = {.metric = metric_of(pin_dir)};
	int r = find_ours(AF_INET, &f), removed = 0;

	if (!r)
		r = find_ours(AF_INET6, &f);
	for (unsigned i = 0; i < f.count; i++) {
		bool kept = false;
		int err;

		for (unsigned k = 0; k < keep_count; k++)
			kept |= same(&f.at[i], &keep[k]);
		err = kept ? 0 : change(&f.at[i], f.metric, false);
		if (err && err != -ESRCH && err != -ENODEV)
			r = err;
		removed += !kept && !err;
	}
	return r ? r : removed;
}

/* --- others' --- */
struct match {
	uint32_t metric;
	unsigned bits; /* of the route that leads there and is not ours; 0: the default or none */
};

static int look(struct nl_msg *m, void *arg)
{
	const struct rtmsg *head = nlmsg_data(nlmsg_hdr(m));
	struct match *f = arg;

	if (nlmsg_hdr(m)->nlmsg_type == RTM_NEWROUTE && !(head->rtm_flags & RTM_F_CLONED) &&
	    head->rtm_protocol != PROTOCOL)
		f->bits = head->rtm_dst_len;
	return NL_OK;
}

/* Bits of the route by which @p x is reached, the default route left out. An error of the question
 * is "none": an unreachable route answers so. */
static unsigned routed_by_others(const struct wm_prefix *x)
{
	struct rtmsg head = {.rtm_family = (uint8_t)x->family,
			     .rtm_dst_len = x->family == AF_INET ? 32 : 128,
			     .rtm_flags = RTM_F_FIB_MATCH};
	struct nl_msg *m = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST);
	size_t len = head.rtm_dst_len / 8;
	struct match f = {0};
	uint8_t addr[16];
	struct nl_sock *s;
	int r;

	memcpy(addr, x->addr, sizeof(addr));
	addr[len - 1] |= 1; /* the first host: some kernels treat the network's address apart */
	s = open_socket(&r);
	if (s && m && !nlmsg_append(m, &head, sizeof(head), NLMSG_ALIGNTO) &&
	    !nla_put(m, RTA_DST, (int)len, addr)) {
		nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, look, &f);
		if (nl_send_auto(s, m) >= 0)
			(void)nl_recvmsgs_default(s);
	}
	nlmsg_free(m);
	nl_socket_free(s);
	return f.bits;
}

/* --- the ranges --- */
/* 255.255.255.255 lies in 240.0.0.0/4 and must stay what it is, so a range that holds it is taken
 * apart, down to the /8 of it (where no virtual address is given, registry/vip.c), or to the last
 * bit where the range lies within that. @return prefixes in @p ret, of WM_PREFIXES_MAX. */
static unsigned split4(uint32_t base, uint32_t mask, struct wm_prefix *ret)
{
	unsigned bits = (unsigned)__builtin_popcount(mask), last = bits < 8 ? 8 : 32, n = 0;
	bool whole = (~base & mask) != 0;

	for (unsigned b = whole ? bits : bits + 1; b <= last; b++) {
		uint32_t net = htonl(whole ? base & mask : ~(1u << (32 - b)) & ~0u << (32 - b));

		ret[n] = (struct wm_prefix){.family = AF_INET, .bits = b};
		memcpy(ret[n++].addr, &net, sizeof(net));
		if (whole)
			break;
	}
	return n;
}

unsigned wm_routes_of(const struct wm_plane_config *c, struct wm_prefix ret[WM_PREFIXES_MAX])
{
	static const uint8_t none[sizeof(c->vip6_prefix)];
	unsigned n = c->vip4_mask ? split4(c->vip4_base, c->vip4_mask, ret) : 0;

	if (memcmp(c->vip6_prefix, none, sizeof(none)) != 0) {
		ret[n] = (struct wm_prefix){.family = AF_INET6, .bits = 64};
		memcpy(ret[n++].addr, c->vip6_prefix, sizeof(c->vip6_prefix));
	}
	return n;
}

void wm_prefix_text(const struct wm_prefix *x, char *buf, size_t cap)
{
	char text[INET6_ADDRSTRLEN] = "?";

	inet_ntop(x->family, x->addr, text, sizeof(text));
	snprintf(buf, cap, "%s/%u", text, x->bits);
}

static int add(const struct wm_prefix *x, uint32_t metric, struct wm_plane_route *ret)
{
	unsigned bits = routed_by_others(x);
	int r = bits ? -EBUSY : change(x, metric, true);

	wm_prefix_text(x, ret->prefix, sizeof(ret->prefix));
	ret->error = r == -EEXIST ? 0 : r;
	if (bits)
		snprintf(ret->text, sizeof(ret->text),
			 "another route (/%u) leads there and is left as it is", bits);
	else if (ret->error)
		snprintf(ret->text, sizeof(ret->text), "adding an unreachable route: %s",
			 strerror(-r));
	return ret->error;
}

int wm_routes_apply(struct wm_plane *p)
{
	struct wm_prefix want[WM_PREFIXES_MAX];
	unsigned n = p->c.vip_route ? wm_routes_of(&p->c, want) : 0;
	int r = 0;

	if (!p->routed) /* those of an earlier run with other settings */
		r = wm_routes_remove(p->c.pin_dir, want, n);
	p->routed = true;
	memset(p->routes, 0, sizeof(p->routes));
	p->routes_count = n;
	for (unsigned i = 0; i < n; i++)
		add(&want[i], metric_of(p->c.pin_dir), &p->routes[i]);
	return r < 0 ? r : 0;
}

unsigned wm_plane_routes(const struct wm_plane *p, const struct wm_plane_route **ret)
{
	*ret = p->routes;
	return p->routes_count;
}

/* --- for people --- */
struct lookup {
	unsigned bits;
	int ifindex;
	bool found;
};

static int see_route(struct nl_msg *m, void *arg)
{
	const struct rtmsg *head = nlmsg_data(nlmsg_hdr(m));
	struct rtnl_route *route = NULL;
	struct lookup *l = arg;
	struct rtnl_nexthop *hop;

	if (nlmsg_hdr(m)->nlmsg_type != RTM_NEWROUTE || rtnl_route_parse(nlmsg_hdr(m), &route))
		return NL_OK;
	hop = rtnl_route_get_nnexthops(route) ? rtnl_route_nexthop_n(route, 0) : NULL;
	l->found = rtnl_route_get_type(route) == RTN_UNICAST ||
		   rtnl_route_get_type(route) == RTN_LOCAL;
	l->bits = head->rtm_dst_len;
	l->ifindex = hop ? rtnl_route_nh_get_ifindex(hop) : 0;
	rtnl_route_put(route);
	return NL_OK;
}

int wm_route_lookup(uint32_t addr4_be, char *buf, size_t cap)
{
	struct rtmsg head = {
		.rtm_family = AF_INET, .rtm_dst_len = 32, .rtm_flags = RTM_F_FIB_MATCH};
	struct nl_msg *m = nlmsg_alloc_simple(RTM_GETROUTE, NLM_F_REQUEST);
	char device[IF_NAMESIZE] = "?";
	struct lookup l = {0};
	struct nl_sock *s;
	int r = -ENOMEM;

	s = open_socket(&r);
	if (s && m && !nlmsg_append(m, &head, sizeof(head), NLMSG_ALIGNTO) &&
	    !nla_put(m, RTA_DST, sizeof(addr4_be), &addr4_be)) {
		nl_socket_modify_cb(s, NL_CB_VALID, NL_CB_CUSTOM, see_route, &l);
		r = nl_send_auto(s, m);
		if (r >= 0)
			r = nl_recvmsgs_default(s);
		r = r < 0 ? wm_nl_errno(r) : 0;
	}
	nlmsg_free(m);
	nl_socket_free(s);
	if (!l.found)
		return r < 0 ? r : -EHOSTUNREACH;
	(void)if_indextoname((unsigned)l.ifindex, device);
	if (l.bits)
		snprintf(buf, cap, "by a route of %u bits through %s", l.bits, device);
	else
		snprintf(buf, cap, "by the default route through %s", device);
	return l.bits != 0;
}
