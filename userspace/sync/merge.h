/* SPDX-License-Identifier: Apache-2.0 */
/* merge.h - which of two concurrent writes of a shared object stands: a rule that comes to the same
 * end on every node, whatever the order in which they hear of them. Pure functions. */
#pragma once
#include "peer.h"
#include "userspace/model/model.h"

/* One side of a conflict. */
struct wm_merge_side {
	struct wm_version version; /* its clock, and the priority of the writer's node */
	struct wm_peer_id writer;
	const char *semver; /* `version` metadata of what was written or removed; NULL: none */
	bool gone;
};

/* @return > 0: @p a stands, < 0: @p b; 0 only for the same write. Must be a total order:
 * irreflexive, transitive, whatever the input (test_merge.c tries it on each rule). */
struct wm_merge_rule {
	const char *name;
	int (*cmp)(const struct wm_merge_side *a, const struct wm_merge_side *b);
};
extern const struct wm_merge_rule wm_merge_hlc, wm_merge_semver, wm_merge_priority;
/** By its name in `sync.conflicts`. @return NULL: there is none. */
const struct wm_merge_rule *wm_merge_rule(const char *name);
/** Semantic Versioning 2.0.0, item 11; what is no version is below every version, two of these by
 *  their octets. @return < 0, 0, > 0. */
int wm_semver_cmp(const char *a, const char *b);

/** Hybrid logical clock: the next value at @p wall_ms, above @p last. */
uint64_t wm_hlc_next(uint64_t last, uint64_t wall_ms);
/** Milliseconds of a value. */
static inline uint64_t wm_hlc_ms(uint64_t hlc)
{
	return hlc >> 16;
}
