/* SPDX-License-Identifier: Apache-2.0 */
/* restore_file.c - the copy of a snapshot that is being restored. The difference is made in many
 * transactions, so before the first one the whole snapshot stands in the data directory, synced and
 * under its name; it goes when the last one was committed. A start that finds it makes the rest of
 * the difference before anybody is served. */
#include "restore_internal.h"
#include "userspace/base/buf.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BLOCK  (128u << 10) /* octets taken in at once: some 2 ms */
#define FLUSH_BYTES (1u << 20)	 /* octets that are put on their way to the disk together */

static void path_of(const struct wm_registry *r, const char *more, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%.*s" WM_RESTORE_SUFFIX "%s", PATH_MAX - 64, r->path, more);
}

static int sync_dir(const char *path)
{
	char copy[PATH_MAX];
	_cleanup_close_ int dir = -1;

	snprintf(copy, sizeof(copy), "%s", path);
	dir = open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return dir < 0 || fsync(dir) ? -errno : 0;
}

static int cannot_keep(struct wm_err *e, int err)
{
	return wm_err_set(e, err == -ENOSPC || err == -EDQUOT ? -ENOSPC : WM_E_STORE,
			  "Not restored: the snapshot cannot be kept in the data directory while "
			  "it is: %s; nothing was changed",
			  strerror(-err));
}

static int keep_octets(struct wm_restore *x, const char *data, size_t len, struct wm_err *e)
{
	char path[PATH_MAX];

	if (!x->r->path || x->durable || !len)
		return 0;
	if (x->part < 0) {
		path_of(x->r, ".part", path);
		unlink(path);
		x->part = open(path, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0600);
		if (x->part < 0)
			return cannot_keep(e, -errno);
	}
	for (size_t at = 0; at < len;) {
		ssize_t n = write(x->part, data + at, len - at);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return cannot_keep(e, n ? -errno : -EIO);
		at += (size_t)n;
	}
	x->written += len;
	/* on its way without waiting for it, so that the end has little left to wait for */
	if (x->written - x->flushed >= FLUSH_BYTES) {
		(void)sync_file_range(x->part, (off_t)x->flushed, (off_t)(x->written - x->flushed),
				      SYNC_FILE_RANGE_WRITE);
		x->flushed = x->written;
	}
	return 0;
}

int wm_restore_read(struct wm_restore *x, struct wm_err *e)
{
	static char block[READ_BLOCK]; /* the thread's */
	const char *data = block;
	ssize_t n;
	int err;

	if (x->fd < 0) {
		if (x->len) /* without octets there need be no memory */
			data = x->data + x->at;
		n = (ssize_t)(x->len - x->at < READ_BLOCK ? x->len - x->at : READ_BLOCK);
		x->at += (size_t)n;
	} else {
		n = read(x->fd, block, sizeof(block));
	}
	if (n < 0)
		return wm_err_set(e, -errno, "The snapshot cannot be read: %s", strerror(errno));
	err = wm_snapshot_feed(x->s, data, (size_t)n, e);
	if (!err)
		err = keep_octets(x, data, (size_t)n, e);
	return err ? err : n > 0;
}

int wm_restore_keep(struct wm_restore *x, struct wm_err *e)
{
	char part[PATH_MAX], whole[PATH_MAX];

	if (!x->r->path || x->part < 0)
		return 0;
	path_of(x->r, ".part", part);
	path_of(x->r, "", whole);
	if (fdatasync(x->part) || rename(part, whole))
		return cannot_keep(e, -errno);
	close(x->part);
	x->part = -1;
	x->durable = true;
	return sync_dir(whole) ? cannot_keep(e, -errno) : 0;
}

int wm_restore_forget(struct wm_restore *x, struct wm_err *e)
{
	char path[PATH_MAX];
	int err = 0;

	if (!x->durable)
		return 0;
	path_of(x->r, "", path);
	if (unlink(path) && errno != ENOENT)
		err = -errno;
	if (!err)
		err = sync_dir(path);
	if (err)
		return wm_err_set(e, err == -ENOSPC ? err : WM_E_STORE,
				  "%s cannot be removed: %s; all of it is restored, and will be "
				  "again at the next start",
				  path, strerror(-err));
	x->durable = false;
	return 0;
}

void wm_restore_close(struct wm_restore *x)
{
	char path[PATH_MAX];

	if (x->fd >= 0)
		close(x->fd);
	if (x->part < 0)
		return;
	close(x->part);
	path_of(x->r, ".part", path);
	unlink(path);
}

/* --- going on --------------------------------------------------------------------------------- */
bool wm_restore_pending(const struct wm_registry *r)
{
	return r->restoring;
}

int wm_restore_again(struct wm_registry *r, struct wm_restore **ret, struct wm_err *e)
{
	struct wm_restore_source from = {.fd = -1};
	struct wm_snapshot *s;
	char path[PATH_MAX];
	int err;

	*ret = NULL;
	path_of(r, "", path);
	from.fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
	if (from.fd < 0)
		return wm_err_set(e, -errno, "%s cannot be read: %s", path, strerror(errno));
	s = wm_snapshot_new(true, WM_SNAPSHOT_MAX);
	err = s ? wm_restore_begin(r, s, &from, ret, e)
		: wm_err_set(e, -ENOMEM, "Out of memory while reading the snapshot");
	if (*ret)
		(*ret)->durable = true;
	else
		close(from.fd);
	return err;
}

int wm_restore_finish(struct wm_registry *r, struct wm_err *e)
{
	uint64_t (*turn)(void *arg, bool again) = r->turn;
	struct wm_restore *x = NULL;
	struct wm_err why = {0};
	char path[PATH_MAX];
	int more;

	if (!r->path)
		return 0;
	path_of(r, ".part", path);
	unlink(path); /* never came to its end */
	path_of(r, "", path);
	if (access(path, F_OK))
		return 0;
	r->restoring = true;
	r->turn = NULL; /* there are none yet */
	more = wm_restore_again(r, &x, &why);
	for (more = more ? more : 1; x && more > 0; wm_registry_finish(r))
		more = wm_restore_step(x, &why);
	wm_restore_free(x);
	r->turn = turn;
	if (!more)
		r->stats.restore_finished = true;
	return more ? wm_err_set(
			      e, more,
			      "%s: a restore that was cut off cannot be finished: %.300s. Without "
			      "this file what is stored is used as it is, restored in part",
			      path, why.text)
		    : 0;
}
