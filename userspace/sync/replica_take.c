/* SPDX-License-Identifier: Apache-2.0 */
/* replica_take.c - changes of others: what is malformed ends the stream, what is known is passed
 * over, what is too much is held, the rest is taken, all of a message or none of it. */
#include "replica_internal.h"

#include <errno.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

void replica_alarm(struct wm_replica *r, const struct wm_peer_id *about, const char *fmt, ...)
{
	char text[256];
	va_list ap;

	if (!r->c.alarm)
		return;
	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	r->c.alarm(r->c.arg, about, text);
}

/* What a message will change. */
struct taking {
	struct log *l;
	struct peer *from;
	struct wm_replica_change *changes;
	struct object **objects;
	uint64_t *bases;
	uint8_t (*elements)[WM_SETSUM_HASH]; /* NULL: nothing is proved */
	size_t count;
	unsigned removals; /* told by another than who removed */
};

static void taking_free(struct taking *t)
{
	free(t->changes);
	free(t->objects);
	free(t->bases);
	free(t->elements);
}

static int taking_init(struct taking *t, struct log *l, struct peer *from, size_t max)
{
	*t = (struct taking){.l = l, .from = from};
	if (!max)
		return 0;
	t->changes = calloc(max, sizeof(*t->changes));
	t->objects = calloc(max, sizeof(struct object *));
	t->bases = calloc(max, sizeof(*t->bases));
	t->elements = l->proving ? calloc(max, sizeof(*t->elements)) : NULL;
	if (t->changes && t->objects && t->bases && (t->elements || !l->proving))
		return 0;
	taking_free(t);
	return -ENOMEM;
}

/* Would it remove what is here, told by another than who removed it? */
static bool removes(const struct taking *t, const struct object *o,
		    const struct wm_replica_change *c)
{
	return c->gone && o->listed && !o->gone_s &&
	       !(t->from && wm_peer_id_same(&t->from->id, &c->origin));
}

static void taking_add(struct taking *t, struct object *o, const struct wm_replica_change *c,
		       uint64_t base)
{
	t->changes[t->count] = *c;
	t->bases[t->count] = base;
	t->objects[t->count++] = o;
	o->taking = true;
	t->removals += removes(t, o, c);
}

static void taking_abort(struct wm_replica *r, struct taking *t)
{
	for (size_t i = 0; i < t->count; i++) {
		t->objects[i]->taking = false;
		object_unready(r, t->objects[i]);
	}
	t->count = 0;
}

/* Would it remove too much at once, told by another than its origin? */
static bool braked(struct wm_replica *r, struct log *l, const struct peer *from, uint64_t removals)
{
	uint64_t now = wm_env_ms(r->c.env), of;

	if (!removals || now < l->release_ms || (from && wm_peer_id_same(&from->id, &l->id)))
		return false;
	if (!r->brake_ms || now - r->brake_ms > BRAKE_WINDOW_MS) {
		r->brake_ms = now;
		r->removed = 0;
	}
	of = r->live + r->removed;
	if (r->removed + removals <= BRAKE_MIN ||
	    (r->removed + removals) * 100 <= of * r->c.brake_pct) {
		r->removed += removals;
		return false;
	}
	r->stats.braked += removals;
	held_begin(r, l, from, r->removed + removals, of);
	return true;
}

/* What the brake holds is named, and not taken. The rest of shared ones is, so that each of several
 * who removed is believed what he did; of a log all waits, as it is in order. */
static void withhold(struct wm_replica *r, struct taking *t)
{
	size_t kept = 0;

	for (size_t i = 0; i < t->count; i++) {
		if (removes(t, t->objects[i], &t->changes[i])) {
			held_name(t->l, &t->changes[i].key);
			t->l->word = t->changes[i].origin;
		} else if (t->l->shared) {
			t->changes[kept] = t->changes[i];
			t->bases[kept] = t->bases[i];
			t->objects[kept++] = t->objects[i];
			continue;
		}
		t->objects[i]->taking = false;
		object_unready(r, t->objects[i]);
	}
	t->count = kept;
}

/* What is in the sum for each. */
static int taking_elements(const struct wm_replica *r, struct taking *t)
{
	int err = 0;

	for (size_t i = 0; t->elements && i < t->count && !err; i++) {
		const struct wm_replica_change *c = &t->changes[i];

		if (!c->gone)
			err = proof_element(r, &c->key,
					    (struct position){c->version.epoch, c->version.seq},
					    c->object, c->len, t->elements[i]);
	}
	return err;
}

static int taking_commit(struct wm_replica *r, struct taking *t, bool brake)
{
	int err = taking_elements(r, t);
	bool held;

	if (err) {
		taking_abort(r, t);
		return err;
	}
	held = brake && braked(r, t->l, t->from, t->removals);
	if (held)
		withhold(r, t);
	if (t->count)
		err = r->c.take(r->c.arg, t->changes, (unsigned)t->count);
	if (err) {
		taking_abort(r, t);
		return err;
	}
	for (size_t i = 0; i < t->count; i++) {
		object_set(r, t->l, t->objects[i], &t->changes[i], t->bases[i]);
		if (t->elements)
			proof_set(r, t->l, t->objects[i],
				  t->changes[i].gone ? NULL : t->elements[i]);
		t->objects[i]->taking = false;
		if (t->l->shared && wm_peer_id_same(&t->changes[i].origin, &r->c.id))
			serve_pending(r, t->objects[i]);
	}
	r->stats.applied += t->count;
	return held ? WM_E_LIMIT : 0;
}

static int shared_read(const Wm__Replica__Change *m, struct wm_replica_change *c, struct wm_err *e)
{
	if (m->writer.len != sizeof(c->origin.octets) || !m->key.len ||
	    !memchr(m->key.data, 0, m->key.len))
		return wm_err_set(e, WM_E_INVALID, "a shared object lacks its writer or its node");
	if (strlen(m->semver) > WM_META_VALUE_MAX)
		return wm_err_set(e, WM_E_INVALID, "a version has over %d octets",
				  WM_META_VALUE_MAX);
	memcpy(c->origin.octets, m->writer.data, sizeof(c->origin.octets));
	c->version.origin = WM_ORIGIN_SHARED;
	c->version.epoch = 0;
	c->semver = *m->semver ? m->semver : NULL;
	c->version.priority = m->priority;
	return 0;
}

int take_read(const struct log *l, const Wm__Replica__Change *m, uint32_t epoch,
	      struct wm_replica_change *ret, struct wm_err *e)
{
	struct wm_replica_change c = {
		.origin = l->id,
		.version = {WM_ORIGIN_OWN, m->epoch ? m->epoch : epoch, m->seq},
		.key = {m->key.len ? (const void *)m->key.data : "", m->key.len},
		.gone = m->gone,
		.gone_ms = m->gone_ms,
		.object = m->gone ? NULL : m->object.data,
		.len = m->gone ? 0 : m->object.len};
	int err;

	if (m->key.len > WM_REPLICA_KEY_MAX || !m->seq || m->object.len > WM_REPLICA_OBJECT_MAX ||
	    (m->gone && m->object.len) || (!m->gone && !m->object.len))
		return wm_err_set(e, WM_E_INVALID, "a change has no valid key, number or object");
	if (!l->shared && (m->writer.len || *m->semver || m->priority || m->replaced))
		return wm_err_set(e, WM_E_INVALID, "a change of a log has what shared ones have");
	err = l->shared ? shared_read(m, &c, e) : 0;
	if (!err)
		*ret = c;
	return err;
}

/* Are these octets what is here? */
static bool same_content(struct wm_replica *r, const struct log *l, const struct object *o,
			 const struct wm_replica_change *c)
{
	const struct wm_replica_key k = object_key(o);

	if (!o->listed || o->gone_s || c->gone)
		return false;
	wm_buf_reset(&r->octets);
	return !r->c.read(r->c.arg, &l->id, l->shared, &k, &r->octets) && !r->octets.failed &&
	       r->octets.len == c->len && !memcmp(r->octets.data, c->object, c->len);
}

static struct wm_replica_change change_of(const struct log *l, struct object *o)
{
	struct wm_replica_change c = {
		.origin = l->shared ? shared_of(o)->writer : l->id,
		.version = {l->shared ? WM_ORIGIN_SHARED : WM_ORIGIN_OWN, o->epoch, o->seq},
		.key = object_key(o),
		.gone = o->gone_s != 0,
		.gone_ms = o->gone_s * 1000ull};

	if (l->shared) {
		c.semver = shared_of(o)->semver;
		c.version.priority = shared_of(o)->priority;
	}
	return c;
}

static struct wm_merge_side side_of(const struct wm_replica_change *c)
{
	return (struct wm_merge_side){
		.version = c->version, .writer = c->origin, .semver = c->semver, .gone = c->gone};
}

bool wm_replica_stands(struct wm_replica *r, const struct wm_replica_change *c,
		       const char **ret_semver)
{
	struct object *o = object_get(r, r->shared, &c->key);
	struct wm_replica_change here;
	struct wm_merge_side a, b;

	if (ret_semver)
		*ret_semver = o && o->listed ? shared_of(o)->semver : NULL;
	if (!o || !o->listed)
		return true;
	here = change_of(r->shared, o);
	a = side_of(c);
	b = side_of(&here);
	return r->c.rule->cmp(&a, &b) > 0;
}

static void conflict(struct wm_replica *r, struct log *l, struct object *o,
		     const struct wm_replica_change *c, bool won)
{
	struct wm_replica_change here = change_of(l, o);
	const struct wm_replica_key k = object_key(o);

	r->stats.conflicts++;
	if (!r->c.conflict)
		return;
	wm_buf_reset(&r->octets);
	if (!here.gone && !r->c.read(r->c.arg, &here.origin, true, &k, &r->octets) &&
	    !r->octets.failed) {
		here.object = r->octets.data;
		here.len = r->octets.len;
	}
	r->c.conflict(r->c.arg, won ? c : &here, won ? &here : c);
}

static bool is_ahead(struct wm_replica *r, const struct wm_replica_change *c)
{
	uint64_t now = wm_env_wall_ms(r->c.env), mono = wm_env_ms(r->c.env);
	uint64_t at = wm_hlc_ms(c->version.seq);
	char id[WM_PEER_ID_TEXT];

	if (at <= now + WM_REPLICA_AHEAD_MS)
		return false;
	r->stats.ahead++;
	ahead_note(r, &c->origin, at - now);
	if (!r->ahead_ms || mono - r->ahead_ms > BRAKE_WINDOW_MS) {
		r->ahead_ms = mono;
		wm_peer_id_format(&c->origin, id);
		replica_alarm(r, &c->origin,
			      "writes of agent %s held back: its clock is %llu ms ahead of ours",
			      id, (unsigned long long)(at - now));
	}
	return true;
}

/* One shared object that is not known here. @return false: nothing is to be done. */
static bool unknown(struct wm_replica *r, struct taking *t, struct wm_replica_change *c)
{
	uint64_t now = wm_env_wall_ms(r->c.env);

	if (c->gone) /* old news of what never came */
		return c->gone_ms + r->c.tombstone_max_ms > now;
	/* When we last agreed with that member it was here, so its tombstone was forgotten since:
	 * the dead stay dead, and who still has it is told. */
	if (c->version.seq <= t->l->floor.seq && t->from &&
	    wm_hlc_ms(c->version.seq) <= t->from->agreed_wall_ms) {
		c->gone = true;
		c->gone_ms = now;
		c->object = NULL;
		c->len = 0;
		c->version.seq++;
		c->origin = r->c.id;
	}
	return true;
}

static int merge(struct wm_replica *r, struct taking *t, struct wm_replica_change *c, uint64_t base,
		 struct wm_err *e)
{
	struct wm_replica_change here;
	struct wm_merge_side a, b;
	struct object *o;
	bool others;
	int err, won;

	if (is_ahead(r, c))
		return 0;
	err = object_ready(r, t->l, &c->key, &o);
	if (err)
		return err;
	if (o->taking)
		return wm_err_set(e, WM_E_INVALID, "a message has an object twice");
	if (!o->listed) {
		if (unknown(r, t, c))
			taking_add(t, o, c, base);
		else
			object_unready(r, o);
		return 0;
	}
	here = change_of(t->l, o);
	a = side_of(c);
	b = side_of(&here);
	won = r->c.rule->cmp(&a, &b);
	object_mark(t->l, o); /* others have one of that name */
	if (!won) {
		r->stats.stale++;
		return 0;
	}
	others = !wm_peer_id_same(&c->origin, &here.origin);
	if (won > 0) {
		if (others && base < here.version.seq)
			conflict(r, t->l, o, c, true);
		taking_add(t, o, c, base);
	} else {
		if (others && shared_of(o)->base < c->version.seq)
			conflict(r, t->l, o, c, false);
		r->stats.stale++;
	}
	return 0;
}

int take_full(struct wm_replica *r, struct log *l)
{
	r->stats.full++;
	l->next_ms = wm_env_ms(r->c.env) + BACKOFF_MS;
	return WM_E_FULL;
}

static int take_shared(struct wm_replica *r, struct peer *from, const Wm__Replica__Batch *b,
		       struct wm_err *e)
{
	struct taking t;
	int err = taking_init(&t, r->shared, from, b->n_changes);

	for (size_t i = 0; i < b->n_changes && !err; i++) {
		struct wm_replica_change c;

		err = take_read(r->shared, b->changes[i], 0, &c, e);
		if (!err)
			err = merge(r, &t, &c, b->changes[i]->replaced, e);
	}
	if (err)
		taking_abort(r, &t);
	else
		err = taking_commit(r, &t, true);
	taking_free(&t);
	if (err == WM_E_FULL)
		take_full(r, r->shared);
	else if (err == WM_E_LIMIT)
		held_ask(r, r->shared);
	return err == WM_E_INVALID ? err : 0; /* what was not taken digests find */
}

/* Changes of a log that come next in it. */
static int add_news(struct wm_replica *r, struct taking *t, const Wm__Replica__Batch *b,
		    struct wm_err *e)
{
	struct log *l = t->l;

	for (size_t i = 0; i < b->n_changes; i++) {
		struct wm_replica_change c;
		struct object *o;
		int err = take_read(l, b->changes[i], b->epoch, &c, e);

		if (err)
			return err;
		if (c.version.epoch != b->epoch || c.version.seq <= b->after ||
		    c.version.seq > b->upto)
			return wm_err_set(e, WM_E_INVALID, "a change is outside of its batch");
		if (b->epoch == l->at.epoch && c.version.seq <= l->at.seq) {
			r->stats.stale++;
			continue;
		}
		err = object_ready(r, l, &c.key, &o);
		if (err)
			return err;
		if (o->taking)
			return wm_err_set(e, WM_E_INVALID, "a message has an object twice");
		taking_add(t, o, &c, 0);
	}
	return 0;
}

static void gap(struct wm_replica *r, struct peer *from, struct log *l, struct position told)
{
	r->stats.gaps++;
	if (position_cmp(told, l->told) > 0)
		l->told = told;
	l->again = l->puller != NULL;
	if (from->up)
		pull_want(r, from, l, told.epoch == l->at.epoch ? PULL_DELTA : PULL_WHOLE);
}

/* Is the log of a batch one that may be told of? @return NULL: no. */
static struct log *log_of_news(struct wm_replica *r, const Wm__Replica__Batch *b)
{
	const struct position upto = {b->epoch, b->upto};
	struct wm_peer_id id;
	struct log *l;

	memcpy(id.octets, b->origin.data, sizeof(id.octets));
	l = log_get(r, &id);
	if (l && l->own) {
		r->stats.foreign++;
		return NULL;
	}
	if (!l)
		return log_new(r, &id, false);
	if (l->stub && position_cmp(upto, l->forgotten) <= 0) {
		r->stats.stale++;
		return NULL;
	}
	l->stub = false;
	return l;
}

/* Would the log be what its agent proved? */
static bool batch_fits(const struct wm_replica *r, struct taking *t, const Wm__Replica__Batch *b)
{
	const struct wm_replica_proofs *c = r->c.proofs;
	struct wm_setsum sum = t->l->proving->sum;
	int err = b->proof.len == PROOF_OCTETS ? taking_elements(r, t) : -EINVAL;

	for (size_t i = 0; i < t->count && !err; i++) {
		const struct object *o = t->objects[i];

		if (o->proved)
			err = c->add(c->arg, &sum, o->element, true);
		if (!err && !t->changes[i].gone)
			err = c->add(c->arg, &sum, t->elements[i], false);
	}
	return !err &&
	       proof_fits(r, t->l, (struct position){b->epoch, b->upto}, &sum, b->proof.data, NULL);
}

/* News that is not proved is dropped, and the log pulled, which proves what is right: it may be
 * what is here that is wrong. */
static void batch_unproved(struct wm_replica *r, struct peer *from, struct log *l)
{
	if (proof_here(l))
		proof_forged(r, from, l);
	pull_want(r, from, l, PULL_DELTA);
}

/* Is its digest what the log's is now? */
static void batch_digest(struct wm_replica *r, struct peer *from, struct log *l,
			 const Wm__Replica__Batch *b)
{
	if (!b->digest.len)
		return;
	if (digest_get(b->digest.data) == l->digest) {
		l->state = LOG_VERIFIED;
		held_end(l);
	} else if (l->state != LOG_PARTIAL) {
		l->state = LOG_WHOLE;
		pull_repair(r, from, l);
	}
}

/* It is there now, as it was told. */
static void batch_taken(struct wm_replica *r, struct peer *from, struct log *l,
			const Wm__Replica__Batch *b)
{
	log_set_at(r, l, (struct position){b->epoch, b->upto});
	if (!l->proving) {
		batch_digest(r, from, l, b);
		return;
	}
	proof_have(l, b->proof.data);
	l->state = LOG_VERIFIED;
	held_end(l);
}

int take_batch(struct wm_replica *r, struct peer *from, const Wm__Replica__Batch *b,
	       struct wm_err *e)
{
	const struct position upto = {b->epoch, b->upto};
	const int unproved = r->c.proofs != NULL; /* here: it is not passed on */
	struct taking t;
	struct log *l;
	bool first, fits;
	int err;

	if (!b->origin.len)
		return take_shared(r, from, b, e);
	if (!origin_ok(&b->origin) || !b->epoch || b->upto < b->after ||
	    (b->digest.len && b->digest.len != 16))
		return wm_err_set(e, WM_E_INVALID, "a batch has no valid origin or numbers");
	l = log_of_news(r, b);
	if (!l || l->sweeping)
		return unproved;
	first = !l->at.epoch && !b->after;
	if (proof_taking(l) || (l->proving && !l->proving->keyed)) {
		gap(r, from, l, upto);
		return unproved;
	}
	if (!first &&
	    (b->epoch > l->at.epoch || (b->epoch == l->at.epoch && b->after > l->at.seq))) {
		gap(r, from, l, upto);
		return unproved;
	}
	if (position_cmp(upto, l->at) <= 0) {
		r->stats.stale += b->n_changes;
		return unproved;
	}
	err = taking_init(&t, l, from, b->n_changes);
	if (!err)
		err = add_news(r, &t, b, e);
	fits = err || !l->proving || batch_fits(r, &t, b);
	if (err || !fits)
		taking_abort(r, &t);
	else
		err = taking_commit(r, &t, !l->proving); /* what is proved is its owner's word */
	taking_free(&t);
	if (err == WM_E_INVALID)
		return err;
	if (!fits) {
		batch_unproved(r, from, l);
		return unproved;
	}
	if (err) {
		if (err == WM_E_FULL)
			take_full(r, l);
		gap(r, from, l, upto); /* what the brake holds is asked of nobody but its agent */
		held_ask(r, l);
		return unproved;
	}
	if (first)
		l->state = LOG_WHOLE;
	batch_taken(r, from, l, b);
	return 0;
}

/* It is what it was in the store, whose octets were not given. */
static int mark_proved(const struct wm_replica *r, struct log *l, struct object *o,
		       const struct wm_replica_change *c)
{
	uint8_t element[WM_SETSUM_HASH];
	int err = l->proving ? proof_element(r, &c->key, object_at(o), c->object, c->len, element)
			     : 0;

	if (!err && l->proving)
		proof_set(r, l, o, element);
	return err;
}

/* What a log that was pulled whole, or buckets of it, says of one object. */
static int add_anew(struct wm_replica *r, struct taking *t, struct wm_replica_change *c,
		    struct wm_err *e)
{
	const struct position at = {c->version.epoch, c->version.seq};
	struct log *l = t->l;
	struct object *o = object_get(r, l, &c->key);
	/* who knows better may have begun an earlier day's store: numbers were given twice */
	bool renewed = l->target.epoch != l->at.epoch || l->kind == PULL_BUCKETS || l->proving;
	int cmp, err;

	if (!o && c->gone)
		return 0;
	err = object_ready(r, l, &c->key, &o);
	if (err)
		return err;
	if (o->taking)
		return wm_err_set(e, WM_E_INVALID, "a message has an object twice");
	if (!o->listed) {
		taking_add(t, o, c, 0);
		return 0;
	}
	cmp = position_cmp(at, object_at(o));
	c->same = same_content(r, l, o, c);
	if ((!cmp && (c->gone ? o->gone_s != 0 : !o->gone_s && (c->same || !renewed))) ||
	    (cmp < 0 && !renewed)) {
		object_mark(l, o);
		r->stats.stale++;
		return o->proved || c->gone ? 0 : mark_proved(r, l, o, c);
	}
	taking_add(t, o, c, 0);
	return 0;
}

static int add_change(struct wm_replica *r, struct taking *t, struct wm_replica_change *c,
		      uint64_t base, struct wm_err *e)
{
	const struct position at = {c->version.epoch, c->version.seq};
	struct log *l = t->l;
	struct object *o;
	int err;

	if (l->shared)
		return merge(r, t, c, base, e);
	if (position_cmp(at, l->target) > 0)
		return wm_err_set(e, WM_E_INVALID, "a change is beyond the end of its log");
	if (l->kind != PULL_DELTA)
		return add_anew(r, t, c, e);
	if (at.epoch != l->at.epoch)
		return wm_err_set(e, WM_E_INVALID, "a change is of another epoch than its log");
	err = object_ready(r, l, &c->key, &o);
	if (err)
		return err;
	if (o->taking)
		return wm_err_set(e, WM_E_INVALID, "a message has an object twice");
	if (o->listed && position_cmp(at, object_at(o)) <= 0)
		r->stats.stale++;
	else
		taking_add(t, o, c, 0);
	return 0;
}

int take_place_cmp(struct position a, const struct wm_replica_key *k, struct position b,
		   const struct wm_replica_key *q)
{
	int c = position_cmp(a, b);

	if (!c)
		c = memcmp(k->octets, q->octets, k->len < q->len ? k->len : q->len);
	return c ? c : (k->len > q->len) - (k->len < q->len);
}

/* Changes come in the order of the log, behind what came; a page that goes back would never end. */
static int add_part(struct wm_replica *r, struct taking *t, const Wm__Replica__Part *p,
		    struct wm_err *e)
{
	struct log *l = t->l;
	struct position at = l->cursor;
	struct wm_replica_key key = {l->cursor_key, l->cursor_len};

	for (size_t i = 0; i < p->n_changes; i++) {
		struct wm_replica_change c = {.key = {"", 0}};
		int err = take_read(l, p->changes[i], p->epoch, &c, e);
		struct position next;

		if (err)
			return err;
		next = (struct position){c.version.epoch, c.version.seq};
		if (take_place_cmp(next, &c.key, at, &key) <= 0)
			return wm_err_set(e, WM_E_INVALID, "a page goes back in its log");
		at = next;
		key = c.key;
		err = add_change(r, t, &c, p->changes[i]->replaced, e);
		if (err)
			return err;
	}
	return 0;
}

/* Remember how far the page came. @return 2: nothing new came. */
int take_advance(const struct wm_replica *r, struct log *l, const Wm__Replica__Part *p,
		 struct wm_err *e)
{
	const struct position at = {p->at_epoch, p->at_seq};
	const struct wm_replica_key key = {p->at_key.len ? (void *)p->at_key.data : "",
					   p->at_key.len},
				    had = {l->cursor_key, l->cursor_len};
	int c;

	if (key.len > WM_REPLICA_KEY_MAX)
		return wm_err_set(e, WM_E_INVALID, "a page has a key of over %d octets",
				  WM_REPLICA_KEY_MAX);
	c = take_place_cmp(at, &key, l->cursor, &had);
	if (c < 0 || l->came > 4ull * r->c.objects_max)
		return wm_err_set(e, WM_E_INVALID, "pages of a log go back, or have no end");
	l->cursor = at;
	memcpy(l->cursor_key, key.octets, key.len);
	l->cursor_len = key.len;
	if (c > 0) {
		l->idle = 0;
		return 0;
	}
	return ++l->idle > IDLE_MAX ? wm_err_set(e, WM_E_BUSY, "nothing comes") : 2;
}

/* What was proved was taken. @return true: and yet it is not what was proved. */
static bool settle_proved(struct wm_replica *r, struct log *l)
{
	bool proved = hold_settled(r, l);

	l->state = proved ? LOG_VERIFIED : LOG_WHOLE;
	if (!proved)
		l->next_ms = wm_env_ms(r->c.env) + BACKOFF_MS;
	return !proved;
}

/* All of it came: as good as where it came from. */
static void settle(struct wm_replica *r, struct log *l)
{
	struct peer *from = l->puller;
	bool wrong = !l->shared && l->target_state == LOG_VERIFIED && l->digest != l->target_digest;

	if (l->proving)
		wrong = settle_proved(r, l);
	else if (!l->shared)
		l->state = wrong ? LOG_WHOLE : l->target_state;
	if (!l->shared && !wrong)
		held_end(l);
	l->announce = !l->shared || l->took;
	pull_done(r, l);
	if (from && wrong)
		pull_repair(r, from, l);
	else if (from && l->shared)
		serve_vector(r, from, true); /* what they lack of ours */
}

static bool swept(const struct log *l, struct object *o, uint64_t since_ms,
		  const struct wm_peer_id *self)
{
	if (o->mark == l->mark || o->taking || o->gone_s)
		return false;
	if (l->kind == PULL_BUCKETS && !bucket_in(l->buckets, o->bucket))
		return false;
	/* what we wrote while we were away is news to the others */
	return !l->shared || !wm_peer_id_same(&shared_of(o)->writer, self) ||
	       wm_hlc_ms(o->seq) <= since_ms;
}

static size_t unmarked(const struct log *l, struct object *o, uint64_t since_ms,
		       const struct wm_peer_id *self)
{
	return o ? swept(l, o, since_ms, self) + unmarked(l, o->left, since_ms, self) +
			       unmarked(l, o->right, since_ms, self)
		 : 0;
}

static void sweep_end(struct wm_replica *r, struct log *l)
{
	l->sweeping = false;
	if (l->forgetting) {
		l->forgetting = false;
		l->forgotten = l->at;
		l->stub_ms = wm_env_ms(r->c.env);
		log_set_at(r, l, (struct position){0});
		l->told = l->floor = (struct position){0};
		l->state = LOG_PARTIAL;
		l->stub = true;
		l->distrust = false;
		pull_end(r, l);
		proof_forget(r, l);
		return;
	}
	if (l->kind == PULL_WHOLE) {
		if (!l->shared) {
			log_set_at(r, l, l->target);
			l->floor = l->target;
		}
		l->distrust = false;
	} else {
		r->stats.repairs++;
		peer_repaired(r, l->puller);
	}
	settle(r, l);
}

/* The first of what a sweep would remove. */
static void name_swept(struct wm_replica *r, struct log *l)
{
	struct wm_replica_key k = {"", 0}, *key = NULL;
	struct position at = {0};
	struct object *o;

	for (unsigned n = 0; n < VISIT_MAX && (o = log_next(l, at, key)); n++) {
		at = object_at(o);
		k = object_key(o);
		key = k.len ? &k : NULL;
		if (swept(l, o, r->away_since_ms, &r->c.id))
			held_name(l, &k);
	}
}

static int last_part(struct wm_replica *r, struct peer *from, struct log *l)
{
	if (l->kind == PULL_DELTA) {
		log_set_at(r, l, l->target);
		settle(r, l);
		return 0;
	}
	if (l->shared && l->kind == PULL_BUCKETS) {
		r->stats.repairs++;
		peer_repaired(r, l->puller);
		settle(r, l);
		return 0;
	}
	if (l->kind == PULL_WHOLE && l->marked == l->live + l->gone) {
		sweep_end(r, l); /* all that is here came */
		return 0;
	}
	if (braked(r, l, from, unmarked(l, l->root, r->away_since_ms, &r->c.id))) {
		name_swept(r, l);
		return WM_E_LIMIT;
	}
	l->sweeping = true;
	l->cursor = (struct position){0};
	l->cursor_len = 0;
	replica_work_soon(r, 0);
	return 0;
}

/* What a part says of where its log is. @return 1: not what was asked for, begin again. */
int take_head(struct wm_replica *r, struct log *l, const Wm__Replica__Part *p, struct wm_err *e)
{
	const struct position where = {p->epoch, p->seq};

	if (p->state > LOG_VERIFIED || (p->digest.len && p->digest.len != 16))
		return wm_err_set(e, WM_E_INVALID, "a page has no valid state or digest");
	if (p->whole && l->kind == PULL_DELTA) {
		l->kind = PULL_WHOLE;
		l->begun = false;
	} else if (l->begun && !l->shared && l->kind != PULL_DELTA && l->target.epoch &&
		   (where.epoch != l->target.epoch || position_cmp(where, l->target) < 0)) {
		/* it began anew there, too; or another goes on who knows less of it: what that
		 * lacks would be swept */
		l->begun = false;
		return 1;
	}
	if (!l->begun)
		pull_begin(r, l);
	if (!l->shared && (position_cmp(where, l->at) < 0 ||
			   (l->kind == PULL_DELTA && where.epoch != l->at.epoch) ||
			   (l->kind == PULL_BUCKETS && position_cmp(where, l->at))))
		return WM_E_CONFLICT; /* overtaken by other news */
	l->target = where;
	l->target_state = (enum log_state)p->state;
	l->target_digest = p->digest.len ? digest_get(p->digest.data) : 0;
	return 0;
}

int take_part(struct wm_replica *r, struct peer *from, struct log *l, const Wm__Replica__Part *p,
	      struct wm_err *e)
{
	int err = take_head(r, l, p, e);

	if (err)
		return err;
	l->came += p->n_changes;
	err = take_changes(r, from, l, p, e);
	return err == 2 ? 1 : err;
}

int take_changes(struct wm_replica *r, struct peer *from, struct log *l, const Wm__Replica__Part *p,
		 struct wm_err *e)
{
	struct taking t;
	int err = taking_init(&t, l, from, p->n_changes), moved;
	bool took;

	if (err)
		return err;
	err = add_part(r, &t, p, e);
	if (err)
		taking_abort(r, &t);
	else
		err = taking_commit(r, &t, true);
	took = t.count != 0;
	taking_free(&t);
	if (err == WM_E_FULL)
		return take_full(r, l);
	if (err)
		return err == WM_E_BUSY ? 1 : err;
	l->took |= took;
	if (p->last)
		return last_part(r, from, l);
	moved = take_advance(r, l, p, e);
	if (moved < 0)
		return moved;
	if (l->kind == PULL_DELTA && position_cmp(l->cursor, l->at) > 0) {
		l->state = LOG_PARTIAL;
		log_set_at(r, l, position_cmp(l->cursor, l->target) < 0 ? l->cursor : l->target);
	}
	return moved;
}

bool take_sweep(struct wm_replica *r, struct log *l)
{
	struct wm_replica_key key = {l->cursor_key, l->cursor_len},
			      *at = l->cursor_len ? &key : NULL;
	struct object *o = NULL;
	struct taking t;
	unsigned visits = 0;
	int err = taking_init(&t, l, NULL, SWEEP_MAX);

	while (!err && t.count < SWEEP_MAX && visits++ < VISIT_MAX) {
		o = log_next(l, l->cursor, at);
		if (!o)
			break;
		l->cursor = object_at(o);
		l->cursor_len = o->len;
		memcpy(l->cursor_key, o->name + 2, o->len);
		key.len = o->len;
		at = &key;
		if (o->gone_s && l->forgetting) {
			object_drop(r, l, o);
		} else if (swept(l, o, r->away_since_ms, &r->c.id)) {
			struct wm_replica_change c = change_of(l, o);

			c.gone_ms = wm_env_wall_ms(r->c.env);
			c.gone = true;
			c.forget = l->forgetting;
			taking_add(&t, o, &c, 0);
		}
	}
	if (!err && t.count)
		err = r->c.take(r->c.arg, t.changes, (unsigned)t.count);
	for (size_t i = 0; i < t.count; i++) {
		t.objects[i]->taking = false;
		if (!err) {
			r->stats.swept++;
			object_drop(r, l, t.objects[i]);
		}
	}
	taking_free(&t);
	if (err) { /* again from the beginning: what went is not met again */
		l->cursor = (struct position){0};
		l->cursor_len = 0;
		replica_work_soon(r, BUSY_MS);
		return false;
	}
	if (o)
		return false;
	sweep_end(r, l);
	return true;
}
