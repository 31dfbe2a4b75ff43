/* SPDX-License-Identifier: Apache-2.0 */
#include "definitions.h"

#include "decode.h"
#include "userspace/base/json_line.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/model/validate.h"

#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/queue.h>
#include <unistd.h>

#define LEDGER	"definitions.json" /* in the data directory */
#define KEY_MAX 32		   /* octets of "services[12345]" */

struct definition {
	TAILQ_ENTRY(definition) entry;
	struct application *at; /* while it is applied */
	struct wm_decoded *mem; /* owns what the drafts point to */
	struct wm_instance_draft service;
	struct wm_check_draft check;
	const char *owner; /* of a check: id of its service, "" is the node */
	bool is_check, failed;
	unsigned line; /* in its file */
	char key[KEY_MAX];
	char file[];
};

struct wm_definitions {
	TAILQ_HEAD(, definition) all;
	unsigned services, checks;
	enum wm_scripts scripts, units;
};

/* --- reading ---------------------------------------------------------------------------------- */
static const char *id_of(const struct definition *d)
{
	const char *id = d->is_check ? d->check.id : d->service.id;

	if (id && *id)
		return id;
	return d->is_check ? d->check.name : d->service.name;
}

static void definition_free(struct definition *d)
{
	if (d)
		wm_decoded_free(d->mem);
	free(d);
}

static struct definition *find(const struct wm_definitions *all, bool is_check, const char *id)
{
	struct definition *d;

	TAILQ_FOREACH (d, &all->all, entry) {
		if (d->is_check == is_check && strcmp(id_of(d), id) == 0)
			return d;
	}
	return NULL;
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
	struct definition *other = code ? NULL : find(all, d->is_check, id_of(d));

	if (other)
		code = wm_err_set(&why, WM_E_INVALID, "id \"%.64s\" is that of %s in %s:%u",
				  id_of(d), other->key, other->file, other->line);
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
	char at[KEY_MAX];
	json_t *v;
	size_t i;
	int code;

	if (!json_is_array(list))
		return fault(r, wm_json_line(r->json, r->len, key, NULL), key, WM_E_INVALID,
			     "a list of objects is wanted", e);
	json_array_foreach(list, i, v)
	{
		snprintf(at, sizeof(at), "%s[%zu]", key, i);
		code = add(r, at, wm_json_element_line(r->json, r->len, key, i), v, is_check, e);
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

/* --- what was said last: {"services": {id: {"index", "checks": [id]}}, "checks": {id: owner}} ---
 */
static json_t *read_ledger(const char *data_dir)
{
	char path[PATH_MAX];
	json_error_t je;
	json_t *v;

	snprintf(path, sizeof(path), "%s/" LEDGER, data_dir);
	v = json_load_file(path, 0, &je);
	if (json_is_object(v))
		return v;
	if (v || !access(path, F_OK))
		wm_warn("definitions.ledger", "path=%s text=%s", wm_log_q(path),
			"\"it cannot be read: what left the files stays registered\"");
	json_decref(v);
	return json_object();
}

static int write_ledger(const json_t *v, const char *data_dir, struct wm_err *e)
{
	char path[PATH_MAX], part[PATH_MAX];
	_cleanup_free_ char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
	size_t len = text ? strlen(text) : 0;
	int fd, err = 0;

	if (!text)
		return wm_err_set(e, -ENOMEM, "out of memory: definitions");
	snprintf(path, sizeof(path), "%s/" LEDGER, data_dir);
	snprintf(part, sizeof(part), "%s/" LEDGER ".part", data_dir);
	fd = open(part, O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (fd < 0)
		return wm_err_set(e, -errno, "%s: %s", part, strerror(errno));
	errno = EIO; /* of a write that is cut short */
	if (write(fd, text, len) != (ssize_t)len || fsync(fd))
		err = errno;
	close(fd);
	if (!err && rename(part, path))
		err = errno;
	return err ? wm_err_set(e, -err, "%s: %s", part, strerror(err)) : 0;
}

/* Ids of the checks that come with a service: as the registry gives them. */
static json_t *checks_of(const struct definition *d)
{
	const struct wm_instance_draft *s = &d->service;
	char text[WM_CHECK_ID_MAX + 32];
	json_t *ids = json_array();

	for (unsigned n = 0; n < s->checks_count; n++) {
		const char *id = s->checks[n].id;

		if (s->checks_count == 1)
			snprintf(text, sizeof(text), "service:%s", id_of(d));
		else
			snprintf(text, sizeof(text), "service:%s:%u", id_of(d), n + 1);
		json_array_append_new(ids, json_string(id && *id ? id : text));
	}
	return ids;
}

/* @p r NULL: what is about to be said, in an index of 0; else what came of it. */
static json_t *ledger_of(const struct wm_definitions *all, const struct wm_registry *r)
{
	json_t *services = json_object(), *checks = json_object();
	const struct definition *d;

	TAILQ_FOREACH (d, &all->all, entry) {
		const struct wm_instance *i =
			r && !d->is_check ? wm_registry_instance(r, id_of(d)) : NULL;

		if (r && d->failed) /* what stands under its id, if any, is another's */
			continue;
		if (d->is_check)
			json_object_set_new(checks, id_of(d), json_string(d->owner));
		else
			json_object_set_new(services, id_of(d),
					    json_pack("{s:I, s:o}", "index",
						      i ? (json_int_t)i->modify_index : 0, "checks",
						      checks_of(d)));
	}
	return json_pack("{s:o, s:o}", "services", services, "checks", checks);
}

/* --- applying --------------------------------------------------------------------------------- */
struct application {
	struct wm_definitions_outcome *out;
	wm_settings_fault fault; /* who hears of what fails; NULL: the log */
	void *arg;
	unsigned waiting;
};

static void complain(struct definition *d, int code, const char *text)
{
	struct wm_err e = {0};

	d->failed = true;
	wm_err_set(&e, code, "%s:%u: %s: %s", d->file, d->line, d->key, text);
	if (!d->at->out->failed++)
		snprintf(d->at->out->first, sizeof(d->at->out->first), "%s", e.text);
	if (d->at->fault) {
		d->at->fault(d->at->arg, &e);
		return;
	}
	wm_error("definitions.failed", "file=%s key=%s err=%s text=%s", wm_log_q(d->file), d->key,
		 wm_err_name(code), wm_log_q(text));
}

static void on_put(void *arg, int code, const char *text)
{
	struct definition *d = arg;

	d->at->waiting--;
	if (code)
		complain(d, code, text ? text : wm_err_str(code));
}

static void on_removed(void *arg, int code, const char *text)
{
	struct application *a = arg;

	(void)text; /* it was there a moment ago: a commit that fails says so by itself */
	a->waiting--;
	a->out->removed += code == 0;
	a->out->failed += code != 0;
}

static void remove_service(struct application *a, struct wm_registry *r, const char *id,
			   json_int_t index)
{
	const struct wm_instance *i = wm_registry_instance(r, id);

	/* what was registered since then is the API's; an index of 0: the agent ended in between */
	if (i && !i->catalog && (!index || (uint64_t)index == i->modify_index) &&
	    !wm_registry_deregister(r, id, on_removed, a, NULL))
		a->waiting++;
}

static void remove_check(struct application *a, struct wm_registry *r, const char *id,
			 const char *owner)
{
	const struct wm_check *c = wm_registry_check(r, id);

	if (c && c->kind != WM_CHECK_STATED && strcmp(c->instance->id, owner) == 0 &&
	    !wm_registry_check_deregister(r, id, on_removed, a, NULL))
		a->waiting++;
}

static bool holds(const json_t *ids, const char *id)
{
	json_t *v;
	size_t i;

	json_array_foreach(ids, i, v)
	{
		if (json_is_string(v) && strcmp(json_string_value(v), id) == 0)
			return true;
	}
	return false;
}

/* Checks that came with a service which is still there. */
static void remove_checks(struct application *a, struct wm_registry *r, const char *service,
			  json_t *was, const json_t *is)
{
	json_t *v;
	size_t i;

	json_array_foreach(was, i, v)
	{
		if (json_is_string(v) && !holds(is, json_string_value(v)))
			remove_check(a, r, json_string_value(v), service);
	}
}

static void remove_left(struct application *a, struct wm_registry *r, json_t *was, json_t *is)
{
	json_t *services = json_object_get(is, "services"), *checks = json_object_get(is, "checks");
	const char *id;
	json_t *v;

	json_object_foreach(json_object_get(was, "checks"), id, v)
	{
		if (json_is_string(v) && !json_object_get(checks, id))
			remove_check(a, r, id, json_string_value(v));
	}
	json_object_foreach(json_object_get(was, "services"), id, v)
	{
		json_t *now = json_object_get(services, id);

		if (now)
			remove_checks(a, r, id, json_object_get(v, "checks"),
				      json_object_get(now, "checks"));
		else
			remove_service(a, r, id, json_integer_value(json_object_get(v, "index")));
	}
}

static int put(struct wm_registry *r, struct definition *d, struct wm_err *e)
{
	return d->is_check ? wm_registry_check_register(r, d->owner, &d->check, on_put, d, e)
			   : wm_registry_register(r, &d->service, on_put, d, e);
}

static void put_one(struct application *a, struct wm_registry *r, struct definition *d)
{
	struct wm_err e = {0};
	int code;

	d->at = a;
	code = put(r, d, &e);
	if (code == WM_E_BUSY) { /* more than are taken in one commit */
		wm_registry_finish(r);
		code = put(r, d, &e);
	}
	a->waiting += code == 0;
	if (code)
		complain(d, code, e.text);
}

/* Services first: a check may belong to one that stands behind it, or in a later file. */
static void put_all(struct application *a, struct wm_registry *r, struct wm_definitions *all)
{
	struct definition *d;

	TAILQ_FOREACH (d, &all->all, entry) {
		if (!d->is_check)
			put_one(a, r, d);
	}
	TAILQ_FOREACH (d, &all->all, entry) {
		if (d->is_check)
			put_one(a, r, d);
	}
	while (a->waiting) /* each answers what was queued, one way or the other */
		wm_registry_finish(r);
}

unsigned wm_definitions_try(struct wm_definitions *all, struct wm_registry *r, wm_settings_fault fn,
			    void *arg)
{
	struct wm_definitions_outcome out = {0};
	struct application a = {.out = &out, .fault = fn, .arg = arg};

	put_all(&a, r, all);
	return out.failed;
}

int wm_definitions_apply(struct wm_definitions *all, struct wm_registry *r, const char *data_dir,
			 struct wm_definitions_outcome *ret, struct wm_err *e)
{
	json_t *was = read_ledger(data_dir), *is = ledger_of(all, NULL),
	       *both = json_deep_copy(was);
	struct application a = {.out = ret};
	int err = 0;

	*ret = (struct wm_definitions_outcome){.services = all->services, .checks = all->checks};
	if (json_object_size(was) || all->services || all->checks) {
		/* first: what is registered and not written down would stay for ever */
		json_object_update_recursive(both, is);
		err = write_ledger(both, data_dir, e);
		if (!err) {
			remove_left(&a, r, was, is);
			put_all(&a, r, all);
			json_decref(is);
			is = ledger_of(all, r);
			if (write_ledger(is, data_dir, e))
				wm_error("definitions.ledger", "text=%s", wm_log_q(e->text));
		}
	}
	json_decref(was);
	json_decref(is);
	json_decref(both);
	return err;
}
