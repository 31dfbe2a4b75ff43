/* SPDX-License-Identifier: Apache-2.0 */
/* stream.h - what carries the octets of one connection, as a table of functions: plain sockets are
 * one kind, TLS between agents another (tls.h). A stream keeps nothing of what it has taken, and
 * decides nothing: who owns the connection waits, tries again and gives up (http_conn.c).
 * Threading: loop thread only. */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>
#include <sys/uio.h>

struct wm_stream;

struct wm_stream_kind {
	/** Begin on s->fd, which is connected and does not block; NULL: nothing is to be done.
	 *  @return 0, negative errno. */
	int (*open)(struct wm_stream *s);
	/** Go on until both sides have agreed to speak, before anything is read or written. NULL:
	 *  there is nothing to agree on. @return 0; -EAGAIN: when the socket is ready, see
	 *  wants_write(); other negative errno: they do not agree. */
	int (*handshake)(struct wm_stream *s);
	/** Do handshake() and read() wait until the socket can be written? NULL: never. */
	bool (*wants_write)(const struct wm_stream *s);
	/** Take octets of @p parts from their beginning. @return how many, at least one; -EAGAIN:
	 *  none until the socket is ready; other negative errno: the stream is broken. */
	ssize_t (*write)(struct wm_stream *s, const struct iovec *parts, int count);
	/** @return octets put into @p buf; 0: the peer sends no more; -EAGAIN: none until the
	 * socket is ready; other negative errno: the stream is broken. */
	ssize_t (*read)(struct wm_stream *s, void *buf, size_t len);
	/** Has it octets for read() though the socket may have none, as TLS has the rest of a
	 *  record? NULL: never. */
	bool (*holds)(const struct wm_stream *s);
	/** What is wrong, in words, behind an error. Borrowed, until close(). NULL, or NULL given:
	 *  what the errno says. */
	const char *(*why)(const struct wm_stream *s);
	/** Say farewell and free the state; the descriptor is the owner's. NULL: nothing to do. */
	void (*close)(struct wm_stream *s);
};

struct wm_stream {
	const struct wm_stream_kind *kind;
	int fd;	     /* -1: none yet */
	void *state; /* the kind's */
};

extern const struct wm_stream_kind wm_stream_socket; /* TCP and Unix sockets, as they are */
