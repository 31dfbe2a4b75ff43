/* SPDX-License-Identifier: Apache-2.0 */
/* router.c - from a request to its handler, by the table in routes.def; 404, 405, OPTIONS. And the
 * API's beginning and end. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/macros.h"
#include "userspace/sync/forward.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

const struct wm_route wm_routes[] = {
#define X(method, pattern, handler, text)                                                          \
	{WM_##method, pattern, handler, text, false, false, false},
#define O(method, pattern, handler, text) {WM_##method, pattern, handler, text, true, false, false},
#define F(method, pattern, handler, text) {WM_##method, pattern, handler, text, false, true, false},
#define M(method, pattern, handler, text) {WM_##method, pattern, handler, text, false, false, true},
#include "routes.def"
#undef X
#undef O
#undef F
#undef M
};
const unsigned wm_routes_count = WM_ARRAY_LEN(wm_routes);

static const struct {
	enum wm_http_method method;
	const char *name;
} method_names[] = {
	{WM_GET, "GET"},
	{WM_PUT, "PUT"},
	{WM_POST, "POST"},
	{WM_DELETE, "DELETE"},
};

/* Match a path; @p c gets the parameters, one that the path leaves out as "". @return how much of
 * the fixed text fits, -1: no match, -2: a parameter is broken or longer than any id. */
static int match(const char *pattern, const char *path, struct wm_call *c)
{
	int fixed = 0;

	c->params_count = 0;
	while (*pattern) {
		size_t len;

		if (*pattern != ':') {
			/* "/v1/health/service" asks for the same as "/v1/health/service/": for
			 * nothing; but not where it is a path of its own */
			if (!*path && pattern[0] == '/' && pattern[1] == ':' &&
			    !strchr(pattern + 1, '/')) {
				c->params[c->params_count++][0] = 0;
				return fixed - 1;
			}
			if (*pattern++ != *path++)
				return -1;
			fixed += 2;
			continue;
		}
		pattern += strcspn(pattern, "/");
		len = *pattern ? strcspn(path, "/") : strlen(path);
		if (!wm_http_segment(path, len, c->params[c->params_count], WM_API_PARAM_MAX))
			return -2;
		c->params_count++;
		path += len;
	}
	return *path ? -1 : fixed;
}

/* Octets of each pattern before its first parameter. */
static size_t heads[WM_ARRAY_LEN(wm_routes)];

static void measure_heads(void)
{
	for (unsigned i = 0; i < wm_routes_count; i++)
		heads[i] = strcspn(wm_routes[i].pattern, ":");
}

/* Does a path begin as a pattern with parameters does? Most do not, and one octet tells. The slash
 * before a parameter may be left out with it. */
static bool begins(unsigned i, const char *path, size_t len)
{
	const char *pattern = wm_routes[i].pattern;
	size_t n = heads[i] - 1;

	return pattern[n + 1] && len >= n && path[n - 1] == pattern[n - 1] &&
	       memcmp(path, pattern, n) == 0;
}

/* The best pattern for a path; routes of other methods share it. @return NULL: none. */
static const char *find_pattern(const char *path, struct wm_call *c, bool *ret_broken)
{
	const char *best = NULL;
	size_t len = strlen(path);
	int best_fixed = -1;

	*ret_broken = false;
	for (unsigned i = 0; i < wm_routes_count; i++) {
		if (heads[i] == len && strcmp(wm_routes[i].pattern, path) == 0)
			return wm_routes[i].pattern; /* none fits better */
	}
	for (unsigned i = 0; i < wm_routes_count; i++) {
		int fixed = begins(i, path, len) ? match(wm_routes[i].pattern, path, c) : -1;

		*ret_broken |= fixed == -2;
		if (fixed > best_fixed) {
			best_fixed = fixed;
			best = wm_routes[i].pattern;
		}
	}
	if (best)
		match(best, path, c);
	return best;
}

/* "OPTIONS,GET,PUT" for the methods of a pattern. */
static void set_allow(struct wm_call *c, const char *pattern)
{
	char allow[64] = "OPTIONS";
	size_t len = strlen(allow);

	for (unsigned m = 0; m < WM_ARRAY_LEN(method_names); m++) {
		for (unsigned i = 0; i < wm_routes_count; i++) {
			if (wm_routes[i].method == method_names[m].method &&
			    strcmp(wm_routes[i].pattern, pattern) == 0)
				len += (size_t)snprintf(allow + len, sizeof(allow) - len, ",%s",
							method_names[m].name);
		}
	}
	wm_http_set_header(c->req, "Allow", allow);
}

/* What Consul says where the path ends before its last element. Elsewhere "" is an id that nobody
 * has, and a route's handler says so. @return NULL: there it is, or the handler says. */
static const char *missing(const struct wm_call *c)
{
	static const struct {
		const char *before, *text; /* before: what the pattern begins with */
	} all[] = {{"/v1/agent/health/service/id/", "Missing serviceID"},
		   {"/v1/agent/health/service/name/", "Missing service Name"},
		   {"/v1/agent/service/maintenance/", "Missing service ID"},
		   {"/v1/catalog/node/", "Missing node name"},
		   {"/v1/catalog/node-services/", "Missing node name"},
		   {"/v1/catalog/service/", "Missing service name"},
		   {"/v1/catalog/connect/", "Missing service name"},
		   {"/v1/config/", "Missing config entry kind"},
		   {"/v1/query/", "Query not found"},
		   {"/v1/health/service/", "Missing service name"},
		   {"/v1/health/connect/", "Missing service name"},
		   {"/v1/health/checks/", "Missing service name"},
		   {"/v1/health/node/", "Missing node name"},
		   {"/v1/health/state/", "Missing check state"},
		   {"/v1/waymark/instances/", "Missing instance ID"},
		   {"/v1/waymark/policies/", "Missing service name"},
		   {"/v1/waymark/resolve/", "Missing service name"},
		   {"/v1/waymark/addresses/", "Missing address"}};

	for (unsigned i = 0; c->params_count && !*c->params[0] && i < WM_ARRAY_LEN(all); i++) {
		if (strncmp(c->route->pattern, all[i].before, strlen(all[i].before)) == 0)
			return all[i].text;
	}
	return NULL;
}

bool wm_api_trusted(const struct wm_call *c)
{
	long uid = wm_http_peer_uid(c->req);

	return wm_http_is_local(c->req) && (uid == 0 || uid == (long)geteuid());
}

/* @return false: answered. */
static bool may_operate(struct wm_call *c)
{
	bool local = wm_http_is_local(c->req);

	if (wm_api_trusted(c) || (!local && c->api->d.operator_tcp))
		return true;
	wm_answer_text(c, 403,
		       "Permission denied: %s %s is for %s; over TCP see http.operator_over_tcp",
		       wm_http_method_name(c->req), c->route->pattern,
		       local ? "root and the agent's user" : "the agent's Unix socket");
	return false;
}

/* @return false: answered. Whoever reaches a port for scrapers is to read what they do, no more. */
static bool may_scrape(struct wm_call *c)
{
	if (!wm_http_is_narrow(c->req) || c->route->scraped)
		return true;
	wm_answer_text(c, 403, "Permission denied: %s %s is not answered at http.metrics_addresses",
		       wm_http_method_name(c->req), c->route->pattern);
	return false;
}

void wm_api_handle(void *arg, struct wm_http_request *req)
{
	struct wm_call c;
	enum wm_http_method m = wm_http_method(req);
	const char *pattern;
	bool broken;

	memset(&c, 0, offsetof(struct wm_call, params));
	c.api = arg;
	c.req = req;
	pattern = find_pattern(wm_http_path(req), &c, &broken);
	if (!pattern) {
		if (broken)
			wm_answer_text(&c, 400,
				       "The path has a broken percent escape, or an id longer than "
				       "%d characters",
				       WM_API_PARAM_MAX - 1);
		else
			wm_answer_text(&c, 404,
				       "Invalid URL path: not a recognized HTTP API endpoint");
		return;
	}
	for (unsigned i = 0; i < wm_routes_count && !c.route; i++) {
		if (wm_routes[i].method == m && strcmp(wm_routes[i].pattern, pattern) == 0)
			c.route = &wm_routes[i];
	}
	if (!c.route) {
		set_allow(&c, pattern);
		if (m == WM_OPTIONS)
			wm_answer_empty(&c);
		else
			wm_answer_text(&c, 405, "method %s not allowed", wm_http_method_name(req));
		return;
	}
	if (!may_scrape(&c) || (c.route->operator_only && !may_operate(&c)))
		return;
	if (!wm_params_common(&c))
		return;
	if (missing(&c))
		wm_answer_text(&c, 400, "%s", missing(&c));
	else if (!wm_forwarded(&c) && !wm_waits_for_mesh(&c) && !wm_rendered_give(&c))
		c.route->fn(&c);
}

/* --- beginning and end -------------------------------------------------------------------------
 */

/* One slice a turn: a wake and long requests take turns, and where the turn was long without them
 * they have the next one. */
static void run_slice(struct wm_api *a)
{
	bool wake = !TAILQ_EMPTY(&a->dirty), longs = !TAILQ_EMPTY(&a->longs);
	bool odd = wm_loop_turns(a->d.loop) & 1;

	if ((wake || longs) && a->late_turn + 1 != wm_loop_turns(a->d.loop) &&
	    wm_loop_took(a->d.loop, WM_API_SLICE_MS)) {
		a->late_turn = wm_loop_turns(a->d.loop);
		wm_loop_again(a->d.loop);
		return;
	}
	if (!wake || !longs || odd)
		wm_blocking_wake(a);
	if (!wake || (longs && !odd))
		wm_longs_run(a);
	if (wake && !TAILQ_EMPTY(&a->longs)) /* what the wake put off begins in the next */
		wm_loop_again(a->d.loop);
}

static bool on_turn_end(void *arg)
{
	struct wm_api *a = arg;

	wm_respond_writes(a);
	run_slice(a);
	wm_events_send(arg);
	wm_flow_streams_send(arg);
	return false; /* answers make no work for the hooks before */
}

struct wm_api *wm_api_new(const struct wm_api_deps *d)
{
	struct wm_api *a = calloc(1, sizeof(*a));

	if (!a)
		return NULL;
	measure_heads();
	a->d = *d;
	if (!a->d.watchers_max)
		a->d.watchers_max = WM_API_WATCHERS_MAX;
	a->start_ms = wm_clock_ms();
	a->hot_before = wm_kernel_hot(a);
	wm_longs_init(a);
	if (!a->d.rendered_max)
		a->d.rendered_max = WM_API_RENDERED_MAX;
	if (d->sync && wm_sync_partial(d->sync))
		a->d.rendered_max = 1; /* none: each question is to be seen */
	if (wm_rendered_init(a) || wm_respond_init(a) || wm_blocking_init(a) || wm_events_init(a) ||
	    wm_connect_init(a) || wm_snapshots_init(a) || wm_flow_streams_init(a) ||
	    wm_loop_on_turn_end(d->loop, WM_HOOK_ANSWER, on_turn_end, a)) {
		wm_api_free(a);
		return NULL;
	}
	if (d->sync) /* which ends before us */
		wm_sync_serve(d->sync, wm_api_handle, a);
	return a;
}

void wm_api_free(struct wm_api *a)
{
	if (!a)
		return;
	wm_blocking_done(a);
	wm_events_done(a);
	wm_flow_streams_done(a);
	wm_connect_done(a);
	wm_snapshots_done(a);
	wm_respond_done(a);
	wm_statistics_done(a);
	wm_longs_done(a);
	wm_rendered_done(a);
	free(a);
}

void wm_api_set_server(struct wm_api *a, struct wm_http_server *s)
{
	a->server = s;
	wm_rendered_serve(a, s);
}

void wm_api_set_plane(struct wm_api *a, struct wm_plane *p, const char *plane_error)
{
	a->d.plane = p;
	a->d.plane_error = plane_error;
}

const uint64_t *wm_api_counters(const struct wm_api *a)
{
	return a->counters;
}
