/* SPDX-License-Identifier: Apache-2.0 */
/* scheduler.h - when what is due: a binary heap of entries that live inside their owners, driven by
 * one timer however many entries there are. Inside health/ only. Time: wm_env_ms.
 * Threading: loop thread only. */
#pragma once
#include "userspace/base/env.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_SCHEDULE_BATCH                                                                          \
	64 /* entries run before the loop serves others: some 2 ms of local connects */
#define WM_SCHEDULE_GRAIN_MS                                                                       \
	10 /* what is due in the future runs up to so much late: a thousandth of usual intervals   \
	    */

struct wm_due {
	uint64_t at_ms;
	uint32_t place; /* 1-based place in the heap; 0: not scheduled */
	/* Runs once, unscheduled before; may put and drop any entry. */
	void (*fn)(struct wm_due *d, uint64_t now_ms);
};

struct wm_schedule;
/** @param env Borrowed; NULL: no timer, the caller runs wm_schedule_run(). @return NULL without
 * memory. */
struct wm_schedule *wm_schedule_new(const struct wm_env *env);
void wm_schedule_free(struct wm_schedule *s); /* entries are the owners'; NULL ok */
/** Make room for @p n entries in all, so that put never fails. @return 0 or -ENOMEM. */
int wm_schedule_reserve(struct wm_schedule *s, size_t n);
/** Insert or move. Room must have been reserved. Cost O(log n). */
void wm_schedule_put(struct wm_schedule *s, struct wm_due *d, uint64_t at_ms);
void wm_schedule_drop(struct wm_schedule *s, struct wm_due *d); /* not scheduled: nothing */
size_t wm_schedule_count(const struct wm_schedule *s);
/** Earliest entry; NULL when empty. */
const struct wm_due *wm_schedule_first(const struct wm_schedule *s);
/** Run what is due at @p now_ms, WM_SCHEDULE_BATCH at most. @return entries run. */
unsigned wm_schedule_run(struct wm_schedule *s, uint64_t now_ms);

/* When a check runs next. @p skipped: runs left out because their time has passed; the phase is
 * kept, so a slow run does not move the ones after it. */
uint64_t wm_schedule_after(uint64_t planned_ms, uint64_t interval_ms, uint64_t now_ms,
			   uint64_t *ret_skipped);

/** Part of an interval for the next of many, in [0, interval): parts follow each other so that any
 *  number of them in a row lies evenly. @p state: where they stand, any number at first. */
uint64_t wm_schedule_phase(uint64_t *state, uint64_t interval_ms);
