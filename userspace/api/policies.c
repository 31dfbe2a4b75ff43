/* SPDX-License-Identifier: Apache-2.0 */
/* policies.c - /v1/waymark/policies: policies as they are, written and shown. */
#include "decode_policy.h"
#include "internal.h"
#include "userspace/metadata/mesh.h"
#include "userspace/metadata/selection.h"
#include "userspace/metadata/subset.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- reading ------------------------------------------------------------------------------------
 */
static void put_policy(struct wm_json *j, const struct wm_policy *p)
{
	char id[WM_PEER_ID_TEXT];

	wm_json_open(j, '{');
	wm_encode_policy(j, p);
	wm_json_ku(j, "create_index", p->create_index);
	wm_json_ku(j, "modify_index", p->modify_index);
	wm_peer_id_format(&p->version.writer, id);
	wm_json_ks(j, "writer", wm_peer_id_none(&p->version.writer) ? "" : id);
	wm_json_ku(j, "written_ms", p->version.seq >> 16);
	wm_json_close(j, '}');
}

static int by_service(const void *a, const void *b)
{
	return strcmp((*(const struct wm_policy *const *)a)->service,
		      (*(const struct wm_policy *const *)b)->service);
}

const struct wm_policy **wm_sorted_policies(struct wm_call *c, bool queries, unsigned *ret_count)
{
	const struct wm_registry *r = c->api->d.registry;
	const struct wm_policy **all = calloc(wm_registry_policies(r) + 1,
					      sizeof(struct wm_policy *)),
			       *p;
	unsigned n = 0;
	size_t pos = 0;

	if (!all) {
		wm_answer_text(c, 503, "Out of memory");
		return NULL;
	}
	while ((p = wm_registry_next_policy(r, &pos)))
		if (wm_policy_is_query(p) == queries)
			all[n++] = p;
	qsort(all, n, sizeof(struct wm_policy *), by_service);
	*ret_count = n;
	return all;
}

void wm_answer_policies(struct wm_call *c, bool queries,
			void (*put)(struct wm_json *j, const struct wm_policy *p))
{
	const struct wm_policy **all;
	unsigned count = 0;
	struct wm_json j;
	uint64_t index;

	if (wm_api_wait(c, WM_SCOPE_POLICIES, NULL, &index))
		return;
	all = wm_sorted_policies(c, queries, &count);
	if (!all)
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	for (unsigned n = 0; n < count; n++)
		put(&j, all[n]);
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
	free(all);
}

void wm_native_policies(struct wm_call *c)
{
	wm_answer_policies(c, false, put_policy);
}

void wm_native_policy(struct wm_call *c)
{
	const struct wm_policy *p;
	struct wm_json j;
	uint64_t index;

	if (wm_api_wait(c, WM_SCOPE_POLICIES, NULL, &index))
		return;
	p = wm_registry_policy(c->api->d.registry, c->params[0]);
	if (!p || wm_policy_is_query(p)) {
		wm_answer_text(c, 404, "Service \"%.64s\" has no policy", c->params[0]);
		return;
	}
	wm_answer_begin(c, &j);
	put_policy(&j, p);
	wm_answer_end(c, &j, index);
}

/* --- writing ------------------------------------------------------------------------------------
 */
bool wm_params_cas(struct wm_call *c, uint64_t *index, const uint64_t **ret)
{
	const char *text = wm_http_query(c->req, "cas");
	char *end;

	*ret = NULL;
	if (!text)
		return true;
	*index = strtoull(text, &end, 10);
	if (!*text || strspn(text, "0123456789") != strlen(text)) {
		wm_answer_text(c, 400, "Invalid value for ?cas: an index, 0 for what is not there");
		return false;
	}
	*ret = index;
	return true;
}

/* Does it select anybody now? */
static void warn_subsets(struct wm_json *j, struct wm_subsets *s, const struct wm_policy *p,
			 const struct wm_service *of)
{
	char text[256];

	for (uint32_t n = 0; n < p->subsets_count; n++) {
		unsigned found = 0;

		for (unsigned i = 0; i < of->instances_count && !found; i++)
			found = wm_subsets_has(s, n, of->instances[i]);
		if (found)
			continue;
		snprintf(text, sizeof(text),
			 "subsets.%s: no instance is in it now, when_none says what happens",
			 p->subsets[n].name);
		wm_json_string(j, text);
	}
}

static void warn_service(struct wm_json *j, const struct wm_registry *r, const char *place,
			 const char *service)
{
	char text[128];

	if (!*service || wm_registry_service(r, service))
		return;
	snprintf(text, sizeof(text), "%s: service \"%.64s\" is not there", place, service);
	wm_json_string(j, text);
}

/* Has anybody the endpoint? */
static void warn_ports(struct wm_json *j, const struct wm_policy *p, const struct wm_service *of)
{
	char text[256];

	for (uint32_t n = 0; n < p->ports_count; n++) {
		const char *endpoint = p->ports[n].endpoint;
		unsigned found = 0;

		for (unsigned i = 0; i < of->instances_count && !found; i++)
			found = wm_mesh_endpoint_port(of->instances[i], endpoint);
		if (found)
			continue;
		snprintf(
			text, sizeof(text),
			"ports.%u: no instance has the endpoint \"%.64s\" now, when_none says what "
			"happens",
			p->ports[n].port, endpoint);
		wm_json_string(j, text);
	}
}

/* Is there anything to be near to? */
static void warn_nearest(struct wm_json *j, const struct wm_registry *r, const struct wm_policy *p)
{
	const struct wm_node *self = wm_registry_node(r);

	if (p->select != WM_SELECT_NEAREST || *p->nearest.region || *p->nearest.zone ||
	    *wm_node_place(self, "region") || *wm_node_place(self, "zone") ||
	    wm_registry_has_bands(r))
		return;
	wm_json_string(j, "select: nearest, but neither region nor zone of this node is known "
			  "(node.meta), nor a round trip to another: here all are as near");
}

/* Is anybody of the service there? @p field: that says so. */
static void warn_place(struct wm_json *j, const struct wm_service *of, const char *field,
		       const char *key, const char *place)
{
	char text[256];

	if (!*place)
		return;
	for (unsigned i = 0; i < of->instances_count; i++)
		if (strcasecmp(wm_selection_place(of->instances[i], key), place) == 0)
			return;
	snprintf(text, sizeof(text), "%s.%s: no instance is in \"%.128s\" now", field, key, place);
	wm_json_string(j, text);
}

/* Has the target anybody? A service that is not there is told of as such, a subset of the policy's
 * own is among its subsets. */
static void warn_target(struct wm_json *j, const struct wm_registry *r, const struct wm_policy *p,
			const char *field, const char *service, const char *subset,
			const char *region)
{
	bool own = !*service || strcasecmp(service, p->service) == 0;
	const struct wm_service *of = wm_registry_service(r, own ? p->service : service);
	const struct wm_policy *theirs = own ? p : wm_registry_policy(r, service);
	char text[256];

	if (!of)
		return;
	warn_place(j, of, field, "region", region);
	if (own || !*subset)
		return;
	for (uint32_t n = 0; theirs && n < theirs->subsets_count; n++)
		if (strcasecmp(theirs->subsets[n].name, subset) == 0)
			return;
	snprintf(text, sizeof(text), "%s.subset: \"%.64s\" has no subset \"%.64s\" now", field,
		 service, subset);
	wm_json_string(j, text);
}

/* Does it lead back here, or through more services than are followed? */
static void warn_circle(struct wm_json *j, const struct wm_registry *r, const struct wm_policy *p)
{
	const char *from = p->service, *to = p->redirect.service;
	const struct wm_policy *next;
	char text[256];

	for (unsigned hops = 1; *to && strcasecmp(to, from) != 0; hops++) {
		if (hops <= WM_SELECTION_HOPS_MAX && strcasecmp(to, p->service) != 0) {
			next = wm_registry_policy(r, to);
			from = to;
			to = next ? next->redirect.service : "";
			continue;
		}
		snprintf(text, sizeof(text),
			 "redirect: it leads back here, or through more than %d services, by "
			 "\"%.64s\": nobody is chosen",
			 WM_SELECTION_HOPS_MAX, from);
		wm_json_string(j, text);
		return;
	}
}

#define SPLITS_SEEN_MAX 64 /* services that are looked at for a circle of splits */

/* The policy that decides for who is sent to @p service, once @p p is written. NULL: none. */
static const struct wm_policy *decides(const struct wm_registry *r, const struct wm_policy *p,
				       const char *service)
{
	const struct wm_policy *at = NULL;

	for (unsigned hops = 0; *service && hops <= WM_SELECTION_HOPS_MAX; hops++) {
		at = strcasecmp(service, p->service) == 0 ? p : wm_registry_policy(r, service);
		if (at && *at->redirect.subset)
			return NULL; /* a subset is not split further */
		service = at ? at->redirect.service : "";
	}
	return at;
}

/* Do its targets split on, and one of those back to it? */
static void warn_split_circle(struct wm_json *j, const struct wm_registry *r,
			      const struct wm_policy *p)
{
	const struct wm_policy *seen[SPLITS_SEEN_MAX] = {p}, *to;
	unsigned count = 1;
	char text[256];

	for (unsigned n = 0; n < count; n++) {
		for (uint32_t k = 0; k < seen[n]->splits_count; k++) {
			const struct wm_policy_split *s = &seen[n]->splits[k];
			bool known = false;

			to = *s->subset ? NULL : decides(r, p, s->service);
			if (!to || to == seen[n])
				continue;
			if (to == p) {
				snprintf(text, sizeof(text),
					 "split: it leads back here, by \"%.64s\": there it is "
					 "taken whole",
					 seen[n]->service);
				wm_json_string(j, text);
				return;
			}
			for (unsigned i = 0; i < count; i++)
				known |= seen[i] == to;
			if (!known && count < SPLITS_SEEN_MAX)
				seen[count++] = to;
		}
	}
}

static void warn_targets(struct wm_json *j, const struct wm_registry *r, const struct wm_policy *p)
{
	char field[32];

	warn_target(j, r, p, "redirect", p->redirect.service, p->redirect.subset,
		    p->redirect.region);
	for (uint32_t n = 0; n < p->splits_count; n++) {
		snprintf(field, sizeof(field), "split[%u]", n);
		warn_target(j, r, p, field, p->splits[n].service, p->splits[n].subset, "");
	}
	for (uint32_t n = 0; n < p->failover_count; n++) {
		snprintf(field, sizeof(field), "failover[%u]", n);
		warn_target(j, r, p, field, p->failover[n].service, p->failover[n].subset,
			    p->failover[n].region);
	}
}

const char *wm_policy_idle(const struct wm_api *a, const struct wm_policy *p)
{
	const char *loaded = a->d.tables ? wm_tables_policy(a->d.tables)->custom : NULL;

	if (p->balance != WM_BALANCE_CUSTOM)
		return NULL;
	if (!loaded || strcmp(p->custom, loaded) != 0)
		return "custom: kernel.custom of this node is no file of that name, it chooses by "
		       "weight";
	return a->d.plane && wm_plane_custom_refused(a->d.plane)
		       ? "custom: the file of kernel.custom was refused, waymarkctl status says "
			 "why: this node chooses by weight"
		       : NULL;
}

/* What is kept and shown, and decides nothing yet. */
static void warn_idle(struct wm_json *j, const struct wm_api *a, const struct wm_policy *p)
{
	if (wm_policy_idle(a, p))
		wm_json_string(j, wm_policy_idle(a, p));
	if (p->balance == WM_BALANCE_PEAK_EWMA && !wm_plane_sees_outcomes(a->d.plane))
		wm_json_string(j, "balance: peak_ewma goes by open connections, as this node does "
				  "not see how connects end");
}

char *wm_policy_warnings(const struct wm_api *a, struct wm_subsets *s, const struct wm_policy *p)
{
	const struct wm_registry *r = a->d.registry;
	const struct wm_service *of = wm_registry_service(r, p->service);
	struct wm_buf b;
	struct wm_json j;

	wm_buf_init(&b, 65536);
	wm_json_init(&j, &b, false);
	wm_json_open(&j, '{');
	wm_json_kopen(&j, "warnings", '[');
	warn_service(&j, r, "service", p->service);
	warn_service(&j, r, "redirect", p->redirect.service);
	warn_circle(&j, r, p);
	warn_split_circle(&j, r, p);
	for (uint32_t n = 0; n < p->splits_count; n++)
		warn_service(&j, r, "split", p->splits[n].service);
	for (uint32_t n = 0; n < p->failover_count; n++)
		warn_service(&j, r, "failover", p->failover[n].service);
	warn_nearest(&j, r, p);
	warn_idle(&j, a, p);
	wm_subsets_begin(s);
	if (of)
		warn_subsets(&j, s, p, of);
	if (of)
		warn_ports(&j, p, of);
	if (of && p->select == WM_SELECT_NEAREST) {
		warn_place(&j, of, "nearest", "region", p->nearest.region);
		warn_place(&j, of, "nearest", "zone", p->nearest.zone);
	}
	warn_targets(&j, r, p);
	wm_json_close(&j, ']');
	wm_json_close(&j, '}');
	wm_json_done(&j);
	if (!b.failed)
		return b.data;
	wm_buf_done(&b);
	return NULL;
}

void wm_native_policy_put(struct wm_call *c)
{
	struct wm_policy_draft d;
	struct wm_decoded *mem = NULL;
	struct wm_subsets *s = NULL;
	struct wm_err e = {0};
	struct wm_write *w = NULL;
	const uint64_t *cas;
	const char *body;
	uint64_t index;
	size_t len;

	if (!wm_params_cas(c, &index, &cas))
		return;
	body = wm_http_body(c->req, &len);
	e.code = wm_decode_policy(body, len, c->params[0], &mem, &d, &e);
	if (!e.code)
		e.code = wm_subsets_new(&d.p, wm_registry_datacenter(c->api->d.registry), &s, &e);
	if (e.code)
		wm_answer_err(c, &e);
	else
		w = wm_write_keep(c);
	if (w) {
		w->json = wm_policy_warnings(c->api, s, &d.p);
		e.code = w->json ? wm_registry_policy_put(c->api->d.registry, &d.p, cas,
							  wm_write_done, w, &e)
				 : wm_err_set(&e, -ENOMEM, "Out of memory; nothing was changed");
		if (e.code) {
			wm_write_drop(w);
			wm_answer_err(c, &e);
		}
	}
	wm_subsets_free(s);
	wm_decoded_free(mem);
}

void wm_native_policy_delete(struct wm_call *c)
{
	struct wm_err e = {0};
	const uint64_t *cas;
	struct wm_write *w;
	uint64_t index;

	if (!wm_params_cas(c, &index, &cas))
		return;
	if (*c->params[0] == WM_QUERY_KEY[0]) {
		wm_answer_text(c, 404, "Service \"\" has no policy");
		return;
	}
	w = wm_write_keep(c);
	if (!w)
		return;
	e.code = wm_registry_policy_delete(c->api->d.registry, c->params[0], cas, wm_write_done, w,
					   &e);
	if (e.code) {
		wm_write_drop(w);
		wm_answer_err(c, &e);
	}
}
