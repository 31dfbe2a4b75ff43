/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* checksum.h - the Internet checksum's arithmetic. Sums are of 16-bit words in memory order, so no
 * swapping is needed on either side. Pure. Spec: RFC 1071, RFC 1624. */
#pragma once
#include "layout.h"

/** Fold a sum of words into 16 bits, carries added back. */
static __always_inline __u16 wm_csum_fold(__u64 sum)
{
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffffffff) + (sum >> 32);
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (__u16)((sum & 0xffff) + (sum >> 16));
}

/** Checksum field @p check after one 16-bit word changed from @p from to @p to: RFC 1624 eqn. 3. */
static __always_inline __u16 wm_csum_replace(__u16 check, __u16 from, __u16 to)
{
	return (__u16)~wm_csum_fold((__u64)(__u16)~check + (__u16)~from + to);
}
