/* SPDX-License-Identifier: Apache-2.0 */
/* member.c - the table of members, and what callers ask it. */
#include "member_internal.h"
#include "userspace/base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define REAP_TICK_MS  60000u /* failed and left ones are looked through this often */
#define PUSH_PULL_FEW 32     /* members up to which push-pull is not scaled: memberlist's */
#define ANY_TRIES     64 /* members drawn until one fits; where most are dead all are looked at */

static const struct wm_member_timers profiles[] = {
	[WM_MEMBER_LAN] = {.probe_interval = 400,
			   .probe_timeout = 150,
			   .indirect_probes = 3,
			   .patience = 1500,
			   .suspicion_min = 1800,
			   .suspicion_mult = 1,
			   .suspicion_max_mult = 4,
			   .suspicion_confirmations = 3,
			   .awareness_max = 8,
			   .gossip_interval = 100,
			   .gossip_nodes = 3,
			   .gossip_to_dead = 30000,
			   .retransmit_mult = 4,
			   .reap = 72 * 3600 * 1000u},
	[WM_MEMBER_WAN] = {.probe_interval = 2000,
			   .probe_timeout = 800,
			   .indirect_probes = 3,
			   .patience = 4000,
			   .suspicion_min = 6000,
			   .suspicion_mult = 4,
			   .suspicion_max_mult = 6,
			   .suspicion_confirmations = 3,
			   .awareness_max = 8,
			   .gossip_interval = 300,
			   .gossip_nodes = 4,
			   .gossip_to_dead = 60000,
			   .retransmit_mult = 4,
			   .reap = 72 * 3600 * 1000u},
	[WM_MEMBER_LOCAL] = {.probe_interval = 200,
			     .probe_timeout = 60,
			     .indirect_probes = 3,
			     .patience = 400,
			     .suspicion_min = 1000,
			     .suspicion_mult = 1,
			     .suspicion_max_mult = 3,
			     .suspicion_confirmations = 2,
			     .awareness_max = 8,
			     .gossip_interval = 50,
			     .gossip_nodes = 3,
			     .gossip_to_dead = 15000,
			     .retransmit_mult = 3,
			     .reap = 72 * 3600 * 1000u},
};

const struct wm_member_timers *wm_member_profile(enum wm_member_profile p)
{
	return &profiles[p];
}

const char *wm_member_state_str(enum wm_member_state s)
{
	static const char *const names[] = {"alive", "suspect", "failed", "left"};

	return names[s];
}

const char *wm_member_role_str(enum wm_member_role r)
{
	return r == WM_MEMBER_LEAF ? "leaf" : "full";
}

uint32_t member_tag(const struct wm_peer_id *id)
{
	return (uint32_t)wm_hash_stable(id->octets, sizeof(id->octets));
}

void member_key(const char *name, char ret[static WM_NODE_NAME_MAX + 1])
{
	size_t i;

	for (i = 0; i < WM_NODE_NAME_MAX && name[i]; i++)
		ret[i] = (char)(name[i] >= 'A' && name[i] <= 'Z' ? name[i] | 0x20 : name[i]);
	ret[i] = '\0';
}

void member_event(struct node *n, enum wm_member_event e)
{
	if (n->ms->c.event && !n->m.self)
		n->ms->c.event(n->ms->c.arg, &n->m, e);
}

struct node *member_find(const struct wm_members *ms, const struct wm_peer_id *id)
{
	return wm_map_get(ms->by_id, id->octets, sizeof(id->octets));
}

struct node *member_named(const struct wm_members *ms, const char *name)
{
	char key[WM_NODE_NAME_MAX + 1];

	if (strlen(name) > WM_NODE_NAME_MAX)
		return NULL;
	member_key(name, key);
	return wm_map_get(ms->by_name, key, strlen(key));
}

/* --- the table --- */
/* A new one comes to a place of chance, so that it is probed in this round or the next. */
static int place(struct wm_members *ms, struct node *n)
{
	size_t cap = ms->cap ? ms->cap * 2 : 16, at;
	struct node **more;

	if (ms->count == ms->cap) {
		more = reallocarray(ms->nodes, cap, sizeof(void *));
		if (!more)
			return -ENOMEM;
		ms->nodes = more;
		ms->cap = cap;
	}
	at = wm_env_below(ms->env, ms->count + 1);
	if (at < ms->count) {
		ms->nodes[ms->count] = ms->nodes[at];
		ms->nodes[ms->count]->at = ms->count;
	}
	ms->nodes[at] = n;
	n->at = at;
	ms->count++;
	return 0;
}

static void unplace(struct node *n)
{
	struct wm_members *ms = n->ms;

	ms->nodes[n->at] = ms->nodes[--ms->count];
	ms->nodes[n->at]->at = n->at;
	if (wm_map_get(ms->by_name, n->key, strlen(n->key)) == n)
		wm_map_del(ms->by_name, n->key, strlen(n->key));
}

static struct node *node_new(struct wm_members *ms, const struct wm_peer_id *id, const char *name)
{
	struct node *n = aligned_alloc(MEMBER_LINE, sizeof(*n));

	if (!n)
		return NULL;
	memset(n, 0, sizeof(*n));
	n->ms = ms;
	n->m.id = *id;
	strcpy(n->m.name, name);
	member_key(name, n->key);
	n->m.since_ms = wm_env_ms(ms->env);
	if (place(ms, n)) {
		free(n);
		return NULL;
	}
	if (wm_map_put(ms->by_id, n->m.id.octets, sizeof(n->m.id.octets), n, NULL) ||
	    wm_map_put(ms->by_name, n->key, strlen(n->key), n, NULL)) {
		wm_map_del(ms->by_id, n->m.id.octets, sizeof(n->m.id.octets));
		unplace(n);
		free(n);
		return NULL;
	}
	return n;
}

struct node *member_add(struct wm_members *ms, const struct news *w)
{
	struct node *n = NULL;

	if (ms->count + ms->hidden < WM_MEMBERS_MAX)
		n = node_new(ms, &w->id, w->name);
	if (!n)
		ms->stats.full++;
	return n;
}

static void node_free(struct node *n)
{
	member_probe_forget(n);
	member_untell(n);
	member_doubt_free(n);
	wm_map_del(n->ms->by_id, n->m.id.octets, sizeof(n->m.id.octets));
	free(n);
}

static void uncount(struct node *n)
{
	if (member_there(n))
		n->ms->alive--;
	else if (n->m.state == WM_MEMBER_FAILED)
		n->ms->failed--;
}

void member_forget(struct node *n, bool told)
{
	uncount(n);
	unplace(n);
	if (told)
		member_event(n, WM_MEMBER_REAPED);
	node_free(n);
}

void member_hide(struct node *n)
{
	uncount(n);
	unplace(n);
	member_event(n, WM_MEMBER_REAPED);
	n->m.carried = NULL;
	n->m.state = WM_MEMBER_LEFT;
	n->m.since_ms = wm_env_ms(n->ms->env);
	n->hidden = true;
	member_probe_forget(n);
	member_doubt_free(n);
	n->ms->hidden++;
}

void member_drop_hidden(struct node *n)
{
	node_free(n);
}

int member_rename(struct node *n, const char *name)
{
	char key[WM_NODE_NAME_MAX + 1];

	member_key(name, key);
	if (strcmp(key, n->key) != 0) {
		wm_map_del(n->ms->by_name, n->key, strlen(n->key));
		strcpy(n->key, key);
		if (wm_map_put(n->ms->by_name, n->key, strlen(n->key), n, NULL))
			return -ENOMEM; /* not found by its name, and so be it */
	}
	strcpy(n->m.name, name);
	return 0;
}

static bool fits(const struct node *n, bool dead_too, uint64_t now)
{
	if (n->m.self)
		return false;
	return member_there(n) ||
	       (dead_too && now - n->m.since_ms < n->ms->c.timers.gossip_to_dead);
}

struct node *member_any(struct wm_members *ms, const struct node *but, bool dead_too)
{
	uint64_t now = wm_env_ms(ms->env);
	struct node *n;
	size_t at;

	for (unsigned i = 0; i < ANY_TRIES; i++) {
		n = ms->nodes[wm_env_below(ms->env, ms->count)];
		if (n != but && fits(n, dead_too, now))
			return n;
	}
	at = wm_env_below(ms->env, ms->count);
	for (size_t i = 0; i < ms->count; i++) {
		n = ms->nodes[(at + i) % ms->count];
		if (n != but && fits(n, dead_too, now))
			return n;
	}
	return NULL;
}

/* --- time --- */
static void on_reap(void *arg)
{
	struct wm_members *ms = arg;
	uint64_t now = wm_env_ms(ms->env);
	struct node *n;

	for (size_t i = ms->alive < ms->count ? ms->count : 0; i > 0; i--) {
		n = ms->nodes[i - 1];
		if (!member_there(n) && !n->m.self && now - n->m.since_ms >= ms->c.timers.reap)
			member_forget(n, true);
	}
	for (size_t pos = 0; ms->hidden && (n = wm_map_next(ms->by_id, &pos));)
		if (n->hidden && now - n->m.since_ms >= ms->c.timers.gossip_to_dead) {
			ms->hidden--;
			node_free(n);
		}
	wm_env_timer_arm(ms->reap,
			 ms->c.timers.reap < REAP_TICK_MS ? ms->c.timers.reap : REAP_TICK_MS);
}

/* --- callers --- */
static int make_self(struct wm_members *ms)
{
	struct node *n = node_new(ms, &ms->c.id, ms->c.name);

	if (!n)
		return -ENOMEM;
	snprintf(n->m.version, sizeof(n->m.version), "%s", ms->c.version ? ms->c.version : "");
	n->m.at = ms->c.at;
	n->m.role = ms->c.role;
	n->m.incarnation = ms->c.incarnation;
	n->m.self = true;
	n->m.has_coordinate = true;
	n->life = ms->life;
	ms->self = n;
	ms->alive = 1;
	member_vivaldi_init(&ms->vivaldi);
	n->m.coordinate = ms->vivaldi.c;
	return 0;
}

struct wm_members *wm_members_new(const struct wm_members_config *c)
{
	struct wm_members *ms;

	if (strlen(c->name) > WM_NODE_NAME_MAX)
		return NULL;
	ms = calloc(1, sizeof(*ms));
	if (!ms)
		return NULL;
	ms->c = *c;
	ms->env = c->env;
	ms->life = wm_env_random64(ms->env);
	ms->number = (uint32_t)wm_env_random64(ms->env);
	for (unsigned i = 0; i < MEMBER_TIERS_MAX; i++)
		TAILQ_INIT(&ms->tiers[i]);
	ms->by_id = wm_map_new(WM_MEMBERS_MAX + 1);
	ms->by_name = wm_map_new(WM_MEMBERS_MAX + 1);
	ms->reap = wm_env_timer_new(ms->env, on_reap, ms);
	if (!ms->by_id || !ms->by_name || !ms->reap || make_self(ms)) {
		wm_members_free(ms);
		return NULL;
	}
	ms->c.name = ms->self->m.name;
	ms->c.version = ms->self->m.version;
	return ms;
}

void wm_members_free(struct wm_members *ms)
{
	struct node *n;

	if (!ms)
		return;
	for (size_t pos = 0; ms->by_id && (n = wm_map_next(ms->by_id, &pos));)
		node_free(n);
	member_probe_stop(ms);
	wm_env_timer_free(ms->gossip);
	wm_env_timer_free(ms->reap);
	wm_map_free(ms->by_id);
	wm_map_free(ms->by_name);
	free(ms->nodes);
	free(ms);
}

int wm_members_start(struct wm_members *ms)
{
	int r = member_gossip_start(ms);

	ms->started_ms = wm_env_ms(ms->env);
	if (!r)
		r = member_probe_start(ms);
	if (!r)
		r = wm_env_timer_arm(ms->reap, REAP_TICK_MS < ms->c.timers.reap
						       ? REAP_TICK_MS
						       : ms->c.timers.reap);
	if (!r)
		member_tell(ms->self);
	return r;
}

void wm_members_leave(struct wm_members *ms)
{
	ms->leaving = true;
	ms->self->m.state = WM_MEMBER_LEFT;
	ms->self->m.since_ms = wm_env_ms(ms->env);
	member_tell(ms->self);
	member_gossip_now(ms);
}

int wm_members_remove(struct wm_members *ms, const char *name, bool prune, struct wm_err *e)
{
	struct node *n = member_named(ms, name);
	struct wm_member *m = n ? &n->m : NULL;

	if (!m)
		return wm_err_set(e, WM_E_UNKNOWN, "no member is named \"%.*s\"", WM_NODE_NAME_MAX,
				  name);
	if (member_there(n) || m->self)
		return wm_err_set(e, WM_E_CONFLICT,
				  "member \"%s\" is %s: only a failed one can "
				  "be made to leave",
				  m->name, wm_member_state_str(m->state));
	if (m->state == WM_MEMBER_FAILED) {
		ms->failed--;
		m->state = WM_MEMBER_LEFT;
		m->since_ms = wm_env_ms(ms->env);
		member_event(n, WM_MEMBER_WENT);
	}
	if (prune)
		member_hide(n);
	member_tell(n);
	return 0;
}

void wm_members_set_self(struct wm_members *ms, const struct wm_peer_addr *at,
			 enum wm_member_role role)
{
	struct wm_member *m = &ms->self->m;

	if (wm_peer_addr_same(&m->at, at) && m->role == role)
		return;
	m->at = *at;
	m->role = role;
	member_assert_self(ms, m->incarnation);
}

/* A state has all members: the larger the mesh, the later the next, so that its octets a second are
 * the same in each. What gossip missed is found by probes sooner. */
uint64_t wm_members_push_pull_ms(struct wm_members *ms, unsigned base)
{
	uint64_t few = ms->alive > PUSH_PULL_FEW ? ms->alive : PUSH_PULL_FEW;
	uint64_t wait = base * few / PUSH_PULL_FEW;

	return wait - wm_env_below(ms->env, wait / 4 + 1); /* not all at once */
}

struct wm_member *wm_members_any(struct wm_members *ms)
{
	uint64_t skip;
	struct node *n;

	if (ms->alive < 2)
		return NULL;
	skip = wm_env_below(ms->env, ms->alive - 1);
	for (size_t i = 0; i < ms->count; i++) {
		n = ms->nodes[i];
		if (!n->m.self && member_there(n) && !skip--)
			return &n->m;
	}
	return NULL;
}

unsigned wm_members_count(const struct wm_members *ms)
{
	return (unsigned)ms->count;
}

unsigned wm_members_alive(const struct wm_members *ms)
{
	return ms->alive;
}

struct wm_member *wm_members_self(const struct wm_members *ms)
{
	return &ms->self->m;
}

struct wm_member *wm_members_by_id(const struct wm_members *ms, const struct wm_peer_id *id)
{
	struct node *n = member_find(ms, id);

	return n && !n->hidden ? &n->m : NULL;
}

struct wm_member *wm_members_by_name(const struct wm_members *ms, const char *name)
{
	struct node *n = member_named(ms, name);

	return n ? &n->m : NULL;
}

struct wm_member *wm_members_next(const struct wm_members *ms, size_t *pos)
{
	return *pos < ms->count ? &ms->nodes[(*pos)++]->m : NULL;
}

void wm_members_stats(const struct wm_members *ms, struct wm_member_stats *ret)
{
	*ret = ms->stats;
}
