/* SPDX-License-Identifier: Apache-2.0 */
/* keep.c - see keep.h. Saving, syncing and reading back are jobs of the store's thread, one a step;
 * a timer of the loop puts them. Names are keep-INDEX.snapshot with the index in sixteen digits, so
 * that the order of names is the order of age. */
#include "keep.h"

#include "snapshot_internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/clock.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIRST_MS    1000 /* after the start: what was recovered is good */
#define STEP_MS	    8	 /* between steps: some 6 % of the loop, a minute for a million instances */
#define RETRY_MS    60000	 /* after a failure */
#define FLUSH_BYTES (1u << 20)	 /* octets that are put on their way to the disk together */
#define READ_BLOCK  (128u << 10) /* octets verified at once: some 0.5 ms */
#define OUT_MAX	    (512u << 20) /* octets of a step: bounded by what was changed meanwhile */

enum phase { IDLE, SAVING, VERIFYING };
struct wm_keep {
	struct wm_job job;
	struct wm_writer *w;
	bool (*about)(void *arg, struct wm_save_about *ret);
	void *arg;
	bool busy, ended; /* the job is on the thread, which has all below but for the figures */
	struct wm_err e;  /* of the job */
	struct wm_timer *timer;
	uint64_t interval_ms;
	unsigned count;
	enum phase phase;
	struct wm_save *save;
	struct wm_snapshot *check;
	int fd;
	uint64_t index, written, flushed;
	struct wm_buf out;
	struct wm_keep_stats stats;
	char dir[];
};

static bool is_kept(const char *name)
{
	return strlen(name) == 30 && strncmp(name, "keep-", 5) == 0 &&
	       strspn(name + 5, "0123456789") == 16 && strcmp(name + 21, ".snapshot") == 0;
}

/* The oldest or newest name. @return how many there are. */
static unsigned scan(const char *dir, bool oldest, char name[32])
{
	DIR *d = opendir(dir);
	struct dirent *n;
	unsigned count = 0;

	*name = 0;
	while (d && (n = readdir(d))) {
		if (!is_kept(n->d_name))
			continue;
		if (!count++ || (strcmp(n->d_name, name) < 0) == oldest)
			snprintf(name, 32, "%.31s", n->d_name);
	}
	if (d)
		closedir(d);
	return count;
}

uint64_t wm_keep_newest(const char *data_dir, char *path, int64_t *ret_when_s)
{
	struct stat st;
	char name[32];

	*path = 0;
	if (!scan(data_dir, false, name))
		return 0;
	snprintf(path, PATH_MAX, "%.*s/%s", PATH_MAX - 64, data_dir, name);
	if (ret_when_s)
		*ret_when_s = stat(path, &st) ? 0 : (int64_t)st.st_mtime;
	return strtoull(name + 5, NULL, 10);
}

static void paths(const struct wm_keep *k, char part[PATH_MAX], char whole[PATH_MAX])
{
	snprintf(part, PATH_MAX, "%.*s/keep.part", PATH_MAX - 64, k->dir);
	snprintf(whole, PATH_MAX, "%.*s/keep-%016llu.snapshot", PATH_MAX - 64, k->dir,
		 (unsigned long long)k->index);
}

/* Back to waiting, with nothing half left behind. */
static void rest(struct wm_keep *k)
{
	char part[PATH_MAX], whole[PATH_MAX];

	wm_snapshot_free(k->check);
	k->check = NULL;
	if (k->fd >= 0) {
		close(k->fd);
		paths(k, part, whole);
		unlink(part);
	}
	k->fd = -1;
	wm_buf_done(&k->out);
	k->phase = IDLE;
}

static int begin(struct wm_keep *k, struct wm_err *e)
{
	char part[PATH_MAX], whole[PATH_MAX];

	paths(k, part, whole);
	wm_buf_init(&k->out, OUT_MAX);
	k->phase = SAVING;
	k->written = k->flushed = 0;
	unlink(part);
	k->fd = open(part, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (k->fd < 0)
		return wm_err_set(e, -errno, "%s cannot be created: %s", part, strerror(errno));
	return 0;
}

static int write_out(struct wm_keep *k, bool last, struct wm_err *e)
{
	for (size_t at = 0; at < k->out.len;) {
		ssize_t n = write(k->fd, k->out.data + at, k->out.len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return wm_err_set(e, n ? -errno : -EIO, "%s: a snapshot cannot be kept: %s",
					  k->dir, strerror(errno));
		at += (size_t)n;
	}
	k->written += k->out.len;
	wm_buf_reset(&k->out);
	/* on its way without waiting for it, so that the end has little left to wait for; whether
	 * it arrived is fdatasync's to say */
	if (k->written - k->flushed >= FLUSH_BYTES) {
		(void)sync_file_range(k->fd, (off_t)k->flushed, (off_t)(k->written - k->flushed),
				      SYNC_FILE_RANGE_WRITE);
		k->flushed = k->written;
	}
	if (last && fdatasync(k->fd))
		return wm_err_set(e, -errno, "%s: a snapshot cannot be kept: %s", k->dir,
				  strerror(errno));
	return 0;
}

static int save_step(struct wm_keep *k, struct wm_store *store, struct wm_err *e)
{
	int more = wm_save_step(k->save, store, &k->out, e), err;

	if (more < 0)
		return more;
	err = write_out(k, !more, e);
	if (err || more)
		return err;
	k->check = wm_snapshot_new(false, WM_SNAPSHOT_MAX);
	if (!k->check || lseek(k->fd, 0, SEEK_SET))
		return wm_err_set(e, -ENOMEM, "Out of memory");
	/* from the disk, not from what the kernel remembers of writing it */
	(void)posix_fadvise(k->fd, 0, 0, POSIX_FADV_DONTNEED);
	k->phase = VERIFYING;
	return 0;
}

static void prune(const struct wm_keep *k)
{
	char path[PATH_MAX], name[32];

	while (scan(k->dir, true, name) > k->count) {
		snprintf(path, sizeof(path), "%.*s/%s", PATH_MAX - 64, k->dir, name);
		if (unlink(path))
			return;
	}
}

static int finish(struct wm_keep *k, struct wm_err *e)
{
	char part[PATH_MAX], whole[PATH_MAX];
	_cleanup_close_ int dir = open(k->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int err = wm_snapshot_end(k->check, e);

	if (err)
		return err;
	paths(k, part, whole);
	if (rename(part, whole) || dir < 0 || fsync(dir))
		return wm_err_set(e, -errno, "%s: a snapshot cannot be kept: %s", whole,
				  strerror(errno));
	close(k->fd);
	k->fd = -1;
	rest(k);
	prune(k);
	return 0;
}

static int verify_step(struct wm_keep *k, struct wm_err *e)
{
	static char block[READ_BLOCK];
	ssize_t n = read(k->fd, block, sizeof(block));

	if (n < 0)
		return wm_err_set(e, -errno, "%s: a snapshot cannot be read back: %s", k->dir,
				  strerror(errno));
	return n ? wm_snapshot_feed(k->check, block, (size_t)n, e) : finish(k, e);
}

/* --- jobs --------------------------------------------------------------------------------------
 */
static void run(struct wm_job *j, struct wm_store *store)
{
	struct wm_keep *k = (struct wm_keep *)j; /* its first member */
	struct wm_err *e = &k->e;

	*e = (struct wm_err){0};
	e->code = k->phase == IDLE     ? begin(k, e)
		  : k->phase == SAVING ? save_step(k, store, e)
				       : verify_step(k, e);
	if (k->phase != SAVING || e->code)
		wm_save_shut(k->save);
	if (e->code)
		rest(k);
}

static void run_end(struct wm_job *j, struct wm_store *store)
{
	struct wm_keep *k = (struct wm_keep *)j;

	(void)store;
	wm_save_shut(k->save);
	rest(k);
}

static void free_all(struct wm_keep *k)
{
	wm_save_free(k->save);
	wm_timer_free(k->timer);
	free(k);
}

static void on_end(struct wm_job *j)
{
	free_all((struct wm_keep *)j);
}

static void end(struct wm_keep *k)
{
	if (k->phase == IDLE) {
		free_all(k);
		return;
	}
	wm_job_set(&k->job, run_end, on_end);
	wm_writer_put(k->w, &k->job);
}

static void failed(struct wm_keep *k, const struct wm_err *e)
{
	k->stats.failed++;
	snprintf(k->stats.last_error, sizeof(k->stats.last_error), "%.255s", e->text);
	wm_warn("store.keep", "err=%s text=%s", wm_err_name(e->code), wm_log_q(e->text));
	wm_timer_arm(k->timer, RETRY_MS < k->interval_ms ? RETRY_MS : k->interval_ms);
}

static void kept(struct wm_keep *k)
{
	k->stats.kept++;
	k->stats.index = k->index;
	k->stats.when_s = wm_clock_wall_s();
	*k->stats.last_error = 0;
	wm_timer_arm(k->timer, k->interval_ms);
}

static void on_step(struct wm_job *j)
{
	struct wm_keep *k = (struct wm_keep *)j;

	k->busy = false;
	if (k->phase != SAVING) { /* all is read, or it was given up */
		wm_save_free(k->save);
		k->save = NULL;
	}
	if (k->ended)
		end(k);
	else if (k->e.code)
		failed(k, &k->e);
	else if (k->phase == IDLE)
		kept(k);
	else
		wm_timer_arm(k->timer, STEP_MS);
}

static void step(struct wm_keep *k)
{
	k->busy = true;
	wm_job_set(&k->job, run, on_step);
	wm_writer_put(k->w, &k->job);
}

static void on_timer(void *arg)
{
	struct wm_keep *k = arg;
	struct wm_save_about about;
	struct wm_err e = {0};

	if (k->busy || (!k->interval_ms && k->phase == IDLE))
		return;
	/* nothing new since the last one, or nothing whole */
	if (k->phase == IDLE && (!k->about(k->arg, &about) || about.index == k->stats.index)) {
		wm_timer_arm(k->timer, k->interval_ms);
		return;
	}
	if (k->phase == IDLE) {
		k->index = about.index;
		e.code = wm_save_new(k->w, &about, &k->save, &e);
	}
	if (e.code)
		failed(k, &e);
	else
		step(k);
}

struct wm_keep *wm_keep_new(struct wm_loop *l, const struct wm_keep_config *c)
{
	struct wm_keep *k = calloc(1, sizeof(*k) + strlen(c->data_dir) + 1);
	char path[PATH_MAX];

	if (!k)
		return NULL;
	memcpy(k->dir, c->data_dir, strlen(c->data_dir) + 1);
	k->w = c->writer;
	k->about = c->about;
	k->arg = c->arg;
	k->fd = -1;
	k->interval_ms = c->interval_ms;
	k->count = c->count;
	k->stats.index = wm_keep_newest(k->dir, path, &k->stats.when_s);
	k->timer = wm_timer_new(l, on_timer, k);
	if (!k->timer || (k->interval_ms && wm_timer_arm(k->timer, FIRST_MS))) {
		free_all(k);
		return NULL;
	}
	return k;
}

void wm_keep_free(struct wm_keep *k)
{
	if (!k)
		return;
	wm_timer_disarm(k->timer);
	k->ended = true;
	if (!k->busy)
		end(k);
}

void wm_keep_set_interval(struct wm_keep *k, uint64_t ms)
{
	k->interval_ms = ms;
	if (!k->busy && k->phase == IDLE && ms)
		wm_timer_arm(k->timer, ms);
}

void wm_keep_stats(const struct wm_keep *k, struct wm_keep_stats *ret)
{
	*ret = k->stats;
}
