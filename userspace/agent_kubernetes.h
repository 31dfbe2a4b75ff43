/* SPDX-License-Identifier: Apache-2.0 */
/* agent_kubernetes.h - Kubernetes as the settings have it, and its policies into the registry.
 * These are taken as files of policy.dir are: a bad one is told, and what it said before stays;
 * what the cluster no longer states goes unless somebody has written something else meanwhile, also
 * if it went while the agent was not there. Threading: loop thread only. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"
#include "userspace/source/kubernetes.h"

struct wm_agent_kubernetes;

/** Begin to ask as soon as the loop runs. All is borrowed. @p node: this agent's node's name.
 *  @return 0, @p ret NULL where the settings name none; an error whose text names the setting. */
int wm_agent_kubernetes_new(const struct wm_settings *s, struct wm_loop *l, struct wm_registry *r,
			    struct wm_sources *sources, const char *node,
			    struct wm_agent_kubernetes **ret, struct wm_err *e);
/** Before the sources; what it brought stays in the registry. NULL ok. */
void wm_agent_kubernetes_free(struct wm_agent_kubernetes *a);
/** The Pods of this node; NULL where there is no Kubernetes. */
const struct wm_kube_pod_table *wm_agent_kubernetes_pods(const struct wm_agent_kubernetes *a);
