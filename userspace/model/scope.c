/* SPDX-License-Identifier: Apache-2.0 */
/* scope.c - see scope.h. */
#include "scope.h"

#include "validate.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

size_t wm_scope_len(const char *service)
{
	const char *slash = strchr(service, '/');

	return slash && slash[1] ? (size_t)(slash - service) : 0;
}

const char *wm_scope_bare(const char *service)
{
	size_t n = wm_scope_len(service);

	return n ? service + n + 1 : service;
}

const char *wm_scope_split(const char *service, char ret[WM_SCOPE_MAX + 1])
{
	size_t n = wm_scope_len(service);

	*ret = '\0';
	if (!n || n > WM_SCOPE_MAX)
		return service;
	memcpy(ret, service, n);
	ret[n] = '\0';
	if (wm_scope_valid(ret))
		return service + n + 1;
	*ret = '\0';
	return service;
}

bool wm_scope_valid(const char *scope)
{
	return wm_label_valid(scope);
}

int wm_scope_join(char *to, size_t size, const char *scope, const char *name)
{
	bool none = !scope || !*scope;
	int n = snprintf(to, size, "%s%s%s", none ? "" : scope, none ? "" : "/", name);

	return n < 0 || (size_t)n >= size ? -ENOSPC : n;
}

bool wm_scope_is(const char *service, const char *scope)
{
	size_t n = wm_scope_len(service);

	return strlen(scope) == n && strncasecmp(service, scope, n) == 0;
}
