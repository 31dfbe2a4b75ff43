/* SPDX-License-Identifier: Apache-2.0 */
/* store_internal.h - what store.c (open, read, write), store_file.c (whole files: create, rewrite,
 * replace) and store_mend.c (after an error) share. */
#pragma once
#include "store.h"

#include <linux/limits.h> /* <limits.h> would find include/waymark's */
#include <sqlite3.h>

#define STORE_APPLICATION_ID 0x57794d6b /* "WyMk", in the file's header */

enum stmt { S_PUT, S_DEL, S_KINDS };
struct wm_store {
	sqlite3 *db;
	sqlite3_stmt *write[WM_STORE_TABLES][S_KINDS];
	sqlite3_stmt *begin, *commit, *rollback;
	bool open, sync_off; /* open: a transaction is */
	bool lazy;	     /* commits are not synced: as of wm_store_lazy() */
	bool ready;	     /* accepted by wm_store_ready() */
	bool failed;	     /* a write failed in a way that leaves in doubt what the file holds */
	int lock;	    /* the file beside it that is locked for as long as the store is open */
	uint32_t page;	    /* octets */
	uint32_t log_pages; /* that trigger a checkpoint */
	uint32_t frames;    /* of the log, as of the last commit: synced, but those of lazy ones */
	uint32_t moved;	    /* of these: in the file, and synced there */
	uint32_t tried;	    /* frames when a checkpoint last failed */
	struct wm_store_stats stats;
	void (*before)(void *arg, enum wm_store_table t, uint64_t row);
	void *before_arg;
	char why[160]; /* of a checkpoint that failed */
	char path[];
};

int wm_store_exec(sqlite3 *db, const char *sql);
/** Failure while opening: what SQLite says, and whose fault that is. */
int wm_store_open_error(const struct wm_store *s, int rc, const char *what, struct wm_err *e);
/** The statements that write. @return SQLite's code. */
int wm_store_prepare(struct wm_store *s);
/** Connect, end the connection as it is. */
int wm_store_connect(struct wm_store *s, struct wm_err *e);
void wm_store_disconnect(struct wm_store *s);
/** Lock PATH-lock for as long as the store is open. */
int wm_store_lock(struct wm_store *s, struct wm_err *e);
/** Octets of a log of so many frames. */
uint64_t wm_store_log_bytes(const struct wm_store *s, uint32_t frames);

/* --- store_file.c --- */
/** Remove a file with what belongs to it; @p from 1: all but the file itself. */
int wm_store_remove(const char *path, unsigned from, struct wm_err *e);
int wm_store_sync_directory(const char *path);
/** Make the file whole under another name, then rename it. */
int wm_store_create(struct wm_store *s, struct wm_err *e);

/* --- store_mend.c --- */
/** Connect again to a file that this process knows. */
int wm_store_reconnect(struct wm_store *s, struct wm_err *e);
