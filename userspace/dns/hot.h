/* SPDX-License-Identifier: Apache-2.0 */
/* hot.h - which answers of other servers the kernel keeps: those that are asked for often enough
 * for their TTL. They are renewed before it is over while they are asked for, and leave when they
 * are not. A resolver has an answer in its cache until it is over, and asks nobody before: they are
 * renewed of another, which by then has none any more, in turn. Threading: loop thread only. */
#pragma once
#include "userspace/net/loop.h"
#include "waymark/dns_hot.h"

#include <stdbool.h>
#include <stddef.h>

/* The kernel's side, as wm_plane_hot_put() and its like have it. */
struct wm_hot_kernel {
	int (*put)(void *arg, struct wm_hot *e, uint16_t type, uint16_t view);
	int (*get)(void *arg, struct wm_hot *e, uint16_t type, uint16_t view);
	void (*del)(void *arg, const struct wm_hot *e, uint16_t type, uint16_t view);
	void *arg;
};

struct wm_hot_config {
	struct wm_hot_kernel kernel;
	unsigned max;	/* names that are kept, each type and view by itself */
	unsigned after; /* times that one was asked for while its TTL lasted, to be kept */
	/* what nobody renewed for so long past its TTL is not asked for again: until a client does
	 */
	uint64_t stale_ms;
	/* Ask for a name, folded, again, of the resolver of this side: wm_hot_renewed() is called
	 * with what came, maybe before this returns. @return false: it will not be. */
	bool (*renew)(void *arg, const uint8_t *name, uint16_t len, uint16_t type, uint16_t view,
		      unsigned side);
	void *arg;
};

/* X(symbol, metric name, text) */
#define WM_HOT_COUNTERS(X)                                                                         \
	X(KEPT, dns_hot_kept, "answers of other servers that were given to the kernel")            \
	X(ASKED, dns_hot_asked, "questions to others of the agent's own, for names that are kept") \
	X(RENEWED, dns_hot_renewed, "of these, before their TTL was over as they are asked for")   \
	X(LEFT, dns_hot_left, "names that left the kernel: hardly anybody asked")                  \
	X(FULL, dns_hot_full, "names that there was no room for: dns.kernel_cache")                \
	X(REFUSED, dns_hot_refused, "answers that the kernel did not take")
enum wm_hot_counter {
#define X(sym, name, text) WM_HOT_C_##sym,
	WM_HOT_COUNTERS(X)
#undef X
		WM_HOT_COUNTER_COUNT
};

struct wm_hot_level;
/** @return NULL without memory. */
struct wm_hot_level *wm_hot_new(struct wm_loop *l, const struct wm_hot_config *c);
void wm_hot_free(struct wm_hot_level *h); /* NULL ok; the kernel keeps what it has */
/** @p msg was the answer to a query of a client, by the resolver of @p side. NULL ok. */
void wm_hot_answered(struct wm_hot_level *h, const struct wm_dns_query *q, const uint8_t *msg,
		     size_t len, unsigned side);
/** Which of the two resolvers, 0 or 1, has the newest answer to a question that is kept; 0 of
 *  others. @p name in wire form, folded. NULL ok. */
unsigned wm_hot_side(const struct wm_hot_level *h, const uint8_t *name, uint16_t type);
/** The same to what was asked for by renew(); @p msg NULL: there is none. */
void wm_hot_renewed(struct wm_hot_level *h, const uint8_t *name, const struct wm_dns_query *q,
		    const uint8_t *msg, size_t len);
/** What was said before is not to be said any more. NULL ok. */
void wm_hot_forget(struct wm_hot_level *h);
/** Names that the kernel has. NULL: 0. */
size_t wm_hot_names(const struct wm_hot_level *h);
unsigned wm_hot_max(const struct wm_hot_level *h); /* that it may have */
const uint64_t *wm_hot_counters(const struct wm_hot_level *h);

/* A name, and what the kernel has of it now: borrowed. */
struct wm_hot_one {
	uint64_t number; /* of the name, as they came: where a list goes on */
	uint16_t type, view;
	const struct wm_hot *answer;
};
/** Tell @p fn, which is to change nothing here, of the names behind number @p after that are
 *  @p domain or below it (wire form, folded; the root: all), until it returns false. Names that the
 *  kernel has lost are left out. Cost: O(names), and a system call for each that is told of. */
void wm_hot_list(struct wm_hot_level *h, uint64_t after, const uint8_t *domain,
		 bool (*fn)(void *arg, const struct wm_hot_one *one), void *arg);
