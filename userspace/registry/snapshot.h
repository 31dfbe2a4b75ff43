/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot.h - the whole registry as one stream of octets: saved while it is in use, verified,
 * restored. A stream of records rather than a database, so that whatever a stranger put into a
 * file, only the decoder of records (record.h) and the rules for clients (validate.h) look at it.
 * Layout, little endian: "WMSNAP1\n", seconds since 1970 and index (8 octets each); frames of tag
 * (1 + table of the store) and length (4 each), row (8), record; a last frame of tag 9, length 8,
 * the number of frames before it as row, and FNV-1a 64 of everything before.
 * Rows stand in no order, each once, as they were when the save began.
 * Threading: loop thread only. */
#pragma once
#include "registry.h"
#include "userspace/base/buf.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_SNAPSHOT_MAX (16ull << 30) /* octets of one, where no other bound is set */

/* --- saving ---------------------------------------------------------------------------------- */
struct wm_save;
/** Begin to save what is committed, and what is being stored now; writes go on meanwhile. Two at a
 * time: WM_E_BUSY. @return 0, -ENOMEM, WM_E_UNSUPPORTED (a registry of memory only). */
int wm_save_begin(struct wm_registry *r, struct wm_save **ret, struct wm_err *e);
/** @p more 1: there is more; 0: that was all; else the error, and the save is of no use any more.
 *  @p part is valid during the call, in which wm_save_next() and wm_save_end() may be called. */
typedef void (*wm_save_fn)(void *arg, int more, const struct wm_buf *part, const struct wm_err *e);
/** Have the next part read on the store's thread, some 256 rows, half a millisecond; then @p fn is
 *  called on the loop, by wm_registry_flush(). One at a time. */
void wm_save_next(struct wm_save *s, wm_save_fn fn, void *arg);
/** The function is not called any more. Before the registry is closed; NULL ok. */
void wm_save_end(struct wm_save *s);

/* --- reading --------------------------------------------------------------------------------- */
struct wm_snapshot;
struct wm_snapshot_info {
	uint64_t created_s; /* since 1970 */
	uint64_t index, services, instances, checks, bytes;
};
/** A reader that is fed octets. @p load: build all objects and hold ids against each other, which
 *  restoring needs; else every record is decoded and judged by itself. @return NULL w/o memory. */
struct wm_snapshot *wm_snapshot_new(bool load, uint64_t bytes_max);
/** Refuse script checks, and those of OS services with @p units: for what a stranger may have made.
 */
void wm_snapshot_refuse_programs(struct wm_snapshot *s, bool units);
void wm_snapshot_free(struct wm_snapshot *s); /* NULL ok */
/** @return 0, WM_E_INVALID (damaged or hostile; @p e says where), WM_E_LIMIT, WM_E_STORE_VERSION,
 *  -ENOMEM. After an error it is of no use any more. */
int wm_snapshot_feed(struct wm_snapshot *s, const void *data, size_t len, struct wm_err *e);
/** There is no more: is it whole? Cost: O(instances) of one that is loaded. */
int wm_snapshot_end(struct wm_snapshot *s, struct wm_err *e);
void wm_snapshot_info(const struct wm_snapshot *s, struct wm_snapshot_info *ret);
/** Feed a file up to its end, at once. For tools. */
int wm_snapshot_read(struct wm_snapshot *s, const char *path, struct wm_err *e);

/* --- restoring ------------------------------------------------------------------------------- */
/* Make the registry what a snapshot says: what differs is written in slices, a write of the queue
 * with a transaction each, and announced. Statuses of checks that stay the same stay too, a service
 * that exists keeps its virtual addresses, the node keeps its identity. Before the first slice the
 * whole snapshot stands beside the store, synced, and it goes after the last: a start that finds it
 * makes the rest before it is through (wm_registry_open()). So it is whole or not at all, but
 * readers in between see a part, and other writes are before or behind the slice of their object.
 */
#define WM_RESTORE_SUFFIX ".restoring" /* behind the store's path */

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
/** With no agent running: write a new store into @p data_dir from the file @p path, verified first.
 * A store that is there is put aside; @p aside (PATH_MAX) gets its new name, "" if there was none.
 */
int wm_snapshot_restore_offline(const char *path, const char *data_dir, char *aside,
				struct wm_err *e);
