/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* noop.bpf.c - a program of sockops that returns at once: what the kernel's own clock around each
 * run takes, to be taken off what others' runs are said to take. */
#include <linux/bpf.h>
/* behind the types that it uses */
#include <bpf/bpf_helpers.h>

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("sockops")
int noop(struct bpf_sock_ops *ctx)
{
	return 1;
}
