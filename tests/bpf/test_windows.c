/* SPDX-License-Identifier: Apache-2.0 */
/* links: base net model metadata resolution dataplane */
/* test_windows.c - how much of the kernel's arrays is mapped. */
#include "tests/bpf/plane_fixture.h"

#include <stdio.h>
#include <string.h>

/* MiB of this process that are the kernel's arrays. */
static double mapped_mib(void)
{
	FILE *f = fopen("/proc/self/smaps", "r");
	char line[512];
	bool array = false;
	unsigned long kb, sum = 0;

	cr_assert(f);
	while (fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%*x-%*x %*s %*s %*s %lu", &kb) == 1)
			array = strstr(line, "bpf-map");
		else if (array && sscanf(line, "Rss: %lu kB", &kb) == 1)
			sum += kb;
	}
	fclose(f);
	return (double)sum / 1024;
}

Test(plane, arrays_are_mapped_as_far_as_they_are_in_use)
{
	struct wm_plane_config c = small();
	const struct wm_plane_ops *ops;
	struct wm_table_memory mem;
	struct wm_plane *p;

	c.backends = 65536; /* 4 MiB, and one more array of as much */
	p = open_ok(&c, false);
	ops = wm_plane_ops(p);
	wm_plane_memory_of(p, &mem);
	cr_assert_lt(mapped_mib(), 2);
	cr_assert_eq(mem.backends[65535].addr4_be, 0, "what is not mapped reads as zeros");
	cr_assert_eq(ops->reach(ops->arg, WM_ARRAY_BACKENDS, 30001), 0);
	mem.backends[30000].addr4_be = 0x0100007f;
	mem.live[29000].picks = 3;
	cr_assert_gt(mapped_mib(), 3.5);
	cr_assert_lt(mapped_mib(), 8);
	wm_plane_close(p);
	/* the next run has as much as was in use, in each */
	p = open_ok(&c, true);
	ops = wm_plane_ops(p);
	wm_plane_memory_of(p, &mem);
	cr_assert_eq(mem.backends[30000].addr4_be, 0x0100007f);
	cr_assert_eq(mem.live[29000].picks, 3);
	mem.live[30000].picks = 4;
	cr_assert_lt(mapped_mib(), 8);
	cr_assert_eq(ops->reach(ops->arg, WM_ARRAY_BACKENDS, 65536), 0);
	mem.backends[65535].addr4_be = 1;
	wm_plane_close(p);
	p = open_ok(&c, true);
	wm_plane_memory_of(p, &mem);
	cr_assert_eq(mem.backends[65535].addr4_be, 1);
	cr_assert_eq(mem.live[30000].picks, 4);
	wm_plane_close(p);
}

Test(plane, targets_are_mapped_while_somebody_looks)
{
	const struct wm_target node = {.words = {0x6e05}, .len = 5}, none = {.len = 0};
	struct wm_plane_config c = small();
	const struct wm_plane_ops *ops;
	const struct wm_target *have;
	struct wm_plane *p;
	double before;

	c.backends = 65536; /* 4.5 MiB */
	p = open_ok(&c, false);
	ops = wm_plane_ops(p);
	before = mapped_mib();
	for (uint32_t i = 0; i < c.backends; i += 99)
		cr_assert_eq(ops->target_put(ops->arg, i, &node), 0);
	cr_assert_lt(mapped_mib(), before + 0.1, "written past any mapping");
	for (uint32_t i = 0; i < c.backends; i++) {
		have = ops->target_get(ops->arg, i);
		cr_assert(have && !memcmp(have, i % 99 ? &none : &node, sizeof(*have)), "%u", i);
	}
	cr_assert_gt(mapped_mib(), before + 4);
	ops->rest(ops->arg);
	cr_assert_lt(mapped_mib(), before + 0.1);
	have = ops->target_get(ops->arg, 99 * 600);
	cr_assert(have && !memcmp(have, &node, sizeof(*have)));
	cr_assert_lt(mapped_mib(), before + 0.3, "a part of it");
	wm_plane_close(p);
}

/* What is told of a hash is what it takes when it is full. */
Test(plane, an_element_of_a_hash_is_made_when_it_is_needed)
{
	struct wm_plane_config c = small();
	uint64_t each[WM_MAP_COUNT];
	const struct wm_plane_ops *ops;
	struct wm_frontend_key k = {0};
	unsigned long long empty, full; /* octets */
	struct wm_plane *p;
	int fd;

	c.frontends = 4096;
	wm_plane_memory(&c, each, NULL);
	p = open_ok(&c, false);
	ops = wm_plane_ops(p);
	fd = p->map_fd[WM_MAP_FRONTENDS];
	empty = wm_map_charged(fd);
	for (k.addr_be[3] = 1; k.addr_be[3] <= c.frontends; k.addr_be[3]++)
		cr_assert_eq(ops->frontend_put(ops->arg, &k, &(struct wm_frontend){0}), 0);
	full = wm_map_charged(fd);
	wm_plane_close(p);
	if (empty == full)
		cr_skip("this kernel tells a map's size by its limit alone (before 6.4)");
	cr_assert_lt(full * 99, each[WM_MAP_FRONTENDS] * 100, "%llu", full);
	cr_assert_gt(full * 100, each[WM_MAP_FRONTENDS] * 85, "%llu", full);
	cr_assert_lt(empty * 4, full, "%llu", empty);
}
