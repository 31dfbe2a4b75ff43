/* SPDX-License-Identifier: Apache-2.0 */
/* registry.h - the node's authoritative set of services, instances and checks; the one writer.
 * A write is submitted, judged against the state and what is being stored, made durable on the
 * store's thread, then applied, announced, and only then acknowledged: who reads sees what is
 * durable. When the store refuses nothing is applied and every submitter is told. A check's status
 * is applied and announced at once (it must reach the kernel within the turn) and stored with the
 * next batch. It does not parse requests, run checks, or know DNS and maps. Threading: loop thread
 * only. Time: wm_registry_config.env. Spec: Consul agent API; docs/architecture.md, "The one way of
 * a write". */
#pragma once
#include "userspace/base/env.h"
#include "userspace/base/err.h"
#include "userspace/model/band.h"
#include "userspace/model/draft.h"
#include "userspace/model/node.h"
#include "userspace/model/policy.h"
#include "userspace/model/spec.h"
#include "userspace/store/store.h"
#include "vip.h"

struct wm_registry;

struct wm_registry_config {
	const struct wm_env *env; /* its time and chance; borrowed while it is open */
	const char *path;	  /* database file; NULL: memory only (tests) */
	const char *node_name;
	const char *node_address; /* advertised */
	char *const *node_meta;	  /* "key=value" each, NULL at the end; NULL: none */
	const char *datacenter;
	unsigned instances_max; /* WM_E_CAPACITY above it, and above the next three */
	unsigned services_max;
	unsigned nodes_max;	       /* of the catalog, beside this agent's */
	unsigned checks_max;	       /* of all instances and nodes; 0: no bound of their own */
	uint32_t vip4_base, vip4_mask; /* host order: 0xf0000000, 0xf0000000 */
	struct in6_addr vip6_prefix;   /* /64 at most is kept, the rest is derived from the name */
	unsigned log_pages; /* of the store's log before it is moved into the file; 0: its own */
	/* What takes more than a turn goes on in the next: @return the number of this turn, with
	 * @p again let another follow at once. NULL: it goes on with the next flush. */
	uint64_t (*turn)(void *arg, bool again);
	void *turn_arg;
	/* Called on the store's thread when a batch is stored, so that wm_registry_flush() is
	 * called on the loop. NULL: no thread, a flush waits for the store (tools and tests). */
	void (*wake)(void *arg);
	void *wake_arg;
	bool sync_off; /* tests and benchmarks only: no fsync */
	/* There are other agents, see foreign.h: their objects are kept, and what is this agent's
	 * has all that they need. Without it what they said before is forgotten at the start. */
	bool sync;
	unsigned status_delay_ms; /* statuses are stored this much later at most; 0: 250 */
	unsigned tombstone_ttl_s; /* how long one is kept; 0: a day */
};

/** Open the store, recover the state. @p e tells what is wrong and the way out.
 *  @return 0, WM_E_STORE_DAMAGED, WM_E_STORE_VERSION, negative errno. A damaged file is left as is.
 */
int wm_registry_open(const struct wm_registry_config *c, struct wm_registry **ret,
		     struct wm_err *e);
/** Commits what is pending, closes. NULL ok. */
void wm_registry_close(struct wm_registry *r);

/** Is wm_registry_config.node_meta in order? @return 0, or the error with @p e filled. */
int wm_node_meta_check(char *const *pairs, struct wm_err *e);

/** Another judge of registrations, after the registry's own rules: of this agent's and of the
 *  catalog's, not of what is stored already. @p fn returns 0, or an error with @p e filled; NULL:
 *  none. */
void wm_registry_set_judge(struct wm_registry *r,
			   int (*fn)(void *arg, const struct wm_instance_draft *d,
				     struct wm_err *e),
			   void *arg);

/** Tell @p fn of outputs of checks that became others while the status stayed: no index moves for
 *  them, and nothing is announced. NULL: nobody. */
void wm_registry_on_output(struct wm_registry *r, void (*fn)(void *arg, const struct wm_check *c),
			   void *arg);

/** Called once after the commit. @p code 0 or the error, @p text the sentence for the client. */
typedef void (*wm_registry_done)(void *arg, int code, const char *text);

/** Validate @p d by itself (names, limits, ports, checks) and queue it; everything is copied.
 *  @p done may be NULL. @return 0 queued; else the error with @p e filled, nothing queued.
 *  Consul's texts where Consul has one. */
int wm_registry_register(struct wm_registry *r, const struct wm_instance_draft *d,
			 wm_registry_done done, void *arg, struct wm_err *e);
/** Queue removal of one of this node's instances; unknown id: WM_E_UNKNOWN through @p done. */
int wm_registry_deregister(struct wm_registry *r, const char *id, wm_registry_done done, void *arg,
			   struct wm_err *e);
/** Queue one check: of the node, or of the instance @p service_id (NULL or "" is the node). One
 * that has its id is redefined. A draft without id gets its name for id. Everything is copied.
 *  Through @p done: WM_E_UNKNOWN (no such instance), WM_E_CONFLICT (the id is another's check),
 *  WM_E_LIMIT. @return 0 queued; else the error with @p e filled, nothing queued. */
int wm_registry_check_register(struct wm_registry *r, const char *service_id,
			       const struct wm_check_draft *d, wm_registry_done done, void *arg,
			       struct wm_err *e);
/** Queue removal of a check, whoever has it; unknown id: WM_E_UNKNOWN through @p done. */
int wm_registry_check_deregister(struct wm_registry *r, const char *check_id, wm_registry_done done,
				 void *arg, struct wm_err *e);
/** Queue maintenance of the instance @p service_id, or of the node (NULL or ""): a critical check
 *  that outlives registrations and restarts until it is switched off. @p reason: its notes; NULL or
 *  "": Consul's default. On when it is on changes the reason; off when it is off is no error. */
int wm_registry_maintenance(struct wm_registry *r, const char *service_id, bool on,
			    const char *reason, wm_registry_done done, void *arg, struct wm_err *e);
/** Queue a change of the lifecycle of the instance @p id to a state that can be stated.
 *  @p drain_ms: with WM_LIFE_STOPPING, the time after which it leaves at the latest, at most
 *  WM_DRAIN_MAX_MS; 0: it stays until somebody says more. Stopping again without a time keeps the
 *  drain, with one gives it a new end. Through @p done: WM_E_UNKNOWN, WM_E_CONFLICT (no legal
 *  transition, the text names both states; or the catalog's). @return 0 queued; else the error with
 *  @p e filled. */
int wm_registry_lifecycle(struct wm_registry *r, const char *id, enum wm_lifecycle to,
			  uint64_t drain_ms, wm_registry_done done, void *arg, struct wm_err *e);
/** Queue removal of an instance whose drain is over; one that is drained no more by then stays.
 *  @return 0, WM_E_BUSY, -ENOMEM. */
int wm_registry_drained(struct wm_registry *r, const char *id);
/* --- the catalog: objects of any node, written by whoever knows of them --- */
enum wm_object { WM_OBJECT_SERVICE, WM_OBJECT_NODE, WM_OBJECT_CHECK };
enum wm_verb { WM_VERB_SET, WM_VERB_CAS, WM_VERB_GET, WM_VERB_DELETE, WM_VERB_DELETE_CAS };

/* One write of a batch. What this agent registered is its own: the catalog does not change it. */
struct wm_catalog_op {
	enum wm_object object;
	enum wm_verb verb;
	const char *node;		   /* name */
	const char *id;			   /* of the service or check, where none is set */
	uint64_t index;			   /* CAS, DELETE_CAS: modify index; 0: must not exist */
	const struct wm_node_draft *facts; /* NODE: to be set */
	const struct wm_instance_draft *service; /* SERVICE: to be set, without checks */
	const struct wm_check_draft *check;	 /* CHECK: to be set, of kind WM_CHECK_STATED */
	const char *check_service;		 /* CHECK: instance it belongs to; "" is the node */
	unsigned number; /* for wm_registry_part: several may share the client's one */
};

/* What became of a part of a batch: its object as this part and those before leave it. */
struct wm_part {
	unsigned number;
	int code; /* 0, or why the batch failed with it */
	const char *text;
	const struct wm_node *node; /* NULL: the part removes something, or failed */
	const struct wm_instance *instance;
	const struct wm_check *check;
};
/** Called for each part while the batch is prepared; the objects are valid during the call. Or
 * before `done`, with the code and text of the part that the batch failed with; a batch whose
 * commit fails says so by `done` alone. */
typedef void (*wm_registry_part)(void *arg, const struct wm_part *p);
#define WM_CATALOG_OPS_MAX 128 /* writes of one batch: Consul's bound */

struct wm_catalog_batch {
	const struct wm_catalog_op *ops;
	unsigned count;
	wm_registry_part part; /* may be NULL */
	wm_registry_done done; /* may be NULL */
	void *arg;	       /* of both */
};

/** Queue a batch that is applied as a whole, in its order, under one index, or not at all.
 *  Everything is copied. Through @p part and @p done: WM_E_UNKNOWN (no such object), WM_E_CONFLICT
 *  (stale index, or the object is this agent's), WM_E_INVALID, WM_E_LIMIT.
 *  @return 0 queued; else the error, @p ret_failed the number of the part. */
int wm_registry_catalog(struct wm_registry *r, const struct wm_catalog_batch *b,
			unsigned *ret_failed, struct wm_err *e);

/** Result of a check, at once. The first that passes makes a starting instance running. @p output
 * is copied, cut at WM_CHECK_OUTPUT_MAX; NULL keeps it.
 * Announced if the status changed or the instance's derived state did: a first critical result
 * makes an unknown one unhealthy, a silent client an unhealthy one unknown.
 *  @return 1 if the status changed, 0 if not, -ENOMEM. */
int wm_registry_set_status(struct wm_registry *r, struct wm_check *c, enum wm_status s,
			   const char *output);
/* Id of the check that says that this node leaves an instance out; the instance's id follows. */
#define WM_PASSIVE_CHECK "waymark:passive:"
/** This node leaves an instance out for what it sees of connects to it (@p out), or does so no
 * more. Of any node's: a check of its own says so, wm_instance.passive, critical with @p output,
 * which is shown, announced and waited for as others are. It is neither stored nor told to other
 * nodes, for they see for themselves, and is no part of the instance's status. @return 0, -ENOMEM.
 */
int wm_registry_set_passive(struct wm_registry *r, struct wm_instance *i, bool out,
			    const char *output);
/** @p fn hears of a check whose first result is the critical status that it began with: nothing
 *  changed, and nobody was told yet. One listener, which lives as long as the registry. */
void wm_registry_on_first_result(struct wm_registry *r,
				 void (*fn)(void *arg, const struct wm_check *c), void *arg);
/** Call @p done when the status of @p c, or of every check (NULL), is stored: for a client that is
 *  told so. Costs a commit of its own at most, shared by all who wait in the turn, and the rows of
 *  these. @return 0, -ENOMEM. */
int wm_registry_sync(struct wm_registry *r, struct wm_check *c, wm_registry_done done, void *arg);
/** Turn-end hook: apply, announce and acknowledge what is stored, prepare what was submitted since.
 *  @return true if anything was done. */
bool wm_registry_flush(void *registry);
/** The same until nothing that was submitted waits any more. Waits for the store: for the start,
 * the end, tools and tests. */
void wm_registry_finish(struct wm_registry *r);

/* --- reading; pointers are valid until the loop turn ends --- */
uint64_t wm_registry_index(const struct wm_registry *r);	     /* >= 1 */
const struct wm_node *wm_registry_node(const struct wm_registry *r); /* this agent's */
/** Any node, @p name in any case. @return NULL when unknown. */
const struct wm_node *wm_registry_node_named(const struct wm_registry *r, const char *name);
unsigned wm_registry_nodes(const struct wm_registry *r); /* with this agent's */
/** Whoever measures says how far a node is from this one (model/band.h). The first word is
 * believed, each other when it is said twice, so that one pause moves nobody. It is neither stored
 * nor told to other nodes, and moves no index. @return is its band another now? */
bool wm_registry_set_band(struct wm_registry *r, struct wm_node *n, enum wm_band b);
/** Was any said since the start? */
bool wm_registry_has_bands(const struct wm_registry *r);
const char *wm_registry_datacenter(const struct wm_registry *r);
unsigned wm_registry_instances(const struct wm_registry *r); /* of all nodes */
unsigned wm_registry_checks(const struct wm_registry *r);    /* of all nodes, maintenance too */
unsigned wm_registry_services(const struct wm_registry *r);
/** @p name in any case. @return NULL when unknown. Cost O(1). */
struct wm_service *wm_registry_service(const struct wm_registry *r, const char *name);
/** The service that has a virtual address. @p ret_label: what of it, as in wm_registry_label(); ""
 * is all. Borrowed. @return NULL: no service that is there. Cost O(1). */
const struct wm_service *wm_registry_service_at4(const struct wm_registry *r, struct in_addr a,
						 const char **ret_label);
const struct wm_service *wm_registry_service_at6(const struct wm_registry *r,
						 const struct in6_addr *a, const char **ret_label);
/** The virtual addresses of what has a label in front of a service's name: a subset of its policy.
 *  Both in any case; the service need not be there. Derived from the names and kept as a service's
 *  are. @return false: it has none. Cost O(1). */
bool wm_registry_label(const struct wm_registry *r, const char *service, const char *label,
		       struct in_addr *ret4, struct in6_addr *ret6);
/** Give a label its addresses, or take up those that it had: what is no subset has them from when
 * it was asked for. There at once, stored soon: until then a crash gives it what its name gives.
 *  @return 0, -ENOMEM, WM_E_FULL, WM_E_LIMIT. Cost O(1). */
int wm_registry_label_give(struct wm_registry *r, const char *service, const char *label);
/** They may be given to others when no more are free. Unknown: nothing. */
void wm_registry_label_retire(struct wm_registry *r, const char *service, const char *label);
/** All that have addresses, retired or not. @p fn may give labels none. Cost O(addresses given). */
void wm_registry_each_label(const struct wm_registry *r,
			    void (*fn)(void *arg, const char *service, const char *label),
			    void *arg);
/** Where virtual addresses are given from. */
const struct wm_vip_space *wm_registry_vip_space(const struct wm_registry *r);
/** Of this agent's node. */
struct wm_instance *wm_registry_instance(const struct wm_registry *r, const char *id);
struct wm_check *wm_registry_check(const struct wm_registry *r, const char *check_id);
/** Holder of the checks of this agent's node: id "", service NULL; its status is their worst. Never
 *  NULL. */
const struct wm_instance *wm_registry_node_checks(const struct wm_registry *r);
/** Walk: start with *pos = 0; NULL ends. Order is not defined. */
struct wm_service *wm_registry_next_service(const struct wm_registry *r, size_t *pos);
struct wm_node *wm_registry_next_node(const struct wm_registry *r, size_t *pos);
struct wm_instance *wm_registry_next_instance(const struct wm_registry *r, size_t *pos);

/* --- policies: one a service, whether that is there or not; any agent writes them --- */
/** @p service in any case. @return NULL: it has none. Cost O(1). */
const struct wm_policy *wm_registry_policy(const struct wm_registry *r, const char *service);
/** Walk: start with *pos = 0; NULL ends. Order is not defined. */
const struct wm_policy *wm_registry_next_policy(const struct wm_registry *r, size_t *pos);
unsigned wm_registry_policies(const struct wm_registry *r);
/** Index under which one of them changed last; that of the start before any did. */
uint64_t wm_registry_policies_index(const struct wm_registry *r);
/** Queue that the policy of its service becomes @p p, which is judged here and copied.
 *  @p cas NULL ok: only if its modify index is that; 0: only if there is none.
 *  Through @p done: WM_E_CONFLICT (stale @p cas), WM_E_CAPACITY. @return 0 queued; else the error
 *  with @p e filled. */
int wm_registry_policy_put(struct wm_registry *r, const struct wm_policy *p, const uint64_t *cas,
			   wm_registry_done done, void *arg, struct wm_err *e);
/** Queue that it goes; there is none: WM_E_UNKNOWN through @p done. */
int wm_registry_policy_delete(struct wm_registry *r, const char *service, const uint64_t *cas,
			      wm_registry_done done, void *arg, struct wm_err *e);

/* --- specs: what a source says of a service, whether that is there or not. In memory only; at
 * once, not with the turn, and no index moves for it --- */
/** @p service in any case. @return NULL: no source has it. Valid until the turn ends. Cost O(1). */
const struct wm_service_spec *wm_registry_spec(const struct wm_registry *r, const char *service);
/** Walk: start with *pos = 0; NULL ends. Order is not defined. */
const struct wm_service_spec *wm_registry_next_spec(const struct wm_registry *r, size_t *pos);
unsigned wm_registry_specs(const struct wm_registry *r);
/** Let the spec of its service be @p s, which is judged here and copied, and tell who listens.
 *  @return 1; 0: it says that already; WM_E_INVALID, WM_E_LIMIT, WM_E_CONFLICT (the service is
 *  another source's), WM_E_CAPACITY, -ENOMEM, with @p e filled. */
int wm_registry_spec_put(struct wm_registry *r, const struct wm_service_spec *s, struct wm_err *e);
/** It goes. @p service in lower case. @return 1; 0: there is none; WM_E_CONFLICT. */
int wm_registry_spec_delete(struct wm_registry *r, const char *service, const char *source,
			    struct wm_err *e);

/* --- history: see history.h --- */
struct wm_past;
/** Was nothing forgotten that came after @p index? */
bool wm_registry_remembers(const struct wm_registry *r, uint64_t index);
/** The first word after @p index, on what was announced since; TAILQ_NEXT() by `entry` leads on.
 *  @return NULL: there is none, or more than @p max. Cost O(words). */
struct wm_past *wm_registry_after(const struct wm_registry *r, uint64_t index, unsigned max);
/** Index under which a service last went: of what is not there. */
uint64_t wm_registry_extinct(const struct wm_registry *r);

/* --- change stream --- */
enum wm_change_kind {
	WM_CHANGE_SERVICE_CREATED = 1,
	WM_CHANGE_INSTANCE_UPSERT,  /* instance was created or replaced; checks may be new */
	WM_CHANGE_INSTANCE_DELETED, /* instance is freed after the announcement */
	WM_CHANGE_STATUS, /* instance->status or a check's status changed, or the first check
			   * of a starting instance passed; a check of the
			   * node changes many, each is announced, with check NULL */
	WM_CHANGE_SERVICE_DELETED, /* last instance left; freed after the announcement */
	WM_CHANGE_CHECK_REMOVED,   /* check is freed after the announcement: stop its prober */
	WM_CHANGE_NODE,		/* checks of the node are new, gone, or changed their status: of all
				 * services on it the index moves; STATUS of instances follows */
	WM_CHANGE_NODE_UPSERT,	/* the node is new, or what is known of it changed */
	WM_CHANGE_NODE_DELETED, /* the node is freed after the announcement; it is empty */
	WM_CHANGE_NODE_FOLLOWED, /* of services on a large node all indexes moved by now */
	WM_CHANGE_POLICY, /* a service's policy is new, another, or gone; be the service there or
			   * not */
	WM_CHANGE_SPEC,	  /* likewise of what a source says of it */
};
struct wm_change {
	enum wm_change_kind kind;
	uint64_t index;
	struct wm_service *service;   /* NULL for NODE*, CHECK_REMOVED of a node's check, and a
				       * POLICY or SPEC of a service that is not there */
	struct wm_instance *instance; /* NULL for SERVICE_*, POLICY, SPEC; for NODE* the holder */
	struct wm_check *check;	      /* STATUS, CHECK_REMOVED; NODE: whose status changed */
	/* POLICY: as it is, and was: NULL for none, freed after the announcement */
	const struct wm_policy *policy, *policy_old;
	const struct wm_service_spec *spec, *spec_old; /* SPEC: the same */
	const struct wm_instance *old; /* UPSERT: what it replaces, NULL if new. Its `compiled` was
					* moved to the new instance before the announcement. */
};
typedef void (*wm_change_fn)(void *arg, const struct wm_change *c);
/** Listeners run in the order of subscription, must not submit writes for the change they see other
 *  than through the queue, and live as long as the registry. @return 0, -ENOMEM. */
int wm_registry_subscribe(struct wm_registry *r, wm_change_fn fn, void *arg);

/** What a snapshot that is saved now would have: for wm_keep_new() and wm_save_begin().
 *  @return false: a snapshot is being restored, so nothing is whole, or there is no store. */
struct wm_save_about;
bool wm_registry_about(void *registry, struct wm_save_about *ret);
/** The store's thread; NULL: memory only. */
struct wm_writer *wm_registry_writer(const struct wm_registry *r);

/** Figures for status: rows, file size, commits, last commit time, pending writes, store error. */
struct wm_registry_stats {
	uint64_t commits, writes, failed_commits;
	uint64_t rows_cut;	 /* records too large: stored without outputs of checks, or not */
	uint64_t last_commit_us; /* how long the last commit took */
	uint64_t file_bytes;
	bool unstored; /* the last one failed, for last_error */
	char last_error[256];
	/* the start: to open the store and check its pages; to read it; to write the first commit
	 */
	uint64_t opened_ms, recovered_ms, ready_ms;
	unsigned queued;       /* writes that wait for the batch before */
	uint64_t queue_full;   /* writes refused: too many waited, or too much of them */
	uint64_t storing_ms;   /* how long the store has been at its present job; 0: none */
	bool restore_finished; /* at the start: one that a crash cut off */
	bool saving;	       /* a snapshot; of it or of the last one: */
	uint64_t save_rows, save_rows_total;
	struct wm_store_stats store;
};
void wm_registry_stats(const struct wm_registry *r, struct wm_registry_stats *ret);
