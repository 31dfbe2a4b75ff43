/* SPDX-License-Identifier: Apache-2.0 */
/* decode_proxy.c - the members of a Proxy that are objects and lists of them: each field is known
 * by name, and what is kept are Consul's names, however the client spelt them, so that answers and
 * filters have them. The target of each function is the object that is made. */
#include "decode_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <stdio.h>

#define NAME_MAX_OCTETS 32

static int no_memory(struct decoder *d)
{
	return wm_err_set(d->e, -ENOMEM, "Out of memory; nothing was changed");
}

/* @p v is lent: the object holds it, too. */
static int put(struct decoder *d, const struct field *f, json_t *v, json_t *to)
{
	char name[NAME_MAX_OCTETS];

	snprintf(name, sizeof(name), "%.*s", wm_dec_name_len(f), f->names);
	return json_object_set(to, name, v) ? no_memory(d) : 0;
}

static int text(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return json_is_string(v) ? put(d, f, v, to) : wm_dec_wrong(d, f, "a string", v);
}

static int flag(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return json_is_boolean(v) ? put(d, f, v, to) : wm_dec_wrong(d, f, "true or false", v);
}

static int port(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_integer(v) || json_integer_value(v) < 0 || json_integer_value(v) > UINT16_MAX)
		return wm_dec_wrong(d, f, "a whole number between 0 and 65535", v);
	return put(d, f, v, to);
}

/* Of what is in it only the program that it is for knows. */
static int opaque(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return json_is_object(v) ? put(d, f, v, to) : wm_dec_wrong(d, f, "an object", v);
}

/* @return the object that is made of @p v, or NULL: *ret_err is set. */
static json_t *object(struct decoder *d, const struct field *f, size_t i, json_t *v,
		      const struct field *fields, unsigned count, int *ret_err)
{
	json_t *made;
	size_t back;

	if (!json_is_object(v)) {
		*ret_err =
			wm_dec_wrong(d, f, i == SIZE_MAX ? "an object" : "an array of objects", v);
		return NULL;
	}
	made = json_object();
	back = wm_dec_enter(d, f, NULL, i);
	*ret_err = made ? wm_dec_fields(d, fields, count, v, made) : no_memory(d);
	d->where[back] = 0;
	if (!*ret_err)
		return made;
	json_decref(made);
	return NULL;
}

static const struct field gateway_fields[] = {{"Mode", text, 0, 0, 0}};

static int gateway(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	int err;
	json_t *made =
		object(d, f, SIZE_MAX, v, gateway_fields, WM_ARRAY_LEN(gateway_fields), &err);

	if (made)
		err = put(d, f, made, to);
	json_decref(made);
	return err;
}

static const struct field upstream_fields[] = {
	{"DestinationType|destination_type", text, 0, 0, 0},
	{"DestinationPartition|destination_partition", text, 0, 0, 0},
	{"DestinationNamespace|destination_namespace", text, 0, 0, 0},
	{"DestinationPeer|destination_peer", text, 0, 0, 0},
	{"DestinationName|destination_name", text, 0, 0, 0},
	{"Datacenter", text, 0, 0, 0},
	{"LocalBindAddress|local_bind_address", text, 0, 0, 0},
	{"LocalBindPort|local_bind_port", port, 0, 0, 0},
	{"LocalBindSocketPath|local_bind_socket_path", text, 0, 0, 0},
	{"LocalBindSocketMode|local_bind_socket_mode", text, 0, 0, 0},
	{"Config", opaque, 0, 0, 0},
	{"MeshGateway|mesh_gateway", gateway, 0, 0, 0},
	{"CentrallyConfigured|centrally_configured", flag, 0, 0, 0},
};
static const struct field path_fields[] = {
	{"ListenerPort|listener_port", port, 0, 0, 0},	      {"Path", text, 0, 0, 0},
	{"LocalPathPort|local_path_port", port, 0, 0, 0},     {"Protocol", text, 0, 0, 0},
	{"ParsedFromCheck|parsed_from_check", flag, 0, 0, 0},
};
static const struct field extension_fields[] = {
	{"Name", text, 0, 0, 0},
	{"Required", flag, 0, 0, 0},
	{"Arguments", opaque, 0, 0, 0},
	{"ConsulVersion|consul_version", text, 0, 0, 0},
	{"EnvoyVersion|envoy_version", text, 0, 0, 0},
};
static const struct field transparent_fields[] = {
	{"OutboundListenerPort|outbound_listener_port", port, 0, 0, 0},
	{"DialedDirectly|dialed_directly", flag, 0, 0, 0},
};
static const struct field log_fields[] = {
	{"Enabled", flag, 0, 0, 0},
	{"DisableListenerLogs|disable_listener_logs", flag, 0, 0, 0},
	{"Type", text, 0, 0, 0},
	{"Path", text, 0, 0, 0},
	{"JSONFormat|json_format", text, 0, 0, 0},
	{"TextFormat|text_format", text, 0, 0, 0},
};

static const struct {
	const struct field *fields;
	unsigned count;
} members[] = {
	[WM_PROXY_UPSTREAMS] = {upstream_fields, WM_ARRAY_LEN(upstream_fields)},
	[WM_PROXY_PATHS] = {path_fields, WM_ARRAY_LEN(path_fields)},
	[WM_PROXY_EXTENSIONS] = {extension_fields, WM_ARRAY_LEN(extension_fields)},
	[WM_PROXY_TRANSPARENT] = {transparent_fields, WM_ARRAY_LEN(transparent_fields)},
	[WM_PROXY_LOGS] = {log_fields, WM_ARRAY_LEN(log_fields)},
};

json_t *wm_dec_proxy_object(struct decoder *d, const struct field *f, json_t *v,
			    enum wm_proxy_member m, int *ret_err)
{
	return object(d, f, SIZE_MAX, v, members[m].fields, members[m].count, ret_err);
}

/* An upstream is a service where it does not say otherwise: Consul fills that in. */
static int set_type(struct decoder *d, json_t *upstream)
{
	static const char type[] = "DestinationType";

	if (json_string_length(json_object_get(upstream, type)))
		return 0;
	return json_object_set_new(upstream, type, json_string("service")) ? no_memory(d) : 0;
}

json_t *wm_dec_proxy_list(struct decoder *d, const struct field *f, json_t *v,
			  enum wm_proxy_member m, int *ret_err)
{
	json_t *list, *item, *made;
	size_t i;

	*ret_err = 0;
	if (!json_is_array(v)) {
		*ret_err = wm_dec_wrong(d, f, "an array of objects", v);
		return NULL;
	}
	list = json_array();
	if (!list)
		*ret_err = no_memory(d);
	for (i = 0; !*ret_err && i < json_array_size(v); i++) {
		item = json_array_get(v, i);
		made = object(d, f, i, item, members[m].fields, members[m].count, ret_err);
		if (made && m == WM_PROXY_UPSTREAMS)
			*ret_err = set_type(d, made);
		if (json_array_append_new(list, made) && !*ret_err)
			*ret_err = no_memory(d);
	}
	if (!*ret_err)
		return list;
	json_decref(list);
	return NULL;
}
