/* SPDX-License-Identifier: Apache-2.0 */
/* interest.c - see interest.h. */
#include "interest.h"

#include "userspace/base/err.h"
#include "userspace/base/map.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>

#define TICK_MS 1000

struct topic {
	bool glob;
	bool fixed, pinned; /* the settings name it; or a glob of theirs fits it */
	bool negative;
	bool whole;	   /* all of it came once and is stored; or of the run before */
	uint32_t number;   /* messages that came since the whole was asked for */
	uint64_t asked_ms; /* an answer is waited for since; 0: not */
	uint64_t used_ms, renewed_ms;
	char name[];
};

struct waiter {
	TAILQ_ENTRY(waiter) entry; /* who waited longest stands first */
	struct topic *topic;
	void (*done)(void *arg, int code);
	void *arg;
	uint64_t until_ms, last_ms; /* not beyond, whatever becomes of homes */
	bool due; /* its topic is known, or given up: it is told, unless it leaves before */
	int code;
};

struct wm_interest {
	struct wm_interest_config c;
	struct wm_map *topics;
	struct wm_peer_id home; /* none: there is none */
	struct wm_env_timer *tick, *deadline;
	TAILQ_HEAD(, waiter) waiters;
	uint64_t patience_ms, silent_ms; /* of a home; when one was silent last */
	bool spoke;	   /* the home, since it was chosen and since its stream broke */
	bool owed;	   /* its first word is waited for, */
	uint64_t owed_ms;  /* since */
	bool armed;	   /* the deadline, */
	uint64_t armed_ms; /* for then */
	struct wm_interest_stats stats;
};

static uint64_t now_ms(const struct wm_interest *i)
{
	return wm_env_ms(i->c.env);
}

static void fold(char *to, const char *name)
{
	size_t n = 0;

	for (; name[n] && n < WM_SERVICE_NAME_MAX; n++)
		to[n] = (char)(name[n] >= 'A' && name[n] <= 'Z' ? name[n] + 'a' - 'A' : name[n]);
	to[n] = '\0';
}

static struct topic *find(const struct wm_interest *i, const char *name)
{
	char folded[WM_SERVICE_NAME_MAX + 1];

	fold(folded, name);
	return wm_map_get(i->topics, folded, strlen(folded));
}

static bool fits(const struct wm_interest *i, const char *folded)
{
	for (char *const *g = i->c.globs; g && *g; g++)
		if (fnmatch(*g, folded, FNM_CASEFOLD) == 0)
			return true;
	return false;
}

static int add(struct wm_interest *i, const char *name, bool glob, struct topic **ret)
{
	char folded[WM_SERVICE_NAME_MAX + 1];
	unsigned *count = glob ? &i->stats.globs : &i->stats.services;
	struct topic *t;

	fold(folded, name);
	if (*count >= (glob ? WM_INTEREST_GLOBS_MAX : WM_INTERESTS_MAX))
		return WM_E_LIMIT;
	t = calloc(1, sizeof(*t) + strlen(folded) + 1);
	if (!t)
		return -ENOMEM;
	strcpy(t->name, folded);
	t->glob = glob;
	t->pinned = glob || fits(i, folded);
	t->used_ms = now_ms(i);
	if (wm_map_put(i->topics, t->name, strlen(t->name), t, NULL)) {
		free(t);
		return -ENOMEM;
	}
	++*count;
	*ret = t;
	return 0;
}

/* Somebody asks, and the home has not said anything yet. */
static void owe(struct wm_interest *i)
{
	if (i->spoke || i->owed)
		return;
	i->owed = true;
	i->owed_ms = now_ms(i);
}

static void subscribe(struct wm_interest *i, struct topic *t)
{
	owe(i);
	t->number = 0;
	t->asked_ms = 0;
	if (wm_peer_id_none(&i->home))
		return;
	t->asked_ms = t->renewed_ms = now_ms(i);
	i->c.ask(i->c.arg, &i->home, t->name, 0, false);
}

/* --- who waits -------------------------------------------------------------------------------- */
static void answer(struct wm_interest *i, struct waiter *w, int code)
{
	TAILQ_REMOVE(&i->waiters, w, entry);
	i->stats.waiting--;
	if (code)
		i->stats.late++;
	else
		i->stats.answered++;
	w->done(w->arg, code);
	free(w);
}

static struct waiter *first_due(const struct wm_interest *i)
{
	struct waiter *w;

	TAILQ_FOREACH (w, &i->waiters, entry)
		if (w->due)
			return w;
	return NULL;
}

/* Who is told may cancel others, or ask anew. */
static void answer_due(struct wm_interest *i)
{
	struct waiter *w;

	while ((w = first_due(i)))
		answer(i, w, w->code);
}

static void release(struct wm_interest *i, const struct topic *t, int code)
{
	struct waiter *w;

	TAILQ_FOREACH (w, &i->waiters, entry) {
		if (w->topic == t && !w->due) {
			w->due = true;
			w->code = code;
		}
	}
	answer_due(i);
}

/* Not where it is to fire earlier: it arms itself for who is left. */
static void arm_deadline(struct wm_interest *i, uint64_t until_ms)
{
	uint64_t now = now_ms(i);

	if (i->armed && i->armed_ms <= until_ms)
		return;
	i->armed = true;
	i->armed_ms = until_ms;
	wm_env_timer_arm(i->deadline, until_ms > now ? until_ms - now : 0);
}

static void on_deadline(void *arg)
{
	struct wm_interest *i = arg;
	uint64_t now = now_ms(i);
	struct waiter *w;

	i->armed = false;
	TAILQ_FOREACH (w, &i->waiters, entry) {
		if (w->until_ms <= now && !w->due) {
			w->due = true;
			w->code = WM_E_BUSY;
		}
	}
	answer_due(i);
	TAILQ_FOREACH (w, &i->waiters, entry)
		arm_deadline(i, w->until_ms);
}

/* Until when the home's first word is waited for; 0: it is not. */
static uint64_t owed_until(const struct wm_interest *i)
{
	return i->owed ? i->owed_ms + WM_INTEREST_HOME_MS : 0;
}

/* Who waits as the home is lost, or as one is found, waits for its first word. The deadline fires
 * too early then, which does no harm. */
static void wait_longer(struct wm_interest *i)
{
	uint64_t until = owed_until(i);
	struct waiter *w;

	TAILQ_FOREACH (w, &i->waiters, entry) {
		if (until > w->until_ms)
			w->until_ms = until < w->last_ms ? until : w->last_ms;
	}
}

static int wait_for(struct wm_interest *i, struct topic *t, void (*done)(void *arg, int code),
		    void *arg)
{
	uint64_t now = now_ms(i), until = owed_until(i);
	struct waiter *w;

	if (i->stats.waiting >= WM_INTEREST_WAITING_MAX) {
		i->stats.full++;
		return WM_E_LIMIT;
	}
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	if (until < now + WM_INTEREST_WAIT_MS)
		until = now + WM_INTEREST_WAIT_MS;
	*w = (struct waiter){.topic = t,
			     .done = done,
			     .arg = arg,
			     .until_ms = until,
			     .last_ms = now + WM_INTEREST_HOME_MS};
	arm_deadline(i, until);
	TAILQ_INSERT_TAIL(&i->waiters, w, entry);
	i->stats.waiting++;
	return 1;
}

void wm_interest_cancel(struct wm_interest *i, void *arg)
{
	struct waiter *w, *next;

	for (w = TAILQ_FIRST(&i->waiters); w; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->arg != arg)
			continue;
		TAILQ_REMOVE(&i->waiters, w, entry);
		i->stats.waiting--;
		free(w);
	}
}

int wm_interest_lookup(struct wm_interest *i, const char *service,
		       void (*done)(void *arg, int code), void *arg)
{
	struct topic *t = find(i, service);
	int r;

	if (t && t->glob) /* no service has such a name */
		return 0;
	if (!t) {
		i->stats.asked++;
		r = add(i, service, false, &t);
		if (r) {
			i->stats.full += r == WM_E_LIMIT;
			return r;
		}
		subscribe(i, t);
	}
	if (!t->negative) /* what is not there is not kept longer for being asked for */
		t->used_ms = now_ms(i);
	if (t->whole || !done)
		return 0;
	return wait_for(i, t, done, arg);
}

/* --- the home --------------------------------------------------------------------------------- */
static void subscribe_all(struct wm_interest *i, bool anew)
{
	struct topic *t;
	size_t pos = 0;

	while ((t = wm_map_next(i->topics, &pos)))
		if (anew || !t->number)
			subscribe(i, t);
}

/* @p anew: though it is the one that it was. */
static void choose(struct wm_interest *i, bool anew)
{
	struct wm_peer_id before = i->home;

	if (!i->c.home(i->c.arg, &before, &i->home))
		i->home = (struct wm_peer_id){0};
	if (!wm_peer_id_same(&before, &i->home))
		i->spoke = false;
	if (wm_peer_id_none(&i->home))
		return;
	/* its time begins; behind a silent one it does not begin again */
	if (wm_peer_id_none(&before))
		i->owed = false;
	i->stats.moved += !wm_peer_id_same(&before, &i->home);
	subscribe_all(i, anew || !wm_peer_id_same(&before, &i->home));
	wait_longer(i);
}

void wm_interest_down(struct wm_interest *i, const struct wm_peer_id *peer)
{
	if (!wm_peer_id_same(peer, &i->home))
		return;
	i->spoke = false;
	choose(i, true);
	if (TAILQ_EMPTY(&i->waiters))
		return;
	owe(i);
	wait_longer(i);
}

void wm_interest_up(struct wm_interest *i)
{
	if (wm_peer_id_none(&i->home))
		choose(i, false);
}

/* --- what comes ------------------------------------------------------------------------------- */
/* @return of what the home speaks; NULL: of nothing that was asked for, or it is not the home. */
static struct topic *of_home(struct wm_interest *i, const struct wm_peer_id *from, const char *name)
{
	if (!wm_peer_id_same(from, &i->home))
		return NULL;
	i->spoke = true;
	i->owed = false;
	return find(i, name);
}

/* @return false: one is missing before it. */
static bool in_order(struct wm_interest *i, struct topic *t, uint32_t number, bool first)
{
	t->asked_ms = 0;
	if (first || number == t->number + 1) {
		t->number = number;
		return true;
	}
	if (number > t->number && t->number) {
		i->stats.gaps++;
		subscribe(i, t);
	}
	return false;
}

bool wm_interest_message(struct wm_interest *i, const struct wm_peer_id *from, const char *service,
			 uint32_t number, bool first)
{
	struct topic *t = of_home(i, from, service);

	if (!t || t->glob || !number)
		return false;
	if (!first && !t->number) /* of what was before the whole that is asked for */
		return false;
	return in_order(i, t, number, first);
}

void wm_interest_whole(struct wm_interest *i, const char *service, bool known)
{
	struct topic *t = find(i, service);

	if (!t || !t->number)
		return;
	t->whole = true;
	if (t->negative == known)
		t->used_ms = now_ms(i);
	t->negative = !known;
	release(i, t, 0);
}

void wm_interest_lost(struct wm_interest *i, const char *service)
{
	struct topic *t = find(i, service);

	if (!t)
		return;
	i->stats.gaps++;
	t->number = 0;
	t->renewed_ms = 0; /* the tick asks again */
}

static void drop(struct wm_interest *i, struct topic *t)
{
	(void)wm_map_del(i->topics, t->name, strlen(t->name));
	i->stats.services -= !t->glob;
	i->stats.globs -= t->glob;
	if (!t->glob)
		i->c.drop(i->c.arg, t->name);
	release(i, t, WM_E_BUSY);
	free(t);
}

void wm_interest_refused(struct wm_interest *i, const struct wm_peer_id *from, const char *name)
{
	struct topic *t = of_home(i, from, name);

	if (!t)
		return;
	i->stats.refused++;
	t->asked_ms = 0;
	if (!t->pinned)
		drop(i, t);
	else
		release(i, t, WM_E_BUSY); /* the next renewal asks again */
}

void wm_interest_names(struct wm_interest *i, const struct wm_peer_id *from, const char *glob,
		       uint32_t number, char *const *names, size_t count)
{
	struct topic *t = of_home(i, from, glob), *of;

	if (!t || !t->glob || !in_order(i, t, number, number == 1))
		return;
	t->whole = true;
	for (size_t n = 0; n < count; n++) {
		if (!fits(i, names[n]))
			continue;
		of = find(i, names[n]);
		if (of) {
			of->pinned = true;
			continue;
		}
		if (add(i, names[n], false, &of)) {
			i->stats.full++;
			return;
		}
		subscribe(i, of);
	}
}

/* --- time ------------------------------------------------------------------------------------- */
static bool is_over(const struct wm_interest *i, const struct topic *t, uint64_t now)
{
	if (t->fixed)
		return false;
	if (t->negative)
		return !t->glob && now - t->used_ms >= WM_INTEREST_NEGATIVE_MS;
	return !t->pinned && now - t->used_ms >= i->c.ttl_ms &&
	       !(i->c.held && i->c.held(i->c.arg, t->name));
}

static void lose_patience(struct wm_interest *i, uint64_t now)
{
	i->silent_ms = now;
	i->patience_ms *= i->patience_ms < WM_INTEREST_SILENT_MAX_MS ? 2 : 1;
}

static void on_tick(void *arg)
{
	struct wm_interest *i = arg;
	uint64_t now = now_ms(i);
	bool silent = false;
	struct topic *t;
	size_t pos = 0;

	while ((t = wm_map_next(i->topics, &pos))) {
		silent |= t->asked_ms && now - t->asked_ms >= i->patience_ms;
		if (is_over(i, t, now)) {
			i->stats.expired++;
			if (!wm_peer_id_none(&i->home))
				i->c.ask(i->c.arg, &i->home, t->name, 0, true);
			drop(i, t);
		} else if (!wm_peer_id_none(&i->home) &&
			   now - t->renewed_ms >= WM_INTEREST_RENEW_MS) {
			t->renewed_ms = now;
			if (!t->number)
				t->asked_ms = now;
			i->c.ask(i->c.arg, &i->home, t->name, t->number, false);
		}
	}
	if (silent)
		lose_patience(i, now);
	else if (now - i->silent_ms >= WM_INTEREST_CALM_MS)
		i->patience_ms = WM_INTEREST_SILENT_MS;
	if (silent || wm_peer_id_none(&i->home))
		choose(i, false);
	wm_env_timer_arm(i->tick, TICK_MS);
}

/* --- life ------------------------------------------------------------------------------------- */
struct wm_interest *wm_interest_new(const struct wm_interest_config *c)
{
	struct wm_interest *i = calloc(1, sizeof(*i));
	struct topic *t;

	if (!i)
		return NULL;
	i->c = *c;
	i->patience_ms = WM_INTEREST_SILENT_MS;
	TAILQ_INIT(&i->waiters);
	i->topics = wm_map_new(WM_INTERESTS_MAX + WM_INTEREST_GLOBS_MAX);
	i->tick = wm_env_timer_new(c->env, on_tick, i);
	i->deadline = wm_env_timer_new(c->env, on_deadline, i);
	if (!i->topics || !i->tick || !i->deadline) {
		wm_interest_free(i);
		return NULL;
	}
	for (char *const *g = c->globs; g && *g; g++)
		if (!find(i, *g) && add(i, *g, strpbrk(*g, "*?[") != NULL, &t) == 0)
			t->fixed = true;
	return i;
}

int wm_interest_start(struct wm_interest *i)
{
	choose(i, true);
	return wm_env_timer_arm(i->tick, TICK_MS);
}

void wm_interest_free(struct wm_interest *i)
{
	struct waiter *w;
	struct topic *t;
	size_t pos = 0;

	if (!i)
		return;
	while ((w = TAILQ_FIRST(&i->waiters)))
		answer(i, w, WM_E_BUSY);
	while (i->topics && (t = wm_map_next(i->topics, &pos))) {
		(void)wm_map_del(i->topics, t->name, strlen(t->name));
		free(t);
	}
	wm_map_free(i->topics);
	wm_env_timer_free(i->tick);
	wm_env_timer_free(i->deadline);
	free(i);
}

bool wm_interest_has(struct wm_interest *i, const char *service)
{
	struct topic *t = find(i, service);

	if (!t && add(i, service, false, &t))
		return false;
	t->whole = true;
	return !t->glob;
}

bool wm_interest_wants(const struct wm_interest *i, const char *service)
{
	const struct topic *t = find(i, service);

	return t && !t->glob;
}

void wm_interest_stats(const struct wm_interest *i, struct wm_interest_stats *ret)
{
	*ret = i->stats;
	ret->home = i->home;
}

const char *wm_interest_next(const struct wm_interest *i, size_t *pos, bool *ret_pinned,
			     uint64_t *ret_idle_ms)
{
	const struct topic *t = wm_map_next(i->topics, pos);

	if (!t)
		return NULL;
	*ret_pinned = t->pinned;
	*ret_idle_ms = now_ms(i) - t->used_ms;
	return t->name;
}
