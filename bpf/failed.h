/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* failed.h - a connect failed: its backend may be left out for it, as its set says. */
#pragma once
#include "connections.h"
#include "events.h"
#include "waymark/choose.h"
#include "waymark/outlier.h"

/** The backend of @p c, if it is the same occupant still. */
static __always_inline struct wm_backend_live *live_of(const struct wm_connection *c)
{
	struct wm_backend_live *live = bpf_map_lookup_elem(&backend_live, &c->backend);

	return live && WM_READ(live->stamp) == c->stamp ? live : NULL;
}

static __always_inline void tell_failed(const struct wm_connection *c, __u8 kind, __u8 reason,
					__u64 value)
{
	struct wm_event *e = event_reserve();

	if (!e)
		return;
	*e = (struct wm_event){.time_ns = bpf_ktime_get_boot_ns(),
			       .cookie = c->cookie,
			       .vip_port_be = c->vip_port_be,
			       .kind = kind,
			       .reason = reason,
			       .backend = c->backend,
			       .stamp = c->stamp,
			       .set = c->set,
			       .value = value};
	for (int i = 0; i < 4; i++)
		e->vip_be[i] = c->vip_be[i];
	bpf_ringbuf_submit(e, 0);
}

/** Let who reads backend @p index know that it may be ejected. */
static __always_inline void out(__u32 index, __u64 until_ns)
{
	struct wm_backend *b = bpf_map_lookup_elem(&backends, &index);

	if (b)
		WM_WRITE(b->out_until_ns, until_ns);
}

/** A connect failed with @p error. The first of a row is told, what is decided, and nothing that a
 *  service with nobody to go to could flood by. */
static __always_inline void failed(const struct wm_connection *c, __u8 error, enum wm_failure what)
{
	struct wm_backend_live *live = live_of(c);
	struct wm_set_live *set = bpf_map_lookup_elem(&set_live, &c->set);
	struct wm_counters *n = counters_get();
	struct wm_table table;
	enum wm_verdict v;
	__u32 row = 0;

	COUNT(n, connect_failed);
	if (!live || !set || wm_table_load(NULL, c->set, &table) != WM_PICKED)
		return;
	v = wm_note_failure(live, &table.head, set, bpf_ktime_get_boot_ns(), what, &row);
	if (v == WM_VERDICT_EJECTED) {
		out(c->backend, WM_READ(live->ejected_until_ns));
		COUNT(n, ejections);
		tell_failed(c, WM_EVENT_EJECTED, error, WM_READ(live->ejected_until_ns));
	} else if (v == WM_VERDICT_BOUND) {
		COUNT(n, eject_spared);
	}
	if (v != WM_VERDICT_EJECTED && row == 1)
		tell_failed(c, WM_EVENT_FAILED, error, 0);
}

/** Nobody answered a connect, or there is no way to who should, as @p error says: noted once,
 *  whoever sees it first. */
static __always_inline void failed_silent(struct wm_connection *c, __u8 error)
{
	__u64 since = WM_READ(c->time_ns), noted = since | WM_CONNECTION_SILENT;

	if (since && since != noted &&
	    __sync_val_compare_and_swap(&c->time_ns, since, noted) == since)
		failed(c, error, WM_FAILURE_SILENT);
}
