/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_ask.h - one question to a name server: over UDP, once, without EDNS. */
#pragma once
#include <netinet/in.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct ctl_server {
	union {
		struct sockaddr any;
		struct sockaddr_in in;
		struct sockaddr_in6 in6;
	} at;
	char text[64]; /* "127.0.0.1:8600", "[::1]:53" */
};
struct ctl_answer {
	uint16_t flags, answers; /* of its header, in the machine's order */
	uint16_t port;		 /* of ours, from which it was asked */
	uint32_t ttl_s;		 /* of its first record; 0: it has none */
	uint64_t took_ns;
	size_t len;
	uint8_t msg[512]; /* as it came: what fits without EDNS */
};

/** A server by its address; one that stands for all is this machine's. @return false: no address.
 */
bool ctl_server_of(const char *address, uint16_t port, struct ctl_server *ret);
/** The same of "127.0.0.1:8600", "[::1]:8600". */
bool ctl_server_at(const char *text, struct ctl_server *ret);
/** Ask it, and wait 1.5 s at most. The name is as wm_dns_wire() reads it. @return 0 or negative
 * errno: -ETIMEDOUT, -ECONNREFUSED, -EINVAL (no such name can be), -EBADMSG (what came is no
 * answer). */
int ctl_ask(const struct ctl_server *s, const char *name, uint16_t type, struct ctl_answer *ret);
/** Is it as this agent answers for what is in its domain? */
bool ctl_answer_is_ours(const struct ctl_answer *a);
