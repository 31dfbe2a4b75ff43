/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_config.h - what settings mean to the programs in the kernel. Threading: loop thread only.
 */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/config.h"
#include "userspace/dataplane/plane.h"
#include "waymark/layout.h"

/** What the programs need to know; @p k is what they have. An adopted seed stays: the pinned names
 *  are hashed under it. What does not fit is logged, and userspace answers there. */
struct wm_config wm_kernel_config(const struct wm_settings *s, const struct wm_config *k);
/** The data plane that they ask for; strings are borrowed from them. */
void wm_kernel_plane(const struct wm_settings *s, const struct wm_vip_space *v,
		     struct wm_plane_config *ret);
/** Whether there are services that this node does not know of: a leaf is told of those that it
 * asked for. */
bool wm_kernel_partial(const struct wm_settings *s);
/** Off means detached: what an earlier run left would go on answering from tables that nobody
 * keeps. An agent that ends for want of a plane leaves it, as every end does. @p k: what programs
 * were told. @p why has added to it what could not be detached. */
void wm_kernel_detach(const struct wm_settings *s, const struct wm_plane_config *c,
		      const struct wm_config *k, struct wm_err *why);
