/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_events.c - libunbound's events as timers and descriptors of the loop. Debian's
 * libunbound is linked with another of libevent's libraries than we are, and libevent is net/'s: so
 * it is given a base of our own. Spec: unbound-event.h, pluggable event API. */
#include "upstream_internal.h"

#include <stdlib.h>
#include <sys/time.h>
#include <unbound-event.h>

struct base {
	struct ub_event_base ub;
	struct wm_loop *loop;
	int fd;	    /* that was watched last; -1 */
	bool heard; /* there was something to read */
};

struct event {
	struct ub_event ub;
	struct base *base;
	struct wm_io *io;	/* NULL: not watched */
	struct wm_timer *timer; /* made when it is first needed */
	int fd;
	short bits;
	void (*cb)(int, short, void *);
	void *arg;
};

static void unwatch(struct event *e)
{
	wm_io_free(e->io);
	e->io = NULL;
	if (e->timer)
		wm_timer_disarm(e->timer);
}

/* The callback may free the event: it is the last thing that is done with it. */
static void on_timer(void *arg)
{
	struct event *e = arg;

	unwatch(e);
	e->cb(e->fd, UB_EV_TIMEOUT, e->arg);
}

static void on_io(void *arg, unsigned events)
{
	struct event *e = arg;
	short bits = 0;

	if (events & WM_IO_READ)
		bits |= UB_EV_READ;
	e->base->heard |= events & WM_IO_READ;
	if (events & WM_IO_WRITE)
		bits |= UB_EV_WRITE;
	if (!(e->bits & UB_EV_PERSIST))
		unwatch(e);
	e->cb(e->fd, bits, e->arg);
}

static int arm(struct event *e, const struct timeval *tv)
{
	if (!e->timer)
		e->timer = wm_timer_new(e->base->loop, on_timer, e);
	if (!e->timer)
		return -1;
	return wm_timer_arm(e->timer,
			    (uint64_t)tv->tv_sec * 1000 + (uint64_t)(tv->tv_usec + 999) / 1000)
		       ? -1
		       : 0;
}

static void add_bits(struct ub_event *ub, short bits)
{
	((struct event *)ub)->bits |= bits;
}

static void del_bits(struct ub_event *ub, short bits)
{
	((struct event *)ub)->bits &= (short)~bits;
}

static void set_fd(struct ub_event *ub, int fd)
{
	((struct event *)ub)->fd = fd;
}

static void free_event(struct ub_event *ub)
{
	struct event *e = (struct event *)ub;

	unwatch(e);
	wm_timer_free(e->timer);
	free(e);
}

static int add(struct ub_event *ub, struct timeval *tv)
{
	struct event *e = (struct event *)ub;
	unsigned want = 0;

	if (e->bits & UB_EV_READ)
		want |= WM_IO_READ;
	if (e->bits & UB_EV_WRITE)
		want |= WM_IO_WRITE;
	wm_io_free(e->io);
	e->io = NULL;
	if (e->fd >= 0 && want) {
		e->io = wm_io_new(e->base->loop, e->fd, want, on_io, e);
		if (!e->io)
			return -1;
		e->base->fd = e->fd;
	}
	return tv && e->bits & UB_EV_TIMEOUT ? arm(e, tv) : 0;
}

static int del(struct ub_event *ub)
{
	unwatch((struct event *)ub);
	return 0;
}

static int add_timer(struct ub_event *ub, struct ub_event_base *base,
		     void (*cb)(int, short, void *), void *arg, struct timeval *tv)
{
	struct event *e = (struct event *)ub;

	(void)base;
	e->cb = cb;
	e->arg = arg;
	return arm(e, tv);
}

/* Signals: libunbound has none. */
static int no_signal(struct ub_event *ub, struct timeval *tv)
{
	(void)ub;
	(void)tv;
	return -1;
}

static int no_del_signal(struct ub_event *ub)
{
	(void)ub;
	return -1;
}

static void no_wsaevent(struct ub_event *ub)
{
	(void)ub;
}

static void no_wouldblock(struct ub_event *ub, int bit)
{
	(void)ub;
	(void)bit;
}

static struct ub_event *new_event(struct ub_event_base *ub, int fd, short bits,
				  void (*cb)(int, short, void *), void *arg)
{
	static struct ub_event_vmt vmt = {.add_bits = add_bits,
					  .del_bits = del_bits,
					  .set_fd = set_fd,
					  .free = free_event,
					  .add = add,
					  .del = del,
					  .add_timer = add_timer,
					  .del_timer = del,
					  .add_signal = no_signal,
					  .del_signal = no_del_signal,
					  .winsock_unregister_wsaevent = no_wsaevent,
					  .winsock_tcp_wouldblock = no_wouldblock};
	struct event *e = calloc(1, sizeof(*e));

	if (!e)
		return NULL;
	e->ub = (struct ub_event){UB_EVENT_MAGIC, &vmt};
	e->base = (struct base *)ub;
	e->fd = fd;
	e->bits = bits;
	e->cb = cb;
	e->arg = arg;
	return &e->ub;
}

static void no_free(struct ub_event_base *b)
{
	(void)b;
}

static int no_dispatch(struct ub_event_base *b)
{
	(void)b;
	return -1;
}

static int no_exit(struct ub_event_base *b, struct timeval *tv)
{
	(void)b;
	(void)tv;
	return -1;
}

static struct ub_event *no_new_signal(struct ub_event_base *b, int fd,
				      void (*cb)(int, short, void *), void *arg)
{
	(void)b;
	(void)fd;
	(void)cb;
	(void)arg;
	return NULL;
}

static struct ub_event *no_new_wsaevent(struct ub_event_base *b, void *wsa,
					void (*cb)(int, short, void *), void *arg)
{
	(void)b;
	(void)wsa;
	(void)cb;
	(void)arg;
	return NULL;
}

struct ub_event_base *wm_upstream_events_new(struct wm_loop *l)
{
	static struct ub_event_base_vmt vmt = {.free = no_free,
					       .dispatch = no_dispatch,
					       .loopexit = no_exit,
					       .new_event = new_event,
					       .new_signal = no_new_signal,
					       .winsock_register_wsaevent = no_new_wsaevent};
	struct base *b = calloc(1, sizeof(*b));

	if (!b)
		return NULL;
	b->ub = (struct ub_event_base){UB_EVENT_MAGIC, &vmt};
	b->loop = l;
	b->fd = -1;
	return &b->ub;
}

void wm_upstream_events_mark(struct ub_event_base *b)
{
	((struct base *)b)->fd = -1;
	((struct base *)b)->heard = false;
}

int wm_upstream_events_fd(const struct ub_event_base *b)
{
	return ((const struct base *)b)->fd;
}

bool wm_upstream_events_heard(const struct ub_event_base *b)
{
	return ((const struct base *)b)->heard;
}

void wm_upstream_events_free(struct ub_event_base *b)
{
	free(b);
}
