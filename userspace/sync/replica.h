/* SPDX-License-Identifier: Apache-2.0 */
/* replica.h - who has what: the logs of all agents as versions of objects, how much of each is
 * here, and what is exchanged until all have the same. It keeps keys and versions; the objects
 * themselves are the registry's (or a simulator's), which it asks for their octets. Pure.
 * Threading: loop thread only. Spec: docs/architecture.md, "The mesh".
 *
 * An agent's own objects are in its log: (epoch, seq), which grows by one a change; news of a log
 * is applied in order, a gap is pulled. When the epoch grows, the log begins anew: it is pulled
 * whole, and what was of the former and did not come again is removed (mark and sweep), what is
 * unchanged stays untouched. Shared objects have a hybrid logical clock (Kulkarni 2014) and their
 * writer; the merge rule decides between two. They are repaired by comparing digests alone. */
#pragma once
#include "merge.h"
#include "peer.h"
#include "userspace/base/buf.h"
#include "userspace/base/env.h"
#include "userspace/base/err.h"
#include "userspace/model/model.h"
#include "userspace/security/setsum.h"

#include <stddef.h>

#define WM_REPLICA_BUCKETS    256	   /* of a digest, compared when two of them differ */
#define WM_REPLICA_PAGE_MAX   (128u << 10) /* octets of changes in one message */
#define WM_REPLICA_KEY_MAX    (WM_NODE_NAME_MAX + WM_INSTANCE_ID_MAX + 2)
#define WM_REPLICA_OBJECT_MAX (2u << 20) /* octets of an object: the store's bound of a record */
#define WM_REPLICA_AHEAD_MS   5000	 /* a clock that is further ahead of ours is held back */

/* An object's name: of an agent's log its id ("" is its node); of shared ones node NUL id. */
struct wm_replica_key {
	const void *octets;
	size_t len; /* WM_REPLICA_KEY_MAX at most */
};

/* One object as it is to be from now on. Borrowed during the call. */
struct wm_replica_change {
	struct wm_peer_id origin; /* whose log; of shared ones: who wrote it last */
	struct wm_version version;
	struct wm_replica_key key;
	bool gone; /* a tombstone */
	/* given to take(), with gone: its log is forgotten. It goes without a tombstone, whatever
	 * its version, so that it can come back as it was */
	bool forget;
	bool same; /* given to take(): what is here has these octets, only its version is new */
	uint64_t gone_ms;   /* when, since 1970 */
	const void *object; /* its octets; NULL if gone */
	size_t len;
	/* Of shared ones, what the merge rule looks at; of a tombstone, what was removed had it.
	 * `version` metadata, WM_META_VALUE_MAX octets at most; NULL: none */
	const char *semver;
};

/* How an agent proves what its log is, so that others can pass it on and not change it; a simulator
 * may have a cheap one. Of a log are proved the place where it is and the set of its objects, each
 * with its name, version and octets; not its tombstones: what they remove is missing in the set. */
#define WM_REPLICA_KEY	     32
#define WM_REPLICA_SIGNATURE 64
#define WM_REPLICA_PROOF     (4 + WM_REPLICA_SIGNATURE) /* a proof as it travels */
#define WM_REPLICA_CARD_MAX  (64u << 10) /* octets: three certificates of RSA are some 6,000 */
struct wm_replica_proofs {
	void *arg;
	/* 32 octets for which nobody finds others. @return 0, negative errno. */
	int (*hash)(void *arg, const void *head, size_t head_len, const void *p, size_t len,
		    uint8_t ret[static WM_SETSUM_HASH]);
	/* Add an element to a sum that nobody finds another set for, or take it @p out. */
	int (*add)(void *arg, struct wm_setsum *s, const uint8_t element[static WM_SETSUM_HASH],
		   bool out);
	int (*sum)(void *arg, const struct wm_setsum *s, uint8_t ret[static WM_SETSUM_HASH]);
	int (*sign)(void *arg, const void *p, size_t len, uint8_t ret[static WM_REPLICA_SIGNATURE]);
	bool (*verify)(void *arg, const uint8_t key[static WM_REPLICA_KEY], const void *p,
		       size_t len, const uint8_t signature[static WM_REPLICA_SIGNATURE]);
	/* Append what says that our key is ours; the same until that is something else. */
	int (*card)(void *arg, struct wm_buf *b);
	/* Whose key does a card say is @p origin's? @param known the one of before, NULL: none.
	 * @return 0; WM_E_INVALID: it is not believed, @p e says why; WM_E_UNKNOWN: not yet. */
	int (*judge)(void *arg, const struct wm_peer_id *origin, const void *card, size_t len,
		     const uint8_t *known, uint8_t ret[static WM_REPLICA_KEY], struct wm_err *e);
};

struct wm_replica;
struct wm_replica_config {
	const struct wm_env *env;
	struct wm_peer_id id;
	bool leaf;	     /* of our own log alone: it is compared and served, nothing is taken */
	uint32_t epoch;	     /* of our own log */
	uint64_t seq;	     /* last number given in it */
	uint64_t stored_seq; /* of them the last that was in the store at the start; 0: as `seq` */
	uint64_t contact_ms; /* wm_replica_contact_ms() of the run before; 0: none */
	uint64_t step_ms; /* since 1970: when wm_replica_step_ms() of the run before was 0 last; 0:
			   * not known */
	const struct wm_merge_rule *rule; /* of shared objects; NULL: hlc */
	/* NULL: nobody proves anything. Else a log is taken of others only as its agent proved it.
	 */
	const struct wm_replica_proofs *proofs;
	unsigned objects_max;
	uint64_t tombstone_min_ms, tombstone_max_ms; /* 24 h, 72 h if 0 */
	unsigned brake_pct; /* removals of more than so much of all objects, told by another than
			     * their origin, are held back; 0: 30 */
	void *arg;
	/* Append the octets of an object that is here. @return 0; WM_E_UNKNOWN: it is not (yet). */
	int (*read)(void *arg, const struct wm_peer_id *origin, bool shared,
		    const struct wm_replica_key *k, struct wm_buf *b);
	/* Changes that are new here, in their order: store and apply them, all or none. They were
	 * judged: of a log that began anew an object may come back with a lower version, and what
	 * is swept goes under the version that it has here. @return 0; WM_E_BUSY: not now, they
	 * will be pulled again. */
	int (*take)(void *arg, const struct wm_replica_change *c, unsigned count);
	/* A message to one member, over its stream. */
	void (*send)(void *arg, const struct wm_peer_id *to, const void *p, size_t len);
	/* A message to all, WM_SPREAD_PAYLOAD_MAX octets at most. */
	void (*spread)(void *arg, const void *p, size_t len);
	/* A conflict was decided; what lost, for the audit list. NULL ok. */
	void (*conflict)(void *arg, const struct wm_replica_change *won,
			 const struct wm_replica_change *lost);
	/* Others know more of our log than is here: this store is of an earlier day. Begin a new
	 * epoch above @p above, store it and @return it; 0: not now, it will be asked again. The
	 * numbers go on, objects keep their versions. */
	uint32_t (*restored)(void *arg, uint32_t above);
	/* Something is held back or wrong, for the log: one sentence. NULL ok. */
	void (*alarm)(void *arg, const struct wm_peer_id *about, const char *sentence);
};

struct wm_replica *wm_replica_new(const struct wm_replica_config *c);
void wm_replica_free(struct wm_replica *r); /* NULL ok */

/** At the start: an object or tombstone that the store has, with its octets if there are proofs.
 *  Nothing is sent. @return 0, -ENOMEM. */
int wm_replica_recover(struct wm_replica *r, const struct wm_replica_change *c);
/* What was proved of another's log, to be kept over a restart. Borrowed. */
struct wm_replica_proved {
	struct wm_peer_id origin;
	uint32_t epoch;
	uint64_t seq;
	const uint8_t *proof, *key; /* WM_REPLICA_PROOF, WM_REPLICA_KEY */
	const void *card;
	size_t card_len;
};
/** Walk over them: *pos = 0 at first, not beside changes. @return false: no more. */
bool wm_replica_next_proved(const struct wm_replica *r, size_t *pos, struct wm_replica_proved *ret);
/** At the start, once all was recovered: one of the run before. It is held if it proves what was
 *  recovered; whose key it is was judged then. @return whether it does. */
bool wm_replica_prove(struct wm_replica *r, const struct wm_replica_proved *p);
/** A change of our own, or a shared one that we wrote: it is durable. Goes to all when this turn is
 *  over, or, where others went within 5 ms, with all that came in this time. In the order of the
 * log. @return 0, -ENOMEM. */
int wm_replica_own(struct wm_replica *r, const struct wm_replica_change *c);

/** Would a shared object that is about to be written here stand, by the rule, against what is here,
 * a tombstone too? Asked before it is stored: a lower `version` never replaces a higher one under
 * `semver`. @param ret_semver NULL ok: the version of what is here, NULL: none; borrowed */
bool wm_replica_stands(struct wm_replica *r, const struct wm_replica_change *c,
		       const char **ret_semver);

/** Is this what @p who says of its own log, and nothing else? What cannot be read is not. */
bool wm_replica_news_is_of(struct wm_replica *r, const struct wm_peer_id *who, const void *p,
			   size_t len);
/** What came over the tree (from: the neighbour), or over a stream. @return 0; WM_E_INVALID: it
 * cannot be read or is not allowed, end the stream; @p e says what. Of the tree, with proofs: 1, it
 * is not proved here, or not yet: do not pass it on, or who does could be taken for who forged it.
 */
int wm_replica_spread(struct wm_replica *r, const struct wm_peer_id *from, const void *p,
		      size_t len, struct wm_err *e);
int wm_replica_receive(struct wm_replica *r, const struct wm_peer_id *from, const void *p,
		       size_t len, struct wm_err *e);
/** A stream to a member stands: compare vectors; or broke. */
void wm_replica_up(struct wm_replica *r, const struct wm_peer_id *peer);
void wm_replica_down(struct wm_replica *r, const struct wm_peer_id *peer);
/** A summary of all that is here, for probes: WM_REPLICA_SUMMARY octets. */
#define WM_REPLICA_SUMMARY 40
size_t wm_replica_summary(const struct wm_replica *r, void *p, size_t room);
/** Another's: if it stays different for WM_REPLICA_QUIET_MS, vectors are compared over a stream
 * that is up. @return true: they differ. */
#define WM_REPLICA_QUIET_MS 500
bool wm_replica_compare(struct wm_replica *r, const struct wm_peer_id *from, const void *p,
			size_t len);
/** The origin left for good (or was pruned): its log goes. */
void wm_replica_forget(struct wm_replica *r, const struct wm_peer_id *origin);
/** How far every member that is there has come decides when tombstones go; the replica learns it
 * from vectors. Tell it who is a member. */
void wm_replica_member(struct wm_replica *r, const struct wm_peer_id *id, bool there);

/** A member holds its own log alone: of it only that is compared, and no tombstone waits for it.
 * Told before wm_replica_member() and wm_replica_up(). */
void wm_replica_leaf(struct wm_replica *r, const struct wm_peer_id *id, bool leaf);

/** Logs of which somebody told more than is here. */
unsigned wm_replica_behind(const struct wm_replica *r);
/* Removals of one log that the brake holds back. */
#define WM_REPLICA_HELD_NAMES 8
struct wm_replica_held {
	struct wm_peer_id origin; /* whose log; zero: shared */
	bool shared;
	struct wm_peer_id from; /* who told of them last */
	uint64_t removals;	/* at least so many: pages that are held are not asked on */
	uint64_t since_ms;	/* of the environment's clock */
	unsigned names_count;	/* the first of what would go, as keys */
	size_t names_len[WM_REPLICA_HELD_NAMES];
	uint8_t names[WM_REPLICA_HELD_NAMES][WM_REPLICA_KEY_MAX];
};
/** Walk: *pos = 0 at first. @return false: no more. */
bool wm_replica_next_held(const struct wm_replica *r, size_t *pos, struct wm_replica_held *ret);
/** An operator looked at what the brake holds back and lets it happen, for a minute: of one log,
 * shared objects where @p origin is zero, or of all (NULL). @return logs that were held. */
unsigned wm_replica_release(struct wm_replica *r, const struct wm_peer_id *origin);
/* Whose shared writes were held back in the last minute, as their clock is ahead of ours. They are
 * not let through: who takes a clock from the future gives it to all. Mended, or once our clock
 * came near, they come by themselves. */
#define WM_REPLICA_AHEAD_MAX 8
struct wm_replica_ahead {
	struct wm_peer_id writer;
	uint64_t by_ms, last_ms; /* last_ms: of the environment's clock */
	uint64_t changes;	 /* one that is offered again counts again */
};
bool wm_replica_next_ahead(const struct wm_replica *r, size_t *pos, struct wm_replica_ahead *ret);
/** Milliseconds since 1970 when a stream was last up: store it now and then, for the next run. Who
 * was away for longer than tombstones are kept takes everything of others anew. */
uint64_t wm_replica_contact_ms(const struct wm_replica *r);

/** How old what is here of others may be: milliseconds since another was last heard of that had
 * nothing which was not here, or is by now. Of a run that heard of nobody: since the run before
 * did, or since it began. Cost O(1). */
uint64_t wm_replica_step_ms(const struct wm_replica *r);

struct wm_replica_origin {
	struct wm_peer_id id;
	uint32_t epoch;
	uint64_t seq;
	unsigned objects, tombstones;
	uint8_t digest[16];
};
/** Walk over origins: *pos = 0 at first. @return false: no more. */
bool wm_replica_next(const struct wm_replica *r, size_t *pos, struct wm_replica_origin *ret);
/* One member, as the replica knows it. */
struct wm_replica_peer {
	uint64_t behind;   /* numbers of its log that are known to be and are not here; a run of an
			    * agent begins far above the one before */
	unsigned pulling;  /* logs that it is asked for */
	int64_t agreed_ms; /* ago, that both had the same; -1: never */
	uint64_t plain, packed; /* octets of what was sent to it, before and after compression */
	uint64_t repairs;	/* of digests, from it */
	int64_t repaired_ms;	/* ago; -1: never */
};
void wm_replica_peer(const struct wm_replica *r, const struct wm_peer_id *id,
		     struct wm_replica_peer *ret);
/** Digest of everything: equal where all have the same. */
void wm_replica_digest(const struct wm_replica *r, uint8_t ret[static 16]);
/** Where this agent's log is. */
void wm_replica_own_at(const struct wm_replica *r, uint32_t *ret_epoch, uint64_t *ret_seq);
unsigned wm_replica_objects(const struct wm_replica *r);

#define WM_REPLICA_COUNTERS(X)                                                                     \
	X(own, "Changes of this agent's told to others")                                           \
	X(applied, "Changes of others taken over")                                                 \
	X(stale, "Changes of others that were known already")                                      \
	X(gaps, "Gaps in a log, pulled")                                                           \
	X(pulls, "Pulls of a log or of buckets asked for")                                         \
	X(unanswered, "Questions that had no answer in time: others were asked")                   \
	X(served, "Pages given to others")                                                         \
	X(repairs, "Digests that differed under equal vectors, repaired")                          \
	X(conflicts, "Concurrent writes of shared objects, decided")                               \
	X(swept, "Objects removed as their log began anew")                                        \
	X(ahead, "Changes held back, as their clock is ahead of ours")                             \
	X(braked, "Removals held back, as they would remove too much")                             \
	X(foreign, "Changes refused, as they claim what is another's")                             \
	X(forged, "News and pulls of a log that are not what its agent proved, dropped")           \
	X(unproved, "Pulls of a log dropped, as nothing says whose its proof is")                  \
	X(malformed, "Messages that could not be read")                                            \
	X(dictionaries, "News in a dictionary that is not known here, asked for")                  \
	X(full, "Objects not taken, as the bound is reached")                                      \
	X(restored, "New epochs of this agent's log, as others knew more of it")                   \
	X(expired, "Tombstones that every member has seen, or whose time was over")
struct wm_replica_stats {
#define X(name, help) uint64_t name;
	WM_REPLICA_COUNTERS(X)
#undef X
};
void wm_replica_stats(const struct wm_replica *r, struct wm_replica_stats *ret);
