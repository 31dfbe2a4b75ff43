/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry metadata resolution */
/* Addresses of a source in the tables: what connect() would find at each, by the kernel's code. */
#include "tables_help.h"

#include <netinet/in.h>

static struct plane *plane;

static int wm_frontend_at(const struct wm_view *v, const struct wm_frontend_key *k,
			  struct wm_frontend *ret)
{
	(void)v;
	return hash_get(&plane->fronts, k, ret, sizeof(*ret)) ? WM_PICK_NONE : WM_PICKED;
}
#include "waymark/frontend.h"

#define PASSES	(-1)
#define REFUSED (-2)

static struct wm_want_front front(uint32_t addr4, uint16_t port, uint8_t proto, uint32_t set)
{
	struct wm_want_front f = {.port = port, .proto = proto, .set = set};

	f.addr_be[2] = WM_V4_MAPPED_BE;
	f.addr_be[3] = __builtin_bswap32(addr4);
	return f;
}

/* @return the set, PASSES, REFUSED. */
static int64_t dial(const struct wm_tables *t, uint32_t addr4, uint16_t port, uint8_t proto)
{
	struct wm_want_front f = front(addr4, port, proto, 0);
	uint32_t set = 0;

	if (wm_frontend_find(NULL, f.addr_be, __builtin_bswap16(port), proto, &set) != WM_PICKED)
		return PASSES;
	return wm_tables_refuses(t, set) ? REFUSED : (int64_t)set;
}

static unsigned told;
static int64_t created;
static char why[64];

static void on_unfit(void *arg, const struct wm_want_front *f, const char *text)
{
	(void)arg;
	(void)f;
	told++;
	snprintf(why, sizeof(why), "%s", text);
}

static int fronts(struct wm_tables *t, const char *service, const struct wm_want_front *f,
		  unsigned n)
{
	struct wm_err e = {0};

	told = 0;
	return wm_tables_fronts_put(t, &(struct wm_want_fronts){service, created, f, n}, on_unfit,
				    NULL, &e);
}

#define IP 0x0a60000au /* 10.96.0.10 */

/* A service's own address: its ports lead to its sets, all else is refused. */
Test(fronts, ports_of_an_own_address_are_exact)
{
	struct wm_tables *t = tables_new(plane = plane_new());
	struct wm_want_front f[] = {front(IP, 0, 0, 0), front(IP, 80, IPPROTO_TCP, 7),
				    front(IP, 53, IPPROTO_UDP, 8), front(IP, 80, IPPROTO_TCP, 7)};

	cr_assert_eq(fronts(t, "default/web", f, 4), 0);
	cr_assert_eq(told, 0);
	cr_assert_eq(plane->fronts.n, 3, "once each");
	cr_assert_eq(dial(t, IP, 80, IPPROTO_TCP), 7);
	cr_assert_eq(dial(t, IP, 80, IPPROTO_UDP), REFUSED);
	cr_assert_eq(dial(t, IP, 81, IPPROTO_TCP), REFUSED);
	cr_assert_eq(dial(t, IP, 53, IPPROTO_UDP), 8);
	cr_assert_eq(dial(t, IP + 1, 80, IPPROTO_TCP), PASSES);
	cr_assert_str_eq(wm_tables_front_owner(t, f[0].addr_be), "default/web");
	f[1].set = 9;
	cr_assert_eq(fronts(t, "default/web", f, 2), 0);
	cr_assert_eq(dial(t, IP, 80, IPPROTO_TCP), 9);
	cr_assert_eq(dial(t, IP, 53, IPPROTO_UDP), REFUSED);
	wm_tables_fronts_del(t, "default/web");
	cr_assert_eq(plane->fronts.n, 0);
	wm_tables_free(t);
	free(plane);
}

/* Of an address that services share other ports pass, as long as one of them has it. */
Test(fronts, other_ports_of_a_shared_address_pass)
{
	struct wm_tables *t = tables_new(plane = plane_new());
	struct wm_want_front a[] = {front(IP, 0, 0, 0), front(IP, 80, IPPROTO_TCP, 7)},
			     b[] = {front(IP, 0, 0, 0), front(IP, 443, IPPROTO_TCP, 8),
				    front(IP, 80, IPPROTO_TCP, 8)};

	a[0].shared = b[0].shared = true;
	cr_assert_eq(fronts(t, "default/a", a, 2), 0);
	cr_assert_eq(fronts(t, "default/b", b, 3), 0);
	cr_assert_eq(told, 1);
	cr_assert_str_eq(why, "default/a");
	cr_assert(wm_tables_contested(t, "default/b"));
	cr_assert_eq(dial(t, IP, 80, IPPROTO_TCP), 7);
	cr_assert_eq(dial(t, IP, 443, IPPROTO_TCP), 8);
	cr_assert_eq(dial(t, IP, 22, IPPROTO_TCP), PASSES);
	cr_assert_null(wm_tables_front_owner(t, a[0].addr_be));
	wm_tables_fronts_del(t, "default/a");
	cr_assert_eq(dial(t, IP, 443, IPPROTO_TCP), 8);
	cr_assert_eq(dial(t, IP, 80, IPPROTO_TCP), PASSES);
	cr_assert_eq(fronts(t, "default/b", b, 3), 0);
	cr_assert_eq(told, 0);
	cr_assert_eq(dial(t, IP, 80, IPPROTO_TCP), 8);
	wm_tables_fronts_del(t, "default/b");
	cr_assert_eq(plane->fronts.n, 0);
	wm_tables_free(t);
	free(plane);
}

/* Whoever has an address alone has it with all ports. The other is told, and counted. */
Test(fronts, the_first_keeps_an_address)
{
	struct wm_tables *t = tables_new(plane = plane_new());
	struct wm_want_front a[] = {front(IP, 0, 0, 0), front(IP, 80, IPPROTO_TCP, 7)},
			     b[] = {front(IP, 0, 0, 0), front(IP, 81, IPPROTO_TCP, 8),
				    front(IP + 1, 0, 0, 0), front(IP + 1, 81, IPPROTO_TCP, 8)};
	struct wm_tables_stats s;

	for (unsigned shared = 0; shared < 2; shared++) {
		b[0].shared = shared;
		cr_assert_eq(fronts(t, "default/a", a, 2), 0);
		cr_assert_eq(fronts(t, "default/b", b, 4), 0);
		wm_tables_stats(t, &s);
		cr_assert_eq(s.fronts_contested, 1);
		cr_assert_eq(told, 1);
		cr_assert_str_eq(why, "default/a");
		cr_assert_eq(dial(t, IP, 81, IPPROTO_TCP), REFUSED);
		cr_assert_eq(dial(t, IP + 1, 81, IPPROTO_TCP), 8);
		wm_tables_fronts_del(t, "default/a");
		wm_tables_fronts_del(t, "default/b");
		wm_tables_stats(t, &s);
		cr_assert_eq(s.fronts_contested + s.frontends, 0);
	}
	b[0].unfit = "it is none";
	cr_assert_eq(fronts(t, "default/b", b, 4), 0);
	wm_tables_stats(t, &s);
	cr_assert_eq(s.fronts_unfit, 1);
	cr_assert_str_eq(why, "it is none");
	cr_assert_eq(dial(t, IP, 81, IPPROTO_TCP), PASSES);
	wm_tables_free(t);
	free(plane);
}

/* What does not fit as a whole is not there at all: half of an address would refuse. */
Test(fronts, without_room_all_of_it_passes)
{
	struct wm_tables *t = tables_new(plane = plane_new());
	struct wm_want_front f[] = {front(IP, 0, 0, 0), front(IP, 80, IPPROTO_TCP, 7),
				    front(IP, 81, IPPROTO_TCP, 7)};

	plane->fronts.max = 2;
	cr_assert_eq(fronts(t, "default/web", f, 3), WM_E_FULL);
	cr_assert_eq(plane->fronts.n, 0);
	cr_assert_eq(dial(t, IP, 80, IPPROTO_TCP), PASSES);
	cr_assert_eq(fronts(t, "default/web", f, 2), 0);
	cr_assert_eq(dial(t, IP, 80, IPPROTO_TCP), 7);
	wm_tables_free(t);
	free(plane);
}

/* What an earlier run left is taken over without a write, also where a set has no backend. */
Test(fronts, are_adopted)
{
	struct wm_tables *t = tables_new(plane = plane_new());
	struct wm_want_front f[] = {front(IP, 0, 0, 0), front(IP, 80, IPPROTO_TCP, 0),
				    front(IP, 53, IPPROTO_UDP, 0)};
	struct wanted all, port;
	uint32_t of_all, of_port;

	want(&all, 1, 0);
	want(&port, 1, 2);
	all.w.vip4_be = 0;
	memset(all.w.vip6, 0, sizeof(all.w.vip6));
	all.w.nameless = true;
	all.w.front = &f[1];
	port.w.port = 53;
	port.w.proto = IPPROTO_UDP;
	port.w.front = &f[2];
	for (unsigned run = 0; run < 3; run++) {
		if (run)
			cr_assert_geq(wm_tables_adopt(t), 2);
		plane->fronts.writes = 0;
		cr_assert_eq(wm_tables_put(t, &all.w, &of_all, NULL), 0);
		cr_assert_eq(wm_tables_put(t, &port.w, &of_port, NULL), 0);
		f[1].set = of_all;
		f[2].set = of_port;
		cr_assert_eq(fronts(t, "s1", f, 3), 0);
		cr_assert_eq(wm_tables_sweep(t), 0);
		cr_assert_eq(plane->fronts.writes, run ? 0 : 3, "run %u", run);
		cr_assert_eq(dial(t, IP, 53, IPPROTO_UDP), of_port);
		cr_assert_eq(dial(t, IP, 54, IPPROTO_UDP), REFUSED);
		cr_assert_eq(plane->names.n, 0);
		wm_tables_free(t);
		t = tables_new(plane);
	}
	cr_assert_geq(wm_tables_adopt(t), 2);
	cr_assert_gt(wm_tables_sweep(t), 0); /* nobody wants them */
	cr_assert_eq(plane->fronts.n, 0);
	wm_tables_free(t);
	free(plane);
}
