/* SPDX-License-Identifier: Apache-2.0 */
/* replica.c - life of the replica: its own log, members and streams, messages to where they belong,
 * and what time brings: work that is left, tombstones, comparisons. */
#include "replica_internal.h"

#include <errno.h>
#include <string.h>
#include <zstd.h>

#define TOMBSTONE_MIN_MS (24ull * 3600 * 1000)
#define TOMBSTONE_MAX_MS (72ull * 3600 * 1000)
#define COMPARE_GAP_MAX	 10000 /* ms between comparisons with a member that stays different */
#define PEERS_MAX	 (2 * LOGS_MAX)
#define BUFFERS_KEPT	 (1u << 19) /* octets of a buffer that are kept for the next message */

static void work(void *arg)
{
	struct wm_replica *r = arg;
	bool more = false, announce = false;
	struct peer *p;
	struct log *l;
	size_t pos = 0;

	while ((l = log_walk(r, &pos))) {
		if (l->sweeping && !more)
			more = !take_sweep(r, l); /* one a turn */
		else if (!l->sweeping && proof_taking(l))
			more |= !hold_take(r, l);
		else
			more |= l->sweeping;
		announce |= l->announce;
	}
	if (announce)
		serve_announce(r);
	pos = 0;
	while ((p = peer_walk(r, &pos)))
		pull_next(r, p);
	pull_patience(r);
	if (more)
		replica_work_soon(r, 0);
}

void replica_work_soon(struct wm_replica *r, uint64_t ms)
{
	uint64_t at = wm_env_ms(r->c.env) + ms;

	if (r->work_ms && r->work_ms <= at)
		return;
	r->work_ms = at;
	wm_env_timer_arm(r->work, ms);
}

static void work_due(void *arg)
{
	struct wm_replica *r = arg;

	r->work_ms = 0;
	work(r);
}

/* When the slowest member was known to have what is here; who was not heard of holds all back. */
static int64_t passed_s(const struct wm_replica *r)
{
	int64_t s = replica_s(r);
	size_t pos = 0;
	struct peer *p;

	while ((p = peer_walk(r, &pos)))
		if (p->member && p->agreed_s < s)
			s = p->agreed_s;
	return s;
}

static void forget(struct wm_replica *r, struct log *l)
{
	pull_end(r, l);
	l->forgetting = l->sweeping = true;
	l->kind = PULL_WHOLE;
	log_unmark(l);
	l->cursor = (struct position){0};
	l->cursor_len = 0;
	replica_work_soon(r, 0);
}

/* Who was away asks what is still known; what nobody told of in a minute goes. */
static void away_tick(struct wm_replica *r, uint64_t now)
{
	size_t pos = 0;
	struct log *l;

	if (!r->away || !r->up || now - r->contact_ms < DISTRUST_MS)
		return;
	/* where all were away there is nobody to ask */
	while ((l = log_walk(r, &pos))) {
		if (!l->distrust || l->puller)
			continue;
		if (r->away_met_ms && !l->shared && now - r->away_met_ms >= DISTRUST_MS)
			forget(r, l);
		else if (!r->away_met_ms)
			l->distrust = false;
	}
	r->away = r->away_met_ms && now - r->away_met_ms < DISTRUST_MS;
}

static void logs_tick(struct wm_replica *r, uint64_t now)
{
	unsigned budget = EXPIRE_MAX;
	int64_t passed = passed_s(r);
	size_t pos = 0;
	struct log *l;

	while ((l = log_walk(r, &pos))) {
		if (l->tombs_head < l->tombs_len && !l->puller && !l->sweeping)
			log_expire(r, l, passed, &budget);
		if (l->stub && now - l->stub_ms > r->c.tombstone_max_ms)
			l->stub = false;
		if (!l->own && !l->shared && !l->stub && !l->puller && !l->sweeping && !l->root &&
		    !l->at.epoch && now - l->born_ms > BRAKE_WINDOW_MS)
			log_free(r, l); /* somebody named it, and nothing came */
	}
}

static void shrink(struct wm_buf *b)
{
	size_t max = b->max;

	if (b->cap <= BUFFERS_KEPT)
		return;
	wm_buf_done(b);
	wm_buf_init(b, max);
}

static void tick(void *arg)
{
	struct wm_replica *r = arg;
	uint64_t now = wm_env_ms(r->c.env);

	if (r->up && now - r->contact_ms >= TICK_MS)
		pull_speak(r, true);
	if (r->up) {
		r->contact_wall_ms = wm_env_wall_ms(r->c.env);
		r->last_up_ms = now;
	}
	proof_own_card(r);
	logs_tick(r, now);
	away_tick(r, now);
	pull_tick(r);
	shrink(&r->raw);
	shrink(&r->packed);
	shrink(&r->octets);
	wm_env_timer_arm(r->tick, TICK_MS);
}

static int set_up(struct wm_replica *r)
{
	const struct wm_peer_id nobody = {0};

	r->by_number = calloc(LOGS_MAX, sizeof(struct log *));
	r->logs = wm_map_new(LOGS_MAX);
	r->peers = wm_map_new(PEERS_MAX);
	if (!r->by_number || !r->logs || !r->peers)
		return -ENOMEM;
	r->shared = log_new(r, &nobody, true);
	r->own = log_new(r, &r->c.id, false);
	r->flush = wm_env_timer_new(r->c.env, serve_flush, r);
	r->work = wm_env_timer_new(r->c.env, work_due, r);
	r->tick = wm_env_timer_new(r->c.env, tick, r);
	if (!r->shared || !r->own || !r->flush || !r->work || !r->tick)
		return -ENOMEM;
	r->own->own = true;
	proof_own_card(r);
	r->own->state = LOG_VERIFIED;
	log_set_at(r, r->own, (struct position){r->c.epoch, r->c.seq});
	r->start = (struct position){r->c.epoch, r->c.stored_seq ? r->c.stored_seq : r->c.seq};
	return wm_env_timer_arm(r->tick, TICK_MS);
}

struct wm_replica *wm_replica_new(const struct wm_replica_config *c)
{
	struct wm_replica *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->c = *c;
	if (!r->c.rule)
		r->c.rule = &wm_merge_hlc;
	if (!r->c.tombstone_min_ms)
		r->c.tombstone_min_ms = TOMBSTONE_MIN_MS;
	if (!r->c.tombstone_max_ms)
		r->c.tombstone_max_ms = TOMBSTONE_MAX_MS;
	if (r->c.tombstone_max_ms < r->c.tombstone_min_ms)
		r->c.tombstone_max_ms = r->c.tombstone_min_ms;
	if (!r->c.brake_pct)
		r->c.brake_pct = 30;
	r->began_ms = wm_env_ms(c->env);
	r->contact_wall_ms = c->contact_ms;
	r->flushed = c->seq;
	r->quiet = true;
	r->compare_gap_ms = WM_REPLICA_QUIET_MS;
	wm_buf_init(&r->raw, MESSAGE_MAX);
	wm_buf_init(&r->packed, 2 * MESSAGE_MAX);
	wm_buf_init(&r->octets, MESSAGE_MAX);
	if (set_up(r)) {
		wm_replica_free(r);
		return NULL;
	}
	return r;
}

void wm_replica_free(struct wm_replica *r)
{
	size_t pos = 0;
	struct peer *p;

	if (!r)
		return;
	for (unsigned i = 0; r->by_number && i < LOGS_MAX; i++)
		if (r->by_number[i])
			log_free(r, r->by_number[i]);
	while ((p = peer_walk(r, &pos)))
		free(p);
	free(r->objects.heads);
	wm_map_free(r->logs);
	wm_map_free(r->peers);
	free(r->by_number);
	free(r->peer_list);
	free(r->pending);
	wm_env_timer_free(r->flush);
	wm_env_timer_free(r->work);
	wm_env_timer_free(r->tick);
	wm_buf_done(&r->raw);
	wm_buf_done(&r->packed);
	wm_buf_done(&r->octets);
	ZSTD_freeCCtx(r->zc);
	ZSTD_freeDCtx(r->zd);
	free(r);
}

/* Whose log a change is in. */
static struct log *log_for(struct wm_replica *r, const struct wm_replica_change *c)
{
	struct log *l;

	if (c->version.origin == WM_ORIGIN_SHARED)
		return r->shared;
	l = log_get(r, &c->origin);
	return l ? l : log_new(r, &c->origin, false);
}

int wm_replica_recover(struct wm_replica *r, const struct wm_replica_change *c)
{
	const struct position at = {c->version.epoch, c->version.seq};
	struct log *l = log_for(r, c);
	uint8_t element[WM_SETSUM_HASH];
	struct object *o;
	int err;

	if (!l)
		return -ENOMEM;
	err = object_ready(r, l, &c->key, &o);
	if (err)
		return err == WM_E_FULL ? -ENOMEM : err;
	object_set(r, l, o, c, 0);
	if (l->proving && !c->gone && c->object &&
	    !proof_element(r, &c->key, at, c->object, c->len, element))
		proof_set(r, l, o, element);
	if (!l->shared && position_cmp(at, l->at) > 0)
		log_set_at(r, l, at);
	if (!r->c.stored_seq)
		r->start = r->own->at;
	if (!l->own)
		l->state = LOG_PARTIAL;
	else if (l->at.seq > r->flushed)
		r->flushed = l->at.seq;
	log_recovered(l);
	return 0;
}

int wm_replica_own(struct wm_replica *r, const struct wm_replica_change *c)
{
	struct wm_replica_change mine = *c;
	struct log *l = log_for(r, c);
	struct object *o;
	uint64_t base;
	int err;

	if (!l)
		return -ENOMEM;
	err = object_ready(r, l, &c->key, &o);
	if (err)
		return err == WM_E_FULL ? -ENOMEM : err;
	base = o->listed ? o->seq : 0;
	if (base > c->version.seq) /* of a clock that was ahead: nobody took it */
		base = 0;
	if (l->shared) {
		object_set(r, l, o, &mine, base);
		return serve_pending(r, o);
	}
	mine.version.epoch = l->at.epoch; /* one that was on its way as the log began anew */
	object_set(r, l, o, &mine, 0);
	if (c->version.seq > l->at.seq)
		log_set_at(r, l, (struct position){l->at.epoch, c->version.seq});
	serve_gather(r);
	return 0;
}

static struct peer *peer_new(struct wm_replica *r, const struct wm_peer_id *id)
{
	size_t cap = r->peers_cap ? 2 * r->peers_cap : 16;
	struct peer **list = r->peer_list, *p;

	if (r->peers_len == r->peers_cap) {
		list = realloc(list, cap * sizeof(struct peer *));
		if (!list)
			return NULL;
		r->peer_list = list;
		r->peers_cap = cap;
	}
	p = calloc(1, sizeof(*p));
	if (!p)
		return NULL;
	p->id = *id;
	p->agreed_s = INT32_MIN;
	TAILQ_INIT(&p->wants);
	if (wm_map_put(r->peers, p->id.octets, sizeof(p->id.octets), p, NULL)) {
		free(p);
		return NULL;
	}
	list[r->peers_len++] = p;
	return p;
}

static struct peer *peer_ready(struct wm_replica *r, const struct wm_peer_id *id)
{
	struct peer *p = peer_get(r, id);

	return p ? p : peer_new(r, id);
}

static void peer_free(struct wm_replica *r, struct peer *p)
{
	size_t n = 0;

	while (!TAILQ_EMPTY(&p->wants))
		pull_end(r, TAILQ_FIRST(&p->wants));
	while (r->peer_list[n] != p)
		n++;
	r->peers_len--;
	memmove(r->peer_list + n, r->peer_list + n + 1, (r->peers_len - n) * sizeof(struct peer *));
	wm_map_del(r->peers, p->id.octets, sizeof(p->id.octets));
	free(p);
}

static int dispatch(struct wm_replica *r, struct peer *p, const Wm__Replica__Message *m,
		    struct wm_err *e)
{
	switch ((int)m->is_case) {
	case WM__REPLICA__MESSAGE__IS_VECTOR:
		return pull_vector(r, p, m->vector, e);
	case WM__REPLICA__MESSAGE__IS_PULL:
		return serve_pull(r, p, m->pull, e);
	case WM__REPLICA__MESSAGE__IS_PAGE:
		return pull_page(r, p, m->page, e);
	case WM__REPLICA__MESSAGE__IS_SUMS:
		return serve_sums(r, p, m->sums, e);
	case WM__REPLICA__MESSAGE__IS_DIFFER:
		return pull_differ(r, p, m->differ, e);
	default:
		return wm_err_set(e, WM_E_INVALID, "a message is of no kind that a stream has");
	}
}

/* What was changed by a message that came is not told before the end of it. */
static int received(struct wm_replica *r, const struct wm_peer_id *from, bool spread,
		    const void *data, size_t len, struct wm_err *e)
{
	bool strange = spread && wire_strange(data, len);
	Wm__Replica__Message *m = strange ? NULL : wire_read(r, data, len, e);
	struct peer *p = peer_ready(r, from);
	int err = m ? 0 : WM_E_INVALID;

	if (strange) { /* who has it tells it without */
		r->stats.dictionaries++;
		r->ask = true;
		replica_work_soon(r, 0);
		return r->c.proofs != NULL;
	}
	if (m && p && spread && r->c.leaf)
		r->stats.stale++; /* what it is interested in comes another way */
	else if (m && p && !spread)
		err = dispatch(r, p, m, e);
	else if (m && p && m->is_case == WM__REPLICA__MESSAGE__IS_BATCH)
		err = take_batch(r, p, m->batch, e);
	else if (m && p)
		err = wm_err_set(e, WM_E_INVALID, "a message over the tree is no batch");
	if (m)
		wire_free(m);
	if (err != WM_E_INVALID)
		return err == 1; /* else for want of memory: it is asked for again */
	r->stats.malformed++;
	return err;
}

bool wm_replica_news_is_of(struct wm_replica *r, const struct wm_peer_id *who, const void *p,
			   size_t len)
{
	struct wm_err e = {0};
	Wm__Replica__Message *m = wire_strange(p, len) ? NULL : wire_read(r, p, len, &e);
	bool is = m && m->is_case == WM__REPLICA__MESSAGE__IS_BATCH &&
		  m->batch->origin.len == sizeof(who->octets) &&
		  memcmp(m->batch->origin.data, who->octets, sizeof(who->octets)) == 0;

	if (m)
		wire_free(m);
	return is;
}

int wm_replica_spread(struct wm_replica *r, const struct wm_peer_id *from, const void *p,
		      size_t len, struct wm_err *e)
{
	return received(r, from, true, p, len, e);
}

int wm_replica_receive(struct wm_replica *r, const struct wm_peer_id *from, const void *p,
		       size_t len, struct wm_err *e)
{
	return received(r, from, false, p, len, e);
}

/* The first stream since long: whoever was away longer than tombstones are kept does not know what
 * died meanwhile. */
static void back(struct wm_replica *r)
{
	uint64_t now = wm_env_ms(r->c.env), wall = wm_env_wall_ms(r->c.env);
	uint64_t gap = r->last_up_ms ? now - r->last_up_ms
		       : r->contact_wall_ms
			       ? (wall > r->contact_wall_ms ? wall - r->contact_wall_ms : 0)
			       : 0;
	size_t pos = 0;
	struct log *l;

	r->contact_ms = now;
	if (gap <= r->c.tombstone_max_ms)
		return;
	r->away = true;
	r->away_met_ms = 0;
	r->away_since_ms = r->contact_wall_ms;
	while ((l = log_walk(r, &pos)))
		l->distrust = !l->own && (l->root || l->at.epoch);
}

void wm_replica_up(struct wm_replica *r, const struct wm_peer_id *peer)
{
	struct peer *p = peer_ready(r, peer);

	if (!p || p->up)
		return;
	if (!r->up++)
		back(r);
	r->last_up_ms = wm_env_ms(r->c.env);
	r->contact_wall_ms = wm_env_wall_ms(r->c.env);
	p->up = true;
	p->asked = p->heard = false;
	p->wait_ms = p->question_ms = 0;
	p->patience_ms = PATIENCE_MIN_MS;
	serve_vector(r, p, false);
}

void wm_replica_down(struct wm_replica *r, const struct wm_peer_id *peer)
{
	struct peer *p = peer_get(r, peer);

	if (!p || !p->up)
		return;
	p->up = p->asked = p->listing = false;
	r->up--;
	r->silent -= p->silent;
	p->silent = false;
	pull_end_all(r, p);
	r->last_up_ms = wm_env_ms(r->c.env);
	r->contact_wall_ms = wm_env_wall_ms(r->c.env);
}

void wm_replica_member(struct wm_replica *r, const struct wm_peer_id *id, bool there)
{
	struct peer *p = there ? peer_ready(r, id) : peer_get(r, id);

	if (!p)
		return;
	p->there = there;
	p->member |= there && !p->leaf; /* until it is forgotten: it may come back */
}

void wm_replica_leaf(struct wm_replica *r, const struct wm_peer_id *id, bool leaf)
{
	struct peer *p = peer_ready(r, id);

	if (!p)
		return;
	p->leaf = leaf;
	p->member = p->there && !leaf;
}

void wm_replica_forget(struct wm_replica *r, const struct wm_peer_id *origin)
{
	struct peer *p = peer_get(r, origin);
	struct log *l = log_get(r, origin);

	if (l && !l->own && !l->shared && !l->stub && !l->forgetting)
		forget(r, l);
	if (!p)
		return;
	p->member = p->there = false;
	if (!p->up)
		peer_free(r, p);
}

uint64_t wm_replica_contact_ms(const struct wm_replica *r)
{
	return r->up ? wm_env_wall_ms(r->c.env) : r->contact_wall_ms;
}

uint64_t wm_replica_step_ms(const struct wm_replica *r)
{
	uint64_t now = wm_env_ms(r->c.env), wall = wm_env_wall_ms(r->c.env);

	if (r->step_ms)
		return now - r->step_ms;
	if (r->c.step_ms && wall > r->c.step_ms)
		return wall - r->c.step_ms;
	return now - r->began_ms;
}

size_t wm_replica_summary(const struct wm_replica *r, void *p, size_t room)
{
	uint8_t *b = p;

	if (room < WM_REPLICA_SUMMARY)
		return 0;
	memset(b, 0, WM_REPLICA_SUMMARY);
	digest_put(r->digest, b);
	digest_put(r->vector, b + 16);
	for (int i = 0; i < 4; i++)
		b[32 + i] = (uint8_t)(r->live >> (24 - 8 * i));
	return WM_REPLICA_SUMMARY;
}

bool wm_replica_compare(struct wm_replica *r, const struct wm_peer_id *from, const void *data,
			size_t len)
{
	uint64_t now = wm_env_ms(r->c.env);
	uint8_t ours[WM_REPLICA_SUMMARY];
	struct peer *p = peer_ready(r, from), *to;

	if (r->c.leaf || (p && p->leaf)) /* which are not to have the same */
		return false;
	wm_replica_summary(r, ours, sizeof(ours));
	if (!p || len < WM_REPLICA_SUMMARY || !memcmp(ours, data, sizeof(ours))) {
		if (p && len >= WM_REPLICA_SUMMARY)
			replica_agreed(r, p);
		return false;
	}
	if (!r->differs_ms)
		r->differs_ms = now;
	if (now - r->differs_ms < WM_REPLICA_QUIET_MS || now < r->compare_ms)
		return true;
	to = p->up && !p->silent ? p : peer_up_by_chance(r);
	if (!to)
		return true;
	r->compare_ms = now + r->compare_gap_ms;
	r->compare_gap_ms *= 2;
	if (r->compare_gap_ms > COMPARE_GAP_MAX)
		r->compare_gap_ms = COMPARE_GAP_MAX;
	serve_vector(r, to, true);
	return true;
}

bool wm_replica_next(const struct wm_replica *r, size_t *pos, struct wm_replica_origin *ret)
{
	struct log *l;

	while ((l = log_walk(r, pos))) {
		if (l->shared || !l->at.epoch)
			continue;
		*ret = (struct wm_replica_origin){.id = l->id,
						  .epoch = l->at.epoch,
						  .seq = l->at.seq,
						  .objects = l->live,
						  .tombstones = l->gone};
		digest_put(l->digest, ret->digest);
		return true;
	}
	return false;
}

void wm_replica_digest(const struct wm_replica *r, uint8_t ret[static 16])
{
	digest_put(r->digest, ret);
}

void wm_replica_own_at(const struct wm_replica *r, uint32_t *ret_epoch, uint64_t *ret_seq)
{
	*ret_epoch = r->own->at.epoch;
	*ret_seq = r->own->at.seq;
}

unsigned wm_replica_objects(const struct wm_replica *r)
{
	return r->live;
}

void wm_replica_stats(const struct wm_replica *r, struct wm_replica_stats *ret)
{
	*ret = r->stats;
}
