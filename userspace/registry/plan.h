/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - a batch: writes that are judged, prepared, stored in one transaction and then applied.
 * While it is prepared it is a view of the registry as its writes will leave it; the memory itself
 * is not touched. Inside registry/ only. */
#pragma once
#include "op.h"
#include "userspace/base/map.h"
#include "userspace/store/batch.h"
#include "userspace/store/writer.h"

/* What the view has under a name that the memory has not, or has otherwise. */
struct wm_seen {
	struct wm_seen *older;	 /* the plan's list */
	struct wm_seen *shadows; /* what stood under its key before */
	struct wm_op *op;	 /* that put it there */
	union {
		struct wm_edit *edit; /* instances, holders, nodes */
		const struct wm_version *version;
		struct wm_policy_op *policy; /* that wrote it last */
		struct {
			struct wm_check *check; /* NULL: it goes */
			const struct wm_instance *owner;
		};
		struct {
			struct wm_service *service; /* the registry's, or made; NULL: none */
			unsigned count;		    /* instances */
			unsigned comes;		    /* that enter it: places of its list */
			bool existed;		    /* before `op` */
		};
	};
	uint32_t len;
	char key[];
};

struct wm_room { /* that was reserved in a table */
	struct wm_map *map;
	size_t count;
};

/* How far a plan had come: what follows is taken back when a write is refused. */
struct wm_plan_mark {
	struct wm_seen *log;
	size_t rows, rooms, drawn;
	uint64_t seq;
	int instances, checks, nodes, services, policies;
};

struct wm_riding { /* statuses that are stored with a batch, and the version of the row */
	struct wm_instance_box *box;
	struct wm_version version;
};

struct wm_plan {
	struct wm_registry *r;
	struct wm_ops ops; /* in their order */
	unsigned changes;  /* of these, those that have edits */
	struct wm_map *seen;
	struct wm_seen *log;				  /* newest first */
	int instances, checks, nodes, services, policies; /* more than the registry has */
	bool nodes_touched;				  /* the view has some otherwise */
	struct wm_room *rooms;
	size_t rooms_count, rooms_cap;
	uint64_t seq;		     /* of the log before it */
	const struct wm_version *as; /* what rows have in place of a drawn one; NULL: none */
	uint64_t as_when_s;	     /* of tombstones with it */
	const char *as_semver;	     /* the same */
	bool no_tombstones;	     /* what goes is no word of anybody's */
	struct wm_drawn **drawn;     /* versions that are told once they are stored, logged.c */
	size_t drawn_count, drawn_cap, told;
	unsigned expired; /* tombstones whose rows it deletes */
	struct wm_riding *riding;
	unsigned riding_count;
	bool stored; /* is being applied, some a turn */
	STAILQ_HEAD(, wm_waiter) waiters;
	uint64_t given; /* last number drawn before it, and with it */
	uint64_t given_last;
	uint64_t reserved; /* once it is stored */
	struct wm_commit commit;
	struct wm_batch *rows;
};

/** @return NULL without memory. */
struct wm_plan *wm_plan_new(struct wm_registry *r);
/** With its writes. NULL ok. */
void wm_plan_free(struct wm_plan *p);
/** Judge and prepare a write, which becomes the plan's; refused or unchanged it leaves no trace. */
void wm_plan_add(struct wm_plan *p, struct wm_op *op);
/** The row of an instance or of a node with its checks, as the view has them, under a new version,
 * which @p i has afterwards: what others see must be given back its own. @p cut: one that is
 *  too large goes without outputs. @return 0, -ENOMEM, WM_E_LIMIT; then there is none. */
int wm_plan_put_row(struct wm_plan *p, struct wm_instance *i, bool cut);
/** Into the scratch: the node's row, as it is with @p holder. @return 0, -ENOMEM, WM_E_LIMIT. */
int wm_plan_encode_node(struct wm_plan *p, struct wm_instance *holder, bool cut);
/** Where the writers' priority decides: does a write of ours on a shared object stand against
 *  @p here, the version of what is there or was removed (NULL: nothing)? Else refuses. */
bool wm_plan_outranks(const struct wm_plan *p, struct wm_op *op, const char *node, const char *id,
		      const struct wm_version *here);
/** The version of a removal in memory of what has this name. NULL: none. */
const struct wm_version *wm_plan_removed(const struct wm_plan *p, const char *node, const char *id);
/** What goes with an edit leaves a tombstone in its place. @return 0, -ENOMEM. */
int wm_plan_put_tombstone(struct wm_plan *p, struct wm_edit *e, const struct wm_instance *i,
			  uint64_t row);
/** A version for what is written next. */
struct wm_version wm_plan_draw(struct wm_registry *r, enum wm_version_origin o);
/** Write the row of @p t among @p rows. @return 0, -ENOMEM. */
int wm_tombstone_put(struct wm_registry *r, struct wm_batch *rows, const struct wm_tombstone *t);
/** The row of a tombstone of @p o goes, as its object is there again. @p seen: what the view has
 * under the name. @return 0, -ENOMEM. */
int wm_plan_del_tombstone(struct wm_plan *p, enum wm_version_origin o, const struct wm_node *n,
			  const char *id, const struct wm_seen *seen);
/** Rows of tombstones whose time is over. @return 0, -ENOMEM. */
int wm_plan_expire(struct wm_plan *p);
/** A version was drawn for a row of an object. @return 0, -ENOMEM. */
int wm_plan_drawn(struct wm_plan *p, const struct wm_version *v, const char *node, const char *id);
void wm_plan_drop_drawn(struct wm_plan *p, size_t until);
/** Tell the listener of those up to a place: they are applied. */
void wm_plan_tell(struct wm_plan *p, size_t until);
int wm_plan_put_service(struct wm_plan *p, const struct wm_lease *l, uint64_t create_index);
/** The lease of @p name for @p m, which is on its write's list: it is there, or given. Its row is
 *  not written. @return 0, -ENOMEM, WM_E_FULL. */
int wm_plan_lease(struct wm_plan *p, struct wm_made *m, const char *name);
/** Rows of statuses that somebody waits for, and up to @p max in all. @return 0, -ENOMEM. */
int wm_plan_ride(struct wm_plan *p, unsigned max);
/** It is stored: give the reserved room back, so that applying takes it. */
void wm_plan_release_room(struct wm_plan *p);

/* --- for a kind's judge and prepare --- */
/** Judge and prepare: of a write, or of a group's part. @return false: refused. */
bool wm_plan_run(struct wm_plan *p, struct wm_op *op);
/** Number of a write, drawn by the first that asks. */
uint64_t wm_plan_index(struct wm_plan *p, struct wm_op *op);
/** Room for @p n entries more. @return 0, -ENOMEM. */
int wm_plan_reserve(struct wm_plan *p, struct wm_map *m, size_t n);
/** A name of the view that @p op changes; it begins as what stood there. @return NULL w/o memory.
 */
struct wm_seen *wm_plan_see(struct wm_plan *p, struct wm_op *op, char what, const struct wm_node *n,
			    const char *id);
const struct wm_seen *wm_plan_seen(const struct wm_plan *p, char what, const struct wm_node *n,
				   const char *id);
#define WM_SEEN_INSTANCE 'i'
#define WM_SEEN_CHECK	 'c'
#define WM_SEEN_NODE	 'n' /* its id is "" */
#define WM_SEEN_HOLDER	 'h' /* likewise */
#define WM_SEEN_SERVICE	 's' /* of no node */
#define WM_SEEN_NODE_ID	 'd' /* likewise */
#define WM_SEEN_POLICY	 'p' /* of no node */
#define WM_SEEN_VERSION	 'v' /* of an object that becomes no other by it */

/* --- the view --- */
struct wm_node *wm_view_node(const struct wm_plan *p, const char *name);
struct wm_node *wm_view_node_id(const struct wm_plan *p, const char *id);
struct wm_instance *wm_view_instance(const struct wm_plan *p, const struct wm_node *n,
				     const char *id);
struct wm_instance *wm_view_holder(const struct wm_plan *p, const struct wm_node *n);
/** @p ret_owner (may be NULL): whose it is. */
struct wm_check *wm_view_check(const struct wm_plan *p, const struct wm_node *n, const char *id,
			       const struct wm_instance **ret_owner);
/** Every instance that the view has on a node; @p fn returns false to end. */
void wm_view_each(const struct wm_plan *p, struct wm_node *n,
		  bool (*fn)(void *arg, struct wm_instance *i), void *arg);
/** What is known of a node: itself, or who holds its new facts. */
const struct wm_node *wm_view_facts(const struct wm_plan *p, const struct wm_node *n);
/** Swap a node with its new facts, and again afterwards: for what reads a node. */
void wm_plan_swap_facts(struct wm_node *n, struct wm_node *facts);
