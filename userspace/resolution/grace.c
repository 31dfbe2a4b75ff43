/* SPDX-License-Identifier: Apache-2.0 */
#include "grace.h"

#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "waymark/layout.h"

#include <errno.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int wm_grace_membarrier(void)
{
	/* on one CPU the kernel returns at once, though it may have preempted a program */
	if (sysconf(_SC_NPROCESSORS_ONLN) < 2)
		return -ENODATA;
	return syscall(SYS_membarrier, MEMBARRIER_CMD_GLOBAL, 0, 0) ? -errno : 0;
}

struct wm_grace_thread {
	struct wm_grace grace;
	int (*wait)(void);
	pthread_t thread;
	pthread_mutex_t lock;
	pthread_cond_t wake;
	uint64_t wanted; /* newest ticket that was given */
	uint64_t begun;	 /* waits that have begun */
	uint64_t over;	 /* of these the newest that has ended */
	bool end;
};

/* The lock is held. */
static void rest(struct wm_grace_thread *g)
{
	struct timespec until;

	clock_gettime(CLOCK_MONOTONIC, &until);
	until.tv_sec += (time_t)(WM_RECYCLE_NS / 1000000000);
	until.tv_nsec += (long)(WM_RECYCLE_NS % 1000000000);
	if (until.tv_nsec >= 1000000000) {
		until.tv_sec++;
		until.tv_nsec -= 1000000000;
	}
	while (!g->end && !pthread_cond_timedwait(&g->wake, &g->lock, &until))
		;
}

static void *work(void *arg)
{
	struct wm_grace_thread *g = arg;
	uint64_t number;
	int r;

	pthread_mutex_lock(&g->lock);
	while (!g->end) {
		if (g->wanted <= g->begun) {
			pthread_cond_wait(&g->wake, &g->lock);
			continue;
		}
		number = ++g->begun;
		pthread_mutex_unlock(&g->lock);
		r = g->wait();
		pthread_mutex_lock(&g->lock);
		if (r)
			rest(g);
		g->over = number;
	}
	pthread_mutex_unlock(&g->lock);
	return NULL;
}

/* One that has begun may have begun before this was freed. */
static uint64_t ticket(void *arg)
{
	struct wm_grace_thread *g = arg;
	bool wake;
	uint64_t n;

	pthread_mutex_lock(&g->lock);
	n = g->begun + 1;
	wake = n > g->wanted;
	if (wake)
		g->wanted = n;
	pthread_mutex_unlock(&g->lock);
	if (wake)
		pthread_cond_signal(&g->wake); /* who wakes finds the lock free */
	return n;
}

static uint64_t over(void *arg)
{
	struct wm_grace_thread *g = arg;
	uint64_t n;

	pthread_mutex_lock(&g->lock);
	n = g->over;
	pthread_mutex_unlock(&g->lock);
	return n;
}

static void release(struct wm_grace_thread *g)
{
	pthread_cond_destroy(&g->wake);
	pthread_mutex_destroy(&g->lock);
	free(g);
}

struct wm_grace_thread *wm_grace_start(int (*wait)(void))
{
	struct wm_grace_thread *g = calloc(1, sizeof(*g));
	pthread_condattr_t clock;
	sigset_t all, before;
	int err;

	if (!g)
		return NULL;
	g->wait = wait;
	g->grace = (struct wm_grace){g, ticket, over};
	pthread_mutex_init(&g->lock, NULL);
	pthread_condattr_init(&clock);
	pthread_condattr_setclock(&clock, CLOCK_MONOTONIC);
	pthread_cond_init(&g->wake, &clock);
	pthread_condattr_destroy(&clock);
	/* signals are the loop's */
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	err = pthread_create(&g->thread, NULL, work, g);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (!err)
		return g;
	release(g);
	errno = err;
	return NULL;
}

void wm_grace_stop(struct wm_grace_thread *g)
{
	if (!g)
		return;
	pthread_mutex_lock(&g->lock);
	g->end = true;
	pthread_cond_signal(&g->wake);
	pthread_mutex_unlock(&g->lock);
	pthread_join(g->thread, NULL);
	release(g);
}

const struct wm_grace *wm_grace_of(const struct wm_grace_thread *g)
{
	return g ? &g->grace : NULL;
}

struct wm_grace_thread *wm_grace_begin(void)
{
	int r = wm_grace_membarrier();
	struct wm_grace_thread *g = wm_grace_start(wm_grace_membarrier);

	r = g ? r : -errno;
	if (r)
		wm_info("grace.timed", "err=%s ms=%llu", wm_err_name(r),
			WM_RECYCLE_NS / WM_NS_PER_MS);
	return g;
}
