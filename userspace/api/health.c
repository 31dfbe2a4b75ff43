/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - handlers of /v1/health. */
#include "internal.h"
#include "userspace/base/macros.h"

#include <string.h>

void wm_health_service(struct wm_call *c)
{
	const struct wm_service *s;
	_cleanup_free_ const struct wm_instance **all = NULL;
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	const struct wm_node *from;
	struct wm_json j;
	uint64_t index;
	bool passing;

	if (!wm_params_passing(c, &passing) || !wm_params_near(c, &from) ||
	    !wm_params_filter(c, WM_FILTER_HEALTH_SERVICE, &filter) ||
	    wm_api_wait(c, WM_SCOPE_SERVICE, c->params[0], &index))
		return;
	s = wm_registry_service(c->api->d.registry, c->params[0]);
	if (!wm_instances_near(c, s, from, &all))
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; s && i < s->instances_count; i++) {
		struct wm_filter_row row = wm_filter_row_of(&e, all[i]);

		/* what takes no new connections is passed over as what is not passing is */
		if ((!passing || (all[i]->status == WM_PASSING && wm_instance_usable(all[i]))) &&
		    wm_params_tags(c, all[i]) && wm_params_node(c, all[i]->node) &&
		    wm_filter_match(filter, &row) && wm_row_wanted(c, &j, &row))
			wm_encode_health_entry(&j, &e, all[i]);
	}
	wm_json_close(&j, ']');
	wm_answer_filtered(c, &j, index, filter);
}

void wm_put_checks(struct wm_json *j, const struct wm_encode *e, const struct wm_instance *i,
		   struct wm_filter *f, const enum wm_status *status)
{
	struct wm_filter_row row = wm_filter_row_of(e, i);

	for (unsigned n = 0; n < i->checks_count; n++) {
		row.check = i->checks[n];
		if ((!status || row.check->status == *status) && wm_filter_match(f, &row))
			wm_encode_check(j, e, row.check);
	}
}

/* Consul's proxies that stand for a service: there are none, and never will be one to wait for. */
void wm_health_connect(struct wm_call *c)
{
	const struct wm_node *from;
	struct wm_json j;
	uint64_t index;
	bool passing;

	if (!wm_params_passing(c, &passing) || !wm_params_near(c, &from) ||
	    wm_api_wait(c, WM_SCOPE_NODES, NULL, &index))
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
}

void wm_health_checks(struct wm_call *c)
{
	const struct wm_service *s;
	_cleanup_free_ const struct wm_instance **all = NULL;
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	const struct wm_node *from;
	struct wm_json j;
	uint64_t index;

	if (!wm_params_near(c, &from) || !wm_params_filter(c, WM_FILTER_CHECK, &filter) ||
	    wm_api_wait(c, WM_SCOPE_SERVICE, c->params[0], &index))
		return;
	s = wm_registry_service(c->api->d.registry, c->params[0]);
	if (!wm_instances_near(c, s, from, &all))
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; s && i < s->instances_count; i++) {
		if (wm_params_node(c, all[i]->node))
			wm_put_checks(&j, &e, all[i], filter, NULL);
	}
	wm_json_close(&j, ']');
	wm_answer_filtered(c, &j, index, filter);
}

/* Checks of a node and of what is on it. */
static void put_state(struct wm_json *j, const struct wm_encode *e, struct wm_filter *f,
		      const enum wm_status *status)
{
	struct wm_filter_row row = wm_filter_row_of(e, NULL);
	const struct wm_instance *i;
	size_t pos = 0;

	if (e->node->self && (!status || *status == WM_PASSING) && wm_filter_match(f, &row))
		wm_encode_node_check(j, e);
	wm_put_checks(j, e, e->checks, f, status);
	while ((i = wm_node_next_instance(e->node, &pos)))
		wm_put_checks(j, e, i, f, status);
}

/* A state that does not exist has no checks, as in Consul. */
void wm_health_state(struct wm_call *c)
{
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	_cleanup_free_ const struct wm_node **nodes = NULL;
	bool any = strcmp(c->params[0], "any") == 0;
	enum wm_status wanted = WM_PASSING;
	bool known = any || !wm_status_parse(c->params[0], &wanted);
	const struct wm_node *from;
	struct wm_json j;
	unsigned count;
	uint64_t index;

	if (!wm_params_near(c, &from) || !wm_params_filter(c, WM_FILTER_CHECK, &filter) ||
	    wm_api_wait(c, WM_SCOPE_CHECKS, NULL, &index))
		return;
	nodes = wm_sorted_nodes(c->api->d.registry, &count);
	if (!nodes) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_near_sort_nodes(from, nodes, count);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned n = 0; known && n < count; n++) {
		wm_encode_at(&e, nodes[n]);
		if (wm_params_node(c, nodes[n]))
			put_state(&j, &e, filter, any ? NULL : &wanted);
	}
	wm_json_close(&j, ']');
	wm_answer_filtered(c, &j, index, filter);
}
