/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* tables.bpf.c - the least that an answer from the tables costs, between the bare echo (echo.bpf.c)
 * and ours: on loopback, find the question's name in the agent's own `names` by its hash, while the
 * set that it is likely to have is read (NAME_SETS_MASK: places of these, less one), and send the
 * datagram back with room for one address behind it. Nothing is looked at: not what kind of message
 * it is, not whether the name found is the one that was asked for, not who is up. On FLOOR_PORT
 * that is all; on FLOOR_WALK_PORT the set is followed to the backend in its first slot, and its
 * address written; on FLOOR_SRV_PORT to those in its first four, and as many octets are written as
 * four SRV records with their addresses have, with what was read of these. */
#include "../../bpf/likely.h"
#include "waymark/checksum.h"
#include "waymark/dns_answer.h"
/* behind the types that they use */
#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "Dual BSD/GPL";

#define FLOOR_PORT	54
#define FLOOR_WALK_PORT 55
#define FLOOR_SRV_PORT	56
#define SRV_MANY	4
#define SRV_OCTETS	272 /* of the answer's 319 */
#define MESSAGE_AT	(ETH_HLEN + sizeof(struct iphdr) + sizeof(struct udphdr))
#define NAME_AT		(MESSAGE_AT + WM_DNS_HEADER_LEN)
#define NAME_MOST	96 /* octets of a name, its type and its class; a longer one is not ours */

union question {
	__u64 words[NAME_MOST / 8];
	__u8 octets[NAME_MOST];
};

/** Hash the @p len octets of a name. */
static __always_inline void hash(const struct wm_config *c, const union question *q, __u32 len,
				 struct wm_name_key *ret)
{
	struct wm_name_hasher h;

	wm_hash_begin(&h, c->seed);
	for (__u32 i = 0; i < NAME_MOST / 8; i++) {
		if (i * 8 >= len)
			break;
		wm_hash_word(&h, wm_fold8(wm_name_mask(q->words[i], i, len)));
	}
	wm_hash_end(&h, len, ret);
}

/** Where slot @p i leads. */
static __always_inline const struct wm_backend *slot_of(const struct wm_table_head *h, __u32 i)
{
	const struct wm_slot *s;

	if (h->flags & WM_HEAD_FEW)
		return wm_at_backend(NULL, h->few.backend[i & (WM_FEW_MAX - 1)]);
	s = wm_at_slot(NULL, h->first + i);
	return s ? wm_at_backend(NULL, s->backend) : NULL;
}

/** Where the first slot of set @p set leads. @return its address, 0: there is none. */
static __always_inline __be32 walk(__u32 set)
{
	const struct wm_set *s = wm_at_set(NULL, set);
	const struct wm_table_head *h;
	const struct wm_backend *b;

	wm_set_ahead(NULL, set);
	h = s ? wm_at_head(NULL, s->table.head) : NULL;
	b = h ? slot_of(h, 0) : NULL;
	return b && b->state ? b->addr4_be : 0;
}

/** Where the first slots of set @p set lead, in what an answer has room for. @return 0: nowhere. */
static __always_inline int walk_many(__u32 set, __u64 ret[SRV_OCTETS / 8])
{
	const struct wm_set *s = wm_at_set(NULL, set);
	const struct wm_table_head *h = s ? wm_at_head(NULL, s->table.head) : NULL;

	if (!h)
		return 0;
	for (__u32 i = 0; i < SRV_MANY; i++) {
		const struct wm_backend *b = slot_of(h, i);

		if (!b)
			return 0;
		ret[i] = b->addr4_be | (__u64)b->state << 32;
	}
	return 1;
}

/** Put @p size octets behind the question. @return 0, or an errno. */
static __always_inline long append(struct __sk_buff *skb, const void *octets, __u32 size)
{
	__u32 n = skb->len;

	return bpf_skb_change_tail(skb, n + size, 0)
		       ?: bpf_skb_store_bytes(skb, n, octets, size, 0);
}

static __always_inline void turn(struct iphdr *ip, struct udphdr *udp, __u16 more)
{
	__be16 len = bpf_htons(bpf_ntohs(ip->tot_len) + more), port = udp->dest;
	__be32 addr = ip->saddr;

	ip->saddr = ip->daddr;
	ip->daddr = addr;
	ip->check = wm_csum_replace(ip->check, ip->tot_len, len);
	ip->tot_len = len;
	udp->dest = udp->source;
	udp->source = port;
	udp->len = bpf_htons(bpf_ntohs(udp->len) + more);
	udp->check = 0;
}

SEC("tc")
int bench_floor(struct __sk_buff *skb)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	struct udphdr *udp = (void *)(ip + 1);
	const struct wm_config *c = config_get();
	__be32 addr[4] = {0, 0, WM_V4_MAPPED_BE, 0};
	__u8 record[WM_DNS_RR_A] __attribute__((aligned(8)));
	__u64 many[SRV_OCTETS / 8] = {0};
	const struct wm_name *e;
	struct wm_name_key key;
	union question q;
	__u32 n = skb->len, len, more = WM_DNS_RR_A;
	__be16 port;

	if (!c || (void *)(udp + 1) > end || skb->protocol != bpf_htons(ETH_P_IP) ||
	    ip->version_ihl != 0x45 || ip->protocol != IPPROTO_UDP)
		return TC_ACT_UNSPEC;
	port = udp->dest;
	if (port != bpf_htons(FLOOR_PORT) && port != bpf_htons(FLOOR_WALK_PORT) &&
	    port != bpf_htons(FLOOR_SRV_PORT))
		return TC_ACT_UNSPEC;
	len = n - NAME_AT;
	if (n < NAME_AT + 5 || len > NAME_MOST || bpf_skb_load_bytes(skb, NAME_AT, &q, len))
		return TC_ACT_UNSPEC;
	hash(c, &q, len - 4, &key);
	likely_ahead(&name_sets, wm_likely_name(&key) & NAME_SETS_MASK);
	e = bpf_map_lookup_elem(&names, &key);
	if (!e)
		return TC_ACT_UNSPEC;
	if (port == bpf_htons(FLOOR_SRV_PORT)) {
		more = SRV_OCTETS;
		if (!walk_many(e->set, many) || append(skb, many, SRV_OCTETS))
			return TC_ACT_UNSPEC;
	} else {
		addr[3] = port == bpf_htons(FLOOR_PORT) ? e->set : walk(e->set);
		if (!addr[3] && port == bpf_htons(FLOOR_WALK_PORT))
			return TC_ACT_UNSPEC;
		wm_dns_put_address(record, WM_DNS_A, c->ttl_s, addr);
		if (append(skb, record, WM_DNS_RR_A))
			return TC_ACT_UNSPEC;
	}
	data = (void *)(long)skb->data;
	end = (void *)(long)skb->data_end;
	ip = data + ETH_HLEN;
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) > end)
		return TC_ACT_SHOT;
	turn(ip, udp, (__u16)more);
	return TC_ACT_UNSPEC;
}
