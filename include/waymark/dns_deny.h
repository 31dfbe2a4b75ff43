/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_deny.h - which names below a domain of ours cannot exist: by their form alone, or if no
 * service has the name that they end with. What is neither is for who knows nodes, tags and
 * queries. The forms are those of userspace/dns/names.c. Pure. */
#pragma once
#include "dns_wire.h"
#include "name_hash.h"

/* Octets of a buffer that a name is looked at in: what lies behind the name is zero. */
#define WM_DENY_BUF (WM_NAME_BUF + 16)

/* A domain of ours as words of its folded wire form, zeros behind; len 0: there is none. */
struct wm_deny_zone {
	__u64 words[WM_NAME_WORDS];
	__u32 len, labels; /* labels: without the root's */
};
/* The domain, the alternative one, and that of a cluster, of which nothing is denied by its form.
 */
#define WM_DENY_ZONES 3

/* The label of our datacenter may stand before the domain: its length and first seven octets,
 * folded, and which octets of these there are. A longer one that begins so is left to others, too.
 */
struct wm_deny_label {
	__u64 word, mask;
};

enum wm_deny {
	WM_DENY_NOT,	    /* others know */
	WM_DENY_FORM,	    /* no name of ours has this form */
	WM_DENY_NO_SERVICE, /* it ends with <service>.service.<domain>, or .virtual.<domain>: not
			     * there if that is not */
};

/* Where the labels of a name begin, without the root's. */
struct wm_deny_labels {
	__u8 at[WM_DNS_LABELS_MAX];
	__u32 count;
};
#define WM_DENY_LABEL_MASK (WM_DNS_LABELS_MAX - 1)
_Static_assert((WM_DNS_LABELS_MAX & WM_DENY_LABEL_MASK) == 0, "an index by mask");

/** The eight octets at @p at of a name, folded. */
static __always_inline __u64 wm_deny_word(const __u8 *name, __u32 at)
{
	return wm_fold8(*(const wm_any_word *)(name + (at & (WM_NAME_BUF - 1))));
}

/** Is the label at @p at this word of @p n octets, 7 or fewer? */
static __always_inline int wm_deny_is(__u64 word, __u32 n, __u64 text)
{
	__u32 behind = 56 - 8 * n;

	return word << behind == (text << 8 | n) << behind;
}

/* Up to seven letters as wm_deny_word() has them behind the length. */
#define WM_DENY_T4(a, b, c, d) ((__u64)(a) | (__u64)(b) << 8 | (__u64)(c) << 16 | (__u64)(d) << 24)
#define WM_DENY_SERVICE                                                                            \
	(WM_DENY_T4('s', 'e', 'r', 'v') | (__u64)'i' << 32 | (__u64)'c' << 40 | (__u64)'e' << 48)
#define WM_DENY_VIRTUAL                                                                            \
	(WM_DENY_T4('v', 'i', 'r', 't') | (__u64)'u' << 32 | (__u64)'a' << 40 | (__u64)'l' << 48)
#define WM_DENY_QUERY (WM_DENY_T4('q', 'u', 'e', 'r') | (__u64)'y' << 32)
#define WM_DENY_NODE  WM_DENY_T4('n', 'o', 'd', 'e')
#define WM_DENY_ADDR  WM_DENY_T4('a', 'd', 'd', 'r')
#define WM_DENY_NS    ((__u64)'n' | (__u64)'s' << 8)

/** Octet @p i of the word that begins with a label's length: its @p i-th. */
static __always_inline __u8 wm_deny_octet(__u64 word, __u32 i)
{
	return (__u8)(word >> (8 * i));
}

/** Where the label begins that is the @p n-th, from 1, before those of @p zone_labels. */
static __always_inline __u32 wm_deny_before(const struct wm_deny_labels *l, __u32 zone_labels,
					    __u32 n)
{
	return l->at[(l->count - zone_labels - n) & WM_DENY_LABEL_MASK];
}

/** What can be said of a name of @p len octets whose last octets are those of a domain of @p
 * zone_len octets and @p zone_labels labels. @param dc our datacenter's label */
static __always_inline enum wm_deny wm_deny_of(const __u8 *name, __u32 len,
					       const struct wm_deny_labels *l, __u32 zone_len,
					       __u32 zone_labels, const struct wm_deny_label *dc)
{
	__u64 last, second;

	if (l->count <= zone_labels || wm_deny_before(l, zone_labels, 0) != len - zone_len)
		return WM_DENY_NOT; /* the domain itself, or within a label */
	last = wm_deny_word(name, wm_deny_before(l, zone_labels, 1));
	if (wm_deny_octet(last, 1) == '_' || (last & dc->mask) == dc->word ||
	    wm_deny_is(last, 5, WM_DENY_QUERY) || wm_deny_is(last, 4, WM_DENY_NODE) ||
	    wm_deny_is(last, 4, WM_DENY_ADDR) || wm_deny_is(last, 2, WM_DENY_NS))
		return WM_DENY_NOT;
	if (!wm_deny_is(last, 7, WM_DENY_SERVICE) && !wm_deny_is(last, 7, WM_DENY_VIRTUAL))
		return WM_DENY_FORM;
	second = wm_deny_word(name, wm_deny_before(l, zone_labels, 2));
	if (l->count < zone_labels + 2 || wm_deny_octet(second, 1) == '_')
		return WM_DENY_NOT;
	return WM_DENY_NO_SERVICE;
}

#ifndef __bpf__
/** What the label @p text looks like there. */
static inline struct wm_deny_label wm_deny_label_of(const char *text)
{
	__u8 word[8] = {0}, mask[8] = {0xff};
	struct wm_deny_label ret;
	__u32 len = 0;

	for (; *text; text++) {
		if (++len > 7)
			continue;
		word[len] = (__u8)*text;
		mask[len] = 0xff;
	}
	word[0] = (__u8)len;
	__builtin_memcpy(&ret.word, word, sizeof(word));
	__builtin_memcpy(&ret.mask, mask, sizeof(mask));
	ret.word = wm_fold8(ret.word);
	return ret;
}

/** Where the labels of the name begin that is on the wire at @p name. */
static inline struct wm_deny_labels wm_deny_labels_of(const __u8 *name)
{
	struct wm_deny_labels ret = {.count = 0};

	for (__u32 at = 0; name[at] && ret.count < WM_DNS_LABELS_MAX; at += name[at] + 1u)
		ret.at[ret.count++] = (__u8)at;
	return ret;
}

/** A domain on the wire, folded; @p len 0: there is none. */
static inline struct wm_deny_zone wm_deny_zone_of(const __u8 *wire, __u32 len)
{
	struct wm_deny_zone ret = {.len = len};

	__builtin_memcpy(ret.words, wire, len);
	ret.labels = len ? wm_deny_labels_of(wire).count : 0;
	return ret;
}
#endif
