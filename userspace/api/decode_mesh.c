/* SPDX-License-Identifier: Apache-2.0 */
/* decode_mesh.c - body of PUT /v1/waymark/instances/:id: what the mesh knows of an instance as
 * typed fields, which become metadata under the names of metadata/mesh.h. */
#include "decode_internal.h"
#include "userspace/metadata/mesh.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define ENDPOINT_PATH_MAX 400 /* octets: with protocol and port it is one value of the metadata */
#define PROTOCOL_MAX	  31  /* octets; as struct wm_mesh_endpoint holds it */

struct raw_mesh {
	struct wm_instance_draft d; /* first, for wm_dec_tags() and the like */
	const char *version, *environment, *region, *zone, *capabilities, *dependencies;
	struct wm_pair *endpoints;
	unsigned endpoints_count;
};

struct raw_endpoint {
	const char *protocol, *path;
	unsigned port;
};
static const struct field endpoint_fields[] = {
	{"protocol", wm_dec_string, offsetof(struct raw_endpoint, protocol), 0, 0},
	{"port", wm_dec_int, offsetof(struct raw_endpoint, port), 1, 65535},
	{"path", wm_dec_string, offsetof(struct raw_endpoint, path), 0, 0},
};

/* A list of words to one text with commas between. */
static int get_words(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	const char **list = NULL;
	size_t count = json_array_size(v), size = 1;
	char *text, *at;
	int err = wm_dec_list(d, f, v, &list);

	for (size_t n = 0; !err && n < count; n++) {
		if (!*list[n] || strpbrk(list[n], ", \t"))
			err = wm_err_set(d->e, WM_E_DECODE,
					 "Request decode failed: %s%.*s: \"%.*s\" must be a word "
					 "without blanks and commas",
					 d->where, wm_dec_name_len(f), f->names, SHOWN, list[n]);
		size += strlen(list[n]) + 1;
	}
	if (err)
		return err;
	text = at = wm_dec_allocate(d, size, 1);
	if (!text)
		return -ENOMEM;
	for (size_t n = 0; n < count; n++)
		at += snprintf(at, size - (size_t)(at - text), "%s%s", n ? "," : "", list[n]);
	*(const char **)((char *)to + f->offset) = text;
	return 0;
}

static bool protocol_valid(const char *s)
{
	size_t n = strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789+.-");

	return n && !s[n] && n <= PROTOCOL_MAX;
}

static int judge_endpoint(struct decoder *d, const char *name, const struct raw_endpoint *e)
{
	const char *path = e->path ? e->path : "";

	if (!e->protocol || !protocol_valid(e->protocol))
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: endpoints.%.*s.protocol must be at most "
				  "%d lower-case letters, digits, '+', '.' and '-'",
				  SHOWN, name, PROTOCOL_MAX);
	if (!e->port)
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: endpoints.%.*s.port is missing", SHOWN,
				  name);
	if (*path && (*path != '/' || strlen(path) > ENDPOINT_PATH_MAX))
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: endpoints.%.*s.path must begin with '/' "
				  "(limit: %d characters)",
				  SHOWN, name, ENDPOINT_PATH_MAX);
	return 0;
}

static int read_endpoint(struct decoder *d, const struct field *f, const char *name, json_t *v,
			 struct wm_pair *ret)
{
	size_t size = strlen(name) + sizeof(WM_MESH_ENDPOINT), back;
	struct raw_endpoint e = {0};
	char *key, *value;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object of endpoints", v);
	back = wm_dec_enter(d, f, name, 0);
	err = wm_dec_fields(d, endpoint_fields, WM_ARRAY_LEN(endpoint_fields), v, &e);
	d->where[back] = 0;
	if (!err)
		err = judge_endpoint(d, name, &e);
	if (err)
		return err;
	key = wm_dec_allocate(d, size, 1);
	value = wm_dec_allocate(d, PROTOCOL_MAX + ENDPOINT_PATH_MAX + 16, 1);
	if (!key || !value)
		return -ENOMEM;
	snprintf(key, size, WM_MESH_ENDPOINT "%s", name);
	snprintf(value, PROTOCOL_MAX + ENDPOINT_PATH_MAX + 16, "%s:%u%s", e.protocol, e.port,
		 e.path ? e.path : "");
	*ret = (struct wm_pair){key, value};
	return 0;
}

static int get_endpoints(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_mesh *m = to;
	const char *name;
	json_t *item;
	int err;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object of endpoints", v);
	m->endpoints = wm_dec_allocate(d, json_object_size(v), sizeof(*m->endpoints));
	if (!m->endpoints)
		return -ENOMEM;
	json_object_foreach(v, name, item)
	{
		err = read_endpoint(d, f, name, item, &m->endpoints[m->endpoints_count]);
		if (err)
			return err;
		m->endpoints_count++;
	}
	return 0;
}

static int get_mesh_checks(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct raw_mesh *m = to;

	return wm_dec_checks(d, f, v, &m->d);
}

#define F(names, fn, member)                                                                       \
	{                                                                                          \
		names, fn, offsetof(struct raw_mesh, member), 0, 0                                 \
	}
static const struct field mesh_fields[] = {
	F("name", wm_dec_string, d.name),
	F("address", wm_dec_string, d.address),
	{"port", wm_dec_int, offsetof(struct raw_mesh, d.port), 0, 65535},
	F("tags", wm_dec_tags, d),
	F("meta", wm_dec_meta, d),
	F("weights", wm_dec_weights, d),
	F("checks", get_mesh_checks, d),
	F("version", wm_dec_string, version),
	F("environment", wm_dec_string, environment),
	F("region", wm_dec_string, region),
	F("zone", wm_dec_string, zone),
	F("capabilities", get_words, capabilities),
	F("dependencies", get_words, dependencies),
	F("endpoints", get_endpoints, d),
};
_Static_assert(offsetof(struct raw_mesh, d) == 0, "wm_dec_tags() takes the draft for the whole");

static int add_pair(struct decoder *d, struct wm_pair *all, unsigned *count, const char *key,
		    const char *value)
{
	if (!value || !*value)
		return 0;
	for (unsigned n = 0; n < *count; n++) {
		if (strcmp(all[n].key, key) == 0)
			return wm_err_set(d->e, WM_E_DECODE,
					  "Request decode failed: %.*s stands in meta too", SHOWN,
					  key);
	}
	all[(*count)++] = (struct wm_pair){mut(key), mut(value)};
	return 0;
}

/* The typed fields behind the metadata that was given. */
static int join_meta(struct decoder *d, struct raw_mesh *m)
{
	const struct {
		const char *key, *value;
	} own[] = {
		{WM_MESH_VERSION, m->version},
		{WM_MESH_ENVIRONMENT, m->environment},
		{WM_MESH_REGION, m->region},
		{WM_MESH_ZONE, m->zone},
		{WM_MESH_CAPABILITIES, m->capabilities},
		{WM_MESH_DEPENDENCIES, m->dependencies},
	};
	unsigned count = m->d.meta_count;
	struct wm_pair *all =
		wm_dec_allocate(d, count + WM_ARRAY_LEN(own) + m->endpoints_count, sizeof(*all));
	int err = 0;

	if (!all)
		return -ENOMEM;
	if (count)
		memcpy(all, m->d.meta, count * sizeof(*all));
	for (unsigned n = 0; !err && n < WM_ARRAY_LEN(own); n++)
		err = add_pair(d, all, &count, own[n].key, own[n].value);
	for (unsigned n = 0; !err && n < m->endpoints_count; n++)
		err = add_pair(d, all, &count, m->endpoints[n].key, m->endpoints[n].value);
	m->d.meta = all;
	m->d.meta_count = count;
	return err;
}

int wm_decode_mesh(const char *body, size_t len, struct wm_decoded **ret,
		   struct wm_instance_draft *ret_draft, struct wm_err *e)
{
	struct decoder d = {.mem = calloc(1, sizeof(struct wm_decoded)), .e = e};
	struct raw_mesh *m = NULL;
	int err;

	*ret = d.mem;
	if (!d.mem)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!err) {
		m = wm_dec_allocate(&d, 1, sizeof(*m));
		err = m ? 0 : -ENOMEM;
	}
	if (!err)
		err = wm_dec_fields(&d, mesh_fields, WM_ARRAY_LEN(mesh_fields), d.mem->root, m);
	if (!err)
		err = join_meta(&d, m);
	if (!err)
		*ret_draft = m->d;
	return err;
}
