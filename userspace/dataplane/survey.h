/* SPDX-License-Identifier: Apache-2.0 */
/* survey.h - who else is attached: programs of Waymark that other pins keep, of an agent that runs
 * or of one that is gone, and programs of other software on the hooks that we use. Programs of ours
 * are known by their names and the maps they use. Threading: loop thread only. */
#pragma once
#include "plane.h"

/* A link of Waymark's that is not in the pin directory of the configuration. */
struct wm_leftover {
	char name[16];	   /* of the program */
	char tag[17];	   /* of its instructions, as bpftool shows it */
	char where[256];   /* cgroup path, "cgroup <id>" where it has none, device; "kernel":
			      tracepoint */
	char pin_dir[256]; /* that keeps it; "": none that is visible here */
	bool held;	   /* by a running agent */
	bool same;	   /* on a cgroup or device that the configuration attaches to */
	bool above;	   /* on a cgroup above the configured one: it sees the same processes */
	uint32_t link_id, prog_id;
};
/** Call @p fn for each; with CAP_SYS_ADMIN also for those whose pins are not visible.
 *  @return how many, or negative errno. */
int wm_plane_leftovers(const struct wm_plane_config *c,
		       void (*fn)(void *arg, const struct wm_leftover *l), void *arg);
/** The same of one link, whatever keeps it: pin_dir and held are not told. @return whether it is
 *  one of Waymark's. */
bool wm_plane_leftover(const struct wm_plane_config *c, uint32_t link_id, struct wm_leftover *ret);
/** Another agent that runs and steers the same cgroup. @return 0, or -EBUSY and who in @p e. */
int wm_plane_rival(const struct wm_plane_config *c, struct wm_err *e);
/** Detach what agents that are gone left on the configured cgroup, or on its devices for addresses
 * of
 *  @p mine: it would go on answering from tables that nobody keeps. Their pins go too, @p fn hears
 *  of each. @return links, or negative errno. */
int wm_plane_take_over(const struct wm_plane_config *c, const struct wm_config *mine,
		       void (*fn)(void *arg, const struct wm_leftover *l), void *arg);

/* A program on a hook of ours that is not of Waymark. */
struct wm_neighbour {
	char name[16];
	char tag[17]; /* of its instructions, as bpftool shows it */
	char where[256];
	const char *hook; /* "connect4", "ingress" */
	uint32_t prog_id;
	bool in_front; /* of ours: it runs before */
};
/** What it means that it is there, in words. */
const char *wm_neighbour_meaning(const struct wm_neighbour *n);
/** Call @p fn for each, of the configured cgroup, those above it, and the devices. @return how
 * many, or negative errno. */
int wm_plane_neighbours(const struct wm_plane_config *c,
			void (*fn)(void *arg, const struct wm_neighbour *n), void *arg);
/** The same of the cgroups alone, and of one device. */
struct wm_device;
int wm_plane_cgroup_neighbours(const struct wm_plane_config *c,
			       void (*fn)(void *arg, const struct wm_neighbour *n), void *arg);
void wm_plane_device_neighbours(const struct wm_plane_config *c, const struct wm_device *d,
				void (*fn)(void *arg, const struct wm_neighbour *n), void *arg);
