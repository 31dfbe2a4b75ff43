/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* netns.bpf.c - walks by network namespace. open_tcp and open_udp write what drain.bpf.c does, of
 * the sockets of the network namespace in which they are opened. task_netns tells which namespaces
 * there are beside the agent's: for each task in another one it writes that namespace's inode
 * number and the task's id, eight octets; unlike /proc/<pid>/ns it needs no right over the task.
 * held_tcp and held_udp write the place in `connections` of each socket that has one there. */
#include "origin.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("iter/tcp")
int open_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	const struct wm_socket_origin *o;
	struct towards to;

	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&socket_origin, sk, NULL, 0);
	return by_storage(sk, o, &to) ? report(ctx->meta, to) : 0;
}

SEC("iter/udp")
int open_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *sk = ctx->udp_sk;
	const struct wm_socket_origin *o;
	struct towards to;

	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&socket_origin, sk, NULL, 0);
	return by_storage(&sk->inet.sk.__sk_common, o, &to) ? report(ctx->meta, to) : 0;
}

static __always_inline int report_place(struct bpf_iter_meta *meta, const struct sock_common *sk)
{
	__u64 cookie = sk->skc_cookie.counter;
	const struct wm_connection *c;

	for (__u32 i = 0; cookie && i < WM_CONNECTION_WAYS; i++) {
		__u32 at = ((__u32)cookie & connection_mask) * WM_CONNECTION_WAYS + i;

		c = connection_way(cookie, i);
		if (c && WM_READ(c->cookie) == cookie) {
			bpf_seq_write(meta->seq, &at, sizeof(at));
			break;
		}
	}
	return 0;
}

SEC("iter/tcp")
int held_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;

	return sk && is_open(sk) ? report_place(ctx->meta, sk) : 0;
}

SEC("iter/udp")
int held_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *sk = ctx->udp_sk;

	return sk ? report_place(ctx->meta, &sk->inet.sk.__sk_common) : 0;
}

SEC("iter/task")
int task_netns(struct bpf_iter__task *ctx)
{
	struct task_struct *me = bpf_get_current_task_btf(), *task = ctx->task;
	__u32 found[2], mine = me->nsproxy->net_ns->ns.inum;

	if (!task)
		return 0;
	found[0] = task->nsproxy->net_ns->ns.inum; /* 0: on its way out */
	found[1] = task->pid;
	if (found[0] && found[0] != mine)
		bpf_seq_write(ctx->meta->seq, found, sizeof(found));
	return 0;
}
