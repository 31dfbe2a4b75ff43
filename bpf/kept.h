/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* kept.h - maps of the connect programs that are in no layout: an agent takes them over from the
 * programs that an earlier run left attached (dataplane/kept.c). */
#pragma once
#include "waymark/layout.h"

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, WM_AFFINITY_MAX);
	__type(key, struct wm_affinity_key);
	__type(value, struct wm_affinity);
} affinity SEC(".maps");

/* Cgroups whose processes are not steered, they and all below. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WM_LEFT_OUT_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u64); /* its id */
	__type(value, __u32);
} left_out SEC(".maps");
