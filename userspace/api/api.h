/* SPDX-License-Identifier: Apache-2.0 */
/* api.h - the HTTP surface: Consul's discovery API and Waymark's own under /v1/waymark/.
 * One table of routes (routes.def): method, path, handler, text. Writes answer after the commit and
 * after the tables show the change. Threading: loop thread only. Spec: Consul HTTP API 1.21. */
#pragma once
#include "definitions.h"
#include "userspace/base/settings.h"
#include "userspace/dataplane/plane.h"
#include "userspace/dataplane/watch.h"
#include "userspace/dns/server.h"
#include "userspace/health/health.h"
#include "userspace/lifecycle/abort.h"
#include "userspace/lifecycle/drain.h"
#include "userspace/lifecycle/listeners.h"
#include "userspace/lifecycle/outliers.h"
#include "userspace/lifecycle/reconcile.h"
#include "userspace/lifecycle/truth.h"
#include "userspace/metadata/index.h"
#include "userspace/net/http_server.h"
#include "userspace/registry/registry.h"
#include "userspace/resolution/resolution.h"
#include "userspace/store/keep.h"

#include <stdio.h>

#define WM_API_WATCHERS_MAX                                                                        \
	16384 /* blocking queries that wait at a time, where no other is given */

#define WM_API_RENDERED_MAX (64ull << 20) /* octets, where no other is given */

/* What the API counts, defined once: X(symbol, metric name, text). */
#define WM_API_COUNTERS(X)                                                                         \
	X(READS, api_reads, "reads answered")                                                      \
	X(WRITES, api_writes, "writes answered with success")                                      \
	X(REFUSED, api_refused, "requests answered with an error of the client")                   \
	X(FAILED, api_failed, "requests answered with an error of ours")                           \
	X(WATCH_WOKEN, api_watch_woken, "blocking queries that a change ended")                    \
	X(WATCH_EXPIRED, api_watch_expired, "blocking queries that their wait ended")              \
	X(WATCH_LEFT, api_watch_left, "blocking queries whose client went away")                   \
	X(WATCH_FULL, api_watch_full, "blocking queries refused: too many wait")                   \
	X(FILTER_SPENT, api_filter_spent, "filters refused: they took too long")                   \
	X(RENDERED_HITS, api_rendered_hits, "reads answered with an answer that was kept")         \
	X(RENDERED_MISSES, api_rendered_misses, "answers that were rendered and kept")             \
	X(RENDERED_EVICTED, api_rendered_evicted, "kept answers dropped for others")               \
	X(EVENTS_FULL, api_events_full, "event streams refused: too many listen")                  \
	X(EVENTS_SLOW, api_events_slow, "event streams cut off: the client did not keep up")       \
	X(FLOWS_FULL, api_flows_full, "streams of decisions refused: too many watch")              \
	X(FLOWS_DROPPED, api_flows_dropped,                                                        \
	  "decisions dropped from a stream: the client did not keep up")

enum wm_api_counter {
#define X(sym, name, text) WM_API_##sym,
	WM_API_COUNTERS(X)
#undef X
		WM_API_COUNTER_COUNT
};

struct wm_sync;
struct wm_sources;
struct wm_consul;
struct wm_kube_pod_table;
struct wm_api;
struct wm_api_deps { /* all borrowed; plane, health, dns, resolution and tables may be NULL */
	struct wm_loop *loop;
	struct wm_registry *registry;
	struct wm_health *health;
	struct wm_tables *tables;
	struct wm_index *index;
	struct wm_resolution *resolution;
	struct wm_dns_server *dns;
	struct wm_plane *plane;
	const struct wm_plane_watch *watch; /* NULL: the plane counts as switched off */
	struct wm_drains *drains;	    /* may be NULL */
	struct wm_aborts *aborts;	    /* may be NULL */
	struct wm_listeners *listeners;	    /* may be NULL */
	struct wm_outliers *outliers;	    /* may be NULL */
	struct wm_truth *truth;		    /* may be NULL */
	struct wm_reconcile *reconcile;	    /* may be NULL */
	struct wm_sync *sync;		    /* the mesh; NULL: sync.mode is off */
	struct wm_sources *sources;	    /* NULL: none */
	const struct wm_consul *consul;	    /* a source; NULL: none */
	/* Pods of this node; NULL: Kubernetes is no source */
	const struct wm_kube_pod_table *pods;
	const char *version, *domain;
	const struct wm_settings *settings; /* for what is shown of them; may be NULL */
	/* of these, what a reload found changed and could not take, commas between; may be NULL */
	const char *needs_restart;
	const struct wm_definitions_outcome *definitions; /* what came of them; may be NULL */
	bool operator_tcp;	     /* operator's requests (routes.def) are taken over TCP too */
	bool scripts_local;	     /* who comes over the Unix socket may register script checks */
	bool units_local, units_any; /* the same of checks of OS services; or anybody may */
	const char *plane_error;     /* why there is no data plane, or NULL */
	/* What /v1/agent/reload and /v1/agent/leave do, NULL: 501. reload returns 0 and calls
	 * @p done later, with 0 or an error and nothing changed, or an error at once; leave stops
	 * the agent once the answer had time to leave. */
	int (*reload)(void *agent, void (*done)(void *arg, int code, const char *text), void *arg,
		      struct wm_err *e);
	void (*leave)(void *agent);
	void *agent;
	const struct wm_keep *keep; /* NULL: none */
	uint64_t snapshot_max;	    /* octets of one that is restored; 0: WM_SNAPSHOT_MAX */
	uint64_t rendered_max;	    /* octets of answers that are kept; 0: WM_API_RENDERED_MAX */
	uint64_t slice_ns;     /* of a turn, for what takes more than one; 0: WM_API_SLICE_MS */
	unsigned watchers_max; /* blocking queries that wait at a time; 0: WM_API_WATCHERS_MAX */
};
/** Subscribes to the registry and hooks into the loop, both for their life. NULL without memory. */
struct wm_api *wm_api_new(const struct wm_api_deps *d);
/** When the loop runs no more and the server is freed, so that no request is kept. If writes may be
 *  queued, after wm_registry_close(), which commits them and tells us. NULL ok. */
void wm_api_free(struct wm_api *a);
/** The handler for wm_http_server_new(). @p arg is the struct wm_api. */
void wm_api_handle(void *arg, struct wm_http_request *req);
/** Show this server's counters in the status too; NULL: none. Borrowed. */
void wm_api_set_server(struct wm_api *a, struct wm_http_server *s);
/** The data plane and why there is none, when that is known later or changes. */
void wm_api_set_plane(struct wm_api *a, struct wm_plane *p, const char *plane_error);
/** Put instances in order by their distance from a node, as ?near does; of struct wm_dns_near,
 *  @p arg is the struct wm_api. @return false: no memory. */
bool wm_api_near(void *arg, const struct wm_node *from, const struct wm_instance **all,
		 unsigned count);
/** Write the OpenAPI description of every route, as it is served, indented. @return 0, -1. */
int wm_api_openapi(FILE *out, const char *version);
/** Write the definition of Kubernetes' custom resource WaymarkPolicy, as JSON. @return 0, -1. */
int wm_api_policy_crd(FILE *out);
/** Write the reference of a policy's fields, in Markdown. */
void wm_api_policy_reference(FILE *out);
/** In the order of WM_API_COUNTERS. Borrowed. */
const uint64_t *wm_api_counters(const struct wm_api *a);
