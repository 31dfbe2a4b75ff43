/* SPDX-License-Identifier: Apache-2.0 */
#include "settings.h"

#include "clock.h"
#include "distance.h"
#include "duration.h"
#include "json_line.h"
#include "macros.h"
#include "settings_env.h"

#include <dirent.h>
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <linux/limits.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

enum kind { KIND_STRING, KIND_NUMBER, KIND_DURATION, KIND_BOOL, KIND_LIST };

struct entry {
	const char *section, *name, *full; /* full: "section.name" */
	enum kind kind;
	bool reload;
	size_t offset;
	const char *text_default; /* STRING, LIST */
	uint64_t def, min, max;	  /* NUMBER, DURATION, BOOL; max: octets of STRING, LIST */
	const char *unit, *text;
};

#define AT(section, name) offsetof(struct wm_settings, section##_##name)
static const struct entry entries[] = {
#define S(section, name, reload, def, max, text)                                                   \
	{#section,    #name,  #section "." #name,                                                  \
	 KIND_STRING, reload, AT(section, name),                                                   \
	 def,	      0,      0,                                                                   \
	 max,	      "text", text},
#define N(section, name, reload, def, min, max, unit, text)                                        \
	{#section,    #name,  #section "." #name,                                                  \
	 KIND_NUMBER, reload, AT(section, name),                                                   \
	 NULL,	      def,    min,                                                                 \
	 max,	      unit,   text},
#define D(section, name, reload, def, min, max, text)                                              \
	{#section,	#name,	    #section "." #name,                                            \
	 KIND_DURATION, reload,	    AT(section, name##_ms),                                        \
	 NULL,		def,	    min,                                                           \
	 max,		"duration", text},
#define B(section, name, reload, def, text)                                                        \
	{#section, #name, #section "." #name, KIND_BOOL, reload, AT(section, name), NULL, def,     \
	 0,	   1,	  "boolean",	      text},
#define L(section, name, reload, def, max, text)                                                   \
	{                                                                                          \
		#section,  #name,  #section "." #name,                                             \
		KIND_LIST, reload, AT(section, name),                                              \
		def,	   0,	   0,                                                              \
		max,	   "list", text},
#include "err.h"
#include "settings.def"
#undef S
#undef N
#undef D
#undef B
#undef L
};

#define NAME_MAX_ 32 /* octets of a name with its section and a comma */
_Static_assert(WM_ARRAY_LEN(entries) * NAME_MAX_ <= WM_SETTINGS_NAMES_MAX, "all names fit");

static void *field(const struct wm_settings *s, const struct entry *t)
{
	return (char *)(uintptr_t)s + t->offset;
}

/* --- setting one value ------------------------------------------------------------------------ */
static int set_string(char **at, const struct entry *t, const char *v, size_t len, struct wm_err *e)
{
	char *copy;

	if (len > t->max || memchr(v, 0, len))
		return wm_err_set(e, WM_E_INVALID, "%s.%s: at most %" PRIu64 " octets, no NUL",
				  t->section, t->name, t->max);
	copy = strndup(v, len);
	if (!copy)
		return wm_err_set(e, -ENOMEM, "out of memory");
	free(*at);
	*at = copy;
	return 0;
}

static int set_number(struct wm_settings *s, const struct entry *t, uint64_t v, struct wm_err *e)
{
	if (v < t->min || v > t->max)
		return wm_err_set(e, WM_E_INVALID,
				  "%s.%s: %" PRIu64 " is not from %" PRIu64 " to %" PRIu64 " %s",
				  t->section, t->name, v, t->min, t->max,
				  t->kind == KIND_DURATION ? "ms" : t->unit);
	*(uint64_t *)field(s, t) = v;
	return 0;
}

/* A bare number is the usual slip: which unit was meant nobody can know. */
static int not_a_duration(const struct entry *t, const char *v, struct wm_err *e)
{
	if (*v && v[strspn(v, "0123456789")] == '\0')
		return wm_err_set(e, WM_E_INVALID,
				  "%s.%s: not a duration: %.20s has no unit; write \"%.20ss\" or "
				  "\"%.20sms\"",
				  t->section, t->name, v, v, v);
	return wm_err_set(e, WM_E_INVALID,
			  "%s.%s: not a duration: \"%.32s\"; write \"10s\", \"1m30s\" or "
			  "\"250ms\"",
			  t->section, t->name, v);
}

static int set_duration(struct wm_settings *s, const struct entry *t, const char *v,
			struct wm_err *e)
{
	int64_t ns;
	int r = wm_duration_parse(v, &ns);

	if (r == -ERANGE)
		return wm_err_set(e, WM_E_INVALID,
				  "%s.%s: \"%.32s\" is out of range, at most "
				  "%" PRIu64 " ms",
				  t->section, t->name, v, t->max);
	if (r || ns < 0)
		return not_a_duration(t, v, e);
	return set_number(s, t, (uint64_t)ns / WM_NS_PER_MS, e);
}

static void list_clear(char **list)
{
	for (char **p = list; *p; p++) {
		free(*p);
		*p = NULL;
	}
}

static int list_add(char **list, const struct entry *t, const char *v, size_t len, struct wm_err *e)
{
	unsigned n = 0;

	while (list[n])
		n++;
	if (n == WM_SETTINGS_LIST_MAX)
		return wm_err_set(e, WM_E_INVALID, "%s.%s: at most %d entries", t->section, t->name,
				  WM_SETTINGS_LIST_MAX);
	return set_string(&list[n], t, v, len, e);
}

static int set_list_json(char **list, const struct entry *t, json_t *v, struct wm_err *e);

static int list_from_text(char **list, const struct entry *t, const char *v, struct wm_err *e)
{
	json_t *array;
	int r = 0;

	if (*v == '[') { /* as the reference and --dump-config write it; no entry begins so */
		array = json_loads(v, 0, NULL);
		r = json_is_array(array) ? set_list_json(list, t, array, e)
					 : wm_err_set(e, WM_E_INVALID,
						      "%s.%s: a list such as [\"a\",\"b\"] or a,b "
						      "is wanted",
						      t->section, t->name);
		json_decref(array);
		return r;
	}
	list_clear(list);
	while (!r && *v) {
		size_t len = strcspn(v, ",");

		if (len)
			r = list_add(list, t, v, len, e);
		v += len + (v[len] == ',');
	}
	return r;
}

static int set_text(struct wm_settings *s, const struct entry *t, const char *v, struct wm_err *e)
{
	char *end;
	uint64_t n;

	switch (t->kind) {
	case KIND_STRING:
		return set_string(field(s, t), t, v, strlen(v), e);
	case KIND_LIST:
		return list_from_text(field(s, t), t, v, e);
	case KIND_DURATION:
		return set_duration(s, t, v, e);
	case KIND_BOOL:
		if (strcmp(v, "true") != 0 && strcmp(v, "false") != 0)
			return wm_err_set(e, WM_E_INVALID, "%s.%s: true or false, not \"%.32s\"",
					  t->section, t->name, v);
		*(bool *)field(s, t) = *v == 't';
		return 0;
	case KIND_NUMBER:
	default:
		errno = 0;
		n = strtoull(v, &end, 10);
		if (errno || *end || end == v || *v == '-')
			return wm_err_set(e, WM_E_INVALID,
					  "%s.%s: a whole number is wanted, not \"%.32s\"",
					  t->section, t->name, v);
		return set_number(s, t, n, e);
	}
}

/* --- life ------------------------------------------------------------------------------------- */
int wm_settings_init(struct wm_settings *s)
{
	memset(s, 0, sizeof(*s));
	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++) {
		const struct entry *t = &entries[i];
		int r = 0;

		if (t->kind == KIND_STRING || t->kind == KIND_LIST)
			r = set_text(s, t, t->text_default, NULL);
		else if (t->kind == KIND_BOOL)
			*(bool *)field(s, t) = t->def;
		else
			*(uint64_t *)field(s, t) = t->def;
		if (r) {
			wm_settings_done(s);
			return r;
		}
	}
	return 0;
}

void wm_settings_done(struct wm_settings *s)
{
	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++) {
		char **at = field(s, &entries[i]);

		if (entries[i].kind == KIND_LIST)
			list_clear(at);
		if (entries[i].kind == KIND_STRING) {
			free(*at);
			*at = NULL;
		}
	}
}

/* --- JSON ------------------------------------------------------------------------------------- */
static int set_list_json(char **list, const struct entry *t, json_t *v, struct wm_err *e)
{
	size_t i;
	json_t *item;
	int r;

	list_clear(list);
	json_array_foreach(v, i, item)
	{
		if (!json_is_string(item))
			return wm_err_set(e, WM_E_INVALID, "%s.%s: entry %zu is not a string",
					  t->section, t->name, i);
		r = list_add(list, t, json_string_value(item), json_string_length(item), e);
		if (r)
			return r;
	}
	return 0;
}

static int set_json(struct wm_settings *s, const struct entry *t, json_t *v, struct wm_err *e)
{
	static const char *const wanted[] = {[KIND_STRING] = "a string",
					     [KIND_NUMBER] = "a whole number",
					     [KIND_DURATION] = "a duration such as \"10s\"",
					     [KIND_BOOL] = "true or false",
					     [KIND_LIST] = "a list of strings"};
	_cleanup_free_ char *given = NULL;

	if (t->kind == KIND_STRING && json_is_string(v))
		return set_string(field(s, t), t, json_string_value(v), json_string_length(v), e);
	if (t->kind == KIND_LIST && json_is_array(v))
		return set_list_json(field(s, t), t, v, e);
	if (t->kind == KIND_DURATION && json_is_string(v))
		return set_duration(s, t, json_string_value(v), e);
	if (t->kind == KIND_BOOL && json_is_boolean(v)) {
		*(bool *)field(s, t) = json_is_true(v);
		return 0;
	}
	if (t->kind == KIND_DURATION && json_is_integer(v) && json_integer_value(v)) {
		char number[24];

		snprintf(number, sizeof(number), "%lld", (long long)json_integer_value(v));
		return not_a_duration(t, number, e);
	}
	if ((t->kind == KIND_NUMBER || t->kind == KIND_DURATION) && json_is_integer(v)) {
		if (json_integer_value(v) < 0)
			return wm_err_set(e, WM_E_INVALID, "%s.%s: below 0: %lld", t->section,
					  t->name, (long long)json_integer_value(v));
		return set_number(s, t, (uint64_t)json_integer_value(v), e);
	}
	given = json_dumps(v, JSON_ENCODE_ANY | JSON_COMPACT);
	return wm_err_set(e, WM_E_INVALID, "%s.%s: %s is wanted, not %.40s", t->section, t->name,
			  wanted[t->kind], given ? given : "this");
}

static const struct entry *find(const char *section, size_t len, const char *name,
				bool *ret_section)
{
	*ret_section = false;
	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++) {
		if (strlen(entries[i].section) != len ||
		    strncmp(entries[i].section, section, len) != 0)
			continue;
		*ret_section = true;
		if (strcmp(entries[i].name, name) == 0)
			return &entries[i];
	}
	return NULL;
}

/* --- a file, and all that is wrong with it --- */
struct reader {
	struct wm_settings *s;
	const char *path, *json; /* path: NULL of a text from memory */
	size_t len;
	wm_settings_fault fault; /* NULL: the first fault ends it */
	void *arg;
	struct wm_err first;
};

/* One fault, under the line of its key. @return whether to go on. */
static bool fault(struct reader *r, int code, const char *section, const char *key,
		  const struct wm_err *why)
{
	unsigned line = r->path && section ? wm_json_line(r->json, r->len, section, key) : 0;
	struct wm_err e = {0};

	if (line)
		wm_err_set(&e, code, "%s:%u: %s", r->path, line, why->text);
	else
		wm_err_set(&e, code, "%s%s%s", r->path ? r->path : "", r->path ? ": " : "",
			   why->text);
	if (!r->first.code)
		r->first = e;
	if (r->fault)
		r->fault(r->arg, &e);
	return r->fault;
}

/* The setting of the section that was meant by @p key, or its whole name in another section. */
static const char *nearest(const char *section, const char *key)
{
	const char *best = NULL;
	unsigned least = WM_DISTANCE_MAX;

	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++) {
		const struct entry *t = &entries[i];
		unsigned d = wm_distance(key, t->name);

		if (strcmp(t->section, section) != 0 ? d : !wm_distance_slip(key, t->name))
			continue;
		if (d < least) {
			least = d;
			best = t->full;
		}
	}
	return best;
}

static const char *nearest_section(const char *name)
{
	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++)
		if (wm_distance_slip(name, entries[i].section))
			return entries[i].section;
	return NULL;
}

static int unknown(const char *what, const char *name, const char *meant, struct wm_err *e)
{
	return wm_err_set(e, WM_E_INVALID, "unknown %s \"%.128s\"%s%s%s", what, name,
			  meant ? "; did you mean \"" : "", meant ? meant : "", meant ? "\"?" : "");
}

static int read_setting(struct reader *r, const char *section, const char *key, json_t *v,
			struct wm_err *e)
{
	char name[WM_SETTINGS_NAME_MAX];
	bool known;
	const struct entry *t = find(section, strlen(section), key, &known);

	snprintf(name, sizeof(name), "%s.%s", section, key);
	return t ? set_json(r->s, t, v, e) : unknown("setting", name, nearest(section, key), e);
}

/* @return whether to go on. */
static bool read_section(struct reader *r, const char *section, json_t *o)
{
	struct wm_err e = {0};
	const char *key;
	json_t *v;
	bool known;
	int code;

	find(section, strlen(section), "", &known);
	if (!known) {
		code = unknown("section", section, nearest_section(section), &e);
		return fault(r, code, section, NULL, &e);
	}
	if (!json_is_object(o)) {
		code = wm_err_set(&e, WM_E_INVALID, "%s: an object of settings is wanted", section);
		return fault(r, code, section, NULL, &e);
	}
	json_object_foreach(o, key, v)
	{
		code = read_setting(r, section, key, v, &e);
		if (code && !fault(r, code, section, key, &e))
			return false;
	}
	return true;
}

/* Is it no setting, but a service or a check of the node? */
static bool defines(const char *key)
{
	static const char *const keys[] = {"service", "services", "check", "checks"};

	for (size_t i = 0; i < WM_ARRAY_LEN(keys); i++)
		if (strcmp(key, keys[i]) == 0)
			return true;
	return false;
}

/* @return 0 or the first fault's code. */
static int read_json(struct reader *r)
{
	json_error_t je;
	json_t *root = json_loadb(r->json, r->len, JSON_REJECT_DUPLICATES, &je), *v;
	struct wm_err e = {0};
	const char *key;

	if (!root) {
		wm_err_set(&e, WM_E_DECODE, "line %d, column %d: %s", je.line, je.column, je.text);
		fault(r, WM_E_DECODE, NULL, NULL, &e);
	} else if (!json_is_object(root)) {
		wm_err_set(&e, WM_E_DECODE, "a JSON object of sections is wanted");
		fault(r, WM_E_DECODE, NULL, NULL, &e);
	} else {
		json_object_foreach(root, key, v)
		{
			if (!defines(key) && !read_section(r, key, v))
				break;
		}
	}
	json_decref(root);
	return r->first.code;
}

int wm_settings_parse(struct wm_settings *s, const char *json, size_t len, struct wm_err *e)
{
	struct reader r = {.s = s, .json = json, .len = len};

	return read_json(&r) ? wm_err_set(e, r.first.code, "%s", r.first.text) : 0;
}

char *wm_settings_text(const char *path, size_t *ret_len, struct wm_err *e)
{
	char *text = malloc(WM_SETTINGS_FILE_MAX + 1);
	FILE *f = fopen(path, "re");
	bool bad = true;

	if (!text) {
		wm_err_set(e, -ENOMEM, "out of memory");
	} else if (!f) {
		wm_err_set(e, -errno, "%s: %s", path, strerror(errno));
	} else {
		*ret_len = fread(text, 1, WM_SETTINGS_FILE_MAX + 1, f);
		bad = ferror(f) || *ret_len > WM_SETTINGS_FILE_MAX;
		if (ferror(f)) /* a directory, for example */
			wm_err_set(e, -EIO, "%s: cannot be read", path);
		else if (bad)
			wm_err_set(e, WM_E_INVALID, "%s: longer than %d octets", path,
				   WM_SETTINGS_FILE_MAX);
	}
	if (f)
		fclose(f);
	if (!bad)
		return text;
	free(text);
	return NULL;
}

int wm_settings_examine(struct wm_settings *s, const char *path, wm_settings_fault fn, void *arg)
{
	struct reader r = {.s = s, .path = path, .fault = fn, .arg = arg};
	struct wm_err e = {0};
	_cleanup_free_ char *text = wm_settings_text(path, &r.len, &e);

	if (!text) {
		fn(arg, &e);
		return e.code;
	}
	r.json = text;
	return read_json(&r);
}

int wm_settings_load(struct wm_settings *s, const char *path, struct wm_err *e)
{
	struct reader r = {.s = s, .path = path};
	_cleanup_free_ char *text = wm_settings_text(path, &r.len, e);

	if (!text)
		return e->code;
	r.json = text;
	return read_json(&r) ? wm_err_set(e, r.first.code, "%s", r.first.text) : 0;
}

static int unknown_assignment(const char *text, const char *dot, const char *eq, struct wm_err *e)
{
	char section[WM_SETTINGS_NAME_MAX], key[WM_SETTINGS_NAME_MAX], name[WM_SETTINGS_NAME_MAX];

	snprintf(section, sizeof(section), "%.*s", (int)(dot - text), text);
	snprintf(key, sizeof(key), "%.*s", (int)(eq - dot - 1), dot + 1);
	snprintf(name, sizeof(name), "%.*s", (int)(eq - text), text);
	return unknown("setting", name, nearest(section, key), e);
}

int wm_settings_set(struct wm_settings *s, const char *assignment, struct wm_err *e)
{
	const char *dot = strchr(assignment, '.'), *eq = strchr(assignment, '=');
	const struct entry *t = NULL;
	char name[64];
	bool known;

	if (!dot || !eq || dot > eq)
		return wm_err_set(e, WM_E_INVALID, "\"%.64s\": section.name=value is wanted",
				  assignment);
	if ((size_t)(eq - dot) <= sizeof(name)) {
		snprintf(name, sizeof(name), "%.*s", (int)(eq - dot - 1), dot + 1);
		t = find(assignment, (size_t)(dot - assignment), name, &known);
	}
	if (!t)
		return unknown_assignment(assignment, dot, eq, e);
	return set_text(s, t, eq + 1, e);
}

static int is_json(const struct dirent *d)
{
	size_t len = strlen(d->d_name);

	return *d->d_name != '.' && len > 5 && strcmp(d->d_name + len - 5, ".json") == 0;
}

static int by_name(const struct dirent **a, const struct dirent **b)
{
	return strcmp((*a)->d_name, (*b)->d_name);
}

int wm_settings_files(const struct wm_settings_source *from,
		      int (*fn)(void *arg, const char *path, struct wm_err *e), void *arg,
		      struct wm_err *e)
{
	int r = from->file ? fn(arg, from->file, e) : 0, n = 0;
	struct dirent **names = NULL;

	if (r || !from->dir)
		return r;
	n = scandir(from->dir, &names, is_json, by_name);
	if (n < 0)
		return wm_err_set(e, -errno, "%s: %s", from->dir, strerror(errno));
	for (int i = 0; i < n; i++) {
		char path[PATH_MAX];

		if (!r && (size_t)snprintf(path, sizeof(path), "%s/%s", from->dir,
					   names[i]->d_name) >= sizeof(path))
			r = wm_err_set(e, -ENAMETOOLONG, "%s: the path is too long", from->dir);
		if (!r)
			r = fn(arg, path, e);
		free(names[i]);
	}
	free(names);
	return r;
}

static int load_file(void *arg, const char *path, struct wm_err *e)
{
	return wm_settings_load(arg, path, e);
}

int wm_settings_gather(struct wm_settings *s, const struct wm_settings_source *from,
		       struct wm_err *e)
{
	int r = wm_settings_init(s);

	if (!r)
		r = wm_settings_files(from, load_file, s, e);
	if (!r)
		r = wm_settings_env(s, from->env, NULL, NULL, e);
	for (unsigned i = 0; !r && i < from->sets_count; i++)
		r = wm_settings_set(s, from->sets[i], e);
	return r ? r : wm_settings_check(s, e);
}

struct examiner {
	struct wm_settings *s;
	wm_settings_fault fn;
	void *arg;
	int first;
};

static int examine_file(void *arg, const char *path, struct wm_err *e)
{
	struct examiner *x = arg;
	int r = wm_settings_examine(x->s, path, x->fn, x->arg);

	(void)e;
	x->first = x->first ? x->first : r;
	return 0; /* the others are looked at too */
}

int wm_settings_gather_all(struct wm_settings *s, const struct wm_settings_source *from,
			   wm_settings_fault fn, void *arg)
{
	struct wm_settings_where where = {.from = from, .fn = fn, .arg = arg};
	struct examiner x = {.s = s, .fn = fn, .arg = arg};
	struct wm_err dir = {0};
	int first = wm_settings_init(s), r;

	if (!first) {
		r = wm_settings_files(from, examine_file, &x, &dir);
		if (r)
			fn(arg, &dir);
		first = r ? r : x.first;
		r = wm_settings_env(s, from->env, fn, arg, &dir);
		first = first ? first : r;
	}
	for (unsigned i = 0; i < from->sets_count; i++) {
		struct wm_err inner = {0}, e = {0};

		r = wm_settings_set(s, from->sets[i], &inner);
		if (r) {
			wm_err_set(&e, r, "--set: %s", inner.text);
			fn(arg, &e);
		}
		first = first ? first : r;
	}
	r = wm_settings_check_all(s, wm_settings_locate, &where);
	return first ? first : r;
}

/* --- reload, output --------------------------------------------------------------------------- */
static bool same(const struct wm_settings *a, const struct wm_settings *b, const struct entry *t)
{
	char **la = field(a, t), **lb = field(b, t);

	switch (t->kind) {
	case KIND_STRING:
		return strcmp(*la, *lb) == 0;
	case KIND_LIST:
		for (; *la && *lb; la++, lb++)
			if (strcmp(*la, *lb) != 0)
				return false;
		return !*la && !*lb;
	case KIND_BOOL:
		return *(bool *)field(a, t) == *(bool *)field(b, t);
	case KIND_NUMBER:
	case KIND_DURATION:
	default:
		return *(uint64_t *)field(a, t) == *(uint64_t *)field(b, t);
	}
}

static void free_list(char **list)
{
	for (; *list; list++) {
		free(*list);
		*list = NULL;
	}
}

static int copy_list(char **to, char *const *from)
{
	char *copy[WM_SETTINGS_LIST_MAX + 1] = {NULL};

	for (size_t i = 0; from[i]; i++) {
		copy[i] = strdup(from[i]);
		if (!copy[i]) {
			free_list(copy);
			return -ENOMEM;
		}
	}
	free_list(to);
	memcpy(to, copy, sizeof(copy));
	return 0;
}

int wm_settings_reload(struct wm_settings *s, const struct wm_settings *next,
		       char ret_left[WM_SETTINGS_NAMES_MAX])
{
	int changed = 0, r;
	size_t at = 0;

	ret_left[0] = '\0';
	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++) {
		const struct entry *t = &entries[i];

		if (same(s, next, t))
			continue;
		if (!t->reload) {
			at += (size_t)snprintf(ret_left + at, WM_SETTINGS_NAMES_MAX - at, "%s%s",
					       at ? "," : "", t->full);
			continue;
		}
		changed++;
		if (t->kind == KIND_STRING) {
			const char *v = *(char **)field(next, t);

			r = set_string(field(s, t), t, v, strlen(v), NULL);
			if (r)
				return r;
		} else if (t->kind == KIND_LIST) {
			r = copy_list(field(s, t), (char *const *)field(next, t));
			if (r)
				return r;
		} else if (t->kind == KIND_BOOL) {
			*(bool *)field(s, t) = *(bool *)field(next, t);
		} else {
			*(uint64_t *)field(s, t) = *(uint64_t *)field(next, t);
		}
	}
	return changed;
}

static json_t *value_json(const struct wm_settings *s, const struct entry *t)
{
	char text[40];
	json_t *list;

	switch (t->kind) {
	case KIND_STRING:
		return json_string(*(char **)field(s, t));
	case KIND_BOOL:
		return json_boolean(*(bool *)field(s, t));
	case KIND_DURATION:
		wm_duration_format((int64_t)(*(uint64_t *)field(s, t) * WM_NS_PER_MS), text,
				   sizeof(text));
		return json_string(text);
	case KIND_LIST:
		list = json_array();
		for (char **p = field(s, t); *p; p++)
			json_array_append_new(list, json_string(*p));
		return list;
	case KIND_NUMBER:
	default:
		return json_integer((json_int_t) * (uint64_t *)field(s, t));
	}
}

/* A secret itself, not the file of one; an empty one is told. */
static bool is_secret(const struct wm_settings *s, const struct entry *t)
{
	return t->kind == KIND_STRING && strlen(t->name) >= 6 &&
	       strcmp(t->name + strlen(t->name) - 6, "_token") == 0 && **(char **)field(s, t);
}

void wm_settings_dump(const struct wm_settings *s, FILE *out)
{
	json_t *root = json_object();

	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++) {
		json_t *section = json_object_get(root, entries[i].section);

		if (!section) {
			section = json_object();
			json_object_set_new(root, entries[i].section, section);
		}
		json_object_set_new(section, entries[i].name,
				    is_secret(s, &entries[i]) ? json_string("hidden")
							      : value_json(s, &entries[i]));
	}
	json_dumpf(root, out, JSON_INDENT(2));
	fputc('\n', out);
	json_decref(root);
}

static void put_range(FILE *out, const struct entry *t)
{
	if (t->kind == KIND_STRING || t->kind == KIND_LIST)
		fprintf(out, "%s, at most %" PRIu64 " octets%s", t->unit, t->max,
			t->kind == KIND_LIST ? " each" : "");
	else if (t->kind == KIND_BOOL)
		fputs("true, false", out);
	else
		fprintf(out, "%" PRIu64 " to %" PRIu64 " %s", t->min, t->max,
			t->kind == KIND_DURATION ? "ms" : t->unit);
}

void wm_settings_reference(FILE *out)
{
	struct wm_settings s;
	const char *section = "";

	if (wm_settings_init(&s))
		return;
	fputs("# Settings\n\nGenerated by `make docs` from `userspace/base/settings.def`. A JSON "
	      "file "
	      "holds them as\n`{\"section\": {\"name\": value}}`; `--set section.name=value` sets "
	      "one, and so\n"
	      "does the environment by the name in capitals, "
	      "`" WM_SETTINGS_ENV_PREFIX "SECTION_NAME=value`: over the files, under `--set`. "
	      "Settings marked *reload* follow\n`SIGHUP`, the others a restart.\n",
	      out);
	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++) {
		const struct entry *t = &entries[i];
		json_t *v = value_json(&s, t);
		char *def = json_dumps(v, JSON_ENCODE_ANY);

		if (strcmp(section, t->section) != 0)
			fprintf(out,
				"\n## %s\n\n| setting | default | range | meaning |\n"
				"| --- | --- | --- | --- |\n",
				t->section);
		section = t->section;
		fprintf(out, "| `%s.%s` | `%s` | ", t->section, t->name, def ? def : "");
		put_range(out, t);
		fprintf(out, " | %s%s |\n", t->text, t->reload ? " (*reload*)" : "");
		free(def);
		json_decref(v);
	}
	wm_settings_done(&s);
}

void wm_settings_man(FILE *out)
{
	struct wm_settings s;

	if (wm_settings_init(&s))
		return;
	fputs(".SH SETTINGS\nIn the file as {\"section\": {\"name\": value}}, in the environment "
	      "as " WM_SETTINGS_ENV_PREFIX
	      "SECTION_NAME=value, which is over the files and under --set. "
	      "Those marked reload follow SIGHUP, the others a restart.\n",
	      out);
	for (size_t i = 0; i < WM_ARRAY_LEN(entries); i++) {
		const struct entry *t = &entries[i];
		json_t *v = value_json(&s, t);
		char *def = json_dumps(v, JSON_ENCODE_ANY);

		fprintf(out, ".TP\n.B %s\n%s%s\n.br\nDefault %s; ", t->full, t->text,
			t->reload ? " (reload)" : "", def ? def : "");
		put_range(out, t);
		fputs(".\n", out);
		free(def);
		json_decref(v);
	}
	wm_settings_done(&s);
}
