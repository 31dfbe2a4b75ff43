/* SPDX-License-Identifier: Apache-2.0 */
/* leaf_internal.h - leaves on the wire: leaf.c (a leaf's side, and what both have) and leaf_serve.c
 * (a full member's). Inside sync/ only. */
#pragma once
#include "interest_serve.h"
#include "internal.h"
#include "replica_internal.h"
#include "userspace/sync/interest.pb-c.h"

#define LEAF_ASK_MAX   1024 /* octets of a question */
#define LEAF_ITEMS_MAX 1024 /* of a message */
#define LEAF_NAMES_MAX 4096 /* services that are told of one glob, at once or later */

struct wm_leaf {
	struct wm_sync *s;
	struct wm_interest *interest; /* NULL: this is a full member, */
	struct wm_serve *serve;	      /* which serves */
	/* of a leaf */
	TAILQ_HEAD(, leaf_whole) wholes; /* that are coming */
	TAILQ_HEAD(, leaf_taken) taken;	 /* that wait for the store, or to be seen */
	struct wm_env_timer *seen;
	uint64_t heard_ms; /* when a home said something last, of the environment's clock */
	bool started;
};

/* leaf_serve.c */
int leaf_serve_new(struct wm_leaf *l);
