/* SPDX-License-Identifier: Apache-2.0 */
/* restore.h - makes a registry in use what a snapshot says. Threading: loop thread only. */
#pragma once
#include "registry.h"
#include "userspace/store/snapshot.h"

/* Make the registry what a snapshot says: what differs is written in slices, a write of the queue
 * with a transaction each, and announced. Statuses of checks that stay the same stay too, a service
 * that exists keeps its virtual addresses, the node keeps its identity. Before the first slice the
 * whole snapshot stands beside the store, synced, and it goes after the last: a start that finds it
 * makes the rest before it is through (wm_registry_open()). So it is whole or not at all, but
 * readers in between see a part, and other writes are before or behind the slice of their object.
 */

struct wm_restore;
struct wm_restore_source {
	int fd;		  /* read up to its end; -1: from `data`, which is copied */
	const void *data; /* after what @p s was fed already */
	size_t len;
};
/** Takes over @p s, in any case, and the descriptor, when it succeeds. @return 0, -ENOMEM. */
int wm_restore_begin(struct wm_registry *r, struct wm_snapshot *s,
		     const struct wm_restore_source *from, struct wm_restore **ret,
		     struct wm_err *e);
/** Go on for some 3 ms, at most once a turn. @return 1: not yet through; 0: all is stored; or the
 *  error: WM_E_INVALID, WM_E_LIMIT, WM_E_CAPACITY, WM_E_CONFLICT, WM_E_STORE, -ENOSPC, -ENOMEM ...;
 *  then nothing was changed, unless wm_restore_half() says otherwise. */
int wm_restore_step(struct wm_restore *x, struct wm_err *e);
/** After an error: some of it was made, and the rest is to be by wm_restore_again(). */
bool wm_restore_half(const struct wm_restore *x);
const struct wm_snapshot *wm_restore_snapshot(const struct wm_restore *x);
void wm_restore_free(struct wm_restore *x); /* NULL ok */
/** Is the registry restored in part? */
bool wm_restore_pending(const struct wm_registry *r);
/** Begin anew what is restored in part. */
int wm_restore_again(struct wm_registry *r, struct wm_restore **ret, struct wm_err *e);
/** All of @p s, which was loaded, at once and without a copy: for tests and tools. Takes it over.
 */
int wm_registry_restore(struct wm_registry *r, struct wm_snapshot *s, struct wm_err *e);
