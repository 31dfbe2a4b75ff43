/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - the registry's durable copy: an append-friendly SQLite file of opaque records, one row
 * an instance or a service, found by row number only; ids are looked up in memory. It knows nothing
 * of what a record means. WAL, synchronous=FULL: a commit that returned 0 survives a power cut,
 * but for lazy ones.
 * The file is created whole under another name and renamed, so an empty or partial file is damage,
 * never a new store; until its content was accepted by wm_store_ready() nothing writes to it.
 * One process at a time, by a lock on PATH-lock. After an error that leaves in doubt what the
 * disk has (a sync that failed, above all) nothing is written until wm_store_heal() has connected
 * anew, taken off the log what was not acknowledged, and read back what was. Every function takes
 * NULL for "no store" and then succeeds. Threading: one thread at a time; see writer.h. Commits
 * block for the fsync.
 */
#pragma once
#include "userspace/base/err.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_STORE_FILE	"registry.db" /* in the data directory */
#define WM_STORE_SCHEMA 2	      /* version of the tables; a newer one is refused */

enum wm_store_table {
	WM_STORE_META,
	WM_STORE_SERVICES,
	WM_STORE_INSTANCES,
	WM_STORE_TOMBSTONES,
	WM_STORE_TABLES
};

/* A step from one schema to the next: statements that run in the transaction of all steps. */
struct wm_store_migration {
	int from;
	const char *sql; /* NULL ends the table */
};
/** Tests only: another table of steps and the schema it leads to; NULL: the program's own. */
void wm_store_use_migrations(const struct wm_store_migration *table, int schema);

struct wm_store;
/** Open or create. A file of an older schema is brought to ours, in one transaction, after a copy
 * of it was kept as PATH.before-N (N: the first schema it had not). Directories are made with mode
 * 0700, the file with 0600.
 *  @return 0, WM_E_STORE_DAMAGED, WM_E_STORE_VERSION, -EBUSY (another process has it), negative
 *  errno; @p e says what is wrong and the way out. */
int wm_store_open(const char *path, bool sync_off, struct wm_store **ret, struct wm_err *e);
void wm_store_close(struct wm_store *s); /* NULL ok */
/** Move the log into the file after so many pages instead of STORE_WAL_PAGES. */
void wm_store_set_log(struct wm_store *s, unsigned pages);

/** One row; @p data is only valid during the call. Not 0 ends the walk with that code. */
typedef int (*wm_store_row_fn)(void *arg, uint64_t row, const void *data, size_t len,
			       struct wm_err *e);
/** Every row of a table by ascending number. */
int wm_store_walk(struct wm_store *s, enum wm_store_table t, wm_store_row_fn fn, void *arg,
		  struct wm_err *e);
struct wm_store_range {
	enum wm_store_table table;
	int64_t after, last; /* rows above the one and up to the other */
	unsigned max;	     /* rows at most */
};
/** The next rows of a range. */
int wm_store_part(struct wm_store *s, const struct wm_store_range *rg, wm_store_row_fn fn,
		  void *arg, struct wm_err *e);
/** Highest number of a row; 0: there is none. */
int wm_store_last(struct wm_store *s, enum wm_store_table t, int64_t *ret, struct wm_err *e);
/** Call @p fn before a row is put or deleted, so that it can still be read; NULL: no more. */
void wm_store_watch(struct wm_store *s, void (*fn)(void *arg, enum wm_store_table t, uint64_t row),
		    void *arg);
/** Fill @p e with a sentence for a damaged row and return @p code. */
int wm_store_damaged(const struct wm_store *s, int code, enum wm_store_table t, uint64_t row,
		     const char *why, struct wm_err *e);
/** The content is good: from here on the file may be written. */
int wm_store_ready(struct wm_store *s, struct wm_err *e);

/** Write in a transaction that the first write opens. On failure the transaction is gone.
 *  @return 0, -ENOSPC, WM_E_STORE. */
int wm_store_put(struct wm_store *s, enum wm_store_table t, uint64_t row, const void *data,
		 size_t len, struct wm_err *e);
int wm_store_del(struct wm_store *s, enum wm_store_table t, uint64_t row, struct wm_err *e);
/** Of commits from here on: with @p lazy they are not synced. They survive the process, and a power
 * cut takes the newest of them; the next one that is synced makes all before it durable. Not in a
 * transaction. @return 0, WM_E_STORE. */
int wm_store_lazy(struct wm_store *s, bool lazy, struct wm_err *e);
/** Make the open transaction durable; without one nothing happens. On failure it is gone. */
int wm_store_commit(struct wm_store *s, struct wm_err *e);
void wm_store_rollback(struct wm_store *s);
/** Move the log into the file, if it is long enough. What was committed stands either way. */
void wm_store_checkpoint(struct wm_store *s);

/** True after such an error: writes are refused with a sentence. */
bool wm_store_failed(const struct wm_store *s);
/** Connect anew and take up writing; nothing to do where nothing failed.
 *  @return 0; -ESTALE: the disk has lost what was committed, write it all with wm_store_rewrite();
 *  -ENOSPC, WM_E_STORE: not yet, @p e says why. Cost: reads the log, STORE_LOG_MAX at most. */
int wm_store_heal(struct wm_store *s, struct wm_err *e);
/** Where the first commit after wm_store_ready() found no space: go on with what is there, so that
 * a later one may succeed. @return as wm_store_heal(). Cost: reads the log. */
int wm_store_begin_full(struct wm_store *s, struct wm_err *e);
/** Begin a whole new file beside the store's; put every row into @p ret, then wm_store_rewritten()
 *  takes its place, or wm_store_drop(). @return as wm_store_heal(). */
int wm_store_rewrite(struct wm_store *s, struct wm_store **ret, struct wm_err *e);
/** Takes @p next over, whatever it returns. Cost: one sync of the whole. */
int wm_store_rewritten(struct wm_store *s, struct wm_store *next, struct wm_err *e);

/** A new store's file under any name, to put rows into; what stood there is removed. */
int wm_store_build(const char *path, struct wm_store **ret, struct wm_err *e);
/** Make it durable and free @p s; on failure the file is removed. */
int wm_store_built(struct wm_store *s, struct wm_err *e);
/** Free and remove what was built. NULL ok. */
void wm_store_drop(struct wm_store *s);

/** With no agent running: @p next becomes the store at @p path. What stood there gets another name,
 *  with its log; @p aside (PATH_MAX octets) tells it, "" if there was none. @return 0, -EBUSY (an
 *  agent runs), negative errno; then @p next is removed. */
int wm_store_take_place(const char *path, const char *next, char *aside, struct wm_err *e);

struct wm_store_stats {
	uint64_t checkpoints, failed_checkpoints;
	uint64_t heals, rewrites;
	uint64_t log_bytes; /* of the log, not yet begun anew */
	bool failed;
};
void wm_store_stats(const struct wm_store *s, struct wm_store_stats *ret);
/** Octets of the file and its log. */
uint64_t wm_store_bytes(const struct wm_store *s);
