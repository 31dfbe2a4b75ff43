/* SPDX-License-Identifier: Apache-2.0 */
/* writer.h - the store's thread: jobs on the store, one after the other, off the loop, which never
 * waits for a disk. A job is handed over by wm_writer_put(), run on the thread, and comes back to
 * the loop by wm_writer_poll(). Between the two the store is the thread's alone.
 * Threading: all functions on the loop thread, but for what a job's `run` and `after` do. */
#pragma once
#include "store.h"

#include <stddef.h>
#include <sys/queue.h>

struct wm_job {
	STAILQ_ENTRY(wm_job) entry;
	/* On the thread. What it is to work on stands in the structure around the job. */
	void (*run)(struct wm_job *j, struct wm_store *s);
	/* On the thread, once the job was given back: what nobody need wait for. May be NULL. */
	void (*after)(struct wm_store *s);
	/* On the loop; may free the job, and put others. */
	void (*done)(struct wm_job *j);
};

static inline void wm_job_set(struct wm_job *j, void (*run)(struct wm_job *j, struct wm_store *s),
			      void (*done)(struct wm_job *j))
{
	j->run = run;
	j->after = NULL;
	j->done = done;
}

struct wm_writer;
/** @param wake called on the thread when jobs are done, so that the loop polls; NULL: no thread,
 *  jobs run while they are put (tools and tests). The store stays the caller's.
 *  @return NULL: no memory, or no thread; errno says why. */
struct wm_writer *wm_writer_new(struct wm_store *s, void (*wake)(void *arg), void *arg);
/** Waits for every job that was put, and gives them back. NULL ok. */
void wm_writer_free(struct wm_writer *w);
void wm_writer_put(struct wm_writer *w, struct wm_job *j);
/** Give back what is done. @return true if anything was. */
bool wm_writer_poll(struct wm_writer *w);
/** Wait until a job is done, if any is not. For tests, tools and the end. */
void wm_writer_wait(struct wm_writer *w);

struct wm_writer_stats {
	struct wm_store_stats store; /* after the last job */
	uint64_t file_bytes;
	uint64_t jobs;	     /* done since the start */
	unsigned waiting;    /* jobs put and not given back */
	uint64_t running_ms; /* how long the present one takes; 0: none */
};
void wm_writer_stats(struct wm_writer *w, struct wm_writer_stats *ret);

/* Snapshots that are being saved, see save.c. */
struct wm_save;
struct wm_saves {
	LIST_HEAD(, wm_save) list; /* that have begun: the thread's */
	unsigned count;		   /* the loop's, as these: of the last one */
	uint64_t rows, rows_total;
};
struct wm_saves *wm_writer_saves(struct wm_writer *w);

/* --- the job of a batch ------------------------------------------------------------------------
 */
struct wm_batch;
struct wm_commit {
	struct wm_job job;
	struct wm_batch *rows; /* the caller's */
	bool lazy;	       /* it is not synced, see wm_store_lazy() */
	int code;	       /* 0, -ESTALE (see wm_store_heal()), -ENOSPC, WM_E_STORE */
	struct wm_err e;
	uint64_t us; /* it took */
};
/** Write @p c->rows in one transaction; the log is moved into the file after it was given back. */
void wm_commit_put(struct wm_writer *w, struct wm_commit *c, void (*done)(struct wm_job *j));
