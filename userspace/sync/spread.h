/* SPDX-License-Identifier: Apache-2.0 */
/* spread.h - news at once, to all, along a tree: Plumtree (Leitão, Pereira, Rodrigues 2007). A
 * message goes eagerly over the links of the tree and as an id over the others; one that is missing
 * is grafted, a duplicate prunes its link. Which members are linked is chosen here: near ones, and
 * a few far ones so that the tree stays shallow. Pure: streams are the carrier's, ordered and
 * reliable while they last. Repair of what was lost with a stream is the replica's. Threading: loop
 * thread only. */
#pragma once
#include "peer.h"
#include "userspace/base/env.h"

#include <stddef.h>

#define WM_SPREAD_LINKS	      4	 /* links that a node asks for; about twice as many it has */
#define WM_SPREAD_FAR	      2	 /* of these, to members chosen without regard to distance */
#define WM_SPREAD_LINKS_MAX   16 /* links that it accepts: more are told to go elsewhere */
#define WM_SPREAD_PAYLOAD_MAX (256u << 10) /* octets of a message: a batch of changes */
#define WM_SPREAD_FRAME_MAX                                                                        \
	(WM_SPREAD_PAYLOAD_MAX + 1024) /* octets of what is sent over a link                       \
					*/
#define WM_SPREAD_KEPT_MAX (8u << 20)  /* octets of messages kept for who lacks them */
#define WM_SPREAD_KEPT_MS  10000       /* milliseconds that they are kept */
#define WM_SPREAD_IDS_MAX  65536       /* ids remembered, so that nothing comes twice */

struct wm_spread;
struct wm_spread_config {
	const struct wm_env *env;
	struct wm_peer_id id;
	unsigned links, far; /* 0: the constants above */
	unsigned graft_ms; /* how long an id may be known before its message is asked for; 0: 1.5 x
			    * the round trip of the link, 10 at least */
	void *arg;
	/* Hold a stream to a member, or need it no more: then wm_spread_up() or _down() tells,
	 * within this call or later. */
	void (*want)(void *arg, const struct wm_peer_id *id, bool on);
	/* WM_SPREAD_FRAME_MAX octets at most. Must not call wm_spread_up() or _down(). */
	void (*send)(void *arg, const struct wm_peer_id *to, const void *p, size_t len);
	/* A message, once. May send another. */
	void (*deliver)(void *arg, const struct wm_peer_id *from, const void *payload, size_t len);
	/* In its place, and before it is passed on: is it to be? NULL: all is. */
	bool (*admit)(void *arg, const struct wm_peer_id *from, const void *payload, size_t len);
	/* Estimated round trip to a member in microseconds, 0: unknown. NULL: none is known. */
	uint32_t (*distance_us)(void *arg, const struct wm_peer_id *id);
};

struct wm_spread *wm_spread_new(const struct wm_spread_config *c);
void wm_spread_free(struct wm_spread *s); /* NULL ok */
/** A member that may be linked is there, or is no more (failed, left). @return 0, -ENOMEM. */
int wm_spread_member(struct wm_spread *s, const struct wm_peer_id *id, bool there);
/** A stream to a member stands, whoever opened it; or broke. */
void wm_spread_up(struct wm_spread *s, const struct wm_peer_id *id);
void wm_spread_down(struct wm_spread *s, const struct wm_peer_id *id);
/** What a member sent over its stream. @return 0, WM_E_INVALID: it cannot be read, end the stream.
 */
int wm_spread_receive(struct wm_spread *s, const struct wm_peer_id *from, const void *p,
		      size_t len);
/** Send a message to all. Copied. @return 0, -ENOMEM, -EMSGSIZE. */
int wm_spread_send(struct wm_spread *s, const void *payload, size_t len);
/** Is there a link over which news would come? */
unsigned wm_spread_linked(const struct wm_spread *s);

#define WM_SPREAD_COUNTERS(X)                                                                      \
	X(sent, "Messages begun here")                                                             \
	X(delivered, "Messages of others received, each once")                                     \
	X(duplicates, "Messages that had come already")                                            \
	X(grafts, "Messages asked for, as only their id had come")                                 \
	X(prunes, "Links that became lazy")                                                        \
	X(missed, "Messages asked for that nobody had any more: repaired by comparison")           \
	X(malformed, "Messages that could not be read")                                            \
	X(octets_out, "Octets sent")                                                               \
	X(octets_in, "Octets received")
struct wm_spread_stats {
#define X(name, help) uint64_t name;
	WM_SPREAD_COUNTERS(X)
#undef X
	unsigned eager, lazy; /* links now */
};
void wm_spread_stats(const struct wm_spread *s, struct wm_spread_stats *ret);
