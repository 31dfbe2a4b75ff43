/* SPDX-License-Identifier: Apache-2.0 */
/* history.h - the newest word on every object, in the order in which it was announced, and of what
 * is gone a tombstone. One list, which all read who come back from somewhere: event streams by
 * index, and by number in its origin's log whoever holds a copy of that. An object that changes
 * again moves to the end, so the history is as long as there are objects and tombstones.
 * Threading: loop thread only. Spec: docs/architecture.md, "Versions and history". */
#pragma once
#include "userspace/model/object.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define WM_TOMBSTONES_MAX 1000000 /* some 200 octets each; the oldest go first */
#define WM_TOMBSTONE_TTL_S                                                                         \
	86400 /* config's default: who was away for longer reads everything anew */
#define WM_TOMBSTONES_EXPIRED 256 /* that go with one batch */

/* An instance that is gone, or with id "" a node. */
struct wm_tombstone {
	struct wm_past past; /* first */
	TAILQ_ENTRY(wm_tombstone) by_age;
	struct wm_version version;
	uint64_t row;			 /* store's: the object's */
	uint64_t when_s;		 /* since 1970 */
	const char *node, *id, *service; /* the node's name in lower case; the service's as shown */
	const char *semver;		 /* `version` metadata of a shared one; NULL: none */
	bool expired;			 /* its row is being deleted */
	uint32_t len;
	char key[]; /* origin, node, NUL, id: what one origin wrote anew is no news of the other */
};
TAILQ_HEAD(wm_tombstones, wm_tombstone);

/** The tombstone that a word is; NULL: what it is on is there. */
static inline struct wm_tombstone *wm_past_tomb(struct wm_past *p)
{
	return p->gone ? (struct wm_tombstone *)p : NULL;
}

#define WM_NUMBERS_PER_MS 1024 /* of a run that ended: more than it can have drawn */
struct wm_map;
struct wm_history {
	struct wm_pasts all, log; /* of this agent's own */
	struct wm_tombstones tombs;
	struct wm_map *by_key;
	unsigned count;	 /* of tombstones */
	uint64_t floor;	 /* newest index of which something was forgotten */
	uint64_t seq;	 /* last number of this agent's log that was drawn, be it stored or not */
	uint64_t run;	 /* lowest number that is drawn in this run: none is given twice, though the
			  * store be of an earlier day */
	uint64_t stored; /* last number that the store had when it was opened */
	uint64_t clock;	 /* newest of the shared log's */
	uint32_t priority; /* of this node, in what it writes of the shared log */
	uint64_t extinct;  /* newest index under which a service went */
};

/** @return 0, -ENOMEM. */
int wm_history_init(struct wm_history *h);
void wm_history_done(struct wm_history *h);
/** The newest word is about @p i, announced under @p index. */
void wm_history_touch(struct wm_history *h, struct wm_instance *i, uint64_t index);
/** What is stored of @p i has another version. */
void wm_history_log(struct wm_history *h, struct wm_instance *i);
void wm_history_log_word(struct wm_history *h, struct wm_past *p);
const struct wm_version *wm_past_version(struct wm_past *p);
void wm_history_leave(struct wm_history *h, struct wm_instance *i);
/** A tombstone for @p i, of a node if it is a holder. The caller owns it. @p semver: what a shared
 *  one said of its version; NULL: nothing. @return NULL w/o memory. */
struct wm_tombstone *wm_tombstone_new(const struct wm_instance *i, uint64_t row,
				      const char *semver);
/** Room for one; then it takes one over. */
int wm_history_reserve(struct wm_history *h);
void wm_history_bury(struct wm_history *h, struct wm_tombstone *t, uint64_t index);
void wm_history_unbury(struct wm_history *h, struct wm_tombstone *t); /* frees it */
/** Of an origin's instance or node, by its name in lower case. NULL: none. */
struct wm_tombstone *wm_history_tomb(const struct wm_history *h, enum wm_version_origin o,
				     const char *node, const char *id);
/** The version of what is stored next. Numbers of this agent's log are given back by setting
 *  h->seq, as long as nobody saw them. */
struct wm_version wm_history_draw(struct wm_history *h, enum wm_version_origin o, uint32_t epoch,
				  uint64_t wall_ms);
