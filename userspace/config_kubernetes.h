/* SPDX-License-Identifier: Apache-2.0 */
/* config_kubernetes.h - what the settings of Kubernetes as a source mean. The start and
 * --check-config ask the same. Threading: none. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/source/kubernetes.h"

#define WM_CONFIG_EXTERNAL_MAX 32 /* networks of source.kubernetes_external: a cluster has few */

/** Fill in what settings tell, which is borrowed; loop, sources and who is told of policies are the
 *  caller's.
 *  @param node this node's name, where source.kubernetes_node is empty
 *  @param external holds WM_CONFIG_EXTERNAL_MAX; borrowed by @p ret
 *  @return 0; WM_E_INVALID; negative errno: a file cannot be read. @p e names the setting. */
int wm_config_kubernetes(const struct wm_settings *s, const char *node,
			 struct wm_guard_prefix *external, struct wm_kubernetes_config *ret,
			 struct wm_err *e);
