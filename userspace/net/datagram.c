/* SPDX-License-Identifier: Apache-2.0 */
/* datagram.c - see datagram.h. */
#include "datagram.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

struct wm_datagram {
	int fd, family;
	struct wm_io *io;
	void (*fn)(void *arg, const struct wm_peer_addr *from, const void *p, size_t len);
	void (*refused)(void *arg, const struct wm_peer_addr *to);
	void *arg;
	struct wm_datagram_stats stats;
};

/* --- errors that came back -------------------------------------------------------------------- */
static const struct sock_extended_err *error_of(struct msghdr *m)
{
	for (struct cmsghdr *c = CMSG_FIRSTHDR(m); c; c = CMSG_NXTHDR(m, c))
		if ((c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_RECVERR) ||
		    (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_RECVERR))
			return (const struct sock_extended_err *)(const void *)CMSG_DATA(c);
	return NULL;
}

/* An ICMP message names in msg_name whom the datagram was for (ip(7), IP_RECVERR). */
static void read_errors(struct wm_datagram *d)
{
	for (unsigned n = 0; n < WM_DATAGRAM_TURN; n++) {
		char control[512], data[1];
		struct sockaddr_storage to;
		struct iovec iov = {data, sizeof(data)};
		struct msghdr m = {.msg_name = &to,
				   .msg_namelen = sizeof(to),
				   .msg_iov = &iov,
				   .msg_iovlen = 1,
				   .msg_control = control,
				   .msg_controllen = sizeof(control)};
		const struct sock_extended_err *e;
		struct wm_peer_addr addr;

		if (recvmsg(d->fd, &m, MSG_ERRQUEUE | MSG_DONTWAIT) < 0)
			return;
		e = error_of(&m);
		if (!e || e->ee_errno != ECONNREFUSED ||
		    wm_peer_addr_from_sockaddr((const struct sockaddr *)&to, &addr))
			continue;
		d->stats.refused++;
		if (d->refused)
			d->refused(d->arg, &addr);
	}
}

/* --- datagrams -------------------------------------------------------------------------------- */
static void on_readable(void *arg, unsigned events)
{
	struct wm_datagram *d = arg;
	char data[WM_DATAGRAM_MAX];

	(void)events;
	read_errors(d);
	for (unsigned n = 0; n < WM_DATAGRAM_TURN; n++) {
		struct sockaddr_storage from;
		socklen_t size = sizeof(from);
		struct wm_peer_addr addr;
		ssize_t len = recvfrom(d->fd, data, sizeof(data), MSG_DONTWAIT | MSG_TRUNC,
				       (struct sockaddr *)&from, &size);

		if (len < 0 && errno == EAGAIN)
			return;
		if (len < 0) /* an error that came back; the queue has it */
			continue;
		if ((size_t)len > sizeof(data)) {
			d->stats.too_long++;
			continue;
		}
		if (wm_peer_addr_from_sockaddr((const struct sockaddr *)&from, &addr))
			continue;
		d->stats.in++;
		d->stats.octets_in += (uint64_t)len;
		d->fn(d->arg, &addr, data, (size_t)len);
	}
}

void wm_datagram_send(struct wm_datagram *d, const struct wm_peer_addr *to, const void *p,
		      size_t len)
{
	struct sockaddr_storage sa;
	socklen_t size = wm_peer_addr_to_sockaddr(to, d->family, &sa);
	ssize_t r = -1;

	/* what an earlier one was answered with ends this call and is gone then: once more */
	for (unsigned tries = 0; tries < 2 && r < 0; tries++)
		r = sendto(d->fd, p, len, MSG_DONTWAIT | MSG_NOSIGNAL, (struct sockaddr *)&sa,
			   size);
	if (r < 0) {
		d->stats.unsent++;
		return;
	}
	d->stats.out++;
	d->stats.octets_out += len;
}

/* --- life ------------------------------------------------------------------------------------- */
static int open_socket(struct wm_datagram *d, const struct wm_peer_addr *at)
{
	struct sockaddr_storage sa;
	socklen_t size;
	int on = 1, off = 0;

	d->family = wm_peer_addr_v4(at) ? AF_INET : AF_INET6;
	d->fd = socket(d->family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (d->fd < 0)
		return -errno;
	if (d->family == AF_INET6) {
		setsockopt(d->fd, IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));
		setsockopt(d->fd, IPPROTO_IPV6, IPV6_RECVERR, &on, sizeof(on));
	}
	/* of a socket of both families, IPv4's errors are asked for apart */
	setsockopt(d->fd, IPPROTO_IP, IP_RECVERR, &on, sizeof(on));
	size = wm_peer_addr_to_sockaddr(at, d->family, &sa);
	return bind(d->fd, (struct sockaddr *)&sa, size) ? -errno : 0;
}

int wm_datagram_new(struct wm_loop *l, const struct wm_peer_addr *at,
		    void (*fn)(void *arg, const struct wm_peer_addr *from, const void *p,
			       size_t len),
		    void (*refused)(void *arg, const struct wm_peer_addr *to), void *arg,
		    struct wm_datagram **ret)
{
	struct wm_datagram *d = calloc(1, sizeof(*d));
	int r;

	if (!d)
		return -ENOMEM;
	*d = (struct wm_datagram){.fd = -1, .fn = fn, .refused = refused, .arg = arg};
	r = open_socket(d, at);
	if (!r) {
		d->io = wm_io_new(l, d->fd, WM_IO_READ, on_readable, d);
		r = d->io ? 0 : -ENOMEM;
	}
	if (r) {
		wm_datagram_free(d);
		return r;
	}
	*ret = d;
	return 0;
}

void wm_datagram_free(struct wm_datagram *d)
{
	if (!d)
		return;
	wm_io_free(d->io);
	if (d->fd >= 0)
		close(d->fd);
	free(d);
}

uint16_t wm_datagram_port(const struct wm_datagram *d)
{
	struct sockaddr_storage sa;
	socklen_t size = sizeof(sa);
	struct wm_peer_addr a = {0};

	if (getsockname(d->fd, (struct sockaddr *)&sa, &size) ||
	    wm_peer_addr_from_sockaddr((const struct sockaddr *)&sa, &a))
		return 0;
	return a.port;
}

const struct wm_datagram_stats *wm_datagram_stats(const struct wm_datagram *d)
{
	return &d->stats;
}
