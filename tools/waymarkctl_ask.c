/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_ask.c - one question to a name server, as waymarkctl asks it. */
#include "waymarkctl_ask.h"

#include "userspace/base/clock.h"
#include "userspace/dns/text.h"
#include "waymark/dns_wire.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/socket.h>
#include <unistd.h>

#define ANSWER_WAIT_MS 1500
#define QUERY_MAX      (WM_DNS_HEADER_LEN + WM_DNS_NAME_MAX + 4)

/* @return octets; -EINVAL: the name is none. */
static int put_question(uint8_t out[QUERY_MAX], uint16_t id, const char *name, uint16_t type)
{
	uint8_t wire[WM_DNS_NAME_MAX + 1], *at;
	size_t len;

	if (!wm_dns_wire(name, wire))
		return -EINVAL;
	len = wm_dns_name_len(wire, sizeof(wire));
	memset(out, 0, QUERY_MAX);
	out[0] = (uint8_t)(id >> 8);
	out[1] = (uint8_t)id;
	out[2] = WM_DNS_RD >> 8;
	out[5] = 1;
	memcpy(out + WM_DNS_HEADER_LEN, wire, len);
	at = out + WM_DNS_HEADER_LEN + len;
	at[0] = (uint8_t)(type >> 8);
	at[1] = (uint8_t)type;
	at[3] = WM_DNS_IN;
	return (int)(at + 4 - out);
}

/* Behind a name. @return 0: it does not end within the message. */
static size_t skip_name(const uint8_t *msg, size_t len, size_t at)
{
	while (at < len && msg[at] && msg[at] < 0xc0)
		at += 1u + msg[at];
	if (at >= len)
		return 0;
	return at + (msg[at] ? 2 : 1);
}

/* TTL of the record behind the question. */
static uint32_t ttl_of(const uint8_t *msg, size_t len)
{
	size_t at = skip_name(msg, len, WM_DNS_HEADER_LEN);

	at = at ? skip_name(msg, len, at + 4) : 0;
	if (!at || at + 8 > len)
		return 0;
	return (uint32_t)msg[at + 4] << 24 | (uint32_t)msg[at + 5] << 16 |
	       (uint32_t)msg[at + 6] << 8 | msg[at + 7];
}

static uint16_t own_port(int fd)
{
	struct sockaddr_in6 me = {0};
	socklen_t len = sizeof(me);

	/* the port is at the same place in both families */
	return getsockname(fd, (struct sockaddr *)&me, &len) ? 0 : ntohs(me.sin6_port);
}

int ctl_ask(const struct ctl_server *s, const char *name, uint16_t type, struct ctl_answer *ret)
{
	uint8_t query[QUERY_MAX], *reply = ret->msg;
	socklen_t len = s->at.any.sa_family == AF_INET ? sizeof(s->at.in) : sizeof(s->at.in6);
	int fd = socket(s->at.any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), r = -ETIMEDOUT;
	struct pollfd p = {.fd = fd, .events = POLLIN};
	uint64_t begun_ns = wm_clock_ns();
	uint16_t id = 0;
	ssize_t got;
	int n;

	if (getrandom(&id, sizeof(id), 0) < 0)
		id = (uint16_t)getpid();
	n = put_question(query, id, name, type);
	if (n < 0) {
		r = n;
	} else if (fd < 0 || connect(fd, &s->at.any, len) || send(fd, query, (size_t)n, 0) < 0) {
		r = -errno;
	} else if (poll(&p, 1, ANSWER_WAIT_MS) == 1) {
		got = recv(fd, reply, sizeof(ret->msg), 0);
		r = got < 0 ? -errno : -EBADMSG;
		if (got >= WM_DNS_HEADER_LEN && !memcmp(reply, query, 2) &&
		    (reply[2] & (WM_DNS_QR >> 8))) {
			ret->flags = (uint16_t)(reply[2] << 8 | reply[3]);
			ret->answers = (uint16_t)(reply[6] << 8 | reply[7]);
			ret->took_ns = wm_clock_ns() - begun_ns;
			ret->ttl_s = ttl_of(reply, (size_t)got);
			ret->len = (size_t)got;
			ret->port = own_port(fd);
			r = 0;
		}
	}
	if (fd >= 0)
		close(fd);
	return r;
}

bool ctl_server_of(const char *address, uint16_t port, struct ctl_server *ret)
{
	char plain[64];

	memset(ret, 0, sizeof(*ret));
	snprintf(plain, sizeof(plain), "%.*s", (int)strcspn(address, "%"), address);
	if (inet_pton(AF_INET, plain, &ret->at.in.sin_addr) == 1) {
		if (ret->at.in.sin_addr.s_addr == INADDR_ANY)
			ret->at.in.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		ret->at.in.sin_family = AF_INET;
		ret->at.in.sin_port = htons(port);
	} else if (inet_pton(AF_INET6, plain, &ret->at.in6.sin6_addr) == 1) {
		if (IN6_IS_ADDR_UNSPECIFIED(&ret->at.in6.sin6_addr))
			ret->at.in6.sin6_addr = in6addr_loopback;
		ret->at.in6.sin6_family = AF_INET6;
		ret->at.in6.sin6_port = htons(port);
	} else {
		return false;
	}
	snprintf(ret->text, sizeof(ret->text), strchr(plain, ':') ? "[%.45s]:%u" : "%.45s:%u",
		 plain, port);
	return true;
}

bool ctl_server_at(const char *text, struct ctl_server *ret)
{
	char copy[64];
	char *colon;

	snprintf(copy, sizeof(copy), "%s", *text == '[' ? text + 1 : text);
	colon = strrchr(copy, ':');
	if (!colon)
		return false;
	*colon = 0;
	copy[strcspn(copy, "]")] = 0;
	return ctl_server_of(copy, (uint16_t)strtoul(colon + 1, NULL, 10), ret);
}

bool ctl_answer_is_ours(const struct ctl_answer *a)
{
	return a->answers && (a->flags & WM_DNS_AA) && !(a->flags & WM_DNS_RCODE);
}
