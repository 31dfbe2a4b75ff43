/* SPDX-License-Identifier: Apache-2.0 */
/* decode_policy.c - a policy as JSON, in and out, by the table of its fields (model/policy.h).
 * Out, what is as if it were left out is left out. */
#include "decode_policy.h"

#include "decode_internal.h"
#include "userspace/base/duration.h"
#include "userspace/base/plain.h"
#include "userspace/base/utf8.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* --- in: values ---------------------------------------------------------------------------------
 */
static int refuse(struct decoder *d, const struct wm_policy_field *f, const char *value,
		  const char *allowed)
{
	return wm_err_set(d->e, WM_E_INVALID, "%s%s: \"%.*s\" is not allowed: %s", d->where,
			  f->name, SHOWN, value, allowed);
}

static int wrong(struct decoder *d, const struct wm_policy_field *f, const char *want,
		 const json_t *v)
{
	const struct field named = {.names = f->name};

	return wm_dec_wrong(d, &named, want, v);
}

static int get_name(struct decoder *d, const struct wm_policy_field *f, const json_t *v,
		    uint32_t *to)
{
	const char *s = json_string_value(v);
	char allowed[160];
	size_t len = 0;

	if (!s)
		return wrong(d, f, "a string", v);
	for (uint32_t n = 0; n <= f->max; n++) {
		if (strcasecmp(f->names[n], s) == 0) {
			*to = n;
			return 0;
		}
		len += (size_t)snprintf(allowed + len, sizeof(allowed) - len, "%s%s", n ? ", " : "",
					f->names[n]);
	}
	return refuse(d, f, s, allowed);
}

/* A number in @p unit-ths, as the rules judge it; what they cannot is judged here. */
static int get_number(struct decoder *d, const struct wm_policy_field *f, const json_t *v,
		      unsigned unit, uint32_t *to)
{
	double x = json_number_value(v) * unit;
	char value[48], allowed[64];

	if (!json_is_number(v) || (unit == 1 && !json_is_integer(v)))
		return wrong(d, f, unit == 1 ? "a whole number" : "a number", v);
	if (x < 0 || x > UINT32_MAX || fabs(x - round(x)) > 1e-6) {
		snprintf(value, sizeof(value), "%.12g", json_number_value(v));
		snprintf(allowed, sizeof(allowed), "%u to %u%s", f->min / unit, f->max / unit,
			 unit == 1 ? "" : ", and two decimals at most");
		return refuse(d, f, value, allowed);
	}
	*to = (uint32_t)llround(x);
	return 0;
}

static int get_seconds(struct decoder *d, const struct wm_policy_field *f, const json_t *v,
		       uint32_t *to)
{
	const char *s = json_string_value(v);
	int64_t ns;

	if (json_is_integer(v))
		return get_number(d, f, v, 1, to);
	if (!s)
		return wrong(d, f, "a duration such as \"10s\", or whole seconds", v);
	if (wm_duration_parse(s, &ns) || ns < 0 || ns % 1000000000 || ns / 1000000000 > UINT32_MAX)
		return refuse(d, f, s, "whole seconds such as 10s or 5m");
	*to = (uint32_t)(ns / 1000000000);
	return 0;
}

static int get_value(struct decoder *d, const struct wm_policy_field *f, json_t *v, void *of)
{
	if (json_is_null(v))
		return 0;
	switch (f->type) {
	case WM_POLICY_ENUM:
		return get_name(d, f, v, wm_policy_number(of, f));
	case WM_POLICY_FLAG:
		if (!json_is_boolean(v))
			return wrong(d, f, "true or false", v);
		*wm_policy_number(of, f) = json_is_true(v);
		return 0;
	case WM_POLICY_NUMBER:
		return get_number(d, f, v, 1, wm_policy_number(of, f));
	case WM_POLICY_SECONDS:
		return get_seconds(d, f, v, wm_policy_number(of, f));
	case WM_POLICY_PERCENT:
	case WM_POLICY_RATIO:
		return get_number(d, f, v, 100, wm_policy_number(of, f));
	case WM_POLICY_TEXT:
		if (!json_is_string(v))
			return wrong(d, f, "a string", v);
		*wm_policy_text(of, f) = json_string_value(v);
		return 0;
	}
	return 0;
}

/* --- in: objects --------------------------------------------------------------------------------
 */
static int unknown(struct decoder *d, const char *key)
{
	return wm_err_set(d->e, WM_E_DECODE,
			  "Request decode failed: json: unknown field \"%s%.*s\"", d->where, SHOWN,
			  key);
}

static const struct wm_policy_field *field_of(const struct wm_policy_section *s, const char *key,
					      unsigned from)
{
	for (unsigned n = from; n < s->fields_count; n++) {
		if (strcasecmp(s->fields[n].name, key) == 0)
			return &s->fields[n];
	}
	return NULL;
}

static int get_members(struct decoder *d, const struct wm_policy_section *s, unsigned from,
		       json_t *v, void *of)
{
	uint64_t seen = 0;
	const char *key;
	json_t *item;
	int err = 0;

	json_object_foreach(v, key, item)
	{
		const struct wm_policy_field *f = field_of(s, key, from);

		if (!f)
			return unknown(d, key);
		if (seen & 1ull << (f - s->fields))
			return wm_err_set(d->e, WM_E_DECODE,
					  "Request decode failed: %s%s is given twice", d->where,
					  f->name);
		seen |= 1ull << (f - s->fields);
		err = get_value(d, f, item, of);
		if (err)
			break;
	}
	return err;
}

static size_t enter(struct decoder *d, const char *name, const char *key, size_t i)
{
	const struct field f = {.names = name};

	return wm_dec_enter(d, &f, key, i);
}

static int too_many(struct decoder *d, const struct wm_policy_section *s, size_t n)
{
	return wm_err_set(d->e, WM_E_INVALID, "%s: %zu are too many: at most %u are allowed",
			  s->name, n, s->max);
}

static int get_list(struct decoder *d, const struct wm_policy_section *s, json_t *v,
		    struct wm_policy_draft *to)
{
	const struct field named = {.names = s->name};
	json_t *item;
	size_t i;

	if (!json_is_array(v))
		return wm_dec_wrong(d, &named, "an array of objects", v);
	json_array_foreach(v, i, item)
	{
		void *of = wm_policy_draft_add(to, s);
		size_t back;
		int err;

		if (!json_is_object(item))
			return wm_dec_wrong(d, &named, "an array of objects", item);
		if (!of)
			return too_many(d, s, json_array_size(v));
		back = enter(d, s->name, NULL, i);
		err = get_members(d, s, 0, item, of);
		if (err)
			return err;
		d->where[back] = 0;
	}
	return 0;
}

/* The first field of an element is its key. */
static int get_key(struct decoder *d, const struct wm_policy_section *s, const char *key, void *of)
{
	const struct wm_policy_field *f = &s->fields[0];
	char *end;
	unsigned long n;

	if (f->type == WM_POLICY_TEXT) {
		*wm_policy_text(of, f) = key;
		return 0;
	}
	n = strtoul(key, &end, 10);
	if (!*key || strspn(key, "0123456789") != strlen(key) || *end || n > UINT32_MAX)
		return wm_err_set(d->e, WM_E_INVALID, "%s: \"%.*s\" is not allowed: %u to %u",
				  s->name, SHOWN, key, f->min, f->max);
	*wm_policy_number(of, f) = (uint32_t)n;
	return 0;
}

static int get_map(struct decoder *d, const struct wm_policy_section *s, json_t *v,
		   struct wm_policy_draft *to)
{
	const struct field named = {.names = s->name};
	const char *key;
	json_t *item;

	if (!json_is_object(v))
		return wm_dec_wrong(d, &named, "an object", v);
	json_object_foreach(v, key, item)
	{
		void *of = wm_policy_draft_add(to, s);
		size_t back;
		int err;

		if (!of)
			return too_many(d, s, json_object_size(v));
		err = get_key(d, s, key, of);
		back = enter(d, s->name, key, SIZE_MAX);
		if (!err && json_is_object(item))
			err = get_members(d, s, 1, item, of);
		else if (!err)
			err = get_value(d, &s->fields[1], item, of);
		if (err)
			return err;
		d->where[back] = 0;
	}
	return 0;
}

static int get_section(struct decoder *d, const struct wm_policy_section *s, json_t *v,
		       struct wm_policy_draft *to)
{
	const struct field named = {.names = s->name};
	size_t back;
	int err;

	if (json_is_null(v))
		return 0;
	if (s->form == WM_POLICY_LIST)
		return get_list(d, s, v, to);
	if (s->form == WM_POLICY_MAP)
		return get_map(d, s, v, to);
	if (!json_is_object(v))
		return wm_dec_wrong(d, &named, "an object", v);
	back = enter(d, s->name, NULL, SIZE_MAX);
	err = get_members(d, s, 0, v, &to->p);
	if (!err)
		d->where[back] = 0;
	return err;
}

static const struct wm_policy_section *section_of(const char *key)
{
	for (unsigned n = 1; n < wm_policy_sections_count; n++) {
		const struct wm_policy_section *s = &wm_policy_sections[n];

		if (!s->hidden && strcasecmp(s->name, key) == 0)
			return s;
	}
	return NULL;
}

/* What is shown of one and is nobody's to state: it may be given back as it came. */
static bool is_shown(const char *key)
{
	static const char *const names[] = {"create_index", "modify_index", "writer", "written_ms"};

	for (unsigned n = 0; n < sizeof(names) / sizeof(names[0]); n++) {
		if (strcasecmp(names[n], key) == 0)
			return true;
	}
	return false;
}

static int get_service(struct decoder *d, json_t *v, struct wm_policy_draft *to)
{
	static const struct field named = {.names = "service"};
	const char *s = json_string_value(v);

	if (!s)
		return wm_dec_wrong(d, &named, "a string", v);
	if (*to->p.service && strcasecmp(s, to->p.service) != 0)
		return wm_err_set(
			d->e, WM_E_INVALID,
			"service: \"%.*s\" is not allowed: this is the policy of \"%.*s\"", SHOWN,
			s, SHOWN, to->p.service);
	to->p.service = s;
	return 0;
}

static int get_policy(struct decoder *d, json_t *v, struct wm_policy_draft *to)
{
	const struct wm_policy_section *top = &wm_policy_sections[0];
	const char *key;
	json_t *item;
	uint64_t seen[2] = {0}; /* fields of the top, sections */
	int err = 0;

	json_object_foreach(v, key, item)
	{
		const struct wm_policy_field *f = field_of(top, key, 0);
		const struct wm_policy_section *s = f ? NULL : section_of(key);
		uint64_t bit = f   ? 1ull << (f - top->fields)
			       : s ? 1ull << (s - wm_policy_sections)
				   : 0;

		if (seen[!f] & bit)
			return wm_err_set(d->e, WM_E_DECODE,
					  "Request decode failed: %s is given twice", key);
		seen[!f] |= bit;
		if (f)
			err = get_value(d, f, item, &to->p);
		else if (s)
			err = get_section(d, s, item, to);
		else if (strcasecmp(key, "service") == 0)
			err = get_service(d, item, to);
		else if (!is_shown(key))
			err = unknown(d, key);
		if (err)
			return err;
	}
	return wm_policy_validate(&to->p, d->e);
}

int wm_decode_policy(const char *body, size_t len, const char *service, struct wm_decoded **ret,
		     struct wm_policy_draft *ret_draft, struct wm_err *e)
{
	struct wm_decoded *mem;
	struct decoder d = {.e = e};
	char plain[SHOWN + 1];
	int err;

	if (service && !wm_utf8_valid(service)) /* of a path or a file's name: JSON has none */
		return wm_err_set(e, WM_E_INVALID, "service: \"%s\" is not allowed: UTF-8 is",
				  wm_plain(service, plain, sizeof(plain)));
	mem = calloc(1, sizeof(*mem));
	d.mem = mem;
	if (!mem)
		return wm_err_set(e, -ENOMEM, "Out of memory; nothing was changed");
	wm_policy_draft_init(ret_draft, service ? service : "");
	err = wm_dec_parse(&d, body, len, JSON_OBJECT);
	if (!err)
		err = get_policy(&d, mem->root, ret_draft);
	if (err) {
		wm_decoded_free(mem);
		return err;
	}
	*ret = mem;
	return 0;
}

/* --- out ----------------------------------------------------------------------------------------
 */
static void put_value(struct wm_json *j, const struct wm_policy_field *f, const void *of)
{
	const char *text;
	uint32_t n = 0;
	char buf[40];

	if (f->type == WM_POLICY_TEXT) {
		memcpy(&text, (const char *)of + f->offset, sizeof(text));
		wm_json_string(j, text);
		return;
	}
	memcpy(&n, (const char *)of + f->offset, sizeof(n));
	if (f->type == WM_POLICY_ENUM) {
		wm_json_string(j, f->names[n]);
	} else if (f->type == WM_POLICY_FLAG) {
		wm_json_bool(j, n);
	} else if (f->type == WM_POLICY_SECONDS) {
		wm_duration_format((int64_t)n * 1000000000, buf, sizeof(buf));
		wm_json_string(j, buf);
	} else if (f->type == WM_POLICY_NUMBER) {
		wm_json_u64(j, n);
	} else {
		wm_json_double(j, n / 100.0);
	}
}

static bool falls_back(const struct wm_policy_field *f, const void *of)
{
	const char *text;
	uint32_t n;

	if (f->type == WM_POLICY_TEXT) {
		memcpy(&text, (const char *)of + f->offset, sizeof(text));
		return !*text;
	}
	memcpy(&n, (const char *)of + f->offset, sizeof(n));
	return n == f->fallback;
}

static void put_members(struct wm_json *j, const struct wm_policy_section *s, unsigned from,
			const void *of)
{
	for (unsigned n = from; n < s->fields_count; n++) {
		if (falls_back(&s->fields[n], of))
			continue;
		wm_json_key(j, s->fields[n].name);
		put_value(j, &s->fields[n], of);
	}
}

static void put_elements(struct wm_json *j, const struct wm_policy_section *s, const char *list,
			 uint32_t count)
{
	bool map = s->form == WM_POLICY_MAP;

	for (uint32_t k = 0; k < count; k++) {
		const char *of = list + k * s->size;
		const char *name;
		uint32_t n;
		char key[16];

		if (map && s->fields[0].type == WM_POLICY_TEXT) {
			memcpy(&name, of + s->fields[0].offset, sizeof(name));
			wm_json_key(j, name);
		} else if (map) {
			memcpy(&n, of + s->fields[0].offset, sizeof(n));
			snprintf(key, sizeof(key), "%u", n);
			wm_json_key(j, key);
		}
		wm_json_open(j, '{');
		put_members(j, s, map, of);
		wm_json_close(j, '}');
	}
}

static void put_section(struct wm_json *j, const struct wm_policy_section *s,
			const struct wm_policy *p)
{
	char bracket = s->form == WM_POLICY_LIST ? '[' : '{', end = bracket == '[' ? ']' : '}';
	const char *list;
	uint32_t count;
	bool any = false;

	if (s->form == WM_POLICY_OBJECT) {
		for (unsigned n = 0; n < s->fields_count; n++)
			any |= !falls_back(&s->fields[n], p);
		if (!any)
			return;
		wm_json_kopen(j, s->name, bracket);
		put_members(j, s, 0, p);
		wm_json_close(j, end);
		return;
	}
	memcpy(&list, (const char *)p + s->list, sizeof(list));
	memcpy(&count, (const char *)p + s->count, sizeof(count));
	if (!count)
		return;
	wm_json_kopen(j, s->name, bracket);
	put_elements(j, s, list, count);
	wm_json_close(j, end);
}

void wm_encode_policy(struct wm_json *j, const struct wm_policy *p)
{
	wm_json_ks(j, "service", p->service);
	put_members(j, &wm_policy_sections[0], 0, p);
	for (unsigned n = 1; n < wm_policy_sections_count; n++) {
		if (!wm_policy_sections[n].hidden)
			put_section(j, &wm_policy_sections[n], p);
	}
}

/* --- description --------------------------------------------------------------------------------
 */
static void describe_field(struct wm_json *j, const struct wm_policy_field *f)
{
	static const char *const types[] = {
		[WM_POLICY_ENUM] = "string",	[WM_POLICY_FLAG] = "boolean",
		[WM_POLICY_NUMBER] = "integer", [WM_POLICY_SECONDS] = "string",
		[WM_POLICY_PERCENT] = "number", [WM_POLICY_RATIO] = "number",
		[WM_POLICY_TEXT] = "string"};

	wm_json_kopen(j, f->name, '{');
	wm_json_ks(j, "description", f->help);
	wm_json_ks(j, "type", types[f->type]);
	if (f->type == WM_POLICY_ENUM) {
		wm_json_kopen(j, "enum", '[');
		for (uint32_t n = 0; n <= f->max; n++)
			wm_json_string(j, f->names[n]);
		wm_json_close(j, ']');
	}
	wm_json_close(j, '}');
}

static void describe_object(struct wm_json *j, const struct wm_policy_section *s, unsigned from)
{
	wm_json_ks(j, "type", "object");
	wm_json_kopen(j, "properties", '{');
	for (unsigned n = from; n < s->fields_count; n++)
		describe_field(j, &s->fields[n]);
	wm_json_close(j, '}');
	wm_json_kb(j, "additionalProperties", false);
}

static void describe_section(struct wm_json *j, const struct wm_policy_section *s)
{
	bool map = s->form == WM_POLICY_MAP;

	wm_json_kopen(j, s->name, '{');
	if (s->form == WM_POLICY_OBJECT) {
		describe_object(j, s, 0);
		wm_json_close(j, '}');
		return;
	}
	wm_json_ks(j, "type", map ? "object" : "array");
	if (map) /* the second field alone stands for all of it */
		wm_json_ks(j, "description", s->fields[1].name);
	wm_json_kopen(j, map ? "additionalProperties" : "items", '{');
	describe_object(j, s, map);
	wm_json_close(j, '}');
	wm_json_close(j, '}');
}

void wm_decode_describe_policy(struct wm_json *j)
{
	static const char *const shown[] = {"create_index", "modify_index", "writer", "written_ms"};

	for (unsigned n = 0; n < wm_policy_sections[0].fields_count; n++)
		describe_field(j, &wm_policy_sections[0].fields[n]);
	for (unsigned n = 1; n < wm_policy_sections_count; n++) {
		if (!wm_policy_sections[n].hidden)
			describe_section(j, &wm_policy_sections[n]);
	}
	wm_json_kopen(j, "service", '{');
	wm_json_ks(j, "type", "string");
	wm_json_close(j, '}');
	for (unsigned n = 0; n < sizeof(shown) / sizeof(shown[0]); n++) {
		wm_json_kopen(j, shown[n], '{');
		wm_json_ks(j, "description", "of answers; not looked at in a body");
		wm_json_ks(j, "type", n == 2 ? "string" : "integer");
		wm_json_close(j, '}');
	}
}
