/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry metadata resolution */
/* Services of a scope in the compiled tables, and their names in a cluster's domain. */
#include "tables_help.h"

static const uint8_t none6[16];

/* The next run takes up what the one before left, by its name. */
Test(tables_scope, a_service_of_a_scope_is_adopted)
{
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	struct wanted x;
	int64_t set;

	want(&x, 1, 3);
	x.w.service = "default/web";
	cr_assert_eq(put(t, &x), 0);
	set = wm_tables_set_of(t, "default/web");
	cr_assert_geq(set, 0);
	cr_assert(wm_tables_name_of(t, "web.service.default.ns.mesh.internal"));
	cr_assert(wm_tables_name_of(t, "web.virtual.default.ns.mesh.internal"));
	cr_assert_null(wm_tables_name_of(t, "web.service.mesh.internal"));
	wm_tables_free(t);

	t = tables_new(p);
	cr_assert_eq(wm_tables_adopt(t), 1);
	cr_assert_eq(wm_tables_set_of(t, "default/web"), set, "before anybody puts it");
	cr_assert_eq(put(t, &x), 0);
	cr_assert_eq(wm_tables_set_of(t, "default/web"), set);
	cr_assert_eq(wm_tables_sweep(t), 0);
	wm_tables_free(t);
	free(p);
}

Test(tables_scope, names_in_a_cluster)
{
	static const char name[] = "web.default.svc.cluster.local";
	struct plane *p = plane_new();
	struct wm_tables *t = tables_new(p);
	const struct wm_name *n;

	cr_assert_eq(wm_tables_cluster_put(t, "default/web", 7, none6, NULL), -EINVAL);
	cr_assert_eq(wm_tables_set_cluster(t, "Cluster.Local"), 0);
	cr_assert_eq(wm_tables_cluster_put(t, "web", 7, none6, NULL), -EINVAL, "without a scope");
	cr_assert_eq(wm_tables_cluster_put(t, "default/web", 7, none6, NULL), 0);
	n = wm_tables_name_of(t, name);
	cr_assert(n);
	cr_assert_eq(n->vip4_be, 7);
	cr_assert_eq(wm_tables_cluster_put(t, "default/web", 8, none6, NULL), 0);
	cr_assert_eq(wm_tables_name_of(t, name)->vip4_be, 8);
	cr_assert_eq(wm_tables_cluster_put(t, "default/old", 9, none6, NULL), 0);
	cr_assert_eq(p->names.n, 2);
	wm_tables_free(t);

	/* what is put again stays, what is not goes */
	t = tables_new(p);
	cr_assert_geq(wm_tables_adopt(t), 0);
	cr_assert_eq(wm_tables_sweep(t), 0);
	cr_assert_eq(p->names.n, 2, "who puts them comes later");
	cr_assert_eq(wm_tables_set_cluster(t, "cluster.local"), 0);
	cr_assert_eq(wm_tables_cluster_put(t, "default/web", 8, none6, NULL), 0);
	wm_tables_cluster_sweep(t);
	cr_assert_eq(p->names.n, 1);
	cr_assert_eq(wm_tables_name_of(t, name)->vip4_be, 8);
	wm_tables_cluster_del(t, "default/web");
	wm_tables_cluster_del(t, "default/never");
	cr_assert_eq(p->names.n, 0);
	wm_tables_free(t);
	free(p);
}
