/* SPDX-License-Identifier: Apache-2.0 */
/* config_sync.h - what the settings of the mesh mean on this machine. Threading: none. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/sync/sync.h"

/** Fill in what settings tell; the rest is the caller's. @p ret borrows from @p s.
 *  @return 0, WM_E_INVALID, then @p e names the setting. */
int wm_config_sync(const struct wm_settings *s, const char *node_address,
		   struct wm_sync_config *ret, struct wm_err *e);
