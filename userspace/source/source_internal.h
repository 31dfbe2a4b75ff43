/* SPDX-License-Identifier: Apache-2.0 */
/* source_internal.h - what the files of the door share: source.c (sources, their state and lists),
 * source_put.c (what is there, by difference), source_write.c (to the registry, some a turn),
 * source_brake.c (removals that are held), source_keep.c (the file of identity and specs). Inside
 * source/ only. */
#pragma once
#include "source.h"
#include "userspace/base/buf.h"
#include "userspace/base/map.h"
#include "userspace/model/node.h"
#include "userspace/model/object.h"

#include <sys/queue.h>

#define WM_SOURCE_ITEMS_MAX    (1u << 21) /* instances and nodes: the registry's bound comes first */
#define WM_SOURCE_NODE_MAX     253	  /* octets of a name of a node: Kubernetes' bound */
#define WM_SOURCE_QUEUE_MAX    4096 /* objects that wait, 3 MB: above it a source is to pause */
#define WM_SOURCE_EPOCH	       1    /* of the logs of its nodes: numbers go on over restarts */
#define WM_SOURCE_BUCKETS      6    /* of the minute that the brake looks at */
#define WM_SOURCE_BUCKET_MS    10000
#define WM_SOURCE_IDENTITY_MAX 128	   /* octets of a cluster's id: a UUID, or a CA's hash */
#define WM_SOURCE_FILE_MAX     (64u << 20) /* octets of what is kept: 2,000 a spec at the most */
#define WM_SOURCE_TEXT_MAX     320	   /* octets of the texts of a state, NUL included */

/* A node of a source. */
struct wm_source_node {
	struct wm_peer_id id;
	struct wm_source_item *self;	   /* the item of the node itself */
	LIST_HEAD(, wm_source_item) items; /* on it, beside its own */
	bool gone;			   /* it goes with the last of them */
	char *folded;			   /* in lower case: the key */
	char name[];			   /* as the registry has it, NUL, folded */
};

/* An instance, or with id "" a node: what the registry has of it, or is to have. There are as many
 * as endpoints: kept small. */
struct wm_source_item {
	TAILQ_ENTRY(wm_source_item) entry, hold_entry; /* of the queue, of what is held */
	LIST_ENTRY(wm_source_item) node_entry;
	struct wm_source_service *service; /* NULL: a node */
	/* What it is to be from now on, detached; of a node its `facts`' holder. NULL: what was
	 * last given to the registry. */
	struct wm_instance *want, *flying;
	uint64_t since_ms;    /* that it waits, or is held */
	uint32_t seen;	      /* the list that it was seen in last */
	bool queued : 1;      /* in the queue, or to be as soon as it flies no more */
	bool held : 1;	      /* by the brake */
	bool gone : 1;	      /* it is to go, or flies to */
	bool flies : 1;	      /* a write of it is with the registry */
	bool flying_gone : 1; /* which removes it */
	bool stored : 1;      /* the registry has it, or may have */
	bool told : 1;	      /* a node: by the source, not only of what is on it */
	bool usable : 1; /* took new connections when it was last told of: counts for the brake */
	bool came : 1;	 /* it was that once */
	/* the key of the table: */
	struct wm_source_node *node;
	char id[];
};
TAILQ_HEAD(wm_source_items, wm_source_item);

/* What an item is to be, or flies as, where it is a node; NULL: it is none, or nothing. */
static inline struct wm_node *wm_source_as_node(const struct wm_source_item *i,
						const struct wm_instance *holder)
{
	return i->service || !holder ? NULL : holder->node;
}

/* A service of a source, while an instance or a spec of it is there. */
struct wm_source_service {
	unsigned instances;
	bool spec, spec_held;
	bool waits;  /* its addresses are left alone until the first list is stored */
	bool behind; /* of a walk: some instance of it is not */
	uint32_t seen;
	char name[]; /* in lower case: the key */
};

struct wm_source_scope {
	unsigned services;
	bool said;		/* by wm_source_scope() */
	uint32_t seen, said_in; /* lists, of all and of scopes */
	char name[];		/* in lower case: the key */
};

/* What came and went within a minute, of instances or of specs. */
struct wm_source_brake {
	uint64_t bucket; /* number of the newest one */
	unsigned removed[WM_SOURCE_BUCKETS], added[WM_SOURCE_BUCKETS];
};

struct wm_source {
	TAILQ_ENTRY(wm_source) entry;
	struct wm_sources *all;
	char name[WM_SOURCE_NAME_MAX + 1], prefix[WM_SOURCE_PREFIX_MAX + 1];
	struct wm_source_config c; /* texts: the two above */
	struct wm_map *nodes, *items, *services, *scopes;
	struct wm_source_items queue, held;
	unsigned queued, holding, instances, specs, usable, flights;
	LIST_HEAD(, wm_source_batch) batches; /* with the registry */
	uint32_t list, scopes_list;
	bool listing;
	bool settled;	     /* all of the first list is stored */
	bool late;	     /* it took longer than WM_SOURCE_PATIENCE_MS, and services wait */
	uint64_t settle_ms;  /* monotonic: then those that need not go on; 0: no list yet */
	bool alien;	     /* another identity than what is kept: nothing is taken */
	bool taken;	     /* an operator gave the former one up */
	uint64_t engaged_ms; /* the brake, since when; 0: it is not */
	struct wm_source_brake instance_brake, spec_brake;
	enum wm_source_state state;
	uint64_t since_ms, synced_ms;
	uint64_t born_ms, listed_ms; /* monotonic: it was made, and its last list ended */
	bool adopted;		     /* an earlier run left something */
	bool ready;		     /* see wm_source_ready() */
	char text[WM_SOURCE_TEXT_MAX], alarm[WM_SOURCE_TEXT_MAX];
	char identity[WM_SOURCE_IDENTITY_MAX + 1];
	uint64_t counters[WM_SOURCE_COUNTERS_COUNT];
	struct wm_env_timer *write_timer, *hold_timer, *keep_timer;
	bool keep_armed;
	struct wm_buf record, records; /* to give to the registry */
	struct wm_buf keeping;	       /* the file, as far as it is written */
	size_t keep_pos;
	void (*room)(void *arg);
	void *room_arg;
};

#define WM_SOURCE_STEP	      128  /* objects given to the registry a turn: some 2 ms to read */
#define WM_SOURCE_FLIGHTS_MAX 2048 /* of them that are not stored yet */
struct wm_source_batch {
	LIST_ENTRY(wm_source_batch) entry;
	struct wm_source *s; /* NULL: it ended */
	unsigned count;
	struct wm_source_item *items[WM_SOURCE_STEP];
};

struct wm_sources {
	struct wm_sources_config c;
	char *data_dir; /* NULL: nothing is kept */
	uint64_t seq;	/* the last number of all the nodes' logs */
	TAILQ_HEAD(, wm_source) sources;
};

/* --- source.c --- */
/** The name that a node has in the registry. */
void wm_source_node_name(const struct wm_source *s, const char *node,
			 char ret[static WM_NODE_NAME_MAX + 1]);
/** @return NULL: it is not there. */
struct wm_source_node *wm_source_find_node(const struct wm_source *s, const char *name);
struct wm_source_node *wm_source_add_node(struct wm_source *s, const char *name);
struct wm_source_item *wm_source_find(const struct wm_source *s, const struct wm_source_node *n,
				      const char *id);
/** An item that is nowhere yet. @p service in any case, NULL: of a node. @return NULL without
 *  memory. */
struct wm_source_item *wm_source_add(struct wm_source *s, struct wm_source_node *n, const char *id,
				     const char *service);
/** It is gone from the registry, too. Its node goes with the last item of it. */
void wm_source_drop(struct wm_source *s, struct wm_source_item *i);
struct wm_source_service *wm_source_service_of(struct wm_source *s, const char *name, bool add);
/** Nothing is left of it? Then it goes. */
void wm_source_service_trim(struct wm_source *s, struct wm_source_service *v);
void wm_source_forget_want(struct wm_source_item *i);
/** Of @p i: what it is to be, or flies as; NULL ok. */
void wm_source_free_object(const struct wm_source_item *i, struct wm_instance *object);
/** Another instance stands under the id: of which service. @return 0, -ENOMEM. */
int wm_source_move(struct wm_source *s, struct wm_source_item *i, const char *service);

/* --- source_put.c --- */
/** The item is to go, now: no brake. */
void wm_source_remove(struct wm_source *s, struct wm_source_item *i);
void wm_source_spec_remove(struct wm_source *s, struct wm_source_service *v);
/** Something was stored, or a list ended: was it the last of the first list? Then addresses of new
 *  services are taken over; and each WM_SOURCE_PATIENCE_MS until then, as a store may refuse for
 *  ever, of those whose instances are all stored. Cost of that: all items. */
void wm_source_settle(struct wm_source *s);

/* --- source_write.c --- */
void wm_source_queue(struct wm_source *s, struct wm_source_item *i);
void wm_source_unqueue(struct wm_source *s, struct wm_source_item *i);
void wm_source_on_write(void *source);

/* --- source_brake.c --- */
/** Something usable was added. */
void wm_source_came(struct wm_source *s, struct wm_source_brake *b);
/** May @p count things go, of @p there that there are? Counted if so. @p gross: what came does not
 *  count for them. @return false: the brake is engaged. */
bool wm_source_may_go(struct wm_source *s, struct wm_source_brake *b, unsigned count,
		      unsigned there, bool gross);
void wm_source_hold(struct wm_source *s, struct wm_source_item *i);
void wm_source_hold_spec(struct wm_source *s, struct wm_source_service *v);
/** It came back, or goes in another way. */
void wm_source_unhold(struct wm_source *s, struct wm_source_item *i);
/** Ends the brake if nothing is held any more. */
void wm_source_ease(struct wm_source *s);
void wm_source_on_hold(void *source);

/* --- source_keep.c --- */
/** What is to be kept is another: written soon. */
void wm_source_keep_soon(struct wm_source *s);
void wm_source_on_keep(void *source);
void wm_source_keep_now(struct wm_source *s);
/** Read identity and specs of an earlier run; the specs are put. What cannot be read is logged. */
void wm_source_recall(struct wm_source *s);
