/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_hot.h - the program that answers from what other servers said, as userspace put it into
 * `dns_answers`. It goes on where the name is none of the tables. Included by dns.bpf.c, whose
 * question and answer it works on. */
#pragma once
#include "waymark/dns_hot.h"

/* How long answers are given beyond their TTL while no agent runs. */
const volatile __u64 hot_grace_ns;

/* A cache: what is asked for least makes room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct wm_hot_key);
	__type(value, struct wm_hot);
} dns_answers SEC(".maps");

/** Is the question's name the one of @p e? */
__noinline int hot_same_name(struct work *w, struct wm_hot *e)
{
	__u32 len;

	if (!w || !e)
		return 0;
	len = w->query.name_len;
	if (e->head.name_len != len)
		return 0;
	for (__u32 i = 0; i < WM_NAME_WORDS; i++) {
		if (i >= (len + 7) / 8)
			break;
		if (((const __u64 *)e->name)[i] != wm_fold8(last_word(w, i, len)))
			return 0;
	}
	return 1;
}

/** Copy the records of @p e to the answer. @return whether they are those of the question. */
__noinline int hot_read(struct work *w, struct wm_hot *e)
{
	struct wm_hot_key key = {};

	if (!w || !e)
		return 0;
	key.name = w->key;
	key.type = w->query.type;
	key.view = wm_hot_view(&w->query);
	wm_read_words(&w->hot, &e->head, sizeof(w->hot) / 8);
	return hot_same_name(w, e) && wm_hot_read(e, &key, &w->hot, w->answer.words);
}

__noinline int hot_age(struct work *w, __u32 elapsed_s, int stale)
{
	if (!w)
		return 0;
	wm_hot_age(w->answer.octets, &w->hot, elapsed_s, stale);
	return 0;
}

/** @return 0 or the counter that says why there is no answer. */
static __always_inline int hot_answer(const struct wm_config *c, struct work *w)
{
	__u64 now = bpf_ktime_get_boot_ns();
	struct wm_hot_key key = {
		.name = w->key, .type = w->query.type, .view = wm_hot_view(&w->query)};
	struct wm_hot *e = bpf_map_lookup_elem(&dns_answers, &key);
	int stale;

	if (!e || !hot_read(w, e))
		return WM_C_DNS_PASS_UNKNOWN;
	stale = now >= w->hot.expires_ns;
	if (stale && (now - WM_READ(c->confirmed_ns) < WM_HOT_DEAD_NS ||
		      now - w->hot.expires_ns >= hot_grace_ns))
		return WM_C_DNS_PASS_EXPIRED;
	if (w->hot.len > room(w))
		return WM_C_DNS_PASS_SIZE;
	hot_age(w, (__u32)((now - w->hot.made_ns) / 1000000000), stale);
	e->hits++;
	w->records = w->hot.answers;
	w->records_len = w->hot.len;
	w->authorities = w->hot.authorities;
	w->additionals = w->hot.additionals;
	w->flags = (__u16)(WM_DNS_QR | WM_DNS_RA | (w->query.flags & (WM_DNS_RD | WM_DNS_CD)) |
			   w->hot.flags);
	w->query.edns_flags &= WM_DNS_DO;
	w->kept = WM_C_DNS_HOT;
	return 0;
}

SEC("tc")
int dns_hot(struct __sk_buff *skb)
{
	const struct wm_config *c = config_get();
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	int why;

	if (!c || !w)
		return leave(WM_C_DNS_PASS_UNKNOWN);
	why = hot_answer(c, w);
	if (ready_on && why == WM_C_DNS_PASS_UNKNOWN)
		why = go_on(skb, w, WM_DNS_TAIL_ABSENT, w->mac);
	if (!why)
		why = finish(skb, w, w->mac);
	return end(skb, w, why);
}
