/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* steer.bpf.c - the least that it costs to steer a connect() by the agent's own tables, between
 * programs that do nothing (noop.bpf.c) and ours: look the address up in `frontends`, while the set
 * that it is likely to have is read (FRONTEND_SETS_MASK: places of these, less one), follow its set
 * to the first backend, and dial that, at the port STEER_PORT. Nothing is looked at: not whether
 * the entry is whole, not who is up or whose the backend is by now; nothing is counted, and nobody
 * can be told afterwards what was dialled. */
#include "../../bpf/likely.h"
/* behind the types that they use */
#include <bpf/bpf_endian.h>

char _license[] SEC("license") = "Dual BSD/GPL";

SEC("cgroup/connect4")
int bench_steer(struct bpf_sock_addr *ctx)
{
	struct wm_frontend_key key = {.addr_be = {0, 0, WM_V4_MAPPED_BE, ctx->user_ip4}};
	const struct wm_table_head *h;
	const struct wm_frontend *e;
	const struct wm_backend *b;
	const struct wm_set *s;

	likely_ahead(&frontend_sets, wm_likely_address(key.addr_be) & FRONTEND_SETS_MASK);
	e = bpf_map_lookup_elem(&frontends, &key);
	if (!e)
		return 0;
	wm_set_ahead(NULL, e->set);
	s = wm_at_set(NULL, e->set);
	h = s ? wm_at_head(NULL, s->table.head) : NULL;
	b = h && h->flags & WM_HEAD_FEW ? wm_at_backend(NULL, h->few.backend[0]) : NULL;
	if (!b || !b->state)
		return 0;
	ctx->user_ip4 = b->addr4_be;
	ctx->user_port = bpf_htons(STEER_PORT);
	return 1;
}
