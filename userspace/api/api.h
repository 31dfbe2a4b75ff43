/* SPDX-License-Identifier: Apache-2.0 */
/* api.h - the HTTP surface: Consul's discovery API and Waymark's own under /v1/waymark/.
 * One table of routes (routes.def): method, path, handler, text. Writes answer after the commit and
 * after the tables show the change. Threading: loop thread only. Spec: Consul HTTP API 1.21. */
#pragma once
#include "userspace/dataplane/plane.h"
#include "userspace/dns/server.h"
#include "userspace/health/health.h"
#include "userspace/net/http_server.h"
#include "userspace/registry/registry.h"
#include "userspace/resolution/resolution.h"

struct wm_api;
struct wm_api_deps { /* all borrowed; plane may be NULL (no data plane) */
	struct wm_loop *loop;
	struct wm_registry *registry;
	struct wm_health *health;
	struct wm_tables *tables;
	struct wm_resolution *resolution;
	struct wm_dns_server *dns;
	struct wm_plane *plane;
	const char *version, *domain;
	const char *plane_error; /* why there is no data plane, or NULL */
};
struct wm_api *wm_api_new(const struct wm_api_deps *d);
void wm_api_free(struct wm_api *a);
/** The handler for wm_http_server_new(). @p arg is the struct wm_api. */
void wm_api_handle(void *arg, struct wm_http_request *req);
