/* SPDX-License-Identifier: Apache-2.0 */
/* env_virtual.h - an environment (base/env.h) whose time moves only when a test moves it, and whose
 * random numbers follow from a seed. Timers run in order of time, those of one time in the order in
 * which they were armed, each while the clock stands at its time. */
#pragma once
#include "userspace/base/env.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/queue.h>

struct virtual_timer {
	struct wm_env_timer in_env;
	struct virtual_env *v;
	void (*fn)(void *arg);
	void *arg;
	uint64_t at_ns;
	bool armed;
	TAILQ_ENTRY(virtual_timer) entry;
};

struct virtual_env {
	struct wm_env env;
	uint64_t ns, wall_ms; /* now; of the wall when ns was 0 */
	uint64_t random;
	TAILQ_HEAD(, virtual_timer) armed; /* the earliest first */
};

static inline uint64_t virtual_ns(void *arg)
{
	return ((struct virtual_env *)arg)->ns;
}

static inline uint64_t virtual_wall_ms(void *arg)
{
	struct virtual_env *v = arg;

	return v->wall_ms + v->ns / WM_NS_PER_MS;
}

/* splitmix64, by Steele, Lea and Flood, 2014 */
static inline uint64_t virtual_random64(void *arg)
{
	uint64_t z = (((struct virtual_env *)arg)->random += 0x9e3779b97f4a7c15ull);

	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ull;
	z = (z ^ (z >> 27)) * 0x94d049bb133111ebull;
	return z ^ (z >> 31);
}

static inline struct virtual_timer *virtual_timer_of(struct wm_env_timer *t)
{
	return wm_container_of(t, struct virtual_timer, in_env);
}

static inline struct wm_env_timer *virtual_timer_new(void *arg, void (*fn)(void *arg), void *fn_arg)
{
	struct virtual_timer *t = calloc(1, sizeof(*t));

	if (!t)
		return NULL;
	t->v = arg;
	t->in_env.env = &t->v->env;
	t->fn = fn;
	t->arg = fn_arg;
	return &t->in_env;
}

static inline void virtual_timer_disarm(struct wm_env_timer *in_env)
{
	struct virtual_timer *t = virtual_timer_of(in_env);

	if (t->armed)
		TAILQ_REMOVE(&t->v->armed, t, entry);
	t->armed = false;
}

static inline int virtual_timer_arm(struct wm_env_timer *in_env, uint64_t ms)
{
	struct virtual_timer *t = virtual_timer_of(in_env), *later;

	virtual_timer_disarm(in_env);
	t->at_ns = t->v->ns + ms * WM_NS_PER_MS;
	t->armed = true;
	TAILQ_FOREACH (later, &t->v->armed, entry)
		if (later->at_ns > t->at_ns)
			break;
	if (later)
		TAILQ_INSERT_BEFORE(later, t, entry);
	else
		TAILQ_INSERT_TAIL(&t->v->armed, t, entry);
	return 0;
}

static inline void virtual_timer_free(struct wm_env_timer *in_env)
{
	virtual_timer_disarm(in_env);
	free(virtual_timer_of(in_env));
}

/** Starts a day after 0 and at the beginning of 2026. @p v must not move. */
static inline void virtual_env_init(struct virtual_env *v, uint64_t seed)
{
	*v = (struct virtual_env){.env = {.now_ns = virtual_ns,
					  .wall_ms = virtual_wall_ms,
					  .random64 = virtual_random64,
					  .timer_new = virtual_timer_new,
					  .timer_arm = virtual_timer_arm,
					  .timer_disarm = virtual_timer_disarm,
					  .timer_free = virtual_timer_free,
					  .arg = v},
				  .ns = 86400 * WM_NS_PER_S,
				  .wall_ms = 1767225600000ull - 86400 * 1000,
				  .random = seed};
	TAILQ_INIT(&v->armed);
}

/** Let @p ms pass, with the timers that are due in them. @return timers that ran. */
static inline unsigned virtual_env_pass(struct virtual_env *v, uint64_t ms)
{
	uint64_t end = v->ns + ms * WM_NS_PER_MS;
	struct virtual_timer *t;
	unsigned n = 0;

	for (; (t = TAILQ_FIRST(&v->armed)) && t->at_ns <= end; n++) {
		virtual_timer_disarm(&t->in_env);
		v->ns = t->at_ns > v->ns ? t->at_ns : v->ns;
		t->fn(t->arg);
	}
	v->ns = end;
	return n;
}
