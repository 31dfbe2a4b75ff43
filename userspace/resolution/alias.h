/* SPDX-License-Identifier: Apache-2.0 */
/* alias.h - the alias table of a weighted choice. Spec: Vose, A Linear Algorithm for Generating
 * Random Numbers with a Given Distribution (1991). Threading: pure. */
#pragma once
#include "waymark/layout.h"

#include <stdint.h>

/** Fill @p slots (backend, alias, keep, weight; not generation) for @p n backends of the given
 * weights, slot i for backend i. The order of the arguments decides the result: equal input, equal
 * table.
 *  @param weights each > 0 at n > 0, WM_WEIGHT_MAX at most. @return 0, -ENOMEM. Cost O(n). */
int wm_alias_build(const uint32_t *backends, const uint32_t *weights, uint32_t n,
		   struct wm_slot *slots);
