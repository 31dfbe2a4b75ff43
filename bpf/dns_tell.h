/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_tell.h - the program that tells userspace of an answer (waymark/dns_sample.h), part of
 * dns.bpf.c: the others call it when all is written and counted, for it to be sent, or for what is
 * to be dropped, which is counted here. */
#pragma once
#include "waymark/dns_sample.h"

/* This run's of the programs. */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, WM_DNS_SAMPLES_OCTETS);
} dns_samples SEC(".maps");

static __always_inline bool is_dropped(const struct work *w)
{
	return w->why >= WM_SAMPLE_DROPPED;
}

/** Whom the answer in @p skb is for; whom a question is of that was not answered. */
static __always_inline void sample_client(struct __sk_buff *skb, const struct work *w,
					  struct wm_dns_sample *s)
{
	s->client_be[0] = s->client_be[1] = s->client_be[3] = 0;
	s->client_be[2] = WM_V4_MAPPED_BE;
	s->client_port_be = 0;
	if (w->packet.v6)
		bpf_skb_load_bytes(skb, ETH_HLEN + (is_dropped(w) ? 8 : 24), s->client_be, 16);
	else
		bpf_skb_load_bytes(skb, ETH_HLEN + (is_dropped(w) ? 12 : 16), &s->client_be[3], 4);
	bpf_skb_load_bytes(skb, w->packet.dns_off - (is_dropped(w) ? 8 : 6), &s->client_port_be, 2);
}

static __always_inline __u8 sample_level(const struct work *w)
{
	if (w->why)
		return w->why;
	if (w->kept)
		return w->kept == WM_C_DNS_HOT ? WM_SAMPLE_HOT : WM_SAMPLE_READY;
	return w->rcode ? WM_SAMPLE_DENIED : WM_SAMPLE_TABLES;
}

static __always_inline void sample_tell(struct __sk_buff *skb, const struct work *w)
{
	struct wm_dns_sample *s = bpf_ringbuf_reserve(&dns_samples, sizeof(*s), 0);
	__u64 flags = BPF_RB_NO_WAKEUP, now = bpf_ktime_get_boot_ns();

	if (!s) {
		COUNT(counters_get(), dns_samples_lost);
		return;
	}
	s->time_ns = now;
	s->took_ns = (__u32)(now - w->asked_ns);
	s->every = w->sample_every;
	s->ifindex = skb->ifindex;
	sample_client(skb, w, s);
	s->type = w->query.type;
	s->octets = (__u16)(WM_DNS_HEADER_LEN + w->query.name_len + 4 + w->records_len);
	s->answers = (__u16)w->records;
	s->rcode = w->flags & WM_DNS_RCODE;
	if (is_dropped(w)) {
		s->octets = s->answers = 0;
		s->rcode = WM_DNS_REFUSED;
	}
	s->level = sample_level(w);
	s->name_len = (__u8)w->query.name_len;
	s->pad = 0;
	__builtin_memcpy(s->name, w->question.words, sizeof(s->name));
	/* userspace looks now and then by itself: it is woken for what has no room until then */
	if (bpf_ringbuf_query(&dns_samples, BPF_RB_AVAIL_DATA) >= WM_DNS_SAMPLES_OCTETS / 2)
		flags = BPF_RB_FORCE_WAKEUP;
	bpf_ringbuf_submit(s, flags);
}

/** Of a question that was dropped before it was looked at (dns.bpf.c, refuse()). @return false: it
 *  is none of those that are told, or cannot be read. */
static __always_inline bool sample_read(struct __sk_buff *skb, struct work *w)
{
	const struct wm_config *c = config_get();
	struct wm_packet packet = {};
	__u8 why = w->why;

	sample_count(w);
	w->why = why;
	if (!w->asked_ns || !c || wm_packet_read(skb, c, &packet))
		return false;
	w->packet = packet;
	__builtin_memset(&w->query, 0, sizeof(w->query));
	read_query(skb, w);
	return w->query.name_len && labels_read(w);
}

SEC("tc")
int dns_tell(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	bool early;

	if (!w)
		return TC_ACT_UNSPEC; /* never: tells the verifier */
	early = w->why > WM_SAMPLE_OFTEN;
	if (!early || sample_read(skb, w))
		sample_tell(skb, w);
	if (early)
		return drop(w->why == WM_SAMPLE_POD ? WM_C_DNS_DROP_POD : WM_C_DNS_DROP_ALLOW);
	return is_dropped(w) ? drop(WM_C_DNS_DROP_RATE) : end(skb, w, 0);
}
