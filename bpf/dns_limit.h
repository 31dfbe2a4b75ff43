/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_limit.h - the program that sends what was made for a client of a link, unless its network was
 * told the same too often (waymark/rate.h). The others call it in the place of writing. Part of
 * dns.bpf.c. */
#pragma once
#include "waymark/rate.h"

#define RATE_NEW 1 /* BPF_NOEXIST: one that was put there meanwhile stays */

/* What was told to whom: a hint that may make room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct wm_rate_key);
	__type(value, struct wm_rate);
} dns_rates SEC(".maps");

static __always_inline bool is_negative(const struct work *w)
{
	return (w->flags & WM_DNS_RCODE) || !w->records;
}

/** The network of the client, and what is told: of names and types that are not in a domain of ours
 *  all are the same. */
__noinline int dns_rate_key(struct __sk_buff *skb, struct work *w, struct wm_rate_key *key)
{
	__be32 addr[4] = {0, 0, WM_V4_MAPPED_BE, 0};

	if (!w || !key)
		return -1;
	if (w->packet.v6 ? bpf_skb_load_bytes(skb, ETH_HLEN + 8, addr, 16)
			 : bpf_skb_load_bytes(skb, ETH_HLEN + 12, &addr[3], 4))
		return -1;
	key->net = wm_rate_net(addr);
	key->name = w->key.hash[0];
	key->type = w->query.type;
	key->pad = 0;
	if (!is_negative(w))
		return 0;
	for (__u32 i = 0; i < WM_DENY_ZONES; i++) {
		if (!dns_ends_with(w, i))
			continue;
		key->name = i;
		key->type = WM_RATE_NEGATIVE;
		break;
	}
	return 0;
}

static __always_inline enum wm_rated rated(struct __sk_buff *skb, struct work *w)
{
	struct wm_rate_key key = {};
	struct wm_rate first = {}, *r;
	const struct wm_guard *g;
	__u32 zero = 0;
	__u64 every_ns;

	g = bpf_map_lookup_elem(&dns_guard, &zero);
	every_ns = g ? WM_READ(g->rate_every_ns) : 0;
	if (!every_ns || dns_rate_key(skb, w, &key))
		return WM_RATED_ANSWER;
	r = bpf_map_lookup_elem(&dns_rates, &key);
	if (!r) {
		bpf_map_update_elem(&dns_rates, &key, &first, RATE_NEW);
		r = bpf_map_lookup_elem(&dns_rates, &key);
	}
	return r ? wm_rate_take(r, bpf_ktime_get_boot_ns(), every_ns) : WM_RATED_ANSWER;
}

/** The question alone, with TC: who is there comes by TCP. @return as write_answer(). */
static __always_inline int write_cut(struct __sk_buff *skb, struct work *w)
{
	__u32 question = WM_DNS_HEADER_LEN + w->query.name_len + 4;
	__u32 dns_off = w->packet.dns_off, frame = dns_off + question;
	__u16 udp_len = (__u16)(8 + question), want;
	struct wm_dns_header *h = &w->packet.header;
	__u64 addresses;

	if (bpf_skb_pull_data(skb, frame))
		return WM_C_DNS_PASS_RESIZE;
	w->flags = (__u16)(WM_DNS_QR | WM_DNS_TC | (w->query.flags & WM_DNS_RD));
	h->flags = __builtin_bswap16(w->flags);
	h->answers = h->authorities = h->additionals = 0;
	w->records = w->records_len = 0;
	if (wm_packet_turn(skb, &w->packet, udp_len, true, &addresses))
		return WM_C_DNS_DROP_WRITE;
	if (w->packet.v6 || w->packet.csum) {
		want = answer_checksum(w, addresses, udp_len);
		if (set_checksum(skb, dns_off - 2, w->packet.csum, want, w->packet.udp_len_be,
				 __builtin_bswap16(udp_len)))
			return WM_C_DNS_DROP_WRITE;
	}
	if (frame < skb->len)
		bpf_skb_change_tail(skb, frame, 0);
	return 0;
}

/** Make it BADCOOKIE with a cookie, by which the client is answered the next time. */
static __always_inline void make_bad_cookie(struct work *w)
{
	w->records = w->authorities = w->additionals = 0;
	w->flags = (__u16)(WM_DNS_QR | (w->query.flags & WM_DNS_RD) |
			   (WM_DNS_BADCOOKIE & WM_DNS_RCODE));
	w->query.edns_flags = 0;
	w->records_len = 0;
	dns_put_options(w, OPTIONS_NEW);
	w->answer.octets[5] = WM_DNS_BADCOOKIE >> 4;
}

SEC("tc")
int dns_limit(struct __sk_buff *skb)
{
	struct wm_counters *n = counters_get();
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	enum wm_rated rate;
	int why, client;

	if (!w)
		return leave(WM_C_DNS_PASS_TAIL); /* never: tells the verifier */
	client = has_options(w) ? w->client : OPTIONS_NONE;
	rate = client == OPTIONS_VALID ? WM_RATED_ANSWER : rated(skb, w);
	if (rate == WM_RATED_DROP) {
		w->why = WM_SAMPLE_OFTEN;
		sample(skb, w);
		return drop(WM_C_DNS_DROP_RATE);
	}
	if (rate == WM_RATED_CUT && client == OPTIONS_NEW)
		make_bad_cookie(w);
	why = rate == WM_RATED_CUT && client != OPTIONS_NEW ? write_cut(skb, w)
							    : write_now(skb, w, true);
	if (why)
		return leave(why);
	COUNT(n, dns_answered);
	if (rate == WM_RATED_CUT) {
		COUNT(n, dns_rate_cut);
	} else {
		if (w->kept)
			count_reason(w->kept);
		if ((w->flags & WM_DNS_RCODE) == WM_DNS_NXDOMAIN)
			COUNT(n, dns_nxdomain);
		else if (!w->records)
			COUNT(n, dns_nodata);
	}
	w->why = rate == WM_RATED_CUT ? WM_SAMPLE_CUT : 0;
	sample(skb, w);
	return (int)bpf_redirect(skb->ifindex, 0);
}
