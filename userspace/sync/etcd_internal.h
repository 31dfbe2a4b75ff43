/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_internal.h - what the parts of the carrier share: etcd.c (its life and the order of steps),
 * etcd_call.c (endpoints, calls, authentication), etcd_node.c (leases, who lives), etcd_list.c
 * (lists, the watch, the sweep), etcd_take.c (what comes), etcd_put.c (what goes), etcd_verify.c
 * and etcd_ask.c (comparisons). Inside sync/ only.
 *
 * Of each object two versions are known: what the store has (local) and what etcd has (have). What
 * is ours and differs is put, what is another's and differs is taken. */
#pragma once
#include "etcd_answer.h"
#include "etcd_code.h"
#include "userspace/base/map.h"
#include "userspace/net/http_client.h"

#include <sys/queue.h>

#define CALL_MS		5000	   /* an answer comes within it, or another endpoint is asked */
#define WATCH_MS	1200000	   /* a watch is opened again after it */
#define KEEPALIVE_S	5	   /* of TCP: a silent etcd is given up after 20 s */
#define TICK_MS		1000	   /* what is due is looked for at least so often */
#define RETRY_MIN_MS	200	   /* between tries of all endpoints: doubled, with jitter */
#define RETRY_MAX_MS	5000	   /* a third of a lease: nobody dies of our patience */
#define REFUSED_MS	60000	   /* until a prefix or an id that is another's is tried again */
#define BUSY_MS		20	   /* until what the store had no room for is offered again */
#define ECHO_MS		5000	   /* our own writes come back over the watch within it */
#define OPS_MAX		128	   /* operations of a transaction: etcd's --max-txn-ops */
#define TXN_OCTETS	(1u << 20) /* of values in one; one object alone may have more */
#define PAGE_KEYS	500	   /* of a list, some 3 ms; halved while an answer is too large */
#define STREAM_MS	4	   /* of a turn for what a watch brought; the rest has its turn */
#define HOLD_MS		2000	   /* what somebody deleted is put again by its node within it */
#define SUSPECT_MS	60000 /* the same, where etcd lost something and the node does not say so */
#define STREAM_MAX	(16u << 20) /* octets of a watch that were not looked at yet */
#define BATCH_MAX	256	    /* changes given at once */
#define TOMBSTONE_KINDS 2	    /* of logs, and of shared objects */

enum wm_etcd_slot_kind {
	SLOT_CONTROL,
	SLOT_PUT,
	SLOT_KEEP,
	SLOT_TIDY,
	SLOT_VERIFY,
	SLOT_WATCH,
	SLOTS
};
typedef void (*wm_etcd_done)(struct wm_etcd *e, const struct wm_etcd_answer *a);

/* One thing that is asked at a time. */
struct wm_etcd_slot {
	struct wm_etcd *e;
	struct wm_http_call *call;
	unsigned endpoint, fails;
	uint64_t not_before_ms;
	int64_t asked_revision; /* that was known when it was asked */
	bool quorum;		/* its answer goes through it */
	wm_etcd_done done;
};

struct wm_etcd_node {
	struct wm_peer_id id;
	struct wm_etcd_record record; /* name "": none was seen */
	unsigned objects;	      /* that etcd has */
	unsigned refs;		      /* objects that are known */
	unsigned held;		      /* removals of it that are held */
	uint64_t release_ms; /* when they go; of suspect ones, if the node told all that it has */
	bool suspect;	     /* etcd lost something, and these may be of it */
	int64_t record_mod;  /* revision of its record */
	unsigned listed_lives, listed_known; /* last lists that its keys were in */
	bool lives, known;		     /* keys n/ and m/ */
	int told;			     /* what alive() was told; -1: nothing yet */
	uint64_t tidy_ms;		     /* when it is removed for ever; 0: it is not */
	uint64_t since_ms;		     /* when its keys were missed first; 0: they were not */
	uint64_t asks;			     /* number of its question; 0: it asks nothing */
	int64_t asks_lease;		     /* under which its answers go with it */
};

struct wm_etcd_object {
	TAILQ_ENTRY(wm_etcd_object) entry;	     /* of what waits */
	struct wm_version local, have;		     /* seq 0: none */
	struct wm_peer_id local_writer, have_writer; /* of shared ones */
	uint64_t gone_ms;			     /* of local */
	int64_t mod;				     /* revision of have; 0: none */
	struct wm_etcd_node *node;		     /* whose log; NULL: shared */
	char *copy; /* octets of local while it waits; NULL: read */
	size_t copy_len;
	unsigned list;
	unsigned verified;	/* list of a comparison that it was in last */
	struct wm_version sent; /* while in flight */
	bool local_gone, have_gone, sent_gone;
	bool pending, in_flight, batched;
	bool held; /* a list lacks it, and the brake holds it */
	uint16_t key_len;
	char key[]; /* behind the prefix */
};
TAILQ_HEAD(wm_etcd_queue, wm_etcd_object);

struct wm_etcd_lease {
	int64_t id; /* 0: none */
	uint64_t until_ms, renew_ms;
};

struct wm_etcd {
	struct wm_etcd_config c; /* texts are ours */
	char *endpoints[WM_ETCD_ENDPOINTS_MAX];
	unsigned endpoints_count, endpoint;
	size_t prefix_len;
	struct wm_env_timer *timer;
	struct wm_etcd_slot slots[SLOTS];
	struct wm_buf body; /* of the call that is being made */
	struct wm_etcd_stats stats;
	char error[256];
	bool started, up, refused, left;

	char *token; /* NULL: log in first, if there is a user */
	bool marked; /* the prefix is ours to use */
	uint64_t cluster;
	int64_t revision;	/* all up to it was taken */
	bool other;		/* etcd is not the one that was known, until it was listed */
	bool lost;		/* it is another, or went back: it may lack what it had */
	int64_t trust_revision; /* what was written before it may be of the time before the loss */
	bool was_here;		/* within forget_s: etcd's keys are of all that happened since */
	uint64_t wake_ms;

	/* --- etcd_node.c */
	struct wm_map *nodes;
	struct wm_etcd_node *self;
	struct wm_etcd_lease lease, member_lease, tombs[TOMBSTONE_KINDS];
	bool want_tomb[TOMBSTONE_KINDS];
	int64_t self_mod; /* of our key n/; 0: none */
	bool enlisted, settled, told_settled;
	uint64_t clash_ms; /* since when our key is another's; 0: it is not */
	struct wm_etcd_node *tidying;
	uint64_t tidy_ms;     /* when nodes are looked through next */
	int64_t former_lease; /* of a former life, with no key any more; 0: none */

	/* --- etcd_list.c */
	bool listed;
	unsigned list, page;
	int64_t list_revision;
	char list_key[WM_ETCD_PREFIX_MAX + WM_ETCD_KEY_MAX + 1]; /* where to go on */
	size_t list_key_len;
	uint64_t relist_ms; /* when what was ahead of the clock is looked at again; 0: never */
	bool watching, stream_broken;
	uint64_t heard_ms; /* when it last answered, or told of something, while watching */
	uint64_t watch_since_ms;
	struct wm_buf stream;
	size_t stream_at;
	struct wm_env_timer *stream_timer;

	struct wm_etcd_verify *verify; /* NULL: no comparison is under way */

	/* --- etcd_ask.c */
	struct wm_etcd_asking *asking;	     /* NULL: we ask nobody */
	bool questions;			     /* there may be nodes that ask */
	uint64_t compare_ms;		     /* before it none is begun for others */
	struct wm_etcd_answering *answering; /* NULL: nobody is answered */
	bool ask_stale;			     /* our question and answers to it are to go */

	/* --- etcd_take.c */
	struct wm_etcd_batch *batch;
	unsigned held;

	/* --- etcd_put.c */
	struct wm_map *objects;
	struct wm_etcd_queue pending;
	unsigned pending_count, ops_max;
	size_t pending_octets, txn_octets;
	struct wm_etcd_object *flight[OPS_MAX];
	unsigned flight_count;
	int64_t put_revision; /* of our last write, and when */
	uint64_t put_ms;
	void (*leave_done)(void *arg);
	void *leave_arg;
	bool leaving;
};

/* --- etcd.c --- */
/** Look for what is to be done @p ms from now. */
void wm_etcd_wake(struct wm_etcd *e, uint64_t ms);
void wm_etcd_alarm(struct wm_etcd *e, const struct wm_peer_id *about, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** etcd is another, or another's: begin from the marker. */
void wm_etcd_restart(struct wm_etcd *e);
/** Refuse to go on for a minute, and say why. */
void wm_etcd_refuse(struct wm_etcd *e, const struct wm_peer_id *about, const char *sentence);

/* --- etcd_call.c --- */
static inline uint64_t wm_etcd_now(const struct wm_etcd *e)
{
	return wm_env_ms(e->c.env);
}
/** May the slot be used now? */
bool wm_etcd_ready(const struct wm_etcd *e, enum wm_etcd_slot_kind which);
/** Send e->body. @p done runs once, unless the call failed in a way that is tried again anyway:
 * then the slot is free after a while. It hears of errors that mean something to it (a->code). */
void wm_etcd_call(struct wm_etcd *e, enum wm_etcd_slot_kind which, const char *path,
		  wm_etcd_done done);
/** Open the stream of e->body; octets go to e->stream. */
void wm_etcd_stream(struct wm_etcd *e, const char *path);
/** The stream said something that is none: as a failed call. */
void wm_etcd_stream_failed(struct wm_etcd *e, bool elsewhere, const char *why);
void wm_etcd_cancel(struct wm_etcd *e, enum wm_etcd_slot_kind which);
/** An error of authentication? Then log in again. */
bool wm_etcd_unauthenticated(struct wm_etcd *e, int code, const char *error);
void wm_etcd_login(struct wm_etcd *e);
/** Begin a body. */
struct wm_buf *wm_etcd_body(struct wm_etcd *e);
/** Append "name":"<base64 of the prefix and @p key>". */
void wm_etcd_put_key(struct wm_etcd *e, struct wm_buf *b, const char *name, const char *key,
		     size_t len);

/* --- etcd_node.c --- */
struct wm_etcd_node *wm_etcd_node(struct wm_etcd *e,
				  const struct wm_peer_id *id); /* NULL: memory */
/** The next step of joining, if one is to be made. @return false: none. */
bool wm_etcd_join(struct wm_etcd *e);
void wm_etcd_keep(struct wm_etcd *e);
void wm_etcd_tidy(struct wm_etcd *e);
void wm_etcd_node_event(struct wm_etcd *e, const struct wm_etcd_key *k,
			const struct wm_etcd_kv *kv);
/** After a list: who was not in it lives no more. */
void wm_etcd_nodes_listed(struct wm_etcd *e);
void wm_etcd_node_settle(struct wm_etcd *e, struct wm_etcd_node *n);

/* --- etcd_list.c --- */
void wm_etcd_list(struct wm_etcd *e);
/** Begin the body of a page of all from a key on. @p revision 0: as it is. */
void wm_etcd_range_body(struct wm_etcd *e, const char *key, size_t len, int64_t revision);
void wm_etcd_watch(struct wm_etcd *e);
void wm_etcd_unwatch(struct wm_etcd *e);
void wm_etcd_on_stream(void *e);
void wm_etcd_list_later(struct wm_etcd *e);

/* --- etcd_take.c --- */
/** Take keys that came in order. @return 0; WM_E_BUSY, -ENOMEM: again, all of them. */
int wm_etcd_take(struct wm_etcd *e, const struct wm_etcd_kv *kvs, unsigned count);
/** After a list: what it lacks. */
int wm_etcd_sweep(struct wm_etcd *e);
struct wm_etcd_batch *wm_etcd_batch_new(void); /* freed by free() */
/** Removals of a node that were held go, as it told all that it has. */
int wm_etcd_release(struct wm_etcd *e, struct wm_etcd_node *n);

/* --- etcd_verify.c --- */
/** Compare what this agent has with what etcd holds now. The result has one member, etcd, without
 * an id; silent: it did not answer for 10 s. @return 0; WM_E_BUSY: one is under way; -ENOMEM. */
int wm_etcd_compare(struct wm_etcd *e, wm_verify_done done, void *arg);
/** Ask for the next page, if one is to be asked for. There is a comparison. */
void wm_etcd_verify_step(struct wm_etcd *e);
void wm_etcd_verify_end(struct wm_etcd *e); /* who waits is told */

/* --- etcd_ask.c --- */
/** A question or an answer came, or went. */
void wm_etcd_asked(struct wm_etcd *e, const struct wm_etcd_key *k, const struct wm_etcd_kv *kv);
void wm_etcd_reported(struct wm_etcd *e, const struct wm_etcd_key *k, const struct wm_etcd_kv *kv);
/** What is to be asked, compared or answered next. */
void wm_etcd_ask_step(struct wm_etcd *e);
void wm_etcd_ask_end(struct wm_etcd *e); /* who waits is told */

/* --- etcd_put.c --- */
/** Find it, or make it if @p make. @return NULL: none, no memory, or full. */
struct wm_etcd_object *wm_etcd_object(struct wm_etcd *e, const struct wm_etcd_key *k,
				      const char *key, size_t len, bool make);
/** Free it if there is nothing to be known of it. */
void wm_etcd_object_settle(struct wm_etcd *e, struct wm_etcd_object *o);
void wm_etcd_object_free(struct wm_etcd *e, struct wm_etcd_object *o);
void wm_etcd_pend(struct wm_etcd *e, struct wm_etcd_object *o);
void wm_etcd_unpend(struct wm_etcd *e, struct wm_etcd_object *o);
/** etcd has it so now: counts of the node follow. @p v NULL: it has it no more. */
void wm_etcd_object_have(struct wm_etcd *e, struct wm_etcd_object *o, const struct wm_etcd_value *v,
			 int64_t mod);
/** Is it this agent's to put: of our log, or shared? */
bool wm_etcd_ours(const struct wm_etcd *e, const struct wm_etcd_object *o);
/** Order of two shared writes: the clock, then the writer. */
int wm_etcd_shared_cmp(const struct wm_version *a, const struct wm_peer_id *a_writer,
		       const struct wm_version *b, const struct wm_peer_id *b_writer);
void wm_etcd_hold(struct wm_etcd *e, struct wm_etcd_object *o, bool held);
void wm_etcd_put(struct wm_etcd *e);
void wm_etcd_put_leave(struct wm_etcd *e);
