/* SPDX-License-Identifier: Apache-2.0 */
/* peer_addr.h - where another agent is spoken to. A value without memory, the same for datagrams
 * and streams, IPv4 and IPv6, so that it can be a key. No scope: link-local addresses are not for
 * agents. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/socket.h>

#define WM_PEER_ADDR_TEXT (INET6_ADDRSTRLEN + 8) /* octets of one in text with its NUL */

/* Where datagrams and streams of an agent go; IPv4 is mapped (::ffff:0:0/96). */
struct wm_peer_addr {
	struct in6_addr ip;
	uint16_t port; /* host order */
};

static inline bool wm_peer_addr_same(const struct wm_peer_addr *a, const struct wm_peer_addr *b)
{
	return a->port == b->port && !memcmp(&a->ip, &b->ip, sizeof(a->ip));
}

static inline bool wm_peer_addr_v4(const struct wm_peer_addr *a)
{
	return IN6_IS_ADDR_V4MAPPED(&a->ip);
}

/** Read "10.0.0.1:8301" or "[fd00::1]:8301". @return 0, -EINVAL. */
int wm_peer_addr_parse(const char *text, struct wm_peer_addr *ret);
/** Write it in that form. @p size: WM_PEER_ADDR_TEXT holds it. */
void wm_peer_addr_format(const struct wm_peer_addr *a, char *ret, size_t size);
/** As the system has it: AF_INET for a mapped address where @p family is not AF_INET6.
 *  @return its length. */
socklen_t wm_peer_addr_to_sockaddr(const struct wm_peer_addr *a, int family,
				   struct sockaddr_storage *ret);
/** @return 0; -EAFNOSUPPORT: neither IPv4 nor IPv6. */
int wm_peer_addr_from_sockaddr(const struct sockaddr *sa, struct wm_peer_addr *ret);
