/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bucket.h - a bound on how often something may happen, in one word: the time when the bucket that
 * fills evenly would be full again (GCRA, as ITU-T I.371). Pure; the clock is the caller's. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/** May it happen once more at @p now_ns? It may happen each @p every_ns on average, and as often as
 *  @p every_ns goes into @p window_ns at once. @p full_ns: 0 at first; changed where it may. */
static inline int wm_bucket_take(__u64 *full_ns, __u64 now_ns, __u64 every_ns, __u64 window_ns)
{
	__u64 full = *full_ns > now_ns ? *full_ns : now_ns;

	if (full - now_ns + every_ns > window_ns)
		return 0;
	*full_ns = full + every_ns;
	return 1;
}
