/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_sample.h - one question in so many is told to userspace with its answer
 * (waymark/dns_sample.h): which they are. Included by dns.bpf.c. */
#pragma once
#include "waymark/dns_sample.h"

/* The kernel has ring buffers (5.8). Set by the loader. */
const volatile bool use_samples;

volatile struct wm_dns_sampling dns_sampling = {.limit = WM_SAMPLE_LIMIT_OFF};

__noinline int dns_sample_begin(struct work *w)
{
	__u32 every = dns_sampling.every;

	if (!w || !wm_sample_turn(&w->sample_left, every, bpf_get_prandom_u32()))
		return 0;
	w->sample_every = every;
	w->why = 0;
	w->asked_ns = bpf_ktime_get_boot_ns();
	return 0;
}

/** A question is looked at: let w->asked_ns be when, if it is to be told. */
static __always_inline void sample_count(struct work *w)
{
	__u32 left;

	w->asked_ns = 0;
	if (!use_samples)
		return;
	left = w->sample_left - 1;
	w->sample_left = left;
	if (left - 1 >= dns_sampling.limit)
		dns_sample_begin(w);
}

/** An answer was written and counted: if its question is one of those, the program that tells of it
 *  sends it. */
static __always_inline void sample(struct __sk_buff *skb, struct work *w)
{
	if (use_samples && w->asked_ns)
		bpf_tail_call(skb, &dns_tails, WM_DNS_TAIL_TELL);
}
