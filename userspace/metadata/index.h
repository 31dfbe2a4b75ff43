/* SPDX-License-Identifier: Apache-2.0 */
/* index.h - finds the instances that a filter wants without asking each of a million. For every
 * service name, tag, metadata key and metadata value there is a compressed bitmap (Roaring) of the
 * instances that have it. A filter is planned against them: what an index answers is intersected,
 * smallest first, the rest of the filter is asked of what remains. The index follows the
 * registry's change stream and holds nothing of an instance that is gone.
 * Threading: loop thread only. Paper: Chambi, Lemire et al., Better bitmap performance with Roaring
 * bitmaps, 2016. */
#pragma once
#include "filter.h"
#include "userspace/registry/registry.h"

#include <stdbool.h>
#include <stdint.h>

struct wm_index;

/** Index what the registry holds and follow it for its life. @return NULL without memory. */
struct wm_index *wm_index_new(struct wm_registry *r);
/** The same, but index later, by wm_index_build(): until all is, queries look at every row. */
struct wm_index *wm_index_new_later(struct wm_registry *r);
/** Index up to @p max more. @return true when all is. Cost: some 5 us an instance. */
bool wm_index_build(struct wm_index *x, unsigned max);
bool wm_index_complete(const struct wm_index *x);
/** After the registry runs no more. NULL ok. */
void wm_index_free(struct wm_index *x);

/** What a query did. */
struct wm_index_query {
	uint64_t candidates; /* instances that the bitmaps left over; all, where none applied */
	uint64_t asked;	     /* of these: rows that the filter had to look at */
	uint64_t matched;
	bool indexed; /* false: every instance was looked at */
	bool cached;  /* the same was asked before, and nothing changed since: the figures are of
		       * that run */
};
/** Called for each instance, in no order that means anything. @return false: enough. */
typedef bool (*wm_index_visit)(void *arg, const struct wm_instance *i);
/** Visit what @p f wants (NULL: all). @p f is of a kind whose rows are instances: not of nodes, not
 *  of checks. It may end as wm_filter_end() says. @p ret_query may be NULL.
 *  What a filter selected is kept until something changes, so the same question costs what it
 *  selects. @return 0, -ENOMEM. Cost: of the smallest bitmap of an "and", plus what it leaves over.
 */
int wm_index_select(struct wm_index *x, struct wm_filter *f, wm_index_visit visit, void *arg,
		    struct wm_index_query *ret_query);

/** The instance of the next number from *@p at, which begins with 0, or NULL behind the last. It
 * may take many turns: an instance keeps its number until it changes, and the walk tells each that
 *  stays once. Cost O(numbers that are vacant) at worst. */
const struct wm_instance *wm_index_next(const struct wm_index *x, uint32_t *at);

/** One comparison of a filter, as it is planned. */
struct wm_index_term {
	const char *op, *value; /* value NULL: none */
	char selector[128];	/* dotted */
	bool indexed;
	uint64_t instances; /* that the index holds for it */
};
/** @return terms there are; @p ret is filled up to @p cap. */
unsigned wm_index_explain(const struct wm_index *x, const struct wm_filter *f,
			  struct wm_index_term *ret, unsigned cap);

struct wm_index_stats {
	uint64_t instances, entries; /* indexed values */
	uint64_t built; /* instances in them, or numbers gone through: less while it is built */
	uint64_t cache_hits, cache_misses, cache_entries, cache_bytes; /* of results */
	uint64_t lost; /* instances that could not be indexed for want of memory: then queries scan
			*/
};
void wm_index_stats(const struct wm_index *x, struct wm_index_stats *ret);
/** Memory of all bitmaps and tables. Cost: walks every entry. */
uint64_t wm_index_bytes(const struct wm_index *x);
