/* SPDX-License-Identifier: Apache-2.0 */
/* peer.c - see peer.h. */
#include "peer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

static int nibble(char c)
{
	if (c >= '0' && c <= '9')
		return c - '0';
	c |= 0x20;
	return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int wm_peer_id_parse(const char *text, struct wm_peer_id *ret)
{
	for (unsigned n = 0; n < sizeof(ret->octets); n++) {
		int high, low;

		if ((n == 4 || n == 6 || n == 8 || n == 10) && *text++ != '-')
			return -EINVAL;
		high = nibble(text[0]);
		low = high < 0 ? -1 : nibble(text[1]);
		if (low < 0)
			return -EINVAL;
		ret->octets[n] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	return *text ? -EINVAL : 0;
}

void wm_peer_id_format(const struct wm_peer_id *id, char ret[static WM_PEER_ID_TEXT])
{
	const uint8_t *o = id->octets;

	snprintf(ret, WM_PEER_ID_TEXT,
		 "%02x%02x%02x%02x-%02x%02x-%02x%02x-%02x%02x-%02x%02x%02x%02x%02x%02x", o[0], o[1],
		 o[2], o[3], o[4], o[5], o[6], o[7], o[8], o[9], o[10], o[11], o[12], o[13], o[14],
		 o[15]);
}

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
