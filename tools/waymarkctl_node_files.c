/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_node_files.c - files of the node that dns enable writes: replaced whole, restored as
 * they were. A crash between any two calls leaves the file before or the one after. */
#include "userspace/base/hash.h"
#include "userspace/base/macros.h"
#include "waymarkctl_node.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SEAL_HEAD "# waymarkctl dns enable wrote this ("
#define SEAL_TAIL "); waymarkctl dns disable takes it back\n"
#define SUFFIX	  ".waymark-new" /* of a file that is not whole yet */
#define ASIDE	  ".waymark-old" /* of one that its program may still go by */

/* Paths are as the node has them: from its root. */
static const char *below(const char *path)
{
	return path + 1;
}

int ctl_node_read(int root, const char *path, struct wm_buf *to)
{
	_cleanup_close_ int fd =
		openat(root, below(path), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
	struct stat st;
	char part[4096];
	ssize_t n;

	if (fd < 0 || fstat(fd, &st))
		return -errno;
	if (!S_ISREG(st.st_mode))
		return -EINVAL;
	while ((n = read(fd, part, sizeof(part))) > 0)
		if (!wm_buf_put(to, part, (size_t)n))
			return -EFBIG;
	return n < 0 ? -errno : wm_buf_puts(to, "") ? 0 : -ENOMEM;
}

bool ctl_node_seal(struct wm_buf *text)
{
	struct wm_buf sealed;
	bool ok;

	wm_buf_init(&sealed, CTL_NODE_FILE_MAX);
	ok = wm_buf_printf(&sealed, SEAL_HEAD "%016" PRIx64 SEAL_TAIL "%s",
			   wm_hash_stable(text->data, text->len), text->data);
	wm_buf_done(text);
	*text = sealed;
	return ok;
}

bool ctl_node_sealed(const char *text, bool *edited)
{
	const char *tail = text + strlen(SEAL_HEAD) + 16;
	char digest[17];

	*edited = false;
	if (strncmp(text, SEAL_HEAD, strlen(SEAL_HEAD)) != 0)
		return false;
	if (strlen(text) < strlen(SEAL_HEAD) + 16 + strlen(SEAL_TAIL) ||
	    strncmp(tail, SEAL_TAIL, strlen(SEAL_TAIL)) != 0) {
		*edited = true;
		return true;
	}
	tail += strlen(SEAL_TAIL);
	snprintf(digest, sizeof(digest), "%016" PRIx64, wm_hash_stable(tail, strlen(tail)));
	*edited = strncmp(text + strlen(SEAL_HEAD), digest, 16) != 0;
	return true;
}

static int sync_folder(int root, const char *path)
{
	char folder[PATH_MAX];
	_cleanup_close_ int fd = -1;

	snprintf(folder, sizeof(folder), "%.*s", (int)(strrchr(path, '/') - path), path);
	fd = openat(root, *folder ? below(folder) : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	return fd < 0 || fsync(fd) ? -errno : 0;
}

static int write_whole(int fd, const char *text)
{
	size_t len = strlen(text);
	ssize_t n;

	for (; len; text += n, len -= (size_t)n) {
		n = write(fd, text, len);
		if (n < 0)
			return -errno;
	}
	/* for everybody to read, whatever the umask is */
	return fchmod(fd, 0644) || fsync(fd) ? -errno : 0;
}

static int make_folder(int root, const char *path)
{
	char folder[PATH_MAX];

	for (const char *p = strchr(below(path), '/'); p; p = strchr(p + 1, '/')) {
		snprintf(folder, sizeof(folder), "%.*s", (int)(p - path), path);
		if (mkdirat(root, below(folder), 0755) && errno != EEXIST)
			return -errno;
	}
	return 0;
}

/* @p text, whole and on disk, beside what it is to replace; its path into @p fresh. */
static int write_fresh(int root, const char *path, const char *text, char fresh[PATH_MAX])
{
	_cleanup_close_ int fd = -1;
	int r = make_folder(root, path);

	if (r)
		return r;
	snprintf(fresh, PATH_MAX, "%s" SUFFIX, below(path));
	if (unlinkat(root, fresh, 0) && errno != ENOENT)
		return -errno; /* one that was not finished */
	fd = openat(root, fresh, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0644);
	if (fd < 0)
		return -errno;
	r = write_whole(fd, text);
	if (r)
		unlinkat(root, fresh, 0);
	return r;
}

int ctl_node_write(int root, const char *path, const char *text)
{
	char fresh[PATH_MAX];
	int r = write_fresh(root, path, text, fresh);

	if (r)
		return r;
	if (renameat(root, fresh, root, below(path))) {
		r = -errno;
		unlinkat(root, fresh, 0);
		return r;
	}
	return sync_folder(root, path);
}

int ctl_node_remove(int root, const char *path)
{
	if (unlinkat(root, below(path), 0))
		return errno == ENOENT ? 0 : -errno;
	return sync_folder(root, path);
}

void ctl_node_sweep(int root, const char *path)
{
	char fresh[PATH_MAX];

	snprintf(fresh, sizeof(fresh), "%s" SUFFIX, below(path));
	unlinkat(root, fresh, 0);
}

/* --- what its program may still go by --------------------------------------------------------- */
static const char *aside_of(const char *path, char ret[PATH_MAX])
{
	snprintf(ret, PATH_MAX, "%s" ASIDE, below(path));
	return ret;
}

int ctl_node_set_aside(int root, const char *path)
{
	char aside[PATH_MAX];

	if (renameat(root, below(path), root, aside_of(path, aside)))
		return -errno;
	return sync_folder(root, path);
}

bool ctl_node_is_aside(int root, const char *path)
{
	char aside[PATH_MAX];

	return !faccessat(root, aside_of(path, aside), F_OK, AT_SYMLINK_NOFOLLOW);
}

void ctl_node_end_aside(int root, const char *path)
{
	char aside[PATH_MAX];

	unlinkat(root, aside_of(path, aside), 0);
}

/* --- /etc/resolv.conf ------------------------------------------------------------------------- */
/* Give /etc/resolv.conf its other name; what had that before loses it then, and no sooner. Where
 * there is none, an empty one is the same to a libc. */
static int keep(const struct ctl_node *n)
{
	char second[PATH_MAX];

	if (n->missing)
		return ctl_node_write(n->root, CTL_NODE_KEPT, "");
	ctl_node_sweep(n->root, CTL_NODE_KEPT);
	snprintf(second, sizeof(second), "%s" SUFFIX, below(CTL_NODE_KEPT));
	/* a symbolic link is kept as one */
	if (linkat(n->root, below(CTL_NODE_RESOLV), n->root, second, 0))
		return -errno;
	if (renameat(n->root, second, n->root, below(CTL_NODE_KEPT))) {
		int r = -errno;

		ctl_node_sweep(n->root, CTL_NODE_KEPT);
		return r;
	}
	return 0;
}

int ctl_node_take(const struct ctl_node *n, const char *text, const char **ret_path)
{
	/* of one that was taken away the one before is there already */
	bool keeps = !n->ours && !n->same && !(n->missing && n->kept);
	char fresh[PATH_MAX];
	int r = write_fresh(n->root, CTL_NODE_RESOLV, text, fresh);

	*ret_path = CTL_NODE_RESOLV;
	if (r)
		return r;
	if (keeps) {
		*ret_path = CTL_NODE_KEPT;
		r = keep(n);
		if (r)
			goto out;
		r = sync_folder(n->root, CTL_NODE_KEPT);
	}
	if (!r) {
		*ret_path = CTL_NODE_RESOLV;
		r = renameat(n->root, fresh, n->root, below(CTL_NODE_RESOLV)) ? -errno : 0;
	}
	if (!r)
		return sync_folder(n->root, CTL_NODE_RESOLV);
	if (keeps) /* it has its first name still */
		unlinkat(n->root, below(CTL_NODE_KEPT), 0);
out:
	unlinkat(n->root, fresh, 0);
	return r;
}

int ctl_node_restore(const struct ctl_node *n)
{
	if (renameat(n->root, below(CTL_NODE_KEPT), n->root, below(CTL_NODE_RESOLV)))
		return -errno;
	/* of two names of one file none is taken away by that */
	if (n->same)
		return ctl_node_remove(n->root, CTL_NODE_KEPT);
	return sync_folder(n->root, CTL_NODE_RESOLV);
}
