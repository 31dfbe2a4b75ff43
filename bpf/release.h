/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* release.h - a socket is closed: what was remembered of its connection ends, and its entry is
 * free. */
#pragma once
#include "cast.h"
#include "failed.h"

/* ns without an answer after which a program that closes its socket has waited long enough to say
 * that the backend failed; 0: never. Set by the loader. */
const volatile __u64 give_up_ns = 0;

/** The program gave up before an answer came. */
static __always_inline void given_up(struct wm_connection *c)
{
	__u64 now = bpf_ktime_get_boot_ns(), since = c->time_ns;

	if (since && now - since >= give_up_ns)
		failed_silent(c, ETIMEDOUT);
}

/* The socket is closed by its last owner. Those of the kernel's own, and the subflows of Multipath
 * TCP, end without. */
SEC("cgroup/sock_release")
int sock_release(struct bpf_sock *ctx)
{
	struct wm_connection *c;

	if (sock_has_no_cookie(ctx))
		return ALLOW;
	c = connection_of(bpf_get_socket_cookie(ctx));
	if (c) {
		if (give_up_ns && ctx->state == TCP_SYN_SENT && ctx->protocol == IPPROTO_TCP &&
		    !sock_has_not_asked(ctx))
			given_up(c);
		connection_end(c);
		WM_COMPILER_BARRIER();
		WM_WRITE(c->cookie, 0);
	}
	return ALLOW;
}
