/* SPDX-License-Identifier: Apache-2.0 */
/* strategy.h - how the slots of one tier are laid out for the way its backends are chosen
 * (include/waymark/choose.h reads them). A strategy says how many slots a tier wants and fills
 * them; what it wants to know of a backend is in `struct wm_member`. The same members in the same
 * order give the same slots, on every node. Threading: pure. */
#pragma once
#include "waymark/layout.h"

#include <stdint.h>

/* A backend as a strategy sees it. */
struct wm_member {
	uint64_t instance; /* identity, the same on every node: what consistent hashing places by */
	uint32_t backend;  /* index in backends */
	uint16_t stamp;	   /* of the index's occupant */
	uint16_t weight;   /* above 0 */
};

struct wm_strategy {
	const char *name; /* as policies have it */
	/** Slots of a tier of @p n members, n > 0: at least one, WM_TIER_SLOTS_MAX at most. */
	uint32_t (*size)(const struct wm_member *members, uint32_t n);
	/** Fill @p count slots, as many as size() said. @return 0, -ENOMEM. */
	int (*build)(const struct wm_member *members, uint32_t n, struct wm_slot *slots,
		     uint32_t count);
};

/* Slots of one tier at most: a table of consistent hashing, and as many backends one by one. */
#define WM_TIER_SLOTS_MAX 65537

/* Vose's alias table: one slot a member, a weighted draw in O(1). Cost O(n). Vose, A Linear
 * Algorithm for Generating Random Numbers with a Given Distribution (1991). */
extern const struct wm_strategy wm_strategy_alias;
/* Members as they are told, one slot each, for the first usable of them. */
extern const struct wm_strategy wm_strategy_listed;
/* Turns: each member stands in the sequence as often as its weight says, spread as evenly as can
 * be. Where the weights need more than WM_ROTATION_MAX slots they are rounded, none to less than
 * one turn. Cost O(slots * log n). */
extern const struct wm_strategy wm_strategy_rotation;
#define WM_ROTATION_MAX 4096 /* slots of turns, or twice the members if that is more: 64 KiB */
/* Consistent hashing: WM_MAGLEV_SLOTS places that members fill by turns, each by a permutation of
 * its own. Eisenbud et al., Maglev (NSDI 2016), 3.4; turns are by weight. Cost O(slots * log n),
 * and for looking for free places a few times the slots. */
extern const struct wm_strategy wm_strategy_maglev;
#define WM_MAGLEV_SLOTS 65537 /* a prime, above 100 times the backends that most services have */

/** A slot that leads to @p m alone. */
static inline struct wm_slot wm_slot_of(const struct wm_member *m)
{
	return (struct wm_slot){.backend = m->backend,
				.alias = m->backend,
				.keep = 0xffffffffu,
				.stamp = m->stamp,
				.alias_stamp = m->stamp};
}
