/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security sync */
/* test_replica.c - logs, gaps, pages, epochs, digests and their repair, between a few agents on a
 * virtual network. */
#include "replica_net.h"

TestSuite(replica, .timeout = 300);

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

Test(replica, the_first_change_goes_at_once_and_a_stream_of_them_gathers)
{
	struct net *n = net_new(2, 1);
	unsigned before;
	char text[16];

	net_start(n);
	net_pass(n, 1000);
	before = n->frames;
	put(&n->a[0], "a", "first");
	net_pass(n, 1);
	cr_assert_eq(n->frames, before + 1, "nothing was there to wait for");
	for (unsigned i = 0; i < 50; i++) {
		snprintf(text, sizeof(text), "%u", i);
		put(&n->a[0], "a", text);
		net_pass(n, 1);
	}
	cr_assert_leq(n->frames - before, 12, "%u messages in 50 ms", n->frames - before);
	net_pass(n, 20);
	is(has(&n->a[1], &n->a[0], "a"), "49");
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

/* Its log is everywhere, also what the tree did not bring, and nobody's is there. */
Test(replica, a_leaf_has_its_own_log_and_no_other)
{
	struct net *n = net_new(4, 1);
	struct agent *leaf = &n->a[2];

	leaf->leaf = n->a[3].leaf = true;
	net_start(n);
	put(leaf, "l", "1");
	put(&n->a[0], "f", "1");
	net_pass(n, 100);
	is(has(&n->a[0], leaf, "l"), "1");
	is(has(&n->a[1], leaf, "l"), "1");
	is(has(&n->a[1], &n->a[0], "f"), "1");
	is(has(leaf, &n->a[0], "f"), NULL);
	is(has(&n->a[3], leaf, "l"), NULL);
	n->drop_news = true;
	put(leaf, "l", "2");
	del(&n->a[0], "f");
	net_pass(n, 20000);
	n->drop_news = false;
	is(has(&n->a[0], leaf, "l"), "2");
	is(has(&n->a[1], leaf, "l"), "2");
	is(has(&n->a[1], &n->a[0], "f"), NULL);
	agent_stop(leaf);
	store_free(leaf->store);
	leaf->store = wm_map_new(1u << 20);
	leaf->seq = 0;
	agent_start(leaf); /* its store was lost */
	net_pass(n, 20000);
	put(leaf, "m", "3");
	net_pass(n, 1000);
	is(has(&n->a[1], leaf, "l"), NULL);
	is(has(&n->a[1], leaf, "m"), "3");
	cr_assert_eq(n->refused, 0, "%s", n->why);
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

static uint64_t age(const struct agent *a)
{
	return wm_replica_step_ms(a->r);
}

/* The longest that one is asked by nobody and asks nobody in net_probe(), and some to exchange. */
#define OFTEN_MS 2000

Test(replica, it_is_known_how_old_what_is_here_may_be)
{
	struct net *n = net_new(3, 1);

	net_start(n);
	put(&n->a[0], "a", "1");
	net_pass(n, 5000);
	for (unsigned i = 0; i < 3; i++)
		cr_expect_lt(age(&n->a[i]), OFTEN_MS, "%u: %lu", i, age(&n->a[i]));
	/* others change all the time, and no two are ever seen equal */
	for (unsigned k = 0; k < 2000; k++) {
		put(&n->a[k % 3], k % 2 ? "a" : "b", k % 5 ? "2" : "3");
		shared_write(&n->a[k % 3], "shale", "wax", k % 2 ? "4" : "5", NULL, 0);
		net_pass(n, 5);
	}
	/* comparisons become rare, every ten seconds, and it says no less */
	for (unsigned i = 0; i < 3; i++)
		cr_expect_lt(age(&n->a[i]), 12000, "%u: %lu", i, age(&n->a[i]));
	/* nobody is heard */
	n->cut[2][0] = n->cut[0][2] = n->cut[2][1] = n->cut[1][2] = true;
	net_pass(n, 30000);
	cr_expect_geq(age(&n->a[2]), 29000, "%lu", age(&n->a[2]));
	cr_expect_lt(age(&n->a[0]), OFTEN_MS, "%lu", age(&n->a[0]));
	memset(n->cut, 0, sizeof(n->cut));
	net_pass(n, 5000);
	cr_expect_lt(age(&n->a[2]), OFTEN_MS, "%lu", age(&n->a[2]));
	/* it is told of changes that it cannot take: what is here grows old, whoever is heard */
	n->a[2].busy = 1 << 30;
	put(&n->a[0], "c", "6");
	net_pass(n, 30000);
	cr_expect_geq(age(&n->a[2]), 28000, "%lu", age(&n->a[2]));
	n->a[2].busy = 0;
	cr_assert_lt(net_settle(n, 10000), 10000);
	net_pass(n, 2000);
	cr_expect_lt(age(&n->a[2]), OFTEN_MS, "%lu", age(&n->a[2]));
	/* over a restart, in which it hears nobody */
	agent_stop(&n->a[2]);
	n->cut[2][0] = n->cut[0][2] = n->cut[2][1] = n->cut[1][2] = true;
	net_pass(n, 60000);
	agent_start(&n->a[2]);
	net_pass(n, 1000);
	cr_expect_geq(age(&n->a[2]), 60000, "%lu", age(&n->a[2]));
	net_free(n);
}
