/* SPDX-License-Identifier: Apache-2.0 */
/* foreign_internal.h - what foreign.c (changes are read and queued) and foreign_ops.c (the writes)
 * share. Inside registry/ only. */
#pragma once
#include "foreign.h"
#include "internal.h"
#include "plan.h"

/* What a call waits for. */
struct wm_foreign_call {
	struct wm_registry *r;
	wm_foreign_done done;
	void *arg;
	unsigned waiting; /* writes, and the call itself until all are queued */
	struct wm_foreign_result result;
};

struct wm_foreign_op {
	struct wm_op op; /* its id: of the instance, "" is the node; its node: as it says */
	struct wm_foreign_call *call;
	struct wm_version version;
	char origin[WM_PEER_ID_TEXT]; /* of FOREIGN ones */
	bool gone, forget, mended, source;
	uint64_t when_s;
	char *semver;		/* of what is gone; NULL: none */
	struct wm_node *facts;	/* of a node; NULL: taken */
	struct wm_instance *in; /* an instance, or the checks of `facts`; NULL: gone, or taken */
	/* how it was judged */
	bool stale, quiet;	 /* quiet: the same but for version and statuses */
	struct wm_node *leaves;	 /* node of the origin under another name; NULL: none */
	bool clears;		 /* what the former agent of that name said goes first */
	struct wm_instance *old; /* in the view, of the same origin */
	struct wm_tombstone *tomb;
};
/** Count an answer, and tell who asked once it was the last; @p changed: not the version alone. */
void wm_foreign_answer(struct wm_foreign_call *c, int code, const char *text, bool stale,
		       bool changed);
struct wm_forget_op {
	struct wm_op op;
	struct wm_peer_id origin;
};
extern const struct wm_op_kind wm_op_foreign, wm_op_forget; /* foreign_ops.c */
