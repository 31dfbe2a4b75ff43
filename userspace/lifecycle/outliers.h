/* SPDX-License-Identifier: Apache-2.0 */
/* outliers.h - backends that connects fail to. The kernel leaves them out for a time by itself
 * (bpf/passive.bpf.c); here that becomes a check of the instance, whatever node it is of
 * (wm_registry_set_passive), until its time is over, sets are counted anew, and the instance's own
 * checks run at once. News of the kernel may be lost: then it is left out all the same.
 * Threading: loop thread only. */
#pragma once
#include "userspace/dataplane/events.h"
#include "userspace/health/health.h"
#include "userspace/registry/registry.h"

/* What is counted: X(symbol, metric name, text). */
#define WM_OUTLIER_COUNTERS(X)                                                                     \
	X(EJECTED, outlier_ejected, "ejections of backends that were heard of")                    \
	X(RETURNED, outlier_returned, "ejections that are over")                                   \
	X(FAILED, outlier_failed, "failed connects that were heard of, the first of a row")        \
	X(HASTENED, outlier_hastened, "probes that ran at once, as a connect had failed")

enum wm_outlier_counter {
#define X(sym, name, text) WM_OUTLIER_##sym,
	WM_OUTLIER_COUNTERS(X)
#undef X
		WM_OUTLIER_COUNTER_COUNT
};

struct wm_outliers;
/** After resolution, whose tables must be right: who is ejected by an earlier run stays it. All are
 *  borrowed; freed before them. @return NULL without memory, or without @p events. */
struct wm_outliers *wm_outliers_new(struct wm_loop *l, struct wm_registry *r, struct wm_tables *t,
				    struct wm_plane_events *events, struct wm_health *health);
void wm_outliers_free(struct wm_outliers *x); /* NULL ok; the kernel goes on */
unsigned wm_outliers_active(const struct wm_outliers *x);
/** In the order of WM_OUTLIER_COUNTERS. Borrowed. */
const uint64_t *wm_outliers_counters(const struct wm_outliers *x);
