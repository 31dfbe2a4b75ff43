/* SPDX-License-Identifier: Apache-2.0 */
/* spread_internal.h - messages (spread.c) and links (spread_links.c). Inside sync/ only. */
#pragma once
#include "spread.h"
#include "userspace/base/err.h"
#include "userspace/base/map.h"

#include <sys/queue.h>

#define WM_SPREAD_MEMBERS_MAX 32768 /* members that may be linked: twice what may be known */
#define WM_SAID_HOLDERS	      4	    /* neighbours remembered that have what is missing here */
#define WM_SPREAD_MISSING_MAX 8192  /* ids known without their message; more are not asked for */
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
	TAILQ_ENTRY(wm_neighbour) of_linked, of_up;
	struct wm_spread *s;
	struct wm_peer_id id;
	bool is_up, eager, wanted, far;
	bool refused; /* it asked for a link when there were too many: nothing goes over it */
	uint64_t have[WM_NEIGHBOUR_HAVE];
	unsigned have_count;
	struct wm_env_timer *have_timer;
	uint64_t ids_ms;    /* when ids went over it last, either way; 0: never */
	uint64_t wanted_ms; /* since when */
};

/* A member that may be linked. */
struct wm_candidate {
	struct wm_peer_id id;
	unsigned at;	  /* its place in the list */
	uint64_t rest_ms; /* not asked for a link before that time */
};

struct wm_spread {
	struct wm_spread_config c;
	struct wm_map *said;			     /* by id */
	TAILQ_HEAD(wm_said_list, wm_said) all, kept; /* the oldest first */
	unsigned missing;			     /* of all: those that are not here */
	size_t kept_octets;
	struct wm_map *neighbours;	   /* by id */
	TAILQ_HEAD(, wm_neighbour) linked; /* the same, in the order in which they came */
	TAILQ_HEAD(, wm_neighbour) up;
	unsigned up_count;
	struct wm_map *members;	    /* that are there, by id */
	struct wm_candidate **list; /* the same, for drawing one */
	unsigned list_count, list_cap;
	unsigned wanted_near, wanted_far;
	struct wm_env_timer *relink;
	uint64_t relink_ms, exchange_ms; /* when links are looked at, when one is exchanged */
	struct wm_spread_stats stats;
};

/* --- spread_links.c --- */
struct wm_neighbour *wm_neighbour_find(const struct wm_spread *s, const struct wm_peer_id *id);
void wm_neighbour_free(struct wm_neighbour *n);
/** It has too many links: take another, one of @p others if possible. */
void wm_neighbour_refused(struct wm_spread *s, struct wm_neighbour *n,
			  const struct wm_peer_id *others, unsigned count);
/** Look at links now and then. @return 0, -ENOMEM. */
int wm_neighbours_start(struct wm_spread *s);

/* --- spread.c --- */
struct wm_neighbour *wm_neighbour_new(struct wm_spread *s, const struct wm_peer_id *id);
/** Tell it to ask others. */
void wm_spread_full(struct wm_spread *s, struct wm_neighbour *n);
/** Tell it of the ids of the last seconds. */
void wm_spread_tell_recent(struct wm_spread *s, struct wm_neighbour *n);
/** Drop messages that were kept long enough, and for @p room more octets. */
void wm_spread_expire(struct wm_spread *s, size_t room);
