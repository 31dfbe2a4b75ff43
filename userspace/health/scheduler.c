/* SPDX-License-Identifier: Apache-2.0 */
/* scheduler.c - binary heap over embedded entries, one timer for the earliest. */
#include "scheduler.h"

#include <errno.h>
#include <stdlib.h>

#define SCHEDULE_FIRST 64 /* places of a new heap */

struct wm_schedule {
	struct wm_due **heap; /* heap[1] is the earliest; heap[0] is not used */
	size_t count, cap;
	const struct wm_env *env; /* NULL: no timer */
	struct wm_env_timer *timer;
	uint64_t armed_ms; /* when the timer fires; UINT64_MAX: it does not */
	bool running;
};

static void set_place(struct wm_schedule *s, size_t at, struct wm_due *d)
{
	s->heap[at] = d;
	d->place = (uint32_t)at;
}

static void rise(struct wm_schedule *s, size_t at)
{
	struct wm_due *d = s->heap[at];

	for (; at > 1 && d->at_ms < s->heap[at / 2]->at_ms; at /= 2)
		set_place(s, at, s->heap[at / 2]);
	set_place(s, at, d);
}

static void sink(struct wm_schedule *s, size_t at)
{
	struct wm_due *d = s->heap[at];

	for (size_t child; (child = 2 * at) <= s->count; at = child) {
		if (child < s->count && s->heap[child + 1]->at_ms < s->heap[child]->at_ms)
			child++;
		if (d->at_ms <= s->heap[child]->at_ms)
			break;
		set_place(s, at, s->heap[child]);
	}
	set_place(s, at, d);
}

/* The timer only ever has to be moved to an earlier time: when it fires too early it is armed
 * again. Should arming fail for want of memory, the next put or run tries again. */
static void arm(struct wm_schedule *s)
{
	uint64_t now, at;

	if (!s->timer || s->running || !s->count || s->heap[1]->at_ms >= s->armed_ms)
		return;
	now = wm_env_ms(s->env);
	at = s->heap[1]->at_ms;
	if (at > now) /* what comes soon after runs in the same turn: fewer turns, each costs */
		at = (at + WM_SCHEDULE_GRAIN_MS - 1) / WM_SCHEDULE_GRAIN_MS * WM_SCHEDULE_GRAIN_MS;
	if (at >= s->armed_ms)
		return;
	if (!wm_env_timer_arm(s->timer, at > now ? at - now : 0))
		s->armed_ms = at;
}

static void on_timer(void *arg)
{
	struct wm_schedule *s = arg;

	s->armed_ms = UINT64_MAX;
	wm_schedule_run(s, wm_env_ms(s->env));
}

struct wm_schedule *wm_schedule_new(const struct wm_env *env)
{
	struct wm_schedule *s = calloc(1, sizeof(*s));

	if (!s)
		return NULL;
	s->armed_ms = UINT64_MAX;
	s->env = env;
	if (env)
		s->timer = wm_env_timer_new(env, on_timer, s);
	if ((env && !s->timer) || wm_schedule_reserve(s, SCHEDULE_FIRST)) {
		wm_schedule_free(s);
		return NULL;
	}
	return s;
}

void wm_schedule_free(struct wm_schedule *s)
{
	if (!s)
		return;
	wm_env_timer_free(s->timer);
	free(s->heap);
	free(s);
}

int wm_schedule_reserve(struct wm_schedule *s, size_t n)
{
	size_t cap = s->cap ? s->cap : SCHEDULE_FIRST;
	struct wm_due **heap;

	if (n < s->cap)
		return 0;
	while (cap <= n)
		cap *= 2;
	heap = realloc(s->heap, cap * sizeof(struct wm_due *));
	if (!heap)
		return -ENOMEM;
	s->heap = heap;
	s->cap = cap;
	return 0;
}

void wm_schedule_put(struct wm_schedule *s, struct wm_due *d, uint64_t at_ms)
{
	d->at_ms = at_ms;
	if (!d->place) {
		s->heap[++s->count] = d;
		d->place = (uint32_t)s->count;
	}
	rise(s, d->place);
	sink(s, d->place);
	arm(s);
}

void wm_schedule_drop(struct wm_schedule *s, struct wm_due *d)
{
	size_t at = d->place;
	struct wm_due *last;

	if (!at)
		return;
	d->place = 0;
	last = s->heap[s->count--];
	if (last == d)
		return;
	set_place(s, at, last);
	rise(s, at);
	sink(s, last->place);
}

size_t wm_schedule_count(const struct wm_schedule *s)
{
	return s->count;
}

const struct wm_due *wm_schedule_first(const struct wm_schedule *s)
{
	return s->count ? s->heap[1] : NULL;
}

unsigned wm_schedule_run(struct wm_schedule *s, uint64_t now_ms)
{
	unsigned n = 0;

	s->running = true;
	for (; n < WM_SCHEDULE_BATCH && s->count && s->heap[1]->at_ms <= now_ms; n++) {
		struct wm_due *d = s->heap[1];

		wm_schedule_drop(s, d);
		d->fn(d, now_ms);
	}
	s->running = false;
	arm(s);
	return n;
}

uint64_t wm_schedule_after(uint64_t planned_ms, uint64_t interval_ms, uint64_t now_ms,
			   uint64_t *ret_skipped)
{
	uint64_t next = planned_ms + interval_ms;

	*ret_skipped = 0;
	if (next <= now_ms) {
		*ret_skipped = (now_ms - next) / interval_ms + 1;
		next += *ret_skipped * interval_ms;
	}
	return next;
}

uint64_t wm_schedule_phase(uint64_t *state, uint64_t interval_ms)
{
	*state += 0x9e3779b97f4a7c15ull; /* 2^64 by the golden ratio, odd */
	return (uint64_t)(((unsigned __int128)*state * interval_ms) >> 64);
}
