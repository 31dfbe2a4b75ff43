/* SPDX-License-Identifier: Apache-2.0 */
/* upstream_aside.c - the file of keys that are followed lies in memory: libunbound writes it
 * itself, on the loop, and waits for the disk. What it wrote is copied to the data directory
 * without a wait. The file system is mounted nowhere and ends with the process. Spec: fsopen(2). */
#include "upstream_internal.h"
#include "userspace/base/log.h"
#include "userspace/base/macros.h"
#include "userspace/base/regular.h"
#include "userspace/base/replace.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

/* Of the file system, which holds the file and the next one that is written beside it. */
#define ASIDE_OCTETS "512k"
#define KEYS_MAX     65536 /* octets of the file, as upstream_conf.c reads it */

/* @return a folder in memory, as a descriptor; negative errno. */
static int folder_in_memory(void)
{
	_cleanup_close_ int fs = fsopen("tmpfs", FSOPEN_CLOEXEC);
	int fd;

	if (fs < 0 || fsconfig(fs, FSCONFIG_SET_STRING, "mode", "0700", 0) ||
	    fsconfig(fs, FSCONFIG_SET_STRING, "size", ASIDE_OCTETS, 0) ||
	    fsconfig(fs, FSCONFIG_CMD_CREATE, NULL, NULL, 0))
		return -errno;
	fd = fsmount(fs, FSMOUNT_CLOEXEC, MOUNT_ATTR_NOEXEC | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
	return fd < 0 ? -errno : fd;
}

static int copy(const char *from, const char *to)
{
	char text[KEYS_MAX];
	ssize_t n = wm_regular_read(from, text, sizeof(text));

	if (n >= 0 && (size_t)n == sizeof(text))
		n = -EFBIG;
	return n < 0 ? (int)n : wm_file_replace(to, text, (size_t)n, WM_REPLACE_CACHE);
}

int wm_upstream_aside_begin(struct wm_upstream_aside *a, char path[WM_UPSTREAM_ANCHOR_PATH])
{
	int fd = folder_in_memory(), r;

	if (fd < 0)
		return fd;
	snprintf(a->memory, sizeof(a->memory), "/proc/self/fd/%d/keys", fd);
	r = copy(path, a->memory);
	if (r) {
		close(fd);
		return r;
	}
	a->fd = fd;
	memcpy(a->disk, path, sizeof(a->disk));
	snprintf(path, WM_UPSTREAM_ANCHOR_PATH, "%s", a->memory);
	return 0;
}

void wm_upstream_aside_keep(const struct wm_upstream_aside *a)
{
	int r = *a->disk ? copy(a->memory, a->disk) : 0;

	if (r)
		wm_error("dns.trust_anchor", "path=%s text=%s", wm_log_q(a->disk),
			 wm_log_q(wm_err_str(r)));
}

void wm_upstream_aside_end(struct wm_upstream_aside *a)
{
	wm_upstream_aside_keep(a);
	if (*a->disk)
		close(a->fd);
	*a->disk = '\0';
}
