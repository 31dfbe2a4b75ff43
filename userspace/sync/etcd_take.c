/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_take.c - what comes from etcd, by a list or the watch: compared with what the store has, and
 * given to it where it differs. Whatever the store has no room for is told again as a whole, so all
 * of it may be told twice. */
#include "etcd_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>

/* Changes that are given at once. */
struct wm_etcd_batch {
	unsigned count;
	struct wm_replica_change changes[BATCH_MAX];
	struct wm_etcd_object *objects[BATCH_MAX];
	struct wm_etcd_key keys[BATCH_MAX];
};

struct wm_etcd_batch *wm_etcd_batch_new(void)
{
	return calloc(1, sizeof(struct wm_etcd_batch));
}

static bool lives(const struct wm_etcd_object *o)
{
	return o->local.seq && !o->local_gone;
}

/* Give what was gathered. @return 0; WM_E_BUSY. */
static int give(struct wm_etcd *e)
{
	struct wm_etcd_batch *b = e->batch;
	unsigned count = b->count;
	int err;

	b->count = 0;
	if (!count)
		return 0;
	for (unsigned n = 0; n < count; n++)
		b->objects[n]->batched = false;
	err = e->c.take(e->c.arg, b->changes, count);
	if (err) {
		e->stats.busy += count;
		return err;
	}
	e->stats.applied += count;
	for (unsigned n = 0; n < count; n++) {
		const struct wm_replica_change *c = &b->changes[n];
		struct wm_etcd_object *o = b->objects[n];

		o->local = c->version;
		o->local_writer = c->origin;
		o->local_gone = c->gone;
		o->gone_ms = c->gone_ms;
		if (c->gone)
			wm_etcd_hold(e, o, false);
		wm_etcd_object_settle(e, o);
	}
	return 0;
}

/* After an error: what was gathered behind it comes again. @return err. */
static int drop(struct wm_etcd *e, int err)
{
	for (unsigned n = 0; err && n < e->batch->count; n++)
		e->batch->objects[n]->batched = false;
	if (err)
		e->batch->count = 0;
	return err;
}

static int gather(struct wm_etcd *e, struct wm_etcd_object *o, const struct wm_etcd_key *k,
		  const struct wm_etcd_value *v)
{
	struct wm_etcd_batch *b = e->batch;
	struct wm_etcd_key *key = &b->keys[b->count];

	*key = *k;
	o->batched = true;
	b->objects[b->count] = o;
	b->changes[b->count++] =
		(struct wm_replica_change){.origin = o->node ? o->node->id : v->writer,
					   .version = v->version,
					   .key = {.octets = key->octets, .len = key->len},
					   .gone = v->gone,
					   .gone_ms = v->gone_ms,
					   .object = v->object,
					   .len = v->len};
	return b->count == BATCH_MAX ? give(e) : 0;
}

/* It went without a word of its own: as if that had been the next one. Its own would be that or
 * later, and what comes after it is newer than both. */
static int gather_gone(struct wm_etcd *e, struct wm_etcd_object *o, const struct wm_etcd_key *k)
{
	struct wm_etcd_value v = {.version = o->local,
				  .writer = o->local_writer,
				  .gone = true,
				  .gone_ms = wm_env_wall_ms(e->c.env)};

	v.version.seq++;
	return gather(e, o, k, &v);
}

/* --- one key
 * ---------------------------------------------------------------------------------------- */

static bool same_as_local(const struct wm_etcd_object *o)
{
	return o->local.seq == o->have.seq && o->local.epoch == o->have.epoch &&
	       o->local_gone == o->have_gone;
}

/* An object of our own log: what we say stands. */
static int own_came(struct wm_etcd *e, struct wm_etcd_object *o)
{
	if (o->in_flight)
		return 0;
	if (same_as_local(o) || (o->have_gone && !lives(o))) {
		wm_etcd_unpend(e, o);
		wm_etcd_object_settle(e, o);
	} else {
		wm_etcd_pend(e, o);
	}
	return 0;
}

static bool older(const struct wm_version *a, const struct wm_version *b)
{
	return a->epoch != b->epoch ? a->epoch < b->epoch : a->seq < b->seq;
}

/* One of another's log. */
static int others_came(struct wm_etcd *e, struct wm_etcd_object *o, const struct wm_etcd_key *k,
		       const struct wm_etcd_value *v)
{
	/* the order is etcd's, unless it was set back: then its writer puts it again */
	if (same_as_local(o) || (e->other && older(&o->have, &o->local))) {
		e->stats.stale++;
		return 0;
	}
	if (!v->gone || lives(o))
		return gather(e, o, k, v);
	o->local = v->version;
	o->local_gone = true;
	return 0;
}

static bool ahead(struct wm_etcd *e, const struct wm_etcd_value *v)
{
	uint64_t limit = wm_env_wall_ms(e->c.env) + WM_REPLICA_AHEAD_MS;
	uint64_t is = wm_hlc_ms(v->version.seq), wait;

	if (is <= limit || wm_peer_id_same(&v->writer, &e->c.id))
		return false;
	wait = is - limit < 3600000 ? is - limit : 3600000;
	wait += wm_etcd_now(e) + TICK_MS;
	if (!e->relist_ms || wait < e->relist_ms)
		e->relist_ms = wait;
	e->stats.ahead++;
	wm_etcd_alarm(e, &v->writer,
		      "a catalog entry has a clock %" PRIu64 " ms ahead of ours: held back",
		      is - limit + WM_REPLICA_AHEAD_MS);
	return true;
}

static void tell_conflict(struct wm_etcd *e, const struct wm_etcd_object *o,
			  const struct wm_etcd_key *k, const struct wm_etcd_value *v)
{
	struct wm_replica_key key = {.octets = k->octets, .len = k->len};
	struct wm_replica_change won = {.origin = v->writer,
					.version = v->version,
					.key = key,
					.gone = v->gone,
					.gone_ms = v->gone_ms,
					.object = v->object,
					.len = v->len};
	struct wm_replica_change lost = {.origin = o->local_writer,
					 .version = o->local,
					 .key = key,
					 .gone = o->local_gone,
					 .gone_ms = o->gone_ms,
					 .object = o->copy,
					 .len = o->copy_len};

	e->stats.conflicts++;
	if (e->c.conflict)
		e->c.conflict(e->c.arg, &won, &lost);
}

static int shared_came(struct wm_etcd *e, struct wm_etcd_object *o, const struct wm_etcd_key *k,
		       const struct wm_etcd_value *v)
{
	int cmp = wm_etcd_shared_cmp(&v->version, &v->writer, &o->local, &o->local_writer);

	if (!cmp) {
		if (!o->in_flight)
			wm_etcd_unpend(e, o);
		return 0;
	}
	if (ahead(e, v))
		return 0;
	if (cmp < 0) { /* ours is newer: it is put over this one */
		if (!o->pending)
			wm_etcd_pend(e, o);
		e->stats.stale++;
		return 0;
	}
	if (o->pending)
		tell_conflict(e, o, k, v);
	if (!o->in_flight)
		wm_etcd_unpend(e, o);
	if (!v->gone || lives(o))
		return gather(e, o, k, v);
	o->local = v->version;
	o->local_writer = v->writer;
	o->local_gone = true;
	o->gone_ms = v->gone_ms;
	return 0;
}

static int deleted(struct wm_etcd *e, struct wm_etcd_object *o, const struct wm_etcd_key *k)
{
	wm_etcd_object_have(e, o, NULL, 0);
	if (o->node == e->self) {
		if (lives(o)) { /* we were removed, and are there */
			wm_etcd_pend(e, o);
			return 0;
		}
		if (!o->in_flight)
			wm_etcd_unpend(e, o);
	} else if (lives(o) && o->node && (o->node->lives || o->node->known)) {
		/* nodes leave tombstones: who did this was another, or knows of it no more */
		wm_etcd_hold(e, o, true);
		o->node->release_ms = wm_etcd_now(e) + HOLD_MS;
		return 0;
	} else if (lives(o) && !o->pending) {
		return gather_gone(e, o, k);
	}
	wm_etcd_object_settle(e, o);
	return 0;
}

static int object_came(struct wm_etcd *e, const struct wm_etcd_key *k, const struct wm_etcd_kv *kv,
		       const char *key, size_t len)
{
	bool shared = k->kind == WM_ETCD_KEY_SHARED;
	struct wm_etcd_object *o = wm_etcd_object(e, k, key, len, !kv->deleted);
	struct wm_etcd_value v;

	if (o && o->batched) { /* what comes is judged by what it was before */
		int err = give(e);

		if (err)
			return err;
		o = wm_etcd_object(e, k, key, len, !kv->deleted);
	}
	if (!o)
		return 0; /* nothing to delete, or it was counted */
	o->list = e->list;
	if (kv->mod_revision < o->mod)
		return 0;
	if (kv->deleted)
		return deleted(e, o, k);
	if (wm_etcd_value_read(kv->value, kv->value_len, &v) ||
	    shared != (v.version.origin == WM_ORIGIN_SHARED)) {
		e->stats.malformed++;
		if (o->node == e->self && lives(o) && !o->in_flight)
			return deleted(e, o, k); /* ours to say what is there */
		wm_etcd_object_settle(e, o);
		return 0;
	}
	wm_etcd_object_have(e, o, &v, kv->mod_revision);
	return shared		    ? shared_came(e, o, k, &v)
	       : o->node == e->self ? own_came(e, o)
				    : others_came(e, o, k, &v);
}

int wm_etcd_take(struct wm_etcd *e, const struct wm_etcd_kv *kvs, unsigned count)
{
	int err = 0;

	for (unsigned n = 0; !err && n < count; n++) {
		const struct wm_etcd_kv *kv = &kvs[n];
		const char *key = kv->key + e->prefix_len;
		size_t len = kv->key_len - e->prefix_len;
		struct wm_etcd_key k;

		if (kv->key_len <= e->prefix_len ||
		    memcmp(kv->key, e->c.prefix, e->prefix_len) != 0) {
			e->stats.malformed++;
		} else if (wm_etcd_key_read(key, len, &k)) {
			/* keys of others' making may lie there, but for the marker */
			if (len == strlen(WM_ETCD_MODE) && !memcmp(key, WM_ETCD_MODE, len))
				e->marked = e->marked && !kv->deleted;
			else
				e->stats.malformed++;
		} else if (k.kind == WM_ETCD_KEY_NODE || k.kind == WM_ETCD_KEY_MEMBER) {
			err = give(e);
			if (!err)
				wm_etcd_node_event(e, &k, kv);
		} else if (k.kind == WM_ETCD_KEY_ASK) {
			wm_etcd_asked(e, &k, kv);
		} else if (k.kind == WM_ETCD_KEY_ANSWER) {
			wm_etcd_reported(e, &k, kv);
		} else {
			err = object_came(e, &k, kv, key, len);
		}
	}
	return drop(e, err) ? err : give(e);
}

/* --- what a list lacks
 * --------------------------------------------------------------------------------- */

struct sweep {
	struct wm_etcd_object **gone; /* surely */
	struct wm_etcd_object **suspect;
	unsigned gone_count, suspect_count, live;
};

/* A shared object that etcd lacks: has it gone there, or has it not come yet? Its tombstone would
 * be there for a day. */
static bool offer(const struct wm_etcd *e, const struct wm_etcd_object *o)
{
	bool young =
		wm_hlc_ms(o->local.seq) + WM_ETCD_TOMBSTONE_S * 1000ull > wm_env_wall_ms(e->c.env);

	/* who was never here brings along what it wrote */
	return young || e->lost ||
	       (e->other && !e->was_here && wm_peer_id_same(&o->local_writer, &e->c.id));
}

/* Is there a word of the node in this list that all it has is in etcd? */
static bool told_all(const struct wm_etcd *e, const struct wm_etcd_node *n)
{
	return n->record.settled && n->record_mod > e->trust_revision &&
	       (n->listed_lives == e->list || n->listed_known == e->list);
}

/* Has what this list lacks gone, of the node's or, NULL, of shared ones? */
static bool surely(const struct wm_etcd *e, const struct wm_etcd_node *n)
{
	if (!n)
		return !e->other || e->was_here;
	return told_all(e, n) || (!e->other && !n->suspect);
}

static void judge(struct wm_etcd *e, struct sweep *s, struct wm_etcd_object *o)
{
	const struct wm_etcd_node *n = o->node;

	if (o->have.seq && o->list != e->list)
		wm_etcd_object_have(e, o, NULL, 0);
	s->live += lives(o);
	if (o->have.seq || o->in_flight)
		return;
	if (!lives(o)) {
		bool fresh = o->local.seq && !n &&
			     o->gone_ms + WM_ETCD_TOMBSTONE_S * 1000ull > wm_env_wall_ms(e->c.env);

		if (fresh)
			wm_etcd_pend(e, o);
		else
			s->gone[s->gone_count++] = o;
	} else if (n ? n == e->self : offer(e, o)) {
		e->stats.restored += e->other && !o->pending;
		wm_etcd_pend(e, o);
	} else if (surely(e, n)) {
		s->gone[s->gone_count++] = o;
	} else {
		s->suspect[s->suspect_count++] = o;
	}
}

static int remove_all(struct wm_etcd *e, struct wm_etcd_object **list, unsigned count)
{
	int err = 0;

	for (unsigned n = 0; !err && n < count; n++) {
		struct wm_etcd_key k;

		if (!lives(list[n])) {
			wm_etcd_object_settle(e, list[n]);
		} else if (!wm_etcd_key_read(list[n]->key, list[n]->key_len, &k)) {
			e->stats.swept++;
			err = gather_gone(e, list[n], &k);
		}
	}
	return drop(e, err) ? err : give(e);
}

/* What etcd lacks and may have lost: it stays until its node told all that it has. */
static void brake(struct wm_etcd *e, const struct sweep *s)
{
	uint64_t now = wm_etcd_now(e);

	for (unsigned n = 0; n < s->suspect_count; n++) {
		struct wm_etcd_object *o = s->suspect[n];

		e->stats.braked += !o->held;
		wm_etcd_hold(e, o, true);
		if (o->node) {
			o->node->suspect = true;
			o->node->release_ms = now + SUSPECT_MS;
		} else if (!e->relist_ms) { /* the next list is not the first */
			e->relist_ms = now + SUSPECT_MS;
		}
	}
	if ((uint64_t)s->suspect_count * 100 <= (uint64_t)e->c.brake_pct * s->live)
		return;
	wm_etcd_alarm(e, NULL,
		      "etcd lacks %u of %u objects, and may have lost them: they stay until their "
		      "nodes tell what they have",
		      s->suspect_count, s->live);
}

int wm_etcd_sweep(struct wm_etcd *e)
{
	size_t all = wm_map_len(e->objects), pos = 0;
	struct wm_etcd_object *o;
	struct sweep s = {0};
	int err = -ENOMEM;

	s.gone = calloc(all + 1, sizeof(struct wm_etcd_object *));
	s.suspect = calloc(all + 1, sizeof(struct wm_etcd_object *));
	if (!s.gone || !s.suspect)
		goto out;
	while ((o = wm_map_next(e->objects, &pos)))
		judge(e, &s, o);
	err = remove_all(e, s.gone, s.gone_count);
	if (!err)
		brake(e, &s);
out:
	free(s.gone);
	free(s.suspect);
	return err;
}

int wm_etcd_release(struct wm_etcd *e, struct wm_etcd_node *n)
{
	struct wm_etcd_object **list = calloc(n->held + 1, sizeof(struct wm_etcd_object *)), *o;
	unsigned count = 0, most = n->held;
	size_t pos = 0;
	int err;

	if (!list)
		return -ENOMEM;
	while ((o = wm_map_next(e->objects, &pos))) {
		if (o->held && o->node == n && count < most)
			list[count++] = o;
	}
	n->suspect = false;
	err = remove_all(e, list, count); /* the node may be gone with them */
	free(list);
	return err;
}
