/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_form.h - names below a domain of ours of which the form alone says what they have: the domain
 * itself, names that others lie below (RFC 8020), addresses in hexadecimal. The forms are those of
 * userspace/dns/names.c. Pure. */
#pragma once
#include "dns_srv.h"

enum wm_form {
	WM_FORM_OTHER,	 /* the form does not tell, or others do */
	WM_FORM_APEX,	 /* the domain */
	WM_FORM_BRANCH,	 /* a word of ours, the datacenter, or both, or a label with '_': there, and
			  * without records */
	WM_FORM_ADDR,	 /* <label>.addr: an address, if that is one */
	WM_FORM_NODE,	 /* <node>.node: there, if a node or the end of one's name is */
	WM_FORM_NOTHING, /* no name of ours has this form */
};

static __always_inline int wm_form_is_kind(__u64 word)
{
	return wm_deny_is(word, 7, WM_DENY_SERVICE) || wm_deny_is(word, 7, WM_DENY_VIRTUAL) ||
	       wm_deny_is(word, 4, WM_DENY_NODE) || wm_deny_is(word, 4, WM_DENY_ADDR) ||
	       wm_deny_is(word, 5, WM_DENY_QUERY);
}

/** Is the label that begins with @p word '_' and something? Names of RFC 2782 lie below it. */
static __always_inline int wm_form_is_tag(__u64 word)
{
	return wm_deny_octet(word, 0) > 1 && wm_deny_octet(word, 1) == '_';
}

/** @param zone_len, zone_labels of the domain that the @p len octets end with. @param ret_at of
 *  WM_FORM_ADDR: where the label begins. */
static __always_inline enum wm_form wm_form_of(const __u8 *name, __u32 len,
					       const struct wm_deny_labels *l, __u32 zone_len,
					       __u32 zone_labels, const struct wm_deny_label *dc,
					       __u32 *ret_at)
{
	__u32 left = l->count - zone_labels, n = 1;
	__u64 word;

	if (l->count == zone_labels)
		return len == zone_len ? WM_FORM_APEX : WM_FORM_OTHER;
	if (l->count < zone_labels || wm_deny_before(l, zone_labels, 0) != len - zone_len)
		return WM_FORM_OTHER;
	word = wm_deny_word(name, wm_deny_before(l, zone_labels, 1));
	if (!wm_form_is_kind(word)) {
		if (!wm_srv_is_dc(word, dc))
			return left == 1 && wm_form_is_tag(word) ? WM_FORM_BRANCH : WM_FORM_OTHER;
		if (left == 1)
			return WM_FORM_BRANCH;
		word = wm_deny_word(name, wm_deny_before(l, zone_labels, 2));
		if (!wm_form_is_kind(word)) {
			if (left == 2 && wm_form_is_tag(word))
				return WM_FORM_BRANCH;
			return wm_deny_octet(word, 1) == '_' ? WM_FORM_OTHER : WM_FORM_NOTHING;
		}
		n = 2;
	}
	if (left == n)
		return WM_FORM_BRANCH;
	if (wm_deny_is(word, 4, WM_DENY_NODE))
		return WM_FORM_NODE;
	if (!wm_deny_is(word, 4, WM_DENY_ADDR))
		return WM_FORM_OTHER;
	if (left != n + 1)
		return WM_FORM_NOTHING;
	*ret_at = wm_deny_before(l, zone_labels, n + 1);
	return WM_FORM_ADDR;
}

/** Eight hexadecimal digits of @p word, small ones, as four octets of an address: the reverse of
 *  wm_srv_hex(). Without a branch, of which the verifier would follow each. @return 0: it has
 * others. */
static __always_inline int wm_form_hex(__u64 word, __be32 *ret)
{
	const __u64 ones = 0x0101010101010101ull;
	__u64 x = (word & 15 * ones) + 9 * (word >> 6 & ones), y;

	y = (x << 4 | x >> 8) & 0x00ff00ff00ff00ffull;
	y = (y | y >> 8) & 0x0000ffff0000ffffull;
	*ret = (__be32)(y | y >> 16);
	return wm_srv_hex(*ret) == word;
}
