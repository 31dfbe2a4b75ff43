/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model metadata resolution dataplane */
/* The unreachable routes of the virtual ranges: made, adopted, removed, and nobody else's touched.
 */
#include "tests/bpf/plane_fixture.h"

#include <arpa/inet.h>
#include <netinet/in.h>

static struct wm_plane_config ranges(void)
{
	struct wm_plane_config c = small();

	c.attach_connect = false;
	c.vip4_base = c.vip4_mask = 0xf0000000;
	memcpy(c.vip6_prefix, "\xfd\x77\x61\x79\x6d\x61\x72\x6b", sizeof(c.vip6_prefix));
	c.vip_route = true;
	return c;
}

/* Lines of `ip route` that match, octets of all of them in @p all. */
static unsigned routes(const char *what, char *all, size_t cap)
{
	char line[256];
	unsigned n = 0;
	FILE *f;

	snprintf(line, sizeof(line),
		 "(ip route show; ip -6 route show) 2>/dev/null | grep -E '%s' | sort", what);
	f = popen(line, "r");
	cr_assert(f);
	if (all)
		*all = '\0';
	while (fgets(line, sizeof(line), f)) {
		n++;
		if (all)
			strncat(all, line, cap - strlen(all) - 1);
	}
	pclose(f);
	return n;
}

static int reach(const char *text)
{
	struct sockaddr_in in = {.sin_family = AF_INET, .sin_port = htons(9)};
	struct sockaddr_in6 in6 = {.sin6_family = AF_INET6, .sin6_port = htons(9)};
	bool v4 = inet_pton(AF_INET, text, &in.sin_addr) == 1;
	int fd = socket(v4 ? AF_INET : AF_INET6, SOCK_DGRAM | SOCK_CLOEXEC, 0), on = 1, r;

	setsockopt(fd, SOL_SOCKET, SO_BROADCAST, &on, sizeof(on));
	if (!v4)
		cr_assert_eq(inet_pton(AF_INET6, text, &in6.sin6_addr), 1);
	r = v4 ? connect(fd, (struct sockaddr *)&in, sizeof(in))
	       : connect(fd, (struct sockaddr *)&in6, sizeof(in6));
	r = r ? errno : 0;
	close(fd);
	return r;
}

/* A default route, as every node has one. */
static void defaults(void)
{
	cr_assert_eq(system("ip link add wm.0 type veth peer name wm.1 && ip link set wm.0 up && "
			    "ip link set wm.1 up && ip addr add 192.0.2.2/24 dev wm.0 && "
			    "ip addr add 2001:db8::2/64 dev wm.0 nodad && "
			    "ip route add default via 192.0.2.1 && "
			    "ip -6 route add default via 2001:db8::1"),
		     0);
}

Test(plane, the_ranges_are_unreachable_for_who_is_not_steered)
{
	static const char *const ours[] = {"240.0.0.1",	      "247.255.255.255",
					   "248.1.1.1",	      "253.9.9.9",
					   "254.255.255.254", "fd77:6179:6d61:726b::1"};
	static const char *const others[] = {"239.1.1.1", "255.255.255.255", "255.1.1.1",
					     "192.0.2.77", "fd77:6179:6d61:726c::1"};
	struct wm_plane_config c = ranges();
	const struct wm_plane_route *r;
	char before[2048], after[2048];
	struct wm_plane *p;
	unsigned n;

	defaults();
	cr_assert_eq(reach(ours[0]), 0, "sent to the default gateway");
	p = open_ok(&c, false);
	attach_ok(p, 1);
	n = wm_plane_routes(p, &r);
	cr_assert_eq(n, 5);
	for (unsigned i = 0; i < n; i++)
		cr_assert_eq(r[i].error, 0, "%s: %s", r[i].prefix, r[i].text);
	cr_assert_str_eq(r[0].prefix, "240.0.0.0/5");
	cr_assert_str_eq(r[4].prefix, "fd77:6179:6d61:726b::/64");
	for (unsigned i = 0; i < sizeof(ours) / sizeof(*ours); i++)
		cr_assert_eq(reach(ours[i]), EHOSTUNREACH, "%s", ours[i]);
	for (unsigned i = 0; i < sizeof(others) / sizeof(*others); i++)
		cr_assert_eq(reach(others[i]), 0, "%s: %s", others[i], strerror(errno));
	cr_assert_eq(routes("unreachable.*proto 119", before, sizeof(before)), 5);
	/* again, and by the next run: the same routes; they outlive the process */
	attach_ok(p, 1);
	wm_plane_close(p);
	cr_assert_eq(reach(ours[0]), EHOSTUNREACH);
	p = open_ok(&c, true);
	attach_ok(p, 1);
	cr_assert_eq(wm_plane_routes(p, &r), 5);
	cr_assert_eq(r[0].error, 0, "%s", r[0].text);
	cr_assert_eq(routes("unreachable.*proto 119", after, sizeof(after)), 5);
	cr_assert_str_eq(before, after);
	wm_plane_close(p);
	cr_assert_geq(wm_plane_detach(pin_dir, false, NULL), 0);
	cr_assert_eq(routes("proto 119", NULL, 0), 0);
	cr_assert_eq(reach(ours[0]), 0);
}

Test(plane, routes_follow_the_settings)
{
	struct wm_plane_config c = ranges();
	char all[512];
	struct wm_plane *p = open_ok(&c, false);

	attach_ok(p, 1);
	wm_plane_close(p);
	c.vip4_base = 0xf1020000;
	c.vip4_mask = 0xffff0000;
	p = open_ok(&c, true);
	attach_ok(p, 1);
	wm_plane_close(p);
	cr_assert_eq(routes("unreachable.*proto 119", all, sizeof(all)), 2);
	cr_assert(strstr(all, "unreachable 241.2.0.0/16 proto 119"), "%s", all);
	c.vip_route = false;
	p = open_ok(&c, true);
	attach_ok(p, 1);
	wm_plane_close(p);
	cr_assert_eq(routes("proto 119", NULL, 0), 0);
}

/* A range inside 255.0.0.0/8 is taken apart to the last bit. */
Test(plane, the_limited_broadcast_is_nobodys_range)
{
	struct wm_plane_config c = ranges();
	struct wm_plane *p;

	defaults();
	c.vip4_base = c.vip4_mask = 0xffffff00;
	p = open_ok(&c, false);
	attach_ok(p, 1);
	cr_assert_eq(routes("unreachable 255.255.255.*proto 119", NULL, 0), 8);
	cr_assert_eq(reach("255.255.255.0"), EHOSTUNREACH);
	cr_assert_eq(reach("255.255.255.254"), EHOSTUNREACH);
	cr_assert_eq(reach("255.255.255.255"), 0);
	wm_plane_close(p);
}

Test(plane, routes_of_others_stay_and_are_preferred)
{
	struct wm_plane_config c = ranges();
	const struct wm_plane_route *r;
	struct wm_plane *p;
	unsigned n;

	defaults();
	/* one that leads to the whole range: none of ours is added */
	cr_assert_eq(system("ip route add 240.0.0.0/4 via 192.0.2.9 proto static"), 0);
	p = open_ok(&c, false);
	attach_ok(p, 1);
	n = wm_plane_routes(p, &r);
	for (unsigned i = 0; i + 1 < n; i++) {
		cr_assert_eq(r[i].error, -EBUSY);
		cr_assert(strstr(r[i].text, "/4"), "%s", r[i].text);
	}
	cr_assert_eq(r[n - 1].error, 0, "the other family: %s", r[n - 1].text);
	cr_assert_eq(routes("unreachable 2.*proto 119", NULL, 0), 0);
	wm_plane_close(p);
	/* more exact ones win over ours, one of the same prefix by its metric, and a range that
	 * somebody made unreachable is no reason for anything */
	cr_assert_eq(system("ip route del 240.0.0.0/4 && "
			    "ip route add 241.0.0.0/8 via 192.0.2.9 proto static && "
			    "ip route add unreachable 248.0.0.0/6 proto static metric 7"),
		     0);
	p = open_ok(&c, true);
	attach_ok(p, 1);
	cr_assert_eq(reach("241.1.1.1"), 0);
	cr_assert_eq(reach("242.1.1.1"), EHOSTUNREACH);
	cr_assert_eq(system("ip route add 240.0.0.0/5 via 192.0.2.9 proto static"), 0);
	cr_assert_eq(reach("242.1.1.1"), 0);
	wm_plane_close(p);
	cr_assert_geq(wm_plane_detach(pin_dir, false, NULL), 0);
	cr_assert_eq(routes("proto 119", NULL, 0), 0);
	cr_assert_eq(routes("proto static", NULL, 0), 3);
}

/* Another agent's, and whoever else uses the number of our protocol. */
Test(plane, routes_of_another_agent_are_left_alone)
{
	struct wm_plane_config c = ranges();
	struct wm_plane *p;

	cr_assert_eq(system("ip route add unreachable 240.0.0.0/5 proto 119 metric 5"), 0);
	p = open_ok(&c, false);
	attach_ok(p, 1);
	cr_assert_eq(routes("unreachable 240.0.0.0/5 proto 119", NULL, 0), 2);
	wm_plane_close(p);
	cr_assert_geq(wm_plane_detach(pin_dir, false, NULL), 0);
	cr_assert_eq(routes("unreachable 240.0.0.0/5 proto 119 metric 5", NULL, 0), 1);
	cr_assert_eq(routes("proto 119", NULL, 0), 1);
}

/* Without the capability it is said, and the rest works on. */
Test(plane, a_route_that_cannot_be_made_is_told)
{
	struct wm_plane_config c = ranges();
	const struct wm_plane_route *r;
	struct wm_err e = {0};
	struct wm_plane *p = open_ok(&c, false);

	drop_cap(CAP_NET_ADMIN);
	(void)wm_plane_attach(p, &e);
	raise_caps();
	cr_assert_eq(wm_plane_routes(p, &r), 5);
	cr_assert_eq(r[0].error, -EPERM);
	cr_assert(strstr(r[0].text, "not permitted"), "%s", r[0].text);
	wm_plane_close(p);
}
