/* SPDX-License-Identifier: Apache-2.0 */
/* interest_serve.h - the other side of interest.h: which leaves a full member serves, with which
 * services. Changes of some milliseconds are one message to each; many of one service are its whole
 * again. Pure. Threading: loop thread only. Spec: docs/architecture.md, "Leaves". */
#pragma once
#include "interest.h"
#include "userspace/model/model.h"

#define WM_SERVE_LEAVES_MAX 4096  /* leaves of one full member */
#define WM_SERVE_MS	    5	  /* changes gather for so long */
#define WM_SERVE_CHANGES    256	  /* of one service in that time; more: the whole */
#define WM_SERVE_QUIET_MS   60000 /* a leaf that did not renew for so long is served no more */

/* An instance that changed. */
struct wm_serve_change {
	char node[WM_NODE_NAME_MAX + 1]; /* lower case */
	char id[WM_INSTANCE_ID_MAX + 1];
	struct wm_version version;
	struct wm_peer_id origin; /* whose log, or who wrote it */
	bool gone;		  /* from the service, under this version */
};

struct wm_serve;
struct wm_serve_config {
	const struct wm_env *env;
	void *arg;
	/* Send the whole of a service, @return messages that it took: the first has number 1. */
	uint32_t (*whole)(void *arg, const struct wm_peer_id *leaf, const char *service);
	/* Send changes as message @p number. */
	void (*changes)(void *arg, const struct wm_peer_id *leaf, const char *service,
			uint32_t number, const struct wm_serve_change *c, unsigned count);
	/* Send the names of services that fit a glob, as message 1. */
	void (*names)(void *arg, const struct wm_peer_id *leaf, const char *glob);
	/* Send one more that fits. */
	void (*name)(void *arg, const struct wm_peer_id *leaf, const char *glob, uint32_t number,
		     const char *service);
	/* It is not served: too many. */
	void (*refuse)(void *arg, const struct wm_peer_id *leaf, const char *name);
};
struct wm_serve *wm_serve_new(const struct wm_serve_config *c);
void wm_serve_free(struct wm_serve *s); /* NULL ok */
/** A leaf asks, see wm_interest_config.ask. @return 0; WM_E_LIMIT (it is refused), -ENOMEM. */
int wm_serve_asked(struct wm_serve *s, const struct wm_peer_id *leaf, const char *name,
		   uint32_t number, bool end);
/** Who is no leaf of this mesh asked: counted, nothing is sent, what it had ends. */
void wm_serve_stranger(struct wm_serve *s, const struct wm_peer_id *who);
/** Objects were sent to a leaf. */
void wm_serve_sent(struct wm_serve *s, const struct wm_peer_id *leaf, size_t objects);
/* What one leaf has. */
struct wm_serve_leaf {
	unsigned services, globs;
	uint64_t objects; /* sent since it asked first */
};
/** @return false: nothing is served to it. */
bool wm_serve_leaf(const struct wm_serve *s, const struct wm_peer_id *leaf,
		   struct wm_serve_leaf *ret);
/** It failed, left, or its stream broke. */
void wm_serve_gone(struct wm_serve *s, const struct wm_peer_id *leaf);
/** Is anybody subscribed to it? Cheap. */
bool wm_serve_wanted(const struct wm_serve *s, const char *service);
/** An instance of the service changed. Cost O(changes gathered). */
void wm_serve_changed(struct wm_serve *s, const char *service, const struct wm_serve_change *c);
/** A service appeared. */
void wm_serve_created(struct wm_serve *s, const char *service);

#define WM_SERVE_COUNTERS(X)                                                                       \
	X(wholes, "Services sent whole to leaves")                                                 \
	X(changes, "Messages of changes sent to leaves")                                           \
	X(refused, "Subscriptions of leaves refused, as there are too many")                       \
	X(strangers, "Subscriptions of who is no leaf among the members, passed over")             \
	X(quiet, "Leaves served no more, as they did not renew")
struct wm_serve_stats {
#define X(name, help) uint64_t name;
	WM_SERVE_COUNTERS(X)
#undef X
	unsigned leaves, subscriptions;
};
void wm_serve_stats(const struct wm_serve *s, struct wm_serve_stats *ret);
