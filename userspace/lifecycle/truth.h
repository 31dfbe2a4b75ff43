/* SPDX-License-Identifier: Apache-2.0 */
/* truth.h - do registry, tables and kernel say the same? A look is a pass over all of them in steps
 * of a millisecond, with pauses between them: by itself the agent spends a given share of a
 * processor, however long that makes a look. What a pass finds and was not known is looked for
 * once more: only what two passes found counts, as things change meanwhile. It is proposed and
 * logged what to do; nothing is done. Threading: loop thread only. */
#pragma once
#include "userspace/dataplane/plane.h"
#include "userspace/net/loop.h"
#include "userspace/registry/registry.h"
#include "userspace/resolution/resolution.h"

/* What may differ: X(symbol, name, text). */
#define WM_TRUTH_KINDS(X)                                                                          \
	X(NOT_LISTENING, not_listening, "instances registered here whose port nobody listens on")  \
	X(UNREGISTERED, unregistered, "listeners on a service's port that nobody registered")      \
	X(DEREGISTERED, deregistered, "connections to instances that are not registered any more") \
	X(TABLES, tables,                                                                          \
	  "entries of the kernel's tables that differ from the registry, and pins that are gone")  \
	X(PROGRAMS, programs, "programs on our hooks that are not ours, or ours that are not there")

enum wm_truth_kind {
#define X(sym, name, text) WM_TRUTH_##sym,
	WM_TRUTH_KINDS(X)
#undef X
		WM_TRUTH_KIND_COUNT
};
#define WM_TRUTH_FOUND_MAX  1024 /* differences that are kept; all are counted */
#define WM_TRUTH_UNSEEN_MAX 4
#define WM_TRUTH_ASKERS_MAX 64 /* who wait for a look at a time */

struct wm_truth_found {
	enum wm_truth_kind kind;
	uint64_t key;	     /* of kind and text */
	const char *what;    /* instance, address, map or hook that it is about */
	const char *text;    /* for people; the same while it stays */
	const char *service; /* UNREGISTERED: what it could be registered as; else "" */
	const char *address; /* and where; "": any address */
	uint16_t port;
	uint64_t cookie; /* DEREGISTERED: of the socket */
};
struct wm_truth_report {
	uint64_t looks;	    /* so far; 0: nothing is known yet */
	uint64_t given_up;  /* that somebody's look was begun instead of */
	uint64_t at_ms;	    /* when this one ended, on the monotonic clock */
	uint64_t took_ns;   /* of processor, all steps together */
	uint64_t lasted_ms; /* from its beginning, with all pauses */
	unsigned counts[WM_TRUTH_KIND_COUNT];
	const struct wm_truth_found *const *found;
	unsigned found_count, left_out;
	char unseen[WM_TRUTH_UNSEEN_MAX][160]; /* what could not be looked at, and why */
	unsigned unseen_count;
};
struct wm_truth;
struct wm_truth_config { /* all borrowed */
	struct wm_loop *loop;
	struct wm_registry *registry;
	struct wm_tables *tables;
	struct wm_resolution *resolution;
	struct wm_plane *plane;		/* NULL: there is none */
	const struct wm_config *config; /* as the settings want the kernel's */
	uint64_t interval_ms;		/* from the end of a look to the next; 0: only when asked */
	unsigned permille; /* 1 to 1000 of a processor, of looks that nobody asked for */
};
struct wm_truth *wm_truth_new(const struct wm_truth_config *c); /* NULL: no memory */
/** Who still waits is told with NULL. NULL ok. */
void wm_truth_free(struct wm_truth *t);
void wm_truth_set_interval(struct wm_truth *t, uint64_t interval_ms);
void wm_truth_set_permille(struct wm_truth *t, unsigned permille);
/** Look now, a millisecond of two, and tell @p done once: never before this returns. A look that
 *  nobody asked for is given up for it. @return 0, WM_E_BUSY: too many wait. */
int wm_truth_look(struct wm_truth *t, void (*done)(void *arg, const struct wm_truth_report *r),
		  void *arg);
/** Of the last look. Borrowed, until the loop's next turn. */
const struct wm_truth_report *wm_truth_report(const struct wm_truth *t);
const char *wm_truth_kind_str(enum wm_truth_kind k);
