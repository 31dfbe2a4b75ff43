/* SPDX-License-Identifier: Apache-2.0 */
/* decode_config.h - Consul's config entries as views of a service's policy: service-resolver
 * (subsets, redirect, failover, the load balancer), service-splitter (split), service-defaults
 * (protocol). What an entry cannot say of a policy stays as it is; what a policy cannot do is
 * refused by name. Threading: pure. Spec: Consul's API of config entries. */
#pragma once
#include "decode.h"
#include "userspace/model/policy.h"

#define WM_CONFIG_KINDS (WM_POLICY_DEFAULTS + 1) /* as enum wm_policy_view */
/** "service-resolver" and so on. */
extern const char *const wm_config_kinds[WM_CONFIG_KINDS];
/** @return false: it is none. */
bool wm_config_kind(const char *name, enum wm_policy_view *ret);
/** Is there an entry of this kind in the policy? NULL: no. */
bool wm_config_has(const struct wm_policy *p, enum wm_policy_view kind);

/** What a body is about, read before the policy is known. They point into @p ret, which the caller
 *  frees. @return 0, WM_E_DECODE, WM_E_INVALID, -ENOMEM. */
struct wm_config_body {
	enum wm_policy_view kind;
	const char *name;
};
int wm_decode_config(const char *body, size_t len, struct wm_decoded **ret,
		     struct wm_config_body *ret_body, struct wm_err *e);
/** Make the entry of @p mem a part of a policy, in the place of what it has of that kind.
 *  @return the same; the draft is not judged as a whole. */
int wm_config_apply(struct wm_decoded *mem, const struct wm_config_body *b, const char *datacenter,
		    struct wm_policy_draft *d, struct wm_err *e);
/** Take what is of a kind out of a policy. */
void wm_config_clear(struct wm_policy_draft *d, enum wm_policy_view kind);
/** An object: the entry of this kind, which is there. */
void wm_encode_config(struct wm_json *j, const struct wm_policy *p, enum wm_policy_view kind);
