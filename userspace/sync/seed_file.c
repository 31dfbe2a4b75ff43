/* SPDX-License-Identifier: Apache-2.0 */
/* seed_file.c - sync.join_file: agents to begin with, one a line. It is somebody else's to write,
 * so a line that is no seed is told of and passed over. */
#include "sync.h"
#include "userspace/base/regular.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* Who is told of lines. */
struct reader {
	struct wm_sync_seed_list *list;
	wm_sync_seed_bad bad;
	void *arg;
};

static char *trim(char *s)
{
	s += strspn(s, " \t\r");
	for (size_t len = strlen(s); len && strchr(" \t\r", s[len - 1]); len--)
		s[len - 1] = '\0';
	return s;
}

static void take_line(struct reader *r, unsigned number, char *line)
{
	char host[WM_SYNC_HOST_MAX + 1];
	struct wm_err e = {0};
	uint16_t port;
	char *seed;

	line[strcspn(line, "#")] = '\0';
	seed = trim(line);
	if (!*seed)
		return;
	if (strlen(seed) > WM_SYNC_SEED_MAX || strpbrk(seed, " \t") ||
	    wm_sync_seed_parse(seed, host, &port))
		wm_err_set(&e, WM_E_INVALID, "line %u: " WM_SYNC_SEED_WANTED, number, seed);
	else if (r->list->count == WM_SYNC_JOIN_FILE_SEEDS)
		wm_err_set(&e, WM_E_LIMIT, "line %u: %d seeds are allowed, this is one more",
			   number, WM_SYNC_JOIN_FILE_SEEDS);
	else
		strcpy(r->list->seeds[r->list->count++], seed); /* its length was looked at */
	if (e.code)
		r->bad(r->arg, &e);
}

int wm_sync_seed_file(const char *path, struct wm_sync_seed_list *ret, wm_sync_seed_bad bad,
		      void *arg, struct wm_err *e)
{
	struct reader r = {.list = ret, .bad = bad, .arg = arg};
	char *text = malloc(WM_SYNC_JOIN_FILE_MAX + 2), *line, *next;
	unsigned number = 1;
	ssize_t len;
	int err = 0;

	if (!text)
		return wm_err_set(e, -ENOMEM, "out of memory: seeds");
	len = wm_regular_read(path, text, WM_SYNC_JOIN_FILE_MAX + 1);
	if (len == -EINVAL)
		err = wm_err_set(e, -EINVAL, "%s is no regular file", path);
	else if (len < 0)
		err = wm_err_set(e, (int)len, "cannot read %s: %s", path, strerror((int)-len));
	else if (len > WM_SYNC_JOIN_FILE_MAX)
		err = wm_err_set(e, WM_E_LIMIT, "%s: %d octets are allowed, it has more", path,
				 WM_SYNC_JOIN_FILE_MAX);
	else if (memchr(text, '\0', (size_t)len))
		err = wm_err_set(e, WM_E_INVALID, "%s is no text", path);
	if (!err) {
		ret->count = 0;
		text[len] = '\0';
		for (line = text; line; line = next, number++) {
			next = strchr(line, '\n');
			if (next)
				*next++ = '\0';
			take_line(&r, number, line);
		}
	}
	free(text);
	return err;
}
