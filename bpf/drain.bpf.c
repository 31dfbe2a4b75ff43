/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* drain.bpf.c - which connections keep a draining backend: an iterator over the sockets' storage,
 * run by the agent only while something drains, so that connect() pays nothing for it. For each
 * open socket that was steered to a backend whose state is WM_STATE_DRAIN, and is so by that
 * backend's present occupant, it writes the backend's index, four octets. */
#include "common.h"

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("iter/bpf_sk_storage_map")
int open_sockets(struct bpf_iter__bpf_sk_storage_map *ctx)
{
	const struct wm_socket_origin *o = ctx->value;
	const struct sock *sk = ctx->sk;
	const struct wm_backend *b;
	__u32 index, word, state;

	if (!sk || !o || !o->at[0].time_ns) /* unconnected datagrams are nobody's connection */
		return 0;
	if (o->tables && o->tables != tables_id) /* the index is one of tables that are gone */
		return 0;
	state = sk->__sk_common.skc_state;
	if (state == TCP_CLOSE || state == TCP_TIME_WAIT)
		return 0;
	index = o->at[0].backend;
	b = wm_at_backend(NULL, index);
	if (!b)
		return 0;
	word = WM_READ(b->state);
	if ((word & WM_STATE_MASK) == WM_STATE_DRAIN && !((word ^ o->at[0].state) >> 16))
		bpf_seq_write(ctx->meta->seq, &index, sizeof(index));
	return 0;
}
