/* SPDX-License-Identifier: Apache-2.0 */
/* openapi.c - the OpenAPI 3.1 description of this API, made of routes.def, openapi.def and the
 * decoder's tables of fields: GET /v1/waymark/openapi.json, and docs/openapi.json. */
#include "internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/macros.h"

#include <stdio.h>
#include <string.h>

#define TYPE_MAX  64	     /* octets of a type in openapi.def */
#define TEXT_MAX  1024	     /* octets of the whole description of a parameter, a path */
#define WHOLE_MAX (1u << 20) /* octets of the document; it has some 100 KiB */

static const struct {
	const char *method, *path, *groups, *body, *answer;
} routes[] = {
#define Q(group, name, type, text)
#define F(shape, key, type)
#define R(method, path, groups, body, answer) {#method, path, groups, body, answer},
#include "openapi.def"
#undef R
#define R(method, path, groups, body, answer)
};

static const struct {
	const char *group, *name, *type, *text;
} params[] = {
#undef Q
#define Q(group, name, type, text) {#group, name, type, text},
#include "openapi.def"
#undef Q
#define Q(group, name, type, text)
};

static const struct {
	const char *shape, *key, *type;
} members[] = {
#undef F
#undef M
#define F(shape, key, type) {#shape, key, type},
#include "openapi.def"
#undef F
};
#undef Q
#undef R

static const struct {
	const char *method, *path, *text;
} listed[] = {
#define X(method, path, handler, text) {#method, path, text},
#define O			       X
#define F			       X
#define M			       X
#include "routes.def"
#undef X
#undef O
#undef F
};

/* --- types --------------------------------------------------------------------------------------
 */

/* The members of a schema for @p type, without brackets. Nested as deep as the type's text. */
static void put_type(struct wm_json *j, const char *type, size_t len)
{
	static const char *const plain[] = {"string", "integer", "number", "boolean", "object"};
	char text[TYPE_MAX];
	const char *null = len > 5 && memcmp(type + len - 5, "|null", 5) == 0 ? "null" : NULL;

	if (null) {
		wm_json_kopen(j, "anyOf", '[');
		wm_json_open(j, '{');
		put_type(j, type, len - 5);
		wm_json_close(j, '}');
		wm_json_open(j, '{');
		wm_json_ks(j, "type", null);
		wm_json_close(j, '}');
		wm_json_close(j, ']');
		return;
	}
	if (*type == '[' || *type == '{') {
		wm_json_ks(j, "type", *type == '[' ? "array" : "object");
		wm_json_kopen(j, *type == '[' ? "items" : "additionalProperties", '{');
		put_type(j, type + 1, len - 2);
		wm_json_close(j, '}');
		return;
	}
	for (unsigned i = 0; i < WM_ARRAY_LEN(plain); i++) {
		if (strlen(plain[i]) == len && memcmp(plain[i], type, len) == 0) {
			wm_json_ks(j, "type", plain[i]);
			return;
		}
	}
	snprintf(text, sizeof(text), "#/components/schemas/%.*s", (int)len, type);
	wm_json_ks(j, "$ref", text);
}

static void put_schema(struct wm_json *j, const char *key, const char *type, size_t len)
{
	wm_json_kopen(j, key, '{');
	put_type(j, type, len);
	wm_json_close(j, '}');
}

static void put_shape(struct wm_json *j, unsigned from, unsigned to)
{
	wm_json_kopen(j, members[from].shape, '{');
	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "properties", '{');
	for (unsigned i = from; i < to; i++) {
		char key[TYPE_MAX];

		snprintf(key, sizeof(key), "%.*s", (int)strcspn(members[i].key, "?"),
			 members[i].key);
		put_schema(j, key, members[i].type, strlen(members[i].type));
	}
	wm_json_close(j, '}');
	wm_json_kopen(j, "required", '[');
	for (unsigned i = from; i < to; i++) {
		if (!strchr(members[i].key, '?'))
			wm_json_string(j, members[i].key);
	}
	wm_json_close(j, ']');
	wm_json_kb(j, "additionalProperties", false);
	wm_json_close(j, '}');
}

static void put_body_shape(struct wm_json *j, const char *name, enum wm_body b)
{
	wm_json_kopen(j, name, '{');
	wm_json_ks(j, "type", "object");
	wm_json_ks(j, "description",
		   "keys in any case; unknown ones are refused; null is as left out");
	wm_json_kopen(j, "properties", '{');
	wm_decode_describe(j, b);
	wm_json_close(j, '}');
	wm_json_kb(j, "additionalProperties", false);
	wm_json_close(j, '}');
}

static void put_shapes(struct wm_json *j)
{
	unsigned from = 0;

	wm_json_kopen(j, "schemas", '{');
	for (unsigned i = 1; i <= WM_ARRAY_LEN(members); i++) {
		if (i < WM_ARRAY_LEN(members) && strcmp(members[i].shape, members[from].shape) == 0)
			continue;
		put_shape(j, from, i);
		from = i;
	}
	put_body_shape(j, "Registration", WM_BODY_REGISTER);
	put_body_shape(j, "CheckRegistration", WM_BODY_CHECK);
	put_body_shape(j, "CheckUpdate", WM_BODY_CHECK_UPDATE);
	put_body_shape(j, "InstanceRegistration", WM_BODY_NATIVE);
	put_body_shape(j, "CatalogRegistration", WM_BODY_CATALOG_REGISTER);
	put_body_shape(j, "CatalogDeregistration", WM_BODY_CATALOG_DEREGISTER);
	put_body_shape(j, "CatalogNodeWrite", WM_BODY_CATALOG_NODE);
	put_body_shape(j, "CatalogServiceWrite", WM_BODY_CATALOG_SERVICE);
	put_body_shape(j, "CatalogCheckWrite", WM_BODY_CATALOG_CHECK);
	put_body_shape(j, "TxnOp", WM_BODY_TXN_OP);
	put_body_shape(j, "Policy", WM_BODY_POLICY);
	wm_json_close(j, '}');
}

/* --- routes -------------------------------------------------------------------------------------
 */

static bool lists(const char *words, const char *word)
{
	size_t len = strlen(word);

	for (const char *w = words; *w; w += strcspn(w, " "), w += strspn(w, " ")) {
		if (strcspn(w, " ") == len && memcmp(w, word, len) == 0)
			return true;
	}
	return false;
}

/* Members of a parameter; an object stands open. */
static void put_param(struct wm_json *j, const char *name, size_t len, const char *in,
		      const char *type, const char *text)
{
	char copy[TYPE_MAX];

	snprintf(copy, sizeof(copy), "%.*s", (int)len, name);
	wm_json_ks(j, "name", copy);
	wm_json_ks(j, "in", in);
	wm_json_kb(j, "required",
		   strcmp(in, "path") == 0 || strcmp(name, "enable") == 0 ||
			   strcmp(name, "state") == 0);
	wm_json_ks(j, "description", text);
	put_schema(j, "schema", type, strlen(type));
}

/* Those of the query once; the routes refer to them by group and name. */
static void put_all_params(struct wm_json *j)
{
	char key[2 * TYPE_MAX];

	wm_json_kopen(j, "parameters", '{');
	for (unsigned i = 0; i < WM_ARRAY_LEN(params); i++) {
		snprintf(key, sizeof(key), "%s.%s", params[i].group, params[i].name);
		wm_json_kopen(j, key, '{');
		put_param(j, params[i].name, strlen(params[i].name), "query", params[i].type,
			  params[i].text);
		wm_json_close(j, '}');
	}
	wm_json_close(j, '}');
}

static void put_params(struct wm_json *j, const char *path, const char *groups)
{
	wm_json_kopen(j, "parameters", '[');
	for (const char *p = strchr(path, ':'); p; p = strchr(p + 1, ':')) {
		size_t len = strcspn(p + 1, "/");

		wm_json_open(j, '{');
		put_param(j, p + 1, len, "path", "string",
			  p[1 + len] ? "percent-encoded"
				     : "percent-encoded; the rest of the path, slashes included");
		wm_json_close(j, '}');
	}
	for (unsigned i = 0; i < WM_ARRAY_LEN(params); i++) {
		char ref[2 * TYPE_MAX + 32];

		if (!lists(groups, params[i].group))
			continue;
		snprintf(ref, sizeof(ref), "#/components/parameters/%s.%s", params[i].group,
			 params[i].name);
		wm_json_open(j, '{');
		wm_json_ks(j, "$ref", ref);
		wm_json_close(j, '}');
	}
	wm_json_close(j, ']');
}

/* "A or text/plain": a schema where it is JSON, else the media type alone. */
static void put_content(struct wm_json *j, const char *answer)
{
	const char *json[2], *at = answer;
	unsigned count = 0;

	wm_json_kopen(j, "content", '{');
	while (*at) {
		const char *end = strstr(at, " or ");
		size_t len = end ? (size_t)(end - at) : strlen(at);

		if (memchr(at, '/', len)) { /* no schema's name, but a media type */
			char type[TYPE_MAX];

			snprintf(type, sizeof(type), "%.*s", (int)len, at);
			wm_json_kopen(j, type, '{');
			put_schema(j, "schema", "string", 6);
			wm_json_close(j, '}');
		} else if (count < WM_ARRAY_LEN(json)) {
			json[count++] = at;
		}
		at += len + (end ? 4 : 0);
	}
	if (count) {
		wm_json_kopen(j, "application/json", '{');
		wm_json_kopen(j, "schema", '{');
		if (count > 1)
			wm_json_kopen(j, "anyOf", '[');
		for (unsigned i = 0; i < count; i++) {
			const char *end = strstr(json[i], " or ");

			if (count > 1)
				wm_json_open(j, '{');
			put_type(j, json[i], end ? (size_t)(end - json[i]) : strlen(json[i]));
			if (count > 1)
				wm_json_close(j, '}');
		}
		if (count > 1)
			wm_json_close(j, ']');
		wm_json_close(j, '}');
		wm_json_close(j, '}');
	}
	wm_json_close(j, '}');
}

static void put_answer(struct wm_json *j, const char *status, const char *text, const char *answer)
{
	wm_json_kopen(j, status, '{');
	wm_json_ks(j, "description", text);
	if (*answer)
		put_content(j, answer);
	wm_json_close(j, '}');
}

static void put_answers(struct wm_json *j, const char *path, const char *answer)
{
	wm_json_kopen(j, "responses", '{');
	if (strncmp(path, "/v1/kv/", 7) == 0) {
		put_answer(j, "404", "there is no such key; with X-Consul-Index", "");
	} else if (strncmp(path, "/v1/coordinate/node/", 20) == 0) {
		put_answer(j, "200", "", answer);
		put_answer(j, "404", "no member has that name, or it has none yet", "");
	} else if (strncmp(path, "/v1/agent/health/", 17) == 0) {
		put_answer(j, "200", "passing", answer);
		put_answer(j, "429", "warning", answer);
		put_answer(j, "503", "critical, or in maintenance", answer);
		put_answer(j, "404", "unknown", answer);
	} else if (strcmp(path, "/v1/txn") == 0) {
		put_answer(j, "200", "applied whole, and durable", answer);
		put_answer(j, "409", "nothing was applied: Errors tells of which operation",
			   answer);
	} else {
		put_answer(j, "200", *answer ? "the answer" : "done, and durable; no body", answer);
	}
	wm_json_kopen(j, "default", '{');
	wm_json_ks(j, "$ref", "#/components/responses/Error");
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

static void put_route(struct wm_json *j, unsigned n)
{
	char method[8] = "";
	const char *groups = "", *body = "", *answer = "";
	bool described = false;

	for (unsigned i = 0; i < WM_ARRAY_LEN(routes); i++) {
		if (strcmp(routes[i].method, listed[n].method) == 0 &&
		    strcmp(routes[i].path, listed[n].path) == 0) {
			groups = routes[i].groups;
			body = routes[i].body;
			answer = routes[i].answer;
			described = true;
		}
	}
	for (unsigned i = 0; listed[n].method[i] && i < sizeof(method) - 1; i++)
		method[i] = (char)(listed[n].method[i] + 32);
	wm_json_kopen(j, method, '{');
	wm_json_ks(j, "summary", listed[n].text);
	if (!described) /* a test fails on it */
		wm_json_kb(j, "x-undescribed", true);
	put_params(j, listed[n].path, groups);
	if (*body) {
		wm_json_kopen(j, "requestBody", '{');
		wm_json_kb(j, "required", true);
		put_content(j, body);
		wm_json_close(j, '}');
	}
	put_answers(j, listed[n].path, answer);
	wm_json_close(j, '}');
}

/* "/v1/a/:id" is "/v1/a/{id}" there. */
static void put_path(struct wm_json *j, const char *pattern)
{
	char path[TEXT_MAX];
	size_t n = 0;

	for (const char *p = pattern; *p && n < sizeof(path) - 3; p++) {
		if (*p != ':') {
			path[n++] = *p;
			continue;
		}
		path[n++] = '{';
		while (p[1] && p[1] != '/' && n < sizeof(path) - 3)
			path[n++] = *++p;
		path[n++] = '}';
	}
	path[n] = 0;
	wm_json_kopen(j, path, '{');
}

static void put_paths(struct wm_json *j)
{
	wm_json_kopen(j, "paths", '{');
	for (unsigned i = 0; i < WM_ARRAY_LEN(listed); i++) {
		bool before = false;

		for (unsigned k = 0; k < i; k++)
			before |= strcmp(listed[k].path, listed[i].path) == 0;
		if (before) /* stands there with its other methods */
			continue;
		put_path(j, listed[i].path);
		for (unsigned k = i; k < WM_ARRAY_LEN(listed); k++) {
			if (strcmp(listed[k].path, listed[i].path) == 0)
				put_route(j, k);
		}
		wm_json_close(j, '}');
	}
	wm_json_close(j, '}');
}

static void put_document(struct wm_json *j, const char *version)
{
	wm_json_open(j, '{');
	wm_json_ks(j, "openapi", "3.1.0");
	wm_json_kopen(j, "info", '{');
	wm_json_ks(j, "title", "Waymark agent");
	wm_json_ks(j, "version", version);
	wm_json_ks(j, "description",
		   "Consul's discovery API under /v1/, and Waymark's own under /v1/waymark/.");
	wm_json_kopen(j, "license", '{');
	wm_json_ks(j, "name", "Apache-2.0");
	wm_json_ks(j, "identifier", "Apache-2.0");
	wm_json_close(j, '}');
	wm_json_close(j, '}');
	wm_json_kopen(j, "servers", '[');
	wm_json_open(j, '{');
	wm_json_ks(j, "url", "http://127.0.0.1:8500");
	wm_json_close(j, '}');
	wm_json_close(j, ']');
	put_paths(j);
	wm_json_kopen(j, "components", '{');
	put_shapes(j);
	put_all_params(j);
	wm_json_kopen(j, "responses", '{');
	put_answer(j, "Error",
		   "a sentence; 400, 403, 404, 405, 409, 413, 429, 431, 500, 501, 503 or 507",
		   "text/plain");
	wm_json_close(j, '}');
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

int wm_api_openapi(FILE *out, const char *version)
{
	struct wm_json j;
	struct wm_buf b;
	int err;

	wm_buf_init(&b, WHOLE_MAX);
	wm_json_init(&j, &b, true);
	put_document(&j, version);
	wm_json_done(&j);
	err = b.failed || fwrite(b.data, 1, b.len, out) != b.len ? -1 : 0;
	wm_buf_done(&b);
	return err;
}

void wm_native_openapi(struct wm_call *c)
{
	struct wm_json j;

	wm_answer_begin(c, &j);
	put_document(&j, c->api->d.version);
	wm_answer_end(c, &j, 0);
}
