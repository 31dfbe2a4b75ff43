/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_member_rules.c - the rules of the membership, each by its name, among members whose clocks
 * are hours apart: what is suspected and refuted, whom a pause harms, and who has which name. */
#include "member_net.h"
#include "userspace/sync/member_internal.h"

TestSuite(member_rules, .fini = net_end, .timeout = 600);

static struct wm_member_stats stats_of(const struct net_member *m)
{
	struct wm_member_stats s;

	wm_members_stats(m->ms, &s);
	return s;
}

/* Until all have it for failed. @return ms. */
static unsigned until_failed(const struct net_member *m)
{
	unsigned ms = 0, others = 0;

	for (unsigned i = 0; i < net.count; i++)
		others += net.m[i] != m && net.m[i]->ms && !net.m[i]->silent;
	for (; ms < 60000; ms += 20) {
		if (net_have(m, WM_MEMBER_FAILED) >= others)
			return ms;
		net_pass(20);
	}
	return ms;
}

Test(member_rules, clocks_that_are_hours_apart_do_not_matter)
{
	net_begin(10, 1);
	net_pass(60000);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(wm_members_alive(net.m[i]->ms), 10, "%u", i);
	cr_assert_neq(net.m[0]->v.ns, net.m[1]->v.ns);
	cr_assert_eq(net_events(WM_MEMBER_SUSPECTED), 0);
	cr_assert_eq(net_events(WM_MEMBER_JOINED), 90);
}

Test(member_rules, killed_ones_are_failed_within_three_seconds_without_suspicion)
{
	for (unsigned seed = 0; seed < 10; seed++) {
		net_begin(50, seed);
		net_pass(2000);
		net_kill(net.m[7]);
		cr_assert_leq(until_failed(net.m[7]), 3000, "seed %u", seed);
		cr_assert_eq(net_events(WM_MEMBER_SUSPECTED), 0);
		net_end();
	}
	net_begin(0, 1);
}

Test(member_rules, a_stream_that_breaks_is_looked_after_at_once)
{
	struct wm_peer_id id = {0};

	net_begin(50, 3);
	net_kill(net.m[7]);
	id.octets[0] = 7;
	wm_members_doubt(net.m[9]->ms, &id);
	cr_assert_leq(until_failed(net.m[7]), 600);
}

Test(member_rules, silent_ones_are_failed_within_six_seconds)
{
	unsigned longer = 0;

	for (unsigned seed = 0; seed < 20; seed++) {
		net_begin(50, seed);
		net_pass(2000);
		net.m[7]->silent = true;
		longer += until_failed(net.m[7]) > 6000;
		net_end();
	}
	cr_assert_eq(longer, 0);
	net_begin(0, 1);
}

Test(member_rules, a_refusal_that_nobody_confirms_is_not_believed)
{
	struct wm_peer_addr at;

	net_begin(10, 4);
	net_pass(2000);
	at = net_addr(3);
	for (unsigned i = 0; i < 100; i++) { /* somebody forges ICMP */
		wm_members_refused(net.m[0]->ms, &at);
		net_pass(50);
	}
	cr_assert_eq(net_events(WM_MEMBER_DIED), 0);
}

Test(member_rules, a_suspicion_is_refuted_by_a_higher_incarnation)
{
	uint32_t before;

	net_begin(10, 5);
	net_pass(2000);
	before = wm_members_self(net.m[3]->ms)->incarnation;
	net.m[3]->paused_until_ns = net.ns + 2300 * WM_NS_PER_MS;
	net_pass(10000);
	cr_assert_gt(net_events(WM_MEMBER_SUSPECTED), 0);
	cr_assert_eq(net_events(WM_MEMBER_SUSPECTED), net_events(WM_MEMBER_REFUTED));
	cr_assert_eq(net_events(WM_MEMBER_DIED), 0);
	cr_assert_gt(net_seen(net.m[0], net.m[3])->incarnation, before);
	cr_assert_gt(stats_of(net.m[3]).refutations, 0);
}

/* Lifeguard 4.2: log(c + 1) / log(k + 1) of the way from the longest to the shortest. */
Test(member_rules, a_suspicion_shortens_as_others_confirm_it)
{
	const struct wm_member_timers *t;
	unsigned last, now;

	net_begin(30, 6);
	t = net.timers;
	last = member_suspicion_ms(net.m[0]->ms, 0);
	now = member_suspicion_ms(net.m[0]->ms, t->suspicion_confirmations);
	cr_assert_geq(now, t->suspicion_min);
	cr_assert_leq(now, t->suspicion_min + 2 * t->suspicion_mult * t->gossip_interval);
	cr_assert(last + 4 > now * t->suspicion_max_mult &&
		  last < (now + 1) * t->suspicion_max_mult);
	cr_assert_eq(member_suspicion_ms(net.m[0]->ms, 100), now);
	for (unsigned c = 1; c <= t->suspicion_confirmations; c++) {
		now = member_suspicion_ms(net.m[0]->ms, c);
		cr_assert_lt(now, last);
		last = now;
	}
}

/* What is believed already is not told again to all by each that heard it. */
Test(member_rules, more_confirmations_than_count_are_no_news)
{
	uint32_t tags[] = {1, 2, 3, 4, 5, 6};
	struct wm_peer_id id = {0};
	struct node *n;

	net_begin(30, 6);
	net_pass(2000);
	id.octets[0] = 7;
	n = member_find(net.m[0]->ms, &id);
	cr_assert_eq(net.timers->suspicion_confirmations, 3);
	member_suspect(n, n->m.incarnation, tags, 4);
	cr_assert(n->queued);
	cr_assert_eq(n->doubt->tags_count, 4);
	member_untell(n);
	member_suspect(n, n->m.incarnation, tags, 6);
	cr_assert_not(n->queued);
	cr_assert_eq(n->doubt->tags_count, 4);
}

Test(member_rules, who_pauses_for_a_moment_is_not_suspected)
{
	net_begin(20, 16);
	net_pass(2000);
	for (unsigned i = 0; i < 20; i++) {
		net.m[i]->paused_until_ns = net.ns + 1600 * WM_NS_PER_MS;
		net_pass(3000);
	}
	cr_assert_eq(net_events(WM_MEMBER_SUSPECTED), 0);
}

Test(member_rules, who_is_cut_off_doubts_itself_and_probes_less)
{
	uint64_t probes;
	struct wm_member_stats s;

	net_begin(20, 7);
	net_pass(2000);
	net.m[4]->part = 1;
	net_pass(3000);
	s = stats_of(net.m[4]);
	cr_assert_gt(s.awareness, 2);
	probes = stats_of(net.m[5]).probes;
	cr_assert_lt(s.probes, probes);
	net.m[4]->part = 0;
	net_pass(120000);
	cr_assert_eq(stats_of(net.m[4]).awareness, 0);
}

Test(member_rules, who_paused_itself_judges_nobody)
{
	net_begin(10, 8);
	for (unsigned i = 0; i < 20; i++) {
		net_pass(3000);
		net.m[2]->paused_until_ns = net.ns + 1900 * WM_NS_PER_MS;
	}
	net_pass(10000);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(stats_of(net.m[i]).failures, 0);
	cr_assert_eq(net.m[2]->events[WM_MEMBER_SUSPECTED], 0);
}

/* With this seed one pauses twice, and runs for so short a time between that it does not hear that
 * it is suspect: a suspicion is to outlast a pause. */
Test(member_rules, pauses_and_loss_make_nobody_fail)
{
	net_begin(100, 10);
	net.loss_pct = 5;
	for (unsigned s = 0; s < 300; s++) {
		struct net_member *m = net.m[net_random() % 100];

		if (m->paused_until_ns <= net.ns)
			m->paused_until_ns = net.ns + (200 + net_random() % 1801) * WM_NS_PER_MS;
		net_pass(1000);
	}
	cr_assert_eq(net_events(WM_MEMBER_DIED), 0);
	cr_assert_gt(net_events(WM_MEMBER_REFUTED), 100);
}

Test(member_rules, halves_find_each_other_again)
{
	net_begin(20, 10);
	for (unsigned i = 0; i < 10; i++)
		net.m[i]->part = 1;
	net_pass(30000);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(wm_members_alive(net.m[i]->ms), 10, "%u", i);
	for (unsigned i = 0; i < 10; i++)
		net.m[i]->part = 0;
	net_pass(10000);
	for (unsigned i = 0; i < 20; i++)
		cr_assert_eq(wm_members_alive(net.m[i]->ms), 20, "%u", i);
	cr_assert_eq(net_events(WM_MEMBER_RETURNED), 200);
}

Test(member_rules, failed_and_left_ones_are_reaped_and_do_not_come_back)
{
	struct wm_member_timers t = *wm_member_profile(WM_MEMBER_LAN);

	net_begin(0, 11);
	t.reap = 20000;
	net.timers = &t;
	for (unsigned i = 0; i < 6; i++) {
		net_add(NULL);
		if (i)
			net_join(net.m[i], net.m[0]);
	}
	net_pass(2000);
	wm_members_leave(net.m[4]->ms);
	net_pass(1000);
	net.m[4]->silent = net.m[5]->silent = true;
	net_pass(15000);
	cr_assert_eq(wm_members_count(net.m[0]->ms), 6);
	net_pass(45000);
	for (unsigned i = 0; i < 4; i++) {
		cr_assert_eq(net.m[i]->events[WM_MEMBER_REAPED], 2);
		cr_assert_eq(wm_members_count(net.m[i]->ms), 4);
		net_join(net.m[i], net.m[0]);
	}
	net_pass(1000);
	cr_assert_eq(wm_members_count(net.m[0]->ms), 4);
}

Test(member_rules, a_restart_that_nobody_noticed_is_told)
{
	net_begin(5, 14);
	net_pass(2000);
	net_kill(net.m[3]);
	net_make(net.m[3], NULL, 0);
	net_join(net.m[3], net.m[0]);
	net_pass(4000);
	cr_assert_eq(net_events(WM_MEMBER_DIED), 0);
	cr_assert_eq(net_events(WM_MEMBER_RESTARTED), 4);
}

Test(member_rules, the_name_of_a_failed_one_is_taken_over)
{
	net_begin(5, 12);
	net_pass(2000);
	net_kill(net.m[3]);
	net_pass(4000);
	net_join(net_add("node-3"), net.m[0]);
	net_pass(4000);
	cr_assert_eq(wm_members_alive(net.m[1]->ms), 5);
	cr_assert_null(net_seen(net.m[1], net.m[3]));
	cr_assert_eq(wm_members_by_name(net.m[1]->ms, "Node-3")->id.octets[0], 5);
	cr_assert_eq(net.m[5]->clashes, 0);
}

Test(member_rules, an_agent_that_comes_back_elsewhere_is_taken_when_its_former_place_failed)
{
	struct net_member *again;

	net_begin(5, 13);
	net_pass(2000);
	net.m[3]->silent = true; /* its host died, and its disk is in another */
	again = net_add("moved");
	wm_members_free(again->ms);
	net_make_as(again, "Node-3", 0, net.m[3]->n);
	net_join(again, net.m[0]);
	net_pass(15000);
	cr_assert_eq(again->clashes, 0, "nobody answers there");
	cr_assert_eq(wm_members_alive(net.m[1]->ms), 5);
	cr_assert_eq(net_seen(net.m[1], net.m[3])->at.ip.s6_addr[15], again->n);
}

Test(member_rules, of_two_with_one_id_the_younger_is_told)
{
	struct net_member *second;

	net_begin(5, 14);
	net_pass(2000);
	second = net_add("second");
	wm_members_free(second->ms);
	net_make_as(second, "second", 0, net.m[3]->n);
	net_join(second, net.m[0]);
	net_pass(10000);
	cr_assert_gt(second->clashes, 0);
	cr_assert_str_eq(second->clash_name, "Node-3");
	cr_assert_eq(net.m[3]->clashes, 0);
	cr_assert_eq(net_seen(net.m[1], net.m[3])->at.ip.s6_addr[15], 3);
}

Test(member_rules, what_rides_on_probes_and_answers_arrives)
{
	net.rides = true;
	net_begin(3, 15);
	net_pass(5000);
	for (unsigned i = 0; i < 3; i++)
		cr_assert_gt(net.m[i]->rode, 10);
}

static void tell(struct net_member *to, const struct news *w)
{
	member_news(to->ms, w, false);
}

/* A hostile member tells it of another, who has to be able to refute it. */
Test(member_rules, there_is_no_incarnation_that_cannot_be_refuted)
{
	static const uint32_t told[] = {0x3fffffff, 0x7ffffffe, 0xbffffffd,
					0xfffffffc, UINT32_MAX, 5};
	struct news w = {.state = GOSSIP__MEMBER__STATE__FAILED};

	net_begin(10, 3);
	net_pass(2000);
	w.id.octets[0] = 7;
	for (size_t i = 0; i < WM_ARRAY_LEN(told); i++) {
		w.incarnation = told[i];
		for (unsigned m = 0; m < 5; m++)
			tell(net.m[m], &w);
		net_pass(5000);
		for (unsigned m = 0; m < 10; m++) {
			cr_assert_eq(net_seen(net.m[m], net.m[7])->state, WM_MEMBER_ALIVE);
			cr_assert_eq(net_seen(net.m[m], net.m[7])->incarnation, told[i] + 1);
		}
	}
	cr_assert_eq(stats_of(net.m[0]).far, 0);
}

Test(member_rules, an_incarnation_far_from_what_is_known_is_not_believed)
{
	struct news w = {.state = GOSSIP__MEMBER__STATE__FAILED, .incarnation = 0x40000010};
	uint32_t before;

	net_begin(10, 4);
	net_pass(2000);
	w.id.octets[0] = 7;
	before = net_seen(net.m[0], net.m[7])->incarnation;
	tell(net.m[0], &w);
	cr_assert_eq(stats_of(net.m[0]).far, 1);
	cr_assert_eq(net_seen(net.m[0], net.m[7])->state, WM_MEMBER_ALIVE);
	/* told to itself it says so, which nobody believes; and is believed again once it is
	 * doubted */
	tell(net.m[7], &w);
	net_pass(2000);
	cr_assert_gt(stats_of(net.m[0]).far, 1);
	w = (struct news){
		.state = GOSSIP__MEMBER__STATE__SUSPECT, .id = w.id, .incarnation = before};
	tell(net.m[0], &w);
	net_pass(20000);
	for (unsigned m = 0; m < 10; m++) {
		cr_assert_eq(net_seen(net.m[m], net.m[7])->state, WM_MEMBER_ALIVE);
		cr_assert_eq(net_seen(net.m[m], net.m[7])->incarnation, before + 1);
	}
}

Test(member_rules, the_only_one_that_is_there_is_found_among_many_that_are_dead)
{
	struct news w = {
		.state = GOSSIP__MEMBER__STATE__FAILED, .described = true, .at = net_addr(9)};
	struct node *n;

	net_begin(2, 5);
	net_pass(1000);
	for (unsigned i = 0; i < 5000; i++) {
		memcpy(w.id.octets + 4, &i, sizeof(i));
		w.id.octets[12] = 1;
		snprintf(w.name, sizeof(w.name), "dead-%u", i);
		member_news(net.m[0]->ms, &w, true);
	}
	for (unsigned i = 0; i < 100; i++) {
		n = member_any(net.m[0]->ms, NULL, false);
		cr_assert(n && !n->m.self && n->m.state == WM_MEMBER_ALIVE);
	}
	cr_assert_null(member_any(net.m[0]->ms, n, false));
}

Test(member_rules, nobody_is_a_member_by_the_id_of_a_source)
{
	struct news w = {.state = GOSSIP__MEMBER__STATE__ALIVE,
			 .incarnation = 1,
			 .described = true,
			 .name = "k8s-a",
			 .version = "1"};
	struct wm_members *ms;

	net_begin(2, 1);
	net_pass(2000);
	ms = net.m[0]->ms;
	w.at = net_addr(9);
	wm_peer_id_source("kubernetes", "k8s-a", &w.id);
	member_news(ms, &w, true);
	cr_assert_null(member_find(ms, &w.id));
	cr_assert_eq(stats_of(net.m[0]).clashes, 1);
	w.id.octets[0] = 1; /* another one is */
	member_news(ms, &w, true);
	cr_assert_not_null(member_find(ms, &w.id));
}
