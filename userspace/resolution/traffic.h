/* SPDX-License-Identifier: Apache-2.0 */
/* traffic.h - what programs counted of services and their instances, for metrics. What was counted
 * of a backend that left stays with its service, so that a service's figures only grow.
 * Threading: loop thread only; programs count meanwhile. */
#pragma once
#include "tables.h"

struct wm_traffic {
	uint64_t picks;	    /* TCP and connected UDP sockets */
	uint64_t udp_picks; /* destinations of unconnected UDP sockets */
	uint64_t failures, ejections;
	uint32_t open, rtt_us; /* now; of a service the sum, and 0; of an instance the longest */
};
struct wm_backend_traffic {
	uint64_t instance; /* its hash */
	uint32_t set;	   /* of its service */
	struct wm_traffic t;
};
/* Whose each backend is: of a service's own set, of those of its parts and of its ports. */
struct wm_traffic_walk;
/** @return NULL: no memory. As long as the tables are not written. Cost: a word for each set, two
 * for each backend that there may be, once over the backends; done with wm_traffic_done(). */
struct wm_traffic_walk *wm_traffic_walk(const struct wm_tables *t);
void wm_traffic_done(struct wm_traffic_walk *w);
/** The next service with a set, from *@p set = 0 on; its name, NULL at the end. *@p set is behind
 *  it then. Cost: its backends. */
const char *wm_traffic_next(const struct wm_traffic_walk *w, uint32_t *set, struct wm_traffic *ret);
/** Call @p fn for the instances of the service of @p set that anything was counted of, once for
 * each, whichever of its ports it was. */
void wm_traffic_backends(const struct wm_traffic_walk *w, uint32_t set,
			 void (*fn)(void *arg, const struct wm_backend_traffic *b), void *arg);
/** Call @p fn for each backend of that service, by its index. */
void wm_traffic_places(const struct wm_traffic_walk *w, uint32_t set,
		       void (*fn)(void *arg, uint32_t index), void *arg);
