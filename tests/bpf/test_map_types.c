/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model metadata resolution dataplane */
/* Whoever dumps a map of ours can read it: the kernel has the types of what is in it. */
#include "tests/bpf/plane_fixture.h"
#include "userspace/base/macros.h"

#define MAPS 64

/* What begins with a dot the compiler made of constants. */
static bool has_entries(const struct bpf_map_info *map)
{
	return map->type != BPF_MAP_TYPE_RINGBUF && map->type != BPF_MAP_TYPE_PROG_ARRAY &&
	       map->name[0] != '.';
}

static unsigned see_maps(const struct wm_prog *prog)
{
	uint32_t ids[MAPS], len = sizeof(struct bpf_prog_info);
	struct bpf_prog_info info = {.nr_map_ids = MAPS, .map_ids = (uintptr_t)ids};

	cr_assert_eq(bpf_obj_get_info_by_fd(prog->fd, &info, &len), 0);
	cr_assert_leq(info.nr_map_ids, MAPS);
	for (uint32_t i = 0; i < info.nr_map_ids; i++) {
		_cleanup_close_ int fd = bpf_map_get_fd_by_id(ids[i]);
		struct bpf_map_info map = {0};

		len = sizeof(map);
		cr_assert_eq(bpf_obj_get_info_by_fd(fd, &map, &len), 0);
		cr_assert(!has_entries(&map) || map.btf_value_type_id,
			  "map %s of program %u has no types", map.name, prog->id);
	}
	return info.nr_map_ids;
}

Test(plane, each_map_tells_what_it_holds)
{
	struct wm_plane_config c = small();
	struct wm_plane *p = open_ok(&c, false);
	unsigned seen = 0;

	for (unsigned i = 0; i < WM_PROG_COUNT; i++)
		if (p->progs[i].fd >= 0)
			seen += see_maps(&p->progs[i]);
	cr_assert_gt(seen, WM_MAP_COUNT);
	wm_plane_close(p);
}
