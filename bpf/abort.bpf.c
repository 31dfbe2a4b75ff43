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
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set by the loader: as many as there are backends */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, wm_lost_word);
} lost SEC(".maps");

extern int bpf_sock_destroy(struct sock_common *sk) __ksym; /* Linux 6.5 */

static __always_inline bool is_lost(struct towards to, __u32 protocol)
{
	const wm_lost_word *l = bpf_map_lookup_elem(&lost, &to.backend);
	const struct wm_backend *b;
	__u32 word, state;
	wm_lost_word gone;

	if (!l)
		return false;
	gone = WM_READ(*l);
	if (!(gone & protocol) || gone >> 32 != to.stamp)
		return false;
	b = wm_at_backend(NULL, to.backend);
	if (!b)
		return false;
	word = WM_READ(b->state);
	state = word & WM_STATE_MASK;
	/* it may have come back since */
	return word >> 16 != gone >> 32 || (state != WM_STATE_UP && state != WM_STATE_DRAIN);
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
	const struct wm_socket_origin *o;
	struct towards to;

	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&socket_origin, sk, NULL, 0);
	if (!by_connection(&sk->inet.sk.__sk_common, &to) &&
	    !by_storage(&sk->inet.sk.__sk_common, o, &to))
		return 0;
	if (is_lost(to, WM_LOST_UDP))
		destroy(ctx->meta, (struct sock_common *)sk, to.backend);
	return 0;
}

SEC("iter/tcp")
int abort_tcp(struct bpf_iter__tcp *ctx)
{
	struct sock_common *sk = ctx->sk_common;
	const struct wm_socket_origin *o;
	struct towards to;

	if (!sk)
		return 0;
	o = bpf_sk_storage_get(&socket_origin, sk, NULL, 0);
	if (!by_connection(sk, &to) && !by_storage(sk, o, &to))
		return 0;
	if (is_lost(to, WM_LOST_TCP))
		destroy(ctx->meta, sk, to.backend);
	return 0;
}
