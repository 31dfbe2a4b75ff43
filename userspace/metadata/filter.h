/* SPDX-License-Identifier: Apache-2.0 */
/* filter.h - the filter language of Consul's API ("bexpr"): a text is compiled once a request
 * against the fields of one kind of row, then asked for each row. Every cost is bounded: length,
 * terms and nesting of the text, steps of one request, effort of a regular expression.
 *
 *   Service.Meta.version == "2.1" and ("blue" in Service.Tags or not Node.Node matches "^db")
 *
 * A selector through the list of checks is true if any check is. A map without the key makes ==,
 * in and matches false, and their opposites true. Regular expressions search (no anchors); what
 * needs backtracking into the past (lookaround, back references) is refused, as RE2 does.
 * Threading: a filter belongs to one thread. Spec: hashicorp/go-bexpr's grammar. */
#pragma once
#include "userspace/base/err.h"
#include "userspace/registry/model.h"

#define WM_FILTER_TEXT_MAX     4096    /* octets: within a request's first line */
#define WM_FILTER_TERMS_MAX    256     /* comparisons */
#define WM_FILTER_DEPTH_MAX    64      /* parentheses and "not" inside one another: our stack */
#define WM_FILTER_PATH_MAX     8       /* parts of a selector; the deepest field has four */
#define WM_FILTER_REGEX_MAX    16      /* regular expressions: each holds some KiB */
#define WM_FILTER_REGEX_EFFORT 10000   /* PCRE2's match limit: a value is searched in < 1 ms */
#define WM_FILTER_REGEX_STEPS  50      /* what a search counts beside a plain comparison */
#define WM_FILTER_STEPS_MAX    2000000 /* comparisons of one request: some 50 ms of the loop */

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
/** True if the row is wanted. Once the request's steps are used up always false, see
 *  wm_filter_exceeded(). NULL wants every row. Allocates nothing. */
bool wm_filter_match(struct wm_filter *f, const struct wm_filter_row *row);
/** True if a limit was hit while matching: the answer must be an error, not a shorter list. */
bool wm_filter_exceeded(const struct wm_filter *f);
