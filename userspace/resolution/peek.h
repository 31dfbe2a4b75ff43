/* SPDX-License-Identifier: Apache-2.0 */
/* peek.h - what connect() would choose of a set now, without choosing: the set's table is copied
 * with all that it leads to, and the choice is made on the copy by the kernel's own code
 * (waymark/choose.h). Whoever was chosen is taken out, so that asking again tells who would be
 * next. Turns and counts of the set stay as they are. Threading: loop thread only. */
#pragma once
#include "tables.h"

struct wm_peek;
/** @return 0; -ENOENT: the set has no table; -ENOMEM. Cost: the set's slots and backends. */
int wm_peek_new(const struct wm_tables *t, uint32_t set, struct wm_peek **ret);
void wm_peek_free(struct wm_peek *p); /* NULL ok */
/** An instance is not to be chosen. */
void wm_peek_leave_out(struct wm_peek *p, uint64_t instance);

struct wm_peeked {
	uint64_t instance; /* hash */
	unsigned tier;
	bool up; /* or taken because nobody was, as the set says */
};
/** The next choice. @param key what consistent hashing goes by. @return false: nobody is left. */
bool wm_peek_next(struct wm_peek *p, uint64_t key, struct wm_peeked *ret);
