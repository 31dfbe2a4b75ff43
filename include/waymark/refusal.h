/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* refusal.h - `refusals`, parallel to sets: how often nobody of a set was taken and the call was
 * refused, by reason. Of one run of the agent and its programs, so in no layout version; shared by
 * all CPUs, as backend_live is. Pure. */
#pragma once
#include "layout.h"

/* Reasons: X(symbol, name, text). The first that holds is counted. */
#define WM_REFUSALS(X)                                                                             \
	X(TORN, torn, "the set changed twice while it was read")                                   \
	X(EMPTY, empty, "nobody is registered that takes connections")                             \
	X(LOOPBACK, loopback, "loopback addresses only, of another network namespace")             \
	X(DOWN, down, "nobody is up")                                                              \
	X(EJECTED, ejected, "who is up is ejected")                                                \
	X(FAMILY, family, "who is up has no address of the family")

enum wm_refusal {
#define X(sym, name, text) WM_REFUSAL_##sym,
	WM_REFUSALS(X)
#undef X
		WM_REFUSAL_COUNT
};
#define WM_REFUSAL_PLACES 6
_Static_assert(WM_REFUSAL_COUNT <= WM_REFUSAL_PLACES, "each has a place");

struct wm_refusals {
	__u32 service; /* of struct wm_set: of another, all counts are void */
	__u32 count[WM_REFUSAL_PLACES];
	__u32 turn; /* of datagram sockets, of whichever service: streams have the set's cursor */
};
_Static_assert(sizeof(struct wm_refusals) == 32, "mmapable");

/** Why nobody of a set was taken: @p up4 and @p up6 are up and have the family, @p out of the set
 *  are ejected, @p families were asked for, @p passed_over only for being loopback addresses. */
static __always_inline enum wm_refusal wm_refusal_of(__u32 generation, __u32 passed_over, __u32 up4,
						     __u32 up6, __u32 out, __u32 families)
{
	if (!generation)
		return WM_REFUSAL_EMPTY;
	if (passed_over)
		return WM_REFUSAL_LOOPBACK;
	if (!(up4 | up6))
		return WM_REFUSAL_DOWN;
	if (out >= (up4 > up6 ? up4 : up6) || (families & WM_FAMILY_4 ? up4 : 0) ||
	    (families & WM_FAMILY_6 ? up6 : 0))
		return WM_REFUSAL_EJECTED;
	return WM_REFUSAL_FAMILY;
}
