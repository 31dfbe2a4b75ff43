/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - handlers of /v1/health. */
#include "internal.h"

#include <string.h>

void wm_health_service(struct wm_call *c)
{
	const struct wm_service *s;
	_cleanup_free_ const struct wm_instance **all = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_json j;
	uint64_t index;
	bool passing;

	if (!wm_params_passing(c, &passing) ||
	    wm_api_wait(c, WM_SCOPE_SERVICE, c->params[0], &index))
		return;
	s = wm_registry_service(c->api->d.registry, c->params[0]);
	all = wm_sorted_instances(s);
	if (s && s->instances_count && !all) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; s && i < s->instances_count; i++) {
		if ((!passing || all[i]->status == WM_PASSING) && wm_params_tags(c, all[i]) &&
		    wm_params_node(c, all[i]->node))
			wm_encode_health_entry(&j, &e, all[i]);
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
}

/* Consul's proxies that stand for a service: there are none, and never will be one to wait for. */
void wm_health_connect(struct wm_call *c)
{
	struct wm_json j;
	uint64_t index;
	bool passing;

	if (!wm_params_passing(c, &passing) || wm_api_wait(c, WM_SCOPE_NODES, NULL, &index))
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
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_json j;
	uint64_t index;

	if (wm_api_wait(c, WM_SCOPE_SERVICE, c->params[0], &index))
		return;
	s = wm_registry_service(c->api->d.registry, c->params[0]);
	all = wm_sorted_instances(s);
	if (s && s->instances_count && !all) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; s && i < s->instances_count; i++) {
		for (unsigned n = 0; n < all[i]->checks_count; n++)
			wm_encode_check(&j, &e, all[i]->checks[n]);
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
}

/* A state that does not exist has no checks, as in Consul. */
void wm_health_state(struct wm_call *c)
{
	struct wm_encode e = wm_encode_of(c->api);
	bool any = strcmp(c->params[0], "any") == 0;
	enum wm_status wanted = WM_PASSING;
	bool known = any || !wm_status_parse(c->params[0], &wanted);
	const struct wm_instance *i = e.checks;
	struct wm_json j;
	uint64_t index;
	size_t pos = 0;

	if (wm_api_wait(c, WM_SCOPE_CHECKS, NULL, &index))
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	if (known && (any || wanted == WM_PASSING))
		wm_encode_node_check(&j, &e);
	for (; known && i; i = wm_registry_next_instance(c->api->d.registry, &pos)) {
		for (unsigned n = 0; n < i->checks_count; n++) {
			if (any || i->checks[n]->status == wanted)
				wm_encode_check(&j, &e, i->checks[n]);
		}
	}
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
}
