/* SPDX-License-Identifier: Apache-2.0 */
/* source.h - one door into the registry for whoever brings services from elsewhere: Kubernetes, a
 * Consul. What a source says becomes foreign objects (registry/foreign.h) on nodes of its own, each
 * an origin with an id that no agent has. They are this agent's view: stored, announced and
 * answered as all are, never told to other agents. A source cannot touch another's objects, nor
 * any agent's; it has a quota, and a brake on removals of many at once. It says what is there,
 * state by state: what is the same costs a look-up and is told to nobody; the rest is queued and
 * given to the registry some a turn. After a restart what was there stands until the source says
 * otherwise. Threading: loop thread only. Spec: docs/architecture.md, "Sources". */
#pragma once
#include "userspace/base/env.h"
#include "userspace/base/err.h"
#include "userspace/base/peer_id.h"
#include "userspace/model/draft.h"

#include <stdbool.h>
#include <stdint.h>

struct wm_registry;
struct wm_service_spec;
struct wm_source;
struct wm_sources;

struct wm_sources_config {
	struct wm_registry *registry;
	const struct wm_env *env;
	const char *data_dir; /* of the files source-<name>.json; NULL: nothing is kept */
};
/** All sources of an agent. Borrows registry and env. @return NULL without memory. */
struct wm_sources *wm_sources_new(const struct wm_sources_config *c);
/** With all its sources; their objects stay in the registry. NULL ok. */
void wm_sources_free(struct wm_sources *a);
/** All sources that are configured were made: objects of sources that are not there any more, as
 *  an earlier run left them, go. */
void wm_sources_settle(struct wm_sources *a);

#define WM_SOURCE_NAME_MAX   32 /* octets of a source's name, a DNS label */
#define WM_SOURCE_PREFIX_MAX 16 /* octets of the word before its nodes' names, a DNS label */
struct wm_source_config {
	const char *name;		      /* "kubernetes" */
	const char *prefix;		      /* of its nodes' names: "k8s" makes "k8s-node1" */
	unsigned instances_max, services_max; /* its quota; 0: the registry's alone */
	unsigned brake_percent, brake_least;  /* see below; 0: 30 %, 10 */
	uint64_t brake_hold_ms;		      /* 0: 10 min */
};
/** A source, whose objects of an earlier run are taken up. @p c is copied. @return 0;
 *  WM_E_INVALID: a name; WM_E_CONFLICT: it is there; -ENOMEM. Owned by @p a. */
int wm_source_new(struct wm_sources *a, const struct wm_source_config *c, struct wm_source **ret,
		  struct wm_err *e);
/** It ends; its objects stay in the registry. NULL ok. */
void wm_source_free(struct wm_source *s);

/* --- what is there. 0, WM_E_INVALID, WM_E_LIMIT (the rules for clients), WM_E_CAPACITY (its
 * quota), WM_E_CONFLICT (another identity), -ENOMEM; refusals are counted, and the text of the last
 * is shown with its state. Names of nodes are the source's own, up to 253 octets. --- */
/** A node, and what is known of it; its id is not looked at. Nodes of instances need not be told
 *  of. */
int wm_source_node(struct wm_source *s, const char *node, const struct wm_node_draft *facts);
/** A node goes, with what is on it. */
int wm_source_node_gone(struct wm_source *s, const char *node);
/** An instance, by its id on its node. `d->checks` may state checks (WM_CHECK_STATED); else it has
 *  one with this status unless that is passing. `d->lifecycle` is not looked at. */
int wm_source_put(struct wm_source *s, const char *node, const struct wm_instance_draft *d,
		  enum wm_status status, enum wm_lifecycle life);
/** @return also WM_E_UNKNOWN: it was not there. */
int wm_source_gone(struct wm_source *s, const char *node, const char *id);
/** What is known of a service beside its instances, see model/spec.h. */
int wm_source_spec(struct wm_source *s, const struct wm_service_spec *spec);
int wm_source_spec_gone(struct wm_source *s, const char *service);
/** A scope of services (Kubernetes' namespace) is the source's, or is no more: clients may not
 *  register services in it. Scopes of its specs and instances are its own without this. */
int wm_source_scope(struct wm_source *s, const char *scope, bool there);
/** A list of all scopes begins, and ends: what was not said to be there between the two is no more,
 *  but where services of it are left. One that is broken off is begun again. */
void wm_source_scopes_begin(struct wm_source *s);
void wm_source_scopes_end(struct wm_source *s);
/** A list of everything begins, and ends: what was not said between the two goes. One that is
 *  broken off is begun again, and never ended. */
void wm_source_list_begin(struct wm_source *s);
void wm_source_list_end(struct wm_source *s);
/** The cluster's own id: of another cluster than what is kept is of, nothing is taken until an
 *  operator releases the source. One may say more than the other, behind a space: then the longer
 * is kept, as a cluster may not always tell all of it. @return 0, WM_E_CONFLICT, -ENOMEM. */
int wm_source_identity(struct wm_source *s, const char *id);
/** Does so much wait for the registry that the source should not read on? @p fn is called when
 *  there is room again; it may go on. NULL: nobody. */
bool wm_source_is_full(const struct wm_source *s);
void wm_source_on_room(struct wm_source *s, void (*fn)(void *arg), void *arg);

/* --- how it is. X(symbol, text, what it means) --- */
#define WM_SOURCE_STATES(X)                                                                        \
	X(CONNECTING, "connecting", "no server has answered yet")                                  \
	X(LISTING, "listing", "its list comes")                                                    \
	X(WATCHING, "watching", "its list is whole, changes come")                                 \
	X(AWAY, "away", "no server answers as it should")                                          \
	X(REFUSED, "refused", "its server refuses us, or is another than the one that is known")
enum wm_source_state {
#define X(symbol, text, means) WM_SOURCE_##symbol,
	WM_SOURCE_STATES(X)
#undef X
};
const char *wm_source_state_str(enum wm_source_state st);
/** One sentence that names no server, for whoever is not to know where that is. */
const char *wm_source_state_means(enum wm_source_state st);
/** @p text: why, NULL or "": nothing to say. Copied; logged when the state is another. */
void wm_source_state(struct wm_source *s, enum wm_source_state st, const char *text);

/* X(name, help): by the source itself, then by the door. Makes /v1/waymark/sources, metrics
 * source_<name>_total and their reference. */
#define WM_SOURCE_TOLD(X)                                                                          \
	X(lists, "Lists of everything that the source began")                                      \
	X(relists, "Of these, that followed a gap in what it watches")                             \
	X(events, "Objects and changes that the source told of")                                   \
	X(bad, "Of these, that could not be read")                                                 \
	X(retries, "Requests to the source that were made again")                                  \
	X(errors, "Requests to the source that failed")                                            \
	X(octets, "Octets read from the source")                                                   \
	X(statuses, "Statuses of the source's objects that were written")                          \
	X(statuses_late, "Statuses that another agent had just written")                           \
	X(statuses_refused, "Statuses that this agent may not write")
#define WM_SOURCE_DONE(X)                                                                          \
	X(written, "Objects of the source given to the registry")                                  \
	X(removed, "Of these, removals")                                                           \
	X(unchanged, "Objects told of that were as they were")                                     \
	X(refused, "Objects refused for what they say")                                            \
	X(over_quota, "Objects refused as the source has its quota")                               \
	X(failed, "Objects that the registry's store did not take, and that are written again")    \
	X(held, "Removals held back by the brake")                                                 \
	X(released, "Of these, let go by time or by an operator")                                  \
	X(strangers, "Identities of another cluster that were refused")
#define WM_SOURCE_COUNTERS(X) WM_SOURCE_TOLD(X) WM_SOURCE_DONE(X)
enum wm_source_counter {
#define X(name, help) WM_SOURCE_COUNT_##name,
	WM_SOURCE_COUNTERS(X)
#undef X
		WM_SOURCE_COUNTERS_COUNT
};
void wm_source_count(struct wm_source *s, enum wm_source_counter c, uint64_t n);

/* X(name, help): as it is now. Metrics source_<name>. */
#define WM_SOURCE_GAUGES(X)                                                                        \
	X(nodes, "Nodes of the source")                                                            \
	X(instances, "Instances of the source, with those that wait to be written or removed")     \
	X(services, "Services that these are of")                                                  \
	X(specs, "Services that the source describes")                                             \
	X(queued, "Objects that wait to be given to the registry")                                 \
	X(holding, "Removals that the brake holds back now")                                       \
	X(waiting,                                                                                 \
	  "Services that are left to others yet, as their first instances are not stored")         \
	X(lag_ms, "Milliseconds since what waits longest was told")
struct wm_source_about {
	const char *name, *prefix, *identity; /* identity "": none yet */
	enum wm_source_state state;
	const char *text;   /* of the state; "" */
	const char *alarm;  /* what an operator should look at; "": nothing */
	uint64_t since_ms;  /* since 1970, that it is in the state */
	uint64_t synced_ms; /* since 1970, that a list ended last; 0: none in this run */
	unsigned instances_max, services_max;
#define X(name, help) uint64_t name;
	WM_SOURCE_GAUGES(X)
#undef X
	uint64_t counters[WM_SOURCE_COUNTERS_COUNT];
};
/* What an earlier run left is enough to be ready with, when no list came for so long: as long as a
 * big cluster's takes, and as an API server takes to restart. */
#define WM_SOURCE_PATIENCE_MS 30000
/** May who waits for this agent go on, as far as it depends on @p s? A list of everything is whole
 *  in this run, and was given to the registry; or something of an earlier run is there, and serves
 *  for WM_SOURCE_PATIENCE_MS. Once it may it stays so. */
bool wm_source_ready(struct wm_source *s);
/** Texts are borrowed until the source is told something. */
void wm_source_about(const struct wm_source *s, struct wm_source_about *ret);
/** Walk: NULL begins and ends. NULL @p a ok: none. */
struct wm_source *wm_sources_next(const struct wm_sources *a, const struct wm_source *s);
struct wm_source *wm_sources_find(const struct wm_sources *a, const char *name);
/** The source that a scope belongs to. @p scope in any case. @return its name; NULL: nobody's. */
const char *wm_sources_scope_owner(const struct wm_sources *a, const char *scope, size_t len);
/** May a client register it? Not in a scope that a source brings; for wm_registry_set_judge().
 *  @return 0, WM_E_INVALID. */
int wm_sources_judge(const struct wm_sources *a, const struct wm_instance_draft *d,
		     struct wm_err *e);
/** The source that a node of the registry is of; NULL: none. */
const char *wm_sources_node_owner(const struct wm_sources *a, const struct wm_peer_id *id,
				  const char *node);

/* --- the brake: when more than `brake_least` usable instances (or specs), and more than
 * `brake_percent` of those there were, would vanish within a minute beside what comes, removals are
 * held back, until what vanished is back, `brake_hold_ms` passed with it still gone, or an operator
 * releases them. Instances that took no new connections go as they are told. --- */
/** Let go what is held. Where another cluster was refused: what is kept of the former one is given
 *  up, and the next identity taken. @return removals let go. */
unsigned wm_source_release(struct wm_source *s);
