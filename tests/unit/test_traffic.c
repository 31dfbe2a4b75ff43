/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry metadata resolution */
/* What was counted of backends is their service's, whichever sets have them. */
#include "tables_help.h"
#include "userspace/base/hash.h"
#include "userspace/resolution/traffic.h"

static uint64_t picks_of(struct wm_tables *t, const char *service)
{
	struct wm_traffic_walk *w = wm_traffic_walk(t);
	struct wm_traffic f;
	uint64_t picks = 0;
	uint32_t set = 0;
	const char *name;

	cr_assert(w);
	while ((name = wm_traffic_next(w, &set, &f)))
		picks += strcmp(name, service) == 0 ? f.picks : 0;
	wm_traffic_done(w);
	return picks;
}

static uint32_t number_of(const char *service)
{
	return (uint32_t)wm_hash_stable(service, strlen(service));
}

static uint32_t index_of(const struct wm_tables *t, const struct wm_want_backend *b)
{
	uint32_t at = 0;

	cr_assert_eq(wm_tables_backends_of(t, b->instance, &at, 1), 1);
	return at;
}

/* s2 fails over to an instance of s1. */
Test(traffic, is_the_services_that_has_the_backend_no_more)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x, y;

	want(&x, 1, 3);
	want(&y, 2, 2);
	y.b[0] = x.b[2];
	y.b[0].service = number_of("s1");
	cr_assert_eq(put(t, &y) + put(t, &x), 0);
	p->live[index_of(t, &x.b[2])].picks = 5;
	cr_expect_eq(picks_of(t, "s1"), 5);
	cr_expect_eq(picks_of(t, "s2"), 0);
	x.w.backends_count = 2;
	cr_assert_eq(put(t, &x), 0);
	cr_expect_eq(picks_of(t, "s1"), 5, "s2 has it alone");
	y.b[0] = y.b[1];
	y.w.backends_count = 1;
	cr_assert_eq(put(t, &y), 0);
	cr_expect_eq(picks_of(t, "s1"), 5, "it left");
	cr_expect_eq(picks_of(t, "s2"), 0);
	wm_tables_free(t);
	free(p);
}

/* s1 is redirected, so none of its sets ever had its instance; and then it goes. */
Test(traffic, is_the_services_that_never_had_the_backend)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x, y;

	want(&x, 1, 1);
	want(&y, 2, 3);
	for (unsigned n = 0; n < 2; n++)
		y.b[n].service = number_of("s1");
	cr_assert_eq(put(t, &y) + put(t, &x), 0);
	p->live[index_of(t, &y.b[0])].picks = 2;
	p->live[index_of(t, &y.b[1])].picks = 3;
	p->live[index_of(t, &y.b[2])].picks = 70;
	cr_expect_eq(picks_of(t, "s1"), 5);
	y.b[0] = y.b[2];
	y.w.backends_count = 1;
	cr_assert_eq(put(t, &y), 0);
	cr_expect_eq(picks_of(t, "s1"), 5);
	cr_expect_eq(picks_of(t, "s2"), 70);
	y.b[0].instance++;
	y.b[0].service = number_of("s1");
	cr_assert_eq(put(t, &y), 0);
	p->live[index_of(t, &y.b[0])].picks = 7;
	wm_tables_del(t, "s1");
	wm_tables_del(t, "s2");
	cr_expect_eq(picks_of(t, "s1") + picks_of(t, "s2"), 0);
	wm_tables_free(t);
	free(p);
}
