/* SPDX-License-Identifier: Apache-2.0 */
#include "utf8.h"

#define REPLACEMENT 0xfffd /* stands for what is no character */

/* What @p n octets are needed for and no fewer would do. */
static bool is_character(uint32_t c, size_t n)
{
	static const uint32_t least[WM_UTF8_MAX + 1] = {0, 0, 0x80, 0x800, 0x10000};

	return c >= least[n] && c <= 0x10ffff && (c < 0xd800 || c > 0xdfff);
}

size_t wm_utf8_decode(const char *s, size_t left, uint32_t *ret)
{
	const unsigned char *u = (const unsigned char *)s;
	size_t n;
	uint32_t c;

	if (!left)
		return 0;
	n = *u < 0x80 ? 1 : *u < 0xc2 ? 0 : *u < 0xe0 ? 2 : *u < 0xf0 ? 3 : *u < 0xf5 ? 4 : 0;
	if (!n || n > left)
		return 0;
	c = n == 1 ? *u : *u & (0x7fu >> n);
	for (size_t i = 1; i < n; i++) {
		if ((u[i] & 0xc0) != 0x80) /* a NUL is none */
			return 0;
		c = c << 6 | (u[i] & 0x3f);
	}
	if (!is_character(c, n))
		return 0;
	*ret = c;
	return n;
}

bool wm_utf8_valid(const char *s)
{
	uint32_t c;
	size_t n;

	for (; *s; s += n) {
		n = wm_utf8_decode(s, SIZE_MAX, &c);
		if (!n)
			return false;
	}
	return true;
}

size_t wm_utf8_encode(uint32_t c, char to[WM_UTF8_MAX])
{
	static const uint8_t lead[WM_UTF8_MAX] = {0, 0xc0, 0xe0, 0xf0};
	unsigned more;

	if (!is_character(c, 1))
		c = REPLACEMENT;
	more = c < 0x80 ? 0 : c < 0x800 ? 1 : c < 0x10000 ? 2 : 3;
	to[0] = (char)(lead[more] | c >> 6 * more);
	for (unsigned i = 1; i <= more; i++)
		to[i] = (char)(0x80 | (c >> 6 * (more - i) & 0x3f));
	return more + 1;
}
