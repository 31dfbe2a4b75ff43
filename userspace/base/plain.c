/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* A character of UTF-8, RFC 3629. @return its octets; 0: it is none. */
static size_t decode(const unsigned char *s, uint32_t *ret)
{
	size_t n = *s < 0x80   ? 1
		   : *s < 0xc2 ? 0
		   : *s < 0xe0 ? 2
		   : *s < 0xf0 ? 3
		   : *s < 0xf5 ? 4
			       : 0;
	uint32_t c = n < 2 ? *s : *s & (0x7fu >> n);

	for (size_t i = 1; i < n; i++) {
		if ((s[i] & 0xc0) != 0x80) /* a NUL is none, so nothing behind it is read */
			return 0;
		c = c << 6 | (s[i] & 0x3f);
	}
	if ((n == 3 && (c < 0x800 || (c >= 0xd800 && c < 0xe000))) ||
	    (n == 4 && (c < 0x10000 || c > 0x10ffff)))
		return 0;
	*ret = c;
	return n;
}

/* Control characters of both sets, line and paragraph separators, and what turns the direction of
 * the text around it. */
static bool moves(uint32_t c)
{
	return c < 0x20 || (c >= 0x7f && c < 0xa0) || c == 0x61c || c == 0x200e || c == 0x200f ||
	       (c >= 0x2028 && c <= 0x202e) || (c >= 0x2066 && c <= 0x2069);
}

const char *wm_plain(const char *s, char *to, size_t cap)
{
	size_t at = 0;

	for (const unsigned char *p = (const unsigned char *)s; *p && cap;) {
		char one[16];
		uint32_t c = 0;
		size_t n = decode(p, &c), len;

		if (!n)
			len = (size_t)snprintf(one, sizeof(one), "\\x%02x", *p);
		else if (c == '\n' || c == '\t' || c == '\r')
			len = (size_t)snprintf(one, sizeof(one), "\\%c",
					       c == '\n'   ? 'n'
					       : c == '\t' ? 't'
							   : 'r');
		else if (moves(c))
			len = (size_t)snprintf(one, sizeof(one), c < 0x100 ? "\\x%02x" : "\\u%04x",
					       (unsigned)c);
		else
			memcpy(one, p, len = n);
		if (at + len >= cap)
			break;
		memcpy(to + at, one, len);
		at += len;
		p += n ? n : 1;
	}
	if (cap)
		to[at] = '\0';
	return to;
}
