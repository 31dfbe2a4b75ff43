/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - the one event loop, over libevent. A turn is: wait, run what is ready, then the turn-end
 * hooks in order of priority (registry commit, compile, publish, answer). Hooks run again within
 * the turn until none reports work, WM_LOOP_HOOK_ROUNDS at most. Threading: the loop thread only.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct event_base;
struct wm_env;
struct wm_loop;
struct wm_timer;
struct wm_io;

#define WM_LOOP_HOOK_ROUNDS                                                                        \
	8 /* rounds of turn-end hooks; more is a cycle between modules: logged */

struct wm_loop *wm_loop_new(void);
void wm_loop_free(struct wm_loop *l);
/** libevent's base, for libraries that share the loop. Borrowed. */
struct event_base *wm_loop_base(struct wm_loop *l);
/** The system's clock and random numbers with this loop's timers (base/env.h). Borrowed, for the
 * loop's life. */
const struct wm_env *wm_loop_env(const struct wm_loop *l);
/** Run until wm_loop_stop(). @return 0 or negative errno. */
int wm_loop_run(struct wm_loop *l);
/** Run one turn, waiting at most @p wait_ms (0: do not wait; -1: until something happens). For
 * tests. */
int wm_loop_turn(struct wm_loop *l, int wait_ms);
void wm_loop_stop(struct wm_loop *l);

/** Call @p fn at the end of each turn, lower @p order first. @p fn returns true if it did work that
 *  hooks of a lower order may have to see. Hooks live as long as the loop. @return 0, -ENOMEM. */
int wm_loop_on_turn_end(struct wm_loop *l, int order, bool (*fn)(void *arg), void *arg);
#define WM_HOOK_REGISTRY 10 /* commit what was submitted, apply, announce */
#define WM_HOOK_HEALTH	 15 /* checks that follow other checks */
#define WM_HOOK_COMPILE	 20 /* turn dirty services into tables and maps */
#define WM_HOOK_ANSWER	 30 /* answers that waited for the above */

/* --- how long turns are. Work that may be long asks whether the turn's share is used up, and goes
 * on in the next one. */
#define WM_LOOP_TURN_MS 10 /* milliseconds of a turn, after which what can wait waits */
/** Has this turn taken @p ms, counted from the first question in it or from its hooks? Some 30 ns.
 */
bool wm_loop_took(struct wm_loop *l, unsigned ms);
/** Has it taken WM_LOOP_TURN_MS? */
bool wm_loop_tired(struct wm_loop *l);
/** End the turn if it is tired: what else is ready has its turn after the hooks, so that answers
 *  that are ready leave. For callbacks that many clients may cause at once. */
void wm_loop_breathe(struct wm_loop *l);
/** For turn-end hooks: work was put off, let a turn follow at once, and count that. */
void wm_loop_again(struct wm_loop *l);

/** Let a turn follow at once. From any thread, as the only function here. */
void wm_loop_rouse(struct wm_loop *l);

/** Number of this turn, from 1: to do something once in one. */
uint64_t wm_loop_turns(const struct wm_loop *l);

#define WM_LOOP_TURN_BUCKETS 10
/** Upper bounds of the histogram, in milliseconds of processor; a last bucket is without bound. */
extern const unsigned wm_loop_turn_bounds_ms[WM_LOOP_TURN_BUCKETS];
struct wm_loop_stats {
	uint64_t turns[WM_LOOP_TURN_BUCKETS + 1]; /* by the processor time they took */
	uint64_t sum_ns, min_ns, max_ns;	  /* of all; of the shortest and longest one */
	uint64_t put_off;			  /* wm_loop_again(): work that was cut */
	uint64_t cut;				  /* wm_loop_breathe(): turns that were cut */
};
/** Borrowed; for the life of the loop. */
const struct wm_loop_stats *wm_loop_stats(const struct wm_loop *l);

/** One-shot timer, idle until armed. @p fn may re-arm or free it. */
struct wm_timer *wm_timer_new(struct wm_loop *l, void (*fn)(void *arg), void *arg);
/** Fire once after @p ms; arming again moves it. Cost O(log timers). */
int wm_timer_arm(struct wm_timer *t, uint64_t ms);
/** The same for what is done again and again and may be early or late: fire at the multiple of
 *  @p ms that is nearest to so long from now, so that all who tick wake the node together. Who arms
 *  it each time it fires is called every @p ms. Cost O(timers that tick). */
int wm_timer_tick(struct wm_timer *t, uint64_t ms);
void wm_timer_disarm(struct wm_timer *t);
void wm_timer_free(struct wm_timer *t); /* NULL ok */

#define WM_IO_READ  1u
#define WM_IO_WRITE 2u
/** Watch @p fd (borrowed) level-triggered for WM_IO_* until freed. */
struct wm_io *wm_io_new(struct wm_loop *l, int fd, unsigned events,
			void (*fn)(void *arg, unsigned events), void *arg);
int wm_io_set(struct wm_io *io, unsigned events);
void wm_io_free(struct wm_io *io); /* NULL ok; does not close the fd */
/** Call @p fn on signal @p signo, on the loop. Lives as long as the loop. */
int wm_loop_on_signal(struct wm_loop *l, int signo, void (*fn)(void *arg, int signo), void *arg);
