/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_link.h - questions of other machines, at the tc ingress of a link that leads to them; part of
 * dns.bpf.c, whose program for pods answers them the same way, out of the device again. What lies
 * here is before that: a link brings what the node's own stack would judge first, and who sent it
 * may have written anything. What is in doubt goes to that stack. */
#pragma once

#define LINK_HOST    0	/* PACKET_HOST: the frame is for this machine */
#define LINK_TTL_MIN 32 /* left of the question's: the answer has as much for its way back */

static __always_inline bool link_right4(const __u8 *ip)
{
	/* "this" network, loopback, multicast and above: RFC 1122 3.2.1.3 */
	return ip[8] >= LINK_TTL_MIN && ip[16] != 127 && ip[12] && ip[12] != 127 && ip[12] < 224 &&
	       wm_csum_fold((__u32)bpf_csum_diff(NULL, 0, (__be32 *)ip, 20, 0)) == 0xffff;
}

/* Of 0000::/64 are the unspecified address, loopback and those that hold an IPv4 address: none of
 * them is of a machine on a link (RFC 4291 2.5). */
static __always_inline bool link_right6(const __u8 *ip)
{
	return ip[0] >> 4 == 6 && ip[7] >= LINK_TTL_MIN && *(const __u64 *)(ip + 8) &&
	       ip[8] != 0xff && *(const __u64 *)(ip + 24);
}

/* The node asks itself over lo: with our own address as its source it is forged. */
static __always_inline bool link_is_other(const __u8 *ip, bool v6)
{
	if (v6)
		return *(const __u64 *)(ip + 8) != *(const __u64 *)(ip + 24) ||
		       *(const __u64 *)(ip + 16) != *(const __u64 *)(ip + 32);
	return *(const __u32 *)(ip + 12) != *(const __u32 *)(ip + 16);
}

/* Lengths are written out in each branch: Linux 6.1 forgets that one of two is bounded. */
static __always_inline bool link_right(struct __sk_buff *skb, const struct work *w, __u8 *ip)
{
	if (w->packet.v6)
		return !bpf_skb_load_bytes(skb, ETH_HLEN, ip, 40) && link_right6(ip) &&
		       link_is_other(ip, true);
	return !bpf_skb_load_bytes(skb, ETH_HLEN, ip, 20) && link_right4(ip) &&
	       link_is_other(ip, false);
}

/** Would the node's own stack take this datagram, as @p w->packet was read from it? A checksum that
 *  is left to a device, as what comes from another namespace of this machine has it, is its pseudo
 *  header's sum. */
__noinline int dns_link_right(struct __sk_buff *skb, struct work *w)
{
	__u32 len, sum;
	__u8 *ip;

	if (!w)
		return 0;
	ip = w->answer.octets;
	len = w->packet.message_len + 8;
	if (len > WM_DNS_EDNS_MAX || !link_right(skb, w, ip))
		return 0;
	if (!w->packet.csum)
		return !w->packet.v6; /* RFC 768: none; RFC 8200 8.1: there must be one */
	if (w->packet.v6)
		sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)(ip + 8), 32, 0);
	else
		sum = (__u32)bpf_csum_diff(NULL, 0, (__be32 *)(ip + 12), 8, 0);
	sum = wm_csum_fold((__u64)sum + w->packet.udp_len_be + __builtin_bswap16(IPPROTO_UDP));
	if (sum == w->packet.csum)
		return 1;
	w->records_len = len;
	if (bpf_skb_load_bytes(skb, w->packet.dns_off - 8, ip, bounded(len, SENT_MASK)))
		return 0;
	len = bounded(WM_READ(w->records_len), SENT_MASK);
	for (int i = 0; i < 3; i++)
		ip[len + i] = 0;
	return wm_csum_fold((__u64)sum + records_sum(w)) == 0xffff;
}

/** A tagged frame is another network's, one to another machine is seen by chance. */
SEC("tc")
int dns_link(struct __sk_buff *skb)
{
	const struct wm_config *c = config_get();
	struct wm_packet packet = {};
	const struct wm_guard *g;
	__u32 zero = 0;
	struct work *w;
	int why;

	if (!c || !(c->flags & WM_CONFIG_F_DNS) || skb->pkt_type != LINK_HOST || skb->vlan_present)
		return TC_ACT_UNSPEC;
	why = wm_packet_read(skb, c, &packet);
	w = why < 0 ? NULL : bpf_map_lookup_elem(&dns_work, &zero);
	if (!w)
		return TC_ACT_UNSPEC;
	w->packet = packet;
	if (!why && !dns_link_right(skb, w))
		why = WM_C_DNS_PASS_LINK;
	g = bpf_map_lookup_elem(&dns_guard, &zero);
	w->link = g && WM_READ(g->rate_every_ns) ? skb->ifindex : 0;
	if (use_tails && why != WM_C_DNS_PASS_LINK) {
		bpf_tail_call(skb, &dns_tails, WM_DNS_TAIL_VETH);
		why = WM_C_DNS_PASS_TAIL;
	}
	COUNT(counters_get(), dns_query);
	return leave(why ? why : WM_C_DNS_PASS_TAIL);
}
