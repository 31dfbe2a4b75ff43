/* SPDX-License-Identifier: Apache-2.0 */
/* store_mend.c - after an error that leaves in doubt what the disk has: see wm_store_heal(). */
#include "store_internal.h"
#include "userspace/base/err.h"
#include "userspace/base/macros.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STORE_LOG_HEAD	 32 /* octets: SQLite's file format, section 4.1 */
#define STORE_FRAME_HEAD 24

uint64_t wm_store_log_bytes(const struct wm_store *s, uint32_t frames)
{
	return frames ? STORE_LOG_HEAD + (uint64_t)frames * (STORE_FRAME_HEAD + s->page) : 0;
}

/* --- after an error ----------------------------------------------------------------------------
 */
static uint32_t big_endian(const uint8_t *p)
{
	return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* The log's running checksum over whole pairs of words; see SQLite's file format, section 4.2. */
static void log_sum(const uint8_t *p, size_t len, bool big, uint32_t sum[2])
{
	for (size_t i = 0; i < len; i += 8) {
		uint32_t a = big_endian(p + i), b = big_endian(p + i + 4);

		sum[0] += (big ? a : __builtin_bswap32(a)) + sum[1];
		sum[1] += (big ? b : __builtin_bswap32(b)) + sum[0];
	}
}

/* Frames of the log up to the last commit that is whole, as the disk has them. */
static uint32_t count_frames(const struct wm_store *s, int fd)
{
	uint8_t head[STORE_LOG_HEAD], salt[8];
	_cleanup_free_ uint8_t *frame = malloc(STORE_FRAME_HEAD + s->page);
	uint32_t sum[2] = {0}, committed = 0, size = STORE_FRAME_HEAD + s->page;
	bool big;

	if (!frame || pread(fd, head, sizeof(head), 0) != sizeof(head) ||
	    (big_endian(head) & ~1u) != 0x377f0682 || big_endian(head + 8) != s->page)
		return 0;
	big = head[3] & 1;
	log_sum(head, 24, big, sum);
	if (sum[0] != big_endian(head + 24) || sum[1] != big_endian(head + 28))
		return 0;
	memcpy(salt, head + 16, sizeof(salt));
	for (uint32_t n = 0;; n++) {
		if (pread(fd, frame, size,
			  (off_t)wm_store_log_bytes(s, n) + (n ? 0 : STORE_LOG_HEAD)) !=
			    (ssize_t)size ||
		    memcmp(frame + 8, salt, 8) != 0)
			return committed;
		log_sum(frame, 8, big, sum);
		log_sum(frame + STORE_FRAME_HEAD, s->page, big, sum);
		if (sum[0] != big_endian(frame + 16) || sum[1] != big_endian(frame + 20))
			return committed;
		if (big_endian(frame + 4))
			committed = n + 1;
	}
}

/* Take what was never acknowledged off the log, and see that the rest is on the disk. What was
 * moved into the file and synced there need not be in the log any more: then all of it goes, for
 * the failed transaction may have begun it anew. */
static int mend_log(struct wm_store *s, struct wm_err *e)
{
	uint32_t keep = s->moved == s->frames ? 0 : s->frames;
	_cleanup_close_ int fd = -1;
	char wal[PATH_MAX];
	struct stat st;

	snprintf(wal, sizeof(wal), "%.*s-wal", (int)sizeof(wal) - 8, s->path);
	fd = open(wal, O_RDWR | O_CLOEXEC);
	if (fd < 0 && errno == ENOENT)
		return keep ? -ESTALE : 0;
	if (fd < 0 || fstat(fd, &st))
		return wm_err_set(e, WM_E_STORE, "Not stored: %s: %s; nothing was changed", wal,
				  strerror(errno));
	if ((uint64_t)st.st_size < wm_store_log_bytes(s, keep))
		return -ESTALE;
	if (ftruncate(fd, (off_t)wm_store_log_bytes(s, keep)) || fsync(fd))
		return wm_err_set(e, errno == ENOSPC || errno == EDQUOT ? -ENOSPC : WM_E_STORE,
				  "Not stored: %s: %s; nothing was changed", wal, strerror(errno));
	/* the kernel calls a page clean whose write failed: read what the disk has */
	(void)posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	return count_frames(s, fd) == keep ? 0 : -ESTALE;
}

/* Connect again to a file that this process knows. */
int wm_store_reconnect(struct wm_store *s, struct wm_err *e)
{
	struct wm_err why = {0};
	int err = access(s->path, W_OK) ? -errno : 0;

	if (err)
		wm_err_set(&why, err, "%s: %s", s->path, strerror(-err));
	else
		err = wm_store_connect(s, &why);
	if (!err)
		err = wm_store_ready(s, &why);
	if (!err) {
		s->failed = false;
		return 0;
	}
	wm_store_disconnect(s);
	return wm_err_set(e, err == -ENOSPC ? err : WM_E_STORE,
			  "Not stored: %.300s; nothing was changed", why.text);
}

int wm_store_begin_full(struct wm_store *s, struct wm_err *e)
{
	_cleanup_close_ int fd = -1;
	char wal[PATH_MAX];
	int err = 0;

	if (s->failed) { /* by a quota, say: what it began was told to nobody */
		wm_store_disconnect(s);
		err = wm_store_reconnect(s, e);
	}
	snprintf(wal, sizeof(wal), "%.*s-wal", (int)sizeof(wal) - 8, s->path);
	fd = open(wal, O_RDONLY | O_CLOEXEC);
	s->frames = fd < 0 ? 0 : count_frames(s, fd);
	return err;
}

int wm_store_heal(struct wm_store *s, struct wm_err *e)
{
	int err;

	if (!s || !s->failed || !s->ready)
		return 0;
	if (s->db)
		sqlite3_db_config(s->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, (int *)NULL);
	wm_store_disconnect(s);
	err = mend_log(s, e);
	if (err)
		return err;
	err = wm_store_reconnect(s, e);
	if (err)
		return err;
	/* the frames that stayed are counted on from here; none was moved as far as SQLite knows */
	if (s->moved == s->frames)
		s->frames = 0;
	s->moved = s->tried = 0;
	s->stats.heals++;
	return 0;
}
