/* SPDX-License-Identifier: Apache-2.0 */
/* spread_internal.h - messages (spread.c) and links (spread_links.c). Inside sync/ only. */
#pragma once
#include "spread.h"
#include "userspace/base/err.h"
#include "userspace/base/map.h"

#include <sys/queue.h>

#define WM_SPREAD_MEMBERS_MAX 32768 /* members that may be linked: twice what may be known */
#define WM_SAID_HOLDERS	      4	    /* neighbours remembered that have what is missing here */
#define WM_NEIGHBOUR_HAVE     64    /* ids gathered for a lazy link */

/* A message that came, or that somebody has. */
struct wm_said {
	TAILQ_ENTRY(wm_said) of_all, of_kept;
	struct wm_spread *s;
	uint64_t id;
	bool here;
	void *payload; /* NULL: not kept */
	size_t len;
	uint64_t kept_ms;
	struct wm_env_timer *timer; /* until it is asked for; NULL once it is here */
	struct wm_peer_id holders[WM_SAID_HOLDERS];
	unsigned holders_count;
};

/* A member that there is a link to, or that one is wanted to. */
struct wm_neighbour {
	TAILQ_ENTRY(wm_neighbour) of_up;
	struct wm_spread *s;
	struct wm_peer_id id;
	bool is_up, eager, wanted, far;
	uint64_t have[WM_NEIGHBOUR_HAVE];
	unsigned have_count;
	struct wm_env_timer *have_timer;
	uint64_t wanted_ms; /* since when */
};

struct wm_spread {
	struct wm_spread_config c;
	struct wm_map *said;		 /* by id */
	TAILQ_HEAD(, wm_said) all, kept; /* the oldest first */
	size_t kept_octets;
	struct wm_map *neighbours; /* by id */
	TAILQ_HEAD(, wm_neighbour) up;
	unsigned up_count;
	struct wm_peer_id *members; /* that are there; in no order */
	unsigned members_count, members_cap;
	unsigned wanted_near, wanted_far;
	struct wm_env_timer *relink;
	struct wm_spread_stats stats;
};

struct wm_neighbour *wm_neighbour_find(const struct wm_spread *s, const struct wm_peer_id *id);
struct wm_neighbour *wm_neighbour_new(struct wm_spread *s, const struct wm_peer_id *id);
void wm_neighbour_free(struct wm_neighbour *n);
void wm_neighbour_eager(struct wm_neighbour *n, bool eager);
/** It has too many links: take another. */
void wm_neighbour_refused(struct wm_neighbour *n);
/** Ask for links until there are enough. */
void wm_neighbours_choose(struct wm_spread *s);
/** Tell it so. */
void wm_spread_full(struct wm_spread *s, struct wm_neighbour *n);
