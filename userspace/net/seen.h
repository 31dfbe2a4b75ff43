/* SPDX-License-Identifier: Apache-2.0 */
/* seen.h - what tells one content of a file from another, without reading it. Threading: none. */
#pragma once
#include <stdbool.h>
#include <sys/types.h>
#include <time.h>

/* Of a file as it was looked at last; zero: never. */
struct wm_seen {
	dev_t dev;
	ino_t ino;
	off_t size;
	struct timespec modified, changed;
	int err; /* it cannot be looked at */
};

/** Look at the file. @return whether it is another than @p s, which is as it is now then. */
bool wm_seen_look(struct wm_seen *s, const char *path);
