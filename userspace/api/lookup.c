/* SPDX-License-Identifier: Apache-2.0 */
/* lookup.c - requests on a leaf, which holds a part of the mesh: one for a service that is not here
 * waits for its home's answer, a list says that it is of what is here, and the catalog, which is
 * everybody's, is written on full members. */
#include "internal.h"
#include "userspace/sync/sync.h"

#include <stdlib.h>
#include <string.h>

/* A request that waits. */
struct kept {
	struct wm_call call;
};

static const char *service_of(const struct wm_call *c)
{
	static const char *const patterns[] = {
		"/v1/health/service/:name", "/v1/health/connect/:name", "/v1/health/checks/:name",
		"/v1/catalog/service/:name", "/v1/catalog/connect/:name"};

	for (size_t n = 0; n < sizeof(patterns) / sizeof(*patterns); n++)
		if (strcmp(c->route->pattern, patterns[n]) == 0)
			return c->params[0];
	return strcmp(c->route->pattern, "/v1/waymark/resolve") == 0
		       ? wm_http_query(c->req, "service")
		       : NULL;
}

static void on_gone(void *arg)
{
	struct kept *k = arg;

	wm_sync_lookup_cancel(k->call.api->d.sync, k);
	free(k);
}

static void unanswered(struct wm_call *c)
{
	wm_answer_text(c, 503,
		       "No full member of the mesh answered in time, and this agent is a "
		       "leaf (sync.role): ask again");
}

static void on_known(void *arg, int code)
{
	struct kept *k = arg;

	wm_http_on_abort(k->call.req, NULL, NULL);
	if (code)
		unanswered(&k->call);
	else
		k->call.route->fn(&k->call);
	free(k);
}

static bool writes_catalog(const struct wm_call *c)
{
	return strcmp(c->route->pattern, "/v1/catalog/register") == 0 ||
	       strcmp(c->route->pattern, "/v1/catalog/deregister") == 0 ||
	       strcmp(c->route->pattern, "/v1/txn") == 0 ||
	       (c->route->method != WM_GET &&
		(strcmp(c->route->pattern, "/v1/waymark/policies/:service") == 0 ||
		 strncmp(c->route->pattern, "/v1/config", strlen("/v1/config")) == 0 ||
		 strncmp(c->route->pattern, "/v1/query", strlen("/v1/query")) == 0));
}

bool wm_waits_for_mesh(struct wm_call *c)
{
	const char *service;
	struct kept *k;
	int r;

	if (!c->api->d.sync || !wm_sync_partial(c->api->d.sync))
		return false;
	if (writes_catalog(c)) {
		wm_answer_text(c, 400,
			       "This agent is a leaf (sync.role): the catalog and policies are "
			       "written on a full member");
		return true;
	}
	wm_http_set_header(c->req, "X-Waymark-Partial", "leaf");
	service = service_of(c);
	if (!service || !*service || strlen(service) > WM_SERVICE_NAME_MAX)
		return false;
	k = malloc(sizeof(*k));
	r = k ? wm_sync_lookup(c->api->d.sync, service, on_known, k) : 0;
	if (r != 1) {
		free(k);
		if (r)
			unanswered(c);
		return r;
	}
	k->call = *c;
	wm_http_on_abort(c->req, on_gone, k);
	return true;
}
