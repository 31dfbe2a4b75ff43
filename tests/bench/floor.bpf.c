/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* floor.bpf.c - the floor that a look-up by getaddrinfo() is measured against: on loopback, turn a
 * UDP datagram to port 53 into its answer with nothing looked up. A question as long as
 * example.com's has one address, every other has none (NXDOMAIN). What is left of the time is the
 * C library's, its sockets' and the way of ten datagrams. */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/pkt_cls.h>
#include <linux/udp.h>
/* behind the types that they use */
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "GPL";

#define DNS_PORT 53
#define HEADER	 12 /* octets */
#define NAME	 13 /* example.com */
#define MESSAGE	 (sizeof(struct ethhdr) + sizeof(struct iphdr) + sizeof(struct udphdr))
#define ASKED	 (HEADER + NAME + 4) /* octets of a question for it */
#define AAAA	 28

struct record {
	__be16 name, type, class, ttl[2], len;
	__u8 addr[16];
} __attribute__((packed));

/* Octets of it that are sent. */
static __always_inline __u32 make_record(int six, struct record *ret)
{
	*ret = (struct record){
		bpf_htons(0xc000 | HEADER), bpf_htons(six ? AAAA : 1), bpf_htons(1),
		{0, bpf_htons(60)},	    bpf_htons(six ? 16 : 4),   {192, 0, 2, 1}};
	if (six) {
		ret->addr[0] = 0x20;
		ret->addr[1] = 0x01;
		ret->addr[2] = 0x0d;
		ret->addr[3] = 0xb8;
	}
	return sizeof(*ret) - (six ? 0 : 12);
}

/* Its length, and the sum behind it: one word changes. */
static __always_inline void lengthen(struct iphdr *ip, struct udphdr *udp, __u32 n)
{
	__u32 sum = bpf_ntohs((__u16)~ip->check) + n;

	ip->tot_len = bpf_htons(bpf_ntohs(ip->tot_len) + n);
	udp->len = bpf_htons(bpf_ntohs(udp->len) + n);
	sum = (sum & 0xffff) + (sum >> 16);
	ip->check = bpf_htons((__u16)~sum);
}

SEC("tc")
int answer(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ethhdr *eth = data;
	struct iphdr *ip = (void *)(eth + 1);
	struct udphdr *udp = (void *)(ip + 1);
	__u8 *dns = (void *)(udp + 1);
	struct record r;
	__be32 addr;
	__u32 n;
	int six;

	if ((void *)(dns + ASKED) > end || eth->h_proto != bpf_htons(ETH_P_IP) || ip->ihl != 5 ||
	    ip->protocol != 17 || udp->dest != bpf_htons(DNS_PORT))
		return TC_ACT_UNSPEC;
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	udp->dest = udp->source;
	udp->source = bpf_htons(DNS_PORT);
	dns[2] |= 0x80; /* an answer; loopback verifies no sum of UDP */
	dns[3] = 0x83;	/* recursion is to be had; NXDOMAIN */
	if (skb->len != MESSAGE + ASKED)
		return TC_ACT_UNSPEC;
	six = dns[HEADER + NAME + 1] == AAAA;
	n = make_record(six, &r);
	dns[3] = 0x80;
	dns[7] = 1;
	lengthen(ip, udp, n);
	if (bpf_skb_change_tail(skb, MESSAGE + ASKED + n, 0) ||
	    bpf_skb_store_bytes(skb, MESSAGE + ASKED, &r, six ? sizeof(r) : sizeof(r) - 12, 0))
		return TC_ACT_SHOT;
	return TC_ACT_UNSPEC;
}
