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
