/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* lost.h - the table by which bpf/abort.bpf.c knows the backends that are gone. It belongs to one
 * run of the agent and is pinned nowhere, so it is no part of the layout of layout.h. */
#pragma once
#include "layout.h"

struct wm_lost_key {
	__u32 backend; /* index in backends */
	__u32 stamp;   /* of the occupant: the high half of its state word */
};
struct wm_lost {
	__be32 addr4_be;    /* 0: none */
	__be32 addr6_be[4]; /* ::: none */
	__be16 port_be;	    /* 0: any, the one that was dialled */
	__u16 protocols;    /* WM_LOST_*: whose sockets go */
};
#define WM_LOST_UDP 1u
#define WM_LOST_TCP 2u
_Static_assert(sizeof(struct wm_lost_key) == 8, "no padding in a key");
_Static_assert(sizeof(struct wm_lost) == 24, "no padding");
