/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_config.h - what settings mean to the programs in the kernel. Threading: loop thread only.
 */
#pragma once
#include "userspace/base/settings.h"
#include "waymark/layout.h"

/** What the programs need to know; @p k is what they have. An adopted seed stays: the pinned names
 *  are hashed under it. What does not fit is logged, and userspace answers there. */
struct wm_config wm_kernel_config(const struct wm_settings *s, const struct wm_config *k);
