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

/** The same of a word that several CPUs take from at a time. Who finds it changed by another twice
 *  may: then a little more is let through than it says, and nobody waits. */
static inline int wm_bucket_take_shared(__u64 *full_ns, __u64 now_ns, __u64 every_ns,
					__u64 window_ns)
{
	for (int i = 0; i < 2; i++) {
		__u64 was = *(volatile __u64 *)full_ns, full = was;

		if (!wm_bucket_take(&full, now_ns, every_ns, window_ns))
			return 0;
		if (__sync_val_compare_and_swap(full_ns, was, full) == was)
			break;
	}
	return 1;
}
