/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* outcome.h - `outcomes`, parallel to backends: how quickly connects were made. Of one run of the
 * agent and its program, so in no layout version; shared by all CPUs, as backend_live is. Pure. */
#pragma once
#include "layout.h"

#define WM_OUTCOME_BUCKETS  12	/* with the last, of what is slower than all bounds: 16.8 s */
#define WM_OUTCOME_FIRST_US 16u /* us: bound of the first; each next is four times as much */

struct wm_connects {
	__u32 connects[WM_OUTCOME_BUCKETS]; /* by latency: at most wm_outcome_bound_us(i) */
	__u64 total_us;
	__u32 stamp;   /* of the occupant that it is about */
	__u32 srtt_us; /* of the last one: the kernel's smoothed round trip; 0: not known */
};
_Static_assert(sizeof(struct wm_connects) == 64, "mmapable, one cache line");

/** us from @p since to @p now, both of CLOCK_BOOTTIME in ns. */
static __always_inline __u32 wm_outcome_us(__u64 since, __u64 now)
{
	__u64 us = now > since ? (now - since) / 1000 : 0;

	return us < 0xffffffffu ? (__u32)us : 0xffffffffu;
}

/** us that connects of bucket @p i, not the last, took at most. */
static __always_inline __u32 wm_outcome_bound_us(__u32 i)
{
	return WM_OUTCOME_FIRST_US << 2 * i;
}

static __always_inline __u32 wm_outcome_bucket(__u32 us)
{
	__u32 i = 0;

	while (i < WM_OUTCOME_BUCKETS - 1 && us > wm_outcome_bound_us(i))
		i++;
	return i;
}

/** Note a connect that was made after @p us. What an occupant before left goes: several who see
 *  the first of a new one at once may lose each other's. */
static __always_inline void wm_outcome_note(struct wm_connects *o, __u32 stamp, __u32 us,
					    __u32 srtt_us)
{
	__u32 i = wm_outcome_bucket(us);

	if (*(volatile __u32 *)&o->stamp != stamp)
		*o = (struct wm_connects){.stamp = stamp};
	__sync_fetch_and_add(&o->connects[i], 1);
	__sync_fetch_and_add(&o->total_us, us);
	if (srtt_us)
		*(volatile __u32 *)&o->srtt_us = srtt_us;
}
