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
