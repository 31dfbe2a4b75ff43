/* SPDX-License-Identifier: Apache-2.0 */
/* probe_udp.c - an empty datagram to an address: what answers passes, what the host refuses (ICMP,
 * port unreachable) is critical, and silence until the timeout passes too, since most servers have
 * nothing to say to it; Consul's rule. Resolving a name would block, so names are not taken, but
 * for "localhost". */
#include "probe.h"
#include "userspace/base/util.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

static void udp_prepare(struct wm_prober *p)
{
	static const char local[] = "localhost:";
	char target[sizeof("127.0.0.1:65535")];
	const char *port = p->check->target + sizeof(local) - 1;

	if (strncasecmp(p->check->target, local, sizeof(local) - 1) != 0) {
		wm_probe_prepare_address(p, p->check->target);
		return;
	}
	snprintf(target, sizeof(target), "127.0.0.1:%s", port);
	wm_probe_prepare_address(p, target);
}

static void udp_cancel(struct wm_prober *p)
{
	wm_io_free(p->io);
	p->io = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void settle(struct wm_prober *p, int err)
{
	udp_cancel(p);
	if (!err)
		wm_prober_done(p, WM_PASSING, "UDP connect %s: Success", p->check->target);
	else if (wm_probe_own_fault(-err))
		wm_prober_skip(p);
	else
		wm_prober_done(p, WM_CRITICAL, "UDP connect %s: %s", p->check->target,
			       strerror(err));
}

static void udp_timeout(struct wm_prober *p)
{
	settle(p, 0);
}

/* An answer, or the refusal that the last datagram met. */
static void on_ready(void *arg, unsigned events)
{
	struct wm_prober *p = arg;
	char answer[64];
	ssize_t n = recv(p->fd, answer, sizeof(answer), MSG_DONTWAIT);

	(void)events;
	if (n < 0 && (errno == EAGAIN || errno == EINTR))
		return;
	settle(p, n < 0 ? errno : 0);
}

static void udp_start(struct wm_prober *p, uint64_t timeout_ms)
{
	socklen_t len = p->family == AF_INET ? sizeof(p->addr.in) : sizeof(p->addr.in6);

	if (!p->family) {
		wm_prober_done(p, WM_CRITICAL, "UDP connect %s: not an address", p->check->target);
		return;
	}
	p->fd = socket(p->family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0 || connect(p->fd, (struct sockaddr *)&p->addr, len) ||
	    send(p->fd, "", 0, MSG_NOSIGNAL) < 0) {
		settle(p, errno);
		return;
	}
	p->io = wm_io_new(p->h->loop, p->fd, WM_IO_READ, on_ready, p);
	if (!p->io) {
		udp_cancel(p);
		wm_prober_skip(p);
		return;
	}
	wm_schedule_put(p->h->schedule, &p->limit, wm_clock_ms() + timeout_ms);
}

const struct wm_probe_kind wm_probe_udp = {
	.prepare = udp_prepare, .start = udp_start, .cancel = udp_cancel, .timeout = udp_timeout};
