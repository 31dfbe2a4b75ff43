/* SPDX-License-Identifier: Apache-2.0 */
/* left_out.c - see left_out.h. The map has the ids; `config` says which levels of the tree have
 * any, so that programs look at nothing else. */
#include "left_out.h"

#include "internal.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATH_ROOM 2048 /* octets: deeper ones are not looked at */

struct walk {
	enum wm_left_out (*is)(void *arg, const char *path);
	void *arg;
	char path[PATH_ROOM];
	size_t root; /* octets of the mount's path */
	uint64_t ids[WM_LEFT_OUT_MAX];
	unsigned count;
	uint32_t levels;
};

static void take(struct walk *w, unsigned level)
{
	int fd;

	if (w->count == WM_LEFT_OUT_MAX)
		return;
	fd = wm_cgroup_open(w->path, &w->ids[w->count]);
	if (fd < 0)
		return; /* it has just gone */
	close(fd);
	w->count++;
	w->levels |= 1u << level;
}

/* Those in the directory of w->path, which lie @p level below the root. */
static void look(struct walk *w, unsigned level)
{
	size_t len = strlen(w->path), room = sizeof(w->path) - len;
	DIR *d = level <= WM_CONFIG_LEVEL_MAX ? opendir(w->path) : NULL;
	struct dirent *e;

	while (d && (e = readdir(d))) {
		enum wm_left_out is;

		if (e->d_type != DT_DIR || *e->d_name == '.' ||
		    (size_t)snprintf(w->path + len, room, "/%s", e->d_name) >= room)
			continue;
		is = w->is(w->arg, w->path + w->root);
		if (is == WM_LEFT_OUT_TAKE)
			take(w, level);
		else if (is == WM_LEFT_OUT_LOOK)
			look(w, level + 1);
	}
	w->path[len] = '\0';
	if (d)
		closedir(d);
}

static bool has(const struct walk *w, uint64_t id)
{
	for (unsigned n = 0; n < w->count; n++)
		if (w->ids[n] == id)
			return true;
	return false;
}

/* In one pass, which may meet an id twice or miss one when it deletes: the next pass has it. */
static void delete_others(int map, const struct walk *w)
{
	uint64_t at = 0, next;
	bool begun = false;

	for (unsigned n = 0; n <= WM_LEFT_OUT_MAX; n++) {
		bool more = !bpf_map_get_next_key(map, begun ? &at : NULL, &next);

		if (begun && !has(w, at))
			bpf_map_delete_elem(map, &at);
		if (!more)
			return;
		at = next;
		begun = true;
	}
}

static int publish(const struct wm_plane *p, const struct walk *w)
{
	struct wm_config *k = p->mem[WM_MAP_CONFIG];
	uint32_t bits = w->levels << WM_CONFIG_LEVELS_SHIFT, one = 1;
	int map = p->kept_fd[WM_KEPT_LEFT_OUT];

	for (unsigned n = 0; n < w->count; n++)
		if (bpf_map_update_elem(map, &w->ids[n], &one, BPF_ANY))
			return -errno;
	__atomic_or_fetch(&k->flags, bits, __ATOMIC_RELEASE);
	__atomic_and_fetch(&k->flags, ~(WM_CONFIG_LEVELS & ~bits), __ATOMIC_RELEASE);
	delete_others(map, w);
	return (int)w->count;
}

int wm_plane_leave_out(struct wm_plane *p, enum wm_left_out (*is)(void *arg, const char *path),
		       void *arg)
{
	struct walk *w;
	int r;

	if (!p || p->kept_fd[WM_KEPT_LEFT_OUT] < 0 || !p->mem[WM_MAP_CONFIG])
		return -EOPNOTSUPP;
	w = calloc(1, sizeof(*w));
	if (!w)
		return -ENOMEM;
	w->is = is;
	w->arg = arg;
	r = is ? wm_cgroup_root(w->path, sizeof(w->path)) : 0;
	if (!r && is && wm_cgroup_is_private(w->path))
		r = -EOPNOTSUPP;
	w->root = strlen(w->path);
	if (!r && is)
		look(w, 1);
	if (!r)
		r = publish(p, w);
	free(w);
	return r;
}
