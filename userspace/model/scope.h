/* SPDX-License-Identifier: Apache-2.0 */
/* scope.h - services of a scope, which is Kubernetes' namespace: "scope/name" is one key, in the
 * registry, tables, policies and events. Names without a slash, and those that begin or end with
 * their first one, have the empty scope. Pure. */
#pragma once
#include <stdbool.h>
#include <stddef.h>

#define WM_SCOPE_MAX 63 /* octets: a DNS label, as it stands in names */

/** Octets of the scope that a service's key begins with, 0: none. */
size_t wm_scope_len(const char *service);
/** The name behind the scope, in @p service. */
const char *wm_scope_bare(const char *service);
/** What answers say of a key: the name that is returned, in @p service, and its scope, @p ret. One
 * with a slash of its own, behind what is no DNS label, is a name, and @p ret is "". */
const char *wm_scope_split(const char *service, char ret[WM_SCOPE_MAX + 1]);
/** May a scope have this name: a DNS label? */
bool wm_scope_valid(const char *scope);
/** Write the key of @p name in @p scope, NULL or "": none. @return its octets, or -ENOSPC: it does
 *  not fit @p size with its NUL. */
int wm_scope_join(char *to, size_t size, const char *scope, const char *name);
/** Is the scope of @p service @p scope, in any case? "" is the empty one. */
bool wm_scope_is(const char *service, const char *scope);
