/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* outcome.h - what became of a TCP connect that was steered, whoever sees it: refused, unanswered,
 * or made, and how quickly. A backend that fails is ejected here, as its set says, before userspace
 * hears of it, and without an agent (waymark/outlier.h). */
#pragma once
#include "failed.h"
#include "waymark/outcome.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set by the loader: as many as there are backends */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wm_connects);
} outcomes SEC(".maps");

/** What the socket of @p cookie has been steered to, until it is closed; NULL: nothing. */
static __always_inline struct wm_connection *steered(__u64 cookie)
{
	struct wm_connection *c = connection_of(cookie);

	return c && c->time_ns ? c : NULL;
}

/** A connect begins: what is written to when it is made is on its way to the caches until then. */
static __always_inline void outcome_ahead(const struct wm_connection *c)
{
	const struct wm_connects *o = bpf_map_lookup_elem(&outcomes, &c->backend);

	if (o)
		(void)WM_READ(o->stamp);
}

/** us that the connect took, and when it is now. The kernel has measured the round trip of the SYN
 *  by then, so no clock is asked, which would be most of what a connect costs here; but for a SYN
 *  that was sent again, of which the last would count. */
static __always_inline __u32 took_us(const struct wm_connection *c, __u32 srtt_us, __u32 again,
				     __u64 *ret_now)
{
	if (srtt_us && !again) {
		*ret_now = c->time_ns + srtt_us * 1000ull;
		return srtt_us;
	}
	*ret_now = bpf_ktime_get_boot_ns();
	return wm_outcome_us(c->time_ns, *ret_now);
}

/** The connect was made. @p srtt_us: the kernel's smoothed round trip, 0: not known. @p again: SYNs
 *  that were sent again. */
static __always_inline void outcome_made(const struct wm_connection *c, __u32 srtt_us, __u32 again)
{
	struct wm_connects *o = bpf_map_lookup_elem(&outcomes, &c->backend);
	struct wm_backend_live *live = live_of(c);
	struct wm_set_live *set = NULL;
	__u64 now;
	__u32 us;

	if (!live || !o)
		return;
	us = took_us(c, srtt_us, again, &now);
	wm_note_success(live);
	if (WM_READ(live->ejected_until_ns)) /* hardly ever */
		set = bpf_map_lookup_elem(&set_live, &c->set);
	if (set)
		wm_note_return(live, set, now);
	wm_ewma_observe(live, now, us);
	wm_outcome_note(o, c->stamp, us, srtt_us);
}

/** The connect failed with what the kernel gives the program that dials: an errno, 0 where that one
 *  closed the socket. */
static __always_inline void outcome_failed(struct wm_connection *c, __u32 error)
{
	if (error == ECONNREFUSED)
		failed(c, ECONNREFUSED, WM_FAILURE_REFUSED);
	else if (error)
		failed_silent(c, (__u8)error);
}
