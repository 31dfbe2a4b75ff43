/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what registry.c (queue, reading), apply.c (one write: stage, undo, announce) and
 * recover.c (reading the store) share. Inside registry/ only. */
#pragma once
#include "object.h"
#include "record.h"
#include "userspace/store/store.h"
#include "userspace/base/buf.h"
#include "userspace/base/map.h"
#include "vip.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_REGISTRY_LISTENERS_MAX 16	      /* subscribers of the change stream */
#define WM_REGISTRY_QUEUE_MAX	  65536	      /* writes that wait for one flush */
#define WM_REGISTRY_QUEUE_BYTES	  (64u << 20) /* octets of memory of these */
#define WM_REGISTRY_BATCH_MAX	  4096 /* writes of one transaction: bounds what an undo holds */
#define WM_REGISTRY_CLEAR_STEP                                                                     \
	256 /* instances that leave with their node in one turn: some 5 ms; the rest follows */
#define WM_REGISTRY_STATUS_DELAY_MS 250	 /* status-only commits: at most every so many ms */
#define WM_REGISTRY_STATUS_RETRY_MS 1000 /* the same after one failed */
#define WM_REGISTRY_DIRTY_RIDE	    128	 /* rows of statuses that ride in a commit of writes */
#define WM_REGISTRY_DIRTY_BATCH	    1024 /* rows of statuses in a commit of their own */
#define WM_REGISTRY_INDEX_BLOCK	    (1ull << 20)       /* indexes reserved ahead in the store */
#define WM_REGISTRY_INDEX_MAX	    ((1ull << 53) - 1) /* a JSON number keeps 53 bits */
#define WM_REGISTRY_MAP_MAX                                                                        \
	(1u << 27) /* entries of a table; instances_max and WM_CHECKS_PER_INSTANCE bound it first  \
		    */

#define WM_REGISTRY_SAVES_MAX 2 /* at a time: a client's, and one that is kept */
#define WM_REGISTRY_NODE_ROW  0 /* of the checks of this agent's node; others begin with 1 */

enum wm_op_kind {
	WM_OP_INSTANCE,	   /* register or deregister an instance */
	WM_OP_CHECK_PUT,   /* `check`, of the instance `id` or of the node */
	WM_OP_CHECK_DROP,  /* the check `id`, whoever has it */
	WM_OP_HOLDER,	   /* all checks of a node: `in` is the new holder */
	WM_OP_MAINTENANCE, /* of the instance `id` or of the node: `check`, or NULL to end it */
	WM_OP_LIFECYCLE,   /* of the instance `id`: to `lifecycle` */
	WM_OP_REBIND,	   /* the instance `id` as it is, to the node's new address */
	WM_OP_NODE_PUT,	   /* the node is written: `facts` */
	WM_OP_NODE_DROP,   /* the node goes; its instances went before */
	WM_OP_NODE_CLEAR,  /* everything on the node goes, then the node: makes parts */
	WM_OP_READ,	   /* nothing is written: for what a group reads on its way */
	WM_OP_GROUP	   /* `parts`, all or none */
};

/* What must be true of the object that is written for a write to be made. */
enum wm_op_when {
	WM_WHEN_ANY,
	WM_WHEN_EXISTS, /* reads */
	WM_WHEN_INDEX,	/* its modify index is `when_index`; 0: it does not exist */
};

struct wm_op;
TAILQ_HEAD(wm_ops, wm_op);

struct wm_op {
	TAILQ_ENTRY(wm_op) entry;
	enum wm_op_kind kind;
	enum wm_object object; /* what it is about: for errors, and `when` */
	enum wm_op_when when;
	uint64_t when_index;
	bool catalog;	 /* submitted for the catalog, else for this agent's node */
	bool lenient;	 /* to remove what is not there is no error */
	unsigned number; /* of a part: its number in the client's list; a made part has its maker's
			  */
	char *node_name; /* NULL: this agent's node */
	struct wm_node *facts;	/* NODE_PUT: detached; afterwards what was known before */
	struct wm_ops parts;	/* of a group */
	struct wm_op *group;	/* of a part */
	wm_registry_part part;	/* of a group: called for each of the client's parts */
	struct wm_op *before;	/* of a part: the earlier one that made `old` */
	bool group_founds;	/* of a part: an earlier part may found its node */
	bool made;		/* of a part: not the client's, but what another part entails */
	bool again;		/* of a group: it has only begun, and goes on in the next turn */
	bool part_failed;	/* of a group: `number` says which */
	bool encoded;		/* the registry's scratch holds the record of `in` */
	struct wm_check *check; /* to be put; NULL once an instance has it */
	struct wm_instance *in; /* register: detached until applied; NULL: deregister; of a write
				 * on a check: made by staging */
	bool replace_checks;
	enum wm_lifecycle lifecycle; /* LIFECYCLE: what is wanted, and the end of its drain */
	uint64_t drain_until_ms;
	bool sidecar; /* deregister: only what was registered within another */
	bool drained; /* deregister: only if its drain was not called off; of a sidecar: its
		       * service's */
	bool restore; /* of a snapshot: replaces whatever there is, maintenance as well */
	wm_registry_done done;
	void *arg;
	size_t bytes; /* of memory, toward WM_REGISTRY_QUEUE_BYTES */
	int code;
	char *text; /* of an error; may be NULL */

	/* what staging did, in this order; undo goes back from wherever it stopped */
	struct wm_node *home; /* where the object is; NULL: no such node */
	bool founded;	      /* NODE_PUT: `home` is new */
	struct wm_instance
		*origin; /* of a part: what stood before the group; `old` may be younger */
	struct wm_service *origin_service;
	bool superseded;	  /* of a part: `in` was replaced or removed by a later one */
	bool applied;		  /* links are set */
	bool unchanged;		  /* nothing to do: the same registration again */
	uint64_t index;		  /* of this write */
	bool node;		  /* it is about the node's checks: `in` and `old` are holders */
	struct wm_check *dropped; /* check that goes */
	struct wm_instance *old;  /* instance with this id before */
	struct wm_check **fresh;  /* in's checks as built; those not taken up are freed */
	unsigned fresh_count;
	struct wm_check **merged; /* in's checks together with kept ones */
	unsigned merged_count;
	struct wm_service *to, *from;  /* service of in and of old; may be the same */
	struct wm_lease *given;	       /* lease made for a new service */
	struct wm_lease *evicted;      /* retired lease that made room */
	bool created;		       /* `to` is new */
	bool gone;		       /* `from` lost its last instance */
	uint64_t to_index, from_index; /* of the services before */
	bool old_dirty;
	char id[]; /* deregister: of the instance; else see the kinds; "" is the node */
};

struct wm_listener {
	wm_change_fn fn;
	void *arg;
};

/* Who waits for statuses to be stored. */
struct wm_waiter {
	wm_registry_done done;
	void *arg;
	STAILQ_ENTRY(wm_waiter) entry;
};

struct wm_registry {
	struct wm_node *self; /* this agent's node */
	char *datacenter;
	unsigned instances_max, services_max, nodes_max, checks_max;
	unsigned instances_count, checks_count; /* of all nodes, checks of nodes as well */
	struct wm_vip_space space;
	char *path;		/* of the store's file; NULL: none */
	bool restoring;		/* a snapshot, in part */
	struct wm_store *store; /* NULL: memory only */
	struct wm_vips *vips;
	struct wm_map *nodes;	 /* by name in lower case */
	struct wm_map *node_ids; /* nodes of the catalog that have one, by it */
	struct wm_map *services; /* by name */
	uint64_t index;
	uint64_t reserved;			 /* stored: after a crash indexes go on above it */
	uint64_t instance_row, service_row;	 /* last given */
	uint64_t (*turn)(void *arg, bool again); /* NULL: none */
	void *turn_arg;
	struct wm_ops queue;
	struct wm_ops later; /* begun in turn `later_turn`, to go on in the next */
	uint64_t later_turn;
	unsigned queued;
	size_t queued_bytes;
	struct wm_instance_boxes dirty; /* statuses that are not stored yet */
	uint64_t dirty_due_ms;		/* when they are stored at the latest */
	STAILQ_HEAD(, wm_waiter) waiters;
	struct wm_buf record, small; /* scratch: for instances, for the rest */
	struct wm_listener listeners[WM_REGISTRY_LISTENERS_MAX];
	unsigned listeners_count;
	bool sidecar_waits; /* in the queue: one is registered with its service */
	struct wm_registry_stats stats;
	int (*judge)(void *arg, const struct wm_instance_draft *d, struct wm_err *e);
	void *judge_arg;
	void (*first_result)(void *arg, const struct wm_check *c);
	void *first_result_arg;
	void (*output)(void *arg, const struct wm_check *c); /* NULL: nobody */
	void *output_arg;
	LIST_HEAD(, wm_save) saves; /* that go on */
};

/** Id of the instance that a write is about, as things stand; "" is the node, NULL: there is none.
 */
const char *wm_op_id(const struct wm_registry *r, const struct wm_op *op);
/** A write with room for an id. @return NULL without memory. */
struct wm_op *wm_op_new(enum wm_op_kind kind, const char *id, wm_registry_done done, void *arg);
/** Does the list hold this very object? */
static inline bool wm_checks_list(struct wm_check *const *checks, unsigned count,
				  const struct wm_check *c)
{
	for (unsigned n = 0; n < count; n++) {
		if (checks[n] == c)
			return true;
	}
	return false;
}
/** Count what entered or left the table of a node's checks since it had @p before. */
static inline void wm_checks_recount(struct wm_registry *r, const struct wm_node *n, size_t before)
{
	r->checks_count += (unsigned)wm_map_len(n->checks) - (unsigned)before;
}
/** Free a write that was settled. NULL ok. */
void wm_op_free(struct wm_op *op);
/** Free a write that was never staged, with what it brings. NULL ok. */
void wm_op_discard(struct wm_op *op);
/** The node that a write is about, as things stand; NULL: there is none. */
struct wm_node *wm_op_home(const struct wm_registry *r, const struct wm_op *op);
/** Next index, shared by the parts of a group. */
uint64_t wm_op_index(struct wm_registry *r, struct wm_op *op);
/** Does the object have what `when` asks for? Else refuses. @p index: its modify index, 0: none. */
bool wm_op_judge_when(struct wm_op *op, uint64_t index);
/** Write what a staged write left into the open transaction. */
int wm_op_store(struct wm_registry *r, struct wm_op *op, struct wm_err *e);
/** lifecycle.c: the lifecycle that op->in has after this write. @return false: refused. */
bool wm_op_lifecycle(struct wm_op *op);
/** A check reported @p s. @return true if that made a starting instance running. */
bool wm_instance_begins(struct wm_instance *i, enum wm_status s);
/** Take the holder's statuses off the list of what is to be stored, and put them back. */
void wm_instance_retire(struct wm_registry *r, struct wm_op *op, struct wm_instance *i);
void wm_instance_revive(struct wm_registry *r, struct wm_op *op, struct wm_instance *i);

/* --- sidecar.c --- */
/** A registration with a sidecar: as wm_registry_register(). */
int wm_sidecar_register(struct wm_registry *r, const struct wm_instance_draft *d,
			wm_registry_done done, void *arg, struct wm_err *e);
/** Submit @p op, which deregisters @p id, and what was registered within it. */
int wm_sidecar_deregister(struct wm_registry *r, const char *id, struct wm_op *op,
			  struct wm_err *e);

/* --- group.c --- */
int wm_group_stage(struct wm_registry *r, struct wm_op *group, struct wm_err *e);
void wm_group_undo(struct wm_registry *r, struct wm_op *group);
/** What is left of a group that has only begun; it has the group's callbacks. @return NULL without
 *  memory. */
struct wm_op *wm_group_rest(const struct wm_op *group);
/** NODE_PUT, NODE_DROP, NODE_CLEAR, as parts of a group. */
void wm_node_stage(struct wm_registry *r, struct wm_op *op);
void wm_node_undo(struct wm_registry *r, struct wm_op *op);

/** The operator's metadata of this agent's node, "key=value" each, the list ends with NULL. What is
 *  returned is freed by wm_node_meta_free(), also after an error. @return 0, WM_E_INVALID,
 *  WM_E_LIMIT, -ENOMEM, then @p e says which pair. */
int wm_node_meta_read(char *const *pairs, struct wm_pair **ret, unsigned *ret_count,
		      struct wm_err *e);
void wm_node_meta_free(struct wm_pair *meta, unsigned count);

/** Before anything is staged: after an error of the store, take up writing again. @return 0, or why
 * not yet. */
int wm_registry_heal(struct wm_registry *r, struct wm_err *e);
/** The store refused: roll back, and say so in the figures. */
void wm_registry_commit_failed(struct wm_registry *r, const struct wm_err *e);
/** Next index; does not grow past what is reserved. */
uint64_t wm_registry_next_index(struct wm_registry *r);
/** Hand a change to every listener. */
void wm_registry_announce(const struct wm_registry *r, const struct wm_change *c);
/** Give this agent's node its id. @return 0 or -ENOMEM. */
int wm_registry_set_node_id(struct wm_registry *r, const char *id);
/** The registration that a draft asks for, judged by itself. The caller owns it. */
int wm_op_register(struct wm_registry *r, const struct wm_instance_draft *d, struct wm_op **ret_op,
		   struct wm_err *e);
/** Queue a write, or free it and say why not. */
int wm_op_submit(struct wm_registry *r, struct wm_op *op, struct wm_err *e);
/** What a draft's check says of a node must be of this one. @return 0 or WM_E_INVALID. */
int wm_check_draft_node(const struct wm_registry *r, const struct wm_check_draft *d,
			struct wm_err *e);
/** Worst of an instance's checks and its node's. */
enum wm_status wm_instance_effective(const struct wm_registry *r, const struct wm_instance *i);
/** The indexes and statuses of a node's instances follow it. Cost O(instances of the node). */
void wm_registry_node_touched(struct wm_registry *r, struct wm_node *n, uint64_t index);
/** Announce that a node's checks are other ones, or @p c has another status, and what follows of
 * it for every instance on it. Cost O(instances of the node). */
void wm_registry_node_changed(struct wm_registry *r, struct wm_node *n, uint64_t index,
			      struct wm_check *c);
/** Record of an instance, or of a holder, into the scratch. @p cut: one that is too large, as an
 *  older agent may have stored it, goes without outputs, counted and logged.
 *  @return 0, -ENOMEM, WM_E_LIMIT. */
int wm_registry_encode(struct wm_registry *r, const struct wm_instance *i, bool cut);
/** Write an instance, or the holder, into the open transaction. @return 0, WM_E_LIMIT (too large
 * for a record, nothing was written), or why the store failed, then @p e is filled. */
int wm_registry_put_instance(struct wm_registry *r, const struct wm_instance *i, struct wm_err *e);
/** Record of a node's holder, this agent's or another's, into the scratch. */
int wm_registry_encode_holder(struct wm_registry *r, const struct wm_instance *holder);
/** Put an instance into its service's list. @return 0 or -ENOMEM. */
int wm_service_add(struct wm_service *s, struct wm_instance *i);
/** Effective addresses and identity of an instance on a node. */
void wm_instance_bind(struct wm_node *n, struct wm_instance *i);

/* --- nodes.c --- */
/** A node without instances. @p facts: id, address, meta, tagged; copied. @return NULL without
 *  memory. */
struct wm_node *wm_node_new(const char *name, const struct wm_node_draft *facts);
void wm_node_free(struct wm_node *n); /* with its instances and checks; NULL ok */
/** Give a new node its facts. @return 0 or -ENOMEM. */
int wm_node_set_facts(struct wm_node *n, const struct wm_node_draft *d);
struct wm_node *wm_find_node(const struct wm_registry *r, const char *name);
bool wm_node_same(const struct wm_node *a, const struct wm_node *b); /* the facts */
void wm_node_swap_facts(struct wm_node *a, struct wm_node *b);
/** Enter a node, or take it out. */
int wm_node_enter(struct wm_registry *r, struct wm_node *n);
void wm_node_leave(struct wm_registry *r, struct wm_node *n);
/** Exchange facts with those of @p facts, which is in no table; the id as well. @return 0, or
 * -ENOMEM with nothing changed. */
int wm_node_renew(struct wm_registry *r, struct wm_node *n, struct wm_node *facts);
void wm_node_renew_undo(struct wm_registry *r, struct wm_node *n, struct wm_node *facts);
/** The node with this id, in lower case. */
struct wm_node *wm_find_node_id(const struct wm_registry *r, const char *id);
/** A service for a lease. @return NULL without memory. */
struct wm_service *wm_service_new(const struct wm_lease *l);
void wm_service_free(struct wm_service *s);

/** Validate one write against the state, apply it in memory and write it into the transaction.
 *  @return 0: staged, unchanged, or refused (op->code); else the store failed and all writes of the
 *  transaction must be undone, @p e says why. */
int wm_op_stage(struct wm_registry *r, struct wm_op *op, struct wm_err *e);
/** Take back what staging did; the last staged first. */
void wm_op_undo(struct wm_registry *r, struct wm_op *op);
void wm_op_announce(struct wm_registry *r, struct wm_op *op);
/** Free what an announced write replaced. */
void wm_op_settle(struct wm_registry *r, struct wm_op *op);
/** Refuse: remember code and text. */
void wm_op_refuse(struct wm_op *op, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));

/** Fill the registry from its store. */
int wm_registry_recover(struct wm_registry *r, struct wm_err *e);
/** Write the index that a restart begins with, in the open transaction. */
int wm_registry_put_meta(struct wm_registry *r, uint64_t reserved, struct wm_err *e);
int wm_registry_put_service(struct wm_registry *r, const struct wm_lease *l, struct wm_err *e);
