/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* likely.h - begin to read what a name, or an address, most probably leads to, while its entry is
 * looked up: waymark/likely.h. */
#pragma once
#include "common.h"
#include "waymark/likely.h"

/* Places of the two maps, less one: set by the loader. */
const volatile __u32 name_sets_mask;
const volatile __u32 frontend_sets_mask;

/** Begin to read the set at place @p at of @p map and what it leads to. @p map a constant. */
static __always_inline void likely_ahead(void *map, __u32 at)
{
	__u32 line = at / WM_LIKELY_SETS;
	const struct wm_likely *l = bpf_map_lookup_elem(map, &line);

	if (l)
		wm_set_all_ahead(NULL, WM_READ(l->set[at % WM_LIKELY_SETS]));
}

static __always_inline void likely_name_ahead(const struct wm_name_key *k)
{
	likely_ahead(&name_sets, wm_likely_name(k) & name_sets_mask);
}

static __always_inline void likely_address_ahead(const __be32 addr_be[4])
{
	likely_ahead(&frontend_sets, wm_likely_address(addr_be) & frontend_sets_mask);
}
