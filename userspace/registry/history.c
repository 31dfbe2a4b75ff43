/* SPDX-License-Identifier: Apache-2.0 */
/* history.c - see history.h. */
#include "history.h"

#include "userspace/base/map.h"
#include "userspace/model/node.h"
#include "userspace/model/object.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int wm_history_init(struct wm_history *h)
{
	TAILQ_INIT(&h->all);
	TAILQ_INIT(&h->log);
	TAILQ_INIT(&h->tombs);
	h->by_key = wm_map_new(WM_TABLE_MAX);
	return h->by_key ? 0 : -ENOMEM;
}

void wm_history_done(struct wm_history *h)
{
	struct wm_tombstone *t;

	if (!h->by_key)
		return;
	while ((t = TAILQ_FIRST(&h->tombs)))
		wm_history_unbury(h, t);
	wm_map_free(h->by_key);
	h->by_key = NULL;
}

/* --- words ------------------------------------------------------------------------------------ */
static void unlist(struct wm_history *h, struct wm_past *p)
{
	if (p->listed)
		TAILQ_REMOVE(&h->all, p, entry);
	p->listed = false;
}

static void unlog(struct wm_history *h, struct wm_past *p)
{
	if (p->logged)
		TAILQ_REMOVE(&h->log, p, log_entry);
	p->logged = false;
}

static void list(struct wm_history *h, struct wm_past *p, uint64_t index)
{
	const struct wm_past *last;

	unlist(h, p);
	/* what follows of a large node's change comes over many turns, under the change's index */
	last = TAILQ_LAST(&h->all, wm_pasts);
	p->index = last && last->index > index ? last->index : index;
	p->listed = true;
	TAILQ_INSERT_TAIL(&h->all, p, entry);
}

const struct wm_version *wm_past_version(struct wm_past *p)
{
	return p->gone ? &wm_past_tomb(p)->version : &wm_past_live(p)->version;
}

void wm_history_log_word(struct wm_history *h, struct wm_past *p)
{
	const struct wm_version *v = wm_past_version(p);
	struct wm_pasts *log = &h->log;
	struct wm_past *before;

	unlog(h, p);
	if (v->origin != WM_ORIGIN_OWN) /* whose order is nobody's here */
		return;
	p->logged = true;
	/* rows of a batch are applied nearly in the order in which they were numbered */
	for (before = TAILQ_LAST(log, wm_pasts); before && wm_past_version(before)->seq > v->seq;
	     before = TAILQ_PREV(before, wm_pasts, log_entry))
		;
	if (before)
		TAILQ_INSERT_AFTER(log, before, p, log_entry);
	else
		TAILQ_INSERT_HEAD(log, p, log_entry);
}

void wm_history_touch(struct wm_history *h, struct wm_instance *i, uint64_t index)
{
	list(h, &wm_box(i)->past, index);
}

void wm_history_log(struct wm_history *h, struct wm_instance *i)
{
	wm_history_log_word(h, &wm_box(i)->past);
}

void wm_history_leave(struct wm_history *h, struct wm_instance *i)
{
	struct wm_past *p = &wm_box(i)->past;

	unlist(h, p);
	unlog(h, p);
}

/* --- tombstones ------------------------------------------------------------------------------- */
struct wm_tombstone *wm_tombstone_new(const struct wm_instance *i, uint64_t row, const char *semver)
{
	size_t node = strlen(i->node->folded) + 1, id = strlen(i->id) + 1,
	       service = strlen(i->name) + 1, version = semver ? strlen(semver) + 1 : 0;
	struct wm_tombstone *t = calloc(1, sizeof(*t) + 1 + node + id + service + version);

	if (!t)
		return NULL;
	/* this agent's own node does not go */
	t->version.origin = *i->id || wm_instance_foreign(i) ? i->version.origin : WM_ORIGIN_SHARED;
	t->version.writer = i->version.writer;
	t->key[0] = (char)t->version.origin;
	t->node = memcpy(t->key + 1, i->node->folded, node);
	t->id = memcpy(t->key + 1 + node, i->id, id);
	t->service = memcpy(t->key + 1 + node + id, i->name, service);
	if (semver && t->version.origin == WM_ORIGIN_SHARED)
		t->semver = memcpy(t->key + 1 + node + id + service, semver, version);
	t->len = (uint32_t)(1 + node + id);
	t->row = row;
	t->past.gone = true;
	return t;
}

int wm_history_reserve(struct wm_history *h)
{
	return wm_map_reserve(h->by_key, 1);
}

void wm_history_bury(struct wm_history *h, struct wm_tombstone *t, uint64_t index)
{
	struct wm_tombstone *before = wm_map_get(h->by_key, t->key, t->len);

	if (before) /* the same name went before: the newer word stands */
		wm_history_unbury(h, before);
	if (wm_map_put(h->by_key, t->key, t->len, t, NULL)) {
		abort(); /* room was reserved */
	}
	TAILQ_INSERT_TAIL(&h->tombs, t, by_age);
	h->count++;
	list(h, &t->past, index);
	if (t->version.seq)
		wm_history_log_word(h, &t->past);
}

void wm_history_unbury(struct wm_history *h, struct wm_tombstone *t)
{
	unlist(h, &t->past);
	unlog(h, &t->past);
	TAILQ_REMOVE(&h->tombs, t, by_age);
	(void)wm_map_del(h->by_key, t->key, t->len);
	h->count--;
	free(t);
}

struct wm_tombstone *wm_history_tomb(const struct wm_history *h, enum wm_version_origin o,
				     const char *node, const char *id)
{
	char key[1 + WM_NODE_NAME_MAX + WM_INSTANCE_ID_MAX + 2];
	size_t n = strlen(node) + 1, len = strlen(id) + 1;

	if (!h->count || 1 + n + len > sizeof(key))
		return NULL;
	key[0] = (char)o;
	memcpy(key + 1, node, n);
	memcpy(key + 1 + n, id, len);
	return wm_map_get(h->by_key, key, 1 + n + len);
}

/* --- numbers ---------------------------------------------------------------------------------- */
struct wm_version wm_history_draw(struct wm_history *h, enum wm_version_origin o, uint32_t epoch,
				  uint64_t wall_ms)
{
	struct wm_version v = {.origin = o};

	if (o == WM_ORIGIN_OWN) {
		v.epoch = epoch;
		h->seq = h->seq + 1 > h->run ? h->seq + 1 : h->run;
		v.seq = h->seq;
		return v;
	}
	h->clock = wall_ms << 16 > h->clock ? wall_ms << 16 : h->clock + 1;
	v.seq = h->clock;
	v.priority = h->priority;
	return v;
}
