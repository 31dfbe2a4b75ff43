/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* least_of_three.bpf.c - the one with the fewest open connections of three that are drawn. */
#include "custom.h"

WM_CUSTOM(ask)
{
	__u32 best = 0xffffffff, r = ask->random;
	int ret = -1;

	for (int i = 0; i < 3; i++) {
		__u32 place = (__u32)(((__u64)r * ask->count) >> 32);
		const struct wm_backend_live *l = wm_custom_live(ask, place);

		if (l && l->open < best) {
			best = l->open;
			ret = (int)place;
		}
		r = r * 2654435761u + 12345;
	}
	return ret;
}
