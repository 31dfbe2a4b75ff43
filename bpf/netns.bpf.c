/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* netns.bpf.c - walks by network namespace. open_tcp and open_udp write what drain.bpf.c does, of
 * the sockets of the network namespace in which they are opened. task_netns tells which namespaces
 * there are beside the agent's: for each task in another one it writes that namespace's inode
 * number and the task's id, eight octets; unlike /proc/<pid>/ns it needs no right over the task. */
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
