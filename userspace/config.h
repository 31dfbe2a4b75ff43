/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - what settings mean on this machine: names, addresses, ranges, sizes; and what the
 * start would refuse or do without, found without changing anything. Threading: none. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/dataplane/plane.h"
#include "userspace/registry/vip.h"
#include "waymark/limits.h"

#include <netinet/in.h>

/** The node's name: as set, or of the host. @return 0, WM_E_INVALID, negative errno. */
int wm_config_node_name(const struct wm_settings *s, char out[WM_NODE_NAME_MAX + 1],
			struct wm_err *e);
/** Its address: as set, or the source of the default route, or 127.0.0.1. @return 0, WM_E_INVALID.
 */
int wm_config_node_address(const struct wm_settings *s, char out[INET6_ADDRSTRLEN],
			   struct wm_err *e);
/** Make node.data_dir, its last part. @return 0 or negative errno: -EROFS of a read-only one. */
int wm_config_data_dir(const char *path, struct wm_err *e);
/** The ranges of virtual addresses. @return 0, WM_E_INVALID. */
int wm_config_ranges(const struct wm_settings *s, struct wm_vip_space *ret, struct wm_err *e);
/** Entries of the maps. */
void wm_config_sizes(const struct wm_settings *s, struct wm_plane_config *c);

enum wm_config_verdict { WM_CONFIG_OK, WM_CONFIG_DEGRADED, WM_CONFIG_REFUSED };
/** All that the start would refuse or do without: settings, what the files define, and what this
 *  machine makes of them. @p fn hears of each, with file and line where one has it. */
enum wm_config_verdict wm_config_examine(const struct wm_settings_source *from,
					 wm_settings_fault fn, void *arg);
/** What is wrong with settings that wm_settings_check() takes: addresses, ranges, names, files,
 *  cgroup, pins, memory, the mesh. Of ports only the mesh's is looked at, as a running agent has
 *  them. @p fn hears of all. */
enum wm_config_verdict wm_config_check(const struct wm_settings *s, wm_settings_fault fn,
				       void *arg);
/** Log that HTTP is open to others, where @p address is not loopback: there are no tokens, so who
 *  reaches the port may do what is answered there. */
void wm_config_warn_open(const struct wm_settings *s, const char *address);
