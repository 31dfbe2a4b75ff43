/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_absent.h - the program that says of names of nodes, and of a cluster, that nobody has them:
 * userspace counts those that somebody has (waymark/dns_there.h). The others call it last, for what
 * is in no table and was not said before. Included by dns.bpf.c. */
#pragma once
#include "waymark/dns_there.h"

/** The word @p at of those that userspace counts. Where there is none: as if it were counted. */
static __always_inline __u64 there_word(__u32 at)
{
	const __u64 *word = bpf_map_lookup_elem(&dns_ready_words, &at);

	return word ? WM_READ(*word) : 1;
}

/** What is known of the question's name: the word that tells whether all of its kind are counted
 *  into w->whole, where the name begins that has to be there into w->service_at, its domain's
 *  beginning into w->domain_at. @return enum wm_there. */
__noinline int dns_there_form(struct work *w)
{
	__u32 at = 0;
	int ret;

	if (!w)
		return WM_THERE_OTHER;
	if (w->zone < 2) {
		w->whole = WM_THERE_NODES;
		ret = dns_form(w) == WM_FORM_NODE ? WM_THERE_LOOK : WM_THERE_OTHER;
		w->service_at = 0;
		return ret;
	}
	if (!dns_ends_with(w, 2))
		return WM_THERE_OTHER;
	w->whole = WM_THERE_CLUSTER;
	w->domain_at = w->query.name_len - deny_zones[2].len;
	ret = wm_there_in_cluster(w->question.octets, w->query.name_len, &w->labels,
				  deny_zones[2].len, deny_zones[2].labels, &at);
	w->service_at = at;
	return ret;
}

/** @return 0 or the counter that says why there is no answer. */
static __always_inline int absent_answer(const struct wm_config *c, struct work *w)
{
	int form = dns_there_form(w);

	/* records of the operator's own may have any name of the cluster's */
	if (form == WM_THERE_OTHER || !there_word(w->whole) ||
	    (w->zone > 1 && WM_READ(c->flags) & WM_CONFIG_F_RECORDS))
		return WM_C_DNS_PASS_UNKNOWN;
	WM_COMPILER_BARRIER(); /* all were counted before it is looked for */
	dns_hash_below(w, c->seed[0], c->seed[1]);
	if (form == WM_THERE_LOOK && there_word(wm_there_at(&w->below, 0)) &&
	    there_word(wm_there_at(&w->below, 1)))
		return WM_C_DNS_PASS_UNKNOWN;
	w->rcode = WM_DNS_NXDOMAIN;
	return put_soa(w, WM_DNS_HEADER_LEN + (w->domain_at & 0xff));
}

SEC("tc")
int dns_absent(struct __sk_buff *skb)
{
	const struct wm_config *c = config_get();
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	int why;

	if (!c || !w)
		return leave(WM_C_DNS_PASS_UNKNOWN);
	why = absent_answer(c, w);
	if (!why)
		why = answer(skb, w, w->mac);
	return end(skb, w, why);
}
