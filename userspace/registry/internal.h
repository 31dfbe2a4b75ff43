/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what registry.c (queue, reading), apply.c (one write: stage, undo, announce) and
 * recover.c (reading the store) share. Inside registry/ only. */
#pragma once
#include "object.h"
#include "record.h"
#include "store.h"
#include "vip.h"

#define WM_REGISTRY_LISTENERS_MAX   16		/* subscribers of the change stream */
#define WM_REGISTRY_QUEUE_MAX	    65536	/* writes that wait for one flush */
#define WM_REGISTRY_QUEUE_BYTES	    (64u << 20) /* octets of memory of these */
#define WM_REGISTRY_BATCH_MAX	    4096 /* writes of one transaction: bounds what an undo holds */
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
#define WM_REGISTRY_NODE_ROW  0 /* of the node's checks; instances begin with 1 */

enum wm_op_kind {
	WM_OP_INSTANCE,	   /* register or deregister an instance */
	WM_OP_CHECK_PUT,   /* `check`, of the instance `id` or of the node */
	WM_OP_CHECK_DROP,  /* the check `id`, whoever has it */
	WM_OP_HOLDER,	   /* all checks of the node: `in` is the new holder */
	WM_OP_MAINTENANCE, /* of the instance `id` or of the node: `check`, or NULL to end it */
};

struct wm_op {
	TAILQ_ENTRY(wm_op) entry;
	enum wm_op_kind kind;
	struct wm_check *check; /* to be put; NULL once an instance has it */
	struct wm_instance *in; /* register: detached until applied; NULL: deregister; of a write
				 * on a check: made by staging */
	bool replace_checks;
	bool restore; /* of a snapshot: replaces whatever there is, maintenance as well */
	uint64_t at;  /* index that all writes of a restore share; 0: the next */
	wm_registry_done done;
	void *arg;
	size_t bytes; /* of memory, toward WM_REGISTRY_QUEUE_BYTES */
	int code;
	char *text; /* of an error; may be NULL */

	/* what staging did, in this order; undo goes back from wherever it stopped */
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
TAILQ_HEAD(wm_ops, wm_op);

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
	struct wm_node node;
	char *datacenter;
	unsigned instances_max, services_max;
	struct wm_vip_space space;
	struct wm_store *store; /* NULL: memory only */
	struct wm_vips *vips;
	struct wm_map *instances, *services, *checks;
	struct wm_instance *holder; /* of the node's checks; in no map */
	uint64_t index;
	uint64_t reserved;		    /* stored: after a crash indexes go on above it */
	uint64_t instance_row, service_row; /* last given */
	struct wm_ops queue;
	unsigned queued;
	size_t queued_bytes;
	struct wm_instance_boxes dirty; /* statuses that are not stored yet */
	uint64_t dirty_due_ms;		/* when they are stored at the latest */
	STAILQ_HEAD(, wm_waiter) waiters;
	struct wm_buf record, small; /* scratch: for instances, for the rest */
	struct wm_listener listeners[WM_REGISTRY_LISTENERS_MAX];
	unsigned listeners_count;
	struct wm_registry_stats stats;
	LIST_HEAD(, wm_save) saves; /* that go on */
};

/** Id of the instance that a write is about, as things stand; "" is the node, NULL: there is none.
 */
const char *wm_op_id(const struct wm_registry *r, const struct wm_op *op);

/** Before anything is staged: after an error of the store, take up writing again. @return 0, or why
 * not yet. */
int wm_registry_heal(struct wm_registry *r, struct wm_err *e);
/** The store refused: roll back, and say so in the figures. */
void wm_registry_commit_failed(struct wm_registry *r, const struct wm_err *e);
/** Next index; does not grow past what is reserved. */
uint64_t wm_registry_next_index(struct wm_registry *r);
/** Hand a change to every listener. */
void wm_registry_announce(const struct wm_registry *r, const struct wm_change *c);
/** Queue a write, or free it and say why not. */
int wm_op_submit(struct wm_registry *r, struct wm_op *op, struct wm_err *e);
/** Worst of an instance's checks and its node's. */
enum wm_status wm_instance_effective(const struct wm_registry *r, const struct wm_instance *i);
/** Announce that the node's checks are other ones, or @p c has another status, and what follows of
 * it for every instance. Cost O(instances). */
void wm_registry_node_changed(struct wm_registry *r, uint64_t index, struct wm_check *c);
/** Write an instance, or the holder, into the open transaction. @return 0, WM_E_LIMIT (too large
 * for a record, nothing was written), or why the store failed, then @p e is filled. */
int wm_registry_put_instance(struct wm_registry *r, const struct wm_instance *i, struct wm_err *e);
/** Put an instance into its service's list. @return 0 or -ENOMEM. */
int wm_service_add(struct wm_service *s, struct wm_instance *i);
/** Effective addresses and identity of an instance on this node. */
void wm_instance_bind(struct wm_registry *r, struct wm_instance *i);
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
