/* SPDX-License-Identifier: Apache-2.0 */
/* odds.h - what connect() would do with a set now, and how often each backend is chosen: the code
 * that decides in the kernel (include/waymark/choose.h) decides many times over the tables as they
 * are, with numbers that lie evenly where the kernel has random ones. Nothing is changed. What can
 * be said without tables: metadata/shares.h; who would be next, one after the other: peek.h.
 * Threading: none; what others change meanwhile is seen or not. */
#pragma once
#include "waymark/choose.h"

#include <stdbool.h>
#include <stdint.h>

#define WM_ODDS_TRIES 16384 /* decisions: odds are right to a fraction of a percent */

/* Who dials. */
struct wm_odds_client {
	uint64_t now_ns;    /* CLOCK_BOOTTIME */
	uint32_t families;  /* WM_FAMILY_* of the address, and WM_NOT_LOOPBACK */
	bool other_family;  /* where that has nobody: an IPv6 socket without IPV6_V6ONLY */
	bool keyed;	    /* what consistent hashing goes by is known */
	uint64_t key;	    /* then this */
	uint64_t budget_ns; /* of time: at most this long is tried, once for certain */
};
/* A backend in one tier; one that is in several tiers is several. */
struct wm_odds_candidate {
	uint32_t backend; /* index */
	uint16_t stamp;	  /* of the occupant that is meant */
	uint8_t tier;
	uint32_t state;		     /* word, as read */
	const char *why_not;	     /* it may not be chosen, a few words; NULL: it may. Static */
	uint64_t ejected_ns;	     /* for how long yet; 0: it is not */
	double odds;		     /* of one decision, 0 to 1 */
	struct wm_backend_live live; /* of this occupant; zero: another's */
};
struct wm_odds {
	struct wm_table table;
	struct wm_odds_candidate *candidates; /* by tier, in the order of the slots */
	uint32_t count;
	double drawn[WM_TIERS_MAX]; /* how often each tier is drawn */
	double tier[WM_TIERS_MAX];  /* and chosen in: where nobody is up the next takes over */
	double refused, passed;	    /* nobody is usable, and the set says what then */
	double torn;		    /* the tables changed under it twice */
	uint32_t states; /* of what was found: WM_ASK_UP, or what was asked for in its place */
	uint32_t tries;
};
/** @return 0; -ENOENT: the set has published nothing; -EAGAIN: it changed under the reader;
 * -ENOMEM. Cost: WM_ODDS_TRIES decisions, or c->budget_ns, and the slots once. */
int wm_odds_make(const struct wm_view *v, uint32_t set, const struct wm_odds_client *c,
		 struct wm_odds *ret);
void wm_odds_done(struct wm_odds *o);
