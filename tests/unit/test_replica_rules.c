/* SPDX-License-Identifier: Apache-2.0 */
/* links: base security sync */
/* test_replica_rules.c - one rule each: pages, epochs, stores that were lost or restored, repair,
 * shared objects, tombstones, who was away, brakes. */
#include "replica_net.h"

TestSuite(replica_rules, .timeout = 300);

static void fill(struct agent *a, unsigned from, unsigned to, size_t len)
{
	for (unsigned i = from; i < to; i++) {
		char id[32], text[2048];

		snprintf(id, sizeof(id), "instance-%05u", i);
		for (size_t k = 0; k < len; k++) /* nothing that compresses away */
			text[k] = (char)('!' + net_below(a->net, 90));
		agent_write(a, id, text, len);
	}
}

static void alone(struct net *n, unsigned i, bool on)
{
	for (unsigned j = 0; j < n->count; j++)
		if (i != j)
			n->cut[i][j] = n->cut[j][i] = on;
	net_pass(n, 250);
}

Test(replica_rules, an_empty_agent_joins_in_pages)
{
	struct net *n = net_new(2, 1);

	net_start(n);
	agent_stop(&n->a[1]);
	fill(&n->a[0], 0, 5000, 300);
	net_pass(n, 1000);
	n->a[1].takes = n->a[1].ahead = 0;
	agent_start(&n->a[1]);
	net_link(n);
	cr_assert_lt(net_settle(n, 20000), 20000);
	net_check(n);
	cr_assert_geq(2 * n->a[1].ahead, n->a[1].takes); /* the first pages are news as well */
	cr_assert_geq(stats(&n->a[0]).served, 5000 * 300 / WM_REPLICA_PAGE_MAX);
	cr_assert_leq(stats(&n->a[0]).served, 40);
	cr_assert_leq(n->longest, WM_REPLICA_PAGE_MAX + 4096);
	cr_assert_eq(n->a[1].flaps, 0);
	net_free(n);
}

/* A log that grows while it is pulled: news that was late brings what pages that are asked for
 * ahead were to bring. Nobody did anything wrong. */
Test(replica_rules, pages_and_news_of_a_growing_log_overtake_each_other)
{
	for (uint64_t seed = 1; seed <= 2; seed++) {
		struct net *n = net_new(3, seed);

		net_prove(n);
		n->delay_ms = 40;
		n->loss_pct = 20;
		net_start(n);
		for (unsigned step = 0; step < 100; step++) {
			fill(&n->a[0], 40 * step, 40 * step + 40, 500);
			n->a[1].busy = step % 7 == 0;
			net_pass(n, 10);
		}
		cr_assert_lt(net_settle(n, 20000), 20000);
		cr_assert_eq(n->refused, 0, "seed %llu: %s", (unsigned long long)seed, n->why);
		net_check(n);
		net_free(n);
	}
}

Test(replica_rules, an_object_larger_than_a_page_travels_alone)
{
	struct net *n = net_new(2, 1);
	size_t len = 1 << 20;
	char *big = malloc(len);

	net_start(n);
	net_pass(n, 100);
	for (size_t k = 0; k < len; k++)
		big[k] = (char)net_below(n, 256);
	put(&n->a[0], "before", "x");
	agent_write(&n->a[0], "big", big, len);
	put(&n->a[0], "behind", "y");
	cr_assert_lt(net_settle(n, 10000), 10000);
	net_check(n);
	is(has(&n->a[1], &n->a[0], "behind"), "y");
	free(big);
	net_free(n);
}

Test(replica_rules, what_cannot_be_taken_now_is_asked_for_again)
{
	struct net *n = net_new(2, 1);

	net_start(n);
	net_pass(n, 100);
	n->a[1].busy = 7;
	put(&n->a[0], "a", "1");
	cr_assert_lt(net_settle(n, 10000), 10000);
	is(has(&n->a[1], &n->a[0], "a"), "1");
	cr_assert_eq(n->a[1].busy, 0);
	net_free(n);
}

/* After a cut TCP tries again only after many seconds, in the one direction or the other, while the
 * stream stands: others have the same. */
Test(replica_rules, who_does_not_answer_is_asked_no_more_for_what_others_have)
{
	unsigned long unanswered = 0;

	for (unsigned seed = 1; seed <= 8; seed++) {
		struct net *n = net_new(3, seed);

		net_start(n);
		net_pass(n, 100);
		alone(n, 2, true);
		put(&n->a[0], "a", "1");
		cr_assert_lt(net_settle(n, 3000), 3001); /* of the two; the third is cut */
		n->stuck[2][0] = true;
		alone(n, 2, false);
		cr_assert_lt(net_settle(n, 20000), 2000, "seed %u", seed);
		is(has(&n->a[2], &n->a[0], "a"), "1");
		unanswered += stats(&n->a[2]).unanswered;
		net_free(n);
	}
	cr_assert_gt(unanswered, 0);
}

/* Another goes on where it was, and what came is not told again. */
Test(replica_rules, a_join_goes_on_elsewhere_when_who_tells_falls_silent)
{
	struct net *n = net_new(3, 1);

	net_start(n);
	fill(&n->a[0], 0, 5000, 300);
	cr_assert_lt(net_settle(n, 20000), 20000);
	agent_stop(&n->a[2]);
	store_free(n->a[2].store);
	n->a[2].store = wm_map_new(NET_OBJECTS);
	n->a[2].epoch += 100;
	n->a[2].seq = 0;
	n->cut[1][2] = n->cut[2][1] = true;
	agent_start(&n->a[2]);
	net_link(n);
	for (unsigned ms = 0; ms < 5000 && stats(&n->a[2]).applied < 2000; ms++)
		net_pass(n, 1);
	cr_assert_leq(stats(&n->a[2]).applied, 4000);
	n->stuck[2][0] = true;
	n->cut[1][2] = n->cut[2][1] = false;
	net_link(n);
	cr_assert_lt(net_settle(n, 20000), 20000);
	net_check(n);
	cr_assert_gt(stats(&n->a[2]).unanswered, 0);
	cr_assert_lt(stats(&n->a[2]).stale, 500);
	net_free(n);
}

/* The store is empty, the same services register again, but for some: those go, the others stay as
 * they were for whoever uses them. */
Test(replica_rules, a_log_that_begins_anew_removes_what_is_not_in_it_and_leaves_the_rest)
{
	struct net *n = net_new(3, 1);
	struct agent *a = &n->a[0];
	char id[8], text[32];

	net_start(n);
	for (unsigned i = 0; i < 300; i++) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(text, sizeof(text), "service %u", i);
		put(a, id, text);
	}
	net_settle(n, 5000);
	agent_stop(a);
	store_free(a->store);
	a->store = wm_map_new(NET_OBJECTS);
	a->epoch += 100;
	a->seq = 0;
	agent_start(a);
	for (unsigned i = 0; i < 300; i += i % 10 == 8 ? 2 : 1) {
		snprintf(id, sizeof(id), "i%u", i);
		snprintf(text, sizeof(text), i == 7 ? "changed %u" : "service %u", i);
		put(a, id, text);
	}
	net_link(n);
	cr_assert_lt(net_settle(n, 10000), 10000);
	net_check(n);
	for (unsigned i = 1; i < 3; i++) {
		cr_assert_eq(n->a[i].removed, 30);
		cr_assert_eq(n->a[i].same, 269);
		cr_assert_eq(n->a[i].flaps, 0);
		cr_assert_eq(stats(&n->a[i]).swept, 30);
		is(has(&n->a[i], a, "i7"), "changed 7");
		is(has(&n->a[i], a, "i9"), NULL);
	}
	net_free(n);
}

/* Others know more of its log than it does: it begins another, and its store is what counts. */
Test(replica_rules, a_store_of_last_week_begins_another_epoch)
{
	struct net *n = net_new(3, 1);
	struct agent *a = &n->a[0];
	struct wm_map *old;
	uint64_t seq;
	uint32_t epoch = a->epoch;

	net_start(n);
	put(a, "stays", "1");
	put(a, "changes", "1");
	put(a, "goes", "1");
	net_settle(n, 5000);
	old = store_copy(a->store);
	seq = a->seq;
	put(a, "changes", "2");
	del(a, "goes");
	put(a, "new", "1");
	net_settle(n, 5000);
	agent_stop(a);
	store_free(a->store);
	a->store = old;
	a->seq = seq;
	agent_start(a);
	put(a, "after", "1"); /* written before anybody was met */
	net_link(n);
	cr_assert_lt(net_settle(n, 10000), 10000);
	net_check(n);
	cr_assert_gt(a->epoch, epoch);
	cr_assert_eq(stats(a).restored, 1);
	for (unsigned i = 0; i < 3; i++) {
		is(has(&n->a[i], a, "stays"), "1");
		is(has(&n->a[i], a, "changes"), "1");
		is(has(&n->a[i], a, "goes"), "1");
		is(has(&n->a[i], a, "new"), NULL);
		is(has(&n->a[i], a, "after"), "1");
		cr_assert_eq(n->a[i].flaps, 0);
	}
	net_free(n);
}

/* Equal positions and unequal digests: one store lost an object, and has one that is long gone. */
Test(replica_rules, a_digest_that_differs_under_equal_positions_is_repaired_and_counted)
{
	struct net *n = net_new(3, 1);
	struct agent *a = &n->a[0], *b = &n->a[1];
	struct wm_replica_change extra = {
		.origin = a->id, .key = {"ghost", 5}, .object = "x", .len = 1};
	const struct wm_replica_key k = {"instance-00003", 14};
	struct record *rec;

	net_start(n);
	fill(a, 0, 2000, 20);
	cr_assert_lt(net_settle(n, 10000), 10000);
	agent_stop(b);
	rec = record_get(b, &a->id, false, &k);
	extra.version = rec->c.version;
	wm_map_del(b->store, rec->name, rec->name_len);
	record_free(rec);
	agent_store(b, &extra);
	agent_start(b);
	cr_assert(!net_equal(n));
	cr_assert_lt(net_settle(n, 10000), 10000);
	net_check(n);
	cr_assert_eq(stats(b).repairs, 1);
	cr_assert_eq(stats(a).repairs + stats(&n->a[2]).repairs, 0);
	is(has(b, a, "ghost"), NULL);
	cr_assert_lt(stats(b).applied, 100, "two buckets of 256, not all of it");
	net_free(n);
}

static void conflict_by(const char *rule, const char *winner)
{
	struct net *n = net_new(3, 1);

	n->rule = wm_merge_rule(rule);
	net_start(n);
	net_pass(n, 100);
	shared_write(&n->a[0], "shale", "wax", "old", "1.0.0", 1);
	net_settle(n, 5000);
	alone(n, 0, true);
	shared_write(&n->a[0], "shale", "wax", "versed", "2.0.0", 1);
	net_pass(n, 10);
	shared_write(&n->a[1], "shale", "wax", "urgent", "1.1.0", 2);
	net_pass(n, 10);
	alone(n, 0, false);
	cr_assert_lt(net_settle(n, 10000), 10000);
	for (unsigned i = 0; i < 3; i++)
		is(has_shared(&n->a[i], "shale", "wax"), winner);
	cr_assert_geq(n->a[0].conflicts + n->a[1].conflicts + n->a[2].conflicts, 1, "%s", rule);
	/* what follows it is no conflict, and a removal stands against what it removes */
	n->a[0].conflicts = n->a[1].conflicts = n->a[2].conflicts = 0;
	cr_assert(shared_write(&n->a[2], "shale", "wax", "next", "3.0.0", 3));
	net_settle(n, 5000);
	cr_assert(shared_write(&n->a[1], "shale", "wax", NULL, "3.0.0", 3));
	cr_assert_lt(net_settle(n, 5000), 5000);
	for (unsigned i = 0; i < 3; i++) {
		is(has_shared(&n->a[i], "shale", "wax"), NULL);
		cr_assert_eq(n->a[i].conflicts, 0, "%s", rule);
	}
	net_free(n);
}

Test(replica_rules, the_later_of_two_concurrent_writes_stands)
{
	conflict_by("hlc", "urgent");
}

Test(replica_rules, the_higher_version_of_two_concurrent_writes_stands)
{
	conflict_by("semver", "versed");
}

Test(replica_rules, the_write_of_the_node_of_higher_priority_stands)
{
	conflict_by("priority", "urgent");
}

static unsigned tombs(const struct agent *at)
{
	struct wm_replica_origin o;
	unsigned n = 0;
	size_t pos = 0;

	while (wm_replica_next(at->r, &pos, &o))
		n += o.tombstones;
	return n;
}

static struct net *with_tombstones(unsigned count)
{
	struct net *n = net_new(count, 1);

	n->min_ms = 60000;
	n->max_ms = 180000;
	net_start(n);
	put(&n->a[0], "a", "1");
	put(&n->a[0], "b", "2");
	shared_write(&n->a[0], "shale", "wax", "3", NULL, 0);
	net_settle(n, 5000);
	return n;
}

Test(replica_rules, tombstones_go_when_all_members_passed_them_and_their_time_is_over)
{
	struct net *n = with_tombstones(3);

	del(&n->a[0], "a");
	net_settle(n, 5000);
	net_pass(n, 50000);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(tombs(&n->a[i]), 1);
	net_pass(n, 20000);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_eq(tombs(&n->a[i]), 0);
	cr_assert(net_equal(n), "forgetting changes no digest");
	net_free(n);
}

Test(replica_rules, tombstones_wait_for_a_member_that_is_away_but_not_for_ever)
{
	struct net *n = with_tombstones(3);

	agent_stop(&n->a[2]);
	del(&n->a[0], "a");
	net_pass(n, 120000);
	cr_assert_eq(tombs(&n->a[0]), 1);
	cr_assert_eq(tombs(&n->a[1]), 1);
	net_pass(n, 70000);
	cr_assert_eq(tombs(&n->a[0]), 0);
	cr_assert_eq(tombs(&n->a[1]), 0);
	/* who was away cannot be told any more what was removed: it takes the log anew */
	agent_start(&n->a[2]);
	cr_assert_lt(net_settle(n, 10000), 10000);
	is(has(&n->a[2], &n->a[0], "a"), NULL);
	is(has(&n->a[2], &n->a[0], "b"), "2");
	cr_assert_eq(n->a[2].flaps, 0);
	cr_assert_eq(stats(&n->a[2]).repairs, 0, "that is no fault of digests");
	net_check(n);
	net_free(n);
}

Test(replica_rules, who_is_alone_forgets_no_tombstone)
{
	struct net *n = with_tombstones(2);

	agent_stop(&n->a[1]);
	del(&n->a[0], "a");
	net_pass(n, 1000000);
	cr_assert_eq(tombs(&n->a[0]), 1);
	net_free(n);
}

/* It comes back with objects that died, and whose tombstones are forgotten, and with an agent's log
 * that nobody knows any more. What it wrote itself meanwhile is news. */
Test(replica_rules, who_was_away_too_long_offers_nothing_that_is_not_its_own)
{
	struct net *n = with_tombstones(4);
	struct agent *away = &n->a[3], *left = &n->a[2];

	put(left, "l", "1");
	shared_write(left, "slate", "chalk", "4", NULL, 0);
	net_settle(n, 5000);
	agent_stop(away);
	net_pass(n, 1000);
	shared_write(&n->a[1], "shale", "wax", NULL, NULL, 0);
	agent_stop(left);
	net_pass(n, 1000);
	for (unsigned i = 0; i < 2; i++)
		wm_replica_forget(n->a[i].r, &left->id);
	net_pass(n, 200000);
	is(has(&n->a[0], left, "l"), NULL);
	n->wanted[0][2] = n->wanted[2][0] = n->wanted[1][2] = n->wanted[2][1] = false;
	agent_start(away);
	shared_write(away, "flint", "own", "5", NULL, 0);
	put(away, "mine", "6");
	cr_assert_lt(net_settle(n, 100000), 100000);
	for (unsigned i = 0; i < 4; i++) {
		if (&n->a[i] == left)
			continue;
		is(has_shared(&n->a[i], "shale", "wax"), NULL);
		is(has_shared(&n->a[i], "slate", "chalk"), "4");
		is(has_shared(&n->a[i], "flint", "own"), "5");
		is(has(&n->a[i], away, "mine"), "6");
		is(has(&n->a[i], left, "l"), NULL);
		is(has(&n->a[i], &n->a[0], "b"), "2");
	}
	cr_assert_eq(away->flaps, 0);
	net_free(n);
}

/* Both halves forgot tombstones that the other needs; each knows that it had what it does not have.
 */
Test(replica_rules, halves_that_were_apart_too_long_do_not_wake_the_dead)
{
	struct net *n = with_tombstones(4);

	shared_write(&n->a[2], "slate", "chalk", "4", NULL, 0);
	net_settle(n, 5000);
	net_pass(n, 5000); /* probes: all know that they agree */
	for (unsigned i = 0; i < 2; i++)
		for (unsigned j = 2; j < 4; j++)
			n->cut[i][j] = n->cut[j][i] = true;
	net_pass(n, 1000);
	shared_write(&n->a[0], "shale", "wax", NULL, NULL, 0);
	shared_write(&n->a[3], "slate", "chalk", NULL, NULL, 0);
	shared_write(&n->a[1], "flint", "first", "5", NULL, 0);
	shared_write(&n->a[2], "flint", "second", "6", NULL, 0);
	net_pass(n, 250000);
	for (unsigned i = 0; i < 4; i++)
		cr_assert_eq(stats(&n->a[i]).expired, 1, "%u: %lu", i, stats(&n->a[i]).expired);
	memset(n->cut, 0, sizeof(n->cut));
	cr_assert_lt(net_settle(n, 20000), 20000);
	for (unsigned i = 0; i < 4; i++) {
		is(has_shared(&n->a[i], "shale", "wax"), NULL);
		is(has_shared(&n->a[i], "slate", "chalk"), NULL);
		is(has_shared(&n->a[i], "flint", "first"), "5");
		is(has_shared(&n->a[i], "flint", "second"), "6");
	}
	net_free(n);
}

Test(replica_rules, an_agent_that_left_for_good_does_not_come_back_by_others)
{
	struct net *n = net_new(3, 1);

	net_start(n);
	fill(&n->a[2], 0, 600, 20);
	net_settle(n, 5000);
	agent_stop(&n->a[2]);
	wm_replica_forget(n->a[0].r, &n->a[2].id);
	net_pass(n, 3000); /* the other has not forgotten it yet */
	is(has(&n->a[0], &n->a[2], "instance-00001"), NULL);
	cr_assert_eq(wm_replica_objects(n->a[0].r), 0);
	wm_replica_forget(n->a[1].r, &n->a[2].id);
	cr_assert_lt(net_settle(n, 5000), 5000);
	/* unless it comes itself */
	agent_start(&n->a[2]);
	put(&n->a[2], "back", "1");
	cr_assert_lt(net_settle(n, 20000), 20000);
	is(has(&n->a[0], &n->a[2], "back"), "1");
	net_check(n);
	net_free(n);
}

Test(replica_rules, removals_that_do_not_come_from_their_origin_are_held)
{
	struct net *n = net_new(3, 1);
	struct agent *from = &n->a[0], *relay = &n->a[1], *at = &n->a[2];
	struct wm_replica_held held;
	size_t pos;

	net_start(n);
	fill(from, 0, 100, 20);
	fill(at, 0, 100, 20);
	cr_assert_lt(net_settle(n, 10000), 10000);
	n->wanted[0][2] = n->wanted[2][0] = false;
	agent_stop(at);
	for (unsigned i = 0; i < 70; i++) {
		char id[32];

		snprintf(id, sizeof(id), "instance-%05u", i);
		del(from, id);
	}
	net_pass(n, 1000);
	agent_stop(from);
	agent_start(at);
	net_pass(n, 5000);
	is(has(relay, from, "instance-00001"), NULL);
	cr_assert_not_null(has(at, from, "instance-00001"), "held");
	cr_assert_gt(stats(at).braked, 0);
	cr_assert_geq(at->alarms, 1);
	cr_assert(wm_peer_id_same(&at->about, &relay->id));
	pos = 0;
	cr_assert(wm_replica_next_held(at->r, &pos, &held));
	cr_assert(wm_peer_id_same(&held.origin, &from->id));
	cr_assert(wm_peer_id_same(&held.from, &relay->id));
	cr_assert_eq(held.removals, 70);
	cr_assert_eq(held.names_count, WM_REPLICA_HELD_NAMES);
	cr_assert_eq(held.names_len[0], strlen("instance-00000"));
	cr_assert_not(memcmp(held.names[0], "instance-00000", held.names_len[0]));
	cr_assert_not(wm_replica_next_held(at->r, &pos, &held));
	cr_assert_eq(wm_replica_release(at->r, &at->id), 0);
	cr_assert_eq(wm_replica_release(at->r, &from->id), 1);
	cr_assert_lt(net_settle(n, 10000), 10000);
	is(has(at, from, "instance-00001"), NULL);
	net_free(n);
}

Test(replica_rules, removals_that_come_from_their_origin_are_not_held)
{
	struct net *n = net_new(2, 1);

	net_start(n);
	fill(&n->a[0], 0, 100, 20);
	cr_assert_lt(net_settle(n, 10000), 10000);
	alone(n, 0, true);
	for (unsigned i = 0; i < 100; i++) {
		char id[32];

		snprintf(id, sizeof(id), "instance-%05u", i);
		del(&n->a[0], id);
	}
	alone(n, 0, false);
	cr_assert_lt(net_settle(n, 10000), 10000);
	cr_assert_eq(wm_replica_objects(n->a[1].r), 0);
	cr_assert_eq(stats(&n->a[1]).braked, 0);
	net_free(n);
}

/* Three agents in a line, whose first one removes @p count of 100 objects: the last hears of it by
 * the one between. */
static struct net *with_removals(bool shared, unsigned count)
{
	struct net *n = net_new(3, 1);
	char id[32];

	net_start(n);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "instance-%05u", i);
		if (shared)
			shared_write(&n->a[0], "shale", id, "there", NULL, 0);
		else
			put(&n->a[0], id, "there");
	}
	cr_assert_lt(net_settle(n, 10000), 10000);
	n->wanted[0][2] = n->wanted[2][0] = false;
	net_pass(n, 250);
	for (unsigned i = 0; i < count; i++) {
		snprintf(id, sizeof(id), "instance-%05u", i);
		if (shared)
			shared_write(&n->a[0], "shale", id, NULL, NULL, 0);
		else
			del(&n->a[0], id);
	}
	net_pass(n, 5000);
	cr_assert_eq(wm_replica_objects(n->a[1].r), 100 - count, "its own word is believed");
	return n;
}

static void news_is_held(bool shared)
{
	struct net *n = with_removals(shared, 70);
	struct agent *at = &n->a[2];
	struct wm_replica_held held;
	size_t pos = 0;

	cr_assert_eq(wm_replica_objects(at->r), 100);
	cr_assert_geq(stats(at).braked, 70);
	cr_assert_eq(at->alarms, 1);
	cr_assert(wm_replica_next_held(at->r, &pos, &held));
	cr_assert_eq(held.shared, shared);
	cr_assert(wm_peer_id_same(&held.from, &n->a[1].id));
	cr_assert_eq(held.removals, 70);
	/* it is asked for at who removed it, with whom it has no stream, as soon as one can be */
	n->opens = true;
	cr_assert_lt(net_settle(n, 10000), 10000);
	cr_assert_eq(wm_replica_objects(at->r), 30);
	pos = 0;
	cr_assert_not(wm_replica_next_held(at->r, &pos, &held));
	net_check(n);
	net_free(n);
}

Test(replica_rules, news_of_too_many_removals_is_taken_of_who_removed_alone)
{
	news_is_held(false);
}

Test(replica_rules, news_of_too_many_shared_removals_is_taken_of_who_removed_alone)
{
	news_is_held(true);
}

/* Each has removed so much that it is held, and either tells of the other's as well. */
Test(replica_rules, removals_of_two_writers_are_taken_of_each)
{
	struct net *n = net_new(4, 1);
	struct agent *at = &n->a[3];
	struct wm_replica_held held;
	char id[32];
	size_t pos = 0;

	net_start(n);
	for (unsigned i = 0; i < 100; i++) {
		snprintf(id, sizeof(id), "instance-%05u", i);
		shared_write(&n->a[i % 2], "shale", id, "there", NULL, 0);
	}
	cr_assert_lt(net_settle(n, 10000), 10000);
	alone(n, 3, true);
	for (unsigned i = 0; i < 80; i++) {
		snprintf(id, sizeof(id), "instance-%05u", i);
		shared_write(&n->a[i % 2], "shale", id, NULL, NULL, 0);
	}
	net_pass(n, 2000);
	n->wanted[0][3] = n->wanted[3][0] = n->wanted[1][3] = n->wanted[3][1] = false;
	n->opens = true;
	alone(n, 3, false);
	cr_assert_lt(net_settle(n, 10000), 10000);
	cr_assert_geq(stats(at).braked, 40);
	cr_assert_eq(wm_replica_objects(at->r), 20);
	cr_assert_not(wm_replica_next_held(at->r, &pos, &held));
	net_check(n);
	net_free(n);
}

Test(replica_rules, news_of_some_removals_is_taken_of_anybody)
{
	struct net *n = with_removals(false, 30);

	cr_assert_eq(wm_replica_objects(n->a[2].r), 70);
	cr_assert_eq(stats(&n->a[2]).braked, 0);
	net_free(n);
}

Test(replica_rules, a_clock_that_is_ahead_is_held_back_and_named)
{
	struct net *n = net_new(3, 1);
	struct wm_replica_ahead ahead;
	size_t pos = 0;

	net_start(n);
	net_pass(n, 100);
	n->a[0].offset_ms = 60000;
	shared_write(&n->a[0], "shale", "wax", "of tomorrow", NULL, 0);
	shared_write(&n->a[1], "shale", "chalk", "of today", NULL, 0);
	put(&n->a[0], "own", "has no clock");
	net_pass(n, 10000);
	cr_assert(wm_replica_next_ahead(n->a[1].r, &pos, &ahead));
	cr_assert(wm_peer_id_same(&ahead.writer, &n->a[0].id));
	cr_assert_gt(ahead.by_ms, 40000);
	cr_assert_not(wm_replica_next_ahead(n->a[1].r, &pos, &ahead));
	is(has_shared(&n->a[1], "shale", "wax"), NULL);
	is(has_shared(&n->a[2], "shale", "wax"), NULL);
	is(has_shared(&n->a[0], "shale", "chalk"), "of today");
	is(has(&n->a[2], &n->a[0], "own"), "has no clock");
	cr_assert_gt(stats(&n->a[1]).ahead, 0);
	cr_assert_geq(n->a[1].alarms, 1);
	cr_assert(wm_peer_id_same(&n->a[1].about, &n->a[0].id));
	cr_assert_lt(net_settle(n, 120000), 120000, "when its time has come");
	is(has_shared(&n->a[2], "shale", "wax"), "of tomorrow");
	net_free(n);
}
