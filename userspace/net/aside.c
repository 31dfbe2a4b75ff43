/* SPDX-License-Identifier: Apache-2.0 */
#include "aside.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

struct wm_aside {
	pthread_t thread;
	struct wm_io *io;
	int fd; /* readable when it is over */
	void (*run)(void *arg);
	void (*done)(void *arg);
	void *arg;
};

static void *thread(void *aside)
{
	struct wm_aside *a = aside;
	const uint64_t once = 1;

	a->run(a->arg);
	(void)!write(a->fd, &once, sizeof(once)); /* into an empty counter: cannot fail */
	return NULL;
}

static void release(struct wm_aside *a)
{
	wm_io_free(a->io);
	if (a->fd >= 0)
		close(a->fd);
	free(a);
}

static void on_over(void *aside, unsigned events)
{
	struct wm_aside *a = aside;
	void (*done)(void *arg) = a->done;
	void *arg = a->arg;

	(void)events;
	wm_aside_end(a);
	done(arg);
}

int wm_aside_start(struct wm_loop *l, void (*run)(void *arg), void (*done)(void *arg), void *arg,
		   struct wm_aside **ret)
{
	struct wm_aside *a = calloc(1, sizeof(*a));
	sigset_t all, before;
	int r;

	if (!a)
		return -ENOMEM;
	*a = (struct wm_aside){.run = run, .done = done, .arg = arg};
	a->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	a->io = a->fd >= 0 ? wm_io_new(l, a->fd, WM_IO_READ, on_over, a) : NULL;
	if (!a->io) {
		r = a->fd >= 0 ? -ENOMEM : -errno;
		release(a);
		return r;
	}
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, &before);
	r = pthread_create(&a->thread, NULL, thread, a);
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	if (r) {
		release(a);
		return -r;
	}
	*ret = a;
	return 0;
}

void wm_aside_end(struct wm_aside *a)
{
	if (!a)
		return;
	pthread_join(a->thread, NULL);
	release(a);
}
