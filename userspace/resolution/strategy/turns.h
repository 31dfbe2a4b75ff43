/* SPDX-License-Identifier: Apache-2.0 */
/* turns.h - whose turn it is, by shares. The k-th turn (from 0) of a member with share w is due at
 * (k + 1/2) / w; the next turn is the one due first, so between two turns of a member the others
 * have theirs in proportion. Stride scheduling (Waldspurger 1995). Threading: pure. */
#pragma once
#include <stdint.h>

struct wm_turn {
	uint32_t member, share, done;
};
/* A heap by due date; whoever stands first in the list wins where two are due. */
struct wm_turns {
	struct wm_turn *heap; /* borrowed: room for n */
	uint32_t n;
};
/** Begin with heap[i].share set for each i below n, above 0. Cost O(n). */
void wm_turns_begin(struct wm_turns *t);
/** The member whose turn it is. n > 0. Cost O(log n). */
uint32_t wm_turns_next(struct wm_turns *t);
