/* SPDX-License-Identifier: Apache-2.0 */
/* replica_pages.c - pages of a log that is to be proved are held beside it. When the last one came,
 * with the proof, it is known what the log would be: only then they are taken, page by page. What
 * is not proved is dropped. If it was a part of the log that was asked for, the part that is here
 * may be what is wrong, so all of it is asked for, and judged by itself. */
#include "replica_internal.h"

#include <errno.h>
#include <string.h>

#define TAKE_MAX 4096 /* changes taken in one turn */

/* A change that was pulled; in the map the newest of its object. */
struct held {
	struct wm_replica_key key; /* in its part */
	struct position at;
	bool gone;
	uint8_t element[WM_SETSUM_HASH];
};

struct hold {
	Wm__Replica__Part **parts;
	struct held **changes;	 /* of each part */
	size_t count, cap, next; /* next: to be taken */
	size_t octets;
	struct wm_map *newest; /* by key */
	struct wm_setsum sum;  /* of the newest that are there */
	struct position from;  /* where it was asked from */
	bool mixed;	       /* who began fell silent, and another went on */
};

static void part_free(Wm__Replica__Part *p)
{
	ProtobufCAllocator a = wire_allocator(NULL);

	wm__replica__part__free_unpacked(p, &a);
}

void hold_clear(struct wm_replica *r, struct log *l)
{
	struct hold *h = l->proving ? l->proving->hold : NULL;

	if (l->proving)
		l->proving->taking = false;
	if (!h)
		return;
	l->proving->hold = NULL;
	r->held_octets -= h->octets;
	for (size_t i = 0; i < h->count; i++) {
		part_free(h->parts[i]);
		free(h->changes[i]);
	}
	free(h->parts);
	free(h->changes);
	wm_map_free(h->newest);
	free(h);
}

struct hold *hold_detach(struct log *l)
{
	struct hold *h = l->proving ? l->proving->hold : NULL;

	if (h)
		l->proving->hold = NULL;
	return h;
}

void hold_resume(struct log *l, struct hold *h)
{
	if (!h)
		return;
	h->mixed = true;
	l->proving->hold = h;
}

static struct hold *hold_of(struct wm_replica *r, struct log *l)
{
	struct hold *h = l->proving->hold;

	if (h)
		return h;
	h = calloc(1, sizeof(*h));
	if (!h)
		return NULL;
	h->newest = wm_map_new(r->c.objects_max);
	if (!h->newest) {
		free(h);
		return NULL;
	}
	h->from = l->cursor;
	l->proving->hold = h;
	return h;
}

static int hold_grow(struct hold *h)
{
	size_t cap = h->cap ? 2 * h->cap : 8;
	void *p;

	if (h->count < h->cap)
		return 0;
	p = realloc(h->parts, cap * sizeof(Wm__Replica__Part *));
	if (!p)
		return -ENOMEM;
	h->parts = p;
	p = realloc(h->changes, cap * sizeof(struct held *));
	if (!p)
		return -ENOMEM;
	h->changes = p;
	h->cap = cap;
	return 0;
}

/* It is the newest of its object, and in the sum in the place of the one before. */
static int hold_newest(const struct wm_replica *r, struct hold *h, struct held *c)
{
	const struct wm_replica_proofs *p = r->c.proofs;
	struct held *before = wm_map_del(h->newest, c->key.octets, c->key.len);
	int err = wm_map_put(h->newest, c->key.octets, c->key.len, c, NULL);

	if (!err && before && !before->gone)
		err = p->add(p->arg, &h->sum, before->element, true);
	if (!err && !c->gone)
		err = p->add(p->arg, &h->sum, c->element, false);
	return err;
}

static int hold_change(struct wm_replica *r, struct log *l, const Wm__Replica__Part *p, size_t n,
		       struct held *ret, struct wm_err *e)
{
	struct wm_replica_change c = {.key = {"", 0}};
	int err = take_read(l, p->changes[n], p->epoch, &c, e);

	if (err)
		return err;
	*ret = (struct held){.key = c.key, .at = {c.version.epoch, c.version.seq}, .gone = c.gone};
	if (position_cmp(ret->at, l->target) > 0)
		return wm_err_set(e, WM_E_INVALID, "a change is beyond the end of its log");
	if (l->kind == PULL_DELTA && ret->at.epoch != l->at.epoch)
		return wm_err_set(e, WM_E_INVALID, "a change is of another epoch than its log");
	return c.gone ? 0 : proof_element(r, &c.key, ret->at, c.object, c.len, ret->element);
}

static int hold_changes(struct wm_replica *r, struct log *l, struct hold *h,
			const Wm__Replica__Part *p, struct held *list, struct wm_err *e)
{
	struct wm_replica_key key = {l->cursor_key, l->cursor_len};
	struct position at = l->cursor;

	for (size_t i = 0; i < p->n_changes; i++) {
		int err = hold_change(r, l, p, i, &list[i], e);

		if (err)
			return err;
		if (take_place_cmp(list[i].at, &list[i].key, at, &key) <= 0)
			return wm_err_set(e, WM_E_INVALID, "a page goes back in its log");
		at = list[i].at;
		key = list[i].key;
		err = hold_newest(r, h, &list[i]);
		if (err)
			return err;
	}
	return 0;
}

static size_t octets_of(const Wm__Replica__Part *p)
{
	size_t n = sizeof(*p);

	for (size_t i = 0; i < p->n_changes; i++)
		n += sizeof(*p->changes[i]) + sizeof(struct held) + p->changes[i]->key.len +
		     p->changes[i]->object.len;
	return n;
}

/* --- what the log would be ---------------------------------------------------------------------
 */
static void sums_add(struct wm_setsum *to, const struct wm_setsum *s)
{
	for (unsigned i = 0; i < WM_SETSUM_LANES; i++)
		to->lanes[i] = (uint16_t)(to->lanes[i] + s->lanes[i]);
}

static int buckets_out(const struct wm_replica *r, const struct log *l, const struct object *o,
		       struct wm_setsum *sum)
{
	const struct wm_replica_proofs *c = r->c.proofs;
	int err = 0;

	for (; o && !err; o = o->right) {
		if (o->proved && bucket_in(l->buckets, o->bucket))
			err = c->add(c->arg, sum, o->element, true);
		if (!err)
			err = buckets_out(r, l, o->left, sum);
	}
	return err;
}

/* What is here and goes, or what came and is older than what news brought meanwhile. */
static int replaced_out(const struct wm_replica *r, const struct log *l, const struct held *c,
			struct wm_setsum *sum)
{
	const struct wm_replica_proofs *p = r->c.proofs;
	const struct object *o = object_get(r, l, &c->key);

	if (l->kind == PULL_DELTA && position_cmp(c->at, l->at) <= 0)
		return c->gone ? 0 : p->add(p->arg, sum, c->element, true);
	if (!o || !o->proved || (l->kind == PULL_BUCKETS && bucket_in(l->buckets, o->bucket)))
		return 0;
	return p->add(p->arg, sum, o->element, true);
}

static int sum_after(const struct wm_replica *r, const struct log *l, const struct hold *h,
		     struct wm_setsum *ret)
{
	const struct held *c;
	size_t pos = 0;
	int err = 0;

	*ret = h->sum;
	if (l->kind == PULL_WHOLE)
		return 0;
	sums_add(ret, &l->proving->sum);
	if (l->kind == PULL_BUCKETS)
		err = buckets_out(r, l, l->root, ret);
	while (!err && (c = wm_map_next(h->newest, &pos)))
		err = replaced_out(r, l, c, ret);
	return err;
}

/* --- judging ---------------------------------------------------------------------------------- */
static int hold_unproved(struct wm_replica *r, struct peer *from, struct log *l,
			 const struct wm_err *why)
{
	char id[WM_PEER_ID_TEXT];

	r->stats.unproved++;
	wm_peer_id_format(&l->id, id);
	if (!from->forged_ms || wm_env_ms(r->c.env) - from->forged_ms >= BRAKE_WINDOW_MS)
		replica_alarm(r, &from->id, "the log of agent %s is not taken of it: %s", id,
			      *why->text ? why->text : "it has nothing that says whose it is");
	from->forged_ms = wm_env_ms(r->c.env);
	proof_shun(r, from, l);
	return WM_E_CONFLICT;
}

/* @return 0; 1: all of it is asked for; WM_E_CONFLICT: dropped; other errors. */
static int hold_judge(struct wm_replica *r, struct peer *from, struct log *l,
		      const Wm__Replica__Part *p)
{
	struct proving *v = l->proving;
	struct wm_setsum sum;
	struct wm_err why = {0};
	int err = p->card.len ? proof_card(r, l, &p->card, &why) : 0;

	if (err == WM_E_UNKNOWN) { /* nobody's fault */
		l->next_ms = wm_env_ms(r->c.env) + ASK_MS;
		return WM_E_CONFLICT;
	}
	if (err == WM_E_INVALID || (!err && !v->keyed))
		return hold_unproved(r, from, l, &why);
	if (!err)
		err = sum_after(r, l, v->hold, &sum);
	if (err)
		return err;
	if (p->proof.len == PROOF_OCTETS &&
	    proof_fits(r, l, l->target, &sum, p->proof.data, v->next_hash)) {
		memcpy(v->next_proof, p->proof.data, PROOF_OCTETS);
		return 0;
	}
	if (l->kind != PULL_WHOLE || v->hold->mixed) { /* who told it may not be who is wrong */
		l->kind = PULL_WHOLE;
		pull_begin(r, l);
		return 1;
	}
	proof_forged(r, from, l);
	proof_shun(r, from, l);
	return WM_E_CONFLICT;
}

static int hold_keep(struct wm_replica *r, struct log *l, Wm__Replica__Part **part,
		     struct wm_err *e)
{
	struct hold *h = hold_of(r, l);
	Wm__Replica__Part *p = *part;
	size_t octets = octets_of(p);
	struct held *list;

	if (!h || hold_grow(h))
		return -ENOMEM;
	if (r->held_octets + octets > HOLD_MAX)
		return take_full(r, l);
	list = calloc(p->n_changes + 1, sizeof(*list));
	if (!list)
		return -ENOMEM;
	h->parts[h->count] = p;
	h->changes[h->count++] = list;
	h->octets += octets;
	r->held_octets += octets;
	*part = NULL;
	return hold_changes(r, l, h, p, list, e);
}

int hold_part(struct wm_replica *r, struct peer *from, struct log *l, Wm__Replica__Part **part,
	      struct wm_err *e)
{
	const Wm__Replica__Part *p = *part;
	int err = take_head(r, l, p, e);

	if (err)
		return err;
	l->came += p->n_changes;
	err = hold_keep(r, l, part, e);
	if (err)
		return err;
	if (!p->last) {
		err = take_advance(r, l, p, e);
		return err == 2 ? 1 : err;
	}
	err = hold_judge(r, from, l, p);
	if (err)
		return err;
	/* from the beginning, as if it came now; what it does not have goes */
	if (l->kind != PULL_DELTA)
		log_unmark(l);
	l->cursor = l->proving->hold->from;
	l->cursor_len = 0;
	l->proving->taking = true;
	if (!hold_take(r, l))
		replica_work_soon(r, 0);
	return 0;
}

/* --- taking ----------------------------------------------------------------------------------- */
bool hold_take(struct wm_replica *r, struct log *l)
{
	struct hold *h = l->proving->hold;
	size_t took = 0;

	while (took < TAKE_MAX) {
		const Wm__Replica__Part *p = h->parts[h->next];
		bool last = h->next + 1 == h->count;
		struct wm_err e = {0};
		int err;

		took += p->n_changes + 1;
		l->idle = 0;
		err = take_changes(r, l->puller, l, p, &e);
		if (err == 1) {
			replica_work_soon(r, BUSY_MS);
			return true;
		}
		if (err < 0)
			pull_give_up(r, l);
		if (err < 0 || last)
			return true;
		h->next++;
	}
	return false;
}

bool hold_settled(const struct wm_replica *r, struct log *l)
{
	uint8_t hash[WM_SETSUM_HASH];

	if (position_cmp(l->at, l->target) ||
	    r->c.proofs->sum(r->c.proofs->arg, &l->proving->sum, hash) ||
	    memcmp(hash, l->proving->next_hash, sizeof(hash)) != 0)
		return false;
	proof_have(l, l->proving->next_proof);
	return true;
}
