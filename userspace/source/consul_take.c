/* SPDX-License-Identifier: Apache-2.0 */
/* consul_take.c - what the answers say, given to the door one instance after the other, some a
 * turn. Of each is known which service's answer had it last: an id may move from one service to
 * another, and whichever answer comes first, the instance stays. A node is the newest that any
 * answer said of it, and goes with its last instance. */
#include "consul_internal.h"
#include "userspace/base/hash.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEY_MAX                                                                                    \
	65535 /* octets of a node's name and an id: of a hostile Consul, longer is refused */

/* --- what is known ---------------------------------------------------------------------------- */
static const char *id_of(const struct wm_consul_thing *t)
{
	return t->key + strlen(t->key) + 1;
}

static void node_unref(struct wm_consul *c, struct wm_consul_node *n, bool tell)
{
	if (--n->refs)
		return;
	wm_map_del(c->nodes, n->name, strlen(n->name));
	if (tell)
		wm_source_node_gone(c->source, n->name);
	free(n);
}

void wm_consul_thing_free(struct wm_consul *c, struct wm_consul_thing *t, bool tell)
{
	if (tell)
		wm_source_gone(c->source, t->node->name, id_of(t));
	TAILQ_REMOVE(&t->watch->things, t, entry);
	wm_map_del(c->things, t->key, t->key_len);
	node_unref(c, t->node, tell);
	free(t);
}

void wm_consul_things_free(struct wm_consul *c)
{
	struct wm_consul_thing *t;
	size_t pos = 0;

	while (c->things && (t = wm_map_next(c->things, &pos)))
		wm_consul_thing_free(c, t, false);
}

void wm_consul_forget(struct wm_consul_watch *w)
{
	struct wm_consul_thing *t;

	while ((t = TAILQ_FIRST(&w->things)))
		wm_consul_thing_free(w->q.c, t, true);
}

/* @return NULL without memory. */
static struct wm_consul_node *node_of(struct wm_consul *c, const char *name)
{
	size_t len = strlen(name);
	struct wm_consul_node *n = wm_map_get(c->nodes, name, len);

	if (n)
		return n;
	n = calloc(1, sizeof(*n) + len + 1);
	if (!n)
		return NULL;
	memcpy(n->name, name, len);
	if (wm_map_put(c->nodes, n->name, len, n, NULL)) {
		free(n);
		return NULL;
	}
	return n;
}

static struct wm_consul_thing *find(struct wm_consul *c, const char *node, const char *id,
				    char **ret_key, size_t *ret_len)
{
	size_t a = strlen(node) + 1, b = strlen(id) + 1;

	*ret_len = a + b;
	*ret_key = a + b <= KEY_MAX ? malloc(a + b) : NULL;
	if (!*ret_key)
		return NULL;
	memcpy(*ret_key, node, a);
	memcpy(*ret_key + a, id, b);
	return wm_map_get(c->things, *ret_key, a + b);
}

static void is_of(struct wm_consul_thing *t, struct wm_consul_watch *w)
{
	if (t->watch != w) {
		TAILQ_REMOVE(&t->watch->things, t, entry);
		TAILQ_INSERT_TAIL(&w->things, t, entry);
		t->watch = w;
	}
	t->generation = w->generation;
}

static int remember(struct wm_consul_watch *w, struct wm_consul_node *n, const char *key,
		    size_t len)
{
	struct wm_consul_thing *t = calloc(1, sizeof(*t) + len);

	if (!t)
		return -ENOMEM;
	memcpy(t->key, key, len);
	t->key_len = (uint16_t)len;
	if (wm_map_put(w->q.c->things, t->key, len, t, NULL)) {
		free(t);
		return -ENOMEM;
	}
	t->node = n;
	n->refs++;
	t->watch = w;
	t->generation = w->generation;
	TAILQ_INSERT_TAIL(&w->things, t, entry);
	return 0;
}

void wm_consul_nodes_again(struct wm_consul *c)
{
	struct wm_consul_node *n;
	size_t pos = 0;

	while (c->nodes && (n = wm_map_next(c->nodes, &pos)))
		n->facts = n->index = 0;
}

/* --- one instance ----------------------------------------------------------------------------- */
static uint64_t mix(uint64_t h, const char *s)
{
	return h * 31 + wm_hash(s ? s : "", s ? strlen(s) : 0);
}

static uint64_t facts_hash(const struct wm_node_draft *f)
{
	uint64_t h = mix(mix(mix(mix(1, f->id), f->address), f->region), f->zone);

	for (unsigned i = 0; i < f->meta_count; i++)
		h = mix(mix(h, f->meta[i].key), f->meta[i].value);
	for (unsigned i = 0; i < f->tagged_count; i++)
		h = mix(mix(h, f->tagged[i].key), f->tagged[i].value);
	return h ? h : 1;
}

/* Answers of other services may have been made before. */
static int take_node(struct wm_consul *c, struct wm_consul_node *n,
		     const struct wm_consul_entry *ent)
{
	uint64_t facts = facts_hash(&ent->facts);
	int r;

	if (n->facts == facts || (n->facts && ent->node_index && ent->node_index < n->index))
		return 0;
	r = wm_source_node(c->source, n->name, &ent->facts);
	if (!r) {
		n->facts = facts;
		n->index = ent->node_index;
	}
	return r;
}

/* @return 0, also if it was refused; -ENOMEM, WM_E_CONFLICT. */
static int put(struct wm_consul_watch *w, const struct wm_consul_entry *ent)
{
	struct wm_consul *c = w->q.c;
	struct wm_consul_thing *t;
	struct wm_consul_node *n;
	char *key;
	size_t len;
	int r;

	t = find(c, ent->node, ent->draft.id, &key, &len);
	if (!key)
		return len > KEY_MAX ? 0 : -ENOMEM;
	n = t ? t->node : node_of(c, ent->node);
	r = n ? take_node(c, n, ent) : -ENOMEM;
	if (!r)
		r = wm_source_put(c->source, ent->node, &ent->draft, ent->status, WM_LIFE_RUNNING);
	if (t)
		is_of(t, w); /* one that is refused now stays as it was */
	else if (!r)
		r = remember(w, n, key, len);
	if (n && !n->refs) { /* nothing is on it */
		n->refs++;
		node_unref(c, n, true);
	}
	free(key);
	return r == -ENOMEM || r == WM_E_CONFLICT ? r : 0;
}

/* What cannot be taken of one that is there leaves it as it is. */
static void pass_over(struct wm_consul_watch *w, const struct wm_consul_entry *ent)
{
	struct wm_consul_thing *t;
	size_t len;
	char *key;

	wm_source_count(w->q.c->source, WM_SOURCE_COUNT_bad, 1);
	t = find(w->q.c, ent->node, ent->draft.id, &key, &len);
	if (t)
		is_of(t, w);
	free(key);
}

static int take(struct wm_consul_watch *w, const char *text, size_t len, struct wm_err *e)
{
	struct wm_consul *c = w->q.c;
	struct wm_consul_entry *ent = c->entry;
	int r = wm_consul_entry_read(text, len, ent, e);

	wm_source_count(c->source, WM_SOURCE_COUNT_events, 1);
	if (!r && strcasecmp(ent->draft.name, w->name) != 0)
		r = wm_err_set(e, WM_E_DECODE, "it is of another service than was asked for");
	if (r == WM_E_LIMIT || r == WM_E_INVALID) {
		pass_over(w, ent);
		return 0;
	}
	if (r)
		return r;
	if (ent->origin && wm_consul_is_ours(c, ent->origin)) {
		c->stats.loops++;
		return 0;
	}
	return put(w, ent);
}

/* --- an answer -------------------------------------------------------------------------------- */
static void sweep(struct wm_consul_watch *w)
{
	struct wm_consul_thing *t, *next;

	for (t = TAILQ_FIRST(&w->things); t; t = next) {
		next = TAILQ_NEXT(t, entry);
		if (t->generation != w->generation)
			wm_consul_thing_free(w->q.c, t, true);
	}
}

static void end(struct wm_consul_watch *w, int r, const struct wm_err *e)
{
	if (!r) {
		sweep(w);
		wm_consul_watch_taken(w);
	} else if (r == WM_E_DECODE) {
		wm_source_count(w->q.c->source, WM_SOURCE_COUNT_bad, 1);
		wm_consul_watch_bad(w, FAULT_BAD, e->text);
	} else {
		wm_consul_watch_bad(w, FAULT_MEMORY, wm_err_str(r));
	}
}

void wm_consul_take(void *consul)
{
	struct wm_consul *c = consul;
	uint64_t until = wm_env_ns(c->env) + TAKE_MS * WM_NS_PER_MS;
	struct wm_consul_watch *w;

	while ((w = TAILQ_FIRST(&c->taking)) && !wm_source_is_full(c->source)) {
		struct wm_err e = {0};
		size_t len = 0;
		const char *text = wm_consul_walk_next(&w->walk, &len);
		int r = text ? take(w, text, len, &e) : 0;

		if (!text || r)
			end(w, r, &e);
		if (wm_env_ns(c->env) >= until) {
			wm_env_timer_arm(c->take_timer, 1); /* others have their turns */
			return;
		}
	}
}
