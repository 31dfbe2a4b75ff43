/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* keep.h - affinity: the backend that a client had, and that it has now. Included by connect.bpf.c,
 * whose dial it works on. */
#pragma once

struct membership {
	struct dial *dial;
	__u32 backend;
	bool is;
};

static long see_member(__u64 i, void *arg)
{
	struct membership *m = arg;
	struct wm_slot s;

	if (wm_slot_read(NULL, &m->dial->table, (__u32)i, &s) != WM_PICKED)
		return 1;
	m->is = s.backend == m->backend;
	return m->is;
}

/** Has the set the backend still? Asked when the set was published since. */
__noinline int is_member(struct dial *d, __u32 backend)
{
	struct membership m = {.dial = d, .backend = backend};

	if (!d)
		return 0;
	if (use_bpf_loop) {
		bpf_loop(d->table.count, see_member, &m, 0);
	} else {
		for (__u32 i = 0; i < WM_SCAN_BOUNDED; i++)
			if (i >= d->table.count || see_member(i, &m))
				break;
	}
	return m.is;
}

static __always_inline __u64 keep_ns(const struct dial *d)
{
	return d->table.head.affinity_s * 1000000000ull;
}

/** The client has this one now, for as long as the set says from now on. */
__noinline int keep_for(struct dial *d, __u64 client)
{
	struct wm_affinity_key k = {};
	struct wm_affinity e = {};

	if (!d)
		return 0;
	k.client = client;
	k.set = d->set;
	e.until_ns = d->ask.now_ns + keep_ns(d);
	e.backend = d->choice.backend;
	e.stamp = d->choice.state >> 16;
	e.generation = d->table.word.generation;
	e.tier = d->ask.tier;
	e.tables = tables_id;
	e.seal = wm_affinity_seal(&k, &e);
	return bpf_map_update_elem(&affinity, &k, &e, BPF_ANY);
}

/** The backend that the client had, kept for longer. @return WM_PICKED with d->choice;
 * WM_PICK_NONE: another is to be chosen. */
__noinline int keep(struct dial *d, __u64 client)
{
	struct wm_affinity_key k = {};
	const struct wm_affinity *e;
	struct wm_affinity at;

	if (!d)
		return WM_PICK_NONE;
	k.client = client;
	k.set = d->set;
	e = bpf_map_lookup_elem(&affinity, &k);
	if (!e)
		return WM_PICK_NONE;
	at = *(const volatile struct wm_affinity *)e;
	if (!wm_affinity_holds(&k, &at, d->ask.now_ns, tables_id))
		return WM_PICK_NONE;
	if ((at.generation != d->table.word.generation && !is_member(d, at.backend)) ||
	    !take(d, at.backend, at.stamp)) {
		COUNT(counters_get(), connect_kept_lost);
		return WM_PICK_NONE;
	}
	d->ask.tier = at.tier;
	d->reason = WM_REASON_KEPT;
	COUNT(counters_get(), connect_kept);
	if (at.generation != d->table.word.generation ||
	    !wm_affinity_is_fresh(&at, d->ask.now_ns, keep_ns(d)))
		keep_for(d, client);
	return WM_PICKED;
}
