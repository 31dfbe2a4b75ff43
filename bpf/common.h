/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* common.h - what every program needs: the maps, the tables as table.h wants them, the counters. */
#pragma once
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>
#include "maps.h"

/* table.h reaches the tables through maps; there is nothing to carry along. */
#define WM_AT 1
struct wm_view;
static __always_inline const struct wm_set *wm_at_set(const struct wm_view *v, __u32 i)
{
	return bpf_map_lookup_elem(&sets, &i);
}
static __always_inline const struct wm_table_head *wm_at_head(const struct wm_view *v, __u32 i)
{
	return bpf_map_lookup_elem(&heads, &i);
}
static __always_inline const struct wm_set_live *wm_at_set_live(const struct wm_view *v, __u32 i)
{
	return bpf_map_lookup_elem(&set_live, &i);
}
static __always_inline const struct wm_slot *wm_at_slot(const struct wm_view *v, __u32 i)
{
	return bpf_map_lookup_elem(&slots, &i);
}
static __always_inline const struct wm_backend *wm_at_backend(const struct wm_view *v, __u32 i)
{
	return bpf_map_lookup_elem(&backends, &i);
}
static __always_inline const struct wm_backend_live *wm_at_backend_live(const struct wm_view *v,
									__u32 i)
{
	return bpf_map_lookup_elem(&backend_live, &i);
}
static __always_inline __u32 wm_at_turn(const struct wm_view *v, __u32 i)
{
	struct wm_set_live *l = bpf_map_lookup_elem(&set_live, &i);

	return l ? __sync_fetch_and_add(&l->cursor, 1) : 0;
}
#include "waymark/table.h"

static __always_inline struct wm_config *config_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&config, &zero);
}

static __always_inline struct wm_counters *counters_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&counters, &zero);
}

/* The kernel's id of `backends`. Indexes that a socket remembers of other tables mean nothing here;
 * socket_origin outlives them. Set by the loader. */
const volatile __u32 tables_id = 0;

#define COUNT(c, name)                                                                             \
	do {                                                                                       \
		struct wm_counters *c_ = (c);                                                      \
		if (c_)                                                                            \
			c_->name++;                                                                \
	} while (0)
