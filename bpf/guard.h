/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* guard.h - which clients of other devices than lo are answered. Its maps are the object's own: the
 * loader fills them before the programs are attached, and they go with them. */
#pragma once
#include "common.h"
#include "waymark/guard.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wm_guard);
} dns_guard SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, WM_GUARD_PREFIXES_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wm_guard_prefix);
	__type(value, struct wm_guard_allowed);
} dns_allow SEC(".maps");

/** Must the client of an IP packet not ask? Global, so that the verifier walks it once. */
__noinline int dns_guard_drops(struct __sk_buff *skb)
{
	struct wm_guard_prefix who = {.bits = 128};
	const struct wm_guard *g;
	__u32 zero = 0;

	g = bpf_map_lookup_elem(&dns_guard, &zero);
	if (!g || !WM_READ(g->restricted))
		return 0;
	if (skb->protocol == __builtin_bswap16(ETH_P_IP)) {
		who.addr_be[2] = WM_V4_MAPPED_BE;
		if (bpf_skb_load_bytes(skb, ETH_HLEN + 12, &who.addr_be[3], 4))
			return 1;
	} else if (bpf_skb_load_bytes(skb, ETH_HLEN + 8, who.addr_be, 16)) {
		return 1;
	}
	return !bpf_map_lookup_elem(&dns_allow, &who);
}
