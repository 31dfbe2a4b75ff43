/* SPDX-License-Identifier: Apache-2.0 */
/* member_net.h - members (sync/member.h) on a network that a test has in its hand: delay and loss,
 * hosts that are silent or refuse, agents that are paused. Events keep what each saw. */
#pragma once
#include "env_virtual.h"
#include "userspace/sync/member.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define NET_MAX	   128
#define NET_EVENTS (WM_MEMBER_REAPED + 1)

struct net_packet {
	uint64_t at_ns;
	struct wm_peer_addr from, to;
	bool refusal; /* the host at `from` says that nobody is there */
	uint16_t len;
	uint8_t p[WM_MEMBER_PACKET_MAX];
};

struct net_member {
	struct wm_members *ms;
	struct net *net;
	struct virtual_env v; /* its own, so that a pause holds its timers too */
	unsigned n, part;     /* those of another part are not reached */
	bool silent;	      /* its host is off */
	bool streams;
	uint64_t paused_until_ns;
	unsigned events[NET_EVENTS];
	unsigned clashes, rode;
	char clash_name[WM_NODE_NAME_MAX + 1];
	uint64_t died_ns; /* when it saw the last one die */
};

struct net {
	struct net_member *m[NET_MAX];
	unsigned count;
	uint64_t ns, random;
	unsigned delay_us, loss_pct;
	struct net_packet **heap;
	size_t len, cap;
	uint64_t octets;
	bool rides; /* something rides on probes */
	const struct wm_member_timers *timers;
};

static struct net net;

static inline uint64_t net_random(void)
{
	struct virtual_env v = {.random = net.random};
	uint64_t r = virtual_random64(&v);

	net.random = v.random;
	return r;
}

static inline void net_push(struct net_packet *p)
{
	size_t i = net.len++;

	if (net.len > net.cap) {
		net.cap = net.cap ? net.cap * 2 : 64;
		net.heap = realloc(net.heap, net.cap * sizeof(*net.heap));
		cr_assert(net.heap);
	}
	for (; i && net.heap[(i - 1) / 2]->at_ns > p->at_ns; i = (i - 1) / 2)
		net.heap[i] = net.heap[(i - 1) / 2];
	net.heap[i] = p;
}

static inline struct net_packet *net_pop(void)
{
	struct net_packet *top = net.heap[0], *last = net.heap[--net.len];
	size_t i = 0, c;

	for (; (c = 2 * i + 1) < net.len; i = c) {
		if (c + 1 < net.len && net.heap[c + 1]->at_ns < net.heap[c]->at_ns)
			c++;
		if (net.heap[c]->at_ns >= last->at_ns)
			break;
		net.heap[i] = net.heap[c];
	}
	if (net.len)
		net.heap[i] = last;
	return top;
}

static inline struct wm_peer_addr net_addr(unsigned n)
{
	struct wm_peer_addr a = {.port = 8301};

	a.ip.s6_addr[10] = a.ip.s6_addr[11] = 0xff;
	a.ip.s6_addr[12] = 10;
	a.ip.s6_addr[14] = (uint8_t)(n >> 8);
	a.ip.s6_addr[15] = (uint8_t)n;
	return a;
}

static inline struct net_member *net_at(const struct wm_peer_addr *a)
{
	unsigned n = a->ip.s6_addr[14] * 256u + a->ip.s6_addr[15];

	return n < net.count ? net.m[n] : NULL;
}

static inline void net_send(void *arg, const struct wm_peer_addr *to, const void *p, size_t len)
{
	struct net_member *m = arg;
	struct net_packet *k;

	cr_assert_leq(len, WM_MEMBER_PACKET_MAX);
	net.octets += len;
	if (net.loss_pct && net_random() % 100 < net.loss_pct)
		return;
	k = malloc(sizeof(*k));
	cr_assert(k);
	*k = (struct net_packet){.at_ns = net.ns + net.delay_us * 1000ull,
				 .from = net_addr(m->n),
				 .to = *to,
				 .len = (uint16_t)len};
	memcpy(k->p, p, len);
	net_push(k);
}

static inline void net_event(void *arg, struct wm_member *m, enum wm_member_event e)
{
	struct net_member *n = arg;

	cr_assert(!m->self);
	n->events[e]++;
	if (e == WM_MEMBER_DIED)
		n->died_ns = net.ns;
}

static inline void net_clash(void *arg, const struct wm_member *other)
{
	struct net_member *n = arg;

	n->clashes++;
	strcpy(n->clash_name, other->name);
}

static inline void net_stream(void *arg, const struct wm_member *m, uint32_t number)
{
	struct net_member *n = arg, *to = net_at(&m->at);

	if (!n->streams || !to || to->part != n->part || to->silent || to->paused_until_ns > net.ns)
		return;
	wm_members_stream_probed(n->ms, number, to->ms ? 0 : -ECONNREFUSED);
}

static inline size_t net_ride(void *arg, void *p, size_t room)
{
	cr_assert_geq(room, 40);
	memset(p, (int)((struct net_member *)arg)->n, 40);
	return 40;
}

static inline void net_rode(void *arg, struct wm_member *from, const void *p, size_t len)
{
	cr_assert_eq(len, 40);
	cr_assert_eq(*(const uint8_t *)p, from->id.octets[0]);
	((struct net_member *)arg)->rode++;
}

/* An agent that has the id of number @p id. */
static inline void net_make_as(struct net_member *m, const char *name, uint32_t incarnation,
			       unsigned id)
{
	char text[WM_NODE_NAME_MAX + 1];
	struct wm_members_config c = {.env = &m->v.env,
				      .timers = *net.timers,
				      .at = net_addr(m->n),
				      .version = "1.0",
				      .incarnation = incarnation,
				      .arg = m,
				      .send = net_send,
				      .event = net_event,
				      .probe_stream = net_stream,
				      .clash = net_clash};

	snprintf(text, sizeof(text), "Node-%u", m->n);
	c.name = name ? name : text;
	memcpy(c.id.octets, &id, sizeof(id));
	if (m->net->rides) {
		c.ride = net_ride;
		c.rode = net_rode;
	}
	m->ms = wm_members_new(&c);
	cr_assert(m->ms);
	cr_assert_eq(wm_members_start(m->ms), 0);
}

static inline void net_make(struct net_member *m, const char *name, uint32_t incarnation)
{
	net_make_as(m, name, incarnation, m->n);
}

static inline struct net_member *net_add(const char *name)
{
	struct net_member *m = calloc(1, sizeof(*m));

	cr_assert(m);
	m->n = net.count;
	m->streams = true;
	m->net = &net;
	virtual_env_init(&m->v, net_random());
	m->v.ns = net.ns + (m->n % 7) * 3600 * WM_NS_PER_S; /* clocks agree on nothing */
	net.m[net.count++] = m;
	net_make(m, name, 0);
	return m;
}

/* The agent is gone, its host is not. */
static inline void net_kill(struct net_member *m)
{
	wm_members_free(m->ms);
	m->ms = NULL;
	while (!TAILQ_EMPTY(&m->v.armed))
		abort();
}

static inline void net_join(struct net_member *a, struct net_member *b)
{
	struct wm_err e = {0};
	struct wm_buf x, y;

	wm_buf_init(&x, 8u << 20);
	wm_buf_init(&y, 8u << 20);
	cr_assert_eq(wm_members_state(a->ms, &x), 0);
	cr_assert_eq(wm_members_state(b->ms, &y), 0);
	cr_assert_eq(wm_members_merge(b->ms, x.data, x.len, &e), 0, "%s", e.text);
	cr_assert_eq(wm_members_merge(a->ms, y.data, y.len, &e), 0, "%s", e.text);
	wm_buf_done(&x);
	wm_buf_done(&y);
}

static inline uint64_t net_timer_ns(struct net_member *m, uint64_t offset)
{
	struct virtual_timer *t = TAILQ_FIRST(&m->v.armed);
	uint64_t at = t ? t->at_ns - offset : UINT64_MAX;

	if (at < net.ns)
		at = net.ns;
	return t && at < m->paused_until_ns ? m->paused_until_ns : at;
}

static inline uint64_t net_offset(const struct net_member *m)
{
	return (m->n % 7) * 3600 * WM_NS_PER_S;
}

static inline void net_run_timer(struct net_member *m)
{
	struct virtual_timer *t = TAILQ_FIRST(&m->v.armed);

	virtual_timer_disarm(&t->in_env);
	m->v.ns = net.ns + net_offset(m);
	t->fn(t->arg);
}

static inline void net_deliver(struct net_packet *p)
{
	struct net_member *to = net_at(&p->to), *from = net_at(&p->from);

	if (!to || to->silent || from->silent || to->part != from->part) {
		free(p);
	} else if (to->paused_until_ns > net.ns) {
		p->at_ns = to->paused_until_ns; /* waits in its socket */
		net_push(p);
	} else if (p->refusal) {
		to->v.ns = net.ns + net_offset(to);
		if (to->ms)
			wm_members_refused(to->ms, &p->from);
		free(p);
	} else if (!to->ms) {
		p->refusal = true;
		p->at_ns = net.ns + net.delay_us * 1000ull;
		p->to = net_addr(from->n);
		p->from = net_addr(to->n);
		net_push(p);
	} else {
		to->v.ns = net.ns + net_offset(to);
		wm_members_datagram(to->ms, &p->from, p->p, p->len);
		free(p);
	}
}

static inline void net_pass(uint64_t ms)
{
	uint64_t end = net.ns + ms * WM_NS_PER_MS;

	for (;;) {
		uint64_t at = net.len ? net.heap[0]->at_ns : UINT64_MAX, t;
		struct net_member *who = NULL;

		for (unsigned i = 0; i < net.count; i++) {
			t = net_timer_ns(net.m[i], net_offset(net.m[i]));
			if (t < at) {
				at = t;
				who = net.m[i];
			}
		}
		if (at > end)
			break;
		net.ns = at > net.ns ? at : net.ns;
		if (who)
			net_run_timer(who);
		else
			net_deliver(net_pop());
	}
	net.ns = end;
	for (unsigned i = 0; i < net.count; i++)
		net.m[i]->v.ns = net.ns + net_offset(net.m[i]);
}

static inline void net_begin(unsigned members, uint64_t seed)
{
	net = (struct net){.rides = net.rides};
	net.ns = 86400 * WM_NS_PER_S;
	net.random = seed;
	net.delay_us = 500;
	net.timers = wm_member_profile(WM_MEMBER_LAN);
	for (unsigned i = 0; i < members; i++) {
		net_add(NULL);
		if (i)
			net_join(net.m[i], net.m[0]);
		net_pass(50);
	}
}

static inline void net_end(void)
{
	for (unsigned i = 0; i < net.count; i++) {
		wm_members_free(net.m[i]->ms);
		free(net.m[i]);
	}
	while (net.len)
		free(net_pop());
	free(net.heap);
	net = (struct net){0};
}

static inline struct wm_member *net_seen(struct net_member *by, const struct net_member *of)
{
	struct wm_peer_id id = {0};

	memcpy(id.octets, &of->n, sizeof(of->n));
	return wm_members_by_id(by->ms, &id);
}

/** How many of the others have it in a state. */
static inline unsigned net_have(const struct net_member *of, enum wm_member_state s)
{
	unsigned n = 0;

	for (unsigned i = 0; i < net.count; i++)
		if (net.m[i] != of && net.m[i]->ms && net_seen(net.m[i], of))
			n += net_seen(net.m[i], of)->state == s;
	return n;
}

static inline unsigned net_events(enum wm_member_event e)
{
	unsigned n = 0;

	for (unsigned i = 0; i < net.count; i++)
		n += net.m[i]->events[e];
	return n;
}
