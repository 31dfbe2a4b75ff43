/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include "internal.h"

#include <errno.h>
#include <stdlib.h>

struct subscriber {
	uint64_t kinds;
	wm_event_fn fn;
	void *arg;
};
struct wm_plane_events {
	struct ring_buffer *ring;
	struct wm_io *io;
	struct subscriber at[WM_EVENTS_SUBSCRIBERS_MAX];
	unsigned count;
};

static int on_event(void *arg, void *data, size_t len)
{
	const struct wm_event *e = data;
	struct wm_plane_events *x = arg;

	for (unsigned i = 0; len >= sizeof(*e) && i < x->count; i++)
		if (e->kind < 64 && x->at[i].kinds >> e->kind & 1)
			x->at[i].fn(x->at[i].arg, e);
	return 0;
}

static void on_readable(void *arg, unsigned events)
{
	struct wm_plane_events *x = arg;

	(void)events;
	(void)ring_buffer__consume(x->ring);
}

int wm_plane_events_new(struct wm_loop *l, struct wm_plane *p, struct wm_plane_events **ret)
{
	struct wm_plane_events *x;

	if (p->events_fd < 0)
		return p->events_fd;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	x->ring = ring_buffer__new(p->events_fd, on_event, x, NULL);
	if (x->ring)
		x->io = wm_io_new(l, ring_buffer__epoll_fd(x->ring), WM_IO_READ, on_readable, x);
	if (!x->io) {
		wm_plane_events_free(x);
		return -ENOMEM;
	}
	*ret = x;
	return 0;
}

void wm_plane_events_free(struct wm_plane_events *x)
{
	if (!x)
		return;
	wm_io_free(x->io);
	ring_buffer__free(x->ring);
	free(x);
}

int wm_plane_events_subscribe(struct wm_plane_events *x, uint64_t kinds, wm_event_fn fn, void *arg)
{
	if (!x)
		return -ENOENT;
	if (x->count == WM_EVENTS_SUBSCRIBERS_MAX)
		return -ENOSPC;
	x->at[x->count++] = (struct subscriber){kinds, fn, arg};
	return 0;
}

void wm_plane_events_unsubscribe(struct wm_plane_events *x, const void *arg)
{
	unsigned kept = 0;

	for (unsigned i = 0; x && i < x->count; i++)
		if (x->at[i].arg != arg)
			x->at[kept++] = x->at[i];
	if (x)
		x->count = kept;
}
