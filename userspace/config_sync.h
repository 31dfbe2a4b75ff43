/* SPDX-License-Identifier: Apache-2.0 */
/* config_sync.h - what the settings of the mesh mean on this machine, and what cannot work of it.
 * The start and --check-config ask the same. Threading: none. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/sync/sync.h"

/** Fill in what settings tell; the rest is the caller's. @p ret borrows from @p s.
 *  @return 0, WM_E_INVALID, then @p e names the setting. */
int wm_config_sync(const struct wm_settings *s, const char *node_address,
		   struct wm_sync_config *ret, struct wm_err *e);

/** What is wrong; @p refused: an agent does not start with it, else it starts, and its mesh does
 * not work. The text begins with the setting. */
typedef void (*wm_config_sync_fault)(void *arg, const struct wm_err *e, bool refused);
/** Judge seeds, files, certificates and keys of what wm_config_sync() filled in, with `node_name`,
 *  before anything is opened. @p now_s: seconds since 1970, for certificates. @return how many
 *  faults are refused. */
unsigned wm_config_sync_examine(const struct wm_sync_config *c, int64_t now_s,
				wm_config_sync_fault fn, void *arg);
/** Judge sync.join_file, for --check-config: it may change while an agent runs, so a start warns of
 *  what is wrong in it and goes on. @return how many faults there are. */
unsigned wm_config_sync_join_file(const struct wm_sync_config *c, wm_config_sync_fault fn,
				  void *arg);
/** Can sockets have sync.bind? The start finds out by opening them. @p running: an agent of these
 *  settings runs and has the port, so only the address is looked at. @return 0; WM_E_INVALID,
 *  negative errno, then @p e names the setting. */
int wm_config_sync_bind(const struct wm_sync_config *c, bool running, struct wm_err *e);
