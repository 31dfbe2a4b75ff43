/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_rest.h - names of ours whose form says what they have (dns_form.h), part of dns.bpf.c: a
 * program that the others call for what is not in the tables. */

/** @return enum wm_form, with where the address begins in w->service_at. */
__noinline int dns_form(struct work *w)
{
	struct wm_deny_label dc;
	__u32 zone, at = 0;
	int form;

	if (!w)
		return WM_FORM_OTHER;
	zone = w->zone & 1;
	dc.word = deny_dc.word;
	dc.mask = deny_dc.mask;
	form = wm_form_of(w->question.octets, w->query.name_len, &w->labels, deny_zones[zone].len,
			  deny_zones[zone].labels, &dc, &at);
	w->service_at = at;
	return form;
}

/** The address that the label at w->service_at is, v4-mapped, into the first record that was
 *  gathered. @return WM_FAMILY_*, 0: it is none. */
__noinline int dns_form_address(struct work *w)
{
	__u32 at, len, ok;
	__be32 *a;

	if (!w)
		return 0;
	at = w->service_at + 1;
	len = w->question.octets[w->service_at & (WM_NAME_BUF - 1)];
	a = w->srv[0].addr_be;
	if (len == 8) {
		a[0] = a[1] = 0;
		a[2] = WM_V4_MAPPED_BE;
		return wm_form_hex(wm_deny_word(w->question.octets, at), &a[3]) ? WM_FAMILY_4 : 0;
	}
	ok = len == 32;
	for (__u32 i = 0; i < 4; i++)
		ok &= (__u32)wm_form_hex(wm_deny_word(w->question.octets, at + 8 * i), &a[i]);
	return ok ? WM_FAMILY_6 : 0;
}

static __always_inline int rest_address(struct work *w, __u32 soa)
{
	int family = dns_form_address(w);
	__u16 type = family == WM_FAMILY_6 ? WM_DNS_AAAA : WM_DNS_A;

	if (!family)
		w->rcode = WM_DNS_NXDOMAIN;
	if (!family || (w->query.type != type && w->query.type != WM_DNS_ANY))
		return put_soa(w, soa);
	wm_dns_put_address(w->answer.octets, type, node_ttl_s, w->srv[0].addr_be);
	w->records = 1;
	w->records_len = type == WM_DNS_A ? WM_DNS_RR_A : WM_DNS_RR_AAAA;
	return 0;
}

static __always_inline int rest_build(struct work *w)
{
	int form = dns_form(w);
	__u32 soa = WM_DNS_HEADER_LEN + (w->domain_at & 0xff);

	w->rcode = WM_DNS_NOERROR;
	w->nodata = false;
	if (form == WM_FORM_OTHER || form == WM_FORM_NODE ||
	    (form == WM_FORM_APEX && w->query.type == WM_DNS_NS))
		return WM_C_DNS_PASS_UNKNOWN;
	if (form == WM_FORM_ADDR)
		return rest_address(w, soa);
	if (form == WM_FORM_NOTHING)
		w->rcode = WM_DNS_NXDOMAIN;
	put_soa(w, soa);
	if (form == WM_FORM_APEX && (w->query.type == WM_DNS_SOA || w->query.type == WM_DNS_ANY)) {
		w->nodata = false; /* it is what was asked for */
		w->records = 1;
	}
	return 0;
}

SEC("tc")
int dns_rest(struct __sk_buff *skb)
{
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	int why;

	if (!w)
		return leave(WM_C_DNS_PASS_UNKNOWN);
	why = rest_build(w);
	if (why == WM_C_DNS_PASS_UNKNOWN && w->query.type != WM_DNS_SRV && dns_plain_name(w))
		why = go_on(skb, w, WM_DNS_TAIL_PLAIN, w->mac);
	if (ready_on && why == WM_C_DNS_PASS_UNKNOWN)
		why = go_on(skb, w, WM_DNS_TAIL_READY, w->mac);
	if (!why)
		why = answer(skb, w, w->mac);
	return end(skb, w, why);
}
