/* SPDX-License-Identifier: Apache-2.0 */
/* child.h - programs that checks run: started without a shell, with nothing of ours but a pipe for
 * their output, no capability and no way to get one; each in a process group of its own, which ends
 * as a whole. Reaped through pidfds by the loop. Inside health/ only. Threading: loop thread only.
 */
#pragma once
#include "userspace/base/env.h"
#include "userspace/net/loop.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct wm_children;
struct wm_child;

/* Where a program without a slash in its name is looked for, and what the child has as PATH. */
#define WM_CHILD_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

struct wm_child_options {
	const char *const *argv; /* NULL-terminated */
	const char *const *env;	 /* "NAME=value", NULL-terminated; PATH is added, nothing else */
	size_t output_max;	 /* octets kept of the output: its end */
};
struct wm_child_end {
	int status;	    /* as of waitpid() */
	const char *output; /* borrowed during the callback; may hold NULs, a NUL follows */
	size_t output_len;
	uint64_t output_total; /* octets that were written, as far as they were read */
};

/** @p l and @p env borrowed. @return NULL without memory. */
struct wm_children *wm_children_new(struct wm_loop *l, const struct wm_env *env);
/** Kills and reaps all that still run; waits for them WM_CHILDREN_WAIT_MS at most. NULL ok. */
void wm_children_free(struct wm_children *all);
#define WM_CHILDREN_WAIT_MS                                                                        \
	500 /* ms that who was killed may take to go: longer is a stuck disk                       \
	     */
/** Start a program; what @p o points to is copied. stdin is /dev/null, the directory is "/".
 *  @p fn runs once, after the program ended and its group was killed, unless wm_child_kill() was
 *  called; never before this returns. Blocks until the program is loaded.
 *  @return NULL: why in *ret_err: -ENOENT, -EACCES and the like for the program; -EAGAIN, -EMFILE,
 *  -ENOMEM for us. */
struct wm_child *wm_child_start(struct wm_children *all, const struct wm_child_options *o,
				void (*fn)(void *arg, const struct wm_child_end *end), void *arg,
				int *ret_err);
/** Kill the whole group. @p fn will not run. What was written so far is in @p ret (may be NULL),
 *  borrowed until the next turn. NULL ok. */
void wm_child_kill(struct wm_child *c, struct wm_child_end *ret);
unsigned wm_children_count(const struct wm_children *all); /* not reaped yet */
