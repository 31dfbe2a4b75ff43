/* SPDX-License-Identifier: Apache-2.0 */
/* replica_pull.c - who is behind asks. A log is asked for from one peer at a time, of each peer one
 * page at a time, so what is under way to us is a page a peer. Where positions are equal and
 * digests are not, sums of buckets are sent, and what differs is asked for. */
#include "replica_internal.h"

#include <errno.h>
#include <string.h>

struct peer *peer_get(const struct wm_replica *r, const struct wm_peer_id *id)
{
	return wm_map_get(r->peers, id->octets, sizeof(id->octets));
}

/* Rather one that answers. */
struct peer *peer_up_by_chance(const struct wm_replica *r)
{
	unsigned up = 0, answering = 0;
	struct peer *p;
	size_t pos = 0;
	uint64_t n;

	while ((p = peer_walk(r, &pos))) {
		up += p->up && !p->leaf;
		answering += p->up && !p->leaf && !p->silent;
	}
	if (!up)
		return NULL;
	n = wm_env_below(r->c.env, answering ? answering : up);
	pos = 0;
	while ((p = peer_walk(r, &pos)))
		if (p->up && !p->leaf && !(answering && p->silent) && !n--)
			return p;
	return NULL;
}

static void answered(struct wm_replica *r, struct peer *p)
{
	r->silent -= p->silent;
	p->silent = false;
	p->question_ms = 0;
}

/* Four times what this answer took, and half of what the one before it was given. */
static void answered_in_time(struct wm_replica *r, struct peer *p)
{
	uint64_t ms = 4 * (wm_env_ms(r->c.env) - p->asked_ms);

	ms = ms < p->patience_ms / 2 ? p->patience_ms / 2 : ms;
	p->patience_ms = (unsigned)(ms < PATIENCE_MIN_MS   ? PATIENCE_MIN_MS
				    : ms > PATIENCE_MAX_MS ? PATIENCE_MAX_MS
							   : ms);
}

/* What it was to tell is asked of others. */
static void fell_silent(struct wm_replica *r, struct peer *p)
{
	r->silent += !p->silent;
	p->silent = true;
	p->patience_ms =
		p->patience_ms < PATIENCE_MAX_MS / 2 ? 2 * p->patience_ms : PATIENCE_MAX_MS;
	p->asked = false;
	p->question_ms = 0;
	pull_end_all(r, p);
	r->stats.unanswered++;
	r->ask = true;
}

static void ask_another(struct wm_replica *r, uint64_t now)
{
	struct peer *p;

	if (now < r->ask_ms) {
		replica_work_soon(r, r->ask_ms - now);
		return;
	}
	r->ask = false;
	r->ask_ms = now + ASK_MS;
	p = peer_up_by_chance(r);
	if (p)
		serve_vector(r, p, true);
}

void pull_patience(struct wm_replica *r)
{
	uint64_t now = wm_env_ms(r->c.env), since;
	size_t pos = 0;
	struct peer *p;

	while ((p = peer_walk(r, &pos))) {
		since = p->question_ms;
		if (p->asked && (!since || p->asked_ms < since))
			since = p->asked_ms;
		if (!p->up || !since)
			continue;
		if (now - since >= p->patience_ms)
			fell_silent(r, p);
		else
			replica_work_soon(r, since + p->patience_ms - now);
	}
	if (r->ask)
		ask_another(r, now);
}

void pull_end(struct wm_replica *r, struct log *l)
{
	if (l->puller)
		TAILQ_REMOVE(&l->puller->wants, l, wanted);
	hold_clear(r, l);
	l->puller = NULL;
	l->begun = l->resume = false;
	l->sweeping = l->sweeping && l->forgetting;
}

void pull_done(struct wm_replica *r, struct log *l)
{
	struct peer *p = l->puller;
	bool again = l->again && position_cmp(l->told, l->at) > 0;

	pull_end(r, l);
	l->again = false;
	if (again && p)
		pull_want(r, p, l, l->told.epoch == l->at.epoch ? PULL_DELTA : PULL_WHOLE);
	else
		l->told = l->at;
	if (l->took) { /* there is more where that came from */
		r->compare_gap_ms = WM_REPLICA_QUIET_MS;
		r->compare_ms = 0;
	}
	if (l->announce)
		replica_work_soon(r, 0);
}

void pull_want(struct wm_replica *r, struct peer *p, struct log *l, enum pull_kind kind)
{
	if (l->puller || l->own || l->forgetting || wm_env_ms(r->c.env) < l->next_ms ||
	    (l->held && !wm_peer_id_same(&p->id, &l->word)) || proof_shunned(r, l, p))
		return;
	if (!p->up || (p->silent && r->silent < r->up)) {
		r->ask = true; /* who else has it? */
		replica_work_soon(r, 0);
		return;
	}
	if (l->distrust && kind == PULL_DELTA)
		kind = PULL_WHOLE;
	l->puller = p;
	l->begun = l->resume && kind == PULL_WHOLE;
	l->resume = false;
	l->kind = kind;
	TAILQ_INSERT_TAIL(&p->wants, l, wanted);
	pull_next(r, p);
}

/* From where it is asked, not from where it is when the answer comes: news may come meanwhile. */
void pull_begin(struct wm_replica *r, struct log *l)
{
	hold_clear(r, l);
	l->begun = true;
	l->came = 0;
	l->took = false;
	l->target = (struct position){0};
	l->idle = 0;
	l->cursor = l->kind == PULL_DELTA ? l->at : (struct position){0};
	l->cursor_len = 0;
	l->target_state = LOG_PARTIAL;
	if (l->kind != PULL_DELTA && !(l->shared && l->kind == PULL_BUCKETS))
		log_unmark(l);
}

static void want_of(struct log *l, Wm__Replica__Want *w)
{
	wm__replica__want__init(w);
	if (!l->shared)
		w->origin = (ProtobufCBinaryData){sizeof(l->id.octets), l->id.octets};
	w->epoch = l->cursor.epoch;
	w->seq = l->cursor.seq;
	w->key = (ProtobufCBinaryData){l->cursor_len, l->cursor_key};
	w->whole = l->kind == PULL_WHOLE;
	w->card = l->proving ? l->proving->mark : 0;
	if (l->kind == PULL_BUCKETS)
		w->buckets = (ProtobufCBinaryData){sizeof(l->buckets), l->buckets};
}

/* News may have brought what comes next. Not while a page is under way: that follows the cursor. */
static void catch_up(struct wm_replica *r, struct log *l)
{
	if (!l->begun)
		pull_begin(r, l);
	if (l->kind == PULL_DELTA && position_cmp(l->at, l->cursor) > 0) {
		l->cursor = l->at;
		l->cursor_len = 0;
	}
}

static bool ask(struct wm_replica *r, struct peer *p, Wm__Replica__Want **wants, size_t count)
{
	Wm__Replica__Pull pull = WM__REPLICA__PULL__INIT;
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;

	pull.wants = wants;
	pull.n_wants = count;
	pull.number = ++p->number;
	m.is_case = WM__REPLICA__MESSAGE__IS_PULL;
	m.pull = &pull;
	p->asked = true;
	p->asked_ms = wm_env_ms(r->c.env);
	r->stats.pulls++;
	if (wire_send(r, p, &m))
		p->asked = false; /* the tick asks again */
	else
		replica_work_soon(r, p->patience_ms);
	return p->asked;
}

void pull_next(struct wm_replica *r, struct peer *p)
{
	Wm__Replica__Want wants[PULL_LOGS], *list[PULL_LOGS];
	uint64_t now = wm_env_ms(r->c.env);
	struct log *l;
	size_t count = 0;

	if (!p->up || p->asked || TAILQ_EMPTY(&p->wants))
		return;
	if (now < p->wait_ms) {
		replica_work_soon(r, p->wait_ms - now);
		return;
	}
	TAILQ_FOREACH (l, &p->wants, wanted) {
		if (count == PULL_LOGS)
			break;
		if (l->sweeping || proof_taking(l))
			continue;
		catch_up(r, l);
		want_of(l, &wants[count]);
		list[count] = &wants[count];
		count++;
	}
	if (count)
		(void)ask(r, p, list, count);
}

/* Of one log alone what follows a page is asked for before that is judged and stored: both agents
 * have something to do. @return false: it was not. */
static bool ask_ahead(struct wm_replica *r, struct peer *p, struct log *l,
		      const Wm__Replica__Page *page)
{
	const Wm__Replica__Part *part = page->parts[0];
	Wm__Replica__Want want, *list = &want;

	if (page->n_parts != 1 || part->last || part->none || !part->n_changes ||
	    l->kind == PULL_BUCKETS || (part->whole && l->kind != PULL_WHOLE))
		return false;
	want_of(l, &want);
	want.epoch = part->at_epoch;
	want.seq = part->at_seq;
	want.key = part->at_key;
	return ask(r, p, &list, 1);
}

void pull_give_up(struct wm_replica *r, struct log *l)
{
	l->next_ms = wm_env_ms(r->c.env) + BACKOFF_MS;
	pull_end(r, l);
}

static struct log *log_named(struct wm_replica *r, const ProtobufCBinaryData *id)
{
	struct wm_peer_id at;

	if (!id->len)
		return r->shared;
	if (!origin_ok(id))
		return NULL;
	memcpy(at.octets, id->data, sizeof(at.octets));
	return log_get(r, &at);
}

int pull_page(struct wm_replica *r, struct peer *p, const Wm__Replica__Page *page, struct wm_err *e)
{
	bool later = false;

	if (p->asked && page->number == p->number)
		answered_in_time(r, p);
	answered(r, p);
	if (!p->asked || page->number != p->number) {
		r->stats.stale++;
		return 0;
	}
	p->asked = false;
	for (size_t i = 0; i < page->n_parts; i++) {
		const Wm__Replica__Part *part = page->parts[i];
		struct log *l = log_named(r, &part->origin);
		bool ahead;
		int err;

		if (!l || l->puller != p || !l->begun || l->sweeping || proof_taking(l))
			continue;
		if (part->none) {
			pull_end(r, l);
			continue;
		}
		ahead = ask_ahead(r, p, l, page);
		err = l->proving ? hold_part(r, p, l, &page->parts[i], e)
				 : take_part(r, p, l, part, e);
		if (ahead && (err || l->puller != p))
			p->asked = false; /* what comes is passed over */
		if (err == WM_E_INVALID) {
			pull_give_up(r, l);
			return err;
		}
		if (err == WM_E_CONFLICT || (err == WM_E_LIMIT && l->shared))
			pull_end(r, l); /* who removed what is held is asked within a tick */
		else if (err < 0)
			pull_give_up(r, l);
		later |= err == 1;
	}
	if (later || !page->n_parts)
		p->wait_ms = wm_env_ms(r->c.env) + BUSY_MS;
	pull_next(r, p);
	return 0;
}

void pull_repair(struct wm_replica *r, struct peer *p, struct log *l)
{
	digest_t sums[WM_REPLICA_BUCKETS];
	uint8_t octets[WM_REPLICA_BUCKETS * 16];
	Wm__Replica__Sums s = WM__REPLICA__SUMS__INIT;
	Wm__Replica__Message m = WM__REPLICA__MESSAGE__INIT;
	uint64_t now = wm_env_ms(r->c.env);

	if (l->puller || l->own || !p->up || now < l->repair_ms || now < l->next_ms ||
	    (l->held && !(l->shared && wm_peer_id_same(&p->id, &l->word))))
		return;
	l->repair_ms = now + REPAIR_MS;
	log_sums(l, sums);
	for (size_t i = 0; i < WM_REPLICA_BUCKETS; i++)
		digest_put(sums[i], octets + 16 * i);
	if (!l->shared)
		s.origin = (ProtobufCBinaryData){sizeof(l->id.octets), l->id.octets};
	s.epoch = l->at.epoch;
	s.seq = l->at.seq;
	s.sums = (ProtobufCBinaryData){sizeof(octets), octets};
	m.is_case = WM__REPLICA__MESSAGE__IS_SUMS;
	m.sums = &s;
	(void)wire_send(r, p, &m);
}

int pull_differ(struct wm_replica *r, struct peer *p, const Wm__Replica__Differ *d,
		struct wm_err *e)
{
	struct log *l = log_named(r, &d->origin);
	const struct position where = {d->epoch, d->seq};

	if (d->buckets.len != sizeof(l->buckets) || d->state > LOG_VERIFIED)
		return wm_err_set(e, WM_E_INVALID, "an answer to sums has no valid buckets");
	if (!l || l->puller || l->own || l->stub)
		return 0;
	/* Of a log somebody must know better; shared objects are merged. */
	if (!l->shared && (position_cmp(where, l->at) || l->state == LOG_VERIFIED ||
			   (d->state != LOG_VERIFIED && !wm_peer_id_same(&p->id, &l->id))))
		return 0;
	memcpy(l->buckets, d->buckets.data, sizeof(l->buckets));
	for (size_t i = 0; i < sizeof(l->buckets); i++)
		if (l->buckets[i]) {
			pull_want(r, p, l, PULL_BUCKETS);
			break;
		}
	return 0;
}

/* Others know more of our own log than is here: the store is of an earlier day. */
static void own_log(struct wm_replica *r, struct peer *p, const Wm__Replica__Log *m)
{
	const struct position told = {m->epoch, m->seq};
	uint64_t now = wm_env_ms(r->c.env);
	bool proved;
	uint32_t epoch;

	if (position_cmp(told, r->quiet ? r->start : r->own->at) <= 0)
		return;
	if (told.epoch > wm_env_wall_ms(r->c.env) / 1000 + 86400 && told.epoch > r->own->at.epoch) {
		r->stats.foreign++; /* an epoch is made of the time */
		return;
	}
	if (r->restored_ms && now < r->restored_ms + BACKOFF_MS)
		return;
	/* Who restarted may have no proof any more, and a store is of an earlier day from the start
	 * on: so one word of others is taken a run, and no liar can make it begin anew again. */
	proved = !r->c.proofs || proof_was_ours(r, told, &m->proved);
	if (!proved && r->believed) {
		r->stats.foreign++;
		return;
	}
	r->restored_ms = now;
	epoch = r->c.restored ? r->c.restored(r->c.arg, told.epoch) : 0;
	if (epoch <= told.epoch)
		return;
	r->believed |= !proved;
	r->stats.restored++;
	replica_alarm(r, &p->id, "others know more of our log than our store: it begins epoch %u",
		      epoch);
	proof_own_untold(r);
	log_set_at(r, r->own, (struct position){epoch, r->own->at.seq});
	r->own->announce = true;
	replica_work_soon(r, 0);
}

/* Both are at one position. @return false: they differ. */
static bool same_position(struct wm_replica *r, struct peer *p, struct log *l, digest_t digest,
			  enum log_state state)
{
	bool origin = wm_peer_id_same(&p->id, &l->id);

	if (l->digest == digest) {
		l->distrust = false;
		held_end(l);
		if (state > l->state)
			l->state = state;
		if (l->proving && !proof_here(l)) /* as the store had it: for its proof */
			pull_want(r, p, l, PULL_DELTA);
		return true;
	}
	if (l->distrust) {
		pull_want(r, p, l, PULL_WHOLE);
	} else if (state == LOG_VERIFIED && (l->state != LOG_VERIFIED || origin)) {
		if (l->state == LOG_VERIFIED)
			l->state = LOG_WHOLE;
		pull_repair(r, p, l);
	} else if (state == LOG_WHOLE && l->state == LOG_PARTIAL) {
		l->state = LOG_WHOLE;
	}
	return false;
}

/* @return false: not the same as here. */
static bool compare_log(struct wm_replica *r, struct peer *p, const Wm__Replica__Log *m)
{
	const struct position where = {m->epoch, m->seq};
	struct wm_peer_id id;
	struct log *l;
	int c;

	memcpy(id.octets, m->origin.data, sizeof(id.octets));
	l = log_get(r, &id);
	if (l && l->own) {
		own_log(r, p, m);
		return !position_cmp(where, l->at) && digest_get(m->digest.data) == l->digest;
	}
	if (!l)
		l = log_new(r, &id, false);
	if (!l || l->forgetting || (l->stub && position_cmp(where, l->forgotten) <= 0))
		return false;
	l->stub = false;
	c = position_cmp(where, l->at);
	if (!c)
		return same_position(r, p, l, digest_get(m->digest.data), (enum log_state)m->state);
	if (c < 0) {
		l->distrust = false; /* others have it, and less of it */
		return false;
	}
	if (position_cmp(where, l->told) > 0)
		l->told = where;
	pull_want(r, p, l, where.epoch == l->at.epoch ? PULL_DELTA : PULL_WHOLE);
	return false;
}

static bool compare_shared(struct wm_replica *r, struct peer *p, digest_t digest)
{
	struct log *l = r->shared;

	if (l->digest == digest) {
		l->distrust = l->distrust && p->away;
		held_end(l);
		return true;
	}
	if (l->distrust && !p->away)
		pull_want(r, p, l, PULL_WHOLE);
	else if (l->distrust || !p->away)
		pull_repair(r, p, l);
	return false;
}

/* More of it was told of, or it is being asked for. */
static bool missing(const struct log *l)
{
	return !l->own && !l->stub && (l->puller || position_cmp(l->told, l->at) > 0);
}

void replica_step(struct wm_replica *r)
{
	size_t pos = 0;
	struct log *l;

	if (r->heard_ms == r->step_ms)
		return;
	while ((l = log_walk(r, &pos)))
		if (missing(l))
			return;
	r->step_ms = r->heard_ms;
}

void replica_agreed(struct wm_replica *r, struct peer *p)
{
	r->heard_ms = r->step_ms = wm_env_ms(r->c.env);
	p->agreed_s = replica_s(r);
	p->agreed_wall_ms = wm_env_wall_ms(r->c.env);
	r->differs_ms = r->compare_ms = 0;
	r->compare_gap_ms = WM_REPLICA_QUIET_MS;
}

static int vector_check(const Wm__Replica__Vector *v, struct wm_err *e)
{
	if (v->n_logs > VECTOR_LOGS)
		return wm_err_set(e, WM_E_INVALID, "a vector has over %d logs a message",
				  VECTOR_LOGS);
	for (size_t i = 0; i < v->n_logs; i++) {
		const Wm__Replica__Log *m = v->logs[i];

		if ((m->origin.len && (!origin_ok(&m->origin) || !m->epoch)) ||
		    m->digest.len != 16 || m->state > LOG_VERIFIED ||
		    (m->proved.len && m->proved.len != PROVED_OCTETS))
			return wm_err_set(e, WM_E_INVALID, "a vector has no valid log");
	}
	return 0;
}

/* A leaf has a say in its own log alone, and takes an interest in no other. */
static bool told_by(const struct wm_replica *r, const struct peer *p, const Wm__Replica__Log *m)
{
	const struct wm_peer_id *only = r->c.leaf ? &r->c.id : &p->id;

	if (!r->c.leaf && !p->leaf)
		return true;
	return m->origin.len && !memcmp(m->origin.data, only->octets, sizeof(only->octets));
}

int pull_vector(struct wm_replica *r, struct peer *p, const Wm__Replica__Vector *v,
		struct wm_err *e)
{
	int err = vector_check(v, e);

	if (err)
		return err;
	if (v->first) {
		answered(r, p);
		p->listing = p->equal = true;
		p->listed = 0;
		p->away = v->away;
	}
	for (size_t i = 0; i < v->n_logs; i++) {
		const Wm__Replica__Log *m = v->logs[i];

		p->listed++;
		if (!told_by(r, p, m))
			continue;
		p->equal &= m->origin.len ? compare_log(r, p, m)
					  : compare_shared(r, p, digest_get(m->digest.data));
	}
	if (v->last && p->listing) {
		p->listing = false;
		p->heard = true;
		pull_speak(r, false);
		r->heard_ms = wm_env_ms(r->c.env);
		replica_step(r);
		if (p->equal && p->listed == serve_listed(r))
			replica_agreed(r, p);
		if (r->away && !p->away && !r->away_met_ms)
			r->away_met_ms = wm_env_ms(r->c.env);
	}
	if (v->answer)
		serve_vector(r, p, false);
	return 0;
}

void pull_speak(struct wm_replica *r, bool now)
{
	size_t pos = 0;
	struct peer *p;

	while (!now && (p = peer_walk(r, &pos)))
		if (p->up && !p->heard)
			return;
	if (!r->quiet)
		return;
	r->quiet = false;
	r->own->announce = true;
	replica_work_soon(r, 0);
	serve_flush_soon(r, 0);
}

/* A log of which more was told than came, and nobody is asked. */
static bool behind(const struct log *l)
{
	return !l->puller && !l->own && !l->stub && position_cmp(l->told, l->at) > 0;
}

/* What came of a log that is pulled whole is not asked for again: another goes on from there. */
void pull_end_all(struct wm_replica *r, struct peer *p)
{
	struct log *l, *next;
	struct hold *held;
	bool resume;

	for (l = TAILQ_FIRST(&p->wants); l; l = next) {
		next = TAILQ_NEXT(l, wanted);
		if (proof_taking(l)) /* all of it came, and is proved: nobody is needed */
			continue;
		resume = l->begun && l->kind == PULL_WHOLE && !l->shared && !l->sweeping;
		held = resume ? hold_detach(l) : NULL;
		pull_end(r, l);
		hold_resume(l, held);
		l->resume = resume;
	}
}

void pull_tick(struct wm_replica *r)
{
	uint64_t now = wm_env_ms(r->c.env);
	struct peer *p;
	size_t pos = 0;

	while ((p = peer_walk(r, &pos)))
		pull_next(r, p);
	pos = 0;
	if (r->c.leaf && now >= r->compare_ms) {
		r->compare_ms = now + LEAF_MS;
		while ((p = peer_walk(r, &pos)))
			if (p->up && !p->leaf)
				serve_vector(r, p, false);
	}
	pos = 0;
	for (struct log *l; (l = log_walk(r, &pos));) {
		r->ask |= behind(l) && now >= l->next_ms;
		held_ask(r, l);
	}
	pull_patience(r);
	replica_step(r);
}
