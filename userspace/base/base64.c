/* SPDX-License-Identifier: Apache-2.0 */
/* base64.c - see base64.h. */
#include "base64.h"

#include <errno.h>
#include <stdint.h>

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

static void encode3(const uint8_t in[3], size_t n, char *to)
{
	uint32_t bits = (uint32_t)in[0] << 16 | (uint32_t)in[1] << 8 | in[2];

	to[0] = alphabet[bits >> 18];
	to[1] = alphabet[bits >> 12 & 63];
	to[2] = n > 1 ? alphabet[bits >> 6 & 63] : '=';
	to[3] = n > 2 ? alphabet[bits & 63] : '=';
}

bool wm_base64_put(struct wm_buf *to, const void *a, size_t a_len, const void *b, size_t b_len)
{
	const uint8_t *first = a, *second = b;
	size_t all = a_len + b_len;

	if (!wm_buf_reserve(to, (all + 2) / 3 * 4))
		return false;
	for (size_t at = 0; at < all; at += 3) {
		uint8_t in[3] = {0};
		size_t n = all - at < 3 ? all - at : 3;

		for (size_t i = 0; i < n; i++)
			in[i] = at + i < a_len ? first[at + i] : second[at + i - a_len];
		encode3(in, n, to->data + to->len);
		to->len += 4;
	}
	to->data[to->len] = '\0';
	return true;
}

static int sextet(char c)
{
	return c >= 'A' && c <= 'Z'   ? c - 'A'
	       : c >= 'a' && c <= 'z' ? c - 'a' + 26
	       : c >= '0' && c <= '9' ? c - '0' + 52
	       : c == '+'	      ? 62
	       : c == '/'	      ? 63
				      : -1;
}

long wm_base64_read(const char *text, size_t len, char *to)
{
	char *start = to;
	size_t pad = 0;

	if (len % 4)
		return -EINVAL;
	while (pad < 2 && pad < len && text[len - 1 - pad] == '=')
		pad++;
	for (size_t at = 0; at < len; at += 4) {
		uint32_t bits = 0;
		size_t n = at + 4 == len ? 4 - pad : 4;

		for (size_t i = 0; i < 4; i++) {
			int s = i < n ? sextet(text[at + i]) : 0;

			if (s < 0)
				return -EINVAL;
			bits = bits << 6 | (uint32_t)s;
		}
		if ((n == 2 && bits & 0xffff) || (n == 3 && bits & 0xff))
			return -EINVAL;
		*to++ = (char)(bits >> 16);
		if (n > 2)
			*to++ = (char)(bits >> 8);
		if (n > 3)
			*to++ = (char)bits;
	}
	return to - start;
}
