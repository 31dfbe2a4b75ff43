/* SPDX-License-Identifier: Apache-2.0 */
/* sockets.c - see sockets.h. */
#include "sockets.h"

#include "internal.h"
#include "userspace/base/macros.h"
#include "waymark/table.h"

#include <arpa/inet.h>
#include <errno.h>
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BUFFER 32768 /* octets of a read: what the kernel fills at most */

/* What is asked for, one after the other. An unconnected UDP socket is in TCP_CLOSE. */
static const struct {
	uint8_t family, protocol;
	uint32_t states;
} questions[] = {{AF_INET, IPPROTO_TCP, 1u << TCP_LISTEN},
		 {AF_INET6, IPPROTO_TCP, 1u << TCP_LISTEN},
		 {AF_INET, IPPROTO_UDP, 1u << TCP_CLOSE},
		 {AF_INET6, IPPROTO_UDP, 1u << TCP_CLOSE}};

struct wm_socket_reader {
	int fd;
	unsigned at; /* question */
	bool asked;
	char buffer[BUFFER] __attribute__((aligned(NLMSG_ALIGNTO)));
};

bool wm_socket_takes(const struct wm_listening_socket *s, const uint32_t addr_be[4], uint16_t port)
{
	static const uint32_t any6[4], any4[4] = {0, 0, WM_V4_MAPPED_BE, 0};
	bool four = !addr_be[0] && !addr_be[1] && addr_be[2] == WM_V4_MAPPED_BE;

	if (s->port != port)
		return false;
	if (!memcmp(s->addr_be, addr_be, sizeof(s->addr_be)))
		return true;
	if (!memcmp(s->addr_be, any4, sizeof(any4)))
		return four;
	return !memcmp(s->addr_be, any6, sizeof(any6)) && !(four && s->v6only);
}

int wm_sockets_open(struct wm_socket_reader **ret)
{
	struct wm_socket_reader *r = malloc(sizeof(*r));

	if (!r)
		return -ENOMEM;
	r->at = 0;
	r->asked = false;
	r->fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_SOCK_DIAG);
	if (r->fd < 0) {
		int err = -errno;

		free(r);
		return err;
	}
	*ret = r;
	return 0;
}

void wm_sockets_close(struct wm_socket_reader *r)
{
	if (!r)
		return;
	close(r->fd);
	free(r);
}

static int ask(struct wm_socket_reader *r)
{
	struct {
		struct nlmsghdr h;
		struct inet_diag_req_v2 r;
	} q = {.h = {.nlmsg_len = sizeof(q),
		     .nlmsg_type = SOCK_DIAG_BY_FAMILY,
		     .nlmsg_flags = NLM_F_REQUEST | NLM_F_DUMP},
	       .r = {.sdiag_family = questions[r->at].family,
		     .sdiag_protocol = questions[r->at].protocol,
		     .idiag_states = questions[r->at].states}};

	r->asked = true;
	return send(r->fd, &q, sizeof(q), 0) == sizeof(q) ? 0 : -errno;
}

static struct wm_listening_socket socket_of(const struct nlmsghdr *h, bool udp)
{
	const struct inet_diag_msg *m = NLMSG_DATA(h);
	struct wm_listening_socket s = {.port = ntohs(m->id.idiag_sport), .udp = udp};
	int left = (int)(h->nlmsg_len - NLMSG_LENGTH(sizeof(*m)));
	const struct rtattr *a = (const void *)(m + 1);

	memcpy(s.addr_be, m->id.idiag_src, sizeof(s.addr_be));
	if (m->idiag_family == AF_INET) {
		s.addr_be[3] = m->id.idiag_src[0];
		s.addr_be[0] = s.addr_be[1] = 0;
		s.addr_be[2] = WM_V4_MAPPED_BE;
	}
	for (; RTA_OK(a, left); a = RTA_NEXT(a, left)) {
		if (a->rta_type == INET_DIAG_SKV6ONLY)
			s.v6only = *(const uint8_t *)RTA_DATA(a);
		else if (a->rta_type == INET_DIAG_CGROUP_ID)
			memcpy(&s.cgroup, RTA_DATA(a), sizeof(s.cgroup));
	}
	return s;
}

int wm_sockets_read(struct wm_socket_reader *r,
		    void (*fn)(void *arg, const struct wm_listening_socket *s), void *arg)
{
	const struct nlmsghdr *h = (const void *)r->buffer;
	unsigned left;
	ssize_t n;
	int err;

	if (r->at == WM_ARRAY_LEN(questions))
		return 0;
	err = r->asked ? 0 : ask(r);
	if (err)
		return err;
	n = recv(r->fd, r->buffer, sizeof(r->buffer), 0);
	if (n < 0)
		return errno == EINTR || errno == EAGAIN ? 1 : -errno;
	for (left = (unsigned)n; NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
		if (h->nlmsg_type == NLMSG_ERROR)
			return ((const struct nlmsgerr *)NLMSG_DATA(h))->error ?: -EIO;
		if (h->nlmsg_type == NLMSG_DONE) {
			r->asked = false;
			return ++r->at < WM_ARRAY_LEN(questions);
		}
		{
			struct wm_listening_socket s =
				socket_of(h, questions[r->at].protocol == IPPROTO_UDP);

			fn(arg, &s);
		}
	}
	return 1;
}

int wm_socket_cgroup(const struct wm_listening_socket *s, char *buf, size_t cap)
{
	return s->cgroup ? wm_cgroup_path(s->cgroup, buf, cap) : -ENOENT;
}
