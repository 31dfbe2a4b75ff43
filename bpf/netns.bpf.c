/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* netns.bpf.c - which network namespaces there are beside the agent's: for each task in another one
 * it writes that namespace's inode number and the task's id, eight octets. Unlike /proc/<pid>/ns it
 * needs no right over the task. */
#include "common.h"

char _license[] SEC("license") = "Dual BSD/GPL";

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
