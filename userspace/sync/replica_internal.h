/* SPDX-License-Identifier: Apache-2.0 */
/* replica_internal.h - what the files of the replica share.
 * - replica_hash.c: the hash that digests add up
 * - replica_table.c: objects by name
 * - replica_log.c: logs, their objects in the order of versions, digests, tombstones
 * - replica_wire.c: messages to octets and back, compression
 * - replica_dictionary.c: what news is compressed with
 * - replica_held.c: what is held back, until it is let go
 * - replica_proof.c: what agents prove of their logs
 * - replica_pages.c: what was pulled, beside the log until it is what was proved
 * - replica_take.c: judges changes of others and takes them
 * - replica_pull.c: compares, and asks for what is missing
 * - replica_serve.c: tells what is new, and answers who asks
 * - replica.c: life, members, time */
#pragma once
#include "replica.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/sync/replica.pb-c.h"

#include <stdlib.h>
#include <sys/queue.h>

#define LOGS_MAX    16384 /* agents whose log is here at most: WM_MEMBERS_MAX */
#define BATCH_MS    5	  /* milliseconds that changes of our own gather behind others */
#define CHANGES_MAX 4096  /* of one message */
#define PULL_LOGS   64	  /* logs asked for in one message */
#define VECTOR_LOGS 1024  /* logs of one message of a vector */
#define SUMS_KEPT   4096  /* objects of a log whose sums of buckets are added up only once */
#define VISIT_MAX   2048  /* objects looked at for one page: what is not in a bucket is skipped */
#define SWEEP_MAX   256	  /* objects removed in one call */
#define EXPIRE_MAX  1024  /* tombstones looked at in one tick */
#define TICK_MS	    1000
#define LEAF_MS	    15000 /* a leaf says where its log is */
/* An answer that takes longer is asked for elsewhere, as the stream may be one that was cut and now
 * waits for TCP to try again, up to many seconds. Doubled each time up to the second, as it may be
 * slow only. */
#define PATIENCE_MIN_MS	  500
#define PATIENCE_MAX_MS	  8000
#define BUSY_MS		  20	       /* before what could not be taken or read is tried again */
#define ASK_MS		  250	       /* between two questions for what is behind */
#define IDLE_MAX	  200	       /* answers in a row that brought nothing */
#define BACKOFF_MS	  5000	       /* before a log that was refused is asked for again */
#define REPAIR_MS	  250	       /* between two repairs of one log */
#define HOLD_MAX	  (512u << 20) /* octets of all that is held until it is proved */
#define BRAKE_MIN	  10	       /* removals that are never too many */
#define BRAKE_WINDOW_MS	  60000
#define DISTRUST_MS	  60000 /* after which what nobody has goes, of an agent that was away */
#define MESSAGE_MAX	  (WM_REPLICA_OBJECT_MAX + 2 * WM_REPLICA_PAGE_MAX) /* octets, unpacked */
#define SPREAD_OBJECT_MAX (160u << 10) /* octets of an object that goes along the tree */

typedef unsigned __int128 digest_t;

struct position {
	uint32_t epoch;
	uint64_t seq;
};

static inline int position_cmp(struct position a, struct position b)
{
	if (a.epoch != b.epoch)
		return a.epoch > b.epoch ? 1 : -1;
	return (a.seq > b.seq) - (a.seq < b.seq);
}

/* What is known of one object: which version, and whether it is there. */
struct object {
	struct object *next;	     /* of its chain in the table */
	struct object *left, *right; /* of its log, by version: a treap */
	uint64_t seq;
	uint32_t epoch, hash; /* hash: of its name, under a key; the treap's heap is by it too */
	uint32_t gone_s;      /* since 1970; 0: it is there */
	uint16_t mark;	      /* its log's, when it was last seen to be right */
	uint16_t len;	      /* of the key */
	uint8_t bucket;
	bool listed : 1;		 /* in its log: it has a version */
	bool taking : 1;		 /* in what is being judged */
	bool pending : 1;		 /* shared, ours: goes with the next batch */
	bool proved : 1;		 /* `element` is in the sum of its log */
	uint8_t element[WM_SETSUM_HASH]; /* of its name, version and octets */
	uint8_t name[];			 /* number of its log, key: the key of `objects` */
};

/* A shared object has more to it. */
struct shared {
	struct wm_peer_id writer;
	char *semver;
	uint32_t priority; /* of the writer's node */
	uint64_t base;	   /* clock of what it took the place of */
	struct object object;
};

static inline struct shared *shared_of(struct object *o)
{
	return wm_container_of(o, struct shared, object);
}

static inline struct position object_at(const struct object *o)
{
	return (struct position){o->epoch, o->seq};
}

static inline struct wm_replica_key object_key(const struct object *o)
{
	return (struct wm_replica_key){o->name + 2, o->len};
}

struct table {
	struct object **heads;
	size_t cap, level, split, count; /* level + split heads are in use */
};

/* Tombstones of a log in the order of positions, so that they are forgotten in that order. */
struct tomb {
	uint64_t seq;
	uint32_t epoch;
	int32_t learnt_s; /* of the environment's clock since the replica began */
};

enum log_state {
	LOG_PARTIAL,  /* not all up to its position may be here: digests say nothing */
	LOG_WHOLE,    /* all is here, as far as it is known */
	LOG_VERIFIED, /* its digest is what its origin said */
};
enum pull_kind { PULL_DELTA, PULL_WHOLE, PULL_BUCKETS };

/* A proof as it travels: which card it goes with, and the signature. */
#define PROOF_MARK   4
#define PROOF_OCTETS WM_REPLICA_PROOF

/* To an agent that knows less of its own log: its proof, and the hash of the set. */
#define PROVED_OCTETS (PROOF_OCTETS + WM_SETSUM_HASH)

struct hold;
struct proving {
	/* Of the objects that are here; of our own log as they were last told, so that it is what
	 * others have who are as far as `flushed`. */
	struct wm_setsum sum;
	bool have; /* `proof` is of the log at `at` */
	struct position at;
	uint8_t proof[PROOF_OCTETS];
	/* of its agent; what is here is passed on to who asks */
	bool keyed;
	uint8_t key[WM_REPLICA_KEY];
	char *card;
	size_t card_len;
	uint32_t mark;
	/* being pulled: what came, until it is proved; then, while it is taken, its proof and the
	 * hash of the sum that it must come to */
	struct hold *hold;
	bool taking;
	uint8_t next_proof[PROOF_OCTETS], next_hash[WM_SETSUM_HASH];
	/* who told what is not proved is not asked for this log for a while */
	struct wm_peer_id shunned;
	uint64_t shun_ms;
};

struct peer;
struct log {
	struct wm_peer_id id; /* zero: shared */
	uint16_t number;
	bool own, shared;
	struct object *root;
	unsigned live, gone;
	digest_t digest;
	digest_t *sums;		   /* of buckets; NULL: added up when asked */
	struct position at;	   /* what is here, all of it unless partial */
	struct position told;	   /* what somebody said there is */
	struct position floor;	   /* newest tombstone that was forgotten */
	struct position forgotten; /* stub: the origin left for good at this position */
	enum log_state state;
	uint16_t mark;
	unsigned marked; /* objects that have it */
	bool stub;
	bool distrust;		      /* from before we were away: not offered */
	struct wm_replica_held *held; /* by the brake; NULL: not */
	struct wm_peer_id word;	      /* who removed what is held: whose own word is taken */
	uint64_t word_ms;	      /* not before it is asked for again */
	bool announce;		      /* neighbours are told how far it is */
	struct tomb *tombs;
	size_t tombs_head, tombs_len, tombs_cap;
	/* being pulled */
	struct peer *puller;
	TAILQ_ENTRY(log) wanted;
	enum pull_kind kind;
	bool begun, sweeping, forgetting, again, took;
	bool resume; /* cursor and marks stand: who told it fell silent */
	unsigned idle;
	size_t came; /* changes of this pull */
	struct position cursor, target;
	uint8_t cursor_key[WM_REPLICA_KEY_MAX];
	size_t cursor_len;
	enum log_state target_state;
	digest_t target_digest;
	uint8_t buckets[WM_REPLICA_BUCKETS / 8];
	uint64_t next_ms, repair_ms; /* not before */
	uint64_t release_ms;	     /* until then an operator lets removals happen */
	uint64_t stub_ms, born_ms;
	struct proving *proving; /* NULL: shared, or nobody proves anything */
};

/* Seen to be right; and nothing of the log any more. */
static inline void object_mark(struct log *l, struct object *o)
{
	l->marked += o->mark != l->mark;
	o->mark = l->mark;
}
static inline void log_unmark(struct log *l)
{
	l->mark = l->mark == UINT16_MAX ? 1 : l->mark + 1;
	l->marked = 0;
}

struct peer {
	struct wm_peer_id id;
	bool there, up;
	bool leaf;   /* it holds its own log alone */
	bool member; /* known and not forgotten: tombstones wait for it */
	bool asked;  /* a pull of ours is under way */
	bool away;   /* it distrusts what it has */
	bool listing, equal;
	bool heard;  /* a vector of it came since its stream is up */
	bool silent; /* it did not answer in time: others are asked before it */
	unsigned listed;
	uint32_t number;
	uint64_t asked_ms, wait_ms;
	uint64_t question_ms; /* when its vector was asked for; 0: it came */
	unsigned patience_ms;
	uint64_t forged_ms;	 /* when it was last told of for that; 0: never */
	int64_t agreed_s;	 /* as tomb.learnt_s; INT32_MIN: never */
	uint64_t agreed_wall_ms; /* the same since 1970 */
	uint64_t plain, packed, repairs, repaired_ms; /* see wm_replica_peer() */
	TAILQ_HEAD(, log) wants;
};

struct wm_replica {
	struct wm_replica_config c;
	struct table objects;
	struct wm_map *logs, *peers;
	struct log **by_number;
	unsigned logs_count, logs_top; /* top: above the highest number */
	struct peer **peer_list;       /* in the order in which they were met */
	size_t peers_len, peers_cap;
	struct log *own, *shared;
	uint64_t flushed;   /* of our own log: what was told */
	size_t held_octets; /* of all that is held until it is proved */
	struct object **pending;
	size_t pending_len, pending_cap;
	struct wm_env_timer *flush, *work, *tick;
	bool flush_armed;
	uint64_t told_ms;    /* when changes of our own were told last */
	unsigned up, silent; /* peers; silent: of these */
	unsigned live, tombs;
	digest_t digest, vector;       /* sums over all logs */
	uint64_t began_ms, contact_ms; /* of env's clock; 0: no stream was up yet */
	uint64_t contact_wall_ms, last_up_ms, work_ms;
	uint64_t away_since_ms; /* since 1970: of what was written since, what is ours is news */
	/* Our own log is not told of until the first streams said what is known of it: the store
	 * may be of an earlier day, and its numbers would be given twice. */
	bool quiet;
	struct position start; /* of our own log, as the store had it */
	bool away;	       /* logs from before are here that nobody told of yet */
	uint64_t away_met_ms;  /* when one was met that was not away */
	uint64_t brake_ms, restored_ms, ahead_ms;
	bool believed; /* that our log is longer, without a proof: once a run */
	struct wm_replica_ahead ahead[WM_REPLICA_AHEAD_MAX];
	uint64_t differs_ms; /* since when summaries of others are not ours; 0: they are */
	uint64_t compare_ms, compare_gap_ms;
	/* of env's clock, 0: never: when a vector or summary was heard last; and the last of these
	 * up to which nothing of it is missing here */
	uint64_t heard_ms, step_ms;
	bool ask; /* somebody for its vector, once it is ask_ms */
	uint64_t ask_ms;
	uint64_t removed;		   /* in this window of the brake */
	struct wm_buf raw, packed, octets; /* of one call */
	void *zc, *zd;
	struct wm_replica_stats stats;
};

/* Walk in an order that is the same in each run; *pos = 0 at first. What is walked may go. */
static inline struct log *log_walk(const struct wm_replica *r, size_t *pos)
{
	while (*pos < r->logs_top)
		if (r->by_number[(*pos)++])
			return r->by_number[*pos - 1];
	return NULL;
}
static inline struct peer *peer_walk(const struct wm_replica *r, size_t *pos)
{
	return *pos < r->peers_len ? r->peer_list[(*pos)++] : NULL;
}

/* replica_hash.c: SipHash-2-4 with 128 bits under a key that all know. */
digest_t replica_hash(const void *p, size_t len);

/* replica_table.c: an object once by its name; @return 0, -ENOMEM */
struct object *table_get(const struct table *t, const void *name, size_t len);
int table_put(struct table *t, struct object *o);
void table_del(struct table *t, struct object *o);

/* replica_log.c */
struct log *log_get(const struct wm_replica *r, const struct wm_peer_id *id);
struct log *log_new(struct wm_replica *r, const struct wm_peer_id *id,
		    bool shared);		    /* NULL: full */
void log_free(struct wm_replica *r, struct log *l); /* with its objects */
void log_set_at(struct wm_replica *r, struct log *l, struct position at);
struct object *object_get(const struct wm_replica *r, const struct log *l,
			  const struct wm_replica_key *k);
/* The object of that name; a new one is not listed yet. @return 0, -ENOMEM, WM_E_FULL. */
int object_ready(struct wm_replica *r, struct log *l, const struct wm_replica_key *k,
		 struct object **ret);
/* An object that was made ready and did not get a version goes again. */
void object_unready(struct wm_replica *r, struct object *o);
/* It has the version of @p c from now on. Cannot fail but for memory of semver, then there is none.
 */
void object_set(struct wm_replica *r, struct log *l, struct object *o,
		const struct wm_replica_change *c, uint64_t base);
void object_drop(struct wm_replica *r, struct log *l, struct object *o);
/* The first behind @p at and @p key; NULL @p key: behind all of that position. */
struct object *log_next(const struct log *l, struct position at, const struct wm_replica_key *key);
digest_t object_hash(const struct log *l, struct object *o);
/* Of a large log they are kept from then on. */
void log_sums(struct log *l, digest_t sums[static WM_REPLICA_BUCKETS]);
void log_expire(struct wm_replica *r, struct log *l, int64_t passed_s, unsigned *budget);
void log_recovered(struct log *l);
static inline int64_t replica_s(const struct wm_replica *r)
{
	return (int64_t)((wm_env_ms(r->c.env) - r->began_ms) / 1000);
}

/* replica_wire.c */
int wire_send(struct wm_replica *r, struct peer *to, Wm__Replica__Message *m); /* NULL to: spread */
/* @return NULL: @p e says why. */
Wm__Replica__Message *wire_read(struct wm_replica *r, const void *p, size_t len, struct wm_err *e);
void wire_free(Wm__Replica__Message *m);
/* News that was compressed with a dictionary which is not known here. */
bool wire_strange(const void *p, size_t len);

/* replica_dictionary.c: ZSTD_CDict and ZSTD_DDict; NULL without memory */
#define WIRE_DICTIONARY_NUMBER 1
void *wire_dictionary_out(void);
const void *wire_dictionary_in(void);
#define WIRE_UNPACK_MAX                                                                            \
	(12u << 20) /* octets that unpacking may allocate: an empty change of two                  \
		     * octets becomes one of 150 */
/* One that gives no more than @p left octets; NULL: to free. */
ProtobufCAllocator wire_allocator(size_t *left);
/* An agent's id: 16 octets, and not those that stand for the shared log. */
static inline bool origin_ok(const ProtobufCBinaryData *d)
{
	static const struct wm_peer_id nobody;

	return d->len == sizeof(nobody.octets) &&
	       memcmp(d->data, nobody.octets, sizeof(nobody.octets)) != 0;
}
static inline void digest_put(digest_t d, uint8_t ret[static 16])
{
	for (int i = 15; i >= 0; i--, d >>= 8)
		ret[i] = (uint8_t)d;
}
static inline digest_t digest_get(const uint8_t p[static 16])
{
	digest_t d = 0;

	for (int i = 0; i < 16; i++)
		d = d << 8 | p[i];
	return d;
}
static inline bool bucket_in(const uint8_t *bits, uint8_t bucket)
{
	return bits[bucket / 8] >> bucket % 8 & 1;
}

/* replica_proof.c */
int proof_new(struct wm_replica *r, struct log *l); /* @return 0, -ENOMEM */
void proof_free(struct wm_replica *r, struct log *l);
void proof_forget(struct wm_replica *r, struct log *l); /* whose it was */
/* What is in the sum for an object. @return 0, negative errno. */
int proof_element(const struct wm_replica *r, const struct wm_replica_key *k, struct position at,
		  const void *object, size_t len, uint8_t ret[static WM_SETSUM_HASH]);
/* It is this in the sum from now on; NULL: it is not there. */
void proof_set(const struct wm_replica *r, struct log *l, struct object *o, const uint8_t *element);
/* Is @p sum at @p at what the log's agent proved? @param ret_hash of the sum, NULL ok */
bool proof_fits(const struct wm_replica *r, const struct log *l, struct position at,
		const struct wm_setsum *sum, const uint8_t proof[static PROOF_OCTETS],
		uint8_t *ret_hash);
/* The log is proved where it is. */
void proof_have(struct log *l, const uint8_t proof[static PROOF_OCTETS]);
/* Sign what was told of our own. @return false: it could not be. */
bool proof_own(struct wm_replica *r, struct position at);
/* What another's agent is shown of its own log, as it may not know of it. @return false: nothing.
 */
bool proof_show(const struct wm_replica *r, const struct log *l, uint8_t ret[static PROVED_OCTETS]);
/* Did we sign that our own log was there? */
bool proof_was_ours(const struct wm_replica *r, struct position at, const ProtobufCBinaryData *p);
/* The epoch ends: what was not told in it is not, and will be proved as it is served. */
void proof_own_untold(struct wm_replica *r);
void proof_own_card(struct wm_replica *r);
/* A card that came. @return 0, WM_E_INVALID: it is not believed, WM_E_UNKNOWN: not yet. */
int proof_card(struct wm_replica *r, struct log *l, const ProtobufCBinaryData *card,
	       struct wm_err *e);
/* What @p from told of a log is not proved: counted, told, and others are asked. */
void proof_forged(struct wm_replica *r, struct peer *from, struct log *l);
void proof_shun(struct wm_replica *r, const struct peer *from, struct log *l);
static inline bool proof_here(const struct log *l)
{
	return l->proving->have && !position_cmp(l->proving->at, l->at);
}
static inline bool proof_shunned(const struct wm_replica *r, const struct log *l,
				 const struct peer *p)
{
	return l->proving && wm_env_ms(r->c.env) < l->proving->shun_ms &&
	       wm_peer_id_same(&l->proving->shunned, &p->id);
}
/* What was pulled of it is proved and being taken. */
static inline bool proof_taking(const struct log *l)
{
	return l->proving && l->proving->taking;
}

/* replica_pages.c */
/* Part of a page of a log that is to be proved; @p part is kept, and NULL then. As take_part(). */
int hold_part(struct wm_replica *r, struct peer *from, struct log *l, Wm__Replica__Part **part,
	      struct wm_err *e);
/* Go on taking what was proved. @return false: more is to be done. */
bool hold_take(struct wm_replica *r, struct log *l);
void hold_clear(struct wm_replica *r, struct log *l);
/* What is held of a log of which another goes on to tell. NULL: nothing. */
struct hold *hold_detach(struct log *l);
void hold_resume(struct log *l, struct hold *h);
/* All was taken: is it what was proved? */
bool hold_settled(const struct wm_replica *r, struct log *l);

/* replica_take.c */
/* News over the tree. */
int take_batch(struct wm_replica *r, struct peer *from, const Wm__Replica__Batch *b,
	       struct wm_err *e);
/* Part of a page that was asked for. @return 0; 1: later, it was not taken; negative: refused. */
int take_part(struct wm_replica *r, struct peer *from, struct log *l, const Wm__Replica__Part *p,
	      struct wm_err *e);
/* The steps of it: what it says of where its log is, its changes, how far it came. */
int take_head(struct wm_replica *r, struct log *l, const Wm__Replica__Part *p, struct wm_err *e);
/* @return as take_part(); 2: nothing new came */
int take_changes(struct wm_replica *r, struct peer *from, struct log *l, const Wm__Replica__Part *p,
		 struct wm_err *e);
int take_advance(const struct wm_replica *r, struct log *l, const Wm__Replica__Part *p,
		 struct wm_err *e);
int take_read(const struct log *l, const Wm__Replica__Change *m, uint32_t epoch,
	      struct wm_replica_change *ret, struct wm_err *e);
int take_full(struct wm_replica *r, struct log *l);
/* Of two places in a log, the later one. */
int take_place_cmp(struct position a, const struct wm_replica_key *k, struct position b,
		   const struct wm_replica_key *q);
/* Remove what was not seen of a log that is sweeping. @return false: more is to be done. */
bool take_sweep(struct wm_replica *r, struct log *l);
void replica_alarm(struct wm_replica *r, const struct wm_peer_id *about, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/* replica_held.c */
void peer_repaired(const struct wm_replica *r, struct peer *p); /* NULL ok */
void held_begin(struct wm_replica *r, struct log *l, const struct peer *from, uint64_t removals,
		uint64_t of);
void held_name(struct log *l, const struct wm_replica_key *k);
void held_end(struct log *l);
/* Ask who removed it, over a stream of its own if need be: what it says itself is not held. */
void held_ask(struct wm_replica *r, struct log *l);
void ahead_note(struct wm_replica *r, const struct wm_peer_id *writer, uint64_t by_ms);

/* replica_pull.c */
struct peer *peer_get(const struct wm_replica *r, const struct wm_peer_id *id);
struct peer *peer_up_by_chance(const struct wm_replica *r);
void pull_want(struct wm_replica *r, struct peer *p, struct log *l, enum pull_kind kind);
void pull_begin(struct wm_replica *r, struct log *l);
void pull_next(struct wm_replica *r, struct peer *p);
void pull_end_all(struct wm_replica *r, struct peer *p);
void pull_end(struct wm_replica *r, struct log *l);	/* whatever came of it */
void pull_give_up(struct wm_replica *r, struct log *l); /* for a while */
void pull_done(struct wm_replica *r, struct log *l);	/* all came */
int pull_page(struct wm_replica *r, struct peer *p, const Wm__Replica__Page *page,
	      struct wm_err *e);
int pull_vector(struct wm_replica *r, struct peer *p, const Wm__Replica__Vector *v,
		struct wm_err *e);
int pull_differ(struct wm_replica *r, struct peer *p, const Wm__Replica__Differ *d,
		struct wm_err *e);
/* Its digest is wrong, and @p p may know better. */
void pull_repair(struct wm_replica *r, struct peer *p, struct log *l);
/* Whoever does not answer in time is asked no more for what others may have. */
void pull_patience(struct wm_replica *r);
void pull_tick(struct wm_replica *r);
void pull_speak(struct wm_replica *r, bool now); /* ends `quiet` if it is time */
void replica_agreed(struct wm_replica *r, struct peer *p);
/* Is all here that was told of when another was last heard? */
void replica_step(struct wm_replica *r);

/* replica_serve.c */
void serve_vector(struct wm_replica *r, struct peer *to, bool answer);
unsigned serve_listed(const struct wm_replica *r); /* logs that a vector has */
void serve_announce(struct wm_replica *r);
int serve_pull(struct wm_replica *r, struct peer *p, const Wm__Replica__Pull *pull,
	       struct wm_err *e);
int serve_sums(struct wm_replica *r, struct peer *p, const Wm__Replica__Sums *s, struct wm_err *e);
void serve_flush(void *arg); /* timer */
void serve_flush_soon(struct wm_replica *r, uint64_t ms);
/* There is a change of our own. The first after a pause is told when this turn is over, those of a
 * stream BATCH_MS after what was told before. */
void serve_gather(struct wm_replica *r);
int serve_pending(struct wm_replica *r, struct object *o); /* shared, goes with the next batch */

/* replica.c */
void replica_work_soon(struct wm_replica *r, uint64_t ms);
