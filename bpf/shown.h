/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* shown.h - what a steered socket is told of its peer: the address that was dialled, not the one it
 * leads to. Part of connect.bpf.c. */
#pragma once

/** Did what is remembered lead to the address that the kernel is about to show? */
static __always_inline bool led_to(struct bpf_sock_addr *ctx, const struct wm_origin *at,
				   const __be32 addr[4])
{
	return at->time_ns && at->backend_port_be == (__be16)ctx->user_port &&
	       same4(at->backend_be, addr);
}

/* What was dialled, to be shown. */
struct dialled {
	__be32 vip_be[4];
	__be16 port_be;
};

/** What the storage has to come to that address, or NULL. A connected socket hears its peer alone;
 *  of the destinations of single datagrams the newest wins, where two led to one backend. */
static __always_inline const struct wm_origin *stored(struct bpf_sock_addr *ctx,
						      const __be32 addr[4], bool connected)
{
	struct wm_socket_origin *o = recorded(ctx->sk, 0);
	const struct wm_origin *best = NULL;
	__u64 newest = 0;

	if (!o)
		return NULL;
	if (connected)
		return led_to(ctx, &o->at[0], addr) ? &o->at[0] : NULL;
	for (int i = 1; i <= WM_UDP_RING; i++) {
		const struct wm_origin *at = &o->at[i];

		if (at->time_ns > newest && led_to(ctx, at, addr)) {
			best = at;
			newest = at->time_ns;
		}
	}
	return best;
}

/** What was dialled to come to that address. @return false: it was dialled itself. */
static __always_inline bool shown(struct bpf_sock_addr *ctx, const __be32 addr[4], bool connected,
				  struct dialled *ret)
{
	const struct wm_connection *c;
	const struct wm_origin *at;

	c = connected ? connection_of(bpf_get_socket_cookie(ctx)) : NULL;
	if (c && c->time_ns && c->backend_port_be == (__be16)ctx->user_port &&
	    same4(c->backend_be, addr)) {
		__builtin_memcpy(ret->vip_be, c->vip_be, sizeof(ret->vip_be));
		ret->port_be = c->vip_port_be;
		return true;
	}
	at = stored(ctx, addr, connected);
	if (!at)
		return false;
	__builtin_memcpy(ret->vip_be, at->vip_be, sizeof(ret->vip_be));
	ret->port_be = at->vip_port_be;
	return true;
}

static __always_inline bool show4(struct bpf_sock_addr *ctx, bool connected)
{
	__be32 addr[4] = {0, 0, WM_V4_MAPPED_BE, ctx->user_ip4};
	struct dialled d;

	if (!shown(ctx, addr, connected, &d))
		return false;
	ctx->user_ip4 = d.vip_be[3];
	ctx->user_port = d.port_be;
	return true;
}

static __always_inline bool show6(struct bpf_sock_addr *ctx, bool connected)
{
	__be32 addr[4] = {ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]};
	struct dialled d;

	if (!shown(ctx, addr, connected, &d))
		return false;
	ctx->user_ip6[0] = d.vip_be[0];
	ctx->user_ip6[1] = d.vip_be[1];
	ctx->user_ip6[2] = d.vip_be[2];
	ctx->user_ip6[3] = d.vip_be[3];
	ctx->user_port = d.port_be;
	return true;
}

SEC("cgroup/recvmsg4")
int recvmsg4(struct bpf_sock_addr *ctx)
{
	if (show4(ctx, ctx->sk->dst_port))
		COUNT(counters_get(), udp_reversed);
	return ALLOW;
}

SEC("cgroup/recvmsg6")
int recvmsg6(struct bpf_sock_addr *ctx)
{
	if (show6(ctx, ctx->sk->dst_port))
		COUNT(counters_get(), udp_reversed);
	return ALLOW;
}

SEC("cgroup/getpeername4")
int getpeername4(struct bpf_sock_addr *ctx)
{
	if (show4(ctx, true))
		COUNT(counters_get(), peername_reversed);
	return ALLOW;
}

SEC("cgroup/getpeername6")
int getpeername6(struct bpf_sock_addr *ctx)
{
	if (show6(ctx, true))
		COUNT(counters_get(), peername_reversed);
	return ALLOW;
}
