/* SPDX-License-Identifier: Apache-2.0 */
/* op.h - a write: what was asked for, and what it will do. Each kind of write is a table of
 * functions in a file of its own; all come down to edits (edit.c) that are applied when they are
 * stored. Spec: docs/architecture.md, "The one way of a write". Inside registry/ only. */
#pragma once
#include "registry.h"
#include "userspace/model/object.h"

#include <sys/queue.h>

struct wm_op;
struct wm_plan;
struct wm_lease;
TAILQ_HEAD(wm_ops, wm_op);

/* Each function is called once on a write, in this order. */
struct wm_op_kind {
	/* May it be made, and does it change anything? Looks only; the view is the plan's.
	 * @return false: refused, or there is nothing to do (`unchanged`). */
	bool (*judge)(struct wm_plan *p, struct wm_op *op);
	/* Build what it takes, reserve room, encode; the memory stays as it is. May refuse. */
	void (*prepare)(struct wm_plan *p, struct wm_op *op);
	/* It is stored: change the memory. Cannot fail. */
	void (*apply)(struct wm_registry *r, struct wm_op *op);
	/* Free what the write brought along and nobody took; the write itself is freed by
	 * others. */
	void (*discard)(struct wm_op *op);
	/* What is left of a write that has only begun (`again`); its callbacks go over.
	 * @return NULL without memory. */
	struct wm_op *(*rest)(struct wm_op *op);
	bool removes; /* for the words of errors */
};
extern const struct wm_op_kind wm_op_put, wm_op_drop;				  /* instances.c */
extern const struct wm_op_kind wm_op_check_put, wm_op_check_drop;		  /* checks.c */
extern const struct wm_op_kind wm_op_maintenance, wm_op_holder;			  /* checks.c */
extern const struct wm_op_kind wm_op_life;					  /* lifecycle.c */
extern const struct wm_op_kind wm_op_node_put, wm_op_node_drop, wm_op_node_clear; /* node_ops.c */
extern const struct wm_op_kind wm_op_read, wm_op_group;				  /* group.c */
extern const struct wm_op_kind wm_op_policy, wm_op_policies;			  /* policies.c */

/* What must be true of the object that is written for a write to be made. */
enum wm_op_when {
	WM_WHEN_ANY,
	WM_WHEN_EXISTS, /* reads */
	WM_WHEN_INDEX,	/* its modify index is `when_index`; 0: it does not exist */
};

/* An object from what it is to what it becomes. One of a write on an object; in a group the later
 * takes the place of the earlier. */
enum wm_edit_what { WM_EDIT_INSTANCE, WM_EDIT_HOLDER, WM_EDIT_NODE };
struct wm_edit {
	TAILQ_ENTRY(wm_edit) entry; /* of its write's */
	struct wm_op *op;	    /* whose: of a part, its group */
	enum wm_edit_what what;
	struct wm_node *home;
	/* instance, holder: from `old` (NULL: none) to `in` (NULL: it goes) */
	struct wm_instance *old, *in;
	struct wm_check **fresh; /* checks of `in` that it brings along: the edit's until applied */
	unsigned fresh_count;
	enum wm_lifecycle life;	   /* of `old`, as it was judged */
	struct wm_tombstone *tomb; /* of what goes; the edit's until applied */
	uint64_t prepared;	   /* number that was last drawn when it was */
	struct wm_service *from;   /* of `old`, when applied */
	/* node */
	struct wm_node *facts;	   /* new facts before it is applied, those of before afterwards */
	struct wm_version version; /* of its row; until that is applied its holder has another */
	bool founded, dropped;
	bool given; /* as of wm_edit_how */
};
TAILQ_HEAD(wm_edits, wm_edit);

/* A service that a write brings into being. */
struct wm_made {
	SLIST_ENTRY(wm_made) entry;
	struct wm_service *service; /* NULL: the registry has it */
	struct wm_lease *lease;
	bool given;		  /* the lease is new */
	struct wm_lease *evicted; /* one that made room for it; NULL: none */
};

struct wm_op {
	TAILQ_ENTRY(wm_op) entry;
	const struct wm_op_kind *kind;
	struct wm_op *group; /* of a part */
	const char *id;	     /* of what it is about, see the kinds; "" is the node */
	char *subject;	     /* of a part about a check: its id; may be NULL */
	char *node_name;     /* NULL: this agent's node */
	enum wm_object object;
	enum wm_op_when when;
	uint64_t when_index;
	unsigned number; /* of a part: its number in the client's list */
	bool catalog;	 /* submitted for the catalog, else for this agent's node */
	bool lenient;	 /* to remove what is not there is no error */
	bool restore;	 /* of a snapshot: replaces whatever there is, maintenance as well */
	bool sidecar;	 /* registers one, or goes with one */
	bool unchanged;	 /* there is nothing to do */
	bool again;	 /* it has only begun, and goes on in the next turn */
	bool lazy;	 /* another has it on disk and tells it again: it is stored unsynced */
	bool stores;	 /* it is applied when it is stored, though it announces nothing */
	bool applied;	 /* what follows it is awaited, perhaps */
	bool policies;	 /* it changes policies, of which there are no edits */
	bool depends;	 /* others of its batch stand before it: perhaps only because of them */
	int code;
	char *text; /* of an error; may be NULL */
	wm_registry_done done;
	void *arg;
	size_t bytes; /* of memory, toward WM_REGISTRY_QUEUE_BYTES */
	size_t drawn; /* versions of its batch up to it, see logged.c */

	struct wm_node *home;  /* in the view; NULL: there is none */
	uint64_t index;	       /* drawn for it; shared by the parts of a group */
	uint64_t seen;	       /* under which it is announced */
	struct wm_edits edits; /* of a group: those of its parts */
	SLIST_HEAD(, wm_made) made;
	SLIST_HEAD(, wm_service) gone; /* services that it left empty */
	SLIST_ENTRY(wm_op) touched;
};

/* --- kinds whose insides others make or look at --- */
struct wm_policy_op {
	struct wm_op op;      /* its id: the service in lower case */
	struct wm_policy *in; /* NULL: it goes, or taken */
	bool drops;
	struct wm_tombstone *tomb; /* of what goes; NULL: taken */
	/* another agent's word */
	struct wm_foreign_call *call; /* NULL: a client's */
	struct wm_version version;
	bool mended, forget;
	uint64_t when_s;
	bool stale, quiet; /* how that was judged; quiet: nothing but its version is new */
};
struct wm_put {
	struct wm_op op;
	struct wm_instance *in; /* NULL: taken */
	bool replace_checks;
};
struct wm_drop {
	struct wm_op op;
	bool drained; /* only if its drain was not called off; of a sidecar: its service's */
};
struct wm_holder_put {
	struct wm_op op;
	struct wm_instance *in; /* NULL: taken */
};
struct wm_node_put {
	struct wm_op op;
	struct wm_node *facts; /* NULL: taken */
};
struct wm_group {
	struct wm_op op;
	struct wm_ops parts;
	wm_registry_part part; /* called for each of the client's parts */
	unsigned failed;       /* number of the part that was refused */
	bool part_failed;
	unsigned cleared; /* instances that left with their nodes */
};

/* --- life ------------------------------------------------------------------------------------- */
/** A write of @p size octets, in which struct wm_op stands first, with a copy of @p id.
 *  @return NULL without memory. */
void *wm_op_new(const struct wm_op_kind *kind, size_t size, const char *id);
/** Free a write with what it brings and what was prepared for it; not what was applied. NULL ok. */
void wm_op_free(struct wm_op *op);
/** Refuse it; the first reason stands. */
void wm_op_refuse(struct wm_op *op, int code, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
void wm_op_no_memory(struct wm_op *op);
/** Add a part to a group. */
void wm_group_add(struct wm_group *g, struct wm_op *part);
struct wm_group *wm_group_new(wm_registry_done done, void *arg);

/** Queue a write, or free it and say why not. */
int wm_op_submit(struct wm_registry *r, struct wm_op *op, struct wm_err *e);
/** The registration that a draft asks for, judged by itself. The caller owns it. */
int wm_op_register(struct wm_registry *r, const struct wm_instance_draft *d, struct wm_op **ret_op,
		   struct wm_err *e);

/** A write on checks, of the kinds of checks.c. Takes @p check over, also on failure. */
int wm_op_check(const struct wm_op_kind *kind, const char *id, struct wm_check *check,
		struct wm_op **ret, struct wm_err *e);

/* --- judging ---------------------------------------------------------------------------------- */
/** Does the object have what `when` asks for? Else refuses. @p index: its modify index, 0: none. */
bool wm_op_judge_when(struct wm_op *op, uint64_t index);
/** Is the node there? Else refuses, or there is nothing to do for who is lenient. */
bool wm_op_has_home(struct wm_op *op);
/** There is no such instance: refuse, or nothing to do for who is lenient. Another node's with its
 *  ID is named. Cost O(nodes). */
void wm_op_unknown(const struct wm_registry *r, struct wm_op *op);
/** The write whose edits a write's are: a part's group. */
static inline struct wm_op *wm_op_root(struct wm_op *op)
{
	return op->group ? op->group : op;
}

/* --- edits (edit.c) --------------------------------------------------------------------------- */
struct wm_edit_how {
	bool replace;	/* checks that `in` does not name go */
	bool registers; /* it is a registration: the modify index grows */
	bool adds;	/* the client adds to it: what it may become must fit */
	bool anew;	/* nothing of before stays */
	bool given;	/* it is another agent's word, with statuses; what is local stays */
	const struct wm_check *dropped; /* a check that goes */
};
/** An instance, or with @p holder a node's checks, becomes @p in, which is taken over whatever
 *  happens. Refuses; or nothing to do. */
void wm_edit_put(struct wm_plan *p, struct wm_op *op, struct wm_instance *in, bool holder,
		 const struct wm_edit_how *how);
/** The instance @p id of @p home goes, which is there in the view. */
void wm_edit_drop(struct wm_plan *p, struct wm_op *op, struct wm_node *home, const char *id);
/** op->home becomes what @p facts says, or is founded by it; taken over whatever happens. */
void wm_edit_node(struct wm_plan *p, struct wm_op *op, struct wm_node *facts);
/** @p home goes, from which everything else went. */
void wm_edit_node_drop(struct wm_plan *p, struct wm_op *op, struct wm_node *home);
/** @p owner becomes the same with @p check beside the others (taken over), or NULL, and without
 *  what @p how drops. */
void wm_edit_checks(struct wm_plan *p, struct wm_op *op, struct wm_instance *owner,
		    struct wm_check *check, const struct wm_edit_how *how);
/** Forget what was prepared for a write. */
void wm_op_unprepare(struct wm_registry *r, struct wm_op *op);
/** Free an edit that was not applied. */
void wm_edit_free(struct wm_edit *e);
/** Apply the edit of a node. */
void wm_node_apply(struct wm_registry *r, struct wm_op *op, struct wm_edit *e);
/** Apply every edit of a write: wm_op_kind.apply. */
void wm_edits_apply(struct wm_registry *r, struct wm_op *op);
/** Tell listeners what was applied, then free what it replaced. */
void wm_op_announce(struct wm_registry *r, struct wm_op *op);
void wm_op_settle(struct wm_registry *r, struct wm_op *op);
