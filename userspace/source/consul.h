/* SPDX-License-Identifier: Apache-2.0 */
/* consul.h - an existing Consul as a source: its catalog is followed by blocking queries, the list
 * of services first, then each of them, and what they say goes by the door (source.h). A bounded
 * number is asked at a time; of more services than that each has its turn. What cannot be trusted
 * changes nothing: an answer without a leader, of another datacenter, or one that is no JSON. Own
 * instances are registered with its agent, by choice, with a check that is kept up, and are known
 * again when they come back. Threading: loop thread only. Spec: Consul's HTTP API, "Blocking
 * Queries"; docs/consul.md. */
#pragma once
#include "source.h"
#include "userspace/net/loop.h"

struct wm_consul;

#define WM_CONSUL_SOURCE      "consul" /* name of the source, and the word before its nodes */
#define WM_CONSUL_URL_MAX     256      /* octets of an address */
#define WM_CONSUL_TOKEN_MAX   256      /* octets; Consul's are UUIDs */
#define WM_CONSUL_QUERIES_MAX 190 /* a Consul allows 200 connections of an address by default */

struct wm_consul_config {
	struct wm_loop *loop;
	struct wm_registry *registry;
	struct wm_sources *sources;
	char *const *addresses; /* URLs, http://127.0.0.1:8500 each, NULL at the end */
	const char *token;	/* "": none */
	const char *token_file; /* read at each connection; "": none */
	const char *ca_file, *cert_file, *key_file; /* PEM; "": the system's, none */
	const char *datacenter;			    /* "": the agent's own */
	const char *filter;			    /* of /v1/health/service; "": none */
	char *const *services; /* names or globs, NULL at the end; none: all but "consul" */
	uint64_t wait_ms;      /* of a blocking query */
	unsigned queries_max;  /* at a time, WM_CONSUL_QUERIES_MAX at most */
	size_t memory_max;     /* octets of answers that are being received or read */
	unsigned instances_max, services_max;
	bool stale;	 /* any server may answer, not the leader alone */
	bool pass_on;	 /* own instances are registered with the first address */
	uint64_t ttl_ms; /* of their checks */
};
/** The texts are borrowed. @return 0, WM_E_INVALID, -ENOMEM. */
int wm_consul_new(const struct wm_consul_config *c, struct wm_consul **ret, struct wm_err *e);
void wm_consul_free(struct wm_consul *c); /* NULL ok; what is registered there stays */

/* X(name, help): metrics consul_<name>_total and their reference. */
#define WM_CONSUL_COUNTERS(X)                                                                      \
	X(queries, "Blocking queries asked of the Consul")                                         \
	X(resets, "Of these, answered with an index that went back, or with none")                 \
	X(early, "Of these, answered before their time with nothing new")                          \
	X(leaderless, "Answers not taken: no leader was known, or they were too old")              \
	X(failovers, "Times another address was asked")                                            \
	X(loops, "Instances left out that are of this agent or of one of its mesh")                \
	X(passed_on, "Registrations of own instances with the Consul's agent")                     \
	X(taken_back, "Of these, taken back as the instance is gone")                              \
	X(pass_on_failed, "Requests of these that failed")
struct wm_consul_stats {
#define X(name, help) uint64_t name;
	WM_CONSUL_COUNTERS(X)
#undef X
	unsigned services, in_flight, waiting; /* watched; asked now; that wait for their turn */
};
void wm_consul_stats(const struct wm_consul *c, struct wm_consul_stats *ret);
