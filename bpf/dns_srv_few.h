/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* dns_srv_few.h - SRV of sets of few that are all up (waymark/dns_srv_few.h), part of dns.bpf.c:
 * for the programs that a question comes to first, and for dns_srv, which goes on with what is not
 * so. */
#pragma once

/** Read the backends of a set of few into w->few: their lines are waited for at a time.
 *  @return 0: it is none, or they are not such that SRV of it can be written so. */
static __always_inline int srv_few_read(struct work *w, const volatile struct wm_srv_end *end)
{
	const struct wm_table_head *h = &w->walk.table.head;
	__u32 n = w->walk.count;
	const struct wm_backend *b;
	__u64 other, any = 0;

	if (!wm_srv_is_few(h, end) || n - 1 >= WM_FEW_MAX)
		return 0;
	for (__u32 i = 0; i < WM_FEW_MAX; i++) {
		w->few[i] = 0;
		if (i >= n)
			continue;
		b = wm_at_backend(NULL, h->few.backend[i]);
		if (!b)
			return 0;
		w->few[i] = wm_srv_few_read(b, h->few.stamp[i], w->walk.now_ns, &other);
		any |= other;
	}
	return !any;
}

/** SRV of a set of few, written at once. @return 0: it is left to who gathers. */
__noinline int dns_srv_few(struct work *w)
{
	const volatile struct wm_srv_end *end;
	__u32 n, len, order, target, at = 0;
	__be32 ttl_be;

	if (!w)
		return 0;
	end = &srv_ends[w->zone & 1];
	if (!srv_few_read(w, end))
		return 0;
	n = WM_READ(w->walk.count); /* one state for the verifier, not one of each number */
	len = wm_srv_few_len(end->len);
	if (n * (len + WM_DNS_RR_A) > room(w))
		return 0;
	order = wm_srv_few_order(w->few, n, w->walk.order.random);
	ttl_be = __builtin_bswap32(w->walk.ttl_s);
	for (__u32 i = 0; i < WM_FEW_MAX; i++) {
		if (i >= n)
			break;
		wm_srv_few_put(w->answer.octets, at, w->few[order >> 8 * i & (WM_FEW_MAX - 1)], len,
			       end, ttl_be);
		at += len;
	}
	target = WM_DNS_HEADER_LEN + w->query.name_len + 4 + WM_SRV_HEAD;
	for (__u32 i = 0; i < WM_FEW_MAX; i++) {
		if (i >= n)
			break;
		wm_srv_few_put_address(w->answer.octets, at,
				       w->few[order >> 8 * i & (WM_FEW_MAX - 1)], target, ttl_be);
		at += WM_DNS_RR_A;
		target += len;
	}
	w->records = n;
	w->additionals = (__u16)n;
	w->records_len = at;
	return 1;
}
