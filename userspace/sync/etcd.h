/* SPDX-License-Identifier: Apache-2.0 */
/* etcd.h - the carrier "etcd": what this agent registers is put under a prefix, a lease says that
 * its node lives, one watch brings what others put. It stands in the place of member, spread and
 * replica: it takes own changes and gives those of others by the same kind of struct. The order of
 * changes is etcd's. etcd away: nothing is deleted and nobody dies, what changed here meanwhile
 * follows. Speaks the JSON gateway of etcd 3.4 and later. Threading: loop thread only.
 *
 * Keys behind the prefix:
 *   mode                      who may write here, and in which format
 *   n/<node id>               under the lease of a node: it lives
 *   m/<node id>               under a lease of forget_s: it is known; who is not is removed
 *   o/<node id>/<key>         an object of its log
 *   s/<node>/<id>             a shared object, written by compare-and-swap
 *   q/<node id>               under its lease: it asks all to compare themselves with etcd
 *   a/<node id>/<node id>     under the asker's lease: what the second found
 * Values: etcd_code.h. */
#pragma once
#include "verify.h"

struct wm_http_client;

#define WM_ETCD_ENDPOINTS_MAX 16
#define WM_ETCD_ENDPOINT_MAX  256	    /* octets of one */
#define WM_ETCD_PREFIX_MAX    128	    /* octets */
#define WM_ETCD_OBJECT_MAX    (1280u << 10) /* octets: etcd takes requests of 1.5 MiB */
#define WM_ETCD_PENDING_MAX                                                                        \
	(64u << 20)		   /* octets of copies of what waits; beyond it is read again */
#define WM_ETCD_LEASE_S		15 /* default: a node is dead after it */
#define WM_ETCD_FORGET_S	(72 * 3600) /* default: a dead node is removed for ever after it */
#define WM_ETCD_TOMBSTONE_S	(24 * 3600) /* a removed shared object is remembered so long */
#define WM_ETCD_OWN_TOMBSTONE_S 600	    /* one of a log: who was away longer lists anyway */
#define WM_ETCD_ANSWER_MS	30000 /* of silence of all who were asked to compare themselves */
#define WM_ETCD_FORMAT		1

/** "http://host:port" or "https://...", without a path. @return 0, WM_E_INVALID; @p e says what. */
int wm_etcd_endpoint_check(const char *endpoint, struct wm_err *e);
/** Begins and ends with '/'. @return as above. */
int wm_etcd_prefix_check(const char *prefix, struct wm_err *e);

struct wm_etcd;
struct wm_etcd_config {
	const struct wm_env *env;
	/* Of its own: the watch holds a place of it for ever. Borrowed, must outlive this. */
	struct wm_http_client *http;
	const char *const *endpoints;		    /* "https://10.0.0.1:2379", NULL-terminated */
	const char *prefix;			    /* ends with '/' */
	const char *user;			    /* NULL or "": no authentication */
	const char *password_file;		    /* read at each authentication */
	const char *ca_file, *cert_file, *key_file; /* PEM; NULL or "": the system's, none */
	unsigned lease_s, forget_s;		    /* 0: the defaults above */
	struct wm_peer_id id; /* our node's; and what others are to know of it */
	const char *name, *address, *version;
	unsigned objects_max; /* of all nodes; 0: no bound */
	/* Where etcd is not the one that was known, what it lacks waits for the word of its node;
	 * more than so much of all objects is an alarm; 0: 30 */
	unsigned brake_pct;
	/* The cluster and revision that this agent's store came from, 0: unknown. Where they are
	 * kept over a restart, what was deleted meanwhile is told from what etcd has lost. */
	uint64_t known_cluster;
	int64_t known_revision;
	void *arg; /* of all below */
	/* As of wm_replica_config. take() may come from any turn of the loop, and may call
	 * wm_etcd_own(); what WM_E_BUSY refuses comes again within 50 ms. A removal that was told
	 * by absence bears the version that follows the one of what is removed. */
	int (*read)(void *arg, const struct wm_peer_id *origin, bool shared,
		    const struct wm_replica_key *k, struct wm_buf *b);
	int (*take)(void *arg, const struct wm_replica_change *c, unsigned count);
	/* A node lives, or lives no more; told once, and at each change. @p name is "" where only
	 * its objects are known. */
	void (*alive)(void *arg, const struct wm_peer_id *id, const char *name, bool is);
	/* A node was removed for ever: its objects were given as gone before. NULL ok. */
	void (*forgot)(void *arg, const struct wm_peer_id *id);
	/* As of wm_replica_config; NULL ok. */
	void (*conflict)(void *arg, const struct wm_replica_change *won,
			 const struct wm_replica_change *lost);
	void (*alarm)(void *arg, const struct wm_peer_id *about, const char *sentence);
};

/** @return 0; WM_E_INVALID (an endpoint, the prefix, a user without password_file), -ENOMEM, the
 *  errno of a file that cannot be read; @p e says what. Everything is copied. */
int wm_etcd_new(const struct wm_etcd_config *c, struct wm_etcd **ret, struct wm_err *e);
/** Nothing is sent any more: the lease ends by itself, so that an agent that comes back was never
 *  away. NULL ok. Not from a callback. */
void wm_etcd_free(struct wm_etcd *e);
/** Before the start: an object or tombstone, of whomever, that the store has. @return 0, -ENOMEM,
 *  -ENOSPC (objects_max), -EINVAL (its key). */
int wm_etcd_recover(struct wm_etcd *e, const struct wm_replica_change *c);
/** Begin. @return 0, -ENOMEM. */
int wm_etcd_start(struct wm_etcd *e);
/** A change of our own, or a shared one that we wrote: it is durable. Copied. Newer ones of the
 *  same object take the place of older that wait. @return as of wm_etcd_recover(); -EMSGSIZE above
 *  WM_ETCD_OBJECT_MAX: counted, and told as an alarm. */
int wm_etcd_own(struct wm_etcd *e, const struct wm_replica_change *c);
/** Does etcd have what we said last of this object of our log? */
bool wm_etcd_has_own(struct wm_etcd *e, const struct wm_replica_key *k);
/** Leave for good: take our node and its objects out of etcd. It is tried until it is done: then
 *  @p done runs, NULL ok, and nothing is sent any more. */
void wm_etcd_leave(struct wm_etcd *e, void (*done)(void *arg), void *arg);

/** An operator looked at what is held and lets it be removed: of one node, or all and shared ones
 *  (NULL). @return removals that were held. */
unsigned wm_etcd_let_go(struct wm_etcd *e, const struct wm_peer_id *node);

/** Have this agent and all that live compare themselves with what etcd holds now. The first member
 * of the result is etcd, without an id: `here` is what this agent has, `there` what etcd holds;
 * silent: etcd did not answer for 10 s. The others are agents: `here` is what etcd holds, `there`
 * what the agent has; silent: it died, or told nothing for WM_ETCD_ANSWER_MS. @return 0; WM_E_BUSY:
 * one is under way; -ENOMEM. */
int wm_etcd_verify(struct wm_etcd *e, wm_verify_done done, void *arg);

enum wm_etcd_phase {
	WM_ETCD_CONNECTING, /* no endpoint has answered yet, or none does now */
	WM_ETCD_JOINING,    /* leases, and what others have */
	WM_ETCD_FOLLOWING,  /* the watch is open */
	WM_ETCD_REFUSED,    /* the prefix, or our id, is another's: tried again each minute */
	WM_ETCD_LEFT,
};
/** "connecting", "joining", "following", "refused", "left". */
const char *wm_etcd_phase_str(enum wm_etcd_phase p);
struct wm_etcd_state {
	enum wm_etcd_phase phase;
	const char *endpoint; /* in use; borrowed until freed */
	const char *error; /* why the last call failed, "" if it did not; borrowed until a turn */
	uint64_t cluster;  /* 0: none has answered yet */
	int64_t revision;  /* all changes up to it are here */
	int64_t lease;	   /* 0: none */
	uint64_t lease_left_ms;
	unsigned pending; /* changes that etcd has not yet */
	size_t pending_octets;
	unsigned objects, nodes, alive;
	unsigned held; /* removals held by the brake */
};
void wm_etcd_state(const struct wm_etcd *e, struct wm_etcd_state *ret);
/** Milliseconds since etcd last answered while its watch was open, or since the start. @return
 * whether it is open. Cost O(1). */
bool wm_etcd_contact(const struct wm_etcd *e, uint64_t *ret_ms);
/** Does the node live? @return 1, 0, -1: nothing is known of it. Cost O(1). */
int wm_etcd_lives(const struct wm_etcd *e, const struct wm_peer_id *id);
/** Walk over nodes: *pos = 0 at first, not beside changes. @return false: no more. */
struct wm_etcd_node_state {
	struct wm_peer_id id;
	const char *name, *address, *version; /* "": unknown; borrowed */
	bool alive, self;
	unsigned objects;
};
bool wm_etcd_next(const struct wm_etcd *e, size_t *pos, struct wm_etcd_node_state *ret);

/* X(name, help) makes reference pages. */
#define WM_ETCD_COUNTERS(X)                                                                        \
	X(calls, "Calls of etcd")                                                                  \
	X(failed, "Calls of etcd that failed")                                                     \
	X(failovers, "Changes to another endpoint")                                                \
	X(logins, "Authentications")                                                               \
	X(own, "Changes of this agent's that etcd has")                                            \
	X(txns, "Transactions that put them")                                                      \
	X(applied, "Changes of others taken over")                                                 \
	X(stale, "Changes of others that were known already")                                      \
	X(busy, "Changes that had to come again, as there was no room")                            \
	X(conflicts, "Concurrent writes of shared objects, decided")                               \
	X(lists, "Times that everything was listed")                                               \
	X(watches, "Watches opened")                                                               \
	X(compacted, "Watches and lists whose revision was compacted")                             \
	X(swept, "Objects removed as a list lacked them")                                          \
	X(braked, "Removals held back, as etcd may have lost what it lacks")                       \
	X(restored, "Objects that etcd had lost and was given again")                              \
	X(leases_lost, "Leases of this node that ran out")                                         \
	X(clashes, "Times that our node's key was another agent's")                                \
	X(forgotten, "Nodes removed for ever")                                                     \
	X(ahead, "Shared changes held back, as their clock is ahead of ours")                      \
	X(too_large, "Objects that etcd would not take")                                           \
	X(malformed, "Answers and values that could not be read")                                  \
	X(full, "Objects not taken, as the bound is reached")
struct wm_etcd_stats {
#define X(name, help) uint64_t name;
	WM_ETCD_COUNTERS(X)
#undef X
};
void wm_etcd_stats(const struct wm_etcd *e, struct wm_etcd_stats *ret);
