/* SPDX-License-Identifier: Apache-2.0 */
/* stream.c - plain sockets as streams. */
#include "stream.h"

#include <errno.h>
#include <stdint.h>
#include <sys/socket.h>

static ssize_t socket_write(struct wm_stream *s, const struct iovec *parts, int count)
{
	struct msghdr m = {.msg_iov = (struct iovec *)(uintptr_t)parts,
			   .msg_iovlen = (size_t)count};
	ssize_t n = sendmsg(s->fd, &m, MSG_NOSIGNAL | MSG_DONTWAIT);

	return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
}

static ssize_t socket_read(struct wm_stream *s, void *buf, size_t len)
{
	ssize_t n = recv(s->fd, buf, len, MSG_DONTWAIT);

	return n >= 0 ? n : errno == EINTR ? -EAGAIN : -errno;
}

const struct wm_stream_kind wm_stream_socket = {.write = socket_write, .read = socket_read};
