/* SPDX-License-Identifier: Apache-2.0 */
/* env.h - the time, chance and timers that a module is given instead of asking the system: the
 * loop's (net/loop.h), or in tests a clock that is turned by hand. registry/ and health/ take
 * theirs from here only; tools/check-deps.sh holds it. Threading: loop thread only. */
#pragma once
#include "macros.h"

#include <stdint.h>

struct wm_env;

/** Begins the timer of each environment. */
struct wm_env_timer {
	const struct wm_env *env;
};

struct wm_env {
	uint64_t (*now_ns)(void *arg);	/* goes on through suspend; never back */
	uint64_t (*wall_ms)(void *arg); /* since 1970; may be set */
	uint64_t (*random64)(void *arg);
	/* One-shot, idle until armed. @return NULL without memory. */
	struct wm_env_timer *(*timer_new)(void *arg, void (*fn)(void *arg), void *fn_arg);
	int (*timer_arm)(struct wm_env_timer *t, uint64_t ms);
	void (*timer_disarm)(struct wm_env_timer *t);
	void (*timer_free)(struct wm_env_timer *t);
	void *arg;
};

/** The system's clock and random numbers; it has no timers. For programs without a loop. */
extern const struct wm_env wm_env_system;

/** Nanoseconds of the clock that timers run by. */
static inline uint64_t wm_env_ns(const struct wm_env *e)
{
	return e->now_ns(e->arg);
}

/** Milliseconds of the same clock. */
static inline uint64_t wm_env_ms(const struct wm_env *e)
{
	return e->now_ns(e->arg) / WM_NS_PER_MS;
}

/** Milliseconds since 1970, for deadlines that are stored. */
static inline uint64_t wm_env_wall_ms(const struct wm_env *e)
{
	return e->wall_ms(e->arg);
}

/** Seconds since 1970, for people. */
static inline int64_t wm_env_wall_s(const struct wm_env *e)
{
	return (int64_t)(e->wall_ms(e->arg) / 1000);
}

static inline uint64_t wm_env_random64(const struct wm_env *e)
{
	return e->random64(e->arg);
}

/** Random number below @p n (n > 0), without modulo bias that matters. */
static inline uint64_t wm_env_below(const struct wm_env *e, uint64_t n)
{
	return (uint64_t)(((unsigned __int128)e->random64(e->arg) * n) >> 64);
}

/** One-shot timer, idle until armed; @p fn may re-arm or free it. @return NULL without memory, or
 * where there are no timers. */
static inline struct wm_env_timer *wm_env_timer_new(const struct wm_env *e, void (*fn)(void *arg),
						    void *fn_arg)
{
	return e->timer_new(e->arg, fn, fn_arg);
}

/** Let it run @p ms from now, in place of when it was to run. @return 0 or -ENOMEM. */
static inline int wm_env_timer_arm(struct wm_env_timer *t, uint64_t ms)
{
	return t->env->timer_arm(t, ms);
}

static inline void wm_env_timer_disarm(struct wm_env_timer *t)
{
	t->env->timer_disarm(t);
}

/** NULL ok. */
static inline void wm_env_timer_free(struct wm_env_timer *t)
{
	if (t)
		t->env->timer_free(t);
}
