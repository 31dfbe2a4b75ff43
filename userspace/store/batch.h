/* SPDX-License-Identifier: Apache-2.0 */
/* batch.h - the rows of one transaction, gathered by the loop and written by the store's thread.
 * Rows are written in the order in which they were put; the last word on a row stands.
 * Threading: one owner at a time, who hands it over as a whole. */
#pragma once
#include "store.h"

struct wm_batch;
/** @return NULL without memory. */
struct wm_batch *wm_batch_new(void);
void wm_batch_free(struct wm_batch *b); /* NULL ok */
/** Copy a row into it. @return 0, -ENOMEM. */
int wm_batch_put(struct wm_batch *b, enum wm_store_table t, uint64_t row, const void *data,
		 size_t len);
int wm_batch_del(struct wm_batch *b, enum wm_store_table t, uint64_t row);
/** Rows put after a mark are taken back by wm_batch_cut(). */
size_t wm_batch_mark(const struct wm_batch *b);
void wm_batch_cut(struct wm_batch *b, size_t mark);
bool wm_batch_empty(const struct wm_batch *b);
/** Write every row into the open transaction. @return as wm_store_put(). */
int wm_batch_write(const struct wm_batch *b, struct wm_store *s, struct wm_err *e);
