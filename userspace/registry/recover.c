/* SPDX-License-Identifier: Apache-2.0 */
/* recover.c - fills the registry from its store. Nothing is skipped and nothing is repaired: a row
 * that cannot be what was written refuses the whole file, so what was acknowledged is either there
 * or the operator is told. The one exception is not damage: when the ranges of virtual addresses
 * were configured anew, leases outside of them are given again. */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/err.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct moved { /* lease whose addresses left the configured ranges */
	struct moved *next;
	uint64_t row, create_index;
	char name[];
};

struct recovery {
	struct wm_registry *r;
	struct moved *moved;
	struct wm_buf copy; /* of a row: decoded strings point into it */
	struct wm_record_instance *decoded;
	struct wm_policy_draft policy; /* the same */
};

/* Copy a row's body where it can be decoded. @return 0 or the code of the damage. */
static int open_row(struct recovery *rc, enum wm_store_table t, enum wm_record_type type,
		    uint64_t row, const void *data, size_t len, struct wm_err *e)
{
	const char *why = "";
	int err = wm_record_open(data, len, row, type, &why);

	if (err)
		return wm_store_damaged(rc->r->store, err, t, row, why, e);
	wm_buf_reset(&rc->copy);
	if (!wm_buf_put(&rc->copy, (const char *)data + WM_RECORD_HEAD, len - WM_RECORD_HEAD))
		return wm_err_set(e, -ENOMEM, "Out of memory while reading the registry");
	return 0;
}

static int damaged(struct recovery *rc, enum wm_store_table t, uint64_t row, const char *why,
		   struct wm_err *e)
{
	return wm_store_damaged(rc->r->store, WM_E_STORE_DAMAGED, t, row, why, e);
}

static int enter_checks(struct wm_registry *r, const struct wm_node *node,
			const struct wm_instance *i)
{
	size_t before = wm_map_len(node->checks);
	int err = 0;

	for (unsigned n = 0; n < i->checks_count && !err; n++) {
		struct wm_check *c = i->checks[n];

		err = wm_map_put(node->checks, c->id, strlen(c->id), c, NULL);
	}
	wm_checks_recount(r, node, before);
	return err;
}

static bool known_checks(const struct wm_node *node, const struct wm_instance *i)
{
	for (unsigned n = 0; n < i->checks_count; n++) {
		if (wm_node_check(node, i->checks[n]->id))
			return true;
	}
	return false;
}

static int meta_row(void *arg, uint64_t row, const void *data, size_t len, struct wm_err *e)
{
	struct recovery *rc = arg;
	struct wm_record_meta m;
	int err = open_row(rc, WM_STORE_META, WM_RECORD_META, row, data, len, e);

	if (err)
		return err;
	if (wm_record_get_meta(rc->copy.data, rc->copy.len, &m) ||
	    m.reserved > WM_INDEX_MAX - WM_INDEX_BLOCK || !m.reserved)
		return damaged(rc, WM_STORE_META, row, "cannot be decoded", e);
	if (wm_registry_set_node_id(rc->r, m.node_id))
		return wm_err_set(e, -ENOMEM, "Out of memory while reading the registry");
	/* whether other agents are alive is not stored: what a client saw of them under the last
	 * index may be otherwise now, which a client that waits must see */
	rc->r->index = rc->r->reserved = m.reserved + (rc->r->sync ? 1 : 0);
	rc->r->epoch = m.epoch;
	if (rc->r->sync && m.node_name && strcmp(m.node_name, rc->r->self->name) != 0) {
		/* it is another node to others: so is its log */
		rc->r->epoch_before = m.epoch;
		rc->r->epoch = 0;
	}
	return 0;
}

static int remember_moved(struct recovery *rc, uint64_t row, const struct wm_record_service *s,
			  struct wm_err *e)
{
	size_t n = strlen(s->name) + 1;
	struct moved *m = calloc(1, sizeof(*m) + n);

	if (!m)
		return wm_err_set(e, -ENOMEM, "Out of memory while reading the registry");
	m->row = row;
	m->create_index = s->create_index;
	memcpy(m->name, s->name, n);
	m->next = rc->moved;
	rc->moved = m;
	return 0;
}

static int service_row(void *arg, uint64_t row, const void *data, size_t len, struct wm_err *e)
{
	struct recovery *rc = arg;
	struct wm_registry *r = rc->r;
	struct wm_record_service s;
	struct wm_lease *l;
	int err = open_row(rc, WM_STORE_SERVICES, WM_RECORD_SERVICE, row, data, len, e);

	if (err)
		return err;
	if (wm_record_get_service(rc->copy.data, rc->copy.len, &s))
		return damaged(rc, WM_STORE_SERVICES, row, "cannot be decoded", e);
	r->service_row = row;
	err = wm_vips_restore(r->vips, s.name, s.vip4, s.vip6, &l);
	if (err == WM_E_INVALID)
		return remember_moved(rc, row, &s, e);
	if (err == WM_E_CONFLICT)
		return damaged(rc, WM_STORE_SERVICES, row, "repeats a name or an address", e);
	if (err)
		return wm_err_set(e, err, "Out of memory while reading the registry");
	l->row = row;
	l->create_index = s.create_index;
	wm_lease_retire(r->vips,
			l); /* until an instance of it comes up; rows are in order of age */
	return 0;
}

/* Leases outside the configured ranges get addresses inside, written once all was read. */
static int give_again(struct recovery *rc, struct wm_err *e)
{
	struct wm_lease *l;
	int err = 0;

	for (struct moved *m = rc->moved; m && !err; m = m->next) {
		err = wm_vips_give(rc->r->vips, m->name, &l);
		if (!err) {
			l->row = m->row;
			l->create_index = m->create_index;
			l->unsaved = true;
			wm_lease_retire(rc->r->vips, l);
		} else {
			wm_err_set(e, err,
				   "The range of virtual addresses is too small for the services "
				   "that are stored");
		}
	}
	return err;
}

/* Numbers go on above what is stored. */
static void above(struct wm_registry *r, const struct wm_version *v)
{
	struct wm_history *h = &r->history;

	if (v->origin == WM_ORIGIN_OWN && v->epoch == r->epoch && v->seq > h->seq)
		h->seq = v->seq;
	if (v->origin == WM_ORIGIN_SHARED && v->seq > h->clock)
		h->clock = v->seq;
}

/* What was stored before there were versions, or is of a log that ended, gets one with the first
 * commit. */
static void take_version(struct wm_registry *r, struct wm_instance *i, const struct wm_version *v)
{
	enum wm_version_origin o = i->version.origin;

	i->version = *v;
	i->version.origin = o;
	if (o == WM_ORIGIN_OWN && v->epoch != r->epoch)
		i->version.seq = 0;
	if (o == WM_ORIGIN_SHARED && r->sync && v->seq && wm_peer_id_none(&v->writer))
		(void)wm_peer_id_parse(r->self->id,
				       &i->version.writer); /* written without others */
	above(r, &i->version);
	/* who wrote a node that was only heard of is told by its number: none */
	r->unversioned += !i->version.seq && wm_peer_id_none(&i->version.writer);
	wm_history_touch(&r->history, i, r->index);
}

/* The service of a recovered instance: made by the first one of it. */
static struct wm_service *service_of(struct wm_registry *r, const char *name, int *ret_err)
{
	struct wm_service *s = wm_map_get(r->services, name, strlen(name));
	struct wm_lease *l;

	if (s)
		return s;
	l = wm_vips_find(r->vips, name);
	*ret_err = l ? -ENOMEM : WM_E_STORE_DAMAGED;
	s = l ? wm_service_new(l) : NULL;
	if (!s)
		return NULL;
	if (wm_map_put(r->services, s->name, strlen(s->name), s, NULL)) {
		wm_service_free(s);
		return NULL;
	}
	wm_lease_revive(r->vips, l);
	s->index = r->index;
	s->fresh = false;
	return s;
}

static int no_memory(struct wm_err *e)
{
	return wm_err_set(e, -ENOMEM, "Out of memory while reading the registry");
}

/* A foreign node's check that says whether its agent is alive, which is not stored. */
static int add_serf(struct wm_registry *r, struct wm_instance *i)
{
	struct wm_check **all;

	all = realloc(i->checks, (i->checks_count + 1) * sizeof(struct wm_check *));
	if (!all)
		return -ENOMEM;
	i->checks = all;
	all[i->checks_count] = wm_serf_new(r, &i->version.writer);
	if (!all[i->checks_count])
		return -ENOMEM;
	all[i->checks_count]->create_index = all[i->checks_count]->modify_index = r->index;
	all[i->checks_count++]->instance = i;
	return 0;
}

/* A node's checks stand in a row before its instances, so that what these make of them is known. */
static int take_holder(struct recovery *rc, struct wm_node *node, uint64_t row, bool foreign,
		       struct wm_err *e)
{
	struct wm_instance *i = wm_record_build(rc->decoded);

	if (!i)
		return no_memory(e);
	if (known_checks(node, i)) {
		wm_instance_free(i, true);
		return damaged(rc, WM_STORE_INSTANCES, row, "repeats an id", e);
	}
	wm_history_leave(&rc->r->history, node->holder);
	wm_instance_free(node->holder, true);
	node->holder = i;
	i->node = node;
	i->version.origin = node->self ? WM_ORIGIN_OWN
			    : foreign  ? WM_ORIGIN_FOREIGN
				       : WM_ORIGIN_SHARED;
	take_version(rc->r, i, &rc->decoded->version);
	if (foreign && rc->r->sync && !wm_instance_of_source(i) && add_serf(rc->r, i))
		return no_memory(e);
	i->status = wm_instance_worst(i);
	return enter_checks(rc->r, node, i) ? no_memory(e) : 0;
}

static int self_row(struct recovery *rc, uint64_t row, struct wm_err *e)
{
	if (wm_record_get_node(rc->copy.data, rc->copy.len, rc->decoded))
		return damaged(rc, WM_STORE_INSTANCES, row, "cannot be decoded", e);
	return take_holder(rc, rc->r->self, row, false, e);
}

static int node_row(struct recovery *rc, uint64_t row, bool foreign, struct wm_err *e)
{
	struct wm_record_instance *d = rc->decoded;
	struct wm_node *n, *other;

	if (wm_record_get_catalog_node(rc->copy.data, rc->copy.len, d))
		return damaged(rc, WM_STORE_INSTANCES, row, "cannot be decoded", e);
	rc->r->instance_row = row;
	other = wm_find_node(rc->r, d->node_name);
	if (other && other->self)
		return wm_err_set(e, WM_E_CONFLICT,
				  "node.name: \"%.64s\" is a node of the catalog; give this agent "
				  "another name, or deregister that node under its former one",
				  d->node_name);
	if (other)
		return damaged(rc, WM_STORE_INSTANCES, row, "repeats a node", e);
	n = wm_node_new(d->node_name, &d->node);
	if (!n)
		return no_memory(e);
	n->row = row;
	n->create_index = d->node_create_index;
	n->modify_index = d->node_modify_index;
	n->index = rc->r->index;
	if (wm_node_enter(rc->r, n)) {
		wm_node_free(n);
		return no_memory(e);
	}
	return take_holder(rc, n, row, foreign, e);
}

static int enter(struct wm_registry *r, struct wm_node *node, struct wm_instance *i)
{
	int err = wm_map_put(node->instances, i->id, strlen(i->id), i, NULL);

	r->instances_count += !err;
	return err ? err : enter_checks(r, node, i);
}

/* What others said, and there are no others any more: its row goes with the first commit. */
static int forget_row(struct recovery *rc, uint64_t row, struct wm_err *e)
{
	struct wm_registry *r = rc->r;
	size_t cap = r->forgotten_cap ? r->forgotten_cap * 2 : 64;
	uint64_t *next;

	r->instance_row = row > r->instance_row ? row : r->instance_row;
	if (r->forgotten_count == r->forgotten_cap) {
		next = realloc(r->forgotten, cap * sizeof(*next));
		if (!next)
			return no_memory(e);
		r->forgotten = next;
		r->forgotten_cap = cap;
	}
	r->forgotten[r->forgotten_count++] = row;
	return 0;
}

static int instance_row(struct recovery *rc, uint64_t row, enum wm_version_origin o,
			struct wm_err *e)
{
	bool catalog = o != WM_ORIGIN_OWN;
	struct wm_registry *r = rc->r;
	struct wm_record_instance *d = rc->decoded;
	struct wm_node *node = r->self;
	struct wm_instance *i;
	struct wm_service *s;
	int err;

	err = catalog ? wm_record_get_catalog_instance(rc->copy.data, rc->copy.len, d)
		      : wm_record_get_instance(rc->copy.data, rc->copy.len, d);
	if (err)
		return damaged(rc, WM_STORE_INSTANCES, row, "cannot be decoded", e);
	if (o == WM_ORIGIN_FOREIGN && !r->sync && !wm_peer_id_is_source(&d->version.writer))
		return forget_row(rc, row, e);
	if (catalog && *d->node_name)
		node = wm_find_node(r, d->node_name);
	if (!node)
		return damaged(rc, WM_STORE_INSTANCES, row, "names a node that has no row", e);
	i = wm_record_build(d);
	if (!i)
		return no_memory(e);
	i->version.origin = o;
	i->create_index = d->create_index;
	i->modify_index = d->modify_index;
	i->row = r->instance_row = row;
	take_version(r, i, &d->version);
	wm_instance_bind(node, i);
	i->status = wm_instance_effective(r, i);
	if (wm_node_instance(node, i->id) || known_checks(node, i)) {
		wm_instance_free(i, true);
		return damaged(rc, WM_STORE_INSTANCES, row, "repeats an id", e);
	}
	s = service_of(r, wm_box(i)->service_name, &err);
	if (s)
		err = wm_service_add(s, i);
	if (!s || err) {
		wm_instance_free(i, true);
		return err == WM_E_STORE_DAMAGED ? damaged(rc, WM_STORE_INSTANCES, row,
							   "names a service that has no row", e)
						 : no_memory(e);
	}
	/* on failure it is freed with its node */
	return enter(r, node, i) ? no_memory(e) : 0;
}

static int policy_row(struct recovery *rc, uint64_t row, struct wm_err *e)
{
	struct wm_policy_draft *d = &rc->policy;
	struct wm_registry *r = rc->r;
	struct wm_policy *p;
	int err;

	if (wm_record_get_policy(rc->copy.data, rc->copy.len, d) || !d->p.version.seq)
		return damaged(rc, WM_STORE_INSTANCES, row, "cannot be decoded", e);
	p = wm_policy_copy(&d->p);
	if (!p)
		return no_memory(e);
	p->row = r->instance_row = row;
	if (r->sync && wm_peer_id_none(&p->version.writer)) /* written without others */
		(void)wm_peer_id_parse(r->self->id, &p->version.writer);
	above(r, &p->version);
	err = wm_policy_enter(r, p);
	if (!err)
		err = wm_labels_recover(r, p);
	return err == WM_E_CONFLICT ? damaged(rc, WM_STORE_INSTANCES, row, "repeats a policy", e)
	       : err		    ? no_memory(e)
				    : 0;
}

static int any_row(void *arg, uint64_t row, const void *data, size_t len, struct wm_err *e)
{
	struct recovery *rc = arg;
	enum wm_record_type type = wm_record_type_of(data, len);
	int err;

	/* what cannot stand there is judged as what should */
	if (row == WM_NODE_ROW)
		type = WM_RECORD_NODE;
	else if (type != WM_RECORD_POLICY && type != WM_RECORD_CATALOG_NODE &&
		 type != WM_RECORD_CATALOG_INSTANCE && type != WM_RECORD_FOREIGN_NODE &&
		 type != WM_RECORD_FOREIGN_INSTANCE)
		type = WM_RECORD_INSTANCE;
	err = open_row(rc, WM_STORE_INSTANCES, type, row, data, len, e);
	if (err)
		return err;
	if (type == WM_RECORD_NODE)
		return self_row(rc, row, e);
	if (type == WM_RECORD_POLICY)
		return policy_row(rc, row, e);
	if (type == WM_RECORD_CATALOG_NODE || type == WM_RECORD_FOREIGN_NODE)
		return node_row(rc, row, type == WM_RECORD_FOREIGN_NODE, e);
	return instance_row(rc, row,
			    type == WM_RECORD_INSTANCE		 ? WM_ORIGIN_OWN
			    : type == WM_RECORD_CATALOG_INSTANCE ? WM_ORIGIN_SHARED
								 : WM_ORIGIN_FOREIGN,
			    e);
}

static int tombstone_row(void *arg, uint64_t row, const void *data, size_t len, struct wm_err *e)
{
	struct recovery *rc = arg;
	struct wm_history *h = &rc->r->history;
	struct wm_node node = {0};
	struct wm_record_tombstone d;
	struct wm_tombstone *t;
	int err = open_row(rc, WM_STORE_TOMBSTONES, WM_RECORD_TOMBSTONE, row, data, len, e);

	if (err)
		return err;
	if (wm_record_get_tombstone(rc->copy.data, rc->copy.len, &d))
		return damaged(rc, WM_STORE_TOMBSTONES, row, "cannot be decoded", e);
	if (d.version.origin == WM_ORIGIN_OWN && d.version.epoch != rc->r->epoch)
		return 0; /* of a log that ended */
	if (d.version.origin == WM_ORIGIN_FOREIGN && !rc->r->sync)
		return 0; /* of others, who are no more; it is told to nobody */
	node.folded = rc->copy.data + (d.node - rc->copy.data);
	t = wm_tombstone_new(
		&(struct wm_instance){.id = rc->copy.data + (d.id - rc->copy.data),
				      .name = rc->copy.data + (d.service - rc->copy.data),
				      .version = d.version,
				      .node = &node},
		row, d.semver);
	if (!t || wm_history_reserve(h)) {
		free(t);
		return no_memory(e);
	}
	t->when_s = d.when_s;
	/* without a number it is not looked for a place in the log, which is sorted as a whole */
	t->version.seq = 0;
	wm_history_bury(h, t, rc->r->index);
	t->version = d.version;
	wm_map_unreserve(h->by_key, 1);
	above(rc->r, &d.version);
	return 0;
}

/* The log of an origin is in the order of its numbers. They are sorted beside the words, which lie
 * all over memory. */
struct numbered {
	uint64_t seq;
	struct wm_past *word;
};

static int by_number(const void *a, const void *b)
{
	uint64_t m = ((const struct numbered *)a)->seq, n = ((const struct numbered *)b)->seq;

	return m < n ? -1 : m > n;
}

static int sort_logs(struct wm_history *h)
{
	struct wm_past *p;
	struct numbered *all;
	size_t count = 0, n = 0;
	bool sorted = true;

	TAILQ_FOREACH (p, &h->all, entry)
		count++;
	all = calloc(count + 1, sizeof(*all));
	if (!all)
		return -ENOMEM;
	TAILQ_FOREACH (p, &h->all, entry) {
		const struct wm_version *v = wm_past_version(p);

		if (v->origin != WM_ORIGIN_OWN || !v->seq)
			continue;
		all[n] = (struct numbered){v->seq, p};
		sorted &= !n || all[n - 1].seq <= v->seq;
		n++;
	}
	if (!sorted)
		qsort(all, n, sizeof(*all), by_number);
	for (size_t k = 0; k < n; k++)
		wm_history_log_word(h, all[k].word);
	free(all);
	return 0;
}

static void drop_checks(struct wm_registry *r, struct wm_node *n)
{
	struct wm_instance *i = n->holder;
	size_t before = wm_map_len(n->checks);

	for (unsigned k = 0; k < i->checks_count; k++) {
		wm_map_del(n->checks, i->checks[k]->id, strlen(i->checks[k]->id));
		wm_check_free(i->checks[k]);
	}
	i->checks_count = 0;
	i->status = WM_PASSING;
	wm_checks_recount(r, n, before);
}

/* Without others a foreign node is the catalog's if something of it is there, and else goes. */
static int forget_nodes(struct recovery *rc, struct wm_err *e)
{
	struct wm_registry *r = rc->r;
	struct wm_past *p, *next;

	for (p = TAILQ_FIRST(&r->history.all); p; p = next) {
		struct wm_instance *i = wm_past_live(p);
		struct wm_node *n = i ? i->node : NULL;

		next = TAILQ_NEXT(p, entry);
		if (!i || !wm_instance_foreign(i) || wm_instance_of_source(i))
			continue;
		i->version = (struct wm_version){.origin = WM_ORIGIN_SHARED};
		r->unversioned++;
		drop_checks(r, n); /* nobody probes them, least of all this agent */
		if (wm_map_len(n->instances))
			continue;
		if (forget_row(rc, n->row, e))
			return e->code;
		wm_history_leave(&r->history, i);
		wm_node_leave(r, n);
		wm_node_free(n);
	}
	return 0;
}

int wm_registry_recover(struct wm_registry *r, struct wm_err *e)
{
	struct recovery rc = {.r = r};
	int err;

	if (!r->store)
		return 0;
	rc.decoded = calloc(1, sizeof(*rc.decoded));
	if (!rc.decoded)
		return wm_err_set(e, -ENOMEM, "Out of memory while reading the registry");
	wm_buf_init(&rc.copy, WM_RECORD_MAX);
	err = wm_store_walk(r->store, WM_STORE_META, meta_row, &rc, e);
	if (!err)
		err = wm_store_walk(r->store, WM_STORE_SERVICES, service_row, &rc, e);
	/* rows but no meta row: the first commit writes it, so this cannot have been written */
	if (!err && r->service_row && !r->reserved)
		err = damaged(&rc, WM_STORE_META, 0, "is missing", e);
	if (rc.moved && !err)
		err = give_again(&rc, e);
	while (rc.moved) {
		struct moved *m = rc.moved;

		rc.moved = m->next;
		free(m);
	}
	if (!err)
		err = wm_store_walk(r->store, WM_STORE_INSTANCES, any_row, &rc, e);
	if (!err)
		err = wm_store_walk(r->store, WM_STORE_TOMBSTONES, tombstone_row, &rc, e);
	if (!err && sort_logs(&r->history))
		err = no_memory(e);
	if (!err && !r->sync)
		err = forget_nodes(&rc, e);
	free(rc.decoded);
	wm_buf_done(&rc.copy);
	return err;
}
