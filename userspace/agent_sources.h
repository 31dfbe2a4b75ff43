/* SPDX-License-Identifier: Apache-2.0 */
/* agent_sources.h - the sources that the settings name: their door, and who speaks with each of
 * them. Threading: loop thread only. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"
#include "userspace/source/consul.h"
#include "userspace/source/kube_pods.h"
#include "userspace/source/source.h"

struct wm_agent_sources;

/** Take up what an earlier run had of them, and begin to ask as soon as the loop runs. All is
 *  borrowed. @return 0, or an error whose text names the setting. */
int wm_agent_sources_new(const struct wm_settings *s, struct wm_loop *l, struct wm_registry *r,
			 struct wm_agent_sources **ret, struct wm_err *e);
/** What they brought stays in the registry. NULL ok. */
void wm_agent_sources_free(struct wm_agent_sources *a);
struct wm_sources *wm_agent_sources_door(const struct wm_agent_sources *a);  /* NULL ok */
struct wm_consul *wm_agent_sources_consul(const struct wm_agent_sources *a); /* NULL: none */
/** The Pods of this node; NULL where Kubernetes is no source. */
const struct wm_kube_pod_table *wm_agent_sources_pods(const struct wm_agent_sources *a);
