/* SPDX-License-Identifier: GPL-2.0-only OR BSD-2-Clause */
/* likely.h - which set a name or an address most probably stands for, told by its hash alone. The
 * entry of a hash is three lines of memory away, one after the other, and says only then which set
 * is to be read; by this the set is read meanwhile. Nothing is decided by it: who was stored last
 * has the place, nobody takes it away, and what is wrong costs a line that was read in vain. Pure.
 * Tests: tests/unit/test_likely.c, tests/bpf/test_likely.c. */
#pragma once
#include "layout.h"
#include "name_hash.h"

/** Where the set of the name of @p k stands, modulo a power of two. */
static __always_inline __u32 wm_likely_name(const struct wm_name_key *k)
{
	return (__u32)k->hash[0];
}

/** Where that of address @p addr_be stands (v4-mapped if IPv4), likewise. */
static __always_inline __u32 wm_likely_address(const __be32 addr_be[4])
{
	__u64 x = ((__u64)addr_be[0] << 32 | addr_be[1]) * 0x9e3779b97f4a7c15ull;

	return (__u32)wm_mix64(x ^ ((__u64)addr_be[2] << 32 | addr_be[3]));
}
