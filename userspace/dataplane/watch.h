/* SPDX-License-Identifier: Apache-2.0 */
/* watch.h - keeps the data plane attached, and says in words whether it is whole. Every few seconds
 * each link is looked at by its id; what was lost is attached again, and logged. Devices that
 * appear are attached to when the kernel tells of them. Virtual names have addresses of their own
 * only while connect() is steered: else DNS, here and in the kernel, answers them with endpoints.
 * Threading: loop thread only. */
#pragma once
#include "plane.h"
#include "userspace/net/loop.h"

#define WM_PLANE_VERIFY_MS   5000 /* ms between two looks at the links */
#define WM_PLANE_REASONS_MAX 16	  /* reasons that are kept; more are counted in the last */

enum wm_plane_state {
	WM_PLANE_OFF,	   /* switched off by the settings */
	WM_PLANE_DEGRADED, /* wanted, and missing or not whole */
	WM_PLANE_ON,
};
const char *wm_plane_state_str(enum wm_plane_state s); /* "off", "degraded", "on" */

struct wm_plane_watch;
struct wm_plane_watch_config {
	struct wm_loop *loop;	  /* borrowed */
	struct wm_plane *plane;	  /* borrowed; NULL: there is none */
	struct wm_tables *tables; /* borrowed */
	bool wanted;		  /* kernel.enabled */
	const char *why;	  /* there is no plane; copied */
};
/** Attaches nothing yet. @return NULL without memory. */
struct wm_plane_watch *wm_plane_watch_new(const struct wm_plane_watch_config *c);
/** When the tables are filled: attach, log each hook, and look after them from now on. */
void wm_plane_watch_start(struct wm_plane_watch *w);
/** Look at the file of the plane's `custom` again; logs what became of it. */
void wm_plane_watch_custom(struct wm_plane_watch *w);
void wm_plane_watch_free(struct wm_plane_watch *w); /* NULL ok; detaches nothing */
enum wm_plane_state wm_plane_watch_state(const struct wm_plane_watch *w);
/** Hooks that were found detached, since the start. */
uint64_t wm_plane_watch_lost(const struct wm_plane_watch *w);
/** Why the plane is not on, a sentence each. Borrowed until the loop's next turn. @return how many.
 */
unsigned wm_plane_watch_reasons(const struct wm_plane_watch *w, const char *const **ret);
