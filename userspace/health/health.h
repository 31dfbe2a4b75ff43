/* SPDX-License-Identifier: Apache-2.0 */
/* health.h - runs the checks of the registry: schedules probes, applies thresholds, reports
 * results. It follows the change stream: a new check starts after a random part of its interval, a
 * removed one is cancelled. Probes of one check never overlap. Kinds are a table (struct
 * wm_probe_kind), so a new kind is one entry. Built for ten thousand checks. Threading: loop thread
 * only. */
#pragma once
#include "userspace/base/env.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"

struct wm_health;
struct wm_health_config {
	const struct wm_env *env;    /* its time, chance and timers; borrowed for its life */
	unsigned probes_max;	     /* probes in flight; more wait their turn */
	uint64_t interval_min_ms;    /* shorter intervals are raised to it */
	uint64_t default_timeout_ms; /* where a check names none; the interval if that is shorter */
	uint64_t deregister_min_ms;  /* shortest deregister_after; 0: WM_DEREGISTER_MIN_MS */
	/* PEM file of trusted authorities, borrowed for health's life; NULL or "": the system's */
	const char *ca_file;
	/* Addresses on which this agent answers DNS on port 53: no name server for its own
	 * look-ups. Ends with NULL, borrowed for health's life; NULL: none. */
	const char *const *own_dns;
	bool scripts; /* run script checks; else they are critical */
	bool units;   /* the same of checks of OS services */
	/* A check that changes its status more often than this in a window is held in its worse
	 * status; 0: never. WM_FLAP_CHANGES_MAX at most. */
	unsigned flap_changes;
	uint64_t flap_window_ms;
	uint64_t ttl_grace_ms; /* a heartbeat may be so late before its check is critical */
};
#define WM_FLAP_CHANGES_MAX  16	   /* changes whose times are kept for each check that had one */
#define WM_DEREGISTER_MIN_MS 60000 /* ms; Consul's bound */

struct wm_health_stats {
	uint64_t checks, in_flight, runs, failures, transitions;
	uint64_t late;	  /* runs left out: the one before still ran, or the process stood still */
	uint64_t skipped; /* runs without a result: no memory, no descriptor, no local port */
	uint64_t lookups; /* names that name servers were asked for */
	uint64_t unstarted; /* checks that are not run: no memory */
	uint64_t reaped;  /* instances handed to the registry for removal: critical for too long */
	uint64_t expired; /* TTLs that ran out */
	uint64_t flaps;	  /* checks that began to be held in their worse status: they changed too
			     often */
	uint64_t held;	  /* checks that are held now */
	uint64_t alias_far; /* looks of aliases that reach too far to tell; the status stays */
};
/** Subscribes to @p r, hooks into the end of @p l's turns, and starts what is already there. Both
 * must run no more once it is freed. @return NULL without memory. */
struct wm_health *wm_health_new(struct wm_loop *l, struct wm_registry *r,
				const struct wm_health_config *c);
void wm_health_free(struct wm_health *h); /* cancels probes; NULL ok; before the registry closes */
/** A client's heartbeat for a TTL check. @return 0, WM_E_UNKNOWN (no such check), WM_E_INVALID (not
 * a TTL check); text in @p e. */
int wm_health_ttl_update(struct wm_health *h, const char *check_id, enum wm_status s,
			 const char *output, struct wm_err *e);
/** Run the probes of @p i now rather than when they are due: somebody has seen it fail. Checks of
 *  other nodes run there. @return how many. */
unsigned wm_health_hasten(struct wm_health *h, const struct wm_instance *i);
void wm_health_stats(const struct wm_health *h, struct wm_health_stats *ret);
