/* SPDX-License-Identifier: Apache-2.0 */
/* instances.c - GET /v1/waymark/instances: instances of all services by the filter language, found
 * through the bitmap index, and how such a query is planned. */
#include "internal.h"

#include <stdlib.h>
#include <string.h>

#define LIMIT_DEFAULT 1000  /* instances of an answer: some 500 KiB */
#define LIMIT_MAX     10000 /* the same, at most: some 5 MiB, written in slices */

struct select {
	struct wm_call *c;
	struct wm_json *j;
	const struct wm_api *api;
	struct wm_encode e;
	unsigned left;
	unsigned returned;
};

/* As in Consul's lists, and what we know beside it. */
static void put_entry(struct wm_json *j, struct wm_encode *e, const struct wm_api *a,
		      const struct wm_instance *i)
{
	wm_json_open(j, '{');
	wm_encode_health_members(j, e, i);
	wm_encode_life(j, a, i);
	wm_encode_mesh(j, i);
	wm_json_close(j, '}');
}

static bool put_instance(void *arg, const struct wm_instance *i)
{
	struct select *s = arg;

	struct wm_filter_row row = wm_filter_row_of(&s->e, i);

	if (!s->left)
		return true; /* counted all the same */
	s->left--;
	s->returned++;
	if (wm_row_wanted(s->c, s->j, &row))
		put_entry(s->j, &s->e, s->api, i);
	return true;
}

static bool read_limit(struct wm_call *c, unsigned *ret)
{
	const char *text = wm_http_query(c->req, "limit");
	char *end = NULL;
	unsigned long n = text && *text ? strtoul(text, &end, 10) : LIMIT_DEFAULT;

	if (text && *text && (*end || *text == '-' || !n || n > LIMIT_MAX)) {
		wm_answer_text(c, 400, "limit: a number from 1 to %d", LIMIT_MAX);
		return false;
	}
	*ret = (unsigned)n;
	return true;
}

static bool nothing(void *arg, const struct wm_instance *i)
{
	(void)arg;
	(void)i;
	return true;
}

static void put_term(struct wm_json *j, const struct wm_index_term *t)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "selector", t->selector);
	wm_json_ks(j, "operator", t->op);
	wm_json_key(j, "value");
	if (t->value)
		wm_json_string(j, t->value);
	else
		wm_json_null(j);
	wm_json_kb(j, "indexed", t->indexed);
	wm_json_key(j, "instances");
	if (t->indexed)
		wm_json_u64(j, t->instances);
	else
		wm_json_null(j);
	wm_json_close(j, '}');
}

/* What the index makes of each comparison, and what a run of the filter cost. */
static void answer_plan(struct wm_call *c, struct wm_filter *f, uint64_t index)
{
	static struct wm_index_term terms[WM_FILTER_TERMS_MAX];
	struct wm_index *x = c->api->d.index;
	struct wm_index_query q;
	struct wm_json j;
	unsigned count = f ? wm_index_explain(x, f, terms, WM_FILTER_TERMS_MAX) : 0;

	if (wm_index_select(x, f, nothing, NULL, &q)) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ku(&j, "index", index);
	wm_json_kb(&j, "index_complete", wm_index_complete(x)); /* no: still built after a start */
	wm_json_kopen(&j, "terms", '[');
	for (unsigned i = 0; i < count; i++)
		put_term(&j, &terms[i]);
	wm_json_close(&j, ']');
	wm_json_kb(&j, "indexed", q.indexed);
	wm_json_kb(&j, "cached", q.cached);
	wm_json_ku(&j, "instances", wm_registry_instances(c->api->d.registry));
	wm_json_ku(&j, "candidates", q.candidates);
	wm_json_ku(&j, "asked", q.asked);
	wm_json_ku(&j, "matched", q.matched);
	wm_json_close(&j, '}');
	wm_answer_filtered(c, &j, index, f);
}

void wm_native_instances(struct wm_call *c)
{
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_json j;
	struct select s = {.c = c, .j = &j, .api = c->api, .e = wm_encode_of(c->api)};
	struct wm_index_query q = {0};
	uint64_t index;

	if (!wm_params_filter(c, WM_FILTER_NATIVE, &filter) || !read_limit(c, &s.left) ||
	    wm_api_wait(c, WM_SCOPE_CHECKS, NULL, &index))
		return;
	if (wm_http_query(c->req, "explain")) {
		answer_plan(c, filter, index);
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	/* the index stands behind: what was written in an earlier turn begins the same */
	wm_json_kopen(&j, "instances", '[');
	if (wm_index_select(c->api->d.index, filter, put_instance, &s, &q)) {
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_json_close(&j, ']');
	wm_json_ku(&j, "index", index);
	wm_json_ku(&j, "returned", s.returned);
	wm_json_ku(&j, "matched", q.matched);
	wm_json_close(&j, '}');
	wm_answer_filtered(c, &j, index, filter);
}

void wm_native_instance(struct wm_call *c)
{
	const struct wm_instance *i = wm_registry_instance(c->api->d.registry, c->params[0]);
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_json j;

	if (!i) {
		wm_answer_text(c, 404, "unknown instance: %s", c->params[0]);
		return;
	}
	wm_answer_begin(c, &j);
	put_entry(&j, &e, c->api, i);
	wm_answer_end(c, &j, i->service->index);
}
