/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_member.c - the membership, 2 to 40 agents over a network in memory: who joins, dies, is
 * slow, cut off, leaves, comes back, and who claims another's name. */
#include "env_virtual.h"
#include "userspace/base/err.h"
#include "userspace/sync/member.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define NODES_MAX 40
#define DELAY_MS  1

struct net;
struct node {
	struct net *net;
	struct wm_members *ms;
	unsigned number;
	bool dead;   /* no agent: its host answers that nobody listens */
	bool silent; /* nothing goes in or out */
	bool no_udp; /* datagrams to it are lost, streams stand */
	unsigned events[WM_MEMBER_REAPED + 1];
	unsigned clashes;
};
struct net {
	struct virtual_env v;
	struct node nodes[NODES_MAX];
	unsigned count;
	unsigned loss_pct;
	bool cut[NODES_MAX][NODES_MAX];
	unsigned long datagrams;
};
struct flight {
	struct net *net;
	struct wm_env_timer *timer;
	unsigned from, to;
	enum { DATAGRAM, REFUSAL, STREAM } what;
	uint32_t stream;
	int err;
	size_t len;
	uint8_t data[WM_MEMBER_PACKET_MAX];
};

static struct wm_peer_addr addr_of(unsigned n)
{
	struct wm_peer_addr a = {.port = 8301};

	a.ip.s6_addr[10] = a.ip.s6_addr[11] = 0xff;
	a.ip.s6_addr[12] = 10;
	a.ip.s6_addr[15] = (uint8_t)(n + 1);
	return a;
}

static unsigned number_of(const struct wm_peer_addr *a)
{
	return a->ip.s6_addr[15] - 1u;
}

static void arrive(void *arg)
{
	struct flight *f = arg;
	struct node *to = &f->net->nodes[f->to];
	struct wm_peer_addr from = addr_of(f->from);

	wm_env_timer_free(f->timer);
	if (to->ms && !to->dead && !to->silent) {
		if (f->what == DATAGRAM)
			wm_members_datagram(to->ms, &from, f->data, f->len);
		else if (f->what == REFUSAL)
			wm_members_refused(to->ms, &from);
		else
			wm_members_stream_probed(to->ms, f->stream, f->err);
	}
	free(f);
}

static struct flight *fly(struct net *n, unsigned from, unsigned to)
{
	struct flight *f = calloc(1, sizeof(*f));

	cr_assert(f);
	f->net = n;
	f->from = from;
	f->to = to;
	f->timer = wm_env_timer_new(&n->v.env, arrive, f);
	wm_env_timer_arm(f->timer, DELAY_MS);
	return f;
}

static void send_to(void *arg, const struct wm_peer_addr *to, const void *p, size_t len)
{
	struct node *node = arg;
	struct net *n = node->net;
	unsigned t = number_of(to);
	struct flight *f;

	n->datagrams++;
	cr_assert_leq(len, WM_MEMBER_PACKET_MAX);
	if (node->silent || node->dead || t >= n->count || n->cut[node->number][t] ||
	    n->nodes[t].silent || n->nodes[t].no_udp || wm_env_below(&n->v.env, 100) < n->loss_pct)
		return;
	if (n->nodes[t].dead) { /* ICMP port unreachable */
		f = fly(n, t, node->number);
		f->what = REFUSAL;
		return;
	}
	f = fly(n, node->number, t);
	f->len = len;
	memcpy(f->data, p, len);
}

static void probe_stream(void *arg, const struct wm_member *m, uint32_t number)
{
	struct node *node = arg;
	struct net *n = node->net;
	unsigned t = number_of(&m->at);
	struct flight *f;

	if (n->nodes[t].silent || n->cut[node->number][t])
		return;
	f = fly(n, t, node->number);
	f->what = STREAM;
	f->stream = number;
	f->err = n->nodes[t].dead ? -ECONNREFUSED : 0;
}

static void on_event(void *arg, struct wm_member *m, enum wm_member_event e)
{
	struct node *node = arg;

	cr_assert(!m->self);
	node->events[e]++;
}

static void on_clash(void *arg, const struct wm_member *other)
{
	struct node *node = arg;

	(void)other;
	node->clashes++;
}

static void start_one(struct net *n, unsigned i, const char *name, unsigned id,
		      uint32_t incarnation)
{
	struct node *node = &n->nodes[i];
	struct wm_members_config c = {.env = &n->v.env,
				      .timers = *wm_member_profile(WM_MEMBER_LAN),
				      .name = name,
				      .version = "1",
				      .at = addr_of(i),
				      .incarnation = incarnation,
				      .arg = node,
				      .send = send_to,
				      .probe_stream = probe_stream,
				      .event = on_event,
				      .clash = on_clash};

	c.id.octets[15] = (uint8_t)(id + 1);
	*node = (struct node){.net = n, .number = i};
	node->ms = wm_members_new(&c);
	cr_assert(node->ms);
	cr_assert_eq(wm_members_start(node->ms), 0);
}

/* As a stream does it: both states are exchanged. */
static void greet(struct net *n, unsigned a, unsigned b)
{
	struct wm_err e = {0};
	struct wm_buf one, two;

	wm_buf_init(&one, 1 << 20);
	wm_buf_init(&two, 1 << 20);
	cr_assert_eq(wm_members_state(n->nodes[a].ms, &one), 0);
	cr_assert_eq(wm_members_state(n->nodes[b].ms, &two), 0);
	cr_assert_eq(wm_members_merge(n->nodes[b].ms, one.data, one.len, &e), 0, "%s", e.text);
	cr_assert_eq(wm_members_merge(n->nodes[a].ms, two.data, two.len, &e), 0, "%s", e.text);
	wm_buf_done(&one);
	wm_buf_done(&two);
}

static void begin(struct net *n, unsigned count, uint64_t seed)
{
	char name[16];

	memset(n, 0, sizeof(*n));
	virtual_env_init(&n->v, seed);
	n->count = count;
	for (unsigned i = 0; i < count; i++) {
		snprintf(name, sizeof(name), "n%u", i);
		start_one(n, i, name, i, 1);
		if (i)
			greet(n, i, 0);
	}
	virtual_env_pass(&n->v, 3000);
}

static void stop(struct net *n)
{
	for (unsigned i = 0; i < n->count; i++)
		wm_members_free(n->nodes[i].ms);
	for (unsigned i = 0; i < n->count; i++)
		n->nodes[i].ms = NULL;
	virtual_env_pass(&n->v, 1000);
}

static enum wm_member_state state_at(struct net *n, unsigned at, unsigned of)
{
	char name[16];
	struct wm_member *m;

	snprintf(name, sizeof(name), "n%u", of);
	m = wm_members_by_name(n->nodes[at].ms, name);
	cr_assert(m, "n%u does not know n%u", at, of);
	return m->state;
}

/* How many take it for that. */
static unsigned think(struct net *n, unsigned of, enum wm_member_state s)
{
	unsigned count = 0;

	for (unsigned i = 0; i < n->count; i++)
		if (i != of && !n->nodes[i].dead && !n->nodes[i].silent)
			count += state_at(n, i, of) == s;
	return count;
}

/* Until all take it for that. @return ms. */
static unsigned until(struct net *n, unsigned of, enum wm_member_state s, unsigned others)
{
	unsigned ms = 0;

	while (think(n, of, s) < others && ms < 60000) {
		virtual_env_pass(&n->v, 50);
		ms += 50;
	}
	return ms;
}

Test(member, who_greets_one_is_known_to_all)
{
	static struct net n;

	begin(&n, NODES_MAX, 1);
	for (unsigned i = 0; i < n.count; i++) {
		cr_assert_eq(wm_members_alive(n.nodes[i].ms), NODES_MAX, "n%u", i);
		cr_assert_eq(n.nodes[i].events[WM_MEMBER_JOINED], NODES_MAX - 1);
		cr_assert_eq(n.nodes[i].events[WM_MEMBER_DIED], 0);
	}
	stop(&n);
}

static uint64_t octets_out(const struct net *n, unsigned i)
{
	struct wm_member_stats s;

	wm_members_stats(n->nodes[i].ms, &s);
	return s.octets_out;
}

/* A mesh has long known of its members: in a large one each that is told again is a datagram. */
Test(member, who_joins_an_old_mesh_tells_it_of_itself_only)
{
	static struct net n;
	uint64_t other;

	begin(&n, NODES_MAX - 1, 14);
	virtual_env_pass(&n.v, 90000);
	n.count = NODES_MAX;
	start_one(&n, NODES_MAX - 1, "late", NODES_MAX - 1, 1);
	greet(&n, NODES_MAX - 1, 0);
	other = octets_out(&n, 7);
	virtual_env_pass(&n.v, 3000);
	for (unsigned i = 0; i < n.count; i++)
		cr_assert_eq(wm_members_alive(n.nodes[i].ms), NODES_MAX, "n%u", i);
	cr_assert_leq(octets_out(&n, NODES_MAX - 1), 3 * (octets_out(&n, 7) - other));
	stop(&n);
}

/* A state has all members: what it costs a second is the same in each mesh. */
Test(member, states_are_exchanged_less_often_in_a_larger_mesh)
{
	static struct net n;

	begin(&n, NODES_MAX, 15);
	for (unsigned i = 0; i < 100; i++) {
		uint64_t ms = wm_members_push_pull_ms(n.nodes[0].ms, 32000);

		cr_assert(ms >= NODES_MAX * 750 && ms <= NODES_MAX * 1000, "%lu",
			  (unsigned long)ms);
	}
	stop(&n);
	begin(&n, 2, 16);
	cr_assert_leq(wm_members_push_pull_ms(n.nodes[0].ms, 32000), 32000);
	cr_assert_geq(wm_members_push_pull_ms(n.nodes[0].ms, 32000), 24000);
	stop(&n);
}

Test(member, an_agent_that_is_killed_is_failed_within_three_seconds)
{
	static struct net n;

	for (uint64_t seed = 1; seed <= 5; seed++) {
		begin(&n, 20, seed);
		n.nodes[7].dead = true;
		cr_assert_leq(until(&n, 7, WM_MEMBER_FAILED, 19), 3000, "seed %lu",
			      (unsigned long)seed);
		stop(&n);
	}
}

Test(member, of_two_the_other_is_believed_alone)
{
	static struct net n;

	begin(&n, 2, 2);
	n.nodes[1].dead = true;
	cr_assert_leq(until(&n, 1, WM_MEMBER_FAILED, 1), 3000);
	stop(&n);
}

Test(member, a_host_that_is_silent_is_suspect_and_then_failed)
{
	static struct net n;

	for (uint64_t seed = 1; seed <= 5; seed++) {
		begin(&n, 20, seed);
		n.nodes[3].silent = true;
		cr_assert_leq(until(&n, 3, WM_MEMBER_FAILED, 19), 8000, "seed %lu",
			      (unsigned long)seed);
		cr_assert_gt(n.nodes[0].events[WM_MEMBER_SUSPECTED], 0, "it was suspect first");
		stop(&n);
	}
}

Test(member, who_is_silent_for_a_moment_refutes)
{
	static struct net n;
	unsigned died = 0;

	begin(&n, 20, 3);
	n.nodes[3].silent = true;
	virtual_env_pass(&n.v, 1500);
	n.nodes[3].silent = false;
	virtual_env_pass(&n.v, 20000);
	cr_assert_eq(think(&n, 3, WM_MEMBER_ALIVE), 19);
	for (unsigned i = 0; i < n.count; i++)
		died += n.nodes[i].events[WM_MEMBER_DIED];
	cr_assert_eq(died, 0);
	stop(&n);
}

Test(member, whom_no_datagram_reaches_but_a_stream_is_there)
{
	static struct net n;

	begin(&n, 5, 4);
	n.nodes[2].no_udp = true;
	virtual_env_pass(&n.v, 60000);
	cr_assert_eq(think(&n, 2, WM_MEMBER_ALIVE) + think(&n, 2, WM_MEMBER_SUSPECT), 4);
	stop(&n);
}

Test(member, who_failed_returns_with_a_higher_incarnation_only)
{
	static struct net n;

	begin(&n, 5, 5);
	n.nodes[2].dead = true;
	until(&n, 2, WM_MEMBER_FAILED, 4);
	wm_members_free(n.nodes[2].ms);
	start_one(&n, 2, "n2", 2, 1); /* it forgot what it used, and learns it */
	greet(&n, 2, 0);
	cr_assert_leq(until(&n, 2, WM_MEMBER_ALIVE, 4), 5000);
	cr_assert_gt(wm_members_self(n.nodes[2].ms)->incarnation, 1);
	cr_assert_eq(n.nodes[0].events[WM_MEMBER_RETURNED], 1);
	stop(&n);
}

Test(member, who_leaves_is_known_to_have_left)
{
	static struct net n;

	begin(&n, 20, 6);
	wm_members_leave(n.nodes[4].ms);
	cr_assert_leq(until(&n, 4, WM_MEMBER_LEFT, 19), 2000);
	n.nodes[4].dead = true;
	virtual_env_pass(&n.v, 20000);
	cr_assert_eq(think(&n, 4, WM_MEMBER_LEFT), 19, "it did not fail");
	cr_assert_eq(n.nodes[0].events[WM_MEMBER_WENT], 1);
	stop(&n);
}

Test(member, a_failed_one_is_made_to_leave_and_pruned)
{
	struct wm_err e = {0};
	static struct net n;

	begin(&n, 5, 7);
	cr_assert_eq(wm_members_remove(n.nodes[0].ms, "n3", false, &e), WM_E_CONFLICT);
	cr_assert_eq(wm_members_remove(n.nodes[0].ms, "nobody", false, &e), WM_E_UNKNOWN);
	n.nodes[3].dead = true;
	until(&n, 3, WM_MEMBER_FAILED, 4);
	cr_assert_eq(wm_members_remove(n.nodes[0].ms, "n3", false, &e), 0);
	cr_assert_leq(until(&n, 3, WM_MEMBER_LEFT, 4), 2000);
	cr_assert_eq(wm_members_remove(n.nodes[1].ms, "n3", true, &e), 0);
	virtual_env_pass(&n.v, 3000);
	for (unsigned i = 0; i < n.count; i++)
		if (i != 3)
			cr_assert_null(wm_members_by_name(n.nodes[i].ms, "n3"), "n%u", i);
	stop(&n);
}

Test(member, halves_that_were_cut_are_one_after_a_greeting)
{
	static struct net n;

	begin(&n, 10, 8);
	for (unsigned a = 0; a < 5; a++)
		for (unsigned b = 5; b < 10; b++)
			n.cut[a][b] = n.cut[b][a] = true;
	virtual_env_pass(&n.v, 30000);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(wm_members_alive(n.nodes[i].ms), 5, "n%u", i);
	memset(n.cut, 0, sizeof(n.cut));
	greet(&n, 2, 7);
	virtual_env_pass(&n.v, 10000);
	for (unsigned i = 0; i < 10; i++)
		cr_assert_eq(wm_members_alive(n.nodes[i].ms), 10, "n%u", i);
	stop(&n);
}

Test(member, a_name_that_is_in_use_is_refused_and_told)
{
	static struct net n;

	begin(&n, 4, 9);
	n.count = 5;
	start_one(&n, 4, "n1", 77, 1);
	greet(&n, 4, 0);
	virtual_env_pass(&n.v, 5000);
	cr_assert_gt(n.nodes[4].clashes, 0, "who came later is told");
	cr_assert_eq(n.nodes[1].clashes, 0, "who was there stays");
	cr_assert_eq(wm_members_alive(n.nodes[0].ms), 4);
	cr_assert_eq(wm_members_by_name(n.nodes[0].ms, "n1")->id.octets[15], 2);
	stop(&n);
}

/* One of fifty pauses for up to two seconds, a twentieth of all datagrams is lost, for two hours.
 */
Test(member, loss_and_pauses_make_nobody_fail)
{
	static struct net n;
	unsigned died = 0, turns = 0;

	begin(&n, 20, 10);
	n.loss_pct = 5;
	for (; turns < 900; turns++) {
		unsigned slow = turns % n.count;
		unsigned ms = 200 + (unsigned)wm_env_below(&n.v.env, 1300);

		n.nodes[slow].silent = true;
		virtual_env_pass(&n.v, ms);
		n.nodes[slow].silent = false;
		virtual_env_pass(&n.v, 3000 - ms);
	}
	for (unsigned i = 0; i < n.count; i++)
		died += n.nodes[i].events[WM_MEMBER_DIED];
	cr_assert_eq(died, 0, "%u deaths", died);
	stop(&n);
}

Test(member, what_cannot_be_read_is_dropped)
{
	static struct net n;
	struct wm_member_stats s;
	struct wm_peer_addr from = addr_of(1);
	struct wm_err e = {0};
	uint8_t junk[WM_MEMBER_PACKET_MAX + 1];

	begin(&n, 2, 11);
	for (unsigned k = 0; k < 2000; k++) {
		size_t len = wm_env_below(&n.v.env, sizeof(junk) + 1);

		for (size_t i = 0; i < len; i++)
			junk[i] = (uint8_t)wm_env_random64(&n.v.env);
		wm_members_datagram(n.nodes[0].ms, &from, junk, len);
		(void)wm_members_merge(n.nodes[0].ms, junk, len, &e);
	}
	wm_members_stats(n.nodes[0].ms, &s);
	cr_assert_gt(s.malformed, 1000);
	cr_assert_eq(wm_members_alive(n.nodes[0].ms), 2);
	stop(&n);
}

Test(member, neighbours_come_to_be_near)
{
	static struct net n;
	const struct wm_member *a, *b;
	double s;

	begin(&n, 10, 12);
	virtual_env_pass(&n.v, 60000);
	a = wm_members_self(n.nodes[0].ms);
	b = wm_members_by_name(n.nodes[0].ms, "n5");
	cr_assert(a->has_coordinate && b->has_coordinate);
	s = wm_coordinate_distance(&a->coordinate, &b->coordinate);
	cr_assert(s > 0.0005 && s < 0.01, "round trips of 2 ms are estimated as %f s", s);
	cr_assert_neq(b->rtt_us, 0);
	cr_assert(b->median_us > 500 && b->median_us < 10000, "%u us", b->median_us);
	stop(&n);
}
