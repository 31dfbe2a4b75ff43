/* SPDX-License-Identifier: Apache-2.0 */
/* kube_cgroup.h - which pod and which container a process is of, as its cgroup's path says: below
 * kubelet's `kubepods`, by systemd's names or by plain ones (kubelet's cgroupDriver). Pure. */
#pragma once
#include "kube_pods.h"

#define WM_KUBE_CONTAINER_MAX                                                                      \
	64 /* octets of an id: containerd, CRI-O and docker have all of these */

struct wm_kube_cgroup {
	char uid[WM_KUBE_UID_MAX + 1];		   /* as the path has it: systemd's has _ for - */
	char container[WM_KUBE_CONTAINER_MAX + 1]; /* "": the pod's own cgroup, or no id is said */
};
/** @return false: it is no pod's, both are "". */
bool wm_kube_cgroup_read(const char *path, struct wm_kube_cgroup *ret);
/** Of a process in the cgroup of @p path whose network namespace has @p address; NULL: not known.
 *  @p ret: as wm_kube_cgroup_read(). @return NULL: of no pod that is known. Borrowed until the next
 *  object. */
const struct wm_kube_pod_here *wm_kube_pods_of(const struct wm_kube_pod_table *p, const char *path,
					       const struct in6_addr *address,
					       struct wm_kube_cgroup *ret);
