/* SPDX-License-Identifier: Apache-2.0 */
/* writer.c - see writer.h. */
#include "writer.h"

#include "batch.h"
#include "userspace/base/clock.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

STAILQ_HEAD(jobs, wm_job);

struct wm_writer {
	struct wm_store *store;
	void (*wake)(void *arg);
	void *arg;
	pthread_t thread;
	pthread_mutex_t lock; /* of what follows */
	pthread_cond_t more, some;
	struct jobs waiting, finished;
	bool end;
	uint64_t began_ms; /* of the job that runs; 0: none */
	struct wm_writer_stats stats;
	struct wm_saves saves;
};

/* One job, from its start to when the store is at rest again. */
static void run(struct wm_writer *w, struct wm_job *j)
{
	void (*after)(struct wm_store * s) = j->after;
	struct wm_store_stats seen;

	j->run(j, w->store);
	wm_store_stats(w->store, &seen);
	pthread_mutex_lock(&w->lock);
	w->stats.store = seen;
	w->stats.jobs++;
	STAILQ_INSERT_TAIL(&w->finished, j, entry);
	pthread_cond_signal(&w->some);
	pthread_mutex_unlock(&w->lock);
	if (w->wake)
		w->wake(w->arg);
	if (!after)
		return;
	after(w->store);
	wm_store_stats(w->store, &seen);
	pthread_mutex_lock(&w->lock);
	w->stats.store = seen;
	pthread_mutex_unlock(&w->lock);
}

static void *work(void *arg)
{
	struct wm_writer *w = arg;
	struct wm_job *j;

	pthread_mutex_lock(&w->lock);
	for (;;) {
		while (!(j = STAILQ_FIRST(&w->waiting)) && !w->end)
			pthread_cond_wait(&w->more, &w->lock);
		if (!j)
			break;
		STAILQ_REMOVE_HEAD(&w->waiting, entry);
		w->began_ms = wm_clock_ms();
		pthread_mutex_unlock(&w->lock);
		run(w, j);
		pthread_mutex_lock(&w->lock);
		w->began_ms = 0;
	}
	pthread_mutex_unlock(&w->lock);
	return NULL;
}

struct wm_writer *wm_writer_new(struct wm_store *s, void (*wake)(void *arg), void *arg)
{
	struct wm_writer *w = calloc(1, sizeof(*w));
	sigset_t all, before;
	int err = 0;

	if (!w)
		return NULL;
	w->store = s;
	w->wake = wake;
	w->arg = arg;
	STAILQ_INIT(&w->waiting);
	STAILQ_INIT(&w->finished);
	pthread_mutex_init(&w->lock, NULL);
	pthread_cond_init(&w->more, NULL);
	pthread_cond_init(&w->some, NULL);
	wm_store_stats(s, &w->stats.store);
	if (!wake)
		return w;
	/* signals are the loop's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&w->thread, NULL, work, w);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!err)
		return w;
	w->wake = NULL; /* there is no thread to be joined */
	wm_writer_free(w);
	errno = err;
	return NULL;
}

void wm_writer_free(struct wm_writer *w)
{
	if (!w)
		return;
	if (w->wake) {
		pthread_mutex_lock(&w->lock);
		w->end = true;
		pthread_cond_signal(&w->more);
		pthread_mutex_unlock(&w->lock);
		pthread_join(w->thread, NULL);
		w->wake = NULL; /* what `done` puts now runs at once */
	}
	while (wm_writer_poll(w))
		;
	pthread_cond_destroy(&w->more);
	pthread_cond_destroy(&w->some);
	pthread_mutex_destroy(&w->lock);
	free(w);
}

void wm_writer_put(struct wm_writer *w, struct wm_job *j)
{
	pthread_mutex_lock(&w->lock);
	w->stats.waiting++;
	if (w->wake)
		STAILQ_INSERT_TAIL(&w->waiting, j, entry);
	pthread_mutex_unlock(&w->lock);
	if (w->wake)
		pthread_cond_signal(&w->more); /* who wakes finds the lock free */
	else
		run(w, j);
}

bool wm_writer_poll(struct wm_writer *w)
{
	struct jobs jobs = STAILQ_HEAD_INITIALIZER(jobs);
	struct wm_job *j;
	bool any;

	pthread_mutex_lock(&w->lock);
	STAILQ_CONCAT(&jobs, &w->finished);
	STAILQ_FOREACH (j, &jobs, entry)
		w->stats.waiting--;
	pthread_mutex_unlock(&w->lock);
	any = !STAILQ_EMPTY(&jobs);
	while ((j = STAILQ_FIRST(&jobs))) {
		STAILQ_REMOVE_HEAD(&jobs, entry);
		j->done(j);
	}
	return any;
}

void wm_writer_wait(struct wm_writer *w)
{
	pthread_mutex_lock(&w->lock);
	while (w->stats.waiting && STAILQ_EMPTY(&w->finished))
		pthread_cond_wait(&w->some, &w->lock);
	pthread_mutex_unlock(&w->lock);
}

void wm_writer_stats(struct wm_writer *w, struct wm_writer_stats *ret)
{
	pthread_mutex_lock(&w->lock);
	*ret = w->stats;
	if (w->began_ms)
		ret->running_ms = wm_clock_ms() - w->began_ms;
	pthread_mutex_unlock(&w->lock);
	/* by the names of the files, which stay: nobody waits for a disk to tell how long they are
	 */
	ret->file_bytes = wm_store_bytes(w->store);
}

struct wm_saves *wm_writer_saves(struct wm_writer *w)
{
	return &w->saves;
}

/* --- the job of a batch ------------------------------------------------------------------------
 */
static void commit(struct wm_job *j, struct wm_store *s)
{
	struct wm_commit *c = (struct wm_commit *)j; /* its first member */
	uint64_t began = wm_clock_ns();

	c->code = wm_store_heal(s, &c->e);
	if (!c->code)
		c->code = wm_store_lazy(s, c->lazy, &c->e);
	if (!c->code)
		c->code = wm_batch_write(c->rows, s, &c->e);
	if (!c->code)
		c->code = wm_store_commit(s, &c->e);
	if (c->code)
		wm_store_rollback(s);
	c->us = (wm_clock_ns() - began) / 1000;
}

void wm_commit_put(struct wm_writer *w, struct wm_commit *c, void (*done)(struct wm_job *j))
{
	wm_job_set(&c->job, commit, done);
	c->job.after = wm_store_checkpoint;
	wm_writer_put(w, &c->job);
}
