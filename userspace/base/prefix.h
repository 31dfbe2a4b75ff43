/* SPDX-License-Identifier: Apache-2.0 */
/* prefix.h - networks as a person writes them. Pure. */
#pragma once
#include "err.h"
#include "waymark/guard.h"

/** Read "10.0.0.0/8", "fd00::/8", or an address alone, which is itself. @return 0, WM_E_INVALID
 *  with what is wanted. */
int wm_prefix_parse(const char *text, struct wm_guard_prefix *ret, struct wm_err *e);
