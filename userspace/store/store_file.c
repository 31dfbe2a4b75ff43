/* SPDX-License-Identifier: Apache-2.0 */
/* store_file.c - whole files: a new one is made under another name and renamed once it is on disk.
 */
#include "store_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

int wm_store_sync_directory(const char *path)
{
	char dir[PATH_MAX];
	_cleanup_close_ int fd = -1;
	char *slash;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash)
		slash[slash == dir ? 1 : 0] = 0;
	fd = open(slash ? dir : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) ? -errno : 0;
}

static const char *const leftovers[] = {"", "-wal", "-journal", "-shm"};

int wm_store_remove(const char *path, unsigned from, struct wm_err *e)
{
	char name[PATH_MAX + 16];

	for (unsigned i = from; i < WM_ARRAY_LEN(leftovers); i++) {
		snprintf(name, sizeof(name), "%s%s", path, leftovers[i]);
		if (unlink(name) && errno != ENOENT)
			return wm_err_set(e, -errno, "%s cannot be removed: %s", name,
					  strerror(errno));
	}
	return 0;
}

int wm_store_build(const char *path, struct wm_store **ret, struct wm_err *e)
{
	struct wm_store *s = calloc(1, sizeof(*s) + strlen(path) + 1);
	char sql[512];
	int fd, rc;

	if (!s)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	memcpy(s->path, path, strlen(path) + 1);
	s->lock = -1;
	rc = wm_store_remove(path, 0, e);
	if (rc) {
		free(s);
		return rc;
	}
	fd = open(path, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0) {
		rc = wm_err_set(e, -errno, "%s cannot be created: %s", path, strerror(errno));
		free(s);
		return rc;
	}
	close(fd);
	/* nothing to go back to, and one sync of the whole file in the end */
	snprintf(sql, sizeof(sql),
		 "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=OFF;"
		 "PRAGMA synchronous=OFF; PRAGMA application_id=%d; BEGIN;"
		 "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
		 "CREATE TABLE services(row INTEGER PRIMARY KEY, payload BLOB NOT NULL);"
		 "CREATE TABLE instances(row INTEGER PRIMARY KEY, payload BLOB NOT NULL);"
		 "CREATE TABLE tombstones(row INTEGER PRIMARY KEY, payload BLOB NOT NULL);"
		 "INSERT INTO meta VALUES('schema',%d);",
		 STORE_APPLICATION_ID, WM_STORE_SCHEMA);
	rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = wm_store_exec(s->db, sql);
	if (rc == SQLITE_OK)
		rc = wm_store_prepare(s);
	if (rc != SQLITE_OK) {
		rc = wm_store_open_error(s, rc, "it cannot be created", e);
		wm_store_drop(s);
		return rc;
	}
	s->open = s->ready = true;
	*ret = s;
	return 0;
}

void wm_store_drop(struct wm_store *s)
{
	if (!s)
		return;
	wm_store_disconnect(s);
	(void)wm_store_remove(s->path, 0, NULL);
	free(s);
}

int wm_store_built(struct wm_store *s, struct wm_err *e)
{
	_cleanup_close_ int fd = -1;
	int rc = wm_store_exec(s->db, "COMMIT; PRAGMA journal_mode=WAL");

	if (rc != SQLITE_OK) {
		rc = wm_store_open_error(s, rc, "it cannot be created", e);
		wm_store_drop(s);
		return rc;
	}
	wm_store_disconnect(s);
	/* what moving an empty log at close could not do is told by this */
	fd = open(s->path, O_RDWR | O_CLOEXEC);
	if (fd < 0 || fsync(fd)) {
		rc = wm_err_set(e, -errno, "%s cannot be written: %s", s->path, strerror(errno));
		wm_store_drop(s);
		return rc;
	}
	free(s);
	return 0;
}

static void name_next(const struct wm_store *s, char next[PATH_MAX])
{
	snprintf(next, PATH_MAX, "%.*s.new", PATH_MAX - 24, s->path);
}

/* Make the file whole under another name, so that a crash here leaves no half store behind. */
int wm_store_create(struct wm_store *s, struct wm_err *e)
{
	struct wm_store *n = NULL;
	char next[PATH_MAX];
	int err;

	name_next(s, next);
	err = wm_store_build(next, &n, e);
	if (err || !n)
		return err;
	err = wm_store_built(n, e);
	if (err)
		return err;
	if (rename(next, s->path) || wm_store_sync_directory(s->path))
		return wm_err_set(e, -EIO, "%s cannot be created: %s", s->path, strerror(errno));
	return 0;
}

int wm_store_rewrite(struct wm_store *s, struct wm_store **ret, struct wm_err *e)
{
	struct wm_err why = {0};
	char next[PATH_MAX];
	int err;

	name_next(s, next);
	err = wm_store_build(next, ret, &why);
	return err ? wm_err_set(e, err == -ENOSPC ? err : WM_E_STORE,
				"Not stored: %.300s; nothing was changed", why.text)
		   : 0;
}

int wm_store_rewritten(struct wm_store *s, struct wm_store *next, struct wm_err *e)
{
	struct wm_err why = {0};
	char path[PATH_MAX];
	int err;

	name_next(s, path);
	wm_store_disconnect(s);
	err = wm_store_built(next, &why);
	/* the log goes first: on the other file it would be read as damage */
	if (!err)
		err = wm_store_remove(s->path, 1, &why);
	if (!err && (rename(path, s->path) || wm_store_sync_directory(s->path)))
		err = wm_err_set(&why, -errno, "%s: %s", s->path, strerror(errno));
	if (err)
		return wm_err_set(e, err == -ENOSPC ? err : WM_E_STORE,
				  "Not stored: %.300s; nothing was changed", why.text);
	s->frames = s->moved = s->tried = 0;
	s->stats.rewrites++;
	return wm_store_reconnect(s, e);
}

static int put_aside(const char *path, char *aside, struct wm_err *e)
{
	char from[PATH_MAX], to[PATH_MAX];

	if (access(path, F_OK))
		return wm_store_remove(path, 1,
				       e); /* a log of nothing would be read into the new file */
	snprintf(aside, PATH_MAX, "%.*s.aside-%lld", PATH_MAX - 64, path, (long long)time(NULL));
	for (unsigned i = 0; i < 2; i++) {
		snprintf(from, sizeof(from), "%.*s%s", PATH_MAX - 64, path, leftovers[i]);
		snprintf(to, sizeof(to), "%.*s%s", PATH_MAX - 8, aside, leftovers[i]);
		if (!rename(from, to))
			continue;
		if (errno != ENOENT)
			return wm_err_set(e, -errno, "%s cannot be renamed: %s", from,
					  strerror(errno));
	}
	return 0;
}

int wm_store_take_place(const char *path, const char *next, char *aside, struct wm_err *e)
{
	struct wm_store *s = calloc(1, sizeof(*s) + strlen(path) + 1);
	int err;

	*aside = 0;
	if (!s)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	memcpy(s->path, path, strlen(path) + 1);
	s->lock = -1;
	err = wm_store_lock(s, e);
	if (!err)
		err = put_aside(path, aside, e);
	if (!err && (rename(next, path) || wm_store_sync_directory(path)))
		err = wm_err_set(e, -errno, "%s cannot be written: %s", path, strerror(errno));
	if (err)
		(void)wm_store_remove(next, 0, NULL);
	wm_store_close(s);
	return err;
}
