/* SPDX-License-Identifier: Apache-2.0 */
/* listeners.h - instances of this node whose listener is gone. The kernel takes the backend down
 * when the last socket that listens for it closes (dataplane/observe.h); here that becomes a check
 * of the instance, critical with the reason, which passes when somebody listens again. An instance
 * that nobody has listened for yet is left alone. Watched is what was registered with this agent,
 * has a port and an address of this network namespace or of a pod's (dataplane/pods.h), unless it
 * (WM_META_NOTICE), or its service's policy (outlier), says otherwise; and its endpoints to which
 * the `ports` of a policy lead: of these the backend alone is down, which the log tells.
 * Threading: loop thread only. */
#pragma once
#include "userspace/dataplane/events.h"
#include "userspace/dataplane/plane.h"
#include "userspace/health/health.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"

/* Metadata of an instance, "false": it stays up, whoever listens. */
#define WM_META_NOTICE "listener_notice"
/* Id of the check; the instance's id follows, as checks' ids are unique on a node. */
#define WM_LISTENER_CHECK "waymark:listener:"

/* What is counted: X(symbol, metric name, text). */
#define WM_LISTENER_COUNTERS(X)                                                                    \
	X(GONE, listener_gone, "instances, and endpoints of them, whose last listener closed")     \
	X(BACK, listener_back, "of both those that somebody listens for again")                    \
	X(LEFT_OUT, listener_left_out,                                                             \
	  "of both those that are not watched: too many, or too many of a port")                   \
	X(COUNTS, listener_counts, "readings of the listening sockets")                            \
	X(FAILED, listener_counts_failed,                                                          \
	  "readings that failed, or that sockets kept changing under")

enum wm_listener_counter {
#define X(sym, name, text) WM_LISTENER_##sym,
	WM_LISTENER_COUNTERS(X)
#undef X
		WM_LISTENER_COUNTER_COUNT
};

struct wm_listeners;
/** After resolution, whose tables must be right. All are borrowed; freed before them, and before
 *  health. @return NULL with @p e: without memory, or the kernel refuses the program. */
struct wm_listeners *wm_listeners_new(struct wm_loop *l, struct wm_registry *r,
				      const struct wm_tables *t, struct wm_plane *plane,
				      struct wm_plane_events *events, struct wm_health *health,
				      struct wm_err *e);
void wm_listeners_free(struct wm_listeners *x); /* NULL ok */
unsigned wm_listeners_watched(const struct wm_listeners *x);
/** In the order of WM_LISTENER_COUNTERS. Borrowed. */
const uint64_t *wm_listeners_counters(const struct wm_listeners *x);
