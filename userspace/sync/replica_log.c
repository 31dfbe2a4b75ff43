/* SPDX-License-Identifier: Apache-2.0 */
/* replica_log.c - logs and what is in them. Each is a treap in the order of versions, in which any
 * position is found without a cursor that others could hold. Digests are of what is there: a
 * tombstone that is forgotten changes none. */
#include "replica_internal.h"

#include <errno.h>
#include <string.h>

static int key_cmp(const struct wm_replica_key *a, const struct wm_replica_key *b)
{
	int c = memcmp(a->octets, b->octets, a->len < b->len ? a->len : b->len);

	return c ? c : (a->len > b->len) - (a->len < b->len);
}

static int place_cmp(struct position at, const struct wm_replica_key *key, const struct object *o)
{
	const struct wm_replica_key k = object_key(o);
	int c = position_cmp(at, object_at(o));

	return c ? c : key ? key_cmp(key, &k) : 1;
}

static void split(struct object *t, const struct object *o, struct object **low,
		  struct object **high)
{
	const struct wm_replica_key k = object_key(o);

	while (t) {
		if (place_cmp(object_at(o), &k, t) < 0) {
			*high = t;
			high = &t->left;
			t = t->left;
		} else {
			*low = t;
			low = &t->right;
			t = t->right;
		}
	}
	*low = *high = NULL;
}

static void tree_insert(struct object **at, struct object *o)
{
	const struct wm_replica_key k = object_key(o);

	while (*at && (*at)->hash >= o->hash)
		at = place_cmp(object_at(o), &k, *at) < 0 ? &(*at)->left : &(*at)->right;
	split(*at, o, &o->left, &o->right);
	*at = o;
}

static void tree_remove(struct object **at, struct object *o)
{
	const struct wm_replica_key k = object_key(o);
	struct object *low = o->left, *high = o->right;

	while (*at != o)
		at = place_cmp(object_at(o), &k, *at) < 0 ? &(*at)->left : &(*at)->right;
	while (low && high) {
		if (low->hash > high->hash) {
			*at = low;
			at = &low->right;
			low = low->right;
		} else {
			*at = high;
			at = &high->left;
			high = high->left;
		}
	}
	*at = low ? low : high;
}

struct object *log_next(const struct log *l, struct position at, const struct wm_replica_key *key)
{
	struct object *best = NULL;

	for (struct object *o = l->root; o;) {
		if (place_cmp(at, key, o) < 0) {
			best = o;
			o = o->left;
		} else {
			o = o->right;
		}
	}
	return best;
}

static void put64(uint8_t *p, uint64_t v)
{
	for (int i = 7; i >= 0; i--, v >>= 8)
		p[i] = (uint8_t)v;
}

/* Of whose it is, its name and its version. */
digest_t object_hash(const struct log *l, struct object *o)
{
	uint8_t b[16 + 16 + 16 + WM_REPLICA_KEY_MAX];
	size_t n = 16;

	memcpy(b, l->id.octets, 16);
	if (l->shared) {
		memcpy(b + n, shared_of(o)->writer.octets, 16);
		n += 16;
	}
	put64(b + n, o->epoch);
	put64(b + n + 8, o->seq);
	n += 16;
	memcpy(b + n, object_key(o).octets, o->len);
	return replica_hash(b, n + o->len);
}

static digest_t position_hash(const struct log *l)
{
	uint8_t b[32];

	if (l->shared || l->stub || (!l->at.epoch && !l->at.seq))
		return 0;
	memcpy(b, l->id.octets, 16);
	put64(b + 16, l->at.epoch);
	put64(b + 24, l->at.seq);
	return replica_hash(b, sizeof(b));
}

void log_set_at(struct wm_replica *r, struct log *l, struct position at)
{
	r->vector -= position_hash(l);
	l->at = at;
	r->vector += position_hash(l);
	if (position_cmp(l->told, at) < 0)
		l->told = at;
}

/* Count an object in, or out. */
static void log_count(struct wm_replica *r, struct log *l, struct object *o, bool in)
{
	digest_t h;

	if (o->gone_s) {
		l->gone += in ? 1 : -1u;
		r->tombs += in ? 1 : -1u;
		return;
	}
	h = in ? object_hash(l, o) : -object_hash(l, o);
	l->live += in ? 1 : -1u;
	r->live += in ? 1 : -1u;
	l->digest += h;
	r->digest += h;
	if (l->sums)
		l->sums[o->bucket] += h;
}

static int tombs_reserve(struct log *l)
{
	size_t cap = l->tombs_cap ? 2 * l->tombs_cap : 16;
	struct tomb *t;

	if (l->tombs_len < l->tombs_cap)
		return 0;
	if (l->tombs_head > l->tombs_cap / 2) {
		l->tombs_len -= l->tombs_head;
		memmove(l->tombs, l->tombs + l->tombs_head, l->tombs_len * sizeof(*t));
		l->tombs_head = 0;
		return 0;
	}
	t = realloc(l->tombs, cap * sizeof(*t));
	if (!t)
		return -ENOMEM;
	l->tombs = t;
	l->tombs_cap = cap;
	return 0;
}

/* In the order of positions; nearly all come at the end. Without memory it is kept for ever, which
 * is safe. */
static void tombs_add(struct wm_replica *r, struct log *l, const struct object *o)
{
	int64_t now = replica_s(r), since = (int64_t)(wm_env_wall_ms(r->c.env) / 1000) - o->gone_s;
	int64_t most = (int64_t)(r->c.tombstone_max_ms - r->c.tombstone_min_ms) / 1000;
	size_t n;

	if (tombs_reserve(l))
		return;
	since = since < 0 ? 0 : since > most ? most : since; /* a stranger's clock says when */
	for (n = l->tombs_len++; n > l->tombs_head; n--) {
		const struct tomb *t = &l->tombs[n - 1];

		if (position_cmp((struct position){t->epoch, t->seq}, object_at(o)) <= 0)
			break;
		l->tombs[n] = *t;
	}
	l->tombs[n] = (struct tomb){o->seq, o->epoch, (int32_t)(now - since)};
}

struct object *object_get(const struct wm_replica *r, const struct log *l,
			  const struct wm_replica_key *k)
{
	uint8_t name[2 + WM_REPLICA_KEY_MAX];

	memcpy(name, &l->number, 2);
	memcpy(name + 2, k->octets, k->len);
	return table_get(&r->objects, name, 2 + k->len);
}

int object_ready(struct wm_replica *r, struct log *l, const struct wm_replica_key *k,
		 struct object **ret)
{
	size_t before = l->shared ? offsetof(struct shared, object) : 0;
	struct object *o = object_get(r, l, k);
	char *p;
	int err;

	if (o) {
		*ret = o;
		return 0;
	}
	if (r->objects.count >= r->c.objects_max)
		return WM_E_FULL;
	p = calloc(1, before + offsetof(struct object, name) + 2 + k->len);
	if (!p)
		return -ENOMEM;
	o = (struct object *)(void *)(p + before);
	o->len = (uint16_t)k->len;
	memcpy(o->name, &l->number, 2);
	memcpy(o->name + 2, k->octets, k->len);
	o->bucket = (uint8_t)replica_hash(k->octets, k->len);
	err = table_put(&r->objects, o);
	if (err) {
		free(p);
		return err;
	}
	*ret = o;
	return 0;
}

static void object_free(const struct log *l, struct object *o)
{
	if (l->shared)
		free(shared_of(o)->semver);
	free(l->shared ? (void *)shared_of(o) : (void *)o);
}

static struct log *log_of(const struct wm_replica *r, const struct object *o)
{
	uint16_t n;

	memcpy(&n, o->name, 2);
	return r->by_number[n];
}

void object_unready(struct wm_replica *r, struct object *o)
{
	if (o->listed)
		return;
	table_del(&r->objects, o);
	object_free(log_of(r, o), o);
}

static uint32_t gone_s(uint64_t gone_ms)
{
	uint64_t s = gone_ms / 1000;

	return s < 1 ? 1 : s > UINT32_MAX ? UINT32_MAX : (uint32_t)s;
}

void object_set(struct wm_replica *r, struct log *l, struct object *o,
		const struct wm_replica_change *c, uint64_t base)
{
	if (o->listed) {
		log_count(r, l, o, false);
		tree_remove(&l->root, o);
	}
	o->epoch = c->version.epoch;
	o->seq = c->version.seq;
	o->gone_s = c->gone ? gone_s(c->gone_ms) : 0;
	object_mark(l, o);
	o->listed = true;
	if (l->shared) {
		struct shared *s = shared_of(o);
		char *semver = c->semver ? strdup(c->semver) : NULL;

		free(s->semver);
		s->semver = semver;
		s->writer = c->origin;
		s->priority = c->version.priority;
		s->base = base;
	}
	tree_insert(&l->root, o);
	log_count(r, l, o, true);
	if (o->gone_s)
		tombs_add(r, l, o);
}

void object_drop(struct wm_replica *r, struct log *l, struct object *o)
{
	for (size_t i = 0; o->pending && i < r->pending_len; i++)
		if (r->pending[i] == o) {
			r->pending[i] = r->pending[--r->pending_len];
			break;
		}
	proof_set(r, l, o, NULL);
	log_count(r, l, o, false);
	l->marked -= o->mark == l->mark;
	tree_remove(&l->root, o);
	table_del(&r->objects, o);
	object_free(l, o);
}

static void sum_up(const struct log *l, struct object *o, digest_t *sums)
{
	for (; o; o = o->right) {
		if (!o->gone_s)
			sums[o->bucket] += object_hash(l, o);
		sum_up(l, o->left, sums);
	}
}

void log_sums(struct log *l, digest_t sums[static WM_REPLICA_BUCKETS])
{
	if (!l->sums && l->live > SUMS_KEPT) {
		l->sums = calloc(WM_REPLICA_BUCKETS, sizeof(*l->sums));
		if (l->sums)
			sum_up(l, l->root, l->sums);
	}
	if (l->sums) {
		memcpy(sums, l->sums, WM_REPLICA_BUCKETS * sizeof(*sums));
		return;
	}
	memset(sums, 0, WM_REPLICA_BUCKETS * sizeof(*sums));
	sum_up(l, l->root, sums);
}

/* Those that all members passed, or whose time is over, the oldest first: what is kept is then all
 * behind `floor`. An agent that is alone keeps them: others may come back that know less. */
void log_expire(struct wm_replica *r, struct log *l, int64_t passed_s, unsigned *budget)
{
	int64_t now = replica_s(r), min = (int64_t)(r->c.tombstone_min_ms / 1000);
	int64_t max = (int64_t)(r->c.tombstone_max_ms / 1000);

	for (; *budget && l->tombs_head < l->tombs_len; l->tombs_head++, --*budget) {
		const struct tomb *t = &l->tombs[l->tombs_head];
		const struct position at = {t->epoch, t->seq};
		struct position before = at;
		int64_t age = now - t->learnt_s;
		struct wm_replica_key k, *key = NULL;
		struct object *o;

		if (age < min || !(passed_s > t->learnt_s || (age >= max && r->up)))
			return;
		before.seq--;
		/* two agents may write under one clock: others can be at the position, too */
		while ((o = log_next(l, before, key)) && !position_cmp(object_at(o), at)) {
			if (!o->gone_s || o->taking) {
				before = at;
				k = object_key(o);
				key = &k;
				continue;
			}
			object_drop(r, l, o);
			r->stats.expired++;
			if (position_cmp(l->floor, at) < 0)
				l->floor = at;
		}
	}
}

/* After the start it is not known which tombstones were forgotten: all before the oldest that is
 * kept may have been. */
void log_recovered(struct log *l)
{
	l->floor = l->at;
	if (l->tombs_head < l->tombs_len && !l->shared) {
		l->floor.epoch = l->tombs[l->tombs_head].epoch;
		l->floor.seq = l->tombs[l->tombs_head].seq - 1;
	}
}

struct log *log_get(const struct wm_replica *r, const struct wm_peer_id *id)
{
	return wm_map_get(r->logs, id->octets, sizeof(id->octets));
}

static void log_destroy(struct log *l)
{
	free(l->sums);
	free(l->tombs);
	free(l->held);
	free(l);
}

struct log *log_new(struct wm_replica *r, const struct wm_peer_id *id, bool shared)
{
	struct log *l;
	unsigned n = 0;

	if (r->logs_count >= LOGS_MAX) {
		r->stats.full++;
		return NULL;
	}
	l = calloc(1, sizeof(*l));
	if (!l)
		return NULL;
	l->id = *id;
	l->shared = shared;
	l->mark = 1;
	l->born_ms = wm_env_ms(r->c.env);
	l->sums = shared ? calloc(WM_REPLICA_BUCKETS, sizeof(*l->sums)) : NULL;
	for (n = r->logs_count; r->by_number[n]; n = (n + 1) % LOGS_MAX)
		;
	l->number = (uint16_t)n;
	if ((shared && !l->sums) || proof_new(r, l) ||
	    wm_map_put(r->logs, l->id.octets, sizeof(l->id.octets), l, NULL)) {
		proof_free(r, l);
		log_destroy(l);
		return NULL;
	}
	r->by_number[n] = l;
	if (n >= r->logs_top)
		r->logs_top = n + 1;
	r->logs_count++;
	return l;
}

void log_free(struct wm_replica *r, struct log *l)
{
	proof_free(r, l);
	while (l->root)
		object_drop(r, l, l->root);
	log_set_at(r, l, (struct position){0});
	pull_end(r, l);
	wm_map_del(r->logs, l->id.octets, sizeof(l->id.octets));
	r->by_number[l->number] = NULL;
	r->logs_count--;
	log_destroy(l);
}
