/* SPDX-License-Identifier: Apache-2.0 */
/* network.c - the model of the network. A stream is ordered and reliable: what is lost is sent
 * again after its time-out, doubled each time, and what is behind it waits; through a cut nothing
 * comes, and when it lasts longer than a stream bears, both ends find it broken. What is said of
 * the tree (an end wants news over it) are frames of the stream, as with real agents. */
#include "sim.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RETRIES	   12  /* of one packet before the model gives up drawing */
#define REOPEN_MS  500 /* until a stream that is wanted is tried again */
#define HANDSHAKES 4   /* one-way delays until a stream stands: TCP and TLS 1.3 */
#define FRAME	   5   /* octets of a frame's head */
#define RECORD	   74  /* of TLS 1.3, TCP with time stamps, IPv4: of a frame that goes alone */

struct frame {
	struct frame *next;
	uint64_t ready_ns;
	enum sim_channel channel;
	size_t len;
	uint8_t data[];
};
/* One direction. */
struct pipe {
	struct sim_stream *st;
	struct frame *first, **last;
	uint64_t ready_ns;	     /* of the last frame: what follows comes behind it */
	uint64_t cut_ns, backoff_ns; /* first try into a cut; the next pause */
	struct sim_event event;
};
struct sim_stream {
	struct sim *s;
	int end[2];
	bool open, stood, broken, wanted[2], tree[2];
	bool dead[2]; /* that end's agent is gone; another life of it has streams of its own */
	struct pipe pipe[2]; /* from that end */
	struct sim_event event;
	struct sim_stream *next_ended;
};

bool sim_cut(const struct sim *s, int from, int to)
{
	return s->cut[s->nodes[from].group][s->nodes[to].group];
}

uint32_t sim_delay_us(const struct sim *s, int a, int b)
{
	unsigned ra = s->nodes[a].region, rb = s->nodes[b].region;

	return ra == rb ? s->c.delay_us : s->between_us[ra][rb];
}

uint64_t sim_delay_ns(struct sim *s, int a, int b)
{
	double us = sim_delay_us(s, a, b);

	if (s->c.jitter_us)
		us += -log(1 - sim_unit(s)) * s->c.jitter_us;
	return (uint64_t)(us * 1000);
}

/* What losses cost: each is sent again later. */
uint64_t sim_losses_ns(struct sim *s, int a, int b)
{
	uint64_t rto = s->c.rto_ms * WM_NS_PER_MS + 2000ull * sim_delay_us(s, a, b), sum = 0;

	if (!s->c.loss_pct)
		return 0;
	for (int i = 0; i < RETRIES && sim_unit(s) * 100 < s->c.loss_pct; i++, rto *= 2)
		sum += rto;
	return sum;
}

static struct sim_stream *find_other(const struct sim *s, int a, int b,
				     const struct sim_stream *than)
{
	const struct sim_node *n = &s->nodes[a];

	for (unsigned i = 0; i < n->streams_count; i++) {
		struct sim_stream *st = n->streams[i];

		if (st != than && (st->end[0] == b || st->end[1] == b))
			return st;
	}
	return NULL;
}

static struct sim_stream *find(const struct sim *s, int a, int b)
{
	return find_other(s, a, b, NULL);
}

static void list_add(struct sim_node *n, struct sim_stream *st)
{
	if (n->streams_count == n->streams_cap) {
		n->streams_cap = n->streams_cap ? 2 * n->streams_cap : 16;
		n->streams = realloc(n->streams, n->streams_cap * sizeof(struct sim_stream *));
		if (!n->streams)
			abort();
	}
	n->streams[n->streams_count++] = st;
}

static void list_del(struct sim_node *n, const struct sim_stream *st)
{
	for (unsigned i = 0; i < n->streams_count; i++) {
		if (n->streams[i] == st) {
			n->streams[i] = n->streams[--n->streams_count];
			return;
		}
	}
}

static void set_tree(struct sim_stream *st, int e, bool on)
{
	struct sim_node *n = &st->s->nodes[st->end[e]];

	if (st->tree[e] == on)
		return;
	st->tree[e] = on;
	if (!n->alive)
		return;
	if (on)
		wm_spread_up(n->spread, &st->s->nodes[st->end[!e]].id);
	else
		wm_spread_down(n->spread, &st->s->nodes[st->end[!e]].id);
}

/* Both ends find it broken. */
static void break_stream(struct sim_stream *st)
{
	struct sim *s = st->s;

	if (st->broken)
		return;
	st->broken = true;
	list_del(&s->nodes[st->end[0]], st);
	list_del(&s->nodes[st->end[1]], st);
	sim_cancel(s, &st->event);
	sim_cancel(s, &st->pipe[0].event);
	sim_cancel(s, &st->pipe[1].event);
	st->next_ended = s->ended;
	s->ended = st;
	for (int e = 0; e < 2; e++) {
		const struct sim_node *n = &s->nodes[st->end[e]];

		if (st->dead[e])
			continue;
		set_tree(st, e, false);
		if (st->stood && n->alive && n->replica)
			wm_replica_down(n->replica, &s->nodes[st->end[!e]].id);
		if (st->stood)
			sim_members_doubt(s, st->end[e], st->end[!e]);
	}
}

static void on_break(void *arg)
{
	break_stream(arg);
}

void sim_network_free(struct sim *s)
{
	struct sim_stream *st;
	struct frame *f;

	while ((st = s->ended)) {
		s->ended = st->next_ended;
		for (int e = 0; e < 2; e++) {
			while ((f = st->pipe[e].first)) {
				st->pipe[e].first = f->next;
				free(f);
			}
		}
		free(st);
	}
}

/* --- frames ----------------------------------------------------------------------------------- */
static void handle(struct sim_stream *st, int e, const struct frame *f)
{
	struct sim_node *n = &st->s->nodes[st->end[e]];
	const struct wm_peer_id *from = &st->s->nodes[st->end[!e]].id;
	struct wm_err err = {0};
	int r = 0;

	if (f->channel == SIM_TREE)
		set_tree(st, e, true);
	else if (f->channel == SIM_UNTREE)
		set_tree(st, e, false);
	else if (f->channel == SIM_SPREAD && st->tree[e])
		r = wm_spread_receive(n->spread, from, f->data, f->len);
	else if (f->channel >= SIM_ASK && n->leaf)
		sim_leaves_frame(st->s, st->end[e], st->end[!e], f->data, f->len);
	else if (f->channel == SIM_REPLICA && n->replica)
		r = wm_replica_receive(n->replica, from, f->data, f->len, &err);
	if (r) {
		fprintf(stderr, "sim: node %d cannot read a frame of node %d: %s\n", st->end[e],
			st->end[!e], err.text);
		abort();
	}
}

static void on_arrival(void *arg)
{
	struct pipe *p = arg;
	struct sim_stream *st = p->st;
	struct sim *s = st->s;
	int e = p == &st->pipe[0];
	struct frame *f = p->first;

	if (sim_cut(s, st->end[!e], st->end[e]) || sim_cut(s, st->end[e], st->end[!e])) {
		if (!p->backoff_ns) {
			p->cut_ns = s->ns;
			p->backoff_ns = s->c.rto_ms * WM_NS_PER_MS;
		}
		if (s->ns - p->cut_ns > s->c.stream_timeout_ms * WM_NS_PER_MS) {
			break_stream(st);
			return;
		}
		sim_at(s, &p->event, s->ns + p->backoff_ns);
		p->backoff_ns *= 2;
		return;
	}
	p->backoff_ns = 0;
	p->first = f->next;
	if (!p->first)
		p->last = &p->first;
	else
		sim_at(s, &p->event, p->first->ready_ns);
	if (s->nodes[st->end[e]].alive)
		handle(st, e, f);
	free(f);
}

static void send_on(struct sim_stream *st, int e, enum sim_channel ch, const void *p, size_t len)
{
	struct frame *f = malloc(sizeof(*f) + len);
	struct sim *s = st->s;
	struct pipe *pipe = &st->pipe[e];
	struct sim_node *n = &s->nodes[st->end[e]];
	uint64_t left;

	if (!f)
		abort();
	*f = (struct frame){.channel = ch, .len = len};
	if (len)
		memcpy(f->data, p, len);
	n->sends_ns = n->sends_ns > s->ns ? n->sends_ns : s->ns;
	n->sends_ns += (len + FRAME) * WM_NS_PER_S / s->c.octets_per_s;
	left = n->sends_ns;
	f->ready_ns = left + sim_delay_ns(s, st->end[e], st->end[!e]) +
		      sim_losses_ns(s, st->end[e], st->end[!e]);
	if (f->ready_ns < pipe->ready_ns)
		f->ready_ns = pipe->ready_ns;
	pipe->ready_ns = f->ready_ns;
	s->octets += len + FRAME;
	n->out_octets += len + FRAME + RECORD;
	s->nodes[st->end[!e]].in_octets += len + FRAME + RECORD;
	s->spread_octets += ch == SIM_SPREAD ? len + FRAME : 0;
	if (!pipe->first && st->open)
		sim_at(s, &pipe->event, f->ready_ns);
	*pipe->last = f;
	pipe->last = &f->next;
}

static void on_open(void *arg)
{
	struct sim_stream *st = arg, *old;
	struct sim *s = st->s;
	int a = st->end[0], b = st->end[1];

	if (!s->nodes[a].alive || !s->nodes[b].alive || sim_cut(s, a, b) || sim_cut(s, b, a)) {
		if (s->nodes[a].alive && (st->wanted[0] || st->wanted[1])) {
			sim_at(s, &st->event, s->ns + REOPEN_MS * WM_NS_PER_MS);
			return;
		}
		break_stream(st);
		return;
	}
	while ((old = find_other(s, b, a, st)))
		break_stream(old); /* of a former life of one of them, not noticed yet */
	st->open = st->stood = true;
	for (int e = 0; e < 2 && !st->broken; e++) {
		struct sim_node *n = &s->nodes[st->end[e]];

		st->pipe[e].ready_ns = s->ns;
		if (st->wanted[e]) {
			send_on(st, e, SIM_TREE, NULL, 0);
			set_tree(st, e, true);
		}
		if (st->pipe[e].first && st->pipe[e].event.slot == SIM_IDLE)
			sim_at(s, &st->pipe[e].event, st->pipe[e].first->ready_ns);
		if (n->replica && !st->broken)
			wm_replica_up(n->replica, &s->nodes[st->end[!e]].id);
	}
}

static struct sim_stream *open_stream(struct sim *s, int a, int b)
{
	struct sim_stream *st = calloc(1, sizeof(*st));

	if (!st)
		abort();
	st->s = s;
	st->end[0] = a;
	st->end[1] = b;
	for (int e = 0; e < 2; e++) {
		st->pipe[e].st = st;
		st->pipe[e].last = &st->pipe[e].first;
		sim_event_init(&st->pipe[e].event, st->end[!e], on_arrival, &st->pipe[e]);
		list_add(&s->nodes[st->end[e]], st);
	}
	sim_event_init(&st->event, a, on_open, st);
	sim_at(s, &st->event, s->ns + HANDSHAKES * sim_delay_ns(s, a, b) + sim_losses_ns(s, a, b));
	return st;
}

void sim_want(struct sim *s, int a, int b, bool on)
{
	struct sim_stream *st = find(s, a, b);
	int e;

	if (!st && !on)
		return;
	if (!st)
		st = open_stream(s, a, b);
	e = st->end[1] == a;
	if (st->wanted[e] == on)
		return;
	st->wanted[e] = on;
	if (!st->open)
		return;
	send_on(st, e, on ? SIM_TREE : SIM_UNTREE, NULL, 0);
	set_tree(st, e, on);
}

void sim_send(struct sim *s, int a, int b, enum sim_channel ch, const void *p, size_t len)
{
	struct sim_stream *st = find(s, a, b);

	if (!st)
		st = open_stream(s, a, b);
	send_on(st, st->end[1] == a, ch, p, len);
}

void sim_break(struct sim *s, int a, int b)
{
	struct sim_stream *st = find(s, a, b);

	if (st)
		break_stream(st);
}

void sim_break_all(struct sim *s, int a, bool silent)
{
	struct sim_node *n = &s->nodes[a];

	while (n->streams_count) {
		struct sim_stream *st = n->streams[n->streams_count - 1];
		int e = st->end[1] == a;

		/* it is off the list of the one that went; the other hears of it later */
		list_del(n, st);
		st->tree[e] = st->wanted[e] = st->open = false;
		st->dead[e] = true;
		sim_cancel(s, &st->pipe[0].event);
		sim_cancel(s, &st->pipe[1].event);
		sim_cancel(s, &st->event);
		sim_event_init(&st->event, st->end[!e], on_break, st);
		sim_at(s, &st->event,
		       s->ns + (silent ? s->c.stream_timeout_ms * WM_NS_PER_MS
				       : sim_delay_ns(s, a, st->end[!e])));
	}
}

void sim_streams_tell(const struct sim *s, int a)
{
	const struct sim_node *n = &s->nodes[a];

	fprintf(stderr, "sim: node %d:", a);
	for (unsigned i = 0; i < n->streams_count; i++) {
		const struct sim_stream *st = n->streams[i];
		int e = st->end[1] == a;

		fprintf(stderr, " %d%s%s%s out %llu in %llu ms;", st->end[!e],
			st->open ? "" : " closed", st->wanted[e] ? " wanted" : "",
			st->tree[e] ? " tree" : "",
			(unsigned long long)(st->pipe[e].backoff_ns / WM_NS_PER_MS),
			(unsigned long long)(st->pipe[!e].backoff_ns / WM_NS_PER_MS));
	}
	fprintf(stderr, "\n");
}
