/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* left_out.h - cgroups whose processes are not steered, they and all below. */
#pragma once
#include "connect_config.h"
#include <bpf/bpf_helpers.h>
#include "kept.h"

/** Is the process in one of them? Only levels that have any are looked at. Global, so that the
 * verifier walks it once by itself. @return 1, 0. */
__noinline int is_left_out(__u32 levels)
{
	for (int n = 0; use_cgroup_id && n <= WM_CONFIG_LEVEL_MAX; n++) {
		__u64 id;

		if (!(levels & 1u << n))
			continue;
		id = bpf_get_current_ancestor_cgroup_id(n);
		if (bpf_map_lookup_elem(&left_out, &id))
			return 1;
	}
	return 0;
}
