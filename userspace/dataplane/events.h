/* SPDX-License-Identifier: Apache-2.0 */
/* events.h - hears what programs in the kernel tell by their ring buffer (waymark/events.h), and
 * passes each event to those who want its kind. Threading: loop thread only. */
#pragma once
#include "plane.h"
#include "userspace/net/loop.h"
#include "waymark/events.h"

struct wm_plane_events;
typedef void (*wm_event_fn)(void *arg, const struct wm_event *e);
#define WM_EVENTS_SUBSCRIBERS_MAX 8

/** @p p is borrowed. @return 0, -ENOMEM, or the kernel's errno: it has no ring buffer. */
int wm_plane_events_new(struct wm_loop *l, struct wm_plane *p, struct wm_plane_events **ret);
void wm_plane_events_free(struct wm_plane_events *x); /* NULL ok */
/** Call @p fn for events whose WM_EVENT_BIT() is in @p kinds, as long as they are read: @p fn may
 *  not subscribe. @p x NULL: -ENOENT. @return 0, -ENOSPC. */
int wm_plane_events_subscribe(struct wm_plane_events *x, uint64_t kinds, wm_event_fn fn, void *arg);
/** What was subscribed with @p arg ends. @p x NULL ok. */
void wm_plane_events_unsubscribe(struct wm_plane_events *x, const void *arg);
