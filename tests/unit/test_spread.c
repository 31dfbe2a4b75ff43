/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_spread.c - the tree, between 2 and 60 nodes over a network in memory: every message comes to
 * every node once, over links that others were pruned from, also when nodes and links go. */
#include "env_virtual.h"
#include "userspace/base/err.h"
#include "userspace/sync/spread.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define NODES_MAX 60
#define DELAY_MS  1

struct net;
struct node {
	struct net *net;
	struct wm_spread *s;
	struct wm_peer_id id;
	bool wants[NODES_MAX], dead;
	unsigned got;  /* messages of others */
	unsigned last; /* number in the last one */
};
struct net {
	struct virtual_env v;
	struct node nodes[NODES_MAX];
	unsigned count;
	unsigned side[NODES_MAX]; /* nothing gets from one to another */
	bool up[NODES_MAX][NODES_MAX];
	bool deaf[NODES_MAX][NODES_MAX]; /* what goes there is lost, and nobody notices */
	unsigned long frames, news;
};
/* A frame on its way, or a link that comes up. */
struct flight {
	struct net *net;
	struct wm_env_timer *timer;
	unsigned from, to;
	bool link;
	size_t len;
	uint8_t data[];
};

static unsigned number_of(const struct wm_peer_id *id)
{
	return id->octets[15];
}

static void arrive(void *arg)
{
	struct flight *f = arg;
	struct net *n = f->net;
	struct node *to = &n->nodes[f->to], *from = &n->nodes[f->from];

	wm_env_timer_free(f->timer);
	if (!to->dead && !from->dead && n->side[f->from] == n->side[f->to]) {
		if (f->link && !n->up[f->from][f->to]) {
			n->up[f->from][f->to] = n->up[f->to][f->from] = true;
			wm_spread_up(from->s, &to->id);
			wm_spread_up(to->s, &from->id);
		} else if (!f->link && n->up[f->from][f->to] && !n->deaf[f->from][f->to]) {
			cr_assert_eq(wm_spread_receive(to->s, &from->id, f->data, f->len), 0);
		}
	}
	free(f);
}

static void fly(struct net *n, unsigned from, unsigned to, bool link, const void *p, size_t len)
{
	struct flight *f = malloc(sizeof(*f) + len);

	cr_assert(f);
	*f = (struct flight){.net = n, .from = from, .to = to, .link = link, .len = len};
	if (len)
		memcpy(f->data, p, len);
	f->timer = wm_env_timer_new(&n->v.env, arrive, f);
	wm_env_timer_arm(f->timer, DELAY_MS);
}

static void want(void *arg, const struct wm_peer_id *id, bool on)
{
	struct node *node = arg;
	struct net *n = node->net;
	unsigned a = number_of(&node->id), b = number_of(id);

	node->wants[b] = on;
	if (on) {
		fly(n, a, b, true, NULL, 0);
	} else if (n->up[a][b]) {
		n->up[a][b] = n->up[b][a] = false;
		wm_spread_down(n->nodes[b].s, &node->id);
		wm_spread_down(node->s, id);
	}
}

static void send_frame(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct node *node = arg;

	node->net->frames++;
	node->net->news += len > 500;
	fly(node->net, number_of(&node->id), number_of(to), false, p, len);
}

static void deliver(void *arg, const struct wm_peer_id *from, const void *payload, size_t len)
{
	struct node *node = arg;

	(void)from;
	cr_assert_eq(len, 1000);
	node->got++;
	memcpy(&node->last, payload, sizeof(node->last));
}

static void create(struct net *n, unsigned count, uint64_t seed)
{
	memset(n, 0, sizeof(*n));
	virtual_env_init(&n->v, seed);
	n->count = count;
	for (unsigned i = 0; i < count; i++) {
		struct node *node = &n->nodes[i];
		struct wm_spread_config c = {.env = &n->v.env,
					     .arg = node,
					     .want = want,
					     .send = send_frame,
					     .deliver = deliver};

		node->net = n;
		node->id.octets[15] = (uint8_t)i;
		c.id = node->id;
		node->s = wm_spread_new(&c);
		cr_assert(node->s);
	}
}

/* All that can see each other know so. */
static void introduce(struct net *n)
{
	for (unsigned i = 0; i < n->count; i++)
		for (unsigned k = 0; k < n->count; k++)
			if (i != k && n->side[i] == n->side[k])
				cr_assert_eq(wm_spread_member(n->nodes[i].s, &n->nodes[k].id, true),
					     0);
}

static void start(struct net *n, unsigned count, uint64_t seed)
{
	create(n, count, seed);
	introduce(n);
	virtual_env_pass(&n->v, 3000);
}

/* The first @p count are on a side of their own from now on. */
static void divide(struct net *n, unsigned count)
{
	for (unsigned i = 0; i < count; i++)
		n->side[i] = 1;
	for (unsigned i = 0; i < count; i++) {
		for (unsigned k = count; k < n->count; k++) {
			if (n->up[i][k]) {
				n->up[i][k] = n->up[k][i] = false;
				wm_spread_down(n->nodes[k].s, &n->nodes[i].id);
				wm_spread_down(n->nodes[i].s, &n->nodes[k].id);
			}
			wm_spread_member(n->nodes[k].s, &n->nodes[i].id, false);
			wm_spread_member(n->nodes[i].s, &n->nodes[k].id, false);
		}
	}
}

static void stop(struct net *n)
{
	for (unsigned i = 0; i < n->count; i++)
		if (!n->nodes[i].dead)
			wm_spread_free(n->nodes[i].s);
	virtual_env_pass(&n->v, 1000); /* what is on its way is freed */
}

static void say(struct net *n, unsigned from, unsigned number)
{
	char payload[1000] = {0};

	memcpy(payload, &number, sizeof(number));
	cr_assert_eq(wm_spread_send(n->nodes[from].s, payload, sizeof(payload)), 0);
}

static void die(struct net *n, unsigned i)
{
	struct node *dead = &n->nodes[i];

	dead->dead = true;
	wm_spread_free(dead->s);
	for (unsigned k = 0; k < n->count; k++) {
		if (k == i || n->nodes[k].dead)
			continue;
		if (n->up[i][k]) {
			n->up[i][k] = n->up[k][i] = false;
			wm_spread_down(n->nodes[k].s, &dead->id);
		}
		wm_spread_member(n->nodes[k].s, &dead->id, false);
	}
}

static void all_have(const struct net *n, unsigned count, unsigned sender)
{
	for (unsigned i = 0; i < n->count; i++)
		if (!n->nodes[i].dead && i != sender)
			cr_assert_eq(n->nodes[i].got, count, "node %u has %u of %u", i,
				     n->nodes[i].got, count);
}

Test(spread, every_message_comes_once_to_all)
{
	static const unsigned sizes[] = {2, 3, 5, 20, NODES_MAX};
	static struct net n;

	for (unsigned k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		start(&n, sizes[k], 7 + k);
		for (unsigned m = 1; m <= 20; m++) {
			say(&n, 0, m);
			virtual_env_pass(&n.v, 100);
			all_have(&n, m, 0);
		}
		stop(&n);
	}
}

Test(spread, what_stays_is_a_tree)
{
	static struct net n;

	start(&n, NODES_MAX, 3);
	for (unsigned m = 1; m <= 20; m++) {
		say(&n, 0, m);
		virtual_env_pass(&n.v, 100);
	}
	n.news = 0;
	say(&n, 0, 21);
	virtual_env_pass(&n.v, 100);
	all_have(&n, 21, 0);
	cr_assert_eq(n.news, NODES_MAX - 1, "the payload went over %lu links", n.news);
	stop(&n);
}

/* Both ends of a link have it by then: nearly always one of them only says so. */
Test(spread, an_id_goes_over_a_link_that_is_not_of_the_tree_once)
{
	static struct net n;
	struct wm_spread_stats stats;
	unsigned long lazy = 0;

	start(&n, NODES_MAX, 3);
	for (unsigned m = 1; m <= 20; m++) {
		say(&n, 0, m);
		virtual_env_pass(&n.v, 100);
	}
	for (unsigned i = 0; i < n.count; i++) {
		wm_spread_stats(n.nodes[i].s, &stats);
		lazy += stats.lazy;
	}
	n.news = n.frames = 0;
	say(&n, 0, 21);
	virtual_env_pass(&n.v, 100);
	cr_assert_eq(n.news, NODES_MAX - 1);
	cr_assert_leq(n.frames - n.news, lazy / 2 * 11 / 10, "%lu ids over %lu links",
		      n.frames - n.news, lazy / 2);
	stop(&n);
}

/* Of a hundred changes in a second not each costs a frame of every link. */
Test(spread, ids_of_a_stream_of_changes_go_some_at_a_time)
{
	static struct net n;
	struct wm_spread_stats stats;
	unsigned long lazy = 0;

	start(&n, NODES_MAX, 3);
	for (unsigned m = 1; m <= 20; m++) {
		say(&n, 0, m);
		virtual_env_pass(&n.v, 100);
	}
	for (unsigned i = 0; i < n.count; i++) {
		wm_spread_stats(n.nodes[i].s, &stats);
		lazy += stats.lazy;
	}
	n.news = n.frames = 0;
	for (unsigned m = 21; m <= 120; m++) {
		say(&n, 0, m);
		virtual_env_pass(&n.v, 10);
	}
	virtual_env_pass(&n.v, 200);
	all_have(&n, 120, 0);
	cr_assert_geq(n.news, 100 * (NODES_MAX - 1));
	cr_assert_leq(n.frames - n.news, lazy / 2 * 60, "%lu frames of ids over %lu links",
		      n.frames - n.news, lazy / 2);
	stop(&n);
}

Test(spread, a_tree_of_another_sender_is_as_good)
{
	static struct net n;

	start(&n, NODES_MAX, 4);
	for (unsigned m = 1; m <= 40; m++) {
		say(&n, m % NODES_MAX, m);
		virtual_env_pass(&n.v, 100);
	}
	for (unsigned i = 0; i < n.count; i++)
		cr_assert_geq(n.nodes[i].got, 39);
	n.news = 0;
	say(&n, 50, 41);
	virtual_env_pass(&n.v, 100);
	cr_assert_lt(n.news, NODES_MAX * 12 / 10, "the payload went over %lu links", n.news);
	stop(&n);
}

Test(spread, nodes_that_die_take_nobody_along)
{
	static struct net n;

	start(&n, 40, 5);
	for (unsigned m = 1; m <= 30; m++) {
		if (m % 3 == 0)
			die(&n, m);
		say(&n, 0, m);
		virtual_env_pass(&n.v, 1500);
		all_have(&n, m, 0);
	}
	stop(&n);
}

/* A link of the tree takes messages and they do not come out: the ids of others tell. */
Test(spread, what_a_link_swallows_is_asked_for_elsewhere)
{
	static struct net n;
	struct wm_spread_stats stats;
	unsigned long grafts = 0;

	start(&n, 20, 6);
	for (unsigned m = 1; m <= 5; m++) {
		say(&n, 0, m);
		virtual_env_pass(&n.v, 100);
	}
	for (unsigned k = 1; k < n.count; k += 2)
		n.deaf[0][k] = true;
	say(&n, 0, 6);
	virtual_env_pass(&n.v, 1000);
	all_have(&n, 6, 0);
	for (unsigned i = 0; i < n.count; i++) {
		wm_spread_stats(n.nodes[i].s, &stats);
		grafts += stats.grafts;
	}
	cr_assert_gt(grafts, 0);
	stop(&n);
}

Test(spread, nobody_has_more_links_than_the_bound_for_long)
{
	static struct net n;

	start(&n, NODES_MAX, 8);
	for (unsigned i = 0; i < n.count; i++) {
		cr_assert_leq(wm_spread_linked(n.nodes[i].s), WM_SPREAD_LINKS_MAX);
		cr_assert_geq(wm_spread_linked(n.nodes[i].s), 2);
	}
	stop(&n);
}

/* Each half has all the links that it wants, and yet they are linked when they meet again. */
Test(spread, halves_that_meet_again_are_one)
{
	static const unsigned sizes[][2] = {{2, 1}, {4, 2}, {10, 3}, {40, 20}, {NODES_MAX, 1}};
	static struct net n;

	for (unsigned k = 0; k < sizeof(sizes) / sizeof(*sizes); k++) {
		start(&n, sizes[k][0], 20 + k);
		say(&n, 0, 1);
		virtual_env_pass(&n.v, 500);
		all_have(&n, 1, 0);
		divide(&n, sizes[k][1]);
		virtual_env_pass(&n.v, 3000);
		say(&n, 0, 2);
		virtual_env_pass(&n.v, 500);
		for (unsigned i = 1; i < n.count; i++)
			cr_assert_eq(n.nodes[i].got, i < sizes[k][1] ? 2 : 1);
		memset(n.side, 0, sizeof(n.side));
		introduce(&n);
		virtual_env_pass(&n.v, 500);
		say(&n, n.count - 1, 3);
		virtual_env_pass(&n.v, 500);
		for (unsigned i = 0; i < n.count - 1; i++)
			cr_assert_eq(n.nodes[i].last, 3, "of %u node %u", n.count, i);
		stop(&n);
	}
}

/* All know one only, which cannot link them all. */
Test(spread, who_is_refused_is_linked_by_others)
{
	static struct net n;
	unsigned refused = 0;

	create(&n, NODES_MAX, 30);
	for (unsigned i = 1; i < n.count; i++)
		wm_spread_member(n.nodes[i].s, &n.nodes[0].id, true);
	virtual_env_pass(&n.v, 500);
	cr_assert_eq(wm_spread_linked(n.nodes[0].s), WM_SPREAD_LINKS_MAX);
	for (unsigned i = 1; i < n.count; i++)
		refused += !wm_spread_linked(n.nodes[i].s);
	cr_assert_eq(refused, NODES_MAX - 1 - WM_SPREAD_LINKS_MAX);
	introduce(&n);
	virtual_env_pass(&n.v, 3000);
	for (unsigned i = 0; i < n.count; i++) {
		cr_assert_leq(wm_spread_linked(n.nodes[i].s), WM_SPREAD_LINKS_MAX);
		cr_assert_geq(wm_spread_linked(n.nodes[i].s), WM_SPREAD_LINKS);
	}
	say(&n, 5, 1);
	virtual_env_pass(&n.v, 500);
	all_have(&n, 1, 5);
	stop(&n);
}

/* Hours without news: links are exchanged, and nobody is left without or with too many. */
Test(spread, links_that_are_exchanged_stay_enough)
{
	static struct net n;

	start(&n, 40, 31);
	for (unsigned m = 1; m <= 100; m++) {
		virtual_env_pass(&n.v, 30000);
		for (unsigned i = 0; i < n.count; i++)
			cr_assert_geq(wm_spread_linked(n.nodes[i].s), 2);
		say(&n, 0, m);
		virtual_env_pass(&n.v, 500);
		all_have(&n, m, 0);
	}
	for (unsigned i = 0; i < n.count; i++)
		cr_assert_leq(wm_spread_linked(n.nodes[i].s), WM_SPREAD_LINKS_MAX);
	stop(&n);
}

Test(spread, what_cannot_be_read_ends_the_link)
{
	static struct net n;
	/* no message; news without an id; an id that is cut; others who are none */
	static const struct {
		uint8_t octets[8];
		size_t len;
	} bad[] = {{{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 6},
		   {{0x12, 0x01, 'x'}, 3},
		   {{0x1a, 0x02, 0x00, 0x00}, 4},
		   {{0x38, 0x01, 0x42, 0x01, 0x00}, 5}};
	struct wm_spread_stats stats;

	start(&n, 2, 9);
	for (unsigned k = 0; k < sizeof(bad) / sizeof(*bad); k++)
		cr_assert_eq(
			wm_spread_receive(n.nodes[0].s, &n.nodes[1].id, bad[k].octets, bad[k].len),
			WM_E_INVALID, "%u", k);
	wm_spread_stats(n.nodes[0].s, &stats);
	cr_assert_eq(stats.malformed, sizeof(bad) / sizeof(*bad));
	stop(&n);
}
