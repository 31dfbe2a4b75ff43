/* SPDX-License-Identifier: Apache-2.0 */
/* pool.h - who uses which place in the shared arrays. Two pools: single indexes (sets, backends)
 * and ranges of slots. What is given back is in quarantine until a program that still follows an
 * old reference is surely done, and only then is given out again. Memory is fixed at creation.
 * Threading: loop thread. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** Told how many places from the first on are used, before one beyond those before is given out or
 *  reserved. @return 0, or what who asks for the place gets. */
typedef int (*wm_pool_reach_fn)(void *arg, unsigned which, uint32_t count);
struct wm_index_pool;
/** @param cap indexes 0 .. cap-1. @return NULL without memory. */
struct wm_index_pool *wm_index_pool_new(uint32_t cap);
void wm_index_pool_free(struct wm_index_pool *p); /* NULL ok */
/** @p which is handed to @p fn. */
void wm_index_pool_on_reach(struct wm_index_pool *p, wm_pool_reach_fn fn, void *arg,
			    unsigned which);
/** Lowest free index. @return 0; -ENOSPC or what wm_pool_reach_fn returns, and @p ret is left
 * alone. Cost O(1) amortised. */
int wm_index_take(struct wm_index_pool *p, uint32_t *ret);
/** Index @p want if it is free, else the lowest that is. @return likewise. */
int wm_index_take_at(struct wm_index_pool *p, uint32_t want, uint32_t *ret);
/** Mark @p index used (adoption). @return 0, -EEXIST, -ERANGE. */
int wm_index_reserve(struct wm_index_pool *p, uint32_t index);
/** Give back: at once if @p ticket is 0 (was never published), else when that is over (grace.h).
 *  Tickets do not become less. */
void wm_index_give(struct wm_index_pool *p, uint32_t index, uint64_t ticket);
/** Return what was given back with tickets up to @p over to the free ones. */
void wm_index_recycle(struct wm_index_pool *p, uint64_t over);
uint32_t wm_index_used(const struct wm_index_pool *p); /* those in quarantine included */
uint32_t wm_index_resting(const struct wm_index_pool *p);

/* Ranges: a buddy system, so fragments join again by themselves; a range of n takes the next power
 * of two. Knuth, TAOCP 1, 2.5. */
struct wm_range_pool;
struct wm_range_pool *wm_range_pool_new(uint32_t cap);
void wm_range_pool_free(struct wm_range_pool *p); /* NULL ok */
void wm_range_pool_on_reach(struct wm_range_pool *p, wm_pool_reach_fn fn, void *arg,
			    unsigned which);
/** A range of at least @p count (> 0) places. @return 0, -ENOSPC. Cost O(log cap). */
int wm_range_take(struct wm_range_pool *p, uint32_t count, uint32_t *ret_first);
/** Mark a range that wm_range_take() once gave as used. @return 0, -EEXIST, -ERANGE. */
int wm_range_reserve(struct wm_range_pool *p, uint32_t first, uint32_t count);
void wm_range_give(struct wm_range_pool *p, uint32_t first, uint32_t count, uint64_t ticket);
void wm_range_recycle(struct wm_range_pool *p, uint64_t over);
uint32_t wm_range_used(const struct wm_range_pool *p); /* places, those in quarantine included */
uint32_t wm_range_resting(const struct wm_range_pool *p);
