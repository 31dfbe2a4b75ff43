/* SPDX-License-Identifier: Apache-2.0 */
/* here.h - is an instance in this network namespace? */
#pragma once
#include "userspace/model/model.h"

/** Is its address one of this network namespace? Then what is sent to it comes from itself; of
 *  127.0.0.0/8 all are. Cost: three system calls. */
bool wm_instance_is_here(const struct wm_instance *i);
