/* SPDX-License-Identifier: Apache-2.0 */
/* decode.c - see decode.h. A body is parsed into jansson's tree, and tables of fields say where
 * each value goes; texts are borrowed from the tree, lists from blocks that the result owns. */
#include "decode_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/model/scope.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* A check as a client states it. */
struct raw_check {
	struct wm_check_draft d;
	const char *id, *status, *http, *tcp, *udp, *grpc, *h2ping, *docker, *shell, *os_service,
		*alias_service, *service_id, *token, *ns, *partition;
	bool tcp_tls, grpc_tls, h2_plain;
};
struct raw_service {
	struct wm_instance_draft d;
	const char *ns, *partition, *token;
	struct raw_check *one, *list;
	unsigned list_count;
	json_t *sidecar;
};
struct raw_update {
	const char *status, *output;
};

/* What is true unless it is given. */
static int get_unless(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	int err = wm_dec_bool(d, f, v, to);

	if (!err)
		*(bool *)((char *)to + f->offset) ^= true;
	return err;
}

static int get_args(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_check *c = to;
	const char **list = NULL;
	int err = wm_dec_list(d, f, v, &list);

	if (err)
		return err;
	c->d.args = list;
	c->d.args_count = (unsigned)json_array_size(v);
	return 0;
}

/* Octets; a negative number is Consul's own error. */
static int get_output_max(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	json_int_t n = json_integer_value(v);

	if (!json_is_integer(v))
		return wm_dec_wrong(d, f, "a whole number", v);
	if (n < 0)
		return wm_err_set(d->e, WM_E_INVALID,
				  "Invalid check: MaxOutputSize must be positive");
	/* more than is ever kept is as good as all of it */
	*(unsigned *)((char *)to + f->offset) =
		(unsigned)(n < WM_CHECK_OUTPUT_MAX ? n : WM_CHECK_OUTPUT_MAX);
	return 0;
}

static int wm_dec_header(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_check *c = to;
	struct wm_dec_pairs pairs = {0};
	int err = wm_dec_header_pairs(d, f, v, &pairs);

	c->d.headers = pairs.at;
	c->d.headers_count = pairs.count;
	return err;
}

struct raw_address {
	const char *address;
	unsigned port;
};
static const struct field address_fields[] = {
	{"Address", wm_dec_string, offsetof(struct raw_address, address), 0, 0},
	{"Port", wm_dec_int, offsetof(struct raw_address, port), 0, 65535},
};

int wm_dec_tagged(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_instance_draft *draft = to;
	struct wm_tagged_address *all;
	const char *key;
	json_t *item;
	unsigned n = 0;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object of addresses", v);
	all = wm_dec_allocate(d, json_object_size(v), sizeof(*all));
	if (!all)
		return -ENOMEM;
	json_object_foreach(v, key, item)
	{
		struct raw_address a = {.address = ""};
		size_t back = wm_dec_enter(d, f, key, SIZE_MAX);
		int err;

		if (!json_is_object(item)) {
			d->where[back] = 0;
			return wm_dec_wrong(d, f, "an object of addresses", item);
		}
		err = wm_dec_fields(d, address_fields, WM_ARRAY_LEN(address_fields), item, &a);
		d->where[back] = 0;
		if (err)
			return err;
		all[n++] = (struct wm_tagged_address){mut(key), mut(a.address), (uint16_t)a.port};
	}
	draft->tagged = all;
	draft->tagged_count = n;
	return 0;
}

static const struct field weight_fields[] = {
	{"Passing", wm_dec_int, offsetof(struct wm_instance_draft, weight_passing), INT32_MIN,
	 INT32_MAX},
	{"Warning", wm_dec_int, offsetof(struct wm_instance_draft, weight_warning), INT32_MIN,
	 INT32_MAX},
};

int wm_dec_weights(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_instance_draft *draft = to;
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object with Passing and Warning", v);
	draft->has_weights = true;
	draft->weight_passing = draft->weight_warning = 1; /* of what is left out */
	back = wm_dec_enter(d, f, NULL, SIZE_MAX);
	err = wm_dec_fields(d, weight_fields, WM_ARRAY_LEN(weight_fields), v, draft);
	d->where[back] = 0;
	return err;
}

/* --- checks ------------------------------------------------------------------------------------
 */

#define CHECK(names, fn, member)                                                                   \
	{                                                                                          \
		names, fn, offsetof(struct raw_check, member), 0, 0                                \
	}
#define CHECK_INT(names, member, min, max)                                                         \
	{                                                                                          \
		names, wm_dec_int, offsetof(struct raw_check, member), min, max                    \
	}
static const struct field check_fields[] = {
	CHECK("CheckID|check_id", wm_dec_string, d.id),
	CHECK("ID", wm_dec_string, id),
	CHECK("Name", wm_dec_string, d.name),
	CHECK("Notes", wm_dec_string, d.notes),
	CHECK("Status", wm_dec_string, status),
	CHECK("Output", wm_dec_string, d.output),
	CHECK("Interval", wm_dec_duration, d.interval_ms),
	CHECK("Timeout", wm_dec_duration, d.timeout_ms),
	CHECK("TTL", wm_dec_duration, d.ttl_ms),
	CHECK("HTTP", wm_dec_string, http),
	CHECK("Method", wm_dec_string, d.method),
	CHECK("Header", wm_dec_header, d),
	CHECK("Body", wm_dec_string, d.body),
	CHECK("DisableRedirects|disable_redirects", wm_dec_bool, d.disable_redirects),
	CHECK("TCP", wm_dec_string, tcp),
	CHECK("TCPUseTLS|tcp_use_tls", wm_dec_bool, tcp_tls),
	CHECK("UDP", wm_dec_string, udp),
	CHECK("GRPC", wm_dec_string, grpc),
	CHECK("GRPCUseTLS|grpc_use_tls", wm_dec_bool, grpc_tls),
	CHECK("H2PING", wm_dec_string, h2ping),
	CHECK("H2PingUseTLS|h2ping_use_tls", get_unless, h2_plain),
	CHECK("TLSServerName|tls_server_name", wm_dec_string, d.tls_server_name),
	CHECK("TLSSkipVerify|tls_skip_verify", wm_dec_bool, d.tls_skip_verify),
	CHECK("ScriptArgs|Args|script_args", get_args, d),
	CHECK("DockerContainerID|docker_container_id", wm_dec_string, docker),
	CHECK("Shell", wm_dec_string, shell),
	CHECK("OSService|os_service", wm_dec_string, os_service),
	CHECK("AliasNode|alias_node", wm_dec_string, d.alias_node),
	CHECK("AliasService|alias_service", wm_dec_string, alias_service),
	CHECK("DeregisterCriticalServiceAfter|deregister_critical_service_after", wm_dec_duration,
	      d.deregister_after_ms),
	CHECK_INT("SuccessBeforePassing|success_before_passing", d.success_before_passing, 0,
		  WM_CHECK_THRESHOLD_MAX),
	CHECK_INT("FailuresBeforeWarning|failures_before_warning", d.failures_before_warning, 0,
		  WM_CHECK_THRESHOLD_MAX),
	CHECK_INT("FailuresBeforeCritical|failures_before_critical", d.failures_before_critical, 0,
		  WM_CHECK_THRESHOLD_MAX),
	CHECK("OutputMaxSize|output_max_size", get_output_max, d.output_max),
	CHECK("ServiceID|service_id", wm_dec_string, service_id),
	CHECK("Token", wm_dec_string, token),
	CHECK("Namespace", wm_dec_string, ns),
	CHECK("Partition", wm_dec_string, partition),
};
_Static_assert(WM_ARRAY_LEN(check_fields) <= 64, "wm_dec_fields() keeps a bit of each");

static int unsupported(struct decoder *d, const char *what)
{
	return wm_err_set(d->e, WM_E_INVALID, "Invalid check: %s is not supported", what);
}

/* The kind is what the client set; kinds that we do not run are refused rather than never run. */
static int judge_kind(struct decoder *d, struct raw_check *c)
{
	bool alias = set(c->d.alias_node) || set(c->alias_service), script = c->d.args_count;
	const struct {
		bool given;
		enum wm_check_kind kind;
		const char *target;
		bool use_tls;
	} all[] = {
		{set(c->http), WM_CHECK_HTTP, c->http, false},
		{set(c->tcp), WM_CHECK_TCP, c->tcp, c->tcp_tls},
		{set(c->udp), WM_CHECK_UDP, c->udp, false},
		{set(c->grpc), WM_CHECK_GRPC, c->grpc, c->grpc_tls},
		{set(c->h2ping), WM_CHECK_H2PING, c->h2ping, !c->h2_plain},
		{set(c->os_service), WM_CHECK_OS_SERVICE, c->os_service, false},
		{script, WM_CHECK_SCRIPT, NULL, false},
		{alias, WM_CHECK_ALIAS, c->alias_service ? c->alias_service : "", false},
	};
	unsigned kinds = 0;

	if (set(c->docker) || set(c->shell))
		return unsupported(d, set(c->docker) ? "DockerContainerID" : "Shell");
	c->d.kind = WM_CHECK_TTL;
	for (unsigned i = 0; i < WM_ARRAY_LEN(all); i++) {
		if (!all[i].given)
			continue;
		kinds++;
		c->d.kind = all[i].kind;
		c->d.target = all[i].target;
		c->d.use_tls = all[i].use_tls;
	}
	if (kinds <= 1)
		return 0;
	if (kinds == 2 && set(c->http) && set(c->tcp))
		return wm_err_set(d->e, WM_E_INVALID,
				  "Invalid check: HTTP and TCP cannot both be specified");
	return wm_err_set(d->e, WM_E_INVALID,
			  "Invalid check: only one of HTTP, TCP, UDP, GRPC, H2PING, OSService, "
			  "ScriptArgs and AliasService or AliasNode can be specified");
}

static int judge_check(struct decoder *d, struct raw_check *c)
{
	int err = judge_kind(d, c);

	if (err)
		return err;
	if (!set(c->d.id))
		c->d.id = c->id;
	if (set(c->status)) {
		c->d.has_status = true;
		if (wm_status_parse(c->status, &c->d.status))
			return wm_err_set(d->e, WM_E_INVALID,
					  "Status for checks must 'passing', 'warning', "
					  "'critical'");
	}
	return 0;
}

static int get_check_object(struct decoder *d, const struct field *f, size_t i, json_t *v,
			    struct raw_check *to)
{
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, i == SIZE_MAX ? "an object" : "an array of objects", v);
	back = wm_dec_enter(d, f, NULL, i);
	err = wm_dec_fields(d, check_fields, WM_ARRAY_LEN(check_fields), v, to);
	d->where[back] = 0;
	return err;
}

/* An object without any content is no check: some clients always send one. */
static int get_check(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_service *s = to;
	struct raw_check *c = wm_dec_allocate(d, 1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	err = get_check_object(d, f, SIZE_MAX, v, c);
	if (err || wm_dec_blank(v))
		return err;
	s->one = c;
	return judge_check(d, c);
}

static int get_checks(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_service *s = to;
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return wm_dec_wrong(d, f, "an array of objects", v);
	if (json_array_size(v) > WM_CHECKS_PER_INSTANCE)
		return wm_err_set(d->e, WM_E_INVALID, "Checks: %zu given, at most %d are allowed",
				  json_array_size(v), WM_CHECKS_PER_INSTANCE);
	s->list = wm_dec_allocate(d, json_array_size(v), sizeof(*s->list));
	if (!s->list)
		return -ENOMEM;
	json_array_foreach(v, i, item)
	{
		int err = get_check_object(d, f, i, item, &s->list[i]);

		if (!err)
			err = judge_check(d, &s->list[i]);
		if (err)
			return err;
	}
	s->list_count = (unsigned)json_array_size(v);
	return 0;
}

/* --- services ----------------------------------------------------------------------------------
 */

#define SERVICE(names, fn, member)                                                                 \
	{                                                                                          \
		names, fn, offsetof(struct raw_service, member), 0, 0                              \
	}
static int get_connect(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return wm_dec_connect(d, f, v, to, &((struct raw_service *)to)->sidecar);
}

static const struct field service_fields[] = {
	SERVICE("ID", wm_dec_string, d.id),
	SERVICE("Name", wm_dec_string, d.name),
	SERVICE("Tags", wm_dec_tags, d),
	SERVICE("Address", wm_dec_string, d.address),
	{"Port", wm_dec_int, offsetof(struct raw_service, d.port), 0, 65535},
	SERVICE("Meta", wm_dec_meta, d),
	SERVICE("TaggedAddresses|tagged_addresses", wm_dec_tagged, d),
	SERVICE("EnableTagOverride|enable_tag_override", wm_dec_bool, d.enable_tag_override),
	SERVICE("Weights", wm_dec_weights, d),
	SERVICE("Check", get_check, d),
	SERVICE("Checks", get_checks, d),
	SERVICE("Kind", wm_dec_kind, d),
	SERVICE("Proxy", wm_dec_proxy, d),
	SERVICE("Connect", get_connect, d),
	SERVICE("SocketPath|socket_path", wm_dec_socket_path, d),
	SERVICE("Token", wm_dec_string, token),
	SERVICE("Locality", wm_dec_locality, d),
	SERVICE("Namespace", wm_dec_string, ns),
	SERVICE("Partition", wm_dec_string, partition),
};
/* wm_dec_tags() and the like take the draft for the whole: it is the first member of both. */
_Static_assert(offsetof(struct raw_service, d) == 0, "see above");
_Static_assert(WM_ARRAY_LEN(service_fields) <= 64, "wm_dec_fields() keeps a bit of each");

int wm_dec_tenancy(struct decoder *d, const char *ns, const char *partition)
{
	if ((set(ns) && strcmp(ns, "default") != 0) ||
	    (set(partition) && strcmp(partition, "default") != 0))
		return wm_err_set(d->e, WM_E_INVALID,
				  "Namespace and Partition must be \"default\" or left out");
	return 0;
}

int wm_dec_scope(struct decoder *d, const char *ns, const char *partition, const char **name)
{
	int err = wm_dec_tenancy(d, NULL, partition);
	size_t size;
	char *key;

	if (err || !set(ns) || strcmp(ns, "default") == 0 || !set(*name))
		return err;
	if (!wm_scope_valid(ns))
		return wm_err_set(d->e, WM_E_INVALID,
				  "Namespace must be a DNS label, not \"%.64s\"", ns);
	size = strlen(ns) + strlen(*name) + 2;
	key = wm_dec_allocate(d, size, 1);
	if (!key)
		return -ENOMEM;
	(void)wm_scope_join(key, size, ns, *name); /* it fits */
	*name = key;
	return 0;
}

static int collect_checks(struct decoder *d, struct raw_service *s)
{
	unsigned n = 0, count = s->list_count + (s->one ? 1 : 0);
	struct wm_check_draft *all;

	if (!count)
		return 0;
	all = wm_dec_allocate(d, count, sizeof(*all));
	if (!all)
		return -ENOMEM;
	if (s->one)
		all[n++] = s->one->d;
	for (unsigned i = 0; i < s->list_count; i++)
		all[n++] = s->list[i].d;
	s->d.checks = all;
	s->d.checks_count = n;
	return 0;
}

int wm_dec_checks(struct decoder *d, const struct field *f, json_t *v,
		  const struct wm_check_draft **ret, unsigned *ret_count)
{
	struct raw_service s;
	int err;

	memset(&s, 0, sizeof(s));
	err = get_checks(d, f, v, &s);
	if (!err)
		err = collect_checks(d, &s);
	*ret = err ? NULL : s.d.checks;
	*ret_count = err ? 0 : s.d.checks_count;
	return err;
}

/* --- bodies ------------------------------------------------------------------------------------
 */

/* The service within a service: a registration of its own, under an id that the registry makes. */
static int read_sidecar(struct decoder *d, struct raw_service *s)
{
	static const char where[] = "Connect.SidecarService.";
	struct raw_service *inner = wm_dec_allocate(d, 1, sizeof(*inner));
	int err;

	if (!inner)
		return -ENOMEM;
	memcpy(d->where, where, sizeof(where));
	err = wm_dec_fields(d, service_fields, WM_ARRAY_LEN(service_fields), s->sidecar, inner);
	d->where[0] = 0;
	if (!err && set(inner->d.id))
		err = wm_err_set(d->e, WM_E_INVALID,
				 "Invalid SidecarService: A SidecarService cannot specify an ID as "
				 "this is managed by the agent");
	if (!err && inner->sidecar)
		err = wm_err_set(d->e, WM_E_INVALID,
				 "Invalid SidecarService: A SidecarService cannot have a nested "
				 "SidecarService");
	if (!err)
		err = wm_dec_scope(d, set(inner->ns) ? inner->ns : s->ns, inner->partition,
				   &inner->d.name);
	if (!err)
		err = collect_checks(d, inner);
	s->d.sidecar = &inner->d;
	return err;
}

int wm_decode_register(const char *body, size_t len, struct wm_decoded **ret,
		       struct wm_instance_draft *ret_draft, struct wm_err *e)
{
	struct wm_decoded *mem = calloc(1, sizeof(*mem));
	struct decoder d = {.mem = mem, .e = e};
	struct raw_service s;
	int err;

	if (!mem)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	memset(&s, 0, sizeof(s));
	err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!err)
		err = wm_dec_fields(&d, service_fields, WM_ARRAY_LEN(service_fields), mem->root,
				    &s);
	if (!err)
		err = wm_dec_scope(&d, s.ns, s.partition, &s.d.name);
	if (!err)
		err = collect_checks(&d, &s);
	if (!err && s.sidecar)
		err = read_sidecar(&d, &s);
	if (err) {
		wm_decoded_free(mem);
		return err;
	}
	if (!set(s.d.id))
		s.d.id = NULL;
	*ret_draft = s.d;
	*ret = mem;
	return 0;
}

int wm_decode_check(const char *body, size_t len, struct wm_decoded **ret,
		    struct wm_check_draft *ret_draft, const char **ret_service_id, struct wm_err *e)
{
	struct wm_decoded *mem = calloc(1, sizeof(*mem));
	struct decoder d = {.mem = mem, .e = e};
	enum wm_status status = WM_CRITICAL;
	struct raw_check c;
	int err;

	if (!mem)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	memset(&c, 0, sizeof(c));
	err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!err)
		err = wm_dec_fields(&d, check_fields, WM_ARRAY_LEN(check_fields), mem->root, &c);
	/* in Consul's order: the name, the status, then what kind it is */
	if (!err && !set(c.d.name))
		err = wm_err_set(e, WM_E_INVALID, "Missing check name");
	if (!err && set(c.status) && wm_status_parse(c.status, &status))
		err = wm_err_set(e, WM_E_INVALID, "Bad check status");
	if (!err)
		err = judge_check(&d, &c);
	if (!err)
		err = wm_dec_tenancy(&d, c.ns, c.partition);
	if (err) {
		wm_decoded_free(mem);
		return err;
	}
	*ret_draft = c.d;
	*ret_service_id = set(c.service_id) ? c.service_id : "";
	*ret = mem;
	return 0;
}

static const struct field update_fields[] = {
	{"Status", wm_dec_string, offsetof(struct raw_update, status), 0, 0},
	{"Output", wm_dec_string, offsetof(struct raw_update, output), 0, 0},
};

int wm_decode_check_update(const char *body, size_t len, struct wm_decoded **ret,
			   enum wm_status *ret_status, const char **ret_output, struct wm_err *e)
{
	struct wm_decoded *mem = calloc(1, sizeof(*mem));
	struct decoder d = {.mem = mem, .e = e};
	struct raw_update u = {.status = "", .output = ""};
	enum wm_status status = WM_CRITICAL;
	int err;

	if (!mem)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!err)
		err = wm_dec_fields(&d, update_fields, WM_ARRAY_LEN(update_fields), mem->root, &u);
	if (!err && wm_status_parse(u.status, &status))
		err = wm_err_set(e, WM_E_INVALID, "Invalid check status: '%.*s'", SHOWN, u.status);
	if (err) {
		wm_decoded_free(mem);
		return err;
	}
	*ret_status = status;
	*ret_output = u.output;
	*ret = mem;
	return 0;
}

/* --- description -------------------------------------------------------------------------------
 */

static void put_list(struct wm_json *j, const char *type, const char *items, const char *of)
{
	wm_json_ks(j, "type", type);
	wm_json_kopen(j, items, '{');
	wm_json_ks(j, *of == '#' ? "$ref" : "type", of);
	wm_json_close(j, '}');
}

void wm_dec_describe_array(struct wm_json *j, const char *of)
{
	put_list(j, "array", "items", of);
}

void wm_dec_describe_map(struct wm_json *j, const char *of)
{
	put_list(j, "object", "additionalProperties", of);
}

void wm_dec_describe_object(struct wm_json *j, const struct field *fields, unsigned count,
			    wm_dec_own own)
{
	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "properties", '{');
	wm_dec_describe(j, fields, count, own);
	wm_json_close(j, '}');
	wm_json_kb(j, "additionalProperties", false);
}

static void describe_field(struct wm_json *j, const struct field *f)
{
	static const char check[] = WM_DEC_SCHEMA("CheckRegistration");

	if (f->fn == wm_dec_string) {
		wm_json_ks(j, "type", "string");
	} else if (f->fn == wm_dec_bool) {
		wm_json_ks(j, "type", "boolean");
	} else if (f->fn == wm_dec_int) {
		wm_json_ks(j, "type", "integer");
	} else if (f->fn == wm_dec_duration) {
		wm_json_kopen(j, "type", '[');
		wm_json_string(j, "string");
		wm_json_string(j, "integer");
		wm_json_close(j, ']');
	} else if (f->fn == wm_dec_tags || f->fn == get_args) {
		wm_dec_describe_array(j, "string");
	} else if (f->fn == wm_dec_meta || f->fn == wm_dec_pairs) {
		wm_dec_describe_map(j, "string");
	} else if (f->fn == wm_dec_header) {
		wm_dec_describe_map(j, "array");
	} else if (f->fn == wm_dec_tagged) {
		wm_json_ks(j, "type", "object");
		wm_json_kopen(j, "additionalProperties", '{');
		wm_dec_describe_object(j, address_fields, WM_ARRAY_LEN(address_fields), NULL);
		wm_json_close(j, '}');
	} else if (f->fn == wm_dec_weights) {
		wm_dec_describe_object(j, weight_fields, WM_ARRAY_LEN(weight_fields), NULL);
	} else if (f->fn == get_check) {
		wm_json_ks(j, "$ref", check);
	} else if (f->fn == get_checks) {
		wm_dec_describe_array(j, check);
	} else {
		(void)wm_dec_describe_traits(j, f); /* else: anything */
	}
}

void wm_dec_describe(struct wm_json *j, const struct field *fields, unsigned count, wm_dec_own own)
{
	for (unsigned i = 0; i < count; i++) {
		const struct field *f = &fields[i];
		char name[64];

		snprintf(name, sizeof(name), "%.*s", wm_dec_name_len(f), f->names);
		wm_json_kopen(j, name, '{');
		if (f->names[wm_dec_name_len(f)]) {
			char also[96];

			snprintf(also, sizeof(also), "or %s", f->names + wm_dec_name_len(f) + 1);
			wm_json_ks(j, "description", also);
		} else if (f->fn == wm_dec_duration) {
			wm_json_ks(j, "description", "\"10s\", or nanoseconds");
		} else if (f->fn == wm_dec_ignore) {
			wm_json_ks(j, "description", "of no effect");
		}
		if (!own || !own(j, f))
			describe_field(j, f);
		wm_json_close(j, '}');
	}
}

void wm_decode_describe(struct wm_json *j, enum wm_body b)
{
	switch (b) {
	case WM_BODY_REGISTER:
		wm_dec_describe(j, service_fields, WM_ARRAY_LEN(service_fields), NULL);
		break;
	case WM_BODY_CHECK:
		wm_dec_describe(j, check_fields, WM_ARRAY_LEN(check_fields), NULL);
		break;
	case WM_BODY_NATIVE:
		wm_decode_describe_native(j);
		break;
	case WM_BODY_CHECK_UPDATE:
		wm_dec_describe(j, update_fields, WM_ARRAY_LEN(update_fields), NULL);
		break;
	case WM_BODY_POLICY:
		wm_decode_describe_policy(j);
		break;
	case WM_BODY_CATALOG_REGISTER:
	case WM_BODY_CATALOG_DEREGISTER:
	case WM_BODY_CATALOG_NODE:
	case WM_BODY_CATALOG_SERVICE:
	case WM_BODY_CATALOG_CHECK:
	case WM_BODY_TXN_OP:
		wm_decode_describe_catalog(j, b);
		break;
	}
}
