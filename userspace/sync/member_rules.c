/* SPDX-License-Identifier: Apache-2.0 */
/* member_rules.c - what news does to a member: of one incarnation the worse word stands (alive,
 * suspect, failed, left), a higher incarnation stands over all. Only the member itself says that it
 * is alive, so only it may raise its incarnation. */
#include "member_internal.h"

#include <errno.h>
#include <math.h>
#include <stdlib.h>

#define FRESH_MS	60000 /* who is known for longer is known to all */
#define WHO_INTERVAL_MS 1000  /* who has our name is asked for once in this time */

void member_aware(struct wm_members *ms, int by)
{
	int score = (int)ms->stats.awareness + by, max = (int)ms->c.timers.awareness_max - 1;

	ms->stats.awareness = (unsigned)(score < 0 ? 0 : score > max ? max : score);
}

static void set_state(struct node *n, enum wm_member_state s)
{
	struct wm_members *ms = n->ms;

	if (member_there(n))
		ms->alive--;
	ms->failed -= n->m.state == WM_MEMBER_FAILED;
	n->m.state = s;
	n->m.since_ms = wm_env_ms(ms->env);
	if (member_there(n))
		ms->alive++;
	ms->failed += s == WM_MEMBER_FAILED;
	if (s != WM_MEMBER_SUSPECT)
		member_doubt_free(n);
}

/* --- suspicion --- */
void member_doubt_free(struct node *n)
{
	if (!n->doubt)
		return;
	wm_env_timer_free(n->doubt->timer);
	free(n->doubt);
	n->doubt = NULL;
}

/* How long a suspicion lasts that so many others confirm: Lifeguard's formula. Those who cannot be
 * asked, as there are none, are not waited for. */
unsigned member_suspicion_ms(const struct wm_members *ms, unsigned confirmations)
{
	const struct wm_member_timers *t = &ms->c.timers;
	double n = fmax(1, log10(ms->alive ? ms->alive : 1));
	double min = t->suspicion_min + t->suspicion_mult * n * t->gossip_interval;
	double max = min * t->suspicion_max_mult, wait;
	unsigned k = t->suspicion_confirmations;

	if (ms->alive < k + 2)
		k = ms->alive < 2 ? 0 : ms->alive - 2;
	if (!k || confirmations >= k)
		return (unsigned)min;
	wait = max - (max - min) * log(confirmations + 1.0) / log(k + 1.0);
	return (unsigned)fmax(wait, min);
}

/* The last look is part of the time. */
static void doubt_arm(struct node *n)
{
	struct doubt *d = n->doubt;
	uint64_t gone = wm_env_ms(n->ms->env) - d->since_ms;
	uint64_t all = member_suspicion_ms(n->ms, d->tags_count ? d->tags_count - 1 : 0);
	uint64_t look = member_look_ms(n->ms);

	all += d->extra_ms;
	all = all > look ? all - look : 0;
	wm_env_timer_arm(d->timer, all > gone ? all - gone : 0);
}

static void on_doubt(void *arg)
{
	struct node *n = arg;
	int r = member_look(n, true);

	if (r == -EBUSY)
		wm_env_timer_arm(n->doubt->timer, n->ms->c.timers.probe_timeout);
	else if (r)
		member_fail(n);
}

void member_cleared(struct node *n)
{
	if (!n->doubt)
		return;
	n->doubt->since_ms = wm_env_ms(n->ms->env);
	doubt_arm(n);
}

static bool has_tag(const uint32_t *tags, unsigned count, uint32_t tag)
{
	for (unsigned i = 0; i < count; i++)
		if (tags[i] == tag)
			return true;
	return false;
}

/* Who confirms what is believed already says nothing new, and is not told on (Lifeguard 4.2). */
static bool doubt_add(const struct wm_members *ms, struct doubt *d, const uint32_t *tags,
		      unsigned count)
{
	unsigned most = ms->c.timers.suspicion_confirmations + 1;
	bool more = false;

	most = most < MEMBER_TAGS_MAX ? most : MEMBER_TAGS_MAX;
	for (unsigned i = 0; i < count && d->tags_count < most; i++) {
		if (has_tag(d->tags, d->tags_count, tags[i]))
			continue;
		d->tags[d->tags_count++] = tags[i];
		more = true;
	}
	return more;
}

static struct doubt *doubt_new(struct node *n)
{
	struct doubt *d = calloc(1, sizeof(*d));

	if (!d)
		return NULL;
	d->timer = wm_env_timer_new(n->ms->env, on_doubt, n);
	if (!d->timer) {
		free(d);
		return NULL;
	}
	d->since_ms = wm_env_ms(n->ms->env);
	return d;
}

void member_suspect(struct node *n, uint32_t incarnation, const uint32_t *tags, unsigned count)
{
	struct wm_members *ms = n->ms;
	unsigned interval = ms->c.timers.probe_interval;
	bool own = has_tag(tags, count, member_tag(&ms->self->m.id)), begins;

	if (member_newer(n->m.incarnation, incarnation) || !member_there(n))
		return;
	begins = n->m.state == WM_MEMBER_ALIVE || member_newer(incarnation, n->m.incarnation);
	n->m.incarnation = incarnation;
	if (begins) {
		member_doubt_free(n);
		n->doubt = doubt_new(n);
		if (!n->doubt)
			return;
		n->doubt->extra_ms = 2 * interval + (unsigned)wm_env_below(ms->env, interval);
	}
	if (own)
		n->doubt->extra_ms = 0;
	if (!doubt_add(ms, n->doubt, tags, count) && !begins)
		return;
	doubt_arm(n);
	if (n->m.state == WM_MEMBER_ALIVE) {
		set_state(n, WM_MEMBER_SUSPECT);
		ms->stats.suspicions++;
		member_event(n, WM_MEMBER_SUSPECTED);
	}
	member_tell(n);
}

void member_fail(struct node *n)
{
	struct wm_members *ms = n->ms;

	if (!member_there(n))
		return;
	set_state(n, WM_MEMBER_FAILED);
	ms->stats.failures++;
	member_tell(n);
	member_event(n, WM_MEMBER_DIED);
}

/* --- who has our name or id --- */
static void describe_self(struct wm_members *ms, struct packet *k,
			  uint8_t one[static MEMBER_OCTETS])
{
	k->who = (struct octets){one, member_write(ms->self, MEMBER_AS_ALIVE, one)};
	k->up_ms = wm_env_ms(ms->env) - ms->started_ms;
}

static void ask_who(struct wm_members *ms, const struct wm_peer_addr *at)
{
	uint64_t now = wm_env_ms(ms->env);
	uint8_t one[MEMBER_OCTETS];
	struct packet out;

	if (ms->leaving || (ms->who_ms && now - ms->who_ms < WHO_INTERVAL_MS))
		return;
	ms->who_ms = now;
	ms->who_number = ++ms->number;
	packet_init(&out, GOSSIP__PACKET__KIND__WHO);
	out.number = ms->who_number;
	describe_self(ms, &out, one);
	member_send(ms, at, NULL, &out);
}

/* The one that has run for longer stays. */
static void judge_clash(struct wm_members *ms, const struct news *w, uint64_t up_ms)
{
	uint64_t ours = wm_env_ms(ms->env) - ms->started_ms;
	struct wm_member other = {.id = w->id, .at = w->at, .role = w->role};
	char key[WM_NODE_NAME_MAX + 1];

	member_key(w->name, key);
	if (w->life == ms->life ||
	    (!wm_peer_id_same(&w->id, &ms->self->m.id) && strcmp(key, ms->self->key) != 0))
		return;
	if (up_ms < ours || (up_ms == ours && w->life < ms->life))
		return;
	strcpy(other.name, w->name);
	strcpy(other.version, w->version);
	if (ms->c.clash)
		ms->c.clash(ms->c.arg, &other);
}

void member_who(struct wm_members *ms, const struct wm_peer_addr *from, const struct packet *k)
{
	uint8_t one[MEMBER_OCTETS];
	struct packet answer;
	struct news w;

	if (!k->who.p || !member_read(k->who, &w) || !w.described) {
		ms->stats.malformed++;
		return;
	}
	if (k->kind == GOSSIP__PACKET__KIND__WHO_IS) {
		if (ms->who_number && k->number == ms->who_number)
			judge_clash(ms, &w, k->up_ms);
		return;
	}
	if (!ms->leaving) {
		packet_init(&answer, GOSSIP__PACKET__KIND__WHO_IS);
		answer.number = k->number;
		describe_self(ms, &answer, one);
		member_send(ms, from, NULL, &answer);
	}
	judge_clash(ms, &w, k->up_ms);
}

/* --- news --- */
void member_assert_self(struct wm_members *ms, uint32_t incarnation)
{
	struct node *n = ms->self;

	if (!member_newer(n->m.incarnation, incarnation) ||
	    member_far(incarnation, n->m.incarnation))
		n->m.incarnation = incarnation + 1;
	n->life = ms->life;
	member_tell(n);
}

static void of_self(struct wm_members *ms, const struct news *w)
{
	bool alive = w->state == GOSSIP__MEMBER__STATE__ALIVE;
	bool ours = w->life == ms->life;
	bool far = member_far(w->incarnation, ms->self->m.incarnation);
	bool older = !far && member_newer(ms->self->m.incarnation, w->incarnation);

	if (alive && !ours && w->described && !wm_peer_addr_same(&w->at, &ms->self->m.at))
		ask_who(ms, &w->at);
	if (!alive && !ms->leaving && older)
		member_tell(ms->self); /* it was refuted, and somebody did not hear that */
	if (ms->leaving || older || (alive && ours && w->incarnation == ms->self->m.incarnation))
		return;
	if (!alive) {
		ms->stats.refutations++;
		if (w->state != GOSSIP__MEMBER__STATE__LEFT)
			member_aware(ms, 1);
	}
	member_assert_self(ms, w->incarnation);
}

/* May it have this name? Who has it and is there keeps it; of the dead it is taken. */
static bool name_free(struct wm_members *ms, const struct news *w)
{
	struct node *n = member_named(ms, w->name);

	if (!n || wm_peer_id_same(&n->m.id, &w->id))
		return true;
	if (member_there(n) || n->m.self) {
		ms->stats.clashes++;
		if (n->m.self)
			ask_who(ms, &w->at);
		return false;
	}
	member_forget(n, true);
	return true;
}

static void describe(struct node *n, const struct news *w)
{
	n->m.at = w->at;
	n->m.role = w->role;
	strcpy(n->m.version, w->version);
	n->life = w->life;
	n->m.incarnation = w->incarnation;
}

static struct node *take_in(struct wm_members *ms, const struct news *w)
{
	struct node *n;

	if (!name_free(ms, w))
		return NULL;
	n = member_add(ms, w);
	if (!n)
		return NULL;
	ms->alive++;
	describe(n, w);
	member_event(n, WM_MEMBER_JOINED);
	return n;
}

static void known_alive(struct node *n, const struct news *w)
{
	enum wm_member_state was = n->m.state;
	bool moved = !wm_peer_addr_same(&n->m.at, &w->at);
	bool restarted = member_there(n) && n->life != w->life;
	bool other = moved || n->m.role != w->role || strcmp(n->m.version, w->version) != 0 ||
		     strcmp(n->m.name, w->name) != 0;

	if (!member_newer(w->incarnation, n->m.incarnation))
		return;
	if (member_there(n) && moved && n->life != w->life) {
		n->ms->stats.clashes++; /* its id is in use elsewhere, until that fails */
		return;
	}
	if (!name_free(n->ms, w))
		return;
	if (strcmp(n->m.name, w->name) != 0)
		member_rename(n, w->name);
	describe(n, w);
	if (was != WM_MEMBER_ALIVE) {
		set_state(n, WM_MEMBER_ALIVE);
		member_event(n, was == WM_MEMBER_SUSPECT ? WM_MEMBER_REFUTED : WM_MEMBER_RETURNED);
	}
	if (other && (was == WM_MEMBER_ALIVE || was == WM_MEMBER_SUSPECT))
		member_event(n, WM_MEMBER_UPDATED);
	if (restarted)
		member_event(n, WM_MEMBER_RESTARTED);
	member_tell(n);
}

static void left(struct node *n, const struct news *w)
{
	bool was_left = n->m.state == WM_MEMBER_LEFT;

	if (member_newer(n->m.incarnation, w->incarnation))
		return;
	n->m.incarnation = w->incarnation;
	if (!was_left) {
		set_state(n, WM_MEMBER_LEFT);
		member_event(n, WM_MEMBER_WENT);
	}
	if (w->state == GOSSIP__MEMBER__STATE__PRUNED)
		member_hide(n);
	else if (was_left)
		return;
	member_tell(n);
}

/* One that is not known: of the dead only a whole state tells, with their age. */
static void of_unknown(struct wm_members *ms, const struct news *w, bool state)
{
	bool dead = w->state == GOSSIP__MEMBER__STATE__FAILED ||
		    w->state == GOSSIP__MEMBER__STATE__LEFT;
	struct node *n;

	if (!w->described || (dead && (!state || w->age_ms >= ms->c.timers.reap)) ||
	    w->state == GOSSIP__MEMBER__STATE__PRUNED)
		return;
	n = take_in(ms, w);
	if (!n)
		return;
	if (w->has_coordinate) {
		n->m.coordinate = w->coordinate;
		n->m.has_coordinate = true;
	}
	if (dead) {
		set_state(n, w->state == GOSSIP__MEMBER__STATE__FAILED ? WM_MEMBER_FAILED
								       : WM_MEMBER_LEFT);
		n->m.since_ms -= w->age_ms < n->m.since_ms ? w->age_ms : n->m.since_ms;
		member_event(n, n->m.state == WM_MEMBER_FAILED ? WM_MEMBER_DIED : WM_MEMBER_WENT);
	} else if (w->state == GOSSIP__MEMBER__STATE__SUSPECT) {
		member_suspect(n, w->incarnation, w->tags, w->tags_count);
	} else if (!ms->joins || w->age_ms < FRESH_MS) {
		member_tell(n); /* who comes into a mesh does not tell it what it has long known */
	}
}

static void of_known(struct node *n, const struct news *w, bool state)
{
	switch ((int)w->state) {
	case GOSSIP__MEMBER__STATE__ALIVE:
		known_alive(n, w);
		break;
	case GOSSIP__MEMBER__STATE__SUSPECT:
		member_suspect(n, w->incarnation, w->tags, w->tags_count);
		break;
	case GOSSIP__MEMBER__STATE__FAILED:
		if (state) { /* it may be of the other half of a mesh that was cut */
			member_suspect(n, w->incarnation, NULL, 0);
		} else if (!member_newer(n->m.incarnation, w->incarnation) && member_there(n)) {
			n->m.incarnation = w->incarnation;
			member_fail(n);
		}
		break;
	default:
		left(n, w);
	}
}

/* One that was pruned, and whose end is still told: only a new life of it is news. */
static bool of_pruned(struct wm_members *ms, struct node *n, const struct news *w)
{
	if (w->state != GOSSIP__MEMBER__STATE__ALIVE ||
	    !member_newer(w->incarnation, n->m.incarnation))
		return true;
	ms->hidden--;
	member_drop_hidden(n);
	return false;
}

void member_news(struct wm_members *ms, const struct news *w, bool state)
{
	struct node *n = member_find(ms, &w->id);

	if (wm_peer_id_is_source(&w->id)) { /* which no agent draws */
		ms->stats.clashes++;
		return;
	}
	if (n && n->m.self) {
		of_self(ms, w);
		return;
	}
	if (n && member_far(w->incarnation, n->m.incarnation)) {
		ms->stats.far++;
		return;
	}
	if (n && n->hidden) {
		if (of_pruned(ms, n, w))
			return;
		n = NULL;
	}
	if (n)
		of_known(n, w, state);
	else
		of_unknown(ms, w, state);
}
