/* SPDX-License-Identifier: Apache-2.0 */
/* policy_dir.c - see policy_dir.h. */
#include "policy_dir.h"

#include "decode_policy.h"
#include "userspace/base/buf.h"
#include "userspace/base/replace.h"
#include "userspace/metadata/subset.h"
#include "writer.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#define SUFFIX ".json"
#define LEDGER "policies.json" /* in the data directory; there while files say anything */

/* --- files --------------------------------------------------------------------------------------
 */
struct file {
	char name[NAME_MAX + 1];
	char *text;    /* NULL: it cannot be read */
	char *service; /* NULL: the text says it, or the name */
	size_t len;
	int err;
};
struct wm_policy_dir {
	struct file *files; /* by name */
	unsigned count, more;
};

static bool is_policy(const char *name)
{
	size_t n = strlen(name);

	return *name != '.' && n > strlen(SUFFIX) && strcmp(name + n - strlen(SUFFIX), SUFFIX) == 0;
}

static void read_file(int dir, struct file *f)
{
	int fd = openat(dir, f->name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	ssize_t n = 0;

	f->text = fd < 0 ? NULL : malloc(WM_POLICY_FILE_MAX + 1);
	f->err = fd < 0 ? errno : f->text ? 0 : ENOMEM;
	while (!f->err && f->len <= WM_POLICY_FILE_MAX &&
	       (n = read(fd, f->text + f->len, WM_POLICY_FILE_MAX + 1 - f->len)) > 0)
		f->len += (size_t)n;
	if (n < 0)
		f->err = errno;
	if (f->len > WM_POLICY_FILE_MAX)
		f->err = EFBIG;
	if (fd >= 0)
		close(fd);
}

static int by_name(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->name, ((const struct file *)b)->name);
}

/* Room for one more. */
static struct file *add_file(struct wm_policy_dir *d, const char *name)
{
	struct file *next = realloc(d->files, (d->count + 1) * sizeof(*next));

	if (!next)
		return NULL;
	d->files = next;
	next += d->count++;
	*next = (struct file){0};
	snprintf(next->name, sizeof(next->name), "%s", name);
	return next;
}

static int read_all(DIR *dir, struct wm_policy_dir *d)
{
	const struct dirent *at;
	struct file *next;

	while ((at = readdir(dir))) {
		if (!is_policy(at->d_name))
			continue;
		if (d->count == WM_POLICY_FILES_MAX) {
			d->more++;
			continue;
		}
		next = add_file(d, at->d_name);
		if (!next)
			return -ENOMEM;
		read_file(dirfd(dir), next);
	}
	if (d->count)
		qsort(d->files, d->count, sizeof(*d->files), by_name);
	return 0;
}

int wm_policy_dir_read(const char *path, struct wm_policy_dir **ret, struct wm_err *e)
{
	DIR *dir = opendir(path);
	struct wm_policy_dir *d;
	int err;

	if (!dir) {
		err = -errno;
		return wm_err_set(e, err, "policy.dir: cannot read %.200s: %s", path,
				  strerror(-err));
	}
	d = calloc(1, sizeof(*d));
	err = d ? read_all(dir, d) : -ENOMEM;
	closedir(dir);
	if (err) {
		wm_policy_dir_free(d);
		return wm_err_set(e, err, "policy.dir: out of memory");
	}
	*ret = d;
	return 0;
}

struct wm_policy_dir *wm_policy_dir_new(void)
{
	return calloc(1, sizeof(struct wm_policy_dir));
}

int wm_policy_dir_add(struct wm_policy_dir *d, const char *service, const char *json)
{
	struct file *f;

	if (d->count == WM_POLICY_FILES_MAX)
		return -ENOSPC;
	f = add_file(d, service);
	if (!f)
		return -ENOMEM;
	f->text = strdup(json);
	f->service = strdup(service);
	f->len = strlen(json);
	f->err = f->text && f->service ? 0 : ENOMEM;
	return -f->err;
}

void wm_policy_dir_free(struct wm_policy_dir *d)
{
	for (unsigned n = 0; d && n < d->count; n++) {
		free(d->files[n].text);
		free(d->files[n].service);
	}
	if (d)
		free(d->files);
	free(d);
}

/* --- what they said -----------------------------------------------------------------------------
 */
struct said {
	char file[NAME_MAX + 1];
	struct wm_policy *p;
	bool kept;  /* by what is read now */
	bool fresh; /* said by it, not by an earlier one that was good */
};
struct wm_policy_files {
	struct wm_registry *r;
	const char *ledger;
	void (*bad)(void *arg, const char *file, const struct wm_err *why);
	void *arg;
	struct said *said;
	unsigned count, writing; /* writing: what the registry has not answered yet */
	bool over;		 /* freed with the last answer, and nobody is told */
};

struct wm_policy_files *
wm_policy_files_new(struct wm_registry *r, const char *ledger,
		    void (*bad)(void *arg, const char *file, const struct wm_err *why), void *arg)
{
	struct wm_policy_files *f = calloc(1, sizeof(*f));

	if (f)
		*f = (struct wm_policy_files){
			.r = r, .ledger = ledger ? ledger : LEDGER, .bad = bad, .arg = arg};
	return f;
}

void wm_policy_files_free(struct wm_policy_files *f)
{
	if (!f)
		return;
	f->over = true;
	if (f->writing)
		return;
	for (unsigned n = 0; n < f->count; n++)
		wm_policy_free(f->said[n].p);
	free(f->said);
	free(f);
}

bool wm_policy_files_writing(const struct wm_policy_files *f)
{
	return f->writing;
}

static struct said *said_by(struct wm_policy_files *f, const char *file)
{
	for (unsigned n = 0; n < f->count; n++) {
		if (strcmp(f->said[n].file, file) == 0)
			return &f->said[n];
	}
	return NULL;
}

/* Another file than @p file that states the policy of @p service now. */
static const char *other_of(const struct wm_policy_files *f, const char *file, const char *service)
{
	for (unsigned n = 0; n < f->count; n++) {
		if (f->said[n].kept && strcmp(f->said[n].file, file) != 0 &&
		    strcasecmp(f->said[n].p->service, service) == 0)
			return f->said[n].file;
	}
	return NULL;
}

/* @p e may say nothing of it. */
static void tell_bad(const struct wm_policy_files *f, const char *file, int err, struct wm_err *e)
{
	if (!*e->text)
		wm_err_set(e, err, "%s", wm_err_str(err));
	f->bad(f->arg, file, e);
}

/* --- writing ------------------------------------------------------------------------------------
 */
struct writing {
	struct wm_policy_files *f;
	char file[NAME_MAX + 1];
};

static void answered(struct wm_policy_files *f)
{
	f->writing--;
	if (f->over)
		wm_policy_files_free(f);
}

static void on_written(void *arg, int code, const char *text)
{
	struct writing *w = arg;
	struct wm_policy_files *f = w->f;
	struct wm_err e = {0};

	if (code && !f->over) {
		wm_err_set(&e, code, "%s", text ? text : "");
		tell_bad(f, w->file, code, &e);
	}
	free(w);
	answered(f);
}

/* Who wrote it meanwhile keeps it. */
static void on_removed(void *arg, int code, const char *text)
{
	(void)code;
	(void)text;
	answered(arg);
}

static int write_policy(struct wm_policy_files *f, const char *file, const struct wm_policy *p,
			struct wm_err *e)
{
	struct writing *w = calloc(1, sizeof(*w));
	int err;

	if (!w)
		return wm_err_set(e, -ENOMEM, "out of memory");
	w->f = f;
	snprintf(w->file, sizeof(w->file), "%s", file);
	err = wm_registry_policy_put(f->r, p, NULL, on_written, w, e);
	if (err)
		free(w);
	else
		f->writing++;
	return err;
}

/* --- taking -------------------------------------------------------------------------------------
 */
static int read_policy(const struct wm_policy_files *f, const struct file *file,
		       struct wm_policy **ret, struct wm_err *e)
{
	struct wm_policy_draft d;
	struct wm_decoded *mem = NULL;
	struct wm_subsets *s = NULL;
	char name[NAME_MAX + 1];
	const char *other;
	int err;

	if (file->err)
		return wm_err_set(e, -file->err, "%s", strerror(file->err));
	snprintf(name, sizeof(name), "%.*s", (int)(strlen(file->name) - strlen(SUFFIX)),
		 file->name);
	err = wm_decode_policy(file->text, file->len, file->service, &mem, &d, e);
	if (err && !file->service &&
	    strncmp(e->text, "service: \"\"", 11) == 0) /* the file's name says whose */
		err = wm_decode_policy(file->text, file->len, name, &mem, &d, e);
	if (err)
		return err;
	other = other_of(f, file->name, d.p.service);
	if (other)
		err = wm_err_set(e, WM_E_CONFLICT, "service: \"%.64s\" has one in %.100s already",
				 d.p.service, other);
	if (!err)
		err = wm_subsets_new(&d.p, wm_registry_datacenter(f->r), &s, e);
	wm_subsets_free(s);
	*ret = err ? NULL : wm_policy_copy(&d.p);
	wm_decoded_free(mem);
	return err ? err : *ret ? 0 : wm_err_set(e, -ENOMEM, "out of memory");
}

/* What it said of another service stays beside it, until all files are read: another may say it. */
static int keep(struct wm_policy_files *f, const struct file *file, struct wm_policy *p)
{
	struct said *s = said_by(f, file->name), *next;

	if (!s || strcasecmp(s->p->service, p->service) != 0) {
		next = realloc(f->said, (f->count + 1) * sizeof(*next));
		if (!next) {
			wm_policy_free(p);
			return -ENOMEM;
		}
		f->said = next;
		s = &next[f->count++];
		*s = (struct said){0};
		snprintf(s->file, sizeof(s->file), "%s", file->name);
	}
	wm_policy_free(s->p);
	s->p = p;
	s->kept = s->fresh = true;
	return 0;
}

static void remove_said(struct wm_policy_files *f, const struct wm_policy *p,
			struct wm_policy_files_outcome *ret)
{
	const struct wm_policy *here = wm_registry_policy(f->r, p->service);
	uint64_t index = here ? here->modify_index : 0;

	if (!here || !wm_policy_same(here, p) || other_of(f, "", p->service) ||
	    wm_registry_policy_delete(f->r, p->service, &index, on_removed, f, NULL))
		return;
	f->writing++;
	ret->removed++;
}

/* What no file says any more. */
static void forget(struct wm_policy_files *f, struct wm_policy_files_outcome *ret)
{
	unsigned kept = 0;

	for (unsigned n = 0; n < f->count; n++)
		if (!f->said[n].kept)
			remove_said(f, f->said[n].p, ret);
	for (unsigned n = 0; n < f->count; n++) {
		if (f->said[n].kept)
			f->said[kept++] = f->said[n];
		else
			wm_policy_free(f->said[n].p);
	}
	f->count = kept;
}

static void count_bad(struct wm_policy_files *f, const char *file, int err, struct wm_err *e,
		      struct wm_policy_files_outcome *ret)
{
	ret->bad++;
	tell_bad(f, file, err, e);
}

static void take_file(struct wm_policy_files *f, const struct file *file,
		      struct wm_policy_files_outcome *ret)
{
	struct said *before = said_by(f, file->name);
	struct wm_policy *p = NULL;
	struct wm_err e = {0};
	int err = read_policy(f, file, &p, &e);

	if (p)
		err = keep(f, file, p);
	if (!err)
		return;
	count_bad(f, file->name, err, &e, ret);
	if (before) /* the last good one stays */
		before->kept = true;
}

/* What is not there as it is said. */
static void write_fresh(struct wm_policy_files *f, const struct said *s,
			struct wm_policy_files_outcome *ret)
{
	const struct wm_policy *here = wm_registry_policy(f->r, s->p->service);
	struct wm_err e = {0};
	int err = 0;

	if (!here || !wm_policy_same(here, s->p)) {
		err = write_policy(f, s->file, s->p, &e);
		ret->written += !err;
	}
	ret->policies += !err;
	if (err)
		count_bad(f, s->file, err, &e, ret);
}

void wm_policy_files_take(struct wm_policy_files *f, const struct wm_policy_dir *d,
			  struct wm_policy_files_outcome *ret)
{
	struct wm_err e = {0};

	*ret = (struct wm_policy_files_outcome){0};
	for (unsigned n = 0; n < f->count; n++)
		f->said[n].kept = f->said[n].fresh = false;
	for (unsigned n = 0; d && n < d->count; n++)
		take_file(f, &d->files[n], ret);
	if (d && d->more) {
		ret->bad += d->more;
		wm_err_set(&e, WM_E_CAPACITY, "policy.dir: there are more than %d files",
			   WM_POLICY_FILES_MAX);
		tell_bad(f, "", e.code, &e);
	}
	forget(f, ret); /* which makes room */
	for (unsigned n = 0; n < f->count; n++)
		if (f->said[n].fresh)
			write_fresh(f, &f->said[n], ret);
}

/* --- what is remembered over a restart: {file: policy} ------------------------------------------
 */
static void recall_one(struct wm_policy_files *f, const char *name, const json_t *v)
{
	struct file file = {0};
	struct wm_policy *p = NULL;
	struct wm_err e = {0};
	int err;

	snprintf(file.name, sizeof(file.name), "%s", name);
	file.text = json_dumps(v, JSON_COMPACT);
	file.len = file.text ? strlen(file.text) : 0;
	err = file.text ? read_policy(f, &file, &p, &e) : -ENOMEM;
	if (p)
		err = keep(f, &file, p);
	if (err)
		tell_bad(f, f->ledger, err, &e);
	free(file.text);
}

void wm_policy_files_recall(struct wm_policy_files *f, const char *data_dir)
{
	char path[PATH_MAX];
	struct wm_err e = {0};
	const char *name;
	json_error_t je;
	json_t *all, *v;

	snprintf(path, sizeof(path), "%s/%s", data_dir, f->ledger);
	all = json_load_file(path, 0, &je);
	if (!all && access(path, F_OK) == 0)
		tell_bad(f, f->ledger, wm_err_set(&e, WM_E_INVALID, "%s", je.text), &e);
	json_object_foreach(all, name, v) recall_one(f, name, v);
	json_decref(all);
}

char *wm_policy_files_ledger(const struct wm_policy_files *f)
{
	struct wm_buf b;
	struct wm_json j;

	wm_buf_init(&b, (size_t)WM_POLICY_FILES_MAX * WM_POLICY_FILE_MAX);
	wm_json_init(&j, &b, false);
	wm_json_open(&j, '{');
	for (unsigned n = 0; n < f->count; n++) {
		wm_json_kopen(&j, f->said[n].file, '{');
		wm_encode_policy(&j, f->said[n].p);
		wm_json_close(&j, '}');
	}
	wm_json_close(&j, '}');
	wm_json_done(&j);
	if (!b.failed)
		return b.data;
	wm_buf_done(&b);
	return NULL;
}

int wm_policy_ledger_write(const char *data_dir, const char *name, const char *ledger,
			   struct wm_err *e)
{
	char path[PATH_MAX];
	int r;

	snprintf(path, sizeof(path), "%s/%s", data_dir, name ? name : LEDGER);
	if (strcmp(ledger, "{}") == 0)
		return unlink(path) && errno != ENOENT
			       ? wm_err_set(e, -errno, "%s: %s", path, strerror(errno))
			       : 0;
	r = wm_file_replace(path, ledger, strlen(ledger), WM_REPLACE_SYNC);
	return r < 0 ? wm_err_set(e, r, "%s: %s", path, strerror(-r)) : 0;
}
