/* SPDX-License-Identifier: Apache-2.0 */
/* env.c - the system as an environment, for who has no loop. */
#include "env.h"

#include "clock.h"
#include "random.h"

static uint64_t now_ns(void *arg)
{
	(void)arg;
	return wm_clock_ns();
}

static uint64_t wall_ms(void *arg)
{
	(void)arg;
	return wm_clock_wall_ms();
}

static uint64_t random64(void *arg)
{
	(void)arg;
	return wm_random64();
}

static struct wm_env_timer *no_timer(void *arg, void (*fn)(void *arg), void *fn_arg)
{
	(void)arg;
	(void)fn;
	(void)fn_arg;
	return NULL;
}

const struct wm_env wm_env_system = {
	.now_ns = now_ns, .wall_ms = wall_ms, .random64 = random64, .timer_new = no_timer};
