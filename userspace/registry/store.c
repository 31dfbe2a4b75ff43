/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - see store.h. The tables have no index of their own: sequential row numbers share pages,
 * where a text key dirties a page per row and halves the rate of registrations. */
#include "store.h"

#include "userspace/base/util.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/limits.h> /* <limits.h> would find include/waymark's */
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_APPLICATION_ID 0x57794d6b /* "WyMk", in the file's header */
#define STORE_WAL_PAGES	     1000	/* pages of log that trigger a checkpoint: 4 MB */
#define STORE_LOG_LIMIT	     (16 << 20) /* octets that the log is cut back to */
#define STORE_HINT                                                                                 \
	"The file was left as it is. Restore a copy of it, or move it away together with its "     \
	"-wal file to start with an empty registry"

enum stmt { S_PUT, S_DEL, S_KINDS };
struct wm_store {
	sqlite3 *db;
	sqlite3_stmt *write[WM_STORE_TABLES][S_KINDS];
	sqlite3_stmt *begin, *commit, *rollback;
	bool open, sync_off; /* open: a transaction is */
	char path[];
};

static const char *const tables[] = {"meta", "services", "instances"};

static int exec(sqlite3 *db, const char *sql)
{
	return sqlite3_exec(db, sql, NULL, NULL, NULL);
}

/* One integer or text of a one-row query. */
static int query(sqlite3 *db, const char *sql, int64_t *ret_int, char *ret_text, size_t cap)
{
	sqlite3_stmt *st = NULL;
	int rc = sqlite3_prepare_v2(db, sql, -1, &st, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_step(st);
	if (rc == SQLITE_ROW) {
		if (ret_int)
			*ret_int = sqlite3_column_int64(st, 0);
		if (ret_text)
			snprintf(ret_text, cap, "%s", (const char *)sqlite3_column_text(st, 0));
	}
	sqlite3_finalize(st);
	return rc == SQLITE_ROW ? SQLITE_OK : rc == SQLITE_DONE ? SQLITE_NOTFOUND : rc;
}

/* Failure while opening: what SQLite says, and whose fault that is. */
static int open_error(const struct wm_store *s, int rc, const char *what, struct wm_err *e)
{
	int sys = s->db ? sqlite3_system_errno(s->db) : 0;

	switch (rc & 0xff) {
	case SQLITE_BUSY:
	case SQLITE_LOCKED:
		return wm_err_set(e, -EBUSY, "%s is in use by another process", s->path);
	case SQLITE_NOMEM:
		return wm_err_set(e, -ENOMEM, "%s: out of memory while reading it", s->path);
	case SQLITE_FULL:
		return wm_err_set(e, -ENOSPC, "%s: no space left on its file system", s->path);
	case SQLITE_READONLY:
	case SQLITE_PERM:
		return wm_err_set(e, -EACCES, "%s must be writable together with its directory",
				  s->path);
	case SQLITE_CANTOPEN:
		return wm_err_set(e, sys ? -sys : -EIO, "%s cannot be opened: %s", s->path,
				  sys ? strerror(sys) : sqlite3_errstr(rc));
	case SQLITE_IOERR:
		if (rc != SQLITE_IOERR_SHORT_READ && sys && sys != EINVAL)
			return wm_err_set(e, -sys, "%s cannot be read: %s", s->path, strerror(sys));
		break;
	default:
		break;
	}
	return wm_err_set(e, WM_E_STORE_DAMAGED, "%s is damaged: %s (%s). " STORE_HINT, s->path,
			  what, s->db ? sqlite3_errmsg(s->db) : sqlite3_errstr(rc));
}

static int make_directories(const char *path, struct wm_err *e)
{
	char dir[PATH_MAX];
	int n = snprintf(dir, sizeof(dir), "%s", path);

	if (n < 0 || (size_t)n >= sizeof(dir) - 8)
		return wm_err_set(e, -ENAMETOOLONG, "The store's path is too long");
	for (char *p = strchr(dir + 1, '/'); p; p = strchr(p + 1, '/')) {
		*p = 0;
		if (mkdir(dir, 0700) && errno != EEXIST)
			return wm_err_set(e, -errno, "Directory %s cannot be made: %s", dir,
					  strerror(errno));
		*p = '/';
	}
	return 0;
}

static int sync_directory(const char *path)
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

/* Make the file whole under another name, so that a crash here leaves no half store behind. */
static int create(struct wm_store *s, struct wm_err *e)
{
	static const char *const leftovers[] = {"", "-wal", "-journal", "-shm"};
	char next[PATH_MAX], name[PATH_MAX + 16];
	char sql[512];
	int fd, rc;

	snprintf(next, sizeof(next), "%.*s.new", (int)sizeof(next) - 8, s->path);
	for (unsigned i = 0; i < WM_ARRAY_LEN(leftovers); i++) {
		snprintf(name, sizeof(name), "%s%s", next, leftovers[i]);
		if (unlink(name) && errno != ENOENT)
			return wm_err_set(e, -errno, "%s cannot be removed: %s", name,
					  strerror(errno));
	}
	fd = open(next, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return wm_err_set(e, -errno, "%s cannot be created: %s", s->path, strerror(errno));
	close(fd);
	/* without a log, so that all is in the file when the commit says so: moving a log into it
	 * at close could fail unseen. The last statement only marks the header. */
	snprintf(sql, sizeof(sql),
		 "PRAGMA locking_mode=EXCLUSIVE; PRAGMA journal_mode=DELETE;"
		 "PRAGMA synchronous=FULL; PRAGMA application_id=%d; BEGIN;"
		 "CREATE TABLE meta(key TEXT PRIMARY KEY, value) WITHOUT ROWID;"
		 "CREATE TABLE services(row INTEGER PRIMARY KEY, payload BLOB NOT NULL);"
		 "CREATE TABLE instances(row INTEGER PRIMARY KEY, payload BLOB NOT NULL);"
		 "INSERT INTO meta VALUES('schema',%d); COMMIT; PRAGMA journal_mode=WAL;",
		 STORE_APPLICATION_ID, WM_STORE_SCHEMA);
	rc = sqlite3_open_v2(next, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = exec(s->db, sql);
	if (rc != SQLITE_OK) {
		rc = open_error(s, rc, "it cannot be created", e);
		sqlite3_close(s->db);
		s->db = NULL;
		unlink(next);
		return rc;
	}
	rc = sqlite3_close(s->db);
	s->db = NULL;
	if (rc != SQLITE_OK || rename(next, s->path) || sync_directory(s->path))
		return wm_err_set(e, -EIO, "%s cannot be created: %s", s->path, strerror(errno));
	return 0;
}

/* What can be told before SQLite touches the file. */
static int look(struct wm_store *s, struct wm_err *e)
{
	char head[16] = {0}, wal[PATH_MAX];
	_cleanup_close_ int fd = -1;
	struct stat st;
	ssize_t n;

	snprintf(wal, sizeof(wal), "%.*s-wal", (int)sizeof(wal) - 8, s->path);
	fd = open(s->path, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT) {
		if (stat(wal, &st) == 0 && st.st_size > 0)
			return wm_err_set(e, WM_E_STORE_DAMAGED,
					  "%s is missing, but its log %s is there. Restore a copy "
					  "of both, or move the log away to start with an empty "
					  "registry",
					  s->path, wal);
		return create(s, e);
	}
	if (fd < 0)
		return wm_err_set(e, -errno, "%s cannot be opened for writing: %s", s->path,
				  strerror(errno));
	if (fstat(fd, &st))
		return wm_err_set(e, -errno, "%s cannot be read: %s", s->path, strerror(errno));
	if (!S_ISREG(st.st_mode))
		return wm_err_set(e, -EINVAL, "%s must be a regular file", s->path);
	n = pread(fd, head, sizeof(head), 0);
	if (n < 0)
		return wm_err_set(e, -errno, "%s cannot be read: %s", s->path, strerror(errno));
	if (n != (ssize_t)sizeof(head) || memcmp(head, "SQLite format 3", 16) != 0)
		return wm_err_set(e, WM_E_STORE_DAMAGED, "%s is damaged: %s. " STORE_HINT, s->path,
				  st.st_size ? "it does not begin like an SQLite file"
					     : "it is empty");
	return 0;
}

static int verify(struct wm_store *s, struct wm_err *e)
{
	int64_t app = 0, schema = 0;
	char text[200] = "";
	int rc;

	rc = query(s->db, "PRAGMA application_id", &app, NULL, 0);
	if (rc == SQLITE_OK)
		/* takes the lock for good, and recovers the log in memory */
		rc = query(s->db, "SELECT count(*) FROM sqlite_schema", NULL, text, sizeof(text));
	if (rc != SQLITE_OK)
		return open_error(s, rc, "its header or schema cannot be read", e);
	if (app != STORE_APPLICATION_ID)
		return wm_err_set(e, WM_E_STORE_DAMAGED,
				  "%s is damaged, or a database of another program: its "
				  "application id is %#llx. " STORE_HINT,
				  s->path, (unsigned long long)app);
	rc = query(s->db, "SELECT value FROM meta WHERE key='schema' AND typeof(value)='integer'",
		   &schema, NULL, 0);
	if (rc != SQLITE_OK)
		return open_error(s, rc, "its schema version cannot be read", e);
	if (schema > WM_STORE_SCHEMA)
		return wm_err_set(
			e, WM_E_STORE_VERSION,
			"%s was written by a newer version (schema %lld, this program "
			"knows %d). The file was left as it is: use the newer program, or "
			"move the file away to start with an empty registry",
			s->path, (long long)schema, WM_STORE_SCHEMA);
	if (schema < 1)
		return wm_err_set(e, WM_E_STORE_DAMAGED,
				  "%s is damaged: schema version %lld. " STORE_HINT, s->path,
				  (long long)schema);
	rc = query(s->db, "PRAGMA quick_check(1)", NULL, text, sizeof(text));
	if (rc != SQLITE_OK)
		return open_error(s, rc, "its pages cannot be read", e);
	if (strcmp(text, "ok") != 0) {
		for (char *p = text; *p; p++)
			*p = *p == '\n' ? ' ' : *p;
		return wm_err_set(e, WM_E_STORE_DAMAGED, "%s is damaged: %s. " STORE_HINT, s->path,
				  text);
	}
	return 0;
}

int wm_store_open(const char *path, bool sync_off, struct wm_store **ret, struct wm_err *e)
{
	size_t n = strlen(path) + 1;
	struct wm_store *s;
	int err, rc;

	err = make_directories(path, e);
	if (err)
		return err;
	s = calloc(1, sizeof(*s) + n);
	if (!s)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	memcpy(s->path, path, n);
	s->sync_off = sync_off;
	err = look(s, e);
	if (err)
		goto out;
	rc = sqlite3_open_v2(path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_extended_result_codes(s->db, 1);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
	if (rc == SQLITE_OK)
		rc = exec(s->db, "PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=0;"
				 "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;"
				 "PRAGMA cell_size_check=ON");
	err = rc == SQLITE_OK ? verify(s, e) : open_error(s, rc, "it cannot be opened", e);
out:
	if (err) {
		wm_store_close(s);
		return err;
	}
	*ret = s;
	return 0;
}

void wm_store_close(struct wm_store *s)
{
	if (!s)
		return;
	wm_store_rollback(s);
	for (unsigned t = 0; t < WM_STORE_TABLES; t++) {
		for (unsigned k = 0; k < S_KINDS; k++)
			sqlite3_finalize(s->write[t][k]);
	}
	sqlite3_finalize(s->begin);
	sqlite3_finalize(s->commit);
	sqlite3_finalize(s->rollback);
	sqlite3_close(s->db);
	free(s);
}

int wm_store_damaged(const struct wm_store *s, int code, enum wm_store_table t, uint64_t row,
		     const char *why, struct wm_err *e)
{
	return wm_err_set(e, code, "%s is damaged: row %llu of table %s %s. " STORE_HINT,
			  s ? s->path : "memory", (unsigned long long)row, tables[t], why);
}

int wm_store_walk(struct wm_store *s, enum wm_store_table t, wm_store_row_fn fn, void *arg,
		  struct wm_err *e)
{
	static const char *const sql[] = {
		"SELECT 0, value FROM meta WHERE key='state'",
		"SELECT row, payload FROM services ORDER BY row",
		"SELECT row, payload FROM instances ORDER BY row",
	};
	sqlite3_stmt *st = NULL;
	int rc, err = 0;

	if (!s)
		return 0;
	rc = sqlite3_prepare_v2(s->db, sql[t], -1, &st, NULL);
	while (rc == SQLITE_OK && !err) {
		rc = sqlite3_step(st);
		if (rc != SQLITE_ROW)
			break;
		rc = SQLITE_OK;
		if (sqlite3_column_type(st, 1) != SQLITE_BLOB) {
			err = wm_store_damaged(s, WM_E_STORE_DAMAGED, t,
					       (uint64_t)sqlite3_column_int64(st, 0),
					       "is no record", e);
			break;
		}
		err = fn(arg, (uint64_t)sqlite3_column_int64(st, 0), sqlite3_column_blob(st, 1),
			 (size_t)sqlite3_column_bytes(st, 1), e);
	}
	if (!err && rc != SQLITE_OK && rc != SQLITE_DONE)
		err = open_error(s, rc, "a table cannot be read", e);
	sqlite3_finalize(st);
	return err;
}

int wm_store_ready(struct wm_store *s, struct wm_err *e)
{
	static const char *const sql[WM_STORE_TABLES][S_KINDS] = {
		{"INSERT OR REPLACE INTO meta VALUES('state',?2)", "DELETE FROM meta WHERE ?1<0"},
		{"INSERT OR REPLACE INTO services VALUES(?1,?2)",
		 "DELETE FROM services WHERE row=?1"},
		{"INSERT OR REPLACE INTO instances VALUES(?1,?2)",
		 "DELETE FROM instances WHERE row=?1"},
	};
	char mode[16] = "", setup[160];
	int rc;

	if (!s)
		return 0;
	rc = query(s->db, "PRAGMA journal_mode=WAL", NULL, mode, sizeof(mode));
	if (rc == SQLITE_OK && strcmp(mode, "wal") != 0)
		return wm_err_set(e, WM_E_STORE, "%s: its file system cannot keep a log (mode %s)",
				  s->path, mode);
	snprintf(setup, sizeof(setup),
		 "PRAGMA synchronous=%s; PRAGMA wal_autocheckpoint=%d;"
		 "PRAGMA journal_size_limit=%d",
		 s->sync_off ? "OFF" : "FULL", STORE_WAL_PAGES, STORE_LOG_LIMIT);
	if (rc == SQLITE_OK)
		rc = exec(s->db, setup);
	for (unsigned t = 0; t < WM_STORE_TABLES; t++) {
		for (unsigned k = 0; k < S_KINDS && rc == SQLITE_OK; k++)
			rc = sqlite3_prepare_v3(s->db, sql[t][k], -1, SQLITE_PREPARE_PERSISTENT,
						&s->write[t][k], NULL);
	}
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(s->db, "BEGIN IMMEDIATE", -1, &s->begin, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(s->db, "COMMIT", -1, &s->commit, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_prepare_v2(s->db, "ROLLBACK", -1, &s->rollback, NULL);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, (int *)NULL);
	return rc == SQLITE_OK ? 0 : open_error(s, rc, "it cannot be made ready", e);
}

static int run(sqlite3_stmt *st)
{
	int rc = sqlite3_step(st);

	sqlite3_reset(st);
	return rc == SQLITE_DONE || rc == SQLITE_ROW ? SQLITE_OK : rc;
}

void wm_store_rollback(struct wm_store *s)
{
	if (!s || !s->open)
		return;
	s->open = false;
	/* SQLite has rolled back by itself after some errors */
	if (!sqlite3_get_autocommit(s->db))
		run(s->rollback);
}

static int write_error(struct wm_store *s, int rc, struct wm_err *e)
{
	int sys = sqlite3_system_errno(s->db);
	int code = WM_E_STORE;

	if ((rc & 0xff) == SQLITE_FULL ||
	    ((rc & 0xff) == SQLITE_IOERR && (sys == ENOSPC || sys == EDQUOT))) {
		code = wm_err_set(e, -ENOSPC,
				  "Not stored: no space left for %s; nothing was changed", s->path);
	} else {
		wm_err_set(e, code, "Not stored: %s: %s; nothing was changed", s->path,
			   (rc & 0xff) == SQLITE_IOERR && sys ? strerror(sys)
							      : sqlite3_errmsg(s->db));
	}
	wm_store_rollback(s);
	return code;
}

static int write_row(struct wm_store *s, sqlite3_stmt *st, uint64_t row, const void *data,
		     size_t len)
{
	int rc = SQLITE_OK;

	if (!s->open) {
		rc = run(s->begin);
		if (rc != SQLITE_OK)
			return rc;
		s->open = true;
	}
	rc = sqlite3_bind_int64(st, 1, (sqlite3_int64)row);
	if (rc == SQLITE_RANGE) /* the meta row has no number */
		rc = SQLITE_OK;
	if (rc == SQLITE_OK && data)
		rc = sqlite3_bind_blob64(st, 2, data, len, SQLITE_STATIC);
	if (rc == SQLITE_OK)
		rc = run(st);
	return rc;
}

int wm_store_put(struct wm_store *s, enum wm_store_table t, uint64_t row, const void *data,
		 size_t len, struct wm_err *e)
{
	int rc;

	if (!s)
		return 0;
	rc = write_row(s, s->write[t][S_PUT], row, data, len);
	return rc == SQLITE_OK ? 0 : write_error(s, rc, e);
}

int wm_store_del(struct wm_store *s, enum wm_store_table t, uint64_t row, struct wm_err *e)
{
	int rc;

	if (!s)
		return 0;
	rc = write_row(s, s->write[t][S_DEL], row, NULL, 0);
	return rc == SQLITE_OK ? 0 : write_error(s, rc, e);
}

int wm_store_commit(struct wm_store *s, struct wm_err *e)
{
	int rc;

	if (!s || !s->open)
		return 0;
	rc = run(s->commit);
	if (rc != SQLITE_OK)
		return write_error(s, rc, e);
	s->open = false;
	return 0;
}

uint64_t wm_store_bytes(const struct wm_store *s)
{
	char wal[PATH_MAX];
	uint64_t n = 0;
	struct stat st;

	if (!s)
		return 0;
	snprintf(wal, sizeof(wal), "%.*s-wal", (int)sizeof(wal) - 8, s->path);
	if (stat(s->path, &st) == 0)
		n += (uint64_t)st.st_size;
	if (stat(wal, &st) == 0)
		n += (uint64_t)st.st_size;
	return n;
}
