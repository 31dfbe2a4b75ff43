/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* affinity.h - which backend of a set a client had last, for policies that keep it there. A hint in
 * front of the choice: it is taken while its time lasts, its backend is usable and still in the
 * set. The map forgets those whom it has not heard of for long, nearly in that order, from somewhat
 * before it is full on; the kernel uses a forgotten entry's memory again at once, so entries are
 * sealed as those of the other hashes are (table.h). Pure. */
#pragma once
#include "table.h"

static __always_inline __u64 wm_affinity_seal(const struct wm_affinity_key *k,
					      const struct wm_affinity *e)
{
	__u64 s = wm_seal_word(WM_SEAL_BEGIN, k->client);

	s = wm_seal_word(s, (__u64)k->set << 32 | e->tier);
	s = wm_seal_word(s, e->until_ns);
	s = wm_seal_word(s, (__u64)e->backend << 32 | e->stamp);
	return wm_seal_word(s, (__u64)e->generation << 32 | e->tables);
}

/** Is copy @p e of an entry, found by @p k, whole, of these tables, and its time not over? */
static __always_inline int wm_affinity_holds(const struct wm_affinity_key *k,
					     const struct wm_affinity *e, __u64 now_ns,
					     __u32 tables)
{
	return e->until_ns > now_ns && e->tables == tables && e->seal == wm_affinity_seal(k, e);
}

/* An entry is written again once this part of its time has passed: 1 / 64, so that a client who
 * dials all the time costs a write seldom. His time ends that much sooner at most. */
#define WM_AFFINITY_FRESH_SHIFT 6

/** Has entry @p e of a set that keeps clients for @p keep_ns so much of its time left that it need
 * not be written again? Of one whose time the set made shorter since, not. */
static __always_inline int wm_affinity_is_fresh(const struct wm_affinity *e, __u64 now_ns,
						__u64 keep_ns)
{
	return now_ns + keep_ns - e->until_ns < keep_ns >> WM_AFFINITY_FRESH_SHIFT;
}
