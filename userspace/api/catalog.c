/* SPDX-License-Identifier: Apache-2.0 */
/* catalog.c - handlers of /v1/catalog. */
#include "internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"
#include "userspace/model/scope.h"

#include <stdlib.h>
#include <string.h>

void wm_catalog_datacenters(struct wm_call *c)
{
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	wm_json_string(&j, wm_registry_datacenter(c->api->d.registry));
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, 0);
}

void wm_catalog_nodes(struct wm_call *c)
{
	_cleanup_filter_ struct wm_filter *filter = NULL;
	_cleanup_free_ const struct wm_node **all = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	const struct wm_node *from;
	struct wm_json j;
	uint64_t index;
	unsigned count;

	if (!wm_params_near(c, &from) || !wm_params_filter(c, WM_FILTER_NODE, &filter) ||
	    wm_api_wait(c, WM_SCOPE_NODES, NULL, &index))
		return;
	all = wm_sorted_nodes(c, from, &count);
	if (!all)
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; i < count; i++) {
		struct wm_filter_row row;

		wm_encode_at(&e, all[i]);
		row = wm_filter_row_of(&e, NULL);
		if (wm_params_node(c, e.node) && wm_filter_match(filter, &row) &&
		    wm_row_wanted(c, &j, &row))
			wm_encode_node(&j, &e);
	}
	wm_json_close(&j, ']');
	wm_answer_filtered(c, &j, index, filter);
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* A name as instances were registered with it: Web and web are two, and one service. */
struct spelling {
	const char *name;
	const struct wm_service *service;
};
struct spellings {
	struct spelling *at;
	size_t count, cap;
};

static bool add_spelling(struct spellings *all, const char *name, const struct wm_service *s)
{
	if (all->count == all->cap) {
		size_t cap = all->cap ? all->cap * 2 : 64;
		struct spelling *next = realloc(all->at, cap * sizeof(*next));

		if (!next)
			return false;
		all->at = next;
		all->cap = cap;
	}
	all->at[all->count++] = (struct spelling){name, s};
	return true;
}

/* Each of a service's once. @return false without memory. */
static bool add_service(struct spellings *all, const struct wm_service *s)
{
	_cleanup_free_ const char **names = NULL;
	unsigned count = 0;
	bool ok = true;

	for (unsigned i = 0; i < s->instances_count; i++)
		count += strcmp(s->instances[i]->name, s->shown) != 0;
	if (!count)
		return add_spelling(all, s->shown, s);
	names = malloc(s->instances_count * sizeof(*names));
	if (!names)
		return false;
	for (unsigned i = 0; i < s->instances_count; i++)
		names[i] = s->instances[i]->name;
	qsort(names, s->instances_count, sizeof(*names), by_text);
	for (unsigned i = 0; i < s->instances_count && ok; i++) {
		if (!i || strcmp(names[i], names[i - 1]) != 0)
			ok = add_spelling(all, names[i], s);
	}
	return ok;
}

static int by_spelling(const void *a, const void *b)
{
	return strcmp(((const struct spelling *)a)->name, ((const struct spelling *)b)->name);
}

/* All names in order. @return false without memory. */
static bool spellings_of(const struct wm_registry *r, struct spellings *all)
{
	const struct wm_service *s;
	size_t pos = 0;

	while ((s = wm_registry_next_service(r, &pos))) {
		if (!add_service(all, s))
			return false;
	}
	if (all->count)
		qsort(all->at, all->count, sizeof(*all->at), by_spelling);
	return true;
}

/* All that such a row is made of. */
static uint64_t row_hash(const struct wm_call *c, const struct spelling *is)
{
	const uint64_t of[] = {(uintptr_t)is->service, is->service->index, c->api->nodes_index};

	return wm_hash(of, sizeof(of)) * 31 + wm_hash(is->name, strlen(is->name));
}

/* "name":[tags of the instances that the filter wants, each once], or nothing if it wants none.
 * @return false without memory. */
static bool put_service_tags(struct wm_json *j, struct wm_call *c, const struct spelling *is,
			     struct wm_filter *f, const struct wm_encode *e)
{
	_cleanup_free_ const struct wm_instance **wanted = NULL;
	_cleanup_free_ const char **tags = NULL;
	const struct wm_service *s = is->service;
	size_t total = 0, n = 0;
	unsigned count = 0;
	/* may it be that none is wanted? A row is never empty, so all are asked first */
	bool asked = f || wm_http_query(c->req, "node-meta");

	if (!asked && !wm_row_wanted_of(c, j, row_hash(c, is)))
		return true;
	wanted = malloc((s->instances_count + 1) * sizeof(struct wm_instance *));
	if (!wanted)
		return false;
	for (unsigned i = 0; i < s->instances_count; i++) {
		struct wm_filter_row row = wm_filter_row_of(e, s->instances[i]);

		if (strcmp(s->instances[i]->name, is->name) != 0 || !wm_params_node(c, row.node) ||
		    !wm_filter_match(f, &row))
			continue;
		wanted[count++] = s->instances[i];
		total += s->instances[i]->tags_count;
	}
	if (!count || (asked && !wm_row_wanted_of(c, j, row_hash(c, is))))
		return true;
	wm_json_kopen(j, c->scope ? wm_scope_bare(is->name) : is->name, '[');
	if (total) {
		tags = malloc(total * sizeof(*tags));
		if (!tags)
			return false;
		for (unsigned i = 0; i < count; i++) {
			for (unsigned t = 0; t < wanted[i]->tags_count; t++)
				tags[n++] = wanted[i]->tags[t];
		}
		qsort(tags, n, sizeof(*tags), by_text);
		for (size_t i = 0; i < n; i++) {
			if (!i || strcmp(tags[i], tags[i - 1]) != 0)
				wm_json_string(j, tags[i]);
		}
	}
	wm_json_close(j, ']');
	return true;
}

void wm_catalog_services(struct wm_call *c)
{
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	struct spellings all = {0};
	struct wm_json j;
	uint64_t index;
	bool ok;

	if (!wm_params_filter(c, WM_FILTER_CATALOG_SERVICE, &filter) ||
	    wm_api_wait(c, WM_SCOPE_CATALOG, NULL, &index))
		return;
	ok = spellings_of(c->api->d.registry, &all);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	for (size_t i = 0; i < all.count && ok; i++) {
		if (!c->scope || wm_scope_is(all.at[i].name, c->scope))
			ok = put_service_tags(&j, c, &all.at[i], filter, &e);
	}
	wm_json_close(&j, '}');
	free(all.at);
	if (ok)
		wm_answer_filtered(c, &j, index, filter);
	else
		wm_answer_text(c, 503, "Out of memory");
}

/* What /v1/catalog/service/:name answers with, of @p all. */
static void answer_instances(struct wm_call *c, const struct wm_instance **all, unsigned count,
			     uint64_t index, struct wm_filter *filter)
{
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_json j;

	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned i = 0; i < count; i++) {
		struct wm_filter_row row = wm_filter_row_of(&e, all[i]);

		if (wm_params_tags(c, all[i]) && wm_params_node(c, all[i]->node) &&
		    wm_filter_match(filter, &row) && wm_row_wanted(c, &j, &row))
			wm_encode_catalog_entry(&j, &e, all[i]);
	}
	wm_json_close(&j, ']');
	wm_answer_filtered(c, &j, index, filter);
}

void wm_catalog_service(struct wm_call *c)
{
	_cleanup_free_ const struct wm_instance **all = NULL;
	_cleanup_filter_ struct wm_filter *filter = NULL;
	const struct wm_service *s;
	const struct wm_node *from;
	uint64_t index;

	if (!wm_params_near(c, &from) || !wm_params_filter(c, WM_FILTER_CATALOG_SERVICE, &filter) ||
	    wm_api_wait(c, WM_SCOPE_SERVICE, c->params[0], &index))
		return;
	s = wm_registry_service(c->api->d.registry, c->params[0]);
	if (wm_instances_near(c, s, from, &all))
		answer_instances(c, all, s ? s->instances_count : 0, index, filter);
}

void wm_catalog_connect(struct wm_call *c)
{
	_cleanup_free_ const struct wm_instance **all = NULL;
	_cleanup_filter_ struct wm_filter *filter = NULL;
	const struct wm_node *from;
	unsigned count;
	uint64_t index;

	if (!wm_params_near(c, &from) || !wm_params_filter(c, WM_FILTER_CATALOG_SERVICE, &filter) ||
	    wm_api_wait(c, WM_SCOPE_CATALOG, NULL, &index))
		return;
	if (wm_connect_near(c, from, &all, &count))
		answer_instances(c, all, count, index, filter);
}
