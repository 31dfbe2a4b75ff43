/* SPDX-License-Identifier: Apache-2.0 */
/* agent_left_out.h - Pods whose annotation takes them out are left alone by the programs of
 * connect(): their cgroups are looked for as long as there are such. What an earlier run left alone
 * stays so until the Pods are known. Threading: loop thread only. */
#pragma once
#include "userspace/dataplane/plane.h"
#include "userspace/net/loop.h"
#include "userspace/source/kube_pods.h"

struct wm_agent_left_out;
/** @p pods NULL: there is no Kubernetes, and nobody is left alone. All is borrowed.
 *  @return 0, @p ret NULL where there is nothing to do; -ENOMEM. */
int wm_agent_left_out_new(struct wm_loop *l, struct wm_plane *p,
			  const struct wm_kube_pod_table *pods, struct wm_agent_left_out **ret);
/** The kernel goes on. NULL ok. */
void wm_agent_left_out_free(struct wm_agent_left_out *a);
