/* SPDX-License-Identifier: Apache-2.0 */
/* long.c - requests whose filter takes more than a turn. The loop belongs to all: a filter pauses
 * after its slice, and the handler runs again in the next turn with the same filter, which
 * remembers what it found. The answer is made in one turn, of the state of that turn. */
#include "internal.h"
#include "userspace/base/clock.h"

#include <stdlib.h>

void wm_longs_init(struct wm_api *a)
{
	TAILQ_INIT(&a->longs);
}

void wm_long_drop(struct wm_long *l)
{
	struct wm_call *c;

	if (!l)
		return;
	c = l->watch ? &l->watch->call : &l->own;
	c->rest = NULL;
	TAILQ_REMOVE(&c->api->longs, l, entry);
	c->api->longs_count--;
	wm_filter_free(l->filter);
	free(l);
}

static void on_abort(void *arg)
{
	wm_long_drop(arg);
}

bool wm_longs_full(const struct wm_api *a)
{
	return a->longs_count >= WM_API_LONG_MAX;
}

void wm_long_keep(struct wm_call *c, struct wm_filter *f)
{
	struct wm_api *a = c->api;
	struct wm_long *l = c->rest;

	if (l) {
		l->asked = true;
		return;
	}
	l = wm_longs_full(a) ? NULL : calloc(1, sizeof(*l));
	if (!l) {
		wm_http_set_header(c->req, "Retry-After", "1");
		wm_answer_text(c, 503,
			       "filter: too many that take long are run just now (limit: %d)",
			       WM_API_LONG_MAX);
		return;
	}
	l->filter = f;
	wm_filter_keep(f);
	l->watch = c->watch;
	c->rest = l;
	if (!c->watch) {
		l->own = *c;
		wm_http_on_abort(c->req, on_abort, l);
	}
	a->longs_count++;
	TAILQ_INSERT_TAIL(&a->longs, l, entry);
}

/* A slice. Whoever is answered is gone afterwards; one that its handler keeps for a change, though
 * it was woken, waits as before. */
static void go_on(struct wm_long *l)
{
	struct wm_watch *w = l->watch;
	struct wm_call *c = w ? &w->call : &l->own;

	wm_filter_begin(l->filter, WM_API_SLICE_MS * WM_NS_PER_MS,
			wm_registry_index(c->api->d.registry));
	l->asked = false;
	c->route->fn(c);
	if (c->req && l->asked)
		return;
	if (!c->req && w)
		wm_watch_end(w); /* drops it too */
	else
		wm_long_drop(l);
}

void wm_longs_run(struct wm_api *a)
{
	struct wm_long *l = TAILQ_FIRST(&a->longs);

	if (!l || a->longs_turn == wm_loop_turns(a->d.loop))
		return;
	a->longs_turn = wm_loop_turns(a->d.loop);
	TAILQ_REMOVE(&a->longs, l, entry);
	TAILQ_INSERT_TAIL(&a->longs, l, entry);
	go_on(l);
	if (!TAILQ_EMPTY(&a->longs))
		wm_loop_again(a->d.loop);
}
