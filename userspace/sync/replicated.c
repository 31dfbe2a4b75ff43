/* SPDX-License-Identifier: Apache-2.0 */
/* replicated.c - see replicated.h. All who wait share one round of questions: a member that is
 * behind the last of them is asked once a round, rounds get longer while nothing comes. */
#include "replicated.h"

#include "internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUND_MIN_MS 5 /* news takes some milliseconds: rounds begin so and double */
#define ROUND_MAX_MS 250

struct waiter {
	LIST_ENTRY(waiter) entry;
	uint32_t epoch; /* of this agent's log, what is waited for */
	uint64_t seq, until_ms;
	unsigned replicas;
	void (*done)(void *arg, int code, const char *text);
	void *arg;
	size_t len;
	char id[];
};

/* How far a member is in our log. */
struct mark {
	struct wm_peer_id id;
	uint32_t epoch;
	uint64_t seq;
};

struct wm_waits {
	struct wm_sync *s;
	LIST_HEAD(, waiter) waiters;
	unsigned count;
	struct wm_map *marks;
	struct wm_env_timer *timer;
	uint64_t round_ms;
};

static bool passed(const struct wm_waits *w, const struct wm_member *m, const struct waiter *k)
{
	const struct mark *n = wm_map_get(w->marks, m->id.octets, sizeof(m->id.octets));

	return n && (n->epoch > k->epoch || (n->epoch == k->epoch && n->seq >= k->seq));
}

/* The next member that is to have it. */
static const struct wm_member *next_member(struct wm_sync *s, size_t *pos)
{
	const struct wm_member *m;

	while ((m = wm_members_next(s->members, pos)))
		if (!m->self && m->state <= WM_MEMBER_SUSPECT && m->role == WM_MEMBER_FULL)
			return m;
	return NULL;
}

static void end(struct waiter *k, struct wm_waits *w, int code, const char *text)
{
	void (*done)(void *arg, int code, const char *text) = k->done;
	void *arg = k->arg;

	LIST_REMOVE(k, entry);
	w->count--;
	free(k);
	done(arg, code, text);
}

static bool is_replicated(struct wm_waits *w, const struct waiter *k, unsigned *ret_have,
			  unsigned *ret_of, const char **ret_lacks)
{
	const struct wm_replica_key key = {k->id, k->len};
	const struct wm_member *m;
	size_t pos = 0;

	*ret_have = *ret_of = 0;
	*ret_lacks = "";
	if (w->s->etcd)
		return wm_etcd_has_own(w->s->etcd, &key);
	while ((m = next_member(w->s, &pos))) {
		bool has = passed(w, m, k);

		++*ret_of;
		*ret_have += has;
		if (!has)
			*ret_lacks = m->name;
	}
	return k->replicas ? *ret_have >= k->replicas : *ret_of && *ret_have == *ret_of;
}

static void too_late(struct wm_waits *w, struct waiter *k, unsigned have, unsigned of,
		     const char *lacks)
{
	char text[192];

	if (w->s->etcd)
		snprintf(text, sizeof(text),
			 "It is durable here, and etcd does not have it yet: it follows");
	else if (!of)
		snprintf(text, sizeof(text),
			 "It is durable here, and no other member is alive to have it: it follows");
	else
		snprintf(text, sizeof(text),
			 "It is durable here, and with %u of %u members that are alive: it "
			 "follows%s%s",
			 have, of, *lacks ? "; not yet with " : "", lacks);
	end(k, w, WM_E_PENDING, text);
}

/* @return whether anybody still waits. */
static bool look(struct wm_waits *w)
{
	uint64_t now = wm_env_ms(w->s->env);
	struct waiter *k, *next;
	unsigned have, of;
	const char *lacks;

	for (k = LIST_FIRST(&w->waiters); k; k = next) {
		next = LIST_NEXT(k, entry);
		if (is_replicated(w, k, &have, &of, &lacks))
			end(k, w, 0, NULL);
		else if (now >= k->until_ms)
			too_late(w, k, have, of, lacks);
	}
	return !LIST_EMPTY(&w->waiters);
}

static void ask(struct wm_waits *w)
{
	const struct wm_member *m;
	struct waiter *k;
	size_t pos = 0;

	while (!w->s->etcd && (m = next_member(w->s, &pos))) {
		LIST_FOREACH (k, &w->waiters, entry)
			if (!passed(w, m, k))
				break;
		if (k)
			wm_verify_ask_position(w->s->verify, &m->id);
	}
}

static void forget_marks(struct wm_waits *w)
{
	struct mark *n;
	size_t pos = 0;

	while ((n = wm_map_next(w->marks, &pos))) {
		(void)wm_map_del(w->marks, n->id.octets, sizeof(n->id.octets));
		free(n);
		pos = 0;
	}
}

static void on_round(void *arg)
{
	struct wm_waits *w = arg;

	if (!look(w)) {
		forget_marks(w);
		return;
	}
	ask(w);
	w->round_ms = w->round_ms < ROUND_MAX_MS / 2 ? 2 * w->round_ms : ROUND_MAX_MS;
	wm_env_timer_arm(w->timer, w->round_ms);
}

void wm_waits_position(struct wm_waits *w, const struct wm_peer_id *from, uint32_t epoch,
		       uint64_t seq)
{
	struct mark *n = wm_map_get(w->marks, from->octets, sizeof(from->octets));

	if (LIST_EMPTY(&w->waiters))
		return;
	if (!n) {
		n = calloc(1, sizeof(*n));
		if (!n)
			return;
		n->id = *from;
		if (wm_map_put(w->marks, n->id.octets, sizeof(n->id.octets), n, NULL)) {
			free(n);
			return;
		}
	}
	n->epoch = epoch;
	n->seq = seq;
	(void)look(w);
}

static void begin_round(struct wm_waits *w)
{
	w->round_ms = ROUND_MIN_MS;
	wm_env_timer_arm(w->timer, w->round_ms);
}

void wm_sync_wait(struct wm_sync *s, const char *id, unsigned replicas, uint64_t ms,
		  void (*done)(void *arg, int code, const char *text), void *arg)
{
	struct wm_waits *w = s->waits;
	size_t len = strlen(id);
	struct waiter *k = w->count < WM_REPLICATED_MAX ? malloc(sizeof(*k) + len + 1) : NULL;

	if (!k) {
		done(arg, WM_E_BUSY,
		     "It is durable here; too many wait for others to have it: it follows");
		return;
	}
	*k = (struct waiter){.until_ms = wm_env_ms(s->env) + ms,
			     .replicas = replicas,
			     .done = done,
			     .arg = arg,
			     .len = len};
	memcpy(k->id, id, len + 1);
	if (s->replica)
		wm_replica_own_at(s->replica, &k->epoch, &k->seq);
	LIST_INSERT_HEAD(&w->waiters, k, entry);
	w->count++;
	begin_round(w);
}

struct wm_waits *wm_waits_new(struct wm_sync *s)
{
	struct wm_waits *w = calloc(1, sizeof(*w));

	if (!w)
		return NULL;
	w->s = s;
	LIST_INIT(&w->waiters);
	w->marks = wm_map_new(WM_MEMBERS_MAX);
	w->timer = wm_env_timer_new(s->env, on_round, w);
	if (w->marks && w->timer)
		return w;
	wm_waits_free(w);
	return NULL;
}

void wm_waits_free(struct wm_waits *w)
{
	struct waiter *k;

	if (!w)
		return;
	while ((k = LIST_FIRST(&w->waiters)))
		end(k, w, WM_E_BUSY, "It is durable here; this agent stops");
	if (w->marks)
		forget_marks(w);
	wm_map_free(w->marks);
	wm_env_timer_free(w->timer);
	free(w);
}
