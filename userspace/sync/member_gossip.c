/* SPDX-License-Identifier: Apache-2.0 */
/* member_gossip.c - news on its way. A member has one piece of news at most, which is how it stands
 * when a datagram is made; what was told least often goes first. */
#include "member_internal.h"

#include <errno.h>
#include <math.h>

#define FRESH_MS	 20 /* new news waits for others so long, not for the next interval */
#define PACKET_MIN	 24 /* octets of the smallest news */
#define NEWS_OVERHEAD	 3  /* octets of a field's tag and length */
#define NEWS_FIELD	 7  /* of gossip.proto's Packet */
#define TAIL_OVERHEAD	 16 /* octets of up_ms, and of a field's tag and length */
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
	if (TAILQ_EMPTY(&n->ms->tiers[n->sent]))
		n->ms->told &= ~(1ull << n->sent);
	n->queued = false;
	n->ms->queued--;
}

/* @p first: before what was told as often. */
static void enqueue(struct node *n, unsigned sent, bool first)
{
	struct wm_members *ms = n->ms;

	n->sent = (uint8_t)sent;
	n->queued = true;
	ms->queued++;
	ms->told |= 1ull << sent;
	if (first)
		TAILQ_INSERT_HEAD(&ms->tiers[sent], n, news);
	else
		TAILQ_INSERT_TAIL(&ms->tiers[sent], n, news);
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
	enqueue(n, 0, true);
	if (!ms->gossip_armed || wm_env_ms(ms->env) - ms->gossip_last_ms >= FRESH_MS)
		arm(ms, FRESH_MS);
}

static void told(struct node *n)
{
	struct wm_members *ms = n->ms;
	unsigned sent = n->sent + 1;

	member_untell(n);
	if (sent < limit(ms))
		enqueue(n, sent, false);
}

/* A datagram that is filled. */
struct batch {
	uint8_t out[WM_MEMBER_PACKET_MAX];
	size_t len, room;
	struct node *of[MEMBER_NEWS_MAX];
	unsigned count;
};

/* @return false: there is no room for it. */
static bool put(struct batch *b, struct node *n)
{
	uint8_t one[MEMBER_OCTETS];
	size_t len;

	if (b->count == MEMBER_NEWS_MAX || b->room < PACKET_MIN)
		return false;
	len = member_write(n, MEMBER_NEWS, one);
	if (len + NEWS_OVERHEAD > b->room)
		return false;
	b->room -= len + NEWS_OVERHEAD;
	b->len += member_write_field(NEWS_FIELD, one, len, b->out + b->len);
	b->of[b->count++] = n;
	return true;
}

static void gather(struct wm_members *ms, struct batch *b, const struct node *first)
{
	struct node *n;

	for (uint64_t left = ms->told; left; left &= left - 1)
		TAILQ_FOREACH (n, &ms->tiers[__builtin_ctzll(left)], news)
			if (n != first && !put(b, n))
				return;
}

void member_send(struct wm_members *ms, const struct wm_peer_addr *at, struct node *to,
		 struct packet *k)
{
	struct node *first = to && !to->m.self && to->m.state != WM_MEMBER_ALIVE ? to : NULL;
	uint8_t tail[MEMBER_OCTETS + TAIL_OVERHEAD];
	size_t tail_len = member_write_tail(k, tail);
	struct batch b;

	k->from = ms->self->m.id;
	b.count = 0;
	b.len = member_write_head(k, b.out);
	b.room = sizeof(b.out) - b.len - tail_len;
	if (first && !put(&b, first))
		first = NULL;
	gather(ms, &b, first);
	memcpy(b.out + b.len, tail, tail_len);
	b.len += tail_len;
	for (unsigned i = first != NULL; i < b.count; i++)
		told(b.of[i]);
	ms->stats.packets_out++;
	ms->stats.octets_out += b.len;
	ms->c.send(ms->c.arg, at, b.out, b.len);
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
		struct packet out;

		packet_init(&out, GOSSIP__PACKET__KIND__GOSSIP);
		member_send(ms, &to[i]->m.at, to[i], &out);
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
static void take_news(struct wm_members *ms, const struct packet *k)
{
	struct news w;

	for (unsigned i = 0; i < k->news_count; i++) {
		if (member_read(k->news[i], &w))
			member_news(ms, &w, false);
		else
			ms->stats.malformed++;
	}
}

void wm_members_datagram(struct wm_members *ms, const struct wm_peer_addr *from, const void *p,
			 size_t len)
{
	struct packet k;

	ms->stats.packets_in++;
	ms->stats.octets_in += len;
	if (len > WM_MEMBER_PACKET_MAX || !member_read_packet(p, len, &k)) {
		ms->stats.malformed++;
		return;
	}
	take_news(ms, &k);
	switch (k.kind) {
	case GOSSIP__PACKET__KIND__GOSSIP:
		break;
	case GOSSIP__PACKET__KIND__PROBE:
	case GOSSIP__PACKET__KIND__INDIRECT:
		member_asked(ms, from, &k);
		break;
	case GOSSIP__PACKET__KIND__ACK:
	case GOSSIP__PACKET__KIND__NACK:
	case GOSSIP__PACKET__KIND__REFUSED:
		member_answered(ms, from, &k);
		break;
	case GOSSIP__PACKET__KIND__WHO:
	case GOSSIP__PACKET__KIND__WHO_IS:
		member_who(ms, from, &k);
		break;
	default:
		ms->stats.malformed++;
	}
}
