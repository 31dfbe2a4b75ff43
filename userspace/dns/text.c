/* SPDX-License-Identifier: Apache-2.0 */
#include "text.h"

#include <stdio.h>
#include <string.h>

size_t wm_dns_label_text(const char *label, size_t len, char *out, size_t cap)
{
	size_t at = 0, n;
	char one[5];

	for (size_t i = 0; i < len; i++) {
		unsigned char c = (unsigned char)label[i];

		n = (size_t)snprintf(one, sizeof(one),
				     c <= ' ' || c > '~'     ? "\\%03u"
				     : c == '.' || c == '\\' ? "\\%c"
							     : "%c",
				     c);
		if (at + n >= cap)
			break;
		memcpy(out + at, one, n);
		at += n;
	}
	out[at] = '\0';
	return at;
}

size_t wm_dns_text(const uint8_t *wire, char *out, size_t cap)
{
	char label[4 * 63 + 1];
	size_t at = 0, n;

	*out = '\0';
	for (; *wire; wire += *wire + 1u) {
		n = wm_dns_label_text((const char *)wire + 1, *wire, label, sizeof(label));
		if (at + (at > 0) + n >= cap)
			break;
		at += (size_t)snprintf(out + at, cap - at, "%s%s", at ? "." : "", label);
	}
	return at;
}

/* One octet of a label, of which @p at points to the first character. @return characters, 0: it is
 * none. */
static size_t octet_of(const char *at, uint8_t *ret)
{
	unsigned n;

	*ret = (uint8_t)*at;
	if (*at != '\\')
		return 1;
	*ret = (uint8_t)at[1];
	if (at[1] < '0' || at[1] > '9')
		return at[1] ? 2 : 0;
	if (at[2] < '0' || at[2] > '9' || at[3] < '0' || at[3] > '9')
		return 0;
	n = (unsigned)(at[1] - '0') * 100 + (unsigned)(at[2] - '0') * 10 + (unsigned)(at[3] - '0');
	*ret = (uint8_t)n;
	return n <= UINT8_MAX ? 4 : 0;
}

bool wm_dns_wire(const char *text, uint8_t ret[WM_DNS_NAME_MAX + 1])
{
	size_t at = 0, len, n;
	uint8_t c;

	text += strcmp(text, ".") == 0;
	while (*text) {
		for (len = 0; *text && *text != '.'; text += n) {
			n = octet_of(text, &c);
			/* there is its length before it, and the root behind */
			if (!n || len == WM_DNS_LABEL_MAX || at + len + 3 > WM_DNS_NAME_MAX)
				return false;
			ret[at + ++len] = c >= 'A' && c <= 'Z' ? (uint8_t)(c + 'a' - 'A') : c;
		}
		if (!len)
			return false;
		ret[at] = (uint8_t)len;
		at += len + 1;
		text += *text == '.';
	}
	ret[at] = 0;
	return true;
}
