/* SPDX-License-Identifier: Apache-2.0 */
/* verify_serve.c - answers who compares: digests of logs, sums and lists of ranges, objects by
 * name. Nothing is remembered between two messages. */
#include "verify_internal.h"

#include <errno.h>
#include <string.h>

struct log *verify_log(const struct wm_verify *v, const struct wm_peer_id *origin)
{
	return wm_peer_id_none(origin) ? v->c.replica->shared : log_get(v->c.replica, origin);
}

struct object *verify_next(const struct log *l, struct place *at)
{
	const struct wm_replica_key k = {at->key, at->len};
	struct object *o = log_next(l, at->at, at->len ? &k : NULL);

	if (o) {
		at->at = object_at(o);
		at->len = o->len;
		memcpy(at->key, o->name + 2, o->len);
	}
	return o;
}

int verify_place_cmp(const struct place *a, const struct place *b)
{
	int c = position_cmp(a->at, b->at);

	if (!c)
		c = memcmp(a->key, b->key, a->len < b->len ? a->len : b->len);
	return c ? c : (a->len > b->len) - (a->len < b->len);
}

struct wm_verify_side verify_side(const struct log *l, struct object *o)
{
	struct wm_verify_side s = {0};

	if (!o || !o->listed)
		return s;
	s = (struct wm_verify_side){
		.known = true, .gone = o->gone_s != 0, .epoch = o->epoch, .seq = o->seq};
	if (l->shared)
		s.writer = shared_of(o)->writer;
	return s;
}

/* What is under way to an answer; freed as a whole. */
struct reply {
	Waymark__Verify__Answer m;
	Waymark__Verify__Log *logs, **log_list;
	Waymark__Verify__State *states, **state_list;
	uint8_t (*digests)[16];
	struct place end;
	uint8_t sum[16];
};

static void reply_free(struct reply *a)
{
	free(a->logs);
	free(a->log_list);
	free(a->states);
	free(a->state_list);
	free(a->digests);
}

static int states_for(struct reply *a, size_t max)
{
	a->states = calloc(max, sizeof(*a->states));
	a->state_list = calloc(max, sizeof(Waymark__Verify__State *));
	a->m.states = a->state_list;
	return a->states && a->state_list ? 0 : -ENOMEM;
}

static void add_state(struct reply *a, struct log *l, struct object *o, bool named)
{
	Waymark__Verify__State *s = &a->states[a->m.n_states];

	waymark__verify__state__init(s);
	a->state_list[a->m.n_states++] = s;
	if (!o || !o->listed)
		return;
	s->epoch = o->epoch;
	s->seq = o->seq;
	s->gone = o->gone_s != 0;
	if (l->shared)
		s->writer = (ProtobufCBinaryData){16, shared_of(o)->writer.octets};
	if (named)
		s->key = (ProtobufCBinaryData){o->len, o->name + 2};
}

/* Logs that something is in. */
static int put_logs(const struct wm_verify *v, struct reply *a)
{
	const struct wm_replica *r = v->c.replica;
	size_t pos = 0, n;
	struct log *l;

	a->logs = calloc(r->logs_count, sizeof(*a->logs));
	a->log_list = calloc(r->logs_count, sizeof(Waymark__Verify__Log *));
	a->digests = calloc(r->logs_count, sizeof(*a->digests));
	if (!a->logs || !a->log_list || !a->digests)
		return -ENOMEM;
	a->m.logs = a->log_list;
	while ((l = log_walk(r, &pos))) {
		if (!l->live)
			continue;
		n = a->m.n_logs++;
		waymark__verify__log__init(&a->logs[n]);
		a->log_list[n] = &a->logs[n];
		digest_put(l->digest, a->digests[n]);
		a->logs[n].digest = (ProtobufCBinaryData){16, a->digests[n]};
		if (!l->shared)
			a->logs[n].origin = (ProtobufCBinaryData){16, l->id.octets};
	}
	return 0;
}

static int put_range(const struct wm_verify *v, struct reply *a, const Waymark__Verify__Range *q)
{
	struct wm_peer_id origin = {0};
	struct object *o = NULL;
	digest_t sum = 0;
	struct log *l;

	if (q->origin.len)
		memcpy(origin.octets, q->origin.data, 16);
	a->end.at = (struct position){q->epoch, q->seq};
	a->end.len = q->key.len;
	if (q->key.len)
		memcpy(a->end.key, q->key.data, q->key.len);
	l = verify_log(v, &origin);
	if (q->list && states_for(a, VERIFY_RANGE))
		return -ENOMEM;
	for (unsigned n = 0; l && n < VERIFY_RANGE && (o = verify_next(l, &a->end)); n++) {
		if (o->gone_s)
			continue;
		sum += object_hash(l, o);
		a->m.count++;
		if (q->list)
			add_state(a, l, o, true);
	}
	a->m.last = !o;
	a->m.to_epoch = a->end.at.epoch;
	a->m.to_seq = a->end.at.seq;
	a->m.to_key = (ProtobufCBinaryData){a->end.len, a->end.key};
	digest_put(sum, a->sum);
	a->m.sum = (ProtobufCBinaryData){16, a->sum};
	return 0;
}

static int put_names(const struct wm_verify *v, struct reply *a, const Waymark__Verify__Ask *q)
{
	if (states_for(a, q->n_names))
		return -ENOMEM;
	for (size_t i = 0; i < q->n_names; i++) {
		const Waymark__Verify__Name *m = q->names[i];
		const struct wm_replica_key k = {m->key.len ? (void *)m->key.data : "", m->key.len};
		struct wm_peer_id origin = {0};
		struct log *l;

		if (m->origin.len)
			memcpy(origin.octets, m->origin.data, 16);
		l = verify_log(v, &origin);
		add_state(a, l, l ? object_get(v->c.replica, l, &k) : NULL, false);
	}
	return 0;
}

static void put_position(const struct wm_verify *v, struct reply *a, const struct wm_peer_id *of)
{
	const struct log *l = log_get(v->c.replica, of);

	a->m.at_epoch = l ? l->at.epoch : 0;
	a->m.at_seq = l ? l->at.seq : 0;
}

static bool origin_valid(const ProtobufCBinaryData *d)
{
	return !d->len || origin_ok(d);
}

static bool valid(const Waymark__Verify__Ask *q)
{
	bool range = !q->range ||
		     (origin_valid(&q->range->origin) && q->range->key.len <= WM_REPLICA_KEY_MAX);

	for (size_t i = 0; i < q->n_names; i++)
		if (!origin_valid(&q->names[i]->origin) ||
		    q->names[i]->key.len > WM_REPLICA_KEY_MAX)
			return false;
	return range && q->n_names <= VERIFY_NAMES &&
	       (!q->summary.len || q->summary.len == WM_REPLICA_SUMMARY);
}

static void send_reply(const struct wm_verify *v, const struct wm_peer_id *to,
		       const struct reply *a)
{
	uint8_t *p = malloc(waymark__verify__answer__get_packed_size(&a->m) + 1);

	if (p)
		v->c.answer(v->c.arg, to, p, waymark__verify__answer__pack(&a->m, p));
	free(p);
}

int wm_verify_asked(struct wm_verify *v, const struct wm_peer_id *from, const void *p, size_t len)
{
	size_t left = WIRE_UNPACK_MAX;
	ProtobufCAllocator mem = wire_allocator(&left);
	Waymark__Verify__Ask *q =
		len <= VERIFY_MESSAGE_MAX ? waymark__verify__ask__unpack(&mem, len, p) : NULL;
	uint8_t ours[WM_REPLICA_SUMMARY];
	struct reply a = {0};
	int err = 0;

	if (!q || !valid(q)) {
		waymark__verify__ask__free_unpacked(q, &mem);
		return WM_E_INVALID;
	}
	waymark__verify__answer__init(&a.m);
	a.m.number = q->number;
	wm_replica_summary(v->c.replica, ours, sizeof(ours));
	a.m.same = q->summary.len && !memcmp(q->summary.data, ours, sizeof(ours));
	if (q->position)
		put_position(v, &a, from);
	else if (q->range)
		err = put_range(v, &a, q->range);
	else if (q->n_names)
		err = put_names(v, &a, q);
	else if (!a.m.same)
		err = put_logs(v, &a);
	if (!err) /* without memory: who asked waits, and says so */
		send_reply(v, from, &a);
	reply_free(&a);
	waymark__verify__ask__free_unpacked(q, &mem);
	return 0;
}
