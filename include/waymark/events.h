/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* events.h - what programs tell userspace as it happens, through the ring buffer `events`. Nobody
 * may rely on hearing of each: what finds no room is counted (events_lost), and who acts on events
 * also looks by himself now and then. Pure. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define WM_EVENTS_OCTETS (1u << 18) /* of the ring buffer: 3,640 events with their heads */

enum wm_event_kind {
	WM_EVENT_NONE,
	WM_EVENT_LISTENER_GONE, /* nobody listens for `backend` any more, and it is down */
	WM_EVENT_LISTENER_BACK, /* somebody listens for it again */
	WM_EVENT_FAILED,	/* the first connect to `backend` failed, in a row of such maybe; of
				 * what, `reason` tells: an errno, positive */
	WM_EVENT_EJECTED,	/* likewise, and it is left out until `value`, CLOCK_BOOTTIME */
};
#define WM_EVENT_BIT(kind) (1ull << WM_EVENT_##kind) /* in a set of kinds */
struct wm_event {
	__u64 time_ns;	  /* CLOCK_BOOTTIME */
	__u64 cgroup;	  /* id of the cgroup of who did it */
	__u64 cookie;	  /* of the socket */
	__be32 vip_be[4]; /* what was dialled, of a listener its address; v4-mapped if IPv4 */
	__be16 vip_port_be;
	__u8 kind; /* enum wm_event_kind */
	__u8 reason;
	__u32 backend; /* index in backends */
	__u32 stamp;   /* of its occupant */
	__u32 set;     /* index in sets, where there is one */
	__u64 value;
};
_Static_assert(sizeof(struct wm_event) == 64, "one cache line");
