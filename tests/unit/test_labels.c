/* SPDX-License-Identifier: Apache-2.0 */
/* links: base model store registry */
/* test_labels.c - virtual addresses of subsets: derived from names, kept, and given up. */
#include "registry_help.h"
#include "userspace/registry/internal.h"

TestSuite(labels, .init = make_dir, .fini = rm_dir, .timeout = 300);

static struct wm_policy_draft d;

/* Write the policy of @p service with the @p n subsets of @p names. */
static int write_subsets(struct wm_registry *r, const char *service, unsigned n,
			 const char *const names[])
{
	struct answer a = {0};

	wm_policy_draft_init(&d, service);
	for (unsigned k = 0; k < n; k++)
		d.subsets[k] = (struct wm_policy_subset){.name = names[k], .filter = ""};
	d.p.subsets_count = n;
	cr_assert_eq(wm_registry_policy_put(r, &d.p, NULL, answered, &a, NULL), 0);
	wm_registry_finish(r);
	cr_assert_eq(a.called, 1);
	return a.code;
}

static struct in_addr vip_of(struct wm_registry *r, const char *service, const char *label)
{
	struct in_addr v4 = {0};
	struct in6_addr v6;

	(void)wm_registry_label(r, service, label, &v4, &v6);
	return v4;
}

Test(labels, a_subset_has_the_same_addresses_everywhere)
{
	static const char *const one[] = {"v1", "v2"}, *const other[] = {"V2"};
	struct wm_registry *a = open_at(db), *b = open_at(NULL);
	const char *label;
	struct in_addr v2;

	cr_assert_eq(write_subsets(a, "web", 2, one), 0);
	cr_assert_eq(write_subsets(b, "WEB", 1, other), 0);
	v2 = vip_of(a, "Web", "v2");
	cr_assert_neq(v2.s_addr, 0);
	cr_assert_neq(v2.s_addr, vip_of(a, "web", "v1").s_addr);
	cr_assert_eq(v2.s_addr, vip_of(b, "web", "v2").s_addr);
	cr_assert_eq(vip_of(a, "web", "v3").s_addr, 0);
	cr_assert_null(wm_registry_service_at4(a, v2, &label), "nothing is registered");
	cr_assert_eq(put(a, "w1", "web", 80), 0);
	cr_assert_eq(wm_registry_service_at4(a, v2, &label), wm_registry_service(a, "web"));
	cr_assert_str_eq(label, "v2");
	wm_registry_service_at4(a, wm_registry_service(a, "web")->vip4, &label);
	cr_assert_str_eq(label, "");
	wm_registry_close(a);
	wm_registry_close(b);
}

/* A range so small that names clash: who came first keeps what it got. */
Test(labels, are_kept_over_a_restart)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f"};
	struct wm_registry_config c = config(db);
	struct in_addr before[6];
	struct wm_registry *r;

	c.vip4_mask = 0xfffffff8;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	for (unsigned n = 1; n <= 6; n++)
		cr_assert_eq(write_subsets(r, "web", n, names), 0);
	for (unsigned n = 0; n < 6; n++) {
		before[n] = vip_of(r, "web", names[n]);
		cr_assert_neq(before[n].s_addr, 0);
	}
	wm_registry_close(r);
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	for (unsigned n = 0; n < 6; n++)
		cr_assert_eq(vip_of(r, "web", names[n]).s_addr, before[n].s_addr, "%u", n);
	wm_registry_close(r);
}

/* One that goes leaves its address to nobody while there is room, and has it again. */
Test(labels, one_that_left_comes_back_with_its_address)
{
	static const char *const two[] = {"v1", "v2"};
	struct wm_registry *r = open_at(db);
	struct answer a = {0};
	struct in_addr v2;
	const char *label;

	cr_assert_eq(put(r, "w1", "web", 80), 0);
	cr_assert_eq(write_subsets(r, "web", 2, two), 0);
	v2 = vip_of(r, "web", "v2");
	cr_assert_eq(write_subsets(r, "web", 1, two), 0);
	cr_assert_eq(vip_of(r, "web", "v2").s_addr, 0);
	cr_assert_null(wm_registry_service_at4(r, v2, &label), "it is nobody's now");
	cr_assert_eq(wm_registry_policy_delete(r, "web", NULL, answered, &a, NULL), 0);
	wm_registry_finish(r);
	cr_assert_eq(vip_of(r, "web", "v1").s_addr, 0);
	wm_registry_close(r);
	r = open_at(db);
	cr_assert_eq(vip_of(r, "web", "v2").s_addr, 0);
	cr_assert_eq(write_subsets(r, "web", 2, two), 0);
	cr_assert_eq(vip_of(r, "web", "v2").s_addr, v2.s_addr);
	wm_registry_close(r);
}

/* No address is left: the policy stands, its subset has none. */
Test(labels, a_range_that_is_used_up_refuses_no_policy)
{
	static const char *const names[] = {"a", "b", "c", "d", "e", "f", "g"};
	struct wm_registry_config c = config(db);
	struct wm_registry *r;
	unsigned have = 0;

	c.vip4_mask = 0xfffffff8;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	cr_assert_eq(write_subsets(r, "web", 7, names), 0);
	for (unsigned n = 0; n < 7; n++)
		have += vip_of(r, "web", names[n]).s_addr != 0;
	cr_assert_eq(have, 6);
	wm_registry_close(r);
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	cr_assert_eq(wm_registry_policies(r), 1);
	wm_registry_close(r);
}

/* Tags have them from when somebody asks; a range so small that names clash. */
Test(labels, of_a_tag_are_kept_from_when_it_is_asked_for)
{
	static const char *const tags[] = {"a", "b", "c", "d", "e", "f"};
	struct wm_registry_config c = config(db);
	struct in_addr before[6];
	struct wm_registry *r;

	c.vip4_mask = 0xfffffff8;
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	for (unsigned n = 0; n < 6; n++) {
		cr_assert_eq(wm_registry_label_give(r, "web", tags[n]), 0);
		before[n] = vip_of(r, "WEB", tags[n]);
		cr_assert_neq(before[n].s_addr, 0);
	}
	wm_registry_finish(r);
	wm_registry_close(r);
	cr_assert_eq(wm_registry_open(&c, &r, NULL), 0);
	cr_assert_eq(vip_of(r, "web", "a").s_addr, 0, "nobody has asked since");
	for (unsigned n = 6; n-- > 0;) {
		cr_assert_eq(wm_registry_label_give(r, "web", tags[n]), 0);
		cr_assert_eq(vip_of(r, "web", tags[n]).s_addr, before[n].s_addr, "%u", n);
	}
	wm_registry_label_retire(r, "web", "a");
	cr_assert_eq(vip_of(r, "web", "a").s_addr, 0);
	wm_registry_close(r);
}
