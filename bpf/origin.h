/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* origin.h - what a socket remembers, against what it is connected to now: for the programs that
 * walk sockets. */
#pragma once
#include "connections.h"

/* The backend that an open socket is connected to. */
struct towards {
	__u32 backend; /* index */
	__u32 stamp;   /* of its occupant */
};

/** Is @p sk connected to this address and port? A socket may have been connected anew since, or
 *  never: datagrams of unconnected sockets leave their destinations in the same storage. */
static __always_inline bool goes_to(const struct sock_common *sk, const __be32 addr[4],
				    __be16 port_be)
{
	__be32 to[4] = {0, 0, WM_V4_MAPPED_BE, 0};

	if (sk->skc_dport != port_be)
		return false;
	if (sk->skc_family == AF_INET6) {
		to[0] = sk->skc_v6_daddr.in6_u.u6_addr32[0];
		to[1] = sk->skc_v6_daddr.in6_u.u6_addr32[1];
		to[2] = sk->skc_v6_daddr.in6_u.u6_addr32[2];
		to[3] = sk->skc_v6_daddr.in6_u.u6_addr32[3];
	} else {
		to[3] = sk->skc_daddr;
	}
	return !((to[0] ^ addr[0]) | (to[1] ^ addr[1]) | (to[2] ^ addr[2]) | (to[3] ^ addr[3]));
}

static __always_inline bool is_open(const struct sock_common *sk)
{
	__u8 state = sk->skc_state;

	return state != TCP_CLOSE && state != TCP_TIME_WAIT;
}

/** Where open socket @p sk is connected to by what its storage @p o has, which may be NULL.
 *  @return false: nowhere by us. */
static __always_inline bool by_storage(const struct sock_common *sk,
				       const struct wm_socket_origin *o, struct towards *ret)
{
	if (!o || !o->at[0].time_ns || !is_open(sk))
		return false;
	if (o->tables && o->tables != tables_id) /* the index is one of tables that are gone */
		return false;
	ret->backend = o->at[0].backend;
	ret->stamp = o->at[0].state >> 16;
	return goes_to(sk, o->at[0].backend_be, o->at[0].backend_port_be);
}

/** The same by `connections`. */
static __always_inline bool by_connection(const struct sock_common *sk, struct towards *ret)
{
	__u64 cookie = sk->skc_cookie.counter;
	const struct wm_connection *c = cookie ? connection_of(cookie) : NULL;

	if (!c || !c->time_ns || !is_open(sk))
		return false;
	ret->backend = c->backend;
	ret->stamp = c->stamp;
	return goes_to(sk, c->backend_be, c->backend_port_be);
}

/** Write the index of the backend that is kept from leaving. */
static __always_inline int report(struct bpf_iter_meta *meta, struct towards to)
{
	const struct wm_backend *b = wm_at_backend(NULL, to.backend);
	__u32 word;

	if (!b)
		return 0;
	word = WM_READ(b->state);
	if ((word & WM_STATE_MASK) == WM_STATE_DRAIN && word >> 16 == to.stamp)
		bpf_seq_write(meta->seq, &to.backend, sizeof(to.backend));
	return 0;
}
