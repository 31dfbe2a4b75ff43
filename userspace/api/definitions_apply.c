/* SPDX-License-Identifier: Apache-2.0 */
/* definitions_apply.c - definitions become registrations, a bounded number of writes at a time, and
 * what left them since they were read last is deregistered. */
#include "definitions_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/base/replace.h"

#include <errno.h>
#include <jansson.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LEDGER	  "definitions.json" /* in the data directory */
#define STEP	  64  /* writes that are submitted at a time: some 5 ms until they are applied */
#define UNDER_WAY 256 /* that are not answered, before more are */

/* Something that left the files: a check of a service, or with `check` NULL the service. */
struct errand {
	const char *service, *check; /* in the ledger of before */
	uint64_t index;
};

struct wm_application {
	struct wm_definitions *all; /* its own, but for a trial */
	struct wm_definitions_outcome out;
	wm_settings_fault fault; /* who hears of what fails; NULL: the log */
	void *arg;
	char *data_dir;
	json_t *was;
	bool was_broken; /* the ledger of before */
	bool written;	 /* there is one now */
	struct errand *errands;
	unsigned errands_count, errands_cap, errands_done;
	struct definition *next; /* to be put */
	bool checks; /* services were: a check may belong to one that stands behind it */
	struct wm_registry *r;
	unsigned waiting;
};

/* --- what was said last: {"services": {id: {"index", "checks": [id]}}, "checks": {id: owner}} ---
 */
static json_t *read_ledger(const char *data_dir, bool *ret_broken)
{
	char path[PATH_MAX];
	json_error_t je;
	json_t *v;

	snprintf(path, sizeof(path), "%s/" LEDGER, data_dir);
	v = json_load_file(path, 0, &je);
	if (json_is_object(v))
		return v;
	*ret_broken = v || !access(path, F_OK);
	json_decref(v);
	return json_object();
}

static int write_ledger(const json_t *v, const char *data_dir, struct wm_err *e)
{
	char path[PATH_MAX];
	_cleanup_free_ char *text = json_dumps(v, JSON_COMPACT | JSON_SORT_KEYS);
	int r;

	if (!text)
		return wm_err_set(e, -ENOMEM, "out of memory: definitions");
	snprintf(path, sizeof(path), "%s/" LEDGER, data_dir);
	r = wm_file_replace(path, text, strlen(text), WM_REPLACE_SYNC);
	return r < 0 ? wm_err_set(e, r, "%s: %s", path, strerror(-r)) : 0;
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
			snprintf(text, sizeof(text), "service:%s", wm_definition_id(d));
		else
			snprintf(text, sizeof(text), "service:%s:%u", wm_definition_id(d), n + 1);
		json_array_append_new(ids, json_string(id && *id ? id : text));
	}
	return ids;
}

/* Before it is applied each has an index of 0, and none failed. */
static json_t *ledger_of(const struct wm_definitions *all)
{
	json_t *services = json_object(), *checks = json_object();
	const struct definition *d;

	TAILQ_FOREACH (d, &all->all, entry) {
		if (d->failed) /* what stands under its id, if any, is another's */
			continue;
		if (d->is_check)
			json_object_set_new(checks, wm_definition_id(d), json_string(d->owner));
		else
			json_object_set_new(services, wm_definition_id(d),
					    json_pack("{s:I, s:o}", "index", (json_int_t)d->index,
						      "checks", checks_of(d)));
	}
	return json_pack("{s:o, s:o}", "services", services, "checks", checks);
}

/* --- what is to be done --------------------------------------------------------------------- */
static int add_errand(struct wm_application *a, const char *service, const char *check,
		      json_int_t index)
{
	unsigned cap = a->errands_cap ? a->errands_cap * 2 : 64;
	struct errand *next;

	if (a->errands_count == a->errands_cap) {
		next = realloc(a->errands, cap * sizeof(*next));
		if (!next)
			return -ENOMEM;
		a->errands = next;
		a->errands_cap = cap;
	}
	a->errands[a->errands_count++] = (struct errand){service, check, (uint64_t)index};
	return 0;
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
static int checks_left(struct wm_application *a, const char *service, json_t *was, const json_t *is)
{
	int err = 0;
	json_t *v;
	size_t i;

	json_array_foreach(was, i, v)
	{
		if (!err && json_is_string(v) && !holds(is, json_string_value(v)))
			err = add_errand(a, service, json_string_value(v), 0);
	}
	return err;
}

static int find_left(struct wm_application *a, json_t *is)
{
	json_t *services = json_object_get(is, "services"), *checks = json_object_get(is, "checks");
	const char *id;
	int err = 0;
	json_t *v;

	json_object_foreach(json_object_get(a->was, "checks"), id, v)
	{
		if (!err && json_is_string(v) && !json_object_get(checks, id))
			err = add_errand(a, json_string_value(v), id, 0);
	}
	json_object_foreach(json_object_get(a->was, "services"), id, v)
	{
		json_t *now = json_object_get(services, id);

		if (err)
			break;
		if (now)
			err = checks_left(a, id, json_object_get(v, "checks"),
					  json_object_get(now, "checks"));
		else
			err = add_errand(a, id, NULL,
					 json_integer_value(json_object_get(v, "index")));
	}
	return err;
}

int wm_definitions_plan(struct wm_definitions *all, const char *data_dir,
			struct wm_application **ret, struct wm_err *e)
{
	struct wm_application *a = calloc(1, sizeof(*a));
	json_t *is = ledger_of(all), *both = NULL;
	int err = 0;

	if (a)
		*a = (struct wm_application){.all = all, .data_dir = strdup(data_dir)};
	if (a && a->data_dir) {
		a->out.services = all->services;
		a->out.checks = all->checks;
		a->next = TAILQ_FIRST(&all->all);
		a->was = read_ledger(data_dir, &a->was_broken);
		both = json_deep_copy(a->was);
	}
	if (!a || !is || !both || find_left(a, is)) {
		err = wm_err_set(e, -ENOMEM, "out of memory: definitions");
	} else if (json_object_size(a->was) || all->services || all->checks) {
		/* first: what is registered and not written down would stay for ever */
		json_object_update_recursive(both, is);
		err = write_ledger(both, data_dir, e);
		a->written = true;
	}
	json_decref(both);
	json_decref(is);
	if (err) {
		if (a)
			a->all = NULL; /* the caller's, still */
		wm_application_free(a);
		return err;
	}
	*ret = a;
	return 0;
}

void wm_application_free(struct wm_application *a)
{
	if (!a)
		return;
	wm_definitions_free(a->all);
	json_decref(a->was);
	free(a->errands);
	free(a->data_dir);
	free(a);
}

/* --- doing it ------------------------------------------------------------------------------- */
static void complain(struct definition *d, int code, const char *text)
{
	struct wm_err e = {0};

	d->failed = true;
	wm_err_set(&e, code, "%s:%u: %s: %s", d->file, d->line, d->key, text);
	if (!d->at->out.failed++)
		snprintf(d->at->out.first, sizeof(d->at->out.first), "%s", e.text);
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
	const struct wm_instance *i;

	d->at->waiting--;
	if (code) {
		complain(d, code, text ? text : wm_err_str(code));
		return;
	}
	i = d->is_check ? NULL : wm_registry_instance(d->at->r, wm_definition_id(d));
	d->index = i ? i->modify_index : 0;
}

static void on_removed(void *arg, int code, const char *text)
{
	struct wm_application *a = arg;

	(void)text; /* it was there a moment ago: a commit that fails says so by itself */
	a->waiting--;
	a->out.removed += code == 0;
	a->out.failed += code != 0;
}

/* @return WM_E_BUSY: later; else it is done, or there is nothing to do. */
static int remove_one(struct wm_application *a, const struct errand *n)
{
	const struct wm_check *c = n->check ? wm_registry_check(a->r, n->check) : NULL;
	const struct wm_instance *i = n->check ? NULL : wm_registry_instance(a->r, n->service);
	int err;

	if (c && c->kind != WM_CHECK_STATED && strcmp(c->instance->id, n->service) == 0)
		err = wm_registry_check_deregister(a->r, n->check, on_removed, a, NULL);
	/* what was registered since then is the API's; an index of 0: the agent ended in between */
	else if (i && !wm_instance_shared(i) && (!n->index || n->index == i->modify_index))
		err = wm_registry_deregister(a->r, n->service, on_removed, a, NULL);
	else
		return 0;
	a->waiting += err == 0;
	return err;
}

static int put_one(struct wm_application *a, struct definition *d)
{
	struct wm_err e = {0};
	int code;

	d->at = a;
	code = d->is_check ? wm_registry_check_register(a->r, d->owner, &d->check, on_put, d, &e)
			   : wm_registry_register(a->r, &d->service, on_put, d, &e);
	a->waiting += code == 0;
	if (code && code != WM_E_BUSY)
		complain(d, code, e.text);
	return code;
}

/* The next that is to be put: services, then checks. NULL: none. */
static struct definition *next_of(struct wm_application *a)
{
	for (;;) {
		while (a->next && a->next->is_check != a->checks)
			a->next = TAILQ_NEXT(a->next, entry);
		if (a->next || a->checks)
			return a->next;
		a->checks = true;
		a->next = TAILQ_FIRST(&a->all->all);
	}
}

bool wm_application_step(struct wm_application *a, struct wm_registry *r)
{
	struct definition *d;

	a->r = r;
	if (a->was_broken)
		wm_warn("definitions.ledger", "path=%s text=%s", wm_log_q(a->data_dir),
			"\"" LEDGER " cannot be read: what left the files stays registered\"");
	a->was_broken = false;
	for (unsigned n = 0; n < STEP && a->waiting < UNDER_WAY; n++) {
		if (a->errands_done < a->errands_count) {
			if (remove_one(a, &a->errands[a->errands_done]) == WM_E_BUSY)
				return true;
			a->errands_done++;
			continue;
		}
		d = next_of(a);
		if (!d)
			return a->waiting > 0;
		if (put_one(a, d) == WM_E_BUSY)
			return true;
		a->next = TAILQ_NEXT(d, entry);
	}
	return true;
}

int wm_application_keep(struct wm_application *a, struct wm_err *e)
{
	json_t *is = a->written ? ledger_of(a->all) : NULL;
	int err = a->written ? write_ledger(is, a->data_dir, e) : 0;

	json_decref(is);
	return err;
}

const struct wm_definitions_outcome *wm_application_outcome(const struct wm_application *a)
{
	return &a->out;
}

unsigned wm_definitions_try(struct wm_definitions *all, struct wm_registry *r, wm_settings_fault fn,
			    void *arg)
{
	struct wm_application a = {
		.all = all, .fault = fn, .arg = arg, .next = TAILQ_FIRST(&all->all)};

	while (wm_application_step(&a, r))
		wm_registry_finish(r);
	return a.out.failed;
}
