/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* rate.h - response-rate limit: what is answered to one network, and what is done with the rest, in
 * the kernel and in userspace. Addresses of UDP can be forged, so answers are what others can be
 * flooded with. Pure. */
#pragma once
#include "bucket.h"
#include "table.h"

#define WM_RATE_NET4_BE	  __builtin_bswap32(0xffffff00) /* of an IPv4 client: its /24 */
#define WM_RATE_SLIP	  2 /* one of so many is told to use TCP; as NSD and BIND have it */
#define WM_RATE_WINDOW_NS 1000000000ull
#define WM_RATE_PLACES	  16384 /* what is asked too often at a time */

struct wm_rate {
	__u64 full_ns;
	__u32 over, pad;
};

enum wm_rated { WM_RATED_ANSWER, WM_RATED_DROP, WM_RATED_CUT };

/* Key of `dns_rates`: who is answered what. */
struct wm_rate_key {
	__u64 net;  /* wm_rate_net() */
	__u64 name; /* hash; of what is not there, which of our domains */
	__u32 type, pad;
};
_Static_assert(sizeof(struct wm_rate_key) == 24, "no hidden octets in a key");
#define WM_RATE_NEGATIVE 0x10000u /* in the place of a type: names and types that are not there */

/** Network of the client @p addr_be, v4-mapped if IPv4: its /24 or /64. */
static inline __u64 wm_rate_net(const __be32 addr_be[4])
{
	if (!(addr_be[0] | addr_be[1]) && addr_be[2] == WM_V4_MAPPED_BE)
		return (__u64)WM_V4_MAPPED_BE << 32 | (addr_be[3] & WM_RATE_NET4_BE);
	return (__u64)addr_be[0] << 32 | addr_be[1];
}

/** What is done at @p now_ns with what is answered each @p every_ns on average. */
static inline enum wm_rated wm_rate_take(struct wm_rate *r, __u64 now_ns, __u64 every_ns)
{
	if (wm_bucket_take_shared(&r->full_ns, now_ns, every_ns, WM_RATE_WINDOW_NS))
		return WM_RATED_ANSWER;
	return (__sync_fetch_and_add(&r->over, 1) + 1) % WM_RATE_SLIP ? WM_RATED_DROP
								      : WM_RATED_CUT;
}
