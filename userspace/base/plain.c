/* SPDX-License-Identifier: Apache-2.0 */
#include "plain.h"

#include "utf8.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

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

	while (*s && cap) {
		char one[16];
		uint32_t c = 0;
		size_t n = wm_utf8_decode(s, SIZE_MAX, &c), len;

		if (!n)
			len = (size_t)snprintf(one, sizeof(one), "\\x%02x", (unsigned char)*s);
		else if (c == '\n' || c == '\t' || c == '\r')
			len = (size_t)snprintf(one, sizeof(one), "\\%c",
					       c == '\n'   ? 'n'
					       : c == '\t' ? 't'
							   : 'r');
		else if (moves(c))
			len = (size_t)snprintf(one, sizeof(one), c < 0x100 ? "\\x%02x" : "\\u%04x",
					       (unsigned)c);
		else
			memcpy(one, s, len = n);
		if (at + len >= cap)
			break;
		memcpy(to + at, one, len);
		at += len;
		s += n ? n : 1;
	}
	if (cap)
		to[at] = '\0';
	return to;
}
