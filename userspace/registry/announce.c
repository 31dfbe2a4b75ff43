/* SPDX-License-Identifier: Apache-2.0 */
/* announce.c - what follows a write that was staged and committed (apply.c): listeners are told,
 * and what it replaced is freed. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

/* --- announcing --------------------------------------------------------------------------------
 */
static void announce(const struct wm_registry *r, const struct wm_op *op, enum wm_change_kind kind,
		     struct wm_service *s, struct wm_instance *i, struct wm_check *c)
{
	struct wm_change change = {
		.kind = kind, .index = op->index, .service = s, .instance = i, .check = c};

	if (kind == WM_CHANGE_INSTANCE_UPSERT && op->origin_service == op->to)
		change.old = op->origin;
	wm_registry_announce(r, &change);
}

/* In this order, of all parts of a group: a listener never meets what it was not told of. */
enum phase {
	PHASE_NODE,
	PHASE_CHECKS_REMOVED,
	PHASE_DELETED,
	PHASE_SERVICE_GONE,
	PHASE_SERVICE_NEW,
	PHASE_UPSERT,
	PHASE_NODE_CHECKS,
	PHASE_NODE_GONE,
	PHASES
};

static void announce_removed(const struct wm_registry *r, const struct wm_op *op)
{
	const struct wm_instance *old = op->old, *origin = op->origin;

	for (unsigned n = 0; origin && n < old->checks_count; n++) {
		struct wm_check *c = old->checks[n];

		/* one that came within the group was never announced */
		if (!wm_checks_list(op->merged, op->merged_count, c) &&
		    wm_checks_list(origin->checks, origin->checks_count, c))
			announce(r, op, WM_CHANGE_CHECK_REMOVED, op->origin_service, op->origin, c);
	}
}

static void announce_upsert(const struct wm_registry *r, const struct wm_op *op)
{
	if (!op->in || op->superseded || op->node || !op->to)
		return;
	if (op->origin && op->origin_service == op->to) {
		op->in->compiled = op->origin->compiled;
		op->origin->compiled = NULL;
	}
	announce(r, op, WM_CHANGE_INSTANCE_UPSERT, op->to, op->in, NULL);
}

static void announce_node(struct wm_registry *r, const struct wm_op *op)
{
	if (op->kind != WM_OP_NODE_PUT)
		return;
	announce(r, op, WM_CHANGE_NODE_UPSERT, NULL, op->home->holder, NULL);
	wm_registry_node_touched(r, op->home, op->index);
}

static void announce_phase(struct wm_registry *r, struct wm_op *op, enum phase p)
{
	bool moved = op->origin && op->origin_service && op->origin_service != op->to;

	switch (p) {
	case PHASE_NODE:
		announce_node(r, op);
		break;
	case PHASE_CHECKS_REMOVED:
		announce_removed(r, op);
		break;
	case PHASE_DELETED:
		if (moved && !op->superseded)
			announce(r, op, WM_CHANGE_INSTANCE_DELETED, op->origin_service, op->origin,
				 NULL);
		break;
	case PHASE_SERVICE_GONE:
		if (op->gone && !op->from->fresh)
			announce(r, op, WM_CHANGE_SERVICE_DELETED, op->from, NULL, NULL);
		break;
	case PHASE_SERVICE_NEW:
		if (op->created && op->to->instances_count) {
			op->to->fresh = false;
			announce(r, op, WM_CHANGE_SERVICE_CREATED, op->to, NULL, NULL);
		}
		break;
	case PHASE_UPSERT:
		announce_upsert(r, op);
		break;
	case PHASE_NODE_CHECKS:
		if (op->node && !op->superseded)
			wm_registry_node_changed(r, op->home, op->index, NULL);
		break;
	case PHASE_NODE_GONE:
		if (op->kind == WM_OP_NODE_DROP)
			announce(r, op, WM_CHANGE_NODE_DELETED, NULL, op->home->holder, NULL);
		break;
	case PHASES:
		break;
	}
}

void wm_op_announce(struct wm_registry *r, struct wm_op *op)
{
	struct wm_op *part;

	for (unsigned p = 0; op->applied && p < PHASES; p++) {
		if (op->kind != WM_OP_GROUP)
			announce_phase(r, op, (enum phase)p);
		TAILQ_FOREACH (part, &op->parts, entry) {
			if (part->applied)
				announce_phase(r, part, (enum phase)p);
		}
	}
}

void wm_op_settle(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *old = op->old;
	struct wm_op *part;

	TAILQ_FOREACH (part, &op->parts, entry)
		wm_op_settle(r, part);
	if (op->kind == WM_OP_GROUP)
		return;
	if (op->kind == WM_OP_NODE_DROP && op->applied)
		wm_node_free(op->home);
	wm_check_free(op->check); /* nobody took it */
	op->check = NULL;
	for (unsigned n = 0; n < op->fresh_count; n++) {
		if (!op->applied || !wm_checks_list(op->merged, op->merged_count, op->fresh[n]))
			wm_check_free(op->fresh[n]);
	}
	if (op->in && !op->applied) {
		if (op->merged) { /* the same again: all was judged equal */
			op->in->checks_count = 0;
			op->in->checks = NULL;
			free(op->merged);
			free(op->fresh);
		}
		wm_instance_free(op->in, true);
		op->in = NULL;
		return;
	}
	free(op->fresh);
	for (unsigned n = 0; old && n < old->checks_count; n++) {
		if (!wm_checks_list(op->merged, op->merged_count, old->checks[n]))
			wm_check_free(old->checks[n]);
	}
	wm_instance_free(old, false);
	if (op->gone)
		wm_service_free(op->from);
	wm_lease_free(op->evicted);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_op *wm_op_new(enum wm_op_kind kind, const char *id, wm_registry_done done, void *arg)
{
	size_t n = strlen(id) + 1; /* bounded by the caller */
	struct wm_op *op = calloc(1, sizeof(*op) + n);

	if (!op)
		return NULL;
	op->kind = kind;
	op->done = done;
	op->arg = arg;
	op->bytes = sizeof(*op) + n;
	memcpy(op->id, id, n);
	TAILQ_INIT(&op->parts);
	return op;
}

void wm_op_free(struct wm_op *op)
{
	struct wm_op *part;

	if (!op)
		return;
	while ((part = TAILQ_FIRST(&op->parts))) {
		TAILQ_REMOVE(&op->parts, part, entry);
		wm_op_free(part);
	}
	wm_node_free(op->facts);
	free(op->node_name);
	free(op->text);
	free(op);
}

void wm_op_discard(struct wm_op *op)
{
	struct wm_op *part;

	if (!op)
		return;
	while ((part = TAILQ_FIRST(&op->parts))) {
		TAILQ_REMOVE(&op->parts, part, entry);
		wm_op_discard(part);
	}
	wm_instance_free(op->in, true);
	wm_check_free(op->check);
	wm_op_free(op);
}
