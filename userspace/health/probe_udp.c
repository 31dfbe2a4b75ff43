/* SPDX-License-Identifier: Apache-2.0 */
/* probe_udp.c - a datagram that is not refused is a pass: Consul's rule. An answer passes at once,
 * silence until the timeout passes too, a port unreachable is critical. The target is an address:
 * registration lets no names through, since looking one up would block the loop. */
#include "probe.h"
#include "userspace/base/clock.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char greeting[] = "PING"; /* any octets do; a server may log what it cannot read */

static void udp_prepare(struct wm_prober *p)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_DGRAM};
	char host[WM_CHECK_TARGET_MAX + 1], *port, *start = host;
	struct addrinfo *ai = NULL;

	p->family = 0;
	snprintf(host, sizeof(host), "%s", p->check->target);
	port = strrchr(host, ':');
	if (!port)
		return;
	*port++ = '\0';
	if (*start == '[') {
		start++;
		start[strcspn(start, "]")] = '\0';
	}
	if (getaddrinfo(start, port, &hints, &ai))
		return;
	if (ai->ai_addrlen <= sizeof(p->addr)) {
		memcpy(&p->addr, ai->ai_addr, ai->ai_addrlen);
		p->family = (sa_family_t)ai->ai_family;
	}
	freeaddrinfo(ai);
}

static void udp_cancel(struct wm_prober *p)
{
	wm_io_free(p->io);
	p->io = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void passed(struct wm_prober *p)
{
	udp_cancel(p);
	wm_prober_done(p, WM_PASSING, "UDP connect %s: Success", p->check->target);
}

static void failed(struct wm_prober *p, const char *what, int err)
{
	char text[128];

	udp_cancel(p);
	if (wm_probe_own_fault(-err)) {
		wm_prober_skip(p);
		return;
	}
	snprintf(text, sizeof(text), "%s", strerror(err));
	text[0] = (char)tolower((unsigned char)text[0]); /* as Go says it, and so Consul */
	wm_prober_done(p, WM_CRITICAL, "%s udp %s: %s", what, p->check->target, text);
}

static void on_answer(void *arg, unsigned events)
{
	struct wm_prober *p = arg;
	char octet;

	(void)events;
	/* the rest of a longer answer is dropped by the kernel */
	if (recv(p->fd, &octet, sizeof(octet), MSG_DONTWAIT) >= 0)
		passed(p);
	else if (errno != EAGAIN && errno != EINTR)
		failed(p, "read", errno);
}

static void udp_start(struct wm_prober *p, uint64_t timeout_ms)
{
	socklen_t len = p->family == AF_INET ? sizeof(p->addr.in) : sizeof(p->addr.in6);

	if (!p->family) {
		wm_prober_done(p, WM_CRITICAL, "dial udp %s: address is not valid",
			       p->check->target);
		return;
	}
	p->fd = socket(p->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* connected, so that a refusal reaches us and nobody else's datagram does */
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&p->addr, len)) {
		failed(p, "dial", errno);
		return;
	}
	if (send(p->fd, greeting, sizeof(greeting) - 1, MSG_NOSIGNAL) < 0) {
		failed(p, "write", errno);
		return;
	}
	p->io = wm_io_new(p->h->loop, p->fd, WM_IO_READ, on_answer, p);
	if (!p->io) {
		failed(p, "dial", ENOMEM);
		return;
	}
	wm_schedule_put(p->h->schedule, &p->limit, wm_clock_ms() + timeout_ms);
}

const struct wm_probe_kind wm_probe_udp = {
	.prepare = udp_prepare, .start = udp_start, .cancel = udp_cancel, .timeout = passed};
