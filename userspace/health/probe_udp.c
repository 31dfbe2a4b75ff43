/* SPDX-License-Identifier: Apache-2.0 */
/* probe_udp.c - a datagram that is not refused is a pass: Consul's rule. An answer passes at once,
 * silence until the timeout passes too, a port unreachable is critical. A host name is looked up by
 * the HTTP client's resolver, as for TCP. */
#include "probe.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static const char greeting[] = "PING"; /* any octets do; a server may log what it cannot read */

/* "host:port" or "[v6]:port", of which registration lets no other through. @return the port. */
static const char *split(const struct wm_prober *p, char host[WM_CHECK_TARGET_MAX + 1])
{
	const char *target = p->check->target, *end = strrchr(target, ':');
	bool bracket = *target == '[';

	if (!end || (bracket && end == target))
		return NULL;
	snprintf(host, WM_CHECK_TARGET_MAX + 1, "%.*s", (int)(end - target - 2 * bracket),
		 target + bracket);
	return end + 1;
}

/* An address, kept in p->addr. @return its family, 0: it is none. */
static sa_family_t take(struct wm_prober *p, const char *host, const char *port)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_DGRAM};
	struct addrinfo *ai = NULL;
	sa_family_t family = 0;

	if (getaddrinfo(host, port, &hints, &ai))
		return 0;
	if (ai->ai_addrlen <= sizeof(p->addr)) {
		memcpy(&p->addr, ai->ai_addr, ai->ai_addrlen);
		family = (sa_family_t)ai->ai_family;
	}
	freeaddrinfo(ai);
	return family;
}

/* An address is kept ready; anything else is a name. */
static void udp_prepare(struct wm_prober *p)
{
	char host[WM_CHECK_TARGET_MAX + 1];
	const char *port = split(p, host);

	p->family = port ? take(p, host, port) : 0;
}

static void udp_cancel(struct wm_prober *p)
{
	wm_lookup_cancel(p->lookup);
	p->lookup = NULL;
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

/* @return 0, or an errno. */
static int dial(struct wm_prober *p, sa_family_t family)
{
	socklen_t len = family == AF_INET ? sizeof(p->addr.in) : sizeof(p->addr.in6);

	if (p->fd >= 0)
		close(p->fd);
	p->fd = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	/* connected, so that a refusal reaches us and nobody else's datagram does */
	return p->fd < 0 || connect(p->fd, (struct sockaddr *)&p->addr, len) ? errno : 0;
}

static void greet(struct wm_prober *p)
{
	if (send(p->fd, greeting, sizeof(greeting) - 1, MSG_NOSIGNAL) < 0) {
		failed(p, "write", errno);
		return;
	}
	p->io = wm_io_new(p->h->loop, p->fd, WM_IO_READ, on_answer, p);
	if (!p->io)
		failed(p, "dial", ENOMEM);
}

static void on_looked_up(void *arg, const struct wm_resolver_answer *a)
{
	char host[WM_CHECK_TARGET_MAX + 1];
	struct wm_prober *p = arg;
	const char *port = split(p, host);
	int err = EADDRNOTAVAIL;

	p->lookup = NULL;
	if (a->error == -ENOMEM) {
		udp_cancel(p);
		wm_prober_skip(p);
		return;
	}
	if (a->error || !port) {
		udp_cancel(p);
		wm_prober_done(p, WM_CRITICAL, "dial udp: lookup %s: %s", host,
			       a->error == -ENXIO ? "no such host"
						  : "the name servers do not answer");
		return;
	}
	/* the first of a family that this host has */
	for (unsigned i = 0; err && i < a->count; i++) {
		sa_family_t family = take(p, a->addrs[i], port);

		err = family ? dial(p, family) : EADDRNOTAVAIL;
	}
	if (err)
		failed(p, "dial", err);
	else
		greet(p);
}

/* Silence passes, but not that of a name server. */
static void udp_timeout(struct wm_prober *p)
{
	if (!p->lookup) {
		passed(p);
		return;
	}
	udp_cancel(p);
	wm_prober_done(p, WM_CRITICAL, "dial udp %s: lookup: i/o timeout", p->check->target);
}

static void look_up(struct wm_prober *p)
{
	struct wm_resolver *r = wm_http_client_resolver(p->h->http);
	char host[WM_CHECK_TARGET_MAX + 1];

	if (r && split(p, host))
		p->lookup = wm_resolver_ask(r, host, on_looked_up, p);
	if (!p->lookup)
		failed(p, "dial", ENOMEM);
}

static void udp_start(struct wm_prober *p, uint64_t timeout_ms)
{
	int err;

	wm_schedule_put(p->h->schedule, &p->limit, wm_health_ms(p->h) + timeout_ms);
	if (!p->family) {
		look_up(p);
		return;
	}
	err = dial(p, p->family);
	if (err)
		failed(p, "dial", err);
	else
		greet(p);
}

const struct wm_probe_kind wm_probe_udp = {
	.prepare = udp_prepare, .start = udp_start, .cancel = udp_cancel, .timeout = udp_timeout};
