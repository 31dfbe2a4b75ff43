/* SPDX-License-Identifier: Apache-2.0 */
#include "definitions.h"

#include "decode.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/registry/validate.h"

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

static int add(struct wm_definitions *all, const char *path, const char *key, json_t *v,
	       bool is_check, struct wm_err *e)
{
	_cleanup_free_ char *text = json_dumps(v, JSON_ENCODE_ANY);
	struct definition *d = calloc(1, sizeof(*d) + strlen(path) + 1), *other;
	struct wm_err why = {0};
	int r;

	if (!d || !text) {
		free(d);
		return wm_err_set(e, -ENOMEM, "out of memory: definitions");
	}
	d->is_check = is_check;
	strcpy(d->file, path);
	snprintf(d->key, sizeof(d->key), "%s", key);
	r = decode(d, text, all, &why);
	if (r) {
		wm_err_set(e, r, "%s: %s: %s", path, key, sentence(&why));
		definition_free(d);
		return r;
	}
	other = find(all, is_check, id_of(d));
	if (other) {
		r = wm_err_set(e, WM_E_INVALID, "%s: %s: id \"%.64s\" is that of %s in %s", path,
			       key, id_of(d), other->key, other->file);
		definition_free(d);
		return r;
	}
	TAILQ_INSERT_TAIL(&all->all, d, entry);
	all->services += !is_check;
	all->checks += is_check;
	return 0;
}

static int add_list(struct wm_definitions *all, const char *path, const char *key, json_t *list,
		    bool is_check, struct wm_err *e)
{
	char at[KEY_MAX];
	json_t *v;
	size_t i;
	int r;

	if (!json_is_array(list))
		return wm_err_set(e, WM_E_INVALID, "%s: %s: a list of objects is wanted", path,
				  key);
	json_array_foreach(list, i, v)
	{
		snprintf(at, sizeof(at), "%s[%zu]", key, i);
		r = add(all, path, at, v, is_check, e);
		if (r)
			return r;
	}
	return 0;
}

static int read_file(void *arg, const char *path, struct wm_err *e)
{
	static const struct {
		const char *key;
		bool check, list;
	} keys[] = {{"service", false, false},
		    {"services", false, true},
		    {"check", true, false},
		    {"checks", true, true}};
	struct wm_definitions *all = arg;
	json_error_t je;
	json_t *root = json_load_file(path, JSON_REJECT_DUPLICATES, &je);
	int r = 0;

	if (!root)
		return wm_err_set(e, WM_E_DECODE, "%s: line %d, column %d: %s", path, je.line,
				  je.column, je.text);
	for (unsigned i = 0; !r && i < WM_ARRAY_LEN(keys); i++) {
		json_t *v = json_object_get(root, keys[i].key);

		if (v)
			r = keys[i].list ? add_list(all, path, keys[i].key, v, keys[i].check, e)
					 : add(all, path, keys[i].key, v, keys[i].check, e);
	}
	json_decref(root);
	return r;
}

int wm_definitions_read(const struct wm_settings_source *from, const struct wm_settings *s,
			struct wm_definitions **ret, struct wm_err *e)
{
	struct wm_definitions *all = calloc(1, sizeof(*all));
	int r;

	*ret = NULL;
	if (!all)
		return wm_err_set(e, -ENOMEM, "out of memory: definitions");
	TAILQ_INIT(&all->all);
	/* the files are the operator's own, as who comes over the Unix socket is */
	all->scripts = strcmp(s->health_scripts, "off") == 0 ? WM_SCRIPTS_OFF : WM_SCRIPTS_ALLOWED;
	all->units =
		strcmp(s->health_os_services, "off") == 0 ? WM_SCRIPTS_OFF : WM_SCRIPTS_ALLOWED;
	r = wm_settings_files(from, read_file, all, e);
	if (r)
		wm_definitions_free(all);
	else
		*ret = all;
	return r;
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
	unsigned waiting;
};

static void complain(struct definition *d, int code, const char *text)
{
	d->failed = true;
	d->at->out->failed++;
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

static void put_all(struct application *a, struct wm_registry *r, struct wm_definitions *all)
{
	struct definition *d;

	TAILQ_FOREACH (d, &all->all, entry) {
		struct wm_err e = {0};
		int code;

		d->at = a;
		code = put(r, d, &e);
		if (code == WM_E_BUSY) { /* more than are taken in one commit */
			wm_registry_flush(r);
			code = put(r, d, &e);
		}
		a->waiting += code == 0;
		if (code)
			complain(d, code, e.text);
	}
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
			while (a.waiting) /* each answers what was queued, one way or the other */
				wm_registry_flush(r);
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
