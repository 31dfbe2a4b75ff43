/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* abort.bpf.c - ends the sockets of backends that are gone, so that their programs dial again
 * (ECONNABORTED) instead of sending to nobody. A socket goes only if what it remembers and what it
 * is connected to both name the backend, so neither an unconnected socket nor one that has moved
 * elsewhere is touched. For each it writes the backend's index, four octets. The iterators see the
 * network namespace in which they were opened. */
#include "origin.h"
#include "waymark/lost.h"

char _license[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1); /* set by the loader */
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct wm_lost_key);
	__type(value, struct wm_lost);
} lost SEC(".maps");

extern int bpf_sock_destroy(struct sock_common *sk) __ksym; /* Linux 6.5 */

/** Is @p at the address of @p l? Indexes and stamps begin anew when the tables do, while sockets of
 * before go on: the address tells them apart. */
static __always_inline bool same_address(const struct wm_origin *at, const struct wm_lost *l)
{
	const __be32 *have = at->backend_be;

	if (l->port_be && l->port_be != at->backend_port_be)
		return false;
	if (!have[0] && !have[1] && have[2] == WM_V4_MAPPED_BE)
		return l->addr4_be && have[3] == l->addr4_be;
	return have[0] == l->addr6_be[0] && have[1] == l->addr6_be[1] &&
	       have[2] == l->addr6_be[2] && have[3] == l->addr6_be[3];
}

static __always_inline bool is_lost(const struct wm_origin *at, __u16 protocol)
{
	struct wm_lost_key key = {};
	const struct wm_backend *b;
	const struct wm_lost *l;
	__u32 word, state;

	if (!at)
		return false;
	key.backend = at->backend;
	key.stamp = at->state >> 16;
	l = bpf_map_lookup_elem(&lost, &key);
	if (!l || !(l->protocols & protocol) || !same_address(at, l))
		return false;
	b = wm_at_backend(NULL, key.backend);
	if (!b)
		return false;
	word = WM_READ(b->state);
	state = word & WM_STATE_MASK;
	/* it may have come back since */
	return word >> 16 != key.stamp || (state != WM_STATE_UP && state != WM_STATE_DRAIN);
}

/* Written first: what does not fit is visited again, and by then a destroyed socket is no more. */
static __always_inline void destroy(struct bpf_iter_meta *meta, struct sock_common *sk,
				    __u32 backend)
{
	if (!bpf_seq_write(meta->seq, &backend, sizeof(backend)))
		bpf_sock_destroy(sk);
}

SEC("iter/udp")
int abort_udp(struct bpf_iter__udp *ctx)
{
	struct udp_sock *sk = ctx->udp_sk;
	const struct wm_origin *at;

	if (!sk)
		return 0;
	at = connected_by(&sk->inet.sk.__sk_common,
			  bpf_sk_storage_get(&socket_origin, sk, NULL, 0));
	if (is_lost(at, WM_LOST_UDP))
		destroy(ctx->meta, (struct sock_common *)sk, at->backend);
	return 0;
}

SEC("iter/tcp")
int abort_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	const struct wm_origin *at;

	if (!sk)
		return 0;
	at = connected_by(sk, bpf_sk_storage_get(&socket_origin, sk, NULL, 0));
	if (is_lost(at, WM_LOST_TCP))
		destroy(ctx->meta, sk, at->backend);
	return 0;
}
