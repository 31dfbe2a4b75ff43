/* SPDX-License-Identifier: Apache-2.0 */
/* ask.h - what the programs of connect() would be told by the maps: asked of the live maps, by the
 * code that the programs have (include/waymark/frontend.h). Changes nothing. Threading: loop
 * thread. */
#pragma once
#include "plane.h"
#include "waymark/table.h"

/** The set that a destination (v4-mapped if IPv4) is steered by. @p proto: IPPROTO_TCP or _UDP.
 *  @return WM_PICKED; WM_PICK_NONE: no service has it; WM_PICK_TORN. */
int wm_plane_frontend(const struct wm_plane *p, const __be32 addr_be[4], __be16 port_be,
		      uint8_t proto, uint32_t *ret_set);
/** The backend that @p client, as the set's affinity tells it, has been with, whether or not that
 * is usable now; @p ret_ns: for how long yet. @return false: it has none, and will be chosen for.
 */
bool wm_plane_kept(const struct wm_plane *p, uint32_t set, uint64_t client, uint32_t *ret_backend,
		   uint64_t *ret_ns);
/** Does the destination lie in the ranges that virtual addresses are of? */
bool wm_plane_is_virtual(const struct wm_plane *p, const __be32 addr_be[4]);
/** Are connects steered at all: does the configuration that programs read say so? */
bool wm_plane_connects(const struct wm_plane *p);
/** Cookie of the network namespace that loopback addresses of instances are taken from; 0: any. */
uint64_t wm_plane_home(void);
/** The hook of connect() for a family, AF_INET or AF_INET6; NULL: there is none. */
const struct wm_plane_hook *wm_plane_connect_hook(const struct wm_plane *p, int family);
/** Is cgroup @p id the one that connect() is attached to, or below it? Its path into @p path (""
 * where the kernel does not tell). @return 1, 0, or negative errno: not known. */
int wm_plane_covers(const struct wm_plane *p, uint64_t id, char *path, size_t cap);
