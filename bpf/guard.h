/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* guard.h - which clients of other devices than lo are answered, and how often. Its maps are the
 * object's own: the loader fills them before the programs are attached, and they go with them. */
#pragma once
#include "common.h"
#include "waymark/bucket.h"
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

/* One per pod's device that is attached to: what comes by another has no bound. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, WM_GUARD_PODS_MAX);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, __u32);
	__type(value, struct wm_pod_asks);
} dns_pods SEC(".maps");

static __always_inline bool pod_may(const struct wm_guard *g, struct wm_pod_asks *p)
{
	__u64 every_ns = WM_READ(g->pod_every_ns);

	__sync_fetch_and_add(&p->queries, 1);
	if (!every_ns ||
	    wm_bucket_take_shared(&p->full_ns, bpf_ktime_get_boot_ns(), every_ns, WM_POD_WINDOW_NS))
		return true;
	__sync_fetch_and_add(&p->dropped, 1);
	return false;
}

static __always_inline bool is_allowed(struct __sk_buff *skb)
{
	struct wm_guard_prefix who = {.bits = 128};

	if (skb->protocol == __builtin_bswap16(ETH_P_IP)) {
		who.addr_be[2] = WM_V4_MAPPED_BE;
		if (bpf_skb_load_bytes(skb, ETH_HLEN + 12, &who.addr_be[3], 4))
			return false;
	} else if (bpf_skb_load_bytes(skb, ETH_HLEN + 8, who.addr_be, 16)) {
		return false;
	}
	return bpf_map_lookup_elem(&dns_allow, &who) != NULL;
}

#define GUARD_PEER -1 /* he may ask, and his end of the device can be given the answer at once */

/** Must the client of an IP packet not ask? The bound of its pod comes first: a storm is to cost
 *  little. Global, so that the verifier walks it once. @return 0, GUARD_PEER, or the counter that
 * says why. */
__noinline int dns_guard_drops(struct __sk_buff *skb)
{
	__u32 zero = 0, ifindex = skb->ifindex;
	const struct wm_guard *g;
	struct wm_pod_asks *p;

	g = bpf_map_lookup_elem(&dns_guard, &zero);
	if (!g)
		return 0;
	p = bpf_map_lookup_elem(&dns_pods, &ifindex);
	if (p && !pod_may(g, p))
		return WM_C_DNS_DROP_POD;
	if (WM_READ(g->restricted) && !is_allowed(skb))
		return WM_C_DNS_DROP_ALLOW;
	return p && WM_READ(p->peer) ? GUARD_PEER : 0;
}
