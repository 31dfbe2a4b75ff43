/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model store registry metadata resolution dataplane */
/* What connect() would do, asked of the live maps, against what sockets get. */
#include "../unit/chi_square.h"
#include "connect_fixture.h"
#include "userspace/base/macros.h"
#include "userspace/dataplane/ask.h"
#include "userspace/resolution/odds.h"

#define DIALS 5000

static struct wm_want_rule rule;

static void addr_of(const char *text, __be32 ret[4])
{
	union address a;

	fill(&a, text, 0);
	if (a.any.sa_family == AF_INET6) {
		memcpy(ret, &a.in6.sin6_addr, 16);
		return;
	}
	ret[0] = ret[1] = 0;
	ret[2] = WM_V4_MAPPED_BE;
	ret[3] = a.in.sin_addr.s_addr;
}

static int asked(const char *text, uint32_t *ret_set)
{
	__be32 a[4];

	addr_of(text, a);
	return wm_plane_frontend(plane, a, htons(80), IPPROTO_TCP, ret_set);
}

static bool virtual(const char *text)
{
	__be32 a[4];

	addr_of(text, a);
	return wm_plane_is_virtual(plane, a);
}

Test(connect, a_destination_is_whose_it_is_to_programs)
{
	uint32_t set = 99;

	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	for (unsigned i = 0; i < WM_ARRAY_LEN(forms); i++) {
		cr_assert_eq(asked(forms[i].vip, &set), WM_PICKED, "%s", forms[i].vip);
		cr_assert_eq(set, wm_tables_set_of(tables, "web"));
		cr_assert(virtual(forms[i].vip));
	}
	cr_assert_eq(asked("240.1.2.4", &set), WM_PICK_NONE);
	cr_assert(virtual("240.1.2.4") && virtual("fd77::9"));
	cr_assert(!virtual("10.0.0.1") && !virtual("255.255.255.255") && !virtual("fd78::9"));
	cr_assert(wm_plane_connects(plane));
	mem.config->flags &= ~WM_CONFIG_F_CONNECT;
	cr_assert(!wm_plane_connects(plane));
}

Test(connect, who_is_below_the_attached_cgroup_is_told)
{
	uint64_t id = 0, other = 0;
	char path[512], root[128], below[300];
	int fd;

	cr_assert_eq(wm_cgroup_root(root, sizeof(root)), 0);
	snprintf(below, sizeof(below), "%s/below", cgroup);
	cr_assert_eq(mkdir(below, 0700), 0);
	fd = wm_cgroup_open(below, &id);
	cr_assert(fd >= 0);
	close(fd);
	fd = wm_cgroup_open(root, &other);
	cr_assert(fd >= 0);
	close(fd);
	cr_assert_eq(wm_plane_covers(plane, id, path, sizeof(path)), 1);
	cr_assert_str_eq(path, below);
	cr_assert_eq(wm_plane_covers(plane, other, path, sizeof(path)), 0);
	cr_assert_eq(rmdir(below), 0);
	cr_assert_lt(wm_plane_covers(plane, id, path, sizeof(path)), 0, "it is gone");
	cr_assert_str_eq(wm_plane_connect_hook(plane, AF_INET)->name, "connect4");
	cr_assert_str_eq(wm_plane_connect_hook(plane, AF_INET6)->where, cgroup);
}

/* Odds, then so many real sockets. */
static void dials_have_the_odds(const char *what, enum wm_balance balance)
{
	unsigned seen[10] = {0}, weights[10] = {0};
	const struct wm_odds_client c = {.now_ns = 1, .families = WM_FAMILY_4};
	struct wm_view v = wm_tables_view(tables);
	struct wm_odds odds;
	uint32_t set = 0;

	rule.head.balance = (__u8)balance;
	publish();
	for (unsigned i = 0; i < 10; i++)
		mem.live[index_of(i)].open = 10 * (i % 4);
	cr_assert_eq(asked(VIP4, &set), WM_PICKED);
	cr_assert_eq(wm_odds_make(&v, set, &c, &odds), 0);
	for (unsigned i = 0; i < 10; i++)
		seen[i] = (unsigned)picks(i);
	pick(DIALS);
	for (unsigned i = 0; i < 10; i++)
		seen[i] = (unsigned)picks(i) - seen[i];
	for (uint32_t n = 0; n < odds.count; n++)
		for (unsigned i = 0; i < 10; i++)
			if (index_of(i) == odds.candidates[n].backend)
				weights[i] += (unsigned)lround(odds.candidates[n].odds * 1e6);
	chi_square(what, seen, weights, 10);
	wm_odds_done(&odds);
}

Test(connect, sockets_get_what_the_odds_were)
{
	rule = (struct wm_want_rule){.head = {.tiers = 2},
				     .spread = {.way[0] = {.carries_pct = WM_TIERS_CARRY_PCT}}};
	want.rule = &rule;
	for (unsigned i = 0; i < 10; i++) {
		backend(i, "127.9.9.9", (uint16_t)(1000 + i), 1 + i % 3,
			i % 5 == 2 ? WM_STATE_DOWN : WM_STATE_UP);
		wants[i].tiers = i < 4 ? 1 : 2;
	}
	publish();
	wm_tables_cut(tables);
	dials_have_the_odds("weighted", WM_BALANCE_WEIGHTED);
	dials_have_the_odds("random", WM_BALANCE_RANDOM);
	dials_have_the_odds("least_connections", WM_BALANCE_LEAST_CONNECTIONS);
	rule.head.tiers = 1; /* a table of consistent hashing is large */
	for (unsigned i = 0; i < 10; i++)
		wants[i].tiers = 1;
	dials_have_the_odds("maglev", WM_BALANCE_MAGLEV);
}

Test(connect, whom_a_client_keeps_is_told)
{
	uint32_t set = 0, kept = 99;
	uint64_t left_ns = 0;

	rule = (struct wm_want_rule){
		.head = {.tiers = 1, .flags = 1 + WM_HASH_ON_UID, .affinity_s = 60}};
	want.rule = &rule;
	backend(0, "127.9.9.9", 1000, 1, WM_STATE_UP);
	publish();
	cr_assert_eq(asked(VIP4, &set), WM_PICKED);
	cr_assert(!wm_plane_kept(plane, set, getuid(), &kept, &left_ns));
	pick(1);
	cr_assert(wm_plane_kept(plane, set, getuid(), &kept, &left_ns));
	cr_assert_eq(kept, index_of(0));
	cr_assert(left_ns > 0 && left_ns <= 60ull * WM_NS_PER_S);
	cr_assert(!wm_plane_kept(plane, set, getuid() + 1, &kept, &left_ns));
	cr_assert(!wm_plane_kept(plane, set + 1, getuid(), &kept, &left_ns));
}

Test(connect, who_is_refused_was_to_be)
{
	const struct wm_odds_client c = {.now_ns = 1, .families = WM_FAMILY_4};
	struct wm_view v = wm_tables_view(tables);
	struct wm_odds odds;
	uint32_t set = 0;
	int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);

	backend(0, "127.9.9.9", 1000, 1, WM_STATE_DOWN);
	publish();
	cr_assert_eq(asked(VIP4, &set), WM_PICKED);
	cr_assert_eq(wm_odds_make(&v, set, &c, &odds), 0);
	cr_assert_eq(odds.refused, 1);
	cr_assert_str_eq(odds.candidates[0].why_not, "down");
	cr_assert_eq(dial(fd, VIP4, 80), ECONNREFUSED);
	close(fd);
	wm_odds_done(&odds);
}
