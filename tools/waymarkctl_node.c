/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_node.c - what /etc/resolv.conf is, and who writes it. Known by where a symbolic link
 * leads, by the listener of systemd-resolved, and by what programs write in the first lines. */
#include "waymarkctl_node.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define STUB "127.0.0.53" /* where systemd-resolved listens */
#define HOW  " (docs/dns.md); --force: as a plain file"

const char *ctl_node_owner_str(enum ctl_node_owner o)
{
	static const char *const names[] = {"plain file", "systemd-resolved", "NetworkManager",
					    "not understood"};

	return names[o];
}

/* Whom the file names, the first of them. */
static void read_servers(struct ctl_node *n)
{
	const char *at = n->text.data;

	while (*at && n->servers_count < CTL_NODE_SERVERS_MAX) {
		char line[256];
		size_t len = strcspn(at, "\n");

		snprintf(line, sizeof(line), "%.*s", (int)(len < 255 ? len : 255), at);
		n->servers_count +=
			sscanf(line, " nameserver %63s", n->servers[n->servers_count]) == 1;
		at += len + (at[len] == '\n');
	}
}

/* "../run/x" in /etc is /run/x; by its text alone, as what a link leads to need not be there. */
static bool absolute_of(const char *target, char ret[PATH_MAX])
{
	size_t at = 0;

	if (*target != '/')
		at = (size_t)snprintf(ret, PATH_MAX, "/etc");
	while (*target) {
		size_t len = strcspn(target, "/");

		if (len == 2 && strncmp(target, "..", 2) == 0) {
			while (at && ret[--at] != '/')
				;
		} else if (len && !(len == 1 && *target == '.')) {
			if (at + len + 2 > PATH_MAX)
				return false;
			ret[at++] = '/';
			memcpy(ret + at, target, len);
			at += len;
		}
		target += len + (target[len] == '/');
	}
	ret[at] = '\0';
	return at > 0;
}

static void not_understood(struct ctl_node *n, const char *what, const char *do_what)
{
	n->owner = CTL_NODE_OTHER;
	snprintf(n->why, sizeof(n->why), CTL_NODE_RESOLV " %.250s: %s", what, do_what);
}

/* Of a symbolic link. */
static void owner_by_link(struct ctl_node *n, const char *to)
{
	char what[PATH_MAX + 32];

	if (strcmp(to, "/run/systemd/resolve/stub-resolv.conf") == 0 ||
	    strcmp(to, "/usr/lib/systemd/resolv.conf") == 0 ||
	    strcmp(to, "/lib/systemd/resolv.conf") == 0) {
		n->owner = CTL_NODE_RESOLVED;
	} else if (strncmp(to, "/run/NetworkManager/", strlen("/run/NetworkManager/")) == 0) {
		n->owner = CTL_NODE_NETWORK_MANAGER;
	} else if (strncmp(to, "/run/systemd/resolve/", strlen("/run/systemd/resolve/")) == 0) {
		not_understood(n, "lists the servers that systemd-resolved has, not itself",
			       "link it to /run/systemd/resolve/stub-resolv.conf first");
	} else {
		snprintf(what, sizeof(what), "is a link to %s", to);
		if (strncmp(to, "/run/", 5) == 0)
			not_understood(n, what,
				       "some program writes that; name the agent in its "
				       "configuration" HOW);
	}
}

/* Of the first lines: who writes a file says so there. */
static void owner_by_text(struct ctl_node *n)
{
	static const char *const signs[] = {"enerated by", "utomatically generated", "do not edit",
					    "DO NOT EDIT", "ill be overwritten",     "managed by",
					    "anaged by",   "resolv.conf from "};
	const char *text = n->before.data;
	char line[128];
	size_t len;

	for (; *text == '#' || *text == ';' || *text == '\n'; text += len + (text[len] == '\n')) {
		len = strcspn(text, "\n");
		snprintf(line, sizeof(line), "%.*s", (int)(len < 100 ? len : 100), text);
		if (strstr(line, "NetworkManager")) {
			n->owner = CTL_NODE_NETWORK_MANAGER;
			return;
		}
		for (size_t i = 0; i < sizeof(signs) / sizeof(*signs); i++) {
			if (strstr(line, signs[i])) {
				char what[160];

				snprintf(what, sizeof(what), "says '%s'", line);
				not_understood(n, what,
					       "what writes it would write over it; name the agent "
					       "there" HOW);
				return;
			}
		}
	}
}

/* Text and kind of the file at @p path, of one that is a link through it. */
static int look_at(struct ctl_node *n, const char *path, struct wm_buf *to, char link[PATH_MAX])
{
	char target[PATH_MAX];
	ssize_t len = readlinkat(n->root, path + 1, target, sizeof(target) - 1);

	*link = '\0';
	if (len < 0)
		return errno == EINVAL ? ctl_node_read(n->root, path, to) : -errno;
	target[len] = '\0';
	return absolute_of(target, link) ? ctl_node_read(n->root, link, to) : -EINVAL;
}

static bool is_same(const struct ctl_node *n)
{
	struct stat a, b;

	return !fstatat(n->root, &CTL_NODE_RESOLV[1], &a, AT_SYMLINK_NOFOLLOW) &&
	       !fstatat(n->root, &CTL_NODE_KEPT[1], &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static void find_owner(struct ctl_node *n, const char *link)
{
	if (n->missing)
		not_understood(n, "is not there", "write one first");
	else if (*link)
		owner_by_link(n, link);
	else
		owner_by_text(n);
	if (n->owner == CTL_NODE_PLAIN && !n->ours && n->servers_count == 1 &&
	    strcmp(n->servers[0], STUB) == 0)
		n->owner = CTL_NODE_RESOLVED;
}

/* Of ours: the one before, and who wrote it. */
static int look_before(struct ctl_node *n)
{
	char link[PATH_MAX] = "";
	int r = n->kept ? look_at(n, CTL_NODE_KEPT, &n->before, link) : -ENOENT;

	if (r == -ENOENT)
		r = wm_buf_puts(&n->before, "") ? 0 : -ENOMEM;
	if (!r && n->kept)
		find_owner(n, link);
	return r;
}

int ctl_node_look(const char *root, struct ctl_node *ret)
{
	char link[PATH_MAX];
	struct stat st;
	int r;

	memset(ret, 0, sizeof(*ret));
	wm_buf_init(&ret->text, CTL_NODE_FILE_MAX);
	wm_buf_init(&ret->before, CTL_NODE_FILE_MAX);
	ret->real = strcmp(root, "/") == 0;
	ret->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret->root < 0)
		return -errno;
	r = look_at(ret, CTL_NODE_RESOLV, &ret->text, link);
	if (r == -ENOENT) { /* or it is a link, and who writes that file does not run */
		ret->missing = !*link;
		r = wm_buf_puts(&ret->text, "") ? 0 : -ENOMEM;
	}
	if (r)
		return r;
	ret->ours = !*link && ctl_node_sealed(ret->text.data, &ret->edited);
	ret->kept = !fstatat(ret->root, &CTL_NODE_KEPT[1], &st, AT_SYMLINK_NOFOLLOW);
	ret->same = ret->kept && is_same(ret);
	read_servers(ret);
	if (ret->ours)
		return look_before(ret);
	if (!wm_buf_puts(&ret->before, ret->text.data))
		return -ENOMEM;
	find_owner(ret, link);
	return 0;
}

void ctl_node_done(struct ctl_node *n)
{
	wm_buf_done(&n->text);
	wm_buf_done(&n->before);
	if (n->root >= 0)
		close(n->root);
}
