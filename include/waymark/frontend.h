/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* frontend.h - whose a destination is: the set that a connect() to it is steered by. The same in
 * the kernel and where it is asked what connect() would do. The includer defines wm_frontend_at()
 * first, which copies the entry of a key: WM_PICKED, WM_PICK_NONE, or WM_PICK_TORN when it changed
 * each time it was read. Pure otherwise. */
#pragma once
#include "table.h"

/** The set of destination @p addr_be (v4-mapped if IPv4): of the exact port first, if the address
 * has any, else of any port. @p proto: IPPROTO_TCP or _UDP. @return WM_PICKED; WM_PICK_NONE: it is
 * not ours; WM_PICK_TORN. */
static __always_inline int wm_frontend_find(const struct wm_view *v, const __be32 addr_be[4],
					    __be16 port_be, __u8 proto, __u32 *ret_set)
{
	struct wm_frontend_key key = {};
	struct wm_frontend any, exact;
	int p;

	__builtin_memcpy(key.addr_be, addr_be, sizeof(key.addr_be));
	p = wm_frontend_at(v, &key, &any);
	if (p != WM_PICKED)
		return p;
	*ret_set = any.set;
	if (!(any.flags & WM_FRONTEND_F_EXACT))
		return WM_PICKED;
	key.port_be = port_be;
	key.proto = proto;
	p = wm_frontend_at(v, &key, &exact);
	if (p == WM_PICKED)
		*ret_set = exact.set;
	return p == WM_PICK_NONE && !(any.flags & WM_FRONTEND_F_NO_ANY) ? WM_PICKED : p;
}

/* The ranges of the virtual addresses, as configured; 0: none. */
struct wm_virtual {
	__be32 base4_be, mask4_be;
	__be32 prefix6_be[2];
};

static __always_inline int wm_is_mapped(const __be32 a[4])
{
	return !(a[0] | a[1]) && a[2] == WM_V4_MAPPED_BE;
}

/** Is the destination one that we give out? Where no service has it, the packet would leave the
 * node by the default route and the caller wait. 255.255.255.255 lies in 240.0.0.0/4 and is
 * everybody's.
 */
static __always_inline int wm_is_virtual(const struct wm_virtual *r, const __be32 a[4])
{
	if (!wm_is_mapped(a))
		return r->prefix6_be[0] && a[0] == r->prefix6_be[0] && a[1] == r->prefix6_be[1];
	return r->mask4_be && (a[3] & r->mask4_be) == r->base4_be && a[3] != 0xffffffff;
}
