/* SPDX-License-Identifier: Apache-2.0 */
/* decode_policy.h - a policy as JSON:
 *
 *   {"select": "nearest", "balance": "peak_ewma", "subsets": {"v2": "Service.Meta.version ==
 * \"2\""}, "split": [{"percent": 99.5, "service": "web"}, {"percent": 0.5, "subset": "v2"}],
 *    "failover": [{"service": "web-backup"}], "ports": {"9090": "metrics"}, "when_none":
 * "draining"}
 *
 * Keys in any case, each once; the fields are those of model/policy.c. Threading: pure. */
#pragma once
#include "decode.h"
#include "userspace/model/policy.h"

/** @param service whose; NULL: the body says so. @p ret_draft points into @p ret, which the caller
 *  frees. @return 0; WM_E_DECODE, WM_E_INVALID: @p e names field, value and what is allowed;
 *  -ENOMEM. Cost O(len). */
int wm_decode_policy(const char *body, size_t len, const char *service, struct wm_decoded **ret,
		     struct wm_policy_draft *ret_draft, struct wm_err *e);
/** Members of an object that stands open: what wm_decode_policy() makes the same of. */
void wm_encode_policy(struct wm_json *j, const struct wm_policy *p);
