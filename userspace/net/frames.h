/* SPDX-License-Identifier: Apache-2.0 */
/* frames.h - connections between agents that carry frames: messages of a bounded length, in order
 * and whole, over TCP, plain or as TLS (tls.h). A connection is up when both sides have agreed: TLS
 * has judged both certificates and each has read the other's greeting. What is bounded: the length
 * of a frame, what waits to be sent, connections, those among them that are not up yet, by address
 * too, and what one connection is read and written in a turn of the loop. Nothing is tried again
 * here and nobody is known: that is the caller's. The process need not ignore SIGPIPE.
 * Threading: loop thread only.
 *
 * On the wire: a greeting ("WmF" and a version, 4 octets) each way, then frames: a length (4
 * octets, network order) and as many octets. A frame of length 0 only says that somebody is there.
 */
#pragma once
#include "loop.h"
#include "tls.h"
#include "userspace/base/err.h"
#include "userspace/base/peer_addr.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define WM_FRAMES_VERSION    1		 /* of the greeting */
#define WM_FRAME_MAX	     (4u << 20)	 /* octets of a frame: a page of a replica's log and room */
#define WM_FRAMES_QUEUE_MAX  (16u << 20) /* octets that wait to be sent over one connection */
#define WM_FRAMES_CONNS_MAX  4096	 /* connections: two for each of 1,000 members, and room */
#define WM_FRAMES_FRESH_MAX  256	 /* accepted and not up yet; then the oldest is ended */
#define WM_FRAMES_FRESH_EACH 16		 /* the same of one address; IPv6: of one /64 */
#define WM_FRAMES_UP_MS	     5000	 /* milliseconds from the beginning until it is up */
#define WM_FRAMES_IDLE_MS    30000	 /* milliseconds without an octet from or to a peer */
#define WM_FRAMES_FRAME_MS   60000 /* milliseconds that a frame may take: 4 MiB at 560 kbit/s */
#define WM_FRAMES_LISTEN_MAX 8	   /* addresses that are listened on */

struct wm_frames;
struct wm_frames_conn;

struct wm_frames_config {
	struct wm_tls *tls;	     /* borrowed. NULL: plain TCP, and nobody is who he says */
	size_t frame_max, queue_max; /* 0: the constants above; the queue holds a frame at least */
	unsigned conns_max, fresh_max, fresh_each; /* 0: likewise */
	unsigned up_ms, idle_ms, frame_ms;	   /* 0: likewise */
	void *arg; /* of all below. Each may close any connection, and send; none may free */
	void (*up)(void *arg, struct wm_frames_conn *c);
	/* A frame; borrowed, for the call. */
	void (*frame)(void *arg, struct wm_frames_conn *c, const void *p, size_t len);
	/* It was up, or we opened it, and is over; freed behind the call. @p err: negative errno
	 * (-ETIMEDOUT, -ECONNREFUSED, -EACCES: a certificate, -ECONNRESET, -EPROTO, -EMSGSIZE),
	 * 0: the peer said farewell. */
	void (*down)(void *arg, struct wm_frames_conn *c, int err, const char *sentence);
	/* A send was refused with -EAGAIN, and half of what waited has left. NULL ok. */
	void (*writable)(void *arg, struct wm_frames_conn *c);
	/* Who called did not come up. For the log, which is to bound it. NULL ok. */
	void (*refused)(void *arg, const struct wm_peer_addr *from, int err, const char *sentence);
};

/** @return NULL without memory. */
struct wm_frames *wm_frames_new(struct wm_loop *l, const struct wm_frames_config *c);
/** All connections end, without a word to the caller. NULL ok. */
void wm_frames_free(struct wm_frames *f);

/** Accept connections at @p at; port 0: one of the kernel's. "[::]" takes IPv4, too.
 *  @param ret_port the port, NULL ok. @return 0, -ENOSPC, negative errno; @p e names the address.
 */
int wm_frames_listen(struct wm_frames *f, const struct wm_peer_addr *at, uint16_t *ret_port,
		     struct wm_err *e);
/** Accept no more. Connections that stand go on. */
void wm_frames_unlisten(struct wm_frames *f);
/** Open a connection: up() or down() follows, not before this returns.
 *  @param node with TLS: whose certificate it must be; NULL: any of our datacenter
 *  @param user see wm_frames_user(). @return 0, -ENOSPC (conns_max), negative errno. */
int wm_frames_connect(struct wm_frames *f, const struct wm_peer_addr *to, const char *node,
		      void *user, struct wm_frames_conn **ret);

/** Send a frame of 1 to frame_max octets: copied. Frames of one turn leave together.
 *  @return 0; -EAGAIN: too much waits, nothing of it was taken, writable() will tell; -EMSGSIZE,
 *  -ENOTCONN (not up), -ENOMEM. */
int wm_frames_send(struct wm_frames_conn *c, const void *p, size_t len);
/** End it: what waits is sent as far as the socket takes it at once. No callback follows, and @p c
 *  is not to be used any more. NULL ok. */
void wm_frames_close(struct wm_frames_conn *c);
/** The same when all that waits is sent, or idle_ms have passed; what comes is thrown away. */
void wm_frames_finish(struct wm_frames_conn *c);

/** Who is there, by his certificate. NULL: plain TCP, or not up yet. Borrowed. */
const struct wm_identity *wm_frames_identity(const struct wm_frames_conn *c);
/** Where the other end is. Borrowed. */
const struct wm_peer_addr *wm_frames_address(const struct wm_frames_conn *c);
bool wm_frames_is_up(const struct wm_frames_conn *c);
bool wm_frames_accepted(const struct wm_frames_conn *c); /* they called us */
void *wm_frames_user(const struct wm_frames_conn *c);
void wm_frames_set_user(struct wm_frames_conn *c, void *user);
/** Octets that wait to be sent, lengths included. */
size_t wm_frames_waiting(const struct wm_frames_conn *c);
/** Octets of frames both ways, lengths included, without what TLS adds. */
uint64_t wm_frames_octets_in(const struct wm_frames_conn *c);
uint64_t wm_frames_octets_out(const struct wm_frames_conn *c);
unsigned wm_frames_count(const struct wm_frames *f); /* connections of any state */

/* Every refusal has a counter. X(name, help) makes reference pages. */
#define WM_FRAMES_COUNTERS(X)                                                                      \
	X(accepted, "Connections accepted")                                                        \
	X(opened, "Connections begun to others")                                                   \
	X(up, "Connections that came up, both ways")                                               \
	X(failed, "Connections that did not come up")                                              \
	X(certificates, "Of these, certificates refused, ours or theirs")                          \
	X(late, "Of these, ones that took too long")                                               \
	X(over_limit, "Connections ended as too many are there, or not up yet")                    \
	X(no_accept, "Times that the system had no descriptor or memory for a connection")         \
	X(broken, "Connections that were up and broke")                                            \
	X(idle, "Of these, peers that were silent, took nothing or did not end a frame")           \
	X(too_long, "Of these, frames over the bound")                                             \
	X(refused_sends, "Frames not taken, as too much waits")                                    \
	X(frames_in, "Frames received")                                                            \
	X(frames_out, "Frames sent")                                                               \
	X(octets_in, "Octets of frames received")                                                  \
	X(octets_out, "Octets of frames sent")
struct wm_frames_stats {
#define X(name, help) uint64_t name;
	WM_FRAMES_COUNTERS(X)
#undef X
};
/** Borrowed; as long as @p f. */
const struct wm_frames_stats *wm_frames_stats(const struct wm_frames *f);
