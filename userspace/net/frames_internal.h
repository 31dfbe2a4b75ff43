/* SPDX-License-Identifier: Apache-2.0 */
/* frames_internal.h - between frames.c (who may connect, and for how long) and frames_conn.c (the
 * octets of one connection). */
#pragma once
#include "frames.h"
#include "userspace/base/map.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <sys/queue.h>

#define WM_FRAMES_GREETING 4 /* octets */
#define WM_FRAMES_LENGTH   4 /* octets before a frame */

enum frames_phase {
	FRAMES_CONNECTING, /* ours, the kernel's turn */
	FRAMES_HANDSHAKE,  /* the stream's turn */
	FRAMES_GREETING,   /* ours is on its way, theirs has not come */
	FRAMES_UP,
	FRAMES_FINISHING, /* what waits is sent, nobody listens */
	FRAMES_DEAD,	  /* closed, freed by on_bury() */
};

/* An address from which connections came that are not up yet. */
struct frames_caller {
	struct in6_addr key;
	unsigned count;
};

struct wm_frames_conn {
	struct wm_frames *f;
	TAILQ_ENTRY(wm_frames_conn) entry;	 /* conns, then dead */
	TAILQ_ENTRY(wm_frames_conn) fresh_entry; /* while caller is set */
	TAILQ_ENTRY(wm_frames_conn) more_entry;	 /* while in_more */
	struct frames_caller *caller;
	struct wm_stream stream;
	struct event *readable, *writable;
	struct evbuffer *out;
	char *in; /* came and is not a whole frame yet, or its turn has not come */
	size_t in_len, in_cap;
	enum frames_phase phase;
	bool accepted, opened /* the stream */, choked, reads, in_more;
	unsigned greeted; /* octets of their greeting */
	struct wm_peer_addr at;
	char node[WM_NODE_NAME_MAX + 1]; /* that was asked for; "": any */
	/* monotonic milliseconds: when it began; when octets came and left last; since when the
	 * beginning of `in` waits for its end, 0: nothing does */
	uint64_t begun_ms, heard_ms, said_ms, moved_ms, partial_ms;
	uint64_t octets_in, octets_out;
	void *user;
};

TAILQ_HEAD(frames_conns, wm_frames_conn);

struct wm_frames {
	struct wm_loop *loop;
	struct wm_frames_config cfg;
	struct wm_timer *sweep;
	struct event *bury, *more;
	struct event *listeners[WM_FRAMES_LISTEN_MAX];
	unsigned listeners_count;
	bool paused; /* the system has no descriptor for another connection */
	struct frames_conns conns, fresh, dead, with_more;
	struct wm_frames_conn *next; /* of the sweep */
	unsigned count, fresh_count;
	struct wm_map *callers;
	unsigned sweep_ms;
	uint64_t swept_ms;
	struct wm_frames_stats stats;
};

/* frames.c */
/** It ends: unlinked, closed, the caller told. @p sentence NULL: the stream's or the errno's. */
void wm_frames_end(struct wm_frames_conn *c, int err, const char *sentence);
/** It is up, so nothing bounds its address any more. */
void wm_frames_forget_caller(struct wm_frames_conn *c);

/** Have wm_frames_go_on() called in the next turn, for who is in with_more. */
void wm_frames_run_more(struct wm_frames *f);

/* frames_conn.c */
/** Begin on c->stream.fd. @return 0, -ENOMEM. */
int wm_frames_begin(struct wm_frames_conn *c);
/** Close what it has; the struct stays. */
void wm_frames_release(struct wm_frames_conn *c);
/** Write some of what waits. @return 0, negative errno: it is broken. */
int wm_frames_flush(struct wm_frames_conn *c);
/** A frame of no octets. */
void wm_frames_keep_alive(struct wm_frames_conn *c);
/** Go on with what one turn did not take. */
void wm_frames_go_on(struct wm_frames_conn *c);
