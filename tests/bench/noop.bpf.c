/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* noop.bpf.c - programs that do nothing on the hooks of ours: what the kernel takes to call them,
 * its own clock around each run included where that is on. */
#include <linux/bpf.h>
/* behind the types that it uses */
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("sockops")
int noop(struct bpf_sock_ops *ctx)
{
	return 1;
}

#define ASKED	 (BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTO_CB_FLAG)
#define SYN_SENT 2

/* It asks to be called for as much as ours, of each socket that dials. */
SEC("sockops")
int noop_outcome(struct bpf_sock_ops *ctx)
{
	if (ctx->op == BPF_SOCK_OPS_TIMEOUT_INIT && ctx->state == SYN_SENT)
		bpf_sock_ops_cb_flags_set(ctx, ASKED);
	else if (ctx->op == BPF_SOCK_OPS_STATE_CB)
		bpf_sock_ops_cb_flags_set(ctx, 0);
	return 1;
}

SEC("cgroup/connect4")
int noop_connect(struct bpf_sock_addr *ctx)
{
	return 1;
}

SEC("cgroup/sock_release")
int noop_release(struct bpf_sock *ctx)
{
	return 1;
}
