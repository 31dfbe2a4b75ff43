/* SPDX-License-Identifier: Apache-2.0 */
/* peer_addr.c - see peer_addr.h. */
#include "peer_addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

int wm_peer_addr_parse(const char *text, struct wm_peer_addr *ret)
{
	char host[INET6_ADDRSTRLEN], *end;
	const char *colon = strrchr(text, ':');
	bool v6 = *text == '[';
	size_t len;
	unsigned long port;

	if (!colon || colon[1] < '0' || colon[1] > '9' ||
	    (v6 && (colon == text || colon[-1] != ']')))
		return -EINVAL;
	port = strtoul(colon + 1, &end, 10);
	len = (size_t)(colon - text) - (v6 ? 2 : 0);
	if (*end || !port || port > UINT16_MAX || len >= sizeof(host))
		return -EINVAL;
	memcpy(host, text + v6, len);
	host[len] = '\0';
	memset(&ret->ip, 0, sizeof(ret->ip));
	ret->port = (uint16_t)port;
	if (v6)
		return inet_pton(AF_INET6, host, &ret->ip) == 1 ? 0 : -EINVAL;
	ret->ip.s6_addr[10] = ret->ip.s6_addr[11] = 0xff;
	return inet_pton(AF_INET, host, &ret->ip.s6_addr[12]) == 1 ? 0 : -EINVAL;
}

void wm_peer_addr_format(const struct wm_peer_addr *a, char *ret, size_t size)
{
	char host[INET6_ADDRSTRLEN];
	bool v4 = IN6_IS_ADDR_V4MAPPED(&a->ip);

	inet_ntop(v4 ? AF_INET : AF_INET6, v4 ? (const void *)&a->ip.s6_addr[12] : &a->ip, host,
		  sizeof(host));
	snprintf(ret, size, v4 ? "%s:%u" : "[%s]:%u", host, a->port);
}

socklen_t wm_peer_addr_to_sockaddr(const struct wm_peer_addr *a, int family,
				   struct sockaddr_storage *ret)
{
	struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)ret;
	struct sockaddr_in *in = (struct sockaddr_in *)ret;

	memset(ret, 0, sizeof(*ret));
	if (family != AF_INET6 && wm_peer_addr_v4(a)) {
		in->sin_family = AF_INET;
		in->sin_port = htons(a->port);
		memcpy(&in->sin_addr, &a->ip.s6_addr[12], sizeof(in->sin_addr));
		return sizeof(*in);
	}
	in6->sin6_family = AF_INET6;
	in6->sin6_port = htons(a->port);
	in6->sin6_addr = a->ip;
	return sizeof(*in6);
}

int wm_peer_addr_from_sockaddr(const struct sockaddr *sa, struct wm_peer_addr *ret)
{
	const struct sockaddr_in6 *in6 = (const struct sockaddr_in6 *)sa;
	const struct sockaddr_in *in = (const struct sockaddr_in *)sa;

	if (sa->sa_family == AF_INET6) {
		ret->ip = in6->sin6_addr;
		ret->port = ntohs(in6->sin6_port);
		return 0;
	}
	if (sa->sa_family != AF_INET)
		return -EAFNOSUPPORT;
	memset(&ret->ip, 0, sizeof(ret->ip));
	ret->ip.s6_addr[10] = ret->ip.s6_addr[11] = 0xff;
	memcpy(&ret->ip.s6_addr[12], &in->sin_addr, sizeof(in->sin_addr));
	ret->port = ntohs(in->sin_port);
	return 0;
}
