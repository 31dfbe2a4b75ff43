/* SPDX-License-Identifier: Apache-2.0 */
/* etcd_answer.c - see etcd_answer.h. Numbers of 64 bits are texts in protobuf's JSON, and what is
 * zero, false or empty is left out. */
#include "etcd_answer.h"

#include "etcd_code.h"

#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdlib.h>
#include <string.h>

struct reader {
	struct wm_etcd_answer *a;
	size_t kvs_cap, parts_cap;
	struct wm_err *e;
};

/* jansson recurses as deep as the text goes. */
static bool too_deep(const char *s, size_t len)
{
	unsigned depth = 0;
	bool text = false;

	for (size_t n = 0; n < len; n++) {
		if (text) {
			if (s[n] == '\\')
				n++;
			else if (s[n] == '"')
				text = false;
		} else if (s[n] == '"') {
			text = true;
		} else if (s[n] == '{' || s[n] == '[') {
			if (++depth > WM_ETCD_DEPTH_MAX)
				return true;
		} else if ((s[n] == '}' || s[n] == ']') && depth) {
			depth--;
		}
	}
	return false;
}

static int wrong(struct reader *r, const char *name, const char *wanted)
{
	return wm_err_set(r->e, WM_E_DECODE, "etcd's answer: %s: %s is wanted", name, wanted);
}

/* --- members of an object; one that is not there is zero ----------------------------------------
 */

static int get_number(struct reader *r, const json_t *o, const char *name, int64_t *ret)
{
	const json_t *v = json_object_get(o, name);
	const char *s = json_string_value(v);
	char *end;

	if (json_is_integer(v)) {
		*ret = json_integer_value(v);
		return 0;
	}
	if (!v)
		return 0;
	errno = 0;
	if (!s || !*s || strlen(s) > 20 || strspn(s, "-0123456789") != strlen(s))
		return wrong(r, name, "a whole number");
	*ret = strtoll(s, &end, 10);
	return errno || *end ? wrong(r, name, "a number of 64 bits") : 0;
}

/* Ids are without sign. */
static int get_id(struct reader *r, const json_t *o, const char *name, uint64_t *ret)
{
	const char *s = json_string_value(json_object_get(o, name));
	int64_t number = 0;
	char *end;
	int err;

	if (s && *s >= '0' && *s <= '9' && strlen(s) <= 20) {
		errno = 0;
		*ret = strtoull(s, &end, 10);
		return errno || *end ? wrong(r, name, "a number of 64 bits") : 0;
	}
	err = get_number(r, o, name, &number);
	if (!err)
		*ret = (uint64_t)number;
	return err;
}

static int get_flag(struct reader *r, const json_t *o, const char *name, bool *ret)
{
	const json_t *v = json_object_get(o, name);

	if (v && !json_is_boolean(v))
		return wrong(r, name, "true or false");
	*ret = json_is_true(v);
	return 0;
}

static int get_text(struct reader *r, const json_t *o, const char *name, const char **ret)
{
	const json_t *v = json_object_get(o, name);

	if (v && !json_is_string(v))
		return wrong(r, name, "a text");
	if (v)
		*ret = json_string_value(v);
	return 0;
}

static int get_object(struct reader *r, const json_t *o, const char *name, const json_t **ret)
{
	*ret = json_object_get(o, name);
	return *ret && !json_is_object(*ret) ? wrong(r, name, "an object") : 0;
}

static int get_list(struct reader *r, const json_t *o, const char *name, const json_t **ret)
{
	*ret = json_object_get(o, name);
	return *ret && !json_is_array(*ret) ? wrong(r, name, "a list") : 0;
}

/* What is decoded is shorter than its text, so the arena, as long as the answer, holds all. */
static int get_octets(struct reader *r, const json_t *o, const char *name, const char **ret,
		      size_t *ret_len)
{
	const json_t *v = json_object_get(o, name);
	char *to = r->a->arena_at;
	long n;

	*ret = "";
	*ret_len = 0;
	if (!v)
		return 0;
	n = json_is_string(v) ? wm_base64_read(json_string_value(v), json_string_length(v), to)
			      : -1;
	if (n < 0)
		return wrong(r, name, "base64");
	*ret = to;
	*ret_len = (size_t)n;
	r->a->arena_at = to + n;
	return 0;
}

/* --- lists ---------------------------------------------------------------------------------------
 */

static int grow(void **list, size_t *cap, size_t count, size_t one)
{
	size_t more = *cap ? *cap * 2 : 16;
	void *p;

	if (count < *cap)
		return 0;
	p = reallocarray(*list, more, one);
	if (!p)
		return -ENOMEM;
	*list = p;
	*cap = more;
	return 0;
}

static int read_kv(struct reader *r, const json_t *o, bool deleted)
{
	struct wm_etcd_answer *a = r->a;
	struct wm_etcd_kv kv = {.deleted = deleted};
	int err = json_is_object(o) ? 0 : wrong(r, "kv", "an object");

	err = err ? err : grow((void **)&a->kvs, &r->kvs_cap, a->kvs_count, sizeof(kv));
	err = err ? err : get_octets(r, o, "key", &kv.key, &kv.key_len);
	err = err ? err : get_octets(r, o, "value", &kv.value, &kv.value_len);
	err = err ? err : get_number(r, o, "create_revision", &kv.create_revision);
	err = err ? err : get_number(r, o, "mod_revision", &kv.mod_revision);
	err = err ? err : get_number(r, o, "lease", &kv.lease);
	if (!err)
		a->kvs[a->kvs_count++] = kv;
	return err;
}

static int read_kvs(struct reader *r, const json_t *o)
{
	const json_t *list;
	int err = get_list(r, o, "kvs", &list);

	for (size_t n = 0; !err && n < json_array_size(list); n++)
		err = read_kv(r, json_array_get(list, n), false);
	return err;
}

static int read_event(struct reader *r, const json_t *o)
{
	const json_t *type = json_object_get(o, "type");
	const char *s = json_string_value(type);
	bool deleted = (s && strcmp(s, "DELETE") == 0) || json_integer_value(type) == 1;

	if (!json_is_object(o) || (type && !deleted && !(s && strcmp(s, "PUT") == 0) &&
				   !(json_is_integer(type) && !json_integer_value(type))))
		return wrong(r, "events", "PUT or DELETE");
	return read_kv(r, json_object_get(o, "kv"), deleted);
}

static int read_part(struct reader *r, const json_t *o)
{
	struct wm_etcd_answer *a = r->a;
	struct wm_etcd_part part = {.succeeded = true, .kvs = a->kvs_count};
	const json_t *range, *txn, *put, *before, *gone, *list = NULL;
	int err = json_is_object(o) ? 0 : wrong(r, "responses", "objects");

	err = err ? err : grow((void **)&a->parts, &r->parts_cap, a->parts_count, sizeof(part));
	err = err ? err : get_object(r, o, "response_range", &range);
	if (!err && range)
		err = read_kvs(r, range);
	err = err ? err : get_object(r, o, "response_put", &put);
	before = !err && put ? json_object_get(put, "prev_kv") : NULL;
	if (before)
		err = read_kv(r, before, false);
	err = err ? err : get_object(r, o, "response_delete_range", &gone);
	if (!err && gone)
		err = get_number(r, gone, "deleted", &part.deleted);
	err = err ? err : get_object(r, o, "response_txn", &txn);
	if (!err && txn) {
		err = get_flag(r, txn, "succeeded", &part.succeeded);
		err = err ? err : get_list(r, txn, "responses", &list);
	}
	/* we never ask for more than one level */
	for (size_t n = 0; !err && n < json_array_size(list); n++) {
		err = get_object(r, json_array_get(list, n), "response_range", &range);
		if (!err && range)
			err = read_kvs(r, range);
	}
	part.kvs_count = a->kvs_count - part.kvs;
	if (!err)
		a->parts[a->parts_count++] = part;
	return err;
}

/* --- the whole -----------------------------------------------------------------------------------
 */

/* Older ones say {"error": text, "code": number}, newer ones leave "error" out, streams have an
 * object with grpc_code or code. */
static int read_error(struct reader *r, const json_t *root)
{
	const json_t *error = json_object_get(root, "error");
	const json_t *o = json_is_object(error) ? error : root;
	struct wm_etcd_answer *a = r->a;
	int64_t code = 0;
	int err = get_number(r, o, "code", &code);

	if (!err && !code)
		err = get_number(r, o, "grpc_code", &code);
	err = err ? err : get_text(r, o, "message", &a->error);
	if (!err && !*a->error && json_is_string(error))
		a->error = json_string_value(error);
	if (!err && (error || code))
		a->code = code > 0 && code <= 16 ? (int)code : WM_ETCD_UNAVAILABLE;
	return err;
}

static int read_watch(struct reader *r, const json_t *o)
{
	struct wm_etcd_answer *a = r->a;
	const json_t *list;
	int err = get_flag(r, o, "created", &a->created);

	err = err ? err : get_flag(r, o, "canceled", &a->canceled);
	err = err ? err : get_flag(r, o, "fragment", &a->fragment);
	err = err ? err : get_number(r, o, "compact_revision", &a->compact_revision);
	err = err ? err : get_text(r, o, "cancel_reason", &a->cancel_reason);
	err = err ? err : get_list(r, o, "events", &list);
	for (size_t n = 0; !err && n < json_array_size(list); n++)
		err = read_event(r, json_array_get(list, n));
	return err;
}

static int read_body(struct reader *r, const json_t *o)
{
	struct wm_etcd_answer *a = r->a;
	const json_t *header, *list;
	int err = get_object(r, o, "header", &header);

	if (!err && header) {
		err = get_id(r, header, "cluster_id", &a->cluster);
		err = err ? err : get_number(r, header, "revision", &a->revision);
	}
	err = err ? err : get_flag(r, o, "succeeded", &a->succeeded);
	err = err ? err : get_flag(r, o, "more", &a->more);
	err = err ? err : get_number(r, o, "ID", &a->lease);
	err = err ? err : get_number(r, o, "TTL", &a->ttl);
	err = err ? err : get_text(r, o, "token", &a->token);
	if (!err && a->token && strlen(a->token) > WM_ETCD_TOKEN_MAX)
		err = wm_err_set(r->e, WM_E_LIMIT, "etcd's answer: token: %u octets at most",
				 WM_ETCD_TOKEN_MAX);
	err = err ? err : read_kvs(r, o);
	err = err ? err : get_list(r, o, "responses", &list);
	for (size_t n = 0; !err && n < json_array_size(list); n++)
		err = read_part(r, json_array_get(list, n));
	return err ? err : read_watch(r, o);
}

void wm_etcd_answer_done(struct wm_etcd_answer *a)
{
	json_decref(a->root);
	free(a->arena);
	free(a->kvs);
	free(a->parts);
	*a = (struct wm_etcd_answer){0};
}

int wm_etcd_answer_read(const char *text, size_t len, struct wm_etcd_answer *ret, struct wm_err *e)
{
	struct wm_etcd_answer a = {.error = "", .cancel_reason = ""};
	struct reader r = {.a = &a, .e = e};
	const json_t *result;
	json_error_t why;
	int err;

	if (len > WM_ETCD_ANSWER_MAX)
		return wm_err_set(e, WM_E_LIMIT, "etcd's answer: %u octets at most",
				  WM_ETCD_ANSWER_MAX);
	if (too_deep(text, len))
		return wm_err_set(e, WM_E_LIMIT, "etcd's answer: nested deeper than %u",
				  WM_ETCD_DEPTH_MAX);
	a.arena = a.arena_at = malloc(len + 1);
	if (!a.arena)
		return -ENOMEM;
	a.root = json_loadb(text, len, JSON_REJECT_DUPLICATES, &why);
	if (!json_is_object((json_t *)a.root)) {
		wm_etcd_answer_done(&a);
		return wm_err_set(e, WM_E_DECODE, "etcd's answer is no JSON object");
	}
	err = read_error(&r, a.root);
	err = err ? err : get_object(&r, a.root, "result", &result);
	if (!err && !a.code)
		err = read_body(&r, result ? result : a.root);
	if (err) {
		wm_etcd_answer_done(&a);
		return err;
	}
	*ret = a;
	return 0;
}
