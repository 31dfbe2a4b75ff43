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
#include "userspace/base/buf.h"
#include "writer.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_SNAPSHOT_MAX (16ull << 30) /* octets of one, where no other bound is set */

/* --- saving ---------------------------------------------------------------------------------- */
struct wm_save;
struct wm_save_about {
	uint64_t index; /* that the snapshot has: of all that is stored, and being stored */
	uint64_t rows;	/* some so many */
};
#define WM_SAVES_MAX 2 /* at a time: a client's, and one that is kept */
/** Begin to save what the store has when the job is run, which is put behind the batch that is
 * being stored; writes go on meanwhile. WM_SAVES_MAX at a time: WM_E_BUSY. @return 0, -ENOMEM. */
int wm_save_begin(struct wm_writer *w, const struct wm_save_about *about, struct wm_save **ret,
		  struct wm_err *e);
/** @p more 1: there is more; 0: that was all; else the error, and the save is of no use any more.
 *  @p part is valid during the call, in which wm_save_next() and wm_save_end() may be called. */
typedef void (*wm_save_fn)(void *arg, int more, const struct wm_buf *part, const struct wm_err *e);
/** Have the next part read on the store's thread, some 256 rows, half a millisecond; then @p fn is
 *  called on the loop, by wm_writer_poll(). One at a time. */
void wm_save_next(struct wm_save *s, wm_save_fn fn, void *arg);
/** The function is not called any more. Before the writer is freed; NULL ok. */
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

/* --- restoring with no agent running --- */
#define WM_RESTORE_SUFFIX                                                                          \
	".restoring" /* behind the store's path: one that is restored in part, registry/restore.h  \
		      */
/** With no agent running: write a new store into @p data_dir from the file @p path, verified first.
 * A store that is there is put aside; @p aside (PATH_MAX) gets its new name, "" if there was none.
 */
int wm_snapshot_restore_offline(const char *path, const char *data_dir, char *aside,
				struct wm_err *e);
