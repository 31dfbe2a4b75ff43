/* SPDX-License-Identifier: Apache-2.0 */
/* prog_maps.c - which maps a program has. Only a descriptor tells of one, and an array of programs
 * that nobody else holds is emptied by work that the kernel queues as the last descriptor of it is
 * closed. Closed once more before that work begins, it has a reference too many and stays for good
 * (prog_array_map_clear() of Linux up to 6.18 at least). So what is looked for is looked for from
 * the lowest id on: our array is made after all our tables. */
#include "userspace/base/macros.h"
#include "userspace/dataplane/internal.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#define MAPS_MAX 64 /* of a program: ours have a dozen */

static int by_id(const void *a, const void *b)
{
	uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;

	return x < y ? -1 : x > y;
}

int wm_prog_map(int prog_fd, bool (*is)(const void *arg, const struct bpf_map_info *m),
		const void *arg)
{
	uint32_t ids[MAPS_MAX] = {0}, count, len;
	struct bpf_prog_info prog = {.nr_map_ids = MAPS_MAX, .map_ids = (uintptr_t)ids};

	len = sizeof(prog);
	if (bpf_obj_get_info_by_fd(prog_fd, &prog, &len))
		return -ENOENT;
	count = prog.nr_map_ids < MAPS_MAX ? prog.nr_map_ids : MAPS_MAX;
	qsort(ids, count, sizeof(*ids), by_id);
	for (uint32_t i = 0; i < count; i++) {
		struct bpf_map_info m = {0};
		int fd = bpf_map_get_fd_by_id(ids[i]);

		len = sizeof(m);
		if (fd >= 0 && !bpf_obj_get_info_by_fd(fd, &m, &len) && is(arg, &m))
			return fd;
		if (fd >= 0)
			close(fd);
	}
	return -ENOENT;
}
