/* SPDX-License-Identifier: Apache-2.0 */
#include "ring.h"

#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <stdlib.h>

struct wm_ring {
	struct ring_buffer *ring;
	struct wm_io *io;
	wm_ring_fn fn;
	void *arg;
	unsigned turn, left; /* records of a turn; 0: all */
};

static int on_record(void *arg, void *data, size_t len)
{
	struct wm_ring *x = arg;

	x->fn(x->arg, data, len);
	return x->turn && !--x->left ? -EAGAIN : 0; /* the rest comes in the next turn */
}

void wm_ring_read(struct wm_ring *x)
{
	x->left = x->turn;
	(void)ring_buffer__consume(x->ring);
}

static void on_readable(void *arg, unsigned events)
{
	(void)events;
	wm_ring_read(arg);
}

int wm_ring_new(struct wm_loop *l, int fd, unsigned turn, wm_ring_fn fn, void *arg,
		struct wm_ring **ret)
{
	struct wm_ring *x = calloc(1, sizeof(*x));

	if (!x)
		return -ENOMEM;
	*x = (struct wm_ring){.fn = fn, .arg = arg, .turn = turn};
	x->ring = ring_buffer__new(fd, on_record, x, NULL);
	x->io = x->ring ? wm_io_new(l, ring_buffer__epoll_fd(x->ring), WM_IO_READ, on_readable, x)
			: NULL;
	if (!x->io) {
		wm_ring_free(x);
		return -ENOMEM;
	}
	*ret = x;
	return 0;
}

void wm_ring_free(struct wm_ring *x)
{
	if (!x)
		return;
	wm_io_free(x->io);
	ring_buffer__free(x->ring);
	free(x);
}
