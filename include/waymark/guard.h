/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* guard.h - who may ask for names, told to the programs and to userspace in the same form. Pure. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

/* A network of clients, and the key of `dns_allow`, an LPM trie: IPv4 is v4-mapped, so that its
 * bits are 96 more than are written behind the address. Bits behind them are zero. */
struct wm_guard_prefix {
	__u32 bits;
	__be32 addr_be[4];
};
_Static_assert(sizeof(struct wm_guard_prefix) == 20, "no hidden octets in a key");
#define WM_GUARD_PREFIXES_MAX                                                                      \
	32 /* networks: two lists of settings, as the old are there until the new ones are */
#define WM_GUARD_PODS_MAX 1024 /* devices of pods: as many as hooks on devices */
#define WM_GUARD_BITS_4	  96   /* of an IPv4 address that stand before its own */

/* What stands for a network in the trie; that it is there is all that counts. */
struct wm_guard_allowed {
	__u32 told; /* wm_guard.told when this one was, the last time */
};

/* `dns_guard`, one entry: what the programs ask of who is no local client. */
struct wm_guard {
	__u32 restricted;    /* 1: only who is in `dns_allow` may ask */
	__u32 told;	     /* times that the networks were told */
	__u64 pod_every_ns;  /* between the questions of one pod, on average; 0: no bound */
	__u64 rate_every_ns; /* the same of one answer to one network of a link: rate.h */
};

/* What one pod asks: an entry of `dns_pods`, by its device's number. All of it is written by
 * several CPUs at a time. */
struct wm_pod_asks {
	__u64 full_ns; /* bucket.h: as many at once as in a second */
	__u64 queries, dropped;
	__u64 peer; /* 1: the device's other end is in another namespace, where answers go at once
		     */
};
#define WM_POD_WINDOW_NS 1000000000ull

/** Is @p addr_be, v4-mapped if IPv4, of the network @p p? */
static inline int wm_guard_matches(const struct wm_guard_prefix *p, const __be32 addr_be[4])
{
	__u32 left = p->bits;

	for (int i = 0; i < 4 && left; i++) {
		__u32 n = left < 32 ? left : 32;
		__u32 mask = __builtin_bswap32(~0u << (32 - n));

		if ((p->addr_be[i] ^ addr_be[i]) & mask)
			return 0;
		left -= n;
	}
	return 1;
}
