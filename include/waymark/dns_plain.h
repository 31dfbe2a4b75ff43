/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_plain.h - the name by which the tables know what a question asks for:
 *
 *   [<label>.]<service>.service[.<dc>].<domain>       ->  the same without the datacenter
 *   [<label>.]<service>.virtual[.<dc>].<domain>
 *   _<service>._tcp[.service][.<dc>].<domain>         ->  <service>.service.<domain>
 *   _<service>._<tag>[.service][.<dc>].<domain>       ->  <tag>.<service>.service.<domain>
 *
 * so that the tables need one entry for all of them. The forms are those of userspace/dns/names.c.
 * Pure. Spec: RFC 2782. */
#pragma once
#include "dns_form.h"

/* Octets of a buffer that a plain name is put into: what is written behind it is of whole words. */
#define WM_PLAIN_ROOM 1024
_Static_assert(2 * WM_NAME_BUF + 2 * WM_DNS_LABEL_MAX + 32 <= WM_PLAIN_ROOM, "domain behind all");

enum wm_plain_kind {
	WM_PLAIN_OTHER, /* a word of ours that no service has */
	WM_PLAIN_SHORT, /* no word: RFC 2782 without it, if at all */
	WM_PLAIN_SERVICE,
	WM_PLAIN_VIRTUAL,
};
struct wm_plain_form {
	__u32 kind; /* enum wm_plain_kind */
	__u32 dc;   /* 1: the datacenter's label is there */
	/* octets of the name that are taken as they stand, up to the datacenter or the domain; 0:
	 * it is RFC 2782's, and made of the two below */
	__u32 whole;
	__u32 service_at, service_len; /* text of it, in the question; len of RFC 2782's */
	__u32 tag_at, tag_len;	       /* likewise; len 0: there is none */
	__u32 srv_only;		       /* it has no records of another type */
};

/** Is the label at @p at the one that @p end begins with? */
static __always_inline int wm_plain_is_dc(const __u8 *name, __u32 at,
					  const volatile struct wm_srv_end *end)
{
	__u32 n = end->len ? (__u32)(end->words[0] & 0xff) + 1 : 0, left;
	__u64 differ = !n;

	for (__u32 k = 0; k < WM_NAME_BUF / 4 / 8; k++) {
		left = n > 8 * k ? n - 8 * k : 0;
		if (!left)
			break;
		differ |= (wm_deny_word(name, at + 8 * k) ^ end->words[k]) &
			  (left < 8 ? (1ull << 8 * left) - 1 : ~0ull);
	}
	return !differ;
}

/** What the name ends with before the domain: fills of @p ret above, dc and kind. In two steps, as
 *  the verifier follows what each branch learns of a word. */
static __always_inline void wm_plain_kind_of(const __u8 *name, const struct wm_deny_labels *l,
					     __u32 zone_labels,
					     const volatile struct wm_srv_end *end,
					     struct wm_plain_form *ret)
{
	__u32 at = wm_deny_before(l, zone_labels, 1), n = 0;
	__u64 word = wm_deny_word(name, at);

	/* a word of ours is no datacenter, whatever that is called */
	if (l->count > zone_labels + 1 && !wm_form_is_kind(word) && wm_plain_is_dc(name, at, end)) {
		n = 1;
		word = wm_deny_word(name, wm_deny_before(l, zone_labels, 2));
	}
	ret->dc = n;
	ret->kind = WM_PLAIN_OTHER;
	if (wm_deny_is(word, 7, WM_DENY_SERVICE))
		ret->kind = WM_PLAIN_SERVICE;
	else if (wm_deny_is(word, 7, WM_DENY_VIRTUAL))
		ret->kind = WM_PLAIN_VIRTUAL;
	else if (!wm_form_is_kind(word))
		ret->kind = WM_PLAIN_SHORT;
	ret->srv_only = ret->kind == WM_PLAIN_SHORT;
}

/** The rest, behind wm_plain_kind_of(). @return 1; 0: another form. */
static __always_inline int wm_plain_parts_of(const __u8 *name, __u32 before_zone,
					     const struct wm_deny_labels *l, __u32 zone_labels,
					     struct wm_plain_form *ret)
{
	__u32 kind = WM_READ(ret->kind), dc = WM_READ(ret->dc) & 1;
	__u32 above = dc + (kind != WM_PLAIN_SHORT), left = l->count - zone_labels - above;
	__u32 next = wm_deny_before(l, zone_labels, above + 1);
	__u32 second = wm_deny_before(l, zone_labels, above + 2);
	__u64 tag = wm_deny_word(name, next), service = wm_deny_word(name, second);

	if (kind == WM_PLAIN_OTHER || !left)
		return 0;
	if (left == 2 && kind != WM_PLAIN_VIRTUAL && wm_form_is_tag(tag) &&
	    wm_form_is_tag(service)) {
		ret->whole = 0;
		ret->service_at = second + 2;
		ret->service_len = wm_deny_octet(service, 0) - 1u;
		ret->tag_at = next + 2;
		ret->tag_len = wm_deny_is(tag, 4, WM_SRV_TCP) ? 0 : wm_deny_octet(tag, 0) - 1u;
		return 1;
	}
	ret->whole = dc ? wm_deny_before(l, zone_labels, 1) : before_zone;
	ret->service_at = next + 1; /* the label next to the word is it */
	return kind != WM_PLAIN_SHORT;
}

/** Does the domain of @p zone_len octets and @p zone_labels labels, which the name of @p len octets
 *  ends with, begin at a label, with another before it? */
static __always_inline int wm_plain_is_below(__u32 len, const struct wm_deny_labels *l,
					     __u32 zone_len, __u32 zone_labels)
{
	return l->count > zone_labels && wm_deny_before(l, zone_labels, 0) == len - zone_len;
}

/** Put @p len octets of a label at @p at of @p out, and whole words behind. @return where it ends.
 */
static __always_inline __u32 wm_plain_label(__u8 *out, __u32 at, const __u8 *name, __u32 from,
					    __u32 len)
{
	wm_any_word *w = (wm_any_word *)(out + at + 1);

	len &= WM_DNS_LABEL_MAX;
	out[at] = (__u8)len;
	for (__u32 k = 0; k < 8; k++)
		w[k] = wm_deny_word(name, from + 8 * k);
	return at + 1 + len;
}

/** The plain name into WM_PLAIN_ROOM octets at @p out (may not be @p name), folded and with zeros
 *  behind to WM_NAME_BUF. @param ret_service where its service's label begins. @return octets, 0:
 *  it is too long. */
static __always_inline __u32 wm_plain_put(const __u8 *name, const struct wm_plain_form *f,
					  const volatile struct wm_deny_zone *zone, __u8 *out,
					  __u32 *ret_service)
{
	__u32 n = f->whole & (WM_NAME_BUF - 1);
	wm_any_word *w = (wm_any_word *)out;

	if (n) {
		for (__u32 k = 0; k < WM_NAME_WORDS; k++)
			w[k] = wm_deny_word(name, 8 * k);
		*ret_service = f->service_at - 1;
	} else {
		if (f->tag_len)
			n = wm_plain_label(out, 0, name, f->tag_at, f->tag_len);
		*ret_service = n;
		n = wm_plain_label(out, n, name, f->service_at, f->service_len);
		*(wm_any_word *)(out + n) = WM_DENY_SERVICE << 8 | 7;
		n += 8;
	}
	w = (wm_any_word *)(out + n);
	for (__u32 k = 0; k < WM_NAME_WORDS; k++)
		w[k] = zone->words[k];
	n += zone->len;
	return n > WM_DNS_NAME_MAX ? 0 : n;
}
