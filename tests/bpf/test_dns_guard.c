/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security net model store registry metadata resolution dns dataplane */
/* Who may ask the programs of DNS from a pod or a link. */
#include "dns_fixture.h"
#include "userspace/base/prefix.h"

#include <bpf/btf.h>

TestSuite(dns_guard, .init = dns_setup, .fini = dns_teardown, .timeout = 300);

static void allow(const char *a, const char *b)
{
	struct wm_guard_prefix list[2];
	unsigned n = 0;

	if (a)
		cr_assert_eq(wm_prefix_parse(a, &list[n++], NULL), 0);
	if (b)
		cr_assert_eq(wm_prefix_parse(b, &list[n++], NULL), 0);
	cr_assert_eq(wm_plane_guard(plane, list, n), 0);
}

static void from(struct frame *q, const char *client)
{
	bool v6 = strchr(client, ':');

	query_frame(q, v6, "web.service.mesh.internal", 1, 0);
	cr_assert_eq(inet_pton(v6 ? AF_INET6 : AF_INET, client, q->at + ETH + (v6 ? 8 : 12)), 1);
	seal(q);
}

static uint32_t asked_by(const char *client)
{
	struct frame q, a;
	uint32_t verdict;

	from(&q, client);
	verdict = run(WM_PROG_DNS_VETH, &q, &a);
	if (verdict == TC_ACT_REDIRECT)
		check_envelope(&q, &a, true);
	return verdict;
}

Test(dns_guard, only_networks_that_are_allowed)
{
	uint64_t before;

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert_eq(asked_by("192.0.2.1"), TC_ACT_REDIRECT, "everybody, as long as none is told");
	allow("10.0.0.0/8", "fd00:1::/32");
	before = counter(WM_C_DNS_DROP_ALLOW);
	cr_assert_eq(asked_by("10.200.0.1"), TC_ACT_REDIRECT);
	cr_assert_eq(asked_by("fd00:1:2::3"), TC_ACT_REDIRECT);
	cr_assert_eq(counter(WM_C_DNS_DROP_ALLOW), before);
	cr_assert_eq(asked_by("11.0.0.1"), TC_ACT_SHOT);
	cr_assert_eq(asked_by("fd00:2::1"), TC_ACT_SHOT);
	cr_assert_eq(asked_by("::a00:1"), TC_ACT_SHOT, "IPv6 that ends as IPv4");
	cr_assert_eq(counter(WM_C_DNS_DROP_ALLOW), before + 3);
}

Test(dns_guard, who_is_allowed_changes)
{
	add("web", "a", "10.1.2.3", WM_PASSING);
	allow("10.0.0.0/8", "192.0.2.0/24");
	cr_assert_eq(asked_by("10.0.0.1"), TC_ACT_REDIRECT);
	cr_assert_eq(asked_by("192.0.2.9"), TC_ACT_REDIRECT);
	allow("192.0.2.0/24", "198.51.100.7");
	cr_assert_eq(asked_by("10.0.0.1"), TC_ACT_SHOT);
	cr_assert_eq(asked_by("192.0.2.9"), TC_ACT_REDIRECT);
	cr_assert_eq(asked_by("198.51.100.7"), TC_ACT_REDIRECT);
	cr_assert_eq(asked_by("198.51.100.8"), TC_ACT_SHOT);
	for (unsigned i = 0; i < 100; i++) /* nothing old stays to fill the table */
		allow(i % 2 ? "10.0.0.0/8" : "10.1.0.0/16", "192.0.2.0/24");
	allow(NULL, NULL);
	cr_assert_eq(asked_by("198.51.100.8"), TC_ACT_REDIRECT);
}

/* What comes by lo is this node's own, whatever its address. */
Test(dns_guard, this_node_may_always)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	allow("192.0.2.0/24", NULL);
	from(&q, "10.0.0.1");
	cr_assert(answered(&q, &a));
}

/* Nobody learns of userspace by what the kernel does not answer. */
Test(dns_guard, what_would_pass_is_dropped_too)
{
	struct frame q, a;

	allow("192.0.2.0/24", NULL);
	from(&q, "10.0.0.1");
	q.at[q.len - 3] = 33; /* SRV */
	seal(&q);
	cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), TC_ACT_SHOT);
	put16(q.at + q.dns - 6, 8601); /* another port is not ours */
	seal(&q);
	cr_assert_eq(run(WM_PROG_DNS_VETH, &q, &a), (uint32_t)TC_ACT_UNSPEC);
}

static void members_are(const struct btf *btf, uint32_t id, const char *type, const char *member)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	cr_assert(t && btf_is_struct(t), "%s", type);
	cr_assert_str_eq(btf__name_by_offset(btf, t->name_off), type);
	cr_assert_str_eq(btf__name_by_offset(btf, btf_members(t)->name_off), member);
}

/* bpftool shows fields, and not octets. */
Test(dns_guard, its_maps_have_types)
{
	struct bpf_object *o = plane->objects[WM_OBJECT_DNS];
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);
	struct btf *btf;

	cr_assert_eq(bpf_obj_get_info_by_fd(bpf_object__find_map_fd_by_name(o, "dns_allow"), &info,
					    &len),
		     0);
	btf = btf__load_from_kernel_by_id(info.btf_id);
	cr_assert(btf);
	members_are(btf, info.btf_key_type_id, "wm_guard_prefix", "bits");
	members_are(btf, info.btf_value_type_id, "wm_guard_allowed", "told");
	btf__free(btf);
}

#define TEST_IFINDEX 1 /* that a run without a device has: loopback's */
#define TRIES	     50 /* with one a second: what is asked at once is dropped, however slow we are */

static struct wm_pod_asks asks_of(uint32_t ifindex)
{
	int fd = bpf_object__find_map_fd_by_name(plane->objects[WM_OBJECT_DNS], "dns_pods");
	struct wm_pod_asks v = {0};

	cr_assert_eq(bpf_map_lookup_elem(fd, &ifindex, &v), 0);
	return v;
}

Test(dns_guard, what_a_pod_asks_has_a_bound)
{
	unsigned answered = 0, dropped = 0;
	uint64_t before = counter(WM_C_DNS_DROP_POD);

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert_eq(wm_plane_limits(plane, 1, 0), 0);
	for (unsigned i = 0; i < TRIES; i++)
		cr_assert_eq(asked_by("10.0.0.1"), TC_ACT_REDIRECT, "a device that is no pod's");
	wm_pod_asks_begin(plane, TEST_IFINDEX, false);
	for (unsigned i = 0; i < TRIES; i++) {
		uint32_t v =
			asked_by(i % 2 ? "10.0.0.1" : "fd00::1"); /* whatever it calls itself */

		answered += v == TC_ACT_REDIRECT;
		dropped += v == TC_ACT_SHOT;
	}
	cr_assert_eq(answered + dropped, TRIES);
	cr_assert(answered && dropped, "%u, %u", answered, dropped);
	cr_assert_eq(counter(WM_C_DNS_DROP_POD), before + dropped);
	cr_assert_eq(asks_of(TEST_IFINDEX).queries, TRIES);
	cr_assert_eq(asks_of(TEST_IFINDEX).dropped, dropped);
	cr_assert_eq(wm_plane_limits(plane, 0, 0), 0);
	wm_pod_asks_begin(plane, TEST_IFINDEX, false); /* attached again: it goes on */
	cr_assert_eq(asked_by("10.0.0.1"), TC_ACT_REDIRECT, "no bound");
	cr_assert_eq(asks_of(TEST_IFINDEX).queries, TRIES + 1);
	wm_pod_asks_sweep(plane); /* nothing is attached to */
	cr_assert_eq(wm_plane_limits(plane, 1, 0), 0);
	for (unsigned i = 0; i < TRIES; i++)
		cr_assert_eq(asked_by("10.0.0.1"), TC_ACT_REDIRECT, "it is no pod's any more");
}

Test(dns_guard, this_node_has_no_bound)
{
	struct frame q, a;

	add("web", "a", "10.1.2.3", WM_PASSING);
	cr_assert_eq(wm_plane_limits(plane, 1, 0), 0);
	wm_pod_asks_begin(plane, TEST_IFINDEX, false);
	from(&q, "10.0.0.1");
	for (unsigned i = 0; i < TRIES; i++)
		cr_assert(answered(&q, &a));
}
