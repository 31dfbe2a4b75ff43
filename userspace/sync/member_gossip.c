/* SPDX-License-Identifier: Apache-2.0 */
/* member_gossip.c - news on its way. A member has one piece of news at most, which is how it stands
 * when a datagram is made; what was told least often goes first. */
#include "member_internal.h"

#include <errno.h>
#include <math.h>

#define FRESH_MS	 20 /* new news waits for others so long, not for the next interval */
#define PACKET_MIN	 24 /* octets of the smallest news */
#define NEWS_OVERHEAD	 3  /* octets of a field's tag and length */
#define GOSSIP_NODES_MAX 16
#define NOBODY_FACTOR	 10 /* x the interval, while there is nobody to tell */

/* How often each piece of news is sent: SWIM's multiple of log(n), and one more, for of forty
 * members one in 3,000 is not reached by eight. */
static unsigned limit(const struct wm_members *ms)
{
	double sends = ms->c.timers.retransmit_mult * (1 + log10((double)ms->alive + 1));

	return sends < MEMBER_TIERS_MAX ? (unsigned)fmax(ceil(sends), 1) : MEMBER_TIERS_MAX;
}

void member_untell(struct node *n)
{
	if (!n->queued)
		return;
	TAILQ_REMOVE(&n->ms->tiers[n->sent], n, news);
	n->queued = false;
	n->ms->queued--;
}

static void arm(struct wm_members *ms, unsigned ms_from_now)
{
	if (ms->gossip && !wm_env_timer_arm(ms->gossip, ms_from_now))
		ms->gossip_armed = true;
}

void member_tell(struct node *n)
{
	struct wm_members *ms = n->ms;

	member_untell(n);
	n->sent = 0;
	TAILQ_INSERT_HEAD(&ms->tiers[0], n, news);
	n->queued = true;
	ms->queued++;
	if (!ms->gossip_armed || wm_env_ms(ms->env) - ms->gossip_last_ms >= FRESH_MS)
		arm(ms, FRESH_MS);
}

static void told(struct node *n)
{
	struct wm_members *ms = n->ms;
	unsigned sent = n->sent + 1;

	member_untell(n);
	if (sent >= limit(ms))
		return;
	n->sent = sent;
	n->queued = true;
	ms->queued++;
	TAILQ_INSERT_TAIL(&ms->tiers[sent], n, news);
}

struct batch {
	struct packed one[MEMBER_NEWS_MAX];
	Gossip__Member *list[MEMBER_NEWS_MAX];
	struct node *of[MEMBER_NEWS_MAX];
	unsigned count;
	size_t room;
};

/* @return false: there is no room for it. */
static bool put(struct batch *b, struct node *n)
{
	struct packed *one = &b->one[b->count];
	size_t len;

	if (b->count == MEMBER_NEWS_MAX || b->room < PACKET_MIN)
		return false;
	member_pack(n, false, one);
	len = gossip__member__get_packed_size(&one->m) + NEWS_OVERHEAD;
	if (len > b->room)
		return false;
	b->room -= len;
	b->list[b->count] = &one->m;
	b->of[b->count++] = n;
	return true;
}

static void gather(struct wm_members *ms, struct batch *b, const struct node *first)
{
	struct node *n;

	for (unsigned t = 0; ms->queued && t < MEMBER_TIERS_MAX; t++)
		TAILQ_FOREACH (n, &ms->tiers[t], news)
			if (n != first && !put(b, n))
				return;
}

void member_send(struct wm_members *ms, const struct wm_peer_addr *at, struct node *to,
		 Gossip__Packet *p)
{
	uint8_t out[WM_MEMBER_PACKET_MAX];
	struct node *first = to && !to->m.self && to->m.state != WM_MEMBER_ALIVE ? to : NULL;
	struct batch b;
	size_t len;

	p->from.data = ms->self->m.id.octets;
	p->from.len = sizeof(ms->self->m.id.octets);
	b.count = 0;
	b.room = WM_MEMBER_PACKET_MAX - gossip__packet__get_packed_size(p);
	if (first && !put(&b, first))
		first = NULL;
	gather(ms, &b, first);
	p->news = b.list;
	p->n_news = b.count;
	len = gossip__packet__pack(p, out);
	p->news = NULL;
	p->n_news = 0;
	for (unsigned i = first != NULL; i < b.count; i++)
		told(b.of[i]);
	ms->stats.packets_out++;
	ms->stats.octets_out += len;
	ms->c.send(ms->c.arg, at, out, len);
}

/* To a few at random; one that is drawn twice is told once. @return how many were told. */
static unsigned round_of(struct wm_members *ms)
{
	struct node *to[GOSSIP_NODES_MAX];
	unsigned n = 0;

	for (unsigned i = 0; i < ms->c.timers.gossip_nodes && i < GOSSIP_NODES_MAX; i++) {
		bool again = false;

		to[n] = member_any(ms, NULL, true);
		for (unsigned j = 0; j < n; j++)
			again |= to[j] == to[n];
		n += to[n] && !again;
	}
	for (unsigned i = 0; i < n && ms->queued; i++) {
		Gossip__Packet p = GOSSIP__PACKET__INIT;

		member_send(ms, &to[i]->m.at, to[i], &p);
	}
	return n;
}

void member_gossip_now(struct wm_members *ms)
{
	unsigned n = ms->queued ? round_of(ms) : 0;

	ms->gossip_last_ms = wm_env_ms(ms->env);
	ms->gossip_armed = false;
	if (ms->queued)
		arm(ms, ms->c.timers.gossip_interval * (n ? 1 : NOBODY_FACTOR));
}

static void on_gossip(void *arg)
{
	member_gossip_now(arg);
}

int member_gossip_start(struct wm_members *ms)
{
	ms->gossip = wm_env_timer_new(ms->env, on_gossip, ms);
	return ms->gossip ? 0 : -ENOMEM;
}

/* --- what comes --- */
static void take_news(struct wm_members *ms, const Gossip__Packet *p)
{
	struct news w;

	for (size_t i = 0; i < p->n_news; i++) {
		if (member_unpack(p->news[i], &w))
			member_news(ms, &w, false);
		else
			ms->stats.malformed++;
	}
}

void wm_members_datagram(struct wm_members *ms, const struct wm_peer_addr *from, const void *p,
			 size_t len)
{
	struct arena a = {.p = ms->arena, .cap = sizeof(ms->arena)};
	ProtobufCAllocator al = member_allocator(&a);
	Gossip__Packet *in = NULL;
	struct wm_peer_id id;

	ms->stats.packets_in++;
	ms->stats.octets_in += len;
	if (len <= WM_MEMBER_PACKET_MAX)
		in = gossip__packet__unpack(&al, len, p);
	if (!in || !member_unpack_id(&in->from, &id) || in->ride.len > WM_MEMBER_RIDE_MAX) {
		ms->stats.malformed++;
		return;
	}
	take_news(ms, in);
	switch ((int)in->kind) {
	case GOSSIP__PACKET__KIND__GOSSIP:
		break;
	case GOSSIP__PACKET__KIND__PROBE:
	case GOSSIP__PACKET__KIND__INDIRECT:
		member_asked(ms, from, in);
		break;
	case GOSSIP__PACKET__KIND__ACK:
	case GOSSIP__PACKET__KIND__NACK:
	case GOSSIP__PACKET__KIND__REFUSED:
		member_answered(ms, from, in);
		break;
	case GOSSIP__PACKET__KIND__WHO:
	case GOSSIP__PACKET__KIND__WHO_IS:
		member_who(ms, from, in);
		break;
	default:
		ms->stats.malformed++;
	}
}
