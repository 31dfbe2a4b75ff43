/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow.h - a decision of connect() or of a datagram, told as it is made, through the ring buffer
 * `flows`; only while somebody watches (WM_CONFIG_F_WATCHED). What finds no room is counted
 * (flows_lost). Pure. */
#pragma once
#ifndef __VMLINUX_H__
#include <linux/types.h>
#endif

#define WM_FLOWS_OCTETS (1u << 19) /* of the ring buffer: 3,640 decisions with their heads */
#define WM_FLOW_NO_SET	0xffffffffu

enum wm_flow_verdict {
	WM_FLOW_NONE,
	WM_FLOW_PICKED,
	WM_FLOW_REFUSED, /* nobody of the set is usable */
	WM_FLOW_PASSED,	 /* the same, and its policy lets the call pass */
	WM_FLOW_UNKNOWN, /* refused: a virtual address that no service has */
	WM_FLOW_COUNT
};
struct wm_flow {
	__u64 time_ns;	      /* CLOCK_BOOTTIME */
	__u64 cgroup;	      /* id of the process's */
	__u64 cookie;	      /* of the socket */
	__be32 vip_be[4];     /* what was dialled, v4-mapped if IPv4 */
	__be32 backend_be[4]; /* PICKED: what it became */
	__be16 vip_port_be;
	__be16 backend_port_be;
	__u8 verdict; /* enum wm_flow_verdict */
	__u8 reason;  /* WM_REASON_BY() */
	__u8 tier;
	__u8 proto;    /* IPPROTO_TCP, IPPROTO_UDP */
	__u32 set;     /* WM_FLOW_NO_SET: none */
	__u32 backend; /* PICKED: index in backends */
	__u32 stamp;   /* of its occupant */
	__u32 pid;     /* in the kernel's first pid namespace */
	__u32 uid;
	__u32 datagram;	  /* 1: a destination of an unconnected socket, 0: a connect() */
	char comm[16];	  /* name of the thread */
	__u64 cost[2];	  /* of a choice of two: of the chosen one, and of the other, each ... */
	__u32 weight[2];  /* ... shared by its weight. 0: not usable, or there was no other */
	__u32 other;	  /* index in backends */
	__u32 generation; /* of the table that was chosen from */
};
_Static_assert(sizeof(struct wm_flow) == 136, "told from kernel to userspace");
