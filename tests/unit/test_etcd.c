/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model sync */
/* The carrier with a real etcd on loopback: agents in one process that see each other's objects,
 * and what etcd does to them. */
#include "etcd_help.h"
#include "userspace/sync/etcd_internal.h"

static struct etcd_peer etcd;
static struct agent one, two;
static const char *endpoints[2];

static void setup(void)
{
	loop = wm_loop_new();
	cr_assert(loop);
	agent_init(&one, 1);
	agent_init(&two, 2);
	if (!etcd.pid)
		etcd_peer_start(&etcd);
	endpoints[0] = etcd.url;
}

static void teardown(void)
{
	agent_done(&one);
	agent_done(&two);
	wm_loop_free(loop);
	etcd_peer_stop(&etcd);
}

TestSuite(etcd, .init = setup, .fini = teardown, .timeout = 600);

static void both(void)
{
	agent_start(&one, agent_config(&one, endpoints));
	agent_start(&two, agent_config(&two, endpoints));
	until(phase_of(&one) == WM_ETCD_FOLLOWING && phase_of(&two) == WM_ETCD_FOLLOWING);
}

Test(etcd, what_one_registers_the_other_has)
{
	struct wm_etcd_node_state n;
	struct wm_etcd_state s;
	size_t pos = 0;
	unsigned nodes = 0;

	own(&one, "", "the node itself"); /* before: it is in the store */
	own(&one, "web-1", "10.0.0.1:80");
	both();
	until(!strcmp(has(&two, &one, "web-1"), "10.0.0.1:80"));
	cr_assert_str_eq(has(&two, &one, ""), "the node itself");
	own(&one, "web-1", "10.0.0.1:81");
	own(&one, "web/2 %\xff", "another");
	until(!strcmp(has(&two, &one, "web-1"), "10.0.0.1:81") &&
	      !strcmp(has(&two, &one, "web/2 %\xff"), "another"));
	own(&one, "web-1", NULL);
	until(!*has(&two, &one, "web-1"));
	cr_assert_str_eq(has(&two, &one, "web/2 %\xff"), "another");
	until(sees(&one, &two) && sees(&two, &one));
	cr_assert_str_eq(two.seen[0].name, "node1");
	until(!pending(&one) && !pending(&two));
	wm_etcd_state(two.etcd, &s);
	cr_assert_eq(s.nodes, 2);
	cr_assert_eq(s.alive, 2);
	cr_assert(s.cluster && s.revision > 1 && s.lease && s.lease_left_ms);
	cr_assert_str_eq(s.endpoint, etcd.url);
	cr_assert_str_eq(s.error, "");
	while (wm_etcd_next(two.etcd, &pos, &n)) {
		nodes++;
		cr_assert_str_eq(n.version, "1.2.3");
		if (!n.self)
			cr_assert_str_eq(n.address, "10.0.0.1");
	}
	cr_assert_eq(nodes, 2);
	cr_assert_eq(two.alarms + one.alarms, 0, "%s %s", one.alarm, two.alarm);
}

Test(etcd, shared_objects_are_swapped_and_the_newer_one_stands)
{
	static const char key[] = "db\0mysql";
	const size_t len = sizeof(key) - 1;

	both();
	share(&one, key, len, "of one", 0);
	until(!strcmp(has_shared(&two, key, len), "of one"));
	share(&two, key, len, "of two", 0);
	until(!strcmp(has_shared(&one, key, len), "of two"));
	/* both at once: the clock decides, and who lost hears of it */
	share(&one, key, len, "older", 1);
	share(&two, key, len, "newer", 0);
	until(!strcmp(has_shared(&one, key, len), "newer") && !pending(&one) && !pending(&two));
	cr_assert_str_eq(has_shared(&two, key, len), "newer");
	share(&one, key, len, NULL, 0);
	until(!*has_shared(&two, key, len));
	turn_for(200);
	cr_assert_str_eq(has_shared(&one, key, len), "");
}

Test(etcd, a_conflict_is_told_to_who_lost)
{
	static const char key[] = "db\0mysql";
	const size_t len = sizeof(key) - 1;

	agent_start(&two, agent_config(&two, endpoints));
	share(&two, key, len, "newer", 0);
	until(phase_of(&two) == WM_ETCD_FOLLOWING && !pending(&two));
	agent_start(&one, agent_config(&one, endpoints));
	share(&one, key, len, "older", 1000); /* waits until the list */
	until(phase_of(&one) == WM_ETCD_FOLLOWING && !pending(&one));
	cr_assert_str_eq(has_shared(&one, key, len), "newer");
	cr_assert_eq(one.conflicts, 1);
	cr_assert_eq(stats_of(&one).conflicts, 1);
	cr_assert_str_eq(has_shared(&two, key, len), "newer");
}

Test(etcd, a_clock_that_is_ahead_is_held_back_until_its_time)
{
	static const char key[] = "db\0mysql";
	const size_t len = sizeof(key) - 1;
	uint64_t at = wm_clock_wall_ms() + WM_REPLICA_AHEAD_MS + 2000;
	struct wm_version v = {.origin = WM_ORIGIN_SHARED, .seq = at << 16};

	both();
	write_row(&two, (struct wm_replica_change){.version = v}, key, len, "of tomorrow");
	until(stats_of(&one).ahead);
	cr_assert_str_eq(has_shared(&one, key, len), "");
	cr_assert(strstr(one.alarm, "ahead"));
	until(*has_shared(&one, key, len));
	cr_assert_geq(wm_clock_wall_ms() + WM_REPLICA_AHEAD_MS, at);
}

Test(etcd, etcd_killed_and_back_loses_nothing_and_nobody)
{
	both();
	own(&one, "web-1", "before");
	until(!strcmp(has(&two, &one, "web-1"), "before"));
	own(&two, "db-1", "before");
	until(!strcmp(has(&one, &two, "db-1"), "before") && sees(&one, &two) && sees(&two, &one));
	etcd_peer_kill(&etcd);
	own(&one, "web-1", "meanwhile");
	own(&one, "web-2", "meanwhile");
	own(&two, "db-1", NULL);
	until(phase_of(&one) == WM_ETCD_CONNECTING && phase_of(&two) == WM_ETCD_CONNECTING);
	turn_for(3000); /* longer than the lease */
	cr_assert_eq(pending(&one), 2);
	cr_assert_eq(pending(&two), 1);
	cr_assert_str_eq(has(&two, &one, "web-1"), "before");
	cr_assert(*error_of(&one));
	etcd_peer_again(&etcd);
	until(!strcmp(has(&two, &one, "web-1"), "meanwhile") &&
	      !strcmp(has(&two, &one, "web-2"), "meanwhile") && !*has(&one, &two, "db-1"));
	until(!pending(&one) && !pending(&two));
	turn_for(1000);
	cr_assert_eq(changes_seen(&one, &two), 1, "nobody flapped");
	cr_assert_eq(changes_seen(&two, &one), 1);
	cr_assert_eq(two.gone, 0, "nothing was deleted");
	cr_assert_str_eq(error_of(&one), "");
}

Test(etcd, compaction_while_away_is_repaired_by_a_list)
{
	unsigned taken;

	both();
	own(&one, "stays", "as it is");
	own(&one, "changes", "before");
	own(&one, "goes", "before");
	until(*has(&two, &one, "goes") && *has(&two, &one, "changes") && !pending(&one));
	agent_kill(&two);
	own(&one, "changes", "after");
	own(&one, "goes", NULL);
	own(&one, "comes", "after");
	until(!pending(&one));
	/* its store is as it was: what changed comes, what is the same does not */
	taken = two.taken;
	cr_assert_eq(etcd_peer_ctl(&etcd, "put x y"), 0);
	cr_assert_eq(etcd_peer_ctl(&etcd,
				   "compaction --physical $(ETCDCTL_API=3 etcdctl "
				   "--endpoints=%s get x -w fields | "
				   "sed -n 's/^\"Revision\" : //p')",
				   etcd.url),
		     0);
	agent_start(&two, agent_config(&two, endpoints));
	until(*has(&two, &one, "comes") && !*has(&two, &one, "goes") &&
	      !strcmp(has(&two, &one, "changes"), "after"));
	turn_for(200);
	cr_assert_eq(two.taken - taken, 3);
	cr_assert_str_eq(has(&two, &one, "stays"), "as it is");
}

Test(etcd, a_watch_whose_revision_was_compacted_lists_again)
{
	struct etcd_peer *p = &etcd;
	uint64_t lists;

	both();
	own(&one, "web-1", "before");
	until(*has(&two, &one, "web-1") && !pending(&one) && !pending(&two));
	lists = stats_of(&two).lists;
	/* it takes nothing more, so its revision stays behind the compaction */
	two.busy = 1000000;
	own(&one, "web-1", "after");
	own(&one, "web-2", "after");
	until(stats_of(&two).busy && !pending(&one));
	cr_assert_eq(etcd_peer_ctl(p,
				   "compaction --physical $(ETCDCTL_API=3 etcdctl "
				   "--endpoints=%s get x -w fields | "
				   "sed -n 's/^\"Revision\" : //p')",
				   p->url),
		     0);
	etcd_peer_kill(p);
	turn_for(300);
	two.busy = 0;
	etcd_peer_again(p);
	until(!strcmp(has(&two, &one, "web-1"), "after") && *has(&two, &one, "web-2"));
	cr_assert_eq(two.gone, 0);
	cr_assert_geq(stats_of(&two).lists, lists);
}

Test(etcd, a_store_without_room_is_told_again)
{
	both();
	two.busy = 5;
	own(&one, "web-1", "now");
	until(!strcmp(has(&two, &one, "web-1"), "now"));
	cr_assert_eq(stats_of(&two).busy, 5);
	agent_kill(&two);
	two.rows_count = 0;
	two.busy = 5;
	agent_start(&two, agent_config(&two, endpoints));
	until(!strcmp(has(&two, &one, "web-1"), "now"));
	cr_assert_eq(stats_of(&two).busy, 5);
}

Test(etcd, one_of_two_endpoints_is_dead)
{
	const char *pair[] = {"http://127.0.0.1:1", etcd.url, NULL};
	struct wm_etcd_config c = agent_config(&one, pair);
	struct wm_etcd_state s;

	agent_start(&two, agent_config(&two, endpoints));
	for (int n = 0; n < 4; n++) { /* whichever it begins with */
		agent_start(&one, c);
		until(phase_of(&one) == WM_ETCD_FOLLOWING);
		wm_etcd_state(one.etcd, &s);
		cr_assert_str_eq(s.endpoint, etcd.url);
		agent_kill(&one);
	}
	agent_start(&one, c);
	own(&one, "web-1", "over the other");
	until(*has(&two, &one, "web-1"));
}

Test(etcd, a_node_whose_agent_ends_dies_and_comes_back)
{
	both();
	own(&one, "web-1", "stays");
	until(*has(&two, &one, "web-1") && sees(&two, &one));
	agent_kill(&one);
	until(!sees(&two, &one)); /* its lease ran out */
	cr_assert_str_eq(has(&two, &one, "web-1"), "stays");
	cr_assert_eq(two.gone, 0);
	agent_start(&one, agent_config(&one, endpoints));
	until(sees(&two, &one) && phase_of(&one) == WM_ETCD_FOLLOWING);
	cr_assert_eq(changes_seen(&two, &one), 3);
	/* back before the lease ran out: nobody sees that it was away */
	agent_kill(&one);
	agent_start(&one, agent_config(&one, endpoints));
	until(phase_of(&one) == WM_ETCD_FOLLOWING);
	turn_for(3000);
	cr_assert_eq(changes_seen(&two, &one), 3);
	cr_assert_eq(one.alarms, 0, "%s", one.alarm);
	cr_assert_eq(wm_etcd_lives(two.etcd, &one.id), 1);
	/* of its three lives two leases are left, and two of the other */
	until(etcd_peer_ctl(&etcd, "lease list | tail -n +2 | wc -l | grep -qx 4") == 0);
}

Test(etcd, a_lost_lease_is_taken_anew)
{
	struct wm_etcd_state s;

	both();
	until(sees(&two, &one));
	wm_etcd_state(one.etcd, &s);
	cr_assert_eq(etcd_peer_ctl(&etcd, "lease revoke %llx", (unsigned long long)s.lease), 0);
	until(changes_seen(&two, &one) == 3 && sees(&two, &one));
	cr_assert_neq(s.lease, 0);
	own(&one, "web-1", "goes on");
	until(*has(&two, &one, "web-1"));
	cr_assert_eq(one.alarms, 0, "%s", one.alarm);
}

Test(etcd, many_changes_are_few_transactions)
{
	char key[32];

	both();
	for (unsigned n = 0; n < 1000; n++) {
		snprintf(key, sizeof(key), "web-%u", n);
		own(&one, key, "many");
	}
	cr_assert_eq(pending(&one), 1000);
	until(two.taken == 1000 && !pending(&one));
	cr_assert_leq(stats_of(&one).txns, 9);
	/* pages of a list are at one revision */
	agent_kill(&two);
	two.rows_count = two.taken = 0;
	agent_start(&two, agent_config(&two, endpoints));
	until(two.taken == 1000);
}

Test(etcd, a_lower_limit_of_operations_is_found)
{
	char key[32];

	etcd_peer_kill(&etcd);
	etcd_shell("rm -rf %s/data", etcd.dir);
	etcd.args[0] = "--max-txn-ops=20";
	etcd.args[1] = "--max-request-bytes=4000";
	etcd_peer_start(&etcd);
	both();
	for (unsigned n = 0; n < 100; n++) {
		snprintf(key, sizeof(key), "web-%u", n);
		own(&one, key, "some");
		snprintf(key, sizeof(key), "node-%u", n);
		share(&one, key, strlen(key) + 1, "some", 0);
	}
	until(two.taken == 200 && !pending(&one));
}

Test(etcd, what_went_while_all_were_away_goes)
{
	both();
	own(&one, "web-1", "of a lost store");
	own(&one, "web-2", "kept");
	until(*has(&two, &one, "web-1") && *has(&two, &one, "web-2") && !pending(&one));
	agent_kill(&one);
	/* the store was lost: a new epoch, and it knows one of two objects */
	one.rows[0] = one.rows[1];
	one.rows_count = 1;
	one.rows[0].version.epoch = 2;
	agent_start(&one, agent_config(&one, endpoints));
	until(!*has(&two, &one, "web-1"));
	until(!pending(&one) && !pending(&two));
	cr_assert_str_eq(has(&two, &one, "web-2"), "kept");
	cr_assert_eq(row_of(&two, &one.id, false, "web-2", 5)->version.epoch, 2);
}

Test(etcd, a_list_that_lacks_objects_sweeps_them)
{
	both();
	own(&one, "web-1", "stays");
	own(&one, "web-2", "goes");
	own(&one, "web-3", "stays");
	own(&one, "web-4", "stays");
	until(two.taken == 4 && !pending(&one));
	agent_kill(&two);
	own(&one, "web-2", NULL);
	until(!pending(&one));
	/* its tombstone goes too, as after its time */
	cr_assert_eq(
		etcd_peer_ctl(&etcd, "del %so/00000000-0000-0000-0000-000000000001/web-2", PREFIX),
		0);
	agent_start(&two, agent_config(&two, endpoints));
	until(!*has(&two, &one, "web-2"));
	cr_assert_eq(stats_of(&two).swept, 1);
	cr_assert_str_eq(has(&two, &one, "web-4"), "stays");
}

Test(etcd, a_wiped_etcd_is_filled_again_and_nobody_loses)
{
	static const char key[] = "db\0mysql";
	const size_t len = sizeof(key) - 1;
	char text[32];

	both();
	for (unsigned n = 0; n < 10; n++) {
		snprintf(text, sizeof(text), "web-%u", n);
		own(&one, text, "kept");
	}
	share(&one, key, len, "shared", 3 * 86400000ull);
	until(two.taken == 11 && !pending(&one));
	/* one is away while etcd loses everything: two holds what nobody tells it of */
	agent_kill(&one);
	etcd_peer_kill(&etcd);
	etcd_shell("rm -rf %s/data", etcd.dir);
	etcd.args[0] = "--initial-cluster-token=another";
	etcd_peer_again(&etcd);
	until(stats_of(&two).braked == 10);
	cr_assert(strstr(two.alarm, "lacks 10 of 11"), "%s", two.alarm);
	until(phase_of(&two) == WM_ETCD_FOLLOWING && !pending(&two));
	cr_assert_eq(two.gone, 0);
	cr_assert_eq(stats_of(&two).restored, 1, "the shared one");
	/* one comes back, without one of its objects: that goes, when all the others are there */
	one.rows[0] = one.rows[--one.rows_count];
	agent_start(&one, agent_config(&one, endpoints));
	until(two.gone == 1);
	cr_assert_str_eq(has(&two, &one, "web-0"), "");
	cr_assert_str_eq(has(&two, &one, "web-5"), "kept");
	cr_assert_str_eq(has_shared(&one, key, len), "shared");
	cr_assert_str_eq(has_shared(&two, key, len), "shared");
	until(!pending(&one));
}

/* A wiped etcd of one endpoint has the id that it had before, and its first list may be empty. */
Test(etcd, a_wiped_etcd_with_the_same_id_removes_nothing)
{
	char text[32];

	both();
	for (unsigned n = 0; n < 10; n++) {
		snprintf(text, sizeof(text), "web-%u", n);
		own(&one, text, "kept");
	}
	until(two.taken == 10 && !pending(&one) && !pending(&two));
	agent_kill(&one);
	etcd_peer_kill(&etcd);
	/* in the midst of a list: its answer is the first that there is */
	wm_etcd_list_later(two.etcd);
	etcd_shell("rm -rf %s/data", etcd.dir);
	etcd_peer_again(&etcd);
	until(phase_of(&two) == WM_ETCD_FOLLOWING && stats_of(&two).braked == 10);
	cr_assert_eq(two.gone, 0);
	agent_start(&one, agent_config(&one, endpoints));
	until(phase_of(&one) == WM_ETCD_FOLLOWING && !pending(&one));
	until(!strcmp(has(&two, &one, "web-5"), "kept") && sees(&two, &one));
	cr_assert_eq(two.gone, 0);
}

Test(etcd, an_etcd_that_went_back_is_put_forward_again)
{
	both();
	own(&one, "web-1", "before");
	until(*has(&two, &one, "web-1") && !pending(&one) && !pending(&two));
	turn_for(300); /* both told that they have put all */
	etcd_peer_kill(&etcd);
	cr_assert_eq(etcd_shell("cp -r %s/data %s/backup", etcd.dir, etcd.dir), 0);
	etcd_peer_again(&etcd);
	own(&one, "web-1", "after");
	own(&one, "web-2", "after");
	own(&two, "db-1", "after");
	until(!strcmp(has(&two, &one, "web-1"), "after") && *has(&one, &two, "db-1"));
	until(!pending(&one) && !pending(&two));
	etcd_peer_kill(&etcd);
	cr_assert_eq(etcd_shell("cd %s && rm -r data && mv backup data", etcd.dir), 0);
	etcd_peer_again(&etcd);
	until(stats_of(&one).restored >= 1 && stats_of(&two).restored == 1);
	until(phase_of(&one) == WM_ETCD_FOLLOWING && phase_of(&two) == WM_ETCD_FOLLOWING);
	until(!pending(&one) && !pending(&two));
	own(&one, "web-3", "goes on");
	until(*has(&two, &one, "web-3"));
	cr_assert_str_eq(has(&two, &one, "web-1"), "after");
	cr_assert_eq(one.gone + two.gone, 0, "nobody lost anything");
	/* and who begins now sees all of it */
	agent_kill(&two);
	two.rows_count = 0;
	agent_start(&two, agent_config(&two, endpoints));
	until(*has(&two, &one, "web-2") && !strcmp(has(&two, &one, "web-1"), "after"));
}

Test(etcd, what_somebody_deletes_is_put_again_and_nobody_loses_it)
{
	both();
	own(&one, "web-1", "stays");
	until(*has(&two, &one, "web-1") && !pending(&one) && sees(&two, &one));
	cr_assert_eq(etcd_peer_ctl(&etcd, "del --prefix %so/", PREFIX), 0);
	until(stats_of(&one).own >= 2 && !pending(&one));
	turn_for(3000);
	cr_assert_eq(two.gone, 0);
	cr_assert_eq(two.taken, 1);
	cr_assert_str_eq(has(&two, &one, "web-1"), "stays");
}

Test(etcd, a_node_that_is_gone_for_long_is_removed_by_one)
{
	struct wm_etcd_config c = agent_config(&one, endpoints);
	struct agent three;

	agent_init(&three, 3);
	c.forget_s = 2;
	agent_start(&one, c);
	own(&one, "web-1", "goes");
	own(&one, "web-2", "goes");
	agent_start(&two, agent_config(&two, endpoints));
	agent_start(&three, agent_config(&three, endpoints));
	until(two.taken == 2 && three.taken == 2 && !pending(&one));
	agent_kill(&one);
	until(two.forgot == 1 && three.forgot == 1);
	cr_assert(two.gone == 2 && three.gone == 2);
	until(stats_of(&two).forgotten + stats_of(&three).forgotten == 1);
	/* and comes back: all of it is there again */
	agent_start(&one, agent_config(&one, endpoints));
	until(*has(&two, &one, "web-1") && *has(&three, &one, "web-2") && sees(&two, &one));
	agent_done(&three);
}

static void on_left(void *arg)
{
	*(bool *)arg = true;
}

Test(etcd, who_leaves_takes_all_along)
{
	bool left = false;

	both();
	own(&one, "web-1", "goes");
	until(*has(&two, &one, "web-1") && sees(&two, &one));
	wm_etcd_leave(one.etcd, on_left, &left);
	until(left);
	cr_assert_eq(phase_of(&one), WM_ETCD_LEFT);
	until(!*has(&two, &one, "web-1") && !sees(&two, &one));
	until(two.forgot == 1);
}

Test(etcd, a_prefix_of_another_mode_is_refused)
{
	cr_assert_eq(etcd_peer_ctl(&etcd, "put %smode '{\"mode\":\"peers\",\"format\":1}'", PREFIX),
		     0);
	agent_start(&one, agent_config(&one, endpoints));
	own(&one, "web-1", "stays here");
	until(phase_of(&one) == WM_ETCD_REFUSED);
	cr_assert(strstr(one.alarm, PREFIX) && strstr(one.alarm, "peers"), "%s", one.alarm);
	turn_for(500);
	cr_assert_eq(etcd_peer_ctl(&etcd, "get --prefix %so/ --keys-only | grep -q .", PREFIX) == 0,
		     0);
	cr_assert_eq(pending(&one), 1);
}

Test(etcd, two_agents_with_one_id_are_told)
{
	both();
	until(!pending(&one));
	two.id = one.id; /* another host, cloned */
	agent_kill(&two);
	agent_start(&two, agent_config(&two, endpoints));
	own(&two, "web-1", "not mine");
	until(phase_of(&two) == WM_ETCD_REFUSED);
	cr_assert(strstr(two.alarm, "node1") && strstr(two.alarm, "10.0.0.1"), "%s", two.alarm);
	cr_assert_eq(phase_of(&one), WM_ETCD_FOLLOWING);
	cr_assert_eq(one.alarms, 0, "%s", one.alarm);
}

Test(etcd, an_object_that_is_too_large_stays)
{
	static char large[WM_ETCD_OBJECT_MAX + 1];
	struct wm_replica_change c = {.origin = one.id,
				      .version = {.origin = WM_ORIGIN_OWN, .epoch = 1, .seq = 1},
				      .key = {"big", 3},
				      .object = large,
				      .len = sizeof(large)};

	both();
	cr_assert_eq(wm_etcd_own(one.etcd, &c), -EMSGSIZE);
	c.len--;
	c.version.seq++;
	cr_assert_eq(wm_etcd_own(one.etcd, &c), 0);
	until(!pending(
		&one)); /* that one is just taken: two's store here refuses to be that large */
	cr_assert_eq(stats_of(&one).too_large, 1);
	cr_assert_eq(stats_of(&one).own, 1);
	agent_kill(&two);
}

/* --- authentication and TLS
 * ------------------------------------------------------------------------ */

static char password_file[80];

static void write_password(const char *text)
{
	FILE *f;

	snprintf(password_file, sizeof(password_file), "%s/password", etcd.dir);
	f = fopen(password_file, "w");
	cr_assert(f && fputs(text, f) >= 0 && !fclose(f));
}

static void enable_auth(void)
{
	cr_assert_eq(etcd_peer_ctl(&etcd, "user add root:rootpw"), 0);
	cr_assert_eq(etcd_peer_ctl(&etcd, "user grant-role root root"), 0);
	cr_assert_eq(etcd_peer_ctl(&etcd, "user add 'way\"mark:s\\3cret'"), 0);
	cr_assert_eq(etcd_peer_ctl(&etcd, "role add waymark"), 0);
	cr_assert_eq(etcd_peer_ctl(&etcd,
				   "role grant-permission waymark --prefix=true readwrite "
				   "%s",
				   PREFIX),
		     0);
	cr_assert_eq(etcd_peer_ctl(&etcd, "user grant-role 'way\"mark' waymark"), 0);
	cr_assert_eq(etcd_peer_ctl(&etcd, "auth enable"), 0);
}

Test(etcd, a_user_logs_in_and_again_when_its_token_is_refused)
{
	struct wm_etcd_config c = agent_config(&one, endpoints);

	enable_auth();
	write_password("s\\3cret\n");
	c.user = "way\"mark";
	c.password_file = password_file;
	agent_start(&one, c);
	c.id = two.id;
	c.name = two.name;
	c.address = two.address;
	c.arg = &two;
	agent_start(&two, c);
	own(&one, "web-1", "before");
	until(*has(&two, &one, "web-1"));
	cr_assert_eq(stats_of(&one).logins, 1);
	/* another password: the tokens of the old one are refused */
	write_password("an0ther\n");
	cr_assert_eq(etcd_peer_ctl(&etcd,
				   "--user root:rootpw user passwd --interactive=false "
				   "'way\"mark' <%s/password",
				   etcd.dir),
		     0);
	own(&one, "web-1", "after");
	until(!strcmp(has(&two, &one, "web-1"), "after") && phase_of(&one) == WM_ETCD_FOLLOWING);
	cr_assert_geq(stats_of(&one).logins, 2);
	until(phase_of(&two) == WM_ETCD_FOLLOWING);
	cr_assert_eq(two.gone, 0);
}

Test(etcd, a_wrong_password_says_so_and_a_right_one_is_read_again)
{
	struct wm_etcd_config c = agent_config(&one, endpoints);

	enable_auth();
	write_password("wrong");
	c.user = "way\"mark";
	c.password_file = password_file;
	agent_start(&one, c);
	until(strstr(error_of(&one), "password"));
	cr_assert_eq(phase_of(&one), WM_ETCD_CONNECTING);
	write_password("s\\3cret");
	until(phase_of(&one) == WM_ETCD_FOLLOWING);
}

Test(etcd, without_a_user_where_one_is_wanted_says_so)
{
	enable_auth();
	agent_start(&one, agent_config(&one, endpoints));
	until(strstr(error_of(&one), "user name is empty"));
	cr_assert_neq(phase_of(&one), WM_ETCD_FOLLOWING);
}

static void certificates(void)
{
	cr_assert_eq(
		etcd_shell("cd %s && openssl req -x509 -newkey ec -pkeyopt "
			   "ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=ca -keyout ca.key "
			   "-out ca.pem 2>req.log",
			   etcd.dir),
		0);
	for (int n = 0; n < 2; n++) {
		const char *name = n ? "client" : "server";

		cr_assert_eq(etcd_shell("cd %s && openssl req -newkey ec -pkeyopt "
					"ec_paramgen_curve:P-256 -nodes -subj /CN=%s -keyout "
					"%s.key -out %s.csr 2>req.log && echo "
					"subjectAltName=DNS:localhost,IP:%s >ext && openssl "
					"x509 -req -days 2 -in %s.csr -CA ca.pem -CAkey ca.key "
					"-CAcreateserial -extfile ext -out %s.pem 2>req.log",
					etcd.dir, name, name, name, etcd.host, name, name),
			     0);
	}
}

Test(etcd, tls_shows_a_certificate_of_ours)
{
	static char args[4][80], ca[80], cert[80], key[80];
	struct wm_etcd_config c = agent_config(&one, endpoints);

	etcd_peer_kill(&etcd);
	etcd_shell("rm -rf %s/data", etcd.dir);
	certificates();
	snprintf(args[0], sizeof(args[0]), "--cert-file=%s/server.pem", etcd.dir);
	snprintf(args[1], sizeof(args[1]), "--key-file=%s/server.key", etcd.dir);
	snprintf(args[2], sizeof(args[2]), "--trusted-ca-file=%s/ca.pem", etcd.dir);
	snprintf(args[3], sizeof(args[3]), "--client-cert-auth");
	for (unsigned n = 0; n < 4; n++)
		etcd.args[n] = args[n];
	etcd.tls = true;
	etcd_peer_start(&etcd);
	snprintf(ca, sizeof(ca), "%s/ca.pem", etcd.dir);
	snprintf(cert, sizeof(cert), "%s/client.pem", etcd.dir);
	snprintf(key, sizeof(key), "%s/client.key", etcd.dir);
	/* one shows none, and another does not know the authority */
	c.ca_file = ca;
	agent_start(&one, c);
	agent_start(&two, agent_config(&two, endpoints));
	until(stats_of(&one).failed > 1 && stats_of(&two).failed > 1);
	cr_assert_eq(stats_of(&one).txns + stats_of(&two).txns, 0);
	cr_assert(phase_of(&one) == WM_ETCD_CONNECTING && phase_of(&two) == WM_ETCD_CONNECTING);
	agent_kill(&one);
	agent_kill(&two);
	c.cert_file = cert;
	c.key_file = key;
	agent_start(&one, c);
	own(&one, "web-1", "sealed");
	until(phase_of(&one) == WM_ETCD_FOLLOWING && !pending(&one));
}

/* --- what lies there that is not ours
 * ----------------------------------------------------------------- */

Test(etcd, keys_and_values_that_cannot_be_read_harm_nobody)
{
	both();
	cr_assert_eq(
		etcd_peer_ctl(&etcd, "put %so/00000000-0000-0000-0000-000000000001/x junk", PREFIX),
		0);
	cr_assert_eq(etcd_peer_ctl(&etcd, "put %so/junk junk", PREFIX), 0);
	cr_assert_eq(
		etcd_peer_ctl(&etcd, "put %sn/00000000-0000-0000-0000-000000000009 junk", PREFIX),
		0);
	cr_assert_eq(etcd_peer_ctl(&etcd, "put %ss/db/x WE", PREFIX), 0);
	own(&one, "web-1", "goes on");
	until(*has(&two, &one, "web-1"));
	cr_assert_geq(stats_of(&two).malformed, 4);
	agent_kill(&two);
	two.rows_count = 0;
	agent_start(&two, agent_config(&two, endpoints));
	until(*has(&two, &one, "web-1"));
	cr_assert_geq(stats_of(&two).malformed, 4);
	cr_assert_eq(two.gone, 0);
}
