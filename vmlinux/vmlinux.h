/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* vmlinux.h - the kernel types that our programs touch, and no more: contexts and headers whose
 * layout is part of the kernel's user API, so one header serves every kernel and architecture and
 * nothing has to be relocated. A program that reads kernel structures adds them here with
 * preserve_access_index and only the fields it reads. */
#ifndef __VMLINUX_H__
#define __VMLINUX_H__

typedef signed char __s8;
typedef unsigned char __u8;
typedef short __s16;
typedef unsigned short __u16;
typedef int __s32;
typedef unsigned int __u32;
typedef long long __s64;
typedef unsigned long long __u64;
typedef __u16 __be16;
typedef __u32 __be32;
typedef __u64 __be64;
typedef __u16 __sum16;
typedef __u32 __wsum;
typedef _Bool bool;
#define true 1
#define false 0
#define NULL ((void *)0)

enum bpf_map_type {
	BPF_MAP_TYPE_HASH = 1,
	BPF_MAP_TYPE_ARRAY = 2,
	BPF_MAP_TYPE_PROG_ARRAY = 3,
	BPF_MAP_TYPE_PERCPU_ARRAY = 6,
	BPF_MAP_TYPE_LRU_HASH = 9,
	BPF_MAP_TYPE_LPM_TRIE = 11,
	BPF_MAP_TYPE_SK_STORAGE = 24,
	BPF_MAP_TYPE_RINGBUF = 27,
};
#define BPF_ANY			    0
#define BPF_F_NO_PREALLOC	    (1u << 0)
#define BPF_F_MMAPABLE		    (1u << 10)
#define BPF_SK_STORAGE_GET_F_CREATE 1
#define BPF_F_PSEUDO_HDR	    (1ull << 4)
#define BPF_F_MARK_MANGLED_0	    (1ull << 5)
#define BPF_F_MARK_ENFORCE	    (1ull << 6)
#define BPF_RB_NO_WAKEUP	    (1ull << 0)
#define BPF_RB_FORCE_WAKEUP	    (1ull << 1)
#define BPF_RB_AVAIL_DATA	    0

#define TC_ACT_UNSPEC (-1)
#define TC_ACT_OK     0
#define TC_ACT_SHOT   2

#define ETH_P_IP	0x0800
#define ETH_P_IPV6	0x86dd
#define ETH_HLEN	14
#define IPPROTO_TCP	6
#define IPPROTO_UDP	17
#define IPPROTO_MPTCP	262
#define AF_INET		2
#define AF_INET6	10
#define SOCK_STREAM	1
#define SOCK_DGRAM	2
#define ETIMEDOUT	110
#define ECONNREFUSED	111
#define TCP_ESTABLISHED 1
#define TCP_SYN_SENT	2
#define TCP_TIME_WAIT	6
#define TCP_CLOSE	7
#define TCP_LISTEN	10

struct ethhdr {
	__u8 h_dest[6], h_source[6];
	__be16 h_proto;
} __attribute__((packed));

struct iphdr {
	__u8 version_ihl; /* version in the upper half */
	__u8 tos;
	__be16 tot_len, id, frag_off;
	__u8 ttl, protocol;
	__sum16 check;
	__be32 saddr, daddr;
};

struct ipv6hdr {
	__be32 version_class_flow;
	__be16 payload_len;
	__u8 nexthdr, hop_limit;
	__be32 saddr[4], daddr[4];
};

struct udphdr {
	__be16 source, dest, len;
	__sum16 check;
};

struct bpf_flow_keys;

struct bpf_sock {
	__u32 bound_dev_if, family, type, protocol, mark, priority;
	__u32 src_ip4;
	__u32 src_ip6[4];
	__u32 src_port; /* host order */
	__be16 dst_port;
	__u16 : 16;
	__u32 dst_ip4;
	__u32 dst_ip6[4];
	__u32 state;
	__s32 rx_queue_mapping;
};

struct __sk_buff {
	__u32 len, pkt_type, mark, queue_mapping, protocol, vlan_present, vlan_tci, vlan_proto;
	__u32 priority, ingress_ifindex, ifindex, tc_index;
	__u32 cb[5];
	__u32 hash, tc_classid, data, data_end;
};

struct bpf_sock_addr {
	__u32 user_family;
	__u32 user_ip4;
	__u32 user_ip6[4];
	__u32 user_port;
	__u32 family, type, protocol;
	__u32 msg_src_ip4;
	__u32 msg_src_ip6[4];
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
};

struct bpf_sock_ops {
	__u32 op;
	__u32 args[4];
	__u32 family, remote_ip4, local_ip4;
	__u32 remote_ip6[4], local_ip6[4];
	__u32 remote_port, local_port, is_fullsock, snd_cwnd, srtt_us, bpf_sock_ops_cb_flags, state;
	__u32 rtt_min, snd_ssthresh, rcv_nxt, snd_nxt, snd_una, mss_cache, ecn_flags;
	__u32 rate_delivered, rate_interval_us, packets_out, retrans_out, total_retrans;
	__u32 segs_in, data_segs_in, segs_out, data_segs_out, lost_out, sacked_out, sk_txhash;
	__u64 bytes_received, bytes_acked;
	union {
		struct bpf_sock *sk;
		__u64 : 64;
	} __attribute__((aligned(8)));
};
#define BPF_SOCK_OPS_TIMEOUT_INIT    1
#define BPF_SOCK_OPS_RTO_CB	     8
#define BPF_SOCK_OPS_STATE_CB	     10
#define BPF_SOCK_OPS_RTO_CB_FLAG     (1u << 0)
#define BPF_SOCK_OPS_RETRANS_CB_FLAG (1u << 1)
#define BPF_SOCK_OPS_STATE_CB_FLAG   (1u << 2)

/* The kernel's own: where the fields are is found when the program is loaded. */
#define WM_CORE __attribute__((preserve_access_index))
struct in6_addr {
	union {
		__be32 u6_addr32[4];
	} in6_u;
} WM_CORE;

struct ns_common {
	unsigned int inum;
} WM_CORE;

struct net {
	struct ns_common ns;
	__u64 net_cookie;
} WM_CORE;

typedef struct {
	struct net *net;
} WM_CORE possible_net_t;

typedef struct {
	long long counter;
} atomic64_t;

struct bpf_local_storage;

struct sock_common {
	unsigned short skc_family;
	volatile unsigned char skc_state;
	unsigned char skc_ipv6only : 1;
	__be32 skc_daddr, skc_rcv_saddr;
	__be16 skc_dport;
	__u16 skc_num;
	possible_net_t skc_net;
	struct in6_addr skc_v6_daddr, skc_v6_rcv_saddr;
	atomic64_t skc_cookie; /* 0: nobody has asked for it */
} WM_CORE;

struct rb_root {
	struct rb_node *rb_node;
} WM_CORE;

struct socket;

typedef struct {
	int owned; /* by a call, which may wait */
} WM_CORE socket_lock_t;

struct sock {
	struct sock_common __sk_common;
	__u16 sk_protocol;
	int sk_err;
	socket_lock_t sk_lock;
	struct socket *sk_socket;		  /* NULL: nobody holds it any more */
	struct bpf_local_storage *sk_bpf_storage; /* NULL: no program keeps anything of it */
	struct rb_root tcp_rtx_queue;		  /* what was sent and is not acknowledged */
} WM_CORE;

/* What the kernel has where a program is given a struct bpf_sock_addr. */
struct bpf_sock_addr_kern {
	struct sock *sk;
} WM_CORE;

struct mptcp_sock {
	struct sock *first; /* the subflow that connect() made */
} WM_CORE;

struct inet_sock {
	struct sock sk;
	__be16 inet_sport; /* stays when the port itself is given back */
} WM_CORE;

struct inet_connection_sock {
	struct inet_sock icsk_inet;
} WM_CORE;

struct tcp_sock {
	struct inet_connection_sock inet_conn;
	__u32 srtt_us;	     /* smoothed round trip << 3; 0: not measured */
	__u32 total_retrans; /* segments that were sent again */
} WM_CORE;

struct udp_sock {
	struct inet_sock inet;
} WM_CORE;

struct nsproxy {
	struct net *net_ns;
} WM_CORE;

struct task_struct {
	int pid;
	struct nsproxy *nsproxy;
} WM_CORE;

struct seq_file;
struct bpf_map;

struct bpf_iter_meta {
	struct seq_file *seq;
} WM_CORE;

struct bpf_iter__bpf_sk_storage_map {
	struct bpf_iter_meta *meta;
	struct bpf_map *map;
	struct sock *sk;
	void *value;
} WM_CORE;

struct bpf_iter__tcp {
	struct bpf_iter_meta *meta;
	struct sock_common *sk_common;
} WM_CORE;

struct bpf_iter__udp {
	struct bpf_iter_meta *meta;
	struct udp_sock *udp_sk;
} WM_CORE;

struct bpf_iter__task {
	struct bpf_iter_meta *meta;
	struct task_struct *task;
} WM_CORE;

#endif
