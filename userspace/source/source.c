/* SPDX-License-Identifier: Apache-2.0 */
/* source.c - sources, their nodes, services and scopes, how they are; see source.h. */
#include "source.h"

#include "source_internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/log.h"
#include "userspace/model/scope.h"
#include "userspace/model/spec.h"
#include "userspace/model/validate.h"
#include "userspace/registry/foreign.h"
#include "userspace/store/record.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BRAKE_PERCENT 30
#define BRAKE_LEAST   10
#define BRAKE_HOLD_MS (10 * 60 * 1000)

const char *wm_source_state_str(enum wm_source_state st)
{
	static const char *const texts[] = {
#define X(symbol, text, means) [WM_SOURCE_##symbol] = text,
		WM_SOURCE_STATES(X)
#undef X
	};

	return texts[st];
}

const char *wm_source_state_means(enum wm_source_state st)
{
	static const char *const texts[] = {
#define X(symbol, text, means) [WM_SOURCE_##symbol] = (means),
		WM_SOURCE_STATES(X)
#undef X
	};

	return texts[st];
}

/* --- names ------------------------------------------------------------------------------------ */
/* A name that is too long for the registry ends with a hash of it. */
void wm_source_node_name(const struct wm_source *s, const char *node,
			 char ret[static WM_NODE_NAME_MAX + 1])
{
	int n = snprintf(ret, WM_NODE_NAME_MAX + 1, "%s-%s", s->prefix, node);

	if (n > WM_NODE_NAME_MAX)
		snprintf(ret + WM_NODE_NAME_MAX - 17, 18, "-%016llx",
			 (unsigned long long)wm_hash_stable(node, strlen(node)));
}

static size_t fold(char *to, size_t size, const char *from, size_t len)
{
	size_t n = len < size ? len : size - 1;

	for (size_t k = 0; k < n; k++)
		to[k] = (char)tolower((unsigned char)from[k]);
	to[n] = '\0';
	return n;
}

/* --- nodes and items -------------------------------------------------------------------------- */
struct wm_source_node *wm_source_find_node(const struct wm_source *s, const char *name)
{
	char folded[WM_NODE_NAME_MAX + 1];
	size_t n = fold(folded, sizeof(folded), name, strlen(name));

	return wm_map_get(s->nodes, folded, n);
}

struct wm_source_node *wm_source_add_node(struct wm_source *s, const char *name)
{
	size_t len = strlen(name) + 1;
	struct wm_source_node *n = calloc(1, sizeof(*n) + 2 * len);

	if (!n)
		return NULL;
	LIST_INIT(&n->items);
	memcpy(n->name, name, len);
	n->folded = n->name + len;
	wm_node_fold(n->folded, name);
	wm_peer_id_source(s->name, n->folded, &n->id);
	if (wm_map_put(s->nodes, n->folded, len - 1, n, NULL)) {
		free(n);
		return NULL;
	}
	n->self = wm_source_add(s, n, "", NULL);
	if (n->self)
		return n;
	(void)wm_map_del(s->nodes, n->folded, len - 1);
	free(n);
	return NULL;
}

#define PLACE sizeof(void *) /* octets of a node's place in memory */
/* The key of an item: its node's place in memory, and its id. */
static size_t key_of(const struct wm_source_node *n, const char *id,
		     char ret[static PLACE + WM_INSTANCE_ID_MAX + 1])
{
	size_t len = strnlen(id, WM_INSTANCE_ID_MAX);

	memcpy(ret, &n, PLACE);
	memcpy(ret + PLACE, id, len);
	return PLACE + len;
}

struct wm_source_item *wm_source_find(const struct wm_source *s, const struct wm_source_node *n,
				      const char *id)
{
	char key[PLACE + WM_INSTANCE_ID_MAX + 1];

	return wm_map_get(s->items, key, key_of(n, id, key));
}

struct wm_source_item *wm_source_add(struct wm_source *s, struct wm_source_node *n, const char *id,
				     const char *service)
{
	size_t len = strlen(id) + 1;
	struct wm_source_item *i = calloc(1, sizeof(*i) + len);

	if (!i)
		return NULL;
	i->node = n;
	memcpy(i->id, id, len);
	if (service) {
		i->service = wm_source_service_of(s, service, true);
		if (!i->service) {
			free(i);
			return NULL;
		}
	}
	if (wm_map_put(s->items, &i->node, PLACE + len - 1, i, NULL)) {
		if (i->service)
			wm_source_service_trim(s, i->service);
		free(i);
		return NULL;
	}
	i->seen = s->list;
	if (i->service) {
		i->service->instances++;
		s->instances++;
		LIST_INSERT_HEAD(&n->items, i, node_entry);
	}
	return i;
}

void wm_source_free_object(const struct wm_source_item *i, struct wm_instance *object)
{
	struct wm_node *n = wm_source_as_node(i, object);

	wm_instance_free(n ? NULL : object, true);
	wm_node_free(n);
}

void wm_source_forget_want(struct wm_source_item *i)
{
	wm_source_free_object(i, i->want);
	i->want = NULL;
}

static void free_item(struct wm_source_item *i)
{
	wm_source_forget_want(i);
	wm_source_free_object(i, i->flying);
	free(i);
}

void wm_source_drop(struct wm_source *s, struct wm_source_item *i)
{
	struct wm_source_node *n = i->node;
	struct wm_source_service *v = i->service;

	wm_source_unqueue(s, i);
	wm_source_unhold(s, i);
	(void)wm_map_del(s->items, &i->node, PLACE + strlen(i->id));
	s->usable -= i->usable && !i->gone;
	if (v)
		LIST_REMOVE(i, node_entry);
	free_item(i);
	if (!v) {
		(void)wm_map_del(s->nodes, n->folded, strlen(n->folded));
		free(n);
		return;
	}
	v->instances--;
	s->instances--;
	wm_source_service_trim(s, v);
	if (LIST_EMPTY(&n->items) && (n->gone || !n->self->told))
		wm_source_remove(s, n->self);
}

/* --- services and scopes ---------------------------------------------------------------------- */
static struct wm_source_scope *scope_of(struct wm_source *s, const char *name, size_t len, bool add)
{
	char folded[WM_SERVICE_NAME_MAX + 1];
	size_t n = fold(folded, sizeof(folded), name, len);
	struct wm_source_scope *x = wm_map_get(s->scopes, folded, n);

	if (x || !add)
		return x;
	x = calloc(1, sizeof(*x) + n + 1);
	if (!x)
		return NULL;
	memcpy(x->name, folded, n + 1);
	if (!wm_map_put(s->scopes, x->name, n, x, NULL))
		return x;
	free(x);
	return NULL;
}

static void scope_trim(struct wm_source *s, struct wm_source_scope *x)
{
	if (x->services || x->said)
		return;
	(void)wm_map_del(s->scopes, x->name, strlen(x->name));
	free(x);
}

struct wm_source_service *wm_source_service_of(struct wm_source *s, const char *name, bool add)
{
	char folded[WM_SERVICE_NAME_MAX + 1];
	size_t n = fold(folded, sizeof(folded), name, strlen(name)), scope = wm_scope_len(folded);
	struct wm_source_service *v = wm_map_get(s->services, folded, n);
	struct wm_source_scope *x = NULL;

	if (v || !add)
		return v;
	v = calloc(1, sizeof(*v) + n + 1);
	if (v)
		memcpy(v->name, folded, n + 1);
	if (v && scope)
		x = scope_of(s, folded, scope, true);
	if (!v || (scope && !x) || wm_map_put(s->services, v->name, n, v, NULL)) {
		if (x)
			scope_trim(s, x);
		free(v);
		return NULL;
	}
	if (x)
		x->services++;
	return v;
}

void wm_source_service_trim(struct wm_source *s, struct wm_source_service *v)
{
	size_t n = wm_scope_len(v->name);
	struct wm_source_scope *x = n ? scope_of(s, v->name, n, false) : NULL;

	if (v->instances || v->spec)
		return;
	if (x) {
		x->services--;
		scope_trim(s, x);
	}
	(void)wm_map_del(s->services, v->name, strlen(v->name));
	free(v);
}

int wm_source_move(struct wm_source *s, struct wm_source_item *i, const char *service)
{
	struct wm_source_service *to = wm_source_service_of(s, service, true), *was = i->service;

	if (!to)
		return -ENOMEM;
	i->service = to;
	to->instances++;
	was->instances--;
	wm_source_service_trim(s, was);
	return 0;
}

int wm_source_scope(struct wm_source *s, const char *scope, bool there)
{
	struct wm_source_scope *x;

	if (s->alien)
		return WM_E_CONFLICT;
	if (!wm_scope_valid(scope))
		return WM_E_INVALID;
	x = scope_of(s, scope, strlen(scope), there);
	if (!x)
		return there ? -ENOMEM : 0;
	x->said = there;
	x->seen = s->list;
	x->said_in = s->scopes_list;
	scope_trim(s, x);
	return 0;
}

void wm_source_scopes_begin(struct wm_source *s)
{
	s->scopes_list++;
}

void wm_source_scopes_end(struct wm_source *s)
{
	struct wm_source_scope *x;
	size_t pos = 0;

	while (!s->alien && (x = wm_map_next(s->scopes, &pos))) {
		if (x->said && x->said_in != s->scopes_list)
			(void)wm_source_scope(s, x->name, false);
	}
}

const char *wm_sources_scope_owner(const struct wm_sources *a, const char *scope, size_t len)
{
	struct wm_source *s;

	if (!a || !len || len > WM_SERVICE_NAME_MAX)
		return NULL;
	TAILQ_FOREACH (s, &a->sources, entry) {
		if (scope_of(s, scope, len, false))
			return s->name;
	}
	return NULL;
}

int wm_sources_judge(const struct wm_sources *a, const struct wm_instance_draft *d,
		     struct wm_err *e)
{
	size_t len = d->name ? wm_scope_len(d->name) : 0;
	const char *owner = len ? wm_sources_scope_owner(a, d->name, len) : NULL;

	if (!owner)
		return 0;
	return wm_err_set(
		e, WM_E_INVALID,
		"Service \"%.64s\": the namespace \"%.*s\" is of the source \"%s\", which "
		"alone says what is in it",
		d->name, (int)len, d->name, owner);
}

const char *wm_sources_node_owner(const struct wm_sources *a, const struct wm_peer_id *id,
				  const char *node)
{
	char folded[WM_NODE_NAME_MAX + 1];
	struct wm_peer_id is;
	struct wm_source *s;

	if (!a || !wm_peer_id_is_source(id))
		return NULL;
	fold(folded, sizeof(folded), node, strlen(node));
	TAILQ_FOREACH (s, &a->sources, entry) {
		wm_peer_id_source(s->name, folded, &is);
		if (wm_peer_id_same(&is, id))
			return s->name;
	}
	return NULL;
}

/* --- what an earlier run left ----------------------------------------------------------------- */
static int take_up_node(struct wm_source *s, const struct wm_node *n)
{
	struct wm_source_node *to = wm_source_add_node(s, n->name);
	struct wm_instance *i;
	size_t pos = 0;

	if (!to)
		return -ENOMEM;
	to->self->stored = true;
	to->self->told = n->holder->version.seq;
	while ((i = wm_node_next_instance(n, &pos))) {
		struct wm_source_item *x;

		if (!wm_instance_foreign(i)) /* the catalog's */
			continue;
		x = wm_source_add(s, to, i->id, i->name);
		if (!x)
			return -ENOMEM;
		x->stored = x->came = true;
		x->usable = wm_instance_usable(i);
		s->usable += x->usable;
	}
	return 0;
}

static int take_up(struct wm_source *s)
{
	const struct wm_node *n;
	struct wm_peer_id is;
	size_t pos = 0;
	int err = 0;

	while (!err && (n = wm_registry_next_node(s->all->c.registry, &pos))) {
		const struct wm_peer_id *id = &n->holder->version.writer;

		if (!wm_instance_foreign(n->holder) || !wm_peer_id_is_source(id))
			continue;
		wm_peer_id_source(s->name, n->folded, &is);
		if (wm_peer_id_same(&is, id))
			err = take_up_node(s, n);
	}
	return err;
}

/* --- life ------------------------------------------------------------------------------------- */
void wm_source_free(struct wm_source *s)
{
	struct wm_source_batch *b;
	struct wm_source_item *i;
	size_t pos = 0;

	if (!s)
		return;
	if (s->keep_armed)
		wm_source_keep_now(s);
	LIST_FOREACH (b, &s->batches, entry)
		b->s = NULL; /* its answer is to come */
	while (s->items && (i = wm_map_next(s->items, &pos)))
		free_item(i);
	wm_map_free(s->items);
	wm_map_free_values(s->nodes);
	wm_map_free_values(s->services);
	wm_map_free_values(s->scopes);
	wm_env_timer_free(s->write_timer);
	wm_env_timer_free(s->hold_timer);
	wm_env_timer_free(s->keep_timer);
	wm_buf_done(&s->keeping);
	wm_buf_done(&s->record);
	wm_buf_done(&s->records);
	TAILQ_REMOVE(&s->all->sources, s, entry);
	free(s);
}

static bool ready(struct wm_source *s)
{
	const struct wm_env *env = s->all->c.env;

	TAILQ_INIT(&s->queue);
	TAILQ_INIT(&s->held);
	LIST_INIT(&s->batches);
	wm_buf_init(&s->keeping, WM_SOURCE_FILE_MAX);
	wm_buf_init(&s->record, WM_RECORD_MAX);
	wm_buf_init(&s->records, (size_t)WM_SOURCE_STEP * WM_RECORD_MAX);
	s->nodes = wm_map_new(WM_SOURCE_ITEMS_MAX);
	s->items = wm_map_new(WM_SOURCE_ITEMS_MAX);
	s->services = wm_map_new(WM_SOURCE_ITEMS_MAX);
	s->scopes = wm_map_new(WM_SOURCE_ITEMS_MAX);
	s->write_timer = wm_env_timer_new(env, wm_source_on_write, s);
	s->hold_timer = wm_env_timer_new(env, wm_source_on_hold, s);
	s->keep_timer = wm_env_timer_new(env, wm_source_on_keep, s);
	return s->nodes && s->items && s->services && s->scopes && s->write_timer &&
	       s->hold_timer && s->keep_timer && !take_up(s);
}

int wm_source_new(struct wm_sources *a, const struct wm_source_config *c, struct wm_source **ret,
		  struct wm_err *e)
{
	struct wm_source *s;

	if (!wm_label_valid(c->name) || strlen(c->name) > WM_SOURCE_NAME_MAX ||
	    !wm_label_valid(c->prefix) || strlen(c->prefix) > WM_SOURCE_PREFIX_MAX)
		return wm_err_set(e, WM_E_INVALID,
				  "Source \"%.64s\": name and prefix are letters, digits and "
				  "dashes, of %d and %d octets at most",
				  c->name, WM_SOURCE_NAME_MAX, WM_SOURCE_PREFIX_MAX);
	if (wm_sources_find(a, c->name))
		return wm_err_set(e, WM_E_CONFLICT, "Source \"%s\" is there already", c->name);
	s = calloc(1, sizeof(*s));
	if (!s)
		return wm_err_set(e, -ENOMEM, "out of memory: sources");
	s->all = a;
	s->c = *c;
	fold(s->name, sizeof(s->name), c->name, strlen(c->name));
	fold(s->prefix, sizeof(s->prefix), c->prefix, strlen(c->prefix));
	s->c.name = s->name;
	s->c.prefix = s->prefix;
	s->c.brake_percent = c->brake_percent ? c->brake_percent : BRAKE_PERCENT;
	s->c.brake_least = c->brake_least ? c->brake_least : BRAKE_LEAST;
	s->c.brake_hold_ms = c->brake_hold_ms ? c->brake_hold_ms : BRAKE_HOLD_MS;
	s->since_ms = wm_env_wall_ms(a->c.env);
	TAILQ_INSERT_TAIL(&a->sources, s, entry);
	if (!ready(s)) {
		wm_source_free(s);
		return wm_err_set(e, -ENOMEM, "out of memory: sources");
	}
	s->settled = true; /* what an earlier run had is served as it was */
	wm_source_recall(s);
	s->settled = false;
	s->born_ms = wm_env_ms(a->c.env);
	s->adopted = s->instances || s->specs || *s->identity;
	*ret = s;
	return 0;
}

/* Numbers go on above those that are stored. */
static uint64_t last_seq(const struct wm_registry *r)
{
	const struct wm_node *n;
	const struct wm_instance *i;
	uint64_t seq = 0;
	size_t pos = 0;

	while ((n = wm_registry_next_node(r, &pos))) {
		size_t at = 0;

		if (!wm_instance_foreign(n->holder) ||
		    !wm_peer_id_is_source(&n->holder->version.writer))
			continue;
		seq = n->holder->version.seq > seq ? n->holder->version.seq : seq;
		while ((i = wm_node_next_instance(n, &at)))
			if (wm_instance_foreign(i) && i->version.seq > seq)
				seq = i->version.seq;
	}
	return seq;
}

struct wm_sources *wm_sources_new(const struct wm_sources_config *c)
{
	struct wm_sources *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	a->c = *c;
	TAILQ_INIT(&a->sources);
	a->data_dir = c->data_dir ? strdup(c->data_dir) : NULL;
	if (c->data_dir && !a->data_dir) {
		free(a);
		return NULL;
	}
	a->seq = last_seq(c->registry);
	return a;
}

void wm_sources_free(struct wm_sources *a)
{
	struct wm_source *s;

	if (!a)
		return;
	while ((s = TAILQ_FIRST(&a->sources)))
		wm_source_free(s);
	free(a->data_dir);
	free(a);
}

void wm_sources_settle(struct wm_sources *a)
{
	const struct wm_node *n;
	struct wm_err e = {0};
	size_t pos = 0;

	while ((n = wm_registry_next_node(a->c.registry, &pos))) {
		const struct wm_peer_id *id = &n->holder->version.writer;

		if (!wm_instance_foreign(n->holder) || !wm_peer_id_is_source(id) ||
		    wm_sources_node_owner(a, id, n->folded))
			continue;
		wm_info("source.over", "node=%s text=\"its source is not configured any more\"",
			wm_log_q(n->name));
		if (wm_registry_forget_origin(a->c.registry, id, NULL, NULL, &e))
			wm_warn("source.over", "node=%s text=%s", wm_log_q(n->name),
				wm_log_q(e.text));
	}
}

struct wm_source *wm_sources_next(const struct wm_sources *a, const struct wm_source *s)
{
	if (s)
		return TAILQ_NEXT(s, entry);
	return a ? TAILQ_FIRST(&a->sources) : NULL;
}

struct wm_source *wm_sources_find(const struct wm_sources *a, const char *name)
{
	struct wm_source *s = NULL;

	while ((s = wm_sources_next(a, s)) && strcmp(s->name, name) != 0)
		;
	return s;
}

/* --- how it is -------------------------------------------------------------------------------- */
void wm_source_state(struct wm_source *s, enum wm_source_state st, const char *text)
{
	bool other = st != s->state;

	snprintf(s->text, sizeof(s->text), "%s", text ? text : "");
	if (!other)
		return;
	s->state = st;
	s->since_ms = wm_env_wall_ms(s->all->c.env);
	if (st == WM_SOURCE_AWAY || st == WM_SOURCE_REFUSED)
		wm_warn("source.state", "source=%s state=%s text=%s", s->name,
			wm_source_state_str(st), wm_log_q(s->text));
	else
		wm_info("source.state", "source=%s state=%s text=%s", s->name,
			wm_source_state_str(st), wm_log_q(s->text));
}

bool wm_source_ready(struct wm_source *s)
{
	const struct wm_source_item *first = TAILQ_FIRST(&s->queue);
	bool listed = s->synced_ms && (!first || first->since_ms > s->listed_ms);

	if (listed ||
	    (s->adopted && wm_env_ms(s->all->c.env) - s->born_ms >= WM_SOURCE_PATIENCE_MS))
		s->ready = true;
	return s->ready;
}

void wm_source_count(struct wm_source *s, enum wm_source_counter c, uint64_t n)
{
	s->counters[c] += n;
}

/* How many wait for the first list to be stored. */
static unsigned waiting(const struct wm_source *s)
{
	const struct wm_source_service *v;
	unsigned count = 0;
	size_t pos = 0;

	while (!s->settled && (v = wm_map_next(s->services, &pos)))
		count += v->waits;
	return count;
}

void wm_source_about(const struct wm_source *s, struct wm_source_about *ret)
{
	static const char late[] = "services are left to others: the store does not take their "
				   "instances";
	const struct wm_source_item *first = TAILQ_FIRST(&s->queue);

	*ret = (struct wm_source_about){.name = s->name,
					.prefix = s->prefix,
					.identity = s->identity,
					.state = s->state,
					.text = s->text,
					.alarm = *s->alarm || !s->late ? s->alarm : late,
					.since_ms = s->since_ms,
					.synced_ms = s->synced_ms,
					.instances_max = s->c.instances_max,
					.services_max = s->c.services_max,
					.nodes = wm_map_len(s->nodes),
					.instances = s->instances,
					.services = wm_map_len(s->services),
					.specs = s->specs,
					.queued = s->queued + s->flights,
					.holding = s->holding,
					.waiting = waiting(s)};
	if (first)
		ret->lag_ms = wm_env_ms(s->all->c.env) - first->since_ms;
	memcpy(ret->counters, s->counters, sizeof(ret->counters));
}
