/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - the registry's own structure, and what its files share beside writes (op.h, plan.h).
 * Inside registry/ only. */
#pragma once
#include "foreign.h"
#include "history.h"
#include "op.h"
#include "userspace/base/buf.h"
#include "userspace/base/map.h"
#include "userspace/model/object.h"
#include "userspace/store/record.h"
#include "userspace/store/writer.h"
#include "vip.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_REGISTRY_LISTENERS_MAX 16	      /* subscribers of the change stream */
#define WM_REGISTRY_QUEUE_MAX	  65536	      /* writes that wait for one flush */
#define WM_REGISTRY_QUEUE_BYTES	  (64u << 20) /* octets of memory of these */
#define WM_REGISTRY_BATCH_MAX	  4096 /* writes of one transaction: bounds what an undo holds */
#define WM_REGISTRY_CLEAR_STEP                                                                     \
	256 /* instances that leave with their node in one turn: some 5 ms; the rest follows */
#define WM_REGISTRY_CLEAR_MAX                                                                      \
	512 /* instances that leave with nodes among other operations, which all have one turn */
#define WM_REGISTRY_TURN_MS	    4	 /* of a turn, for writes that are prepared and applied */
#define WM_REGISTRY_STATUS_DELAY_MS 250	 /* config's default */
#define WM_REGISTRY_STATUS_RETRY_MS 1000 /* the same after one failed */
#define WM_REGISTRY_DIRTY_RIDE	    128	 /* rows of statuses that ride in a commit of writes */
#define WM_REGISTRY_DIRTY_BATCH	    1024 /* rows of statuses in a commit of their own */

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
	const struct wm_env *env;
	struct wm_node *self; /* this agent's node */
	char *datacenter;
	unsigned instances_max, services_max, nodes_max, checks_max;
	unsigned instances_count, checks_count; /* of all nodes, checks of nodes as well */
	struct wm_vip_space space;
	struct wm_store *store; /* NULL: memory only. The writer's, once it is there */
	struct wm_writer *writer;
	bool threaded;		    /* jobs run on the writer's thread, else while they are put */
	struct wm_plan *plan;	    /* that is being stored; NULL: none */
	struct wm_rewrite *rewrite; /* goes on beside it; NULL: none */
	char *path;		    /* of the store's file; NULL: none */
	bool restoring;		    /* a snapshot, in part */
	struct wm_vips *vips;
	struct wm_map *nodes;	 /* by name in lower case */
	struct wm_map *node_ids; /* nodes of the catalog that have one, by it */
	struct wm_map *services; /* by name */
	struct wm_map *policies; /* by service */
	uint64_t policies_index; /* under which one changed last */
	struct wm_map *specs;	 /* of sources, by service */
	bool has_bands;		 /* somebody said how far a node is */
	uint64_t index;		 /* newest that was announced */
	struct wm_history history;
	uint32_t epoch;	      /* of this agent's log */
	unsigned unversioned; /* recovered rows of before there were versions */
	uint64_t given;	      /* last that was drawn: for writes that are being stored, too */
	uint64_t reserved;    /* stored: after a crash indexes go on above it */
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
	unsigned status_delay_ms;
	struct wm_env_timer *status_timer; /* lets a turn come then; NULL: others do */
	STAILQ_HEAD(, wm_waiter) waiters;
	struct wm_buf record, small; /* scratch: for instances, for the rest */
	struct wm_listener listeners[WM_REGISTRY_LISTENERS_MAX];
	unsigned listeners_count;
	struct wm_node *walks; /* nodes that what is on them is to follow, the first first */
	unsigned awaited;      /* of them: writes wait for it */
	uint64_t busy_turn, busy_since_ns; /* when writes began to take time of which turn */
	bool unhurried;			   /* somebody waits for all of it: time does not matter */
	unsigned sidecars_wait; /* that are registered with their service, and not yet there */
	struct wm_registry_stats stats;
	int (*judge)(void *arg, const struct wm_instance_draft *d, struct wm_err *e);
	void *judge_arg;
	bool sync; /* there are other agents */
	unsigned tombstone_ttl_s;
	uint32_t epoch_before; /* of a log that ended, 0: none */
	uint64_t *forgotten;   /* rows of others\' objects, which go with the first commit */
	size_t forgotten_count, forgotten_cap;
	void (*logged)(void *arg, const struct wm_logged *l); /* NULL: nobody */
	void *logged_arg;
	bool (*ask_alive)(void *arg, const struct wm_peer_id *id); /* NULL: they are */
	void *ask_alive_arg;
	/* NULL: the clock decides */
	int (*ask_stands)(void *arg, const struct wm_registry_stand *s, struct wm_err *e);
	void *ask_stands_arg;
	bool by_priority; /* that decides between shared objects */
	struct wm_foreign_stats foreign_stats;
	void (*first_result)(void *arg, const struct wm_check *c);
	void *first_result_arg;
	void (*output)(void *arg, const struct wm_check *c); /* NULL: nobody */
	void *output_arg;
};

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
/** A result of a check. @p stored: it is to be stored, and is news for others. As
 *  wm_registry_set_status(). */
int wm_registry_report(struct wm_registry *r, struct wm_check *c, enum wm_status s,
		       const char *output, bool stored);
/** A check reported @p s. @return true if that made a starting instance running. */
bool wm_instance_begins(struct wm_instance *i, enum wm_status s);
/** It leaves: take its statuses off the list of what is to be stored. */
void wm_instance_retire(struct wm_registry *r, struct wm_instance *i);
/** A status of it is newer than what is stored. */
void wm_registry_mark_dirty(struct wm_registry *r, struct wm_instance_box *b);

/* --- sidecar.c --- */
/** A registration with a sidecar: as wm_registry_register(). */
int wm_sidecar_register(struct wm_registry *r, const struct wm_instance_draft *d,
			wm_registry_done done, void *arg, struct wm_err *e);
/** Submit @p drop, and of what was registered within it. */
int wm_sidecar_deregister(struct wm_registry *r, struct wm_drop *drop, struct wm_err *e);

/** The operator's metadata of this agent's node, "key=value" each, the list ends with NULL. What is
 *  returned is freed by wm_node_meta_free(), also after an error. @return 0, WM_E_INVALID,
 *  WM_E_LIMIT, -ENOMEM, then @p e says which pair. */
int wm_node_meta_read(char *const *pairs, struct wm_pair **ret, unsigned *ret_count,
		      struct wm_err *e);
void wm_node_meta_free(struct wm_pair *meta, unsigned count);

/* --- follow.c --- */
/** Indexes of services, statuses and addresses of instances follow their node: at once if they are
 *  few, else over turns. @p wait: r->awaited is not 0 until they did. */
void wm_registry_node_touched(struct wm_registry *r, struct wm_node *n, uint64_t index, bool wait);
/** The node goes. */
void wm_registry_node_forget(struct wm_registry *r, struct wm_node *n);
/** Go on. @return true: nothing is left. */
bool wm_registry_follow(struct wm_registry *r);

/* --- batches.c --- */
/** Are there turns, whose time is to be shared? Else all is done at once. */
bool wm_registry_slices(const struct wm_registry *r);
/** Have writes had their time of this turn? It is counted from the first question. */
bool wm_registry_spent(struct wm_registry *r);
/** Draw the next number; does not grow past what is reserved. */
uint64_t wm_registry_draw(struct wm_registry *r);
/** Announce under a number that is above every one before: @p drawn, or a new one. */
uint64_t wm_registry_show(struct wm_registry *r, uint64_t drawn);
/** The store refused: say so in the figures. */
void wm_registry_not_stored(struct wm_registry *r, const struct wm_err *e);
/** The store's file has lost what was acknowledged: write all of it anew, in parts, then go on with
 *  the batch that waits for it. rewrite.c */
void wm_rewrite_begin(struct wm_registry *r,
		      void (*done)(struct wm_registry *r, int code, const struct wm_err *e));

/** Hand a change to every listener. */
void wm_registry_announce(struct wm_registry *r, const struct wm_change *c);
/** Give this agent's node its id. @return 0 or -ENOMEM. */
int wm_registry_set_node_id(struct wm_registry *r, const char *id);
/** What a draft's check says of a node must be of this one. @return 0 or WM_E_INVALID. */
int wm_check_draft_node(const struct wm_registry *r, const struct wm_check_draft *d,
			struct wm_err *e);
/** Worst of an instance's checks and its node's. */
enum wm_status wm_instance_effective(const struct wm_registry *r, const struct wm_instance *i);
/** Announce that a node's checks are other ones, or @p c has another status; what is on it follows.
 *  @p wait: a write waits for that. */
void wm_registry_node_changed(struct wm_registry *r, struct wm_node *n, uint64_t index,
			      struct wm_check *c, bool wait);
/** Record of an instance, or of a holder, into the scratch. @p cut: one that is too large, as an
 *  older agent may have stored it, goes without outputs, counted and logged.
 *  @return 0, -ENOMEM, WM_E_LIMIT. */
int wm_registry_encode(struct wm_registry *r, const struct wm_instance *i, bool cut);
/** Put an instance into its service's list. @return 0 or -ENOMEM. */
int wm_service_add(struct wm_service *s, struct wm_instance *i);
/** Take one out of its service's list. */
void wm_service_remove(struct wm_service *s, struct wm_instance *i);
/** Room for @p n more. @return 0 or -ENOMEM. */
int wm_service_reserve(struct wm_service *s, unsigned n);
/** Effective addresses and identity of an instance on a node. */
void wm_instance_bind(struct wm_node *n, struct wm_instance *i);

/* --- policies.c --- */
struct wm_policy *wm_find_policy(const struct wm_registry *r, const char *service);
struct wm_policy_op *wm_policy_op_new(const char *service, bool drops, struct wm_policy *in);
/* Some policies in one write: of a snapshot. */
struct wm_policies_op {
	struct wm_op op;
	struct wm_policy_op **parts;
	unsigned count;
};
/** Add one to such a write: @p p is copied, NULL: it goes. @return false: no memory. */
bool wm_policies_add(struct wm_policies_op *op, const char *service, const struct wm_policy *p);
/** At the start: one that the store has, taken over. @return 0, -ENOMEM, WM_E_CONFLICT: it is there
 *  twice. */
int wm_policy_enter(struct wm_registry *r, struct wm_policy *p);

/* --- labels.c --- */
#define WM_LABEL_MARK '\2' /* no service's name has it */
#define WM_LABEL_KEY_MAX                                                                           \
	(WM_SERVICE_NAME_MAX + 1 + WM_TAG_MAX + 1) /* octets of a lease's name, with NUL */
/** The lease's name, in lower case. @return false: it is cut off. */
bool wm_label_key(char to[WM_LABEL_KEY_MAX], const char *service, const char *label);
/** The other way: @return the label, within @p l; "": it is a service's. */
const char *wm_lease_label(const struct wm_lease *l, char service[WM_LABEL_KEY_MAX]);
/** Leases for the subsets of a policy that @p op writes. One for which no address is left has none.
 *  @return 0, -ENOMEM. */
int wm_plan_labels(struct wm_plan *p, struct wm_op *op, const struct wm_policy *in);
/** The write is stored: its leases are no longer planned, once for all policies of a write; and
 *  those of @p old go, those of @p in are held. Either may be NULL. */
void wm_labels_made(struct wm_op *op);
void wm_labels_apply(struct wm_registry *r, const struct wm_policy *old,
		     const struct wm_policy *in);
/** Those of a policy that the store has. @return 0, -ENOMEM. */
int wm_labels_recover(struct wm_registry *r, const struct wm_policy *p);

/* --- nodes.c --- */
struct wm_node *wm_find_node(const struct wm_registry *r, const char *name);
/** Enter a node, or take it out. */
int wm_node_enter(struct wm_registry *r, struct wm_node *n);
void wm_node_leave(struct wm_registry *r, struct wm_node *n);
/** Exchange facts with those of @p facts, which is in no table; the id as well. @return 0, or
 * -ENOMEM with nothing changed. */
int wm_node_renew(struct wm_registry *r, struct wm_node *n, struct wm_node *facts);
void wm_node_renew_undo(struct wm_registry *r, struct wm_node *n, struct wm_node *facts);
/** The check of a foreign node that says whether its agent is alive. @return NULL without memory.
 */
struct wm_check *wm_serf_new(const struct wm_registry *r, const struct wm_peer_id *id);
/** The node of an agent: this one's, or a foreign one. */
struct wm_node *wm_find_origin(const struct wm_registry *r, const struct wm_peer_id *id);
/** The node with this id, in lower case. */
struct wm_node *wm_find_node_id(const struct wm_registry *r, const char *id);
/** A service for a lease. @return NULL without memory. */
struct wm_service *wm_service_new(const struct wm_lease *l);
void wm_service_free(struct wm_service *s);

/** What a restart begins with. */
static inline struct wm_record_meta wm_registry_meta(const struct wm_registry *r, uint64_t reserved)
{
	return (struct wm_record_meta){.reserved = reserved,
				       .node_id = r->self->id,
				       .epoch = r->epoch,
				       .node_name = r->sync ? r->self->name : NULL};
}
/** Fill the registry from its store. */
int wm_registry_recover(struct wm_registry *r, struct wm_err *e);
/** Write the index that a restart begins with, in the open transaction. */
int wm_registry_put_meta(struct wm_registry *r, uint64_t reserved, struct wm_err *e);
int wm_registry_put_service(struct wm_registry *r, const struct wm_lease *l, struct wm_err *e);
