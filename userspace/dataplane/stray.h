/* SPDX-License-Identifier: Apache-2.0 */
/* stray.h - programs and links on our hooks that are not ours, and ours that are not where they
 * should be. A walk of bounded steps, as there may be thousands of links and devices. Changes
 * nothing. Threading: loop thread only. */
#pragma once
#include "plane.h"

struct wm_device;
/* Where a walk stands; zero at first. */
struct wm_stray_walk {
	unsigned phase, at;
	uint32_t link_id;
	struct wm_device *devices;
	int devices_count;
};
/** Look at the next @p count hooks, called programs, devices and links; @p fn is told of each stray
 * with a text that is the same while it stays. @return false at the end: the walk is done. */
bool wm_plane_stray(const struct wm_plane *p, struct wm_stray_walk *w, unsigned count,
		    void (*fn)(void *arg, const char *text), void *arg);
/** Tell of each map whose pin is gone, or is another map's: as in wm_plane_stray(). Cost: some
 *  system calls a map. */
void wm_plane_unpinned(const struct wm_plane *p,
		       void (*fn)(void *arg, const char *map, const char *text), void *arg);
/** Give a walk up, or nothing where it came to its end. */
void wm_stray_done(struct wm_stray_walk *w);
