/* SPDX-License-Identifier: Apache-2.0 */
/* node.c - what clients ask about a node and about the agent on it. */
#include "internal.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wm_agent_version(struct wm_call *c)
{
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "SHA", "");
	wm_json_ks(&j, "BuildDate", "1970-01-01T00:00:01Z");
	wm_json_ks(&j, "HumanVersion", c->api->d.version);
	wm_json_ks(&j, "FIPS", "");
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

/* --- health of this agent's services ---------------------------------------------------------- */
/* What clients make of checks: maintenance counts more than any state. They know it by its id. */
static bool in_maintenance(const struct wm_instance *i)
{
	const size_t prefix = sizeof(WM_SERVICE_MAINTENANCE_ID) - 1;

	for (unsigned n = 0; n < i->checks_count; n++) {
		const char *id = i->checks[n]->id;

		if (strcmp(id, WM_NODE_MAINTENANCE_ID) == 0 ||
		    strncmp(id, WM_SERVICE_MAINTENANCE_ID, prefix) == 0)
			return true;
	}
	return false;
}

static const char *word_of(const struct wm_encode *e, const struct wm_instance *i)
{
	return in_maintenance(e->checks) || in_maintenance(i) ? "maintenance"
							      : wm_status_str(i->status);
}

static int status_code(enum wm_status s)
{
	return s == WM_PASSING ? 200 : s == WM_WARNING ? 429 : 503;
}

#define REASON_MAX (WM_API_PARAM_MAX + 64)

/* Why it is not 200. @return the text, in @p text. */
static const char *make_reason(const char *before, const char *what, const char *after,
			       char text[REASON_MAX])
{
	snprintf(text, REASON_MAX, "%s%s%s", before, what, after);
	/* an id holds no control characters, but a path may */
	for (char *p = text; *p; p++)
		*p = (char)((unsigned char)*p < 0x20 || *p == 0x7f ? '?' : *p);
	return text;
}

static void tell_reason(struct wm_call *c, const char *reason)
{
	if (*reason)
		wm_http_set_header(c->req, "X-Consul-Reason", reason);
}

/* format=text, or a client that accepts that only: the word alone. @return true when it was
 * answered. */
static bool answer_word(struct wm_call *c, int status, const char *word, const char *reason)
{
	const char *format = wm_http_query(c->req, "format");
	const char *accept = wm_http_header(c->req, "Accept");

	if (format && *format && strcmp(format, "json") != 0 && strcmp(format, "text") != 0) {
		wm_answer_text(c, 400, "format: json or text");
		return true;
	}
	if ((!format || strcmp(format, "text") != 0) &&
	    (!accept || strncmp(accept, "text/plain", 10) != 0))
		return false;
	tell_reason(c, reason);
	wm_answer_word(c, status, word);
	return true;
}

static void put_health(struct wm_json *j, const struct wm_encode *e, const struct wm_instance *i)
{
	const struct wm_instance *const both[] = {e->checks, i};
	const struct wm_check *all[WM_API_CHECKS_MAX];
	unsigned count;

	wm_json_open(j, '{');
	wm_json_ks(j, "AggregatedStatus", word_of(e, i));
	wm_json_key(j, "Service");
	wm_encode_agent_service(j, e, i, NULL);
	wm_json_kopen(j, "Checks", '[');
	for (unsigned k = 0; k < WM_ARRAY_LEN(both); k++) {
		count = wm_sorted_checks(both[k], all);
		for (unsigned n = 0; n < count; n++)
			wm_encode_agent_check(j, e, all[n]);
	}
	wm_json_close(j, ']');
	wm_json_close(j, '}');
}

void wm_agent_health_id(struct wm_call *c)
{
	const struct wm_instance *i = wm_registry_instance(c->api->d.registry, c->params[0]);
	struct wm_encode e = wm_encode_of(c->api);
	char text[REASON_MAX] = "";
	const char *word;
	struct wm_json j;

	if (i && !wm_is_agents(i))
		i = NULL;
	word = i ? word_of(&e, i) : make_reason("ServiceId ", c->params[0], " not found", text);
	if (i && i->status != WM_PASSING)
		make_reason("", word, "", text);
	if (answer_word(c, i ? status_code(i->status) : 404, word, text))
		return;
	tell_reason(c, text);
	wm_answer_begin(c, &j);
	if (i) {
		put_health(&j, &e, i);
	} else {
		wm_json_open(&j, '{');
		wm_json_ks(&j, "AggregatedStatus", "critical");
		wm_json_key(&j, "Service");
		wm_json_null(&j);
		wm_json_key(&j, "Checks");
		wm_json_null(&j);
		wm_json_close(&j, '}');
	}
	wm_answer_end_with(c, &j, 0, i ? status_code(i->status) : 404);
}

/* The worst of a service's instances here: its word, and as the answer's status. @return 404: there
 * is none. */
static int worst_of(const struct wm_encode *e, const struct wm_service *s,
		    const struct wm_instance **all, const char **ret_word)
{
	const struct wm_instance *worst = NULL;

	for (unsigned i = 0; s && i < s->instances_count; i++) {
		if (wm_is_agents(all[i]) &&
		    (!worst || status_code(all[i]->status) > status_code(worst->status)))
			worst = all[i];
	}
	*ret_word = worst ? word_of(e, worst) : NULL;
	return worst ? status_code(worst->status) : 404;
}

void wm_agent_health_name(struct wm_call *c)
{
	const struct wm_service *s = wm_registry_service(c->api->d.registry, c->params[0]);
	_cleanup_free_ const struct wm_instance **all = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	char text[REASON_MAX] = "";
	const char *word;
	struct wm_json j;
	int status;

	if (!wm_instances_near(c, s, NULL, &all))
		return;
	status = worst_of(&e, s, all, &word);
	if (status == 404)
		word = make_reason("ServiceName ", c->params[0], " Not Found", text);
	else if (status != 200)
		make_reason("", word, "", text);
	if (answer_word(c, status, word, text))
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; s && i < s->instances_count && !wm_rows_stopped(c); i++) {
		struct wm_filter_row row = wm_filter_row_of(&e, all[i]);

		if (wm_is_agents(all[i]) && wm_row_wanted(c, &j, &row))
			put_health(&j, &e, all[i]);
	}
	wm_json_close(&j, ']');
	if (!wm_rows_unfinished(c))
		tell_reason(c, text);
	wm_answer_rows(c, &j, 0, status);
}

/* --- a node in the catalog -------------------------------------------------------------------- */
static const struct wm_node *find_node(const struct wm_call *c, struct wm_encode *e)
{
	const struct wm_node *n = wm_registry_node_named(c->api->d.registry, c->params[0]);

	if (n)
		wm_encode_at(e, n);
	return n;
}

static void put_no_node(struct wm_json *j, char bracket)
{
	if (bracket == '{') {
		wm_json_null(j);
		return;
	}
	wm_json_open(j, '{');
	wm_json_key(j, "Node");
	wm_json_null(j);
	wm_json_kempty(j, "Services", '[');
	wm_json_close(j, '}');
}

/* @p bracket: '{' services by id, '[' a list. */
static void answer_node(struct wm_call *c, const char *key, char bracket)
{
	_cleanup_free_ const struct wm_instance **all = NULL;
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_json j;
	unsigned count;
	uint64_t index;

	if (!wm_params_filter(c, WM_FILTER_SERVICE, &filter) ||
	    wm_api_wait(c, WM_SCOPE_NODE, c->params[0], &index))
		return;
	wm_answer_begin(c, &j);
	if (!find_node(c, &e)) {
		put_no_node(&j, bracket);
		wm_answer_end(c, &j, index);
		return;
	}
	all = wm_sorted_on(c->api, e.node, &count);
	if (!all && wm_map_len(e.node->instances)) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	if (all && bracket == '{')
		wm_sort_keys(c->api, all, count);
	wm_json_open(&j, '{');
	wm_json_key(&j, "Node");
	wm_encode_node(&j, &e);
	wm_json_kopen(&j, key, bracket);
	for (unsigned i = 0; all && i < count; i++) {
		struct wm_filter_row row = wm_filter_row_of(&e, all[i]);

		if (!wm_filter_match(filter, &row) || !wm_row_wanted(c, &j, &row))
			continue;
		if (bracket == '{')
			wm_json_key(&j, all[i]->id);
		wm_encode_service(&j, all[i]);
	}
	wm_json_close(&j, bracket == '{' ? '}' : ']');
	wm_json_close(&j, '}');
	wm_answer_filtered(c, &j, index, filter);
}

void wm_catalog_node(struct wm_call *c)
{
	answer_node(c, "Services", '{');
}

void wm_catalog_node_services(struct wm_call *c)
{
	answer_node(c, "Services", '[');
}

void wm_health_node(struct wm_call *c)
{
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_filter_row row;
	struct wm_check_list list = {0};
	struct wm_json j;
	uint64_t index;
	bool ok = true;

	if (!wm_params_filter(c, WM_FILTER_CHECK, &filter) ||
	    wm_api_wait(c, WM_SCOPE_NODE, c->params[0], &index))
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	if (find_node(c, &e)) {
		row = wm_filter_row_of(&e, NULL);
		ok = wm_check_list_node(&list, &e, filter, NULL);
		wm_check_list_put(c, &j, &e, &list, e.node->self && wm_filter_match(filter, &row));
	}
	free(list.at);
	wm_json_close(&j, ']');
	if (ok)
		wm_answer_filtered(c, &j, index, filter);
	else
		wm_answer_text(c, 503, "Out of memory");
}

/* Fabio and others watch a key; one that is answered at once would be asked for at once again. */
void wm_kv_get(struct wm_call *c)
{
	bool keys = wm_http_query(c->req, "keys") != NULL;
	struct wm_json j;
	uint64_t index;

	if (!*c->params[0] && !keys && !wm_http_query(c->req, "recurse")) {
		wm_answer_text(c, 400, "Missing key name");
		return;
	}
	if (wm_api_wait(c, WM_SCOPE_NODES, NULL, &index))
		return;
	if (*c->params[0] || !keys) {
		wm_answer_not_found(c, index);
		return;
	}
	wm_answer_begin(c, &j); /* of the root there is always a list */
	wm_json_open(&j, '[');
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
}
