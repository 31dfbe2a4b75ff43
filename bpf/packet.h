/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* packet.h - Ethernet, IPv4/IPv6 and UDP around a DNS message: find it, and turn it round. */
#pragma once
#include "common.h"
#include "waymark/checksum.h"
#include "waymark/dns_wire.h"

struct wm_packet {
	struct wm_dns_header
		header;	   /* as received; the caller changes it and wm_packet_turn writes it */
	__u32 dns_off;	   /* of the DNS header in the frame */
	__u32 message_len; /* octets of the DNS message */
	__u16 csum;	   /* UDP checksum as received */
	__u16 ports_sum;   /* source + destination port, folded */
	__be16 udp_len_be; /* as received */
	bool v6;
};

#define WM_HEADERS_4	      (ETH_HLEN + 20 + 8 + WM_DNS_HEADER_LEN)
#define WM_HEADERS_6	      (ETH_HLEN + 40 + 8 + WM_DNS_HEADER_LEN)
#define WM_IP4_MORE_OR_OFFSET __builtin_bswap16(0x3fff) /* fragment: RFC 791 3.1 */

#define ANY_PORT 3 /* both bits */

/** Bits of the configured ports that @p port is. */
static __always_inline __u32 ports_of(const struct wm_config *c, __be16 port)
{
	return port ? (port == c->dns_port_be[0]) | (port == c->dns_port_be[1]) << 1 : 0;
}

/** Are questions to @p addr ours, on one of the ports @p ports? */
static __always_inline bool listens_on4(const struct wm_config *c, __be32 addr, __u32 ports)
{
	for (int i = 0; i < WM_DNS_LISTEN_MAX; i++)
		if (i < c->dns_addr4_count && c->dns_addr4_be[i] == addr)
			return ports & ~((__u32)c->dns_skip4 >> (2 * i));
	return false;
}

static __always_inline bool listens_on6(const struct wm_config *c, const __be32 *addr, __u32 ports)
{
	for (int i = 0; i < WM_DNS_LISTEN_MAX; i++) {
		const __be32 *l = c->dns_addr6_be[i];

		if (i < c->dns_addr6_count &&
		    !((l[0] ^ addr[0]) | (l[1] ^ addr[1]) | (l[2] ^ addr[2]) | (l[3] ^ addr[3])))
			return ports & ~((__u32)c->dns_skip6 >> (2 * i));
	}
	return false;
}

/** Take what is needed from UDP and DNS header. @p payload: octets behind the IP header. */
static __always_inline int read_udp(struct wm_packet *p, const struct udphdr *udp, __u32 payload)
{
	__u32 len = __builtin_bswap16(udp->len);

	if (len < sizeof(*udp) + WM_DNS_HEADER_LEN || len != payload)
		return WM_C_DNS_PASS_MALFORMED;
	p->message_len = len - sizeof(*udp);
	p->csum = udp->check;
	p->udp_len_be = udp->len;
	p->ports_sum = wm_csum_fold((__u32)udp->source + udp->dest);
	p->header = *(const struct wm_dns_header *)(udp + 1);
	return 0;
}

static __always_inline int read4(struct __sk_buff *skb, const struct wm_config *c,
				 struct wm_packet *p)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct iphdr *ip = data + ETH_HLEN;
	const struct udphdr *udp = (const void *)(ip + 1);
	__u32 ports;

	if (data + WM_HEADERS_4 > end || ip->protocol != IPPROTO_UDP)
		return -1;
	if (ip->version_ihl != 0x45 || ip->frag_off & WM_IP4_MORE_OR_OFFSET)
		return listens_on4(c, ip->daddr, ANY_PORT) ? WM_C_DNS_PASS_FRAGMENT : -1;
	ports = ports_of(c, udp->dest);
	if (!ports || !listens_on4(c, ip->daddr, ports))
		return -1;
	p->dns_off = ETH_HLEN + sizeof(*ip) + sizeof(*udp);
	return read_udp(p, udp, __builtin_bswap16(ip->tot_len) - (__u32)sizeof(*ip));
}

/** Hop-by-hop options, routing, fragment, destination options: RFC 8200 4.1. */
static __always_inline bool is_extension(__u8 nexthdr)
{
	return nexthdr == 0 || nexthdr == 43 || nexthdr == 44 || nexthdr == 60;
}

static __always_inline int read6(struct __sk_buff *skb, const struct wm_config *c,
				 struct wm_packet *p)
{
	const void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	const struct ipv6hdr *ip = data + ETH_HLEN;
	const struct udphdr *udp = (const void *)(ip + 1);
	__u32 ports;

	if (data + WM_HEADERS_6 > end)
		return -1;
	if (ip->nexthdr !=
	    IPPROTO_UDP) /* behind an extension header userspace sees it, unhurried */
		return is_extension(ip->nexthdr) && listens_on6(c, ip->daddr, ANY_PORT)
			       ? WM_C_DNS_PASS_FRAGMENT
			       : -1;
	ports = ports_of(c, udp->dest);
	if (!ports || !listens_on6(c, ip->daddr, ports))
		return -1;
	p->v6 = true;
	p->dns_off = ETH_HLEN + sizeof(*ip) + sizeof(*udp);
	return read_udp(p, udp, __builtin_bswap16(ip->payload_len));
}

/** Is this a DNS message for us? @return 0: yes, @p p filled; -1: not for us; else the counter of
 * why it passes. Cost for other traffic: a few compares. */
static __always_inline int wm_packet_read(struct __sk_buff *skb, const struct wm_config *c,
					  struct wm_packet *p)
{
	if (skb->protocol == __builtin_bswap16(ETH_P_IP))
		return read4(skb, c, p);
	if (skb->protocol == __builtin_bswap16(ETH_P_IPV6))
		return read6(skb, c, p);
	return -1;
}

static __always_inline void turn_mac(struct ethhdr *eth)
{
	__u8 mac[6];

	__builtin_memcpy(mac, eth->h_dest, 6);
	__builtin_memcpy(eth->h_dest, eth->h_source, 6);
	__builtin_memcpy(eth->h_source, mac, 6);
}

static __always_inline void turn_udp(struct udphdr *udp, const struct wm_packet *p, __u16 udp_len)
{
	__be16 port = udp->source;

	udp->source = udp->dest;
	udp->dest = port;
	udp->len = __builtin_bswap16(udp_len);
	*(struct wm_dns_header *)(udp + 1) = p->header;
}

static __always_inline int turn4(void *data, const void *end, const struct wm_packet *p,
				 __u16 udp_len, bool keep_csum, __u64 *ret_addresses)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip + 1);
	__be16 len = __builtin_bswap16((__u16)(udp_len + sizeof(*ip)));
	__be32 addr;

	if (data + WM_HEADERS_4 > end)
		return -1;
	addr = ip->saddr;
	ip->saddr = ip->daddr;
	ip->daddr = addr;
	*ret_addresses = (__u64)ip->saddr + addr;
	ip->check = wm_csum_replace(ip->check, ip->tot_len, len);
	ip->tot_len = len;
	turn_udp(udp, p, udp_len);
	if (!keep_csum)
		udp->check = 0; /* none: allowed over IPv4 (RFC 768), and loopback does not look */
	return 0;
}

static __always_inline int turn6(void *data, const void *end, const struct wm_packet *p,
				 __u16 udp_len, __u64 *ret_addresses)
{
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u64 sum = 0;
	__be32 addr;

	if (data + WM_HEADERS_6 > end)
		return -1;
	for (int i = 0; i < 4; i++) {
		addr = ip->saddr[i];
		ip->saddr[i] = ip->daddr[i];
		ip->daddr[i] = addr;
		sum += (__u64)ip->saddr[i] + addr;
	}
	*ret_addresses = sum;
	ip->payload_len = __builtin_bswap16(udp_len);
	turn_udp((void *)(ip + 1), p, udp_len);
	return 0;
}

/** Swap addresses and ports, set the lengths, write p->header. @p mac: swap link addresses too and
 * keep an IPv4 checksum for the caller to set. @p ret_addresses: sum of both addresses.
 *  @return 0, -1: the headers are not where they were. */
static __always_inline int wm_packet_turn(struct __sk_buff *skb, const struct wm_packet *p,
					  __u16 udp_len, bool mac, __u64 *ret_addresses)
{
	void *data = (void *)(long)skb->data;
	const void *end = (void *)(long)skb->data_end;

	if (mac) {
		if (data + ETH_HLEN > end)
			return -1;
		turn_mac(data);
	}
	return p->v6 ? turn6(data, end, p, udp_len, ret_addresses)
		     : turn4(data, end, p, udp_len, mac && p->csum, ret_addresses);
}
