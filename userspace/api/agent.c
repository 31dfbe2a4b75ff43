/* SPDX-License-Identifier: Apache-2.0 */
/* agent.c - handlers of /v1/agent, /v1/status and the root. Writes are decoded, handed to the
 * registry and answered after the commit; those on checks stand in checks.c. */
#include "internal.h"
#include "userspace/base/hash.h"
#include "userspace/base/map.h"
#include "userspace/model/scope.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void wm_root(struct wm_call *c)
{
	wm_answer_text(c, 200, "Waymark agent %s. The API is under /v1/; there is no UI.",
		       c->api->d.version);
}

/* --- this agent --------------------------------------------------------------------------------
 */

static void put_number(struct wm_json *j, const char *key, uint64_t n)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	wm_json_ks(j, key, text);
}

static void put_config(struct wm_json *j, const struct wm_call *c, const struct wm_encode *e)
{
	wm_json_kopen(j, "Config", '{');
	wm_json_ks(j, "Datacenter", e->datacenter);
	wm_json_ks(j, "PrimaryDatacenter", e->datacenter);
	wm_json_ks(j, "NodeName", e->node->name);
	wm_json_ks(j, "NodeID", e->node->id);
	wm_json_ks(j, "Revision", "");
	wm_json_kb(j, "Server", true);
	wm_json_ks(j, "Version", c->api->d.version);
	wm_json_ks(j, "BuildDate", "1970-01-01T00:00:01Z");
	wm_json_close(j, '}');
}

void wm_agent_self(struct wm_call *c)
{
	struct wm_encode e = wm_encode_of(c->api);
	struct wm_health_stats h = {0};
	struct wm_json j;

	if (c->api->d.health)
		wm_health_stats(c->api->d.health, &h);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	put_config(&j, c, &e);
	wm_json_kempty(&j, "DebugConfig", '{');
	wm_json_kopen(&j, "Member", '{');
	wm_encode_self_member(&j, c);
	wm_json_close(&j, '}');
	wm_json_kopen(&j, "Stats", '{');
	wm_json_kopen(&j, "agent", '{');
	put_number(&j, "checks", h.checks);
	put_number(&j, "services", wm_map_len(e.node->instances));
	wm_json_close(&j, '}');
	wm_json_close(&j, '}');
	wm_json_kopen(&j, "Meta", '{');
	for (unsigned i = 0; i < e.node->meta_count; i++)
		wm_json_ks(&j, e.node->meta[i].key, e.node->meta[i].value);
	wm_json_close(&j, '}');
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, 0);
}

/* --- reading -----------------------------------------------------------------------------------
 */

struct services {
	const struct wm_instance **all;
	unsigned count, cap;
	bool failed; /* for want of memory */
};

static bool take_service(void *arg, const struct wm_instance *i)
{
	struct services *s = arg;
	const struct wm_instance **next;

	if (!wm_is_agents(i))
		return true;
	if (s->count == s->cap) {
		s->cap = s->cap ? s->cap * 2 : 64;
		next = realloc(s->all, s->cap * sizeof(struct wm_instance *));
		s->failed = !next;
		if (!next)
			return false;
		s->all = next;
	}
	s->all[s->count++] = i;
	return true;
}

void wm_agent_services(struct wm_call *c)
{
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	struct services s = {0};
	struct wm_json j;

	if (!wm_params_filter(c, WM_FILTER_SERVICE, &filter))
		return;
	if (wm_index_select(c->api->d.index, filter, take_service, &s, NULL) || s.failed) {
		free(s.all);
		wm_answer_text(c, 503, "Out of memory");
		return;
	}
	wm_sort_keys(c->api, s.all, s.count);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	for (unsigned n = 0; n < s.count; n++) {
		struct wm_filter_row row = wm_filter_row_of(&e, s.all[n]);

		if ((c->scope && !wm_scope_is(s.all[n]->name, c->scope)) ||
		    !wm_row_wanted(c, &j, &row))
			continue;
		wm_json_key(&j, s.all[n]->id);
		wm_encode_agent_service(&j, &e, s.all[n], NULL);
	}
	free(s.all);
	wm_json_close(&j, '}');
	wm_answer_filtered(c, &j, 0, filter);
}

static int by_key(const void *a, const void *b)
{
	return strcmp((*(const struct wm_check *const *)a)->id,
		      (*(const struct wm_check *const *)b)->id);
}

static void sort_keys(void *all, size_t count)
{
	qsort(all, count, sizeof(struct wm_check *), by_key);
}

void wm_agent_checks(struct wm_call *c)
{
	_cleanup_filter_ struct wm_filter *filter = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	const struct wm_instance *i = e.checks;
	struct wm_check_list list = {0};
	struct wm_json j;
	size_t pos = 0;
	bool ok = true;

	if (!wm_params_filter(c, WM_FILTER_CHECK, &filter))
		return;
	for (; i && ok; i = wm_node_next_instance(e.node, &pos)) {
		struct wm_filter_row row = wm_filter_row_of(&e, i);

		if (c->scope && !wm_scope_is(i->name, c->scope))
			continue;
		for (unsigned n = 0; n < i->checks_count + (unsigned)(i->passive != NULL) && ok;
		     n++) {
			bool stated;

			row.check = n < i->checks_count ? i->checks[n] : i->passive;
			stated = row.check->kind == WM_CHECK_STATED && row.check != i->passive;
			if (!stated && wm_filter_match(filter, &row))
				ok = wm_check_list_push(&list, row.check);
		}
	}
	wm_sort_kept(c->api, list.at, list.count, sort_keys);
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	for (size_t n = 0; n < list.count; n++) {
		if (!wm_check_wanted(c, &j, list.at[n]))
			continue;
		wm_json_key(&j, list.at[n]->id);
		wm_encode_agent_check(&j, &e, list.at[n]);
	}
	free(list.at);
	wm_json_close(&j, '}');
	if (ok)
		wm_answer_filtered(c, &j, 0, filter);
	else
		wm_answer_text(c, 503, "Out of memory");
}

/* With ?hash of what the client knows the answer waits until the content is another. */
void wm_agent_service(struct wm_call *c)
{
	const struct wm_instance *i = wm_registry_instance(c->api->d.registry, c->params[0]);
	const char *hash = wm_http_query(c->req, "hash");
	struct wm_encode e = wm_encode_of(c->api);
	char text[24] = "";
	struct wm_json j;

	if (!i || !wm_is_agents(i)) {
		wm_answer_text(c, 404, "unknown service ID: %s", c->params[0]);
		return;
	}
	wm_answer_begin(c, &j);
	wm_encode_agent_service(&j, &e, i, NULL);
	if (!j.b->failed)
		snprintf(text, sizeof(text), "%016" PRIx64, wm_hash_stable(j.b->data, j.b->len));
	if (hash && !j.b->failed && strcmp(hash, text) == 0 && !c->expired &&
	    wm_api_keep(c, WM_SCOPE_SERVICE, i->service->name))
		return;
	wm_answer_begin(c, &j);
	wm_encode_agent_service(&j, &e, i, text);
	wm_http_set_header(c->req, "X-Consul-Contenthash", text);
	wm_answer_end(c, &j, 0);
}

/* --- writing -----------------------------------------------------------------------------------
 */

/* Present and empty, or true: Go's clients send both. */
static bool flag(const struct wm_call *c, const char *name)
{
	const char *v = wm_http_query(c->req, name);

	return v && (!*v || strcmp(v, "1") == 0 || strcasecmp(v, "true") == 0 ||
		     strcasecmp(v, "t") == 0);
}

void wm_agent_register(struct wm_call *c)
{
	struct wm_instance_draft draft;
	struct wm_decoded *mem = NULL;
	struct wm_err e = {0};
	struct wm_write *w;
	const char *body;
	size_t len;

	body = wm_http_body(c->req, &len);
	e.code = wm_decode_register(body, len, &mem, &draft, &e);
	if (e.code) {
		wm_answer_err(c, &e);
		return;
	}
	draft.replace_checks = flag(c, "replace-existing-checks");
	draft.scripts = wm_api_scripts(c);
	draft.units = wm_api_units(c);
	w = wm_write_keep_replicated(c, draft.id && *draft.id ? draft.id : draft.name);
	if (w) {
		e.code = wm_registry_register(c->api->d.registry, &draft, wm_write_replicated, w,
					      &e);
		if (e.code) {
			wm_write_drop(w);
			wm_answer_err(c, &e);
		}
	}
	wm_decoded_free(mem);
}

void wm_agent_deregister(struct wm_call *c)
{
	struct wm_err e = {0};
	struct wm_write *w = wm_write_keep_replicated(c, c->params[0]);

	if (!w)
		return;
	e.code = wm_registry_deregister(c->api->d.registry, c->params[0], wm_write_replicated, w,
					&e);
	if (e.code) {
		wm_write_drop(w);
		wm_answer_err(c, &e);
	}
}
