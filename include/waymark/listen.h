/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* listen.h - who listens for the instances of this node. `listeners` leads from an address to an
 * element of `listening`, which counts the sockets that listen on it and names the backends that
 * are served by them. A backend of 10.0.0.1:80 is served by whoever listens on that, on 0.0.0.0:80
 * or on [::]:80, so it stands in three elements, each of which knows the other two.
 * Both maps are of one run of the agent and its program, so they are in no layout version. Pure. */
#pragma once
#include "layout.h"

#define WM_LISTENING_MAX                                                                           \
	8192 /* elements: 512 KiB; an instance on a port of its own takes three, so 2,730 of them  \
	      */
#define WM_LISTENING_USERS                                                                         \
	3 /* backends of one element: the same port under so many addresses or services */

struct wm_listener_key {
	__u64 netns;	   /* cookie of the network namespace */
	__be32 addr_be[4]; /* v4-mapped if IPv4 */
	__u16 port;	   /* host order */
	__u16 pad[3];
};
_Static_assert(sizeof(struct wm_listener_key) == 32, "no hidden octets in a key");

struct wm_listening_user {
	__u32 backend;	/* index in backends */
	__u32 stamp;	/* of its occupant, with WM_LISTENING_USED; 0: no user */
	__u32 other[2]; /* the elements that serve it, too */
};
struct wm_listening {
	__u64 word; /* sockets in the low half, in the high one how often that changed */
	struct wm_listening_user users[WM_LISTENING_USERS];
	__u64 pad;
};
_Static_assert(sizeof(struct wm_listening) == 64, "mmapable, one cache line");
#define WM_LISTENING_USED (1u << 16)
#define WM_LISTENING_UNKNOWN                                                                       \
	(1u << 30) /* sockets of an element that nobody has counted yet: no close is of the last   \
		    */

static __always_inline __u32 wm_listening_count(__u64 word)
{
	return (__u32)word;
}

/** @p word with @p count sockets, as counted from outside: no change of a socket's. */
static __always_inline __u64 wm_listening_counted(__u64 word, __u32 count)
{
	return (word >> 32) << 32 | count;
}

/** @p word after one more socket listens (@p opens), or one less. Sockets that were never counted
 *  may close: the count stays at 0. */
static __always_inline __u64 wm_listening_moved(__u64 word, int opens)
{
	__u32 n = (__u32)word;

	n = opens ? n + 1 : n ? n - 1 : 0;
	return ((word >> 32) + 1) << 32 | n;
}
