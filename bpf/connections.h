/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* connections.h - the connection that a socket has been steered to, found by the socket's cookie:
 * in one of the ways of a bucket, which its low bits choose, so that sockets that come one after
 * another lie side by side. A way is claimed by compare-and-swap and freed when the socket is
 * released; nothing is evicted. Only the socket's own calls write its entry, under its lock. */
#pragma once
#include "common.h"

/* Buckets - 1, a power of two. Set by the loader. */
const volatile __u32 connection_mask = 0;

static __always_inline struct wm_connection *connection_way(__u64 cookie, __u32 way)
{
	__u32 at = ((__u32)cookie & connection_mask) * WM_CONNECTION_WAYS + way;

	return bpf_map_lookup_elem(&connections, &at);
}

/** The entry of the socket with this cookie; NULL: it has none. */
static __always_inline struct wm_connection *connection_of(__u64 cookie)
{
	struct wm_connection *c;

	for (__u32 i = 0; i < WM_CONNECTION_WAYS; i++) {
		c = connection_way(cookie, i);
		if (c && WM_READ(c->cookie) == cookie)
			return c;
	}
	return NULL;
}

/** One more socket, or one less, is connected to the occupant @p stamp of a backend. */
static __always_inline void connection_count(__u32 backend, __u16 stamp, int n)
{
	struct wm_backend_live *live = bpf_map_lookup_elem(&backend_live, &backend);

	if (live && WM_READ(live->stamp) == stamp)
		__sync_fetch_and_add(&live->open, n);
}

/** The connection of @p c has ended; the entry stays the socket's. */
static __always_inline void connection_end(struct wm_connection *c)
{
	/* userspace may end one that it finds no socket of: who takes the time counts */
	if (__sync_lock_test_and_set(&c->time_ns, 0))
		connection_count(c->backend, c->stamp, -1);
}

/** Begin to read the line that a new entry of the socket is written to. What is waited for then is
 * waited for beside it. */
static __always_inline void connection_ahead(__u64 cookie)
{
	const struct wm_connection *c = connection_way(cookie, 0);

	if (c)
		(void)WM_READ(c->cookie);
}

/** The socket's entry, or a free one that is its from now on; NULL: all ways are others'.
 * @p fresh: it has none for certain. */
static __always_inline struct wm_connection *connection_claim(__u64 cookie, bool fresh)
{
	struct wm_connection *c = fresh ? NULL : connection_of(cookie);

	if (c)
		return c;
	for (__u32 i = 0; i < WM_CONNECTION_WAYS; i++) {
		c = connection_way(cookie, i);
		if (c && !WM_READ(c->cookie) && !__sync_val_compare_and_swap(&c->cookie, 0, cookie))
			return c;
	}
	return NULL;
}
