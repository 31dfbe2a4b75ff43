/* SPDX-License-Identifier: Apache-2.0 */
/* traffic.h - what programs counted of services and their backends, for metrics. What was counted
 * of a backend that left stays with its service, so that a service's figures only grow.
 * Threading: loop thread only; programs count meanwhile. */
#pragma once
#include "tables.h"

struct wm_traffic {
	uint64_t picks;	    /* TCP and connected UDP sockets */
	uint64_t udp_picks; /* destinations of unconnected UDP sockets */
	uint64_t failures, ejections;
	uint32_t open, rtt_us; /* now; of a service the sum, and 0 */
};
struct wm_backend_traffic {
	uint64_t instance; /* its hash */
	uint32_t set;	   /* of its service */
	struct wm_traffic t;
};
/** The next service with a set, from *@p set = 0 on; its name, NULL at the end. *@p set is behind
 *  it then. Cost: its backends. */
const char *wm_traffic_next(const struct wm_tables *t, uint32_t *set, struct wm_traffic *ret);
/** Call @p fn for the backends of the service of @p set that anything was counted of. */
void wm_traffic_backends(const struct wm_tables *t, uint32_t set,
			 void (*fn)(void *arg, const struct wm_backend_traffic *b), void *arg);
