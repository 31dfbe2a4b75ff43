/* SPDX-License-Identifier: Apache-2.0 */
/* links: base sync */
/* test_spread_streams.c - the tree over streams as sync/link.c has them: each end says whether it
 * wants news over it (TREE, UNTREE), in frames that take their time and may cross. UNTREE from
 * either end ends the link of the tree for both, also if the other asked for it too. */
#include "env_virtual.h"
#include "userspace/sync/spread.h"

#include <criterion/criterion.h>
#include <stdio.h>

#define NODES_MAX 20
#define MESSAGES  1500
#define DELAY_MS  2

enum what { OPEN, TREE, UNTREE, NEWS };
struct node {
	struct wm_spread *s;
	struct wm_peer_id id;
	bool wants[NODES_MAX], tree[NODES_MAX], opening[NODES_MAX];
	bool got[MESSAGES];
};
static struct {
	struct virtual_env v;
	unsigned count;
	struct node nodes[NODES_MAX];
	bool stands[NODES_MAX][NODES_MAX];
	uint64_t said_ms[MESSAGES], worst_ms;
	unsigned untrees, both; /* UNTREE that came, and where that end wanted the link */
} net;
struct flight {
	struct wm_env_timer *timer;
	unsigned from, to;
	enum what what;
	size_t len;
	uint8_t data[];
};

static unsigned number_of(const struct wm_peer_id *id)
{
	return id->octets[15];
}

static void set_tree(unsigned at, unsigned of, bool on)
{
	struct node *n = &net.nodes[at];

	if (n->tree[of] == on)
		return;
	n->tree[of] = on;
	if (on)
		wm_spread_up(n->s, &net.nodes[of].id);
	else
		wm_spread_down(n->s, &net.nodes[of].id);
}

static void fly(unsigned from, unsigned to, enum what what, const void *p, size_t len);

static void opened(unsigned from, unsigned to)
{
	net.nodes[from].opening[to] = false;
	net.stands[from][to] = net.stands[to][from] = true;
	for (unsigned e = 0; e < 2; e++) {
		unsigned at = e ? to : from, of = e ? from : to;

		if (!net.nodes[at].wants[of])
			continue;
		fly(at, of, TREE, NULL, 0);
		set_tree(at, of, true);
	}
}

static void arrive(void *arg)
{
	struct flight *f = arg;
	struct node *to = &net.nodes[f->to];

	wm_env_timer_free(f->timer);
	if (f->what == OPEN && !net.stands[f->from][f->to])
		opened(f->from, f->to);
	else if (f->what == TREE)
		set_tree(f->to, f->from, true);
	else if (f->what == NEWS && to->tree[f->from])
		cr_assert_eq(wm_spread_receive(to->s, &net.nodes[f->from].id, f->data, f->len), 0);
	if (f->what == UNTREE) {
		net.untrees++;
		net.both += to->wants[f->from] && to->tree[f->from];
		set_tree(f->to, f->from, false);
	}
	free(f);
}

static void fly(unsigned from, unsigned to, enum what what, const void *p, size_t len)
{
	struct flight *f = malloc(sizeof(*f) + len);

	cr_assert(f);
	*f = (struct flight){.from = from, .to = to, .what = what, .len = len};
	if (len)
		memcpy(f->data, p, len);
	f->timer = wm_env_timer_new(&net.v.env, arrive, f);
	wm_env_timer_arm(f->timer, what == OPEN ? 4 * DELAY_MS : DELAY_MS);
}

static void want(void *arg, const struct wm_peer_id *id, bool on)
{
	struct node *n = arg;
	unsigned a = number_of(&n->id), b = number_of(id);

	if (n->wants[b] == on)
		return;
	n->wants[b] = on;
	if (net.stands[a][b]) {
		fly(a, b, on ? TREE : UNTREE, NULL, 0);
		set_tree(a, b, on);
	} else if (on && !n->opening[b]) {
		n->opening[b] = true;
		fly(a, b, OPEN, NULL, 0);
	}
}

static void send_frame(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	const struct node *n = arg;

	fly(number_of(&n->id), number_of(to), NEWS, p, len);
}

static void deliver(void *arg, const struct wm_peer_id *from, const void *payload, size_t len)
{
	struct node *n = arg;
	uint64_t took;
	unsigned m;

	(void)from;
	cr_assert_eq(len, 600);
	memcpy(&m, payload, sizeof(m));
	cr_assert_not(n->got[m], "message %u came twice", m);
	n->got[m] = true;
	took = wm_env_ms(&net.v.env) - net.said_ms[m];
	net.worst_ms = took > net.worst_ms ? took : net.worst_ms;
}

static void start(unsigned count, uint64_t seed)
{
	memset(&net, 0, sizeof(net));
	net.count = count;
	virtual_env_init(&net.v, seed);
	for (unsigned i = 0; i < net.count; i++) {
		struct node *n = &net.nodes[i];
		struct wm_spread_config c = {.env = &net.v.env,
					     .arg = n,
					     .want = want,
					     .send = send_frame,
					     .deliver = deliver};

		n->id.octets[15] = (uint8_t)i;
		c.id = n->id;
		n->s = wm_spread_new(&c);
		cr_assert(n->s);
	}
	for (unsigned i = 0; i < net.count; i++)
		for (unsigned k = 0; k < net.count; k++)
			cr_assert_eq(wm_spread_member(net.nodes[i].s, &net.nodes[k].id, true), 0);
	virtual_env_pass(&net.v, 3000);
}

static void say(unsigned from, unsigned m)
{
	char payload[600] = {0};

	memcpy(payload, &m, sizeof(m));
	net.said_ms[m] = wm_env_ms(&net.v.env);
	net.nodes[from].got[m] = true;
	cr_assert_eq(wm_spread_send(net.nodes[from].s, payload, sizeof(payload)), 0);
}

/* One end of a link lets it go, as it does for a better one; rather of one that both asked for. */
static void let_one_go(void)
{
	unsigned a = (unsigned)(virtual_random64(&net.v) % net.count), b = net.count;

	for (unsigned k = 0; k < net.count; k++)
		if (net.nodes[a].wants[k] && net.nodes[a].tree[k] &&
		    (b == net.count || net.nodes[k].wants[a]))
			b = k;
	if (b == net.count)
		return;
	(void)wm_spread_member(net.nodes[a].s, &net.nodes[b].id, false);
	(void)wm_spread_member(net.nodes[a].s, &net.nodes[b].id, true);
}

/* Links are let go by one end all the time, and news never stops: all of it comes to all, once, and
 * by this time. */
static void let_go_and_say(unsigned count, unsigned each, unsigned every, uint64_t bound_ms)
{
	start(count, 11);
	for (unsigned m = 0; m < MESSAGES; m++) {
		for (unsigned k = 0; k < each && m % every == 0; k++)
			let_one_go();
		say((unsigned)(virtual_random64(&net.v) % net.count), m);
		virtual_env_pass(&net.v, 20);
	}
	virtual_env_pass(&net.v, 3000);
	for (unsigned i = 0; i < net.count; i++)
		for (unsigned m = 0; m < MESSAGES; m++)
			cr_assert(net.nodes[i].got[m], "node %u of %u lacks message %u", i, count,
				  m);
	cr_assert_gt(net.untrees, 5);
	cr_assert_leq(net.worst_ms, bound_ms, "of %u: %lu ms", count, (unsigned long)net.worst_ms);
	for (unsigned i = 0; i < net.count; i++)
		wm_spread_free(net.nodes[i].s);
	virtual_env_pass(&net.v, 1000);
}

Test(spread_streams, a_link_that_one_end_lets_go_costs_no_news, .timeout = 300)
{
	let_go_and_say(NODES_MAX, 4, 1, 100);
	cr_assert_gt(net.both, 5, "the other end wanted it too: %u", net.both);
}

/* There is no other to ask: the link rests, and what was said meanwhile is told when it is back. */
Test(spread_streams, the_only_link_that_is_let_go_comes_back_and_tells, .timeout = 300)
{
	let_go_and_say(2, 1, 50, 1500);
	let_go_and_say(3, 1, 50, 1500);
}
