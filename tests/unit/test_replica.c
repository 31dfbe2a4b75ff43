/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_replica.c - logs, gaps, pages, epochs, digests and their repair, between a few agents on a
 * virtual network. */
#include "replica_net.h"

TestSuite(replica, .timeout = 60);

Test(replica, a_change_is_at_all_within_a_batch_and_the_network)
{
	struct net *n = net_new(3, 1);

	net_start(n);
	put(&n->a[0], "web-1", "one");
	put(&n->a[0], "", "node a");
	net_pass(n, 5 + 2 * 5 + 1);
	for (unsigned i = 0; i < 3; i++) {
		is(has(&n->a[i], &n->a[0], "web-1"), "one");
		is(has(&n->a[i], &n->a[0], ""), "node a");
	}
	del(&n->a[0], "web-1");
	net_pass(n, 16);
	is(has(&n->a[2], &n->a[0], "web-1"), NULL);
	cr_assert(net_equal(n));
	net_check(n);
	cr_assert_eq(stats(&n->a[1]).gaps, 0);
	net_free(n);
}

Test(replica, what_flips_within_a_batch_travels_once)
{
	struct net *n = net_new(2, 1);

	net_start(n);
	put(&n->a[0], "a", "first");
	net_pass(n, 50);
	for (unsigned i = 0; i < 100; i++)
		put(&n->a[0], "a", i % 2 ? "up" : "down");
	put(&n->a[0], "b", "b");
	put(&n->a[0], "a", "last");
	net_pass(n, 50);
	is(has(&n->a[1], &n->a[0], "a"), "last");
	is(has(&n->a[1], &n->a[0], "b"), "b");
	cr_assert_eq(stats(&n->a[0]).own, 3);
	cr_assert_eq(stats(&n->a[1]).applied, 3);
	cr_assert_eq(stats(&n->a[1]).gaps, 0, "numbers that were passed over are no gap");
	cr_assert(net_equal(n));
	net_free(n);
}

Test(replica, a_gap_is_pulled)
{
	struct net *n = net_new(2, 1);

	net_start(n);
	put(&n->a[0], "a", "1");
	net_pass(n, 50);
	n->drop_news = true;
	put(&n->a[0], "b", "2");
	del(&n->a[0], "a");
	net_pass(n, 50);
	is(has(&n->a[1], &n->a[0], "b"), NULL);
	n->drop_news = false;
	put(&n->a[0], "c", "3");
	net_pass(n, 50);
	is(has(&n->a[1], &n->a[0], "a"), NULL);
	is(has(&n->a[1], &n->a[0], "b"), "2");
	is(has(&n->a[1], &n->a[0], "c"), "3");
	cr_assert_eq(stats(&n->a[1]).gaps, 1);
	cr_assert(net_equal(n));
	net_check(n);
	net_free(n);
}

/* Its last change was lost, so no gap shows: summaries that stay different do. */
Test(replica, what_the_tree_lost_is_found_by_summaries)
{
	struct net *n = net_new(3, 1);

	net_start(n);
	put(&n->a[0], "a", "1");
	net_pass(n, 50);
	n->drop_news = true;
	put(&n->a[0], "b", "2");
	shared_write(&n->a[1], "shale", "wax", "3", NULL, 0);
	cr_assert_lt(net_settle(n, 10000), 10000);
	is(has(&n->a[2], &n->a[0], "b"), "2");
	is(has_shared(&n->a[2], "shale", "wax"), "3");
	net_check(n);
	net_free(n);
}
