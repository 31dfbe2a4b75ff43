/* SPDX-License-Identifier: Apache-2.0 */
/* verify.h - are the tables what they should be? The arrays and the kernel's hashes are read back
 * and compared with what a put would leave there. Changes nothing; whoever changes a map beside the
 * agent is found out, and so are faults of ours. Threading: loop thread only. */
#pragma once
#include "tables.h"

/** Told of each difference: the map, and a sentence that is the same whenever it is found again. */
typedef void (*wm_difference_fn)(void *arg, const char *map, const char *text);

/** Compare a service's set, its table, backends and counts with what wm_tables_put() of @p w would
 *  leave there. Cost: a put's. @return 0, or -ENOMEM: not compared. */
int wm_tables_verify(struct wm_tables *t, const struct wm_want_set *w, wm_difference_fn fn,
		     void *arg);

/** Does `config` say @p want, but for what the agent and the plane set while they run? */
void wm_tables_verify_config(struct wm_tables *t, const struct wm_config *want, wm_difference_fn fn,
			     void *arg);

/** The same of what wm_tables_fronts_put() of these would leave. What another service has first is
 *  no difference. */
void wm_tables_verify_fronts(struct wm_tables *t, const char *service,
			     const struct wm_want_front *want, unsigned count, wm_difference_fn fn,
			     void *arg);

/* Where the walk over all entries stands; zero at first. */
struct wm_verify_walk {
	unsigned phase;
	size_t at;
	uint16_t number; /* of the walk; 0: it has not begun */
};
/** Compare the next @p count entries: names and frontends in both directions, and what is in use in
 *  `backends` and `sets` while no service has it. What changes meanwhile may be left out. One walk
 *  at a time, as the kernel's entries are read ahead. Cost: of a name or frontend that is as it
 *  should be one look-up. @return false at the end; then it is done with. */
bool wm_tables_verify_rest(struct wm_tables *t, struct wm_verify_walk *w, unsigned count,
			   wm_difference_fn fn, void *arg);
/** Give up a walk. */
void wm_tables_verify_done(struct wm_tables *t, struct wm_verify_walk *w);
