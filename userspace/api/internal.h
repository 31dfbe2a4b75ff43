/* SPDX-License-Identifier: Apache-2.0 */
/* internal.h - what the files of api/ share. A request goes: router.c finds the route and reads the
 * common parameters, a handler (agent.c, checks.c, catalog.c, native.c ...) reads its own,
 * blocking.c keeps it if there is nothing new, encode.c and writer.c make the body, respond.c sends
 * it. Writes go through decode.c to the registry and are answered by respond.c after the commit. */
#pragma once
#include "api.h"
#include "decode.h"
#include "userspace/base/buf.h"
#include "userspace/base/map.h"
#include "userspace/metadata/filter.h"
#include "writer.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/queue.h>

#define WM_API_PARAMS_MAX      2		     /* parameters of a path */
#define WM_API_PARAM_MAX       (WM_CHECK_ID_MAX + 1) /* octets of one, NUL included */
#define WM_API_ANSWER_MAX      (512u << 20) /* octets of an answer: a million instances fit */
#define WM_API_WAIT_DEFAULT_MS 300000	    /* Consul's wait where none is given */
#define WM_API_WAIT_MAX_MS     600000	    /* Consul's bound */

#define WM_API_WAKE_BATCH                                                                          \
	256 /* watches that look again in one turn: some 5 ms, then others have their turn */

#define WM_WATCHED_NAME_MAX WM_SERVICE_NAME_MAX /* octets of a service's or a node's name */
_Static_assert(WM_NODE_NAME_MAX <= WM_WATCHED_NAME_MAX, "names of nodes fit");
#define WM_API_PAUSE_MS 10 /* of a wake, while who was answered is not heard */

/* What a blocking query watches; each has its own index. */
enum wm_scope {
	WM_SCOPE_SERVICE, /* one service, its instances and their checks */
	WM_SCOPE_CATALOG, /* services and instances, not their health */
	WM_SCOPE_CHECKS,  /* any check */
	WM_SCOPE_NODES,
	WM_SCOPE_POLICIES,
	WM_SCOPE_NODE, /* one node, its instances and all their checks */
	WM_SCOPE_COUNT
};

#define WM_API_SLICE_MS 4 /* of a turn, for what takes more than one: a wake, and long requests */
#define WM_API_TIRED_MS 1 /* the same for a request that begins in a turn that is tired */
#define WM_API_LONG_MAX                                                                            \
	64 /* requests that take more than a turn, at a time: one after the other                  \
	    */
#define WM_API_LONG_RUNS                                                                           \
	256 /* turns of a long answer; a list that changes faster than it is written ends in one   \
	     * go                                                                                  \
	     */
#define WM_API_CONNECT_MAX                                                                         \
	(1u << 27)	     /* entries of a table of stand-ins; instances_max bounds it           \
			      */
#define WM_API_ORDERS	 4   /* orders of long lists that are kept */
#define WM_API_SORT_KEPT 256 /* instances of a service whose order is kept until it changes */

struct wm_route;
struct wm_watch;
struct wm_long;
struct wm_statistics;
struct wm_connect;

/* One request on its way. Lives on the stack, or in a watch while the request is kept. */
struct wm_call {
	struct wm_api *api;
	struct wm_http_request *req;
	const struct wm_route *route;
	struct wm_watch *watch; /* NULL: not kept yet */
	struct wm_long *rest;	/* it goes on in the next turn; NULL: it has not begun to */
	uint64_t index, wait_ms;
	bool pretty, stale, consistent, cached;
	const char *scope; /* ?ns of a look-up or a list; NULL: none. The request's */
	bool expired;	   /* the wait is over: answer with what there is */
	unsigned params_count;
	char params[WM_API_PARAMS_MAX][WM_API_PARAM_MAX];
};

struct wm_route {
	enum wm_http_method method;
	const char *pattern; /* ":x" takes a segment, as the last one the rest of the path */
	void (*fn)(struct wm_call *c);
	const char *text;
	bool operator_only, forwards, scraped; /* see routes.def */
};

/* Those who wait for one thing: a service or a node by its lower-case name, or a whole scope. */
struct wm_watch_key {
	enum wm_scope scope;
	bool dirty;	/* changed in this turn */
	bool absent;	/* of a service that does not exist */
	uint64_t round; /* changes so far; a watch that has looked since carries the same number */
	TAILQ_ENTRY(wm_watch_key) dirty_entry, absent_entry;
	TAILQ_HEAD(, wm_watch) watches;
	const char *name; /* behind it in the same memory; NULL: of a whole scope */
};

struct wm_watch {
	struct wm_call call;
	struct wm_watch_key *key;
	struct wm_timer *timer;
	uint64_t round;
	uint64_t shape; /* hash of what is asked but for index and wait: equal ones get equal
			   answers */
	TAILQ_ENTRY(wm_watch) entry; /* in the key's list: who has not looked yet stands first */
};

/* Rows of a long list that were written: what each was, where its text begins, and how the writer
 * stood there. */
struct wm_row {
	uint64_t hash;
	size_t offset;
	unsigned depth;
	bool first;
};
struct wm_rows {
	struct wm_row *all;
	size_t count, cap;
	size_t at;	   /* the row that comes next */
	struct wm_row end; /* where writing stopped */
	uint64_t end_ns;   /* of the slice; 0: nothing was written in it yet */
	bool begun, stopped;
};

/* A request that takes more than a turn: the handler runs again, with the same filter, and with the
 * rows that it wrote. */
struct wm_long {
	struct wm_call own;	  /* of a request that no watch keeps */
	struct wm_watch *watch;	  /* NULL: none */
	struct wm_filter *filter; /* NULL: none */
	struct wm_buf text;	  /* of the rows */
	struct wm_rows rows;
	uint64_t changes; /* wm_rendered_changes() when it began: one of one state can be kept */
	unsigned runs;
	bool asked; /* the handler came as far as its end */
	TAILQ_ENTRY(wm_long) entry;
};

/* A write that is on its way to the store. */
struct wm_write {
	struct wm_api *api;
	char *wait_id; /* of what others are to have before it is answered; NULL: not waited for */
	uint64_t wait_ms;
	unsigned wait_replicas;
	struct wm_http_request *req; /* NULL: the client or the server is gone */
	int code;
	char *text;	   /* of an error; may be NULL */
	char *json;	   /* body of the answer when there is no error; NULL: none */
	int status;	   /* of that answer; 0: 200 */
	bool text_body;	   /* the body is a text */
	bool known_leader; /* it has the headers of a read */
	bool done;	   /* on the list of answers */
	TAILQ_ENTRY(wm_write) entry;
};

struct wm_api {
	struct wm_api_deps d;
	struct wm_http_server *server;
	uint64_t start_ms, hot_before; /* then: wm_kernel_hot() */
	/* blocking.c */
	struct wm_map *service_keys, *node_keys;
	struct wm_watch_key scopes[WM_SCOPE_COUNT];
	TAILQ_HEAD(, wm_watch_key) dirty, absent;
	uint64_t catalog_index, checks_index, nodes_index;
	uint64_t first_index; /* when this began: nobody has seen one above it */
	bool extinct; /* one did since the last wake: who waits for absent ones looks again */
	unsigned watches;
	struct wm_timer *more;	     /* the rest of a wake goes on in the next turn */
	TAILQ_HEAD(, wm_long) longs; /* who waited longest stands first */
	unsigned longs_count;
	uint64_t late_turn;	/* in which neither had a slice, as the rest was long */
	uint64_t wake_began_ns; /* a wake of several turns; 0: none */
	uint64_t wake_turn, wake_end_ns,
		longs_turn; /* turns that had their slice; the wake's end */
	struct wm_events *events;
	struct wm_flow_streams *flows;
	struct wm_snapshots *snapshots;
	/* respond.c */
	TAILQ_HEAD(, wm_write) pending, answers;
	char contact[80];    /* wm_contact_lines() */
	struct wm_buf body;  /* scratch of every answer */
	struct wm_rows rows; /* of it */
	struct wm_connect *connect;
	/* near.c: the order of the large service that was listed last */
	struct {
		const struct wm_service *service;
		uint64_t index;
		const struct wm_instance **all;
	} sorted;
	struct wm_kept {
		char *text; /* of an answer; NULL: none */
		uint64_t made_ms;
	} statistics[2];	    /* plain, pretty */
	struct wm_statistics *pass; /* that counts for them; NULL: there was none */
	struct wm_kept_order {	    /* of a long list, see wm_sort_kept() */
		uint64_t hash, index;
		void (*sort)(void *all, size_t count);
		void *all;
		size_t count;
	} orders[WM_API_ORDERS];
	unsigned orders_next;
	/* the answer in it, for the next watch that asks the same: 0 when there is none */
	uint64_t rendered_shape, rendered_index;
	struct wm_rendered *rendered;
	struct wm_buf form; /* rendered.c: what was asked for, scratch */
	uint64_t counters[WM_API_COUNTER_COUNT];
};

/* --- router.c --- */
extern const struct wm_route wm_routes[];
extern const unsigned wm_routes_count;
/** Did root or the agent's own user send this over the Unix socket? */
bool wm_api_trusted(const struct wm_call *c);

/* --- blocking.c --- */
int wm_blocking_init(struct wm_api *a);
void wm_blocking_done(struct wm_api *a);
/** Index of a scope, at least 1. @p name: lower or mixed case, for WM_SCOPE_SERVICE and
 *  WM_SCOPE_NODE. */
uint64_t wm_scope_index(const struct wm_api *a, enum wm_scope s, const char *name);
/** For a handler, first thing: true if the request is kept (or was answered, when too many wait)
 *  and the handler must return; it runs again when there is something new. */
bool wm_api_wait(struct wm_call *c, enum wm_scope s, const char *name, uint64_t *ret_index);
/** The same without comparing indexes: keep until the next change. */
bool wm_api_keep(struct wm_call *c, enum wm_scope s, const char *name);
/** At the end of a turn: run what may have something new again. */
void wm_blocking_wake(struct wm_api *a);

/** A watch was answered: free it. */
void wm_watch_end(struct wm_watch *w);

/* --- long.c: requests that take more than a turn --- */
void wm_longs_init(struct wm_api *a);
/** For a handler that writes a list, of each row that it would write: is it to be written now? Not
 *  when it stands there from a turn before, nor when the slice is used up: then the handler runs
 *  again. The rows stand in one array, and nothing else does; what opens or closes an element of it
 *  is a row as well. */
bool wm_row_wanted(struct wm_call *c, struct wm_json *j, const struct wm_filter_row *row);
/** The same of a row that is no instance, node or check: @p hash of all that it is made of. */
bool wm_row_wanted_of(struct wm_call *c, struct wm_json *j, uint64_t hash);
/** The same of a check, whatever else is on its instance. */
bool wm_check_wanted(struct wm_call *c, struct wm_json *j, const struct wm_check *k);
/** Sort pointers to the registry's objects. A list that is written over many turns is sorted in
 * each, which of 20,000 takes longer than a slice: the order of a long one is kept while the
 * registry does not change. @p sort: sorts them. */
void wm_sort_kept(struct wm_api *a, void *all, size_t count, void (*sort)(void *all, size_t count));
/** Do the next @p count rows stand there from a turn before, the first and the last with these
 *  hashes? Then they are passed, whatever is between them. */
bool wm_rows_stand(struct wm_call *c, struct wm_json *j, size_t count, uint64_t first,
		   uint64_t last);
/** The slice is used up: no more rows are wanted in it. */
bool wm_rows_stopped(const struct wm_call *c);
/** Forget what was written. */
void wm_rows_reset(struct wm_rows *r);
/** Is what was written not the whole answer yet? */
bool wm_rows_unfinished(const struct wm_call *c);
/** Run the handler again in the next turn. @p f (may be NULL) is kept. Or answers with 503. */
void wm_long_keep(struct wm_call *c, struct wm_filter *f);
/** How much of a turn it may take; @p tired: one that begins in a turn that is. */
uint64_t wm_slice_ns(const struct wm_api *a, bool tired);
/** Forget it; its request is not touched. NULL ok. */
void wm_long_drop(struct wm_long *l);
/** No more of them just now: who can wait, waits. */
bool wm_longs_full(const struct wm_api *a);
/** At the end of a turn: a slice for the one that waited longest. */
void wm_longs_run(struct wm_api *a);
void wm_longs_done(struct wm_api *a);

/* --- metrics_traffic.c --- */
/** What was counted of services and backends, for Prometheus. */
void wm_metrics_traffic(struct wm_buf *b, const struct wm_api *a);
/** A label and its value, escaped, without braces. */
void wm_metrics_label(struct wm_buf *b, const char *name, const char *value);
/* metrics_connects.c */
struct wm_traffic_walk;
struct wm_metrics_service {
	const char *name;
	uint32_t set;
};
/** How quickly connects to the @p n services @p of were made, and how many services are
 * @p left_out. Nothing where there is no program. */
void wm_metrics_connects(struct wm_buf *b, const struct wm_api *a, const struct wm_traffic_walk *w,
			 const struct wm_metrics_service *of, unsigned n, unsigned left_out);
/* metrics_dns.c */
void wm_metrics_dns(struct wm_buf *b, const struct wm_api *a);
/* sources.c */
void wm_metrics_sources(struct wm_buf *b, const struct wm_api *a);

/* --- dns_cache.c --- */
/** Answers of the kernel with what others said, since its counters began. */
uint64_t wm_kernel_hot(const struct wm_api *a);

/* --- events.c --- */
int wm_events_init(struct wm_api *a);
void wm_events_done(struct wm_api *a);
/** At the end of a turn: send what changed to all who listen. */
void wm_events_send(struct wm_api *a);

/* --- flows.c --- */
int wm_flow_streams_init(struct wm_api *a);
void wm_flow_streams_done(struct wm_api *a);
/** At the end of a turn: send what was decided to all who listen. */
void wm_flow_streams_send(struct wm_api *a);

/* --- snapshot.c --- */
int wm_snapshots_init(struct wm_api *a);
void wm_snapshots_done(struct wm_api *a);
/** The member of the status about them. */
void wm_snapshots_status(struct wm_json *j, const struct wm_api *a);

/* --- rendered.c: answers that are given until something in them changes --- */
int wm_rendered_init(struct wm_api *a);
void wm_rendered_done(struct wm_api *a);
/** Answer for this server's known requests. NULL: nothing to do. */
void wm_rendered_serve(struct wm_api *a, struct wm_http_server *s);
/** @return true: answered with what is kept. */
bool wm_rendered_give(struct wm_call *c);
/** Answer with @p body, headers are set, and keep the answer. @return false: it is none to be kept,
 *  nothing was done. */
bool wm_rendered_keep(struct wm_call *c, const char *type, const struct wm_buf *body,
		      uint64_t index);
/** What the registry announces. */
void wm_rendered_changed(struct wm_api *a, const struct wm_change *c);
/** Changes so far of anything that is in an answer. */
uint64_t wm_rendered_changes(const struct wm_api *a);
/** Octets of memory in use. */
uint64_t wm_rendered_bytes(const struct wm_api *a);

/* --- respond.c --- */
int wm_respond_init(struct wm_api *a);
void wm_respond_done(struct wm_api *a);
/** Begin a JSON answer in the API's scratch buffer. */
void wm_answer_begin(struct wm_call *c, struct wm_json *j);
/** Headers of every answer. */
void wm_answer_constant_headers(struct wm_call *c);
struct wm_sync_contact;
/** How true answers about others' objects are; without a mesh they are true. */
void wm_contact(const struct wm_api *a, struct wm_sync_contact *ret);
/** The same as lines of a head, for answers that are kept. @p api: the struct wm_api. */
const char *wm_contact_lines(void *api);
/** Send what was sent last once more. */
void wm_answer_again(struct wm_call *c);
/** Send it. @p index 0: without Consul's index headers. */
void wm_answer_end(struct wm_call *c, struct wm_json *j, uint64_t index);
/** The same with another status than 200. */
void wm_answer_end_with(struct wm_call *c, struct wm_json *j, uint64_t index, int status);
/** 404 without a body, with the index headers: what a blocking client of KV wants. @p index 0:
 *  without them. */
void wm_answer_not_found(struct wm_call *c, uint64_t index);
/** Send a text that was made in the scratch buffer. */
void wm_answer_typed(struct wm_call *c, const char *type, const struct wm_buf *b);
/** 200 without a body. */
void wm_answer_empty(struct wm_call *c);
void wm_answer_text(struct wm_call *c, int status, const char *fmt, ...)
	__attribute__((format(printf, 3, 4)));
/** One word as Consul sends it: text/plain without a charset. */
void wm_answer_word(struct wm_call *c, int status, const char *word);
/** Answer an error with its status and its text. */
void wm_answer_err(struct wm_call *c, const struct wm_err *e);
/** Keep a write. The registry's done callback is wm_write_done() with what is returned; a write
 *  that is done already is handed to it too. @return NULL: without memory, and answered. */
struct wm_write *wm_write_keep(struct wm_call *c);
void wm_write_done(void *write, int code, const char *text);
/** A write of this agent's instance @p id: with ?wait=replicated it is
 *  answered once others have it. The callback is wm_write_replicated() then.
 *  @return NULL: answered with an error, nothing is to be written. */
struct wm_write *wm_write_keep_replicated(struct wm_call *c, const char *id);
void wm_write_replicated(void *write, int code, const char *text);
/** Take back a write that was not handed to anybody; the request is the caller's again. */
void wm_write_drop(struct wm_write *w);
/** At the end of a turn: answer what is done. */
void wm_respond_writes(struct wm_api *a);

/* --- lookup.c --- */
/** On a leaf: it was answered, or is once the mesh told of the service. @return false: go on. */
bool wm_waits_for_mesh(struct wm_call *c);

/* --- forward.c --- */
/** Does ?node= name another agent's node, on a route that takes it? Then that agent is asked, and
 *  its answer given. What came from another agent is refused if it is not for us, or on another
 *  route. @return false: the handler is to answer. */
bool wm_forwarded(struct wm_call *c);

/* --- params.c: parameters of the query --- */
/** Read the parameters that all reads share. @return false: answered with an error. */
bool wm_params_common(struct wm_call *c);
/** A number of the query into @p ret, which stays where there is none. @return false: answered with
 *  an error. */
bool wm_params_number(struct wm_call *c, const char *name, uint64_t least, uint64_t most,
		      uint64_t *ret);
/** ?passing. @return false: answered with an error. */
bool wm_params_passing(struct wm_call *c, bool *ret);
/** True if the instance has every ?tag. */
bool wm_params_tags(const struct wm_call *c, const struct wm_instance *i);
/** True if the node has every ?node-meta. */
bool wm_params_node(const struct wm_call *c, const struct wm_node *n);

/* --- policies.c --- */
struct wm_subsets;
/** ?cas; @p ret: @p index, or NULL where there is none. @return false: answered with an error. */
bool wm_params_cas(struct wm_call *c, uint64_t *index, const uint64_t **ret);
/** All by service, or prepared queries by id, in memory that the caller frees. @return NULL:
 * without memory, and answered. */
const struct wm_policy **wm_sorted_policies(struct wm_call *c, bool queries, unsigned *ret_count);
/** Answer, or wait, with the array of them, each as @p put shows it. */
void wm_answer_policies(struct wm_call *c, bool queries,
			void (*put)(struct wm_json *j, const struct wm_policy *p));
/** Does dns.only_passing keep connections from who has a warning? */
bool wm_only_passing(const struct wm_api *a);
/** Why a policy of balance custom chooses by weight on this node. @return static text; NULL: it
 * does not, or is of another balance. */
const char *wm_policy_idle(const struct wm_api *a, const struct wm_policy *p);
/** What may not be meant in a policy that is written, as the JSON that answers it; for free().
 *  @return NULL without memory. */
char *wm_policy_warnings(const struct wm_api *a, struct wm_subsets *s, const struct wm_policy *p);

/* --- policy_explain.c --- */
/** What an operator writes for @p value of a field of enum type; @p section "": of the policy. */
const char *wm_policy_word(const char *section, const char *field, uint32_t value);

/* --- near.c --- */
enum wm_distance { /* nearest first */
		   WM_NEAR_SELF,
		   WM_NEAR_ZONE,
		   WM_NEAR_REGION,
		   WM_NEAR_ELSEWHERE,
		   WM_NEAR_UNKNOWN, /* the node says neither zone nor region */
};
/** How far @p n is from @p from, by their metadata. */
enum wm_distance wm_near_distance(const struct wm_node *from, const struct wm_node *n);
/** ?near; @p ret_from: NULL where there is none, or of a node that nobody knows.
 *  @return false: answered with an error. */
bool wm_params_near(struct wm_call *c, const struct wm_node **ret_from);
/** The node at the address that asks (X-Forwarded-For, else the connection's), this one if none is
 *  known there. Cost O(nodes). */
const struct wm_node *wm_near_asking(const struct wm_call *c);
/** Instances of @p s (NULL: none) by distance, then by node and id; @p from NULL: by node and id.
 * @p ret is the caller's to free. @return false: answered with an error. */
bool wm_instances_near(struct wm_call *c, const struct wm_service *s, const struct wm_node *from,
		       const struct wm_instance ***ret);
/** The same of instances that stand for the service of the path in a mesh: of kind connect-proxy,
 *  with it as destination, or of its own and native. See connect.c. */
bool wm_connect_near(struct wm_call *c, const struct wm_node *from, const struct wm_instance ***ret,
		     unsigned *ret_count);
/** Whose coordinates there are; NULL: there is no mesh, or etcd carries it. */
struct wm_members;
const struct wm_members *wm_near_members(const struct wm_api *a);
/** Sort by distance: round trips by the coordinates of @p ms (NULL: there are none), behind them
 * what has none, by wm_near_distance(). What is as far keeps its order. @p from NULL: leave as it
 * is.
 *  @return false: without memory. */
bool wm_near_sort(const struct wm_members *ms, const struct wm_node *from,
		  const struct wm_instance **all, unsigned count);
bool wm_near_sort_nodes(const struct wm_members *ms, const struct wm_node *from,
			const struct wm_node **all, unsigned count);

/* --- connect.c --- */
int wm_connect_init(struct wm_api *a);
void wm_connect_done(struct wm_api *a);

/* --- encode.c: objects in Consul's shapes --- */
#define WM_API_SERF "serfHealth" /* id of the check that a node with an agent has */
#define WM_API_CHECKS_MAX                                                                          \
	(WM_CHECKS_PER_INSTANCE + 3)	  /* a client's, maintenance, another node's serfHealth,   \
					   * passive */
struct wm_encode {			  /* what every object needs of its surroundings */
	const struct wm_node *node;	  /* this agent's, or where wm_encode_at() went */
	const struct wm_instance *checks; /* holder of the node's */
	const char *datacenter;
	size_t node_at, node_len, check_at,
		check_len; /* the node's parts, once they were written */
};
struct wm_encode wm_encode_of(const struct wm_api *a);
/** Go on with objects of another node. */
void wm_encode_at(struct wm_encode *e, const struct wm_node *n);
/** Nodes by distance from @p from (NULL: of all the same), then by name, in memory that the caller
 *  frees. @return NULL: without memory, and answered. */
const struct wm_node **wm_sorted_nodes(struct wm_call *c, const struct wm_node *from,
				       unsigned *ret_count);
/** Registered with this agent, not written into the catalog? */
bool wm_is_agents(const struct wm_instance *i);
/** Agent's view of an instance; @p content_hash may be NULL. */
void wm_encode_agent_service(struct wm_json *j, const struct wm_encode *e,
			     const struct wm_instance *i, const char *content_hash);
void wm_encode_service(struct wm_json *j, const struct wm_instance *i); /* the catalog's view */
void wm_encode_agent_check(struct wm_json *j, const struct wm_encode *e, const struct wm_check *c);
/** The members of such an element; the object stands open. */
void wm_encode_health_members(struct wm_json *j, struct wm_encode *e, const struct wm_instance *i);
/** Element of /v1/health/service/:name. The node, the same in all, is made once an answer. */
void wm_encode_health_entry(struct wm_json *j, struct wm_encode *e, const struct wm_instance *i);
void wm_encode_check(struct wm_json *j, const struct wm_encode *e, const struct wm_check *c);
/** The check that a node with an agent has in Consul: we are alive, or would not answer. */
/** Members of the agent's own Member. */
void wm_encode_self_member(struct wm_json *j, const struct wm_call *c);
void wm_encode_node_check(struct wm_json *j, const struct wm_encode *e);
/** The same and those that are registered with the node, by id. */
void wm_encode_node_checks(struct wm_json *j, const struct wm_encode *e);
void wm_encode_node(struct wm_json *j, const struct wm_encode *e);
/** Its members but for indexes; the object stands open. */
void wm_encode_node_members(struct wm_json *j, const struct wm_encode *e);
/** A key with an address as text, null where all is zero. @p family: AF_INET or AF_INET6. */
void wm_encode_address(struct wm_json *j, const char *key, int family, const void *address);
/** "host": the name that stands for an address, null where it has an IP address. */
void wm_encode_host(struct wm_json *j, const struct wm_instance *i);
/** Element of /v1/catalog/service/:name. */
void wm_encode_catalog_entry(struct wm_json *j, struct wm_encode *e, const struct wm_instance *i);
/* Checks in Consul's order: by node, then by id, in any case. */
struct wm_check_list {
	const struct wm_check **at; /* the caller frees it */
	size_t count, cap;
};
/** Those of an instance that the filter wants; @p status: in this one only, NULL: in any.
 *  @return false without memory. */
bool wm_check_list_add(struct wm_check_list *l, const struct wm_encode *e,
		       const struct wm_instance *i, struct wm_filter *f,
		       const enum wm_status *status);
/** All of a node and of what is on it, the same. */
bool wm_check_list_node(struct wm_check_list *l, const struct wm_encode *e, struct wm_filter *f,
			const enum wm_status *status);
/** Add one. @return false without memory. */
bool wm_check_list_push(struct wm_check_list *l, const struct wm_check *c);
/** Write them in slices; @p serf: the node's own, which no object stands for, among them. */
void wm_check_list_put(struct wm_call *c, struct wm_json *j, const struct wm_encode *e,
		       struct wm_check_list *l, bool serf);
/** Ids in any case; where that is the same, in their octets' order. */
int wm_id_order(const char *a, const char *b);
/** Consul's order of lists: by node, then by id. */
int wm_instance_order(const struct wm_instance *a, const struct wm_instance *b);
/** Sort by it. */
void wm_sort_instances(const struct wm_instance **all, unsigned count);
/** Sort by id as Go sorts the keys of an object: by octets. */
void wm_sort_keys(struct wm_api *a, const struct wm_instance **all, unsigned count);
/** An instance's checks, or a holder's, by id. @return how many. */
unsigned wm_sorted_checks(const struct wm_instance *i,
			  const struct wm_check *ret[WM_API_CHECKS_MAX]);
/** Instances of @p s by node and id, in memory that the caller frees; NULL: none, or without
 * memory. */
const struct wm_instance **wm_sorted_instances(const struct wm_service *s);
/** Instances on a node by id, the same. */
const struct wm_instance **wm_sorted_on(struct wm_api *a, const struct wm_node *n,
					unsigned *ret_count);
/** All services by name, the same. */
const struct wm_service **wm_sorted_services(struct wm_api *a, unsigned *ret_count);

/* --- params.c: ?filter --- */
#define _cleanup_filter_ __attribute__((cleanup(wm_filter_freep)))
static inline void wm_filter_freep(struct wm_filter **f)
{
	if (*f && !wm_filter_kept(*f))
		wm_filter_free(*f);
}
/** ?filter, compiled; NULL where there is none. @return false: answered with an error. */
bool wm_params_filter(struct wm_call *c, enum wm_filter_kind kind, struct wm_filter **ret_filter);
/** wm_answer_end(), or an error if the filter ran into a limit on the way. */
void wm_answer_filtered(struct wm_call *c, struct wm_json *j, uint64_t index, struct wm_filter *f);
/** wm_answer_end_with(), or the handler runs again for the rows that are not written yet. */
void wm_answer_rows(struct wm_call *c, struct wm_json *j, uint64_t index, int status);
struct wm_filter_row wm_filter_row_of(const struct wm_encode *e, const struct wm_instance *i);

/* --- checks.c --- */
/** May the client have this agent run programs? Who asks over a Unix socket, where that is
 *  configured; nobody over TCP, from whatever address. */
enum wm_scripts wm_api_scripts(const struct wm_call *c);
/** The same of checks of OS services; there are agents where anybody may. */
enum wm_scripts wm_api_units(const struct wm_call *c);

/* --- lifecycle.c --- */
/** Members of an instance: what is stated, what follows of it, its drain. */
void wm_encode_life(struct wm_json *j, const struct wm_api *a, const struct wm_instance *i);

void wm_statistics_done(struct wm_api *a);

/* --- compare.c --- */
/** Members "held" and "ahead": what the mesh holds back here. */
void wm_encode_brakes(struct wm_json *j, const struct wm_api *a);
/** Member "mesh": who is there, and what is wrong. */
void wm_encode_mesh_health(struct wm_json *j, const struct wm_api *a);

/* --- mesh.c --- */
/** Members of an instance: its metadata with a meaning, see metadata/mesh.h. */
void wm_encode_mesh(struct wm_json *j, const struct wm_instance *i);

/* --- pods.c --- */
/** Members "pod" and "container" of a process, "" where they are not known; nothing where
 * Kubernetes is no source. @p cgroup: its path, or ""; @p address: of its network namespace, or
 * NULL. */
void wm_api_put_pod(struct wm_json *j, const struct wm_api *a, const char *cgroup,
		    const struct in6_addr *address);

/* --- handlers --- */
#define X(method, pattern, handler, text) void handler(struct wm_call *c);
#define O				  X
#define F				  X
#define M				  X
#include "routes.def"
#undef X
#undef O
#undef F
#undef M
