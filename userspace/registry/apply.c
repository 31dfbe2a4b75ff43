/* SPDX-License-Identifier: Apache-2.0 */
/* apply.c - one write of the registry. Staging changes the memory and the open transaction, and
 * remembers how it was; nobody sees that, since the loop runs nothing between staging and commit.
 * After the commit the change is announced and what it replaced is freed; when the commit fails it
 * is undone. An instance is replaced as a whole, so undoing it is putting the old object back. */
#include "internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
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

/* No check may be another instance's, or of another owner, nor be named twice. */
static int judge_checks(struct wm_op *op)
{
	for (unsigned n = 0; n < op->in->checks_count; n++) {
		const struct wm_check *c = op->in->checks[n];
		const struct wm_check *other = wm_node_check(op->home, c->id);

		/* ids of a snapshot are unique in it, and who has one now will lose it */
		if (!op->restore && other && other->instance != op->old) {
			if (other->instance == op->home->holder)
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
		if (!op->restore && other &&
		    (other->kind == WM_CHECK_STATED) != (c->kind == WM_CHECK_STATED)) {
			wm_op_refuse(op, WM_E_CONFLICT,
				     "Invalid check: CheckID \"%.64s\" is %s: it is changed there",
				     c->id,
				     c->kind == WM_CHECK_STATED ? "this agent's" : "the catalog's");
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
	wm_cbox(c)->told = ((const struct wm_check_box *)was)->told ||
			   ((const struct wm_check_box *)was)->given;
	return wm_check_set_output(c, was->output) < 0 ? -ENOMEM : 0;
}

/* Does a check that the client does not name stay? Maintenance is the operator's and a stated check
 * the catalog's: a program that registers itself again does not end them. */
static bool stays(const struct wm_op *op, const struct wm_check *c)
{
	if (c == op->dropped || find_check(op->in, c->id))
		return false;
	if (op->restore)
		return false;
	return !op->replace_checks || c->kind == WM_CHECK_MAINTENANCE || c->kind == WM_CHECK_STATED;
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
		if (!wm_checks_list(op->old->checks, op->old->checks_count, op->merged[n]))
			return false;
	}
	return true;
}

struct wm_service *wm_service_new(const struct wm_lease *l)
{
	size_t n = strlen(l->name) + 1;
	struct wm_service *s = calloc(1, sizeof(*s) + 2 * n);

	if (!s)
		return NULL;
	s->name = memcpy(s + 1, l->name, n);
	s->shown = memcpy(s->name + n, l->name, n);
	s->vip4 = l->vip4;
	s->vip6 = l->vip6;
	s->row = l->row;
	s->create_index = l->create_index;
	s->fresh = true;
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
	memcpy(s->shown, i->name, strlen(s->name)); /* the same but for the case */
	i->place = s->instances_count;
	s->instances[s->instances_count++] = i;
	return 0;
}

static void service_remove(struct wm_service *s, struct wm_instance *i)
{
	struct wm_instance *last = s->instances[--s->instances_count];

	s->instances[i->place] = last;
	last->place = i->place;
	if (s->instances_count)
		memcpy(s->shown, s->instances[0]->name, strlen(s->name));
}

void wm_instance_bind(struct wm_node *n, struct wm_instance *i)
{
	char text[WM_NODE_NAME_MAX + WM_INSTANCE_ID_MAX + 2];
	size_t node = strlen(n->name) + 1;

	i->node = n;
	if (!*i->address) {
		i->addr4 = n->addr4;
		i->addr6 = n->addr6;
	}
	memcpy(text, n->name, node);
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
		wm_op_refuse(op, WM_E_CAPACITY, "Services: at most %u are allowed (services_max)",
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
		if (wm_checks_list(op->fresh, op->fresh_count, c)) {
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
	wm_instance_bind(op->home, in);
	link_checks(r, op);
	r->instances_count += !old;
	must(wm_service_add(op->to, in)); /* its place is reserved */
	op->to->index = op->index;
}

void wm_instance_retire(struct wm_registry *r, struct wm_op *op, struct wm_instance *old)
{
	op->old_dirty = wm_box(old)->dirty;
	if (op->old_dirty)
		TAILQ_REMOVE(&r->dirty, wm_box(old), dirty_entry);
	wm_box(old)->dirty = false;
	wm_box(old)->dead = true;
}

void wm_instance_revive(struct wm_registry *r, struct wm_op *op, struct wm_instance *old)
{
	wm_box(old)->dead = false;
	wm_box(old)->dirty = op->old_dirty;
	if (op->old_dirty && wm_box(old)->urgent)
		TAILQ_INSERT_HEAD(&r->dirty, wm_box(old), dirty_entry);
	else if (op->old_dirty)
		TAILQ_INSERT_TAIL(&r->dirty, wm_box(old), dirty_entry);
}

static void unlink_old(struct wm_registry *r, struct wm_op *op)
{
	service_remove(op->from, op->old);
	op->from->index = op->index;
	wm_instance_retire(r, op, op->old);
	if (op->from->instances_count == 0) {
		op->gone = true;
		wm_map_del(r->services, op->from->name, strlen(op->from->name));
		wm_lease_retire(r->vips, wm_vips_find(r->vips, op->from->name));
	}
}

/* Is there room for the checks that come with this write? A restore was judged as a whole. */
static bool room_for_checks(const struct wm_registry *r, struct wm_op *op)
{
	unsigned before = op->old ? op->old->checks_count : 0;

	if (op->restore || op->merged_count <= before ||
	    r->checks_count + (op->merged_count - before) <= r->checks_max)
		return true;
	wm_op_refuse(op, WM_E_CAPACITY, "Checks: at most %u are allowed (checks_max)",
		     r->checks_max);
	return false;
}

static int enter_maps(struct wm_registry *r, struct wm_op *op)
{
	struct wm_map *checks = op->home->checks, *instances = op->home->instances;
	size_t before = wm_map_len(checks);
	int err = 0;

	/* a redefined check replaces the entry under its id */
	for (unsigned n = 0; n < op->merged_count && !err; n++) {
		struct wm_check *c = op->merged[n];

		err = wm_map_put(checks, c->id, strlen(c->id), c, NULL);
	}
	for (unsigned n = 0; op->old && n < op->old->checks_count && !err; n++) {
		const char *id = op->old->checks[n]->id;

		if (!wm_checks_list(op->merged, op->merged_count, op->old->checks[n]) &&
		    wm_map_get(checks, id, strlen(id)) == op->old->checks[n])
			wm_map_del(checks, id, strlen(id));
	}
	wm_checks_recount(r, op->home, before);
	if (!err && !op->node)
		err = wm_map_put(instances, op->in->id, strlen(op->in->id), op->in, NULL);
	return err;
}

/* Parts of a group remember what stood before the group, and that what an earlier one made is
 * theirs: others hear of the group's outcome only. */
static void trace(struct wm_op *op)
{
	op->origin = op->old;
	op->origin_service = op->from;
	if (!op->group)
		return;
	if (op->old && wm_box(op->old)->staged) {
		op->before = wm_box(op->old)->maker;
		op->origin = op->before->origin;
		op->origin_service = op->before->origin_service;
		op->before->superseded = true;
	}
	if (op->in) {
		wm_box(op->in)->staged = true;
		wm_box(op->in)->maker = op;
	}
}

uint64_t wm_op_index(struct wm_registry *r, struct wm_op *op)
{
	if (!op->group)
		return wm_registry_next_index(r);
	if (!op->group->index)
		op->group->index = wm_registry_next_index(r);
	return op->group->index;
}

/* Refused before anything goes into the transaction: a refused write leaves no trace in it. */
static void judge_record(struct wm_registry *r, struct wm_op *op)
{
	bool adds = (op->kind == WM_OP_INSTANCE || op->kind == WM_OP_CHECK_PUT) && !op->restore;
	int err;

	if (!r->store || op->kind == WM_OP_REBIND)
		return;
	err = wm_registry_encode(r, op->in, !adds);
	/* what it becomes must fit as well: results that come later are refused to nobody */
	if (!err && adds && r->record.len + wm_record_growth(op->in) > WM_RECORD_MAX)
		err = WM_E_LIMIT;
	if (err == -ENOMEM)
		refuse_memory(op);
	else if (err)
		wm_op_refuse(op, err,
			     "%s too large to be stored: at most %u octets with full outputs of "
			     "all checks",
			     op->node ? "The checks of the node are" : "The registration is",
			     WM_RECORD_MAX);
	op->encoded = !err && !op->group;
}

static int store_service(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	int err = 0;

	if (op->evicted)
		err = wm_store_del(r->store, WM_STORE_SERVICES, op->evicted->row, e);
	if (!err && op->created)
		err = wm_registry_put_service(r, wm_vips_find(r->vips, op->to->name), e);
	return err;
}

/* What a part left behind may be a later one's by now. */
int wm_op_store(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	int err;

	if (!r->store || !op->applied)
		return 0;
	if (op->kind == WM_OP_NODE_PUT)
		return wm_registry_put_instance(r, op->home->holder, e);
	if (op->kind == WM_OP_NODE_DROP)
		return wm_store_del(r->store, WM_STORE_INSTANCES, op->home->row, e);
	err = store_service(r, op, e);
	/* what is moved is not changed, unless by a part before */
	if (err || op->superseded || (op->kind == WM_OP_REBIND && !op->before))
		return err;
	if (!op->in)
		return wm_store_del(r->store, WM_STORE_INSTANCES, op->old->row, e);
	if (op->node && op->home->self && !op->in->checks_count)
		return wm_store_del(r->store, WM_STORE_INSTANCES, WM_REGISTRY_NODE_ROW, e);
	if (!op->encoded)
		return wm_registry_put_instance(r, op->in, e);
	return wm_store_put(r->store, WM_STORE_INSTANCES, op->node ? op->home->row : op->in->row,
			    r->record.data, r->record.len, e);
}

/* --- judging ---------------------------------------------------------------------------------- */
static const char *const object_names[] = {
	[WM_OBJECT_SERVICE] = "service", [WM_OBJECT_NODE] = "node", [WM_OBJECT_CHECK] = "check"};

/* `service "x" on node "n"`, in Consul's words. */
static void describe(const struct wm_op *op, char *buf, size_t cap)
{
	const char *id = op->in ? op->in->id : op->check ? op->check->id : op->id;
	const char *node = op->facts ? op->facts->name : op->node_name ? op->node_name : "";

	if (op->object == WM_OBJECT_NODE)
		snprintf(buf, cap, "node \"%.64s\"", node);
	else
		snprintf(buf, cap, "%s \"%.64s\" on node \"%.64s\"", object_names[op->object], id,
			 node);
}

bool wm_op_judge_when(struct wm_op *op, uint64_t index)
{
	bool removes = op->kind == WM_OP_NODE_CLEAR || op->kind == WM_OP_CHECK_DROP ||
		       (op->kind == WM_OP_INSTANCE && !op->in);
	char what[192];

	if (op->when == WM_WHEN_ANY || (op->when == WM_WHEN_EXISTS && index) ||
	    (op->when == WM_WHEN_INDEX && index == op->when_index))
		return true;
	describe(op, what, sizeof(what));
	if (op->when == WM_WHEN_EXISTS)
		wm_op_refuse(op, WM_E_UNKNOWN, "%s doesn't exist", what);
	else
		wm_op_refuse(op, WM_E_CONFLICT, "failed to %s %s, index is stale",
			     removes ? "delete" : "set", what);
	return false;
}

/* What this agent registered and what was written into the catalog never change one another. */
static bool judge_owner(struct wm_op *op)
{
	if (!op->old || op->kind != WM_OP_INSTANCE || op->old->catalog == op->catalog ||
	    op->restore)
		return true;
	if (op->catalog)
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Service ID \"%.64s\" is registered with this agent: change it there",
			     op->old->id);
	else
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Service ID \"%.64s\" was written through the catalog: change it "
			     "there",
			     op->old->id);
	return false;
}

/* Judge a registration. @return true when there is something to apply. */
static bool judge_register(struct wm_registry *r, struct wm_op *op)
{
	if (!judge_owner(op) || !wm_op_lifecycle(op) || judge_checks(op) || merge_checks(op))
		return false;
	if (op->old && op->kind != WM_OP_REBIND && wm_instance_same(op->in, op->old) &&
	    same_checks(op)) {
		op->unchanged = true;
		return false;
	}
	if (!room_for_checks(r, op))
		return false;
	if (!op->old && r->instances_count >= r->instances_max) {
		wm_op_refuse(op, WM_E_CAPACITY, "Instances: at most %u are allowed (instances_max)",
			     r->instances_max);
		return false;
	}
	return true;
}

static void stage_register(struct wm_registry *r, struct wm_op *op)
{
	const char *name = wm_box(op->in)->service_name;
	struct wm_lease *l;

	if (!judge_register(r, op))
		return;
	op->to = wm_map_get(r->services, name, strlen(name));
	if (!op->to)
		create_service(r, op);
	if (!op->to || op->code)
		return;
	if (reserve_place(op->to) || enter_maps(r, op)) {
		refuse_memory(op);
		return;
	}
	op->index = wm_op_index(r, op);
	op->to_index = op->to->index;
	op->from = op->old ? op->old->service : NULL;
	op->from_index = op->from ? op->from->index : 0;
	op->applied = true;
	trace(op);
	link_instance(r, op);
	if (op->from)
		unlink_old(r, op);
	if (op->created) {
		l = wm_vips_find(r->vips, op->to->name);
		op->to->create_index = l->create_index = op->index;
	}
	judge_record(r, op);
}

static void refuse_unknown(struct wm_op *op)
{
	if (op->lenient)
		op->unchanged = true;
	else
		wm_op_refuse(op, WM_E_UNKNOWN,
			     "Unknown service ID \"%s\". Ensure that the service ID is passed, not "
			     "the service name.",
			     op->id);
}

/* Was it not called off? A sidecar goes with its service, which stands before it. */
static bool drain_is_over(const struct wm_op *op)
{
	return op->sidecar ? TAILQ_FIRST(&op->group->parts)->applied : op->old->drain_until_ms != 0;
}

static void stage_deregister(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *old = op->old;
	size_t before;

	if (!old) {
		refuse_unknown(op);
		return;
	}
	if (op->sidecar && (!old->traits || !old->traits->sidecar || old->catalog)) {
		op->unchanged = true; /* somebody's own, whose id is the same */
		op->old = NULL;
		return;
	}
	if (!judge_owner(op))
		return;
	if (op->drained && !drain_is_over(op)) {
		op->unchanged = true;
		op->old = NULL; /* it stays, as what its drain is of */
		return;
	}
	op->index = wm_op_index(r, op);
	op->from = old->service;
	op->from_index = op->from->index;
	op->applied = true;
	trace(op);
	before = wm_map_len(op->home->checks);
	for (unsigned n = 0; n < old->checks_count; n++)
		wm_map_del(op->home->checks, old->checks[n]->id, strlen(old->checks[n]->id));
	wm_checks_recount(r, op->home, before);
	wm_map_del(op->home->instances, old->id, strlen(old->id));
	r->instances_count--;
	unlink_old(r, op);
}

/* The node's checks: a new holder takes the place of the old one. */
static void stage_node(struct wm_registry *r, struct wm_op *op)
{
	if (judge_checks(op) || merge_checks(op))
		return;
	if (same_checks(op)) {
		op->unchanged = true;
		return;
	}
	if (!room_for_checks(r, op))
		return;
	if (enter_maps(r, op)) {
		refuse_memory(op);
		return;
	}
	op->index = wm_op_index(r, op);
	op->applied = true;
	trace(op);
	op->in->node = op->home;
	link_checks(r, op);
	wm_instance_retire(r, op, op->old);
	op->home->holder = op->in;
	judge_record(r, op);
}

struct wm_node *wm_op_home(const struct wm_registry *r, const struct wm_op *op)
{
	return op->node_name ? wm_find_node(r, op->node_name) : r->self;
}

static struct wm_instance *owner_of(const struct wm_registry *r, const struct wm_op *op)
{
	const struct wm_node *home = wm_op_home(r, op);
	const struct wm_check *c;

	if (!home)
		return NULL;
	if (op->kind == WM_OP_CHECK_DROP) {
		c = wm_node_check(home, op->id);
		return c ? c->instance : NULL;
	}
	return *op->id ? wm_node_instance(home, op->id) : home->holder;
}

static void refuse_owner(struct wm_op *op)
{
	if (op->lenient)
		op->unchanged = true;
	else if (op->catalog)
		wm_op_refuse(op, WM_E_UNKNOWN, "Missing service registration");
	else if (op->kind == WM_OP_CHECK_DROP)
		wm_op_refuse(op, WM_E_UNKNOWN,
			     "Unknown check ID \"%s\". Ensure that the check ID is passed, not "
			     "the check name.",
			     op->id);
	else if (op->kind == WM_OP_CHECK_PUT)
		wm_op_refuse(op, WM_E_UNKNOWN, "ServiceID \"%s\" does not exist", op->id);
	else
		refuse_unknown(op);
}

static struct wm_check *find_maintenance(const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->checks_count; n++) {
		if (i->checks[n]->kind == WM_CHECK_MAINTENANCE)
			return i->checks[n];
	}
	return NULL;
}

/* A check of the one owner is not there for the other. */
static bool judge_dropped(struct wm_op *op)
{
	if (!op->dropped || op->kind != WM_OP_CHECK_DROP ||
	    (op->dropped->kind == WM_CHECK_STATED) == op->catalog)
		return true;
	if (op->catalog)
		wm_op_refuse(op, WM_E_CONFLICT,
			     "Check ID \"%.64s\" is registered with this agent: change it there",
			     op->id);
	else
		refuse_owner(op);
	return false;
}

/* A write on one check is a registration of the same instance with that check beside the others,
 * or without it; one on the lifecycle is the same with all checks. */
static void stage_check(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *owner = owner_of(r, op);
	const struct wm_check *was;

	if (!owner) {
		refuse_owner(op);
		return;
	}
	if (op->kind == WM_OP_CHECK_DROP)
		op->dropped = wm_node_check(op->home, op->id);
	else if (op->kind == WM_OP_MAINTENANCE && !op->check)
		op->dropped = find_maintenance(owner);
	if (!judge_dropped(op))
		return;
	was = op->check ? wm_node_check(op->home, op->check->id) : op->dropped;
	if (op->kind != WM_OP_REBIND && !wm_op_judge_when(op, was ? was->modify_index : 0))
		return;
	if (!op->check && !op->dropped && op->kind != WM_OP_REBIND && op->kind != WM_OP_LIFECYCLE) {
		op->unchanged = true;
		return;
	}
	op->in = wm_instance_clone(owner);
	if (op->in && op->check)
		op->in->checks = calloc(1, sizeof(struct wm_check *));
	if (!op->in || (op->check && !op->in->checks)) {
		refuse_memory(op);
		return;
	}
	if (op->check) {
		op->in->checks[op->in->checks_count++] = op->check;
		op->check->instance = op->in;
		op->check = NULL;
	}
	op->old = owner;
	op->node = owner == op->home->holder;
	if (op->node)
		stage_node(r, op);
	else
		stage_register(r, op);
}

static void stage_instance(struct wm_registry *r, struct wm_op *op)
{
	op->old = wm_node_instance(op->home, op->in ? op->in->id : op->id);
	if (!wm_op_judge_when(op, op->old ? op->old->modify_index : 0))
		return;
	if (op->in)
		stage_register(r, op);
	else
		stage_deregister(r, op);
}

static void stage_holder(struct wm_registry *r, struct wm_op *op)
{
	op->old = op->home->holder;
	op->node = true;
	stage_node(r, op);
}

/* Only that the object is there: who asked reads it when the part is reported. */
static void stage_read(struct wm_op *op)
{
	const struct wm_instance *i;
	const struct wm_check *c;
	uint64_t index = 0;

	if (op->home && op->object == WM_OBJECT_NODE) {
		index = op->home->modify_index;
	} else if (op->home && op->object == WM_OBJECT_SERVICE) {
		i = wm_node_instance(op->home, op->id);
		index = i ? i->modify_index : 0;
	} else if (op->home) {
		c = wm_node_check(op->home, op->id);
		index = c ? c->modify_index : 0;
	}
	wm_op_judge_when(op, index);
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

static int stage(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	op->home = wm_op_home(r, op);
	switch (op->kind) {
	case WM_OP_GROUP:
		return wm_group_stage(r, op, e);
	case WM_OP_NODE_PUT:
	case WM_OP_NODE_DROP:
	case WM_OP_NODE_CLEAR:
		wm_node_stage(r, op);
		return 0;
	case WM_OP_READ:
		stage_read(op);
		return 0;
	case WM_OP_INSTANCE:
	case WM_OP_CHECK_PUT:
	case WM_OP_CHECK_DROP:
	case WM_OP_MAINTENANCE:
	case WM_OP_LIFECYCLE:
	case WM_OP_REBIND:
	case WM_OP_HOLDER:
		break;
	}
	if (!op->home && op->lenient)
		op->unchanged = true;
	else if (!op->home)
		wm_op_refuse(op, WM_E_UNKNOWN, "Missing node registration");
	else if (op->kind == WM_OP_INSTANCE)
		stage_instance(r, op);
	else if (op->kind == WM_OP_HOLDER)
		stage_holder(r, op);
	else
		stage_check(r, op);
	return 0;
}

int wm_op_stage(struct wm_registry *r, struct wm_op *op, struct wm_err *e)
{
	int err = stage(r, op, e);

	if (op->code && !err) /* refused half-way */
		wm_op_undo(r, op);
	else if (!err && !op->group && op->kind != WM_OP_GROUP)
		err = wm_op_store(r, op, e);
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
		wm_instance_revive(r, op, old);
	}
	if (op->in && op->to) {
		op->to->index = op->to_index;
		r->instances_count -= !old;
	} else if (old && op->from) {
		r->instances_count++;
	}
	if (op->node) {
		op->home->holder = old;
		wm_instance_revive(r, op, old);
	}
	if (op->before)
		op->before->superseded = false;
	op->before = NULL;
	op->applied = op->gone = op->old_dirty = false;
}

void wm_op_undo(struct wm_registry *r, struct wm_op *op)
{
	struct wm_instance *old = op->old, *in = op->in;
	size_t before;

	if (op->kind == WM_OP_GROUP) {
		wm_group_undo(r, op);
		return;
	}
	if (op->kind == WM_OP_NODE_PUT || op->kind == WM_OP_NODE_DROP) {
		wm_node_undo(r, op);
		return;
	}
	if (!op->home) /* refused at once */
		return;
	if (op->applied)
		undo_links(r, op);
	before = wm_map_len(op->home->checks);
	for (unsigned n = 0; n < op->fresh_count; n++) {
		const char *id = op->fresh[n]->id;

		if (wm_map_get(op->home->checks, id, strlen(id)) == op->fresh[n])
			wm_map_del(op->home->checks, id, strlen(id));
	}
	for (unsigned n = 0; old && n < old->checks_count; n++) {
		struct wm_check *c = old->checks[n];

		must(wm_map_put(op->home->checks, c->id, strlen(c->id), c, NULL));
		c->instance = old;
	}
	wm_checks_recount(r, op->home, before);
	if (old && !op->node)
		must(wm_map_put(op->home->instances, old->id, strlen(old->id), old, NULL));
	else if (in && !op->node && wm_node_instance(op->home, in->id) == in)
		wm_map_del(op->home->instances, in->id, strlen(in->id));
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
