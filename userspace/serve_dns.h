/* SPDX-License-Identifier: Apache-2.0 */
/* serve_dns.h - the DNS server as the settings want it. Threading: loop thread only. */
#pragma once
#include "userspace/base/settings.h"
#include "userspace/dataplane/plane.h"
#include "userspace/dns/server.h"

/** Start it and its listeners. @p plane: it keeps answers of others there; NULL: nowhere. @p ret is
 * set on failure too, once there is one; to be freed.
 *  @return 0, or an error that @p e tells. */
int wm_serve_dns(struct wm_loop *l, struct wm_registry *registry, struct wm_tables *tables,
		 struct wm_plane *plane, const struct wm_settings *s, struct wm_dns_server **ret,
		 struct wm_err *e);
/** It was started, and ended: the node is as it was before. */
void wm_serve_dns_end(const struct wm_settings *s);
