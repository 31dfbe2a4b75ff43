/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - handlers of /v1/health. */
#include "internal.h"
#include "userspace/base/macros.h"

#include <stdlib.h>
#include <string.h>

/* What a list of entries is made of. */
struct entries {
	const struct wm_instance **all;
	unsigned count;
	bool passing;
	const struct wm_node *from;
	struct wm_filter *filter;
	uint64_t index;
};

/* ?passing, ?near and ?filter; then true if the handler must return. */
static bool begin_entries(struct wm_call *c, enum wm_scope scope, struct entries *ret)
{
	return !wm_params_passing(c, &ret->passing) || !wm_params_near(c, &ret->from) ||
	       !wm_params_filter(c, WM_FILTER_HEALTH_SERVICE, &ret->filter) ||
	       wm_api_wait(c, scope, c->params[0], &ret->index);
}

static void answer_entries(struct wm_call *c, const struct entries *of)
{
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned n = 0; n < of->count; n++) {
		const struct wm_instance *i = of->all[n];
		struct wm_filter_row row = wm_filter_row_of(&e, i);

		/* what takes no new connections is passed over as what is not passing is */
		if ((!of->passing ||
		     (i->status == WM_PASSING && wm_instance_usable(i) && !i->passive)) &&
		    wm_params_tags(c, i) && wm_params_node(c, i->node) &&
		    wm_filter_match(of->filter, &row) && wm_row_wanted(c, &j, &row))
			wm_encode_health_entry(&j, &e, i);
	}
	wm_json_close(&j, ']');
	wm_answer_filtered(c, &j, of->index, of->filter);
}

static void end_entries(struct entries *of)
{
	wm_filter_freep(&of->filter);
	free(of->all);
}

void wm_health_service(struct wm_call *c)
{
	struct entries of = {0};
	const struct wm_service *s;

	if (!begin_entries(c, WM_SCOPE_SERVICE, &of)) {
		s = wm_registry_service(c->api->d.registry, c->params[0]);
		of.count = s ? s->instances_count : 0;
		if (wm_instances_near(c, s, of.from, &of.all))
			answer_entries(c, &of);
	}
	end_entries(&of);
}

/* Proxies are instances of whatever services: any change may be one of them. */
void wm_health_connect(struct wm_call *c)
{
	struct entries of = {0};

	if (!begin_entries(c, WM_SCOPE_CHECKS, &of) &&
	    wm_connect_near(c, of.from, &of.all, &of.count))
		answer_entries(c, &of);
	end_entries(&of);
}

static int by_node_and_id(const void *a, const void *b)
{
	const struct wm_check *x = *(const struct wm_check *const *)a;
	const struct wm_check *y = *(const struct wm_check *const *)b;
	const struct wm_node *m = x->instance->node, *n = y->instance->node;
	int cmp = m == n ? 0 : strcmp(m->folded, n->folded);

	return cmp ? cmp : wm_id_order(x->id, y->id);
}

bool wm_check_list_push(struct wm_check_list *l, const struct wm_check *c)
{
	if (l->count == l->cap) {
		size_t cap = l->cap ? l->cap * 2 : 64;
		const struct wm_check **next = realloc(l->at, cap * sizeof(struct wm_check *));

		if (!next)
			return false;
		l->at = next;
		l->cap = cap;
	}
	l->at[l->count++] = c;
	return true;
}

bool wm_check_list_add(struct wm_check_list *l, const struct wm_encode *e,
		       const struct wm_instance *i, struct wm_filter *f,
		       const enum wm_status *status)
{
	struct wm_filter_row row = wm_filter_row_of(e, i);

	for (unsigned n = 0; n < i->checks_count + (unsigned)(i->passive != NULL); n++) {
		row.check = n < i->checks_count ? i->checks[n] : i->passive;
		if ((status && row.check->status != *status) || !wm_filter_match(f, &row))
			continue;
		if (!wm_check_list_push(l, row.check))
			return false;
	}
	return true;
}

bool wm_check_list_node(struct wm_check_list *l, const struct wm_encode *e, struct wm_filter *f,
			const enum wm_status *status)
{
	bool ok = wm_check_list_add(l, e, e->checks, f, status);
	const struct wm_instance *i;
	size_t pos = 0;

	while (ok && (i = wm_node_next_instance(e->node, &pos)))
		ok = wm_check_list_add(l, e, i, f, status);
	return ok;
}

static void sort_checks(void *all, size_t count)
{
	qsort(all, count, sizeof(struct wm_check *), by_node_and_id);
}

static void put_node_check(struct wm_call *c, struct wm_json *j, const struct wm_encode *e)
{
	struct wm_filter_row row = wm_filter_row_of(e, NULL);

	if (wm_row_wanted(c, j, &row))
		wm_encode_node_check(j, e);
}

void wm_check_list_put(struct wm_call *c, struct wm_json *j, const struct wm_encode *e,
		       struct wm_check_list *l, bool serf)
{
	wm_sort_kept(c->api, l->at, l->count, sort_checks);
	for (size_t n = 0; n < l->count && !wm_rows_stopped(c); n++) {
		if (serf && wm_id_order(l->at[n]->id, WM_API_SERF) > 0) {
			put_node_check(c, j, e);
			serf = false;
		}
		if (wm_check_wanted(c, j, l->at[n]))
			wm_encode_check(j, e, l->at[n]);
	}
	if (serf)
		put_node_check(c, j, e);
	l->count = 0;
}

void wm_health_checks(struct wm_call *c)
{
	const struct wm_service *s;
	_cleanup_free_ const struct wm_instance **all = NULL;
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	const struct wm_node *from;
	struct wm_json j;
	struct wm_check_list list = {0};
	uint64_t index;
	bool ok = true;

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
			ok = ok && wm_check_list_add(&list, &e, all[i], filter, NULL);
		if (from) /* the nearest instance first */
			wm_check_list_put(c, &j, &e, &list, false);
	}
	wm_check_list_put(c, &j, &e, &list, false);
	free(list.at);
	wm_json_close(&j, ']');
	if (ok)
		wm_answer_filtered(c, &j, index, filter);
	else
		wm_answer_text(c, 503, "Out of memory");
}

/* A filter is asked about all rows, also of those that are written in another turn. */
static bool enough(const struct wm_call *c, const struct wm_filter *f)
{
	return !f && wm_rows_stopped(c);
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
	struct wm_check_list list = {0};
	unsigned count;
	uint64_t index;
	bool ok = true;

	if (!wm_params_near(c, &from) || !wm_params_filter(c, WM_FILTER_CHECK, &filter) ||
	    wm_api_wait(c, WM_SCOPE_CHECKS, NULL, &index))
		return;
	nodes = wm_sorted_nodes(c, from, &count);
	if (!nodes)
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned n = 0; known && n < count && !enough(c, filter); n++) {
		struct wm_filter_row row;

		wm_encode_at(&e, nodes[n]);
		row = wm_filter_row_of(&e, NULL);
		if (!wm_params_node(c, nodes[n]))
			continue;
		ok = ok && wm_check_list_node(&list, &e, filter, any ? NULL : &wanted);
		wm_check_list_put(c, &j, &e, &list,
				  e.node->self && (any || wanted == WM_PASSING) &&
					  wm_filter_match(filter, &row));
	}
	free(list.at);
	wm_json_close(&j, ']');
	if (ok)
		wm_answer_filtered(c, &j, index, filter);
	else
		wm_answer_text(c, 503, "Out of memory");
}
