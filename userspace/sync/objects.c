/* SPDX-License-Identifier: Apache-2.0 */
/* objects.c - the registry's side of the replica. What is durable here is told to the replica, what
 * the replica learns goes into the registry as a write; until that is stored it is kept here, and
 * told again if the store refuses. What we think of a node's agent is told to the registry, too. */
#include "internal.h"
#include "userspace/base/log.h"
#include "userspace/base/map.h"
#include "userspace/net/loop.h"
#include "userspace/registry/foreign.h"
#include "userspace/registry/registry.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WAITING_MAX                                                                                \
	(32u << 20)   /* octets of changes that wait for the store; more are pulled later */
#define AGAIN_MS  500 /* what the store refused is told again after it */
#define AGAIN_MAX 120 /* times; then comparison with others repairs, or tells */

/* Changes that were handed to the registry and are not stored yet. */
struct taken {
	TAILQ_ENTRY(taken) entry;
	struct wm_objects *o;
	uint64_t since_ms;
	struct wm_env_timer *timer; /* NULL: with the registry */
	struct wm_foreign_change *changes;
	unsigned count, tries;
	size_t octets;
	char data[]; /* what they point to */
};

/* An agent that stops and comes back. */
struct pause {
	LIST_ENTRY(pause) entry;
	struct wm_objects *o;
	struct wm_peer_id id;
	struct wm_env_timer *timer;
	bool failed; /* meanwhile */
};

/* A shared object that we wrote while our clock was ahead, and write anew. */
struct mended {
	LIST_ENTRY(mended) entry;
	struct wm_objects *o; /* NULL: the mesh is gone */
	bool gone;
	uint64_t seq, gone_ms;
	char node[WM_NODE_NAME_MAX + 1], id[WM_INSTANCE_ID_MAX + 1];
	char semver[WM_META_VALUE_MAX + 1]; /* of what is gone */
	bool versed;
};

struct wm_objects {
	struct wm_sync *s;
	TAILQ_HEAD(, taken) taken; /* who waited longest stands first */
	LIST_HEAD(, pause) pauses;
	struct wm_map *busy; /* of objects whose change waits for the store */
	LIST_HEAD(, mended) mended;
};

/* How many changes of an object wait for the store: until then the registry has what was before,
 * though the replica knows of them. */
struct busy {
	unsigned count;
	char key[];
};
#define BUSY_MAX (1u << 20) /* entries; WAITING_MAX is reached before */

/* --- names ------------------------------------------------------------------------------------ */
static struct wm_replica_key own_key(const struct wm_logged *l)
{
	return (struct wm_replica_key){l->id, strlen(l->id)};
}

/* node NUL id */
static struct wm_replica_key shared_key(const struct wm_logged *l, char buf[WM_REPLICA_KEY_MAX])
{
	size_t node = strlen(l->node) + 1, id = strlen(l->id);

	memcpy(buf, l->node, node);
	memcpy(buf + node, l->id, id);
	return (struct wm_replica_key){buf, node + id};
}

/* Node and id of a key, as texts. @return false: it is none. */
static bool split_key(const struct wm_replica_key *k, bool shared, char node[WM_NODE_NAME_MAX + 1],
		      char id[WM_INSTANCE_ID_MAX + 1])
{
	const char *at = k->octets, *end = at + k->len, *nul;

	node[0] = '\0';
	if (shared) {
		nul = memchr(at, '\0', k->len);
		if (!nul || nul - at > WM_NODE_NAME_MAX)
			return false;
		memcpy(node, at, (size_t)(nul - at) + 1);
		at = nul + 1;
	}
	if (end - at > WM_INSTANCE_ID_MAX || memchr(at, '\0', (size_t)(end - at)))
		return false;
	memcpy(id, at, (size_t)(end - at));
	id[end - at] = '\0';
	return true;
}

/* --- outward ---------------------------------------------------------------------------------- */
/* `version` metadata of a shared instance, or of one that went, for the merge rule. */
static const char *semver_of(const struct wm_objects *o, const struct wm_logged *l)
{
	const struct wm_node *n = wm_registry_node_named(o->s->c.registry, l->node);
	const struct wm_instance *i = n && *l->id ? wm_node_instance(n, l->id) : NULL;

	return l->gone ? l->semver : i ? wm_instance_semver(i) : NULL;
}

static int change_of(const struct wm_objects *o, const struct wm_logged *l, struct wm_buf *object,
		     char key[WM_REPLICA_KEY_MAX], struct wm_replica_change *ret)
{
	bool shared = l->version.origin == WM_ORIGIN_SHARED;
	int r;

	*ret = (struct wm_replica_change){.origin = l->origin,
					  .version = l->version,
					  .key = shared ? shared_key(l, key) : own_key(l),
					  .gone = l->gone,
					  .gone_ms = l->gone_ms};
	if (shared) {
		ret->semver = semver_of(o, l);
		if (wm_peer_id_none(&l->origin)) /* of before there was a mesh: it is ours */
			ret->origin = o->s->id;
	}
	if (!object || l->gone)
		return 0;
	r = wm_registry_object_encode(o->s->c.registry, &l->origin, shared, l->node, l->id, object);
	ret->object = object->data;
	ret->len = object->len;
	return r;
}

static void on_logged(void *arg, const struct wm_logged *l)
{
	struct wm_objects *o = arg;
	struct wm_replica_change c;
	char key[WM_REPLICA_KEY_MAX];
	struct wm_buf object;
	int r;

	wm_buf_init(&object, WM_REPLICA_OBJECT_MAX);
	r = change_of(o, l, &object, key, &c);
	if (!r)
		r = o->s->etcd ? wm_etcd_own(o->s->etcd, &c) : wm_replica_own(o->s->replica, &c);
	if (r == -ENOMEM)
		wm_warn("sync.memory", "text=\"out of memory: a change is told by comparison\"");
	wm_leaf_logged(o->s->leaf, l->node, l->id);
	wm_buf_done(&object);
}

/* --- a clock that was ahead -------------------------------------------------------------------
 */
struct mending {
	struct wm_objects *o;
	uint64_t until_ms, clock; /* clock: the newest that is not above until_ms */
	LIST_HEAD(, mended) found;
};

static int find_ahead(void *arg, const struct wm_logged *l)
{
	struct mending *m = arg;
	struct mended *k;

	if (l->version.origin != WM_ORIGIN_SHARED)
		return 0;
	if (wm_hlc_ms(l->version.seq) <= m->until_ms) {
		m->clock = l->version.seq > m->clock ? l->version.seq : m->clock;
		return 0;
	}
	if (!wm_peer_id_none(&l->origin) && !wm_peer_id_same(&l->origin, &m->o->s->id))
		return 0;
	k = calloc(1, sizeof(*k));
	if (!k)
		return -ENOMEM;
	k->o = m->o;
	k->gone = l->gone;
	snprintf(k->node, sizeof(k->node), "%s", l->node);
	snprintf(k->id, sizeof(k->id), "%s", l->id);
	k->versed = l->semver;
	snprintf(k->semver, sizeof(k->semver), "%s", l->semver ? l->semver : "");
	LIST_INSERT_HEAD(&m->found, k, entry);
	return 0;
}

static void on_mended(void *arg, const struct wm_foreign_result *r)
{
	struct mended *k = arg;
	struct wm_logged l = {.node = k->node,
			      .id = k->id,
			      .gone = k->gone,
			      .gone_ms = k->gone_ms,
			      .semver = k->versed ? k->semver : NULL};

	if (k->o) {
		LIST_REMOVE(k, entry);
		l.version.origin = WM_ORIGIN_SHARED;
		l.version.seq = k->seq;
		l.version.priority = k->o->s->c.priority;
		l.origin = k->o->s->id;
		if (r->taken)
			on_logged(k->o, &l);
	}
	free(k);
}

/* @p k is taken over. */
static int mend(struct wm_objects *o, struct mended *k, struct wm_err *e)
{
	struct wm_foreign_change c = {.version = {.origin = WM_ORIGIN_SHARED,
						  .seq = k->seq,
						  .writer = o->s->id,
						  .priority = o->s->c.priority},
				      .node = k->node,
				      .id = k->id,
				      .gone = k->gone,
				      .semver = k->versed ? k->semver : NULL,
				      .mended = true};
	struct wm_buf b;
	int r = 0;

	k->gone_ms = c.gone_ms = wm_env_wall_ms(o->s->env);
	LIST_INSERT_HEAD(&o->mended, k, entry);
	wm_buf_init(&b, WM_REPLICA_OBJECT_MAX);
	if (!k->gone)
		r = wm_registry_object_encode(o->s->c.registry, &o->s->id, true, k->node, k->id,
					      &b);
	c.object = b.data;
	c.len = b.len;
	if (!r)
		r = wm_registry_foreign(o->s->c.registry, &c, 1, on_mended, k, e);
	if (r) {
		LIST_REMOVE(k, entry);
		free(k);
	}
	wm_buf_done(&b);
	return r == WM_E_UNKNOWN ? 0 : r; /* it stands aside */
}

int wm_objects_mend(struct wm_objects *o, unsigned *ret_count, struct wm_err *e)
{
	uint64_t now = wm_env_wall_ms(o->s->env);
	struct mending m = {.o = o, .until_ms = now + WM_REPLICA_AHEAD_MS, .clock = now << 16};
	struct mended *k;
	int r;

	*ret_count = 0;
	if (o->s->etcd || wm_sync_is_leaf(o->s))
		return 0;
	LIST_INIT(&m.found);
	r = wm_registry_walk_objects(o->s->c.registry, find_ahead, &m);
	if (!r && !LIST_EMPTY(&m.found))
		wm_registry_set_clock(o->s->c.registry, m.clock);
	while ((k = LIST_FIRST(&m.found))) {
		LIST_REMOVE(k, entry);
		k->seq = ++m.clock;
		if (r)
			free(k);
		else
			r = mend(o, k, e);
		*ret_count += !r;
	}
	return r == -ENOMEM ? wm_err_set(e, r, "Out of memory") : r;
}

/* --- the start --------------------------------------------------------------------------------
 */
static int on_object(void *arg, const struct wm_logged *l)
{
	struct wm_objects *o = arg;
	struct wm_replica_change c;
	bool proved = !o->s->etcd && l->version.origin != WM_ORIGIN_SHARED;
	char key[WM_REPLICA_KEY_MAX];
	struct wm_buf object;
	int r;

	if (wm_sync_is_leaf(o->s) && l->version.origin != WM_ORIGIN_OWN)
		return 0; /* its replica is of its own log */
	wm_buf_init(&object, WM_REPLICA_OBJECT_MAX);
	(void)change_of(o, l, proved ? &object : NULL, key, &c);
	r = o->s->etcd ? wm_etcd_recover(o->s->etcd, &c) : wm_replica_recover(o->s->replica, &c);
	wm_buf_done(&object);
	return r;
}

/* A write of a shared object, before it is stored. Its clock will be above all that are known. */
static int on_stands(void *arg, const struct wm_registry_stand *s, struct wm_err *e)
{
	struct wm_objects *o = arg;
	const struct wm_logged l = {.node = s->node, .id = s->in->id};
	const char *stands = s->here ? wm_instance_semver(s->here) : NULL,
		   *wants = wm_instance_semver(s->in);
	char key[WM_REPLICA_KEY_MAX];
	const struct wm_replica_change c = {
		.origin = o->s->id,
		.version = {.origin = WM_ORIGIN_SHARED, .seq = UINT64_MAX},
		.key = shared_key(&l, key),
		.semver = wants};
	const struct wm_merge_side a = {.version = c.version, .writer = o->s->id, .semver = wants},
				   b = {.semver = stands};

	if (o->s->c.conflicts == &wm_merge_priority) /* which the registry judges */
		return 0;
	if (s->here ? o->s->c.conflicts->cmp(&a, &b) > 0
		    : wm_replica_stands(o->s->replica, &c, &stands))
		return 0;
	return wm_err_set(e, WM_E_CONFLICT,
			  "Service ID \"%.64s\" on node \"%.64s\" %s with version \"%.64s\": "
			  "sync.conflicts is %s, and \"%.64s\" is lower",
			  s->in->id, s->node, s->here ? "stands" : "was removed",
			  stands ? stands : "", o->s->c.conflicts->name, wants ? wants : "");
}

size_t wm_objects_key(char ret[WM_OBJECT_KEY_MAX], bool shared, const struct wm_peer_id *origin,
		      const char *node, const char *id)
{
	size_t len = 0, n = strlen(id);

	if (shared) {
		len = strlen(node) + 1;
		memcpy(ret, node, len);
	} else {
		ret[len++] = '\0'; /* no node's name begins with it */
		memcpy(ret + len, origin->octets, sizeof(origin->octets));
		len += sizeof(origin->octets);
	}
	memcpy(ret + len, id, n);
	return len + n;
}

static size_t busy_key(char b[WM_OBJECT_KEY_MAX], const struct wm_foreign_change *c)
{
	return wm_objects_key(b, c->version.origin == WM_ORIGIN_SHARED, &c->version.writer, c->node,
			      c->id);
}

static bool busy_add(struct wm_objects *o, const struct wm_foreign_change *c)
{
	char key[WM_OBJECT_KEY_MAX];
	size_t len = busy_key(key, c);
	struct busy *b = wm_map_get(o->busy, key, len);

	if (!b) {
		b = malloc(sizeof(*b) + len);
		if (!b)
			return false;
		b->count = 0;
		memcpy(b->key, key, len);
		if (wm_map_put(o->busy, b->key, len, b, NULL)) {
			free(b);
			return false;
		}
	}
	b->count++;
	return true;
}

static void busy_end(struct wm_objects *o, const struct wm_foreign_change *c)
{
	char key[WM_OBJECT_KEY_MAX];
	size_t len = busy_key(key, c);
	struct busy *b = wm_map_get(o->busy, key, len);

	if (!b || --b->count)
		return;
	(void)wm_map_del(o->busy, key, len);
	free(b);
}

int wm_objects_read(void *arg, const struct wm_peer_id *origin, bool shared,
		    const struct wm_replica_key *k, struct wm_buf *b)
{
	struct wm_objects *o = arg;
	char node[WM_NODE_NAME_MAX + 1], id[WM_INSTANCE_ID_MAX + 1], key[WM_OBJECT_KEY_MAX];

	if (!split_key(k, shared, node, id))
		return WM_E_UNKNOWN;
	/* what was before would go under the version of what is to come */
	if (wm_map_get(o->busy, key, wm_objects_key(key, shared, origin, node, id)))
		return WM_E_UNKNOWN;
	return wm_registry_object_encode(o->s->c.registry, origin, shared, node, id, b);
}

/* --- inward ----------------------------------------------------------------------------------- */
static void tell(struct taken *t);

static void free_taken(struct taken *t)
{
	TAILQ_REMOVE(&t->o->taken, t, entry);
	for (unsigned n = 0; n < t->count; n++)
		busy_end(t->o, &t->changes[n]);
	t->o->s->stats.waiting -= t->octets;
	wm_env_timer_free(t->timer);
	free(t);
}

static void on_again(void *arg)
{
	struct taken *t = arg;

	wm_env_timer_free(t->timer);
	t->timer = NULL;
	tell(t);
}

/* @return false: it is not tried again. */
static bool again(struct taken *t)
{
	struct wm_sync *s = t->o->s;

	if (++t->tries > AGAIN_MAX)
		return false;
	s->stats.taken_again++;
	t->timer = wm_env_timer_new(s->env, on_again, t);
	return t->timer && !wm_env_timer_arm(t->timer, AGAIN_MS);
}

static void on_taken(void *arg, const struct wm_foreign_result *result)
{
	struct taken *t = arg;
	bool later = result->failed || (result->refused && result->code == WM_E_UNKNOWN);

	if (!t->o) { /* the mesh is gone */
		free(t);
		return;
	}
	if (result->refused && result->code != WM_E_UNKNOWN)
		wm_warn("sync.refused", "changes=%u text=%s", result->refused,
			wm_log_q(result->text));
	if (!later || !again(t))
		free_taken(t);
}

static void tell(struct taken *t)
{
	struct wm_err e = {0};
	int r = wm_registry_foreign(t->o->s->c.registry, t->changes, t->count, on_taken, t, &e);

	if (r && !again(t)) {
		wm_warn("sync.refused", "changes=%u text=%s", t->count, wm_log_q(e.text));
		free_taken(t);
	}
}

static size_t octets_of(const struct wm_replica_change *c, unsigned count)
{
	size_t n = 0;

	for (unsigned k = 0; k < count; k++)
		n += c[k].len + WM_NODE_NAME_MAX + 1 + WM_INSTANCE_ID_MAX + 1 +
		     (c[k].semver ? strlen(c[k].semver) + 1 : 0);
	return n;
}

static char *keep(char **at, const void *p, size_t len)
{
	char *to = *at;

	memcpy(to, p, len);
	*at += len;
	return to;
}

/* @return false: its key is none, or it goes by itself. */
static bool copy_change(struct wm_foreign_change *to, const struct wm_replica_change *c, char **at)
{
	bool shared = c->version.origin == WM_ORIGIN_SHARED;
	char node[WM_NODE_NAME_MAX + 1], id[WM_INSTANCE_ID_MAX + 1];

	if (!split_key(&c->key, shared, node, id))
		return false;
	/* with the last of its instances, or when its agent is: it is no member */
	if (c->forget && !*id)
		return false;
	*to = (struct wm_foreign_change){.version = c->version,
					 .gone = c->gone,
					 .forget = c->forget,
					 .gone_ms = c->gone_ms,
					 .len = c->len};
	if (!shared)
		to->version.origin = WM_ORIGIN_FOREIGN;
	to->version.writer = c->origin;
	to->node = keep(at, node, strlen(node) + 1);
	to->id = keep(at, id, strlen(id) + 1);
	if (c->len)
		to->object = keep(at, c->object, c->len);
	if (c->gone && c->semver)
		to->semver = keep(at, c->semver, strlen(c->semver) + 1);
	return true;
}

int wm_objects_take(void *arg, const struct wm_replica_change *c, unsigned count)
{
	struct wm_objects *o = arg;
	struct wm_sync *s = o->s;
	size_t octets = octets_of(c, count) + count * sizeof(struct wm_foreign_change);
	struct taken *t;
	char *at;

	if (s->stats.waiting && s->stats.waiting + octets > WAITING_MAX) {
		s->stats.busy++;
		return WM_E_BUSY;
	}
	t = malloc(sizeof(*t) + octets + _Alignof(struct wm_foreign_change));
	if (!t)
		return WM_E_BUSY;
	*t = (struct taken){.o = o, .octets = octets, .since_ms = wm_env_ms(s->env)};
	t->changes = (void *)(((uintptr_t)t->data + _Alignof(struct wm_foreign_change) - 1) &
			      ~(_Alignof(struct wm_foreign_change) - 1));
	at = (char *)(t->changes + count);
	for (unsigned k = 0; k < count; k++)
		if (copy_change(&t->changes[t->count], &c[k], &at))
			t->count++;
	for (unsigned k = 0; k < t->count; k++) {
		if (busy_add(o, &t->changes[k]))
			continue;
		while (k)
			busy_end(o, &t->changes[--k]);
		free(t);
		return WM_E_BUSY;
	}
	TAILQ_INSERT_TAIL(&o->taken, t, entry);
	s->stats.waiting += octets;
	s->stats.taken += count;
	tell(t);
	return 0;
}

uint64_t wm_objects_waits_ms(const struct wm_objects *o)
{
	const struct taken *t = TAILQ_FIRST(&o->taken);

	return t ? wm_env_ms(o->s->env) - t->since_ms : 0;
}

static void send_replica(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct wm_objects *o = arg;

	wm_link_send(o->s->links, to, WM_CHANNEL_REPLICA, p, len);
}

static void spread_replica(void *arg, const void *p, size_t len)
{
	struct wm_objects *o = arg;

	if (wm_sync_news(o->s, WM_NEWS_CHANGES, p, len))
		o->s->stats.frames_dropped++;
}

static const char *name_of(const struct wm_objects *o, const struct wm_peer_id *id)
{
	const struct wm_member *m =
		id && o->s->members ? wm_members_by_id(o->s->members, id) : NULL;

	return m ? m->name : "";
}

void wm_objects_alarm(void *arg, const struct wm_peer_id *about, const char *sentence)
{
	struct wm_objects *o = arg;

	wm_error("sync.alarm", "node=%s text=%s", name_of(o, about), wm_log_q(sentence));
}

void wm_objects_conflict(void *arg, const struct wm_replica_change *won,
			 const struct wm_replica_change *lost)
{
	struct wm_objects *o = arg;
	char node[WM_NODE_NAME_MAX + 1], id[WM_INSTANCE_ID_MAX + 1];

	const struct wm_merge_rule *rule =
		o->s->replica && o->s->c.conflicts ? o->s->c.conflicts : &wm_merge_hlc;

	if (!split_key(&won->key, true, node, id))
		return;
	wm_conflicts_add(o->s->conflicts, wm_env_wall_ms(o->s->env), rule->name, node, id, won,
			 lost);
	wm_info("sync.conflict", "node=%s id=%s stands=%s lost=%s", wm_log_q(node), wm_log_q(id),
		name_of(o, &won->origin), name_of(o, &lost->origin));
}

static uint32_t on_restored(void *arg, uint32_t above)
{
	struct wm_objects *o = arg;
	uint32_t epoch = wm_registry_new_epoch(o->s->c.registry, above);

	wm_warn("sync.restored",
		"epoch=%u text=\"others know more of this agent's log than its store "
		"does: a new epoch begins\"",
		epoch);
	return epoch;
}

/* --- who is alive ----------------------------------------------------------------------------- */
static struct pause *pause_of(const struct wm_objects *o, const struct wm_peer_id *id)
{
	struct pause *p;

	LIST_FOREACH (p, &o->pauses, entry)
		if (wm_peer_id_same(&p->id, id))
			return p;
	return NULL;
}

static void end_pause(struct pause *p)
{
	LIST_REMOVE(p, entry);
	wm_env_timer_free(p->timer);
	free(p);
}

static void on_pause_over(void *arg)
{
	struct pause *p = arg;
	struct wm_objects *o = p->o;
	const struct wm_member *m = wm_members_by_id(o->s->members, &p->id);
	bool failed = p->failed;

	end_pause(p);
	if (m && failed) {
		wm_info("member.overdue", "node=%s", m->name);
		(void)wm_registry_set_alive(o->s->c.registry, m->name, false, NULL);
	}
}

void wm_objects_pause(struct wm_objects *o, const struct wm_peer_id *id, uint64_t ms)
{
	struct pause *p = pause_of(o, id);

	if (!p) {
		p = calloc(1, sizeof(*p));
		if (!p)
			return;
		p->o = o;
		p->id = *id;
		p->timer = wm_env_timer_new(o->s->env, on_pause_over, p);
		if (!p->timer) {
			free(p);
			return;
		}
		LIST_INSERT_HEAD(&o->pauses, p, entry);
	}
	wm_env_timer_arm(p->timer, ms);
}

void wm_objects_alive(struct wm_objects *o, const struct wm_peer_id *id, const char *name,
		      bool alive)
{
	struct pause *p = pause_of(o, id);

	if (p && !alive) {
		p->failed = true;
		return;
	}
	if (p)
		end_pause(p);
	(void)wm_registry_set_alive(o->s->c.registry, name, alive, NULL);
}

/* A node that appears is as alive as its agent. */
static bool is_alive(void *arg, const struct wm_peer_id *id)
{
	struct wm_objects *o = arg;
	const struct wm_member *m = o->s->members ? wm_members_by_id(o->s->members, id) : NULL;

	if (o->s->etcd)
		return wm_by_etcd_alive(o->s, id);
	return !m || m->state <= WM_MEMBER_SUSPECT || pause_of(o, id);
}

void wm_objects_forget(struct wm_objects *o, const struct wm_peer_id *id)
{
	struct pause *p = pause_of(o, id);
	struct wm_err e = {0};

	if (wm_peer_id_is_source(id)) /* it is of no agent, whoever says so */
		return;
	if (p)
		end_pause(p);
	if (o->s->replica)
		wm_replica_forget(o->s->replica, id);
	if (wm_registry_forget_origin(o->s->c.registry, id, NULL, NULL, &e))
		wm_warn("sync.refused", "node=%s text=%s", name_of(o, id), wm_log_q(e.text));
}

/* --- life ------------------------------------------------------------------------------------- */
static struct wm_replica *replica_of(struct wm_objects *o)
{
	struct wm_sync *s = o->s;
	struct wm_replica_config c = {.env = s->env,
				      .id = s->id,
				      .leaf = wm_sync_is_leaf(s),
				      .rule = s->c.conflicts,
				      .proofs = wm_proofs_calls(s->proofs),
				      .objects_max = s->c.objects_max,
				      .arg = o,
				      .read = wm_objects_read,
				      .take = wm_objects_take,
				      .send = send_replica,
				      .spread = spread_replica,
				      .conflict = wm_objects_conflict,
				      .restored = on_restored,
				      .alarm = wm_objects_alarm};
	struct wm_peer_id id;

	wm_registry_origin(s->c.registry, &id, &c.epoch);
	c.seq = wm_registry_log_seq(s->c.registry);
	c.stored_seq = wm_registry_stored_seq(s->c.registry);
	c.contact_ms = wm_seeds_contact_ms(s->seeds);
	c.step_ms = wm_seeds_step_ms(s->seeds);
	return wm_replica_new(&c);
}

int wm_objects_new(struct wm_sync *s, struct wm_objects **ret, struct wm_err *e)
{
	struct wm_objects *o = calloc(1, sizeof(*o));
	int r = 0;

	if (!o)
		return wm_err_set(e, -ENOMEM, "out of memory: mesh");
	*ret = o;
	o->s = s;
	TAILQ_INIT(&o->taken);
	LIST_INIT(&o->pauses);
	LIST_INIT(&o->mended);
	o->busy = wm_map_new(BUSY_MAX);
	if (!o->busy)
		return wm_err_set(e, -ENOMEM, "out of memory: mesh");
	if (s->c.by_etcd)
		r = wm_by_etcd_new(s, o, e);
	else
		s->replica = replica_of(o);
	if (r)
		return r;
	if ((!s->etcd && !s->replica) || wm_registry_walk_objects(s->c.registry, on_object, o))
		return wm_err_set(e, -ENOMEM, "out of memory: mesh");
	wm_registry_on_logged(s->c.registry, on_logged, o);
	wm_registry_ask_alive(s->c.registry, is_alive, o);
	if (!s->replica) /* etcd's order decides */
		return 0;
	wm_registry_set_priority(s->c.registry, s->c.priority,
				 s->c.conflicts == &wm_merge_priority);
	if (s->c.conflicts && s->c.conflicts != &wm_merge_hlc)
		wm_registry_ask_stands(s->c.registry, on_stands, o);
	return 0;
}

void wm_objects_free(struct wm_objects *o)
{
	struct mended *k;
	struct taken *t;
	struct pause *p;
	struct busy *b;
	size_t pos = 0;

	if (!o)
		return;
	wm_registry_on_logged(o->s->c.registry, NULL, NULL);
	wm_registry_ask_alive(o->s->c.registry, NULL, NULL);
	wm_registry_ask_stands(o->s->c.registry, NULL, NULL);
	wm_registry_set_priority(o->s->c.registry, 0, false);
	while ((t = TAILQ_FIRST(&o->taken))) {
		TAILQ_REMOVE(&o->taken, t, entry);
		t->o = NULL; /* its callback is to come */
		if (t->timer) {
			wm_env_timer_free(t->timer);
			free(t);
		}
	}
	while ((k = LIST_FIRST(&o->mended))) {
		LIST_REMOVE(k, entry);
		k->o = NULL; /* the same */
	}
	while ((p = LIST_FIRST(&o->pauses)))
		end_pause(p);
	while (o->busy && (b = wm_map_next(o->busy, &pos)))
		free(b);
	wm_map_free(o->busy);
	free(o);
}
