/* SPDX-License-Identifier: Apache-2.0 */
/* padding.c - answers whose length tells little, for clients that pad what they ask. Spec: RFC
 * 7830, RFC 8467. */
#include "internal.h"

#include <string.h>

#define OPTION_PADDING 12
#define OPTION_HEAD    4
#define PAD_TO	       468 /* octets: RFC 8467 4.1 */

bool wm_dns_pads(const uint8_t *query, size_t len)
{
	struct wm_dns_query q;
	size_t at;

	if (len < WM_DNS_HEADER_LEN || len > UINT16_MAX ||
	    wm_dns_parse(query, (uint32_t)len, &q) != WM_DNS_OK || !q.edns)
		return false;
	at = wm_dns_options_at(&q);
	while (len >= at + OPTION_HEAD) {
		if (!query[at] && query[at + 1] == OPTION_PADDING)
			return true;
		at += OPTION_HEAD + ((size_t)query[at + 2] << 8 | query[at + 3]);
	}
	return false;
}

size_t wm_dns_padding(size_t opt_at, size_t len)
{
	size_t pad;

	if (!opt_at)
		return 0;
	pad = OPTION_HEAD + (PAD_TO - (len + OPTION_HEAD) % PAD_TO) % PAD_TO;
	return len + pad <= WM_DNS_TCP_MAX ? pad : 0;
}

void wm_dns_pad(uint8_t *answer, size_t opt_at, size_t len, size_t pad)
{
	const size_t zeros = pad - OPTION_HEAD, data = len + pad - opt_at - WM_DNS_OPT_LEN;
	const uint8_t option[OPTION_HEAD] = {0, OPTION_PADDING, (uint8_t)(zeros >> 8),
					     (uint8_t)zeros};
	uint8_t *opt = answer + opt_at;

	opt[WM_DNS_OPT_LEN - 2] = (uint8_t)(data >> 8);
	opt[WM_DNS_OPT_LEN - 1] = (uint8_t)data;
	memcpy(answer + len, option, sizeof(option));
	memset(answer + len + OPTION_HEAD, 0, zeros);
}
