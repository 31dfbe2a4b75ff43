/* SPDX-License-Identifier: Apache-2.0 */
/* members.c - the membership of a node, put together as sync/sync.c does: whom it takes for a
 * member is told to the tree and the replica, whose summary rides on its probes. */
#include "sim.h"

#include <stdlib.h>
#include <string.h>

#define PORT	 8301
#define OLD_MS	 61000 /* from when on it is not told on that one is there */
#define GREET_MS 500   /* until one that met nobody tries another */

struct wm_peer_addr sim_address(int at)
{
	struct wm_peer_addr a = {.port = PORT};

	a.ip.s6_addr[10] = a.ip.s6_addr[11] = 0xff;
	a.ip.s6_addr[12] = 10;
	a.ip.s6_addr[13] = (uint8_t)(at >> 16);
	a.ip.s6_addr[14] = (uint8_t)(at >> 8);
	a.ip.s6_addr[15] = (uint8_t)at;
	return a;
}

static int at_of(const struct wm_peer_addr *a)
{
	return a->ip.s6_addr[13] << 16 | a->ip.s6_addr[14] << 8 | a->ip.s6_addr[15];
}

/* --- what the core calls ---------------------------------------------------------------------- */
static void send_datagram(void *arg, const struct wm_peer_addr *to, const void *p, size_t len)
{
	const struct sim_node *n = arg;

	sim_datagram(n->s, n->at, at_of(to), p, len);
}

static void probe_stream(void *arg, const struct wm_member *m, uint32_t number)
{
	const struct sim_node *n = arg;

	sim_knock(n->s, n->at, at_of(&m->at), number);
}

static size_t ride(void *arg, void *p, size_t room)
{
	const struct sim_node *n = arg;

	if (n->replica)
		return wm_replica_summary(n->replica, p, room);
	memset(p, 0, WM_REPLICA_SUMMARY); /* its octets count all the same */
	return WM_REPLICA_SUMMARY;
}

static void rode(void *arg, struct wm_member *from, const void *p, size_t len)
{
	const struct sim_node *n = arg;

	if (n->replica)
		(void)wm_replica_compare(n->replica, &from->id, p, len);
}

static void came(struct sim_node *n, const struct wm_member *m)
{
	if (!n->s->c.fulls)
		(void)wm_spread_member(n->spread, &m->id, true);
	if (n->replica)
		wm_replica_member(n->replica, &m->id, true);
}

static void gone(struct sim_node *n, const struct wm_member *m, bool for_good)
{
	(void)wm_spread_member(n->spread, &m->id, false);
	sim_break(n->s, n->at, sim_node_of(n->s, &m->id));
	if (n->replica && for_good)
		wm_replica_member(n->replica, &m->id, false);
}

static void event(void *arg, struct wm_member *m, enum wm_member_event e)
{
	struct sim_node *n = arg;

	if (n->s->trace && (e == WM_MEMBER_SUSPECTED || e == WM_MEMBER_DIED))
		fprintf(stderr, "sim: %llu ms: node %d %s %d\n",
			(unsigned long long)(n->s->ns / WM_NS_PER_MS), n->at,
			e == WM_MEMBER_DIED ? "fails" : "suspects", sim_node_of(n->s, &m->id));
	if (e == WM_MEMBER_JOINED || e == WM_MEMBER_RETURNED) {
		came(n, m);
	} else if (e == WM_MEMBER_DIED) {
		sim_watch_failed(n->s, n->at, sim_node_of(n->s, &m->id), m->incarnation);
		gone(n, m, false);
	} else if (e == WM_MEMBER_WENT || e == WM_MEMBER_REAPED) {
		gone(n, m, true);
	}
}

/* --- life ------------------------------------------------------------------------------------- */
static int any_other(const struct sim_node *n)
{
	struct sim *s = n->s;

	for (int tries = 0; tries < s->count; tries++) {
		int b = (int)sim_below(s, (uint64_t)s->count);

		if (b != n->at && s->nodes[b].alive && !sim_cut(s, n->at, b) &&
		    !sim_cut(s, b, n->at))
			return b;
	}
	return -1;
}

/* Who knows nobody asks one of whom it was told. */
static void on_greet(void *arg)
{
	struct sim_node *n = arg;
	int b = any_other(n);

	if (wm_members_alive(n->members) > 1)
		return;
	if (b >= 0)
		sim_state(n->s, n->at, b, false);
	sim_at(n->s, &n->greet, n->s->ns + GREET_MS * WM_NS_PER_MS);
}

static void arm_push_pull(struct sim_node *n)
{
	sim_at(n->s, &n->push_pull,
	       n->s->ns + wm_members_push_pull_ms(n->members, n->s->c.push_pull_ms) * WM_NS_PER_MS);
}

static void on_push_pull(void *arg)
{
	struct sim_node *n = arg;
	const struct wm_member *m = wm_members_any(n->members);

	if (m)
		sim_state(n->s, n->at, sim_node_of(n->s, &m->id), false);
	arm_push_pull(n);
}

int sim_members_start(struct sim_node *n)
{
	char name[16];
	struct wm_members_config c = {
		.env = &n->env,
		.timers = *wm_member_profile(n->s->c.member_wan ? WM_MEMBER_WAN : WM_MEMBER_LAN),
		.id = n->id,
		.name = name,
		.version = "0.9.0",
		.at = sim_address(n->at),
		.role = sim_is_leaf(n->s, n->at) ? WM_MEMBER_LEAF : WM_MEMBER_FULL,
		.incarnation = (uint32_t)wm_env_wall_s(&n->env),
		.arg = n,
		.send = send_datagram,
		.probe_stream = probe_stream,
		.event = event,
		.ride = ride,
		.rode = rode};

	(void)snprintf(name, sizeof(name), "node-%d", n->at);
	n->incarnation = c.incarnation;
	n->members = wm_members_new(&c);
	if (!n->members || wm_members_start(n->members))
		return -1;
	sim_event_init(&n->greet, n->at, on_greet, n);
	sim_event_init(&n->push_pull, n->at, on_push_pull, n);
	if (!n->s->introduced)
		return 0;
	sim_at(n->s, &n->greet, n->s->ns + sim_below(n->s, GREET_MS) * WM_NS_PER_MS);
	arm_push_pull(n);
	return 0;
}

void sim_members_stop(struct sim_node *n)
{
	if (!n->members)
		return;
	sim_cancel(n->s, &n->greet);
	sim_cancel(n->s, &n->push_pull);
	wm_members_free(n->members);
	n->members = NULL;
}

int sim_members_introduce(struct sim *s)
{
	struct wm_buf all, fulls;
	struct wm_err e;
	int r = 0;

	sim_run(s, s->ns + OLD_MS * WM_NS_PER_MS);
	s->introduced = true;
	/* states behind each other are one */
	wm_buf_init(&all, SIZE_MAX);
	wm_buf_init(&fulls, SIZE_MAX);
	for (int i = 0; i < s->count && !r; i++) {
		r = wm_members_state(s->nodes[i].members, &all);
		if (!r && !sim_is_leaf(s, i))
			r = wm_members_state(s->nodes[i].members, &fulls);
	}
	for (int i = 0; i < s->count && !r; i++) {
		struct wm_buf *b = sim_knows_all(s, i) ? &all : &fulls;

		r = wm_members_merge(s->nodes[i].members, b->data, b->len, &e);
		if (!s->c.fulls)
			arm_push_pull(&s->nodes[i]);
	}
	wm_buf_done(&all);
	wm_buf_done(&fulls);
	return r ? -1 : 0;
}

void sim_members_doubt(struct sim *s, int a, int b)
{
	if (s->nodes[a].alive && s->nodes[a].members)
		wm_members_doubt(s->nodes[a].members, &s->nodes[b].id);
}
