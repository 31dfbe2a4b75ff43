/* SPDX-License-Identifier: Apache-2.0 */
/* params.c - parameters of the query that many reads take, with Consul's texts. A parameter that
 * would change the answer and that we cannot honour is refused, never ignored. */
#include "internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/duration.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"
#include "userspace/model/scope.h"
#include "userspace/sync/sync.h"

#include <errno.h>
#include <string.h>
#include <strings.h>

static bool parse_index(const char *s, uint64_t *ret)
{
	uint64_t n = 0;

	if (!*s)
		return false;
	for (; *s; s++) {
		if (*s < '0' || *s > '9' || __builtin_mul_overflow(n, 10, &n) ||
		    __builtin_add_overflow(n, (uint64_t)(*s - '0'), &n))
			return false;
	}
	*ret = n;
	return true;
}

/* index and wait. The real limit has a random part, so that many who began together do not come
 * back together. */
static bool read_blocking(struct wm_call *c)
{
	const char *index = wm_http_query(c->req, "index"), *wait = wm_http_query(c->req, "wait");
	bool replicated = wait && wm_http_method(c->req) != WM_GET && !strcmp(wait, "replicated");
	int64_t ns = 0;

	c->index = 0;
	if (index && *index && !parse_index(index, &c->index)) {
		wm_answer_text(c, 400, "Invalid index");
		return false;
	}
	if (wait && *wait && !replicated && wm_duration_parse(wait, &ns)) {
		wm_answer_text(c, 400, "Invalid wait time");
		return false;
	}
	c->wait_ms = ns > 0 ? (uint64_t)ns / WM_NS_PER_MS : WM_API_WAIT_DEFAULT_MS;
	if (c->wait_ms > WM_API_WAIT_MAX_MS)
		c->wait_ms = WM_API_WAIT_MAX_MS;
	if (c->wait_ms / 16 && wm_http_method(c->req) == WM_GET) /* writes wait for the store */
		c->wait_ms += wm_random_below(c->wait_ms / 16);
	return true;
}

/* How old an answer may be, for refuse_old(). Cache-Control is only judged: it counts where the
 * answer may come from a cache; a browser that forces a reload sends "max-age=0", others things we
 * do not know. */
static bool read_age(struct wm_call *c, uint64_t *ret_max_ms)
{
	const char *max_stale = wm_http_query(c->req, "max_stale");
	const char *control = wm_http_header(c->req, "Cache-Control");
	static const char *const ages[] = {"max-age=", "stale-if-error="};
	int64_t ns;

	*ret_max_ms = UINT64_MAX;
	if (max_stale && *max_stale) {
		if (wm_duration_parse(max_stale, &ns)) {
			wm_answer_text(c, 400, "Invalid max_stale value \"%.64s\"", max_stale);
			return false;
		}
		c->stale |= ns > 0;
		*ret_max_ms = ns > 0 ? (uint64_t)ns / WM_NS_PER_MS : 0;
	}
	while (c->cached && control && *control) {
		size_t len;

		control += strspn(control, ", \t");
		len = strcspn(control, ",");
		for (unsigned i = 0; i < WM_ARRAY_LEN(ages); i++) {
			size_t name = strlen(ages[i]);
			size_t digits = len > name ? strspn(control + name, "0123456789") : 0;

			if (strncasecmp(control, ages[i], name) != 0)
				continue;
			if (!digits || digits > 9 ||
			    name + digits + strspn(control + name + digits, " \t") < len) {
				wm_answer_text(c, 400, "Invalid Cache-Control header.");
				return false;
			}
		}
		control += len;
	}
	return true;
}

/* An agent of a mesh answers of what it has, which is all that others had a moment ago. One that
 * hears of nobody says so in headers, as a Consul that knows no leader does of stale answers; who
 * asks for a consistent one, or for none that old, is told what such a Consul says. */
static bool refuse_old(struct wm_call *c, uint64_t max_ms)
{
	struct wm_sync_contact is;

	if ((!c->consistent && max_ms == UINT64_MAX) || wm_http_method(c->req) != WM_GET ||
	    (strncmp(c->route->pattern, "/v1/health/", 11) != 0 &&
	     strncmp(c->route->pattern, "/v1/catalog/", 12) != 0))
		return false;
	wm_contact(c->api, &is);
	if (is.known || (!c->consistent && is.ms <= max_ms))
		return false;
	wm_answer_text(c, 500, "No cluster leader");
	return true;
}

/* Features of Consul Enterprise: the text is what clients know. */
static bool refuse_enterprise(struct wm_call *c, const char *param, const char *header,
			      const char *feature)
{
	const char *v = wm_http_query(c->req, param);

	if (!v || !*v)
		v = wm_http_header(c->req, header);
	if (!v || !*v || strcmp(v, "default") == 0)
		return false;
	wm_answer_text(c, 400,
		       "Invalid query parameter: \"%s\" - %s are a Consul Enterprise feature",
		       param, feature);
	return true;
}

/* Of the routes that look a service up by its name. */
static bool looks_up(const struct wm_route *r)
{
	static const char *const patterns[] = {
		"/v1/health/service/:name",  "/v1/health/connect/:name",
		"/v1/health/checks/:name",   "/v1/catalog/service/:name",
		"/v1/catalog/connect/:name", "/v1/agent/health/service/name/:name"};

	for (unsigned i = 0; i < WM_ARRAY_LEN(patterns); i++) {
		if (strcmp(r->pattern, patterns[i]) == 0)
			return true;
	}
	return false;
}

/* Of those that tell of services, each with its name. */
static bool lists(const struct wm_route *r)
{
	return r->fn == wm_catalog_services || r->fn == wm_agent_services ||
	       r->fn == wm_agent_checks;
}

/* ?ns is the scope of the service that is looked up, or of those that are listed. Clients send
 * "default" where they mean nothing by it: the scope of that name only if it has the service. */
static bool read_scope(struct wm_call *c)
{
	const char *ns = wm_http_query(c->req, "ns");
	bool up = looks_up(c->route), any, list = lists(c->route);
	char key[WM_API_PARAM_MAX];

	if (!ns || !*ns)
		ns = wm_http_header(c->req, "X-Consul-Namespace");
	if (!ns || !*ns)
		return true;
	any = strcmp(ns, "default") == 0;
	if (any && !up)
		return true;
	if (!up && !list)
		return !refuse_enterprise(c, "ns", "X-Consul-Namespace", "Namespaces");
	if (!wm_scope_valid(ns)) {
		wm_answer_text(c, 400,
			       "Invalid query parameter: \"ns\" - \"%.64s\" is no DNS label", ns);
		return false;
	}
	c->scope = ns;
	if (list || !*c->params[0])
		return true;
	if (wm_scope_join(key, sizeof(key), ns, c->params[0]) < 0) {
		wm_answer_text(c, 400, "The name of the service is too long");
		return false;
	}
	if (!any || wm_registry_service(c->api->d.registry, key))
		strcpy(c->params[0], key);
	return true;
}

bool wm_params_common(struct wm_call *c)
{
	const char *dc = wm_http_query(c->req, "dc");
	uint64_t max_ms;

	c->pretty = wm_http_query(c->req, "pretty") != NULL;
	c->stale = wm_http_query(c->req, "stale") != NULL;
	c->consistent = wm_http_query(c->req, "consistent") != NULL;
	c->cached = wm_http_query(c->req, "cached") != NULL;
	if (!read_age(c, &max_ms))
		return false;
	if (c->stale && c->consistent) {
		wm_answer_text(c, 400,
			       "Cannot specify ?stale with ?consistent, conflicting semantics.");
		return false;
	}
	if (c->cached && c->consistent) {
		wm_answer_text(c, 400,
			       "Cannot specify ?cached with ?consistent, conflicting semantics.");
		return false;
	}
	if (!read_scope(c) || refuse_enterprise(c, "partition", "X-Consul-Partition", "Partitions"))
		return false;
	if (dc && *dc && strcasecmp(dc, wm_registry_datacenter(c->api->d.registry)) != 0) {
		wm_answer_text(c, 500, "No path to datacenter");
		return false;
	}
	return !refuse_old(c, max_ms) && read_blocking(c);
}

bool wm_params_number(struct wm_call *c, const char *name, uint64_t least, uint64_t most,
		      uint64_t *ret)
{
	const char *text = wm_http_query(c->req, name);
	uint64_t n;

	if (!text)
		return true;
	if (parse_index(text, &n) && n >= least && n <= most) {
		*ret = n;
		return true;
	}
	wm_answer_text(c, 400, "%s: a number from %llu to %llu", name, (unsigned long long)least,
		       (unsigned long long)most);
	return false;
}

bool wm_params_passing(struct wm_call *c, bool *ret)
{
	static const char *const yes[] = {"", "1", "t", "T", "TRUE", "true", "True"};
	static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
	const char *v = wm_http_query(c->req, "passing");

	*ret = false;
	for (unsigned i = 0; v && i < WM_ARRAY_LEN(yes); i++) {
		if (strcmp(v, yes[i]) == 0) {
			*ret = true;
			return true;
		}
	}
	for (unsigned i = 0; v && i < WM_ARRAY_LEN(no); i++) {
		if (strcmp(v, no[i]) == 0)
			return true;
	}
	if (v)
		wm_answer_text(c, 400, "Invalid value for ?passing");
	return !v;
}

bool wm_params_tags(const struct wm_call *c, const struct wm_instance *i)
{
	const char *name, *value;
	size_t pos = 0;

	while (wm_http_query_next(c->req, &pos, &name, &value)) {
		if (strcmp(name, "tag") == 0 && *value && !wm_instance_has_tag(i, value))
			return false;
	}
	return true;
}

/* "key:value", or "key" for an empty value. */
static bool has_meta(const struct wm_node *n, const char *pair)
{
	size_t key = strcspn(pair, ":");
	const char *value = pair[key] ? pair + key + 1 : "";

	for (unsigned i = 0; i < n->meta_count; i++) {
		if (strlen(n->meta[i].key) == key && memcmp(n->meta[i].key, pair, key) == 0)
			return strcmp(n->meta[i].value, value) == 0;
	}
	return false;
}

bool wm_params_node(const struct wm_call *c, const struct wm_node *n)
{
	const char *name, *value;
	size_t pos = 0;

	while (wm_http_query_next(c->req, &pos, &name, &value)) {
		if (strcmp(name, "node-meta") == 0 && *value && !has_meta(n, value))
			return false;
	}
	return true;
}

/* Consul answers a bad expression with 500, and clients know the text. */
bool wm_params_filter(struct wm_call *c, enum wm_filter_kind kind, struct wm_filter **ret_filter)
{
	const char *text = wm_http_query(c->req, "filter");
	struct wm_err e = {0};

	*ret_filter = c->rest ? c->rest->filter : NULL;
	if (c->rest || !text || !*text)
		return true;
	if (!wm_filter_compile(text, kind, ret_filter, &e)) {
		wm_filter_begin(*ret_filter, wm_slice_ns(c->api, wm_loop_tired(c->api->d.loop)),
				wm_registry_index(c->api->d.registry));
		return true;
	}
	wm_answer_text(c, e.code == WM_E_LIMIT ? 400 : 500,
		       "Failed to create boolean expression evaluator: %s", e.text);
	return false;
}

void wm_answer_filtered(struct wm_call *c, struct wm_json *j, uint64_t index, struct wm_filter *f)
{
	switch (wm_filter_end(f)) {
	case WM_FILTER_DONE:
		if (wm_rows_unfinished(c))
			wm_long_keep(c, f);
		else
			wm_answer_end(c, j, index);
		return;
	case WM_FILTER_PAUSED:
	case WM_FILTER_JUDGED:
		wm_long_keep(c, f);
		return;
	case WM_FILTER_SPENT:
		c->api->counters[WM_API_FILTER_SPENT]++;
		wm_answer_text(c, 503,
			       "filter: it takes more than %d ms of the agent's time (of %u "
			       "instances): ask for fewer rows, or for what is indexed",
			       WM_FILTER_TIME_MS, wm_registry_instances(c->api->d.registry));
		return;
	case WM_FILTER_EXCEEDED:
		wm_answer_text(c, 400,
			       "filter: a regular expression that needs more than %d steps in one "
			       "value",
			       WM_REGEX_EFFORT);
		return;
	}
}

void wm_answer_rows(struct wm_call *c, struct wm_json *j, uint64_t index, int status)
{
	if (wm_rows_unfinished(c))
		wm_long_keep(c, NULL);
	else
		wm_answer_end_with(c, j, index, status);
}

struct wm_filter_row wm_filter_row_of(const struct wm_encode *e, const struct wm_instance *i)
{
	const struct wm_node *n = i ? i->node : e->node;

	return (struct wm_filter_row){
		.datacenter = e->datacenter, .node = n, .instance = i, .holder = n->holder};
}
