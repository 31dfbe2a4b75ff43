/* SPDX-License-Identifier: Apache-2.0 */
/* checks.c - writes on checks: of an instance or of a node, maintenance, and what the node's checks
 * mean for its instances. */
#include "internal.h"
#include "plan.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

static int too_long(const char *what, const char *id, size_t max, struct wm_err *e)
{
	if (strnlen(id, max + 1) <= max)
		return 0;
	return wm_err_set(e, WM_E_LIMIT, "%s is too long (limit: %zu characters)", what, max);
}

int wm_check_draft_node(const struct wm_registry *r, const struct wm_check_draft *d,
			struct wm_err *e)
{
	if (!d->alias_node || !*d->alias_node || strcasecmp(d->alias_node, r->self->name) == 0)
		return 0;
	return wm_err_set(
		e, WM_E_INVALID,
		"Invalid check: AliasNode \"%.64s\" is not this node (%s): other nodes are "
		"not supported",
		d->alias_node, r->self->name);
}

/* --- a write on one check --------------------------------------------------------------------- */
/* A write on one check is a registration of the same instance with that check beside the others,
 * or without it. */
struct check_op {
	struct wm_op op;	/* its id: of the instance, "" is the node; DROP: of the check */
	struct wm_check *check; /* to be put; NULL: taken, or none */
};

static struct wm_check *find_maintenance(const struct wm_instance *i)
{
	for (unsigned n = 0; i && n < i->checks_count; n++) {
		if (i->checks[n]->kind == WM_CHECK_MAINTENANCE)
			return i->checks[n];
	}
	return NULL;
}

static struct wm_instance *owner_of(const struct wm_plan *p, const struct wm_op *op)
{
	return *op->id ? wm_view_instance(p, op->home, op->id) : wm_view_holder(p, op->home);
}

void wm_edit_checks(struct wm_plan *p, struct wm_op *op, struct wm_instance *owner,
		    struct wm_check *check, const struct wm_edit_how *how)
{
	struct wm_instance *in = wm_instance_clone(owner);

	if (in && check)
		in->checks = calloc(1, sizeof(struct wm_check *));
	if (!in || (check && !in->checks)) {
		wm_op_no_memory(op);
		wm_instance_free(in, false);
		wm_check_free(check);
		return;
	}
	if (check) {
		in->checks[in->checks_count++] = check;
		check->instance = in;
	}
	wm_edit_put(p, op, in, owner == wm_view_holder(p, op->home), how);
}

static void discard_check(struct wm_op *op)
{
	wm_check_free(((struct check_op *)op)->check);
}

/* What another agent registered has no checks of ours. */
static bool is_foreign(struct wm_op *op, const struct wm_instance *owner)
{
	if (!wm_instance_foreign(owner) || op->restore)
		return false;
	wm_op_refuse(op, WM_E_CONFLICT,
		     *owner->id ? "Service ID \"%.64s\" is registered with the agent of node "
				  "\"%.64s\": change it there"
				: "The checks%.0s of node \"%.64s\" are its agent's: change them "
				  "there",
		     owner->id, owner->node->name);
	return true;
}

static bool judge_owner(struct wm_plan *p, struct wm_op *op)
{
	if (!wm_op_has_home(op))
		return false;
	if (owner_of(p, op))
		return !is_foreign(op, owner_of(p, op));
	if (op->lenient)
		op->unchanged = true;
	else if (op->catalog)
		wm_op_refuse(op, WM_E_UNKNOWN, "Missing service registration");
	else if (op->kind == &wm_op_check_put)
		wm_op_refuse(op, WM_E_UNKNOWN, "ServiceID \"%s\" does not exist", op->id);
	else
		wm_op_unknown(p->r, op);
	return false;
}

static bool judge_put(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_check *was;

	if (!judge_owner(p, op))
		return false;
	was = wm_view_check(p, op->home, ((struct check_op *)op)->check->id, NULL);
	return wm_op_judge_when(op, was ? was->modify_index : 0);
}

static void prepare_put(struct wm_plan *p, struct wm_op *op)
{
	static const struct wm_edit_how how = {.adds = true};
	struct check_op *c = (struct check_op *)op;
	struct wm_check *check = c->check;

	c->check = NULL;
	wm_edit_checks(p, op, owner_of(p, op), check, &how);
}

const struct wm_op_kind wm_op_check_put = {.judge = judge_put,
					   .prepare = prepare_put,
					   .apply = wm_edits_apply,
					   .discard = discard_check};

/* --- a check goes ----------------------------------------------------------------------------- */
static void refuse_check(struct wm_op *op)
{
	if (op->lenient)
		op->unchanged = true;
	else if (op->catalog)
		wm_op_refuse(op, WM_E_UNKNOWN, "Missing service registration");
	else
		wm_op_refuse(op, WM_E_UNKNOWN,
			     "Unknown check ID \"%s\". Ensure that the check ID is passed, not "
			     "the check name.",
			     op->id);
}

static bool judge_drop(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_instance *owner;
	const struct wm_check *c;

	if (!wm_op_has_home(op))
		return false;
	c = wm_view_check(p, op->home, op->id, &owner);
	if (!c) {
		refuse_check(op);
		return false;
	}
	if (is_foreign(op, owner))
		return false;
	/* a check of the one owner is not there for the other */
	if ((c->kind == WM_CHECK_STATED) == op->catalog)
		return wm_op_judge_when(op, c->modify_index);
	if (op->catalog)
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Check ID \"%.64s\" is registered with this agent: change it there",
			     op->id);
	else
		refuse_check(op);
	return false;
}

static void prepare_drop(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_instance *owner;
	const struct wm_edit_how how = {.dropped = wm_view_check(p, op->home, op->id, &owner)};
	struct wm_instance *whose = *owner->name ? wm_view_instance(p, op->home, owner->id)
						 : wm_view_holder(p, op->home);

	wm_edit_checks(p, op, whose, NULL, &how);
}

const struct wm_op_kind wm_op_check_drop = {
	.judge = judge_drop, .prepare = prepare_drop, .apply = wm_edits_apply, .removes = true};

/* --- maintenance ------------------------------------------------------------------------------ */
static bool judge_maintenance(struct wm_plan *p, struct wm_op *op)
{
	if (!judge_owner(p, op))
		return false;
	op->unchanged = !((struct check_op *)op)->check && !find_maintenance(owner_of(p, op));
	return !op->unchanged;
}

static void prepare_maintenance(struct wm_plan *p, struct wm_op *op)
{
	struct check_op *c = (struct check_op *)op;
	struct wm_instance *owner = owner_of(p, op);
	const struct wm_edit_how how = {.dropped = c->check ? NULL : find_maintenance(owner)};
	struct wm_check *check = c->check;

	c->check = NULL;
	wm_edit_checks(p, op, owner, check, &how);
}

const struct wm_op_kind wm_op_maintenance = {.judge = judge_maintenance,
					     .prepare = prepare_maintenance,
					     .apply = wm_edits_apply,
					     .discard = discard_check};

/* --- all checks of a node --------------------------------------------------------------------- */
static bool judge_holder(struct wm_plan *p, struct wm_op *op)
{
	if (op->home && wm_instance_foreign(wm_view_holder(p, op->home)))
		op->unchanged = true; /* a restore does not touch what is another agent's */
	return !op->unchanged && wm_op_has_home(op);
}

static void prepare_holder(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_edit_how how = {.replace = true};
	struct wm_holder_put *put = (struct wm_holder_put *)op;
	struct wm_instance *in = put->in;

	put->in = NULL;
	wm_edit_put(p, op, in, true, &how);
}

static void discard_holder(struct wm_op *op)
{
	wm_instance_free(((struct wm_holder_put *)op)->in, true);
}

const struct wm_op_kind wm_op_holder = {.judge = judge_holder,
					.prepare = prepare_holder,
					.apply = wm_edits_apply,
					.discard = discard_holder};

/* --- submitting ------------------------------------------------------------------------------- */
int wm_op_check(const struct wm_op_kind *kind, const char *id, struct wm_check *check,
		struct wm_op **ret, struct wm_err *e)
{
	struct check_op *c = wm_op_new(kind, sizeof(*c), id);

	if (!c) {
		wm_check_free(check);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	c->check = check;
	c->op.object = WM_OBJECT_CHECK;
	if (check)
		c->op.bytes += wm_cbox(check)->bytes;
	*ret = &c->op;
	return 0;
}

/* Queue a write on a check, which is taken over also on failure. */
static int submit(struct wm_registry *r, struct wm_op *op, wm_registry_done done, void *arg,
		  struct wm_err *e)
{
	op->done = done;
	op->arg = arg;
	return wm_op_submit(r, op, e);
}

int wm_registry_check_register(struct wm_registry *r, const char *service_id,
			       const struct wm_check_draft *d, wm_registry_done done, void *arg,
			       struct wm_err *e)
{
	const char *owner = service_id ? service_id : "";
	int err = wm_check_draft_validate(d, e);
	struct wm_check *c;
	struct wm_op *op = NULL;

	if (!err)
		err = too_long("Service ID", owner, WM_INSTANCE_ID_MAX, e);
	if (!err)
		err = wm_check_draft_node(r, d, e);
	if (err)
		return err;
	c = wm_check_build(d, d->id && *d->id ? d->id : d->name, d->name);
	if (!c)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	err = wm_op_check(&wm_op_check_put, owner, c, &op, e);
	return op ? submit(r, op, done, arg, e) : err;
}

int wm_registry_check_deregister(struct wm_registry *r, const char *check_id, wm_registry_done done,
				 void *arg, struct wm_err *e)
{
	int err = too_long("Check ID", check_id, WM_CHECK_ID_MAX, e);
	struct wm_op *op = NULL;

	if (!err)
		err = wm_op_check(&wm_op_check_drop, check_id, NULL, &op, e);
	return op ? submit(r, op, done, arg, e) : err;
}

int wm_registry_maintenance(struct wm_registry *r, const char *service_id, bool on,
			    const char *reason, wm_registry_done done, void *arg, struct wm_err *e)
{
	struct wm_check_draft d = {.kind = WM_CHECK_MAINTENANCE,
				   .notes = reason,
				   .has_status = true,
				   .status = WM_CRITICAL};
	const char *owner = service_id ? service_id : "";
	char id[WM_CHECK_ID_MAX + 1] = WM_NODE_MAINTENANCE_ID;
	struct wm_check *c = NULL;
	struct wm_op *op = NULL;
	int err = too_long("Service ID", owner, WM_INSTANCE_ID_MAX, e);

	if (!err && reason)
		err = too_long("Reason", reason, WM_CHECK_NOTES_MAX, e);
	if (err)
		return err;
	if (*owner)
		snprintf(id, sizeof(id), WM_SERVICE_MAINTENANCE_ID "%s", owner);
	if (!reason || !*reason)
		d.notes =
			*owner ? "Maintenance mode is enabled for this service, but no reason was "
				 "provided. This is a default message."
			       : "Maintenance mode is enabled for this node, but no reason was "
				 "provided. This is a default message.";
	if (on) {
		c = wm_check_build(&d, id,
				   *owner ? "Service Maintenance Mode" : "Node Maintenance Mode");
		if (!c)
			return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	err = wm_op_check(&wm_op_maintenance, owner, c, &op, e);
	return op ? submit(r, op, done, arg, e) : err;
}
_Static_assert(sizeof(WM_SERVICE_MAINTENANCE_ID) + WM_INSTANCE_ID_MAX <= WM_CHECK_ID_MAX + 1,
	       "an id of every instance fits");

/* --- the node's checks and its instances ------------------------------------------------------ */
enum wm_status wm_instance_effective(const struct wm_registry *r, const struct wm_instance *i)
{
	enum wm_status own = wm_instance_worst(i);

	const struct wm_instance *holder = i->node->holder;

	(void)r;
	return i != holder && holder->status > own ? holder->status : own;
}

void wm_registry_node_changed(struct wm_registry *r, struct wm_node *n, uint64_t index,
			      struct wm_check *c, bool wait)
{
	struct wm_change change = {
		.kind = WM_CHANGE_NODE, .index = index, .instance = n->holder, .check = c};

	wm_registry_announce(r, &change);
	wm_registry_node_touched(r, n, index, wait);
}

/* --- storing ---------------------------------------------------------------------------------- */
static int encode_holder(struct wm_registry *r, const struct wm_instance *holder)
{
	return holder->node->self ? wm_record_put_node(&r->record, WM_NODE_ROW, holder)
				  : wm_record_put_catalog_node(&r->record, holder->node);
}

static int encode(struct wm_registry *r, const struct wm_instance *i)
{
	return i == i->node->holder ? encode_holder(r, i)
				    : wm_record_put_instance(&r->record, i->row, i);
}

int wm_registry_encode(struct wm_registry *r, const struct wm_instance *i, bool cut)
{
	char *outputs[WM_RECORD_CHECKS], none[1] = "";
	int err = encode(r, i);

	if (err != WM_E_LIMIT || !cut || i->checks_count > WM_RECORD_CHECKS)
		return err;
	for (unsigned n = 0; n < i->checks_count; n++) {
		outputs[n] = i->checks[n]->output;
		i->checks[n]->output = none;
	}
	err = encode(r, i);
	for (unsigned n = 0; n < i->checks_count; n++)
		i->checks[n]->output = outputs[n];
	r->stats.rows_cut++;
	wm_warn("registry.too_large", "node=%s id=%s text=%s", wm_log_q(i->node->name),
		wm_log_q(i->id), wm_log_q("stored without the outputs of its checks"));
	return err;
}
