/* SPDX-License-Identifier: Apache-2.0 */
/* endpoint.c - see endpoint.h. */
#include "endpoint.h"

#include <ctype.h>
#include <string.h>

bool wm_endpoint_valid(const char *s)
{
	const char *host = strncmp(s, "http://", 7) == 0    ? s + 7
			   : strncmp(s, "https://", 8) == 0 ? s + 8
							    : NULL;
	size_t len = host ? strcspn(host, "/?#@ \t\r\n\"\\") : 0;

	return len && (!host[len] || strcmp(host + len, "/") == 0);
}

bool wm_key_prefix_valid(const char *s)
{
	size_t len = strlen(s);

	for (size_t n = 0; n < len; n++) {
		if (!isalnum((unsigned char)s[n]) && !strchr("/-._~:@", s[n]))
			return false;
	}
	return len > 2 && *s == '/' && s[len - 1] == '/' && !strstr(s, "//");
}
