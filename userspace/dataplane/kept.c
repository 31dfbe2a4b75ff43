/* SPDX-License-Identifier: Apache-2.0 */
/* kept.c - maps of the connect programs that are no tables of ours and in no layout: in which they
 * remember whom a client had, and of the cgroups that are left alone. Each lives as long as a
 * program that has it, and the next run of the agent takes it over from the programs that it finds
 * attached. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"
#include "waymark/affinity.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

const struct wm_kept_map wm_kept_maps[WM_KEPT_COUNT] = {
	[WM_KEPT_AFFINITY] = {"affinity", BPF_MAP_TYPE_LRU_HASH, sizeof(struct wm_affinity_key),
			      sizeof(struct wm_affinity), WM_AFFINITY_MAX, 0},
	[WM_KEPT_LEFT_OUT] = {"left_out", BPF_MAP_TYPE_HASH, sizeof(uint64_t), sizeof(uint32_t),
			      WM_LEFT_OUT_MAX, BPF_F_NO_PREALLOC},
};

struct search {
	const struct wm_kept_map *map;
	int fd; /* -1: not found yet */
};

static bool is_ours(const void *arg, const struct bpf_map_info *info)
{
	const struct wm_kept_map *m = arg;

	return info->type == m->type && !strcmp(info->name, m->name) &&
	       info->max_entries == m->entries && info->key_size == m->key_size &&
	       info->value_size == m->value_size;
}

/* The map among those of the program of a link to a cgroup. @return fd, -ENOENT. */
static int of_link(const struct wm_kept_map *m, int link)
{
	struct bpf_link_info info = {0};
	uint32_t len = sizeof(info);
	_cleanup_close_ int fd = -1;

	if (bpf_obj_get_info_by_fd(link, &info, &len) || info.type != BPF_LINK_TYPE_CGROUP)
		return -ENOENT;
	fd = bpf_prog_get_fd_by_id(info.prog_id);
	return fd < 0 ? -ENOENT : wm_prog_map(fd, is_ours, m);
}

static int look(void *arg, const char *path, const char *name)
{
	struct search *x = arg;
	int link;

	(void)name;
	if (x->fd >= 0)
		return 0;
	link = bpf_obj_get(path);
	if (link < 0)
		return 0;
	x->fd = of_link(x->map, link);
	close(link);
	return 0;
}

/* From the object of the maps, which has the types of key and value. @return fd, negative errno. */
static int create(const struct wm_kept_map *m)
{
	struct bpf_object *o = wm_maps_object();
	struct bpf_map *i, *wanted;
	int r;

	if (!o)
		return -ENOENT;
	wanted = bpf_object__find_map_by_name(o, m->name);
	bpf_object__for_each_map(i, o) bpf_map__set_autocreate(i, i == wanted);
	r = wanted ? bpf_object__load(o) : -ENOENT;
	if (!r) {
		r = fcntl(bpf_map__fd(wanted), F_DUPFD_CLOEXEC, 3);
		r = r < 0 ? -errno : r;
	}
	bpf_object__close(o);
	return r;
}

int wm_kept_open(const char *pin_dir, const struct wm_kept_map *m)
{
	struct search x = {m, -1};

	(void)wm_pins_each(pin_dir, "links", look, &x);
	return x.fd < 0 ? create(m) : x.fd;
}
