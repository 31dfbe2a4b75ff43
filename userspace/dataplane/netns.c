/* SPDX-License-Identifier: Apache-2.0 */
/* netns.c - the network namespaces beside our own: found by a program that walks the tasks
 * (bpf/netns.bpf.c) and among the mounts, where `ip netns` and container runtimes keep theirs;
 * opened by the mount, or by a task that lives in it. What cannot be opened is counted. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAMESPACES_MAX 1024	   /* visited in one pass; each costs a descriptor meanwhile */
#define TRIES_MAX      8	   /* tasks of a namespace that are tried: they come and go */
#define INITIAL_PIDS   4026531836u /* inode of the pid namespace that sees every task */
#define READ_RECORDS   1024	   /* of a read: 8 KiB of the stack */

static struct wm_netns *find(struct wm_netns_list *l, uint32_t inode)
{
	for (unsigned i = 0; i < l->count; i++)
		if (l->all[i].inode == inode)
			return &l->all[i];
	return NULL;
}

static struct wm_netns *add(struct wm_netns_list *l, uint32_t inode)
{
	struct wm_netns *grown;

	if (l->count == l->cap) {
		unsigned cap = l->cap ? l->cap * 2 : 16;

		grown = l->count < NAMESPACES_MAX ? realloc(l->all, cap * sizeof(*l->all)) : NULL;
		if (!grown)
			return NULL;
		l->all = grown;
		l->cap = cap;
	}
	l->all[l->count] = (struct wm_netns){.inode = inode, .fd = -1, .error = -ENOENT};
	return &l->all[l->count++];
}

/* Tasks go while we look: with its last one a namespace is no obstacle any more. */
static void open_at(struct wm_netns *n, const char *path)
{
	struct stat st;
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0) {
		if (errno != ENOENT && errno != ESRCH)
			n->error = -errno;
		return;
	}
	if (fstat(fd, &st) || st.st_ino != n->inode) { /* the task moved, the mount is hidden */
		close(fd);
		return;
	}
	n->fd = fd;
	n->error = 0;
}

/* Of a line of mountinfo (proc(5)) the fourth field is "net:[<inode>]", the fifth the mount point.
 * @return false: another kind of mount. */
static bool parse_mount(char *line, uint32_t *ret_inode, const char **ret_at)
{
	char *field = line, *save = NULL, *end;
	unsigned long inode;

	for (unsigned i = 0; i < 4; i++)
		field = strtok_r(i ? NULL : line, " ", &save);
	if (!field || strncmp(field, "net:[", 5) != 0)
		return false;
	inode = strtoul(field + 5, &end, 10);
	*ret_inode = (uint32_t)inode;
	*ret_at = strtok_r(NULL, " ", &save);
	return *end == ']' && inode && inode <= UINT32_MAX && *ret_at;
}

static void add_mounts(struct wm_netns_list *l)
{
	char line[1024];
	const char *at;
	struct wm_netns *n;
	FILE *f = fopen("/proc/self/mountinfo", "re");
	uint32_t inode;

	while (f && fgets(line, sizeof(line), f)) {
		if (!parse_mount(line, &inode, &at) || inode == l->own)
			continue;
		n = find(l, inode);
		n = n ? n : add(l, inode);
		if (!n)
			l->unseen++;
		else if (n->fd < 0)
			open_at(n, at);
	}
	if (f)
		fclose(f);
}

static void add_task(struct wm_netns_list *l, uint32_t inode, uint32_t tid)
{
	struct wm_netns *n = find(l, inode);
	char path[64];

	n = n ? n : add(l, inode);
	if (!n) {
		l->unseen++;
		return;
	}
	if (n->fd >= 0 || n->tries++ >= TRIES_MAX)
		return;
	snprintf(path, sizeof(path), "/proc/%u/ns/net", tid);
	open_at(n, path);
}

static int add_tasks(struct wm_netns_list *l, int link_fd)
{
	uint32_t found[READ_RECORDS][2];
	_cleanup_close_ int fd = bpf_iter_create(link_fd);

	if (fd < 0)
		return fd;
	for (;;) {
		ssize_t n = read(fd, found, sizeof(found));

		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			continue;
		if (n <= 0)
			return n < 0 ? -errno : 0;
		for (size_t i = 0; i < (size_t)n / sizeof(*found); i++)
			add_task(l, found[i][0], found[i][1]);
	}
}

void wm_netns_list(struct wm_netns_list *l, int task_link_fd)
{
	struct stat st;
	unsigned kept = 0;
	int r;

	memset(l, 0, sizeof(*l));
	if (stat("/proc/self/ns/net", &st))
		l->error = -errno;
	l->own = (uint32_t)st.st_ino;
	add_mounts(l);
	r = task_link_fd < 0 ? task_link_fd : add_tasks(l, task_link_fd);
	if (!r && !l->error)
		r = stat("/proc/self/ns/pid", &st) ? -errno
						   : (st.st_ino == INITIAL_PIDS ? 0 : -EXDEV);
	l->error = l->error ? l->error : r;
	for (unsigned i = 0; i < l->count; i++) {
		if (l->all[i].fd >= 0) {
			l->all[kept++] = l->all[i];
		} else if (l->all[i].error != -ENOENT) {
			l->unseen++;
			l->unseen_error = l->all[i].error;
		}
	}
	l->count = kept;
}

void wm_netns_list_free(struct wm_netns_list *l)
{
	for (unsigned i = 0; i < l->count; i++)
		close(l->all[i].fd);
	free(l->all);
}
