/* SPDX-License-Identifier: Apache-2.0 */
/* snapshot_internal.h - what a reader of snapshots holds. Inside store/, and for restoring. */
#pragma once
#include "record.h"
#include "snapshot_format.h"
#include "userspace/base/buf.h"
#include "userspace/base/map.h"
#include "userspace/model/node.h"

#include <stdbool.h>
#include <stdint.h>

struct wm_snapshot_lease { /* a service's row */
	struct wm_record_service s;
	bool used; /* by an instance */
	char name[];
};

struct wm_snapshot {
	bool load, meta, ended, no_scripts, no_units;
	uint64_t bytes_max;
	struct wm_snapshot_info info;
	uint64_t frames, sum;
	struct wm_buf rest; /* of what was fed: no whole frame yet */
	struct wm_buf copy; /* of a record: what is decoded points into it */
	struct wm_record_instance *decoded;
	struct wm_policy_draft policy; /* the same, of a policy */
	/* the objects, if load; rows stand in no order, so a node may be met by its instances
	 * first, and has a row once its own came */
	struct wm_map *leases, *nodes, *policies;
	struct wm_node *self; /* of the agent that saved it; in no map */
	bool self_seen;
	size_t services_used; /* leases that were found to be */
	char node_id[65];
	struct wm_store *to; /* every row goes there too; NULL: nowhere */
};

/** wm_snapshot_end() in parts: is the stream whole? */
int wm_snapshot_whole(const struct wm_snapshot *s, struct wm_err *e);
/** Was there a row of the node, and of the service of the instance? */
int wm_snapshot_judge_node(const struct wm_snapshot *s, const struct wm_node *n, struct wm_err *e);
int wm_snapshot_judge_instance(struct wm_snapshot *s, struct wm_instance *i, struct wm_err *e);

/* --- for jobs of the store's thread: saving without the loop --- */
struct wm_save;
/** As wm_save_begin(), but it begins with the first step. */
int wm_save_new(struct wm_writer *w, const struct wm_save_about *about, struct wm_save **ret,
		struct wm_err *e);
/** The next part, as wm_save_fn is told of it. On the thread. */
int wm_save_step(struct wm_save *s, struct wm_store *store, struct wm_buf *out, struct wm_err *e);
/** No more steps. On the thread, as the last but for wm_save_free() on the loop. NULL ok. */
void wm_save_shut(struct wm_save *s);
void wm_save_free(struct wm_save *s);
