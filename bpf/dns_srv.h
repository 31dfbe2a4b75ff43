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

/** Has the backend another occupant? What was read of it before may be of that one. */
static __always_inline bool srv_is_gone(__u32 backend, __u32 stamp)
{
	const struct wm_backend *b = wm_at_backend(NULL, backend);

	WM_COMPILER_BARRIER();
	return !b || WM_READ(b->state) >> 16 != stamp;
}

/** Record @p i, below WM_SRV_MAX, of those that were gathered: which Linux 6.1 forgets of a number
 *  that was spilled. */
static __always_inline struct wm_srv *srv_at(struct work *w, __u32 i)
{
	asm volatile("" : "+r"(i));
	return &w->srv[i & (WM_SRV_MAX - 1)];
}

/** Octets of the node's name that @p backend leads to. @return -1: it has another occupant. */
static __always_inline int srv_node_len(__u32 backend, __u32 stamp)
{
	const struct wm_target *t = target_at(backend);
	int len;

	if (!t)
		return -1;
	len = WM_READ(t->len);
	return srv_is_gone(backend, stamp) ? -1 : len;
}

/** Gather the backend of the next slot. @return enum wm_pick. */
__noinline int dns_srv_step(struct work *w)
{
	struct wm_choice c = {};
	struct wm_slot s;
	int node = 0;
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
	if (!(c.flags & WM_BACKEND_F_BY_ADDRESS))
		node = srv_node_len(s.backend, s.stamp);
	if (node < 0)
		return WM_PICK_TORN;
	w->records_len +=
		wm_srv_keep(srv_at(w, n), &c, s.stamp, (__u32)node, srv_ends[w->zone & 1].len);
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

/** Write the record whose turn is place @p i: it and that place's change places. @return 0; -1: it
 *  is of somebody who is gone. */
__noinline int dns_srv_record(struct work *w, __u32 i)
{
	const volatile struct wm_srv_end *end;
	const struct wm_target *t = NULL;
	struct wm_srv *r, was;
	__u32 k;

	if (!w || i >= WM_SRV_MAX)
		return -1;
	k = wm_order_next(&w->walk.order, i, w->srv_count) & (WM_SRV_MAX - 1);
	r = &w->srv[i];
	was = *r;
	*r = w->srv[k];
	w->srv[k] = was;
	end = &srv_ends[w->zone & 1];
	if (r->node) {
		t = target_at(r->backend);
		if (!t)
			return -1;
	}
	wm_srv_put(w->answer.octets, w->srv_at, r, t, end, __builtin_bswap32(w->walk.ttl_s));
	w->srv_at += r->len;
	return r->node && srv_is_gone(r->backend, r->stamp) ? -1 : 0;
}

/** Write the addresses behind the records, which overwrite what is behind each. */
__noinline int dns_srv_addresses(struct work *w)
{
	__u32 at, target;
	const struct wm_srv *r;
	__be32 ttl_be;

	if (!w)
		return 0;
	at = w->srv_at;
	target = WM_DNS_HEADER_LEN + w->query.name_len + 4 + WM_SRV_HEAD;
	ttl_be = __builtin_bswap32(w->walk.ttl_s);
	for (__u32 i = 0; i < WM_SRV_MAX; i++) {
		if (i >= w->srv_count)
			break;
		r = &w->srv[i];
		wm_srv_put_address(w->answer.octets, at, r, target, ttl_be);
		target += r->len;
		at += wm_srv_address_len(r);
	}
	return 0;
}

/** Write all in order, and behind them their addresses. @return 0 or a counter. */
__noinline int dns_srv_write(struct work *w)
{
	if (!w || w->records_len > room(w))
		return WM_C_DNS_PASS_SIZE;
	w->srv_at = 0;
	for (__u32 i = 0; i < WM_SRV_MAX; i++) {
		if (i >= w->srv_count)
			break;
		if (dns_srv_record(w, i))
			return WM_C_DNS_PASS_TORN;
	}
	return dns_srv_addresses(w);
}

/** Look at the first backends of few: their lines are waited for at a time. */
__noinline int dns_srv_ahead(struct work *w)
{
	const struct wm_backend *b;

	if (!w || !(w->walk.table.head.flags & WM_HEAD_FEW))
		return 0;
	for (__u32 i = 0; i < WM_FEW_MAX; i++) {
		b = wm_at_backend(NULL, w->walk.table.head.few.backend[i]);
		if (b)
			(void)WM_READ(b->state);
	}
	return 0;
}

/** Gather those of all tiers that connections are drawn to. @return what the walk ended with;
 *  WM_PICKED: a tier is too large. */
__noinline int dns_srv_tiers(struct work *w, __u32 set)
{
	const struct wm_set_live *live = wm_at_set_live(NULL, set);
	int p = WM_PICK_NONE;

	if (!w || !live)
		return WM_PICK_TORN;
	if (!(w->walk.table.head.flags & WM_HEAD_FEW) &&
	    !wm_ups(NULL, set, WM_FAMILY_4 | WM_FAMILY_6))
		return WM_PICK_NONE; /* few say it themselves: one line less to wait for */
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
	int p = walk_begin(w, set);

	if (p != WM_PICKED)
		return p == WM_PICK_NONE ? WM_C_DNS_PASS_EMPTY : WM_C_DNS_PASS_TORN;
	if (!(w->walk.table.head.flags & (WM_HEAD_SRV | WM_HEAD_SRV_MANY)) ||
	    !srv_ends[w->zone & 1].len)
		return WM_C_DNS_PASS_TYPE;
	if (dns_srv_few(w))
		return 0;
	w->srv_count = 0;
	w->records_len = 0;
	dns_srv_ahead(w);
	p = dns_srv_tiers(w, set);
	if (p != WM_PICK_NONE)
		return p == WM_PICKED || w->srv_count == WM_SRV_MAX ? WM_C_DNS_PASS_SIZE
								    : WM_C_DNS_PASS_TORN;
	if (!w->srv_count)
		return WM_C_DNS_PASS_EMPTY;
	w->records = w->srv_count;
	w->additionals = (__u16)w->srv_count;
	return dns_srv_write(w);
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
