/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* cast.h - what the kernel's own socket tells where programs may look into it (WM_CAST, Linux 6.2):
 * whether anybody has asked for its cookie, and whether a program keeps anything of it. Most
 * sockets are nobody's, and to look for what is kept of them costs lines of memory that no cache
 * has. */
#pragma once
#include "vmlinux.h"
#include <bpf/bpf_helpers.h>

#ifdef WM_CAST
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
#endif

/** It has no cookie, so it has no entry in `connections`. false: it may have. */
static __always_inline bool sock_has_no_cookie(struct bpf_sock *ctx)
{
#ifdef WM_CAST
	const struct sock *sk = bpf_cast_to_kern_ctx(ctx);

	return !sk->__sk_common.skc_cookie.counter;
#else
	return false;
#endif
}

/** The same of who dials, sends, receives or asks for its peer. */
static __always_inline bool has_no_cookie(struct bpf_sock_addr *ctx)
{
#ifdef WM_CAST
	const struct bpf_sock_addr_kern *k = bpf_cast_to_kern_ctx(ctx);

	return !k->sk->__sk_common.skc_cookie.counter;
#else
	return false;
#endif
}

/** No program keeps anything of it. false: one may. */
static __always_inline bool keeps_nothing(struct bpf_sock_addr *ctx)
{
#ifdef WM_CAST
	const struct bpf_sock_addr_kern *k = bpf_cast_to_kern_ctx(ctx);

	return !k->sk->sk_bpf_storage;
#else
	return false;
#endif
}
