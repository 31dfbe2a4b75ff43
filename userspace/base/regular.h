/* SPDX-License-Identifier: Apache-2.0 */
/* regular.h - files that others name are read without waiting: a pipe or a device is no file. */
#ifndef WM_BASE_REGULAR_H
#define WM_BASE_REGULAR_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

/* Read at most @p cap octets of the file at @p path. Blocks on the disk alone.
 * @return how many there are, negative errno; -EINVAL: it is no regular file. */
ssize_t wm_regular_read(const char *path, char *text, size_t cap);
/* For what others open themselves. Also true where nothing is: who opens it is told why. */
bool wm_regular_may_be(const char *path);

#endif
