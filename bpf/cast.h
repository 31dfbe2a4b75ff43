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

/** TCP that waits for an answer has asked for none: Fast Open puts the SYN off until there is
 * something to send with it. false: it may have asked. */
static __always_inline bool sock_has_not_asked(struct bpf_sock *ctx)
{
#ifdef WM_CAST
	const struct sock *sk = bpf_cast_to_kern_ctx(ctx);

	return !sk->tcp_rtx_queue.rb_node;
#else
	return false;
#endif
}

#define NO_COOKIE     1 /* as above */
#define KEEPS_NOTHING 2 /* no program keeps anything of it */

/** NO_COOKIE and KEEPS_NOTHING, where they are known to hold, of who dials or sends. A global
 * function: each time that the verifier comes to the cast it looks through all types of the kernel
 * by their names, which takes it a millisecond. */
__noinline int is_bare(struct bpf_sock_addr *ctx)
{
	int bare = 0;
#ifdef WM_CAST
	const struct bpf_sock_addr_kern *k = bpf_cast_to_kern_ctx(ctx);

	if (!k->sk->__sk_common.skc_cookie.counter)
		bare = NO_COOKIE;
	if (!k->sk->sk_bpf_storage)
		bare |= KEEPS_NOTHING;
#endif
	return bare;
}
