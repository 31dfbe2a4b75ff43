/* SPDX-License-Identifier: Apache-2.0 */
/* checks.c - writes on single checks, and what the node's checks mean for its instances. The writes
 * are queued as others are; apply.c turns each into a registration of the instance that has the
 * check. */
#include "internal.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"
#include "validate.h"

#include <errno.h>
#include <stdio.h>
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

/* Queue a write that puts @p c, which is taken over also on failure. */
static int put(struct wm_registry *r, struct wm_op *op, struct wm_check *c, struct wm_err *e)
{
	if (!op || !c) {
		wm_check_free(c);
		wm_op_discard(op);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	op->check = c;
	op->bytes += wm_cbox(c)->bytes;
	return wm_op_submit(r, op, e);
}

int wm_registry_check_register(struct wm_registry *r, const char *service_id,
			       const struct wm_check_draft *d, wm_registry_done done, void *arg,
			       struct wm_err *e)
{
	const char *owner = service_id ? service_id : "";
	int err = wm_check_draft_validate(d, e);

	if (!err)
		err = too_long("Service ID", owner, WM_INSTANCE_ID_MAX, e);
	if (!err)
		err = wm_check_draft_node(r, d, e);
	if (err)
		return err;
	return put(r, wm_op_new(WM_OP_CHECK_PUT, owner, done, arg),
		   wm_check_build(d, d->id && *d->id ? d->id : d->name, d->name), e);
}

int wm_registry_check_deregister(struct wm_registry *r, const char *check_id, wm_registry_done done,
				 void *arg, struct wm_err *e)
{
	int err = too_long("Check ID", check_id, WM_CHECK_ID_MAX, e);
	struct wm_op *op;

	if (err)
		return err;
	op = wm_op_new(WM_OP_CHECK_DROP, check_id, done, arg);
	return op ? wm_op_submit(r, op, e)
		  : wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
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
	struct wm_op *op;
	int err = too_long("Service ID", owner, WM_INSTANCE_ID_MAX, e);

	if (!err && reason)
		err = too_long("Reason", reason, WM_CHECK_NOTES_MAX, e);
	if (err)
		return err;
	op = wm_op_new(WM_OP_MAINTENANCE, owner, done, arg);
	if (!on)
		return op ? wm_op_submit(r, op, e)
			  : wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	if (*owner)
		snprintf(id, sizeof(id), WM_SERVICE_MAINTENANCE_ID "%s", owner);
	if (!reason || !*reason)
		d.notes =
			*owner ? "Maintenance mode is enabled for this service, but no reason was "
				 "provided. This is a default message."
			       : "Maintenance mode is enabled for this node, but no reason was "
				 "provided. This is a default message.";
	return put(r, op,
		   wm_check_build(&d, id,
				  *owner ? "Service Maintenance Mode" : "Node Maintenance Mode"),
		   e);
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

/* The index of a service moves with its nodes; a later write of the transaction may have moved it
 * already. */
static void node_status(struct wm_registry *r, struct wm_instance *i, uint64_t index)
{
	enum wm_status next = wm_instance_effective(r, i);
	struct wm_change c = {
		.kind = WM_CHANGE_STATUS, .index = index, .service = i->service, .instance = i};

	if (i->service->index < index)
		i->service->index = index;
	if (next == i->status)
		return;
	i->status = next;
	wm_registry_announce(r, &c);
}

void wm_registry_node_touched(struct wm_registry *r, struct wm_node *n, uint64_t index)
{
	struct wm_instance *i;
	size_t pos = 0;

	while ((i = wm_map_next(n->instances, &pos)))
		node_status(r, i, index);
}

void wm_registry_node_changed(struct wm_registry *r, struct wm_node *n, uint64_t index,
			      struct wm_check *c)
{
	struct wm_change change = {
		.kind = WM_CHANGE_NODE, .index = index, .instance = n->holder, .check = c};

	wm_registry_announce(r, &change);
	wm_registry_node_touched(r, n, index);
}

/* --- storing ---------------------------------------------------------------------------------- */
int wm_registry_encode_holder(struct wm_registry *r, const struct wm_instance *holder)
{
	return holder->node->self ? wm_record_put_node(&r->record, WM_REGISTRY_NODE_ROW, holder)
				  : wm_record_put_catalog_node(&r->record, holder->node);
}

static int encode(struct wm_registry *r, const struct wm_instance *i)
{
	return i == i->node->holder ? wm_registry_encode_holder(r, i)
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

int wm_registry_put_instance(struct wm_registry *r, const struct wm_instance *i, struct wm_err *e)
{
	uint64_t row = i == i->node->holder ? i->node->row : i->row;
	int err = wm_registry_encode(r, i, true);

	if (err == -ENOMEM)
		return wm_err_set(e, err, "Not stored: out of memory; nothing was changed");
	if (err)
		return err;
	return wm_store_put(r->store, WM_STORE_INSTANCES, row, r->record.data, r->record.len, e);
}
