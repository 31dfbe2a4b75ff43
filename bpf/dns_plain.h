/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_plain.h - services by another name than the one in the tables (waymark/dns_plain.h), part of
 * dns.bpf.c: for dns_srv, and a program that dns_rest calls for all other types. */
__noinline int dns_plain_kind(struct work *w)
{
	__u32 zone;

	if (!w)
		return 0;
	zone = w->zone & 1;
	wm_plain_kind_of(w->question.octets, &w->labels, deny_zones[zone].labels, &srv_ends[zone],
			 &w->form);
	return 0;
}

/** Which of our domains the question's name is of, and where that begins. @return false: of none.
 */
static __always_inline bool find_domain(struct work *w)
{
	w->zone = 0;
	if (!dns_ends_with(w, 0)) {
		w->zone = 1;
		if (!dns_ends_with(w, 1))
			return false;
	}
	w->domain_at = w->query.name_len - deny_zones[w->zone & 1].len;
	return true;
}

/** What the question's name is. @return 0: another form. */
__noinline int dns_plain_form(struct work *w)
{
	const volatile struct wm_deny_zone *zone;

	if (!w)
		return 0;
	if (!find_domain(w))
		return 0;
	zone = &deny_zones[w->zone & 1];
	if (!wm_plain_is_below(w->query.name_len, &w->labels, zone->len, zone->labels))
		return 0;
	dns_plain_kind(w);
	return wm_plain_parts_of(w->question.octets, w->domain_at, &w->labels, zone->labels,
				 &w->form);
}

/** The plain name of w->form to the answer. @return octets, 0: it is too long. */
__noinline int dns_plain_put(struct work *w)
{
	__u32 service = 0, len;

	if (!w)
		return 0;
	len = wm_plain_put(w->question.octets, &w->form, &deny_zones[w->zone & 1], w->answer.octets,
			   &service);
	w->service_at = service;
	return (int)len;
}

/** Let the plain name take the place of the question's, which is put aside, and w->plain_len be its
 *  length. @return 0: the name is of another form, and nothing has changed. */
__noinline int dns_plain_name(struct work *w)
{
	if (!w || !dns_plain_form(w))
		return 0;
	w->plain_len = (__u32)dns_plain_put(w);
	if (!w->plain_len)
		return 0;
	for (__u32 i = 0; i < WM_NAME_WORDS; i++) {
		w->answer.words[WM_PLAIN_ROOM / 8 + i] = w->question.words[i];
		w->question.words[i] = w->answer.words[i];
	}
	return 1;
}

/** Nobody has the name, and its service is not there either, or it is that. */
__noinline int dns_plain_absent(struct work *w, __u64 seed0, __u64 seed1)
{
	if (!w || w->question.octets[(w->service_at + 1) & (WM_NAME_BUF - 1)] == '_')
		return 0; /* names of RFC 2782 may lie below it */
	return !w->service_at || !knows_service(w, seed0, seed1);
}

/** The entry of the plain name into w->name, behind dns_plain_name(). The question is as it was
 *  then. @return 0 or a counter; WM_C_DNS_PASS_UNKNOWN with w->absent. */
static __always_inline int plain_find(const struct wm_config *c, struct work *w)
{
	bool complete = WM_READ(c->flags) & WM_CONFIG_F_COMPLETE;
	__u16 len = w->query.name_len;
	__u64 sum = w->name_sum;
	int why;

	WM_COMPILER_BARRIER(); /* it was complete before the name was looked for */
	w->query.name_len = (__u16)w->plain_len;
	why = find_name(c, w);
	w->absent = why == WM_C_DNS_PASS_UNKNOWN && complete &&
		    dns_plain_absent(w, c->seed[0], c->seed[1]);
	w->query.name_len = len;
	w->name_sum = sum;
	for (__u32 i = 0; i < WM_NAME_WORDS; i++)
		w->question.words[i] = w->answer.words[WM_PLAIN_ROOM / 8 + i];
	return why;
}

/** @return 0 or a counter. */
static __always_inline int plain_build(const struct wm_config *c, struct work *w)
{
	const struct wm_named *e = &w->name;
	int why = plain_find(c, w);

	w->rcode = WM_DNS_NOERROR;
	w->type = w->query.type;
	w->nodata = false;
	if (why == WM_C_DNS_PASS_UNKNOWN && w->absent) {
		w->rcode = WM_DNS_NXDOMAIN;
		return put_soa(w, WM_DNS_HEADER_LEN + (w->domain_at & 0xff));
	}
	if (why)
		return why;
	if (w->form.srv_only) /* to ANY its SRV is an answer */
		return w->type == WM_DNS_ANY ? WM_C_DNS_PASS_TYPE
		       : wm_ups(NULL, e->set, WM_FAMILY_4 | WM_FAMILY_6)
			       ? put_soa(w, WM_DNS_HEADER_LEN + (w->domain_at & 0xff))
			       : WM_C_DNS_PASS_EMPTY;
	w->walk.ttl_s = e->flags & WM_NAME_F_TTL ? e->ttl_s : c->ttl_s;
	if (e->kind == WM_NAME_VIRTUAL)
		return virtual_record(w, e, w->walk.ttl_s);
	return set_records(w, e->set);
}

SEC("tc")
int dns_plain(struct __sk_buff *skb)
{
	const struct wm_config *c = config_get();
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	int why;

	if (!c || !w)
		return leave(WM_C_DNS_PASS_UNKNOWN);
	why = plain_build(c, w);
	if (!why)
		why = answer(skb, w, w->mac);
	return end(skb, w, why);
}
