/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_wire.h - DNS messages as far as the kernel and userspace both read them: header, question,
 * OPT. Reads within the given length (fuzz_dns_answer, fuzz_dns_respond); every loop is bounded by
 * a protocol limit. Pure. Spec: RFC 1035 4.1, RFC 6891 6.1. */
#pragma once
#include "dns_options.h"

/* What stands anywhere in a message. In the kernel loads and stores need no order of octets, and
 * one of each octet would be most of what the verifier walks through. */
#ifdef __bpf__
typedef __u64 __attribute__((may_alias)) wm_any_word;
typedef __u32 __attribute__((may_alias)) wm_any_half;
typedef __u16 __attribute__((may_alias)) wm_any_short;
#else
typedef __u64 __attribute__((may_alias, aligned(1))) wm_any_word;
typedef __u32 __attribute__((may_alias, aligned(1))) wm_any_half;
typedef __u16 __attribute__((may_alias, aligned(1))) wm_any_short;
#endif

struct wm_dns_header {
	__be16 id, flags, questions, answers, authorities, additionals;
};
_Static_assert(sizeof(struct wm_dns_header) == 12, "RFC 1035 4.1.1");

#define WM_DNS_HEADER_LEN 12
#define WM_DNS_QR	  0x8000
#define WM_DNS_OPCODE	  0x7800
#define WM_DNS_AA	  0x0400
#define WM_DNS_TC	  0x0200
#define WM_DNS_RD	  0x0100
#define WM_DNS_RA	  0x0080
#define WM_DNS_CD	  0x0010
#define WM_DNS_RCODE	  0x000f

#define WM_DNS_NOERROR	 0
#define WM_DNS_FORMERR	 1
#define WM_DNS_SERVFAIL	 2
#define WM_DNS_NXDOMAIN	 3
#define WM_DNS_NOTIMP	 4
#define WM_DNS_REFUSED	 5
#define WM_DNS_BADVERS	 16 /* upper bits in OPT: RFC 6891 9 */
#define WM_DNS_BADCOOKIE 23 /* likewise: RFC 7873 8 */

#define WM_DNS_IN	 1
#define WM_DNS_ANY_CLASS 255
#define WM_DNS_A	 1
#define WM_DNS_NS	 2
#define WM_DNS_CNAME	 5
#define WM_DNS_SOA	 6
#define WM_DNS_PTR	 12
#define WM_DNS_TXT	 16
#define WM_DNS_AAAA	 28
#define WM_DNS_SRV	 33
#define WM_DNS_OPT	 41
#define WM_DNS_AXFR	 252
#define WM_DNS_ANY	 255

/* For secondaries, of which there are none: RFC 1912 2.2. */
#define WM_DNS_SOA_REFRESH_S 3600
#define WM_DNS_SOA_RETRY_S   600
#define WM_DNS_SOA_EXPIRE_S  86400

#define WM_DNS_OPT_LEN	    11	   /* octets of an OPT record without options: RFC 6891 6.1.2 */
#define WM_DNS_DO	    0x8000 /* in the OPT TTL's lower half: RFC 3225 */
#define WM_DNS_NAME_POINTER 0xc00c /* to the question's name: RFC 1035 4.1.4 */

/* Why a message is not answered in the kernel; the order is that of the dns_pass_* counters. */
enum wm_dns_verdict {
	WM_DNS_OK = 0,
	WM_DNS_V_NOT_QUERY,
	WM_DNS_V_COUNTS,
	WM_DNS_V_MALFORMED,
	WM_DNS_V_EDNS,
	WM_DNS_V_OPTIONS, /* one of the options: the question was read */
};

/* A query, as far as it was read. */
struct wm_dns_query {
	__u16 flags;	   /* host order */
	__u16 type, class; /* of the question, host order */
	__u16 name_len;	   /* octets of the question's name, root label included */
	__u16 udp_size;	   /* what the client takes: 512 without EDNS, at least 512 */
	__u16 edns_flags;  /* host order; WM_DNS_DO */
	__u8 edns;	   /* 1: an OPT record was there */
	__u8 edns_version;
};

/** The header of a query that can be answered: QR 0, opcode 0, no TC; one question, no answers, no
 *  authorities, at most one additional (OPT). AA, RD, CD and AD are ignored as senders set them.
 *  Fills q->flags. */
static __always_inline enum wm_dns_verdict wm_dns_check_header(const struct wm_dns_header *h,
							       struct wm_dns_query *q)
{
	q->flags = __builtin_bswap16(h->flags);
	if (q->flags & (WM_DNS_QR | WM_DNS_OPCODE | WM_DNS_TC))
		return WM_DNS_V_NOT_QUERY;
	if (h->questions != __builtin_bswap16(1) || h->answers || h->authorities ||
	    __builtin_bswap16(h->additionals) > 1)
		return WM_DNS_V_COUNTS;
	return WM_DNS_OK;
}

/** Read the 11 octets of an OPT record at @p p, of which @p left octets are in the message.
 *  @return WM_DNS_OK; MALFORMED: not an OPT, or its data do not end with the message. */
static __always_inline enum wm_dns_verdict wm_dns_read_opt(const __u8 *p, __u32 left,
							   struct wm_dns_query *q)
{
	__u32 size, rdlen;

	if (left < WM_DNS_OPT_LEN || p[0] || p[1] || p[2] != WM_DNS_OPT)
		return WM_DNS_V_MALFORMED;
	size = (__u32)p[3] << 8 | p[4];
	rdlen = (__u32)p[9] << 8 | p[10];
	if (rdlen != left - WM_DNS_OPT_LEN)
		return WM_DNS_V_MALFORMED;
	q->edns = 1;
	q->edns_version = p[6];
	q->edns_flags = (__u16)((__u32)p[7] << 8 | p[8]);
	q->udp_size = (__u16)(size < WM_DNS_UDP_MAX ? WM_DNS_UDP_MAX : size);
	return WM_DNS_OK;
}

#ifndef __bpf__
/** Octets of the uncompressed name at the start of @p p (root label included), 0: malformed, longer
 *  than 255, a pointer, or not ended within @p left. */
static inline __u32 wm_dns_name_len(const __u8 *p, __u32 left)
{
	__u32 pos = 0;

	for (int i = 0; i < WM_DNS_LABELS_MAX; i++) {
		if (pos >= left || pos >= WM_DNS_NAME_MAX)
			return 0;
		if (!p[pos])
			return pos + 1;
		if (p[pos] > WM_DNS_LABEL_MAX)
			return 0;
		pos += p[pos] + 1u;
	}
	return 0;
}

/** Where the options of a query begin whose question and OPT were read. */
static inline __u32 wm_dns_options_at(const struct wm_dns_query *q)
{
	return WM_DNS_HEADER_LEN + q->name_len + 4u + WM_DNS_OPT_LEN;
}

/** The options of such a query of @p len octets. @return 1; 0: one of them is malformed. */
static inline int wm_dns_options_of(const __u8 *msg, __u32 len, const struct wm_dns_query *q,
				    struct wm_options *ret)
{
	__u32 at = q->edns ? wm_dns_options_at(q) : len;

	return wm_options_read(msg + at, len - at, ret);
}

/** Parse a query whole on the host. @p len >= 12. The same rules as the kernel's.
 *  @return WM_DNS_OK and @p q filled; name_len stays 0 when the question could not be read. */
static inline enum wm_dns_verdict wm_dns_parse(const __u8 *msg, __u32 len, struct wm_dns_query *q)
{
	struct wm_dns_header h;
	enum wm_dns_verdict v;
	const __u8 *p = msg + WM_DNS_HEADER_LEN;
	__u32 left = len - WM_DNS_HEADER_LEN, n;
	struct wm_options o;

	__builtin_memset(q, 0, sizeof(*q));
	q->udp_size = WM_DNS_UDP_MAX;
	__builtin_memcpy(&h, msg, sizeof(h));
	v = wm_dns_check_header(&h, q);
	if (v != WM_DNS_OK)
		return v;
	n = wm_dns_name_len(p, left);
	if (!n || left - n < 4)
		return WM_DNS_V_MALFORMED;
	q->type = (__u16)((__u32)p[n] << 8 | p[n + 1]);
	q->class = (__u16)((__u32)p[n + 2] << 8 | p[n + 3]);
	p += n + 4;
	left -= n + 4;
	if (h.additionals)
		v = wm_dns_read_opt(p, left, q);
	else if (left)
		v = WM_DNS_V_MALFORMED;
	if (v != WM_DNS_OK)
		return v;
	q->name_len = (__u16)n;
	if (q->edns_version)
		return WM_DNS_V_EDNS;
	return wm_dns_options_of(msg, len, q, &o) ? WM_DNS_OK : WM_DNS_V_OPTIONS;
}
#endif
