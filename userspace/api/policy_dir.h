/* SPDX-License-Identifier: Apache-2.0 */
/* policy_dir.h - policies from a directory of files (policy.dir): each NAME.json is one, of the
 * service that it names or else of NAME. Files say what is: at the start and at each reload what
 * they say is written, if it is not there already. A file that is bad is told by its name, and what
 * it said before stays. What left the directory goes, unless somebody has written something else
 * meanwhile. Reading blocks and may be done on another thread; the rest is the loop's. */
#pragma once
#include "userspace/base/err.h"
#include "userspace/registry/registry.h"

#define WM_POLICY_FILES_MAX 4096	/* files that are looked at; more are told of */
#define WM_POLICY_FILE_MAX  (64u << 10) /* octets of one */

/* What stands in the files. */
struct wm_policy_dir;
/** @return 0; negative errno, @p e names the directory. A file that cannot be read is told when the
 *  rest is taken. */
int wm_policy_dir_read(const char *path, struct wm_policy_dir **ret, struct wm_err *e);
/** Policies that stand elsewhere, to be taken as files are: none yet. @return NULL without memory.
 */
struct wm_policy_dir *wm_policy_dir_new(void);
/** One of a service; all of it is copied. @return 0, -ENOMEM, -ENOSPC (WM_POLICY_FILES_MAX). */
int wm_policy_dir_add(struct wm_policy_dir *d, const char *service, const char *json);
void wm_policy_dir_free(struct wm_policy_dir *d); /* NULL ok */

/* What they said before; also by an earlier run of the agent, which wrote it into the data
 * directory, so that what left the directory meanwhile is known to have been a file's. */
struct wm_policy_files;
/** @return NULL without memory. @p bad is told of each file that is refused, by its name, and why,
 *  each time it is taken.
 *  @p ledger names the file that is written down in; NULL: that of policy.dir. Borrowed. */
struct wm_policy_files *
wm_policy_files_new(struct wm_registry *r, const char *ledger,
		    void (*bad)(void *arg, const char *file, const struct wm_err *why), void *arg);
/** Of what is queued nobody is told any more. NULL ok. */
void wm_policy_files_free(struct wm_policy_files *f);
struct wm_policy_files_outcome {
	unsigned policies, written, removed, bad;
};
/** Write what is new, and remove what is gone; @p d NULL: no directory is named any more. The
 * writes are queued; one that is refused then is told to `bad`, and tried again with the next. */
void wm_policy_files_take(struct wm_policy_files *f, const struct wm_policy_dir *d,
			  struct wm_policy_files_outcome *ret);
/** Is something queued that the registry has not answered yet? */
bool wm_policy_files_writing(const struct wm_policy_files *f);

/** What an earlier run wrote down; before the first wm_policy_files_take(). One that is broken is
 * told to `bad`, and nothing is known then. */
void wm_policy_files_recall(struct wm_policy_files *f, const char *data_dir);
/** What is to be written down, for free(). @return NULL without memory. */
char *wm_policy_files_ledger(const struct wm_policy_files *f);
/** Write it. @p name as of wm_policy_files_new(). Blocks; on any thread. @return 0, or negative
 * errno with @p e. */
int wm_policy_ledger_write(const char *data_dir, const char *name, const char *ledger,
			   struct wm_err *e);
