/* SPDX-License-Identifier: Apache-2.0 */
/* interest.h - of which services a leaf holds the instances, and who tells it of them: its home, a
 * full member. Names only; what comes is the caller's to store. A service is of interest because a
 * glob of the settings fits it, or because somebody asked, until nobody did for a while. Each is
 * subscribed to at the home, which counts the messages that it sent of it: who has another number
 * at a renewal sends the whole again. Pure. Threading: loop thread only. Spec:
 * docs/architecture.md, "Leaves". */
#pragma once
#include "peer.h"
#include "userspace/base/env.h"
#include "waymark/limits.h"

#include <stddef.h>

#define WM_INTERESTS_MAX	4096 /* services of a leaf */
#define WM_INTEREST_GLOBS_MAX	64   /* of the settings */
#define WM_INTEREST_WAITING_MAX 1024 /* look-ups that wait for an answer */
#define WM_INTEREST_WAIT_MS	100  /* that one waits */
/* That one waits where the home has yet to say its first word, as there is none or its stream is
 * being opened, from when that began: DNS clients give up after 5 s. */
#define WM_INTEREST_HOME_MS	4000
#define WM_INTEREST_NEGATIVE_MS 5000  /* that there is none is remembered */
#define WM_INTEREST_RENEW_MS	15000 /* subscriptions are renewed */
#define WM_INTEREST_SILENT_MS	1000  /* without an answer another home is asked */
/* Each time that happens it waits for twice as long, this at most, until it did not for a minute:
 * where all homes are slow, all would be sent again and again. */
#define WM_INTEREST_SILENT_MAX_MS 16000
#define WM_INTEREST_CALM_MS	  60000

struct wm_interest;
struct wm_interest_config {
	const struct wm_env *env;
	char *const *globs; /* borrowed; NULL at the end, NULL: none */
	uint64_t ttl_ms;
	void *arg;
	/* A full member that is alive, rather another than @p before. @return false: none is. */
	bool (*home)(void *arg, const struct wm_peer_id *before, struct wm_peer_id *ret);
	/* Subscribe to a service or a glob, or renew it: @p number messages came of it since it was
	 * whole, 0: it is to be sent whole. @p end: no more of it. */
	void (*ask)(void *arg, const struct wm_peer_id *to, const char *name, uint32_t number,
		    bool end);
	/* Are there instances of our own? It is of interest then. NULL: there are none. */
	bool (*held)(void *arg, const char *service);
	/* Nobody is interested any more: what is here of it goes. */
	void (*drop)(void *arg, const char *service);
};

/** @return NULL without memory. */
struct wm_interest *wm_interest_new(const struct wm_interest_config *c);
/** Choose a home and subscribe to the globs. */
int wm_interest_start(struct wm_interest *i);
void wm_interest_free(struct wm_interest *i); /* NULL ok; who waits is told WM_E_BUSY */

/** At the start: instances of it are here. @return false: there are too many, they are to go. */
bool wm_interest_has(struct wm_interest *i, const char *service);
/** Somebody asks for a service. @p done is called once, later: 0: what there is of it is here;
 *  WM_E_BUSY: no full member answered in time. NULL: only note it.
 *  @return 0: it is here, answer at once, @p done is not called; 1: it is called;
 *  WM_E_LIMIT: too many services, or look-ups that wait; -ENOMEM. */
int wm_interest_lookup(struct wm_interest *i, const char *service,
		       void (*done)(void *arg, int code), void *arg);
/** Who asked is gone. */
void wm_interest_cancel(struct wm_interest *i, void *arg);
/** A message of a service came. @p first: with it, or from it on, comes the whole.
 *  @return false: it is not of interest, or of no use: out of order, or not of our home. */
bool wm_interest_message(struct wm_interest *i, const struct wm_peer_id *from, const char *service,
			 uint32_t number, bool first);
/** What came of it is stored and to be seen, and is all. @p known: there are instances. */
void wm_interest_whole(struct wm_interest *i, const char *service, bool known);
/** What came of it could not be stored: it is asked for again. */
void wm_interest_lost(struct wm_interest *i, const char *service);
/** The home serves no more of it: too many. */
void wm_interest_refused(struct wm_interest *i, const struct wm_peer_id *from, const char *name);
/** Names that fit a glob. @p number as of a service. */
void wm_interest_names(struct wm_interest *i, const struct wm_peer_id *from, const char *glob,
		       uint32_t number, char *const *names, size_t count);
/** The stream to a member broke, or it failed. */
void wm_interest_down(struct wm_interest *i, const struct wm_peer_id *peer);
/** A full member is alive: where there is no home, one is chosen. */
void wm_interest_up(struct wm_interest *i);

/** Is it of interest? */
bool wm_interest_wants(const struct wm_interest *i, const char *service);
#define WM_INTEREST_COUNTERS(X)                                                                    \
	X(asked, "Services that were asked for and not known here")                                \
	X(answered, "Of these, answered in time")                                                  \
	X(late, "Look-ups that no full member answered in time")                                   \
	X(full, "Look-ups refused, as too many services are held or too many wait")                \
	X(gaps, "Services asked for whole again, as a message was missing")                        \
	X(moved, "Times that another full member was chosen")                                      \
	X(refused, "Services that a full member did not serve, as it serves too many")             \
	X(expired, "Services given up, as nobody asked for them")
struct wm_interest_stats {
#define X(name, help) uint64_t name;
	WM_INTEREST_COUNTERS(X)
#undef X
	unsigned services, globs, waiting;
	struct wm_peer_id home; /* none: there is none */
};
void wm_interest_stats(const struct wm_interest *i, struct wm_interest_stats *ret);
/** Walk: *pos = 0 at first. @return NULL: no more. */
const char *wm_interest_next(const struct wm_interest *i, size_t *pos, bool *ret_pinned,
			     uint64_t *ret_idle_ms);
