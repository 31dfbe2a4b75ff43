/* SPDX-License-Identifier: Apache-2.0 */
/* registry.c - see registry.h: opening, closing, statuses, reading. Writes: batches.c. */
#include "foreign.h"
#include "restore_internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/err.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"
#include "userspace/model/validate.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CLOSE_ROUNDS_MAX 16   /* flushes at close: callbacks may submit again, but not for ever */
#define SMALL_RECORD_MAX 1024 /* octets of a service, label or meta record */

/* --- opening and closing --- */
int wm_registry_set_node_id(struct wm_registry *r, const char *id)
{
	const struct wm_node *self = r->self;
	const struct wm_node_draft d = {.id = id,
					.address = self->address,
					.meta = self->meta,
					.meta_count = self->meta_count,
					.tagged = self->tagged,
					.tagged_count = self->tagged_count};
	void *before = self->facts;

	if (wm_node_set_facts(r->self, &d))
		return -ENOMEM;
	free(before);
	return 0;
}

static int new_node_id(struct wm_registry *r)
{
	uint64_t a = wm_env_random64(r->env), b = wm_env_random64(r->env);
	char text[37];

	/* RFC 9562 version 4 */
	snprintf(text, sizeof(text), "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
		 (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff,
		 (unsigned)(0x8000 | ((b >> 48) & 0x3fff)),
		 (unsigned long long)(b & 0xffffffffffffull));
	return wm_registry_set_node_id(r, text);
}

static void release(struct wm_registry *r)
{
	struct wm_service *s;
	struct wm_service_spec *spec;
	struct wm_policy *p;
	struct wm_node *n;
	struct wm_op *op;
	size_t pos = 0;

	wm_history_done(&r->history); /* it stands within what is freed */
	TAILQ_CONCAT(&r->queue, &r->later, entry);
	while ((op = TAILQ_FIRST(&r->queue))) {
		TAILQ_REMOVE(&r->queue, op, entry);
		wm_op_free(op);
	}
	while (r->nodes && (n = wm_map_next(r->nodes, &pos)))
		wm_node_free(n);
	pos = 0;
	while (r->services && (s = wm_map_next(r->services, &pos)))
		wm_service_free(s);
	pos = 0;
	while (r->policies && (p = wm_map_next(r->policies, &pos)))
		wm_policy_free(p);
	wm_map_free(r->policies);
	pos = 0;
	while (r->specs && (spec = wm_map_next(r->specs, &pos)))
		wm_service_spec_free(spec);
	wm_map_free(r->specs);
	wm_map_free(r->nodes);
	wm_map_free(r->node_ids);
	wm_map_free(r->services);
	wm_vips_free(r->vips);
	wm_writer_free(r->writer);
	wm_store_close(r->store);
	wm_env_timer_free(r->status_timer);
	free(r->forgotten);
	wm_buf_done(&r->record);
	wm_buf_done(&r->small);
	free(r->datacenter);
	free(r->path);
	free(r);
}

/* A timer's: the turn that it brings does the rest. */
static void nothing(void *arg)
{
	(void)arg;
}

static int prepare(struct wm_registry *r, const struct wm_registry_config *c, struct wm_err *e)
{
	struct wm_node_draft facts = {.address = c->node_address};
	struct wm_pair *meta = NULL;
	int err;

	if (!c->node_name || strnlen(c->node_name, WM_NODE_NAME_MAX + 1) > WM_NODE_NAME_MAX)
		return wm_err_set(e, WM_E_INVALID, "node_name must have 1 to %d characters",
				  WM_NODE_NAME_MAX);
	TAILQ_INIT(&r->queue);
	TAILQ_INIT(&r->later);
	r->env = c->env;
	r->turn = c->turn;
	r->turn_arg = c->turn_arg;
	TAILQ_INIT(&r->dirty);
	STAILQ_INIT(&r->waiters);
	wm_buf_init(&r->record, WM_RECORD_MAX);
	wm_buf_init(&r->small, SMALL_RECORD_MAX);
	r->index = 1;
	r->reserved = c->path ? 0 : WM_INDEX_MAX;
	r->instances_max = c->instances_max;
	r->services_max = c->services_max;
	r->space.base = c->vip4_base;
	r->space.mask = c->vip4_mask;
	r->space.prefix = c->vip6_prefix;
	memset(&r->space.prefix.s6_addr[8], 0, 8);
	r->nodes_max = c->nodes_max;
	r->checks_max = c->checks_max ? c->checks_max : UINT32_MAX;
	r->sync = c->sync;
	r->status_delay_ms = c->status_delay_ms ? c->status_delay_ms : WM_REGISTRY_STATUS_DELAY_MS;
	r->tombstone_ttl_s = c->tombstone_ttl_s ? c->tombstone_ttl_s : WM_TOMBSTONE_TTL_S;
	if (c->status_delay_ms && c->wake) /* where there are turns */
		r->status_timer = wm_env_timer_new(r->env, nothing, NULL);
	r->datacenter = strdup(c->datacenter ? c->datacenter : "");
	r->path = c->path ? strdup(c->path) : NULL;
	r->nodes = wm_map_new(WM_TABLE_MAX);
	r->node_ids = wm_map_new(WM_TABLE_MAX);
	r->services = wm_map_new(WM_TABLE_MAX);
	r->policies = wm_map_new(WM_TABLE_MAX);
	r->specs = wm_map_new(WM_TABLE_MAX);
	r->vips = wm_vips_new(&r->space);
	if (wm_history_init(&r->history))
		return wm_err_set(e, -ENOMEM, "Out of memory");
	err = wm_node_meta_read(c->node_meta, &meta, &facts.meta_count, e);
	facts.meta = meta;
	if (!err)
		r->self = wm_node_new(c->node_name, &facts);
	wm_node_meta_free(meta, facts.meta_count);
	if (err)
		return err;
	if (!r->self || !r->datacenter || (c->path && !r->path) || !r->nodes || !r->node_ids ||
	    !r->services || !r->policies || !r->specs || !r->vips || wm_node_enter(r, r->self)) {
		wm_node_free(r->self); /* in no table yet */
		return wm_err_set(e, -ENOMEM, "Out of memory");
	}
	r->self->self = true;
	r->self->create_index = r->self->modify_index = r->self->index = 1;
	return 0;
}

int wm_registry_put_meta(struct wm_registry *r, uint64_t reserved, struct wm_err *e)
{
	const struct wm_record_meta m = wm_registry_meta(r, reserved);
	int err = wm_record_put_meta(&r->small, &m);

	if (err)
		return wm_err_set(e, err, "Not stored: out of memory; nothing was changed");
	return wm_store_put(r->store, WM_STORE_META, 0, r->small.data, r->small.len, e);
}

int wm_registry_put_service(struct wm_registry *r, const struct wm_lease *l, struct wm_err *e)
{
	const struct wm_record_service s = {l->name, l->vip4, l->vip6, l->create_index};
	int err = wm_record_put_service(&r->small, l->row, &s);

	if (err)
		return wm_err_set(e, err, "Not stored: out of memory; nothing was changed");
	return wm_store_put(r->store, WM_STORE_SERVICES, l->row, r->small.data, r->small.len, e);
}

/* Rows of a store of before there were versions. */
static int version_all(struct wm_registry *r, struct wm_err *e)
{
	uint64_t wall_ms = wm_env_wall_ms(r->env);
	struct wm_past *p, *next;
	int err = 0;

	for (p = TAILQ_FIRST(&r->history.all); p && !err; p = next) {
		struct wm_instance *i = wm_past_live(p);
		bool holder = i && !*i->name;

		next = TAILQ_NEXT(p, entry);
		if (!i || i->version.seq || !wm_peer_id_none(&i->version.writer))
			continue;
		i->version = wm_history_draw(&r->history, i->version.origin, r->epoch, wall_ms);
		if (r->sync && i->version.origin == WM_ORIGIN_SHARED)
			(void)wm_peer_id_parse(r->self->id, &i->version.writer);
		wm_history_log(&r->history, i);
		err = wm_registry_encode(r, i, true);
		if (err == WM_E_LIMIT) /* stays as it is stored */
			err = 0;
		else if (!err)
			err = wm_store_put(r->store, WM_STORE_INSTANCES,
					   holder ? i->node->row : i->row, r->record.data,
					   r->record.len, e);
	}
	r->unversioned = 0;
	return err;
}

/* What others know of this agent's node may be another since: it is told at each start. */
static int version_self(struct wm_registry *r, struct wm_err *e)
{
	struct wm_instance *i = r->self->holder;
	int err;

	i->version = wm_history_draw(&r->history, WM_ORIGIN_OWN, r->epoch, 0);
	wm_history_touch(&r->history, i, r->index);
	wm_history_log(&r->history, i);
	err = wm_registry_encode(r, i, true);
	if (err)
		return wm_err_set(e, err, "This agent's node is too large to be stored");
	return wm_store_put(r->store, WM_STORE_INSTANCES, WM_NODE_ROW, r->record.data,
			    r->record.len, e);
}

/* Has the memory what the store has? Rows of a version before, of another range of addresses or
 * another name of this node must be written before they are told of. */
static bool is_as_stored(const struct wm_registry *r)
{
	const struct wm_lease *l;
	size_t pos = 0;

	while ((l = wm_vips_next(r->vips, &pos)))
		if (l->unsaved)
			return false;
	return r->reserved && !r->epoch_before && !r->unversioned && !r->forgotten_count;
}

/* The first commit found no room. What is stored is served, as where the disk is full later: no
 * number is drawn and no write is taken before one is stored; that of this node is tried again. */
static int begin_full(struct wm_registry *r, const struct wm_version *self, uint64_t seq,
		      struct wm_err *e)
{
	struct wm_instance *i = r->self->holder;
	struct wm_err why = *e;
	int err = wm_store_begin_full(r->store, e);

	if (err)
		return err;
	r->history.seq = seq;
	i->version = *self;
	if (i->version.seq)
		wm_history_log(&r->history, i);
	wm_registry_mark_dirty(r, wm_box(i));
	wm_registry_not_stored(r, &why);
	*e = (struct wm_err){0};
	return 0;
}

/* The first commit: proves that the store can be written, and reserves indexes. */
static int first_commit(struct wm_registry *r, struct wm_err *e)
{
	const struct wm_version self = r->self->holder->version;
	uint64_t reserved = r->index + WM_INDEX_BLOCK, seq = r->history.seq;
	struct wm_lease *l;
	size_t pos = 0;
	bool same;
	int err;

	if (!r->store)
		return 0;
	same = is_as_stored(r);
	err = wm_registry_put_meta(r, reserved, e);
	while (!err && (l = wm_vips_next(r->vips, &pos))) {
		if (l->unsaved)
			err = wm_registry_put_service(r, l, e);
		l->unsaved = false;
	}
	if (!err && r->unversioned)
		err = version_all(r, e);
	for (size_t n = 0; !err && n < r->forgotten_count; n++)
		err = wm_store_del(r->store, WM_STORE_INSTANCES, r->forgotten[n], e);
	if (!err && r->sync)
		err = version_self(r, e);
	if (!err)
		err = wm_store_commit(r->store, e);
	if (err == -ENOSPC && same)
		return begin_full(r, &self, seq, e);
	if (!err)
		r->reserved = reserved;
	return err;
}

static uint32_t new_epoch(const struct wm_registry *r)
{
	uint32_t now = (uint32_t)wm_env_wall_s(r->env);

	return now > r->epoch_before ? now : r->epoch_before + 1;
}

uint32_t wm_registry_new_epoch(struct wm_registry *r, uint32_t above)
{
	struct wm_instance *i;
	size_t pos = 0;

	r->epoch_before = above > r->epoch ? above : r->epoch;
	r->epoch = new_epoch(r);
	/* the row that has it is written when numbers are about to be used up */
	if (r->reserved > r->given + WM_INDEX_BLOCK / 4)
		r->reserved = r->given + WM_INDEX_BLOCK / 4;
	wm_registry_mark_dirty(r, wm_box(r->self->holder));
	/* what others were told of in the log that ended, or was removed in it, is older than this
	 */
	while ((i = wm_node_next_instance(r->self, &pos)))
		if (i->version.origin == WM_ORIGIN_OWN)
			wm_registry_mark_dirty(r, wm_box(i));
	return r->epoch;
}

uint64_t wm_registry_log_seq(const struct wm_registry *r)
{
	return r->history.seq;
}

uint64_t wm_registry_stored_seq(const struct wm_registry *r)
{
	return r->history.stored;
}

int wm_registry_open(const struct wm_registry_config *c, struct wm_registry **ret, struct wm_err *e)
{
	struct wm_registry *r = calloc(1, sizeof(*r));
	uint64_t began = wm_env_ms(c->env), opened, recovered;
	int err;

	if (!r)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	TAILQ_INIT(&r->queue);
	TAILQ_INIT(&r->later);
	err = prepare(r, c, e);
	if (!err && c->path)
		err = wm_store_open(c->path, c->sync_off, &r->store, e);
	opened = wm_env_ms(c->env);
	if (!err && c->log_pages)
		wm_store_set_log(r->store, c->log_pages);
	if (!err)
		err = wm_registry_recover(r, e);
	recovered = wm_env_ms(c->env);
	if (!err && !*r->self->id && new_node_id(r))
		err = wm_err_set(e, -ENOMEM, "Out of memory");
	if (!err)
		err = wm_store_ready(r->store, e);
	r->given = r->history.floor = r->history.extinct = r->policies_index = r->index;
	r->history.stored = r->history.seq;
	r->history.run = wm_env_wall_ms(c->env) * WM_NUMBERS_PER_MS;
	if (!err && !r->epoch) /* a new log, or one of before there were any */
		r->epoch = new_epoch(r);
	if (!err)
		err = first_commit(r, e);
	if (!err && r->store) {
		r->threaded = c->wake != NULL;
		r->writer = wm_writer_new(r->store, c->wake, c->wake_arg);
		if (!r->writer)
			err = wm_err_set(e, -errno, "The store's thread cannot be started: %s",
					 strerror(errno));
	}
	if (!err)
		err = wm_restore_finish(r, e);
	r->stats.opened_ms = opened - began;
	r->stats.recovered_ms = recovered - opened;
	r->stats.ready_ms = wm_env_ms(c->env) - recovered;
	if (err) {
		release(r);
		return err;
	}
	*ret = r;
	return 0;
}

void wm_registry_set_judge(struct wm_registry *r,
			   int (*fn)(void *arg, const struct wm_instance_draft *d,
				     struct wm_err *e),
			   void *arg)
{
	r->judge = fn;
	r->judge_arg = arg;
}

void wm_registry_on_first_result(struct wm_registry *r,
				 void (*fn)(void *arg, const struct wm_check *c), void *arg)
{
	r->first_result = fn;
	r->first_result_arg = arg;
}

void wm_registry_on_output(struct wm_registry *r, void (*fn)(void *arg, const struct wm_check *c),
			   void *arg)
{
	r->output = fn;
	r->output_arg = arg;
}

void wm_registry_announce(struct wm_registry *r, const struct wm_change *c)
{
	if (c->kind == WM_CHANGE_STATUS || c->kind == WM_CHANGE_NODE ||
	    c->kind == WM_CHANGE_INSTANCE_UPSERT)
		wm_history_touch(&r->history, c->instance, c->index);
	if (c->kind == WM_CHANGE_SERVICE_DELETED)
		r->history.extinct = c->index;
	if (c->instance && c->instance->node->index < c->index)
		c->instance->node->index = c->index;
	for (unsigned n = 0; n < r->listeners_count; n++)
		r->listeners[n].fn(r->listeners[n].arg, c);
}

void wm_registry_close(struct wm_registry *r)
{
	struct wm_err e = {0};
	uint64_t failed;

	if (!r)
		return;
	r->turn = NULL; /* none follows */
	for (int n = 0; n < CLOSE_ROUNDS_MAX && (!TAILQ_EMPTY(&r->queue) || r->plan); n++)
		wm_registry_finish(r);
	while (!TAILQ_EMPTY(&r->later)) /* ends: each takes some of a node */
		wm_registry_finish(r);
	failed = r->stats.failed_commits;
	while (!TAILQ_EMPTY(&r->dirty) && r->stats.failed_commits == failed) {
		r->dirty_due_ms = 0; /* ends: each round stores some, or fails */
		wm_registry_finish(r);
	}
	wm_writer_free(r->writer);
	r->writer = NULL;
	/* best effort: without the first a write that was refused may be there after a restart,
	 * without the second the next start skips ahead to what was reserved */
	if (r->store && !wm_store_heal(r->store, &e) && !wm_registry_put_meta(r, r->given, &e))
		(void)wm_store_commit(r->store, &e);
	release(r);
}

/* --- statuses --- */
int wm_registry_set_status(struct wm_registry *r, struct wm_check *c, enum wm_status s,
			   const char *output)
{
	return wm_registry_report(r, c, s, output, !wm_instance_foreign(c->instance));
}

int wm_registry_report(struct wm_registry *r, struct wm_check *c, enum wm_status s,
		       const char *output, bool stored)
{
	struct wm_instance *i = c->instance;
	bool node = i == i->node->holder;
	struct wm_change change = {.kind = WM_CHANGE_STATUS, .instance = i, .check = c};
	enum wm_lifecycle state = wm_instance_state(i);
	bool begins, changed, first = !wm_cbox(c)->told;
	int err = 0;

	if (wm_box(i)->dead || (unsigned)s > WM_CRITICAL)
		return 0;
	if (output)
		err = wm_check_set_output(c, output);
	if (err < 0)
		return err;
	if (err && r->output)
		r->output(r->output_arg, c);
	wm_cbox(c)->told = true;
	begins = wm_instance_begins(i, s);
	/* a first result, or the last of a silent client: unknown is not unhealthy */
	changed = c->status != s || begins;
	if (!changed && (node || wm_instance_state(i) == state)) {
		if (first && s == WM_CRITICAL && r->first_result)
			r->first_result(r->first_result_arg, c);
		return 0;
	}
	c->status = s;
	i->status = wm_instance_effective(r, i);
	change.index = wm_registry_show(r, 0);
	c->modify_index = change.index;
	wm_box(i)->changed = change.index;
	if (stored)
		wm_registry_mark_dirty(r, wm_box(i));
	if (node) {
		wm_registry_node_changed(r, i->node, change.index, c, false);
		return changed;
	}
	i->service->index = change.index;
	change.service = i->service;
	wm_registry_announce(r, &change);
	return changed;
}

static struct wm_check *passive_new(struct wm_instance *i)
{
	const struct wm_check_draft d = {
		.kind = WM_CHECK_STATED,
		.notes = "Kept by Waymark: what this node sees of connects to the instance",
		.has_status = true,
		.status = WM_CRITICAL};
	char id[WM_CHECK_ID_MAX + 1];
	struct wm_check *c;

	snprintf(id, sizeof(id), WM_PASSIVE_CHECK "%s", i->id);
	c = wm_check_build(&d, id, "Passive health");
	if (c)
		c->instance = i;
	return c;
}
_Static_assert(sizeof(WM_PASSIVE_CHECK) + WM_INSTANCE_ID_MAX <= WM_CHECK_ID_MAX + 1,
	       "an id of every instance fits");

int wm_registry_set_passive(struct wm_registry *r, struct wm_instance *i, bool out,
			    const char *output)
{
	struct wm_change change = {.kind = WM_CHANGE_STATUS, .service = i->service, .instance = i};
	struct wm_check *c = i->passive;

	if (wm_box(i)->dead || !i->service || (!out && !c))
		return 0;
	if (!c)
		c = passive_new(i);
	if (!c)
		return -ENOMEM;
	i->passive = c;
	(void)wm_check_set_output(c, output);
	c->status = out ? WM_CRITICAL : WM_PASSING;
	change.check = c;
	change.index = wm_registry_show(r, 0);
	c->modify_index = change.index;
	if (!c->create_index)
		c->create_index = change.index;
	i->service->index = change.index;
	if (!out)
		i->passive = NULL; /* it is told that it is over, then it is no more */
	wm_registry_announce(r, &change);
	if (!out)
		wm_check_free(c);
	return 0;
}

bool wm_registry_set_band(struct wm_registry *r, struct wm_node *n, enum wm_band b)
{
	bool moves = n->band != b && (n->band == WM_BAND_NONE || n->band_seen == b);

	r->has_bands = true;
	n->band_seen = (uint8_t)b;
	if (moves)
		n->band = (uint8_t)b;
	return moves;
}

bool wm_registry_has_bands(const struct wm_registry *r)
{
	return r->has_bands;
}

/* --- reading --- */
struct wm_past *wm_registry_after(const struct wm_registry *r, uint64_t index, unsigned max)
{
	struct wm_past *p = TAILQ_LAST(&r->history.all, wm_pasts), *first = NULL;

	for (; p && p->index > index; p = TAILQ_PREV(p, wm_pasts, entry)) {
		if (!max--)
			return NULL;
		first = p;
	}
	return first;
}

bool wm_registry_remembers(const struct wm_registry *r, uint64_t index)
{
	return index >= r->history.floor && index <= r->index;
}

uint64_t wm_registry_extinct(const struct wm_registry *r)
{
	return r->history.extinct;
}

uint64_t wm_registry_index(const struct wm_registry *r)
{
	return r->index;
}

const char *wm_registry_datacenter(const struct wm_registry *r)
{
	return r->datacenter;
}

unsigned wm_registry_instances(const struct wm_registry *r)
{
	return r->instances_count;
}

unsigned wm_registry_checks(const struct wm_registry *r)
{
	return r->checks_count;
}

unsigned wm_registry_services(const struct wm_registry *r)
{
	return (unsigned)wm_map_len(r->services);
}

struct wm_service *wm_registry_service(const struct wm_registry *r, const char *name)
{
	char lower[WM_SERVICE_NAME_MAX];
	size_t n = 0;

	for (; name[n]; n++) {
		if (n == sizeof(lower))
			return NULL;
		lower[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] + 32 : name[n]);
	}
	return wm_map_get(r->services, lower, n);
}

static const struct wm_service *holder_of(const struct wm_registry *r, const struct wm_lease *l,
					  const char **ret_label)
{
	char service[WM_LABEL_KEY_MAX];

	*ret_label = "";
	if (!l)
		return NULL;
	*ret_label = wm_lease_label(l, service);
	return **ret_label && l->retired ? NULL : wm_registry_service(r, service);
}

const struct wm_service *wm_registry_service_at4(const struct wm_registry *r, struct in_addr a,
						 const char **ret_label)
{
	return holder_of(r, wm_vips_at4(r->vips, a), ret_label);
}

const struct wm_service *wm_registry_service_at6(const struct wm_registry *r,
						 const struct in6_addr *a, const char **ret_label)
{
	return holder_of(r, wm_vips_at6(r->vips, a), ret_label);
}

const struct wm_vip_space *wm_registry_vip_space(const struct wm_registry *r)
{
	return &r->space;
}

struct wm_service *wm_registry_next_service(const struct wm_registry *r, size_t *pos)
{
	return wm_map_next(r->services, pos);
}

int wm_registry_subscribe(struct wm_registry *r, wm_change_fn fn, void *arg)
{
	if (r->listeners_count == WM_REGISTRY_LISTENERS_MAX)
		return -ENOMEM;
	r->listeners[r->listeners_count++] = (struct wm_listener){fn, arg};
	return 0;
}

bool wm_registry_about(void *registry, struct wm_save_about *ret)
{
	const struct wm_registry *r = registry;

	/* what is being stored is saved with it */
	*ret = (struct wm_save_about){r->plan ? r->given : r->index, wm_vips_count(r->vips) +
									     r->instances_count +
									     wm_map_len(r->nodes)};
	return r->writer && !r->restoring;
}

struct wm_writer *wm_registry_writer(const struct wm_registry *r)
{
	return r->writer;
}

void wm_registry_stats(const struct wm_registry *r, struct wm_registry_stats *ret)
{
	struct wm_writer_stats w = {0};

	*ret = r->stats;
	if (r->writer) {
		const struct wm_saves *saves = wm_writer_saves(r->writer);

		wm_writer_stats(r->writer, &w);
		ret->saving = saves->count > 0;
		ret->save_rows = saves->rows;
		ret->save_rows_total = saves->rows_total;
	}
	ret->file_bytes = w.file_bytes;
	ret->store = w.store;
	ret->storing_ms = w.running_ms;
	ret->queued = r->queued;
}
