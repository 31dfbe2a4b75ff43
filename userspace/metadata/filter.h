/* SPDX-License-Identifier: Apache-2.0 */
/* filter.h - the filter language of Consul's API ("bexpr"): a text is compiled once a request
 * against the fields of one kind of row, then asked for each row. Every cost is bounded: length,
 * terms and nesting of the text, effort of a regular expression, and the processor time of a
 * request, which is spent in slices, so that a filter over many rows need not hold the loop.
 *
 *   Service.Meta.version == "2.1" and ("blue" in Service.Tags or not Node.Node matches "^db")
 *
 * A selector through the list of checks is true if any check is. A map without the key makes ==,
 * in and matches false, and their opposites true. Regular expressions search (no anchors); what
 * needs backtracking into the past (lookaround, back references) is refused, as RE2 does.
 * Threading: a filter belongs to one thread. Spec: hashicorp/go-bexpr's grammar. */
#pragma once
#include "regex.h"
#include "userspace/base/err.h"
#include "userspace/model/model.h"

#define WM_FILTER_TEXT_MAX  4096 /* octets: within a request's first line */
#define WM_FILTER_TERMS_MAX 256	 /* comparisons */
#define WM_FILTER_DEPTH_MAX 64	 /* parentheses and "not" inside one another: our stack */
#define WM_FILTER_PATH_MAX  8	 /* parts of a selector; the deepest field has four */
#define WM_FILTER_REGEX_MAX 16	 /* regular expressions: each holds some KiB */
#define WM_FILTER_TIME_MS   100	 /* milliseconds of processor that one request's filter may take */

/** What is filtered; decides which selectors there are. */
enum wm_filter_kind {
	WM_FILTER_NODE,		   /* /v1/catalog/nodes */
	WM_FILTER_CATALOG_SERVICE, /* /v1/catalog/service/:name, /v1/catalog/services */
	WM_FILTER_SERVICE,	   /* /v1/agent/services, services of a node */
	WM_FILTER_HEALTH_SERVICE,  /* /v1/health/service/:name */
	WM_FILTER_CHECK,	   /* lists of checks */
	WM_FILTER_NATIVE,	   /* /v1/waymark/instances: as HEALTH_SERVICE, and what we add */
	WM_FILTER_KIND_COUNT
};

/** One row; borrowed. What the kind does not have stays NULL. */
struct wm_filter_row {
	const char *datacenter;
	const struct wm_node *node;
	const struct wm_instance *instance;
	const struct wm_instance *holder; /* of the node's checks, see model.h; NULL: it has none */
	const struct wm_check *check;	  /* of WM_FILTER_CHECK; NULL: the node's own, serfHealth */
};

struct wm_filter;

/** Compile @p text (NUL-terminated). @param ret_filter for wm_filter_free(). @return 0, -EINVAL
 *  (the text names the place, the selector or the value), WM_E_LIMIT, -ENOMEM. */
int wm_filter_compile(const char *text, enum wm_filter_kind kind, struct wm_filter **ret_filter,
		      struct wm_err *e);
void wm_filter_free(struct wm_filter *f);
/** True if the row is wanted. Once wm_filter_stopped() always false. NULL wants every row. */
bool wm_filter_match(struct wm_filter *f, const struct wm_filter_row *row);

/* How a filter goes on in another turn. One that paused is asked about all rows again: it remembers
 * what it found and wants none (so that nobody writes an answer in vain), until it came through
 * without a pause. Then it is asked about all rows once more and tells what it remembers; a row
 * that changed in between is looked at anew. */
enum wm_filter_end {
	WM_FILTER_DONE,	   /* every row was judged: what was wanted is the answer */
	WM_FILTER_PAUSED,  /* the slice is used up: wm_filter_begin(), and all rows again */
	WM_FILTER_JUDGED,  /* every row is remembered: the same, for the answer */
	WM_FILTER_SPENT,   /* WM_FILTER_TIME_MS, or the memory for what it found, are used up */
	WM_FILTER_EXCEEDED /* a regular expression needs more effort than one may take */
};
/** What came of asking about all rows. NULL: DONE. */
enum wm_filter_end wm_filter_end(const struct wm_filter *f);
/** Begin to ask about all rows; @p slice_ns of processor until it pauses. Without it there is no
 *  pause. @p state: the registry's index; as long as it is the same, rows come in the same order.
 *  NULL ok. */
void wm_filter_begin(struct wm_filter *f, uint64_t slice_ns, uint64_t state);
/** What it is asked from here on is another question: its time begins anew. For one that is kept
 *  and asked again and again, of rows that all fit one slice. NULL ok. */
void wm_filter_renew(struct wm_filter *f);
/** Somebody keeps it for another turn: who compiled it does not free it. */
void wm_filter_keep(struct wm_filter *f);
bool wm_filter_kept(const struct wm_filter *f);
/** Hash of all that a row's instance, node and checks are: objects are replaced when they change,
 * or say so by their index; an output is another text. */
uint64_t wm_filter_row_hash(const struct wm_filter_row *row);
/** It will say nothing more about any row: who asks may as well stop. NULL: false. */
bool wm_filter_stopped(const struct wm_filter *f);
