/* SPDX-License-Identifier: Apache-2.0 */
/* datagram.h - a UDP socket on the loop: datagrams of bounded size, some a turn, and the hosts that
 * answer that nobody listens. Nothing waits here: what the system does not take at once is lost, as
 * datagrams are. Threading: loop thread only. */
#pragma once
#include "loop.h"
#include "userspace/base/peer_addr.h"

#include <stddef.h>

#define WM_DATAGRAM_MAX	 2048 /* octets; longer ones are dropped and counted */
#define WM_DATAGRAM_TURN 64   /* received in one turn; the rest has the next */

struct wm_datagram_stats {
	uint64_t in, out, octets_in, octets_out;
	uint64_t too_long; /* dropped */
	uint64_t unsent;   /* the system did not take them */
	uint64_t refused;  /* ICMP port unreachable */
};

struct wm_datagram;
/** Bind; "[::]" takes IPv4, too. @p fn: a datagram came, borrowed for the call. @p refused: the
 * host at @p to has nobody on that port (ICMP), NULL ok. @return 0, negative errno. */
int wm_datagram_new(struct wm_loop *l, const struct wm_peer_addr *at,
		    void (*fn)(void *arg, const struct wm_peer_addr *from, const void *p,
			       size_t len),
		    void (*refused)(void *arg, const struct wm_peer_addr *to), void *arg,
		    struct wm_datagram **ret);
void wm_datagram_free(struct wm_datagram *d); /* NULL ok; not from a callback */
void wm_datagram_send(struct wm_datagram *d, const struct wm_peer_addr *to, const void *p,
		      size_t len);
/** The port that it has. */
uint16_t wm_datagram_port(const struct wm_datagram *d);
/** Borrowed; for its life. */
const struct wm_datagram_stats *wm_datagram_stats(const struct wm_datagram *d);
