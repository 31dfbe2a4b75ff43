/* SPDX-License-Identifier: Apache-2.0 */
/* map.h - hash table: borrowed octet-string keys to borrowed values, open addressing, grows to a
 * bound, a few entries with each insertion. Threading: one owner. */
#pragma once
#include <stddef.h>

struct wm_map;
/** @param max entries it may hold at most. @return NULL without memory. */
struct wm_map *wm_map_new(size_t max);
void wm_map_free(struct wm_map *m); /* keys and values are the owner's */
/** The same, after each value was given to free(). */
void wm_map_free_values(struct wm_map *m);
size_t wm_map_len(const struct wm_map *m);
/** Bytes of memory that the table itself takes. */
size_t wm_map_bytes(const struct wm_map *m);
void *wm_map_get(const struct wm_map *m, const void *key, size_t key_len);
/** Insert or replace; @p key must live as long as the entry (usually inside @p value).
 *  @return 0, -ENOMEM, -ENOSPC. @p ret_old (may be NULL): replaced value or NULL. */
int wm_map_put(struct wm_map *m, const void *key, size_t key_len, void *value, void **ret_old);
/** Make room: until it is given back by wm_map_unreserve(), @p n insertions more cannot fail,
 * beside those that were reserved before. @return 0, -ENOMEM, -ENOSPC. */
int wm_map_reserve(struct wm_map *m, size_t n);
void wm_map_unreserve(struct wm_map *m, size_t n);
/** Remove. @return the value or NULL. */
void *wm_map_del(struct wm_map *m, const void *key, size_t key_len);
/** Walk: start with *pos = 0, ends with NULL. It may go on though others were put in and deleted
 *  meanwhile, and meets each entry that was there all the time once. */
void *wm_map_next(const struct wm_map *m, size_t *pos);
