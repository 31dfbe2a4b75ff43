/* SPDX-License-Identifier: Apache-2.0 */
/* flap.c - checks that change their mind too often. What is bad is out at once, always; but who
 * comes and goes is worse than who is away, so after too many changes in a window only results that
 * were good for a while bring a check back, and longer with each relapse. Heartbeats are not held:
 * there the client says what it wants to be. */
#include "probe.h"
#include "userspace/base/duration.h"
#include "userspace/base/macros.h"

#include <stdio.h>
#include <stdlib.h>

#define HOLD_SHARE   4 /* a window divided by it is the first hold */
#define HOLD_WINDOWS 4 /* windows that a hold lasts at most, and that it takes to be forgotten */

void wm_flap_forget(struct wm_prober *p)
{
	if (!p->flap)
		return;
	p->h->stats.held -= p->flap->held;
	free(p->flap);
	p->flap = NULL;
}

static void release(struct wm_prober *p, uint64_t now_ms)
{
	p->flap->held = false;
	p->flap->released_ms = now_ms;
	p->h->stats.held--;
}

static void prolong(struct wm_flap *f, uint64_t window_ms)
{
	f->hold_ms *= 2;
	if (f->hold_ms > window_ms * HOLD_WINDOWS)
		f->hold_ms = window_ms * HOLD_WINDOWS;
}

static void hold(struct wm_prober *p, uint64_t now_ms)
{
	uint64_t window = p->h->config.flap_window_ms;
	struct wm_flap *f = p->flap;

	f->held = true;
	p->h->stats.held++;
	p->h->stats.flaps++;
	if (f->released_ms && now_ms - f->released_ms < window * HOLD_WINDOWS)
		prolong(f, window);
	else
		f->hold_ms = window / HOLD_SHARE;
}

/* The result is another than the one before. */
static void changed(struct wm_prober *p, enum wm_status s, uint64_t now_ms)
{
	uint64_t window = p->h->config.flap_window_ms;
	unsigned max = p->h->config.flap_changes;
	struct wm_flap *f = p->flap;
	bool often;

	if (f->held && f->last >= p->check->status && now_ms - f->steady_ms >= window)
		release(p, now_ms); /* it was down all the while: no flapping any more */
	f->at_ms[f->changes++ % WM_ARRAY_LEN(f->at_ms)] = now_ms;
	often = f->changes > max &&
		now_ms - f->at_ms[(f->changes - 1 - max) % WM_ARRAY_LEN(f->at_ms)] < window;
	if (f->held && s > f->last)
		prolong(f, window);
	else if (!f->held && often)
		hold(p, now_ms);
	f->last = s;
	f->steady_ms = now_ms;
}

enum wm_status wm_flap_judge(struct wm_prober *p, enum wm_status s, uint64_t now_ms, char *note,
			     size_t cap)
{
	enum wm_status is = p->check->status;
	char window[48], left[48];

	*note = '\0';
	if (!p->h->config.flap_changes || (!p->flap && s == is))
		return s;
	if (!p->flap) {
		p->flap = calloc(1, sizeof(*p->flap));
		if (!p->flap)
			return s; /* it is not held, which it could not be before either */
		p->flap->last = is;
	}
	if (s != p->flap->last)
		changed(p, s, now_ms);
	if (!p->flap->held || s >= is)
		return s;
	if (now_ms - p->flap->steady_ms >= p->flap->hold_ms) {
		release(p, now_ms);
		return s;
	}
	wm_duration_format((int64_t)(p->h->config.flap_window_ms * WM_NS_PER_MS), window,
			   sizeof(window));
	wm_duration_format((int64_t)(p->flap->hold_ms * WM_NS_PER_MS), left, sizeof(left));
	snprintf(note, cap,
		 "Flapping: more than %u changes in %s. Held %s until it has been %s for %s. ",
		 p->h->config.flap_changes, window, wm_status_str(is), wm_status_str(s), left);
	return is;
}
