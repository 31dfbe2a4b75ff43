/* SPDX-License-Identifier: Apache-2.0 */
#include "events.h"

#include "internal.h"
#include "ring.h"

#include <errno.h>
#include <stdlib.h>

struct subscriber {
	uint64_t kinds;
	wm_event_fn fn;
	void *arg;
};
struct wm_plane_events {
	struct wm_ring *ring;
	struct subscriber at[WM_EVENTS_SUBSCRIBERS_MAX];
	unsigned count;
};

static void on_event(void *arg, const void *data, size_t len)
{
	const struct wm_event *e = data;
	struct wm_plane_events *x = arg;

	for (unsigned i = 0; len >= sizeof(*e) && i < x->count; i++)
		if (e->kind < 64 && x->at[i].kinds >> e->kind & 1)
			x->at[i].fn(x->at[i].arg, e);
}

int wm_plane_events_new(struct wm_loop *l, struct wm_plane *p, struct wm_plane_events **ret)
{
	struct wm_plane_events *x;
	int r;

	if (p->events_fd < 0)
		return p->events_fd;
	x = calloc(1, sizeof(*x));
	if (!x)
		return -ENOMEM;
	r = wm_ring_new(l, p->events_fd, 0, on_event, x, &x->ring);
	if (r) {
		free(x);
		return r;
	}
	*ret = x;
	return 0;
}

void wm_plane_events_free(struct wm_plane_events *x)
{
	if (!x)
		return;
	wm_ring_free(x->ring);
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
