/* SPDX-License-Identifier: Apache-2.0 */
/* store.c - see store.h. The tables have no index of their own: sequential row numbers share pages,
 * where a text key dirties a page per row and halves the rate of registrations. */
#include "store_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STORE_WAL_PAGES 1000	   /* pages of log that trigger a checkpoint: 4 MB */
#define STORE_LOG_LIMIT (16 << 20) /* octets that the log is cut back to */
#define LOCK_TRIES	16	   /* each time it is removed by somebody who ends meanwhile */
#define STORE_LOG_MAX                                                                              \
	(64u << 20) /* octets of log that no checkpoint could move: then writes stop */
#define STORE_HINT                                                                                 \
	"The file was left as it is. Restore a copy of it, or move it away together with its "     \
	"-wal file to start with an empty registry"

/* How an older schema becomes the next one; ends with an entry of nothing. What the registry makes
 * of old records is its own matter: recover.c. */
static const struct wm_store_migration migrations[] = {
	{1, "CREATE TABLE tombstones(row INTEGER PRIMARY KEY, payload BLOB NOT NULL)"}, {0, NULL}};
static const struct wm_store_migration *steps = migrations;
static int newest = WM_STORE_SCHEMA;

static const char *const tables[] = {"meta", "services", "instances", "tombstones"};

int wm_store_exec(sqlite3 *db, const char *sql)
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
int wm_store_open_error(const struct wm_store *s, int rc, const char *what, struct wm_err *e)
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

int wm_store_prepare(struct wm_store *s)
{
	static const char *const sql[WM_STORE_TABLES][S_KINDS] = {
		{"INSERT OR REPLACE INTO meta VALUES('state',?2)", "DELETE FROM meta WHERE ?1<0"},
		{"INSERT OR REPLACE INTO services VALUES(?1,?2)",
		 "DELETE FROM services WHERE row=?1"},
		{"INSERT OR REPLACE INTO instances VALUES(?1,?2)",
		 "DELETE FROM instances WHERE row=?1"},
		{"INSERT OR REPLACE INTO tombstones VALUES(?1,?2)",
		 "DELETE FROM tombstones WHERE row=?1"},
	};
	int rc = SQLITE_OK;

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
	return rc;
}

/* Ends the connection as it is. */
void wm_store_disconnect(struct wm_store *s)
{
	for (unsigned t = 0; t < WM_STORE_TABLES; t++) {
		for (unsigned k = 0; k < S_KINDS; k++) {
			sqlite3_finalize(s->write[t][k]);
			s->write[t][k] = NULL;
		}
	}
	sqlite3_finalize(s->begin);
	sqlite3_finalize(s->commit);
	sqlite3_finalize(s->rollback);
	s->begin = s->commit = s->rollback = NULL;
	sqlite3_close(s->db);
	s->db = NULL;
	s->open = false;
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
		return wm_store_create(s, e);
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

/* A copy of the file with its log as they are, on disk before anything is changed. */
static int keep_copy(struct wm_store *s, int64_t schema, char copy[PATH_MAX], struct wm_err *e)
{
	_cleanup_close_ int fd = -1;
	char *sql;
	int rc;

	snprintf(copy, PATH_MAX, "%.*s.before-%lld", PATH_MAX - 32, s->path, (long long)schema + 1);
	rc = wm_store_remove(copy, 0, e); /* of an attempt that did not come to an end */
	if (rc)
		return rc;
	fd = open(copy, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC, 0600);
	if (fd < 0)
		return wm_err_set(e, -errno, "%s cannot be created: %s", copy, strerror(errno));
	sql = sqlite3_mprintf("VACUUM INTO %Q", copy);
	rc = sql ? wm_store_exec(s->db, sql) : SQLITE_NOMEM;
	sqlite3_free(sql);
	if (rc == SQLITE_OK && !fsync(fd) && !wm_store_sync_directory(copy))
		return 0;
	rc = wm_err_set(e, rc == SQLITE_FULL || errno == ENOSPC ? -ENOSPC : WM_E_STORE,
			"%s cannot be kept before its schema is changed: %s. The file was left as "
			"it was",
			s->path, rc == SQLITE_OK ? strerror(errno) : sqlite3_errmsg(s->db));
	(void)wm_store_remove(copy, 0, NULL);
	return rc;
}

static const char *step_from(int64_t schema)
{
	for (const struct wm_store_migration *m = steps; m->sql; m++) {
		if (m->from == schema)
			return m->sql;
	}
	return NULL;
}

/* Bring an older schema to the newest, in one transaction. */
static int migrate(struct wm_store *s, int64_t schema, struct wm_err *e)
{
	char copy[PATH_MAX], set[64];
	int64_t at = schema;
	int rc = keep_copy(s, schema, copy, e);

	if (rc)
		return rc;
	rc = wm_store_exec(s->db, "PRAGMA synchronous=FULL; BEGIN IMMEDIATE");
	for (; rc == SQLITE_OK && at < newest; at++) {
		const char *sql = step_from(at);

		snprintf(set, sizeof(set), "UPDATE meta SET value=%lld WHERE key='schema'",
			 (long long)at + 1);
		rc = sql ? wm_store_exec(s->db, sql) : SQLITE_MISUSE;
		if (rc == SQLITE_OK)
			rc = wm_store_exec(s->db, set);
		if (rc != SQLITE_OK)
			break;
	}
	if (rc == SQLITE_OK)
		rc = wm_store_exec(s->db, "COMMIT");
	if (rc == SQLITE_OK) {
		wm_info("store.migrated", "path=%s from=%lld to=%d copy=%s", wm_log_q(s->path),
			(long long)schema, newest, wm_log_q(copy));
		return 0;
	}
	rc = wm_err_set(
		e, (rc & 0xff) == SQLITE_FULL ? -ENOSPC : WM_E_STORE,
		"%s cannot be brought from schema %lld to %lld: %s. The file was left as it "
		"was: use the older program, or move it away to start with an empty "
		"registry",
		s->path, (long long)at, (long long)at + 1,
		step_from(at) ? sqlite3_errmsg(s->db) : "there is no such step");
	if (!sqlite3_get_autocommit(s->db))
		(void)wm_store_exec(s->db, "ROLLBACK");
	return rc;
}

void wm_store_use_migrations(const struct wm_store_migration *table, int schema)
{
	steps = table ? table : migrations;
	newest = table ? schema : WM_STORE_SCHEMA;
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
		return wm_store_open_error(s, rc, "its header or schema cannot be read", e);
	if (app != STORE_APPLICATION_ID)
		return wm_err_set(e, WM_E_STORE_DAMAGED,
				  "%s is damaged, or a database of another program: its "
				  "application id is %#llx. " STORE_HINT,
				  s->path, (unsigned long long)app);
	rc = query(s->db, "SELECT value FROM meta WHERE key='schema' AND typeof(value)='integer'",
		   &schema, NULL, 0);
	if (rc != SQLITE_OK)
		return wm_store_open_error(s, rc, "its schema version cannot be read", e);
	if (schema > newest)
		return wm_err_set(
			e, WM_E_STORE_VERSION,
			"%s was written by a newer version (schema %lld, this program "
			"knows %d). The file was left as it is: use the newer program, or "
			"move the file away to start with an empty registry",
			s->path, (long long)schema, newest);
	if (schema < 1)
		return wm_err_set(e, WM_E_STORE_DAMAGED,
				  "%s is damaged: schema version %lld. " STORE_HINT, s->path,
				  (long long)schema);
	rc = query(s->db, "PRAGMA quick_check(1)", NULL, text, sizeof(text));
	if (rc != SQLITE_OK)
		return wm_store_open_error(s, rc, "its pages cannot be read", e);
	if (strcmp(text, "ok") != 0) {
		for (char *p = text; *p; p++)
			*p = *p == '\n' ? ' ' : *p;
		return wm_err_set(e, WM_E_STORE_DAMAGED, "%s is damaged: %s. " STORE_HINT, s->path,
				  text);
	}
	return schema < newest ? migrate(s, schema, e) : 0;
}

/* Is the locked file still the one under its name? Who closed a store removed it. */
static bool is_there(int fd, const char *path)
{
	struct stat a, b;

	return !fstat(fd, &a) && !stat(path, &b) && a.st_dev == b.st_dev && a.st_ino == b.st_ino;
}

static void lock_name(const struct wm_store *s, char name[PATH_MAX])
{
	snprintf(name, PATH_MAX, "%.*s-lock", PATH_MAX - 8, s->path);
}

/* The lock of SQLite ends with its connection, which is closed and opened again after an error;
 * this one does not. A file of its own, since the store's may be replaced; only open for reading,
 * so that the file system can be made read-only. */
int wm_store_lock(struct wm_store *s, struct wm_err *e)
{
	char name[PATH_MAX];

	lock_name(s, name);
	for (int n = 0; n < LOCK_TRIES; n++) {
		s->lock = open(name, O_RDONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
		if (s->lock < 0)
			return wm_err_set(e, -errno, "%s cannot be opened for writing: %s", name,
					  strerror(errno));
		if (flock(s->lock, LOCK_EX | LOCK_NB))
			break;
		if (is_there(s->lock, name))
			return 0;
		close(s->lock);
	}
	close(s->lock);
	s->lock = -1;
	return wm_err_set(e, -EBUSY, "%s is in use by another process", s->path);
}

static void unlock(struct wm_store *s)
{
	char name[PATH_MAX];

	if (s->lock < 0)
		return;
	lock_name(s, name);
	(void)unlink(name); /* while it is ours: who waits for it sees that it is gone */
	close(s->lock);
	s->lock = -1;
}

static int on_commit(void *store, sqlite3 *db, const char *name, int frames)
{
	struct wm_store *s = store;

	(void)db;
	(void)name;
	/* once all of it is in the file, the log begins anew */
	if (s->moved == s->frames || (uint32_t)frames < s->frames)
		s->moved = 0;
	s->frames = (uint32_t)frames;
	return SQLITE_OK;
}

int wm_store_connect(struct wm_store *s, struct wm_err *e)
{
	int rc =
		sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX, NULL);

	if (rc == SQLITE_OK)
		rc = sqlite3_extended_result_codes(s->db, 1);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
	if (rc == SQLITE_OK)
		rc = wm_store_exec(s->db,
				   "PRAGMA locking_mode=EXCLUSIVE; PRAGMA wal_autocheckpoint=0;"
				   "PRAGMA temp_store=MEMORY; PRAGMA trusted_schema=OFF;"
				   "PRAGMA cell_size_check=ON");
	return rc == SQLITE_OK ? 0 : wm_store_open_error(s, rc, "it cannot be opened", e);
}

int wm_store_open(const char *path, bool sync_off, struct wm_store **ret, struct wm_err *e)
{
	size_t n = strlen(path) + 1;
	struct wm_store *s;
	int err;

	err = make_directories(path, e);
	if (err)
		return err;
	s = calloc(1, sizeof(*s) + n);
	if (!s)
		return wm_err_set(e, -ENOMEM, "Out of memory");
	memcpy(s->path, path, n);
	s->sync_off = sync_off;
	s->lock = -1;
	s->log_pages = STORE_WAL_PAGES;
	err = wm_store_lock(s, e);
	if (!err)
		err = look(s, e);
	if (!err)
		err = wm_store_connect(s, e);
	if (!err)
		err = verify(s, e);
	if (err) {
		wm_store_close(s);
		return err;
	}
	*ret = s;
	return 0;
}

void wm_store_set_log(struct wm_store *s, unsigned pages)
{
	if (s)
		s->log_pages = pages;
}

void wm_store_close(struct wm_store *s)
{
	if (!s)
		return;
	wm_store_rollback(s);
	if (s->failed && s->db) /* what is in doubt stays as it is */
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
	wm_store_disconnect(s);
	unlock(s);
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
		"SELECT row, payload FROM tombstones ORDER BY row",
	};
	sqlite3_stmt *st = NULL;
	int rc, err = 0;

	if (!s)
		return 0;
	if (!s->db)
		return wm_err_set(e, WM_E_STORE, "%s cannot be read at the moment", s->path);
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
		err = wm_store_open_error(s, rc, "a table cannot be read", e);
	sqlite3_finalize(st);
	return err;
}

int wm_store_part(struct wm_store *s, const struct wm_store_range *rg, wm_store_row_fn fn,
		  void *arg, struct wm_err *e)
{
	static const char *const sql[] = {
		"SELECT 0, value FROM meta WHERE key='state' AND ?1<?2 AND ?3",
		"SELECT row, payload FROM services WHERE row>?1 AND row<=?2 ORDER BY row LIMIT ?3",
		"SELECT row, payload FROM instances WHERE row>?1 AND row<=?2 ORDER BY row LIMIT ?3",
		"SELECT row, payload FROM tombstones WHERE row>?1 AND row<=?2 ORDER BY row LIMIT "
		"?3",
	};
	sqlite3_stmt *st = NULL;
	int rc, err = 0;

	if (!s || !s->db)
		return wm_err_set(e, WM_E_STORE, "%s cannot be read at the moment",
				  s ? s->path : "A store of memory only");
	rc = sqlite3_prepare_v2(s->db, sql[rg->table], -1, &st, NULL);
	/* binding numbers to what was prepared cannot fail */
	(void)sqlite3_bind_int64(st, 1, rg->after);
	(void)sqlite3_bind_int64(st, 2, rg->last);
	(void)sqlite3_bind_int64(st, 3, rg->max);
	while (rc == SQLITE_OK && !err && (rc = sqlite3_step(st)) == SQLITE_ROW) {
		rc = SQLITE_OK;
		err = fn(arg, (uint64_t)sqlite3_column_int64(st, 0), sqlite3_column_blob(st, 1),
			 (size_t)sqlite3_column_bytes(st, 1), e);
	}
	if (!err && rc != SQLITE_OK && rc != SQLITE_DONE)
		err = wm_store_open_error(s, rc, "a table cannot be read", e);
	sqlite3_finalize(st);
	return err;
}

int wm_store_last(struct wm_store *s, enum wm_store_table t, int64_t *ret, struct wm_err *e)
{
	static const char *const sql[] = {"SELECT 0", "SELECT coalesce(max(row),0) FROM services",
					  "SELECT coalesce(max(row),0) FROM instances",
					  "SELECT coalesce(max(row),0) FROM tombstones"};
	int rc;

	if (!s->db)
		return wm_err_set(e, WM_E_STORE, "%s cannot be read at the moment", s->path);
	rc = query(s->db, sql[t], ret, NULL, 0);
	return rc == SQLITE_OK ? 0 : wm_store_open_error(s, rc, "a table cannot be read", e);
}

void wm_store_watch(struct wm_store *s, void (*fn)(void *arg, enum wm_store_table t, uint64_t row),
		    void *arg)
{
	s->before = fn;
	s->before_arg = arg;
}

int wm_store_ready(struct wm_store *s, struct wm_err *e)
{
	char mode[16] = "", setup[160];
	int64_t page = 0;
	int rc;

	if (!s)
		return 0;
	rc = query(s->db, "PRAGMA journal_mode=WAL", NULL, mode, sizeof(mode));
	if (rc == SQLITE_OK && strcmp(mode, "wal") != 0)
		return wm_err_set(e, WM_E_STORE, "%s: its file system cannot keep a log (mode %s)",
				  s->path, mode);
	snprintf(setup, sizeof(setup), "PRAGMA synchronous=%s; PRAGMA journal_size_limit=%d",
		 s->sync_off ? "OFF" : "FULL", STORE_LOG_LIMIT);
	if (rc == SQLITE_OK)
		rc = wm_store_exec(s->db, setup);
	s->lazy = false;
	if (rc == SQLITE_OK)
		rc = query(s->db, "PRAGMA page_size", &page, NULL, 0);
	if (rc == SQLITE_OK && sqlite3_db_readonly(s->db, "main"))
		rc = SQLITE_READONLY;
	s->page = (uint32_t)page;
	sqlite3_wal_hook(s->db, on_commit, s);
	if (rc == SQLITE_OK)
		rc = wm_store_prepare(s);
	if (rc == SQLITE_OK)
		rc = sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, (int *)NULL);
	if (rc != SQLITE_OK)
		return wm_store_open_error(s, rc, "it cannot be made ready", e);
	s->ready = true;
	return 0;
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
	if (s->db && !sqlite3_get_autocommit(s->db) && run(s->rollback) != SQLITE_OK)
		s->failed = true;
}

/* Why the last call failed: errno of the file it was about, 0 if it was no such failure. */
static int last_errno(const struct wm_store *s)
{
	int sys = sqlite3_system_errno(s->db);
	sqlite3_file *f = NULL;

	/* the connection may have forgotten it while it rolled back; its files do not */
	if (!sys &&
	    sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &f) == SQLITE_OK &&
	    f && f->pMethods)
		(void)f->pMethods->xFileControl(f, SQLITE_FCNTL_LAST_ERRNO, &sys);
	if (!sys)
		(void)sqlite3_file_control(s->db, "main", SQLITE_FCNTL_LAST_ERRNO, &sys);
	return sys;
}

static int write_error(struct wm_store *s, int rc, struct wm_err *e)
{
	int sys = (rc & 0xff) == SQLITE_IOERR ? last_errno(s) : 0;
	int code = WM_E_STORE;

	/* Without space a write ends before the frame that commits, and SQLite is right about what
	 * the log holds. After anything else, a sync above all, only the disk knows. */
	s->failed |= (rc & 0xff) != SQLITE_FULL;
	if ((rc & 0xff) == SQLITE_FULL || sys == ENOSPC || sys == EDQUOT) {
		code = wm_err_set(e, -ENOSPC,
				  "Not stored: no space left for %s; nothing was changed", s->path);
	} else {
		wm_err_set(e, code, "Not stored: %s: %s; nothing was changed", s->path,
			   sys ? strerror(sys) : sqlite3_errmsg(s->db));
	}
	wm_store_rollback(s);
	return code;
}

/* Unless @p now not too soon after it failed. The commit before it stands either way. */
static void checkpoint(struct wm_store *s, bool now)
{
	bool large = wm_store_log_bytes(s, s->frames) > STORE_LOG_LIMIT;
	int rc, log = 0, moved = 0;

	if (s->frames - s->moved < s->log_pages ||
	    (s->tried && s->frames < s->tried + s->log_pages / 10 && !now))
		return;
	/* a log that one large write left behind gives its space back at once */
	rc = sqlite3_wal_checkpoint_v2(
		s->db, NULL, large ? SQLITE_CHECKPOINT_TRUNCATE : SQLITE_CHECKPOINT_PASSIVE, &log,
		&moved);
	if (rc == SQLITE_OK) {
		if (large)
			s->frames = 0;
		s->moved = large ? 0 : (uint32_t)moved;
		s->tried = 0;
		s->stats.checkpoints++;
		return;
	}
	s->stats.failed_checkpoints++;
	s->tried = s->frames;
	s->failed |= (rc & 0xff) != SQLITE_FULL;
	snprintf(s->why, sizeof(s->why), "%s",
		 (rc & 0xff) == SQLITE_IOERR && sqlite3_system_errno(s->db)
			 ? strerror(sqlite3_system_errno(s->db))
			 : sqlite3_errmsg(s->db));
}

/* Is there anything against writing? */
static int refuse(struct wm_store *s, struct wm_err *e)
{
	if (!s->failed && !s->open && wm_store_log_bytes(s, s->frames - s->moved) > STORE_LOG_MAX)
		checkpoint(s, true);
	if (s->failed)
		return wm_err_set(e, WM_E_STORE,
				  "Not stored: %s could not be written a moment ago; nothing was "
				  "changed",
				  s->path);
	if (s->open || wm_store_log_bytes(s, s->frames - s->moved) <= STORE_LOG_MAX)
		return 0;
	return wm_err_set(e, WM_E_STORE,
			  "Not stored: the log of %s has %u MiB, and cannot be moved into the "
			  "file: %s; nothing was changed",
			  s->path, STORE_LOG_MAX >> 20, s->why);
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
	rc = refuse(s, e);
	if (rc)
		return rc;
	if (s->before)
		s->before(s->before_arg, t, row);
	rc = write_row(s, s->write[t][S_PUT], row, data, len);
	return rc == SQLITE_OK ? 0 : write_error(s, rc, e);
}

int wm_store_del(struct wm_store *s, enum wm_store_table t, uint64_t row, struct wm_err *e)
{
	int rc;

	if (!s)
		return 0;
	rc = refuse(s, e);
	if (rc)
		return rc;
	if (s->before)
		s->before(s->before_arg, t, row);
	rc = write_row(s, s->write[t][S_DEL], row, NULL, 0);
	return rc == SQLITE_OK ? 0 : write_error(s, rc, e);
}

int wm_store_lazy(struct wm_store *s, bool lazy, struct wm_err *e)
{
	int rc;

	if (!s || s->sync_off || s->lazy == lazy)
		return 0;
	rc = wm_store_exec(s->db, lazy ? "PRAGMA synchronous=NORMAL" : "PRAGMA synchronous=FULL");
	if (rc != SQLITE_OK)
		return write_error(s, rc, e);
	s->lazy = lazy;
	return 0;
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

void wm_store_checkpoint(struct wm_store *s)
{
	if (s && s->db && s->ready && !s->failed && !s->open)
		checkpoint(s, false);
}

bool wm_store_failed(const struct wm_store *s)
{
	return s && s->failed;
}

void wm_store_stats(const struct wm_store *s, struct wm_store_stats *ret)
{
	*ret = s ? s->stats : (struct wm_store_stats){0};
	ret->failed = s && s->failed;
	ret->log_bytes = s ? wm_store_log_bytes(s, s->frames) : 0;
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
