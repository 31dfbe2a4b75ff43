/* SPDX-License-Identifier: Apache-2.0 */
/* serve_http.h - where the HTTP server listens, as the settings want it. Threading: loop thread
 * only. */
#pragma once
#include "userspace/base/err.h"
#include "userspace/base/settings.h"
#include "userspace/net/http_server.h"

/** Let @p http listen at http.addresses and http.socket, and take the names of http.hosts.
 *  @return 0, or an error that @p e tells with the setting. */
int wm_serve_http(struct wm_http_server *http, const struct wm_settings *s, struct wm_err *e);
