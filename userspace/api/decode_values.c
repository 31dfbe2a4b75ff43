/* SPDX-License-Identifier: Apache-2.0 */
/* decode_values.c - see decode_internal.h: the body, the walk through an object by its table of
 * fields, and single values. */
#include "decode_internal.h"
#include "userspace/base/clock.h"
#include "userspace/base/duration.h"
#include "userspace/base/err.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

void *wm_dec_allocate(struct decoder *d, size_t count, size_t size)
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
	if (m->arena)
		wm_json_arena_close();
	else
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

int wm_dec_wrong(struct decoder *d, const struct field *f, const char *want, const json_t *v)
{
	return wm_err_set(d->e, WM_E_DECODE, "Request decode failed: %s%.*s must be %s, not %s",
			  d->where, wm_dec_name_len(f), f->names, want, what_is(v));
}

/* Go one level down: the place becomes "<where><name>[i]." or "<where><name>.<key>.".
 * @return the length to go back to. */
size_t wm_dec_enter(struct decoder *d, const struct field *f, const char *key, size_t i)
{
	size_t len = strlen(d->where);

	if (key)
		snprintf(d->where + len, sizeof(d->where) - len, "%.*s.%.*s.", wm_dec_name_len(f),
			 f->names, SHOWN, key);
	else if (i != SIZE_MAX)
		snprintf(d->where + len, sizeof(d->where) - len, "%.*s[%zu].", wm_dec_name_len(f),
			 f->names, i);
	else
		snprintf(d->where + len, sizeof(d->where) - len, "%.*s.", wm_dec_name_len(f),
			 f->names);
	return len;
}

int wm_dec_string(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_string(v))
		return wm_dec_wrong(d, f, "a string", v);
	*(const char **)((char *)to + f->offset) = json_string_value(v);
	return 0;
}

int wm_dec_bool(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	if (!json_is_boolean(v))
		return wm_dec_wrong(d, f, "true or false", v);
	*(bool *)((char *)to + f->offset) = json_is_true(v);
	return 0;
}

int wm_dec_int(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	json_int_t n = json_integer_value(v);
	char want[96];

	if (json_is_integer(v) && n >= f->min && n <= f->max) {
		*(unsigned *)((char *)to + f->offset) = (unsigned)n;
		return 0;
	}
	snprintf(want, sizeof(want), "a whole number between %" PRId64 " and %" PRId64, f->min,
		 f->max);
	if (!json_is_integer(v))
		return wm_dec_wrong(d, f, want, v);
	return wm_err_set(d->e, WM_E_DECODE,
			  "Request decode failed: %s%.*s must be %s, not %" JSON_INTEGER_FORMAT,
			  d->where, wm_dec_name_len(f), f->names, want, n);
}

/* Go's text or nanoseconds, to milliseconds; what is above 0 stays above 0. */
int wm_dec_duration(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	const char *text = json_string_value(v);
	int64_t ns = 0;

	if (json_is_integer(v)) {
		ns = json_integer_value(v);
	} else if (!text) {
		return wm_dec_wrong(d, f, "a duration like \"10s\", or nanoseconds", v);
	} else if (*text && wm_duration_parse(text, &ns)) {
		bool unit = text[strspn(text, "+-.0123456789")] != 0;

		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: time: %s \"%.*s\" (%s%.*s must be a "
				  "duration like \"10s\")",
				  unit ? "invalid duration" : "missing unit in duration", SHOWN,
				  text, d->where, wm_dec_name_len(f), f->names);
	}
	if (ns < 0)
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: %s%.*s must not be negative", d->where,
				  wm_dec_name_len(f), f->names);
	*(uint64_t *)((char *)to + f->offset) = ((uint64_t)ns + WM_NS_PER_MS - 1) / WM_NS_PER_MS;
	return 0;
}

/* Depth is bounded by wm_dec_parse(). */
bool wm_dec_blank(json_t *v)
{
	const char *key;
	json_t *item;

	json_object_foreach(v, key, item)
	{
		if (json_is_object(item)
			    ? !wm_dec_blank(item)
			    : json_is_true(item) || json_string_length(item) ||
				      json_number_value(item) != 0 || json_array_size(item))
			return false;
	}
	return true;
}

/* Accepted, of no effect here. */
int wm_dec_ignore(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	(void)d;
	(void)f;
	(void)v;
	(void)to;
	return 0;
}

/* A list of texts. @return its block in @p ret. */
int wm_dec_list(struct decoder *d, const struct field *f, json_t *v, const char ***ret)
{
	const char **list;
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return wm_dec_wrong(d, f, "an array of strings", v);
	list = wm_dec_allocate(d, json_array_size(v), sizeof(*list));
	if (!list)
		return -ENOMEM;
	json_array_foreach(v, i, item)
	{
		if (!json_is_string(item))
			return wm_dec_wrong(d, f, "an array of strings", item);
		list[i] = json_string_value(item);
	}
	*ret = list;
	return 0;
}

/* --- objects -----------------------------------------------------------------------------------
 */

static char lower(char c)
{
	return (char)(c >= 'A' && c <= 'Z' ? c | 0x20 : c);
}

/* Is it one of the field's names, whatever the case? A body's keys meet dozens of names, most of
 * which end at the first letter. */
static bool named(const struct field *f, const char *key)
{
	const char *n = f->names, *k;

	for (;;) {
		for (k = key; *k && *n != '|' && lower(*n) == lower(*k); k++)
			n++;
		if (!*k && (!*n || *n == '|'))
			return true;
		while (*n && *n != '|')
			n++;
		if (!*n++)
			return false;
	}
}

/* Every key must be one of @p fields, once. */
int wm_dec_fields(struct decoder *d, const struct field *fields, unsigned count, json_t *v,
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
					  wm_dec_name_len(&fields[i]), fields[i].names);
		seen |= 1ull << i;
		if (json_is_null(item))
			continue;
		err = fields[i].fn(d, &fields[i], item, to);
		if (err)
			return err;
	}
	return 0;
}

int wm_dec_tags(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_instance_draft *draft = to;
	const char **tags = NULL;
	int err = wm_dec_list(d, f, v, &tags);

	if (err)
		return err;
	draft->tags = tags;
	draft->tags_count = (unsigned)json_array_size(v);
	return 0;
}

static int read_pairs(struct decoder *d, const struct field *f, json_t *v, struct wm_dec_pairs *ret)
{
	struct wm_pair *pairs;
	const char *key;
	json_t *item;
	unsigned n = 0;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object of strings", v);
	pairs = wm_dec_allocate(d, json_object_size(v), sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	json_object_foreach(v, key, item)
	{
		if (!json_is_string(item))
			return wm_dec_wrong(d, f, "an object of strings", item);
		pairs[n].key = mut(key);
		pairs[n++].value = mut(json_string_value(item));
	}
	*ret = (struct wm_dec_pairs){pairs, n};
	return 0;
}

int wm_dec_pairs(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	return read_pairs(d, f, v, (struct wm_dec_pairs *)((char *)to + f->offset));
}

int wm_dec_meta(struct decoder *d, const struct field *f, json_t *v, void *to)
{
	struct wm_instance_draft *draft = to;
	struct wm_dec_pairs pairs = {0};
	int err = read_pairs(d, f, v, &pairs);

	draft->meta = pairs.at;
	draft->meta_count = pairs.count;
	return err;
}

int wm_dec_header_pairs(struct decoder *d, const struct field *f, json_t *v,
			struct wm_dec_pairs *ret)
{
	struct wm_pair *pairs;
	const char *key;
	json_t *list, *item;
	size_t total = 0, i;
	unsigned n = 0;

	if (!json_is_object(v))
		return wm_dec_wrong(d, f, "an object of arrays of strings", v);
	json_object_foreach(v, key, list)
	{
		if (!json_is_array(list))
			return wm_dec_wrong(d, f, "an object of arrays of strings", list);
		total += json_array_size(list);
	}
	pairs = wm_dec_allocate(d, total, sizeof(*pairs));
	if (!pairs)
		return -ENOMEM;
	json_object_foreach(v, key, list){
		json_array_foreach(list, i, item){if (!json_is_string(item)) return wm_dec_wrong(
			d, f, "an object of arrays of strings", item);
	pairs[n].key = mut(key);
	pairs[n++].value = mut(json_string_value(item));
}
}
*ret = (struct wm_dec_pairs){pairs, n};
return 0;
}

/* --- bodies ---------------------------------------------------------------------------------- */
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

int wm_dec_parse(struct decoder *d, const char *body, size_t len, json_type want)
{
	json_error_t je;
	bool deep = false;

	d->mem->arena = wm_json_arena_open();
	d->mem->root = wm_json_quick(body, len);
	if (!d->mem->root)
		deep = too_deep(body, len);
	if (!d->mem->root && !deep)
		d->mem->root = json_loadb(body, len, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &je);
	if (d->mem->arena)
		wm_json_arena_pause();
	if (deep)
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: nested deeper than %d levels",
				  WM_JSON_DEPTH_MAX);
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
	if (json_typeof(d->mem->root) != want && want == JSON_ARRAY) {
		const char *word = strchr(what_is(d->mem->root), ' ');

		return wm_err_set(d->e, WM_E_DECODE,
				  "json: cannot unmarshal %s into Go value of type api.TxnOps",
				  word ? word + 1 : "null");
	}
	if (json_typeof(d->mem->root) != want)
		return wm_err_set(d->e, WM_E_DECODE,
				  "Request decode failed: json: cannot unmarshal %s, the body must "
				  "be an object",
				  what_is(d->mem->root));
	return 0;
}
