/* SPDX-License-Identifier: Apache-2.0 */
/* pins.c - the pin directory: on a bpffs, owned by one process, put right after a crash. */
#include "userspace/dataplane/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BPFFS	   "/sys/fs/bpf" /* where systemd mounts one */
#define LOCK_TRIES 3		 /* the directory may be removed between opening and locking it */

bool wm_pins_is_bpffs(const char *path)
{
	struct statfs fs;

	return statfs(path, &fs) == 0 && (uint32_t)fs.f_type == BPF_FS_MAGIC;
}

int wm_pins_path(char *buf, const char *pin_dir, const char *dir, const char *name)
{
	int n = snprintf(buf, WM_PIN_PATH_MAX, "%s/%s%s%s", pin_dir, dir, name ? "/" : "",
			 name ? name : "");

	return n < 0 || n >= WM_PIN_PATH_MAX ? -ENAMETOOLONG : 0;
}

bool wm_pins_exists(const char *pin_dir, const char *dir)
{
	char path[WM_PIN_PATH_MAX];
	struct stat st;

	return !wm_pins_path(path, pin_dir, dir, NULL) && lstat(path, &st) == 0;
}

static bool is_empty(const char *path)
{
	DIR *d = opendir(path);
	const struct dirent *entry;
	bool empty = d != NULL;

	while (empty && (entry = readdir(d)))
		empty = entry->d_name[0] == '.';
	if (d)
		closedir(d);
	return empty;
}

int wm_pins_check_place(const char *pin_dir, struct wm_err *e)
{
	char copy[WM_PIN_DIR_MAX];
	const char *parent;

	if (!pin_dir || pin_dir[0] != '/' || strlen(pin_dir) >= WM_PIN_DIR_MAX)
		return wm_err_set(e, -EINVAL,
				  "pin directory must be an absolute path below %d octets",
				  WM_PIN_DIR_MAX);
	snprintf(copy, sizeof(copy), "%s", pin_dir);
	parent = dirname(copy);
	if (access(parent, F_OK) < 0)
		return wm_err_set(e, -ENOENT,
				  "%s does not exist; it must lie on a bpffs, such as %s", parent,
				  BPFFS);
	if (wm_pins_is_bpffs(parent))
		return 0;
	/* never to hide what a directory holds: only the usual place is worth a mount */
	if (strcmp(parent, BPFFS) == 0 && is_empty(parent))
		return wm_err_set(e, -ENODEV, "%s is not a bpffs: mount -t bpf bpf %s", parent,
				  BPFFS);
	return wm_err_set(e, -ENODEV,
			  "%s is not a bpffs: set kernel.pin_dir to a directory below %s", parent,
			  BPFFS);
}

/* Lock the directory itself: the lock lives exactly as long as the process and needs no file.
 * @return 0, -EAGAIN when the directory was removed meanwhile, negative errno. */
static int own_dir(int fd, const char *pin_dir, struct wm_err *e)
{
	struct stat now, ours;

	if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
		if (errno == EWOULDBLOCK)
			return wm_err_set(e, -EBUSY, "%s is in use by another running agent",
					  pin_dir);
		return wm_err_set(e, -errno, "locking %s: %s", pin_dir, strerror(errno));
	}
	if (fstat(fd, &ours) < 0 || lstat(pin_dir, &now) < 0 || now.st_ino != ours.st_ino)
		return -EAGAIN;
	if (ours.st_uid != geteuid())
		return wm_err_set(e, -EPERM, "%s belongs to another user (%u)", pin_dir,
				  (unsigned)ours.st_uid);
	if ((ours.st_mode & 077) && fchmod(fd, 0700) < 0)
		return wm_err_set(e, -errno, "closing %s to others: %s", pin_dir, strerror(errno));
	return 0;
}

bool wm_pins_held(const char *pin_dir)
{
	int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
	bool held = fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK;

	if (fd >= 0)
		close(fd);
	return held;
}

static int lock_dir(const char *pin_dir, struct wm_err *e)
{
	int fd = open(pin_dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC), r;

	if (fd < 0)
		return errno == ENOENT ? -EAGAIN
				       : wm_err_set(e, -errno, "%s: %s", pin_dir, strerror(errno));
	r = own_dir(fd, pin_dir, e);
	if (!r)
		return fd;
	close(fd);
	return r;
}

int wm_pins_open(const char *pin_dir, struct wm_err *e)
{
	int r = wm_pins_check_place(pin_dir, e);

	if (r)
		return r;
	for (int i = 0; i < LOCK_TRIES; i++) {
		if (mkdir(pin_dir, 0700) < 0 && errno != EEXIST)
			return wm_err_set(
				e, -errno,
				"making %s: %s (bpffs refuses names with a dot, AppArmor's "
				"profile of containers writes below /sys/fs)",
				pin_dir, strerror(errno));
		r = lock_dir(pin_dir, e);
		if (r != -EAGAIN)
			return r;
	}
	return wm_err_set(e, -EBUSY, "%s is being removed by another process", pin_dir);
}

bool wm_pins_owned(int lock_fd, const char *pin_dir)
{
	struct stat now, ours;

	return fstat(lock_fd, &ours) == 0 && lstat(pin_dir, &now) == 0 &&
	       now.st_ino == ours.st_ino && now.st_dev == ours.st_dev;
}

int wm_pins_each(const char *pin_dir, const char *dir,
		 int (*fn)(void *arg, const char *path, const char *name), void *arg)
{
	char path[WM_PIN_PATH_MAX];
	struct dirent *d;
	DIR *list;
	int r = wm_pins_path(path, pin_dir, dir, NULL), sum = 0;

	if (r)
		return r;
	list = opendir(path);
	if (!list)
		return errno == ENOENT ? 0 : -errno;
	while (sum >= 0 && (d = readdir(list))) {
		if (d->d_name[0] == '.')
			continue;
		r = wm_pins_path(path, pin_dir, dir, d->d_name);
		if (!r)
			r = fn(arg, path, d->d_name);
		sum = r < 0 ? r : sum + r;
	}
	closedir(list);
	return sum;
}

static int remove_one(void *arg, const char *path, const char *name)
{
	(void)arg;
	(void)name;
	if (unlink(path) < 0 && errno != ENOENT)
		return -errno;
	return 1;
}

int wm_pins_remove_dir(const char *pin_dir, const char *dir)
{
	char path[WM_PIN_PATH_MAX];
	int n = wm_pins_each(pin_dir, dir, remove_one, NULL), r;

	if (n < 0)
		return n;
	r = wm_pins_path(path, pin_dir, dir, NULL);
	if (r)
		return r;
	if (rmdir(path) < 0 && errno != ENOENT)
		return -errno;
	return n;
}

static int rename_dir(const char *pin_dir, const char *from, const char *to)
{
	char a[WM_PIN_PATH_MAX], b[WM_PIN_PATH_MAX];
	int r = wm_pins_path(a, pin_dir, from, NULL);

	if (!r)
		r = wm_pins_path(b, pin_dir, to, NULL);
	if (r)
		return r;
	return rename(a, b) < 0 ? -errno : 0;
}

int wm_pins_publish_new(const char *pin_dir)
{
	int r;

	if (wm_pins_exists(pin_dir, "maps")) {
		r = rename_dir(pin_dir, "maps", "old");
		if (r)
			return r;
	}
	r = rename_dir(pin_dir, "new", "maps");
	if (r)
		return r;
	r = wm_pins_remove_dir(pin_dir, "old");
	return r < 0 ? r : 0;
}

static int remove_unfinished(void *arg, const char *path, const char *name)
{
	(void)arg;
	return name[strlen(name) - 1] == '~' ? remove_one(NULL, path, name) : 0;
}

int wm_pins_recover(const char *pin_dir)
{
	int r;

	/* old/ exists only while new/ takes the place of maps/, when every link uses new/ already.
	 */
	if (wm_pins_exists(pin_dir, "old")) {
		if (!wm_pins_exists(pin_dir, "maps")) {
			r = rename_dir(pin_dir, wm_pins_exists(pin_dir, "new") ? "new" : "old",
				       "maps");
			if (r)
				return r;
		}
		r = wm_pins_remove_dir(pin_dir, "old");
		if (r < 0)
			return r;
	}
	/* A link that did not get its name serves nobody: the one with the name is still in place.
	 */
	r = wm_pins_each(pin_dir, "links", remove_unfinished, NULL);
	if (r >= 0)
		r = wm_pins_each(pin_dir, "clsact", remove_unfinished, NULL);
	return r < 0 ? r : 0;
}
