/* SPDX-License-Identifier: Apache-2.0 */
/* decode_traits.c - what a service states of its place and of a service mesh, into the draft's
 * traits. The target of each function is a draft, or begins with one. Members of Proxy are known by
 * name and kept as they are given, under Consul's names. */
#include "decode_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* The draft's own, made when the first member says something. @return NULL: the error is set. */
static struct wm_traits *traits_of(struct decoder *d, void *to)
{
	struct wm_instance_draft *draft = to;
	struct wm_traits *t = wm_dec_allocate(d, 1, sizeof(*t));

	if (!t)
		return NULL;
	if (draft->traits)
		*t = *draft->traits;
	draft->traits = t;
	return t;
}

int wm_dec_kind(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_traits *t;

	if (!json_is_string(v))
		return wm_dec_wrong(d, f, "a string", v);
	if (!json_string_length(v))
		return 0;
	t = traits_of(d, to);
	if (!t)
		return -ENOMEM;
	t->kind = json_string_value(v);
	return 0;
}

int wm_dec_socket_path(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_traits *t;

	if (!json_is_string(v))
		return wm_dec_wrong(d, f, "a string", v);
	if (!json_string_length(v))
		return 0;
	t = traits_of(d, to);
	if (!t)
		return -ENOMEM;
	t->socket_path = json_string_value(v);
	return 0;
}

/* An object and its fields, one level down. */
static int object(struct decoder *d, const struct field *f, json_t *v, const struct field *fields,
		  unsigned count, void *to)
{
	size_t back;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	back = wm_dec_enter(d, f, NULL, SIZE_MAX);
	err = wm_dec_fields(d, fields, count, v, to);
	d->where[back] = 0;
	return err;
}

static const struct field locality_fields[] = {
	{"Region", wm_dec_string, offsetof(struct wm_traits, region), 0, 0},
	{"Zone", wm_dec_string, offsetof(struct wm_traits, zone), 0, 0},
};

int wm_dec_place(struct decoder *d, const struct field *f, json_t *v, struct wm_traits *ret)
{
	return object(d, f, v, locality_fields, WM_ARRAY_LEN(locality_fields), ret);
}

int wm_dec_locality(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_traits given = {0}, *t;
	int err = wm_dec_place(d, f, v, &given);

	if (err || (!set(given.region) && !set(given.zone)))
		return err;
	t = traits_of(d, to);
	if (!t)
		return -ENOMEM;
	t->region = given.region;
	t->zone = given.zone;
	return 0;
}

/* --- Proxy ------------------------------------------------------------------------------------ */
struct proxy {
	struct wm_pair at[WM_PROXY_MEMBERS_MAX];
	unsigned count;
};

static int add(struct decoder *d, const struct field *f, struct proxy *p, const char *key,
	       const char *value)
{
	if (p->count == WM_PROXY_MEMBERS_MAX)
		return wm_err_set(d->e, WM_E_LIMIT, "%s%.*s: more than %d members", d->where,
				  wm_dec_name_len(f), f->names, WM_PROXY_MEMBERS_MAX);
	p->at[p->count++] = (struct wm_pair){mut(key), mut(value)};
	return 0;
}

/* The key that a member is kept under; fields have its number for offset. */
enum {
	KEY_NAME,
	KEY_ID,
	KEY_ADDRESS,
	KEY_PORT,
	KEY_SOCKET_PATH,
	KEY_MODE,
	KEY_CONFIG,
	KEY_UPSTREAMS,
	KEY_EXTENSIONS,
	KEY_TRANSPARENT,
	KEY_LOGS,
	KEY_MUTUAL_TLS,
	KEY_GATEWAY_MODE,
	KEY_EXPOSE_CHECKS,
	KEY_EXPOSE_PATHS
};
static const char *const keys[] = {[KEY_NAME] = "DestinationServiceName",
				   [KEY_ID] = "DestinationServiceID",
				   [KEY_ADDRESS] = "LocalServiceAddress",
				   [KEY_PORT] = "LocalServicePort",
				   [KEY_SOCKET_PATH] = "LocalServiceSocketPath",
				   [KEY_MODE] = "Mode",
				   [KEY_CONFIG] = "Config",
				   [KEY_UPSTREAMS] = "Upstreams",
				   [KEY_EXTENSIONS] = "EnvoyExtensions",
				   [KEY_TRANSPARENT] = "TransparentProxy",
				   [KEY_LOGS] = "AccessLogs",
				   [KEY_MUTUAL_TLS] = "MutualTLSMode",
				   [KEY_GATEWAY_MODE] = "MeshGateway.Mode",
				   [KEY_EXPOSE_CHECKS] = "Expose.Checks",
				   [KEY_EXPOSE_PATHS] = "Expose.Paths"};

static int get_text(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_string(v))
		return wm_dec_wrong(d, f, "a string", v);
	return json_string_length(v) ? add(d, f, to, keys[f->offset], json_string_value(v)) : 0;
}

/* As JSON, which is what the answer repeats. */
static int keep(struct decoder *d, const struct field *f, json_t *v, struct proxy *p)
{
	const size_t flags = JSON_COMPACT | JSON_ENCODE_ANY;
	size_t len = json_dumpb(v, NULL, 0, flags);
	char *text = wm_dec_allocate(d, len + 1, 1);

	if (!text)
		return -ENOMEM;
	json_dumpb(v, text, len, flags);
	return add(d, f, p, keys[f->offset], text);
}

static int get_port(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT16_MAX)
		return wm_dec_wrong(d, f, "a whole number between 0 and 65535", v);
	return json_integer_value(v) ? keep(d, f, v, to) : 0;
}

static int get_flag(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_boolean(v))
		return wm_dec_wrong(d, f, "true or false", v);
	return json_is_true(v) ? keep(d, f, v, to) : 0;
}

static int get_object(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	return json_object_size(v) ? keep(d, f, v, to) : 0;
}

static enum wm_proxy_member member_of(const struct field *f)
{
	switch (f->offset) {
	case KEY_UPSTREAMS:
		return WM_PROXY_UPSTREAMS;
	case KEY_EXTENSIONS:
		return WM_PROXY_EXTENSIONS;
	case KEY_TRANSPARENT:
		return WM_PROXY_TRANSPARENT;
	case KEY_LOGS:
		return WM_PROXY_LOGS;
	default:
		return WM_PROXY_PATHS;
	}
}

static int get_list(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	int err;
	json_t *made = wm_dec_proxy_list(d, f, v, member_of(f), &err);

	if (json_array_size(made))
		err = keep(d, f, made, to);
	json_decref(made);
	return err;
}

static int get_known(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	int err;
	json_t *made = wm_dec_proxy_object(d, f, v, member_of(f), &err);

	if (json_object_size(made))
		err = keep(d, f, made, to);
	json_decref(made);
	return err;
}

static const struct field gateway_fields[] = {{"Mode", get_text, KEY_GATEWAY_MODE, 0, 0}};
static const struct field expose_fields[] = {{"Checks", get_flag, KEY_EXPOSE_CHECKS, 0, 0},
					     {"Paths", get_list, KEY_EXPOSE_PATHS, 0, 0}};

static int get_gateway(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return object(d, f, v, gateway_fields, WM_ARRAY_LEN(gateway_fields), to);
}

static int get_expose(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return object(d, f, v, expose_fields, WM_ARRAY_LEN(expose_fields), to);
}

static const struct field proxy_fields[] = {
	{"DestinationServiceName|destination_service_name", get_text, KEY_NAME, 0, 0},
	{"DestinationServiceID|destination_service_id", get_text, KEY_ID, 0, 0},
	{"LocalServiceAddress|local_service_address", get_text, KEY_ADDRESS, 0, 0},
	{"LocalServicePort|local_service_port", get_port, KEY_PORT, 0, 0},
	{"LocalServiceSocketPath|local_service_socket_path", get_text, KEY_SOCKET_PATH, 0, 0},
	{"Mode", get_text, KEY_MODE, 0, 0},
	{"Config", get_object, KEY_CONFIG, 0, 0},
	{"Upstreams", get_list, KEY_UPSTREAMS, 0, 0},
	{"EnvoyExtensions|envoy_extensions", get_list, KEY_EXTENSIONS, 0, 0},
	{"TransparentProxy|transparent_proxy", get_known, KEY_TRANSPARENT, 0, 0},
	{"AccessLogs|access_logs", get_known, KEY_LOGS, 0, 0},
	{"MutualTLSMode|mutual_tls_mode", get_text, KEY_MUTUAL_TLS, 0, 0},
	{"MeshGateway|mesh_gateway", get_gateway, 0, 0, 0},
	{"Expose", get_expose, 0, 0, 0},
};

int wm_dec_proxy(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct proxy *p = wm_dec_allocate(d, 1, sizeof(*p));
	struct wm_traits *t;
	int err;

	if (!p)
		return -ENOMEM;
	err = object(d, f, v, proxy_fields, WM_ARRAY_LEN(proxy_fields), p);
	if (err || !p->count)
		return err;
	t = traits_of(d, to);
	if (!t)
		return -ENOMEM;
	t->proxy = p->at;
	t->proxy_count = p->count;
	return 0;
}

/* --- Connect ---------------------------------------------------------------------------------- */
struct connect {
	bool native;
	json_t *sidecar;
};

static int get_sidecar(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object", v);
	((struct connect *)to)->sidecar = v;
	return 0;
}

static const struct field connect_fields[] = {
	{"Native", wm_dec_bool, offsetof(struct connect, native), 0, 0},
	{"SidecarService|sidecar_service", get_sidecar, 0, 0, 0},
	{"PeerMeta|peer_meta", wm_dec_ignore, 0, 0, 0},
};

int wm_dec_connect(struct decoder *d, const struct field *f, json_t *v, void *to,
		   json_t **ret_sidecar)
{
	struct connect c = {0};
	struct wm_traits *t;
	int err = object(d, f, v, connect_fields, WM_ARRAY_LEN(connect_fields), &c);

	*ret_sidecar = c.sidecar;
	if (err || !c.native)
		return err;
	t = traits_of(d, to);
	if (!t)
		return -ENOMEM;
	t->native = true;
	return 0;
}

int wm_dec_connect_native(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	json_t *sidecar;
	int err = wm_dec_connect(d, f, v, to, &sidecar);

	if (!err && sidecar)
		err = wm_err_set(d->e, WM_E_INVALID,
				 "%s%.*s.SidecarService is known to an agent's registration only: "
				 "write the sidecar's service",
				 d->where, wm_dec_name_len(f), f->names);
	return err;
}

/* --- description ------------------------------------------------------------------------------ */
static bool describe_own(struct wm_json *j, const struct field *f)
{
	if (f->fn == get_text)
		wm_json_ks(j, "type", "string");
	else if (f->fn == get_port)
		wm_json_ks(j, "type", "integer");
	else if (f->fn == get_flag)
		wm_json_ks(j, "type", "boolean");
	else if (f->fn == get_object || f->fn == get_known || f->fn == get_sidecar)
		wm_json_ks(j, "type", "object");
	else if (f->fn == get_list)
		wm_json_ks(j, "type", "array");
	else if (f->fn == get_gateway)
		wm_dec_describe_object(j, gateway_fields, WM_ARRAY_LEN(gateway_fields),
				       describe_own);
	else if (f->fn == get_expose)
		wm_dec_describe_object(j, expose_fields, WM_ARRAY_LEN(expose_fields), describe_own);
	else
		return false;
	return true;
}

void wm_dec_describe_place(struct wm_json *j)
{
	wm_dec_describe_object(j, locality_fields, WM_ARRAY_LEN(locality_fields), NULL);
}

bool wm_dec_describe_traits(struct wm_json *j, const struct field *f)
{
	if (f->fn == wm_dec_kind || f->fn == wm_dec_socket_path)
		wm_json_ks(j, "type", "string");
	else if (f->fn == wm_dec_locality)
		wm_dec_describe_place(j);
	else if (f->fn == wm_dec_proxy)
		wm_dec_describe_object(j, proxy_fields, WM_ARRAY_LEN(proxy_fields), describe_own);
	else if (f->fn == wm_dec_connect_native)
		wm_dec_describe_object(j, connect_fields, WM_ARRAY_LEN(connect_fields),
				       describe_own);
	else
		return false;
	return true;
}
