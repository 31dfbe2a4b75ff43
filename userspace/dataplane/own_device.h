/* SPDX-License-Identifier: Apache-2.0 */
/* own_device.h - a device of the agent's own, without a link, for addresses that DNS is asked at
 * and that no other device of the node has: the cluster IP of kube-dns, a link-local one. It is
 * there while the agent runs; one that was killed leaves it to the next. Whose it is tells its
 * alias. Threading: none; blocks for some netlink messages. */
#pragma once
#include "userspace/base/err.h"

#include <stdbool.h>

#define WM_OWN_DEVICE "waymark0"

/** Let it have these addresses, texts with NULL at the end, and no others: it is made if it is not
 *  there. What another device has stays there alone, but for an address without a network on a
 *  dummy or bridge: another resolver's, as NodeLocal DNSCache's, with which it goes. Without an
 *  address the device goes, if it is @p owner's.
 *  @param owner what no other agent of the namespace is called: the pin directory
 *  @return 0; -EEXIST: a device of that name is somebody else's; negative errno. @p e tells. */
int wm_own_device_set(const char *owner, const char *const *addresses, struct wm_err *e);
/** Is it there, and @p owner's: one that runs, or was killed? */
bool wm_own_device_is(const char *owner);
