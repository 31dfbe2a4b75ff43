/* SPDX-License-Identifier: Apache-2.0 */
/* macros.h - array length, container of a member, units of time, and locals that release themselves
 * at the end of their scope. Threading: none. */
#pragma once
#include <stddef.h>
#include <stdlib.h>

#define WM_NS_PER_MS 1000000ull
#define WM_NS_PER_S  1000000000ull

#define WM_ARRAY_LEN(a)			 (sizeof(a) / sizeof((a)[0]))
#define wm_container_of(p, type, member) ((type *)((char *)(p)-offsetof(type, member)))

static inline void wm_freep(void *p)
{
	free(*(void **)p);
}
#define _cleanup_free_ __attribute__((cleanup(wm_freep)))
void wm_closep(int *fd);
#define _cleanup_close_ __attribute__((cleanup(wm_closep)))
