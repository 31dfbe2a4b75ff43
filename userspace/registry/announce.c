/* SPDX-License-Identifier: Apache-2.0 */
/* announce.c - what follows a write that was stored and applied: listeners are told, and what it
 * replaced is freed. */
#include "internal.h"
#include "plan.h"

#include <stdlib.h>
#include <string.h>

/* --- announcing ------------------------------------------------------------------------------- */
static void announce(struct wm_registry *r, const struct wm_op *op, struct wm_change *c)
{
	c->index = op->seen;
	wm_registry_announce(r, c);
}

static void announce_removed(struct wm_registry *r, const struct wm_op *op, const struct wm_edit *e)
{
	const struct wm_instance *in = e->in, *old = e->old;

	for (unsigned n = 0; old && n < old->checks_count; n++) {
		struct wm_change c = {.kind = WM_CHANGE_CHECK_REMOVED,
				      .service = e->from,
				      .instance = e->old,
				      .check = old->checks[n]};

		if (!in || !wm_checks_list(in->checks, in->checks_count, old->checks[n]))
			announce(r, op, &c);
	}
}

static void announce_deleted(struct wm_registry *r, const struct wm_op *op, const struct wm_edit *e)
{
	struct wm_change c = {
		.kind = WM_CHANGE_INSTANCE_DELETED, .service = e->from, .instance = e->old};

	if (e->from && (!e->in || e->in->service != e->from))
		announce(r, op, &c);
}

static void announce_upsert(struct wm_registry *r, const struct wm_op *op, const struct wm_edit *e)
{
	struct wm_change c = {.kind = WM_CHANGE_INSTANCE_UPSERT, .instance = e->in};

	if (!e->in)
		return;
	c.service = e->in->service;
	if (e->from == c.service) {
		c.old = e->old;
		e->in->passive = e->old->passive;
		e->old->passive = NULL;
		if (e->in->passive)
			e->in->passive->instance = e->in;
	}
	announce(r, op, &c);
}

static void announce_node(struct wm_registry *r, const struct wm_op *op, const struct wm_edit *e)
{
	struct wm_change c = {.kind = WM_CHANGE_NODE_UPSERT, .instance = e->home->holder};

	if (e->dropped)
		return;
	announce(r, op, &c);
	wm_registry_node_touched(r, e->home, op->seen, true);
}

static void announce_node_gone(struct wm_registry *r, const struct wm_op *op,
			       const struct wm_edit *e)
{
	struct wm_change c = {.kind = WM_CHANGE_NODE_DELETED, .instance = e->home->holder};

	if (e->dropped && !e->founded)
		announce(r, op, &c);
}

static void announce_services(struct wm_registry *r, const struct wm_op *op, bool gone)
{
	struct wm_change c = {.kind = WM_CHANGE_SERVICE_DELETED};
	struct wm_service *s;
	struct wm_made *m;

	SLIST_FOREACH (s, &op->gone, entry) {
		c.service = s;
		if (gone && !s->fresh)
			announce(r, op, &c);
	}
	c.kind = WM_CHANGE_SERVICE_CREATED;
	SLIST_FOREACH (m, &op->made, entry) {
		if (gone || !m->service || !m->service->instances_count)
			continue;
		c.service = m->service;
		m->service->fresh = false;
		announce(r, op, &c);
	}
}

/* In this order, of all edits of a write: a listener never meets what it was not told of. */
void wm_op_announce(struct wm_registry *r, struct wm_op *op)
{
	struct wm_edit *e;

	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what == WM_EDIT_NODE)
			announce_node(r, op, e);
	}
	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what != WM_EDIT_NODE)
			announce_removed(r, op, e);
	}
	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what == WM_EDIT_INSTANCE)
			announce_deleted(r, op, e);
	}
	announce_services(r, op, true);
	announce_services(r, op, false);
	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what == WM_EDIT_INSTANCE)
			announce_upsert(r, op, e);
	}
	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what == WM_EDIT_HOLDER && wm_find_node(r, e->home->folded) == e->home)
			wm_registry_node_changed(r, e->home, op->seen, NULL, true);
	}
	TAILQ_FOREACH (e, &op->edits, entry) {
		if (e->what == WM_EDIT_NODE)
			announce_node_gone(r, op, e);
	}
}

/* --- what was replaced ------------------------------------------------------------------------ */
static void settle_edit(struct wm_edit *e)
{
	struct wm_instance *in = e->in, *old = e->old;

	for (unsigned n = 0; old && n < old->checks_count; n++) {
		if (!in || !wm_checks_list(in->checks, in->checks_count, old->checks[n]))
			wm_check_free(old->checks[n]);
	}
	wm_instance_free(old, false);
	if (e->what == WM_EDIT_NODE && e->dropped)
		wm_node_free(e->home);
	wm_node_free(e->facts);
	free(e->fresh);
	free(e->tomb);
	free(e);
}

void wm_op_settle(struct wm_registry *r, struct wm_op *op)
{
	struct wm_service *s;
	struct wm_edit *e, *next;
	struct wm_made *m;

	(void)r;
	for (int nodes = 0; nodes < 2; nodes++) { /* what is on a node goes before it */
		for (e = TAILQ_FIRST(&op->edits); e; e = next) {
			next = TAILQ_NEXT(e, entry);
			if (nodes != (e->what == WM_EDIT_NODE))
				continue;
			TAILQ_REMOVE(&op->edits, e, entry);
			settle_edit(e);
		}
	}
	while ((s = SLIST_FIRST(&op->gone))) {
		SLIST_REMOVE_HEAD(&op->gone, entry);
		wm_service_free(s);
	}
	while ((m = SLIST_FIRST(&op->made))) {
		SLIST_REMOVE_HEAD(&op->made, entry);
		wm_lease_free(m->evicted);
		free(m);
	}
}

/* --- what was not made ------------------------------------------------------------------------ */
static void unmake(struct wm_registry *r, struct wm_made *m)
{
	wm_service_free(m->service);
	if (m->lease)
		m->lease->wanted--;
	if (m->lease && m->given) {
		wm_lease_detach(r->vips, m->lease);
		wm_lease_free(m->lease);
	}
	if (m->evicted && wm_lease_attach(r->vips, m->evicted))
		abort(); /* its place was just left */
	free(m);
}

void wm_op_unprepare(struct wm_registry *r, struct wm_op *op)
{
	struct wm_made *m;
	struct wm_edit *e;

	while ((e = TAILQ_LAST(&op->edits, wm_edits))) { /* a node stands before what is on it */
		TAILQ_REMOVE(&op->edits, e, entry);
		wm_edit_free(e);
	}
	while ((m = SLIST_FIRST(&op->made))) {
		SLIST_REMOVE_HEAD(&op->made, entry);
		unmake(r, m);
	}
}

/* --- life ------------------------------------------------------------------------------------- */
void *wm_op_new(const struct wm_op_kind *kind, size_t size, const char *id)
{
	size_t n = strlen(id) + 1; /* bounded by the caller */
	struct wm_op *op = calloc(1, size + n);

	if (!op)
		return NULL;
	op->kind = kind;
	op->bytes = size + n;
	op->id = memcpy((char *)op + size, id, n);
	TAILQ_INIT(&op->edits);
	return op;
}

void wm_op_free(struct wm_op *op)
{
	if (!op)
		return;
	if (op->kind->discard)
		op->kind->discard(op);
	free(op->subject);
	free(op->node_name);
	free(op->text);
	free(op);
}
