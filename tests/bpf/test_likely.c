/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Which set is read while an entry is looked up (waymark/likely.h): it is the entry's own, and
 * where it is not, the answer is the same. That connect() does not care either: test_connect_prog.
 */
#include "dns_fixture.h"
#include "userspace/base/macros.h"

TestSuite(likely, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

static unsigned places_of(unsigned map, int64_t set)
{
	const struct wm_likely *l = plane->mem[map];
	unsigned n = 0;

	for (uint32_t i = 0; i < wm_map_entries(&plane->c, map) * WM_LIKELY_SETS; i++)
		n += l[i / WM_LIKELY_SETS].set[i % WM_LIKELY_SETS] == set;
	return n;
}

Test(likely, names_and_addresses_tell_their_set)
{
	int64_t set;

	add("api", "a", "10.1.2.3", WM_PASSING); /* has the first set, as have places of nobody */
	add("web", "b", "10.1.2.4", WM_PASSING);
	set = wm_tables_set_of(tables, "web");
	cr_assert_gt(set, 0);
	cr_assert_eq(places_of(WM_MAP_NAME_SETS, set), 2, "of the service and of its address");
	cr_assert_eq(places_of(WM_MAP_FRONTEND_SETS, set), 2, "of either family");
}

Test(likely, a_wrong_set_changes_no_answer)
{
	static const uint32_t wrong[] = {0, 1, 77, UINT32_MAX};
	struct wm_likely *l = plane->mem[WM_MAP_NAME_SETS];
	uint32_t places = wm_map_entries(&plane->c, WM_MAP_NAME_SETS) * WM_LIKELY_SETS;

	add("api", "a", "10.1.2.3", WM_PASSING);
	add("web", "b", "10.1.2.4", WM_PASSING);
	for (unsigned i = 0; i < WM_ARRAY_LEN(wrong); i++) {
		struct frame q, a;

		for (uint32_t k = 0; k < places; k++)
			l[k / WM_LIKELY_SETS].set[k % WM_LIKELY_SETS] = wrong[i];
		query_frame(&q, false, "web.service.mesh.internal", 1, 0);
		cr_assert(answered(&q, &a), "%u", wrong[i]);
		cr_assert_eq(memcmp(a.at + a.len - 4, "\x0a\1\2\4", 4), 0, "%u", wrong[i]);
		query_frame(&q, false, "none.service.mesh.internal", 1, 0);
		cr_assert(!answered(&q, &a) || (a.at[a.dns + 3] & 15) == WM_DNS_NXDOMAIN, "%u",
			  wrong[i]);
	}
}
