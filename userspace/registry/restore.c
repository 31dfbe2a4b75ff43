/* SPDX-License-Identifier: Apache-2.0 */
/* restore.c - makes the registry what a snapshot says: removals first, so that ids and places are
 * free, then each node's checks and instances. Each is staged as a client's write is, so it is
 * undone, stored and announced by the same means; what is the same already is not touched. It is
 * made in slices, a write of the queue with a transaction each, so that the loop is anybody's in
 * between; what is to be done in the end stands in a file by then (restore_file.c). Other writes
 * are judged as ever meanwhile, and are before or behind the slice that meets their object.
 * In every state in between the store is consistent: an id of a check is nowhere twice. */
#include "plan.h"
#include "restore_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LOOK_MAX 4096 /* objects that are looked at in a slice, changed or not: some 1 ms */

static int no_memory(const struct wm_restore *x, struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM,
			  x->changed ? "Not restored: out of memory"
				     : "Not restored: out of memory; nothing was changed");
}

/* --- what is judged before anything is changed ------------------------------------------------ */
static int judge_node(struct wm_restore *x, const struct wm_node *n, struct wm_err *e)
{
	const struct wm_node *ours = n == x->s->self ? NULL : wm_find_node(x->r, n->name);

	if (ours && ours->self)
		return wm_err_set(e, WM_E_CONFLICT,
				  "Not restored: the snapshot's catalog has a node %.64s, which is "
				  "this agent's name",
				  n->name);
	return wm_snapshot_judge_node(x->s, n, e);
}

static int judge_instance(struct wm_restore *x, struct wm_instance *i, struct wm_err *e)
{
	const struct wm_registry *r = x->r;

	if (wm_vip4_inside(&r->space, i->addr4) || wm_vip6_inside(&r->space, &i->addr6))
		return wm_err_set(e, WM_E_INVALID,
				  "Not restored: the address %.64s of instance %.64s is in the "
				  "range of virtual addresses",
				  i->address, i->id);
	return wm_snapshot_judge_instance(x->s, i, e);
}

static int judge_limits(const struct wm_restore *x, struct wm_err *e)
{
	const struct wm_registry *r = x->r;
	const struct wm_snapshot_info *in = &x->s->info;
	size_t services = wm_map_len(x->s->leases);

	if (in->instances > r->instances_max)
		return wm_err_set(e, WM_E_CAPACITY,
				  "Not restored: the snapshot has %llu instances, at most %u are "
				  "allowed (instances_max)",
				  (unsigned long long)in->instances, r->instances_max);
	if (in->checks > r->checks_max)
		return wm_err_set(e, WM_E_CAPACITY,
				  "Not restored: the snapshot has %llu checks, at most %u are "
				  "allowed (checks_max)",
				  (unsigned long long)in->checks, r->checks_max);
	if (wm_vips_count(r->vips) + services > 4ull * r->services_max)
		return wm_err_set(e, WM_E_CAPACITY,
				  "Not restored: the snapshot has %zu services, at most %u are "
				  "allowed (services_max)",
				  services, r->services_max);
	if (wm_map_len(x->s->nodes) > r->nodes_max)
		return wm_err_set(
			e, WM_E_CAPACITY,
			"Not restored: the snapshot has %zu nodes, at most %u are allowed "
			"(nodes_max)",
			wm_map_len(x->s->nodes), r->nodes_max);
	if (in->index > WM_INDEX_MAX - 2 * WM_INDEX_BLOCK)
		return wm_err_set(e, WM_E_LIMIT, "Not restored: indexes are used up");
	return 0;
}

/* Of addresses that stay behind services there may be more. */
static int judge_services(const struct wm_restore *x, struct wm_err *e)
{
	if (x->s->services_used <= x->r->services_max)
		return 0;
	return wm_err_set(e, WM_E_CAPACITY,
			  "Not restored: the snapshot has %zu services, at most %u are allowed "
			  "(services_max)",
			  x->s->services_used, x->r->services_max);
}

/* The node of the snapshot whose instances are gone through; NULL: there is no more. The agent's
 * own comes first. */
static struct wm_node *next_node(struct wm_restore *x)
{
	if (!x->node)
		x->node = x->s->self;
	else
		x->node = wm_map_next(x->s->nodes, &x->pos);
	x->inner = 0;
	return x->node;
}

static void go_to(struct wm_restore *x, enum wm_restore_phase p)
{
	x->phase = p;
	x->node = NULL;
	x->pos = x->inner = 0;
}

/* @return 1: there are more; 0: all are fine; or the error. */
static int judge(struct wm_restore *x, struct wm_err *e)
{
	struct wm_instance *i;
	int err = x->node ? 0 : judge_limits(x, e);

	for (unsigned n = 0; !err && n < LOOK_MAX; n++) {
		i = x->node ? wm_map_next(x->node->instances, &x->inner) : NULL;
		if (i)
			err = judge_instance(x, i, e);
		else if (next_node(x))
			err = judge_node(x, x->node, e);
		else
			return judge_services(x, e);
	}
	return err ? err : 1;
}

/* --- numbers and virtual addresses -------------------------------------------------------------
 */
struct leap_op {
	struct wm_op op;
	uint64_t index;
};

static bool judge_any(struct wm_plan *p, struct wm_op *op)
{
	(void)p;
	(void)op;
	return true;
}

static void prepare_leap(struct wm_plan *p, struct wm_op *op)
{
	const struct wm_record_meta m =
		wm_registry_meta(p->r, ((struct leap_op *)op)->index + WM_INDEX_BLOCK);
	int err = wm_record_put_meta(&p->r->small, &m);

	(void)wm_plan_index(p, op);
	if (!err && p->r->store && p->reserved < m.reserved) {
		err = wm_batch_put(p->rows, WM_STORE_META, 0, p->r->small.data, p->r->small.len);
		p->reserved = m.reserved;
	}
	if (err)
		wm_op_no_memory(op);
}

static void apply_leap(struct wm_registry *r, struct wm_op *op)
{
	uint64_t index = ((struct leap_op *)op)->index;

	r->given = index > r->given ? index : r->given;
	r->index = index > r->index ? index : r->index;
}

/* Numbers go on above those of the snapshot. */
static const struct wm_op_kind op_leap = {
	.judge = judge_any, .prepare = prepare_leap, .apply = apply_leap};

struct leases_op {
	struct wm_op op;
	const struct wm_record_service *of[WM_RESTORE_SLICE]; /* the snapshot's */
	unsigned count;
};

/* A service that is not here gets the addresses it had, where those are free. */
static void restore_lease(struct wm_plan *p, struct wm_op *op, const struct wm_record_service *s)
{
	struct wm_registry *r = p->r;
	struct wm_made *m;
	struct wm_lease *l;
	int err;

	if (wm_vips_find(r->vips, s->name))
		return;
	m = calloc(1, sizeof(*m));
	err = m ? wm_vips_restore(r->vips, s->name, s->vip4, s->vip6, &l) : -ENOMEM;
	if (err == WM_E_CONFLICT || err == WM_E_INVALID)
		err = wm_vips_give(r->vips, s->name, &l);
	if (err) {
		free(m);
		if (err == -ENOMEM)
			wm_op_no_memory(op);
		else
			wm_op_refuse(op, err, "no virtual address is left for service %s", s->name);
		return;
	}
	*m = (struct wm_made){.lease = l, .given = true};
	SLIST_INSERT_HEAD(&op->made, m, entry);
	l->row = ++r->service_row;
	l->create_index = r->index;
	l->planned = true;
	l->wanted++;
	wm_lease_retire(r->vips, l);
	if (r->store && wm_plan_put_service(p, l, l->create_index))
		wm_op_no_memory(op);
}

static void prepare_leases(struct wm_plan *p, struct wm_op *op)
{
	const struct leases_op *leases = (struct leases_op *)op;

	for (unsigned n = 0; n < leases->count && !op->code; n++)
		restore_lease(p, op, leases->of[n]);
}

static const struct wm_op_kind op_leases = {
	.judge = judge_any, .prepare = prepare_leases, .apply = wm_edits_apply};

static int wait_for(struct wm_restore *x, struct wm_op *op, struct wm_err *e);

static int leap(struct wm_restore *x, struct wm_err *e)
{
	struct leap_op *leap;
	int err;

	go_to(x, WM_RESTORE_LEASES);
	if (x->s->info.index <= x->r->index)
		return 1;
	leap = wm_op_new(&op_leap, sizeof(*leap), "");
	if (!leap)
		return no_memory(x, e);
	leap->index = x->s->info.index;
	err = wait_for(x, &leap->op, e);
	return err ? err : 1;
}

/* @return 1: there are more; 0: that was all; or the error. */
static int restore_leases(struct wm_restore *x, struct wm_err *e)
{
	struct leases_op *op = wm_op_new(&op_leases, sizeof(*op), "");
	struct wm_snapshot_lease *l = NULL;
	int err;

	if (!op)
		return no_memory(x, e);
	for (unsigned n = 0; n < LOOK_MAX && op->count < WM_RESTORE_SLICE; n++) {
		l = wm_map_next(x->s->leases, &x->pos);
		if (!l)
			break;
		if (!wm_vips_find(x->r->vips, l->s.name))
			op->of[op->count++] = &l->s;
	}
	if (op->count) {
		err = wait_for(x, &op->op, e);
		return err ? err : 1;
	}
	wm_op_free(&op->op);
	return l != NULL;
}

/* --- writes ----------------------------------------------------------------------------------- */
static void *add_op(struct wm_restore *x, const struct wm_op_kind *kind, size_t size,
		    const struct wm_node *n, const char *id)
{
	struct wm_op *op = wm_op_new(kind, size, id);

	if (!x->group)
		x->group = wm_group_new(NULL, NULL);
	if (op && !n->self)
		op->node_name = strdup(n->folded);
	if (!op || !x->group || (!n->self && !op->node_name)) {
		wm_op_free(op);
		return NULL;
	}
	op->restore = op->lenient = true;
	wm_group_add(x->group, op);
	x->parts++;
	return op;
}

/* The same node in the snapshot; NULL: it has none. */
static struct wm_node *twin_of(const struct wm_restore *x, const struct wm_node *n)
{
	return n->self ? x->s->self : wm_map_get(x->s->nodes, n->folded, strlen(n->folded));
}

/* Checks whose ids are another object's in the snapshot leave this one first: else, between two
 * slices, they would be there twice. */
static int free_checks(struct wm_restore *x, const struct wm_node *n, const struct wm_node *twin,
		       const struct wm_instance *i)
{
	for (unsigned k = 0; k < i->checks_count; k++) {
		const struct wm_check *c = i->checks[k], *to = wm_node_check(twin, c->id);
		struct wm_op *op;

		if (!to || strcmp(to->instance->id, i->id) == 0)
			continue;
		op = NULL;
		if (!x->group)
			x->group = wm_group_new(NULL, NULL);
		if (!x->group || wm_op_check(&wm_op_check_drop, c->id, NULL, &op, NULL))
			return -ENOMEM;
		op->node_name = n->self ? NULL : strdup(n->folded);
		if (!n->self && !op->node_name) {
			wm_op_free(op);
			return -ENOMEM;
		}
		op->lenient = true;
		op->catalog = c->kind == WM_CHECK_STATED;
		wm_group_add(x->group, op);
		x->parts++;
	}
	return 0;
}

static int remove_instance(struct wm_restore *x, const struct wm_node *n,
			   const struct wm_node *twin, const struct wm_instance *i)
{
	if (twin && wm_node_instance(twin, i->id))
		return free_checks(x, n, twin, i);
	return add_op(x, &wm_op_drop, sizeof(struct wm_drop), n, i->id) ? 0 : -ENOMEM;
}

/* What is on the next node of the registry and not in the snapshot. Others write between two
 * slices: a node that took another's place meanwhile is gone through from its beginning. @return 1:
 * there are more; 0: that was all; or the error. */
static int remove_next(struct wm_restore *x, struct wm_err *e)
{
	struct wm_registry *r = x->r;
	struct wm_node *n, *twin;
	struct wm_instance *i;
	size_t next;
	int err;

	next = x->pos;
	n = wm_map_next(r->nodes, &next);
	if (!n)
		return 0;
	if (x->on.mark != n->mark || x->on.create_index != n->create_index)
		x->inner = 0;
	x->on = (struct wm_restore_place){n->mark, n->create_index};
	twin = twin_of(x, n);
	i = wm_map_next(n->instances, &x->inner);
	if (i) {
		/* what is another agent's is not the snapshot's */
		err = wm_instance_foreign(i) ? 0 : remove_instance(x, n, twin, i);
	} else {
		err = wm_instance_foreign(n->holder) ? 0
		      : twin			     ? free_checks(x, n, twin, n->holder)
		      : add_op(x, &wm_op_node_clear, sizeof(struct wm_op), n, "") ? 0
										  : -ENOMEM;
		x->on = (struct wm_restore_place){0};
		x->pos = next;
	}
	return err ? no_memory(x, e) : 1;
}

/* A node and its checks. What it has goes over to the writes. */
static int put_node(struct wm_restore *x, struct wm_node *n)
{
	struct wm_node_draft facts = {.id = n->id,
				      .address = n->address,
				      .meta = n->meta,
				      .meta_count = n->meta_count,
				      .tagged = n->tagged,
				      .tagged_count = n->tagged_count,
				      .region = n->region,
				      .zone = n->zone};
	struct wm_holder_put *checks;
	struct wm_node_put *put;

	if (wm_instance_foreign(n->holder) && !wm_map_len(n->instances))
		return 0;
	if (!n->self)
		n->holder->version.origin = WM_ORIGIN_SHARED; /* if its agent is not known here */
	if (!n->self) {
		put = add_op(x, &wm_op_node_put, sizeof(*put), n, "");
		if (put)
			put->facts = wm_node_new(n->name, &facts);
		if (!put || !put->facts)
			return -ENOMEM;
	}
	checks = add_op(x, &wm_op_holder, sizeof(*checks), n, "");
	if (!checks)
		return -ENOMEM;
	checks->in = n->holder;
	n->holder = NULL;
	return 0;
}

/* The next node of the snapshot, or the next instance on it. @return 1: there are more; 0: that was
 * all; or the error. */
static int put_next(struct wm_restore *x, struct wm_err *e)
{
	struct wm_instance *i = x->node ? wm_map_next(x->node->instances, &x->inner) : NULL;
	struct wm_put *put;

	if (!i && !next_node(x))
		return 0;
	if (!i)
		return put_node(x, x->node) ? no_memory(x, e) : 1;
	put = add_op(x, &wm_op_put, sizeof(*put), x->node, i->id);
	if (!put)
		return no_memory(x, e);
	put->in = i;
	put->replace_checks = true;
	x->group->op.bytes += wm_box(i)->bytes;
	wm_map_del(x->node->instances, i->id, strlen(i->id));
	return 1;
}

static void on_slice(void *arg, int code, const char *text)
{
	struct wm_restore_slice *slice = arg;
	struct wm_restore *x = slice->x;
	char *of_slice;

	free(slice);
	if (!x)
		return;
	x->slice = NULL;
	x->code = code;
	snprintf(x->text, sizeof(x->text), "%.255s", text ? text : "");
	of_slice = strstr(x->text, "; nothing was changed");
	if (of_slice) /* by this one */
		*of_slice = 0;
	x->changed |= !code;
}

/* Queue a write; the next step comes when it is stored, or refused. */
static int wait_for(struct wm_restore *x, struct wm_op *op, struct wm_err *e)
{
	int err;

	x->slice = calloc(1, sizeof(*x->slice));
	if (!x->slice) {
		wm_op_free(op);
		return no_memory(x, e);
	}
	x->slice->x = x;
	op->done = on_slice;
	op->arg = x->slice;
	err = wm_op_submit(x->r, op, e);
	if (err) {
		free(x->slice);
		x->slice = NULL;
	}
	return err;
}

static int submit(struct wm_restore *x, struct wm_err *e)
{
	struct wm_group *group = x->group;

	if (!group)
		return 0;
	x->group = NULL;
	x->parts = 0;
	return wait_for(x, &group->op, e);
}

/* Make the next slice and queue it. What fits one is one write, with one index. */
static int make_slice(struct wm_restore *x, struct wm_err *e)
{
	int more = 1;

	if (x->r->queued >= WM_REGISTRY_QUEUE_MAX / 2 ||
	    x->r->queued_bytes >= WM_REGISTRY_QUEUE_BYTES / 2)
		return 1; /* others first */
	for (unsigned n = 0; more > 0 && n < LOOK_MAX && x->parts < WM_RESTORE_SLICE; n++) {
		more = x->phase == WM_RESTORE_REMOVE ? remove_next(x, e) : put_next(x, e);
		if (!more && x->phase == WM_RESTORE_REMOVE) {
			go_to(x, WM_RESTORE_PUT);
			more = 1;
		}
	}
	if (!more)
		go_to(x, WM_RESTORE_POLICIES);
	if (more >= 0 && submit(x, e))
		more = e->code;
	return more < 0 ? more : 1;
}

/* Policies: those that the snapshot lacks go, in the same slice as others come. Many are rare, so
 * each slice looks at all of them for what is left to be done. @return 1: there may be more; 0:
 * that was all; or the error. */
static int restore_policies(struct wm_restore *x, struct wm_err *e)
{
	const struct wm_registry *r = x->r;
	struct wm_policies_op *op = wm_op_new(&wm_op_policies, sizeof(*op), "");
	struct wm_policy *p;
	size_t pos = 0;
	bool ok = op;
	int err;

	while (ok && op->count < WM_RESTORE_SLICE && (p = wm_map_next(r->policies, &pos))) {
		if (!wm_map_get(x->s->policies, p->service, strlen(p->service)))
			ok = wm_policies_add(op, p->service, NULL);
	}
	pos = 0;
	while (ok && op->count < WM_RESTORE_SLICE && (p = wm_map_next(x->s->policies, &pos))) {
		const struct wm_policy *here = wm_find_policy(r, p->service);

		if (!here || !wm_policy_same(here, p))
			ok = wm_policies_add(op, p->service, p);
	}
	if (ok && op->count) {
		err = wait_for(x, &op->op, e);
		return err ? err : 1;
	}
	wm_op_free(op ? &op->op : NULL);
	return ok ? 0 : no_memory(x, e);
}

/* --- work of the store's thread --------------------------------------------------------------- */
static void run(struct wm_job *j, struct wm_store *store)
{
	struct wm_restore *x = (struct wm_restore *)j; /* its first member */

	(void)store;
	x->work_code = x->work(x, &x->work_err);
}

static void on_worked(struct wm_job *j)
{
	struct wm_restore *x = (struct wm_restore *)j;

	x->busy = false;
	x->worked = true;
	if (x->freed)
		wm_restore_free(x);
}

/* Have it done off the loop. @return 1: not yet; else what it returned. */
static int on_thread(struct wm_restore *x, int (*work)(struct wm_restore *x, struct wm_err *e),
		     struct wm_err *e)
{
	if (!x->r->writer) /* of memory only */
		return work(x, e);
	if (x->worked) {
		x->worked = false;
		*e = x->work_err;
		x->r->restoring = x->durable || x->resumed;
		return x->work_code;
	}
	x->work = work;
	x->work_err = (struct wm_err){0};
	x->busy = true;
	wm_job_set(&x->job, run, on_worked);
	wm_writer_put(x->r->writer, &x->job);
	return 1;
}

/* --- steps ------------------------------------------------------------------------------------ */
static int step(struct wm_restore *x, struct wm_err *e)
{
	int more = 0;

	switch (x->phase) {
	case WM_RESTORE_READ:
		more = on_thread(x, wm_restore_read, e);
		if (!more)
			more = wm_snapshot_whole(x->s, e);
		if (!more)
			go_to(x, WM_RESTORE_JUDGE);
		break;
	case WM_RESTORE_JUDGE:
		more = judge(x, e);
		if (!more)
			go_to(x, WM_RESTORE_KEEP);
		break;
	case WM_RESTORE_KEEP: /* from here on it is made, whatever comes */
		more = on_thread(x, wm_restore_keep, e);
		if (!more)
			go_to(x, WM_RESTORE_LEAP);
		break;
	case WM_RESTORE_LEAP:
		more = leap(x, e);
		break;
	case WM_RESTORE_LEASES:
		more = restore_leases(x, e);
		if (!more)
			go_to(x, WM_RESTORE_REMOVE);
		break;
	case WM_RESTORE_REMOVE:
	case WM_RESTORE_PUT:
		more = make_slice(x, e);
		break;
	case WM_RESTORE_POLICIES:
		more = restore_policies(x, e);
		if (!more)
			go_to(x, WM_RESTORE_LAST);
		break;
	case WM_RESTORE_LAST:
		more = on_thread(x, wm_restore_forget, e);
		if (!more)
			x->resumed = x->r->restoring = false;
		if (!more)
			go_to(x, WM_RESTORE_DONE);
		break;
	case WM_RESTORE_DONE:
		break;
	}
	return more ? more : x->phase != WM_RESTORE_DONE;
}

int wm_restore_step(struct wm_restore *x, struct wm_err *e)
{
	struct wm_err ignored = {0};
	int more = 1;

	if (x->slice || x->busy) /* its batch is to come, or its work to be done */
		return 1;
	if (x->code)
		more = wm_err_set(e, x->code,
				  x->changed ? "Not restored: %.200s"
					     : "Not restored: %.200s; nothing was changed",
				  x->text);
	else
		more = step(x, e);
	if (more >= 0)
		return more;
	if ((more == WM_E_STORE || more == -ENOSPC) && !x->code &&
	    x->phase > WM_RESTORE_READ) /* one that failed in a slice said so */
		wm_registry_not_stored(x->r, e);
	if (!x->changed && !x->resumed) {
		(void)wm_restore_forget(x, &ignored); /* once, after an error */
		x->r->restoring = x->durable;
	}
	return more;
}

bool wm_restore_half(const struct wm_restore *x)
{
	return x->durable;
}

const struct wm_snapshot *wm_restore_snapshot(const struct wm_restore *x)
{
	return x->s;
}

int wm_restore_begin(struct wm_registry *r, struct wm_snapshot *s,
		     const struct wm_restore_source *from, struct wm_restore **ret,
		     struct wm_err *e)
{
	struct wm_restore *x = calloc(1, sizeof(*x));

	if (x)
		*x = (struct wm_restore){
			.r = r, .s = s, .fd = from->fd, .part = -1, .resumed = r->restoring};
	if (x && from->fd < 0 && from->len) {
		x->data = malloc(from->len);
		x->len = from->len;
	}
	if (!x || (x->len && !x->data)) {
		free(x);
		wm_snapshot_free(s);
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	}
	if (x->len)
		memcpy(x->data, from->data, x->len);
	s->self->self = true; /* it stands for ours */
	*ret = x;
	return 0;
}

void wm_restore_free(struct wm_restore *x)
{
	if (!x)
		return;
	x->freed = true;
	if (x->busy) /* then by the job's end */
		return;
	if (x->slice)
		x->slice->x = NULL;
	wm_op_free(x->group ? &x->group->op : NULL);
	wm_restore_close(x);
	wm_snapshot_free(x->s);
	free(x->data);
	free(x);
}

int wm_registry_restore(struct wm_registry *r, struct wm_snapshot *s, struct wm_err *e)
{
	const struct wm_restore_source from = {.fd = -1};
	struct wm_restore *x = NULL;
	int more = wm_restore_begin(r, s, &from, &x, e);

	for (more = more ? more : 1; x && more > 0; wm_registry_finish(r))
		more = wm_restore_step(x, e);
	wm_restore_free(x);
	return more;
}
