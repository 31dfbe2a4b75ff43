/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_ready.h - the program that gives answers again which userspace made of what no health
 * changes: waymark/dns_ready.h. The others call it for names that are in no table; what it does not
 * know may be what another server said (dns_hot.h). Included by dns.bpf.c. */
#pragma once
#include "waymark/dns_there.h"

/* What was asked for least makes room. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct wm_ready_key);
	__type(value, struct wm_ready_small);
} dns_ready_small SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 1);
	__type(key, struct wm_ready_key);
	__type(value, struct wm_ready);
} dns_ready_large SEC(".maps");

/* Changes of each source, and names that are there, which userspace counts through a mapping. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, WM_READY_ENTRIES);
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, __u64);
} dns_ready_words SEC(".maps");

static __always_inline struct wm_ready_key ready_key(const struct work *w)
{
	struct wm_ready_key key = {.name = w->key, .type = w->query.type};

	return key;
}

/** Is the question's name the one at @p name, of @p max octets? */
static __always_inline int ready_same_name(const struct work *w, const __u8 *name, __u32 max)
{
	__u32 len = w->query.name_len;

	if (w->ready.name_len != len || len > max)
		return 0;
	for (__u32 i = 0; i < max / 8; i++) {
		if (i >= (len + 7) / 8)
			break;
		if (((const __u64 *)name)[i] != wm_fold8(last_word(w, i, len)))
			return 0;
	}
	return 1;
}

/* Of an answer of either size. */
#define ready_copy(w, e)                                                                           \
	({                                                                                         \
		struct wm_ready_key key = ready_key(w);                                            \
		wm_read_words(&(w)->ready, &(e)->head, sizeof((w)->ready) / 8);                    \
		ready_same_name(w, (e)->name, sizeof((e)->name)) &&                                \
			wm_ready_read(&key, &(w)->ready, &(e)->seal, (e)->octets,                  \
				      sizeof((e)->octets), (w)->answer.words);                     \
	})

/** Copy the records of @p e to the answer. @return whether they are those of the question. */
__noinline int ready_read_small(struct work *w, struct wm_ready_small *e)
{
	return w && e && ready_copy(w, e);
}

__noinline int ready_read_large(struct work *w, struct wm_ready *e)
{
	return w && e && ready_copy(w, e);
}

/** Has nothing changed that the answer was made of? */
__noinline int ready_is_new(struct work *w)
{
	__u64 sum = 0;

	if (!w)
		return 0;
	for (__u32 i = 0; i < WM_READY_SOURCES; i++) {
		__u32 at = w->ready.source[i];
		const __u64 *word = bpf_map_lookup_elem(&dns_ready_words, &at);

		if (!word)
			return 0;
		sum += WM_READ(*word);
	}
	return sum == w->ready.sum;
}

static __always_inline int ready_find(struct work *w)
{
	struct wm_ready_key key = ready_key(w);
	struct wm_ready_small *s = bpf_map_lookup_elem(&dns_ready_small, &key);
	struct wm_ready *l;

	if (s && ready_read_small(w, s) && ready_is_new(w))
		return 1;
	l = bpf_map_lookup_elem(&dns_ready_large, &key);
	return l && ready_read_large(w, l) && ready_is_new(w);
}

/** An SOA's serial is the time. */
__noinline int ready_serial(struct work *w)
{
	__u32 serial, at;

	if (!w)
		return 0;
	at = w->ready.serial_at;
	if (!at || at > WM_READY_OCTETS - 4)
		return 0;
	serial = wall_at_boot_s + (__u32)(tick_now(w) / 1000000000);
	w->answer.octets[at] = (__u8)(serial >> 24);
	w->answer.octets[at + 1] = (__u8)(serial >> 16);
	w->answer.octets[at + 2] = (__u8)(serial >> 8);
	w->answer.octets[at + 3] = (__u8)serial;
	return 0;
}

/** Let any of the addresses be the first, as userspace does each time that it is asked. */
__noinline int ready_turn(struct work *w)
{
	__u32 k;

	if (!w || w->ready.answers < 2)
		return 0;
	k = bpf_get_prandom_u32() % w->ready.answers & (WM_DNS_SCAN_KERNEL - 1);
	if (w->ready.turns == WM_DNS_A)
		wm_dns_swap(w->answer.octets, WM_DNS_A, 0, k);
	else if (w->ready.turns == WM_DNS_AAAA)
		wm_dns_swap(w->answer.octets, WM_DNS_AAAA, 0, k);
	return 0;
}

/** @return 0 or the counter that says why there is no answer. */
static __always_inline int ready_answer(struct work *w)
{
	if (!ready_find(w))
		return WM_C_DNS_PASS_UNKNOWN;
	if (w->ready.len > room(w))
		return WM_C_DNS_PASS_SIZE;
	ready_serial(w);
	ready_turn(w);
	w->records = w->ready.answers;
	w->records_len = w->ready.len;
	w->authorities = w->ready.authorities;
	w->additionals = w->ready.additionals;
	w->flags = wm_dns_answer_flags(w->query.flags, w->ready.rcode);
	w->kept = WM_C_DNS_READY;
	w->rcode = (__u8)w->ready.rcode;
	w->nodata = !w->ready.answers;
	return 0;
}

SEC("tc")
int dns_ready(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	int why;

	if (!w)
		return leave(WM_C_DNS_PASS_UNKNOWN);
	why = ready_answer(w);
	if (why == WM_C_DNS_PASS_UNKNOWN && !labels_read(w))
		why = misread(w);
	else if (hot_on && why == WM_C_DNS_PASS_UNKNOWN && w->zone > 1 &&
		 w->query.flags & WM_DNS_RD)
		why = go_on(skb, w, WM_DNS_TAIL_HOT, w->mac);
	else if (why == WM_C_DNS_PASS_UNKNOWN)
		why = go_on(skb, w, WM_DNS_TAIL_ABSENT, w->mac);
	if (!why)
		why = finish(skb, w, w->mac);
	return end(skb, w, why);
}
