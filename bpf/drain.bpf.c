/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* drain.bpf.c - which connections keep a draining backend: iterators run by the agent only while
 * something drains, so that connect() pays nothing for it. For each open socket that was steered to
 * a backend whose state is WM_STATE_DRAIN, and is so by that backend's present occupant, they write
 * the backend's index, four octets. open_sockets walks the sockets' storage, of all network
 * namespaces at once; where a kernel refuses that, open_tcp and open_udp walk the sockets of one.
 */
#include "origin.h"

char _license[] SEC("license") = "Dual BSD/GPL";

static __always_inline int report(struct bpf_iter_meta *meta, const struct wm_origin *at)
{
	const struct wm_backend *b;
	__u32 index, word;

	if (!at)
		return 0;
	index = at->backend;
	b = wm_at_backend(NULL, index);
	if (!b)
		return 0;
	word = WM_READ(b->state);
	if ((word & WM_STATE_MASK) == WM_STATE_DRAIN && !((word ^ at->state) >> 16))
		bpf_seq_write(meta->seq, &index, sizeof(index));
	return 0;
}

SEC("iter/bpf_sk_storage_map")
int open_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	const struct sock *sk = ctx->sk;

	return sk ? report(ctx->meta, connected_by(&sk->__sk_common, ctx->value)) : 0;
}

SEC("iter/tcp")
int open_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	const struct wm_socket_origin *o;

	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&socket_origin, sk, NULL, 0);
	return report(ctx->meta, connected_by(sk, o));
}

SEC("iter/udp")
int open_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *sk = ctx->udp_sk;
	const struct wm_socket_origin *o;

	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&socket_origin, sk, NULL, 0);
	return report(ctx->meta, connected_by(&sk->inet.sk.__sk_common, o));
}
