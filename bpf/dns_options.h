/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_options.h - the program that ends answers to queries with options in their OPT, part of
 * dns.bpf.c: the others call it when all records are gathered. It writes what userspace would
 * (userspace/dns/options.c); what is malformed, too much, or asks for NSID is userspace's. */
#pragma once
#include "waymark/dns_cookie.h"

_Static_assert(BODY_MAX >= WM_OPTIONS_BUF && WM_OPTIONS_KERNEL + WM_SUBNET_MAX <= WM_OPTIONS_BUF,
	       "what is read of them");

/* The keys of cookies. Its own, without a pin, as dns_guard. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wm_cookie_keys);
} dns_cookies SEC(".maps");

__noinline int dns_options_step(struct work *w)
{
	return w ? wm_options_step(w->given.octets, w->options_len, &w->options) : WM_OPTIONS_BAD;
}

/** @return enum wm_options_step: MORE: more than a program looks at. */
__noinline int dns_options_read(struct work *w)
{
	int step = WM_OPTIONS_MORE;

	if (!w)
		return WM_OPTIONS_BAD;
	for (int i = 0; i <= WM_OPTIONS_KERNEL_COUNT; i++) {
		if (step != WM_OPTIONS_MORE)
			break;
		step = dns_options_step(w);
	}
	return step;
}

static __always_inline __u64 options_word(const struct work *w, __u32 at)
{
	return *(const wm_any_word *)(w->given.octets + WM_OPTIONS_PLACE(at));
}

/* A client without a cookie, with one that is none of ours, with one of ours. */
enum { OPTIONS_NONE, OPTIONS_NEW, OPTIONS_VALID };

/** The cookie that the client is sent into w->cookie, which has his address. @return OPTIONS_*. */
__noinline int dns_cookie_make(struct work *w)
{
	const struct wm_cookie_keys *k;
	__u32 zero = 0, at;

	if (!w || !w->options.cookie_at)
		return 0;
	k = bpf_map_lookup_elem(&dns_cookies, &zero);
	if (!k || !WM_READ(k->count))
		return 0;
	at = w->options.cookie_at;
	w->cookie.client = options_word(w, at);
	w->cookie.head = options_word(w, at + 8);
	w->cookie.hash = options_word(w, at + 16);
	w->cookie.whole = w->options.cookie_len == WM_COOKIE_WHOLE;
	w->cookie.now_s = k->wall_s + (__u32)(bpf_ktime_get_boot_ns() / 1000000000);
	return wm_cookie_answer(k, &w->cookie, &w->cookie.head, &w->cookie.hash) == WM_COOKIE_VALID
		       ? OPTIONS_VALID
		       : OPTIONS_NEW;
}

/** Close the records with an OPT that has @p cookie, and the client's subnet if the name is ours,
 *  and pad as close_records(). @return octets of options. Places are masked, which the verifier
 *  follows better than that they have their bounds. */
__noinline int dns_put_options(struct work *w, int cookie)
{
	__u32 at, opt, len;
	const __u8 *in;
	__u8 *out;

	if (!w)
		return 0;
	out = w->answer.octets;
	opt = w->records_len & SENT_MASK;
	wm_dns_put_opt(out + opt, 0, w->query.edns_flags);
	at = opt + WM_DNS_OPT_LEN;
	if (cookie) {
		out[at] = 0;
		out[at + 1] = WM_DNS_OPTION_COOKIE;
		out[at + 2] = 0;
		out[at + 3] = WM_COOKIE_WHOLE;
		*(wm_any_word *)(out + at + 4) = w->cookie.client;
		*(wm_any_word *)(out + at + 12) = w->cookie.head;
		*(wm_any_word *)(out + at + 20) = w->cookie.hash;
		at += WM_DNS_OPTION_HEAD + WM_COOKIE_WHOLE;
	}
	len = w->options.subnet_len & 31;
	if (len && w->flags & WM_DNS_AA) {
		in = w->given.octets + (w->options.subnet_at & 0xff);
		*(wm_any_word *)(out + at) = *(const wm_any_word *)in;
		*(wm_any_word *)(out + at + 8) = *(const wm_any_word *)(in + 8);
		*(wm_any_word *)(out + at + 16) = *(const wm_any_word *)(in + 16);
		at += len;
	}
	for (int i = 0; i < 3; i++)
		out[at + i] = 0;
	w->records_len = at;
	at -= opt + WM_DNS_OPT_LEN;
	out[opt + WM_DNS_OPT_LEN - 1] = (__u8)at;
	return (int)at;
}

static __always_inline bool options_load(struct __sk_buff *skb, struct work *w)
{
	__u32 at = WM_DNS_HEADER_LEN + w->query.name_len + 4 + WM_DNS_OPT_LEN;
	__u32 n = w->packet.message_len - at;

	if (!n || n > WM_OPTIONS_KERNEL)
		return false;
	n = bounded(n, 0xff);
	w->options_len = n;
	__builtin_memset(&w->options, 0, sizeof(w->options));
	return !bpf_skb_load_bytes(skb, w->packet.dns_off + at, w->given.octets, n);
}

static __always_inline bool options_client(struct __sk_buff *skb, struct work *w)
{
	__be32 *addr = w->cookie.addr_be;

	if (w->packet.v6)
		return !bpf_skb_load_bytes(skb, ETH_HLEN + 8, addr, 16);
	addr[0] = addr[1] = 0;
	addr[2] = WM_V4_MAPPED_BE;
	return !bpf_skb_load_bytes(skb, ETH_HLEN + 12, &addr[3], 4);
}

static __always_inline int options_build(struct __sk_buff *skb, struct work *w)
{
	struct wm_counters *n = counters_get();
	__u32 len = w->records_len;
	int cookie;

	if (!options_load(skb, w) || dns_options_read(w) != WM_OPTIONS_END || w->options.nsid ||
	    !options_client(skb, w))
		return WM_C_DNS_PASS_EDNS;
	w->client = cookie = dns_cookie_make(w);
	if (len > WM_DNS_EDNS_MAX || len + (__u32)dns_put_options(w, cookie) > room(w))
		return WM_C_DNS_PASS_SIZE;
	if (cookie == OPTIONS_VALID)
		COUNT(n, dns_cookie_valid);
	else if (cookie)
		COUNT(n, dns_cookie_new);
	return 0;
}

SEC("tc")
int dns_options(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	int why;

	if (!w)
		return leave(WM_C_DNS_PASS_EDNS);
	why = options_build(skb, w);
	if (!why)
		why = send(skb, w, w->mac);
	return end(skb, w, why);
}
