/* SPDX-License-Identifier: Apache-2.0 */
/* interest_serve.c - see interest_serve.h. */
#include "interest_serve.h"

#include "userspace/base/err.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TICK_MS	   10000
#define TOPICS_MAX (1u << 20)

struct leaf;
struct topic;
struct sub {
	LIST_ENTRY(sub) of_leaf, of_topic;
	struct leaf *leaf;
	struct topic *topic;
	uint32_t number; /* messages sent of it */
};

struct leaf {
	struct wm_peer_id id;
	LIST_HEAD(, sub) subs;
	unsigned services, globs;
	uint64_t renewed_ms, objects;
};

struct topic {
	LIST_HEAD(, sub) subs;
	LIST_ENTRY(topic) of_globs;
	TAILQ_ENTRY(topic) of_dirty;
	bool glob, dirty, whole; /* whole: too much changed */
	struct wm_serve_change *changes;
	unsigned changes_count, changes_cap;
	char name[];
};

struct wm_serve {
	struct wm_serve_config c;
	struct wm_map *leaves, *topics;
	LIST_HEAD(, topic) globs;
	TAILQ_HEAD(, topic) dirty;
	struct wm_env_timer *flush, *tick;
	struct wm_serve_stats stats;
};

static struct topic *find(const struct wm_serve *s, const char *name)
{
	return wm_map_get(s->topics, name, strlen(name));
}

/* --- subscriptions ---------------------------------------------------------------------------- */
static void free_topic(struct wm_serve *s, struct topic *t)
{
	if (t->dirty)
		TAILQ_REMOVE(&s->dirty, t, of_dirty);
	if (t->glob)
		LIST_REMOVE(t, of_globs);
	(void)wm_map_del(s->topics, t->name, strlen(t->name));
	free(t->changes);
	free(t);
}

static void free_sub(struct wm_serve *s, struct sub *k)
{
	LIST_REMOVE(k, of_leaf);
	LIST_REMOVE(k, of_topic);
	k->leaf->services -= !k->topic->glob;
	k->leaf->globs -= k->topic->glob;
	s->stats.subscriptions--;
	if (LIST_EMPTY(&k->topic->subs))
		free_topic(s, k->topic);
	free(k);
}

static void free_leaf(struct wm_serve *s, struct leaf *l)
{
	while (!LIST_EMPTY(&l->subs))
		free_sub(s, LIST_FIRST(&l->subs));
	(void)wm_map_del(s->leaves, l->id.octets, sizeof(l->id.octets));
	s->stats.leaves--;
	free(l);
}

void wm_serve_gone(struct wm_serve *s, const struct wm_peer_id *leaf)
{
	struct leaf *l = wm_map_get(s->leaves, leaf->octets, sizeof(leaf->octets));

	if (l)
		free_leaf(s, l);
}

void wm_serve_stranger(struct wm_serve *s, const struct wm_peer_id *who)
{
	s->stats.strangers++;
	wm_serve_gone(s, who);
}

void wm_serve_sent(struct wm_serve *s, const struct wm_peer_id *leaf, size_t objects)
{
	struct leaf *l = wm_map_get(s->leaves, leaf->octets, sizeof(leaf->octets));

	if (l)
		l->objects += objects;
}

bool wm_serve_leaf(const struct wm_serve *s, const struct wm_peer_id *leaf,
		   struct wm_serve_leaf *ret)
{
	const struct leaf *l = wm_map_get(s->leaves, leaf->octets, sizeof(leaf->octets));

	if (l)
		*ret = (struct wm_serve_leaf){l->services, l->globs, l->objects};
	return l;
}

static int ready_leaf(struct wm_serve *s, const struct wm_peer_id *id, struct leaf **ret)
{
	struct leaf *l = wm_map_get(s->leaves, id->octets, sizeof(id->octets));

	*ret = l;
	if (l)
		return 0;
	if (s->stats.leaves >= WM_SERVE_LEAVES_MAX)
		return WM_E_LIMIT;
	l = calloc(1, sizeof(*l));
	if (!l)
		return -ENOMEM;
	l->id = *id;
	LIST_INIT(&l->subs);
	if (wm_map_put(s->leaves, l->id.octets, sizeof(l->id.octets), l, NULL)) {
		free(l);
		return -ENOMEM;
	}
	s->stats.leaves++;
	*ret = l;
	return 0;
}

static int ready_topic(struct wm_serve *s, const char *name, bool glob, struct topic **ret)
{
	struct topic *t = find(s, name);

	*ret = t;
	if (t)
		return 0;
	t = calloc(1, sizeof(*t) + strlen(name) + 1);
	if (!t)
		return -ENOMEM;
	strcpy(t->name, name);
	t->glob = glob;
	LIST_INIT(&t->subs);
	if (wm_map_put(s->topics, t->name, strlen(t->name), t, NULL)) {
		free(t);
		return -ENOMEM;
	}
	if (glob)
		LIST_INSERT_HEAD(&s->globs, t, of_globs);
	*ret = t;
	return 0;
}

static struct sub *sub_of(const struct leaf *l, const struct topic *t)
{
	struct sub *k;

	LIST_FOREACH (k, &t->subs, of_topic)
		if (k->leaf == l)
			return k;
	return NULL;
}

static int new_sub(struct wm_serve *s, struct leaf *l, struct topic *t, struct sub **ret)
{
	struct sub *k;

	*ret = sub_of(l, t);
	if (*ret)
		return 0;
	if (t->glob ? l->globs >= WM_INTEREST_GLOBS_MAX : l->services >= WM_INTERESTS_MAX)
		return WM_E_LIMIT;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->leaf = l;
	k->topic = t;
	LIST_INSERT_HEAD(&l->subs, k, of_leaf);
	LIST_INSERT_HEAD(&t->subs, k, of_topic);
	l->services += !t->glob;
	l->globs += t->glob;
	s->stats.subscriptions++;
	*ret = k;
	return 0;
}

static void send_whole(struct wm_serve *s, struct sub *k)
{
	if (k->topic->glob) {
		k->number = 1;
		s->c.names(s->c.arg, &k->leaf->id, k->topic->name);
		return;
	}
	s->stats.wholes++;
	k->number = s->c.whole(s->c.arg, &k->leaf->id, k->topic->name);
}

/* @return 0, WM_E_LIMIT, -ENOMEM. */
static int subscribe(struct wm_serve *s, struct leaf *l, const char *name, uint32_t number)
{
	struct topic *t;
	struct sub *k;
	int r = ready_topic(s, name, strpbrk(name, "*?[") != NULL, &t);

	if (r)
		return r;
	r = new_sub(s, l, t, &k);
	if (r) {
		if (LIST_EMPTY(&t->subs))
			free_topic(s, t);
		return r;
	}
	if (!number || number != k->number)
		send_whole(s, k);
	return 0;
}

int wm_serve_asked(struct wm_serve *s, const struct wm_peer_id *leaf, const char *name,
		   uint32_t number, bool end)
{
	const struct topic *t = find(s, name);
	struct sub *k;
	struct leaf *l;
	int r;

	if (end) {
		l = wm_map_get(s->leaves, leaf->octets, sizeof(leaf->octets));
		k = l && t ? sub_of(l, t) : NULL;
		if (k)
			free_sub(s, k);
		return 0;
	}
	r = ready_leaf(s, leaf, &l);
	if (!r) {
		l->renewed_ms = wm_env_ms(s->c.env);
		r = subscribe(s, l, name, number);
	}
	if (r == WM_E_LIMIT) {
		s->stats.refused++;
		s->c.refuse(s->c.arg, leaf, name);
	}
	return r;
}

/* --- changes ---------------------------------------------------------------------------------- */
bool wm_serve_wanted(const struct wm_serve *s, const char *service)
{
	return s->stats.subscriptions && find(s, service);
}

static bool grow(struct topic *t)
{
	unsigned cap = t->changes_cap ? 2 * t->changes_cap : 4;
	struct wm_serve_change *c;

	if (t->changes_count < t->changes_cap)
		return true;
	if (t->changes_count >= WM_SERVE_CHANGES)
		return false;
	c = realloc(t->changes, cap * sizeof(*c));
	if (!c)
		return false;
	t->changes = c;
	t->changes_cap = cap;
	return true;
}

static void note(struct topic *t, const struct wm_serve_change *c)
{
	for (unsigned n = 0; n < t->changes_count; n++) {
		struct wm_serve_change *had = &t->changes[n];

		if (strcmp(had->id, c->id) == 0 && strcmp(had->node, c->node) == 0 &&
		    had->version.origin == c->version.origin) {
			*had = *c;
			return;
		}
	}
	if (grow(t))
		t->changes[t->changes_count++] = *c;
	else
		t->whole = true;
}

void wm_serve_changed(struct wm_serve *s, const char *service, const struct wm_serve_change *c)
{
	struct topic *t = s->stats.subscriptions ? find(s, service) : NULL;

	if (!t || t->glob)
		return;
	if (!t->whole)
		note(t, c);
	if (t->dirty)
		return;
	t->dirty = true;
	if (TAILQ_EMPTY(&s->dirty))
		wm_env_timer_arm(s->flush, WM_SERVE_MS);
	TAILQ_INSERT_TAIL(&s->dirty, t, of_dirty);
}

void wm_serve_created(struct wm_serve *s, const char *service)
{
	struct topic *t;
	struct sub *k;

	LIST_FOREACH (t, &s->globs, of_globs)
		if (fnmatch(t->name, service, 0) == 0)
			LIST_FOREACH (k, &t->subs, of_topic)
				s->c.name(s->c.arg, &k->leaf->id, t->name, ++k->number, service);
}

static void flush_topic(struct wm_serve *s, struct topic *t)
{
	struct sub *k;

	LIST_FOREACH (k, &t->subs, of_topic) {
		if (t->whole) {
			send_whole(s, k);
			continue;
		}
		s->stats.changes++;
		s->c.changes(s->c.arg, &k->leaf->id, t->name, ++k->number, t->changes,
			     t->changes_count);
	}
	t->whole = false;
	t->changes_count = 0;
}

static void on_flush(void *arg)
{
	struct wm_serve *s = arg;
	struct topic *t;

	while ((t = TAILQ_FIRST(&s->dirty))) {
		TAILQ_REMOVE(&s->dirty, t, of_dirty);
		t->dirty = false;
		flush_topic(s, t);
	}
}

static void on_tick(void *arg)
{
	struct wm_serve *s = arg;
	uint64_t now = wm_env_ms(s->c.env);
	struct leaf *l;
	size_t pos = 0;

	while ((l = wm_map_next(s->leaves, &pos))) {
		if (now - l->renewed_ms < WM_SERVE_QUIET_MS)
			continue;
		s->stats.quiet++;
		free_leaf(s, l);
	}
	wm_env_timer_arm(s->tick, TICK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_serve *wm_serve_new(const struct wm_serve_config *c)
{
	struct wm_serve *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->c = *c;
	LIST_INIT(&s->globs);
	TAILQ_INIT(&s->dirty);
	s->leaves = wm_map_new(WM_SERVE_LEAVES_MAX);
	s->topics = wm_map_new(TOPICS_MAX);
	s->flush = wm_env_timer_new(c->env, on_flush, s);
	s->tick = wm_env_timer_new(c->env, on_tick, s);
	if (!s->leaves || !s->topics || !s->flush || !s->tick ||
	    wm_env_timer_arm(s->tick, TICK_MS)) {
		wm_serve_free(s);
		return NULL;
	}
	return s;
}

void wm_serve_free(struct wm_serve *s)
{
	struct leaf *l;
	size_t pos = 0;

	if (!s)
		return;
	while (s->leaves && (l = wm_map_next(s->leaves, &pos)))
		free_leaf(s, l);
	wm_map_free(s->leaves);
	wm_map_free(s->topics);
	wm_env_timer_free(s->flush);
	wm_env_timer_free(s->tick);
	free(s);
}

void wm_serve_stats(const struct wm_serve *s, struct wm_serve_stats *ret)
{
	*ret = s->stats;
}
