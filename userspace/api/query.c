/* SPDX-License-Identifier: Apache-2.0 */
/* query.c - Consul's /v1/query: prepared queries are objects beside the policies, and ask for
 * instances as the policy of their service selects them. */
#include "userspace/metadata/query.h"

#include "decode_internal.h"
#include "internal.h"
#include "userspace/base/duration.h"
#include "userspace/base/macros.h"
#include "userspace/base/random.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define KEY_MAX 38 /* octets of WM_QUERY_KEY, a UUID, and a NUL */

/* --- bodies -------------------------------------------------------------------------------------
 */
struct raw {
	struct wm_policy_draft *d;
	const char *id, *name, *session, *ttl;
	/* Template */
	const char *type, *regexp;
	bool remove_empty_tags;
	/* Service */
	const char *service, *near;
	bool only_passing, connect;
};

static int add_term(struct decoder *d, struct raw *r, enum wm_query_term what, const char *key,
		    const char *value)
{
	const struct wm_policy_section *s = &wm_policy_sections[wm_policy_sections_count - 1];
	struct wm_policy_term *t = wm_policy_draft_add(r->d, s);

	if (!t)
		return wm_err_set(d->e, WM_E_INVALID,
				  "Service: at most %u tags, checks and pairs of metadata are "
				  "allowed",
				  s->max);
	*t = (struct wm_policy_term){what, key, value};
	return 0;
}

static int get_texts(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	const char **list = NULL;
	int err = wm_dec_list(d, f, v, &list);

	for (size_t n = 0; !err && n < json_array_size(v); n++)
		err = add_term(d, to, (enum wm_query_term)f->min, list[n], "");
	return err;
}

static int get_pairs(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	const struct field at = {.names = f->names};
	struct wm_dec_pairs pairs = {0};
	int err = wm_dec_pairs(d, &at, v, &pairs);

	for (unsigned n = 0; !err && n < pairs.count; n++)
		err = add_term(d, to, (enum wm_query_term)f->min, pairs.at[n].key,
			       pairs.at[n].value);
	return err;
}

/* What nobody here can do: it may be there as long as it says nothing. */
static int get_nothing(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	(void)to;
	if (json_is_object(v) ? wm_dec_blank(v)
			      : !json_is_true(v) && json_number_value(v) == 0 &&
					!json_array_size(v) && !json_string_length(v))
		return 0;
	return wm_err_set(d->e, WM_E_INVALID,
			  "%s%.*s is not supported: a mesh is one datacenter, without sessions; "
			  "of other services and regions see the service's policy",
			  d->where, wm_dec_name_len(f), f->names);
}

static int get_inner(struct decoder *d, const struct field *f, json_t *v, void *to,
		     const struct field *fields, unsigned count)
{
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	back = wm_dec_enter(d, f, NULL, SIZE_MAX);
	err = wm_dec_fields(d, fields, count, v, to);
	if (!err)
		d->where[back] = 0;
	return err;
}

#define RAW(names, fn, member)                                                                     \
	{                                                                                          \
		names, fn, offsetof(struct raw, member), 0, 0                                      \
	}
static const struct field template_fields[] = {
	RAW("Type", wm_dec_string, type), RAW("Regexp", wm_dec_string, regexp),
	RAW("RemoveEmptyTags|remove_empty_tags", wm_dec_bool, remove_empty_tags)};
static const struct field dns_fields[] = {RAW("TTL", wm_dec_string, ttl)};
static const struct field service_fields[] = {
	RAW("Service", wm_dec_string, service),
	RAW("OnlyPassing|only_passing", wm_dec_bool, only_passing),
	RAW("Near", wm_dec_string, near),
	RAW("Connect", wm_dec_bool, connect),
	{"Tags", get_texts, 0, WM_QUERY_TAG, 0},
	{"IgnoreCheckIDs|ignore_check_ids", get_texts, 0, WM_QUERY_IGNORE_CHECK, 0},
	{"NodeMeta|node_meta", get_pairs, 0, WM_QUERY_NODE_META, 0},
	{"ServiceMeta|service_meta", get_pairs, 0, WM_QUERY_SERVICE_META, 0},
	{"Failover", get_nothing, 0, 0, 0},
	{"Peer", get_nothing, 0, 0, 0},
	{"SamenessGroup|sameness_group", get_nothing, 0, 0, 0},
};

static int get_template(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return get_inner(d, f, v, to, template_fields, WM_ARRAY_LEN(template_fields));
}
static int get_dns(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return get_inner(d, f, v, to, dns_fields, WM_ARRAY_LEN(dns_fields));
}
static int get_service(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return get_inner(d, f, v, to, service_fields, WM_ARRAY_LEN(service_fields));
}
static const struct field fields[] = {
	RAW("ID", wm_dec_string, id),
	RAW("Name", wm_dec_string, name),
	{"Session", get_nothing, 0, 0, 0},
	{"Token", wm_dec_ignore, 0, 0, 0},
	{"Template", get_template, 0, 0, 0},
	{"Service", get_service, 0, 0, 0},
	{"DNS", get_dns, 0, 0, 0},
	{"CreateIndex|create_index", wm_dec_ignore, 0, 0, 0},
	{"ModifyIndex|modify_index", wm_dec_ignore, 0, 0, 0},
};

static int refuse(struct wm_err *e, const char *field, const char *value, const char *allowed)
{
	return wm_err_set(e, WM_E_INVALID, "%s: \"%.*s\" is not allowed: %s", field, SHOWN, value,
			  allowed);
}

static int judge(const struct raw *r, bool made, struct wm_err *e)
{
	int64_t ns;

	if (made && set(r->id))
		return wm_err_set(e, WM_E_INVALID,
				  "ID must be empty when creating a new prepared query");
	if (set(r->type) && strcmp(r->type, "name_prefix_match") != 0)
		return refuse(e, "Template.Type", r->type, "name_prefix_match");
	if (set(r->regexp))
		return refuse(e, "Template.Regexp", r->regexp, "there is none; see ${name.suffix}");
	if (set(r->ttl) && (wm_duration_parse(r->ttl, &ns) || ns < 0))
		return refuse(e, "DNS.TTL", r->ttl, "a duration such as 10s");
	return r->connect ? refuse(e, "Service.Connect", "true",
				   "ask /v1/health/connect for what stands for a service")
			  : 0;
}

static void take(struct raw *r, const char *key)
{
	struct wm_policy *p = &r->d->p;

	p->service = key;
	p->query.id = key + 1;
	p->query.name = r->name ? r->name : "";
	p->query.service = r->service ? r->service : "";
	p->query.near = r->near ? r->near : "";
	p->query.ttl = r->ttl ? r->ttl : "";
	p->query.prefix = set(r->type);
	p->query.remove_empty_tags = r->remove_empty_tags;
	p->query.only_passing = r->only_passing;
}

static int decode(const char *body, size_t len, const char *key, bool made, struct wm_decoded *mem,
		  struct wm_policy_draft *ret, struct wm_err *e)
{
	struct decoder d = {.mem = mem, .e = e};
	struct raw r = {.d = ret};
	struct wm_policy_draft filled;
	char *texts = NULL;
	int err;

	wm_policy_draft_init(ret, "");
	err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!err)
		err = wm_dec_fields(&d, fields, WM_ARRAY_LEN(fields), mem->root, &r);
	if (!err)
		err = judge(&r, made, e);
	if (err)
		return err;
	take(&r, key);
	err = wm_policy_validate(&ret->p, e);
	if (!err) /* variables that there are not */
		err = wm_query_fill(&ret->p, ret->p.query.name, &filled, &texts, e);
	free(texts);
	return err;
}

/* --- writing ------------------------------------------------------------------------------------
 */
static void write_query(struct wm_call *c, const char *key, bool made)
{
	struct wm_decoded *mem = calloc(1, sizeof(*mem));
	struct wm_policy_draft d;
	struct wm_write *w = NULL;
	struct wm_err e = {0};
	const char *body;
	size_t len;

	if (!mem) {
		wm_answer_text(c, 503, "Out of memory; nothing was changed");
		return;
	}
	wm_policy_draft_init(&d, key);
	body = wm_http_body(c->req, &len);
	e.code = decode(body, len, key, made, mem, &d, &e);
	if (e.code)
		wm_answer_err(c, &e);
	else
		w = wm_write_keep(c);
	if (w && made && asprintf(&w->json, "{\"ID\":\"%s\"}", key + 1) < 0)
		w->json = NULL;
	if (w) {
		e.code = made && !w->json
				 ? wm_err_set(&e, -ENOMEM, "Out of memory; nothing was changed")
				 : wm_registry_policy_put(c->api->d.registry, &d.p, NULL,
							  wm_write_done, w, &e);
		if (e.code) {
			wm_write_drop(w);
			wm_answer_err(c, &e);
		}
	}
	wm_decoded_free(mem);
}

void wm_query_create(struct wm_call *c)
{
	uint64_t a = wm_random64(), b = wm_random64();
	char key[KEY_MAX];

	/* RFC 9562 version 4 */
	snprintf(key, sizeof(key), WM_QUERY_KEY "%08x-%04x-4%03x-%04x-%012llx", (unsigned)(a >> 32),
		 (unsigned)(a >> 16) & 0xffff, (unsigned)a & 0xfff,
		 (unsigned)(0x8000 | ((b >> 48) & 0x3fff)),
		 (unsigned long long)(b & 0xffffffffffffull));
	write_query(c, key, true);
}

/* Of the path, by its id. @return NULL: there is none, and answered. */
static const struct wm_policy *known(struct wm_call *c)
{
	const struct wm_policy *p = wm_query_find(c->api->d.registry, c->params[0]);

	if (p && strcasecmp(p->query.id, c->params[0]) == 0)
		return p;
	wm_answer_text(c, 404, "Query not found");
	return NULL;
}

void wm_query_update(struct wm_call *c)
{
	const struct wm_policy *p = known(c);
	char key[KEY_MAX];

	if (!p)
		return;
	snprintf(key, sizeof(key), "%s", p->service);
	write_query(c, key, false);
}

void wm_query_delete(struct wm_call *c)
{
	const struct wm_policy *p = known(c);
	struct wm_write *w = p ? wm_write_keep(c) : NULL;
	struct wm_err e = {0};

	if (!w)
		return;
	e.code = wm_registry_policy_delete(c->api->d.registry, p->service, NULL, wm_write_done, w,
					   &e);
	if (e.code) {
		wm_write_drop(w);
		wm_answer_err(c, &e);
	}
}

/* --- reading ------------------------------------------------------------------------------------
 */
static void put_terms(struct wm_json *j, const char *key, const struct wm_policy *p,
		      enum wm_query_term what, bool pairs)
{
	wm_json_kopen(j, key, pairs ? '{' : '[');
	for (uint32_t n = 0; n < p->terms_count; n++) {
		if (p->terms[n].what != (uint32_t)what)
			continue;
		if (pairs)
			wm_json_ks(j, p->terms[n].key, p->terms[n].value);
		else
			wm_json_string(j, p->terms[n].key);
	}
	wm_json_close(j, pairs ? '}' : ']');
}

static void put_query(struct wm_json *j, const struct wm_policy *p)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "ID", p->query.id);
	wm_json_ks(j, "Name", p->query.name);
	wm_json_ks(j, "Session", "");
	wm_json_ks(j, "Token", "");
	wm_json_kopen(j, "Template", '{');
	wm_json_ks(j, "Type", p->query.prefix ? "name_prefix_match" : "");
	wm_json_ks(j, "Regexp", "");
	wm_json_kb(j, "RemoveEmptyTags", p->query.remove_empty_tags);
	wm_json_close(j, '}');
	wm_json_kopen(j, "Service", '{');
	wm_json_ks(j, "Service", p->query.service);
	wm_json_kopen(j, "Failover", '{');
	wm_json_ku(j, "NearestN", 0);
	wm_json_kempty(j, "Datacenters", '[');
	wm_json_kempty(j, "Targets", '[');
	wm_json_close(j, '}');
	wm_json_kb(j, "OnlyPassing", p->query.only_passing);
	put_terms(j, "IgnoreCheckIDs", p, WM_QUERY_IGNORE_CHECK, false);
	wm_json_ks(j, "Near", p->query.near);
	put_terms(j, "Tags", p, WM_QUERY_TAG, false);
	put_terms(j, "NodeMeta", p, WM_QUERY_NODE_META, true);
	put_terms(j, "ServiceMeta", p, WM_QUERY_SERVICE_META, true);
	wm_json_kb(j, "Connect", false);
	wm_json_close(j, '}');
	wm_json_kopen(j, "DNS", '{');
	wm_json_ks(j, "TTL", p->query.ttl);
	wm_json_close(j, '}');
	wm_json_ku(j, "CreateIndex", p->create_index);
	wm_json_ku(j, "ModifyIndex", p->modify_index);
	wm_json_close(j, '}');
}

void wm_query_list(struct wm_call *c)
{
	wm_answer_policies(c, true, put_query);
}

void wm_query_get(struct wm_call *c)
{
	const struct wm_policy *p;
	struct wm_json j;
	uint64_t index;

	if (wm_api_wait(c, WM_SCOPE_POLICIES, NULL, &index))
		return;
	p = known(c);
	if (!p)
		return;
	wm_answer_begin(c, &j);
	wm_json_open(&j, '[');
	put_query(&j, p);
	wm_json_close(&j, ']');
	wm_answer_end(c, &j, index);
}

/* --- asking -------------------------------------------------------------------------------------
 */
/* The query of the path, filled in. @return false: answered. */
static bool filled(struct wm_call *c, struct wm_policy_draft *d, char **texts)
{
	const struct wm_policy *p = wm_query_find(c->api->d.registry, c->params[0]);
	struct wm_err e = {0};

	*texts = NULL;
	if (!p) {
		wm_answer_text(c, 404, "Query not found");
		return false;
	}
	e.code = wm_query_fill(p, c->params[0], d, texts, &e);
	if (!e.code)
		return true;
	wm_answer_err(c, &e);
	return false;
}

void wm_query_explain(struct wm_call *c)
{
	struct wm_policy_draft d;
	struct wm_json j;
	char *texts;

	if (filled(c, &d, &texts)) {
		wm_answer_begin(c, &j);
		wm_json_open(&j, '{');
		wm_json_key(&j, "Query");
		put_query(&j, &d.p);
		wm_json_close(&j, '}');
		wm_answer_end(c, &j, wm_registry_index(c->api->d.registry));
	}
	free(texts);
}

/* ?near, else the query's own. @return false: answered. */
static bool near_of(struct wm_call *c, const struct wm_policy *p, const struct wm_node **ret)
{
	const struct wm_registry *r = c->api->d.registry;
	const char *near = wm_http_query(c->req, "near");

	if (!near || !*near)
		near = p->query.near;
	else if (strcmp(near, "_ip") != 0)
		return wm_params_near(c, ret);
	if (strcmp(near, "_ip") == 0)
		*ret = wm_near_asking(c);
	else if (*near == '_')
		*ret = wm_registry_node(r);
	else
		*ret = *near ? wm_registry_node_named(r, near) : NULL;
	return true;
}

static bool limit_of(struct wm_call *c, unsigned *ret)
{
	const char *text = wm_http_query(c->req, "limit");
	unsigned long n = text ? strtoul(text, NULL, 10) : 0;

	if (text && (strspn(text, "0123456789") != strlen(text) || n > UINT32_MAX)) {
		wm_answer_text(c, 400, "Invalid value for ?limit: a number; 0: no limit");
		return false;
	}
	*ret = n ? (unsigned)n : UINT32_MAX;
	return true;
}

static void execute(struct wm_call *c, const struct wm_policy *p)
{
	const struct wm_registry *r = c->api->d.registry;
	const struct wm_instance **all = NULL;
	struct wm_encode e = wm_encode_of(c->api);
	unsigned count = 0, failovers = 0, limit;
	const struct wm_node *from;
	struct wm_json j;

	if (!near_of(c, p, &from) || !limit_of(c, &limit))
		return;
	if (wm_query_run(r, p, &all, &count, &failovers) ||
	    !wm_near_sort(wm_near_members(c->api), from, all, count)) {
		wm_answer_text(c, 503, "Out of memory");
		free(all);
		return;
	}
	wm_answer_begin(c, &j);
	wm_json_open(&j, '{');
	wm_json_ks(&j, "Service", p->query.service);
	wm_json_kopen(&j, "Nodes", '[');
	for (unsigned n = 0; n < count && n < limit; n++)
		wm_encode_health_entry(&j, &e, all[n]);
	wm_json_close(&j, ']');
	wm_json_kopen(&j, "DNS", '{');
	wm_json_ks(&j, "TTL", p->query.ttl);
	wm_json_close(&j, '}');
	wm_json_ks(&j, "Datacenter", wm_registry_datacenter(r));
	wm_json_ku(&j, "Failovers", failovers);
	wm_json_close(&j, '}');
	wm_answer_end(c, &j, wm_registry_index(r));
	free(all);
}

void wm_query_execute(struct wm_call *c)
{
	struct wm_policy_draft d;
	char *texts;

	if (filled(c, &d, &texts))
		execute(c, &d.p);
	free(texts);
}
