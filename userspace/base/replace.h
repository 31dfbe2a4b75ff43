/* SPDX-License-Identifier: Apache-2.0 */
/* replace.h - a file is replaced whole, or stays as it was. */
#ifndef WM_BASE_REPLACE_H
#define WM_BASE_REPLACE_H

#include <stddef.h>

/* How sure it has to be that the new file outlives a loss of power. */
enum wm_replace {
	WM_REPLACE_CACHE, /* it may be gone, or half there: whoever reads it can do without */
	WM_REPLACE_SYNC,  /* on the disk when this returns, its name too */
};

/* Write @data beside @path, as "@path.new", and give it the name: readers see the old file or the
 * new one. Mode 0600; a file of that name that an earlier run left is removed, a link in its place
 * is not followed. Blocks on the disk: to be called on a thread of its own where the loop must not
 * wait.
 * @return 0, or what failed, negative: the old file is as it was, but for a failure to sync the
 * directory, after which either may be there. */
int wm_file_replace(const char *path, const void *data, size_t len, enum wm_replace how);

#endif
