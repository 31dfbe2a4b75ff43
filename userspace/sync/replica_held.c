/* SPDX-License-Identifier: Apache-2.0 */
/* replica_held.c - what the brake holds back: how much, of whose, told by whom, and the first names
 * of it, until an operator lets it go or the log turns out to be right; and whose writes are held
 * as their clock is ahead. */
#include "replica_internal.h"

#include <inttypes.h>
#include <string.h>

void held_begin(struct wm_replica *r, struct log *l, const struct peer *from, uint64_t removals,
		uint64_t of)
{
	struct wm_replica_held *h = l->held ? l->held : calloc(1, sizeof(*h));

	if (!h) /* it is held, and not shown */
		return;
	if (!l->held)
		replica_alarm(r, from ? &from->id : &l->id,
			      "removals held back: %" PRIu64 " of %" PRIu64
			      " objects would go, told by another than their origin",
			      removals, of);
	if (!l->held)
		h->since_ms = wm_env_ms(r->c.env);
	l->held = h;
	h->origin = l->word = l->id;
	h->shared = l->shared;
	h->from = from ? from->id : l->id;
	h->removals = removals;
	h->names_count = 0;
}

void held_name(struct log *l, const struct wm_replica_key *k)
{
	struct wm_replica_held *h = l->held;

	if (!h || h->names_count == WM_REPLICA_HELD_NAMES)
		return;
	h->names_len[h->names_count] = k->len;
	memcpy(h->names[h->names_count++], k->octets, k->len);
}

void held_end(struct log *l)
{
	free(l->held);
	l->held = NULL;
}

void held_ask(struct wm_replica *r, struct log *l)
{
	struct peer *p = l->held ? peer_get(r, &l->word) : NULL;
	uint64_t now = wm_env_ms(r->c.env);

	if (!p || !p->there || now < l->word_ms)
		return;
	l->word_ms = now + TICK_MS;
	serve_vector(r, p, true);
}

unsigned wm_replica_behind(const struct wm_replica *r)
{
	unsigned count = 0;
	size_t pos = 0;

	for (struct log *l; (l = log_walk(r, &pos));)
		count += !l->stub && !l->shared && position_cmp(l->told, l->at) > 0;
	return count;
}

bool wm_replica_next_held(const struct wm_replica *r, size_t *pos, struct wm_replica_held *ret)
{
	struct log *l;

	while ((l = log_walk(r, pos)))
		if (l->held) {
			*ret = *l->held;
			return true;
		}
	return false;
}

unsigned wm_replica_release(struct wm_replica *r, const struct wm_peer_id *origin)
{
	unsigned count = 0;
	size_t pos = 0;
	struct log *l;

	while ((l = log_walk(r, &pos))) {
		if (!l->held || (origin && !wm_peer_id_same(&l->id, origin)))
			continue;
		held_end(l);
		l->release_ms = wm_env_ms(r->c.env) + BRAKE_WINDOW_MS;
		l->next_ms = l->repair_ms = 0;
		count++;
	}
	for (struct peer *p = count ? peer_up_by_chance(r) : NULL; p; p = NULL)
		serve_vector(r, p, true);
	return count;
}

/* --- members -----------------------------------------------------------------------------------
 */
void peer_repaired(const struct wm_replica *r, struct peer *p)
{
	if (!p)
		return;
	p->repairs++;
	p->repaired_ms = wm_env_ms(r->c.env);
}

void wm_replica_peer(const struct wm_replica *r, const struct wm_peer_id *id,
		     struct wm_replica_peer *ret)
{
	const struct peer *p = peer_get(r, id);
	const struct log *l = log_get(r, id), *wanted;

	*ret = (struct wm_replica_peer){.agreed_ms = -1, .repaired_ms = -1};
	if (l && !l->stub && l->told.epoch == l->at.epoch)
		ret->behind = l->told.seq > l->at.seq ? l->told.seq - l->at.seq : 0;
	if (!p)
		return;
	TAILQ_FOREACH (wanted, &p->wants, wanted)
		ret->pulling++;
	if (p->agreed_s != INT32_MIN)
		ret->agreed_ms = (replica_s(r) - p->agreed_s) * 1000;
	ret->plain = p->plain;
	ret->packed = p->packed;
	ret->repairs = p->repairs;
	if (p->repairs)
		ret->repaired_ms = (int64_t)(wm_env_ms(r->c.env) - p->repaired_ms);
}

/* --- clocks ------------------------------------------------------------------------------------
 */
void ahead_note(struct wm_replica *r, const struct wm_peer_id *writer, uint64_t by_ms)
{
	struct wm_replica_ahead *a = NULL, *oldest = r->ahead;

	for (unsigned i = 0; i < WM_REPLICA_AHEAD_MAX && !a; i++) {
		if (r->ahead[i].changes && wm_peer_id_same(&r->ahead[i].writer, writer))
			a = &r->ahead[i];
		else if (r->ahead[i].last_ms < oldest->last_ms)
			oldest = &r->ahead[i];
	}
	if (!a) {
		a = oldest;
		*a = (struct wm_replica_ahead){.writer = *writer};
	}
	a->changes++;
	a->by_ms = by_ms;
	a->last_ms = wm_env_ms(r->c.env);
}

bool wm_replica_next_ahead(const struct wm_replica *r, size_t *pos, struct wm_replica_ahead *ret)
{
	uint64_t now = wm_env_ms(r->c.env);

	while (*pos < WM_REPLICA_AHEAD_MAX) {
		*ret = r->ahead[(*pos)++];
		if (ret->changes && now - ret->last_ms < BRAKE_WINDOW_MS)
			return true;
	}
	return false;
}
