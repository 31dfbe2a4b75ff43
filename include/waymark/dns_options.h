/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_options.h - the options of a query's OPT record, as far as they change the answer: cookie,
 * client subnet, NSID. Others are stepped over (RFC 6891 6.1.2). Of an option that comes more than
 * once the first counts (RFC 7873 5.2). Pure. */
#pragma once
#include "layout.h"

#define WM_DNS_OPTION_NSID   3
#define WM_DNS_OPTION_SUBNET 8
#define WM_DNS_OPTION_COOKIE 10
#define WM_DNS_OPTION_HEAD   4 /* octets of code and length */

#define WM_COOKIE_CLIENT     8	/* octets of the client's part: RFC 7873 4 */
#define WM_COOKIE_WHOLE	     24 /* with the server's, as RFC 9018 4 has it */
#define WM_COOKIE_SERVER_MIN 16 /* octets of both that another server's may have */
#define WM_COOKIE_SERVER_MAX 40
#define WM_SUBNET_HEAD	     4 /* octets of family and both lengths: RFC 7871 6 */
#define WM_SUBNET_MAX	     (WM_DNS_OPTION_HEAD + WM_SUBNET_HEAD + 16)

/* Octets of options that a program reads, and that it may look at behind them. */
#define WM_OPTIONS_KERNEL 224
#define WM_OPTIONS_BUF	  272
_Static_assert(255 + WM_DNS_OPTION_HEAD + 8 <= WM_OPTIONS_BUF, "what is read at a masked place");
#define WM_OPTIONS_KERNEL_COUNT 8 /* options that a program steps over */

/* Octets of options that an answer may have, but for NSID's. */
#define WM_OPTIONS_ANSWER (WM_DNS_OPTION_HEAD + WM_COOKIE_WHOLE + WM_SUBNET_MAX)

struct wm_options {
	__u32 at;	  /* where the next one begins */
	__u16 cookie_at;  /* of its data; 0: there is none, as a head stands before each */
	__u16 cookie_len; /* octets of it */
	__u16 subnet_at;  /* of its head */
	__u16 subnet_len; /* with the head: what the answer has of it; 0: there is none */
	__u32 nsid;	  /* 1: it is wanted */
};

enum wm_options_step { WM_OPTIONS_MORE, WM_OPTIONS_END, WM_OPTIONS_BAD };

/* A program's buffer has WM_OPTIONS_BUF octets, which the verifier is told; the host reads where
 * it has looked that there is something. */
#ifdef __bpf__
#define WM_OPTIONS_PLACE(at) ((at)&0xff)
#else
#define WM_OPTIONS_PLACE(at) (at)
#endif

static __always_inline __u32 wm_option_octet(const __u8 *p, __u32 at)
{
	return p[WM_OPTIONS_PLACE(at)];
}

static __always_inline __u32 wm_option_word(const __u8 *p, __u32 at)
{
	return wm_option_octet(p, at) << 8 | wm_option_octet(p, at + 1);
}

/** Is the client subnet with @p n octets of data at @p at well formed, as a query has it: RFC 7871
 *  6 and 7.1.2? Family 0 without an address stands for "of nobody". */
static __always_inline int wm_subnet_ok(const __u8 *p, __u32 at, __u32 n)
{
	__u32 family, source, octets, max;

	if (n < WM_SUBNET_HEAD)
		return 0;
	family = wm_option_word(p, at);
	source = wm_option_octet(p, at + 2);
	octets = (source + 7) / 8;
	max = family == 1 ? 32 : family == 2 ? 128 : 0;
	if (family > 2 || source > max || wm_option_octet(p, at + 3) ||
	    n != WM_SUBNET_HEAD + octets)
		return 0;
	return !(source % 8) || !(wm_option_octet(p, at + n - 1) & 0xff >> source % 8);
}

static __always_inline int wm_cookie_len_ok(__u32 n)
{
	return n == WM_COOKIE_CLIENT || (n >= WM_COOKIE_SERVER_MIN && n <= WM_COOKIE_SERVER_MAX);
}

/** Look at the option at o->at of @p len octets. @return enum wm_options_step; BAD: it does not end
 *  within them, or its data cannot be (FORMERR: RFC 7873 5.2.2, RFC 7871 7.1.2). */
static __always_inline int wm_options_step(const __u8 *p, __u32 len, struct wm_options *o)
{
	__u32 at = o->at, code, n;

	if (at == len)
		return WM_OPTIONS_END;
	if (at > len || len - at < WM_DNS_OPTION_HEAD)
		return WM_OPTIONS_BAD;
	code = wm_option_word(p, at);
	n = wm_option_word(p, at + 2);
	at += WM_DNS_OPTION_HEAD;
	if (len - at < n)
		return WM_OPTIONS_BAD;
	o->at = at + n;
	if (code == WM_DNS_OPTION_COOKIE && !o->cookie_at) {
		if (!wm_cookie_len_ok(n))
			return WM_OPTIONS_BAD;
		o->cookie_at = (__u16)at;
		o->cookie_len = (__u16)n;
	} else if (code == WM_DNS_OPTION_SUBNET && !o->subnet_len) {
		if (!wm_subnet_ok(p, at, n))
			return WM_OPTIONS_BAD;
		o->subnet_at = (__u16)(at - WM_DNS_OPTION_HEAD);
		o->subnet_len = (__u16)(WM_DNS_OPTION_HEAD + n);
	} else if (code == WM_DNS_OPTION_NSID) {
		o->nsid = 1;
	}
	return WM_OPTIONS_MORE;
}

#ifndef __bpf__
/** All options of @p len octets. @return 1; 0: one of them is malformed. */
static inline int wm_options_read(const __u8 *p, __u32 len, struct wm_options *ret)
{
	int step;

	__builtin_memset(ret, 0, sizeof(*ret));
	do
		step = wm_options_step(p, len, ret);
	while (step == WM_OPTIONS_MORE);
	return step == WM_OPTIONS_END;
}
#endif
