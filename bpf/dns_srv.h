/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_srv.h - SRV of services, part of dns.bpf.c: a program that the DNS programs call. It names
 * those that userspace would, by the same tables as connect(), each with its address behind: of a
 * service or a subset, under a policy of all tiers that connections are drawn to. What is by a tag
 * or a host name, or does not fit with all of its addresses, is userspace's.
 */

static __always_inline const struct wm_target *target_at(__u32 i)
{
	return bpf_map_lookup_elem(&targets, &i);
}

/** Is @p backend among the records that were gathered? */
__noinline int dns_srv_named(struct work *w, __u32 backend)
{
	return w && wm_srv_twin(w->srv, w->srv_count, backend) < w->srv_count;
}

/** Gather the backend of the next slot. @return enum wm_pick. */
__noinline int dns_srv_step(struct work *w)
{
	struct wm_choice c = {};
	struct wm_slot s;
	struct wm_srv *r;
	__u32 n;

	if (!w)
		return WM_PICK_TORN;
	if (w->walk.seen >= w->walk.count)
		return WM_PICK_NONE;
	if (wm_slot_read(NULL, &w->walk.table, w->walk.first + w->walk.seen, &s) != WM_PICKED)
		return WM_PICK_TORN;
	w->walk.seen++;
	if (wm_dns_is_out(NULL, &w->walk, s.backend, s.stamp) ||
	    !wm_take(NULL, s.backend, s.stamp, WM_FAMILY_4 | WM_FAMILY_6, 0, &c))
		return WM_PICK_MORE;
	if (w->walk.table.head.flags & WM_HEAD_SRV_MANY && dns_srv_named(w, s.backend))
		return WM_PICK_MORE;
	n = w->srv_count;
	if (n >= WM_SRV_MAX)
		return WM_PICK_TORN;
	r = &w->srv[n];
	r->addr_be[0] = c.addr_be[0];
	r->addr_be[1] = c.addr_be[1];
	r->addr_be[2] = c.addr_be[2];
	r->addr_be[3] = c.addr_be[3];
	r->backend = s.backend;
	r->stamp = s.stamp;
	r->port_be = c.port_be;
	r->weight = c.weight;
	r->family = c.family;
	wm_order_show(&w->walk.order, n, c.weight);
	w->srv_count = n + 1;
	return WM_PICKED;
}

__noinline int dns_srv_gather(struct work *w)
{
	int p = WM_PICK_MORE;

	if (!w)
		return WM_PICK_TORN;
	for (int i = 0; i <= WM_SRV_SCAN; i++) {
		if (p != WM_PICKED && p != WM_PICK_MORE)
			break;
		p = dns_srv_step(w);
	}
	return p;
}

/** Put record @p i of those that were gathered where it belongs. */
__noinline int dns_srv_place(struct work *w, __u32 i)
{
	struct wm_srv *a, *k, was;

	if (!w || i >= WM_SRV_MAX)
		return 0;
	a = &w->srv[i];
	k = &w->srv[wm_order_swap(&w->walk.order, i) & (WM_SRV_MAX - 1)];
	was = *a;
	*a = *k;
	*k = was;
	return 0;
}

/** Write record @p i at @p at. @return where it ends; 0: it is too long, or of somebody who is
 *  gone. */
__noinline int dns_srv_record(struct work *w, __u32 i, __u32 at)
{
	const struct wm_backend *b;
	const struct wm_target *t;
	struct wm_srv *a;
	__u32 end;

	if (!w || i >= WM_SRV_MAX || at > WM_DNS_EDNS_MAX)
		return 0;
	a = &w->srv[i];
	b = wm_at_backend(NULL, a->backend);
	t = target_at(a->backend);
	if (!b || !t)
		return 0;
	end = wm_srv_put(w->answer.octets, at, a, t, &srv_ends[w->zone & 1], w->walk.ttl_s);
	WM_COMPILER_BARRIER();
	return WM_READ(b->state) >> 16 == a->stamp ? (int)end : 0;
}

__noinline int dns_srv_address(struct work *w, __u32 i, __u32 at)
{
	if (!w || i >= WM_SRV_MAX || at > WM_DNS_EDNS_MAX)
		return 0;
	return (int)wm_srv_put_address(w->answer.octets, at, &w->srv[i],
				       WM_DNS_HEADER_LEN + w->query.name_len + 4, w->walk.ttl_s);
}

/** Put all in order, write their records, then their addresses. @return octets; 0: they do not fit,
 * or somebody is gone.
 */
__noinline int dns_srv_write(struct work *w)
{
	__u32 at = 0;

	if (!w)
		return 0;
	for (__u32 i = 0; i < WM_SRV_MAX; i++) {
		if (i >= w->srv_count)
			break;
		dns_srv_place(w, i);
	}
	for (__u32 i = 0; i < WM_SRV_MAX; i++) {
		if (i >= w->srv_count)
			break;
		at = (__u32)dns_srv_record(w, i, at);
		if (!at)
			return 0;
	}
	for (__u32 i = 0; i < WM_SRV_MAX; i++) {
		if (i >= w->srv_count)
			break;
		at = (__u32)dns_srv_address(w, i, at);
		if (!at)
			return 0;
	}
	return (int)at;
}

/** Gather those of all tiers that connections are drawn to. @return what the walk ended with;
 *  WM_PICKED: a tier is too large. */
__noinline int dns_srv_tiers(struct work *w, __u32 set)
{
	const struct wm_set_live *live = wm_at_set_live(NULL, set);
	int p = WM_PICK_NONE;

	if (!w || !live)
		return WM_PICK_TORN;
	for (__u32 i = 0; i < WM_TIERS_MAX; i++) {
		if (i >= w->walk.table.head.tiers || p != WM_PICK_NONE)
			break;
		if (!wm_srv_has_share(live->cut, w->walk.table.head.tiers, i))
			continue;
		wm_dns_walk_tier(&w->walk, i);
		p = w->walk.count > WM_SRV_SCAN ? WM_PICKED : dns_srv_gather(w);
	}
	return p;
}

/** Records of a set. @return 0 or a counter. */
static __always_inline int srv_records(struct work *w, __u32 set)
{
	__u32 len;
	int p;

	if (!wm_ups(NULL, set, WM_FAMILY_4 | WM_FAMILY_6))
		return WM_C_DNS_PASS_EMPTY;
	p = walk_begin(w, set);
	if (p != WM_PICKED)
		return p == WM_PICK_NONE ? WM_C_DNS_PASS_EMPTY : WM_C_DNS_PASS_TORN;
	if (!(w->walk.table.head.flags & (WM_HEAD_SRV | WM_HEAD_SRV_MANY)) ||
	    !srv_ends[w->zone & 1].len)
		return WM_C_DNS_PASS_TYPE;
	w->srv_count = 0;
	p = dns_srv_tiers(w, set);
	if (p != WM_PICK_NONE)
		return p == WM_PICKED || w->srv_count == WM_SRV_MAX ? WM_C_DNS_PASS_SIZE
								    : WM_C_DNS_PASS_TORN;
	if (!w->srv_count)
		return WM_C_DNS_PASS_EMPTY;
	len = (__u32)dns_srv_write(w);
	if (!len || len > room(w))
		return WM_C_DNS_PASS_SIZE;
	w->records = w->srv_count;
	w->additionals = (__u16)w->srv_count;
	w->records_len = len;
	return 0;
}

/** Is the question's name one of a domain of ours that stands in the tables as it was asked for?
 *  Labels of RFC 2782 do not. Else its plain name may (dns_plain.h). */
__noinline int dns_srv_is_plain(struct work *w)
{
	if (!w || w->question.octets[1] == '_')
		return 0;
	return find_domain(w) && dns_read_name(w) == 0;
}

static __always_inline int srv_build(const struct wm_config *c, struct work *w, int *ret_tail)
{
	int why;

	w->rcode = WM_DNS_NOERROR;
	w->nodata = false;
	dns_hash_name(w, c->seed[0], c->seed[1]);
	if (dns_srv_is_plain(w)) {
		why = 0;
	} else if (dns_plain_name(w)) {
		why = plain_find(c, w);
	} else {
		why = no_name(c, w, false);
		if (w->zone < 2)
			*ret_tail = WM_DNS_TAIL_REST;
		else if (ready_on)
			*ret_tail = WM_DNS_TAIL_READY;
		else if (hot_on && w->query.flags & WM_DNS_RD)
			*ret_tail = WM_DNS_TAIL_HOT;
		return why;
	}
	if (why == WM_C_DNS_PASS_UNKNOWN && w->absent) {
		w->rcode = WM_DNS_NXDOMAIN;
		return put_soa(w, WM_DNS_HEADER_LEN + (w->domain_at & 0xff));
	}
	if (why)
		return why;
	if (w->name.kind == WM_NAME_VIRTUAL) /* it has addresses alone */
		return put_soa(w, WM_DNS_HEADER_LEN + (w->domain_at & 0xff));
	w->walk.ttl_s = w->name.flags & WM_NAME_F_TTL ? w->name.ttl_s : c->ttl_s;
	return srv_records(w, w->name.set);
}

SEC("tc")
int dns_srv(struct __sk_buff *skb)
{
	const struct wm_config *c = config_get();
	__u32 zero = 0;
	struct work *w = bpf_map_lookup_elem(&dns_work, &zero);
	int tail = -1, why;

	if (!c || !w)
		return TC_ACT_UNSPEC; /* never: tells the verifier */
	why = srv_build(c, w, &tail);
	if (why == WM_C_DNS_PASS_UNKNOWN && tail == WM_DNS_TAIL_REST)
		why = go_on(skb, w, WM_DNS_TAIL_REST, w->mac);
	else if (why == WM_C_DNS_PASS_UNKNOWN && tail == WM_DNS_TAIL_READY)
		why = go_on(skb, w, WM_DNS_TAIL_READY, w->mac);
	else if (why == WM_C_DNS_PASS_UNKNOWN && tail == WM_DNS_TAIL_HOT)
		why = go_on(skb, w, WM_DNS_TAIL_HOT, w->mac);
	if (!why)
		why = answer(skb, w, w->mac);
	return end(skb, w, why);
}
