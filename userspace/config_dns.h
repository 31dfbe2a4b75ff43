/* SPDX-License-Identifier: Apache-2.0 */
/* config_dns.h - what the settings of dns.upstream mean. Threading: none. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/dns/kube.h"
#include "userspace/dns/static_records.h"
#include "userspace/dns/upstream.h"

/** Judge what DNS over TLS is served with, if it is. @p now_s: seconds since 1970. @return 0,
 *  WM_E_INVALID, or the error of a file that cannot be read; -EKEYEXPIRED: it would be served, but
 *  clients that check would not take it now. @p e tells. */
int wm_config_dns_tls(const struct wm_settings *s, int64_t now_s, struct wm_err *e);
/** @p ret borrows from @p s. @p vips: as wm_config_ranges() reads them. @return 0, WM_E_INVALID, or
 *  the error of a file that cannot be read. */
int wm_config_upstream(const struct wm_settings *s, const struct wm_vip_space *vips,
		       struct wm_upstream_config *ret, struct wm_err *e);
/** Read the records of the operator's that @p s names; the domains are those of @p own, which are
 * in force. @return as wm_statics_read(). */
int wm_config_statics(const struct wm_settings *s, const struct wm_settings *own,
		      struct wm_statics **ret, struct wm_err *e);
/** The domain of the cluster's names; NULL: there is none. Borrowed from @p s. */
const char *wm_config_kube_domain(const struct wm_settings *s);
/** How names of pods are answered. */
enum wm_kube_pods wm_config_kube_pods(const struct wm_settings *s);
