/* SPDX-License-Identifier: Apache-2.0 */
/* apply.c - one write of the registry. Staging changes the memory and the open transaction, and
 * remembers how it was; nobody sees that, since the loop runs nothing between staging and commit.
 * After the commit the change is announced and what it replaced is freed; when the commit fails it
 * is undone. An instance is replaced as a whole, so undoing it is putting the old object back. */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

void wm_op_refuse(struct wm_op *op, int code, const char *fmt, ...)
{
	va_list ap;
	char *text;

	op->code = code;
	if (op->text) /* the first reason stands */
		return;
	va_start(ap, fmt);
	if (vasprintf(&text, fmt, ap) >= 0)
		op->text = text;
	va_end(ap);
}

static int refuse_memory(struct wm_op *op)
{
	wm_op_refuse(op, -ENOMEM, "Out of memory; nothing was changed");
	return -ENOMEM;
}

/* The memory is inconsistent with the store: stopping here is safe, going on is not, and what was
 * acknowledged is in the store. */
static void must(int err)
{
	if (err)
		abort();
}

static struct wm_check *find_check(const struct wm_instance *i, const char *id)
{
	for (unsigned n = 0; i && n < i->checks_count; n++) {
		if (strcmp(i->checks[n]->id, id) == 0)
			return i->checks[n];
	}
	return NULL;
}

static bool lists(struct wm_check *const *checks, unsigned count, const struct wm_check *c)
{
	for (unsigned n = 0; n < count; n++) {
		if (checks[n] == c)
			return true;
	}
	return false;
}

/* No check may be another instance's, nor be named twice. */
static int judge_checks(struct wm_registry *r, struct wm_op *op)
{
	for (unsigned n = 0; n < op->in->checks_count; n++) {
		const struct wm_check *c = op->in->checks[n];
		const struct wm_check *other = wm_map_get(r->checks, c->id, strlen(c->id));

		/* ids of a snapshot are unique in it, and who has one now will lose it */
		if (!op->restore && other && other->instance != op->old) {
			if (other->instance == r->holder)
				wm_op_refuse(op, WM_E_CONFLICT,
					     "Invalid check: CheckID \"%.64s\" belongs to the node",
					     c->id);
			else
				wm_op_refuse(
					op, WM_E_CONFLICT,
					"Invalid check: CheckID \"%.64s\" belongs to service ID "
					"\"%.64s\"",
					c->id, other->instance->id);
			return WM_E_CONFLICT;
		}
		if (find_check(op->in, c->id) != c) {
			wm_op_refuse(op, WM_E_INVALID,
				     "Invalid check: CheckID \"%.64s\" is given twice", c->id);
			return WM_E_INVALID;
		}
	}
	return 0;
}

/* A check that was redefined goes on with the status it had, unless the client now asks for another
 * initial status than it did before. */
static int inherit(struct wm_check *c, const struct wm_check *was)
{
	unsigned given = wm_cbox(c)->given;

	c->create_index = was->create_index;
	if (given && given != ((const struct wm_check_box *)was)->given)
		return 0;
	c->status = was->status;
	return wm_check_set_output(c, was->output) < 0 ? -ENOMEM : 0;
}

/* Does a check that the client does not name stay? Maintenance is the operator's: a program that
 * registers itself again does not end it. */
static bool stays(const struct wm_op *op, const struct wm_check *c)
{
	if (c == op->dropped || find_check(op->in, c->id))
		return false;
	return !op->restore && (!op->replace_checks || c->kind == WM_CHECK_MAINTENANCE);
}

/* The checks that the instance has after this write: named ones, as the object that is there when
 * the definition is the same, and those of before that the client may keep. */
static int merge_checks(struct wm_op *op)
{
	struct wm_instance *in = op->in, *old = op->old;
	unsigned kept = old ? old->checks_count : 0, clients = 0;

	op->fresh = in->checks;
	op->fresh_count = in->checks_count;
	op->merged_count = 0;
	if (in->checks_count + kept) {
		op->merged = calloc(in->checks_count + kept, sizeof(struct wm_check *));
		if (!op->merged)
			return refuse_memory(op);
	}
	for (unsigned n = 0; n < in->checks_count; n++) {
		struct wm_check *c = in->checks[n], *was = find_check(old, c->id);

		if (was && wm_check_same(was, c))
			c = was;
		else if (was && inherit(c, was))
			return refuse_memory(op);
		op->merged[op->merged_count++] = c;
	}
	for (unsigned n = 0; n < kept; n++) {
		if (stays(op, old->checks[n]))
			op->merged[op->merged_count++] = old->checks[n];
	}
	for (unsigned n = 0; n < op->merged_count; n++)
		clients += op->merged[n]->kind != WM_CHECK_MAINTENANCE;
	if (clients > WM_CHECKS_PER_INSTANCE) {
		wm_op_refuse(op, WM_E_LIMIT,
			     "Checks: %u with those registered before, at most %d are allowed",
			     clients, WM_CHECKS_PER_INSTANCE);
		return WM_E_LIMIT;
	}
	return 0;
}

static bool same_checks(const struct wm_op *op)
{
	if (op->merged_count != op->old->checks_count)
		return false;
	for (unsigned n = 0; n < op->merged_count; n++) {
		if (!lists(op->old->checks, op->old->checks_count, op->merged[n]))
			return false;
	}
	return true;
}

struct wm_service *wm_service_new(const struct wm_lease *l)
{
	size_t n = strlen(l->name) + 1;
	struct wm_service *s = calloc(1, sizeof(*s) + n);

	if (!s)
		return NULL;
	s->name = memcpy(s + 1, l->name, n);
	s->vip4 = l->vip4;
	s->vip6 = l->vip6;
	s->row = l->row;
	s->create_index = l->create_index;
	return s;
}

void wm_service_free(struct wm_service *s)
{
	if (!s)
		return;
	free(s->instances);
	free(s);
}

static int reserve_place(struct wm_service *s)
{
	unsigned cap = s->instances_cap ? s->instances_cap * 2 : 2;
	struct wm_instance **next;

	if (s->instances_count < s->instances_cap)
		return 0;
	next = realloc(s->instances, cap * sizeof(struct wm_instance *));
	if (!next)
		return -ENOMEM;
	s->instances = next;
	s->instances_cap = cap;
	return 0;
}

int wm_service_add(struct wm_service *s, struct wm_instance *i)
{
	int err = reserve_place(s);

	if (err)
		return err;
	i->service = s;
	i->place = s->instances_count;
	s->instances[s->instances_count++] = i;
	return 0;
}

static void service_remove(struct wm_service *s, struct wm_instance *i)
{
	struct wm_instance *last = s->instances[--s->instances_count];

	s->instances[i->place] = last;
	last->place = i->place;
}

void wm_instance_bind(struct wm_registry *r, struct wm_instance *i)
{
	char text[WM_NODE_NAME_MAX + WM_INSTANCE_ID_MAX + 2];
	size_t node = strlen(r->node.name) + 1;

	i->node = &r->node;
	if (!*i->address) {
		i->addr4 = r->node.addr4;
		i->addr6 = r->node.addr6;
	}
	memcpy(text, r->node.name, node);
	memcpy(text + node, i->id, strlen(i->id));
	i->hash = wm_hash_stable(text, node + strlen(i->id));
}

/* Leases stay behind services that went; as many as there may be services, the oldest goes first.
 * Its row is deleted together with the other writes. */
static bool evict_lease(struct wm_registry *r, struct wm_op *op)
{
	struct wm_lease *l = wm_vips_oldest(r->vips);

	if (!l || op->evicted)
		return false;
	wm_lease_detach(r->vips, l);
	op->evicted = l;
	return true;
}

/* Sets op->to, or refuses. */
static void create_service(struct wm_registry *r, struct wm_op *op)
{
	const char *name = wm_box(op->in)->service_name;
	struct wm_lease *l = wm_vips_find(r->vips, name);
	int err = 0;

	if (wm_map_len(r->services) >= r->services_max) {
		wm_op_refuse(op, WM_E_LIMIT, "Services: at most %u are allowed (services_max)",
			     r->services_max);
		return;
	}
	if (!l) {
		if (wm_vips_count(r->vips) >= 2ull * r->services_max)
			evict_lease(r, op);
		err = wm_vips_give(r->vips, name, &l);
		if (err == WM_E_FULL && evict_lease(r, op))
			err = wm_vips_give(r->vips, name, &l);
		if (err == WM_E_FULL)
			wm_op_refuse(op, err, "No virtual address is left for service %s", name);
		else if (err)
			refuse_memory(op);
		if (err)
			return;
		l->row = ++r->service_row;
		op->given = l;
	}
	wm_lease_revive(r->vips, l);
	op->created = true;
	op->to = wm_service_new(l);
	if (!op->to || wm_map_put(r->services, op->to->name, strlen(op->to->name), op->to, NULL))
		refuse_memory(op);
}

/* Hang the checks on @p in; nothing here can fail. */
static void link_checks(const struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *in = op->in;

	in->checks = op->merged;
	in->checks_count = op->merged_count;
	for (unsigned n = 0; n < op->merged_count; n++) {
		struct wm_check *c = op->merged[n];

		c->instance = in;
		if (lists(op->fresh, op->fresh_count, c)) {
			c->modify_index = op->index;
			if (!c->create_index)
				c->create_index = op->index;
		}
	}
	in->status = op->node ? wm_instance_worst(in) : wm_instance_effective(r, in);
}

/* Write @p in's links; nothing here can fail. */
static void link_instance(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *in = op->in, *old = op->old;

	in->create_index = old ? old->create_index : op->index;
	in->modify_index = old && op->kind != WM_OP_INSTANCE ? old->modify_index : op->index;
	in->row = old ? old->row : ++r->instance_row;
	link_checks(r, op);
	wm_instance_bind(r, in);
	must(wm_service_add(op->to, in)); /* its place is reserved */
	op->to->index = op->index;
}

static void retire_old(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *old = op->old;

	op->old_dirty = wm_box(old)->dirty;
	if (op->old_dirty)
		TAILQ_REMOVE(&r->dirty, wm_box(old), dirty_entry);
	wm_box(old)->dirty = false;
	wm_box(old)->dead = true;
}

static void revive_old(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *old = op->old;

	wm_box(old)->dead = false;
	wm_box(old)->dirty = op->old_dirty;
	if (op->old_dirty)
		TAILQ_INSERT_HEAD(&r->dirty, wm_box(old), dirty_entry);
}

static void unlink_old(struct wm_registry *r, struct wm_op *op)
{
	service_remove(op->from, op->old);
	op->from->index = op->index;
	retire_old(r, op);
	if (op->from->instances_count == 0) {
		op->gone = true;
		wm_map_del(r->services, op->from->name, strlen(op->from->name));
		wm_lease_retire(r->vips, wm_vips_find(r->vips, op->from->name));
	}
}

static int enter_maps(struct wm_registry *r, struct wm_op *op)
{
	int err = 0;

	/* a redefined check replaces the entry under its id */
	for (unsigned n = 0; n < op->merged_count && !err; n++) {
		struct wm_check *c = op->merged[n];

		err = wm_map_put(r->checks, c->id, strlen(c->id), c, NULL);
	}
	for (unsigned n = 0; op->old && n < op->old->checks_count && !err; n++) {
		const char *id = op->old->checks[n]->id;

		if (!lists(op->merged, op->merged_count, op->old->checks[n]) &&
		    wm_map_get(r->checks, id, strlen(id)) == op->old->checks[n])
			wm_map_del(r->checks, id, strlen(id));
	}
	if (!err && !op->node)
		err = wm_map_put(r->instances, op->in->id, strlen(op->in->id), op->in, NULL);
	return err;
}

/* Nothing goes into the transaction before the record is known to fit: a refused write leaves no
 * trace in it. */
static int store_register(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	struct wm_lease *l = NULL;
	int err;

	if (op->created) {
		l = wm_vips_find(r->vips, op->to->name);
		op->to->create_index = l->create_index = op->index;
	}
	if (!r->store)
		return 0;
	/* judged first: what is refused leaves no trace in the transaction */
	err = wm_record_put_instance(&r->record, op->in->row, op->in);
	if (err) {
		wm_op_refuse(op, err, "The registration is too large to be stored");
		return 0;
	}
	if (op->evicted)
		err = wm_store_del(r->store, WM_STORE_SERVICES, op->evicted->row, e);
	if (!err && op->created)
		err = wm_registry_put_service(r, l, e);
	if (!err)
		err = wm_store_put(r->store, WM_STORE_INSTANCES, op->in->row, r->record.data,
				   r->record.len, e);
	return err;
}

/* Judge a registration. @return true when there is something to apply. */
static bool judge_register(struct wm_registry *r, struct wm_op *op)
{
	if (judge_checks(r, op) || merge_checks(op))
		return false;
	if (op->old && wm_instance_same(op->in, op->old) && same_checks(op)) {
		op->unchanged = true;
		return false;
	}
	if (!op->old && wm_map_len(r->instances) >= r->instances_max) {
		wm_op_refuse(op, WM_E_LIMIT, "Instances: at most %u are allowed (instances_max)",
			     r->instances_max);
		return false;
	}
	return true;
}

static int stage_register(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	const char *name = wm_box(op->in)->service_name;

	if (!judge_register(r, op))
		return 0;
	op->to = wm_map_get(r->services, name, strlen(name));
	if (!op->to)
		create_service(r, op);
	if (!op->to || op->code)
		return 0;
	if (reserve_place(op->to) || enter_maps(r, op)) {
		refuse_memory(op);
		return 0;
	}
	op->index = op->at ? op->at : wm_registry_next_index(r);
	op->to_index = op->to->index;
	op->from = op->old ? op->old->service : NULL;
	op->from_index = op->from ? op->from->index : 0;
	op->applied = true;
	link_instance(r, op);
	if (op->from)
		unlink_old(r, op);
	return store_register(r, op, e);
}

static int stage_deregister(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	struct wm_instance *old = op->old;

	if (!old) {
		wm_op_refuse(op, WM_E_UNKNOWN,
			     "Unknown service ID \"%s\". Ensure that the service ID is passed, not "
			     "the service name.",
			     op->id);
		return 0;
	}
	op->index = op->at ? op->at : wm_registry_next_index(r);
	op->from = old->service;
	op->from_index = op->from->index;
	op->applied = true;
	for (unsigned n = 0; n < old->checks_count; n++)
		wm_map_del(r->checks, old->checks[n]->id, strlen(old->checks[n]->id));
	wm_map_del(r->instances, old->id, strlen(old->id));
	unlink_old(r, op);
	return wm_store_del(r->store, WM_STORE_INSTANCES, old->row, e);
}

/* The node's checks: a new holder takes the place of the old one. */
static int stage_node(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	int err;

	if (judge_checks(r, op) || merge_checks(op))
		return 0;
	if (same_checks(op)) {
		op->unchanged = true;
		return 0;
	}
	if (enter_maps(r, op)) {
		refuse_memory(op);
		return 0;
	}
	op->index = op->at ? op->at : wm_registry_next_index(r);
	op->applied = true;
	op->in->node = &r->node;
	link_checks(r, op);
	retire_old(r, op);
	r->holder = op->in;
	if (!op->in->checks_count)
		return wm_store_del(r->store, WM_STORE_INSTANCES, WM_REGISTRY_NODE_ROW, e);
	err = r->store ? wm_registry_put_instance(r, op->in, e) : 0;
	if (err == WM_E_LIMIT) {
		wm_op_refuse(op, err, "The checks of the node are too large to be stored");
		return 0;
	}
	return err;
}

static struct wm_instance *owner_of(const struct wm_registry *r, const struct wm_op *op)
{
	const struct wm_check *c;

	if (op->kind == WM_OP_CHECK_DROP) {
		c = wm_map_get(r->checks, op->id, strlen(op->id));
		return c ? c->instance : NULL;
	}
	return *op->id ? wm_map_get(r->instances, op->id, strlen(op->id)) : r->holder;
}

static void refuse_owner(struct wm_op *op)
{
	if (op->kind == WM_OP_CHECK_DROP)
		wm_op_refuse(op, WM_E_UNKNOWN,
			     "Unknown check ID \"%s\". Ensure that the check ID is passed, not "
			     "the check name.",
			     op->id);
	else if (op->kind == WM_OP_CHECK_PUT)
		wm_op_refuse(op, WM_E_UNKNOWN, "ServiceID \"%s\" does not exist", op->id);
	else
		wm_op_refuse(op, WM_E_UNKNOWN,
			     "Unknown service ID \"%s\". Ensure that the service ID is passed, not "
			     "the service name.",
			     op->id);
}

static struct wm_check *find_maintenance(const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->checks_count; n++) {
		if (i->checks[n]->kind == WM_CHECK_MAINTENANCE)
			return i->checks[n];
	}
	return NULL;
}

/* A write on one check is a registration of the same instance with that check beside the others,
 * or without it. */
static int stage_check(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	struct wm_instance *owner = owner_of(r, op);

	if (!owner) {
		refuse_owner(op);
		return 0;
	}
	if (op->kind == WM_OP_CHECK_DROP)
		op->dropped = wm_map_get(r->checks, op->id, strlen(op->id));
	else if (!op->check)
		op->dropped = find_maintenance(owner);
	if (!op->check && !op->dropped) {
		op->unchanged = true;
		return 0;
	}
	op->in = wm_instance_clone(owner);
	if (op->in && op->check)
		op->in->checks = calloc(1, sizeof(struct wm_check *));
	if (!op->in || (op->check && !op->in->checks)) {
		refuse_memory(op);
		return 0;
	}
	if (op->check) {
		op->in->checks[op->in->checks_count++] = op->check;
		op->check->instance = op->in;
		op->check = NULL;
	}
	op->old = owner;
	op->node = owner == r->holder;
	return op->node ? stage_node(r, op, e) : stage_register(r, op, e);
}

const char *wm_op_id(const struct wm_registry *r, const struct wm_op *op)
{
	const struct wm_instance *owner;

	if (op->kind == WM_OP_INSTANCE)
		return op->in ? op->in->id : op->id;
	if (op->kind == WM_OP_HOLDER)
		return "";
	owner = owner_of(r, op);
	return owner ? owner->id : NULL;
}

int wm_op_stage(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	int err;

	if (op->kind == WM_OP_INSTANCE) {
		const char *id = wm_op_id(r, op);

		op->old = wm_map_get(r->instances, id, strlen(id));
		err = op->in ? stage_register(r, op, e) : stage_deregister(r, op, e);
	} else if (op->kind == WM_OP_HOLDER) {
		op->old = r->holder;
		op->node = true;
		err = stage_node(r, op, e);
	} else {
		err = stage_check(r, op, e);
	}
	if (op->code && !err) /* refused half-way */
		wm_op_undo(r, op);
	return err;
}

static void undo_service(struct wm_registry *r, struct wm_op *op)
{
	struct wm_lease *l;

	if (op->created) {
		l = wm_vips_find(r->vips, wm_box(op->in)->service_name);
		if (op->to)
			wm_map_del(r->services, op->to->name, strlen(op->to->name));
		wm_service_free(op->to);
		op->created = false;
		if (op->given) {
			wm_lease_detach(r->vips, op->given);
			wm_lease_free(op->given);
		} else {
			wm_lease_retire(r->vips, l);
		}
	}
	if (op->evicted)
		must(wm_lease_attach(r->vips, op->evicted));
	op->to = NULL;
	op->given = op->evicted = NULL;
}

static void undo_links(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *old = op->old;

	if (op->gone && op->from) {
		must(wm_map_put(r->services, op->from->name, strlen(op->from->name), op->from,
				NULL));
		wm_lease_revive(r->vips, wm_vips_find(r->vips, op->from->name));
	}
	if (op->in && op->to)
		service_remove(op->to, op->in);
	if (old && op->from) {
		must(wm_service_add(op->from, old)); /* its place was just left */
		op->from->index = op->from_index;
		revive_old(r, op);
	}
	if (op->in && op->to)
		op->to->index = op->to_index;
	if (op->node) {
		r->holder = old;
		revive_old(r, op);
	}
	op->applied = op->gone = op->old_dirty = false;
}

void wm_op_undo(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *old = op->old, *in = op->in;

	if (op->applied)
		undo_links(r, op);
	for (unsigned n = 0; n < op->fresh_count; n++) {
		const char *id = op->fresh[n]->id;

		if (wm_map_get(r->checks, id, strlen(id)) == op->fresh[n])
			wm_map_del(r->checks, id, strlen(id));
	}
	for (unsigned n = 0; old && n < old->checks_count; n++) {
		struct wm_check *c = old->checks[n];

		must(wm_map_put(r->checks, c->id, strlen(c->id), c, NULL));
		c->instance = old;
	}
	if (old && !op->node)
		must(wm_map_put(r->instances, old->id, strlen(old->id), old, NULL));
	else if (in && !op->node && wm_map_get(r->instances, in->id, strlen(in->id)) == in)
		wm_map_del(r->instances, in->id, strlen(in->id));
	undo_service(r, op);
	if (in && op->merged) {
		in->checks = op->fresh;
		in->checks_count = op->fresh_count;
		free(op->merged);
	}
	op->merged = op->fresh = NULL;
	op->merged_count = op->fresh_count = 0;
	op->old = NULL;
	op->dropped = NULL;
	op->index = 0;
}

static void announce(const struct wm_registry *r, const struct wm_op *op, enum wm_change_kind kind,
		     struct wm_service *s, struct wm_instance *i, struct wm_check *c)
{
	struct wm_change change = {
		.kind = kind, .index = op->index, .service = s, .instance = i, .check = c};

	if (kind == WM_CHANGE_INSTANCE_UPSERT && op->from == op->to)
		change.old = op->old;
	wm_registry_announce(r, &change);
}

void wm_op_announce(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *in = op->in, *old = op->old;
	bool moved = in && old && op->from != op->to;

	if (!op->applied)
		return;
	for (unsigned n = 0; old && n < old->checks_count; n++) {
		struct wm_check *c = old->checks[n];

		if (!lists(op->merged, op->merged_count, c))
			announce(r, op, WM_CHANGE_CHECK_REMOVED, op->from, old, c);
	}
	if (op->node) {
		wm_registry_node_changed(r, op->index, NULL);
		return;
	}
	if (moved || !in)
		announce(r, op, WM_CHANGE_INSTANCE_DELETED, op->from, old, NULL);
	if (op->gone)
		announce(r, op, WM_CHANGE_SERVICE_DELETED, op->from, NULL, NULL);
	if (op->created)
		announce(r, op, WM_CHANGE_SERVICE_CREATED, op->to, NULL, NULL);
	if (!in)
		return;
	if (old && !moved) {
		in->compiled = old->compiled;
		old->compiled = NULL;
	}
	announce(r, op, WM_CHANGE_INSTANCE_UPSERT, op->to, in, NULL);
}

void wm_op_settle(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *old = op->old;

	(void)r;
	wm_check_free(op->check); /* nobody took it */
	op->check = NULL;
	for (unsigned n = 0; n < op->fresh_count; n++) {
		if (!op->applied || !lists(op->merged, op->merged_count, op->fresh[n]))
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
		if (!lists(op->merged, op->merged_count, old->checks[n]))
			wm_check_free(old->checks[n]);
	}
	wm_instance_free(old, false);
	if (op->gone)
		wm_service_free(op->from);
	wm_lease_free(op->evicted);
}
