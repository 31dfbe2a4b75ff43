/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* events.h - the ring buffer of what programs tell userspace; all objects write to one, which the
 * loader makes. */
#pragma once
#include "common.h"
#include "waymark/events.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WM_EVENTS_OCTETS);
} events SEC(".maps");

/** Room for one event, for bpf_ringbuf_submit(). @return NULL: there is none, and it is counted. */
static __always_inline struct wm_event *event_reserve(void)
{
	struct wm_event *e = bpf_ringbuf_reserve(&events, sizeof(*e), 0);

	if (!e)
		COUNT(counters_get(), events_lost);
	return e;
}
