/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bad_large.bpf.c - refused: its map takes a node's memory. */
#include "custom.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1u << 30);
	__type(key, __u32);
	__type(value, __u64[8]);
} large SEC(".maps");

WM_CUSTOM(ask)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&large, &zero) ? 0 : -1;
}
