/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* custom.h - a way to choose of your own: balance "custom" of a policy. Write a file that includes
 * this one and defines one function,
 *
 *   #include "custom.h"
 *   WM_CUSTOM(ask)
 *   {
 *           return ask->random % ask->count;
 *   }
 *
 * compile it for BPF and name the object in kernel.custom. connect() calls it for each choice; what
 * it answers is a place, 0 to ask->count - 1. Any other answer leaves the choice to the weights,
 * and is counted (connect_custom_none). The verifier judges the function by itself; on Linux 6.1 it
 * has 64 octets of stack. It may have maps and global variables of its own, which are new each time
 * the file is loaded: 64 MiB together, and none pinned; programs it may not have. tests/custom/ has
 * examples. */
#pragma once
#ifndef WM_CUSTOM_CALLER
#include "vmlinux.h"

#include <bpf/bpf_helpers.h>
#endif
#include "waymark/layout.h"

struct wm_custom_ask {
	__u64 key;	/* of the client, as hash_on says */
	__u32 random;	/* even bits */
	__u32 attempt;	/* 0, then 1 and so on: what was answered before is not usable */
	__u32 first;	/* index in `slots` of place 0 */
	__u32 count;	/* places: one for each backend of the tier, 1 or more */
	__u32 set;	/* index in `sets` */
	__u32 families; /* WM_FAMILY_* of which the backend must have one */
};
_Static_assert(sizeof(struct wm_custom_ask) == 32, "the stack has no more for it");

#ifndef WM_CUSTOM_CALLER
/* As bpf/maps.h has them. */
#define WM_CUSTOM_MAP(name, entry)                                                                 \
	extern struct {                                                                            \
		__uint(type, BPF_MAP_TYPE_ARRAY);                                                  \
		__uint(max_entries, 1);                                                            \
		__uint(map_flags, BPF_F_MMAPABLE);                                                 \
		__type(key, __u32);                                                                \
		__type(value, entry);                                                              \
	} name SEC(".maps")
WM_CUSTOM_MAP(slots, struct wm_slot);
WM_CUSTOM_MAP(backends, struct wm_backend);
WM_CUSTOM_MAP(backend_live, struct wm_backend_live);

/** Index in `backends` and `backend_live` of who stands at @p place. WM_NO_BACKEND: nobody. */
static inline __attribute__((always_inline)) __u32 wm_custom_index(const struct wm_custom_ask *ask,
								   __u32 place)
{
	__u32 at = ask->first + place;
	const struct wm_slot *s = place < ask->count ? bpf_map_lookup_elem(&slots, &at) : 0;

	return s ? s->backend : WM_NO_BACKEND;
}

/** Address, weight, zone of who stands at @p place. NULL: nobody. */
static inline __attribute__((always_inline)) const struct wm_backend *
wm_custom_backend(const struct wm_custom_ask *ask, __u32 place)
{
	__u32 i = wm_custom_index(ask, place);

	return bpf_map_lookup_elem(&backends, &i);
}

/** Open connections, latency, failures of who stands at @p place: of this node. NULL: nobody. */
static inline __attribute__((always_inline)) const struct wm_backend_live *
wm_custom_live(const struct wm_custom_ask *ask, __u32 place)
{
	__u32 i = wm_custom_index(ask, place);

	return bpf_map_lookup_elem(&backend_live, &i);
}

#define WM_CUSTOM(ask)                                                                             \
	char _license[] SEC("license") = "Dual BSD/GPL";                                           \
	static inline __attribute__((always_inline)) int wm_custom_body(struct wm_custom_ask *);   \
	int wm_custom(struct wm_custom_ask *asked)                                                 \
	{                                                                                          \
		return asked ? wm_custom_body(asked) : -1;                                         \
	}                                                                                          \
	static inline __attribute__((always_inline)) int wm_custom_body(struct wm_custom_ask *ask)
#endif
