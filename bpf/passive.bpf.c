/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* passive.bpf.c - what became of the TCP connects that were steered: refused, unanswered, or made,
 * and how quickly. A backend that fails is ejected here, as its set says, before userspace hears of
 * it, and without an agent (waymark/outlier.h). A socket that was not steered asks for no call, so
 * it costs one look by its cookie; one that was, nothing from when it is established. */
#include "failed.h"
#include "waymark/outcome.h"
#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "Dual BSD/GPL";

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1); /* set by the loader: as many as there are backends */
	__uint(map_flags, BPF_F_MMAPABLE);
	__type(key, __u32);
	__type(value, struct wm_connects);
} outcomes SEC(".maps");

/* What a program of sockops answers: everybody else's programs go on. */
#define GO_ON 1

static __always_inline struct wm_connection *steered(struct bpf_sock_ops *ctx)
{
	struct wm_connection *c = connection_of(bpf_get_socket_cookie(ctx));

	return c && c->time_ns ? c : NULL;
}

/** us that the connect took, and when it is now. The kernel has measured the round trip of the SYN
 *  by then, so no clock is asked, which would be most of what a connect costs here; but for a SYN
 *  that was sent again, of which the last would count. */
static __always_inline __u32 took_us(struct bpf_sock_ops *ctx, const struct wm_connection *c,
				     __u64 *ret_now)
{
	__u32 us = ctx->srtt_us >> 3;

	if (us && !ctx->total_retrans) {
		*ret_now = c->time_ns + us * 1000ull;
		return us;
	}
	*ret_now = bpf_ktime_get_boot_ns();
	return wm_outcome_us(c->time_ns, *ret_now);
}

static __always_inline void made(struct bpf_sock_ops *ctx, const struct wm_connection *c)
{
	struct wm_connects *o = bpf_map_lookup_elem(&outcomes, &c->backend);
	struct wm_backend_live *live = live_of(c);
	struct wm_set_live *set = NULL;
	__u64 now;
	__u32 us;

	if (!live || !o)
		return;
	us = took_us(ctx, c, &now);
	wm_note_success(live);
	if (WM_READ(live->ejected_until_ns)) /* hardly ever */
		set = bpf_map_lookup_elem(&set_live, &c->set);
	if (set)
		wm_note_return(live, set, now);
	wm_ewma_observe(live, now, us);
	wm_outcome_note(o, c->stamp, us, ctx->srtt_us >> 3);
}

/** What the kernel gives the program that dials: an errno, 0 where it closed the socket. */
static __always_inline __u32 error_of(struct bpf_sock_ops *ctx)
{
	struct bpf_sock *sk = ctx->sk;
	struct tcp_sock *tp = sk ? bpf_skc_to_tcp_sock(sk) : NULL;

	return tp ? (__u32)BPF_CORE_READ(tp, inet_conn.icsk_inet.sk.sk_err) : 0;
}

/* What is asked for while a connect is on its way. */
#define ASKED (BPF_SOCK_OPS_STATE_CB_FLAG | BPF_SOCK_OPS_RTO_CB_FLAG)
/* Asked for as well where other software's programs had asked for some of that: a mark that it is
 * not ours to take back. The kernel has no place for one, and a retransmission costs nothing. */
#define THEIRS BPF_SOCK_OPS_RETRANS_CB_FLAG

/* The first SYN is about to be sent, and everybody's program has seen that a connect begins: what
 * is asked for by now is theirs. */
static __always_inline void begins(struct bpf_sock_ops *ctx)
{
	__u32 flags = ctx->bpf_sock_ops_cb_flags;
	const struct wm_connection *c = steered(ctx);
	const struct wm_connects *o;

	if (!c)
		return;
	/* what is written to when it is made is on its way to the caches until then */
	o = bpf_map_lookup_elem(&outcomes, &c->backend);
	if (o)
		(void)WM_READ(o->stamp);
	bpf_sock_ops_cb_flags_set(ctx, flags | ASKED | (flags & ASKED ? THEIRS : 0));
}

/* It is made or has failed: nothing more is wanted of this socket. Who asks when it is established
 * asks after us. */
static __always_inline void no_more(struct bpf_sock_ops *ctx)
{
	__u32 flags = ctx->bpf_sock_ops_cb_flags;

	if (!(flags & THEIRS))
		bpf_sock_ops_cb_flags_set(ctx, flags & ~ASKED);
}

static __always_inline void changed(struct bpf_sock_ops *ctx)
{
	const struct wm_connection *c;
	__u32 error;

	if (ctx->args[0] != TCP_SYN_SENT)
		return;
	c = steered(ctx);
	if (!c)
		return;
	no_more(ctx);
	if (ctx->args[1] == TCP_ESTABLISHED) {
		made(ctx, c);
		return;
	}
	error = error_of(ctx);
	if (error == ECONNREFUSED)
		failed(c, ECONNREFUSED, WM_FAILURE_REFUSED);
	else if (error && error != ETIMEDOUT) /* which was noted when nobody answered */
		failed(c, (__u8)error, WM_FAILURE_SILENT);
}

static __always_inline void unanswered(struct bpf_sock_ops *ctx)
{
	struct wm_connection *c;

	if (ctx->state != TCP_SYN_SENT || ctx->args[0]) /* again: noted */
		return;
	c = steered(ctx);
	if (c)
		failed_silent(c, ETIMEDOUT);
}

SEC("sockops")
int tcp_outcome(struct bpf_sock_ops *ctx)
{
	/* asked of who is about to answer a SYN, too */
	if (ctx->op == BPF_SOCK_OPS_TIMEOUT_INIT && ctx->state == TCP_SYN_SENT)
		begins(ctx);
	else if (ctx->op == BPF_SOCK_OPS_STATE_CB)
		changed(ctx);
	else if (ctx->op == BPF_SOCK_OPS_RTO_CB)
		unanswered(ctx);
	return GO_ON;
}
