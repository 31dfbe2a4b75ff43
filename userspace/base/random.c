/* SPDX-License-Identifier: Apache-2.0 */
/* random.c - numbers from the kernel's pool. */
#include "random.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/random.h>

#define RANDOM_POOL 64 /* numbers drawn from the kernel at once: one system call in 64 */

uint64_t wm_random64(void)
{
	static uint64_t pool[RANDOM_POOL];
	static unsigned left;
	ssize_t n;

	if (!left) {
		do
			n = getrandom(pool, sizeof(pool), 0);
		while (n < 0 && errno == EINTR);
		if (n != (ssize_t)sizeof(pool))
			abort(); /* requests up to 256 octets are never cut short once seeded */
		left = RANDOM_POOL;
	}
	return pool[--left];
}

uint64_t wm_random_below(uint64_t n)
{
	return (uint64_t)(((unsigned __int128)wm_random64() * n) >> 64);
}
