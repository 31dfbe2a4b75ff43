/* SPDX-License-Identifier: Apache-2.0 */
#include "prefix.h"

#include <arpa/inet.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define V4_MAPPED 0xffff

static int unreadable(const char *text, struct wm_err *e)
{
	return wm_err_set(e, WM_E_INVALID,
			  "a network such as 10.0.0.0/8 or fd00::/8, or an address is wanted, not "
			  "\"%.64s\"",
			  text);
}

/* Digits behind the slash. @return -1: none, or more than @p max. */
static int read_bits(const char *text, int max)
{
	char *end;
	long n = strtol(text, &end, 10);

	return *text < '0' || *text > '9' || *end || n > max ? -1 : (int)n;
}

static bool is_zero_behind(const struct wm_guard_prefix *p)
{
	const unsigned char *at = (const unsigned char *)p->addr_be;

	for (unsigned i = p->bits; i < 128; i++)
		if (at[i / 8] & (0x80 >> i % 8))
			return false;
	return true;
}

int wm_prefix_parse(const char *text, struct wm_guard_prefix *ret, struct wm_err *e)
{
	char address[INET6_ADDRSTRLEN];
	const char *slash = strchr(text, '/');
	size_t len = slash ? (size_t)(slash - text) : strlen(text);
	int bits, max = 32;

	if (len >= sizeof(address))
		return unreadable(text, e);
	memcpy(address, text, len);
	address[len] = '\0';
	memset(ret, 0, sizeof(*ret));
	if (inet_pton(AF_INET, address, &ret->addr_be[3]) == 1)
		ret->addr_be[2] = htonl(V4_MAPPED);
	else if (inet_pton(AF_INET6, address, ret->addr_be) == 1)
		max = 128;
	else
		return unreadable(text, e);
	bits = slash ? read_bits(slash + 1, max) : max;
	if (bits < 0)
		return unreadable(text, e);
	ret->bits = (unsigned)bits + (max == 32 ? WM_GUARD_BITS_4 : 0);
	if (!is_zero_behind(ret))
		return wm_err_set(e, WM_E_INVALID, "%.64s has bits behind its /%d", text, bits);
	return 0;
}
