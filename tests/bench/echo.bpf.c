/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* echo.bpf.c - the floor that DNS in the kernel is measured against: on loopback, send a UDP
 * datagram to port 53 back as it is, in place, with nothing read but the addresses. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
/* behind the types that they use */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

#define ECHO_PORT 53

SEC("tc")
int echo(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__be32 addr;

	if ((void *)(udp + 1) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 ||
	    ip->protocol != 17 || udp->dest != bpf_htons(ECHO_PORT))
		return TC_ACT_UNSPEC;
	/* both sums stay as they are: the same words, in another order */
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	udp->dest = udp->source;
	udp->source = bpf_htons(ECHO_PORT);
	return TC_ACT_UNSPEC;
}
