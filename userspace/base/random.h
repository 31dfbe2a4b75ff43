/* SPDX-License-Identifier: Apache-2.0 */
/* random.h - numbers from the kernel's pool. Threading: one thread, the buffer is shared. */
#pragma once
#include <stdint.h>

/** Random number from the kernel's pool, buffered. Never fails (aborts without getrandom). */
uint64_t wm_random64(void);
/** Random number below @p n (n > 0), without modulo bias that matters. */
uint64_t wm_random_below(uint64_t n);
