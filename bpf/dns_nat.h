/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_nat.h - questions that this node's own packet filter has sent elsewhere than their client
 * did ("iptables -t nat -A OUTPUT ... -j REDIRECT"). The client takes an answer from whom he asked
 * alone, and only one that leaves by the stack is translated back; so these are userspace's. Part
 * of dns.bpf.c. Layout: linux/skbuff.h, net/netfilter/nf_conntrack.h. */
#pragma once
#include "cast.h"
#include <bpf/bpf_core_read.h>

#define CT_POINTER   (~7ul)		 /* the rest of skb->_nfct is flags: NFCT_PTRMASK */
#define CT_NAT	     (1u << 4 | 1u << 5) /* IPS_NAT_MASK: another source, another destination */
#define CT_STATUS_AT 128 /* of nf_conn.status since 4.11, while its module tells no types */

struct sk_buff___nat {
	unsigned long _nfct;
} __attribute__((preserve_access_index));
struct nf_conn___nat {
	unsigned long status;
} __attribute__((preserve_access_index));

/* Set by the loader: not where the kernel does not let programs read its memory (lockdown). */
const volatile bool use_nat;

/** The connection that the stack has noted at the datagram, and flags; 0: none. Where the kernel
 *  does not let its own structure be looked into, that is read as its memory, by a call. */
static __always_inline unsigned long connection_of(struct __sk_buff *skb)
{
#ifdef WM_CAST
	const struct sk_buff___nat *s = bpf_cast_to_kern_ctx(skb);

	return bpf_core_field_exists(s->_nfct) ? s->_nfct : 0;
#else
	const struct sk_buff___nat *s = (const void *)skb;
	unsigned long ct = 0;

	if (bpf_core_field_exists(s->_nfct))
		bpf_core_read(&ct, sizeof(ct), &s->_nfct);
	return ct;
#endif
}

/** Has the datagram another source or destination than it was sent with? */
static __always_inline bool is_translated(struct __sk_buff *skb)
{
	const struct nf_conn___nat *c;
	unsigned long ct, status = 0;

	if (!use_nat)
		return false;
	ct = connection_of(skb);
	if (!(ct & CT_POINTER))
		return false;
	c = (const void *)(ct & CT_POINTER);
	if (bpf_core_field_exists(c->status))
		bpf_core_read(&status, sizeof(status), &c->status);
	else
		bpf_probe_read_kernel(&status, sizeof(status), (const __u8 *)c + CT_STATUS_AT);
	return status & CT_NAT;
}
