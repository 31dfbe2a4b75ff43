/* SPDX-License-Identifier: Apache-2.0 */
/* replica_serve.c - what is new here goes to all, who asks gets a page. A page has a bound in
 * octets, in changes and in objects that are looked at; the position where it ends is told, and
 * asked from next: nothing is remembered here for who asks. */
#include "replica_internal.h"

#include <errno.h>
#include <string.h>

/* Changes of one message. Their octets are in r->octets, which may move: offsets until it is done.
 */
struct out {
	Wm__Replica__Change *changes;
	Wm__Replica__Change **list;
	size_t *offsets;
	size_t count, cap, octets;
	bool tells; /* news of our own log: what is proved is what was told */
};

static void out_free(struct out *out)
{
	free(out->changes);
	free(out->list);
	free(out->offsets);
}

static int out_grow(struct out *out)
{
	size_t cap = out->cap ? 2 * out->cap : 64;
	void *p;

	if (out->count < out->cap)
		return 0;
	p = realloc(out->changes, cap * sizeof(*out->changes));
	if (!p)
		return -ENOMEM;
	out->changes = p;
	p = realloc(out->offsets, cap * sizeof(*out->offsets));
	if (!p)
		return -ENOMEM;
	out->offsets = p;
	p = realloc(out->list, cap * sizeof(Wm__Replica__Change *));
	if (!p)
		return -ENOMEM;
	out->list = p;
	out->cap = cap;
	return 0;
}

/* Are the octets that were read of an object those of its version? Ours may be ahead of it for as
 * long as the store takes, what is told of it is its content. */
static bool out_proved(struct wm_replica *r, const struct out *out, struct log *l, struct object *o,
		       const char *object, size_t len)
{
	const struct wm_replica_key k = object_key(o);
	uint8_t element[WM_SETSUM_HASH];

	if (!l->proving)
		return true;
	if (o->gone_s) {
		if (out->tells)
			proof_set(r, l, o, NULL);
		return true;
	}
	if (proof_element(r, &k, object_at(o), object, len, element))
		return false;
	if (out->tells || (l->own && !o->proved)) {
		proof_set(r, l, o, element);
		l->proving->have = false;
	}
	return o->proved && !memcmp(o->element, element, sizeof(element));
}

/* @return 0; 1: it does not fit any more, 2: it cannot be read now. */
static int out_add(struct wm_replica *r, struct out *out, struct log *l, struct object *o)
{
	const struct wm_replica_key k = object_key(o);
	size_t before = r->octets.len;
	Wm__Replica__Change *c;

	if (out->count == CHANGES_MAX || (out->count && out->octets >= WM_REPLICA_PAGE_MAX))
		return 1;
	if (out_grow(out))
		return 2;
	if (!o->gone_s && (r->c.read(r->c.arg, l->shared ? &shared_of(o)->writer : &l->id,
				     l->shared, &k, &r->octets) ||
			   r->octets.failed || r->octets.len == before)) {
		r->octets.failed = false;
		r->octets.len = before;
		return 2;
	}
	if (out->count && out->octets + (r->octets.len - before) > WM_REPLICA_PAGE_MAX) {
		r->octets.len = before;
		return 1;
	}
	if (!out_proved(r, out, l, o, o->gone_s ? NULL : r->octets.data + before,
			r->octets.len - before)) {
		r->octets.len = before;
		return 2;
	}
	c = &out->changes[out->count];
	wm__replica__change__init(c);
	c->key = (ProtobufCBinaryData){k.len, o->name + 2};
	c->epoch = o->epoch;
	c->seq = o->seq;
	c->gone = o->gone_s != 0;
	c->gone_ms = o->gone_s * 1000ull;
	c->object.len = r->octets.len - before;
	if (l->shared) {
		struct shared *s = shared_of(o);

		c->writer = (ProtobufCBinaryData){sizeof(s->writer.octets), s->writer.octets};
		if (s->semver)
			c->semver = s->semver;
		c->priority = s->priority;
		c->replaced = s->base;
	}
	out->offsets[out->count++] = before;
	out->octets += c->object.len + k.len + 48;
	return 0;
}

static void out_done(struct wm_replica *r, struct out *out)
{
	for (size_t i = 0; i < out->count; i++) {
		out->list[i] = &out->changes[i];
		if (out->changes[i].object.len)
			out->changes[i].object.data = (uint8_t *)r->octets.data + out->offsets[i];
	}
}

static bool settled(const struct wm_replica *r, const struct log *l)
{
	return !(l->own && r->quiet) && l->at.epoch && !l->stub && !l->distrust && !l->forgetting &&
	       !l->sweeping && !(l->puller && l->begun && l->kind == PULL_WHOLE);
}

static bool offered(const struct wm_replica *r, const struct log *l)
{
	return settled(r, l) && (!l->proving || l->own || proof_here(l));
}

/* An agent hears how far its log is here also where that is not proved any more: its own store may
 * be of an earlier day. */
static bool offered_to(const struct wm_replica *r, const struct log *l, const struct peer *to)
{
	return offered(r, l) || (wm_peer_id_same(&l->id, &to->id) && settled(r, l));
}

unsigned serve_listed(const struct wm_replica *r)
{
	size_t pos = 0;
	unsigned n = 1; /* shared */

	for (struct log *l; (l = log_walk(r, &pos));)
		n += !l->shared && offered(r, l);
	return n;
}

struct listing {
	Wm__Replica__Log logs[VECTOR_LOGS], *list[VECTOR_LOGS];
	uint8_t digests[VECTOR_LOGS][16];
	uint8_t proved[PROVED_OCTETS]; /* of the log of who is told */
	Wm__Replica__Vector v;
};

static void list_log(struct listing *ls, struct log *l)
{
	size_t n = ls->v.n_logs++;
	Wm__Replica__Log *m = &ls->logs[n];

	wm__replica__log__init(m);
	if (!l->shared)
		m->origin = (ProtobufCBinaryData){sizeof(l->id.octets), l->id.octets};
	m->epoch = l->at.epoch;
	m->seq = l->at.seq;
	m->state = (uint32_t)l->state;
	digest_put(l->digest, ls->digests[n]);
	m->digest = (ProtobufCBinaryData){16, ls->digests[n]};
	ls->list[n] = m;
}

static void list_send(struct wm_replica *r, struct peer *to, struct listing *ls)
{
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;

	ls->v.logs = ls->list;
	m.is_case = WM__REPLICA__MESSAGE__IS_VECTOR;
	m.vector = &ls->v;
	(void)wire_send(r, to, &m);
	ls->v.n_logs = 0;
	ls->v.first = false;
}

void serve_vector(struct wm_replica *r, struct peer *to, bool answer)
{
	struct listing *ls = calloc(1, sizeof(*ls));
	size_t pos = 0;

	/* to a member that has no stream with us: a question opens one */
	if (!ls || !(to->up || (answer && to->there))) {
		free(ls);
		return;
	}
	wm__replica__vector__init(&ls->v);
	ls->v.first = true;
	ls->v.away = r->shared->distrust;
	if (!r->c.leaf && !to->leaf)
		list_log(ls, r->shared);
	for (struct log *l; (l = log_walk(r, &pos));) {
		if (l->shared || !offered_to(r, l, to) || (r->c.leaf && !l->own) ||
		    (to->leaf && !wm_peer_id_same(&l->id, &to->id)))
			continue;
		if (ls->v.n_logs == VECTOR_LOGS)
			list_send(r, to, ls);
		list_log(ls, l);
		if (wm_peer_id_same(&l->id, &to->id) && proof_show(r, l, ls->proved))
			ls->list[ls->v.n_logs - 1]->proved =
				(ProtobufCBinaryData){PROVED_OCTETS, ls->proved};
	}
	ls->v.last = true;
	ls->v.answer = answer;
	list_send(r, to, ls);
	free(ls);
	if (!answer || to->question_ms)
		return;
	to->question_ms = wm_env_ms(r->c.env);
	replica_work_soon(r, to->patience_ms);
}

/* Neighbours hear of logs that came by being pulled: the tree told them that there was more. */
void serve_announce(struct wm_replica *r)
{
	struct listing *ls = calloc(1, sizeof(*ls));
	size_t pos = 0, n;
	struct peer *p;

	if (!ls)
		return;
	wm__replica__vector__init(&ls->v);
	for (struct log *l; ls->v.n_logs < VECTOR_LOGS && (l = log_walk(r, &pos));) {
		if (l->announce && (l->shared || offered(r, l)) && (l->own || !r->c.leaf))
			list_log(ls, l);
		l->announce = false;
	}
	n = ls->v.n_logs;
	pos = 0;
	while (n && (p = peer_walk(r, &pos))) {
		if (!p->up || p->leaf)
			continue;
		ls->v.n_logs = n;
		list_send(r, p, ls);
	}
	free(ls);
}

/* How far a page came with one log. */
static void fill(struct wm_replica *r, struct out *out, struct log *l, const Wm__Replica__Want *w,
		 Wm__Replica__Part *part)
{
	struct position at = {w->epoch, w->seq};
	struct wm_replica_key k = {w->key.data, w->key.len}, *key = w->key.len ? &k : NULL;
	const uint8_t *buckets = w->buckets.len ? w->buckets.data : NULL;

	if (part->whole && !w->whole) {
		at = (struct position){0};
		key = NULL;
	}
	for (unsigned visits = 0; visits < VISIT_MAX; visits++) {
		struct object *o = log_next(l, at, key);

		if (!o) {
			part->last = true;
			break;
		}
		if ((!buckets || bucket_in(buckets, o->bucket)) &&
		    !(buckets && !l->shared && o->gone_s) && out_add(r, out, l, o))
			break;
		at = object_at(o);
		k = object_key(o);
		key = &k;
	}
	part->at_epoch = at.epoch;
	part->at_seq = at.seq;
	if (key && key->len)
		part->at_key = (ProtobufCBinaryData){key->len, (uint8_t *)(uintptr_t)key->octets};
}

/* What was not told yet is not proved: ask again. */
static void from_again(const Wm__Replica__Want *w, Wm__Replica__Part *part)
{
	part->at_epoch = w->epoch;
	part->at_seq = w->seq;
	part->at_key = w->key;
}

/* With the last page of it. */
static void part_prove(struct wm_replica *r, const struct log *l, const Wm__Replica__Want *w,
		       Wm__Replica__Part *part)
{
	struct proving *v = l->proving;

	if (!v || !part->last || (l->own && !proof_own(r, l->at)))
		return;
	part->proof = (ProtobufCBinaryData){sizeof(v->proof), v->proof};
	if (w->card != v->mark)
		part->card = (ProtobufCBinaryData){v->card_len, (uint8_t *)v->card};
}

static void part_of(struct wm_replica *r, struct out *out, struct log *l,
		    const Wm__Replica__Want *w, Wm__Replica__Part *part, uint8_t digest[16])
{
	const struct position from = {w->epoch, w->seq};

	wm__replica__part__init(part);
	part->origin = w->origin;
	if (!l || (!l->shared && !offered(r, l))) {
		part->none = true;
		return;
	}
	part->epoch = l->at.epoch;
	part->seq = l->at.seq;
	part->state = (uint32_t)l->state;
	digest_put(l->digest, digest);
	part->digest = (ProtobufCBinaryData){16, digest};
	part->whole = w->whole || (!l->shared && !w->buckets.len &&
				   (from.epoch != l->at.epoch || position_cmp(from, l->floor) < 0));
	if (l->own && l->proving && l->at.seq > r->flushed) {
		from_again(w, part);
		return;
	}
	fill(r, out, l, w, part);
	part_prove(r, l, w, part);
}

static int pull_check(const Wm__Replica__Pull *pull, struct wm_err *e)
{
	if (pull->n_wants > PULL_LOGS)
		return wm_err_set(e, WM_E_INVALID, "over %d logs are asked for", PULL_LOGS);
	for (size_t i = 0; i < pull->n_wants; i++) {
		const Wm__Replica__Want *w = pull->wants[i];

		if ((w->origin.len && !origin_ok(&w->origin)) || w->key.len > WM_REPLICA_KEY_MAX ||
		    (w->buckets.len && w->buckets.len != WM_REPLICA_BUCKETS / 8))
			return wm_err_set(e, WM_E_INVALID, "what is asked for is no log");
	}
	return 0;
}

static int flush_own(struct wm_replica *r);

int serve_pull(struct wm_replica *r, struct peer *p, const Wm__Replica__Pull *pull,
	       struct wm_err *e)
{
	Wm__Replica__Part parts[PULL_LOGS], *list[PULL_LOGS];
	uint8_t digests[PULL_LOGS][16];
	size_t first[PULL_LOGS + 1];
	Wm__Replica__Page page = WM__REPLICA__PAGE__INIT;
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	struct out out = {0};
	int err = pull_check(pull, e);

	if (err)
		return err;
	if (r->c.proofs && !r->quiet && r->own->at.seq > r->flushed)
		(void)flush_own(r);
	wm_buf_reset(&r->octets);
	page.number = pull->number;
	page.parts = list;
	while (page.n_parts < pull->n_wants && out.octets < WM_REPLICA_PAGE_MAX &&
	       out.count < CHANGES_MAX) {
		const Wm__Replica__Want *w = pull->wants[page.n_parts];
		struct wm_peer_id id;
		struct log *l = r->shared;

		if (w->origin.len) {
			memcpy(id.octets, w->origin.data, sizeof(id.octets));
			l = log_get(r, &id);
		}
		first[page.n_parts] = out.count;
		part_of(r, &out, l, w, &parts[page.n_parts], digests[page.n_parts]);
		list[page.n_parts] = &parts[page.n_parts];
		page.n_parts++;
	}
	first[page.n_parts] = out.count;
	out_done(r, &out);
	for (size_t i = 0; i < page.n_parts; i++) {
		parts[i].n_changes = first[i + 1] - first[i];
		parts[i].changes = parts[i].n_changes ? out.list + first[i] : NULL;
	}
	m.is_case = WM__REPLICA__MESSAGE__IS_PAGE;
	m.page = &page;
	r->stats.served++;
	(void)wire_send(r, p, &m); /* without memory: who asked asks again */
	out_free(&out);
	return 0;
}

int serve_sums(struct wm_replica *r, struct peer *p, const Wm__Replica__Sums *s, struct wm_err *e)
{
	digest_t sums[WM_REPLICA_BUCKETS];
	uint8_t buckets[WM_REPLICA_BUCKETS / 8] = {0};
	Wm__Replica__Differ d = WM__REPLICA__DIFFER__INIT;
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	const struct position where = {s->epoch, s->seq};
	struct wm_peer_id id = {0};
	struct log *l = r->shared;

	if (s->sums.len != sizeof(sums) || (s->origin.len && !origin_ok(&s->origin)))
		return wm_err_set(e, WM_E_INVALID, "sums of a log are not %d", WM_REPLICA_BUCKETS);
	if (s->origin.len) {
		memcpy(id.octets, s->origin.data, sizeof(id.octets));
		l = log_get(r, &id);
		if (!l || !offered(r, l) || position_cmp(where, l->at))
			return 0;
	}
	log_sums(l, sums);
	for (size_t i = 0; i < WM_REPLICA_BUCKETS; i++)
		if (digest_get(s->sums.data + 16 * i) != sums[i])
			buckets[i / 8] |= (uint8_t)(1u << i % 8);
	d.origin = s->origin;
	d.epoch = l->at.epoch;
	d.seq = l->at.seq;
	d.state = (uint32_t)l->state;
	d.buckets = (ProtobufCBinaryData){sizeof(buckets), buckets};
	m.is_case = WM__REPLICA__MESSAGE__IS_DIFFER;
	m.differ = &d;
	(void)wire_send(r, p, &m);
	return 0;
}

void serve_flush_soon(struct wm_replica *r, uint64_t ms)
{
	if (!r->flush_armed)
		r->flush_armed = wm_env_timer_arm(r->flush, ms) == 0;
}

void serve_gather(struct wm_replica *r)
{
	uint64_t since = wm_env_ms(r->c.env) - r->told_ms;

	serve_flush_soon(r, since < BATCH_MS ? BATCH_MS - since : 0);
}

int serve_pending(struct wm_replica *r, struct object *o)
{
	size_t cap = r->pending_cap ? 2 * r->pending_cap : 16;
	struct object **p = r->pending;

	if (!o->pending) {
		if (r->pending_len == r->pending_cap) {
			p = realloc(p, cap * sizeof(struct object *));
			if (!p)
				return -ENOMEM;
			r->pending = p;
			r->pending_cap = cap;
		}
		o->pending = true;
		p[r->pending_len++] = o;
	}
	serve_gather(r);
	return 0;
}

static void batch_send(struct wm_replica *r, struct out *out, Wm__Replica__Batch *b)
{
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;

	out_done(r, out);
	b->changes = out->list;
	b->n_changes = out->count;
	m.is_case = WM__REPLICA__MESSAGE__IS_BATCH;
	m.batch = b;
	r->stats.own += out->count;
	r->told_ms = wm_env_ms(r->c.env);
	(void)wire_send(r, NULL, &m); /* without memory: who lacks it asks */
	out_free(out);
	*out = (struct out){0};
}

/* The log from what was told last: the newest of each object. @return 2: not readable now. */
static int flush_own(struct wm_replica *r)
{
	struct log *l = r->own;
	struct position at = {l->at.epoch, r->flushed};
	Wm__Replica__Batch b = WM__REPLICA__BATCH__INIT;
	struct out out = {.tells = true};
	uint8_t digest[16];
	struct object *o;
	int err = 0;

	wm_buf_reset(&r->octets);
	while ((o = log_next(l, at, NULL))) {
		err = out_add(r, &out, l, o);
		if (!err && out.octets > SPREAD_OBJECT_MAX) {
			/* too large for the tree: it is said that there is something to ask for */
			out.count = 0;
			r->flushed = o->seq;
			break;
		}
		if (err)
			break;
		at = object_at(o);
	}
	if (out.count || o || r->flushed < l->at.seq) {
		b.origin = (ProtobufCBinaryData){sizeof(l->id.octets), l->id.octets};
		b.epoch = l->at.epoch;
		b.after = r->flushed;
		b.upto = o ? (at.seq > r->flushed ? at.seq : r->flushed) : l->at.seq;
		if (l->proving && proof_own(r, (struct position){b.epoch, b.upto})) {
			b.proof = (ProtobufCBinaryData){PROOF_OCTETS, l->proving->proof};
		} else if (!o) {
			digest_put(l->digest, digest);
			b.digest = (ProtobufCBinaryData){sizeof(digest), digest};
		}
		if (out.count || b.upto > b.after || (o && err != 2))
			batch_send(r, &out, &b);
		r->flushed = b.upto;
	}
	out_free(&out);
	return err;
}

static int flush_shared(struct wm_replica *r)
{
	Wm__Replica__Batch b = WM__REPLICA__BATCH__INIT;
	struct out out = {0};
	size_t n = 0;
	int err = 0;

	wm_buf_reset(&r->octets);
	while (n < r->pending_len && !err) {
		size_t before = out.octets;

		err = out_add(r, &out, r->shared, r->pending[n]);
		if (!err && out.octets - before > SPREAD_OBJECT_MAX) {
			out.count--; /* too large for the tree: digests find it */
			out.octets = before;
		}
		if (!err)
			r->pending[n++]->pending = false;
	}
	if (out.count)
		batch_send(r, &out, &b);
	r->pending_len -= n;
	memmove(r->pending, r->pending + n, r->pending_len * sizeof(struct object *));
	out_free(&out);
	return err;
}

void serve_flush(void *arg)
{
	struct wm_replica *r = arg;
	bool busy = false;

	r->flush_armed = false;
	if (r->quiet)
		return;
	if (r->own->at.seq > r->flushed)
		busy = flush_own(r) == 2;
	if (r->pending_len)
		busy |= flush_shared(r) == 2;
	if (r->own->at.seq > r->flushed || r->pending_len)
		serve_flush_soon(r, busy ? BUSY_MS : 0);
}
