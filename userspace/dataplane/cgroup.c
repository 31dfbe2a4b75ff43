/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.c - find the cgroup2 mount (it may stand beside v1) and check a configured directory. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#define SEARCH_MAX    16384 /* cgroups that are looked at for one, some 5 us each */
#define FILEID_KERNFS 0xfe  /* type of the handles of cgroup directories, <linux/exportfs.h> */

/* mountinfo writes space, tab, newline and backslash as \ooo. */
static void unescape(char *s)
{
	char *to = s;

	while (*s) {
		if (s[0] == '\\' && s[1] >= '0' && s[1] <= '3' && s[2] >= '0' && s[2] <= '7' &&
		    s[3] >= '0' && s[3] <= '7') {
			*to++ = (char)((s[1] - '0') << 6 | (s[2] - '0') << 3 | (s[3] - '0'));
			s += 4;
		} else {
			*to++ = *s++;
		}
	}
	*to = 0;
}

/* "36 35 98:0 /root /mount/point rw,relatime shared:1 - cgroup2 cgroup2 rw" */
static char *cgroup2_mount_point(char *line)
{
	char *sep = strstr(line, " - "), *field = line;

	if (!sep || strncmp(sep + 3, "cgroup2 ", 8) != 0)
		return NULL;
	for (int i = 0; i < 4; i++) {
		field = strchr(field, ' ');
		if (!field)
			return NULL;
		field++;
	}
	field[strcspn(field, " ")] = 0;
	unescape(field);
	return field;
}

int wm_cgroup_root(char *buf, size_t cap)
{
	char *line = NULL, *point = NULL;
	size_t line_cap = 0;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	int r = -ENOENT;

	if (!f)
		return -errno;
	while (!point && getline(&line, &line_cap, f) > 0)
		point = cgroup2_mount_point(line);
	if (point) {
		r = -ENAMETOOLONG;
		if (strlen(point) < cap) {
			memcpy(buf, point, strlen(point) + 1);
			r = 0;
		}
	}
	free(line);
	fclose(f);
	return r;
}

bool wm_cgroup_is_private(const char *path)
{
	char root[WM_PIN_PATH_MAX], type[WM_PIN_PATH_MAX + 16];

	/* cgroup.type is a file of every cgroup but the machine's root: cgroup-v2.rst */
	snprintf(type, sizeof(type), "%s/cgroup.type", path);
	return !wm_cgroup_root(root, sizeof(root)) && !strcmp(root, path) && !access(type, F_OK);
}

/* @return 0, -EINVAL: on no cgroup2, negative errno. */
static int cgroup_id(int fd, uint64_t *ret_id)
{
	struct {
		struct file_handle head;
		uint64_t id; /* kernfs handles are the 64-bit id that bpf_link_info shows */
	} handle = {.head.handle_bytes = sizeof(uint64_t)};
	struct statfs fs;
	int mount_id;

	if (fstatfs(fd, &fs) < 0)
		return -errno;
	if (fs.f_type != CGROUP2_SUPER_MAGIC)
		return -EINVAL;
	if (name_to_handle_at(fd, "", &handle.head, &mount_id, AT_EMPTY_PATH) < 0)
		return -errno;
	memcpy(ret_id, handle.head.f_handle, sizeof(*ret_id));
	return 0;
}

int wm_cgroup_open(const char *path, uint64_t *ret_id)
{
	int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r;

	if (fd < 0)
		return -errno;
	r = cgroup_id(fd, ret_id);
	if (!r)
		return fd;
	close(fd);
	return r;
}

/* The directory below @p path whose id it is; @p path becomes it. @p left: how many are looked at.
 */
static bool search(uint64_t id, char *path, size_t cap, unsigned *left)
{
	size_t len = strlen(path);
	DIR *d = opendir(path);
	struct dirent *e;
	bool found = false;

	while (d && !found && *left && (e = readdir(d))) {
		if (e->d_type != DT_DIR || *e->d_name == '.' ||
		    (size_t)snprintf(path + len, cap - len, "/%s", e->d_name) >= cap - len)
			continue;
		--*left;
		/* the inode's number is the id: cgroup_id() in the kernel */
		found = e->d_ino == id || search(id, path, cap, left);
	}
	if (!found)
		path[len] = '\0';
	if (d)
		closedir(d);
	return found;
}

int wm_cgroup_path(uint64_t id, char *buf, size_t cap)
{
	struct {
		struct file_handle head;
		uint64_t id;
	} handle = {.head.handle_bytes = sizeof(id), .head.handle_type = FILEID_KERNFS, .id = id};
	char root[WM_PIN_PATH_MAX], proc[32];
	unsigned left = SEARCH_MAX;
	_cleanup_close_ int mount_fd = -1, fd = -1;
	ssize_t n;
	int r = wm_cgroup_root(root, sizeof(root));

	if (r)
		return r;
	mount_fd = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	fd = mount_fd < 0 ? -1
			  : open_by_handle_at(mount_fd, &handle.head,
					      O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0 && errno == EPERM && mount_fd >= 0 && strlen(root) < cap) {
		/* a container without CAP_DAC_READ_SEARCH */
		strcpy(buf, root);
		return search(id, buf, cap, &left) ? 0 : -ENOENT;
	}
	if (fd < 0)
		return -errno;
	snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
	n = readlink(proc, buf, cap - 1);
	if (n < 0)
		return -errno;
	buf[n] = 0;
	return 0;
}
