/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* origin.h - what a socket remembers, against what it is connected to now: for the programs that
 * walk sockets. */
#pragma once
#include "common.h"

/** Is @p sk connected to the backend that @p at remembers? A socket may have been connected anew
 * since, or never: datagrams of unconnected sockets leave their destinations in the same storage.
 */
static __always_inline bool goes_to(const struct sock_common *sk, const struct wm_origin *at)
{
	__be32 to[4] = {0, 0, WM_V4_MAPPED_BE, 0};

	if (sk->skc_dport != at->backend_port_be)
		return false;
	if (sk->skc_family == AF_INET6) {
		to[0] = sk->skc_v6_daddr.in6_u.u6_addr32[0];
		to[1] = sk->skc_v6_daddr.in6_u.u6_addr32[1];
		to[2] = sk->skc_v6_daddr.in6_u.u6_addr32[2];
		to[3] = sk->skc_v6_daddr.in6_u.u6_addr32[3];
	} else {
		to[3] = sk->skc_daddr;
	}
	return !((to[0] ^ at->backend_be[0]) | (to[1] ^ at->backend_be[1]) |
		 (to[2] ^ at->backend_be[2]) | (to[3] ^ at->backend_be[3]));
}

/** The choice that open socket @p sk is connected by; NULL: none of ours. @p o may be NULL. */
static __always_inline const struct wm_origin *connected_by(const struct sock_common *sk,
							    const struct wm_socket_origin *o)
{
	__u8 state = sk->skc_state;

	if (!o || !o->at[0].time_ns || state == TCP_CLOSE || state == TCP_TIME_WAIT)
		return NULL;
	if (o->tables && o->tables != tables_id) /* the index is one of tables that are gone */
		return NULL;
	return goes_to(sk, &o->at[0]) ? &o->at[0] : NULL;
}

/** Write the index of the backend that @p at keeps from leaving; NULL: none. */
static __always_inline int report(struct bpf_iter_meta *meta, const struct wm_origin *at)
{
	const struct wm_backend *b;
	__u32 index, word;

	if (!at)
		return 0;
	index = at->backend;
	b = wm_at_backend(NULL, index);
	if (!b)
		return 0;
	word = WM_READ(b->state);
	if ((word & WM_STATE_MASK) == WM_STATE_DRAIN && !((word ^ at->state) >> 16))
		bpf_seq_write(meta->seq, &index, sizeof(index));
	return 0;
}
