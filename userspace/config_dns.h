/* SPDX-License-Identifier: Apache-2.0 */
/* config_dns.h - what the settings of dns.upstream mean. Threading: none. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/dns/upstream.h"

/** Judge what DNS over TLS is served with, if it is. @p now_s: seconds since 1970. @return 0,
 *  WM_E_INVALID, or the error of a file that cannot be read; -EKEYEXPIRED: it would be served, but
 *  clients that check would not take it now. @p e tells. */
int wm_config_dns_tls(const struct wm_settings *s, int64_t now_s, struct wm_err *e);
/** @p ret borrows from @p s. @return 0, WM_E_INVALID, or the error of a file that cannot be read.
 */
int wm_config_upstream(const struct wm_settings *s, struct wm_upstream_config *ret,
		       struct wm_err *e);
