/* SPDX-License-Identifier: Apache-2.0 */
/* observe.h - who listens for backends of this network namespace and of pods', seen by the kernel's
 * program sock_state (bpf/observe.bpf.c) as it happens. When nobody does any more the program
 * takes the backend's state word down; the reader here hears of it, and of who listens again. What
 * is watched is this run's; its program is pinned (observe/), so that it acts on while no agent
 * runs. Threading: loop thread only. */
#pragma once
#include "events.h"
#include "pods.h"

struct wm_observer;
/* A backend that is watched; the caller's memory, zero at first. */
struct wm_listen_watch {
	uint32_t backend;
	uint32_t stamp; /* of its occupant */
	uint32_t at[3]; /* elements of its own address, 0.0.0.0 and [::] */
	bool on;
};
/** Call when the tables are right: a program of an earlier run ends. @p fn is called on the loop
 *  when nobody listens for a watched backend any more (@p gone), or somebody does again; such news
 *  may be lost. @p events and @p p are borrowed. @return 0; -ENOMEM, or the kernel's errno with @p
 * e: then there is none. */
int wm_observer_new(struct wm_plane_events *events, struct wm_plane *p,
		    void (*fn)(void *arg, uint32_t backend, uint32_t stamp, bool gone), void *arg,
		    struct wm_observer **ret, struct wm_err *e);
void wm_observer_free(struct wm_observer *o); /* NULL ok; the program stays pinned */
/** Watch the occupant of @p backend, which listens in the network namespace of cookie @p netns, 0:
 *  in ours; of one with two addresses the IPv4 one counts. Who listens is known after
 *  wm_observer_count(), in another namespace after the next look. @return 0, -ENOSPC: too many, of
 *  all or of its port. */
int wm_observer_watch(struct wm_observer *o, uint32_t backend, uint64_t netns,
		      struct wm_listen_watch *w);
void wm_observer_unwatch(struct wm_observer *o, struct wm_listen_watch *w);
/** Count who listens in our namespace for what is new, and with @p all for everything that is
 *  watched. Cost: one reading of the namespace's listening sockets. @return 0; -EAGAIN: some
 * changed all the time; negative errno. */
int wm_observer_count(struct wm_observer *o, bool all);
/** Begin to look in which namespaces @p all are, malloc()ed, which is taken, and who listens there.
 *  One look at a time: not before the last one's end was seen. @return 0 or negative errno. */
int wm_observer_look(struct wm_observer *o, struct wm_pod *all, unsigned count);
/** See whether a look has ended. Who listens for what was watched at its beginning is known then.
 *  @return the answers, until the next look has ended; NULL: not yet, or none was begun. */
const struct wm_pod *wm_observer_looked(struct wm_observer *o);
/** Is it known who listens for it? Not before the first look at another namespace has ended. */
bool wm_observer_knows(const struct wm_observer *o, const struct wm_listen_watch *w);
/** Does somebody listen for it? One that fell and has a listener rises by that. */
bool wm_observer_listens(struct wm_observer *o, const struct wm_listen_watch *w);
/** Take its state word from up to fallen, as the program does. @return whether it is fallen. */
bool wm_observer_fell(const struct wm_observer *o, const struct wm_listen_watch *w);
void wm_observer_fall(struct wm_observer *o, const struct wm_listen_watch *w);
