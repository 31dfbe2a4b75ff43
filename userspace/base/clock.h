/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - what time it is: one clock for timers, one for people. Threading: any. */
#pragma once
#include "macros.h"

#include <stdbool.h>
#include <stdint.h>

/** Nanoseconds of CLOCK_BOOTTIME: goes on through suspend, the same as bpf_ktime_get_boot_ns(). */
uint64_t wm_clock_ns(void);
/** Milliseconds of the same clock. */
uint64_t wm_clock_ms(void);
/** Nanoseconds of processor that the calling thread has used: what a turn of the loop costs,
 * whoever else has the machine. A system call, some 200 ns. */
uint64_t wm_clock_cpu_ns(void);
/** Seconds since 1970, for people and SOA serials only; never for timers. */
int64_t wm_clock_wall_s(void);
/** Milliseconds since 1970, for deadlines that are stored and outlive the machine's boot: a timer
 * takes what is left of one, once, on the other clock. */
uint64_t wm_clock_wall_ms(void);
/** Has the wall clock been set back since the last call with the same @p ahead_ms, which is 0
 * before the first? By two seconds at least: less is what two calls take. */
bool wm_clock_set_back(int64_t *ahead_ms);
