/* SPDX-License-Identifier: Apache-2.0 */
#include "redact.h"

#include "macros.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define HIDDEN "hidden"

struct text {
	char *at;
	size_t left; /* the NUL included */
};

static void put(struct text *t, const char *s, size_t n)
{
	if (n >= t->left)
		n = t->left - 1;
	memcpy(t->at, s, n);
	t->at += n;
	t->left -= n;
	*t->at = '\0';
}

static bool tells(const char *name, size_t len)
{
	static const char *const words[] = {"token", "key", "secret", "pass",
					    "auth",  "sig", "cred"};

	for (size_t i = 0; i < WM_ARRAY_LEN(words); i++) {
		size_t n = strlen(words[i]);

		for (size_t at = 0; at + n <= len; at++)
			if (strncasecmp(name + at, words[i], n) == 0)
				return true;
	}
	return false;
}

/* "a=1&token=x" up to the fragment. */
static void put_query(struct text *t, const char *s)
{
	while (*s && *s != '#') {
		size_t len = strcspn(s, "&;#"), name = strcspn(s, "=&;#");

		if (name < len && tells(s, name)) {
			put(t, s, name + 1);
			put(t, HIDDEN, strlen(HIDDEN));
		} else {
			put(t, s, len);
		}
		s += len;
		if (*s && *s != '#')
			put(t, s++, 1);
	}
	put(t, s, strlen(s));
}

const char *wm_redact_url(const char *url, char *to, size_t cap)
{
	const char *host = strstr(url, "://"), *end, *at = NULL, *query;
	struct text t = {to, cap};

	if (!cap)
		return "";
	*to = '\0';
	host = host ? host + 3 : url;
	end = host + strcspn(host, "/?#");
	for (const char *p = host; p < end; p++)
		at = *p == '@' ? p : at; /* the last one: a password may hold more of them */
	put(&t, url, (size_t)(host - url));
	if (at) {
		put(&t, HIDDEN, strlen(HIDDEN));
		host = at;
	}
	query = host + strcspn(host, "?#");
	query += *query == '?';
	put(&t, host, (size_t)(query - host));
	if (query > host && query[-1] == '?')
		put_query(&t, query);
	else
		put(&t, query, strlen(query));
	return to;
}
