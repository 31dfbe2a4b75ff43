/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security sync */
/* test_replica_size.c - what a hundred thousand objects take, and that each call is bounded: pages
 * by octets, by changes and by what is looked at, sweeping by objects. */
#include "replica_net.h"
#include "userspace/sync/replica_internal.h"

TestSuite(replica_size, .timeout = 300);

#define MANY 100000

static struct net *many(unsigned count)
{
	struct net *n = net_new(2, 1);
	char id[32];

	n->objects_max = MANY + 100;
	net_start(n);
	agent_stop(&n->a[1]);
	for (unsigned i = 0; i < count; i++) {
		snprintf(id, sizeof(id), "service-web-%06u", i);
		put(&n->a[0], id, "0123456789");
	}
	return n;
}

static size_t sum_of(const struct object *o, size_t *depth)
{
	size_t left = 0, right = 0, sum;

	if (!o)
		return 0;
	/* an allocation has a head of its own and is rounded up */
	sum = (offsetof(struct object, name) + 2 + o->len + 8 + 15) & ~(size_t)15;
	sum += sum_of(o->left, &left) + sum_of(o->right, &right);
	*depth = 1 + (left > right ? left : right);
	return sum;
}

Test(replica_size, an_object_takes_150_octets)
{
	struct net *n = many(MANY);
	const struct wm_replica *r = n->a[0].r;
	size_t depth = 0,
	       octets = sum_of(r->own->root, &depth) + r->objects.cap * sizeof(struct object *);

	cr_assert_eq(wm_replica_objects(r), MANY);
	cr_assert_leq(octets / MANY, 150, "%zu", octets / MANY);
	cr_assert_leq(depth, 80, "%zu: a change costs the logarithm of the objects", depth);
	net_free(n);
}

/* A join of 100,000, then all of them swept. What one call takes is bounded throughout. */
Test(replica_size, a_hundred_thousand_come_and_go_bit_by_bit)
{
	struct net *n = many(MANY);
	struct agent *a = &n->a[0], *b = &n->a[1];

	agent_start(b);
	net_link(n);
	cr_assert_lt(net_settle(n, 60000), 60000);
	cr_assert_eq(wm_replica_objects(b->r), MANY);
	cr_assert_leq(b->most, CHANGES_MAX);
	cr_assert_leq(n->longest, WM_REPLICA_PAGE_MAX + 4096);
	cr_assert_eq(b->flaps, 0);
	agent_stop(a);
	store_free(a->store);
	a->store = wm_map_new(n->objects_max);
	a->epoch += 100;
	a->seq = 0;
	b->most = 0;
	agent_start(a);
	put(a, "only", "this");
	net_link(n);
	cr_assert_lt(net_settle(n, 60000), 60000);
	cr_assert_eq(wm_replica_objects(b->r), 1);
	cr_assert_leq(b->most, SWEEP_MAX);
	cr_assert_eq(b->removed, MANY);
	net_free(n);
}
