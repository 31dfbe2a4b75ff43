/* SPDX-License-Identifier: Apache-2.0 */
/* member_probe.c - is it there? One member a turn, in an order of chance that meets each once a
 * round: by a datagram; then through others, who say so if it did not answer them either, and by a
 * stream. Who is paused itself finds its timers late, and does not judge by them. */
#include "member_internal.h"

#include <errno.h>

#define LATE_TRIES	3 /* times that one's own lateness excuses a member: then it is suspect */
#define FINAL_INTERVALS 2 /* of probes that the last look takes, before a suspect one is failed */

static unsigned scaled(const struct wm_members *ms, unsigned t)
{
	return t * (ms->stats.awareness + 1);
}

/* How long others have to ask in our place, and who is paused to answer after all. */
static unsigned asked_ms(const struct probe *p)
{
	const struct wm_member_timers *t = &p->ms->c.timers;

	return p->final ? FINAL_INTERVALS * t->probe_interval : t->patience;
}

unsigned member_look_ms(const struct wm_members *ms)
{
	return ms->c.timers.probe_timeout + FINAL_INTERVALS * ms->c.timers.probe_interval;
}

static void arm(struct probe *p, unsigned wait)
{
	p->due_ms = wm_env_ms(p->ms->env) + wait;
	wm_env_timer_arm(p->timer, wait);
}

static void probe_end(struct probe *p)
{
	wm_env_timer_disarm(p->timer);
	if (p->n->looked == p)
		p->n->looked = NULL;
	p->n->asked--;
	p->n = NULL;
}

void member_probe_forget(struct node *n)
{
	for (unsigned i = 0; n->asked && i < MEMBER_PROBES; i++)
		if (n->ms->probes[i].n == n)
			probe_end(&n->ms->probes[i]);
}

/* --- what is sent --- */
static void fill_ride(struct wm_members *ms, struct packet *k, uint8_t *ride)
{
	if (ms->c.ride)
		k->ride = (struct octets){ride, ms->c.ride(ms->c.arg, ride, WM_MEMBER_RIDE_MAX)};
}

static void aim(struct packet *k, const struct node *n)
{
	k->target = n->m.id;
	k->has_target = true;
}

static void send_probe(struct probe *p)
{
	uint8_t ride[WM_MEMBER_RIDE_MAX];
	struct packet out;

	packet_init(&out, GOSSIP__PACKET__KIND__PROBE);
	out.number = p->number;
	aim(&out, p->n);
	if (p->kind != PROBE_RELAY)
		fill_ride(p->ms, &out, ride);
	p->sent_ns = wm_env_ns(p->ms->env);
	member_send(p->ms, &p->n->m.at, p->n, &out);
}

static void answer(struct wm_members *ms, const struct wm_peer_addr *to, uint32_t number,
		   enum _Gossip__Packet__Kind kind)
{
	struct packet out;

	packet_init(&out, kind);
	out.number = number;
	member_send(ms, to, NULL, &out);
}

/* --- probes of ours --- */
static void judge_silent(struct probe *p)
{
	struct wm_members *ms = p->ms;
	struct node *n = p->n;
	uint32_t tags[MEMBER_TAGS_MAX + 1];
	unsigned count = 0;

	if (p->kind == PROBE_TURN) {
		ms->stats.probes_failed++;
		if (!p->nacks_wanted)
			member_aware(ms, 1);
		else if (p->nacks < p->nacks_wanted)
			member_aware(ms, (int)(p->nacks_wanted - p->nacks));
	}
	tags[count++] = member_tag(&ms->self->m.id);
	for (unsigned i = 0; i < p->nacks && i < MEMBER_TAGS_MAX; i++)
		tags[count++] = p->nack_tags[i];
	if (p->final && n->m.state == WM_MEMBER_SUSPECT) {
		probe_end(p);
		member_fail(n);
		return;
	}
	probe_end(p);
	if (member_there(n))
		member_suspect(n, n->m.incarnation, tags,
			       count > MEMBER_TAGS_MAX ? MEMBER_TAGS_MAX : count);
}

static void judge_refused(struct probe *p)
{
	struct node *n = p->n;

	if (!p->refused || !p->confirmed)
		return;
	p->ms->stats.probes_failed += p->kind == PROBE_TURN;
	probe_end(p);
	member_fail(n);
}

static void ask_others(struct probe *p)
{
	struct wm_members *ms = p->ms;
	struct node *asked[8], *m;
	unsigned n = 0;

	for (unsigned i = 0; i < ms->c.timers.indirect_probes && i < WM_ARRAY_LEN(asked); i++) {
		struct packet out;
		bool again = false;

		m = member_any(ms, p->n, false);
		for (unsigned j = 0; j < n; j++)
			again |= asked[j] == m;
		if (!m || again)
			continue;
		asked[n++] = m;
		packet_init(&out, GOSSIP__PACKET__KIND__INDIRECT);
		out.number = p->number;
		aim(&out, p->n);
		member_send(ms, &m->m.at, m, &out);
	}
	p->nacks_wanted = n;
	p->phase = PROBE_ASKED;
	if (ms->c.probe_stream)
		ms->c.probe_stream(ms->c.arg, &p->n->m, p->number);
}

/* Its time was over long ago: it was us who did not run. */
static bool we_were_late(struct probe *p)
{
	uint64_t now = wm_env_ms(p->ms->env);

	if (now - p->due_ms <= p->ms->c.timers.probe_timeout / 2 || p->late >= LATE_TRIES)
		return false;
	if (!p->late++)
		member_aware(p->ms, 1);
	return true;
}

static void on_probe(void *arg)
{
	struct probe *p = arg;
	const struct wm_member_timers *t = &p->ms->c.timers;

	if (p->kind == PROBE_RELAY) {
		if (p->phase == PROBE_ASKED) {
			probe_end(p);
			return;
		}
		answer(p->ms, &p->asker, p->asker_number, GOSSIP__PACKET__KIND__NACK);
		p->phase = PROBE_ASKED; /* a late answer is still passed on */
		arm(p, t->probe_timeout);
		return;
	}
	if (we_were_late(p)) {
		p->phase = PROBE_DIRECT;
		send_probe(p);
		arm(p, t->probe_timeout);
		return;
	}
	if (p->phase == PROBE_ASKED) {
		judge_silent(p);
		return;
	}
	ask_others(p);
	if (p->n) /* a stream may have answered at once */
		arm(p, scaled(p->ms, asked_ms(p)));
}

static struct probe *probe_new(struct wm_members *ms, struct node *n, enum probe_kind kind)
{
	struct probe *p;
	struct wm_env_timer *timer;

	for (unsigned i = 0; i < MEMBER_PROBES; i++) {
		p = &ms->probes[++ms->number % MEMBER_PROBES];
		if (p->n)
			continue;
		timer = p->timer ? p->timer : wm_env_timer_new(ms->env, on_probe, p);
		*p = (struct probe){.ms = ms, .timer = timer, .kind = kind, .number = ms->number};
		if (!timer)
			return NULL;
		p->n = n;
		n->asked++;
		if (kind != PROBE_RELAY)
			n->looked = p;
		return p;
	}
	return NULL;
}

int member_look(struct node *n, bool final)
{
	struct probe *p;

	if (n->looked)
		return -EBUSY;
	p = probe_new(n->ms, n, PROBE_LOOK);
	if (!p)
		return -ENOMEM;
	p->final = final;
	n->ms->stats.probes++;
	send_probe(p);
	arm(p, n->ms->c.timers.probe_timeout);
	return 0;
}

void wm_members_doubt(struct wm_members *ms, const struct wm_peer_id *id)
{
	struct node *n = member_find(ms, id);

	if (n && !n->m.self && !n->hidden && member_there(n))
		member_look(n, false);
}

/* --- turns --- */
static void shuffle(struct wm_members *ms)
{
	for (size_t i = ms->count; i > 1; i--) {
		size_t j = wm_env_below(ms->env, i);
		struct node *n = ms->nodes[i - 1];

		ms->nodes[i - 1] = ms->nodes[j];
		ms->nodes[j] = n;
		ms->nodes[i - 1]->at = i - 1;
		ms->nodes[j]->at = j;
	}
}

static struct node *next_turn(struct wm_members *ms)
{
	struct node *n;

	for (size_t i = 0; i <= ms->count; i++) {
		if (ms->turn >= ms->count) {
			shuffle(ms);
			ms->turn = 0;
		}
		n = ms->nodes[ms->turn++];
		if (n->m.self || !member_there(n) || n->looked)
			continue;
		if (ms->c.role == WM_MEMBER_LEAF && n->m.role == WM_MEMBER_LEAF)
			continue; /* full ones share the probing of leaves */
		return n;
	}
	return NULL;
}

/* A failed one is asked about once in an interval by all together: a mesh that was cut finds its
 * other half. What it hears of itself it refutes. */
static void ask_failed(struct wm_members *ms)
{
	struct packet out;
	size_t at;

	if (!ms->failed || wm_env_below(ms->env, ms->alive) >= ms->failed)
		return;
	at = wm_env_below(ms->env, ms->count);
	for (size_t i = 0; i < ms->count; i++) {
		struct node *n = ms->nodes[(at + i) % ms->count];

		if (n->m.state != WM_MEMBER_FAILED)
			continue;
		packet_init(&out, GOSSIP__PACKET__KIND__PROBE);
		aim(&out, n);
		member_send(ms, &n->m.at, n, &out);
		return;
	}
}

static void on_tick(void *arg)
{
	struct wm_members *ms = arg;
	struct node *n;
	struct probe *p;

	wm_env_timer_arm(ms->tick, scaled(ms, ms->c.timers.probe_interval));
	if (ms->leaving)
		return;
	ask_failed(ms);
	n = next_turn(ms);
	p = n ? probe_new(ms, n, PROBE_TURN) : NULL;
	if (!p)
		return;
	ms->stats.probes++;
	send_probe(p);
	arm(p, scaled(ms, ms->c.timers.probe_timeout));
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
	for (unsigned i = 0; i < MEMBER_PROBES; i++) {
		wm_env_timer_free(ms->probes[i].timer);
		ms->probes[i].timer = NULL;
	}
}

/* --- what comes --- */
static void asked_directly(struct wm_members *ms, const struct wm_peer_addr *from,
			   const struct packet *k, struct node *by)
{
	uint8_t ride[WM_MEMBER_RIDE_MAX];
	struct packet out;

	if (by && member_there(by) && ms->c.rode && k->ride.len)
		ms->c.rode(ms->c.arg, &by->m, k->ride.p, k->ride.len);
	packet_init(&out, GOSSIP__PACKET__KIND__ACK);
	out.number = k->number;
	out.coordinate = ms->vivaldi.c;
	out.has_coordinate = true;
	fill_ride(ms, &out, ride);
	member_send(ms, from, by, &out);
}

void member_asked(struct wm_members *ms, const struct wm_peer_addr *from, const struct packet *k)
{
	struct node *n, *by;
	struct probe *r;

	if (!k->has_target) {
		ms->stats.malformed++;
		return;
	}
	by = member_find(ms, &k->from);
	n = member_find(ms, &k->target);
	if (k->kind == GOSSIP__PACKET__KIND__PROBE) {
		if (n == ms->self) /* else its address was another's before */
			asked_directly(ms, from, k, by && !by->hidden ? by : NULL);
		return;
	}
	if (!n || n->m.self || n->hidden || !by)
		return;
	r = probe_new(ms, n, PROBE_RELAY);
	if (!r) {
		ms->stats.indirect_busy++;
		return;
	}
	ms->stats.indirect++;
	r->asker = *from;
	r->asker_number = k->number;
	send_probe(r);
	arm(r, ms->c.timers.probe_timeout);
}

static void acked(struct probe *p, const struct packet *a, bool direct)
{
	struct wm_members *ms = p->ms;
	struct node *n = p->n;
	uint64_t ns = wm_env_ns(ms->env) - p->sent_ns;

	if (p->kind == PROBE_RELAY) {
		answer(ms, &p->asker, p->asker_number, GOSSIP__PACKET__KIND__ACK);
		probe_end(p);
		return;
	}
	n->m.heard_ms = wm_env_ms(ms->env);
	if (direct) {
		uint32_t us = (uint32_t)(ns / 1000);

		n->m.rtt_us = n->m.rtt_us ? (n->m.rtt_us * 7 + us) / 8 : us ? us : 1;
	}
	if (direct && a->has_coordinate) {
		n->m.coordinate = a->coordinate;
		n->m.has_coordinate = true;
		member_vivaldi_take(ms->env, &ms->vivaldi, n, &a->coordinate, (double)ns / 1e9);
		ms->self->m.coordinate = ms->vivaldi.c;
	}
	if (p->kind == PROBE_TURN)
		member_aware(ms, -1);
	probe_end(p);
	if (n->m.state == WM_MEMBER_SUSPECT)
		member_cleared(n);
	if (direct && ms->c.rode && a->ride.len && member_there(n))
		ms->c.rode(ms->c.arg, &n->m, a->ride.p, a->ride.len);
}

static struct probe *by_number(struct wm_members *ms, uint32_t number)
{
	struct probe *p = &ms->probes[number % MEMBER_PROBES];

	return p->n && p->number == number ? p : NULL;
}

/* An answer that comes when its probe is over: who is suspect for it has run meanwhile. */
static void late(struct wm_members *ms, const struct packet *a)
{
	struct node *n = member_find(ms, &a->from);

	if (n && n->m.state == WM_MEMBER_SUSPECT)
		member_cleared(n);
}

void member_answered(struct wm_members *ms, const struct wm_peer_addr *from, const struct packet *a)
{
	struct probe *p = by_number(ms, a->number);
	uint32_t tag;

	(void)from;
	if (!p && a->kind == GOSSIP__PACKET__KIND__ACK) {
		late(ms, a);
		return;
	}
	if (!p)
		return;
	if (a->kind == GOSSIP__PACKET__KIND__ACK) {
		acked(p, a, wm_peer_id_same(&a->from, &p->n->m.id));
		return;
	}
	if (p->kind == PROBE_RELAY || p->phase != PROBE_ASKED)
		return;
	tag = member_tag(&a->from);
	for (unsigned i = 0; i < p->nacks; i++)
		if (p->nack_tags[i] == tag)
			return;
	if (p->nacks < p->nacks_wanted && p->nacks < MEMBER_TAGS_MAX)
		p->nack_tags[p->nacks++] = tag;
	if (a->kind == GOSSIP__PACKET__KIND__REFUSED) {
		p->confirmed = true;
		judge_refused(p);
	}
}

static void refused(struct probe *p)
{
	p->ms->stats.refusals++;
	if (p->kind == PROBE_RELAY) {
		answer(p->ms, &p->asker, p->asker_number, GOSSIP__PACKET__KIND__REFUSED);
		probe_end(p);
		return;
	}
	p->refused = true;
	if (p->phase == PROBE_ASKED) {
		judge_refused(p);
		return;
	}
	ask_others(p);
	if (p->n)
		arm(p, scaled(p->ms, asked_ms(p)));
}

void wm_members_refused(struct wm_members *ms, const struct wm_peer_addr *to)
{
	for (unsigned i = 0; i < MEMBER_PROBES; i++)
		if (ms->probes[i].n && wm_peer_addr_same(&ms->probes[i].n->m.at, to) &&
		    !ms->probes[i].refused)
			refused(&ms->probes[i]);
}

void wm_members_stream_probed(struct wm_members *ms, uint32_t number, int err)
{
	struct probe *p = by_number(ms, number);
	struct packet none;

	if (!p || p->kind == PROBE_RELAY)
		return;
	if (!err) {
		packet_init(&none, GOSSIP__PACKET__KIND__ACK);
		acked(p, &none, false);
	} else if (err == -ECONNREFUSED) {
		ms->stats.refusals++;
		p->confirmed |= !p->nacks_wanted && p->refused; /* there is nobody else to ask */
		p->refused = true;
		judge_refused(p);
	}
}
