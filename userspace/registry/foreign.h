/* SPDX-License-Identifier: Apache-2.0 */
/* foreign.h - the registry in a mesh: what other agents say goes the one way of a write, with the
 * versions that they gave it, and what this agent says is told once it is durable. It knows nothing
 * of how news travels. Objects are of three kinds: this agent's own; foreign ones, of another
 * agent's log, which is their only writer; shared ones, which any agent may write. Where two say
 * the same name, an agent's word on its own node stands above a shared one.
 * Threading: loop thread only. Spec: docs/architecture.md, "Objects of others". */
#pragma once
#include "registry.h"
#include "userspace/base/buf.h"

#include <stddef.h>

/* An object or a tombstone, as it is to be from now on. Borrowed during the call. */
struct wm_foreign_change {
	/* FOREIGN: `writer` is whose log; SHARED: who wrote it. Never OWN. */
	struct wm_version version;
	const char *node; /* SHARED: its node's name, in any case. FOREIGN: not looked at */
	const char *id;	  /* of the instance; "" is the node */
	bool gone;	  /* a tombstone */
	/* The instance is not wanted here any more, whatever its version: it goes without a
	 * tombstone, with its node if nothing else is on it, and comes back as it was. */
	bool forget;
	/* FOREIGN, of a node that a source of this agent brings (source/source.h): `writer` is such
	 * a one's id, and nobody else's. It is kept whether there are other agents or not, told to
	 * none, leaves no tombstone, and takes no agent's name, be that alive or not. */
	bool source;
	/* This agent wrote it while its clock was ahead, and it has a lower version from now on. */
	bool mended;
	uint64_t gone_ms;   /* when, since 1970 */
	const char *semver; /* SHARED, gone: `version` metadata of what went; NULL: none */
	const void *object; /* what wm_registry_object_encode() gave; NULL if gone */
	size_t len;
};

/* What became of the changes of a call. */
struct wm_foreign_result {
	unsigned taken;	    /* stored; of these, */
	unsigned unchanged; /* nothing but the version was new: nobody was told */
	unsigned stale;	    /* something as new or newer was here */
	unsigned refused;   /* for what they say: they will be again */
	unsigned failed;    /* not stored: out of memory, or the store refused. Tell them again */
	int code;	    /* of the first that was refused or failed, 0: none */
	char text[WM_ERR_TEXT_MAX]; /* names it */
};
/** Once, when all of them are stored and applied, or refused; within the call if none is left to be
 *  stored. */
typedef void (*wm_foreign_done)(void *arg, const struct wm_foreign_result *result);

/** Put or remove objects of others. Each change is judged by itself, in their order: one that is
 *  refused does not keep the others. Those of a call share transactions, as far as a turn's time
 *  reaches. Refused are, with a code: what cannot be read or breaks the rules for clients
 *  (WM_E_INVALID, WM_E_LIMIT, WM_E_STORE_VERSION: of a newer agent); what would overwrite this
 *  agent's own, or a node of this agent's name or of another agent that is alive (WM_E_CONFLICT);
 *  what is over a limit (WM_E_CAPACITY). An object that is the same but for its version is not
 *  announced.
 *  @return 0: @p done follows, later; WM_E_BUSY: too many writes wait, nothing was taken; -ENOMEM.
 *  Cost: decoding, O(octets); the rest is the queue's. */
int wm_registry_foreign(struct wm_registry *r, const struct wm_foreign_change *changes,
			unsigned count, wm_foreign_done done, void *arg, struct wm_err *e);
/** Everything of an agent goes, with its tombstones, bit by bit, and leaves none. Shared instances
 *  that others wrote onto its node stay, on a node of the catalog. @p done as of other writes.
 *  @return 0 queued (also if nothing is known of it), WM_E_CONFLICT (it is this agent), WM_E_BUSY,
 *  -ENOMEM. */
int wm_registry_forget_origin(struct wm_registry *r, const struct wm_peer_id *id,
			      wm_registry_done done, void *arg, struct wm_err *e);

/* --- outward ---------------------------------------------------------------------------------- */
/* A word of a log, without its object. Valid during the call. */
struct wm_logged {
	struct wm_version version;
	struct wm_peer_id origin; /* OWN: this agent; FOREIGN: whose; SHARED: who wrote it */
	const char *node;	  /* its node's name in lower case */
	const char *id;		  /* "" is the node */
	bool gone;
	uint64_t gone_ms;   /* since 1970 */
	const char *semver; /* SHARED, gone: `version` metadata of what went; NULL: none */
};
/** @p fn hears of each change of this agent's own objects, in the order of its log, within a run
 * without a gap, and of each shared one written here: it is durable and applied. What changed twice
 * before that is told twice, as it is by then. One listener; NULL: nobody. */
void wm_registry_on_logged(struct wm_registry *r, void (*fn)(void *arg, const struct wm_logged *l),
			   void *arg);
/** Each object and each tombstone that the registry has, of all origins but sources, in no order:
 *  for the start. Ends when @p fn returns other than 0, with that. */
int wm_registry_walk_objects(struct wm_registry *r, int (*fn)(void *arg, const struct wm_logged *l),
			     void *arg);
/** Append the octets of an object as it is now, for wm_foreign_change.object.
 *  @param origin of which agent's log (this one's, or another's); not looked at if @p shared
 *  @param node of a shared one, in any case; else not looked at
 *  @return 0; WM_E_UNKNOWN: there is none (it is gone, not there yet, stands aside for an agent's
 *  own, or is a source's); -ENOMEM. */
int wm_registry_object_encode(struct wm_registry *r, const struct wm_peer_id *origin, bool shared,
			      const char *node, const char *id, struct wm_buf *b);
/** Clocks of shared objects that are drawn are above @p clock, and the time's, from here on: what
 * this agent drew above it while its clock was ahead is written anew (wm_foreign_change.mended). */
void wm_registry_set_clock(struct wm_registry *r, uint64_t clock);
/** This agent's id and the epoch of its log. */
void wm_registry_origin(const struct wm_registry *r, struct wm_peer_id *ret_id,
			uint32_t *ret_epoch);

/** Last number of this agent's log. */
uint64_t wm_registry_log_seq(const struct wm_registry *r);
/** The last one that was found in the store, before this run drew any. */
uint64_t wm_registry_stored_seq(const struct wm_registry *r);
/** The store is of an earlier day: others know numbers of the log that are not here. Its epoch
 * becomes a new one above @p above, stored with the next batch, which is soon; numbers go on.
 * @return it. */
uint32_t wm_registry_new_epoch(struct wm_registry *r, uint32_t above);

/* --- whose it is, and whether it is alive ----------------------------------------------------- */
struct wm_registry_owner {
	enum wm_version_origin origin;
	struct wm_peer_id id;	     /* OWN, FOREIGN: whose; SHARED: who wrote it, may be none */
	const struct wm_node *agent; /* the agent's node; NULL: SHARED. Valid until the turn ends */
};
/** @p node NULL: this agent's. @p id "" is the node. @return 0, WM_E_UNKNOWN. */
int wm_registry_owner(const struct wm_registry *r, const char *node, const char *id,
		      struct wm_registry_owner *ret);

#define WM_SERF_ID    "serfHealth" /* of the check that says whether a node's agent is alive */
#define WM_SERF_NAME  "Serf Health Status"
#define WM_SERF_ALIVE "Agent alive and reachable"
#define WM_SERF_DEAD  "Agent not live or unreachable"
/** What this agent thinks of the agent of a foreign node: the status of the node's check
 *  serfHealth, which is neither stored nor told to others. All that is on the node leaves the
 *  tables with it, and comes back. @p output NULL: Consul's words. New nodes are alive, and all are
 *  after a restart, unless wm_registry_ask_alive() says otherwise.
 *  @return 0, WM_E_UNKNOWN: there is no such foreign node, -ENOMEM. */
int wm_registry_set_alive(struct wm_registry *r, const char *node, bool alive, const char *output);
/** @p fn is asked when the node of another agent appears here: is that alive? NULL: they are. */
void wm_registry_ask_alive(struct wm_registry *r,
			   bool (*fn)(void *arg, const struct wm_peer_id *id), void *arg);

/** Where another rule than the clock decides between two writes of a shared object, @p fn is asked
 *  before one is written here: does it stand against @p here, what is there (NULL: nothing, perhaps
 *  a tombstone)? @return 0, or a code with a sentence. What others say of shared objects was judged
 *  by that rule then, and is taken whatever its clock. NULL: the clock decides. */
struct wm_registry_stand {
	const char *node; /* in lower case */
	const struct wm_instance *here, *in;
};
void wm_registry_ask_stands(struct wm_registry *r,
			    int (*fn)(void *arg, const struct wm_registry_stand *s,
				      struct wm_err *e),
			    void *arg);
/** What is written here of shared objects has this priority from now on. @p decides: the higher one
 *  stands whatever the clock, so what would lose is refused before it is stored (WM_E_CONFLICT). */
void wm_registry_set_priority(struct wm_registry *r, uint32_t priority, bool decides);

/* X(name, help) makes reference pages. */
#define WM_FOREIGN_COUNTERS(X)                                                                     \
	X(taken, "Changes of other agents stored")                                                 \
	X(unchanged, "Of these, that had nothing new but their version")                           \
	X(stale, "Changes of other agents that were older than what was here")                     \
	X(refused, "Changes of other agents refused for what they say")                            \
	X(failed, "Changes of other agents that the store did not take")
struct wm_foreign_stats {
#define X(name, help) uint64_t name;
	WM_FOREIGN_COUNTERS(X)
#undef X
};
void wm_registry_foreign_stats(const struct wm_registry *r, struct wm_foreign_stats *ret);
