/* SPDX-License-Identifier: Apache-2.0 */
/* seen.c - see seen.h. */
#include "seen.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

static bool same_time(const struct timespec *a, const struct timespec *b)
{
	return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool same(const struct wm_seen *a, const struct wm_seen *b)
{
	return a->dev == b->dev && a->ino == b->ino && a->size == b->size && a->err == b->err &&
	       same_time(&a->modified, &b->modified) && same_time(&a->changed, &b->changed);
}

bool wm_seen_look(struct wm_seen *s, const char *path)
{
	struct wm_seen now = {0};
	bool differs;
	struct stat st;

	if (stat(path, &st)) {
		now.err = errno;
	} else {
		now.dev = st.st_dev;
		now.ino = st.st_ino;
		now.size = st.st_size;
		now.modified = st.st_mtim;
		now.changed = st.st_ctim;
	}
	differs = !same(&now, s);
	*s = now;
	return differs;
}
