/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* drain.bpf.c - which connections keep a draining backend, of those that are remembered in their
 * sockets' storage (`connections` is counted by itself): an iterator over the sockets' storage,
 * of all network namespaces at once, run by the agent only while something drains, so that
 * connect() pays nothing for it. For each open socket that was steered to a backend whose state is
 * WM_STATE_DRAIN, and is so by that backend's present occupant, it writes the backend's index, four
 * octets. Where a kernel refuses it, netns.bpf.c has what takes its place. */
#include "origin.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("iter/bpf_sk_storage_map")
int open_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	const struct sock *sk = ctx->sk;
	struct towards to;

	return sk && by_storage(&sk->__sk_common, ctx->value, &to) ? report(ctx->meta, to) : 0;
}
