/* SPDX-License-Identifier: Apache-2.0 */
/* replica_net.h - replicas of two to eight agents on a network that a seed drives: streams that are
 * in order and break, news that floods over them and is lost, doubled and late, partitions, clocks
 * that are off, agents that stop and come back with the store they had, with none, or with an old
 * one. Each agent's store is a plain map; what all must come to is worked out from these alone. */
#pragma once
#include "env_virtual.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/security/proof.h"
#include "userspace/sync/replica.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#define NET_NODES    8
#define NET_OBJECTS  20000
#define NET_FRAMES   200000
#define NET_TAMPERED (1u << 20) /* octets of a message that a liar makes of another */

struct record {
	struct wm_replica_change c; /* points below */
	char *object, *semver;
	bool shared;
	size_t name_len;
	char name[16 + WM_REPLICA_KEY_MAX]; /* origin (zero: shared), key */
};

struct kept_proof {
	struct wm_replica_proved p; /* points below */
	uint8_t proof[WM_REPLICA_PROOF], key[WM_REPLICA_KEY], card[128];
};

struct net;
struct agent {
	struct net *net;
	struct wm_env env;
	struct wm_peer_id id;
	struct wm_replica *r; /* NULL: it is not running */
	struct wm_map *store;
	uint32_t epoch;
	uint64_t seq, clock, contact_ms, step_ms;
	uint64_t run;	   /* lowest number of this run */
	int64_t offset_ms; /* of its clock */
	bool leaf;
	int busy;	/* of the next calls of take() so many say "not now" */
	unsigned most;	/* changes of one take() */
	unsigned ahead; /* takes while more was asked for than was taken, from takes = 0 on */
	unsigned takes, same, removed, conflicts, alarms, flaps;
	char alarm[256];
	struct wm_peer_id about;
	uint8_t seen[NET_FRAMES];
	/* how it proves its log, if the net does */
	struct wm_replica_proofs proofs;
	struct wm_proof_key *key;
	bool doubted;			   /* its card is not believed by anybody */
	struct kept_proof kept[NET_NODES]; /* of the run before, if the net keeps them */
	unsigned kept_count, proved;	   /* proved: of these were held */
};

struct frame {
	struct net *net;
	unsigned from, to, number; /* number: of news; 0: over the stream */
	unsigned long link;	   /* the stream that it is in */
	struct wm_env_timer *timer;
	uint64_t at_ms;
	size_t len;
	LIST_ENTRY(frame) entry;
	uint8_t octets[];
};

struct net {
	struct virtual_env v;
	struct agent a[NET_NODES];
	unsigned count, loss_pct, twice_pct, delay_ms, frames;
	bool wanted[NET_NODES][NET_NODES]; /* who has a stream with whom, if it can */
	bool opens; /* who has none with whom it sends to opens one, as link.c does */
	bool cut[NET_NODES][NET_NODES];
	bool stuck[NET_NODES][NET_NODES]; /* what goes there waits, and the stream stands */
	unsigned long link[NET_NODES][NET_NODES], links; /* 0: down */
	uint64_t last_ms[NET_NODES][NET_NODES];
	struct wm_env_timer *prober;
	const struct wm_merge_rule *rule;
	unsigned brake_pct, objects_max;
	uint64_t min_ms, max_ms;		/* of tombstones; 0: as they are */
	size_t longest;				/* octets of a message */
	uint64_t octets, messages, news_octets; /* news_octets: as they were given to the tree */
	unsigned refused;			/* messages that ended a stream */
	char why[WM_ERR_TEXT_MAX];		/* the last of them */
	bool drop_news;
	struct wm_hasher *hasher; /* NULL: nobody proves anything */
	bool keeps;		  /* proofs, over a restart */
	/* What this one sends over streams goes through it: octets in @p ret, 0: as it is. */
	unsigned liar;
	size_t (*tamper)(struct net *n, unsigned to, const uint8_t *p, size_t len, uint8_t *ret);
	uint8_t tampered[NET_TAMPERED];
	LIST_HEAD(, frame) flying;
};

static inline uint64_t net_now_ns(void *arg)
{
	return ((struct agent *)arg)->net->v.ns;
}

static inline uint64_t net_wall_ms(void *arg)
{
	struct agent *a = arg;

	return virtual_wall_ms(&a->net->v) + (uint64_t)a->offset_ms;
}

static inline uint64_t net_random(void *arg)
{
	return virtual_random64(&((struct agent *)arg)->net->v);
}

static inline struct wm_env_timer *net_timer(void *arg, void (*fn)(void *arg), void *fn_arg)
{
	return virtual_timer_new(&((struct agent *)arg)->net->v, fn, fn_arg);
}

static inline uint64_t net_below(struct net *n, uint64_t below)
{
	return virtual_random64(&n->v) % below;
}

/* --- a store -----------------------------------------------------------------------------------
 */
static inline size_t record_name(char *ret, const struct wm_peer_id *origin, bool shared,
				 const struct wm_replica_key *k)
{
	memset(ret, 0, 16);
	if (!shared)
		memcpy(ret, origin->octets, 16);
	memcpy(ret + 16, k->octets, k->len);
	return 16 + k->len;
}

static inline struct record *record_get(const struct agent *a, const struct wm_peer_id *origin,
					bool shared, const struct wm_replica_key *k)
{
	char name[16 + WM_REPLICA_KEY_MAX];

	return wm_map_get(a->store, name, record_name(name, origin, shared, k));
}

static inline void record_free(struct record *rec)
{
	free(rec->object);
	free(rec->semver);
	free(rec);
}

static inline void record_put(struct wm_map *store, const struct wm_replica_change *c)
{
	struct record *rec = calloc(1, sizeof(*rec));
	void *old = NULL;

	rec->shared = c->version.origin == WM_ORIGIN_SHARED;
	rec->name_len = record_name(rec->name, &c->origin, rec->shared, &c->key);
	rec->c = *c;
	rec->c.key.octets = rec->name + 16;
	rec->c.object = rec->object = c->gone ? NULL : malloc(c->len);
	if (!c->gone)
		memcpy(rec->object, c->object, c->len);
	rec->c.semver = rec->semver = c->semver ? strdup(c->semver) : NULL;
	wm_map_del(store, rec->name, rec->name_len);
	cr_assert_eq(wm_map_put(store, rec->name, rec->name_len, rec, &old), 0);
}

static inline void agent_store(struct agent *a, const struct wm_replica_change *c)
{
	struct record *old =
		record_get(a, &c->origin, c->version.origin == WM_ORIGIN_SHARED, &c->key);

	record_put(a->store, c);
	if (old)
		record_free(old);
}

static inline void store_free(struct wm_map *store)
{
	struct record *rec;
	size_t pos = 0;

	while ((rec = wm_map_next(store, &pos)))
		record_free(rec);
	wm_map_free(store);
}

static inline struct wm_map *store_copy(const struct wm_map *store)
{
	struct wm_map *copy = wm_map_new(NET_OBJECTS);
	struct record *rec;
	size_t pos = 0;

	while ((rec = wm_map_next(store, &pos)))
		record_put(copy, &rec->c);
	return copy;
}

/* --- what a replica asks of its agent ------------------------------------------------------------
 */
static inline int net_read(void *arg, const struct wm_peer_id *origin, bool shared,
			   const struct wm_replica_key *k, struct wm_buf *b)
{
	struct record *rec = record_get(arg, origin, shared, k);

	if (!rec || rec->c.gone)
		return WM_E_UNKNOWN;
	return wm_buf_put(b, rec->object, rec->c.len) ? 0 : -ENOMEM;
}

static inline int net_take(void *arg, const struct wm_replica_change *c, unsigned count)
{
	struct agent *a = arg;
	struct wm_replica_stats s;

	wm_replica_stats(a->r, &s);
	a->takes++;
	a->ahead += s.pulls > a->takes;
	a->most = count > a->most ? count : a->most;
	if (a->busy > 0) {
		a->busy--;
		return WM_E_BUSY;
	}
	for (unsigned i = 0; i < count; i++) {
		bool shared = c[i].version.origin == WM_ORIGIN_SHARED;
		struct record *old = record_get(a, &c[i].origin, shared, &c[i].key);
		bool there = old && !old->c.gone;
		bool equal = there && !c[i].gone && old->c.len == c[i].len &&
			     !memcmp(old->object, c[i].object, c[i].len);

		cr_assert(shared || !wm_peer_id_same(&c[i].origin, &a->id), "our own log");
		cr_assert_eq(c[i].gone, c[i].object == NULL);
		if (c[i].same)
			cr_assert(equal, "it is not the same");
		a->same += c[i].same;
		a->flaps += equal && !c[i].same;
		a->removed += there && c[i].gone;
		if (shared && wm_hlc_ms(c[i].version.seq) < wm_env_wall_ms(&a->env) + 6000 &&
		    c[i].version.seq > a->clock)
			a->clock = c[i].version.seq;
		agent_store(a, &c[i]);
	}
	return 0;
}

/* --- proofs ------------------------------------------------------------------------------------
 */
static inline int net_hash(void *arg, const void *head, size_t head_len, const void *p, size_t len,
			   uint8_t ret[static WM_SETSUM_HASH])
{
	return wm_hasher_hash(((struct agent *)arg)->net->hasher, head, head_len, p, len, ret);
}

static inline int net_sum_add(void *arg, struct wm_setsum *s,
			      const uint8_t element[static WM_SETSUM_HASH], bool out)
{
	return wm_setsum_add(((struct agent *)arg)->net->hasher, s, element, out);
}

static inline int net_sum(void *arg, const struct wm_setsum *s, uint8_t ret[static WM_SETSUM_HASH])
{
	return wm_setsum_hash(((struct agent *)arg)->net->hasher, s, ret);
}

static inline int net_sign(void *arg, const void *p, size_t len,
			   uint8_t ret[static WM_REPLICA_SIGNATURE])
{
	return wm_proof_sign(((struct agent *)arg)->key, p, len, ret);
}

static inline bool net_verify(void *arg, const uint8_t key[static WM_REPLICA_KEY], const void *p,
			      size_t len, const uint8_t signature[static WM_REPLICA_SIGNATURE])
{
	(void)arg;
	return wm_proof_verify(key, p, len, signature);
}

/* A card is the id and the key: who made it is believed if he is the agent. */
static inline int net_card(void *arg, struct wm_buf *b)
{
	struct agent *a = arg;
	uint8_t key[WM_PROOF_KEY];

	wm_proof_key_public(a->key, key);
	wm_buf_put(b, a->id.octets, sizeof(a->id.octets));
	wm_buf_put(b, key, sizeof(key));
	return 0;
}

static inline int net_judge(void *arg, const struct wm_peer_id *origin, const void *card,
			    size_t len, const uint8_t *known, uint8_t ret[static WM_REPLICA_KEY],
			    struct wm_err *e)
{
	struct net *n = ((struct agent *)arg)->net;
	const struct agent *of = &n->a[origin->octets[15] - 1];
	uint8_t key[WM_PROOF_KEY];

	(void)known;
	wm_proof_key_public(of->key, key);
	if (of->doubted || len != 16 + sizeof(key) || memcmp(card, origin->octets, 16) != 0 ||
	    memcmp((const char *)card + 16, key, sizeof(key)) != 0)
		return wm_err_set(e, WM_E_INVALID, "it is not its key");
	memcpy(ret, key, sizeof(key));
	return 0;
}

/* From now on all prove their logs; before net_start(). */
static inline void net_prove(struct net *n)
{
	struct wm_err e = {0};

	n->hasher = wm_hasher_new();
	for (unsigned i = 0; i < n->count; i++) {
		struct agent *a = &n->a[i];

		cr_assert_eq(wm_proof_key_open(NULL, &a->key, &e), 0, "%s", e.text);
		a->proofs = (struct wm_replica_proofs){.arg = a,
						       .hash = net_hash,
						       .add = net_sum_add,
						       .sum = net_sum,
						       .sign = net_sign,
						       .verify = net_verify,
						       .card = net_card,
						       .judge = net_judge};
	}
}

static inline void net_forward(struct net *n, unsigned at, unsigned except, unsigned number,
			       const void *p, size_t len);

static inline void frame_free(struct frame *f)
{
	LIST_REMOVE(f, entry);
	wm_env_timer_free(f->timer);
	free(f);
}

static inline void net_drop_link(struct net *n, unsigned i, unsigned j);

static inline void net_arrive(void *arg)
{
	struct frame *f = arg;
	struct net *n = f->net;
	struct agent *to = &n->a[f->to], *from = &n->a[f->from];
	struct wm_err e = {0};
	int err = 0;

	if (!to->r || n->link[f->from][f->to] != f->link) {
		frame_free(f);
		return;
	}
	if (n->stuck[f->from][f->to]) {
		wm_env_timer_arm(f->timer, 100);
		return;
	}
	n->messages++;
	n->octets += f->len;
	n->longest = f->len > n->longest ? f->len : n->longest;
	if (!f->number) {
		size_t lie = n->tamper && f->from == n->liar
				     ? n->tamper(n, f->to, f->octets, f->len, n->tampered)
				     : 0;

		err = wm_replica_receive(to->r, &from->id, lie ? n->tampered : f->octets,
					 lie ? lie : f->len, &e);
	} else if (!to->seen[f->number]) {
		to->seen[f->number] = 1;
		if (!n->hasher)
			net_forward(n, f->to, f->from, f->number, f->octets, f->len);
		err = wm_replica_spread(to->r, &from->id, f->octets, f->len, &e);
		if (n->hasher && !err)
			net_forward(n, f->to, f->from, f->number, f->octets, f->len);
	} else if (net_below(n, 100) < n->twice_pct) {
		err = wm_replica_spread(to->r, &from->id, f->octets, f->len, &e);
	}
	cr_assert(err <= 0 || (f->number && n->hasher));
	if (err < 0) {
		n->refused++;
		snprintf(n->why, sizeof(n->why), "%s", e.text);
		cr_assert_neq(*e.text, '\0');
		net_drop_link(n, f->from, f->to);
	}
	frame_free(f);
}

static inline void net_fly(struct net *n, unsigned from, unsigned to, unsigned number,
			   const void *p, size_t len)
{
	uint64_t now = wm_env_ms(&n->v.env), at = now + 1 + net_below(n, n->delay_ms);
	struct frame *f;

	if (!n->link[from][to])
		return;
	if (!number) { /* a stream is in order; news are late as they like */
		at = at < n->last_ms[from][to] ? n->last_ms[from][to] : at;
		n->last_ms[from][to] = at;
	}
	f = malloc(sizeof(*f) + len);
	*f = (struct frame){.net = n, .from = from, .to = to, .number = number, .len = len};
	f->link = n->link[from][to];
	memcpy(f->octets, p, len);
	f->timer = wm_env_timer_new(&n->v.env, net_arrive, f);
	LIST_INSERT_HEAD(&n->flying, f, entry);
	wm_env_timer_arm(f->timer, at - now);
}

static inline void net_forward(struct net *n, unsigned at, unsigned except, unsigned number,
			       const void *p, size_t len)
{
	for (unsigned j = 0; j < n->count; j++)
		if (j != at && j != except && !n->drop_news && net_below(n, 100) >= n->loss_pct)
			for (unsigned k = 0; k < 1 + (net_below(n, 100) < n->twice_pct); k++)
				net_fly(n, at, j, number, p, len);
}

static inline void net_send(void *arg, const struct wm_peer_id *to, const void *p, size_t len)
{
	struct agent *a = arg;
	unsigned from = (unsigned)(a - a->net->a), at = (unsigned)to->octets[15] - 1;

	if (a->net->opens) /* net_link() does it; what is said meanwhile is lost */
		a->net->wanted[from][at] = a->net->wanted[at][from] = true;
	net_fly(a->net, from, at, 0, p, len);
}

static inline void net_spread(void *arg, const void *p, size_t len)
{
	struct agent *a = arg;
	unsigned i = (unsigned)(a - a->net->a), number = ++a->net->frames;

	cr_assert_lt(number, NET_FRAMES);
	cr_assert_leq(len, 256 << 10);
	a->seen[number] = 1;
	a->net->news_octets += len;
	net_forward(a->net, i, i, number, p, len);
}

static inline void net_conflict(void *arg, const struct wm_replica_change *won,
				const struct wm_replica_change *lost)
{
	struct agent *a = arg;

	cr_assert_eq(won->gone, won->object == NULL);
	cr_assert_eq(lost->gone, lost->object == NULL);
	a->conflicts++;
}

static inline uint32_t net_restored(void *arg, uint32_t above)
{
	struct agent *a = arg;
	uint32_t wall = (uint32_t)(wm_env_wall_ms(&a->env) / 1000);

	a->epoch = above + 1 > wall ? above + 1 : wall;
	return a->epoch;
}

static inline void net_alarm(void *arg, const struct wm_peer_id *about, const char *sentence)
{
	struct agent *a = arg;

	a->alarms++;
	a->about = *about;
	snprintf(a->alarm, sizeof(a->alarm), "%s", sentence);
}

/* --- agents and streams
 * --------------------------------------------------------------------------- */
/* A map has another order in each run, a seed must not. */
static inline int record_cmp(const void *a, const void *b)
{
	const struct record *x = *(struct record *const *)a, *y = *(struct record *const *)b;
	int c = memcmp(x->name, y->name, x->name_len < y->name_len ? x->name_len : y->name_len);

	return c ? c : (x->name_len > y->name_len) - (x->name_len < y->name_len);
}

static inline void agent_start(struct agent *a)
{
	struct net *n = a->net;
	struct wm_replica_config c = {.env = &a->env,
				      .id = a->id,
				      .leaf = a->leaf,
				      .epoch = a->epoch,
				      .seq = a->seq,
				      .contact_ms = a->contact_ms,
				      .step_ms = a->step_ms,
				      .rule = n->rule,
				      .proofs = n->hasher ? &a->proofs : NULL,
				      .objects_max = n->objects_max,
				      .brake_pct = n->brake_pct,
				      .tombstone_min_ms = n->min_ms,
				      .tombstone_max_ms = n->max_ms,
				      .arg = a,
				      .read = net_read,
				      .take = net_take,
				      .send = net_send,
				      .spread = net_spread,
				      .restored = net_restored,
				      .conflict = net_conflict,
				      .alarm = net_alarm};
	struct record *rec, **all;
	size_t pos = 0, count = 0;

	a->run = wm_env_wall_ms(&a->env) * 1024;
	a->r = wm_replica_new(&c);
	cr_assert_not_null(a->r);
	all = calloc(wm_map_len(a->store) + 1, sizeof(*all));
	while ((rec = wm_map_next(a->store, &pos)))
		all[count++] = rec;
	qsort(all, count, sizeof(*all), record_cmp);
	for (size_t i = 0; i < count; i++)
		cr_assert_eq(wm_replica_recover(a->r, &all[i]->c), 0);
	free(all);
	for (unsigned i = 0; i < a->kept_count; i++)
		a->proved += wm_replica_prove(a->r, &a->kept[i].p);
	for (unsigned j = 0; j < n->count; j++) {
		if (&n->a[j] == a)
			continue;
		wm_replica_leaf(a->r, &n->a[j].id, n->a[j].leaf);
		wm_replica_member(a->r, &n->a[j].id, true);
	}
}

static inline void net_drop_link(struct net *n, unsigned i, unsigned j)
{
	if (!n->link[i][j])
		return;
	n->link[i][j] = n->link[j][i] = 0;
	if (n->a[i].r)
		wm_replica_down(n->a[i].r, &n->a[j].id);
	if (n->a[j].r)
		wm_replica_down(n->a[j].r, &n->a[i].id);
}

/* Streams as they can be: both run, and no cut is between them. */
static inline void net_link(struct net *n)
{
	for (unsigned i = 0; i < n->count; i++)
		for (unsigned j = i + 1; j < n->count; j++) {
			bool can = n->wanted[i][j] && n->a[i].r && n->a[j].r && !n->cut[i][j];

			if (!can)
				net_drop_link(n, i, j);
			if (!can || n->link[i][j])
				continue;
			n->link[i][j] = n->link[j][i] = ++n->links;
			n->last_ms[i][j] = n->last_ms[j][i] = 0;
			wm_replica_up(n->a[i].r, &n->a[j].id);
			wm_replica_up(n->a[j].r, &n->a[i].id);
		}
}

/* Every 200 ms each asks one other of what it has, as probes do. */
static inline void net_probe(void *arg)
{
	struct net *n = arg;
	uint8_t s[WM_REPLICA_SUMMARY];

	net_link(n);
	for (unsigned i = 0; i < n->count; i++) {
		unsigned j = (unsigned)net_below(n, n->count);

		if (i == j || !n->a[i].r || !n->a[j].r || n->cut[i][j])
			continue;
		cr_assert_eq(wm_replica_summary(n->a[i].r, s, sizeof(s)), sizeof(s));
		wm_replica_compare(n->a[j].r, &n->a[i].id, s, sizeof(s));
	}
	wm_env_timer_arm(n->prober, 200);
}

static inline struct net *net_new(unsigned count, uint64_t seed)
{
	struct net *n = calloc(1, sizeof(*n));

	virtual_env_init(&n->v, seed);
	LIST_INIT(&n->flying);
	n->count = count;
	n->delay_ms = 5;
	n->objects_max = NET_OBJECTS;
	n->prober = wm_env_timer_new(&n->v.env, net_probe, n);
	for (unsigned i = 0; i < count; i++) {
		struct agent *a = &n->a[i];

		a->net = n;
		a->env = (struct wm_env){.now_ns = net_now_ns,
					 .wall_ms = net_wall_ms,
					 .random64 = net_random,
					 .timer_new = net_timer,
					 .arg = a};
		a->id.octets[15] = (uint8_t)(i + 1);
		a->epoch = (uint32_t)(virtual_wall_ms(&n->v) / 1000);
		a->store = wm_map_new(1u << 20);
		for (unsigned j = 0; j < count; j++)
			n->wanted[i][j] = i != j;
	}
	if (getenv("WM_PROVE")) /* all rules, with proofs */
		net_prove(n);
	return n;
}

static inline void net_start(struct net *n)
{
	for (unsigned i = 0; i < n->count; i++)
		agent_start(&n->a[i]);
	net_probe(n);
}

static inline void keep_proofs(struct agent *a)
{
	struct wm_replica_proved p;
	size_t pos = 0;

	a->kept_count = a->proved = 0;
	while (a->net->keeps && wm_replica_next_proved(a->r, &pos, &p)) {
		struct kept_proof *k = &a->kept[a->kept_count++];

		k->p = p;
		cr_assert_leq(p.card_len, sizeof(k->card));
		k->p.proof = memcpy(k->proof, p.proof, sizeof(k->proof));
		k->p.key = memcpy(k->key, p.key, sizeof(k->key));
		k->p.card = memcpy(k->card, p.card, p.card_len);
	}
}

static inline void agent_stop(struct agent *a)
{
	struct net *n = a->net;

	if (!a->r)
		return;
	keep_proofs(a);
	a->contact_ms = wm_replica_contact_ms(a->r);
	a->step_ms = net_wall_ms(a) - wm_replica_step_ms(a->r);
	wm_replica_free(a->r);
	a->r = NULL;
	net_link(n);
}

static inline void net_free(struct net *n)
{
	struct frame *f;

	for (unsigned i = 0; i < n->count; i++) {
		wm_replica_free(n->a[i].r);
		store_free(n->a[i].store);
		wm_proof_key_free(n->a[i].key);
	}
	wm_hasher_free(n->hasher);
	while ((f = LIST_FIRST(&n->flying)))
		frame_free(f);
	wm_env_timer_free(n->prober);
	free(n);
}

static inline void net_pass(struct net *n, uint64_t ms)
{
	virtual_env_pass(&n->v, ms);
}

/* --- writes
 * ---------------------------------------------------------------------------------------- */
/* Numbers of a run begin above those that runs before it can have given, whatever the store says.
 */
static inline uint64_t agent_number(struct agent *a)
{
	a->seq = a->seq + 1 > a->run ? a->seq + 1 : a->run;
	return a->seq;
}

static inline void agent_write(struct agent *a, const char *id, const void *object, size_t len)
{
	struct wm_replica_change c = {.origin = a->id,
				      .version = {WM_ORIGIN_OWN, a->epoch, agent_number(a)},
				      .key = {id, strlen(id)},
				      .gone = !object,
				      .gone_ms = object ? 0 : wm_env_wall_ms(&a->env),
				      .object = object,
				      .len = len};

	agent_store(a, &c);
	if (a->r)
		cr_assert_eq(wm_replica_own(a->r, &c), 0);
}

static inline void put(struct agent *a, const char *id, const char *text)
{
	agent_write(a, id, text, strlen(text));
}

static inline void del(struct agent *a, const char *id)
{
	agent_write(a, id, NULL, 0);
}

static inline size_t shared_key(char *ret, const char *node, const char *id)
{
	return (size_t)sprintf(ret, "%s%c%s", node, '\0', id);
}

/* @return false: it would not stand. */
static inline bool shared_write(struct agent *a, const char *node, const char *id, const char *text,
				const char *semver, uint32_t priority)
{
	char key[WM_REPLICA_KEY_MAX];
	struct wm_replica_change c = {.origin = a->id,
				      .key = {key, shared_key(key, node, id)},
				      .gone = !text,
				      .gone_ms = text ? 0 : wm_env_wall_ms(&a->env),
				      .object = text,
				      .len = text ? strlen(text) : 0,
				      .semver = semver};

	a->clock = wm_hlc_next(a->clock, wm_env_wall_ms(&a->env));
	c.version = (struct wm_version){
		.origin = WM_ORIGIN_SHARED, .seq = a->clock, .priority = priority};
	if (a->r && !wm_replica_stands(a->r, &c, NULL))
		return false;
	agent_store(a, &c);
	if (a->r)
		cr_assert_eq(wm_replica_own(a->r, &c), 0);
	return true;
}

/* --- what is there
 * ----------------------------------------------------------------------------------- */
static inline const char *text_of(const struct record *rec, char *ret, size_t size)
{
	if (!rec || rec->c.gone)
		return NULL;
	snprintf(ret, size, "%.*s", (int)rec->c.len, rec->object);
	return ret;
}

/* The text that @p at has of an object of @p of's; NULL: none. */
static inline const char *has(const struct agent *at, const struct agent *of, const char *id)
{
	static char text[512];
	const struct wm_replica_key k = {id, strlen(id)};

	return text_of(record_get(at, &of->id, false, &k), text, sizeof(text));
}

static inline const char *has_shared(const struct agent *at, const char *node, const char *id)
{
	static char text[512];
	char key[WM_REPLICA_KEY_MAX];
	const struct wm_replica_key k = {key, shared_key(key, node, id)};

	return text_of(record_get(at, NULL, true, &k), text, sizeof(text));
}

static inline void is(const char *got, const char *want)
{
	cr_assert(!got == !want && (!got || !strcmp(got, want)), "%s, not %s",
		  got ? got : "nothing", want ? want : "nothing");
}

static inline bool net_equal(const struct net *n)
{
	uint8_t first[WM_REPLICA_SUMMARY], next[WM_REPLICA_SUMMARY];
	bool any = false;

	for (unsigned i = 0; i < n->count; i++) {
		if (!n->a[i].r)
			continue;
		wm_replica_summary(n->a[i].r, any ? next : first, WM_REPLICA_SUMMARY);
		if (any && memcmp(first, next, sizeof(first)) != 0)
			return false;
		any = true;
	}
	return true;
}

/* Let it come to rest. @return milliseconds until all were equal. */
static inline uint64_t net_settle(struct net *n, uint64_t max_ms)
{
	uint64_t ms = 0;

	for (; ms < max_ms && !net_equal(n); ms += 20)
		net_pass(n, 20);
	return ms;
}

static inline struct wm_replica_stats stats(const struct agent *a)
{
	struct wm_replica_stats s;

	wm_replica_stats(a->r, &s);
	return s;
}

/* For a person: who has what. */
static inline void net_show(const struct net *n)
{
	for (unsigned i = 0; i < n->count; i++) {
		struct wm_replica_origin o;
		uint8_t d[16];
		size_t pos = 0;

		if (!n->a[i].r)
			continue;
		wm_replica_digest(n->a[i].r, d);
		fprintf(stderr, "agent %u: %u objects, digest %02x%02x", i,
			wm_replica_objects(n->a[i].r), d[0], d[1]);
		while (wm_replica_next(n->a[i].r, &pos, &o))
			fprintf(stderr, ", %u: %u/%llu %u+%u %02x%02x", o.id.octets[15] - 1,
				o.epoch % 100000, (unsigned long long)o.seq, o.objects,
				o.tombstones, o.digest[0], o.digest[1]);
		fprintf(stderr, "\n");
	}
}

/* All that run have of each log that its agent has what that agent has, and of shared objects all
 * the same, octet by octet. */
static inline void net_check(const struct net *n)
{
	for (unsigned i = 0; i < n->count; i++) {
		const struct agent *a = &n->a[i];
		size_t pos = 0, live = 0;
		struct record *rec;

		while (a->r && (rec = wm_map_next(a->store, &pos)))
			live += !rec->c.gone;
		cr_assert(!a->r || live == wm_replica_objects(a->r), "agent %u: %zu, not %u", i,
			  live, a->r ? wm_replica_objects(a->r) : 0);
		for (unsigned j = 0; a->r && j < n->count; j++) {
			const struct agent *b = &n->a[j];

			pos = 0;
			while (b->r && (rec = wm_map_next(a->store, &pos))) {
				struct record *other =
					wm_map_get(b->store, rec->name, rec->name_len);
				bool there = other && !other->c.gone;

				/* every pair is looked at from both sides */
				if (rec->c.gone)
					continue;
				cr_assert(there, "%.*s of agent %d: at %u, not at %u",
					  (int)rec->c.key.len, (const char *)rec->c.key.octets,
					  rec->name[15] - 1, i, j);
				cr_assert(other->c.len == rec->c.len &&
						  !memcmp(other->object, rec->object, rec->c.len),
					  "%.*s of agent %d differs: %.*s at %u, %.*s at %u",
					  (int)rec->c.key.len, (const char *)rec->c.key.octets,
					  rec->name[15] - 1, (int)rec->c.len, rec->object, i,
					  (int)other->c.len, other->object, j);
			}
		}
	}
}
