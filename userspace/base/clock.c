/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - what time it is. */
#include "clock.h"

#include <time.h>

#define SET_BACK_MS 2000 /* what is less may have passed between two calls */

uint64_t wm_clock_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (uint64_t)ts.tv_sec * WM_NS_PER_S + (uint64_t)ts.tv_nsec;
}

uint64_t wm_clock_ms(void)
{
	return wm_clock_ns() / WM_NS_PER_MS;
}

uint64_t wm_clock_cpu_ns(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts);
	return (uint64_t)ts.tv_sec * WM_NS_PER_S + (uint64_t)ts.tv_nsec;
}

int64_t wm_clock_wall_s(void)
{
	return (int64_t)time(NULL);
}

uint64_t wm_clock_wall_ms(void)
{
	struct timespec t;

	clock_gettime(CLOCK_REALTIME, &t);
	return (uint64_t)t.tv_sec * 1000 + (uint64_t)t.tv_nsec / WM_NS_PER_MS;
}

bool wm_clock_set_back(int64_t *ahead_ms)
{
	int64_t before_ms = *ahead_ms;

	*ahead_ms = (int64_t)(wm_clock_wall_ms() - wm_clock_ms());
	return *ahead_ms < before_ms - SET_BACK_MS;
}
