/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_pods.h - of which Kubernetes Pod of this node a process is, where the agent knows
 * these. Threading: none. */
#pragma once
#include "waymarkctl.h"

#include <netinet/in.h>

/** The Pods that the agent knows. @return the caller's; NULL without a message: no agent is there,
 *  or it has none. */
json_t *ctl_pods(const struct ctl *c);
/** Put "pod" and "container" of a process into @p row, "" where they are not known; nothing where
 *  @p pods is NULL. @p cgroup: its path; @p address: of its network namespace, v4-mapped if IPv4,
 *  :: not known. */
void ctl_put_pod(json_t *row, const json_t *pods, const char *cgroup,
		 const struct in6_addr *address);
