/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - see plan.h. The view is the memory under a table of what is otherwise; what a write puts
 * there shadows what stood under the name, and is taken away again when it is refused. */
#include "plan.h"

#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define KEY_MAX (WM_NODE_NAME_MAX + WM_CHECK_ID_MAX + 4)
_Static_assert(WM_CHECK_ID_MAX >= WM_INSTANCE_ID_MAX, "every id fits");
_Static_assert(WM_CHECK_ID_MAX >= WM_SERVICE_NAME_MAX, "every name fits");

/* --- the table of the view -------------------------------------------------------------------- */
static size_t key_of(char key[KEY_MAX], char what, const struct wm_node *n, const char *id)
{
	size_t at = 0, len = strlen(id);

	key[at++] = what;
	if (n) {
		size_t name = strlen(n->folded);

		memcpy(key + at, n->folded, name);
		at += name;
	}
	key[at++] = 0;
	memcpy(key + at, id, len); /* judged when the write was made */
	return at + len;
}

const struct wm_seen *wm_plan_seen(const struct wm_plan *p, char what, const struct wm_node *n,
				   const char *id)
{
	char key[KEY_MAX];

	return wm_map_len(p->seen) ? wm_map_get(p->seen, key, key_of(key, what, n, id)) : NULL;
}

struct wm_seen *wm_plan_see(struct wm_plan *p, struct wm_op *op, char what, const struct wm_node *n,
			    const char *id)
{
	struct wm_seen *s, *before;
	char key[KEY_MAX];
	size_t len = key_of(key, what, n, id);

	op = wm_op_root(op);
	before = wm_map_get(p->seen, key, len);
	if (before && before->op == op)
		return before;
	s = malloc(sizeof(*s) + len);
	if (!s)
		return NULL;
	if (before)
		*s = *before;
	else
		*s = (struct wm_seen){0};
	s->op = op;
	s->shadows = before;
	s->len = (uint32_t)len;
	memcpy(s->key, key, len);
	if (wm_map_put(p->seen, s->key, len, s, NULL)) {
		free(s);
		return NULL;
	}
	s->older = p->log;
	p->log = s;
	return s;
}

static void unsee(struct wm_plan *p)
{
	struct wm_seen *s = p->log;

	p->log = s->older;
	if (s->shadows) /* its key stands there: nothing new is taken */
		(void)wm_map_put(p->seen, s->shadows->key, s->len, s->shadows, NULL);
	else
		(void)wm_map_del(p->seen, s->key, s->len);
	free(s);
}

/* --- the view --------------------------------------------------------------------------------- */
struct wm_node *wm_view_node(const struct wm_plan *p, const char *name)
{
	struct wm_node *n = name ? wm_find_node(p->r, name) : p->r->self;
	const struct wm_seen *s;
	char folded[WM_NODE_NAME_MAX + 1];

	if (!p->nodes_touched || n == p->r->self)
		return n;
	if (n) {
		s = wm_plan_seen(p, WM_SEEN_NODE, n, "");
	} else {
		struct wm_node unknown = {.folded = folded};

		if (strnlen(name, sizeof(folded)) == sizeof(folded))
			return NULL;
		wm_node_fold(folded, name);
		s = wm_plan_seen(p, WM_SEEN_NODE, &unknown, "");
	}
	if (!s)
		return n;
	return s->edit->dropped ? NULL : s->edit->home;
}

struct wm_node *wm_view_node_id(const struct wm_plan *p, const char *id)
{
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_NODE_ID, NULL, id);

	if (!s)
		return wm_find_node_id(p->r, id);
	return s->edit && !s->edit->dropped ? s->edit->home : NULL;
}

struct wm_instance *wm_view_instance(const struct wm_plan *p, const struct wm_node *n,
				     const char *id)
{
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_INSTANCE, n, id);

	return s ? s->edit->in : wm_node_instance(n, id);
}

struct wm_instance *wm_view_holder(const struct wm_plan *p, const struct wm_node *n)
{
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_HOLDER, n, "");

	return s && s->edit->home == n ? s->edit->in : n->holder;
}

struct wm_check *wm_view_check(const struct wm_plan *p, const struct wm_node *n, const char *id,
			       const struct wm_instance **ret_owner)
{
	const struct wm_seen *s = wm_plan_seen(p, WM_SEEN_CHECK, n, id);
	struct wm_check *c = s ? s->check : wm_node_check(n, id);

	if (ret_owner)
		*ret_owner = s ? s->owner : c ? c->instance : NULL;
	return c;
}

const struct wm_node *wm_view_facts(const struct wm_plan *p, const struct wm_node *n)
{
	const struct wm_seen *s = p->nodes_touched ? wm_plan_seen(p, WM_SEEN_NODE, n, "") : NULL;

	return s && s->edit->home == n && s->edit->facts ? s->edit->facts : n;
}

void wm_plan_swap_facts(struct wm_node *n, struct wm_node *facts)
{
	uint64_t created = n->create_index, modified = n->modify_index;

	wm_node_swap_facts(n, facts);
	n->create_index = facts->create_index;
	n->modify_index = facts->modify_index;
	facts->create_index = created;
	facts->modify_index = modified;
}

void wm_view_each(const struct wm_plan *p, struct wm_node *n,
		  bool (*fn)(void *arg, struct wm_instance *i), void *arg)
{
	struct wm_seen *s, *newest = p->log; /* what fn puts there is of no interest */
	struct wm_instance *i;
	size_t pos = 0;

	while ((i = wm_map_next(n->instances, &pos))) {
		i = wm_view_instance(p, n, i->id);
		if (i && !fn(arg, i))
			return;
	}
	for (s = newest; s; s = s->older) {
		if (s->key[0] != WM_SEEN_INSTANCE || !s->edit || s->edit->home != n ||
		    !(i = s->edit->in) || wm_node_instance(n, i->id) ||
		    wm_view_instance(p, n, i->id) != i)
			continue;
		if (!fn(arg, i))
			return;
	}
}

/* --- rows ------------------------------------------------------------------------------------- */
struct wm_version wm_plan_draw(struct wm_registry *r, enum wm_version_origin o)
{
	struct wm_version v = wm_history_draw(&r->history, o, r->epoch, wm_env_wall_ms(r->env));

	if (r->sync && o == WM_ORIGIN_SHARED)
		(void)wm_peer_id_parse(r->self->id, &v.writer); /* its form was judged */
	return v;
}

const struct wm_version *wm_plan_removed(const struct wm_plan *p, const char *node, const char *id)
{
	const struct wm_tombstone *t = wm_history_tomb(&p->r->history, WM_ORIGIN_SHARED, node, id);

	return t ? &t->version : NULL;
}

bool wm_plan_outranks(const struct wm_plan *p, struct wm_op *op, const char *node, const char *id,
		      const struct wm_version *here)
{
	bool policy = strcmp(node, WM_POLICY_NODE) == 0;
	uint32_t ours = p->r->history.priority;

	if (!p->r->by_priority || p->as || op->restore || !here ||
	    here->origin != WM_ORIGIN_SHARED || here->priority <= ours)
		return true;
	wm_op_refuse(op, WM_E_CONFLICT,
		     "%s \"%.64s\"%s%.64s%s was written where sync.priority is %u: "
		     "sync.conflicts is priority, and here it is %u",
		     policy ? "The policy of service"
		     : *id  ? "Service ID"
			    : "Node",
		     *id ? id : node, *id && !policy ? " on node \"" : "",
		     *id && !policy ? node : "", *id && !policy ? "\"" : "", here->priority, ours);
	return false;
}

/* The row that follows has a version of its own. */
static int give_version(struct wm_plan *p, struct wm_instance *i)
{
	enum wm_version_origin o = i->version.origin;

	if (!*i->name) /* a node's: its writer is whose it is */
		o = i->node->self ? WM_ORIGIN_OWN : WM_ORIGIN_SHARED;
	i->version = p->as ? *p->as : wm_plan_draw(p->r, o);
	return p->as ? 0 : wm_plan_drawn(p, &i->version, i->node->folded, i->id);
}

int wm_tombstone_put(struct wm_registry *r, struct wm_batch *rows, const struct wm_tombstone *t)
{
	const struct wm_record_tombstone record = {.node = t->node,
						   .id = t->id,
						   .service = t->service,
						   .version = t->version,
						   .index = t->past.index,
						   .when_s = t->when_s,
						   .semver = t->semver};
	int err = wm_record_put_tombstone(&r->record, t->row, &record);

	return err ? err
		   : wm_batch_put(rows, WM_STORE_TOMBSTONES, t->row, r->record.data, r->record.len);
}

int wm_plan_put_tombstone(struct wm_plan *p, struct wm_edit *e, const struct wm_instance *i,
			  uint64_t row)
{
	struct wm_tombstone *t;

	if (p->no_tombstones)
		return 0;
	t = wm_tombstone_new(i, row, p->as ? p->as_semver : wm_instance_semver(i));
	if (!t || wm_plan_reserve(p, p->r->history.by_key, 1)) {
		free(t);
		return -ENOMEM;
	}
	free(e->tomb);
	e->tomb = t;
	t->past.index = p->r->given;
	t->when_s = p->as ? p->as_when_s : (uint64_t)wm_env_wall_s(p->r->env);
	if (!p->r->store)
		return 0;
	t->version = p->as ? *p->as : wm_plan_draw(p->r, t->version.origin);
	if (!p->as && wm_plan_drawn(p, &t->version, t->node, t->id))
		return -ENOMEM;
	return wm_tombstone_put(p->r, p->rows, t);
}

int wm_plan_del_tombstone(struct wm_plan *p, enum wm_version_origin o, const struct wm_node *n,
			  const char *id, const struct wm_seen *seen)
{
	const struct wm_tombstone *t = wm_history_tomb(&p->r->history, o, n->folded, id);

	for (; seen; seen = seen->shadows) { /* a write of this batch left a newer one */
		if (seen->edit && seen->edit->tomb && seen->edit->tomb->version.origin == o) {
			t = seen->edit->tomb;
			break;
		}
	}
	return t && p->r->store ? wm_batch_del(p->rows, WM_STORE_TOMBSTONES, t->row) : 0;
}

int wm_plan_expire(struct wm_plan *p)
{
	struct wm_history *h = &p->r->history;
	uint64_t now_s = (uint64_t)wm_env_wall_s(p->r->env);
	struct wm_tombstone *t;

	TAILQ_FOREACH (t, &h->tombs, by_age) {
		if (p->expired == WM_TOMBSTONES_EXPIRED ||
		    (t->when_s + p->r->tombstone_ttl_s > now_s &&
		     h->count - p->expired <= WM_TOMBSTONES_MAX))
			return 0;
		if (p->r->store && wm_batch_del(p->rows, WM_STORE_TOMBSTONES, t->row))
			return -ENOMEM;
		t->expired = true;
		p->expired++;
		/* the store has a newer number than any that others were told, or it would pass for
		 * one of an earlier day at the next start */
		if (p->r->sync && t->version.origin == WM_ORIGIN_OWN && t->version.seq == h->seq)
			wm_registry_mark_dirty(p->r, wm_box(p->r->self->holder));
	}
	return 0;
}

int wm_plan_encode_node(struct wm_plan *p, struct wm_instance *holder, bool cut)
{
	struct wm_node *n = holder->node, *facts = NULL;
	const struct wm_seen *s = p->nodes_touched ? wm_plan_seen(p, WM_SEEN_NODE, n, "") : NULL;
	struct wm_instance *was = n->holder;
	int err;

	if (s && s->edit->home == n)
		facts = s->edit->facts;
	n->holder = holder;
	if (facts)
		wm_plan_swap_facts(n, facts);
	err = wm_registry_encode(p->r, holder, cut);
	if (facts)
		wm_plan_swap_facts(n, facts);
	n->holder = was;
	return err;
}

static int put_node_row(struct wm_plan *p, struct wm_instance *holder, bool cut)
{
	int err;

	if (give_version(p, holder))
		return -ENOMEM;
	err = wm_plan_encode_node(p, holder, cut);
	return err ? err
		   : wm_batch_put(p->rows, WM_STORE_INSTANCES, holder->node->row, p->r->record.data,
				  p->r->record.len);
}

int wm_plan_put_row(struct wm_plan *p, struct wm_instance *i, bool cut)
{
	int err;

	if (!*i->name)
		return put_node_row(p, i, cut);
	give_version(p, i);
	err = wm_registry_encode(p->r, i, cut);
	return err ? err
		   : wm_batch_put(p->rows, WM_STORE_INSTANCES, i->row, p->r->record.data,
				  p->r->record.len);
}

int wm_plan_put_service(struct wm_plan *p, const struct wm_lease *l, uint64_t create_index)
{
	const struct wm_record_service s = {l->name, l->vip4, l->vip6, create_index};
	int err = wm_record_put_service(&p->r->small, l->row, &s);

	return err ? err
		   : wm_batch_put(p->rows, WM_STORE_SERVICES, l->row, p->r->small.data,
				  p->r->small.len);
}

/* --- room ------------------------------------------------------------------------------------- */
int wm_plan_reserve(struct wm_plan *p, struct wm_map *m, size_t n)
{
	size_t cap = p->rooms_cap ? p->rooms_cap * 2 : 64;
	struct wm_room *next;

	if (!n)
		return 0;
	if (p->rooms_count == p->rooms_cap) {
		next = realloc(p->rooms, cap * sizeof(*next));
		if (!next)
			return -ENOMEM;
		p->rooms = next;
		p->rooms_cap = cap;
	}
	if (wm_map_reserve(m, n))
		return -ENOMEM;
	p->rooms[p->rooms_count++] = (struct wm_room){m, n};
	return 0;
}

static void release_room(struct wm_plan *p, size_t until)
{
	while (p->rooms_count > until) {
		const struct wm_room *room = &p->rooms[--p->rooms_count];

		wm_map_unreserve(room->map, room->count);
	}
}

void wm_plan_release_room(struct wm_plan *p)
{
	release_room(p, 0);
}

/* --- one write -------------------------------------------------------------------------------- */
static struct wm_plan_mark mark(const struct wm_plan *p)
{
	return (struct wm_plan_mark){.log = p->log,
				     .rows = wm_batch_mark(p->rows),
				     .rooms = p->rooms_count,
				     .drawn = p->drawn_count,
				     .seq = p->r->history.seq,
				     .instances = p->instances,
				     .checks = p->checks,
				     .nodes = p->nodes,
				     .services = p->services,
				     .policies = p->policies};
}

/* Forget what was prepared for a write. */
static void take_back(struct wm_plan *p, struct wm_op *op, const struct wm_plan_mark *m)
{
	while (p->log != m->log)
		unsee(p);
	release_room(p, m->rooms);
	p->r->history.seq = m->seq;
	wm_plan_drop_drawn(p, m->drawn);
	wm_batch_cut(p->rows, m->rows);
	p->instances = m->instances;
	p->checks = m->checks;
	p->nodes = m->nodes;
	p->services = m->services;
	p->policies = m->policies;
	wm_op_unprepare(p->r, op);
}

/* Services that a write left empty are no services any more for the next one. */
static void close_services(struct wm_plan *p, const struct wm_plan_mark *m)
{
	for (struct wm_seen *s = p->log; s != m->log; s = s->older) {
		if (s->key[0] == WM_SEEN_SERVICE && s->service && !s->count)
			p->services--;
	}
}

bool wm_plan_run(struct wm_plan *p, struct wm_op *op)
{
	op->home = wm_view_node(p, op->node_name);
	if (op->kind->judge(p, op) && !op->code)
		op->kind->prepare(p, op);
	return !op->code;
}

void wm_plan_add(struct wm_plan *p, struct wm_op *op)
{
	struct wm_plan_mark m = mark(p);

	TAILQ_INSERT_TAIL(&p->ops, op, entry);
	if (!wm_plan_run(p, op)) {
		take_back(p, op, &m);
		op->policies = false;
	} else {
		close_services(p, &m);
	}
	op->drawn = p->drawn_count;
	op->depends = p->changes > 0;
	p->changes += !TAILQ_EMPTY(&op->edits) || !SLIST_EMPTY(&op->made) || op->policies;
}

uint64_t wm_plan_index(struct wm_plan *p, struct wm_op *op)
{
	op = wm_op_root(op);
	if (!op->index) {
		op->index = wm_registry_draw(p->r);
		p->given_last = op->index;
	}
	return op->index;
}

/* --- statuses --------------------------------------------------------------------------------- */
int wm_plan_ride(struct wm_plan *p, unsigned max)
{
	struct wm_registry *r = p->r;
	struct wm_instance_box *b, *next;
	unsigned count = 0, urgent = 0;
	struct wm_version was;
	int err;

	TAILQ_FOREACH (b, &r->dirty, dirty_entry) {
		count++;
		urgent += b->urgent;
	}
	max = max > urgent ? max : urgent;
	count = count < max ? count : max;
	if (!count)
		return 0;
	p->riding = calloc(count, sizeof(*p->riding));
	if (!p->riding)
		return -ENOMEM;
	for (b = TAILQ_FIRST(&r->dirty); b && p->riding_count < count; b = next) {
		next = TAILQ_NEXT(b, dirty_entry);
		if (b->planned) /* its row is written anew */
			continue;
		was = b->i.version;
		err = wm_plan_put_row(p, &b->i, true);
		p->riding[p->riding_count] = (struct wm_riding){b, b->i.version};
		b->i.version = was; /* until that is stored */
		if (err == -ENOMEM)
			return -ENOMEM;
		TAILQ_REMOVE(&r->dirty, b, dirty_entry);
		b->dirty = false;
		b->riding = true;
		p->riding_count++;
	}
	return 0;
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_plan *wm_plan_new(struct wm_registry *r)
{
	struct wm_plan *p = calloc(1, sizeof(*p));

	if (!p)
		return NULL;
	p->r = r;
	TAILQ_INIT(&p->ops);
	STAILQ_INIT(&p->waiters);
	p->seen = wm_map_new(WM_TABLE_MAX);
	p->rows = wm_batch_new();
	p->given = p->given_last = r->given;
	p->seq = r->history.seq;
	if (p->seen && p->rows)
		return p;
	wm_plan_free(p);
	return NULL;
}

void wm_plan_free(struct wm_plan *p)
{
	struct wm_seen *s;
	struct wm_op *op;

	if (!p)
		return;
	release_room(p, 0);
	while ((s = p->log)) {
		p->log = s->older;
		free(s);
	}
	while ((op = TAILQ_FIRST(&p->ops))) {
		TAILQ_REMOVE(&p->ops, op, entry);
		wm_op_free(op);
	}
	wm_map_free(p->seen);
	wm_batch_free(p->rows);
	wm_plan_drop_drawn(p, 0);
	free(p->drawn);
	free(p->rooms);
	free(p->riding);
	free(p);
}
