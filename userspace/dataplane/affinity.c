/* SPDX-License-Identifier: Apache-2.0 */
/* affinity.c - the map in which the connect programs remember whom a client had. It is no table of
 * ours and in no layout: it lives as long as a program that has it, and the next run of the agent
 * takes it over from the programs that it finds attached. */
#include "waymark/affinity.h"

#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define NAME	 "affinity"
#define MAPS_MAX 64 /* of a program: ours have a dozen */

static bool is_ours(int fd)
{
	struct bpf_map_info info = {0};
	uint32_t len = sizeof(info);

	return !bpf_obj_get_info_by_fd(fd, &info, &len) && info.type == BPF_MAP_TYPE_LRU_HASH &&
	       !strcmp(info.name, NAME) && info.max_entries == WM_AFFINITY_MAX &&
	       info.key_size == sizeof(struct wm_affinity_key) &&
	       info.value_size == sizeof(struct wm_affinity);
}

/* The map among those of the program of a link. @return fd, -ENOENT. */
static int of_link(int link)
{
	uint32_t ids[MAPS_MAX], link_len, len;
	struct bpf_prog_info prog = {.nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)ids};
	struct bpf_link_info info = {0};
	_cleanup_close_ int fd = -1;
	int map;

	link_len = sizeof(info);
	len = sizeof(prog);
	if (bpf_obj_get_info_by_fd(link, &info, &link_len))
		return -ENOENT;
	fd = bpf_prog_get_fd_by_id(info.prog_id);
	if (fd < 0 || bpf_obj_get_info_by_fd(fd, &prog, &len))
		return -ENOENT;
	for (uint32_t i = 0; i < prog.nr_map_ids && i < MAPS_MAX; i++) {
		map = bpf_map_get_fd_by_id(ids[i]);
		if (map >= 0 && is_ours(map))
			return map;
		if (map >= 0)
			close(map);
	}
	return -ENOENT;
}

static int look(void *arg, const char *path, const char *name)
{
	int *found = arg, link;

	(void)name;
	if (*found >= 0)
		return 0;
	link = bpf_obj_get(path);
	if (link < 0)
		return 0;
	*found = of_link(link);
	close(link);
	return 0;
}

int wm_affinity_open(const char *pin_dir)
{
	int fd = -1;

	(void)wm_pins_each(pin_dir, "links", look, &fd);
	if (fd < 0)
		fd = bpf_map_create(BPF_MAP_TYPE_LRU_HASH, NAME, sizeof(struct wm_affinity_key),
				    sizeof(struct wm_affinity), WM_AFFINITY_MAX, NULL);
	return fd;
}
