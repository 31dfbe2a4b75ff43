/* SPDX-License-Identifier: Apache-2.0 */
/* probe_tcp.c - a TCP connection that opens is a pass. An address is dialled by a plain socket; a
 * host name by the HTTP client's resolver, which does not block. Most instances are on this host:
 * their handshake is over when connect() returns, and the loop is not bothered. With TLS the HTTP
 * client connects and shakes hands, whatever the target. */
#include "probe.h"

#include <ctype.h>
#include <errno.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define TIMEOUT_TEXT "dial tcp %s: i/o timeout"

static socklen_t addr_len(const struct wm_prober *p)
{
	return p->family == AF_INET ? sizeof(p->addr.in) : sizeof(p->addr.in6);
}

/* Split "host:port" or "[v6]:port". */
static bool split(const char *target, char *host, size_t cap, const char **ret_port)
{
	const char *start = target, *end = strrchr(target, ':');
	size_t len;

	if (!end || !end[1])
		return false;
	*ret_port = end + 1;
	if (*start == '[') {
		if (end == start || end[-1] != ']')
			return false;
		start++;
		end--;
	}
	len = (size_t)(end - start);
	if (!len || len >= cap)
		return false;
	memcpy(host, start, len);
	host[len] = '\0';
	return true;
}

/* An address is kept ready to dial; anything else is a name. */
static void tcp_prepare(struct wm_prober *p)
{
	struct addrinfo hints = {.ai_flags = AI_NUMERICHOST | AI_NUMERICSERV,
				 .ai_socktype = SOCK_STREAM};
	char host[WM_ADDRESS_MAX + 1];
	struct addrinfo *ai = NULL;
	const char *port;

	p->family = 0;
	if (p->check->use_tls || !split(p->check->target, host, sizeof(host), &port) ||
	    getaddrinfo(host, port, &hints, &ai))
		return;
	if (ai->ai_addrlen <= sizeof(p->addr)) {
		memcpy(&p->addr, ai->ai_addr, ai->ai_addrlen);
		p->family = (sa_family_t)ai->ai_family;
	}
	freeaddrinfo(ai);
}

static void tcp_cancel(struct wm_prober *p)
{
	wm_io_free(p->io);
	p->io = NULL;
	wm_http_call_cancel(p->call);
	p->call = NULL;
	if (p->fd >= 0)
		close(p->fd);
	p->fd = -1;
}

static void tcp_timeout(struct wm_prober *p)
{
	tcp_cancel(p);
	wm_prober_done(p, WM_CRITICAL, TIMEOUT_TEXT, p->check->target);
}

static void failed(struct wm_prober *p, const char *what, int err)
{
	char text[128];

	snprintf(text, sizeof(text), "%s", strerror(err));
	text[0] = (char)tolower((unsigned char)text[0]); /* as Go says it, and so Consul */
	if (err == ETIMEDOUT)
		wm_prober_done(p, WM_CRITICAL, "dial tcp %s: connect: connection timed out",
			       p->check->target);
	else
		wm_prober_done(p, WM_CRITICAL, "dial tcp %s: %s: %s", p->check->target, what, text);
}

/* A port of the ephemeral range without a listener can be dialled from itself. */
static bool is_self(const struct wm_prober *p)
{
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} own = {.in6 = {.sin6_family = AF_UNSPEC}};
	socklen_t len = sizeof(own);

	if (getsockname(p->fd, &own.any, &len))
		return false;
	if (p->family == AF_INET)
		return own.in.sin_port == p->addr.in.sin_port &&
		       own.in.sin_addr.s_addr == p->addr.in.sin_addr.s_addr;
	return own.in6.sin6_port == p->addr.in6.sin6_port &&
	       memcmp(&own.in6.sin6_addr, &p->addr.in6.sin6_addr, sizeof(own.in6.sin6_addr)) == 0;
}

/* The connection attempt is over. */
static void settle(struct wm_prober *p, int err)
{
	if (!err && is_self(p))
		err = ECONNREFUSED;
	if (!err) {
		char greeting[256];

		/* unread data would turn our close into a reset */
		while (recv(p->fd, greeting, sizeof(greeting), MSG_DONTWAIT) ==
		       (ssize_t)sizeof(greeting))
			;
	}
	tcp_cancel(p);
	if (!err)
		wm_prober_done(p, WM_PASSING, "TCP connect %s: Success", p->check->target);
	else if (wm_probe_own_fault(-err))
		wm_prober_skip(p);
	else
		failed(p, "connect", err);
}

static int socket_error(int fd)
{
	socklen_t len = sizeof(int);
	int err = 0;

	return getsockopt(fd, SOL_SOCKET, SO_ERROR, &err, &len) ? errno : err;
}

static void on_ready(void *arg, unsigned events)
{
	struct wm_prober *p = arg;

	(void)events;
	settle(p, socket_error(p->fd));
}

static void on_call(void *arg, const struct wm_http_answer *a)
{
	struct wm_prober *p = arg;

	p->call = NULL;
	if (!a->error)
		wm_prober_done(p, WM_PASSING, "TCP connect %s: Success", p->check->target);
	else if (wm_probe_own_fault(a->error))
		wm_prober_skip(p);
	else if (a->error == -ETIMEDOUT)
		wm_prober_done(p, WM_CRITICAL, TIMEOUT_TEXT, p->check->target);
	else if (a->error == -ENXIO || a->error == -ENODATA)
		wm_prober_done(p, WM_CRITICAL, "dial tcp: lookup %s: %s", p->check->target,
			       a->error == -ENXIO ? "no such host"
						  : "no answer from the name servers");
	else if (p->check->use_tls && a->error != -ECONNREFUSED)
		wm_prober_done(p, WM_CRITICAL, "dial tcp %s: %s", p->check->target, a->reason);
	else
		failed(p, "connect", -a->error);
}

static void start_call(struct wm_prober *p, uint64_t timeout_ms)
{
	char url[WM_CHECK_TARGET_MAX + 16];
	const struct wm_check *c = p->check;
	struct wm_http_call_options o = {.url = url,
					 .timeout_ms = timeout_ms,
					 .connect_only = true,
					 .tls_skip_verify = c->tls_skip_verify,
					 .tls_server_name = c->tls_server_name,
					 .tls_ca_file = p->h->config.ca_file};
	int err = 0;

	snprintf(url, sizeof(url), "%s://%s/", c->use_tls ? "https" : "http", c->target);
	p->call = wm_http_call_start(p->h->http, &o, on_call, p, &err);
	if (p->call)
		return;
	if (err == -EINVAL)
		wm_prober_done(p, WM_CRITICAL, "dial tcp %s: address is not valid",
			       p->check->target);
	else
		wm_prober_skip(p);
}

static void tcp_start(struct wm_prober *p, uint64_t timeout_ms)
{
	struct pollfd ready = {.events = POLLOUT};

	if (!p->family) {
		start_call(p, timeout_ms);
		return;
	}
	p->fd = socket(p->family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
	if (p->fd < 0) {
		if (wm_probe_own_fault(-errno))
			wm_prober_skip(p);
		else
			failed(p, "socket", errno);
		return;
	}
	if (connect(p->fd, (struct sockaddr *)&p->addr, addr_len(p)) && errno != EINPROGRESS) {
		settle(p, errno);
		return;
	}
	ready.fd = p->fd;
	if (poll(&ready, 1, 0) == 1) {
		settle(p, ready.revents & (POLLERR | POLLHUP) ? socket_error(p->fd) : 0);
		return;
	}
	p->io = wm_io_new(p->h->loop, p->fd, WM_IO_WRITE, on_ready, p);
	if (!p->io) {
		tcp_cancel(p);
		wm_prober_skip(p);
		return;
	}
	wm_schedule_put(p->h->schedule, &p->limit, wm_health_ms(p->h) + timeout_ms);
}

const struct wm_probe_kind wm_probe_tcp = {
	.prepare = tcp_prepare, .start = tcp_start, .cancel = tcp_cancel, .timeout = tcp_timeout};
