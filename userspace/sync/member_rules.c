/* SPDX-License-Identifier: Apache-2.0 */
/* member_rules.c - by which rules news changes the table: the higher incarnation stands, among
 * equals what is worse; only a member itself raises its incarnation. A suspicion shortens as others
 * confirm it (Lifeguard, 4.2); before its end the member is asked once more. */
#include "member_internal.h"

#include <math.h>
#include <stdlib.h>

#define CLASH_MS 10000 /* between two times that a clash is told */

/* --- ourselves -------------------------------------------------------------------------------- */
void member_aware(struct wm_members *ms, int by)
{
	int next = (int)ms->stats.awareness + by;
	int max = ms->c.timers.awareness_max ? (int)ms->c.timers.awareness_max - 1 : 0;

	ms->stats.awareness = (unsigned)(next < 0 ? 0 : next > max ? max : next);
}

void member_assert_self(struct wm_members *ms, uint32_t incarnation)
{
	struct wm_member *m = &ms->self->m;

	if (incarnation > m->incarnation)
		m->incarnation = incarnation;
	m->incarnation++;
	member_tell(ms->self);
}

static void clash(struct wm_members *ms, const struct news *w)
{
	uint64_t now = wm_env_ms(ms->env);
	struct wm_member other = {.id = w->id, .at = w->at, .incarnation = w->incarnation};

	ms->stats.clashes++;
	if (!ms->c.clash || (ms->who_ms && now - ms->who_ms < CLASH_MS))
		return;
	ms->who_ms = now;
	memcpy(other.name, w->name, sizeof(other.name));
	memcpy(other.version, w->version, sizeof(other.version));
	ms->c.clash(ms->c.arg, &other);
}

static void of_self(struct wm_members *ms, const struct news *w)
{
	struct wm_member *m = &ms->self->m;
	bool alive = w->state == GOSSIP__MEMBER__STATE__ALIVE;

	if (w->described && w->life != ms->life && !wm_peer_addr_same(&w->at, &m->at) && alive &&
	    w->incarnation >= m->incarnation)
		clash(ms, w);
	if (!alive && !ms->leaving && w->incarnation < m->incarnation)
		member_tell(ms->self); /* it was refuted, and somebody did not hear that */
	if (ms->leaving || w->incarnation < m->incarnation ||
	    (alive && w->incarnation == m->incarnation))
		return;
	if (!alive) {
		ms->stats.refutations++;
		member_aware(ms, 1);
	}
	member_assert_self(ms, w->incarnation);
}

/* --- suspicion -------------------------------------------------------------------------------- */
unsigned member_suspicion_ms(const struct wm_members *ms, unsigned confirmations)
{
	const struct wm_member_timers *t = &ms->c.timers;
	double n = ms->alive > 10 ? ms->alive : 10;
	double min = t->suspicion_min + t->suspicion_mult * log10(n) * t->gossip_interval;
	double max = min * t->suspicion_max_mult;
	double k = t->suspicion_confirmations;
	double share = k > 0 ? log(confirmations + 1) / log(k + 1) : 1;

	/* who is nobody else to confirm it waits no longer for that */
	if (ms->alive <= 2)
		share = 1;
	return (unsigned)(share >= 1 ? min : max - (max - min) * share);
}

void member_doubt_free(struct node *n)
{
	if (!n->doubt)
		return;
	wm_env_timer_free(n->doubt->timer);
	free(n->doubt);
	n->doubt = NULL;
}

static void on_doubt(void *arg)
{
	struct node *n = arg;

	if (member_look(n, true))
		member_fail(n);
}

void member_cleared(struct node *n)
{
	/* it answered, and is told that it is suspect: it has time to refute */
	if (n->doubt)
		wm_env_timer_arm(n->doubt->timer, n->ms->c.timers.suspicion_min);
}

static bool confirm(struct node *n, const uint32_t *tags, unsigned count)
{
	struct doubt *d = n->doubt;
	bool fresh = false;

	for (unsigned k = 0; k < count && d->tags_count < MEMBER_TAGS_MAX; k++) {
		bool known = false;

		for (unsigned i = 0; i < d->tags_count; i++)
			known |= d->tags[i] == tags[k];
		if (known)
			continue;
		d->tags[d->tags_count++] = tags[k];
		fresh = true;
	}
	return fresh;
}

static void arm_doubt(struct node *n)
{
	struct doubt *d = n->doubt;
	uint64_t gone = wm_env_ms(n->ms->env) - d->since_ms;
	unsigned whole = member_suspicion_ms(n->ms, d->tags_count ? d->tags_count - 1 : 0);

	wm_env_timer_arm(d->timer, whole > gone ? whole - gone : 0);
}

void member_suspect(struct node *n, uint32_t incarnation, const uint32_t *tags, unsigned count)
{
	struct wm_members *ms = n->ms;

	if (!member_there(n) || n->m.self || incarnation < n->m.incarnation)
		return;
	if (n->m.state == WM_MEMBER_SUSPECT && incarnation == n->m.incarnation) {
		if (n->doubt && confirm(n, tags, count)) {
			arm_doubt(n);
			member_tell(n);
		}
		return;
	}
	member_doubt_free(n);
	n->doubt = calloc(1, sizeof(*n->doubt));
	if (!n->doubt)
		return; /* it is probed again */
	n->doubt->timer = wm_env_timer_new(ms->env, on_doubt, n);
	if (!n->doubt->timer) {
		member_doubt_free(n);
		return;
	}
	n->doubt->since_ms = wm_env_ms(ms->env);
	(void)confirm(n, tags, count);
	n->m.incarnation = incarnation;
	n->m.state = WM_MEMBER_SUSPECT;
	n->m.since_ms = n->doubt->since_ms;
	ms->stats.suspicions++;
	arm_doubt(n);
	member_tell(n);
	member_event(n, WM_MEMBER_SUSPECTED);
}

void member_fail(struct node *n)
{
	struct wm_members *ms = n->ms;

	if (!member_there(n) || n->m.self)
		return;
	member_doubt_free(n);
	member_probe_forget(n);
	n->m.state = WM_MEMBER_FAILED;
	n->m.since_ms = wm_env_ms(ms->env);
	ms->alive--;
	ms->failed++;
	ms->stats.failures++;
	member_tell(n);
	member_event(n, WM_MEMBER_DIED);
}

/* --- news of others --------------------------------------------------------------------------- */
static bool describe(struct node *n, const struct news *w)
{
	bool other = strcmp(n->m.name, w->name) != 0 || strcmp(n->m.version, w->version) != 0 ||
		     !wm_peer_addr_same(&n->m.at, &w->at) || n->m.role != w->role;

	if (strcmp(n->m.name, w->name) != 0)
		(void)member_rename(n, w->name);
	memcpy(n->m.version, w->version, sizeof(n->m.version));
	n->m.at = w->at;
	n->m.role = w->role;
	n->life = w->life;
	return other;
}

/* Who has the name stands aside if he is gone; an agent that is there keeps it. */
static bool name_is_free(struct wm_members *ms, const struct news *w)
{
	struct wm_member *m = wm_members_by_name(ms, w->name);
	struct node *n = wm_container_of(m, struct node, m);

	if (!m || wm_peer_id_same(&m->id, &w->id))
		return true;
	if (m->self || member_there(n)) {
		clash(ms, w);
		return false;
	}
	member_forget(n, true);
	return true;
}

static void appear(struct wm_members *ms, const struct news *w, bool state)
{
	bool there = w->state == GOSSIP__MEMBER__STATE__ALIVE ||
		     w->state == GOSSIP__MEMBER__STATE__SUSPECT;
	struct node *n;

	if (!w->described || !name_is_free(ms, w) ||
	    (!there && (!state || w->state != GOSSIP__MEMBER__STATE__FAILED ||
			w->age_ms >= ms->c.timers.reap)))
		return;
	n = member_add(ms, w);
	if (!n)
		return;
	(void)describe(n, w);
	n->m.incarnation = w->incarnation;
	n->m.has_coordinate = w->has_coordinate;
	n->m.coordinate = w->coordinate;
	if (there) {
		ms->alive++;
		member_tell(n);
		member_event(n, WM_MEMBER_JOINED);
		return;
	}
	n->m.state = WM_MEMBER_FAILED;
	ms->failed++;
	n->m.since_ms -= w->age_ms < n->m.since_ms ? w->age_ms : n->m.since_ms;
	member_event(n, WM_MEMBER_DIED);
}

static void alive(struct node *n, const struct news *w)
{
	struct wm_members *ms = n->ms;
	enum wm_member_state was = n->m.state;
	bool other;

	if (w->incarnation <= n->m.incarnation || !name_is_free(ms, w))
		return;
	other = describe(n, w);
	n->m.incarnation = w->incarnation;
	n->m.state = WM_MEMBER_ALIVE;
	if (was != WM_MEMBER_ALIVE)
		n->m.since_ms = wm_env_ms(ms->env);
	member_doubt_free(n);
	if (was == WM_MEMBER_FAILED)
		ms->failed--;
	if (was >= WM_MEMBER_FAILED)
		ms->alive++;
	member_tell(n);
	if (was >= WM_MEMBER_FAILED)
		member_event(n, WM_MEMBER_RETURNED);
	else if (was == WM_MEMBER_SUSPECT)
		member_event(n, WM_MEMBER_REFUTED);
	if (other && was < WM_MEMBER_FAILED)
		member_event(n, WM_MEMBER_UPDATED);
}

static void left(struct node *n, const struct news *w)
{
	struct wm_members *ms = n->ms;

	if (w->incarnation < n->m.incarnation)
		return;
	if (n->m.state != WM_MEMBER_LEFT) {
		member_doubt_free(n);
		member_probe_forget(n);
		if (member_there(n))
			ms->alive--;
		else
			ms->failed--;
		n->m.incarnation = w->incarnation;
		n->m.state = WM_MEMBER_LEFT;
		n->m.since_ms = wm_env_ms(ms->env);
		member_tell(n);
		member_event(n, WM_MEMBER_WENT);
	}
	if (w->state != GOSSIP__MEMBER__STATE__PRUNED)
		return;
	member_hide(n);
	member_tell(n);
}

/* Pruned, and there again. */
static void unhide(struct node *n)
{
	struct wm_members *ms = n->ms;

	ms->hidden--;
	member_probe_forget(n);
	member_untell(n);
	member_doubt_free(n);
	wm_map_del(ms->by_id, n->m.id.octets, sizeof(n->m.id.octets));
	free(n);
}

void member_news(struct wm_members *ms, const struct news *w, bool state)
{
	struct node *n = member_find(ms, &w->id);

	if (n == ms->self) {
		of_self(ms, w);
		return;
	}
	if (n && n->hidden) {
		if (w->state != GOSSIP__MEMBER__STATE__ALIVE || w->incarnation <= n->m.incarnation)
			return;
		unhide(n);
		n = NULL;
	}
	if (!n) {
		appear(ms, w, state);
		return;
	}
	if (w->has_coordinate) {
		n->m.has_coordinate = true;
		n->m.coordinate = w->coordinate;
	}
	switch (w->state) {
	case GOSSIP__MEMBER__STATE__ALIVE:
		if (w->described)
			alive(n, w);
		break;
	case GOSSIP__MEMBER__STATE__SUSPECT:
		member_suspect(n, w->incarnation, w->tags, w->tags_count);
		break;
	case GOSSIP__MEMBER__STATE__FAILED:
		if (state)
			member_suspect(n, w->incarnation, w->tags, w->tags_count);
		else if (w->incarnation >= n->m.incarnation)
			member_fail(n);
		break;
	case GOSSIP__MEMBER__STATE__LEFT:
	case GOSSIP__MEMBER__STATE__PRUNED:
		left(n, w);
		break;
	case _GOSSIP__MEMBER__STATE_IS_INT_SIZE:
		break;
	}
}

void member_who(struct wm_members *ms, const struct wm_peer_addr *from, const Gossip__Packet *p)
{
	(void)ms;
	(void)from;
	(void)p;
}
