/* SPDX-License-Identifier: Apache-2.0 */
/* kernel_config.c - see kernel_config.h. */
#include "kernel_config.h"

#include "userspace/base/clock.h"
#include "userspace/base/log.h"
#include "userspace/base/random.h"

#include <arpa/inet.h>
#include <string.h>

/* The place of @p addr among @p addrs, where it is put if it is new. @return -1: no room. */
static int place_of(void *addrs, uint8_t *count, const void *addr, size_t len)
{
	uint8_t *at = addrs;

	for (unsigned i = 0; i < *count; i++)
		if (memcmp(at + i * len, addr, len) == 0)
			return (int)i;
	if (*count == WM_DNS_LISTEN_MAX)
		return -1;
	memcpy(at + *count * len, addr, len);
	return (*count)++;
}

/* Questions to @p text are ours on port @p port, one of dns_port_be. */
static void add_address(struct wm_config *k, const char *text, unsigned port)
{
	struct in6_addr v6;
	struct in_addr v4;
	uint8_t *skip = NULL;
	int i = -1;

	if (inet_pton(AF_INET, text, &v4) == 1 && v4.s_addr != INADDR_ANY) {
		i = place_of(k->dns_addr4_be, &k->dns_addr4_count, &v4, sizeof(v4));
		skip = &k->dns_skip4;
	} else if (inet_pton(AF_INET6, text, &v6) == 1 && !IN6_IS_ADDR_UNSPECIFIED(&v6)) {
		i = place_of(k->dns_addr6_be, &k->dns_addr6_count, &v6, sizeof(v6));
		skip = &k->dns_skip6;
	}
	if (i >= 0)
		*skip &= (uint8_t) ~(1u << (2 * (unsigned)i + port));
	else
		wm_warn("dns.userspace_only",
			"address=%s text=\"the kernel answers on %d exact addresses of a family\"",
			wm_log_q(text), WM_DNS_LISTEN_MAX);
}

/* Pairs of address and port: an address of one port may be another server's on the other. */
static void fill_listening(const struct wm_settings *s, struct wm_config *k)
{
	k->dns_skip4 = k->dns_skip6 = 0xff;
	if (s->dns_port) {
		k->dns_port_be[0] = htons((uint16_t)s->dns_port);
		for (unsigned i = 0; s->dns_addresses[i]; i++)
			add_address(k, s->dns_addresses[i], 0);
	}
	for (unsigned i = 0; s->dns_port53_addresses[i]; i++) {
		k->dns_port_be[1] = htons(53);
		add_address(k, s->dns_port53_addresses[i], 1);
	}
}

struct wm_config wm_kernel_config(const struct wm_settings *s, const struct wm_config *k)
{
	struct wm_config next = {.seed = {k->seed[0], k->seed[1]},
				 .stale_after_ns = s->dns_stale_after_ms * WM_NS_PER_MS,
				 .ttl_s = (uint32_t)(s->dns_ttl_ms / 1000)};

	if (!next.seed[0] && !next.seed[1]) {
		next.seed[0] = wm_random64();
		next.seed[1] = wm_random64();
	}
	if (s->kernel_dns)
		next.flags |= WM_CONFIG_F_DNS;
	if (s->kernel_connect)
		next.flags |= WM_CONFIG_F_CONNECT;
	fill_listening(s, &next);
	return next;
}
