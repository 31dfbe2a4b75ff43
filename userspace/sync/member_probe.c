/* SPDX-License-Identifier: Apache-2.0 */
/* member_probe.c - probes: each interval one member, in an order of chance that is drawn anew after
 * each round; then others in our place, and a stream; then it is suspect. How long we wait grows
 * with the doubt in ourselves (Lifeguard, 4.1). A host that answers that nobody listens is taken
 * for what it says as soon as another member heard it, too. */
#include "member_internal.h"

#include <errno.h>

#define RELAY_SHARE 80 /* percent of the asker's time, after which a relayed probe is answered no  \
			*/

static unsigned scaled(const struct wm_members *ms, unsigned ms_of)
{
	return ms_of * (ms->stats.awareness + 1);
}

/* --- the table of probes ---------------------------------------------------------------------- */
static struct probe *probe_of(struct wm_members *ms, uint32_t number)
{
	struct probe *p = &ms->probes[number % MEMBER_PROBES];

	return p->n && p->number == number ? p : NULL;
}

static void end(struct probe *p)
{
	if (p->n && p->n->looked == p)
		p->n->looked = NULL;
	p->n = NULL;
	wm_env_timer_disarm(p->timer);
}

static void on_time(void *arg);

static struct probe *begin(struct wm_members *ms, struct node *n, enum probe_kind kind)
{
	struct wm_env_timer *timer;
	struct probe *p = NULL;

	for (unsigned tries = 0; tries < MEMBER_PROBES && !p; tries++) {
		ms->number++;
		if (!ms->probes[ms->number % MEMBER_PROBES].n)
			p = &ms->probes[ms->number % MEMBER_PROBES];
	}
	if (!p)
		return NULL;
	timer = p->timer ? p->timer : wm_env_timer_new(ms->env, on_time, p);
	if (!timer)
		return NULL;
	*p = (struct probe){.ms = ms,
			    .n = n,
			    .timer = timer,
			    .kind = kind,
			    .number = ms->number,
			    .sent_ns = wm_env_ns(ms->env)};
	if (kind != PROBE_RELAY)
		n->looked = p;
	return p;
}

void member_probe_forget(struct node *n)
{
	for (unsigned k = 0; k < MEMBER_PROBES; k++)
		if (n->ms->probes[k].n == n)
			end(&n->ms->probes[k]);
}

/* --- asking ----------------------------------------------------------------------------------- */
/* A packet with our coordinate and what rides along. */
static void send_probe(struct wm_members *ms, const struct wm_peer_addr *at, struct node *to,
		       enum _Gossip__Packet__Kind kind, uint32_t number)
{
	uint8_t ride[WM_MEMBER_RIDE_MAX];
	float vec[WM_COORDINATE_DIMS];
	Gossip__Coordinate c;
	Gossip__Packet p;

	gossip__packet__init(&p);
	p.kind = kind;
	p.number = number;
	member_pack_coordinate(&ms->vivaldi.c, &c, vec);
	p.coordinate = &c;
	if (ms->c.ride) {
		p.ride.data = ride;
		p.ride.len = ms->c.ride(ms->c.arg, ride, sizeof(ride));
	}
	member_send(ms, at, to, &p);
}

static void send_word(struct wm_members *ms, const struct wm_peer_addr *at, struct node *to,
		      enum _Gossip__Packet__Kind kind, uint32_t number, struct node *target)
{
	Gossip__Packet p;

	gossip__packet__init(&p);
	p.kind = kind;
	p.number = number;
	if (target) {
		p.target.data = target->m.id.octets;
		p.target.len = sizeof(target->m.id.octets);
	}
	member_send(ms, at, to, &p);
}

/* Others ask in our place, and a stream is tried. */
static void ask_others(struct probe *p)
{
	struct wm_members *ms = p->ms;
	struct node *asked[8];
	unsigned count = 0;

	for (unsigned k = 0; k < ms->c.timers.indirect_probes && count < WM_ARRAY_LEN(asked); k++) {
		struct node *other = member_any(ms, p->n, false);
		bool again = false;

		for (unsigned i = 0; i < count; i++)
			again |= asked[i] == other;
		if (!other || again)
			continue;
		asked[count++] = other;
		ms->stats.indirect++;
		send_word(ms, &other->m.at, other, GOSSIP__PACKET__KIND__INDIRECT, p->number, p->n);
	}
	p->nacks_wanted = count;
	p->phase = PROBE_ASKED;
	if (ms->c.probe_stream && !p->refused)
		ms->c.probe_stream(ms->c.arg, &p->n->m, p->number);
}

static void missed(struct probe *p)
{
	struct wm_members *ms = p->ms;
	struct node *n = p->n;
	uint32_t tag = member_tag(&ms->c.id);
	/* the last question of a suspicion that was refuted meanwhile is any question */
	bool final = p->final && n->doubt && n->doubt->since_ms * WM_NS_PER_MS <= p->sent_ns;

	ms->stats.probes_failed++;
	/* who should have said that they do not hear it either is silent, too: is it us? */
	if (p->nacks_wanted > p->nacks)
		member_aware(ms, (int)(p->nacks_wanted - p->nacks));
	else if (!p->nacks_wanted)
		member_aware(ms, 1);
	end(p);
	if (final)
		member_fail(n);
	else
		member_suspect(n, n->m.incarnation, &tag, 1);
}

static void on_time(void *arg)
{
	struct probe *p = arg;
	struct wm_members *ms = p->ms;
	const struct wm_member_timers *t = &ms->c.timers;

	if (!p->n)
		return;
	if (p->kind == PROBE_RELAY) {
		send_word(ms, &p->asker, NULL, GOSSIP__PACKET__KIND__NACK, p->asker_number, p->n);
		end(p);
	} else if (p->phase == PROBE_DIRECT) {
		ask_others(p);
		wm_env_timer_arm(p->timer, scaled(ms, t->probe_interval > 2 * t->probe_timeout
							      ? t->probe_interval - t->probe_timeout
							      : t->probe_timeout));
	} else {
		missed(p);
	}
}

int member_look(struct node *n, bool final)
{
	struct wm_members *ms = n->ms;
	struct probe *p;

	if (n->looked && (!final || n->looked->final))
		return 0;
	if (n->looked) /* the last question is one of its own: what came late is no answer to it */
		end(n->looked);
	p = begin(ms, n, PROBE_LOOK);
	if (!p)
		return -EBUSY;
	p->final = final;
	ms->stats.probes++;
	send_probe(ms, &n->m.at, n, GOSSIP__PACKET__KIND__PROBE, p->number);
	return wm_env_timer_arm(p->timer, scaled(ms, ms->c.timers.probe_timeout));
}

void wm_members_doubt(struct wm_members *ms, const struct wm_peer_id *id)
{
	struct node *n = member_find(ms, id);

	if (n && !n->hidden && !n->m.self && member_there(n))
		(void)member_look(n, false);
}

/* --- its turn --------------------------------------------------------------------------------- */
static void shuffle(struct wm_members *ms)
{
	for (size_t i = ms->count; i > 1; i--) {
		size_t k = wm_env_below(ms->env, i);
		struct node *n = ms->nodes[k];

		ms->nodes[k] = ms->nodes[i - 1];
		ms->nodes[i - 1] = n;
		ms->nodes[k]->at = k;
		n->at = i - 1;
	}
}

static struct node *next(struct wm_members *ms)
{
	for (size_t tries = 0; tries < 2 * ms->count; tries++) {
		struct node *n;

		if (ms->turn >= ms->count) {
			shuffle(ms);
			ms->turn = 0;
		}
		n = ms->nodes[ms->turn++];
		if (!n->m.self && member_there(n) && !n->looked)
			return n;
	}
	return NULL;
}

static void on_tick(void *arg)
{
	struct wm_members *ms = arg;
	struct node *n = ms->leaving ? NULL : next(ms);

	if (n)
		(void)member_look(n, false);
	wm_env_timer_arm(ms->tick, scaled(ms, ms->c.timers.probe_interval));
}

int member_probe_start(struct wm_members *ms)
{
	ms->tick = wm_env_timer_new(ms->env, on_tick, ms);
	if (!ms->tick)
		return -ENOMEM;
	return wm_env_timer_arm(ms->tick, wm_env_below(ms->env, ms->c.timers.probe_interval));
}

void member_probe_stop(struct wm_members *ms)
{
	wm_env_timer_free(ms->tick);
	ms->tick = NULL;
	for (unsigned k = 0; k < MEMBER_PROBES; k++) {
		ms->probes[k].n = NULL;
		wm_env_timer_free(ms->probes[k].timer);
		ms->probes[k].timer = NULL;
	}
}

/* --- answering -------------------------------------------------------------------------------- */
void member_asked(struct wm_members *ms, const struct wm_peer_addr *from, const Gossip__Packet *q)
{
	struct wm_peer_id id;
	struct node *n;
	struct probe *p;

	if (q->kind == GOSSIP__PACKET__KIND__PROBE) {
		struct node *asker = member_unpack_id(&q->from, &id) ? member_find(ms, &id) : NULL;

		send_probe(ms, from, asker, GOSSIP__PACKET__KIND__ACK, q->number);
		return;
	}
	n = member_unpack_id(&q->target, &id) ? member_find(ms, &id) : NULL;
	if (!n || n->hidden || n->m.self)
		return;
	p = begin(ms, n, PROBE_RELAY);
	if (!p) {
		ms->stats.indirect_busy++;
		return;
	}
	p->asker = *from;
	p->asker_number = q->number;
	send_probe(ms, &n->m.at, n, GOSSIP__PACKET__KIND__PROBE, p->number);
	wm_env_timer_arm(p->timer, ms->c.timers.probe_timeout * RELAY_SHARE / 100);
}

static void answered(struct probe *p, const Gossip__Packet *a, bool direct)
{
	struct wm_members *ms = p->ms;
	struct node *n = p->n;
	uint64_t rtt_ns = wm_env_ns(ms->env) - p->sent_ns;
	struct wm_coordinate c;
	bool suspect = n->m.state == WM_MEMBER_SUSPECT, final = p->final;

	n->m.heard_ms = wm_env_ms(ms->env);
	if (direct && p->phase == PROBE_DIRECT) {
		uint32_t us = (uint32_t)(rtt_ns / 1000);

		n->m.rtt_us = n->m.rtt_us ? (n->m.rtt_us * 7 + us) / 8 : us ? us : 1;
		if (a->coordinate && member_unpack_coordinate(a->coordinate, &c)) {
			member_vivaldi_take(ms->env, &ms->vivaldi, n, &c, (double)rtt_ns / 1e9);
			n->m.coordinate = c;
			n->m.has_coordinate = true;
			ms->self->m.coordinate = ms->vivaldi.c;
		}
		member_aware(ms, -1);
	}
	end(p);
	if (suspect && final)
		member_cleared(n);
}

/* Nobody listens there, says its host: to us and to another. Where there is no other our word is
 * enough. */
static void refused(struct probe *p)
{
	struct wm_members *ms = p->ms;
	struct node *n = p->n;

	if (p->kind == PROBE_RELAY) {
		send_word(ms, &p->asker, NULL, GOSSIP__PACKET__KIND__REFUSED, p->asker_number, n);
		end(p);
		return;
	}
	ms->stats.refusals += !p->refused;
	p->refused = true;
	if (p->confirmed || ms->alive <= 2) {
		end(p);
		member_fail(n);
	} else if (p->phase == PROBE_DIRECT) {
		ask_others(p);
		wm_env_timer_arm(p->timer, scaled(ms, ms->c.timers.probe_timeout));
	}
}

void member_answered(struct wm_members *ms, const struct wm_peer_addr *from,
		     const Gossip__Packet *a)
{
	struct probe *p = probe_of(ms, a->number);
	struct wm_peer_id id;
	bool direct;

	if (!p || !member_unpack_id(&a->from, &id))
		return;
	direct = wm_peer_id_same(&id, &p->n->m.id);
	(void)from;
	switch (a->kind) {
	case GOSSIP__PACKET__KIND__ACK:
		if (p->kind == PROBE_RELAY)
			send_word(ms, &p->asker, NULL, GOSSIP__PACKET__KIND__ACK, p->asker_number,
				  p->n);
		answered(p, a, direct);
		break;
	case GOSSIP__PACKET__KIND__NACK:
		p->nacks++;
		break;
	case GOSSIP__PACKET__KIND__REFUSED:
		p->nacks++;
		p->confirmed = true;
		if (p->refused) {
			struct node *n = p->n;

			end(p);
			member_fail(n);
		}
		break;
	case GOSSIP__PACKET__KIND__GOSSIP:
	case GOSSIP__PACKET__KIND__PROBE:
	case GOSSIP__PACKET__KIND__INDIRECT:
	case GOSSIP__PACKET__KIND__WHO:
	case GOSSIP__PACKET__KIND__WHO_IS:
	case _GOSSIP__PACKET__KIND_IS_INT_SIZE:
		break;
	}
}

void wm_members_refused(struct wm_members *ms, const struct wm_peer_addr *to)
{
	for (unsigned k = 0; k < MEMBER_PROBES; k++) {
		struct probe *p = &ms->probes[k];

		if (p->n && wm_peer_addr_same(&p->n->m.at, to)) {
			refused(p);
			return;
		}
	}
	for (size_t i = 0; i < ms->count; i++) {
		struct node *n = ms->nodes[i];

		if (!n->m.self && member_there(n) && wm_peer_addr_same(&n->m.at, to)) {
			(void)member_look(n, false);
			return;
		}
	}
}

void wm_members_stream_probed(struct wm_members *ms, uint32_t number, int err)
{
	static const Gossip__Packet none = {0};
	struct probe *p = probe_of(ms, number);

	if (!p || p->kind == PROBE_RELAY)
		return;
	if (!err)
		answered(p, &none, false);
	else if (err == -ECONNREFUSED)
		refused(p);
}

/* --- datagrams -------------------------------------------------------------------------------- */
static void take(struct wm_members *ms, const struct wm_peer_addr *from, const Gossip__Packet *p)
{
	struct wm_peer_id id;
	struct node *n;
	struct news w;

	for (size_t i = 0; i < p->n_news; i++) {
		if (member_unpack(p->news[i], &w))
			member_news(ms, &w, false);
		else
			ms->stats.malformed++;
	}
	n = member_unpack_id(&p->from, &id) ? member_find(ms, &id) : NULL;
	if (n && !n->m.self && !n->hidden && p->ride.len && ms->c.rode)
		ms->c.rode(ms->c.arg, &n->m, p->ride.data, p->ride.len);
	switch (p->kind) {
	case GOSSIP__PACKET__KIND__PROBE:
	case GOSSIP__PACKET__KIND__INDIRECT:
		member_asked(ms, from, p);
		break;
	case GOSSIP__PACKET__KIND__ACK:
	case GOSSIP__PACKET__KIND__NACK:
	case GOSSIP__PACKET__KIND__REFUSED:
		member_answered(ms, from, p);
		break;
	case GOSSIP__PACKET__KIND__WHO:
	case GOSSIP__PACKET__KIND__WHO_IS:
		member_who(ms, from, p);
		break;
	case GOSSIP__PACKET__KIND__GOSSIP:
	case _GOSSIP__PACKET__KIND_IS_INT_SIZE:
		break;
	}
}

void wm_members_datagram(struct wm_members *ms, const struct wm_peer_addr *from, const void *p,
			 size_t len)
{
	struct arena a = {.p = ms->arena, .cap = sizeof(ms->arena)};
	ProtobufCAllocator al = member_allocator(&a);
	Gossip__Packet *q =
		len <= WM_MEMBER_PACKET_MAX ? gossip__packet__unpack(&al, len, p) : NULL;

	ms->stats.packets_in++;
	ms->stats.octets_in += len;
	if (!q || q->n_news > MEMBER_NEWS_MAX || q->ride.len > WM_MEMBER_RIDE_MAX) {
		ms->stats.malformed++;
		return;
	}
	take(ms, from, q);
}
