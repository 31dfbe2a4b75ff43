/* SPDX-License-Identifier: Apache-2.0 */
/* query.h - Consul's prepared queries: found by id or name, templates filled in, and whom they
 * select. A query asks for instances of a service as its policy selects them: redirects are
 * followed, and a tier answers, drawn by the shares by which connect() draws; where nobody of those
 * that it asks for is usable, who when_none says. Threading: loop thread only.
 * Spec: Consul's API of prepared queries. */
#pragma once
#include "userspace/model/policy.h"
#include "userspace/registry/registry.h"

/** By id, then by name in any case, then the template with the longest name that @p name begins
 *  with. @return NULL: none. Cost O(policies). */
const struct wm_policy *wm_query_find(const struct wm_registry *r, const char *name);
/** The query that is asked for as @p name: of a template ${name.full}, ${name.prefix},
 *  ${name.suffix} and ${agent.segment} are put into service, near, tags, ids of
 *  checks and values of metadata. @p ret points into @p texts,
 *  which the caller frees, and into @p q. @return 0, -ENOMEM, WM_E_INVALID: another variable, or a
 *  template is asked for by its id. */
int wm_query_fill(const struct wm_policy *q, const char *name, struct wm_policy_draft *ret,
		  char **texts, struct wm_err *e);
/** Whom @p q selects. @p ret for free(). @p ret_tier: how many tiers of
 *  its target stand before theirs.
 *  @return 0, -ENOMEM. Order is random. */
int wm_query_run(const struct wm_registry *r, const struct wm_policy *q,
		 const struct wm_instance ***ret, unsigned *ret_count, unsigned *ret_tier);
