/* SPDX-License-Identifier: Apache-2.0 */
/* verify.h - what all members have, compared now, and a difference named to the object. It only
 * looks: what it finds is neither repaired nor held. Digests of logs first; of a log that differs
 * the sums of ranges of its order, and of a range that differs the objects. What is on its way is
 * no difference: each that is found is asked for again a second later, here and there, and counts
 * if the older of the two is still what it was. Compared are versions of what is there, as digests
 * are. Pure. Threading: loop thread only. */
#pragma once
#include "replica.h"

#define WM_VERIFY_FOUND_MAX 1024 /* differences that are named, of all members together */
#define WM_VERIFY_AT_ONCE   16	 /* members that are asked at a time */
#define WM_VERIFY_MS	    5000 /* a member has so long for an answer */
#define WM_VERIFY_AGAIN_MS  1000 /* before what differs is looked at again */

/* One side of a difference. */
struct wm_verify_side {
	bool known, gone; /* gone: a tombstone */
	uint32_t epoch;
	uint64_t seq;
	struct wm_peer_id writer; /* of shared objects */
	bool other;		  /* of the same version with other content; where etcd carries */
};
struct wm_verify_found {
	unsigned member;	  /* in the order in which they were given */
	struct wm_peer_id origin; /* whose log */
	bool shared;
	char node[WM_NODE_NAME_MAX + 1]; /* of shared ones */
	char id[WM_INSTANCE_ID_MAX + 1]; /* "" is the node */
	struct wm_verify_side here, there;
};
enum wm_verify_state {
	WM_VERIFY_ASKED, /* not done yet */
	WM_VERIFY_SAME,
	WM_VERIFY_DIFFERS,
	WM_VERIFY_SILENT, /* no answer: gone meanwhile, or of an older version */
};
struct wm_verify_member {
	struct wm_peer_id id;
	enum wm_verify_state state;
	unsigned found;
	bool more; /* there are differences beyond those that are named */
};
struct wm_verify_result {
	const struct wm_verify_member *members; /* in the order in which they were given */
	unsigned members_count;
	const struct wm_verify_found *found;
	unsigned found_count;
};
/** Once. What @p result points to is valid during the call; NULL: the mesh stops. */
typedef void (*wm_verify_done)(void *arg, const struct wm_verify_result *result);

struct wm_verify;
struct wm_verify_config {
	const struct wm_env *env;
	struct wm_replica *replica;
	void *arg;
	void (*ask)(void *arg, const struct wm_peer_id *to, const void *p, size_t len);
	void (*answer)(void *arg, const struct wm_peer_id *to, const void *p, size_t len);
	/* How far a member is in our log; NULL: nobody asks. */
	void (*position)(void *arg, const struct wm_peer_id *from, uint32_t epoch, uint64_t seq);
};
struct wm_verify *wm_verify_new(const struct wm_verify_config *c);
void wm_verify_free(struct wm_verify *v); /* NULL ok; who waits is told */

/** Compare with @p ids. @return 0; WM_E_BUSY: a comparison is under way; -ENOMEM. */
int wm_verify_start(struct wm_verify *v, const struct wm_peer_id *ids, unsigned count,
		    wm_verify_done done, void *arg);
/** Ask a member how far it is in this agent's log: `position` hears of it, if it answers. */
void wm_verify_ask_position(struct wm_verify *v, const struct wm_peer_id *to);
/** Messages that came. @return 0; WM_E_INVALID: it cannot be read, end the stream. */
int wm_verify_asked(struct wm_verify *v, const struct wm_peer_id *from, const void *p, size_t len);
int wm_verify_answered(struct wm_verify *v, const struct wm_peer_id *from, const void *p,
		       size_t len);
