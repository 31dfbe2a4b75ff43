/* SPDX-License-Identifier: Apache-2.0 */
/* decode_config.c - see decode_config.h. */
#include "decode_config.h"

#include "decode_internal.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

const char *const wm_config_kinds[WM_CONFIG_KINDS] = {"service-resolver", "service-splitter",
						      "service-defaults"};

/* Consul's names of load balancers; NULL: it has none. */
static const char *const policies[WM_BALANCE_COUNT] = {[WM_BALANCE_RANDOM] = "random",
						       [WM_BALANCE_ROUND_ROBIN] = "round_robin",
						       [WM_BALANCE_LEAST_CONNECTIONS] =
							       "least_request",
						       [WM_BALANCE_MAGLEV] = "maglev"};

bool wm_config_kind(const char *name, enum wm_policy_view *ret)
{
	for (unsigned n = 0; n < WM_CONFIG_KINDS; n++) {
		if (strcmp(wm_config_kinds[n], name) == 0) {
			*ret = (enum wm_policy_view)n;
			return true;
		}
	}
	return false;
}

bool wm_config_has(const struct wm_policy *p, enum wm_policy_view kind)
{
	if (!p)
		return false;
	if (kind == WM_POLICY_SPLITTER)
		return p->splits_count;
	if (kind == WM_POLICY_DEFAULTS)
		return p->defaults || *p->protocol;
	return p->resolver || p->subsets_count || *p->default_subset || wm_policy_redirects(p) ||
	       p->failover_count || policies[p->balance];
}

/* --- what is refused ----------------------------------------------------------------------------
 */
/* Consul's, and of no meaning here: it may be there as long as it says nothing. */
static int meaningless(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	const char *text = json_string_value(v);

	(void)to;
	if (json_is_object(v)
		    ? wm_dec_blank(v)
		    : !json_is_true(v) && json_number_value(v) == 0 && !json_array_size(v) &&
			      (!text || !*text || strcmp(text, "0s") == 0))
		return 0;
	return wm_err_set(d->e, WM_E_INVALID,
			  "%s%.*s is not supported: it is for a proxy, and there is none", d->where,
			  wm_dec_name_len(f), f->names);
}

static int refuse(struct decoder *d, const char *field, const char *value, const char *allowed)
{
	return wm_err_set(d->e, WM_E_INVALID, "%s%s: \"%.*s\" is not allowed: %s", d->where, field,
			  SHOWN, value, allowed);
}

/* --- entries ------------------------------------------------------------------------------------
 */
struct entry {
	const char *kind, *name, *ns, *partition;
	const char *datacenter; /* this one's */
	struct wm_policy_draft *d;
	enum wm_policy_view view;
	bool least, ring, hashes; /* what there is of one balancer only was said */
};

static const struct wm_policy_section *section(const char *name)
{
	for (unsigned n = 0;; n++) {
		if (strcmp(wm_policy_sections[n].name, name) == 0)
			return &wm_policy_sections[n];
	}
}

static void *add(struct decoder *d, struct entry *en, const char *name)
{
	const struct wm_policy_section *s = section(name);
	void *of = wm_policy_draft_add(en->d, s);

	if (!of)
		wm_err_set(d->e, WM_E_INVALID, "%s: too many: at most %u are allowed", name,
			   s->max);
	return of;
}

static int get_meta(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_dec_pairs pairs = {0};
	struct entry *en = to;
	const struct field at = {.names = f->names};
	int err = wm_dec_pairs(d, &at, v, &pairs);

	for (unsigned n = 0; n < pairs.count && !err; n++) {
		struct wm_policy_meta *m = add(d, en, "meta");

		if (!m)
			return WM_E_INVALID;
		*m = (struct wm_policy_meta){en->view, pairs.at[n].key, pairs.at[n].value};
	}
	return err;
}

/* Whose place it is: this datacenter's, and the only tenancy that there is. */
struct target {
	struct wm_policy_target t;
	const char *datacenter, *ns, *partition;
};

static int judge_place(struct decoder *d, const struct entry *en, const struct target *t)
{
	if (set(t->datacenter) && strcmp(t->datacenter, en->datacenter) != 0)
		return refuse(d, "Datacenter", t->datacenter,
			      "a mesh is one datacenter; of regions see the policy's failover");
	return wm_dec_tenancy(d, t->ns, t->partition);
}

#define TARGET(names, fn, member)                                                                  \
	{                                                                                          \
		names, fn, offsetof(struct target, member), 0, 0                                   \
	}
static const struct field target_fields[] = {
	TARGET("Service", wm_dec_string, t.service),
	TARGET("ServiceSubset|service_subset", wm_dec_string, t.subset),
	TARGET("Datacenter", wm_dec_string, datacenter),
	TARGET("Namespace", wm_dec_string, ns),
	TARGET("Partition", wm_dec_string, partition),
	{"Peer", meaningless, 0, 0, 0},
	{"SamenessGroup|sameness_group", meaningless, 0, 0, 0},
};

static int get_target(struct decoder *d, struct entry *en, json_t *v, struct wm_policy_target *ret)
{
	struct target t = {.t = {"", "", "", ""}};
	int err = wm_dec_fields(d, target_fields, WM_ARRAY_LEN(target_fields), v, &t);

	if (!err)
		err = judge_place(d, en, &t);
	ret->service = t.t.service;
	ret->subset = t.t.subset;
	return err;
}

/* --- service-resolver ---------------------------------------------------------------------------
 */
static int get_bool(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_boolean(v))
		return wm_dec_wrong(d, f, "true or false", v);
	*(uint32_t *)((char *)to + f->offset) = json_is_true(v);
	return 0;
}

static const struct field subset_fields[] = {
	{"Filter", wm_dec_string, offsetof(struct wm_policy_subset, filter), 0, 0},
	{"OnlyPassing|only_passing", get_bool, offsetof(struct wm_policy_subset, only_passing), 0,
	 0},
};

static int get_subsets(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	const char *key;
	json_t *item;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object of subsets", v);
	json_object_foreach(v, key, item)
	{
		struct wm_policy_subset *s = add(d, to, "subsets");
		size_t back;
		int err;

		if (!s)
			return WM_E_INVALID;
		if (!json_is_object(item))
			return wm_dec_wrong(d, f, "an object of subsets", item);
		s->name = key;
		back = wm_dec_enter(d, f, key, SIZE_MAX);
		err = wm_dec_fields(d, subset_fields, WM_ARRAY_LEN(subset_fields), item, s);
		if (err)
			return err;
		d->where[back] = 0;
	}
	return 0;
}

static int get_default_subset(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return wm_dec_string(d, f, v, &((struct entry *)to)->d->p);
}

static int get_redirect(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct entry *en = to;
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	back = wm_dec_enter(d, f, NULL, SIZE_MAX);
	err = get_target(d, en, v, &en->d->p.redirect);
	if (!err)
		d->where[back] = 0;
	return err;
}

struct failover {
	struct target one; /* first */
	json_t *targets, *datacenters;
};

static int get_json(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_array(v))
		return wm_dec_wrong(d, f, "an array", v);
	*(json_t **)((char *)to + f->offset) = v;
	return 0;
}

static const struct field failover_fields[] = {
	TARGET("Service", wm_dec_string, t.service),
	TARGET("ServiceSubset|service_subset", wm_dec_string, t.subset),
	TARGET("Namespace", wm_dec_string, ns),
	{"Datacenters", get_json, offsetof(struct failover, datacenters), 0, 0},
	{"Targets", get_json, offsetof(struct failover, targets), 0, 0},
	{"Policy", meaningless, 0, 0, 0},
	{"SamenessGroup|sameness_group", meaningless, 0, 0, 0},
};

static int add_failover(struct decoder *d, struct entry *en, const char *of,
			const struct wm_policy_target *t)
{
	struct wm_policy_target *to = add(d, en, "failover");

	if (!to)
		return WM_E_INVALID;
	to->of = of;
	to->service = t->service;
	to->subset = t->subset;
	return 0;
}

static int get_targets(struct decoder *d, struct entry *en, const char *of, json_t *v)
{
	static const struct field named = {.names = "Targets"};
	json_t *item;
	size_t i;

	json_array_foreach(v, i, item)
	{
		struct wm_policy_target t = {"", "", "", ""};
		size_t back;
		int err;

		if (!json_is_object(item))
			return wm_dec_wrong(d, &named, "an array of objects", item);
		back = wm_dec_enter(d, &named, NULL, i);
		err = get_target(d, en, item, &t);
		if (!err)
			err = add_failover(d, en, of, &t);
		if (err)
			return err;
		d->where[back] = 0;
	}
	return 0;
}

static int judge_datacenters(struct decoder *d, const struct entry *en, json_t *v)
{
	json_t *item;
	size_t i;

	json_array_foreach(v, i, item)
	{
		const char *s = json_string_value(item);

		if (!s || strcmp(s, en->datacenter) != 0)
			return refuse(d, "Datacenters", s ? s : "",
				      "a mesh is one datacenter; of regions see the policy's "
				      "failover");
	}
	return 0;
}

static int get_one_failover(struct decoder *d, struct entry *en, const char *of, json_t *v)
{
	struct failover f = {.one = {.t = {"", "", "", ""}}};
	int err = wm_dec_fields(d, failover_fields, WM_ARRAY_LEN(failover_fields), v, &f);

	if (!err)
		err = judge_place(d, en, &f.one);
	if (!err && f.datacenters)
		err = judge_datacenters(d, en, f.datacenters);
	if (err || !json_array_size(f.targets))
		return err ? err : add_failover(d, en, of, &f.one.t);
	if (set(f.one.t.service) || set(f.one.t.subset))
		return refuse(d, "Targets", "", "either them, or Service and ServiceSubset");
	return get_targets(d, en, of, f.targets);
}

static int get_failover(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	const char *key;
	json_t *item;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object by subset, or \"*\"", v);
	json_object_foreach(v, key, item)
	{
		size_t back;
		int err;

		if (!json_is_object(item))
			return wm_dec_wrong(d, f, "an object by subset, or \"*\"", item);
		back = wm_dec_enter(d, f, key, SIZE_MAX);
		err = get_one_failover(d, to, key, item);
		if (err)
			return err;
		d->where[back] = 0;
	}
	return 0;
}

static int get_balance(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_policy *p = &((struct entry *)to)->d->p;
	const char *s = json_string_value(v);

	if (!s)
		return wm_dec_wrong(d, f, "a string", v);
	for (uint32_t n = 0; n < WM_BALANCE_COUNT && *s; n++) {
		if (policies[n] && strcmp(policies[n], s) == 0) {
			p->balance = n;
			return 0;
		}
	}
	return *s ? refuse(d, "Policy", s, "random, round_robin, least_request, maglev") : 0;
}

/* Two are drawn, whoever asks for how many. */
static int get_choices(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	(void)to;
	if (json_is_integer(v) && (json_integer_value(v) == 0 || json_integer_value(v) == 2))
		return 0;
	return wm_dec_wrong(d, f, "2", v);
}
static const struct field least_fields[] = {
	{"ChoiceCount|choice_count", get_choices, 0, 0, 0},
};

/* An object of @p fields within another. */
static int nested(struct decoder *d, const struct field *f, json_t *v, const struct field *fields,
		  size_t n, void *to)
{
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	back = wm_dec_enter(d, f, NULL, SIZE_MAX);
	err = wm_dec_fields(d, fields, n, v, to);
	if (!err)
		d->where[back] = 0;
	return err;
}

static int get_least(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	((struct entry *)to)->least = true;
	return nested(d, f, v, least_fields, WM_ARRAY_LEN(least_fields), to);
}

/* Of a balancer that is not here: what it says is of no matter. */
static int get_ring(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	((struct entry *)to)->ring = true;
	return json_is_object(v) ? 0 : wm_dec_wrong(d, f, "an object", v);
}

struct hash {
	bool source_ip, terminal;
};
static const struct field hash_fields[] = {
	{"SourceIP|source_ip", wm_dec_bool, offsetof(struct hash, source_ip), 0, 0},
	{"Terminal", wm_dec_bool, offsetof(struct hash, terminal), 0, 0},
	{"Field", meaningless, 0, 0, 0},
	{"FieldValue|field_value", meaningless, 0, 0, 0},
	{"CookieConfig|cookie_config", meaningless, 0, 0, 0},
};

/* The source address is the network namespace's: it is known before there is one. */
static int get_hashes(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct entry *en = to;
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return wm_dec_wrong(d, f, "an array of objects", v);
	en->hashes = json_array_size(v);
	json_array_foreach(v, i, item)
	{
		size_t back = wm_dec_enter(d, f, NULL, i);
		struct hash h = {0};
		int err = json_is_object(item) ? wm_dec_fields(d, hash_fields,
							       WM_ARRAY_LEN(hash_fields), item, &h)
					       : refuse(d, "", "", "an object");

		if (err)
			return err;
		d->where[back] = 0;
		if (h.source_ip)
			en->d->p.hash_on = WM_HASH_ON_NETNS;
	}
	return 0;
}
static const struct field balancer_fields[] = {
	{"Policy", get_balance, 0, 0, 0},
	{"LeastRequestConfig|least_request_config", get_least, 0, 0, 0},
	{"HashPolicies|hash_policies", get_hashes, 0, 0, 0},
	{"RingHashConfig|ring_hash_config", get_ring, 0, 0, 0},
};

/* What is of one way to choose, beside another: in Consul's words. */
static int judge_balancer(struct decoder *d, const struct entry *en)
{
	const uint32_t balance = en->d->p.balance;
	const char *name = policies[balance] ? policies[balance] : "", *of = NULL;

	if (en->ring)
		of = "RingHashConfig";
	else if (en->least && balance != WM_BALANCE_LEAST_CONNECTIONS)
		of = "LeastRequestConfig";
	if (of)
		return wm_err_set(d->e, WM_E_INVALID,
				  "Bad LoadBalancer configuration. %s specified for incompatible "
				  "load balancing policy \"%s\"",
				  of, name);
	if (en->hashes && balance != WM_BALANCE_MAGLEV)
		return wm_err_set(d->e, WM_E_INVALID,
				  "Bad LoadBalancer configuration: HashPolicies specified for "
				  "non-hash-based Policy: \"%s\"",
				  name);
	return 0;
}

static int get_balancer(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	int err = nested(d, f, v, balancer_fields, WM_ARRAY_LEN(balancer_fields), to);

	return err ? err : judge_balancer(d, to);
}

#define ENTRY(names, member)                                                                       \
	{                                                                                          \
		names, wm_dec_string, offsetof(struct entry, member), 0, 0                         \
	}
#define COMMON                                                                                     \
	ENTRY("Kind", kind), ENTRY("Name", name), ENTRY("Namespace", ns),                          \
		ENTRY("Partition", partition), {"Meta", get_meta, 0, 0, 0},                        \
		{"CreateIndex|create_index", wm_dec_ignore, 0, 0, 0},                              \
		{"ModifyIndex|modify_index", wm_dec_ignore, 0, 0, 0},                              \
	{                                                                                          \
		"Hash", wm_dec_ignore, 0, 0, 0                                                     \
	}
static const struct field resolver_fields[] = {
	COMMON,
	{"DefaultSubset|default_subset", get_default_subset,
	 offsetof(struct wm_policy, default_subset), 0, 0},
	{"Subsets", get_subsets, 0, 0, 0},
	{"Redirect", get_redirect, 0, 0, 0},
	{"Failover", get_failover, 0, 0, 0},
	{"LoadBalancer|load_balancer", get_balancer, 0, 0, 0},
	{"ConnectTimeout|connect_timeout", meaningless, 0, 0, 0},
	{"RequestTimeout|request_timeout", meaningless, 0, 0, 0},
	{"PrioritizeByLocality|prioritize_by_locality", meaningless, 0, 0, 0},
};

/* --- service-splitter ---------------------------------------------------------------------------
 */
static int get_weight(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	double x = json_number_value(v) * 100;

	if (!json_is_number(v) || x < 0 || x > WM_POLICY_WHOLE || fabs(x - round(x)) > 1e-6)
		return wm_dec_wrong(d, f, "a number from 0 to 100 with two decimals at most", v);
	*(uint32_t *)((char *)to + f->offset) = (uint32_t)llround(x);
	return 0;
}
struct split {
	struct target at; /* first */
	uint32_t percent;
};
static const struct field split_fields[] = {
	{"Weight", get_weight, offsetof(struct split, percent), 0, 0},
	TARGET("Service", wm_dec_string, t.service),
	TARGET("ServiceSubset|service_subset", wm_dec_string, t.subset),
	TARGET("Namespace", wm_dec_string, ns),
	TARGET("Partition", wm_dec_string, partition),
	{"RequestHeaders|request_headers", meaningless, 0, 0, 0},
	{"ResponseHeaders|response_headers", meaningless, 0, 0, 0},
};

static int get_splits(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct entry *en = to;
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return wm_dec_wrong(d, f, "an array of objects", v);
	json_array_foreach(v, i, item)
	{
		struct split s = {.at = {.t = {"", "", "", ""}}};
		struct wm_policy_split *of = add(d, en, "split");
		size_t back;
		int err;

		if (!of)
			return WM_E_INVALID;
		if (!json_is_object(item))
			return wm_dec_wrong(d, f, "an array of objects", item);
		back = wm_dec_enter(d, f, NULL, i);
		err = wm_dec_fields(d, split_fields, WM_ARRAY_LEN(split_fields), item, &s);
		if (!err)
			err = judge_place(d, en, &s.at);
		if (err)
			return err;
		d->where[back] = 0;
		*of = (struct wm_policy_split){s.percent, s.at.t.service, s.at.t.subset};
	}
	return 0;
}
static const struct field splitter_fields[] = {COMMON, {"Splits", get_splits, 0, 0, 0}};

/* --- service-defaults ---------------------------------------------------------------------------
 */
static int get_protocol(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return wm_dec_string(d, f, v, &((struct entry *)to)->d->p);
}
static const struct field defaults_fields[] = {
	COMMON,
	{"Protocol", get_protocol, offsetof(struct wm_policy, protocol), 0, 0},
	{"Mode", meaningless, 0, 0, 0},
	{"TransparentProxy|transparent_proxy", meaningless, 0, 0, 0},
	{"MutualTLSMode|mutual_tls_mode", meaningless, 0, 0, 0},
	{"MeshGateway|mesh_gateway", meaningless, 0, 0, 0},
	{"Expose", meaningless, 0, 0, 0},
	{"ExternalSNI|external_sni", meaningless, 0, 0, 0},
	{"UpstreamConfig|upstream_config", meaningless, 0, 0, 0},
	{"Destination", meaningless, 0, 0, 0},
	{"MaxInboundConnections|max_inbound_connections", meaningless, 0, 0, 0},
	{"LocalConnectTimeoutMs|local_connect_timeout_ms", meaningless, 0, 0, 0},
	{"LocalRequestTimeoutMs|local_request_timeout_ms", meaningless, 0, 0, 0},
	{"BalanceInboundConnections|balance_inbound_connections", meaningless, 0, 0, 0},
	{"RateLimits|rate_limits", meaningless, 0, 0, 0},
	{"EnvoyExtensions|envoy_extensions", meaningless, 0, 0, 0},
};

/* --- bodies -------------------------------------------------------------------------------------
 */
static const struct {
	const struct field *fields;
	unsigned count;
} bodies[WM_CONFIG_KINDS] = {
	[WM_POLICY_RESOLVER] = {resolver_fields, WM_ARRAY_LEN(resolver_fields)},
	[WM_POLICY_SPLITTER] = {splitter_fields, WM_ARRAY_LEN(splitter_fields)},
	[WM_POLICY_DEFAULTS] = {defaults_fields, WM_ARRAY_LEN(defaults_fields)},
};

static const char *text_of(json_t *o, const char *name)
{
	const char *key;
	json_t *v;

	json_object_foreach(o, key, v)
	{
		if (strcasecmp(key, name) == 0)
			return json_string_value(v);
	}
	return NULL;
}

int wm_decode_config(const char *body, size_t len, struct wm_decoded **ret,
		     struct wm_config_body *ret_body, struct wm_err *e)
{
	struct wm_decoded *mem = calloc(1, sizeof(*mem));
	struct decoder d = {.mem = mem, .e = e};
	const char *kind;
	int err;

	if (!mem)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	kind = err ? NULL : text_of(mem->root, "Kind");
	if (!err && (!kind || !wm_config_kind(kind, &ret_body->kind)))
		err = refuse(&d, "Kind", kind ? kind : "",
			     "service-resolver, service-splitter, service-defaults");
	ret_body->name = err ? NULL : text_of(mem->root, "Name");
	if (!err && !set(ret_body->name))
		err = wm_err_set(e, WM_E_INVALID, "Name is required");
	else if (!err && strcmp(ret_body->name, "*") == 0)
		err = refuse(&d, "Name", "*",
			     "the name of one service, there are no entries for all");
	if (err) {
		wm_decoded_free(mem);
		return err;
	}
	*ret = mem;
	return 0;
}

int wm_config_apply(struct wm_decoded *mem, const struct wm_config_body *b, const char *datacenter,
		    struct wm_policy_draft *p, struct wm_err *e)
{
	struct decoder d = {.mem = mem, .e = e};
	struct entry en = {.d = p, .view = b->kind, .datacenter = datacenter};
	int err;

	wm_config_clear(p, b->kind);
	p->p.resolver |= b->kind == WM_POLICY_RESOLVER;
	p->p.defaults |= b->kind == WM_POLICY_DEFAULTS;
	err = wm_dec_fields(&d, bodies[b->kind].fields, bodies[b->kind].count, mem->root, &en);
	if (!err)
		err = wm_dec_tenancy(&d, en.ns, en.partition);
	if (!err && b->kind == WM_POLICY_SPLITTER && !p->p.splits_count)
		err = wm_err_set(e, WM_E_INVALID, "no splits configured");
	return err;
}

/* --- parts of a policy ---------------------------------------------------------------------------
 */
static void clear_resolver(struct wm_policy_draft *d)
{
	struct wm_policy *p = &d->p;
	uint32_t kept = 0;

	p->resolver = 0;
	p->default_subset = "";
	p->subsets_count = 0;
	p->redirect = (struct wm_policy_target){"", "", "", ""};
	for (uint32_t n = 0; n < p->failover_count; n++) {
		if (*d->failover[n].region) /* which an entry cannot say */
			d->failover[kept++] = d->failover[n];
	}
	p->failover_count = kept;
	if (!kept && p->select == WM_SELECT_FAILOVER)
		p->select = WM_SELECT_ALL;
	if (!policies[p->balance])
		return;
	p->balance = WM_BALANCE_WEIGHTED;
	p->hash_on = WM_HASH_ON_SOCKET;
}

void wm_config_clear(struct wm_policy_draft *d, enum wm_policy_view kind)
{
	struct wm_policy *p = &d->p;
	uint32_t kept = 0;

	for (uint32_t n = 0; n < p->meta_count; n++) {
		if (d->meta[n].view != (uint32_t)kind)
			d->meta[kept++] = d->meta[n];
	}
	p->meta_count = kept;
	if (kind == WM_POLICY_RESOLVER) {
		clear_resolver(d);
	} else if (kind == WM_POLICY_SPLITTER) {
		p->splits_count = 0;
	} else {
		p->defaults = 0;
		p->protocol = "";
	}
}

/* --- out -----------------------------------------------------------------------------------------
 */
static void put_text(struct wm_json *j, const char *key, const char *s)
{
	if (*s)
		wm_json_ks(j, key, s);
}

static void put_place(struct wm_json *j, const struct wm_policy_target *t)
{
	put_text(j, "Service", t->service);
	put_text(j, "ServiceSubset", t->subset);
}

static void put_subsets(struct wm_json *j, const struct wm_policy *p)
{
	if (!p->subsets_count)
		return;
	wm_json_kopen(j, "Subsets", '{');
	for (uint32_t n = 0; n < p->subsets_count; n++) {
		wm_json_kopen(j, p->subsets[n].name, '{');
		put_text(j, "Filter", p->subsets[n].filter);
		if (p->subsets[n].only_passing)
			wm_json_kb(j, "OnlyPassing", true);
		wm_json_close(j, '}');
	}
	wm_json_close(j, '}');
}

static const char *of_target(const struct wm_policy_target *t)
{
	return *t->of ? t->of : "*";
}

/* Targets of one subset, those of a region left out. @return how many there are. */
static unsigned put_targets(struct wm_json *j, const struct wm_policy *p, const char *of)
{
	unsigned count = 0;

	for (uint32_t n = 0; n < p->failover_count; n++) {
		const struct wm_policy_target *t = &p->failover[n];

		if (*t->region || strcmp(of_target(t), of) != 0)
			continue;
		count++;
		if (!j)
			continue;
		wm_json_open(j, '{');
		put_place(j, t);
		wm_json_close(j, '}');
	}
	return count;
}

/* Is it the first of its subset? */
static bool is_first(const struct wm_policy *p, uint32_t n)
{
	if (*p->failover[n].region)
		return false;
	for (uint32_t k = 0; k < n; k++) {
		if (!*p->failover[k].region &&
		    strcmp(of_target(&p->failover[k]), of_target(&p->failover[n])) == 0)
			return false;
	}
	return true;
}

static void put_failover(struct wm_json *j, const struct wm_policy *p)
{
	bool open = false;

	for (uint32_t n = 0; n < p->failover_count; n++) {
		const struct wm_policy_target *t = &p->failover[n];

		if (!is_first(p, n))
			continue;
		if (!open)
			wm_json_kopen(j, "Failover", '{');
		open = true;
		wm_json_kopen(j, of_target(t), '{');
		if (put_targets(NULL, p, of_target(t)) > 1) {
			wm_json_kopen(j, "Targets", '[');
			put_targets(j, p, of_target(t));
			wm_json_close(j, ']');
		} else {
			put_place(j, t);
		}
		wm_json_close(j, '}');
	}
	if (open)
		wm_json_close(j, '}');
}

static void put_resolver(struct wm_json *j, const struct wm_policy *p)
{
	put_text(j, "DefaultSubset", p->default_subset);
	put_subsets(j, p);
	if (*p->redirect.service || *p->redirect.subset) {
		wm_json_kopen(j, "Redirect", '{');
		put_place(j, &p->redirect);
		wm_json_close(j, '}');
	}
	put_failover(j, p);
	if (!policies[p->balance])
		return;
	wm_json_kopen(j, "LoadBalancer", '{');
	wm_json_ks(j, "Policy", policies[p->balance]);
	if (p->hash_on == WM_HASH_ON_NETNS) {
		wm_json_kopen(j, "HashPolicies", '[');
		wm_json_open(j, '{');
		wm_json_kb(j, "SourceIP", true);
		wm_json_close(j, '}');
		wm_json_close(j, ']');
	}
	wm_json_close(j, '}');
}

static void put_splitter(struct wm_json *j, const struct wm_policy *p)
{
	wm_json_kopen(j, "Splits", '[');
	for (uint32_t n = 0; n < p->splits_count; n++) {
		const struct wm_policy_split *s = &p->splits[n];

		wm_json_open(j, '{');
		wm_json_key(j, "Weight");
		wm_json_double(j, s->percent / 100.0);
		put_text(j, "Service", s->service);
		put_text(j, "ServiceSubset", s->subset);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
}

static void put_meta(struct wm_json *j, const struct wm_policy *p, enum wm_policy_view kind)
{
	bool open = false;

	for (uint32_t n = 0; n < p->meta_count; n++) {
		if (p->meta[n].view != (uint32_t)kind)
			continue;
		if (!open)
			wm_json_kopen(j, "Meta", '{');
		open = true;
		wm_json_ks(j, p->meta[n].key, p->meta[n].value);
	}
	if (open)
		wm_json_close(j, '}');
}

void wm_encode_config(struct wm_json *j, const struct wm_policy *p, enum wm_policy_view kind)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "Kind", wm_config_kinds[kind]);
	wm_json_ks(j, "Name", p->service);
	if (kind == WM_POLICY_RESOLVER)
		put_resolver(j, p);
	else if (kind == WM_POLICY_SPLITTER)
		put_splitter(j, p);
	else
		put_text(j, "Protocol", p->protocol);
	put_meta(j, p, kind);
	wm_json_ku(j, "CreateIndex", p->create_index);
	wm_json_ku(j, "ModifyIndex", p->modify_index);
	wm_json_close(j, '}');
}
