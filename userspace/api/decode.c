/* SPDX-License-Identifier: Apache-2.0 */
/* decode.c - see decode.h. A body is parsed into jansson's tree, and tables of fields say where
 * each value goes; texts are borrowed from the tree, lists from blocks that the result owns. */
#include "decode.h"

#include "userspace/base/util.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#define SHOWN	  64  /* octets of a refused key or value that a message repeats */
#define WHERE_MAX 160 /* octets of a field's place, "Checks[1].Interval" */

struct block {
	struct block *next;
	max_align_t data[];
};

struct wm_decoded {
	json_t *root;
	struct block *blocks;
};

/* Where the decoder is, and where it complains. */
struct decoder {
	struct wm_decoded *mem;
	struct wm_err *e;
	char where[WHERE_MAX]; /* of the object that is read, with a dot; "" at the top */
};

struct field {
	const char *names; /* "CheckID|check_id" */
	int (*fn)(struct decoder *d, const struct field *f, json_t *v, void *to);
	size_t offset; /* of the target, from @p to */
	int64_t min, max;
};

/* A check as a client states it. */
struct raw_check {
	struct wm_check_draft d;
	const char *id, *status, *http, *tcp, *udp, *grpc, *h2ping, *docker, *shell, *os_service,
		*alias_node, *alias_service, *service_id, *token, *ns, *partition;
	unsigned args;
	bool tcp_tls;
};
struct raw_service {
	struct wm_instance_draft d;
	const char *kind, *socket_path, *ns, *partition, *token;
	struct raw_check *one, *list;
	unsigned list_count;
	bool mesh;
};
struct raw_update {
	const char *status, *output;
};

static void *allocate(struct decoder *d, size_t count, size_t size)
{
	struct block *b = calloc(1, sizeof(*b) + count * size + 1); /* count: bounded by the body */

	if (!b) {
		wm_err_set(d->e, -ENOMEM, "Out of memory; nothing was changed");
		return NULL;
	}
	b->next = d->mem->blocks;
	d->mem->blocks = b;
	return b->data;
}

void wm_decoded_free(struct wm_decoded *m)
{
	struct block *b;

	if (!m)
		return;
	while ((b = m->blocks)) {
		m->blocks = b->next;
		free(b);
	}
	json_decref(m->root);
	free(m);
}

/* --- values ------------------------------------------------------------------------------------
 */

static const char *what_is(const json_t *v)
{
	switch (json_typeof(v)) {
	case JSON_OBJECT:
		return "an object";
	case JSON_ARRAY:
		return "an array";
	case JSON_STRING:
		return "a string";
	case JSON_INTEGER:
	case JSON_REAL:
		return "a number";
	case JSON_TRUE:
	case JSON_FALSE:
		return "a boolean";
	case JSON_NULL:
		break;
	}
	return "null";
}

static int name_len(const struct field *f)
{
	return (int)strcspn(f->names, "|");
}

static int wrong(struct decoder *d, const struct field *f, const char *want, const json_t *v)
{
	return wm_err_set(d->e, WM_E_DECODE, "Request decode failed: %s%.*s must be %s, not %s",
			  d->where, name_len(f), f->names, want, what_is(v));
}

/* Go one level down: the place becomes "<where><name>[i]." or "<where><name>.<key>.".
 * @return the length to go back to. */
static size_t enter(struct decoder *d, const struct field *f, const char *key, size_t i)
{
	size_t len = strlen(d->where);

	if (key)
		snprintf(d->where + len, sizeof(d->where) - len, "%.*s.%.*s.", name_len(f),
			 f->names, SHOWN, key);
	else if (i != SIZE_MAX)
		snprintf(d->where + len, sizeof(d->where) - len, "%.*s[%zu].", name_len(f),
			 f->names, i);
	else
		snprintf(d->where + len, sizeof(d->where) - len, "%.*s.", name_len(f), f->names);
	return len;
}

static int get_string(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_string(v))
		return wrong(d, f, "a string", v);
	*(const char **)((char *)to + f->offset) = json_string_value(v);
	return 0;
}

static int get_bool(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_boolean(v))
		return wrong(d, f, "true or false", v);
	*(bool *)((char *)to + f->offset) = json_is_true(v);
	return 0;
}

static int get_int(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	char want[96];
	json_int_t n = json_integer_value(v);

	snprintf(want, sizeof(want), "a whole number between %" PRId64 " and %" PRId64, f->min,
		 f->max);
	if (!json_is_integer(v))
		return wrong(d, f, want, v);
	if (n < f->min || n > f->max)
		return wm_err_set(
			d->e, WM_E_DECODE,
			"Request decode failed: %s%.*s must be %s, not %" JSON_INTEGER_FORMAT,
			d->where, name_len(f), f->names, want, n);
	*(unsigned *)((char *)to + f->offset) = (unsigned)n;
	return 0;
}

/* Go's text or nanoseconds, to milliseconds; what is above 0 stays above 0. */
static int get_duration(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	const char *text = json_string_value(v);
	int64_t ns = 0;

	if (json_is_integer(v)) {
		ns = json_integer_value(v);
	} else if (!text) {
		return wrong(d, f, "a duration like \"10s\", or nanoseconds", v);
	} else if (*text && wm_duration_parse(text, &ns)) {
		bool unit = text[strspn(text, "+-.0123456789")] != 0;

		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: time: %s \"%.*s\" (%s%.*s must be a "
				  "duration like \"10s\")",
				  unit ? "invalid duration" : "missing unit in duration", SHOWN,
				  text, d->where, name_len(f), f->names);
	}
	if (ns < 0)
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: %s%.*s must not be negative", d->where,
				  name_len(f), f->names);
	*(uint64_t *)((char *)to + f->offset) = ((uint64_t)ns + WM_NS_PER_MS - 1) / WM_NS_PER_MS;
	return 0;
}

/* Accepted, of no effect here. */
static int ignore(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	(void)d;
	(void)f;
	(void)v;
	(void)to;
	return 0;
}

/* An object that must be empty: its features are not offered. */
static int get_mesh(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_object(v))
		return wrong(d, f, "an object", v);
	*(bool *)((char *)to + f->offset) |= json_object_size(v) > 0;
	return 0;
}

/* Number of texts in a list of them. */
static int get_args(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	size_t i;
	json_t *item;

	if (!json_is_array(v))
		return wrong(d, f, "an array of strings", v);
	json_array_foreach(v, i, item)
	{
		if (!json_is_string(item))
			return wrong(d, f, "an array of strings", item);
	}
	*(unsigned *)((char *)to + f->offset) = (unsigned)json_array_size(v);
	return 0;
}

/* --- objects -----------------------------------------------------------------------------------
 */

static bool named(const struct field *f, const char *key)
{
	size_t len = strlen(key);

	for (const char *n = f->names; *n; n += strspn(n, "|")) {
		size_t have = strcspn(n, "|");

		if (have == len && strncasecmp(n, key, len) == 0)
			return true;
		n += have;
	}
	return false;
}

/* Every key must be one of @p fields, once. */
static int get_fields(struct decoder *d, const struct field *fields, unsigned count, json_t *v,
		      void *to)
{
	uint64_t seen = 0; /* a table has 64 fields at most */
	const char *key;
	json_t *item;

	json_object_foreach(v, key, item)
	{
		unsigned i = 0;
		int err;

		while (i < count && !named(&fields[i], key))
			i++;
		if (i == count)
			return wm_err_set(d->e, WM_E_DECODE,
					  "Request decode failed: json: unknown field \"%.*s\"",
					  SHOWN, key);
		if (seen & (1ull << i))
			return wm_err_set(d->e, WM_E_DECODE,
					  "Request decode failed: %s%.*s is given twice", d->where,
					  name_len(&fields[i]), fields[i].names);
		seen |= 1ull << i;
		if (json_is_null(item))
			continue;
		err = fields[i].fn(d, &fields[i], item, to);
		if (err)
			return err;
	}
	return 0;
}

static int get_tags(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_instance_draft *draft = to;
	const char **tags;
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return wrong(d, f, "an array of strings", v);
	tags = allocate(d, json_array_size(v), sizeof(*tags));
	if (!tags)
		return -ENOMEM;
	json_array_foreach(v, i, item)
	{
		if (!json_is_string(item))
			return wrong(d, f, "an array of strings", item);
		tags[i] = json_string_value(item);
	}
	draft->tags = tags;
	draft->tags_count = (unsigned)json_array_size(v);
	return 0;
}

/* struct wm_pair has members that are not const, though drafts are only read. */
static char *mut(const char *s)
{
	char *r;

	memcpy(&r, &s, sizeof(r));
	return r;
}

static int get_meta(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_instance_draft *draft = to;
	struct wm_pair *pairs;
	const char *key;
	json_t *item;
	unsigned n = 0;

	if (!json_is_object(v))
		return wrong(d, f, "an object of strings", v);
	pairs = allocate(d, json_object_size(v), sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	json_object_foreach(v, key, item)
	{
		if (!json_is_string(item))
			return wrong(d, f, "an object of strings", item);
		pairs[n].key = mut(key);
		pairs[n++].value = mut(json_string_value(item));
	}
	draft->meta = pairs;
	draft->meta_count = n;
	return 0;
}

/* {"X-A":["1","2"]}: a pair for each value. */
static int get_header(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_check *c = to;
	struct wm_pair *pairs;
	const char *key;
	json_t *list, *item;
	size_t total = 0, i;
	unsigned n = 0;

	if (!json_is_object(v))
		return wrong(d, f, "an object of arrays of strings", v);
	json_object_foreach(v, key, list)
	{
		if (!json_is_array(list))
			return wrong(d, f, "an object of arrays of strings", list);
		total += json_array_size(list);
	}
	pairs = allocate(d, total, sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	json_object_foreach(v, key, list)
	{
		json_array_foreach(list, i, item)
		{
			if (!json_is_string(item))
				return wrong(d, f, "an object of arrays of strings", item);
			pairs[n].key = mut(key);
			pairs[n++].value = mut(json_string_value(item));
		}
	}
	c->d.headers = pairs;
	c->d.headers_count = n;
	return 0;
}

struct raw_address {
	const char *address;
	unsigned port;
};
static const struct field address_fields[] = {
	{"Address", get_string, offsetof(struct raw_address, address), 0, 0},
	{"Port", get_int, offsetof(struct raw_address, port), 0, 65535},
};

static int get_tagged(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_instance_draft *draft = to;
	struct wm_tagged_address *all;
	const char *key;
	json_t *item;
	unsigned n = 0;

	if (!json_is_object(v))
		return wrong(d, f, "an object of addresses", v);
	all = allocate(d, json_object_size(v), sizeof(*all));
	if (!all)
		return -ENOMEM;
	json_object_foreach(v, key, item)
	{
		struct raw_address a = {.address = ""};
		size_t back = enter(d, f, key, SIZE_MAX);
		int err;

		if (!json_is_object(item)) {
			d->where[back] = 0;
			return wrong(d, f, "an object of addresses", item);
		}
		err = get_fields(d, address_fields, WM_ARRAY_LEN(address_fields), item, &a);
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
	{"Passing", get_int, offsetof(struct wm_instance_draft, weight_passing), INT32_MIN,
	 INT32_MAX},
	{"Warning", get_int, offsetof(struct wm_instance_draft, weight_warning), INT32_MIN,
	 INT32_MAX},
};

static int get_weights(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_instance_draft *draft = to;
	size_t back;
	int err;

	if (!json_is_object(v))
		return wrong(d, f, "an object with Passing and Warning", v);
	draft->has_weights = true;
	back = enter(d, f, NULL, SIZE_MAX);
	err = get_fields(d, weight_fields, WM_ARRAY_LEN(weight_fields), v, draft);
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
		names, get_int, offsetof(struct raw_check, member), min, max                       \
	}
static const struct field check_fields[] = {
	CHECK("CheckID|check_id", get_string, d.id),
	CHECK("ID", get_string, id),
	CHECK("Name", get_string, d.name),
	CHECK("Notes", get_string, d.notes),
	CHECK("Status", get_string, status),
	CHECK("Output", get_string, d.output),
	CHECK("Interval", get_duration, d.interval_ms),
	CHECK("Timeout", get_duration, d.timeout_ms),
	CHECK("TTL", get_duration, d.ttl_ms),
	CHECK("HTTP", get_string, http),
	CHECK("Method", get_string, d.method),
	CHECK("Header", get_header, d),
	CHECK("Body", get_string, d.body),
	CHECK("DisableRedirects|disable_redirects", get_bool, d.disable_redirects),
	CHECK("TCP", get_string, tcp),
	CHECK("TCPUseTLS|tcp_use_tls", get_bool, tcp_tls),
	CHECK("UDP", get_string, udp),
	CHECK("GRPC", get_string, grpc),
	CHECK("GRPCUseTLS|grpc_use_tls", ignore, d),
	CHECK("H2PING", get_string, h2ping),
	CHECK("H2PingUseTLS|h2ping_use_tls", ignore, d),
	CHECK("TLSServerName|tls_server_name", get_string, d.tls_server_name),
	CHECK("TLSSkipVerify|tls_skip_verify", get_bool, d.tls_skip_verify),
	CHECK("ScriptArgs|Args|script_args", get_args, args),
	CHECK("DockerContainerID|docker_container_id", get_string, docker),
	CHECK("Shell", get_string, shell),
	CHECK("OSService|os_service", get_string, os_service),
	CHECK("AliasNode|alias_node", get_string, alias_node),
	CHECK("AliasService|alias_service", get_string, alias_service),
	CHECK("DeregisterCriticalServiceAfter|deregister_critical_service_after", get_duration,
	      d.deregister_after_ms),
	CHECK_INT("SuccessBeforePassing|success_before_passing", d.success_before_passing, 0,
		  WM_CHECK_THRESHOLD_MAX),
	CHECK_INT("FailuresBeforeWarning|failures_before_warning", d.failures_before_warning, 0,
		  WM_CHECK_THRESHOLD_MAX),
	CHECK_INT("FailuresBeforeCritical|failures_before_critical", d.failures_before_critical, 0,
		  WM_CHECK_THRESHOLD_MAX),
	CHECK("OutputMaxSize|output_max_size", ignore, d),
	CHECK("ServiceID|service_id", get_string, service_id),
	CHECK("Token", get_string, token),
	CHECK("Namespace", get_string, ns),
	CHECK("Partition", get_string, partition),
};
_Static_assert(WM_ARRAY_LEN(check_fields) <= 64, "get_fields() keeps a bit of each");

static bool set(const char *s)
{
	return s && *s;
}

static int unsupported(struct decoder *d, const char *what)
{
	return wm_err_set(d->e, WM_E_INVALID, "Invalid check: %s is not supported", what);
}

/* The kind is what the client set; kinds that we do not run are refused rather than never run. */
static int judge_check(struct decoder *d, struct raw_check *c)
{
	unsigned kinds = set(c->http) + set(c->tcp) + set(c->udp);

	if (c->args)
		return wm_err_set(d->e, WM_E_INTERNAL,
				  "Scripts are disabled on this agent from remote calls; to "
				  "enable, configure 'enable_script_checks' to true");
	if (set(c->grpc) || set(c->h2ping))
		return unsupported(d, set(c->grpc) ? "GRPC" : "H2PING");
	if (set(c->docker) || set(c->os_service) || set(c->shell))
		return unsupported(d, set(c->docker)	   ? "DockerContainerID"
				      : set(c->os_service) ? "OSService"
							   : "Shell");
	if (set(c->alias_node) || set(c->alias_service))
		return unsupported(d, set(c->alias_node) ? "AliasNode" : "AliasService");
	if (kinds > 1)
		return wm_err_set(
			d->e, WM_E_INVALID,
			set(c->udp) ? "Invalid check: UDP and HTTP or TCP cannot both be specified"
				    : "Invalid check: HTTP and TCP cannot both be specified");
	c->d.kind = set(c->http)  ? WM_CHECK_HTTP
		    : set(c->tcp) ? WM_CHECK_TCP
		    : set(c->udp) ? WM_CHECK_UDP
				  : WM_CHECK_TTL;
	c->d.target = set(c->http) ? c->http : set(c->tcp) ? c->tcp : set(c->udp) ? c->udp : NULL;
	c->d.use_tls = c->d.kind == WM_CHECK_TCP && c->tcp_tls;
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
		return wrong(d, f, i == SIZE_MAX ? "an object" : "an array of objects", v);
	back = enter(d, f, NULL, i);
	err = get_fields(d, check_fields, WM_ARRAY_LEN(check_fields), v, to);
	d->where[back] = 0;
	return err;
}

/* Every member has the value that leaving it out gives. */
static bool blank(json_t *v)
{
	const char *key;
	json_t *item;

	json_object_foreach(v, key, item)
	{
		if (json_is_true(item) || json_string_length(item) ||
		    json_number_value(item) != 0 || json_array_size(item) || json_object_size(item))
			return false;
	}
	return true;
}

/* An object without any content is no check: some clients always send one. */
static int get_check(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_service *s = to;
	struct raw_check *c = allocate(d, 1, sizeof(*c));
	int err;

	if (!c)
		return -ENOMEM;
	err = get_check_object(d, f, SIZE_MAX, v, c);
	if (err || blank(v))
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
		return wrong(d, f, "an array of objects", v);
	if (json_array_size(v) > WM_CHECKS_PER_INSTANCE)
		return wm_err_set(d->e, WM_E_INVALID, "Checks: %zu given, at most %d are allowed",
				  json_array_size(v), WM_CHECKS_PER_INSTANCE);
	s->list = allocate(d, json_array_size(v), sizeof(*s->list));
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
static const struct field service_fields[] = {
	SERVICE("ID", get_string, d.id),
	SERVICE("Name", get_string, d.name),
	SERVICE("Tags", get_tags, d),
	SERVICE("Address", get_string, d.address),
	{"Port", get_int, offsetof(struct raw_service, d.port), 0, 65535},
	SERVICE("Meta", get_meta, d),
	SERVICE("TaggedAddresses|tagged_addresses", get_tagged, d),
	SERVICE("EnableTagOverride|enable_tag_override", get_bool, d.enable_tag_override),
	SERVICE("Weights", get_weights, d),
	SERVICE("Check", get_check, d),
	SERVICE("Checks", get_checks, d),
	SERVICE("Kind", get_string, kind),
	SERVICE("Proxy", get_mesh, mesh),
	SERVICE("Connect", get_mesh, mesh),
	SERVICE("SocketPath|socket_path", get_string, socket_path),
	SERVICE("Token", get_string, token),
	SERVICE("Locality", ignore, d),
	SERVICE("Namespace", get_string, ns),
	SERVICE("Partition", get_string, partition),
};
/* get_tags() and the like take the draft for the whole: it is the first member of both. */
_Static_assert(offsetof(struct raw_service, d) == 0, "see above");
_Static_assert(WM_ARRAY_LEN(service_fields) <= 64, "get_fields() keeps a bit of each");

static int judge_tenancy(struct decoder *d, const char *ns, const char *partition)
{
	if ((set(ns) && strcmp(ns, "default") != 0) ||
	    (set(partition) && strcmp(partition, "default") != 0))
		return wm_err_set(d->e, WM_E_INVALID,
				  "Namespace and Partition must be \"default\" or left out");
	return 0;
}

static int judge_service(struct decoder *d, const struct raw_service *s)
{
	static const char *const kinds[] = {"connect-proxy", "mesh-gateway", "terminating-gateway",
					    "ingress-gateway", "api-gateway"};

	for (unsigned i = 0; i < WM_ARRAY_LEN(kinds); i++) {
		if (set(s->kind) && strcmp(s->kind, kinds[i]) == 0)
			return wm_err_set(d->e, WM_E_INVALID, "Kind \"%s\" is not supported",
					  s->kind);
	}
	if (s->mesh || set(s->socket_path))
		return wm_err_set(d->e, WM_E_INVALID,
				  "Proxy, Connect and SocketPath are not supported and must be "
				  "left out or empty");
	return judge_tenancy(d, s->ns, s->partition);
}

static int collect_checks(struct decoder *d, struct raw_service *s)
{
	unsigned n = 0, count = s->list_count + (s->one ? 1 : 0);
	struct wm_check_draft *all;

	if (!count)
		return 0;
	all = allocate(d, count, sizeof(*all));
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

/* --- bodies ------------------------------------------------------------------------------------
 */

/* jansson recurses as deep as 2048; what is that deep is no request. */
static bool too_deep(const char *s, size_t len)
{
	unsigned depth = 0;
	bool quoted = false;

	for (size_t i = 0; i < len; i++) {
		if (quoted) {
			if (s[i] == '\\')
				i++;
			else if (s[i] == '"')
				quoted = false;
			continue;
		}
		if (s[i] == '"')
			quoted = true;
		else if ((s[i] == '{' || s[i] == '[') && ++depth > WM_JSON_DEPTH_MAX)
			return true;
		else if ((s[i] == '}' || s[i] == ']') && depth)
			depth--;
	}
	return false;
}

static int parse(struct decoder *d, const char *body, size_t len)
{
	json_error_t je;

	if (too_deep(body, len))
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: nested deeper than %d levels",
				  WM_JSON_DEPTH_MAX);
	d->mem->root = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (!d->mem->root) {
		size_t at = 0;

		while (at < len && (body[at] == ' ' || (body[at] >= '\t' && body[at] <= '\r')))
			at++;
		if (at == len)
			return wm_err_set(d->e, WM_E_DECODE, "Request decode failed: EOF");
		if (json_error_code(&je) == json_error_premature_end_of_input)
			return wm_err_set(d->e, WM_E_DECODE,
					  "Request decode failed: unexpected EOF");
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: invalid JSON in line %d, column %d: %s",
				  je.line, je.column, je.text);
	}
	if (!json_is_object(d->mem->root))
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: json: cannot unmarshal %s, the body must "
				  "be an object",
				  what_is(d->mem->root));
	return 0;
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
	err = parse(&d, body, len);
	if (!err)
		err = get_fields(&d, service_fields, WM_ARRAY_LEN(service_fields), mem->root, &s);
	if (!err)
		err = judge_service(&d, &s);
	if (!err)
		err = collect_checks(&d, &s);
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
	err = parse(&d, body, len);
	if (!err)
		err = get_fields(&d, check_fields, WM_ARRAY_LEN(check_fields), mem->root, &c);
	/* in Consul's order: the name, the status, then what kind it is */
	if (!err && !set(c.d.name))
		err = wm_err_set(e, WM_E_INVALID, "Missing check name");
	if (!err && set(c.status) && wm_status_parse(c.status, &status))
		err = wm_err_set(e, WM_E_INVALID, "Bad check status");
	if (!err)
		err = judge_check(&d, &c);
	if (!err)
		err = judge_tenancy(&d, c.ns, c.partition);
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
	{"Status", get_string, offsetof(struct raw_update, status), 0, 0},
	{"Output", get_string, offsetof(struct raw_update, output), 0, 0},
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
	err = parse(&d, body, len);
	if (!err)
		err = get_fields(&d, update_fields, WM_ARRAY_LEN(update_fields), mem->root, &u);
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

static void describe_fields(struct wm_json *j, const struct field *fields, unsigned count);

static void describe_object(struct wm_json *j, const struct field *fields, unsigned count)
{
	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "properties", '{');
	describe_fields(j, fields, count);
	wm_json_close(j, '}');
	wm_json_kb(j, "additionalProperties", false);
}

static void describe_field(struct wm_json *j, const struct field *f)
{
	static const char check[] = "#/components/schemas/CheckRegistration";

	if (f->fn == get_string) {
		wm_json_ks(j, "type", "string");
	} else if (f->fn == get_bool) {
		wm_json_ks(j, "type", "boolean");
	} else if (f->fn == get_int) {
		wm_json_ks(j, "type", "integer");
	} else if (f->fn == get_duration) {
		wm_json_kopen(j, "type", '[');
		wm_json_string(j, "string");
		wm_json_string(j, "integer");
		wm_json_close(j, ']');
	} else if (f->fn == get_tags || f->fn == get_args) {
		put_list(j, "array", "items", "string");
	} else if (f->fn == get_meta) {
		put_list(j, "object", "additionalProperties", "string");
	} else if (f->fn == get_header) {
		put_list(j, "object", "additionalProperties", "array");
	} else if (f->fn == get_tagged) {
		wm_json_ks(j, "type", "object");
		wm_json_kopen(j, "additionalProperties", '{');
		describe_object(j, address_fields, WM_ARRAY_LEN(address_fields));
		wm_json_close(j, '}');
	} else if (f->fn == get_weights) {
		describe_object(j, weight_fields, WM_ARRAY_LEN(weight_fields));
	} else if (f->fn == get_check) {
		wm_json_ks(j, "$ref", check);
	} else if (f->fn == get_checks) {
		put_list(j, "array", "items", check);
	} /* else: anything */
}

static void describe_fields(struct wm_json *j, const struct field *fields, unsigned count)
{
	for (unsigned i = 0; i < count; i++) {
		const struct field *f = &fields[i];
		char name[64];

		snprintf(name, sizeof(name), "%.*s", name_len(f), f->names);
		wm_json_kopen(j, name, '{');
		if (f->names[name_len(f)]) {
			char also[96];

			snprintf(also, sizeof(also), "or %s", f->names + name_len(f) + 1);
			wm_json_ks(j, "description", also);
		} else if (f->fn == get_duration) {
			wm_json_ks(j, "description", "\"10s\", or nanoseconds");
		} else if (f->fn == ignore || f->fn == get_mesh) {
			wm_json_ks(j, "description", "of no effect");
		}
		describe_field(j, f);
		wm_json_close(j, '}');
	}
}

void wm_decode_describe(struct wm_json *j, enum wm_body b)
{
	switch (b) {
	case WM_BODY_REGISTER:
		describe_fields(j, service_fields, WM_ARRAY_LEN(service_fields));
		break;
	case WM_BODY_CHECK:
		describe_fields(j, check_fields, WM_ARRAY_LEN(check_fields));
		break;
	case WM_BODY_CHECK_UPDATE:
		describe_fields(j, update_fields, WM_ARRAY_LEN(update_fields));
		break;
	}
}
