/* SPDX-License-Identifier: Apache-2.0 */
/* subset.h - which instances of a service its policy's subsets are: the filters of a policy,
 * compiled once, asked of one instance after the other. Who keeps one asks again when an instance
 * changed, so subsets are current. Threading: loop thread only. */
#pragma once
#include "filter.h"
#include "userspace/model/policy.h"

struct wm_subsets;
/** @p p is borrowed for as long as the result lives, @p datacenter too. @return 0; WM_E_INVALID: a
 *  filter is none, @p e names the subset and what is wrong; -ENOMEM. */
int wm_subsets_new(const struct wm_policy *p, const char *datacenter, struct wm_subsets **ret,
		   struct wm_err *e);
/** The same of the subset @p name alone, which is borrowed as well: of the others nobody is. "" or
 *  an unknown one: of none. Cost: one filter's compiling, where a policy has up to
 *  WM_POLICY_SUBSETS_MAX. */
int wm_subsets_one(const struct wm_policy *p, const char *datacenter, const char *name,
		   struct wm_subsets **ret, struct wm_err *e);
void wm_subsets_free(struct wm_subsets *s); /* NULL ok */
/** Before a pass over the instances: each filter has WM_FILTER_TIME_MS for it. What comes behind
 *  that is in no subset. */
void wm_subsets_begin(struct wm_subsets *s);
/** Did one need more in this pass? @return its name; NULL: none. */
const char *wm_subsets_spent(const struct wm_subsets *s);
/** Is an instance in the subset of this place in p->subsets? Cost: the filter's. */
bool wm_subsets_has(struct wm_subsets *s, unsigned subset, const struct wm_instance *i);
/** The same by name; "" is every instance's, an unknown one nobody's. */
bool wm_subsets_has_named(struct wm_subsets *s, const char *subset, const struct wm_instance *i);
