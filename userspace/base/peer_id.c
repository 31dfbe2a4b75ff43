/* SPDX-License-Identifier: Apache-2.0 */
/* peer_id.c - see peer_id.h. */
#include "peer_id.h"

#include "hash.h"

#include <errno.h>

#define PEER_SOURCE_MAX 255 /* octets of a name that count */

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
	static const char digits[] = "0123456789abcdef";

	for (unsigned n = 0; n < sizeof(id->octets); n++) {
		if (n == 4 || n == 6 || n == 8 || n == 10)
			*ret++ = '-';
		*ret++ = digits[id->octets[n] >> 4];
		*ret++ = digits[id->octets[n] & 15];
	}
	*ret = '\0';
}

void wm_peer_id_source(const char *source, const char *node, struct wm_peer_id *ret)
{
	/* two hashes of what cannot be confused: no name has a NUL */
	char text[2 * PEER_SOURCE_MAX + 2];
	size_t a = strnlen(source, PEER_SOURCE_MAX) + 1, b = strnlen(node, PEER_SOURCE_MAX) + 1;
	uint64_t low, high;

	memcpy(text, source, a - 1);
	text[a - 1] = '\0';
	memcpy(text + a, node, b - 1);
	text[a + b - 1] = '\0';
	low = wm_hash_stable(text, a + b);
	text[a + b - 1] = '\1';
	high = wm_hash_stable(text, a + b);
	memcpy(ret->octets, WM_PEER_ID_SOURCE, 4);
	memcpy(ret->octets + 4, &high, 4);
	memcpy(ret->octets + 8, &low, sizeof(low));
	ret->octets[6] = (uint8_t)(0x80 | (ret->octets[6] & 15));
	ret->octets[8] = (uint8_t)(0x80 | (ret->octets[8] & 63));
}
