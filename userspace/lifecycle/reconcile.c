/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile.c - see reconcile.h. */
#include "reconcile.h"

#include "userspace/base/clock.h"
#include "userspace/base/log.h"

#include <stdlib.h>
#include <string.h>

#define TICK_MS	 1000
#define POLL_MS	 20    /* between looks whether a pass has ended */
#define ROUNDS	 3     /* of two passes each: what TCP has not ended yet is met by the first */
#define ROUND_MS 60000 /* between rounds: as long as TCP keeps what was closed */

struct wm_reconcile {
	struct wm_plane *plane;
	const struct wm_plane_watch *watch;
	struct wm_timer *timer;
	struct wm_pass *pass; /* NULL: none runs */
	unsigned rounds;      /* that are to come */
	uint64_t lost;	      /* hooks that were, as of the last look */
	uint64_t next_ms;     /* when the next round may begin */
	uint64_t before_ns;   /* entries from before that are looked at */
	uint32_t *seen;	      /* by entry, of the first pass; NULL: it runs, or is to come */
	bool told;
	uint64_t counters[WM_RECONCILE_COUNTER_COUNT];
};

static void end_round(struct wm_reconcile *r, bool again)
{
	free(r->seen);
	r->seen = NULL;
	r->rounds -= !again;
	r->next_ms = wm_clock_ms() + ROUND_MS;
}

static void fail(struct wm_reconcile *r, int err)
{
	r->counters[WM_RECONCILE_FAILED]++;
	if (!r->told)
		wm_warn("reconcile.failed",
			"err=%s text=\"connections that were closed unseen may count as open\"",
			wm_err_name(err));
	r->told = true;
	end_round(r, false);
}

static void begin_pass(struct wm_reconcile *r)
{
	int err;

	if (!r->seen) {
		r->before_ns = wm_clock_ns();
		if (!wm_plane_connected_before(r->plane, r->before_ns)) {
			r->rounds = 0; /* what came since is seen to end, or a hook was lost */
			return;
		}
	}
	err = wm_pass_start(r->plane, WM_PASS_HELD, &r->pass);
	if (err)
		fail(r, err);
}

/* One pass may miss a socket while others come and go. */
static void take(struct wm_reconcile *r, const struct wm_pass_result *x)
{
	uint32_t cap;
	unsigned freed;

	r->counters[WM_RECONCILE_PASSES]++;
	cap = wm_plane_connections_max(r->plane);
	if (x->error || x->unseen || x->unseen_error) {
		fail(r, x->error ? x->error : x->unseen_error);
		return;
	}
	if (!r->seen) {
		r->seen = malloc(cap * sizeof(*r->seen));
		if (r->seen)
			memcpy(r->seen, x->open, cap * sizeof(*r->seen));
		else
			end_round(r, true);
		return;
	}
	freed = wm_plane_free_unheld(r->plane, r->seen, x->open, r->before_ns);
	r->counters[WM_RECONCILE_FREED] += freed;
	if (freed)
		wm_info("reconcile.freed", "connections=%u", freed);
	end_round(r, false);
}

static void on_tick(void *arg)
{
	struct wm_reconcile *r = arg;
	const struct wm_pass_result *x = r->pass ? wm_pass_result(r->pass) : NULL;
	uint64_t now = wm_clock_ms(), lost = wm_plane_watch_lost(r->watch);

	if (x) {
		struct wm_pass *pass = r->pass;

		r->pass = NULL;
		take(r, x);
		wm_pass_free(pass);
	}
	if (lost != r->lost) {
		r->lost = lost;
		r->rounds = ROUNDS;
		r->next_ms = 0;
	}
	if (!r->pass && r->rounds && (r->seen || now >= r->next_ms))
		begin_pass(r);
	wm_timer_tick(r->timer, r->pass ? POLL_MS : TICK_MS);
}

struct wm_reconcile *wm_reconcile_new(struct wm_loop *l, struct wm_plane *p,
				      const struct wm_plane_watch *w)
{
	struct wm_reconcile *r = calloc(1, sizeof(*r));

	if (!r)
		return NULL;
	r->plane = p;
	r->watch = w;
	r->rounds = ROUNDS;
	r->timer = wm_timer_new(l, on_tick, r);
	if (r->timer && !wm_timer_arm(r->timer, TICK_MS))
		return r;
	wm_reconcile_free(r);
	return NULL;
}

void wm_reconcile_free(struct wm_reconcile *r)
{
	if (!r)
		return;
	wm_pass_free(r->pass);
	wm_timer_free(r->timer);
	free(r->seen);
	free(r);
}

const uint64_t *wm_reconcile_counters(const struct wm_reconcile *r)
{
	return r->counters;
}
