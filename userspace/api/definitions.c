/* SPDX-License-Identifier: Apache-2.0 */
#include "definitions_internal.h"
#include "userspace/base/json_line.h"
#include "userspace/base/macros.h"
#include "userspace/base/map.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* --- reading ---------------------------------------------------------------------------------- */
static void definition_free(struct definition *d)
{
	if (d)
		wm_decoded_free(d->mem);
	free(d);
}

static struct definition *find(const struct wm_definitions *all, bool is_check, const char *id)
{
	return wm_map_get(all->ids[is_check], id, strlen(id));
}

static int decode(struct definition *d, const char *text, const struct wm_definitions *all,
		  struct wm_err *e)
{
	int r;

	if (d->is_check) {
		r = wm_decode_check(text, strlen(text), &d->mem, &d->check, &d->owner, e);
		d->check.scripts = all->scripts;
		d->check.units = all->units;
		return r ? r : wm_check_draft_validate(&d->check, e);
	}
	r = wm_decode_register(text, strlen(text), &d->mem, &d->service, e);
	d->service.scripts = all->scripts;
	d->service.units = all->units;
	return r ? r : wm_draft_validate(&d->service, e);
}

/* The sentence without what only a request has. */
static const char *sentence(const struct wm_err *e)
{
	static const char request[] = "Request decode failed: ";

	return strncmp(e->text, request, sizeof(request) - 1) == 0 ? e->text + sizeof(request) - 1
								   : e->text;
}

/* A file that is being read, and who hears of what is wrong in it. */
struct reading {
	struct wm_definitions *all;
	const char *path, *json;
	size_t len;
	wm_settings_fault fault; /* NULL: the first fault ends it */
	void *arg;
	int first; /* code of the first fault */
};

/* @return 0 to go on, else the code with @p e. */
static int fault(struct reading *r, unsigned line, const char *key, int code, const char *text,
		 struct wm_err *e)
{
	struct wm_err one = {0};

	wm_err_set(&one, code, "%s:%u: %s: %s", r->path, line, key, text);
	r->first = r->first ? r->first : code;
	if (!r->fault)
		return wm_err_set(e, code, "%s", one.text);
	r->fault(r->arg, &one);
	return 0;
}

/* Take it in, or say what is wrong with it. */
static int judge(struct reading *r, struct definition *d, const char *text, struct wm_err *e)
{
	struct wm_definitions *all = r->all;
	struct wm_err why = {0};
	int code = decode(d, text, all, &why);
	struct definition *other = code ? NULL : find(all, d->is_check, wm_definition_id(d));

	if (!code && !other &&
	    wm_map_put(all->ids[d->is_check], wm_definition_id(d), strlen(wm_definition_id(d)), d,
		       NULL))
		code = wm_err_set(&why, -ENOMEM, "out of memory");
	if (other)
		code = wm_err_set(&why, WM_E_INVALID, "id \"%.64s\" is that of %s in %s:%u",
				  wm_definition_id(d), other->key, other->file, other->line);
	if (code) {
		code = fault(r, d->line, d->key, code, sentence(&why), e);
		definition_free(d);
		return code;
	}
	TAILQ_INSERT_TAIL(&all->all, d, entry);
	all->services += !d->is_check;
	all->checks += d->is_check;
	return 0;
}

static int add(struct reading *r, const char *key, unsigned line, json_t *v, bool is_check,
	       struct wm_err *e)
{
	_cleanup_free_ char *text = json_dumps(v, JSON_ENCODE_ANY);
	struct definition *d = calloc(1, sizeof(*d) + strlen(r->path) + 1);

	if (!d || !text) {
		free(d);
		return wm_err_set(e, -ENOMEM, "out of memory: definitions");
	}
	d->is_check = is_check;
	d->line = line;
	strcpy(d->file, r->path);
	snprintf(d->key, sizeof(d->key), "%s", key);
	return judge(r, d, text, e);
}

static int add_list(struct reading *r, const char *key, json_t *list, bool is_check,
		    struct wm_err *e)
{
	struct wm_json_walk lines;
	char at[KEY_MAX];
	json_t *v;
	size_t i;
	int code;

	if (!json_is_array(list))
		return fault(r, wm_json_line(r->json, r->len, key, NULL), key, WM_E_INVALID,
			     "a list of objects is wanted", e);
	wm_json_list(r->json, r->len, key, &lines);
	json_array_foreach(list, i, v)
	{
		snprintf(at, sizeof(at), "%s[%zu]", key, i);
		code = add(r, at, wm_json_next_line(&lines), v, is_check, e);
		if (code)
			return code;
	}
	return 0;
}

static int read_text(struct reading *r, struct wm_err *e)
{
	static const struct {
		const char *key;
		bool check, list;
	} keys[] = {{"service", false, false},
		    {"services", false, true},
		    {"check", true, false},
		    {"checks", true, true}};
	json_error_t je;
	json_t *root = json_loadb(r->json, r->len, JSON_REJECT_DUPLICATES, &je);
	int code = 0;

	if (!root && r->fault) /* who reads the settings has heard of it */
		return 0;
	if (!root)
		return wm_err_set(e, WM_E_DECODE, "%s: line %d, column %d: %s", r->path, je.line,
				  je.column, je.text);
	for (unsigned i = 0; !code && i < WM_ARRAY_LEN(keys); i++) {
		const char *key = keys[i].key;
		json_t *v = json_object_get(root, key);

		if (v)
			code = keys[i].list ? add_list(r, key, v, keys[i].check, e)
					    : add(r, key, wm_json_line(r->json, r->len, key, NULL),
						  v, keys[i].check, e);
	}
	json_decref(root);
	return code;
}

static int read_file(void *arg, const char *path, struct wm_err *e)
{
	struct reading *r = arg;
	struct wm_err unread = {0};
	_cleanup_free_ char *text = wm_settings_text(path, &r->len, r->fault ? &unread : e);

	r->path = path;
	r->json = text;
	if (!text)
		return r->fault ? 0 : e->code;
	return read_text(r, e);
}

static int read_all(const struct wm_settings_source *from, const struct wm_settings *s,
		    struct reading *r, struct wm_err *e)
{
	r->all = calloc(1, sizeof(*r->all));
	if (!r->all)
		return wm_err_set(e, -ENOMEM, "out of memory: definitions");
	TAILQ_INIT(&r->all->all);
	for (unsigned k = 0; k < WM_ARRAY_LEN(r->all->ids); k++) {
		r->all->ids[k] = wm_map_new(WM_TABLE_MAX);
		if (!r->all->ids[k])
			return wm_err_set(e, -ENOMEM, "out of memory: definitions");
	}
	/* the files are the operator's own, as who comes over the Unix socket is */
	r->all->scripts =
		strcmp(s->health_scripts, "off") == 0 ? WM_SCRIPTS_OFF : WM_SCRIPTS_ALLOWED;
	r->all->units =
		strcmp(s->health_os_services, "off") == 0 ? WM_SCRIPTS_OFF : WM_SCRIPTS_ALLOWED;
	return wm_settings_files(from, read_file, r, e);
}

int wm_definitions_read(const struct wm_settings_source *from, const struct wm_settings *s,
			struct wm_definitions **ret, struct wm_err *e)
{
	struct reading r = {0};
	int code = read_all(from, s, &r, e);

	if (code)
		wm_definitions_free(r.all);
	*ret = code ? NULL : r.all;
	return code;
}

int wm_definitions_read_all(const struct wm_settings_source *from, const struct wm_settings *s,
			    wm_settings_fault fn, void *arg, struct wm_definitions **ret)
{
	struct reading r = {.fault = fn, .arg = arg};
	struct wm_err e = {0};
	int code = read_all(from, s, &r, &e);

	if (code == -ENOMEM)
		fn(arg, &e);
	*ret = r.all;
	return r.first ? r.first : code;
}

void wm_definitions_free(struct wm_definitions *all)
{
	struct definition *d;

	if (!all)
		return;
	while ((d = TAILQ_FIRST(&all->all))) {
		TAILQ_REMOVE(&all->all, d, entry);
		definition_free(d);
	}
	wm_map_free(all->ids[0]);
	wm_map_free(all->ids[1]);
	free(all);
}

unsigned wm_definitions_services(const struct wm_definitions *d)
{
	return d->services;
}

unsigned wm_definitions_checks(const struct wm_definitions *d)
{
	return d->checks;
}
