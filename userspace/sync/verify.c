/* SPDX-License-Identifier: Apache-2.0 */
/* verify.c - asks members for what they have, see verify.h: logs, then ranges of those that differ,
 * then what seems to differ by name, twice. */
#include "verify_internal.h"

#include <errno.h>
#include <string.h>

enum stage { LOGS, RANGES, NAMES, PAUSE };

/* What seems to differ. */
struct suspect {
	struct wm_peer_id origin; /* zero: shared */
	uint8_t key[WM_REPLICA_KEY_MAX];
	size_t len;
	struct wm_verify_side here, there;
};

/* A member that is being asked. */
struct look {
	TAILQ_ENTRY(look) entry;
	struct wm_verify *v;
	unsigned member;
	enum stage stage;
	uint32_t number;
	struct wm_env_timer *timer; /* ends the wait for an answer, or the pause */
	struct wm_peer_id *logs;    /* that differ */
	unsigned logs_count, logs_at;
	struct place from; /* in the log that is gone through */
	bool list, again;  /* each object is asked for; suspects are for the second time */
	struct suspect *suspects;
	unsigned suspects_count, suspects_cap, named, asked;
	bool more;
};

static void look_end(struct look *k, enum wm_verify_state state)
{
	struct wm_verify *v = k->v;

	v->members[k->member].state = state;
	TAILQ_REMOVE(&v->looks, k, entry);
	wm_env_timer_free(k->timer);
	free(k->logs);
	free(k->suspects);
	free(k);
	v->ended++;
	wm_env_timer_arm(v->soon, 0);
}

/* --- asking ----------------------------------------------------------------------------------- */
static void send_ask(struct look *k, Waymark__Verify__Ask *m)
{
	struct wm_verify *v = k->v;
	uint8_t *p;

	v->number = v->number == UINT32_MAX ? 1 : v->number + 1; /* 0: positions */
	m->number = k->number = v->number;
	p = malloc(waymark__verify__ask__get_packed_size(m) + 1);
	if (p)
		v->c.ask(v->c.arg, &v->members[k->member].id, p, waymark__verify__ask__pack(m, p));
	free(p);
	wm_env_timer_arm(k->timer, WM_VERIFY_MS); /* without memory: as if nothing came back */
}

static void ask_logs(struct look *k)
{
	uint8_t summary[WM_REPLICA_SUMMARY];
	Waymark__Verify__Ask m;

	waymark__verify__ask__init(&m);
	wm_replica_summary(k->v->c.replica, summary, sizeof(summary));
	m.summary = (ProtobufCBinaryData){sizeof(summary), summary};
	send_ask(k, &m);
}

static ProtobufCBinaryData origin_of(struct wm_peer_id *id)
{
	return (ProtobufCBinaryData){wm_peer_id_none(id) ? 0 : sizeof(id->octets), id->octets};
}

static void ask_range(struct look *k)
{
	Waymark__Verify__Range q;
	Waymark__Verify__Ask m;

	waymark__verify__range__init(&q);
	q.origin = origin_of(&k->logs[k->logs_at]);
	q.epoch = k->from.at.epoch;
	q.seq = k->from.at.seq;
	q.key = (ProtobufCBinaryData){k->from.len, k->from.key};
	q.list = k->list;
	waymark__verify__ask__init(&m);
	m.range = &q;
	send_ask(k, &m);
}

static void ask_names(struct look *k)
{
	Waymark__Verify__Name names[VERIFY_NAMES], *list[VERIFY_NAMES];
	Waymark__Verify__Ask m;

	waymark__verify__ask__init(&m);
	m.names = list;
	while (m.n_names < VERIFY_NAMES && k->named + m.n_names < k->suspects_count) {
		struct suspect *s = &k->suspects[k->named + m.n_names];
		Waymark__Verify__Name *n = &names[m.n_names];

		waymark__verify__name__init(n);
		n->origin = origin_of(&s->origin);
		n->key = (ProtobufCBinaryData){s->len, s->key};
		list[m.n_names++] = n;
	}
	k->asked = (unsigned)m.n_names;
	send_ask(k, &m);
}

/* --- what differs ----------------------------------------------------------------------------- */
static bool is_live(const struct wm_verify_side *s)
{
	return s->known && !s->gone;
}

static bool same_side(const struct wm_verify_side *a, const struct wm_verify_side *b)
{
	return a->known == b->known && a->gone == b->gone && a->epoch == b->epoch &&
	       a->seq == b->seq && wm_peer_id_same(&a->writer, &b->writer);
}

/* A tombstone that one has forgotten is none. */
static bool differ(const struct suspect *s)
{
	return (is_live(&s->here) || is_live(&s->there)) && !same_side(&s->here, &s->there);
}

static struct wm_verify_side older(const struct suspect *s)
{
	const struct wm_verify_side *a = &s->here, *b = &s->there;

	if (!a->known || !b->known)
		return a->known ? *b : *a;
	return position_cmp((struct position){a->epoch, a->seq},
			    (struct position){b->epoch, b->seq}) > 0
		       ? *b
		       : *a;
}

/* @return false: no more are kept. */
static bool suspect(struct look *k, const struct place *at)
{
	unsigned cap = k->suspects_cap ? 2 * k->suspects_cap : 16;
	struct suspect *p = k->suspects;

	if (k->suspects_count == WM_VERIFY_FOUND_MAX) {
		k->more = true;
		return false;
	}
	if (k->suspects_count == k->suspects_cap) {
		p = realloc(p, cap * sizeof(*p));
		if (!p) {
			k->more = true;
			return false;
		}
		k->suspects = p;
		k->suspects_cap = cap;
	}
	p = &k->suspects[k->suspects_count++];
	*p = (struct suspect){.origin = k->logs[k->logs_at], .len = at->len};
	memcpy(p->key, at->key, at->len);
	return true;
}

/* One of an answer's list, or nothing more. */
static bool listed(const Waymark__Verify__Answer *m, size_t i, struct place *ret)
{
	const Waymark__Verify__State *s;

	if (i >= m->n_states)
		return false;
	s = m->states[i];
	ret->at = (struct position){s->epoch, s->seq};
	ret->len = s->key.len;
	if (s->key.len)
		memcpy(ret->key, s->key.data, s->key.len);
	return true;
}

/* Ours and theirs of a range, side by side in the order of the log: who is in both is the same. */
static void compare_lists(struct look *k, const struct log *l, const struct place *end,
			  const Waymark__Verify__Answer *m)
{
	struct place ours = k->from, theirs = {0};
	struct object *o = NULL;
	bool here = l != NULL, there, room = true;
	size_t i = 0;

	while (here && (here = (o = verify_next(l, &ours)) != NULL) && o->gone_s)
		;
	there = listed(m, i, &theirs);
	here = here && (m->last || verify_place_cmp(&ours, end) <= 0);
	while (room && (here || there)) {
		int c = !there ? -1 : !here ? 1 : verify_place_cmp(&ours, &theirs);

		if (c)
			room = suspect(k, c < 0 ? &ours : &theirs);
		if (c >= 0)
			there = listed(m, ++i, &theirs);
		if (c > 0)
			continue;
		while ((here = (o = verify_next(l, &ours)) != NULL) && o->gone_s)
			;
		here = here && (m->last || verify_place_cmp(&ours, end) <= 0);
	}
}

/* Is the range the same here? */
static bool range_same(const struct look *k, const struct log *l, const struct place *end,
		       const Waymark__Verify__Answer *m)
{
	struct place at = k->from;
	struct object *o = NULL;
	unsigned count = 0;
	digest_t sum = 0;

	while (l && count <= m->count && (o = verify_next(l, &at)) &&
	       (m->last || verify_place_cmp(&at, end) <= 0)) {
		if (o->gone_s)
			continue;
		sum += object_hash(l, o);
		count++;
	}
	return count == m->count && digest_get(m->sum.data) == sum;
}

/* --- answers ---------------------------------------------------------------------------------- */
static int suspect_cmp(const void *p, const void *q)
{
	const struct suspect *a = p, *b = q;
	int c = wm_peer_id_cmp(&a->origin, &b->origin);

	if (!c)
		c = memcmp(a->key, b->key, a->len < b->len ? a->len : b->len);
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

/* Who has another version is in one list here, and in another place there. */
static void each_once(struct look *k)
{
	unsigned n = 0;

	qsort(k->suspects, k->suspects_count, sizeof(*k->suspects), suspect_cmp);
	for (unsigned i = 0; i < k->suspects_count; i++)
		if (!n || suspect_cmp(&k->suspects[n - 1], &k->suspects[i]) != 0)
			k->suspects[n++] = k->suspects[i];
	k->suspects_count = n;
}

static void begin_names(struct look *k, bool again)
{
	if (!again && k->suspects_count)
		each_once(k);
	k->stage = NAMES;
	k->again = again;
	k->named = 0;
	if (k->suspects_count)
		ask_names(k);
	else
		look_end(k, WM_VERIFY_SAME);
}

static void next_log(struct look *k)
{
	k->from = (struct place){0};
	k->list = false;
	if (k->logs_at < k->logs_count && !k->more)
		ask_range(k);
	else
		begin_names(k, false);
}

/* Ours that are not among theirs. */
static bool add_unlisted(struct look *k, const Waymark__Verify__Answer *m)
{
	const struct wm_replica *r = k->v->c.replica;
	struct wm_map *theirs = wm_map_new(m->n_logs + 1);
	bool ok = theirs != NULL;
	struct log *l;
	size_t pos = 0;

	for (size_t i = 0; i < m->n_logs && ok; i++)
		ok = !wm_map_put(theirs, m->logs[i]->origin.data, m->logs[i]->origin.len,
				 m->logs[i], NULL);
	while (ok && (l = log_walk(r, &pos)))
		if (l->live && !wm_map_get(theirs, l->id.octets, l->shared ? 0 : 16))
			k->logs[k->logs_count++] = l->id;
	wm_map_free(theirs);
	return ok;
}

static int on_logs(struct look *k, const Waymark__Verify__Answer *m)
{
	const struct wm_replica *r = k->v->c.replica;
	struct log *l;

	k->stage = RANGES;
	if (m->same) {
		look_end(k, WM_VERIFY_SAME);
		return 0;
	}
	k->logs = calloc(m->n_logs + r->logs_count, sizeof(*k->logs));
	if (!k->logs)
		return 0; /* the timer ends it */
	for (size_t i = 0; i < m->n_logs; i++) {
		struct wm_peer_id id = {0};

		if (m->logs[i]->digest.len != 16 ||
		    (m->logs[i]->origin.len && !origin_ok(&m->logs[i]->origin)))
			return WM_E_INVALID;
		if (m->logs[i]->origin.len)
			memcpy(id.octets, m->logs[i]->origin.data, 16);
		l = verify_log(k->v, &id);
		if (!l || l->digest != digest_get(m->logs[i]->digest.data))
			k->logs[k->logs_count++] = id;
	}
	if (add_unlisted(k, m))
		next_log(k);
	return 0;
}

static int on_range(struct look *k, const Waymark__Verify__Answer *m)
{
	struct log *l = verify_log(k->v, &k->logs[k->logs_at]);
	struct place end = {.at = {m->to_epoch, m->to_seq}, .len = m->to_key.len};

	if (m->sum.len != 16 || m->to_key.len > WM_REPLICA_KEY_MAX || m->n_states > VERIFY_RANGE)
		return WM_E_INVALID;
	for (size_t i = 0; i < m->n_states; i++)
		if (m->states[i]->key.len > WM_REPLICA_KEY_MAX)
			return WM_E_INVALID;
	if (m->to_key.len)
		memcpy(end.key, m->to_key.data, m->to_key.len);
	if (!m->last && verify_place_cmp(&end, &k->from) <= 0)
		return WM_E_INVALID; /* it would never end */
	if (!k->list && !range_same(k, l, &end, m)) {
		k->list = true;
		ask_range(k);
		return 0;
	}
	if (k->list)
		compare_lists(k, l, &end, m);
	k->list = false;
	k->from = end;
	if (!m->last && !k->more) {
		ask_range(k);
		return 0;
	}
	k->logs_at++;
	next_log(k);
	return 0;
}

static void tell(struct look *k, const struct suspect *s)
{
	struct wm_verify *v = k->v;
	struct wm_verify_member *m = &v->members[k->member];
	struct wm_verify_found *f = &v->found[v->found_count];
	const char *id = (const char *)s->key;
	size_t len = s->len;

	m->found++;
	if (v->found_count == WM_VERIFY_FOUND_MAX) {
		m->more = true;
		return;
	}
	*f = (struct wm_verify_found){.member = k->member,
				      .origin = s->origin,
				      .shared = wm_peer_id_none(&s->origin),
				      .here = s->here,
				      .there = s->there};
	if (f->shared) {
		size_t node = strnlen(id, len);

		if (node == len || node > WM_NODE_NAME_MAX)
			return;
		memcpy(f->node, id, node);
		id += node + 1;
		len -= node + 1;
	}
	if (len > WM_INSTANCE_ID_MAX)
		return;
	memcpy(f->id, id, len);
	v->found_count++;
}

/* All were asked for by name: what still differs is looked at again, or told. */
static void names_done(struct look *k)
{
	unsigned n = 0;

	for (unsigned i = 0; i < k->suspects_count; i++)
		if (differ(&k->suspects[i]))
			k->suspects[n++] = k->suspects[i];
	k->suspects_count = n;
	if (!k->again && n) {
		k->stage = PAUSE;
		wm_env_timer_arm(k->timer, WM_VERIFY_AGAIN_MS);
		return;
	}
	for (unsigned i = 0; i < n; i++)
		tell(k, &k->suspects[i]);
	k->v->members[k->member].more |= n && k->more;
	look_end(k, n ? WM_VERIFY_DIFFERS : WM_VERIFY_SAME);
}

static int on_names(struct look *k, const Waymark__Verify__Answer *m)
{
	if (m->n_states != k->asked)
		return WM_E_INVALID;
	for (unsigned i = 0; i < k->asked; i++) {
		const Waymark__Verify__State *t = m->states[i];
		struct suspect *s = &k->suspects[k->named + i];
		const struct wm_replica_key key = {s->key, s->len};
		const struct wm_verify_side before = older(s);
		struct log *l = verify_log(k->v, &s->origin);
		struct wm_verify_side now;

		s->here = l ? verify_side(l, object_get(k->v->c.replica, l, &key))
			    : (struct wm_verify_side){0};
		s->there = (struct wm_verify_side){
			.known = t->seq != 0, .gone = t->gone, .epoch = t->epoch, .seq = t->seq};
		if (t->writer.len == 16)
			memcpy(s->there.writer.octets, t->writer.data, 16);
		now = older(s);
		if (k->again && !same_side(&before, &now))
			s->there = s->here; /* it moves */
	}
	k->named += k->asked;
	if (k->named < k->suspects_count)
		ask_names(k);
	else
		names_done(k);
	return 0;
}

int wm_verify_answered(struct wm_verify *v, const struct wm_peer_id *from, const void *p,
		       size_t len)
{
	size_t left = WIRE_UNPACK_MAX;
	ProtobufCAllocator mem = wire_allocator(&left);
	Waymark__Verify__Answer *m =
		len <= VERIFY_MESSAGE_MAX ? waymark__verify__answer__unpack(&mem, len, p) : NULL;
	struct look *k;
	int err = 0;

	if (!m)
		return WM_E_INVALID;
	TAILQ_FOREACH (k, &v->looks, entry)
		if (wm_peer_id_same(&v->members[k->member].id, from))
			break;
	if (!m->number && v->c.position)
		v->c.position(v->c.arg, from, m->at_epoch, m->at_seq);
	else if (k && k->stage != PAUSE && k->number == m->number)
		err = k->stage == LOGS	   ? on_logs(k, m)
		      : k->stage == RANGES ? on_range(k, m)
					   : on_names(k, m);
	waymark__verify__answer__free_unpacked(m, &mem);
	return err;
}

void wm_verify_ask_position(struct wm_verify *v, const struct wm_peer_id *to)
{
	Waymark__Verify__Ask m;
	uint8_t p[8];

	waymark__verify__ask__init(&m);
	m.position = true;
	v->c.ask(v->c.arg, to, p, waymark__verify__ask__pack(&m, p));
}

/* --- members ---------------------------------------------------------------------------------- */
static void on_timer(void *arg)
{
	struct look *k = arg;

	if (k->stage == PAUSE)
		begin_names(k, true);
	else
		look_end(k, WM_VERIFY_SILENT);
}

static void begin(struct wm_verify *v, unsigned member)
{
	struct look *k = calloc(1, sizeof(*k));

	if (k)
		k->timer = wm_env_timer_new(v->c.env, on_timer, k);
	if (!k || !k->timer) {
		free(k);
		v->members[member].state = WM_VERIFY_SILENT;
		v->ended++;
		return;
	}
	k->v = v;
	k->member = member;
	TAILQ_INSERT_TAIL(&v->looks, k, entry);
	ask_logs(k);
}

static void tell_done(struct wm_verify *v, bool stops)
{
	const struct wm_verify_result result = {v->members, v->members_count, v->found,
						v->found_count};
	wm_verify_done done = v->done;
	struct wm_verify_member *members = v->members;
	struct wm_verify_found *found = v->found;

	v->done = NULL;
	v->members = NULL;
	v->found = NULL;
	done(v->done_arg, stops ? NULL : &result);
	free(members);
	free(found);
}

static void go_on(struct wm_verify *v)
{
	while (v->begun < v->members_count && v->begun - v->ended < WM_VERIFY_AT_ONCE)
		begin(v, v->begun++);
	if (v->done && v->ended == v->members_count)
		tell_done(v, false);
}

static void on_soon(void *arg)
{
	go_on(arg);
}

struct wm_verify *wm_verify_new(const struct wm_verify_config *c)
{
	struct wm_verify *v = calloc(1, sizeof(*v));

	if (!v)
		return NULL;
	v->c = *c;
	TAILQ_INIT(&v->looks);
	v->number = (uint32_t)wm_env_random64(c->env); /* answers to a former life are nobody's */
	v->soon = wm_env_timer_new(c->env, on_soon, v);
	if (!v->soon) {
		free(v);
		return NULL;
	}
	return v;
}

void wm_verify_free(struct wm_verify *v)
{
	struct look *k;

	if (!v)
		return;
	while ((k = TAILQ_FIRST(&v->looks)))
		look_end(k, WM_VERIFY_SILENT);
	if (v->done)
		tell_done(v, true);
	wm_env_timer_free(v->soon);
	free(v);
}

int wm_verify_start(struct wm_verify *v, const struct wm_peer_id *ids, unsigned count,
		    wm_verify_done done, void *arg)
{
	if (v->done)
		return WM_E_BUSY;
	v->members = calloc(count + 1, sizeof(*v->members));
	v->found = calloc(WM_VERIFY_FOUND_MAX + 1, sizeof(*v->found));
	if (!v->members || !v->found) {
		free(v->members);
		free(v->found);
		v->members = NULL;
		v->found = NULL;
		return -ENOMEM;
	}
	for (unsigned i = 0; i < count; i++)
		v->members[i].id = ids[i];
	v->members_count = count;
	v->begun = v->ended = v->found_count = 0;
	v->done = done;
	v->done_arg = arg;
	return wm_env_timer_arm(v->soon, 0);
}
