/* SPDX-License-Identifier: Apache-2.0 */
/* link_frames.h - frames that another machine sends over a link. */
#pragma once
#include "dns_fixture.h"

#define US4   "198.51.100.1" /* where DNS listens */
#define US6   "2001:db8::1"
#define THEM4 "192.0.2.7"
#define THEM6 "2001:db8:1::7"

static __attribute__((unused)) void addressed_to(struct frame *q, const char *from, const char *to)
{
	int family = q->v6 ? AF_INET6 : AF_INET;

	cr_assert_eq(inet_pton(family, from, q->at + ETH + (q->v6 ? 8 : 12)), 1, "%s", from);
	cr_assert_eq(inet_pton(family, to, q->at + ETH + (q->v6 ? 24 : 16)), 1, "%s", to);
	seal(q);
}

/* DNS listens where other machines ask, too. */
static __attribute__((unused)) void listen_on_link(void)
{
	memset(mem.config->dns_addr4_be, 0, sizeof(mem.config->dns_addr4_be));
	inet_pton(AF_INET, US4, &mem.config->dns_addr4_be[0]);
	inet_pton(AF_INET, "127.0.0.1", &mem.config->dns_addr4_be[1]);
	inet_pton(AF_INET6, US6, mem.config->dns_addr6_be[0]);
	inet_pton(AF_INET6, "::1", mem.config->dns_addr6_be[1]);
	mem.config->dns_addr4_count = mem.config->dns_addr6_count = 2;
}

/* A question becomes another machine's to us. */
static __attribute__((unused)) void bring_by_link(struct frame *q)
{
	memset(q->at, 0, 6); /* the address of the device that runs it */
	addressed_to(q, q->v6 ? THEM6 : THEM4, q->v6 ? US6 : US4);
}

static __attribute__((unused)) void from_link(struct frame *q, bool v6, const char *name,
					      uint16_t type)
{
	listen_on_link();
	query_frame(q, v6, name, type, 1232);
	bring_by_link(q);
}
