/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* flow.h - decisions are told to who watches. The ring buffer is this run's of the programs. */
#pragma once
#include "common.h"
#include "waymark/flow.h"

struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WM_FLOWS_OCTETS);
} flows SEC(".maps");

/* The kernel has ring buffers (5.8), and tells who calls (5.7). Set by the loader. */
const volatile bool use_flows = false;

static __always_inline bool flow_watched(void)
{
	const struct wm_config *c = config_get();

	return use_flows && c && WM_READ(c->flags) & WM_CONFIG_F_WATCHED;
}

/** Room for a decision, with who made it; NULL: there is none, which is counted. */
static __always_inline struct wm_flow *flow_begin(void *ctx)
{
	/* asked again, for Linux 6.1 judges a function by itself, and not who calls it */
	struct wm_flow *f = use_flows ? bpf_ringbuf_reserve(&flows, sizeof(*f), 0) : NULL;

	if (!f) {
		COUNT(counters_get(), flows_lost);
		return NULL;
	}
	__builtin_memset(f, 0, sizeof(*f));
	f->time_ns = bpf_ktime_get_boot_ns();
	f->cgroup = bpf_get_current_cgroup_id();
	f->cookie = bpf_get_socket_cookie(ctx);
	f->pid = bpf_get_current_pid_tgid() >> 32;
	f->uid = (__u32)bpf_get_current_uid_gid();
	bpf_get_current_comm(f->comm, sizeof(f->comm));
	return f;
}
