/* SPDX-License-Identifier: Apache-2.0 */
/* spec_help.h - what tests of services of a source share: a spec that has one of everything. */
#pragma once
#include "userspace/model/spec.h"

#include <arpa/inet.h>

/* Two cluster IPs, a TCP and a UDP port of one number. The lists are static. */
static inline struct wm_service_spec spec_of(const char *service, const char *ipv4)
{
	static struct wm_spec_address addresses[2];
	static const struct wm_spec_port ports[] = {
		{"http", 80, 30080, IPPROTO_TCP, "http"},
		{"quic", 80, 0, IPPROTO_UDP, NULL},
	};
	struct wm_service_spec s = {.service = service,
				    .source = "kubernetes",
				    .addresses = addresses,
				    .addresses_count = 2,
				    .ports = ports,
				    .ports_count = 2};

	inet_pton(AF_INET, ipv4, &addresses[0].a4);
	inet_pton(AF_INET6, "fd00:10:96::1", &addresses[1].a6);
	return s;
}
