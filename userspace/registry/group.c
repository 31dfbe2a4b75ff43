/* SPDX-License-Identifier: Apache-2.0 */
/* group.c - batches of the catalog: writes that are made together or not at all. A group is one
 * write of the queue with parts. They are judged and prepared in their order, each seeing in the
 * view what those before it will do; when one is refused, what was prepared for all is forgotten.
 */
#include "internal.h"
#include "plan.h"
#include "userspace/base/err.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* --- parts ------------------------------------------------------------------------------------ */
/* The reason of a part is the group's. */
static void fail(struct wm_group *g, struct wm_op *part)
{
	g->op.code = part->code;
	free(g->op.text);
	g->op.text = part->text;
	part->text = NULL;
	g->failed = part->number;
	g->part_failed = true;
}

/* What the object of a part is now, in the view: for who submitted it. */
static void report(struct wm_plan *p, const struct wm_group *g, struct wm_op *part)
{
	struct wm_part told = {.number = part->number};
	struct wm_node *n = wm_view_node(p, part->node_name), *facts;
	const struct wm_seen *s;

	if (!g->part || g->op.again)
		return;
	if (!n || part->kind->removes) {
		g->part(g->op.arg, &told);
		return;
	}
	s = wm_plan_seen(p, WM_SEEN_NODE, n, "");
	facts = s && s->edit->home == n ? s->edit->facts : NULL;
	told.node = n;
	if (part->object == WM_OBJECT_SERVICE)
		told.instance = wm_view_instance(p, n, part->id);
	else if (part->object == WM_OBJECT_CHECK)
		told.check = wm_view_check(p, n, part->subject, NULL);
	if (facts)
		wm_plan_swap_facts(n, facts);
	g->part(g->op.arg, &told);
	if (facts)
		wm_plan_swap_facts(n, facts);
}

static struct wm_op *rest_of(struct wm_op *op);

static bool judge_group(struct wm_plan *p, struct wm_op *op)
{
	(void)p;
	(void)op; /* its parts are judged as they are prepared: each on top of those before */
	return true;
}

static void prepare_group(struct wm_plan *p, struct wm_op *op)
{
	struct wm_group *g = (struct wm_group *)op;
	struct wm_op *part;

	TAILQ_FOREACH (part, &g->parts, entry) {
		if (!wm_plan_run(p, part)) {
			fail(g, part);
			return;
		}
		if (g->op.again)
			return;
		report(p, g, part);
	}
}

static void discard_group(struct wm_op *op)
{
	struct wm_group *g = (struct wm_group *)op;
	struct wm_op *part;

	while ((part = TAILQ_FIRST(&g->parts))) {
		TAILQ_REMOVE(&g->parts, part, entry);
		wm_op_free(part);
	}
}

const struct wm_op_kind wm_op_group = {.judge = judge_group,
				       .prepare = prepare_group,
				       .apply = wm_edits_apply,
				       .discard = discard_group,
				       .rest = rest_of};

struct wm_group *wm_group_new(wm_registry_done done, void *arg)
{
	struct wm_group *g = wm_op_new(&wm_op_group, sizeof(*g), "");

	if (!g)
		return NULL;
	TAILQ_INIT(&g->parts);
	g->op.done = done;
	g->op.arg = arg;
	return g;
}

void wm_group_add(struct wm_group *g, struct wm_op *part)
{
	part->group = &g->op;
	g->op.bytes += part->bytes;
	TAILQ_INSERT_TAIL(&g->parts, part, entry);
}

static struct wm_op *rest_of_clear(struct wm_group *g, const struct wm_op *was)
{
	struct wm_group *rest = wm_group_new(g->op.done, g->op.arg);
	struct wm_op *part = rest ? wm_op_new(&wm_op_node_clear, sizeof(*part), "") : NULL;

	if (part)
		part->node_name = strdup(was->node_name);
	if (!part || !part->node_name) {
		wm_op_free(part);
		wm_op_free(rest ? &rest->op : NULL);
		return NULL;
	}
	part->object = was->object;
	part->catalog = was->catalog;
	part->lenient = true; /* that it was there was judged when it began */
	part->number = was->number;
	rest->part = g->part;
	wm_group_add(rest, part);
	return &rest->op;
}

/* A node whose id another one has: some of what is on that has left, the rest is as it was. */
static struct wm_op *all_again(struct wm_group *g)
{
	struct wm_group *rest = wm_group_new(g->op.done, g->op.arg);
	struct wm_op *part;

	if (!rest)
		return NULL;
	rest->part = g->part;
	while ((part = TAILQ_FIRST(&g->parts))) {
		TAILQ_REMOVE(&g->parts, part, entry);
		wm_group_add(rest, part);
	}
	return &rest->op;
}

static struct wm_op *rest_of(struct wm_op *op)
{
	struct wm_group *g = (struct wm_group *)op;
	const struct wm_op *was = TAILQ_FIRST(&g->parts);

	return was->kind == &wm_op_node_put ? all_again(g) : rest_of_clear(g, was);
}

/* --- reading on the way ----------------------------------------------------------------------- */
/* Only that the object is there: who asked reads it when the part is reported. */
static bool judge_read(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_instance *i;
	const struct wm_check *c;
	uint64_t index = 0;

	if (op->home && op->object == WM_OBJECT_NODE) {
		index = wm_view_facts(p, op->home)->modify_index;
	} else if (op->home && op->object == WM_OBJECT_SERVICE) {
		i = wm_view_instance(p, op->home, op->id);
		index = i ? i->modify_index : 0;
	} else if (op->home) {
		c = wm_view_check(p, op->home, op->id, NULL);
		index = c ? c->modify_index : 0;
	}
	(void)wm_op_judge_when(op, index);
	return false;
}

const struct wm_op_kind wm_op_read = {.judge = judge_read, .apply = wm_edits_apply};

/* --- submitting ------------------------------------------------------------------------------- */
static int no_memory(struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
}

static int bare(const struct wm_op_kind *kind, size_t size, const char *id, struct wm_op **ret)
{
	*ret = wm_op_new(kind, size, id);
	return *ret ? 0 : -ENOMEM;
}

static int judge_names(const struct wm_catalog_op *c, struct wm_err *e)
{
	int err = wm_node_name_validate(c->node, e);

	if (!err && c->id && strnlen(c->id, WM_CHECK_ID_MAX + 1) > WM_CHECK_ID_MAX)
		err = wm_err_set(e, WM_E_LIMIT, "ID is too long (limit: %d characters)",
				 WM_CHECK_ID_MAX);
	return err;
}

static int node_part(const struct wm_catalog_op *c, struct wm_op **ret, struct wm_err *e)
{
	int err = wm_node_draft_validate(c->facts, e);
	struct wm_node_put *put;

	if (err)
		return err;
	put = wm_op_new(&wm_op_node_put, sizeof(*put), "");
	*ret = put ? &put->op : NULL;
	if (put)
		put->facts = wm_node_new(c->node, c->facts);
	return put && put->facts ? 0 : -ENOMEM;
}

static int check_part(const struct wm_catalog_op *c, struct wm_op **ret, struct wm_err *e)
{
	const struct wm_check_draft *d = c->check;
	const char *id = d->id && *d->id ? d->id : d->name;
	int err = wm_check_draft_validate(d, e);
	struct wm_op *op = NULL;
	struct wm_check *check;

	if (!err && c->check_service &&
	    strnlen(c->check_service, WM_INSTANCE_ID_MAX + 1) > WM_INSTANCE_ID_MAX)
		err = wm_err_set(e, WM_E_LIMIT, "ServiceID is too long (limit: %d characters)",
				 WM_INSTANCE_ID_MAX);
	if (err)
		return err;
	check = wm_check_build(d, id, d->name && *d->name ? d->name : id);
	if (!check)
		return -ENOMEM;
	err = wm_op_check(&wm_op_check_put, c->check_service ? c->check_service : "", check, &op,
			  e);
	*ret = op;
	if (op)
		op->subject = strdup(id ? id : ""); /* one of the two was judged to be there */
	return op && !op->subject ? -ENOMEM : err;
}

static int part_of(struct wm_registry *r, const struct wm_catalog_op *c, struct wm_op **ret,
		   struct wm_err *e)
{
	bool deletes = c->verb == WM_VERB_DELETE || c->verb == WM_VERB_DELETE_CAS;
	const char *id = c->id ? c->id : "";
	int err;

	if (c->verb == WM_VERB_GET) {
		err = bare(&wm_op_read, sizeof(struct wm_op), id, ret);
		if (!err && c->object == WM_OBJECT_CHECK) {
			(*ret)->subject = strdup(id);
			err = (*ret)->subject ? 0 : -ENOMEM;
		}
		return err;
	}
	switch (c->object) {
	case WM_OBJECT_NODE:
		return deletes ? bare(&wm_op_node_clear, sizeof(struct wm_op), "", ret)
			       : node_part(c, ret, e);
	case WM_OBJECT_SERVICE:
		if (deletes)
			return bare(&wm_op_drop, sizeof(struct wm_drop), id, ret);
		return wm_op_register(r, c->service, ret, e);
	case WM_OBJECT_CHECK:
		break;
	}
	return deletes ? wm_op_check(&wm_op_check_drop, id, NULL, ret, e) : check_part(c, ret, e);
}

static int add_part(struct wm_registry *r, struct wm_group *group, const struct wm_catalog_op *c,
		    struct wm_err *e)
{
	struct wm_op *op = NULL;
	int err = judge_names(c, e);

	if (!err)
		err = part_of(r, c, &op, e);
	if (!err) {
		op->node_name = strdup(c->node);
		err = op->node_name ? 0 : -ENOMEM;
	}
	if (err) {
		wm_op_free(op);
		return err == -ENOMEM ? no_memory(e) : err;
	}
	if (op->kind == &wm_op_put)
		((struct wm_put *)op)->in->version.origin = WM_ORIGIN_SHARED;
	op->object = c->object;
	op->catalog = true;
	op->lenient = c->verb == WM_VERB_DELETE;
	op->number = c->number;
	if (c->verb == WM_VERB_GET) {
		op->when = WM_WHEN_EXISTS;
	} else if (c->verb == WM_VERB_CAS || c->verb == WM_VERB_DELETE_CAS) {
		op->when = WM_WHEN_INDEX;
		op->when_index = c->index;
	}
	wm_group_add(group, op);
	return 0;
}

int wm_registry_catalog(struct wm_registry *r, const struct wm_catalog_batch *b,
			unsigned *ret_failed, struct wm_err *e)
{
	struct wm_group *group = wm_group_new(b->done, b->arg);
	int err = 0;

	if (!group)
		return no_memory(e);
	group->part = b->part;
	for (unsigned n = 0; n < b->count && !err; n++) {
		*ret_failed = b->ops[n].number;
		err = add_part(r, group, &b->ops[n], e);
	}
	if (err) {
		wm_op_free(&group->op);
		return err;
	}
	return wm_op_submit(r, &group->op, e);
}
