/* SPDX-License-Identifier: Apache-2.0 */
/* consul_watch.c - the list of services and a watch for each: whose turn it is, how long a query
 * waits, and how often one is asked. As long as there are as many connections as services each has
 * its blocking query; of more services each waits in a queue, and queries wait shorter. A service
 * that changes all the time, or a server that answers at once, is asked BURST times and then one
 * time in PACE_MS. */
#include "consul_internal.h"

#include <errno.h>
#include <fnmatch.h>
#include <stdlib.h>
#include <string.h>

/* --- queues ----------------------------------------------------------------------------------- */
static void unqueue(struct wm_consul_watch *w)
{
	struct wm_consul *c = w->q.c;

	if (w->place == WATCH_READY)
		TAILQ_REMOVE(&c->ready, w, entry);
	else if (w->place == WATCH_LATER)
		TAILQ_REMOVE(&c->later, w, entry);
	else if (w->place == WATCH_TAKING)
		TAILQ_REMOVE(&c->taking, w, entry);
	else
		c->in_flight--;
}

static void move(struct wm_consul_watch *w, enum wm_consul_place to)
{
	struct wm_consul *c = w->q.c;

	unqueue(w);
	w->place = to;
	if (to == WATCH_READY)
		TAILQ_INSERT_TAIL(&c->ready, w, entry);
	else if (to == WATCH_LATER)
		TAILQ_INSERT_TAIL(&c->later, w, entry);
	else if (to == WATCH_TAKING)
		TAILQ_INSERT_TAIL(&c->taking, w, entry);
	else
		c->in_flight++;
}

void wm_consul_watch_later(struct wm_consul_watch *w, uint64_t ms)
{
	w->due_ms = wm_consul_now(w->q.c) + ms;
	move(w, ms ? WATCH_LATER : WATCH_READY);
	wm_consul_wake(w->q.c, ms);
}

/* --- one service ------------------------------------------------------------------------------ */
void wm_consul_watch_bad(struct wm_consul_watch *w, enum wm_consul_fault f, const char *why)
{
	struct wm_consul *c = w->q.c;

	w->index = 0;
	w->fails += w->fails < 1000;
	wm_consul_query_release(&w->q);
	wm_consul_watch_later(w, wm_consul_pause(c, w->fails - 1));
	/* one that nothing helps says nothing of the address, unless there are but few */
	wm_consul_fault(c, f, why, w->fails == 1 || wm_map_len(c->watches) <= BAD_IN_ROW);
}

static void on_failed(struct wm_consul_query *q, enum wm_consul_fault f, const char *why)
{
	wm_consul_watch_bad(
		(struct wm_consul_watch *)((char *)q - offsetof(struct wm_consul_watch, q)), f,
		why);
}

static void on_answer(struct wm_consul_query *q)
{
	struct wm_consul_watch *w =
		(struct wm_consul_watch *)((char *)q - offsetof(struct wm_consul_watch, q));
	struct wm_consul *c = q->c;

	if (wm_consul_walk_begin(&w->walk, q->body.data ? q->body.data : "", q->body.len) < 0) {
		wm_source_count(c->source, WM_SOURCE_COUNT_bad, 1);
		wm_consul_watch_bad(w, FAULT_BAD, "an answer is no list");
		return;
	}
	w->generation++;
	move(w, WATCH_TAKING);
	wm_env_timer_arm(c->take_timer, 0);
}

void wm_consul_listed(struct wm_consul *c)
{
	if (!c->list_open || !c->catalog_listed || c->unlisted)
		return;
	c->list_open = false;
	wm_source_list_end(c->source);
}

void wm_consul_watch_taken(struct wm_consul_watch *w)
{
	struct wm_consul *c = w->q.c;
	uint64_t pause = 0;

	w->index = w->q.next_index;
	w->fails = 0;
	wm_consul_query_release(&w->q);
	if (!w->listed) {
		w->listed = true;
		c->unlisted--;
		wm_consul_listed(c);
	}
	wm_consul_state(c);
	/* one that gives no index would be asked for ever */
	if (!w->index && !w->q.index)
		pause = POLL_MS + wm_env_below(c->env, POLL_MS / 10);
	wm_consul_watch_later(w, pause);
}

static uint64_t wait_of(const struct wm_consul *c)
{
	size_t services = wm_map_len(c->watches);
	uint64_t ms;

	if (services <= c->conf.queries_max)
		return c->conf.wait_ms;
	ms = (uint64_t)ROTATION_MS * c->conf.queries_max / services;
	ms = ms > WAIT_MIN_MS ? ms : WAIT_MIN_MS;
	return ms < c->conf.wait_ms ? ms : c->conf.wait_ms;
}

static void ask(struct wm_consul_watch *w)
{
	struct wm_consul *c = w->q.c;
	struct wm_buf path;

	wm_buf_init(&path, 8192);
	wm_buf_puts(&path, "/v1/health/service/");
	wm_consul_put_encoded(&path, w->name);
	if (*c->conf.filter) {
		wm_buf_puts(&path, "?filter=");
		wm_consul_put_encoded(&path, c->conf.filter);
	}
	move(w, WATCH_ASKED);
	wm_consul_ask(&w->q, path.failed ? "" : path.data, w->index, wait_of(c));
	wm_buf_done(&path);
}

static void look_at_later(struct wm_consul *c, uint64_t now)
{
	struct wm_consul_watch *w, *next;

	for (w = TAILQ_FIRST(&c->later); w; w = next) {
		next = TAILQ_NEXT(w, entry);
		if (w->due_ms <= now)
			move(w, WATCH_READY);
		else
			wm_consul_wake(c, w->due_ms - now);
	}
}

void wm_consul_watches_ask(struct wm_consul *c)
{
	uint64_t now = wm_consul_now(c), wait = 0;
	struct wm_consul_watch *w;

	look_at_later(c, now);
	/* a fault in between ends it: who answers is to be known first */
	while (c->connected && c->in_flight < c->conf.queries_max && (w = TAILQ_FIRST(&c->ready))) {
		if (!wm_consul_bucket_take(&w->bucket, now, BURST, PACE_MS, &wait)) {
			w->due_ms = now + wait + wm_env_below(c->env, PACE_MS / 10);
			move(w, WATCH_LATER);
			wm_consul_wake(c, w->due_ms - now);
		} else if (!wm_consul_bucket_take(&c->bucket, now, RATE, 1000 / RATE, &wait)) {
			w->bucket.left++;
			wm_consul_wake(c, wait);
			break;
		} else {
			ask(w);
		}
	}
}

void wm_consul_watches_cancel(struct wm_consul *c)
{
	struct wm_consul_watch *w;
	size_t pos = 0;

	while (c->watches && (w = wm_map_next(c->watches, &pos))) {
		w->index = 0;
		wm_consul_query_cancel(&w->q);
		move(w, WATCH_READY);
	}
}

static void watch_free(struct wm_consul_watch *w)
{
	wm_consul_query_cancel(&w->q);
	unqueue(w);
	free(w);
}

void wm_consul_watches_free(struct wm_consul *c)
{
	struct wm_consul_watch *w;
	size_t pos = 0;

	while (c->watches && (w = wm_map_next(c->watches, &pos))) {
		struct wm_consul_thing *t;

		while ((t = TAILQ_FIRST(&w->things)))
			wm_consul_thing_free(c, t, false);
		wm_map_del(c->watches, w->name, strlen(w->name));
		watch_free(w);
	}
}

/* --- the list of services --------------------------------------------------------------------- */
/* What an agent says of itself is another's than ours: it is wanted only where it is named. */
static bool wanted(const struct wm_consul *c, const char *name)
{
	char *const *g = c->conf.services;

	if (!*g)
		return strcmp(name, WM_CONSUL_ID) != 0;
	for (; *g; g++) {
		if (fnmatch(*g, name, FNM_CASEFOLD) == 0)
			return true;
	}
	return false;
}

static int on_service(void *arg, const char *name)
{
	struct wm_consul *c = arg;
	struct wm_consul_watch *w = wm_map_get(c->watches, name, strlen(name));
	size_t len = strlen(name);

	if (w) {
		w->seen = c->list;
		return 0;
	}
	if (!*name || len > WM_SERVICE_NAME_MAX || !wanted(c, name))
		return 0;
	if (c->conf.services_max && wm_map_len(c->watches) >= c->conf.services_max) {
		wm_source_count(c->source, WM_SOURCE_COUNT_over_quota, 1);
		return 0;
	}
	w = calloc(1, sizeof(*w) + len + 1);
	if (!w)
		return -ENOMEM;
	memcpy(w->name, name, len);
	TAILQ_INIT(&w->things);
	wm_consul_query_init(c, &w->q);
	w->q.done = on_answer;
	w->q.failed = on_failed;
	w->seen = c->list;
	if (wm_map_put(c->watches, w->name, len, w, NULL)) {
		free(w);
		return -ENOMEM;
	}
	w->place = WATCH_READY;
	TAILQ_INSERT_TAIL(&c->ready, w, entry);
	c->unlisted++;
	return 0;
}

static void drop_unseen(struct wm_consul *c)
{
	struct wm_consul_watch *w;
	size_t pos = 0;

	while ((w = wm_map_next(c->watches, &pos))) {
		if (w->seen == c->list)
			continue;
		wm_consul_forget(w);
		c->unlisted -= !w->listed;
		wm_map_del(c->watches, w->name, strlen(w->name));
		watch_free(w);
	}
}

static void catalog_failed(struct wm_consul_query *q, enum wm_consul_fault f, const char *why)
{
	struct wm_consul *c = q->c;

	c->catalog_index = 0;
	c->catalog_fails += c->catalog_fails < 1000;
	c->catalog_due_ms = wm_consul_now(c) + wm_consul_pause(c, c->catalog_fails - 1);
	wm_consul_fault(c, f, why, true);
}

static void on_catalog(struct wm_consul_query *q)
{
	struct wm_consul *c = q->c;
	struct wm_err e = {0};
	int r;

	c->list++;
	r = wm_consul_services_read(q->body.data ? q->body.data : "", q->body.len, on_service, c,
				    &e);
	wm_consul_query_release(q);
	if (r) {
		wm_source_count(c->source, WM_SOURCE_COUNT_bad, r != -ENOMEM);
		catalog_failed(q, r == -ENOMEM ? FAULT_MEMORY : FAULT_BAD,
			       r == -ENOMEM ? "out of memory" : e.text);
		return;
	}
	wm_source_count(c->source, WM_SOURCE_COUNT_events, 1);
	drop_unseen(c);
	c->catalog_fails = 0;
	c->catalog_index = q->next_index;
	c->catalog_due_ms = q->next_index || q->index ? 0 : wm_consul_now(c) + POLL_MS;
	c->catalog_listed = true;
	wm_consul_listed(c);
	wm_consul_state(c);
}

void wm_consul_catalog_ask(struct wm_consul *c)
{
	uint64_t now = wm_consul_now(c), wait = 0;

	c->catalog.done = on_catalog;
	c->catalog.failed = catalog_failed;
	if (c->catalog.call)
		return;
	if (now < c->catalog_due_ms) {
		wm_consul_wake(c, c->catalog_due_ms - now);
		return;
	}
	if (!wm_consul_bucket_take(&c->catalog_bucket, now, BURST, PACE_MS, &wait)) {
		c->catalog_due_ms = now + wait + wm_env_below(c->env, PACE_MS / 10);
		wm_consul_wake(c, c->catalog_due_ms - now);
		return;
	}
	wm_consul_ask(&c->catalog, "/v1/catalog/services", c->catalog_index, c->conf.wait_ms);
}
