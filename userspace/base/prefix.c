/* SPDX-License-Identifier: Apache-2.0 */
#include "prefix.h"

#include <arpa/inet.h>
#include <stdio.h>
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

unsigned wm_prefix_list(char *const *list, struct wm_guard_prefix *ret)
{
	struct wm_err e = {0};
	unsigned n = 0;

	for (; *list; list++)
		n += !wm_prefix_parse(*list, &ret[n], &e);
	return n;
}

bool wm_prefix_is4(const struct wm_guard_prefix *p)
{
	return p->bits >= WM_GUARD_BITS_4 && !p->addr_be[0] && !p->addr_be[1] &&
	       p->addr_be[2] == htonl(V4_MAPPED);
}

/* Bits that are written behind the address, and those of a label. */
static unsigned own_bits(const struct wm_guard_prefix *p, unsigned *ret_label)
{
	bool v4 = wm_prefix_is4(p);

	*ret_label = v4 ? 8 : 4;
	return p->bits - (v4 ? WM_GUARD_BITS_4 : 0);
}

unsigned wm_prefix_labels(const struct wm_guard_prefix *p)
{
	unsigned label, bits = own_bits(p, &label);

	return (bits + label - 1) / label;
}

unsigned wm_prefix_zones(const struct wm_guard_prefix *p)
{
	unsigned label, bits = own_bits(p, &label);

	return bits ? 1u << (label * wm_prefix_labels(p) - bits) : 0;
}

bool wm_prefix_zone(const struct wm_guard_prefix *p, unsigned i, char ret[WM_PREFIX_ZONE_SIZE])
{
	const unsigned char *at = (const unsigned char *)p->addr_be;
	bool v4 = wm_prefix_is4(p);
	unsigned n = wm_prefix_labels(p);
	size_t len = 0;

	if (i >= wm_prefix_zones(p))
		return false;
	for (unsigned k = n; k-- > 0; i = 0) { /* only the last number has bits that are free */
		unsigned number = v4 ? at[12 + k] : k & 1 ? at[k / 2] & 15 : at[k / 2] >> 4;

		len += (size_t)snprintf(ret + len, WM_PREFIX_ZONE_SIZE - len, v4 ? "%u." : "%x.",
					number + i);
	}
	snprintf(ret + len, WM_PREFIX_ZONE_SIZE - len, v4 ? "in-addr.arpa" : "ip6.arpa");
	return true;
}
