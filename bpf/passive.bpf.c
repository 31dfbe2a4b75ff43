/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* passive.bpf.c - what became of the TCP connects that were steered, where the kernel refuses the
 * tracepoints that observe.bpf.c sees it by. A socket that was not steered asks for no call, so it
 * costs one look by its cookie; one that was, nothing from when it is established. But the kernel
 * calls sockops some twenty times for each connect of the machine. */
#include "outcome.h"
#include <bpf/bpf_core_read.h>

char _license[] SEC("license") = "Dual BSD/GPL";

/* What a program of sockops answers: everybody else's programs go on. */
#define GO_ON 1

static __always_inline struct wm_connection *steered_to(struct bpf_sock_ops *ctx)
{
	return steered(bpf_get_socket_cookie(ctx));
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
	const struct wm_connection *c = steered_to(ctx);

	if (!c)
		return;
	outcome_ahead(c);
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
	struct wm_connection *c;

	if (ctx->args[0] != TCP_SYN_SENT)
		return;
	c = steered_to(ctx);
	if (!c)
		return;
	no_more(ctx);
	if (ctx->args[1] == TCP_ESTABLISHED)
		outcome_made(c, ctx->srtt_us >> 3, ctx->total_retrans);
	else
		outcome_failed(c, error_of(ctx));
}

static __always_inline void unanswered(struct bpf_sock_ops *ctx)
{
	struct wm_connection *c;

	if (ctx->state != TCP_SYN_SENT || ctx->args[0]) /* again: noted */
		return;
	c = steered_to(ctx);
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
