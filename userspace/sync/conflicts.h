/* SPDX-License-Identifier: Apache-2.0 */
/* conflicts.h - the audit list: concurrent writes of shared objects that were decided, with what
 * stands and what lost, the last WM_CONFLICTS_MAX of them, in memory. Each agent has the ones that
 * it decided itself. Threading: loop thread only. */
#pragma once
#include "replica.h"

#define WM_CONFLICTS_MAX 256 /* kept: some 300 KiB; the oldest goes */

struct wm_conflict_side {
	struct wm_peer_id writer;
	uint64_t clock;	   /* hybrid: see merge.h */
	uint32_t priority; /* of the writer's node */
	bool gone;	   /* a removal */
	char semver[WM_META_VALUE_MAX + 1];
	char address[WM_ADDRESS_MAX + 1]; /* of the instance or node; "": none */
	unsigned port;
};
struct wm_conflict {
	uint64_t wall_ms;
	const char *rule;		 /* by which it was decided */
	char node[WM_NODE_NAME_MAX + 1]; /* in lower case */
	char id[WM_INSTANCE_ID_MAX + 1]; /* "" is the node */
	struct wm_conflict_side stands, lost;
};

struct wm_conflicts;
struct wm_conflicts *wm_conflicts_new(void);	/* NULL without memory */
void wm_conflicts_free(struct wm_conflicts *c); /* NULL ok */
/** Keep one. @p node and @p id as of the key; without memory it is only counted. */
void wm_conflicts_add(struct wm_conflicts *c, uint64_t wall_ms, const char *rule, const char *node,
		      const char *id, const struct wm_replica_change *stands,
		      const struct wm_replica_change *lost);
/** Walk, the newest first: *pos = 0 at first. @return NULL: no more. */
const struct wm_conflict *wm_conflicts_next(const struct wm_conflicts *c, size_t *pos);
/** All since the start, by this rule (wm_merge_rule's name). */
uint64_t wm_conflicts_count(const struct wm_conflicts *c, const char *rule);
