/* SPDX-License-Identifier: Apache-2.0 */
/* decode_native.c - body of PUT /v1/waymark/instances/:id into the registry's draft. What has a
 * type here becomes the metadata that stands for it (metadata/mesh.h), judged by field and limit.
 */
#include "decode_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"
#include "userspace/metadata/mesh.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct texts {
	const char **at;
	unsigned count;
};
struct endpoint {
	const char *name, *protocol, *path;
	unsigned port;
};
struct raw_native {
	struct wm_instance_draft d; /* first: what others decode goes there */
	const char *lifecycle;
#define X(sym, key, name) const char *value_##sym;
	WM_MESH_VALUES(X)
#undef X
#define X(sym, key, name) struct texts list_##sym;
	WM_MESH_LISTS(X)
#undef X
	struct endpoint *endpoints;
	unsigned endpoints_count;
};
_Static_assert(offsetof(struct raw_native, d) == 0, "see above");

static int get_texts(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct texts *t = (struct texts *)((char *)to + f->offset);
	int err = wm_dec_list(d, f, v, &t->at);

	t->count = err ? 0 : (unsigned)json_array_size(v);
	return err;
}

static const struct field endpoint_fields[] = {
	{"protocol", wm_dec_string, offsetof(struct endpoint, protocol), 0, 0},
	{"port", wm_dec_int, offsetof(struct endpoint, port), 1, 65535},
	{"path", wm_dec_string, offsetof(struct endpoint, path), 0, 0},
};

static int judge_endpoint(struct decoder *d, const struct endpoint *e)
{
	size_t n = strlen(e->name), path = e->path ? strlen(e->path) : 0;

	if (!n || n > WM_META_KEY_MAX - strlen(WM_MESH_ENDPOINT_KEY) ||
	    strspn(e->name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_") !=
		    n)
		return wm_err_set(d->e, WM_E_INVALID,
				  "endpoints: \"%.*s\" is no name: 1 to %zu letters, digits, '-' "
				  "and '_'",
				  SHOWN, e->name, WM_META_KEY_MAX - strlen(WM_MESH_ENDPOINT_KEY));
	if (!e->protocol || !wm_mesh_protocol_valid(e->protocol))
		return wm_err_set(d->e, WM_E_INVALID,
				  "endpoints.%.*s.protocol: 1 to %d lower-case letters, digits, "
				  "'+', '-' and '.' are wanted, a letter first",
				  SHOWN, e->name, WM_MESH_PROTOCOL_MAX);
	if (!e->port)
		return wm_err_set(d->e, WM_E_INVALID, "endpoints.%.*s.port: missing, 1 to 65535",
				  SHOWN, e->name);
	if (path && *e->path != '/')
		return wm_err_set(d->e, WM_E_INVALID, "endpoints.%.*s.path must begin with a slash",
				  SHOWN, e->name);
	if (strlen(e->protocol) + path + sizeof(":65535") - 1 > WM_META_VALUE_MAX)
		return wm_err_set(d->e, WM_E_LIMIT,
				  "endpoints.%.*s: protocol, port and path are longer than %d "
				  "octets together",
				  SHOWN, e->name, WM_META_VALUE_MAX);
	return 0;
}

static int get_endpoints(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_native *n = to;
	const char *key;
	json_t *item;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object of endpoints", v);
	if (json_object_size(v) > WM_MESH_ENDPOINTS_MAX)
		return wm_err_set(d->e, WM_E_LIMIT, "endpoints: %zu given, at most %d are allowed",
				  json_object_size(v), WM_MESH_ENDPOINTS_MAX);
	n->endpoints = wm_dec_allocate(d, json_object_size(v), sizeof(*n->endpoints));
	if (!n->endpoints)
		return -ENOMEM;
	json_object_foreach(v, key, item)
	{
		struct endpoint *e = &n->endpoints[n->endpoints_count++];
		size_t back = wm_dec_enter(d, f, key, SIZE_MAX);
		int err;

		e->name = key;
		if (!json_is_object(item)) {
			d->where[back] = 0;
			return wm_dec_wrong(d, f, "an object of endpoints", item);
		}
		err = wm_dec_fields(d, endpoint_fields, WM_ARRAY_LEN(endpoint_fields), item, e);
		d->where[back] = 0;
		if (!err)
			err = judge_endpoint(d, e);
		if (err)
			return err;
	}
	return 0;
}

static int get_native_checks(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_native *n = to;

	return wm_dec_checks(d, f, v, &n->d.checks, &n->d.checks_count);
}

#define NATIVE(name, fn, member)                                                                   \
	{                                                                                          \
		name, fn, offsetof(struct raw_native, member), 0, 0                                \
	}
static const struct field fields[] = {
	NATIVE("name", wm_dec_string, d.name),
	NATIVE("address", wm_dec_string, d.address),
	{"port", wm_dec_int, offsetof(struct raw_native, d.port), 0, 65535},
	NATIVE("tags", wm_dec_tags, d),
	NATIVE("meta", wm_dec_meta, d),
#define X(sym, key, name) NATIVE(key, wm_dec_string, value_##sym),
	WM_MESH_VALUES(X)
#undef X
#define X(sym, key, name) NATIVE(key, get_texts, list_##sym),
		WM_MESH_LISTS(X)
#undef X
			NATIVE("endpoints", get_endpoints, d),
	NATIVE("weights", wm_dec_weights, d),
	NATIVE("checks", get_native_checks, d),
	NATIVE("lifecycle", wm_dec_string, lifecycle),
};
_Static_assert(WM_ARRAY_LEN(fields) <= 64, "wm_dec_fields() keeps a bit of each");

/* --- to metadata ------------------------------------------------------------------------------ */
struct maker {
	struct decoder *d;
	struct wm_pair *at;
	unsigned count, given; /* given: those of the client's own, which stand first */
};

static int add(struct maker *m, const char *key, const char *value)
{
	for (unsigned i = 0; i < m->given; i++) {
		if (strcmp(m->at[i].key, key) == 0)
			return wm_err_set(m->d->e, WM_E_INVALID,
					  "%s is given twice: as a field and in meta", key);
	}
	m->at[m->count++] = (struct wm_pair){mut(key), mut(value)};
	return 0;
}

static int add_value(struct maker *m, const char *key, const char *value)
{
	if (!set(value))
		return 0;
	if (strlen(value) > WM_META_VALUE_MAX)
		return wm_err_set(m->d->e, WM_E_LIMIT, "%s is too long (limit: %d characters)", key,
				  WM_META_VALUE_MAX);
	return add(m, key, value);
}

static int judge_element(struct maker *m, const char *key, unsigned i, const char *s)
{
	size_t n = strlen(s);

	if (!n || strchr(s, ',') || strchr(" \t", *s) || strchr(" \t", s[n - 1]))
		return wm_err_set(m->d->e, WM_E_INVALID,
				  "%s[%u] must be a text without commas, and without spaces at "
				  "either end",
				  key, i);
	return 0;
}

static int add_list(struct maker *m, const char *key, const struct texts *t)
{
	size_t len = 0, at = 0;
	char *text;
	int err = 0;

	if (!t->count)
		return 0;
	if (t->count > WM_MESH_LIST_MAX)
		return wm_err_set(m->d->e, WM_E_LIMIT, "%s: %u given, at most %d are allowed", key,
				  t->count, WM_MESH_LIST_MAX);
	for (unsigned i = 0; i < t->count && !err; i++) {
		err = judge_element(m, key, i, t->at[i]);
		len += strlen(t->at[i]) + 1;
	}
	if (err)
		return err;
	if (len - 1 > WM_META_VALUE_MAX)
		return wm_err_set(m->d->e, WM_E_LIMIT,
				  "%s: with commas in between longer than %d characters", key,
				  WM_META_VALUE_MAX);
	text = wm_dec_allocate(m->d, len, 1);
	if (!text)
		return -ENOMEM;
	for (unsigned i = 0; i < t->count; i++)
		at += (size_t)snprintf(text + at, len - at, "%s%s", i ? "," : "", t->at[i]);
	return add(m, key, text);
}

static int add_endpoint(struct maker *m, const struct endpoint *e)
{
	size_t key_len = strlen(WM_MESH_ENDPOINT_KEY) + strlen(e->name) + 1;
	char *key = wm_dec_allocate(m->d, key_len, 1);
	char *value = wm_dec_allocate(m->d, WM_META_VALUE_MAX + 1, 1);

	if (!key || !value)
		return -ENOMEM;
	snprintf(key, key_len, WM_MESH_ENDPOINT_KEY "%s", e->name);
	snprintf(value, WM_META_VALUE_MAX + 1, "%s:%u%s", e->protocol, e->port,
		 e->path ? e->path : "");
	return add(m, key, value);
}

#define X(sym, key, name) +1
enum { TYPED = 0 WM_MESH_VALUES(X) WM_MESH_LISTS(X) };
#undef X

static int make_meta(struct decoder *d, struct raw_native *n)
{
	struct maker m = {.d = d, .count = n->d.meta_count, .given = n->d.meta_count};
	int err = 0;

	m.at = wm_dec_allocate(d, n->d.meta_count + TYPED + n->endpoints_count, sizeof(*m.at));
	if (!m.at)
		return -ENOMEM;
	if (n->d.meta_count)
		memcpy(m.at, n->d.meta, n->d.meta_count * sizeof(*m.at));
#define X(sym, key, name) err = err ? err : add_value(&m, key, n->value_##sym);
	WM_MESH_VALUES(X)
#undef X
#define X(sym, key, name) err = err ? err : add_list(&m, key, &n->list_##sym);
	WM_MESH_LISTS(X)
#undef X
	for (unsigned i = 0; i < n->endpoints_count && !err; i++)
		err = add_endpoint(&m, &n->endpoints[i]);
	n->d.meta = m.at;
	n->d.meta_count = m.count;
	return err;
}

static int judge_lifecycle(struct decoder *d, struct raw_native *n)
{
	if (!set(n->lifecycle))
		return 0;
	if (wm_lifecycle_parse(n->lifecycle, &n->d.lifecycle) ||
	    (n->d.lifecycle != WM_LIFE_STARTING && n->d.lifecycle != WM_LIFE_RUNNING))
		return wm_err_set(d->e, WM_E_INVALID,
				  "lifecycle: \"%.*s\" is none that a registration begins with: "
				  "starting, running",
				  SHOWN, n->lifecycle);
	return 0;
}

int wm_decode_native(const char *body, size_t len, struct wm_decoded **ret,
		     struct wm_instance_draft *ret_draft, struct wm_err *e)
{
	struct wm_decoded *mem = calloc(1, sizeof(*mem));
	struct decoder d = {.mem = mem, .e = e};
	struct raw_native n;
	int err;

	if (!mem)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	memset(&n, 0, sizeof(n));
	err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!err)
		err = wm_dec_fields(&d, fields, WM_ARRAY_LEN(fields), mem->root, &n);
	if (!err)
		err = judge_lifecycle(&d, &n);
	if (!err)
		err = make_meta(&d, &n);
	if (err) {
		wm_decoded_free(mem);
		return err;
	}
	*ret_draft = n.d;
	*ret = mem;
	return 0;
}

static bool describe_own(struct wm_json *j, const struct field *f)
{
	if (f->fn == get_texts) {
		wm_dec_describe_array(j, "string");
	} else if (f->fn == get_native_checks) {
		wm_dec_describe_array(j, WM_DEC_SCHEMA("CheckRegistration"));
	} else if (f->fn == get_endpoints) {
		wm_json_ks(j, "type", "object");
		wm_json_kopen(j, "additionalProperties", '{');
		wm_dec_describe_object(j, endpoint_fields, WM_ARRAY_LEN(endpoint_fields), NULL);
		wm_json_close(j, '}');
	} else {
		return false;
	}
	return true;
}

void wm_decode_describe_native(struct wm_json *j)
{
	wm_dec_describe(j, fields, WM_ARRAY_LEN(fields), describe_own);
}
