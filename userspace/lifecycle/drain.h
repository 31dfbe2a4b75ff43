/* SPDX-License-Identifier: Apache-2.0 */
/* drain.h - ends drains: an instance that is stopping with a deadline is deregistered when the
 * kernel counts no open connection to it, or at the deadline. It follows the change stream; while
 * something drains, all of it is counted together, four times a second. What the kernel counts are
 * the connections that went through a virtual address; where it cannot count them all, only the
 * deadline ends a drain, and wm_drains_why() says why. Threading: loop thread only; a count runs in
 * a thread of the data plane's. */
#pragma once
#include "userspace/dataplane/plane.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"

/* What is counted: X(symbol, metric name, text). */
#define WM_DRAIN_COUNTERS(X)                                                                       \
	X(PROVED, drain_proved, "drains that ended with the last connection")                      \
	X(EXPIRED, drain_expired, "drains that ended at their deadline")                           \
	X(PASSES, drain_passes, "counts of open connections")                                      \
	X(FAILED, drain_passes_failed, "counts that the kernel refused or broke off")

enum wm_drain_counter {
#define X(sym, name, text) WM_DRAIN_##sym,
	WM_DRAIN_COUNTERS(X)
#undef X
		WM_DRAIN_COUNTER_COUNT
};

struct wm_drains;
/** Subscribes; goes on with drains of an earlier run. @p plane may be NULL. @p adopted: its tables
 * are that run's; else what sockets remember points into other tables, and those drains end at
 * their deadlines. All are borrowed; freed before them. @return NULL without memory. */
struct wm_drains *wm_drains_new(struct wm_loop *l, struct wm_registry *r, const struct wm_tables *t,
				struct wm_plane *plane, bool adopted);
void wm_drains_free(struct wm_drains *d); /* NULL ok */
/** Open connections of an instance as last counted. @return false: not draining, or not counted. */
bool wm_drains_open(const struct wm_drains *d, const struct wm_instance *i, uint64_t *ret_open);
/** Why the drain of instance @p id can only end at its deadline, for people; NULL: it ends with the
 *  last connection. @p id that is not draining, or NULL: why any drain would. Valid until the next
 *  call of this module. */
const char *wm_drains_why(struct wm_drains *d, const struct wm_instance *i);
unsigned wm_drains_active(const struct wm_drains *d);
/** In the order of WM_DRAIN_COUNTERS. Borrowed. */
const uint64_t *wm_drains_counters(const struct wm_drains *d);
