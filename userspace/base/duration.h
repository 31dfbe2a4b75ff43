/* SPDX-License-Identifier: Apache-2.0 */
/* duration.h - Go's durations, the form of time in Consul's API and in settings. Threading: any. */
#pragma once
#include <stddef.h>
#include <stdint.h>

/** Parse a Go duration ("1h30m", "120000ms", "1.5s", "0") into nanoseconds; Consul's syntax.
 *  @return 0, -EINVAL (syntax, no unit), -ERANGE. May be negative in @p ret_ns. */
int wm_duration_parse(const char *s, int64_t *ret_ns);
/** Go's String() of a duration ("1h30m0s", "10s", "1.5s", "100ms", "0s"). @p buf at least 40. */
void wm_duration_format(int64_t ns, char *buf, size_t cap);
