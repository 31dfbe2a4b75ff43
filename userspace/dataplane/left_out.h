/* SPDX-License-Identifier: Apache-2.0 */
/* left_out.h - cgroups whose processes connect() is not steered for, they and all below. The kernel
 * goes on without an agent, and the next run takes them over. Threading: loop thread only. */
#pragma once
#include "plane.h"

enum wm_left_out {
	WM_LEFT_OUT_LOOK, /* not this one: look at those below */
	WM_LEFT_OUT_SKIP, /* neither this one nor those below */
	WM_LEFT_OUT_TAKE  /* it, and all below */
};
/** Leave those alone that @p is takes, of all cgroups that are there now, and no others. @p is
 * NULL: none. Paths begin at the root: "/system.slice". Cost: the cgroups that are looked at, some
 * 5 us each. @return how many; -EOPNOTSUPP: the programs are not there, the kernel tells them no
 * cgroup, or the root of the mount is not that of all (a cgroup namespace); negative errno. */
int wm_plane_leave_out(struct wm_plane *p, enum wm_left_out (*is)(void *arg, const char *path),
		       void *arg);
