/* SPDX-License-Identifier: Apache-2.0 */
/* lifecycle.c - the states of an instance: which follow which, which are derived, and the write
 * that changes what is stated: a registration of the same instance in another state. */
#include "internal.h"
#include "plan.h"
#include "userspace/base/err.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* What a TTL check says whose client fell silent: userspace/health/probe_ttl.c. */
#define SILENT "TTL expired"

static const char *const names[WM_LIFE_COUNT] = {
	[WM_LIFE_NONE] = "",	       [WM_LIFE_STARTING] = "starting",
	[WM_LIFE_RUNNING] = "running", [WM_LIFE_STOPPING] = "stopping",
	[WM_LIFE_STOPPED] = "stopped", [WM_LIFE_UNHEALTHY] = "unhealthy",
	[WM_LIFE_UNKNOWN] = "unknown",
};

#define TO(state) (1u << WM_LIFE_##state)
static const unsigned legal[WM_LIFE_COUNT] = {
	[WM_LIFE_STARTING] = TO(STARTING) | TO(RUNNING) | TO(STOPPING) | TO(STOPPED),
	[WM_LIFE_RUNNING] = TO(RUNNING) | TO(STOPPING) | TO(STOPPED),
	[WM_LIFE_STOPPING] = TO(STOPPING) | TO(STOPPED) | TO(RUNNING), /* a drain is called off */
	[WM_LIFE_STOPPED] = TO(STOPPED) | TO(STARTING),
};

const char *wm_lifecycle_str(enum wm_lifecycle l)
{
	return names[l];
}

int wm_lifecycle_parse(const char *s, enum wm_lifecycle *ret)
{
	for (int l = WM_LIFE_STARTING; l < WM_LIFE_COUNT; l++) {
		if (strcmp(s, names[l]) == 0) {
			*ret = (enum wm_lifecycle)l;
			return 0;
		}
	}
	return -EINVAL;
}

bool wm_lifecycle_legal(enum wm_lifecycle from, enum wm_lifecycle to)
{
	return (unsigned)from < WM_LIFE_COUNT && (unsigned)to < WM_LIFE_COUNT &&
	       legal[from] & (1u << to);
}

/* --- derived states --------------------------------------------------------------------------- */
/* Nothing was heard: no result yet, or the client of a TTL check fell silent. */
static bool tells_nothing(const struct wm_check *c)
{
	const struct wm_check_box *box = (const struct wm_check_box *)c;

	if (c->kind == WM_CHECK_TTL && strncmp(c->output, SILENT, strlen(SILENT)) == 0)
		return true;
	/* a heartbeat may come without a note; after a restart its output alone is known. Who gave
	 * a status has told something, and these are told by themselves. */
	return !*c->output && !box->told && !box->given && c->kind != WM_CHECK_MAINTENANCE &&
	       c->kind != WM_CHECK_STATED;
}

enum wm_lifecycle wm_instance_state(const struct wm_instance *i)
{
	bool silent = false;

	if (i->lifecycle != WM_LIFE_RUNNING || i->status != WM_CRITICAL)
		return i->lifecycle;
	for (unsigned n = 0; n < i->checks_count; n++) {
		if (i->checks[n]->status != WM_CRITICAL)
			continue;
		if (!tells_nothing(i->checks[n]))
			return WM_LIFE_UNHEALTHY;
		silent = true;
	}
	return silent ? WM_LIFE_UNKNOWN : WM_LIFE_UNHEALTHY; /* none of its own: the node's */
}

bool wm_instance_begins(struct wm_instance *i, enum wm_status s)
{
	if (s != WM_PASSING || i->lifecycle != WM_LIFE_STARTING)
		return false;
	i->lifecycle = WM_LIFE_RUNNING;
	return true;
}

/* --- the write -------------------------------------------------------------------------------- */
struct life_op {
	struct wm_op op;
	enum wm_lifecycle to;
	uint64_t drain_until_ms;
};

static void refuse_transition(struct wm_op *op, const struct wm_instance *i)
{
	enum wm_lifecycle from = i->lifecycle, to = ((struct life_op *)op)->to;
	char may[64] = "";
	size_t at = 0;

	for (int l = WM_LIFE_STARTING; l <= WM_LIFE_STOPPED; l++) {
		if (l != (int)from && wm_lifecycle_legal(from, (enum wm_lifecycle)l))
			at += (size_t)snprintf(may + at, sizeof(may) - at, "%s%s", at ? ", " : "",
					       names[l]);
	}
	wm_op_refuse(op, WM_E_CONFLICT,
		     "Instance \"%.64s\" is %s and cannot become %s; it may become: %s", i->id,
		     names[from], names[to], may);
}

static bool judge_life(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_instance *i = wm_view_instance(p, op->home, op->id);

	if (!i)
		wm_op_unknown(p->r, op);
	else if (wm_instance_shared(i))
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Instance \"%.64s\" was written through the catalog: change it there",
			     i->id);
	else if (!wm_lifecycle_legal(i->lifecycle, ((struct life_op *)op)->to))
		refuse_transition(op, i);
	return !op->code;
}

static void prepare_life(struct wm_plan *p, struct wm_op *op)
{
	static const struct wm_edit_how how = {0};
	const struct life_op *l = (struct life_op *)op;
	struct wm_instance *in = wm_instance_clone(wm_view_instance(p, op->home, op->id));

	if (!in) {
		wm_op_no_memory(op);
		return;
	}
	in->lifecycle = l->to;
	if (l->to != WM_LIFE_STOPPING)
		in->drain_until_ms = 0;
	else if (l->drain_until_ms)
		in->drain_until_ms = l->drain_until_ms;
	wm_edit_put(p, op, in, false, &how);
}

const struct wm_op_kind wm_op_life = {
	.judge = judge_life, .prepare = prepare_life, .apply = wm_edits_apply};

int wm_registry_lifecycle(struct wm_registry *r, const char *id, enum wm_lifecycle to,
			  uint64_t drain_ms, wm_registry_done done, void *arg, struct wm_err *e)
{
	struct life_op *op;

	if (strnlen(id, WM_INSTANCE_ID_MAX + 1) > WM_INSTANCE_ID_MAX)
		return wm_err_set(e, WM_E_LIMIT, "Instance id is too long (limit: %d characters)",
				  WM_INSTANCE_ID_MAX);
	if (!*id)
		return wm_err_set(e, WM_E_INVALID, "Missing instance id");
	if (to < WM_LIFE_STARTING || to > WM_LIFE_STOPPED)
		return wm_err_set(e, WM_E_INVALID,
				  "state: starting, running, stopping or stopped; unhealthy and "
				  "unknown follow of the checks");
	if (drain_ms > WM_DRAIN_MAX_MS || (drain_ms && to != WM_LIFE_STOPPING))
		return wm_err_set(e, WM_E_LIMIT, "deadline: at most %llus, of what is stopping",
				  WM_DRAIN_MAX_MS / 1000);
	op = wm_op_new(&wm_op_life, sizeof(*op), id);
	if (!op)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	op->to = to;
	op->drain_until_ms = drain_ms ? wm_env_wall_ms(r->env) + drain_ms : 0;
	op->op.done = done;
	op->op.arg = arg;
	return wm_op_submit(r, &op->op, e);
}

int wm_registry_drained(struct wm_registry *r, const char *id)
{
	struct wm_drop *drop = wm_op_new(&wm_op_drop, sizeof(*drop), id);

	if (!drop)
		return -ENOMEM;
	drop->drained = drop->op.lenient = true;
	return wm_sidecar_deregister(r, drop, NULL);
}
