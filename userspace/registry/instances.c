/* SPDX-License-Identifier: Apache-2.0 */
/* instances.c - the writes on whole instances: a registration, a deregistration. */
#include "foreign.h"
#include "internal.h"
#include "plan.h"
#include "userspace/base/err.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <string.h>

/* What this agent registered and what was written into the catalog never change one another. */
static bool judge_owner(struct wm_op *op, const struct wm_instance *old)
{
	if (!old || wm_instance_shared(old) == op->catalog || op->restore)
		return true;
	if (wm_instance_foreign(old))
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Service ID \"%.64s\" is registered with the agent of node \"%.64s\": "
			     "change it there",
			     old->id, old->node->name);
	else if (op->catalog)
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Service ID \"%.64s\" is registered with this agent: change it there",
			     old->id);
	else
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Service ID \"%.64s\" was written through the catalog: change it "
			     "there",
			     old->id);
	return false;
}

bool wm_op_has_home(struct wm_op *op)
{
	if (!op->home && op->lenient)
		op->unchanged = true;
	else if (!op->home)
		wm_op_refuse(op, WM_E_UNKNOWN, "Missing node registration");
	return op->home != NULL;
}

/* Does it stand by the rule that decides between writes of shared objects? */
static bool judge_stands(struct wm_plan *p, struct wm_op *op, const struct wm_instance *old,
			 const struct wm_instance *in)
{
	const struct wm_registry_stand s = {.node = op->home->folded, .here = old, .in = in};
	struct wm_err e = {0};
	int err;

	if (!op->catalog || op->restore || !p->r->ask_stands)
		return true;
	err = p->r->ask_stands(p->r->ask_stands_arg, &s, &e);
	if (err)
		wm_op_refuse(op, err, "%s", e.text);
	return !err;
}

/* What this agent says of itself: anybody may take it away, for it comes back, and nobody but the
 * agent may change it. */
static bool is_agents_word(const struct wm_instance *i)
{
	return i->version.origin == WM_ORIGIN_OWN && wm_instance_says_consul(i);
}

static bool judge_consul(struct wm_op *op, const struct wm_instance *old,
			 const struct wm_instance *in)
{
	if (op->restore || !old || !is_agents_word(old) || wm_instance_says_consul(in))
		return true;
	wm_op_refuse(op, WM_E_CONFLICT,
		     "Service ID \"%s\" is the agent's own: registry.consul_service", old->id);
	return false;
}

/* --- registration ----------------------------------------------------------------------------- */
static bool judge_put(struct wm_plan *p, struct wm_op *op)
{
	struct wm_put *put = (struct wm_put *)op;
	const struct wm_instance *old;

	if (!wm_op_has_home(op))
		return false;
	old = wm_view_instance(p, op->home, put->in->id);
	if (op->restore && old && wm_instance_foreign(old)) {
		op->unchanged = true;
		return false;
	}
	if (!wm_op_judge_when(op, old ? old->modify_index : 0) || !judge_owner(op, old) ||
	    !judge_consul(op, old, put->in) || !judge_stands(p, op, old, put->in))
		return false;
	/* a program that registers again neither ends a drain nor begins anew, unless it had ended
	 */
	if (!op->restore && old && old->lifecycle != WM_LIFE_STOPPED) {
		put->in->lifecycle = old->lifecycle;
		put->in->drain_until_ms = old->drain_until_ms;
	}
	return true;
}

static void prepare_put(struct wm_plan *p, struct wm_op *op)
{
	struct wm_put *put = (struct wm_put *)op;
	const struct wm_edit_how how = {
		.replace = put->replace_checks, .registers = true, .adds = true};
	struct wm_instance *in = put->in;

	put->in = NULL;
	wm_edit_put(p, op, in, false, &how);
}

static void discard_put(struct wm_op *op)
{
	wm_instance_free(((struct wm_put *)op)->in, true);
}

const struct wm_op_kind wm_op_put = {.judge = judge_put,
				     .prepare = prepare_put,
				     .apply = wm_edits_apply,
				     .discard = discard_put};

int wm_op_register(struct wm_registry *r, const struct wm_instance_draft *d, struct wm_op **ret_op,
		   struct wm_err *e)
{
	int err = wm_draft_validate(d, e);
	struct wm_put *put;

	for (unsigned n = 0; !err && n < d->checks_count; n++)
		err = wm_check_draft_node(r, &d->checks[n], e);
	if (!err && r->judge)
		err = r->judge(r->judge_arg, d, e);
	if (err)
		return err;
	put = wm_op_new(&wm_op_put, sizeof(*put), d->id && *d->id ? d->id : d->name);
	if (put)
		put->in = wm_instance_build(d);
	if (!put || !put->in) {
		wm_op_free(put ? &put->op : NULL);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	if (wm_vip4_inside(&r->space, put->in->addr4) ||
	    wm_vip6_inside(&r->space, &put->in->addr6)) {
		wm_op_free(&put->op);
		return wm_err_set(
			e, WM_E_INVALID,
			"Invalid service address: %s is in the range of virtual addresses",
			d->address);
	}
	put->replace_checks = d->replace_checks;
	put->op.object = WM_OBJECT_SERVICE;
	put->op.bytes += wm_box(put->in)->bytes;
	*ret_op = &put->op;
	return 0;
}

int wm_registry_register(struct wm_registry *r, const struct wm_instance_draft *d,
			 wm_registry_done done, void *arg, struct wm_err *e)
{
	struct wm_op *op = NULL;
	int err;

	if (d->sidecar)
		return wm_sidecar_register(r, d, done, arg, e);
	err = wm_op_register(r, d, &op, e);
	if (!op)
		return err;
	op->done = done;
	op->arg = arg;
	return wm_op_submit(r, op, e);
}

/* --- deregistration --------------------------------------------------------------------------- */
/* Was it not called off? A sidecar goes with its service, which stands before it. */
static bool drain_is_over(struct wm_op *op, const struct wm_instance *old)
{
	const struct wm_group *g = (const struct wm_group *)op->group;

	return op->sidecar && g ? !TAILQ_FIRST(&g->parts)->unchanged : old->drain_until_ms != 0;
}

static bool judge_drop(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_instance *old;

	if (!wm_op_has_home(op))
		return false;
	old = wm_view_instance(p, op->home, op->id);
	if (!wm_op_judge_when(op, old ? old->modify_index : 0))
		return false;
	if (!old) {
		wm_op_unknown(p->r, op);
		return false;
	}
	/* somebody's own, whose id is the same; what its drain was called off for stays, too */
	op->unchanged = (op->restore && wm_instance_foreign(old)) ||
			(op->sidecar &&
			 (!old->traits || !old->traits->sidecar || wm_instance_shared(old))) ||
			((is_agents_word(old) || judge_owner(op, old)) &&
			 ((struct wm_drop *)op)->drained && !drain_is_over(op, old));
	return !op->unchanged;
}

static void prepare_drop(struct wm_plan *p, struct wm_op *op)
{
	wm_edit_drop(p, op, op->home, op->id);
}

const struct wm_op_kind wm_op_drop = {
	.judge = judge_drop, .prepare = prepare_drop, .apply = wm_edits_apply, .removes = true};

int wm_registry_deregister(struct wm_registry *r, const char *id, wm_registry_done done, void *arg,
			   struct wm_err *e)
{
	size_t n = strnlen(id, WM_INSTANCE_ID_MAX + 1);
	struct wm_drop *drop;

	if (n > WM_INSTANCE_ID_MAX)
		return wm_err_set(e, WM_E_LIMIT, "Service ID is too long (limit: %d characters)",
				  WM_INSTANCE_ID_MAX);
	drop = wm_op_new(&wm_op_drop, sizeof(*drop), id);
	if (!drop)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	drop->op.done = done;
	drop->op.arg = arg;
	return wm_sidecar_deregister(r, drop, e);
}
