/* SPDX-License-Identifier: Apache-2.0 */
/* decode_catalog.c - bodies of /v1/catalog/register, /v1/catalog/deregister and /v1/txn into writes
 * of the catalog. They carry objects as reads answer them, so fields that a client sends back
 * (indexes, a check's ServiceName) are known and have no effect. */
#include "decode_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct raw_node {
	const char *name, *id, *address, *datacenter, *ns, *partition, *peer;
	struct wm_dec_pairs meta, tagged;
	struct wm_traits place; /* region and zone of it */
	uint64_t modify_index;
	struct wm_node_draft draft;
};
struct raw_service {
	struct wm_instance_draft d; /* first, for wm_dec_tags() and the like */
	const char *ns, *partition, *peer;
	uint64_t modify_index;
	bool given;
};
struct raw_definition {
	const char *http, *tcp, *target, *method, *body, *tls_server_name;
	struct wm_dec_pairs headers;
	uint64_t interval_ms, timeout_ms, deregister_ms;
	bool tls_skip_verify, tcp_tls, disable_redirects;
	const char *more[WM_STATED_MEMBERS_COUNT]; /* as args of a STATED check */
	unsigned more_count;
};
struct raw_check {
	const char *node, *id, *name, *status, *notes, *output, *type, *service_id, *ns, *partition,
		*peer;
	struct raw_definition definition;
	uint64_t interval_ms, timeout_ms, modify_index;
	struct wm_check_draft draft;
};
struct raw_register {
	struct raw_node node;
	struct raw_service service;
	struct raw_check *checks;
	unsigned checks_count;
	bool skip_node_update;
};
struct raw_deregister {
	const char *node, *service_id, *check_id, *datacenter, *ns, *partition, *peer;
};

#define F(names, fn, type, member)                                                                 \
	{                                                                                          \
		names, fn, offsetof(struct type, member), 0, 0                                     \
	}

static int get_u64(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return wm_dec_wrong(d, f, "a whole number", v);
	*(uint64_t *)((char *)to + f->offset) = (uint64_t)json_integer_value(v);
	return 0;
}

/* --- nodes ------------------------------------------------------------------------------------ */
static int get_place(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return wm_dec_place(d, f, v, (struct wm_traits *)((char *)to + f->offset));
}

static const struct field node_fields[] = {
	F("Node", wm_dec_string, raw_node, name),
	F("ID", wm_dec_string, raw_node, id),
	F("Address", wm_dec_string, raw_node, address),
	F("Datacenter", wm_dec_string, raw_node, datacenter),
	F("Meta", wm_dec_pairs, raw_node, meta),
	F("TaggedAddresses|tagged_addresses", wm_dec_pairs, raw_node, tagged),
	F("CreateIndex", wm_dec_ignore, raw_node, modify_index),
	F("ModifyIndex", get_u64, raw_node, modify_index),
	F("Partition", wm_dec_string, raw_node, partition),
	F("PeerName", wm_dec_string, raw_node, peer),
	F("Locality", get_place, raw_node, place),
};

static int judge_peer(struct decoder *d, const char *peer)
{
	return set(peer) ? wm_err_set(d->e, WM_E_INVALID, "PeerName must be left out") : 0;
}

static int judge_node(struct decoder *d, struct raw_node *n)
{
	int err = wm_dec_tenancy(d, n->ns, n->partition);

	if (!err)
		err = judge_peer(d, n->peer);
	n->draft = (struct wm_node_draft){.id = n->id,
					  .address = n->address,
					  .meta = n->meta.at,
					  .meta_count = n->meta.count,
					  .tagged = n->tagged.at,
					  .tagged_count = n->tagged.count,
					  .region = n->place.region,
					  .zone = n->place.zone};
	return err;
}

/* --- services --------------------------------------------------------------------------------- */
static const struct field service_fields[] = {
	F("ID", wm_dec_string, raw_service, d.id),
	F("Service", wm_dec_string, raw_service, d.name),
	F("Tags", wm_dec_tags, raw_service, d),
	F("Address", wm_dec_string, raw_service, d.address),
	{"Port", wm_dec_int, offsetof(struct raw_service, d.port), 0, 65535},
	F("Meta", wm_dec_meta, raw_service, d),
	F("TaggedAddresses|tagged_addresses", wm_dec_tagged, raw_service, d),
	F("Weights", wm_dec_weights, raw_service, d),
	F("EnableTagOverride|enable_tag_override", wm_dec_bool, raw_service, d.enable_tag_override),
	F("Kind", wm_dec_kind, raw_service, d),
	F("SocketPath|socket_path", wm_dec_socket_path, raw_service, d),
	F("Proxy", wm_dec_proxy, raw_service, d),
	F("Connect", wm_dec_connect_native, raw_service, d),
	F("CreateIndex", wm_dec_ignore, raw_service, d),
	F("ModifyIndex", get_u64, raw_service, modify_index),
	F("ContentHash", wm_dec_ignore, raw_service, d),
	F("Datacenter", wm_dec_ignore, raw_service, d),
	F("Locality", wm_dec_locality, raw_service, d),
	F("Namespace", wm_dec_string, raw_service, ns),
	F("Partition", wm_dec_string, raw_service, partition),
	F("PeerName", wm_dec_string, raw_service, peer),
};
_Static_assert(offsetof(struct raw_service, d) == 0, "wm_dec_tags() takes the draft for the whole");

static int judge_service(struct decoder *d, struct raw_service *s)
{
	int err = wm_dec_scope(d, s->ns, s->partition, &s->d.name);

	if (!err)
		err = judge_peer(d, s->peer);
	if (!set(s->d.id))
		s->d.id = NULL;
	/* in Go's structures what was not set; to an agent they are sent as null */
	if (!s->d.weight_passing && !s->d.weight_warning)
		s->d.has_weights = false;
	return err;
}

/* --- checks ----------------------------------------------------------------------------------- */
static int get_definition_header(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return wm_dec_header_pairs(d, f, v, (struct wm_dec_pairs *)((char *)to + f->offset));
}

/* Keep "<name>=<value>"; @p f is one of WM_STATED_MEMBERS. */
static int keep_member(struct decoder *d, const char *name, const char *value,
		       struct raw_definition *def)
{
	size_t len = strlen(name) + 1 + strlen(value) + 1;
	char *text = wm_dec_allocate(d, len, 1);

	if (!text)
		return -ENOMEM;
	snprintf(text, len, "%s=%s", name, value);
	def->more[def->more_count++] = text;
	return 0;
}

static int more_text(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_string(v))
		return wm_dec_wrong(d, f, "a string", v);
	return json_string_length(v) ? keep_member(d, f->names, json_string_value(v), to) : 0;
}

static int more_flag(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_boolean(v))
		return wm_dec_wrong(d, f, "true or false", v);
	return json_is_true(v) ? keep_member(d, f->names, "true", to) : 0;
}

static int more_number(struct decoder *d, const struct field *f, uint64_t n, void *to)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, n);
	return n ? keep_member(d, f->names, text, to) : 0;
}

static int more_size(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0)
		return wm_dec_wrong(d, f, "a whole number", v);
	return more_number(d, f, (uint64_t)json_integer_value(v), to);
}

static int more_duration(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	uint64_t ms = 0;
	int err = wm_dec_duration(d, f, v, &ms);

	return err ? err : more_number(d, f, ms * WM_NS_PER_MS, to);
}

static const struct field definition_fields[] = {
	F("HTTP", wm_dec_string, raw_definition, http),
	F("Header", get_definition_header, raw_definition, headers),
	F("Method", wm_dec_string, raw_definition, method),
	F("Body", wm_dec_string, raw_definition, body),
	F("TLSServerName", wm_dec_string, raw_definition, tls_server_name),
	F("TLSSkipVerify", wm_dec_bool, raw_definition, tls_skip_verify),
	F("TCP", wm_dec_string, raw_definition, tcp),
	F("TCPUseTLS", wm_dec_bool, raw_definition, tcp_tls),
	F("Interval|IntervalDuration", wm_dec_duration, raw_definition, interval_ms),
	F("Timeout|TimeoutDuration", wm_dec_duration, raw_definition, timeout_ms),
	F("DeregisterCriticalServiceAfter|DeregisterCriticalServiceAfterDuration", wm_dec_duration,
	  raw_definition, deregister_ms),
	F("DisableRedirects", wm_dec_bool, raw_definition, disable_redirects),
	{"UDP", more_text, 0, 0, 0},
	{"H2PING", more_text, 0, 0, 0},
	{"OSService", more_text, 0, 0, 0},
	{"H2PingUseTLS", more_flag, 0, 0, 0},
	{"OutputMaxSize", more_size, 0, 0, 0},
	{"GRPC", more_text, 0, 0, 0},
	{"GRPCUseTLS", more_flag, 0, 0, 0},
	{"AliasNode", more_text, 0, 0, 0},
	{"AliasService", more_text, 0, 0, 0},
	{"TTL", more_duration, 0, 0, 0},
};

/* A check has one target, a URL or not; what is left is a member beside it. */
static int judge_targets(struct decoder *d, struct raw_definition *def)
{
	bool url = set(def->http) && strstr(def->http, "://");
	bool one = !url && set(def->tcp) && !strstr(def->tcp, "://");
	int err = 0;

	def->target = url ? def->http : one ? def->tcp : NULL;
	if (set(def->http) && !url)
		err = keep_member(d, "HTTP", def->http, def);
	if (!err && set(def->tcp) && !one)
		err = keep_member(d, "TCP", def->tcp, def);
	return err;
}

static int get_definition(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	back = wm_dec_enter(d, f, NULL, SIZE_MAX);
	err = wm_dec_fields(d, definition_fields, WM_ARRAY_LEN(definition_fields), v,
			    (char *)to + f->offset);
	d->where[back] = 0;
	return err ? err : judge_targets(d, (struct raw_definition *)((char *)to + f->offset));
}

static const struct field check_fields[] = {
	F("Node", wm_dec_string, raw_check, node),
	F("CheckID|check_id", wm_dec_string, raw_check, id),
	F("Name", wm_dec_string, raw_check, name),
	F("Status", wm_dec_string, raw_check, status),
	F("Notes", wm_dec_string, raw_check, notes),
	F("Output", wm_dec_string, raw_check, output),
	F("ServiceID|service_id", wm_dec_string, raw_check, service_id),
	F("ServiceName", wm_dec_ignore, raw_check, id),
	F("ServiceTags", wm_dec_ignore, raw_check, id),
	F("Type", wm_dec_string, raw_check, type),
	F("Interval", wm_dec_duration, raw_check, interval_ms),
	F("Timeout", wm_dec_duration, raw_check, timeout_ms),
	F("ExposedPort", wm_dec_ignore, raw_check, id),
	F("Definition", get_definition, raw_check, definition),
	F("CreateIndex", wm_dec_ignore, raw_check, id),
	F("ModifyIndex", get_u64, raw_check, modify_index),
	F("Namespace", wm_dec_string, raw_check, ns),
	F("Partition", wm_dec_string, raw_check, partition),
	F("PeerName", wm_dec_string, raw_check, peer),
};

static void draft_check(struct raw_check *c)
{
	const struct raw_definition *def = &c->definition;

	c->draft = (struct wm_check_draft){
		.id = c->id,
		.name = set(c->name) ? c->name : c->id,
		.notes = c->notes,
		.output = c->output,
		.type = c->type,
		.kind = WM_CHECK_STATED,
		.target = def->target,
		.method = def->method,
		.body = def->body,
		.headers = def->headers.at,
		.headers_count = def->headers.count,
		.tls_server_name = def->tls_server_name,
		.tls_skip_verify = def->tls_skip_verify,
		.use_tls = def->tcp_tls,
		.disable_redirects = def->disable_redirects,
		.args = def->more,
		.args_count = def->more_count,
		.interval_ms = c->interval_ms ? c->interval_ms : def->interval_ms,
		.timeout_ms = c->timeout_ms ? c->timeout_ms : def->timeout_ms,
		.deregister_after_ms = def->deregister_ms,
		.has_status = true,
		.status = WM_CRITICAL};
}

static int judge_check(struct decoder *d, struct raw_check *c)
{
	int err = wm_dec_tenancy(d, c->ns, c->partition);

	if (!err)
		err = judge_peer(d, c->peer);
	draft_check(c);
	if (!err && set(c->status) && wm_status_parse(c->status, &c->draft.status))
		err = wm_err_set(d->e, WM_E_INVALID,
				 "Status for checks must 'passing', 'warning', 'critical'");
	return err;
}

/* --- register --------------------------------------------------------------------------------- */
static int get_service(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_register *r = to;
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	back = wm_dec_enter(d, f, NULL, SIZE_MAX);
	err = wm_dec_fields(d, service_fields, WM_ARRAY_LEN(service_fields), v, &r->service);
	d->where[back] = 0;
	r->service.given = true;
	return err ? err : judge_service(d, &r->service);
}

static int read_check(struct decoder *d, const struct field *f, size_t i, json_t *v,
		      struct raw_check *c)
{
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	back = wm_dec_enter(d, f, NULL, i);
	err = wm_dec_fields(d, check_fields, WM_ARRAY_LEN(check_fields), v, c);
	d->where[back] = 0;
	return err ? err : judge_check(d, c);
}

static struct raw_check *more_checks(struct decoder *d, struct raw_register *r, size_t more)
{
	struct raw_check *all = wm_dec_allocate(d, r->checks_count + more, sizeof(*all));

	if (!all)
		return NULL;
	if (r->checks_count)
		memcpy(all, r->checks, r->checks_count * sizeof(*all));
	r->checks = all;
	return all;
}

static int get_check(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_register *r = to;

	if (!more_checks(d, r, 1))
		return -ENOMEM;
	return read_check(d, f, SIZE_MAX, v, &r->checks[r->checks_count++]);
}

static int get_checks(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_register *r = to;
	json_t *item;
	size_t i;
	int err;

	if (!json_is_array(v))
		return wm_dec_wrong(d, f, "an array of objects", v);
	if (json_array_size(v) > WM_CHECKS_PER_INSTANCE)
		return wm_err_set(d->e, WM_E_INVALID, "Checks: %zu given, at most %d are allowed",
				  json_array_size(v), WM_CHECKS_PER_INSTANCE);
	if (!more_checks(d, r, json_array_size(v)))
		return -ENOMEM;
	json_array_foreach(v, i, item)
	{
		err = read_check(d, f, i, item, &r->checks[r->checks_count++]);
		if (err)
			return err;
	}
	return 0;
}

static const struct field register_fields[] = {
	F("Node", wm_dec_string, raw_register, node.name),
	F("ID", wm_dec_string, raw_register, node.id),
	F("Address", wm_dec_string, raw_register, node.address),
	F("Datacenter", wm_dec_string, raw_register, node.datacenter),
	F("NodeMeta|node_meta", wm_dec_pairs, raw_register, node.meta),
	F("TaggedAddresses|tagged_addresses", wm_dec_pairs, raw_register, node.tagged),
	F("Service", get_service, raw_register, service),
	F("Check", get_check, raw_register, checks),
	F("Checks", get_checks, raw_register, checks),
	F("SkipNodeUpdate|skip_node_update", wm_dec_bool, raw_register, skip_node_update),
	F("Namespace", wm_dec_string, raw_register, node.ns),
	F("Partition", wm_dec_string, raw_register, node.partition),
	F("PeerName", wm_dec_string, raw_register, node.peer),
	F("Locality", get_place, raw_register, node.place),
};

static int begin(struct decoder *d, struct wm_decoded **ret, struct wm_err *e)
{
	*d = (struct decoder){.mem = calloc(1, sizeof(struct wm_decoded)), .e = e};
	*ret = d->mem;
	return d->mem ? 0 : wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
}

static int judge_register(struct decoder *d, struct raw_register *r)
{
	int err = judge_node(d, &r->node);

	if (!err && !set(r->node.name))
		err = wm_err_set(d->e, WM_E_INTERNAL, "Must provide node");
	if (!err && !set(r->node.address) && !r->skip_node_update)
		err = wm_err_set(d->e, WM_E_INTERNAL,
				 "Must provide address if SkipNodeUpdate is not set");
	if (!err && r->service.given && !set(r->service.d.name))
		err = wm_err_set(d->e, WM_E_INTERNAL,
				 "Must provide service name (Service.Service) when service ID is "
				 "provided");
	for (unsigned n = 0; !err && n < r->checks_count; n++) {
		const char *node = r->checks[n].node;

		if (set(node) && strcasecmp(node, r->node.name) != 0)
			err = wm_err_set(d->e, WM_E_INTERNAL,
					 "Check \"%.*s\" is for node \"%.*s\", not \"%.*s\"", SHOWN,
					 r->checks[n].id ? r->checks[n].id : "", SHOWN, node, SHOWN,
					 r->node.name);
	}
	return err;
}

static struct wm_catalog_op *add(struct wm_catalog *to, enum wm_object object, enum wm_verb verb,
				 const char *node)
{
	struct wm_catalog_op *op = &to->ops[to->count++];

	op->object = object;
	op->verb = verb;
	op->node = node;
	return op;
}

static void add_check(struct wm_catalog *to, enum wm_verb verb, const char *node,
		      const struct raw_check *c)
{
	struct wm_catalog_op *op = add(to, WM_OBJECT_CHECK, verb, node);

	op->id = set(c->id) ? c->id : c->name;
	op->check = &c->draft;
	op->check_service = c->service_id;
	op->index = c->modify_index;
}

int wm_decode_catalog_register(const char *body, size_t len, struct wm_decoded **ret,
			       struct wm_catalog *ret_catalog, struct wm_err *e)
{
	struct raw_register *r;
	struct wm_catalog_op *op;
	struct decoder d;
	int err = begin(&d, ret, e);

	if (!err)
		err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (err)
		return err;
	r = wm_dec_allocate(&d, 1, sizeof(*r));
	if (!r)
		return -ENOMEM;
	err = wm_dec_fields(&d, register_fields, WM_ARRAY_LEN(register_fields), d.mem->root, r);
	if (!err)
		err = judge_register(&d, r);
	if (err)
		return err;
	*ret_catalog = (struct wm_catalog){.datacenter = r->node.datacenter,
					   .skip_node_update = r->skip_node_update};
	ret_catalog->ops = wm_dec_allocate(&d, r->checks_count + 2, sizeof(*op));
	if (!ret_catalog->ops)
		return -ENOMEM;
	op = add(ret_catalog, WM_OBJECT_NODE, WM_VERB_SET, r->node.name);
	op->facts = &r->node.draft;
	if (r->service.given) {
		op = add(ret_catalog, WM_OBJECT_SERVICE, WM_VERB_SET, r->node.name);
		op->service = &r->service.d;
	}
	for (unsigned n = 0; n < r->checks_count; n++)
		add_check(ret_catalog, WM_VERB_SET, r->node.name, &r->checks[n]);
	return 0;
}

/* --- deregister ------------------------------------------------------------------------------- */
static const struct field deregister_fields[] = {
	F("Node", wm_dec_string, raw_deregister, node),
	F("ServiceID|service_id", wm_dec_string, raw_deregister, service_id),
	F("CheckID|check_id", wm_dec_string, raw_deregister, check_id),
	F("Datacenter", wm_dec_string, raw_deregister, datacenter),
	F("Address", wm_dec_ignore, raw_deregister, node),
	F("Namespace", wm_dec_string, raw_deregister, ns),
	F("Partition", wm_dec_string, raw_deregister, partition),
	F("PeerName", wm_dec_string, raw_deregister, peer),
};

int wm_decode_catalog_deregister(const char *body, size_t len, struct wm_decoded **ret,
				 struct wm_catalog *ret_catalog, struct wm_err *e)
{
	struct raw_deregister r = {0};
	struct wm_catalog_op *op;
	struct decoder d;
	int err = begin(&d, ret, e);

	if (!err)
		err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!err)
		err = wm_dec_fields(&d, deregister_fields, WM_ARRAY_LEN(deregister_fields),
				    d.mem->root, &r);
	if (!err)
		err = wm_dec_tenancy(&d, r.ns, r.partition);
	if (!err)
		err = judge_peer(&d, r.peer);
	if (!err && !set(r.node))
		err = wm_err_set(e, WM_E_INTERNAL, "Must provide node");
	if (err)
		return err;
	*ret_catalog = (struct wm_catalog){.datacenter = r.datacenter};
	ret_catalog->ops = wm_dec_allocate(&d, 1, sizeof(*op));
	if (!ret_catalog->ops)
		return -ENOMEM;
	op = add(ret_catalog,
		 set(r.service_id) ? WM_OBJECT_SERVICE
		 : set(r.check_id) ? WM_OBJECT_CHECK
				   : WM_OBJECT_NODE,
		 WM_VERB_DELETE, r.node);
	op->id = set(r.service_id) ? r.service_id : r.check_id;
	return 0;
}

/* --- txn -------------------------------------------------------------------------------------- */
/* One element; "Node", "Service" and "Check" each hold a verb and an object under the same name. */
struct raw_op {
	const char *verb, *node; /* node: of a service */
	json_t *object;
};

static int keep(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	*(json_t **)((char *)to + f->offset) = v;
	return 0;
}

static int get_verb(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return wm_dec_string(d, f, v, to); /* judge_verb() knows what it is about */
}

static const struct field node_op_fields[] = {
	F("Verb", get_verb, raw_op, verb),
	F("Node", keep, raw_op, object),
};
static const struct field service_op_fields[] = {
	F("Verb", get_verb, raw_op, verb),	     F("Node", wm_dec_string, raw_op, node),
	F("Service", keep, raw_op, object),	     F("Namespace", wm_dec_ignore, raw_op, verb),
	F("Partition", wm_dec_ignore, raw_op, verb),
};
static const struct field check_op_fields[] = {
	F("Verb", get_verb, raw_op, verb),
	F("Check", keep, raw_op, object),
};
static const struct table {
	const struct field *fields;
	unsigned count;
} op_tables[] = {
	[WM_OBJECT_NODE] = {node_op_fields, WM_ARRAY_LEN(node_op_fields)},
	[WM_OBJECT_SERVICE] = {service_op_fields, WM_ARRAY_LEN(service_op_fields)},
	[WM_OBJECT_CHECK] = {check_op_fields, WM_ARRAY_LEN(check_op_fields)},
};
static const char *const verbs[] = {[WM_VERB_SET] = "set",
				    [WM_VERB_CAS] = "cas",
				    [WM_VERB_GET] = "get",
				    [WM_VERB_DELETE] = "delete",
				    [WM_VERB_DELETE_CAS] = "delete-cas"};

static const char *const object_words[] = {
	[WM_OBJECT_SERVICE] = "service", [WM_OBJECT_NODE] = "node", [WM_OBJECT_CHECK] = "check"};

static int judge_verb(const char *verb, enum wm_object object, enum wm_verb *ret, struct wm_err *e)
{
	for (unsigned v = 0; verb && v < WM_ARRAY_LEN(verbs); v++) {
		if (strcmp(verb, verbs[v]) == 0) {
			*ret = (enum wm_verb)v;
			return 0;
		}
	}
	return wm_err_set(e, WM_E_INVALID, "unknown %s operation: %.*s", object_words[object],
			  SHOWN, verb ? verb : "");
}

static int node_op(struct decoder *d, const struct raw_op *raw, enum wm_verb verb,
		   struct wm_catalog *to)
{
	struct raw_node *n = wm_dec_allocate(d, 1, sizeof(*n));
	struct wm_catalog_op *op;
	int err = n ? 0 : -ENOMEM;

	if (!err)
		err = wm_dec_fields(d, node_fields, WM_ARRAY_LEN(node_fields), raw->object, n);
	if (!err)
		err = judge_node(d, n);
	if (!err && !set(n->name))
		err = wm_err_set(d->e, WM_E_INVALID, "Must provide node");
	if (err)
		return err;
	op = add(to, WM_OBJECT_NODE, verb, n->name);
	op->facts = &n->draft;
	op->index = n->modify_index;
	return 0;
}

static int service_op(struct decoder *d, const struct raw_op *raw, enum wm_verb verb,
		      struct wm_catalog *to)
{
	struct raw_service *s = wm_dec_allocate(d, 1, sizeof(*s));
	struct wm_catalog_op *op;
	int err = s ? 0 : -ENOMEM;

	if (!err)
		err = wm_dec_fields(d, service_fields, WM_ARRAY_LEN(service_fields), raw->object,
				    s);
	if (!err)
		err = judge_service(d, s);
	if (!err && !set(raw->node))
		err = wm_err_set(d->e, WM_E_INVALID, "Must provide node");
	if (!err && verb != WM_VERB_GET && !set(s->d.name))
		err = wm_err_set(d->e, WM_E_INVALID,
				 "Must provide service name (Service.Service) when service ID is "
				 "provided");
	if (err)
		return err;
	op = add(to, WM_OBJECT_SERVICE, verb, raw->node);
	op->id = set(s->d.id) ? s->d.id : s->d.name;
	op->service = &s->d;
	op->index = s->modify_index;
	return 0;
}

static int check_op(struct decoder *d, const struct raw_op *raw, enum wm_verb verb,
		    struct wm_catalog *to)
{
	struct raw_check *c = wm_dec_allocate(d, 1, sizeof(*c));
	int err = c ? 0 : -ENOMEM;

	if (!err)
		err = wm_dec_fields(d, check_fields, WM_ARRAY_LEN(check_fields), raw->object, c);
	if (!err)
		err = judge_check(d, c);
	if (!err && !set(c->node))
		err = wm_err_set(d->e, WM_E_INVALID, "Must provide node");
	if (!err)
		add_check(to, verb, c->node, c);
	return err;
}

/* Go's client sends the others too, as null. */
static bool only_member(json_t *item, const char **ret_key, json_t **ret)
{
	unsigned count = 0;
	const char *key;
	json_t *v;

	json_object_foreach(item, key, v)
	{
		if (json_is_null(v))
			continue;
		*ret_key = key;
		*ret = v;
		count++;
	}
	return count == 1;
}

static int read_op(struct decoder *d, json_t *item, struct wm_catalog *to)
{
	enum wm_object object = WM_OBJECT_NODE;
	enum wm_verb verb = WM_VERB_GET;
	struct raw_op raw = {0};
	const char *key = NULL;
	json_t *v = NULL;
	int err;

	if (!only_member(item, &key, &v))
		return wm_err_set(d->e, WM_E_INVALID,
				  "an operation must be an object with one of Node, Service and "
				  "Check");
	if (strcasecmp(key, "Service") == 0)
		object = WM_OBJECT_SERVICE;
	else if (strcasecmp(key, "Check") == 0)
		object = WM_OBJECT_CHECK;
	else if (strcasecmp(key, "Node") != 0)
		return wm_err_set(d->e, WM_E_INVALID, "%.*s operations are not supported", SHOWN,
				  key);
	if (!json_is_object(v))
		return wm_err_set(d->e, WM_E_INVALID, "%.*s must be an object", SHOWN, key);
	err = wm_dec_fields(d, op_tables[object].fields, op_tables[object].count, v, &raw);
	if (!err)
		err = judge_verb(raw.verb, object, &verb, d->e);
	if (!err && !raw.object)
		err = wm_err_set(d->e, WM_E_INVALID, "Must provide %s", object_words[object]);
	if (err)
		return err;
	if (object == WM_OBJECT_NODE)
		return node_op(d, &raw, verb, to);
	if (object == WM_OBJECT_SERVICE)
		return service_op(d, &raw, verb, to);
	return check_op(d, &raw, verb, to);
}

int wm_decode_txn(const char *body, size_t len, struct wm_decoded **ret,
		  struct wm_catalog *ret_catalog, unsigned *ret_failed, struct wm_err *e)
{
	struct decoder d;
	int err = begin(&d, ret, e);
	json_t *item;
	size_t i;

	*ret_failed = WM_DECODE_WHOLE;
	if (!err)
		err = wm_dec_parse(&d, body, len, JSON_ARRAY);
	if (err)
		return err;
	*ret_catalog = (struct wm_catalog){0};
	if (json_array_size(d.mem->root) > WM_CATALOG_OPS_MAX)
		return wm_err_set(e, WM_E_TOO_LARGE,
				  "Transaction contains too many operations (%zu > %d)",
				  json_array_size(d.mem->root), WM_CATALOG_OPS_MAX);
	ret_catalog->ops =
		wm_dec_allocate(&d, json_array_size(d.mem->root), sizeof(*ret_catalog->ops));
	if (!ret_catalog->ops)
		return -ENOMEM;
	json_array_foreach(d.mem->root, i, item)
	{
		*ret_failed = (unsigned)i;
		snprintf(d.where, sizeof(d.where), "[%zu].", i);
		err = read_op(&d, item, ret_catalog);
		if (err)
			return err;
		ret_catalog->ops[i].number = (unsigned)i;
	}
	return 0;
}

/* --- description -------------------------------------------------------------------------------
 */
#define CATALOG_NODE	WM_DEC_SCHEMA("CatalogNodeWrite")
#define CATALOG_SERVICE WM_DEC_SCHEMA("CatalogServiceWrite")
#define CATALOG_CHECK	WM_DEC_SCHEMA("CatalogCheckWrite")

static void describe_verb(struct wm_json *j)
{
	wm_json_ks(j, "type", "string");
	wm_json_kopen(j, "enum", '[');
	for (unsigned v = 0; v < WM_ARRAY_LEN(verbs); v++)
		wm_json_string(j, verbs[v]);
	wm_json_close(j, ']');
}

static bool describe_own(struct wm_json *j, const struct field *f)
{
	if (f->fn == get_u64 || f->fn == more_size) {
		wm_json_ks(j, "type", "integer");
	} else if (f->fn == get_definition) {
		wm_dec_describe_object(j, definition_fields, WM_ARRAY_LEN(definition_fields),
				       describe_own);
	} else if (f->fn == more_text) {
		wm_json_ks(j, "type", "string");
	} else if (f->fn == more_flag) {
		wm_json_ks(j, "type", "boolean");
	} else if (f->fn == get_place) {
		wm_dec_describe_place(j);
	} else if (f->fn == get_definition_header) {
		wm_dec_describe_map(j, "array");
	} else if (f->fn == get_service) {
		wm_json_ks(j, "$ref", CATALOG_SERVICE);
	} else if (f->fn == get_check) {
		wm_json_ks(j, "$ref", CATALOG_CHECK);
	} else if (f->fn == get_checks) {
		wm_dec_describe_array(j, CATALOG_CHECK);
	} else if (f->fn == get_verb) {
		describe_verb(j);
	} else if (f->fn == keep) {
		wm_json_ks(j, "$ref",
			   *f->names == 'N'   ? CATALOG_NODE
			   : *f->names == 'S' ? CATALOG_SERVICE
					      : CATALOG_CHECK);
	} else {
		return false;
	}
	return true;
}

static void describe_op(struct wm_json *j)
{
	static const char *const keys[] = {[WM_OBJECT_NODE] = "Node",
					   [WM_OBJECT_SERVICE] = "Service",
					   [WM_OBJECT_CHECK] = "Check"};

	for (unsigned n = 0; n < WM_ARRAY_LEN(keys); n++) {
		wm_json_kopen(j, keys[n], '{');
		wm_json_ks(j, "description", "exactly one of Node, Service and Check");
		wm_dec_describe_object(j, op_tables[n].fields, op_tables[n].count, describe_own);
		wm_json_close(j, '}');
	}
}

void wm_decode_describe_catalog(struct wm_json *j, enum wm_body b)
{
	static const struct table tables[] = {
		[WM_BODY_CATALOG_REGISTER] = {register_fields, WM_ARRAY_LEN(register_fields)},
		[WM_BODY_CATALOG_DEREGISTER] = {deregister_fields, WM_ARRAY_LEN(deregister_fields)},
		[WM_BODY_CATALOG_NODE] = {node_fields, WM_ARRAY_LEN(node_fields)},
		[WM_BODY_CATALOG_SERVICE] = {service_fields, WM_ARRAY_LEN(service_fields)},
		[WM_BODY_CATALOG_CHECK] = {check_fields, WM_ARRAY_LEN(check_fields)},
	};

	if (b == WM_BODY_TXN_OP)
		describe_op(j);
	else
		wm_dec_describe(j, tables[b].fields, tables[b].count, describe_own);
}
