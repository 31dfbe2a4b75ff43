/* SPDX-License-Identifier: Apache-2.0 */
/* proofs_kept.c - what was proved of others' logs, kept in the data directory: so that a log whose
 * agent is gone can be passed on after a restart. It is written aside, each minute if there is
 * something else, and at the end; the store may be ahead of it or behind. That does no harm: at the
 * start a proof is held if it is one of what the store has, and asked for again if not. */
#include "internal.h"
#include "userspace/base/env.h"
#include "userspace/base/replace.h"
#include "userspace/net/aside.h"
#include "userspace/sync/proof.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define KEEP_MS 60000

struct wm_proofs_kept {
	struct wm_sync *s;
	struct wm_env_timer *timer;
	struct wm_aside *writing;
	struct wm_buf file;
	uint64_t mark; /* of what was written last */
	char path[PATH_MAX];
};

/* On a thread of its own, or at the end. */
static void write_file(void *arg)
{
	const struct wm_proofs_kept *k = arg;

	/* one that is lost, or half there, is asked for */
	(void)wm_file_replace(k->path, k->file.data, k->file.len, WM_REPLACE_CACHE);
}

static void on_written(void *arg)
{
	struct wm_proofs_kept *k = arg;

	k->writing = NULL;
}

/* @return whether there is something new to be written. */
static bool gather(struct wm_proofs_kept *k)
{
	struct wm_replica_proved p;
	uint64_t mark = 0;
	size_t pos = 0;

	while (wm_replica_next_proved(k->s->replica, &pos, &p))
		mark = (mark ^ p.seq ^ (uint64_t)p.epoch << 40) * 0x100000001b3;
	if (mark == k->mark)
		return false;
	wm_buf_reset(&k->file);
	k->file.failed = false;
	pos = 0;
	while (wm_replica_next_proved(k->s->replica, &pos, &p))
		if (!wm_proofs_kept_write(&p, &k->file))
			break; /* of those beyond the bound the proof is asked for */
	k->mark = mark;
	return k->file.len != 0;
}

static void on_keep(void *arg)
{
	struct wm_proofs_kept *k = arg;

	if (!k->writing && gather(k))
		(void)wm_aside_start(k->s->c.loop, write_file, on_written, k, &k->writing);
	wm_env_timer_arm(k->timer, KEEP_MS);
}

static void take_file(struct wm_proofs_kept *k)
{
	int fd = open(k->path, O_RDONLY | O_CLOEXEC);
	struct stat st;
	ssize_t n = 0;

	if (fd < 0)
		return;
	if (!fstat(fd, &st) && st.st_size > 0 && st.st_size <= WM_PROOFS_KEPT_MAX &&
	    wm_buf_reserve(&k->file, (size_t)st.st_size))
		n = read(fd, k->file.data, (size_t)st.st_size);
	close(fd);
	if (n > 0)
		wm_proofs_kept_read(k->s->replica, k->file.data, (size_t)n);
	wm_buf_done(&k->file);
	wm_buf_init(&k->file, WM_PROOFS_KEPT_MAX);
}

int wm_proofs_kept_new(struct wm_sync *s, struct wm_err *e)
{
	struct wm_proofs_kept *k;

	if (!s->c.data_dir || !s->replica || wm_sync_is_leaf(s))
		return 0;
	k = calloc(1, sizeof(*k));
	if (!k)
		return wm_err_set(e, -ENOMEM, "out of memory: proofs");
	s->proofs_kept = k;
	k->s = s;
	wm_buf_init(&k->file, WM_PROOFS_KEPT_MAX);
	snprintf(k->path, sizeof(k->path), "%s/proofs", s->c.data_dir);
	k->timer = wm_env_timer_new(s->env, on_keep, k);
	if (!k->timer)
		return wm_err_set(e, -ENOMEM, "out of memory: proofs");
	take_file(k);
	return wm_env_timer_arm(k->timer, KEEP_MS);
}

void wm_proofs_kept_free(struct wm_proofs_kept *k)
{
	if (!k)
		return;
	wm_aside_end(k->writing);
	if (k->s->started && gather(k))
		write_file(k);
	wm_env_timer_free(k->timer);
	wm_buf_done(&k->file);
	free(k);
}
