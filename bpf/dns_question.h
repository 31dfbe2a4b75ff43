/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_question.h - read the question and the OPT of a query. Part of dns.bpf.c. */
#pragma once

/** Length of the name at the start of w->question, 0 if it is malformed. Behind what was read the
 * buffer has what it had: a name that is cut short goes on there, and is found too long for the
 * message by the caller. */
__noinline int dns_name_length(struct work *w)
{
	__u32 pos = 0, len;

	if (!w)
		return 0;
	for (int i = 0; i < WM_DNS_LABELS_MAX; i++) {
		if (pos >= WM_DNS_NAME_MAX)
			return 0;
		len = w->question.octets[pos];
		w->labels.count = (__u32)i;
		if (!len)
			return (int)pos + 1;
		w->labels.at[i] = (__u8)pos;
		if (len > WM_DNS_LABEL_MAX)
			return 0;
		pos += len + 1;
	}
	return 0;
}

/** Types of which the tables know what a name has: addresses and SRV, and of the rest nothing, but
 *  for what is no type of a record (RFC 6895 3.1), but for ANY, which is one set of addresses
 *  (RFC 8482 4.1). */
static __always_inline bool answered_here(__u16 type)
{
	return (type != WM_DNS_SRV || use_tails) && type != WM_DNS_OPT && type &&
	       (type < 128 || type >= WM_DNS_ANY);
}

/** Octets of the question's name, if it is one: what the message leaves for it whose end is known,
 *  the question's or that of an OPT without options. 0: it ends with something else. */
static __always_inline __u32 likely_length(const struct work *w, __u32 left)
{
	bool opt = w->packet.header.additionals;
	__u32 len = left - (opt ? 4 + WM_DNS_OPT_LEN : 4);
	const __u8 *p;

	if (len - 1 >= WM_DNS_NAME_MAX)
		return 0;
	len = bounded(len, 0xff);
	p = w->question.octets + len;
	if (p[-1])
		return 0;
	return opt && p[4] | p[5] | (p[6] ^ WM_DNS_OPT) | p[13] | p[14] ? 0 : len;
}

/** Is the question's name one, and are its labels known? One that was found somewhere is: this is
 *  for the others, and for who needs the labels. They are read once. */
static __always_inline bool labels_read(struct work *w)
{
	if (w->likely && (__u32)dns_name_length(w) != w->query.name_len)
		return false;
	w->likely = false;
	return true;
}

/** The counter of a message that ends with what looks like a question, or an OPT, and is none. */
static __always_inline int misread(const struct work *w)
{
	return w->query.edns ? WM_C_DNS_PASS_EDNS : WM_C_DNS_PASS_MALFORMED;
}

/** Read question and OPT into @p w; the name is walked where its length is not told by the
 *  message's. @return 0, or the counter to raise. */
static __always_inline int read_query(struct __sk_buff *skb, struct work *w)
{
	union body *b = &w->question;
	__u32 left = w->packet.message_len - WM_DNS_HEADER_LEN, n = left, len;
	enum wm_dns_verdict v = wm_dns_check_header(&w->packet.header, &w->query);
	const __u8 *p;

	if (v != WM_DNS_OK)
		return v == WM_DNS_V_COUNTS ? WM_C_DNS_PASS_COUNTS : WM_C_DNS_PASS_NOT_QUERY;
	if (n > BODY_MAX)
		n = BODY_MAX;
	if (n < 5)
		return WM_C_DNS_PASS_MALFORMED;
	n = bounded(n, 0x1ff);
	if (bpf_skb_load_bytes(skb, w->packet.dns_off + WM_DNS_HEADER_LEN, b, n))
		return WM_C_DNS_PASS_MALFORMED;
	len = likely_length(w, left) & 0xff;
	w->likely = len != 0;
	if (!len)
		len = (__u32)dns_name_length(w) & 0xff;
	if (!len || len + 4 > n)
		return WM_C_DNS_PASS_MALFORMED;
	p = b->octets + len;
	w->query.name_len = len;
	w->query.type = (__u16)((__u32)p[0] << 8 | p[1]);
	w->query.class = (__u16)((__u32)p[2] << 8 | p[3]);
	if (w->packet.header.additionals) {
		if (n < len + 4 + WM_DNS_OPT_LEN ||
		    wm_dns_read_opt(p + 4, left - len - 4, &w->query) != WM_DNS_OK)
			return WM_C_DNS_PASS_MALFORMED;
		if (w->query.edns_version)
			return WM_C_DNS_PASS_EDNS;
	} else if (left != len + 4) {
		return WM_C_DNS_PASS_MALFORMED;
	}
	if (w->query.class == WM_DNS_IN && answered_here(w->query.type))
		return 0;
	if (!labels_read(w))
		return misread(w);
	return w->query.class == WM_DNS_IN ? WM_C_DNS_PASS_TYPE : WM_C_DNS_PASS_CLASS;
}
