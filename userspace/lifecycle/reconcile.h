/* SPDX-License-Identifier: Apache-2.0 */
/* reconcile.h - entries of `connections` whose sockets were closed while nobody saw it:
 * sock_release was detached, by somebody or for want of an agent. They would count as open for
 * ever. Looked for at the start and after the hook was lost, by two passes over the machine's
 * sockets: an entry from before whose socket neither of them met is freed. Threading: loop thread
 * only. */
#pragma once
#include "userspace/dataplane/plane.h"
#include "userspace/dataplane/watch.h"
#include "userspace/net/loop.h"

/* What is counted: X(symbol, metric name, text). */
#define WM_RECONCILE_COUNTERS(X)                                                                   \
	X(FREED, reconcile_freed, "connections whose socket was closed while nobody saw it")       \
	X(PASSES, reconcile_passes, "passes over the machine's sockets for such connections")      \
	X(FAILED, reconcile_failed,                                                                \
	  "of these, that failed or could not see all sockets: nothing is freed")

enum wm_reconcile_counter {
#define X(sym, name, text) WM_RECONCILE_##sym,
	WM_RECONCILE_COUNTERS(X)
#undef X
		WM_RECONCILE_COUNTER_COUNT
};
struct wm_reconcile;
/** Begins when the links are attached, some time after this. All are borrowed. @return NULL without
 *  memory. */
struct wm_reconcile *wm_reconcile_new(struct wm_loop *l, struct wm_plane *p,
				      const struct wm_plane_watch *w);
void wm_reconcile_free(struct wm_reconcile *r); /* NULL ok; before the plane is closed */
/** In the order of WM_RECONCILE_COUNTERS. Borrowed. */
const uint64_t *wm_reconcile_counters(const struct wm_reconcile *r);
