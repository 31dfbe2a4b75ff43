/* SPDX-License-Identifier: Apache-2.0 */
/* config_consul.h - what the settings of a Consul as a source mean. The start and --check-config
 * ask the same. Threading: none. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/source/consul.h"

/** Fill in what settings tell, which is borrowed; loop, registry and sources are the caller's.
 *  @return 0; negative errno: a file cannot be read, @p e names the setting. */
int wm_config_consul(const struct wm_settings *s, struct wm_consul_config *ret, struct wm_err *e);
