/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_node.c - what /etc/resolv.conf is, and who writes it. Known by where a symbolic link
 * leads, by the listener of systemd-resolved, and by what programs write in the first lines. */
#include "waymarkctl_node.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define STUB	  "127.0.0.53" /* where systemd-resolved listens */
#define LINKS_MAX 40	       /* as the kernel follows: MAXSYMLINKS */
#define HOW	  " (docs/dns.md); --force: as a plain file"

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

/* Go from the link @p at to where it leads, "../run/x" in /etc to /run/x; by its text alone, as
 * what it leads to need not be there. @return false: it is too long, or the root itself. */
static bool follow(char at[PATH_MAX], const char *target)
{
	size_t len = *target == '/' ? 0 : (size_t)(strrchr(at, '/') - at);

	while (*target) {
		size_t word = strcspn(target, "/");

		if (word == 2 && strncmp(target, "..", 2) == 0) {
			while (len && at[--len] != '/')
				;
		} else if (word && !(word == 1 && *target == '.')) {
			if (len + word + 2 > PATH_MAX)
				return false;
			at[len++] = '/';
			memcpy(at + len, target, word);
			len += word;
		}
		target += word + (target[word] == '/');
	}
	at[len] = '\0';
	return len > 0;
}

static void not_understood(struct ctl_node *n, const char *what, const char *do_what)
{
	n->owner = CTL_NODE_OTHER;
	snprintf(n->why, sizeof(n->why), CTL_NODE_RESOLV " %.250s: %s", what, do_what);
}

/* Of a symbolic link, and of each that it leads to: one of another program may lead elsewhere
 * tomorrow. */
static void owner_by_link(struct ctl_node *n, const char *to)
{
	char what[PATH_MAX + 32];

	if (n->owner == CTL_NODE_OTHER)
		return;
	if (strcmp(to, "/run/systemd/resolve/stub-resolv.conf") == 0 ||
	    strcmp(to, "/usr/lib/systemd/resolv.conf") == 0 ||
	    strcmp(to, "/lib/systemd/resolv.conf") == 0) {
		n->owner = CTL_NODE_RESOLVED;
	} else if (strncmp(to, "/run/NetworkManager/", strlen("/run/NetworkManager/")) == 0) {
		n->owner = CTL_NODE_NETWORK_MANAGER;
	} else if (strncmp(to, "/run/systemd/resolve/", strlen("/run/systemd/resolve/")) == 0) {
		not_understood(n, "lists the servers that systemd-resolved has, not itself",
			       n->owner == CTL_NODE_RESOLVED
				       ? "its listener is off: DNSStubListener=yes first"
				       : "link it to /run/systemd/resolve/stub-resolv.conf first");
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

/* Text and kind of the file at @p path, of one that is a link through it and those that follow. */
static int look_at(struct ctl_node *n, const char *path, struct wm_buf *to, bool *is_link)
{
	char at[PATH_MAX], target[PATH_MAX];
	ssize_t len;

	snprintf(at, sizeof(at), "%s", path);
	*is_link = false;
	for (unsigned links = 0; links <= LINKS_MAX; links++) {
		len = readlinkat(n->root, at + 1, target, sizeof(target) - 1);
		if (len < 0)
			return errno == EINVAL ? ctl_node_read(n->root, at, to) : -errno;
		target[len] = '\0';
		*is_link = true;
		if (!follow(at, target))
			return -EINVAL;
		owner_by_link(n, strncmp(at, "/var/run/", strlen("/var/run/")) ? at : at + 4);
	}
	return -ELOOP;
}

static bool is_same(const struct ctl_node *n)
{
	struct stat a, b;

	return !fstatat(n->root, &CTL_NODE_RESOLV[1], &a, AT_SYMLINK_NOFOLLOW) &&
	       !fstatat(n->root, &CTL_NODE_KEPT[1], &b, AT_SYMLINK_NOFOLLOW) &&
	       a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

/* The links that lead there were looked at. */
static void find_owner(struct ctl_node *n)
{
	if (n->missing)
		not_understood(n, "is not there",
			       n->kept ? "dns disable puts back the one before"
				       : "write one first");
	else if (n->owner == CTL_NODE_PLAIN)
		owner_by_text(n);
	if (n->owner == CTL_NODE_PLAIN && !n->ours && n->servers_count == 1 &&
	    strcmp(n->servers[0], STUB) == 0)
		n->owner = CTL_NODE_RESOLVED;
}

/* Of ours, also where that was taken away: the one before, and who wrote it. */
static int look_before(struct ctl_node *n)
{
	bool is_link;
	int r = n->kept ? look_at(n, CTL_NODE_KEPT, &n->before, &is_link) : -ENOENT;

	if (r == -ENOENT) /* what of it is in ours stays */
		r = wm_buf_puts(&n->before, n->text.data) ? 0 : -ENOMEM;
	if (!r && n->kept)
		find_owner(n);
	return r;
}

int ctl_node_look(const char *root, bool alone, struct ctl_node *ret)
{
	bool is_link = false;
	struct stat st;
	int r;

	memset(ret, 0, sizeof(*ret));
	wm_buf_init(&ret->text, CTL_NODE_FILE_MAX);
	wm_buf_init(&ret->before, CTL_NODE_FILE_MAX);
	ret->real = strcmp(root, "/") == 0;
	ret->root = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (ret->root < 0)
		return -errno;
	if (alone) /* file systems of a network may know no lock of a folder: as it was without */
		(void)flock(ret->root, LOCK_EX);
	r = look_at(ret, CTL_NODE_RESOLV, &ret->text, &is_link);
	if (r == -ENOENT) { /* or it is a link, and who writes that file does not run */
		ret->missing = !is_link;
		r = wm_buf_puts(&ret->text, "") ? 0 : -ENOMEM;
	}
	if (r)
		return r;
	ret->ours = !is_link && ctl_node_sealed(ret->text.data, &ret->edited);
	ret->kept = !fstatat(ret->root, &CTL_NODE_KEPT[1], &st, AT_SYMLINK_NOFOLLOW);
	ret->same = ret->kept && is_same(ret);
	read_servers(ret);
	if (ret->ours || (ret->missing && ret->kept))
		return look_before(ret);
	if (!wm_buf_puts(&ret->before, ret->text.data))
		return -ENOMEM;
	find_owner(ret);
	return 0;
}

void ctl_node_done(struct ctl_node *n)
{
	wm_buf_done(&n->text);
	wm_buf_done(&n->before);
	if (n->root >= 0)
		close(n->root);
}
