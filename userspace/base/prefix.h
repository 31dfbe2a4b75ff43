/* SPDX-License-Identifier: Apache-2.0 */
/* prefix.h - networks as a person writes them. Pure. */
#pragma once
#include "err.h"
#include "waymark/guard.h"

#include <stdbool.h>

/** Read "10.0.0.0/8", "fd00::/8", or an address alone, which is itself. @return 0, WM_E_INVALID
 *  with what is wanted. */
int wm_prefix_parse(const char *text, struct wm_guard_prefix *ret, struct wm_err *e);
/** Those of a NULL-terminated list, which were checked. @return how many. */
unsigned wm_prefix_list(char *const *list, struct wm_guard_prefix *ret);
#define WM_PREFIX_ZONE_SIZE 76 /* of the reverse zone of 128 bits, with its NUL */
/** How many reverse zones a network is: one that ends within an octet of IPv4 or a digit of IPv6 is
 *  as many as begin with it (RFC 1035 3.5, RFC 3596 2.5). 128 at most; 0: it has no bits. */
unsigned wm_prefix_zones(const struct wm_guard_prefix *p);
/** The @p i-th of them, without a dot at its end. @return false: there are not so many. */
bool wm_prefix_zone(const struct wm_guard_prefix *p, unsigned i, char ret[WM_PREFIX_ZONE_SIZE]);
/** Numbers of an address that each of its zones has before arpa and what is before that. */
unsigned wm_prefix_labels(const struct wm_guard_prefix *p);
/** Is it of IPv4? */
bool wm_prefix_is4(const struct wm_guard_prefix *p);
