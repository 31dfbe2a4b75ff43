/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* bad_pinned.bpf.c - refused: its map would outlive the file. */
#include "custom.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
	__uint(pinning, LIBBPF_PIN_BY_NAME);
} kept SEC(".maps");

WM_CUSTOM(ask)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&kept, &zero) ? 0 : -1;
}
