/* SPDX-License-Identifier: Apache-2.0 */
#include "here.h"

#include "userspace/dataplane/pods.h"

bool wm_instance_is_here(const struct wm_instance *i)
{
	return wm_address_is_here(i->addr4.s_addr, &i->addr6);
}
