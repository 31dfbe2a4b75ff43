/* SPDX-License-Identifier: Apache-2.0 */
/* waymarkctl_node_dropin.c - what systemd-resolved and NetworkManager are told, in files of our own
 * beside their configuration, and what that says already. Spec: resolved.conf(5),
 * NetworkManager.conf(5). */
#include "userspace/base/macros.h"
#include "waymarkctl_node.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* Where programs look for settings: a file, and folders of files. */
struct places {
	const char *file, *folders[3];
};
static const struct places of_resolved = {"/etc/systemd/resolved.conf",
					  {"/etc/systemd/resolved.conf.d",
					   "/run/systemd/resolved.conf.d",
					   "/usr/lib/systemd/resolved.conf.d"}};
static const struct places of_network_manager = {"/etc/NetworkManager/NetworkManager.conf",
						 {"/etc/NetworkManager/conf.d",
						  "/run/NetworkManager/conf.d",
						  "/usr/lib/NetworkManager/conf.d"}};

/* --- settings of others ----------------------------------------------------------------------- */
struct setting {
	const char *section, *key; /* "[Resolve]", "DNS" */
	char value[128];	   /* the first that is not empty; "": none */
	char file[PATH_MAX];	   /* that has it */
};

static void find_in(const char *text, struct setting *s)
{
	bool within = false;
	char line[512];
	size_t len;

	for (; *text; text += len + (text[len] == '\n')) {
		char *at = line, *value;

		len = strcspn(text, "\n");
		snprintf(line, sizeof(line), "%.*s", (int)(len < 500 ? len : 500), text);
		at += strspn(at, " \t");
		at[strcspn(at, "\r")] = '\0';
		if (*at == '[') {
			within = strncmp(at, s->section, strlen(s->section)) == 0;
			continue;
		}
		value = strchr(at, '=');
		if (!within || !value || strncmp(at, s->key, strlen(s->key)) != 0 ||
		    strspn(at + strlen(s->key), " \t") != (size_t)(value - at) - strlen(s->key))
			continue;
		value += 1 + strspn(value + 1, " \t");
		if (*value && !*s->value)
			snprintf(s->value, sizeof(s->value), "%.127s", value);
	}
}

static int find_at(int root, const char *path, struct setting *s)
{
	struct wm_buf b;
	int r;

	wm_buf_init(&b, CTL_NODE_FILE_MAX);
	r = ctl_node_read(root, path, &b);
	if (!r)
		find_in(b.data, s);
	wm_buf_done(&b);
	return r == -ENOENT ? 0 : r;
}

static int find_in_folder(int root, const char *folder, const char *but, struct setting *s)
{
	int fd = openat(root, folder + 1, O_RDONLY | O_DIRECTORY | O_CLOEXEC), r = 0;
	DIR *d = fd < 0 ? NULL : fdopendir(fd);
	struct dirent *e;
	size_t len;

	if (!d) {
		r = -errno;
		if (fd >= 0)
			close(fd);
		return r == -ENOENT ? 0 : r;
	}
	while (!r && !*s->value && (e = readdir(d))) {
		len = strlen(e->d_name);
		snprintf(s->file, sizeof(s->file), "%s/%s", folder, e->d_name);
		if (len > 5 && strcmp(e->d_name + len - 5, ".conf") == 0 &&
		    strcmp(s->file, but) != 0)
			r = find_at(root, s->file, s);
	}
	closedir(d);
	return r;
}

/* @param but our own file. @return 0, negative errno: s->file cannot be read. */
static int find(int root, const struct places *p, const char *but, struct setting *s)
{
	int r;

	snprintf(s->file, sizeof(s->file), "%s", p->file);
	r = find_at(root, p->file, s);
	for (size_t i = 0; !r && !*s->value && i < WM_ARRAY_LEN(p->folders); i++)
		r = find_in_folder(root, p->folders[i], but, s);
	return r;
}

/* @param r of find(). @return false with n->why. */
static bool said(struct ctl_node *n, const struct setting *s, int r, const char *then)
{
	n->owner = CTL_NODE_OTHER;
	if (r)
		snprintf(n->why, sizeof(n->why), "%.300s cannot be read", s->file);
	else
		snprintf(n->why, sizeof(n->why), "%.200s has %s=%.60s: %s", s->file, s->key,
			 s->value, then);
	return false;
}

bool ctl_node_resolved_free(struct ctl_node *n)
{
	struct setting s = {"[Resolve]", "DNS", "", ""};
	int r = find(n->root, &of_resolved, CTL_NODE_RESOLVED_FILE, &s);

	if (!r && !*s.value)
		return true;
	return said(n, &s, r, "names of ours would be asked there, too; --only, or take that out");
}

bool ctl_node_network_manager_free(struct ctl_node *n)
{
	struct setting s = {"[main]", "dns", "", ""};
	int r = find(n->root, &of_network_manager, CTL_NODE_MANAGER_FILE, &s);

	if (!r && (!*s.value || strcmp(s.value, "default") == 0 || strcmp(s.value, "none") == 0))
		return true;
	return said(n, &s, r,
		    "a resolver of its own stands between; name the agent there (docs/dns.md)");
}

/* --- files of ours ---------------------------------------------------------------------------- */
int ctl_node_dropin_look(const struct ctl_node *n, const char *path, struct ctl_dropin *ret)
{
	int r;

	*ret = (struct ctl_dropin){.path = path};
	wm_buf_init(&ret->text, CTL_NODE_FILE_MAX);
	r = ctl_node_read(n->root, path, &ret->text);
	ret->there = !r;
	ret->ours = !r && ctl_node_sealed(ret->text.data, &ret->edited);
	return r == -ENOENT ? 0 : r;
}

int ctl_node_dropin_write(const struct ctl_node *n, struct ctl_dropin *d, struct wm_buf *text,
			  bool *changed)
{
	if (text->failed || !ctl_node_seal(text))
		return -ENOMEM;
	if (d->there && strcmp(d->text.data, text->data) == 0)
		return 0;
	*changed = true;
	return ctl_node_write(n->root, d->path, text->data);
}

int ctl_node_reload(const struct ctl_node *n, const char *unit)
{
	char systemctl[] = "systemctl", verb[] = "try-reload-or-restart", name[64];
	char *const argv[] = {systemctl, verb, name, NULL};
	int status;
	pid_t pid;

	if (!n->real || access("/run/systemd/system", F_OK))
		return 1;
	snprintf(name, sizeof(name), "%s", unit);
	fflush(NULL);
	pid = fork();
	if (pid == 0) {
		execvp(argv[0], argv);
		_exit(127);
	}
	if (pid < 0)
		return -errno;
	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			return -errno;
	return WIFEXITED(status) && !WEXITSTATUS(status) ? 0 : -EIO;
}
