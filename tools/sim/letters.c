/* SPDX-License-Identifier: Apache-2.0 */
/* letters.c - what goes between two nodes and is no stream of theirs: datagrams, which are lost,
 * come late or twice; what a host answers for an agent that is not there, unless the host is gone
 * too; and short streams, which stand or do not: one that asks whether an agent is there, and one
 * that carries a state. An agent that stands still reads what came when it runs again. */
#include "sim.h"
#include "userspace/security/seal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define HEADERS	   28 /* octets of IPv4 and UDP */
#define HANDSHAKES 4  /* one-way delays until a stream stands: TCP and TLS 1.3 */

enum letter_kind { DATAGRAM, REFUSAL, KNOCK, ANSWER, STATE, STATE_REPLY };
struct letter {
	struct sim_event event;
	struct letter *next; /* of those that are free */
	struct sim *s;
	int from, to;
	enum letter_kind kind;
	uint32_t number;
	int err;
	size_t len;
	uint8_t data[];
};

static void on_letter(void *arg);

static struct letter *letter(struct sim *s, enum letter_kind kind, int from, int to, const void *p,
			     size_t len)
{
	struct letter *l = s->letters;

	if (l && len <= WM_MEMBER_PACKET_MAX)
		s->letters = l->next;
	else
		l = malloc(sizeof(*l) + (len > WM_MEMBER_PACKET_MAX ? len : WM_MEMBER_PACKET_MAX));
	if (!l)
		abort();
	l->s = s;
	l->from = from;
	l->to = to;
	l->kind = kind;
	l->number = 0;
	l->err = 0;
	l->len = len;
	if (len)
		memcpy(l->data, p, len);
	/* a host answers by itself; what an agent reads waits until that runs */
	sim_event_init(&l->event, to, on_letter, l);
	return l;
}

/* The one that was read last is written next: it is in a cache. */
static void done(struct letter *l)
{
	if (l->len > WM_MEMBER_PACKET_MAX) {
		free(l);
		return;
	}
	l->next = l->s->letters;
	l->s->letters = l;
}

void sim_letters_free(struct sim *s)
{
	struct letter *l;

	while ((l = s->letters)) {
		s->letters = l->next;
		free(l);
	}
}

static void post(struct letter *l, uint64_t delay_ns)
{
	sim_at(l->s, &l->event, l->s->ns + delay_ns);
}

static void answer(struct sim *s, const struct letter *knock, int err)
{
	struct letter *l = letter(s, ANSWER, knock->to, knock->from, NULL, 0);

	l->number = knock->number;
	l->err = err;
	post(l, (err ? 1 : HANDSHAKES) * sim_delay_ns(s, knock->to, knock->from) +
			sim_losses_ns(s, knock->to, knock->from));
}

/* @return no agent is there, and its host said so, or cannot. */
static bool nobody(struct letter *l)
{
	struct sim *s = l->s;

	if (s->nodes[l->to].alive)
		return false;
	if (s->nodes[l->to].silent || sim_cut(s, l->to, l->from))
		return true;
	if (l->kind == KNOCK)
		answer(s, l, -ECONNREFUSED);
	else if (l->kind == DATAGRAM && sim_unit(s) * 100 >= s->c.loss_pct)
		post(letter(s, REFUSAL, l->to, l->from, NULL, 0), sim_delay_ns(s, l->to, l->from));
	return true;
}

static void merge(struct letter *l)
{
	struct sim *s = l->s;
	struct wm_err e = {0};

	if (wm_members_merge(s->nodes[l->to].members, l->data, l->len, &e)) {
		fprintf(stderr, "sim: node %d cannot read a state of node %d: %s\n", l->to, l->from,
			e.text);
		abort();
	}
	if (l->kind == STATE)
		sim_state(s, l->to, l->from, true);
}

static void on_letter(void *arg)
{
	struct letter *l = arg;
	struct sim *s = l->s;
	struct wm_members *ms = s->nodes[l->to].members;
	struct wm_peer_addr from;

	if (sim_cut(s, l->from, l->to) || nobody(l)) {
		done(l);
		return;
	}
	if (l->kind == DATAGRAM || l->kind == REFUSAL)
		from = sim_address(l->from);
	switch (l->kind) {
	case DATAGRAM:
		wm_members_datagram(ms, &from, l->data, l->len);
		break;
	case REFUSAL:
		wm_members_refused(ms, &from);
		break;
	case KNOCK:
		if (!sim_cut(s, l->to, l->from))
			answer(s, l, 0);
		break;
	case ANSWER:
		wm_members_stream_probed(ms, l->number, l->err);
		break;
	case STATE:
	case STATE_REPLY:
		merge(l);
		break;
	}
	done(l);
}

static void send_once(struct sim *s, int a, int b, const void *p, size_t len, uint64_t left_ns)
{
	uint64_t ns = left_ns + sim_delay_ns(s, a, b);

	if (s->c.late_pct && sim_unit(s) * 100 < s->c.late_pct)
		ns += sim_below(s, s->c.late_ms * WM_NS_PER_MS);
	post(letter(s, DATAGRAM, a, b, p, len), ns);
}

void sim_datagram(struct sim *s, int a, int b, const void *p, size_t len)
{
	struct sim_node *n = &s->nodes[a];
	size_t octets = len + WM_SEAL_OVERHEAD + HEADERS;

	s->datagrams++;
	s->wire_octets += octets;
	n->out_octets += octets;
	s->nodes[b].in_octets += octets;
	n->sends_ns = n->sends_ns > s->ns ? n->sends_ns : s->ns;
	n->sends_ns += octets * WM_NS_PER_S / s->c.octets_per_s;
	if (sim_cut(s, a, b) || (s->c.loss_pct && sim_unit(s) * 100 < s->c.loss_pct))
		return;
	send_once(s, a, b, p, len, n->sends_ns - s->ns);
	if (s->c.twice_pct && sim_unit(s) * 100 < s->c.twice_pct)
		send_once(s, a, b, p, len, n->sends_ns - s->ns);
}

void sim_knock(struct sim *s, int a, int b, uint32_t number)
{
	struct letter *l;

	if (sim_cut(s, a, b) || sim_cut(s, b, a))
		return;
	l = letter(s, KNOCK, a, b, NULL, 0);
	l->number = number;
	post(l, sim_delay_ns(s, a, b) + sim_losses_ns(s, a, b));
}

void sim_state(struct sim *s, int a, int b, bool reply)
{
	struct wm_buf buf;

	if (sim_cut(s, a, b) || sim_cut(s, b, a))
		return;
	wm_buf_init(&buf, SIZE_MAX);
	if (wm_members_state(s->nodes[a].members, &buf))
		abort();
	s->state_octets += buf.len;
	post(letter(s, reply ? STATE_REPLY : STATE, a, b, buf.data, buf.len),
	     (reply ? 1 : HANDSHAKES) * sim_delay_ns(s, a, b) + sim_losses_ns(s, a, b) +
		     buf.len * WM_NS_PER_S / s->c.octets_per_s);
	wm_buf_done(&buf);
}
